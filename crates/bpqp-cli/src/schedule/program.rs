//! The schedule of a day: the least expected cost under ramp limits, and its derivative by the forecast.
//!
//! The load of hour h is `N(mean_h, spread_h^2)`. The schedule z solves
//!
//! ```text
//! minimize sum_h E[50 (y_h - z_h)+ + 0.5 (z_h - y_h)+ + (z_h - y_h)^2 / 2]   s.t.   |z_h - z_(h-1)| <= ramp
//! ```
//!
//! which is convex and smooth, but not quadratic: its curvature is that of the normal density. Each step solves the quadratic
//! program with the exact Hessian at the last schedule, and a line search keeps the cost falling. At the solution the
//! optimality conditions of the last quadratic program are those of the schedule, so that its derivative by its linear term,
//! which the forecast moves, is the derivative of the schedule.

use bpqp::{Cotangent, Hessian, Layer, Matrix, Point, Qp, Settings, Status, Wrt};
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

/// Expected cost of one hour, with first and second derivative by the schedule.
struct Hour {
    cost: f64,
    slope: f64,
    curvature: f64,
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
        }
    }
}

/// Distribution and density of the standard normal.
fn normal(u: f64) -> (f64, f64) {
    let below = 0.5 * libm::erfc(-u * std::f64::consts::FRAC_1_SQRT_2);
    (below, (-0.5 * u * u).exp() / std::f64::consts::TAU.sqrt())
}

fn hours(z: &Day, forecast: &Forecast) -> [Hour; HOURS] {
    std::array::from_fn(|h| Hour::at(z[h], forecast.mean[h], forecast.spread[h]))
}

/// The cost of a schedule that a forecast expects.
pub fn expected(schedule: &Day, forecast: &Forecast) -> f64 {
    hours(schedule, forecast).iter().map(|hour| hour.cost).sum()
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
    /// A quadratic program has no solution.
    #[error("step {step} ended as {status}")]
    Unsolved {
        /// From 0.
        step: usize,
        /// How it ended.
        status: Status,
    },
    /// The steps did not become small.
    #[error("the schedule still moves by {moved:.1e} after {STEPS} quadratic programs")]
    Slow {
        /// In the last step.
        moved: f64,
    },
    /// The library refused.
    #[error(transparent)]
    Library(#[from] bpqp::Error),
}

/// The optimal schedule of a day.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The schedule.
    pub schedule: Day,
    /// Quadratic programs that it took.
    pub steps: usize,
    /// Where to start from when the forecast has moved a little.
    pub point: Point,
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

/// The most quadratic programs for one day; five to eight are usual.
const STEPS: usize = 60;
/// Doublings of the spreads at the start of the second attempt.
const WIDER: u32 = 12;
/// A step below this, in units of load, is the last.
const STILL: f64 = 1e-10;
/// Rounding of the cost, relative to it.
const ROUNDING: f64 = 1e-13;
/// Days that one solver serves in a row: a fixed number, so that no result depends on the number of threads.
const RUN: usize = 8;

/// Schedules days under one ramp limit.
#[derive(Debug, Clone)]
pub struct Planner {
    /// The rows, with some objective.
    template: Qp,
    settings: Settings,
}

impl Planner {
    /// For that limit on the change from hour to hour.
    pub fn new(ramp: f64) -> Result<Self, bpqp::Error> {
        let rows = 2 * (HOURS - 1);
        // Dense: 24 columns are too few for sparse rows to pay.
        let mut g = faer::Mat::zeros(rows, HOURS);
        for k in 0..HOURS - 1 {
            for (row, sign) in [(k, 1.0), (k + HOURS - 1, -1.0)] {
                (g[(row, k + 1)], g[(row, k)]) = (sign, -sign);
            }
        }
        let template = Qp::new(Hessian::Diagonal(vec![1.0; HOURS]), vec![0.0; HOURS])?
            .inequality(Matrix::Dense(g), vec![ramp; rows])?;
        Ok(Planner { template, settings: Settings::default() })
    }

    /// The schedules of many days, on the threads of the current pool. `starts[k]` is where an earlier schedule of that day
    /// ended. With a loss the derivatives come along.
    pub fn plans(
        &self,
        forecasts: &[Forecast],
        starts: &[Option<&Point>],
        loss: Option<Loss<'_>>,
    ) -> Result<Vec<Plan>, PlanError> {
        let run = |(r, forecasts): (usize, &[Forecast])| -> Result<Vec<Plan>, PlanError> {
            let mut layer = Layer::new(self.template.clone(), self.settings.clone())?;
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
        layer: &mut Layer,
        forecast: &Forecast,
        start: Option<&Point>,
        loss: &dyn Fn(&Day) -> Option<Day>,
    ) -> Result<Plan, PlanError> {
        let first = self.newton(layer, forecast, start, loss);
        if !matches!(first, Err(PlanError::Slow { .. })) {
            return first;
        }
        let mut point: Option<Point> = None;
        let mut steps = STEPS;
        for halvings in (0..=WIDER).rev() {
            let factor = f64::from(1u32 << halvings);
            let wide = Forecast { spread: forecast.spread.map(|s| s * factor), ..*forecast };
            let last = halvings == 0;
            let plan = self.newton(layer, &wide, point.as_ref(), &|z| if last { loss(z) } else { None })?;
            steps += plan.steps;
            if last {
                return Ok(Plan { steps, ..plan });
            }
            point = Some(plan.point);
        }
        first
    }

    fn newton(
        &self,
        layer: &mut Layer,
        forecast: &Forecast,
        start: Option<&Point>,
        loss: &dyn Fn(&Day) -> Option<Day>,
    ) -> Result<Plan, PlanError> {
        for (hour, (&mean, &spread)) in forecast.mean.iter().zip(&forecast.spread).enumerate() {
            if !(mean.is_finite() && spread.is_finite() && spread > 0.0) {
                return Err(PlanError::Forecast { hour, mean, spread });
            }
        }
        let mut moved = f64::INFINITY;
        let (mut z, mut point) = match start {
            Some(point) => (day(&point.x), point.clone()),
            // Two spreads above the mean is near the optimum of an hour without ramp limits.
            None => {
                let target = std::array::from_fn(|h| forecast.mean[h] + 2.0 * forecast.spread[h]);
                self.closest(layer, &target)?
            }
        };
        for step in 1..=STEPS {
            let at = hours(&z, forecast);
            let curvature = at.iter().map(|hour| hour.curvature).collect();
            let linear = at.iter().zip(&z).map(|(hour, z)| hour.slope - hour.curvature * z).collect();
            let (next, reached) = self.step(layer, step, curvature, linear, Some(&point))?;
            let direction: Day = std::array::from_fn(|h| next[h] - z[h]);
            moved = direction.iter().fold(0.0, |m: f64, d| m.max(d.abs()));
            point = reached;
            if moved <= STILL {
                let derivative = match loss(&next) {
                    Some(loss) => Some(derivative(layer, &at, &z, forecast, &loss)?),
                    None => None,
                };
                return Ok(Plan { schedule: next, steps: step, point, derivative });
            }
            z = shorten(&z, &at, &direction, forecast);
        }
        Err(PlanError::Slow { moved })
    }

    /// The closest schedule that keeps the limits.
    fn closest(&self, layer: &mut Layer, target: &Day) -> Result<(Day, Point), PlanError> {
        let (x, z) = (target.to_vec(), vec![0.0; self.template.n_inequality()]);
        let start = Point { x, y: Vec::new(), z, z_box: vec![0.0; HOURS], ..Point::default() };
        self.step(layer, 0, vec![1.0; HOURS], target.iter().map(|t| -t).collect(), Some(&start))
    }

    fn step(
        &self,
        layer: &mut Layer,
        step: usize,
        curvature: Vec<f64>,
        linear: Vec<f64>,
        warm: Option<&Point>,
    ) -> Result<(Day, Point), PlanError> {
        layer.update(self.template.clone().with_p(Hessian::Diagonal(curvature))?.with_q(linear)?)?;
        let solution = layer.solve_from(warm)?;
        match solution.ok() {
            true => Ok((day(&solution.x), solution.point())),
            false => Err(PlanError::Unsolved { step, status: solution.status }),
        }
    }
}

fn day(values: &[f64]) -> Day {
    std::array::from_fn(|h| values[h])
}

/// Along the step, both ends of which keep the limits, the first half that lowers the cost enough (Armijo).
fn shorten(z: &Day, at: &[Hour; HOURS], direction: &Day, forecast: &Forecast) -> Day {
    let cost: f64 = at.iter().map(|hour| hour.cost).sum();
    let slope: f64 = at.iter().zip(direction).map(|(hour, d)| hour.slope * d).sum();
    let mut t = 1.0;
    loop {
        let trial: Day = std::array::from_fn(|h| z[h] + t * direction[h]);
        // The cost is convex with bounded curvature, so that this ends well before the step vanishes.
        if expected(&trial, forecast) <= cost + 1e-4 * t * slope + ROUNDING * cost.abs() || t < 1e-9 {
            return trial;
        }
        t *= 0.5;
    }
}

/// The linear term of the last quadratic program is `slope - curvature z` with z held, and the forecast moves the slope alone
/// (what it does to the curvature is multiplied by a step of 0).
fn derivative(
    layer: &mut Layer,
    at: &[Hour; HOURS],
    z: &Day,
    forecast: &Forecast,
    loss: &Day,
) -> Result<Derivative, PlanError> {
    let gradient = layer.vjp(&Cotangent::x(loss), Wrt::Q)?;
    let w = gradient.q.as_deref().unwrap_or(&[0.0; HOURS]);
    // d slope / d mean = -curvature; d slope / d spread = -(curvature - 1) u.
    Ok(Derivative {
        mean: std::array::from_fn(|h| -w[h] * at[h].curvature),
        spread: std::array::from_fn(|h| {
            let u = (z[h] - forecast.mean[h]) / forecast.spread[h];
            -w[h] * (at[h].curvature - 1.0) * u
        }),
    })
}

/// The closest schedules that keep the limit: what becomes of outputs that no forecast led to.
pub fn project(planner: &Planner, targets: &[Day]) -> Result<Vec<Day>, PlanError> {
    let run = |targets: &[Day]| -> Result<Vec<Day>, PlanError> {
        let mut layer = Layer::new(planner.template.clone(), planner.settings.clone())?;
        let one = |target: &Day| Ok(planner.closest(&mut layer, target)?.0);
        targets.iter().map(one).collect()
    };
    let runs: Result<Vec<Vec<Day>>, PlanError> = targets.par_chunks(RUN).map(run).collect();
    Ok(runs?.into_iter().flatten().collect())
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

    fn none(count: usize) -> Vec<Option<&'static Point>> {
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
                let other = project(&planner, &[other]).unwrap()[0];
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
        let starts: Vec<Option<&Point>> = near.iter().map(|plan| Some(&plan.point)).collect();
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
        let starts: Vec<Option<&Point>> = starts.iter().map(|plan| Some(&plan.point)).collect();
        for start in [starts, none(2)] {
            let plans = planner.plans(&hard, &start, None).unwrap();
            // At the optimum no small change within the limits is cheaper.
            for (plan, forecast) in plans.iter().zip(&hard) {
                let least = expected(&plan.schedule, forecast);
                let nudged = |h: usize, by: f64| -> Day {
                    std::array::from_fn(|k| plan.schedule[k] + if k == h { by } else { 0.0 })
                };
                let all: Vec<Day> = (0..HOURS).flat_map(|h| [nudged(h, 1e-5), nudged(h, -1e-5)]).collect();
                for other in project(&planner, &all).unwrap() {
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
