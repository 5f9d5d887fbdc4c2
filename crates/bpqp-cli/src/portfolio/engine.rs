//! Training a predictor for its decisions, and deciding with it.

use super::dataset::{AHEAD, Dataset, Day, Fold};
use super::metrics::{Series, drifted, mean};
use super::model::Predictor;
use super::options::Learn;
use super::random::Random;
use bpqp::{Hessian, Layer, Matrix, Point, Qp, Settings};
use bpqp_burn::{Arguments, QpLayer, Timing};
use burn::grad_clipping::GradientClippingConfig;
use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Device, Tensor, TensorData};
use faer::Mat;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// What the predictor of a row of the table was trained for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// The same weight for every stock.
    EqualWeight,
    /// The program on the risk model alone.
    Static,
    /// A good forecast; the program comes afterwards.
    TwoStage,
    /// Two-stage, trained on for as many epochs as [`Method::Through`]: what more training alone does.
    Control,
    /// Two-stage, trained on through the program.
    Through,
}

impl Method {
    /// As in the table.
    pub fn name(self) -> &'static str {
        match self {
            Method::EqualWeight => "equal weight",
            Method::Static => "static risk model",
            Method::TwoStage => "two-stage",
            Method::Control => "two-stage, longer",
            Method::Through => "through the program",
        }
    }
}

/// What a portfolio may hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// The largest weight of a stock.
    pub cap: f64,
    /// Groups of stocks (their numbers) and the largest weight of each.
    pub groups: Vec<Group>,
    /// Price of variance; see the guide.
    pub risk_aversion: f64,
}

/// Stocks that together may not exceed a weight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Numbers of its stocks.
    pub stocks: Vec<usize>,
    /// The largest weight of all of them together.
    pub cap: f64,
}

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

/// Deciding: what does not need training.
pub struct Engine<'a> {
    /// The data.
    pub data: &'a Dataset,
    /// What is learned.
    pub learn: Learn,
    /// What may be held.
    pub rule: &'a Rule,
    device: Device,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The risk that the network can move: variances by a factor between `exp(-2)` and `exp(2)`.
const REACH: f64 = 2.0;
/// Days decided in one go by one thread, each from the solution of the day before.
const CHUNK: usize = 64;
/// Squared returns above this many squared risks count as this many: one day must not be the whole likelihood.
const WILDEST: f64 = 100.0;
/// Spreads of the forecast returns that are tried on the validation days, in units of the day's risk.
const SPREADS: [f64; 6] = [0.0125, 0.025, 0.05, 0.1, 0.2, 0.4];

impl<'a> Engine<'a> {
    /// For that data.
    pub fn new(data: &'a Dataset, learn: Learn, rule: &'a Rule) -> Self {
        Engine { data, learn, rule, device: Device::flex() }
    }

    /// The set of the program: `1'w = 1`, caps, groups; stocks outside of the universe are held at 0.
    fn set(&self, p: Hessian, q: Vec<f64>, known: &[bool]) -> Result<Qp, bpqp::Error> {
        let n = q.len();
        let qp = Qp::new(p, q)?.equality(Matrix::from_rows(1, n, &vec![1.0; n])?, vec![1.0])?;
        let qp = qp.bounds(vec![0.0; n], self.upper(known).collect::<Vec<f64>>())?;
        if self.rule.groups.is_empty() {
            return Ok(qp);
        }
        let mut rows = vec![0.0; n * self.rule.groups.len()];
        for (k, group) in self.rule.groups.iter().enumerate() {
            group.stocks.iter().for_each(|s| rows[k * n + s] = 1.0);
        }
        let caps: Vec<f64> = self.rule.groups.iter().map(|g| g.cap).collect();
        qp.inequality(Matrix::from_rows(self.rule.groups.len(), n, &rows)?, caps)
    }

    fn upper<'k>(&self, known: &'k [bool]) -> impl Iterator<Item = f64> + use<'k> {
        let cap = self.rule.cap;
        known.iter().map(move |&k| if k { cap } else { 0.0 })
    }

    /// The price of variance in units of the day's risk.
    fn price(&self, day: &Day) -> f64 {
        match self.learn {
            Learn::Risk => 1.0,
            Learn::Returns => self.rule.risk_aversion * day.risk,
        }
    }

    /// The program of a sample for what the predictor says, `kappa/2 |w - before|^2` added if there is a `pull`:
    ///
    /// - risk: `min 1/2 w'Sw`, `S = M (diag(d) + F F') M`, `M = diag(exp(a/2))`, `a` the prediction;
    /// - returns: `min lambda s/2 w'Sw - mu'w`, `mu` the prediction, `s` the risk of the day, `S = diag(d) + F F'`.
    pub fn program(&self, sample: usize, said: &[f32], pull: Option<(f64, &[f64])>) -> Result<Qp, bpqp::Error> {
        let (day, n, r) = (&self.data.days[sample], self.data.stocks(), self.data.components);
        let price = self.price(day);
        let kappa = pull.map_or(0.0, |(kappa, _)| kappa);
        let moved: Vec<f64> = match self.learn {
            Learn::Risk => said.iter().map(|&a| f64::from(a).exp()).collect(),
            Learn::Returns => vec![price; n],
        };
        let d = (0..n).map(|i| f64::from(day.d[i]) * moved[i] + kappa).collect();
        let f = Mat::from_fn(n, r, |i, k| f64::from(day.f[i * r + k]) * moved[i].sqrt());
        let mut q = vec![0.0; n];
        if self.learn == Learn::Returns {
            q.iter_mut().zip(said).for_each(|(q, &mu)| *q = -f64::from(mu));
        }
        if let Some((kappa, before)) = pull {
            q.iter_mut().zip(before).for_each(|(q, v)| *q -= kappa * v);
        }
        self.set(Hessian::low_rank(d, f)?, q, &day.known)
    }

    /// Solves the program of a sample.
    fn solve(
        &self,
        layer: &mut Option<(Layer, Point)>,
        sample: usize,
        said: &[f32],
        pull: Option<(f64, &[f64])>,
    ) -> Result<Vec<f64>, Failure> {
        let qp = self.program(sample, said, pull)?;
        let (mut solver, warm) = match layer.take() {
            Some((mut solver, point)) => {
                solver.update(qp)?;
                (solver, Some(point))
            }
            None => {
                let settings = Settings { threads: 1, ..Settings::default() };
                (Layer::new(qp, settings)?, None)
            }
        };
        let solution = solver.solve_from(warm.as_ref())?;
        if !solution.ok() {
            let date = self.data.date(sample);
            return Err(format!(
                "the portfolio of {date} has no solution ({}): are the caps too tight?",
                solution.status
            )
            .into());
        }
        let (w, point) = (solution.x.clone(), solution.point());
        *layer = Some((solver, point));
        Ok(w)
    }

    /// The decision of a day by itself.
    pub fn decide_one(&self, sample: usize, said: &[f32], pull: Option<(f64, &[f64])>) -> Result<Vec<f64>, Failure> {
        self.solve(&mut None, sample, said, pull)
    }

    /// The daily variance that is expected of a portfolio.
    pub fn variance_of(&self, sample: usize, said: &[f32], w: &[f64]) -> f64 {
        let (day, r) = (&self.data.days[sample], self.data.components);
        let scaled: Vec<f64> = match self.learn {
            Learn::Risk => w.iter().zip(said).map(|(w, &a)| w * (0.5 * f64::from(a)).exp()).collect(),
            Learn::Returns => w.to_vec(),
        };
        let own: f64 = scaled.iter().zip(&day.d).map(|(w, &d)| f64::from(d) * w * w).sum();
        let factor = |k: usize| scaled.iter().enumerate().map(|(i, w)| f64::from(day.f[i * r + k]) * w).sum::<f64>();
        (own + (0..r).map(|k| factor(k).powi(2)).sum::<f64>()) * day.risk * day.risk
    }

    /// The decisions of these days for what the predictor says, each day by itself.
    pub fn decide(&self, samples: Range<usize>, said: &[f32]) -> Result<Vec<Vec<f64>>, Failure> {
        let (n, start) = (self.data.stocks(), samples.start);
        let chunks: Vec<Range<usize>> =
            samples.clone().step_by(CHUNK).map(|from| from..(from + CHUNK).min(samples.end)).collect();
        let decided: Result<Vec<Vec<Vec<f64>>>, Failure> = chunks
            .into_par_iter()
            .map(|chunk| {
                let mut layer = None;
                chunk.map(|s| self.solve(&mut layer, s, &said[(s - start) * n..(s - start + 1) * n], None)).collect()
            })
            .collect();
        Ok(decided?.into_iter().flatten().collect())
    }

    /// The decisions of these days, each with yesterday's weights in its program.
    pub fn path(&self, samples: Range<usize>, said: &[f32], kappa: f64) -> Result<Vec<Vec<f64>>, Failure> {
        let (n, start) = (self.data.stocks(), samples.start);
        let (mut layer, mut weights): (_, Vec<Vec<f64>>) = (None, Vec::with_capacity(samples.len()));
        for s in samples {
            let said = &said[(s - start) * n..(s - start + 1) * n];
            let w = match weights.last() {
                None => self.solve(&mut None, s, said, None)?,
                Some(last) => {
                    let before = drifted(last, self.data.outcome(s - 1));
                    self.solve(&mut layer, s, said, Some((kappa, &before)))?
                }
            };
            weights.push(w);
        }
        Ok(weights)
    }

    /// What those weights earn. Weights of the first day are there before it.
    pub fn series(&self, samples: Range<usize>, weights: &[Vec<f64>]) -> Series {
        let mut series = Series::default();
        let mut before = weights.first().cloned().unwrap_or_default();
        for (s, w) in samples.zip(weights) {
            series.push(w, &before, self.data.outcome(s));
            before = drifted(w, self.data.outcome(s));
        }
        series
    }

    /// The portfolio with the same weight for every stock of the universe.
    pub fn equal_weight(&self, samples: Range<usize>) -> Vec<Vec<f64>> {
        let day = |s: usize| {
            let known = &self.data.days[s].known;
            let share = 1.0 / known.iter().filter(|k| **k).count() as f64;
            known.iter().map(|&k| if k { share } else { 0.0 }).collect()
        };
        samples.map(day).collect()
    }

    /// What a predictor says on these days, day by day and stock by stock.
    pub fn say(&self, model: &Predictor, samples: Range<usize>) -> Vec<f32> {
        let mut said = Vec::with_capacity(samples.len() * self.data.stocks());
        let samples: Vec<usize> = samples.collect();
        for part in samples.chunks(CHUNK) {
            said.extend(self.output(model, part, &self.device).into_data().iter::<f32>());
        }
        said
    }

    fn output(&self, model: &Predictor, samples: &[usize], device: &Device) -> Tensor<2> {
        let (n, count) = (self.data.stocks(), self.data.features.names.len());
        let mut values = Vec::with_capacity(samples.len() * n * count);
        samples.iter().for_each(|&s| self.data.features.day(s + super::features::WARM_UP, &mut values));
        let features = Tensor::from_data(TensorData::new(values, [samples.len() * n, count]), device);
        let out = model.forward(features, samples.len(), n);
        match self.learn {
            Learn::Risk => out.tanh() * REACH,
            Learn::Returns => out,
        }
    }

    /// How good decisions were, less is better: the log of the mean squared return of the week after the trade (risk), or
    /// the negative mean utility of the day (returns), both in units of the day's risk.
    pub fn judge(&self, samples: Range<usize>, weights: &[Vec<f64>]) -> f64 {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
        let each = |(s, w): (usize, &Vec<f64>)| {
            let day = &self.data.days[s];
            match self.learn {
                Learn::Risk => {
                    mean(&(0..AHEAD).map(|k| dot(w, self.data.ahead(s, k)).powi(2)).collect::<Vec<f64>>())
                        / day.risk.powi(2)
                }
                Learn::Returns => {
                    let r = self.data.components;
                    let own: f64 = w.iter().zip(&day.d).map(|(w, &d)| f64::from(d) * w * w).sum();
                    let factor =
                        |k: usize| w.iter().enumerate().map(|(i, w)| f64::from(day.f[i * r + k]) * w).sum::<f64>();
                    let risk = own + (0..r).map(|k| factor(k).powi(2)).sum::<f64>();
                    0.5 * self.price(day) * risk - dot(w, self.data.outcome(s)) / day.risk
                }
            }
        };
        let all: Vec<f64> = samples.zip(weights).map(each).collect();
        match self.learn {
            Learn::Risk => mean(&all).ln(),
            Learn::Returns => mean(&all),
        }
    }

    /// How good a forecast was, less is better: the Gaussian likelihood of the squared returns of the week (risk), or the
    /// negative correlation over the stocks (returns).
    fn forecast_error(&self, samples: Range<usize>, said: &[f32]) -> f64 {
        let n = self.data.stocks();
        let each = |(k, s): (usize, usize)| {
            let target = self.target(s);
            let known = (0..n).filter(|&i| self.data.days[s].known[i]);
            match self.learn {
                Learn::Risk => {
                    let one = |i: usize| {
                        let v = f64::from(self.variance(s, i)) * f64::from(said[k * n + i]).exp();
                        v.ln() + f64::from(target[i]) / v
                    };
                    mean(&known.map(one).collect::<Vec<f64>>())
                }
                Learn::Returns => {
                    let count = known.clone().count() as f64;
                    let average = known.clone().map(|i| f64::from(said[k * n + i])).sum::<f64>() / count;
                    let (mut xy, mut xx) = (0.0, 0.0);
                    for i in known {
                        let x = f64::from(said[k * n + i]) - average;
                        xy += x * f64::from(target[i]);
                        xx += x * x;
                    }
                    -xy / (xx * count).sqrt().max(1e-12)
                }
            }
        };
        mean(&samples.enumerate().map(each).collect::<Vec<f64>>())
    }

    /// What the risk model says about a stock, in units of the squared risk of the day.
    fn variance(&self, sample: usize, i: usize) -> f32 {
        let (day, r) = (&self.data.days[sample], self.data.components);
        day.d[i] + day.f[i * r..(i + 1) * r].iter().map(|f| f * f).sum::<f32>()
    }

    /// What is to be forecast of each stock: its mean squared return of the week (risk), or its return, standardized over
    /// the stocks and clipped at 5 (returns).
    fn target(&self, sample: usize) -> Vec<f32> {
        let (n, day) = (self.data.stocks(), &self.data.days[sample]);
        match self.learn {
            Learn::Risk => (0..n)
                .map(|i| {
                    let squares: f64 = (0..AHEAD).map(|k| self.data.ahead(sample, k)[i].powi(2)).sum();
                    (squares / AHEAD as f64 / day.risk.powi(2)).min(WILDEST) as f32
                })
                .collect(),
            Learn::Returns => {
                let r = self.data.outcome(sample);
                let known: Vec<f64> = (0..n).filter(|&i| day.known[i]).map(|i| r[i]).collect();
                let (average, spread) = (mean(&known), super::metrics::deviation(&known).max(1e-9));
                (0..n)
                    .map(|i| if day.known[i] { ((r[i] - average) / spread).clamp(-5.0, 5.0) as f32 } else { 0.0 })
                    .collect()
            }
        }
    }

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
