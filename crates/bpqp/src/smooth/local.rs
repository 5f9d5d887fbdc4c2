//! A local solution and its derivatives.

use super::newton::System;
use super::{At, Pushed, SmoothProgram};
use crate::derivatives::Workspace;
use crate::matrix::dot;
use crate::{
    Cotangent, Derivatives, Error, Gradient, Layer, Point, Solution, SolutionTangent, Status, Tangent, Verdict, Wrt,
};
use std::fmt;
use std::sync::Mutex;

/// Relative residual up to which a backward solve counts as exact.
const ACCURATE: f64 = 1e-8;

/// A local solution of a smooth program, or why there is none.
pub struct LocalSolution {
    /// Variables.
    pub x: Vec<f64>,
    /// Multipliers of the equalities.
    pub y: Vec<f64>,
    /// Multipliers of the inequalities, nonnegative.
    pub z: Vec<f64>,
    /// Multipliers of the bounds, positive at the upper one.
    pub z_box: Vec<f64>,
    /// `f`.
    pub objective: f64,
    /// How the solve ended.
    pub status: Status,
    /// Quadratic programs that were solved.
    pub iterations: usize,
    /// What is left of the conditions of a local solution, relative to their terms.
    pub residual: f64,
    /// What went wrong, in words: the function and the entry that is NaN, for instance.
    pub reason: Option<String>,
    /// Where the status is `not_a_minimum`: a direction along which the objective falls to second order.
    pub direction: Option<Vec<f64>>,
    pub(super) order_known: bool,
    /// The quadratic program at the solution.
    pub(super) inner: Option<Solution>,
    pub(super) rho: (f64, f64),
    pub(super) held: (Vec<bool>, Vec<bool>),
    // in boxes: most solutions are moved before anybody asks for their derivatives
    pub(super) work: Mutex<Option<Box<Workspace>>>,
    /// The backward system of a large sparse program, which needs none of the quadratic program.
    pub(super) system: Option<Box<Mutex<System>>>,
}

/// The gradient of a loss.
#[derive(Debug, Clone, PartialEq)]
pub struct SmoothGradient {
    /// By the parameters.
    pub parameters: Vec<f64>,
    /// By the lower bounds.
    pub lb: Vec<f64>,
    /// By the upper bounds.
    pub ub: Vec<f64>,
    /// How far it may be trusted.
    pub verdict: Verdict,
}

/// The change of the outputs along a direction of the parameters and bounds.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct SmoothTangent {
    pub x: Vec<f64>,
    pub y: Vec<f64>,
    pub z: Vec<f64>,
    pub z_box: Vec<f64>,
    pub objective: f64,
    /// How far it may be trusted.
    pub verdict: Verdict,
}

impl fmt::Debug for LocalSolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalSolution")
            .field("x", &self.x)
            .field("status", &self.status)
            .field("objective", &self.objective)
            .field("residual", &self.residual)
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}

impl LocalSolution {
    /// A point with its multipliers, of which nothing else is known.
    pub(super) fn at_point(point: &Point, objective: f64, status: Status, iterations: usize) -> Self {
        LocalSolution {
            x: point.x.clone(),
            y: point.y.clone(),
            z: point.z.clone(),
            z_box: point.z_box.clone(),
            objective,
            status,
            iterations,
            residual: f64::NAN,
            reason: None,
            direction: None,
            order_known: false,
            inner: None,
            rho: (0.0, 0.0),
            held: (Vec::new(), Vec::new()),
            work: Mutex::new(None),
            system: None,
        }
    }

    /// True if there is a local solution that may be used.
    pub fn ok(&self) -> bool {
        self.status.ok()
    }

    /// How far derivatives may be trusted: `untrusted` where the second order does not show a minimum.
    pub fn verdict(&self) -> Verdict {
        match &self.inner {
            Some(inner) if self.order_known && self.ok() => inner.verdict(),
            _ => Verdict::Untrusted,
        }
    }

    /// The solution of the quadratic program that the smooth one is here: what is active, and how surely.
    pub fn model(&self) -> Option<&Solution> {
        self.inner.as_ref()
    }

    fn at(&self) -> At<'_> {
        At { x: &self.x, y: &self.y, z: &self.z }
    }

    fn with<T>(&self, f: impl FnOnce(&mut Derivatives<'_>) -> Result<T, Error>) -> Result<T, Error> {
        let inner = match &self.inner {
            Some(inner) if self.ok() => inner,
            _ => return Err(Error::NoSolution { status: self.status }),
        };
        let mut guard = self.work.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let work = match guard.as_mut() {
            Some(work) => work,
            None => guard.insert(Box::new(Workspace::of(inner)?)),
        };
        f(&mut Derivatives::new(inner, work)?)
    }

    fn worse(&self, own: Verdict) -> Verdict {
        if self.order_known { own } else { Verdict::Untrusted }
    }

    /// The gradient by parameters and bounds of a loss with the cotangents of x, y, z, z_box and the objective (empty for
    /// zeros): one solve with the backward system, and [`SmoothProgram::pull`].
    pub fn vjp(&self, program: &mut dyn SmoothProgram, cot: &Cotangent) -> Result<SmoothGradient, Error> {
        if let Some(system) = &self.system {
            return self.sparse_vjp(program, cot, system);
        }
        let (g, verdict) = self.with(|at| Self::by_rows(at, cot))?;
        self.pulled(program, cot, g, verdict)
    }

    /// The gradient by the vectors of the quadratic program.
    fn by_rows(at: &mut Derivatives<'_>, cot: &Cotangent) -> Result<(Gradient, Verdict), Error> {
        let wrt = Wrt { q: true, b: true, h: true, lb: true, ub: true, ..Wrt::NONE };
        let own = Cotangent { objective: 0.0, ..cot.clone() };
        Ok((at.vjp(&own, wrt)?.clone(), at.verdict()))
    }

    /// The same as [`LocalSolution::vjp`], with the factors that a layer has of the quadratic program.
    pub(super) fn vjp_with(
        &self,
        program: &mut dyn SmoothProgram,
        cot: &Cotangent,
        layer: &mut Layer,
    ) -> Result<SmoothGradient, Error> {
        self.usable()?;
        let (g, verdict) = Self::by_rows(&mut layer.derivatives()?, cot)?;
        self.pulled(program, cot, g, verdict)
    }

    /// The gradient of the program's parameters and bounds, from that of the vectors of the quadratic program.
    fn pulled(
        &self,
        program: &mut dyn SmoothProgram,
        cot: &Cotangent,
        g: Gradient,
        verdict: Verdict,
    ) -> Result<SmoothGradient, Error> {
        let take = |v: Option<Vec<f64>>| v.unwrap_or_default();
        let (w, mut uy, mut uz) = (take(g.q), take(g.b), take(g.h));
        let (mut lb, mut ub) = (take(g.lb), take(g.ub));
        let entry = |v: &[f64], i: usize| v.get(i).copied().unwrap_or(0.0);
        // the rows that are held weigh in the Hessian: `F w = cot` there, and their multipliers exceed by its weight
        let (rho, rho_box) = self.rho;
        uy.iter_mut().enumerate().for_each(|(i, u)| *u += rho * entry(&cot.y, i));
        uz.iter_mut().enumerate().filter(|(i, _)| self.held.0[*i]).for_each(|(i, u)| *u += rho * entry(&cot.z, i));
        let t = cot.objective;
        for j in 0..self.x.len() {
            let z = self.z_box[j];
            if self.held.1[j] {
                let more = rho_box * entry(&cot.z_box, j);
                if z < 0.0 { lb[j] += more } else { ub[j] += more }
            }
            lb[j] -= t * z.min(0.0);
            ub[j] -= t * z.max(0.0);
        }
        let minus = |v: &[f64]| v.iter().map(|v| -v).collect::<Vec<f64>>();
        let parameters = program.pull(self.at(), &w, (&minus(&uy), &minus(&uz)), t)?;
        Ok(SmoothGradient { parameters, lb, ub, verdict: self.worse(verdict) })
    }

    /// The change of the outputs along a direction of the parameters and of the bounds (empty for none).
    pub fn jvp(
        &self,
        program: &mut dyn SmoothProgram,
        parameters: &[f64],
        (lb, ub): (&[f64], &[f64]),
    ) -> Result<SmoothTangent, Error> {
        let pushed = program.push(self.at(), parameters)?;
        if let Some(system) = &self.system {
            return self.sparse_jvp(&pushed, (lb, ub), system);
        }
        let along = Self::tangent(&pushed, (lb, ub));
        let (t, verdict) = self.with(|at| Ok((at.jvp(&along)?.clone(), at.verdict())))?;
        Ok(self.moved(t, verdict, &pushed, (lb, ub)))
    }

    /// The one-sided derivative, `lim (x(p + t dp) - x(p))/t` for t > 0: at kinks too, where weakly active rows and bounds are
    /// inequalities of the quadratic program of the derivative. The same as [`LocalSolution::jvp`] elsewhere.
    ///
    /// Fails where the second order does not show a minimum on the strictly active rows.
    pub fn jvp_one_sided(
        &self,
        program: &mut dyn SmoothProgram,
        parameters: &[f64],
        (lb, ub): (&[f64], &[f64]),
    ) -> Result<SmoothTangent, Error> {
        let inner = match &self.inner {
            Some(inner) if self.ok() => inner,
            _ => return Err(Error::NoSolution { status: self.status }),
        };
        if !inner.active().any_weak() {
            return self.jvp(program, parameters, (lb, ub));
        }
        if !self.order_known {
            let reason =
                "a one-sided derivative needs positive curvature on the strictly active rows, which is not shown";
            return Err(Error::Backward { reason: reason.to_owned() });
        }
        let pushed = program.push(self.at(), parameters)?;
        let (t, verdict) = inner.jvp_one_sided(&Self::tangent(&pushed, (lb, ub)))?;
        Ok(self.moved(t, verdict, &pushed, (lb, ub)))
    }

    /// What is pushed as a direction of the quadratic program.
    fn tangent(pushed: &Pushed, (lb, ub): (&[f64], &[f64])) -> Tangent {
        let minus = |v: &[f64]| v.iter().map(|v| -v).collect::<Vec<f64>>();
        let optional = |v: &[f64]| (!v.is_empty()).then(|| v.to_vec());
        Tangent {
            q: Some(pushed.gradient.clone()),
            b: Some(minus(&pushed.equality)),
            h: Some(minus(&pushed.inequality)),
            lb: optional(lb),
            ub: optional(ub),
            ..Tangent::default()
        }
    }

    /// The change of the program's outputs, from that of the quadratic program, whose held rows weigh in its Hessian.
    fn moved(
        &self,
        t: SolutionTangent,
        verdict: Verdict,
        pushed: &Pushed,
        (lb, ub): (&[f64], &[f64]),
    ) -> SmoothTangent {
        let (rho, rho_box) = self.rho;
        let (mut y, mut z, mut z_box) = (t.y, t.z, t.z_box);
        y.iter_mut().zip(&pushed.equality).for_each(|(y, c)| *y -= rho * c);
        for (i, z) in z.iter_mut().enumerate().filter(|(i, _)| self.held.0[*i]) {
            *z -= rho * pushed.inequality[i];
        }
        let entry = |v: &[f64], j: usize| v.get(j).copied().unwrap_or(0.0);
        let mut objective = pushed.lagrangian;
        for j in 0..self.x.len() {
            let own = self.z_box[j];
            let bound = if own < 0.0 { entry(lb, j) } else { entry(ub, j) };
            objective -= own * bound;
            if self.held.1[j] {
                z_box[j] += rho_box * t.x[j];
            }
        }
        SmoothTangent { x: t.x, y, z, z_box, objective, verdict: self.worse(verdict) }
    }

    fn trusted(&self, system: &System, residual: f64) -> Verdict {
        let own = if system.deficient() { Verdict::OneOfSeveral } else { Verdict::Exact };
        let own = if residual <= ACCURATE { own } else { Verdict::Regularized };
        own.worse(self.verdict())
    }

    fn usable(&self) -> Result<(), Error> {
        if self.ok() { Ok(()) } else { Err(Error::NoSolution { status: self.status }) }
    }

    fn sparse_vjp(
        &self,
        program: &mut dyn SmoothProgram,
        cot: &Cotangent,
        system: &Mutex<System>,
    ) -> Result<SmoothGradient, Error> {
        self.usable()?;
        let n = self.x.len();
        for (name, found, expected) in [
            ("x", cot.x.len(), n),
            ("y", cot.y.len(), self.y.len()),
            ("z", cot.z.len(), self.z.len()),
            ("z_box", cot.z_box.len(), n),
        ] {
            if found != 0 && found != expected {
                return Err(Error::length(name, found, expected, "one cotangent for each entry of the output"));
            }
        }
        let minus = |v: &[f64]| v.iter().map(|v| -v).collect::<Vec<f64>>();
        let mut system = system.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let force = if cot.x.is_empty() { vec![0.0; n] } else { minus(&cot.x) };
        let (w, uy, uz, bounds, residual) = system.solve(&force, (&minus(&cot.y), &minus(&cot.z)), &minus(&cot.z_box));
        let t = cot.objective;
        let (mut lb, mut ub) = (vec![0.0; n], vec![0.0; n]);
        for j in (0..n).filter(|&j| system.pinned(j)) {
            let z = self.z_box[j];
            let own = -bounds[j] - t * z;
            if z < 0.0 { lb[j] = own } else { ub[j] = own }
        }
        let parameters = program.pull(self.at(), &w, (&uy, &uz), t)?;
        Ok(SmoothGradient { parameters, lb, ub, verdict: self.trusted(&system, residual) })
    }

    fn sparse_jvp(
        &self,
        pushed: &Pushed,
        (lb, ub): (&[f64], &[f64]),
        system: &Mutex<System>,
    ) -> Result<SmoothTangent, Error> {
        self.usable()?;
        let n = self.x.len();
        let entry = |v: &[f64], j: usize| v.get(j).copied().unwrap_or(0.0);
        let bound: Vec<f64> = (0..n).map(|j| if self.z_box[j] < 0.0 { entry(lb, j) } else { entry(ub, j) }).collect();
        let minus = |v: &[f64]| v.iter().map(|v| -v).collect::<Vec<f64>>();
        let mut system = system.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let rows = (minus(&pushed.equality), minus(&pushed.inequality));
        let (x, y, z, z_box, residual) = system.solve(&minus(&pushed.gradient), (&rows.0, &rows.1), &bound);
        let objective = pushed.lagrangian - dot(&self.z_box, &bound);
        let verdict = self.trusted(&system, residual);
        Ok(SmoothTangent { x, y, z, z_box, objective, verdict })
    }

    /// `<cotangent, outputs>`, what central differences are taken of.
    pub fn loss(&self, cot: &Cotangent) -> f64 {
        let pairs = [(&cot.x, &self.x), (&cot.y, &self.y), (&cot.z, &self.z), (&cot.z_box, &self.z_box)];
        let outputs: f64 = pairs.iter().filter(|(c, _)| !c.is_empty()).map(|(c, v)| dot(c, v)).sum();
        outputs + cot.objective * self.objective
    }
}
