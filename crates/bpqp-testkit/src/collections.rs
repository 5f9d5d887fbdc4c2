//! Every problem of the public collections: solved or certified, and its gradient confirmed by differences or flagged.

use crate::conic_run;
use crate::data::{self, Problem};
use crate::differences::largest;
use crate::{Rng, differences::dot};
use bpqp::{Cotangent, Gradient, Layer, Qp, Settings, Solution, Status, Verdict, Wrt};
use std::time::{Duration, Instant};

/// The names of the collections.
pub const ALL: [&str; 6] = ["maros_meszaros", "mpc_qp", "netlib_lp", "cblib", "lsq", "opf"];

/// What became of a problem.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Variables and rows.
    pub size: (usize, usize),
    /// The solver that found the solution.
    pub solver: &'static str,
    /// Seconds of the solve.
    pub seconds: f64,
    /// How it ended.
    pub status: Status,
    /// The verdict of its gradient.
    pub verdict: Verdict,
    /// `|objective - optimum| / (1 + |optimum|)`, NaN without an optimum.
    pub objective: f64,
    /// The worst disagreement of the gradient's blocks with differences, and the block.
    pub worst: (f64, &'static str),
    /// Constraints begin or cease to bind within the smallest step of that block: the difference is over a kink.
    pub turns: bool,
}

/// Disagreement with a difference that counts as agreement: steps of 1e-6 of solutions good to 1e-11 or so.
pub const AGREEMENT: f64 = 1e-4;

impl Row {
    /// What is wrong with it: an objective that is not the optimum, or a gradient that differs without a word.
    pub fn wrong(&self) -> Option<&'static str> {
        let silent = self.verdict == Verdict::Exact && self.worst.0 > AGREEMENT && !self.turns;
        match self.status.ok() {
            true if self.objective > 1e-4 => Some("objective"),
            true if silent => Some("gradient"),
            _ => None,
        }
    }

    /// Heading of a table in Markdown.
    pub const HEADING: &'static str = "| problem | n | rows | solver | seconds | status | verdict | objective | differences | |\n\
         | --- | --: | --: | --- | --: | --- | --- | --: | --: | --- |";

    /// A line of it.
    pub fn line(&self) -> String {
        let (name, solver, status) = (&self.name, self.solver, self.status.name());
        let number = |v: f64| if v.is_nan() { "–".to_owned() } else { format!("{v:.0e}") };
        let worst = if self.worst.0.is_nan() { "–".into() } else { format!("{:.0e} {}", self.worst.0, self.worst.1) };
        let remark = match (self.wrong(), self.status.ok() && self.worst.0 > AGREEMENT) {
            (Some(what), _) => format!("**wrong {what}**"),
            (None, true) if self.verdict == Verdict::Exact => "turns within the step".into(),
            (None, true) => "flagged".into(),
            _ => String::new(),
        };
        let verdict = if self.status.ok() { self.verdict.name() } else { "–" };
        format!(
            "| {name} | {} | {} | {solver} | {:.3} | {status} | {verdict} | {} | {worst} | {remark} |",
            self.size.0,
            self.size.1,
            self.seconds,
            number(self.objective)
        )
    }
}

/// The problems of a collection, those that `only` takes.
pub fn run(collection: &str, only: impl Fn(&str) -> bool, mut each: impl FnMut(Row)) {
    let Some(folder) = data::folder(collection) else { return };
    let column = match collection {
        "cblib" => "objective_primal",
        "lsq" => "least_squares_residual_norm",
        "opf" => "dc_objective",
        _ => "objective",
    };
    for (name, optimum) in data::index_column(&folder, column).into_iter().filter(|(name, _)| only(name)) {
        each(match collection {
            "cblib" => conic(&name, &data::cblib(&folder, &name), optimum),
            "mpc_qp" => check(data::mpc(&folder, &name, optimum)),
            "netlib_lp" => check(data::netlib(&folder, &name, optimum)),
            "lsq" => check(data::least_squares(&folder, &name, optimum)),
            "opf" => check(data::power_flow(&folder, &name, optimum)),
            _ => check(data::maros_meszaros(&folder, &name, optimum)),
        });
    }
}

fn settings() -> Settings {
    Settings { time_limit: Some(Duration::from_secs(120)), threads: 1, ..Settings::default() }
}

fn conic(name: &str, problem: &bpqp::cbf::Cbf, optimum: Option<f64>) -> Row {
    let run = conic_run::run(name, problem, optimum, &settings());
    let value = run.values.iter().flatten().map(|v| v.error()).fold(0.0, f64::max);
    let worst =
        if run.gradient.is_nan() || run.gradient < value { (value, "value") } else { (run.gradient, "q, b, A") };
    Row {
        name: name.trim_end_matches(".cbf.gz").into(),
        size: run.size,
        solver: "clarabel",
        seconds: run.seconds.0,
        status: run.status,
        verdict: run.verdict,
        objective: run.objective,
        worst: if run.status.ok() { worst } else { (f64::NAN, "") },
        turns: false,
    }
}

/// A direction for a block: relative to each entry, and to a thousandth of the unit where an entry is smaller than that.
fn direction(v: &[f64], unit: f64, rng: &mut Rng) -> Vec<f64> {
    let floor = 1e-3 * if unit > 0.0 { unit } else { 1.0 };
    v.iter().map(|v| if v.is_finite() { v.abs().max(floor) * rng.normal() } else { 0.0 }).collect()
}

/// The largest of the finite entries.
fn unit(v: &[f64]) -> f64 {
    v.iter().filter(|v| v.is_finite()).fold(0.0, |m, v| m.max(v.abs()))
}

fn step(v: &[f64], d: &[f64], h: f64) -> Vec<f64> {
    v.iter().zip(d).map(|(v, d)| v + h * d).collect()
}

/// Ten thousand times what rounding makes of a difference (1e-14 of the loss, over the step): no disagreement is below it.
const ROUNDING: f64 = 1e-10;
const BLOCKS: [&str; 4] = ["q", "b", "h", "bounds"];

/// Directions in q, b, h, lb and ub, bounds in units of the variables; what is fixed moves with both of its bounds.
fn directions(qp: &Qp, x: &[f64], rng: &mut Rng) -> [Vec<f64>; 5] {
    let (lb, mut ub) = (direction(qp.lb(), unit(x), rng), direction(qp.ub(), unit(x), rng));
    for j in (0..qp.n()).filter(|&j| qp.lb()[j] == qp.ub()[j]) {
        ub[j] = lb[j];
    }
    let [q, b, h] = [qp.q(), qp.b(), qp.h()].map(|v| direction(v, unit(v), rng));
    [q, b, h, lb, ub]
}

fn moved(qp: &Qp, block: usize, d: &[Vec<f64>; 5], h: f64) -> Option<Qp> {
    let qp = qp.clone();
    let moved = match block {
        0 => qp.clone().with_q(step(qp.q(), &d[0], h)),
        1 => qp.clone().with_b(step(qp.b(), &d[1], h)),
        2 => qp.clone().with_h(step(qp.h(), &d[2], h)),
        _ => qp.clone().bounds(step(qp.lb(), &d[3], h), step(qp.ub(), &d[4], h)),
    };
    moved.ok()
}

fn along(gradient: &Gradient, block: usize, d: &[Vec<f64>; 5]) -> f64 {
    let of = |v: &Option<Vec<f64>>, d: &[f64]| v.as_ref().map_or(0.0, |v| dot(v, d));
    match block {
        0 => of(&gradient.q, &d[0]),
        1 => of(&gradient.b, &d[1]),
        2 => of(&gradient.h, &d[2]),
        _ => of(&gradient.lb, &d[3]) + of(&gradient.ub, &d[4]),
    }
}

/// Solves, differentiates a random loss of x, and compares with central differences along one direction of each block.
pub fn check(problem: Problem) -> Row {
    let Problem { name, qp, constant, optimum } = problem;
    let start = Instant::now();
    let mut layer = Layer::new(qp.clone(), settings()).unwrap_or_else(|e| panic!("{name}: {e}"));
    let solution = layer.solve().unwrap_or_else(|e| panic!("{name}: {e}")).clone();
    let seconds = start.elapsed().as_secs_f64();
    let optimum = optimum.unwrap_or(f64::NAN);
    let mut row = Row {
        name,
        size: (qp.n(), qp.n_equality() + qp.n_inequality()),
        solver: solution.info.solver,
        seconds,
        status: solution.status,
        verdict: solution.verdict(),
        objective: (solution.objective + constant - optimum).abs() / (1.0 + optimum.abs()),
        worst: (f64::NAN, ""),
        turns: false,
    };
    if !solution.ok() {
        return row;
    }
    let mut rng = Rng::new(41);
    let size = largest(&solution.x).max(f64::MIN_POSITIVE);
    let g: Vec<f64> = rng.normals(qp.n()).iter().map(|g| g / size).collect();
    let wrt = Wrt { q: true, b: true, h: true, lb: true, ub: true, ..Wrt::NONE };
    let Ok(gradient) = layer.vjp(&Cotangent::x(&g), wrt).cloned() else {
        row.verdict = Verdict::Untrusted;
        return row;
    };
    row.verdict = layer.verdict();
    let d = directions(&qp, &solution.x, &mut rng);
    let mut near = Near { layer, from: solution };
    for (block, name) in BLOCKS.into_iter().enumerate() {
        let of = |k: usize| d[k].iter().any(|v| *v != 0.0);
        if !(if block < 3 { of(block) } else { of(3) || of(4) }) {
            continue;
        }
        let analytic = along(&gradient, block, &d);
        let (mut best, mut over) = (f64::NAN, f64::NAN);
        // a smaller step where constraints begin or cease to bind within a large one
        for h in [1e-6, 1e-8, 1e-9, 1e-4] {
            let (Some(plus), Some(minus)) = (near.at(&qp, block, &d, h), near.at(&qp, block, &d, -h)) else { continue };
            let changes: Vec<f64> =
                plus.0.iter().zip(&minus.0).zip(&g).map(|((a, b), g)| g * (a - b) / (2.0 * h)).collect();
            let terms = changes.iter().map(|c| c * c).sum::<f64>().sqrt();
            let numeric: f64 = changes.iter().sum();
            let error = (numeric - analytic).abs() / terms.max(analytic.abs()).max(ROUNDING / h);
            let least = if plus.1 && minus.1 { &mut best } else { &mut over };
            *least = least.min(error);
            if error <= AGREEMENT {
                (best, over) = (error, error);
                break;
            }
        }
        let turns = best.is_nan();
        let error = if turns { over } else { best };
        if !error.is_nan() && (row.worst.0.is_nan() || error > row.worst.0) {
            (row.worst, row.turns) = ((error, name), turns);
        }
    }
    row
}

/// Solves problems near a solved one.
struct Near {
    layer: Layer,
    from: Solution,
}

impl Near {
    /// The solution there, and whether the same constraints bind.
    fn at(&mut self, qp: &Qp, block: usize, d: &[Vec<f64>; 5], h: f64) -> Option<(Vec<f64>, bool)> {
        self.layer.update(moved(qp, block, d, h)?).ok()?;
        let warm = self.from.point();
        let solution = self.layer.solve_from(Some(&warm)).ok()?;
        let same = solution.active() == self.from.active();
        (solution.status == Status::Solved).then(|| (solution.x.clone(), same))
    }
}
