//! Optimal power flow: the schedule of a grid's generators that meets the load at least cost, the price of power at every
//! bus, and how both move with loads, line limits and costs.
//!
//! ```no_run
//! use bpqp_grid::{Case, Dispatch, Model, Parameters};
//! # fn main() -> Result<(), bpqp_grid::GridError> {
//! let case = Case::parse(&std::fs::read_to_string("pglib_opf_case14_ieee.m").expect("a file"))?;
//! let mut dispatch = Dispatch::solve(&case, Model::Ac, &Default::default())?;
//! println!("{} $/h, prices {:?}", dispatch.cost, dispatch.price);
//! let more = Parameters { load: case.buses.iter().map(|b| 0.01 * b.load).collect(), ..Parameters::zeros(&case) };
//! println!("with 1 % more load prices change by {:?}", dispatch.along(&more)?.price);
//! # Ok(())
//! # }
//! ```
//!
//! | model | program | what it knows |
//! | --- | --- | --- |
//! | [`Model::Dc`] | convex quadratic: angles and active power | no losses, no voltages |
//! | [`Model::Ac`] | smooth, not convex: the full power flow in polar coordinates | losses, voltages, reactive power |
//!
//! Cases are files of MATPOWER as those of PGLib.
#![deny(missing_docs)]

mod ac;
mod case;
mod dc;
mod dispatch;

pub use ac::AcProgram;
pub use case::{Branch, Bus, Case, Generator};
pub use dc::program as dc_program;
pub use dispatch::{Dispatch, Model, Outputs, Parameters};

/// What is wrong with a case, or with a request.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum GridError {
    /// The text is no case.
    #[error("{0}")]
    Case(String),
    /// The solver refuses.
    #[error(transparent)]
    Solver(#[from] bpqp::Error),
}
