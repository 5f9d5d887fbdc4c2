//! What a point of the scaled program is worth, in the units of the user.

use super::model::Model;
use crate::matrix::{dot, nan_max};
use crate::residuals::Residuals;

/// A point in scaled units: rows of the equalities first.
#[derive(Debug, Clone)]
pub(super) struct Scaled {
    pub x: Vec<f64>,
    pub y: Vec<f64>,
    pub u: Vec<f64>,
    /// `C x`.
    pub cx: Vec<f64>,
}

/// Residuals and objective as those of [`residuals`](crate::residuals::residuals), from the products `P x`, `C x`, `C'y`.
pub(super) fn worth(model: &Model, at: &Scaled, px: &[f64], cx: &[f64], cty: &[f64]) -> (Residuals, f64) {
    let units = &*model.units;
    let m = model.program.b.len();
    let (mut primal, mut primal_scale, mut dual, mut dual_scale) = (0.0, 0.0_f64, 0.0, 0.0_f64);
    let (mut products, mut dual_terms) = (0.0, 0.0);
    for i in 0..cx.len() {
        let (c, up, y) = (cx[i] / units.e[i], model.rows.1[i] / units.e[i], at.y[i]);
        if up == f64::INFINITY {
            dual = nan_max(dual, y.abs() * units.e[i] / units.cost);
            continue;
        }
        let off = if i < m { (c - up).abs() } else { (c - up).max(0.0) };
        primal = nan_max(primal, off);
        primal_scale = primal_scale.max(c.abs()).max(up.abs());
        dual_terms += y * model.rows.1[i] / units.cost;
        if i >= m {
            dual = nan_max(dual, -y * units.e[i] / units.cost);
            products = nan_max(products, (y * (model.rows.1[i] - cx[i])).abs() / units.cost);
        }
    }
    for j in 0..px.len() {
        let per = 1.0 / (units.d[j] * units.cost);
        let (x, lb, ub) = (at.x[j] * units.d[j], model.program.lb[j], model.program.ub[j]);
        dual = nan_max(dual, ((px[j] + model.q[j] + cty[j] + at.u[j]) * per).abs());
        let terms = px[j].abs().max(model.q[j].abs()).max(cty[j].abs()).max(at.u[j].abs());
        dual_scale = dual_scale.max(terms * per);
        let off = (lb - x).max(x - ub);
        if off > 0.0 {
            primal = nan_max(primal, off);
            primal_scale = primal_scale.max(x.abs());
        }
        if at.u[j] != 0.0 {
            let bound = if at.u[j] > 0.0 { ub } else { lb };
            if bound.is_finite() {
                products = nan_max(products, (at.u[j] * per * (bound - x)).abs());
                dual_terms += at.u[j] * per * bound;
                primal_scale = primal_scale.max(bound.abs());
            } else {
                dual = nan_max(dual, (at.u[j] * per).abs());
            }
        }
    }
    let (quadratic, linear) = (dot(&at.x, px) / units.cost, dot(&at.x, &model.q) / units.cost);
    let gap = (quadratic + linear + dual_terms).abs();
    let objective = 0.5 * quadratic + linear;
    let gap_scale = objective.abs().max((0.5 * quadratic + dual_terms).abs());
    (Residuals { primal, dual, complementarity: products, gap, primal_scale, dual_scale, gap_scale }, objective)
}
