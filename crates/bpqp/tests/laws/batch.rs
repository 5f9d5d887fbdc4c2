//! A batch is a loop, on any number of threads.

use bpqp::faer::Mat;
use bpqp::forward::InteriorPoint;
use bpqp::{
    Batch, Cotangent, Csc, Error, Gradient, Hessian, Layer, Qp, Settings, Solution, Status, Verdict, Wrt, vjp_batch,
};
use bpqp_testkit::differences::{distance, gradient_error, random_cotangent};
use bpqp_testkit::{Family, HessianKind, Rng, hard, paper};
use std::sync::Arc;

fn on(threads: usize) -> Settings {
    Settings { threads, ..Settings::default() }
}

/// Instances for which solves are worth threads, and gradients too.
const SOLVES: u64 = 60;
const GRADIENTS: u64 = 300;

/// Batches of one structure: every matrix new (dense data), or only q new (matrices shared).
fn batches() -> Vec<(String, Vec<Qp>)> {
    let mut out = Vec::new();
    for family in Family::all().into_iter().filter(|f| f.hessian != HessianKind::Linear) {
        let many = if out.is_empty() { GRADIENTS } else { SOLVES };
        let base = family.instance(12, 61).qp;
        let mut rng = Rng::new(61);
        let shared = (0..many).map(|_| {
            let q: Vec<f64> = base.q().iter().map(|v| v + 0.5 * rng.normal()).collect();
            base.clone().with_q(q).expect("valid")
        });
        out.push((format!("{} with q new", family.name()), shared.collect()));
        if !family.sparse_rows && family.hessian != HessianKind::Sparse {
            let fresh = (0..many).map(|seed| family.instance(12, seed).qp).collect();
            out.push((format!("{} all new", family.name()), fresh));
        }
    }
    out
}

fn bits(solution: &Solution) -> Vec<u64> {
    let parts = [&solution.x, &solution.y, &solution.z, &solution.z_box];
    parts.into_iter().flatten().map(|v| v.to_bits()).collect()
}

fn run(qps: &[Qp], threads: usize) -> Vec<Solution> {
    let mut batch = Batch::new(qps.to_vec(), on(threads)).expect("valid");
    let solutions = batch.solve_all().expect("valid");
    solutions.into_iter().map(|s| s.expect("valid")).collect()
}

fn gradients(solutions: &[Solution], cotangents: &[Cotangent], threads: usize) -> Vec<(Gradient, Verdict)> {
    let all: Vec<&Solution> = solutions.iter().collect();
    let out = vjp_batch(&all, cotangents, Wrt::ALL, threads).expect("valid");
    out.into_iter().map(|g| g.expect("smooth")).collect()
}

/// What the forward pass left is used for the gradient of the solution that it found, and of no other.
#[test]
fn a_solution_alone_has_its_own_gradient_whatever_was_solved_last() {
    for (name, qps) in batches() {
        let mut rng = Rng::new(63);
        let cotangents: Vec<Cotangent> = qps.iter().map(|qp| random_cotangent(qp, &mut rng)).collect();
        let batch = Batch::new(Vec::new(), on(1)).expect("valid");
        let solve = |qp: &Qp| {
            let make = |_| Ok((qp.clone(), None));
            let mut found = batch.solve_each(qp, [()].into_iter(), make, |s, ()| s.clone()).expect("valid");
            found.remove(0).expect("valid")
        };
        let mut before: Option<(Solution, &Cotangent)> = None;
        for (qp, cotangent) in qps.iter().zip(&cotangents) {
            let solution = solve(qp);
            let own = (solution.clone(), cotangent);
            for (at, cotangent) in [&own].into_iter().chain(&before).chain([&own]) {
                let out = batch.vjp(&[at], std::slice::from_ref(*cotangent), Wrt::ALL).expect("valid");
                let (gradient, verdict) = out.into_iter().next().expect("one").expect("smooth");
                let anew = at.vjp(cotangent, Wrt::ALL).expect("smooth");
                let (error, block) = gradient_error(&gradient, &anew);
                assert!(error <= 1e-12, "{name}: {error:.1e} in {block}");
                assert_eq!(verdict, at.verdict(), "{name}");
            }
            before = Some(own);
        }
    }
}

#[test]
fn a_batch_is_a_loop_bit_for_bit_on_any_number_of_threads() {
    for (name, qps) in batches() {
        let mut rng = Rng::new(62);
        let cotangents: Vec<Cotangent> = qps.iter().map(|qp| random_cotangent(qp, &mut rng)).collect();
        let one = run(&qps, 1);
        assert!(one.iter().all(Solution::ok), "{name}");
        let of_one = gradients(&one, &cotangents, 1);
        for (k, qp) in qps.iter().enumerate() {
            let alone = qp.solve(&on(1)).expect("valid");
            assert_eq!(bits(&one[k]), bits(&alone), "{name}: element {k} against a loop");
            let gradient = alone.vjp(&cotangents[k], Wrt::ALL).expect("smooth");
            let (error, block) = gradient_error(&of_one[k].0, &gradient);
            assert!(error <= 1e-12, "{name}: gradient {k} against a loop: {error:.1e} in {block}");
        }
        for threads in [2, 3] {
            let many = run(&qps, threads);
            let of_many = gradients(&many, &cotangents, threads);
            for k in 0..qps.len() {
                assert_eq!(bits(&one[k]), bits(&many[k]), "{name}: element {k} on {threads} threads");
                assert_eq!(of_one[k], of_many[k], "{name}: gradient {k} on {threads} threads");
            }
        }
    }
}

/// A dense program with inequalities alone, about half of them active.
fn dense(n: usize, m: usize, rng: &mut Rng) -> (Mat<f64>, Vec<f64>, Mat<f64>, Vec<f64>) {
    let r = Mat::from_fn(n, n, |_, _| rng.normal());
    let p = Mat::from_fn(n, n, |i, j| f64::from(i == j) + (0..n).map(|k| r[(k, i)] * r[(k, j)]).sum::<f64>());
    let q = (0..n).map(|_| rng.normal()).collect();
    let g = Mat::from_fn(m, n, |_, _| rng.normal());
    let x: Vec<f64> = (0..n).map(|_| rng.normal()).collect();
    let h = (0..m).map(|i| 0.1 * rng.uniform() + (0..n).map(|j| g[(i, j)] * x[j]).sum::<f64>()).collect();
    (p, q, g, h)
}

/// Programs that are solved side by side, with some among them that are not: a row twice, a row that never binds, no solution.
#[test]
fn small_programs_side_by_side_are_what_each_is_alone_and_what_others_find() {
    let mut rng = Rng::new(65);
    for (n, m) in [(1, 2), (3, 5), (10, 10), (13, 6), (20, 20)] {
        let one = |k: usize, rng: &mut Rng| {
            let (p, q, mut g, mut h) = dense(n, m, rng);
            if k == 3 || k == 9 {
                (0..n).for_each(|j| g[(1, j)] = if k == 3 { g[(0, j)] } else { -g[(0, j)] });
                h[1] = if k == 3 { h[0] } else { -h[0] - 1.0 };
            } else if k == 5 {
                h[0] = f64::INFINITY;
            }
            Qp::new(p, q).and_then(|qp| qp.inequality(g, h)).expect("valid")
        };
        let qps: Vec<Qp> = (0..11).map(|k| one(k, &mut rng)).collect();
        let cotangents: Vec<Cotangent> = qps.iter().map(|qp| random_cotangent(qp, &mut rng)).collect();
        for threads in [1, 2] {
            let all = run(&qps, threads);
            let found: Vec<&Solution> = all.iter().collect();
            let gradients = vjp_batch(&found, &cotangents, Wrt::ALL, threads).expect("valid");
            for (k, qp) in qps.iter().enumerate() {
                let alone = qp.solve(&on(1)).expect("valid");
                let name = format!("{n} and {m}, element {k}");
                assert_eq!((bits(&all[k]), all[k].status), (bits(&alone), alone.status), "{name}");
                let mut usual = Layer::with_solvers(qp.clone(), vec![Arc::new(InteriorPoint)], on(1)).expect("valid");
                let usual_one = usual.solve().expect("valid").clone();
                assert_eq!((alone.status, alone.verdict()), (usual_one.status, usual_one.verdict()), "{name}");
                if !alone.ok() {
                    assert!(k == 9 && gradients[k].is_err(), "{name}");
                    continue;
                }
                assert_eq!(alone.active(), usual_one.active(), "{name}");
                assert!(distance(&alone.x, &usual_one.x) < 1e-9 && distance(&alone.z, &usual_one.z) < 1e-8, "{name}");
                let (gradient, verdict) = gradients[k].as_ref().expect("smooth");
                let (error, block) = gradient_error(gradient, usual.vjp(&cotangents[k], Wrt::ALL).expect("smooth"));
                assert!(error <= 1e-7, "{name}: {error:.1e} in {block}");
                assert_eq!(*verdict, usual.verdict(), "{name}");
                let own = alone.vjp(&cotangents[k], Wrt::ALL).expect("smooth");
                assert!(gradient_error(gradient, &own).0 <= 1e-12, "{name}");
            }
        }
    }
}

#[test]
fn a_warm_started_epoch_finds_the_same_solutions_with_less_work() {
    let base = paper::portfolio(60, 63);
    let mut rng = Rng::new(63);
    let qps: Vec<Qp> = (0..6)
        .map(|_| base.clone().with_q((0..60).map(|_| -0.02 * rng.normal()).collect::<Vec<_>>()).expect("valid"))
        .collect();
    let items: Vec<usize> = (0..6).collect();
    let mut batch = Batch::new(qps.clone(), on(1)).expect("valid");
    let first: Vec<Solution> = batch.solve_all().expect("valid").into_iter().map(|s| s.expect("valid")).collect();
    let moved: Vec<Qp> = qps
        .iter()
        .map(|qp| qp.clone().with_q(qp.q().iter().map(|v| v * 1.01).collect::<Vec<_>>()).expect("valid"))
        .collect();
    let warm = batch.solve(&items, moved.clone()).expect("valid");
    for (k, warm) in warm.into_iter().enumerate() {
        let (warm, cold) = (warm.expect("valid"), moved[k].solve(&on(1)).expect("valid"));
        assert!(warm.ok() && cold.ok() && first[k].ok());
        assert!(distance(&warm.x, &cold.x) < 1e-11, "element {k}");
        assert!(warm.info.iterations < cold.info.iterations, "{} {}", warm.info.iterations, cold.info.iterations);
    }
}

/// Also where the matrices change from problem to problem, so that nothing is known of the new ones.
#[test]
fn a_warm_start_helps_with_a_new_hessian() {
    let base = paper::portfolio(60, 64);
    let scaled = |by: f64| {
        let Hessian::LowRank { d, f } = base.p() else { unreachable!("portfolios are factored") };
        let factored = Hessian::low_rank(d.iter().map(|v| by * v).collect(), f.clone()).expect("shapes agree");
        let dense = factored.to_dense();
        [factored, Hessian::Sparse(Csc::from_dense(&dense)), Hessian::from(dense)]
    };
    for (before, after) in scaled(1.0).into_iter().zip(scaled(1.02)) {
        let mut layer = Layer::new(base.clone().with_p(before).expect("valid"), on(1)).expect("valid");
        let start = layer.solve().expect("valid").point();
        let moved = base.clone().with_p(after).expect("valid");
        layer.update(moved.clone()).expect("same structure");
        let warm = layer.solve_from(Some(&start)).expect("valid");
        let cold = moved.solve(&on(1)).expect("valid");
        assert!(warm.ok() && distance(&warm.x, &cold.x) < 1e-10);
        assert!(warm.info.iterations < cold.info.iterations, "{} {}", warm.info.iterations, cold.info.iterations);
    }
}

#[test]
fn only_the_bad_elements_of_a_batch_fail() {
    // the same structure: two equalities on eight variables; contradictory in element 1, unbounded never
    let (_, bad) = hard::infeasible().remove(0);
    let good = |k: f64| bad.clone().with_b([k, k]).expect("valid");
    let non_convex = good(1.0).with_p(bpqp::Hessian::Diagonal(vec![1.0; 8])).expect("valid");
    let qps = vec![good(1.0), bad.clone(), non_convex, good(2.0)];
    for threads in [1, 2] {
        let mut batch = Batch::new(qps.clone(), on(threads)).expect("valid");
        let solutions = batch.solve_all().expect("a bad element is not an error of the batch");
        let solutions: Vec<Solution> = solutions.into_iter().map(|s| s.expect("an outcome, not misuse")).collect();
        for (k, solution) in solutions.iter().enumerate() {
            let expected = if k == 1 { Status::PrimalInfeasible } else { Status::Solved };
            assert_eq!(solution.status, expected, "element {k} on {threads} threads");
        }
        assert!(solutions[1].x.iter().all(|v| v.is_nan()), "a number that is not a solution");
        let all: Vec<&Solution> = solutions.iter().collect();
        let cotangents = vec![Cotangent::x(&[1.0; 8]); 4];
        let gradients = vjp_batch(&all, &cotangents, Wrt::Q, threads).expect("not misuse");
        for (k, gradient) in gradients.iter().enumerate() {
            assert_eq!(gradient.is_err(), k == 1, "element {k}");
        }
        assert!(matches!(gradients[1], Err(Error::NoSolution { status: Status::PrimalInfeasible })));
    }
}

#[test]
fn misuse_of_a_batch_is_named() {
    let qps = vec![paper::batch_element(6, 1), paper::batch_element(6, 2)];
    let mut batch = Batch::new(qps.clone(), on(1)).expect("valid");
    assert!(matches!(batch.solve(&[0], qps.clone()), Err(Error::Shape { argument: "qps", .. })));
    assert!(matches!(batch.solve(&[0, 2], qps), Err(Error::Setting { name: "items", .. })));
}
