//! The layer: problems fixed at construction, arrays for what is learned.

use super::tape::{Solutions, Tape, slots};
use super::{Arrays, BLOCKS, Block, LayerError};
use crate::{Batch, Error, Hessian, Matrix, Qp, Settings, Solution, Status};
use faer::Mat;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// What becomes of an instance without a solution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// The forward pass is an error that names the instances. A gradient that the core refuses is NaN.
    #[default]
    Error,
    /// NaN solution, NaN gradient; the other instances are not affected (an argument that the batch shares gets the
    /// sum, which is NaN).
    Nan,
    /// The last iterate, or NaN where there is none, and a zero gradient.
    ZeroGradient,
}

impl OnFailure {
    /// What the gradient of an instance without one is: NaN, never a finite number that is no gradient, unless zeros were
    /// asked for. An instance whose cotangent is zero does not matter to the loss: so that a masked loss is not spoiled by
    /// what it leaves out, its gradient is zero.
    pub fn absent(self, cotangent_is_zero: bool) -> f64 {
        if self == OnFailure::ZeroGradient || cotangent_is_zero { 0.0 } else { f64::NAN }
    }
}

/// Wall-clock time in the core since the last call of [`ArrayLayer::take_timing`].
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Timing {
    /// Seconds in forward solves.
    pub forward_seconds: f64,
    /// Problems solved.
    pub forward_count: usize,
    /// Iterations of the forward solver, over all problems.
    pub forward_iterations: usize,
    /// Seconds in backward solves.
    pub backward_seconds: f64,
    /// Gradients computed.
    pub backward_count: usize,
    /// Gradients that the core refused to give; they are NaN, or zero under [`OnFailure::ZeroGradient`].
    pub backward_refused: usize,
    /// Gradients with the verdict `Untrusted`: the active set could not be verified.
    pub backward_untrusted: usize,
}

/// The outputs of one forward pass.
#[derive(Debug, Clone)]
pub struct Solved {
    /// Row-major, a row for each instance of the call: x, and with multipliers `y`, `z`, `z_box`.
    pub values: Vec<f64>,
    /// The length of a row.
    pub width: usize,
    /// How each instance ended; all of them are fine under [`OnFailure::Error`].
    pub status: Vec<Status>,
    /// Instances whose data the core refused (NaN, `lb > ub`, ...) and why; their status is `NumericalFailure`. Empty
    /// under [`OnFailure::Error`].
    pub refused: Vec<(usize, Error)>,
    /// The way back.
    pub tape: Tape,
}

/// A batch of quadratic programs as a differentiable function of the arrays that replace some of their blocks.
///
/// It remembers the last solution of each instance and starts from it when the instance comes back. Clones share that memory.
#[derive(Clone)]
pub struct ArrayLayer {
    problems: Arc<Vec<Qp>>,
    batch: Arc<Mutex<Batch>>,
    on_failure: OnFailure,
    multipliers: bool,
    timing: Arc<Mutex<Timing>>,
}

impl std::fmt::Debug for ArrayLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ArrayLayer").field("instances", &self.problems.len()).field("sizes", &self.sizes()).finish()
    }
}

fn sizes(qp: &Qp) -> (usize, usize, usize) {
    (qp.n(), qp.n_equality(), qp.n_inequality())
}

impl ArrayLayer {
    /// A layer with one problem per instance, all of one shape.
    pub fn new(problems: Vec<Qp>, settings: Settings) -> Result<Self, LayerError> {
        let expected = sizes(problems.first().ok_or(LayerError::NoProblem)?);
        for (index, problem) in problems.iter().enumerate() {
            if sizes(problem) != expected {
                return Err(LayerError::Sizes { index, found: sizes(problem), expected });
            }
        }
        let batch =
            Batch::new(problems.clone(), settings).map_err(|source| LayerError::Problem { index: 0, source })?;
        Ok(ArrayLayer {
            problems: Arc::new(problems),
            batch: Arc::new(Mutex::new(batch)),
            on_failure: OnFailure::default(),
            multipliers: false,
            timing: Arc::default(),
        })
    }

    /// A layer whose `instances` instances share one problem: its factorization is shared too.
    pub fn shared(problem: Qp, instances: usize, settings: Settings) -> Result<Self, LayerError> {
        ArrayLayer::new(vec![problem; instances], settings)
    }

    /// With another policy for instances without a solution.
    pub fn on_failure(mut self, policy: OnFailure) -> Self {
        self.on_failure = policy;
        self
    }

    /// With multipliers in the output.
    pub fn with_multipliers(mut self) -> Self {
        self.multipliers = true;
        self
    }

    /// True with multipliers in the output.
    pub fn multipliers(&self) -> bool {
        self.multipliers
    }

    /// The number of instances.
    pub fn instances(&self) -> usize {
        self.problems.len()
    }

    /// The problem of an instance, as given at construction.
    pub fn problem(&self, index: usize) -> Option<&Qp> {
        self.problems.get(index)
    }

    /// Variables, equalities, inequalities.
    pub fn sizes(&self) -> (usize, usize, usize) {
        sizes(&self.problems[0])
    }

    /// Time spent in the core since the last call.
    pub fn take_timing(&self) -> Timing {
        std::mem::take(&mut *self.timing.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Solves every instance; see [`ArrayLayer::forward_at`].
    pub fn forward(&self, arrays: Arrays) -> Result<Solved, LayerError> {
        let all: Vec<usize> = (0..self.instances()).collect();
        self.forward_at(&all, arrays)
    }

    /// Solves the instances named by `index`, with the blocks that `arrays` has replaced. Row k of the output and of every
    /// batched array belongs to instance `index[k]`. What has no batch dimension is shared.
    pub fn forward_at(&self, index: &[usize], arrays: Arrays) -> Result<Solved, LayerError> {
        self.check_index(index)?;
        let batched = self.batched(index.len(), &arrays)?;
        let mut outcomes = self.replaced(index, &arrays, batched);
        let slots = slots(&arrays, batched);
        drop(arrays);
        self.refuse(index, &outcomes)?;
        let started = Instant::now();
        // Only what the core accepted is solved; what it refused stays where it is in the batch.
        let good: Vec<usize> = (0..index.len()).filter(|&k| outcomes[k].is_ok()).collect();
        let items: Vec<usize> = good.iter().map(|&k| index[k]).collect();
        let problems: Vec<Qp> = good.iter().filter_map(|&k| outcomes[k].as_ref().ok().cloned()).collect();
        let solved = self.batch.lock().unwrap_or_else(PoisonError::into_inner).solve(&items, problems);
        let solved = solved.map_err(|source| LayerError::Problem { index: index[0], source })?;
        let mut solutions: Vec<Result<Solution, Error>> = Vec::with_capacity(index.len());
        let mut solved = solved.into_iter();
        for outcome in outcomes.drain(..) {
            solutions.push(match (outcome, &mut solved) {
                (Err(error), _) => Err(error),
                (Ok(_), solved) => solved.next().unwrap_or(Err(Error::NoSolution { status: Status::NumericalFailure })),
            });
        }
        self.refuse(index, &solutions)?;
        let mut timing = self.timing.lock().unwrap_or_else(PoisonError::into_inner);
        timing.forward_seconds += started.elapsed().as_secs_f64();
        timing.forward_count += items.len();
        timing.forward_iterations += solutions.iter().flatten().map(|s| s.info.iterations).sum::<usize>();
        drop(timing);
        self.output(index, solutions, slots)
    }

    /// Under [`OnFailure::Error`] data that the core refuses are an error of the call.
    fn refuse<T>(&self, index: &[usize], outcomes: &[Result<T, Error>]) -> Result<(), LayerError> {
        let refused = index.iter().zip(outcomes).find_map(|(&i, o)| Some((i, o.as_ref().err()?)));
        match refused {
            Some((index, source)) if self.on_failure == OnFailure::Error => {
                Err(LayerError::Problem { index, source: source.clone() })
            }
            _ => Ok(()),
        }
    }

    fn check_index(&self, index: &[usize]) -> Result<(), LayerError> {
        let mut seen = vec![false; self.instances()];
        for (position, &i) in index.iter().enumerate() {
            match seen.get_mut(i) {
                None => return Err(LayerError::Index { position, index: i, instances: self.instances() }),
                Some(true) => return Err(LayerError::Repeated { position, index: i }),
                Some(seen) => *seen = true,
            }
        }
        if index.is_empty() { Err(LayerError::NoProblem) } else { Ok(()) }
    }

    /// Which arrays have a batch dimension; an array of a wrong shape is refused.
    fn batched(&self, batch: usize, arrays: &Arrays) -> Result<[bool; BLOCKS], LayerError> {
        let (n, m, p) = self.sizes();
        let mut out = [false; BLOCKS];
        for block in Block::ALL {
            let Some(array) = &arrays[block as usize] else { continue };
            let shape = &array.shape;
            let expected = match block {
                Block::P => vec![n, n],
                Block::Q | Block::Lb | Block::Ub | Block::D => vec![n],
                // its rank is its own
                Block::F => vec![n, shape.last().copied().unwrap_or(0)],
                Block::A => vec![m, n],
                Block::B => vec![m],
                Block::G => vec![p, n],
                Block::H => vec![p],
            };
            let batched = shape.len() > expected.len();
            let good = if batched { shape[0] == batch && shape[1..] == expected[..] } else { *shape == expected };
            if !good || array.values.len() != shape.iter().product::<usize>() {
                return Err(LayerError::Shape { block, found: shape.clone(), expected, batch });
            }
            out[block as usize] = batched;
        }
        Ok(out)
    }

    /// The problems of this call: the layer's own with the blocks in `arguments` replaced.
    fn replaced(&self, index: &[usize], arrays: &Arrays, batched: [bool; BLOCKS]) -> Vec<Result<Qp, Error>> {
        let (n, m, p) = self.sizes();
        let row = |block: Block, k: usize, size: usize| -> Option<&[f64]> {
            let data = &arrays[block as usize].as_ref()?.values;
            Some(if batched[block as usize] { &data[k * size..(k + 1) * size] } else { &data[..] })
        };
        let build = |k: usize, mut qp: Qp| -> Result<Qp, Error> {
            if let Some(v) = row(Block::P, k, n * n) {
                qp = qp.with_p(Hessian::from_rows(n, v)?)?;
            }
            if let (Some(d), Some(array)) = (row(Block::D, k, n), &arrays[Block::F as usize]) {
                let rank = array.shape.last().copied().unwrap_or(0);
                let f = row(Block::F, k, n * rank).unwrap_or_default();
                let f = Mat::from_fn(n, rank, |i, j| f[i * rank + j]);
                qp = qp.with_p(Hessian::low_rank(d.to_vec(), f)?)?;
            }
            if let Some(v) = row(Block::Q, k, n) {
                qp = qp.with_q(v.to_vec())?;
            }
            let b = row(Block::B, k, m);
            if let Some(v) = row(Block::A, k, m * n) {
                let b = b.map_or_else(|| qp.b().to_vec(), <[f64]>::to_vec);
                qp = qp.equality(Matrix::from_rows(m, n, v)?, b)?;
            } else if let Some(b) = b {
                qp = qp.with_b(b.to_vec())?;
            }
            let h = row(Block::H, k, p);
            if let Some(v) = row(Block::G, k, p * n) {
                let h = h.map_or_else(|| qp.h().to_vec(), <[f64]>::to_vec);
                qp = qp.inequality(Matrix::from_rows(p, n, v)?, h)?;
            } else if let Some(h) = h {
                qp = qp.with_h(h.to_vec())?;
            }
            let (lb, ub) = (row(Block::Lb, k, n), row(Block::Ub, k, n));
            if lb.is_some() || ub.is_some() {
                let lb = lb.map_or_else(|| qp.lb().to_vec(), <[f64]>::to_vec);
                let ub = ub.map_or_else(|| qp.ub().to_vec(), <[f64]>::to_vec);
                qp = qp.bounds(lb, ub)?;
            }
            Ok(qp)
        };
        let mut problems: Vec<Result<Qp, Error>> = Vec::with_capacity(index.len());
        // A matrix that the batch shares is factored once: instances must hold one copy of it.
        let matrices = [Block::P, Block::A, Block::G];
        let shared = |block: Block| arrays[block as usize].is_some() && !batched[block as usize];
        let shares = matrices.into_iter().any(shared) || (shared(Block::D) && shared(Block::F));
        for (k, &i) in index.iter().enumerate() {
            let mut problem = build(k, self.problems[i].clone());
            if let (true, Ok(qp), Some(Ok(first))) = (shares, &mut problem, problems.first()) {
                *qp = qp.clone().share_with(first);
            }
            problems.push(problem);
        }
        problems
    }

    fn output(
        &self,
        index: &[usize],
        solutions: Vec<Result<Solution, Error>>,
        slots: [Option<super::tape::Slot>; BLOCKS],
    ) -> Result<Solved, LayerError> {
        let (n, m, p) = self.sizes();
        let width = if self.multipliers { 2 * n + m + p } else { n };
        let status = solutions.iter().map(|s| s.as_ref().map_or(Status::NumericalFailure, |s| s.status));
        let status: Vec<Status> = status.collect();
        let failed: Vec<(usize, Status)> =
            index.iter().zip(&status).filter(|(_, s)| !s.ok()).map(|(&i, &s)| (i, s)).collect();
        if self.on_failure == OnFailure::Error && !failed.is_empty() {
            return Err(LayerError::Failed { failed, batch: index.len() });
        }
        let mut values = Vec::with_capacity(index.len() * width);
        for solution in &solutions {
            let from = values.len();
            let usable = |s: &&Solution| s.ok() || self.on_failure == OnFailure::ZeroGradient;
            if let Some(solution) = solution.as_ref().ok().filter(usable) {
                values.extend_from_slice(&solution.x);
                if self.multipliers {
                    for part in [&solution.y, &solution.z, &solution.z_box] {
                        values.extend_from_slice(part);
                    }
                }
            }
            values.truncate(from + width);
            values.resize(from + width, f64::NAN);
        }

        let refused = index.iter().zip(&solutions).filter_map(|(&i, s)| Some((i, s.as_ref().err()?.clone()))).collect();
        let solutions = solutions.into_iter().map(|s| s.ok().filter(|s| s.ok())).collect();
        let tape = Tape(Arc::new(Solutions {
            solutions,
            slots,
            sizes: (n, m, p),
            multipliers: self.multipliers,
            on_failure: self.on_failure,
            batch: self.batch.clone(),
            timing: self.timing.clone(),
        }));
        Ok(Solved { values, width, status, refused, tape })
    }
}
