//! From cotangents to gradients and from tangents to tangents, through the [`System`].
//!
//! With `D = D Pi_K(s - y)`, `g_v = D g_s + (D - I) g_y` along the directions of the cones:
//!
//! | direction | in the system |
//! | --- | --- |
//! | pinned | the equation `u'A w = g_v` |
//! | free | `wy = -g_v` |
//! | curved | `wy = c u'A w - g_v/d`, as the row `u'A w = g_v/(1 - d)` or as a part `-g_v/d` of e, whichever is the smaller |
//!
//! and then `dL/dq = w`, `dL/dP = (w x' + x w')/2`, `dL/dA = y w' + wy x'`, `dL/db = -wy`. Forward: `l = dP x + dq + dA'y`,
//! the right-hand sides are those of `r = db - dA x`, and `dx = w`, `dy = wy`, `ds = r - A dx`.

use super::system::{Faces, System};
use super::{Conic, ConicCotangent, ConicGradient, ConicSolutionTangent, ConicTangent, ConicWrt};
use crate::backward::Accuracy;
use crate::cones::Basis;
use crate::matrix::dot;
use crate::{Csc, Error};

/// A point at which derivatives are taken: complementary, with its geometry.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct At {
    pub x: Vec<f64>,
    pub s: Vec<f64>,
    pub y: Vec<f64>,
    pub faces: Faces,
}

/// `conic.cones` with the rows of each.
pub(super) fn blocks(conic: &Conic) -> impl Iterator<Item = (usize, std::ops::Range<usize>)> + '_ {
    let mut start = 0;
    conic.cones.iter().enumerate().map(move |(k, cone)| {
        let rows = start..start + cone.rows();
        start = rows.end;
        (k, rows)
    })
}

/// Splits `g_v` into right-hand sides `s` and the known part `e` of the multipliers.
fn spread(conic: &Conic, faces: &Faces, cot: &ConicCotangent<'_>, e: &mut [f64], s: &mut [f64]) {
    let (mut gs, mut gy, mut known) = (Vec::new(), Vec::new(), Vec::new());
    for (k, rows) in blocks(conic) {
        let basis = &faces.bases[k];
        for (out, given) in [(&mut gs, cot.s), (&mut gy, cot.y)] {
            out.clear();
            out.resize(rows.len(), 0.0);
            if !given.is_empty() {
                basis.coordinates(&given[rows.clone()], out);
            }
        }
        known.clear();
        known.resize(rows.len(), 0.0);
        for (i, row) in rows.clone().enumerate() {
            let (d, rest) = Faces::shares(faces.curvature[row]);
            let g = d * gs[i] - rest * gy[i];
            (s[row], known[i]) = if d <= 0.5 { (g / rest, 0.0) } else { (0.0, -g / d) };
        }
        basis.combine(&known, &mut e[rows.clone()]);
        if let (Basis::SecondOrder(uh), false) = (basis, cot.s.is_empty()) {
            // the free direction (1, uh)/sqrt 2 is not among the rows
            let g = &cot.s[rows.clone()];
            let along = 0.5 * (g[0] + dot(uh, &g[1..]));
            let e = &mut e[rows];
            e[0] -= along;
            e[1..].iter_mut().zip(uh).for_each(|(e, u)| *e -= along * u);
        }
    }
}

/// The gradient of a loss with these cotangents.
pub(super) fn vjp(
    conic: &Conic,
    at: &At,
    system: &mut System,
    cot: &ConicCotangent<'_>,
    wrt: ConicWrt,
) -> Result<(ConicGradient, Accuracy), Error> {
    cot.validate(conic)?;
    let (n, m) = (conic.n(), conic.m());
    let mut w = if cot.x.is_empty() { vec![0.0; n] } else { cot.x.to_vec() };
    let (mut wy, mut rhs) = (vec![0.0; m], vec![0.0; m]);
    if !(cot.s.is_empty() && cot.y.is_empty()) {
        spread(conic, &at.faces, cot, &mut wy, &mut rhs);
    }
    let accuracy = system.solve(conic, &at.faces, &mut w, &mut wy, &rhs)?;
    Ok((assemble(conic, at, w, wy, wrt), accuracy))
}

pub(super) fn assemble(conic: &Conic, at: &At, w: Vec<f64>, wy: Vec<f64>, wrt: ConicWrt) -> ConicGradient {
    let mut out = ConicGradient::default();
    if let (true, Some(p)) = (wrt.p, conic.p()) {
        let entry = |(i, j): (usize, usize)| {
            let both = w[i] * at.x[j] + at.x[i] * w[j];
            if conic.upper && i != j { both } else { 0.5 * both }
        };
        out.p = Some(p.triplets().map(|(i, j, _)| entry((i, j))).collect());
    }
    if wrt.a {
        out.a = Some(conic.a.triplets().map(|(i, j, _)| at.y[i] * w[j] + wy[i] * at.x[j]).collect());
    }
    if wrt.b {
        out.b = Some(wy.iter().map(|v| -v).collect());
    }
    if wrt.q {
        out.q = Some(w);
    }
    out
}

/// `out += dP v` for the values `dp` on the pattern of `p`.
pub(super) fn hessian_direction(p: &Csc, upper: bool, dp: &[f64], v: &[f64], out: &mut [f64]) {
    let full = if upper { 1.0 } else { 0.5 };
    for ((i, j, _), d) in p.triplets().zip(dp) {
        out[i] += full * d * v[j];
        if i != j || !upper {
            out[j] += full * d * v[i];
        }
    }
}

/// The change of the solution along a direction of the data.
pub(super) fn jvp(
    conic: &Conic,
    at: &At,
    system: &mut System,
    t: &ConicTangent<'_>,
) -> Result<(ConicSolutionTangent, Accuracy), Error> {
    t.validate(conic)?;
    let (n, m) = (conic.n(), conic.m());
    let mut l = t.q.map_or_else(|| vec![0.0; n], <[f64]>::to_vec);
    let mut r = t.b.map_or_else(|| vec![0.0; m], <[f64]>::to_vec);
    if let (Some(dp), Some(p)) = (t.p, conic.p()) {
        hessian_direction(p, conic.upper, dp, &at.x, &mut l);
    }
    if let Some(da) = t.a {
        for ((i, j, _), v) in conic.a.triplets().zip(da) {
            l[j] += v * at.y[i];
            r[i] -= v * at.x[j];
        }
    }
    let (dy, accuracy) = along(conic, &at.faces, system, &mut l, &r)?;
    let mut ds = r;
    conic.a.mul_add(-1.0, &l, &mut ds);
    Ok((ConicSolutionTangent { x: l, s: ds, y: dy }, accuracy))
}

/// The forward-mode system for `l` and `r`; leaves `dx` in `l` and returns `dy`.
pub(super) fn along(
    conic: &Conic,
    faces: &Faces,
    system: &mut System,
    l: &mut [f64],
    r: &[f64],
) -> Result<(Vec<f64>, Accuracy), Error> {
    let (mut dy, mut rhs) = (vec![0.0; r.len()], vec![0.0; r.len()]);
    for (k, rows) in blocks(conic) {
        faces.bases[k].coordinates(&r[rows.clone()], &mut rhs[rows]);
    }
    let accuracy = system.solve(conic, faces, l, &mut dy, &rhs)?;
    Ok((dy, accuracy))
}
