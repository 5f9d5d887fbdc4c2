//! Arbitrary numbers and sizes end in an error, a status or finite numbers, soon and in little memory: a short run of
//! `examples/fuzz_values.rs`, in a process of its own, for memory is counted over all threads.

use bpqp_testkit::hostile::{LIMIT, Outcome, call};
use bpqp_testkit::memory::{Counted, peak};
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: Counted = Counted;

/// Bytes that a call may hold at once: 16 MB for what does not depend on the size (a pool of threads), and this many for each
/// byte of the numbers: two layers of at most 40 rows and variables have some thirty matrices of that order.
const FOR_EACH: usize = 4000;
const PROGRAMS: u64 = 6000;

#[test]
fn nothing_panics_or_hangs_or_takes_much_memory() {
    let mut counts = [0; 3];
    for seed in 1..=PROGRAMS {
        let start = Instant::now();
        let ((outcome, bytes), memory) = peak(|| call(seed));
        counts[outcome as usize] += 1;
        assert!(memory <= (16 << 20) + FOR_EACH * bytes, "seed {seed}: {memory} bytes for {bytes}");
        // ten times what is allowed: another process may have the core
        assert!(start.elapsed() < 50 * LIMIT, "seed {seed}: {:?}", start.elapsed());
    }
    assert!(counts[Outcome::Solved as usize] > 300, "{counts:?}");
}
