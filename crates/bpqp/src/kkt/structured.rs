//! Hessians that separate, with few constraint rows: diagonals, diagonals of blocks, and these plus F F'.
//!
//! With `E = D + diag(dx)` on the free variables, `D + F F'` is a separable Hessian with r more constraint rows:
//!
//! ```text
//! [ E   F   C'  ] [w]   [r]
//! [ F' -I       ] [u] = [0]     so   (R E^-1 R' + diag(I, dc)) (u, v) = R E^-1 r - (0, s),   R = [F'; C]
//! [ C      -dc  ] [v]   [s]
//! ```
//!
//! A factorization costs `n (r + k)^2 + (r + k)^3 / 3` flops, with blocks of order b also `n b^2 / 3 + n b (r + k)`, and the
//! n x n matrix is never formed.

use super::cholesky::{CholeskyScratch, pivot_ratio, pivots_kept};
use super::dense::DenseKkt;
use super::kernels::{solve_lower, solve_lower_transposed};
use super::rank::Rank;
use super::sparse::SparseKkt;
use super::{Breakdown, KktData, KktFactor, Matrices};
use crate::Error;
use crate::matrix::Keep;
use crate::matrix::{Separable, gather_lower, gemv, gemv_t, lower_gram, resize};
use crate::thresholds::{CLEAR_BY_DIAGONAL, PART_WORK};
use faer::linalg::triangular_solve::solve_lower_triangular_in_place;
use faer::{Mat, Par};

/// Smallest to largest entry of a diagonal E below which it counts as singular; smallest part of its diagonal entry that a
/// pivot of a block may keep.
const SINGULAR_E: f64 = 1e-14;
const SINGULAR_BLOCK: f64 = 1e-13;
/// Order up to which a dense factorization takes over where E is singular.
const SMALL: usize = 400;
/// Smallest part of its diagonal entry that a pivot of the Schur complement may keep, where no elimination tells.
const SINGULAR_S: f64 = 1e-14;
/// Relative shift of the diagonal of a singular Schur complement.
const REGULARIZE_S: f64 = 1e-8;

/// The factor L of `E = L L'` on the free variables.
#[derive(Default)]
struct Root {
    /// Of a diagonal: its reciprocal.
    reciprocal: Vec<f64>,
    /// Of blocks: their Cholesky factors.
    blocks: Vec<Mat<f64>>,
    /// Free variables of a block; its diagonal before its factorization.
    local: Vec<usize>,
    diagonal: Vec<f64>,
    /// Smallest over largest squared pivot.
    ratio: f64,
}

impl Root {
    /// Factors E; false where it is singular.
    fn factor(&mut self, e: Separable<'_>, free: &[usize], dx: &[f64], scratch: &mut CholeskyScratch) -> bool {
        let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
        self.reciprocal.clear();
        match e {
            Separable::Diagonal(d) => {
                self.blocks.clear();
                for &i in free {
                    let e = d[i] + dx[i];
                    low = low.min(e);
                    high = high.max(e);
                    self.reciprocal.push((1.0 / e).sqrt());
                }
                if !free.is_empty() && (high == 0.0 || low.is_nan() || low <= SINGULAR_E * high) {
                    return false;
                }
            }
            Separable::Blocks(blocks) => {
                self.blocks.resize_with(blocks.len(), || Mat::zeros(0, 0));
                let (mut at, mut rest) = (0, free);
                for (l, m) in self.blocks.iter_mut().zip(blocks) {
                    let (own, later) = rest.split_at(rest.partition_point(|&i| i < at + m.ncols()));
                    self.local.clear();
                    self.local.extend(own.iter().map(|i| i - at));
                    resize(l, own.len(), own.len());
                    gather_lower(m.as_ref(), &self.local, l);
                    self.diagonal.clear();
                    for (j, &i) in own.iter().enumerate() {
                        l[(j, j)] += dx[i];
                        self.diagonal.push(l[(j, j)]);
                    }
                    if scratch.factor(l.as_mut()).is_err() || !pivots_kept(l.as_ref(), &self.diagonal, SINGULAR_BLOCK) {
                        return false;
                    }
                    for j in 0..own.len() {
                        low = low.min(l[(j, j)] * l[(j, j)]);
                        high = high.max(l[(j, j)] * l[(j, j)]);
                    }
                    (at, rest) = (at + m.ncols(), later);
                }
            }
        }
        self.ratio = if free.is_empty() { 1.0 } else { low / high };
        true
    }

    /// `m = L^-1 m`.
    fn solve_columns(&self, m: &mut Mat<f64>) {
        for j in 0..if self.reciprocal.is_empty() { 0 } else { m.ncols() } {
            m.col_as_slice_mut(j).iter_mut().zip(&self.reciprocal).for_each(|(v, r)| *v *= r);
        }
        let (mut at, columns) = (0, m.ncols());
        for l in &self.blocks {
            let rows = m.as_mut().submatrix_mut(at, 0, l.ncols(), columns);
            solve_lower_triangular_in_place(l.as_ref(), rows, Par::Seq);
            at += l.ncols();
        }
    }

    /// `x = L^-1 x`.
    fn solve(&self, x: &mut [f64]) {
        x.iter_mut().zip(&self.reciprocal).for_each(|(v, r)| *v *= r);
        self.each_block(x, |l, x| solve_lower(l.as_ref(), x));
    }

    /// `x = L^-T x`.
    fn solve_transposed(&self, x: &mut [f64]) {
        x.iter_mut().zip(&self.reciprocal).for_each(|(v, r)| *v *= r);
        self.each_block(x, |l, x| solve_lower_transposed(l.as_ref(), x));
    }

    fn each_block(&self, mut x: &mut [f64], f: impl Fn(&Mat<f64>, &mut [f64])) {
        for l in &self.blocks {
            let (own, rest) = x.split_at_mut(l.ncols());
            f(l, own);
            x = rest;
        }
    }
}

/// Factorizations of data with a separable Hessian.
pub(crate) struct StructuredKkt {
    of: Matrices,
    analysis: Keep,
    /// `[F C']`, n x (r + k).
    rows: Mat<f64>,
    rank: usize,
    dx: Vec<f64>,
    dc: Vec<f64>,
    /// Columns of `rows` that are kept: all of F, then the active rows.
    kept: Vec<usize>,
    free: Vec<usize>,
    root: Root,
    /// `L^-1 R'` on the free variables.
    half: Mat<f64>,
    s: Mat<f64>,
    scratch: CholeskyScratch,
    u: Vec<f64>,
    t: Vec<f64>,
    deficient: bool,
    elimination: Rank,
    /// Diagonal of S before its factorization.
    diagonal: Vec<f64>,
    /// Takes over where E is singular.
    general: Option<Box<dyn KktFactor>>,
    use_general: bool,
}

impl StructuredKkt {
    pub fn new(data: KktData<'_>) -> Self {
        let mut out = StructuredKkt {
            of: Matrices::of(data),
            analysis: data.analysis.clone(),
            rows: Mat::zeros(0, 0),
            rank: 0,
            dx: Vec::new(),
            dc: Vec::new(),
            kept: Vec::new(),
            free: Vec::new(),
            root: Root::default(),
            half: Mat::zeros(0, 0),
            s: Mat::zeros(0, 0),
            scratch: CholeskyScratch::default(),
            u: Vec::new(),
            t: Vec::new(),
            deficient: false,
            elimination: Rank::default(),
            diagonal: Vec::new(),
            general: None,
            use_general: false,
        };
        out.write();
        out
    }

    /// Writes `[F C']`.
    fn write(&mut self) {
        let rows = self.of.transposed_rows();
        let factor = self.of.p.separable().and_then(|(_, factor)| factor);
        self.rank = factor.map_or(0, Mat::ncols);
        self.rows = match factor {
            None => rows,
            Some(f) => {
                let mut both = Mat::zeros(rows.nrows(), self.rank + rows.ncols());
                both.as_mut().subcols_mut(0, self.rank).copy_from(f);
                both.as_mut().subcols_mut(self.rank, rows.ncols()).copy_from(&rows);
                both
            }
        };
    }

    /// Fills the lower triangle of S, with its diagonal raised by a factor `1 + shift`; returns the largest entry.
    fn fill_schur(&mut self, shift: f64) -> f64 {
        lower_gram(&mut self.s, &self.half);
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

    /// Asks elimination with full pivoting whether the equations are dependent on the free variables: pivots of their squares have
    /// lost half of the digits.
    fn equations_dependent(&mut self) -> bool {
        let hard: Vec<usize> = (0..self.dc.len()).filter(|&j| self.dc[j] == 0.0).collect();
        let rows = Mat::from_fn(self.free.len(), hard.len(), |i, j| self.rows[(self.free[i], self.rank + hard[j])]);
        self.elimination.hidden_units = self.of.rows[2].nrows() == 0;
        self.elimination.examine_rows(&rows);
        self.elimination.rows < hard.len()
    }

    fn factor_general(&mut self) -> Result<(), Breakdown> {
        self.use_general = true;
        let general = match &mut self.general {
            Some(general) => general,
            none => {
                let dense = || Box::new(DenseKkt::new(self.of.clone()));
                let data = KktData { p: &self.of.p, rows: self.of.rows.each_ref(), analysis: &self.analysis };
                let sparse = (data.n() > SMALL).then(|| SparseKkt::new(data).ok()).flatten();
                none.insert(match sparse {
                    Some(sparse) => Box::new(sparse),
                    None => dense(),
                })
            }
        };
        general.factor(&self.dx, &self.dc)
    }

    /// The factorization that took over, if one did.
    fn other(&self) -> Option<&dyn KktFactor> {
        self.general.as_deref().filter(|_| self.use_general)
    }
}

impl KktFactor for StructuredKkt {
    fn load(&mut self, data: KktData<'_>) -> Result<(), Error> {
        if !self.of.are(data) {
            self.of = Matrices::of(data);
            self.analysis = data.analysis.clone();
            self.write();
            if let Some(general) = &mut self.general {
                general.load(data)?;
            }
        }
        Ok(())
    }

    fn begin(&mut self) {
        if let Some(general) = &mut self.general {
            general.begin();
        }
    }

    fn factor(&mut self, dx: &[f64], dc: &[f64]) -> Result<(), Breakdown> {
        self.use_general = false;
        self.dx.clear();
        self.dx.extend_from_slice(dx);
        self.dc.clear();
        self.dc.extend_from_slice(dc);
        self.free.clear();
        self.free.extend((0..dx.len()).filter(|&i| dx[i].is_finite()));
        let separable = self.of.p.separable();
        if !separable.is_some_and(|(e, _)| self.root.factor(e, &self.free, dx, &mut self.scratch)) {
            return self.factor_general();
        }
        self.kept.clear();
        self.kept.extend(0..self.rank);
        self.kept.extend((0..dc.len()).filter(|&j| dc[j].is_finite()).map(|j| self.rank + j));
        let (f, k) = (self.free.len(), self.kept.len());
        resize(&mut self.half, f, k);
        resize(&mut self.s, k, k);
        for (j, &col) in self.kept.iter().enumerate() {
            let source = self.rows.col_as_slice(col);
            self.half.col_as_slice_mut(j).iter_mut().zip(&self.free).for_each(|(o, &i)| *o = source[i]);
        }
        self.root.solve_columns(&mut self.half);
        if self.fill_schur(0.0).is_nan() {
            return Err(Breakdown::NotFinite);
        }
        self.deficient = false;
        self.diagonal.clear();
        self.diagonal.extend((0..k).map(|j| self.s[(j, j)]));
        let factored = self.scratch.factor(self.s.as_mut()).is_ok();
        let kept = |smallest: f64| factored && pivots_kept(self.s.as_ref(), &self.diagonal, smallest);
        let equations = dc.iter().filter(|&&d| d == 0.0).count();
        if k == 0 || (equations <= f && kept(CLEAR_BY_DIAGONAL)) {
            return Ok(());
        }
        self.deficient = match equations {
            0 => !kept(SINGULAR_S),
            // more equations than free variables are dependent, whatever rounding makes of the last pivots
            _ if equations > f => true,
            _ if f * equations * equations > PART_WORK => !kept(SINGULAR_S),
            _ => self.equations_dependent(),
        };
        if factored && !self.deficient {
            return Ok(());
        }
        self.fill_schur(REGULARIZE_S);
        self.scratch.factor(self.s.as_mut()).map_err(|_| Breakdown::Rank)
    }

    fn solve(&mut self, w: &mut [f64], v: &mut [f64]) {
        if self.use_general {
            match &mut self.general {
                Some(general) => general.solve(w, v),
                None => w.fill(f64::NAN),
            }
            return;
        }
        self.t.clear();
        self.t.extend(self.free.iter().map(|&i| w[i]));
        self.root.solve(&mut self.t);
        self.u.clear();
        self.u.extend(self.kept.iter().map(|&col| if col < self.rank { 0.0 } else { -v[col - self.rank] }));
        gemv_t(1.0, self.half.as_ref(), &self.t, &mut self.u);
        solve_lower(self.s.as_ref(), &mut self.u);
        solve_lower_transposed(self.s.as_ref(), &mut self.u);
        gemv(-1.0, self.half.as_ref(), &self.u, &mut self.t);
        self.root.solve_transposed(&mut self.t);
        w.fill(0.0);
        self.free.iter().zip(&self.t).for_each(|(&i, &t)| w[i] = t);
        v.fill(0.0);
        for (&col, &u) in self.kept.iter().zip(&self.u).skip(self.rank) {
            v[col - self.rank] = u;
        }
    }

    fn refines(&self) -> bool {
        self.other().is_some_and(KktFactor::refines)
    }

    fn deficient(&mut self) -> bool {
        match self.general.as_mut().filter(|_| self.use_general) {
            Some(general) => general.deficient(),
            None => self.deficient,
        }
    }

    fn flat(&mut self) -> bool {
        self.use_general && self.general.as_mut().is_some_and(|general| general.flat())
    }

    fn determines(&mut self) -> bool {
        self.use_general && self.general.as_mut().is_some_and(|general| general.determines())
    }

    fn leave_face(&self, w: &mut [f64]) -> bool {
        self.other().is_some_and(|general| general.leave_face(w))
    }

    fn rounded(&self) -> bool {
        self.other().is_some_and(|general| general.rounded())
    }

    fn face_doubt(&self) -> f64 {
        self.other().map_or(0.0, |general| general.face_doubt())
    }

    fn reciprocal_condition(&self) -> f64 {
        match self.other() {
            Some(general) => general.reciprocal_condition(),
            None if self.deficient => 0.0,
            None => self.root.ratio.min(pivot_ratio(self.s.as_ref())),
        }
    }
}
