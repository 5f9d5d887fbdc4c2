//! The upper halves of vector registers.
//!
//! faer's products leave them in use. On common processors every instruction of the baseline set, for which most of this crate
//! is compiled, then merges into what is there: sums took four times as long after one product (EPYC of the fourth
//! generation), until somebody cleaned them. A function that is compiled for AVX does so before it returns.

use pulp::Arch;
use std::hint::black_box;

/// Cleans them at the end of its scope, in which products may have run.
pub(crate) struct Wide;

impl Drop for Wide {
    fn drop(&mut self) {
        Arch::new().dispatch(|| {
            let mut some = black_box([0.0_f64; 8]);
            some.iter_mut().for_each(|v| *v += 1.0);
            black_box(some);
        });
    }
}
