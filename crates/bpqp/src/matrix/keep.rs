//! A place beside the blocks of a problem.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// Holds what was computed from the structure of a problem, whatever it is. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Keep(Arc<OnceLock<Arc<dyn Any + Send + Sync>>>);

impl Keep {
    /// What is kept, if it is of this type.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.0.get().and_then(|kept| kept.clone().downcast().ok())
    }

    /// Keeps `value`, unless something is kept already: another thread may have been faster.
    pub fn set<T: Any + Send + Sync>(&self, value: &Arc<T>) {
        self.0.get_or_init(|| value.clone());
    }
}

impl fmt::Debug for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.get().is_some() { "something is kept" } else { "nothing is kept" })
    }
}
