//! Many problems of one structure: threads, and failures that stay with their instance.

use super::{
    Conic, ConicCotangent, ConicGradient, ConicLayer, ConicSolution, ConicSolutionTangent, ConicTangent, ConicWrt,
};
use crate::threads::{Workers, count, share};
use crate::{Error, Settings, Verdict};

/// Per instance a gradient with the verdict on it, or why there is none.
pub type ConicGradients = Vec<Result<(ConicGradient, Verdict), Error>>;
/// Per instance a tangent with the verdict on it, or why there is none.
pub type ConicTangents = Vec<Result<(ConicSolutionTangent, Verdict), Error>>;

/// What a conic program takes at least, in nanoseconds: threads are worth waking for a few.
const COST: f64 = 50e3;

/// A batch of conic programs of one structure. Every instance keeps a [`ConicLayer`] of its own, and with it its symbolic
/// work and the factorization of its last solution.
pub struct ConicBatch {
    layers: Vec<ConicLayer>,
    threads: usize,
}

impl ConicBatch {
    /// A batch of these instances, which must have one structure.
    pub fn new(conics: Vec<Conic>, settings: Settings) -> Result<Self, Error> {
        settings.validate()?;
        if !conics.iter().all(|c| same_structure(&conics[0], c)) {
            let reason = "an instance has other patterns or cones than instance 0";
            return Err(Error::Structure { argument: "conics", reason });
        }
        let threads = count(settings.threads);
        let layers = share(threads, COST, conics.into_iter(), |_, _, conic| ConicLayer::new(conic, settings.clone()))?;
        Ok(ConicBatch { layers: layers.into_iter().collect::<Result<_, _>>()?, threads })
    }

    /// Number of instances.
    pub fn len(&self) -> usize {
        self.layers.len()
    }

    /// True without instances.
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// The layer of instance `i`.
    pub fn layer(&mut self, i: usize) -> &mut ConicLayer {
        &mut self.layers[i]
    }

    /// Gives every instance new numbers, see [`ConicLayer::update`]: each slice holds those of all instances one after the
    /// other, or of one that is meant for all.
    pub fn update(
        &mut self,
        p: Option<&[f64]>,
        q: Option<&[f64]>,
        a: Option<&[f64]>,
        b: Option<&[f64]>,
    ) -> Result<(), Error> {
        let Some(first) = self.layers.first() else { return Ok(()) };
        let conic = first.conic();
        let lengths = [conic.p().map_or(0, |p| p.nnz()), conic.n(), conic.a().nnz(), conic.m()];
        let count = self.layers.len();
        for ((argument, v), one) in [("P", p), ("q", q), ("A", a), ("b", b)].into_iter().zip(lengths) {
            if let Some(v) = v.filter(|v| v.len() != one && v.len() != one * count) {
                let advice = "values of one instance for all, or of every instance one after the other";
                return Err(Error::length(argument, v.len(), one * count, advice));
            }
        }
        for (i, layer) in self.layers.iter_mut().enumerate() {
            let part = |v: Option<&'_ [f64]>, one: usize| -> Option<Vec<f64>> {
                v.map(|v| if v.len() == one { v.to_vec() } else { v[i * one..(i + 1) * one].to_vec() })
            };
            let [p, q, a, b] = [part(p, lengths[0]), part(q, lengths[1]), part(a, lengths[2]), part(b, lengths[3])];
            layer.update(p.as_deref(), q.as_deref(), a.as_deref(), b.as_deref())?;
        }
        Ok(())
    }

    /// Solves every instance. A failure is the result of its own instance only.
    pub fn solve(&mut self) -> Result<Vec<Result<ConicSolution, Error>>, Error> {
        self.each(|_, layer| layer.solve().cloned())
    }

    /// Gradients at solutions of this batch (solution i belongs to instance i), with the verdict on each.
    pub fn vjp(
        &mut self,
        solutions: &[&ConicSolution],
        cotangents: &[ConicCotangent<'_>],
        wrt: ConicWrt,
    ) -> Result<ConicGradients, Error> {
        self.check(solutions.len(), cotangents.len())?;
        self.each(|i, layer| {
            layer.adopt(solutions[i])?;
            let gradient = layer.vjp(&cotangents[i], wrt)?;
            Ok((gradient, layer.verdict()))
        })
    }

    /// Tangents at solutions of this batch, with the verdict on each.
    pub fn jvp(&mut self, solutions: &[&ConicSolution], tangents: &[ConicTangent<'_>]) -> Result<ConicTangents, Error> {
        self.check(solutions.len(), tangents.len())?;
        self.each(|i, layer| {
            layer.adopt(solutions[i])?;
            let tangent = layer.jvp(&tangents[i])?;
            Ok((tangent, layer.verdict()))
        })
    }

    /// `f(i, layer)` for every instance, on the threads; results in order.
    pub fn each<T: Send>(
        &mut self,
        f: impl Fn(usize, &mut ConicLayer) -> Result<T, Error> + Sync,
    ) -> Result<Vec<Result<T, Error>>, Error> {
        share(self.threads, COST, self.layers.iter_mut(), |_, i, layer| f(i, layer))
    }

    fn check(&self, solutions: usize, inputs: usize) -> Result<(), Error> {
        let advice = "one per instance of the batch";
        match (solutions == self.len(), inputs == self.len()) {
            (true, true) => Ok(()),
            (false, _) => Err(Error::length("solutions", solutions, self.len(), advice)),
            _ => Err(Error::length("cotangents", inputs, self.len(), advice)),
        }
    }
}

/// Threads with a [`ConicLayer`] each, for problems of one structure that come and go: blocks that they share by address
/// are factored once per thread. Nothing is remembered of a problem.
pub struct ConicWorkers {
    workers: Workers<ConicLayer>,
    settings: Settings,
}

impl ConicWorkers {
    /// Threads as many as the settings say.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        settings.validate()?;
        Ok(ConicWorkers { workers: Workers::new(settings.threads), settings })
    }

    /// The settings they solve with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// `f` over `0..n` on the threads, for what needs no layer. Results in order.
    pub fn each<T: Send>(
        &self,
        n: usize,
        f: impl Fn(usize) -> Result<T, Error> + Sync,
    ) -> Result<Vec<Result<T, Error>>, Error> {
        self.workers.map(COST, 0..n, |_, _, k| f(k))
    }

    /// Solves `n` problems, `problem(k)` and where it starts: `x, s, y, z_box`. Results in order.
    pub fn solve<'a>(
        &self,
        n: usize,
        problem: impl Fn(usize) -> Result<(Conic, Option<[&'a [f64]; 4]>), Error> + Sync,
    ) -> Result<Vec<Result<ConicSolution, Error>>, Error> {
        self.workers.map(COST, 0..n, |slot, _, k| {
            let (conic, warm) = problem(k)?;
            let fits = |layer: &mut ConicLayer| same_structure(layer.conic(), &conic);
            let kept = slot.as_mut().is_some_and(|layer| fits(layer) && layer.replace(conic.clone()).is_ok());
            let layer = match slot {
                Some(layer) if kept => layer,
                _ => slot.insert(ConicLayer::new(conic, self.settings.clone())?),
            };
            layer.solve_from_point(warm).cloned()
        })
    }

    /// `derive(layer, k, items[k])` at each of the solutions, which the layer then holds. Results in order.
    pub fn derive<I: Send, T: Send>(
        &self,
        solutions: &[Option<&ConicSolution>],
        items: impl DoubleEndedIterator<Item = I> + ExactSizeIterator + Send,
        derive: impl Fn(&mut ConicLayer, usize, I) -> Result<T, Error> + Sync,
    ) -> Result<Vec<Result<T, Error>>, Error> {
        if items.len() != solutions.len() {
            return Err(Error::length("items", items.len(), solutions.len(), "one per solution"));
        }
        self.workers.map(COST, items, |slot, k, item| {
            let solution = solutions[k].ok_or(Error::NoSolution { status: crate::Status::NumericalFailure })?;
            let kept = slot.as_mut().is_some_and(|layer| layer.adopt(solution).is_ok());
            let layer = match slot {
                Some(layer) if kept => layer,
                _ => {
                    let mut layer = ConicLayer::new(solution.conic().clone(), solution.settings().clone())?;
                    layer.adopt(solution)?;
                    slot.insert(layer)
                }
            };
            derive(layer, k, item)
        })
    }
}

fn same_structure(a: &Conic, b: &Conic) -> bool {
    let same_p = match (a.p(), b.p()) {
        (Some(a), Some(b)) => a.same_pattern(b),
        (None, None) => true,
        _ => false,
    };
    same_p && a.p_is_factored() == b.p_is_factored() && a.a().same_pattern(b.a()) && a.cones() == b.cones()
}
