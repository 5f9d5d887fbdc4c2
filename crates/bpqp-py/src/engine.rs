//! Prepared state that outlives a call, without the interpreter where there is none.

use crate::data::Data;
use crate::errors::Failure;
use crate::pieces::{in_pieces, watched};
use crate::solutions::{Solutions, restore};
use bpqp::{Batch, Error, Interrupt, Point, Qp, Settings};
use pyo3::Python;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A batch whose cube of rows and variables, summed, exceeds this takes milliseconds, and a thread that waits for
/// keyboard interrupts is worth starting.
const HEAVY: f64 = 2e7;
/// Iterations beyond which any solve may take long.
const MANY: usize = 100_000;

/// One layer per thread, with the factorizations of what did not change.
pub struct Engine {
    batch: Batch,
    settings: Settings,
    single: bool,
    interrupt: Interrupt,
    last: Mutex<Option<Qp>>,
    busy: Mutex<()>,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine {
    /// `single`: the data come from single precision, and P may be as asymmetric as its rounding.
    pub fn new(settings: Settings, single: bool) -> Result<Self, Error> {
        let interrupt = Interrupt::default();
        let inner = Settings { interrupt: Some(interrupt.clone()), ..settings.clone() };
        let batch = Batch::new(Vec::new(), inner)?;
        Ok(Engine { batch, settings, single, interrupt, last: Mutex::new(None), busy: Mutex::new(()) })
    }

    /// The settings it was made with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn single(&self) -> bool {
        self.single
    }

    /// The problems of `data`, `size` of them where every argument is shared.
    pub fn problems(&self, data: &Data<'_>, size: Option<usize>) -> Result<Vec<Qp>, Failure> {
        let last = lock(&self.last).clone();
        let qps = data.qps(last.as_ref(), self.single, size)?;
        *lock(&self.last) = qps.first().cloned();
        Ok(qps)
    }

    /// Solves, each from its own start.
    pub fn solve(&self, py: Option<Python<'_>>, qps: &[Qp], start: &[Option<Point>]) -> Result<Solutions, Failure> {
        let mut solutions = Vec::with_capacity(qps.len());
        let piece = |range: Range<usize>| {
            // one call at a time: the layers of a thread belong to one problem
            let _busy = lock(&self.busy);
            self.interrupt.clear();
            for solution in self.batch.solve_each(&qps[range.clone()], &start[range])? {
                solutions.push(solution?);
            }
            Ok(())
        };
        match py {
            Some(py) if self.heavy(qps) => watched(py, qps.len(), &self.interrupt, piece)?,
            _ => in_pieces(py, qps.len(), piece)?,
        }
        Ok(Solutions::new(solutions, self.settings.threads))
    }

    fn heavy(&self, qps: &[Qp]) -> bool {
        let size = |qp: &Qp| (qp.n() + qp.n_equality() + qp.n_inequality()) as f64;
        let work = qps.first().map_or(0.0, |qp| qps.len() as f64 * size(qp).powi(3));
        work > HEAVY || self.settings.max_iter.is_some_and(|most| most > MANY)
    }

    /// Solutions from elsewhere, ready to be differentiated; missing multipliers are recovered.
    pub fn given(&self, py: Python<'_>, qps: Vec<Qp>, given: Vec<Point>) -> Result<Solutions, Failure> {
        let mut solutions = Vec::with_capacity(qps.len());
        in_pieces(Some(py), qps.len(), |range| {
            for k in range {
                solutions.push(bpqp::from_solution(qps[k].clone(), given[k].clone(), &self.settings)?);
            }
            Ok(())
        })?;
        Ok(Solutions::new(solutions, self.settings.threads))
    }

    /// Solutions from the rows of [`Solutions::state`], one after the other.
    pub fn restore(
        &self,
        py: Option<Python<'_>>,
        data: &Data<'_>,
        rows: &[f64],
        n: usize,
    ) -> Result<Solutions, Failure> {
        let qps = data.qps(None, self.single, Some(n))?;
        if qps.len() != n {
            return Err(Failure::Misuse(format!("{n} rows of state for {} problems", qps.len())));
        }
        let width = rows.len() / n.max(1);
        let mut solutions = Vec::with_capacity(n);
        in_pieces(py, n, |range| {
            for k in range {
                solutions.push(restore(&qps[k], &rows[k * width..(k + 1) * width], &self.settings)?);
            }
            Ok(())
        })?;
        Ok(Solutions::new(solutions, self.settings.threads))
    }
}
