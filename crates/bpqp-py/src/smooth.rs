//! Smooth programs whose functions are Python callables.

use crate::errors::{misuse, raise};
use crate::settings;
use bpqp::faer::Mat;
use bpqp::smooth::{self, At, Expansion, LocalSolution, Pushed, SmoothProgram, Values};
use bpqp::{Cotangent, Csc, Error, Hessian, Matrix};
use numpy::{IntoPyArray, PyArray1, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

/// `calls` has methods `values(x)`, `expand(x, y, z)`, `pull(x, y, z, w, u_y, u_z, t)` and `push(x, y, z, direction)`; an exception
/// of one of them ends the solve, and is kept.
struct Program<'py> {
    calls: Bound<'py, PyAny>,
    lb: Vec<f64>,
    ub: Vec<f64>,
    sizes: Option<(usize, usize)>,
    error: Option<PyErr>,
}

pub(crate) fn vector(any: &Bound<'_, PyAny>) -> PyResult<Vec<f64>> {
    let array: PyReadonlyArray1<'_, f64> = any.extract()?;
    Ok(array.as_array().iter().copied().collect())
}

fn csc(tuple: &Bound<'_, PyTuple>) -> PyResult<Csc> {
    let index = |k: usize| -> PyResult<Vec<usize>> {
        let array: PyReadonlyArray1<'_, i64> = tuple.get_item(k)?.extract()?;
        let index = |v: &i64| usize::try_from(*v).map_err(|_| misuse("a negative index"));
        array.as_array().iter().map(index).collect()
    };
    let (rows, cols): (usize, usize) = tuple.get_item(3)?.extract()?;
    Csc::new(rows, cols, index(0)?, index(1)?, vector(&tuple.get_item(2)?)?).map_err(raise)
}

pub(crate) fn dense(any: &Bound<'_, PyAny>) -> PyResult<Mat<f64>> {
    let array: PyReadonlyArray2<'_, f64> = any.extract()?;
    let view = array.as_array();
    Ok(Mat::from_fn(view.nrows(), view.ncols(), |i, j| view[(i, j)]))
}

/// A matrix, dense or `(indptr, indices, values, shape)` by columns.
pub(crate) fn matrix(any: &Bound<'_, PyAny>) -> PyResult<Matrix> {
    match any.cast::<PyTuple>() {
        Ok(tuple) => Ok(Matrix::Sparse(csc(tuple)?)),
        Err(_) => Ok(Matrix::from(dense(any)?)),
    }
}

pub(crate) fn hessian(any: &Bound<'_, PyAny>) -> PyResult<Hessian> {
    match any.cast::<PyTuple>() {
        Ok(tuple) => Ok(Hessian::Sparse(csc(tuple)?)),
        Err(_) => Ok(Hessian::from(dense(any)?)),
    }
}

impl<'py> Program<'py> {
    fn new(calls: &Bound<'py, PyAny>) -> PyResult<Self> {
        let (lb, ub) = (vector(&calls.getattr("lb")?)?, vector(&calls.getattr("ub")?)?);
        Ok(Program { calls: calls.clone(), lb, ub, sizes: None, error: None })
    }

    fn keep<T>(&mut self, result: PyResult<T>) -> Result<T, Error> {
        result.map_err(|error| {
            self.error = Some(error);
            Error::Backward { reason: "a function of the program failed".to_owned() }
        })
    }

    fn array<'a>(&self, v: &[f64]) -> Bound<'py, PyArray1<f64>>
    where
        'py: 'a,
    {
        PyArray1::from_slice(self.calls.py(), v)
    }

    fn checked(&self, found: usize, expected: usize, what: &str) -> PyResult<()> {
        if found == expected {
            return Ok(());
        }
        Err(misuse(format!("{what} has {found} entries, expected {expected}")))
    }

    fn shaped(&self, found: (usize, usize), expected: (usize, usize), what: &str) -> PyResult<()> {
        if found == expected {
            return Ok(());
        }
        Err(misuse(format!("{what} has shape {found:?}, expected {expected:?}")))
    }

    fn read_values(&self, x: &[f64]) -> PyResult<Values> {
        let out = self.calls.call_method1("values", (self.array(x),))?;
        let out = out.cast::<PyTuple>()?;
        let values = Values {
            objective: out.get_item(0)?.extract()?,
            equality: vector(&out.get_item(1)?)?,
            inequality: vector(&out.get_item(2)?)?,
        };
        if let Some((m, mi)) = self.sizes {
            self.checked(values.equality.len(), m, "c")?;
            self.checked(values.inequality.len(), mi, "g")?;
        }
        Ok(values)
    }

    fn read_expansion(&self, at: At<'_>) -> PyResult<Expansion> {
        let args = (self.array(at.x), self.array(at.y), self.array(at.z));
        let out = self.calls.call_method1("expand", args)?;
        let out = out.cast::<PyTuple>()?;
        let n = self.lb.len();
        let made = Expansion {
            gradient: vector(&out.get_item(0)?)?,
            equality: matrix(&out.get_item(1)?)?,
            inequality: matrix(&out.get_item(2)?)?,
            hessian: hessian(&out.get_item(3)?)?,
        };
        let shape = |m: &Matrix| (m.nrows(), m.ncols());
        self.checked(made.gradient.len(), n, "the gradient of f")?;
        self.shaped(shape(&made.equality), (at.y.len(), n), "the Jacobian of c")?;
        self.shaped(shape(&made.inequality), (at.z.len(), n), "the Jacobian of g")?;
        self.shaped((made.hessian.n(), made.hessian.n()), (n, n), "the Hessian of the Lagrangian")?;
        Ok(made)
    }

    fn read_pull(&self, at: At<'_>, w: &[f64], (uy, uz): (&[f64], &[f64]), t: f64) -> PyResult<Vec<f64>> {
        let args =
            (self.array(at.x), self.array(at.y), self.array(at.z), self.array(w), self.array(uy), self.array(uz), t);
        vector(&self.calls.call_method1("pull", args)?)
    }

    fn read_push(&self, at: At<'_>, direction: &[f64]) -> PyResult<Pushed> {
        let args = (self.array(at.x), self.array(at.y), self.array(at.z), self.array(direction));
        let out = self.calls.call_method1("push", args)?;
        let out = out.cast::<PyTuple>()?;
        let made = Pushed {
            gradient: vector(&out.get_item(0)?)?,
            equality: vector(&out.get_item(1)?)?,
            inequality: vector(&out.get_item(2)?)?,
            lagrangian: out.get_item(3)?.extract()?,
        };
        self.checked(made.gradient.len(), self.lb.len(), "the change of the gradient")?;
        self.checked(made.equality.len(), at.y.len(), "the change of c")?;
        self.checked(made.inequality.len(), at.z.len(), "the change of g")?;
        Ok(made)
    }
}

impl SmoothProgram for Program<'_> {
    fn bounds(&self) -> (&[f64], &[f64]) {
        (&self.lb, &self.ub)
    }

    fn values(&mut self, x: &[f64]) -> Result<Values, Error> {
        let found = self.read_values(x);
        let values = self.keep(found)?;
        self.sizes = Some((values.equality.len(), values.inequality.len()));
        Ok(values)
    }

    fn expand(&mut self, at: At<'_>) -> Result<Expansion, Error> {
        let found = self.read_expansion(at);
        self.keep(found)
    }

    fn pull(&mut self, at: At<'_>, w: &[f64], u: (&[f64], &[f64]), t: f64) -> Result<Vec<f64>, Error> {
        let found = self.read_pull(at, w, u, t);
        self.keep(found)
    }

    fn push(&mut self, at: At<'_>, direction: &[f64]) -> Result<Pushed, Error> {
        let found = self.read_push(at, direction);
        self.keep(found)
    }
}

/// What the core returned, or the exception that a callable raised.
fn settled<T>(program: Program<'_>, result: Result<T, Error>) -> PyResult<T> {
    match (program.error, result) {
        (Some(error), _) => Err(error),
        (None, result) => result.map_err(raise),
    }
}

/// A local solution of a smooth program.
#[pyclass(frozen, module = "bpqp._bpqp")]
pub struct Local(LocalSolution);

fn array<'py>(py: Python<'py>, v: &[f64]) -> Bound<'py, PyAny> {
    PyArray1::from_slice(py, v).into_any()
}

#[pymethods]
impl Local {
    /// `(x, y, z, z_box, objective)`.
    fn outputs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let s = &self.0;
        let objective = PyArray1::from_slice(py, &[s.objective]).into_any();
        PyTuple::new(py, [array(py, &s.x), array(py, &s.y), array(py, &s.z), array(py, &s.z_box), objective])
    }

    #[getter]
    fn status(&self) -> &'static str {
        self.0.status.name()
    }

    #[getter]
    fn ok(&self) -> bool {
        self.0.ok()
    }

    #[getter]
    fn verdict(&self) -> &'static str {
        self.0.verdict().name()
    }

    #[getter]
    fn iterations(&self) -> usize {
        self.0.iterations
    }

    #[getter]
    fn residual(&self) -> f64 {
        self.0.residual
    }

    #[getter]
    fn reason(&self) -> Option<String> {
        self.0.reason.clone()
    }

    #[getter]
    fn direction<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.0.direction.as_ref().map(|d| array(py, d))
    }

    /// The rows of g that are active, the sides at which variables are held (-1, 0, 1), and what is weakly active of both.
    fn active<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyTuple>> {
        let active = self.0.model()?.active();
        let sides: Vec<f64> = active
            .bound
            .iter()
            .zip(&self.0.z_box)
            .map(|(side, z)| match side {
                bpqp::Side::Free => 0.0,
                bpqp::Side::Lower => -1.0,
                bpqp::Side::Upper => 1.0,
                _ if *z < 0.0 => -1.0,
                _ => 1.0,
            })
            .collect();
        let flags = |v: &[bool]| v.to_vec().into_pyarray(py).into_any();
        let parts =
            [flags(&active.g), sides.into_pyarray(py).into_any(), flags(&active.weak_g), flags(&active.weak_bound)];
        PyTuple::new(py, parts).ok()
    }

    /// Gradients by parameters, lb and ub for cotangents `(x, y, z, z_box, objective)`, and the verdict.
    fn vjp<'py>(
        &self,
        py: Python<'py>,
        calls: &Bound<'py, PyAny>,
        cotangents: &Bound<'py, PyTuple>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let part = |k: usize| vector(&cotangents.get_item(k)?);
        let (objective, x, y, z, z_box) = (part(4)?, part(0)?, part(1)?, part(2)?, part(3)?);
        let objective = objective.first().copied().unwrap_or(0.0);
        let cotangent = Cotangent { x, y, z, z_box, objective, ..Cotangent::default() };
        let mut program = Program::new(calls)?;
        let found = self.0.vjp(&mut program, &cotangent);
        let g = settled(program, found)?;
        let verdict = g.verdict.name().into_pyobject(py)?.into_any();
        PyTuple::new(py, [array(py, &g.parameters), array(py, &g.lb), array(py, &g.ub), verdict])
    }

    /// The change `(x, y, z, z_box, objective)` along a direction of parameters, lb and ub, and the verdict; `one_sided`:
    /// in this direction alone.
    #[pyo3(signature = (calls, direction, one_sided = false))]
    fn jvp<'py>(
        &self,
        py: Python<'py>,
        calls: &Bound<'py, PyAny>,
        direction: (PyReadonlyArray1<'py, f64>, PyReadonlyArray1<'py, f64>, PyReadonlyArray1<'py, f64>),
        one_sided: bool,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let [p, lb, ub] = [direction.0, direction.1, direction.2].map(|v| v.to_vec());
        let (p, lb, ub) = (p?, lb?, ub?);
        let mut program = Program::new(calls)?;
        let found = match one_sided {
            true => self.0.jvp_one_sided(&mut program, &p, (&lb, &ub)),
            false => self.0.jvp(&mut program, &p, (&lb, &ub)),
        };
        let t = settled(program, found)?;
        let verdict = t.verdict.name().into_pyobject(py)?.into_any();
        let objective = PyArray1::from_slice(py, &[t.objective]).into_any();
        let outputs = [array(py, &t.x), array(py, &t.y), array(py, &t.z), array(py, &t.z_box), objective, verdict];
        PyTuple::new(py, outputs)
    }
}

/// Solves a smooth program from `x0`, or polishes a solution from elsewhere (`given`).
#[pyfunction]
#[pyo3(signature = (calls, x0, multipliers = None, options = None, given = false))]
pub fn solve_smooth<'py>(
    calls: &Bound<'py, PyAny>,
    x0: PyReadonlyArray1<'py, f64>,
    multipliers: Option<(PyReadonlyArray1<'py, f64>, PyReadonlyArray1<'py, f64>)>,
    options: Option<&Bound<'py, PyDict>>,
    given: bool,
) -> PyResult<Local> {
    crate::logging::listen(calls.py())?;
    let settings = settings(options)?;
    let x0 = x0.to_vec()?;
    let start = match multipliers {
        Some((y, z)) => Some((y.to_vec()?, z.to_vec()?)),
        None => None,
    };
    let mut program = Program::new(calls)?;
    let start = start.as_ref().map(|(y, z)| (&y[..], &z[..]));
    let found = match given {
        true => smooth::from_local_solution(&mut program, &x0, start, &settings),
        false => smooth::solve(&mut program, &x0, start, &settings),
    };
    settled(program, found).map(Local)
}
