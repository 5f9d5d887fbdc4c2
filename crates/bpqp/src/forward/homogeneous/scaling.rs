//! Nesterov-Todd scaling of a product of symmetric cones: the symmetric `W` with `W z = W^-1 s = lambda`, and `H = W'W`
//! (Nesterov & Todd, "Self-scaled barriers and interior-point methods for convex programming", 1997; formulas for each cone
//! as in Vandenberghe, "The CVXOPT linear and quadratic cone program solvers", 2010).

use super::second_order::{self, SecondOrder};
use super::semidefinite::Semidefinite;
use crate::cones::{Cone, blocks};
use std::ops::Range;

/// What is kept of a curved cone.
pub(super) enum Kind {
    SecondOrder(SecondOrder),
    Semidefinite(Box<Semidefinite>),
}

/// A curved cone and its rows.
pub(super) struct Block {
    pub rows: Range<usize>,
    pub kind: Kind,
}

/// The scaling at a pair of interior points; the first rows are those of an orthant.
pub(super) struct Scaling {
    pub linear: usize,
    pub blocks: Vec<Block>,
    pub degree: f64,
    /// Of the orthant `s/z`; of second-order cones the point `w`, `w'Jw = 1`.
    pub w: Vec<f64>,
    lambda: Vec<f64>,
    left: Vec<f64>,
    right: Vec<f64>,
}

/// The least of the eigenvalues, and the sum of the positive ones.
#[derive(Debug, Clone, Copy)]
pub(super) struct Margin {
    pub least: f64,
    pub positive: f64,
}

impl Margin {
    fn add(&mut self, value: f64) {
        self.least = self.least.min(value);
        self.positive += value.max(0.0);
    }
}

impl Scaling {
    /// For an orthant of this order and these cones after it; `None` if one is not symmetric.
    pub fn new(linear: usize, cones: &[Cone]) -> Option<Self> {
        let (mut out, mut degree, mut end) = (Vec::new(), linear, linear);
        for (k, rows) in blocks(cones) {
            let rows = linear + rows.start..linear + rows.end;
            end = rows.end;
            let kind = match cones[k] {
                Cone::SecondOrder(_) => Kind::SecondOrder(SecondOrder::default()),
                Cone::PsdTriangle(n) => Kind::Semidefinite(Box::new(Semidefinite::new(n))),
                Cone::Zero(_)
                | Cone::Nonnegative(_)
                | Cone::Exponential
                | Cone::Power(_)
                | Cone::DualExponential
                | Cone::DualPower(_) => return None,
            };
            if rows.is_empty() {
                continue;
            }
            degree += if let Cone::PsdTriangle(n) = cones[k] { n } else { 1 };
            out.push(Block { rows, kind });
        }
        let v = || vec![0.0; end];
        Some(Scaling { linear, blocks: out, degree: degree as f64, w: v(), lambda: v(), left: v(), right: v() })
    }

    /// `W = I`.
    pub fn unit(&mut self) {
        self.w[..self.linear].fill(1.0);
        for block in &mut self.blocks {
            match &mut block.kind {
                Kind::SecondOrder(own) => own.unit(&mut self.w[block.rows.clone()]),
                Kind::Semidefinite(own) => own.unit(),
            }
        }
    }

    /// The scaling at these points; false if one of them is not inside.
    pub fn update(&mut self, s: &[f64], z: &[f64]) -> bool {
        for i in 0..self.linear {
            if !(s[i] > 0.0 && z[i] > 0.0) {
                return false;
            }
            self.w[i] = s[i] / z[i];
        }
        for block in &mut self.blocks {
            let rows = block.rows.clone();
            let (s, z) = (&s[rows.clone()], &z[rows.clone()]);
            let ok = match &mut block.kind {
                Kind::SecondOrder(own) => own.update(s, z, &mut self.w[rows.clone()], &mut self.lambda[rows]),
                Kind::Semidefinite(own) => own.update(s, z),
            };
            if !ok {
                return false;
            }
        }
        true
    }

    /// `out = H z`.
    pub fn mul(&mut self, z: &[f64], out: &mut [f64]) {
        for i in 0..self.linear {
            out[i] = self.w[i] * z[i];
        }
        for block in &mut self.blocks {
            let rows = block.rows.clone();
            let (z, out) = (&z[rows.clone()], &mut out[rows.clone()]);
            match &mut block.kind {
                Kind::SecondOrder(own) => own.mul(&self.w[rows], z, out),
                Kind::Semidefinite(own) => own.mul(z, out),
            }
        }
    }

    /// `v = H^-1 v`.
    pub fn divide(&mut self, v: &mut [f64]) {
        for i in 0..self.linear {
            v[i] /= self.w[i];
        }
        for block in &mut self.blocks {
            let rows = block.rows.clone();
            let v = &mut v[rows.clone()];
            match &mut block.kind {
                Kind::SecondOrder(own) => own.divide(&self.w[rows], v),
                Kind::Semidefinite(_) if v.iter().all(|v| *v == 0.0) => {}
                Kind::Semidefinite(own) => own.divide(v),
            }
        }
    }

    /// `v = W^-1 v`.
    pub fn unscale(&mut self, v: &mut [f64]) {
        for i in 0..self.linear {
            v[i] /= self.w[i].sqrt();
        }
        for block in &mut self.blocks {
            let rows = block.rows.clone();
            let v = &mut v[rows.clone()];
            match &mut block.kind {
                Kind::SecondOrder(own) => own.unscale(&self.w[rows], v),
                Kind::Semidefinite(own) => own.unscale(v),
            }
        }
    }

    /// The right-hand side of complementarity for products `target` that takes the second order of the step `(ds, dz)` into
    /// account, to this part: `s + W'(lambda \ (part (W^-1 ds) o (W dz) - target e))`.
    pub fn corrected(
        &mut self,
        (s, z): (&[f64], &[f64]),
        (ds, dz): (&[f64], &[f64]),
        part: f64,
        target: f64,
        out: &mut [f64],
    ) {
        for i in 0..self.linear {
            out[i] = s[i] + (part * ds[i] * dz[i] - target) / z[i];
        }
        let Scaling { blocks, w, lambda, left, right, .. } = self;
        for block in blocks {
            let rows = block.rows.clone();
            let (s, ds, dz) = (&s[rows.clone()], &ds[rows.clone()], &dz[rows.clone()]);
            let out = &mut out[rows.clone()];
            match &mut block.kind {
                Kind::SecondOrder(own) => {
                    let (w, lambda) = (&w[rows.clone()], &lambda[rows.clone()]);
                    let (left, right) = (&mut left[rows.clone()], &mut right[rows]);
                    own.corrected((w, lambda), (ds, dz), (part, target), (left, right), out);
                }
                Kind::Semidefinite(own) => own.corrected((ds, dz), (part, target), out),
            }
            out.iter_mut().zip(s).for_each(|(o, s)| *o += s);
        }
    }

    /// The longest step up to `most` that stays inside.
    pub fn step(&mut self, (s, z): (&[f64], &[f64]), (ds, dz): (&[f64], &[f64]), most: f64) -> f64 {
        let mut step = most;
        for (v, d) in s[..self.linear].iter().zip(ds).chain(z[..self.linear].iter().zip(dz)) {
            if *d < 0.0 {
                step = step.min(-v / d);
            }
        }
        for block in &mut self.blocks {
            let rows = block.rows.clone();
            match &mut block.kind {
                Kind::SecondOrder(_) => {
                    step = step.min(second_order::step(&s[rows.clone()], &ds[rows.clone()]));
                    step = step.min(second_order::step(&z[rows.clone()], &dz[rows]));
                }
                Kind::Semidefinite(own) => step = step.min(own.step(&ds[rows.clone()], &dz[rows])),
            }
        }
        step
    }

    /// How far inside `v` is.
    pub fn margin(&mut self, v: &[f64]) -> Margin {
        let mut margin = Margin { least: f64::INFINITY, positive: 0.0 };
        v[..self.linear].iter().for_each(|v| margin.add(*v));
        for block in &mut self.blocks {
            let v = &v[block.rows.clone()];
            match &mut block.kind {
                Kind::SecondOrder(_) => margin.add(v[0] - second_order::norm(&v[1..])),
                Kind::Semidefinite(own) => own.eigenvalues(v, |value| margin.add(value)),
            }
        }
        margin
    }

    /// `v += by e`.
    pub fn shift(&self, by: f64, v: &mut [f64]) {
        v[..self.linear].iter_mut().for_each(|v| *v += by);
        for block in &self.blocks {
            let v = &mut v[block.rows.clone()];
            match &block.kind {
                Kind::SecondOrder(_) => v[0] += by,
                Kind::Semidefinite(own) => own.shift(by, v),
            }
        }
    }
}
