//! The symbolic side of a sparse KKT system: pattern, order of elimination, and where each number goes. It depends on
//! the structure of the problem only and is made once for it: forward solver, polish and backward pass share it.

use super::ldl::LdlPattern;
use super::patterns::analyse;
use super::{KktData, Matrices, Union};
use crate::Error;
use std::sync::Arc;

/// Position of entries below the diagonal, which are not stored.
pub(super) const SKIP: usize = usize::MAX;

/// Where the entries of P, then those of the rows, in the order of their `for_each`, go in the values of the
/// factorization; and the diagonal.
pub(super) struct Analysis {
    of: Matrices,
    pub ldl: Arc<LdlPattern>,
    pub at: Vec<usize>,
    pub diagonal_at: Vec<usize>,
    /// One variable or row for each part that meets no other, at all of its members.
    pub parts: Vec<usize>,
}

impl Analysis {
    /// The analysis kept with `data` if it is one of its structure; else a new one, which is kept if there was none.
    pub fn of(data: KktData<'_>) -> Result<Arc<Self>, Error> {
        if let Some(kept) = data.analysis.get::<Self>().filter(|kept| kept.of.differs(data).is_none()) {
            return Ok(kept);
        }
        let new = Arc::new(Self::new(data)?);
        data.analysis.set(&new);
        Ok(new)
    }

    fn new(data: KktData<'_>) -> Result<Self, Error> {
        let (n, m) = (data.n(), data.m());
        let dim = n + m + data.p.extension();
        // the upper triangle, source by source; those below the diagonal of P are skipped
        let (mut rows, mut cols, mut at) = (Vec::new(), Vec::new(), Vec::new());
        let mut push = |i: usize, j: usize| {
            at.push(if i <= j { rows.len() } else { SKIP });
            if i <= j {
                rows.push(i);
                cols.push(j);
            }
        };
        data.p.for_each_extended(n + m, |i, j, _| push(i, j));
        data.for_each_row_entry(|i, j, _| push(j, n + i));
        for i in 0..dim {
            push(i, i);
        }
        let mut parts = Union::new(dim);
        rows.iter().zip(&cols).for_each(|(&i, &j)| parts.join(i, j));
        let parts = (0..dim).map(|i| parts.root(i)).collect();
        let diagonal = data.p.is_positive_diagonal().then_some(n);
        let (ldl, place) = analyse(dim, (&rows, &cols), diagonal).map_err(|reason| too_large(dim, reason))?;
        at.iter_mut().filter(|k| **k != SKIP).for_each(|k| *k = place[*k]);
        let diagonal_at = at.split_off(at.len() - dim);
        Ok(Analysis { of: Matrices::of(data), ldl, at, diagonal_at, parts })
    }
}

impl Matrices {
    /// The block of `data` that has another structure, if there is one.
    pub(super) fn differs(&self, data: KktData<'_>) -> Option<&'static str> {
        let same = Arc::ptr_eq(&self.p, data.p) || self.p.difference(data.p).is_none();
        let pairs = self.rows.iter().zip(data.rows).zip(["A", "G", "C"]);
        let mut changed =
            pairs.filter(|((own, other), _)| !(Arc::ptr_eq(own, other) || own.difference(other).is_none()));
        if same { changed.next().map(|(_, name)| name) } else { Some("P") }
    }
}

pub(crate) fn too_large(dim: usize, reason: &'static str) -> Error {
    Error::Unsupported {
        what: format!("a KKT system of {dim} rows: {reason}"),
        advice: "use a smaller or sparser problem",
    }
}
