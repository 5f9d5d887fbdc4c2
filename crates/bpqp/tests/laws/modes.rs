//! The explicit modes: gradients at an unconverged iterate, and of the barrier solution.

use super::{FORWARD, attempt, report, solved, undefined};
use bpqp::{Backward, Cotangent, Error, Matrix, Point, Qp, Settings, Side, Solution, Solver, Verdict, Wrt};
use bpqp_testkit::differences::{
    against_differences, distance, gradient_error, pair_data, pair_outputs, random_cotangent, random_tangent,
    reference_outputs,
};
use bpqp_testkit::{Family, Rng, reference};

const WORST: f64 = 1e-6;

fn product(m: &Matrix, x: &[f64]) -> Vec<f64> {
    let mut out = vec![0.0; m.nrows()];
    m.mul_add(1.0, x, &mut out);
    out
}

/// The problem of which an iterate is the exact solution: `q - r_d`, `b + r_p`, and the right-hand sides of active
/// constraints where the iterate is.
fn perturbed(qp: &Qp, at: &Solution) -> Qp {
    let mut r = at.z_box.clone();
    qp.p().mul_add(1.0, &at.x, &mut r, &mut Vec::new());
    qp.a().tmul_add(1.0, &at.y, &mut r);
    qp.g().tmul_add(1.0, &at.z, &mut r);
    let q: Vec<f64> = r.iter().map(|v| -v).collect();
    let gx = product(qp.g(), &at.x);
    let h: Vec<f64> = (0..gx.len()).map(|i| if at.active().g[i] { gx[i] } else { qp.h()[i] }).collect();
    let bound = |own: &[f64], side: Side| -> Vec<f64> {
        (0..own.len()).map(|i| if at.active().bound[i] == side { at.x[i] } else { own[i] }).collect()
    };
    let (lb, ub) = (bound(qp.lb(), Side::Lower), bound(qp.ub(), Side::Upper));
    (qp.clone().with_q(q))
        .and_then(|p| p.with_b(product(qp.a(), &at.x)))
        .and_then(|p| p.with_h(h))
        .and_then(|p| p.bounds(lb, ub))
        .expect("valid")
}

#[test]
fn the_general_gradient_is_the_exact_gradient_of_the_problem_that_the_iterate_solves() {
    let (mut failures, mut far) = (Vec::new(), 0);
    for family in Family::all() {
        let instance = family.instance(9, 41);
        for solver in [Solver::InteriorPoint, Solver::Admm, Solver::Clarabel] {
            for eps in [1e-2, 1e-4] {
                let mut settings = Settings::with_solver(solver);
                (settings.polish, settings.eps_abs, settings.eps_rel) = (false, eps, eps);
                let solution = match attempt(&instance, &settings) {
                    Ok(solution) => solution,
                    Err(failure) => {
                        failures.push(failure);
                        continue;
                    }
                };
                let name = format!("{} by {} at {eps:e}", instance.name, solver.name());
                if !matches!(solution.verdict(), Verdict::Approximate { .. }) {
                    failures.push(format!("{name}: verdict {}", solution.verdict()));
                }
                far += usize::from(distance(&solution.x, &instance.solution.x) > 1e-6);
                let qp = perturbed(&instance.qp, &solution);
                let exact = match reference::solve(&qp) {
                    Ok(exact) => exact.point,
                    Err(why) => {
                        failures.push(format!("{name}: the perturbed problem: {why}"));
                        continue;
                    }
                };
                let pairs = [(&exact.x, &solution.x), (&exact.y, &solution.y), (&exact.z, &solution.z)];
                let off = pairs.iter().fold(0.0_f64, |m, (a, b)| m.max(distance(a, b)));
                if off > 1e-8 {
                    failures.push(format!("{name}: the iterate is {off:.1e} from the solution of its problem"));
                    continue;
                }
                let cotangent = random_cotangent(&qp, &mut Rng::new(41));
                let gradient = match solution.vjp(&cotangent, Wrt::ALL) {
                    Ok(gradient) => gradient,
                    Err(error) => {
                        failures.push(format!("{name}: {error}"));
                        continue;
                    }
                };
                for (block, error) in against_differences(&qp, &cotangent, &gradient, &reference_outputs(&qp)) {
                    if error > WORST {
                        failures.push(format!("{name}: {block} is off by {error:.1e}"));
                    }
                }
            }
        }
    }
    report(&failures);
    assert!(far > 20, "only {far} iterates were far from the solution: the law was hardly tested");
}

fn barrier(mu: f64) -> impl Fn(&Qp) -> Point {
    move |qp: &Qp| reference::central_path(qp, mu).expect("the central path exists")
}

#[test]
fn the_smoothed_gradient_is_the_derivative_of_the_barrier_solution() {
    let mut failures = Vec::new();
    for family in Family::all() {
        let instance = family.instance(6, 42);
        for mu in [1e-1, 1e-3] {
            let settings = Settings { smoothing: Some(mu), ..Settings::default() };
            let solution = solved(&instance, &settings);
            let cotangent = random_cotangent(&instance.qp, &mut Rng::new(42));
            let name = format!("{} at mu = {mu}", instance.name);
            if solution.verdict() != (Verdict::Smoothed { mu }) {
                failures.push(format!("{name}: verdict {}", solution.verdict()));
            }
            // the solution itself stays the exact one
            if distance(&solution.x, &instance.solution.x) > 1e-9 {
                failures.push(format!("{name}: x moved"));
            }
            match solution.vjp(&cotangent, Wrt::ALL) {
                Err(error) => failures.push(format!("{name}: {error}")),
                Ok(gradient) => {
                    for (block, error) in against_differences(&instance.qp, &cotangent, &gradient, &barrier(mu)) {
                        if error > WORST {
                            failures.push(format!("{name}: {block} is off by {error:.1e}"));
                        }
                    }
                }
            }
        }
    }
    report(&failures);
}

#[test]
fn smoothing_does_not_depend_on_the_forward_solver_and_is_adjoint() {
    let mut failures = Vec::new();
    for family in Family::all() {
        let instance = family.instance(10, 43);
        let mut rng = Rng::new(43);
        let (cotangent, tangent) = (random_cotangent(&instance.qp, &mut rng), random_tangent(&instance.qp, &mut rng));
        let mut first = None;
        for solver in FORWARD.into_iter().filter(|&s| !undefined(&instance, s, Backward::Direct)) {
            let settings = Settings { smoothing: Some(1e-2), ..Settings::with_solver(solver) };
            let solution = solved(&instance, &settings);
            let name = format!("{} by {}", instance.name, solver.name());
            let both = solution.vjp(&cotangent, Wrt::ALL).and_then(|g| Ok((g, solution.jvp(&tangent)?)));
            let (gradient, moved) = match both {
                Ok(both) => both,
                Err(error) => {
                    failures.push(format!("{name}: {error}"));
                    continue;
                }
            };
            let (left, right) = (pair_data(&gradient, &tangent), pair_outputs(&cotangent, &moved));
            if (left - right).abs() > 1e-9 * (1.0 + left.abs()) {
                failures.push(format!("{name}: adjointness {left} against {right}"));
            }
            let (error, block) = gradient_error(&gradient, first.get_or_insert_with(|| gradient.clone()));
            if error > 1e-8 {
                failures.push(format!("{name}: {error:.1e} in {block}"));
            }
        }
    }
    report(&failures);
}

#[test]
fn the_smoothed_gradient_tends_to_the_exact_one() {
    for family in Family::all().into_iter().filter(|f| f.inequality || f.bounds) {
        let instance = family.instance(10, 44);
        let cotangent = random_cotangent(&instance.qp, &mut Rng::new(44));
        let exact = solved(&instance, &Settings::default()).vjp(&cotangent, Wrt::ALL).expect("smooth");
        let at = |mu: f64| {
            let settings = Settings { smoothing: Some(mu), ..Settings::default() };
            let gradient = solved(&instance, &settings).vjp(&cotangent, Wrt::ALL).expect("smooth");
            gradient_error(&gradient, &exact).0
        };
        let (coarse, fine) = (at(1e-4), at(1e-6));
        assert!(fine < 0.1 * coarse + 1e-9, "{}: {coarse:.1e} at 1e-4, {fine:.1e} at 1e-6", instance.name);
        assert!(fine < 1e-3, "{}: {fine:.1e}", instance.name);
    }
}

#[test]
fn smoothing_of_a_linear_program_moves_where_the_exact_gradient_is_zero() {
    let family = Family::all().into_iter().find(|f| f.name() == "linear-eq-in-box").expect("listed");
    let instance = family.instance(12, 45);
    let cotangent = bpqp::Cotangent::x(&Rng::new(45).normals(12));
    let exact = solved(&instance, &Settings::default()).vjp(&cotangent, Wrt::Q).expect("smooth");
    assert!(exact.q.expect("asked for").iter().all(|&v| v == 0.0));
    let settings = Settings { smoothing: Some(0.1), ..Settings::default() };
    let smooth = solved(&instance, &settings).vjp(&cotangent, Wrt::Q).expect("smooth");
    assert!(smooth.q.expect("asked for").iter().any(|&v| v.abs() > 1e-3));
}

#[test]
fn smoothing_with_the_first_order_backward_solver_is_refused_by_name() {
    let family = Family::all().into_iter().find(|f| f.name() == "dense-in").expect("listed");
    let instance = family.instance(8, 46);
    let settings = Settings { smoothing: Some(0.1), backward: Backward::FirstOrder, ..Settings::default() };
    let cotangent = bpqp::Cotangent::x(&[1.0; 8]);
    let outcome = instance.qp.solve(&settings).and_then(|solution| solution.vjp(&cotangent, Wrt::Q));
    assert!(matches!(outcome, Err(Error::Unsupported { .. } | Error::Setting { .. })), "{outcome:?}");
}

/// Transport between histograms with bins of almost no mass: x(mu) is as far from the solution as there is room, and Newton's
/// method from the solution gets stuck. Along the central path it does not. With costs that are all 0 the barrier solution is
/// in closed form: every row of `1'x = mass` is spread evenly, and `mu dx / x^2 + dy = -dc`.
#[test]
fn smoothing_where_the_constraints_leave_little_room() {
    let n = 6;
    for mass in [1.0, 1e-3, 1e-6, 1e-9, 1e-12] {
        for mu in [1e-6, 1e-3, 0.1, 1.0] {
            let masses = [1.0, mass, mass];
            let rows = Matrix::from_rows(3, 3 * n, &{
                let mut a = vec![0.0; 9 * n];
                (0..3).for_each(|i| a[i * 3 * n + i * n..][..n].fill(1.0));
                a
            });
            let qp = Qp::linear(vec![0.0; 3 * n])
                .and_then(|qp| qp.equality(rows?, masses.to_vec()))
                .and_then(|qp| qp.bounds(vec![0.0; 3 * n], vec![]))
                .expect("valid");
            let solution = qp.solve(&Settings { smoothing: Some(mu), ..Settings::default() }).expect("valid");
            let cotangent: Vec<f64> = (0..3 * n).map(|k| f64::from(k as u32 % 5) - 1.0).collect();
            let gradient =
                solution.vjp(&Cotangent::x(&cotangent), Wrt::Q).unwrap_or_else(|e| panic!("{mass} {mu}: {e}"));
            for (k, g) in gradient.q.expect("asked for").iter().enumerate() {
                let (row, x) = (k / n, masses[k / n] / n as f64);
                let mean = cotangent[row * n..(row + 1) * n].iter().sum::<f64>() / n as f64;
                let expected = -x * x / mu * (cotangent[k] - mean);
                let error = (g - expected).abs();
                assert!(error <= 1e-8 * x * x / mu, "mass {mass}, mu {mu}, {k}: {g:e}, not {expected:e}");
            }
        }
    }
}
