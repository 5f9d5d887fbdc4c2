//! What a review broke by numbers of very different sizes, each as the smallest problem that showed it.

use bpqp::{Certificate, Cotangent, Csc, Hessian, Layer, Point, Qp, Settings, Solver, Status, Verdict, Wrt};
use bpqp_testkit::differences::distance;
use bpqp_testkit::reference;
use faer::{Mat, mat};

fn dense(p: Mat<f64>, q: &[f64]) -> Qp {
    Qp::new(p, q).expect("valid")
}

fn close(ours: &[f64], theirs: &[f64], name: &str) {
    let off = distance(ours, theirs);
    assert!(off < 1e-8, "{name}: {ours:?} is off {theirs:?} by {off:.1e}");
}

#[test]
fn dependent_rows_of_different_scales_are_flagged() {
    let p = mat![[2.0, 0.5], [0.5, 1.0]];
    let rows = mat![[1.0, 1.1], [1e7, 1.1e7]];
    let diagonal = Hessian::Diagonal(vec![2.0, 1.0]);
    for p in [Hessian::from(p), diagonal] {
        for solver in Solver::ALL {
            let qp = Qp::new(p.clone(), [1.0, -1.0]).and_then(|qp| qp.equality(rows.clone(), [0.3, 0.3e7]));
            let solution = qp.and_then(|qp| qp.solve(&Settings::with_solver(solver))).expect("valid");
            assert!(solution.ok(), "{}: {}", solver.name(), solution.status);
            let (_, verdict) = solution.vjps(&[Cotangent::x(&[1.0, 2.0])], Wrt::ALL).expect("solved");
            assert_eq!(verdict, Verdict::OneOfSeveral, "{}", solver.name());
        }
    }
}

#[test]
fn a_violated_row_of_small_entries_is_not_solved_exactly() {
    // x <= 1 and 1e-6 x = 2e-6 beside a row of 1e6
    let qp = dense(mat![[1.0, 0.0], [0.0, 1.0]], &[0.0, 0.0])
        .equality(mat![[1e-6, 0.0], [0.0, 1e6]], [2e-6, 1e6])
        .and_then(|qp| qp.inequality(mat![[1.0, 0.0]], [1.0]))
        .expect("valid");
    for solver in Solver::ALL {
        let solution = qp.solve(&Settings::with_solver(solver)).expect("valid");
        let trusted = solution.ok() && solution.verdict() != Verdict::Untrusted;
        assert!(!trusted, "{}: {} {}", solver.name(), solution.status, solution.verdict());
    }
}

#[test]
fn little_curvature_and_small_rows_are_not_taken_for_unboundedness() {
    let curved = dense(mat![[5.804077029607549e-9]], &[-0.007528607556488207])
        .inequality(mat![[-0.00033180825118150675]], [-0.4575070862921135])
        .expect("valid");
    let row = Qp::linear([-18095.717354837667])
        .and_then(|qp| qp.inequality(mat![[2.2393217374496872e-7]], [1.2473456075784255e-6]))
        .expect("valid");
    for (qp, x) in [(curved, 1297123.9902715876), (row, 5.570193807875947)] {
        for solver in Solver::ALL {
            let solution = qp.solve(&Settings::with_solver(solver)).expect("valid");
            assert_ne!(solution.status, Status::DualInfeasible, "{}", solver.name());
            if solution.ok() && solution.verdict() == Verdict::Exact {
                assert!((solution.x[0] - x).abs() < 1e-8 * x, "{}: {}", solver.name(), solution.x[0]);
            }
        }
        assert!(qp.solve(&Settings::default()).expect("valid").ok());
    }
}

#[test]
fn what_is_hardly_curved_beside_a_face_is_not_dropped_with_it() {
    // the third variable is on a face; what the projection on that face takes of the second must show in the verdict
    for curvature in [1e-6, 8e-6, 1.5e-5, 3.5e-5, 1e-4, 1e-2] {
        for p in [
            Hessian::Diagonal(vec![1.0, curvature, 0.0]),
            Hessian::from(mat![[1.0, 0.0, 0.0], [0.0, curvature, 0.0], [0.0, 0.0, 0.0]]),
            Hessian::Sparse(Csc::from_dense(&mat![[1.0, 0.0, 0.0], [0.0, curvature, 0.0], [0.0, 0.0, 0.0]])),
        ] {
            let what = format!("{p:?}");
            let qp = Qp::new(p, [0.5, 0.1 * curvature, 0.0]).and_then(|qp| qp.bounds([-4.0; 3], [4.0; 3]));
            let solution = qp.and_then(|qp| qp.solve(&Settings::default())).expect("valid");
            assert!(solution.ok(), "{what}: {}", solution.status);
            let (gradients, verdict) = solution.vjps(&[Cotangent::x(&[1.0, 1.0, 1.0])], Wrt::Q).expect("solved");
            if curvature > 3e-5 {
                assert_eq!(verdict, Verdict::OneOfSeveral, "{what}");
            }
            if verdict == Verdict::OneOfSeveral {
                let q = gradients[0].q.as_deref().expect("asked for");
                assert!((q[1] * curvature + 1.0).abs() < 1e-7, "{what}: {q:?}");
                assert!((q[0] + 1.0).abs() < 1e-7 && q[2].abs() < 1e-7 / curvature, "{what}: {q:?}");
            }
        }
    }
}

#[test]
fn a_gradient_with_entries_of_fourteen_orders_is_right_or_says_so() {
    let inf = f64::INFINITY;
    let p = mat![
        [
            1.6133630918201017e-6,
            0.00034463732339159135,
            4.034613706401252e-7,
            -7.0294283230142745e-6,
            -5.322592210805842
        ],
        [
            0.00034463732339159135,
            0.09183373238603895,
            0.00014787103073538133,
            -0.0015074011056360275,
            -948.9785055331454
        ],
        [
            4.034613706401252e-7,
            0.00014787103073538133,
            3.0980587674645256e-7,
            -1.7775765579059127e-6,
            -0.6943405302162741
        ],
        [
            -7.0294283230142745e-6,
            -0.0015074011056360275,
            -1.7775765579059127e-6,
            3.062909899602923e-5,
            23.130529479523656
        ],
        [-5.322592210805842, -948.9785055331454, -0.6943405302162741, 23.130529479523656, 19500101.052631896],
    ];
    let a = mat![
        [-7.186824590861886e-5, 8.409484419944619e-8, 1.400683115123231e-6, 0.0, -0.9684637004245078],
        [-5.17870934766042e-6, 6.059738208992388e-9, 1.0093095566325603e-7, 0.0, 0.0],
    ];
    let g = mat![[
        0.0013435016747508652,
        2.5026582610066606,
        -0.0029284234488123543,
        0.04877579972625024,
        8431.170295412086
    ]];
    let q =
        [-0.0004957310338731671, -0.923441623092964, 0.0010805422956896387, -0.01799750464082479, -3110.9695252746296];
    let qp = dense(p.clone(), &q)
        .equality(a.clone(), [-0.0007782651779102642, -1.121610552990868e-5])
        .and_then(|qp| qp.inequality(g.clone(), [-15.9126986514267]))
        .and_then(|qp| {
            qp.bounds([-4484.037992026733, -inf, -inf, -inf, -inf], [inf, inf, inf, -125.30788910190338, inf])
        })
        .expect("valid");
    // the reference: elimination on the KKT matrix of the active rows, equilibrated by powers of two near its diagonal
    let rows: Vec<Vec<f64>> =
        (0..3).map(|i| (0..5).map(|j| if i < 2 { a[(i, j)] } else { g[(0, j)] }).collect()).collect();
    let unit_w: Vec<f64> = (0..5).map(|j| p[(j, j)].sqrt().log2().round().exp2().recip()).collect();
    let largest = |row: &[f64]| row.iter().zip(&unit_w).fold(0.0_f64, |m, (v, u)| m.max((v * u).abs()));
    let unit_v: Vec<f64> = rows.iter().map(|row| largest(row).log2().round().exp2().recip()).collect();
    let mut k = vec![0.0; 64];
    for i in 0..5 {
        for j in 0..5 {
            k[8 * i + j] = p[(i, j)] * unit_w[i] * unit_w[j];
        }
        for (r, row) in rows.iter().enumerate() {
            let entry = row[i] * unit_w[i] * unit_v[r];
            (k[8 * i + 5 + r], k[8 * (5 + r) + i]) = (entry, entry);
        }
    }
    for cotangent in [[1.0, 0.0, 0.0, 0.0, 0.0], [1.0, -2.0, 0.5, 1.0, 3.0], [0.0, 0.0, 1e-3, 0.0, 1e4]] {
        let right: Vec<f64> = (0..8).map(|i| if i < 5 { cotangent[i] * unit_w[i] } else { 0.0 }).collect();
        let expected = reference::solve_linear(&k, &right).expect("regular");
        for solver in Solver::ALL {
            let solution = qp.solve(&Settings::with_solver(solver)).expect("valid");
            if !solution.ok() {
                continue;
            }
            let (gradients, verdict) = solution.vjps(&[Cotangent::x(&cotangent)], Wrt::Q).expect("solved");
            if verdict == Verdict::Exact {
                // in the units in which the matrix is equilibrated
                let dq = gradients[0].q.as_deref().expect("asked");
                let ours: Vec<f64> = dq.iter().zip(&unit_w).map(|(d, u)| -d / u).collect();
                close(&ours, &expected[..5], solver.name());
            }
        }
    }
}

#[test]
fn a_small_row_that_does_not_hold_is_not_drowned_by_large_ones() {
    let inf = f64::INFINITY;
    // 0 x <= -1e-4 beside a row of 6e5
    let zero_row = Qp::new(Hessian::Diagonal(vec![0.46386928957454954]), [0.0])
        .and_then(|qp| qp.equality(mat![[-282814.20867874386]], [565628.4173574877]))
        .and_then(|qp| qp.inequality(mat![[0.0]], [-0.00010778317384617798]))
        .and_then(|qp| qp.bounds([-2.0], [-1.276186559389233]))
        .expect("valid");
    // x2 = 1 by a row of 4e-3, x2 <= 0.4 by one of 2e6
    let two_rows =
        dense(mat![[0.8997387666074848, -0.7163880670834196], [-0.7163880670834196, 5.803406664136567]], &[0.0; 2])
            .equality(mat![[0.0, 0.0], [0.0, 0.004399118868813851]], [0.0, 0.004399118868813851])
            .and_then(|qp| qp.inequality(mat![[0.0, 1605495.5587945126]], [661343.5255596242]))
            .expect("valid");
    for (qp, status) in [(zero_row, Status::PrimalInfeasible), (two_rows, Status::PrimalInfeasible)] {
        assert_eq!(qp.solve(&Settings::default()).expect("valid").status, status);
        for solver in Solver::ALL {
            let solution = qp.solve(&Settings::with_solver(solver)).expect("valid");
            assert!(!solution.ok(), "{}: {}", solver.name(), solution.status);
        }
    }
    // a cost of 8e-9 is a cost
    let tiny = Qp::linear([-8.333728414158457e-9]).and_then(|qp| qp.bounds([-inf], [inf])).expect("valid");
    assert_eq!(tiny.solve(&Settings::default()).expect("valid").status, Status::DualInfeasible);
}

#[test]
fn certificates_are_the_same_in_all_units() {
    // x2 <= 1e6 by the row (1e3, 1e-6): no unboundedness, however small the entry is beside its neighbour
    let qp = Qp::linear([0.0, -1.0])
        .and_then(|qp| qp.inequality(mat![[1e3, 1e-6]], [1.0]))
        .and_then(|qp| qp.bounds([0.0, 0.0], [f64::INFINITY; 2]))
        .expect("valid");
    assert!(!Certificate::DualInfeasible(vec![0.0, 1.0]).verify(&qp));
    assert!(qp.solve(&Settings::default()).expect("valid").ok());
    // x2 = 1e7 satisfies both rows: y proves nothing, however small 1e-7 is beside 1
    let qp =
        Qp::linear([0.0, 0.0]).and_then(|qp| qp.equality(mat![[1.0, 0.0], [1.0, 1e-7]], [0.0, 1.0])).expect("valid");
    let ray = Point { x: vec![], y: vec![1.0, -1.0], z: vec![], z_box: vec![0.0; 2], ..Point::default() };
    assert!(!Certificate::PrimalInfeasible(ray).verify(&qp));
    for solver in Solver::ALL {
        let status = qp.solve(&Settings::with_solver(solver)).expect("valid").status;
        assert_ne!(status, Status::PrimalInfeasible, "{}", solver.name());
    }
    // curvature of 5e-7 of the terms is curvature: x is near 1e6
    let qp = dense(mat![[1.0, 1.0], [1.0, 1.000001]], &[1.0, -1.0]);
    assert!(!Certificate::DualInfeasible(vec![-1.0, 1.0]).verify(&qp));
    for solver in Solver::ALL {
        let status = qp.solve(&Settings::with_solver(solver)).expect("valid").status;
        assert_ne!(status, Status::DualInfeasible, "{}", solver.name());
    }
}

#[test]
fn a_solve_after_one_of_other_scales_equals_a_fresh_one() {
    // no point satisfies the rows; the problem before was the same in other units
    let p = mat![[0.0015264613383860234, -0.2751773996474165], [-0.2751773996474165, 49.60662898726144]];
    let g = mat![
        [-3.809771353508516e-09, 1.4943738963965564e-07],
        [5.287708113269563e-06, 0.07979016871482496],
        [635.6803207547159, -24934.41179649823]
    ];
    let h = [5.238023149862792e-06, 0.023636418951911275, -882037.3651162469];
    let q = [0.1415031902121921, -50.18691502029985];
    let rows = [2.4715045756838158e-06, 0.05109720901530183, 412383.493820589];
    let (columns, objective) = ([0.00583997356626022, 1.7342828420199585], 29.87299733901996);
    let other = dense(
        Mat::from_fn(2, 2, |i, j| p[(i, j)] / (columns[i] * columns[j] * objective)),
        &[q[0] / (columns[0] * objective), q[1] / (columns[1] * objective)],
    )
    .inequality(
        Mat::from_fn(3, 2, |i, j| g[(i, j)] / (rows[i] * columns[j])),
        [h[0] / rows[0], h[1] / rows[1], h[2] / rows[2]],
    )
    .expect("valid");
    let qp = dense(p, &q).inequality(g, h).expect("valid");
    let fresh = qp.solve(&Settings::default()).expect("valid");
    assert_eq!(fresh.status, Status::PrimalInfeasible);
    let mut layer = Layer::new(other, Settings::default()).expect("valid");
    layer.solve().expect("valid");
    layer.update(qp).expect("one structure");
    assert_eq!(layer.solve().expect("valid").status, fresh.status);
}
