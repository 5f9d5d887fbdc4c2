//! The system where nothing but second-order cones couples the variables: P is a diagonal, beside bounds there are no linear
//! rows, and of a cone the first row has no entry and each other one at most one, as in `|D x - c| <= r`. Then `P + R'H^-1 R`
//! is a diagonal and a column for each cone, `D + V V'`, which a few passes over the variables factor and solve.

use super::program::Program;
use super::scaling::{Kind, Scaling};
use super::system::{Parts, columns};
use crate::matrix::{Hessian, dot};
use faer::Mat;
use std::ops::Range;

/// Cones at most: each is a column over all variables.
const CONES: usize = 8;
/// Least entry of the diagonal.
const RHO: f64 = 1e-10;

/// The only entry of a row of a cone.
struct Entry {
    row: usize,
    column: usize,
    value: f64,
}

pub(super) struct Separable {
    entries: Vec<Entry>,
    /// Those of each cone.
    cones: Vec<Range<usize>>,
    /// The diagonal of P; the reciprocals of D.
    p: Vec<f64>,
    over: Vec<f64>,
    /// `V` and `D^-1 V`, and the factor of `I + V'D^-1 V`.
    v: Mat<f64>,
    w: Mat<f64>,
    s: Mat<f64>,
    a: Vec<f64>,
    hk: Vec<f64>,
}

/// The entries of the rows of all cones, and which are whose; `None` if they are not of this form.
fn entries(program: &Program, scaling: &Scaling) -> Option<(Vec<Entry>, Vec<Range<usize>>)> {
    let transposed = columns(&program.c, scaling, true).0.transpose();
    let (mut entries, mut cones) = (Vec::new(), Vec::new());
    for block in &scaling.blocks {
        let first = entries.len();
        for row in block.rows.clone() {
            let own = transposed.indptr()[row - scaling.linear]..transposed.indptr()[row - scaling.linear + 1];
            if own.len() > usize::from(row > block.rows.start) {
                return None;
            }
            entries.extend(own.map(|k| Entry { row, column: transposed.indices()[k], value: transposed.values()[k] }));
        }
        cones.push(first..entries.len());
    }
    Some((entries, cones))
}

impl Separable {
    /// `None` if the program is not of this form.
    pub fn new(program: &Program, scaling: &Scaling) -> Option<Self> {
        let round = scaling.blocks.iter().all(|block| matches!(block.kind, Kind::SecondOrder(_)));
        let alone = program.b.is_empty() && program.rows.inequality.is_empty();
        let count = scaling.blocks.len();
        if !(round && alone && matches!(*program.p, Hessian::Zero(_) | Hessian::Diagonal(_)) && count <= CONES) {
            return None;
        }
        let (entries, cones) = entries(program, scaling)?;
        let n = program.n();
        let mut out = Separable {
            entries,
            cones,
            p: Vec::new(),
            over: vec![0.0; n],
            v: Mat::zeros(n, count),
            w: Mat::zeros(n, count),
            s: Mat::zeros(count, count),
            a: vec![0.0; count],
            hk: vec![0.0; program.h.len()],
        };
        program.p.diagonal_into(&mut out.p);
        Some(out)
    }

    /// Takes the numbers.
    pub fn load(&mut self, program: &Program, scaling: &Scaling, rows: bool) {
        program.p.diagonal_into(&mut self.p);
        if let Some((entries, _)) = if rows { entries(program, scaling) } else { None } {
            self.entries = entries;
        }
    }

    pub fn factor(&mut self, program: &Program, scaling: &Scaling) -> bool {
        let d = &mut self.over;
        d.copy_from_slice(&self.p);
        let bounds = program.rows.lower.iter().chain(&program.rows.upper);
        bounds.zip(&scaling.w).for_each(|(&i, h)| d[i] += 1.0 / h);
        for (k, (block, range)) in scaling.blocks.iter().zip(&self.cones).enumerate() {
            let Kind::SecondOrder(own) = &block.kind else { return false };
            let v = self.v.col_as_slice_mut(k);
            v.fill(0.0);
            let over = 1.0 / own.eta;
            for Entry { row, column, value } in &self.entries[range.clone()] {
                let entry = over * value;
                d[*column] += entry * entry;
                v[*column] -= std::f64::consts::SQRT_2 * scaling.w[*row] * entry;
            }
        }
        d.iter_mut().for_each(|d| *d = 1.0 / d.max(RHO));
        for k in 0..self.cones.len() {
            let (v, w) = (self.v.col_as_slice(k), self.w.col_as_slice_mut(k));
            w.iter_mut().zip(v.iter().zip(&self.over)).for_each(|(w, (v, over))| *w = v * over);
            for i in k..self.cones.len() {
                self.s[(i, k)] = f64::from(u8::from(i == k)) + dot(self.v.col_as_slice(i), self.w.col_as_slice(k));
            }
        }
        // a Cholesky factorization of the order of the cones, most often 1
        for k in 0..self.cones.len() {
            let pivot = self.s[(k, k)] - (0..k).map(|l| self.s[(k, l)] * self.s[(k, l)]).sum::<f64>();
            if !(pivot > 0.0 && pivot.is_finite()) {
                return false;
            }
            self.s[(k, k)] = pivot.sqrt();
            for i in k + 1..self.cones.len() {
                let rest = self.s[(i, k)] - (0..k).map(|l| self.s[(i, l)] * self.s[(k, l)]).sum::<f64>();
                self.s[(i, k)] = rest / self.s[(k, k)];
            }
        }
        true
    }

    pub fn solve(&mut self, program: &Program, scaling: &mut Scaling, [x, _, z]: Parts<'_>) {
        self.hk.copy_from_slice(z);
        scaling.divide(&mut self.hk);
        let (lower, upper) = (&program.rows.lower, &program.rows.upper);
        lower.iter().zip(&self.hk).for_each(|(&i, z)| x[i] -= z);
        upper.iter().zip(&self.hk[lower.len()..]).for_each(|(&i, z)| x[i] += z);
        self.entries.iter().for_each(|e| x[e.column] += e.value * self.hk[e.row]);
        self.a.iter_mut().enumerate().for_each(|(k, a)| *a = dot(self.w.col_as_slice(k), x));
        let (s, a, count) = (&self.s, &mut self.a, self.cones.len());
        for k in 0..count {
            a[k] = (a[k] - (0..k).map(|l| s[(k, l)] * a[l]).sum::<f64>()) / s[(k, k)];
        }
        for k in (0..count).rev() {
            a[k] = (a[k] - (k + 1..count).map(|l| s[(l, k)] * a[l]).sum::<f64>()) / s[(k, k)];
        }
        x.iter_mut().zip(&self.over).for_each(|(x, over)| *x *= over);
        for (k, a) in self.a.iter().enumerate() {
            x.iter_mut().zip(self.w.col_as_slice(k)).for_each(|(x, w)| *x -= w * a);
        }
        z.iter_mut().for_each(|z| *z = -*z);
        lower.iter().zip(&mut *z).for_each(|(&i, z)| *z -= x[i]);
        upper.iter().zip(&mut z[lower.len()..]).for_each(|(&i, z)| *z += x[i]);
        self.entries.iter().for_each(|e| z[e.row] += e.value * x[e.column]);
        scaling.divide(z);
    }
}
