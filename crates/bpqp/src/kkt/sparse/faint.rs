//! Units of a system from which rows or variables were removed.
//!
//! The blocks are equilibrated once, with every row and variable. Where those are removed with which a variable or a row was
//! balanced (an inactive row of large entries in its column, a variable at its bound), what is left of it may be so far below 1
//! that the regularization is all that a factorization sees of it, and refinement does not move. It is brought near 1 again.

use super::SparseKkt;
use super::equilibrated::LIMIT;
use crate::kkt::power_of_two;

/// What is left of a row or column of the equilibrated matrix is faint if all of it is below this.
const FAINT: f64 = 1.0 / (1u64 << 13) as f64;
/// Each takes the root of what is missing between a faint one and others.
const SWEEPS: usize = 8;

impl SparseKkt {
    /// Gives variables and rows of the staged matrix that are faint units of their own, for this pass.
    pub(super) fn raise_faint(&mut self) {
        let (col_ptr, row_idx) = (self.ldl.col_ptr(), self.ldl.row_idx());
        let (exact, largest) = (&mut self.exact, &mut self.r);
        let factors = &mut self.x;
        let mut raised = false;
        for sweep in 0..SWEEPS {
            largest.fill(0.0);
            for j in 0..largest.len() {
                for k in col_ptr[j]..col_ptr[j + 1] {
                    let i = row_idx[k];
                    let v = exact[k].abs() * if raised { factors[i] * factors[j] } else { 1.0 };
                    largest[i] = largest[i].max(v);
                    largest[j] = largest[j].max(v);
                }
            }
            let faint = |v: f64| v > 0.0 && v < FAINT;
            if !largest.iter().any(|v| faint(*v)) {
                break;
            }
            if sweep == 0 {
                factors.fill(1.0);
                raised = true;
            }
            factors.iter_mut().zip(&*largest).filter(|(_, v)| faint(**v)).for_each(|(f, v)| *f /= v.sqrt());
        }
        if !raised {
            return;
        }
        factors.iter_mut().for_each(|f| *f = power_of_two(*f, LIMIT));
        for j in 0..factors.len() {
            for k in col_ptr[j]..col_ptr[j + 1] {
                exact[k] *= factors[row_idx[k]] * factors[j];
            }
        }
        for (scale, &p) in self.scale.iter_mut().zip(self.ldl.place()) {
            *scale *= factors[p];
        }
    }
}
