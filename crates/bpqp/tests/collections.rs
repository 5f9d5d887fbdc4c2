//! Public problem collections; without the data the tests say so and pass (see `bpqp_testkit::data`).

use bpqp::{Layer, Settings, Solver, Status, Verdict};
use bpqp_testkit::collection::{Run, run};
use bpqp_testkit::collections;
use bpqp_testkit::data::{self, Problem};
use std::time::Duration;

fn with(solver: Solver, seconds: u64) -> Settings {
    Settings { time_limit: Some(Duration::from_secs(seconds)), ..Settings::with_solver(solver) }
}

/// Runs a collection and prints its table, shown when the test fails.
fn table(problems: impl Iterator<Item = Problem>, chain: &[Settings]) -> Vec<Run> {
    println!("{}", Run::heading());
    problems
        .map(|problem| {
            let run = run(&problem, chain);
            println!("{}", run.line());
            run
        })
        .collect()
}

fn solved(runs: &[Run]) -> usize {
    runs.iter().filter(|r| r.solved()).count()
}

#[test]
fn maros_meszaros_is_solved_by_auto_and_values_is_non_convex() {
    let Some(folder) = data::folder("maros_meszaros") else { return };
    let problems = data::index(&folder).into_iter().map(|(name, best)| data::maros_meszaros(&folder, &name, best));
    let runs = table(problems, &[with(Solver::Auto, 60)]);
    assert!(runs.iter().all(|r| r.seconds <= 60.0));
    let values = runs.iter().find(|r| r.name == "VALUES").expect("in the collection");
    assert_eq!(values.status, Status::NonConvex);
    assert!(solved(&runs) >= 58, "{} of {} solved", solved(&runs), runs.len());
}

#[test]
fn maros_meszaros_is_solved_by_the_native_solvers_alone() {
    let Some(folder) = data::folder("maros_meszaros") else { return };
    let problems = data::index(&folder).into_iter().map(|(name, best)| data::maros_meszaros(&folder, &name, best));
    let runs = table(problems, &[with(Solver::InteriorPoint, 20), with(Solver::Admm, 20)]);
    assert!(solved(&runs) >= 57, "{} of {} solved", solved(&runs), runs.len());
}

#[test]
fn netlib_linear_programs_are_solved_and_infeasible_ones_proved() {
    let Some(folder) = data::folder("netlib_lp") else { return };
    let problems = data::index(&folder).into_iter().map(|(name, best)| data::netlib(&folder, &name, best));
    let runs = table(problems, &[with(Solver::Auto, 20)]);
    let (infeasible, feasible): (Vec<Run>, Vec<Run>) = runs.into_iter().partition(|r| r.name.starts_with("lpi_"));
    assert!(solved(&feasible) >= 32, "{} of {} solved", solved(&feasible), feasible.len());
    // scagr7 has one vertex, the others a face of solutions without degenerate rows: what binds there can be told, though not by
    // the first digits
    for name in ["scagr7", "grow15", "israel"] {
        let run = feasible.iter().find(|r| r.name == name).expect("in the collection");
        assert!(run.polished, "{}", run.line());
    }
    let proved = infeasible.iter().filter(|r| r.status == Status::PrimalInfeasible).count();
    // lpi_cplex2 is feasible to the tolerance of every solver
    assert!(proved >= 10, "{proved} of {} proved infeasible", infeasible.len());
    assert!(infeasible.iter().all(|r| r.status != Status::Solved), "an infeasible problem was solved");
}

/// Rows that are dependent and solutions that are a face at once: the point of a solver is led to a vertex. What its gradient is
/// one of is flagged, or it agrees with differences of solutions nearby.
#[test]
fn what_is_degenerate_in_every_way_is_verified_at_a_vertex() {
    let named =
        [("netlib_lp", vec!["agg", "etamacro", "pilot4", "perold"]), ("maros_meszaros", vec!["QFORPLAN", "QISRAEL"])];
    for (collection, names) in named {
        if data::folder(collection).is_none() {
            continue;
        }
        let mut found = 0;
        collections::run(
            collection,
            |name| names.contains(&name),
            |row| {
                found += 1;
                assert_eq!(row.status, Status::Solved, "{}", row.line());
                // the polish of QFORPLAN, whose numbers span ten orders of magnitude, ends at a vertex or does not
                let honest: &[Verdict] = match row.name.as_str() {
                    "QFORPLAN" => &[Verdict::OneOfSeveral, Verdict::Untrusted],
                    _ => &[Verdict::OneOfSeveral],
                };
                assert!(honest.contains(&row.verdict), "{}", row.line());
                assert!(row.objective < 1e-7 && row.wrong().is_none(), "{}", row.line());
            },
        );
        assert_eq!(found, names.len(), "{collection}");
    }
}

#[test]
fn the_linear_programs_of_the_paper_are_solved() {
    for (n, m) in [(10, 5), (50, 10), (100, 20)] {
        for eps in [0.0, 1e-6] {
            for seed in 0..3 {
                let qp = bpqp_testkit::paper::lp(n, m, eps, seed);
                let solution = qp.solve(&Settings::default()).expect("valid");
                assert_eq!(solution.status, Status::Solved, "{n}x{m} eps={eps} seed={seed}");
                assert!(solution.residuals.relative() < 1e-8, "{:?}", solution.residuals);
            }
        }
    }
}

#[test]
fn a_kept_layer_finds_what_a_new_one_does() {
    let Some(folder) = data::folder("netlib_lp") else { return };
    for (name, optimum) in data::index(&folder) {
        if !["afiro", "israel", "lpi_box1", "sc105", "share1b"].contains(&name.as_str()) {
            continue;
        }
        let qp = data::netlib(&folder, &name, optimum).qp;
        let mut layer = Layer::new(qp.clone(), Settings::default()).expect("valid");
        let mut solve = || {
            layer.update(qp.clone()).expect("the same");
            let solution = layer.solve().expect("valid");
            (
                solution.status,
                solution.info.iterations,
                solution.info.polish_rounds,
                solution.x.iter().map(|x| x.to_bits()).collect::<Vec<_>>(),
            )
        };
        let first = solve();
        // what it learned about these matrices does not change how it goes about them
        assert_eq!(solve(), first, "{name}");
    }
}

#[test]
fn rounding_on_dependent_rows_is_no_violation() {
    let Some(folder) = data::folder("netlib_lp") else { return };
    let problem = data::netlib(&folder, "bnl1", None);
    let mut layer = Layer::new(problem.qp, Settings::default()).expect("valid");
    let info = &layer.solve().expect("solved").info;
    assert!(info.polished && info.dependent_rows);
    // 29 where each variable that rounding left beyond its bound was put there
    assert!(info.polish_rounds <= 5, "{} rounds", info.polish_rounds);
}
