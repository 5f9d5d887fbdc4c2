//! The predictor: features of a stock -> its expected return. One network for all stocks.

use super::random::Random;
use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::activation::gelu;
use burn::tensor::{Device, Tensor, TensorData};

/// Width of the two hidden layers.
const HIDDEN: [usize; 2] = [32, 16];

/// A multilayer perceptron with two hidden layers; its output is the expected return in units of the day's risk.
#[derive(Module, Debug)]
pub struct Predictor {
    first: Linear,
    second: Linear,
    last: Linear,
}

impl Predictor {
    /// A predictor whose initial weights depend on the seed only.
    pub fn new(features: usize, seed: u64, device: &Device) -> Self {
        let mut random = Random::new(seed, 0x17);
        let mut layer = |inputs: usize, outputs: usize, gain: f64| -> Linear {
            let limit = gain / (inputs as f64).sqrt();
            let values: Vec<f32> =
                (0..inputs * outputs).map(|_| (limit * (2.0 * random.uniform() - 1.0)) as f32).collect();
            let weight = Tensor::from_data(TensorData::new(values, [inputs, outputs]), device);
            Linear {
                weight: Param::from_tensor(weight),
                bias: Some(Param::from_tensor(Tensor::zeros([outputs], device))),
            }
        };
        // sqrt(3) keeps the variance of a linear layer. The last layer starts at 0, that is at "nothing is predictable",
        // for which the program gives the portfolio of least variance.
        let root = 3f64.sqrt();
        Predictor {
            first: layer(features, HIDDEN[0], root),
            second: layer(HIDDEN[0], HIDDEN[1], root),
            last: layer(HIDDEN[1], 1, 0.0),
        }
    }

    /// Expected returns, days x stocks, from features, (days * stocks) x features, and the risk of each day, days x 1.
    pub fn forward(&self, features: Tensor<2>, risk: Tensor<2>, stocks: usize) -> Tensor<2> {
        let [days, _] = risk.dims();
        let hidden = gelu(self.first.forward(features));
        let hidden = gelu(self.second.forward(hidden));
        self.last.forward(hidden).reshape([days, stocks]) * risk
    }
}
