//! Least squares under k-th differences >= 0: systems whose condition grows with n^2k.

use bpqp::{Csc, Hessian, Matrix, Qp};
use std::f64::consts::PI;

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

/// LISWET 1 and 7 to 12 of n points: W. Li and J. Swetits, "A Newton method for convex regression, data smoothing and
/// quadratic programming with bounded constraints" (SIAM J. Optimization 3, 1993), with second differences and the
/// perturbations of CUTEst, as Maros and Meszaros have them. `None` for another number.
pub fn liswet(which: usize, n: usize) -> Option<Result<Qp, bpqp::Error>> {
    let g: fn(f64) -> f64 = match which {
        1 => |t| t.sqrt(),
        7 => |t| (PI * t).sin(),
        8 => |t| (2.0 * PI * t).sin(),
        9 => |t| (4.0 * PI * t).sin(),
        10 => |t| (PI * t).cos(),
        11 => |t| (2.0 * PI * t).cos(),
        12 => |t| (4.0 * PI * t).cos(),
        _ => return None,
    };
    let at = |i: usize| i as f64 / (n - 1) as f64;
    let data: Vec<f64> = (0..n).map(|i| g(at(i)) + 0.1 * ((i + 1) as f64).sin()).collect();
    Some(isotone(&data, 2))
}
