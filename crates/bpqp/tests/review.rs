//! What a review broke, each as the smallest problem that showed it.

use bpqp::{
    Backward, Batch, Cone, Conic, Cotangent, Csc, Hessian, Layer, Matrix, Point, Qp, Settings, Solver, Status, Verdict,
    Wrt,
};
use bpqp_testkit::differences::{distance, loss, random_cotangent};
use bpqp_testkit::{Family, Rng, reference};
use faer::{Mat, mat};

fn dense(p: Mat<f64>, q: &[f64]) -> Qp {
    Qp::new(p, q).expect("valid")
}

fn close(ours: &[f64], theirs: &[f64], name: &str) {
    let off = distance(ours, theirs);
    assert!(off < 1e-8, "{name}: {ours:?} is off {theirs:?} by {off:.1e}");
}

#[test]
fn more_active_rows_than_variables_are_flagged() {
    // three rows through one point of the plane: rounding leaves a pivot of 1e-13
    let a = mat![[0.6495016471904249, -0.45380648409571256], [-0.8768880883841381, 0.7401815839472282]];
    let g = mat![[0.8426145957318274, 0.2999417396055123]];
    let p = Hessian::Diagonal(vec![0.2514738583087134, 0.552095831143748]);
    let qp = Qp::new(p, [0.2304327130509276, 0.4933727245892384])
        .and_then(|qp| qp.equality(a, [-0.3662400627672539, 0.49536611550299764]))
        .and_then(|qp| qp.inequality(g, [-0.4688055817445446]))
        .expect("valid");
    for solver in Solver::ALL {
        let solution = qp.solve(&Settings::with_solver(solver)).expect("valid");
        assert!(solution.ok());
        assert_eq!(solution.verdict(), Verdict::OneOfSeveral, "{}", solver.name());
    }
}

#[test]
fn a_point_off_its_active_rows_is_not_verified() {
    // x = (0, 2) by two rows; with q = 0 every force vanishes there, and a residual relative to the forces says nothing
    let p = Hessian::Diagonal(vec![1.0707422484822644, 0.0]);
    let qp = Qp::new(p, [0.0, 0.0])
        .and_then(|qp| qp.equality(mat![[2.0, 2.0]], [4.0]))
        .and_then(|qp| qp.inequality(mat![[1.0, 2.0]], [4.0]))
        .and_then(|qp| qp.bounds([f64::NEG_INFINITY, 1.272923746850791], [f64::INFINITY, 2.7441254366823626]))
        .expect("valid");
    for solver in Solver::ALL {
        let solution = qp.solve(&Settings::with_solver(solver)).expect("valid");
        assert!(solution.ok());
        if matches!(solution.verdict(), Verdict::Exact | Verdict::OneOfSeveral) {
            close(&solution.x, &[0.0, 2.0], solver.name());
        }
    }
    // a linear program without forces, whose small equality drowns in the other rows
    let rows = mat![[8275.63400651421], [-82.31333523032238]];
    let qp = Qp::linear([0.0])
        .and_then(|qp| qp.equality(mat![[-0.004764365845898176]], [0.0017574651604644088]))
        .and_then(|qp| qp.inequality(rows, [345.8149822824517, 142.12513938887437]))
        .expect("valid");
    for solver in Solver::ALL {
        let solution = qp.solve(&Settings::with_solver(solver)).expect("valid");
        if solution.ok() && solution.verdict() != Verdict::Untrusted {
            close(&solution.x, &[-0.3688770378491143], solver.name());
        }
    }
}

#[test]
fn a_feasible_set_of_one_point_is_not_proved_empty_by_rounding() {
    let qp = Qp::linear([-109315.23434822596])
        .and_then(|qp| qp.equality(mat![[1.6905209123286817]], [0.10024116928406442]))
        .and_then(|qp| qp.bounds([0.059296024410595935], [0.15909920663293947]))
        .expect("valid");
    for solver in Solver::ALL {
        let solution = qp.solve(&Settings::with_solver(solver)).expect("valid");
        assert_ne!(solution.status, Status::PrimalInfeasible, "{}", solver.name());
    }
    let solution = qp.solve(&Settings::default()).expect("valid");
    assert!(solution.ok(), "{}", solution.status);
    close(&solution.x, &[0.059296024410595935], "auto");
}

#[test]
fn warm_starts_of_any_kind_change_nothing() {
    let mut rng = Rng::new(5);
    for family in Family::all() {
        let instance = family.instance(8, 3);
        let (n, m, k) = (instance.qp.n(), instance.qp.n_equality(), instance.qp.n_inequality());
        let random = Point {
            x: rng.normals(n),
            y: rng.normals(m),
            z: rng.normals(k),
            z_box: rng.normals(n),
            ..Point::default()
        };
        let huge = Point {
            x: vec![1e300; n],
            y: vec![-1e300; m],
            z: vec![1e300; k],
            z_box: vec![1e300; n],
            ..Point::default()
        };
        let large =
            Point { x: vec![1e15; n], y: vec![-1e15; m], z: vec![1e15; k], z_box: vec![1e15; n], ..Point::default() };
        let nan = Point { x: vec![f64::NAN; n], ..random.clone() };
        let short = Point { z_box: Vec::new(), ..random.clone() };
        let long = Point {
            x: vec![0.0; n + 1],
            y: vec![0.0; m + 1],
            z: vec![0.0; k + 1],
            z_box: vec![0.0; n + 1],
            ..Point::default()
        };
        for solver in Solver::ALL {
            if solver == Solver::ActiveSet {
                continue; // from a bad start it may fail, which is not a wrong result
            }
            let mut layer = Layer::new(instance.qp.clone(), Settings::with_solver(solver)).expect("valid");
            for cold in [true, false] {
                for warm in [&random, &huge, &large, &nan, &short, &long, &Point::default()] {
                    let solution = match cold {
                        true => layer.solve(),
                        false => layer.solve_from(Some(warm)),
                    };
                    let solution = solution.expect("valid");
                    if solver == Solver::Admm && !cold && solution.status == Status::IterationLimit {
                        continue; // operator splitting does not come back from there
                    }
                    assert!(solution.ok(), "{} {}: {}", instance.name, solver.name(), solution.status);
                    let name = format!("{} {}", instance.name, solver.name());
                    close(&solution.x, &instance.solution.x, &name);
                    close(&solution.z, &instance.solution.z, &name);
                }
            }
        }
        let mut layer = Layer::new(instance.qp.clone(), Settings::with_solver(Solver::ActiveSet)).expect("valid");
        for warm in [&random, &huge, &large, &nan, &short, &long, &Point::default()] {
            let solution = layer.solve_from(Some(warm)).expect("valid");
            if solution.ok() {
                close(&solution.x, &instance.solution.x, &instance.name);
            }
        }
    }
}

#[test]
fn a_batch_keeps_the_failure_of_structure_with_its_instance() {
    let good = |q: f64| dense(mat![[1.0, 0.0], [0.0, 1.0]], &[q, 1.0]);
    let odd = Qp::new(Hessian::Diagonal(vec![1.0]), [1.0]).expect("valid");
    for threads in [1, 2] {
        let settings = Settings { threads, ..Settings::default() };
        let first: Vec<Qp> = (0..4).map(|i| good(f64::from(i))).collect();
        let mut batch = Batch::new(first, settings).expect("valid");
        // the odd one comes first: it must not become the structure of the batch
        let results = batch.solve(&[0, 1, 2, 3], vec![odd.clone(), good(1.0), good(2.0), good(3.0)]).expect("valid");
        assert!(results[0].is_err(), "threads {threads}");
        for (i, result) in results.iter().enumerate().skip(1) {
            let solution = result.as_ref().unwrap_or_else(|e| panic!("threads {threads}, instance {i}: {e}"));
            close(&solution.x, &[-(i as f64), -1.0], "batch");
        }
        let again = batch.solve(&[0], vec![good(5.0)]).expect("valid");
        close(&again[0].as_ref().expect("solved").x, &[-5.0, -1.0], "after an error");
    }
}

#[test]
fn a_first_order_backward_pass_with_dependent_rows_is_right() {
    // as many rows as variables, but one direction is left
    let qp = dense(mat![[2.0, 0.5], [0.5, 1.0]], &[1.0, -1.0])
        .equality(mat![[1.0, 1.0], [1.0, 1.0]], [0.5, 0.5])
        .expect("valid");
    let cotangent = [Cotangent::x(&[1.0, 0.0])];
    let [direct, first] = [Backward::Direct, Backward::FirstOrder].map(|backward| {
        let settings = Settings { backward, ..Settings::default() };
        let solution = qp.solve(&settings).expect("valid");
        solution.vjps(&cotangent, Wrt::Q).expect("solved").0[0].q.clone().expect("asked")
    });
    // P on (1, -1) is 2, so w = (1, -1) / 2
    close(&direct, &[-0.5, 0.5], "direct");
    assert!(distance(&first, &direct) < 1e-6, "first order: {first:?}");
}

#[test]
fn updates_that_change_the_kind_of_problem_equal_fresh_solves() {
    let inf = f64::INFINITY;
    let definite = mat![[2.0, 0.5, 0.0], [0.5, 1.0, 0.2], [0.0, 0.2, 1.5]];
    let singular = mat![[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    let indefinite = mat![[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 1.0]];
    let bounds = [
        ([-inf; 3], [inf; 3]),
        ([0.0, -inf, -1.0], [1.0, inf, 2.0]),
        ([0.2, 0.3, -1.0], [0.2, inf, 2.0]),
        ([-5.0; 3], [5.0; 3]),
    ];
    let rows = [[1.0, 1.0, 1.0], [1.0, -1.0, 0.5]];
    let mut rng = Rng::new(9);
    for solver in [Solver::Auto, Solver::InteriorPoint, Solver::Clarabel, Solver::Admm] {
        let make = |p: &Mat<f64>, (lb, ub): ([f64; 3], [f64; 3]), q: Vec<f64>, h: f64| {
            Qp::new(p.clone(), q)
                .and_then(|qp| qp.inequality(Matrix::from_rows(2, 3, &rows.concat())?, [h, 1.0]))
                .and_then(|qp| qp.bounds(lb, ub))
                .expect("valid")
        };
        let mut layer =
            Layer::new(make(&definite, bounds[0], vec![1.0; 3], 1.0), Settings::with_solver(solver)).expect("valid");
        for step in 0..60 {
            let p = [&definite, &singular, &definite, &indefinite][rng.below(4)];
            let h = if rng.uniform() < 0.2 { inf } else { rng.normal() };
            let qp = make(p, bounds[rng.below(4)], rng.normals(3), h);
            let fresh = qp.solve(&Settings::with_solver(solver)).expect("valid");
            layer.update(qp).expect("one structure");
            let solution = layer.solve().expect("valid");
            let name = format!("{} step {step}", solver.name());
            assert_eq!(solution.status, fresh.status, "{name}");
            assert_eq!(solution.ok(), fresh.ok(), "{name}");
            if fresh.ok() && fresh.verdict() == Verdict::Exact {
                close(&solution.x, &fresh.x, &name);
                close(&solution.z, &fresh.z, &name);
                let dx = Cotangent::x(&[1.0, -2.0, 0.5]);
                let expected = fresh.vjp(&dx, Wrt::ALL).expect("solved");
                let gradient = layer.vjp(&dx, Wrt::ALL).expect("solved");
                close(gradient.q.as_ref().expect("asked"), expected.q.as_ref().expect("asked"), &name);
            }
        }
    }
}

#[test]
fn smoothed_gradients_of_every_output_agree_with_differences() {
    let mut rng = Rng::new(31);
    let mu = 1e-2;
    // a fixed, a boxed, a free and a half-bounded variable, one equality, two rows of which one never binds
    let f = rng.normal_matrix(4, 4);
    let p = Mat::from_fn(4, 4, |i, j| (0..4).map(|k| f[(i, k)] * f[(j, k)]).sum::<f64>() + f64::from(u8::from(i == j)));
    let inf = f64::INFINITY;
    let qp = dense(p, &rng.normals(4))
        .equality(rng.normal_matrix(1, 4), [0.1])
        .and_then(|qp| qp.inequality(rng.normal_matrix(2, 4), [0.4, inf]))
        .and_then(|qp| qp.bounds([0.2, -1.0, -inf, -0.5], [0.2, 1.0, inf, inf]))
        .expect("valid");
    let settings = Settings { smoothing: Some(mu), ..Settings::default() };
    let cotangent = random_cotangent(&qp, &mut rng);
    let gradient = qp.solve(&settings).and_then(|s| s.vjp(&cotangent, Wrt::ALL)).expect("solved");
    let at = |qp: &Qp| loss(qp, &cotangent, &reference::central_path(qp, mu).expect("solvable"));
    for entry in bpqp::check::Entry::all(&qp) {
        let numeric = bpqp_testkit::differences::central(&qp, entry, 1e-4, &at);
        let ours = entry.of(&gradient);
        assert!((ours - numeric).abs() < 1e-5 * (1.0 + numeric.abs()), "{entry:?}: {ours} against {numeric}");
    }
}

#[test]
fn hostile_numbers_are_errors_or_statuses_never_panics() {
    let huge = 1e300;
    let tiny = 5e-324;
    for v in [huge, tiny, 1e-200, 1e160, 0.0] {
        for q in [huge, tiny, -1.0, 0.0] {
            for rows in [0usize, 1] {
                for p in [
                    Hessian::from(mat![[v, 0.0], [0.0, 1.0]]),
                    Hessian::Diagonal(vec![v, 1.0]),
                    Hessian::LowRank { d: vec![v, 1.0], f: mat![[v], [1.0]] },
                    Hessian::Zero(2),
                ] {
                    let g = Mat::from_fn(rows, 2, |_, j| if j == 0 { v } else { -1.0 });
                    let Ok(qp) = Qp::new(p, [q, 1.0]).and_then(|qp| qp.inequality(g, vec![v; rows])) else { continue };
                    for solver in Solver::ALL {
                        if let Ok(solution) = qp.solve(&Settings::with_solver(solver)) {
                            let _ = solution.vjps(&[Cotangent::x(&[1.0, 1.0])], Wrt::ALL);
                            assert!(!solution.ok() || solution.x.iter().all(|x| x.is_finite()));
                        }
                    }
                }
            }
        }
    }
    // nothing at all
    for solver in Solver::ALL {
        for p in [Hessian::Zero(0), Hessian::Diagonal(vec![]), Hessian::from(Mat::zeros(0, 0))] {
            let solution = Qp::new(p, []).and_then(|qp| qp.solve(&Settings::with_solver(solver))).expect("valid");
            assert!(solution.ok() && solution.x.is_empty(), "{}", solver.name());
            solution.vjps(&[Cotangent::default()], Wrt::ALL).expect("solved");
        }
    }
}

#[test]
fn threads_do_not_change_a_bit_of_a_mixed_batch() {
    let inf = f64::INFINITY;
    let mut rng = Rng::new(77);
    let mut problems = Vec::new();
    for i in 0..24 {
        let f = rng.normal_matrix(3, 3);
        let p = Mat::from_fn(3, 3, |i, j| (0..3).map(|k| f[(i, k)] * f[(j, k)]).sum::<f64>());
        let lb = if i % 3 == 0 { vec![0.1; 3] } else { vec![-inf; 3] };
        let ub = if i % 6 == 0 { vec![0.1; 3] } else { vec![inf; 3] };
        let qp = dense(p, &rng.normals(3)).inequality(rng.normal_matrix(2, 3), rng.normals(2));
        problems.push(qp.and_then(|qp| qp.bounds(lb, ub)).expect("valid"));
    }
    let solve = |threads| {
        let mut batch = Batch::new(problems.clone(), Settings { threads, ..Settings::default() }).expect("valid");
        let all = batch.solve_all().expect("valid");
        all.into_iter().map(|s| s.expect("valid")).map(|s| (s.status, s.x.clone())).collect::<Vec<_>>()
    };
    let one = solve(1);
    for _ in 0..5 {
        for (i, (a, b)) in one.iter().zip(solve(2)).enumerate() {
            assert_eq!(a.0, b.0, "instance {i}");
            let bits = |x: &[f64]| x.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert!(!a.0.ok() || bits(&a.1) == bits(&b.1), "instance {i}: {:?} and {:?}", a.1, b.1);
        }
    }
}

#[test]
fn gradients_of_solutions_of_different_structures_stay_apart() {
    let one = dense(mat![[2.0]], &[1.0]).solve(&Settings::default()).expect("valid");
    let two = dense(mat![[1.0, 0.0], [0.0, 4.0]], &[1.0, 1.0]).solve(&Settings::default()).expect("valid");
    let cotangents = [Cotangent::x(&[1.0]), Cotangent::x(&[1.0, 1.0]), Cotangent::x(&[1.0])];
    let all = bpqp::vjp_batch(&[&one, &two, &one], &cotangents, Wrt::Q, 1).expect("valid");
    let q = |i: usize| all[i].as_ref().expect("solved").0.q.clone().expect("asked");
    close(&q(0), &[-0.5], "first");
    close(&q(1), &[-1.0, -0.25], "second");
    close(&q(2), &[-0.5], "third");
}

#[test]
fn a_hessian_that_is_singular_to_rounding_is_not_exact() {
    // rank two in five variables: what remains of the other pivots is rounding
    let mut rng = Rng::new(3);
    for _ in 0..40 {
        let f = rng.normal_matrix(5, 2);
        let p = Mat::from_fn(5, 5, |i, j| f[(i, 0)] * f[(j, 0)] + f[(i, 1)] * f[(j, 1)]);
        let x = rng.normals(5);
        let q: Vec<f64> = (0..5).map(|i| -(0..5).map(|j| p[(i, j)] * x[j]).sum::<f64>()).collect();
        for solver in Solver::ALL {
            let solution = dense(p.clone(), &q).solve(&Settings::with_solver(solver)).expect("valid");
            if solution.ok() {
                let (_, verdict) = solution.vjps(&[Cotangent::x(&rng.normals(5))], Wrt::Q).expect("solved");
                assert_ne!(verdict, Verdict::Exact, "{}", solver.name());
            }
        }
    }
}

#[test]
fn a_batch_solves_by_its_own_settings_after_derivatives_of_solutions_from_elsewhere() {
    let qp = dense(mat![[2.0, 0.5], [0.5, 1.0]], &[1.0, -1.0]);
    let interrupt = bpqp::Interrupt::default();
    let own = Settings { interrupt: Some(interrupt), threads: 1, ..Settings::default() };
    for theirs in [
        Settings::default(),
        Settings { polish: false, ..Settings::with_solver(Solver::Admm) },
        Settings { backward: Backward::FirstOrder, ..Settings::default() },
    ] {
        let foreign = qp.solve(&theirs).expect("valid");
        let mut batch = Batch::new(vec![qp.clone()], own.clone()).expect("valid");
        let gradients = batch.vjp(&[&foreign], &[Cotangent::x(&[1.0, 0.0])], Wrt::Q).expect("threads");
        let (gradient, _) = gradients[0].as_ref().expect("solved");
        close(gradient.q.as_deref().expect("asked for"), &[-4.0 / 7.0, 2.0 / 7.0], "dq");
        let solutions = batch.solve_all().expect("threads");
        assert_eq!(solutions[0].as_ref().expect("valid").settings(), &own);
        let solutions = batch.solve_each(&qp, 0..1, |_| Ok((qp.clone(), None)), |s, _| s.settings().clone());
        assert_eq!(solutions.expect("threads")[0].as_ref().expect("valid"), &own);
    }
}

#[test]
fn programs_without_variables_have_rows_all_the_same() {
    let empty = |rows: usize| Matrix::from_rows(rows, 0, &[]).unwrap();
    let qp = |h: f64| Qp::linear(vec![]).unwrap().inequality(empty(2), vec![1.0, h]).unwrap();
    for settings in [Settings::default(), Settings { smoothing: Some(1e-3), ..Settings::default() }] {
        let solution = qp(0.0).solve(&settings).unwrap();
        assert_eq!(solution.status, Status::Solved);
        assert!(solution.vjp(&Cotangent::default(), Wrt::ALL).is_ok());
    }
    assert_eq!(qp(-1.0).solve(&Settings::default()).unwrap().status, Status::PrimalInfeasible);
    let a = Csc::from_triplets(2, 0, &[]).unwrap();
    let conic = Conic::new(None, vec![], a, vec![1.0, 0.0], vec![Cone::Nonnegative(2)]).unwrap();
    assert_eq!(conic.solve(&Settings::default()).unwrap().status, Status::Solved);
}

#[test]
fn derivatives_that_overflow_are_errors() {
    // x = 1e300, and the gradient by P is x times the change of x
    let qp = Qp::new(Hessian::Diagonal(vec![1e-300]), vec![-1.0]).unwrap();
    let solution = qp.solve(&Settings::default()).unwrap();
    assert!(!solution.ok() || solution.vjp(&Cotangent::x(&[1.0]), Wrt::ALL).is_err());
    // the multiplier 1 of the bound x >= 0 over the entry of the row that it came from
    let a = Csc::from_triplets(1, 1, &[(0, 0, -5e-324)]).unwrap();
    let conic = Conic::new(None, vec![1.0], a, vec![0.0], vec![Cone::Nonnegative(1)]).unwrap();
    let solution = conic.solve(&Settings::default()).unwrap();
    assert!(!solution.ok() || solution.y[0].is_finite(), "{:?}", solution.y);
}
