//! Public collections as conic programs; without the data the tests say so and pass (see `bpqp_testkit::data`).

use bpqp::{Cone, Conic, Csc, Qp, Settings, Status, Verdict};
use bpqp_testkit::conic_run::{ConicRun, run};
use bpqp_testkit::conic_value::{AGREEMENT, Moved};
use bpqp_testkit::data;
use std::time::Duration;

/// Relative accuracy of derivatives, unless flagged.
const GRADIENT: f64 = 1e-5;
/// Relative accuracy of one-sided derivatives at a kink of the optimal value, and of those by a point that is the solver's own
/// because the polish failed: they change with its last digits.
const COARSE: f64 = 1e-4;

/// The optimal value's derivatives are x and -y. Where they are not, x or y is only one of several solutions, which is
/// flagged and shown: the derivatives to the left and to the right enclose its slope, and are those of other solutions of
/// the same problem. Returns the number of such kinks.
fn check_optimal_value(run: &ConicRun) -> usize {
    let mut kinks = 0;
    for value in run.values.as_ref().expect("solved") {
        let what = || format!("{value:?}\n{}", run.line());
        let accuracy = if run.verdict == Verdict::Untrusted { COARSE } else { AGREEMENT };
        assert!(value.violation() <= accuracy, "{:.1e} {}", value.violation(), what());
        if value.error() > accuracy || value.error().is_nan() {
            assert_ne!(run.verdict, Verdict::Exact, "{}", what());
            assert!(value.kink() <= COARSE, "{:.1e} {}", value.kink(), what());
            // mra01: several y. nb: q on the boundary of the costs for which the problem is bounded, an unbounded set of x
            let known = [("mra01", Moved::B), ("nb.", Moved::Q)];
            assert!(known.iter().any(|(name, moved)| run.name.contains(name) && value.moved == *moved), "{}", what());
            kinks += 1;
        }
    }
    kinks
}

#[test]
fn cblib_is_solved_to_its_index_and_its_derivatives_are_right_or_flagged() {
    let Some(folder) = data::folder("cblib") else { return };
    println!("{}", ConicRun::heading());
    let index = data::index_column(&folder, "objective_primal");
    let one = |(name, optimum): &(String, Option<f64>)| {
        let run = run(name, &data::cblib(&folder, name), *optimum, &Settings::default());
        println!("{}", run.line());
        run
    };
    // every other problem on each of two threads
    let half = |first: usize| index.iter().skip(first).step_by(2).map(one).collect::<Vec<_>>();
    let runs: Vec<ConicRun> = std::thread::scope(|scope| {
        let odd = scope.spawn(|| half(1));
        half(0).into_iter().chain(odd.join().expect("no panic")).collect()
    });
    assert_eq!(runs.len(), 26);
    let (mut exact, mut kinks) = (0, 0);
    for run in &runs {
        if run.name.contains("isil01") {
            assert_eq!(run.status, Status::PrimalInfeasible);
            continue;
        }
        let accuracy = if run.name.contains("sched_50_50_orig") { 1e-4 } else { 1e-6 };
        assert!(run.status.ok() && run.objective <= accuracy, "{}", run.line());
        kinks += check_optimal_value(run);
        if run.verdict == Verdict::Exact {
            exact += 1;
            assert!(run.gradient <= GRADIENT && run.value <= GRADIENT, "{}", run.line());
        }
    }
    let scaled = runs.iter().find(|r| r.name.contains("sched_50_50_orig")).expect("in the collection");
    assert_ne!(scaled.verdict, Verdict::Exact);
    assert!(exact >= 12, "{exact} problems have exact derivatives");
    assert_eq!(kinks, 2);
}

/// Bounds become rows of a nonnegative cone.
fn as_conic(qp: &Qp) -> Conic {
    let mut entries = Vec::new();
    qp.a().for_each(|i, j, v| entries.push((i, j, v)));
    let mut b = qp.b().to_vec();
    for j in 0..qp.n() {
        for (sign, bound) in [(1.0, qp.ub()[j]), (-1.0, qp.lb()[j])] {
            if bound.is_finite() {
                entries.push((b.len(), j, sign));
                b.push(sign * bound);
            }
        }
    }
    let cones = vec![Cone::Zero(qp.n_equality()), Cone::Nonnegative(b.len() - qp.n_equality())];
    let a = Csc::from_triplets(b.len(), qp.n(), &entries).expect("in range");
    Conic::new(None, qp.q().to_vec(), a, b, cones).expect("valid")
}

#[test]
fn netlib_linear_programs_are_solved_and_infeasible_ones_proved() {
    let Some(folder) = data::folder("netlib_lp") else { return };
    let (mut solved, mut proved) = (0, 0);
    let settings = Settings { time_limit: Some(Duration::from_secs(30)), ..Settings::default() };
    for (name, optimum) in data::index(&folder) {
        let problem = data::netlib(&folder, &name, optimum);
        let conic = as_conic(&problem.qp);
        let solution = conic.solve(&settings).expect("valid");
        let feasible = !name.starts_with("lpi_");
        let optimum = problem.optimum.unwrap_or(f64::NAN);
        let error = (solution.objective + problem.constant - optimum).abs() / (1.0 + optimum.abs());
        println!("{name:<14} {:<20} {:<15} {error:.1e}", solution.status.name(), solution.info.solver);
        if feasible {
            assert!(solution.ok() && error <= 1e-6, "{name}: {} {error:.1e}", solution.status);
            solved += 1;
        } else {
            // lpi_cplex2 is feasible to the tolerance of every solver
            assert!(name == "lpi_cplex2" || solution.status == Status::PrimalInfeasible, "{name}: {}", solution.status);
            if solution.status == Status::PrimalInfeasible {
                let certificate = solution.info.certificate.as_ref().expect("a proof");
                assert!(conic.verifies(certificate), "{name}: {:.1e}", conic.violation(certificate));
                proved += 1;
            }
        }
    }
    assert!(solved == 32 && proved >= 10, "{solved} solved, {proved} proved infeasible");
}
