//! The tensors that may replace blocks of a quadratic program.

use bpqp::adapter::{Array, Arrays, BLOCKS, Block};
use burn::backend::DispatchTensor;
use burn::tensor::{DType, Device, Tensor};

/// A tensor of rank 1, 2 or 3: the rank says whether it has a batch dimension.
#[derive(Debug, Clone)]
pub(crate) enum AnyTensor {
    One(Tensor<1>),
    Two(Tensor<2>),
    Three(Tensor<3>),
}

impl AnyTensor {
    pub(crate) fn shape(&self) -> Vec<usize> {
        match self {
            AnyTensor::One(t) => t.dims().to_vec(),
            AnyTensor::Two(t) => t.dims().to_vec(),
            AnyTensor::Three(t) => t.dims().to_vec(),
        }
    }

    pub(crate) fn device(&self) -> Device {
        match self {
            AnyTensor::One(t) => t.device(),
            AnyTensor::Two(t) => t.device(),
            AnyTensor::Three(t) => t.device(),
        }
    }

    pub(crate) fn dtype(&self) -> DType {
        match self {
            AnyTensor::One(t) => t.dtype(),
            AnyTensor::Two(t) => t.dtype(),
            AnyTensor::Three(t) => t.dtype(),
        }
    }

    pub(crate) fn is_tracked(&self) -> bool {
        match self {
            AnyTensor::One(t) => t.is_tracked(),
            AnyTensor::Two(t) => t.is_tracked(),
            AnyTensor::Three(t) => t.is_tracked(),
        }
    }

    pub(crate) fn into_dispatch(self) -> DispatchTensor {
        match self {
            AnyTensor::One(t) => t.into_dispatch(),
            AnyTensor::Two(t) => t.into_dispatch(),
            AnyTensor::Three(t) => t.into_dispatch(),
        }
    }

    /// The entries in row-major order, in double precision.
    pub(crate) fn to_f64(&self) -> Vec<f64> {
        let data = match self {
            AnyTensor::One(t) => t.to_data(),
            AnyTensor::Two(t) => t.to_data(),
            AnyTensor::Three(t) => t.to_data(),
        };
        data.iter::<f64>().collect()
    }
}

/// A vector argument: a rank-1 tensor is shared by the batch, a rank-2 tensor has one row per instance.
#[derive(Debug, Clone)]
pub struct VectorArgument(pub(crate) AnyTensor);

impl From<Tensor<1>> for VectorArgument {
    fn from(tensor: Tensor<1>) -> Self {
        VectorArgument(AnyTensor::One(tensor))
    }
}

impl From<Tensor<2>> for VectorArgument {
    fn from(tensor: Tensor<2>) -> Self {
        VectorArgument(AnyTensor::Two(tensor))
    }
}

/// A matrix argument: a rank-2 tensor is shared by the batch, a rank-3 tensor has one matrix per instance.
#[derive(Debug, Clone)]
pub struct MatrixArgument(pub(crate) AnyTensor);

impl From<Tensor<2>> for MatrixArgument {
    fn from(tensor: Tensor<2>) -> Self {
        MatrixArgument(AnyTensor::Two(tensor))
    }
}

impl From<Tensor<3>> for MatrixArgument {
    fn from(tensor: Tensor<3>) -> Self {
        MatrixArgument(AnyTensor::Three(tensor))
    }
}

/// The tensors that replace blocks of the layer's problems in one call.
///
/// What has no batch dimension is shared: every instance sees it, and its gradient is the **sum** over the batch.
/// Blocks that are not named keep the values that the layer was built with and cost nothing in the backward pass, and
/// so do tensors that do not track gradients.
#[derive(Debug, Clone, Default)]
pub struct Arguments {
    pub(crate) tensors: [Option<AnyTensor>; BLOCKS],
}

impl Arguments {
    /// No replacement.
    pub fn new() -> Self {
        Arguments::default()
    }

    /// Replaces `P` (dense): n x n, or batch x n x n. It is read as `(P + P')/2`, and its gradient is symmetric.
    pub fn p(self, p: impl Into<MatrixArgument>) -> Self {
        self.set(Block::P, p.into().0)
    }

    /// Replaces a factored `P` (`Hessian::LowRank`) by `diag(d) + F F'`, which is never formed: `d` of n and `F` of n x r,
    /// or batches of them. Gradients are those of `d` and `F`.
    pub fn low_rank(self, d: impl Into<VectorArgument>, f: impl Into<MatrixArgument>) -> Self {
        self.set(Block::D, d.into().0).set(Block::F, f.into().0)
    }

    /// Replaces `q`: n, or batch x n.
    pub fn q(self, q: impl Into<VectorArgument>) -> Self {
        self.set(Block::Q, q.into().0)
    }

    /// Replaces `A` (dense): m x n, or batch x m x n.
    pub fn a(self, a: impl Into<MatrixArgument>) -> Self {
        self.set(Block::A, a.into().0)
    }

    /// Replaces `b`: m, or batch x m.
    pub fn b(self, b: impl Into<VectorArgument>) -> Self {
        self.set(Block::B, b.into().0)
    }

    /// Replaces `G` (dense): p x n, or batch x p x n.
    pub fn g(self, g: impl Into<MatrixArgument>) -> Self {
        self.set(Block::G, g.into().0)
    }

    /// Replaces `h`: p, or batch x p.
    pub fn h(self, h: impl Into<VectorArgument>) -> Self {
        self.set(Block::H, h.into().0)
    }

    /// Replaces the lower bounds: n, or batch x n.
    pub fn lb(self, lb: impl Into<VectorArgument>) -> Self {
        self.set(Block::Lb, lb.into().0)
    }

    /// Replaces the upper bounds: n, or batch x n.
    pub fn ub(self, ub: impl Into<VectorArgument>) -> Self {
        self.set(Block::Ub, ub.into().0)
    }

    fn set(mut self, block: Block, tensor: AnyTensor) -> Self {
        self.tensors[block as usize] = Some(tensor);
        self
    }

    /// The numbers of all of them.
    pub(crate) fn arrays(&self) -> Arrays {
        self.tensors.each_ref().map(|tensor| {
            let tensor = tensor.as_ref()?;
            Some(Array { shape: tensor.shape(), values: tensor.to_f64(), tracked: tensor.is_tracked() })
        })
    }

    pub(crate) fn get(&self, block: Block) -> Option<&AnyTensor> {
        self.tensors[block as usize].as_ref()
    }
}
