//! Degenerate problems: what is right is returned, what is not unique is flagged.

use super::{FORWARD, settings};
use bpqp::{Backward, Cotangent, Hessian, Layer, Matrix, Qp, Settings, Solver, Verdict, Wrt};
use bpqp_testkit::differences::{against_differences, distance};
use bpqp_testkit::{Family, HessianKind, Rng, hard, reference};

fn weights(n: usize) -> Cotangent {
    Cotangent::x(&Rng::new(71).normals(n))
}

fn layer(qp: &Qp, solver: Solver) -> Layer {
    let mut layer = Layer::new(qp.clone(), settings(solver, Backward::Direct)).expect("valid");
    let solution = layer.solve().expect("valid");
    assert!(solution.ok(), "{}: {}", solver.name(), solution.status);
    layer
}

#[test]
fn duplicated_rows_leave_dq_and_dp_right_and_are_flagged() {
    let (single, double) = hard::duplicated();
    for sparse in [false, true] {
        let double = if sparse { hard::sparsely(&double) } else { double.clone() };
        for solver in FORWARD {
            let name = format!("{} sparse={sparse}", solver.name());
            let once = layer(&single, solver).vjp(&weights(3), Wrt::ALL).expect("smooth").clone();
            let mut twice = layer(&double, solver);
            let gradient = twice.vjp(&weights(3), Wrt::ALL).expect("smooth").clone();
            assert!(!matches!(twice.verdict(), Verdict::Exact | Verdict::Untrusted), "{name}: {}", twice.verdict());
            let dq = distance(&gradient.q.expect("asked"), once.q.as_ref().expect("asked"));
            assert!(dq < 1e-8, "{name}: dq is off by {dq:.1e}");
            let dense = |p: Option<Hessian>| p.expect("asked").to_dense();
            let (ours, theirs) = (dense(gradient.p), dense(once.p.clone()));
            for j in 0..3 {
                for i in 0..3 {
                    let stored = !sparse || double.p().to_dense()[(i, j)] != 0.0;
                    let off = (ours[(i, j)] - theirs[(i, j)]).abs();
                    assert!(!stored || off < 1e-8, "{name}: dP[{i}, {j}] is off by {off:.1e}");
                }
            }
            // consistent changes, of both copies together, have the derivative of the single row
            let (db, dh) = (gradient.b.expect("asked"), gradient.h.expect("asked"));
            assert!((db[0] + db[1] - once.b.as_ref().expect("asked")[0]).abs() < 1e-7, "{name}: {db:?}");
            assert!((dh[0] + dh[1] - once.h.as_ref().expect("asked")[0]).abs() < 1e-7, "{name}: {dh:?}");
            // the least-norm choice for equalities
            assert!((db[0] - db[1]).abs() < 1e-7, "{name}: {db:?}");
        }
    }
}

#[test]
fn a_weakly_active_bound_is_flagged_and_its_derivative_is_one_of_the_two() {
    let qp = hard::weakly_active();
    for solver in FORWARD {
        let mut layer = layer(&qp, solver);
        let gradient = layer.vjp(&Cotangent::x(&[1.0, 1.0, 1.0]), Wrt::ALL).expect("smooth").clone();
        let name = solver.name();
        assert_eq!(layer.verdict(), Verdict::OneOfSeveral, "{name}");
        assert_eq!(layer.solution().active().weak_bound, [true, false, false], "{name}");
        let (q, lb) = (gradient.q.expect("asked"), gradient.lb.expect("asked"));
        let one_of_two = [(0.0, 1.0), (-1.0, 0.0)].iter().any(|&(a, b)| (q[0] - a).abs() + (lb[0] - b).abs() < 1e-9);
        assert!(one_of_two, "{name}: dq {} dlb {}", q[0], lb[0]);
        assert!((q[1] + 1.0).abs() < 1e-9 && q[2].abs() < 1e-9, "{name}: {q:?}");
    }
}

#[test]
fn at_the_vertex_of_a_linear_program_dq_and_dp_are_exactly_zero_and_db_is_not() {
    for family in Family::all().into_iter().filter(|f| f.hessian == HessianKind::Linear && f.equality) {
        let instance = family.instance(12, 72);
        let qp = &instance.qp;
        let with_zeros = qp.clone().with_p(Hessian::Diagonal(vec![0.0; 12])).expect("valid");
        for solver in [Solver::Auto, Solver::InteriorPoint, Solver::Admm, Solver::Clarabel] {
            for qp in [qp, &with_zeros] {
                let mut layer = layer(qp, solver);
                let gradient = layer.vjp(&weights(12), Wrt::ALL).expect("smooth").clone();
                let name = format!("{} {}", instance.name, solver.name());
                assert_eq!(layer.verdict(), Verdict::Exact, "{name}");
                assert!(gradient.q.expect("asked").iter().all(|&v| v == 0.0), "{name}");
                if let Some(Hessian::Diagonal(d)) = gradient.p {
                    assert!(d.iter().all(|&v| v == 0.0), "{name}");
                }
                assert!(gradient.b.expect("asked").iter().any(|&v| v.abs() > 1e-3), "{name}");
                let da = match gradient.a.expect("asked") {
                    Matrix::Dense(m) => m.to_mat(),
                    Matrix::Sparse(m) => m.to_dense(),
                };
                assert!(da.col_iter().any(|c| c.iter().any(|&v| v.abs() > 1e-3)), "{name}");
            }
        }
    }
}

#[test]
fn a_face_of_optimal_points_is_flagged() {
    let qp = hard::flat_face();
    for solver in [Solver::Auto, Solver::InteriorPoint, Solver::Admm, Solver::Clarabel] {
        let mut layer = layer(&qp, solver);
        assert!((layer.solution().objective - 1.0).abs() < 1e-7, "{}", solver.name());
        if let Ok(gradient) = layer.vjp(&Cotangent::x(&[1.0, 0.0, 0.0]), Wrt::Q) {
            assert!(gradient.q.as_ref().expect("asked").iter().all(|v| v.is_finite()));
            assert_ne!(layer.verdict(), Verdict::Exact, "{}", solver.name());
        }
    }
}

#[test]
fn a_nearly_singular_hessian_is_differentiated_to_what_its_condition_allows() {
    // curvature 1e-6 along directions that no constraint holds
    let family = Family::all().into_iter().find(|f| f.name() == "diagonal-eq-in").expect("listed");
    let instance = family.instance(9, 73);
    let d: Vec<f64> = (0..9).map(|i| if i < 3 { 1e-6 } else { 1.0 }).collect();
    let mut q: Vec<f64> = (0..9).map(|i| -d[i] * instance.solution.x[i]).collect();
    let (a, g) = (instance.qp.a(), instance.qp.g());
    a.tmul_add(-1.0, &instance.solution.y, &mut q);
    g.tmul_add(-1.0, &instance.solution.z, &mut q);
    let qp = instance.qp.clone().with_p(Hessian::Diagonal(d)).and_then(|qp| qp.with_q(q)).expect("valid");
    for solver in [Solver::Auto, Solver::InteriorPoint, Solver::Clarabel] {
        let solution = qp.solve(&Settings::with_solver(solver)).expect("valid");
        assert!(solution.ok() && distance(&solution.x, &instance.solution.x) < 1e-7, "{}", solver.name());
        let gradient = solution.vjp(&weights(9), Wrt::ALL).expect("smooth");
        let exact = reference::solve(&qp).expect("solvable");
        let near = |moved: &Qp| reference::solve_near(moved, &exact.active).expect("same set").point;
        // q only: a step of 2e-4 in d or A is far outside of where a curvature of 1e-6 is linear
        for (block, error) in against_differences(&qp, &weights(9), &gradient, &near) {
            assert!(!["q", "b", "h"].contains(&block) || error < 1e-6, "{} {block}: {error:.1e}", solver.name());
        }
    }
}
