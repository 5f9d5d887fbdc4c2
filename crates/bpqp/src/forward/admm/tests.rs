use super::*;
use crate::{Csc, Hessian, Matrix};
use faer::Mat;

fn solve(qp: &Qp, settings: &Settings) -> (Outcome, Point) {
    let mut handle = Admm.prepare(qp, settings).unwrap();
    let mut point = Point::default();
    let outcome = handle.solve(None, &mut point);
    (outcome, point)
}

fn pseudo(i: usize, j: usize) -> f64 {
    let t = ((i * 37 + j * 101 + 11) % 97) as f64 / 97.0;
    2.0 * t - 1.0
}

/// n variables with every kind of constraint.
fn problem(p: Hessian) -> Qp {
    let n = p.n();
    let (m_eq, m_in) = (n / 5, n / 2);
    let a = Mat::from_fn(m_eq, n, pseudo);
    let g = Mat::from_fn(m_in, n, |i, j| pseudo(i + 50, j));
    let x0: Vec<f64> = (0..n).map(|i| pseudo(i, 7)).collect();
    let product =
        |m: &Mat<f64>| -> Vec<f64> { (0..m.nrows()).map(|i| (0..n).map(|j| m[(i, j)] * x0[j]).sum::<f64>()).collect() };
    let b = product(&a);
    let mut h: Vec<f64> = product(&g).iter().enumerate().map(|(i, v)| v + 0.1 * (i % 3) as f64).collect();
    h[0] = f64::INFINITY;
    let mut lb: Vec<f64> = x0.iter().map(|x| x - 0.2).collect();
    let mut ub: Vec<f64> =
        x0.iter().enumerate().map(|(i, x)| if i % 2 == 0 { f64::INFINITY } else { x + 0.3 }).collect();
    lb[1] = f64::NEG_INFINITY;
    (lb[3], ub[3]) = (x0[3], x0[3]);
    let q: Vec<f64> = (0..n).map(|i| pseudo(3, i)).collect();
    let qp = Qp::new(p, q).unwrap().equality(Csc::from_dense(&a), b).unwrap();
    qp.inequality(Matrix::from(g), h).unwrap().bounds(lb, ub).unwrap()
}

#[test]
fn solves_every_kind_of_hessian() {
    let n = 20;
    let f = Mat::from_fn(n, 3, pseudo);
    let d: Vec<f64> = (0..n).map(|i| 0.5 + (i % 4) as f64).collect();
    let factored = Hessian::low_rank(d.clone(), f).unwrap();
    let dense = factored.to_dense();
    let all = [
        Hessian::Sparse(Csc::from_dense(&dense)),
        Hessian::from(dense),
        factored,
        Hessian::Diagonal(d),
        Hessian::Zero(n),
    ];
    let mut points = Vec::new();
    for p in all {
        let qp = problem(p);
        let (outcome, point) = solve(&qp, &Settings::default());
        assert_eq!(outcome.status, Status::Solved, "{outcome:?}");
        let (r, _) = residuals(&qp, &point, &mut ResidualWork::default());
        assert!(r.within(1e-8, 1e-8, 1.0), "{r:?}");
        points.push(point.x);
    }
    for k in [1, 2] {
        let difference = points[0].iter().zip(&points[k]).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(difference < 1e-6, "{difference}");
    }
}

#[test]
fn equalities_and_pins_converge_fast() {
    // the shape of the backward QP, with a dependent row
    let n = 30;
    let d: Vec<f64> = (0..n).map(|i| 10f64.powi((i % 5) as i32 - 2)).collect();
    let a = Mat::from_fn(6, n, |i, j| if i < 5 { pseudo(i, j) } else { pseudo(0, j) - pseudo(1, j) });
    let pins: Vec<f64> = (0..n).map(|i| if i % 3 == 0 { 0.0 } else { f64::INFINITY }).collect();
    let q: Vec<f64> = (0..n).map(|i| pseudo(i, 5)).collect();
    let qp = Qp::new(Hessian::Diagonal(d), q).unwrap().equality(Csc::from_dense(&a), vec![0.0; 6]).unwrap();
    let qp = qp.bounds(pins.iter().map(|v| -v).collect::<Vec<_>>(), pins).unwrap();
    let (outcome, point) = solve(&qp, &Settings { eps_abs: 1e-10, eps_rel: 1e-10, ..Settings::default() });
    assert_eq!(outcome.status, Status::Solved);
    assert!(outcome.iterations <= 100, "{outcome:?}");
    let (r, _) = residuals(&qp, &point, &mut ResidualWork::default());
    assert!(r.within(1e-10, 1e-10, 1.0), "{r:?}");
}

#[test]
fn a_warm_start_at_the_solution_ends_at_once() {
    let qp = problem(Hessian::Diagonal(vec![1.0; 20]));
    let mut handle = Admm.prepare(&qp, &Settings::default()).unwrap();
    let (mut cold, mut warm) = (Point::default(), Point::default());
    let first = handle.solve(None, &mut cold);
    let again = handle.solve(Some(&cold), &mut warm);
    assert!(again.status == Status::Solved && again.iterations < first.iterations.min(30), "{first:?} {again:?}");
    // other numbers through `update`
    let next = qp.clone().with_q(qp.q().iter().map(|v| v * 1.01).collect::<Vec<_>>()).unwrap();
    handle.update(&next).unwrap();
    assert_eq!(handle.solve(Some(&cold), &mut warm).status, Status::Solved);
    let (r, _) = residuals(&next, &warm, &mut ResidualWork::default());
    assert!(r.within(1e-8, 1e-8, 1.0), "{r:?}");
    let harder = next.clone().with_p(Hessian::Diagonal(vec![1000.0; 20])).unwrap();
    handle.update(&harder).unwrap();
    assert_eq!(handle.solve(None, &mut warm).status, Status::Solved);
}

#[test]
fn proves_infeasibility_and_unboundedness() {
    let rows = Matrix::from_rows(2, 2, &[1.0, 1.0, -1.0, -1.0]).unwrap();
    let infeasible = Qp::linear(vec![1.0, 1.0]).unwrap().inequality(rows, vec![1.0, -2.0]).unwrap();
    let with_bounds = Qp::new(Hessian::Diagonal(vec![1.0; 2]), vec![1.0, 1.0])
        .unwrap()
        .equality(Matrix::from_rows(1, 2, &[1.0, 1.0]).unwrap(), vec![5.0])
        .unwrap()
        .bounds(vec![0.0; 2], vec![1.0, 2.0])
        .unwrap();
    let equalities = Qp::new(Hessian::Diagonal(vec![1.0; 2]), vec![1.0, 1.0])
        .unwrap()
        .equality(Matrix::from_rows(2, 2, &[1.0, 1.0, 2.0, 2.0]).unwrap(), vec![1.0, 3.0])
        .unwrap();
    for qp in [infeasible, with_bounds, equalities] {
        let (outcome, _) = solve(&qp, &Settings::default());
        assert_eq!(outcome.status, Status::PrimalInfeasible, "{outcome:?}");
        assert!(outcome.certificate.unwrap().verify(&qp));
    }
    let unbounded = Qp::new(Hessian::Diagonal(vec![1.0, 0.0]), vec![1.0, -1.0]).unwrap();
    let unbounded = unbounded.bounds(vec![0.0, 0.0], vec![]).unwrap();
    let (outcome, _) = solve(&unbounded, &Settings::default());
    assert_eq!(outcome.status, Status::DualInfeasible, "{outcome:?}");
    assert!(outcome.certificate.unwrap().verify(&unbounded));
}

#[test]
fn limits() {
    let qp = problem(Hessian::Diagonal(vec![1.0; 20]));
    let (outcome, _) = solve(&qp, &Settings { max_iter: Some(2), ..Settings::default() });
    assert_eq!((outcome.status, outcome.iterations), (Status::IterationLimit, 2));
    let limit = Some(std::time::Duration::ZERO);
    let (outcome, _) = solve(&qp, &Settings { time_limit: limit, ..Settings::default() });
    assert_eq!(outcome.status, Status::TimeLimit);
}
