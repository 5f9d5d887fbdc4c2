//! Problem files, as the arguments of the Python functions.

use crate::errors::raise;
use bpqp::{Cone, Csc, Hessian, Matrix, cbf, qps};
use numpy::IntoPyArray;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

/// `(indptr, indices, values, shape)` of a sparse matrix; `None` for one without rows.
fn sparse<'py>(py: Python<'py>, m: &Csc) -> PyResult<Bound<'py, PyAny>> {
    let whole = |v: &[usize]| v.iter().map(|&i| i as i64).collect::<Vec<_>>().into_pyarray(py);
    let values = m.values().to_vec().into_pyarray(py);
    Ok((whole(m.indptr()), whole(m.indices()), values, (m.nrows(), m.ncols())).into_pyobject(py)?.into_any())
}

fn rows<'py>(py: Python<'py>, m: &Matrix) -> PyResult<Option<Bound<'py, PyAny>>> {
    match m {
        _ if m.nrows() == 0 => Ok(None),
        Matrix::Sparse(m) => sparse(py, m).map(Some),
        Matrix::Dense(m) => sparse(py, &Csc::from_dense(&m.to_mat())).map(Some),
    }
}

/// What an MPS or QPS file says: the blocks by name, and what is said about them.
#[pyfunction]
pub fn read_qps<'py>(py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyDict>> {
    let file = py.detach(|| qps::parse(text)).map_err(raise)?;
    let (out, qp) = (PyDict::new(py), &file.qp);
    let array = |v: &[f64]| v.to_vec().into_pyarray(py);
    out.set_item(
        "P",
        match qp.p() {
            Hessian::Sparse(m) => Some(sparse(py, m)?),
            _ => None,
        },
    )?;
    out.set_item("q", array(qp.q()))?;
    out.set_item("G", rows(py, qp.g())?)?;
    out.set_item("h", (qp.n_inequality() > 0).then(|| array(qp.h())))?;
    out.set_item("A", rows(py, qp.a())?)?;
    out.set_item("b", (qp.n_equality() > 0).then(|| array(qp.b())))?;
    out.set_item("lb", array(qp.lb()))?;
    out.set_item("ub", array(qp.ub()))?;
    out.set_item("name", file.name)?;
    out.set_item("constant", file.constant)?;
    out.set_item("maximize", file.maximize)?;
    out.set_item("columns", file.columns)?;
    out.set_item("equalities", file.equalities)?;
    out.set_item("inequalities", file.inequalities)?;
    Ok(out)
}

/// What a CBF file says.
#[pyfunction]
pub fn read_cbf<'py>(py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyDict>> {
    let file = py.detach(|| cbf::parse(text)).map_err(raise)?;
    let (out, conic) = (PyDict::new(py), &file.conic);
    let cones = PyList::empty(py);
    for cone in conic.cones() {
        cones.append(named(py, *cone)?)?;
    }
    out.set_item("q", conic.q().to_vec().into_pyarray(py))?;
    out.set_item("A", sparse(py, conic.a())?)?;
    out.set_item("b", conic.b().to_vec().into_pyarray(py))?;
    out.set_item("cones", cones)?;
    out.set_item("constant", file.constant)?;
    out.set_item("maximize", file.maximize)?;
    out.set_item("scalars", file.scalars)?;
    Ok(out)
}

/// A cone as the Python package names it.
fn named(py: Python<'_>, cone: Cone) -> PyResult<Bound<'_, PyTuple>> {
    match cone {
        Cone::Zero(n) => ("zero", n).into_pyobject(py),
        Cone::Nonnegative(n) => ("nonnegative", n).into_pyobject(py),
        Cone::SecondOrder(n) => ("soc", n).into_pyobject(py),
        Cone::PsdTriangle(n) => ("psd", n).into_pyobject(py),
        Cone::Exponential => ("exp",).into_pyobject(py),
        Cone::Power(a) => ("pow", a).into_pyobject(py),
        Cone::DualExponential => ("dual_exp",).into_pyobject(py),
        Cone::DualPower(a) => ("dual_pow", a).into_pyobject(py),
    }
}
