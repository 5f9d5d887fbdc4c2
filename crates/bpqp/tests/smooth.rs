//! Smooth programs: the problems of Hock and Schittkowski with their optima and the gradients of their constants; and points
//! that are no solutions.

use bpqp::smooth::{self, Dual, DualNum, DualProgram, Expansion, Functions, LocalSolution, SmoothLayer, SmoothProgram};
use bpqp::{Cotangent, Error, Settings, Solver, Status, Verdict};
use bpqp_testkit::Rng;
use bpqp_testkit::hock_schittkowski::{Problem, problems};

type Program = DualProgram<fn(&[Dual], &[Dual]) -> Functions>;

fn program(problem: &Problem, p: Vec<f64>) -> Program {
    let made: Program = DualProgram::new(problem.x0.len(), p, problem.functions);
    made.bounded(problem.lb.clone(), problem.ub.clone())
}

fn near(a: f64, b: f64, tolerance: f64) -> bool {
    (a - b).abs() <= tolerance * b.abs().max(1.0)
}

fn cotangent(of: &LocalSolution, rng: &mut Rng) -> Cotangent {
    Cotangent {
        x: rng.normals(of.x.len()),
        y: rng.normals(of.y.len()),
        z: rng.normals(of.z.len()),
        z_box: rng.normals(of.x.len()),
        objective: rng.normal(),
        ..Cotangent::default()
    }
}

/// The worst error of the gradient by the parameters against central differences of re-solves, relative to the largest entry;
/// `None` where the set of active rows changes within the step.
fn against_differences(problem: &Problem, at: &LocalSolution, cot: &Cotangent, gradient: &[f64]) -> Option<f64> {
    let model = at.model().expect("a solution");
    let mut numeric = Vec::new();
    for k in 0..problem.p.len() {
        let step = 2e-5 * problem.p[k].abs().max(1e-2);
        let mut losses = Vec::new();
        for place in [-2.0, -1.0, 1.0, 2.0] {
            let mut p = problem.p.clone();
            p[k] += place * step;
            let start = Some((&at.y[..], &at.z[..]));
            let there = smooth::solve(&mut program(problem, p), &at.x, start, &Settings::default()).expect("valid");
            let own = there.model()?.active();
            if !there.ok() || own.g != model.active().g || own.bound != model.active().bound {
                return None;
            }
            losses.push(there.loss(cot));
        }
        numeric.push((losses[0] - 8.0 * losses[1] + 8.0 * losses[2] - losses[3]) / (12.0 * step));
    }
    let size = numeric.iter().fold(1e-3_f64, |m, v| m.max(v.abs()));
    Some(numeric.iter().zip(gradient).fold(0.0_f64, |m, (a, b)| m.max((a - b).abs())) / size)
}

#[test]
fn problems_of_hock_and_schittkowski_have_their_optima_and_gradients() {
    let (mut exact, mut all, mut failures) = (0, 0, Vec::new());
    for problem in problems() {
        all += 1;
        let name = problem.number;
        let mut own = program(&problem, problem.p.clone());
        let mut rng = Rng::new(u64::from(name));
        let mut solution = smooth::solve(&mut own, &problem.x0, None, &Settings::default()).expect("valid");
        let first = (solution.status, solution.objective);
        // another local solution is another right answer: the published one is found from some start nearby
        for _ in 0..20 {
            if solution.ok() && near(solution.objective, problem.best, 2e-7) {
                break;
            }
            let start: Vec<f64> = problem.x0.iter().map(|x| x + rng.normal() * x.abs().max(1.0)).collect();
            solution = smooth::solve(&mut own, &start, None, &Settings::default()).expect("valid");
        }
        println!("{name}: {} steps, {first:?} {:?}", solution.iterations, solution.verdict());
        if !solution.ok() {
            failures.push(format!("{name}: {} {:?}", solution.status, solution.reason));
            continue;
        }
        if !near(solution.objective, problem.best, 2e-7) {
            failures.push(format!("{name}: {} at {:?}, published {}", solution.objective, solution.x, problem.best));
        }
        let cot = cotangent(&solution, &mut rng);
        let gradient = solution.vjp(&mut own, &cot).expect("a solution");
        if gradient.verdict == Verdict::Exact {
            exact += 1;
            match against_differences(&problem, &solution, &cot, &gradient.parameters) {
                Some(error) if error <= 1e-6 => {}
                other => failures.push(format!("{name}: gradient is off by {other:?}")),
            }
        } else {
            println!("{name}: {}", gradient.verdict);
        }
        let along = rng.normals(problem.p.len());
        let (lb, ub) = (rng.normals(solution.x.len()), rng.normals(solution.x.len()));
        let t = solution.jvp(&mut own, &along, (&lb, &ub)).expect("a solution");
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let forward = dot(&t.x, &cot.x)
            + dot(&t.y, &cot.y)
            + dot(&t.z, &cot.z)
            + dot(&t.z_box, &cot.z_box)
            + t.objective * cot.objective;
        let backward = dot(&gradient.parameters, &along) + dot(&gradient.lb, &lb) + dot(&gradient.ub, &ub);
        if gradient.verdict == Verdict::Exact && !near(forward, backward, 1e-7) {
            failures.push(format!("{name}: modes {forward} {backward}"));
        }
    }
    assert!(failures.is_empty(), "{} of {all}:\n{}", failures.len(), failures.join("\n"));
    assert!(all >= 50 && exact >= 45, "{exact} of {all}");
}

#[test]
fn the_interior_point_finds_the_same_optima() {
    let chosen = Settings::with_solver(Solver::InteriorPoint);
    let (mut all, mut own, mut failures) = (0, 0, Vec::new());
    for problem in problems() {
        all += 1;
        let name = problem.number;
        let mut rng = Rng::new(u64::from(name));
        let mut start = problem.x0.clone();
        for attempt in 0..20 {
            let found = smooth::solve(&mut program(&problem, problem.p.clone()), &start, None, &chosen).expect("valid");
            if attempt == 0 {
                println!("{name}: {} {} steps, {} {}", found.status, found.iterations, found.objective, problem.best);
            }
            if found.ok() && near(found.objective, problem.best, 2e-7) {
                own += usize::from(attempt == 0);
                break;
            }
            if attempt == 19 {
                failures.push(format!("{name}: {} {:?}, published {}", found.objective, found.status, problem.best));
            }
            start = problem.x0.iter().map(|x| x + rng.normal() * x.abs().max(1.0)).collect();
        }
    }
    println!("{own} of {all} from their own start");
    assert!(failures.is_empty(), "{} of {all}:\n{}", failures.len(), failures.join("\n"));
    assert!(own >= 60, "{own} of {all}");
}

fn settings() -> Settings {
    Settings::default()
}

type Closure = fn(&[Dual], &[Dual]) -> Functions;

fn solve(n: usize, x0: &[f64], functions: Closure) -> LocalSolution {
    smooth::solve(&mut DualProgram::new(n, vec![], functions), x0, None, &settings()).expect("valid")
}

#[test]
fn what_is_no_local_solution_has_its_status_and_no_gradient() {
    let refused = |s: &LocalSolution| {
        let mut nothing = DualProgram::new(s.x.len(), vec![], |x: &[Dual], _: &[Dual]| (x[0], vec![], vec![]));
        let found = s.vjp(&mut nothing, &Cotangent { objective: 1.0, ..Cotangent::default() });
        assert_eq!(found, Err(Error::NoSolution { status: s.status }));
    };
    // a saddle point and a maximum, from where they are
    let saddle = solve(2, &[0.0, 0.0], |x, _| (x[0].powi(2) - x[1].powi(2), vec![], vec![]));
    assert_eq!(saddle.status, Status::NotAMinimum);
    assert!(saddle.direction.as_ref().is_some_and(|d| d[0].abs() < 1e-9 && d[1].abs() == 1.0));
    refused(&saddle);
    let top = solve(1, &[0.0], |x, _| (x[0].cos(), vec![], vec![]));
    assert_eq!(top.status, Status::NotAMinimum);
    // on a circle the far point is a maximum of the distance
    let far = solve(2, &[-1.0, 0.0], |x, _| {
        ((x[0] - 2.0).powi(2) + x[1].powi(2), vec![x[0].powi(2) + x[1].powi(2) - 1.0], vec![])
    });
    assert_eq!(far.status, Status::NotAMinimum, "{:?}", far.x);
    // curvature that falls along a weakly active row only, and none at all: solved, and never called a minimum
    let weak = smooth::solve(
        &mut DualProgram::new(2, vec![], |x: &[Dual], _: &[Dual]| (x[0].powi(2) - x[1].powi(2), vec![], vec![-x[1]])),
        &[0.0, 0.0],
        None,
        &settings(),
    )
    .expect("valid");
    assert!(
        weak.status == Status::Solved && weak.verdict() == Verdict::Untrusted,
        "{} {:?}",
        weak.status,
        (weak.verdict(), &weak.reason)
    );
    let flat = solve(1, &[1.0], |x, _| (x[0].powi(4), vec![], vec![]));
    assert!(
        flat.status == Status::Solved && flat.verdict() == Verdict::Untrusted,
        "{} {}",
        flat.status,
        flat.verdict()
    );
    // contradictions, no bottom, NaN at the start and everywhere else
    let empty = solve(1, &[3.0], |x, _| (x[0], vec![], vec![x[0].powi(2) + 1.0]));
    assert_eq!(empty.status, Status::LocallyInfeasible, "{:?}", empty.reason);
    refused(&empty);
    let endless = solve(1, &[0.0], |x, _| (x[0], vec![], vec![]));
    assert_eq!(endless.status, Status::Unbounded, "{:?}", endless.reason);
    let outside = solve(1, &[-1.0], |x, _| (x[0].ln(), vec![], vec![]));
    assert_eq!(outside.status, Status::NumericalFailure);
    assert!(outside.reason.as_ref().is_some_and(|r| r.contains("f is NaN at x0")), "{:?}", outside.reason);
    let broken = solve(1, &[1.0], |x, _| (x[0].powi(2), vec![(x[0] - 2.0).sqrt() * 0.0], vec![]));
    assert!(broken.reason.as_ref().is_some_and(|r| r.contains("c[0] is NaN")), "{:?}", broken.reason);
    // the domain ends on the way: shorter steps
    let log = solve(1, &[3.0], |x, _| (x[0] - x[0].ln(), vec![], vec![]));
    assert!(log.status == Status::Solved && near(log.x[0], 1.0, 1e-9), "{} {:?}", log.status, log.x);
    let wrong = smooth::solve(
        &mut DualProgram::new(2, vec![], |x: &[Dual], _: &[Dual]| (x[0], vec![], vec![])),
        &[1.0],
        None,
        &settings(),
    );
    assert!(matches!(wrong, Err(Error::Shape { argument: "x0", .. })), "{wrong:?}");
}

#[test]
fn solutions_from_elsewhere_are_polished_and_differentiated() {
    for problem in problems() {
        let mut own = program(&problem, problem.p.clone());
        let solution = smooth::solve(&mut own, &problem.x0, None, &settings()).expect("valid");
        if solution.verdict() != Verdict::Exact {
            continue;
        }
        let mut rng = Rng::new(5);
        let off: Vec<f64> = solution.x.iter().map(|x| x + 1e-6 * rng.normal() * x.abs().max(1.0)).collect();
        let again = smooth::from_local_solution(&mut own, &off, None, &settings()).expect("valid");
        assert!(again.ok(), "{}: {} {:?}", problem.number, again.status, again.reason);
        let worst = again.x.iter().zip(&solution.x).fold(0.0_f64, |m, (a, b)| m.max((a - b).abs() / b.abs().max(1.0)));
        assert!(worst < 1e-8, "{}: {worst}", problem.number);
    }
}

#[test]
fn random_starts_end_in_a_local_solution_or_say_why_not() {
    let mut ends = std::collections::BTreeMap::new();
    for problem in problems() {
        for seed in 0..20 {
            let mut rng = Rng::new(1000 * u64::from(problem.number) + seed);
            let start: Vec<f64> = problem.x0.iter().map(|x| x + rng.normal() * x.abs().max(1.0)).collect();
            let mut own = program(&problem, problem.p.clone());
            let solution = smooth::solve(&mut own, &start, None, &settings()).expect("valid");
            *ends.entry(solution.status.name()).or_insert(0) += 1;
            if !solution.ok() {
                continue;
            }
            // a local solution is feasible, and no feasible point nearby is lower
            let own_f = solution.objective;
            let gaps = |x: &[f64], own: &mut Program| {
                let xs: Vec<Dual> = x.iter().map(|v| Dual::from(*v)).collect();
                let ps: Vec<Dual> = problem.p.iter().map(|v| Dual::from(*v)).collect();
                let _ = own;
                let (f, c, g) = (problem.functions)(&xs, &ps);
                let gap = c.iter().map(|c| c.re.abs()).chain(g.iter().map(|g| g.re.max(0.0))).fold(0.0_f64, f64::max);
                (f.re, gap)
            };
            let (_, gap) = gaps(&solution.x, &mut own);
            assert!(gap <= 1e-6, "{} seed {seed}: {gap}", problem.number);
            if solution.verdict() == Verdict::Exact {
                let cot = cotangent(&solution, &mut rng);
                let gradient = solution.vjp(&mut own, &cot).expect("a solution");
                if gradient.verdict == Verdict::Exact && seed < 4 {
                    let error = against_differences(&problem, &solution, &cot, &gradient.parameters);
                    assert!(error.is_none_or(|e| e <= 1e-5), "{} seed {seed}: {error:?} {own_f}", problem.number);
                }
            }
        }
    }
    println!("{ends:?}");
    assert!(ends["solved"] >= 1200, "{ends:?}");
}

/// One layer for all problems, whatever their structure, twice each: the second time from the solution.
#[test]
fn a_layer_has_the_numbers_of_single_solves() {
    let mut layer = SmoothLayer::new(Settings::default()).expect("valid");
    let nothing = layer.vjp(&mut program(&problems()[0], problems()[0].p.clone()), &Cotangent::x(&[1.0]));
    assert!(matches!(nothing, Err(Error::NoSolution { .. })), "nothing was solved");
    let (mut compared, mut failures) = (0, Vec::new());
    for problem in problems() {
        let mut own = program(&problem, problem.p.clone());
        let single = smooth::solve(&mut own, &problem.x0, None, &Settings::default()).expect("valid");
        if !single.ok() {
            continue;
        }
        let cot = cotangent(&single, &mut Rng::new(u64::from(problem.number)));
        let expected = single.vjp(&mut own, &cot).expect("a solution");
        for warm in [false, true] {
            let (x0, start) =
                if warm { (&single.x, Some((&single.y[..], &single.z[..]))) } else { (&problem.x0, None) };
            let found = layer.solve(&mut own, x0, start).expect("valid");
            let size = single.x.iter().fold(1.0_f64, |m, x| m.max(x.abs()));
            let off = found.x.iter().zip(&single.x).fold(0.0_f64, |m, (a, b)| m.max((a - b).abs())) / size;
            let (status, verdict) = (found.status, found.verdict());
            if single.verdict() != Verdict::Exact {
                continue;
            }
            compared += 1;
            let gradient = layer.vjp(&mut own, &cot).expect("a solution");
            let size = expected.parameters.iter().fold(1e-3_f64, |m, v| m.max(v.abs()));
            let pairs = gradient.parameters.iter().zip(&expected.parameters);
            let wrong = pairs.fold(0.0_f64, |m, (a, b)| m.max((a - b).abs())) / size;
            if !(status.ok() && off <= 1e-9 && wrong <= 1e-7 && verdict == Verdict::Exact) {
                failures.push(format!("{}, warm {warm}: {status} {verdict}, off {off:e}, {wrong:e}", problem.number));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(compared >= 80, "{compared}");
}

/// Derivatives of shapes that are not those of the program are misuse, which names the argument.
#[test]
fn derivatives_of_other_shapes_are_refused() {
    struct Wrong(Program, &'static str);
    impl SmoothProgram for Wrong {
        fn bounds(&self) -> (&[f64], &[f64]) {
            self.0.bounds()
        }
        fn values(&mut self, x: &[f64]) -> Result<smooth::Values, Error> {
            self.0.values(x)
        }
        fn expand(&mut self, at: smooth::At<'_>) -> Result<Expansion, Error> {
            let mut out = self.0.expand(at)?;
            let wide = bpqp::Matrix::from(bpqp::faer::Mat::zeros(1, 3));
            match self.1 {
                "gradient" => out.gradient.push(0.0),
                "equality" => out.equality = wide,
                "inequality" => out.inequality = wide,
                _ => out.hessian = bpqp::Hessian::from(bpqp::faer::Mat::zeros(2, 3)),
            }
            Ok(out)
        }
        fn pull(&mut self, at: smooth::At<'_>, w: &[f64], u: (&[f64], &[f64]), t: f64) -> Result<Vec<f64>, Error> {
            self.0.pull(at, w, u, t)
        }
        fn push(&mut self, at: smooth::At<'_>, direction: &[f64]) -> Result<smooth::Pushed, Error> {
            self.0.push(at, direction)
        }
    }
    for which in ["gradient", "equality", "inequality", "hessian"] {
        let bowl: fn(&[Dual], &[Dual]) -> Functions = |x, p| (x[0].powi(2) + (x[1] - p[0]).powi(2), vec![], vec![]);
        let mut wrong = Wrong(DualProgram::new(2, vec![1.0], bowl), which);
        let error = smooth::solve(&mut wrong, &[0.0, 0.0], None, &Settings::default()).expect_err("misuse");
        assert!(error.to_string().contains(which), "{which}: {error}");
    }
}
