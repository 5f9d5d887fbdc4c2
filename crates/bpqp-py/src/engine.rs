//! Prepared state that outlives a call, without the interpreter where there is none.

use crate::data::{Data, Problems};
use crate::errors::Failure;
use crate::list::{Boxes, List, Spare};
use crate::pieces::{Pace, in_pieces, long, watched, work};
use crate::solutions::{Solutions, restore};
use bpqp::{Batch, Error, Interrupt, Point, Qp, Settings, Solution};
use pyo3::Python;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Iterations beyond which any solve may take long.
pub(crate) const MANY: usize = 100_000;

/// One layer per thread, with the factorizations of what did not change.
pub struct Engine {
    batch: Arc<Batch>,
    settings: Settings,
    single: bool,
    interrupt: Interrupt,
    last: Mutex<Option<Qp>>,
    spare: Spare,
    busy: Mutex<()>,
    pace: Pace,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A tolerance for data in single precision: rows that are redundant there contradict each other in the last digits, so that
/// no point satisfies them more closely than the data are known. A tolerance of 0 was asked for and stays.
fn of_single(tolerance: f64) -> f64 {
    if tolerance > 0.0 { tolerance.max(2.0 * f64::from(f32::EPSILON)) } else { tolerance }
}

impl Engine {
    /// `single`: the data come from single precision, and P may be as asymmetric as its rounding.
    pub fn new(mut settings: Settings, single: bool) -> Result<Self, Error> {
        if single {
            settings.eps_abs = of_single(settings.eps_abs);
            settings.eps_rel = of_single(settings.eps_rel);
        }
        let interrupt = Interrupt::default();
        let inner = Settings { interrupt: Some(interrupt.clone()), ..settings.clone() };
        let batch = Arc::new(Batch::new(Vec::new(), inner)?);
        Ok(Engine {
            batch,
            settings,
            single,
            interrupt,
            last: Mutex::new(None),
            spare: Spare::default(),
            busy: Mutex::new(()),
            pace: Pace::default(),
        })
    }

    /// The problems of `data`, `size` of them where every argument is shared; what did not change since the last call
    /// keeps its address, and what was computed of it.
    fn problems<'a>(&self, data: &'a Data<'a>, size: Option<usize>) -> Result<Option<Problems<'a>>, Failure> {
        let last = lock(&self.last).clone();
        let problems = data.problems(last.as_ref(), self.single, size)?;
        *lock(&self.last) = problems.as_ref().map(|p| p.first().clone());
        Ok(problems)
    }

    /// Solutions to be differentiated on the threads of this engine.
    pub fn solutions(&self, list: Boxes) -> Solutions {
        Solutions::new(List::new(list, self.spare.clone()), self.batch.clone())
    }

    /// Solves the problems of `data`, each from its own start if there are any.
    pub fn solve(
        &self,
        py: Option<Python<'_>>,
        data: &Data<'_>,
        size: Option<usize>,
        start: &[Option<Point>],
    ) -> Result<Solutions, Failure> {
        let Some(problems) = self.problems(data, size)? else { return Ok(self.solutions(Vec::new())) };
        let n = problems.len();
        if !start.is_empty() && start.len() != n {
            return Err(Failure::Misuse(format!("warm_start has {} rows for {n} problems", start.len())));
        }
        let each = work(problems.first());
        let heavy =
            (long(n, each) && !self.pace.quick(n, each)) || self.settings.max_iter.is_some_and(|most| most > MANY);
        // where it is solved, while its numbers are at hand; what is wrong with all of them was found in the first one
        let make = |k: usize| -> Result<_, Error> { Ok((problems.get(k)?, start.get(k).and_then(Option::as_ref))) };
        let mut list = Boxes::with_capacity(n);
        let mut spare = self.spare.take(n).into_iter();
        let mut reasons = Vec::new();
        let nv = problems.first().n();
        let mut x = vec![0.0; n * nv];
        let mut rest = &mut x[..];
        let all_ok = AtomicBool::new(true);
        let piece = |range: Range<usize>| {
            // one call at a time: the layers of a thread belong to one problem
            let _busy = lock(&self.busy);
            self.interrupt.clear();
            let row = |_| {
                let (row, left) = std::mem::take(&mut rest).split_at_mut(nv);
                rest = left;
                (row, spare.next())
            };
            let rows: Vec<(&mut [f64], Option<Box<Solution>>)> = range.clone().map(row).collect();
            // what the caller wants of a solution is copied where it was found, and the solution stays there
            let take = |solution: &Solution, (row, spare): (&mut [f64], Option<Box<Solution>>)| {
                if solution.x.len() == row.len() {
                    row.copy_from_slice(&solution.x);
                }
                if !solution.ok() {
                    all_ok.store(false, Ordering::Relaxed);
                }
                match spare {
                    Some(mut own) => {
                        Solution::clone_from(&mut own, solution);
                        own
                    }
                    None => Box::new(solution.clone()),
                }
            };
            let solutions =
                self.batch.solve_each(problems.first(), rows.into_iter(), |k| make(range.start + k), take)?;
            for (solution, k) in solutions.into_iter().zip(range) {
                list.push(match solution {
                    Ok(solution) => solution,
                    Err(error) => {
                        reasons.push((k, error.clone()));
                        all_ok.store(false, Ordering::Relaxed);
                        Box::new(problems.invalid(k, error, &self.settings)?)
                    }
                });
            }
            Ok(())
        };
        let begin = Instant::now();
        match py {
            Some(py) if heavy => watched(py, n, &self.interrupt, piece)?,
            _ => in_pieces(py, n, each, piece)?,
        }
        self.pace.took(n, each, begin.elapsed());
        let list = List::new(list, self.spare.clone());
        let mut solved = Solutions::solved(list, x, all_ok.into_inner(), self.batch.clone());
        solved.reasons = reasons.into();
        Ok(solved)
    }

    /// Solutions from elsewhere, ready to be differentiated; missing multipliers are recovered.
    pub fn given(&self, py: Python<'_>, data: &Data<'_>, given: Vec<Point>) -> Result<Solutions, Failure> {
        let Some(problems) = self.problems(data, None)? else { return Ok(self.solutions(Vec::new())) };
        if given.len() != problems.len() {
            let message = format!("x has {} rows for {} problems", given.len(), problems.len());
            return Err(Failure::Misuse(message));
        }
        let qps = problems.all()?;
        let mut list = Vec::with_capacity(qps.len());
        let mut reasons = Vec::new();
        in_pieces(Some(py), qps.len(), work(problems.first()), |range| {
            for k in range {
                list.push(Box::new(match &qps[k] {
                    Ok(qp) => bpqp::from_solution(qp.clone(), given[k].clone(), &self.settings)?,
                    Err(error) => {
                        reasons.push((k, error.clone()));
                        problems.invalid(k, error.clone(), &self.settings)?
                    }
                }));
            }
            Ok(())
        })?;
        let mut solved = self.solutions(list);
        solved.reasons = reasons.into();
        Ok(solved)
    }

    /// Solutions from the rows of [`Solutions::state`], one after the other.
    pub fn restore(
        &self,
        py: Option<Python<'_>>,
        data: &Data<'_>,
        rows: &[f64],
        n: usize,
    ) -> Result<Solutions, Failure> {
        let problems = data.problems(None, self.single, Some(n))?.filter(|p| p.len() == n);
        let Some(problems) = problems else {
            return Err(Failure::Misuse(format!("{n} rows of state for another number of problems")));
        };
        let qps = problems.all()?;
        let width = rows.len() / n.max(1);
        let mut list = Vec::with_capacity(n);
        in_pieces(py, n, work(problems.first()), |range| {
            for k in range {
                list.push(Box::new(match &qps[k] {
                    Ok(qp) => restore(qp, &rows[k * width..(k + 1) * width], &self.settings)?,
                    Err(error) => problems.invalid(k, error.clone(), &self.settings)?,
                }));
            }
            Ok(())
        })?;
        Ok(self.solutions(list))
    }
}
