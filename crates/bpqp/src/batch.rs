//! Many problems of one structure: threads, warm starts, and failures that stay with their instance.

use crate::{Cotangent, Error, Gradient, Layer, Point, Qp, Settings, Solution, Verdict, Wrt};
use rayon::prelude::*;
use std::sync::{Arc, Mutex, OnceLock};

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
    layers: Vec<Mutex<Option<Layer>>>,
    threads: usize,
}

/// The pool of that many threads of this process, shared by all batches: starting threads costs more than a small batch.
/// A forked child has none of its parent's threads, so it gets pools of its own.
pub(crate) fn pool(threads: usize) -> Result<Arc<rayon::ThreadPool>, Error> {
    static POOLS: Mutex<Vec<(u32, usize, Arc<rayon::ThreadPool>)>> = Mutex::new(Vec::new());
    let process = std::process::id();
    let mut pools = POOLS.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some((_, _, pool)) = pools.iter().find(|(id, n, _)| (*id, *n) == (process, threads)) {
        return Ok(pool.clone());
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(|e| Error::Setting {
        name: "threads",
        value: format!("{threads} ({e})"),
        advice: "ask for fewer threads",
    })?;
    let pool = Arc::new(pool);
    pools.push((process, threads, pool.clone()));
    Ok(pool)
}

/// All cores, asked for once: the answer takes a walk through the file system.
pub(crate) fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| std::thread::available_parallelism().map_or(1, |n| n.get()))
}

impl Workers {
    fn new(threads: usize) -> Self {
        let threads = if threads == 0 { cores() } else { threads };
        Workers { layers: (0..threads).map(|_| Mutex::new(None)).collect(), threads }
    }

    /// Applies `f` to `0..n` on the threads, each with its own layer; results in order.
    fn map<T: Send>(
        &self,
        n: usize,
        make: impl Fn(usize) -> Result<Layer, Error> + Sync,
        f: impl Fn(&mut Layer, usize) -> Result<T, Error> + Sync,
    ) -> Result<Vec<Result<T, Error>>, Error> {
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
        if self.threads == 1 || n <= 1 {
            return Ok((0..n).map(|i| one(&self.layers[0], i)).collect());
        }
        Ok(pool(self.threads)?.install(|| {
            (0..n)
                .into_par_iter()
                .map(|i| {
                    let thread = rayon::current_thread_index().unwrap_or(0) % self.threads;
                    one(&self.layers[thread], i)
                })
                .collect()
        }))
    }
}

impl Batch {
    /// A batch of these instances, which must have one structure.
    pub fn new(qps: Vec<Qp>, settings: Settings) -> Result<Self, Error> {
        settings.validate()?;
        let workers = Workers::new(settings.threads);
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
    /// result of its own instance only. A problem of another structure than that of instance 0 is refused.
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
        // the structure is that of the batch, not of whatever instance a thread meets first
        let structure = self.qps.first();
        let solutions = self.workers.map(
            items.len(),
            |k| Layer::new(structure.unwrap_or(&qps[k]).clone(), settings.clone()),
            |layer, k| {
                if layer.update(qps[k].clone()).is_err() {
                    // the layer may have served another structure since
                    *layer = Layer::new(structure.unwrap_or(&qps[k]).clone(), settings.clone())?;
                    layer.update(qps[k].clone())?;
                }
                layer.solve_from(memory[items[k]].as_ref()).cloned()
            },
        )?;
        for ((&item, solution), qp) in items.iter().zip(&solutions).zip(qps) {
            self.memory[item] = match solution {
                Ok(solution) if solution.ok() => Some(solution.point()),
                _ => None,
            };
            if solution.is_ok() {
                self.qps[item] = qp;
            }
        }
        Ok(solutions)
    }

    /// Solves problems that are not instances of the batch, each from its own starting point, on the threads and with the
    /// factorizations of the batch; nothing is remembered but those. A structure other than the last one starts afresh.
    pub fn solve_each(&self, qps: &[Qp], warm: &[Option<Point>]) -> Result<Vec<Result<Solution, Error>>, Error> {
        if warm.len() != qps.len() {
            return Err(Error::length("warm", warm.len(), qps.len(), "one starting point, or None, per problem"));
        }
        self.workers.map(
            qps.len(),
            |k| Layer::new(qps[k].clone(), self.settings.clone()),
            |layer, k| {
                if layer.update(qps[k].clone()).is_err() {
                    *layer = Layer::new(qps[k].clone(), self.settings.clone())?;
                }
                layer.solve_from(warm[k].as_ref()).cloned()
            },
        )
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
    vjp_on(&Workers::new(threads), solutions, cotangents, wrt)
}

fn vjp_on(workers: &Workers, solutions: &[&Solution], cotangents: &[Cotangent], wrt: Wrt) -> Result<Gradients, Error> {
    if solutions.len() != cotangents.len() {
        let advice = "one cotangent per solution";
        return Err(Error::length("cotangents", cotangents.len(), solutions.len(), advice));
    }
    workers.map(
        solutions.len(),
        |k| Layer::new(solutions[k].qp.clone(), solutions[k].settings.clone()),
        |layer, k| {
            adopt(layer, solutions[k])?;
            let gradient = layer.vjp(&cotangents[k], wrt)?.clone();
            Ok((gradient, layer.verdict()))
        },
    )
}

/// `derive(layer, k)` for each of many solutions of one structure, `threads` at a time (0: all cores), on a layer that
/// holds solution `k`: tangents, many cotangents at one solution, second derivatives. Results in order.
pub fn derive_batch<T: Send>(
    solutions: &[&Solution],
    threads: usize,
    derive: impl Fn(&mut Layer, usize) -> Result<T, Error> + Sync,
) -> Result<Vec<Result<T, Error>>, Error> {
    Workers::new(threads).map(
        solutions.len(),
        |k| Layer::new(solutions[k].qp.clone(), solutions[k].settings.clone()),
        |layer, k| {
            adopt(layer, solutions[k])?;
            derive(layer, k)
        },
    )
}

fn adopt(layer: &mut Layer, solution: &Solution) -> Result<(), Error> {
    if !solution.ok() {
        return Err(Error::NoSolution { status: solution.status });
    }
    if layer.settings().backward != solution.settings.backward || layer.adopt(solution).is_err() {
        // to be differentiated another way, or of another structure
        *layer = Layer::new(solution.qp.clone(), solution.settings.clone())?;
        layer.adopt(solution)?;
    }
    Ok(())
}
