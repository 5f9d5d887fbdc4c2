//! The solutions of a batch: what Python sees of them, and their derivatives.

use crate::data::Args;
use crate::errors::{raise, raise_at};
use crate::gather::{Gather, NAMES, wrt};
use crate::{in_pieces, points};
use bpqp::{
    ActiveSet, Certificate, Cotangent, Error, Point, Qp, Settings, Side, Solution, SolutionTangent, Tangent,
    derive_batch,
};
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

/// What a derivative of an instance without a solution is: 0 an error, 1 NaN, 2 zero.
type Policy = u8;

/// The solutions of a batch.
#[pyclass(frozen, module = "bpqp._bpqp")]
pub struct Solved {
    solutions: Vec<Solution>,
    batched: bool,
    threads: usize,
}

fn side_code(side: Side) -> f64 {
    match side {
        Side::Free => 0.0,
        Side::Lower => 1.0,
        Side::Upper => 2.0,
        Side::Fixed => 3.0,
    }
}

/// A solution from its row of [`Solved::state`].
pub fn restore(qp: &Qp, row: &[f64], settings: &Settings) -> Result<Solution, Error> {
    let (n, m, mi) = (qp.n(), qp.n_equality(), qp.n_inequality());
    let numbers = 2 * n + m + mi;
    if row.len() != numbers + 2 * (n + mi) + 1 {
        let what = format!("a state of {} entries for a problem of {n} variables", row.len());
        return Err(Error::Unsupported { what, advice: "pass on the state of a solution as it is" });
    }
    let (point, codes) = row.split_at(numbers);
    let point = Point {
        x: point[..n].to_vec(),
        y: point[n..n + m].to_vec(),
        z: point[n + m..n + m + mi].to_vec(),
        z_box: point[n + m + mi..].to_vec(),
    };
    let flags = |range: std::ops::Range<usize>| codes[range].iter().map(|&c| c != 0.0).collect::<Vec<bool>>();
    let active = ActiveSet {
        g: flags(0..mi),
        weak_g: flags(mi..2 * mi),
        bound: codes[2 * mi..2 * mi + n]
            .iter()
            .map(|&c| match c as i64 {
                1 => Side::Lower,
                2 => Side::Upper,
                3 => Side::Fixed,
                _ => Side::Free,
            })
            .collect(),
        weak_bound: flags(2 * mi + n..2 * (mi + n)),
    };
    let ok = codes[2 * (mi + n)] != 0.0;
    let mut solution = Solution::restore(qp.clone(), point, active, settings)?;
    if !ok {
        solution.status = bpqp::Status::NumericalFailure;
    }
    Ok(solution)
}

impl Solved {
    pub fn new(solutions: Vec<Solution>, batched: bool, threads: usize) -> Self {
        Solved { solutions, batched, threads }
    }

    fn rows<'py>(&self, py: Python<'py>, f: impl Fn(&Solution) -> Vec<f64>) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let mut width = 0;
        let mut values = Vec::new();
        for solution in &self.solutions {
            let row = f(solution);
            width = row.len();
            values.extend(row);
        }
        values.into_pyarray(py).reshape([self.solutions.len(), width])
    }

    fn column<'py>(&self, py: Python<'py>, f: impl Fn(&Solution) -> f64) -> Bound<'py, PyArray1<f64>> {
        self.solutions.iter().map(f).collect::<Vec<_>>().into_pyarray(py)
    }

    /// Rows of cotangents `x, y, z, z_box` and the column of the objective; a missing one is zero.
    fn cotangents(&self, arrays: &Bound<'_, PyTuple>) -> PyResult<Vec<Cotangent>> {
        let n = self.solutions.len();
        let blocks = points(&arrays.get_slice(0, 4))?;
        let mut out = vec![Cotangent::default(); n];
        if !blocks.is_empty() {
            if blocks.len() != n {
                let message = format!("{} rows of cotangents for {n} solutions", blocks.len());
                return Err(PyValueError::new_err(message));
            }
            for (cot, block) in out.iter_mut().zip(blocks) {
                *cot = Cotangent { x: block.x, y: block.y, z: block.z, z_box: block.z_box, objective: 0.0 };
            }
        }
        let objective = arrays.get_item(4)?;
        if !objective.is_none() {
            let objective: PyReadonlyArray1<'_, f64> = objective.extract()?;
            let objective = objective.as_array();
            if objective.len() != n {
                let message = format!("{} cotangents of the objective for {n} solutions", objective.len());
                return Err(PyValueError::new_err(message));
            }
            for (cot, &value) in out.iter_mut().zip(objective) {
                cot.objective = value;
            }
        }
        // what is wrong with a cotangent is misuse, whatever the policy for failures is
        for (k, (cot, solution)) in out.iter().zip(&self.solutions).enumerate() {
            if solution.ok() {
                cot.validate(solution.qp()).map_err(|e| raise_at(&e, self.batched.then_some(k)))?;
            }
        }
        Ok(out)
    }

    fn tangents(&self, args: &Args<'_>) -> PyResult<Vec<Tangent>> {
        let data = args.data()?;
        let n = self.solutions.len();
        if let Some(batch) = data.batch()
            && batch != n
        {
            return Err(PyValueError::new_err(format!("a batch of {batch} tangents for {n} solutions")));
        }
        self.solutions.iter().enumerate().map(|(k, s)| data.tangent(s.qp(), k).map_err(|e| raise(&e))).collect()
    }

    /// Derivatives of every instance, in pieces; `take` gets them in order, `None` where there is none.
    fn derive<T: Send>(
        &self,
        py: Python<'_>,
        policy: Policy,
        derive: impl Fn(&mut bpqp::Layer, usize) -> Result<T, Error> + Sync + Send,
        mut take: impl FnMut(usize, Option<T>) + Send,
    ) -> PyResult<()> {
        let mut failed = None;
        in_pieces(py, self.solutions.len(), |range| {
            let start = range.start;
            let part: Vec<&Solution> = self.solutions[range].iter().collect();
            for (k, result) in
                derive_batch(&part, self.threads, |layer, k| derive(layer, start + k))?.into_iter().enumerate()
            {
                match result {
                    Ok(value) => take(start + k, Some(value)),
                    Err(Error::NoSolution { .. } | Error::Backward { .. }) if policy != 0 => take(start + k, None),
                    Err(error) => {
                        failed.get_or_insert((start + k, error));
                    }
                }
            }
            Ok(())
        })?;
        match failed {
            None => Ok(()),
            Some((k, error)) => Err(raise_at(&error, self.batched.then_some(k))),
        }
    }

    fn qp(&self) -> PyResult<&Qp> {
        self.solutions.first().map(Solution::qp).ok_or_else(|| PyValueError::new_err("the batch is empty"))
    }

    fn tangent_rows<'py>(
        &self,
        py: Python<'py>,
        policy: Policy,
        derive: impl Fn(&mut bpqp::Layer, usize) -> Result<SolutionTangent, Error> + Sync + Send,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let qp = self.qp()?;
        let (n, m, mi) = (qp.n(), qp.n_equality(), qp.n_inequality());
        let batch = self.solutions.len();
        let blank = if policy == 1 { f64::NAN } else { 0.0 };
        let mut out = [n, m, mi, n, 1].map(|width| vec![blank; batch * width]);
        self.derive(py, policy, derive, |k, tangent| {
            if let Some(t) = tangent {
                let objective = [t.objective];
                for (rows, row) in out.iter_mut().zip([&t.x[..], &t.y, &t.z, &t.z_box, &objective]) {
                    rows[k * row.len()..(k + 1) * row.len()].copy_from_slice(row);
                }
            }
        })?;
        let [x, y, z, z_box, objective] = out;
        PyTuple::new(
            py,
            [
                x.into_pyarray(py).reshape([batch, n])?.into_any(),
                y.into_pyarray(py).reshape([batch, m])?.into_any(),
                z.into_pyarray(py).reshape([batch, mi])?.into_any(),
                z_box.into_pyarray(py).reshape([batch, n])?.into_any(),
                objective.into_pyarray(py).into_any(),
            ],
        )
    }
}

#[pymethods]
impl Solved {
    fn __len__(&self) -> usize {
        self.solutions.len()
    }

    /// `(x, y, z, z_box, objective)`; with `nan`, those of instances without a solution are NaN.
    fn outputs<'py>(&self, py: Python<'py>, nan: bool) -> PyResult<Bound<'py, PyTuple>> {
        let pick = |s: &Solution, v: &[f64]| match nan && !s.ok() {
            true => vec![f64::NAN; v.len()],
            false => v.to_vec(),
        };
        PyTuple::new(
            py,
            [
                self.rows(py, |s| pick(s, &s.x))?.into_any(),
                self.rows(py, |s| pick(s, &s.y))?.into_any(),
                self.rows(py, |s| pick(s, &s.z))?.into_any(),
                self.rows(py, |s| pick(s, &s.z_box))?.into_any(),
                self.column(py, |s| if nan && !s.ok() { f64::NAN } else { s.objective }).into_any(),
            ],
        )
    }

    /// All that `Engine.restore` needs besides the data: the point at which the gradient is taken, the active set, `ok`.
    fn state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f64>>> {
        self.rows(py, |s| {
            let (at, active) = (s.at_point(), s.active());
            let (n, mi) = (s.qp().n(), s.qp().n_inequality());
            let mut row = [&at.x[..], &at.y, &at.z, &at.z_box].concat();
            if active.bound.len() == n && active.g.len() == mi {
                let flag = |&b: &bool| f64::from(u8::from(b));
                row.extend(active.g.iter().map(flag));
                row.extend(active.weak_g.iter().map(flag));
                row.extend(active.bound.iter().map(|&side| side_code(side)));
                row.extend(active.weak_bound.iter().map(flag));
            } else {
                row.resize(row.len() + 2 * (n + mi), 0.0);
            }
            row.push(f64::from(u8::from(s.ok())));
            row
        })
    }

    /// True for every instance with a solution.
    fn ok<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<bool>> {
        self.solutions.iter().map(Solution::ok).collect::<Vec<_>>().into_pyarray(py)
    }

    /// True if every instance has a solution.
    fn all_ok(&self) -> bool {
        self.solutions.iter().all(Solution::ok)
    }

    fn status(&self) -> Vec<&'static str> {
        self.solutions.iter().map(|s| s.status.name()).collect()
    }

    fn solver(&self) -> Vec<&'static str> {
        self.solutions.iter().map(|s| s.info.solver).collect()
    }

    fn iterations(&self) -> Vec<usize> {
        self.solutions.iter().map(|s| s.info.iterations).collect()
    }

    fn time<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.column(py, |s| s.info.time.as_secs_f64())
    }

    /// How far the polish moved x.
    fn moved<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.column(py, |s| s.info.moved)
    }

    /// The proof that instance `k` has no solution: `None`, a direction, or the multipliers `(y, z, z_box)`.
    fn certificate<'py>(&self, py: Python<'py>, k: usize) -> PyResult<Option<Bound<'py, PyAny>>> {
        let solution = self.solutions.get(k).ok_or_else(|| PyValueError::new_err("no such instance"))?;
        let array = |v: &[f64]| PyArray1::from_slice(py, v).into_any();
        Ok(match &solution.info.certificate {
            None => None,
            Some(Certificate::PrimalInfeasible(p)) => {
                Some(PyTuple::new(py, [array(&p.y), array(&p.z), array(&p.z_box)])?.into_any())
            }
            Some(Certificate::DualInfeasible(d) | Certificate::NonConvex(d)) => Some(array(d)),
        })
    }

    fn residuals<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let out = PyDict::new(py);
        out.set_item("primal", self.column(py, |s| s.residuals.primal))?;
        out.set_item("dual", self.column(py, |s| s.residuals.dual))?;
        out.set_item("complementarity", self.column(py, |s| s.residuals.complementarity))?;
        out.set_item("gap", self.column(py, |s| s.residuals.gap))?;
        Ok(out)
    }

    /// Per instance: the verdict, an estimate of the condition of the backward system, the relative residual that its
    /// regularization left, and whether its rows are dependent. `("untrusted", nan, nan, False)` without a solution.
    fn examine(&self, py: Python<'_>) -> PyResult<Vec<(&'static str, f64, f64, bool)>> {
        let mut out = vec![("untrusted", f64::NAN, f64::NAN, false); self.solutions.len()];
        self.derive(
            py,
            1,
            |layer, _| layer.examine(),
            |k, found| {
                if let Some((accuracy, reciprocal, verdict)) = found {
                    let condition = if reciprocal > 0.0 { 1.0 / reciprocal } else { f64::NAN };
                    out[k] = (verdict.name(), condition, accuracy.residual, accuracy.deficient);
                }
            },
        )?;
        Ok(out)
    }

    /// Gradients for the cotangents `(x, y, z, z_box, objective)` with respect to the arguments marked in `ask`, summed
    /// over the batch for those marked in `summed`.
    fn vjp<'py>(
        &self,
        py: Python<'py>,
        cotangents: &Bound<'py, PyTuple>,
        ask: [bool; 8],
        summed: [bool; 8],
        policy: Policy,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let cotangents = self.cotangents(cotangents)?;
        let ask = wrt(ask);
        let mut gather = Gather::new(self.qp()?, ask, summed, self.solutions.len(), 1, false);
        self.derive(
            py,
            policy,
            |layer, k| layer.vjp(&cotangents[k], ask).cloned(),
            |k, gradient| match gradient {
                Some(gradient) => gather.add(k, 0, &gradient),
                None if policy == 1 => gather.nan(k),
                None => {}
            },
        )?;
        gather.into_py(py)
    }

    /// The derivative of `vjp` along a direction of the data, the cotangents held.
    #[allow(clippy::too_many_arguments)]
    fn second_vjp<'py>(
        &self,
        py: Python<'py>,
        cotangents: &Bound<'py, PyTuple>,
        along: &Bound<'py, PyTuple>,
        ask: [bool; 8],
        summed: [bool; 8],
        policy: Policy,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let cotangents = self.cotangents(cotangents)?;
        let along = self.tangents(&Args::new(along)?)?;
        let ask = wrt(ask);
        let mut gather = Gather::new(self.qp()?, ask, summed, self.solutions.len(), 1, false);
        self.derive(
            py,
            policy,
            |layer, k| layer.second_vjp(&cotangents[k], &along[k], ask).cloned(),
            |k, gradient| match gradient {
                Some(gradient) => gather.add(k, 0, &gradient),
                None if policy == 1 => gather.nan(k),
                None => {}
            },
        )?;
        gather.into_py(py)
    }

    /// Tangents `(x, y, z, z_box, objective)` along directions of the data.
    fn jvp<'py>(
        &self,
        py: Python<'py>,
        tangents: &Bound<'py, PyTuple>,
        policy: Policy,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let tangents = self.tangents(&Args::new(tangents)?)?;
        self.tangent_rows(py, policy, |layer, k| layer.jvp(&tangents[k]).cloned())
    }

    /// Second derivatives of the outputs along two directions of the data.
    fn second_jvp<'py>(
        &self,
        py: Python<'py>,
        tangents: &Bound<'py, PyTuple>,
        along: &Bound<'py, PyTuple>,
        policy: Policy,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let tangents = self.tangents(&Args::new(tangents)?)?;
        let along = self.tangents(&Args::new(along)?)?;
        self.tangent_rows(py, policy, |layer, k| layer.second_jvp(&tangents[k], &along[k]).cloned())
    }

    /// The Jacobian of one output with respect to the arguments marked in `ask`: one factorization per instance.
    fn jacobian<'py>(
        &self,
        py: Python<'py>,
        of: &str,
        ask: [bool; 8],
        policy: Policy,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let qp = self.qp()?;
        let size = match of {
            "x" | "z_box" => qp.n(),
            "y" => qp.n_equality(),
            "z" => qp.n_inequality(),
            "objective" => 1,
            other => {
                let names = "name one of x, y, z, z_box, objective";
                return Err(raise(&Error::Setting { name: "of", value: other.to_owned(), advice: names }));
            }
        };
        let unit = |i: usize| {
            let mut e = vec![0.0; size];
            e[i] = 1.0;
            let mut cotangent = Cotangent::default();
            match of {
                "x" => cotangent.x = e,
                "y" => cotangent.y = e,
                "z" => cotangent.z = e,
                "z_box" => cotangent.z_box = e,
                _ => cotangent.objective = 1.0,
            }
            cotangent
        };
        let ask = wrt(ask);
        let mut gather = Gather::new(qp, ask, [false; 8], self.solutions.len(), size, true);
        self.derive(
            py,
            policy,
            |layer, _| (0..size).map(|i| layer.vjp(&unit(i), ask).cloned()).collect::<Result<Vec<_>, _>>(),
            |k, gradients| match gradients {
                Some(gradients) => gradients.iter().enumerate().for_each(|(i, g)| gather.add(k, i, g)),
                None if policy == 1 => gather.nan(k),
                None => {}
            },
        )?;
        gather.into_py(py)
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
        let cotangents = self.cotangents(cotangents)?;
        let solution = self.solutions.get(k).ok_or_else(|| PyValueError::new_err("no such instance"))?;
        let report = py.detach(|| bpqp::check_gradient(solution, &cotangents[k])).map_err(|e| raise(&e))?;
        let rows = report.table.iter().map(|r| {
            let at = r.at.to_string();
            (r.block.to_owned(), r.entries, r.checked, r.worst, at, r.analytic, r.numeric, r.kinks)
        });
        Ok((report.worst, rows.collect(), report.to_string()))
    }

    /// The names of the arguments, in order.
    #[classattr]
    fn names() -> Vec<&'static str> {
        NAMES.to_vec()
    }
}
