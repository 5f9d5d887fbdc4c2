//! Smooth programs: functions in place of matrices, differentiated by the same backward QP.
//!
//! ```text
//! minimize    f(x, p)
//! subject to  c(x, p) = 0       multipliers y
//!             g(x, p) <= 0      multipliers z >= 0
//!             lb <= x <= ub     multipliers z_box
//! ```
//!
//! At a local solution with the Lagrangian `L = f + y'c + z'g` the derivative of `x` is that of the quadratic program with
//! the Hessian `H` of the Lagrangian over the Jacobians of the active rows: the theorem of this library, with other data. So
//! a smooth program is a quadratic one at its solution, [`model`], and everything behind it (active set, polish, verdict,
//! backward pass) is that of quadratic programs; what it adds is how it is solved ([`sqp`]), whether the point is a minimum
//! ([`judge`]), and how its parameters enter ([`SmoothProgram::pull`], [`SmoothProgram::push`]).

#[cfg(feature = "dual")]
mod dual;
mod interior;
mod judge;
mod layer;
mod local;
mod model;
mod newton;
mod numbers;
mod solve;
mod sqp;

#[cfg(feature = "dual")]
pub use dual::{Dual, DualNum, DualProgram, Functions};
pub use layer::SmoothLayer;
pub use local::{LocalSolution, SmoothGradient, SmoothTangent};

use crate::{Error, Hessian, Matrix, Settings};

/// Values of the functions at a point.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Values {
    /// `f`.
    pub objective: f64,
    /// `c`.
    pub equality: Vec<f64>,
    /// `g`.
    pub inequality: Vec<f64>,
}

/// First derivatives of the functions and the second of the Lagrangian at a point.
#[derive(Debug, Clone, PartialEq)]
pub struct Expansion {
    /// `df/dx`.
    pub gradient: Vec<f64>,
    /// `dc/dx`, a row for each equality.
    pub equality: Matrix,
    /// `dg/dx`, a row for each inequality.
    pub inequality: Matrix,
    /// The Hessian of `f + y'c + z'g` by x; dense or sparse, symmetric.
    pub hessian: Hessian,
}

/// What moves along a direction of the parameters, x and multipliers held.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pushed {
    /// `d(dL/dx)`.
    pub gradient: Vec<f64>,
    /// `dc`.
    pub equality: Vec<f64>,
    /// `dg`.
    pub inequality: Vec<f64>,
    /// `dL`.
    pub lagrangian: f64,
}

/// A point and multipliers of the equalities and the inequalities.
#[derive(Debug, Clone, Copy)]
pub struct At<'a> {
    /// Variables.
    pub x: &'a [f64],
    /// Multipliers of the equalities.
    pub y: &'a [f64],
    /// Multipliers of the inequalities.
    pub z: &'a [f64],
}

/// A smooth program at given parameters: twice differentiable functions of x, and how they depend on the parameters.
///
/// Functions may be undefined somewhere: NaN there makes the solver take shorter steps.
pub trait SmoothProgram {
    /// Bounds of the variables, one entry for each, which may be infinite.
    fn bounds(&self) -> (&[f64], &[f64]);

    /// Values at a point.
    fn values(&mut self, x: &[f64]) -> Result<Values, Error>;

    /// Derivatives at a point, for these multipliers.
    fn expand(&mut self, at: At<'_>) -> Result<Expansion, Error>;

    /// The gradient by the parameters of `w'(dL/dx) + u_y'c + u_z'g + t L`, everything but the parameters held.
    fn pull(&mut self, at: At<'_>, w: &[f64], u: (&[f64], &[f64]), t: f64) -> Result<Vec<f64>, Error>;

    /// What moves along a direction of the parameters.
    fn push(&mut self, at: At<'_>, direction: &[f64]) -> Result<Pushed, Error>;
}

/// Solves a smooth program from `x0`: a local solution, or why there is none ([`LocalSolution::status`]). `multipliers`
/// `(y, z)` of a similar problem help; without them the first step has those of its quadratic model. For many programs of one
/// structure keep a [`SmoothLayer`].
pub fn solve(
    program: &mut dyn SmoothProgram,
    x0: &[f64],
    multipliers: Option<(&[f64], &[f64])>,
    settings: &Settings,
) -> Result<LocalSolution, Error> {
    let found = solve::solve(program, x0, multipliers, settings, &mut sqp::Kept::default())?;
    tell(&found);
    Ok(found)
}

fn tell(found: &LocalSolution) {
    log::debug!("smooth program of {} variables: {}", found.x.len(), found.status);
}

/// A local solution that someone else found: Newton steps on its active set to full digits, the verdict, and derivatives.
/// Missing multipliers (`None`) are recovered. The status says whether it is one.
pub fn from_local_solution(
    program: &mut dyn SmoothProgram,
    x: &[f64],
    multipliers: Option<(&[f64], &[f64])>,
    settings: &Settings,
) -> Result<LocalSolution, Error> {
    solve::polish(program, x, multipliers, settings)
}
