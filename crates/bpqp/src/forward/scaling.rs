//! Equilibration (Ruiz 2001) and cost scaling of a problem, by powers of two so that no digit is lost.
//!
//! `x = D x'`, rows of A and G times E, objective times c: `P' = c D P D`, `q' = c D q`, `A' = E A D`, bounds `D^-1 lb`.

use super::newton::PrimalDual;
use crate::matrix::norm_inf;
use crate::{Point, Qp};
use std::sync::Arc;

const SWEEPS: usize = 8;
/// Spread of row and column norms below which a dense problem is left as it is.
const WELL_SCALED: f64 = 1e3;

/// Diagonal scalings of a problem.
#[derive(Debug, Clone)]
pub(crate) struct Scaling {
    d: Vec<f64>,
    ea: Vec<f64>,
    eg: Vec<f64>,
    /// The factor of the objective.
    pub cost: f64,
    identity: bool,
}

fn power_of_two(v: f64) -> f64 {
    if v > 0.0 && v.is_finite() { v.log2().round().exp2().clamp(1e-12, 1e12) } else { 1.0 }
}

impl Scaling {
    /// The scaling that brings the rows and columns of the KKT matrix near norm 1.
    pub fn of(qp: &Qp) -> Self {
        let n = qp.n();
        let mut out = Scaling {
            d: vec![1.0; n],
            ea: vec![1.0; qp.n_equality()],
            eg: vec![1.0; qp.n_inequality()],
            cost: 1.0,
            identity: true,
        };
        let (columns, a, g) = out.norms(qp);
        let all = || columns.iter().chain(&a).chain(&g).copied().filter(|v| *v > 0.0);
        let spread = all().fold(0.0_f64, f64::max) / all().fold(f64::INFINITY, f64::min);
        let q = norm_inf(&qp.q);
        let moderate = spread <= WELL_SCALED && (q == 0.0 || (1e-3..=1e3).contains(&q));
        if moderate {
            return out;
        }
        out.identity = false;
        for _ in 0..SWEEPS {
            let (columns, a, g) = out.norms(qp);
            let shrink = |v: &mut f64, norm: f64| {
                if norm > 0.0 {
                    *v /= norm.sqrt();
                }
            };
            out.d.iter_mut().zip(columns).for_each(|(v, n)| shrink(v, n));
            out.ea.iter_mut().zip(a).for_each(|(v, n)| shrink(v, n));
            out.eg.iter_mut().zip(g).for_each(|(v, n)| shrink(v, n));
        }
        for v in out.d.iter_mut().chain(&mut out.ea).chain(&mut out.eg) {
            *v = power_of_two(*v);
        }
        let q = qp.q.iter().zip(&out.d).fold(0.0_f64, |m, (q, d)| m.max((q * d).abs()));
        let p = out.hessian_norm(qp);
        let size = q.max(p);
        out.cost = if size > 0.0 { power_of_two(1.0 / size) } else { 1.0 };
        out
    }

    /// Infinity norms of the columns of `[P; A; G]` and of the rows of A and G, as scaled so far.
    fn norms(&self, qp: &Qp) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
        let mut columns = vec![0.0_f64; qp.n()];
        qp.p.raise_columns(&self.d, &mut columns);
        let mut rows = [vec![0.0_f64; qp.n_equality()], vec![0.0_f64; qp.n_inequality()]];
        for ((m, e), norms) in [(&qp.a, &self.ea), (&qp.g, &self.eg)].into_iter().zip(&mut rows) {
            m.for_each(|i, j, v| {
                let v = (v * e[i] * self.d[j]).abs();
                norms[i] = norms[i].max(v);
                columns[j] = columns[j].max(v);
            });
        }
        let [a, g] = rows;
        (columns, a, g)
    }

    fn hessian_norm(&self, qp: &Qp) -> f64 {
        qp.p.diagonal().iter().zip(&self.d).fold(0.0_f64, |m, (p, d)| m.max((p * d * d).abs()))
    }

    /// The scaled problem.
    pub fn apply(&self, qp: &Qp) -> Qp {
        if self.identity {
            return qp.clone();
        }
        let times = |v: &[f64], e: &[f64]| v.iter().zip(e).map(|(v, e)| v * e).collect();
        Qp {
            p: Arc::new(qp.p.scaled(self.cost, &self.d)),
            a: Arc::new(qp.a.scaled(&self.ea, &self.d)),
            g: Arc::new(qp.g.scaled(&self.eg, &self.d)),
            q: qp.q.iter().zip(&self.d).map(|(q, d)| self.cost * q * d).collect(),
            b: times(&qp.b, &self.ea),
            h: times(&qp.h, &self.eg),
            c: qp.c.clone(),
            d: qp.d.clone(),
            cones: qp.cones.clone(),
            lb: qp.lb.iter().zip(&self.d).map(|(v, d)| v / d).collect(),
            ub: qp.ub.iter().zip(&self.d).map(|(v, d)| v / d).collect(),
            analysis: qp.analysis.clone(),
        }
    }

    /// Makes `scaled` the scaled form of `qp`, which has the same matrices: vectors are written in place.
    pub fn update(&self, qp: &Qp, scaled: &mut Qp) {
        if self.identity {
            scaled.clone_from(qp);
            return;
        }
        rewrite(&mut scaled.q, qp.q.iter().zip(&self.d).map(|(q, d)| self.cost * q * d));
        rewrite(&mut scaled.b, qp.b.iter().zip(&self.ea).map(|(v, e)| v * e));
        rewrite(&mut scaled.h, qp.h.iter().zip(&self.eg).map(|(v, e)| v * e));
        rewrite(&mut scaled.lb, qp.lb.iter().zip(&self.d).map(|(v, d)| v / d));
        rewrite(&mut scaled.ub, qp.ub.iter().zip(&self.d).map(|(v, d)| v / d));
    }

    /// Largest primal residual in problem units, and the size it is relative to.
    pub fn primal(&self, it: &PrimalDual, qp: &Qp) -> (f64, f64) {
        if self.identity {
            let scale = norm_inf(&it.x).max(norm_inf(&qp.b));
            return (it.primal_residual(), scale);
        }
        let mut worst = it.ra.iter().zip(&self.ea).fold(0.0_f64, |m, (r, e)| m.max((r / e).abs()));
        let mut scale = qp.b.iter().zip(&self.ea).fold(0.0_f64, |m, (r, e)| m.max((r / e).abs()));
        for (k, &i) in it.g.index.iter().enumerate() {
            worst = worst.max((it.g.residual(k) / self.eg[i]).abs());
            scale = scale.max((qp.h[i] / self.eg[i]).abs());
        }
        for f in [&it.l, &it.u] {
            for (k, &i) in f.index.iter().enumerate() {
                worst = worst.max((f.residual(k) * self.d[i]).abs());
            }
        }
        (worst, scale)
    }

    /// Largest dual residual in problem units, and the size it is relative to.
    pub fn dual(&self, it: &PrimalDual, qp: &Qp) -> (f64, f64) {
        let unscaled = |v: &[f64]| v.iter().zip(&self.d).fold(0.0_f64, |m, (r, d)| m.max((r / d).abs())) / self.cost;
        (unscaled(&it.rd), unscaled(&qp.q).max(unscaled(&it.px)))
    }

    /// Writes the iterate of the scaled problem `qp` as a point of the original one.
    pub fn unscale(&self, qp: &Qp, it: &PrimalDual, original: &Qp, out: &mut Point) {
        it.write(qp, out);
        it.write_fixed(qp, out);
        if self.identity {
            return;
        }
        out.x.iter_mut().zip(&self.d).for_each(|(x, d)| *x *= d);
        out.y.iter_mut().zip(&self.ea).for_each(|(y, e)| *y *= e / self.cost);
        out.z.iter_mut().zip(&self.eg).for_each(|(z, e)| *z *= e / self.cost);
        out.z_box.iter_mut().zip(&self.d).for_each(|(z, d)| *z /= d * self.cost);
        for i in 0..out.x.len() {
            if original.lb[i] == original.ub[i] {
                out.x[i] = original.lb[i];
            }
        }
    }
}

/// Writes into the buffer if nobody else holds it.
fn rewrite(target: &mut Arc<[f64]>, values: impl Iterator<Item = f64>) {
    match Arc::get_mut(target) {
        Some(buffer) => buffer.iter_mut().zip(values).for_each(|(t, v)| *t = v),
        None => *target = values.collect(),
    }
}
