//! Sparsity patterns that this process has ordered and analysed: who solves problems of one structure again and again pays
//! once for it, whether or not one object of ours is kept between the calls.

use super::ldl::{LdlPattern, sort_by_column};
use std::sync::{Arc, Mutex, PoisonError};

/// Numbers that are kept at most, of 8 bytes: beyond it the pattern that was not asked for the longest goes.
const MOST: usize = 4 << 20;

/// An upper triangle by columns, and what was found out about it.
struct Pattern {
    col_ptr: Vec<usize>,
    row_idx: Vec<usize>,
    primal_first: Option<usize>,
    hash: usize,
    ldl: Arc<LdlPattern>,
    /// Where each of its entries goes.
    position: Vec<usize>,
}

/// The latest ones last.
static KNOWN: Mutex<Vec<Arc<Pattern>>> = Mutex::new(Vec::new());

/// The analysis of the matrix of `dim` rows with entries of its upper triangle in these places, which may repeat, its first
/// `primal_first` diagonal entries positive and alone in their block; and where each of the entries goes.
pub(crate) fn analyse(
    dim: usize,
    (rows, cols): (&[usize], &[usize]),
    primal_first: Option<usize>,
) -> Result<(Arc<LdlPattern>, Vec<usize>), &'static str> {
    let order = sort_by_column(dim, rows, cols);
    let (mut col_ptr, mut row_idx) = (vec![0; dim + 1], Vec::with_capacity(order.len()));
    let mut at = vec![0; order.len()];
    let mut last = None;
    for &k in &order {
        let (i, j) = (rows[k], cols[k]);
        if last != Some((i, j)) {
            row_idx.push(i);
            col_ptr[j + 1] += 1;
            last = Some((i, j));
        }
        at[k] = row_idx.len() - 1;
    }
    (0..dim).for_each(|j| col_ptr[j + 1] += col_ptr[j]);
    let pattern = Pattern::of(dim, (col_ptr, row_idx), primal_first)?;
    at.iter_mut().for_each(|k| *k = pattern.position[*k]);
    Ok((pattern.ldl.clone(), at))
}

impl Pattern {
    /// The known one, or a new one.
    fn of(
        dim: usize,
        (col_ptr, row_idx): (Vec<usize>, Vec<usize>),
        primal_first: Option<usize>,
    ) -> Result<Arc<Self>, &'static str> {
        let hash = hash(&col_ptr, &row_idx);
        let same = |known: &Arc<Pattern>| {
            known.hash == hash
                && known.primal_first == primal_first
                && known.col_ptr == col_ptr
                && known.row_idx == row_idx
        };
        {
            let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(at) = known.iter().rposition(same) {
                let found = known.remove(at);
                known.push(found.clone());
                return Ok(found);
            }
        }
        let (ldl, position) = LdlPattern::new(dim, &col_ptr, &row_idx, primal_first)?;
        let new = Arc::new(Pattern { col_ptr, row_idx, primal_first, hash, ldl: Arc::new(ldl), position });
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        known.push(new.clone());
        let mut numbers = 0;
        let fits = |pattern: &&Arc<Pattern>| {
            numbers += pattern.numbers();
            numbers <= MOST
        };
        let gone = known.len() - known.iter().rev().take_while(fits).count();
        known.drain(..gone);
        Ok(new)
    }

    fn numbers(&self) -> usize {
        self.col_ptr.len() + 2 * self.row_idx.len() + self.ldl.numbers()
    }
}

/// Of Fibonacci hashing: an odd number near the golden section of all.
fn hash(col_ptr: &[usize], row_idx: &[usize]) -> usize {
    let mix = |hash: usize, v: &usize| (hash.rotate_left(5) ^ v).wrapping_mul(0x9e37_79b9);
    row_idx.iter().fold(col_ptr.iter().fold(0, mix), mix)
}
