//! `bpqp solve | grad | check FILE.qps`: linear and quadratic programs as MPS and QPS files. The loss of `grad` and `check` is
//! the sum of the variables; multipliers and gradients are those of the minimum.

use crate::problem_file::{FileError, ProblemFile};
use crate::unpack;
use bpqp::{Cotangent, Settings, qps};
use std::path::Path;

/// True if the name of the file says that it holds such a program.
pub fn is_qps(file: &Path) -> bool {
    let name = file.to_string_lossy().to_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    name.ends_with(".qps") || name.ends_with(".mps")
}

/// Reads a file, unpacked to at most `limit` megabytes if its name ends in `.gz`.
pub fn read(file: &Path, limit: u64) -> Result<ProblemFile, FileError> {
    let found = qps::parse(&unpack::read(file, limit)?).map_err(|e| FileError::new(file, e))?;
    let cotangent = Cotangent { x: vec![1.0; found.qp.n()], ..Cotangent::default() };
    let (constant, maximize) = (found.constant, found.maximize);
    Ok(ProblemFile { qp: found.qp, settings: Settings::default(), cotangent, constant, maximize })
}
