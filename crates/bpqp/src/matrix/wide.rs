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

#[cfg(all(test, target_arch = "x86_64"))]
// what reads a processor is unsafe in the oldest Rust that builds this, and safe in newer ones
#[allow(unsafe_code, unused_unsafe)]
mod tests {
    use super::Wide;
    use crate::matrix::{cholesky, cholesky_memory, lower_gram, solve_lower_columns};
    use faer::{Mat, Scale};
    use std::arch::x86_64::{__cpuid_count, _xgetbv};

    /// Whether the processor says which parts of its registers are in use.
    fn tells() -> bool {
        std::is_x86_feature_detected!("xsave") && std::is_x86_feature_detected!("avx") && {
            // SAFETY: where there is XSAVE there is this leaf
            let leaf = unsafe { __cpuid_count(0xd, 1) };
            leaf.eax & 0b100 != 0
        }
    }

    /// The upper halves are.
    fn in_use() -> bool {
        #[target_feature(enable = "xsave")]
        unsafe fn state() -> u64 {
            // SAFETY: `tells` looked whether register 1 can be read
            unsafe { _xgetbv(1) }
        }
        // SAFETY: and whether there is XSAVE
        unsafe { state() & 0b100 != 0 }
    }

    #[test]
    fn registers_are_clean_behind_products() {
        if !tells() {
            println!("SKIPPED: this processor does not tell which registers are in use");
            return;
        }
        let y = Mat::from_fn(60, 40, |i, j| ((i * 7 + j * 3) % 11) as f64);
        let product = std::hint::black_box(y.transpose() * &y);
        println!("a product of faer leaves them {}", if in_use() { "in use" } else { "clean" });
        drop(Wide);
        assert!(!in_use(), "by itself");
        let mut gram = Mat::zeros(40, 40);
        lower_gram(&mut gram, &y);
        assert!(!in_use(), "lower_gram");
        let mut factor = product + Scale(1e3) * Mat::<f64>::identity(40, 40);
        drop(Wide);
        assert!(cholesky(factor.as_mut(), &mut cholesky_memory(40)));
        assert!(!in_use(), "cholesky");
        let mut columns = y.transpose().to_owned();
        solve_lower_columns(factor.as_ref(), columns.as_mut());
        assert!(!in_use(), "solve_lower_columns");
    }
}
