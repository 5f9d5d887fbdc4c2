//! Newton's method on the active set of a sparse program: the last digits of what the interior point found.
//!
//! ```text
//! [ H  F' ] [dx]     [ grad L ]        F: the Jacobians of the equalities and of the active rows,
//! [ F  0  ] [dy] = - [ values ]        variables at a bound pinned
//! ```
//!
//! This is the system of the backward pass, and needs no convex model: where the point is a strict minimum its inertia is
//! right. Rows whose multiplier has the wrong sign leave the set, rows that are missed join it. What does not settle in a few
//! steps is left to the other solver.

use super::interior::Reached;
use super::judge::{Curvature, Order, judge};
use super::local::LocalSolution;
use super::model::{Expanded, Left, Model, Places, Rows, size, with_rows};
use super::numbers::{bad_expansion, bad_value};
use super::{At, Expansion, SmoothProgram};
use crate::active::{ActiveSet, Side};
use crate::kkt::{KktData, KktFactor, SparseKkt};
use crate::matrix::{Hessian, Keep, Matrix, nan_max, norm_inf};
use crate::thresholds::newton::*;
use crate::thresholds::{WEAK, sqp::NOTHING};
use crate::{Deadline, Error, Point, Settings, Solution, Status};
use std::sync::{Arc, Mutex};

/// Does the sparse system serve these matrices, here and in the backward pass?
pub(super) fn suits(at: &Expansion) -> bool {
    let n = at.gradient.len();
    let Hessian::Sparse(h) = &at.hessian else { return false };
    let mut stored = h.nnz();
    let mut rows = 0;
    for m in [&at.equality, &at.inequality] {
        if m.nrows() > 0 && !m.is_sparse() {
            return false;
        }
        m.for_each(|_, _, _| stored += 1);
        rows += m.nrows();
    }
    n > SMALL && n + rows > 2 * SMALL && (n > 400 || 10 * stored <= n * (n + rows))
}

struct Active {
    row: Vec<bool>,
    side: Vec<Side>,
}

/// The solution nearby, its active set at first what weighs more than `times` its slack, judged; `None` if the steps do not settle.
pub(super) fn finish(
    program: &mut dyn SmoothProgram,
    reached: &Reached,
    times: f64,
    settings: &Settings,
    deadline: &Deadline,
) -> Result<Option<LocalSolution>, Error> {
    let tolerance = settings.eps_abs.max(settings.eps_rel).max(1e-12);
    let (lb, ub) = program.bounds();
    let (lb, ub): (Arc<[f64]>, Arc<[f64]>) = (lb.into(), ub.into());
    let n = lb.len();
    let (mut x, mut y, mut z) = (reached.x.clone(), reached.y.clone(), reached.z.clone());
    let (row, side) = reached.active(times, (&lb, &ub));
    let mut set = Active { row, side };
    let mut kkt: Option<SparseKkt> = None;
    let mut near = 0.0;
    let (mut augment, mut places) = (false, Places::default());
    let (mut changes, mut beyond, mut missed, mut creeps) = (0, 0, 0, 0);
    let (mut step, mut best) = (f64::INFINITY, f64::INFINITY);
    for steps in 1..=STEPS {
        if deadline.passed() {
            return Ok(None);
        }
        for j in 0..n {
            match set.side[j] {
                Side::Lower | Side::Fixed => x[j] = lb[j],
                Side::Upper => x[j] = ub[j],
                Side::Free => {}
            }
        }
        z.iter_mut().zip(&set.row).for_each(|(z, active)| *z = if *active { *z } else { 0.0 });
        let values = program.values(&x)?;
        if bad_value(&values).is_some() {
            return Ok(None);
        }
        let at = program.expand(At { x: &x, y: &y, z: &z })?;
        if bad_expansion(&at).is_some() || !suits(&at) {
            return Ok(None);
        }
        let at = Expanded::of(at, n, (y.len(), z.len()))?;
        augment = augment || !curved(&at, &set.side);
        let mut forces = at.gradient.clone();
        at.equality.tmul_add(1.0, &y, &mut forces);
        at.inequality.tmul_add(1.0, &z, &mut forces);
        let z_box: Vec<f64> = (0..n).map(|j| if set.side[j] == Side::Free { 0.0 } else { -forces[j] }).collect();
        let rows = Rows { values: &values, x: &x, bounds: (&lb, &ub) };
        let left = Left::of(&rows, &at, (&y, &z, &z_box), NOTHING * norm_inf(&at.gradient));
        let sizes = Sizes::of(&at, &x, (&y, &z, &z_box));
        let settled = left.stationarity <= tolerance && step <= tolerance.sqrt().min(1e-6);
        if settled && exchange(&mut set, &sizes, (&x, &z, &z_box), &values.inequality, (&lb, &ub), tolerance) {
            changes += 1;
            if changes > CHANGES {
                return Ok(None);
            }
            (step, best, beyond) = (f64::INFINITY, f64::INFINITY, 0);
            continue;
        }
        // rows that contradict each other are missed for ever
        missed += usize::from(settled && left.feasibility > tolerance);
        if missed > POLISH {
            return Ok(None);
        }
        let worst = left.stationarity.max(left.feasibility).max(step);
        if settled && left.worst() <= tolerance {
            let stuck = beyond > 0 && worst > 0.5 * best;
            beyond += 1;
            best = best.min(worst);
            // the error after a step of Newton's method is that step's square
            let rounded = left.worst() <= ROUNDED && step <= ROUNDED.sqrt();
            if rounded || stuck || beyond > POLISH {
                let weak = sizes.weak(&set, (&x, &z, &z_box), &values.inequality, (&lb, &ub));
                let steps = reached.steps + steps;
                let blocks = Blocks::of(&at, &set.row, augment.then_some(&mut places))?;
                let Some(system) = System::new(blocks, &mut kkt, &set, near) else {
                    return Ok(None);
                };
                let point = Point { x: x.clone(), y: y.clone(), z: z.clone(), z_box, ..Point::default() };
                let active = ActiveSet::new((set.row, weak.0), (set.side, weak.1));
                return ended((rows, &at), point, active, (left, steps, system), settings).map(Some);
            }
        }
        let mut blocks = Blocks::of(&at, &set.row, augment.then_some(&mut places))?;
        blocks.load(&mut kkt)?;
        let right: Vec<f64> = values.equality.iter().chain(&values.inequality).map(|c| -c).collect();
        let (mut w, mut v): (Vec<f64>, Vec<f64>);
        loop {
            let (dx, dc) = diagonals(&set, y.len(), near);
            let Some(system) = &mut kkt else { return Ok(None) };
            system.prefer_sharp();
            if system.factor_once(&dx, &dc).is_err() {
                if augment {
                    return Ok(None);
                }
                augment = true;
                blocks = Blocks::of(&at, &set.row, augment.then_some(&mut places))?;
                blocks.load(&mut kkt)?;
                continue;
            }
            w = forces.iter().map(|f| -f).collect();
            v = right.clone();
            for (v, active) in v[y.len()..].iter_mut().zip(&set.row) {
                *v = if *active { *v } else { 0.0 };
            }
            blocks.solve(system, &mut w, &mut v);
            let last = step;
            step = w.iter().zip(&x).fold(0.0_f64, |m, (d, x)| nan_max(m, d.abs() / x.abs().max(1.0)));
            creeps = if near > 0.0 && step > CREEP * last { creeps + 1 } else { 0 };
            if step <= FAR && v.iter().all(|v| v.is_finite()) {
                break;
            }
            if near > 0.0 || creeps > CREEPS {
                return Ok(None);
            }
            // directions without curvature: stay near
            step = last;
            near = NEAR * size(&at.hessian);
        }
        x.iter_mut().zip(&w).for_each(|(x, d)| *x += d);
        let (dy, dz) = v.split_at(y.len());
        y.iter_mut().zip(dy).for_each(|(y, d)| *y += d);
        z.iter_mut().zip(dz).for_each(|(z, d)| *z += d);
    }
    Ok(None)
}

/// Has every variable that is free curvature of its own? Then the Hessian needs none of the rows to have pivots, most often.
fn curved(at: &Expanded, side: &[Side]) -> bool {
    let diagonal = at.hessian.diagonal();
    let least = OWN_CURVATURE * size(&at.hessian);
    diagonal.iter().zip(side).all(|(d, side)| *side != Side::Free || *d > least)
}

/// The matrices of an expansion, and what is factored: a Hessian without curvature along a variable has no pivot for it, so that
/// squares of the rows that are held are then added, `H + F' R F`. That changes no `w` with `F w = r`, and multipliers by `R r`.
struct Blocks {
    h: Arc<Hessian>,
    augmented: Arc<Hessian>,
    a: Arc<Matrix>,
    g: Arc<Matrix>,
    empty: Arc<Matrix>,
    weights: Vec<f64>,
}

impl Blocks {
    fn of(at: &Expanded, row: &[bool], augment: Option<&mut Places>) -> Result<Self, Error> {
        let (m, k) = (at.equality.nrows(), row.len());
        let (h, a, g) = (at.hessian.clone(), at.equality.clone(), at.inequality.clone());
        let empty = Arc::new(Matrix::empty(at.gradient.len()));
        let Some(places) = augment else {
            return Ok(Blocks { augmented: h.clone(), h, a, g, empty, weights: vec![0.0; m + k] });
        };
        let mut squares = vec![0.0; m + k];
        at.equality.for_each(|i, _, v| squares[i] += v * v);
        at.inequality.for_each(|i, _, v| squares[m + i] += if row[i] { v * v } else { 0.0 });
        let curvature = size(&at.hessian);
        let weights: Vec<f64> = squares.iter().map(|s| if *s > 0.0 { curvature / s } else { 0.0 }).collect();
        let roots: Vec<f64> = weights.iter().map(|w| w.sqrt()).collect();
        let ones = vec![1.0; at.gradient.len()];
        let scaled = (a.scaled(&roots[..m], &ones), g.scaled(&roots[m..], &ones));
        let augmented = Arc::new(with_rows(&h, &scaled.0, (&scaled.1, row), 1.0, places)?);
        Ok(Blocks { augmented, h, a, g, empty, weights })
    }

    fn data<'a>(&'a self, keep: &'a Keep) -> KktData<'a> {
        KktData { p: &self.augmented, rows: [&self.a, &self.g, &self.empty], analysis: keep }
    }

    fn load(&self, kkt: &mut Option<SparseKkt>) -> Result<(), Error> {
        let keep = Keep::default();
        if kkt.as_mut().is_none_or(|kkt| kkt.load(self.data(&keep)).is_err()) {
            *kkt = Some(SparseKkt::new(self.data(&keep))?);
        }
        Ok(())
    }

    /// Solves with the factors: forces and values in, variables and multipliers of the rows out.
    fn solve(&self, kkt: &mut SparseKkt, w: &mut [f64], v: &mut [f64]) {
        let right: Vec<f64> = v.iter().zip(&self.weights).map(|(r, weight)| r * weight).collect();
        kkt.solve(w, v);
        v.iter_mut().zip(&right).for_each(|(v, r)| *v += r);
    }
}

/// The system of the backward pass at the solution, factored.
pub(super) struct System {
    kkt: SparseKkt,
    blocks: Blocks,
    pinned: Vec<bool>,
    row: Vec<bool>,
    m: usize,
    deficient: bool,
}

impl System {
    fn new(blocks: Blocks, kkt: &mut Option<SparseKkt>, set: &Active, near: f64) -> Option<Self> {
        let m = blocks.a.nrows();
        blocks.load(kkt).ok()?;
        let mut kkt = kkt.take()?;
        kkt.prefer_sharp();
        let (dx, dc) = diagonals(set, m, near);
        kkt.factor(&dx, &dc).ok()?;
        let deficient = kkt.deficient();
        // the search for dependent rows leaves another factorization
        kkt.factor_once(&dx, &dc).ok()?;
        let pinned = set.side.iter().map(|s| *s != Side::Free).collect();
        Some(System { kkt, blocks, pinned, row: set.row.clone(), m, deficient })
    }

    pub(super) fn deficient(&self) -> bool {
        self.deficient
    }

    pub(super) fn pinned(&self, j: usize) -> bool {
        self.pinned[j]
    }

    /// `r -= K (w, v)` with all variables, and the magnitudes of the terms.
    fn residual(&self, w: &[f64], v: &[f64], r: (&mut [f64], &mut [f64]), size: (&mut [f64], &mut [f64])) {
        let keep = Keep::default();
        let data = self.blocks.data(&keep);
        self.blocks.h.mul_add(-1.0, w, r.0, &mut Vec::new());
        data.tmul_add(-1.0, v, r.0);
        data.mul_add(-1.0, w, r.1);
        let abs = |v: &[f64]| v.iter().map(|v| v.abs()).collect::<Vec<f64>>();
        let (w, v) = (abs(w), abs(v));
        self.blocks.h.magnitudes_add(&w, size.0, &mut Vec::new());
        data.transposed_magnitudes_add(&v, size.0);
        data.magnitudes_add(&w, size.1);
    }

    /// Solves for these right-hand sides of the forces and of the rows (inactive ones are ignored), and the values that the
    /// pinned variables have: `w`, the multipliers of the rows, those of the bounds, and the residual relative to its terms.
    pub(super) fn solve(
        &mut self,
        force: &[f64],
        rows: (&[f64], &[f64]),
        pins: &[f64],
    ) -> (Vec<f64>, Vec<f64>, Vec<f64>, Vec<f64>, f64) {
        let (n, m, k) = (force.len(), self.m, self.m + self.row.len());
        let entry = |v: &[f64], i: usize| v.get(i).copied().unwrap_or(0.0);
        let right = |i: usize| if i < m { entry(rows.0, i) } else { entry(rows.1, i - m) };
        let held: Vec<bool> = (0..k).map(|i| i < m || self.row[i - m]).collect();
        let mut w: Vec<f64> = (0..n).map(|j| if self.pinned[j] { entry(pins, j) } else { 0.0 }).collect();
        let mut v = vec![0.0; k];
        let (mut left, mut best) = ((Vec::new(), Vec::new()), f64::INFINITY);
        let mut kept = (w.clone(), v.clone());
        for _ in 0..=CORRECTIONS + 1 {
            let mut r: (Vec<f64>, Vec<f64>) = (force.to_vec(), (0..k).map(right).collect());
            let mut size: (Vec<f64>, Vec<f64>) =
                (force.iter().map(|f| f.abs()).collect(), r.1.iter().map(|r| r.abs()).collect());
            self.residual(&w, &v, (&mut r.0, &mut r.1), (&mut size.0, &mut size.1));
            let floor = |s: &[f64]| (1e-3 * norm_inf(s)).max(f64::MIN_POSITIVE);
            let (a, b) = (floor(&size.0), floor(&size.1));
            let mut worst = 0.0_f64;
            for j in (0..n).filter(|&j| !self.pinned[j]) {
                worst = nan_max(worst, r.0[j].abs() / size.0[j].max(a));
            }
            for i in (0..k).filter(|&i| held[i]) {
                worst = nan_max(worst, r.1[i].abs() / size.1[i].max(b));
            }
            let better = worst < 0.5 * best;
            if !better {
                if left.0.is_empty() {
                    left = (r.0, r.1);
                }
                break;
            }
            best = worst;
            kept = (w.clone(), v.clone());
            left = (r.0.clone(), r.1.clone());
            if worst <= 4.0 * f64::EPSILON {
                break;
            }
            (0..n).filter(|&j| self.pinned[j]).for_each(|j| r.0[j] = 0.0);
            (0..k).filter(|&i| !held[i]).for_each(|i| r.1[i] = 0.0);
            self.blocks.solve(&mut self.kkt, &mut r.0, &mut r.1);
            w.iter_mut().zip(&r.0).for_each(|(w, d)| *w += d);
            v.iter_mut().zip(&r.1).for_each(|(v, d)| *v += d);
        }
        let (w, mut v) = kept;
        let bounds = (0..n).map(|j| if self.pinned[j] { left.0[j] } else { 0.0 }).collect();
        let z = v.split_off(m);
        (w, v, z, bounds, best)
    }
}

fn diagonals(set: &Active, m: usize, near: f64) -> (Vec<f64>, Vec<f64>) {
    let pin = |s: &Side| if *s == Side::Free { near } else { f64::INFINITY };
    let mut dc = vec![0.0; m];
    dc.extend(set.row.iter().map(|active| if *active { 0.0 } else { f64::INFINITY }));
    (set.side.iter().map(pin).collect(), dc)
}

/// The units in which rows, slacks and multipliers are large or small.
struct Sizes {
    /// Of the rows of the inequalities: the terms of their values, and what a multiplier of 1 is there, as a part of the terms of
    /// the conditions that it enters.
    terms: Vec<f64>,
    entries: Vec<f64>,
    /// The terms of the condition of each variable.
    force: Vec<f64>,
}

impl Sizes {
    fn of(at: &Expanded, x: &[f64], (y, z, z_box): (&[f64], &[f64], &[f64])) -> Self {
        let magnitudes: Vec<f64> = x.iter().map(|x| x.abs().max(1.0)).collect();
        let mut terms = vec![0.0; z.len()];
        at.inequality.magnitudes_add(&magnitudes, &mut terms);
        let mut force: Vec<f64> = at.gradient.iter().zip(z_box).map(|(g, z)| g.abs() + z.abs()).collect();
        for (m, v) in [(&at.equality, y), (&at.inequality, z)] {
            m.transposed_magnitudes_add(&v.iter().map(|v| v.abs()).collect::<Vec<_>>(), &mut force);
        }
        let floor = (QUIET * norm_inf(&force)).max(f64::MIN_POSITIVE);
        force.iter_mut().for_each(|f| *f = f.max(floor));
        let mut entries = vec![0.0_f64; z.len()];
        at.inequality.for_each(|i, j, v| entries[i] = entries[i].max(v.abs() / force[j]));
        Sizes { terms, entries, force }
    }

    fn slack(&self, i: usize, g: f64) -> f64 {
        -g / self.terms[i].max(f64::MIN_POSITIVE)
    }

    fn multiplier(&self, i: usize, z: f64) -> f64 {
        z * self.entries[i]
    }

    /// Rows and bounds whose slack and multiplier both vanish.
    fn weak(
        &self,
        set: &Active,
        (x, z, z_box): (&[f64], &[f64], &[f64]),
        g: &[f64],
        (lb, ub): (&[f64], &[f64]),
    ) -> (Vec<bool>, Vec<bool>) {
        let row = |i: usize| {
            if set.row[i] { self.multiplier(i, z[i]) <= WEAK } else { self.slack(i, g[i]) <= WEAK }
        };
        let bound = |j: usize| match set.side[j] {
            Side::Fixed => false,
            Side::Free => (x[j] - lb[j]).min(ub[j] - x[j]) <= WEAK * x[j].abs().max(1.0),
            _ => z_box[j].abs() <= WEAK * self.force[j],
        };
        ((0..z.len()).map(row).collect(), (0..x.len()).map(bound).collect())
    }
}

/// Takes in what is missed and lets go what pulls; true if something changed.
fn exchange(
    set: &mut Active,
    sizes: &Sizes,
    (x, z, z_box): (&[f64], &[f64], &[f64]),
    g: &[f64],
    (lb, ub): (&[f64], &[f64]),
    tolerance: f64,
) -> bool {
    let mut changed = false;
    for i in 0..z.len() {
        let wrong = if set.row[i] { sizes.multiplier(i, z[i]) < -tolerance } else { sizes.slack(i, g[i]) < -tolerance };
        set.row[i] ^= wrong;
        changed |= wrong;
    }
    for j in 0..x.len() {
        let unit = tolerance * x[j].abs().max(1.0);
        let next = match set.side[j] {
            Side::Lower if z_box[j] > tolerance * sizes.force[j] => Side::Free,
            Side::Upper if z_box[j] < -tolerance * sizes.force[j] => Side::Free,
            Side::Free if x[j] < lb[j] - unit => Side::Lower,
            Side::Free if x[j] > ub[j] + unit => Side::Upper,
            same => same,
        };
        changed |= next != set.side[j];
        set.side[j] = next;
    }
    changed
}

/// Judges the point, and makes the quadratic program that the smooth one is there.
fn ended(
    (rows, at): (Rows<'_>, &Expanded),
    mut point: Point,
    active: ActiveSet,
    (left, iterations, system): (Left, usize, System),
    settings: &Settings,
) -> Result<LocalSolution, Error> {
    // what rounding leaves of the signs
    point.z.iter_mut().for_each(|z| *z = z.max(0.0));
    for (z, side) in point.z_box.iter_mut().zip(&active.bound) {
        *z = match side {
            Side::Lower => z.min(0.0),
            Side::Upper => z.max(0.0),
            _ => *z,
        };
    }
    let mut out = LocalSolution::at_point(&point, rows.values.objective, Status::Solved, iterations);
    out.x.iter_mut().enumerate().for_each(|(j, x)| *x = x.max(rows.bounds.0[j]).min(rows.bounds.1[j]));
    out.residual = left.worst();
    match judge(at, &active, Curvature::default().is_clear(&at.hessian)) {
        Order::NotAMinimum(direction) => {
            (out.status, out.direction) = (Status::NotAMinimum, Some(direction));
            return Ok(out);
        }
        Order::Minimum => out.order_known = true,
        Order::Unknown => {}
    }
    let held = (vec![false; point.z.len()], vec![false; point.x.len()]);
    out.held = held.clone();
    let model = Model::with(&rows, at, Arc::new((*at.hessian).clone().validated()?), ((0.0, 0.0), held, 0.0))?;
    let mut inner = Solution::restore(model.qp, point, active, settings)?;
    inner.info.dependent_rows = system.deficient();
    out.system = Some(Box::new(Mutex::new(system)));
    out.inner = Some(inner);
    Ok(out)
}
