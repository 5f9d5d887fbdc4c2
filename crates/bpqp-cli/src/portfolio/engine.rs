//! Deciding with a predictor, and what its decisions are worth.

use super::dataset::{AHEAD, Dataset, Day};
use super::friction::{Friction, Weighted, weights};
use super::metrics::{Series, drifted, mean};
use super::model::Predictor;
use super::options::Learn;
use bpqp::{Hessian, Layer, Matrix, Point, Qp, Settings};
use burn::tensor::{Device, Tensor, TensorData};
use faer::Mat;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::ops::Range;

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

/// Deciding: what does not need training.
pub struct Engine<'a> {
    /// The data.
    pub data: &'a Dataset,
    /// What is learned.
    pub learn: Learn,
    /// What may be held.
    pub rule: &'a Rule,
    pub(super) device: Device,
}

/// Prices of trading away from what is held.
pub type Pull<'p> = (Friction, &'p [f64]);

pub(super) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The risk that the network can move: variances by a factor between `exp(-2)` and `exp(2)`.
const REACH: f64 = 2.0;
/// Days decided in one go by one thread, each from the solution of the day before.
const CHUNK: usize = 64;
/// Squared returns above this many squared risks count as this many: one day must not be the whole likelihood.
const WILDEST: f64 = 100.0;

impl<'a> Engine<'a> {
    /// For that data.
    pub fn new(data: &'a Dataset, learn: Learn, rule: &'a Rule) -> Self {
        Engine { data, learn, rule, device: Device::flex() }
    }

    /// The set of the program over weights: `1'w = 1`, caps, groups; stocks outside of the universe are held at 0.
    fn set(&self, p: Hessian, q: Vec<f64>, upper: Vec<f64>) -> Result<Qp, bpqp::Error> {
        let n = q.len();
        let qp = Qp::new(p, q)?.equality(Matrix::from_rows(1, n, &vec![1.0; n])?, vec![1.0])?;
        let qp = qp.bounds(vec![0.0; n], upper)?;
        if self.rule.groups.is_empty() {
            return Ok(qp);
        }
        let caps: Vec<f64> = self.rule.groups.iter().map(|g| g.cap).collect();
        qp.inequality(Matrix::from_rows(self.rule.groups.len(), n, &self.group_rows(&vec![1.0; n]))?, caps)
    }

    /// The same over what is bought and sold.
    fn trades(&self, own: Weighted, friction: Friction, held: &[f64]) -> Result<Qp, bpqp::Error> {
        let n = held.len();
        let traded = own.traded(friction, held)?;
        let signs: Vec<f64> = (0..2 * n).map(|i| if i < n { 1.0 } else { -1.0 }).collect();
        let rest = 1.0 - held.iter().sum::<f64>();
        let qp = Qp::new(traded.p, traded.q)?.equality(Matrix::from_rows(1, 2 * n, &signs)?, vec![rest])?;
        let qp = qp.bounds(traded.lower, traded.upper)?;
        if self.rule.groups.is_empty() {
            return Ok(qp);
        }
        let inside = |g: &Group| g.stocks.iter().map(|&s| held[s]).sum::<f64>();
        let room: Vec<f64> = self.rule.groups.iter().map(|g| g.cap - inside(g)).collect();
        qp.inequality(Matrix::from_rows(self.rule.groups.len(), 2 * n, &self.group_rows(&signs))?, room)
    }

    /// A row for each group, with these entries for each copy of its stocks.
    fn group_rows(&self, entries: &[f64]) -> Vec<f64> {
        let (n, width) = (self.data.stocks(), entries.len());
        let mut rows = vec![0.0; width * self.rule.groups.len()];
        for (k, group) in self.rule.groups.iter().enumerate() {
            for at in group.stocks.iter().flat_map(|s| (*s..width).step_by(n)) {
                rows[k * width + at] = entries[at];
            }
        }
        rows
    }

    fn upper<'k>(&self, known: &'k [bool]) -> impl Iterator<Item = f64> + use<'k> {
        let cap = self.rule.cap;
        known.iter().map(move |&k| if k { cap } else { 0.0 })
    }

    /// The price of variance in units of the day's risk.
    pub(super) fn price(&self, day: &Day) -> f64 {
        match self.learn {
            Learn::Risk => 1.0,
            Learn::Returns => self.rule.risk_aversion * day.risk,
        }
    }

    /// The program of a sample for what the predictor says, what it costs to trade away from `held` added if there is a
    /// `pull`:
    ///
    /// - risk: `min 1/2 w'Sw`, `S = M (diag(d) + F F') M`, `M = diag(exp(a/2))`, `a` the prediction;
    /// - returns: `min lambda s/2 w'Sw - mu'w`, `mu` the prediction, `s` the risk of the day, `S = diag(d) + F F'`.
    ///
    /// With a price on absolute values its variables are what is bought and sold; see [`super::friction`].
    pub fn program(&self, sample: usize, said: &[f32], pull: Option<Pull<'_>>) -> Result<Qp, bpqp::Error> {
        let (day, n, r) = (&self.data.days[sample], self.data.stocks(), self.data.components);
        let price = self.price(day);
        let moved: Vec<f64> = match self.learn {
            Learn::Risk => said.iter().map(|&a| f64::from(a).exp()).collect(),
            Learn::Returns => vec![price; n],
        };
        let d: Vec<f64> = (0..n).map(|i| f64::from(day.d[i]) * moved[i]).collect();
        let f = Mat::from_fn(n, r, |i, k| f64::from(day.f[i * r + k]) * moved[i].sqrt());
        let mut q = vec![0.0; n];
        if self.learn == Learn::Returns {
            q.iter_mut().zip(said).for_each(|(q, &mu)| *q = -f64::from(mu));
        }
        let upper: Vec<f64> = self.upper(&day.known).collect();
        match pull {
            None => self.set(Hessian::low_rank(d, f)?, q, upper),
            Some((friction, held)) if friction.c > 0.0 => self.trades(Weighted { d, f, q, upper }, friction, held),
            Some((Friction { kappa, .. }, held)) => {
                q.iter_mut().zip(held).for_each(|(q, v)| *q -= kappa * v);
                self.set(Hessian::low_rank(d.iter().map(|d| d + kappa).collect(), f)?, q, upper)
            }
        }
    }

    /// Solves the program of a sample.
    fn solve(
        &self,
        layer: &mut Option<(Layer, Point)>,
        sample: usize,
        said: &[f32],
        pull: Option<Pull<'_>>,
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
        let w = match pull {
            Some((friction, held)) if friction.c > 0.0 => weights(held, &solution.x),
            _ => solution.x.clone(),
        };
        let point = solution.point();
        *layer = Some((solver, point));
        Ok(w)
    }

    /// The decision of a day by itself.
    pub fn decide_one(&self, sample: usize, said: &[f32], pull: Option<Pull<'_>>) -> Result<Vec<f64>, Failure> {
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

    /// The mean squared return of these weights over the mean of the variance that was expected of them; 1 where there is
    /// nothing to compare.
    pub fn realized(&self, samples: Range<usize>, said: &[f32], weights: &[Vec<f64>]) -> f64 {
        let (n, start) = (self.data.stocks(), samples.start);
        let (mut earned, mut expected) = (0.0, 0.0);
        for (s, w) in samples.zip(weights) {
            let outcome = self.data.outcome(s);
            earned += w.iter().zip(outcome).map(|(w, r)| w * r).sum::<f64>().powi(2);
            expected += self.variance_of(s, &said[(s - start) * n..(s - start + 1) * n], w);
        }
        let factor = earned / expected;
        if factor > 0.0 && factor.is_finite() { factor } else { 1.0 }
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
    pub fn path(&self, samples: Range<usize>, said: &[f32], friction: Friction) -> Result<Vec<Vec<f64>>, Failure> {
        let (n, start) = (self.data.stocks(), samples.start);
        let (mut layer, mut weights): (_, Vec<Vec<f64>>) = (None, Vec::with_capacity(samples.len()));
        for s in samples {
            let said = &said[(s - start) * n..(s - start + 1) * n];
            let w = match weights.last() {
                None => self.solve(&mut None, s, said, None)?,
                Some(last) => {
                    let before = drifted(last, self.data.outcome(s - 1));
                    self.solve(&mut layer, s, said, Some((friction, &before)))?
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

    pub(super) fn output(&self, model: &Predictor, samples: &[usize], device: &Device) -> Tensor<2> {
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
    pub(super) fn forecast_error(&self, samples: Range<usize>, said: &[f32]) -> f64 {
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
    pub(super) fn variance(&self, sample: usize, i: usize) -> f32 {
        let (day, r) = (&self.data.days[sample], self.data.components);
        day.d[i] + day.f[i * r..(i + 1) * r].iter().map(|f| f * f).sum::<f32>()
    }

    /// What is to be forecast of each stock: its mean squared return of the week (risk), or its return, standardized over
    /// the stocks and clipped at 5 (returns).
    pub(super) fn target(&self, sample: usize) -> Vec<f32> {
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
}
