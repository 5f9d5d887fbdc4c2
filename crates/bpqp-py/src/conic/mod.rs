//! Cone programs: a batch of one structure, whose values come with every call.

mod engine;
mod instance;
mod solved;
mod values;

pub use engine::ConicEngine;
pub use solved::ConicSolved;

pub(crate) use crate::errors::misuse;
use crate::errors::{Failure, raise};
use bpqp::{Cone, Csc, Error};
use numpy::PyReadonlyArray1;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

fn at(error: Error, instance: usize) -> PyErr {
    Failure::at(error, Some(instance)).into()
}

fn cone(item: &Bound<'_, PyTuple>) -> PyResult<Cone> {
    let kind: String = item.get_item(0)?.extract()?;
    let rows = || item.get_item(1)?.extract::<usize>();
    let exponent = || item.get_item(1)?.extract::<f64>();
    Ok(match kind.as_str() {
        "zero" => Cone::Zero(rows()?),
        "nonnegative" => Cone::Nonnegative(rows()?),
        "soc" => Cone::SecondOrder(rows()?),
        "psd" => Cone::PsdTriangle(rows()?),
        "exp" => Cone::Exponential,
        "pow" => Cone::Power(exponent()?),
        "dual_exp" => Cone::DualExponential,
        "dual_pow" => Cone::DualPower(exponent()?),
        other => return Err(misuse(format!("there is no cone {other:?}"))),
    })
}

fn pattern(any: &Bound<'_, PyTuple>, rows: usize, cols: usize) -> PyResult<Csc> {
    let index = |k: usize| -> PyResult<Vec<usize>> {
        let array: PyReadonlyArray1<'_, i64> = any.get_item(k)?.extract()?;
        let index = |v: &i64| usize::try_from(*v).map_err(|_| misuse("a negative index"));
        array.as_array().iter().map(index).collect()
    };
    let indices = index(1)?;
    let zeros = vec![0.0; indices.len()];
    Csc::new(rows, cols, index(0)?, indices, zeros).map_err(raise)
}
