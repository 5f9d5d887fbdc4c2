//! Every threshold of a decision that a verdict rests on, with its reason.
//!
//! All are relative to the terms that a number is the difference of, in the unit of its own row and column, so that no
//! scaling of the problem changes a decision. Rounding is a few `EPSILON` per term; the data are taken as exact.

/// A pivot that keeps more than this of its diagonal entry is none of rounding, whatever the growth of the elimination:
/// below it the decision is made by an elimination with full pivoting.
pub(crate) const CLEAR_PIVOT: f64 = 1e-9;

/// What elimination with full pivoting leaves of a vanishing entry, in an equilibrated matrix of this order: rounding
/// of each of its steps, and some growth. Matrices of condition 1e10 keep pivots a thousand times larger.
pub(crate) fn rank_rounding(order: usize) -> f64 {
    64.0 * f64::EPSILON * order.max(8) as f64
}

/// Products that the dense elimination of one part of a sparse system may take: a few milliseconds. Larger parts are
/// searched for null vectors by inverse iteration.
pub(crate) const PART_WORK: usize = 30_000_000;

/// Steps of inverse iteration for a null vector of a sparse matrix. After `t` steps with a regularization `d` what is left
/// of a direction of curvature `c` contributes `c (d/(c + d))^t <= d/(e t)` to the residual.
pub(crate) const NULL_STEPS: usize = 24;
/// Right-hand sides without structure, from which each search for a null vector starts anew. One misses a null vector that
/// is orthogonal to it up to a part p with probability p.
pub(crate) const PROBES: u64 = 2;
/// A null vector is one when what it leaves in each row is this part of the largest entry of that row.
pub(crate) const NULL_RESIDUAL: f64 = 1e-9;
/// A probe meets a null space with at least this part of its length divided by the root of the dimension.
pub(crate) const PROBE_SHARE: f64 = 1e-3;

/// Curvature above minus this times the scale of the rows of P is what rounding leaves of a semidefinite matrix: the
/// root of the rounding unit, to which an elimination without pivoting is sure.
pub(crate) const CURVATURE_ROUNDING: f64 = 1.0 / (1u64 << 26) as f64;

/// Multipliers and slacks that are this many times their own uncertainty decide nothing: the uncertainty is an estimate
/// from one solve.
pub(crate) const DOUBT: f64 = 64.0;
/// Rounding of a term in the making of a residual, times what the sums of a few terms add.
pub(crate) const TERM_ROUNDING: f64 = 4.0 * f64::EPSILON;
/// Multipliers and slacks above this multiple of the scales of the whole problem need no estimate of their own: rounding
/// reaches them only where the condition is above 1e9.
pub(crate) const CLEARLY: f64 = 1e-6;

/// Slacks and multipliers of a smooth program below this part of their terms are both taken for 0: Newton's method leaves
/// rounding of either, and a problem so close to a kink has derivatives on one side only for all that can be measured.
pub(crate) const WEAK: f64 = 1e-8;

/// A contradiction of constraints counts where it exceeds this part of the terms of its combined row, each entry times the
/// length that its variable may be expected to have: right-hand sides of rounding size are what the making of the data
/// left of 0.
pub(crate) const PROOF_ROUNDING: f64 = 1e-13;

/// A contradiction that is one only for points up to some size counts where that exceeds what bounds and rows ask the
/// variables to be by this much: multipliers that cancel only nearly leave a combined row of small entries, which points far
/// enough out satisfy. A solution that is larger than all its data is that of a system of a condition of this size.
pub(crate) const PROOF_REACH: f64 = 1e6;

/// Curvatures of cones within this factor of 1, in the units of slacks and multipliers, make no system ill-conditioned.
pub(crate) const EXTREME_CURVATURE: f64 = 1e8;
/// A solution of curved cones that what is left of its equations moves by more than this part of its length is none: an
/// optimum that is not attained, for one, beyond which the equations vanish.
pub(crate) const LOST: f64 = 1e-3;

/// A boundary that no variable crosses by more than this part of its column cannot be told from one that all are tangent to:
/// an error sideways costs its square, so that the direction of a boundary is known to the root of the rounding unit.
pub(crate) const TANGENT: f64 = 1e-7;
