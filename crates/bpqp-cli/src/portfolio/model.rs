//! The predictor: features of a stock -> one number. One network for all stocks.

use super::random::Random;
use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

/// A multilayer perceptron with two hidden layers.
#[derive(Module, Debug)]
pub struct Predictor {
    first: Linear,
    second: Linear,
    last: Linear,
}

/// One layer as numbers: `weight[input * outputs + output]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// Weights.
    pub weight: Vec<f32>,
    /// Biases.
    pub bias: Vec<f32>,
}

impl Predictor {
    /// A predictor whose initial weights depend on the seed only. The last layer starts at `gain` times the usual size: at
    /// 0 the predictor says 0 for every stock.
    pub fn new(features: usize, hidden: usize, gain: f64, seed: u64, device: &Device) -> Self {
        let mut random = Random::new(seed, 0x17);
        let mut layer = |inputs: usize, outputs: usize, gain: f64| {
            let limit = gain * (3.0 / inputs as f64).sqrt();
            let weight = (0..inputs * outputs).map(|_| (limit * (2.0 * random.uniform() - 1.0)) as f32).collect();
            Layer { weight, bias: vec![0.0; outputs] }
        };
        // The root of 2 makes up for the half that the rectifier cuts off.
        let root = 2f64.sqrt();
        let layers = [layer(features, hidden, 1.0), layer(hidden, hidden, root), layer(hidden, 1, gain)];
        Predictor::from_layers(&layers, device)
    }

    /// From its numbers.
    pub fn from_layers([first, second, last]: &[Layer; 3], device: &Device) -> Self {
        let linear = |layer: &Layer| {
            let outputs = layer.bias.len();
            let inputs = layer.weight.len() / outputs.max(1);
            let weight = Tensor::from_data(TensorData::new(layer.weight.clone(), [inputs, outputs]), device);
            let bias = Tensor::from_data(TensorData::new(layer.bias.clone(), [outputs]), device);
            Linear { weight: Param::from_tensor(weight), bias: Some(Param::from_tensor(bias)) }
        };
        Predictor { first: linear(first), second: linear(second), last: linear(last) }
    }

    /// Its numbers.
    pub fn layers(&self) -> [Layer; 3] {
        let numbers = |data: TensorData| data.iter::<f32>().collect::<Vec<f32>>();
        [&self.first, &self.second, &self.last].map(|l| Layer {
            weight: numbers(l.weight.val().into_data()),
            bias: l.bias.as_ref().map_or_else(Vec::new, |b| numbers(b.val().into_data())),
        })
    }

    /// One number a stock, days x stocks, from features, (days * stocks) x features.
    pub fn forward(&self, features: Tensor<2>, days: usize, stocks: usize) -> Tensor<2> {
        let hidden = relu(self.first.forward(features));
        let hidden = relu(self.second.forward(hidden));
        self.last.forward(hidden).reshape([days, stocks])
    }
}
