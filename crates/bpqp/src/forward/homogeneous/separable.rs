//! The system where nothing but second-order cones couples the variables: P is a diagonal, beside bounds there are no linear
//! rows, and of a cone the first row has no entry and each other one at most one, as in `|D x - c| <= r`. Then `P + R'H^-1 R`
//! is a diagonal and a column for each cone, `D + V V'`, which a few passes over the variables factor and solve.

use super::program::Program;
use super::scaling::{Kind, Scaling};
use super::system::{Parts, columns};
use crate::kkt::{CholeskyScratch, solve_lower, solve_lower_transposed};
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
    scratch: CholeskyScratch,
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
            scratch: CholeskyScratch::default(),
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
        self.scratch.factor(self.s.as_mut()).is_ok()
    }

    pub fn solve(&mut self, program: &mut Program, scaling: &mut Scaling, [x, _, z]: Parts<'_>) {
        self.hk.copy_from_slice(z);
        scaling.divide(&mut self.hk);
        program.r_tmul_add(1.0, &self.hk, x);
        self.a.iter_mut().enumerate().for_each(|(k, a)| *a = dot(self.w.col_as_slice(k), x));
        solve_lower(self.s.as_ref(), &mut self.a);
        solve_lower_transposed(self.s.as_ref(), &mut self.a);
        x.iter_mut().zip(&self.over).for_each(|(x, over)| *x *= over);
        for (k, a) in self.a.iter().enumerate() {
            x.iter_mut().zip(self.w.col_as_slice(k)).for_each(|(x, w)| *x -= w * a);
        }
        z.iter_mut().for_each(|z| *z = -*z);
        program.r_mul_add(1.0, x, z);
        scaling.divide(z);
    }
}
