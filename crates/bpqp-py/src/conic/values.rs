//! The values of a batch, borrowed from NumPy: of one instance for all, or a row for every instance.

use super::misuse;
use bpqp::{Conic, Error};
use numpy::{PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// Arguments in order.
pub(super) const NAMES: [&str; BLOCKS] = ["P", "q", "A", "b", "lb", "ub"];
pub(super) const BLOCKS: usize = 6;
/// `x, s, y, z_box`.
pub(super) const POINT: usize = 4;

/// Numbers of the blocks of an instance.
pub(super) fn lengths(conic: &Conic) -> [usize; BLOCKS] {
    let (n, m) = (conic.n(), conic.m());
    [conic.p().map_or(0, |p| p.nnz()), n, conic.a().nnz(), m, n, n]
}

/// Numbers of `x, s, y, z_box`.
pub(super) fn widths(conic: &Conic) -> [usize; POINT] {
    [conic.n(), conic.m(), conic.m(), conic.n()]
}

type Array<'py> = Option<PyReadonlyArrayDyn<'py, f64>>;

fn array<'py>(tuple: &Bound<'py, PyTuple>, k: usize) -> PyResult<Array<'py>> {
    let item = tuple.get_item(k)?;
    if item.is_none() { Ok(None) } else { Ok(Some(item.extract()?)) }
}

fn slice<'a>(array: &'a PyReadonlyArrayDyn<'_, f64>) -> PyResult<&'a [f64]> {
    array.as_slice().map_err(|_| misuse("the array is not contiguous in C order"))
}

/// Values as they came from Python.
pub(super) struct Borrowed<'py>([Array<'py>; BLOCKS]);

impl<'py> Borrowed<'py> {
    pub fn new(tuple: &Bound<'py, PyTuple>) -> PyResult<Self> {
        if tuple.len() != BLOCKS {
            return Err(misuse("the data are the six blocks P, q, A, b, lb, ub"));
        }
        let block = |k: usize| array(tuple, k);
        Ok(Borrowed([block(0)?, block(1)?, block(2)?, block(3)?, block(4)?, block(5)?]))
    }

    pub fn values(&self, conic: &Conic, size: usize) -> PyResult<Values<'_>> {
        let lengths = lengths(conic);
        let mut out = Values { blocks: [None; BLOCKS], batched: [false; BLOCKS], lengths };
        for (k, (block, length)) in self.0.iter().zip(lengths).enumerate() {
            let Some(array) = block else { continue };
            let shape = array.shape();
            if !(shape == [length] || shape == [size, length]) {
                let name = NAMES[k];
                return Err(misuse(format!("{name} has values of shape {shape:?}: it needs {length}, or {size} rows")));
            }
            out.batched[k] = shape.len() == 2;
            out.blocks[k] = Some(slice(array)?);
        }
        Ok(out)
    }
}

/// Points `x, s, y, z_box`, or cotangents of them: a row for every instance, and nothing where one is absent.
pub(super) struct Rows<'py> {
    arrays: [Array<'py>; POINT],
    widths: [usize; POINT],
}

impl<'py> Rows<'py> {
    /// A row for each of `size` instances; a single one needs no axis for that.
    pub fn new(tuple: &Bound<'py, PyTuple>, conic: &Conic, size: usize) -> PyResult<Self> {
        if tuple.len() < POINT {
            return Err(misuse("a point is x, s, y and z_box"));
        }
        let arrays = [array(tuple, 0)?, array(tuple, 1)?, array(tuple, 2)?, array(tuple, 3)?];
        let widths = widths(conic);
        for (k, (array, width)) in arrays.iter().zip(widths).enumerate() {
            let fits = |shape: &[usize]| shape == [size, width] || (size, shape) == (1, &[width]);
            if let Some(array) = array.as_ref().filter(|array| !fits(array.shape())) {
                let name = ["x", "s", "y", "z_box"][k];
                return Err(misuse(format!("{name} has shape {:?}, expected {:?}", array.shape(), [size, width])));
            }
        }
        Ok(Rows { arrays, widths })
    }

    /// The rows of every instance.
    pub fn each(&self, size: usize) -> PyResult<Vec<[&[f64]; POINT]>> {
        let mut all: [&[f64]; POINT] = [&[]; POINT];
        for (all, array) in all.iter_mut().zip(&self.arrays) {
            if let Some(array) = array {
                *all = slice(array)?;
            }
        }
        let row = |i: usize, k: usize| {
            let width = self.widths[k];
            if all[k].is_empty() { &[][..] } else { &all[k][i * width..(i + 1) * width] }
        };
        Ok((0..size).map(|i| std::array::from_fn(|k| row(i, k))).collect())
    }
}

/// The values of a batch.
#[derive(Clone, Copy)]
pub(super) struct Values<'a> {
    pub blocks: [Option<&'a [f64]>; BLOCKS],
    /// True of the blocks with a row for every instance.
    pub batched: [bool; BLOCKS],
    lengths: [usize; BLOCKS],
}

impl<'a> Values<'a> {
    /// The values of instance `i`.
    pub fn at(&self, i: usize) -> [Option<&'a [f64]>; BLOCKS] {
        std::array::from_fn(|k| {
            let length = self.lengths[k];
            self.blocks[k].map(|v| if self.batched[k] { &v[i * length..(i + 1) * length] } else { v })
        })
    }

    /// A problem of the structure of `last` with the shared values. Blocks that are what they were keep their address, and
    /// what was computed of them.
    pub fn shared(&self, last: &Conic) -> Result<Conic, Error> {
        let now = [last.p().map_or(&[][..], |p| p.values()), last.q(), last.a().values(), last.b()];
        let of = |k: usize| self.blocks[k].filter(|v| !self.batched[k] && *v != now[k]);
        let conic = last.with_values(of(0), of(1), of(2), of(3))?;
        let bound = |k: usize| self.blocks[k].filter(|_| !self.batched[k]).unwrap_or(&[]);
        conic.bounds(bound(4), bound(5))
    }

    /// The problem of instance `i`, where `shared` has the values that all share; or what is wrong with values of its own.
    pub fn own(&self, shared: &Conic, i: usize) -> Result<Result<Conic, Error>, Error> {
        let all = self.at(i);
        let of = |k: usize| all[k].filter(|_| self.batched[k]);
        let made = shared.with_values(of(0), of(1), of(2), of(3));
        let made = match (of(4).is_some() || of(5).is_some(), made) {
            (true, Ok(conic)) => conic.bounds(all[4].unwrap_or(&[]), all[5].unwrap_or(&[])),
            (_, made) => made,
        };
        match made {
            Err(error) if self.alone(&error) => Ok(Err(error)),
            other => other.map(Ok),
        }
    }

    fn alone(&self, error: &Error) -> bool {
        match error {
            Error::NotFinite { argument, .. } => {
                NAMES.iter().zip(self.batched).any(|(name, batched)| batched && name == argument)
            }
            Error::Bounds { .. } => self.batched[4] || self.batched[5],
            error => error.is_of_values() && self.batched[0],
        }
    }
}
