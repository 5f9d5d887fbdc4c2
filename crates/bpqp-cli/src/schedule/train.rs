//! Training one network for one goal.

use super::data::Days;
use super::model::Network;
use super::program::{Day, Forecast, HOURS, PlanError, Planner, Start, realized, realized_slope};
use crate::portfolio::random::Random;
use burn::grad_clipping::GradientClippingConfig;
use burn::module::Module;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Tensor, TensorData};

/// Days in a step.
const BATCH: usize = 64;
/// A day's cost in the losses of schedules and quantiles, so that gradients are about as large as those of errors.
const SCALE: f64 = 0.1;

/// What a network is trained for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    /// Small squared errors of the mean.
    SquaredError,
    /// The likelihood of mean and spread.
    Likelihood,
    /// The network's output is the schedule: small cost, without ramp limits.
    Quantile,
    /// Small cost of the optimal schedule, with spreads that stay, or with the network's own.
    Schedule(Option<Day>),
}

/// How long, how fast.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Training {
    /// Passes over the training days, at most.
    pub epochs: usize,
    /// Step size at the start; it falls to 0 along a cosine.
    pub rate: f64,
    /// Passes without a better one before the end.
    pub patience: usize,
}

/// What a training gives.
#[derive(Debug, Clone)]
pub struct Trained {
    /// The network of the best epoch.
    pub network: Network,
    /// That epoch, from 1.
    pub best: usize,
    /// Epochs that were run.
    pub epochs: usize,
    /// The goal on the validation days at that epoch.
    pub validation: f64,
}

/// The days of one seed, scaled by what the training days show.
pub struct Engine<'a> {
    data: &'a Days,
    planner: &'a Planner,
    /// Days to learn from.
    pub train: Vec<usize>,
    /// Days to choose by.
    pub validation: Vec<usize>,
    inputs: Vec<Vec<f32>>,
    level: Day,
    deviation: Day,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl<'a> Engine<'a> {
    /// A random fifth of the first `before` days validates, as in the paper.
    pub fn new(data: &'a Days, planner: &'a Planner, before: usize, seed: u64) -> Self {
        let order = Random::new(seed, 0x5d).permutation(before);
        let (train, validation) = order.split_at(before * 4 / 5);
        let sorted = |days: &[usize]| {
            let mut days = days.to_vec();
            days.sort_unstable();
            days
        };
        let (train, validation) = (sorted(train), sorted(validation));
        let moments = |value: &dyn Fn(usize) -> f64| {
            let count = train.len() as f64;
            let mean = train.iter().map(|&d| value(d)).sum::<f64>() / count;
            let variance = train.iter().map(|&d| (value(d) - mean).powi(2)).sum::<f64>() / count;
            (mean, variance.sqrt())
        };
        let columns: Vec<(f64, f64)> = (0..data.features[0].len()).map(|k| moments(&|d| data.features[d][k])).collect();
        let scaled = |day: &Vec<f64>| {
            day.iter().zip(&columns).map(|(v, (mean, deviation))| ((v - mean) / (deviation + 1e-9)) as f32).collect()
        };
        let hours: [(f64, f64); HOURS] = std::array::from_fn(|h| moments(&|d| data.loads[d][h]));
        Engine {
            inputs: data.features.iter().map(scaled).collect(),
            level: hours.map(|(mean, _)| mean),
            deviation: hours.map(|(_, deviation)| deviation),
            train,
            validation,
            data,
            planner,
        }
    }

    /// A network before training; `heads` is 2 where it gives spreads.
    pub fn network(&self, heads: usize, seed: u64) -> Network {
        Network::new(self.inputs[0].len(), heads, seed, &Device::flex().autodiff()).valid()
    }

    fn tensor(&self, days: &[usize], device: &Device) -> Tensor<2> {
        let values: Vec<f32> = days.iter().flat_map(|&d| self.inputs[d].iter().copied()).collect();
        Tensor::from_data(TensorData::new(values, [days.len(), self.inputs[0].len()]), device)
    }

    fn outputs(&self, network: &Network, days: &[usize]) -> Vec<f64> {
        let out = network.forward(self.tensor(days, &Device::flex()), None).into_data();
        out.iter::<f64>().collect()
    }

    /// The means that a row of outputs stands for, in units of load.
    fn mean(&self, row: &[f64]) -> Day {
        std::array::from_fn(|h| self.level[h] + self.deviation[h] * row[h])
    }

    /// Its forecast: `spread` if given, otherwise the network's own.
    fn forecast(&self, row: &[f64], spread: Option<&Day>) -> Forecast {
        let own = || std::array::from_fn(|h| self.deviation[h] * row[HOURS + h].exp());
        Forecast { mean: self.mean(row), spread: spread.copied().unwrap_or_else(own) }
    }

    /// What a network expects.
    pub fn forecasts(&self, network: &Network, days: &[usize], spread: Option<&Day>) -> Vec<Forecast> {
        let out = self.outputs(network, days);
        out.chunks_exact(out.len() / days.len()).map(|row| self.forecast(row, spread)).collect()
    }

    /// The deviation of a network's errors, hour by hour.
    pub fn spread(&self, network: &Network, days: &[usize]) -> Day {
        let pairs = self.means(network, days).into_iter().zip(days);
        let errors: Vec<Day> =
            pairs.map(|(mean, &d)| std::array::from_fn(|h| mean[h] - self.data.loads[d][h])).collect();
        std::array::from_fn(|h| {
            let hour: Vec<f64> = errors.iter().map(|e| e[h]).collect();
            super::results::deviation(&hour)
        })
    }

    /// Schedules that follow from forecasts.
    pub fn schedules(&self, forecasts: &[Forecast]) -> Result<Vec<Day>, PlanError> {
        let none = vec![None; forecasts.len()];
        Ok(self.planner.plans(forecasts, &none, None)?.into_iter().map(|plan| plan.schedule).collect())
    }

    /// Only the means.
    pub fn means(&self, network: &Network, days: &[usize]) -> Vec<Day> {
        let out = self.outputs(network, days);
        out.chunks_exact(out.len() / days.len()).map(|row| self.mean(row)).collect()
    }

    /// Trains a network on from where it is, and keeps the epoch with the least goal on the validation days. `stream` sets
    /// trainings of one seed apart; `watch` hears of every epoch.
    pub fn train(
        &self,
        network: &Network,
        goal: Goal,
        training: Training,
        (seed, stream): (u64, u64),
        mut watch: impl FnMut(),
    ) -> Result<Trained, Failure> {
        let device = Device::flex().autodiff();
        let mut network = network.clone().train();
        let config = AdamConfig::new().with_epsilon(1e-8).with_weight_decay(Some(WeightDecayConfig::new(1e-5)));
        let mut optimizer = config.with_grad_clipping(Some(GradientClippingConfig::Norm(5.0))).init();
        let mut random = Random::new(seed, stream);
        let mut starts: Vec<Option<Start>> = vec![None; self.data.loads.len()];
        let mut best = Trained { network: network.valid(), best: 0, epochs: 0, validation: f64::INFINITY };
        for epoch in 1..=training.epochs {
            let done = (epoch - 1) as f64 / training.epochs as f64;
            let rate = training.rate * 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
            let order = random.permutation(self.train.len());
            for chunk in order.chunks(BATCH) {
                let days: Vec<usize> = chunk.iter().map(|&k| self.train[k]).collect();
                let out = network.forward(self.tensor(&days, &device), Some(&mut random));
                let shape = out.dims();
                let values: Vec<f64> = out.clone().into_data().iter::<f64>().collect();
                let (_, gradient) = self.losses(goal, &days, &values, &mut starts)?;
                // The derivative by the outputs is known in double precision; burn's tape takes it on to the weights.
                let gradient: Vec<f32> = gradient.iter().map(|g| (g / days.len() as f64) as f32).collect();
                let gradient = Tensor::from_data(TensorData::new(gradient, shape), &device);
                let gradients = GradientsParams::from_grads((out * gradient).sum().backward(), &network);
                network = optimizer.step(rate, network, gradients);
            }
            let now = network.valid();
            let out = self.outputs(&now, &self.validation);
            let (losses, _) = self.losses(goal, &self.validation, &out, &mut starts)?;
            let validation = super::results::mean(&losses);
            best.epochs = epoch;
            if validation < best.validation {
                (best.network, best.best, best.validation) = (now, epoch, validation);
            }
            watch();
            if epoch - best.best > training.patience {
                break;
            }
        }
        Ok(best)
    }

    /// The loss of each day and its derivative by the outputs of that day.
    fn losses(
        &self,
        goal: Goal,
        days: &[usize],
        out: &[f64],
        starts: &mut [Option<Start>],
    ) -> Result<(Vec<f64>, Vec<f64>), PlanError> {
        let width = out.len() / days.len();
        let rows = || out.chunks_exact(width);
        let mut gradient = vec![0.0; out.len()];
        let mut losses = Vec::with_capacity(days.len());
        let loads = |k: usize| &self.data.loads[days[k]];
        if let Goal::Schedule(spread) = goal {
            let forecasts: Vec<Forecast> = rows().map(|row| self.forecast(row, spread.as_ref())).collect();
            let warm: Vec<Option<&Start>> = days.iter().map(|&d| starts[d].as_ref()).collect();
            let slope = |k: usize, z: &Day| realized_slope(z, loads(k)).map(|s| SCALE * s);
            let plans = self.planner.plans(&forecasts, &warm, Some(&slope))?;
            for (k, plan) in plans.into_iter().enumerate() {
                losses.push(SCALE * realized(&plan.schedule, loads(k)));
                let own = &mut gradient[k * width..(k + 1) * width];
                if let Some(derivative) = plan.derivative {
                    for h in 0..HOURS {
                        own[h] = derivative.mean[h] * self.deviation[h];
                        if spread.is_none() {
                            own[HOURS + h] = derivative.spread[h] * forecasts[k].spread[h];
                        }
                    }
                }
                starts[days[k]] = Some(plan.start);
            }
            return Ok((losses, gradient));
        }
        for (k, (row, own)) in rows().zip(gradient.chunks_exact_mut(width)).enumerate() {
            let mean = self.mean(row);
            let error: Day = std::array::from_fn(|h| (mean[h] - loads(k)[h]) / self.deviation[h]);
            let part = 1.0 / HOURS as f64;
            losses.push(match goal {
                Goal::SquaredError => {
                    (0..HOURS).for_each(|h| own[h] = 2.0 * part * error[h]);
                    part * error.iter().map(|e| e * e).sum::<f64>()
                }
                Goal::Likelihood => {
                    let mut loss = 0.0;
                    for h in 0..HOURS {
                        let (log, scale) = (row[HOURS + h], (-row[HOURS + h]).exp());
                        let u = error[h] * scale;
                        loss += part * (log + 0.5 * u * u);
                        (own[h], own[HOURS + h]) = (part * u * scale, part * (1.0 - u * u));
                    }
                    loss
                }
                Goal::Quantile | Goal::Schedule(_) => {
                    let slope = realized_slope(&mean, loads(k));
                    (0..HOURS).for_each(|h| own[h] = SCALE * slope[h] * self.deviation[h]);
                    SCALE * realized(&mean, loads(k))
                }
            });
        }
        Ok((losses, gradient))
    }
}
