//! `K = {0}`: equalities. Every row is pinned, whatever the multiplier.

use super::{Block, Split};

pub(super) fn split(v: &[f64], block: Block<'_>) -> Split {
    block.s.fill(0.0);
    block.y.iter_mut().zip(v).for_each(|(y, v)| *y = -v);
    block.curvature.fill(f64::INFINITY);
    Split::plain(false)
}
