//! The closest feasible program: closed forms, a penalty that goes to zero, differences of re-solves, and what is refused.

use bpqp::faer::{Mat, mat};
use bpqp::{
    Batch, Cotangent, Csc, Error, Hessian, Infeasible, Layer, Matrix, Qp, Settings, Solution, Status, Tangent, Verdict,
    Wrt, check_gradient,
};
use bpqp_testkit::Rng;

fn closest() -> Settings {
    Settings { infeasible: Infeasible::Closest, ..Settings::default() }
}

fn solve(qp: &Qp) -> Solution {
    let solution = qp.solve(&closest()).expect("valid");
    assert_eq!(solution.status, Status::PrimalInfeasible);
    assert!(solution.ok() && solution.info.certificate.is_some(), "{:?}", solution.info);
    solution
}

fn near(a: f64, b: f64, tolerance: f64) -> bool {
    (a - b).abs() <= tolerance * b.abs().max(1.0)
}

#[test]
fn two_values_at_once_give_their_mean() {
    // x = 0, x = 3 twice as strong: (4 * 3 + 0)/5; the second variable is left to the objective
    let qp = Qp::new(Hessian::Diagonal(vec![0.0, 1.0]), vec![7.0, -2.0])
        .and_then(|qp| qp.equality(mat![[1.0, 0.0], [2.0, 0.0]], vec![0.0, 6.0]))
        .expect("valid");
    let solution = solve(&qp);
    assert!(near(solution.x[0], 2.4, 1e-12) && near(solution.x[1], 2.0, 1e-12), "{:?}", solution.x);
    let (a, g) = solution.shift().expect("shifted");
    assert!(near(a[0], 2.4, 1e-12) && near(a[1], -1.2, 1e-12) && g.is_empty());
    assert!(solution.y.iter().all(|y| y.is_nan()) && near(solution.objective, 7.0 * 2.4 - 2.0, 1e-12));
    let gradient = solution.vjp(&Cotangent::x(&[1.0, 0.0]), Wrt::ALL).expect("a solution");
    let b = gradient.b.expect("asked for");
    assert!(near(b[0], 0.2, 1e-12) && near(b[1], 0.4, 1e-12), "{b:?}");
    // x_0 = (a_0 b_0 + a_1 b_1)/(a_0^2 + a_1^2)
    let Some(Matrix::Dense(a)) = gradient.a else { panic!("dense") };
    let expected = [-2.0 * 2.4 / 5.0, (6.0 - 2.0 * 2.0 * 2.4) / 5.0];
    assert!(near(a[(0, 0)], expected[0], 1e-12) && near(a[(1, 0)], expected[1], 1e-12), "{a:?}");
    // the second column may move: it would enter the least squares
    assert_eq!(solution.verdict(), Verdict::OneOfSeveral);
}

#[test]
fn bounds_are_kept_and_push() {
    // x >= 4 as a row, x <= 1 as a bound
    let qp = Qp::new(Hessian::Diagonal(vec![1.0]), vec![0.0])
        .and_then(|qp| qp.inequality(mat![[-1.0]], vec![-4.0]))
        .and_then(|qp| qp.bounds(vec![-1.0], vec![1.0]))
        .expect("valid");
    let solution = solve(&qp);
    assert_eq!(solution.x, [1.0]);
    assert!(near(solution.shift().expect("shifted").1[0], 3.0, 1e-14));
    let gradient = solution.vjp(&Cotangent::x(&[2.0]), Wrt::ALL).expect("a solution");
    assert_eq!((gradient.ub.as_deref(), gradient.lb.as_deref()), (Some(&[2.0][..]), Some(&[0.0][..])));
    assert_eq!(gradient.h.as_deref(), Some(&[0.0][..]));
    assert_eq!(solution.verdict(), Verdict::Exact);
}

/// Random problems whose rows contradict each other: more rows than variables, or few rows that are dependent.
fn random(rng: &mut Rng, wide: bool, sparse: bool) -> Qp {
    let (n, m, mi) = if wide { (6, 2, 4) } else { (3, 4, 5) };
    let f = Mat::from_fn(n, n, |_, _| rng.normal());
    let p = &f * f.transpose();
    let mut a = Mat::from_fn(m, n, |_, _| rng.normal());
    let mut g = Mat::from_fn(mi, n, |_, _| rng.normal());
    if wide {
        // A x = b has no solution, and two of the rows of G neither
        for j in 0..n {
            a[(1, j)] = 2.0 * a[(0, j)];
            g[(1, j)] = -g[(0, j)];
        }
    }
    let h: Vec<f64> = (0..mi).map(|i| if i < 2 { -0.5 - rng.uniform() } else { rng.normal() }).collect();
    let b = rng.normals(m);
    let matrix = |m: Mat<f64>| if sparse { Matrix::Sparse(Csc::from_dense(&m)) } else { Matrix::from(m) };
    Qp::new(p, rng.normals(n))
        .and_then(|qp| qp.equality(matrix(a), b))
        .and_then(|qp| qp.inequality(matrix(g), h))
        .and_then(|qp| qp.bounds(vec![-1.0; n], vec![1.0; n]))
        .expect("valid")
}

#[test]
fn it_is_the_limit_of_a_penalty() {
    for seed in 0..24 {
        let mut rng = Rng::new(40 + seed);
        let qp = random(&mut rng, seed % 2 == 0, seed % 3 == 0);
        let solution = solve(&qp);
        // minimize weight (1/2 x'P x + q'x) + 1/2 |A x - b|^2 + 1/2 |t|^2 with G x - t <= h
        let (n, m, mi, weight) = (qp.n(), qp.n_equality(), qp.n_inequality(), 1e-7);
        let (a, g, p) = (qp.a().to_dense(), qp.g().to_dense(), qp.p().to_dense());
        let total = n + m + mi;
        let hessian = Mat::from_fn(total, total, |i, j| match () {
            () if i < n && j < n => weight * p[(i, j)],
            () => f64::from(u8::from(i == j)),
        });
        let q: Vec<f64> = (0..total).map(|i| if i < n { weight * qp.q()[i] } else { 0.0 }).collect();
        let left = |m: &Mat<f64>, first: usize| {
            let own = m.clone();
            Mat::from_fn(own.nrows(), total, move |i, j| match () {
                () if j < n => own[(i, j)],
                () if j == first + i => -1.0,
                () => 0.0,
            })
        };
        let wide = |v: &[f64], fill: f64| [v, &vec![fill; m + mi]].concat();
        let penalty = Qp::new(hessian, q)
            .and_then(|p| p.equality(left(&a, n), qp.b().to_vec()))
            .and_then(|p| p.inequality(left(&g, n + m), qp.h().to_vec()))
            .and_then(|p| p.bounds(wide(qp.lb(), f64::NEG_INFINITY), wide(qp.ub(), f64::INFINITY)))
            .and_then(|p| p.solve(&Settings::default()))
            .expect("valid");
        assert!(penalty.ok());
        for (x, other) in solution.x.iter().zip(&penalty.x) {
            assert!((x - other).abs() <= 1e-4, "seed {seed}: {x} {other}");
        }
    }
}

#[test]
fn its_gradient_is_that_of_both_levels() {
    let (mut full, mut deficient) = (0, 0);
    for seed in 0..30 {
        let mut rng = Rng::new(140 + seed);
        let wide = seed % 2 == 0;
        let qp = random(&mut rng, wide, seed % 3 == 0);
        let solution = solve(&qp);
        let cotangent = Cotangent { x: rng.normals(qp.n()), objective: rng.normal(), ..Cotangent::default() };
        if solution.verdict() == Verdict::Exact {
            full += 1;
            let report = check_gradient(&solution, &cotangent).expect("a solution");
            assert!(report.table.iter().all(|row| row.worst < 1e-6 || row.kinks > 0), "seed {seed}: {report}");
        } else {
            // a single entry of A or G changes their rank, and the least squares jump
            deficient += 1;
        }
        // both modes, and second derivatives by symmetry and a difference of gradients
        let along = Tangent {
            q: Some(rng.normals(qp.n())),
            b: Some(rng.normals(qp.n_equality())),
            h: Some(rng.normals(qp.n_inequality())),
            ..Tangent::default()
        };
        let gradient = solution.vjp(&cotangent, Wrt::ALL).expect("a solution");
        let moved = solution.jvp(&along).expect("a solution");
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let forward = dot(&cotangent.x, &moved.x) + cotangent.objective * moved.objective;
        let of = |g: &bpqp::Gradient| {
            let part = |a: &Option<Vec<f64>>, b: &Option<Vec<f64>>| {
                dot(a.as_ref().expect("there"), b.as_ref().expect("there"))
            };
            part(&g.q, &along.q) + part(&g.b, &along.b) + part(&g.h, &along.h)
        };
        assert!(near(forward, of(&gradient), 1e-9), "seed {seed}: {forward} {}", of(&gradient));
        let step = 1e-5;
        let ends = [-1.0, 1.0].map(|side| {
            let plus = |v: &[f64], d: &Option<Vec<f64>>| -> Vec<f64> {
                let d = d.as_ref().expect("there");
                v.iter().zip(d).map(|(v, d)| v + side * step * d).collect()
            };
            let near = qp.clone().with_q(plus(qp.q(), &along.q)).and_then(|p| p.with_b(plus(qp.b(), &along.b)));
            let near = solve(&near.and_then(|p| p.with_h(plus(qp.h(), &along.h))).expect("valid"));
            let same = near.active().g == solution.active().g && near.active().bound == solution.active().bound;
            (dot(&cotangent.x, &near.x) + cotangent.objective * near.objective, same)
        });
        let numeric = (ends[1].0 - ends[0].0) / (2.0 * step);
        assert!(!(ends[0].1 && ends[1].1) || near(forward, numeric, 1e-5), "seed {seed}: {forward} {numeric}");
        let mut layer = Layer::new(qp.clone(), closest()).expect("valid");
        layer.solve().expect("valid");
        let second = of(layer.second_vjp(&cotangent, &along, Wrt::ALL).expect("a solution"));
        let twice = layer.second_jvp(&along, &along).expect("a solution");
        let twice = dot(&cotangent.x, &twice.x) + cotangent.objective * twice.objective;
        assert!(near(second, twice, 1e-8), "seed {seed}: {second} {twice}");
    }
    assert!(full > 5 && deficient > 5, "{full} {deficient}");
}

#[test]
fn matrices_move_both_levels_where_the_rank_is_full() {
    for seed in 0..8 {
        let mut rng = Rng::new(700 + seed);
        let qp = random(&mut rng, false, seed % 2 == 0);
        let (lb, ub) = (vec![-50.0; qp.n()], vec![50.0; qp.n()]);
        let solution = solve(&qp.bounds(lb, ub).expect("valid"));
        assert_eq!(solution.verdict(), Verdict::Exact, "seed {seed}");
        let report = check_gradient(&solution, &Cotangent::x(&rng.normals(3))).expect("a solution");
        assert!(report.worst < 1e-6, "seed {seed}: {report}");
    }
}

#[test]
fn what_it_has_not_is_an_error_and_feasible_problems_are_as_they_were() {
    let qp = Qp::new(Hessian::Diagonal(vec![1.0]), vec![0.0])
        .and_then(|qp| qp.equality(mat![[1.0], [1.0]], vec![0.0, 1.0]))
        .expect("valid");
    let solution = solve(&qp);
    let refused = solution.vjp(&Cotangent { y: vec![1.0, 0.0], ..Cotangent::default() }, Wrt::ALL);
    assert!(matches!(refused, Err(Error::Unsupported { .. })), "{refused:?}");
    assert!(solution.vjp(&Cotangent { y: vec![0.0; 2], ..Cotangent::x(&[1.0]) }, Wrt::ALL).is_ok());
    // a batch: only the element that is infeasible is shifted
    let feasible = qp.clone().with_b(vec![0.25, 0.25]).expect("valid");
    let mut batch = Batch::new(vec![qp.clone(), feasible.clone()], closest()).expect("valid");
    let solutions = batch.solve_all().expect("valid");
    let of = |k: usize| solutions[k].as_ref().expect("valid");
    assert!(of(0).shift().is_some() && near(of(0).x[0], 0.5, 1e-12));
    assert!(of(1).shift().is_none() && of(1).status == Status::Solved && near(of(1).x[0], 0.25, 1e-12));
    let cotangents = [Cotangent::x(&[1.0]), Cotangent::x(&[1.0])];
    let gradients = batch.vjp(&[of(0), of(1)], &cotangents, Wrt::ALL).expect("valid");
    let b = |k: usize| gradients[k].as_ref().expect("a gradient").0.b.clone().expect("asked for");
    assert!(near(b(0)[0], 0.5, 1e-12) && near(b(1)[0] + b(1)[1], 1.0, 1e-12), "{:?} {:?}", b(0), b(1));
    // without the setting, nothing
    assert!(!qp.solve(&Settings::default()).expect("valid").ok());
    // one layer forgets the shift of the problem before
    let mut layer = Layer::new(qp, closest()).expect("valid");
    assert!(layer.solve().expect("valid").shift().is_some());
    layer.update(feasible).expect("the same structure");
    assert!(layer.solve().expect("valid").shift().is_none());
    let smoothed = Settings { smoothing: Some(1e-3), ..closest() };
    assert!(matches!(smoothed.validate(), Err(Error::Unsupported { .. })));
}
