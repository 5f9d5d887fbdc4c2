//! The KKT system of sparse data, by one quasi-definite `L D L'`.
//!
//! A factored Hessian `diag(d) + F F'` is extended by r rows `F'w - u = 0`, so that the n x n matrix is never formed:
//! eliminating `u` gives back `w'F F'w`, with r more negative pivots.
//!
//! The matrix is equilibrated and its diagonal is kept away from zero by `DELTA` of that scale. The regularized factor then refines the solution of the
//! system that was asked for; for a singular system with a consistent right-hand side this is the proximal method of
//! multipliers with a tiny step, which converges to a solution (Friedlander & Orban, "A primal-dual regularized
//! interior-point method for convex quadratic programs", Math. Prog. Comp. 2012).

use self::parts::{Examined, Face};
use super::analysis::{Analysis, too_large};
use super::equilibrate::{ANY_APART, APART, Apart};
use super::ldl::{Ldl, PivotError, Pivots};
use super::{Breakdown, KktData, KktFactor, Matrices};
use crate::Error;
use crate::matrix::norm_inf;
use crate::thresholds::CLEAR_BY_DIAGONAL;
use std::sync::Arc;

/// Regularizations tried in turn, relative to the equilibrated matrix. The first is the square root of the rounding
/// unit: below it the growth of the elimination swamps the regularization itself.
pub(super) const DELTAS: [f64; 3] = [1.0 / (1u64 << 26) as f64, 1.0 / (1u64 << 21) as f64, 1.0 / (1u64 << 17) as f64];
/// Regularization where the positive diagonal of P is eliminated first, and the smallest pivot that may follow: smaller
/// ones mean that rows are dependent.
const SCHUR_DELTA: f64 = 1.0 / (1u64 << 44) as f64;
const SCHUR_PIVOT: f64 = 1e-9;
/// The same relative to the largest diagonal entry of the Schur complement, whose rounding is in every pivot.
const SCHUR_ROUNDING: f64 = 1e-13;
/// Of equations: the growth of the elimination counts as well.
const HARD_ROUNDING: f64 = 1e-6;
/// Regularization tried when refinement with the first one does not get anywhere near rounding, as where curvature far
/// below it decides (optimal control with tiny weights on the controls).
const SHARP_DELTA: f64 = 1.0 / (1u64 << 40) as f64;

/// Is the sharper regularization in use?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sharp {
    Untried,
    Used,
    /// It was tried on these matrices and did not help.
    Useless,
}

/// Sparse [`KktFactor`].
pub struct SparseKkt {
    n: usize,
    m: usize,
    /// From which spread on units are looked for.
    apart: Apart,
    of: Matrices,
    ldl: Ldl,
    analysis: Arc<Analysis>,
    /// Equilibration, in original order.
    scale: Vec<f64>,
    /// What it is where nothing was removed.
    units: Vec<f64>,
    /// Scaled data without the diagonals of the pass; with them and the pins.
    data: Vec<f64>,
    /// They are still to be written: who loads rows that turn with every point may load them again before they are factored.
    stale: bool,
    exact: Vec<f64>,
    /// In permuted order: neutralized rows and columns, and the weight of each residual.
    pinned: Vec<bool>,
    weight: Vec<f64>,
    sharp: Sharp,
    /// Some variable is held, or some row left out.
    any_pinned: bool,
    /// The least that the diagonals of the pass add to one of the equilibrated matrix.
    least: f64,
    /// What one solve with these factors left of a step, as a part of it, was far below what it may leave.
    sure: bool,
    /// The last solve left nothing but rounding.
    rounded: bool,
    /// Dependent rows; not known before somebody asks.
    deficient: Option<bool>,
    /// What elimination found of the system at hand; the face that it is on.
    examined: Option<Examined>,
    face: Face,
    /// The regularization of the last factorization.
    delta: f64,
    scales: (f64, f64),
    /// The diagonals that were factored.
    dx: Vec<f64>,
    dc: Vec<f64>,
    rhs: Vec<f64>,
    x: Vec<f64>,
    best: Vec<f64>,
    r: Vec<f64>,
    size: Vec<f64>,
}

impl SparseKkt {
    /// Loads the numbers of `data`, with the analysis of its structure that is kept beside it, or else a new one.
    pub fn new(data: KktData<'_>) -> Result<Self, Error> {
        // curved rows have entries that are rounding of their directions, and tell nothing of units
        Self::with_units(data, if data.rows[2].nrows() > 0 { APART } else { ANY_APART })
    }

    /// The same for decisions about curvature, where entries that are rounding of P must not choose the units.
    pub fn of_curvature(data: KktData<'_>) -> Result<Self, Error> {
        Self::with_units(data, APART)
    }

    fn with_units(data: KktData<'_>, apart: Apart) -> Result<Self, Error> {
        let analysis = Analysis::of(data)?;
        let (n, m) = (data.n(), data.m());
        let (dim, stored) = (analysis.diagonal_at.len(), analysis.ldl.stored());
        Ok(SparseKkt {
            stale: true,
            n,
            m,
            apart,
            of: Matrices::of(data),
            ldl: Ldl::new(&analysis.ldl).map_err(|reason| too_large(dim, reason))?,
            analysis,
            units: vec![1.0; dim],
            scale: vec![1.0; dim],
            data: vec![0.0; stored],
            exact: vec![0.0; stored],
            pinned: vec![false; dim],
            weight: vec![1.0; dim],
            sharp: Sharp::Untried,
            any_pinned: false,
            least: 0.0,
            sure: false,
            rounded: false,
            deficient: Some(false),
            examined: None,
            face: Face::default(),
            delta: DELTAS[0],
            scales: (1.0, 1.0),
            dx: vec![0.0; n],
            dc: vec![0.0; m],
            rhs: vec![0.0; dim],
            x: vec![0.0; dim],
            best: vec![0.0; dim],
            r: vec![0.0; dim],
            size: vec![0.0; dim],
        })
    }

    /// Factors with the first of these regularizations (relative to the equilibrated matrix) that gives the right
    /// inertia.
    pub(super) fn factor_within(&mut self, deltas: &[f64], dx: &[f64], dc: &[f64]) -> Result<(), Breakdown> {
        let (n, m) = (self.n, self.m);
        debug_assert_eq!((dx.len(), dc.len()), (n, m));
        if norm_inf(dx).is_nan() || norm_inf(dc).is_nan() {
            return Err(Breakdown::NotFinite);
        }
        self.dx.copy_from_slice(dx);
        self.dc.copy_from_slice(dc);
        self.examined = None;
        self.face.clear();
        self.stage();
        self.factor_any(deltas)
    }

    /// Factors with the first regularization, or says that the inertia is wrong: for callers that try other diagonals then.
    pub(crate) fn factor_once(&mut self, dx: &[f64], dc: &[f64]) -> Result<(), Breakdown> {
        self.factor_within(&DELTAS[..1], dx, dc)
    }

    /// Takes the sharp regularization first, until other matrices are loaded: near a solution refinement with the larger one
    /// creeps along directions of little curvature.
    pub(crate) fn prefer_sharp(&mut self) {
        self.sharp = Sharp::Used;
    }

    /// True if the curvature is above the first regularization on the null space of the kept rows, in the units of the
    /// equilibrated matrix: by the pivots of a matrix that this much was taken from. Nothing can be solved after it.
    pub(crate) fn curves_up(&mut self, dx: &[f64], dc: &[f64]) -> bool {
        self.dx.copy_from_slice(dx);
        self.dc.copy_from_slice(dc);
        self.stage();
        let values = self.ldl.values_mut();
        values.copy_from_slice(&self.exact);
        let delta = DELTAS[0];
        for i in 0..self.n + self.m {
            let given = if i < self.n { dx[i] } else { dc[i - self.n] };
            if given.is_finite() {
                values[self.analysis.diagonal_at[i]] -= delta;
            }
        }
        matches!(self.ldl.factor(), Ok(pivots) if pivots.positive == self.n)
    }

    /// More equations than free variables are dependent, whatever rounding makes of the last pivots.
    fn more_rows_than_variables(&self) -> bool {
        let equations = self.dc.iter().filter(|d| **d == 0.0).count();
        equations > self.dx.iter().filter(|d| d.is_finite()).count()
    }

    /// What that entry is at most, by entries of at most 2 as the equilibration leaves them: enough to know in most cases.
    fn most_schur(&self) -> f64 {
        let pivots = self.analysis.diagonal_at[..self.n].iter().map(|&at| self.exact[at].max(SCHUR_DELTA));
        4.0 * self.n as f64 / pivots.fold(f64::INFINITY, f64::min)
    }

    /// The largest diagonal entry of the Schur complement of the positive diagonal, whose variables come first.
    fn largest_schur(&mut self) -> f64 {
        let (n, col_ptr, row_idx) = (self.n, self.ldl.col_ptr(), self.ldl.row_idx());
        self.r.fill(0.0);
        // of variables their pivot, of rows 0
        self.size.fill(0.0);
        let variables = self.ldl.place().iter().zip(&self.analysis.diagonal_at).take(n);
        variables.for_each(|(&p, &at)| self.size[p] = self.exact[at].max(SCHUR_DELTA));
        for j in 0..self.r.len() {
            for k in col_ptr[j]..col_ptr[j + 1] {
                let i = row_idx[k];
                let (variable, row) = if self.size[i] > 0.0 { (i, j) } else { (j, i) };
                if self.size[variable] > 0.0 && self.size[row] == 0.0 {
                    self.r[row] += self.exact[k] * self.exact[k] / self.size[variable];
                }
            }
        }
        self.r.iter().fold(0.0_f64, |m, v| m.max(*v))
    }

    /// Factors what is staged.
    fn factor_any(&mut self, deltas: &[f64]) -> Result<(), Breakdown> {
        let n = self.n;
        self.deficient = Some(false);
        let mut failure = Breakdown::Inertia;
        // after a positive diagonal comes a Cholesky factorization, which hardly needs a regularization, unless its
        // rows are dependent: small pivots tell
        if self.ldl.primal_first() {
            // of equations, whose dependence others rest on, they have to be clearer than of what is on its way
            let hard = self.dc.contains(&0.0);
            let (least, part) = if hard { (CLEAR_BY_DIAGONAL, HARD_ROUNDING) } else { (SCHUR_PIVOT, SCHUR_ROUNDING) };
            let sound = self.factor_with(SCHUR_DELTA).is_ok_and(|pivots| {
                let above = |rounding: f64| pivots.smallest_negative > part * rounding;
                pivots.positive == n
                    && pivots.smallest_negative > least
                    && (above(self.most_schur()) || above(self.largest_schur()))
            });
            if sound && !self.more_rows_than_variables() {
                return Ok(());
            }
        }
        let sharp = (self.sharp == Sharp::Used).then_some(SHARP_DELTA);
        for delta in sharp.into_iter().chain(deltas.iter().copied()) {
            match self.factor_with(delta) {
                Ok(pivots) if pivots.positive == n => {
                    self.deficient = None;
                    return Ok(());
                }
                Ok(_) => failure = Breakdown::Inertia,
                Err(PivotError::Zero) => failure = Breakdown::Rank,
                Err(PivotError::NotFinite) => failure = Breakdown::NotFinite,
                Err(PivotError::Late) => return Err(Breakdown::Late),
            }
        }
        Err(failure)
    }

    /// The matrix that was asked for: data, diagonals of the pass, pins.
    fn stage(&mut self) {
        if std::mem::take(&mut self.stale) {
            self.rewrite();
        }
        let (n, dx, dc) = (self.n, &self.dx, &self.dc);
        let place = self.ldl.place();
        self.exact.copy_from_slice(&self.data);
        self.scale.copy_from_slice(&self.units);
        let given = || dx.iter().chain(dc);
        self.any_pinned = norm_inf(dx) == f64::INFINITY || norm_inf(dc) == f64::INFINITY;
        if self.any_pinned {
            place.iter().zip(given()).for_each(|(&p, given)| self.pinned[p] = *given == f64::INFINITY);
            let (col_ptr, row_idx) = (self.ldl.col_ptr(), self.ldl.row_idx());
            for j in 0..self.x.len() {
                let whole = self.pinned[j];
                for k in col_ptr[j]..col_ptr[j + 1] {
                    if whole || self.pinned[row_idx[k]] {
                        self.exact[k] = 0.0;
                    }
                }
            }
        }
        let (variables, rows) = self.analysis.diagonal_at.split_at(n);
        let (scales, row_scales) = self.scale.split_at(n);
        let blocks = [(1.0, variables, &dx[..], scales), (-1.0, rows, &dc[..], row_scales)];
        self.least = if self.scale.len() > n + self.m { 0.0 } else { f64::INFINITY };
        for (sign, diagonal_at, given, scales) in blocks {
            for ((&at, given), scale) in diagonal_at.iter().zip(given).zip(scales) {
                let own = if *given == f64::INFINITY { 1.0 } else { given * scale * scale };
                self.least = if own < self.least { own } else { self.least };
                self.exact[at] += sign * own;
            }
        }
        if self.any_pinned {
            self.raise_faint();
        }
        for (&p, &at) in self.ldl.place().iter().zip(&self.analysis.diagonal_at) {
            let own = self.exact[at].abs();
            self.weight[p] = 1.0 / if own > 1.0 { own } else { 1.0 };
        }
    }

    /// `values = exact + regularization`, and its factorization.
    fn factor_with(&mut self, delta: f64) -> Result<Pivots, PivotError> {
        let (n, m) = (self.n, self.m);
        self.delta = delta;
        let values = self.ldl.values_mut();
        values.copy_from_slice(&self.exact);
        self.sure = false;
        // faint ones have units of their own
        let enough = self.least >= delta && !self.any_pinned;
        for i in 0..if enough { 0 } else { self.scale.len() } {
            let given = if i < n {
                self.dx[i]
            } else if i < n + m {
                self.dc[i - n]
            } else {
                1.0
            };
            let missing = delta - given * self.scale[i] * self.scale[i];
            if missing > 0.0 {
                values[self.analysis.diagonal_at[i]] += if i < n { missing } else { -missing };
            }
        }
        self.ldl.factor()
    }
}

impl KktFactor for SparseKkt {
    fn load(&mut self, data: KktData<'_>) -> Result<(), Error> {
        let same = self.of.are(data);
        if let Some(argument) = if same { None } else { self.of.differs(data) } {
            return Err(Error::Structure { argument, reason: "its kind, shape or sparsity pattern is different" });
        }
        // spares it an analysis of its own
        data.analysis.set(&self.analysis);
        if same {
            return Ok(());
        }
        self.of = Matrices::of(data);
        self.sharp = Sharp::Untried;
        self.stale = true;
        Ok(())
    }

    fn begin(&mut self) {
        self.sharp = Sharp::Untried;
    }

    fn factor(&mut self, dx: &[f64], dc: &[f64]) -> Result<(), Breakdown> {
        self.factor_within(&DELTAS, dx, dc)
    }

    fn solve(&mut self, w: &mut [f64], v: &mut [f64]) {
        self.solve_within(0.0, w, v);
    }

    fn solve_step(&mut self, w: &mut [f64], v: &mut [f64], part: f64) {
        self.solve_within(part, w, v);
    }

    fn refines(&self) -> bool {
        true
    }

    fn rounded(&self) -> bool {
        self.rounded
    }

    fn deficient(&mut self) -> bool {
        match self.deficient {
            Some(known) => known,
            None => {
                let found = self.hard_rows_dependent().unwrap_or(true);
                self.deficient = Some(found);
                found
            }
        }
    }

    fn determines(&mut self) -> bool {
        (self.deficient() || !self.face.is_empty()) && self.examine().determined
    }

    fn flat(&mut self) -> bool {
        !self.ldl.primal_first() && self.has_flat_direction()
    }

    fn leave_face(&self, w: &mut [f64]) -> bool {
        if !w.is_empty() {
            self.face.leave(w);
        }
        !self.face.is_empty()
    }

    fn face_doubt(&self) -> f64 {
        self.face.doubt
    }
}

mod equilibrated;
mod faint;
mod null;
mod parts;
mod peel;
mod solves;
#[cfg(test)]
mod tests;
