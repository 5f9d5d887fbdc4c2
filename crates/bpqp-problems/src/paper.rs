//! The problem families that the paper and the libraries around it are timed on, and one with half of the inequalities
//! active, which those lack.

use crate::Rng;
use bpqp::{Csc, Hessian, Matrix, Qp};
use faer::Mat;
use faer::prelude::Solve;

fn product(g: &Mat<f64>, x: &[f64]) -> Vec<f64> {
    (0..g.nrows()).map(|i| (0..g.ncols()).map(|j| g[(i, j)] * x[j]).sum()).collect()
}

fn valid(qp: Result<Qp, bpqp::Error>) -> Qp {
    qp.expect("valid by construction")
}

/// The paper's dense QPs: n variables, m equalities, m inequalities, entries uniform, `P = B'B + 1e-6 I`. Hardly any
/// inequality is active.
pub fn qp(n: usize, m: usize, seed: u64) -> Qp {
    let mut rng = Rng::new(seed);
    let b = rng.uniform_matrix(n, n);
    let mut p = b.transpose() * &b;
    for i in 0..n {
        p[(i, i)] += 1e-6;
    }
    let g = rng.uniform_matrix(m, n);
    let (q, a, b) = (rng.uniforms(n, 0.0, 1.0), rng.uniform_matrix(m, n), rng.uniforms(m, 0.0, 1.0));
    let h = product(&g, &rng.uniforms(n, 0.0, 1.0));
    valid(Qp::new(p, q).and_then(|qp| qp.equality(a, b)).and_then(|qp| qp.inequality(g, h)))
}

/// The same with `h` placed around the equality-constrained optimum, so that about half of the inequalities are active.
pub fn half_active(n: usize, m: usize, seed: u64) -> Qp {
    let base = qp(n, m, seed);
    let mut rng = Rng::new(seed ^ 0xac71);
    let size = n + m;
    let (p, a) = (base.p().to_dense(), base.a().to_dense());
    let kkt = Mat::from_fn(size, size, |i, j| match (i < n, j < n) {
        (true, true) => p[(i, j)],
        (true, false) => a[(j - n, i)],
        (false, true) => a[(i - n, j)],
        (false, false) => 0.0,
    });
    let right: Vec<f64> = base.q().iter().map(|v| -v).chain(base.b().iter().copied()).collect();
    let mut x = Mat::from_fn(size, 1, |i, _| right[i]);
    kkt.partial_piv_lu().solve_in_place(&mut x);
    let x: Vec<f64> = (0..n).map(|i| x[(i, 0)]).collect();
    let g = rng.normal_matrix(m, n);
    let s = product(&g, &x);
    let mean = s.iter().sum::<f64>() / m as f64;
    let spread = (s.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / m as f64).sqrt();
    let h: Vec<f64> = s.iter().map(|s| s + 0.1 * spread * rng.normal()).collect();
    valid(base.inequality(g, h))
}

/// The paper's linear programs: `P = 2 eps I` (absent for `eps = 0`), about half of the inequalities in the dual.
pub fn lp(n: usize, m: usize, eps: f64, seed: u64) -> Qp {
    let mut rng = Rng::new(seed);
    let s = rng.normals(m);
    let x = rng.uniforms(n, 0.0, 1.0);
    let (g, a) = (rng.uniform_matrix(m, n), rng.uniform_matrix(m, n));
    let q: Vec<f64> = (0..n).map(|j| -(0..m).map(|i| g[(i, j)] * (-s[i]).max(0.0)).sum::<f64>()).collect();
    let h: Vec<f64> = product(&g, &x).iter().zip(&s).map(|(v, s)| v + s.max(0.0)).collect();
    let b = product(&a, &x);
    let p = if eps > 0.0 { Hessian::Diagonal(vec![2.0 * eps; n]) } else { Hessian::Zero(n) };
    valid(Qp::new(p, q).and_then(|qp| qp.equality(a, b)).and_then(|qp| qp.inequality(g, h)))
}

/// Long-only mean-variance portfolios: `risk/2 w'(F F' + D)w - mu'w`, `1'w = 1`, `w >= 0`, ten factors.
pub fn portfolio(n: usize, seed: u64) -> Qp {
    let (mut rng, risk) = (Rng::new(seed), 10.0_f64);
    let mut f = rng.normal_matrix(n, 10);
    for i in 0..n {
        for k in 0..10 {
            f[(i, k)] = risk.sqrt() * (0.05 * f[(i, k)] + if k == 0 { 0.15 } else { 0.0 });
        }
    }
    let d: Vec<f64> = (0..n).map(|_| risk * rng.between(0.02, 0.12).powi(2)).collect();
    let q: Vec<f64> = (0..n).map(|_| -0.02 * rng.normal()).collect();
    let p = Hessian::low_rank(d, f).expect("shapes agree");
    valid(
        Qp::new(p, q)
            .and_then(|qp| qp.equality(Mat::from_fn(1, n, |_, _| 1.0), [1.0]))
            .and_then(|qp| qp.bounds(vec![0.0; n], [])),
    )
}

/// One element of the dense batches that differentiable-optimization layers are timed on: n inequalities, no equalities.
pub fn batch_element(n: usize, seed: u64) -> Qp {
    let mut rng = Rng::new(seed);
    let l = rng.uniform_matrix(n, n);
    let mut p = &l * l.transpose();
    for i in 0..n {
        p[(i, i)] += 1e-3;
    }
    let g = rng.normal_matrix(n, n);
    let h: Vec<f64> = product(&g, &rng.normals(n)).iter().map(|v| v + rng.uniform()).collect();
    valid(Qp::new(p, rng.normals(n)).and_then(|qp| qp.inequality(g, h)))
}

/// Linear model-predictive control over `horizon` steps, 8 states and 4 inputs, banded; the box is given as bounds.
pub fn mpc(horizon: usize, seed: u64) -> Qp {
    let (mut rng, nx, nu) = (Rng::new(seed), 8, 4);
    let (block, n) = (nx + nu, horizon * (nx + nu));
    let mut dynamics = rng.normal_matrix(nx, nx);
    for i in 0..nx {
        for j in 0..nx {
            // rows sum to at most 1 in magnitude on average: stable enough
            dynamics[(i, j)] = if i == j { 0.9 } else { 0.03 * dynamics[(i, j)] };
        }
    }
    let input = rng.normal_matrix(nx, nu) * faer::Scale(0.3);
    let start = rng.normals(nx);
    let (mut d, mut q, mut limit) = (Vec::new(), Vec::new(), Vec::new());
    let weights = rng.uniforms(nx, 0.5, 2.0);
    for _ in 0..horizon {
        d.extend([0.1; 4]);
        d.extend(&weights);
        q.extend([0.0; 4]);
        q.extend(rng.normals(nx));
        limit.extend([0.5; 4]);
        limit.extend([8.0; 8]);
    }
    let mut triplets = Vec::new();
    for t in 0..horizon {
        for i in 0..nx {
            let row = t * nx + i;
            triplets.extend((0..nu).map(|k| (row, t * block + k, -input[(i, k)])));
            triplets.push((row, t * block + nu + i, 1.0));
            if t > 0 {
                triplets.extend((0..nx).map(|j| (row, (t - 1) * block + nu + j, -dynamics[(i, j)])));
            }
        }
    }
    let mut b = vec![0.0; horizon * nx];
    b[..nx].copy_from_slice(&product(&dynamics, &start));
    let a = Csc::from_triplets(horizon * nx, n, &triplets).expect("indices in range");
    let negative: Vec<f64> = limit.iter().map(|v| -v).collect();
    valid(Qp::new(Hessian::Diagonal(d), q).and_then(|qp| qp.equality(a, b)).and_then(|qp| qp.bounds(negative, limit)))
}

/// Projection of a random point onto `{x >= 0, A x = b}` with five entries per row of `A` and n/5 rows.
pub fn projection(n: usize, seed: u64) -> Qp {
    let (mut rng, rows) = (Rng::new(seed), n / 5);
    let mut triplets = Vec::new();
    for i in 0..rows {
        let first = (5 * i).saturating_sub(10).min(n.saturating_sub(25));
        for &j in rng.permutation(25.min(n)).iter().take(5) {
            triplets.push((i, first + j, rng.between(0.5, 1.5)));
        }
    }
    let a = Matrix::Sparse(Csc::from_triplets(rows, n, &triplets).expect("indices in range"));
    let inside: Vec<f64> = rng.normals(n).iter().map(|v| 0.1 + v.abs()).collect();
    let mut b = vec![0.0; rows];
    a.mul_add(1.0, &inside, &mut b);
    let q: Vec<f64> = rng.normals(n);
    let p = Hessian::Diagonal(vec![1.0; n]);
    valid(Qp::new(p, q).and_then(|qp| qp.equality(a, b)).and_then(|qp| qp.bounds(vec![0.0; n], [])))
}
