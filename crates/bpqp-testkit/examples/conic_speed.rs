//! Conic forward and backward passes, in milliseconds, one thread: the solver alone (`auto`, then Clarabel), with the polish, the
//! backward pass with and without its factorization. With `--features bpqp/sdp` Clarabel takes the semidefinite program too.
//! `cargo run --release -p bpqp-testkit --example conic_speed`

use bpqp::{Cone, Conic, ConicBatch, ConicCotangent, ConicLayer, ConicWrt, Settings, Solver};
use bpqp_testkit::{Rng, conic};
use std::time::Instant;

/// Milliseconds of `f`, median over enough repetitions.
fn time(mut f: impl FnMut()) -> f64 {
    let mut once = || {
        let start = Instant::now();
        f();
        1e3 * start.elapsed().as_secs_f64()
    };
    let first = once();
    let mut times: Vec<f64> = (0..(300.0 / first).clamp(3.0, 200.0) as usize).map(|_| once()).collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn row(name: &str, problem: &Conic) {
    for solver in [Solver::Auto, Solver::Clarabel] {
        if let Err(e) = problem.solve(&Settings::with_solver(solver)) {
            println!("{name}, {}: {e}", solver.name());
            continue;
        }
        row_of(name, problem, solver);
    }
}

fn row_of(name: &str, problem: &Conic, solver: Solver) {
    let settings = |polish| Settings { polish, threads: 1, solver, ..Settings::default() };
    let raw = time(|| {
        assert!(problem.solve(&settings(false)).expect("valid").status.name() != "primal_infeasible");
    });
    let cold = time(|| assert!(problem.solve(&settings(true)).expect("valid").ok()));
    let mut layer = ConicLayer::new(problem.clone(), settings(true)).expect("valid");
    let warm = time(|| {
        layer.update(None, Some(problem.q()), None, None).expect("finite");
        assert!(layer.solve().expect("valid").ok());
    });
    let g = Rng::new(3).normals(problem.n());
    let cotangent = ConicCotangent::x(&g);
    let both = time(|| {
        layer.update(None, Some(problem.q()), None, None).expect("finite");
        layer.solve().expect("valid");
        layer.vjp(&cotangent, ConicWrt::ALL).expect("smooth");
    });
    let again = time(|| drop(layer.vjp(&cotangent, ConicWrt::ALL).expect("smooth")));
    let q = ConicWrt { q: true, ..ConicWrt::NONE };
    let only_q = time(|| drop(layer.vjp(&cotangent, q).expect("smooth")));
    println!(
        "{name:<22} {:<8} {raw:>9.3} {cold:>9.3} {warm:>9.3} {both:>9.3} {:>9.3} {again:>9.3} {only_q:>9.3}",
        solver.name(),
        both - warm
    );
}

/// Two of each cone on its boundary, 40 variables.
fn mixed() -> Conic {
    let kinds = [
        Cone::Zero(2),
        Cone::Nonnegative(4),
        Cone::SecondOrder(5),
        Cone::Exponential,
        Cone::Power(0.3),
        Cone::DualExponential,
        Cone::DualPower(0.6),
    ];
    let cones = [kinds, kinds].concat();
    let places = vec![conic::Place::Boundary; cones.len()];
    conic::instance(cones, places, 40, true, &mut Rng::new(5)).problem
}

fn main() {
    println!(
        "{:<22} {:<8} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "problem", "solver", "alone", "cold", "layer", "+ vjp", "backward", "again", "only q"
    );
    for n in [10, 50, 100, 500] {
        row(&format!("robust lp, n = {n}"), &conic::robust(n, 2, 1));
    }
    row("robust lp, 20 cones", &conic::robust(30, 20, 1));
    row("every cone but PSD", &mixed());
    row("correlation, 20 x 20", &conic::correlation(20, 1));
    for (threads, solver) in [(1, Solver::Auto), (2, Solver::Auto), (1, Solver::Clarabel)] {
        let settings = Settings { threads, solver, ..Settings::default() };
        let problem = conic::robust(10, 2, 1);
        let mut batch = ConicBatch::new(vec![problem; 64], settings).expect("one structure");
        let q = Rng::new(4).normals(640);
        let g = Rng::new(3).normals(10);
        let solve = time(|| {
            batch.update(None, Some(&q), None, None).expect("finite");
            drop(batch.solve().expect("threads"));
        });
        let solutions: Vec<_> = batch.solve().expect("threads").into_iter().map(|s| s.expect("valid")).collect();
        let references: Vec<_> = solutions.iter().collect();
        let cotangents = vec![ConicCotangent::x(&g); 64];
        let backward = time(|| drop(batch.vjp(&references, &cotangents, ConicWrt::ALL).expect("threads")));
        println!(
            "64 robust lps, n = 10, {}, {threads} threads: solve {solve:.3}, backward (factored) {backward:.3}",
            solver.name()
        );
    }
}
