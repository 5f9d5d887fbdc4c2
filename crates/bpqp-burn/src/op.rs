//! The operation on burn's autodiff tape: a solved batch whose backward step calls the core.
//!
//! The forward pass is not here: by the time a tensor gets onto the tape the problems are solved, so the two passes
//! share nothing but the solutions, and a failing solve is an error of the layer, not a panic inside the tape.

use crate::block::BLOCKS;
use crate::{Block, OnFailure, Timing};
use bpqp::{Batch, Cotangent, Gradient, Hessian, Solution, Verdict, Wrt};
use burn::backend::autodiff::{
    Autodiff,
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, ExtensionType, Flex, TensorMetadata, backend_extension, read_sync};
use burn::tensor::{DType, TensorData};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// One tensor for each block; a constant where the block is not replaced.
#[derive(ExtensionType)]
pub struct Parents<B: Backend> {
    pub p: FloatTensor<B>,
    pub q: FloatTensor<B>,
    pub a: FloatTensor<B>,
    pub b: FloatTensor<B>,
    pub g: FloatTensor<B>,
    pub h: FloatTensor<B>,
    pub lb: FloatTensor<B>,
    pub ub: FloatTensor<B>,
    pub d: FloatTensor<B>,
    pub f: FloatTensor<B>,
}

/// Puts a finished forward pass on the tape.
#[backend_extension(Autodiff, Flex)]
pub trait RecordSolve: Backend {
    /// Returns `output` as a function of `parents`, whose derivative is on `tape`.
    fn record_solve(
        #[extension_type] parents: Parents<Self>,
        output: FloatTensor<Self>,
        tape: Tape,
    ) -> FloatTensor<Self>;
}

pub(crate) fn record(parents: Parents<Dispatch>, output: FloatTensor<Dispatch>, tape: Tape) -> FloatTensor<Dispatch> {
    <Dispatch as RecordSolve>::record_solve(parents, output, tape)
}

impl RecordSolve for Flex {
    fn record_solve(_: Parents<Self>, output: FloatTensor<Self>, _: Tape) -> FloatTensor<Self> {
        output
    }
}

impl<B: Backend + RecordSolve, C: CheckpointStrategy> RecordSolve for Autodiff<B, C> {
    fn record_solve(parents: Parents<Self>, output: FloatTensor<Self>, tape: Tape) -> FloatTensor<Self> {
        let Parents { p, q, a, b, g, h, lb, ub, d, f } = parents;
        let nodes =
            [p.node(), q.node(), a.node(), b.node(), g.node(), h.node(), lb.node(), ub.node(), d.node(), f.node()];
        match SolveBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(tape, output.into_primitive()),
            OpsKind::UnTracked(prep) => prep.finish(output.into_primitive()),
        }
    }
}

/// How a replaced block looks from outside.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    /// Shape of the tensor, batch dimension included if it has one.
    pub shape: Vec<usize>,
    /// False if the batch shares the tensor.
    pub batched: bool,
    /// Does it track gradients?
    pub tracked: bool,
}

/// What the backward step needs: the solutions, and where the gradients go.
#[derive(Clone)]
pub struct Tape(pub(crate) Arc<TapeData>);

pub(crate) struct TapeData {
    /// `None` where the instance failed.
    pub solutions: Vec<Option<Solution>>,
    pub slots: [Option<Slot>; BLOCKS],
    /// Variables, equalities, inequalities.
    pub sizes: (usize, usize, usize),
    pub multipliers: bool,
    pub on_failure: OnFailure,
    /// Its threads do the backward pass too.
    pub batch: Arc<Mutex<Batch>>,
    pub timing: Arc<Mutex<Timing>>,
}

impl fmt::Debug for Tape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tape").field("instances", &self.0.solutions.len()).field("sizes", &self.0.sizes).finish()
    }
}

#[derive(Debug)]
struct SolveBackward;

impl<B: Backend> Backward<B, BLOCKS> for SolveBackward {
    type State = Tape;

    fn backward(self, ops: Ops<Tape, BLOCKS>, grads: &mut Gradients, _: &mut Checkpointer) {
        let cotangent = grads.consume::<B>(&ops.node);
        let (device, dtype) = (cotangent.device(), cotangent.dtype());
        // Only a lost device can fail here, and burn itself panics in that case.
        let data = read_sync(B::float_into_data(cotangent)).expect("the device returns the cotangent");
        let cotangent: Vec<f64> = data.iter::<f64>().collect();
        let gradients = ops.state.0.gradients(&cotangent, ops.parents.each_ref().map(Option::is_some));
        for (node, gradient) in ops.parents.into_iter().zip(gradients) {
            if let (Some(node), Some((values, shape))) = (node, gradient) {
                grads.register::<B>(node.id, B::float_from_data(tensor_data(values, shape, dtype), &device));
            }
        }
    }
}

/// Row-major double-precision entries as a tensor of `dtype`.
pub(crate) fn tensor_data(values: Vec<f64>, shape: Vec<usize>, dtype: DType) -> TensorData {
    match dtype {
        DType::F64 => TensorData::new(values, shape),
        _ => TensorData::new(values.into_iter().map(|v| v as f32).collect::<Vec<f32>>(), shape).convert_dtype(dtype),
    }
}

type Values = (Vec<f64>, Vec<usize>);

impl TapeData {
    /// The gradient of each wanted block, summed over the batch where the batch shares it.
    fn gradients(&self, cotangent: &[f64], wanted: [bool; BLOCKS]) -> [Option<Values>; BLOCKS] {
        let started = Instant::now();
        let width = cotangent.len() / self.solutions.len().max(1);
        let (solved, cotangents): (Vec<&Solution>, Vec<Cotangent>) = self
            .solutions
            .iter()
            .zip(cotangent.chunks_exact(width.max(1)))
            .filter_map(|(solution, row)| Some((solution.as_ref()?, self.cotangent(row))))
            .unzip();
        let batch = self.batch.lock().unwrap_or_else(PoisonError::into_inner);
        // The lists have one length, the only thing that the call as a whole could refuse.
        let results = batch.vjp(&solved, &cotangents, wrt(wanted)).unwrap_or_default();
        drop(batch);

        let mut out: [Option<Values>; BLOCKS] = std::array::from_fn(|k| {
            let slot = self.slots[k].as_ref().filter(|_| wanted[k])?;
            Some((vec![0.0; slot.shape.iter().product()], slot.shape.clone()))
        });
        let mut results = results.into_iter();
        let (mut refused, mut untrusted) = (0, 0);
        for (row, solution) in self.solutions.iter().enumerate() {
            let gradient = match solution {
                Some(_) => match results.next() {
                    Some(Ok((gradient, verdict))) => {
                        untrusted += usize::from(verdict == Verdict::Untrusted);
                        Some(gradient)
                    }
                    _ => {
                        refused += 1;
                        None
                    }
                },
                None => None,
            };
            for block in Block::ALL {
                let k = block as usize;
                let (Some(slot), Some((values, _))) = (&self.slots[k], out[k].as_mut()) else { continue };
                let size = if slot.batched { values.len() / self.solutions.len() } else { values.len() };
                let target = if slot.batched { &mut values[row * size..(row + 1) * size] } else { &mut values[..] };
                match gradient.as_ref().and_then(|g| entries(g, block)) {
                    Some(entries) => target.iter_mut().zip(entries).for_each(|(t, e)| *t += e),
                    // Never a finite number that is not a gradient, unless the caller asked for zeros.
                    None if self.on_failure == OnFailure::ZeroGradient => {}
                    None => target.fill(f64::NAN),
                }
            }
        }
        let mut timing = self.timing.lock().unwrap_or_else(PoisonError::into_inner);
        timing.backward_seconds += started.elapsed().as_secs_f64();
        timing.backward_count += solved.len();
        timing.backward_refused += refused;
        timing.backward_untrusted += untrusted;
        out
    }

    fn cotangent(&self, row: &[f64]) -> Cotangent {
        let (n, m, p) = self.sizes;
        let mut cotangent = Cotangent::x(&row[..n]);
        if self.multipliers {
            cotangent.y = row[n..n + m].to_vec();
            cotangent.z = row[n + m..n + m + p].to_vec();
            cotangent.z_box = row[n + m + p..].to_vec();
        }
        cotangent
    }
}

fn wrt(wanted: [bool; BLOCKS]) -> Wrt {
    let [p, q, a, b, g, h, lb, ub, d, f] = wanted;
    Wrt { p: p || d || f, q, a, b, g, h, lb, ub, ..Wrt::NONE }
}

/// The gradient of one block, row-major.
fn entries(gradient: &Gradient, block: Block) -> Option<Vec<f64>> {
    let rows =
        |m: faer::Mat<f64>| (0..m.nrows()).flat_map(|i| (0..m.ncols()).map(move |j| (i, j))).map(|e| m[e]).collect();
    match block {
        Block::P => gradient.p.as_ref().map(|p| rows(p.to_dense())),
        Block::Q => gradient.q.clone(),
        Block::A => gradient.a.as_ref().map(|a| rows(a.to_dense())),
        Block::B => gradient.b.clone(),
        Block::G => gradient.g.as_ref().map(|g| rows(g.to_dense())),
        Block::H => gradient.h.clone(),
        Block::Lb => gradient.lb.clone(),
        Block::Ub => gradient.ub.clone(),
        Block::D | Block::F => match (gradient.p.clone(), block) {
            (Some(Hessian::LowRank { d, .. }), Block::D) => Some(d),
            (Some(Hessian::LowRank { f, .. }), _) => Some(rows(f)),
            _ => None,
        },
    }
}
