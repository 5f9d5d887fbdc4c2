//! A long-only portfolio of 500 names: factored and dense covariance, cold and from the solution of a nearby day.
//!
//! `cargo run --release -p bpqp-testkit --example portfolio_speed`

use bpqp::{Cotangent, Hessian, Layer, Qp, Settings, Solver, Wrt};
use bpqp_testkit::{Rng, paper};
use std::time::Instant;

fn main() {
    println!(
        "{:<10} {:<16} {:>10} {:>12} {:>6} {:>12} {:>6}",
        "covariance", "solver", "cold ms", "warm ms", "it", "backward ms", "held"
    );
    let factored = paper::portfolio(500, 1);
    let dense = factored.clone().with_p(Hessian::from(factored.p().to_dense())).expect("same size");
    for (name, qp) in [("factored", factored), ("dense", dense)] {
        for solver in [Solver::Auto, Solver::InteriorPoint, Solver::ActiveSet, Solver::Admm, Solver::Clarabel] {
            let milliseconds = |f: &mut dyn FnMut()| {
                let mut times: Vec<f64> = (0..9)
                    .map(|_| {
                        let start = Instant::now();
                        f();
                        start.elapsed().as_secs_f64() * 1e3
                    })
                    .collect();
                times.sort_by(f64::total_cmp);
                times[4]
            };
            let mut layer = Layer::new(qp.clone(), Settings::with_solver(solver)).expect("valid");
            if !layer.solve().expect("valid").ok() {
                println!("{name:<10} {:<16} {}", solver.name(), layer.solution().status);
                continue;
            }
            let start = layer.solution().point();
            let mut rng = Rng::new(5);
            let near: Vec<f64> = qp.q().iter().map(|q| q + 0.002 * rng.normal()).collect();
            let near = qp.clone().with_q(near).expect("same size");
            let cold = milliseconds(&mut || {
                // every number new, nothing kept
                let p = qp.p().clone();
                let fresh: Qp = qp.clone().with_p(p).expect("same size");
                let mut layer = Layer::new(fresh, Settings::with_solver(solver)).expect("valid");
                layer.solve().expect("solved");
            });
            let warm = milliseconds(&mut || {
                layer.update(near.clone()).expect("same structure");
                layer.solve_from(Some(&start)).expect("solved");
            });
            let cotangent =
                Cotangent::x(&vec![1.0; 500].iter().enumerate().map(|(i, _)| (i as f64).sin()).collect::<Vec<_>>());
            let backward = milliseconds(&mut || {
                layer.vjp(&cotangent, Wrt::Q).expect("solved");
            });
            let solution = layer.solution();
            println!(
                "{name:<10} {:<16} {cold:>10.3} {warm:>12.3} {:>6} {backward:>12.3} {:>6} {} {}",
                format!("{} ({})", solver.name(), solution.info.solver),
                solution.info.iterations,
                solution.active().n_bounds(),
                solution.status,
                layer.verdict(),
            );
        }
    }
}
