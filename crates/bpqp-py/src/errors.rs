//! What can go wrong, with and without an interpreter; errors of the core as Python exceptions of `bpqp._errors`.

use bpqp::Error;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use std::fmt;

/// Why a call on a batch came to nothing.
pub enum Failure {
    /// An error of the core, and the instance of the batch that it belongs to.
    Core { error: Error, instance: Option<usize> },
    /// Arguments that do not belong together.
    Misuse(String),
    /// An exception of the interpreter, for instance a keyboard interrupt.
    Python(PyErr),
}

impl Failure {
    pub fn at(error: Error, instance: Option<usize>) -> Self {
        Failure::Core { error, instance }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::at(error, None)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Core { error, instance: Some(k) } => write!(f, "instance {k} of the batch: {error}"),
            Failure::Core { error, instance: None } => error.fmt(f),
            Failure::Misuse(message) => f.write_str(message),
            Failure::Python(error) => error.fmt(f),
        }
    }
}

impl From<Failure> for PyErr {
    fn from(failure: Failure) -> Self {
        match &failure {
            Failure::Core { error, .. } => {
                let class = match error {
                    Error::Unsupported { .. } => "UnsupportedError",
                    Error::NoSolution { .. } | Error::Backward { .. } => "SolveError",
                    _ => "ArgumentError",
                };
                named(class, failure.to_string())
            }
            Failure::Misuse(message) => misuse(message),
            Failure::Python(error) => Python::attach(|py| error.clone_ref(py)),
        }
    }
}

fn named(class: &str, message: String) -> PyErr {
    Python::attach(|py| {
        let make = || -> PyResult<PyErr> {
            let class = py.import("bpqp._errors")?.getattr(class)?;
            Ok(PyErr::from_value(class.call1((message.clone(),))?))
        };
        make().unwrap_or_else(|_| PyRuntimeError::new_err(message.clone()))
    })
}

/// The exception for arguments that do not belong together.
pub fn misuse(message: impl Into<String>) -> PyErr {
    named("ArgumentError", message.into())
}

/// The exception for an error of the core.
pub fn raise(error: Error) -> PyErr {
    Failure::from(error).into()
}
