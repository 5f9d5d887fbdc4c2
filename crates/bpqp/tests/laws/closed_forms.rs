//! Problems whose solution and derivative are known in closed form.

use super::{FORWARD, settings};
use bpqp::{Backward, Cotangent, Hessian, Qp, Solution, Solver, Tangent, Wrt};
use bpqp_testkit::Rng;
use bpqp_testkit::differences::{distance, dot};
use bpqp_testkit::reference::solve_linear;
use faer::Mat;

const EXACT: f64 = 1e-11;

fn solve(qp: &Qp, solver: Solver) -> Solution {
    let solution = qp.solve(&settings(solver, Backward::Direct)).expect("valid");
    assert!(solution.ok(), "{}: {}", solver.name(), solution.status);
    solution
}

fn dq(solution: &Solution, cotangent: &[f64]) -> Vec<f64> {
    solution.vjp(&Cotangent::x(cotangent), Wrt::Q).expect("differentiable").q.expect("asked for")
}

#[test]
fn the_projection_onto_a_box_clips() {
    let (n, mut rng) = (20, Rng::new(1));
    let (point, weights) = (rng.normals(n), rng.normals(n));
    let q: Vec<f64> = point.iter().map(|v| -v).collect();
    for p in [Hessian::Diagonal(vec![1.0; n]), Hessian::from(Mat::identity(n, n))] {
        let qp = Qp::new(p, q.clone()).and_then(|qp| qp.bounds(vec![-0.5; n], vec![0.7; n])).expect("valid");
        for solver in FORWARD {
            let solution = solve(&qp, solver);
            let clipped: Vec<f64> = point.iter().map(|v| v.clamp(-0.5, 0.7)).collect();
            assert!(distance(&solution.x, &clipped) < EXACT, "{}", solver.name());
            let gradient = solution.vjp(&Cotangent::x(&weights), Wrt::ALL).expect("differentiable");
            let inside = |i: usize| (-0.5..0.7).contains(&point[i]);
            let (q, lb, ub) = (gradient.q.expect("asked"), gradient.lb.expect("asked"), gradient.ub.expect("asked"));
            for i in 0..n {
                let name = solver.name();
                assert!((q[i] + if inside(i) { weights[i] } else { 0.0 }).abs() < EXACT, "{name} dq[{i}]");
                assert!((lb[i] - if point[i] < -0.5 { weights[i] } else { 0.0 }).abs() < EXACT, "{name} dlb[{i}]");
                assert!((ub[i] - if point[i] > 0.7 { weights[i] } else { 0.0 }).abs() < EXACT, "{name} dub[{i}]");
            }
        }
    }
}

/// The projection onto the simplex (Held, Wolfe, Crowder 1974): `max(point - tau, 0)`.
fn simplex(point: &[f64]) -> Vec<f64> {
    let mut sorted = point.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let (mut sum, mut tau) = (0.0, 0.0);
    for (k, v) in sorted.iter().enumerate() {
        sum += v;
        let candidate = (sum - 1.0) / (k + 1) as f64;
        if *v > candidate {
            tau = candidate;
        }
    }
    point.iter().map(|v| (v - tau).max(0.0)).collect()
}

#[test]
fn sparsemax_has_its_known_jacobian() {
    let (n, mut rng) = (20, Rng::new(2));
    let (scores, weights) = (rng.normals(n), rng.normals(n));
    let q: Vec<f64> = scores.iter().map(|v| -v).collect();
    let expected = simplex(&scores);
    let support: Vec<usize> = (0..n).filter(|&i| expected[i] > 0.0).collect();
    assert!(support.len() > 1 && support.len() < n);
    // the Jacobian is diag(s) - s s'/|s| with s the indicator of the support (Martins, Astudillo 2016)
    let mean = support.iter().map(|&i| weights[i]).sum::<f64>() / support.len() as f64;
    let back: Vec<f64> = (0..n).map(|i| if expected[i] > 0.0 { weights[i] - mean } else { 0.0 }).collect();
    let ones = || Mat::from_fn(1, n, |_, _| 1.0);
    let identity = || Hessian::Diagonal(vec![1.0; n]);
    let by_bounds = Qp::new(identity(), q.clone())
        .and_then(|qp| qp.equality(ones(), [1.0]))
        .and_then(|qp| qp.bounds(vec![0.0; n], []));
    let by_rows = Qp::new(identity(), q)
        .and_then(|qp| qp.equality(ones(), [1.0]))
        .and_then(|qp| qp.inequality(-Mat::<f64>::identity(n, n), vec![0.0; n]));
    for qp in [by_bounds.expect("valid"), by_rows.expect("valid")] {
        for solver in FORWARD {
            let solution = solve(&qp, solver);
            assert!(distance(&solution.x, &expected) < EXACT, "{}", solver.name());
            let minus: Vec<f64> = dq(&solution, &weights).iter().map(|v| -v).collect();
            assert!(distance(&minus, &back) < EXACT, "{}", solver.name());
        }
    }
}

#[test]
fn an_unconstrained_problem_is_a_linear_system() {
    let (n, mut rng) = (15, Rng::new(3));
    let b = rng.normal_matrix(n, n);
    let p = b.transpose() * &b + Mat::<f64>::identity(n, n);
    let (q, weights) = (rng.normals(n), rng.normals(n));
    let flat: Vec<f64> = (0..n * n).map(|k| p[(k / n, k % n)]).collect();
    let minus: Vec<f64> = q.iter().map(|v| -v).collect();
    let (x, w) = (solve_linear(&flat, &minus).expect("regular"), solve_linear(&flat, &weights).expect("regular"));
    let qp = Qp::new(p, q).expect("valid");
    for solver in FORWARD {
        let solution = solve(&qp, solver);
        assert!(distance(&solution.x, &x) < EXACT, "{}", solver.name());
        let gradient = solution.vjp(&Cotangent::x(&weights), Wrt::ALL).expect("differentiable");
        let dq: Vec<f64> = gradient.q.expect("asked").iter().map(|v| -v).collect();
        assert!(distance(&dq, &w) < EXACT, "{}", solver.name());
        let Some(Hessian::Dense(dp)) = gradient.p else { panic!("a dense P has a dense gradient") };
        for i in 0..n {
            for j in 0..n {
                assert!((dp[(i, j)] + 0.5 * (w[i] * x[j] + x[i] * w[j])).abs() < EXACT, "dP[{i}, {j}]");
            }
        }
    }
}

#[test]
fn an_equality_constrained_problem_projects() {
    // min 1/2 |x - c|^2 s.t. A x = b: x = c - A'(A A')^-1 (A c - b), dx = (I - A'(A A')^-1 A) dc + A'(A A')^-1 db
    let (n, m, mut rng) = (12, 4, Rng::new(4));
    let a = rng.normal_matrix(m, n);
    let (c, b, weights) = (rng.normals(n), rng.normals(m), rng.normals(n));
    let gram = &a * a.transpose();
    let gram: Vec<f64> = (0..m * m).map(|k| gram[(k / m, k % m)]).collect();
    let times = |v: &[f64]| (0..m).map(|i| (0..n).map(|j| a[(i, j)] * v[j]).sum::<f64>()).collect::<Vec<_>>();
    let back = |u: &[f64]| (0..n).map(|j| (0..m).map(|i| a[(i, j)] * u[i]).sum::<f64>()).collect::<Vec<_>>();
    let lifted: Vec<f64> = times(&c).iter().zip(&b).map(|(v, b)| v - b).collect();
    let shift = back(&solve_linear(&gram, &lifted).expect("regular"));
    let x: Vec<f64> = c.iter().zip(&shift).map(|(c, s)| c - s).collect();
    let db = solve_linear(&gram, &times(&weights)).expect("regular");
    let dc: Vec<f64> = weights.iter().zip(back(&db)).map(|(w, s)| w - s).collect();
    let q: Vec<f64> = c.iter().map(|v| -v).collect();
    let qp = Qp::new(Hessian::Diagonal(vec![1.0; n]), q).and_then(|qp| qp.equality(a.clone(), b)).expect("valid");
    for solver in FORWARD {
        let solution = solve(&qp, solver);
        assert!(distance(&solution.x, &x) < EXACT, "{}", solver.name());
        let gradient = solution.vjp(&Cotangent::x(&weights), Wrt::ALL).expect("differentiable");
        let minus: Vec<f64> = gradient.q.expect("asked").iter().map(|v| -v).collect();
        assert!(distance(&minus, &dc) < EXACT, "{}", solver.name());
        assert!(distance(&gradient.b.expect("asked"), &db) < EXACT, "{}", solver.name());
    }
}

#[test]
fn the_optimal_value_has_the_gradients_of_the_envelope_theorem() {
    let (n, mut rng) = (10, Rng::new(5));
    let q = rng.normals(n);
    let p = Hessian::Diagonal(rng.uniforms(n, 0.5, 2.0));
    let qp = Qp::new(p, q)
        .and_then(|qp| qp.equality(Mat::from_fn(1, n, |_, _| 1.0), [1.0]))
        .and_then(|qp| qp.bounds(vec![0.0; n], vec![0.3; n]))
        .expect("valid");
    let solution = solve(&qp, Solver::Auto);
    let gradient = solution.vjp(&Cotangent { objective: 1.0, ..Cotangent::default() }, Wrt::ALL).expect("smooth");
    assert!(distance(&gradient.q.expect("asked"), &solution.x) < EXACT);
    let minus: Vec<f64> = solution.y.iter().map(|v| -v).collect();
    assert!(distance(&gradient.b.expect("asked"), &minus) < EXACT);
    let Some(Hessian::Diagonal(d)) = gradient.p else { panic!("a diagonal P has a diagonal gradient") };
    let half: Vec<f64> = solution.x.iter().map(|x| 0.5 * x * x).collect();
    assert!(distance(&d, &half) < EXACT);
    let direction = rng.normals(n);
    let moved = solution.jvp(&Tangent { q: Some(direction.clone()), ..Tangent::default() }).expect("smooth");
    assert!((moved.objective - dot(&direction, &solution.x)).abs() < EXACT);
}
