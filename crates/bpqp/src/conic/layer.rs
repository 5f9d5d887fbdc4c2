//! The user's object, in the conic form. Prepared once, then solved and differentiated many times.

use super::form::{Bounds, Form};
use super::{Conic, ConicCotangent, ConicGradient, ConicSolution, ConicSolutionTangent, ConicTangent, ConicWrt};
use crate::backward::Accuracy;
use crate::error::check_finite;
use crate::{Certificate, Error, Infeasible, Layer, Settings, Status, Verdict, from_solution};
use std::sync::Arc;
use std::time::Instant;

/// A conic structure, prepared: symbolic work and buffers belong to it.
///
/// ```
/// use bpqp::{Cone, Conic, ConicCotangent, ConicLayer, ConicWrt, Csc, Settings};
/// // minimize -x_1 - x_2 over the disk of radius r, as (r, x) in the second-order cone
/// let a = Csc::from_triplets(3, 2, &[(1, 0, -1.0), (2, 1, -1.0)])?;
/// let disk = Conic::new(None, vec![-1.0, -1.0], a, vec![1.0, 0.0, 0.0], vec![Cone::SecondOrder(3)])?;
/// let mut layer = ConicLayer::new(disk, Settings::default())?;
/// let half = 0.5_f64.sqrt();
/// assert!((layer.solve()?.x[0] - half).abs() < 1e-14);
/// let gradient = layer.vjp(&ConicCotangent::x(&[1.0, 1.0]), ConicWrt::ALL)?;
/// assert!((gradient.b.unwrap()[0] - 2.0 * half).abs() < 1e-12); // the radius
/// layer.update(None, None, None, Some(&[2.0, 0.0, 0.0]))?;
/// assert!((layer.solve()?.x[0] - 2.0 * half).abs() < 1e-14);
/// # Ok::<(), bpqp::Error>(())
/// ```
pub struct ConicLayer {
    conic: Conic,
    settings: Settings,
    form: Arc<Form>,
    /// `None` where two rows contradict each other.
    layer: Option<Box<Layer>>,
    contradiction: Option<Certificate>,
    solution: ConicSolution,
    verdict: Verdict,
}

/// Rows that may have to be shifted stay rows.
fn bounds(settings: &Settings) -> Bounds {
    if settings.infeasible == Infeasible::Status { Bounds::Nonzero } else { Bounds::Rows }
}

impl ConicLayer {
    /// Prepares for problems of the structure of `conic`: its patterns and cones.
    pub fn new(conic: Conic, settings: Settings) -> Result<Self, Error> {
        settings.validate()?;
        let form = Arc::new(Form::new(&conic, bounds(&settings))?);
        let solution = ConicSolution::blank(&conic, &form, &settings);
        let mut out = ConicLayer {
            conic,
            settings,
            form,
            layer: None,
            contradiction: None,
            solution,
            verdict: Verdict::Untrusted,
        };
        out.load(None)?;
        Ok(out)
    }

    /// Takes the problem at hand into the layer of its form.
    fn load(&mut self, before: Option<&Conic>) -> Result<(), Error> {
        if !self.form.fits(&self.conic, before) {
            self.form = Arc::new(Form::new(&self.conic, bounds(&self.settings))?);
            self.layer = None;
        }
        let old = before.and_then(|before| self.layer.as_ref().map(|layer| (before, layer.qp())));
        self.contradiction = None;
        match (self.form.qp(&self.conic, old)?, &mut self.layer) {
            (Err(crossed), layer) => {
                self.contradiction = Some(self.form.contradiction(&self.conic, crossed));
                *layer = None;
            }
            (Ok(qp), Some(layer)) => layer.update(qp)?,
            (Ok(qp), layer) => *layer = Some(Box::new(Layer::new(qp, self.settings.clone())?)),
        }
        Ok(())
    }

    /// Takes other numbers on the same patterns, in the order of the stored entries; `None` keeps what is there.
    pub fn update(
        &mut self,
        p: Option<&[f64]>,
        q: Option<&[f64]>,
        a: Option<&[f64]>,
        b: Option<&[f64]>,
    ) -> Result<(), Error> {
        let conic = self.conic.with_values(p, q, a, b)?;
        self.replace(conic)
    }

    /// Takes a problem of the same patterns and cones.
    pub fn replace(&mut self, conic: Conic) -> Result<(), Error> {
        let before = std::mem::replace(&mut self.conic, conic);
        self.solution.status = Status::NumericalFailure;
        self.solution.inner = None;
        self.load(Some(&before))
    }

    /// The problem at hand.
    pub fn conic(&self) -> &Conic {
        &self.conic
    }

    /// The solution of the last solve.
    pub fn solution(&self) -> &ConicSolution {
        &self.solution
    }

    /// Solves the problem at hand.
    pub fn solve(&mut self) -> Result<&ConicSolution, Error> {
        self.solve_from(None)
    }

    /// Solves the problem at hand, starting from the solution of a similar one: where that is close, the polish carries it
    /// over. A start of other shapes is ignored: it never decides whether there is a solution.
    pub fn solve_from(&mut self, warm: Option<&ConicSolution>) -> Result<&ConicSolution, Error> {
        let warm = warm.filter(|w| w.ok());
        self.solve_from_point(warm.map(|w| [&w.x[..], &w.s, &w.y, &w.z_box]))
    }

    /// The same from a point `x, s, y, z_box`, of which `s` and `z_box` may be empty. One that is not finite is no start.
    pub fn solve_from_point(&mut self, warm: Option<[&[f64]; 4]>) -> Result<&ConicSolution, Error> {
        let start = Instant::now();
        match &mut self.layer {
            Some(layer) => {
                let (n, m) = (self.conic.n(), self.conic.m());
                let fits = |[x, s, y, z_box]: &[&[f64]; 4]| {
                    let shapes = x.len() == n && y.len() == m;
                    let optional = (s.is_empty() || s.len() == m) && (z_box.is_empty() || z_box.len() == n);
                    shapes && optional && [x, s, y, z_box].into_iter().all(|v| v.iter().all(|e| e.is_finite()))
                };
                let warm = warm.filter(fits);
                let point = warm.map(|[x, s, y, z_box]| self.form.point(&self.conic, x, s, y, z_box));
                layer.solve_from(point.as_ref())?;
                self.solution = ConicSolution::of(&self.conic, &self.form, layer.solution());
            }
            None => {
                self.solution = ConicSolution::blank(&self.conic, &self.form, &self.settings);
                self.solution.status = Status::PrimalInfeasible;
                self.solution.info.solver = "none";
                self.solution.info.certificate = self.contradiction.clone();
            }
        }
        self.solution.info.time = start.elapsed();
        Ok(&self.solution)
    }

    pub(crate) fn into_solution(mut self) -> Result<ConicSolution, Error> {
        self.solve()?;
        Ok(self.solution)
    }

    /// Someone else's point `x, s, y, z_box` as a solution.
    pub(super) fn given(
        conic: &Conic,
        point: [Vec<f64>; 4],
        settings: &Settings,
        bounds: Bounds,
    ) -> Result<ConicSolution, Error> {
        let [x, s, y, z_box] = point;
        let (n, m) = (conic.n(), conic.m());
        let advice = "a given solution has the shapes of the problem; only s and z_box may be left out";
        for (argument, v, expected) in [("x", &x, n), ("s", &s, m), ("y", &y, m), ("z_box", &z_box, n)] {
            let optional = matches!(argument, "s" | "z_box");
            if v.len() != expected && !(optional && v.is_empty()) {
                return Err(Error::length(argument, v.len(), expected, advice));
            }
            check_finite(argument, v)?;
        }
        let form = Arc::new(Form::new(conic, bounds)?);
        let qp = match form.qp(conic, None)? {
            Ok(qp) => qp,
            Err(crossed) => {
                let mut out = ConicSolution::blank(conic, &form, settings);
                out.status = Status::PrimalInfeasible;
                out.info.certificate = Some(form.contradiction(conic, crossed));
                return Ok(out);
            }
        };
        let inner = from_solution(qp, form.point(conic, &x, &s, &y, &z_box), settings)?;
        let mut out = ConicSolution::of(conic, &form, &inner);
        // as given: slacks of linear rows count, too
        let missing = if s.is_empty() { out.s.clone() } else { s };
        let off = conic.primal_residual(&x, &missing);
        if out.ok() && off > out.residuals.primal {
            out.residuals.primal = off;
            out.status = match () {
                () if out.residuals.within(settings.eps_abs, settings.eps_rel, 1.0) => Status::Solved,
                () if out.residuals.relative() <= crate::given::INACCURATE => Status::SolvedInaccurate,
                () => Status::NumericalFailure,
            };
        }
        (out.x, out.s, out.y) = (x, missing, y);
        Ok(out)
    }

    /// Makes a solution of this structure, of this layer or another, the current one.
    pub fn adopt(&mut self, solution: &ConicSolution) -> Result<(), Error> {
        let other = &solution.conic;
        let same_p = match (self.conic.p(), other.p()) {
            (Some(a), Some(b)) => a.same_pattern(b),
            (None, None) => true,
            _ => false,
        };
        let same_p = same_p && self.conic.factored == other.factored;
        if !(same_p && self.conic.a.same_pattern(&other.a) && self.conic.cones == other.cones) {
            return Err(Error::Structure { argument: "solution", reason: "its patterns or cones are others" });
        }
        if Arc::ptr_eq(&self.solution.at, &solution.at) && self.solution.status == solution.status {
            return Ok(());
        }
        self.conic = other.clone();
        self.form = solution.form.clone();
        if let Some(inner) = &solution.inner {
            let fits = self.layer.as_mut().is_some_and(|layer| layer.update(inner.qp.clone()).is_ok());
            if !fits {
                self.layer = Some(Box::new(Layer::new(inner.qp.clone(), self.settings.clone())?));
            }
            if let Some(layer) = &mut self.layer {
                layer.adopt(inner)?;
            }
        }
        self.solution = solution.clone();
        Ok(())
    }

    /// The layer of the form, with the current solution.
    fn inner(&mut self) -> Result<(&Form, &Conic, &ConicSolution, &mut Layer), Error> {
        self.solution.check()?;
        match &mut self.layer {
            Some(layer) => Ok((&self.form, &self.conic, &self.solution, layer)),
            None => Err(Error::NoSolution { status: self.solution.status }),
        }
    }

    /// The gradient of a loss at the last solution, with these cotangents.
    pub fn vjp(&mut self, cotangent: &ConicCotangent<'_>, wrt: ConicWrt) -> Result<ConicGradient, Error> {
        let (form, conic, solution, layer) = self.inner()?;
        let inner = form.cotangent(conic, layer.solution(), cotangent)?;
        let gradient = layer.vjp(&inner, form.wrt(wrt))?;
        let out = form.gradient(conic, (&solution.at[0], &solution.at[2]), cotangent, wrt, gradient);
        self.verdict = layer.verdict();
        out.finite()
    }

    /// The change of the last solution along a direction of the data.
    pub fn jvp(&mut self, tangent: &ConicTangent<'_>) -> Result<ConicSolutionTangent, Error> {
        let (form, conic, solution, layer) = self.inner()?;
        let at = (&solution.at[0][..], &solution.at[2][..]);
        let inner = layer.jvp(&form.tangent(conic, at, tangent)?)?.clone();
        let out = form.outputs_tangent(conic, layer.solution(), &solution.at[2], tangent, &inner);
        self.verdict = layer.verdict();
        out.finite()
    }

    /// The one-sided derivative along a direction of the data; see [`ConicSolution::jvp_one_sided`].
    pub fn jvp_one_sided(&mut self, tangent: &ConicTangent<'_>) -> Result<ConicSolutionTangent, Error> {
        let (out, verdict) = self.solution.jvp_one_sided(tangent)?;
        self.verdict = verdict;
        Ok(out)
    }

    /// The derivative of the gradient along a direction of the data, the cotangent held; see [`ConicSolution::second_vjp`].
    pub fn second_vjp(
        &mut self,
        cotangent: &ConicCotangent<'_>,
        along: &ConicTangent<'_>,
        wrt: ConicWrt,
    ) -> Result<ConicGradient, Error> {
        if !self.form.zeros.is_empty() {
            let out = self.solution.in_rows()?;
            let derivative = out.second_vjp(cotangent, along, wrt)?;
            self.verdict = out.verdict();
            return Ok(derivative);
        }
        let (form, conic, solution, layer) = self.inner()?;
        let mut at = layer.derivatives()?;
        let out = form.second_vjp(conic, &mut at, &solution.at[2], (cotangent, along), wrt)?;
        self.verdict = at.verdict();
        Ok(out)
    }

    /// The derivative of the change along a direction, along another; see [`ConicSolution::second_jvp`].
    pub fn second_jvp(
        &mut self,
        tangent: &ConicTangent<'_>,
        along: &ConicTangent<'_>,
    ) -> Result<ConicSolutionTangent, Error> {
        if !self.form.zeros.is_empty() {
            let out = self.solution.in_rows()?;
            let derivative = out.second_jvp(tangent, along)?;
            self.verdict = out.verdict();
            return Ok(derivative);
        }
        let (form, conic, solution, layer) = self.inner()?;
        let mut at = layer.derivatives()?;
        let out = form.second_jvp(conic, &mut at, &solution.at[2], (tangent, along))?;
        self.verdict = at.verdict();
        Ok(out)
    }

    /// What the backward system of the last solution is worth, see [`ConicSolution::examine`].
    pub fn examine(&mut self) -> Result<(Accuracy, f64, Verdict), Error> {
        self.inner()?.3.examine()
    }

    /// How far the last derivative may be trusted.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }
}
