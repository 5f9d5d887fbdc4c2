//! Stage 7: the derivatives of one solution, in workspaces that serve many.

use crate::backward::{Accuracy, Differentiator};
use crate::solution::lower;
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
}

/// The derivatives of a solution: see the methods of the same names of [`Layer`](crate::Layer).
pub struct Derivatives<'a> {
    solution: &'a Solution,
    work: &'a mut Workspace,
}

impl<'a> Derivatives<'a> {
    /// Of a solution whose numbers the differentiator has loaded. Fails if there is none.
    pub(crate) fn new(solution: &'a Solution, work: &'a mut Workspace) -> Result<Self, Error> {
        match solution.ok() {
            true => Ok(Derivatives { solution, work }),
            false => Err(Error::NoSolution { status: solution.status }),
        }
    }

    /// The solution.
    pub fn solution(&self) -> &Solution {
        self.solution
    }

    /// The gradient of a loss with these cotangents.
    pub fn vjp(&mut self, cotangent: &Cotangent, wrt: Wrt) -> Result<&Gradient, Error> {
        let Workspace { differentiator, gradient, .. } = self.work;
        let accuracy = differentiator.vjp(self.solution.at(), cotangent, wrt, gradient)?;
        self.judge(accuracy);
        Ok(&self.work.gradient)
    }

    /// The change of the solution along a direction of the data.
    pub fn jvp(&mut self, tangent: &Tangent) -> Result<&SolutionTangent, Error> {
        let Workspace { differentiator, tangent: out, .. } = self.work;
        let accuracy = differentiator.jvp(self.solution.at(), tangent, out)?;
        self.judge(accuracy);
        Ok(&self.work.tangent)
    }

    /// The derivative of the gradient along a direction of the data, the cotangent held.
    pub fn second_vjp(&mut self, cotangent: &Cotangent, along: &Tangent, wrt: Wrt) -> Result<&Gradient, Error> {
        let Workspace { differentiator, gradient, .. } = self.work;
        let accuracy = differentiator.second_vjp(self.solution.at(), cotangent, along, wrt, gradient)?;
        self.judge(accuracy);
        Ok(&self.work.gradient)
    }

    /// The second derivative of the solution along two directions of the data.
    pub fn second_jvp(&mut self, tangent: &Tangent, along: &Tangent) -> Result<&SolutionTangent, Error> {
        let Workspace { differentiator, tangent: out, .. } = self.work;
        let accuracy = differentiator.second_jvp(self.solution.at(), tangent, along, out)?;
        self.judge(accuracy);
        Ok(&self.work.tangent)
    }

    /// What the backward system is worth: the accuracy of one solve with it, an estimate of its reciprocal condition (0
    /// where it had to be regularized, or is not known), and the verdict on gradients.
    pub fn examine(&mut self) -> Result<(Accuracy, f64, Verdict), Error> {
        let ones = Cotangent { x: vec![1.0; self.solution.qp.n()], ..Cotangent::default() };
        let Workspace { differentiator, gradient, .. } = self.work;
        let accuracy = differentiator.vjp(self.solution.at(), &ones, Wrt::Q, gradient)?;
        Ok((accuracy, differentiator.reciprocal_condition(), lower(self.solution.verdict(), accuracy)))
    }

    /// How far the last derivative may be trusted.
    pub fn verdict(&self) -> Verdict {
        self.work.verdict
    }

    fn judge(&mut self, accuracy: Accuracy) {
        self.work.verdict = lower(self.solution.verdict(), accuracy);
    }
}
