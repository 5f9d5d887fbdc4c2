//! What a user may choose.

use crate::threads::{MAX_THREADS, count};
use crate::{Deadline, Error, Interrupt};
use std::time::Duration;

/// The forward solver to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Solver {
    /// Chosen from the structure of the problem; falls back when the first choice fails.
    #[default]
    Auto,
    /// Native primal-dual interior point.
    InteriorPoint,
    /// Native active-set iteration (semi-smooth Newton on the active set), best with a warm start.
    ActiveSet,
    /// Native operator splitting (the algorithm of OSQP).
    Admm,
    /// Native homogeneous interior point for products of symmetric cones.
    Homogeneous,
    /// The Clarabel interior point.
    Clarabel,
}

impl Solver {
    /// Every solver that can be named, `Auto` first.
    pub const ALL: [Solver; 6] =
        [Solver::Auto, Solver::InteriorPoint, Solver::ActiveSet, Solver::Admm, Solver::Homogeneous, Solver::Clarabel];

    /// The name as the API prints it.
    pub fn name(self) -> &'static str {
        match self {
            Solver::Auto => "auto",
            Solver::InteriorPoint => "interior_point",
            Solver::ActiveSet => "active_set",
            Solver::Admm => "admm",
            Solver::Homogeneous => "homogeneous",
            Solver::Clarabel => "clarabel",
        }
    }

    /// The solver of that name.
    pub fn from_name(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|s| s.name() == name).ok_or_else(|| Error::Setting {
            name: "solver",
            value: name.to_owned(),
            advice: "name one of auto, interior_point, active_set, admm, homogeneous, clarabel",
        })
    }
}

/// How the backward QP is solved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Backward {
    /// One factorization of its KKT system, refined.
    #[default]
    Direct,
    /// The first-order solver, as in the paper, to `eps_abs` and `eps_rel`.
    FirstOrder,
}

/// What is returned where constraints contradict each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Infeasible {
    /// The status with its certificate; no solution.
    #[default]
    Status,
    /// Besides, the solution of the closest feasible program: among all `x` within the bounds that minimize
    /// `1/2 (|A x - b|^2 + |(G x - h)_+|^2)`, the one that minimizes the objective. It has no multipliers; its derivatives are
    /// those of both levels. Not with curved cones, nor with smoothing.
    Closest,
}

impl Infeasible {
    /// The setting of that name, `status` or `closest`.
    pub fn from_name(name: &str) -> Result<Self, Error> {
        match name {
            "status" => Ok(Infeasible::Status),
            "closest" => Ok(Infeasible::Closest),
            other => Err(Error::Setting {
                name: "infeasible",
                value: other.to_owned(),
                advice: "name one of status, closest",
            }),
        }
    }
}

/// Everything a user may choose; the defaults are meant to be right.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
pub struct Settings {
    /// Forward solver.
    pub solver: Solver,
    /// Absolute tolerance on the residuals, in the units of the problem.
    pub eps_abs: f64,
    /// Relative tolerance on the residuals.
    pub eps_rel: f64,
    /// Iteration limit of the forward solver; `None` is the solver's own.
    pub max_iter: Option<usize>,
    /// Wall-clock limit of the forward solve, looked at in each iteration and inside of long factorizations. What ends before
    /// a look: the analysis of a sparse pattern, and one iteration of Clarabel.
    #[cfg_attr(feature = "serde", serde(with = "seconds"))]
    pub time_limit: Option<Duration>,
    /// Solve the KKT system of the active set after the forward solver, verify it and repair the set.
    /// Without it the gradient is the *general gradient* at the solver's own iterate, with verdict `Approximate`.
    pub polish: bool,
    /// Backward solver.
    pub backward: Backward,
    /// Differentiate the log-barrier solution `x(mu)` instead of the solution; `mu` in units of the objective.
    pub smoothing: Option<f64>,
    /// What is returned where constraints contradict each other.
    pub infeasible: Infeasible,
    /// Threads for batches; 0 means all cores. At most four for each core take part; above [`MAX_THREADS`] is refused.
    pub threads: usize,
    /// Keep the factorization of the forward pass in the solution, for a cheaper backward pass.
    pub keep_factor: bool,
    /// Take out of sparse problems what they have too much of before the interior point: rows that follow from others or from
    /// bounds, variables that are fixed. Answers have all of it.
    pub presolve: bool,
    /// Ends a running solve from another thread.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub interrupt: Option<Interrupt>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            solver: Solver::Auto,
            eps_abs: 1e-8,
            eps_rel: 1e-8,
            max_iter: None,
            time_limit: None,
            polish: true,
            backward: Backward::Direct,
            smoothing: None,
            infeasible: Infeasible::Status,
            threads: 0,
            keep_factor: true,
            presolve: true,
            interrupt: None,
        }
    }
}

impl Settings {
    /// The default settings with another forward solver.
    pub fn with_solver(solver: Solver) -> Self {
        Settings { solver, ..Settings::default() }
    }

    /// When a solve that begins now has to end.
    pub fn deadline(&self) -> Deadline {
        Deadline::new(self.time_limit, self.interrupt.clone())
    }

    /// The number of threads that `threads` stands for on this machine.
    pub fn concurrency(&self) -> usize {
        count(self.threads)
    }

    /// Refuses settings out of range.
    pub fn validate(&self) -> Result<(), Error> {
        let bad = |name, value: f64, advice| Err(Error::Setting { name, value: value.to_string(), advice });
        for (name, value) in [("eps_abs", self.eps_abs), ("eps_rel", self.eps_rel)] {
            if !(value >= 0.0 && value.is_finite()) {
                return bad(name, value, "choose a finite tolerance >= 0");
            }
        }
        if self.eps_abs == 0.0 && self.eps_rel == 0.0 {
            return bad("eps_abs", 0.0, "eps_abs and eps_rel cannot both be 0");
        }
        if let Some(mu) = self.smoothing.filter(|mu| !(*mu > 0.0 && mu.is_finite())) {
            return bad("smoothing", mu, "choose mu > 0 and finite, in units of the objective");
        }
        if self.infeasible == Infeasible::Closest && self.smoothing.is_some() {
            return Err(Error::Unsupported {
                what: "infeasible = closest with smoothing".to_owned(),
                advice: "leave one of the two out",
            });
        }
        if self.threads > MAX_THREADS {
            let advice = "ask for at most 1024, or 0 for all cores";
            return Err(Error::Setting { name: "threads", value: self.threads.to_string(), advice });
        }
        if self.max_iter == Some(0) {
            return bad("max_iter", 0.0, "allow at least one iteration");
        }
        Ok(())
    }
}

/// A limit of time as a number of seconds.
#[cfg(feature = "serde")]
mod seconds {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
    use std::time::Duration;

    pub(super) fn serialize<S: Serializer>(limit: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        limit.map(|d| d.as_secs_f64()).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        let seconds = Option::<f64>::deserialize(deserializer)?;
        seconds.map(|s| Duration::try_from_secs_f64(s).map_err(de::Error::custom)).transpose()
    }
}
