//! A layer that solves and differentiates again and again, to count instructions in:
//! `cargo build --release -p bpqp-testkit --example count`, then
//! `valgrind --tool=callgrind --toggle-collect=count::measured target/release/examples/count FAMILY SIZE [SIZE]`.
//! Families: `qp N M`, `half N M`, `lp N M`, `portfolio N`, `mpc HORIZON`, `projection N`. With `debug=1` in the profile
//! `callgrind_annotate --inclusive=yes` says where they go.

use bpqp::{Cotangent, Layer, Qp, Settings, Wrt};
use bpqp_testkit::paper;

/// Calls that are counted.
const CALLS: usize = 10;

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
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let size = |at: usize| arguments.get(at).and_then(|a| a.parse().ok()).unwrap_or(20);
    let (n, m) = (size(1), size(2));
    let make = |seed| match arguments.first().map_or("qp", |a| a) {
        "half" => paper::half_active(n, m, seed),
        "lp" => paper::lp(n, m, 1e-6, seed),
        "portfolio" => paper::portfolio(n, seed),
        "mpc" => paper::mpc(n, seed),
        "projection" => paper::projection(n, seed),
        _ => paper::qp(n, m, seed),
    };
    let qps: Vec<Qp> = (0..4).map(make).collect();
    let cotangent = Cotangent::x(&vec![1.0; qps[0].n()]);
    let mut layer = Layer::new(qps[0].clone(), Settings::default()).expect("valid");
    // buffers grow in the first round
    measured(&mut layer, &qps, &cotangent);
    let sum = measured(&mut layer, &qps, &cotangent);
    println!("{} variables, {:?}, {sum}", qps[0].n(), layer.verdict());
}
