//! The operation on burn's autodiff tape: a solved batch whose backward step calls the core.
//!
//! The forward pass is not here: by the time a tensor gets onto the tape the problems are solved, so the two passes
//! share nothing but the solutions, and a failing solve is an error of the layer, not a panic inside the tape.

use bpqp::adapter::{BLOCKS, Block, Tape};
use burn::backend::autodiff::{
    Autodiff,
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, ExtensionType, Flex, TensorMetadata, backend_extension, read_sync};
use burn::tensor::{DType, TensorData};

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
        let gradients = ops.state.gradients(&cotangent);
        for ((node, gradient), block) in ops.parents.into_iter().zip(gradients).zip(Block::ALL) {
            if let (Some(node), Some(values)) = (node, gradient) {
                let shape = ops.state.shape(block).to_vec();
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
