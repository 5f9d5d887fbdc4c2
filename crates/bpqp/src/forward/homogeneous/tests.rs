use super::*;
use crate::forward::Clarabel;
use crate::residuals::{ResidualWork, residuals};
use crate::{Csc, Hessian, Matrix};
use bpqp_testkit::Rng;
use faer::Mat;

fn solve_with(solver: &dyn ForwardSolver, qp: &Qp) -> (Outcome, Point) {
    // without a polish behind it a solver goes to its last digits at once
    let mut handle = solver.prepare(qp, &Settings { polish: false, ..Settings::default() }).unwrap();
    let mut point = Point::default();
    let outcome = handle.solve(None, &mut point);
    (outcome, point)
}

fn solve(qp: &Qp) -> (Outcome, Point) {
    solve_with(&Homogeneous, qp)
}

fn relative(qp: &Qp, point: &Point) -> f64 {
    residuals(qp, point, &mut ResidualWork::default()).0.relative()
}

/// How the matrices are stored, and how full those of the cones are.
const FORMS: [(bool, f64); 3] = [(false, 1.0), (true, 0.8), (true, 0.08)];

fn matrix(rng: &mut Rng, (rows, cols): (usize, usize), (sparse, share): (bool, f64)) -> Matrix {
    let dense = Mat::from_fn(rows, cols, |_, _| if rng.uniform() < share { rng.normal() } else { 0.0 });
    if sparse { Matrix::Sparse(Csc::from_dense(&dense)) } else { Matrix::from(dense) }
}

/// A problem with equations, inequalities, bounds, fixed variables and cones, with a point strictly inside on both sides.
fn random(seed: u64, n: usize, form: (bool, f64), cones: &[Cone]) -> Qp {
    let mut rng = Rng::new(seed);
    let f = Mat::from_fn(n, 2, |_, _| rng.normal());
    let d: Vec<f64> = (0..n).map(|_| rng.between(0.0, 1.0)).collect();
    let full = Hessian::low_rank(d.clone(), f.clone()).unwrap();
    let p = match seed % 6 {
        0 => full,
        1 => Hessian::from(full.to_dense()),
        2 => Hessian::Sparse(Csc::from_dense(&full.to_dense())),
        3 => Hessian::Diagonal(d),
        4 => Hessian::block_diagonal(vec![Mat::identity(n / 2, n / 2), Mat::identity(n - n / 2, n - n / 2)]).unwrap(),
        _ => Hessian::Zero(n),
    };
    let x = rng.normals(n);
    let (m, k) = (2, 3);
    let rows: usize = cones.iter().map(Cone::rows).sum();
    let (a, g, c) = (matrix(&mut rng, (m, n), form), matrix(&mut rng, (k, n), form), matrix(&mut rng, (rows, n), form));
    let mut b = vec![0.0; m];
    a.mul_add(1.0, &x, &mut b);
    let mut h: Vec<f64> = (0..k).map(|_| rng.between(0.1, 1.0)).collect();
    g.mul_add(1.0, &x, &mut h);
    h[1] = f64::INFINITY;
    let inside = |cone: &Cone, rng: &mut Rng| match *cone {
        Cone::SecondOrder(n) => {
            let tail = rng.normals(n - 1);
            let length = tail.iter().map(|v| v * v).sum::<f64>().sqrt();
            [vec![length + rng.between(0.1, 1.0)], tail].concat()
        }
        Cone::PsdTriangle(n) => {
            let root = Mat::from_fn(n, n, |_, _| rng.normal());
            let mut out = vec![0.0; cone.rows()];
            crate::cones::psd::svec(&(&root * root.transpose() + 0.1 * Mat::<f64>::identity(n, n)), &mut out);
            out
        }
        _ => Vec::new(),
    };
    let mut s: Vec<f64> = cones.iter().flat_map(|cone| inside(cone, &mut rng)).collect();
    let y: Vec<f64> = cones.iter().flat_map(|cone| inside(cone, &mut rng)).collect();
    c.mul_add(1.0, &x, &mut s);
    let mut q = vec![0.0; n];
    p.mul_add(-1.0, &x, &mut q, &mut Vec::new());
    a.tmul_add(1.0, &rng.normals(m), &mut q);
    g.tmul_add(-1.0, &[0.3, 0.0, 0.7], &mut q);
    c.tmul_add(-1.0, &y, &mut q);
    let lb = (0..n).map(|i| if i % 3 == 0 { x[i] - 0.5 } else { f64::NEG_INFINITY }).collect::<Vec<_>>();
    let ub = (0..n).map(|i| if i % 4 == 0 { x[i] + 0.25 } else { f64::INFINITY }).collect::<Vec<_>>();
    let fix = |v: Vec<f64>| (0..n).map(|i| if i == 3 { x[3] } else { v[i] }).collect::<Vec<_>>();
    let (lb, ub) = (fix(lb), fix(ub));
    let qp = Qp::new(p, q).unwrap().equality(a, b).unwrap().inequality(g, h).unwrap();
    qp.bounds(lb, ub).unwrap().with_cones(cones.to_vec(), c, s).unwrap()
}

#[test]
fn agrees_with_clarabel_in_every_form() {
    let cones = [Cone::SecondOrder(6), Cone::SecondOrder(3), Cone::SecondOrder(1), Cone::SecondOrder(12)];
    let (mut whole, mut compared) = (0, 0);
    for seed in 0..25 {
        for (form, n) in FORMS.into_iter().zip([9, 14, 40]) {
            let qp = random(seed, n, form, &cones);
            let (outcome, point) = solve(&qp);
            let (other, theirs) = solve_with(&Clarabel, &qp);
            assert!(outcome.status.ok(), "seed {seed}, {form:?}: {:?}", outcome.status);
            whole += usize::from(outcome.status == Status::Solved);
            let error = relative(&qp, &point);
            assert!(error < 1e-7, "seed {seed}, {form:?}: {error:.1e}");
            if other.status.ok() {
                let (value, clarabel) = (qp.objective(&point.x), qp.objective(&theirs.x));
                let error = (value - clarabel).abs() / clarabel.abs().max(1.0);
                assert!(error < 1e-7, "seed {seed}, {form:?}: {value} {clarabel}");
                compared += 1;
            }
        }
    }
    assert!(compared >= 70, "{compared}");
    assert!(whole >= 50, "{whole} of 75 to the whole tolerance");
}

#[test]
fn semidefinite_cones() {
    let cones = [Cone::PsdTriangle(4), Cone::SecondOrder(5), Cone::PsdTriangle(2), Cone::PsdTriangle(1)];
    for seed in 0..40 {
        for (form, n) in FORMS.into_iter().zip([9, 14, 40]) {
            let qp = random(seed, n, form, &cones);
            let (outcome, point) = solve(&qp);
            let error = relative(&qp, &point);
            assert!(outcome.status.ok(), "seed {seed}, {form:?}: {error:.1e}");
            assert!(error < 1e-7, "seed {seed}, {form:?}: {error:.1e}");
        }
    }
}

#[test]
fn proves_infeasibility_and_unboundedness() {
    let cones = [Cone::SecondOrder(4), Cone::SecondOrder(7)];
    let mut proofs = [0; 2];
    for seed in 0..60 {
        for (form, n) in FORMS.into_iter().zip([9, 14, 40]) {
            let qp = random(seed, n, form, &cones);
            // a ball around the origin, and one that is far from it
            let mut c = Mat::zeros(2 * (n + 1), n);
            (0..n).for_each(|i| (c[(1 + i, i)], c[(n + 2 + i, i)]) = (1.0, 1.0));
            let mut d = vec![0.0; 2 * (n + 1)];
            (d[0], d[n + 1], d[n + 2]) = (1.0, 1.0, 3.0);
            let c = if form.0 { Matrix::Sparse(Csc::from_dense(&c)) } else { Matrix::from(c) };
            let apart = qp.clone().with_cones(vec![Cone::SecondOrder(n + 1); 2], c, d).unwrap();
            let (outcome, _) = solve(&apart);
            let proved = outcome.certificate.is_some_and(|proof| proof.verify(&apart));
            assert_eq!((outcome.status, proved), (Status::PrimalInfeasible, true), "seed {seed}, {form:?}");
            proofs[0] += 1;
            // along a direction in which nothing ends
            let free = Qp::linear((0..n).map(|i| if i == 1 { -1.0 } else { 0.1 }).collect::<Vec<_>>()).unwrap();
            let mut c = Mat::zeros(n, n);
            (0..n).for_each(|i| c[(i, i)] = -1.0);
            let c = if form.0 { Matrix::Sparse(Csc::from_dense(&c)) } else { Matrix::from(c) };
            let free = free.with_cones(vec![Cone::SecondOrder(n)], c, vec![0.0; n]).unwrap();
            let (outcome, _) = solve(&free);
            let proved = outcome.certificate.is_some_and(|proof| proof.verify(&free));
            assert_eq!((outcome.status, proved), (Status::DualInfeasible, true), "seed {seed}, {form:?}");
            proofs[1] += 1;
        }
    }
    assert!(proofs.iter().all(|n| *n > 100));
}

#[test]
fn limits() {
    let qp = random(1, 9, FORMS[0], &[Cone::SecondOrder(5)]);
    let settings = Settings { max_iter: Some(1), ..Settings::default() };
    let mut handle = Homogeneous.prepare(&qp, &settings).unwrap();
    assert_eq!(handle.solve(None, &mut Point::default()).status, Status::IterationLimit);
    let settings = Settings { time_limit: Some(std::time::Duration::ZERO), ..Settings::default() };
    let mut handle = Homogeneous.prepare(&qp, &settings).unwrap();
    assert_eq!(handle.solve(None, &mut Point::default()).status, Status::TimeLimit);
    let refused = Homogeneous.prepare(
        &Qp::linear(vec![1.0; 3]).unwrap().cone(Cone::Exponential, Mat::identity(3, 3), vec![0.0; 3]).unwrap(),
        &Settings::default(),
    );
    assert!(matches!(refused.err(), Some(Error::Unsupported { .. })));
}

#[test]
fn a_reused_solver_answers_as_a_fresh_one() {
    let cones = [Cone::SecondOrder(6), Cone::SecondOrder(3), Cone::SecondOrder(12)];
    for form in FORMS {
        let of = |seed: u64| random(6 * seed + 1, 16, (form.0, 1.0), &cones);
        let mut handle = Homogeneous.prepare(&of(0), &Settings::default()).unwrap();
        for seed in 1..20 {
            let mut qp = of(seed);
            if seed % 3 == 0 {
                // wild units, and no solution
                let b: Vec<f64> = qp.b().iter().map(|b| 1e6 * (b + 1.0)).collect();
                qp = qp.with_b(b).unwrap();
            }
            handle.update(&qp).unwrap();
            let mut point = Point::default();
            let outcome = handle.solve(None, &mut point);
            let (fresh, other) = solve(&qp);
            assert_eq!((outcome.status, outcome.iterations), (fresh.status, fresh.iterations));
            assert_eq!(point, other, "seed {seed}, {form:?}");
        }
    }
}

/// Two cones whose rows are variables, one of whose is not, and variables beside them; a point inside on both sides.
fn standard(seed: u64) -> Qp {
    let mut rng = Rng::new(seed);
    let cones = [Cone::PsdTriangle(5), Cone::PsdTriangle(2), Cone::PsdTriangle(3)];
    let (n, rows) = (15 + 6 + 4, 15 + 3 + 6);
    let variable = |row: usize| if row < 15 { row } else { row - 3 };
    let mut c = Mat::zeros(rows, n);
    for i in (0..15).chain(18..24) {
        c[(i, variable(i))] = rng.between(0.5, 2.0) * if rng.uniform() < 0.5 { 1.0 } else { -1.0 };
    }
    (15..18).for_each(|i| (21..25).for_each(|j| c[(i, j)] = rng.normal()));
    let mut curved = Mat::zeros(n, n);
    (21..25).for_each(|j| curved[(j, j)] = if j == 22 { 0.0 } else { rng.between(0.1, 1.0) });
    let sparse = |rng: &mut Rng, rows: usize| {
        Csc::from_dense(&Mat::from_fn(rows, n, |i, j| if (5 * i + 7 * j) % 4 == 0 { rng.normal() } else { 0.0 }))
    };
    let (a, g, c) = (sparse(&mut rng, 5), sparse(&mut rng, 3), Csc::from_dense(&c));
    let inside = |order: usize, rng: &mut Rng| {
        let root = Mat::from_fn(order, order, |_, _| rng.normal());
        let mut out = vec![0.0; order * (order + 1) / 2];
        crate::cones::psd::svec(&(&root * root.transpose() + 0.1 * Mat::<f64>::identity(order, order)), &mut out);
        out
    };
    let [s, z] = [0, 1].map(|_| [5, 2, 3].map(|order| inside(order, &mut rng)).concat());
    let (x, a, g, c) = (rng.normals(n), Matrix::Sparse(a), Matrix::Sparse(g), Matrix::Sparse(c));
    let (mut b, mut h, mut d, mut q) = (vec![0.0; 5], vec![0.5, f64::INFINITY, 0.3], s, vec![0.0; n]);
    a.mul_add(1.0, &x, &mut b);
    g.mul_add(1.0, &x, &mut h);
    c.mul_add(1.0, &x, &mut d);
    let p = Hessian::Sparse(Csc::from_dense(&curved));
    p.mul_add(-1.0, &x, &mut q, &mut Vec::new());
    a.tmul_add(1.0, &rng.normals(5), &mut q);
    g.tmul_add(-1.0, &[0.3, 0.0, 0.7], &mut q);
    c.tmul_add(-1.0, &z, &mut q);
    let qp = Qp::new(p, q).unwrap().equality(a, b).unwrap().inequality(g, h).unwrap();
    qp.with_cones(cones.to_vec(), c, d).unwrap()
}

/// The same problem with bounds far away, beside which no variable is eliminated with its cone.
#[test]
fn cones_whose_rows_are_variables() {
    let mut handle = Homogeneous.prepare(&standard(0), &Settings::default()).unwrap();
    let mut whole = 0;
    for seed in 0..40 {
        let qp = standard(seed);
        let far = qp.clone().bounds(vec![-200.0; qp.n()], vec![200.0; qp.n()]).unwrap();
        let ((outcome, point), (other, theirs)) = (solve(&qp), solve(&far));
        assert!(outcome.status.ok() && other.status.ok(), "seed {seed}: {:?} {:?}", outcome.status, other.status);
        whole += usize::from(outcome.status == Status::Solved);
        // the condensed form loses digits
        for (qp, point, most) in [(&qp, &point, 2e-8), (&far, &theirs, 1e-6)] {
            assert!(relative(qp, point) < most, "seed {seed}: {:.1e}", relative(qp, point));
        }
        let (value, bounded) = (qp.objective(&point.x), qp.objective(&theirs.x));
        assert!((value - bounded).abs() < 1e-6 * value.abs().max(1.0), "seed {seed}: {value} {bounded}");
        // other numbers in the same pattern
        handle.update(&qp).unwrap();
        let mut again = Point::default();
        handle.solve(None, &mut again);
        assert_eq!(again, point, "seed {seed}");
    }
    assert!(whole >= 25, "{whole} of 40 to the whole tolerance");
    // the first entry of a matrix that is to be semidefinite is to be -1, or its multiplier
    for seed in 0..20 {
        let qp = standard(seed);
        let n = qp.n();
        let entry = Csc::from_triplets(1, n, &[(0, 0, 1.0)]).unwrap();
        let bare = |qp: &Qp, sign: f64| {
            let c = Mat::from_fn(15, n, |i, j| if i == j { -1.0 } else { 0.0 });
            let cones = vec![Cone::PsdTriangle(5)];
            let rows = Qp::linear(qp.q().to_vec()).unwrap().equality(entry.clone(), vec![sign]).unwrap();
            rows.with_cones(cones, Matrix::Sparse(Csc::from_dense(&c)), vec![0.0; 15]).unwrap()
        };
        let none = bare(&qp, -1.0);
        let (outcome, _) = solve(&none);
        assert_eq!(outcome.status, Status::PrimalInfeasible, "seed {seed}");
        assert!(outcome.certificate.is_some_and(|proof| proof.verify(&none)));
        let (endless, _) = solve(&bare(&qp, 1.0));
        assert_eq!(endless.status, Status::DualInfeasible, "seed {seed}");
    }
}
