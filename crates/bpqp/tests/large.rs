//! Programs whose matrices are products, beside the same programs with matrices.

use bpqp::faer::Mat;
use bpqp::large::{LargeSolution, LargeTangent, Operator, Outer, Program};
use bpqp::{Certificate, Cotangent, Csc, Error, Hessian, Interrupt, Matrix, Qp, Settings, Solution, Status, Verdict, Wrt};
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
    let mut x = r.vector(n);
    let mut gradient = vec![0.0; n];
    for j in 0..n {
        match j % 5 {
            0 => (ub[j], gradient[j]) = (x[j], 0.3 + r.next().abs()),
            1 => (lb[j], gradient[j]) = (x[j], -0.3 - r.next().abs()),
            2 if j % 2 == 0 => (lb[j], ub[j]) = (f64::NEG_INFINITY, f64::INFINITY),
            _ => {}
        }
    }
    x.iter_mut().for_each(|v| *v *= 1.0);
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
    let shapes = [((8, 2, 4), 8), ((30, 5, 20), 30), ((60, 10, 30), 60), ((120, 80, 30), 40), ((150, 10, 100), 150)];
    for (k, (shape, rank)) in shapes.into_iter().enumerate() {
        for seed in 0..4 {
            let qp = planted(100 * k as u64 + seed, shape, rank);
            let small = qp.solve(&Settings::default()).unwrap();
            if small.verdict() != Verdict::Exact {
                continue;
            }
            let large = program_of(&qp).solve(&Settings::default()).unwrap();
            eprintln!("{shape:?} {seed}: {} {} steps, {} products", large.status, large.iterations, large.products);
            same(&large, &small, &qp);
        }
    }
}
