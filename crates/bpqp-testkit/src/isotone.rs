//! Least squares under k-th differences >= 0: systems whose condition grows with n^2k.

use bpqp::{Csc, Hessian, Matrix, Qp};

/// The coefficients of a k-th difference.
fn coefficients(k: usize) -> Vec<f64> {
    (0..k).fold(vec![1.0], |c, _| {
        let mut next = vec![0.0; c.len() + 1];
        for (i, v) in c.iter().enumerate() {
            next[i] += v;
            next[i + 1] -= v;
        }
        next
    })
}

/// The point nearest to `data` whose k-th differences are not negative.
pub fn isotone(data: &[f64], k: usize) -> Result<Qp, bpqp::Error> {
    let (n, c) = (data.len(), coefficients(k));
    let rows: Vec<_> = (0..n - k).flat_map(|i| c.iter().enumerate().map(move |(j, v)| (i, i + j, -v))).collect();
    Qp::new(Hessian::Diagonal(vec![1.0; n]), data.iter().map(|v| -v).collect::<Vec<_>>())?
        .inequality(Matrix::Sparse(Csc::from_triplets(n - k, n, &rows)?), vec![0.0; n - k])
}

/// LISWET 1 to 12 of n points: W. Li and J. Swetits, "A Newton method for convex regression, data smoothing and quadratic
/// programming with bounded constraints" (SIAM J. Optimization 3, 1993), as CUTE has them.
pub fn liswet(which: usize, n: usize) -> Result<Qp, bpqp::Error> {
    let (k, g): (usize, fn(f64) -> f64) = match which {
        1 => (2, |t| t.sqrt()),
        2 => (2, |t| 1.0 / (1.0 + t)),
        3 => (3, |t| t.exp()),
        4 => (3, |t| -(t - 0.5) * (t - 0.5)),
        5 => (3, |t| 2.0 * t * t * t),
        6 => (4, |t| t.sin()),
        7 => (2, |t| t.sqrt()),
        8 => (3, |t| 1.0 / (1.0 + t)),
        9 => (4, |t| t.exp()),
        10 => (4, |t| (-t).exp()),
        11 => (5, |t| t.sin()),
        _ => (6, |t| t.exp()),
    };
    let at = |i: usize| i as f64 / (n - 1) as f64;
    let data: Vec<f64> = (0..n).map(|i| g(at(i)) + 0.1 * ((i + 1) as f64).sin()).collect();
    isotone(&data, k)
}
