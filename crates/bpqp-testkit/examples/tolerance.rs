//! What the tolerance of the forward pass does to the gradient: the table of `docs/theory.md`.
//!
//! `cargo run --release -p bpqp-testkit --example tolerance`

use bpqp::{Cotangent, Gradient, Qp, Settings, Solver, Verdict, Wrt};
use bpqp_testkit::paper;

/// Relative distance of two blocks.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    let squares: f64 = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum();
    (squares / b.iter().map(|v| v * v).sum::<f64>()).sqrt()
}

/// Gradients of q and of G.
fn blocks(gradient: Gradient) -> (Vec<f64>, Vec<f64>) {
    let mut g = Vec::new();
    if let Some(matrix) = &gradient.g {
        matrix.for_each(|_, _, v| g.push(v));
    }
    (gradient.q.unwrap_or_default(), g)
}

fn gradient(qp: &Qp, settings: &Settings) -> ((Vec<f64>, Vec<f64>), Verdict) {
    let solution = qp.solve(settings).expect("valid");
    let cotangent = Cotangent::x(&vec![1.0; qp.n()]);
    match solution.vjp(&cotangent, Wrt::ALL) {
        Ok(gradient) => (blocks(gradient), solution.verdict()),
        Err(_) => ((vec![f64::NAN; qp.n()], vec![f64::NAN; qp.n() * qp.n_inequality()]), Verdict::Untrusted),
    }
}

fn main() {
    const COUNT: usize = 20;
    let problems: Vec<Qp> = (0..COUNT as u64).map(|seed| paper::half_active(50, 25, seed)).collect();
    let exact: Vec<_> = problems.iter().map(|qp| gradient(qp, &Settings::default()).0).collect();
    println!("{COUNT} problems of 50 variables, 25 equalities, 25 inequalities, about half of them active\n");
    println!(
        "| eps | solver | active set wrong | dL/dq, worst | dL/dG, median | dL/dG, worst | polished: worst of both | verdict exact |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for eps in [1e-2, 1e-3, 1e-4, 1e-6, 1e-8] {
        for solver in [Solver::InteriorPoint, Solver::Admm, Solver::Clarabel] {
            let column = |polish: bool| {
                let mut settings = Settings::with_solver(solver);
                (settings.eps_abs, settings.eps_rel, settings.polish) = (eps, eps, polish);
                let (mut verdicts, mut dq, mut dg) = (0, Vec::new(), Vec::new());
                for (qp, (q, g)) in problems.iter().zip(&exact) {
                    let (ours, verdict) = gradient(qp, &settings);
                    verdicts += usize::from(verdict == Verdict::Exact);
                    dq.push(distance(&ours.0, q));
                    dg.push(distance(&ours.1, g));
                }
                // dL/dq depends on the active set only: it is right to rounding, or wrong
                let wrong = dq.iter().filter(|e| e.is_nan() || **e > 1e-9).count();
                dq.sort_by(f64::total_cmp);
                dg.sort_by(f64::total_cmp);
                (wrong, dq[COUNT - 1], dg[COUNT / 2], dg[COUNT - 1], verdicts)
            };
            let (raw, polished) = (column(false), column(true));
            println!(
                "| {eps:.0e} | {} | {} of {COUNT} | {:.0e} | {:.0e} | {:.0e} | {:.0e} | {} of {COUNT} |",
                solver.name(),
                raw.0,
                raw.1,
                raw.2,
                raw.3,
                polished.1.max(polished.3),
                polished.4
            );
        }
    }
}
