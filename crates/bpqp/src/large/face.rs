//! The linear system of the active set, by products: the program whose constraints are the active rows and bounds alone.
//!
//! ```text
//! [P_FF  C_JF'] [w]   [r]
//! [C_JF  0    ] [v] = [s]        F: free variables, J: equalities and active inequalities
//! ```
//!
//! It is solved by MINRES with `diag(H, S)` in front, `H` the curvature of each variable and `S` the diagonal of
//! `C H^-1 C'`, or all of it where there are few rows: were `P` diagonal, three steps would then be exact.

use super::few::Few;
use super::krylov::{Minres, Symmetric, minres};
use super::model::Model;
use super::operator::{Step, random};
use crate::matrix::dot;
use crate::thresholds::large::{LEAST_CURVATURE, NULL, PROBES, SINGULAR};

/// Which variables are free and which rows are active, equalities among them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Face {
    pub free: Vec<bool>,
    pub rows: Vec<bool>,
}

pub(super) struct System<'a> {
    model: &'a mut Model,
    face: &'a Face,
    h: Vec<f64>,
    s: Vec<f64>,
    few: Option<Few>,
    y: Vec<f64>,
}

impl<'a> System<'a> {
    pub fn new(model: &'a mut Model, face: &'a Face) -> Step<Self> {
        let units = model.units.clone();
        let (n, m) = (model.n(), model.m());
        let curvature = |j: usize| units.curvature[j].max(LEAST_CURVATURE * units.columns[j]).max(LEAST_CURVATURE);
        let h: Vec<f64> = (0..n).map(|j| if face.free[j] { 1.0 / curvature(j) } else { 0.0 }).collect();
        let few = Few::new(&units.few, &h, &face.rows, |_| 0.0);
        let mut s = vec![1.0; m];
        if few.is_none() && m > 0 {
            let (mut made, mut sum, mut weight) = (vec![0.0; m], vec![0.0; m], 0.0);
            for k in 0..PROBES {
                let mut v = random(1024 + k, n);
                weight += dot(&v, &v) / n.max(1) as f64;
                v.iter_mut().zip(&h).for_each(|(v, h)| *v *= h.sqrt());
                model.c(&v, &mut made)?;
                sum.iter_mut().zip(&made).for_each(|(s, o)| *s += o * o);
            }
            s = sum.iter().map(|v| if *v > 0.0 { weight / v } else { 1.0 }).collect();
        }
        Ok(System { model, face, h, s, few, y: vec![0.0; m] })
    }

    /// Solves for a right-hand side that is 0 outside the face.
    pub fn solve(&mut self, rhs: &[f64], out: &mut [f64], tolerance: f64, most: usize) -> Step<Minres> {
        minres(self, rhs, out, (tolerance, SINGULAR), most)
    }

    /// A vector without structure as right-hand side: where the matrix maps some vector to 0, its part along that stays. What is
    /// left, if anything.
    pub fn null(&mut self, most: usize) -> Step<(Minres, Vec<f64>)> {
        let n = self.model.n();
        let mut rhs = random(4096, n + self.model.m());
        self.mask(&mut rhs);
        let mut out = vec![0.0; rhs.len()];
        let end = self.solve(&rhs, &mut out, NULL, most)?;
        let mut left = vec![0.0; rhs.len()];
        self.apply(&out, &mut left)?;
        left.iter_mut().zip(&rhs).for_each(|(l, r)| *l = r - *l);
        let mut null = vec![0.0; left.len()];
        self.precondition(&left, &mut null);
        Ok((end, null))
    }

    /// Zeros outside the face.
    pub fn mask(&self, v: &mut [f64]) {
        let kept = self.face.free.iter().chain(&self.face.rows);
        v.iter_mut().zip(kept).for_each(|(v, kept)| *v = if *kept { *v } else { 0.0 });
    }
}

impl Symmetric for System<'_> {
    fn apply(&mut self, x: &[f64], out: &mut [f64]) -> Step<()> {
        let n = self.model.n();
        let (w, v) = x.split_at(n);
        let (top, rows) = out.split_at_mut(n);
        self.model.p(w, top)?;
        self.y.copy_from_slice(v);
        self.model.ct_add(&self.y, top)?;
        self.model.c(w, rows)?;
        self.mask(out);
        Ok(())
    }

    fn precondition(&mut self, r: &[f64], out: &mut [f64]) {
        let n = self.model.n();
        out[..n].iter_mut().zip(r.iter().zip(&self.h)).for_each(|(o, (r, h))| *o = r * h);
        match &self.few {
            Some(few) => few.solve(&r[n..], &mut out[n..]),
            None => out[n..].iter_mut().zip(r[n..].iter().zip(&self.s)).for_each(|(o, (r, s))| *o = r * s),
        }
    }
}
