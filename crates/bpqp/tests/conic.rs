//! Conic programs: every cone inside, on its boundary and at its apex, against differences, identities and closed forms.

use bpqp::{
    Cone, Conic, ConicBatch, ConicCotangent, ConicGradient, ConicLayer, ConicSolution, ConicTangent, ConicWrt, Csc,
    Error, Settings, Solver, Status, Verdict,
};
use bpqp_testkit::Rng;
use bpqp_testkit::conic::{self, Place, instance};
use bpqp_testkit::differences::dot;

fn solved(problem: &Conic) -> ConicSolution {
    let solution = problem.solve(&Settings::default()).expect("valid");
    assert_eq!(solution.status, Status::Solved, "{:?} {:?}", solution.info, solution.residuals);
    solution
}

/// Differences need no forward solver: the polish carries a solution to a problem nearby.
fn nearby(problem: &Conic, from: &ConicSolution) -> ConicSolution {
    let (x, s, y) = from.at_point();
    let out = problem.from_solution(x.to_vec(), s.to_vec(), y.to_vec(), &Settings::default()).expect("valid");
    assert!(out.info.polished, "the solution moved too far");
    out
}

const BLOCKS: [&str; 4] = ["P", "q", "A", "b"];

fn values(problem: &Conic, block: usize) -> Vec<f64> {
    match block {
        0 => problem.p().map_or(vec![], |p| p.values().to_vec()),
        1 => problem.q().to_vec(),
        2 => problem.a().values().to_vec(),
        _ => problem.b().to_vec(),
    }
}

fn with(problem: &Conic, block: usize, v: &[f64]) -> Conic {
    let of = |k: usize| (k == block && !(k == 0 && v.is_empty())).then_some(v);
    problem.with_values(of(0), of(1), of(2), of(3)).expect("finite")
}

fn gradient_block(g: &ConicGradient, block: usize) -> Vec<f64> {
    [&g.p, &g.q, &g.a, &g.b][block].clone().unwrap_or_default()
}

/// Entries of each block that are compared.
const SAMPLE: usize = 12;

/// Worst error of every block against central differences, relative to the largest entry of the block, at least to a
/// thousandth of the largest of all.
fn against_differences(solution: &ConicSolution, cot: &ConicCotangent<'_>, step: f64) -> [f64; 4] {
    let problem = solution.conic();
    let gradient = solution.vjp(cot, ConicWrt::ALL).expect("differentiable");
    let loss = |at: &Conic| {
        let near = nearby(at, solution);
        let (x, s, y) = near.at_point();
        dot(cot.x, x) + dot(cot.s, s) + dot(cot.y, y)
    };
    let sample = |len: usize| (0..len).step_by(len.div_ceil(SAMPLE).max(1));
    let numeric: Vec<Vec<f64>> = (0..4)
        .map(|block| {
            let own = values(problem, block);
            sample(own.len())
                .map(|i| {
                    let at = |k: f64| {
                        let mut v = own.clone();
                        v[i] += k * step;
                        if block == 0 && !problem.p_is_upper() {
                            // both triangles, so that P stays symmetric
                            let p = problem.p().expect("there is a P");
                            let entry = p.triplets().nth(i).expect("stored");
                            if entry.0 != entry.1 {
                                let mirrored =
                                    p.triplets().position(|(r, c, _)| (r, c) == (entry.1, entry.0)).expect("stored");
                                v[mirrored] += k * step;
                            }
                        }
                        loss(&with(problem, block, &v))
                    };
                    let mut slope = (at(-2.0) - 8.0 * at(-1.0) + 8.0 * at(1.0) - at(2.0)) / (12.0 * step);
                    if block == 0 && !problem.p_is_upper() {
                        let (r, c, _) = problem.p().expect("there is a P").triplets().nth(i).expect("stored");
                        slope *= if r == c { 1.0 } else { 0.5 };
                    }
                    slope
                })
                .collect()
        })
        .collect();
    let size = |v: &[f64]| v.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    let floor = 1e-3 * numeric.iter().map(|v| size(v)).fold(0.0, f64::max);
    std::array::from_fn(|block| {
        let analytic = gradient_block(&gradient, block);
        let worst = sample(analytic.len())
            .map(|i| analytic[i])
            .zip(&numeric[block])
            .fold(0.0_f64, |m, (a, b)| m.max((a - b).abs()));
        worst / size(&numeric[block]).max(floor)
    })
}

fn random_cotangent(problem: &Conic, rng: &mut Rng) -> [Vec<f64>; 3] {
    [rng.normals(problem.n()), rng.normals(problem.m()), rng.normals(problem.m())]
}

fn cotangent(v: &[Vec<f64>; 3]) -> ConicCotangent<'_> {
    ConicCotangent { x: &v[0], s: &v[1], y: &v[2], ..ConicCotangent::default() }
}

#[test]
fn gradients_agree_with_differences_on_problems_that_mix_every_cone() {
    let mut places = [0; 3];
    for seed in 0..10 {
        let instance = conic::mixed(seed);
        instance.places.iter().for_each(|p| places[*p as usize] += 1);
        let solution = instance.solution();
        assert_eq!(solution.status, Status::Solved, "{:?}", solution.residuals);
        assert_eq!(solution.verdict(), Verdict::Exact, "seed {seed}: {:?}", solution.info);
        let mut rng = Rng::new(100 + seed);
        let v = random_cotangent(&instance.problem, &mut rng);
        let errors = against_differences(&solution, &cotangent(&v), 1e-4);
        for (name, error) in BLOCKS.iter().zip(errors) {
            assert!(error <= 1e-6, "seed {seed}, block {name}: {error:.1e}");
        }
    }
    assert!(places.iter().all(|&n| n >= 15), "{places:?}");
}

#[test]
fn forward_and_reverse_mode_are_adjoint() {
    for seed in 0..20 {
        let instance = conic::mixed(seed);
        let solution = instance.solution();
        let problem = &instance.problem;
        let mut rng = Rng::new(300 + seed);
        let v = random_cotangent(problem, &mut rng);
        let gradient = solution.vjp(&cotangent(&v), ConicWrt::ALL).expect("differentiable");
        let direction: Vec<Vec<f64>> = (0..4).map(|k| rng.normals(values(problem, k).len())).collect();
        let tangent = ConicTangent {
            p: Some(&direction[0]),
            q: Some(&direction[1]),
            a: Some(&direction[2]),
            b: Some(&direction[3]),
            ..ConicTangent::default()
        };
        let out = solution.jvp(&tangent).expect("differentiable");
        let left: f64 = (0..4).map(|k| dot(&gradient_block(&gradient, k), &direction[k])).sum();
        let right = dot(&v[0], &out.x) + dot(&v[1], &out.s) + dot(&v[2], &out.y);
        assert!((left - right).abs() <= 1e-9 * left.abs().max(1.0), "seed {seed}: {left} {right}");
        // what is not asked for is not there
        let only = solution.vjp(&cotangent(&v), ConicWrt { q: true, ..ConicWrt::NONE }).expect("differentiable");
        assert!(only.q == gradient.q && only.p.is_none() && only.a.is_none() && only.b.is_none());
    }
}

/// The mixed problem without PSD cones, which need a feature.
fn without_psd(seed: u64) -> conic::ConicInstance {
    let mut rng = Rng::new(8000 + seed);
    let cones = vec![
        Cone::Zero(1),
        Cone::SecondOrder(4),
        Cone::Nonnegative(3),
        Cone::Exponential,
        Cone::DualPower(0.3),
        Cone::Power(0.7),
        Cone::DualExponential,
    ];
    let all = [Place::Inside, Place::Boundary, Place::Apex];
    let places = cones.iter().map(|_| all[rng.below(3)]).collect();
    instance(cones, places, 22, seed % 2 == 0, &mut rng)
}

#[test]
fn solves_to_the_solution_that_the_problem_was_made_from() {
    for seed in 0..10 {
        let instance = without_psd(seed);
        let solution = solved(&instance.problem);
        assert!(solution.info.polished);
        for (ours, theirs) in [(&solution.x, &instance.x), (&solution.s, &instance.s), (&solution.y, &instance.y)] {
            let scale = theirs.iter().fold(1.0_f64, |m, v| m.max(v.abs()));
            let error = ours.iter().zip(theirs).fold(0.0_f64, |m, (a, b)| m.max((a - b).abs()));
            assert!(error <= 1e-10 * scale, "seed {seed}: {error:.1e}");
        }
        assert!(solution.residuals.relative() < 1e-13, "{:?}", solution.residuals);
    }
}

#[test]
fn value_of_the_optimum_moves_with_x_and_minus_y() {
    let instance = without_psd(3);
    let (problem, solution) = (&instance.problem, solved(&instance.problem));
    let mut rng = Rng::new(9);
    let (dq, db) = (rng.normals(problem.n()), rng.normals(problem.m()));
    // the objective at the polished point, not at the given one
    let objective = |h: f64| {
        let add = |v: &[f64], d: &[f64]| v.iter().zip(d).map(|(v, d)| v + h * d).collect::<Vec<f64>>();
        let moved = problem
            .with_values(None, Some(&add(problem.q(), &dq)), None, Some(&add(problem.b(), &db)))
            .expect("finite");
        let near = nearby(&moved, &solution);
        moved.objective(near.at_point().0)
    };
    let slope = (objective(1e-4) - objective(-1e-4)) / 2e-4;
    let expected = dot(&dq, &solution.x) - dot(&db, &solution.y);
    assert!((slope - expected).abs() <= 1e-6 * expected.abs().max(1.0), "{slope} {expected}");
}

#[test]
fn softmax_is_the_maximum_of_a_linear_term_plus_entropy() {
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
    let problem =
        Conic::new(None, q, Csc::from_triplets(b.len(), 2 * n, &entries).expect("in range"), b, cones).expect("valid");
    let solution = solved(&problem);
    let total: f64 = c.iter().map(|c| c.exp()).sum();
    let p: Vec<f64> = c.iter().map(|c| c.exp() / total).collect();
    let g = [1.0, -2.0, 0.5, 3.0];
    let gradient = solution.vjp(&ConicCotangent::x(&[&g[..], &[0.0; 4]].concat()), ConicWrt::ALL).expect("smooth");
    let mean = dot(&g, &p);
    for i in 0..n {
        assert!((solution.x[i] - p[i]).abs() < 1e-13);
        let expected = -p[i] * (g[i] - mean); // dL/dc with the other sign: q = -c
        assert!((gradient.q.as_ref().expect("asked for")[i] - expected).abs() < 1e-12);
    }
    assert_eq!(solution.verdict(), Verdict::Exact);
}

#[test]
fn sparsemax_is_the_projection_onto_the_simplex() {
    let c = [0.9, 0.3, 0.75, -0.2];
    let n = c.len();
    let mut entries: Vec<_> = (0..n).map(|i| (0, i, 1.0)).collect();
    entries.extend((0..n).map(|i| (1 + i, i, -1.0)));
    let a = Csc::from_triplets(n + 1, n, &entries).expect("in range");
    let identity: Vec<_> = (0..n).map(|i| (i, i, 1.0)).collect();
    let p = Csc::from_triplets(n, n, &identity).expect("in range");
    let b = vec![1.0, 0.0, 0.0, 0.0, 0.0];
    let q = c.iter().map(|c| -c).collect();
    let problem = Conic::new(Some(p), q, a, b, vec![Cone::Zero(1), Cone::Nonnegative(n)]).expect("valid");
    let solution = solved(&problem);
    // the support is {0, 2}: threshold (0.9 + 0.75 - 1)/2
    for (x, expected) in solution.x.iter().zip([0.575, 0.0, 0.425, 0.0]) {
        assert!((x - expected).abs() < 1e-14);
    }
    let g = [1.0, 5.0, -3.0, 2.0];
    let gradient = solution.vjp(&ConicCotangent::x(&g), ConicWrt::ALL).expect("smooth");
    let q = gradient.q.expect("asked for");
    for (ours, expected) in q.iter().zip([-2.0, 0.0, 2.0, 0.0]) {
        assert!((ours - expected).abs() < 1e-13, "{q:?}");
    }
}

/// `min p/2 |x|^2 + q'x` over a ball of radius r, without and with a binding radius.
fn trust_region(q: &[f64], p: f64, radius: f64) -> Conic {
    let n = q.len();
    let a = Csc::from_triplets(n + 1, n, &(0..n).map(|i| (i + 1, i, -1.0)).collect::<Vec<_>>()).expect("in range");
    let hessian = Csc::from_triplets(n, n, &(0..n).map(|i| (i, i, p)).collect::<Vec<_>>()).expect("in range");
    let mut b = vec![0.0; n + 1];
    b[0] = radius;
    Conic::new(Some(hessian), q.to_vec(), a, b, vec![Cone::SecondOrder(n + 1)]).expect("valid")
}

#[test]
fn trust_region_has_its_closed_form() {
    let q = [3.0, -1.0, 2.0];
    let norm = dot(&q, &q).sqrt();
    let g = [0.5, 1.0, -2.0];
    let along = dot(&g, &q) / norm;
    for (p, radius) in [(1.0, 0.7), (2.0, 5.0)] {
        let solution = solved(&trust_region(&q, p, radius));
        let bound = norm > p * radius;
        let gradient = solution.vjp(&ConicCotangent::x(&g), ConicWrt::ALL).expect("smooth");
        let (dq, db) = (gradient.q.expect("asked for"), gradient.b.expect("asked for"));
        for i in 0..3 {
            let (x, expected) = if bound {
                (-radius * q[i] / norm, -radius / norm * (g[i] - along * q[i] / norm))
            } else {
                (-q[i] / p, -g[i] / p)
            };
            assert!((solution.x[i] - x).abs() < 1e-13);
            assert!((dq[i] - expected).abs() < 1e-12, "{dq:?}");
        }
        assert!((db[0] - if bound { -along } else { 0.0 }).abs() < 1e-12);
    }
}

#[test]
fn kinks_are_flagged() {
    // the unconstrained minimum lies on the sphere
    let solution = solved(&trust_region(&[3.0, 0.0, -4.0], 1.0, 5.0));
    assert_eq!(solution.verdict(), Verdict::OneOfSeveral, "{:?}", solution.info);
    assert_eq!(solution.info.weakly_active, [true]);
    assert!(solution.vjp(&ConicCotangent::x(&[1.0, 2.0, 3.0]), ConicWrt::ALL).is_ok());
    // a ball of radius 0: the multiplier of the apex is not unique, which the backward pass sees
    for q in [[0.0; 3], [3.0, 0.0, -4.0]] {
        let solution = solved(&trust_region(&q, 1.0, 0.0));
        let (_, verdict) = solution.vjps(&[ConicCotangent::x(&[1.0, 2.0, 3.0])], ConicWrt::ALL).expect("regularized");
        assert_eq!(verdict, Verdict::OneOfSeveral, "{:?}", solution.info);
    }
    // the same cone twice: multipliers are not unique
    let once = trust_region(&[3.0, -1.0, 2.0], 1.0, 0.7);
    let twice: Vec<_> = once.a().triplets().flat_map(|(i, j, v)| [(i, j, v), (i + 4, j, v)]).collect();
    let problem = Conic::new(
        once.p().cloned(),
        once.q().to_vec(),
        Csc::from_triplets(8, 3, &twice).expect("in range"),
        [once.b(), once.b()].concat(),
        vec![Cone::SecondOrder(4); 2],
    )
    .expect("valid");
    let solution = solved(&problem);
    assert_eq!(solution.verdict(), Verdict::OneOfSeveral, "{:?}", solution.info);
}

#[test]
fn a_flat_optimal_face_is_flagged_when_it_matters() {
    // min 0'x over the disk: every point is optimal
    let mut problem = trust_region(&[0.0, 0.0, 0.0], 0.0, 1.0);
    problem =
        Conic::new(None, problem.q().to_vec(), problem.a().clone(), problem.b().to_vec(), problem.cones().to_vec())
            .expect("valid");
    let solution = solved(&problem);
    let (_, verdict) = solution.vjps(&[ConicCotangent::x(&[1.0, 2.0, 3.0])], ConicWrt::ALL).expect("regularized");
    assert_ne!(verdict, Verdict::Exact);
}

#[test]
fn problems_without_solutions_have_verified_certificates() {
    // x in the disk of radius 1, and x_0 >= 2
    let entries = [(1, 0, -1.0), (2, 1, -1.0), (3, 0, -1.0)];
    let a = Csc::from_triplets(4, 2, &entries).expect("in range");
    let cones = vec![Cone::SecondOrder(3), Cone::Nonnegative(1)];
    let infeasible = Conic::new(None, vec![1.0, 1.0], a, vec![1.0, 0.0, 0.0, -2.0], cones).expect("valid");
    // min -t over (t, x) in the cone
    let entries = [(0, 0, -1.0), (1, 1, -1.0), (2, 2, -1.0)];
    let a = Csc::from_triplets(3, 3, &entries).expect("in range");
    let unbounded = Conic::new(None, vec![-1.0, 0.0, 0.0], a, vec![0.0; 3], vec![Cone::SecondOrder(3)]).expect("valid");
    let p = Csc::from_triplets(3, 3, &[(0, 0, 1.0), (1, 1, -1.0), (2, 2, 1.0)]).expect("in range");
    let concave = trust_region(&[1.0, 0.0, 0.0], 1.0, 1.0);
    let concave =
        Conic::new(Some(p), concave.q().to_vec(), concave.a().clone(), concave.b().to_vec(), concave.cones().to_vec())
            .expect("valid");
    for (problem, status) in
        [(infeasible, Status::PrimalInfeasible), (unbounded, Status::DualInfeasible), (concave, Status::NonConvex)]
    {
        let solution = problem.solve(&Settings::default()).expect("valid");
        assert_eq!(solution.status, status);
        let certificate = solution.info.certificate.as_ref().expect("a proof");
        assert!(problem.verifies(certificate) && problem.violation(certificate) < 1e-6);
        let refused = solution.vjp(&ConicCotangent::x(&vec![1.0; problem.n()]), ConicWrt::ALL);
        assert_eq!(refused, Err(Error::NoSolution { status }));
    }
}

#[test]
fn polyhedral_problems_are_quadratic_programs() {
    let mut rng = Rng::new(77);
    let cones = vec![Cone::Nonnegative(4), Cone::Zero(2), Cone::Nonnegative(3)];
    let places = vec![Place::Boundary, Place::Boundary, Place::Boundary];
    for upper in [false, true] {
        let instance = instance(cones.clone(), places.clone(), 8, upper, &mut rng);
        let solution = solved(&instance.problem);
        assert_ne!(solution.info.solver, Solver::Clarabel.name());
        let v = random_cotangent(&instance.problem, &mut rng);
        let cot = cotangent(&v);
        let ours = solution.vjp(&cot, ConicWrt::ALL).expect("smooth");
        // the general path, through a cone that is never active
        let mut entries: Vec<_> = instance.problem.a().triplets().collect();
        entries.push((9, 0, 1e-3));
        let wide = Conic::new(
            instance.problem.p().cloned(),
            instance.problem.q().to_vec(),
            Csc::from_triplets(11, 8, &entries).expect("in range"),
            [instance.problem.b(), &[100.0, 0.0]].concat(),
            [cones.clone(), vec![Cone::SecondOrder(2)]].concat(),
        )
        .expect("valid");
        let general = solved(&wide);
        let pad = |v: &[f64]| [v, &[0.0, 0.0]].concat();
        let (gs, gy) = (pad(&v[1]), pad(&v[2]));
        let theirs = general
            .vjp(&ConicCotangent { x: &v[0], s: &gs, y: &gy, ..ConicCotangent::default() }, ConicWrt::ALL)
            .expect("smooth");
        for block in [0, 1, 3] {
            let (a, b) = (gradient_block(&ours, block), gradient_block(&theirs, block));
            for (x, y) in a.iter().zip(&b) {
                assert!((x - y).abs() < 1e-9, "{}: {x} {y}", BLOCKS[block]);
            }
        }
        let errors = {
            let direction: Vec<Vec<f64>> = (0..4).map(|k| rng.normals(values(&instance.problem, k).len())).collect();
            let t = ConicTangent {
                p: Some(&direction[0]),
                q: Some(&direction[1]),
                a: Some(&direction[2]),
                b: Some(&direction[3]),
                ..ConicTangent::default()
            };
            let out = solution.jvp(&t).expect("smooth");
            let left: f64 = (0..4).map(|k| dot(&gradient_block(&ours, k), &direction[k])).sum();
            (left - dot(&v[0], &out.x) - dot(&v[1], &out.s) - dot(&v[2], &out.y)).abs()
        };
        assert!(errors < 1e-9, "{errors:.1e}");
    }
}

#[test]
fn an_updated_layer_is_a_fresh_one_and_a_batch_is_a_loop() {
    let instance = without_psd(5);
    let problem = instance.problem;
    let mut layer = ConicLayer::new(problem.clone(), Settings::default()).expect("valid");
    layer.solve().expect("valid");
    let mut rng = Rng::new(12);
    let moved = |rng: &mut Rng, v: &[f64]| v.iter().map(|v| v + 0.05 * rng.normal()).collect::<Vec<f64>>();
    let v = random_cotangent(&problem, &mut rng);
    let mut conics = Vec::new();
    for _ in 0..6 {
        let (q, b, a) =
            (moved(&mut rng, problem.q()), moved(&mut rng, problem.b()), moved(&mut rng, problem.a().values()));
        conics.push(problem.with_values(None, Some(&q), Some(&a), Some(&b)).expect("finite"));
    }
    let flat = |f: &dyn Fn(&Conic) -> Vec<f64>| conics.iter().flat_map(f).collect::<Vec<f64>>();
    let (q, a, b) = (flat(&|c| c.q().to_vec()), flat(&|c| c.a().values().to_vec()), flat(&|c| c.b().to_vec()));
    for threads in [1, 3] {
        let settings = Settings { threads, ..Settings::default() };
        let mut batch = ConicBatch::new(vec![problem.clone(); 6], settings).expect("one structure");
        batch.update(None, Some(&q), Some(&a), Some(&b)).expect("finite");
        let solutions: Vec<ConicSolution> =
            batch.solve().expect("threads").into_iter().map(|s| s.expect("valid")).collect();
        let references: Vec<&ConicSolution> = solutions.iter().collect();
        let gradients = batch.vjp(&references, &vec![cotangent(&v); 6], ConicWrt::ALL).expect("threads");
        for ((conic, solution), gradient) in conics.iter().zip(&solutions).zip(&gradients) {
            let (gradient, verdict) = gradient.as_ref().expect("smooth");
            let alone = solved(conic);
            layer.update(None, Some(conic.q()), Some(conic.a().values()), Some(conic.b())).expect("finite");
            let updated = layer.solve().expect("valid").clone();
            for other in [&alone, &updated] {
                let error = other.x.iter().zip(&solution.x).fold(0.0_f64, |m, (a, b)| m.max((a - b).abs()));
                assert!(error < 1e-11, "{error:.1e}");
            }
            let expected = alone.vjp(&cotangent(&v), ConicWrt::ALL).expect("smooth");
            for block in 1..4 {
                let (x, y) = (gradient_block(gradient, block), gradient_block(&expected, block));
                let scale = y.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
                x.iter().zip(&y).for_each(|(x, y)| assert!((x - y).abs() < 1e-8 * scale));
            }
            assert_eq!(*verdict, alone.verdict());
        }
    }
}

#[test]
fn misuse_is_refused_with_the_argument() {
    let a = || Csc::from_triplets(3, 1, &[(0, 0, -1.0)]).expect("in range");
    let new = |q: Vec<f64>, b: Vec<f64>, cones| Conic::new(None, q, a(), b, cones).map(|_| ());
    let soc = || vec![Cone::SecondOrder(3)];
    for (result, argument) in [
        (new(vec![1.0], vec![0.0; 2], soc()), "A has shape"),
        (new(vec![1.0], vec![0.0; 3], vec![Cone::SecondOrder(2)]), "cones has shape"),
        (new(vec![f64::NAN], vec![0.0; 3], soc()), "q[0] is NaN"),
        (new(vec![1.0], vec![0.0, f64::INFINITY, 0.0], soc()), "b[1] is inf"),
        (new(vec![1.0], vec![0.0; 3], vec![Cone::Power(1.5)]), "power cone = 1.5"),
    ] {
        let text = result.expect_err("refused").to_string();
        assert!(text.contains(argument), "{text}");
    }
    let psd = Conic::new(None, vec![1.0], a(), vec![1.0, 0.0, 1.0], vec![Cone::PsdTriangle(2)]).expect("valid");
    assert!((solved(&psd).x[0] + 1.0).abs() < 1e-12);
    if !cfg!(feature = "sdp") {
        let (a, b) = (Csc::from_triplets(6, 1, &[(0, 0, -1.0)]).expect("in range"), [1.0, 0.0, 1.0, 0.0, 1.0, 2.0]);
        let cones = vec![Cone::PsdTriangle(2), Cone::Exponential];
        let mixed = Conic::new(None, vec![1.0], a, b.to_vec(), cones).expect("valid");
        let text = mixed.solve(&Settings::default()).expect_err("no LAPACK").to_string();
        assert!(text.contains("sdp"), "{text}");
    }
    let smooth = Settings { smoothing: Some(1e-3), ..Settings::default() };
    assert!(matches!(psd.solve(&smooth), Err(Error::Unsupported { .. })));
    let asymmetric = Csc::from_triplets(2, 2, &[(0, 1, 1.0), (1, 0, 2.0)]).expect("in range");
    let wide = Csc::from_triplets(1, 2, &[]).expect("in range");
    let refused = Conic::new(Some(asymmetric), vec![0.0; 2], wide, vec![0.0], vec![Cone::Zero(1)]);
    assert!(matches!(refused, Err(Error::Asymmetric { .. })));
}

/// The loss at the problem moved along a direction of q, A and b, solved afresh.
fn resolved(problem: &Conic, cot: &ConicCotangent<'_>, d: &[Vec<f64>; 3], h: f64) -> Option<f64> {
    let add = |v: &[f64], d: &[f64]| v.iter().zip(d).map(|(v, d)| v + h * d).collect::<Vec<f64>>();
    let (q, a, b) = (add(problem.q(), &d[0]), add(problem.a().values(), &d[1]), add(problem.b(), &d[2]));
    let moved = problem.with_values(None, Some(&q), Some(&a), Some(&b)).expect("finite");
    let out = moved.solve(&Settings::default()).expect("valid");
    let whole = out.ok() && out.info.polished;
    whole.then(|| dot(cot.x, &out.x) + dot(cot.s, &out.s) + dot(cot.y, &out.y))
}

#[test]
fn hundreds_of_random_problems_are_solved_and_differentiated() {
    let mut compared = 0;
    for seed in 0..300 {
        let mut rng = Rng::new(90_000 + seed);
        let kinds = [
            Cone::Zero(1 + rng.below(3)),
            Cone::Nonnegative(1 + rng.below(6)),
            Cone::SecondOrder(1 + rng.below(6)),
            Cone::Exponential,
            Cone::Power(rng.between(0.05, 0.95)),
            Cone::DualExponential,
            Cone::DualPower(rng.between(0.05, 0.95)),
            Cone::SecondOrder(3),
        ];
        let cones: Vec<Cone> = (0..2 + rng.below(8)).map(|_| kinds[rng.below(8)]).collect();
        let all = [Place::Inside, Place::Boundary, Place::Apex];
        let places = cones.iter().map(|_| all[rng.below(3)]).collect();
        let rows: usize = cones.iter().map(Cone::rows).sum();
        let n = (rows as f64 * rng.between(0.4, 1.3)) as usize + 1;
        let made = instance(cones, places, n, seed % 2 == 0, &mut rng);
        let solution = solved(&made.problem);
        let scale = made.x.iter().fold(1.0_f64, |m, v| m.max(v.abs()));
        let error = solution.x.iter().zip(&made.x).fold(0.0_f64, |m, (a, b)| m.max((a - b).abs()));
        assert!(error <= 1e-7 * scale, "seed {seed}: {error:.1e}");
        let v = random_cotangent(&made.problem, &mut rng);
        let cot = cotangent(&v);
        let (gradients, verdict) = solution.vjps(&[cot], ConicWrt::ALL).expect("regularized at worst");
        let d = [rng.normals(n), rng.normals(made.problem.a().nnz()), rng.normals(rows)];
        let analytic: f64 = d.iter().zip([1, 2, 3]).map(|(d, k)| dot(d, &gradient_block(&gradients[0], k))).sum();
        // where the solution moves a thousand times as fast as the data, differences are no reference
        if verdict == Verdict::Exact && analytic.abs() < 1e3 {
            let h = 1e-5;
            let ends = (resolved(&made.problem, &cot, &d, h), resolved(&made.problem, &cot, &d, -h));
            let (Some(plus), Some(minus)) = ends else { panic!("seed {seed}: not solved nearby") };
            let error = ((plus - minus) / (2.0 * h) - analytic).abs() / analytic.abs().max(1.0);
            assert!(error <= 1e-5, "seed {seed}: {error:.1e}");
            compared += 1;
        }
    }
    assert!(compared >= 150, "{compared} compared");
}

#[test]
fn an_optimum_that_is_not_attained_has_no_exact_gradient() {
    // min z with (x, 1, z) in the exponential cone: 0, for x to minus infinity
    let a = Csc::from_triplets(3, 2, &[(0, 0, -1.0), (2, 1, -1.0)]).expect("in range");
    let problem = Conic::new(None, vec![0.0, 1.0], a, vec![0.0, 1.0, 0.0], vec![Cone::Exponential]).expect("valid");
    let solution = problem.solve(&Settings::default()).expect("valid");
    assert_ne!(solution.verdict(), Verdict::Exact, "{:?}", solution.x);
}
