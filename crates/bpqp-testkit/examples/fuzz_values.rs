//! Programs of arbitrary numbers and sizes, for as long as you like:
//! `cargo run --release -p bpqp-testkit --example fuzz_values -- [SECONDS] [FIRST SEED]`.
//!
//! Every call is to end with an error, a status or finite numbers: no panic, no hang, no memory out of proportion. What
//! breaks that is printed with its seed, and the run goes on.

use bpqp_testkit::hostile::{LIMIT, Outcome, call};
use bpqp_testkit::memory::{Counted, peak};
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: Counted = Counted;

fn main() {
    let number = |k: usize, default: u64| std::env::args().nth(k).map_or(default, |a| a.parse().expect("a number"));
    let (end, first) = (Duration::from_secs(number(1, 10)), number(2, 1));
    let start = Instant::now();
    let (mut counts, mut panics, mut slow) = ([0_u64; 3], 0, 0);
    let (mut most, mut slowest) = (0, Duration::ZERO);
    let mut seed = first;
    while start.elapsed() < end {
        let before = Instant::now();
        let (result, memory) = peak(|| std::panic::catch_unwind(|| call(seed)));
        let took = before.elapsed();
        match result {
            Ok((outcome, _)) => counts[outcome as usize] += 1,
            Err(_) => {
                panics += 1;
                println!("seed {seed}: panic");
            }
        }
        if took > 10 * LIMIT {
            slow += 1;
            println!("seed {seed}: {took:?}");
        }
        (most, slowest) = (most.max(memory), slowest.max(took));
        seed += 1;
    }
    let [refused, unsolved, solved] =
        [Outcome::Refused, Outcome::Unsolved, Outcome::Solved].map(|o| counts[o as usize]);
    println!(
        "{} programs: {refused} refused, {unsolved} without a solution, {solved} solved; {panics} panics, {slow} slow; \
         slowest {slowest:?}, most memory {} kB",
        seed - first,
        most / 1024
    );
}
