//! `K = {(x, y, z): x^a y^(1 - a) >= |z|, x, y >= 0}`.
//!
//! The projection is one scalar equation (Hien, "Differential properties of Euclidean projection onto power cone", Math.
//! Meth. Oper. Res. 2015) in `r = |z|` of the result:
//!
//! ```text
//! x(r) = (x + sqrt(x^2 + 4 a r (|z| - r)))/2,   y(r) likewise with 1 - a,   x(r)^a y(r)^(1 - a) = r
//! ```
//!
//! There the normal is `(-a r/x, -(1 - a) r/y, sign z)`, the multiplier of it `|z| - r`, the ray itself is free, and the
//! curvature is that of `a (1 - a) r (|z| - r)` along the part of `(1/x, -1/y, 0)` across the normal.
//! Where `z = 0` and only one of x and y is positive the face is a ray; across it z is pinned where the exponent of the
//! positive one is below 1/2, free above, and curved at 1/2.

use super::{Basis, Block, Split, Tolerance, norm3, scalar_root, tangent_basis};

/// `ln(r/(|z| - r))` is sought between minus this and this.
const LARGEST: f64 = 600.0;

fn mean(x: f64, y: f64, a: f64) -> f64 {
    x.powf(a) * y.powf(1.0 - a)
}

/// Distance of `x^a y^(1-a) = z` to first order.
fn margin(x: f64, y: f64, z: f64, (a, unit_x, unit_y): (f64, f64, f64)) -> f64 {
    let f = mean(x / unit_x, y / unit_y, a);
    let tiny = f64::MIN_POSITIVE;
    ((f - z) / norm3(&[a * f / x.max(tiny), (1.0 - a) * f / y.max(tiny), 1.0])).min(x).min(y)
}

pub(super) fn split(a: f64, v: &[f64], tol: Tolerance, block: Block<'_>) -> Split {
    let (x, y, z) = (v[0], v[1], v[2].abs());
    if x >= 0.0 && y >= 0.0 && mean(x, y, a) >= z {
        block.s.copy_from_slice(v);
        block.y.fill(0.0);
        block.curvature.fill(0.0);
        return Split::plain(margin(x, y, z, (a, 1.0, 1.0)) <= tol.s);
    }
    if x <= 0.0 && y <= 0.0 && mean(-x / a, -y / (1.0 - a), a) >= z {
        block.s.fill(0.0);
        block.y.iter_mut().zip(v).for_each(|(o, v)| *o = -v);
        block.curvature.fill(f64::INFINITY);
        return Split::plain(margin(-x, -y, z, (a, a, 1.0 - a)) <= tol.y);
    }
    if z == 0.0 {
        return ray(a, x, y, tol, block);
    }
    // the root of t (t - v) = product, and t - v; neither by cancellation
    let root = |v: f64, product: f64| {
        let radical = (v * v + 4.0 * product).sqrt();
        let (large, small) = (0.5 * (v.abs() + radical), 2.0 * product / (v.abs() + radical));
        if v >= 0.0 { (large, small) } else { (small, large) }
    };
    // both r and |z| - r to relative accuracy, by the logarithm of their quotient
    let parts = |t: f64| {
        let (r, excess) = (z / (1.0 + (-t).exp()), z / (1.0 + t.exp()));
        (r, excess, root(x, a * r * excess), root(y, (1.0 - a) * r * excess))
    };
    let t = scalar_root(-LARGEST, LARGEST, |t| {
        let (r, _, xr, yr) = parts(t);
        r.ln() - a * xr.0.ln() - (1.0 - a) * yr.0.ln()
    });
    let (r, excess, (xr, ux), (yr, uy)) = parts(t);
    let sign = v[2].signum();
    block.s.copy_from_slice(&[xr, yr, sign * r]);
    block.y.copy_from_slice(&[ux, uy, -sign * excess]);
    let (basis, length) = tangent_basis([-ux, -uy, sign * excess], [yr, -xr, 0.0], [xr, yr, sign * r]);
    let curvature = a * (1.0 - a) * r * excess * (length / xr / yr).powi(2);
    block.curvature.copy_from_slice(&[f64::INFINITY, if curvature.is_nan() { f64::INFINITY } else { curvature }, 0.0]);
    // where the smooth boundary ends in a ray, and next to nothing holds what tells the two apart
    let none = |s: f64, y: f64| s.abs() <= tol.s && y.abs() <= tol.y;
    let ends = none(r, excess) && (none(xr, ux) || none(yr, uy));
    let weak = ends || norm3(&[xr, yr, r]) <= tol.s || norm3(&[ux, uy, excess]) <= tol.y;
    Split { basis: Basis::Three(basis), weak }
}

/// `z = 0`, one of x and y positive and the other not.
fn ray(a: f64, x: f64, y: f64, tol: Tolerance, block: Block<'_>) -> Split {
    let (positive, negative, exponent, at) = if x > 0.0 { (x, y, a, 0) } else { (y, x, 1.0 - a, 1) };
    block.s.fill(0.0);
    block.y.fill(0.0);
    (block.s[at], block.y[1 - at]) = (positive, -negative);
    (block.curvature[at], block.curvature[1 - at]) = (0.0, f64::INFINITY);
    block.curvature[2] = match exponent {
        e if e < 0.5 => f64::INFINITY,
        e if e > 0.5 => 0.0,
        _ => -2.0 * negative / positive,
    };
    Split::plain(positive <= tol.s || -negative <= tol.y)
}

/// The change of `ln c` as s moves by `d t` and y by `-(1 - d) t`, t the unit vector across both: the curvature is
/// `c = a (1 - a) |s_2| |y_2|^3 |s|^2/(|y|^2 s_0^2 s_1^2)`.
pub(super) fn curvature_change(s: &[f64], y: &[f64], t: &[f64; 3], d: f64) -> f64 {
    d * (t[2] / s[2] - 2.0 * t[0] / s[0] - 2.0 * t[1] / s[1]) - 3.0 * (1.0 - d) * t[2] / y[2]
}

/// `x^a y^(1 - a) >= z` for `z >= 0`.
pub(super) fn reaches(a: f64, x: f64, y: f64, z: f64) -> bool {
    x >= 0.0 && y >= 0.0 && (z == 0.0 || (x > 0.0 && y > 0.0 && mean(x, y, a) >= z))
}
