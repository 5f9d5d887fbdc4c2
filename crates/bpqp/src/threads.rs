//! Loops shared by threads, of which the caller is one.

use crate::Error;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// All cores, asked for once: the answer takes a walk through the file system.
fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| std::thread::available_parallelism().map_or(1, |n| n.get()))
}

/// Threads that a setting may ask for; more are a slip of the pen, and starting them would end the process.
pub const MAX_THREADS: usize = 1024;
/// Threads that take part for each core: more of them only wait for each other.
const PER_CORE: usize = 4;

/// The number of threads that a setting stands for: 0 is all cores, and there are never more than four for each of them.
pub(crate) fn count(threads: usize) -> usize {
    if threads == 0 { cores() } else { threads.min(PER_CORE * cores()) }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The pool of this process with at least that many threads, shared by all loops: starting threads costs more than a small
/// batch. There is one, the largest that was asked for. A forked child has none of its parent's threads, so it gets a pool
/// of its own.
fn pool(threads: usize) -> Result<Arc<rayon::ThreadPool>, Error> {
    static POOL: Mutex<Option<(u32, Arc<rayon::ThreadPool>)>> = Mutex::new(None);
    let process = std::process::id();
    let mut kept = lock(&POOL);
    let fits = |(id, pool): &&(u32, Arc<rayon::ThreadPool>)| *id == process && pool.current_num_threads() >= threads;
    if let Some((_, pool)) = kept.as_ref().filter(fits) {
        return Ok(pool.clone());
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(|e| Error::Setting {
        name: "threads",
        value: format!("{threads} ({e})"),
        advice: "ask for fewer threads",
    })?;
    let pool = Arc::new(pool);
    let old = kept.replace((process, pool.clone()));
    // ending it would wait for threads that only the parent has
    if let Some(old) = old.filter(|(id, _)| *id != process) {
        std::mem::forget(old);
    }
    Ok(pool)
}

/// Work, in nanoseconds, below which the caller does not wake the others: that takes it some 50 microseconds, and they are
/// in its way for as long before they sleep again.
const ALONE: f64 = 250e3;
/// What there should be for each of them.
const EACH: f64 = 100e3;

/// `f(thread, i, items[i])` for all items, on the caller (thread 0) and its helpers; results in order. `cost` is about
/// what an item takes, in nanoseconds.
///
/// The caller works from the front and the helpers from the back: with two threads, a second loop over the same items
/// finds most of them in the cache of the core that had them in the first.
pub(crate) fn share<I: Send, T: Send>(
    threads: usize,
    cost: f64,
    items: impl DoubleEndedIterator<Item = I> + ExactSizeIterator + Send,
    f: impl Fn(usize, usize, I) -> T + Sync,
) -> Result<Vec<T>, Error> {
    let n = items.len();
    let work = n as f64 * cost;
    let most = if work < ALONE { 0 } else { (work / EACH) as usize };
    let helpers = threads.min(n).saturating_sub(1).min(most);
    if helpers == 0 {
        return Ok(items.enumerate().map(|(i, item)| f(0, i, item)).collect());
    }
    let pool = pool(threads - 1)?;
    let mut out: Vec<Option<T>> = (0..n).map(|_| None).collect();
    let queue = Mutex::new(items.zip(&mut out).enumerate());
    let work = |thread: usize| {
        loop {
            let next = match thread {
                0 => lock(&queue).next(),
                _ => lock(&queue).next_back(),
            };
            let Some((i, (item, slot))) = next else { return };
            *slot = Some(f(thread, i, item));
        }
    };
    pool.in_place_scope(|scope| {
        let work = &work;
        (1..=helpers).for_each(|thread| scope.spawn(move |_| work(thread)));
        work(0);
    });
    drop(queue);
    Ok(out.into_iter().flatten().collect())
}

/// Something of its own for every thread, kept between loops.
pub(crate) struct Workers<L> {
    kept: Vec<Mutex<Option<L>>>,
}

impl<L: Send> Workers<L> {
    pub fn new(threads: usize) -> Self {
        Workers { kept: (0..count(threads)).map(|_| Mutex::new(None)).collect() }
    }

    /// `f(what the thread keeps, i, items[i])` for all items, see [`share`].
    pub fn map<I: Send, T: Send>(
        &self,
        cost: f64,
        items: impl DoubleEndedIterator<Item = I> + ExactSizeIterator + Send,
        f: impl Fn(&mut Option<L>, usize, I) -> T + Sync,
    ) -> Result<Vec<T>, Error> {
        share(self.kept.len(), cost, items, |thread, i, item| f(&mut lock(&self.kept[thread]), i, item))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn every_item_is_done_once_and_results_are_in_order() {
        for threads in [1, 2, 3, 8] {
            for n in [0, 1, 2, 3, 100] {
                let calls: Vec<AtomicUsize> = (0..n).map(|_| AtomicUsize::new(0)).collect();
                let squares = share(threads, f64::INFINITY, 0..n, |thread, i, item| {
                    assert!(thread < threads && i == item);
                    calls[i].fetch_add(1, Ordering::Relaxed);
                    item * item
                });
                assert_eq!(squares.expect("a pool"), (0..n).map(|i| i * i).collect::<Vec<_>>());
                assert!(calls.iter().all(|c| c.load(Ordering::Relaxed) == 1), "{threads} threads, {n} items");
            }
        }
    }

    #[test]
    fn there_is_one_pool_and_no_more_threads_than_help() {
        assert_eq!((count(0), count(1)), (cores(), 1));
        assert_eq!(count(MAX_THREADS), MAX_THREADS.min(PER_CORE * cores()));
        drop(pool(3).expect("a pool"));
        assert!(pool(2).expect("the same").current_num_threads() >= 3);
        assert!(pool(5).expect("a larger one").current_num_threads() >= 5);
    }

    #[test]
    fn helpers_take_part_where_the_work_is_worth_it() {
        // each of two waits for the other: one thread alone would wait for ever
        let both = std::sync::Barrier::new(2);
        let meet = |_: usize, _: usize, _: usize| both.wait().is_leader();
        let leaders = share(2, ALONE, 0..2, meet).expect("a pool");
        assert_eq!(leaders.iter().filter(|leader| **leader).count(), 1);
        let threads = share(2, 1.0, 0..100, |thread, _, _| thread).expect("no pool");
        assert!(threads.iter().all(|thread| *thread == 0));
    }
}
