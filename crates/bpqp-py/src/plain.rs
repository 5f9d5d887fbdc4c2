//! The arguments of a problem in the forms that are by far the most common, looked at in one pass: arrays as the extension
//! takes them, and sparse matrices by columns. The Python package sees to all others, and to what is wrong with them.

use numpy::{IntoPyArray, PyArray1, PyArrayDyn, PyArrayMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PySet, PyTuple};

/// Dimensions of `P, q, G, h, A, b, lb, ub` without a batch.
const RANKS: [usize; 8] = [2, 1, 2, 1, 2, 1, 1, 1];

/// An array of numbers as they are taken: of NumPy's own type, double precision, in C order, aligned.
fn ready<'a, 'py>(value: &'a Bound<'py, PyAny>) -> Option<&'a Bound<'py, PyArrayDyn<f64>>> {
    if !value.is_exact_instance_of::<PyUntypedArray>() {
        return None;
    }
    let array = value.cast::<PyArrayDyn<f64>>().ok()?;
    (array.is_c_contiguous() && array.data() as usize % align_of::<f64>() == 0).then_some(array)
}

/// The indices of a sparse matrix, which SciPy stores in 32 bits where they fit.
enum Indices<'py> {
    Short(Bound<'py, PyArray1<i32>>),
    Long(Bound<'py, PyArray1<i64>>),
}

impl<'py> Indices<'py> {
    fn new(value: &Bound<'py, PyAny>) -> Option<Self> {
        if !value.is_exact_instance_of::<PyUntypedArray>() {
            return None;
        }
        let short = value.cast::<PyArray1<i32>>().map(|v| Indices::Short(v.clone()));
        short.or_else(|_| value.cast::<PyArray1<i64>>().map(|v| Indices::Long(v.clone()))).ok()
    }

    fn copied(&self) -> Option<Vec<i64>> {
        match self {
            Indices::Short(v) => {
                v.try_readonly().ok()?.as_slice().ok().map(|v| v.iter().map(|&i| i64::from(i)).collect())
            }
            Indices::Long(v) => v.try_readonly().ok()?.as_slice().ok().map(<[i64]>::to_vec),
        }
    }
}

/// True if compressed columns have `rows` rows, ascending ones without duplicates in each column; with `symmetric`, if the
/// pattern is besides its own transpose.
fn is_canonical(indptr: &[i64], indices: &[i64], rows: i64, symmetric: bool) -> bool {
    let ends =
        indptr.first() == Some(&0) && indptr.last().and_then(|e| usize::try_from(*e).ok()) == Some(indices.len());
    if !ends || !indptr.is_sorted() {
        return false;
    }
    // sorted, from 0 to the number of indices
    let column = |j: usize| &indices[indptr[j] as usize..indptr[j + 1] as usize];
    let columns = indptr.len() - 1;
    let inside = |own: &[i64]| {
        own.first().is_none_or(|first| *first >= 0)
            && own.last().is_none_or(|last| *last < rows)
            && own.windows(2).all(|pair| pair[0] < pair[1])
    };
    if !(0..columns).all(|j| inside(column(j))) {
        return false;
    }
    if !symmetric {
        return true;
    }
    // columns in order give the entries of each row in order
    let mut next = indptr.to_vec();
    rows == columns as i64
        && (0..columns).all(|j| {
            column(j).iter().all(|&i| {
                let i = i as usize;
                let at = next[i];
                next[i] += 1;
                at < indptr[i + 1] && indices[at as usize] == j as i64
            })
        })
}

/// Of a sparse matrix that is stored as the extension takes it `(indptr, indices, values, shape)`, copied; `None` if it is not.
/// That is by columns, in order, no entry twice, on a `symmetric` pattern if asked. Nor is it if they describe no matrix.
#[pyfunction]
pub fn canonical<'py>(matrix: &Bound<'py, PyAny>, symmetric: bool) -> PyResult<Option<Bound<'py, PyTuple>>> {
    let py = matrix.py();
    if matrix.getattr(intern!(py, "format"))?.extract::<&str>().ok() != Some("csc") {
        return Ok(None);
    }
    let shape = matrix.getattr(intern!(py, "shape"))?;
    let Ok((rows, cols)) = shape.extract::<(i64, usize)>() else { return Ok(None) };
    let part = |name| matrix.getattr(name);
    let (Ok(indptr), Ok(indices), Ok(data)) =
        (part(intern!(py, "indptr")), part(intern!(py, "indices")), part(intern!(py, "data")))
    else {
        return Ok(None);
    };
    let exact = data.is_exact_instance_of::<PyUntypedArray>();
    let (Some(indptr), Some(indices), Ok(data), true) =
        (Indices::new(&indptr), Indices::new(&indices), data.cast::<PyArray1<f64>>(), exact)
    else {
        return Ok(None);
    };
    let (Some(indptr), Some(indices), Ok(data)) = (indptr.copied(), indices.copied(), data.to_vec()) else {
        return Ok(None);
    };
    let fits = indptr.len() == cols + 1 && indices.len() == data.len();
    if !fits || !is_canonical(&indptr, &indices, rows, symmetric) {
        return Ok(None);
    }
    let arrays =
        [indptr.into_pyarray(py).into_any(), indices.into_pyarray(py).into_any(), data.into_pyarray(py).into_any()];
    let [indptr, indices, data] = arrays;
    PyTuple::new(py, [indptr, indices, data, shape]).map(Some)
}

/// The size of the batch with one more array, `Err` where it is another.
fn batch_with(batch: Option<usize>, size: usize) -> Result<Option<usize>, ()> {
    if batch.is_some_and(|batch| batch != size) { Err(()) } else { Ok(Some(size)) }
}

/// `(data, shared, batch, templates, numbers, plain)` of the eight arguments, as `prepare` of the Python package makes them;
/// `None` where one of them needs more than a look: another dtype or layout, a number that stands for a vector, an error.
/// `sparse` are the types that are known to be matrices of SciPy.
#[pyfunction]
pub fn take<'py>(args: &Bound<'py, PyTuple>, sparse: &Bound<'py, PySet>) -> PyResult<Option<Bound<'py, PyTuple>>> {
    let py = args.py();
    let none = || py.None().into_bound(py);
    let (mut data, mut templates) = (Vec::with_capacity(8), Vec::with_capacity(8));
    let (mut shared, mut there) = ([true; 8], [false; 8]);
    let (mut batch, mut numbers, mut plain) = (None, 0, true);
    for (k, (value, rank)) in args.iter_borrowed().zip(RANKS).enumerate() {
        let (mut own, mut template) = (None, None);
        if let Some(array) = ready(&value) {
            let ndim = array.ndim();
            if ndim != rank && ndim != rank + 1 {
                return Ok(None);
            }
            let size = array.len();
            // nothing of something is nothing; q says how many variables there are
            if size > 0 || k < 2 {
                numbers += size;
                if ndim > rank {
                    shared[k] = false;
                    let Ok(found) = batch_with(batch, array.shape()[0]) else { return Ok(None) };
                    batch = found;
                }
                own = Some(value.to_owned());
            }
        } else if !value.is_none() {
            let kind = value.get_type();
            if rank != 2 || !sparse.contains(&kind)? {
                return Ok(None);
            }
            let Some(matrix) = canonical(&value, k == 0)? else { return Ok(None) };
            plain = false;
            numbers += matrix.get_borrowed_item(2)?.len()?;
            let rows: i64 = matrix.get_borrowed_item(3)?.get_item(0)?.extract()?;
            if rows > 0 || k == 0 {
                (own, template) = (Some(matrix.into_any()), Some(kind.into_any()));
            }
        }
        there[k] = own.is_some();
        data.push(own.unwrap_or_else(none));
        templates.push(template.unwrap_or_else(none));
    }
    let pairs = data.len() == 8 && there[1] && there[2] == there[3] && there[4] == there[5];
    if !pairs || batch == Some(0) {
        return Ok(None);
    }
    let (data, templates, shared) = (PyTuple::new(py, data)?, PyTuple::new(py, templates)?, PyTuple::new(py, shared)?);
    (data, shared, batch, templates, numbers, plain).into_pyobject(py).map(Some)
}
