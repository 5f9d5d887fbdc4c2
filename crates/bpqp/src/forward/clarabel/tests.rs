use super::*;
use crate::Hessian;
use crate::Matrix;
use crate::residuals::{ResidualWork, residuals};
use faer::Mat;

fn solve(qp: &Qp) -> (Outcome, Point) {
    let mut handle = Clarabel.prepare(qp, &Settings::default()).unwrap();
    let mut point = Point::default();
    let outcome = handle.solve(None, &mut point);
    (outcome, point)
}

/// Every kind of constraint, with active and inactive ones, and every kind of Hessian.
fn problems() -> Vec<Qp> {
    let n = 4;
    let f = Mat::from_fn(n, 2, |i, k| ((i + 2 * k) % 3) as f64 - 1.0);
    let d = vec![1.0, 2.0, 0.5, 1.5];
    let factored = Hessian::low_rank(d.clone(), f).unwrap();
    let dense = Hessian::from(factored.to_dense());
    let sparse = Hessian::Sparse(Csc::from_dense(&factored.to_dense()));
    let inf = f64::INFINITY;
    let with = |p: Hessian| {
        Qp::new(p, vec![-1.0, 2.0, -3.0, 0.5])
            .unwrap()
            .equality(Matrix::from_rows(1, n, &[1.0, 1.0, 1.0, 1.0]).unwrap(), vec![1.0])
            .unwrap()
            .inequality(
                Matrix::from_rows(3, n, &[1.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0]).unwrap(),
                vec![0.5, inf, 5.0],
            )
            .unwrap()
            .bounds(vec![-1.0, -0.25, -inf, 0.125], vec![inf, 1.0, 0.75, 0.125])
            .unwrap()
    };
    [factored, dense, sparse, Hessian::Diagonal(d), Hessian::Zero(n)].map(with).to_vec()
}

#[test]
fn solves_with_every_kind_of_constraint_and_hessian() {
    let mut points = Vec::new();
    for qp in problems() {
        let (outcome, point) = solve(&qp);
        assert_eq!(outcome.status, Status::Solved);
        let (r, _) = residuals(&qp, &point, &mut ResidualWork::default());
        assert!(r.relative() < 1e-9, "{r:?}");
        points.push(point.x);
    }
    for k in 1..3 {
        let difference = points[0].iter().zip(&points[k]).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(difference < 1e-8, "{difference}");
    }
}

#[test]
fn proves_infeasibility_and_unboundedness() {
    let infeasible = Qp::linear(vec![1.0, 1.0])
        .unwrap()
        .inequality(Matrix::from_rows(1, 2, &[1.0, 1.0]).unwrap(), vec![1.0])
        .unwrap()
        .bounds(vec![1.0, 1.0], vec![])
        .unwrap();
    let (outcome, _) = solve(&infeasible);
    assert_eq!(outcome.status, Status::PrimalInfeasible);
    assert!(outcome.certificate.unwrap().verify(&infeasible));

    let unbounded = Qp::new(Hessian::Diagonal(vec![1.0, 0.0]), vec![1.0, -1.0]).unwrap();
    let unbounded = unbounded.bounds(vec![0.0, 0.0], vec![]).unwrap();
    let (outcome, _) = solve(&unbounded);
    assert_eq!(outcome.status, Status::DualInfeasible);
    assert!(outcome.certificate.unwrap().verify(&unbounded));
}

#[test]
fn limits() {
    let settings = Settings { max_iter: Some(1), ..Settings::default() };
    let mut handle = Clarabel.prepare(&problems()[0], &settings).unwrap();
    assert_eq!(handle.solve(None, &mut Point::default()).status, Status::IterationLimit);
}

/// Programs of one structure with every cone, in units from tame to wild; some have no solution.
fn cone_programs() -> impl Iterator<Item = Qp> {
    let mut seed = 1_u64;
    let mut next = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as f64 / f64::from(1_u32 << 30) - 1.0
    };
    let cones =
        [Cone::SecondOrder(6), Cone::Exponential, Cone::Power(0.3), Cone::DualExponential, Cone::SecondOrder(3)];
    let inside = [4.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 1.0, 2.0, 2.0, 2.0, 0.0, -1.0, 1.0, 2.0, 3.0, 0.0, 0.0];
    let rows = inside.len();
    (0..60).map(move |k| {
        let n = 5;
        let unit = 10_f64.powi(k % 13 - 6);
        let f = Mat::from_fn(n, n, |_, _| unit * next());
        let p = if k % 2 == 0 { &f * f.transpose() } else { Mat::zeros(n, n) };
        let c: Vec<f64> = (0..rows * n).map(|_| 0.3 * next()).collect();
        let d: Vec<f64> = inside.iter().map(|v| if k % 3 == 0 { unit * next() } else { v + 0.3 * next() }).collect();
        Qp::new(Hessian::from(p), (0..n).map(|_| next()).collect::<Vec<_>>())
            .unwrap()
            .with_cones(cones.to_vec(), Matrix::from_rows(rows, n, &c).unwrap(), d)
            .unwrap()
            .bounds(vec![-1.0; n], vec![2.0; n])
            .unwrap()
    })
}

#[test]
fn a_reused_solver_answers_as_a_fresh_one() {
    let mut programs = cone_programs();
    let mut handle = Clarabel.prepare(&programs.next().unwrap(), &Settings::default()).unwrap();
    let (mut solved, mut failed) = (0, 0);
    for qp in programs {
        handle.update(&qp).unwrap();
        let mut point = Point::default();
        let outcome = handle.solve(None, &mut point);
        let (fresh, other) = solve(&qp);
        assert_eq!((outcome.status, outcome.iterations), (fresh.status, fresh.iterations));
        let bits =
            |p: &Point| [&p.x, &p.z_box, &p.s, &p.y_cone].map(|v| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>());
        assert_eq!(bits(&point), bits(&other));
        if outcome.status.ok() { solved += 1 } else { failed += 1 }
    }
    assert!(solved > 10 && failed > 10, "{solved} solved, {failed} not");
}
