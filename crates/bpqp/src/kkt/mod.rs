//! Stage 5: the one linear system of all passes.
//!
//! ```text
//! [ P + diag(dx)   C'        ] [w]   [r]
//! [ C             -diag(dc)  ] [v] = [s]        C = [A; G], equality rows first
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

mod ldl;
mod sparse;

pub use sparse::SparseKkt;

use crate::{Error, Qp};

/// A factorization of the system, prepared for one structure of problem.
pub trait KktFactor: Send {
    /// Takes the numbers of `qp`, which has the structure (shapes, sparsity patterns) that was prepared. Blocks at the
    /// same address as before are taken as unchanged, and what was computed from them is kept.
    fn load(&mut self, qp: &Qp) -> Result<(), Error>;

    /// Factors for these diagonals (`dx` of n entries, `dc` of the equality rows, then the inequality rows).
    fn factor(&mut self, dx: &[f64], dc: &[f64]) -> Result<(), Breakdown>;

    /// Solves in place: right-hand sides in, `w` and `v` out. Pinned entries and removed rows come out as 0.
    fn solve(&mut self, w: &mut [f64], v: &mut [f64]);

    /// Short name of the form, for `info`.
    fn name(&self) -> &'static str;
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
}
