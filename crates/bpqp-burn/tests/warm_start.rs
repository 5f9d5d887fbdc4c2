//! An instance that comes back starts from its last solution, whatever its place in the batch.

use bpqp::{Hessian, Matrix, Qp, Settings, Solver};
use bpqp_burn::{Arguments, QpLayer};
use burn::tensor::{Device, Tensor, TensorData};

const N: usize = 30;
const BATCH: usize = 4;

/// Long-only portfolios with a factored covariance and a cap.
fn layer() -> QpLayer {
    let f = faer::Mat::from_fn(N, 3, |i, k| 0.1 * ((i * 7 + k * 5) % 11) as f64 / 11.0);
    let d = (0..N).map(|i| 0.02 + 0.001 * (i % 5) as f64).collect();
    let qp = Qp::new(Hessian::low_rank(d, f).unwrap(), vec![0.0; N])
        .unwrap()
        .equality(Matrix::from_rows(1, N, &[1.0; N]).unwrap(), vec![1.0])
        .unwrap()
        .bounds(vec![0.0; N], vec![0.2; N])
        .unwrap();
    let mut settings = Settings::with_solver(Solver::Auto);
    settings.threads = 1;
    QpLayer::shared(qp, BATCH, settings).unwrap()
}

/// Linear terms of the instances named by `index`, all different; `moved` shifts them a little.
fn linear(index: &[usize], moved: f64) -> Tensor<2> {
    let value = |i: usize, j: usize| -0.05 * (((i + 1) * (j + 3) * 13) % 17) as f64 / 17.0 + moved * (j % 3) as f64;
    let values: Vec<f32> = index.iter().flat_map(|&i| (0..N).map(move |j| value(i, j) as f32)).collect();
    Tensor::from_data(TensorData::new(values, [index.len(), N]), &Device::flex())
}

#[test]
fn the_second_visit_takes_fewer_iterations_and_gives_the_same_solution() {
    let layer = layer();
    let order = [0, 1, 2, 3];
    layer.forward_at(&order, Arguments::new().q(linear(&order, 0.0))).unwrap();
    let cold = layer.take_timing();
    // Another order, slightly other problems: as in the next epoch.
    let order = [2, 0, 3, 1];
    let warm_x = layer.forward_at(&order, Arguments::new().q(linear(&order, 1e-5))).unwrap().x;
    let warm = layer.take_timing();
    assert_eq!((cold.forward_count, warm.forward_count), (BATCH, BATCH));
    assert!(warm.forward_iterations < cold.forward_iterations, "{warm:?} {cold:?}");

    let fresh = self::layer().forward_at(&order, Arguments::new().q(linear(&order, 1e-5))).unwrap().x;
    let gap = (warm_x - fresh).abs().max().into_data().iter::<f64>().next().unwrap();
    assert!(gap < 1e-6, "{gap}");
}
