//! The meeting point: all that the backward pass knows of the forward pass.

use super::form::{Bounds, Form};
use super::{
    Conic, ConicActive, ConicCotangent, ConicGradient, ConicLayer, ConicSolutionTangent, ConicTangent, ConicWrt,
};
use crate::backward::{Accuracy, Differentiator};
use crate::derivatives::Workspace;
use crate::{Certificate, Derivatives, Error, Residuals, Settings, Solution, Status, Verdict};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// How a solution was found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ConicInfo {
    /// The solver that found it.
    pub solver: &'static str,
    /// Its iterations.
    pub iterations: usize,
    /// Wall-clock time of the forward pass, polish included.
    pub time: Duration,
    /// The proof that there is no solution, where the status says so; multipliers of all rows are in `y`, see
    /// [`Conic::verifies`].
    pub certificate: Option<Certificate>,
    /// The polish ended with residuals that are small against the data.
    pub polished: bool,
    /// Newton steps of the polish.
    pub polish_rounds: usize,
    /// Residuals of the solver's own point, before the polish.
    pub raw: Option<Residuals>,
    /// How far the polish moved `x`, in the infinity norm.
    pub moved: f64,
    /// The active rows are linearly dependent.
    pub dependent_rows: bool,
    /// The solution is one point of an optimal face: along some directions nothing changes.
    pub flat_face: bool,
    /// Per cone: its block sits on a kink, where the solution map has several generalized derivatives.
    pub weakly_active: Vec<bool>,
}

/// A solution, or the reason why there is none. See [`ConicSolution::status`].
#[derive(Debug, Clone)]
pub struct ConicSolution {
    /// Variables.
    pub x: Vec<f64>,
    /// Slacks, in K.
    pub s: Vec<f64>,
    /// Multipliers, in K*.
    pub y: Vec<f64>,
    /// Multipliers of the bounds, positive at the upper one, negative at the lower one.
    pub z_box: Vec<f64>,
    /// `1/2 x'P x + q'x`.
    pub objective: f64,
    /// How the solve ended.
    pub status: Status,
    /// Residuals of the point, computed from the data, in the units of the problem (beside curved cones, of linear rows times
    /// a power of two that brings their entries near 1). `primal` includes the distance of s from K,
    /// `dual` that of y from K*.
    pub residuals: Residuals,
    /// How it was found.
    pub info: ConicInfo,
    pub(crate) conic: Conic,
    pub(crate) settings: Settings,
    /// `x, s, y, z_box` at the point at which derivatives are taken.
    pub(crate) at: Arc<[Vec<f64>; 4]>,
    pub(crate) form: Arc<Form>,
    /// In the form of a quadratic program; `None` without a solution.
    pub(crate) inner: Option<Arc<Solution>>,
    /// The workspaces of the backward pass, loaded for this solution; shared by clones.
    pub(crate) prepared: Arc<Mutex<Option<Workspace>>>,
}

impl ConicSolution {
    /// A solution that says nothing yet.
    pub(crate) fn blank(conic: &Conic, form: &Arc<Form>, settings: &Settings) -> Self {
        ConicSolution {
            x: Vec::new(),
            s: Vec::new(),
            y: Vec::new(),
            z_box: Vec::new(),
            objective: f64::NAN,
            status: Status::NumericalFailure,
            residuals: Residuals::UNKNOWN,
            info: ConicInfo::default(),
            conic: conic.clone(),
            settings: settings.clone(),
            at: Arc::default(),
            form: form.clone(),
            inner: None,
            prepared: Arc::default(),
        }
    }

    /// The solution of the quadratic program, in the rows of the caller.
    pub(crate) fn of(conic: &Conic, form: &Arc<Form>, inner: &Solution) -> Self {
        let mut out = Self::blank(conic, form, &inner.settings);
        out.status = inner.status;
        out.objective = inner.objective;
        out.residuals = inner.residuals;
        out.info = ConicInfo {
            solver: inner.info.solver,
            iterations: inner.info.iterations,
            time: inner.info.time,
            certificate: inner.info.certificate.as_ref().map(|c| form.certificate(conic, c)),
            polished: inner.info.polished,
            polish_rounds: inner.info.polish_rounds,
            raw: inner.info.raw,
            moved: inner.info.moved,
            dependent_rows: inner.info.dependent_rows,
            flat_face: inner.info.flat_face,
            weakly_active: form.weak_cones(conic, &inner.x, &inner.active),
        };
        let has_point = !inner.x.is_empty() && inner.x.iter().all(|x| x.is_finite());
        if has_point {
            let at = form.outputs(conic, &inner.at, &inner.active);
            [out.x, out.s, out.y, out.z_box] =
                if inner.shows_its_point() { at.clone() } else { form.outputs(conic, &inner.point(), &inner.active) };
            out.at = Arc::new(at);
        }
        let mut inner = inner.clone();
        // a multiplier of a bound, over an entry near the smallest numbers, may overflow in the row that the bound was
        let finite = |v: &[f64]| v.iter().all(|v| v.is_finite());
        if out.status.ok() && !(finite(&out.s) && finite(&out.y) && finite(&out.z_box)) {
            out.status = Status::NumericalFailure;
            inner.status = Status::NumericalFailure;
        }
        out.inner = Some(Arc::new(inner));
        out
    }

    /// True if there is a solution that may be used.
    pub fn ok(&self) -> bool {
        self.status.ok() || self.inner.as_ref().is_some_and(|inner| inner.closest.is_some())
    }

    /// By how much every row had to be shifted, `A x + s = b + shift`, where the solution is that of the
    /// [closest feasible program](crate::Infeasible::Closest).
    pub fn shift(&self) -> Option<Vec<f64>> {
        let (a, g) = self.inner.as_ref()?.shift()?;
        Some(self.form.shift(a, g))
    }

    /// The problem that was solved.
    pub fn conic(&self) -> &Conic {
        &self.conic
    }

    /// The settings it was solved with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The slacks and multipliers at which derivatives are taken: complementary, and those of the solution unless
    /// someone else's point was polished.
    pub fn at_point(&self) -> (&[f64], &[f64], &[f64]) {
        (&self.at[0], &self.at[1], &self.at[2])
    }

    /// The multipliers of the bounds there.
    pub fn at_z_box(&self) -> &[f64] {
        &self.at[3]
    }

    /// What is active, in the rows of the problem; empty without a solution.
    pub fn active(&self) -> ConicActive {
        match &self.inner {
            Some(inner) if self.ok() => self.form.active(&self.conic, &self.at[0], &inner.active),
            _ => ConicActive::default(),
        }
    }

    /// How far a gradient taken here may be trusted, as far as the forward pass knows; the backward pass can only lower it.
    pub fn verdict(&self) -> Verdict {
        self.inner.as_ref().map_or(Verdict::Untrusted, |inner| inner.verdict())
    }

    /// The gradient of a loss with these cotangents with respect to the blocks in `wrt`. Fails if there is no solution.
    pub fn vjp(&self, cotangent: &ConicCotangent<'_>, wrt: ConicWrt) -> Result<ConicGradient, Error> {
        let (mut gradients, _) = self.vjps(std::slice::from_ref(cotangent), wrt)?;
        gradients.pop().ok_or_else(|| Error::Backward { reason: "no gradient".to_owned() })
    }

    /// Gradients for many cotangents, with one factorization; and what is known of their accuracy.
    pub fn vjps(
        &self,
        cotangents: &[ConicCotangent<'_>],
        wrt: ConicWrt,
    ) -> Result<(Vec<ConicGradient>, Verdict), Error> {
        self.with_derivatives(|at| {
            let mut verdict = self.verdict();
            let mut out = Vec::with_capacity(cotangents.len());
            for cotangent in cotangents {
                let inner = self.form.cotangent(&self.conic, at.solution(), cotangent)?;
                let gradient = at.vjp(&inner, self.form.wrt(wrt))?;
                let point = (&self.at[0][..], &self.at[2][..]);
                out.push(self.form.gradient(&self.conic, point, cotangent, wrt, gradient).finite()?);
                verdict = verdict.worse(at.verdict());
            }
            Ok((out, verdict))
        })
    }

    /// The change of the solution along a direction of the data. Fails if there is no solution.
    pub fn jvp(&self, tangent: &ConicTangent<'_>) -> Result<ConicSolutionTangent, Error> {
        let (mut tangents, _) = self.jvps(std::slice::from_ref(tangent))?;
        tangents.pop().ok_or_else(|| Error::Backward { reason: "no tangent".to_owned() })
    }

    /// Tangents for many directions, with one factorization; and what is known of their accuracy.
    pub fn jvps(&self, tangents: &[ConicTangent<'_>]) -> Result<(Vec<ConicSolutionTangent>, Verdict), Error> {
        self.with_derivatives(|at| {
            let mut verdict = self.verdict();
            let mut out = Vec::with_capacity(tangents.len());
            for t in tangents {
                let inner = self.form.tangent(&self.conic, (&self.at[0], &self.at[2]), t)?;
                let moved = at.jvp(&inner)?.clone();
                out.push(self.form.outputs_tangent(&self.conic, at.solution(), &self.at[2], t, &moved).finite()?);
                verdict = verdict.worse(at.verdict());
            }
            Ok((out, verdict))
        })
    }

    /// The derivative of the gradient `vjp(cotangent)` along the direction `along` of the data, the cotangent held: the
    /// Hessian of `<cotangent, (x, s, y)>` with respect to the data, times that direction. It is symmetric.
    ///
    /// Rows and curvature of second-order, exponential and power cones and their duals move with the solution, and that is
    /// part of it (`docs/cones.md`, section 5). [`Error::Unsupported`] names the cone where there is no second derivative:
    /// PSD cones, curved cones on a kink, the edge `z = 0` of a power cone; and smoothing. Like gradients it may be
    /// one of several or regularized: [`ConicLayer::verdict`] tells.
    ///
    /// ```
    /// use bpqp::{Cone, Conic, ConicCotangent, ConicTangent, ConicWrt, Csc, Settings};
    /// // minimize q'x over the disk of radius r: x = -r q/|q|
    /// let a = Csc::from_triplets(3, 2, &[(1, 0, -1.0), (2, 1, -1.0)])?;
    /// let disk = Conic::new(None, vec![0.0, -2.0], a, vec![1.0, 0.0, 0.0], vec![Cone::SecondOrder(3)])?;
    /// let solution = disk.solve(&Settings::default())?;
    /// let along = ConicTangent { q: Some(&[1.0, 0.0]), ..ConicTangent::default() };
    /// let second = solution.second_vjp(&ConicCotangent::x(&[0.0, 1.0]), &along, ConicWrt::ALL)?;
    /// assert!((second.q.unwrap()[0] + 0.25).abs() < 1e-12); // x_1 = 2/|(q_0, 2)| = 1 - q_0^2/8 + ..
    /// # Ok::<(), bpqp::Error>(())
    /// ```
    pub fn second_vjp(
        &self,
        cotangent: &ConicCotangent<'_>,
        along: &ConicTangent<'_>,
        wrt: ConicWrt,
    ) -> Result<ConicGradient, Error> {
        if !self.form.zeros.is_empty() {
            return self.in_rows()?.second_vjp(cotangent, along, wrt);
        }
        self.with_derivatives(|at| self.form.second_vjp(&self.conic, at, &self.at[2], (cotangent, along), wrt))
    }

    /// The one-sided derivative along a direction of the data, and the verdict on it: see [`Solution::jvp_one_sided`]. Not with
    /// curved cones.
    pub fn jvp_one_sided(&self, tangent: &ConicTangent<'_>) -> Result<(ConicSolutionTangent, Verdict), Error> {
        self.form.jvp_one_sided(&self.conic, self.check()?, &self.at[2], tangent)
    }

    /// The derivative of the change `jvp(tangent)` along another direction of the data, `tangent` held: the second
    /// directional derivative of `x, s, y, z_box` and the objective, symmetric in the two. It is paired with
    /// [`Self::second_vjp`] by `<cotangent, second_jvp(t, along)> = <second_vjp(cotangent, along), t>`, and refused where
    /// that is.
    pub fn second_jvp(
        &self,
        tangent: &ConicTangent<'_>,
        along: &ConicTangent<'_>,
    ) -> Result<ConicSolutionTangent, Error> {
        if !self.form.zeros.is_empty() {
            return self.in_rows()?.second_jvp(tangent, along);
        }
        self.with_derivatives(|at| self.form.second_jvp(&self.conic, at, &self.at[2], (tangent, along)))
    }

    /// What the backward system is worth: the accuracy of one solve with it, an estimate of its reciprocal condition (0 where
    /// it had to be regularized, or is not known), and the verdict on gradients.
    pub fn examine(&self) -> Result<(Accuracy, f64, Verdict), Error> {
        self.with_derivatives(|at| at.examine())
    }

    /// The same solution in a form in which no row with stored zeros is a bound.
    pub(super) fn in_rows(&self) -> Result<ConicSolution, Error> {
        self.check()?;
        ConicLayer::given(&self.conic, (*self.at).clone(), &self.settings, Bounds::Stored)
    }

    pub(crate) fn check(&self) -> Result<&Arc<Solution>, Error> {
        match &self.inner {
            Some(inner) if self.ok() => Ok(inner),
            _ => Err(Error::NoSolution { status: self.status }),
        }
    }

    fn with_derivatives<T>(&self, f: impl FnOnce(&mut Derivatives<'_>) -> Result<T, Error>) -> Result<T, Error> {
        let inner = self.check()?;
        let mut guard: MutexGuard<'_, _> = self.prepared.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if guard.is_none() {
            let mut differentiator = Differentiator::new(&inner.qp, &inner.settings)?;
            differentiator.load_solution(inner.at())?;
            *guard = Some(Workspace::new(differentiator));
        }
        match guard.as_mut() {
            Some(work) => f(&mut Derivatives::new(inner, work)?),
            None => Err(Error::Backward { reason: "no workspace".to_owned() }),
        }
    }
}

impl Conic {
    /// Solves the problem once. For many problems of one structure build a [`ConicLayer`] or a
    /// [`ConicBatch`](crate::ConicBatch).
    pub fn solve(&self, settings: &Settings) -> Result<ConicSolution, Error> {
        ConicLayer::new(self.clone(), settings.clone())?.into_solution()
    }

    /// A solution from elsewhere, ready to be differentiated. It is returned as given and its residuals decide the
    /// status; an empty `s` is `b - A x`. The gradient is taken at the polished point; [`ConicInfo::moved`] says how far
    /// that is from what was given, and the verdict is `Untrusted` where the polish did not get to the end.
    pub fn from_solution(
        &self,
        x: Vec<f64>,
        s: Vec<f64>,
        y: Vec<f64>,
        settings: &Settings,
    ) -> Result<ConicSolution, Error> {
        self.from_point([x, s, y, Vec::new()], settings)
    }

    /// The same with the multipliers of the bounds: `x, s, y, z_box`, of which `s` and `z_box` may be empty.
    pub fn from_point(&self, point: [Vec<f64>; 4], settings: &Settings) -> Result<ConicSolution, Error> {
        ConicLayer::given(self, point, settings, Bounds::Nonzero)
    }
}
