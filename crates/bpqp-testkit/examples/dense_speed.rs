//! Dense forward and backward passes as multiples of one Cholesky factorization of P in the same run.
//!
//! `cargo run --release -p bpqp-testkit --example dense_speed`

use bpqp::{Cotangent, Layer, Qp, Settings, Wrt};
use bpqp_testkit::paper;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::{LltRegularization, cholesky_in_place, cholesky_in_place_scratch};
use faer::{Par, Spec};
use std::time::Instant;

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Seconds of `f`, median over enough repetitions.
fn time(repetitions: usize, mut f: impl FnMut()) -> f64 {
    let mut once = || {
        let start = Instant::now();
        f();
        start.elapsed().as_secs_f64()
    };
    once();
    median((0..repetitions).map(|_| once()).collect())
}

fn cholesky(qp: &Qp, repetitions: usize) -> f64 {
    let p = qp.p().to_dense();
    let n = p.nrows();
    let mut l = p.clone();
    let mut buffer = MemBuffer::new(cholesky_in_place_scratch::<f64>(n, Par::Seq, Spec::default()));
    time(repetitions, || {
        l.copy_from(&p);
        let stack = MemStack::new(&mut buffer);
        cholesky_in_place(l.as_mut(), LltRegularization::default(), Par::Seq, stack, Spec::default())
            .expect("P is positive definite");
    })
}

fn main() {
    println!(
        "{:<16} {:>10} {:>24} {:>24} {:>14} {:>12}  it  active",
        "instance", "cholesky", "forward (cold)", "forward (shared)", "backward q", "all blocks"
    );
    for (n, m) in [(10, 5), (50, 10), (100, 20), (500, 100), (1000, 200)] {
        for (name, qp) in [("qp", paper::qp(n, m, 1)), ("half-active", paper::half_active(n, m, 1))] {
            let repetitions = (200_000_000 / (n * n * n + 100_000)).clamp(7, 301);
            let unit = cholesky(&qp, repetitions);
            // cold: every number is new, nothing is kept but the memory: the previous layer goes when the next one is there, or
            // the allocator would return its pages to the system and ask for them again, which costs as much as the solve
            let mut previous = None;
            let cold = time(repetitions, || {
                let fresh = Qp::new(qp.p().clone(), qp.q())
                    .and_then(|p| p.equality(qp.a().clone(), qp.b()))
                    .and_then(|p| p.inequality(qp.g().clone(), qp.h()))
                    .expect("valid");
                let mut layer = Layer::new(fresh, Settings::default()).expect("valid");
                assert!(layer.solve().expect("solved").ok());
                previous = Some(layer);
            });
            drop(previous);
            let copies = time(repetitions, || {
                std::hint::black_box((qp.p().clone(), qp.a().clone(), qp.g().clone()));
            });
            let cold = cold - copies;
            let mut layer = Layer::new(qp.clone(), Settings::default()).expect("valid");
            layer.solve().expect("solved");
            let shared = time(repetitions, || {
                layer.update(qp.clone()).expect("same structure");
                layer.solve().expect("solved");
            });
            let cotangent = Cotangent::x(&vec![1.0; n]);
            let backward = time(repetitions, || {
                layer.vjp(&cotangent, Wrt::Q).expect("solved");
            });
            let all = time(repetitions, || {
                layer.vjp(&cotangent, Wrt::ALL).expect("solved");
            });
            let solution = layer.solution();
            println!(
                "{:<16} {:>8.1}us {:>10.1}us = {:>8.2} x {:>10.1}us = {:>8.2} x {:>8.1}us = {:>6.3} x {:>8.1}us  {:>2}  {}/{m} {} {:?}",
                format!("{name} {n}x{m}"),
                unit * 1e6,
                cold * 1e6,
                cold / unit,
                shared * 1e6,
                shared / unit,
                backward * 1e6,
                backward / unit,
                all * 1e6,
                solution.info.iterations,
                solution.active().n_rows(),
                solution.info.solver,
                layer.verdict(),
            );
        }
    }
}
