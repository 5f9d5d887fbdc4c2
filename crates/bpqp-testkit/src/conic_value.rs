//! The optimal value `v` of a conic program against its derivatives, `dv = x'dq` and `dv = -y'db`.
//!
//! v is concave in q and convex in b. Every optimal x is a supergradient and every optimal -y a subgradient:
//!
//! ```text
//! v(q + h d) <= v(q) + h x'd      v(b + h d) >= v(b) - h y'd      for every h
//! ```
//!
//! with `v = inf` where the moved problem is infeasible and `-inf` where it is unbounded. Where v has a kink, x or y is one
//! of several, and the one-sided derivatives are `x'd` and `-y'd` of other solutions of the same problem.

use crate::Rng;
use crate::differences::dot;
use bpqp::{Conic, ConicSolution, Settings, Status};

/// Relative agreement at which a difference confirms a derivative.
pub const AGREEMENT: f64 = 1e-5;
/// Steps relative to the data, as far as the polish carries. Exponentials make some problems turn within 1e-6.
const STEPS: [f64; 5] = [1e-7, 1e-6, 1e-5, 1e-4, 1e-3];
/// Steps of problems that are solved anew, until one agrees: with smaller ones the accuracy of a solver shows.
const COLD_STEPS: [f64; 5] = [1e-4, 2e-4, 4e-4, 8e-4, 5e-5];
/// Steps to another solution of the same problem.
const LEAPS: [f64; 3] = [1e-3, 3e-4, 1e-4];

/// What is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// The costs.
    Q,
    /// The right-hand sides.
    B,
}

/// An optimal value, and how far it may be off.
#[derive(Debug, Clone, Copy)]
struct Optimum {
    value: f64,
    error: f64,
}

/// A one-sided difference quotient, and how far it may be off; infinite where there is no solution.
#[derive(Debug, Clone, Copy)]
pub struct Slope {
    /// `(v(h) - v(0))/h`; NaN where nothing is known.
    pub value: f64,
    /// By how much it may be wrong.
    pub error: f64,
}

/// Differences of the optimal value along one direction of one block of the data.
#[derive(Debug, Clone)]
pub struct ValueRun {
    /// What is moved.
    pub moved: Moved,
    /// The derivative by the solution: `x'd` or `-y'd`.
    pub slope: f64,
    /// What differences count relative to: the larger of the slope and the norm of its terms.
    pub scale: f64,
    /// Steps, with the differences to the left and to the right.
    pub steps: Vec<(f64, [Slope; 2])>,
    /// Where they do not confirm the slope: the slopes of other solutions of the same problem, found from the left and from
    /// the right.
    pub others: [Option<f64>; 2],
}

/// `q'x + y'(A x + s - b)`: the residuals of x count to second order. What is missing in complementarity counts fully.
fn lagrangian(conic: &Conic, (x, s, y): (&[f64], &[f64], &[f64])) -> Optimum {
    let mut residual: Vec<f64> = s.iter().zip(conic.b()).map(|(s, b)| s - b).collect();
    let mut size: Vec<f64> = s.iter().zip(conic.b()).map(|(s, b)| s.abs() + b.abs()).collect();
    for (i, j, v) in conic.a().triplets() {
        residual[i] += v * x[j];
        size[i] += (v * x[j]).abs();
    }
    let absolute = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a * b).abs()).sum::<f64>();
    let rounding = f64::EPSILON * (absolute(conic.q(), x) + absolute(y, &size));
    // of points that satisfy the equations it is the objective, which is that of the multipliers plus s'y
    let half = 0.5 * dot(s, y);
    Optimum { value: conic.objective(x) + dot(y, &residual) - half, error: half.abs() + rounding }
}

/// The optimal value by a cold solve.
fn cold(conic: &Conic) -> Optimum {
    let solution = conic.solve(&Settings::default()).expect("valid");
    let certified = solution.info.certificate.as_ref().is_some_and(|c| conic.verifies(c));
    let nowhere = |value| Optimum { value, error: 0.0 };
    match solution.status {
        status if status.ok() => lagrangian(conic, (&solution.x, &solution.s, &solution.y)),
        Status::PrimalInfeasible if certified => nowhere(f64::INFINITY),
        Status::DualInfeasible if certified => nowhere(f64::NEG_INFINITY),
        _ => nowhere(f64::NAN),
    }
}

/// The optimal value by the polish, from the solution of a problem nearby. What it ends at satisfies the optimality
/// conditions.
fn carried(from: &ConicSolution, conic: &Conic) -> Optimum {
    let (x, s, y) = from.at_point();
    let near = conic.from_solution(x.to_vec(), s.to_vec(), y.to_vec(), &Settings::default()).expect("valid");
    match near.info.polished {
        true => lagrangian(conic, near.at_point()),
        false => Optimum { value: f64::NAN, error: 0.0 },
    }
}

fn shifted(conic: &Conic, moved: Moved, d: &[f64], h: f64) -> Conic {
    let add = |v: &[f64]| v.iter().zip(d).map(|(v, d)| v + h * d).collect::<Vec<f64>>();
    let near = match moved {
        Moved::Q => conic.with_values(None, Some(&add(conic.q())), None, None),
        Moved::B => conic.with_values(None, None, None, Some(&add(conic.b()))),
    };
    near.expect("finite")
}

fn slope(moved: Moved, (x, _, y): (&[f64], &[f64], &[f64]), d: &[f64]) -> f64 {
    match moved {
        Moved::Q => dot(x, d),
        Moved::B => -dot(y, d),
    }
}

/// The slope of another solution of the same problem: the one near that of the problem moved by `h`.
fn other(solution: &ConicSolution, moved: Moved, d: &[f64], h: f64) -> Option<f64> {
    let conic = solution.conic();
    let near = shifted(conic, moved, d, h).solve(&Settings::default()).expect("valid");
    if !near.ok() {
        return None;
    }
    // moving q leaves a point feasible, moving b leaves multipliers feasible
    let (x, s, y) = match moved {
        Moved::Q => (near.x, near.s, solution.y.clone()),
        Moved::B => (solution.x.clone(), solution.s.clone(), near.y),
    };
    let polished = conic.from_solution(x, s, y, &Settings::default()).expect("valid");
    polished.info.polished.then(|| slope(moved, polished.at_point(), d))
}

/// The value at 0 of the line through two points.
fn extrapolate((h, far): (f64, f64), (k, near): (f64, f64)) -> f64 {
    (h * near - k * far) / (h - k)
}

impl ValueRun {
    /// Compares along a random direction, relative to the entries: carried by the polish, and by cold solves where these
    /// differences do not confirm the derivative.
    pub fn new(solution: &ConicSolution, moved: Moved, rng: &mut Rng) -> Self {
        let conic = solution.conic();
        let point = (&solution.x[..], &solution.s[..], &solution.y[..]);
        let (data, by) = match moved {
            Moved::Q => (conic.q(), point.0),
            Moved::B => (conic.b(), point.2),
        };
        let d: Vec<f64> = data.iter().map(|v| v * rng.normal()).collect();
        let size = d.iter().zip(by).map(|(d, u)| (d * u).powi(2)).sum::<f64>().sqrt();
        let slope = slope(moved, point, &d);
        let scale = slope.abs().max(size).max(f64::MIN_POSITIVE);
        let mut run = ValueRun { moved, slope, scale, steps: Vec::new(), others: [None; 2] };
        let here = lagrangian(conic, point);
        let step = |h: f64, optimum: &dyn Fn(&Conic) -> Optimum| {
            let slopes = [-h, h].map(|h| {
                let near = optimum(&shifted(conic, moved, &d, h));
                Slope { value: (near.value - here.value) / h, error: (near.error + here.error) / h.abs() }
            });
            (h, slopes)
        };
        if solution.info.polished {
            for h in STEPS {
                run.steps.push(step(h, &|near| carried(solution, near)));
                if run.steps.iter().any(|(_, slopes)| slopes.iter().any(|s| s.value.is_nan())) {
                    break;
                }
            }
        }
        for h in COLD_STEPS {
            if !run.settled() {
                run.steps.push(step(h, &cold));
            }
        }
        if run.error() > AGREEMENT || run.error().is_nan() {
            for (side, sign) in [-1.0, 1.0].into_iter().enumerate() {
                if !run.ends(side) {
                    run.others[side] = LEAPS.iter().find_map(|h| other(solution, moved, &d, sign * h));
                }
            }
        }
        run
    }

    /// Do the problems moved to that side have no solution, as far as was looked?
    fn ends(&self, side: usize) -> bool {
        self.steps.iter().filter(|(_, slopes)| slopes[side].value.is_infinite()).count() >= 2
    }

    /// Is there no need of another step?
    fn settled(&self) -> bool {
        self.error() <= AGREEMENT || self.ends(0) || self.ends(1)
    }

    /// The smallest relative error of a central difference, of one step or extrapolated from two.
    pub fn error(&self) -> f64 {
        let central: Vec<(f64, f64)> =
            self.steps.iter().map(|(h, [l, r])| (h * h, 0.5 * (l.value + r.value))).collect();
        let extrapolated = central.windows(2).map(|w| extrapolate(w[0], w[1]));
        let all = central.iter().map(|c| c.1).chain(extrapolated);
        all.fold(f64::NAN, |least, c| least.min((c - self.slope).abs() / self.scale))
    }

    /// The largest relative violation of the inequalities in the heading of this file, beyond what the values may be off.
    pub fn violation(&self) -> f64 {
        let sign = if self.moved == Moved::B { 1.0 } else { -1.0 };
        let mut largest = 0.0_f64;
        for (_, [left, right]) in &self.steps {
            for (slope, sign) in [(left, -sign), (right, sign)] {
                largest = largest.max((sign * (self.slope - slope.value) - slope.error) / self.scale);
            }
        }
        largest
    }

    /// How well the slopes of the other solutions are the one-sided derivatives, by differences extrapolated from two steps:
    /// the larger relative error of the two sides. On a side where the moved problems have no solution there is nothing
    /// to compare; on another one without another solution of this problem the error is infinite.
    pub fn kink(&self) -> f64 {
        let mut worst = 0.0_f64;
        for side in [0, 1] {
            let slopes: Vec<(f64, f64)> = self.steps.iter().map(|(h, slopes)| (*h, slopes[side].value)).collect();
            if self.ends(side) {
                continue;
            }
            let other = self.others[side].unwrap_or(f64::INFINITY);
            let errors = slopes.windows(2).map(|w| (extrapolate(w[0], w[1]) - other).abs() / self.scale);
            worst = worst.max(errors.fold(f64::INFINITY, f64::min));
        }
        worst
    }

    /// The error, or the derivatives to the left and to the right at a kink, for a table.
    pub fn text(&self) -> String {
        if self.error() <= AGREEMENT {
            return format!("{:.1e}", self.error());
        }
        let last = self.steps.iter().rev().find(|(_, s)| s.iter().all(|s| !s.value.is_nan()));
        let relative = |s: Slope| (s.value - self.slope) / self.scale;
        last.map_or("none".into(), |(_, [l, r])| format!("{:+.1e}..{:+.1e}", relative(*l), relative(*r)))
    }
}
