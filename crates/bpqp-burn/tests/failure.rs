//! One bad instance in a batch: what each policy makes of it.

use bpqp::{Hessian, Matrix, Qp, Settings, Status};
use bpqp_burn::{Arguments, LayerError, OnFailure, QpLayer};
use burn::tensor::{Device, Tensor};

/// `min 1/2 |x|^2 + q'x, x_1 + x_2 = b, 0 <= x <= 1`: no point for b > 2.
fn layer(policy: OnFailure) -> QpLayer {
    let qp = Qp::new(Hessian::from_rows(2, &[1.0, 0.0, 0.0, 1.0]).unwrap(), vec![0.1, -0.2])
        .unwrap()
        .equality(Matrix::from_rows(1, 2, &[1.0, 1.0]).unwrap(), vec![1.0])
        .unwrap()
        .bounds(vec![0.0; 2], vec![1.0; 2])
        .unwrap();
    QpLayer::shared(qp, 3, Settings::default()).unwrap().on_failure(policy)
}

fn right_hand_sides(device: &Device) -> Tensor<2> {
    Tensor::from_floats([[1.0], [5.0], [0.5]], device).require_grad()
}

#[test]
fn by_default_a_failing_instance_is_an_error_that_names_it() {
    let device = Device::flex().autodiff();
    let error = layer(OnFailure::Error).forward(Arguments::new().b(right_hand_sides(&device))).unwrap_err();
    assert_eq!(error, LayerError::Failed { failed: vec![(1, Status::PrimalInfeasible)], batch: 3 });
    let text = error.to_string();
    assert!(text.contains("1 of 3") && text.contains("instance 1") && text.contains("OnFailure::Nan"), "{text}");
}

#[test]
fn nan_stays_with_the_failing_instance() {
    let device = Device::flex().autodiff();
    let b = right_hand_sides(&device);
    let output = layer(OnFailure::Nan).forward(Arguments::new().b(b.clone())).unwrap();
    assert_eq!(output.status[1], Status::PrimalInfeasible);
    assert!(output.status[0].ok() && output.status[2].ok());
    let grads = output.x.clone().slice([0..3, 0..1]).sum().backward();
    let x: Vec<f64> = output.x.into_data().iter::<f64>().collect();
    assert!(x[2].is_nan() && x[3].is_nan());
    assert!((x[0] - 0.35).abs() < 1e-6 && (x[1] - 0.65).abs() < 1e-6, "{x:?}");
    let b: Vec<f64> = b.grad(&grads).unwrap().into_data().iter::<f64>().collect();
    assert!((b[0] - 0.5).abs() < 1e-6 && (b[2] - 0.5).abs() < 1e-6 && b[1].is_nan(), "{b:?}");
}

#[test]
fn zero_gradient_leaves_the_failing_instance_out() {
    let device = Device::flex().autodiff();
    let b = right_hand_sides(&device);
    let output = layer(OnFailure::ZeroGradient).forward(Arguments::new().b(b.clone())).unwrap();
    assert!(!output.status[1].ok());
    let grads = output.x.slice([0..3, 0..1]).sum().backward();
    let b: Vec<f64> = b.grad(&grads).unwrap().into_data().iter::<f64>().collect();
    assert!((b[0] - 0.5).abs() < 1e-6 && b[1] == 0.0, "{b:?}");
}

#[test]
fn data_that_are_refused_stay_with_their_instance() {
    let device = Device::flex().autodiff();
    let q: Tensor<2> = Tensor::from_floats([[0.1, -0.2], [f32::NAN, 0.0], [0.1, -0.2]], &device).require_grad();
    let output = layer(OnFailure::Nan).forward(Arguments::new().q(q.clone())).unwrap();
    assert_eq!((output.refused.len(), output.refused[0].0), (1, 1));
    assert!(output.refused[0].1.to_string().contains('q'), "{}", output.refused[0].1);
    assert!(output.status[0].ok() && !output.status[1].ok() && output.status[2].ok());
    let grads = output.x.clone().slice([0..3, 0..1]).sum().backward();
    let x: Vec<f64> = output.x.into_data().iter::<f64>().collect();
    assert!((x[0] - 0.35).abs() < 1e-6 && x[2].is_nan() && (x[4] - 0.35).abs() < 1e-6, "{x:?}");
    let q: Vec<f64> = q.grad(&grads).unwrap().into_data().iter::<f64>().collect();
    assert!((q[0] + 0.5).abs() < 1e-6 && q[2].is_nan() && (q[4] + 0.5).abs() < 1e-6, "{q:?}");
}

#[test]
fn misuse_is_named() {
    let device = Device::flex();
    let layer = layer(OnFailure::Error);
    let q: Tensor<2> = Tensor::zeros([3, 5], &device);
    let text = layer.forward(Arguments::new().q(q)).unwrap_err().to_string();
    assert!(text.contains("q has shape [3, 5], expected [2]") && text.contains("batch dimension of 3"), "{text}");
    assert_eq!(
        layer.forward_at(&[0, 7], Arguments::new()).unwrap_err(),
        LayerError::Index { position: 1, index: 7, instances: 3 }
    );
    assert_eq!(
        layer.forward_at(&[2, 2], Arguments::new()).unwrap_err(),
        LayerError::Repeated { position: 1, index: 2 }
    );
    let q: Tensor<1> = Tensor::from_floats([f32::NAN, 0.0], &device);
    let text = layer.forward(Arguments::new().q(q)).unwrap_err().to_string();
    assert!(text.contains("instance 0") && text.contains('q'), "{text}");
}
