//! Stage 7: the derivatives of one solution, in workspaces that serve many.

use crate::backward::{Accuracy, Differentiator, validate_tangent};
use crate::solution::{Nearest, lower};
use crate::{Cotangent, Error, Gradient, Solution, SolutionTangent, Tangent, Verdict, Wrt};

/// What derivatives are computed with, and where they are left.
pub(crate) struct Workspace {
    pub differentiator: Differentiator,
    pub gradient: Gradient,
    pub tangent: SolutionTangent,
    pub verdict: Verdict,
}

impl std::fmt::Debug for Workspace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workspace").field("verdict", &self.verdict).finish_non_exhaustive()
    }
}

impl Workspace {
    pub fn new(differentiator: Differentiator) -> Self {
        Workspace {
            differentiator,
            gradient: Gradient::default(),
            tangent: SolutionTangent::default(),
            verdict: Verdict::Untrusted,
        }
    }

    /// For a solution, its numbers loaded. Fails if there is none.
    pub fn of(solution: &Solution) -> Result<Self, Error> {
        if !solution.ok() {
            return Err(Error::NoSolution { status: solution.status });
        }
        let mut differentiator = Differentiator::new(&solution.qp, &solution.settings)?;
        differentiator.load_solution(solution.at())?;
        Ok(Workspace::new(differentiator))
    }
}

/// The derivatives of a solution: see the methods of the same names of [`Layer`](crate::Layer).
pub struct Derivatives<'a> {
    solution: &'a Solution,
    work: &'a mut Workspace,
    /// For the closest feasible program.
    inner: Option<Box<Workspace>>,
}

/// Which first derivative, or which second one.
enum Ask<'a> {
    Vjp(&'a Cotangent, Wrt),
    SecondVjp(&'a Cotangent, &'a Tangent, Wrt),
    Jvp(&'a Tangent),
    SecondJvp(&'a Tangent, &'a Tangent),
}

impl<'a> Derivatives<'a> {
    /// Of a solution whose numbers the differentiator has loaded. Fails if there is none.
    pub(crate) fn new(solution: &'a Solution, work: &'a mut Workspace) -> Result<Self, Error> {
        if !solution.ok() {
            return Err(Error::NoSolution { status: solution.status });
        }
        let inner = match &solution.closest {
            Some(nearest) => Some(Box::new(Workspace::of(&nearest.solution)?)),
            None => None,
        };
        Ok(Derivatives { solution, work, inner })
    }

    /// The solution.
    pub fn solution(&self) -> &Solution {
        self.solution
    }

    /// The gradient of a loss with these cotangents.
    pub fn vjp(&mut self, cotangent: &Cotangent, wrt: Wrt) -> Result<&Gradient, Error> {
        self.derive(Ask::Vjp(cotangent, wrt))?;
        Ok(&self.work.gradient)
    }

    /// The change of the solution along a direction of the data.
    pub fn jvp(&mut self, tangent: &Tangent) -> Result<&SolutionTangent, Error> {
        self.derive(Ask::Jvp(tangent))?;
        Ok(&self.work.tangent)
    }

    /// The derivative of the gradient along a direction of the data, the cotangent held.
    pub fn second_vjp(&mut self, cotangent: &Cotangent, along: &Tangent, wrt: Wrt) -> Result<&Gradient, Error> {
        self.derive(Ask::SecondVjp(cotangent, along, wrt))?;
        Ok(&self.work.gradient)
    }

    /// The second derivative of the solution along two directions of the data.
    pub fn second_jvp(&mut self, tangent: &Tangent, along: &Tangent) -> Result<&SolutionTangent, Error> {
        self.derive(Ask::SecondJvp(tangent, along))?;
        Ok(&self.work.tangent)
    }

    fn derive(&mut self, ask: Ask<'_>) -> Result<(), Error> {
        if let (Some(nearest), Some(inner)) = (self.solution.closest.as_deref(), self.inner.as_deref_mut()) {
            return derive_closest(self.solution, nearest, (inner, self.work), ask);
        }
        let at = self.solution.at();
        let Workspace { differentiator, gradient, tangent, .. } = self.work;
        let accuracy = match ask {
            Ask::Vjp(cotangent, wrt) => differentiator.vjp(at, cotangent, wrt, gradient)?,
            Ask::SecondVjp(cotangent, along, wrt) => differentiator.second_vjp(at, cotangent, along, wrt, gradient)?,
            Ask::Jvp(t) => differentiator.jvp(at, t, tangent)?,
            Ask::SecondJvp(t, along) => differentiator.second_jvp(at, t, along, tangent)?,
        };
        self.work.verdict = lower(self.solution.verdict(), accuracy);
        tell(self.work.verdict);
        Ok(())
    }

    /// What the backward system is worth: the accuracy of one solve with it, an estimate of its reciprocal condition (0
    /// where it had to be regularized, or is not known), and the verdict on gradients.
    pub fn examine(&mut self) -> Result<(Accuracy, f64, Verdict), Error> {
        let (solution, work) = match (self.solution.closest.as_deref(), self.inner.as_deref_mut()) {
            (Some(nearest), Some(inner)) => (&nearest.solution, inner),
            _ => (self.solution, &mut *self.work),
        };
        let accuracy = work.differentiator.examine(solution.at())?;
        Ok((accuracy, work.differentiator.reciprocal_condition(), lower(self.solution.verdict(), accuracy)))
    }

    /// How far the last derivative may be trusted.
    pub fn verdict(&self) -> Verdict {
        self.work.verdict
    }
}

/// A record of each derivative that promises less than exactness.
fn tell(verdict: Verdict) {
    match verdict {
        Verdict::Exact => {}
        Verdict::Regularized | Verdict::Untrusted => log::warn!("a derivative is {verdict}"),
        weaker => log::debug!("a derivative is {weaker}"),
    }
}

/// Derivatives of the closest feasible program: those of the program of both levels, pushed and pulled.
fn derive_closest(
    solution: &Solution,
    nearest: &Nearest,
    (inner, out): (&mut Workspace, &mut Workspace),
    ask: Ask<'_>,
) -> Result<(), Error> {
    let (qp, map) = (&solution.qp, &nearest.map);
    let mut at = Derivatives::new(&nearest.solution, inner)?;
    let moves = |t: &Tangent| t.a.is_some() || t.g.is_some();
    let tangent = |t: &Tangent| -> Result<Tangent, Error> {
        validate_tangent(qp, t)?;
        map.tangent(qp, t)
    };
    let matrices = match ask {
        Ask::Vjp(cotangent, wrt) => {
            cotangent.validate(qp)?;
            let own = at.vjp(&map.cotangent(cotangent)?, map.wrt(wrt))?;
            out.gradient = map.gradient(qp, own, wrt);
            wrt.a || wrt.g
        }
        Ask::SecondVjp(cotangent, along, wrt) => {
            cotangent.validate(qp)?;
            let own = at.second_vjp(&map.cotangent(cotangent)?, &tangent(along)?, map.wrt(wrt))?;
            out.gradient = map.gradient(qp, own, wrt);
            wrt.a || wrt.g || moves(along)
        }
        Ask::Jvp(t) => {
            out.tangent = map.outputs(qp, at.jvp(&tangent(t)?)?);
            moves(t)
        }
        Ask::SecondJvp(t, along) => {
            out.tangent = map.outputs(qp, at.second_jvp(&tangent(t)?, &tangent(along)?)?);
            moves(t) || moves(along)
        }
    };
    out.verdict = nearest.verdict(at.verdict(), matrices);
    tell(out.verdict);
    Ok(())
}

impl Solution {
    /// The gradient of a loss with these cotangents with respect to the blocks in `wrt`. Fails if there is no solution.
    pub fn vjp(&self, cotangent: &Cotangent, wrt: Wrt) -> Result<Gradient, Error> {
        let mut work = Workspace::of(self)?;
        Derivatives::new(self, &mut work)?.vjp(cotangent, wrt)?;
        Ok(work.gradient)
    }

    /// The change of the solution along a direction of the data. Fails if there is no solution.
    pub fn jvp(&self, tangent: &Tangent) -> Result<SolutionTangent, Error> {
        let mut work = Workspace::of(self)?;
        Derivatives::new(self, &mut work)?.jvp(tangent)?;
        Ok(work.tangent)
    }

    /// Gradients for many cotangents, with one factorization; and what is known of their accuracy.
    pub fn vjps(&self, cotangents: &[Cotangent], wrt: Wrt) -> Result<(Vec<Gradient>, Verdict), Error> {
        let mut work = Workspace::of(self)?;
        let mut at = Derivatives::new(self, &mut work)?;
        let mut verdict = self.verdict();
        let mut out = Vec::with_capacity(cotangents.len());
        for cotangent in cotangents {
            out.push(at.vjp(cotangent, wrt)?.clone());
            verdict = verdict.worse(at.verdict());
        }
        Ok((out, verdict))
    }
}
