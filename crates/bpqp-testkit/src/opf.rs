//! DC optimal power flow from MATPOWER case files.

use bpqp::Qp;
use bpqp_grid::{Case, dc_program};

/// The program in the powers of the generators and the angles of the buses, and the constant of its costs.
pub fn program(text: &str) -> Result<(Qp, f64), String> {
    Case::parse(text).and_then(|case| dc_program(&case)).map_err(|e| e.to_string())
}
