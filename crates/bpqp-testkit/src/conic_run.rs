//! Runs the conic solver over a collection, and holds its derivatives against differences.

use crate::Rng;
use crate::conic_value::{Moved, ValueRun};
use crate::differences::{dot, largest};
use bpqp::cbf::Cbf;
use bpqp::{Conic, ConicCotangent, ConicSolution, ConicTangent, ConicWrt, Settings, Status, Verdict};
use std::time::Instant;

/// What became of a problem.
#[derive(Debug, Clone)]
pub struct ConicRun {
    /// The problem's name.
    pub name: String,
    /// Variables and rows.
    pub size: (usize, usize),
    /// How the solve ended.
    pub status: Status,
    /// Iterations of the solver, steps of the polish.
    pub iterations: (usize, usize),
    /// Relative residuals before and after the polish.
    pub residual: (f64, f64),
    /// `|objective - optimum| / (1 + |optimum|)`.
    pub objective: f64,
    /// The verdict after a backward pass.
    pub verdict: Verdict,
    /// The derivative of `<cotangent, (x, s, y)>` along one direction against a central difference.
    pub gradient: f64,
    /// The same of the optimal value, by `x` and `-y`.
    pub value: f64,
    /// The optimal value along directions of q alone and of b alone.
    pub values: Option<[ValueRun; 2]>,
    /// Seconds of the solve and of one backward pass.
    pub seconds: (f64, f64),
}

impl ConicRun {
    /// The heading of [`ConicRun::line`].
    pub fn heading() -> String {
        format!(
            "{:<34} {:>6} {:>6} {:<18} {:>3} {:>3} {:>8} {:>8} {:>8} {:<15} {:>8} {:>8} {:>18} {:>18} {:>7} {:>8}",
            "problem",
            "n",
            "m",
            "status",
            "it",
            "pol",
            "before",
            "after",
            "value",
            "verdict",
            "gradient",
            "dvalue",
            "dv/dq",
            "dv/db",
            "solve",
            "backward"
        )
    }

    /// One line of a table.
    pub fn line(&self) -> String {
        let text = |k: usize| self.values.as_ref().map_or_else(|| "none".into(), |v| v[k].text());
        format!(
            "{:<34} {:>6} {:>6} {:<18} {:>3} {:>3} {:>8.1e} {:>8.1e} {:>8.1e} {:<15} {:>8.1e} {:>8.1e} {:>18} {:>18} {:>7.3} {:>8.4}",
            self.name,
            self.size.0,
            self.size.1,
            self.status.name(),
            self.iterations.0,
            self.iterations.1,
            self.residual.0,
            self.residual.1,
            self.objective,
            self.verdict.name(),
            self.gradient,
            self.value,
            text(0),
            text(1),
            self.seconds.0,
            self.seconds.1
        )
    }
}

/// A direction in q, b and the stored entries of A, relative to their sizes.
fn direction(conic: &Conic, rng: &mut Rng) -> [Vec<f64>; 3] {
    let mut relative = |v: &[f64]| v.iter().map(|v| v * rng.normal()).collect::<Vec<f64>>();
    [relative(conic.q()), relative(conic.b()), relative(conic.a().values())]
}

fn moved(conic: &Conic, d: &[Vec<f64>; 3], h: f64) -> Conic {
    let add = |v: &[f64], d: &[f64]| v.iter().zip(d).map(|(v, d)| v + h * d).collect::<Vec<f64>>();
    let (q, b, a) = (add(conic.q(), &d[0]), add(conic.b(), &d[1]), add(conic.a().values(), &d[2]));
    conic.with_values(None, Some(&q), Some(&a), Some(&b)).expect("finite")
}

/// Solves a problem, differentiates it along one random direction of q, b and the entries of A with a random cotangent on
/// `(x, s, y)`, and compares with central differences of solutions to which the polish carried the first one.
pub fn run(name: &str, problem: &Cbf, optimum: Option<f64>, settings: &Settings) -> ConicRun {
    let conic = &problem.conic;
    let start = Instant::now();
    let solution = conic.solve(settings).unwrap_or_else(|e| panic!("{name}: {e}"));
    let seconds = start.elapsed().as_secs_f64();
    let optimum = optimum.unwrap_or(f64::NAN);
    let raw = solution.info.raw.map_or(f64::NAN, |r| r.relative());
    let mut out = ConicRun {
        name: name.into(),
        size: (conic.n(), conic.m()),
        status: solution.status,
        iterations: (solution.info.iterations, solution.info.polish_rounds),
        residual: (raw, solution.residuals.relative()),
        objective: (problem.objective(solution.objective) - optimum).abs() / (1.0 + optimum.abs()),
        verdict: solution.verdict(),
        gradient: f64::NAN,
        value: f64::NAN,
        values: None,
        seconds: (seconds, 0.0),
    };
    if !solution.ok() {
        return out;
    }
    let mut rng = Rng::new(31);
    // every output counts alike, whatever its units
    let unit = |v: &[f64], rng: &mut Rng| {
        let size = largest(v).max(f64::MIN_POSITIVE);
        rng.normals(v.len()).iter().map(|g| g / size).collect::<Vec<f64>>()
    };
    let g = [unit(&solution.x, &mut rng), unit(&solution.s, &mut rng), unit(&solution.y, &mut rng)];
    let cotangent = ConicCotangent { x: &g[0], s: &g[1], y: &g[2], ..ConicCotangent::default() };
    let start = Instant::now();
    let result = solution.vjps(&[cotangent], ConicWrt::ALL);
    out.seconds.1 = start.elapsed().as_secs_f64();
    let Ok((gradients, verdict)) = result else {
        out.verdict = Verdict::Untrusted;
        return out;
    };
    out.verdict = verdict;
    out.values = Some([Moved::Q, Moved::B].map(|moved| ValueRun::new(&solution, moved, &mut Rng::new(32))));
    let d = direction(conic, &mut rng);
    let gradient = &gradients[0];
    let block = |v: &Option<Vec<f64>>| v.clone().unwrap_or_default();
    let parts = [block(&gradient.q), block(&gradient.b), block(&gradient.a)];
    let analytic: f64 = parts.iter().zip(&d).map(|(g, d)| dot(g, d)).sum();
    let tangent = ConicTangent { q: Some(&d[0]), b: Some(&d[1]), a: Some(&d[2]), ..ConicTangent::default() };
    let along = solution.jvp(&tangent).expect("factored");
    let size = [(&g[0], &along.x), (&g[1], &along.s), (&g[2], &along.y)]
        .iter()
        .map(|(g, t)| g.iter().zip(t.iter()).map(|(g, t)| (g * t).powi(2)).sum::<f64>().sqrt())
        .fold(0.0, f64::max);
    let mut change = 0.0;
    conic.a().triplets().zip(&d[2]).for_each(|((i, j, _), v)| change += v * solution.y[i] * solution.x[j]);
    let envelope = dot(&d[0], &solution.x) - dot(&d[1], &solution.y) + change;
    // exponents make some problems turn within a step of 1e-6
    for h in [1e-5, 1e-6, 1e-7] {
        let (Some(plus), Some(minus)) = (at(&solution, conic, &d, h, &g), at(&solution, conic, &d, -h, &g)) else {
            continue;
        };
        let numeric = (plus.0 - minus.0) / (2.0 * h);
        let error = (numeric - analytic).abs() / analytic.abs().max(size).max(f64::MIN_POSITIVE);
        out.gradient = out.gradient.min(error);
        let error =
            ((plus.1 - minus.1) / (2.0 * h) - envelope).abs() / envelope.abs().max(1e-3 * out.objective.max(1.0));
        out.value = out.value.min(error);
    }
    out
}

/// `<g, (x, s, y)>` and the objective of the problem moved by `h d`; `None` if the solution could not be carried there.
fn at(from: &ConicSolution, conic: &Conic, d: &[Vec<f64>; 3], h: f64, g: &[Vec<f64>; 3]) -> Option<(f64, f64)> {
    let near = moved(conic, d, h);
    let (x, s, y) = from.at_point();
    let out = near.from_solution(x.to_vec(), s.to_vec(), y.to_vec(), &Settings::default()).expect("valid");
    let (x, s, y) = out.at_point();
    out.info.polished.then(|| (dot(&g[0], x) + dot(&g[1], s) + dot(&g[2], y), near.objective(x)))
}
