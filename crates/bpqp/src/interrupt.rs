//! What ends a running solve from outside: a flag, and the time.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Asked for from another thread, it ends the solves whose settings hold a clone of it at their next iteration, with
/// [`Status::TimeLimit`](crate::Status::TimeLimit).
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Ends the solves that run, and those that start before [`clear`](Interrupt::clear).
    pub fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Lets solves run again.
    pub fn clear(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// True after a request.
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// When a solve has to end: at a time, or when someone asks. Solvers look at it at least once for each factorization, long
/// factorizations several times a second, and end with [`Status::TimeLimit`](crate::Status::TimeLimit).
#[derive(Debug, Clone, Default)]
pub struct Deadline {
    at: Option<Instant>,
    interrupt: Option<Interrupt>,
}

impl Deadline {
    /// That of a solve which begins now.
    pub fn new(limit: Option<Duration>, interrupt: Option<Interrupt>) -> Self {
        // a limit beyond the end of the clock is none
        Deadline { at: limit.and_then(|limit| Instant::now().checked_add(limit)), interrupt }
    }

    /// True if the solve has to end.
    pub fn passed(&self) -> bool {
        self.at.is_some_and(|at| Instant::now() >= at) || self.interrupt.as_ref().is_some_and(Interrupt::requested)
    }

    /// The time that is left, `None` without a limit.
    pub fn left(&self) -> Option<Duration> {
        self.at.map(|at| at.saturating_duration_since(Instant::now()))
    }
}

thread_local! {
    /// The deadline of the solve that runs on this thread.
    static WATCHED: RefCell<Option<Deadline>> = const { RefCell::new(None) };
}

/// While it lives the long factorizations of this thread look at a deadline, and break down once it has passed. What they
/// leave is of no use: whoever keeps something of them asks [`late`] first.
pub(crate) struct Watch(Option<Deadline>);

impl Watch {
    /// Without a limit nobody looks.
    pub fn new(deadline: &Deadline) -> Self {
        let limited = deadline.at.is_some() || deadline.interrupt.is_some();
        Watch(WATCHED.with(|watched| watched.replace(limited.then(|| deadline.clone()))))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        WATCHED.with(|watched| watched.replace(self.0.take()));
    }
}

/// True if a solve that may have to end runs on this thread.
pub(crate) fn watched() -> bool {
    WATCHED.with(|watched| watched.borrow().is_some())
}

#[cfg(test)]
thread_local! {
    /// How often it was asked for on this thread.
    pub(crate) static LOOKS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// True if the solve that runs on this thread has to end.
pub(crate) fn late() -> bool {
    #[cfg(test)]
    LOOKS.with(|looks| looks.set(looks.get() + 1));
    WATCHED.with(|watched| watched.borrow().as_ref().is_some_and(Deadline::passed))
}

/// Two are equal if they are one flag.
impl PartialEq for Interrupt {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
