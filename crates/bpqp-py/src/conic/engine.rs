//! The program: patterns and cones, workspaces kept between solves.

use super::instance::Instance;
use super::values::{Borrowed, Rows, Values, widths};
use super::{ConicSolved, at, cone, misuse, pattern};
use crate::engine::{MANY, lock};
use crate::errors::raise;
use crate::pieces::{Pace, long, watched_value};
use crate::settings;
use crate::solutions::CLOSEST;
use bpqp::{Cone, Conic, ConicWorkers, Error, Interrupt, Settings, Status};
use numpy::PyUntypedArrayMethods;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A curved cone costs about as much more than a linear row.
const CURVED: f64 = 20.0;
/// Cone programs of one structure. Kept between solves: symbolic work, a workspace for every thread, and the factorizations
/// of what did not change.
#[pyclass(frozen, module = "bpqp._bpqp")]
pub struct ConicEngine {
    /// The structure, with the shared values of the last call.
    last: Mutex<Conic>,
    structure: Conic,
    settings: Settings,
    pace: Pace,
    interrupt: Interrupt,
    workers: Arc<ConicWorkers>,
    busy: Mutex<()>,
}

type Results = Vec<Result<Instance, Error>>;

#[pymethods]
impl ConicEngine {
    /// `p` and `a` are the patterns `(indptr, indices)` of compressed columns; `shape` is that of A. `(rank,)` stands for
    /// `P = diag(d) + F F'`, whose values are d and the columns of F, one after the other.
    #[new]
    #[pyo3(signature = (p, a, shape, cones, options = None))]
    fn new(
        p: Option<&Bound<'_, PyTuple>>,
        a: &Bound<'_, PyTuple>,
        shape: (usize, usize),
        cones: Vec<Bound<'_, PyTuple>>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let (m, n) = shape;
        // a single number is the rank of a factored P
        let rank = p.filter(|p| p.len() == 1).map(|p| p.get_item(0)?.extract::<usize>()).transpose()?;
        let p = p.filter(|p| p.len() != 1).map(|p| pattern(p, n, n)).transpose()?;
        let cones = cones.iter().map(cone).collect::<PyResult<Vec<Cone>>>()?;
        let mut structure = Conic::new(p, vec![0.0; n], pattern(a, m, n)?, vec![0.0; m], cones).map_err(raise)?;
        if let Some(rank) = rank {
            structure = structure.with_factored(&vec![0.0; n], &vec![0.0; n * rank]).map_err(raise)?;
        }
        let interrupt = Interrupt::default();
        let settings = Settings { interrupt: Some(interrupt.clone()), ..settings(options)? };
        let workers = Arc::new(ConicWorkers::new(settings.clone()).map_err(raise)?);
        let (last, busy) = (Mutex::new(structure.clone()), Mutex::default());
        Ok(ConicEngine { last, structure, settings, pace: Pace::default(), interrupt, workers, busy })
    }

    /// Solves `size` instances with the values `data = (P, q, A, b, lb, ub)`; `warm` starts them at `(x, s, y, z_box)`.
    #[pyo3(signature = (data, size, warm = None))]
    fn solve(
        &self,
        py: Python<'_>,
        data: &Bound<'_, PyTuple>,
        size: usize,
        warm: Option<&Bound<'_, PyTuple>>,
    ) -> PyResult<ConicSolved> {
        crate::logging::listen(py)?;
        let data = Borrowed::new(data)?;
        let values = data.values(&self.structure, size)?;
        let rows = warm.map(|warm| Rows::new(warm, &self.structure, size)).transpose()?;
        let starts = rows.as_ref().map(|rows| rows.each(size)).transpose()?;
        let structure = &self.structure;
        let run = || -> Result<Results, Error> {
            // one call at a time: the layers of a thread belong to one problem
            let _busy = lock(&self.busy);
            self.interrupt.clear();
            let shared = self.shared(&values)?;
            let made = (0..size).map(|i| values.own(&shared, i)).collect::<Result<Vec<_>, Error>>()?;
            let solved = self.workers.solve(size, |i| match &made[i] {
                Ok(conic) => Ok((conic.clone(), starts.as_ref().map(|starts| starts[i]))),
                Err(error) => Err(error.clone()),
            })?;
            let each = solved.into_iter().zip(made).map(|(result, made)| match made {
                Ok(_) => result.map(Instance::from),
                Err(error) => Ok(Instance::invalid(structure, error)),
            });
            Ok(each.collect())
        };
        let work = ((structure.n() + structure.m()) as f64).powi(3);
        let work = if structure.is_polyhedral() { work } else { CURVED * work };
        let endless = self.settings.max_iter.is_some_and(|most| most > MANY);
        let heavy = endless || (long(size, work) && !self.pace.quick(size, work));
        let begin = Instant::now();
        let results = if heavy { watched_value(py, &self.interrupt, run)? } else { py.detach(run) };
        self.pace.took(size, work, begin.elapsed());
        self.solved(results)
    }

    /// What another solver found: `points = (x, s, y, z_box)` with a row per instance, and of each its status, iterations
    /// and seconds. Solutions are polished.
    fn given(
        &self,
        py: Python<'_>,
        data: &Bound<'_, PyTuple>,
        points: &Bound<'_, PyTuple>,
        status: Vec<String>,
        iterations: Vec<usize>,
        seconds: Vec<f64>,
    ) -> PyResult<ConicSolved> {
        crate::logging::listen(py)?;
        let size = status.len();
        let data = Borrowed::new(data)?;
        let values = data.values(&self.structure, size)?;
        let rows = Rows::new(points, &self.structure, size)?;
        let points = rows.each(size)?;
        if iterations.len() != size || seconds.len() != size {
            return Err(misuse("points, status, iterations and seconds have one entry per instance"));
        }
        let results = py.detach(|| -> Result<Results, Error> {
            let shared = self.shared(&values)?;
            let one = |i: usize| -> Result<Instance, Error> {
                let conic = match values.own(&shared, i)? {
                    Ok(conic) => conic,
                    Err(error) => return Ok(Instance::invalid(&self.structure, error)),
                };
                let mut out = Instance::given(&conic, &status[i], points[i].map(<[f64]>::to_vec), &self.settings)?;
                (out.solver, out.iterations) = ("clarabel", iterations[i]);
                out.time = Duration::try_from_secs_f64(seconds[i]).unwrap_or_default();
                Ok(out)
            };
            self.workers.each(size, one)
        });
        self.solved(results)
    }

    /// Solutions that were taken apart with `ConicSolved.state`, put together again.
    fn restore(
        &self,
        py: Python<'_>,
        data: &Bound<'_, PyTuple>,
        state: numpy::PyReadonlyArray2<'_, f64>,
    ) -> PyResult<ConicSolved> {
        let widths = widths(&self.structure);
        let size = state.shape()[0];
        if state.shape()[1] != widths.iter().sum::<usize>() + 1 {
            return Err(misuse("pass on the state of a solution as it is"));
        }
        let data = Borrowed::new(data)?;
        let values = data.values(&self.structure, size)?;
        let rows: Vec<Vec<f64>> = state.as_array().rows().into_iter().map(|row| row.to_vec()).collect();
        let results = py.detach(|| -> Result<Results, Error> {
            let shared = self.shared(&values)?;
            let one = |i: usize| -> Result<Instance, Error> {
                let mut rest = &rows[i][..];
                let point = widths.map(|width| {
                    let (block, left) = rest.split_at(width);
                    rest = left;
                    block.to_vec()
                });
                if rest[0] == 0.0 {
                    return Ok(Instance::failed(Status::NumericalFailure, point, None));
                }
                Ok(match values.own(&shared, i)? {
                    Ok(conic) if rest[0] == CLOSEST => conic.solve(&self.settings)?.into(),
                    Ok(conic) => conic.from_point(point, &self.settings)?.into(),
                    Err(error) => Instance::invalid(&self.structure, error),
                })
            };
            self.workers.each(size, one)
        });
        self.solved(results)
    }
}

impl ConicEngine {
    /// A problem with the values that all instances share.
    fn shared(&self, values: &Values<'_>) -> Result<Conic, Error> {
        let mut last = lock(&self.last);
        *last = values.shared(&last)?;
        Ok(last.clone())
    }

    fn solved(&self, results: Result<Results, Error>) -> PyResult<ConicSolved> {
        let each = results.map_err(raise)?.into_iter().enumerate().map(|(i, r)| r.map_err(|e| at(e, i)));
        let instances = each.collect::<PyResult<_>>()?;
        Ok(ConicSolved { structure: self.structure.clone(), instances, workers: Arc::clone(&self.workers) })
    }
}
