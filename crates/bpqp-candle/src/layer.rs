//! The layer: problems fixed at construction, tensors for what is learned.

use crate::op::Solved;
use crate::{Arguments, Error};
use bpqp::adapter::{ArrayLayer, LayerError, OnFailure, Timing};
use bpqp::{Qp, Settings, Status};
use candle_core::{Device, Tensor};

/// The solutions of one forward pass.
#[derive(Debug, Clone)]
pub struct Output {
    /// Minimizers, batch x n.
    pub x: Tensor,
    /// Multipliers, if the layer was built with [`QpLayer::with_multipliers`].
    pub multipliers: Option<Multipliers>,
    /// How each instance ended; all of them are fine under [`OnFailure::Error`].
    pub status: Vec<Status>,
    /// Instances whose data the core refused (NaN, `lb > ub`, ...) and why; their status is `NumericalFailure`. Empty
    /// under [`OnFailure::Error`].
    pub refused: Vec<(usize, bpqp::Error)>,
}

/// Lagrange multipliers of a batch, differentiable like the minimizers.
#[derive(Debug, Clone)]
pub struct Multipliers {
    /// Of `A x = b`, batch x m, free.
    pub y: Tensor,
    /// Of `G x <= h`, batch x p, nonnegative.
    pub z: Tensor,
    /// Of the bounds, batch x n, positive at the upper bound.
    pub z_box: Tensor,
}

/// A batch of quadratic programs as a differentiable function of the tensors that replace some of their blocks.
///
/// The result has the precision and the device of the first argument; everything inside is double precision. The layer
/// remembers the last solution of each instance and starts from it when the instance comes back, as samples do in the next
/// epoch. Clones share that memory.
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
    pub fn forward(&self, arguments: Arguments) -> Result<Output, Error> {
        let all: Vec<usize> = (0..self.instances()).collect();
        self.forward_at(&all, arguments)
    }

    /// Solves the instances named by `index`, with the blocks named in `arguments` replaced. Row k of the output and
    /// of every batched argument belongs to instance `index[k]`.
    pub fn forward_at(&self, index: &[usize], arguments: Arguments) -> Result<Output, Error> {
        let solved = self.0.forward_at(index, arguments.arrays()?)?;
        let (n, m, p) = self.sizes();
        let (device, dtype) = arguments.place();
        let (values, shape) = (solved.values, (index.len(), solved.width));
        let output = match arguments.packed()? {
            Some(packed) => packed.apply_op1(Solved { values, shape, tape: solved.tape })?,
            None => Tensor::from_vec(values, shape, &Device::Cpu)?,
        };
        let output = output.to_dtype(dtype)?.to_device(&device)?;
        let (status, refused) = (solved.status, solved.refused);
        if !self.0.multipliers() {
            return Ok(Output { x: output, multipliers: None, status, refused });
        }
        let part = |from: usize, size: usize| output.narrow(1, from, size);
        let multipliers = Multipliers { y: part(n, m)?, z: part(n + m, p)?, z_box: part(n + m + p, n)? };
        Ok(Output { x: part(0, n)?, multipliers: Some(multipliers), status, refused })
    }
}
