//! One-sided derivatives at kinks: against one-sided differences of re-solves, in both directions.

use bpqp::faer::Mat;
use bpqp::{Cone, Conic, ConicTangent, Csc, Error, Hessian, Matrix, Qp, Settings, Solution, Tangent, Verdict};
use bpqp_testkit::Rng;

fn solve(qp: &Qp) -> Solution {
    let out = qp.solve(&Settings::default()).expect("valid");
    assert!(out.ok());
    out
}

/// A problem whose solution has weakly active rows and bounds: x, z and the slacks are planted, q, b and h follow.
fn kinked(rng: &mut Rng, sparse: bool) -> Qp {
    let (n, m, mi) = (10, 2, 6);
    let f = Mat::from_fn(n, n, |_, _| rng.normal());
    let p = &f * f.transpose();
    let (a, g) = (Mat::from_fn(m, n, |_, _| rng.normal()), Mat::from_fn(mi, n, |_, _| rng.normal()));
    // bounds: 0 strong, 1 weak at 0, 2 weak at 1, the others free
    let x: Vec<f64> = (0..n).map(|j| [0.0, 0.0, 1.0].get(j).copied().unwrap_or(0.2 + 0.6 * rng.uniform())).collect();
    let mut z_box = vec![0.0; n];
    z_box[0] = -1.0;
    let y = rng.normals(m);
    // rows: 0 strong, 1 and 2 weak, the others have slack
    let z: Vec<f64> = (0..mi).map(|i| if i == 0 { 1.5 } else { 0.0 }).collect();
    let product = |m: &Mat<f64>, v: &[f64]| -> Vec<f64> {
        (0..m.nrows()).map(|i| (0..m.ncols()).map(|j| m[(i, j)] * v[j]).sum()).collect()
    };
    let b = product(&a, &x);
    let h: Vec<f64> = product(&g, &x).iter().enumerate().map(|(i, v)| v + if i < 3 { 0.0 } else { 1.0 }).collect();
    let px = product(&p, &x);
    let transposed = |m: &Mat<f64>, v: &[f64], j: usize| (0..m.nrows()).map(|i| m[(i, j)] * v[i]).sum::<f64>();
    let q: Vec<f64> = (0..n).map(|j| -(px[j] + transposed(&a, &y, j) + transposed(&g, &z, j) + z_box[j])).collect();
    let matrix = |m: Mat<f64>| if sparse { Matrix::Sparse(Csc::from_dense(&m)) } else { Matrix::from(m) };
    Qp::new(p, q)
        .and_then(|qp| qp.equality(matrix(a), b))
        .and_then(|qp| qp.inequality(matrix(g), h))
        .and_then(|qp| qp.bounds(vec![0.0; n], vec![1.0; n]))
        .expect("valid")
}

fn plus(v: &[f64], step: f64, d: &[f64]) -> Vec<f64> {
    v.iter().zip(d).map(|(v, d)| v + step * d).collect()
}

#[test]
fn it_is_the_limit_from_one_side() {
    let (mut kinks, mut bent) = (0, 0);
    for seed in 0..20 {
        let mut rng = Rng::new(900 + seed);
        let qp = kinked(&mut rng, seed % 2 == 0);
        let solution = solve(&qp);
        kinks += usize::from(solution.active().any_weak());
        let along: [Vec<f64>; 5] = [qp.n(), qp.n_equality(), qp.n_inequality(), qp.n(), qp.n()].map(|k| rng.normals(k));
        let mut sides = Vec::new();
        for side in [1.0, -1.0] {
            let d = along.clone().map(|v| v.iter().map(|v| side * v).collect::<Vec<f64>>());
            let [q, b, h, lb, ub] = d.clone();
            let t = Tangent { q: Some(q), b: Some(b), h: Some(h), lb: Some(lb), ub: Some(ub), ..Tangent::default() };
            let (moved, verdict) = solution.jvp_one_sided(&t).expect("a solution");
            assert_eq!(verdict, Verdict::Exact, "seed {seed}");
            // beyond the kink the solution is smooth: one-sided differences of second order
            let at = |step: f64| {
                let near =
                    qp.clone().with_q(plus(qp.q(), step, &d[0])).and_then(|p| p.with_b(plus(qp.b(), step, &d[1])));
                let near = near.and_then(|p| p.with_h(plus(qp.h(), step, &d[2])));
                let bounds = (plus(qp.lb(), step, &d[3]), plus(qp.ub(), step, &d[4]));
                solve(&near.and_then(|p| p.bounds(bounds.0, bounds.1)).expect("valid"))
            };
            let (one, two, step) = (at(1e-5), at(2e-5), 1e-5);
            let slope = |a: f64, b: f64, c: f64| (-3.0 * a + 4.0 * b - c) / (2.0 * step);
            for (own, [a, b, c]) in [
                (&moved.x, [&solution.x, &one.x, &two.x]),
                (&moved.y, [&solution.y, &one.y, &two.y]),
                (&moved.z, [&solution.z, &one.z, &two.z]),
                (&moved.z_box, [&solution.z_box, &one.z_box, &two.z_box]),
            ] {
                for i in 0..own.len() {
                    let numeric = slope(a[i], b[i], c[i]);
                    assert!(
                        (own[i] - numeric).abs() <= 1e-5 * (1.0 + numeric.abs()),
                        "seed {seed}: {} {numeric}",
                        own[i]
                    );
                }
            }
            let numeric = slope(solution.objective, one.objective, two.objective);
            assert!((moved.objective - numeric).abs() <= 1e-5 * (1.0 + numeric.abs()), "seed {seed}");
            sides.push(moved.x);
        }
        bent += usize::from(sides[0].iter().zip(&sides[1]).any(|(a, b)| (a + b).abs() > 1e-3));
    }
    assert!(kinks == 20 && bent > 10, "{kinks} {bent}");
}

#[test]
fn without_a_kink_it_is_the_jvp_and_cone_programs_of_linear_rows_have_it() {
    let qp = Qp::new(Hessian::Diagonal(vec![1.0, 1.0]), vec![-1.0, 3.0])
        .and_then(|qp| qp.bounds(vec![0.0; 2], vec![]))
        .expect("valid");
    let solution = solve(&qp);
    let t = Tangent { q: Some(vec![1.0, 2.0]), ..Tangent::default() };
    assert_eq!(solution.jvp_one_sided(&t).expect("a solution").0, solution.jvp(&t).expect("a solution"));
    // x >= 0 as a row of a cone program
    let identity = Csc::from_triplets(1, 1, &[(0, 0, 1.0)]).expect("in range");
    let row = Csc::from_triplets(1, 1, &[(0, 0, -1.0)]).expect("in range");
    let conic = Conic::new(Some(identity), vec![0.0], row, vec![0.0], vec![Cone::Nonnegative(1)]).expect("valid");
    let solution = conic.solve(&Settings::default()).expect("valid");
    for (dq, dx, dy) in [(-2.0, 2.0, 0.0), (2.0, 0.0, 2.0)] {
        let t = ConicTangent { q: Some(&[dq]), ..ConicTangent::default() };
        let (moved, verdict) = solution.jvp_one_sided(&t).expect("a solution");
        assert!((moved.x[0] - dx).abs() < 1e-12 && (moved.y[0] - dy).abs() < 1e-12 && (moved.s[0] - dx).abs() < 1e-12);
        assert_eq!(verdict, Verdict::Exact);
    }
    let cone = Csc::from_triplets(2, 1, &[(1, 0, -1.0)]).expect("in range");
    let conic = Conic::new(None, vec![1.0], cone, vec![1.0, 0.0], vec![Cone::SecondOrder(2)]).expect("valid");
    let t = ConicTangent { q: Some(&[1.0]), ..ConicTangent::default() };
    let refused = conic.solve(&Settings::default()).expect("valid").jvp_one_sided(&t);
    assert!(matches!(refused, Err(Error::Unsupported { .. })), "{refused:?}");
}
