//! Dense data. Two forms:
//!
//! - *range space*, where nothing is added to P: everything follows from [`RangeSpace`], and a factorization is one
//!   Cholesky of the kept block of `M`;
//! - *primal*: `K = P + diag(dx) + sum of c c'/dc over soft rows` on the free variables, then the Schur complement of
//!   the hard rows. Where K alone is singular (a linear program, a vertex) multiples of `h h'` of the hard rows h are
//!   added, which leaves the solution unchanged; on a face also a matrix that is definite along it, and the solution of
//!   least norm is what is left without its part along it.
//!
//! Where a pivot leaves a doubt, elimination with full pivoting decides what is dependent and what is a face: `rank.rs`.

mod fill;

use super::cholesky::{CholeskyScratch, pivot_ratio, pivots_kept, smallest_kept};
use super::face::leave;
use super::kernels::{solve_lower, solve_lower_transposed};
use super::range_space::RangeSpace;
use super::rank::Rank;
use super::{Breakdown, KeptFactors, KktCore, KktData, KktFactor, Matrices};
use crate::Error;
use crate::interrupt::late;
use crate::matrix::columns::column;
use crate::matrix::{Hessian, LowerWork, gemv, gemv_t, lower_gram, resize, solve_lower_columns};
use crate::thresholds::{CLEAR_PIVOT, CLEAR_ROWS, rank_rounding};
use faer::{Mat, MatRef};
use std::sync::Arc;

/// Rows with `dc` below this multiple of the scale are kept as equations, the others are added to K.
const HARD: f64 = 1e-7;
/// Pivot ratios below these count as singular.
const SINGULAR_K: f64 = 1e-13;
const SINGULAR_S: f64 = 1e-13;
/// Pivots that keep this much of their diagonal entries leave half of all digits, and refinement the others.
const ACCURATE: f64 = 1e-6;
/// It is known by then that the matrix is not singular.
const SINGULAR_AUGMENTED: f64 = 0.0;
/// The same in the iterations of an interior point, where nobody knows.
const SINGULAR_ITERATION: f64 = 1e-15;
/// Added to the diagonal of a singular Schur complement, as a multiple of its entries.
const REGULARIZE_S: f64 = 1e-8;
/// Hard rows up to which they are eliminated one by one.
const FEW: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    None,
    Range,
    Primal,
}

/// Factorizations of dense data.
pub(crate) struct DenseKkt {
    of: Matrices,
    core: Option<Arc<RangeSpace>>,
    range_failed: bool,
    /// C', n x k, for the primal form; empty until it is needed.
    rows: Mat<f64>,
    form: Form,
    dc: Vec<f64>,
    free: Vec<usize>,
    hard: Vec<usize>,
    soft: Vec<usize>,
    k: Mat<f64>,
    y: Mat<f64>,
    s: Mat<f64>,
    gathered: Mat<f64>,
    lower: LowerWork,
    /// Multiple of `h h'` of each hard row h that was added to K; empty if none was.
    augmented: Vec<f64>,
    rank: Rank,
    /// The rank was examined for this factorization; the solution is on a face.
    examined: bool,
    face: bool,
    /// Nothing is added to P but pins, and every row is an equation or curved: the system of an active set.
    decides: bool,
    along: Vec<f64>,
    /// Diagonal of a matrix before its factorization.
    diagonal: Vec<f64>,
    /// The smallest part of its diagonal entry that a pivot of K kept.
    k_kept: f64,
    /// K with its soft rows, before a factorization takes its place, where it may be asked for again.
    filled: Mat<f64>,
    /// Largest diagonal entry of P on the free variables.
    hessian_size: f64,
    deficient: bool,
    scratch: CholeskyScratch,
    t: Vec<f64>,
    u: Vec<f64>,
    soft_rhs: Vec<f64>,
}

impl DenseKkt {
    pub fn new(of: Matrices) -> Self {
        let empty = || Mat::zeros(0, 0);
        DenseKkt {
            of,
            core: None,
            range_failed: false,
            rows: empty(),
            form: Form::None,
            dc: Vec::new(),
            free: Vec::new(),
            hard: Vec::new(),
            soft: Vec::new(),
            k: empty(),
            y: empty(),
            s: empty(),
            gathered: empty(),
            lower: LowerWork::default(),
            augmented: Vec::new(),
            rank: Rank::default(),
            examined: false,
            face: false,
            decides: false,
            along: Vec::new(),
            diagonal: Vec::new(),
            k_kept: 1.0,
            filled: empty(),
            hessian_size: 0.0,
            deficient: false,
            scratch: CholeskyScratch::default(),
            t: Vec::new(),
            u: Vec::new(),
            soft_rhs: Vec::new(),
        }
    }

    /// The range-space factors of the data, computed at the first call; `None` if P is not safely positive definite.
    pub fn range_space(&mut self) -> Option<&Arc<RangeSpace>> {
        if self.core.is_none() && !self.range_failed && !matches!(*self.of.p, Hessian::Zero(_)) {
            match RangeSpace::new(self.of.clone(), &mut self.scratch) {
                Ok(core) => self.core = Some(Arc::new(core)),
                Err(_) => self.range_failed = !late(),
            }
        }
        self.core.as_ref()
    }

    /// `S = block + diag(dc)`, factored; regularized if the rows of the block are dependent, or refused unless its pivots are `clear`.
    fn factor_schur(&mut self, core: Option<&RangeSpace>, clear: bool) -> Result<(), Breakdown> {
        let largest = self.fill_schur(core, 0.0);
        if largest.is_nan() {
            return Err(Breakdown::NotFinite);
        }
        self.deficient = false;
        self.diagonal.clear();
        self.diagonal.extend((0..self.hard.len()).map(|i| self.s[(i, i)]));
        // more equations than free variables are dependent, whatever rounding makes of the last pivots
        let equations = self.hard.iter().filter(|&&row| self.dc[row] == 0.0).count();
        let factored = self.scratch.factor(self.s.as_mut()).is_ok() && equations <= self.free.len();
        let kept = |smallest: f64| pivots_kept(self.s.as_ref(), &self.diagonal, smallest);
        // what rounding makes of dependent rows is that of their entries over what K is sure to
        let rounding = rank_rounding(self.free.len()) / core.map_or(self.k_kept, |core| core.kept);
        if clear {
            return if factored && kept(ACCURATE) { Ok(()) } else { Err(Breakdown::Rank) };
        }
        if self.hard.is_empty() || (factored && self.augmented.is_empty() && kept(CLEAR_ROWS.max(rounding))) {
            return Ok(());
        }
        if self.decides && equations == self.hard.len() {
            if !self.examined {
                self.examine(None);
            }
            self.deficient = self.rank.rows < equations;
            if factored && !self.deficient {
                return Ok(());
            }
        } else {
            if factored && kept(SINGULAR_S) {
                return Ok(());
            }
            self.deficient = true;
        }
        self.fill_schur(core, REGULARIZE_S);
        self.scratch.factor(self.s.as_mut()).map_err(|_| Breakdown::Rank)
    }

    /// Fills the lower triangle of S with its diagonal raised by a factor `1 + shift`; returns the largest diagonal entry of
    /// the block.
    fn fill_schur(&mut self, core: Option<&RangeSpace>, shift: f64) -> f64 {
        let h = self.hard.len();
        resize(&mut self.s, h, h);
        match core {
            Some(core) => {
                for (j, &col) in self.hard.iter().enumerate() {
                    let source = column(core.m(), col, 0);
                    for (o, &row) in self.s.col_as_slice_mut(j)[j..].iter_mut().zip(&self.hard[j..]) {
                        *o = source[row];
                    }
                }
            }
            None => lower_gram(&mut self.s, &self.y),
        }
        let mut largest = 0.0_f64;
        for i in 0..h {
            let entry = self.s[(i, i)];
            largest = if entry.is_nan() { f64::NAN } else { largest.max(entry) };
            self.s[(i, i)] = entry + self.hard_dc(i);
        }
        if shift > 0.0 {
            // relative to each row, whose scale is its own, however small beside others; an empty one, whose entry is exactly
            // 0, is a row of the common scale. Nothing smaller than normal numbers may decide: the threads of XLA flush those
            // to zero
            let common = if largest > 0.0 { largest } else { 1.0 };
            for i in 0..h {
                let own = self.s[(i, i)];
                self.s[(i, i)] += shift * if own > f64::MIN_POSITIVE { own } else { common };
            }
        }
        largest
    }

    /// Asks elimination with full pivoting for the rank of the hard rows on the free variables; with the diagonal of K also for
    /// the face, in place of the factor of K.
    fn examine(&mut self, dx: Option<&[f64]>) {
        self.gather_rows();
        let f = self.free.len();
        resize(&mut self.gathered, f, self.hard.len());
        for (j, &row) in self.hard.iter().enumerate() {
            let source = self.rows.col_as_slice(row);
            self.gathered.col_as_slice_mut(j).iter_mut().zip(&self.free).for_each(|(o, &i)| *o = source[i]);
        }
        self.rank.hidden_units = self.of.rows[2].nrows() == 0;
        let hard_rows = std::mem::replace(&mut self.gathered, Mat::zeros(0, 0));
        match dx {
            None => self.rank.examine_rows(&hard_rows),
            Some(dx) => {
                self.fill_again(dx);
                let data = self.soft.is_empty() && self.of.p.extension() == 0;
                self.rank.examine(&hard_rows, &self.k, data);
            }
        }
        self.gathered = hard_rows;
        self.examined = true;
    }

    /// Makes C', unless it is there: without variables it has no entries, but still its columns.
    fn gather_rows(&mut self) {
        if (self.rows.nrows(), self.rows.ncols()) != (self.of.p.n(), self.dc.len()) {
            self.rows = self.of.transposed_rows();
        }
    }

    fn factor_range(&mut self, core: &RangeSpace) -> Result<(), Breakdown> {
        self.augmented.clear();
        self.free.clear();
        self.free.extend(0..core.n());
        self.soft.clear();
        self.hard.clear();
        self.hard.extend((0..self.dc.len()).filter(|&i| self.dc[i].is_finite()));
        self.form = Form::Range;
        self.factor_schur(Some(core), false)
    }

    fn factor_primal(&mut self, dx: &[f64]) -> Result<(), Breakdown> {
        self.gather_rows();
        self.free.clear();
        self.free.extend((0..dx.len()).filter(|&i| dx[i].is_finite()));
        let f = self.free.len();
        resize(&mut self.k, f, f);
        self.fill_hessian(dx);
        if (0..f).any(|i| self.k[(i, i)].is_nan()) {
            return Err(Breakdown::NotFinite);
        }
        let kept = |i: &usize| self.dc[*i].is_finite();
        self.soft.clear();
        self.soft.extend((0..self.dc.len()).filter(kept).filter(|&i| self.dc[i] > HARD));
        self.hard.clear();
        self.hard.extend((0..self.dc.len()).filter(kept).filter(|&i| self.dc[i] <= HARD));
        self.add_rows(false);
        if self.decides {
            resize(&mut self.filled, f, f);
            fill::copy(&self.k, &mut self.filled);
        }
        self.augmented.clear();
        // fewer soft rows than variables, and nothing else
        let singular = self.soft.len() < f && matches!(*self.of.p, Hessian::Zero(_)) && dx.iter().all(|d| *d == 0.0);
        let mut ok = !singular && self.factor_k(SINGULAR_K);
        if singular {
            self.keep_diagonal();
            self.k_kept = 0.0;
        }
        if !ok && late() {
            return Err(Breakdown::Late);
        }
        let clear = |own: &Self| pivots_kept(own.k.as_ref(), &own.diagonal, CLEAR_PIVOT);
        if f > 0 && self.decides && !(ok && clear(self)) {
            if self.factor_with_rows(dx) {
                return Ok(());
            }
            self.examine(Some(dx));
            self.face = self.rank.face.ncols() > 0;
            self.fill_again(dx);
            // a factor with pivots near rounding solves to few digits; with the hard rows added it has none
            ok = self.factor_k(SINGULAR_K) && (self.hard.is_empty() || clear(self));
        }
        if !ok && f > 0 {
            self.weigh_rows(self.hessian_size);
            if !self.face && self.augmented.iter().all(|&t| t == 0.0) {
                return Err(Breakdown::Inertia);
            }
            self.fill_again(dx);
            self.add_rows(true);
            if !self.factor_k(if self.decides { SINGULAR_AUGMENTED } else { SINGULAR_ITERATION }) {
                return Err(Breakdown::Inertia);
            }
        }
        self.eliminate_variables();
        self.factor_schur(None, false)
    }

    /// `Y = L^-1 H'` with the factor L of K.
    fn eliminate_variables(&mut self) {
        resize(&mut self.y, self.free.len(), self.hard.len());
        for (j, &row) in self.hard.iter().enumerate() {
            let source = self.rows.col_as_slice(row);
            for (o, &i) in self.y.col_as_slice_mut(j).iter_mut().zip(&self.free) {
                *o = source[i];
            }
        }
        if self.hard.len() <= FEW {
            (0..self.hard.len()).for_each(|j| solve_lower(self.k.as_ref(), self.y.col_as_slice_mut(j)));
        } else {
            solve_lower_columns(self.k.as_ref(), self.y.as_mut());
        }
        self.form = Form::Primal;
    }

    /// Factors the system with `K + H'TH` in place of K; false unless all pivots are clear. Then K has no null vector on rows
    /// that are independent, and nothing needs to be examined.
    fn factor_with_rows(&mut self, dx: &[f64]) -> bool {
        if self.hard.is_empty() {
            return false;
        }
        self.weigh_rows(self.diagonal.iter().fold(0.0, |m, d| m.max(*d)));
        self.fill_again(dx);
        self.add_rows(true);
        if self.factor_k(ACCURATE) {
            self.eliminate_variables();
            if self.factor_schur(None, true).is_ok() {
                return true;
            }
        }
        self.augmented.clear();
        false
    }

    /// Factors K; false if a pivot is lost against the diagonal entry that it came from, which is what tells a singular
    /// matrix from one whose rows have different scales.
    fn factor_k(&mut self, singular: f64) -> bool {
        self.keep_diagonal();
        let factored = self.scratch.factor(self.k.as_mut()).is_ok();
        self.k_kept = if factored { smallest_kept(self.k.as_ref(), |i| self.diagonal[i]) } else { 0.0 };
        factored && pivots_kept(self.k.as_ref(), &self.diagonal, singular)
    }

    fn keep_diagonal(&mut self) {
        self.diagonal.clear();
        self.diagonal.extend((0..self.k.ncols()).map(|i| self.k[(i, i)]));
    }

    /// `dc` of the hard row at this place in the augmented system: with `t h h'` added to K its multiplier is `(1 - t dc) v`,
    /// and `h'w - dc v = s` becomes `h'w - dc/(1 - t dc) (1 - t dc) v = s`.
    fn hard_dc(&self, at: usize) -> f64 {
        let dc = self.dc[self.hard[at]];
        dc / (1.0 - self.augmented.get(at).map_or(0.0, |t| t * dc))
    }

    fn solve_range(&mut self, core: &RangeSpace, w: &mut [f64], v: &mut [f64]) {
        core.solve_lower(w);
        // the products of all rows cost less than a copy of those that are kept
        v.iter_mut().for_each(|v| *v = -*v);
        gemv_t(1.0, core.y(), w, v);
        self.u.clear();
        self.u.extend(self.hard.iter().map(|&row| v[row]));
        solve_lower(self.s.as_ref(), &mut self.u);
        solve_lower_transposed(self.s.as_ref(), &mut self.u);
        v.fill(0.0);
        self.hard.iter().zip(&self.u).for_each(|(&row, &u)| v[row] = u);
        gemv(-1.0, core.y(), v, w);
        core.solve_upper(w);
    }

    fn solve_primal(&mut self, w: &mut [f64], v: &mut [f64]) {
        // eliminate the soft rows: v = (c'w - s)/dc adds c s/dc to the right-hand side
        self.soft_rhs.clear();
        self.soft_rhs.resize(v.len(), 0.0);
        for &row in &self.soft {
            self.soft_rhs[row] = v[row] / self.dc[row];
        }
        for (&row, t) in self.hard.iter().zip(&self.augmented) {
            self.soft_rhs[row] = t * v[row];
        }
        if !self.soft.is_empty() || !self.augmented.is_empty() {
            gemv(1.0, self.rows.as_ref(), &self.soft_rhs, w);
        }
        self.t.clear();
        self.t.extend(self.free.iter().map(|&i| w[i]));
        self.drop_along();
        solve_lower(self.k.as_ref(), &mut self.t);
        self.u.clear();
        self.u.extend(self.hard.iter().map(|&row| -v[row]));
        gemv_t(1.0, self.y.as_ref(), &self.t, &mut self.u);
        solve_lower(self.s.as_ref(), &mut self.u);
        solve_lower_transposed(self.s.as_ref(), &mut self.u);
        gemv(-1.0, self.y.as_ref(), &self.u, &mut self.t);
        solve_lower_transposed(self.k.as_ref(), &mut self.t);
        self.drop_along();
        w.fill(0.0);
        self.free.iter().zip(&self.t).for_each(|(&i, &t)| w[i] = t);
        self.soft_rhs.clear();
        self.soft_rhs.resize(v.len(), 0.0);
        if !self.soft.is_empty() {
            gemv_t(1.0, self.rows.as_ref(), w, &mut self.soft_rhs);
        }
        for row in 0..v.len() {
            let dc = self.dc[row];
            v[row] = if dc.is_finite() && dc > HARD { (self.soft_rhs[row] - v[row]) / dc } else { 0.0 };
        }
        for (at, (&row, &u)) in self.hard.iter().zip(&self.u).enumerate() {
            v[row] = u / (1.0 - self.augmented.get(at).map_or(0.0, |t| t * self.dc[row]));
        }
    }

    /// Drops the part of `t` along the face.
    fn drop_along(&mut self) {
        if self.face {
            project_off(self.rank.face.as_ref(), &mut self.t, &mut self.along);
        }
    }
}

/// `t -= N N't`.
fn project_off(face: MatRef<'_, f64>, t: &mut [f64], along: &mut Vec<f64>) {
    along.clear();
    along.resize(face.ncols(), 0.0);
    gemv_t(1.0, face, t, along);
    gemv(-1.0, face, along, t);
}

impl KktFactor for DenseKkt {
    fn load(&mut self, data: KktData<'_>) -> Result<(), Error> {
        let same = self.of.are(data);
        if !self.core.as_ref().is_some_and(|core| core.is_of(data)) {
            self.core = None;
            self.range_failed &= same;
        }
        if !same {
            if !self.of.have_rows(data) {
                self.rows = Mat::zeros(0, 0);
            }
            self.of = Matrices::of(data);
        }
        self.form = Form::None;
        Ok(())
    }

    fn factor(&mut self, dx: &[f64], dc: &[f64]) -> Result<(), Breakdown> {
        self.dc.clear();
        self.dc.extend_from_slice(dc);
        self.form = Form::None;
        (self.examined, self.face) = (false, false);
        self.decides = dx.iter().all(|&d| d == 0.0 || d == f64::INFINITY);
        let kept = dc.iter().filter(|d| d.is_finite()).count();
        let range = kept <= dx.len() && dx.iter().all(|&d| d == 0.0);
        match if range { self.range_space().cloned() } else { None } {
            Some(core) => self.factor_range(&core)?,
            None => self.factor_primal(dx)?,
        }
        if late() {
            self.form = Form::None;
            return Err(Breakdown::Late);
        }
        Ok(())
    }

    fn solve(&mut self, w: &mut [f64], v: &mut [f64]) {
        match (self.form, self.core.clone()) {
            (Form::Range, Some(core)) => self.solve_range(&core, w, v),
            (Form::Primal, _) => self.solve_primal(w, v),
            _ => {
                w.fill(f64::NAN);
                v.fill(f64::NAN);
            }
        }
    }

    fn deficient(&mut self) -> bool {
        self.deficient
    }

    fn determines(&mut self) -> bool {
        let along = if self.face { self.rank.face.ncols() } else { 0 };
        (self.deficient || self.face) && self.examined && self.rank.rows + along == self.free.len()
    }

    fn flat(&mut self) -> bool {
        self.face
    }

    fn leave_face(&self, w: &mut [f64]) -> bool {
        if self.face && !w.is_empty() {
            let mut t: Vec<f64> = self.free.iter().map(|&i| w[i]).collect();
            leave(self.rank.face.as_ref(), &mut t);
            self.free.iter().zip(&t).for_each(|(&i, &t)| w[i] = t);
        }
        self.face
    }

    fn face_doubt(&self) -> f64 {
        if self.face { self.rank.doubt } else { 0.0 }
    }

    fn reciprocal_condition(&self) -> f64 {
        let schur = || pivot_ratio(self.s.as_ref());
        match (self.form, &self.core) {
            _ if self.deficient || self.face || !self.augmented.is_empty() => 0.0,
            (Form::Range, Some(core)) => core.pivot_ratio.min(schur()),
            (Form::Primal, _) => pivot_ratio(self.k.as_ref()).min(schur()),
            _ => 0.0,
        }
    }

    fn core(&self) -> Option<KktCore> {
        self.core.clone().map(KktCore)
    }

    fn kept(&self) -> Option<KeptFactors> {
        let core = self.core.as_ref()?;
        let equations = self.hard.iter().all(|&row| self.dc[row] == 0.0);
        let plain = self.form == Form::Range && equations && !self.deficient;
        plain.then(|| KeptFactors::new(core, &self.hard, self.s.as_ref(), self.reciprocal_condition()))
    }

    fn adopt(&mut self, core: &KktCore) {
        self.core = Some(core.0.clone());
    }
}
