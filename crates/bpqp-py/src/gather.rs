//! Gradients of many instances gathered into arrays: one per instance, or their sum where the argument is shared.

use bpqp::{Gradient, Hessian, Matrix, Qp, Wrt};
use faer::Mat;
use numpy::{IntoPyArray, PyArrayMethods};
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

impl Slot {
    fn new(lead: (usize, usize), shape: Vec<usize>, summed: bool) -> Self {
        let size: usize = shape.iter().product();
        let copies = if summed { lead.1 } else { lead.0 * lead.1 };
        Slot { values: vec![0.0; size * copies], shape, summed }
    }

    fn size(&self) -> usize {
        self.shape.iter().product()
    }

    /// The place of cotangent `c` of instance `k`.
    fn at(&mut self, k: usize, c: usize, cotangents: usize) -> &mut [f64] {
        let size = self.size();
        let at = if self.summed { c * size } else { (k * cotangents + c) * size };
        &mut self.values[at..at + size]
    }

    /// Adds the values of cotangent `c` of instance `k`.
    fn add(&mut self, k: usize, c: usize, cotangents: usize, values: &[f64]) {
        for (slot, value) in self.at(k, c, cotangents).iter_mut().zip(values) {
            *slot += value;
        }
    }

    /// The same of a matrix, in C order here.
    fn add_matrix(&mut self, k: usize, c: usize, cotangents: usize, m: &Mat<f64>) {
        let cols = m.ncols();
        let out = self.at(k, c, cotangents);
        for j in 0..cols {
            for (row, value) in out.chunks_exact_mut(cols).zip(m.col_as_slice(j)) {
                row[j] += value;
            }
        }
    }

    /// The same of a symmetric matrix, whose columns are its rows.
    fn add_symmetric(&mut self, k: usize, c: usize, cotangents: usize, m: &Mat<f64>) {
        let n = m.ncols();
        for (j, row) in self.at(k, c, cotangents).chunks_exact_mut(n.max(1)).enumerate() {
            for (slot, value) in row.iter_mut().zip(m.col_as_slice(j)) {
                *slot += value;
            }
        }
    }

    fn into_array(self, py: Python<'_>, lead: (usize, usize), many: bool) -> PyResult<Bound<'_, PyAny>> {
        let mut shape = if self.summed { vec![] } else { vec![lead.0] };
        if many {
            shape.push(lead.1);
        }
        shape.extend(&self.shape);
        Ok(self.values.into_pyarray(py).reshape(shape)?.into_any())
    }
}

/// The gradients of a batch.
pub struct Gather {
    slots: [Vec<Slot>; 8],
    lead: (usize, usize),
    many: bool,
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
        Gather { slots, lead, many }
    }

    /// Adds the gradient for cotangent `c` of instance `k`.
    pub fn add(&mut self, k: usize, c: usize, gradient: &Gradient) {
        let nc = self.lead.1;
        let [p, q, g, h, a, b, lb, ub] = &mut self.slots;
        match (&mut p[..], &gradient.p) {
            ([slot], Some(Hessian::Dense(m))) => slot.add_symmetric(k, c, nc, m),
            ([slot], Some(Hessian::Sparse(m))) => slot.add(k, c, nc, m.values()),
            ([slot], Some(Hessian::Diagonal(d))) => slot.add(k, c, nc, d),
            ([slot, factor], Some(Hessian::LowRank { d, f })) => {
                slot.add(k, c, nc, d);
                factor.add_matrix(k, c, nc, f);
            }
            _ => {}
        }
        for (slots, m) in [(g, &gradient.g), (a, &gradient.a)] {
            match (&mut slots[..], m) {
                ([slot], Some(Matrix::Dense(m))) => slot.add_matrix(k, c, nc, m),
                ([slot], Some(Matrix::Sparse(m))) => slot.add(k, c, nc, m.values()),
                _ => {}
            }
        }
        let vectors = [(q, &gradient.q), (h, &gradient.h), (b, &gradient.b), (lb, &gradient.lb), (ub, &gradient.ub)];
        for (slots, v) in vectors {
            if let ([slot], Some(v)) = (&mut slots[..], v) {
                slot.add(k, c, nc, v);
            }
        }
    }

    /// Marks the gradient of instance `k` as unknown.
    pub fn nan(&mut self, k: usize) {
        let nc = self.lead.1;
        for slot in self.slots.iter_mut().flatten() {
            for c in 0..nc {
                slot.at(k, c, nc).fill(f64::NAN);
            }
        }
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

    /// For each of the nine slots that is `present` an array, or `None` where it is not `wanted`.
    pub fn into_present(self, py: Python<'_>, present: [bool; 9], wanted: [bool; 9]) -> PyResult<Bound<'_, PyTuple>> {
        let (lead, many) = (self.lead, self.many);
        let [p, rest @ ..] = self.slots;
        let mut p = p.into_iter();
        let pair = [p.next(), p.next()].into_iter();
        let nine = pair.chain(rest.into_iter().map(|slots| slots.into_iter().next()));
        let mut out: Vec<Bound<'_, PyAny>> = Vec::with_capacity(9);
        for (k, slot) in nine.enumerate().filter(|(k, _)| present[*k]) {
            out.push(match slot {
                Some(slot) if wanted[k] => slot.into_array(py, lead, many)?,
                _ => py.None().into_bound(py),
            });
        }
        PyTuple::new(py, out)
    }

    /// A tuple of eight: an array, a pair `(d, F)`, or `None` where not asked for or absent.
    pub fn into_py(self, py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
        let (lead, many) = (self.lead, self.many);
        let mut out: Vec<Bound<'_, PyAny>> = Vec::with_capacity(8);
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
        PyTuple::new(py, out)
    }
}

/// The flags of `wrt` in the order of the arguments.
pub fn asked(wrt: Wrt) -> [bool; 8] {
    [wrt.p, wrt.q, wrt.g, wrt.h, wrt.a, wrt.b, wrt.lb, wrt.ub]
}

/// The other way round.
pub fn wrt(flags: [bool; 8]) -> Wrt {
    let [p, q, g, h, a, b, lb, ub] = flags;
    Wrt { p, q, a, b, g, h, lb, ub }
}
