//! Iterative refinement against the system as stated, whatever regularization the factorization used.

use super::KktFactor;
use crate::Qp;
use crate::matrix::norm_inf;

/// Steps at most; each costs one product with P and C and one solve.
const STEPS: usize = 6;
/// Residual, relative to the terms that cancel in it, at which refinement stops.
const TARGET: f64 = 1e-13;

/// Buffers of a refined solve.
#[derive(Debug, Default)]
pub(crate) struct Refiner {
    r: Vec<f64>,
    s: Vec<f64>,
    w: Vec<f64>,
    v: Vec<f64>,
    best_w: Vec<f64>,
    best_v: Vec<f64>,
    rank: Vec<f64>,
    rhs_w: Vec<f64>,
    rhs_v: Vec<f64>,
}

/// `r -= (P + dx) w + C'v`, `s -= C w - dc v` on the rows and columns that are kept; zero elsewhere. Returns the largest
/// entry before the last terms are subtracted: what the residual is a cancellation of.
fn subtract(
    qp: &Qp,
    (dx, dc): (&[f64], &[f64]),
    (w, v): (&[f64], &[f64]),
    (r, s): (&mut [f64], &mut [f64]),
    rank: &mut Vec<f64>,
) -> f64 {
    let m = qp.n_equality();
    qp.p.mul_add(-1.0, w, r, rank);
    let size = kept(r, dx);
    qp.a.tmul_add(-1.0, &v[..m], r);
    qp.g.tmul_add(-1.0, &v[m..], r);
    qp.a.mul_add(-1.0, w, &mut s[..m]);
    qp.g.mul_add(-1.0, w, &mut s[m..]);
    for (r, (&d, &w)) in r.iter_mut().zip(dx.iter().zip(w)) {
        *r = if d == f64::INFINITY { 0.0 } else { *r - d * w };
    }
    for (s, (&d, &v)) in s.iter_mut().zip(dc.iter().zip(v)) {
        *s = if d == f64::INFINITY { 0.0 } else { *s + d * v };
    }
    size
}

/// Largest entry on the rows that are kept.
fn kept(x: &[f64], d: &[f64]) -> f64 {
    x.iter().zip(d).filter(|(_, d)| d.is_finite()).fold(0.0_f64, |m, (x, _)| m.max(x.abs()))
}

impl Refiner {
    /// Solves for `(w, v)` in place and refines until the residual stops falling. Returns what is left of it, relative to
    /// the terms that cancel in it.
    pub fn solve(
        &mut self,
        kkt: &mut dyn KktFactor,
        qp: &Qp,
        diagonals: (&[f64], &[f64]),
        w: &mut [f64],
        v: &mut [f64],
    ) -> f64 {
        self.rhs_w.clear();
        self.rhs_w.extend_from_slice(w);
        self.rhs_v.clear();
        self.rhs_v.extend_from_slice(v);
        let size = kept(&self.rhs_w, diagonals.0).max(kept(&self.rhs_v, diagonals.1));
        if size == 0.0 {
            w.fill(0.0);
            v.fill(0.0);
            return 0.0;
        }
        kkt.solve(w, v);
        let mut best = f64::INFINITY;
        // nothing is better than what this call computed, least of all the solution of an earlier system
        self.best_w.clear();
        self.best_w.extend_from_slice(w);
        self.best_v.clear();
        self.best_v.extend_from_slice(v);
        for step in 0..=STEPS {
            self.r.clear();
            self.r.extend_from_slice(&self.rhs_w);
            self.s.clear();
            self.s.extend_from_slice(&self.rhs_v);
            let terms = subtract(qp, diagonals, (w, v), (&mut self.r, &mut self.s), &mut self.rank);
            let residual = norm_inf(&self.r).max(norm_inf(&self.s)) / size.max(terms);
            if residual.is_nan() || residual >= 0.5 * best {
                if residual.is_nan() || residual > best {
                    w.copy_from_slice(&self.best_w);
                    v.copy_from_slice(&self.best_v);
                } else {
                    best = residual;
                }
                break;
            }
            best = residual;
            if residual <= TARGET || step == STEPS {
                break;
            }
            self.best_w.clear();
            self.best_w.extend_from_slice(w);
            self.best_v.clear();
            self.best_v.extend_from_slice(v);
            self.w.clear();
            self.w.extend_from_slice(&self.r);
            self.v.clear();
            self.v.extend_from_slice(&self.s);
            kkt.solve(&mut self.w, &mut self.v);
            w.iter_mut().zip(&self.w).for_each(|(w, d)| *w += d);
            v.iter_mut().zip(&self.v).for_each(|(v, d)| *v += d);
        }
        best
    }
}
