//! Problems for whoever builds on `bpqp`: seeded instances of every structure with known solutions, the families that papers
//! and libraries are timed on, and [`check_solver`], which holds a solver of your own to the laws that those of `bpqp` obey.
#![deny(missing_docs)]

pub mod conic;
pub mod family;
pub mod paper;
mod rng;
mod solver_check;

pub use family::{Family, HessianKind, Instance};
pub use rng::Rng;
pub use solver_check::{Finding, SolverReport, check_solver};
