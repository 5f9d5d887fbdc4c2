//! Many smooth programs of one structure, one after the other.

use super::local::{LocalSolution, SmoothGradient};
use super::sqp::Kept;
use super::{SmoothProgram, solve, tell};
use crate::{Cotangent, Error, Settings, Status};

/// Solves smooth programs of one structure, one after the other: the days of a training, the steps of a closed loop. The solver of
/// the quadratic programs, its symbolic work and its buffers are kept between them, and the gradient comes from the factors of the
/// last one. A program of another structure is solved all the same.
///
/// ```
/// # #[cfg(feature = "dual")] {
/// use bpqp::smooth::{Dual, DualNum, DualProgram, SmoothLayer};
/// use bpqp::{Cotangent, Settings};
/// // the least of (x - p)^4 + x^2
/// let functions = |x: &[Dual], p: &[Dual]| ((x[0] - p[0]).powi(4) + x[0].powi(2), vec![], vec![]);
/// let mut layer = SmoothLayer::new(Settings::default())?;
/// let mut x = vec![0.0];
/// for p in [1.0, 1.1, 1.2] {
///     let mut program = DualProgram::new(1, vec![p], functions);
///     x.clone_from(&layer.solve(&mut program, &x, Some((&[], &[])))?.x);
///     let slope = layer.vjp(&mut program, &Cotangent::x(&[1.0]))?.parameters[0];
///     let curvature = 12.0 * (x[0] - p).powi(2);
///     assert!((slope - curvature / (curvature + 2.0)).abs() < 1e-9);
/// }
/// # }
/// # Ok::<(), bpqp::Error>(())
/// ```
pub struct SmoothLayer {
    settings: Settings,
    kept: Kept,
    solution: Option<LocalSolution>,
}

impl SmoothLayer {
    /// For solves with these settings.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        settings.validate()?;
        Ok(SmoothLayer { settings, kept: Kept::default(), solution: None })
    }

    /// Solves a program from `x0`, as [`solve`](super::solve) does; `multipliers` are those of a similar one.
    pub fn solve(
        &mut self,
        program: &mut dyn SmoothProgram,
        x0: &[f64],
        multipliers: Option<(&[f64], &[f64])>,
    ) -> Result<&LocalSolution, Error> {
        self.solution = None;
        let found = solve::solve(program, x0, multipliers, &self.settings, &mut self.kept)?;
        tell(&found);
        Ok(self.solution.insert(found))
    }

    /// The solution of the last solve.
    pub fn solution(&self) -> Option<&LocalSolution> {
        self.solution.as_ref()
    }

    /// The gradient by parameters and bounds of a loss of the last solution: see [`LocalSolution::vjp`].
    pub fn vjp(&mut self, program: &mut dyn SmoothProgram, cot: &Cotangent) -> Result<SmoothGradient, Error> {
        let Some(found) = &self.solution else { return Err(Error::NoSolution { status: Status::NumericalFailure }) };
        match &mut self.kept.layer {
            Some(layer) if self.kept.current && found.model().is_some() => found.vjp_with(program, cot, layer),
            _ => found.vjp(program, cot),
        }
    }
}
