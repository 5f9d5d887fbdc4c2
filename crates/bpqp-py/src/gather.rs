//! Gradients of many instances gathered into arrays: one per instance, or their sum where the argument is shared.

use crate::arrays::shaped;
use crate::verdicts::doubtful;
use bpqp::{Gradient, Hessian, Matrix, Qp, Wrt};
use faer::Mat;
use numpy::IntoPyArray;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// The order of the arguments everywhere.
pub const NAMES: [&str; 8] = ["P", "q", "G", "h", "A", "b", "lb", "ub"];

/// One block of the gradient, for all instances and cotangents.
struct Slot {
    values: Vec<f64>,
    shape: Vec<usize>,
    summed: bool,
}

/// Adds numbers to a part of a slot.
fn add(out: &mut [f64], values: &[f64]) {
    for (slot, value) in out.iter_mut().zip(values) {
        *slot += value;
    }
}

/// The same of a matrix, in C order here.
fn add_matrix(out: &mut [f64], m: &Mat<f64>) {
    let cols = m.ncols();
    for j in 0..cols {
        for (row, value) in out.chunks_exact_mut(cols).zip(m.col_as_slice(j)) {
            row[j] += value;
        }
    }
}

/// The same of a symmetric matrix, whose columns are its rows.
fn add_symmetric(out: &mut [f64], m: &Mat<f64>) {
    let n = m.ncols();
    for (j, row) in out.chunks_exact_mut(n.max(1)).enumerate() {
        add(row, m.col_as_slice(j));
    }
}

impl Slot {
    fn new(lead: (usize, usize), shape: Vec<usize>, summed: bool) -> Self {
        let size: usize = shape.iter().product();
        let copies = if summed { lead.1 } else { lead.0 * lead.1 };
        Slot { values: vec![0.0; size * copies], shape, summed }
    }

    fn into_array(self, py: Python<'_>, lead: (usize, usize), many: bool) -> PyResult<Bound<'_, PyAny>> {
        let mut shape = if self.summed { vec![] } else { vec![lead.0] };
        if many {
            shape.push(lead.1);
        }
        shape.extend(&self.shape);
        shaped(py, self.values, &shape)
    }
}

/// The gradients of a batch.
pub struct Gather {
    slots: [Vec<Slot>; 8],
    lead: (usize, usize),
    many: bool,
    /// One per instance, see [`verdicts`](crate::verdicts).
    pub verdicts: Vec<u8>,
}

impl Gather {
    /// For `n` instances of the structure of `qp` with `cotangents` each. `summed` marks the shared arguments, P as two (its
    /// second flag is that of F); `many` keeps the axis of the cotangents.
    pub fn new(qp: &Qp, wrt: Wrt, summed: [bool; 9], n: usize, cotangents: usize, many: bool) -> Self {
        let lead = (n, cotangents);
        let slot = |k: usize, shape: Vec<usize>| Slot::new(lead, shape, summed[k]);
        let nv = qp.n();
        let p = match qp.p() {
            Hessian::Zero(_) => vec![],
            Hessian::Dense(_) => vec![slot(0, vec![nv, nv])],
            Hessian::Sparse(m) => vec![slot(0, vec![m.nnz()])],
            Hessian::Diagonal(_) => vec![slot(0, vec![nv])],
            Hessian::LowRank { f, .. } => vec![slot(0, vec![nv]), slot(1, vec![nv, f.ncols()])],
            // other structures have no form of their own in arrays
            _ => vec![slot(0, vec![nv, nv])],
        };
        let matrix = |k: usize, m: &Matrix| match m {
            Matrix::Dense(m) => vec![slot(k, vec![m.nrows(), m.ncols()])],
            Matrix::Sparse(m) => vec![slot(k, vec![m.nnz()])],
        };
        let mut slots = [
            p,
            vec![slot(2, vec![nv])],
            matrix(3, qp.g()),
            vec![slot(4, vec![qp.n_inequality()])],
            matrix(5, qp.a()),
            vec![slot(6, vec![qp.n_equality()])],
            vec![slot(7, vec![nv])],
            vec![slot(8, vec![nv])],
        ];
        for (slot, asked) in slots.iter_mut().zip(asked(wrt)) {
            if !asked {
                slot.clear();
            }
        }
        Gather { slots, lead, many, verdicts: Vec::new() }
    }

    /// Cotangents of every instance.
    pub fn cotangents(&self) -> usize {
        self.lead.1
    }

    /// True if some argument is shared: its gradient is a sum over the instances.
    pub fn sums(&self) -> bool {
        self.slots.iter().flatten().any(|slot| slot.summed)
    }

    /// The places of the arguments that are not shared, instance by instance.
    pub fn rows(&mut self) -> Vec<Row<'_>> {
        let (n, cotangents) = self.lead;
        let empty = || Row { parts: Default::default(), cotangents };
        let mut rows: Vec<Row<'_>> = (0..n).map(|_| empty()).collect();
        for (k, slots) in self.slots.iter_mut().enumerate() {
            for (place, slot) in
                slots.iter_mut().enumerate().filter(|(_, slot)| !slot.summed && !slot.values.is_empty())
            {
                let size = slot.values.len() / n;
                for (row, part) in rows.iter_mut().zip(slot.values.chunks_exact_mut(size)) {
                    row.parts[if k == 0 { place } else { k + 1 }] = Some(part);
                }
            }
        }
        rows
    }

    /// The places of the arguments that are shared.
    pub fn total(&mut self) -> Row<'_> {
        let mut total = Row { parts: Default::default(), cotangents: self.lead.1 };
        for (k, slots) in self.slots.iter_mut().enumerate() {
            for (place, slot) in slots.iter_mut().enumerate().filter(|(_, slot)| slot.summed) {
                total.parts[if k == 0 { place } else { k + 1 }] = Some(&mut slot.values);
            }
        }
        total
    }

    /// The numbers of the nine slots (P or d, F, then the others), empty where not asked for or absent.
    pub fn into_slots(self) -> [Vec<f64>; 9] {
        let [p, rest @ ..] = self.slots;
        let mut out: [Vec<f64>; 9] = Default::default();
        for (k, slot) in p.into_iter().enumerate() {
            out[k] = slot.values;
        }
        for (k, slot) in rest.into_iter().enumerate() {
            out[k + 2] = slot.into_iter().next().map_or(Vec::new(), |slot| slot.values);
        }
        out
    }

    /// For each of the nine slots that is `present` an array, or `None` where it is not `wanted`; and the verdicts if a user is
    /// to be told of one, else `None`.
    pub fn into_present(self, py: Python<'_>, present: [bool; 9], wanted: [bool; 9]) -> PyResult<Bound<'_, PyTuple>> {
        let (lead, many) = (self.lead, self.many);
        let [p, rest @ ..] = self.slots;
        let mut p = p.into_iter();
        let pair = [p.next(), p.next()].into_iter();
        let nine = pair.chain(rest.into_iter().map(|slots| slots.into_iter().next()));
        let mut out: Vec<Bound<'_, PyAny>> = Vec::with_capacity(10);
        for (k, slot) in nine.enumerate().filter(|(k, _)| present[*k]) {
            out.push(match slot {
                Some(slot) if wanted[k] => slot.into_array(py, lead, many)?,
                _ => py.None().into_bound(py),
            });
        }
        out.push(match doubtful(&self.verdicts) {
            true => self.verdicts.into_pyarray(py).into_any(),
            false => py.None().into_bound(py),
        });
        PyTuple::new(py, out)
    }

    /// A tuple of nine: an array, a pair `(d, F)`, or `None` where not asked for or absent, and the verdicts.
    pub fn into_py(self, py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
        let (lead, many) = (self.lead, self.many);
        let mut out: Vec<Bound<'_, PyAny>> = Vec::with_capacity(9);
        for slots in self.slots {
            let mut arrays = Vec::with_capacity(2);
            for slot in slots {
                arrays.push(slot.into_array(py, lead, many)?);
            }
            out.push(match arrays.len() {
                0 => py.None().into_bound(py),
                1 => arrays.remove(0),
                _ => PyTuple::new(py, arrays)?.into_any(),
            });
        }
        out.push(self.verdicts.into_pyarray(py).into_any());
        PyTuple::new(py, out)
    }
}

/// Where the gradients of one instance go, or sums of them: the nine slots that are not elsewhere.
pub struct Row<'a> {
    parts: [Option<&'a mut [f64]>; 9],
    cotangents: usize,
}

impl Row<'_> {
    /// Adds the gradient for cotangent `c`.
    pub fn add(&mut self, c: usize, gradient: &Gradient) {
        let cotangents = self.cotangents;
        let part = |part: &mut Option<&mut [f64]>, f: &dyn Fn(&mut [f64])| {
            if let Some(part) = part {
                let size = part.len() / cotangents;
                f(&mut part[c * size..(c + 1) * size]);
            }
        };
        let [p, factor, q, g, h, a, b, lb, ub] = &mut self.parts;
        match &gradient.p {
            Some(Hessian::Dense(m)) => part(p, &|out| add_symmetric(out, m)),
            Some(Hessian::Sparse(m)) => part(p, &|out| add(out, m.values())),
            Some(Hessian::Diagonal(d)) => part(p, &|out| add(out, d)),
            Some(Hessian::LowRank { d, f }) => {
                part(p, &|out| add(out, d));
                part(factor, &|out| add_matrix(out, f));
            }
            Some(Hessian::Zero(_)) | None => {}
            Some(other) => part(p, &|out| add_symmetric(out, &other.to_dense())),
        }
        for (slot, m) in [(g, &gradient.g), (a, &gradient.a)] {
            match m {
                Some(Matrix::Dense(m)) => part(slot, &|out| add_matrix(out, m)),
                Some(Matrix::Sparse(m)) => part(slot, &|out| add(out, m.values())),
                None => {}
            }
        }
        let vectors = [(q, &gradient.q), (h, &gradient.h), (b, &gradient.b), (lb, &gradient.lb), (ub, &gradient.ub)];
        for (slot, v) in vectors {
            if let Some(v) = v {
                part(slot, &|out| add(out, v));
            }
        }
    }

    /// Every number there, for gradients that are not known.
    pub fn fill(&mut self, value: f64) {
        self.parts.iter_mut().flatten().for_each(|part| part.fill(value));
    }
}

/// The flags of `wrt` in the order of the arguments.
pub fn asked(wrt: Wrt) -> [bool; 8] {
    [wrt.p, wrt.q, wrt.g, wrt.h, wrt.a, wrt.b, wrt.lb, wrt.ub]
}

/// The other way round.
pub fn wrt(flags: [bool; 8]) -> Wrt {
    let [p, q, g, h, a, b, lb, ub] = flags;
    Wrt { p, q, a, b, g, h, lb, ub, ..Wrt::NONE }
}
