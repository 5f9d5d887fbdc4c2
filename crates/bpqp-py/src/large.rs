//! Large programs whose matrices are Python callables: products only.

use crate::engine::lock;
use crate::errors::raise;
use crate::settings;
use crate::smooth::{hessian, matrix, vector};
use bpqp::large::{LargeSolution, LargeTangent, Operator, Outer, Program};
use bpqp::{Certificate, Cotangent, Error, Hessian, Verdict};
use numpy::{IntoPyArray, PyArray1, PyArray2, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use std::sync::{Arc, Mutex};

/// The exception that ended the products.
type Raised = Arc<Mutex<Option<PyErr>>>;

/// A matrix whose products are functions of the interpreter: they take and return arrays of the right shape, or raise.
struct Callable {
    argument: &'static str,
    shape: (usize, usize),
    matvec: Py<PyAny>,
    rmatvec: Py<PyAny>,
    raised: Raised,
}

impl Callable {
    fn call(&self, function: &Py<PyAny>, v: &[f64], out: &mut [f64]) -> Result<(), Error> {
        let done = Python::attach(|py| -> PyResult<()> {
            py.check_signals()?;
            let made = function.bind(py).call1((PyArray1::from_slice(py, v),))?;
            let made: PyReadonlyArray1<'_, f64> = made.extract()?;
            out.iter_mut().zip(made.as_array()).for_each(|(o, v)| *o = *v);
            Ok(())
        });
        done.map_err(|error| {
            *lock(&self.raised) = Some(error);
            Error::Operator { argument: self.argument, reason: "a function raised an exception".to_owned() }
        })
    }
}

impl Operator for Callable {
    fn nrows(&self) -> usize {
        self.shape.0
    }

    fn ncols(&self) -> usize {
        self.shape.1
    }

    fn apply(&self, x: &[f64], out: &mut [f64]) -> Result<(), Error> {
        self.call(&self.matvec, x, out)
    }

    fn apply_transpose(&self, y: &[f64], out: &mut [f64]) -> Result<(), Error> {
        self.call(&self.rmatvec, y, out)
    }
}

/// A matrix: an array, `(indptr, indices, values, shape)` by columns, `(d, F)`, or `(matvec, rmatvec, shape)`.
fn operator(argument: &'static str, any: &Bound<'_, PyAny>, raised: &Raised) -> PyResult<Arc<dyn Operator>> {
    let parts = any.cast::<PyTuple>().ok();
    match parts.as_ref().map_or(0, |parts| parts.len()) {
        3 => {
            let (matvec, rmatvec, shape) = any.extract()?;
            Ok(Arc::new(Callable { argument, shape, matvec, rmatvec, raised: raised.clone() }))
        }
        2 => {
            let parts = any.cast::<PyTuple>()?;
            let f = crate::smooth::dense(&parts.get_item(1)?)?;
            Ok(Arc::new(Hessian::low_rank(vector(&parts.get_item(0)?)?, f).map_err(raise)?))
        }
        _ if argument == "P" => Ok(Arc::new(hessian(any)?)),
        _ => Ok(Arc::new(matrix(any)?)),
    }
}

/// A solution of a large program.
#[pyclass(frozen, module = "bpqp._bpqp")]
pub struct Large {
    solution: LargeSolution,
    raised: Raised,
}

fn array<'py>(py: Python<'py>, v: &[f64]) -> Bound<'py, PyAny> {
    PyArray1::from_slice(py, v).into_any()
}

/// The terms as columns of two matrices.
fn outer<'py>(py: Python<'py>, outer: &Outer) -> PyResult<Bound<'py, PyAny>> {
    let columns = |v: &[Vec<f64>]| -> PyResult<Bound<'py, PyArray2<f64>>> { Ok(PyArray2::from_vec2(py, v)?) };
    Ok(PyTuple::new(py, [columns(&outer.left)?, columns(&outer.right)?])?.into_any())
}

/// The number of a verdict, with a flag where it is in doubt.
fn code(verdict: Verdict) -> u8 {
    let doubt = matches!(verdict, Verdict::Regularized | Verdict::Untrusted);
    verdict.rank() as u8 | if doubt { 0x80 } else { 0 }
}

/// What the core returned, or the exception that a function raised.
fn settled<T>(raised: &Raised, result: Result<T, Error>) -> PyResult<T> {
    match lock(raised).take() {
        Some(error) => Err(error),
        None => result.map_err(raise),
    }
}

#[pymethods]
impl Large {
    /// `(x, y, z, z_box, objective)`.
    fn outputs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let s = &self.solution;
        let objective = s.objective.into_pyobject(py)?.into_any();
        PyTuple::new(py, [array(py, &s.x), array(py, &s.y), array(py, &s.z), array(py, &s.z_box), objective])
    }

    #[getter]
    fn status(&self) -> &'static str {
        self.solution.status.name()
    }

    #[getter]
    fn ok(&self) -> bool {
        self.solution.ok()
    }

    /// Newton steps, products, seconds.
    fn effort(&self) -> (usize, usize, f64) {
        (self.solution.iterations, self.solution.products, self.solution.time.as_secs_f64())
    }

    fn residuals(&self) -> [(&'static str, f64); 4] {
        let r = &self.solution.residuals;
        [("primal", r.primal), ("dual", r.dual), ("complementarity", r.complementarity), ("gap", r.gap)]
    }

    fn certificate<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(match &self.solution.certificate {
            None => None,
            Some(Certificate::PrimalInfeasible(p)) => {
                Some(PyTuple::new(py, [array(py, &p.y), array(py, &p.z), array(py, &p.z_box)])?.into_any())
            }
            Some(Certificate::DualInfeasible(d) | Certificate::NonConvex(d)) => Some(array(py, d)),
        })
    }

    /// Active rows of G, weakly active rows and bounds.
    fn active<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let (rows, bounds) = self.solution.weak();
        PyTuple::new(py, [self.solution.active_rows(), rows, bounds].map(|v| v.into_pyarray(py)))
    }

    fn verdict(&self, py: Python<'_>) -> PyResult<u8> {
        let found = py.detach(|| self.solution.verdict());
        settled(&self.raised, found).map(code)
    }

    /// `((P, q, G, h, A, b, lb, ub), residual, verdict)` for cotangents `(x, y, z, z_box, objective)`; matrices as
    /// `(left, right)`, a row for each term.
    fn vjp<'py>(&self, py: Python<'py>, cotangents: &Bound<'py, PyTuple>) -> PyResult<(Bound<'py, PyTuple>, f64, u8)> {
        let part = |k: usize| -> PyResult<Vec<f64>> {
            let item = cotangents.get_item(k)?;
            if item.is_none() { Ok(Vec::new()) } else { vector(&item) }
        };
        let objective = part(4)?.first().copied().unwrap_or(0.0);
        let (x, y, z, z_box) = (part(0)?, part(1)?, part(2)?, part(3)?);
        let cotangent = Cotangent { x, y, z, z_box, objective, ..Cotangent::default() };
        let found = py.detach(|| self.solution.vjp(&cotangent));
        let g = settled(&self.raised, found)?;
        let blocks = [
            outer(py, &g.p)?,
            array(py, &g.q),
            outer(py, &g.g)?,
            array(py, &g.h),
            outer(py, &g.a)?,
            array(py, &g.b),
            array(py, &g.lb),
            array(py, &g.ub),
        ];
        Ok((PyTuple::new(py, blocks)?, g.residual, code(g.verdict)))
    }

    /// `((x, y, z, z_box), objective, verdict)` along `(q, b, h, lb, ub)`.
    fn jvp<'py>(&self, py: Python<'py>, along: &Bound<'py, PyTuple>) -> PyResult<(Bound<'py, PyTuple>, f64, u8)> {
        let part = |k: usize| -> PyResult<Vec<f64>> {
            let item = along.get_item(k)?;
            if item.is_none() { Ok(Vec::new()) } else { vector(&item) }
        };
        let direction = LargeTangent { q: part(0)?, b: part(1)?, h: part(2)?, lb: part(3)?, ub: part(4)? };
        let found = py.detach(|| self.solution.jvp(&direction));
        let (t, verdict) = settled(&self.raised, found)?;
        let moved = PyTuple::new(py, [&t.x, &t.y, &t.z, &t.z_box].map(|v| array(py, v)))?;
        Ok((moved, t.objective, code(verdict)))
    }
}

/// Solves a program `(P, q, G, h, A, b, lb, ub)` whose matrices are products.
#[pyfunction]
#[pyo3(signature = (data, options = None))]
pub fn solve_large(py: Python<'_>, data: &Bound<'_, PyTuple>, options: Option<&Bound<'_, PyDict>>) -> PyResult<Large> {
    crate::logging::listen(py)?;
    let settings = settings(options)?;
    let raised = Raised::default();
    let item = |k: usize| data.get_item(k).map(|item| (!item.is_none()).then_some(item));
    let part = |k: usize| item(k)?.map_or_else(|| Ok(Vec::new()), |v| vector(&v));
    let mut program = match item(0)? {
        Some(p) => Program::new(operator("P", &p, &raised)?, part(1)?),
        None => Program::linear(part(1)?),
    }
    .map_err(raise)?;
    if let Some(g) = item(2)? {
        program = program.inequality(operator("G", &g, &raised)?, part(3)?).map_err(raise)?;
    }
    if let Some(a) = item(4)? {
        program = program.equality(operator("A", &a, &raised)?, part(5)?).map_err(raise)?;
    }
    program = program.bounds(part(6)?, part(7)?).map_err(raise)?;
    let found = py.detach(|| program.solve(&settings));
    let solution = settled(&raised, found)?;
    Ok(Large { solution, raised })
}
