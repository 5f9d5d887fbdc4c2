//! Second derivatives: the theorem applied again, on the fixed active set.
//!
//! Write `K u = g` for the system of the vjp, with `u = (w, u_y, u_z, u_box)`, and `K t = r(s; d)` for that of the jvp at
//! the point `s = (x, y, z)` along the direction `d`. By the adjoint law `phi = <gradient(g), d> = <g, t>`, so the
//! derivative of the gradient along `d`, which is also the gradient of `phi`, is
//!
//! ```text
//! d phi = u'(dr - dK t)
//!       = vjp(c)                                   through the point, c = dr'u:
//!                                                  c_x = -(dP w + dA'u_y + dG'u_z),  c_y = -dA w,  c_z = -dG w
//!       - sym(w t_x'), -(t_y w' + u_y t_x'), ...   through K: the assembly of a gradient with t in place of the point
//! ```
//!
//! Three solves with one matrix, no new factorization. The active set is constant near a point with strict
//! complementarity; at a weakly active row the result is the second derivative of the chosen piece.
//!
//! The boundary of a curved cone turns as the solution moves, and D with it. With `v = s - y_cone` and `D = D Pi(v)` the
//! adjoint satisfies `P w + C'u = g_x` and `-D u - (D - I) C w = -(D g_s + (D - I) g_y)`; along a direction of the data (a
//! dot; the cotangent is held) v moves by `dv = ds - dy`, and
//!
//! ```text
//! P w. + C'u. = c_x,     -D u. - (D - I) C w. = -(h + (D - I)(-dC w)),     h = D^2 Pi(v)[dv, g_s + g_y - C w - u]
//! ```
//!
//! which is the same system with the cotangents `c_s = h`, `c_y = -dC w - h`, since `D h - (D - I) h = h`. Every block is
//! scaled on its own, `v = s - unit y` with `unit = |s|/|y|`, so that nothing is lost where s and y differ in size:
//! `g_s - u + (g_y - C w)/unit`, and the last cotangent is `-dC w - unit h`. Cones inside or at their apex have `h = 0`.

use super::differentiate::{Differentiator, shares};
use super::{Accuracy, At};
use crate::active::{ActiveSet, Side};
use crate::cones::{Basis, Cone, Face, Faces, blocks};
use crate::gradient::{Adjoint, Envelope, assemble};
use crate::matrix::{Matrix, dot};
use crate::{Cotangent, Error, Gradient, Point, Qp, SolutionTangent, Tangent, Wrt};
use std::ops::Range;

fn refuse_smoothing(at: At<'_>) -> Result<(), Error> {
    match at.smoothing {
        None => Ok(()),
        Some(mu) => Err(Error::Unsupported {
            what: format!("a second derivative with smoothing = {mu:e}"),
            advice: "take second derivatives of the solution itself (smoothing = None)",
        }),
    }
}

/// Refuses the first cone that has no second derivative where it is; `number` is what the caller calls it.
pub(crate) fn refuse_cones(cones: &[Cone], active: &ActiveSet, number: impl Fn(usize) -> usize) -> Result<(), Error> {
    let faces = &active.faces;
    for (k, rows) in blocks(cones) {
        let cone = &cones[k];
        let name = cone.name();
        let refused = |reason: &str, advice| {
            let what = format!("a second derivative with cones[{}], {name}, {reason}", number(k));
            Err(Error::Unsupported { what, advice })
        };
        let constant = Faces::of(&faces.curvature[rows]) != Face::Boundary;
        match cone {
            Cone::Zero(_) | Cone::Nonnegative(_) => {}
            Cone::PsdTriangle(_) => {
                return refused("whose eigenvectors move", "take central differences of vjp instead");
            }
            Cone::SecondOrder(_) | Cone::Exponential | Cone::DualExponential | Cone::Power(_) | Cone::DualPower(_)
                if faces.weak[k] =>
            {
                return refused("on a kink", "move the data off the kink, or take central differences of vjp");
            }
            Cone::Power(_) | Cone::DualPower(_) if faces.bases[k] == Basis::Rows && !constant => {
                return refused("on its edge z = 0", "move the data off the edge, or take central differences of vjp");
            }
            Cone::SecondOrder(_) | Cone::Exponential | Cone::DualExponential | Cone::Power(_) | Cone::DualPower(_) => {}
        }
    }
    Ok(())
}

/// What puts s and y of a block in one unit.
fn unit_of(s: &[f64], y: &[f64]) -> f64 {
    (dot(s, s) / dot(y, y)).sqrt()
}

/// `v = s - unit y` of a change of a block.
fn difference(moved: &SolutionTangent, rows: Range<usize>, unit: f64) -> Vec<f64> {
    rows.map(|i| moved.s[i] - unit * moved.y_cone[i]).collect()
}

/// Adds to the cotangents `c` what the turning boundaries of the cones contribute, for the adjoint `u` of the cotangent
/// `cot` and the tangent `moved` of the solution.
fn through_cones(
    at: At<'_>,
    cot: &Cotangent,
    u: &Adjoint,
    moved: &SolutionTangent,
    c: &mut Cotangent,
) -> Result<(), Error> {
    let (qp, p, faces) = (at.qp, at.point, &at.active.faces);
    c.s = vec![0.0; qp.n_cone()];
    let mut cw = vec![0.0; qp.n_cone()];
    qp.c.mul_add(1.0, &u.w, &mut cw);
    let entry = |v: &[f64], i: usize| v.get(i).copied().unwrap_or(0.0);
    for (k, rows) in blocks(&qp.cones) {
        if !matches!(faces.bases[k], Basis::SecondOrder(_) | Basis::Three(_)) {
            continue;
        }
        let (s, y) = (&p.s[rows.clone()], &p.y_cone[rows.clone()]);
        let unit = unit_of(s, y);
        let y: Vec<f64> = y.iter().map(|y| unit * y).collect();
        let v = difference(moved, rows.clone(), unit);
        let along = |i: usize| entry(&cot.s, i) - u.cone[i] + (entry(&cot.y_cone, i) - cw[i]) / unit;
        let along: Vec<f64> = rows.clone().map(along).collect();
        // row 0 is pinned or free, the next one is curved
        let curvature = unit * faces.curvature[rows.start + 1];
        qp.cones[k].second_projection((s, &y), curvature, (&v, &along), &mut c.s[rows.clone()]);
        rows.for_each(|i| c.y_cone[i] -= unit * c.s[i]);
    }
    finite(c)
}

/// What the turning boundaries add to the change of the change of the solution, for two changes of it, as the cotangents
/// `(c_s, c_y)` of the system of the adjoint.
fn along_cones(at: At<'_>, a: &SolutionTangent, b: &SolutionTangent, c: &mut Cotangent) -> Result<(), Error> {
    let (qp, p, faces) = (at.qp, at.point, &at.active.faces);
    c.s = vec![0.0; qp.n_cone()];
    for (k, rows) in blocks(&qp.cones) {
        if !matches!(faces.bases[k], Basis::SecondOrder(_) | Basis::Three(_)) {
            continue;
        }
        let (s, y) = (&p.s[rows.clone()], &p.y_cone[rows.clone()]);
        let unit = unit_of(s, y);
        let y: Vec<f64> = y.iter().map(|y| unit * y).collect();
        let (a, b) = (difference(a, rows.clone(), unit), difference(b, rows.clone(), unit));
        let curvature = unit * faces.curvature[rows.start + 1];
        qp.cones[k].second_projection((s, &y), curvature, (&a, &b), &mut c.s[rows.clone()]);
        for i in rows {
            c.y_cone[i] -= c.s[i];
            c.s[i] /= unit;
        }
    }
    finite(c)
}

fn finite(c: &Cotangent) -> Result<(), Error> {
    if c.s.iter().chain(&c.y_cone).any(|e| !e.is_finite()) {
        return Err(Error::Backward { reason: "a number overflowed in a second derivative".to_owned() });
    }
    Ok(())
}

fn worse(a: Accuracy, b: Accuracy) -> Accuracy {
    Accuracy {
        residual: a.residual.max(b.residual),
        deficient: a.deficient || b.deficient,
        iterative: a.iterative || b.iterative,
    }
}

/// `out -= d(matrix) v` or its transpose, for the blocks of a direction that are there.
fn sub(m: Option<&Matrix>, v: &[f64], out: &mut [f64]) {
    if let Some(m) = m {
        m.mul_add(-1.0, v, out);
    }
}

fn tsub(m: Option<&Matrix>, v: &[f64], out: &mut [f64]) {
    if let Some(m) = m {
        m.tmul_add(-1.0, v, out);
    }
}

/// What bound variable `i` is held at moves by, along a direction.
fn bound_tangent(qp: &Qp, at: At<'_>, t: &Tangent, i: usize) -> f64 {
    if at.active.bound[i] == Side::Free || qp.n() == 0 {
        return 0.0;
    }
    let (lb, ub) = shares(at.active.bound[i], at.point.z_box[i]);
    let entry = |v: &Option<Vec<f64>>| v.as_ref().map_or(0.0, |v| v[i]);
    lb * entry(&t.lb) + ub * entry(&t.ub)
}

/// The derivative of `<s, outputs' dependence on the point>`: `(c_x, c_y, c_z, c_box)` for `w, u_y, u_z` and the cotangent
/// `g` of the objective.
fn through_point(at: At<'_>, t: &Tangent, u: &Adjoint, g: f64) -> Cotangent {
    let (qp, p) = (at.qp, at.point);
    let shifted = |u: &[f64], s: &[f64]| -> Vec<f64> { u.iter().zip(s).map(|(u, s)| u - g * s).collect() };
    let (w, uy, uz) = (shifted(&u.w, &p.x), shifted(&u.y, &p.y), shifted(&u.z, &p.z));
    let uc = shifted(&u.cone, &p.y_cone);
    let scaled = |v: &Option<Vec<f64>>, len: usize, g: f64| match v {
        Some(v) => v.iter().map(|v| g * v).collect(),
        None => vec![0.0; len],
    };
    let mut c = Cotangent {
        x: scaled(&t.q, qp.n(), g),
        y: scaled(&t.b, p.y.len(), -g),
        z: scaled(&t.h, p.z.len(), -g),
        z_box: (0..qp.n()).map(|i| -g * bound_tangent(qp, at, t, i)).collect(),
        s: Vec::new(),
        y_cone: scaled(&t.d, p.y_cone.len(), -g),
        objective: 0.0,
    };
    if let Some(dp) = &t.p {
        qp.p.sub_direction(dp, &w, &mut c.x);
    }
    tsub(t.a.as_ref(), &uy, &mut c.x);
    tsub(t.g.as_ref(), &uz, &mut c.x);
    tsub(t.c.as_ref(), &uc, &mut c.x);
    sub(t.c.as_ref(), &w, &mut c.y_cone);
    sub(t.a.as_ref(), &w, &mut c.y);
    sub(t.g.as_ref(), &w, &mut c.z);
    c
}

impl Differentiator {
    /// The derivative of the gradient `vjp(cot)` along the direction `t` of the data, the cotangent held: a product with a
    /// symmetric matrix, the Hessian of `<cot, outputs>` with respect to the data.
    pub fn second_vjp(
        &mut self,
        at: At<'_>,
        cot: &Cotangent,
        t: &Tangent,
        wrt: Wrt,
        out: &mut Gradient,
    ) -> Result<Accuracy, Error> {
        refuse_smoothing(at)?;
        refuse_cones(&at.qp.cones, at.active, |k| k)?;
        let first = self.vjp(at, cot, Wrt::NONE, out)?;
        let u = self.adjoint.clone();
        let mut moved = SolutionTangent::default();
        let second = self.jvp(at, t, &mut moved)?;
        let mut c = through_point(at, t, &u, cot.objective);
        if !at.qp.cones.is_empty() {
            through_cones(at, cot, &u, &moved, &mut c)?;
        }
        let third = self.vjp(at, &c, wrt, out)?;
        let n = at.qp.n();
        let SolutionTangent { x, y, z, s, y_cone, .. } = moved;
        let tangent = Point { x, y, z, z_box: vec![0.0; n], s, y_cone };
        let matrices = Wrt { p: wrt.p, a: wrt.a, g: wrt.g, c: wrt.c, ..Wrt::NONE };
        let mut through_k = Gradient::default();
        assemble(at.qp, &tangent, &u, matrices, Envelope::default(), &mut through_k);
        out.add(&through_k);
        // a factored P is quadratic in F: the direction itself moves with F
        if let (Some(dp), Some(dl_dp)) = (&t.p, &mut out.p) {
            let w: Vec<f64> = u.w.iter().zip(&at.point.x).map(|(w, x)| w - 0.5 * cot.objective * x).collect();
            dp.add_second_gradient(&w, &at.point.x, dl_dp);
        }
        out.check_finite(false)?;
        Ok(worse(worse(first, second), third))
    }

    /// The derivative of the tangent `jvp(t)` along another direction `along`, `t` held: symmetric in the two.
    pub fn second_jvp(
        &mut self,
        at: At<'_>,
        t: &Tangent,
        along: &Tangent,
        out: &mut SolutionTangent,
    ) -> Result<Accuracy, Error> {
        refuse_smoothing(at)?;
        refuse_cones(&at.qp.cones, at.active, |k| k)?;
        let (mut a, mut b) = (SolutionTangent::default(), SolutionTangent::default());
        let first = self.jvp(at, t, &mut a)?;
        let second = self.jvp(at, along, &mut b)?;
        let (qp, p, m) = (at.qp, at.point, at.qp.n_equality());
        // K a' = dr - dK t, the system of an adjoint with these cotangents
        let mut c = Cotangent {
            x: vec![0.0; qp.n()],
            y: vec![0.0; m],
            z: vec![0.0; qp.n_inequality()],
            y_cone: vec![0.0; qp.n_cone()],
            ..Cotangent::default()
        };
        for (d, s) in [(t, &b), (along, &a)] {
            if let Some(dp) = &d.p {
                qp.p.sub_direction(dp, &s.x, &mut c.x);
            }
            for (matrix, multiplier, rows) in
                [(&d.a, &s.y, &mut c.y), (&d.g, &s.z, &mut c.z), (&d.c, &s.y_cone, &mut c.y_cone)]
            {
                tsub(matrix.as_ref(), multiplier, &mut c.x);
                sub(matrix.as_ref(), &s.x, rows);
            }
        }
        let rows = c.y_cone.clone();
        // the objective's first derivative along t is that of the Lagrangian; here is how it moves
        let nothing = Adjoint {
            w: vec![0.0; qp.n()],
            y: vec![0.0; m],
            z: vec![0.0; p.z.len()],
            cone: vec![0.0; qp.n_cone()],
            ..Adjoint::default()
        };
        let l = through_point(at, t, &nothing, 1.0);
        let pairs = [(&l.x, &b.x), (&l.y, &b.y), (&l.z, &b.z), (&l.z_box, &b.z_box), (&l.y_cone, &b.y_cone)];
        let mut objective: f64 = pairs.into_iter().map(|(l, b)| dot(l, b)).sum();
        let force = t.p.as_ref().zip(along.p.as_ref()).and_then(|(dp, ep)| dp.second_direction(ep, &p.x));
        if let Some(force) = force {
            objective += 0.5 * dot(&force, &p.x);
            c.x.iter_mut().zip(&force).for_each(|(w, f)| *w -= f);
        }
        if !qp.cones.is_empty() {
            along_cones(at, &a, &b, &mut c)?;
        }
        // neither the gradient nor its envelope is asked for: the adjoint of these cotangents is the change itself
        let third = self.vjp(at, &c, Wrt::NONE, &mut Gradient::default())?;
        out.x.clone_from(&self.adjoint.w);
        out.y.clone_from(&self.adjoint.y);
        out.z.clone_from(&self.adjoint.z);
        out.z_box.clone_from(&self.u_box);
        out.y_cone.clone_from(&self.adjoint.cone);
        out.s = rows;
        qp.c.mul_add(-1.0, &out.x, &mut out.s);
        out.objective = objective;
        out.check_finite()?;
        Ok(worse(worse(first, second), third))
    }
}
