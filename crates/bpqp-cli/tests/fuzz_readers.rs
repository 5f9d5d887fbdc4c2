//! No file makes a reader panic, or ask for memory out of proportion: a short run of `examples/fuzz_readers.rs`.

mod readers;

use bpqp_testkit::Rng;
use bpqp_testkit::memory::{Counted, peak};
use readers::Reader;
use std::sync::Mutex;

const FILES: usize = 2000;

static ALONE: Mutex<()> = Mutex::new(());

#[global_allocator]
static ALLOCATOR: Counted = Counted;

#[test]
fn the_good_files_are_read() {
    let _alone = ALONE.lock();
    for reader in Reader::ALL {
        for bytes in reader.corpus().iter().take(if reader == Reader::Gz { 3 } else { usize::MAX }) {
            assert!(reader.read(bytes), "{reader:?}: {}", String::from_utf8_lossy(bytes));
        }
    }
}

#[test]
fn broken_files_are_read_or_refused() {
    let _alone = ALONE.lock();
    for reader in Reader::ALL {
        let corpus = reader.corpus();
        let mut rng = Rng::new(9);
        for k in 0..FILES {
            let bytes = Reader::mutant(&corpus, &mut rng);
            let (_, memory) = peak(|| reader.read(&bytes));
            let most = reader.memory(bytes.len());
            assert!(memory <= most, "{reader:?}, file {k}: {memory} bytes for {}", String::from_utf8_lossy(&bytes));
        }
    }
}
