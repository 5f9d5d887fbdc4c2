//! The layer: problems fixed at construction, tensors for what is learned.

use crate::op::{Parents, record, tensor_data};
use crate::{Arguments, Block, LayerError};
use bpqp::adapter::{ArrayLayer, OnFailure, Timing};
use bpqp::{Error, Qp, Settings, Status};
use burn::tensor::{DType, Device, Tensor};

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
#[derive(Debug, Clone)]
pub struct QpLayer(ArrayLayer);

impl QpLayer {
    /// A layer with one problem per instance, all of one shape.
    pub fn new(problems: Vec<Qp>, settings: Settings) -> Result<Self, LayerError> {
        ArrayLayer::new(problems, settings).map(QpLayer)
    }

    /// A layer whose `instances` instances share one problem: its factorization is shared too.
    pub fn shared(problem: Qp, instances: usize, settings: Settings) -> Result<Self, LayerError> {
        ArrayLayer::shared(problem, instances, settings).map(QpLayer)
    }

    /// With another policy for instances without a solution.
    pub fn on_failure(self, policy: OnFailure) -> Self {
        QpLayer(self.0.on_failure(policy))
    }

    /// With multipliers in the output.
    pub fn with_multipliers(self) -> Self {
        QpLayer(self.0.with_multipliers())
    }

    /// The number of instances.
    pub fn instances(&self) -> usize {
        self.0.instances()
    }

    /// The problem of an instance, as given at construction.
    pub fn problem(&self, index: usize) -> Option<&Qp> {
        self.0.problem(index)
    }

    /// Variables, equalities, inequalities.
    pub fn sizes(&self) -> (usize, usize, usize) {
        self.0.sizes()
    }

    /// Time spent in the core since the last call.
    pub fn take_timing(&self) -> Timing {
        self.0.take_timing()
    }

    /// Solves every instance; see [`QpLayer::forward_at`].
    pub fn forward(&self, arguments: Arguments) -> Result<Output, LayerError> {
        let all: Vec<usize> = (0..self.instances()).collect();
        self.forward_at(&all, arguments)
    }

    /// Solves the instances named by `index`, with the blocks named in `arguments` replaced. Row k of the output and
    /// of every batched argument belongs to instance `index[k]`.
    pub fn forward_at(&self, index: &[usize], arguments: Arguments) -> Result<Output, LayerError> {
        let solved = self.0.forward_at(index, arguments.arrays())?;
        let (n, m, p) = self.sizes();
        let (device, dtype) = place(&arguments);
        let data = tensor_data(solved.values, vec![index.len(), solved.width], dtype);
        let mut output: Tensor<2> = Tensor::from_data(data, (&device, dtype));
        if solved.tape.tracked() {
            output = Tensor::from_dispatch(record(parents(&arguments, &device), output.into_dispatch(), solved.tape));
        }
        let (status, refused) = (solved.status, solved.refused);
        if !self.0.multipliers() {
            return Ok(Output { x: output, multipliers: None, status, refused });
        }
        let part = |from: usize, size: usize| output.clone().slice([0..index.len(), from..from + size]);
        let multipliers = Multipliers { y: part(n, m), z: part(n + m, p), z_box: part(n + m + p, n) };
        Ok(Output { x: part(0, n), multipliers: Some(multipliers), status, refused })
    }
}

/// Where the result goes: the device and precision of the first argument; a default without arguments.
fn place(arguments: &Arguments) -> (Device, DType) {
    let order = [Block::Q, Block::B, Block::H, Block::Lb, Block::Ub, Block::P, Block::A, Block::G, Block::D, Block::F];
    match order.iter().find_map(|&block| arguments.get(block)) {
        Some(tensor) => (tensor.device(), tensor.dtype()),
        None => (Device::default(), DType::F32),
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
