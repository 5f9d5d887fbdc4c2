//! The network: what is known of a day -> its 24 loads, and how far they may be off.

use super::program::HOURS;
use crate::portfolio::random::Random;
use burn::module::{Module, Param};
use burn::nn::{LayerNorm, LayerNormConfig, Linear};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};

/// Width of the two hidden layers.
pub const HIDDEN: usize = 200;
/// The part of the hidden units that a training step leaves out.
const DROPPED: f64 = 0.2;
/// Where the logarithm of the spread starts, in units of the load's deviation.
const SPREAD: f32 = -1.0;

/// A linear model plus a perceptron, whose last layer starts at 0. It gives the loads of the hours and, with two heads, the
/// logarithms of their spreads, both in units of each hour's deviation over the training days.
#[derive(Module, Debug)]
pub struct Network {
    linear: Linear,
    first: Linear,
    second: Linear,
    last: Linear,
    norms: [LayerNorm; 2],
    heads: usize,
}

impl Network {
    /// A network whose initial weights depend on the seed only.
    pub fn new(features: usize, heads: usize, seed: u64, device: &Device) -> Self {
        let mut random = Random::new(seed, 0x5c);
        let mut layer = |inputs: usize, outputs: usize, gain: f64, bias: Vec<f32>| -> Linear {
            let limit = gain / (inputs as f64).sqrt();
            let values: Vec<f32> =
                (0..inputs * outputs).map(|_| (limit * (2.0 * random.uniform() - 1.0)) as f32).collect();
            let weight = Tensor::from_data(TensorData::new(values, [inputs, outputs]), device);
            let bias = Tensor::from_data(TensorData::new(bias, [outputs]), device);
            Linear { weight: Param::from_tensor(weight), bias: Some(Param::from_tensor(bias)) }
        };
        let bias = (0..heads * HOURS).map(|k| if k < HOURS { 0.0 } else { SPREAD }).collect();
        Network {
            linear: layer(features, HOURS, 1.0, vec![0.0; HOURS]),
            first: layer(features, HIDDEN, 1.0, vec![0.0; HIDDEN]),
            second: layer(HIDDEN, HIDDEN, 1.0, vec![0.0; HIDDEN]),
            last: layer(HIDDEN, heads * HOURS, 0.0, bias),
            norms: [0, 1].map(|_| LayerNormConfig::new(HIDDEN).init(device)),
            heads,
        }
    }

    /// Means, and behind them the logarithms of spreads: days x (24 or 48). With random numbers, some hidden units are left
    /// out.
    pub fn forward(&self, features: Tensor<2>, mut drop: Option<&mut Random>) -> Tensor<2> {
        let mut hidden = features.clone();
        for (layer, norm) in [&self.first, &self.second].into_iter().zip(&self.norms) {
            hidden = relu(norm.forward(layer.forward(hidden)));
            if let Some(random) = drop.as_deref_mut() {
                let kept = |_| if random.uniform() < DROPPED { 0.0 } else { (1.0 / (1.0 - DROPPED)) as f32 };
                let [days, width] = hidden.dims();
                let mask: Vec<f32> = (0..days * width).map(kept).collect();
                hidden = hidden.clone() * Tensor::from_data(TensorData::new(mask, [days, width]), &hidden.device());
            }
        }
        let (out, linear) = (self.last.forward(hidden), self.linear.forward(features));
        if self.heads == 1 {
            return out + linear;
        }
        let [days, width] = out.dims();
        let mean = out.clone().slice([0..days, 0..HOURS]) + linear;
        Tensor::cat(vec![mean, out.slice([0..days, HOURS..width])], 1)
    }
}
