//! A solution from elsewhere is as good as one from here, and a wrong one is never used silently.

use super::{BACKWARD, report, settings, solved};
use bpqp::{Error, Hessian, Point, Qp, Settings, Side, Solver, Status, Verdict, Wrt, from_solution};
use bpqp_testkit::differences::{distance, gradient_error, random_cotangent};
use bpqp_testkit::{Family, Instance, Rng};

#[test]
fn the_gradient_of_a_given_solution_is_the_gradient_with_and_without_its_multipliers() {
    let mut failures = Vec::new();
    for family in Family::all() {
        let instance = family.instance(12, 51);
        let cotangent = random_cotangent(&instance.qp, &mut Rng::new(51));
        let exact = solved(&instance, &Settings::default()).vjp(&cotangent, Wrt::ALL).expect("smooth");
        let all = instance.solution.clone();
        let only_x = Point { x: all.x.clone(), ..Point::default() };
        for (kind, point) in [("with", all), ("without", only_x)] {
            for backward in BACKWARD {
                let name = format!("{} {kind} multipliers, {backward:?}", instance.name);
                let given = from_solution(instance.qp.clone(), point.clone(), &settings(Solver::Auto, backward));
                let given = given.expect("valid");
                if !given.ok() {
                    failures.push(format!("{name}: {}", given.status));
                    continue;
                }
                assert_eq!((given.info.solver, &given.x), ("given", &point.x), "{name}");
                let recovered = [(&given.y, &instance.solution.y), (&given.z, &instance.solution.z)];
                let off = recovered.iter().fold(0.0_f64, |m, (a, b)| m.max(distance(a, b)));
                if off > 1e-8 {
                    failures.push(format!("{name}: multipliers off by {off:.1e}"));
                }
                let gradient = given.vjp(&cotangent, Wrt::ALL).expect("smooth");
                let (error, block) = gradient_error(&gradient, &exact);
                if error > 1e-6 {
                    failures.push(format!("{name}: {error:.1e} in {block}"));
                }
            }
        }
    }
    report(&failures);
}

/// The instance with the multiplier of its first active row (or bound) made tiny by a change of q.
fn barely_active(instance: &Instance, tiny: f64) -> Option<(Qp, Point, Option<usize>)> {
    let (qp, mut point) = (&instance.qp, instance.solution.clone());
    let mut q = qp.q().to_vec();
    if let Some(row) = (0..point.z.len()).find(|&i| point.z[i] > 0.0) {
        let mut change = vec![0.0; point.z.len()];
        change[row] = point.z[row] - tiny;
        qp.g().tmul_add(1.0, &change, &mut q);
        point.z[row] = tiny;
        return Some((qp.clone().with_q(q).expect("valid"), point, Some(row)));
    }
    let i = (0..qp.n()).find(|&i| point.z_box[i] != 0.0)?;
    let sign = point.z_box[i].signum();
    q[i] += point.z_box[i] - sign * tiny;
    point.z_box[i] = sign * tiny;
    Some((qp.clone().with_q(q).expect("valid"), point, None))
}

#[test]
fn an_active_set_that_is_wrong_by_one_row_is_repaired_or_not_trusted() {
    let (mut failures, mut repaired) = (Vec::new(), 0);
    for family in Family::all() {
        let instance = family.instance(12, 52);
        let Some((qp, exact, row)) = barely_active(&instance, 1e-5) else { continue };
        let cotangent = random_cotangent(&qp, &mut Rng::new(52));
        let right = qp.solve(&Settings::default()).expect("valid");
        let off = distance(&right.x, &exact.x);
        if right.verdict() == Verdict::Untrusted {
            // a linear program whose multiplier of 1e-5 drowns in the tolerance; at least it says so
            assert!(qp.p().is_zero(), "{}", instance.name);
            continue;
        }
        assert!(right.ok() && off < 1e-8, "{}: {} {off:.1e}", instance.name, right.status);
        let right = right.vjp(&cotangent, Wrt::ALL).expect("smooth");
        // someone's solution of accuracy 1e-5: the barely active constraint has lost its multiplier and gained a slack
        let mut wrong = exact.clone();
        match row {
            Some(row) => {
                let mut normal = vec![0.0; qp.n()];
                let mut pick = vec![0.0; exact.z.len()];
                pick[row] = 1.0;
                qp.g().tmul_add(1.0, &pick, &mut normal);
                let size: f64 = normal.iter().map(|v| v * v).sum();
                wrong.x.iter_mut().zip(&normal).for_each(|(x, v)| *x -= 2e-5 * v / size);
                wrong.z[row] = 0.0;
            }
            None => {
                let i = (0..qp.n()).find(|&i| exact.z_box[i] != 0.0).expect("a bound is active");
                wrong.x[i] -= 2e-5 * exact.z_box[i].signum();
                wrong.z_box[i] = 0.0;
            }
        }
        // and the opposite: a constraint that is far from active is claimed to hold with a multiplier
        let mut claimed = exact.clone();
        let inactive = (0..exact.z.len()).find(|&i| exact.z[i] == 0.0);
        if let Some(i) = inactive {
            claimed.z[i] = 1e-5;
        }
        for (kind, point) in [("one too few", wrong), ("one too many", claimed)] {
            let name = format!("{}, {kind}", instance.name);
            let given = from_solution(qp.clone(), point, &Settings::default()).expect("valid");
            match given.vjp(&cotangent, Wrt::ALL) {
                Err(Error::NoSolution { .. }) => {}
                // a linear program one row short of a vertex has no backward system, and says so
                Err(Error::Backward { .. }) if qp.p().is_zero() => {}
                Err(error) => failures.push(format!("{name}: {error}")),
                Ok(_) if given.verdict() == Verdict::Untrusted => {}
                Ok(gradient) => {
                    let (error, block) = gradient_error(&gradient, &right);
                    repaired += usize::from(error <= 1e-6);
                    if error > 1e-6 {
                        failures.push(format!("{name}: {} but {error:.1e} in {block}", given.verdict()));
                    }
                }
            }
        }
    }
    report(&failures);
    assert!(repaired > 30, "only {repaired} were repaired");
}

#[test]
fn the_side_of_a_bound_that_was_mistaken_is_repaired() {
    // x0 is at its bound with a multiplier of 1e-5; the given point has it 3e-5 inside, and the reverse
    let weak = |q: f64| Qp::new(Hessian::Diagonal(vec![1.0; 2]), [q, -1.0]).and_then(|qp| qp.bounds([0.0, 0.0], []));
    for (q, x, z_box, side) in [(1e-5, 3e-5, 0.0, Side::Lower), (-1e-5, 0.0, -1e-6, Side::Free)] {
        let qp = weak(q).expect("valid");
        let point = Point { x: vec![x, 1.0], z_box: vec![z_box, 0.0], ..Point::default() };
        let given = from_solution(qp, point, &Settings::default()).expect("valid");
        assert!(given.ok(), "{}", given.status);
        assert_eq!(given.active().bound[0], side);
        assert!(given.info.moved > 0.0 && given.x[0] == x);
    }
}

#[test]
fn a_point_that_solves_nothing_is_not_differentiated() {
    for family in Family::all().into_iter().filter(|f| f.bounds) {
        let instance = family.instance(12, 53);
        let mut point = instance.solution.clone();
        point.x.iter_mut().for_each(|x| *x += 0.3);
        let given = from_solution(instance.qp.clone(), point, &Settings::default()).expect("valid");
        let outcome = given.vjp(&random_cotangent(&instance.qp, &mut Rng::new(53)), Wrt::ALL);
        assert!(matches!(outcome, Err(Error::NoSolution { .. })), "{}: {}", instance.name, given.status);
        assert_ne!(given.status, Status::Solved);
    }
}
