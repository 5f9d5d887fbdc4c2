//! The solutions of a batch in one list, and what becomes of them when nobody has it any more.

use crate::engine::lock;
use bpqp::Solution;
use std::ops::Deref;
use std::sync::{Arc, Mutex};

/// Each in a place of its own: they stay where the threads that found them put them.
#[allow(clippy::vec_box)]
pub type Boxes = Vec<Box<Solution>>;

/// Numbers that spare solutions may hold in all, their problems and factors included: 8 MB.
const MOST: usize = 1 << 20;

/// Solutions that nobody has any more. The next batch is written into their buffers, on the threads that wrote them before:
/// for small problems, making and freeing a dozen vectors for each takes as long as a tenth of a solve.
#[derive(Clone, Default)]
pub struct Spare(Arc<Mutex<Boxes>>);

impl Spare {
    /// As many as there are, up to `n`.
    pub fn take(&self, n: usize) -> Boxes {
        let mut kept = lock(&self.0);
        let left = kept.len().saturating_sub(n);
        kept.split_off(left)
    }

    fn keep(&self, list: &mut Boxes) {
        let size = list.first().map_or(0, |s| s.qp().n() + s.qp().n_equality() + s.qp().n_inequality());
        let mut kept = lock(&self.0);
        if (kept.len() + list.len()).saturating_mul(size.saturating_mul(size)) <= MOST {
            kept.append(list);
        }
    }
}

/// The solutions of a batch.
#[derive(Default)]
pub struct List {
    all: Boxes,
    spare: Spare,
}

impl List {
    /// A list that goes to `spare` in the end.
    pub fn new(all: Boxes, spare: Spare) -> Self {
        List { all, spare }
    }
}

impl Deref for List {
    type Target = [Box<Solution>];

    fn deref(&self) -> &Self::Target {
        &self.all
    }
}

impl Drop for List {
    fn drop(&mut self) {
        self.spare.keep(&mut self.all);
    }
}
