//! Work on a batch with the interpreter free, in pieces between which keyboard interrupts are looked for.

use crate::engine::lock;
use crate::errors::Failure;
use bpqp::{Interrupt, Matrix, Qp};
use pyo3::prelude::*;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Keyboard interrupts are looked for about this often.
const PIECE: Duration = Duration::from_millis(50);

/// Below this nobody waits for the end of a call.
const SOON: Duration = Duration::from_millis(20);

/// Work that takes some milliseconds, about 700 variables and rows; a thread beside it would take some per cent of it.
const SHORT: f64 = 4e8;
/// What a problem takes at least.
const LEAST: f64 = 1e4;

/// The part of the products of a dense factorization that a sparse one takes, at most, where it does not fill up.
const SPARSE: f64 = 0.2;

/// A measure of the work on a problem: the cube of its rows and variables.
pub fn work(qp: &Qp) -> f64 {
    let dense = ((qp.n() + qp.n_equality() + qp.n_inequality()) as f64).powi(3);
    let sparse = [qp.a(), qp.g()].into_iter().any(|m| matches!(m, Matrix::Sparse(_)) && m.nrows() > 0);
    if sparse { SPARSE * dense } else { dense }
}

/// True if work on `n` problems may take longer than some milliseconds.
pub fn long(n: usize, each: f64) -> bool {
    n as f64 * each.max(LEAST) > SHORT
}

/// How long problems of some size took. What was over soon is not watched the next time: a thread costs more than it gains.
#[derive(Default)]
pub struct Pace(Mutex<Option<(f64, Duration)>>);

impl Pace {
    /// True if `n` problems with this measure of the work took little time when they were last solved.
    pub fn quick(&self, n: usize, each: f64) -> bool {
        let last = *lock(&self.0);
        last.is_some_and(|(work, took)| work == each && took.as_secs_f64() * (n as f64) < SOON.as_secs_f64())
    }

    /// `n` problems with this measure of the work took this long.
    pub fn took(&self, n: usize, each: f64, time: Duration) {
        *lock(&self.0) = Some((each, time.div_f64(n.max(1) as f64)));
    }
}

/// `f` over `0..n` in pieces, the first one short by the `work` on each; without an interpreter, at once. A keyboard
/// interrupt ends it between two pieces.
pub fn in_pieces(
    py: Option<Python<'_>>,
    n: usize,
    each: f64,
    mut f: impl FnMut(Range<usize>) -> Result<(), Failure> + Send,
) -> Result<(), Failure> {
    let Some(py) = py else { return f(0..n) };
    let mut done = 0;
    let mut size = if long(n, each) { 32 } else { n };
    while done < n {
        let piece = done..(done + size).min(n);
        done = piece.end;
        let start = Instant::now();
        py.detach(|| f(piece))?;
        if done < n {
            py.check_signals().map_err(Failure::Python)?;
        }
        let took = start.elapsed();
        if took < PIECE / 8 {
            size *= 8;
        } else if took > PIECE {
            size = (size / 2).max(1);
        }
    }
    Ok(())
}

/// Work that may not be split, as in [`watched`].
pub fn watched_value<T: Send>(
    py: Python<'_>,
    interrupt: &Interrupt,
    f: impl FnOnce() -> T + Send,
) -> Result<T, Failure> {
    interrupt.clear();
    let (mut out, mut f) = (None, Some(f));
    watched(py, 1, interrupt, |_| {
        out = f.take().map(|f| f());
        Ok(())
    })?;
    out.ok_or_else(|| Failure::Misuse("the solve ended without a result".to_owned()))
}

/// `f(0..n)` on a thread of its own, while this one looks for keyboard interrupts: one sets `interrupt`, at which `f` is
/// to end. For work that may be long in a single element; starting the thread takes some 20 microseconds.
pub fn watched(
    py: Python<'_>,
    n: usize,
    interrupt: &Interrupt,
    mut f: impl FnMut(Range<usize>) -> Result<(), Failure> + Send,
) -> Result<(), Failure> {
    py.detach(|| {
        std::thread::scope(|scope| {
            let (sender, receiver) = channel();
            scope.spawn(move || {
                // who waits may be gone only after this
                let _ = sender.send(f(0..n));
            });
            let mut pending = None;
            loop {
                match receiver.recv_timeout(PIECE) {
                    Ok(result) => return pending.map_or(result, |error| Err(Failure::Python(error))),
                    Err(RecvTimeoutError::Disconnected) => {
                        return Err(Failure::Misuse("the solve ended without a result".to_owned()));
                    }
                    Err(RecvTimeoutError::Timeout) => {
                        if pending.is_none() {
                            pending = Python::attach(|py| py.check_signals()).err();
                        }
                        if pending.is_some() {
                            // again and again: a call that waits for its turn clears the flag when it starts
                            interrupt.request();
                        }
                    }
                }
            }
        })
    })
}
