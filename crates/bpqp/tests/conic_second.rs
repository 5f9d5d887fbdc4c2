//! Second derivatives of conic programs: against differences of gradients, symmetry, closed forms, and where there are none.

use bpqp::{
    Cone, Conic, ConicCotangent, ConicGradient, ConicLayer, ConicSolution, ConicTangent, ConicWrt, Csc, Error,
    Settings, Status, Verdict,
};
use bpqp_testkit::Rng;
use bpqp_testkit::conic::{ConicInstance, Place, instance};
use bpqp_testkit::differences::dot;

/// A direction in every block of the data.
struct Direction([Vec<f64>; 4]);

impl Direction {
    fn random(problem: &Conic, rng: &mut Rng) -> Self {
        let mut p = rng.normals(problem.p().map_or(0, |p| p.nnz()));
        if let (Some(pattern), false) = (problem.p(), problem.p_is_upper()) {
            let mut direction = pattern.clone();
            direction.values_mut().copy_from_slice(&p);
            let mirrored = direction.transpose();
            p.iter_mut().zip(mirrored.values()).for_each(|(v, m)| *v = 0.5 * (*v + m));
        }
        Direction([p, rng.normals(problem.n()), rng.normals(problem.a().nnz()), rng.normals(problem.m())])
    }

    fn tangent(&self) -> ConicTangent<'_> {
        let [p, q, a, b] = &self.0;
        ConicTangent { p: (!p.is_empty()).then_some(p), q: Some(q), a: Some(a), b: Some(b), ..ConicTangent::default() }
    }

    /// The problem that far along.
    fn moved(&self, problem: &Conic, h: f64) -> Conic {
        let own = [problem.p().map_or(&[][..], |p| p.values()), problem.q(), problem.a().values(), problem.b()];
        let [p, q, a, b] =
            [0, 1, 2, 3].map(|k| -> Vec<f64> { own[k].iter().zip(&self.0[k]).map(|(v, d)| v + h * d).collect() });
        problem.with_values(problem.p().map(|_| &p[..]), Some(&q), Some(&a), Some(&b)).expect("finite")
    }
}

fn blocks(g: &ConicGradient) -> [Vec<f64>; 4] {
    [&g.p, &g.q, &g.a, &g.b].map(|v| v.clone().unwrap_or_default())
}

fn paired(g: &ConicGradient, d: &Direction) -> f64 {
    blocks(g).iter().zip(&d.0).map(|(g, d)| dot(g, d)).sum()
}

fn cotangent(v: &[Vec<f64>; 3]) -> ConicCotangent<'_> {
    ConicCotangent { x: &v[0], s: &v[1], y: &v[2], ..ConicCotangent::default() }
}

fn random_cotangent(problem: &Conic, rng: &mut Rng) -> [Vec<f64>; 3] {
    [rng.normals(problem.n()), rng.normals(problem.m()), rng.normals(problem.m())]
}

/// The polish carries the solution to a problem nearby; a quadratic program is solved again.
fn nearby(problem: &Conic, from: &ConicSolution) -> ConicSolution {
    let settings = Settings::default();
    if problem.is_polyhedral() {
        return problem.solve(&settings).expect("valid");
    }
    let given = |from: &ConicSolution| {
        let (x, s, y) = from.at_point();
        problem.from_solution(x.to_vec(), s.to_vec(), y.to_vec(), &settings).expect("valid")
    };
    let out = given(&given(from));
    assert!(out.ok() && out.info.polished, "the solution moved too far");
    out
}

/// Worst error of every block of a second derivative against central differences of the gradient, relative to the largest
/// entry of the block and to a thousandth of the largest of all.
fn against_differences(solution: &ConicSolution, cot: &ConicCotangent<'_>, d: &Direction, step: f64) -> [f64; 4] {
    let second = solution.second_vjp(cot, &d.tangent(), ConicWrt::ALL).expect("smooth");
    let at = |k: f64| {
        let near = nearby(&d.moved(solution.conic(), k * step), solution);
        blocks(&near.vjp(cot, ConicWrt::ALL).expect("differentiable"))
    };
    let ends = [-2.0, -1.0, 1.0, 2.0].map(at);
    let numeric: Vec<Vec<f64>> = (0..4)
        .map(|block| {
            let e = |k: usize, i: usize| ends[k][block][i];
            let slope = |i| (e(0, i) - 8.0 * e(1, i) + 8.0 * e(2, i) - e(3, i)) / (12.0 * step);
            (0..ends[0][block].len()).map(slope).collect()
        })
        .collect();
    let size = |v: &[f64]| v.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    let floor = 1e-3 * numeric.iter().map(|v| size(v)).fold(0.0, f64::max);
    let analytic = blocks(&second);
    std::array::from_fn(|block| {
        let worst = analytic[block].iter().zip(&numeric[block]).fold(0.0_f64, |m, (a, b)| m.max((a - b).abs()));
        worst / size(&numeric[block]).max(floor).max(f64::MIN_POSITIVE)
    })
}

/// Every cone that has second derivatives, at random places.
fn mixed(seed: u64) -> ConicInstance {
    let mut rng = Rng::new(8100 + seed);
    let cones = vec![
        Cone::Zero(1),
        Cone::SecondOrder(4),
        Cone::Nonnegative(3),
        Cone::Exponential,
        Cone::DualPower(0.3),
        Cone::Power(0.7),
        Cone::SecondOrder(3),
        Cone::DualExponential,
        Cone::Power(0.5),
    ];
    let all = [Place::Inside, Place::Boundary, Place::Boundary, Place::Apex];
    let places = cones.iter().map(|_| all[rng.below(4)]).collect();
    instance(cones, places, 30, seed % 2 == 0, &mut rng)
}

#[test]
fn second_derivatives_agree_with_differences_of_gradients() {
    let mut places = [0; 3];
    for seed in 0..12 {
        let made = mixed(seed);
        made.places.iter().for_each(|p| places[*p as usize] += 1);
        let solution = made.solution();
        assert_eq!(solution.verdict(), Verdict::Exact, "seed {seed}: {:?}", solution.info);
        let mut rng = Rng::new(100 + seed);
        let v = random_cotangent(&made.problem, &mut rng);
        let d = Direction::random(&made.problem, &mut rng);
        let errors = against_differences(&solution, &cotangent(&v), &d, 1e-4);
        assert!(errors.iter().all(|e| *e <= 1e-7), "seed {seed}: {errors:?} {:?}", made.places);
    }
    assert!(places.iter().all(|&n| n >= 15), "{places:?}");
}

#[test]
fn every_cone_alone_on_its_boundary_agrees_with_differences() {
    let cones = [
        Cone::SecondOrder(2),
        Cone::SecondOrder(3),
        Cone::SecondOrder(6),
        Cone::Exponential,
        Cone::DualExponential,
        Cone::Power(0.2),
        Cone::Power(0.5),
        Cone::DualPower(0.6),
    ];
    for (k, cone) in cones.into_iter().enumerate() {
        for trial in 0..3 {
            let mut rng = Rng::new(500 + 10 * k as u64 + trial);
            let made = instance(vec![cone], vec![Place::Boundary], 5, true, &mut rng);
            let solution = made.solution();
            // a loss of s and y alone moves with everything that the cone does
            let v = random_cotangent(&made.problem, &mut rng);
            let cot = ConicCotangent { x: &[], s: &v[1], y: &v[2], ..ConicCotangent::default() };
            let d = Direction::random(&made.problem, &mut rng);
            let errors = against_differences(&solution, &cot, &d, 1e-4);
            assert!(errors.iter().all(|e| *e <= 1e-7), "{cone:?}: {errors:?}");
        }
    }
}

#[test]
fn second_derivatives_are_symmetric() {
    for seed in 0..20 {
        let made = mixed(seed);
        let solution = made.solution();
        let mut rng = Rng::new(300 + seed);
        let v = random_cotangent(&made.problem, &mut rng);
        let (a, b) = (Direction::random(&made.problem, &mut rng), Direction::random(&made.problem, &mut rng));
        let of = |d: &Direction| solution.second_vjp(&cotangent(&v), &d.tangent(), ConicWrt::ALL).expect("smooth");
        let (ab, ba) = (paired(&of(&a), &b), paired(&of(&b), &a));
        assert!((ab - ba).abs() <= 1e-9 * ab.abs().max(1.0), "seed {seed}: {ab} {ba}");
        // the other mode, every output on its own
        let forward = solution.second_jvp(&a.tangent(), &b.tangent()).expect("smooth");
        let backward = solution.second_jvp(&b.tangent(), &a.tangent()).expect("smooth");
        for (k, (f, other)) in
            [(&forward.x, &backward.x), (&forward.s, &backward.s), (&forward.y, &backward.y)].into_iter().enumerate()
        {
            let mut one: [Vec<f64>; 3] = Default::default();
            one[k].clone_from(&v[k]);
            let second = solution.second_vjp(&cotangent(&one), &a.tangent(), ConicWrt::ALL).expect("smooth");
            let (f, other, g) = (dot(f, &v[k]), dot(other, &v[k]), paired(&second, &b));
            let tolerance = 1e-9 * g.abs().max(1.0);
            assert!((f - g).abs() <= tolerance && (f - other).abs() <= tolerance, "seed {seed}, {k}: {f} {other} {g}");
        }
        let value = ConicCotangent { objective: 1.0, ..ConicCotangent::default() };
        let g = paired(&solution.second_vjp(&value, &a.tangent(), ConicWrt::ALL).expect("smooth"), &b);
        assert!((forward.objective - g).abs() <= 1e-9 * g.abs().max(1.0), "seed {seed}: {} {g}", forward.objective);
        // a layer has the same, what is not asked for is not there, and a direction of zeros changes nothing
        let mut layer = ConicLayer::new(made.problem.clone(), Settings::default()).expect("valid");
        layer.adopt(&solution).expect("the same structure");
        let wrt = ConicWrt { b: true, ..ConicWrt::NONE };
        let only = layer.second_vjp(&cotangent(&v), &a.tangent(), wrt).expect("smooth");
        assert_eq!(layer.verdict(), Verdict::Exact);
        assert!(only.p.is_none() && only.q.is_none() && only.a.is_none());
        let whole = of(&a).b.expect("asked for");
        let scale = whole.iter().fold(1.0_f64, |m, v| m.max(v.abs()));
        let same = only.b.expect("asked for").iter().zip(&whole).all(|(a, b)| (a - b).abs() <= 1e-9 * scale);
        assert!(same, "seed {seed}");
        let still = solution.second_vjp(&cotangent(&v), &ConicTangent::default(), ConicWrt::ALL).expect("smooth");
        assert!(blocks(&still).iter().flatten().all(|v| *v == 0.0));
    }
}

#[test]
fn polyhedral_problems_have_those_of_quadratic_programs() {
    let cones = vec![Cone::Nonnegative(4), Cone::Zero(2), Cone::Nonnegative(3)];
    for (seed, upper) in [(1, false), (2, true)] {
        let mut rng = Rng::new(900 + seed);
        let made = instance(cones.clone(), vec![Place::Boundary; 3], 8, upper, &mut rng);
        let solution = made.problem.solve(&Settings::default()).expect("valid");
        assert_eq!(solution.status, Status::Solved);
        let v = random_cotangent(&made.problem, &mut rng);
        let d = Direction::random(&made.problem, &mut rng);
        let errors = against_differences(&solution, &cotangent(&v), &d, 1e-4);
        assert!(errors.iter().all(|e| *e <= 1e-7), "{errors:?}");
        let mut layer = ConicLayer::new(made.problem.clone(), Settings::default()).expect("valid");
        layer.adopt(&solution).expect("the same structure");
        let second = layer.second_vjp(&cotangent(&v), &d.tangent(), ConicWrt::ALL).expect("smooth");
        assert_eq!(second, solution.second_vjp(&cotangent(&v), &d.tangent(), ConicWrt::ALL).expect("smooth"));
    }
}

#[test]
fn softmax_by_entropy_has_its_hessian() {
    let c: [f64; 4] = [0.3, -1.2, 0.8, 0.1];
    let n = c.len();
    // t_i <= -x_i ln x_i  <=>  (t_i, x_i, 1) in the exponential cone
    let mut entries: Vec<_> = (0..n).map(|i| (0, i, 1.0)).collect();
    let (mut b, mut cones) = (vec![1.0], vec![Cone::Zero(1)]);
    for i in 0..n {
        entries.extend([(1 + 3 * i, n + i, -1.0), (2 + 3 * i, i, -1.0)]);
        b.extend([0.0, 0.0, 1.0]);
        cones.push(Cone::Exponential);
    }
    let q = [c.iter().map(|c| -c).collect(), vec![-1.0; n]].concat();
    let a = Csc::from_triplets(b.len(), 2 * n, &entries).expect("in range");
    let solution = Conic::new(None, q, a, b, cones).expect("valid").solve(&Settings::default()).expect("valid");
    let total: f64 = c.iter().map(|c| c.exp()).sum();
    let p: Vec<f64> = c.iter().map(|c| c.exp() / total).collect();
    let (g, e) = ([1.0, -2.0, 0.5, 3.0], [0.7, 0.1, -1.1, 0.4]);
    let pad = |v: &[f64]| [v, &[0.0; 4]].concat();
    let (cot, along) = (pad(&g), pad(&e));
    let along = ConicTangent { q: Some(&along), ..ConicTangent::default() };
    let second = solution.second_vjp(&ConicCotangent::x(&cot), &along, ConicWrt::ALL).expect("smooth");
    let (mean_g, mean_e) = (dot(&g, &p), dot(&e, &p));
    let covariance: f64 = (0..n).map(|i| p[i] * (g[i] - mean_g) * (e[i] - mean_e)).sum();
    for i in 0..n {
        let expected = p[i] * ((g[i] - mean_g) * (e[i] - mean_e) - covariance);
        assert!((second.q.as_ref().expect("asked for")[i] - expected).abs() < 1e-11);
    }
}

/// `min q'x + p/2 |x|^2` over a ball.
fn ball(q: &[f64], p: f64, radius: f64) -> Conic {
    let n = q.len();
    let a = Csc::from_triplets(n + 1, n, &(0..n).map(|i| (i + 1, i, -1.0)).collect::<Vec<_>>()).expect("in range");
    let hessian = Csc::from_triplets(n, n, &(0..n).map(|i| (i, i, p)).collect::<Vec<_>>()).expect("in range");
    let mut b = vec![0.0; n + 1];
    b[0] = radius;
    Conic::new(Some(hessian), q.to_vec(), a, b, vec![Cone::SecondOrder(n + 1)]).expect("valid")
}

#[test]
fn directions_on_a_sphere_have_their_closed_form_in_any_units() {
    let (q, g, e) = ([3.0, -1.0, 2.0], [0.5, 1.0, -2.0], [-0.3, 0.8, 0.6]);
    // x = -radius q/|q|, while the radius is small against |q|/p
    for (size, radius) in [(1.0, 0.7), (1e6, 1e-5), (1e-5, 1e5)] {
        let scaled = q.map(|q| size * q);
        let solution = ball(&scaled, 1e-6 * size / radius, radius).solve(&Settings::default()).expect("valid");
        assert_eq!(solution.verdict(), Verdict::Exact, "{:?}", solution.info);
        let along = ConicTangent { q: Some(&e), ..ConicTangent::default() };
        let second = solution.second_vjp(&ConicCotangent::x(&g), &along, ConicWrt::ALL).expect("smooth");
        let norm = dot(&scaled, &scaled).sqrt();
        let h = scaled.map(|q| q / norm);
        let (ge, gh, eh) = (dot(&g, &e), dot(&g, &h), dot(&e, &h));
        for i in 0..3 {
            let turn = ge * h[i] + g[i] * eh + e[i] * gh - 3.0 * gh * eh * h[i];
            let expected = radius / (norm * norm) * turn;
            let found = second.q.as_ref().expect("asked for")[i];
            let scale = radius / (norm * norm);
            let tolerance = if size == 1.0 { 1e-13 } else { 1e-8 };
            assert!((found - expected).abs() < tolerance * scale, "{size} {radius}: {found} {expected}");
        }
    }
}

fn unsupported(solution: &ConicSolution, part: &str) {
    let ones = vec![1.0; solution.conic().n()];
    let along = ConicTangent { q: Some(&ones), ..ConicTangent::default() };
    match solution.second_vjp(&ConicCotangent::x(&ones), &along, ConicWrt::ALL) {
        Err(Error::Unsupported { what, .. }) => assert!(what.contains(part), "{what}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn cones_without_second_derivatives_are_named() {
    let mut rng = Rng::new(77);
    let cones = vec![Cone::Nonnegative(2), Cone::PsdTriangle(3)];
    let made = instance(cones, vec![Place::Boundary; 2], 9, true, &mut rng);
    unsupported(&made.solution(), "cones[1], psd,");
    // the unconstrained minimum lies on the sphere
    let kink = ball(&[3.0, 0.0, -4.0], 1.0, 5.0).solve(&Settings::default()).expect("valid");
    unsupported(&kink, "cones[0], soc, on a kink");
    // the projection of (1, -1, 0) onto the power cone lies on its edge
    let identity = |v: f64| Csc::from_triplets(3, 3, &[(0, 0, v), (1, 1, v), (2, 2, v)]).expect("in range");
    for a in [0.3, 0.5, 0.8] {
        let (q, cones) = (vec![-1.0, 1.0, 0.0], vec![Cone::Power(a)]);
        let problem = Conic::new(Some(identity(1.0)), q, identity(-1.0), vec![0.0; 3], cones).expect("valid");
        let settings = Settings::default();
        let edge = problem.from_solution(vec![1.0, 0.0, 0.0], vec![1.0, 0.0, 0.0], vec![0.0, 1.0, 0.0], &settings);
        unsupported(&edge.expect("valid"), "cones[0], pow, on its edge");
    }
    let smoothed = instance(vec![Cone::Nonnegative(3)], vec![Place::Boundary], 3, true, &mut rng).problem;
    let settings = Settings { smoothing: Some(1e-3), ..Settings::default() };
    unsupported(&smoothed.solve(&settings).expect("valid"), "smoothing");
    let infeasible = ball(&[1.0, 0.0, 0.0], 1.0, -1.0).solve(&Settings::default()).expect("valid");
    let refused = infeasible.second_vjp(&ConicCotangent::x(&[1.0; 3]), &ConicTangent::default(), ConicWrt::ALL);
    assert_eq!(refused, Err(Error::NoSolution { status: Status::PrimalInfeasible }));
}

#[test]
fn a_cone_twice_changes_nothing_but_the_verdict() {
    let once = ball(&[3.0, -1.0, 2.0], 1.0, 0.7);
    let twice: Vec<_> = once.a().triplets().flat_map(|(i, j, v)| [(i, j, v), (i + 4, j, v)]).collect();
    let problem = Conic::new(
        once.p().cloned(),
        once.q().to_vec(),
        Csc::from_triplets(8, 3, &twice).expect("in range"),
        [once.b(), once.b()].concat(),
        vec![Cone::SecondOrder(4); 2],
    )
    .expect("valid");
    let (g, e) = ([0.5, 1.0, -2.0], [-0.3, 0.8, 0.6]);
    let (cot, along) = (ConicCotangent::x(&g), ConicTangent { q: Some(&e), ..ConicTangent::default() });
    let of = |problem: &Conic| {
        let mut layer = ConicLayer::new(problem.clone(), Settings::default()).expect("valid");
        layer.solve().expect("valid");
        let second = layer.second_vjp(&cot, &along, ConicWrt::ALL).expect("smooth");
        (second.q.expect("asked for"), layer.verdict())
    };
    let ((one, exact), (two, several)) = (of(&once), of(&problem));
    assert_eq!((exact, several), (Verdict::Exact, Verdict::OneOfSeveral));
    assert!(one.iter().zip(&two).all(|(a, b)| (a - b).abs() < 1e-9), "{one:?} {two:?}");
}

#[test]
fn rows_that_are_bounds_move_twice() {
    // minimize |x - t|^2 / 2, with x_0 <= b_0/a_0, -x_1 <= b_1/a_1 as rows of one entry, and a ball around all
    let entries = [(0, 0, 2.0), (1, 1, -0.5), (3, 0, -1.0), (4, 1, -1.0), (5, 2, -1.0)];
    let a = Csc::from_triplets(6, 3, &entries).expect("in range");
    let identity = Csc::from_triplets(3, 3, &[(0, 0, 1.0), (1, 1, 1.0), (2, 2, 1.0)]).expect("in range");
    let cones = vec![Cone::Nonnegative(2), Cone::SecondOrder(4)];
    let b = vec![0.6, -0.2, 1.3, 0.0, 0.0, 0.0];
    let problem = Conic::new(Some(identity), vec![-3.0, 2.0, -4.0], a, b, cones).expect("valid");
    let solution = problem.solve(&Settings::default()).expect("valid");
    assert_eq!(solution.verdict(), Verdict::Exact);
    let mut rng = Rng::new(12);
    let (d, e) = (Direction::random(&problem, &mut rng), Direction::random(&problem, &mut rng));
    let second = solution.second_jvp(&d.tangent(), &e.tangent()).expect("smooth");
    let step = 1e-4;
    let ends = [-2.0, -1.0, 1.0, 2.0].map(|k| {
        let near = nearby(&e.moved(&problem, k * step), &solution);
        near.jvp(&d.tangent()).expect("differentiable")
    });
    let slope = |f: &dyn Fn(usize) -> f64| (f(0) - 8.0 * f(1) + 8.0 * f(2) - f(3)) / (12.0 * step);
    for i in 0..3 {
        let numeric = slope(&|k| ends[k].x[i]);
        assert!((second.x[i] - numeric).abs() <= 1e-8 * (1.0 + numeric.abs()), "x {i}: {} {numeric}", second.x[i]);
    }
    for i in 0..6 {
        for (own, of) in [(&second.s, 0), (&second.y, 1)] {
            let numeric = slope(&|k| if of == 0 { ends[k].s[i] } else { ends[k].y[i] });
            assert!((own[i] - numeric).abs() <= 1e-8 * (1.0 + numeric.abs()), "{of} {i}: {} {numeric}", own[i]);
        }
    }
    let numeric = slope(&|k| ends[k].objective);
    assert!((second.objective - numeric).abs() <= 1e-8 * (1.0 + numeric.abs()), "{} {numeric}", second.objective);
}
