//! Derivatives against central differences of a solver that shares no code with the library.

use super::{FORWARD, report, settings, solved};
use bpqp::check::{Entry, check_against, check_gradient};
use bpqp::{Backward, Cotangent, Hessian, Matrix, Qp, Settings, Wrt};
use bpqp_testkit::differences::{
    against_differences, gradient_error, loss, pair_data, random_cotangent, random_tangent, reference_outputs,
};
use bpqp_testkit::{Family, HessianKind, Rng, hard, reference};
use faer::mat;

/// The bound that every block is held to.
const WORST: f64 = 1e-6;

#[test]
fn every_block_agrees_with_central_differences_for_cotangents_on_every_output() {
    let mut failures = Vec::new();
    for family in Family::all() {
        let instance = family.instance(9, 3);
        let solution = solved(&instance, &Settings::default());
        let solve = reference_outputs(&instance.qp);
        let full = random_cotangent(&instance.qp, &mut Rng::new(30));
        let part = |part: &str| Cotangent {
            x: if part == "x" { full.x.clone() } else { vec![] },
            y: if part == "y" { full.y.clone() } else { vec![] },
            z: if part == "z" { full.z.clone() } else { vec![] },
            z_box: if part == "z_box" { full.z_box.clone() } else { vec![] },
            objective: if part == "objective" { 1.0 } else { 0.0 },
            ..Cotangent::default()
        };
        for output in ["x", "y", "z", "z_box", "objective"] {
            let cotangent = part(output);
            let gradient = solution.vjp(&cotangent, Wrt::ALL).expect("differentiable");
            for (block, error) in against_differences(&instance.qp, &cotangent, &gradient, &solve) {
                if error > WORST {
                    failures.push(format!("{}: d{output}/d{block} is off by {error:.1e}", instance.name));
                }
            }
        }
    }
    report(&failures);
}

#[test]
fn a_fixed_variable_has_the_derivative_of_both_of_its_bounds_together() {
    for sign in [1.0, -1.0] {
        let p = mat![[2.0, 0.3, 0.1], [0.3, 1.5, -0.2], [0.1, -0.2, 1.0]];
        let qp = Qp::new(p, [sign, 0.4, -0.7]).and_then(|qp| qp.bounds([0.2, -1.0, 0.0], [0.2, 1.0, 0.3]));
        let qp = qp.expect("valid");
        for solver in FORWARD {
            let solution = qp.solve(&settings(solver, Backward::Direct)).expect("valid");
            assert!(solution.ok(), "{}", solver.name());
            let cotangent = random_cotangent(&qp, &mut Rng::new(4));
            let gradient = solution.vjp(&cotangent, Wrt::ALL).expect("differentiable");
            for (block, error) in against_differences(&qp, &cotangent, &gradient, &reference_outputs(&qp)) {
                assert!(error <= WORST, "{} {block}: {error:.1e}", solver.name());
            }
            // all of it belongs to the side that the multiplier names
            let (lb, ub) = (gradient.lb.expect("asked for")[0], gradient.ub.expect("asked for")[0]);
            let (own, other) = if solution.z_box[0] > 0.0 { (ub, lb) } else { (lb, ub) };
            assert!(other == 0.0 && own != 0.0, "{}: lb {lb}, ub {ub}", solver.name());
        }
    }
}

#[test]
fn forward_mode_agrees_with_central_differences_along_a_direction() {
    for family in Family::all() {
        let instance = family.instance(9, 4);
        let (qp, mut rng) = (&instance.qp, Rng::new(40));
        let solution = solved(&instance, &Settings::default());
        let direction = random_tangent(qp, &mut rng);
        let moved = solution.jvp(&direction).expect("differentiable");
        let solve = reference_outputs(qp);
        let step = 1e-4;
        let at = |k: f64| solve(&along(qp, &direction, k * step));
        let points = [at(-2.0), at(-1.0), at(1.0), at(2.0)];
        for (name, ours, pick) in [
            ("x", &moved.x, (|p| &p.x) as fn(&bpqp::Point) -> &Vec<f64>),
            ("y", &moved.y, |p| &p.y),
            ("z", &moved.z, |p| &p.z),
            ("z_box", &moved.z_box, |p| &p.z_box),
        ] {
            let scale = ours.iter().fold(1.0_f64, |s, v| s.max(v.abs()));
            for (i, &d) in ours.iter().enumerate() {
                let v: Vec<f64> = points.iter().map(|p| pick(p)[i]).collect();
                let numeric = (v[0] - 8.0 * v[1] + 8.0 * v[2] - v[3]) / (12.0 * step);
                assert!((d - numeric).abs() <= WORST * scale, "{} d{name}[{i}]: {d} {numeric}", instance.name);
            }
        }
    }
}

/// The problem moved along a direction, assembled entry by entry.
fn along(qp: &Qp, direction: &bpqp::Tangent, step: f64) -> Qp {
    let mut moved = qp.clone();
    for entry in Entry::all(qp) {
        // mirrored entries of P are moved by half a step each: the full symmetric direction needs both
        let twice = if matches!(entry, Entry::P(i, j) if i != j) { 2.0 } else { 1.0 };
        moved = entry.moved(&moved, step * twice * entry.of(direction));
    }
    moved
}

#[test]
fn a_large_problem_agrees_with_differences_along_random_directions() {
    let mixed = |f: &Family| f.equality && f.inequality && f.bounds && f.hessian != HessianKind::Linear;
    for family in Family::all().into_iter().filter(mixed) {
        let instance = family.instance(60, 6);
        let mut rng = Rng::new(60);
        let cotangent = random_cotangent(&instance.qp, &mut rng);
        let solution = solved(&instance, &Settings::default());
        let gradient = solution.vjp(&cotangent, Wrt::ALL).expect("differentiable");
        for _ in 0..3 {
            let direction = random_tangent(&instance.qp, &mut rng);
            let at = |k: f64| {
                let qp = along(&instance.qp, &direction, k * 1e-5);
                let solution = qp.solve(&Settings::default()).expect("valid");
                assert!(solution.ok());
                loss(&qp, &cotangent, &solution.point())
            };
            let numeric = (at(-2.0) - 8.0 * at(-1.0) + 8.0 * at(1.0) - at(2.0)) / 12e-5;
            let analytic = pair_data(&gradient, &direction);
            let error = (analytic - numeric).abs() / (1.0 + analytic.abs());
            assert!(error <= WORST, "{}: {analytic} against {numeric}", instance.name);
        }
    }
}

#[test]
fn the_gradient_of_p_is_symmetric() {
    for family in Family::all() {
        let instance = family.instance(12, 8);
        let cotangent = random_cotangent(&instance.qp, &mut Rng::new(80));
        let gradient = solved(&instance, &Settings::default()).vjp(&cotangent, Wrt::ALL).expect("differentiable");
        let dense = match gradient.p.expect("asked for") {
            Hessian::Dense(m) => m.to_mat(),
            Hessian::Sparse(m) => m.to_dense(),
            _ => continue,
        };
        for j in 0..12 {
            for i in 0..j {
                assert_eq!(dense[(i, j)], dense[(j, i)], "{} P[{i}, {j}]", instance.name);
            }
        }
    }
}

#[test]
fn the_gradient_of_sparse_data_is_the_dense_one_on_the_pattern() {
    for family in Family::all().into_iter().filter(|f| f.sparse_rows) {
        let instance = family.instance(12, 2);
        let qp = &instance.qp;
        let mut dense = Qp::new(qp.p().to_dense(), qp.q()).expect("valid");
        if qp.n_equality() > 0 {
            dense = dense.equality(qp.a().to_dense(), qp.b()).expect("valid");
        }
        if qp.n_inequality() > 0 {
            dense = dense.inequality(qp.g().to_dense(), qp.h()).expect("valid");
        }
        dense = dense.bounds(qp.lb(), qp.ub()).expect("valid");
        let sparse = hard::sparsely(qp);
        let cotangent = random_cotangent(qp, &mut Rng::new(20));
        let [ours, theirs] = [&sparse, &dense].map(|qp| {
            let solution = qp.solve(&Settings::default()).expect("valid");
            assert!(solution.ok(), "{}: {}", instance.name, solution.status);
            solution.vjp(&cotangent, Wrt::ALL).expect("differentiable")
        });
        for entry in Entry::all(&sparse) {
            let (a, b) = (entry.of(&ours), entry.of(&theirs));
            assert!((a - b).abs() <= 1e-8 * (1.0 + b.abs()), "{} {entry}: {a} {b}", instance.name);
        }
        if let (Some(Matrix::Sparse(a)), Matrix::Sparse(data)) = (&ours.a, sparse.a()) {
            assert!(a.same_pattern(data), "{}", instance.name);
        }
    }
}

#[test]
fn check_gradient_passes_right_gradients_and_names_the_block_of_a_wrong_one() {
    let family = Family::all().into_iter().find(|f| f.name() == "dense-eq-in-box").expect("listed");
    let instance = family.instance(8, 1);
    let solution = solved(&instance, &Settings::default());
    let cotangent = random_cotangent(&instance.qp, &mut Rng::new(10));
    let check = check_gradient(&solution, &cotangent).expect("differentiable");
    assert!(check.worst <= WORST, "{check}");
    let names: Vec<&str> = check.table.iter().map(|row| row.block).collect();
    assert_eq!(names, ["P", "q", "A", "b", "G", "h", "lb", "ub"]);

    let mut wrong = solution.vjp(&cotangent, Wrt::ALL).expect("differentiable");
    wrong.h.as_mut().expect("asked for")[1] += 0.1;
    let check = check_against(&solution, &cotangent, &wrong).expect("differentiable");
    for row in &check.table {
        assert_eq!(row.worst > WORST, row.block == "h", "{check}");
    }
    assert_eq!(check.table.iter().find(|row| row.block == "h").expect("listed").at, Entry::H(1));
}

#[test]
fn check_gradient_passes_on_every_family() {
    for family in Family::all() {
        let instance = family.instance(6, 2);
        let solution = solved(&instance, &Settings::default());
        let cotangent = random_cotangent(&instance.qp, &mut Rng::new(11));
        let check = check_gradient(&solution, &cotangent).expect("differentiable");
        assert!(check.worst <= WORST, "{}\n{check}", instance.name);
    }
}

#[test]
fn a_problem_that_is_convex_only_on_the_null_space_of_its_equalities_is_differentiated() {
    let qp = hard::convex_on_null_space();
    let solution = qp.solve(&Settings::default()).expect("valid");
    assert!(solution.ok(), "{}", solution.status);
    let cotangent = random_cotangent(&qp, &mut Rng::new(12));
    let gradient = solution.vjp(&cotangent, Wrt::ALL).expect("differentiable");
    let exact = |qp: &Qp| reference::solve(qp).expect("solvable").point;
    for (block, error) in against_differences(&qp, &cotangent, &gradient, &exact) {
        assert!(error <= WORST, "{block}: {error:.1e}");
    }
}

#[test]
fn the_sum_of_two_cotangents_has_the_sum_of_their_gradients() {
    let family = Family::all().into_iter().find(|f| f.name() == "dense-eq-in-box").expect("listed");
    let instance = family.instance(12, 13);
    let solution = solved(&instance, &Settings::default());
    let mut rng = Rng::new(14);
    let (a, b) = (random_cotangent(&instance.qp, &mut rng), random_cotangent(&instance.qp, &mut rng));
    let add = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a + b).collect::<Vec<_>>();
    let sum = Cotangent {
        x: add(&a.x, &b.x),
        y: add(&a.y, &b.y),
        z: add(&a.z, &b.z),
        z_box: add(&a.z_box, &b.z_box),
        objective: a.objective + b.objective,
        ..Cotangent::default()
    };
    let [ga, gb, gs] = [&a, &b, &sum].map(|c| solution.vjp(c, Wrt::ALL).expect("differentiable"));
    for entry in Entry::all(&instance.qp) {
        let (left, right) = (entry.of(&ga) + entry.of(&gb), entry.of(&gs));
        assert!((left - right).abs() <= 1e-11 * (1.0 + right.abs()), "{entry}: {left} {right}");
    }
    assert!(gradient_error(&ga, &gb).0 > 0.1, "two random cotangents with one gradient");
}
