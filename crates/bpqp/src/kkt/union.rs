//! Sets that merge: which variables meet.

/// Disjoint sets of `0..n`.
pub(crate) struct Union(Vec<usize>);

impl Union {
    /// Every one alone.
    pub fn new(n: usize) -> Self {
        Union((0..n).collect())
    }

    /// The one that stands for the set of `i`.
    pub fn root(&mut self, mut i: usize) -> usize {
        while self.0[i] != i {
            self.0[i] = self.0[self.0[i]];
            i = self.0[i];
        }
        i
    }

    /// Merges the sets of `i` and `j`.
    pub fn join(&mut self, i: usize, j: usize) {
        let (i, j) = (self.root(i), self.root(j));
        self.0[i] = j;
    }
}
