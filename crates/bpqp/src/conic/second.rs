//! Second derivatives: the conditions that define `w` and `wy`, differentiated again.
//!
//! With `v = s - y` and `D = D Pi(v)` a gradient is made of
//!
//! ```text
//! P w + A'wy = -g_x,     D wy + (D - I) A w = -(D g_s + (D - I) g_y).
//! ```
//!
//! Along a direction of the data (a dot; the cotangent is held) v moves by `dv = ds - dy`, and D with it:
//!
//! ```text
//! P w. + A'wy. = -(dP w + dA'wy),     D wy. + (D - I) A w. = -(h + (D - I) dA w),     h = D^2 Pi(v)[dv, u],
//! u = g_s + g_y + A w + wy
//! ```
//!
//! which is the same system with the cotangents `(dP w + dA'wy, h, dA w - h)`, since `D h - (D - I) h = h`. So a second
//! derivative is a jvp and two vjps with one factorization; the product rule in `dL/dP` and `dL/dA` gives the rest. Cones that
//! are inside or at their apex, and those of linear constraints, have `h = 0`.
//!
//! Every block is scaled on its own, `v = s - unit y` with `unit = |s|/|y|`, so that nothing is lost where s and y differ in
//! size: `u = g_s + wy + (g_y + A w)/unit`, and the last cotangent is `dA w - unit h`.

use super::differentiate::{At, assemble, blocks, hessian_direction, jvp, vjp};
use super::system::System;
use super::{Conic, ConicCotangent, ConicGradient, ConicTangent, ConicWrt};
use crate::backward::Accuracy;
use crate::cones::Basis;
use crate::matrix::dot;
use crate::{Cone, Error};

/// Refuses the first cone that has no second derivative where it is.
fn refuse(conic: &Conic, at: &At) -> Result<(), Error> {
    for (k, rows) in blocks(conic) {
        let cone = &conic.cones[k];
        let name = cone.name();
        let refused = |reason: &str, advice| {
            Err(Error::Unsupported { what: format!("a second derivative with cones[{k}], {name}, {reason}"), advice })
        };
        let same = |c: f64| at.faces.curvature[rows.clone()].iter().all(|&own| own == c);
        let constant = same(0.0) || same(f64::INFINITY);
        match cone {
            Cone::Zero(_) | Cone::Nonnegative(_) => {}
            Cone::PsdTriangle(_) => {
                return refused("whose eigenvectors move", "take central differences of vjp instead");
            }
            _ if at.faces.weak[k] => {
                return refused("on a kink", "move the data off the kink, or take central differences of vjp");
            }
            Cone::Power(_) | Cone::DualPower(_) if at.faces.bases[k] == Basis::Rows && !constant => {
                return refused("on its edge z = 0", "move the data off the edge, or take central differences of vjp");
            }
            _ => {}
        }
    }
    Ok(())
}

/// The derivative of the gradient `vjp(cot)` along `t`, the cotangent held.
pub(super) fn second_vjp(
    conic: &Conic,
    at: &At,
    system: &mut System,
    cot: &ConicCotangent<'_>,
    t: &ConicTangent<'_>,
    wrt: ConicWrt,
) -> Result<(ConicGradient, [Accuracy; 3]), Error> {
    refuse(conic, at)?;
    let (n, m) = (conic.n(), conic.m());
    let (first, forward) = vjp(conic, at, system, cot, ConicWrt { q: true, b: true, ..ConicWrt::NONE })?;
    let w = first.q.unwrap_or_else(|| vec![0.0; n]);
    let wy: Vec<f64> = first.b.map_or_else(|| vec![0.0; m], |b| b.iter().map(|b| -b).collect());
    let (moved, tangent) = jvp(conic, at, system, t)?;

    let (mut cx, mut cs, mut cy) = (vec![0.0; n], vec![0.0; m], vec![0.0; m]);
    if let (Some(dp), Some(p)) = (t.p, conic.p()) {
        hessian_direction(p, conic.upper, dp, &w, &mut cx);
    }
    if let Some(da) = t.a {
        for ((i, j, _), v) in conic.a.triplets().zip(da) {
            cx[j] += v * wy[i];
            cy[i] += v * w[j];
        }
    }
    let mut aw = vec![0.0; m];
    conic.a.mul_add(1.0, &w, &mut aw);
    let entry = |v: &[f64], i: usize| v.get(i).copied().unwrap_or(0.0);
    for (k, rows) in blocks(conic) {
        if !matches!(at.faces.bases[k], Basis::SecondOrder(_) | Basis::Three(_)) {
            continue;
        }
        let norm = |v: &[f64]| dot(v, v).sqrt();
        let (s, y) = (&at.s[rows.clone()], &at.y[rows.clone()]);
        let unit = norm(s) / norm(y);
        let y: Vec<f64> = y.iter().map(|y| unit * y).collect();
        let v: Vec<f64> = rows.clone().map(|i| moved.s[i] - unit * moved.y[i]).collect();
        let u: Vec<f64> = rows.clone().map(|i| entry(cot.s, i) + wy[i] + (entry(cot.y, i) + aw[i]) / unit).collect();
        // row 0 is pinned or free, the next one is curved
        let c = unit * at.faces.curvature[rows.start + 1];
        conic.cones[k].second_projection((s, &y), c, (&v, &u), &mut cs[rows.clone()]);
        rows.for_each(|i| cy[i] -= unit * cs[i]);
    }
    if [&cx, &cs, &cy].iter().any(|v| v.iter().any(|e| !e.is_finite())) {
        return Err(Error::Backward { reason: "a number overflowed in a second derivative".to_owned() });
    }
    let c = ConicCotangent { x: &cx, s: &cs, y: &cy };
    let (mut out, second) = vjp(conic, at, system, &c, wrt)?;
    let along = At { x: moved.x, y: moved.y, ..At::default() };
    out.add(&assemble(conic, &along, w, wy, ConicWrt { p: wrt.p, a: wrt.a, ..ConicWrt::NONE }));
    Ok((out, [forward, tangent, second]))
}
