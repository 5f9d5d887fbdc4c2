//! First light: every solver on small problems, gradients against central differences.
use bpqp::*;
use faer::Mat;

struct Rng(u64);
impl Rng {
    fn next(&mut self) -> f64 {
        let mut s = 0.0;
        for _ in 0..12 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            s += (self.0 >> 11) as f64 / (1u64 << 53) as f64;
        }
        s - 6.0
    }
}

fn problem(n: usize, m: usize, k: usize, bounds: bool, seed: u64) -> Qp {
    let mut r = Rng(seed);
    let f = Mat::from_fn(n, n, |_, _| r.next());
    let p = &f * f.transpose() + Mat::<f64>::identity(n, n);
    let x: Vec<f64> = (0..n).map(|_| r.next()).collect();
    let a = Mat::from_fn(m, n, |_, _| r.next());
    let g = Mat::from_fn(k, n, |_, _| r.next());
    let mut b = vec![0.0; m];
    let mut h = vec![0.0; k];
    let mut q: Vec<f64> = (0..n).map(|i| -(0..n).map(|j| p[(i, j)] * x[j]).sum::<f64>()).collect();
    for i in 0..m {
        b[i] = (0..n).map(|j| a[(i, j)] * x[j]).sum();
        let y = r.next();
        (0..n).for_each(|j| q[j] -= a[(i, j)] * y);
    }
    for i in 0..k {
        h[i] = (0..n).map(|j| g[(i, j)] * x[j]).sum();
        let z = r.next();
        if z > 0.0 {
            (0..n).for_each(|j| q[j] -= g[(i, j)] * z);
        } else {
            h[i] -= z;
        }
    }
    let (mut lb, mut ub) = (vec![f64::NEG_INFINITY; n], vec![f64::INFINITY; n]);
    if bounds {
        for j in 0..n {
            let z = r.next();
            match j % 4 {
                0 => {
                    lb[j] = x[j];
                    q[j] += z.abs();
                }
                1 => {
                    ub[j] = x[j];
                    q[j] -= z.abs();
                }
                2 => {
                    (lb[j], ub[j]) = (x[j] - z.abs(), x[j] + 1.0);
                }
                _ => {}
            }
        }
    }
    Qp::new(p, q).unwrap().equality(a, b).unwrap().inequality(g, h).unwrap().bounds(lb, ub).unwrap()
}

#[test]
fn solvers_agree() {
    for (n, m, k, bounds) in
        [(5, 2, 4, false), (20, 5, 10, false), (20, 3, 0, true), (20, 3, 8, true), (30, 5, 30, false)]
    {
        let qp = problem(n, m, k, bounds, 7 + n as u64);
        let reference = qp.solve(&Settings::default()).unwrap();
        eprintln!(
            "{n} {m} {k} {bounds}: {} {:?} {:?} {:?}",
            reference.status,
            reference.residuals,
            reference.info,
            reference.verdict()
        );
        assert_eq!(reference.verdict(), Verdict::Exact);
        let dx: Vec<f64> = (0..n).map(|i| (i as f64).sin()).collect();
        let g = reference.vjp(&Cotangent::x(&dx), Wrt::ALL).unwrap();
        for solver in Solver::ALL {
            let s = qp.solve(&Settings::with_solver(solver)).unwrap();
            eprintln!("   {} {} it {} moved {:e}", solver.name(), s.status, s.info.iterations, s.info.moved);
            assert_eq!(s.status, Status::Solved);
            for backward in [Backward::Direct, Backward::FirstOrder] {
                let mut set = Settings::with_solver(solver);
                set.backward = backward;
                let g2 = qp.solve(&set).unwrap().vjp(&Cotangent::x(&dx), Wrt::ALL).unwrap();
                let e =
                    g.q.as_ref()
                        .unwrap()
                        .iter()
                        .zip(g2.q.as_ref().unwrap())
                        .fold(0.0_f64, |m, (a, b)| m.max((a - b).abs()));
                eprintln!("      {backward:?} {e:e}");
                assert!(e < 1e-6);
            }
        }
        // central differences in q and h
        for i in 0..3 {
            let eps = 1e-5;
            let f = |d: f64| {
                let mut q = qp.q().to_vec();
                q[i] += d;
                let s = qp.clone().with_q(q).unwrap().solve(&Settings::default()).unwrap();
                s.x.iter().zip(&dx).map(|(a, b)| a * b).sum::<f64>()
            };
            let fd = (f(eps) - f(-eps)) / (2.0 * eps);
            assert!(
                (fd - g.q.as_ref().unwrap()[i]).abs() < 1e-7 * (1.0 + fd.abs()),
                "{fd} {}",
                g.q.as_ref().unwrap()[i]
            );
        }
    }
}
