//! Problems of many variables with a diagonal Hessian and few rows, beside the interior point.

use bpqp::{Cotangent, Csc, Hessian, Qp, Settings, Solver, Status, Verdict, Wrt};

/// Numbers between 0 and 1.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 11) as f64) / (1u64 << 53) as f64
    }
}

/// `m` equalities and `mi` inequalities of this density around a point inside the bounds, some of them tight.
fn problem(seed: u64, n: usize, (m, mi): (usize, usize), density: f64) -> Qp {
    let mut r = Random(seed);
    for _ in 0..8 {
        r.next();
    }
    let x: Vec<f64> = (0..n).map(|_| 2.0 * r.next() - 1.0).collect();
    let lb: Vec<f64> = (0..n).map(|i| if i % 7 == 0 { f64::NEG_INFINITY } else { x[i] - r.next() }).collect();
    let ub: Vec<f64> = (0..n).map(|i| if i % 5 == 0 { f64::INFINITY } else { x[i] + r.next() }).collect();
    let mut rows = |count: usize, unit: f64| {
        let mut triplets = Vec::new();
        for i in 0..count {
            let unit = unit * 10f64.powf(4.0 * r.next() - 2.0);
            for j in 0..n {
                if r.next() < density {
                    triplets.push((i, j, unit * (2.0 * r.next() - 1.0)));
                }
            }
        }
        let matrix = Csc::from_triplets(count, n, &triplets).unwrap();
        let mut side = vec![0.0; count];
        matrix.mul_add(1.0, &x, &mut side);
        (matrix, side)
    };
    let (a, b) = rows(m, 1.0);
    let (g, mut h) = rows(mi, 10.0);
    let p: Vec<f64> = (0..n).map(|_| 10f64.powf(4.0 * r.next() - 2.0)).collect();
    let q: Vec<f64> = (0..n).map(|i| 4.0 * p[i].sqrt() * (r.next() - 0.5)).collect();
    (0..mi).for_each(|i| h[i] += if i % 3 == 0 { h[i].abs() * r.next() } else { 0.0 });
    let p = match seed % 2 {
        0 => Hessian::Diagonal(p),
        _ => Hessian::Sparse(Csc::from_triplets(n, n, &(0..n).map(|i| (i, i, p[i])).collect::<Vec<_>>()).unwrap()),
    };
    let qp = Qp::new(p, q).unwrap().equality(a, b).unwrap();
    qp.inequality(g, h).unwrap().bounds(lb, ub).unwrap()
}

#[test]
fn the_dual_newton_method_finds_what_the_interior_point_finds() {
    let shapes = [(1000, (1, 0)), (1500, (0, 1)), (2000, (3, 5)), (3000, (2, 20)), (4000, (18, 18)), (1200, (0, 60))];
    for (k, (n, rows)) in shapes.into_iter().enumerate() {
        for seed in 0..6 {
            let density = if seed % 3 == 2 { 0.3 } else { 1.0 };
            let qp = problem(100 * k as u64 + seed, n, rows, density);
            let sol = qp.solve(&Settings::default()).unwrap();
            assert_eq!((sol.status, sol.info.solver), (Status::Solved, "separable"), "{n} {rows:?} {seed}");
            let other = qp.solve(&Settings::with_solver(Solver::InteriorPoint)).unwrap();
            assert_eq!(other.status, Status::Solved);
            let scale = other.x.iter().fold(1.0_f64, |m, v| m.max(v.abs()));
            let off = sol.x.iter().zip(&other.x).fold(0.0_f64, |m, (a, b)| m.max((a - b).abs()));
            assert!(off <= 1e-8 * scale, "{n} {rows:?} {seed}: {off:e} apart");
            assert_eq!(sol.verdict(), Verdict::Exact);
            let c = Cotangent::x(&qp.q().iter().map(|q| q.signum()).collect::<Vec<_>>());
            let own = sol.vjp(&c, Wrt::Q).unwrap().q.unwrap();
            let their = other.vjp(&c, Wrt::Q).unwrap().q.unwrap();
            let size = their.iter().fold(1.0_f64, |m, v| m.max(v.abs()));
            let off = own.iter().zip(&their).fold(0.0_f64, |m, (a, b)| m.max((a - b).abs()));
            assert!(off <= 1e-7 * size, "{n} {rows:?} {seed}: gradients {off:e} apart");
        }
    }
}

#[test]
fn what_has_no_solution_gets_its_proof() {
    let n = 1000;
    let row = |v: f64| Csc::from_triplets(1, n, &(0..n).map(|j| (0, j, v)).collect::<Vec<_>>()).unwrap();
    let qp =
        Qp::new(Hessian::Diagonal(vec![1.0; n]), vec![0.0; n]).unwrap().bounds(vec![0.0; n], vec![1.0; n]).unwrap();
    let sol = qp.clone().equality(row(1.0), vec![1e4]).unwrap().solve(&Settings::default()).unwrap();
    assert_eq!(sol.status, Status::PrimalInfeasible);
    // all variables at their bounds: a vertex
    let sol = qp.clone().equality(row(1.0), vec![1e3]).unwrap().solve(&Settings::default()).unwrap();
    assert_eq!(sol.status, Status::Solved);
    assert!(sol.x.iter().all(|x| *x == 1.0));
    // a row that is empty, and one that never binds
    let empty = Csc::from_triplets(2, n, &(0..n).map(|j| (1, j, 1.0)).collect::<Vec<_>>()).unwrap();
    let sol = qp.inequality(empty, vec![0.0, f64::INFINITY]).unwrap().solve(&Settings::default()).unwrap();
    assert_eq!(sol.status, Status::Solved);
    assert!(sol.x.iter().all(|x| *x == 0.0));
}
