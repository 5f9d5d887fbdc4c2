//! The directions of an optimal face to the last digits of each entry.
//!
//! What is taken off along a face is measured in the units of the variables, where one unit may be a million times another:
//! an entry of a direction that is rounding beside the others is then none beside what it is taken from. So where units
//! are far apart the directions are refined: each is fixed at the variable that is longest in it, and the others follow from
//! what `K z` and `H z` leave, summed in twice the precision (Moler, "Iterative refinement in floating point", 1967).

use super::cholesky::CholeskyScratch;
use super::rank::{entries_of, largest_of, orthonormalize};
use crate::matrix::{Wide, gemv, gemv_abs, gemv_t, gemv_t_abs};
use crate::thresholds::{FACE_DOUBT, PART_WORK, rank_rounding};
use faer::linalg::matmul::matmul;
use faer::linalg::triangular_solve::{solve_lower_triangular_in_place, solve_upper_triangular_in_place};
use faer::{Accum, Mat, MatRef, Par};

/// What is not 0 in a column.
type Entries = Vec<(usize, f64)>;

/// Rounds; each leaves of an error what rounding is of one, times the condition.
const ROUNDS: usize = 2;

/// A sum of products in twice the precision.
#[derive(Default, Clone, Copy)]
struct Sum {
    high: f64,
    low: f64,
}

impl Sum {
    fn add_product(&mut self, a: f64, b: f64) {
        let product = a * b;
        let rest = a.mul_add(b, -product);
        let sum = self.high + product;
        let part = sum - self.high;
        self.low += (self.high - (sum - part)) + (product - part) + rest;
        self.high = sum;
    }

    fn value(self) -> f64 {
        self.high + self.low
    }
}

fn column_norm(v: &[f64], d: &[f64]) -> f64 {
    v.iter().zip(d).map(|(v, d)| (v * d).powi(2)).sum::<f64>().sqrt()
}

fn largest(v: &[f64]) -> f64 {
    v.iter().fold(0.0_f64, |m, v| m.max(v.abs()))
}

/// What errors `off` of the entries of a direction `z`, in units in which the variables are `d` long, may change a force by
/// that the direction is taken off, relative to it.
fn doubt(z: &[f64], d: &[f64], off: impl Fn(usize) -> f64) -> f64 {
    let (length, size) = (column_norm(z, d), largest(z));
    d.iter().enumerate().fold(0.0, |m, (j, d)| f64::max(m, (d / length).powi(2) * off(j) * size))
}

/// Refines the columns of `basis`, which span the null space of the symmetric `k` and of the columns of `rows`, in units in
/// which the variables are `d` long; `refine` where the entries of `k` are those of the data. Returns what is left of doubt.
pub(super) fn sharpen(basis: &mut Mat<f64>, d: &[f64], (k, rows): (&Mat<f64>, &Mat<f64>), refine: bool) -> f64 {
    let (longest, shortest) = (largest(d), d.iter().fold(f64::INFINITY, |m, d| m.min(*d)));
    if f64::EPSILON * (longest / shortest).powi(2) <= FACE_DOUBT {
        return 0.0;
    }
    let (f, q) = (basis.nrows(), basis.ncols());
    let mut orthonormal = basis.clone();
    // as they come, all may have a part along the longest one
    let pivots = echelon(basis, d);
    let before = (0..q).map(|c| basis.col_as_slice(c)).fold(0.0, |worst, z| {
        let off = f64::EPSILON * largest(z);
        f64::max(worst, doubt(z, d, |_| off))
    });
    if before <= FACE_DOUBT || !refine || q * f * (f + rows.ncols()) > PART_WORK {
        return before;
    }
    orthonormalize(&mut orthonormal);
    let Some(factor) = definite(&orthonormal, (k, rows)) else { return before };
    let (k, rows) = (entries_of(k), entries_of(rows));
    let mut off = Mat::zeros(f, q);
    let mut fixed = Mat::zeros(q, q);
    for _ in 0..ROUNDS {
        for c in 0..q {
            left_of(basis.col_as_slice(c), (&k, &rows), off.col_as_slice_mut(c));
        }
        solve_lower_triangular_in_place(factor.as_ref(), off.as_mut(), Par::Seq);
        solve_upper_triangular_in_place(factor.transpose(), off.as_mut(), Par::Seq);
        // what they are off by but for a part along the face: the entries that are fixed stay
        for (other, &p) in pivots.iter().enumerate() {
            for c in 0..q {
                fixed[(other, c)] = off[(p, c)];
            }
        }
        matmul(off.as_mut(), Accum::Add, basis.as_ref(), fixed.as_ref(), -1.0, Par::Seq);
        drop(Wide);
        for c in 0..q {
            let e = off.col_as_slice_mut(c);
            pivots.iter().for_each(|&p| e[p] = 0.0);
            basis.col_as_slice_mut(c).iter_mut().zip(&*e).for_each(|(z, e)| *z -= e);
        }
    }
    // a correction of no more than rounding of its entry is none
    (0..q).fold(0.0, |worst, c| {
        let (z, e) = (basis.col_as_slice(c), off.col_as_slice(c));
        f64::max(worst, doubt(z, d, |j| (f64::EPSILON * z[j]).abs().max(e[j].abs())))
    })
}

/// The lower factor of `K + H'H + Z Z'`.
fn definite(basis: &Mat<f64>, (k, rows): (&Mat<f64>, &Mat<f64>)) -> Option<Mat<f64>> {
    let _clean = Wide;
    let mut s = k + rows * rows.transpose() + basis * basis.transpose();
    CholeskyScratch::default().factor(s.as_mut()).ok()?;
    Some(s)
}

/// `K z + H'H z`, which a direction of the null space leaves nothing of.
fn left_of(z: &[f64], (k, rows): (&[Entries], &[Entries]), out: &mut [f64]) {
    let product = |column: &[(usize, f64)]| {
        let mut sum = Sum::default();
        column.iter().filter(|(i, _)| z[*i] != 0.0).for_each(|&(i, v)| sum.add_product(v, z[i]));
        sum.value()
    };
    out.iter_mut().zip(k).for_each(|(o, column)| *o = product(column));
    for row in rows {
        let left = product(row);
        if left != 0.0 {
            row.iter().for_each(|&(i, v)| out[i] += left * v);
        }
    }
}

/// `w -= N N'w` for an orthonormal basis N.
pub(crate) fn project_off(basis: MatRef<'_, f64>, w: &mut [f64]) {
    let mut along = vec![0.0; basis.ncols()];
    gemv_t(1.0, basis, w, &mut along);
    gemv(-1.0, basis, &along, w);
}

/// The same; entries of which no more is left than rounding of the directions are 0: a force along the face alone leaves
/// nothing, which has no digits to be measured by.
pub(super) fn leave(basis: MatRef<'_, f64>, w: &mut [f64]) {
    let mut terms: Vec<f64> = w.iter().map(|w| w.abs()).collect();
    let mut sizes = vec![0.0; basis.ncols()];
    gemv_t_abs(basis, &terms, &mut sizes);
    gemv_abs(basis, &sizes, &mut terms);
    project_off(basis, w);
    let rounding = rank_rounding(w.len());
    w.iter_mut().zip(&terms).filter(|(w, t)| w.abs() <= rounding * **t).for_each(|(w, _)| *w = 0.0);
}

/// Reduces the columns so that each has an entry 1 where all others have 0, at the variables that are longest; returns these.
fn echelon(basis: &mut Mat<f64>, d: &[f64]) -> Vec<usize> {
    let (f, q) = (basis.nrows(), basis.ncols());
    let mut lengths = vec![0.0; f];
    let mut longest = |column: &[f64]| {
        lengths.iter_mut().zip(column.iter().zip(d)).for_each(|(l, (z, d))| *l = z * d);
        largest_of(&lengths)
    };
    let mut pivots = vec![usize::MAX; q];
    let mut source = vec![0.0; f];
    let mut found: Vec<(f64, usize)> = (0..q).map(|c| longest(basis.col_as_slice(c))).collect();
    for _ in 0..q {
        let open = (0..q).filter(|&c| pivots[c] == usize::MAX);
        let Some(c) = open.max_by(|&a, &b| found[a].0.total_cmp(&found[b].0)) else { break };
        let p = found[c].1;
        pivots[c] = p;
        let pivot = basis[(p, c)];
        basis.col_as_slice_mut(c).iter_mut().for_each(|z| *z /= pivot);
        source.copy_from_slice(basis.col_as_slice(c));
        for other in (0..q).filter(|&other| other != c) {
            let column = basis.col_as_slice_mut(other);
            let along = column[p];
            if along != 0.0 {
                column.iter_mut().zip(&source).for_each(|(v, z)| *v -= along * z);
                column[p] = 0.0;
                if pivots[other] == usize::MAX {
                    found[other] = longest(column);
                }
            }
        }
    }
    pivots
}
