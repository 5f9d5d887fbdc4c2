//! The arguments of a batch, borrowed from NumPy.

use crate::data::{Block, Data, Values};
use crate::errors::{misuse, raise};
use bpqp::{Csc, Point};
use numpy::ndarray::{ArrayD, Axis, Ix2};
use numpy::{Element, IntoPyArray, PyReadonlyArray1, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// A borrowed array of f64 in C order; the first axis of a batched one is the instance.
pub struct Array<'py>(PyReadonlyArrayDyn<'py, f64>);

impl<'py> Array<'py> {
    pub fn new(any: &Bound<'py, PyAny>) -> PyResult<Self> {
        Ok(Array(any.extract()?))
    }

    /// `rank` is that of an array without a batch dimension.
    pub fn values(&self, rank: usize) -> PyResult<Values<'_>> {
        let values = self.0.as_slice().map_err(|_| misuse("the array is not contiguous in C order"))?;
        Ok(Values::new(values, self.0.shape(), rank)?)
    }
}

/// A matrix argument, as it came from Python.
pub enum Raw<'py> {
    Dense(Array<'py>),
    Sparse { indptr: Vec<usize>, indices: Vec<usize>, values: Array<'py>, shape: (usize, usize) },
    Factored { d: Array<'py>, f: Array<'py> },
}

impl<'py> Raw<'py> {
    fn new(any: &Bound<'py, PyAny>) -> PyResult<Self> {
        let Ok(tuple) = any.cast::<PyTuple>() else { return Ok(Raw::Dense(Array::new(any)?)) };
        if tuple.len() == 2 {
            return Ok(Raw::Factored { d: Array::new(&tuple.get_item(0)?)?, f: Array::new(&tuple.get_item(1)?)? });
        }
        let index = |k: usize| -> PyResult<Vec<usize>> {
            let array: PyReadonlyArray1<'py, i64> = tuple.get_item(k)?.extract()?;
            let index = |v: &i64| usize::try_from(*v).map_err(|_| misuse("a negative index"));
            array.as_array().iter().map(index).collect()
        };
        Ok(Raw::Sparse {
            indptr: index(0)?,
            indices: index(1)?,
            values: Array::new(&tuple.get_item(2)?)?,
            shape: tuple.get_item(3)?.extract()?,
        })
    }

    fn block(&self, name: &str) -> PyResult<Block<'_>> {
        Ok(match self {
            Raw::Dense(array) => Block::Dense(array.values(2)?),
            Raw::Factored { d, f } => Block::Factored(d.values(1)?, f.values(2)?),
            Raw::Sparse { indptr, indices, values, shape } => {
                let values = values.values(1)?;
                let zeros = vec![0.0; indices.len()];
                let pattern = Csc::new(shape.0, shape.1, indptr.clone(), indices.clone(), zeros).map_err(raise)?;
                if values.own() != [pattern.nnz()] {
                    return Err(misuse(format!(
                        "{name} has {:?} values for {} stored entries",
                        values.own(),
                        pattern.nnz()
                    )));
                }
                Block::Sparse(pattern, values)
            }
        })
    }
}

/// The eight arguments `P, q, G, h, A, b, lb, ub`, still owned by the interpreter.
pub struct Args<'py> {
    matrices: [Option<Raw<'py>>; 3],
    vectors: [Option<Array<'py>>; 5],
}

impl<'py> Args<'py> {
    pub fn new(data: &Bound<'py, PyTuple>) -> PyResult<Self> {
        if data.len() != 8 {
            return Err(misuse("the data are the eight blocks P, q, G, h, A, b, lb, ub"));
        }
        let item = |k: usize| data.get_item(k).map(|v| (!v.is_none()).then_some(v));
        let matrix = |k: usize| item(k)?.map(|v| Raw::new(&v)).transpose();
        let vector = |k: usize| item(k)?.map(|v| Array::new(&v)).transpose();
        Ok(Args {
            matrices: [matrix(0)?, matrix(2)?, matrix(4)?],
            vectors: [vector(1)?, vector(3)?, vector(5)?, vector(6)?, vector(7)?],
        })
    }

    pub fn data(&self) -> PyResult<Data<'_>> {
        let matrix = |k: usize, name| self.matrices[k].as_ref().map(|raw| raw.block(name)).transpose();
        let vector = |k: usize| self.vectors[k].as_ref().map(|a| a.values(1)).transpose();
        let data = Data {
            p: matrix(0, "P")?,
            g: matrix(1, "G")?,
            a: matrix(2, "A")?,
            q: vector(0)?,
            h: vector(1)?,
            b: vector(2)?,
            lb: vector(3)?,
            ub: vector(4)?,
        };
        data.check()?;
        Ok(data)
    }
}

/// Numbers in C order as an array of that shape.
pub fn shaped<'py, T: Element>(py: Python<'py>, values: Vec<T>, shape: &[usize]) -> PyResult<Bound<'py, PyAny>> {
    let array = ArrayD::from_shape_vec(shape, values).map_err(|e| misuse(e.to_string()))?;
    Ok(array.into_pyarray(py).into_any())
}

/// Arrays `x, y, z, z_box`, one row for every instance, or without rows for a single one; later ones may be missing.
pub fn points<'py>(arrays: impl IntoIterator<Item = Bound<'py, PyAny>>) -> PyResult<Vec<Point>> {
    let mut out: Vec<Point> = Vec::new();
    for (k, array) in arrays.into_iter().take(4).enumerate() {
        if array.is_none() {
            continue;
        }
        let array: PyReadonlyArrayDyn<'_, f64> = array.extract()?;
        let array = array.as_array();
        let array = if array.ndim() == 1 { array.insert_axis(Axis(0)) } else { array };
        let array = array.into_dimensionality::<Ix2>().map_err(|e| misuse(e.to_string()))?;
        if out.is_empty() {
            out.resize(array.nrows(), Point::default());
        }
        if out.len() != array.nrows() {
            return Err(misuse("x, y, z and z_box need the same number of rows"));
        }
        for (point, row) in out.iter_mut().zip(array.rows()) {
            let row = row.to_vec();
            match k {
                0 => point.x = row,
                1 => point.y = row,
                2 => point.z = row,
                _ => point.z_box = row,
            }
        }
    }
    Ok(out)
}
