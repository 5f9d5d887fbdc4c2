//! A flag that ends a running solve.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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

/// Two are equal if they are one flag.
impl PartialEq for Interrupt {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
