//! Cone programs: a batch of one structure, whose values come with every call.

use crate::engine::lock;
use crate::errors::{Failure, raise};
use crate::settings;
use bpqp::{
    Cone, Conic, ConicBatch, ConicCertificate, ConicCotangent, ConicGradient, ConicSolution, ConicSolutionTangent,
    ConicTangent, ConicWrt, Csc, Error, Settings, Status,
};
use numpy::{
    IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArrayDyn, PyUntypedArrayMethods,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Arguments in order: P, q, A, b.
const BLOCKS: usize = 4;
/// What a derivative of an instance without a solution is: 0 an error, 1 NaN, 2 zero.
type Policy = u8;

fn at(error: Error, instance: usize) -> PyErr {
    Failure::at(error, Some(instance)).into()
}

fn misuse(message: impl Into<String>) -> PyErr {
    PyValueError::new_err(message.into())
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

/// Values borrowed from NumPy: those of one instance for all, or a row for every instance.
struct Borrowed<'py>([Option<PyReadonlyArrayDyn<'py, f64>>; BLOCKS]);

impl<'py> Borrowed<'py> {
    fn new(tuple: &Bound<'py, PyTuple>) -> PyResult<Self> {
        if tuple.len() != BLOCKS {
            return Err(misuse("the data are the four blocks P, q, A, b"));
        }
        let block = |k: usize| -> PyResult<Option<PyReadonlyArrayDyn<'py, f64>>> {
            let item = tuple.get_item(k)?;
            Ok(if item.is_none() { None } else { Some(item.extract()?) })
        };
        Ok(Borrowed([block(0)?, block(1)?, block(2)?, block(3)?]))
    }

    fn values(&self, conic: &Conic, size: usize) -> PyResult<Values<'_>> {
        let lengths = lengths(conic);
        let mut out = Values { blocks: [None; BLOCKS], lengths };
        for (k, (block, length)) in self.0.iter().zip(lengths).enumerate() {
            let Some(array) = block else { continue };
            let shape = array.shape();
            let fits = shape == [length] || shape == [size, length];
            if !fits {
                let name = ["P", "q", "A", "b"][k];
                return Err(misuse(format!("{name} has values of shape {shape:?}: it needs {length}, or {size} rows")));
            }
            out.blocks[k] = Some(array.as_slice().map_err(|_| misuse("the array is not contiguous in C order"))?);
        }
        Ok(out)
    }
}

fn lengths(conic: &Conic) -> [usize; BLOCKS] {
    [conic.p().map_or(0, |p| p.nnz()), conic.n(), conic.a().nnz(), conic.m()]
}

#[derive(Clone, Copy)]
struct Values<'a> {
    blocks: [Option<&'a [f64]>; BLOCKS],
    lengths: [usize; BLOCKS],
}

impl<'a> Values<'a> {
    /// The values of instance `i`.
    fn at(&self, i: usize) -> [Option<&'a [f64]>; BLOCKS] {
        std::array::from_fn(|k| {
            let length = self.lengths[k];
            self.blocks[k].map(|v| if v.len() == length { v } else { &v[i * length..(i + 1) * length] })
        })
    }

    fn conic(&self, base: &Conic, i: usize) -> Result<Conic, Error> {
        let [p, q, a, b] = self.at(i);
        base.with_values(p, q, a, b)
    }
}

/// `f` over `0..n` on the threads, results in order.
fn on_threads<T: Send>(threads: usize, n: usize, f: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let threads = if threads == 0 { cores() } else { threads }.min(n);
    if threads <= 1 {
        return (0..n).map(f).collect();
    }
    let size = n.div_ceil(threads);
    std::thread::scope(|scope| {
        let f = &f;
        let parts: Vec<_> = (0..n)
            .step_by(size)
            .map(|start| scope.spawn(move || (start..(start + size).min(n)).map(f).collect::<Vec<T>>()))
            .collect();
        let joined = parts.into_iter().map(|part| part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        joined.flatten().collect()
    })
}

/// One solved instance, or one without a solution.
struct Instance {
    /// There only where derivatives are.
    solution: Option<ConicSolution>,
    status: Status,
    point: [Vec<f64>; 3],
    objective: f64,
    certificate: Option<ConicCertificate>,
    solver: &'static str,
    iterations: usize,
    time: Duration,
}

impl From<ConicSolution> for Instance {
    fn from(s: ConicSolution) -> Self {
        Instance {
            status: s.status,
            point: [s.x.clone(), s.s.clone(), s.y.clone()],
            objective: s.objective,
            certificate: s.info.certificate.clone(),
            solver: s.info.solver,
            iterations: s.info.iterations,
            time: s.info.time,
            solution: s.ok().then_some(s),
        }
    }
}

impl Instance {
    fn failed(status: Status, point: [Vec<f64>; 3], certificate: Option<ConicCertificate>) -> Self {
        let (solver, iterations, time) = ("given", 0, Duration::ZERO);
        Instance { solution: None, status, point, objective: f64::NAN, certificate, solver, iterations, time }
    }

    /// What another solver found.
    fn given(conic: &Conic, status: &str, point: [Vec<f64>; 3], settings: &Settings) -> Result<Self, Error> {
        let proved = |status: Status, certificate: ConicCertificate, point| match certificate.verify(conic) {
            true => Instance::failed(status, point, Some(certificate)),
            false => Instance::failed(Status::NumericalFailure, point, None),
        };
        let [x, s, y] = point;
        Ok(match status {
            "primal_infeasible" => {
                proved(Status::PrimalInfeasible, ConicCertificate::PrimalInfeasible(y.clone()), [x, s, y])
            }
            "dual_infeasible" => proved(Status::DualInfeasible, ConicCertificate::DualInfeasible(x.clone()), [x, s, y]),
            "iteration_limit" => Instance::failed(Status::IterationLimit, [x, s, y], None),
            "time_limit" => Instance::failed(Status::TimeLimit, [x, s, y], None),
            _ if x.iter().chain(&s).chain(&y).any(|v| !v.is_finite()) => {
                Instance::failed(Status::NumericalFailure, [x, s, y], None)
            }
            _ => {
                let first = conic.from_solution(x, s, y, settings)?;
                let better = match first.info.polished && first.ok() {
                    true => {
                        let (x, s, y) = first.at_point();
                        let again = conic.from_solution(x.to_vec(), s.to_vec(), y.to_vec(), settings)?;
                        (again.ok() && again.residuals.relative() <= first.residuals.relative()).then_some(again)
                    }
                    false => None,
                };
                better.unwrap_or(first).into()
            }
        })
    }
}

/// Cone programs of one structure. Kept between solves: symbolic work, and a workspace for every instance.
#[pyclass(frozen, module = "bpqp._bpqp")]
pub struct ConicEngine {
    base: Conic,
    settings: Settings,
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
        Ok(ConicEngine { base, settings: settings(options)?, batch: Arc::default() })
    }

    /// Solves `size` instances with the values `data = (P, q, A, b)`.
    fn solve(&self, py: Python<'_>, data: &Bound<'_, PyTuple>, size: usize) -> PyResult<ConicSolved> {
        let data = Borrowed::new(data)?;
        let values = data.values(&self.base, size)?;
        let (base, settings) = (&self.base, &self.settings);
        let results = py.detach(|| -> Result<_, Error> {
            let mut guard = lock(&self.batch);
            match guard.as_mut().filter(|batch| batch.len() == size) {
                Some(batch) => {
                    let [p, q, a, b] = values.blocks;
                    batch.update(p, q, a, b)?;
                    batch.solve()
                }
                None => {
                    let conics = (0..size).map(|i| values.conic(base, i)).collect::<Result<_, _>>()?;
                    guard.insert(ConicBatch::new(conics, settings.clone())?).solve()
                }
            }
        });
        let results = results.map_err(raise)?;
        let each = results.into_iter().enumerate().map(|(i, r)| r.map(Instance::from).map_err(|e| at(e, i)));
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
            on_threads(settings.threads, size, |i| -> Result<Instance, Error> {
                let point = [rows[0][i].clone(), rows[1][i].clone(), rows[2][i].clone()];
                let mut out = Instance::given(&values.conic(base, i)?, &status[i], point, settings)?;
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
            on_threads(settings.threads, size, |i| -> Result<Instance, Error> {
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

impl ConicEngine {
    fn solved(&self, instances: Vec<Instance>, batch: Option<Arc<Mutex<Option<ConicBatch>>>>) -> PyResult<ConicSolved> {
        Ok(ConicSolved { base: self.base.clone(), threads: self.settings.threads, instances, batch })
    }
}

/// The solutions of a batch of cone programs.
#[pyclass(frozen, module = "bpqp._bpqp")]
pub struct ConicSolved {
    base: Conic,
    threads: usize,
    instances: Vec<Instance>,
    /// The workspaces of the engine that solved them.
    batch: Option<Arc<Mutex<Option<ConicBatch>>>>,
}

fn stack<'py>(
    py: Python<'py>,
    instances: &[Instance],
    width: usize,
    row: impl Fn(&Instance) -> &[f64],
    nan: bool,
) -> PyResult<Bound<'py, PyArray2<f64>>> {
    let mut values = Vec::with_capacity(instances.len() * width);
    for instance in instances {
        let own = row(instance);
        if (nan && !instance.status.ok()) || own.len() != width {
            values.resize(values.len() + width, f64::NAN);
        } else {
            values.extend_from_slice(own);
        }
    }
    values.into_pyarray(py).reshape([instances.len(), width])
}

impl ConicSolved {
    /// Derivatives of every instance by `derive(instance, its solution, its layer if there is one)`; `take` gets them in
    /// order, `None` where there is none.
    fn derive<T: Send>(
        &self,
        py: Python<'_>,
        policy: Policy,
        with_batch: impl Fn(&mut ConicBatch, &[&ConicSolution]) -> Result<Vec<Result<T, Error>>, Error> + Sync,
        alone: impl Fn(usize, &ConicSolution) -> Result<T, Error> + Sync,
        mut take: impl FnMut(usize, Option<T>),
    ) -> PyResult<()> {
        let results = py.detach(|| -> Result<Vec<Result<T, Error>>, Error> {
            let all: Option<Vec<&ConicSolution>> = self.instances.iter().map(|i| i.solution.as_ref()).collect();
            if let (Some(solutions), Some(batch)) = (&all, &self.batch) {
                let mut guard = lock(batch);
                if let Some(batch) = guard.as_mut().filter(|b| b.len() == solutions.len()) {
                    return with_batch(batch, solutions);
                }
            }
            Ok(on_threads(self.threads, self.instances.len(), |i| match &self.instances[i].solution {
                Some(solution) => alone(i, solution),
                None => Err(Error::NoSolution { status: self.instances[i].status }),
            }))
        });
        for (i, result) in results.map_err(raise)?.into_iter().enumerate() {
            match result {
                Ok(value) => take(i, Some(value)),
                Err(Error::NoSolution { .. } | Error::Backward { .. }) if policy != 0 => take(i, None),
                Err(error) => return Err(at(error, i)),
            }
        }
        Ok(())
    }

    fn widths(&self) -> [usize; 3] {
        [self.base.n(), self.base.m(), self.base.m()]
    }

    /// Unit cotangents of one output, or unit tangents of one argument, for a Jacobian.
    fn units(width: usize) -> Vec<Vec<f64>> {
        (0..width)
            .map(|i| {
                let mut unit = vec![0.0; width];
                unit[i] = 1.0;
                unit
            })
            .collect()
    }
}

fn wrt(ask: [bool; BLOCKS]) -> ConicWrt {
    ConicWrt { p: ask[0], q: ask[1], a: ask[2], b: ask[3] }
}

fn blocks(gradient: &ConicGradient) -> [Option<&[f64]>; BLOCKS] {
    [&gradient.p, &gradient.q, &gradient.a, &gradient.b].map(|b| b.as_deref())
}

#[pymethods]
impl ConicSolved {
    fn __len__(&self) -> usize {
        self.instances.len()
    }

    /// `(x, s, y, objective)`; with `nan`, those of instances without a solution are NaN.
    fn outputs<'py>(&self, py: Python<'py>, nan: bool) -> PyResult<Bound<'py, PyTuple>> {
        let [n, m, _] = self.widths();
        let objective: Vec<f64> =
            self.instances.iter().map(|i| if nan && !i.status.ok() { f64::NAN } else { i.objective }).collect();
        PyTuple::new(
            py,
            [
                stack(py, &self.instances, n, |i| &i.point[0], nan)?.into_any(),
                stack(py, &self.instances, m, |i| &i.point[1], nan)?.into_any(),
                stack(py, &self.instances, m, |i| &i.point[2], nan)?.into_any(),
                objective.into_pyarray(py).into_any(),
            ],
        )
    }

    /// All that `ConicEngine.restore` needs besides the data: the point at which derivatives are taken, and `ok`.
    fn state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let width = self.widths().iter().sum::<usize>() + 1;
        let mut values = Vec::with_capacity(self.instances.len() * width);
        for instance in &self.instances {
            match &instance.solution {
                Some(solution) => {
                    let (x, s, y) = solution.at_point();
                    values.extend(x.iter().chain(s).chain(y));
                    values.push(1.0);
                }
                None => values.resize(values.len() + width, 0.0),
            }
        }
        values.into_pyarray(py).reshape([self.instances.len(), width])
    }

    fn ok<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<bool>> {
        self.instances.iter().map(|i| i.status.ok()).collect::<Vec<_>>().into_pyarray(py)
    }

    fn all_ok(&self) -> bool {
        self.instances.iter().all(|i| i.status.ok())
    }

    fn status(&self) -> Vec<&'static str> {
        self.instances.iter().map(|i| i.status.name()).collect()
    }

    /// How far the derivative of each may be trusted, the backward system included.
    fn verdict(&self, py: Python<'_>) -> Vec<&'static str> {
        py.detach(|| {
            on_threads(self.threads, self.instances.len(), |i| match &self.instances[i].solution {
                Some(solution) => solution.examine().map_or("untrusted", |(_, verdict)| verdict.name()),
                None => "untrusted",
            })
        })
    }

    fn solver(&self) -> Vec<&'static str> {
        self.instances.iter().map(|i| i.solver).collect()
    }

    fn iterations(&self) -> Vec<usize> {
        self.instances.iter().map(|i| i.iterations).collect()
    }

    fn time<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.instances.iter().map(|i| i.time.as_secs_f64()).collect::<Vec<_>>().into_pyarray(py)
    }

    /// The proof that instance `k` has no solution.
    fn certificate<'py>(&self, py: Python<'py>, k: usize) -> PyResult<Option<Bound<'py, PyArray1<f64>>>> {
        let instance = self.instances.get(k).ok_or_else(|| misuse("no such instance"))?;
        Ok(instance.certificate.as_ref().map(|certificate| match certificate {
            ConicCertificate::PrimalInfeasible(v)
            | ConicCertificate::DualInfeasible(v)
            | ConicCertificate::NonConvex(v) => PyArray1::from_slice(py, v),
        }))
    }

    /// Gradients for the cotangents `(x, s, y)`, `None` for zeros, with respect to the arguments marked in `ask`, summed
    /// over the batch for those marked in `summed`.
    fn vjp<'py>(
        &self,
        py: Python<'py>,
        cotangents: &Bound<'py, PyTuple>,
        ask: [bool; BLOCKS],
        summed: [bool; BLOCKS],
        policy: Policy,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let size = self.instances.len();
        let mut arrays: [Option<PyReadonlyArrayDyn<'py, f64>>; 3] = [None, None, None];
        for (k, (slot, width)) in arrays.iter_mut().zip(self.widths()).enumerate() {
            let item = cotangents.get_item(k)?;
            if !item.is_none() {
                let array: PyReadonlyArrayDyn<'py, f64> = item.extract()?;
                if array.shape() != [size, width] {
                    return Err(misuse(format!("cotangents of shape {:?} for {size} of {width}", array.shape())));
                }
                *slot = Some(array);
            }
        }
        let mut slices: [&[f64]; 3] = [&[]; 3];
        for (slice, array) in slices.iter_mut().zip(&arrays) {
            if let Some(array) = array {
                *slice = array.as_slice().map_err(|_| misuse("the array is not contiguous in C order"))?;
            }
        }
        let part = |k: usize, i: usize| {
            let width = self.widths()[k];
            if slices[k].is_empty() { &[][..] } else { &slices[k][i * width..(i + 1) * width] }
        };
        let rows: Vec<_> = (0..size).map(|i| ConicCotangent { x: part(0, i), s: part(1, i), y: part(2, i) }).collect();
        let wrt = wrt(ask);
        let lengths = lengths(&self.base);
        let mut out: [Vec<f64>; BLOCKS] = std::array::from_fn(|k| {
            vec![
                0.0;
                if !ask[k] {
                    0
                } else if summed[k] {
                    lengths[k]
                } else {
                    size * lengths[k]
                }
            ]
        });
        self.derive(
            py,
            policy,
            |batch, solutions| Ok(batch.vjp(solutions, &rows, wrt)?.into_iter().map(|r| r.map(|(g, _)| g)).collect()),
            |i, solution| solution.vjp(&rows[i], wrt),
            |i, gradient: Option<ConicGradient>| {
                if gradient.is_none() && policy != 1 {
                    return;
                }
                let parts = gradient.as_ref().map(blocks);
                for k in 0..BLOCKS {
                    let start = if summed[k] { 0 } else { i * lengths[k] };
                    let target = if ask[k] { &mut out[k][start..start + lengths[k]] } else { continue };
                    match parts.and_then(|p| p[k]) {
                        Some(values) => target.iter_mut().zip(values).for_each(|(t, v)| *t += v),
                        None => target.fill(f64::NAN),
                    }
                }
            },
        )?;
        let mut arrays = Vec::with_capacity(BLOCKS);
        for (k, values) in out.into_iter().enumerate() {
            arrays.push(match (ask[k], summed[k]) {
                (false, _) => py.None().into_bound(py),
                (true, true) => values.into_pyarray(py).into_any(),
                (true, false) => values.into_pyarray(py).reshape([size, lengths[k]])?.into_any(),
            });
        }
        PyTuple::new(py, arrays)
    }

    /// Tangents `(x, s, y)` along a direction `(P, q, A, b)` of the data.
    fn jvp<'py>(
        &self,
        py: Python<'py>,
        tangents: &Bound<'py, PyTuple>,
        policy: Policy,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let size = self.instances.len();
        let data = Borrowed::new(tangents)?;
        let values = data.values(&self.base, size)?;
        let direction = |i: usize| {
            let [p, q, a, b] = values.at(i);
            ConicTangent { p, q, a, b }
        };
        let directions: Vec<_> = (0..size).map(direction).collect();
        let widths = self.widths();
        let blank = if policy == 1 { f64::NAN } else { 0.0 };
        let mut out = widths.map(|width| vec![blank; size * width]);
        self.derive(
            py,
            policy,
            |batch, solutions| Ok(batch.jvp(solutions, &directions)?.into_iter().map(|r| r.map(|(t, _)| t)).collect()),
            |i, solution| solution.jvp(&directions[i]),
            |i, tangent: Option<ConicSolutionTangent>| {
                if let Some(t) = tangent {
                    for ((rows, row), width) in out.iter_mut().zip([&t.x, &t.s, &t.y]).zip(widths) {
                        rows[i * width..(i + 1) * width].copy_from_slice(row);
                    }
                }
            },
        )?;
        let mut arrays = Vec::with_capacity(3);
        for (values, width) in out.into_iter().zip(widths) {
            arrays.push(values.into_pyarray(py).reshape([size, width])?);
        }
        PyTuple::new(py, arrays)
    }

    /// The Jacobian of output `of` with respect to argument number `wrt`, of shape (instances, output, argument).
    fn jacobian<'py>(&self, py: Python<'py>, of: &str, wrt: usize, policy: Policy) -> PyResult<Bound<'py, PyAny>> {
        let output = ["x", "s", "y"].iter().position(|name| *name == of).ok_or_else(|| misuse("name x, s or y"))?;
        if wrt >= BLOCKS {
            return Err(misuse("name one of four arguments"));
        }
        let (rows, cols) = (self.widths()[output], lengths(&self.base)[wrt]);
        let blank = if policy == 1 { f64::NAN } else { 0.0 };
        let mut out = vec![blank; self.instances.len() * rows * cols];
        let units = Self::units(rows);
        let cotangents: Vec<ConicCotangent<'_>> = units
            .iter()
            .map(|unit| {
                let own = |k: usize| if k == output { unit.as_slice() } else { &[] };
                ConicCotangent { x: own(0), s: own(1), y: own(2) }
            })
            .collect();
        let ask = self::wrt(std::array::from_fn(|k| k == wrt));
        let many = |solution: &ConicSolution| solution.vjps(&cotangents, ask).map(|(gradients, _)| gradients);
        self.derive(
            py,
            policy,
            |_, solutions| Ok(on_threads(self.threads, solutions.len(), |i| many(solutions[i]))),
            |_, solution| many(solution),
            |i, gradients: Option<Vec<ConicGradient>>| {
                for (r, gradient) in gradients.iter().flatten().enumerate() {
                    if let Some(values) = blocks(gradient)[wrt] {
                        let start = (i * rows + r) * cols;
                        out[start..start + cols].copy_from_slice(values);
                    }
                }
            },
        )?;
        Ok(out.into_pyarray(py).reshape([self.instances.len(), rows, cols])?.into_any())
    }
}
