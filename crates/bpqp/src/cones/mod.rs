//! The cones of a [`Conic`](crate::Conic) problem: a closed set, one file each.
//!
//! All that the library asks of a cone: given `v`, its projection `s = Pi_K(v)`, the rest `y = s - v` in K*, and the
//! derivative `D Pi_K(v)` by its eigenvectors `u_i` and eigenvalues `d_i` in [0, 1]. It is stated as a *curvature*
//! `c_i = (1 - d_i)/d_i`, which is what the backward QP needs:
//!
//! | `c_i` | s along `u_i` | in the backward QP |
//! | --- | --- | --- |
//! | 0 | moves freely | nothing |
//! | `inf` | is pinned | the row `u_i' A w = 0` |
//! | between | moves on a curved boundary | `+ 1/2 c_i (u_i' A w)^2` |
//!
//! The dual of a cone is its mirror: `Pi_K*(v) = v + Pi_K(-v)`, so s and y, free and pinned change places, and `c` becomes
//! `1/c`. Where `v` is on a kink one of the derivatives nearby is taken (stated in each file) and the block is *weak*.

mod exponential;
mod faces;
mod nonnegative;
mod power;
pub(crate) mod psd;
mod second;
mod second_order;
mod zero;

pub use faces::Face;
pub(crate) use faces::{Faces, blocks};

use crate::Error;
use faer::Mat;

/// A cone, with the rows that it takes of `A x + s = b`, `s in K`. Order and scaling of the rows are those of Clarabel.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cone {
    /// `s = 0` of that many rows: equalities.
    Zero(usize),
    /// `s >= 0` of that many rows: inequalities `A x <= b`.
    Nonnegative(usize),
    /// `s_0 >= |(s_1, ..)|_2` of that many rows.
    SecondOrder(usize),
    /// Symmetric positive semidefinite matrices of that order n: n (n + 1) / 2 rows, the upper triangle by columns, with
    /// the entries off the diagonal times sqrt 2.
    PsdTriangle(usize),
    /// The closure of `{(x, y, z): y > 0, y exp(x / y) <= z}`.
    Exponential,
    /// `{(x, y, z): x^a y^(1 - a) >= |z|, x >= 0, y >= 0}` with `0 < a < 1`.
    Power(f64),
    /// The dual of the exponential cone: the closure of `{(u, v, w): u < 0, -u exp(v / u) <= e w}`.
    DualExponential,
    /// The dual of the power cone: `{(u, v, w): (u / a)^a (v / (1 - a))^(1 - a) >= |w|, u >= 0, v >= 0}`.
    DualPower(f64),
}

impl Cone {
    /// Rows that it takes.
    pub fn rows(&self) -> usize {
        match *self {
            Cone::Zero(n) | Cone::Nonnegative(n) | Cone::SecondOrder(n) => n,
            Cone::PsdTriangle(n) => n * (n + 1) / 2,
            Cone::Exponential | Cone::Power(_) | Cone::DualExponential | Cone::DualPower(_) => 3,
        }
    }

    /// The name in lower case with underscores, as the API prints it.
    pub fn name(&self) -> &'static str {
        match self {
            Cone::Zero(_) => "zero",
            Cone::Nonnegative(_) => "nonnegative",
            Cone::SecondOrder(_) => "soc",
            Cone::PsdTriangle(_) => "psd",
            Cone::Exponential => "exp",
            Cone::Power(_) => "pow",
            Cone::DualExponential => "dual_exp",
            Cone::DualPower(_) => "dual_pow",
        }
    }

    /// True for the cones of linear constraints.
    pub fn is_polyhedral(&self) -> bool {
        match self {
            Cone::Zero(_) | Cone::Nonnegative(_) => true,
            Cone::SecondOrder(_)
            | Cone::PsdTriangle(_)
            | Cone::Exponential
            | Cone::Power(_)
            | Cone::DualExponential
            | Cone::DualPower(_) => false,
        }
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        match *self {
            Cone::Power(a) | Cone::DualPower(a) if !(a > 0.0 && a < 1.0) => Err(Error::Setting {
                name: "the exponent of a power cone",
                value: a.to_string(),
                advice: "choose a number strictly between 0 and 1",
            }),
            _ => Ok(()),
        }
    }
}

/// The orthonormal directions of one cone's block.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Basis {
    /// The rows themselves.
    Rows,
    /// The boundary of a second-order cone in the direction `uh`: `(1, -uh)/sqrt 2` is pinned, `(1, uh)/sqrt 2` free, and the
    /// directions `(0, e)` with `e` across `uh` have one curvature. Row 0 stands for the first, rows 1.. for the last.
    SecondOrder(Vec<f64>),
    /// Three directions.
    Three([[f64; 3]; 3]),
    /// The eigenbasis of a matrix, see [`psd`].
    Eigen(Mat<f64>),
}

/// What [`Cone::split`] writes, of one block.
pub(crate) struct Block<'a> {
    pub s: &'a mut [f64],
    pub y: &'a mut [f64],
    pub curvature: &'a mut [f64],
}

/// What [`Cone::split`] returns.
pub(crate) struct Split {
    pub basis: Basis,
    /// On a kink.
    pub weak: bool,
}

impl Split {
    fn plain(weak: bool) -> Self {
        Split { basis: Basis::Rows, weak }
    }
}

/// Sizes below which a slack or a multiplier counts as zero, in the units of `v`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tolerance {
    pub s: f64,
    pub y: f64,
}

impl Cone {
    /// `s = Pi_K(v)`, `y = s - v`, and the geometry there. `tol` has an entry per row.
    pub(crate) fn split(&self, v: &[f64], tol: &[Tolerance], block: Block<'_>) -> Split {
        let largest = || tol.iter().fold(Tolerance::default(), |m, t| Tolerance { s: m.s.max(t.s), y: m.y.max(t.y) });
        match *self {
            Cone::Zero(_) => zero::split(v, block),
            Cone::Nonnegative(_) => nonnegative::split(v, tol, block),
            Cone::SecondOrder(_) => second_order::split(v, largest(), block),
            Cone::PsdTriangle(n) => psd::split(n, v, largest(), block),
            Cone::Exponential => exponential::split(v, largest(), block),
            Cone::Power(a) => power::split(a, v, largest(), block),
            Cone::DualExponential => mirrored(v, largest(), block, exponential::split),
            Cone::DualPower(a) => mirrored(v, largest(), block, |v, tol, block| power::split(a, v, tol, block)),
        }
    }

    /// `Pi_K(v)`.
    pub(crate) fn projection(&self, v: &[f64]) -> Vec<f64> {
        let (mut s, mut y, mut curvature) = (vec![0.0; v.len()], vec![0.0; v.len()], vec![0.0; v.len()]);
        let tol = vec![Tolerance::default(); v.len()];
        self.split(v, &tol, Block { s: &mut s, y: &mut y, curvature: &mut curvature });
        s
    }

    /// The distance of `v` from the cone, in the Euclidean norm of the block.
    pub(crate) fn distance(&self, v: &[f64]) -> f64 {
        let s = self.projection(v);
        s.iter().zip(v).map(|(s, v)| (s - v).powi(2)).sum::<f64>().sqrt()
    }

    /// True if a point of the cone is within these distances of `s`, each in its own row: the geometry of the cone decides, and
    /// not the largest of its entries. Semidefinite cones have no such rows, and are not judged.
    pub(crate) fn reaches(&self, s: &[f64], within: &[f64]) -> bool {
        let low = |i: usize| (s[i].abs() - within[i]).max(0.0);
        let high = |i: usize| s[i] + within[i];
        match *self {
            Cone::Zero(n) => (0..n).all(|i| low(i) == 0.0),
            Cone::Nonnegative(n) => (0..n).all(|i| high(i) >= 0.0),
            Cone::SecondOrder(n) => n == 0 || second_order::reaches(s, high(0), (1..n).map(low)),
            Cone::PsdTriangle(_) => true,
            Cone::Power(a) => power::reaches(a, high(0), high(1), low(2)),
            Cone::DualPower(a) => power::reaches(a, high(0) / a, high(1) / (1.0 - a), low(2)),
            Cone::Exponential => exponential::reaches(s[0] - within[0], (s[1] - within[1], high(1)), high(2)),
            Cone::DualExponential => {
                let y = (-high(0), within[0] - s[0]);
                exponential::reaches(-high(1), y, std::f64::consts::E * high(2))
            }
        }
    }

    /// The dual cone.
    pub(crate) fn dual(&self) -> Option<Cone> {
        Some(match *self {
            // its dual is the whole space
            Cone::Zero(_) => return None,
            Cone::Exponential => Cone::DualExponential,
            Cone::DualExponential => Cone::Exponential,
            Cone::Power(a) => Cone::DualPower(a),
            Cone::DualPower(a) => Cone::Power(a),
            // self-dual
            own @ (Cone::Nonnegative(_) | Cone::SecondOrder(_) | Cone::PsdTriangle(_)) => own,
        })
    }
}

/// The dual of the cone of `split`.
fn mirrored(
    v: &[f64],
    tol: Tolerance,
    block: Block<'_>,
    split: impl Fn(&[f64], Tolerance, Block<'_>) -> Split,
) -> Split {
    let minus: Vec<f64> = v.iter().map(|v| -v).collect();
    let Block { s, y, curvature } = block;
    let out = split(&minus, Tolerance { s: tol.y, y: tol.s }, Block { s: y, y: s, curvature: &mut *curvature });
    curvature.iter_mut().for_each(|c| *c = 1.0 / *c);
    out
}

impl Basis {
    /// Coordinates `U'v` in the basis. For a second-order cone: the pinned one, then `(I - uh uh') u`.
    pub fn coordinates(&self, v: &[f64], out: &mut [f64]) {
        match self {
            Basis::Rows => out.copy_from_slice(v),
            Basis::Three(u) => (0..3).for_each(|i| out[i] = (0..3).map(|k| u[i][k] * v[k]).sum()),
            Basis::Eigen(q) => psd::rotate(q, v, out),
            Basis::SecondOrder(uh) => {
                let along = crate::matrix::dot(uh, &v[1..]);
                out[0] = (v[0] - along) * std::f64::consts::FRAC_1_SQRT_2;
                (0..uh.len()).for_each(|i| out[i + 1] = v[i + 1] - along * uh[i]);
            }
        }
    }

    /// `U c`: back from coordinates.
    pub fn combine(&self, c: &[f64], out: &mut [f64]) {
        match self {
            Basis::Rows => out.copy_from_slice(c),
            Basis::Three(u) => (0..3).for_each(|k| out[k] = (0..3).map(|i| u[i][k] * c[i]).sum()),
            Basis::Eigen(q) => psd::rotate_back(q, c, out),
            Basis::SecondOrder(uh) => {
                let pinned = c[0] * std::f64::consts::FRAC_1_SQRT_2;
                out[0] = pinned;
                (0..uh.len()).for_each(|i| out[i + 1] = c[i + 1] - pinned * uh[i]);
            }
        }
    }

    /// Coordinates of a sparse vector, the rows of one column of A.
    pub fn coordinates_sparse(&self, entries: &[(usize, f64)], dense: &mut Vec<f64>, out: &mut [f64]) {
        if let Basis::Eigen(q) = self {
            psd::rotate_sparse(q, entries.iter().copied(), out);
            return;
        }
        dense.clear();
        dense.resize(out.len(), 0.0);
        entries.iter().for_each(|&(i, v)| dense[i] += v);
        self.coordinates(dense, out);
    }
}

pub(crate) fn norm3(v: &[f64; 3]) -> f64 {
    v[0].hypot(v[1]).hypot(v[2])
}

/// The directions of a smooth boundary point of a cone in three dimensions: the normal, the curved direction (the part of
/// `g` across the normal, whose length is returned), and the ray.
fn tangent_basis(normal: [f64; 3], g: [f64; 3], ray: [f64; 3]) -> ([[f64; 3]; 3], f64) {
    let unit = |v: [f64; 3]| {
        let norm = norm3(&v);
        if norm > 0.0 { v.map(|v| v / norm) } else { v }
    };
    let n = unit(normal);
    let along: f64 = (0..3).map(|i| n[i] * g[i]).sum();
    let t: [f64; 3] = std::array::from_fn(|i| g[i] - along * n[i]);
    ([n, unit(t), unit(ray)], norm3(&t))
}

/// A root of an increasing function between `lower` and `upper`, to the last digits: bisection with inverse quadratic
/// interpolation (Chandrupatla, "A new hybrid quadratic/bisection algorithm", Adv. Eng. Software 1997). An end where the
/// function has the sign of beyond is returned.
fn scalar_root(lower: f64, upper: f64, f: impl Fn(f64) -> f64) -> f64 {
    let (mut x1, mut x2) = (lower, upper);
    let (mut f1, mut f2) = (f(x1), f(x2));
    if f1 >= 0.0 {
        return x1;
    }
    if f2 <= 0.0 {
        return x2;
    }
    let mut t = 0.5;
    for _ in 0..200 {
        let x = x1 + t * (x2 - x1);
        let fx = f(x);
        let (x3, f3);
        if (fx > 0.0) == (f1 > 0.0) {
            (x3, f3) = (x1, f1);
        } else {
            (x3, f3) = (x2, f2);
            (x2, f2) = (x1, f1);
        }
        (x1, f1) = (x, fx);
        let (best, value) = if f2.abs() < f1.abs() { (x2, f2) } else { (x1, f1) };
        let tol = 2.0 * f64::EPSILON * best.abs() + f64::MIN_POSITIVE;
        let near = tol / (x2 - x1).abs();
        if near > 0.5 || value == 0.0 || !fx.is_finite() {
            return best;
        }
        let (xi, phi) = ((x1 - x2) / (x3 - x2), (f1 - f2) / (f3 - f2));
        t = if 1.0 - (1.0 - xi).sqrt() < phi && phi < xi.sqrt() {
            f1 / (f2 - f1) * f3 / (f2 - f3) + (x3 - x1) / (x2 - x1) * f1 / (f3 - f1) * f2 / (f3 - f2)
        } else {
            0.5
        };
        t = t.clamp(near, 1.0 - near);
    }
    x1
}

#[cfg(test)]
mod tests;
