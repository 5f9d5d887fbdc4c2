//! Memory does not grow with the number of solves: a short run of `examples/flat_memory.rs`, in a process of its own, for
//! memory is counted over all threads.

use bpqp_testkit::flat::ways;
use bpqp_testkit::memory::{Counted, held};

#[global_allocator]
static ALLOCATOR: Counted = Counted;

/// Bytes that may be held more after many solves: less than a byte for each of them.
const MARGIN: usize = 4096;
const SOLVES: usize = 5000;

#[test]
fn memory_stays_flat_over_many_solves() {
    for (name, mut way) in ways() {
        let mut run = |from: usize, count: usize| {
            let (mut done, mut seed) = (0, from as u64);
            while done < count {
                done += way(seed).expect("solved");
                seed += 1;
            }
        };
        // buffers have grown to the largest of the programs by then
        run(0, 400);
        let before = held();
        run(400, SOLVES);
        let after = held();
        assert!(after <= before + MARGIN, "{name}: {before} bytes held, {after} after {SOLVES} solves more");
    }
}
