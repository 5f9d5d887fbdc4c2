//! What the tests of `bpqp` stand on: seeded instances with known solutions, an independent reference solver, finite
//! differences, and readers of the public problem collections. Nothing here is shipped.
#![deny(missing_docs)]

pub mod collection;
pub mod collections;
pub mod cone_judge;
pub mod conic_run;
pub mod conic_value;
pub mod data;
pub mod differences;
pub mod exact;
pub mod flat;
pub mod hard;
pub mod hock_schittkowski;
pub mod hostile;
pub mod isotone;
pub mod judge;
pub mod memory;
pub mod mutate;
pub mod npz;
pub mod opf;
pub mod planted;
pub mod reference;

pub use bpqp_problems::{Family, HessianKind, Instance, Rng, conic, family, paper};

/// The code in the documents at the root runs as tests.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../../../CONTRIBUTING.md")]
    pub struct Contributing;
    #[doc = include_str!("../../../docs/start/rust.md")]
    pub struct Start;
    #[doc = include_str!("../../../README.md")]
    pub struct Readme;
}
