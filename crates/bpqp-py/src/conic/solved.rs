//! The solutions of a batch, and their derivatives.

use super::instance::Instance;
use super::{BLOCKS, Borrowed, at, lengths, misuse, on_threads};
use crate::engine::lock;
use crate::errors::raise;
use bpqp::{
    Certificate, Conic, ConicBatch, ConicCotangent, ConicGradient, ConicSolution, ConicSolutionTangent, ConicTangent,
    ConicWrt, Error,
};
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::sync::{Arc, Mutex};

/// What a derivative of an instance without a solution is: 0 an error, 1 NaN, 2 zero.
type Policy = u8;

/// The solutions of a batch of cone programs.
#[pyclass(frozen, module = "bpqp._bpqp")]
pub struct ConicSolved {
    pub(super) base: Conic,
    pub(super) threads: usize,
    pub(super) instances: Vec<Instance>,
    /// The workspaces of the engine that solved them.
    pub(super) batch: Option<Arc<Mutex<Option<ConicBatch>>>>,
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
    ConicWrt { p: ask[0], q: ask[1], a: ask[2], b: ask[3], ..ConicWrt::NONE }
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

    /// What is wrong with the data of instance `k`, if it is no problem.
    fn reason(&self, k: usize) -> Option<String> {
        self.instances.get(k).and_then(|i| i.reason.as_ref()).map(|e| e.to_string())
    }

    fn status(&self) -> Vec<&'static str> {
        self.instances.iter().map(|i| i.status.name()).collect()
    }

    /// How far the derivative of each may be trusted, the backward system included.
    fn verdict(&self, py: Python<'_>) -> Vec<&'static str> {
        py.detach(|| {
            on_threads(self.threads, self.instances.len(), |i| match &self.instances[i].solution {
                Some(solution) => solution.examine().map_or("untrusted", |(_, _, verdict)| verdict.name()),
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
            Certificate::PrimalInfeasible(p) => PyArray1::from_slice(py, &p.y),
            Certificate::DualInfeasible(v) | Certificate::NonConvex(v) => PyArray1::from_slice(py, v),
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
        let rows: Vec<_> = (0..size)
            .map(|i| ConicCotangent { x: part(0, i), s: part(1, i), y: part(2, i), ..ConicCotangent::default() })
            .collect();
        let wrt = wrt(ask);
        let lengths = lengths(&self.base);
        // an instance without a solution whose cotangent vanishes does not matter to the loss
        let vanishes = |i: usize| (0..3).all(|k| part(k, i).iter().all(|v| *v == 0.0));
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
                if gradient.is_none() && (policy != 1 || vanishes(i)) {
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
            ConicTangent { p, q, a, b, ..ConicTangent::default() }
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
                ConicCotangent { x: own(0), s: own(1), y: own(2), ..ConicCotangent::default() }
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
