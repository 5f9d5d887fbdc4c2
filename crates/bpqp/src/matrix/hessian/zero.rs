//! No quadratic term.

use super::{Hessian, KIND, LowerWork, Parameter, Product, Structure};
use faer::Mat;

/// In that many variables.
pub(super) struct Zero(pub usize);

impl Structure for Zero {
    fn n(&self) -> usize {
        self.0
    }
    fn mul_add(&self, _alpha: f64, _x: &[f64], _out: &mut [f64], _work: &mut Vec<f64>) {}
    fn magnitudes_add(&self, _x: &[f64], _out: &mut [f64], _work: &mut Vec<f64>) {}
    fn push_diagonal(&self, out: &mut Vec<f64>) {
        out.resize(self.0, 0.0);
    }
    fn to_dense(&self) -> Mat<f64> {
        Mat::zeros(self.0, self.0)
    }
    fn is_zero(&self) -> bool {
        true
    }
    fn stored(&self) -> usize {
        0
    }
    fn difference(&self, other: &Hessian) -> Option<&'static str> {
        match other {
            Hessian::Zero(n) => (*n != self.0).then_some("size"),
            _ => Some(KIND),
        }
    }
    fn for_each_extended(&self, _behind: usize, _f: impl FnMut(usize, usize, f64)) {}
    fn write_lower(&self, _kept: &[usize], out: &mut Mat<f64>, _work: &mut LowerWork) {
        out.fill(0.0);
    }
    fn raise_columns(&self, _d: &[f64], _columns: &mut [f64]) {}
    fn scaled(&self, _c: f64, _d: &[f64]) -> Hessian {
        Hessian::Zero(self.0)
    }
    fn gradient(&self, _product: Product<'_>, _last: Option<Hessian>) -> Hessian {
        Hessian::Zero(self.0)
    }
    fn for_each_parameter(&self, _f: impl FnMut(Parameter)) {}
    fn parameter(&self, _which: Parameter) -> f64 {
        0.0
    }
}
