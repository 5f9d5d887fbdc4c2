//! The gradient against central differences: the problem is solved again with every entry of its data moved both ways.

use crate::backward::Smoothed;
use crate::kkt;
use crate::matrix::{Matrix, Parameter, dot};
use crate::{ActiveSet, Cotangent, Error, Gradient, Point, Qp, Settings, Solution, Wrt};
use std::fmt;
use std::sync::Arc;

/// Blocks with more entries than this are sampled evenly.
const MOST_ENTRIES: usize = 1000;
/// First step relative to the size of an entry and its block.
const STEP: f64 = 1e-4;
/// How often a step is divided by ten where the active set changes within it.
const REDUCTIONS: usize = 4;

/// One entry of the data. `P` is moved symmetrically: both mirrored entries by half of the step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Entry {
    /// An entry of `P` on or below the diagonal.
    P(usize, usize),
    /// An entry of the diagonal of a diagonal or factored `P`.
    D(usize),
    /// An entry of the factor of a factored `P`.
    F(usize, usize),
    /// An entry of `q`.
    Q(usize),
    /// An entry of `A`.
    A(usize, usize),
    /// An entry of `b`.
    B(usize),
    /// An entry of `G`.
    G(usize, usize),
    /// A finite entry of `h`.
    H(usize),
    /// A finite lower bound.
    Lb(usize),
    /// A finite upper bound.
    Ub(usize),
    /// Both bounds of a fixed variable together.
    Fixed(usize),
}

impl Entry {
    /// Every entry of the data of a problem that a gradient has a value for, by block.
    pub fn all(qp: &Qp) -> Vec<Entry> {
        let n = qp.n();
        let mut all = Vec::new();
        qp.p.for_each_parameter(|which| {
            all.push(match which {
                Parameter::Entry(i, j) => Entry::P(i, j),
                Parameter::Diagonal(i) => Entry::D(i),
                Parameter::Factor(i, k) => Entry::F(i, k),
            });
        });
        all.extend((0..n).map(Entry::Q));
        qp.a().for_each(|i, j, _| all.push(Entry::A(i, j)));
        all.extend((0..qp.n_equality()).map(Entry::B));
        qp.g().for_each(|i, j, _| all.push(Entry::G(i, j)));
        all.extend((0..qp.n_inequality()).filter(|&i| qp.h()[i].is_finite()).map(Entry::H));
        let fixed = |i: &usize| qp.lb()[*i] == qp.ub()[*i];
        all.extend((0..n).filter(|i| qp.lb()[*i].is_finite() && !fixed(i)).map(Entry::Lb));
        all.extend((0..n).filter(|i| qp.ub()[*i].is_finite() && !fixed(i)).map(Entry::Ub));
        all.extend((0..n).filter(fixed).map(Entry::Fixed));
        all
    }

    /// The parameter of the Hessian that it is, if it is one.
    fn parameter(self) -> Option<Parameter> {
        match self {
            Entry::P(i, j) => Some(Parameter::Entry(i, j)),
            Entry::D(i) => Some(Parameter::Diagonal(i)),
            Entry::F(i, k) => Some(Parameter::Factor(i, k)),
            _ => None,
        }
    }

    /// The name of the block it belongs to.
    pub fn block(self) -> &'static str {
        match self {
            Entry::P(..) => "P",
            Entry::D(_) => "d",
            Entry::F(..) => "F",
            Entry::Q(_) => "q",
            Entry::A(..) => "A",
            Entry::B(_) => "b",
            Entry::G(..) => "G",
            Entry::H(_) => "h",
            Entry::Lb(_) => "lb",
            Entry::Ub(_) => "ub",
            Entry::Fixed(_) => "lb = ub",
        }
    }

    /// Its value.
    pub fn value(self, qp: &Qp) -> f64 {
        match self {
            Entry::P(..) | Entry::D(_) | Entry::F(..) => self.parameter().map_or(0.0, |which| qp.p.parameter(which)),
            Entry::Q(i) => qp.q()[i],
            Entry::A(i, j) => matrix_entry(qp.a(), i, j),
            Entry::B(i) => qp.b()[i],
            Entry::G(i, j) => matrix_entry(qp.g(), i, j),
            Entry::H(i) => qp.h()[i],
            Entry::Lb(i) => qp.lb()[i],
            Entry::Ub(i) | Entry::Fixed(i) => qp.ub()[i],
        }
    }

    /// The problem with this entry moved by `step`.
    pub fn moved(self, qp: &Qp, step: f64) -> Qp {
        let mut out = qp.clone();
        match self {
            Entry::P(..) | Entry::D(_) | Entry::F(..) => {
                if let Some(which) = self.parameter() {
                    Arc::make_mut(&mut out.p).move_parameter(which, step);
                }
            }
            Entry::Q(i) => Arc::make_mut(&mut out.q)[i] += step,
            Entry::A(i, j) => move_matrix(Arc::make_mut(&mut out.a), i, j, step),
            Entry::B(i) => Arc::make_mut(&mut out.b)[i] += step,
            Entry::G(i, j) => move_matrix(Arc::make_mut(&mut out.g), i, j, step),
            Entry::H(i) => Arc::make_mut(&mut out.h)[i] += step,
            Entry::Lb(i) => Arc::make_mut(&mut out.lb)[i] += step,
            Entry::Ub(i) => Arc::make_mut(&mut out.ub)[i] += step,
            Entry::Fixed(i) => {
                Arc::make_mut(&mut out.lb)[i] += step;
                Arc::make_mut(&mut out.ub)[i] += step;
            }
        }
        out
    }

    /// The derivative with respect to this entry in a gradient; 0 where the block is absent.
    pub fn of(self, gradient: &Gradient) -> f64 {
        let vector = |v: &Option<Vec<f64>>, i: usize| v.as_ref().map_or(0.0, |v| v[i]);
        let matrix = |m: &Option<Matrix>, i, j| m.as_ref().map_or(0.0, |m| matrix_entry(m, i, j));
        match self {
            Entry::P(..) | Entry::D(_) | Entry::F(..) => match (self.parameter(), &gradient.p) {
                (Some(which), Some(p)) => p.parameter(which),
                _ => 0.0,
            },
            Entry::Q(i) => vector(&gradient.q, i),
            Entry::A(i, j) => matrix(&gradient.a, i, j),
            Entry::B(i) => vector(&gradient.b, i),
            Entry::G(i, j) => matrix(&gradient.g, i, j),
            Entry::H(i) => vector(&gradient.h, i),
            Entry::Lb(i) => vector(&gradient.lb, i),
            Entry::Ub(i) => vector(&gradient.ub, i),
            Entry::Fixed(i) => vector(&gradient.lb, i) + vector(&gradient.ub, i),
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Entry::P(i, j) | Entry::F(i, j) | Entry::A(i, j) | Entry::G(i, j) => {
                write!(f, "{}[{i}, {j}]", self.block())
            }
            Entry::D(i) | Entry::Q(i) | Entry::B(i) | Entry::H(i) | Entry::Lb(i) | Entry::Ub(i) => {
                write!(f, "{}[{i}]", self.block())
            }
            Entry::Fixed(i) => write!(f, "lb[{i}] = ub[{i}]"),
        }
    }
}

fn matrix_entry(m: &Matrix, i: usize, j: usize) -> f64 {
    match m {
        Matrix::Dense(m) => m[(i, j)],
        Matrix::Sparse(m) => m.entry(i, j),
    }
}

fn move_matrix(m: &mut Matrix, i: usize, j: usize, step: f64) {
    match m {
        Matrix::Dense(m) => m[(i, j)] += step,
        Matrix::Sparse(m) => m.move_entry(i, j, step),
    }
}

/// How one block of the gradient compares.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockCheck {
    /// Name of the block.
    pub block: &'static str,
    /// Its entries.
    pub entries: usize,
    /// How many of them were compared; large blocks are sampled evenly.
    pub checked: usize,
    /// Largest difference, relative to the largest entry of the block (or to a thousandth of the largest of all blocks,
    /// where that is more: a block of zeros has no scale of its own).
    pub worst: f64,
    /// Where it occurs.
    pub at: Entry,
    /// The analytic derivative there.
    pub analytic: f64,
    /// The central difference there.
    pub numeric: f64,
    /// Entries within whose smallest step the active set changes: the solution has a kink there, and the two numbers
    /// need not agree.
    pub kinks: usize,
}

/// The analytic gradient against central differences.
#[derive(Debug, Clone, PartialEq)]
pub struct GradientCheck {
    /// The largest of the relative errors of all blocks.
    pub worst: f64,
    /// One row for each block that has entries.
    pub table: Vec<BlockCheck>,
}

impl fmt::Display for GradientCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |f: &mut fmt::Formatter<'_>, cells: [&str; 6]| {
            let [block, checked, worst, at, analytic, numeric] = cells;
            writeln!(f, "{block:<8} {checked:>11} {worst:>12}  {at:<14} {analytic:>22} {numeric:>22}")
        };
        line(f, ["block", "checked", "worst error", "at", "analytic", "central difference"])?;
        for row in &self.table {
            let checked = format!("{}/{}", row.checked, row.entries);
            let (worst, at) = (format!("{:.1e}", row.worst), row.at.to_string());
            let (analytic, numeric) = (format!("{:.12e}", row.analytic), format!("{:.12e}", row.numeric));
            line(f, [row.block, &checked, &worst, &at, &analytic, &numeric])?;
        }
        write!(f, "worst relative error {:.1e}", self.worst)
    }
}

/// Compares the gradient of a solution with central differences of `<cotangent, outputs>` through new solves, each to
/// high accuracy, by the solver that found it. With smoothing the outputs are those of `x(mu)`.
pub fn check_gradient(solution: &Solution, cotangent: &Cotangent) -> Result<GradientCheck, Error> {
    let gradient = solution.vjp(cotangent, Wrt::ALL)?;
    check_against(solution, cotangent, &gradient)
}

/// Compares any gradient, for instance one that went through another framework, with central differences.
pub fn check_against(solution: &Solution, cotangent: &Cotangent, gradient: &Gradient) -> Result<GradientCheck, Error> {
    if !solution.ok() {
        return Err(Error::NoSolution { status: solution.status });
    }
    let all = Entry::all(solution.qp());
    let mut table: Vec<BlockCheck> = Vec::new();
    let mut scales = Vec::new();
    for entries in all.chunk_by(|a, b| a.block() == b.block()) {
        let size = entries.iter().fold(0.0_f64, |s, e| s.max(e.value(solution.qp()).abs()));
        let stride = entries.len().div_ceil(MOST_ENTRIES);
        let mut row = BlockCheck {
            block: entries[0].block(),
            entries: entries.len(),
            checked: 0,
            worst: 0.0,
            at: entries[0],
            analytic: entries[0].of(gradient),
            numeric: f64::NAN,
            kinks: 0,
        };
        let mut scale = entries.iter().fold(0.0_f64, |s, e| s.max(e.of(gradient).abs()));
        for &entry in entries.iter().step_by(stride) {
            let (numeric, smooth) = difference(solution, cotangent, entry, size)?;
            let analytic = entry.of(gradient);
            let error = (analytic - numeric).abs();
            scale = scale.max(numeric.abs());
            row.kinks += usize::from(!smooth);
            if row.checked == 0 || error > row.worst || error.is_nan() {
                (row.worst, row.at, row.analytic, row.numeric) = (error, entry, analytic, numeric);
            }
            row.checked += 1;
        }
        table.push(row);
        scales.push(scale);
    }
    let floor = 1e-3 * scales.iter().fold(0.0_f64, |a, &s| a.max(s));
    for (row, &scale) in table.iter_mut().zip(&scales) {
        let scale = scale.max(floor);
        row.worst = if scale > 0.0 { row.worst / scale } else { row.worst };
    }
    let worst = table.iter().fold(0.0_f64, |a, row| if row.worst.is_nan() { f64::NAN } else { a.max(row.worst) });
    Ok(GradientCheck { worst, table })
}

/// The central difference of fourth order, and whether the active set is the same at all of its points.
fn difference(solution: &Solution, cotangent: &Cotangent, entry: Entry, size: f64) -> Result<(f64, bool), Error> {
    let qp = solution.qp();
    let value = entry.value(qp);
    let settings = Settings { polish: true, time_limit: None, interrupt: None, ..solution.settings.clone() };
    let mut step = STEP * if size > 0.0 { value.abs().max(0.1 * size) } else { 1.0 };
    let mut last = Err(Error::NoSolution { status: solution.status });
    for _ in 0..=REDUCTIONS {
        // the diagonal of a factored P stays nonnegative: one-sided where it is (almost) zero
        let one_sided = matches!(entry, Entry::D(_)) && value < 2.0 * step;
        let places = if one_sided { [0.0, 1.0, 2.0, 3.0] } else { [-2.0, -1.0, 1.0, 2.0] };
        let mut smooth = true;
        let mut losses = [0.0; 4];
        let mut failure = None;
        for (loss, place) in losses.iter_mut().zip(places) {
            let there = entry.moved(qp, place * step).solve(&settings)?;
            if !there.ok() {
                failure = Some(Error::NoSolution { status: there.status });
                break;
            }
            smooth &= settings.smoothing.is_some() || same_set(there.active(), solution.active());
            *loss = there.loss(cotangent)?;
        }
        if let Some(error) = failure {
            last = Err(error);
        } else {
            let [a, b, c, d] = losses;
            let slope = if one_sided {
                (-11.0 * a + 18.0 * b - 9.0 * c + 2.0 * d) / (6.0 * step)
            } else {
                (a - 8.0 * b + 8.0 * c - d) / (12.0 * step)
            };
            last = Ok((slope, smooth));
            if smooth {
                break;
            }
        }
        step *= 0.1;
    }
    last
}

fn same_set(a: &ActiveSet, b: &ActiveSet) -> bool {
    a.g == b.g && a.bound == b.bound
}

impl Solution {
    /// `<cotangent, outputs>`.
    fn loss(&self, cotangent: &Cotangent) -> Result<f64, Error> {
        cotangent.validate(&self.qp)?;
        let smoothed = self.barrier_point()?;
        let (point, objective) = match &smoothed {
            Some(point) => (point, self.qp.objective(&point.x)),
            None => (&self.point(), self.objective),
        };
        Ok(dot(&cotangent.x, &point.x)
            + dot(&cotangent.y, &point.y)
            + dot(&cotangent.z, &point.z)
            + dot(&cotangent.z_box, &point.z_box)
            + cotangent.objective * objective)
    }

    /// The barrier solution that the gradient belongs to, with smoothing.
    fn barrier_point(&self) -> Result<Option<Point>, Error> {
        let Some(mu) = self.settings.smoothing else { return Ok(None) };
        let mut kkt = kkt::prepare(self.qp.kkt())?;
        kkt.load(self.qp.kkt())?;
        Ok(Some(Smoothed::solve(&self.qp, &mut *kkt, &self.at, mu)?.point))
    }
}
