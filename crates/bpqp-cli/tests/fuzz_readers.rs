//! No file makes a reader panic, or ask for memory out of proportion: a short run of `examples/fuzz_readers.rs`.
#![allow(unsafe_code)]

mod readers;

use bpqp_testkit::Rng;
use readers::Reader;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Any of these files may ask for this much at once: the entries that a small CBF file may declare without naming them.
const MEMORY: usize = 512 << 20;
const FILES: usize = 2000;

/// The system allocator, which remembers the most that was held at once.
struct Peak;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static ALONE: Mutex<()> = Mutex::new(());

// SAFETY: every call is passed on unchanged to the system allocator.
unsafe impl GlobalAlloc for Peak {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        PEAK.fetch_max(HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Peak = Peak;

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
            let before = HELD.load(Ordering::Relaxed);
            PEAK.store(before, Ordering::Relaxed);
            reader.read(&bytes);
            let peak = PEAK.load(Ordering::Relaxed).saturating_sub(before);
            assert!(peak <= MEMORY, "{reader:?}, file {k}: {peak} bytes for {}", String::from_utf8_lossy(&bytes));
        }
    }
}
