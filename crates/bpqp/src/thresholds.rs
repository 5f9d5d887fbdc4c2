//! Every threshold of a decision that a verdict rests on, with its reason.
//!
//! All are relative to the terms that a number is the difference of, in the unit of its own row and column, so that no
//! scaling of the problem changes a decision. Rounding is a few `EPSILON` per term; the data are taken as exact.

/// A pivot that keeps more than this of its diagonal entry is none of rounding, whatever the growth of the elimination:
/// below it the decision is made by an elimination with full pivoting.
pub(crate) const CLEAR_PIVOT: f64 = 1e-9;

/// The same of rows, whose products are squares: after a pivot that keeps this much, rounding is some 1e-9 of those that follow,
/// and what it makes of one that vanishes is below.
pub(crate) const CLEAR_ROWS: f64 = 1e-7;

/// The same where the curvature that the rows are measured by is a diagonal of its own, which may spread them by as much as it
/// spreads itself: several pivots that are each a little small hide one that vanishes.
pub(crate) const CLEAR_BY_DIAGONAL: f64 = 1e-4;

/// What elimination with full pivoting leaves of a vanishing entry, in an equilibrated matrix of this order: rounding
/// of each of its steps, and some growth. Matrices of condition 1e10 keep pivots a thousand times larger.
pub(crate) fn rank_rounding(order: usize) -> f64 {
    64.0 * f64::EPSILON * order.max(8) as f64
}

/// What rounding of the directions of a face may change a gradient of least norm by, relative to it, before they are refined in
/// twice the precision: entries that cancel lose more. What is left above 1e-8 after that lowers the verdict.
pub(crate) const FACE_DOUBT: f64 = 1e-13;

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
/// Equations that hold to this part of their own terms hold: what is left is rounding of sums of many of them.
pub(crate) const EQUATION_ROUNDING: f64 = 1e-13;
/// Multipliers and slacks above this multiple of the scales of the whole problem need no estimate of their own: rounding
/// reaches them only where the condition is above 1e9.
pub(crate) const CLEARLY: f64 = 1e-6;

/// Backward solves with the factors of the polish are taken as they come, unrefined, where their pivots say that they are
/// well conditioned and one solve with them reduced a residual by this factor (the rest is hidden below rounding), or there
/// was no residual to reduce. Measured on the paper's family up to 1000 x 200: relative error of the gradient below 2e-10.
/// That a residual fell is not enough: rows of other scales, which weighed nothing in it, may decide the gradient.
pub(crate) const FACTORS_CLEAR: f64 = 1e-4;
pub(crate) const WELL_CONDITIONED: f64 = 1e-6;
/// Units within this factor are not far apart.
pub(crate) const FAR_APART: f64 = 1e6;

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
/// Curvatures beyond this factor are those of cones near a kink, if what is left of the equations moves them by a factor of two:
/// an error sideways costs its square, so that slacks of a hundred-thousandth may be all noise.
pub(crate) const NEAR_KINK: f64 = 1e5;
/// A solution of curved cones that what is left of its equations moves by more than this part of its length is none: an
/// optimum that is not attained, for one, beyond which the equations vanish.
pub(crate) const LOST: f64 = 1e-3;

/// Forces of multipliers that are this many times their sum are those of dependent rows, and only rounding.
pub(crate) const RUN_OFF: f64 = 100.0;
/// Multipliers of dependent rows whose rounding is this part of the forces of the problem leave no digits of a solution to
/// count on: as much as may be left of the equations of an active set.
pub(crate) const DROWNED: f64 = 1e-8;

/// A boundary that no variable crosses by more than this part of its column cannot be told from one that all are tangent to:
/// an error sideways costs its square, so that the direction of a boundary is known to the root of the rounding unit.
pub(crate) const TANGENT: f64 = 1e-7;

/// Of the way from a point to a basis. Everything is in equilibrated units.
pub(crate) mod crossover {
    /// A column of which elimination leaves less than this part of its terms is dependent on those before it: bases that are
    /// closer to singular lose more digits than a regularized system does.
    pub(crate) const INDEPENDENT: f64 = 1e-7;
    /// Entries of a column in terms of the basis below this part of the largest one are rounding: nothing pivots on them.
    pub(crate) const PIVOT: f64 = 1e-7;
    /// Variables and slacks this part of the largest variable beyond a bound are there by rounding, with a basis of a
    /// condition of 1e5. The polish asks again, number by number.
    pub(crate) const FEASIBLE: f64 = 1e-11;
    /// The same of reduced costs and the largest of the costs and multipliers.
    pub(crate) const PRICED: f64 = 1e-11;
    /// The same where costs have a part `P x`, which is as exact as the point. What is smaller the polish finds out.
    pub(crate) const PRICED_CURVED: f64 = 1e-8;
    /// Times by which the distance from a bound exceeds the multiplier, both relative to the largest ones, from which on a
    /// variable is between its bounds whatever the order of the others: the short columns come first.
    pub(crate) const BETWEEN: f64 = 1e6;
    /// Products that all of it may take: a second or so.
    pub(crate) const WORK: usize = 1_000_000_000;
    /// Steps of the simplex method per column: from a point near the solution it has needed a fraction of one.
    pub(crate) const STEPS: usize = 10;
    /// Exchanges in a row that move nothing, from which on they are drawn at random: that ends every circle.
    pub(crate) const STALLED: usize = 20;
}

/// Of sequential quadratic programming.
pub(crate) mod sqp {
    /// Iterations, where no limit is asked for.
    pub(crate) const STEPS: usize = 300;
    /// Programs with more variables begin with the interior point, unless they come with multipliers: from there on its sparse
    /// steps cost less than quadratic programs.
    pub(crate) const LARGE: usize = 300;
    /// The same where the matrices are sparse: a control problem of 200 variables took quadratic programming half a minute from
    /// a poor start, and the interior point a tenth of a second.
    pub(crate) const SPARSE: usize = 60;
    /// How many times its slack a multiplier is for its row to be active, tried in turn. After the interior point has settled
    /// the first one is right; the others are for what did not.
    pub(crate) const SURE: [f64; 5] = [1.0, 100.0, 0.01, 1e4, 1e-4];
    /// Steps of this solver where the interior point of a large program has failed: it has been seen to need fewer or not to
    /// come through.
    pub(crate) const AFTER: usize = 60;
    /// Full steps beyond the tolerance, while they improve. Newton's method doubles the digits: more are rounding.
    pub(crate) const POLISH: usize = 8;
    /// The part of the predicted decrease that a step must give, as is usual.
    pub(crate) const ARMIJO: f64 = 1e-4;
    /// Below this nothing but rounding moves.
    pub(crate) const SHORTEST: f64 = 1e-13;
    /// A step that must be shorter than this part of the model's points the wrong way.
    pub(crate) const CUT: f64 = 1e-4;
    /// More than this times the curvature does not make a better direction.
    pub(crate) const MOST_DAMPING: f64 = 1e8;
    /// Rows that are missed by less than this in sum are met: the quadratic programs are solved to 1e-9.
    pub(crate) const MISSED: f64 = 1e-7;
    /// The relative slope of what is missed that is none.
    pub(crate) const FLAT: f64 = 1e-5;
    /// Steps that Newton's method ends with are far below this.
    pub(crate) const SETTLED: f64 = 1e-7;
    /// Conditions of which no more than this is left, relative to their terms, hold to rounding.
    pub(crate) const ROUNDED: f64 = 1e-14;
    /// Steps from here on have a square far below rounding, and are short enough for the curvature to be that of their end; if they
    /// fell by this factor they are Newton's.
    pub(crate) const LAST: f64 = 1e-12;
    pub(crate) const FALLS: f64 = 1e-3;
    /// Longer ones are if they fell by this factor: the square of it, by which the curvature then moves, is beside rounding what a
    /// step of `LAST` leaves where curvatures change within a hundredth of the units.
    pub(crate) const STEEP: f64 = 1e-5;
    /// Forces below this part of those at the start are none.
    pub(crate) const NOTHING: f64 = 1e-7;
    /// An objective below minus this, relative to where it began, is taken to have no bound.
    pub(crate) const BOTTOM: f64 = 1e12;
    /// Beyond this times the forces, no price on violations helps.
    pub(crate) const LARGEST_PRICE: f64 = 1e9;
}

/// Of the interior point for smooth programs. What has no reason of its own is as in Waechter & Biegler 2006.
pub(crate) mod interior {
    /// Iterations, where no limit is asked for: twice what the hardest grids need.
    pub(crate) const STEPS: usize = 500;
    /// The first barrier.
    pub(crate) const FIRST_MU: f64 = 0.1;
    /// The first barrier from the solution of a similar program, and iterations until that is given up.
    pub(crate) const WARM_MU: f64 = 1e-4;
    pub(crate) const WARM_STEPS: usize = 50;
    /// Gradients are scaled down to this at the start.
    pub(crate) const LARGEST_GRADIENT: f64 = 100.0;
    /// Bounds and rows are relaxed by this: equal bounds in disguise would leave no interior. The polish takes it back.
    pub(crate) const RELAX: f64 = 1e-8;
    /// Starts keep this distance from bounds, absolute and relative to their distance.
    pub(crate) const PUSH: f64 = 1e-2;
    /// What each equality may give way, per unit of its multiplier: dependent rows then have a factorization.
    pub(crate) const SOFT: f64 = 1e-9;
    /// Curvature that is added: the first, the least and the most, and how it grows and shrinks.
    pub(crate) const ADDED: (f64, f64, f64) = (1e-4, 1e-20, 1e20);
    pub(crate) const GROW: (f64, f64) = (100.0, 8.0);
    pub(crate) const SHRINK: f64 = 1.0 / 3.0;
    /// The filter: margins of violation and objective, decrease, and the exponents of the switch between them.
    pub(crate) const MARGIN: f64 = 1e-5;
    pub(crate) const ARMIJO: f64 = 1e-8;
    pub(crate) const SWITCH: (f64, f64) = (2.3, 1.1);
    /// Second-order corrections in a row.
    pub(crate) const CORRECTIONS: usize = 4;
    /// Products of a multiplier and its slack stay within this factor of mu.
    pub(crate) const APART: f64 = 1e10;
    /// Multipliers above this are not believed after an estimate or a restoration.
    pub(crate) const LARGEST_START: f64 = 1e3;
    /// The price on violations in the restoration.
    pub(crate) const PRICE: f64 = 1e3;
    /// Residuals at which a point is one to finish, if no step is accepted any more or none makes them smaller.
    pub(crate) const ACCEPTABLE: f64 = 1e-5;
    /// Steps at the last barrier in a row that do not halve the residuals: what is left is rounding.
    pub(crate) const STALLED: usize = 4;
    /// Residuals of restoration that count as stationary.
    pub(crate) const RESTORED: f64 = 1e-7;
    /// Relative steps below this are rounding.
    pub(crate) const TINY: f64 = 10.0 * f64::EPSILON;
    /// Full steps at the end, each with a barrier this much smaller, down to the last. There a slack and its multiplier have
    /// the product 1e-14, so that one of them is below 1e-7: an active set is read from their ratio. On a grid of 1354 buses
    /// none of 14,000 ratios is then between 0.01 and 1000, where at the tolerance 100 are.
    pub(crate) const SETTLING: usize = 12;
    pub(crate) const SETTLE: f64 = 0.01;
    pub(crate) const LEAST_MU: f64 = 1e-14;
    /// What such a step may multiply the residuals by.
    pub(crate) const WORSE: f64 = 10.0;
}

/// Of Newton's method on the active set of a sparse smooth program.
pub(crate) mod newton {
    /// Steps in all, and beyond the tolerance.
    pub(crate) const STEPS: usize = 30;
    pub(crate) const POLISH: usize = 3;
    /// Residuals relative to their terms that are rounding, some terms having been summed.
    pub(crate) const ROUNDED: f64 = 1e-14;
    /// Changes of the set: more have only been seen where it goes in circles.
    pub(crate) const CHANGES: usize = 8;
    /// A step larger than this, relative to x, is none of a polish.
    pub(crate) const FAR: f64 = 0.1;
    /// The curvature that keeps steps short along directions that have none, relative to the largest one.
    pub(crate) const NEAR: f64 = 1e-8;
    /// Variables with less curvature than this part of the largest one need the rows that hold them to have pivots.
    pub(crate) const OWN_CURVATURE: f64 = 1e-8;
    /// Steps in a row that are almost as long as the last: the set is another one.
    pub(crate) const CREEPS: usize = 5;
    pub(crate) const CREEP: f64 = 0.9;
    /// Multipliers are measured by the terms of the conditions that they enter, which are never taken to be below this part of
    /// the largest ones: the price of a voltage is 1e-8 of the terms of an angle on large grids, and more than rounding.
    pub(crate) const QUIET: f64 = 1e-6;
    /// Smaller programs have small dense systems, and the solver of those.
    pub(crate) const SMALL: usize = 24;
    /// Corrections of a solution by its own residual: where one block is far smaller than the other, solving again for what
    /// is left of it finds it.
    pub(crate) const CORRECTIONS: usize = 3;
}

/// Of programs whose matrices are products.
pub(crate) mod large {
    /// What `u'(M v)` and `v'(M'u)` may differ by, relative to their terms: products in single precision differ by 1e-7 of them.
    pub(crate) const ADJOINT: f64 = 1e-6;
    /// Random products from which a length is estimated: within a factor of two then, which is all that units need.
    pub(crate) const PROBES: u64 = 6;
    /// Rounds of equilibration.
    pub(crate) const SCALINGS: u64 = 2;
    /// So many rows are stored, if they have no more entries than this (256 MB): the cost of a preconditioner with all of them
    /// is then that of a few products.
    pub(crate) const FEW: usize = 64;
    pub(crate) const STORED: usize = 1 << 25;
    /// The curvature that a variable without one has in the preconditioner, relative to its column.
    pub(crate) const LEAST_CURVATURE: f64 = 1e-4;
    /// What is added to the pivots of few rows, relative to each: some may be dependent.
    pub(crate) const LEAST_PIVOT: f64 = 1e-12;

    /// Newton steps, where no limit is asked for; rounds of multipliers; Newton steps of one round.
    pub(crate) const STEPS: usize = 3000;
    pub(crate) const ROUNDS: usize = 300;
    pub(crate) const NEWTON: usize = 60;
    /// Steps of conjugate gradients for one Newton step, which is a direction of descent whenever they end.
    pub(crate) const CG: usize = 400;
    /// The part of the root of the gradient that a Newton step leaves: the steps then converge faster than linearly.
    pub(crate) const FORCING: f64 = 0.1;
    /// The proximal weight, first and least, in units in which columns have length 1. The least one limits the condition of
    /// what conjugate gradients solve.
    pub(crate) const FIRST_GAMMA: f64 = 0.1;
    pub(crate) const LEAST_GAMMA: f64 = 1e-7;
    /// How tolerance and proximal weight fall from round to round, and where the tolerance ends.
    pub(crate) const TIGHTEN: f64 = 0.1;
    pub(crate) const LEAST_TOLERANCE: f64 = 1e-10;
    /// Penalties grow, up to this factor and to this size, where less than this part of a violation vanished in a round (QPALM).
    pub(crate) const GROW: f64 = 100.0;
    pub(crate) const SHRUNK: f64 = 0.25;
    pub(crate) const MOST_RHO: f64 = 1e8;
    /// How often penalties are raised to make the objective convex on the null space of the equalities.
    pub(crate) const RAISES: usize = 4;
    /// Evaluations of one search along a line, and the part of the slope that it ends with.
    pub(crate) const SEARCH: usize = 60;
    pub(crate) const SEARCHED: f64 = 1e-12;
    /// A relative step below this is rounding.
    pub(crate) const TINY: f64 = 1e-15;

    /// Relative residuals below which the active constraints are tried as equations: a trial that fails costs half of what was
    /// spent before, and one that succeeds saves most rounds.
    pub(crate) const SETTLE: f64 = 0.1;
    /// Products that one trial may take, at least and at most.
    pub(crate) const KRYLOV: (usize, usize) = (200, 20_000);
    /// Changes of the set in one trial, and corrections for one set.
    pub(crate) const EXCHANGES: usize = 10;
    pub(crate) const CORRECTIONS: usize = 4;
    /// The same for a set that may change.
    pub(crate) const ROUGH: f64 = 1e-5;
    /// Relative residual to which the equations are solved, and above which a solution is no step forward.
    pub(crate) const REFINED: f64 = 1e-11;
    pub(crate) const HOPELESS: f64 = 0.5;

    /// Relative violation of a proof.
    pub(crate) const PROOF: f64 = 1e-6;

    /// A residual `r` with `|K r|` below this part of `|K| |r|` is a null vector.
    pub(crate) const SINGULAR: f64 = 1e-10;
    /// A random right-hand side has at least `PROBE_SHARE` of its length per root of the order along any null vector: solved to
    /// this residual, it shows that there is none, up to orders of 1e6.
    pub(crate) const NULL: f64 = 1e-7;
    /// The residual of the backward system, relative to the cotangents, up to which derivatives are approximate.
    pub(crate) const BACKWARD: f64 = 1e-7;
    /// Steps of MINRES for one backward solve.
    pub(crate) const BACKWARD_STEPS: usize = 20_000;
    /// Multipliers and slacks below the accuracy of the solution, times `DOUBT`, are both taken for 0; within these limits,
    /// relative to the largest ones.
    pub(crate) const WEAK: (f64, f64) = (1e-10, 1e-6);
}
