//! Programs whose matrices are products, beside the same programs with matrices.

use bpqp::faer::Mat;
use bpqp::large::{LargeSolution, LargeTangent, Operator, Outer, Program};
use bpqp::{
    Certificate, Cotangent, Csc, Error, Hessian, Interrupt, Matrix, Qp, Settings, Solution, Status, Verdict, Wrt,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Numbers between -1 and 1 (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    fn vector(&mut self, n: usize) -> Vec<f64> {
        (0..n).map(|_| self.next()).collect()
    }

    fn matrix(&mut self, m: usize, n: usize) -> Mat<f64> {
        Mat::from_fn(m, n, |_, _| self.next())
    }
}

/// Products with a matrix and nothing else: no diagonal, no entries.
struct Hidden(Matrix);

impl Operator for Hidden {
    fn nrows(&self) -> usize {
        self.0.nrows()
    }
    fn ncols(&self) -> usize {
        self.0.ncols()
    }
    fn apply(&self, x: &[f64], out: &mut [f64]) -> Result<(), Error> {
        out.fill(0.0);
        self.0.mul_add(1.0, x, out);
        Ok(())
    }
    fn apply_transpose(&self, y: &[f64], out: &mut [f64]) -> Result<(), Error> {
        out.fill(0.0);
        self.0.tmul_add(1.0, y, out);
        Ok(())
    }
}

fn hidden(m: impl Into<Matrix>) -> Arc<dyn Operator> {
    Arc::new(Hidden(m.into()))
}

fn program_of(qp: &Qp) -> Program {
    let n = qp.n();
    let mut program = match qp.p().is_zero() {
        true => Program::linear(qp.q().to_vec()).unwrap(),
        false => Program::new(hidden(qp.p().to_dense()), qp.q().to_vec()).unwrap(),
    };
    if qp.n_equality() > 0 {
        program = program.equality(hidden(qp.a().clone()), qp.b().to_vec()).unwrap();
    }
    if qp.n_inequality() > 0 {
        program = program.inequality(hidden(qp.g().clone()), qp.h().to_vec()).unwrap();
    }
    assert_eq!(program.n(), n);
    program.bounds(qp.lb().to_vec(), qp.ub().to_vec()).unwrap()
}

/// A program with about half of its inequalities and some bounds active; `rank` of P.
fn planted(seed: u64, (n, m, mi): (usize, usize, usize), rank: usize) -> Qp {
    let mut r = Random(seed);
    let f = r.matrix(n, rank);
    let p = &f * f.transpose();
    let (a, g) = (r.matrix(m, n), r.matrix(mi, n));
    let mut lb: Vec<f64> = (0..n).map(|_| -1.0 - r.next().abs()).collect();
    let mut ub: Vec<f64> = (0..n).map(|_| 1.0 + r.next().abs()).collect();
    let x = r.vector(n);
    let mut gradient = vec![0.0; n];
    for j in 0..n {
        match j % 5 {
            0 => (ub[j], gradient[j]) = (x[j], 0.3 + r.next().abs()),
            1 => (lb[j], gradient[j]) = (x[j], -0.3 - r.next().abs()),
            2 if j % 2 == 0 => (lb[j], ub[j]) = (f64::NEG_INFINITY, f64::INFINITY),
            _ => {}
        }
    }
    let y = r.vector(m);
    let z: Vec<f64> = (0..mi).map(|i| if i % 2 == 0 { 0.3 + r.next().abs() } else { 0.0 }).collect();
    let (mut b, mut h) = (vec![0.0; m], vec![0.0; mi]);
    let (ma, mg, mp) = (Matrix::from(a.clone()), Matrix::from(g.clone()), Matrix::from(p.clone()));
    ma.mul_add(1.0, &x, &mut b);
    mg.mul_add(1.0, &x, &mut h);
    (0..mi).for_each(|i| h[i] += if i % 2 == 0 { 0.0 } else { 0.3 + r.next().abs() });
    mp.mul_add(1.0, &x, &mut gradient);
    ma.tmul_add(1.0, &y, &mut gradient);
    mg.tmul_add(1.0, &z, &mut gradient);
    let q: Vec<f64> = gradient.iter().map(|v| -v).collect();
    let p = Mat::from_fn(n, n, |i, j| 0.5 * (p[(i, j)] + p[(j, i)]));
    let qp = Qp::new(p, q).unwrap().equality(a, b).unwrap();
    qp.inequality(g, h).unwrap().bounds(lb, ub).unwrap()
}

fn apart(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let scale = b.iter().fold(1.0_f64, |m, v| m.max(v.abs()));
    a.iter().zip(b).fold(0.0_f64, |m, (a, b)| m.max((a - b).abs())) / scale
}

fn near(what: &str, a: &[f64], b: &[f64], tolerance: f64) {
    let off = apart(a, b);
    assert!(off <= tolerance, "{what}: {off:e} apart");
}

fn near_outer(what: &str, outer: &Outer, dense: &Mat<f64>) {
    for j in 0..dense.ncols() {
        for i in 0..dense.nrows() {
            let off = (outer.at(i, j) - dense[(i, j)]).abs();
            assert!(off <= 1e-6 * (1.0 + dense[(i, j)].abs()), "{what}[{i}, {j}]: {off:e} apart");
        }
    }
}

fn cotangent(seed: u64, qp: &Qp) -> Cotangent {
    let mut r = Random(seed);
    let (x, y, z) = (r.vector(qp.n()), r.vector(qp.n_equality()), r.vector(qp.n_inequality()));
    Cotangent { x, y, z, z_box: r.vector(qp.n()), objective: r.next(), ..Cotangent::default() }
}

fn same(large: &LargeSolution, small: &Solution, qp: &Qp) {
    assert_eq!(large.status, Status::Solved, "{:?}", large.residuals);
    near("x", &large.x, &small.x, 1e-6);
    near("y", &large.y, &small.y, 1e-6);
    near("z", &large.z, &small.z, 1e-6);
    near("z_box", &large.z_box, &small.z_box, 1e-6);
    near("objective", &[large.objective], &[small.objective], 1e-6);
    let cotangent = cotangent(7, qp);
    let (g, d) = (large.vjp(&cotangent).unwrap(), small.vjp(&cotangent, Wrt::ALL).unwrap());
    assert_eq!((g.verdict.name(), small.verdict()), ("approximate", Verdict::Exact));
    near("q", &g.q, &d.q.unwrap(), 1e-6);
    near("b", &g.b, &d.b.unwrap(), 1e-6);
    near("h", &g.h, &d.h.unwrap(), 1e-6);
    near("lb", &g.lb, &d.lb.unwrap(), 1e-6);
    near("ub", &g.ub, &d.ub.unwrap(), 1e-6);
    near_outer("P", &g.p, &d.p.unwrap().to_dense());
    near_outer("A", &g.a, &d.a.unwrap().to_dense());
    near_outer("G", &g.g, &d.g.unwrap().to_dense());
}

#[test]
fn a_program_of_products_is_the_program_of_its_matrices() {
    let shapes = [((8, 2, 4), 8), ((30, 5, 20), 30), ((60, 10, 30), 60), ((120, 30, 40), 100), ((150, 10, 100), 150)];
    for (k, (shape, rank)) in shapes.into_iter().enumerate() {
        for seed in 0..4 {
            let qp = planted(100 * k as u64 + seed, shape, rank);
            let small = qp.solve(&Settings::default()).unwrap();
            assert_eq!(small.verdict(), Verdict::Exact);
            let large = program_of(&qp).solve(&Settings::default()).unwrap();
            same(&large, &small, &qp);
        }
    }
}

#[test]
fn tangents_and_gradients_are_adjoint() {
    let qp = planted(11, (50, 8, 20), 50);
    let sol = program_of(&qp).solve(&Settings::default()).unwrap();
    let mut r = Random(5);
    let (n, m, mi) = (50, 8, 20);
    let along = LargeTangent { q: r.vector(n), b: r.vector(m), h: r.vector(mi), lb: r.vector(n), ub: r.vector(n) };
    let (t, verdict) = sol.jvp(&along).unwrap();
    assert_eq!(verdict.name(), "approximate");
    let c = cotangent(3, &qp);
    let g = sol.vjp(&c).unwrap();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let outputs = dot(&c.x, &t.x) + dot(&c.y, &t.y) + dot(&c.z, &t.z) + dot(&c.z_box, &t.z_box);
    let data = dot(&g.q, &along.q) + dot(&g.b, &along.b) + dot(&g.h, &along.h);
    let data = data + dot(&g.lb, &along.lb) + dot(&g.ub, &along.ub);
    near("adjoint", &[outputs + c.objective * t.objective], &[data], 1e-7);
}

#[test]
fn linear_programs_and_matrices_of_their_own_units() {
    let mut r = Random(21);
    for scale in [1e-4, 1.0, 1e5] {
        // a vertex: as many active rows and bounds as variables
        let (n, m) = (30, 12);
        let a = Mat::from_fn(m, n, |i, _| r.next() * scale * (1.0 + i as f64));
        let x: Vec<f64> = (0..n).map(|j| if j < n - m { 0.0 } else { 0.5 + r.next().abs() }).collect();
        let mut b = vec![0.0; m];
        let matrix = Matrix::from(a.clone());
        matrix.mul_add(1.0, &x, &mut b);
        let mut q: Vec<f64> = (0..n).map(|j| if j < n - m { 0.5 + r.next().abs() } else { 0.0 }).collect();
        let y: Vec<f64> = r.vector(m).iter().map(|y| y / scale).collect();
        matrix.tmul_add(-1.0, &y, &mut q);
        let qp = Qp::linear(q).unwrap().equality(a, b).unwrap().bounds(vec![0.0; n], vec![]).unwrap();
        let large = program_of(&qp).solve(&Settings::default()).unwrap();
        assert_eq!(large.status, Status::Solved, "{scale}: {:?}", large.residuals);
        near("x", &large.x, &x, 1e-6);
        let small = qp.solve(&Settings::default()).unwrap();
        let c = Cotangent::x(&r.vector(n));
        let (g, d) = (large.vjp(&c).unwrap(), small.vjp(&c, Wrt::ALL).unwrap());
        let b = d.b.unwrap();
        let size = b.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
        let off = g.b.iter().zip(&b).fold(0.0_f64, |m, (a, b)| m.max((a - b).abs()));
        assert!(off <= 1e-6 * size, "{scale}: b is {off:e} of {size:e} apart");
    }
}

#[test]
fn there_are_proofs_where_there_is_no_solution() {
    let rows = Mat::from_fn(2, 3, |i, j| if i == 0 { 1.0 } else { -1.0 } * (1.0 + j as f64));
    let program = Program::new(hidden(Mat::<f64>::identity(3, 3)), vec![1.0; 3]).unwrap();
    let none = program.clone().inequality(hidden(rows.clone()), vec![1.0, -2.0]).unwrap();
    let sol = none.solve(&Settings::default()).unwrap();
    assert_eq!(sol.status, Status::PrimalInfeasible);
    let Some(Certificate::PrimalInfeasible(p)) = &sol.certificate else { panic!("no proof") };
    let mut left = vec![0.0; 3];
    Matrix::from(rows).tmul_add(1.0, &p.z, &mut left);
    let value = p.z[0] - 2.0 * p.z[1];
    assert!(value < 0.0 && p.z.iter().all(|z| *z >= 0.0) && left.iter().all(|v| v.abs() <= -1e-6 * value));
    assert!(matches!(sol.vjp(&Cotangent::x(&[1.0; 3])), Err(Error::NoSolution { .. })));

    let falls = Program::linear(vec![1.0, -1.0]).unwrap().bounds(vec![0.0, 0.0], vec![]).unwrap();
    let sol = falls.solve(&Settings::default()).unwrap();
    assert_eq!(sol.status, Status::DualInfeasible);
    let bent = Mat::from_fn(2, 2, |i, j| if i != j { 2.0 } else { 1.0 });
    let sol = Program::new(hidden(bent.clone()), vec![0.1, 0.3]).unwrap().solve(&Settings::default()).unwrap();
    assert_eq!(sol.status, Status::NonConvex);
    // the same is convex where the sum is fixed to a difference: along (1, 1)
    let row = Mat::from_fn(1, 2, |_, j| if j == 0 { 1.0 } else { -1.0 });
    let held = Program::new(hidden(bent), vec![0.1, 0.3]).unwrap().equality(hidden(row), vec![0.0]).unwrap();
    let sol = held.solve(&Settings::default()).unwrap();
    assert_eq!(sol.status, Status::Solved);
    near("x", &sol.x, &[-0.4 / 6.0; 2], 1e-8);
}

/// Products that go wrong after some calls.
struct Failing(AtomicUsize);

impl Operator for Failing {
    fn nrows(&self) -> usize {
        4
    }
    fn ncols(&self) -> usize {
        4
    }
    fn apply(&self, x: &[f64], out: &mut [f64]) -> Result<(), Error> {
        out.copy_from_slice(x);
        if self.0.fetch_add(1, Ordering::Relaxed) >= 3 {
            out[2] = f64::NAN;
        }
        Ok(())
    }
    fn apply_transpose(&self, _: &[f64], _: &mut [f64]) -> Result<(), Error> {
        unreachable!("P is symmetric")
    }
}

#[test]
fn what_is_no_operator_is_refused_by_name() {
    let p = || hidden(Mat::<f64>::identity(3, 3));
    let settings = Settings::default();
    assert!(matches!(Program::new(p(), vec![0.0; 2]), Err(Error::Shape { argument: "P", .. })));
    let program = Program::new(p(), vec![0.0; 3]).unwrap();
    assert!(matches!(program.clone().equality(p(), vec![0.0]), Err(Error::Shape { argument: "b", .. })));
    let wide = hidden(Mat::<f64>::zeros(2, 4));
    assert!(matches!(program.clone().inequality(wide, vec![0.0; 2]), Err(Error::Shape { argument: "G", .. })));
    assert!(matches!(program.clone().bounds(vec![1.0; 3], vec![0.0; 3]), Err(Error::Bounds { index: 0, .. })));
    let skew = hidden(Mat::from_fn(3, 3, |i, j| if i < j { 1.0 } else { 0.0 }));
    let skew = Program::new(skew, vec![0.0; 3]).unwrap().solve(&settings);
    assert!(matches!(skew, Err(Error::Operator { argument: "P", .. })), "{skew:?}");
    let failing = Program::new(Arc::new(Failing(AtomicUsize::new(0))), vec![1.0; 4]).unwrap().solve(&settings);
    let Err(Error::Operator { argument: "P", reason }) = failing else { panic!("{failing:?}") };
    assert!(reason.contains("entry 2"), "{reason}");
}

#[test]
fn time_and_interrupts_end_it() {
    let program = program_of(&planted(1, (60, 10, 30), 60));
    let late = Settings { time_limit: Some(Duration::ZERO), ..Settings::default() };
    assert_eq!(program.solve(&late).unwrap().status, Status::TimeLimit);
    let interrupt = Interrupt::default();
    interrupt.request();
    let asked = Settings { interrupt: Some(interrupt.clone()), ..Settings::default() };
    assert_eq!(program.solve(&asked).unwrap().status, Status::TimeLimit);
    interrupt.clear();
    assert_eq!(program.solve(&asked).unwrap().status, Status::Solved);
    let few = Settings { max_iter: Some(1), ..Settings::default() };
    let sol = program.solve(&few).unwrap();
    assert_eq!((sol.status, sol.iterations), (Status::IterationLimit, 1));
}

#[test]
fn a_large_sparse_program_with_a_diagonal() {
    // the projection onto a simplex of 200,000 entries, whose solution is known
    let n = 200_000;
    let mut r = Random(9);
    let y = r.vector(n);
    let p: Arc<dyn Operator> = Arc::new(Hessian::Diagonal(vec![1.0; n]));
    let ones = Csc::from_triplets(1, n, &(0..n).map(|j| (0, j, 1.0)).collect::<Vec<_>>()).unwrap();
    let q: Vec<f64> = y.iter().map(|v| -v).collect();
    let program = Program::new(p, q).unwrap().equality(hidden(ones), vec![1.0]).unwrap();
    let sol = program.bounds(vec![0.0; n], vec![]).unwrap().solve(&Settings::default()).unwrap();
    assert_eq!(sol.status, Status::Solved);
    let mut sorted = y.clone();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let (mut sum, mut tau) = (0.0, 0.0);
    for (k, v) in sorted.iter().enumerate() {
        sum += v;
        let t = (sum - 1.0) / (k as f64 + 1.0);
        if *v > t {
            tau = t;
        }
    }
    let expected: Vec<f64> = y.iter().map(|v| (v - tau).max(0.0)).collect();
    near("x", &sol.x, &expected, 1e-7);
}
