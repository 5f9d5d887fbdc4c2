//! Is `P` positive semidefinite on the null space of the equalities? If not: a direction that proves it.

use super::probe::probe;
use super::sparse::{DELTAS, SparseKkt};
use super::{KktData, KktFactor};
use crate::interrupt::late;
use crate::matrix::{Hessian, Keep, Matrix, dot, norm_inf};
use crate::thresholds::CURVATURE_ROUNDING;
use std::sync::Arc;

/// Curvature above minus this times the scale of the rows of `P` is what rounding leaves of a semidefinite matrix.
const ROUNDING: f64 = CURVATURE_ROUNDING;
/// Starts of the inverse iteration: each is nearly orthogonal to a given direction once in a thousand times.
const STARTS: u64 = 4;
/// Steps of the inverse iteration.
const STEPS: usize = 30;
/// `|A d|` allowed, relative to `|A| |d|`.
const ON_NULL_SPACE: f64 = 1e-10;

/// A direction `d` with `A d = 0` and `d'P d < 0`, of largest entry 1; `None` if `P` is positive semidefinite on the null
/// space of `A`, up to rounding. Costs nothing for a diagonal or factored `P` and one factorization of a convex `P`;
/// only what fails it is searched for a direction.
pub fn negative_curvature(p: &Arc<Hessian>, a: &Arc<Matrix>) -> Option<Vec<f64>> {
    if p.is_surely_convex() {
        return None;
    }
    let metric = row_norms(p);
    if p.is_positive_definite(&metric.iter().map(|v| ROUNDING * v).collect::<Vec<_>>()) {
        return None;
    }
    if late() {
        return None;
    }
    let empty = Arc::new(Matrix::empty(p.n()));
    let mut kkt = SparseKkt::of_curvature(KktData { p, rows: [a, &empty, &empty], analysis: &Keep::default() }).ok()?;
    search(p, a, &mut kkt, &metric)
}

/// Largest magnitude in each row of `P`: the scale of its rounding errors (`|P_ij| <= sqrt(P_ii P_jj)` if convex).
fn row_norms(p: &Hessian) -> Vec<f64> {
    let mut norms = vec![0.0; p.n()];
    p.raise_columns(&vec![1.0; p.n()], &mut norms);
    // rows of zeros: any positive number far below the others
    let tiny = norms.iter().fold(0.0_f64, |a, &v| a.max(v)) * 1e-12;
    norms.iter_mut().for_each(|v| *v = v.max(tiny).max(f64::MIN_POSITIVE));
    norms
}

/// Inverse iteration with the smallest shift `s * metric` (up to a factor of 4) that makes the Hessian positive definite
/// on the null space: it converges to the direction of most negative curvature, and every solve stays on the null space.
fn search(p: &Hessian, a: &Matrix, kkt: &mut SparseKkt, metric: &[f64]) -> Option<Vec<f64>> {
    let n = p.n();
    let dc = vec![0.0; a.nrows()];
    let mut dx: Vec<f64> = metric.iter().map(|v| ROUNDING * v).collect();
    let first = &DELTAS[..1];
    if kkt.factor_within(first, &dx, &dc).is_ok() {
        return None;
    }
    let mut shift = ROUNDING;
    loop {
        shift *= 4.0;
        if shift > 1e6 {
            return None;
        }
        dx.iter_mut().for_each(|v| *v *= 4.0);
        if kkt.factor_within(first, &dx, &dc).is_ok() {
            break;
        }
    }
    // the inertia has said that there is one
    (1..=STARTS).find_map(|seed| iterate((p, a), kkt, metric, (0..n).map(|i| probe(seed, i)).collect()))
}

/// Inverse iteration from `d`.
fn iterate((p, a): (&Hessian, &Matrix), kkt: &mut SparseKkt, metric: &[f64], mut d: Vec<f64>) -> Option<Vec<f64>> {
    let (n, m) = (p.n(), a.nrows());
    let (mut pd, mut ad, mut work) = (vec![0.0; n], vec![0.0; m], Vec::new());
    let mut best: Option<(f64, Vec<f64>)> = None;
    for _ in 0..STEPS {
        let mut v = vec![0.0; m];
        d.iter_mut().zip(metric).for_each(|(d, w)| *d *= w);
        kkt.solve(&mut d, &mut v);
        let size = norm_inf(&d);
        if !(size.is_finite() && size > 0.0) {
            break;
        }
        d.iter_mut().for_each(|v| *v /= size);
        pd.fill(0.0);
        p.mul_add(1.0, &d, &mut pd, &mut work);
        ad.fill(0.0);
        a.mul_add(1.0, &d, &mut ad);
        let weight: f64 = d.iter().zip(metric).map(|(d, w)| d * d * w).sum();
        let curvature = dot(&d, &pd) / weight;
        let proves = curvature < -ROUNDING && norm_inf(&ad) <= ON_NULL_SPACE * largest(a);
        if proves && best.as_ref().is_none_or(|(c, _)| curvature < *c) {
            let done = best.as_ref().is_some_and(|(c, _)| curvature > 1.01 * c);
            best = Some((curvature, d.clone()));
            if done {
                break;
            }
        }
    }
    best.map(|(_, d)| d)
}

fn largest(m: &Matrix) -> f64 {
    let mut value = 0.0_f64;
    m.for_each(|_, _, v| value = value.max(v.abs()));
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Certificate, Csc, Qp};
    use faer::Mat;

    fn check(qp: &Qp, expected: bool) {
        let found = negative_curvature(&qp.p, &qp.a);
        assert_eq!(found.is_some(), expected);
        if let Some(d) = found {
            assert!(Certificate::NonConvex(d).verify(qp));
        }
    }

    /// A rotated diagonal, dense and sparse.
    fn both(diagonal: &[f64]) -> [Qp; 2] {
        let n = diagonal.len();
        // a Householder reflection is orthogonal
        let u: Vec<f64> = (0..n).map(|i| 1.0 + (i % 3) as f64).collect();
        let norm = dot(&u, &u);
        let q = Mat::from_fn(n, n, |i, j| f64::from(u8::from(i == j)) - 2.0 * u[i] * u[j] / norm);
        let scaled = Mat::from_fn(n, n, |i, j| q[(i, j)] * diagonal[j]);
        let p = &scaled * q.transpose();
        let p = Mat::from_fn(n, n, |i, j| 0.5 * (p[(i, j)] + p[(j, i)]));
        let sparse = Csc::from_dense(&p);
        [Hessian::from(p), Hessian::Sparse(sparse)].map(|p| Qp::new(p, vec![0.0; n]).unwrap())
    }

    #[test]
    fn rounding_in_an_entry_does_not_hide_curvature() {
        for noise in [0.0, 1.1e-16, -1e-17, 3e-14] {
            let p = Mat::from_fn(2, 2, |i, j| if i != j { -1.6 } else { noise * f64::from(u8::from(i == 0)) });
            for p in [Hessian::Sparse(Csc::from_dense(&p)), Hessian::from(p)] {
                check(&Qp::new(p, vec![0.0; 2]).unwrap(), true);
            }
        }
    }

    #[test]
    fn rounding_beside_a_zero_is_no_curvature() {
        for noise in [1e-17, -1e-16, 8e-16] {
            let p = Mat::from_fn(3, 3, |i, j| [[4.0, 2.0, noise], [2.0, 1.0, 0.0], [noise, 0.0, 0.0]][i][j]);
            for p in [Hessian::Sparse(Csc::from_dense(&p)), Hessian::from(p)] {
                check(&Qp::new(p, vec![0.0; 3]).unwrap(), false);
            }
        }
    }

    #[test]
    fn tells_curvature_from_rounding() {
        for qp in both(&[1.0, 2.0, 0.0, 0.0, 5.0, 1e-3]) {
            check(&qp, false);
        }
        for qp in both(&[1.0, 2.0, -1e-16, 0.0, 5.0, 1e-3]) {
            check(&qp, false);
        }
        for qp in both(&[1.0, 2.0, -1e-5, 0.0, 5.0, 1e-3]) {
            check(&qp, true);
        }
        for qp in both(&[-1.0, -2.0, -3.0, -4.0]) {
            check(&qp, true);
        }
    }

    #[test]
    fn only_the_null_space_of_the_equalities_counts() {
        let p = || Mat::from_fn(3, 3, |i, j| if i == j { [1.0, -1.0, 2.0][i] } else { 0.0 });
        for p in [Hessian::from(p()), Hessian::Sparse(Csc::from_dense(&p()))] {
            let qp = Qp::new(p, vec![0.0; 3]).unwrap();
            check(&qp, true);
            let with = |row: [f64; 3]| qp.clone().equality(Matrix::from_rows(1, 3, &row).unwrap(), vec![1.0]).unwrap();
            check(&with([1.0, -2.0, 0.0]), false);
            check(&with([2.0, -1.0, 0.0]), true);
            check(&with([0.0, 1.0, 0.0]), false);
        }
    }

    #[test]
    fn structured_hessians_are_convex() {
        for p in [Hessian::Zero(2), Hessian::Diagonal(vec![0.0, 1.0])] {
            check(&Qp::new(p, vec![0.0; 2]).unwrap(), false);
        }
    }
}
