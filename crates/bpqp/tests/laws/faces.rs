//! Optimal faces: the gradient is the least-norm solution of the singular system, and says that it is one of several.

use bpqp::{Cotangent, Csc, Hessian, Matrix, Qp, Settings, Solver, Verdict, Wrt};
use bpqp_testkit::Rng;
use faer::Mat;

/// A problem whose solutions are a face around `x0`: curvature of rank `rank`, `active` rows with positive multipliers, as
/// many slack ones, wide bounds. Returns the active rows too.
fn face(n: usize, (rank, active): (usize, usize), kind: &str, rng: &mut Rng) -> (Qp, Mat<f64>, Mat<f64>) {
    assert!(rank + active < n);
    let sparse = |i: usize, j: usize, rng: &mut Rng| if n < 40 || (i * 7 + j) % 9 == 0 { rng.normal() } else { 0.0 };
    let x0 = rng.uniforms(n, -1.0, 1.0);
    let g = Mat::from_fn(2 * active, n, |i, j| sparse(i, j, rng));
    let (d, f) = match kind {
        "diagonal" => ((0..n).map(|i| if i < rank { 1.0 + i as f64 } else { 0.0 }).collect(), Mat::zeros(n, 0)),
        "zero" => (vec![0.0; n], Mat::zeros(n, 0)),
        _ => (vec![0.0; n], Mat::from_fn(n, rank, |i, j| sparse(i, j, rng))),
    };
    let mut p = &f * f.transpose();
    d.iter().enumerate().for_each(|(i, d)| p[(i, i)] += d);
    let hessian = match kind {
        "dense" => Hessian::from(p.clone()),
        "sparse" => Hessian::Sparse(Csc::from_dense(&p)),
        "diagonal" => Hessian::Diagonal(d),
        "zero" => Hessian::Zero(n),
        _ => Hessian::LowRank { d, f },
    };
    let z = rng.uniforms(active, 0.5, 2.0);
    let q = (0..n).map(|j| {
        let force: f64 = (0..n).map(|k| p[(j, k)] * x0[k]).sum();
        -force - (0..active).map(|i| g[(i, j)] * z[i]).sum::<f64>()
    });
    let slack = |i: usize| if i < active { 0.0 } else { 1.0 };
    let h = (0..2 * active).map(|i| slack(i) + (0..n).map(|j| g[(i, j)] * x0[j]).sum::<f64>()).collect::<Vec<_>>();
    let q = q.collect::<Vec<_>>();
    let rows = g.subrows(0, active).to_owned();
    let matrix: Matrix = if kind == "sparse" || n >= 40 { Csc::from_dense(&g).into() } else { g.into() };
    let qp = Qp::new(hessian, q).unwrap().inequality(matrix, h).unwrap();
    (qp.bounds(vec![-4.0; n], vec![4.0; n]).unwrap(), p, rows)
}

/// `-pinv([P F'; F 0]) (g, 0)` from the eigenvectors.
fn reference(p: &Mat<f64>, f: &Mat<f64>, g: &[f64]) -> Vec<f64> {
    let (n, k) = (p.nrows(), f.nrows());
    let m = Mat::from_fn(n + k, n + k, |i, j| match (i < n, j < n) {
        (true, true) => p[(i, j)],
        (true, false) => f[(j - n, i)],
        (false, true) => f[(i - n, j)],
        (false, false) => 0.0,
    });
    let eigen = m.self_adjoint_eigen(faer::Side::Lower).unwrap();
    let mut out = vec![0.0; n + k];
    for (e, &value) in eigen.S().column_vector().iter().enumerate() {
        if value.abs() > 1e-9 {
            let u = eigen.U().col(e);
            let along: f64 = (0..n).map(|i| u[i] * g[i]).sum();
            (0..n + k).for_each(|i| out[i] -= along / value * u[i]);
        }
    }
    out
}

#[test]
fn the_gradient_on_a_face_is_of_least_norm_and_flagged() {
    let mut rng = Rng::new(91);
    for (n, shape) in [(8, (3, 2)), (20, (6, 8)), (60, (20, 15))] {
        for kind in ["dense", "sparse", "diagonal", "low_rank", "zero"] {
            let (qp, p, f) = face(n, shape, kind, &mut rng);
            let cotangent = rng.normals(n);
            let expected = reference(&p, &f, &cotangent);
            for solver in [Solver::Auto, Solver::InteriorPoint, Solver::Clarabel, Solver::Admm] {
                let what = format!("{kind} {n} {solver:?}");
                let solution = qp.solve(&Settings { solver, ..Settings::default() }).unwrap();
                assert!(solution.ok() && solution.info.polished, "{what}: {:?}", solution.status);
                let (gradients, verdict) = solution.vjps(&[Cotangent::x(&cotangent)], Wrt::ALL).unwrap();
                assert_eq!((solution.verdict(), verdict), (Verdict::OneOfSeveral, Verdict::OneOfSeveral), "{what}");
                let (q, h) = (gradients[0].q.as_ref().unwrap(), gradients[0].h.as_ref().unwrap());
                let size = expected.iter().fold(1.0_f64, |m, v| m.max(v.abs()));
                for (i, &e) in expected.iter().enumerate() {
                    let found = if i < n { q[i] } else { -h[i - n] };
                    assert!((found - e).abs() <= 1e-6 * size, "{what}: entry {i} is {found}, not {e}");
                }
            }
        }
    }
}
