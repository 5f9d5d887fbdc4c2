//! Second derivatives: the derivative of the gradient.

use super::{report, solved};
use bpqp::check::Entry;
use bpqp::{Cotangent, Error, Layer, Qp, Settings, Tangent, Verdict, Wrt};
use bpqp_testkit::differences::{pair_data, pair_outputs, random_cotangent, random_tangent};
use bpqp_testkit::{Family, Rng};

/// Differences of gradients that are exact to 1e-11 or so, with a step of 1e-5.
const WORST: f64 = 2e-5;
const STEP: f64 = 1e-5;

/// A layer that holds the solution of an instance of every family at which the gradient is differentiable.
fn layers() -> impl Iterator<Item = (String, Layer)> {
    Family::all().into_iter().filter_map(|family| {
        let instance = family.instance(8, 61);
        let solution = solved(&instance, &Settings::default());
        if solution.verdict() != Verdict::Exact {
            return None;
        }
        let mut layer = Layer::new(instance.qp.clone(), Settings::default()).expect("valid");
        layer.solve().expect("valid");
        Some((instance.name, layer))
    })
}

fn slope(qp: &Qp, entry: Entry, cotangent: &Cotangent, along: &Tangent) -> f64 {
    let at = |step: f64| {
        let solution = entry.moved(qp, step).solve(&Settings::default()).expect("valid");
        pair_data(&solution.vjp(cotangent, Wrt::ALL).expect("a solution"), along)
    };
    (at(STEP) - at(-STEP)) / (2.0 * STEP)
}

#[test]
fn the_derivative_of_the_gradient_is_its_central_difference() {
    let (mut failures, mut checked) = (Vec::new(), 0);
    for (name, mut layer) in layers() {
        let qp = layer.qp().clone();
        let mut rng = Rng::new(7);
        let (cotangent, along) = (random_cotangent(&qp, &mut rng), random_tangent(&qp, &mut rng));
        let second = layer.second_vjp(&cotangent, &along, Wrt::ALL).expect("a solution").clone();
        let entries = Entry::all(&qp);
        let size = entries.iter().fold(1e-3_f64, |m, e| m.max(e.of(&second).abs()));
        for entry in entries.into_iter().step_by(5) {
            // the diagonal of a factored P stays nonnegative
            if matches!(entry, Entry::D(_)) && entry.value(&qp) < 2.0 * STEP {
                continue;
            }
            let (ours, theirs) = (entry.of(&second), slope(&qp, entry, &cotangent, &along));
            checked += 1;
            if (ours - theirs).abs() > WORST * size {
                failures.push(format!("{name}: {entry} {ours:e} differs from {theirs:e} (size {size:e})"));
            }
        }
    }
    assert!(checked > 100, "only {checked} entries");
    report(&failures);
}

#[test]
fn second_derivatives_are_symmetric_and_both_modes_agree() {
    let mut failures = Vec::new();
    for (name, mut layer) in layers() {
        let qp = layer.qp().clone();
        let mut rng = Rng::new(8);
        let cotangent = random_cotangent(&qp, &mut rng);
        let (a, b) = (random_tangent(&qp, &mut rng), random_tangent(&qp, &mut rng));
        let ab = pair_data(layer.second_vjp(&cotangent, &a, Wrt::ALL).expect("a solution"), &b);
        let ba = pair_data(layer.second_vjp(&cotangent, &b, Wrt::ALL).expect("a solution"), &a);
        let forward = pair_outputs(&cotangent, layer.second_jvp(&a, &b).expect("a solution"));
        let size = 1e-6 + ab.abs();
        if (ab - ba).abs() > 1e-8 * size || (ab - forward).abs() > 1e-8 * size {
            failures.push(format!("{name}: {ab:e} {ba:e} {forward:e}"));
        }
    }
    report(&failures);
}

#[test]
fn second_derivatives_of_the_barrier_solution_are_refused() {
    let instance = Family::all()[0].instance(6, 3);
    let settings = Settings { smoothing: Some(1e-3), ..Settings::default() };
    let mut layer = Layer::new(instance.qp.clone(), settings).expect("valid");
    layer.solve().expect("valid");
    let mut rng = Rng::new(9);
    let (cotangent, along) = (random_cotangent(&instance.qp, &mut rng), random_tangent(&instance.qp, &mut rng));
    let refused = layer.second_vjp(&cotangent, &along, Wrt::ALL).map(|_| ());
    assert!(matches!(refused, Err(Error::Unsupported { .. })), "{refused:?}");
}
