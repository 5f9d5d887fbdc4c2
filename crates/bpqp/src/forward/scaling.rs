//! Equilibration and cost scaling of a problem, by powers of two so that no digit is lost.
//!
//! `x = D x'`, rows times E, objective times c: `P' = c D P D`, `q' = c D q`, `A' = E A D`, bounds `D^-1 lb`; then
//! `y = E y' / c` and `z_box = D^-1 z_box' / c`.

use super::newton::{Pairs, PrimalDual};
use crate::cones::blocks;
use crate::kkt::{ANY_APART, APART, Apart, power_of_two, raise_parts, raise_rows, ruiz};
use crate::matrix::{Matrix, extent, norm_inf};
use crate::problem::Blocks;
use crate::{Point, Qp};
use std::sync::Arc;

/// Spread of row and column norms up to which a problem counts as well scaled.
pub(super) const WELL_SCALED: f64 = 1e3;
/// Largest exponent of the factor of the objective.
pub(super) const COST_LIMIT: f64 = 40.0;

/// How a solver wants its problems scaled.
pub(crate) struct Rule {
    sweeps: usize,
    /// Largest exponent of a factor.
    limit: f64,
    /// Problems whose rows and columns are no further apart are left as they are.
    spares: Option<f64>,
    /// Units are looked for where rows and columns are further apart.
    apart: Apart,
    /// The size of the linear term counts as well.
    objective: bool,
    /// Parts of the problem that do not meet have units of their own, which their curvature decides.
    parts: bool,
    /// The factor of the objective takes part in the sweeps, and the mean of the columns of P stands for its size: OSQP's
    /// (Stellato, Banjac, Goulart, Bemporad & Boyd, "OSQP: an operator splitting solver for quadratic programs", Math.
    /// Prog. Comp. 2020, section 5.1).
    osqp: bool,
}

/// Interior points come by units that are within these.
const FURTHER: Apart = Apart { rows: 1e12, entries: 1e18 };
const NEVER: Apart = Apart { rows: f64::INFINITY, entries: f64::INFINITY };

pub(super) const INTERIOR_POINT: Rule = Rule {
    sweeps: 8,
    limit: 40.0,
    spares: Some(WELL_SCALED),
    apart: FURTHER,
    objective: true,
    parts: false,
    osqp: false,
};
/// Of the polish, which decides what is active: problems whose units are within a few powers of ten need none.
pub(crate) const POLISH: Rule =
    Rule { sweeps: 12, limit: 200.0, spares: Some(1e6), apart: ANY_APART, objective: false, parts: true, osqp: false };
/// The same where there are curved cones, whose slacks and multipliers are compared across all rows.
pub(crate) const POLISH_CONES: Rule =
    Rule { sweeps: 12, limit: 200.0, spares: Some(1e2), apart: APART, objective: false, parts: false, osqp: false };
pub(super) const ADMM: Rule =
    Rule { sweeps: 10, limit: 20.0, spares: None, apart: NEVER, objective: true, parts: false, osqp: true };

/// True if the entries of the rows and the diagonal of P differ by more than that factor.
fn spreads_beyond(qp: &Qp, factor: f64) -> bool {
    let wider = |(low, high): (f64, f64), (l, h): (f64, f64)| (low.min(l), high.max(h));
    let rows = qp.kkt().blocks().map(|(_, block)| block.extent()).fold((f64::INFINITY, 0.0), wider);
    let (low, high) = wider(rows, extent(&qp.p.diagonal()));
    high > factor * low
}

/// Diagonal scalings of a problem.
#[derive(Debug, Clone)]
pub(crate) struct Scaling {
    /// Of the variables.
    pub d: Vec<f64>,
    /// Of the rows of all blocks, in order.
    pub e: Vec<f64>,
    /// Of the objective.
    pub cost: f64,
    /// Nothing is scaled.
    pub identity: bool,
}

impl Scaling {
    /// The scaling that brings the rows and columns of the KKT matrix, and the objective, near norm 1.
    pub fn of(qp: &Qp, rule: Rule) -> Self {
        let data = qp.kkt();
        let (n, m) = (data.n(), data.m());
        let (mut factors, mut largest) = (vec![1.0; n + m], vec![0.0; n + m]);
        let entries = |f: &mut dyn FnMut(usize, usize, f64)| {
            data.for_each_row_entry(|i, j, v| f(n + i, j, v));
            qp.p.diagonal().iter().enumerate().for_each(|(j, &v)| f(j, j, v));
        };
        // a rule that asks for the units of parts is one of decisions, which hidden units would mislead
        let hidden = if rule.parts { rule.apart.entries } else { f64::INFINITY };
        if let Some(apart) = rule.spares {
            qp.p.raise_columns(&factors[..n], &mut largest[..n]);
            raise_rows(data, &factors, &mut largest);
            let all = || largest.iter().copied().filter(|v| *v > 0.0);
            let spread = all().fold(0.0_f64, f64::max) / all().fold(f64::INFINITY, f64::min);
            let q = norm_inf(&qp.q);
            let near = spread <= apart && !(hidden < f64::INFINITY && spreads_beyond(qp, hidden));
            if near && (!rule.objective || q == 0.0 || (1e-3..=1e3).contains(&q)) {
                let e = factors.split_off(n);
                return Scaling { d: factors, e, cost: 1.0, identity: true };
            }
        }
        // the factor that brings the objective, of a Hessian with these columns, near 1
        let cost = |columns: &[f64], d: &[f64]| {
            let linear = qp.q.iter().zip(d).fold(0.0_f64, |a, (q, d)| a.max((q * d).abs()));
            let quadratic = if rule.osqp {
                columns.iter().sum::<f64>() / n.max(1) as f64
            } else {
                columns.iter().fold(0.0_f64, |a, v| a.max(*v))
            };
            let size = linear.max(quadratic);
            if size > 0.0 { 1.0 / size } else { 1.0 }
        };
        // told here, where it takes a fraction of the time
        let apart = if rule.apart.entries < f64::INFINITY && !spreads_beyond(qp, rule.apart.entries) {
            Apart { entries: f64::INFINITY, ..rule.apart }
        } else {
            rule.apart
        };
        let mut first = true;
        ruiz(rule.sweeps, rule.limit.exp2(), (&mut factors, &mut largest), (apart, &entries), |factors, largest| {
            let (d, columns) = (&factors[..n], &mut largest[..n]);
            qp.p.raise_columns(d, columns);
            if rule.osqp && !first {
                let cost = cost(columns, d);
                columns.iter_mut().for_each(|v| *v *= cost);
            }
            first = false;
            raise_rows(data, factors, largest);
        });
        // a cone is one in a common unit of its rows
        let first = n + m - qp.n_cone();
        for (_, rows) in blocks(&qp.cones).filter(|(_, rows)| !rows.is_empty()) {
            let own = &mut factors[first + rows.start..first + rows.end];
            let mean = own.iter().map(|e| e.log2()).sum::<f64>() / own.len() as f64;
            own.fill(mean.exp2());
        }
        if rule.parts {
            raise_parts(data, (&vec![0.0; n], &vec![0.0; m]), &mut factors);
        }
        let round = |factors: &mut [f64]| factors.iter_mut().for_each(|v| *v = power_of_two(*v, rule.limit));
        if !rule.osqp {
            round(&mut factors);
        }
        largest[..n].fill(0.0);
        qp.p.raise_columns(&factors[..n], &mut largest[..n]);
        let cost = power_of_two(cost(&largest[..n], &factors[..n]), COST_LIMIT);
        if rule.osqp {
            // after it: the other way round a portfolio takes three times as many iterations
            round(&mut factors);
        }
        let e = factors.split_off(n);
        Scaling { d: factors, e, cost, identity: false }
    }

    /// True if the factor of the objective still suits another linear term of the same problem.
    pub fn suits(&self, q: &[f64]) -> bool {
        norm_inf(q) * self.d.iter().fold(0.0_f64, |a, &d| a.max(d)) * self.cost <= WELL_SCALED
    }

    /// The scaled problem.
    pub fn apply(&self, qp: &Qp) -> Qp {
        if self.identity {
            return qp.clone();
        }
        let m = qp.n_equality();
        let times = |v: &[f64], e: &[f64]| v.iter().zip(e).map(|(v, e)| v * e).collect();
        let over = |v: &[f64]| v.iter().zip(&self.d).map(|(v, d)| v / d).collect();
        let mut end = 0;
        let [a, g, c] = qp.kkt().rows.map(|block: &Arc<Matrix>| {
            let first = end;
            end += block.nrows();
            if end == first { block.clone() } else { Arc::new(block.scaled(&self.e[first..end], &self.d)) }
        });
        let scaled = Blocks {
            p: Arc::new(qp.p.scaled(self.cost, &self.d)),
            q: qp.q.iter().zip(&self.d).map(|(q, d)| self.cost * q * d).collect(),
            a,
            b: times(&qp.b, &self.e),
            g,
            h: times(&qp.h, &self.e[m..]),
            c,
            d: times(&qp.d, &self.e[m + qp.n_inequality()..]),
            cones: qp.cones.clone(),
            lb: over(&qp.lb),
            ub: over(&qp.ub),
            analysis: qp.analysis.clone(),
        };
        scaled.into()
    }

    /// Makes `scaled` the scaled form of `qp`, which has the same matrices: vectors are written in place.
    pub fn update(&self, qp: &Qp, scaled: &mut Qp) {
        if self.identity {
            scaled.clone_from(qp);
            return;
        }
        let m = qp.n_equality();
        rewrite(&mut scaled.q, qp.q.iter().zip(&self.d).map(|(q, d)| self.cost * q * d));
        rewrite(&mut scaled.b, qp.b.iter().zip(&self.e).map(|(v, e)| v * e));
        rewrite(&mut scaled.h, qp.h.iter().zip(&self.e[m..]).map(|(v, e)| v * e));
        rewrite(&mut scaled.d, qp.d.iter().zip(&self.e[m + qp.n_inequality()..]).map(|(v, e)| v * e));
        rewrite(&mut scaled.lb, qp.lb.iter().zip(&self.d).map(|(v, d)| v / d));
        rewrite(&mut scaled.ub, qp.ub.iter().zip(&self.d).map(|(v, d)| v / d));
    }

    /// The point in the units of the scaled problem; or back.
    pub fn convert(&self, point: &mut Point, back: bool) {
        let powers = |v: &mut [f64], unit: &dyn Fn(usize) -> f64| {
            v.iter_mut().enumerate().for_each(|(i, v)| if back { *v /= unit(i) } else { *v *= unit(i) });
        };
        let m = point.y.len();
        powers(&mut point.x, &|i| 1.0 / self.d[i]);
        powers(&mut point.z_box, &|i| self.d[i] * self.cost);
        powers(&mut point.y, &|i| self.cost / self.e[i]);
        powers(&mut point.z, &|i| self.cost / self.e[m + i]);
        let first = m + point.z.len();
        powers(&mut point.s, &|i| self.e[first + i]);
        powers(&mut point.y_cone, &|i| self.cost / self.e[first + i]);
    }

    /// Largest primal residual in problem units, and the size it is relative to.
    pub fn primal(&self, it: &PrimalDual, qp: &Qp) -> (f64, f64) {
        if self.identity {
            let scale = norm_inf(&it.x).max(norm_inf(&qp.b));
            return (it.primal_residual(), scale);
        }
        let mut worst = it.ra.iter().zip(&self.e).fold(0.0_f64, |m, (r, e)| m.max((r / e).abs()));
        let mut scale = qp.b.iter().zip(&self.e).fold(0.0_f64, |m, (r, e)| m.max((r / e).abs()));
        let m = qp.n_equality();
        for (k, &i) in it.g.index.iter().enumerate() {
            worst = worst.max((it.g.residual(k) / self.e[m + i]).abs());
            scale = scale.max((qp.h[i] / self.e[m + i]).abs());
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
        if self.identity {
            return (norm_inf(&it.rd), norm_inf(&qp.q).max(norm_inf(&it.px)));
        }
        let unscaled = |v: &[f64]| v.iter().zip(&self.d).fold(0.0_f64, |m, (r, d)| m.max((r / d).abs())) / self.cost;
        (unscaled(&it.rd), unscaled(&qp.q).max(unscaled(&it.px)))
    }

    /// About the largest number of that point.
    pub fn longest(&self, it: &PrimalDual) -> f64 {
        let m = it.y.len();
        let bounds = [&it.l, &it.u];
        if self.identity {
            let pairs = bounds.into_iter().chain([&it.g]).fold(0.0, |top: f64, f| top.max(norm_inf(&f.z)));
            return norm_inf(&it.x).max(norm_inf(&it.y)).max(pairs);
        }
        let larger = |top: f64, v: f64| top.max(v.abs());
        let x = it.x.iter().zip(&self.d).fold(0.0, |top, (x, d)| larger(top, x * d));
        let y = it.y.iter().zip(&self.e).fold(0.0, |top, (y, e)| larger(top, y * e));
        let y = it.g.index.iter().zip(&it.g.z).fold(y, |top, (&i, z)| larger(top, z * self.e[m + i]));
        let of = |top: f64, f: &Pairs| f.index.iter().zip(&f.z).fold(top, |top, (&i, z)| larger(top, z / self.d[i]));
        bounds.into_iter().fold(y, of).max(x * self.cost) / self.cost
    }

    /// Writes the iterate of the scaled problem `qp` as a point of the original one.
    pub fn unscale(&self, qp: &Qp, it: &PrimalDual, original: &Qp, out: &mut Point) {
        it.write(qp, out);
        it.write_fixed(qp, out);
        if self.identity {
            return;
        }
        let m = out.y.len();
        out.x.iter_mut().zip(&self.d).for_each(|(x, d)| *x *= d);
        out.y.iter_mut().zip(&self.e).for_each(|(y, e)| *y *= e / self.cost);
        out.z.iter_mut().zip(&self.e[m..]).for_each(|(z, e)| *z *= e / self.cost);
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
