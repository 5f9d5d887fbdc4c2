//! `K = {(t, u): t >= |u|}`. With `v = (t, u)`, `uh = u / |u|`:
//!
//! | v | s | rows |
//! | --- | --- | --- |
//! | in K | v | all free |
//! | in -K | 0 | all pinned (the apex) |
//! | between | `(t + |u|)/2 (1, uh)` | `(1, -uh)/sqrt 2` pinned, `(1, uh)/sqrt 2` free, curvature `(|u| - t)/(|u| + t)` on the directions of u across `uh` |
//!
//! Curvature is the same in all those directions: a scaled identity minus rank one, never a dense block. The cone is a
//! half-line where u is empty. On the borders between the cases the derivative of the right-hand one is taken.

use super::{Basis, Block, Split, Tolerance};
use crate::matrix::dot;

pub(super) fn split(v: &[f64], tol: Tolerance, block: Block<'_>) -> Split {
    let Some((&t, u)) = v.split_first() else { return Split::plain(false) };
    let norm = dot(u, u).sqrt();
    if t > norm || (u.is_empty() && t > 0.0) {
        block.s.copy_from_slice(v);
        block.y.fill(0.0);
        block.curvature.fill(0.0);
        return Split::plain(t - norm <= tol.s);
    }
    if t <= -norm {
        block.s.fill(0.0);
        block.y.iter_mut().zip(v).for_each(|(y, v)| *y = -v);
        block.curvature.fill(f64::INFINITY);
        return Split::plain(-t - norm <= tol.y);
    }
    let (primal, dual) = (0.5 * (norm + t), 0.5 * (norm - t));
    let direction: Vec<f64> = u.iter().map(|u| u / norm).collect();
    (block.s[0], block.y[0]) = (primal, dual);
    for (i, d) in direction.iter().enumerate() {
        (block.s[i + 1], block.y[i + 1]) = (primal * d, -dual * d);
    }
    block.curvature.fill(dual / primal);
    block.curvature[0] = f64::INFINITY;
    Split { basis: Basis::SecondOrder(direction), weak: primal <= tol.s || dual <= tol.y }
}

/// `t >= |u|` for a point moved by what is allowed; entries of `s` itself whose squares do not show beside the others have to
/// vanish, unless there is room for them.
pub(super) fn reaches(s: &[f64], t: f64, u: impl Iterator<Item = f64>) -> bool {
    let (own, mut squares, mut hidden) = (s[0], 0.0_f64, false);
    for u in &s[1..] {
        if u * u <= f64::EPSILON * own * own {
            hidden |= *u != 0.0;
        } else {
            squares += u * u;
        }
    }
    let room = own - squares.sqrt() > 4.0 * f64::EPSILON * own;
    t >= u.map(|u| u * u).sum::<f64>().sqrt() && (room || !hidden)
}
