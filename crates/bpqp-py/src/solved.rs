//! The solutions of a batch, as Python sees them.

use crate::arrays::{Args, points, shaped};
use crate::data::Arguments;
use crate::errors::{misuse, raise};
use crate::gather::{Gathered, NAMES, wrt};
use crate::solutions::{Along, Policy, Rows, Solutions, codes, push_state, state_width};
use crate::verdicts::examined;
use bpqp::{Certificate, Cotangent, Error, Solution};
use numpy::{IntoPyArray, PyArray1, PyReadonlyArrayDyn};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFloat, PyTuple};

/// The solutions of a batch, and the arguments that they are of.
#[pyclass(frozen, module = "bpqp._bpqp")]
pub struct Solved(pub Solutions, pub Arguments);

impl Solved {
    fn column<'py>(&self, py: Python<'py>, f: impl Fn(&Solution) -> f64) -> Bound<'py, PyArray1<f64>> {
        self.0.list.iter().map(|s| f(s)).collect::<Vec<_>>().into_pyarray(py)
    }

    /// Cotangents of `x, y, z, z_box` and of the objective, one row for every instance; a missing one is zero.
    fn cotangents(&self, arrays: &Bound<'_, PyAny>) -> PyResult<Vec<Cotangent>> {
        let n = self.0.list.len();
        let arrays: Vec<Bound<'_, PyAny>> = arrays.try_iter()?.collect::<PyResult<_>>()?;
        let blocks = points(arrays.iter().cloned())?;
        let mut out = vec![Cotangent::default(); n];
        if !blocks.is_empty() {
            if blocks.len() != n {
                let message = format!("{} rows of cotangents for {n} solutions", blocks.len());
                return Err(misuse(message));
            }
            for (cot, block) in out.iter_mut().zip(blocks) {
                let (x, y, z, z_box) = (block.x, block.y, block.z, block.z_box);
                *cot = Cotangent { x, y, z, z_box, ..Cotangent::default() };
            }
        }
        if let Some(objective) = arrays.get(4).filter(|array| !array.is_none()) {
            let objective: PyReadonlyArrayDyn<'_, f64> = objective.extract()?;
            let objective = objective.as_array();
            if objective.len() != n {
                let message = format!("{} cotangents of the objective for {n} solutions", objective.len());
                return Err(misuse(message));
            }
            for (cot, &value) in out.iter_mut().zip(&objective) {
                cot.objective = value;
            }
        }
        Ok(out)
    }

    fn tangent_rows<'py>(&self, py: Python<'py>, (rows, codes): (Rows, Vec<u8>)) -> PyResult<Bound<'py, PyTuple>> {
        let qp = self.0.qp()?;
        let (n, m, mi) = (qp.n(), qp.n_equality(), qp.n_inequality());
        let batch = self.0.list.len();
        let [x, y, z, z_box, objective] = rows;
        PyTuple::new(
            py,
            [
                shaped(py, x, &[batch, n])?,
                shaped(py, y, &[batch, m])?,
                shaped(py, z, &[batch, mi])?,
                shaped(py, z_box, &[batch, n])?,
                objective.into_pyarray(py).into_any(),
                codes.into_pyarray(py).into_any(),
            ],
        )
    }
}

#[pymethods]
impl Solved {
    fn __len__(&self) -> usize {
        self.0.list.len()
    }

    /// `x` alone, as in `outputs`, without a batch dimension for a single problem. `None` if there is an instance without
    /// a solution and the policy is to raise.
    fn answer<'py>(&self, py: Python<'py>, policy: Policy) -> PyResult<Option<Bound<'py, PyAny>>> {
        if policy == 0 && !self.0.all_ok() {
            return Ok(None);
        }
        let n = self.0.qp()?.n();
        let shape = [self.0.list.len(), n];
        Ok(Some(shaped(py, self.0.x(policy != 2), if self.0.batched { &shape } else { &shape[1..] })?))
    }

    /// `outputs` as a user sees them: those of a single problem without a batch dimension, its objective a number.
    fn results<'py>(&self, py: Python<'py>, nan: bool) -> PyResult<Bound<'py, PyTuple>> {
        let qp = self.0.qp()?;
        let (n, m, mi, batch) = (qp.n(), qp.n_equality(), qp.n_inequality(), self.0.list.len());
        let rows = |values: Vec<f64>, width: usize| match self.0.batched {
            true => shaped(py, values, &[batch, width]),
            false => Ok(values.into_pyarray(py).into_any()),
        };
        let of = |s: &Solution| if nan && !s.ok() { f64::NAN } else { s.objective };
        let objective = match &self.0.list[..] {
            [own] if !self.0.batched => PyFloat::new(py, of(own)).into_any(),
            _ => self.column(py, of).into_any(),
        };
        let (x, y) = (rows(self.0.x(nan), n)?, rows(self.0.rows(nan, m, |s| &s.y), m)?);
        let (z, z_box) = (rows(self.0.rows(nan, mi, |s| &s.z), mi)?, rows(self.0.rows(nan, n, |s| &s.z_box), n)?);
        PyTuple::new(py, [x, y, z, z_box, objective])
    }

    /// `(x, y, z, z_box, objective)`; with `nan`, those of instances without a solution are NaN.
    fn outputs<'py>(&self, py: Python<'py>, nan: bool) -> PyResult<Bound<'py, PyTuple>> {
        let qp = self.0.qp()?;
        let (n, m, mi) = (qp.n(), qp.n_equality(), qp.n_inequality());
        let batch = self.0.list.len();
        PyTuple::new(
            py,
            [
                shaped(py, self.0.x(nan), &[batch, n])?,
                shaped(py, self.0.rows(nan, m, |s| &s.y), &[batch, m])?,
                shaped(py, self.0.rows(nan, mi, |s| &s.z), &[batch, mi])?,
                shaped(py, self.0.rows(nan, n, |s| &s.z_box), &[batch, n])?,
                self.column(py, |s| if nan && !s.ok() { f64::NAN } else { s.objective }).into_any(),
            ],
        )
    }

    /// All that `Engine.restore` needs besides the data: the point at which the gradient is taken, the active set, `ok`.
    fn state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let qp = self.0.qp()?;
        let width = state_width(qp.n(), qp.n_equality(), qp.n_inequality());
        let mut values = Vec::with_capacity(width * self.0.list.len());
        self.0.list.iter().for_each(|solution| push_state(solution, &mut values));
        shaped(py, values, &[self.0.list.len(), width])
    }

    /// Per instance the code of the status, its place in `STATUSES`, and the iterations.
    fn codes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let codes: Vec<i32> = self.0.list.iter().flat_map(|s| codes(s.status, s.ok(), s.info.iterations)).collect();
        shaped(py, codes, &[self.0.list.len(), 2])
    }

    /// The elements without a solution in words, or None.
    fn failures(&self) -> Option<String> {
        self.0.failures()
    }

    /// By how much the rows of A and of G of every instance were shifted; zeros where none was.
    fn shift<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let qp = self.0.qp()?;
        let (m, mi, batch) = (qp.n_equality(), qp.n_inequality(), self.0.list.len());
        let (mut a, mut g) = (Vec::with_capacity(batch * m), Vec::with_capacity(batch * mi));
        for (k, s) in self.0.list.iter().enumerate() {
            if let Some((own_a, own_g)) = s.shift() {
                a.extend_from_slice(own_a);
                g.extend_from_slice(own_g);
            }
            a.resize((k + 1) * m, 0.0);
            g.resize((k + 1) * mi, 0.0);
        }
        PyTuple::new(py, [shaped(py, a, &[batch, m])?, shaped(py, g, &[batch, mi])?])
    }

    /// True for every instance with a solution.
    fn ok<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<bool>> {
        self.0.list.iter().map(|s| s.ok()).collect::<Vec<_>>().into_pyarray(py)
    }

    /// True if every instance has a solution.
    fn all_ok(&self) -> bool {
        self.0.all_ok()
    }

    /// What is wrong with the data of instance `k`, if it is no problem.
    fn reason(&self, k: usize) -> Option<String> {
        self.0.reason(k).map(|e| e.to_string())
    }

    fn status(&self) -> Vec<&'static str> {
        self.0.list.iter().map(|s| s.status.name()).collect()
    }

    fn solver(&self) -> Vec<&'static str> {
        self.0.list.iter().map(|s| s.info.solver).collect()
    }

    fn iterations(&self) -> Vec<usize> {
        self.0.list.iter().map(|s| s.info.iterations).collect()
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
        let solution = self.0.list.get(k).ok_or_else(|| misuse("no such instance"))?;
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
        let found = self.0.derive(Some(py), 1, 1, vec![(); self.0.list.len()], |at, _, ()| at.examine())?;
        Ok(found.into_iter().map(examined).collect())
    }

    /// Gradients for the cotangents `(x, y, z, z_box, objective)` with respect to the arguments marked in `ask`, summed
    /// over the batch for those marked in `summed` (nine flags: P has one for each of its factors); the ninth item are the
    /// verdicts.
    fn vjp<'py>(
        &self,
        py: Python<'py>,
        cotangents: &Bound<'py, PyAny>,
        ask: [bool; 8],
        summed: [bool; 9],
        policy: Policy,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let cotangents = self.cotangents(cotangents)?;
        self.0.vjp(Some(py), &cotangents, None, (ask, summed), policy)?.into_py(py, false)
    }

    /// `vjp` with respect to the arguments whose bits are set in `ask` and that there are, summed over the batch for those that it
    /// shares. The verdict on a single problem is a number.
    fn pull<'py>(
        &self,
        py: Python<'py>,
        cotangents: &Bound<'py, PyAny>,
        ask: u8,
        policy: Policy,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let Arguments { present, shared } = self.1;
        let ask = std::array::from_fn(|k| (ask >> k) & 1 == 1 && present[if k == 0 { 0 } else { k + 1 }]);
        let cotangents = self.cotangents(cotangents)?;
        self.0.vjp(Some(py), &cotangents, None, (ask, shared), policy)?.into_py(py, !self.0.batched)
    }

    /// `vjp` with respect to the arguments that there are, in the order of the slots: one array, or None where `needs` has
    /// False, for each; summed over the batch for those that are shared. The last item are the verdicts where one is to be told.
    fn gradients<'py>(
        &self,
        py: Python<'py>,
        cotangents: &Bound<'py, PyAny>,
        needs: &Bound<'py, PyTuple>,
        policy: Policy,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let Arguments { present, shared } = self.1;
        let mut wanted = [false; 9];
        let mut left = needs.iter();
        for (want, _) in wanted.iter_mut().zip(present).filter(|(_, present)| *present) {
            *want = match left.next() {
                Some(need) => need.extract()?,
                None => return Err(misuse("one flag for each argument")),
            };
        }
        let [d, f, rest @ ..] = wanted;
        let mut ask = [d || f; 8];
        ask[1..].copy_from_slice(&rest);
        let cotangents = self.cotangents(cotangents)?;
        let gathered = self.0.vjp(Some(py), &cotangents, None, (ask, shared), policy)?;
        gathered.into_present(py, present, wanted)
    }

    /// Which of the nine slots the problems were made with.
    fn present(&self) -> [bool; 9] {
        self.1.present
    }

    /// False for a single problem.
    fn batched(&self) -> bool {
        self.0.batched
    }

    /// The derivative of `vjp` along a direction of the data, the cotangents held.
    #[allow(clippy::too_many_arguments)]
    fn second_vjp<'py>(
        &self,
        py: Python<'py>,
        cotangents: &Bound<'py, PyAny>,
        along: &Bound<'py, PyTuple>,
        ask: [bool; 8],
        summed: [bool; 9],
        policy: Policy,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let cotangents = self.cotangents(cotangents)?;
        let along = self.0.tangents(&Args::new(along)?.data()?)?;
        self.0.vjp(Some(py), &cotangents, Some(&along), (ask, summed), policy)?.into_py(py, false)
    }

    /// Tangents `(x, y, z, z_box, objective)` along directions of the data, and the verdicts; the one-sided ones if asked.
    #[pyo3(signature = (tangents, policy, one_sided = false))]
    fn jvp<'py>(
        &self,
        py: Python<'py>,
        tangents: &Bound<'py, PyTuple>,
        policy: Policy,
        one_sided: bool,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let along = if one_sided { Along::OneSide } else { Along::Nothing };
        let tangents = self.0.tangents(&Args::new(tangents)?.data()?)?;
        self.tangent_rows(py, self.0.jvp(Some(py), &tangents, along, policy)?)
    }

    /// Second derivatives of the outputs along two directions of the data.
    fn second_jvp<'py>(
        &self,
        py: Python<'py>,
        tangents: &Bound<'py, PyTuple>,
        along: &Bound<'py, PyTuple>,
        policy: Policy,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let tangents = self.0.tangents(&Args::new(tangents)?.data()?)?;
        let along = self.0.tangents(&Args::new(along)?.data()?)?;
        self.tangent_rows(py, self.0.jvp(Some(py), &tangents, Along::Direction(&along), policy)?)
    }

    /// The Jacobian of one output with respect to the arguments marked in `ask`: one factorization per instance.
    fn jacobian<'py>(
        &self,
        py: Python<'py>,
        of: &str,
        ask: [bool; 8],
        policy: Policy,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let qp = self.0.qp()?;
        let size = match of {
            "x" | "z_box" => qp.n(),
            "y" => qp.n_equality(),
            "z" => qp.n_inequality(),
            "objective" => 1,
            other => {
                let names = "name one of x, y, z, z_box, objective";
                return Err(raise(Error::Setting { name: "of", value: other.to_owned(), advice: names }));
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
        let mut gathered = Gathered::new(qp, ask, [false; 9], self.0.list.len(), size, true);
        self.0.gather(
            Some(py),
            policy,
            &mut gathered,
            |_| false,
            |at, _, take| {
                (0..size).try_for_each(|i| {
                    take(i, at.vjp(&unit(i), ask)?);
                    Ok(())
                })
            },
        )?;
        gathered.into_py(py, false)
    }

    /// Central differences against the gradient of instance `k`: the worst relative error, and a row
    /// `(block, entries, checked, worst, at, analytic, numeric, kinks)` per block; and the table as text.
    #[allow(clippy::type_complexity)]
    fn check(
        &self,
        py: Python<'_>,
        k: usize,
        cotangents: &Bound<'_, PyAny>,
    ) -> PyResult<(f64, Vec<(String, usize, usize, f64, String, f64, f64, usize)>, String)> {
        let cotangents = self.cotangents(cotangents)?;
        self.0.check_cotangents(&cotangents)?;
        let solution = self.0.list.get(k).ok_or_else(|| misuse("no such instance"))?;
        let report = py.detach(|| bpqp::check_gradient(solution, &cotangents[k])).map_err(raise)?;
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
