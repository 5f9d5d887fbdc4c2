//! Training a predictor for its forecasts, and on for its decisions.

use super::dataset::{AHEAD, Fold};
use super::engine::{Engine, Failure, Method};
use super::model::Predictor;
use super::options::Learn;
use super::random::Random;
use bpqp::{Qp, Settings};
use bpqp_burn::{Arguments, QpLayer, Timing};
use burn::grad_clipping::GradientClippingConfig;
use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Device, Tensor, TensorData};
use serde::Serialize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// How to train.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Training {
    /// Passes over the training days of the two-stage predictor.
    pub epochs: usize,
    /// Further passes, by the same loss (control) or through the program.
    pub tune: usize,
    /// Days in a step.
    pub batch: usize,
    /// Width of the hidden layers.
    pub hidden: usize,
    /// Step size of the first passes.
    pub learning_rate: f64,
    /// Step size of the further passes.
    pub tune_rate: f64,
    /// Weight decay of AdamW.
    pub weight_decay: f64,
}

/// The loss of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// Of the forecast.
    Forecast,
    /// Of the decision.
    Decision,
}

/// One pass over the training days, and the validation days after it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Epoch {
    /// 0 is before the first pass.
    pub epoch: usize,
    /// By what the epoch is chosen, on the validation days; less is better.
    pub validation: f64,
    /// Seconds of the pass.
    #[serde(skip)]
    pub seconds: f64,
    /// Of these, in the optimization, forward and backward.
    #[serde(skip)]
    pub solver_seconds: f64,
}

/// What a training gives.
#[derive(Clone)]
pub struct Trained {
    /// The predictor of the best epoch.
    pub model: Predictor,
    /// The epoch with the least validation measure.
    pub best: usize,
    /// All epochs.
    pub curve: Vec<Epoch>,
}

/// Spreads of the forecast returns that are tried on the validation days, in units of the day's risk.
const SPREADS: [f64; 6] = [0.0125, 0.025, 0.05, 0.1, 0.2, 0.4];

impl Engine<'_> {
    /// The initial predictor of a seed.
    pub fn initial(&self, training: &Training, seed: u64) -> Predictor {
        let gain = match self.learn {
            // An untrained network leaves the risk model as it is.
            Learn::Risk => 0.0,
            Learn::Returns => 1.0,
        };
        let device = self.device.clone().autodiff();
        Predictor::new(self.data.features.names.len(), training.hidden, gain, seed, &device)
    }

    /// The two-stage predictor of a seed.
    pub fn two_stage(
        &self,
        training: &Training,
        fold: &Fold,
        seed: u64,
        stop: &AtomicBool,
        watch: &dyn Fn(&Epoch),
    ) -> Result<Trained, Failure> {
        let start = self.initial(training, seed);
        let passes = Passes {
            epochs: training.epochs,
            rate: training.learning_rate,
            loss: Loss::Forecast,
            judge: Loss::Forecast,
        };
        let mut trained = self.fit(training, start, fold, seed, &passes, stop, watch)?;
        if self.learn == Learn::Returns {
            trained.model = self.scaled(&trained.model, fold)?;
        }
        Ok(trained)
    }

    /// That predictor trained on, by the same loss or through the program; the best epoch, the start included, is that with
    /// the best decisions on the validation days.
    #[expect(clippy::too_many_arguments)]
    pub fn tuned(
        &self,
        training: &Training,
        start: &Predictor,
        method: Method,
        fold: &Fold,
        seed: u64,
        stop: &AtomicBool,
        watch: &dyn Fn(&Epoch),
    ) -> Result<Trained, Failure> {
        let loss = if method == Method::Through { Loss::Decision } else { Loss::Forecast };
        let passes = Passes { epochs: training.tune, rate: training.tune_rate, loss, judge: Loss::Decision };
        let mut trained = self.fit(training, start.clone(), fold, seed + 0x5eed, &passes, stop, watch)?;
        if self.learn == Learn::Returns {
            trained.model = self.scaled(&trained.model, fold)?;
        }
        Ok(trained)
    }

    /// The predictor times the factor with the best decisions on the validation days.
    fn scaled(&self, model: &Predictor, fold: &Fold) -> Result<Predictor, Failure> {
        let said = self.say(&model.valid(), fold.validation.clone());
        let spread = super::metrics::deviation(&said.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>()).max(1e-9);
        let mut best = (f64::INFINITY, 1.0);
        for by in SPREADS.map(|s| s / spread) {
            let scaled: Vec<f32> = said.iter().map(|v| v * by as f32).collect();
            let value = self.judge(fold.validation.clone(), &self.decide(fold.validation.clone(), &scaled)?);
            if value < best.0 {
                best = (value, by);
            }
        }
        let mut layers = model.layers();
        layers[2].weight.iter_mut().chain(layers[2].bias.iter_mut()).for_each(|v| *v *= best.1 as f32);
        Ok(Predictor::from_layers(&layers, &self.device.clone().autodiff()))
    }

    #[expect(clippy::too_many_arguments)]
    fn fit(
        &self,
        training: &Training,
        mut model: Predictor,
        fold: &Fold,
        seed: u64,
        passes: &Passes,
        stop: &AtomicBool,
        watch: &dyn Fn(&Epoch),
    ) -> Result<Trained, Failure> {
        let device = self.device.clone().autodiff();
        let clipping = Some(GradientClippingConfig::Norm(1.0));
        let mut optimizer =
            AdamWConfig::new().with_weight_decay(training.weight_decay as f32).with_grad_clipping(clipping).init();
        let layer = match passes.loss {
            Loss::Forecast => None,
            Loss::Decision => Some(self.layer(fold)?),
        };
        let validate = |model: &Predictor| -> Result<f64, Failure> {
            let days = fold.validation.clone();
            let said = self.say(&model.valid(), days.clone());
            Ok(match passes.judge {
                Loss::Forecast => self.forecast_error(days, &said),
                Loss::Decision => self.judge(days.clone(), &self.decide(days, &said)?),
            })
        };
        let mut epoch = Epoch { epoch: 0, validation: validate(&model)?, seconds: 0.0, solver_seconds: 0.0 };
        let mut trained = Trained { model: model.clone(), best: 0, curve: vec![epoch] };
        // An untrained forecast of returns is noise and no candidate.
        let mut least = if passes.judge == Loss::Forecast { f64::INFINITY } else { epoch.validation };
        for pass in 1..=passes.epochs {
            let started = Instant::now();
            let order = Random::new(seed, 0x100 + pass as u64).permutation(fold.train.len());
            let steps = order.len().div_ceil(training.batch);
            for (step, days) in order.chunks(training.batch).enumerate() {
                if stop.load(Ordering::Relaxed) {
                    return Ok(trained);
                }
                let samples: Vec<usize> = days.iter().map(|d| d + fold.train.start).collect();
                let said = self.output(&model, &samples, &device);
                let loss = match &layer {
                    None => self.forecast_loss(said, &samples, &device),
                    Some(layer) => self.decision_loss(said, layer, days, &samples, &device)?,
                };
                let gradients = GradientsParams::from_grads(loss.backward(), &model);
                // The step size falls to zero along a cosine: the last passes change little.
                let done = (pass as f64 - 1.0 + step as f64 / steps as f64) / passes.epochs as f64;
                let rate = passes.rate * 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
                model = optimizer.step(rate, model, gradients);
            }
            let Timing { forward_seconds, backward_seconds, .. } =
                layer.as_ref().map_or_else(Timing::default, QpLayer::take_timing);
            epoch = Epoch {
                epoch: pass,
                seconds: started.elapsed().as_secs_f64(),
                validation: validate(&model)?,
                solver_seconds: forward_seconds + backward_seconds,
            };
            if epoch.validation < least {
                least = epoch.validation;
                (trained.model, trained.best) = (model.clone(), pass);
            }
            trained.curve.push(epoch);
            watch(&epoch);
        }
        Ok(trained)
    }

    /// A layer with an instance for each training day, which starts from its solution in the epoch before.
    fn layer(&self, fold: &Fold) -> Result<QpLayer, Failure> {
        let said = vec![0.0; self.data.stocks()];
        let programs: Result<Vec<Qp>, bpqp::Error> = fold.train.clone().map(|s| self.program(s, &said, None)).collect();
        // Trainings run side by side, each on its own thread.
        let settings = Settings { threads: 1, ..Settings::default() };
        Ok(QpLayer::new(programs?, settings)?)
    }

    fn tensor<const D: usize>(&self, values: Vec<f32>, shape: [usize; D], device: &Device) -> Tensor<D> {
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    fn gather(&self, samples: &[usize], row: impl Fn(usize) -> Vec<f32>, device: &Device) -> Tensor<2> {
        let values = samples.iter().flat_map(|&s| row(s)).collect();
        self.tensor(values, [samples.len(), self.data.stocks()], device)
    }

    fn forecast_loss(&self, said: Tensor<2>, samples: &[usize], device: &Device) -> Tensor<1> {
        let n = self.data.stocks();
        let target = self.gather(samples, |s| self.target(s), device);
        let known = |s: usize| self.data.days[s].known.iter().map(|&k| f32::from(k)).collect::<Vec<f32>>();
        let known = self.gather(samples, known, device);
        match self.learn {
            Learn::Risk => {
                let base = self.gather(samples, |s| (0..n).map(|i| self.variance(s, i)).collect(), device);
                let minus_log: Tensor<2> = (said.clone() + base.clone().log()) * known.clone();
                let count = known.clone().sum();
                (minus_log + target / base * (-said).exp() * known).sum() / count
            }
            Learn::Returns => {
                let count: Tensor<2> = known.clone().sum_dim(1);
                let centered = (said.clone() - (said * known.clone()).sum_dim(1) / count.clone()) * known;
                let spread = (centered.clone().square().sum_dim(1) / count.clone() + 1e-12).sqrt();
                let together: Tensor<2> = (centered * target).sum_dim(1) / count / spread;
                -together.mean()
            }
        }
    }

    /// The loss on the decisions, whose gradient goes through the program: in `d` and `F` (risk) or in `q` (returns).
    fn decision_loss(
        &self,
        said: Tensor<2>,
        layer: &QpLayer,
        index: &[usize],
        samples: &[usize],
        device: &Device,
    ) -> Result<Tensor<1>, Failure> {
        let (days, n, r) = (samples.len(), self.data.stocks(), self.data.components);
        let risk: Vec<f32> = samples.iter().map(|&s| self.data.days[s].risk as f32).collect();
        let risk = self.tensor(risk, [days, 1], device);
        let d = self.gather(samples, |s| self.data.days[s].d.clone(), device);
        let f: Vec<f32> = samples.iter().flat_map(|&s| self.data.days[s].f.iter().copied()).collect();
        let f = self.tensor(f, [days, n, r], device);
        Ok(match self.learn {
            Learn::Risk => {
                let half = (said * 0.5).exp();
                let d = d * half.clone().square();
                let f = f * half.reshape([days, n, 1]);
                let w = layer.forward_at(index, Arguments::new().low_rank(d, f))?.x;
                let ahead = |s: usize| (0..AHEAD).flat_map(move |k| self.data.ahead(s, k).iter().map(|&r| r as f32));
                let ahead: Vec<f32> = samples.iter().flat_map(|&s| ahead(s)).collect();
                let ahead = self.tensor(ahead, [days, AHEAD, n], device);
                let earned = ahead.matmul(w.reshape([days, n, 1])).reshape([days, AHEAD]) / risk;
                earned.square().mean().log()
            }
            Learn::Returns => {
                let w = layer.forward_at(index, Arguments::new().q(-said))?.x;
                let outcome = |s: usize| self.data.outcome(s).iter().map(|&r| r as f32).collect();
                let earned: Tensor<2> = (self.gather(samples, outcome, device) * w.clone()).sum_dim(1) / risk;
                let own: Tensor<2> = (d * w.clone().square()).sum_dim(1);
                let common: Tensor<3> = w.reshape([days, 1, n]).matmul(f).square().sum_dim(2);
                let price: Vec<f32> = samples.iter().map(|&s| self.price(&self.data.days[s]) as f32).collect();
                let price = self.tensor(price, [days, 1], device);
                ((own + common.reshape([days, 1])) * price * 0.5 - earned).mean()
            }
        })
    }
}

/// How a predictor is trained on.
struct Passes {
    epochs: usize,
    rate: f64,
    loss: Loss,
    judge: Loss,
}
