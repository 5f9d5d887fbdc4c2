//! Learns what a decision maker minimizes from what was decided.
//!
//! Decisions are projections onto a capped simplex of scores, which are a linear function of features. Candle learns the weights
//! of the scores, and the cap of the program, from the decisions alone.
//!
//! ```sh
//! cargo run --release -p bpqp-candle --example train
//! ```

use bpqp::{Hessian, Matrix, Qp, Settings};
use bpqp_candle::{Arguments, QpLayer};
use candle_core::{DType, Device, Tensor, Var};

const SAMPLES: usize = 64;
const FEATURES: usize = 4;
const N: usize = 6;
/// The cap that the decision maker has.
const CAP: f32 = 0.4;

/// Takes `steps` steps and tells before each its number, the loss and the cap.
fn learn(steps: usize, mut tell: impl FnMut(usize, f32, f32)) -> Result<(), Box<dyn std::error::Error>> {
    let device = Device::Cpu;
    let numbers = |count: usize, by: f64| (0..count).map(move |k| (f64::sin(by * (k + 1) as f64) * 1.3) as f32);
    let features = Tensor::from_iter(numbers(SAMPLES * FEATURES, 12.9898), &device)?.reshape((SAMPLES, FEATURES))?;
    let simplex = Qp::new(Hessian::Diagonal(vec![1.0; N]), vec![0.0; N])?
        .equality(Matrix::from_rows(1, N, &[1.0; N])?, vec![1.0])?
        .bounds(vec![0.0; N], vec![1.0; N])?;
    let layer = QpLayer::shared(simplex, SAMPLES, Settings::default())?;
    let decide = |weights: &Tensor, cap: &Tensor| {
        let scores = features.matmul(weights)?;
        Ok::<_, bpqp_candle::Error>(layer.forward(Arguments::new().q(&scores.neg()?).ub(&cap.broadcast_as(N)?))?.x)
    };
    let truth = Tensor::from_iter(numbers(FEATURES * N, 78.233), &device)?.reshape((FEATURES, N))?;
    let decided = decide(&truth, &Tensor::new(&[CAP], &device)?)?;

    let weights = Var::zeros((FEATURES, N), DType::F32, &device)?;
    let cap = Var::new(&[0.9_f32], &device)?;
    for step in 0..=steps {
        let loss = ((decide(&weights, &cap)? - &decided)?.sqr()?.sum_all()? / SAMPLES as f64)?;
        tell(step, loss.to_scalar()?, cap.to_vec1()?[0]);
        let gradients = loss.backward()?;
        for (variable, rate) in [(&weights, 1.0), (&cap, 0.05)] {
            if let Some(gradient) = gradients.get(variable) {
                variable.set(&(variable.as_tensor() - (gradient * rate)?)?)?;
            }
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    learn(1000, |step, loss, cap| {
        if step % 200 == 0 {
            println!("step {step:4}  loss {loss:.2e}  cap {cap:.3}");
        }
    })
}

#[test]
fn what_was_hidden_is_found() {
    let mut last = (f32::NAN, f32::NAN);
    learn(1000, |_, loss, cap| last = (loss, cap)).unwrap();
    assert!(last.0 < 1e-5, "loss {}", last.0);
    assert!((last.1 - CAP).abs() < 1e-3, "cap {}", last.1);
}
