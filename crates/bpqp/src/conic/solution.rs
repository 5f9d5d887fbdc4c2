//! The meeting point of the two passes.

use crate::Residuals;
use std::time::Duration;

/// A proof that there is no solution.
#[derive(Debug, Clone, PartialEq)]
pub enum ConicCertificate {
    /// `y` in K* with `A'y = 0` and `b'y < 0`: no point satisfies the constraints.
    PrimalInfeasible(Vec<f64>),
    /// `d` with `P d = 0`, `-A d` in K and `q'd < 0`: the objective decreases along it without bound.
    DualInfeasible(Vec<f64>),
    /// `d` on the null space of the rows of the zero cones with `d'P d < 0`.
    NonConvex(Vec<f64>),
}

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
    /// The polish ended at residuals of rounding size.
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
