//! Problems without a solution say so, with a proof that is checked here by other code than the library's.

use bpqp::{
    Certificate, Cotangent, Error, Hessian, Interrupt, Layer, Qp, Settings, Solution, Solver, Status, Verdict, Wrt,
};
use bpqp_testkit::differences::dot;
use bpqp_testkit::{Family, Rng, hard};
use faer::Mat;
use std::time::Duration;

const SOLVERS: [Solver; 4] = [Solver::Auto, Solver::InteriorPoint, Solver::Admm, Solver::Clarabel];
const PROOF: f64 = 1e-6;

fn rows(m: &bpqp::Matrix) -> Vec<Vec<f64>> {
    let m = m.to_dense();
    (0..m.nrows()).map(|i| (0..m.ncols()).map(|j| m[(i, j)]).collect()).collect()
}

/// Checks the claim of a certificate from the data, every quantity relative to the size of the vector.
fn proves(qp: &Qp, certificate: &Certificate) -> Result<(), String> {
    let n = qp.n();
    let ensure = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_owned()) };
    match certificate {
        Certificate::PrimalInfeasible(p) => {
            let size = p.y.iter().chain(&p.z).chain(&p.z_box).fold(0.0_f64, |m, v| m.max(v.abs()));
            let (a, g) = (rows(qp.a()), rows(qp.g()));
            for j in 0..n {
                let sum = p.z_box[j]
                    + a.iter().zip(&p.y).map(|(r, y)| r[j] * y).sum::<f64>()
                    + g.iter().zip(&p.z).map(|(r, z)| r[j] * z).sum::<f64>();
                ensure(sum.abs() <= PROOF * size, "A'y + G'z + z_box is not zero")?;
            }
            ensure(p.z.iter().all(|&z| z >= -PROOF * size), "z has a wrong sign")?;
            let mut value = dot(qp.b(), &p.y) + dot(qp.h(), &p.z);
            for i in 0..n {
                let bound = if p.z_box[i] > 0.0 { qp.ub()[i] } else { qp.lb()[i] };
                if p.z_box[i].abs() > PROOF * size {
                    ensure(bound.is_finite(), "z_box rests on an infinite bound")?;
                }
                value += if bound.is_finite() { bound * p.z_box[i] } else { 0.0 };
            }
            ensure(value < -1e-4 * size, "the value is not negative")
        }
        Certificate::DualInfeasible(d) => {
            let size = d.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
            let p = qp.p().to_dense();
            for i in 0..n {
                let pd: f64 = (0..n).map(|j| p[(i, j)] * d[j]).sum();
                ensure(pd.abs() <= PROOF * size, "P d is not zero")?;
                ensure(!qp.lb()[i].is_finite() || d[i] >= -PROOF * size, "d leaves through a lower bound")?;
                ensure(!qp.ub()[i].is_finite() || d[i] <= PROOF * size, "d leaves through an upper bound")?;
            }
            ensure(rows(qp.a()).iter().all(|r| dot(r, d).abs() <= PROOF * size), "A d is not zero")?;
            ensure(rows(qp.g()).iter().all(|r| dot(r, d) <= PROOF * size), "G d is positive")?;
            ensure(dot(qp.q(), d) < -1e-4 * size, "q'd is not negative")
        }
        Certificate::NonConvex(d) => {
            let (p, size) = (qp.p().to_dense(), dot(d, d).sqrt());
            let curvature: f64 = (0..n).map(|i| d[i] * (0..n).map(|j| p[(i, j)] * d[j]).sum::<f64>()).sum();
            ensure(curvature < -1e-6 * size * size, "d'P d is not negative")?;
            ensure(rows(qp.a()).iter().all(|r| dot(r, d).abs() <= 1e-8 * size), "A d is not zero")
        }
    }
}

fn expect(name: &str, qp: &Qp, status: Status) {
    for (storage, qp) in [("as given", qp.clone()), ("sparse", hard::sparsely(qp))] {
        for solver in SOLVERS {
            let name = format!("{name} ({storage}) by {}", solver.name());
            let solution = qp.solve(&Settings::with_solver(solver)).unwrap_or_else(|e| panic!("{name}: {e}"));
            if solver == Solver::Clarabel && solution.status == Status::NumericalFailure {
                // Clarabel breaks down on unbounded problems without a cone; that is no proof, and no solution either
                assert!(qp.n_inequality() == 0 && !qp.has_bounds(), "{name}");
                assert!(solution.vjp(&Cotangent::x(&vec![1.0; qp.n()]), Wrt::Q).is_err(), "{name}");
                continue;
            }
            assert_eq!(solution.status, status, "{name}");
            let certificate = solution.info.certificate.as_ref().unwrap_or_else(|| panic!("{name}: no proof"));
            proves(&qp, certificate).unwrap_or_else(|why| panic!("{name}: {why}"));
            assert!(certificate.verify(&qp), "{name}");
            no_number(&name, &solution);
        }
    }
}

/// Nothing that looks like a solution, and no gradient.
fn no_number(name: &str, solution: &Solution) {
    assert!(!solution.ok() && solution.objective.is_nan() && solution.x.iter().all(|v| v.is_nan()), "{name}");
    let outcome = solution.vjp(&Cotangent::x(&vec![1.0; solution.x.len()]), Wrt::Q);
    assert!(matches!(outcome, Err(Error::NoSolution { status }) if status == solution.status), "{name}");
}

#[test]
fn infeasible_problems_have_a_farkas_certificate() {
    for (name, qp) in hard::infeasible() {
        expect(name, &qp, Status::PrimalInfeasible);
    }
}

#[test]
fn unbounded_problems_have_a_direction() {
    for (name, qp) in hard::unbounded() {
        expect(name, &qp, Status::DualInfeasible);
    }
}

#[test]
fn non_convex_problems_have_a_direction_of_negative_curvature() {
    for (name, qp) in hard::non_convex() {
        expect(name, &qp, Status::NonConvex);
    }
}

#[test]
fn a_wrong_certificate_is_not_verified() {
    let (_, infeasible) = hard::infeasible().remove(1);
    let solvable = infeasible.clone().with_h([1.0, 1.0]).expect("valid");
    let solution = infeasible.solve(&Settings::default()).expect("valid");
    let certificate = solution.info.certificate.expect("infeasible");
    assert!(certificate.verify(&infeasible) && !certificate.verify(&solvable));
    assert!(!Certificate::DualInfeasible(vec![1.0; 8]).verify(&solvable));
    assert!(!Certificate::NonConvex(vec![1.0; 8]).verify(&solvable));
}

#[test]
fn limits_are_reported_and_not_taken_for_solutions() {
    let family = Family::all().into_iter().find(|f| f.name() == "sparse-sprows-eq-in-box").expect("listed");
    let instance = family.instance(30, 81);
    for solver in [Solver::InteriorPoint, Solver::Admm, Solver::Clarabel] {
        let few = Settings { max_iter: Some(1), polish: false, ..Settings::with_solver(solver) };
        let solution = instance.qp.solve(&few).expect("valid");
        assert_eq!(solution.status, Status::IterationLimit, "{}", solver.name());
        assert!(solution.vjp(&Cotangent::x(&[1.0; 30]), Wrt::Q).is_err());
        let brief = Settings { time_limit: Some(Duration::ZERO), polish: false, ..Settings::with_solver(solver) };
        let solution = instance.qp.solve(&brief).expect("valid");
        assert_eq!(solution.status, Status::TimeLimit, "{}", solver.name());
    }
}

#[test]
fn time_limit_and_interrupt_end_every_solver_on_every_structure() {
    let late = Settings { time_limit: Some(Duration::ZERO), ..Settings::default() };
    let interrupt = Interrupt::default();
    interrupt.request();
    let asked = Settings { interrupt: Some(interrupt), ..Settings::default() };
    for family in Family::all() {
        let qp = family.instance(12, 3).qp;
        for solver in Solver::ALL {
            for settings in [&late, &asked] {
                let solution = qp.solve(&Settings { solver, ..settings.clone() }).expect("valid");
                assert_eq!(solution.status, Status::TimeLimit, "{}, {}", family.name(), solver.name());
                assert!(solution.x.iter().all(|x| x.is_nan()));
            }
        }
    }
}

#[test]
fn a_dense_solve_ends_within_some_factorizations_of_its_limit() {
    let mut rng = Rng::new(4);
    let (n, m) = (150, 300);
    let f = rng.normal_matrix(n, n);
    let qp = Qp::new(&f * f.transpose(), rng.normals(n))
        .and_then(|qp| qp.inequality(rng.normal_matrix(m, n), rng.uniforms(m, 0.0, 1.0)))
        .expect("valid");
    let mut layer = Layer::new(qp, Settings { time_limit: Some(Duration::from_micros(1)), ..Settings::default() });
    let solution = layer.as_mut().expect("valid").solve().expect("valid");
    assert_eq!((solution.status, solution.info.iterations), (Status::TimeLimit, 0));
    // a warm start is no way around it
    let warm = bpqp::Point::zeros(solution.qp());
    assert_eq!(layer.expect("valid").solve_from(Some(&warm)).expect("valid").status, Status::TimeLimit);
}

#[test]
fn problems_without_variables_constraints_or_objective_are_solved() {
    let nothing = Qp::linear(Vec::new()).expect("valid").solve(&Settings::default()).expect("valid");
    assert!(nothing.ok() && nothing.x.is_empty() && nothing.objective == 0.0);
    let feasibility = Qp::linear(vec![0.0; 2]).and_then(|qp| qp.bounds([1.0, -1.0], [2.0, 1.0])).expect("valid");
    for solver in SOLVERS {
        let solution = feasibility.solve(&Settings::with_solver(solver)).expect("valid");
        assert!(solution.ok(), "{}: {}", solver.name(), solution.status);
        assert!(solution.x[0] >= 1.0 - 1e-8 && solution.x[0] <= 2.0 + 1e-8, "{}", solver.name());
    }
}

/// What a problem was made to be.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Solvable,
    Infeasible,
    Unbounded,
}

/// A problem of a known kind whose rows, variables and cost have units spread over `10^-spread..10^spread`: powers of two,
/// so that the kind survives to the last bit.
fn of_all_scales(kind: Kind, spread: f64, rng: &mut Rng) -> Qp {
    let n = 1 + rng.below(5);
    let (m, rows) = (rng.below(n), 1 + rng.below(2 * n));
    let rank = if rng.uniform() < 0.5 { 0 } else { rng.below(n + 1) };
    let f = rng.normal_matrix(n, rank);
    let mut p = Mat::from_fn(n, n, |i, j| (0..rank).map(|r| f[(i, r)] * f[(j, r)]).sum::<f64>());
    let mut c = rng.normal_matrix(m + rows, n);
    let (x, mut q) = (rng.normals(n), rng.normals(n));
    if kind == Kind::Unbounded {
        // along the first variable nothing resists
        q[0] = -q[0].abs();
        (0..n).for_each(|i| (p[(0, i)], p[(i, 0)]) = (0.0, 0.0));
        for i in 0..m + rows {
            c[(i, 0)] = if i < m || rng.uniform() < 0.5 { 0.0 } else { -c[(i, 0)].abs() };
        }
    }
    let row = |c: &Mat<f64>, i: usize| (0..n).map(|j| c[(i, j)] * x[j]).sum::<f64>();
    let mut right: Vec<f64> = (0..m + rows).map(|i| row(&c, i)).collect();
    right[m..].iter_mut().for_each(|h| *h += rng.uniform());
    let multipliers: Vec<f64> = (0..m + rows).map(|i| if i < m { rng.normal() } else { rng.uniform() }).collect();
    match kind {
        // stationary somewhere, with multipliers of the right sign: bounded from below
        Kind::Solvable => {
            for j in 0..n {
                q[j] = -(0..n).map(|i| p[(i, j)] * x[i]).sum::<f64>();
                q[j] -= (0..m + rows).map(|i| c[(i, j)] * multipliers[i]).sum::<f64>();
            }
        }
        // the last row contradicts a combination of the others
        Kind::Infeasible => {
            let last = m + rows - 1;
            (0..n).for_each(|j| c[(last, j)] = -(0..last).map(|i| c[(i, j)] * multipliers[i]).sum::<f64>());
            right[last] = -(0..last).map(|i| right[i] * multipliers[i]).sum::<f64>() - 0.5;
        }
        Kind::Unbounded => {}
    }
    let unit = |rng: &mut Rng| 10f64.powf(rng.between(-spread, spread)).log2().round().exp2();
    let (columns, cost): (Vec<f64>, f64) = ((0..n).map(|_| unit(rng)).collect(), unit(rng));
    for (i, right) in right.iter_mut().enumerate() {
        let own = unit(rng);
        *right *= own;
        (0..n).for_each(|j| c[(i, j)] *= own * columns[j]);
    }
    let p = match rank {
        0 => Hessian::Zero(n),
        _ => Hessian::from(Mat::from_fn(n, n, |i, j| p[(i, j)] * columns[i] * columns[j] * cost)),
    };
    let q: Vec<f64> = q.iter().zip(&columns).map(|(q, u)| q * u * cost).collect();
    let (a, g) = (c.subrows(0, m).to_owned(), c.subrows(m, rows).to_owned());
    Qp::new(p, q)
        .and_then(|qp| qp.equality(a, &right[..m]))
        .and_then(|qp| qp.inequality(g, &right[m..]))
        .expect("valid")
}

#[test]
fn no_scale_of_rows_variables_or_cost_makes_a_wrong_claim() {
    let mut rng = Rng::new(1803);
    for spread in [0.0, 2.0, 4.0, 6.0] {
        let mut decided = 0;
        let count = 600;
        for k in 0..count {
            let kind = [Kind::Solvable, Kind::Infeasible, Kind::Unbounded][k % 3];
            let qp = of_all_scales(kind, spread, &mut rng);
            for solver in SOLVERS {
                let solution = qp.solve(&Settings::with_solver(solver)).expect("valid");
                let (status, verdict) = (solution.status, solution.verdict());
                let what = format!("{kind:?} {k} of spread {spread} by {}: {status}, {verdict:?}", solver.name());
                let verified = solution.ok() && verdict != Verdict::Untrusted;
                let wrong = match kind {
                    Kind::Solvable => matches!(status, Status::PrimalInfeasible | Status::DualInfeasible),
                    // an infeasible problem may well have a direction of descent without end, too
                    Kind::Infeasible => verified,
                    Kind::Unbounded => verified || status == Status::PrimalInfeasible,
                };
                assert!(!wrong, "{what}");
                if solver == Solver::Auto {
                    let none = matches!(status, Status::PrimalInfeasible | Status::DualInfeasible);
                    decided += usize::from(if kind == Kind::Solvable { verified } else { none });
                }
            }
        }
        let least = if spread < 5.0 { 98 * count / 100 } else { 90 * count / 100 };
        assert!(decided >= least, "spread {spread}: {decided} of {count} decided");
    }
}
