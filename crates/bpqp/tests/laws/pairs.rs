//! Laws over every ordered pair of a forward and a backward solver.

use super::{BACKWARD, FORWARD, attempt, report, settings, solved, undefined};
use bpqp::{Backward, Settings, Solver, Wrt};
use bpqp_testkit::differences::{distance, gradient_error, pair_data, pair_outputs, random_cotangent, random_tangent};
use bpqp_testkit::{Family, Rng};

/// What a solution is held to: its own tolerance is 1e-8, and the polish makes it exact.
const POINT: f64 = 1e-9;
/// Two solvers, one gradient.
const GRADIENT: f64 = 1e-6;

#[test]
fn every_forward_solver_finds_the_known_solution_of_every_structure() {
    let mut failures = Vec::new();
    for family in Family::all() {
        for seed in 0..2 {
            let instance = family.instance(12, seed);
            for solver in FORWARD.into_iter().filter(|&s| !undefined(&instance, s, Backward::Direct)) {
                let solution = match attempt(&instance, &Settings::with_solver(solver)) {
                    Ok(solution) => solution,
                    Err(failure) => {
                        failures.push(failure);
                        continue;
                    }
                };
                let exact = &instance.solution;
                let worst = [
                    distance(&solution.x, &exact.x),
                    distance(&solution.y, &exact.y),
                    distance(&solution.z, &exact.z),
                    distance(&solution.z_box, &exact.z_box),
                ];
                if !worst.iter().all(|&e| e <= POINT) {
                    let worst = worst.map(|e| format!("{e:.1e}")).join(" ");
                    failures.push(format!("{} by {}: x y z z_box {worst}", instance.name, solver.name()));
                }
            }
        }
    }
    report(&failures);
}

#[test]
fn every_pair_of_solvers_gives_one_gradient() {
    let mut failures = Vec::new();
    for family in Family::all() {
        let instance = family.instance(12, 5);
        let mut rng = Rng::new(50);
        let cotangent = random_cotangent(&instance.qp, &mut rng);
        let reference = solved(&instance, &Settings::with_solver(Solver::Clarabel));
        let reference = reference.vjp(&cotangent, Wrt::ALL).expect("differentiable");
        for forward in FORWARD {
            for backward in BACKWARD {
                if undefined(&instance, forward, backward) {
                    continue;
                }
                let solution = match attempt(&instance, &settings(forward, backward)) {
                    Ok(solution) => solution,
                    Err(failure) => {
                        failures.push(failure);
                        continue;
                    }
                };
                let name = format!("{} by {} and {backward:?}", instance.name, forward.name());
                match solution.vjp(&cotangent, Wrt::ALL) {
                    Err(e) => failures.push(format!("{name}: {e}")),
                    Ok(gradient) => {
                        let (error, block) = gradient_error(&gradient, &reference);
                        if error.is_nan() || error > GRADIENT {
                            failures.push(format!("{name}: {error:.1e} in {block}"));
                        }
                    }
                }
            }
        }
    }
    report(&failures);
}

#[test]
fn vjp_and_jvp_are_adjoint() {
    let mut failures = Vec::new();
    for family in Family::all() {
        let instance = family.instance(12, 7);
        let mut rng = Rng::new(70);
        let cotangent = random_cotangent(&instance.qp, &mut rng);
        let tangent = random_tangent(&instance.qp, &mut rng);
        for forward in FORWARD {
            for (backward, tolerance) in [(Backward::Direct, 1e-10), (Backward::FirstOrder, 1e-6)] {
                if undefined(&instance, forward, backward) {
                    continue;
                }
                let solution = match attempt(&instance, &settings(forward, backward)) {
                    Ok(solution) => solution,
                    Err(failure) => {
                        failures.push(failure);
                        continue;
                    }
                };
                let name = format!("{} by {} and {backward:?}", instance.name, forward.name());
                let both = solution.vjp(&cotangent, Wrt::ALL).and_then(|g| Ok((g, solution.jvp(&tangent)?)));
                match both {
                    Err(e) => failures.push(format!("{name}: {e}")),
                    Ok((gradient, moved)) => {
                        let (left, right) = (pair_data(&gradient, &tangent), pair_outputs(&cotangent, &moved));
                        let error = (left - right).abs() / (1.0 + left.abs());
                        if error.is_nan() || error > tolerance {
                            failures.push(format!("{name}: {left} against {right}"));
                        }
                    }
                }
            }
        }
    }
    report(&failures);
}

#[test]
fn what_is_not_wanted_is_absent_and_what_is_wanted_does_not_depend_on_it() {
    for family in Family::all().into_iter().step_by(3) {
        let instance = family.instance(12, 9);
        let cotangent = random_cotangent(&instance.qp, &mut Rng::new(90));
        let solution = solved(&instance, &Settings::default());
        let all = solution.vjp(&cotangent, Wrt::ALL).expect("differentiable");
        let only = solution.vjp(&cotangent, Wrt::Q).expect("differentiable");
        assert_eq!(only.q, all.q, "{}", instance.name);
        assert!(only.p.is_none() && only.a.is_none() && only.g.is_none() && only.b.is_none() && only.lb.is_none());
    }
}
