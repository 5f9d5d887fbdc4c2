//! Stage 6: the gradient as a QP (Theorem 1 of the paper, for every output and every parameter of a QP).
//!
//! At a solution `(x, y, z, z_box)` with active rows `F = [A; G_active]` and active bounds B, both derivatives are
//! solutions of one equality-constrained QP, which sees neither the forward solver nor the inactive constraints:
//!
//! ```text
//! minimize 1/2 w'P w - r'w    s.t.  F w = s,   w_B = t          multipliers v of F, u_box of B
//! ```
//!
//! | | r | s | t | the solution is |
//! | --- | --- | --- | --- | --- |
//! | vjp | `g_x` | `(g_y, g_z)` on F | `g_zbox` on B | `(w, u_y, u_z, u_box)` of [`gradient`](crate::gradient) |
//! | jvp | `-(dP x + dq + dA'y + dG'z)` | `(db - dA x, dh - dG x)` on F | `d(bound)` on B | `(dx, dy, dz, dz_box)` |
//!
//! Rows of curved cones are rotated into the directions of their faces (see [`cones`](crate::cones)): what is pinned is a
//! row of F, what is curved a row with `dc = 1/curvature`. With `d` the eigenvalue of the projection along a direction, the
//! cotangents of slack and multiplier are the right-hand side and a known part `e` of the multiplier: `curved.rs`.
//!
//! The paper's `g_x'w` is this with `w` negated. The barrier solution `x(mu)` (smoothing) has no active set: every
//! inequality contributes curvature instead, `dc = s/z` and `dx = z_l/s_l + z_u/s_u` in the system of [`kkt`](crate::kkt).

mod curved;
mod differentiate;
mod direct;
mod first_order;
mod scaled;
mod second;
mod smoothed;

pub(crate) use differentiate::{Differentiator, shares, validate_tangent};
pub(crate) use second::refuse_cones;
pub(crate) use smoothed::Smoothed;

use crate::active::ActiveSet;
use crate::kkt::{KeptFactors, KktCore, KktData};
use crate::{Error, Qp};
use std::sync::Arc;

/// The equality-constrained QP of a backward pass: the data of the problem, with the diagonals that select its active
/// set (see [`kkt`](crate::kkt)).
#[derive(Debug, Clone, Copy)]
pub struct BackwardQp<'a> {
    /// The matrices of the problem that was solved, curved rows rotated.
    pub data: KktData<'a>,
    /// Added to the diagonal of P; `inf` pins a variable.
    pub dx: &'a [f64],
    /// `F w - dc v = s`; `inf` removes a row. Equality rows first.
    pub dc: &'a [f64],
}

/// What is known of the accuracy of a backward solver on one system.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Accuracy {
    /// Relative residual of the solution.
    pub residual: f64,
    /// The active rows are dependent: their multipliers, and gradients of their data, are one choice of several.
    pub deficient: bool,
    /// Solved to a tolerance, not to rounding.
    pub iterative: bool,
}

/// A solver of backward QPs: direct or iterative, exact or approximate. Any QP solver can be one.
pub trait BackwardSolver: Send {
    /// Prepares for right-hand sides of this system. `core` is a factorization that a forward solver handed over.
    fn prepare(&mut self, system: &BackwardQp<'_>, core: Option<&KktCore>) -> Result<(), Error>;

    /// Solves in place: `r` in `w` and `s` in `v`; pinned variables and removed rows come out as 0.
    fn solve(&mut self, system: &BackwardQp<'_>, w: &mut [f64], v: &mut [f64]) -> Result<Accuracy, Error>;
}

/// A solution as the backward pass sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'a> {
    pub qp: &'a Qp,
    pub point: &'a crate::Point,
    pub active: &'a ActiveSet,
    pub core: Option<&'a KktCore>,
    pub kept: Option<&'a Arc<KeptFactors>>,
    pub exact_factors: bool,
    pub smoothing: Option<f64>,
}
