//! Stage 7: assembly of gradients, only the blocks asked for, each on the structure of its data.
//!
//! With `(w, u_y, u_z, u_box)` the solution of the backward system (see [`backward`](crate::backward)) and `(x, y, z)` the
//! point, the loss changes by `-w'(dP x + dq + dA'y + dG'z) + u_y'(db - dA x) + u_z'(dh - dG x) + u_box'd(bound)`, so
//!
//! ```text
//! dL/dq = -w          dL/dP = -1/2 (w x' + x w')        dL/dd = -w * x      dL/dF = -(w (F'x)' + x (F'w)')
//! dL/db = u_y         dL/dA = -(y w' + u_y x')          dL/dh = u_z         dL/dG = -(z w' + u_z x')
//! ```
//!
//! and the same with C and d for the rows of curved cones.

use crate::matrix::{Full, Hessian, Matrix, Product, norm_inf};
use crate::{Error, Qp};

/// The derivative of a loss with respect to the outputs of a solve; an empty vector stands for zeros.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cotangent {
    /// With respect to `x`.
    pub x: Vec<f64>,
    /// With respect to `y`.
    pub y: Vec<f64>,
    /// With respect to `z`.
    pub z: Vec<f64>,
    /// With respect to `z_box`.
    pub z_box: Vec<f64>,
    /// With respect to the slacks of the curved cones.
    pub s: Vec<f64>,
    /// With respect to the multipliers of the curved cones.
    pub y_cone: Vec<f64>,
    /// With respect to the optimal objective.
    pub objective: f64,
}

impl Cotangent {
    /// A loss that depends on `x` only.
    pub fn x(x: &[f64]) -> Self {
        Cotangent { x: x.to_vec(), ..Cotangent::default() }
    }

    /// True if the loss does not depend on any output.
    pub fn is_zero(&self) -> bool {
        let blocks = [&self.x, &self.y, &self.z, &self.z_box, &self.s, &self.y_cone];
        self.objective == 0.0 && blocks.iter().all(|v| v.iter().all(|c| *c == 0.0))
    }

    /// Refuses wrong lengths and NaN.
    pub fn validate(&self, qp: &Qp) -> Result<(), Error> {
        let blocks = [
            ("cotangent of x", &self.x, qp.n()),
            ("cotangent of y", &self.y, qp.n_equality()),
            ("cotangent of z", &self.z, qp.n_inequality()),
            ("cotangent of z_box", &self.z_box, qp.n()),
            ("cotangent of s", &self.s, qp.n_cone()),
            ("cotangent of y_cone", &self.y_cone, qp.n_cone()),
        ];
        for (argument, v, expected) in blocks {
            if !v.is_empty() && v.len() != expected {
                return Err(Error::length(argument, v.len(), expected, "it has the shape of its output, or is empty"));
            }
            crate::error::check_finite(argument, v)?;
        }
        crate::error::check_finite("cotangent of objective", &[self.objective])
    }
}

/// Which gradients are wanted; what is not wanted costs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Wrt {
    pub p: bool,
    pub q: bool,
    pub a: bool,
    pub b: bool,
    pub g: bool,
    pub h: bool,
    pub c: bool,
    pub d: bool,
    pub lb: bool,
    pub ub: bool,
}

impl Wrt {
    /// Nothing.
    pub const NONE: Wrt =
        Wrt { p: false, q: false, a: false, b: false, g: false, h: false, c: false, d: false, lb: false, ub: false };
    /// Every block.
    pub const ALL: Wrt =
        Wrt { p: true, q: true, a: true, b: true, g: true, h: true, c: true, d: true, lb: true, ub: true };
    /// `q` only: the usual case of predict-then-optimize.
    pub const Q: Wrt = Wrt { q: true, ..Wrt::NONE };

    /// The blocks of that name.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, Error> {
        let mut wrt = Wrt::NONE;
        for name in names {
            match name {
                "P" => wrt.p = true,
                "q" => wrt.q = true,
                "A" => wrt.a = true,
                "b" => wrt.b = true,
                "G" => wrt.g = true,
                "h" => wrt.h = true,
                "C" => wrt.c = true,
                "d" => wrt.d = true,
                "lb" => wrt.lb = true,
                "ub" => wrt.ub = true,
                _ => {
                    let advice = "name any of P, q, G, h, A, b, C, d, lb, ub";
                    return Err(Error::Setting { name: "wrt", value: name.to_owned(), advice });
                }
            }
        }
        Ok(wrt)
    }
}

/// Gradients of a loss with respect to the data; `None` where not asked for. Matrices have the structure of their data:
/// sparse ones the same pattern, factored ones `d` and `F`. The gradient of `P` is symmetric.
#[derive(Debug, Clone, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Gradient {
    pub p: Option<Hessian>,
    pub q: Option<Vec<f64>>,
    pub a: Option<Matrix>,
    pub b: Option<Vec<f64>>,
    pub g: Option<Matrix>,
    pub h: Option<Vec<f64>>,
    pub c: Option<Matrix>,
    pub d: Option<Vec<f64>>,
    pub lb: Option<Vec<f64>>,
    pub ub: Option<Vec<f64>>,
}

/// What refuses derivatives that left the range of numbers.
pub(crate) fn overflowed(_: Error) -> Error {
    Error::Backward { reason: "a number overflowed".to_owned() }
}

impl Gradient {
    /// Refuses numbers that are none: products of finite ones may overflow.
    /// `tame`: no sum of two products of numbers of the backward pass can overflow, so that its outer products need not be read.
    pub(crate) fn check_finite(&self, tame: bool) -> Result<(), Error> {
        if let Some(p) = self.p.as_ref().filter(|p| !tame || p.extension() != 0) {
            p.check_finite("P").map_err(overflowed)?;
        }
        for m in [&self.a, &self.g, &self.c].into_iter().flatten().filter(|_| !tame) {
            m.check_finite("A").map_err(overflowed)?;
        }
        for v in [&self.q, &self.b, &self.h, &self.d, &self.lb, &self.ub].into_iter().flatten() {
            crate::error::check_finite("q", v).map_err(overflowed)?;
        }
        Ok(())
    }

    /// `self += other`, of the blocks that both have.
    pub(crate) fn add(&mut self, other: &Gradient) {
        if let (Some(to), Some(from)) = (&mut self.p, &other.p) {
            to.add(from);
        }
        for (to, from) in [(&mut self.a, &other.a), (&mut self.g, &other.g), (&mut self.c, &other.c)] {
            if let (Some(to), Some(from)) = (to, from) {
                to.add(from);
            }
        }
        for (to, from) in [
            (&mut self.q, &other.q),
            (&mut self.b, &other.b),
            (&mut self.h, &other.h),
            (&mut self.d, &other.d),
            (&mut self.lb, &other.lb),
            (&mut self.ub, &other.ub),
        ] {
            if let (Some(to), Some(from)) = (to, from) {
                to.iter_mut().zip(from).for_each(|(t, f)| *t += f);
            }
        }
    }
}

/// A direction in the data; `None` stands for zeros. Matrices have the structure of their data.
pub type Tangent = Gradient;

/// The change of the outputs along a direction of the data.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SolutionTangent {
    /// Of `x`.
    pub x: Vec<f64>,
    /// Of `y`.
    pub y: Vec<f64>,
    /// Of `z`.
    pub z: Vec<f64>,
    /// Of `z_box`.
    pub z_box: Vec<f64>,
    /// Of the slacks of the curved cones.
    pub s: Vec<f64>,
    /// Of the multipliers of the curved cones.
    pub y_cone: Vec<f64>,
    /// Of the optimal objective.
    pub objective: f64,
}

impl SolutionTangent {
    /// Refuses numbers that are none.
    pub(crate) fn check_finite(&self) -> Result<(), Error> {
        for v in [&self.x, &self.y, &self.z, &self.z_box, &self.s, &self.y_cone] {
            crate::error::check_finite("x", v).map_err(overflowed)?;
        }
        crate::error::check_finite("objective", &[self.objective]).map_err(overflowed)
    }
}

/// What the backward pass hands to the assembly: a solution of the symmetric backward system.
#[derive(Debug, Clone, Default)]
pub(crate) struct Adjoint {
    pub w: Vec<f64>,
    pub y: Vec<f64>,
    pub z: Vec<f64>,
    pub cone: Vec<f64>,
    pub lb: Vec<f64>,
    pub ub: Vec<f64>,
}

/// `-(v w' + (u - t v) x')` on the structure of `m`.
fn matrix_gradient(m: &Matrix, (v, u, t): (&[f64], &[f64], f64), w: &[f64], x: &[f64], out: &mut Option<Matrix>) {
    let last = out.take();
    *out = Some(match m {
        Matrix::Dense(m) => {
            let (rows, cols) = (m.nrows(), m.ncols());
            let mut o = match last {
                Some(Matrix::Dense(o)) if (o.nrows(), o.ncols()) == (rows, cols) => o,
                _ => Full::zeros(rows, cols),
            };
            for j in 0..cols {
                let (wj, xj) = (-w[j], -x[j]);
                for ((o, &vi), &ui) in o.col_as_slice_mut(j).iter_mut().zip(v).zip(u) {
                    *o = vi * wj + (ui - t * vi) * xj;
                }
            }
            Matrix::Dense(o)
        }
        Matrix::Sparse(m) => {
            let last = if let Some(Matrix::Sparse(last)) = last { Some(last) } else { None };
            Matrix::Sparse(m.refill(last, |i, j| -(v[i] * w[j] + (u[i] - t * v[i]) * x[j])))
        }
    });
}

fn fill(ask: bool, out: &mut Option<Vec<f64>>, len: usize, value: impl Fn(usize) -> f64) {
    if !ask {
        *out = None;
        return;
    }
    let v = out.get_or_insert_with(Vec::new);
    v.clear();
    v.extend((0..len).map(value));
}

/// True if every entry of the outer products in [`assemble`] is finite because their factors are far from overflowing.
pub(crate) fn tame(point: &crate::Point, adjoint: &Adjoint, objective: Envelope) -> bool {
    let point = [&point.x, &point.y, &point.z, &point.y_cone];
    let adjoint = [&adjoint.w, &adjoint.y, &adjoint.z, &adjoint.cone];
    let size: f64 = point.into_iter().chain(adjoint).map(|v| norm_inf(v)).sum();
    let t = 1.0 + objective.explicit.abs() + objective.constraints.abs();
    (4.0 * t * size * size).is_finite()
}

/// Cotangents of the objective, as they enter the assembly.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Envelope {
    /// Of its explicit dependence on P and q.
    pub explicit: f64,
    /// Of its dependence on the constraints, through the multipliers.
    pub constraints: f64,
}

/// Assembles the gradients that `wrt` names into `out`, reusing its buffers. The gradients of the optimal value are those
/// of the Lagrangian (envelope theorem): `1/2 x x'`, `x`, `y x'`, `-y`, ...; the formulas above give them when `w`, `u_y`
/// and `u_z` are shifted by multiples of the point.
pub(crate) fn assemble(
    qp: &Qp,
    point: &crate::Point,
    adjoint: &Adjoint,
    wrt: Wrt,
    objective: Envelope,
    out: &mut Gradient,
) {
    let (x, y, z) = (&point.x, &point.y, &point.z);
    let (w, Envelope { explicit, constraints: t }) = (&adjoint.w, objective);
    if wrt.p {
        qp.p.gradient_into(Product { w, x, t: explicit }, &mut out.p);
    } else {
        out.p = None;
    }
    for (ask, m, v, u, slot) in [
        (wrt.a, &qp.a, y, &adjoint.y, &mut out.a),
        (wrt.g, &qp.g, z, &adjoint.z, &mut out.g),
        (wrt.c, &qp.c, &point.y_cone, &adjoint.cone, &mut out.c),
    ] {
        if ask {
            matrix_gradient(m, (v, u, t), w, x, slot);
        } else {
            *slot = None;
        }
    }
    let n = x.len();
    fill(wrt.q, &mut out.q, n, |i| explicit * x[i] - w[i]);
    fill(wrt.b, &mut out.b, y.len(), |i| adjoint.y[i] - t * y[i]);
    fill(wrt.h, &mut out.h, z.len(), |i| adjoint.z[i] - t * z[i]);
    fill(wrt.d, &mut out.d, qp.n_cone(), |i| adjoint.cone[i] - t * point.y_cone[i]);
    fill(wrt.lb, &mut out.lb, n, |i| adjoint.lb[i] - t * point.z_box[i].min(0.0));
    fill(wrt.ub, &mut out.ub, n, |i| adjoint.ub[i] - t * point.z_box[i].max(0.0));
}
