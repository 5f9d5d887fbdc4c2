//! Broken files for every reader, for as long as you like:
//! `cargo run --release -p bpqp-cli --example fuzz_readers -- [SECONDS] [SEED] [json|cbf|gz|csv|csvgz|npz|model|loads|loadsgz]`.
//!
//! Files that were read without an error join the corpus, so that changes add up. A panic ends the run, after the file;
//! files that took more memory than [`Reader::memory`] or more than two seconds are printed.

#[path = "../tests/readers/mod.rs"]
mod readers;

use bpqp_testkit::Rng;
use bpqp_testkit::memory::{Counted, peak};
use readers::Reader;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: Counted = Counted;

/// Files that are kept besides the first ones.
const KEPT: usize = 500;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |k: usize, default: u64| arguments.get(k).map_or(default, |a| a.parse().expect("a number"));
    let only = arguments.get(2).map(|name| name.to_lowercase());
    for reader in Reader::ALL {
        if only.as_ref().is_some_and(|name| *name != format!("{reader:?}").to_lowercase()) {
            continue;
        }
        let first = reader.corpus();
        let (mut corpus, mut rng) = (first.clone(), Rng::new(number(1, 1)));
        let (start, end) = (Instant::now(), Duration::from_secs(number(0, 10)));
        let (mut files, mut good, mut slowest) = (0_u64, 0_u64, Duration::ZERO);
        let (mut most, mut heavy) = (0, 0_u64);
        while start.elapsed() < end {
            let bytes = Reader::mutant(&corpus, &mut rng);
            let before = Instant::now();
            let (read, memory) = peak(|| std::panic::catch_unwind(|| reader.read(&bytes)));
            let read = read.unwrap_or_else(|panic| {
                println!("{reader:?}, file {files}: {:?}", String::from_utf8_lossy(&bytes));
                std::panic::resume_unwind(panic)
            });
            most = most.max(memory);
            if memory > reader.memory(bytes.len()) {
                heavy += 1;
                println!("{reader:?}, {memory} bytes of memory: {:?}", String::from_utf8_lossy(&bytes));
            }
            let took = before.elapsed();
            if took > slowest {
                slowest = took;
                if took > Duration::from_secs(2) {
                    println!("{reader:?}, {took:?}: {:?}", String::from_utf8_lossy(&bytes));
                }
            }
            files += 1;
            if read {
                good += 1;
                // a file that grew without end would be all that is looked at
                if bytes.len() < 4096 {
                    let at =
                        if corpus.len() < first.len() + KEPT { corpus.len() } else { first.len() + rng.below(KEPT) };
                    corpus.resize(corpus.len().max(at + 1), Vec::new());
                    corpus[at] = bytes;
                }
            }
        }
        println!(
            "{reader:?}: {files} files, {good} of them good, {} in the corpus, slowest {slowest:?}, most memory {} kB, \
             {heavy} beyond the bound",
            corpus.len(),
            most / 1024
        );
    }
}
