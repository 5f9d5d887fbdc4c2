//! One small dense problem that is solved again and again: numbers are copied from the caller's arrays into a layer and
//! from it into arrays that are there, and no object is made on the way.

use crate::arrays::Args;
use crate::errors::{Failure, misuse, raise};
use crate::pieces::{Pace, long, watched_value, work};
use crate::verdicts::{NONE, code};
use bpqp::{Cotangent, Hessian, Interrupt, Layer, Matrix, Qp, Settings, Status, Wrt};
use numpy::{PyArray1, PyArray2, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::time::Instant;

/// The arguments in order; and how many dimensions each has.
const NAMES: [&str; 8] = ["P", "q", "G", "h", "A", "b", "lb", "ub"];
const RANKS: [usize; 8] = [2, 1, 2, 1, 2, 1, 1, 1];
const OUTPUTS: [&str; 4] = ["x", "y", "z", "z_box"];
const COTANGENTS: [&str; 4] =
    ["the cotangent of x", "the cotangent of y", "the cotangent of z", "the cotangent of z_box"];

struct State {
    layer: Layer,
    cotangent: Cotangent,
    solved: bool,
}

/// See the module.
#[pyclass(frozen, module = "bpqp._bpqp", name = "Prepared")]
pub struct Prepared {
    state: Mutex<State>,
    interrupt: Interrupt,
    /// A measure of the work on it, and how long that took.
    work: f64,
    pace: Pace,
    /// Whatever it took last, it may take long.
    endless: bool,
    shapes: [(usize, usize); 8],
    outputs: [Py<PyArray1<f64>>; 4],
}

/// An array of numbers, as it is or as the package converts it.
fn numbers<'py>(name: &str, any: &Bound<'py, PyAny>, rank: usize) -> PyResult<PyReadonlyArrayDyn<'py, f64>> {
    let array = any.cast::<PyArrayDyn<f64>>().ok();
    if let Some(array) = array.filter(|array| array.is_c_contiguous() && array.ndim() == rank) {
        return array.try_readonly().map_err(|e| misuse(format!("{name}: {e}")));
    }
    let convert = any.py().import("bpqp._arguments")?.getattr("as_array")?;
    convert.call1((name, any, rank))?.extract::<PyReadonlyArrayDyn<'py, f64>>()
}

/// Its entries, if it has the shape that the problem has.
fn entries<'a>(
    name: &str,
    array: &'a PyReadonlyArrayDyn<'_, f64>,
    shape: (usize, usize),
    rank: usize,
) -> PyResult<&'a [f64]> {
    let own = [shape.0, shape.1];
    if array.shape() != &own[..rank] {
        return Err(misuse(format!("{name} has shape {:?}, prepared was {:?}", array.shape(), &own[..rank])));
    }
    array.as_slice().map_err(|_| misuse(format!("{name} is not contiguous in C order")))
}

/// Writes into an array of the caller's, which has one or two dimensions.
fn write(
    name: &str,
    out: &Bound<'_, PyAny>,
    shape: (usize, usize),
    rank: usize,
    from: impl FnOnce(&mut [f64]),
) -> PyResult<()> {
    let refuse = |found: String| {
        let own = if rank == 1 { format!("({},)", shape.0) } else { format!("{shape:?}") };
        misuse(format!("out.{name} {found}: a writeable float64 array of shape {own} in C order is needed"))
    };
    if rank == 1 {
        let array = out.cast::<PyArray1<f64>>().map_err(|_| refuse("is of another type".into()))?;
        let mut array = array.try_readwrite().map_err(|e| refuse(format!("cannot be written ({e})")))?;
        let found = array.shape().to_vec();
        match array.as_slice_mut() {
            Ok(slice) if found == [shape.0] => from(slice),
            _ => return Err(refuse(format!("has shape {found:?}"))),
        }
    } else {
        let array = out.cast::<PyArray2<f64>>().map_err(|_| refuse("is of another type".into()))?;
        let mut array = array.try_readwrite().map_err(|e| refuse(format!("cannot be written ({e})")))?;
        let found = array.shape().to_vec();
        match array.as_slice_mut() {
            Ok(slice) if found == [shape.0, shape.1] => from(slice),
            _ => return Err(refuse(format!("has shape {found:?}"))),
        }
    }
    Ok(())
}

fn matrix(m: &Matrix, out: &mut [f64]) {
    match m {
        Matrix::Dense(m) => {
            let columns = m.ncols();
            for j in 0..columns {
                for i in 0..m.nrows() {
                    out[i * columns + j] = m[(i, j)];
                }
            }
        }
        Matrix::Sparse(m) => {
            out.fill(0.0);
            for (i, j, v) in m.triplets() {
                out[i * m.ncols() + j] = v;
            }
        }
    }
}

impl Prepared {
    /// True if a solve may take so long that someone has to look for interrupts meanwhile.
    fn heavy(&self) -> bool {
        self.endless || (long(1, self.work) && !self.pace.quick(1, self.work))
    }

    fn state(&self) -> PyResult<MutexGuard<'_, State>> {
        match self.state.try_lock() {
            Ok(state) => Ok(state),
            Err(TryLockError::Poisoned(state)) => Ok(state.into_inner()),
            Err(TryLockError::WouldBlock) => {
                Err(misuse("this solver is at work in another thread: one for each thread"))
            }
        }
    }

    fn changed(&self, qp: Qp, data: &Bound<'_, PyTuple>) -> PyResult<Qp> {
        let mut qp = qp;
        let mut bounds: [Option<Vec<f64>>; 2] = [None, None];
        for k in 0..8 {
            let any = data.get_borrowed_item(k)?;
            if any.is_none() {
                continue;
            }
            let array = numbers(NAMES[k], &any, RANKS[k])?;
            let values = entries(NAMES[k], &array, self.shapes[k], RANKS[k])?;
            let (rows, n) = self.shapes[k];
            qp = match k {
                0 => Hessian::from_rows(n, values).and_then(|p| qp.with_p(p)),
                1 => qp.with_q(values),
                2 => Matrix::from_rows(rows, n, values).and_then(|g| {
                    let h = qp.h().to_vec();
                    qp.inequality(g, h)
                }),
                3 => qp.with_h(values),
                4 => Matrix::from_rows(rows, n, values).and_then(|a| {
                    let b = qp.b().to_vec();
                    qp.equality(a, b)
                }),
                5 => qp.with_b(values),
                _ => {
                    bounds[k - 6] = Some(values.to_vec());
                    continue;
                }
            }
            .map_err(raise)?;
        }
        if bounds.iter().any(Option::is_some) {
            let [lb, ub] = bounds;
            let (lb, ub) = (lb.unwrap_or_else(|| qp.lb().to_vec()), ub.unwrap_or_else(|| qp.ub().to_vec()));
            qp = qp.bounds(lb, ub).map_err(raise)?;
        }
        Ok(qp)
    }
}

#[pymethods]
impl Prepared {
    /// `data` are the eight blocks of one dense problem, `outputs` the arrays of x, y, z and z_box.
    #[new]
    fn new(
        data: &Bound<'_, PyTuple>,
        outputs: [Py<PyArray1<f64>>; 4],
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        // a solver of microseconds looks only here
        crate::logging::listen(data.py())?;
        let args = Args::new(data)?;
        let data = args.data()?;
        let Some(problems) = data.problems(None, false, None)? else { return Err(misuse("the batch is empty")) };
        let qp = problems.first().clone();
        let interrupt = Interrupt::default();
        let settings = Settings { interrupt: Some(interrupt.clone()), ..crate::settings(options)? };
        let (n, mi, me) = (qp.n(), qp.n_inequality(), qp.n_equality());
        let endless = settings.max_iter.is_some_and(|most| most > crate::engine::MANY);
        let work = work(&qp);
        let layer = Layer::new(qp, settings).map_err(raise)?;
        Ok(Prepared {
            state: Mutex::new(State { layer, cotangent: Cotangent::default(), solved: false }),
            interrupt,
            work,
            pace: Pace::default(),
            endless,
            shapes: [(n, n), (n, 0), (mi, n), (mi, 0), (me, n), (me, 0), (n, 0), (n, 0)],
            outputs,
        })
    }

    /// Takes other numbers for the blocks that are not `None`. After an error the problem is the old one.
    fn update(&self, data: &Bound<'_, PyTuple>) -> PyResult<()> {
        let mut state = self.state()?;
        let qp = self.changed(state.layer.qp().clone(), data)?;
        state.solved = false;
        state.layer.update(qp).map_err(raise)
    }

    /// Solves, and writes the solution into the arrays. Returns the number of the status.
    fn solve(&self, py: Python<'_>, warm: bool, policy: u8) -> PyResult<usize> {
        let mut guard = self.state()?;
        let state = &mut *guard;
        let start = warm.then(|| state.layer.solution().point()).filter(|point| point.is_finite());
        let layer = &mut state.layer;
        let solve = || layer.solve_from(start.as_ref()).map(|_| ());
        let begin = Instant::now();
        match self.heavy() {
            true => watched_value(py, &self.interrupt, solve)?,
            false => py.detach(solve),
        }
        .map_err(raise)?;
        self.pace.took(1, self.work, begin.elapsed());
        state.solved = true;
        let s = state.layer.solution();
        let lost = !s.ok() && policy != 2;
        for (k, values) in [&s.x, &s.y, &s.z, &s.z_box].into_iter().enumerate() {
            let mut out = self.outputs[k]
                .bind(py)
                .try_readwrite()
                .map_err(|e| misuse(format!("{} cannot be written: {e}", OUTPUTS[k])))?;
            let out = out.as_slice_mut().map_err(|_| misuse(format!("{} is not contiguous", OUTPUTS[k])))?;
            if lost || values.len() != out.len() { out.fill(f64::NAN) } else { out.copy_from_slice(values) }
        }
        Ok(Status::ALL.iter().position(|status| *status == s.status).unwrap_or_default())
    }

    /// Gradients for cotangents `x, y, z, z_box, objective` into the arrays of `out` that are not `None`. Returns the code
    /// of the verdict.
    fn vjp(
        &self,
        py: Python<'_>,
        cotangents: &Bound<'_, PyTuple>,
        out: &Bound<'_, PyTuple>,
        policy: u8,
    ) -> PyResult<u8> {
        let mut guard = self.state()?;
        let State { layer, cotangent, solved } = &mut *guard;
        if !*solved {
            return Err(misuse("the data changed since the last solve(), or there was none: solve first"));
        }
        let (n, mi, me) = (self.shapes[0].0, self.shapes[2].0, self.shapes[4].0);
        let lengths = [n, me, mi, n];
        let parts = [&mut cotangent.x, &mut cotangent.y, &mut cotangent.z, &mut cotangent.z_box];
        for (k, part) in parts.into_iter().enumerate() {
            let any = cotangents.get_borrowed_item(k)?;
            part.clear();
            if !any.is_none() {
                let array = numbers(COTANGENTS[k], &any, 1)?;
                part.extend_from_slice(entries(COTANGENTS[k], &array, (lengths[k], 0), 1)?);
            }
        }
        let objective = cotangents.get_borrowed_item(4)?;
        cotangent.objective = if objective.is_none() { 0.0 } else { objective.extract()? };
        let mut wanted: [Option<Bound<'_, PyAny>>; 8] = Default::default();
        for (k, slot) in wanted.iter_mut().enumerate() {
            *slot = Some(out.get_item(k)?).filter(|any| !any.is_none());
        }
        let ask = |k: usize| wanted[k].is_some();
        let wrt = Wrt {
            p: ask(0),
            q: ask(1),
            g: ask(2),
            h: ask(3),
            a: ask(4),
            b: ask(5),
            lb: ask(6),
            ub: ask(7),
            ..Wrt::NONE
        };
        if !layer.solution().ok() && policy != 0 {
            cotangent.validate(layer.qp()).map_err(raise)?;
            for (k, any) in wanted.iter().enumerate() {
                if let Some(any) = any {
                    write(NAMES[k], any, self.shapes[k], RANKS[k], |to| {
                        to.fill(if policy == 1 { f64::NAN } else { 0.0 })
                    })?;
                }
            }
            return Ok(NONE);
        }
        {
            let (layer, cotangent) = (&mut *layer, &*cotangent);
            let derive = || layer.vjp(cotangent, wrt).map(|_| ());
            match self.heavy() {
                true => watched_value(py, &self.interrupt, derive)?,
                false => py.detach(derive),
            }
            .map_err(Failure::from)?;
        }
        let verdict = code(layer.verdict(), layer.solution().status);
        let g = layer.gradient();
        let vectors =
            [None, g.q.as_deref(), None, g.h.as_deref(), None, g.b.as_deref(), g.lb.as_deref(), g.ub.as_deref()];
        let matrices = [None, None, g.g.as_ref(), None, g.a.as_ref()];
        for (k, any) in wanted.iter().enumerate() {
            let Some(any) = any else { continue };
            write(NAMES[k], any, self.shapes[k], RANKS[k], |to| match (k, vectors[k]) {
                (_, Some(v)) if v.len() == to.len() => to.copy_from_slice(v),
                (0, _) => match &g.p {
                    // symmetric: its columns are its rows
                    Some(Hessian::Dense(m)) => {
                        to.chunks_exact_mut(m.nrows().max(1))
                            .enumerate()
                            .for_each(|(j, row)| row.copy_from_slice(m.col_as_slice(j)));
                    }
                    Some(other) => matrix(&Matrix::from(other.to_dense()), to),
                    None => to.fill(0.0),
                },
                _ => match matrices.get(k).copied().flatten() {
                    Some(m) => matrix(m, to),
                    None => to.fill(0.0),
                },
            })?;
        }
        Ok(verdict)
    }

    /// The objective of the last solution.
    fn objective(&self) -> PyResult<f64> {
        let state = self.state()?;
        let s = state.layer.solution();
        Ok(if state.solved && s.ok() { s.objective } else { f64::NAN })
    }

    /// Its iterations.
    fn iterations(&self) -> PyResult<usize> {
        Ok(self.state()?.layer.solution().info.iterations)
    }
}
