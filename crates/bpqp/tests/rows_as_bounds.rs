//! Rows with one entry are solved as bounds, and answers are those of rows: against the same problem with bounds, for every
//! order of problems in one layer.

use bpqp::faer::Mat;
use bpqp::{Certificate, Cotangent, Csc, Hessian, Layer, Matrix, Qp, Settings, Solver, Status, Verdict, Wrt};
use bpqp_testkit::Rng;

/// `min 1/2 sum d x^2 + q'x` over two general rows and a box of `n` variables, which is written as rows (several for some
/// variables, in units of their own) or as bounds.
fn problem(n: usize, rng: &mut Rng, width: f64) -> (Qp, Qp, Vec<(usize, f64)>) {
    let d = rng.uniforms(n, 0.5, 2.0);
    let q: Vec<f64> = rng.normals(n).iter().map(|v| 4.0 * v).collect();
    let mut triplets: Vec<(usize, usize, f64)> = (0..n).flat_map(|j| [(0, j, 1.0), (1, j, rng.normal())]).collect();
    let mut h = vec![0.3, 2.0];
    let general = triplets.clone();
    // of each row its variable and its entry
    let mut single = Vec::new();
    let (mut lb, mut ub) = (vec![f64::NEG_INFINITY; n], vec![f64::INFINITY; n]);
    for j in 0..n {
        for (v, bound) in [(2.0, width), (0.25, width + 0.5), (-3.0, width)] {
            triplets.push((h.len(), j, v));
            h.push(bound * v.abs());
            single.push((j, v));
        }
        (lb[j], ub[j]) = (-width, width);
    }
    let rows = h.len();
    let hessian = || Hessian::Diagonal(d.clone());
    let g = Csc::from_triplets(rows, n, &triplets).expect("in range");
    let as_rows = Qp::new(hessian(), q.clone()).and_then(|qp| qp.inequality(g, h.clone())).expect("valid");
    let g = Csc::from_triplets(2, n, &general).expect("in range");
    let as_bounds = Qp::new(hessian(), q).and_then(|qp| qp.inequality(g, h[..2].to_vec())).expect("valid");
    (as_rows, as_bounds.bounds(lb, ub).expect("valid"), single)
}

#[test]
fn rows_that_are_bounds_have_the_multipliers_of_bounds() {
    let settings = Settings::with_solver(Solver::InteriorPoint);
    let mut rng = Rng::new(5);
    let first = problem(12, &mut rng, 1.0).0;
    let mut layer = Layer::new(first, settings.clone()).expect("valid");
    for width in [1.0, 0.4, 2.0, 0.1] {
        let (rows, bounds, single) = problem(12, &mut rng, width);
        let (own, other) = (rows.solve(&settings).expect("valid"), bounds.solve(&settings).expect("valid"));
        assert_eq!((own.status, other.status), (Status::Solved, Status::Solved));
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-10, "width {width}: {a} {b}");
        own.x.iter().zip(&other.x).for_each(|(a, b)| close(*a, *b));
        own.z[..2].iter().zip(&other.z).for_each(|(a, b)| close(*a, *b));
        let mut force = [0.0; 12];
        single.iter().zip(&own.z[2..]).for_each(|((j, v), z)| force[*j] += v * z);
        force.iter().zip(&other.z_box).for_each(|(a, b)| close(*a, *b));
        assert!(own.z_box.iter().all(|z| *z == 0.0));
        // a layer that solved another problem before gives the same bits
        layer.update(rows).expect("the same structure");
        let again = layer.solve().expect("valid");
        assert_eq!((&again.x, &again.z), (&own.x, &own.z));
    }
}

#[test]
fn rows_that_contradict_each_other_are_proved_to() {
    let settings = Settings::with_solver(Solver::InteriorPoint);
    // x <= -1 and -x <= -1; and a row that no point of the box satisfies
    for (entries, h) in [
        ([(0, 0, 1.0), (1, 0, -1.0), (2, 0, 1.0), (2, 1, 1.0)], vec![-1.0, -1.0, 5.0]),
        ([(0, 0, 1.0), (1, 1, 2.0), (2, 0, -1.0), (2, 1, -1.0)], vec![1.0, 2.0, -3.0]),
    ] {
        let g = Csc::from_triplets(3, 2, &entries).expect("in range");
        let qp =
            Qp::new(Hessian::Diagonal(vec![1.0; 2]), vec![0.0; 2]).and_then(|qp| qp.inequality(g, h)).expect("valid");
        let solution = qp.solve(&settings).expect("valid");
        assert_eq!(solution.status, Status::PrimalInfeasible);
        match &solution.info.certificate {
            Some(Certificate::PrimalInfeasible(proof)) => {
                assert!(proof.z_box.iter().all(|z| *z == 0.0) && proof.z.len() == 3);
                let value: f64 = proof.z.iter().zip(qp.h()).map(|(z, h)| z * h).sum();
                assert!(value < 0.0, "{value}");
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Hessians that separate, under dense rows of which all but two have one entry: `A`, `G` and the same with bounds.
fn separable(n: usize, rng: &mut Rng) -> Vec<(&'static str, Hessian)> {
    let d = || vec![1.5; n];
    let factor = Mat::from_fn(n, 3, |i, j| 0.3 * ((3 * i + 7 * j) as f64).sin());
    let block = Mat::from_fn(4, 4, |i, j| if i == j { 2.0 } else { 0.1 * rng.normal().abs() });
    let symmetric = Mat::from_fn(4, 4, |i, j| 0.5 * (block[(i, j)] + block[(j, i)]));
    let blocks = vec![symmetric; n / 4];
    vec![
        ("diagonal", Hessian::Diagonal(d())),
        ("low rank", Hessian::low_rank(d(), factor).expect("valid")),
        ("blocks", Hessian::block_diagonal(blocks).expect("valid")),
    ]
}

#[test]
fn dense_rows_that_are_bounds_have_the_derivatives_of_bounds() {
    let (n, mut rng) = (80, Rng::new(11));
    for (name, hessian) in separable(n, &mut rng) {
        let q: Vec<f64> = rng.normals(n).iter().map(|v| 3.0 * v).collect();
        let general = rng.normals(2 * n);
        let units: Vec<f64> = (0..2 * n).map(|i| if i < n { -2.0 } else { 0.5 }).collect();
        let mut entries = general.clone();
        for (i, v) in units.iter().enumerate() {
            entries.extend((0..n).map(|j| if j == i % n { *v } else { 0.0 }));
        }
        let mut h = vec![0.5, 1.0];
        h.extend(units.iter().map(|v| 0.7 * v.abs()));
        // one variable is fixed by an equation with one entry
        let mut a = vec![0.0; 2 * n];
        a[3] = 4.0;
        a[n..].fill(1.0);
        let start = |m: Vec<f64>, rows, h| {
            let g = Matrix::from_rows(rows, n, &m).expect("valid");
            let a = Matrix::from_rows(2, n, &a).expect("valid");
            let qp = Qp::new(hessian.clone(), q.clone()).and_then(|qp| qp.equality(a, vec![0.8, 2.0]));
            qp.and_then(|qp| qp.inequality(g, h)).expect("valid")
        };
        let rows = start(entries, 2 + 2 * n, h.clone());
        let bounds = start(general, 2, h[..2].to_vec()).bounds(vec![-0.7; n], vec![0.7; n]).expect("valid");
        let loss = rng.normals(n);
        let of = |qp: Qp| {
            let mut layer = Layer::new(qp, Settings::default()).expect("valid");
            let solution = layer.solve().expect("valid");
            assert_eq!(solution.status, Status::Solved, "{name}");
            let x = solution.x.clone();
            let gradient = layer.vjp(&Cotangent::x(&loss), Wrt::ALL).expect("a gradient").clone();
            assert_eq!(layer.verdict(), Verdict::Exact, "{name}");
            (x, gradient)
        };
        let ((x, own), (y, other)) = (of(rows), of(bounds));
        let close = |what: &str, a: f64, b: f64| assert!((a - b).abs() < 1e-10, "{name}, {what}: {a} {b}");
        x.iter().zip(&y).for_each(|(a, b)| close("x", *a, *b));
        assert!(y.iter().filter(|y| y.abs() == 0.7).count() > 10, "{name}: few bounds are active");
        let pairs = [(&own.q, &other.q), (&own.b, &other.b)];
        for (a, b) in pairs.into_iter().flat_map(|(a, b)| a.iter().flatten().zip(b.iter().flatten())) {
            close("q and b", *a, *b);
        }
        let (dh, dlb, dub) = (own.h.expect("asked"), other.lb.expect("asked"), other.ub.expect("asked"));
        for (i, v) in units.iter().enumerate() {
            let bound = if *v < 0.0 { -dlb[i % n] } else { dub[i % n] };
            close("h", dh[2 + i] * v.abs(), bound);
        }
        dh[..2].iter().zip(other.h.iter().flatten()).for_each(|(a, b)| close("h of the others", *a, *b));
        let (own, other) = (own.p.expect("asked"), other.p.expect("asked"));
        let (own, other) = (own.to_dense(), other.to_dense());
        (0..n).for_each(|i| close("P", own[(i, i)], other[(i, i)]));
    }
}

#[test]
fn several_rows_that_fix_one_variable_are_dependent() {
    let n = 70;
    let mut entries = vec![0.0; 2 * n];
    (entries[5], entries[n + 5]) = (1.0, -2.0);
    let fixed = |b: Vec<f64>| {
        let a = Matrix::from_rows(2, n, &entries).expect("valid");
        let g = Matrix::from_rows(n, n, &(0..n * n).map(|k| f64::from(k % (n + 1) == 0)).collect::<Vec<_>>());
        Qp::new(Hessian::Diagonal(vec![1.0; n]), vec![-1.0; n])
            .and_then(|qp| qp.equality(a, b))
            .and_then(|qp| qp.inequality(g.expect("valid"), vec![0.5; n]))
            .expect("valid")
    };
    let mut layer = Layer::new(fixed(vec![0.25, -0.5]), Settings::default()).expect("valid");
    let solution = layer.solve().expect("valid");
    assert_eq!(solution.status, Status::Solved);
    assert!((solution.x[5] - 0.25).abs() < 1e-12 && (solution.x[4] - 0.5).abs() < 1e-12);
    layer.vjp(&Cotangent::x(&vec![1.0; n]), Wrt::ALL).expect("a gradient");
    assert_eq!(layer.verdict(), Verdict::OneOfSeveral);
    let contradiction = fixed(vec![0.25, 0.5]).solve(&Settings::default()).expect("valid");
    assert_eq!(contradiction.status, Status::PrimalInfeasible);
}

/// Which rows of a full matrix have one entry changes from problem to problem of one layer.
#[test]
fn rows_become_bounds_and_rows_again() {
    let settings = Settings::with_solver(Solver::InteriorPoint);
    let problem = |g: [f64; 6], q: f64| {
        let g = Matrix::from_rows(3, 2, &g).expect("valid");
        let qp =
            Qp::new(Hessian::Diagonal(vec![1.0, 0.0]), vec![q, -1.0]).and_then(|qp| qp.inequality(g, vec![1.0; 3]));
        qp.expect("valid")
    };
    let problems = [
        problem([1.0, 1.0, -1.0, 2.0, 0.5, 1.0], -1.0),
        problem([1.0, 0.0, -1.0, 0.0, 0.0, 1.0], -3.0),
        problem([1.0, 1.0, -1.0, 0.0, 0.0, 1.0], 2.0),
        problem([1.0, 0.0, -1.0, 2.0, 0.0, 1.0], -3.0),
    ];
    let mut layer = Layer::new(problems[0].clone(), settings.clone()).expect("valid");
    for k in [0, 1, 2, 3, 1, 0, 3, 2, 1] {
        layer.update(problems[k].clone()).expect("the same structure");
        let x = layer.solve().expect("valid").x.clone();
        let fresh = problems[k].solve(&settings).expect("valid");
        assert_eq!(fresh.status, Status::Solved);
        assert!(x.iter().zip(&fresh.x).all(|(a, b)| (a - b).abs() < 1e-12), "problem {k}: {x:?}, {:?}", fresh.x);
    }
}
