//! Cone programs: a batch of one structure, whose values come with every call.

mod engine;
mod instance;
mod solved;

pub use engine::ConicEngine;
pub use solved::ConicSolved;

pub(crate) use crate::errors::misuse;
use crate::errors::{Failure, raise};
use bpqp::{Cone, Conic, Csc, Error};
use numpy::{PyReadonlyArray1, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// Arguments in order.
const NAMES: [&str; BLOCKS] = ["P", "q", "A", "b"];
const BLOCKS: usize = 4;

fn at(error: Error, instance: usize) -> PyErr {
    Failure::at(error, Some(instance)).into()
}

fn cone(item: &Bound<'_, PyTuple>) -> PyResult<Cone> {
    let kind: String = item.get_item(0)?.extract()?;
    let rows = || item.get_item(1)?.extract::<usize>();
    let exponent = || item.get_item(1)?.extract::<f64>();
    Ok(match kind.as_str() {
        "zero" => Cone::Zero(rows()?),
        "nonnegative" => Cone::Nonnegative(rows()?),
        "soc" => Cone::SecondOrder(rows()?),
        "psd" => Cone::PsdTriangle(rows()?),
        "exp" => Cone::Exponential,
        "pow" => Cone::Power(exponent()?),
        "dual_exp" => Cone::DualExponential,
        "dual_pow" => Cone::DualPower(exponent()?),
        other => return Err(misuse(format!("there is no cone {other:?}"))),
    })
}

fn pattern(any: &Bound<'_, PyTuple>, rows: usize, cols: usize) -> PyResult<Csc> {
    let index = |k: usize| -> PyResult<Vec<usize>> {
        let array: PyReadonlyArray1<'_, i64> = any.get_item(k)?.extract()?;
        let index = |v: &i64| usize::try_from(*v).map_err(|_| misuse("a negative index"));
        array.as_array().iter().map(index).collect()
    };
    let indices = index(1)?;
    let zeros = vec![0.0; indices.len()];
    Csc::new(rows, cols, index(0)?, indices, zeros).map_err(raise)
}

/// Values borrowed from NumPy: those of one instance for all, or a row for every instance.
struct Borrowed<'py>([Option<PyReadonlyArrayDyn<'py, f64>>; BLOCKS]);

impl<'py> Borrowed<'py> {
    fn new(tuple: &Bound<'py, PyTuple>) -> PyResult<Self> {
        if tuple.len() != BLOCKS {
            return Err(misuse("the data are the four blocks P, q, A, b"));
        }
        let block = |k: usize| -> PyResult<Option<PyReadonlyArrayDyn<'py, f64>>> {
            let item = tuple.get_item(k)?;
            Ok(if item.is_none() { None } else { Some(item.extract()?) })
        };
        Ok(Borrowed([block(0)?, block(1)?, block(2)?, block(3)?]))
    }

    fn values(&self, conic: &Conic, size: usize) -> PyResult<Values<'_>> {
        let lengths = lengths(conic);
        let mut out = Values { blocks: [None; BLOCKS], batched: [false; BLOCKS], lengths };
        for (k, (block, length)) in self.0.iter().zip(lengths).enumerate() {
            let Some(array) = block else { continue };
            let shape = array.shape();
            let fits = shape == [length] || shape == [size, length];
            if !fits {
                let name = NAMES[k];
                return Err(misuse(format!("{name} has values of shape {shape:?}: it needs {length}, or {size} rows")));
            }
            out.batched[k] = shape.len() == 2;
            out.blocks[k] = Some(array.as_slice().map_err(|_| misuse("the array is not contiguous in C order"))?);
        }
        Ok(out)
    }
}

fn lengths(conic: &Conic) -> [usize; BLOCKS] {
    [conic.p().map_or(0, |p| p.nnz()), conic.n(), conic.a().nnz(), conic.m()]
}

#[derive(Clone, Copy)]
struct Values<'a> {
    blocks: [Option<&'a [f64]>; BLOCKS],
    /// True of the blocks with a row for every instance.
    batched: [bool; BLOCKS],
    lengths: [usize; BLOCKS],
}

impl<'a> Values<'a> {
    /// The values of instance `i`.
    fn at(&self, i: usize) -> [Option<&'a [f64]>; BLOCKS] {
        std::array::from_fn(|k| {
            let length = self.lengths[k];
            self.blocks[k].map(|v| if v.len() == length { v } else { &v[i * length..(i + 1) * length] })
        })
    }

    fn conic(&self, base: &Conic, i: usize) -> Result<Conic, Error> {
        let [p, q, a, b] = self.at(i);
        base.with_values(p, q, a, b)
    }

    /// The problem of instance `i`, or what is wrong with values that are its own.
    fn own(&self, base: &Conic, i: usize) -> Result<Result<Conic, Error>, Error> {
        match self.conic(base, i) {
            Err(error) if self.alone(&error) => Ok(Err(error)),
            Err(error) => Err(error),
            Ok(conic) => Ok(Ok(conic)),
        }
    }

    fn alone(&self, error: &Error) -> bool {
        match error {
            Error::NotFinite { argument, .. } => {
                NAMES.iter().zip(self.batched).any(|(name, batched)| batched && name == argument)
            }
            error => error.is_of_values() && self.batched[0],
        }
    }

    /// False if some value is not finite: then each instance is looked at by itself.
    fn finite(&self) -> bool {
        self.blocks.iter().flatten().all(|values| values.iter().all(|v| v.is_finite()))
    }
}

/// `f` over `0..n` on the threads, results in order.
fn on_threads<T: Send>(threads: usize, n: usize, f: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let threads = threads.min(n);
    if threads <= 1 {
        return (0..n).map(f).collect();
    }
    let size = n.div_ceil(threads);
    std::thread::scope(|scope| {
        let f = &f;
        let parts: Vec<_> = (0..n)
            .step_by(size)
            .map(|start| scope.spawn(move || (start..(start + size).min(n)).map(f).collect::<Vec<T>>()))
            .collect();
        let joined = parts.into_iter().map(|part| part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        joined.flatten().collect()
    })
}
