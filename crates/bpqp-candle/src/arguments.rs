//! The tensors that may replace blocks of a quadratic program.

use crate::Error;
use bpqp::adapter::{Array, Arrays, BLOCKS, Block};
use candle_core::{DType, Device, Tensor};

/// The tensors that replace blocks of the layer's problems in one call.
///
/// What has no batch dimension is shared: every instance sees it, and its gradient is the **sum** over the batch.
/// Blocks that are not named keep the values that the layer was built with and cost nothing in the backward pass, and
/// so do tensors that do not track gradients.
#[derive(Debug, Clone, Default)]
pub struct Arguments {
    tensors: [Option<Tensor>; BLOCKS],
}

impl Arguments {
    /// No replacement.
    pub fn new() -> Self {
        Arguments::default()
    }

    /// Replaces `P` (dense): n x n, or batch x n x n. It is read as `(P + P')/2`, and its gradient is symmetric.
    pub fn p(self, p: &Tensor) -> Self {
        self.set(Block::P, p)
    }

    /// Replaces a factored `P` (`Hessian::LowRank`) by `diag(d) + F F'`, which is never formed: `d` of n and `F` of n x r,
    /// or batches of them. Gradients are those of `d` and `F`.
    pub fn low_rank(self, d: &Tensor, f: &Tensor) -> Self {
        self.set(Block::D, d).set(Block::F, f)
    }

    /// Replaces `q`: n, or batch x n.
    pub fn q(self, q: &Tensor) -> Self {
        self.set(Block::Q, q)
    }

    /// Replaces `A` (dense): m x n, or batch x m x n.
    pub fn a(self, a: &Tensor) -> Self {
        self.set(Block::A, a)
    }

    /// Replaces `b`: m, or batch x m.
    pub fn b(self, b: &Tensor) -> Self {
        self.set(Block::B, b)
    }

    /// Replaces `G` (dense): p x n, or batch x p x n.
    pub fn g(self, g: &Tensor) -> Self {
        self.set(Block::G, g)
    }

    /// Replaces `h`: p, or batch x p.
    pub fn h(self, h: &Tensor) -> Self {
        self.set(Block::H, h)
    }

    /// Replaces the lower bounds: n, or batch x n.
    pub fn lb(self, lb: &Tensor) -> Self {
        self.set(Block::Lb, lb)
    }

    /// Replaces the upper bounds: n, or batch x n.
    pub fn ub(self, ub: &Tensor) -> Self {
        self.set(Block::Ub, ub)
    }

    fn set(mut self, block: Block, tensor: &Tensor) -> Self {
        self.tensors[block as usize] = Some(tensor.clone());
        self
    }

    /// The numbers of all of them.
    pub(crate) fn arrays(&self) -> Result<Arrays, Error> {
        let mut out = Arrays::default();
        for block in Block::ALL {
            let Some(tensor) = &self.tensors[block as usize] else { continue };
            if !tensor.dtype().is_float() {
                return Err(Error::Dtype { block, dtype: tensor.dtype() });
            }
            let values = flat(&tensor.detach())?.to_vec1()?;
            out[block as usize] = Some(Array { shape: tensor.dims().to_vec(), values, tracked: tensor.track_op() });
        }
        Ok(out)
    }

    /// Those that track gradients, one after the other in the order of [`Block::ALL`]: candle's operations take no more than
    /// three, and it knows how to take this apart again.
    pub(crate) fn packed(&self) -> Result<Option<Tensor>, candle_core::Error> {
        let tracked = self.tensors.iter().flatten().filter(|tensor| tensor.track_op());
        let parts = tracked.map(flat).collect::<Result<Vec<_>, _>>()?;
        if parts.is_empty() { Ok(None) } else { Tensor::cat(&parts, 0).map(Some) }
    }

    /// Where the result goes: the device and precision of the first argument; a default without arguments.
    pub(crate) fn place(&self) -> (Device, DType) {
        let order =
            [Block::Q, Block::B, Block::H, Block::Lb, Block::Ub, Block::P, Block::A, Block::G, Block::D, Block::F];
        match order.iter().find_map(|&block| self.tensors[block as usize].as_ref()) {
            Some(tensor) => (tensor.device().clone(), tensor.dtype()),
            None => (Device::Cpu, DType::F64),
        }
    }
}

/// Row-major entries in double precision, where the core works.
fn flat(tensor: &Tensor) -> Result<Tensor, candle_core::Error> {
    tensor.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()
}
