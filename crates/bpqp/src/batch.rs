//! Many problems of one structure: threads, warm starts, and failures that stay with their instance.

use crate::small;
use crate::threads::Workers;
use crate::{Cotangent, Derivatives, Error, Gradient, Layer, Point, Qp, Settings, Solution, Verdict, Wrt};
use std::borrow::Borrow;

/// Per instance a gradient with the verdict on it, or why there is none.
pub type Gradients = Vec<Result<(Gradient, Verdict), Error>>;

/// A batch of problems of one structure, which remembers the last solution of every instance as its warm start.
///
/// Blocks shared by address (clones of one [`Qp`], `with_q`, ...) are factored once per thread.
pub struct Batch {
    qps: Vec<Qp>,
    settings: Settings,
    memory: Vec<Option<Point>>,
    workers: Workers<Layer>,
}

/// About what a dense problem takes, in nanoseconds: enough to tell whether threads are worth waking.
fn forward_cost(qp: &Qp) -> f64 {
    (if small::is_small(qp) { 2e3 } else { 5e3 }) + 0.05 * cube(qp)
}

/// The same of a gradient.
fn backward_cost(qp: &Qp) -> f64 {
    1e3 + 0.003 * cube(qp)
}

fn cube(qp: &Qp) -> f64 {
    ((qp.n() + qp.n_equality() + qp.n_inequality()) as f64).powi(3)
}

/// The layer in `slot` for problems of the structure of `qp`; a new one if there is none, or it served another structure, or
/// solutions from elsewhere with settings of their own.
fn layer_for<'a>(slot: &'a mut Option<Layer>, qp: &Qp, settings: &Settings) -> Result<&'a mut Layer, Error> {
    if slot.as_ref().is_some_and(|layer| layer.settings() != settings || !layer.takes(qp)) {
        *slot = None;
    }
    match slot {
        Some(layer) => Ok(layer),
        None => Ok(slot.insert(Layer::new(qp.clone(), settings.clone())?)),
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
        let Some(like) = qps.first() else { return Ok(Vec::new()) };
        let solutions = self.in_groups(
            (like, Some(structure.unwrap_or(like))),
            items.iter(),
            |k| Ok((qps[k].clone(), memory[items[k]].as_ref())),
            |slot, qp| layer_for(slot, structure.unwrap_or(qp), settings)?.update(qp.clone()),
            |solution, _| solution.clone(),
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

    /// Solves problems that are not instances of the batch, on its threads and with its factorizations, one for each of
    /// `items` and about as large as `like`: `make(k)` makes the problem and a starting point, `take(solution, items[k])` takes
    /// of the solution what is wanted, both on the thread that solves. Nothing is remembered but the factorizations. A
    /// structure other than the last one starts afresh. Results in order.
    pub fn solve_each<'a, I: Send, T: Send>(
        &self,
        like: &Qp,
        items: impl DoubleEndedIterator<Item = I> + ExactSizeIterator + Send,
        make: impl Fn(usize) -> Result<(Qp, Option<&'a Point>), Error> + Sync,
        take: impl Fn(&Solution, I) -> T + Sync,
    ) -> Result<Vec<Result<T, Error>>, Error> {
        let shown = |slot: &mut Option<Layer>, qp: &Qp| {
            if layer_for(slot, qp, &self.settings)?.update(qp.clone()).is_err() {
                *slot = None;
            }
            layer_for(slot, qp, &self.settings).map(|_| ())
        };
        self.in_groups((like, None), items, make, shown, take)
    }

    /// The loop of [`solve_each`](Self::solve_each), in groups of as many programs as are solved side by side; `show` makes the
    /// layer in a slot ready for one that is solved alone. If there is a `structure`, it is that of all.
    fn in_groups<'a, I: Send, T: Send>(
        &self,
        (like, structure): (&Qp, Option<&Qp>),
        items: impl Iterator<Item = I>,
        make: impl Fn(usize) -> Result<(Qp, Option<&'a Point>), Error> + Sync,
        show: impl Fn(&mut Option<Layer>, &Qp) -> Result<(), Error> + Sync,
        take: impl Fn(&Solution, I) -> T + Sync,
    ) -> Result<Vec<Result<T, Error>>, Error> {
        let width = if small::is_small(like) { small::lanes() } else { 1 };
        let mut items: Vec<Option<I>> = items.map(Some).collect();
        let mut out: Vec<Option<Result<T, Error>>> = items.iter().map(|_| None).collect();
        let cost = width as f64 * forward_cost(like);
        let groups = items.chunks_mut(width).zip(out.chunks_mut(width));
        let alone = |slot: &mut Option<Layer>, (qp, warm): (Qp, Option<&'a Point>), item: I| {
            show(slot, &qp)?;
            let layer = layer_for(slot, &qp, &self.settings)?;
            layer.solve_from(warm)?;
            Ok(take(if qp.kkt().is_of(like.kkt()) { layer.solution() } else { layer.packed() }, item))
        };
        self.workers.map(cost, groups, |slot, group, (items, out)| {
            let mut places = Vec::new();
            let mut qps = Vec::new();
            for (k, (item, out)) in items.iter_mut().zip(&mut *out).enumerate() {
                match make(group * width + k) {
                    Err(error) => *out = Some(Err(error)),
                    Ok((qp, None)) if width > 1 => {
                        places.push(k);
                        qps.push(qp);
                    }
                    Ok(made) => *out = item.take().map(|item| alone(slot, made, item)),
                }
            }
            let layer = qps.first().and_then(|qp| layer_for(slot, structure.unwrap_or(qp), &self.settings).ok());
            if let Some(layer) = layer.filter(|layer| qps.iter().all(|qp| layer.takes_lanes(qp))) {
                layer.solve_together(&qps, |lane, solution| {
                    let k = places[lane];
                    out[k] = items[k].take().map(|item| Ok(take(solution, item)));
                });
            }
            for (k, qp) in places.into_iter().zip(qps) {
                if let Some(item) = items[k].take() {
                    out[k] = Some(alone(slot, (qp, None), item));
                }
            }
        })?;
        Ok(out.into_iter().flatten().collect())
    }

    /// `derive(derivatives of solutions[k], k, items[k])`, on the threads: gradients, tangents, many
    /// cotangents at one solution, second derivatives; about `count` for each. The solutions need not be of this batch, but
    /// have its settings. Results in order.
    pub fn derive<S: Borrow<Solution> + Sync, I: Send, T: Send>(
        &self,
        solutions: &[S],
        count: usize,
        items: impl DoubleEndedIterator<Item = I> + ExactSizeIterator + Send,
        derive: impl Fn(&mut Derivatives<'_>, usize, I) -> Result<T, Error> + Sync,
    ) -> Result<Vec<Result<T, Error>>, Error> {
        if items.len() != solutions.len() {
            return Err(Error::length("items", items.len(), solutions.len(), "one per solution"));
        }
        let cost = count as f64 * solutions.first().map_or(0.0, |s| backward_cost(&s.borrow().qp));
        // with the factors of the forward pass gradients differ by rounding: of several, none may depend on who was the last
        let alone = solutions.len() == 1;
        let width = solutions.first().map_or(1, |s| if small::is_small(&s.borrow().qp) { small::lanes() } else { 1 });
        let mut items: Vec<Option<I>> = items.map(Some).collect();
        let mut out: Vec<Option<Result<T, Error>>> = items.iter().map(|_| None).collect();
        let groups = items.chunks_mut(width).zip(out.chunks_mut(width));
        self.workers.map(width as f64 * cost, groups, |slot, group, (items, out)| {
            let first = group * width;
            if let ([item], [out]) = (&mut *items, &mut *out) {
                let at = derivatives(slot, solutions[first].borrow(), &self.settings, alone);
                *out = item.take().map(|item| at.and_then(|mut at| derive(&mut at, first, item)));
                return;
            }
            let own: Vec<&Solution> = (first..first + items.len()).map(|k| solutions[k].borrow()).collect();
            let mut one = |at: Result<Derivatives<'_>, Error>, lane: usize| {
                if let Some(item) = items[lane].take() {
                    out[lane] = Some(at.and_then(|mut at| derive(&mut at, first + lane, item)));
                }
            };
            let mut together = Vec::new();
            let found = own.iter().find(|solution| solution.ok());
            if let Some(layer) = found.and_then(|solution| layer_of(slot, solution, &self.settings).ok()) {
                together.extend((0..own.len()).filter(|&k| layer.derives_in_lanes(own[k])));
                layer.factor_together(together.iter().map(|&k| own[k]));
                for (lane, &k) in together.iter().enumerate() {
                    one(layer.derivatives_in(lane, own[k]), k);
                }
            }
            for (k, solution) in own.into_iter().enumerate().filter(|(k, _)| !together.contains(k)) {
                one(derivatives(slot, solution, &self.settings, false), k);
            }
        })?;
        Ok(out.into_iter().flatten().collect())
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
        if solutions.len() != cotangents.len() {
            let advice = "one cotangent per solution";
            return Err(Error::length("cotangents", cotangents.len(), solutions.len(), advice));
        }
        self.derive(solutions, 1, cotangents.iter(), |at, _, cotangent| {
            let gradient = at.vjp(cotangent, wrt)?.clone();
            Ok((gradient, at.verdict()))
        })
    }
}

/// Gradients of many solutions of one structure, `threads` at a time (0: all cores).
pub fn vjp_batch(
    solutions: &[&Solution],
    cotangents: &[Cotangent],
    wrt: Wrt,
    threads: usize,
) -> Result<Gradients, Error> {
    let settings = solutions.first().map_or_else(Settings::default, |s| s.settings.clone());
    Batch::new(Vec::new(), Settings { threads, ..settings })?.vjp(solutions, cotangents, wrt)
}

/// The derivatives of a solution on the layer in `slot`; what that knows of the solution, where it is `alone`, is used.
fn derivatives<'a>(
    slot: &'a mut Option<Layer>,
    solution: &'a Solution,
    settings: &Settings,
    alone: bool,
) -> Result<Derivatives<'a>, Error> {
    if !solution.ok() {
        return Err(Error::NoSolution { status: solution.status });
    }
    let layer = layer_of(slot, solution, settings)?;
    if alone { layer.derivatives_of(solution) } else { layer.derivatives_anew(solution) }
}

/// The layer in `slot` to differentiate a solution with; a new one if there is none, or it differentiates another way, or
/// served another structure. A new one has the settings of the batch: it is to solve there too, and can be interrupted.
fn layer_of<'a>(slot: &'a mut Option<Layer>, solution: &Solution, settings: &Settings) -> Result<&'a mut Layer, Error> {
    if slot.as_ref().is_some_and(|layer| !layer.serves(solution)) {
        *slot = None;
    }
    match slot {
        Some(layer) => Ok(layer),
        None => {
            let own = &solution.settings;
            let settings = if settings.backward == own.backward { settings } else { own };
            Ok(slot.insert(Layer::new(solution.qp.clone(), settings.clone())?))
        }
    }
}
