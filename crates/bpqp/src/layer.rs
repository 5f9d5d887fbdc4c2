//! Stage 8: the user's object. Prepared once, then solved and differentiated many times.

use crate::active::{ActiveSet, RowCheck, Start};
use crate::backward::{Accuracy, Differentiator};
use crate::closest::{self, Closest};
use crate::derivatives::{Derivatives, Workspace};
use crate::forward::{self, ForwardHandle, ForwardSolver};
use crate::kkt::negative_curvature;
use crate::residuals::{Point, ResidualWork};
use crate::small;
use crate::solution::Nearest;
use crate::{
    Certificate, Cotangent, Error, Gradient, Infeasible, Qp, Settings, Solution, SolutionTangent, Solver, Status,
    Tangent, Verdict, Wrt,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

mod solve;

use solve::WARM_ROUNDS;

/// The number of the next solve of the process.
static SOLVES: AtomicU64 = AtomicU64::new(1);

/// A solver, and its handle once it was needed.
type Link = (Arc<dyn ForwardSolver>, Option<Box<dyn ForwardHandle>>);

/// A problem structure, prepared: symbolic work and buffers belong to it, and every factorization is kept for as long as
/// the matrices that it came from.
///
/// ```
/// use bpqp::{Cotangent, Hessian, Layer, Qp, Settings, Wrt};
/// // the projection of (0.5, 2) onto the unit box
/// let qp = Qp::new(Hessian::Diagonal(vec![1.0; 2]), vec![-0.5, -2.0])?.bounds(vec![0.0; 2], vec![1.0; 2])?;
/// let mut layer = Layer::new(qp.clone(), Settings::default())?;
/// assert_eq!(layer.solve()?.x, [0.5, 1.0]);
/// let gradient = layer.vjp(&Cotangent::x(&[1.0, 1.0]), Wrt::ALL)?;
/// assert_eq!(gradient.q.as_deref(), Some(&[-1.0, 0.0][..]));
/// layer.update(qp.with_q(vec![-0.25, 3.0])?)?;
/// assert_eq!(layer.solve()?.x, [0.25, 0.0]);
/// # Ok::<(), bpqp::Error>(())
/// ```
pub struct Layer {
    settings: Settings,
    chain: Vec<Link>,
    /// Boxed, as it is large and layers are moved.
    backward: Box<Workspace>,
    convex: Option<bool>,
    curvature: Option<Vec<f64>>,
    loaded: bool,
    solution: Solution,
    trial: Point,
    work: ResidualWork,
    rows: RowCheck,
    free: ActiveSet,
    /// Where the polish of a curved program failed: how far the point that is shown is off.
    loss: f64,
    /// Its programs may be small ones for which the sweep over all lanes does what the first of its solvers does.
    small: bool,
    /// The solvers have not seen the problem at hand.
    stale: bool,
    /// The point misses the tolerance by rounding of the terms of its equations alone.
    rounded: bool,
}

impl Layer {
    /// Prepares for problems of the structure of `qp`: its shapes, sparsity patterns, and which blocks there are.
    pub fn new(qp: Qp, settings: Settings) -> Result<Self, Error> {
        let solvers = forward::chain(&qp, &settings);
        let first = matches!(settings.solver, Solver::Auto | Solver::InteriorPoint);
        let small = first && small::suits(&settings) && small::is_small(&qp);
        Ok(Layer { small, ..Self::with_solvers(qp, solvers, settings)? })
    }

    /// The same for a problem that is known to be convex.
    pub(crate) fn of_convex(qp: Qp, settings: Settings) -> Result<Self, Error> {
        Ok(Layer { convex: Some(true), ..Self::new(qp, settings)? })
    }

    /// Prepares for a solution that is given: nothing solves.
    pub(crate) fn for_given(qp: Qp, settings: Settings) -> Result<Self, Error> {
        Self::with_solvers(qp, Vec::new(), settings)
    }

    /// The same with forward solvers of your own, tried in this order (`settings.solver` is not looked at).
    pub fn with_solvers(qp: Qp, solvers: Vec<Arc<dyn ForwardSolver>>, settings: Settings) -> Result<Self, Error> {
        settings.validate()?;
        if settings.infeasible == Infeasible::Closest && !qp.cones.is_empty() {
            return Err(Error::Unsupported {
                what: "infeasible = closest with cones beyond linear constraints".to_owned(),
                advice: "add slacks with a cost of their own",
            });
        }
        if !qp.cones.is_empty() {
            forward::check_cones(&solvers, &settings)?;
        }
        Ok(Layer {
            chain: solvers.into_iter().map(|solver| (solver, None)).collect(),
            backward: Box::new(Workspace::new(Differentiator::new(&qp, &settings)?)),
            convex: None,
            curvature: None,
            loaded: false,
            solution: Solution::blank(&qp, &settings),
            trial: Point::zeros(&qp),
            work: ResidualWork::default(),
            rows: RowCheck::default(),
            free: ActiveSet::default(),
            loss: f64::INFINITY,
            rounded: false,
            small: false,
            stale: false,
            settings,
        })
    }

    /// Takes the numbers of another problem of the same structure. Blocks that both share keep what was computed of them.
    pub fn update(&mut self, qp: Qp) -> Result<(), Error> {
        let old = &self.solution.qp;
        check_structure(old, &qp)?;
        if !(Arc::ptr_eq(&old.p, &qp.p) && Arc::ptr_eq(&old.a, &qp.a)) {
            self.convex = None;
        }
        self.solution.qp = qp;
        self.stale = true;
        if !self.small {
            self.refresh()?;
        }
        self.solution.status = Status::NumericalFailure;
        self.solution.solve = 0;
        self.solution.closest = None;
        self.loaded = false;
        Ok(())
    }

    /// Shows the problem at hand to the solvers.
    fn refresh(&mut self) -> Result<(), Error> {
        if std::mem::take(&mut self.stale) {
            let handles = self.chain.iter_mut().filter_map(|(_, handle)| handle.as_mut());
            for handle in handles {
                handle.update(&self.solution.qp)?;
            }
        }
        Ok(())
    }

    /// The same for a problem that is known to be convex, of which nobody asks for a proof.
    pub(crate) fn update_convex(&mut self, qp: Qp) -> Result<(), Error> {
        self.update(qp)?;
        self.convex = Some(true);
        Ok(())
    }

    /// True if the derivatives of that solution can be had here.
    pub(crate) fn serves(&self, solution: &Solution) -> bool {
        self.settings.backward == solution.settings.backward && self.takes(&solution.qp)
    }

    /// True if problems of the structure of `qp` are solved here.
    pub(crate) fn takes(&self, qp: &Qp) -> bool {
        check_structure(&self.solution.qp, qp).is_ok()
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The problem at hand.
    pub fn qp(&self) -> &Qp {
        &self.solution.qp
    }

    /// Solves the problem at hand.
    pub fn solve(&mut self) -> Result<&Solution, Error> {
        self.solve_from(None)
    }

    /// Solves the problem at hand, starting from the solution of a similar one: if its active set is nearly right this
    /// costs a few systems of that set. A point of other shapes, or with numbers that are not finite, is no help and is
    /// ignored: a warm start never decides whether there is a solution.
    pub fn solve_from(&mut self, warm: Option<&Point>) -> Result<&Solution, Error> {
        let start = Instant::now();
        self.solution.solve = 0;
        (self.solution.closest, self.solution.kept) = (None, None);
        self.forward(warm.filter(|point| point.fits(&self.solution.qp) && point.is_finite()))?;
        if self.settings.infeasible == Infeasible::Closest && self.solution.status == Status::PrimalInfeasible {
            self.find_closest(start)?;
        }
        self.solution.info.time = start.elapsed();
        self.solution.solve = SOLVES.fetch_add(1, Ordering::Relaxed);
        self.tell();
        Ok(&self.solution)
    }

    /// One record for each solve; nothing is computed for it that nobody hears.
    fn tell(&self) {
        let Solution { qp, status, info, residuals: r, .. } = &self.solution;
        let (solver, iterations) = (info.solver, info.iterations);
        if status.ok() {
            let how = if info.polished { "verified" } else { "not verified" };
            log::debug!(
                "{status} by {solver} in {iterations} iterations, {how}: primal {:.1e}, dual {:.1e}, gap {:.1e}; {} variables, {} rows",
                r.primal,
                r.dual,
                r.gap,
                qp.n(),
                qp.n_equality() + qp.n_inequality() + qp.n_cone()
            );
        } else {
            let proof = if info.certificate.is_some() { ", with a certificate" } else { "" };
            log::debug!("no solution: {status} by {solver} in {iterations} iterations{proof}");
        }
    }

    /// Solves the closest feasible program, its two levels one after the other. Where one of them is not solved there is no
    /// solution.
    fn find_closest(&mut self, start: Instant) -> Result<(), Error> {
        let Layer { solution, settings, .. } = self;
        let solve = |qp: Qp| {
            let time_limit = settings.time_limit.map(|limit| limit.saturating_sub(start.elapsed()));
            let settings = Settings {
                solver: Solver::Auto,
                infeasible: Infeasible::Status,
                polish: true,
                time_limit,
                ..settings.clone()
            };
            qp.solve(&settings)
        };
        let first = solve(closest::least_squares(&solution.qp)?)?;
        if !first.ok() {
            return Ok(());
        }
        let map = Closest::new(&solution.qp, &first.active);
        let second = solve(map.program(&solution.qp)?)?;
        if second.ok() {
            let shift = map.shift(&second.x);
            solution.take_closest(Nearest { map, solution: second, shift });
        }
        Ok(())
    }

    /// The solution of the last solve.
    pub fn solution(&self) -> &Solution {
        &self.solution
    }

    /// The gradient of a loss at the last solution, with these cotangents; it stays valid until the next call.
    pub fn vjp(&mut self, cotangent: &Cotangent, wrt: Wrt) -> Result<&Gradient, Error> {
        self.derivatives()?.vjp(cotangent, wrt)?;
        Ok(&self.backward.gradient)
    }

    /// The change of the last solution along a direction of the data.
    pub fn jvp(&mut self, tangent: &Tangent) -> Result<&SolutionTangent, Error> {
        self.derivatives()?.jvp(tangent)?;
        Ok(&self.backward.tangent)
    }

    /// The derivative of the gradient `vjp(cotangent, wrt)` along a direction of the data, the cotangent held: the product
    /// of the direction with the (symmetric) Hessian of `<cotangent, outputs>` with respect to the data.
    pub fn second_vjp(&mut self, cotangent: &Cotangent, along: &Tangent, wrt: Wrt) -> Result<&Gradient, Error> {
        self.derivatives()?.second_vjp(cotangent, along, wrt)?;
        Ok(&self.backward.gradient)
    }

    /// The second derivative of the last solution along two directions of the data.
    pub fn second_jvp(&mut self, tangent: &Tangent, along: &Tangent) -> Result<&SolutionTangent, Error> {
        self.derivatives()?.second_jvp(tangent, along)?;
        Ok(&self.backward.tangent)
    }

    /// What the backward system of the last solution is worth: the accuracy of one solve with it, an estimate of its
    /// reciprocal condition (0 where it had to be regularized, or is not known), and the verdict on gradients.
    pub fn examine(&mut self) -> Result<(Accuracy, f64, Verdict), Error> {
        self.derivatives()?.examine()
    }

    /// The gradient of the last `vjp`.
    pub fn gradient(&self) -> &Gradient {
        &self.backward.gradient
    }

    /// How far the last derivative may be trusted.
    pub fn verdict(&self) -> Verdict {
        self.backward.verdict
    }

    pub(crate) fn derivatives(&mut self) -> Result<Derivatives<'_>, Error> {
        Derivatives::new(&self.solution, &mut self.backward)
    }

    /// The derivatives of a solution that this layer [serves](Layer::serves). It is not copied. Where it is the last one that
    /// was found here, what the polish left is taken as it is; else what was loaded here for the last one is lost.
    pub(crate) fn derivatives_of<'a>(&'a mut self, solution: &'a Solution) -> Result<Derivatives<'a>, Error> {
        if self.loaded && solution.solve != 0 && solution.solve == self.solution.solve {
            return Derivatives::new(solution, &mut self.backward);
        }
        self.derivatives_anew(solution)
    }

    /// The same, whatever was found here last.
    pub(crate) fn derivatives_anew<'a>(&'a mut self, solution: &'a Solution) -> Result<Derivatives<'a>, Error> {
        self.loaded = false;
        self.solution.solve = 0;
        self.solution.status = Status::NumericalFailure;
        self.backward.differentiator.load_solution(solution.at())?;
        Derivatives::new(solution, &mut self.backward)
    }

    /// True if the derivatives of that solution can be had beside those of others.
    pub(crate) fn derives_in_lanes(&self, of: &Solution) -> bool {
        of.ok() && self.serves(of) && self.backward.differentiator.takes_lanes(of.at())
    }

    /// Factors the systems of such solutions side by side.
    pub(crate) fn factor_together<'a>(&mut self, solutions: impl Iterator<Item = &'a Solution> + Clone) {
        let Some(first) = solutions.clone().next() else { return };
        (self.loaded, self.solution.status, self.solution.solve) = (false, Status::NumericalFailure, 0);
        let systems = solutions.map(|solution| (&solution.qp, &solution.active));
        self.backward.differentiator.side_by_side(&first.qp).factor(systems);
    }

    /// The derivatives of the one of these solutions in that lane.
    pub(crate) fn derivatives_in<'a>(&'a mut self, lane: usize, of: &'a Solution) -> Result<Derivatives<'a>, Error> {
        self.backward.differentiator.turn_to(lane);
        Derivatives::new(of, &mut self.backward)
    }

    /// True if this program may be solved beside others.
    pub(crate) fn takes_lanes(&self, qp: &Qp) -> bool {
        self.small && small::is_small(qp) && self.takes(qp)
    }

    /// Solves programs that are [taken](Self::takes_lanes) side by side; `take(k, solution)` for each that has one, the others
    /// are to be solved alone.
    pub(crate) fn solve_together(&mut self, qps: &[Qp], mut take: impl FnMut(usize, &Solution)) {
        let start = Instant::now();
        let Some(first) = qps.first().filter(|_| !self.settings.deadline().passed()) else { return };
        let small = self.backward.differentiator.side_by_side(first);
        small.solve(qps);
        self.loaded = false;
        self.stale = true;
        self.solution.solve = 0;
        let time = start.elapsed() / qps.len() as u32;
        for (lane, qp) in qps.iter().enumerate() {
            let small = self.backward.differentiator.side_by_side(qp);
            let Some(found) = small.found(lane, &self.settings) else { continue };
            let solution = &mut self.solution;
            (solution.qp, solution.closest, self.convex) = (qp.clone(), None, None);
            small.write(lane, qp, &mut solution.at, &mut solution.active);
            solution.take_found(&found);
            solution.info.time = time;
            self.tell();
            take(lane, &self.solution);
        }
        // whatever is in the lanes, it is not differentiated here
        self.solution.status = Status::NumericalFailure;
    }

    /// Solves a small program in one sweep; false where it takes more than that.
    fn solve_small(&mut self) -> bool {
        let Layer { solution, small: may, .. } = self;
        if !(*may && small::is_small(&solution.qp)) {
            return false;
        }
        let qp = &solution.qp.clone();
        let differentiator = &mut self.backward.differentiator;
        let small = differentiator.side_by_side(qp);
        small.solve(std::slice::from_ref(qp));
        self.loaded = false;
        let Some(found) = small.found(0, &self.settings) else { return false };
        small.write(0, qp, &mut solution.at, &mut solution.active);
        solution.take_found(&found);
        differentiator.turn_to(0);
        true
    }

    /// The solution of the last solve, which no other problem shares its matrices with: in place of the factors of all rows it has
    /// those of its active set, packed.
    pub(crate) fn packed(&mut self) -> &Solution {
        let solution = &mut self.solution;
        if solution.core.is_some() && solution.exact_factors && solution.ok() && !solution.active.any_weak() {
            if let Some(kept) = self.backward.differentiator.kept() {
                (solution.core, solution.kept) = (None, Some(Arc::new(kept)));
            }
        }
        solution
    }

    pub(crate) fn into_solution(mut self) -> Result<Solution, Error> {
        self.solve()?;
        Ok(self.solution)
    }

    /// Makes a solution that came from elsewhere the current one, so that it can be differentiated here.
    pub(crate) fn adopt(&mut self, solution: &Solution) -> Result<(), Error> {
        check_structure(&self.solution.qp, &solution.qp)?;
        self.solution.clone_from(solution);
        self.backward.differentiator.load(&solution.qp, solution.core.as_ref())?;
        self.loaded = true;
        Ok(())
    }

    fn load(&mut self) -> Result<(), Error> {
        let core = self.chain.iter().find_map(|(_, handle)| handle.as_ref().and_then(|h| h.core()));
        self.backward.differentiator.load(&self.solution.qp, core.as_ref())?;
        self.loaded = true;
        Ok(())
    }
}

fn check_structure(old: &Qp, new: &Qp) -> Result<(), Error> {
    let counts = [
        ("q", old.n(), new.n(), "it needs one entry per variable"),
        ("b", old.n_equality(), new.n_equality(), "the number of equalities is part of the structure"),
        ("h", old.n_inequality(), new.n_inequality(), "the number of inequalities is part of the structure"),
    ];
    for (argument, expected, found, advice) in counts {
        if expected != found {
            return Err(Error::length(argument, found, expected, advice));
        }
    }
    let changed = |argument, reason| Err(Error::Structure { argument, reason });
    if let Some(reason) = old.p.difference(&new.p) {
        return changed("P", reason);
    }
    if old.cones != new.cones {
        return changed("cones", "other cones");
    }
    for (argument, a, b) in [("A", &old.a, &new.a), ("G", &old.g, &new.g), ("C", &old.c, &new.c)] {
        if let Some(reason) = a.difference(b) {
            return changed(argument, reason);
        }
    }
    Ok(())
}

impl Qp {
    /// Solves the problem once. For many problems of one structure build a [`Layer`] or a [`Batch`](crate::Batch).
    pub fn solve(&self, settings: &Settings) -> Result<Solution, Error> {
        Layer::new(self.clone(), settings.clone())?.into_solution()
    }
}

impl Layer {
    /// Polishes a point that someone else computed and makes it the solution.
    pub(crate) fn differentiate_given(mut self, point: Point) -> Result<Solution, Error> {
        self.trial = point;
        if let Some(direction) = negative_curvature(&self.solution.qp.p, &self.solution.qp.a) {
            self.finish_without(Status::NonConvex, Some(Certificate::NonConvex(direction)))?;
            return Ok(self.solution);
        }
        self.polish_trial(Start::Point, WARM_ROUNDS)?;
        self.solution.info.solver = "given";
        Ok(self.solution)
    }
}
