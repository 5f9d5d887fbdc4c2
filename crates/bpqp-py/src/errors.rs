//! Errors of the core as Python exceptions of `bpqp._errors`.

use bpqp::Error;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

fn named(class: &str, message: String) -> PyErr {
    Python::attach(|py| {
        let make = || -> PyResult<PyErr> {
            let class = py.import("bpqp._errors")?.getattr(class)?;
            Ok(PyErr::from_value(class.call1((message.clone(),))?))
        };
        make().unwrap_or_else(|_| PyRuntimeError::new_err(message.clone()))
    })
}

/// The exception for an error of the core.
pub fn raise(error: &Error) -> PyErr {
    raise_at(error, None)
}

/// The same, naming the instance of a batch.
pub fn raise_at(error: &Error, instance: Option<usize>) -> PyErr {
    let class = match error {
        Error::Unsupported { .. } => "UnsupportedError",
        Error::NoSolution { .. } | Error::Backward { .. } => "SolveError",
        _ => "ArgumentError",
    };
    named(
        class,
        match instance {
            Some(k) => format!("instance {k} of the batch: {error}"),
            None => error.to_string(),
        },
    )
}
