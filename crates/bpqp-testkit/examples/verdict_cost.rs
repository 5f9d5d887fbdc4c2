//! A layer that solves and differentiates again and again, to count instructions in:
//! `cargo build --release -p bpqp-testkit --example verdict_cost --config profile.release.debug=1`, then
//! `valgrind --tool=callgrind --toggle-collect=verdict_cost::measured target/release/examples/verdict_cost [dense|mpc]`
//! and `callgrind_annotate --inclusive=yes`: what the verdict takes are `Doubts::measure`, `Doubts::solve`, `Rank`, `RowCheck`.

use bpqp::{Cotangent, Layer, Qp, Settings, Wrt};
use bpqp_testkit::paper;

/// Calls that are counted.
const CALLS: usize = 20;

#[inline(never)]
fn measured(layer: &mut Layer, qps: &[Qp], cotangent: &Cotangent) -> f64 {
    let mut sum = 0.0;
    for k in 0..CALLS {
        layer.update(qps[k % qps.len()].clone()).expect("the same structure");
        assert!(layer.solve().expect("valid").ok());
        let gradient = layer.vjp(cotangent, Wrt::ALL).expect("a gradient");
        sum += gradient.q.as_ref().map_or(0.0, |q| q[0]);
    }
    sum
}

fn main() {
    let mpc = std::env::args().nth(1).is_some_and(|a| a == "mpc");
    let make = |seed| if mpc { paper::mpc(30, seed) } else { paper::qp(100, 50, seed) };
    let qps: Vec<Qp> = (0..4).map(make).collect();
    let cotangent = Cotangent::x(&vec![1.0; qps[0].n()]);
    let mut layer = Layer::new(qps[0].clone(), Settings::default()).expect("valid");
    // buffers grow in the first round
    measured(&mut layer, &qps, &cotangent);
    let sum = measured(&mut layer, &qps, &cotangent);
    println!("{} variables, {:?}, {sum}", qps[0].n(), layer.verdict());
}
