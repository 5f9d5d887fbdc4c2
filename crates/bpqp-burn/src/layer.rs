//! The layer: problems fixed at construction, tensors for what is learned.

use crate::block::{AnyTensor, BLOCKS};
use crate::op::{Parents, Slot, Tape, TapeData, record, tensor_data};
use crate::{Arguments, Block, LayerError};
use bpqp::{Batch, Error, Hessian, Matrix, Qp, Settings, Solution, Status};
use burn::tensor::{DType, Device, Tensor};
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

/// Wall-clock time in the core since the last call of [`QpLayer::take_timing`].
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

/// The solutions of one forward pass.
#[derive(Debug, Clone)]
pub struct Output {
    /// Minimizers, batch x n.
    pub x: Tensor<2>,
    /// Multipliers, if the layer was built with [`QpLayer::with_multipliers`].
    pub multipliers: Option<Multipliers>,
    /// How each instance ended; all of them are fine under [`OnFailure::Error`].
    pub status: Vec<Status>,
    /// Instances whose data the core refused (NaN, `lb > ub`, ...) and why; their status is `NumericalFailure`. Empty
    /// under [`OnFailure::Error`].
    pub refused: Vec<(usize, Error)>,
}

/// Lagrange multipliers of a batch, differentiable like the minimizers.
#[derive(Debug, Clone)]
pub struct Multipliers {
    /// Of `A x = b`, batch x m, free.
    pub y: Tensor<2>,
    /// Of `G x <= h`, batch x p, nonnegative.
    pub z: Tensor<2>,
    /// Of the bounds, batch x n, positive at the upper bound.
    pub z_box: Tensor<2>,
}

/// A batch of quadratic programs as a differentiable function of the tensors that replace some of their blocks.
///
/// Instance `i` is
///
/// ```text
/// x_i = argmin 1/2 x'P_i x + q_i'x   subject to   A_i x = b_i,  G_i x <= h_i,  lb_i <= x <= ub_i
/// ```
///
/// and the backward step sends `dL/dx_i` (and cotangents of the multipliers) to every argument that tracks gradients.
/// With `w` the minimizer of `1/2 w'P w + (dL/dx)'w` over `A w = 0, w = 0` on active bounds and `G w = 0` on active
/// rows (Theorem 1 of the paper), and `wy` its multipliers,
///
/// ```text
/// dL/dq = w     dL/dP = (w x' + x w')/2     dL/dA = y w' + wy x'     dL/db = -wy
/// ```
///
/// The layer remembers the last solution of each instance and starts from it when the instance comes back, as samples
/// do in the next epoch. Tensors may be single precision; everything inside is double precision. Clones share the
/// memory of warm starts.
#[derive(Clone)]
pub struct QpLayer {
    problems: Arc<Vec<Qp>>,
    batch: Arc<Mutex<Batch>>,
    on_failure: OnFailure,
    multipliers: bool,
    timing: Arc<Mutex<Timing>>,
}

impl std::fmt::Debug for QpLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QpLayer").field("instances", &self.problems.len()).field("sizes", &self.sizes()).finish()
    }
}

fn sizes(qp: &Qp) -> (usize, usize, usize) {
    (qp.n(), qp.n_equality(), qp.n_inequality())
}

impl QpLayer {
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
        Ok(QpLayer {
            problems: Arc::new(problems),
            batch: Arc::new(Mutex::new(batch)),
            on_failure: OnFailure::default(),
            multipliers: false,
            timing: Arc::default(),
        })
    }

    /// A layer whose `instances` instances share one problem: its factorization is shared too.
    pub fn shared(problem: Qp, instances: usize, settings: Settings) -> Result<Self, LayerError> {
        QpLayer::new(vec![problem; instances], settings)
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

    /// Solves every instance; see [`QpLayer::forward_at`].
    pub fn forward(&self, arguments: Arguments) -> Result<Output, LayerError> {
        let all: Vec<usize> = (0..self.instances()).collect();
        self.forward_at(&all, arguments)
    }

    /// Solves the instances named by `index`, with the blocks named in `arguments` replaced. Row k of the output and
    /// of every batched argument belongs to instance `index[k]`.
    pub fn forward_at(&self, index: &[usize], arguments: Arguments) -> Result<Output, LayerError> {
        self.check_index(index)?;
        let slots = self.slots(index.len(), &arguments)?;
        let mut outcomes = self.replaced(index, &arguments, &slots);
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
        self.output(index, solutions, &arguments, slots)
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

    fn slots(&self, batch: usize, arguments: &Arguments) -> Result<[Option<Slot>; BLOCKS], LayerError> {
        let (n, m, p) = self.sizes();
        let mut slots: [Option<Slot>; BLOCKS] = Default::default();
        for block in Block::ALL {
            let Some(tensor) = arguments.get(block) else { continue };
            let expected = match block {
                Block::P => vec![n, n],
                Block::Q | Block::Lb | Block::Ub | Block::D => vec![n],
                // its rank is its own
                Block::F => vec![n, tensor.shape().last().copied().unwrap_or(0)],
                Block::A => vec![m, n],
                Block::B => vec![m],
                Block::G => vec![p, n],
                Block::H => vec![p],
            };
            let shape = tensor.shape();
            let batched = shape.len() > expected.len();
            let good = if batched { shape[0] == batch && shape[1..] == expected[..] } else { shape == expected };
            if !good {
                return Err(LayerError::Shape { block, found: shape, expected, batch });
            }
            slots[block as usize] = Some(Slot { shape, batched, tracked: tensor.is_tracked() });
        }
        Ok(slots)
    }

    /// The problems of this call: the layer's own with the blocks in `arguments` replaced.
    fn replaced(
        &self,
        index: &[usize],
        arguments: &Arguments,
        slots: &[Option<Slot>; BLOCKS],
    ) -> Vec<Result<Qp, Error>> {
        let (n, m, p) = self.sizes();
        let data: [Option<Vec<f64>>; BLOCKS] =
            std::array::from_fn(|k| arguments.tensors[k].as_ref().map(AnyTensor::to_f64));
        let row = |block: Block, k: usize, size: usize| -> Option<&[f64]> {
            let (slot, data) = (slots[block as usize].as_ref()?, data[block as usize].as_ref()?);
            Some(if slot.batched { &data[k * size..(k + 1) * size] } else { &data[..] })
        };
        let build = |k: usize, mut qp: Qp| -> Result<Qp, Error> {
            if let Some(v) = row(Block::P, k, n * n) {
                qp = qp.with_p(Hessian::from_rows(n, v)?)?;
            }
            if let (Some(d), Some(slot)) = (row(Block::D, k, n), &slots[Block::F as usize]) {
                let rank = slot.shape.last().copied().unwrap_or(0);
                let f = row(Block::F, k, n * rank).unwrap_or_default();
                let f = faer::Mat::from_fn(n, rank, |i, j| f[i * rank + j]);
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
        let shared = |block: Block| slots[block as usize].as_ref().is_some_and(|slot| !slot.batched);
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
        arguments: &Arguments,
        slots: [Option<Slot>; BLOCKS],
    ) -> Result<Output, LayerError> {
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

        let (device, dtype) = self.place(arguments);
        let output: Tensor<2> =
            Tensor::from_data(tensor_data(values, vec![index.len(), width], dtype), (&device, dtype));
        let tracked = slots.iter().flatten().any(|slot| slot.tracked);
        let refused = index.iter().zip(&solutions).filter_map(|(&i, s)| Some((i, s.as_ref().err()?.clone()))).collect();
        let output = if tracked {
            let solutions = solutions.into_iter().map(|s| s.ok().filter(|s| s.ok())).collect();
            let tape = Tape(Arc::new(TapeData {
                solutions,
                slots,
                sizes: (n, m, p),
                multipliers: self.multipliers,
                on_failure: self.on_failure,
                batch: self.batch.clone(),
                timing: self.timing.clone(),
            }));
            Tensor::from_dispatch(record(parents(arguments, &device), output.into_dispatch(), tape))
        } else {
            output
        };
        if !self.multipliers {
            return Ok(Output { x: output, multipliers: None, status, refused });
        }
        let part = |from: usize, size: usize| output.clone().slice([0..index.len(), from..from + size]);
        let multipliers = Multipliers { y: part(n, m), z: part(n + m, p), z_box: part(n + m + p, n) };
        Ok(Output { x: part(0, n), multipliers: Some(multipliers), status, refused })
    }

    /// Where the result goes: the device and precision of the first argument; a default without arguments.
    fn place(&self, arguments: &Arguments) -> (Device, DType) {
        let order =
            [Block::Q, Block::B, Block::H, Block::Lb, Block::Ub, Block::P, Block::A, Block::G, Block::D, Block::F];
        match order.iter().find_map(|&block| arguments.get(block)) {
            Some(tensor) => (tensor.device(), tensor.dtype()),
            None => (Device::default(), DType::F32),
        }
    }
}

/// The arguments as the operation takes them, constants where there are none.
fn parents(arguments: &Arguments, device: &Device) -> Parents<burn::backend::Dispatch> {
    let nothing: Tensor<1> = Tensor::zeros([1], device);
    let get = |block: Block| match arguments.get(block) {
        Some(tensor) => tensor.clone().into_dispatch(),
        None => nothing.clone().into_dispatch(),
    };
    Parents {
        p: get(Block::P),
        q: get(Block::Q),
        a: get(Block::A),
        b: get(Block::B),
        g: get(Block::G),
        h: get(Block::H),
        lb: get(Block::Lb),
        ub: get(Block::Ub),
        d: get(Block::D),
        f: get(Block::F),
    }
}
