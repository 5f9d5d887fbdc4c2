//! Memory over many solves: `cargo run --release -p bpqp-testkit --example flat_memory -- [SOLVES]` (a million of each way).

use bpqp_testkit::flat::ways;
use bpqp_testkit::memory::{Counted, held, resident};

#[global_allocator]
static ALLOCATOR: Counted = Counted;

fn main() {
    let count: u64 = std::env::args().nth(1).map_or(1_000_000, |a| a.parse().expect("a number"));
    for (name, mut way) in ways() {
        println!("{name}");
        let (mut done, mut next, mut seed) = (0, 0, 0);
        while done < count {
            done += way(seed).expect("these are solved") as u64;
            seed += 1;
            if done > next {
                println!(
                    "{done:>9} solves: {:>7} kB held, {:>7} kB resident",
                    held() / 1024,
                    resident().unwrap_or(0) / 1024
                );
                next += count.div_ceil(10);
            }
        }
    }
}
