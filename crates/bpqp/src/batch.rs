//! Many problems of one structure: threads, warm starts, and failures that stay with their instance.

use crate::solution::lower;
use crate::{Cotangent, Error, Gradient, Layer, Point, Qp, Settings, Solution, Verdict, Wrt};
use rayon::prelude::*;
use std::sync::Mutex;

/// Per instance a gradient with the verdict on it, or why there is none.
pub type Gradients = Vec<Result<(Gradient, Verdict), Error>>;

/// A batch of problems of one structure, which remembers the last solution of every instance as its warm start.
///
/// Blocks shared by address (clones of one [`Qp`], `with_q`, ...) are factored once per thread.
pub struct Batch {
    qps: Vec<Qp>,
    settings: Settings,
    memory: Vec<Option<Point>>,
    workers: Workers,
}

/// One layer per thread, kept between calls.
struct Workers {
    pool: Option<rayon::ThreadPool>,
    layers: Vec<Mutex<Option<Layer>>>,
    threads: usize,
}

impl Workers {
    fn new(threads: usize) -> Result<Self, Error> {
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(1, |n| n.get()),
            n => n,
        };
        let pool = match threads {
            1 => None,
            n => Some(rayon::ThreadPoolBuilder::new().num_threads(n).build().map_err(|e| Error::Setting {
                name: "threads",
                value: format!("{n} ({e})"),
                advice: "ask for fewer threads",
            })?),
        };
        Ok(Workers { pool, layers: (0..threads).map(|_| Mutex::new(None)).collect(), threads })
    }

    /// Applies `f` to `0..n` on the threads, each with its own layer; results in order.
    fn map<T: Send>(
        &self,
        n: usize,
        make: impl Fn(usize) -> Result<Layer, Error> + Sync,
        f: impl Fn(&mut Layer, usize) -> Result<T, Error> + Sync,
    ) -> Vec<Result<T, Error>> {
        let one = |slot: &Mutex<Option<Layer>>, i: usize| {
            let mut guard = slot.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            if guard.is_none() {
                *guard = Some(make(i)?);
            }
            match guard.as_mut() {
                Some(layer) => f(layer, i),
                None => Err(Error::Backward { reason: "no layer".to_owned() }),
            }
        };
        match &self.pool {
            None => (0..n).map(|i| one(&self.layers[0], i)).collect(),
            Some(pool) => pool.install(|| {
                (0..n)
                    .into_par_iter()
                    .map(|i| {
                        let thread = rayon::current_thread_index().unwrap_or(0) % self.threads;
                        one(&self.layers[thread], i)
                    })
                    .collect()
            }),
        }
    }
}

impl Batch {
    /// A batch of these instances, which must have one structure.
    pub fn new(qps: Vec<Qp>, settings: Settings) -> Result<Self, Error> {
        settings.validate()?;
        let workers = Workers::new(settings.threads)?;
        let memory = vec![None; qps.len()];
        Ok(Batch { qps, settings, memory, workers })
    }

    /// Number of instances.
    pub fn len(&self) -> usize {
        self.qps.len()
    }

    /// True without instances.
    pub fn is_empty(&self) -> bool {
        self.qps.is_empty()
    }

    /// The problem of instance `i`, as last solved.
    pub fn qp(&self, i: usize) -> &Qp {
        &self.qps[i]
    }

    /// Solves instances `items[k]` with their new problems `qps[k]`, each from its last solution. A failure is the
    /// result of its own instance only.
    pub fn solve(&mut self, items: &[usize], qps: Vec<Qp>) -> Result<Vec<Result<Solution, Error>>, Error> {
        if items.len() != qps.len() {
            let advice = "one problem per instance to solve";
            return Err(Error::length("qps", qps.len(), items.len(), advice));
        }
        if let Some(&bad) = items.iter().find(|&&i| i >= self.qps.len()) {
            let value = format!("{bad} of a batch of {}", self.qps.len());
            return Err(Error::Setting { name: "items", value, advice: "indices run from 0 to len - 1" });
        }
        let (memory, settings) = (&self.memory, &self.settings);
        let solutions = self.workers.map(
            items.len(),
            |k| Layer::new(qps[k].clone(), settings.clone()),
            |layer, k| {
                layer.update(qps[k].clone())?;
                layer.solve_from(memory[items[k]].as_ref()).cloned()
            },
        );
        for ((&item, solution), qp) in items.iter().zip(&solutions).zip(qps) {
            self.memory[item] = match solution {
                Ok(solution) if solution.ok() => Some(solution.point()),
                _ => None,
            };
            self.qps[item] = qp;
        }
        Ok(solutions)
    }

    /// Solves every instance as it stands.
    pub fn solve_all(&mut self) -> Result<Vec<Result<Solution, Error>>, Error> {
        let items: Vec<usize> = (0..self.len()).collect();
        self.solve(&items, self.qps.clone())
    }

    /// Forgets the warm starts.
    pub fn forget(&mut self) {
        self.memory.fill(None);
    }

    /// Gradients of solutions of this batch, with the verdict on each.
    pub fn vjp(&self, solutions: &[&Solution], cotangents: &[Cotangent], wrt: Wrt) -> Result<Gradients, Error> {
        vjp_on(&self.workers, solutions, cotangents, wrt)
    }
}

/// Gradients of many solutions of one structure, `threads` at a time (0: all cores).
pub fn vjp_batch(
    solutions: &[&Solution],
    cotangents: &[Cotangent],
    wrt: Wrt,
    threads: usize,
) -> Result<Gradients, Error> {
    vjp_on(&Workers::new(threads)?, solutions, cotangents, wrt)
}

fn vjp_on(workers: &Workers, solutions: &[&Solution], cotangents: &[Cotangent], wrt: Wrt) -> Result<Gradients, Error> {
    if solutions.len() != cotangents.len() {
        let advice = "one cotangent per solution";
        return Err(Error::length("cotangents", cotangents.len(), solutions.len(), advice));
    }
    Ok(workers.map(
        solutions.len(),
        |k| Layer::new(solutions[k].qp.clone(), solutions[k].settings.clone()),
        |layer, k| {
            if !solutions[k].ok() {
                return Err(Error::NoSolution { status: solutions[k].status });
            }
            layer.adopt(solutions[k])?;
            let mut gradient = Gradient::default();
            let accuracy = layer.vjp_into(&cotangents[k], wrt, &mut gradient)?;
            Ok((gradient, lower(solutions[k].verdict(), accuracy)))
        },
    ))
}
