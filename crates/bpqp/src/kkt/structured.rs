//! Diagonal and factored Hessians with few constraint rows.
//!
//! With `E = diag(d + dx)` on the free variables, `diag(d) + F F'` is a diagonal Hessian with r more constraint rows:
//!
//! ```text
//! [ E   F   C'  ] [w]   [r]
//! [ F' -I       ] [u] = [0]     so   (R E^-1 R' + diag(I, dc)) (u, v) = R E^-1 r - (0, s),   R = [F'; C]
//! [ C      -dc  ] [v]   [s]
//! ```
//!
//! A factorization costs `n (r + k)^2 + (r + k)^3 / 3` flops and the n x n matrix is never formed.

use super::cholesky::{CholeskyScratch, pivot_ratio, pivots_kept};
use super::dense::DenseKkt;
use super::kernels::{solve_lower, solve_lower_transposed};
use super::range_space::transposed_rows;
use super::{Breakdown, KktFactor};
use crate::matrix::{Hessian, Matrix};
use crate::{Error, Qp};
use faer::linalg::matmul::triangular::{BlockStructure, matmul as triangular_matmul};
use faer::{Accum, Mat, Par};
use std::sync::Arc;

/// Smallest to largest entry of E below which it counts as singular.
const SINGULAR_E: f64 = 1e-14;
/// Smallest part of its diagonal entry that a pivot of the Schur complement may keep.
const SINGULAR_S: f64 = 1e-14;
/// Relative shift of the diagonal of a singular Schur complement.
const REGULARIZE_S: f64 = 1e-8;

/// Factorizations of diagonal-plus-low-rank data.
pub(crate) struct StructuredKkt {
    qp: Qp,
    d: Vec<f64>,
    /// `[F C']`, n x (r + k).
    rows: Mat<f64>,
    rows_of: Option<(Arc<Hessian>, Arc<Matrix>, Arc<Matrix>)>,
    rank: usize,
    dx: Vec<f64>,
    dc: Vec<f64>,
    /// Columns of `rows` that are kept: all of F, then the active rows.
    kept: Vec<usize>,
    free: Vec<usize>,
    inverse: Vec<f64>,
    /// `E^-1/2 R'` on the free variables.
    half: Mat<f64>,
    s: Mat<f64>,
    scratch: CholeskyScratch,
    u: Vec<f64>,
    t: Vec<f64>,
    deficient: bool,
    /// Diagonal of S before its factorization.
    diagonal: Vec<f64>,
    /// Smallest over largest entry of E.
    e_ratio: f64,
    /// Takes over where E is singular.
    dense: Option<DenseKkt>,
    use_dense: bool,
}

impl StructuredKkt {
    pub fn new(qp: &Qp) -> Self {
        let mut out = StructuredKkt {
            qp: qp.clone(),
            d: Vec::new(),
            rows: Mat::zeros(0, 0),
            rows_of: None,
            rank: 0,
            dx: Vec::new(),
            dc: Vec::new(),
            kept: Vec::new(),
            free: Vec::new(),
            inverse: Vec::new(),
            half: Mat::zeros(0, 0),
            s: Mat::zeros(0, 0),
            scratch: CholeskyScratch::default(),
            u: Vec::new(),
            t: Vec::new(),
            deficient: false,
            diagonal: Vec::new(),
            e_ratio: 0.0,
            dense: None,
            use_dense: false,
        };
        out.load_rows(qp);
        out
    }

    fn load_rows(&mut self, qp: &Qp) {
        let same = self
            .rows_of
            .as_ref()
            .is_some_and(|(p, a, g)| Arc::ptr_eq(p, &qp.p) && Arc::ptr_eq(a, &qp.a) && Arc::ptr_eq(g, &qp.g));
        if same {
            return;
        }
        self.d.clear();
        let rows = transposed_rows(qp);
        match &*qp.p {
            Hessian::LowRank { d, f } => {
                self.d.extend_from_slice(d);
                self.rank = f.ncols();
                self.rows = Mat::zeros(qp.n(), self.rank + rows.ncols());
                self.rows.as_mut().subcols_mut(0, self.rank).copy_from(f);
                self.rows.as_mut().subcols_mut(self.rank, rows.ncols()).copy_from(&rows);
            }
            Hessian::Diagonal(d) => {
                self.d.extend_from_slice(d);
                (self.rank, self.rows) = (0, rows);
            }
            other => {
                self.d.extend(other.diagonal());
                (self.rank, self.rows) = (0, rows);
            }
        }
        self.rows_of = Some((qp.p.clone(), qp.a.clone(), qp.g.clone()));
    }

    /// Fills the lower triangle of S, with its diagonal raised by a factor `1 + shift`; returns the largest entry.
    fn fill_schur(&mut self, shift: f64) -> f64 {
        triangular_matmul(
            self.s.as_mut(),
            BlockStructure::TriangularLower,
            Accum::Replace,
            self.half.transpose(),
            BlockStructure::Rectangular,
            self.half.as_ref(),
            BlockStructure::Rectangular,
            1.0,
            Par::Seq,
        );
        let mut largest = 0.0_f64;
        for (j, &col) in self.kept.iter().enumerate() {
            let entry = self.s[(j, j)];
            largest = if entry.is_nan() { f64::NAN } else { largest.max(entry) };
            let own = if col < self.rank { 1.0 } else { self.dc[col - self.rank] };
            let pivot = (entry + own) * (1.0 + shift);
            // an empty row; see `dense.rs` for why this is no tiny number
            self.s[(j, j)] = if pivot == 0.0 { shift } else { pivot };
        }
        largest
    }

    fn factor_dense(&mut self) -> Result<(), Breakdown> {
        self.use_dense = true;
        let dense = self.dense.get_or_insert_with(|| DenseKkt::new(&self.qp));
        dense.load(&self.qp).map_err(|_| Breakdown::NotFinite)?;
        dense.factor(&self.dx, &self.dc)
    }
}

impl KktFactor for StructuredKkt {
    fn load(&mut self, qp: &Qp) -> Result<(), Error> {
        self.load_rows(qp);
        self.qp = qp.clone();
        Ok(())
    }

    fn factor(&mut self, dx: &[f64], dc: &[f64]) -> Result<(), Breakdown> {
        self.use_dense = false;
        self.dx.clear();
        self.dx.extend_from_slice(dx);
        self.dc.clear();
        self.dc.extend_from_slice(dc);
        self.free.clear();
        self.inverse.clear();
        let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
        for (i, &x) in dx.iter().enumerate() {
            if x.is_finite() {
                let e = self.d[i] + x;
                low = low.min(e);
                high = high.max(e);
                self.free.push(i);
                self.inverse.push(1.0 / e);
            }
        }
        if !self.free.is_empty() && (high == 0.0 || low.is_nan() || low <= SINGULAR_E * high) {
            return self.factor_dense();
        }
        self.e_ratio = if self.free.is_empty() { 1.0 } else { low / high };
        self.kept.clear();
        self.kept.extend(0..self.rank);
        self.kept.extend((0..dc.len()).filter(|&j| dc[j].is_finite()).map(|j| self.rank + j));
        let (f, k) = (self.free.len(), self.kept.len());
        if (self.half.nrows(), self.half.ncols()) != (f, k) {
            self.half.resize_with(f, k, |_, _| 0.0);
        }
        if self.s.ncols() != k {
            self.s.resize_with(k, k, |_, _| 0.0);
        }
        self.t.clear();
        self.t.extend(self.inverse.iter().map(|e| e.sqrt()));
        for (j, &col) in self.kept.iter().enumerate() {
            let source = self.rows.col_as_slice(col);
            for ((o, &i), &scale) in self.half.col_as_slice_mut(j).iter_mut().zip(&self.free).zip(&self.t) {
                *o = source[i] * scale;
            }
        }
        if self.fill_schur(0.0).is_nan() {
            return Err(Breakdown::NotFinite);
        }
        self.deficient = false;
        self.diagonal.clear();
        self.diagonal.extend((0..k).map(|j| self.s[(j, j)]));
        // more equations than free variables are dependent, whatever rounding makes of the last pivots
        let ok = self.scratch.factor(self.s.as_mut()).is_ok()
            && dc.iter().filter(|&&d| d == 0.0).count() <= f
            && pivots_kept(self.s.as_ref(), &self.diagonal, SINGULAR_S);
        if ok || k == 0 {
            return Ok(());
        }
        self.deficient = true;
        self.fill_schur(REGULARIZE_S);
        self.scratch.factor(self.s.as_mut()).map_err(|_| Breakdown::Rank)
    }

    fn solve(&mut self, w: &mut [f64], v: &mut [f64]) {
        if self.use_dense {
            match &mut self.dense {
                Some(dense) => dense.solve(w, v),
                None => w.fill(f64::NAN),
            }
            return;
        }
        self.t.clear();
        self.t.extend(self.free.iter().zip(&self.inverse).map(|(&i, e)| w[i] * e));
        self.u.clear();
        for &col in &self.kept {
            let source = self.rows.col_as_slice(col);
            let product: f64 = self.free.iter().zip(&self.t).map(|(&i, t)| source[i] * t).sum();
            self.u.push(if col < self.rank { product } else { product - v[col - self.rank] });
        }
        solve_lower(self.s.as_ref(), &mut self.u);
        solve_lower_transposed(self.s.as_ref(), &mut self.u);
        for (&col, &u) in self.kept.iter().zip(&self.u) {
            let source = self.rows.col_as_slice(col);
            for ((t, &i), &e) in self.t.iter_mut().zip(&self.free).zip(&self.inverse) {
                *t -= e * source[i] * u;
            }
        }
        w.fill(0.0);
        self.free.iter().zip(&self.t).for_each(|(&i, &t)| w[i] = t);
        v.fill(0.0);
        for (&col, &u) in self.kept.iter().zip(&self.u).skip(self.rank) {
            v[col - self.rank] = u;
        }
    }

    fn deficient(&self) -> bool {
        match &self.dense {
            Some(dense) if self.use_dense => dense.deficient(),
            _ => self.deficient,
        }
    }

    fn reciprocal_condition(&self) -> f64 {
        match &self.dense {
            Some(dense) if self.use_dense => dense.reciprocal_condition(),
            _ if self.deficient => 0.0,
            _ => self.e_ratio.min(pivot_ratio(self.s.as_ref())),
        }
    }

    fn name(&self) -> &'static str {
        "diagonal plus low rank"
    }
}
