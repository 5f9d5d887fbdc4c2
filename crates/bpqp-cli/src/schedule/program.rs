//! The schedule of a day: the least expected cost under ramp limits, and its derivative by the forecast.
//!
//! The load of hour h is `N(mean_h, spread_h^2)`. The schedule z solves
//!
//! ```text
//! minimize sum_h E[50 (y_h - z_h)+ + 0.5 (z_h - y_h)+ + (z_h - y_h)^2 / 2]   s.t.   |z_h - z_(h-1)| <= ramp
//! ```
//!
//! which is convex and smooth, but not quadratic: its curvature is that of the normal density. It is a [`SmoothProgram`] whose
//! parameters are the means and spreads.

use bpqp::smooth::{At, Expansion, Pushed, SmoothLayer, SmoothProgram, Values};
use bpqp::{Cotangent, Hessian, Layer, Matrix, Qp, Settings, Status};
use rayon::prelude::*;

/// Hours in a day.
pub const HOURS: usize = 24;
/// The cost of a unit of load that is not met.
pub const MISSING: f64 = 50.0;
/// The cost of a unit too much.
pub const SURPLUS: f64 = 0.5;

/// One number an hour.
pub type Day = [f64; HOURS];

/// A normal distribution of each hour's load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Forecast {
    /// Means.
    pub mean: Day,
    /// Standard deviations.
    pub spread: Day,
}

/// The cost of a schedule once the load is known.
pub fn realized(schedule: &Day, load: &Day) -> f64 {
    let hour = |(z, y): (&f64, &f64)| MISSING * (y - z).max(0.0) + SURPLUS * (z - y).max(0.0) + 0.5 * (z - y) * (z - y);
    schedule.iter().zip(load).map(hour).sum()
}

/// Its derivative by the schedule.
pub fn realized_slope(schedule: &Day, load: &Day) -> Day {
    std::array::from_fn(|h| {
        let over = schedule[h] - load[h];
        over + if over < 0.0 { -MISSING } else { SURPLUS }
    })
}

/// Expected cost of one hour, with first and second derivative by the schedule, and the first by the spread.
#[derive(Debug, Clone, Copy)]
struct Hour {
    cost: f64,
    slope: f64,
    curvature: f64,
    by_spread: f64,
}

impl Hour {
    fn at(z: f64, mean: f64, spread: f64) -> Self {
        let (over, u) = (z - mean, (z - mean) / spread);
        let (below, density) = normal(u);
        Hour {
            cost: (MISSING + SURPLUS) * (spread * density + over * below) - MISSING * over
                + 0.5 * (over * over + spread * spread),
            slope: (MISSING + SURPLUS) * below - MISSING + over,
            curvature: (MISSING + SURPLUS) * density / spread + 1.0,
            by_spread: (MISSING + SURPLUS) * density + spread,
        }
    }
}

/// Distribution and density of the standard normal.
fn normal(u: f64) -> (f64, f64) {
    let below = 0.5 * libm::erfc(-u * std::f64::consts::FRAC_1_SQRT_2);
    (below, (-0.5 * u * u).exp() / std::f64::consts::TAU.sqrt())
}

/// How many spreads above its mean the optimum of an hour is that no limit holds.
///
/// Its slope is below 0 at the mean, and grows ever slower from there: Newton's method comes from below, whatever it overshoots once,
/// and has all digits after five steps from 2.
fn alone(spread: f64) -> f64 {
    (0..5).fold(2.0, |u, _| {
        let (below, density) = normal(u);
        let slope = (MISSING + SURPLUS) * below - MISSING + spread * u;
        (u - slope / ((MISSING + SURPLUS) * density + spread)).max(0.0)
    })
}

fn cost(hours: &[Hour; HOURS]) -> f64 {
    hours.iter().map(|hour| hour.cost).sum()
}

fn hours(z: &Day, forecast: &Forecast) -> [Hour; HOURS] {
    std::array::from_fn(|h| Hour::at(z[h], forecast.mean[h], forecast.spread[h]))
}

/// The cost of a schedule that a forecast expects.
pub fn expected(schedule: &Day, forecast: &Forecast) -> f64 {
    cost(&hours(schedule, forecast))
}

/// Why there is no schedule.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// The forecast is none.
    #[error(
        "the forecast of hour {hour} has mean {mean} and spread {spread}: a finite mean and a spread > 0 are needed"
    )]
    Forecast {
        /// From 0.
        hour: usize,
        /// The mean.
        mean: f64,
        /// The spread.
        spread: f64,
    },
    /// The program was not solved.
    #[error("the schedule of a day ended as {status}{reason}")]
    Unsolved {
        /// How it ended.
        status: Status,
        /// Why, in words, if that is known.
        reason: String,
    },
    /// The library refused.
    #[error(transparent)]
    Library(#[from] bpqp::Error),
}

impl PlanError {
    fn unsolved(status: Status, reason: Option<String>) -> Self {
        PlanError::Unsolved { status, reason: reason.map_or_else(String::new, |words| format!(": {words}")) }
    }
}

/// Where a day starts: the first output and the changes of the optimal schedule of a similar forecast.
#[derive(Debug, Clone, PartialEq)]
pub struct Start(Vec<f64>);

/// The optimal schedule of a day.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The schedule.
    pub schedule: Day,
    /// Quadratic programs that it took.
    pub steps: usize,
    /// Where to start from when the forecast has moved a little.
    pub start: Start,
    /// The derivative of the loss, where one was asked for.
    pub derivative: Option<Derivative>,
}

/// The derivative of a loss of the schedule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Derivative {
    /// By the means of the forecast.
    pub mean: Day,
    /// By its spreads.
    pub spread: Day,
}

/// The derivative of a loss by the schedule, for the k-th forecast of a call.
pub type Loss<'a> = &'a (dyn Fn(usize, &Day) -> Day + Sync);

/// The most steps for one day; five to eight are usual.
const STEPS: usize = 60;
/// Doublings of the spreads at the start of the second attempt.
const WIDER: u32 = 12;
/// Days that are served in a row: a fixed number, so that no result depends on the number of threads.
const RUN: usize = 8;

/// The program of one day, in the first output and the changes from hour to hour: the limits are bounds.
struct DayProgram<'a> {
    forecast: Forecast,
    planner: &'a Planner,
    /// The outputs that were last looked at, and their hours: values and derivatives of a point are asked for in turn.
    last: Option<(Day, [Hour; HOURS])>,
}

/// The outputs that follow from the first one and the changes.
fn outputs(x: &[f64]) -> Day {
    let mut sum = 0.0;
    std::array::from_fn(|h| {
        sum += x[h];
        sum
    })
}

/// What is by the outputs, by the first one and the changes: each moves all hours from its own on.
fn by_changes(of: impl Fn(usize) -> f64) -> Vec<f64> {
    let mut out = vec![0.0; HOURS];
    let mut sum = 0.0;
    for h in (0..HOURS).rev() {
        sum += of(h);
        out[h] = sum;
    }
    out
}

/// The Hessian of what has these curvatures in the outputs.
fn hessian(curvature: impl Fn(usize) -> f64) -> Hessian {
    let sums = by_changes(curvature);
    let mut out = faer::Mat::zeros(HOURS, HOURS);
    for (j, &own) in sums.iter().enumerate() {
        let column = out.col_as_slice_mut(j);
        column[..j].fill(own);
        column[j..].copy_from_slice(&sums[j..]);
    }
    Hessian::from(out)
}

impl SmoothProgram for DayProgram<'_> {
    fn bounds(&self) -> (&[f64], &[f64]) {
        (&self.planner.lb, &self.planner.ub)
    }

    fn values(&mut self, x: &[f64]) -> Result<Values, bpqp::Error> {
        Ok(Values { objective: cost(&self.at(x).1), ..Values::default() })
    }

    fn expand(&mut self, at: At<'_>) -> Result<Expansion, bpqp::Error> {
        let (_, hours) = self.at(at.x);
        Ok(Expansion {
            gradient: by_changes(|h| hours[h].slope),
            equality: Matrix::empty(HOURS),
            inequality: Matrix::empty(HOURS),
            hessian: hessian(|h| hours[h].curvature),
        })
    }

    /// Means first, then spreads.
    fn pull(&mut self, at: At<'_>, w: &[f64], _: (&[f64], &[f64]), t: f64) -> Result<Vec<f64>, bpqp::Error> {
        let ((z, hours), w) = (self.at(at.x), outputs(w));
        let by_mean = (0..HOURS).map(|h| -w[h] * hours[h].curvature - t * hours[h].slope);
        let by_spread = (0..HOURS).map(|h| w[h] * self.slope_by_spread(h, &hours[h], z[h]) + t * hours[h].by_spread);
        Ok(by_mean.chain(by_spread).collect())
    }

    fn push(&mut self, at: At<'_>, direction: &[f64]) -> Result<Pushed, bpqp::Error> {
        let (mean, spread) = direction.split_at(HOURS);
        let (z, hours) = self.at(at.x);
        let slope = |h: usize| self.slope_by_spread(h, &hours[h], z[h]) * spread[h] - hours[h].curvature * mean[h];
        let lagrangian = (0..HOURS).map(|h| hours[h].by_spread * spread[h] - hours[h].slope * mean[h]).sum();
        Ok(Pushed { gradient: by_changes(slope), lagrangian, ..Pushed::default() })
    }
}

impl DayProgram<'_> {
    /// The outputs and their hours.
    fn at(&mut self, x: &[f64]) -> (Day, [Hour; HOURS]) {
        let z = outputs(x);
        if let Some(last) = self.last.filter(|last| last.0 == z) {
            return last;
        }
        *self.last.insert((z, hours(&z, &self.forecast)))
    }

    /// How the slope of an hour moves with its spread.
    fn slope_by_spread(&self, h: usize, hour: &Hour, z: f64) -> f64 {
        -(hour.curvature - 1.0) * (z - self.forecast.mean[h]) / self.forecast.spread[h]
    }
}

/// Schedules days under one ramp limit.
#[derive(Debug, Clone)]
pub struct Planner {
    /// Bounds of the first output and of the changes.
    lb: Vec<f64>,
    ub: Vec<f64>,
    settings: Settings,
}

impl Planner {
    /// For that limit on the change from hour to hour.
    pub fn new(ramp: f64) -> Result<Self, bpqp::Error> {
        let (mut lb, mut ub) = (vec![-ramp; HOURS], vec![ramp; HOURS]);
        (lb[0], ub[0]) = (f64::NEG_INFINITY, f64::INFINITY);
        let settings = Settings { max_iter: Some(STEPS), ..Settings::default() };
        settings.validate()?;
        Ok(Planner { lb, ub, settings })
    }

    /// The schedules of many days, on the threads of the current pool. `starts[k]` is where an earlier schedule of that day
    /// ended. With a loss the derivatives come along.
    pub fn plans(
        &self,
        forecasts: &[Forecast],
        starts: &[Option<&Start>],
        loss: Option<Loss<'_>>,
    ) -> Result<Vec<Plan>, PlanError> {
        let run = |(r, forecasts): (usize, &[Forecast])| -> Result<Vec<Plan>, PlanError> {
            let mut layer = SmoothLayer::new(self.settings.clone())?;
            let days = forecasts.iter().enumerate().map(|(k, forecast)| (r * RUN + k, forecast));
            days.map(|(k, forecast)| {
                let start = starts.get(k).copied().flatten();
                self.plan(&mut layer, forecast, start, &|z| loss.map(|loss| loss(k, z)))
            })
            .collect()
        };
        let runs: Result<Vec<Vec<Plan>>, PlanError> = forecasts.par_chunks(RUN).enumerate().map(run).collect();
        Ok(runs?.into_iter().flatten().collect())
    }

    /// Where spreads are so small beside the distances to the means that the steps do not become small, the schedule of wider
    /// spreads is the start.
    fn plan(
        &self,
        layer: &mut SmoothLayer,
        forecast: &Forecast,
        start: Option<&Start>,
        loss: &dyn Fn(&Day) -> Option<Day>,
    ) -> Result<Plan, PlanError> {
        for (hour, (&mean, &spread)) in forecast.mean.iter().zip(&forecast.spread).enumerate() {
            if !(mean.is_finite() && spread.is_finite() && spread > 0.0) {
                return Err(PlanError::Forecast { hour, mean, spread });
            }
        }
        let mut program = DayProgram { forecast: *forecast, planner: self, last: None };
        let first = self.solve(layer, &mut program, start)?;
        if first.ok {
            return Plan::of(layer, &mut program, first, loss);
        }
        let mut steps = first.steps;
        let mut near: Option<Start> = None;
        for halvings in (0..=WIDER).rev() {
            let factor = f64::from(1u32 << halvings);
            program.forecast.spread = forecast.spread.map(|s| s * factor);
            program.last = None;
            let mut found = self.solve(layer, &mut program, near.as_ref())?;
            steps += found.steps;
            if !found.ok {
                break;
            }
            if halvings == 0 {
                found.steps = steps;
                return Plan::of(layer, &mut program, found, loss);
            }
            near = Some(found.start);
        }
        Err(PlanError::unsolved(first.status, first.reason))
    }

    /// The optimum of each hour alone, followed as far as the limits allow: the solution where they never hold it back. Where they
    /// do, a schedule of a similar forecast is nearer, if there is one.
    fn begin(&self, forecast: &Forecast, similar: Option<&Start>) -> Vec<f64> {
        let mut z = 0.0_f64;
        let mut out = Vec::with_capacity(HOURS);
        for h in 0..HOURS {
            let (mean, spread) = (forecast.mean[h], forecast.spread[h]);
            let wanted = mean + spread * alone(spread) - z;
            let change = wanted.clamp(self.lb[h], self.ub[h]);
            if change != wanted
                && let Some(Start(x)) = similar
            {
                return x.clone();
            }
            z += change;
            out.push(change);
        }
        out
    }

    fn solve(
        &self,
        layer: &mut SmoothLayer,
        program: &mut DayProgram<'_>,
        start: Option<&Start>,
    ) -> Result<Found, bpqp::Error> {
        let x = self.begin(&program.forecast, start);
        let found = layer.solve(program, &x, None)?;
        let (ok, status, reason) = (found.ok(), found.status, found.reason.clone());
        Ok(Found { ok, status, reason, steps: found.iterations, start: Start(found.x.clone()) })
    }

    /// The closest schedules that keep the limit: what becomes of outputs that no forecast led to.
    pub fn closest(&self, targets: &[Day]) -> Result<Vec<Day>, PlanError> {
        let template = Qp::new(hessian(|_| 1.0), vec![0.0; HOURS])?.bounds(self.lb.clone(), self.ub.clone())?;
        let run = |targets: &[Day]| -> Result<Vec<Day>, PlanError> {
            let mut layer = Layer::new(template.clone(), Settings::default())?;
            let one = |target: &Day| {
                layer.update(template.clone().with_q(by_changes(|h| -target[h]))?)?;
                let solution = layer.solve()?;
                if solution.ok() { Ok(outputs(&solution.x)) } else { Err(PlanError::unsolved(solution.status, None)) }
            };
            targets.iter().map(one).collect()
        };
        let runs: Result<Vec<Vec<Day>>, PlanError> = targets.par_chunks(RUN).map(run).collect();
        Ok(runs?.into_iter().flatten().collect())
    }
}

/// How a solve ended.
struct Found {
    ok: bool,
    status: Status,
    reason: Option<String>,
    steps: usize,
    start: Start,
}

impl Plan {
    /// What the layer found last.
    fn of(
        layer: &mut SmoothLayer,
        program: &mut DayProgram<'_>,
        found: Found,
        loss: &dyn Fn(&Day) -> Option<Day>,
    ) -> Result<Self, PlanError> {
        let schedule = outputs(&found.start.0);
        let derivative = match loss(&schedule) {
            Some(loss) => {
                let g = layer.vjp(program, &Cotangent::x(&by_changes(|h| loss[h])))?.parameters;
                Some(Derivative { mean: std::array::from_fn(|h| g[h]), spread: std::array::from_fn(|h| g[HOURS + h]) })
            }
            None => None,
        };
        Ok(Plan { schedule, steps: found.steps, start: found.start, derivative })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::portfolio::random::Random;

    fn forecasts(count: usize) -> Vec<Forecast> {
        let mut random = Random::new(5, 1);
        let mut day = |from: f64, size: f64| -> Day { std::array::from_fn(|_| from + size * random.uniform()) };
        (0..count).map(|_| Forecast { mean: day(1.2, 0.5), spread: day(0.02, 0.08) }).collect()
    }

    fn none(count: usize) -> Vec<Option<&'static Start>> {
        vec![None; count]
    }

    #[test]
    fn without_limits_each_hour_is_a_quantile() {
        let forecasts = forecasts(3);
        let planner = Planner::new(100.0).unwrap();
        for (plan, forecast) in planner.plans(&forecasts, &none(3), None).unwrap().iter().zip(&forecasts) {
            for hour in hours(&plan.schedule, forecast) {
                assert!(hour.slope.abs() < 1e-8, "{}", hour.slope);
            }
        }
    }

    #[test]
    fn no_schedule_within_the_limits_is_cheaper() {
        let forecast = forecasts(1)[0];
        let planner = Planner::new(0.05).unwrap();
        let plan = planner.plans(&[forecast], &none(1), None).unwrap().remove(0);
        let ramps: Vec<f64> = plan.schedule.windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect();
        let active = ramps.iter().filter(|ramp| (**ramp - 0.05).abs() < 1e-12).count();
        assert!(ramps.iter().all(|ramp| *ramp <= 0.05 + 1e-12) && (5..23).contains(&active), "{active} active");
        let least = expected(&plan.schedule, &forecast);
        let mut random = Random::new(7, 1);
        for size in [1e-1, 1e-3, 1e-5] {
            for _ in 0..50 {
                let other: Day = std::array::from_fn(|h| plan.schedule[h] + size * (random.uniform() - 0.5));
                let other = planner.closest(&[other]).unwrap()[0];
                assert!(expected(&other, &forecast) >= least - 1e-13);
            }
        }
    }

    #[test]
    fn derivatives_agree_with_central_differences_where_limits_bind() {
        let planner = Planner::new(0.05).unwrap();
        let mut random = Random::new(9, 1);
        for forecast in forecasts(4) {
            let weights: Day = std::array::from_fn(|_| random.uniform() - 0.5);
            let value = |forecast: Forecast| -> f64 {
                let plan = planner.plans(&[forecast], &none(1), None).unwrap().remove(0);
                plan.schedule.iter().zip(&weights).map(|(z, w)| z * w).sum()
            };
            let plan = planner.plans(&[forecast], &none(1), Some(&|_, _| weights)).unwrap().remove(0);
            let derivative = plan.derivative.unwrap();
            for h in 0..HOURS {
                for (analytic, of_mean) in [(derivative.mean[h], true), (derivative.spread[h], false)] {
                    let moved = |by: f64| {
                        let mut other = forecast;
                        if of_mean {
                            other.mean[h] += by
                        } else {
                            other.spread[h] += by
                        }
                        value(other)
                    };
                    let numeric = (moved(1e-6) - moved(-1e-6)) / 2e-6;
                    assert!((analytic - numeric).abs() < 1e-6, "hour {h}: {analytic} {numeric}");
                }
            }
        }
    }

    #[test]
    fn starts_change_the_work_and_not_the_result() {
        let forecasts = forecasts(20);
        let planner = Planner::new(0.06).unwrap();
        let cold = planner.plans(&forecasts, &none(20), None).unwrap();
        let near: Vec<Forecast> = forecasts.iter().map(|f| Forecast { mean: f.mean.map(|m| m + 1e-3), ..*f }).collect();
        let near = planner.plans(&near, &none(20), None).unwrap();
        let starts: Vec<Option<&Start>> = near.iter().map(|plan| Some(&plan.start)).collect();
        let warm = planner.plans(&forecasts, &starts, None).unwrap();
        for (a, b) in cold.iter().zip(&warm) {
            assert!(a.schedule.iter().zip(&b.schedule).all(|(a, b)| (a - b).abs() < 1e-9));
        }
        let steps = |plans: &[Plan]| plans.iter().map(|plan| plan.steps).sum::<usize>();
        assert!(steps(&warm) < steps(&cold), "{} {}", steps(&warm), steps(&cold));
    }

    #[test]
    fn far_starts_and_tiny_spreads_converge() {
        let planner = Planner::new(0.05).unwrap();
        let mut hard = forecasts(2);
        hard[0].spread = [1e-4; HOURS];
        hard[1].mean = hard[1].mean.map(|m| m + 3.0);
        let starts = planner.plans(&forecasts(2), &none(2), None).unwrap();
        let starts: Vec<Option<&Start>> = starts.iter().map(|plan| Some(&plan.start)).collect();
        for start in [starts, none(2)] {
            let plans = planner.plans(&hard, &start, None).unwrap();
            // At the optimum no small change within the limits is cheaper.
            for (plan, forecast) in plans.iter().zip(&hard) {
                let least = expected(&plan.schedule, forecast);
                let nudged = |h: usize, by: f64| -> Day {
                    std::array::from_fn(|k| plan.schedule[k] + if k == h { by } else { 0.0 })
                };
                let all: Vec<Day> = (0..HOURS).flat_map(|h| [nudged(h, 1e-5), nudged(h, -1e-5)]).collect();
                for other in planner.closest(&all).unwrap() {
                    assert!(expected(&other, forecast) >= least - 1e-12 * least);
                }
            }
        }
    }

    #[test]
    fn a_forecast_that_is_none_is_refused_by_hour() {
        let mut forecast = forecasts(1)[0];
        forecast.spread[3] = 0.0;
        let error = Planner::new(1.0).unwrap().plans(&[forecast], &none(1), None).unwrap_err();
        assert!(error.to_string().contains("hour 3"), "{error}");
    }

    #[test]
    fn costs_and_slopes_agree() {
        let (z, y) = ([1.0; HOURS], std::array::from_fn(|h| 0.5 + h as f64 / 24.3));
        let slope = realized_slope(&z, &y);
        for h in 0..HOURS {
            let moved = |by: f64| {
                let mut other = z;
                other[h] += by;
                realized(&other, &y)
            };
            assert!(((moved(1e-6) - moved(-1e-6)) / 2e-6 - slope[h]).abs() < 1e-6);
        }
    }
}
