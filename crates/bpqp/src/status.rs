//! Outcomes: what a solve found, and how far a gradient may be trusted.

use std::fmt;

/// How a solve ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Status {
    /// Optimal to the tolerances, verified from the data; where what cancels in the equations is so large that no point is
    /// within them, every equation holds to the rounding of its own terms.
    Solved,
    /// Optimal to a thousand times the tolerances only.
    SolvedInaccurate,
    /// No point satisfies the constraints; the certificate proves it.
    PrimalInfeasible,
    /// The objective decreases without bound; the certificate is the direction.
    DualInfeasible,
    /// `P` has negative curvature on the null space of the equalities; the certificate is the direction.
    NonConvex,
    /// The iteration limit was reached.
    IterationLimit,
    /// The time limit was reached.
    TimeLimit,
    /// The solver broke down.
    NumericalFailure,
    /// The data are none: NaN, an infinity where none is allowed, or `lb > ub`. What an element of a batch is told; a single
    /// problem is refused with an [`Error`](crate::Error).
    InvalidData,
    /// A smooth program: no feasible point was found, and the last one is a stationary point of the violation of its rows.
    LocallyInfeasible,
    /// A smooth program: a stationary point with a direction along which the objective falls to second order.
    NotAMinimum,
    /// A smooth program: the objective fell below every bound in sight at feasible points; no proof.
    Unbounded,
}

impl Status {
    /// Every status, in the order of their codes from 0.
    pub const ALL: [Status; 12] = [
        Status::Solved,
        Status::SolvedInaccurate,
        Status::PrimalInfeasible,
        Status::DualInfeasible,
        Status::NonConvex,
        Status::IterationLimit,
        Status::TimeLimit,
        Status::NumericalFailure,
        Status::InvalidData,
        Status::LocallyInfeasible,
        Status::NotAMinimum,
        Status::Unbounded,
    ];

    /// True if there is a solution that may be used.
    pub fn ok(self) -> bool {
        matches!(self, Status::Solved | Status::SolvedInaccurate)
    }

    /// The name in lower case with underscores, as the API prints it.
    pub fn name(self) -> &'static str {
        match self {
            Status::Solved => "solved",
            Status::SolvedInaccurate => "solved_inaccurate",
            Status::PrimalInfeasible => "primal_infeasible",
            Status::DualInfeasible => "dual_infeasible",
            Status::NonConvex => "non_convex",
            Status::IterationLimit => "iteration_limit",
            Status::TimeLimit => "time_limit",
            Status::NumericalFailure => "numerical_failure",
            Status::InvalidData => "invalid_data",
            Status::LocallyInfeasible => "locally_infeasible",
            Status::NotAMinimum => "not_a_minimum",
            Status::Unbounded => "unbounded",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How far a gradient may be trusted.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Verdict {
    /// The derivative of the solution map, to rounding.
    Exact,
    /// The solution map has several generalized derivatives here (weakly active rows, dependent rows, a face of
    /// optimal points); this is one of them, the documented one.
    OneOfSeveral,
    /// The backward system was singular and was regularized; the remaining residual is not at rounding level.
    Regularized,
    /// The derivative of the log-barrier solution `x(mu)`.
    Smoothed {
        /// The barrier parameter, in units of the objective.
        mu: f64,
    },
    /// A derivative solved for to a tolerance by an iterative method, or taken at an unconverged iterate.
    Approximate {
        /// The relative residual reached.
        tol: f64,
    },
    /// The active set could not be verified: do not use this gradient without looking.
    Untrusted,
}

impl Verdict {
    /// The names in the order of [`rank`](Self::rank).
    pub const NAMES: [&str; 6] = ["exact", "one_of_several", "smoothed", "approximate", "regularized", "untrusted"];

    /// Its place among all, from 0 for the one that promises most.
    pub fn rank(self) -> usize {
        match self {
            Verdict::Exact => 0,
            Verdict::OneOfSeveral => 1,
            Verdict::Smoothed { .. } => 2,
            Verdict::Approximate { .. } => 3,
            Verdict::Regularized => 4,
            Verdict::Untrusted => 5,
        }
    }

    /// The one that promises less.
    pub fn worse(self, other: Verdict) -> Verdict {
        if other.rank() > self.rank() { other } else { self }
    }

    /// The name in lower case with underscores, as the API prints it.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Exact => "exact",
            Verdict::OneOfSeveral => "one_of_several",
            Verdict::Regularized => "regularized",
            Verdict::Smoothed { .. } => "smoothed",
            Verdict::Approximate { .. } => "approximate",
            Verdict::Untrusted => "untrusted",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
