//! `K = {s >= 0}`: a row is free where `v > 0` and pinned where `v <= 0`. Weakly active where both sides vanish.

use super::{Block, Split, Tolerance};

pub(super) fn split(v: &[f64], tol: &[Tolerance], block: Block<'_>) -> Split {
    let mut weak = false;
    for i in 0..v.len() {
        let free = v[i] > 0.0;
        (block.s[i], block.y[i]) = if free { (v[i], 0.0) } else { (0.0, -v[i]) };
        block.curvature[i] = if free { 0.0 } else { f64::INFINITY };
        weak |= if free { v[i] <= tol[i].s } else { -v[i] <= tol[i].y };
    }
    Split::plain(weak)
}
