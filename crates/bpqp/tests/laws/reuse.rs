//! A layer that was prepared once is as good as a fresh one.

use super::{BACKWARD, FORWARD, settings, undefined};
use bpqp::{Backward, Error, Layer, Matrix, Qp, Settings, Solver, Wrt};
use bpqp_testkit::differences::{distance, gradient_error, random_cotangent};
use bpqp_testkit::{Family, Rng, hard};

/// Other numbers on the structure of a problem, solvable like it.
fn renewed(qp: &Qp, family: &Family, seed: u64) -> Qp {
    let other = family.instance(qp.n(), seed).qp;
    let rows = |m: &Matrix, fresh: &Matrix| match m {
        Matrix::Sparse(_) => m.clone(),
        Matrix::Dense(_) => fresh.clone(),
    };
    // sparse rows keep their pattern and numbers: other numbers come from q and from a small move of b and h
    let sparse = qp.a().is_sparse() || qp.g().is_sparse() || matches!(qp.p(), bpqp::Hessian::Sparse(_));
    if !sparse {
        return other;
    }
    assert_eq!(rows(qp.a(), other.a()).nrows(), qp.n_equality());
    let mut rng = Rng::new(seed);
    let moved = |v: &[f64], rng: &mut Rng| v.iter().map(|v| v + 0.05 * rng.normal()).collect::<Vec<_>>();
    let (q, b, h) = (moved(qp.q(), &mut rng), moved(qp.b(), &mut rng), moved(qp.h(), &mut rng));
    qp.clone().with_q(q).and_then(|qp| qp.with_b(b)).and_then(|qp| qp.with_h(h)).expect("valid")
}

#[test]
fn update_then_solve_equals_a_fresh_layer() {
    for family in Family::all() {
        let instance = family.instance(12, 31);
        for forward in FORWARD {
            for backward in BACKWARD {
                if undefined(&instance, forward, backward) || instance.qp.p().is_zero() {
                    continue;
                }
                let settings = settings(forward, backward);
                let mut layer = Layer::new(instance.qp.clone(), settings.clone()).expect("valid");
                layer.solve().expect("valid");
                for seed in 32..35 {
                    let next = renewed(&instance.qp, &family, seed);
                    let cotangent = random_cotangent(&next, &mut Rng::new(seed));
                    layer.update(next.clone()).expect("the same structure");
                    let reused = layer.solve().expect("valid").clone();
                    let again = layer.vjp(&cotangent, Wrt::ALL).expect("differentiable").clone();
                    let fresh = next.solve(&settings).expect("valid");
                    let name = format!("{} {} {backward:?}", instance.name, forward.name());
                    assert!(reused.ok() && fresh.ok(), "{name}: {} {}", reused.status, fresh.status);
                    assert!(distance(&reused.x, &fresh.x) < 1e-9, "{name}");
                    let once = fresh.vjp(&cotangent, Wrt::ALL).expect("differentiable");
                    let (error, block) = gradient_error(&again, &once);
                    let tolerance = if backward == Backward::Direct { 1e-8 } else { 1e-6 };
                    assert!(error < tolerance, "{name}: {error:.1e} in {block}");
                }
            }
        }
    }
}

#[test]
fn only_q_changes_and_the_shared_matrices_stay_shared() {
    for family in Family::all().into_iter().filter(|f| f.equality && f.bounds) {
        let instance = family.instance(15, 36);
        if instance.qp.p().is_zero() {
            continue;
        }
        let mut layer = Layer::new(instance.qp.clone(), Settings::default()).expect("valid");
        let mut rng = Rng::new(37);
        for _ in 0..5 {
            let q: Vec<f64> = instance.qp.q().iter().map(|v| v + rng.normal()).collect();
            let next = instance.qp.clone().with_q(q).expect("valid");
            layer.update(next.clone()).expect("the same structure");
            let (reused, fresh) = (layer.solve().expect("valid"), next.solve(&Settings::default()).expect("valid"));
            assert!(reused.ok() && fresh.ok(), "{}", instance.name);
            assert!(distance(&reused.x, &fresh.x) < 1e-10, "{}", instance.name);
        }
    }
}

#[test]
fn a_layer_survives_a_problem_without_solution() {
    let (_, infeasible) = hard::infeasible().remove(0);
    let solvable = infeasible.clone().with_b([1.0, 1.0]).expect("valid");
    for solver in [Solver::Auto, Solver::InteriorPoint, Solver::Admm, Solver::Clarabel] {
        let mut layer = Layer::new(solvable.clone(), Settings::with_solver(solver)).expect("valid");
        let first = layer.solve().expect("valid").x.clone();
        layer.update(infeasible.clone()).expect("the same structure");
        assert!(!layer.solve().expect("valid").ok(), "{}", solver.name());
        layer.update(solvable.clone()).expect("the same structure");
        let again = layer.solve().expect("valid");
        assert!(again.ok(), "{}: {}", solver.name(), again.status);
        assert!(distance(&again.x, &first) < 1e-9, "{}", solver.name());
    }
}

#[test]
fn another_structure_is_refused() {
    let family = Family::all().into_iter().find(|f| f.name() == "dense-eq-in-box").expect("listed");
    let mut layer = Layer::new(family.instance(12, 1).qp, Settings::default()).expect("valid");
    let other = family.instance(18, 1).qp;
    assert!(matches!(layer.update(other), Err(Error::Shape { argument: "q", .. })));
}
