//! The meeting point: all that the backward pass knows of the forward pass.

use super::differentiate::{At, jvp, vjp};
use super::polyhedral::Split;
use super::second::second_vjp;
use super::system::System;
use super::{
    Conic, ConicCertificate, ConicCotangent, ConicGradient, ConicLayer, ConicSolutionTangent, ConicTangent, ConicWrt,
};
use crate::backward::Accuracy;
use crate::solution::lower;
use crate::{Error, Residuals, Settings, Solution, Status, Verdict};
use std::sync::{Arc, Mutex};
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
    /// The proof that there is no solution, where the status says so.
    pub certificate: Option<ConicCertificate>,
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
    /// Per cone: its block sits on a kink, where the solution map has several generalized derivatives.
    pub weakly_active: Vec<bool>,
}

/// A quadratic program's solution behind that of a polyhedral problem.
#[derive(Debug, Clone)]
pub(crate) struct Quadratic {
    pub split: Arc<Split>,
    pub solution: Arc<Solution>,
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
    /// `1/2 x'P x + q'x`.
    pub objective: f64,
    /// How the solve ended.
    pub status: Status,
    /// Residuals of the point, in problem units, computed from the data. `primal` includes the distance of s from K,
    /// `dual` that of y from K*.
    pub residuals: Residuals,
    /// How it was found.
    pub info: ConicInfo,
    pub(crate) conic: Conic,
    pub(crate) settings: Settings,
    /// The point at which derivatives are taken.
    pub(crate) at: Arc<At>,
    pub(crate) quadratic: Option<Quadratic>,
    /// The system of the backward pass, factored at `at`; shared by clones.
    pub(crate) prepared: Arc<Mutex<Option<System>>>,
}

impl ConicSolution {
    /// A solution that says nothing yet.
    pub(crate) fn blank(conic: &Conic, settings: &Settings) -> Self {
        let nan = f64::NAN;
        ConicSolution {
            x: Vec::new(),
            s: Vec::new(),
            y: Vec::new(),
            objective: nan,
            status: Status::NumericalFailure,
            residuals: Residuals {
                primal: nan,
                dual: nan,
                complementarity: nan,
                gap: nan,
                primal_scale: nan,
                dual_scale: nan,
                gap_scale: nan,
            },
            info: ConicInfo::default(),
            conic: conic.clone(),
            settings: settings.clone(),
            at: Arc::new(At::default()),
            quadratic: None,
            prepared: Arc::new(Mutex::new(None)),
        }
    }

    /// True if there is a solution that may be used.
    pub fn ok(&self) -> bool {
        self.status.ok()
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
        (&self.at.x, &self.at.s, &self.at.y)
    }

    /// How far a gradient taken here may be trusted, as far as the forward pass knows; the backward pass can only lower it.
    pub fn verdict(&self) -> Verdict {
        if let Some(quadratic) = &self.quadratic {
            return quadratic.solution.verdict();
        }
        if !self.settings.polish {
            return Verdict::Approximate { tol: self.residuals.relative() };
        }
        if !self.info.polished {
            return Verdict::Untrusted;
        }
        let several = self.info.dependent_rows || self.info.weakly_active.contains(&true);
        if several { Verdict::OneOfSeveral } else { Verdict::Exact }
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
        self.check()?;
        if let Some(Quadratic { split, solution }) = &self.quadratic {
            let inner: Vec<_> = cotangents.iter().map(|c| split.cotangent(&self.conic, c)).collect::<Result<_, _>>()?;
            let (gradients, verdict) = solution.vjps(&inner, split.wrt(wrt))?;
            let pairs = gradients.iter().zip(cotangents);
            let x = &solution.at_point().x;
            return Ok((pairs.map(|(g, c)| split.gradient(&self.conic, x, c, g)).collect(), verdict));
        }
        let mut verdict = self.verdict();
        let out = self.with_system(|system| {
            let mut out = Vec::with_capacity(cotangents.len());
            for cotangent in cotangents {
                let (gradient, accuracy) = vjp(&self.conic, &self.at, system, cotangent, wrt)?;
                verdict = lower(verdict, accuracy);
                out.push(gradient);
            }
            Ok(out)
        })?;
        Ok((out, verdict))
    }

    /// The change of the solution along a direction of the data. Fails if there is no solution.
    pub fn jvp(&self, tangent: &ConicTangent<'_>) -> Result<ConicSolutionTangent, Error> {
        let (mut tangents, _) = self.jvps(std::slice::from_ref(tangent))?;
        tangents.pop().ok_or_else(|| Error::Backward { reason: "no tangent".to_owned() })
    }

    /// Tangents for many directions, with one factorization; and what is known of their accuracy.
    pub fn jvps(&self, tangents: &[ConicTangent<'_>]) -> Result<(Vec<ConicSolutionTangent>, Verdict), Error> {
        self.check()?;
        let mut verdict = self.verdict();
        if let Some(Quadratic { split, solution }) = &self.quadratic {
            let mut out = Vec::with_capacity(tangents.len());
            for t in tangents {
                let inner = solution.jvp(&split.tangent(&self.conic, t)?)?;
                out.push(split.outputs_tangent(&self.conic, &solution.at_point().x, t, &inner));
            }
            return Ok((out, verdict));
        }
        let out = self.with_system(|system| {
            let mut out = Vec::with_capacity(tangents.len());
            for t in tangents {
                let (tangent, accuracy) = jvp(&self.conic, &self.at, system, t)?;
                verdict = lower(verdict, accuracy);
                out.push(tangent);
            }
            Ok(out)
        })?;
        Ok((out, verdict))
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
        self.check()?;
        if let Some(Quadratic { split, solution }) = &self.quadratic {
            let mut layer = crate::Layer::new(solution.qp.clone(), solution.settings.clone())?;
            layer.adopt(solution)?;
            return split.second_vjp(&self.conic, &mut layer, cotangent, along, wrt);
        }
        self.with_system(|system| Ok(second_vjp(&self.conic, &self.at, system, cotangent, along, wrt)?.0))
    }

    /// What the backward system is worth: the accuracy of one solve with it, and the verdict on gradients.
    pub fn examine(&self) -> Result<(Accuracy, Verdict), Error> {
        self.check()?;
        if let Some(Quadratic { solution, .. }) = &self.quadratic {
            let mut layer = crate::Layer::new(solution.qp.clone(), solution.settings.clone())?;
            layer.adopt(solution)?;
            let (accuracy, _, verdict) = layer.examine()?;
            return Ok((accuracy, verdict));
        }
        let ones = vec![1.0; self.conic.n()];
        let cotangent = ConicCotangent::x(&ones);
        let accuracy =
            self.with_system(|system| Ok(vjp(&self.conic, &self.at, system, &cotangent, ConicWrt::NONE)?.1))?;
        Ok((accuracy, lower(self.verdict(), accuracy)))
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        match self.ok() {
            true => Ok(()),
            false => Err(Error::NoSolution { status: self.status }),
        }
    }

    fn with_system<T>(&self, f: impl FnOnce(&mut System) -> Result<T, Error>) -> Result<T, Error> {
        let mut guard = self.prepared.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if guard.is_none() {
            let mut system = System::new(&self.conic)?;
            system.factor(&self.conic, &self.at.faces)?;
            *guard = Some(system);
        }
        match guard.as_mut() {
            Some(system) => f(system),
            None => Err(Error::Backward { reason: "no system".to_owned() }),
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
        ConicLayer::without_solver(self.clone(), settings.clone())?.given(x, s, y)
    }
}
