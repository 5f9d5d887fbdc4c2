//! Stage 2: how a problem is solved. Any solver will do: the passes share only a [`Point`].

mod active_set;
mod admm;
mod bounds;
mod chain;
mod clarabel;
mod dual;
mod homogeneous;
mod interior_point;
pub(crate) mod newton;
mod pivoting;
mod presolve;
pub(crate) mod rays;
mod scaling;
mod separable;

pub use active_set::PrimalDualActiveSet;
pub use admm::Admm;
pub(crate) use chain::{chain, check_cones};
pub use clarabel::Clarabel;
pub use homogeneous::Homogeneous;
pub use interior_point::InteriorPoint;
pub(crate) use pivoting::{PATIENCE, PIVOT_KEPT, PIVOTING_CLEAR, PIVOTING_ROUNDS};
pub(crate) use scaling::{POLISH, POLISH_CONES, Scaling};
pub(crate) use separable::Separable;

use crate::kkt::KktCore;
use crate::residuals::Point;
use crate::{Certificate, Deadline, Error, Qp, Settings, Solver, Status};
use std::sync::Arc;

/// A solver: prepares handles for problems of one structure.
pub trait ForwardSolver: Send + Sync {
    /// The name in `info` and in settings.
    fn name(&self) -> &'static str;

    /// True if it solves problems with curved cones.
    fn takes_cones(&self) -> bool {
        false
    }

    /// Does the symbolic work and allocates the buffers for problems of the structure of `qp`.
    fn prepare(&self, qp: &Qp, settings: &Settings) -> Result<Box<dyn ForwardHandle>, Error>;
}

/// A prepared solver; owns its workspaces.
pub trait ForwardHandle: Send {
    /// Takes the numbers of another problem of the same structure (shapes and sparsity patterns). Blocks at the same
    /// address as before are unchanged, and what was computed from them is kept.
    fn update(&mut self, qp: &Qp) -> Result<(), Error>;

    /// When the next solve, and what continues it, has to end. A handle that is never told goes by its settings; one that does
    /// not care is ended only when it returns.
    fn end_by(&mut self, _deadline: &Deadline) {}

    /// Solves the problem last given to `prepare` or `update`, from `warm` if there is one, into `out`.
    fn solve(&mut self, warm: Option<&Point>, out: &mut Point) -> Outcome;

    /// Continues the last solve to the full tolerances, for solvers that stop early and let the polish finish. Asked only
    /// when the polish could not verify the active set, and perhaps once more for further digits. `None` if there is nothing to
    /// gain.
    fn tighten(&mut self, _out: &mut Point) -> Option<Outcome> {
        None
    }

    /// A factorization that the backward pass may use; it must never need it.
    fn core(&self) -> Option<KktCore> {
        None
    }
}

/// What a solver says of its result. `status` is its claim: the layer recomputes the residuals and checks certificates.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// How it ended.
    pub status: Status,
    /// Iterations used.
    pub iterations: usize,
    /// The proof that goes with `PrimalInfeasible`, `DualInfeasible` or `NonConvex`.
    pub certificate: Option<Certificate>,
}

/// The solver of that name; `Auto` is the first one that it tries.
pub fn solver(which: Solver) -> Arc<dyn ForwardSolver> {
    match which {
        Solver::Auto | Solver::InteriorPoint => Arc::new(InteriorPoint),
        Solver::ActiveSet => Arc::new(PrimalDualActiveSet::default()),
        Solver::Admm => Arc::new(Admm),
        Solver::Homogeneous => Arc::new(Homogeneous),
        Solver::Clarabel => Arc::new(Clarabel),
    }
}
