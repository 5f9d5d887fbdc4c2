//! Gradients of a batch as arrays: one per instance, or their sum where the argument is shared.

use crate::arrays::shaped;
use crate::verdicts::doubtful;
use bpqp::adapter::{BLOCKS, Block, Gather};
use bpqp::{Hessian, Matrix, Qp, Wrt};
use numpy::IntoPyArray;
use pyo3::prelude::*;
use pyo3::types::{PyInt, PyTuple};

/// The order of the arguments everywhere.
pub const NAMES: [&str; 8] = ["P", "q", "G", "h", "A", "b", "lb", "ub"];

/// Slots of the arguments: P has two, one for `P` or `d` and one for `F`.
pub const SLOTS: usize = 9;

/// An array for each slot that is asked for.
type Arrays<'py> = [Option<Bound<'py, PyAny>>; SLOTS];

/// The gradients of a batch.
pub struct Gathered {
    pub gather: Gather<BLOCKS>,
    /// The block and its shape in each slot, where it is asked for.
    slots: [Option<(Block, Vec<usize>)>; SLOTS],
    many: bool,
    /// One per instance, see [`verdicts`](crate::verdicts).
    pub verdicts: Vec<u8>,
}

impl Gathered {
    /// For `n` instances of the structure of `qp` with `cotangents` each. `summed` marks the slots that the batch shares;
    /// `many` keeps the axis of the cotangents.
    pub fn new(qp: &Qp, wrt: Wrt, summed: [bool; SLOTS], n: usize, cotangents: usize, many: bool) -> Self {
        let nv = qp.n();
        let (p, f) = match qp.p() {
            Hessian::Zero(_) => (None, None),
            Hessian::Diagonal(_) => (Some((Block::P, vec![nv])), None),
            Hessian::Sparse(m) => (Some((Block::P, vec![m.nnz()])), None),
            Hessian::LowRank { f, .. } => (Some((Block::D, vec![nv])), Some((Block::F, vec![nv, f.ncols()]))),
            // other structures have no form of their own in arrays
            _ => (Some((Block::P, vec![nv, nv])), None),
        };
        let matrix = |m: &Matrix| match m {
            Matrix::Dense(m) => vec![m.nrows(), m.ncols()],
            Matrix::Sparse(m) => vec![m.nnz()],
        };
        let slots = [
            p.filter(|_| wrt.p),
            f.filter(|_| wrt.p),
            wrt.q.then(|| (Block::Q, vec![nv])),
            wrt.g.then(|| (Block::G, matrix(qp.g()))),
            wrt.h.then(|| (Block::H, vec![qp.n_inequality()])),
            wrt.a.then(|| (Block::A, matrix(qp.a()))),
            wrt.b.then(|| (Block::B, vec![qp.n_equality()])),
            wrt.lb.then(|| (Block::Lb, vec![nv])),
            wrt.ub.then(|| (Block::Ub, vec![nv])),
        ];
        let mut blocks = [None; BLOCKS];
        for ((block, shape), summed) in slots.iter().zip(summed).filter_map(|(slot, s)| Some((slot.as_ref()?, s))) {
            blocks[*block as usize] = Some((shape.iter().product(), summed));
        }
        Gathered { gather: Gather::new(blocks, n, cotangents), slots, many, verdicts: Vec::new() }
    }

    /// The numbers of the slots, empty where not asked for or absent.
    pub fn into_slots(self) -> [Vec<f64>; SLOTS] {
        let mut blocks = self.gather.into_blocks();
        self.slots.map(|slot| slot.and_then(|(block, _)| blocks[block as usize].take()).unwrap_or_default())
    }

    /// The arrays of the slots, and the verdicts.
    fn into_arrays(self, py: Python<'_>) -> PyResult<(Arrays<'_>, Vec<u8>)> {
        let Gathered { gather, slots, many, verdicts } = self;
        let (n, cotangents) = gather.lead();
        let summed = Block::ALL.map(|block| gather.summed(block as usize));
        let mut blocks = gather.into_blocks();
        let mut out = [const { None }; SLOTS];
        for (array, slot) in out.iter_mut().zip(slots) {
            let Some((block, own)) = slot else { continue };
            let mut shape = if summed[block as usize] { vec![] } else { vec![n] };
            if many {
                shape.push(cotangents);
            }
            shape.extend(own);
            *array = Some(shaped(py, blocks[block as usize].take().unwrap_or_default(), &shape)?);
        }
        Ok((out, verdicts))
    }

    /// For each of the slots that is `present` an array, or `None` where it is not `wanted`; and the verdicts if a user is
    /// to be told of one, else `None`.
    pub fn into_present(
        self,
        py: Python<'_>,
        present: [bool; SLOTS],
        wanted: [bool; SLOTS],
    ) -> PyResult<Bound<'_, PyTuple>> {
        let (arrays, verdicts) = self.into_arrays(py)?;
        let none = || py.None().into_bound(py);
        let slots = arrays.into_iter().zip(wanted).zip(present).filter(|(_, present)| *present);
        let mut out: Vec<_> = slots.map(|((array, wanted), _)| array.filter(|_| wanted).unwrap_or_else(none)).collect();
        out.push(if doubtful(&verdicts) { verdicts.into_pyarray(py).into_any() } else { none() });
        PyTuple::new(py, out)
    }

    /// A tuple of nine: an array, a pair `(d, F)`, or `None` where not asked for or absent, and the verdicts; the only one as
    /// a number where `one` is asked for.
    pub fn into_py(self, py: Python<'_>, one: bool) -> PyResult<Bound<'_, PyTuple>> {
        let ([p, f, rest @ ..], verdicts) = self.into_arrays(py)?;
        let first = match (p, f) {
            (Some(d), Some(f)) => Some(PyTuple::new(py, [d, f])?.into_any()),
            (p, _) => p,
        };
        let none = || py.None().into_bound(py);
        let mut out = vec![first.unwrap_or_else(none)];
        out.extend(rest.into_iter().map(|array| array.unwrap_or_else(none)));
        out.push(match verdicts[..] {
            [verdict] if one => PyInt::new(py, verdict).into_any(),
            _ => verdicts.into_pyarray(py).into_any(),
        });
        PyTuple::new(py, out)
    }
}

/// The blocks marked in the order of the arguments.
pub fn wrt(flags: [bool; 8]) -> Wrt {
    let [p, q, g, h, a, b, lb, ub] = flags;
    Wrt { p, q, a, b, g, h, lb, ub, ..Wrt::NONE }
}
