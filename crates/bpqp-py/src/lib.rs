//! The extension module `bpqp._bpqp`: arrays in, arrays out, the interpreter free while the core works.
//!
//! Everything here works on batches: an array with one dimension more than its argument has one value for every
//! instance, one without is shared. What is convenient for a user (a single problem, names, defaults) is the business of
//! the Python package; what is mathematics, of the core.

mod conic;
mod data;
mod errors;
mod gather;
mod solved;

use bpqp::{Backward, Batch, Point, Qp, Settings, Solver};
use data::Args;
use errors::raise;
use numpy::PyReadonlyArray2;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use solved::Solved;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Keyboard interrupts are looked for between pieces of about this long.
const PIECE: Duration = Duration::from_millis(50);

/// `f` over `0..n` in pieces, with the interpreter free; a keyboard interrupt ends it between two of them.
pub(crate) fn in_pieces(
    py: Python<'_>,
    n: usize,
    mut f: impl FnMut(Range<usize>) -> Result<(), bpqp::Error> + Send,
) -> PyResult<()> {
    let (mut done, mut size) = (0, 32);
    while done < n {
        let piece = done..(done + size).min(n);
        done = piece.end;
        let start = Instant::now();
        py.detach(|| f(piece)).map_err(|e| raise(&e))?;
        if done < n {
            py.check_signals()?;
        }
        let took = start.elapsed();
        if took < PIECE / 8 {
            size *= 8;
        } else if took > PIECE {
            size = (size / 2).max(1);
        }
    }
    Ok(())
}

/// Settings from keyword arguments; `None` is the default.
pub(crate) fn settings(options: Option<&Bound<'_, PyDict>>) -> PyResult<Settings> {
    let mut s = Settings::default();
    let Some(options) = options else { return Ok(s) };
    for (name, value) in options.iter() {
        if value.is_none() {
            continue;
        }
        let name: String = name.extract()?;
        match name.as_str() {
            "solver" => s.solver = Solver::from_name(&value.extract::<String>()?).map_err(|e| raise(&e))?,
            "eps_abs" => s.eps_abs = value.extract()?,
            "eps_rel" => s.eps_rel = value.extract()?,
            "max_iter" => s.max_iter = Some(value.extract()?),
            "time_limit" => {
                let seconds: f64 = value.extract()?;
                s.time_limit = Some(Duration::try_from_secs_f64(seconds).map_err(|_| {
                    PyValueError::new_err(format!("time_limit = {seconds}: give a number of seconds >= 0"))
                })?);
            }
            "polish" => s.polish = value.extract()?,
            "backward" => {
                s.backward = match value.extract::<String>()?.as_str() {
                    "direct" => Backward::Direct,
                    "first_order" => Backward::FirstOrder,
                    other => {
                        let advice = "name one of \"direct\", \"first_order\"";
                        return Err(PyValueError::new_err(format!("backward = {other:?}: {advice}")));
                    }
                }
            }
            "smoothing" => s.smoothing = Some(value.extract()?),
            "threads" => s.threads = value.extract()?,
            other => return Err(PyValueError::new_err(format!("there is no setting {other:?}"))),
        }
    }
    s.validate().map_err(|e| raise(&e))?;
    Ok(s)
}

/// Four arrays `x, y, z, z_box`, one row for every instance.
pub(crate) fn points(arrays: &Bound<'_, PyTuple>) -> PyResult<Vec<Point>> {
    let mut out: Vec<Point> = Vec::new();
    for (k, array) in arrays.iter().enumerate() {
        if array.is_none() {
            continue;
        }
        let array: PyReadonlyArray2<'_, f64> = array.extract()?;
        let array = array.as_array();
        if out.is_empty() {
            out.resize(array.nrows(), Point::default());
        }
        if out.len() != array.nrows() {
            return Err(PyValueError::new_err("x, y, z and z_box need the same number of rows"));
        }
        for (point, row) in out.iter_mut().zip(array.rows()) {
            let row = row.to_vec();
            match k {
                0 => point.x = row,
                1 => point.y = row,
                2 => point.z = row,
                _ => point.z_box = row,
            }
        }
    }
    Ok(out)
}

/// Prepared state that outlives a call: one layer per thread, with the factorizations of what did not change.
#[pyclass(frozen, module = "bpqp._bpqp")]
struct Engine {
    batch: Batch,
    settings: Settings,
    single: bool,
    last: Mutex<Option<Qp>>,
    busy: Mutex<()>,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[pymethods]
impl Engine {
    /// `single`: the data come from single precision, and P may be as asymmetric as its rounding.
    #[new]
    #[pyo3(signature = (options = None, single = false))]
    fn new(options: Option<&Bound<'_, PyDict>>, single: bool) -> PyResult<Self> {
        let settings = settings(options)?;
        let batch = Batch::new(Vec::new(), settings.clone()).map_err(|e| raise(&e))?;
        Ok(Engine { batch, settings, single, last: Mutex::new(None), busy: Mutex::new(()) })
    }

    /// Solves the problems of `data = (P, q, G, h, A, b, lb, ub)`; `warm` starts them at `(x, y, z, z_box)`.
    #[pyo3(signature = (data, warm = None))]
    fn solve(&self, py: Python<'_>, data: &Bound<'_, PyTuple>, warm: Option<&Bound<'_, PyTuple>>) -> PyResult<Solved> {
        let args = Args::new(data)?;
        let data = args.data()?;
        let last = lock(&self.last).clone();
        let qps = data.qps(last.as_ref(), self.single, None)?;
        *lock(&self.last) = qps.first().cloned();
        let mut start: Vec<Option<Point>> = vec![None; qps.len()];
        if let Some(warm) = warm {
            let points = points(warm)?;
            if points.len() != qps.len() {
                let message = format!("warm_start has {} rows for {} problems", points.len(), qps.len());
                return Err(PyValueError::new_err(message));
            }
            // a start that was never written is no start
            for (slot, point) in start.iter_mut().zip(points) {
                *slot = point.is_finite().then_some(point);
            }
        }
        let mut solutions = Vec::with_capacity(qps.len());
        in_pieces(py, qps.len(), |range| {
            // one call at a time: the layers of a thread belong to one problem
            let _busy = lock(&self.busy);
            for solution in self.batch.solve_each(&qps[range.clone()], &start[range])? {
                solutions.push(solution?);
            }
            Ok(())
        })?;
        Ok(Solved::new(solutions, data.batch().is_some(), self.settings.threads))
    }

    /// Solutions from elsewhere, ready to be differentiated; missing multipliers are recovered.
    fn given(&self, py: Python<'_>, data: &Bound<'_, PyTuple>, given: &Bound<'_, PyTuple>) -> PyResult<Solved> {
        let args = Args::new(data)?;
        let data = args.data()?;
        let qps = data.qps(None, self.single, None)?;
        let given = points(given)?;
        if given.len() != qps.len() {
            let message = format!("x has {} rows for {} problems", given.len(), qps.len());
            return Err(PyValueError::new_err(message));
        }
        let mut solutions = Vec::with_capacity(qps.len());
        in_pieces(py, qps.len(), |range| {
            for k in range {
                solutions.push(bpqp::from_solution(qps[k].clone(), given[k].clone(), &self.settings)?);
            }
            Ok(())
        })?;
        Ok(Solved::new(solutions, data.batch().is_some(), self.settings.threads))
    }

    /// Solutions that were taken apart with `Solved.state`, put together again.
    fn restore(&self, py: Python<'_>, data: &Bound<'_, PyTuple>, state: PyReadonlyArray2<'_, f64>) -> PyResult<Solved> {
        let args = Args::new(data)?;
        let data = args.data()?;
        let state = state.as_array();
        let qps = data.qps(None, self.single, Some(state.nrows()))?;
        if state.nrows() != qps.len() {
            let message = format!("{} rows of state for {} problems", state.nrows(), qps.len());
            return Err(PyValueError::new_err(message));
        }
        let rows: Vec<Vec<f64>> = state.rows().into_iter().map(|row| row.to_vec()).collect();
        let mut solutions = Vec::with_capacity(qps.len());
        in_pieces(py, qps.len(), |range| {
            for k in range {
                solutions.push(solved::restore(&qps[k], &rows[k], &self.settings)?);
            }
            Ok(())
        })?;
        Ok(Solved::new(solutions, true, self.settings.threads))
    }
}

/// The extension module.
#[pymodule]
fn _bpqp(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("SOLVERS", Solver::ALL.map(Solver::name).to_vec())?;
    module.add_class::<conic::ConicEngine>()?;
    module.add_class::<conic::ConicSolved>()?;
    module.add_class::<Engine>()?;
    module.add_class::<Solved>()?;
    Ok(())
}
