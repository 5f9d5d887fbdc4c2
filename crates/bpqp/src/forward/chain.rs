//! Which solvers are tried, in which order.

use super::{Clarabel, ForwardSolver, Homogeneous, PrimalDualActiveSet, Separable, solver};
use crate::kkt::many_singles;
use crate::{Backward, Cone, Error, Qp, Settings, Solver};
use std::sync::Arc;

/// Rounds of a cold active-set iteration before `auto` goes on to the interior point.
const AUTO_ROUNDS: usize = 15;

/// Variables and rows together up to which second-order cones go to the native interior point first.
const SMALL: usize = 2000;

/// The solvers to try, in order.
pub(crate) fn chain(qp: &Qp, settings: &Settings) -> Vec<Arc<dyn ForwardSolver>> {
    if qp.n() == 0 {
        // nothing to iterate on, and not every solver takes it
        return vec![solver(Solver::ActiveSet)];
    }
    if !qp.cones.is_empty() && settings.solver == Solver::Auto {
        // the native solver has the semidefinite cones, which Clarabel needs a LAPACK for, and no set-up to speak of; of large
        // sparse systems Clarabel's factorization makes more
        let semidefinite = qp.cones.iter().any(|cone| matches!(cone, Cone::PsdTriangle(n) if *n > 1));
        let small = qp.n() + qp.n_equality() + qp.n_inequality() + qp.n_cone() <= SMALL;
        let own = ((semidefinite || small) && Homogeneous::takes(&qp.cones)).then_some(Solver::Homogeneous);
        let other = (own.is_none() || Clarabel::takes(&qp.cones)).then_some(Solver::Clarabel);
        return own.into_iter().chain(other).map(solver).collect();
    }
    if settings.solver != Solver::Auto {
        return vec![solver(settings.solver)];
    }
    let mut chain: Vec<Arc<dyn ForwardSolver>> = Vec::new();
    let none = qp.n_inequality() == 0;
    let bounds = |qp: &Qp| many_singles(qp.kkt()) && qp.g.entries_of_rows().iter().all(|&entries| entries == 1);
    if (none && (!qp.has_bounds() || qp.p.as_dense().is_some())) || (!none && bounds(qp)) {
        // One linear system without inequalities. With bounds alone, be they written as rows, an interior point factors the
        // whole of P in every iteration, the active set only its free part: 7 ms against 25 ms on a portfolio of 500 names
        // (`portfolio_speed`). If it does not settle in these rounds little is lost.
        chain.push(Arc::new(PrimalDualActiveSet { rounds: AUTO_ROUNDS }));
    }
    if Separable::suits(qp) {
        // a few passes over the variables, where the interior point makes a hundred in each iteration
        chain.push(Arc::new(Separable));
    }
    chain.extend([Solver::InteriorPoint, Solver::Clarabel, Solver::Admm].map(solver));
    chain
}

/// Refuses solvers and modes that know no curved cones.
pub(crate) fn check_cones(solvers: &[Arc<dyn ForwardSolver>], settings: &Settings) -> Result<(), Error> {
    if let Some(solver) = solvers.iter().find(|solver| !solver.takes_cones()) {
        return Err(Error::Setting {
            name: "solver",
            value: solver.name().to_owned(),
            advice: "for cones beyond linear constraints name auto, homogeneous or clarabel",
        });
    }
    if settings.smoothing.is_some() {
        return Err(Error::Unsupported {
            what: "smoothing with cones beyond linear constraints".to_owned(),
            advice: "add a quadratic term to the objective instead",
        });
    }
    if settings.backward == Backward::FirstOrder {
        return Err(Error::Unsupported {
            what: "the first-order backward solver with cones beyond linear constraints".to_owned(),
            advice: "use the direct one",
        });
    }
    Ok(())
}
