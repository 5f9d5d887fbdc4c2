//! `K = closure {(x, y, z): y > 0, y exp(x / y) <= z}`, its polar cone `{(u, v, w): u > 0, u exp(v / u) <= -e w}` closed.
//!
//! The projection is one scalar equation (Friberg, "Projection onto the exponential cone: a univariate root-finding
//! problem", 2023): the boundary ray `p = (rho, 1, e^rho)` has the outward normal `d = (e^rho, (1 - rho) e^rho, -1)`, and
//! `v = alpha p + beta d` with `alpha, beta >= 0` determines
//!
//! ```text
//! alpha = (y - (1 - rho) x)/(rho^2 - rho + 1),  beta e^rho = (x - rho y)/(rho^2 - rho + 1),  alpha e^rho - beta = z
//! ```
//!
//! whose left-hand side increases where both are positive. There `s = alpha p`, `y = -beta d`: one row `d/|d|`, one free
//! direction `p/|p|`, and curvature along `t`, the part of `(1, -rho, 0)` across `d`: `beta e^rho |t|^2/alpha`.
//! On the face `x <= 0, y = 0, z >= 0` the second row is pinned, and the third where `z <= 0`; no curvature.

use super::{Basis, Block, Split, Tolerance, norm3, scalar_root, tangent_basis};

/// Beyond this `e^rho` leaves the numbers, also of their squares.
const WIDE: f64 = 800.0;

pub(super) fn split(v: &[f64], tol: Tolerance, block: Block<'_>) -> Split {
    let (x, y, z) = (v[0], v[1], v[2]);
    if y > 0.0 && y.ln() + x / y <= z.max(0.0).ln() {
        block.s.copy_from_slice(v);
        block.y.fill(0.0);
        block.curvature.fill(0.0);
        let e = (x / y).min(WIDE).exp();
        return Split::plain((z - y * e) / norm3(&[e, (1.0 - x / y) * e, -1.0]) <= tol.s);
    }
    let polar = (x > 0.0 && x.ln() + y / x <= (-z).max(0.0).ln() + 1.0) || (x == 0.0 && y <= 0.0 && z <= 0.0);
    if polar {
        block.s.fill(0.0);
        block.y.iter_mut().zip(v).for_each(|(o, v)| *o = -v);
        block.curvature.fill(f64::INFINITY);
        let e = if x > 0.0 { (y / x).min(WIDE).exp() } else { 0.0 };
        let ratio = if x > 0.0 { y / x } else { 0.0 };
        let margin = (-z * std::f64::consts::E - x * e) / norm3(&[(1.0 - ratio) * e, e, std::f64::consts::E]);
        return Split::plain(margin <= tol.y || x <= tol.y);
    }
    if x <= 0.0 && y <= 0.0 {
        block.s.copy_from_slice(&[x, 0.0, z.max(0.0)]);
        block.y.copy_from_slice(&[0.0, -y, (-z).max(0.0)]);
        let third = if z > 0.0 { 0.0 } else { f64::INFINITY };
        block.curvature.copy_from_slice(&[0.0, f64::INFINITY, third]);
        let weak = -x <= tol.s || -y <= tol.y || if z > 0.0 { z <= tol.s } else { -z <= tol.y };
        return Split::plain(weak);
    }
    let parts = |rho: f64| {
        let size = rho * rho - rho + 1.0;
        ((y - (1.0 - rho) * x) / size, (x - rho * y) / size)
    };
    // alpha > 0 right of 1 - y/x, beta > 0 left of x/y; where one of these is missing e^rho runs through all numbers
    let (lower, upper) = match (x > 0.0, y > 0.0) {
        (true, true) => (1.0 - y / x, x / y),
        (true, false) => (1.0 - y / x, 1.0 - y / x + WIDE),
        _ => (x / y - WIDE, x / y),
    };
    // times e^-|rho|, so that nothing overflows
    let rho = scalar_root(lower, upper, |rho| {
        let (alpha, beta_e) = parts(rho);
        if rho > 0.0 {
            alpha - beta_e * (-2.0 * rho).exp() - z * (-rho).exp()
        } else {
            alpha * (2.0 * rho).exp() - beta_e - z * rho.exp()
        }
    });
    let (alpha, beta_e) = parts(rho);
    let (alpha, beta_e) = (alpha.max(0.0), beta_e.max(0.0));
    // whichever of alpha and beta is the smaller follows from the other by the third equation
    let (alpha, beta, p, d) = if rho > 0.0 {
        let inverse = (-rho).exp();
        let beta = beta_e * inverse;
        ((z + beta).max(0.0) * inverse, beta, [rho * inverse, inverse, 1.0], [1.0, 1.0 - rho, -inverse])
    } else {
        let e = rho.exp();
        (alpha, (alpha * e - z).max(0.0), [rho, 1.0, e], [e, (1.0 - rho) * e, -1.0])
    };
    block.s.copy_from_slice(&[alpha * rho, alpha, if rho > 0.0 { (z + beta).max(0.0) } else { alpha * rho.exp() }]);
    block.y.copy_from_slice(&[-beta_e, (rho - 1.0) * beta_e, beta]);
    let (basis, length) = tangent_basis(d, [1.0, -rho, 0.0], p);
    let curvature = if alpha > 0.0 { beta_e / alpha * length * length } else { f64::INFINITY };
    block.curvature.copy_from_slice(&[f64::INFINITY, curvature, 0.0]);
    let size = |v: &[f64]| norm3(&[v[0], v[1], v[2]]);
    // where the smooth boundary ends in the face, and next to nothing holds what tells the two apart
    let none = |i: usize| block.s[i].abs() <= tol.s && block.y[i].abs() <= tol.y;
    let ends = none(1) || (block.s[1] <= tol.s && none(0));
    Split { basis: Basis::Three(basis), weak: ends || size(block.s) <= tol.s || size(block.y) <= tol.y }
}

/// The change of `ln c` as s moves by `d t` and y by `-(1 - d) t`, t the unit vector across both: the curvature is
/// `c = e^rho beta^3 |s|^2/(alpha^3 |y|^2)` with `alpha = s_1`, `beta = y_2`, `e^rho = s_2/s_1`.
pub(super) fn curvature_change(s: &[f64], y: &[f64], t: &[f64; 3], d: f64) -> f64 {
    d * (t[2] / s[2] - 4.0 * t[1] / s[1]) - 3.0 * (1.0 - d) * t[2] / y[2]
}

/// `y exp(x / y) <= z` for some y of an interval, or its closure `x <= 0 <= z` at y = 0.
pub(super) fn reaches(x: f64, (low, high): (f64, f64), z: f64) -> bool {
    let low = low.max(0.0);
    if high < 0.0 || z < 0.0 {
        return false;
    }
    if low == 0.0 && x <= 0.0 {
        return true;
    }
    // the left-hand side falls in y up to x, and rises from there
    let y = x.max(low).min(high);
    y > 0.0 && y * (x / y).exp() <= z
}
