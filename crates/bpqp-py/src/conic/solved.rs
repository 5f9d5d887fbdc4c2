//! The solutions of a batch, and their derivatives.

use super::instance::Instance;
use super::values::{BLOCKS, Borrowed, POINT, Rows, lengths, widths};
use super::{at, misuse};
use crate::arrays::shaped;
use crate::errors::raise;
use crate::solutions::{CLOSEST, Policy, codes, failure_text, on_failure};
use crate::verdicts;
use bpqp::adapter::Gather;
use bpqp::{
    Certificate, Conic, ConicActive, ConicCotangent, ConicGradient, ConicLayer, ConicSolutionTangent, ConicTangent,
    ConicWorkers, ConicWrt, Error, Face,
};
use numpy::{IntoPyArray, PyArray1, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use std::sync::Arc;

/// The solutions of a batch of cone programs.
#[pyclass(frozen, module = "bpqp._bpqp")]
pub struct ConicSolved {
    pub(super) structure: Conic,
    pub(super) instances: Vec<Instance>,
    pub(super) workers: Arc<ConicWorkers>,
}

/// The numbers of the gradient of each block that is asked for, and the verdicts.
type Gathered = ([Option<Vec<f64>>; BLOCKS], Vec<u8>);

fn wrt(ask: [bool; BLOCKS]) -> ConicWrt {
    let [p, q, a, b, lb, ub] = ask;
    ConicWrt { p, q, a, b, lb, ub }
}

fn tangent([p, q, a, b, lb, ub]: [Option<&[f64]>; BLOCKS]) -> ConicTangent<'_> {
    ConicTangent { p, q, a, b, lb, ub }
}

fn unit(output: usize, unit: &[f64]) -> ConicCotangent<'_> {
    let own = |k: usize| if k == output { unit } else { &[] };
    let objective = if output == POINT { 1.0 } else { 0.0 };
    ConicCotangent { x: own(0), s: own(1), y: own(2), z_box: own(3), objective }
}

/// Tangents `x, s, y, z_box, objective` of an instance.
type Moved = [Vec<f64>; POINT + 1];

fn outputs(t: ConicSolutionTangent) -> Moved {
    [t.x, t.s, t.y, t.z_box, vec![t.objective]]
}

impl ConicSolved {
    /// `derive(layer, k, items[k])` for every instance with a solution, in order; `None` where there is none.
    fn derive<I: Send, T: Send>(
        &self,
        py: Python<'_>,
        policy: Policy,
        items: Vec<I>,
        derive: impl Fn(&mut ConicLayer, usize, I) -> Result<T, Error> + Sync + Send,
    ) -> PyResult<Vec<Option<T>>> {
        let solutions: Vec<_> = self.instances.iter().map(|i| i.solution.as_ref()).collect();
        let results = py.detach(|| self.workers.derive(&solutions, items.into_iter(), derive)).map_err(raise)?;
        let each = results.into_iter().enumerate().map(|(i, result)| match result {
            Ok(value) => Ok(Some(value)),
            Err(Error::NoSolution { .. } | Error::Backward { .. }) if policy != 0 => Ok(None),
            Err(Error::NoSolution { .. }) => Err(at(Error::NoSolution { status: self.instances[i].status }, i)),
            Err(error) => Err(at(error, i)),
        });
        each.collect()
    }

    fn code(&self, layer: &ConicLayer, i: usize) -> u8 {
        verdicts::code(layer.verdict(), self.instances[i].status)
    }

    fn column<'py>(&self, py: Python<'py>, f: impl Fn(&Instance) -> f64) -> Bound<'py, PyArray1<f64>> {
        self.instances.iter().map(f).collect::<Vec<_>>().into_pyarray(py)
    }

    fn stack<'py>(&self, py: Python<'py>, k: usize, nan: bool) -> PyResult<Bound<'py, PyAny>> {
        let width = widths(&self.structure)[k];
        let mut values = Vec::with_capacity(self.instances.len() * width);
        for instance in &self.instances {
            let own = instance.block(k);
            if (nan && !instance.ok()) || own.len() != width {
                values.resize(values.len() + width, f64::NAN);
            } else {
                values.extend_from_slice(own);
            }
        }
        shaped(py, values, &[self.instances.len(), width])
    }

    /// Gradients by `gradient(layer, k, take)`, which hands them over with the number of the cotangent; summed over the batch
    /// for the blocks marked so. Of every block its numbers, and the verdicts.
    fn gather(
        &self,
        py: Python<'_>,
        (ask, summed, policy): ([bool; BLOCKS], [bool; BLOCKS], Policy),
        cotangents: usize,
        vanishes: impl Fn(usize) -> bool,
        gradient: impl Fn(&mut ConicLayer, usize, &mut dyn FnMut(usize, &ConicGradient)) -> Result<(), Error> + Sync + Send,
    ) -> PyResult<Gathered> {
        let lengths = lengths(&self.structure);
        let blocks = std::array::from_fn(|k| ask[k].then_some((lengths[k], summed[k])));
        let mut gather = Gather::new(blocks, self.instances.len(), cotangents);
        let found = self.derive(py, policy, gather.rows(), |layer, i, mut row| {
            gradient(layer, i, &mut |c, g| row.add(c, g))?;
            Ok((row.kept(), self.code(layer, i)))
        })?;
        let codes = found.iter().map(|found| found.as_ref().map_or(verdicts::NONE, |(_, code)| *code)).collect();
        let kept = found.into_iter().map(|found| found.map(|(kept, _)| kept));
        gather.finish(kept, |i| on_failure(policy).absent(vanishes(i)));
        Ok((gather.into_blocks(), codes))
    }

    /// The same for a cotangent of each instance, as arrays.
    fn gradients<'py>(
        &self,
        py: Python<'py>,
        (ask, summed, policy): ([bool; BLOCKS], [bool; BLOCKS], Policy),
        cotangents: &[ConicCotangent<'_>],
        gradient: impl Fn(&mut ConicLayer, usize) -> Result<ConicGradient, Error> + Sync + Send,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let vanishes = |i: usize| cotangents[i].is_zero();
        let (blocks, codes) = self.gather(py, (ask, summed, policy), 1, vanishes, |layer, i, take| {
            take(0, &gradient(layer, i)?);
            Ok(())
        })?;
        let (size, lengths) = (self.instances.len(), lengths(&self.structure));
        let mut arrays = Vec::with_capacity(BLOCKS + 1);
        for (k, values) in blocks.into_iter().enumerate() {
            arrays.push(match values {
                None => py.None().into_bound(py),
                Some(values) if summed[k] => values.into_pyarray(py).into_any(),
                Some(values) => shaped(py, values, &[size, lengths[k]])?,
            });
        }
        arrays.push(codes.into_pyarray(py).into_any());
        PyTuple::new(py, arrays)
    }

    /// Tangents by `moved(layer, k)`, and the verdicts.
    fn moved<'py>(
        &self,
        py: Python<'py>,
        policy: Policy,
        moved: impl Fn(&mut ConicLayer, usize) -> Result<Moved, Error> + Sync + Send,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let size = self.instances.len();
        let items = vec![(); size];
        let found = self.derive(py, policy, items, |layer, i, ()| Ok((moved(layer, i)?, self.code(layer, i))))?;
        let blank = if policy == 1 { f64::NAN } else { 0.0 };
        let widths = widths(&self.structure);
        let mut out: [Vec<f64>; POINT + 1] =
            std::array::from_fn(|k| vec![blank; size * widths.get(k).copied().unwrap_or(1)]);
        let mut codes = vec![verdicts::NONE; size];
        for (i, found) in found.into_iter().enumerate() {
            if let Some((rows, code)) = found {
                codes[i] = code;
                for (all, row) in out.iter_mut().zip(&rows) {
                    all[i * row.len()..(i + 1) * row.len()].copy_from_slice(row);
                }
            }
        }
        let mut arrays = Vec::with_capacity(POINT + 2);
        for (k, values) in out.into_iter().enumerate() {
            let shape = [size, widths.get(k).copied().unwrap_or(1)];
            arrays.push(shaped(py, values, if k < POINT { &shape } else { &shape[..1] })?);
        }
        arrays.push(codes.into_pyarray(py).into_any());
        PyTuple::new(py, arrays)
    }
}

/// Cotangents `(x, s, y, z_box, objective)` as they came from Python.
struct Cotangents<'py> {
    rows: Rows<'py>,
    objective: Vec<f64>,
}

impl<'py> Cotangents<'py> {
    fn new(tuple: &Bound<'py, PyTuple>, solved: &ConicSolved) -> PyResult<Self> {
        let size = solved.instances.len();
        let rows = Rows::new(tuple, &solved.structure, size)?;
        let item = tuple.get_item(POINT)?;
        let mut objective = vec![0.0; size];
        if !item.is_none() {
            let array: PyReadonlyArrayDyn<'py, f64> = item.extract()?;
            if array.shape() != [size] && (size, array.shape()) != (1, &[]) {
                return Err(misuse(format!(
                    "the cotangent of objective has shape {:?}, expected [{size}]",
                    array.shape()
                )));
            }
            objective.clear();
            objective.extend(array.as_array().iter());
        }
        Ok(Cotangents { rows, objective })
    }

    fn each(&self) -> PyResult<Vec<ConicCotangent<'_>>> {
        let rows = self.rows.each(self.objective.len())?.into_iter().zip(&self.objective);
        Ok(rows.map(|([x, s, y, z_box], &objective)| ConicCotangent { x, s, y, z_box, objective }).collect())
    }
}

#[pymethods]
impl ConicSolved {
    fn __len__(&self) -> usize {
        self.instances.len()
    }

    /// `(x, s, y, z_box, objective)`; with `nan`, those of instances without a solution are NaN.
    fn outputs<'py>(&self, py: Python<'py>, nan: bool) -> PyResult<Bound<'py, PyTuple>> {
        let mut out = (0..POINT).map(|k| self.stack(py, k, nan)).collect::<PyResult<Vec<_>>>()?;
        let objective = |i: &Instance| if nan && !i.ok() { f64::NAN } else { i.objective };
        out.push(self.column(py, objective).into_any());
        PyTuple::new(py, out)
    }

    /// All that `ConicEngine.restore` needs besides the data: the point at which derivatives are taken, and `ok`.
    fn state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let width = widths(&self.structure).iter().sum::<usize>() + 1;
        let mut values = Vec::with_capacity(self.instances.len() * width);
        for instance in &self.instances {
            match &instance.solution {
                Some(solution) => {
                    let (x, s, y) = solution.at_point();
                    values.extend(x.iter().chain(s).chain(y).chain(solution.at_z_box()));
                    values.push(if solution.shift().is_some() { CLOSEST } else { 1.0 });
                }
                None => values.resize(values.len() + width, 0.0),
            }
        }
        shaped(py, values, &[self.instances.len(), width])
    }

    /// By how much the rows of every instance were shifted; zeros where none was.
    fn shift<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let m = self.structure.m();
        let rows = self.instances.iter().flat_map(|i| {
            let own = i.solution.as_ref().and_then(|s| s.shift());
            own.unwrap_or_else(|| vec![0.0; m])
        });
        shaped(py, rows.collect(), &[self.instances.len(), m])
    }

    fn ok<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<bool>> {
        self.instances.iter().map(|i| i.ok()).collect::<Vec<_>>().into_pyarray(py)
    }

    fn all_ok(&self) -> bool {
        self.instances.iter().all(|i| i.ok())
    }

    /// The elements without a solution in words, or None.
    fn failures(&self) -> Option<String> {
        let failed = self.instances.iter().enumerate().filter(|(_, i)| !i.ok());
        let failed = failed.map(|(k, i)| (k, i.status, i.certificate.as_ref(), i.reason.as_ref()));
        failure_text(self.instances.len(), failed)
    }

    /// Per instance the code of the status, its place in `STATUSES`, and the iterations.
    fn codes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let each = |i: &Instance| codes(i.status, i.ok(), i.iterations);
        shaped(py, self.instances.iter().flat_map(each).collect(), &[self.instances.len(), 2])
    }

    /// What is wrong with the data of instance `k`, if it is no problem.
    fn reason(&self, k: usize) -> Option<String> {
        self.instances.get(k).and_then(|i| i.reason.as_ref()).map(|e| e.to_string())
    }

    fn status(&self) -> Vec<&'static str> {
        self.instances.iter().map(|i| i.status.name()).collect()
    }

    fn solver(&self) -> Vec<&'static str> {
        self.instances.iter().map(|i| i.solver).collect()
    }

    fn iterations(&self) -> Vec<usize> {
        self.instances.iter().map(|i| i.iterations).collect()
    }

    fn time<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.column(py, |i| i.time.as_secs_f64())
    }

    /// How far the polish moved x.
    #[pyo3(name = "moved")]
    fn distance<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.column(py, |i| i.moved)
    }

    /// The proof that instance `k` has no solution: `None`, a direction, or the multipliers `(y, z_box)`.
    fn certificate<'py>(&self, py: Python<'py>, k: usize) -> PyResult<Option<Bound<'py, PyAny>>> {
        let instance = self.instances.get(k).ok_or_else(|| misuse("no such instance"))?;
        let array = |v: &[f64]| PyArray1::from_slice(py, v).into_any();
        Ok(match &instance.certificate {
            None => None,
            Some(Certificate::PrimalInfeasible(p)) => {
                Some(PyTuple::new(py, [array(&p.y), array(&p.z_box)])?.into_any())
            }
            Some(Certificate::DualInfeasible(v) | Certificate::NonConvex(v)) => Some(array(v)),
        })
    }

    fn residuals<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let out = PyDict::new(py);
        out.set_item("primal", self.column(py, |i| i.residuals.primal))?;
        out.set_item("dual", self.column(py, |i| i.residuals.dual))?;
        out.set_item("complementarity", self.column(py, |i| i.residuals.complementarity))?;
        out.set_item("gap", self.column(py, |i| i.residuals.gap))?;
        Ok(out)
    }

    /// Per instance: the verdict, an estimate of the condition of the backward system, the relative residual that its
    /// regularization left, and whether its rows are dependent. `("untrusted", nan, nan, False)` without a solution.
    fn examine(&self, py: Python<'_>) -> PyResult<Vec<(&'static str, f64, f64, bool)>> {
        let found = self.derive(py, 1, vec![(); self.instances.len()], |layer, _, ()| layer.examine())?;
        Ok(found.into_iter().map(verdicts::examined).collect())
    }

    /// What is active, an array with a row per instance of each: rows, cones (0 inside, 1 on the boundary, 2 at the apex),
    /// lower bounds, upper bounds, and the same where it is only weakly so.
    fn active<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let blank = ConicActive::default();
        let all: Vec<ConicActive> =
            self.instances.iter().map(|i| i.solution.as_ref().map_or(blank.clone(), |s| s.active())).collect();
        let (n, m, cones) = (self.structure.n(), self.structure.m(), self.structure.cones().len());
        let face = |face: &Face| match face {
            Face::Boundary => 1,
            Face::Apex => 2,
            _ => 0,
        };
        let flag = |flag: &bool| u8::from(*flag);
        let rows = |width: usize, pick: &dyn Fn(&ConicActive) -> Vec<u8>| {
            let mut values = Vec::with_capacity(all.len() * width);
            for one in &all {
                let end = values.len() + width;
                values.extend(pick(one));
                values.resize(end, 0);
            }
            shaped(py, values, &[all.len(), width])
        };
        let flags = |v: &[bool]| v.iter().map(flag).collect::<Vec<u8>>();
        PyTuple::new(
            py,
            [
                rows(m, &|a| flags(&a.rows))?,
                rows(cones, &|a| a.cones.iter().map(face).collect())?,
                rows(n, &|a| flags(&a.lower))?,
                rows(n, &|a| flags(&a.upper))?,
                rows(m, &|a| flags(&a.weak_rows))?,
                rows(cones, &|a| flags(&a.weak_cones))?,
                rows(n, &|a| flags(&a.weak_lower))?,
                rows(n, &|a| flags(&a.weak_upper))?,
            ],
        )
    }

    /// Gradients for the cotangents `(x, s, y, z_box, objective)`, `None` for zeros, with respect to the arguments marked in
    /// `ask`, summed over the batch for those marked in `summed`; the seventh item are the verdicts.
    fn vjp<'py>(
        &self,
        py: Python<'py>,
        cotangents: &Bound<'py, PyTuple>,
        ask: [bool; BLOCKS],
        summed: [bool; BLOCKS],
        policy: Policy,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let given = Cotangents::new(cotangents, self)?;
        let rows = given.each()?;
        self.gradients(py, (ask, summed, policy), &rows, |layer, i| layer.vjp(&rows[i], wrt(ask)))
    }

    /// The derivative of `vjp` along a direction of the data, the cotangents held.
    fn second_vjp<'py>(
        &self,
        py: Python<'py>,
        cotangents: &Bound<'py, PyTuple>,
        along: &Bound<'py, PyTuple>,
        ask: [bool; BLOCKS],
        summed: [bool; BLOCKS],
        policy: Policy,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let given = Cotangents::new(cotangents, self)?;
        let rows = given.each()?;
        let data = Borrowed::new(along)?;
        let along = data.values(&self.structure, self.instances.len())?;
        self.gradients(py, (ask, summed, policy), &rows, |layer, i| {
            layer.second_vjp(&rows[i], &tangent(along.at(i)), wrt(ask))
        })
    }

    /// Tangents `(x, s, y, z_box, objective)` along a direction `(P, q, A, b, lb, ub)` of the data, and the verdicts; the
    /// one-sided ones if asked.
    #[pyo3(signature = (tangents, policy, one_sided = false))]
    fn jvp<'py>(
        &self,
        py: Python<'py>,
        tangents: &Bound<'py, PyTuple>,
        policy: Policy,
        one_sided: bool,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let data = Borrowed::new(tangents)?;
        let values = data.values(&self.structure, self.instances.len())?;
        self.moved(py, policy, |layer, i| {
            let t = tangent(values.at(i));
            Ok(outputs(if one_sided { layer.jvp_one_sided(&t)? } else { layer.jvp(&t)? }))
        })
    }

    /// The derivative of `jvp` along another direction.
    fn second_jvp<'py>(
        &self,
        py: Python<'py>,
        tangents: &Bound<'py, PyTuple>,
        along: &Bound<'py, PyTuple>,
        policy: Policy,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let (first, second) = (Borrowed::new(tangents)?, Borrowed::new(along)?);
        let size = self.instances.len();
        let (first, second) = (first.values(&self.structure, size)?, second.values(&self.structure, size)?);
        self.moved(py, policy, |layer, i| Ok(outputs(layer.second_jvp(&tangent(first.at(i)), &tangent(second.at(i)))?)))
    }

    /// The Jacobian of output `of` with respect to argument number `wrt`, of shape (instances, output, argument).
    fn jacobian<'py>(&self, py: Python<'py>, of: &str, wrt: usize, policy: Policy) -> PyResult<Bound<'py, PyAny>> {
        let outputs = ["x", "s", "y", "z_box", "objective"];
        let output = outputs.iter().position(|name| *name == of).ok_or_else(|| misuse("name one of five outputs"))?;
        if wrt >= BLOCKS {
            return Err(misuse("name one of six arguments"));
        }
        let rows = widths(&self.structure).get(output).copied().unwrap_or(1);
        let cols = lengths(&self.structure)[wrt];
        let marked = std::array::from_fn(|k| k == wrt);
        let ask = self::wrt(marked);
        let (mut blocks, _) = self.gather(
            py,
            (marked, [false; BLOCKS], policy),
            rows,
            |_| false,
            |layer, _, take| {
                let mut e = vec![0.0; rows];
                for i in 0..rows {
                    e[i] = 1.0;
                    take(i, &layer.vjp(&unit(output, &e), ask)?);
                    e[i] = 0.0;
                }
                Ok(())
            },
        )?;
        shaped(py, blocks[wrt].take().unwrap_or_default(), &[self.instances.len(), rows, cols])
    }

    /// Central differences against the gradient of instance `k`: the worst relative error, and a row
    /// `(block, entries, checked, worst, at, analytic, numeric, kinks)` per block; and the table as text.
    #[allow(clippy::type_complexity)]
    fn check(
        &self,
        py: Python<'_>,
        k: usize,
        cotangents: &Bound<'_, PyTuple>,
    ) -> PyResult<(f64, Vec<(String, usize, usize, f64, String, f64, f64, usize)>, String)> {
        let given = Cotangents::new(cotangents, self)?;
        let rows = given.each()?;
        let instance = self.instances.get(k).ok_or_else(|| misuse("no such instance"))?;
        let none = || raise(Error::NoSolution { status: instance.status });
        let solution = instance.solution.as_ref().ok_or_else(none)?;
        let report = py.detach(|| bpqp::check_conic_gradient(solution, &rows[k])).map_err(raise)?;
        let rows = report.table.iter().map(|r| {
            let at = format!("{} directions", r.directions);
            (r.block.to_owned(), r.entries, r.directions, r.worst, at, r.analytic, r.numeric, r.kinks)
        });
        Ok((report.worst, rows.collect(), report.to_string()))
    }
}
