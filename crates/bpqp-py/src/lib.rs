//! The extension module `bpqp._bpqp`: arrays in, arrays out, the interpreter free while the core works.
//!
//! Everything here works on batches: an array with one dimension more than its argument has one value for every
//! instance, one without is shared. What is convenient for a user (a single problem, names, defaults) is the business of
//! the Python package; what is mathematics, of the core.

mod arrays;
mod conic;
mod data;
mod engine;
mod errors;
mod files;
mod gather;
mod grid;
mod large;
mod list;
mod logging;
mod pieces;
mod plain;
mod prepared;
mod smooth;
mod solutions;
mod solved;
mod verdicts;
mod xla;

use arrays::{Args, points};
use bpqp::{Backward, Infeasible, Settings, Solver, Status, Verdict};
use engine::Engine;
use errors::{misuse, raise};
use numpy::{PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use solved::Solved;
use std::time::Duration;

/// Batches of small problems are many small buffers, made on several threads: the system's allocator took a fifth of the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Settings from keyword arguments; `None` is the default.
pub(crate) fn settings(options: Option<&Bound<'_, PyDict>>) -> PyResult<Settings> {
    let mut s = Settings::default();
    let Some(options) = options else { return Ok(s) };
    for (name, value) in options.iter() {
        if value.is_none() {
            continue;
        }
        let name: String = name.extract()?;
        set(&mut s, &name, &value).map_err(|error| match error.is_instance_of::<PyValueError>(value.py()) {
            true => error,
            // what Python says of a type or a size does not name the setting
            false => misuse(format!("{name} = {value:?}: {}", error.value(value.py()))),
        })?;
    }
    s.validate().map_err(raise)?;
    Ok(s)
}

fn set(s: &mut Settings, name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
    match name {
        "solver" => s.solver = Solver::from_name(&value.extract::<String>()?).map_err(raise)?,
        "eps_abs" => s.eps_abs = value.extract()?,
        "eps_rel" => s.eps_rel = value.extract()?,
        "max_iter" => s.max_iter = Some(value.extract()?),
        "time_limit" => {
            let seconds: f64 = value.extract()?;
            s.time_limit = Some(
                Duration::try_from_secs_f64(seconds)
                    .map_err(|_| misuse(format!("time_limit = {seconds}: give a number of seconds >= 0")))?,
            );
        }
        "polish" => s.polish = value.extract()?,
        "presolve" => s.presolve = value.extract()?,
        "backward" => {
            s.backward = match value.extract::<String>()?.as_str() {
                "direct" => Backward::Direct,
                "first_order" => Backward::FirstOrder,
                other => {
                    let advice = "name one of \"direct\", \"first_order\"";
                    return Err(misuse(format!("backward = {other:?}: {advice}")));
                }
            }
        }
        "smoothing" => s.smoothing = Some(value.extract()?),
        "infeasible" => s.infeasible = Infeasible::from_name(&value.extract::<String>()?).map_err(raise)?,
        "threads" => s.threads = value.extract()?,
        other => return Err(misuse(format!("there is no setting {other:?}"))),
    }
    Ok(())
}

/// Prepared state that outlives a call: one layer per thread, with the factorizations of what did not change.
#[pyclass(frozen, module = "bpqp._bpqp", name = "Engine")]
struct PyEngine(Engine);

#[pymethods]
impl PyEngine {
    /// `single`: the data come from single precision, and P may be as asymmetric as its rounding.
    #[new]
    #[pyo3(signature = (options = None, single = false))]
    fn new(options: Option<&Bound<'_, PyDict>>, single: bool) -> PyResult<Self> {
        Ok(PyEngine(Engine::new(settings(options)?, single).map_err(raise)?))
    }

    /// Solves the problems of `data = (P, q, G, h, A, b, lb, ub)`; `warm` starts them at `(x, y, z, z_box)`.
    #[pyo3(signature = (data, warm = None))]
    fn solve(&self, py: Python<'_>, data: &Bound<'_, PyTuple>, warm: Option<&Bound<'_, PyTuple>>) -> PyResult<Solved> {
        logging::listen(py)?;
        let args = Args::new(data)?;
        let data = args.data()?;
        let mut start = Vec::new();
        if let Some(warm) = warm {
            // a start that was never written is no start
            start = points(warm.iter())?.into_iter().map(|point| point.is_finite().then_some(point)).collect();
        }
        let mut solutions = self.0.solve(Some(py), &data, None, &start)?;
        solutions.batched = data.batch().is_some();
        Ok(Solved(solutions, data.arguments()))
    }

    /// Solutions from elsewhere, ready to be differentiated; missing multipliers are recovered.
    fn given(&self, py: Python<'_>, data: &Bound<'_, PyTuple>, given: &Bound<'_, PyTuple>) -> PyResult<Solved> {
        logging::listen(py)?;
        let args = Args::new(data)?;
        let data = args.data()?;
        let mut solutions = self.0.given(py, &data, points(given.iter())?)?;
        solutions.batched = data.batch().is_some();
        Ok(Solved(solutions, data.arguments()))
    }

    /// Solutions that were taken apart with `Solved.state`, put together again.
    fn restore(&self, py: Python<'_>, data: &Bound<'_, PyTuple>, state: PyReadonlyArray2<'_, f64>) -> PyResult<Solved> {
        let args = Args::new(data)?;
        let data = args.data()?;
        let rows = state.as_slice().map_err(|_| misuse("the state is not contiguous in C order"))?;
        let solutions = self.0.restore(Some(py), &data, rows, state.shape()[0])?;
        Ok(Solved(solutions, data.arguments()))
    }
}

/// The extension module.
#[pymodule]
fn _bpqp(module: &Bound<'_, PyModule>) -> PyResult<()> {
    logging::install(module.py())?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("SOLVERS", Solver::ALL.map(Solver::name).to_vec())?;
    module.add("SOLVED_ALL_THE_SAME", solutions::SOLVED_ALL_THE_SAME)?;
    module.add("STATUSES", Status::ALL.map(Status::name).to_vec())?;
    module.add("VERDICTS", Verdict::NAMES.to_vec())?;
    module.add_function(wrap_pyfunction!(xla::xla_handlers, module)?)?;
    module.add_function(wrap_pyfunction!(plain::canonical, module)?)?;
    module.add_function(wrap_pyfunction!(plain::take, module)?)?;
    module.add_function(wrap_pyfunction!(files::read_qps, module)?)?;
    module.add_function(wrap_pyfunction!(files::read_cbf, module)?)?;
    module.add_class::<prepared::Prepared>()?;
    module.add_class::<PyEngine>()?;
    module.add_class::<conic::ConicEngine>()?;
    module.add_class::<conic::ConicSolved>()?;
    module.add_class::<Solved>()?;
    module.add_class::<grid::Grid>()?;
    module.add_class::<grid::Dispatched>()?;
    module.add_class::<large::Large>()?;
    module.add_function(wrap_pyfunction!(large::solve_large, module)?)?;
    module.add_class::<smooth::Local>()?;
    module.add_function(wrap_pyfunction!(smooth::solve_smooth, module)?)?;
    Ok(())
}
