//! A factored Hessian on burn's tape: the same solutions and gradients as the dense one, without forming it.

use bpqp::{Hessian, Matrix, Qp, Settings};
use bpqp_burn::{Arguments, QpLayer};
use burn::tensor::{Device, Tensor, TensorData};

const N: usize = 6;
const R: usize = 2;

#[test]
fn gradients_of_both_factors_match_those_through_the_dense_matrix() {
    let device = Device::flex().autodiff();
    let values =
        |count: usize, by: f64| (0..count).map(|k| (by * f64::sin(1.7 * k as f64 + by)) as f32).collect::<Vec<_>>();
    let d: Vec<f32> = values(2 * N, 0.4).iter().map(|v| 1.0 + v).collect();
    let one: Tensor<2> = Tensor::from_data(TensorData::new(d, [2, N]), &device).require_grad();
    let many: Tensor<3> = Tensor::from_data(TensorData::new(values(2 * N * R, 1.1), [2, N, R]), &device).require_grad();
    let q: Tensor<2> = Tensor::from_data(TensorData::new(values(2 * N, 0.9), [2, N]), &device);
    let weights: Tensor<2> = Tensor::from_data(TensorData::new(values(2 * N, 2.3), [2, N]), &device);
    let run = |p: Hessian, arguments: Arguments| {
        let qp = Qp::new(p, vec![0.0; N])
            .and_then(|qp| qp.equality(Matrix::from_rows(1, N, &[1.0; N])?, vec![1.0]))
            .and_then(|qp| qp.bounds(vec![0.0; N], vec![0.5; N]))
            .unwrap();
        let layer = QpLayer::shared(qp, 2, Settings::default()).unwrap();
        let x = layer.forward(arguments.q(q.clone())).unwrap().x;
        let gradients = (x.clone() * weights.clone()).sum().backward();
        let (d, f) = (one.grad(&gradients).unwrap().into_data(), many.grad(&gradients).unwrap().into_data());
        let all = [x.into_data(), d, f];
        all.into_iter().flat_map(|data| data.iter::<f64>().collect::<Vec<f64>>()).collect::<Vec<f64>>()
    };
    let start = Hessian::low_rank(vec![1.0; N], faer::Mat::zeros(N, R)).unwrap();
    let dense_start = Hessian::from(start.to_dense());
    let factored = run(start, Arguments::new().low_rank(one.clone(), many.clone()));
    let eye: Tensor<2> = Tensor::eye(N, &device);
    let diagonal: Tensor<3> = eye.reshape([1, N, N]) * one.clone().reshape([2, N, 1]);
    let product = many.clone().matmul(many.clone().swap_dims(1, 2));
    let dense = run(dense_start, Arguments::new().p(diagonal + product));
    assert_eq!(factored.len(), 2 * N * (2 + R));
    assert!(factored.iter().any(|v| v.abs() > 0.01));
    for (a, b) in factored.iter().zip(&dense) {
        assert!((a - b).abs() < 1e-5 * (1.0 + b.abs()), "{factored:?}\n{dense:?}");
    }
}
