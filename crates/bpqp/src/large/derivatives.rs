//! Derivatives: the linear system of the active set, its pinned variables moved to the right-hand side.
//!
//! With `K` the matrix of the conditions `P x + q + C'y + E'u = 0`, `C x = c`, `E x = bound` of the active rows and bounds, a
//! cotangent `g` gives `K (w, v, t) = -g`, and
//!
//! ```text
//! dL/dq = w     dL/db, dh = -v     dL/dlb, dub = -t     dL/dP = (w x' + x w')/2     dL/dA = v x' + y w'
//! ```
//!
//! Gradients of matrices have rank 2 and stay in that form: nobody stores what the matrix itself was too large for.

use super::face::System;
use super::operator::norm;
use super::solution::{At, LargeSolution, ended};
use crate::thresholds::large::{BACKWARD_STEPS, CORRECTIONS, HOPELESS, REFINED};
use crate::{Cotangent, Error, SolutionTangent, Verdict};

/// The matrix `sum_k left_k right_k'`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outer {
    /// Columns, one for each term.
    pub left: Vec<Vec<f64>>,
    /// Rows, one for each term.
    pub right: Vec<Vec<f64>>,
}

impl Outer {
    /// One entry.
    pub fn at(&self, row: usize, col: usize) -> f64 {
        self.left.iter().zip(&self.right).map(|(l, r)| l[row] * r[col]).sum()
    }
}

/// Gradients of a loss with respect to the data of a large program.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct LargeGradient {
    /// Symmetric.
    pub p: Outer,
    pub q: Vec<f64>,
    pub a: Outer,
    pub b: Vec<f64>,
    pub g: Outer,
    pub h: Vec<f64>,
    pub lb: Vec<f64>,
    pub ub: Vec<f64>,
    /// What is left of the backward system, relative to the cotangents.
    pub residual: f64,
    /// How far they may be trusted.
    pub verdict: Verdict,
}

/// A direction of the vectors of a large program; an empty one stands for zeros. A direction of a matrix is one of vectors:
/// `dP x` and `dA'y + dG'z` join `q`, `-dA x` joins `b` and `-dG x` joins `h`.
#[derive(Debug, Clone, Default, PartialEq)]
#[allow(missing_docs)]
pub struct LargeTangent {
    pub q: Vec<f64>,
    pub b: Vec<f64>,
    pub h: Vec<f64>,
    pub lb: Vec<f64>,
    pub ub: Vec<f64>,
}

/// The solution of `K (w, v, t) = r`, in the units of the user, and what is left.
struct Solved {
    w: Vec<f64>,
    v: Vec<f64>,
    t: Vec<f64>,
    residual: f64,
}

fn check(argument: &'static str, v: &[f64], expected: usize) -> Result<(), Error> {
    if !v.is_empty() && v.len() != expected {
        return Err(Error::length(argument, v.len(), expected, "it has the shape of its vector, or is empty"));
    }
    crate::error::check_finite(argument, v)
}

fn entry(v: &[f64], i: usize) -> f64 {
    v.get(i).copied().unwrap_or(0.0)
}

impl LargeSolution {
    fn differentiable(&self) -> Result<&At, Error> {
        let at = self.at.as_ref().filter(|_| self.ok());
        at.ok_or(Error::NoSolution { status: self.status })
    }

    /// Gradients from the derivatives of a loss with respect to the outputs. Solved for to a relative residual of 1e-11, or as
    /// far as 20,000 products with each matrix lead; the verdict is `Untrusted` where that is above 1e-7.
    pub fn vjp(&self, cotangent: &Cotangent) -> Result<LargeGradient, Error> {
        let at = self.differentiable()?;
        let (n, m, mi) = (self.x.len(), self.y.len(), self.z.len());
        check("cotangent of x", &cotangent.x, n)?;
        check("cotangent of y", &cotangent.y, m)?;
        check("cotangent of z", &cotangent.z, mi)?;
        check("cotangent of z_box", &cotangent.z_box, n)?;
        crate::error::check_finite("cotangent of objective", &[cotangent.objective])?;
        if !(cotangent.s.is_empty() && cotangent.y_cone.is_empty()) {
            let what = "a cotangent of a cone".to_owned();
            return Err(Error::Unsupported { what, advice: "a large program has no curved cones" });
        }
        let top: Vec<f64> = (0..n).map(|j| -entry(&cotangent.x, j)).collect();
        let rows: Vec<f64> =
            (0..m + mi).map(|i| -if i < m { entry(&cotangent.y, i) } else { entry(&cotangent.z, i - m) }).collect();
        let held: Vec<f64> = (0..n).map(|j| -entry(&cotangent.z_box, j)).collect();
        let Solved { w, v, t, residual } = self.solve(at, &top, &rows, &held)?;
        self.assemble(cotangent.objective, (w, v, t), residual)
    }

    fn assemble(
        &self,
        objective: f64,
        (w, v, t): (Vec<f64>, Vec<f64>, Vec<f64>),
        residual: f64,
    ) -> Result<LargeGradient, Error> {
        let (n, m) = (self.x.len(), self.y.len());
        // the optimal value moves with the data as the Lagrangian does
        let rows: Vec<f64> =
            (0..v.len()).map(|i| v[i] + objective * if i < m { self.y[i] } else { self.z[i - m] }).collect();
        let outer = |range: std::ops::Range<usize>, y: &[f64]| Outer {
            left: vec![rows[range].to_vec(), y.to_vec()],
            right: vec![self.x.clone(), w.clone()],
        };
        let half: Vec<f64> = w.iter().zip(&self.x).map(|(w, x)| 0.5 * (w + objective * x)).collect();
        let quarter: Vec<f64> = self.x.iter().map(|x| 0.5 * x).collect();
        let (mut lb, mut ub) = (vec![0.0; n], vec![0.0; n]);
        for j in 0..n {
            let moved = -(t[j] + objective * self.z_box[j]);
            let (low, high) = self.sides(j);
            (lb[j], ub[j]) = (low * moved, high * moved);
        }
        let gradient = LargeGradient {
            p: Outer { left: vec![half, quarter], right: vec![self.x.clone(), w.clone()] },
            q: w.iter().zip(&self.x).map(|(w, x)| w + objective * x).collect(),
            a: outer(0..m, &self.y),
            b: rows[..m].iter().map(|v| -v).collect(),
            g: outer(m..rows.len(), &self.z),
            h: rows[m..].iter().map(|v| -v).collect(),
            lb,
            ub,
            residual,
            verdict: self.judge(residual)?,
        };
        Ok(gradient)
    }

    /// How a variable that is held shares between its bounds; both halves of `lb = ub` where no multiplier tells.
    fn sides(&self, j: usize) -> (f64, f64) {
        let (lb, ub, z) = (self.program.lb[j], self.program.ub[j], self.z_box[j]);
        match self.at.as_ref().is_some_and(|at| at.face.free[j]) {
            true => (0.0, 0.0),
            false if lb == ub && z == 0.0 => (0.5, 0.5),
            false if z > 0.0 || (z == 0.0 && self.x[j] == ub) => (0.0, 1.0),
            false => (1.0, 0.0),
        }
    }

    /// The change of the outputs along a direction of the data.
    pub fn jvp(&self, direction: &LargeTangent) -> Result<(SolutionTangent, Verdict), Error> {
        let at = self.differentiable()?;
        let (n, m, mi) = (self.x.len(), self.y.len(), self.z.len());
        check("tangent of q", &direction.q, n)?;
        check("tangent of b", &direction.b, m)?;
        check("tangent of h", &direction.h, mi)?;
        check("tangent of lb", &direction.lb, n)?;
        check("tangent of ub", &direction.ub, n)?;
        let top: Vec<f64> = (0..n).map(|j| -entry(&direction.q, j)).collect();
        let rows: Vec<f64> =
            (0..m + mi).map(|i| if i < m { entry(&direction.b, i) } else { entry(&direction.h, i - m) }).collect();
        let moved = |j: usize| {
            let (low, high) = self.sides(j);
            low * entry(&direction.lb, j) + high * entry(&direction.ub, j)
        };
        let held: Vec<f64> = (0..n).map(moved).collect();
        let Solved { w, v, t, residual } = self.solve(at, &top, &rows, &held)?;
        let mut objective = 0.0;
        (0..n).for_each(|j| objective += self.x[j] * entry(&direction.q, j) - self.z_box[j] * held[j]);
        (0..m).for_each(|i| objective -= self.y[i] * rows[i]);
        (0..mi).for_each(|i| objective -= self.z[i] * rows[m + i]);
        let (y, z) = (v[..m].to_vec(), v[m..].to_vec());
        let tangent = SolutionTangent { x: w, y, z, z_box: t, objective, ..SolutionTangent::default() };
        Ok((tangent, self.judge(residual)?))
    }

    /// `K (w, v, t) = (top, rows, held)`; what does not belong to the active set is ignored.
    fn solve(&self, at: &At, top: &[f64], rows: &[f64], held: &[f64]) -> Result<Solved, Error> {
        let (n, m) = (top.len(), rows.len());
        let mut model = self.model(at);
        let units = at.units.clone();
        let face = &at.face;
        // scaled: x = D x^, y = E y^ / c, z_box = u^ / (d c)
        let (d, e, cost) = (&units.d, &units.e, units.cost);
        let mut x: Vec<f64> = (0..n).map(|j| if face.free[j] { 0.0 } else { held[j] / d[j] }).collect();
        let mut y = vec![0.0; m];
        let (mut px, mut cx, mut cty) = (vec![0.0; n], vec![0.0; m], vec![0.0; n]);
        let mut t = vec![0.0; n];
        let (mut rhs, mut step) = (vec![0.0; n + m], vec![0.0; n + m]);
        let (mut last, mut scale) = (f64::INFINITY, 0.0_f64);
        for round in 0..=CORRECTIONS {
            model.p(&x, &mut px).map_err(ended)?;
            model.c(&x, &mut cx).map_err(ended)?;
            cty.fill(0.0);
            model.ct_add(&y, &mut cty).map_err(ended)?;
            for j in 0..n {
                let left = top[j] * d[j] * cost - px[j] - cty[j];
                (rhs[j], t[j]) = if face.free[j] { (left, 0.0) } else { (0.0, left) };
            }
            for i in 0..m {
                rhs[n + i] = if face.rows[i] { rows[i] * e[i] - cx[i] } else { 0.0 };
            }
            let left = norm(&rhs);
            if round == 0 {
                scale = left;
            }
            if left <= REFINED * scale || left > HOPELESS * last || round == CORRECTIONS {
                last = left.min(last);
                break;
            }
            last = left;
            let mut system = System::new(&mut model, face).map_err(ended)?;
            // a correction has less to find
            let tolerance = (0.1 * REFINED * scale / left).clamp(REFINED, 0.1);
            system.solve(&rhs, &mut step, tolerance, BACKWARD_STEPS).map_err(ended)?;
            x.iter_mut().zip(&step[..n]).for_each(|(x, s)| *x += s);
            y.iter_mut().zip(&step[n..]).for_each(|(y, s)| *y += s);
        }
        let residual = if scale > 0.0 { last / scale } else { 0.0 };
        Ok(Solved {
            w: x.iter().zip(d).map(|(x, d)| x * d).collect(),
            v: y.iter().zip(e).map(|(y, e)| y * e / cost).collect(),
            t: t.iter().zip(d).map(|(t, d)| t / (d * cost)).collect(),
            residual,
        })
    }
}
