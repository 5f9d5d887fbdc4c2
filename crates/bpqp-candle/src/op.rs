//! The operation that `Tensor::backward` meets: a solved batch as a function of the packed arguments.
//!
//! The forward pass is not here: by the time that this is made the problems are solved, so the two passes share nothing but the
//! solutions.

use bpqp::adapter::Tape;
use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Tensor};

pub(crate) struct Solved {
    pub values: Vec<f64>,
    pub shape: (usize, usize),
    pub tape: Tape,
}

impl CustomOp1 for Solved {
    fn name(&self) -> &'static str {
        "bpqp"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F64(self.values.clone()), Shape::from(self.shape)))
    }

    fn bwd(&self, packed: &Tensor, _: &Tensor, cotangent: &Tensor) -> Result<Option<Tensor>> {
        let gradients = self.tape.gradients(&cotangent.flatten_all()?.to_vec1::<f64>()?);
        let values: Vec<f64> = gradients.into_iter().flatten().flatten().collect();
        Tensor::from_vec(values, packed.shape(), &Device::Cpu).map(Some)
    }
}
