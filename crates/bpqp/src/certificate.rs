//! Proofs that a problem has no solution; checked from the data, whoever found them.

use crate::Qp;
use crate::cones::{Cone, blocks};
use crate::kkt::Units;
use crate::matrix::{dot, nan_max, norm_inf};
use crate::residuals::Point;
use crate::thresholds::{PROOF_REACH, PROOF_ROUNDING};

/// A proof that there is no solution.
#[derive(Debug, Clone, PartialEq)]
pub enum Certificate {
    /// Multipliers with `A'y + G'z + C'y_cone + z_box = 0`, `z >= 0`, `y_cone` in the dual cones and
    /// `b'y + h'z + d'y_cone + ub'z_box+ - lb'z_box- < 0`: no point satisfies the constraints (Farkas). `x` and `s` are empty.
    PrimalInfeasible(Point),
    /// A direction with `P d = 0`, `A d = 0`, `G d <= 0`, `-C d` in the cones, `d` inside the recession cone of the bounds,
    /// and `q'd < 0`.
    DualInfeasible(Vec<f64>),
    /// A direction with `A d = 0` and `d'P d < 0`.
    NonConvex(Vec<f64>),
}

/// Relative accuracy at which a certificate is accepted.
const ACCEPT: f64 = 1e-6;

impl Certificate {
    /// How well the certificate proves its claim, the same in all units of rows, variables and objective: the largest
    /// violation of one of its equations or inequalities relative to the terms of that one, over the value that proves the
    /// claim relative to its terms. Below about 1e-6 it is accepted; infinite if it proves nothing. The constraints that a
    /// direction of negative curvature must not leave are measured against its length, in the units of the problem.
    pub fn violation(&self, qp: &Qp) -> f64 {
        if !self.fits(qp) {
            return f64::INFINITY;
        }
        match self {
            Certificate::PrimalInfeasible(p) => primal_violation(qp, p),
            Certificate::DualInfeasible(d) => dual_violation(qp, d),
            Certificate::NonConvex(d) => curvature_violation(qp, d),
        }
    }

    /// True if it has the shapes of `qp`.
    fn fits(&self, qp: &Qp) -> bool {
        match self {
            Certificate::PrimalInfeasible(p) => {
                let lengths = (p.y.len(), p.z.len(), p.z_box.len(), p.y_cone.len());
                lengths == (qp.n_equality(), qp.n_inequality(), qp.n(), qp.n_cone())
            }
            Certificate::DualInfeasible(d) | Certificate::NonConvex(d) => d.len() == qp.n(),
        }
    }

    /// The certificate without what cannot be part of a proof, and with entries that are small against the largest one
    /// set to zero, as they are and in equilibrated units, where that proves more: what an iteration leaves of an inactive
    /// multiplier is not zero.
    pub(crate) fn cleaned(mut self, qp: &Qp) -> Self {
        if !self.fits(qp) {
            return self;
        }
        self.clip(qp);
        let mut best = (self.violation(qp), self);
        let mut units = None;
        // as it is, then where that leaves something out
        let passes = CLEAN.into_iter().flat_map(|relative| [(relative, false), (relative, true)]);
        for (relative, equilibrated) in std::iter::once((0.0, false)).chain(passes) {
            let mut candidate = best.1.clone();
            let units = equilibrated.then(|| &*units.get_or_insert_with(|| units_of(qp)));
            if !candidate.drop_small(relative, units) && relative > 0.0 {
                continue;
            }
            candidate.project_multipliers(qp);
            for candidate in [candidate.clone(), candidate.balanced(qp)] {
                let violation = candidate.violation(qp);
                if violation < best.0 {
                    best = (violation, candidate);
                }
            }
        }
        best.1
    }

    /// Entries of the wrong sign vanish, and those that rest on what is infinite.
    fn clip(&mut self, qp: &Qp) {
        match self {
            Certificate::PrimalInfeasible(p) => {
                p.z.iter_mut().zip(qp.h.iter()).for_each(|(z, &h)| *z = multiplier(*z, h));
                for (i, z) in p.z_box.iter_mut().enumerate() {
                    *z = box_multiplier(*z, qp.lb[i], qp.ub[i]);
                }
            }
            Certificate::DualInfeasible(d) => {
                for (i, d) in d.iter_mut().enumerate() {
                    *d = inside(*d, qp.lb[i], qp.ub[i]);
                }
            }
            Certificate::NonConvex(_) => {}
        }
    }

    /// Multipliers of curved cones are moved into the dual cones.
    fn project_multipliers(&mut self, qp: &Qp) {
        if let Certificate::PrimalInfeasible(p) = self {
            for (k, rows) in blocks(&qp.cones) {
                if let (Some(dual), Some(y)) = (qp.cones[k].dual(), p.y_cone.get_mut(rows)) {
                    let projected = dual.projection(y);
                    y.copy_from_slice(&projected);
                }
            }
        }
    }

    /// Entries below `relative` of the largest one vanish. A multiplier is measured by the force of its row, a direction
    /// by its length, both in units of the equilibrated problem if there are any. True if there were some.
    fn drop_small(&mut self, relative: f64, units: Option<&Units>) -> bool {
        let one = |units: Option<f64>| units.filter(|u| u.is_finite()).unwrap_or(1.0);
        let unit_w = |i: usize| one(units.map(|u| u.w()[i]));
        let unit_v = |i: usize| one(units.map(|u| u.v()[i]));
        let mut entries: Vec<(f64, &mut f64)> = match self {
            Certificate::PrimalInfeasible(p) => {
                let bounds = p.z_box.iter_mut().enumerate().map(|(i, z)| (*z * unit_w(i), z));
                let rows =
                    p.y.iter_mut().chain(&mut p.z).chain(&mut p.y_cone).enumerate().map(|(i, z)| (*z / unit_v(i), z));
                rows.chain(bounds).collect()
            }
            Certificate::DualInfeasible(d) | Certificate::NonConvex(d) => {
                d.iter_mut().enumerate().map(|(i, d)| (*d / unit_w(i), d)).collect()
            }
        };
        let largest = entries.iter().fold(0.0_f64, |m, (size, _)| m.max(size.abs()));
        let mut any = false;
        for (_, entry) in entries.iter_mut().filter(|(size, _)| size.abs() < relative * largest) {
            any |= **entry != 0.0;
            **entry = 0.0;
        }
        any
    }

    /// Farkas multipliers with those of the bounds chosen so that `A'y + G'z + z_box = 0` wherever there is a bound.
    fn balanced(mut self, qp: &Qp) -> Self {
        if let Certificate::PrimalInfeasible(p) = &mut self {
            p.z_box.fill(0.0);
            qp.a.tmul_add(-1.0, &p.y, &mut p.z_box);
            qp.g.tmul_add(-1.0, &p.z, &mut p.z_box);
            qp.c.tmul_add(-1.0, &p.y_cone, &mut p.z_box);
            for (i, z) in p.z_box.iter_mut().enumerate() {
                let bound = if *z > 0.0 { qp.ub[i] } else { qp.lb[i] };
                if !bound.is_finite() {
                    *z = 0.0;
                }
            }
        }
        self
    }

    /// True if the certificate proves its claim.
    pub fn verify(&self, qp: &Qp) -> bool {
        Self::accepted(self.violation(qp))
    }

    /// True if a violation is that of a proof.
    pub(crate) fn accepted(violation: f64) -> bool {
        violation <= ACCEPT
    }
}

/// Units in which the rows and variables of a problem are about as large as each other.
fn units_of(qp: &Qp) -> Units {
    let mut units = Units::default();
    let dc = qp.b.iter().map(|_| 0.0).chain(qp.h.iter().map(|&h| if h.is_finite() { 0.0 } else { h }));
    let dc = dc.chain(qp.d.iter().map(|_| 0.0));
    units.load(qp.kkt(), (&vec![0.0; qp.n()], &dc.collect::<Vec<_>>()));
    units
}

/// Rows in a row through which the length of one variable tells that of another.
const PASSES: usize = 8;
/// Entries below these multiples of the largest one may be remnants.
const CLEAN: [f64; 3] = [1e-7, 1e-5, 1e-3];

/// The part of a multiplier of an inequality that counts in a proof.
fn multiplier(z: f64, h: f64) -> f64 {
    if h.is_finite() { z.max(0.0) } else { 0.0 }
}

/// The same of a bound.
fn box_multiplier(z: f64, lb: f64, ub: f64) -> f64 {
    let bound = if z > 0.0 { ub } else { lb };
    if bound.is_finite() { z } else { 0.0 }
}

/// The part of a direction that stays inside the bounds for ever.
fn inside(d: f64, lb: f64, ub: f64) -> f64 {
    let leaves = (d > 0.0 && ub.is_finite()) || (d < 0.0 && lb.is_finite());
    if leaves { 0.0 } else { d }
}

/// The largest entry relative to the terms that it is the sum of.
fn relative(sums: &[f64], terms: &[f64]) -> f64 {
    sums.iter().zip(terms).fold(0.0, |m, (r, terms)| if *r == 0.0 { m } else { nan_max(m, r.abs() / terms) })
}

/// A part of a whole; nothing of nothing is nothing.
fn share(part: f64, whole: f64) -> f64 {
    if part == 0.0 { 0.0 } else { part / whole }
}

/// A violation relative to its terms over a value relative to its own. A value that is the rounding error of its terms
/// proves nothing: a feasible set of one point has such.
fn over(violation: f64, value: f64, terms: f64) -> f64 {
    // also where a number is NaN
    if value > 0.0 { nan_max(violation, f64::EPSILON) * (terms / value) } else { f64::INFINITY }
}

fn magnitudes(v: &[f64]) -> Vec<f64> {
    v.iter().map(|v| v.abs()).collect()
}

/// With `r = A'y + G'z + z_box` and value `-v < 0`, every feasible x would give `r'x <= -v`. A contradiction where the terms
/// of `x_j r_j` stay below those of the value over the violation: for all x but those that are huge in the units of every
/// row.
fn primal_violation(qp: &Qp, p: &Point) -> f64 {
    let n = qp.n();
    let z: Vec<f64> = p.z.iter().zip(qp.h.iter()).map(|(&z, &h)| multiplier(z, h)).collect();
    let mut r: Vec<f64> = (0..n).map(|i| box_multiplier(p.z_box[i], qp.lb[i], qp.ub[i])).collect();
    let (mut value, mut terms) = (0.0, 0.0);
    let mut add = |term: f64| {
        value -= term;
        terms += term.abs();
    };
    qp.b.iter().zip(&p.y).for_each(|(b, y)| add(b * y));
    qp.h.iter().zip(&z).filter(|(_, z)| **z != 0.0).for_each(|(h, z)| add(h * z));
    qp.d.iter().zip(&p.y_cone).for_each(|(d, y)| add(d * y));
    for (i, &z) in r.iter().enumerate().filter(|(_, z)| **z != 0.0) {
        add(z * if z > 0.0 { qp.ub[i] } else { qp.lb[i] });
    }
    let mut size = magnitudes(&r);
    qp.a.tmul_add(1.0, &p.y, &mut r);
    qp.g.tmul_add(1.0, &z, &mut r);
    qp.a.transposed_magnitudes_add(&magnitudes(&p.y), &mut size);
    qp.g.transposed_magnitudes_add(&z, &mut size);
    qp.c.tmul_add(1.0, &p.y_cone, &mut r);
    qp.c.transposed_magnitudes_add(&magnitudes(&p.y_cone), &mut size);
    let mut violation = relative(&r, &size);
    let mut off = vec![0.0; qp.cones.len()];
    for (k, rows) in blocks(&qp.cones) {
        if let Some(dual) = qp.cones[k].dual() {
            let y = &p.y_cone[rows];
            off[k] = dual.distance(y);
            violation = nan_max(violation, share(off[k], norm_inf(y)));
        }
    }
    let plain = over(violation, value, terms);
    if plain.is_nan() || plain > ACCEPT {
        // no units need to be known
        return plain;
    }
    // what rounding of the data and of the variables could repair is no contradiction, nor is what points of ordinary size
    // satisfy
    let asked = asked_lengths(qp);
    let own = qp.p.diagonal().into_iter().zip(qp.q.iter()).map(|(p, q)| if p > 0.0 { (q / p).abs() } else { 0.0 });
    let bounds = qp.lb.iter().zip(qp.ub.iter()).map(|(l, u)| finite(*l).max(finite(*u)));
    let natural = own.zip(bounds.clone()).map(|(own, bound)| own.max(bound)).zip(&asked);
    let natural = natural.map(|(x, asked)| if x > 0.0 { x } else { *asked });
    let repair: f64 = natural.zip(&size).map(|(x, size)| x * size).sum();
    value -= PROOF_ROUNDING * (repair + empty_terms(qp, &z, p));
    let reach: Vec<f64> = bounds.zip(&asked).map(|(bound, asked)| bound.max(*asked)).collect();
    let mut within: f64 = reach.iter().zip(&r).map(|(x, r)| x * r.abs()).sum();
    let mut slack = magnitudes(&qp.d);
    qp.c.magnitudes_add(&reach, &mut slack);
    blocks(&qp.cones).for_each(|(k, rows)| within += off[k] * norm_inf(&slack[rows]));
    nan_max(over(violation, value, terms), ACCEPT * PROOF_REACH * over_value(within, value))
}

/// Terms of the right-hand sides of empty rows, which have no unit of their own: each as large as the largest of all.
fn empty_terms(qp: &Qp, z: &[f64], p: &Point) -> f64 {
    let mut pulls: Vec<f64> = p.y.iter().chain(z).map(|v| v.abs()).collect();
    let rows = pulls.len();
    qp.kkt().for_each_row_entry(|i, _, v| {
        if i < rows && v != 0.0 {
            pulls[i] = 0.0;
        }
    });
    let largest = qp.b.iter().chain(qp.h.iter()).fold(0.0_f64, |m, v| m.max(finite(*v)));
    pulls.iter().sum::<f64>() * largest
}

fn finite(v: f64) -> f64 {
    if v.is_finite() { v.abs() } else { 0.0 }
}

/// A part over a value that has to be positive.
fn over_value(part: f64, value: f64) -> f64 {
    if value > 0.0 { part / value } else { f64::INFINITY }
}

/// What the rows ask each variable to be: the largest right-hand side over its entry in that row, or, where all of its rows
/// have none, the largest of all, in equilibrated units, or what the others in its rows are bounded by.
fn asked_lengths(qp: &Qp) -> Vec<f64> {
    let rhs: Vec<f64> = qp.b.iter().chain(qp.h.iter()).chain(qp.d.iter()).map(|v| finite(*v)).collect();
    let mut units = Units::default();
    units.load(qp.kkt(), (&vec![0.0; qp.n()], &vec![0.0; rhs.len()]));
    let one = |unit: f64| if unit.is_finite() { unit } else { 1.0 };
    let (mut asked, mut norms) = (vec![0.0_f64; qp.n()], vec![0.0_f64; rhs.len()]);
    qp.kkt().for_each_row_entry(|i, j, v| {
        if v != 0.0 {
            asked[j] = asked[j].max(rhs[i] / v.abs());
            norms[i] = norms[i].max(v.abs() * one(units.w()[j]));
        }
    });
    let all = rhs.iter().zip(&norms).filter(|(_, n)| **n > 0.0).fold(0.0_f64, |m, (v, n)| m.max(v / n));
    let open: Vec<bool> = asked.iter().map(|asked| *asked == 0.0).collect();
    if open.contains(&true) {
        pass_on(qp, &open, &mut asked);
    }
    asked
        .iter()
        .zip(&open)
        .zip(units.w())
        .map(|((asked, open), w)| if *open { asked.max(all * one(*w)) } else { *asked })
        .collect()
}

/// Gives variables without a length of their own those of the others in their rows, from row to row.
fn pass_on(qp: &Qp, open: &[bool], asked: &mut [f64]) {
    let known = qp.lb.iter().zip(qp.ub.iter()).map(|(l, u)| finite(*l).max(finite(*u)));
    let mut lengths: Vec<f64> = known.zip(&*asked).map(|(bound, asked)| bound.max(*asked)).collect();
    for _ in 0..PASSES {
        let mut pulls = vec![0.0_f64; qp.n_equality() + qp.n_inequality() + qp.n_cone()];
        qp.kkt().for_each_row_entry(|i, j, v| pulls[i] = pulls[i].max(v.abs() * lengths[j]));
        let mut changed = false;
        qp.kkt().for_each_row_entry(|i, j, v| {
            if open[j] && v != 0.0 && lengths[j] == 0.0 && pulls[i] > 0.0 {
                asked[j] = asked[j].max(pulls[i] / v.abs());
                changed = true;
            }
        });
        if !changed {
            break;
        }
        lengths.iter_mut().zip(&*asked).for_each(|(length, asked)| *length = length.max(*asked));
    }
}

/// Along an approximate direction the objective falls until a row or the curvature stops it; that is as far out in the units
/// of each as its terms are larger than their sum.
fn dual_violation(qp: &Qp, d: &[f64]) -> f64 {
    let d: Vec<f64> = d.iter().enumerate().map(|(i, &d)| inside(d, qp.lb[i], qp.ub[i])).collect();
    let length = magnitudes(&d);
    let zeros = |n: usize| vec![0.0; n];
    let (mut pd, mut size) = (zeros(qp.n()), zeros(qp.n()));
    qp.p.mul_add(1.0, &d, &mut pd, &mut Vec::new());
    qp.p.magnitudes_add(&length, &mut size, &mut Vec::new());
    // curvature is quadratic in what the direction is off by: its root tells little of it from none
    let terms = dot(&length, &size);
    let curvature = dot(&d, &pd) - d.len() as f64 * f64::EPSILON * terms;
    let curved = if curvature > 0.0 { (curvature / terms).sqrt() } else { 0.0 };
    let mut violation = nan_max(relative(&pd, &size), curved);
    let (mut ad, mut size) = (zeros(qp.n_equality()), zeros(qp.n_equality()));
    qp.a.mul_add(1.0, &d, &mut ad);
    qp.a.magnitudes_add(&length, &mut size);
    violation = nan_max(violation, relative(&ad, &size));
    let (mut gd, mut size) = (zeros(qp.n_inequality()), zeros(qp.n_inequality()));
    qp.g.mul_add(1.0, &d, &mut gd);
    qp.g.magnitudes_add(&length, &mut size);
    for (r, h) in gd.iter_mut().zip(qp.h.iter()) {
        // falling rows and those without a bound stop nothing
        if *r < 0.0 || !h.is_finite() {
            *r = 0.0;
        }
    }
    violation = nan_max(violation, relative(&gd, &size));
    let (mut cd, mut size) = (zeros(qp.n_cone()), zeros(qp.n_cone()));
    qp.c.mul_add(-1.0, &d, &mut cd);
    qp.c.magnitudes_add(&length, &mut size);
    for (k, rows) in blocks(&qp.cones) {
        // what a direction is off by sideways a curved boundary costs its square
        let off = share(qp.cones[k].distance(&cd[rows.clone()]), norm_inf(&size[rows.clone()]));
        violation = nan_max(violation, if qp.cones[k].is_polyhedral() { off } else { off.sqrt() });
        violation = nan_max(violation, astray(&qp.cones[k], &cd[rows.clone()], &size[rows]));
    }
    let terms = qp.q.iter().zip(&length).map(|(q, d)| q.abs() * d).sum();
    over(violation, -dot(&qp.q, &d), terms)
}

/// The part of the terms of each row by which a direction has to be moved to lie in its cone, to a factor of ten.
fn astray(cone: &Cone, s: &[f64], terms: &[f64]) -> f64 {
    let mut within = vec![0.0; s.len()];
    let mut part = f64::EPSILON;
    // what is not accepted anyway need not be measured
    while part < 1e-3 {
        within.iter_mut().zip(terms).for_each(|(w, t)| *w = part * t);
        if cone.reaches(s, &within) {
            return part;
        }
        part *= 10.0;
    }
    1.0
}

fn curvature_violation(qp: &Qp, d: &[f64]) -> f64 {
    let mut pd = vec![0.0; d.len()];
    qp.p.mul_add(1.0, d, &mut pd, &mut Vec::new());
    let mut ad = vec![0.0; qp.n_equality()];
    qp.a.mul_add(1.0, d, &mut ad);
    let curvature = dot(d, &pd) / dot(d, d);
    // |A d| relative to |d| against the size of the curvature relative to P
    let size = norm_inf(d);
    if curvature.is_nan() || curvature >= 0.0 {
        return f64::INFINITY;
    }
    norm_inf(&ad) / size
}
