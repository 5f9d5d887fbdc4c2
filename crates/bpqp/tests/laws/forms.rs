//! One program, however it is stated: as a quadratic program, with an idle cone beside it, in the conic form, with rows of
//! other scales. Same status, same verdict, same point, same gradients.

use crate::report;
use bpqp::{
    Cone, Conic, ConicCotangent, ConicWrt, Cotangent, Csc, Face, Hessian, Layer, Matrix, Qp, Settings, Status, Verdict,
    Wrt,
};
use bpqp_testkit::differences::random_cotangent;
use bpqp_testkit::{Family, Rng};

/// Relative to the largest entry of a block.
const SAME: f64 = 1e-10;

/// An error relative to the largest entry, or to a number of its own where that is small.
fn off(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len(), "lengths differ");
    let size = b.iter().fold(1e-3_f64, |m, v| m.max(v.abs()));
    a.iter().zip(b).fold(0.0, |m, (a, b)| if (a - b).is_nan() { f64::NAN } else { f64::max(m, (a - b).abs() / size) })
}

fn dense(p: &Hessian) -> Vec<f64> {
    let m = p.to_dense();
    (0..m.ncols()).flat_map(|j| m.col_as_slice(j).to_vec()).collect()
}

fn entries(m: &Matrix) -> Vec<f64> {
    let mut out = Vec::new();
    m.for_each(|_, _, v| out.push(v));
    out
}

/// With a cone of three variables of its own constants: inside, whatever x is.
fn with_idle_cone(qp: &Qp) -> Qp {
    let n = qp.n();
    let rows = if qp.a().is_sparse() || qp.g().is_sparse() {
        Matrix::Sparse(Csc::from_triplets(3, n, &[]).expect("no entries"))
    } else {
        Matrix::from_rows(3, n, &vec![0.0; 3 * n]).expect("shape")
    };
    qp.clone().cone(Cone::SecondOrder(3), rows, vec![1.0, 0.0, 0.0]).expect("valid")
}

/// The same inequalities in other units.
fn with_scaled_inequalities(qp: &Qp, factor: impl Fn(usize) -> f64) -> Qp {
    let g = match qp.g() {
        Matrix::Dense(m) => Matrix::from(faer::Mat::from_fn(m.nrows(), m.ncols(), |i, j| m[(i, j)] * factor(i))),
        Matrix::Sparse(m) => {
            let entries: Vec<_> = m.triplets().map(|(i, j, v)| (i, j, v * factor(i))).collect();
            Matrix::Sparse(Csc::from_triplets(m.nrows(), m.ncols(), &entries).expect("in range"))
        }
    };
    let h: Vec<f64> = qp.h().iter().enumerate().map(|(i, h)| h * factor(i)).collect();
    qp.clone().inequality(g, h).expect("valid")
}

/// The rows `A x = b`, `G x <= h`, upper and lower bounds, each inequality times a factor; and where each part begins.
fn as_conic(qp: &Qp, factor: impl Fn(usize) -> f64) -> (Conic, Vec<f64>) {
    let n = qp.n();
    let mut rows = Vec::new();
    let mut b = qp.b().to_vec();
    qp.a().for_each(|i, j, v| rows.push((i, j, v)));
    let first = b.len();
    qp.g().for_each(|i, j, v| rows.push((first + i, j, v)));
    b.extend_from_slice(qp.h());
    for j in 0..n {
        for (sign, bound) in [(1.0, qp.ub()[j]), (-1.0, qp.lb()[j])] {
            if bound.is_finite() {
                rows.push((b.len(), j, sign));
                b.push(sign * bound);
            }
        }
    }
    let factors: Vec<f64> = (0..b.len()).map(|i| if i < first { 1.0 } else { factor(i) }).collect();
    rows.iter_mut().for_each(|(i, _, v)| *v *= factors[*i]);
    b.iter_mut().zip(&factors).for_each(|(b, f)| *b *= f);
    let cones = vec![Cone::Zero(first), Cone::Nonnegative(b.len() - first)];
    let a = Csc::from_triplets(b.len(), n, &rows).expect("in range");
    let p = (!qp.p().is_zero()).then(|| Csc::from_dense(&qp.p().to_dense()));
    (Conic::new(p, qp.q().to_vec(), a, b, cones).expect("valid"), factors)
}

#[test]
fn an_idle_cone_changes_nothing() {
    let mut failures = Vec::new();
    for family in Family::all() {
        for seed in 0..3 {
            let instance = family.instance(12, seed);
            let mut rng = Rng::new(seed);
            let cot = random_cotangent(&instance.qp, &mut rng);
            let alone = instance.qp.solve(&Settings::default()).expect("valid");
            let beside = with_idle_cone(&instance.qp).solve(&Settings::default()).expect("valid");
            if (alone.status, alone.verdict()) != (beside.status, beside.verdict()) {
                failures.push(format!("{}: {} {} {}", instance.name, beside.status, alone.verdict(), beside.verdict()));
                continue;
            }
            let (g, h) = (alone.vjp(&cot, Wrt::ALL).expect("solved"), beside.vjp(&cot, Wrt::ALL).expect("solved"));
            let vector = |a: &Option<Vec<f64>>, b: &Option<Vec<f64>>| {
                off(b.as_ref().expect("there"), a.as_ref().expect("there"))
            };
            let matrix = |a: &Option<Matrix>, b: &Option<Matrix>| {
                off(&entries(b.as_ref().expect("there")), &entries(a.as_ref().expect("there")))
            };
            let errors = [
                ("x", off(&beside.x, &alone.x)),
                ("z", off(&beside.z, &alone.z)),
                ("P", off(&dense(h.p.as_ref().expect("there")), &dense(g.p.as_ref().expect("there")))),
                ("q", vector(&g.q, &h.q)),
                ("A", matrix(&g.a, &h.a)),
                ("b", vector(&g.b, &h.b)),
                ("G", matrix(&g.g, &h.g)),
                ("h", vector(&g.h, &h.h)),
                ("lb", vector(&g.lb, &h.lb)),
                ("ub", vector(&g.ub, &h.ub)),
                ("d", h.d.as_ref().expect("there").iter().fold(0.0, |m, v| f64::max(m, v.abs()))),
            ];
            let wrong = errors.iter().filter(|(_, e)| e.is_nan() || *e > SAME);
            failures.extend(wrong.map(|(what, e)| format!("{} {what}: {e:.1e}", instance.name)));
            assert_eq!(beside.active().cone_faces(beside.qp().cones()).collect::<Vec<_>>(), [Face::Interior]);
        }
    }
    report(&failures);
}

#[test]
fn the_conic_form_has_the_answers_of_the_quadratic_program_in_any_units_of_its_rows() {
    let mut failures = Vec::new();
    for family in Family::all() {
        for (seed, scale) in [(0, 1.0), (1, 1e-10), (2, 1e10)] {
            let instance = family.instance(12, seed);
            let factor = |i: usize| if i % 2 == 0 { scale } else { 1.0 };
            let first = instance.qp.n_equality();
            let qp = &with_scaled_inequalities(&instance.qp, |i| factor(first + i));
            let (conic, factors) = as_conic(qp, |i| if i < first + qp.n_inequality() { 1.0 } else { factor(i) });
            let own = qp.solve(&Settings::default()).expect("valid");
            let other = conic.solve(&Settings::default()).expect("valid");
            if (own.status, own.verdict()) != (other.status, other.verdict()) {
                failures.push(format!("{} x {scale:e}: {} {}", instance.name, other.status, other.verdict()));
                continue;
            }
            let dx = Rng::new(seed).normals(qp.n());
            let g = own.vjp(&Cotangent { objective: 0.5, ..Cotangent::x(&dx) }, Wrt::ALL).expect("solved");
            let cot = ConicCotangent { objective: 0.5, ..ConicCotangent::x(&dx) };
            let h = other.vjp(&cot, ConicWrt::ALL).expect("solved");
            // the right-hand sides in the order of the rows
            let mut b = g.b.clone().expect("there");
            b.extend(g.h.as_ref().expect("there"));
            let (ub, lb) = (g.ub.as_ref().expect("there"), g.lb.as_ref().expect("there"));
            for j in 0..qp.n() {
                b.extend(qp.ub()[j].is_finite().then(|| ub[j]));
                b.extend(qp.lb()[j].is_finite().then(|| -lb[j]));
            }
            let theirs: Vec<f64> = h.b.expect("there").iter().zip(&factors).map(|(v, f)| v * f).collect();
            let y: Vec<f64> = own.y.iter().chain(&own.z).copied().collect();
            let ours: Vec<f64> = other.y.iter().zip(&factors).map(|(y, f)| y * f).collect();
            let errors = [
                ("x", off(&other.x, &own.x)),
                ("y", off(&ours[..y.len()], &y)),
                ("q", off(&h.q.expect("there"), g.q.as_ref().expect("there"))),
                ("b", off(&theirs, &b)),
                ("objective", (other.objective - own.objective).abs() / (1.0 + own.objective.abs())),
            ];
            let wrong = errors.iter().filter(|(_, e)| e.is_nan() || *e > SAME);
            failures.extend(wrong.map(|(what, e)| format!("{} x {scale:e} {what}: {e:.1e}", instance.name)));
        }
    }
    report(&failures);
}

/// `x_1 <= 0.4` and `x_1 >= 0.6` in rows of any size, alone and beside a cone, as rows and as bounds.
#[test]
fn contradictory_rows_have_no_solution_in_any_form() {
    for scale in [1e-10, 1.0, 1e10] {
        let p = || Csc::from_triplets(2, 2, &[(0, 0, 1.0), (1, 1, 1.0)]).expect("in range");
        for cone in [None, Some(Cone::SecondOrder(2))] {
            let rows = 2 + cone.map_or(0, |c| c.rows());
            let a = Csc::from_triplets(rows, 2, &[(0, 0, scale), (1, 0, -scale)]).expect("in range");
            let b = [&[0.4 * scale, -0.6 * scale][..], &[1.0, 0.0][..rows - 2]].concat();
            let cones = [Some(Cone::Nonnegative(2)), cone].into_iter().flatten().collect();
            let conic = Conic::new(Some(p()), vec![0.0; 2], a, b, cones).expect("valid");
            let solution = conic.solve(&Settings::default()).expect("valid");
            assert_eq!(solution.status, Status::PrimalInfeasible, "{scale:e} {cone:?}");
            assert!(conic.verifies(solution.info.certificate.as_ref().expect("a proof")), "{scale:e} {cone:?}");
        }
        // two variables a row: no bounds to recognize
        let g = Matrix::from_rows(2, 2, &[scale, scale, -scale, -scale]).expect("shape");
        let qp = Qp::new(Hessian::Diagonal(vec![1.0; 2]), vec![0.0; 2]).expect("valid");
        let qp = qp.inequality(g, vec![0.4 * scale, -0.6 * scale]).expect("valid");
        for qp in [qp.clone(), with_idle_cone(&qp)] {
            let solution = qp.solve(&Settings::default()).expect("valid");
            assert_eq!(solution.status, Status::PrimalInfeasible, "{scale:e}, {} cones", qp.cones().len());
            assert!(solution.info.certificate.as_ref().expect("a proof").verify(&qp));
        }
    }
}

/// Every kind of Hessian and of rows around a ball, with a bound and a budget, against central differences in everything.
#[test]
fn cones_go_with_bounds_rows_and_every_hessian() {
    let n = 5;
    let mut rng = Rng::new(11);
    let f = rng.normal_matrix(n, 2);
    let root = rng.normal_matrix(n, n);
    let full = &root * root.transpose();
    let hessians = [
        Hessian::from(full.clone()),
        Hessian::Sparse(Csc::from_dense(&full)),
        Hessian::Diagonal(vec![1.0, 2.0, 0.5, 1.5, 1.0]),
        Hessian::low_rank(vec![0.5; n], f).expect("shape"),
        Hessian::Zero(n),
    ];
    let q = rng.normals(n);
    let (mut bounds, mut boundaries) = (0, 0);
    for (k, p) in hessians.into_iter().enumerate() {
        for sparse in [false, true] {
            // |x| <= 0.4 as a second-order cone, exp(x_0) <= 2 as an exponential one
            let mut c = faer::Mat::zeros(n + 4, n);
            (0..n).for_each(|i| c[(i + 1, i)] = -1.0);
            c[(n + 1, 0)] = -1.0;
            let d = [vec![0.4], vec![0.0; n], vec![0.0, 1.0, 2.0]].concat();
            let c = if sparse { Matrix::Sparse(Csc::from_dense(&c)) } else { Matrix::from(c) };
            let qp = Qp::new(p.clone(), q.iter().map(|q| 3.0 * q).collect::<Vec<_>>())
                .and_then(|qp| qp.equality(Matrix::from_rows(1, n, &[1.0; 5])?, vec![0.2]))
                .and_then(|qp| qp.bounds(vec![-0.05; n], vec![]))
                .and_then(|qp| qp.with_cones(vec![Cone::SecondOrder(n + 1), Cone::Exponential], c, d))
                .expect("valid");
            let mut layer = Layer::new(qp.clone(), Settings::default()).expect("valid");
            let solution = layer.solve().expect("valid").clone();
            assert_eq!((solution.status, solution.verdict()), (Status::Solved, Verdict::Exact), "{k} {sparse}");
            bounds += usize::from(solution.active().n_bounds() > 0);
            boundaries += usize::from(solution.active().cone_faces(qp.cones()).next() == Some(Face::Boundary));
            let cot = random_cotangent(&qp, &mut rng);
            let gradient = solution.vjp(&cot, Wrt::ALL).expect("solved");
            let loss = |qp: Qp| {
                let s = qp.solve(&Settings::default()).expect("valid");
                let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
                dot(&cot.x, &s.x)
                    + dot(&cot.y, &s.y)
                    + dot(&cot.z_box, &s.z_box)
                    + dot(&cot.s, &s.s)
                    + dot(&cot.y_cone, &s.y_cone)
                    + cot.objective * s.objective
            };
            let check = |what: &str, analytic: f64, moved: &dyn Fn(f64) -> Qp| {
                let h = 1e-5;
                let numeric = (loss(moved(h)) - loss(moved(-h))) / (2.0 * h);
                assert!(
                    (analytic - numeric).abs() <= 2e-6 * (1.0 + numeric.abs()),
                    "{k} {sparse} {what}: {analytic} {numeric}"
                );
            };
            let step = |v: &[f64], i: usize, h: f64| {
                let mut v = v.to_vec();
                v[i] += h;
                v
            };
            for i in 0..n {
                let moved = |h: f64| qp.clone().with_q(step(qp.q(), i, h)).expect("finite");
                check("q", gradient.q.as_ref().expect("there")[i], &moved);
                let moved = |h: f64| qp.clone().bounds(step(qp.lb(), i, h), vec![]).expect("finite");
                check("lb", gradient.lb.as_ref().expect("there")[i], &moved);
            }
            for i in 0..qp.n_cone() {
                let moved = |h: f64| qp.clone().with_d(step(qp.d(), i, h)).expect("finite");
                check("d", gradient.d.as_ref().expect("there")[i], &moved);
            }
            // a start from the solution of a problem nearby leads to the same solution, without the solver
            let near = qp.clone().with_d(step(qp.d(), 0, 1e-4)).expect("finite");
            let cold = near.solve(&Settings::default()).expect("valid");
            layer.update(near).expect("the same structure");
            let warm = layer.solve_from(Some(&solution.point())).expect("valid");
            assert!(warm.ok() && warm.info.solver == "active_set", "{k} {sparse}: {}", warm.info.solver);
            assert!(off(&warm.x, &cold.x) <= 1e-12, "{k} {sparse}: {:.1e}", off(&warm.x, &cold.x));
        }
    }
    assert!(bounds >= 6 && boundaries >= 6, "{bounds} with an active bound, {boundaries} with an active cone of 10");
}
