//! Stage 5: the one linear system of all passes.
//!
//! ```text
//! [ P + diag(dx)   C'        ] [w]   [r]
//! [ C             -diag(dc)  ] [v] = [s]        C: the blocks of rows, in order
//! ```
//!
//! Every pass is an instance of it:
//!
//! | pass | `dx` | `dc` |
//! | --- | --- | --- |
//! | interior point | `z_l/s_l + z_u/s_u` + regularization | regularization; `s/z` for inequalities |
//! | operator splitting | `sigma + rho` of bounds | `1/rho` |
//! | polish, backward, tangents | 0; `inf` at active bounds | 0 at active rows; `inf` at the others |
//! | smoothed backward | `z_box/slack` of the barrier solution | 0; `slack/z` |
//!
//! `dx[i] = inf` pins `w[i] = 0`, `dc[j] = inf` removes row j (`v[j] = 0`): the system of the remaining rows and columns
//! is solved, and its size is what is paid for. One implementation per structure of the data.

mod analysis;
mod basis;
mod cholesky;
mod convexity;
mod data;
mod dense;
mod equilibrate;
mod face;
mod flat;
mod grouped;
mod kept;
mod kernels;
mod ldl;
mod leaves;
mod long;
mod patterns;
mod probe;
mod range_space;
mod rank;
mod refine;
mod singles;
mod solver;
mod sparse;
mod structured;
mod union;

pub use convexity::negative_curvature;
pub use data::KktData;
pub use sparse::SparseKkt;

pub(crate) use analysis::too_large;
pub(crate) use basis::{Basis, Columns};
pub(crate) use cholesky::{CholeskyScratch, pivot_ratio, pivots_kept};
pub(crate) use data::{FEW, Matrices};
pub(crate) use dense::DenseKkt;
pub(crate) use equilibrate::{ANY_APART, APART, Apart, Units, power_of_two, raise_parts, raise_rows, ruiz};
pub(crate) use face::project_off;
pub(crate) use flat::{FlatSolver, factor_flat};
pub(crate) use kept::KeptFactors;
pub(crate) use kernels::{solve_lower, solve_lower_transposed};
pub(crate) use ldl::Ldl;
pub(crate) use patterns::analyse;
pub(crate) use probe::probe;
pub(crate) use range_space::{RangeSpace, SAFE};
pub(crate) use rank::independent_variables;
pub(crate) use refine::{Refiner, add_magnitudes};
use singles::SinglesKkt;
pub(crate) use solver::KktSolver;
pub(crate) use structured::StructuredKkt;
use union::Union;

use crate::Error;
use crate::matrix::Hessian;
use std::sync::Arc;

/// What a factorization can share with others of the same matrices.
#[derive(Debug, Clone)]
pub struct KktCore(pub(crate) Arc<RangeSpace>);

/// A factorization of the system, prepared for one structure of problem.
pub trait KktFactor: Send {
    /// Takes the numbers of `data`, which has the structure (shapes, sparsity patterns) that was prepared. Blocks at the
    /// same address as before are taken as unchanged, and what was computed from them is kept.
    fn load(&mut self, data: KktData<'_>) -> Result<(), Error>;

    /// Forgets what earlier systems of the same matrices taught it: a solve that begins now finds what a new one would.
    fn begin(&mut self) {}

    /// Factors for these diagonals (`dx` of n entries, `dc` of the rows of all blocks in order).
    fn factor(&mut self, dx: &[f64], dc: &[f64]) -> Result<(), Breakdown>;

    /// Solves in place: right-hand sides in, `w` and `v` out. Pinned entries and removed rows come out as 0.
    fn solve(&mut self, w: &mut [f64], v: &mut [f64]);

    /// The same for a Newton step, which need not be more accurate than what the next iteration corrects: what is left of the
    /// right-hand side is to be this part of it.
    fn solve_step(&mut self, w: &mut [f64], v: &mut [f64], _part: f64) {
        self.solve(w, v);
    }

    /// True if [`solve`](Self::solve) itself refines its solution against the system as stated.
    fn refines(&self) -> bool {
        false
    }

    /// True if the last solve left nothing but rounding in every row of the system as stated. Where that is not looked at,
    /// false.
    fn rounded(&self) -> bool {
        false
    }

    /// True if the kept rows of the last factorization are dependent and had to be regularized: the multipliers are
    /// then not unique. Where that takes time it is found out when asked.
    fn deficient(&mut self) -> bool {
        false
    }

    /// True if the last factorization is of a regularized form of a matrix that is singular on its variables: there are
    /// directions `w` with `(P + diag(dx)) w = 0` and `C w = 0` on the kept rows. Implementations that fail with
    /// [`Breakdown::Inertia`] there never say so.
    fn flat(&mut self) -> bool {
        false
    }

    /// True if the kept rows of the last factorization are known to leave the variables no direction but those of a face, though
    /// they are dependent or there is one: where they are to vanish along every row, so do the variables.
    fn determines(&mut self) -> bool {
        false
    }

    /// Where the last factorization is of a face, and knows it exactly: drops the part of `w` along it, and says true. Its
    /// solves then are of least norm by themselves.
    fn leave_face(&self, _w: &mut [f64]) -> bool {
        false
    }

    /// What rounding of the directions of that face may change a solution of least norm by, relative to it: where the units of
    /// variables are far apart, and the entries of the data do not decide.
    fn face_doubt(&self) -> f64 {
        0.0
    }

    /// Smallest over largest squared pivot of the last factorization: an estimate of its reciprocal condition. 0 where it
    /// is of a regularized matrix, or not known.
    fn reciprocal_condition(&self) -> f64 {
        0.0
    }

    /// What may be shared with other factorizations of the same matrices.
    fn core(&self) -> Option<KktCore> {
        None
    }

    /// The last factorization, packed, where it is of dense matrices and its rows are independent: for a solution that outlives it.
    fn kept(&self) -> Option<KeptFactors> {
        None
    }

    /// Takes what another factorization shared, before `load`.
    fn adopt(&mut self, _core: &KktCore) {}
}

/// Why a factorization failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Breakdown {
    /// The inertia is wrong: `P + diag(dx)` is not positive definite on the null space of the hard rows.
    #[error("the Hessian is not positive definite on the null space of the active rows")]
    Inertia,
    /// The kept rows are linearly dependent and `dc` does not regularize them.
    #[error("the active rows are linearly dependent")]
    Rank,
    /// NaN or infinity turned up.
    #[error("a number overflowed")]
    NotFinite,
    /// The solve has to end.
    #[error("the time is up")]
    Late,
}

/// Prepares the factorization that fits the structure of `data`.
pub fn prepare(data: KktData<'_>) -> Result<Box<dyn KktFactor>, Error> {
    let (n, k, sparse_rows) = (data.n(), data.m(), data.has_sparse_rows());
    let p = data.p;
    // rows pass through a dense Schur complement: worth it while they are few, or dense themselves
    // a sparse diagonal with sparse rows stays what it is
    let separable = p.separable().is_some() && (!matches!(**p, Hessian::Sparse(_)) || data.has_few_full_rows());
    if separable && (k <= FEW || (!sparse_rows && k <= n / 2)) {
        return Ok(Box::new(StructuredKkt::new(data)));
    }
    // rows with one entry do not count: they are part of the diagonal
    if separable {
        let rest = singles::other_rows(data);
        if rest < k && (rest <= FEW || (!sparse_rows && rest <= n / 2)) {
            return Ok(Box::new(SinglesKkt::new(data)?));
        }
    }
    if many_singles(data) {
        return Ok(Box::new(SinglesKkt::new(data)?));
    }
    let dense = if p.as_dense().is_some() && !(sparse_rows && n + k > 400) {
        true
    } else {
        n + k <= 40 || (n <= 400 && !is_sparse(data))
    };
    if dense {
        return Ok(Box::new(DenseKkt::new(Matrices::of(data))));
    }
    let singles = k - singles::other_rows(data);
    Ok(if singles >= MANY.max(n / 4) { Box::new(SinglesKkt::new(data)?) } else { Box::new(SparseKkt::new(data)?) })
}

/// True if a dense Hessian has so many rows with one entry that the space of all rows costs more than that of the variables.
pub(crate) fn many_singles(data: KktData<'_>) -> bool {
    let (n, k) = (data.n(), data.m());
    n >= MANY && k >= n / 2 && data.p.as_dense().is_some() && !data.has_sparse_rows() && {
        let singles = k - singles::other_rows(data);
        singles >= n / 2
    }
}

/// Variables from which on rows with one entry are looked for beside a dense Hessian, and such rows beside sparse data.
const MANY: usize = 64;

/// True if at most a tenth of the entries are stored.
fn is_sparse(data: KktData<'_>) -> bool {
    let n = data.n();
    let mut stored = data.p.stored();
    data.for_each_row_entry(|_, _, v| stored += usize::from(v != 0.0));
    10 * stored <= n * (n + data.m())
}
