//! Training one predictor by one method.

use super::dataset::{Dataset, Rule};
use super::metrics::{Days, mean};
use super::model::Predictor;
use super::random::Random;
use bpqp::{Qp, Settings, Solver};
use bpqp_burn::{Arguments, LayerError, QpLayer, Timing};
use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Device, Tensor, TensorData};
use serde::Serialize;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// What the predictor is trained for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Small prediction error; the program comes afterwards.
    TwoStage,
    /// Good decisions: the loss is on the solution of the program, and its gradient goes through the program.
    Bpqp,
}

impl Method {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Method::TwoStage => "two-stage",
            Method::Bpqp => "bpqp",
        }
    }
}

/// The loss of the method [`Method::Bpqp`]; `R` is the regret of a day. It and the prediction errors are in units of the
/// day's risk, [`Covariance::risk`](super::covariance::Covariance::risk).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DecisionLoss {
    /// `beta * mean(R^2) + MSE`, as in the paper.
    Mixed {
        /// Weight of the squared regret.
        beta: f64,
    },
    /// `mean(R)`.
    Regret,
}

/// How to train.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Training {
    /// Passes over the training days.
    pub epochs: usize,
    /// Days in a step.
    pub batch: usize,
    /// Step size of AdamW.
    pub learning_rate: f64,
    /// Weight decay of AdamW.
    pub weight_decay: f64,
    /// Loss of [`Method::Bpqp`].
    pub loss: DecisionLoss,
    /// Threads for the programs; 0 means all cores.
    pub threads: usize,
}

/// One pass over the training days, and the validation days after it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Epoch {
    /// 0 is the untrained predictor.
    pub epoch: usize,
    /// Prediction loss on the training days, as the pass went.
    pub train_mse: Option<f64>,
    /// Mean regret on the training days, where the method computes it.
    pub train_regret: Option<f64>,
    /// Prediction loss on the validation days.
    pub validation_mse: f64,
    /// Mean regret on the validation days.
    pub validation_regret: f64,
    /// Seconds of the pass over the training days.
    pub seconds: f64,
}

/// Where a training stands.
#[derive(Debug, Clone, Copy)]
pub enum Event {
    /// A step was taken.
    Step {
        /// Share of the epoch that is done.
        done: f64,
        /// Prediction loss of the step.
        mse: f64,
        /// Regret of the step, where the method computes it.
        regret: Option<f64>,
    },
    /// An epoch ended.
    Epoch {
        /// Its numbers.
        record: Epoch,
        /// The best epoch so far.
        best: usize,
    },
}

/// What a training gives.
pub struct Trained {
    /// The predictor of the best epoch.
    pub model: Predictor,
    /// The best epoch by validation: least prediction error for two-stage, least regret for bpqp. 0, the untrained
    /// predictor, only if no epoch ended.
    pub best: usize,
    /// All epochs.
    pub curve: Vec<Epoch>,
    /// Time in the solver while training.
    pub timing: Timing,
    /// Time in the solver on the validation days.
    pub validation_timing: Timing,
    /// False if it was told to stop.
    pub finished: bool,
}

/// What all methods and seeds share.
pub struct Engine<'a> {
    data: &'a Dataset,
    rule: Rule,
    training: Training,
    device: Device,
    /// The program of each sample; layers share their blocks.
    problems: Vec<Qp>,
    /// The least cost of each sample under its true returns.
    optimal: Vec<f64>,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl<'a> Engine<'a> {
    /// Solves every sample under its true returns, which is what decisions are compared with.
    pub fn new(data: &'a Dataset, rule: Rule, training: Training) -> Result<Self, Failure> {
        let problems: Result<Vec<Qp>, bpqp::Error> = (0..data.samples()).map(|s| data.problem(s, &rule)).collect();
        let device = Device::flex();
        let mut engine = Engine { data, rule, training, device, problems: problems?, optimal: Vec::new() };
        let layer = engine.layer()?;
        let weights = engine.decide(&layer, 0..data.samples(), |s| data.outcome(s))?;
        engine.optimal =
            weights.iter().enumerate().map(|(s, w)| rule.cost(&data.covariances[s], w, data.outcome(s))).collect();
        Ok(engine)
    }

    /// A fresh layer with every sample's program, without memory of other trainings.
    fn layer(&self) -> Result<QpLayer, Failure> {
        let mut settings = Settings::with_solver(Solver::Auto);
        settings.threads = self.training.threads;
        Ok(QpLayer::new(self.problems.clone(), settings)?)
    }

    /// Decisions for given returns.
    fn decide<'r>(
        &self,
        layer: &QpLayer,
        samples: Range<usize>,
        returns: impl Fn(usize) -> &'r [f64],
    ) -> Result<Vec<Vec<f64>>, LayerError> {
        let n = self.data.stocks();
        let mut weights = Vec::with_capacity(samples.len());
        for chunk in chunks(samples, self.training.batch) {
            let q: Vec<f32> = chunk.clone().flat_map(&returns).map(|&r| -r as f32).collect();
            let q: Tensor<2> = Tensor::from_data(TensorData::new(q, [chunk.len(), n]), &self.device);
            let index: Vec<usize> = chunk.collect();
            let x = layer.forward_at(&index, Arguments::new().q(q))?.x.into_data();
            let values: Vec<f64> = x.iter::<f64>().collect();
            weights.extend(values.chunks_exact(n).map(<[f64]>::to_vec));
        }
        Ok(weights)
    }

    fn days(&self, samples: Range<usize>, weights: Vec<Vec<f64>>, expected: Vec<Vec<f64>>) -> Days {
        let regret = |(s, w): (usize, &Vec<f64>)| {
            self.rule.cost(&self.data.covariances[s], w, self.data.outcome(s)) - self.optimal[s]
        };
        Days {
            regret: samples.clone().zip(&weights).map(regret).collect(),
            truth: samples.map(|s| self.data.outcome(s).to_vec()).collect(),
            weights,
            expected,
        }
    }

    /// The portfolio with the same weight for every stock.
    pub fn equal_weight(&self, samples: Range<usize>) -> Days {
        let n = self.data.stocks();
        let weights = vec![vec![1.0 / n as f64; n]; samples.len()];
        self.days(samples, weights, Vec::new())
    }

    /// The portfolio of least variance: the program with expected returns 0.
    pub fn minimum_variance(&self, samples: Range<usize>) -> Result<Days, Failure> {
        let zeros = vec![0.0; self.data.stocks()];
        let weights = self.decide(&self.layer()?, samples.clone(), |_| &zeros)?;
        Ok(self.days(samples, weights, Vec::new()))
    }

    /// Predictions and decisions of a model.
    pub fn evaluate(&self, model: &Predictor, samples: Range<usize>) -> Result<Days, Failure> {
        self.evaluate_with(&self.layer()?, model, samples)
    }

    fn evaluate_with(&self, layer: &QpLayer, model: &Predictor, samples: Range<usize>) -> Result<Days, Failure> {
        let model = model.valid();
        let n = self.data.stocks();
        let mut expected = Vec::with_capacity(samples.len());
        for chunk in chunks(samples.clone(), self.training.batch) {
            let index: Vec<usize> = chunk.collect();
            let (features, risk) = (self.features(&index, &self.device), self.risk(&index, &self.device));
            let mu = model.forward(features, risk, n).into_data();
            let values: Vec<f64> = mu.iter::<f64>().collect();
            expected.extend(values.chunks_exact(n).map(<[f64]>::to_vec));
        }
        let start = samples.start;
        let weights = self.decide(layer, samples.clone(), |s| &expected[s - start])?;
        Ok(self.days(samples, weights, expected))
    }

    fn features(&self, samples: &[usize], device: &Device) -> Tensor<2> {
        let values: Vec<f32> = samples.iter().flat_map(|&s| self.data.inputs(s).iter().copied()).collect();
        let count = self.data.features.names.len();
        Tensor::from_data(TensorData::new(values, [samples.len() * self.data.stocks(), count]), device)
    }

    /// The risk of each day, days x 1.
    fn risk(&self, samples: &[usize], device: &Device) -> Tensor<2> {
        let values: Vec<f32> = samples.iter().map(|&s| self.data.covariances[s].risk() as f32).collect();
        Tensor::from_data(TensorData::new(values, [samples.len(), 1]), device)
    }

    /// Trains by `method` from the initial weights of `seed`. Sets of days come in the same order for every method.
    pub fn train(
        &self,
        method: Method,
        seed: u64,
        stop: &AtomicBool,
        mut watch: impl FnMut(Event),
    ) -> Result<Trained, Failure> {
        let device = self.device.clone().autodiff();
        let mut model = Predictor::new(self.data.features.names.len(), seed, &device);
        let mut optimizer = AdamWConfig::new().with_weight_decay(self.training.weight_decay as f32).init();
        let layer = self.layer()?;
        let mut trained = Trained {
            model: model.clone(),
            best: 0,
            curve: Vec::new(),
            timing: Timing::default(),
            validation_timing: Timing::default(),
            finished: false,
        };
        let mut least = f64::INFINITY;
        for epoch in 0..=self.training.epochs {
            let started = Instant::now();
            let (mut mse, mut regret) = (Vec::new(), Vec::new());
            if epoch > 0 {
                let order = Random::new(seed, 0x100 + epoch as u64).permutation(self.data.split.train.len());
                let steps = order.len().div_ceil(self.training.batch);
                for (step, samples) in order.chunks(self.training.batch).enumerate() {
                    if stop.load(Ordering::Relaxed) {
                        return Ok(trained);
                    }
                    let losses = self.losses(&model, &layer, method, samples, &device)?;
                    let gradients = GradientsParams::from_grads(losses.total.backward(), &model);
                    model = optimizer.step(self.rate(epoch - 1, step, steps), model, gradients);
                    mse.push(losses.mse);
                    regret.extend(losses.regret);
                    let done = (step + 1) as f64 / steps as f64;
                    watch(Event::Step { done, mse: losses.mse, regret: losses.regret });
                }
            }
            let seconds = started.elapsed().as_secs_f64();
            add(&mut trained.timing, layer.take_timing());
            let days = self.evaluate_with(&layer, &model, self.data.split.validation.clone())?;
            add(&mut trained.validation_timing, layer.take_timing());
            let record = Epoch {
                epoch,
                train_mse: (!mse.is_empty()).then(|| mean(&mse)),
                train_regret: (!regret.is_empty()).then(|| mean(&regret)),
                validation_mse: days.mse().unwrap_or(f64::NAN),
                validation_regret: mean(&days.regret),
                seconds,
            };
            let score = match method {
                Method::TwoStage => record.validation_mse,
                Method::Bpqp => record.validation_regret,
            };
            // The untrained predictor stands in until the first epoch ends; it is no candidate, because two losses are
            // to be compared. Expecting nothing is in the table by itself, as the portfolio of least variance.
            if epoch <= 1 || score < least {
                least = score;
                (trained.model, trained.best) = (model.clone(), epoch);
            }
            trained.curve.push(record);
            watch(Event::Epoch { record, best: trained.best });
        }
        trained.finished = true;
        Ok(trained)
    }

    /// The step size falls to zero along a cosine: the last epochs change little.
    fn rate(&self, epoch: usize, step: usize, steps: usize) -> f64 {
        let done = (epoch as f64 + step as f64 / steps as f64) / self.training.epochs as f64;
        self.training.learning_rate * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())
    }

    fn losses(
        &self,
        model: &Predictor,
        layer: &QpLayer,
        method: Method,
        samples: &[usize],
        device: &Device,
    ) -> Result<Losses, Failure> {
        let (days, n) = (samples.len(), self.data.stocks());
        let gather = |row: &dyn Fn(usize) -> Vec<f32>| samples.iter().flat_map(|&s| row(s)).collect::<Vec<f32>>();
        let truth = gather(&|s| self.data.outcome(s).iter().map(|&r| r as f32).collect());
        let truth: Tensor<2> = Tensor::from_data(TensorData::new(truth, [days, n]), device);
        // Losses are in units of each day's risk, so that calm and wild years count alike.
        let risk = self.risk(samples, device);
        let mu = model.forward(self.features(samples, device), risk.clone(), n);
        let error = mu.clone() - truth.clone();
        let value = |t: Tensor<1>| t.into_data().iter::<f64>().next().unwrap_or(f64::NAN);
        let mse_value = value(error.clone().square().mean());
        let mse = (error / risk.clone()).square().mean();
        if method == Method::TwoStage {
            return Ok(Losses { total: mse, mse: mse_value, regret: None });
        }
        let w = layer.forward_at(samples, Arguments::new().q(-mu))?.x;
        // f(w) = lambda/2 (sum d w^2 + |F'w|^2) - r'w, with the factors as they are.
        let d = gather(&|s| self.data.covariances[s].d.iter().map(|&v| v as f32).collect());
        let d: Tensor<2> = Tensor::from_data(TensorData::new(d, [days, n]), device);
        let components = self.data.covariances[0].f.ncols();
        let f = gather(&|s| {
            let f = &self.data.covariances[s].f;
            (0..n).flat_map(|i| (0..components).map(move |k| f[(i, k)] as f32)).collect()
        });
        let f: Tensor<3> = Tensor::from_data(TensorData::new(f, [days, n, components]), device);
        let own: Tensor<2> = (d * w.clone().square()).sum_dim(1);
        let common: Tensor<3> = w.clone().reshape([days, 1, n]).matmul(f).square().sum_dim(2);
        let earned: Tensor<2> = (truth * w).sum_dim(1);
        let cost = (own + common.reshape([days, 1])) * (0.5 * self.rule.risk_aversion) - earned;
        let best = gather(&|s| vec![self.optimal[s] as f32]);
        let regret = cost - Tensor::from_data(TensorData::new(best, [days, 1]), device);
        let regret_value = value(regret.clone().mean());
        let regret = regret / risk;
        let total = match self.training.loss {
            DecisionLoss::Mixed { beta } => regret.square().mean() * beta + mse,
            DecisionLoss::Regret => regret.mean(),
        };
        Ok(Losses { total, mse: mse_value, regret: Some(regret_value) })
    }
}

struct Losses {
    total: Tensor<1>,
    mse: f64,
    regret: Option<f64>,
}

fn chunks(range: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range.step_by(size).map(move |from| from..(from + size).min(end))
}

fn add(sum: &mut Timing, more: Timing) {
    sum.forward_seconds += more.forward_seconds;
    sum.forward_count += more.forward_count;
    sum.forward_iterations += more.forward_iterations;
    sum.backward_seconds += more.backward_seconds;
    sum.backward_count += more.backward_count;
    sum.backward_refused += more.backward_refused;
    sum.backward_untrusted += more.backward_untrusted;
}
