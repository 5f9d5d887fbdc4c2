//! The program: patterns and cones, workspaces kept between solves.

use super::instance::Instance;
use super::{Borrowed, ConicSolved, Values, at, cone, misuse, on_threads, pattern};
use crate::engine::lock;
use crate::errors::raise;
use crate::pieces::watched_value;
use crate::settings;
use bpqp::{Cone, Conic, ConicBatch, Error, Interrupt, Settings, Status};
use numpy::PyUntypedArrayMethods;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Cone programs of one structure. Kept between solves: symbolic work, and a workspace for every instance.
#[pyclass(frozen, module = "bpqp._bpqp")]
pub struct ConicEngine {
    base: Conic,
    settings: Settings,
    interrupt: Interrupt,
    batch: Arc<Mutex<Option<ConicBatch>>>,
}

#[pymethods]
impl ConicEngine {
    /// `p` and `a` are the patterns `(indptr, indices)` of compressed columns; `shape` is that of A.
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
        let p = p.map(|p| pattern(p, n, n)).transpose()?;
        let cones = cones.iter().map(cone).collect::<PyResult<Vec<Cone>>>()?;
        let base = Conic::new(p, vec![0.0; n], pattern(a, m, n)?, vec![0.0; m], cones).map_err(raise)?;
        let interrupt = Interrupt::default();
        let settings = Settings { interrupt: Some(interrupt.clone()), ..settings(options)? };
        Ok(ConicEngine { base, settings, interrupt, batch: Arc::default() })
    }

    /// Solves `size` instances with the values `data = (P, q, A, b)`.
    fn solve(&self, py: Python<'_>, data: &Bound<'_, PyTuple>, size: usize) -> PyResult<ConicSolved> {
        let data = Borrowed::new(data)?;
        let values = data.values(&self.base, size)?;
        let (base, settings) = (&self.base, &self.settings);
        let results = watched_value(py, &self.interrupt, || -> Result<_, Error> {
            let mut guard = lock(&self.batch);
            if !values.finite() {
                return each_by_itself(&mut guard, base, settings, &values, size);
            }
            match guard.as_mut().filter(|batch| batch.len() == size) {
                Some(batch) => {
                    let [p, q, a, b] = values.blocks;
                    batch.update(p, q, a, b)?;
                    Ok(batch.solve()?.into_iter().map(|r| r.map(Instance::from)).collect())
                }
                None => {
                    let conics = (0..size).map(|i| values.conic(base, i)).collect::<Result<_, _>>()?;
                    let solved = guard.insert(ConicBatch::new(conics, settings.clone())?).solve()?;
                    Ok(solved.into_iter().map(|r| r.map(Instance::from)).collect::<Vec<_>>())
                }
            }
        });
        let results = results?.map_err(raise)?;
        let each = results.into_iter().enumerate().map(|(i, r)| r.map_err(|e| at(e, i)));
        self.solved(each.collect::<PyResult<_>>()?, Some(Arc::clone(&self.batch)))
    }

    /// What another solver found: `points = (x, s, y)` with a row per instance, and of each its status, iterations and
    /// seconds. Solutions are polished.
    fn given(
        &self,
        py: Python<'_>,
        data: &Bound<'_, PyTuple>,
        points: &Bound<'_, PyTuple>,
        status: Vec<String>,
        iterations: Vec<usize>,
        seconds: Vec<f64>,
    ) -> PyResult<ConicSolved> {
        let size = status.len();
        let data = Borrowed::new(data)?;
        let values = data.values(&self.base, size)?;
        let rows = (0..3).map(|k| points.get_item(k)?.extract::<Vec<Vec<f64>>>()).collect::<PyResult<Vec<_>>>()?;
        if rows.iter().any(|r| r.len() != size) || iterations.len() != size || seconds.len() != size {
            return Err(misuse("points, status, iterations and seconds have one entry per instance"));
        }
        let (base, settings) = (&self.base, &self.settings);
        let results = py.detach(|| {
            on_threads(settings.concurrency(), size, |i| -> Result<Instance, Error> {
                let point = [rows[0][i].clone(), rows[1][i].clone(), rows[2][i].clone()];
                let conic = match values.own(base, i)? {
                    Ok(conic) => conic,
                    Err(error) => return Ok(Instance::invalid(base, error)),
                };
                let mut out = Instance::given(&conic, &status[i], point, settings)?;
                (out.solver, out.iterations) = ("clarabel", iterations[i]);
                out.time = Duration::try_from_secs_f64(seconds[i]).unwrap_or_default();
                Ok(out)
            })
        });
        let each = results.into_iter().enumerate().map(|(i, r)| r.map_err(|e| at(e, i)));
        self.solved(each.collect::<PyResult<_>>()?, None)
    }

    /// Solutions that were taken apart with `ConicSolved.state`, put together again.
    fn restore(
        &self,
        py: Python<'_>,
        data: &Bound<'_, PyTuple>,
        state: numpy::PyReadonlyArray2<'_, f64>,
    ) -> PyResult<ConicSolved> {
        let (n, m) = (self.base.n(), self.base.m());
        let size = state.shape()[0];
        if state.shape()[1] != n + 2 * m + 1 {
            return Err(misuse("pass on the state of a solution as it is"));
        }
        let data = Borrowed::new(data)?;
        let values = data.values(&self.base, size)?;
        let rows: Vec<Vec<f64>> = state.as_array().rows().into_iter().map(|row| row.to_vec()).collect();
        let (base, settings) = (&self.base, &self.settings);
        let results = py.detach(|| {
            on_threads(settings.concurrency(), size, |i| -> Result<Instance, Error> {
                let row = &rows[i];
                let point = [row[..n].to_vec(), row[n..n + m].to_vec(), row[n + m..n + 2 * m].to_vec()];
                if row[n + 2 * m] == 0.0 {
                    return Ok(Instance::failed(Status::NumericalFailure, point, None));
                }
                let [x, s, y] = point;
                Ok(values.conic(base, i)?.from_solution(x, s, y, settings)?.into())
            })
        });
        let each = results.into_iter().enumerate().map(|(i, r)| r.map_err(|e| at(e, i)));
        self.solved(each.collect::<PyResult<_>>()?, None)
    }
}

/// The same where some values are not finite: an instance with such values of its own fails, alone.
fn each_by_itself(
    kept: &mut Option<ConicBatch>,
    base: &Conic,
    settings: &Settings,
    values: &Values<'_>,
    size: usize,
) -> Result<Vec<Result<Instance, Error>>, Error> {
    let mut reasons = Vec::with_capacity(size);
    let mut conics = Vec::with_capacity(size);
    for i in 0..size {
        // the base, whose numbers are all 0, takes the place of what is no problem
        let (conic, reason) = match values.own(base, i)? {
            Ok(conic) => (conic, None),
            Err(error) => (base.clone(), Some(error)),
        };
        conics.push(conic);
        reasons.push(reason);
    }
    let solved = kept.insert(ConicBatch::new(conics, settings.clone())?).solve()?;
    let each = solved.into_iter().zip(reasons).map(|(result, reason)| match reason {
        Some(error) => Ok(Instance::invalid(base, error)),
        None => result.map(Instance::from),
    });
    Ok(each.collect())
}

impl ConicEngine {
    fn solved(&self, instances: Vec<Instance>, batch: Option<Arc<Mutex<Option<ConicBatch>>>>) -> PyResult<ConicSolved> {
        Ok(ConicSolved { base: self.base.clone(), threads: self.settings.concurrency(), instances, batch })
    }
}
