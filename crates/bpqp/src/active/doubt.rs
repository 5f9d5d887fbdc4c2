//! How sure is what was computed? An uncertainty for every variable, multiplier and slack, in its own unit.
//!
//! A unit taken from the largest numbers of a problem hides the small ones, and one taken from a number itself fails where
//! that is zero. What a number can be told from is what rounding may have made of it: the change of the solution under
//! perturbations of every equation by its own residual and the rounding of its own terms. Solves with random signs give
//! its size; two, for in one the perturbations may cancel in a variable.

use super::{ActiveSet, Side};
use crate::kkt::{KktFactor, add_magnitudes, probe};
use crate::matrix::nan_max;
use crate::residuals::ResidualWork;
use crate::thresholds::{DOUBT, TERM_ROUNDING};
use crate::{Point, Qp};

/// Seeds of the perturbations; each takes two.
const PERTURBATIONS: [u64; 2] = [1, 3];

/// Uncertainties, each times [`DOUBT`].
#[derive(Debug, Default)]
pub(crate) struct Doubts {
    /// Of the variables.
    pub x: Vec<f64>,
    /// Of the multipliers of the inequalities that are active, of the slacks of the others.
    pub rows: Vec<f64>,
    /// Of the multipliers of the bounds.
    pub bounds: Vec<f64>,
    /// Magnitudes of the variables and of the forces of the bounds.
    lengths: Vec<f64>,
    forces: Vec<f64>,
    terms_w: Vec<f64>,
    terms_v: Vec<f64>,
    w: Vec<f64>,
    v: Vec<f64>,
    moved: Vec<f64>,
    pulled: Vec<f64>,
    /// What the perturbations move, in sum: variables, multipliers, rows, forces.
    moves_w: Vec<f64>,
    moves_v: Vec<f64>,
    moves_rows: Vec<f64>,
    moves_forces: Vec<f64>,
    multipliers: Vec<f64>,
    equality: Vec<f64>,
    magnitudes: Vec<f64>,
    rank: Vec<f64>,
    no_diagonal: (Vec<f64>, Vec<f64>),
}

fn refill(v: &mut Vec<f64>, n: usize) {
    v.clear();
    v.resize(n, 0.0);
}

/// `|at|`, and `|at - from|` if it came from there.
fn magnitudes(out: &mut Vec<f64>, at: &[f64], from: Option<&Vec<f64>>) {
    out.clear();
    out.extend(at.iter().map(|v| v.abs()));
    from.into_iter().for_each(|from| out.iter_mut().zip(at).zip(from).for_each(|((o, v), f)| *o += (v - f).abs()));
}

fn add(to: &mut [f64], other: &[f64]) {
    to.iter_mut().zip(other).for_each(|(to, v)| *to += v);
}

impl Doubts {
    /// Sizes of the terms of every equation at `point`, and of what they were on its `way`, the point that it came from and the
    /// largest steps of variables and multipliers since: where a number vanishes, what is left of it is rounding of what it came
    /// from, and of what the steps between made of it.
    pub fn measure(&mut self, qp: &Qp, point: &Point, way: Option<(&Point, &[Vec<f64>; 2])>) {
        let from = way.map(|(from, _)| from);
        magnitudes(&mut self.lengths, &point.x, from.map(|p| &p.x));
        magnitudes(&mut self.forces, &point.z_box, from.map(|p| &p.z_box));
        self.terms_w.clear();
        self.terms_w.extend(qp.q.iter().zip(&self.forces).map(|(q, z)| q.abs() + z));
        self.terms_v.clear();
        self.terms_v.extend(qp.b.iter().chain(qp.h.iter()).map(|b| if b.is_finite() { b.abs() } else { 0.0 }));
        magnitudes(&mut self.multipliers, &point.z, from.map(|p| &p.z));
        magnitudes(&mut self.equality, &point.y, from.map(|p| &p.y));
        self.multipliers.splice(..0, self.equality.iter().copied());
        if let Some((_, [x, v])) = way {
            add(&mut self.lengths, x);
            add(&mut self.multipliers, v);
        }
        refill(&mut self.no_diagonal.0, qp.n());
        refill(&mut self.no_diagonal.1, self.terms_v.len());
        let none = (&self.no_diagonal.0[..], &self.no_diagonal.1[..]);
        let sizes = (&mut self.terms_w[..], &mut self.terms_v[..]);
        add_magnitudes(
            qp.kkt(),
            none,
            (&self.lengths, &self.multipliers),
            sizes,
            (&mut self.magnitudes, &mut self.rank),
        );
    }

    /// The part of its own terms that the equation of the set which holds least is off by.
    pub fn off(&self, work: &ResidualWork, set: &ActiveSet) -> f64 {
        let m = work.equality.len();
        let free = work.stationarity.iter().zip(&self.terms_w).zip(&set.bound);
        let free = free.filter(|(_, side)| **side == Side::Free).map(|(row, _)| row);
        let rows = work.slack.iter().zip(&self.terms_v[m..]).zip(&set.g);
        let rows = rows.filter(|(_, active)| **active).map(|(row, _)| row);
        let all = free.chain(work.equality.iter().zip(&self.terms_v)).chain(rows);
        all.fold(0.0, |worst, (r, terms)| if *r == 0.0 { worst } else { nan_max(worst, r.abs() / terms) })
    }

    /// Uncertainties from what is left of the equations and the rounding of their terms, by solves with the factors of
    /// the set. Where rows are dependent their perturbations contradict each other: multipliers are not asked what they make of
    /// them, and variables only of factors that take contradictions for what they are.
    pub fn load(&mut self, qp: &Qp, kkt: &mut dyn KktFactor, work: &ResidualWork, set: &ActiveSet) {
        let (n, m) = (qp.n(), qp.n_equality());
        let error = |r: f64, terms: f64| r.abs() + TERM_ROUNDING * terms;
        let dependent = kkt.deficient();
        let sizes = [(&mut self.moves_w, n), (&mut self.moves_v, self.terms_v.len())];
        sizes.into_iter().for_each(|(v, len)| refill(v, len));
        let others = [(&mut self.moves_rows, qp.n_inequality()), (&mut self.moves_forces, n)];
        others.into_iter().for_each(|(v, len)| refill(v, len));
        let terms_v = &self.terms_v;
        let row_error = |i: usize| match i.checked_sub(m) {
            None => error(work.equality[i], terms_v[i]),
            Some(k) if set.g[k] => error(work.slack[k], terms_v[i]),
            Some(_) => 0.0,
        };
        for seed in PERTURBATIONS {
            self.w.clear();
            self.w.extend((0..n).map(|j| match set.bound[j] {
                Side::Free => probe(seed, j) * error(work.stationarity[j], self.terms_w[j]),
                _ => 0.0,
            }));
            self.v.clear();
            let part = |i: usize| if dependent { 0.0 } else { probe(seed + 1, i) * row_error(i) };
            self.v.extend((0..terms_v.len()).map(part));
            kkt.solve(&mut self.w, &mut self.v);
            refill(&mut self.moved, qp.n_inequality());
            qp.g.mul_add(1.0, &self.w, &mut self.moved);
            refill(&mut self.pulled, n);
            qp.p.mul_add(1.0, &self.w, &mut self.pulled, &mut self.rank);
            qp.kkt().tmul_add(1.0, &self.v, &mut self.pulled);
            let add_size = |sum: &mut [f64], v: &[f64]| sum.iter_mut().zip(v).for_each(|(s, v)| *s += v.abs());
            add_size(&mut self.moves_w, &self.w);
            add_size(&mut self.moves_v, &self.v);
            add_size(&mut self.moves_rows, &self.moved);
            add_size(&mut self.moves_forces, &self.pulled);
            if dependent && kkt.refines() {
                // unrefined, regularized factors give the variables that come closest to all rows
                self.w.fill(0.0);
                self.v.clear();
                self.v.extend((0..self.terms_v.len()).map(|i| probe(seed + 1, i) * row_error(i)));
                kkt.solve_step(&mut self.w, &mut self.v, 1.0);
                refill(&mut self.moved, qp.n_inequality());
                qp.g.mul_add(1.0, &self.w, &mut self.moved);
                add_size(&mut self.moves_w, &self.w);
                add_size(&mut self.moves_rows, &self.moved);
            }
        }
        let doubt = |moved: f64, terms: f64| DOUBT * (moved + TERM_ROUNDING * terms);
        self.x.clear();
        self.x.extend((0..n).map(|j| doubt(self.moves_w[j], self.lengths[j])));
        self.bounds.clear();
        self.bounds.extend((0..n).map(|j| doubt(self.moves_forces[j], self.terms_w[j])));
        self.rows.clear();
        self.rows.extend((0..set.g.len()).map(|i| match set.g[i] {
            true => doubt(self.moves_v[m + i], self.multipliers[m + i]),
            false => doubt(self.moves_rows[i], self.terms_v[m + i]),
        }));
    }

    /// By how many uncertainties condition `i` (the inequalities, then the bounds) is violated; and whether it is held or
    /// missed by less than one.
    pub fn violation(&self, qp: &Qp, i: usize, (point, work): (&Point, &ResidualWork), set: &ActiveSet) -> (f64, bool) {
        // what has no number decides nothing either
        let judge = |margin: f64, doubt: f64| {
            let decided = margin.abs() > doubt;
            (if decided && margin < 0.0 { -margin / doubt } else { 0.0 }, !(decided && margin > 0.0))
        };
        let Some(j) = i.checked_sub(set.g.len()) else {
            let margin = if set.g[i] { point.z[i] } else { work.slack[i] };
            return judge(margin, self.rows[i]);
        };
        let (x, z) = (point.x[j], point.z_box[j]);
        match set.bound[j] {
            Side::Fixed => (0.0, false),
            Side::Lower => judge(-z, self.bounds[j]),
            Side::Upper => judge(z, self.bounds[j]),
            Side::Free => judge((x - qp.lb[j]).min(qp.ub[j] - x), self.x[j]),
        }
    }
}
