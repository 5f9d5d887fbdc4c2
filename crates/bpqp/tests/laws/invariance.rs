//! Laws of invariance: the same problem in other words has the same solution and the same gradient.

use super::FORWARD;
use bpqp::{Cotangent, Gradient, Matrix, Qp, Settings, Solution, Solver, Wrt};
use bpqp_testkit::differences::{distance, random_cotangent};
use bpqp_testkit::{Family, Instance, Rng};
use faer::Mat;

const TOLERANCE: f64 = 1e-8;

fn instances() -> Vec<Instance> {
    let mixed = Family::all().into_iter().filter(|f| f.equality && f.inequality);
    mixed.map(|f| f.instance(12, 15)).collect()
}

fn solve(name: &str, qp: &Qp, solver: Solver, cotangent: &Cotangent) -> Option<(Solution, Gradient)> {
    if solver == Solver::ActiveSet && qp.p().is_zero() {
        return None;
    }
    let solution = qp.solve(&Settings::with_solver(solver)).expect("valid");
    assert!(solution.ok(), "{name} by {}: {}", solver.name(), solution.status);
    let gradient = solution.vjp(cotangent, Wrt::ALL).unwrap_or_else(|e| panic!("{name} by {}: {e}", solver.name()));
    Some((solution, gradient))
}

fn rows(m: &Matrix, order: &[usize], scale: &[f64]) -> Matrix {
    let m = m.to_dense();
    Matrix::from(Mat::from_fn(order.len(), m.ncols(), |i, j| scale[i] * m[(order[i], j)]))
}

fn near(what: &str, a: &[f64], b: &[f64]) {
    let size = b.iter().fold(1.0_f64, |m, v| m.max(v.abs()));
    assert!(distance(a, b) <= TOLERANCE * size, "{what}: off by {:.1e}", distance(a, b));
}

#[test]
fn scaled_and_permuted_rows_change_only_their_own_blocks() {
    for instance in instances() {
        let qp = &instance.qp;
        let mut rng = Rng::new(150);
        let (m, mi) = (qp.n_equality(), qp.n_inequality());
        let (pa, pg) = (rng.permutation(m), rng.permutation(mi));
        // six orders of magnitude between rows
        let scales = |rng: &mut Rng, k| (0..k).map(|_| 10_f64.powf(rng.between(-3.0, 3.0))).collect::<Vec<_>>();
        let (sa, sg) = (scales(&mut rng, m), scales(&mut rng, mi));
        let pick = |v: &[f64], order: &[usize], s: &[f64]| -> Vec<f64> {
            (0..order.len()).map(|i| s[i] * v[order[i]]).collect()
        };
        let other = (qp.clone().equality(rows(qp.a(), &pa, &sa), pick(qp.b(), &pa, &sa)))
            .and_then(|o| o.inequality(rows(qp.g(), &pg, &sg), pick(qp.h(), &pg, &sg)))
            .expect("valid");
        let cotangent = Cotangent::x(&rng.normals(qp.n()));
        for solver in FORWARD {
            let Some((a, ga)) = solve(&instance.name, qp, solver, &cotangent) else { continue };
            let Some((b, gb)) = solve(&instance.name, &other, solver, &cotangent) else { continue };
            let name = format!("{} {}", instance.name, solver.name());
            near(&format!("{name} x"), &b.x, &a.x);
            near(&format!("{name} dq"), &gb.q.expect("asked"), &ga.q.expect("asked"));
            near(&format!("{name} dlb"), &gb.lb.expect("asked"), &ga.lb.expect("asked"));
            let unscaled = |v: &[f64], s: &[f64]| v.iter().zip(s).map(|(v, s)| v * s).collect::<Vec<_>>();
            let ones = vec![1.0; mi.max(m)];
            near(
                &format!("{name} db"),
                &unscaled(&gb.b.expect("asked"), &sa),
                &pick(&ga.b.expect("asked"), &pa, &ones),
            );
            near(
                &format!("{name} dh"),
                &unscaled(&gb.h.expect("asked"), &sg),
                &pick(&ga.h.expect("asked"), &pg, &ones),
            );
        }
    }
}

#[test]
fn scaled_variables_scale_the_gradient() {
    for instance in instances() {
        let qp = &instance.qp;
        let mut rng = Rng::new(151);
        let n = qp.n();
        let s: Vec<f64> = (0..n).map(|_| 10_f64.powf(rng.between(-1.5, 1.5))).collect();
        let p = qp.p().to_dense();
        let columns = |m: &Matrix| {
            let m = m.to_dense();
            Mat::from_fn(m.nrows(), n, |i, j| m[(i, j)] * s[j])
        };
        let times = |v: &[f64]| v.iter().zip(&s).map(|(v, s)| v * s).collect::<Vec<_>>();
        let over = |v: &[f64]| v.iter().zip(&s).map(|(v, s)| v / s).collect::<Vec<_>>();
        let other = match qp.p().is_zero() {
            true => Qp::linear(times(qp.q())),
            false => Qp::new(Mat::from_fn(n, n, |i, j| s[i] * p[(i, j)] * s[j]), times(qp.q())),
        };
        let other = other
            .and_then(|o| o.equality(columns(qp.a()), qp.b()))
            .and_then(|o| o.inequality(columns(qp.g()), qp.h()))
            .and_then(|o| o.bounds(over(qp.lb()), over(qp.ub())))
            .expect("valid");
        let cotangent = Cotangent::x(&rng.normals(n));
        let scaled = Cotangent::x(&times(&cotangent.x));
        for solver in FORWARD {
            let Some((a, ga)) = solve(&instance.name, qp, solver, &cotangent) else { continue };
            let Some((b, gb)) = solve(&instance.name, &other, solver, &scaled) else { continue };
            let name = format!("{} {}", instance.name, solver.name());
            near(&format!("{name} x"), &times(&b.x), &a.x);
            near(&format!("{name} z"), &b.z, &a.z);
            near(&format!("{name} dq"), &times(&gb.q.expect("asked")), &ga.q.expect("asked"));
            near(&format!("{name} db"), &gb.b.expect("asked"), &ga.b.expect("asked"));
            near(&format!("{name} dub"), &over(&gb.ub.expect("asked")), &ga.ub.expect("asked"));
        }
    }
}

#[test]
fn a_scaled_objective_has_the_same_solution_and_a_scaled_gradient() {
    for instance in instances() {
        let qp = &instance.qp;
        let cotangent = Cotangent::x(&Rng::new(152).normals(qp.n()));
        let (base, base_gradient) = solve(&instance.name, qp, Solver::Auto, &cotangent).expect("every problem");
        for factor in [1e-6, 1e6] {
            let q: Vec<f64> = qp.q().iter().map(|v| v * factor).collect();
            let other = match qp.p().is_zero() {
                true => qp.clone().with_q(q),
                false => qp.clone().with_q(q).and_then(|o| o.with_p(qp.p().to_dense() * faer::Scale(factor))),
            };
            let other = other.expect("valid");
            for solver in FORWARD {
                let Some((b, gb)) = solve(&instance.name, &other, solver, &cotangent) else { continue };
                let name = format!("{} {} times {factor:e}", instance.name, solver.name());
                near(&format!("{name} x"), &b.x, &base.x);
                let dq: Vec<f64> = gb.q.expect("asked").iter().map(|v| v * factor).collect();
                near(&format!("{name} dq"), &dq, base_gradient.q.as_ref().expect("asked"));
                near(&format!("{name} dh"), &gb.h.expect("asked"), base_gradient.h.as_ref().expect("asked"));
            }
        }
    }
}

#[test]
fn an_equality_given_as_two_inequalities_keeps_the_primal_part() {
    for instance in instances() {
        let qp = &instance.qp;
        let (a, g) = (qp.a().to_dense(), qp.g().to_dense());
        let (m, mi, n) = (a.nrows(), g.nrows(), a.ncols());
        let stacked = Mat::from_fn(2 * m + mi, n, |i, j| match i {
            i if i < m => a[(i, j)],
            i if i < 2 * m => -a[(i - m, j)],
            i => g[(i - 2 * m, j)],
        });
        let h: Vec<f64> =
            qp.b().iter().copied().chain(qp.b().iter().map(|b| -b)).chain(qp.h().iter().copied()).collect();
        let other = Qp::new(qp.p().clone(), qp.q()).and_then(|o| o.inequality(stacked, h));
        let other = other.and_then(|o| o.bounds(qp.lb(), qp.ub())).expect("valid");
        let mut cotangent = random_cotangent(qp, &mut Rng::new(153));
        (cotangent.y, cotangent.z, cotangent.z_box) = (vec![], vec![], vec![]);
        for solver in [Solver::Auto, Solver::Clarabel] {
            let Some((a, ga)) = solve(&instance.name, qp, solver, &cotangent) else { continue };
            let Some((b, gb)) = solve(&instance.name, &other, solver, &cotangent) else { continue };
            let name = format!("{} {}", instance.name, solver.name());
            near(&format!("{name} x"), &b.x, &a.x);
            near(&format!("{name} dq"), &gb.q.expect("asked"), &ga.q.expect("asked"));
            near(&format!("{name} dub"), &gb.ub.expect("asked"), &ga.ub.expect("asked"));
            let (dh, db) = (gb.h.expect("asked"), ga.b.expect("asked"));
            near(&format!("{name} dh"), &dh[2 * m..], &ga.h.expect("asked"));
            // both copies move together when b does
            let together: Vec<f64> = (0..m).map(|i| dh[i] - dh[m + i]).collect();
            near(&format!("{name} db"), &together, &db);
        }
    }
}
