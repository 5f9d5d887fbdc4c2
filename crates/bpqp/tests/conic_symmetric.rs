//! Programs with symmetric cones: the solver of their own.

use bpqp::{Cone, Conic, ConicCotangent, ConicSolution, ConicWrt, Csc, Settings, Solver, Status, Verdict};
use bpqp_testkit::Rng;
#[cfg(feature = "sdp")]
use bpqp_testkit::conic::mixed;
use bpqp_testkit::conic::{Place, instance};
use bpqp_testkit::differences::dot;

fn solved(problem: &Conic) -> ConicSolution {
    let solution = problem.solve(&Settings::default()).expect("valid");
    assert_eq!(solution.status, Status::Solved, "{:?} {:?}", solution.info, solution.residuals);
    solution
}

#[test]
fn problems_with_symmetric_cones_are_solved_without_a_lapack() {
    let all = [Place::Inside, Place::Boundary, Place::Apex];
    let mut unique = 0;
    for seed in 0..60 {
        let mut rng = Rng::new(5000 + seed);
        let kinds = [
            Cone::Zero(2),
            Cone::Nonnegative(4),
            Cone::SecondOrder(2 + rng.below(6)),
            Cone::PsdTriangle(1 + rng.below(5)),
            Cone::PsdTriangle(3),
        ];
        let places = kinds.iter().map(|_| all[rng.below(3)]).collect();
        let rows: usize = kinds.iter().map(Cone::rows).sum();
        let n = rows / 2 + rng.below(rows);
        let instance = instance(kinds.to_vec(), places, n, seed % 2 == 0, &mut rng);
        let solution = solved(&instance.problem);
        assert_eq!(solution.info.solver, Solver::Homogeneous.name(), "seed {seed}");
        let error = solution.x.iter().zip(&instance.x).fold(0.0_f64, |m, (a, b)| m.max((a - b).abs()));
        assert!(error <= 1e-8, "seed {seed}: {error:.1e}");
        unique += usize::from(solution.verdict() == Verdict::Exact);
    }
    assert!(unique > 40, "{unique}");
}

#[cfg(feature = "sdp")]
#[test]
fn problems_with_psd_cones_are_solved() {
    for seed in 0..6 {
        let instance = mixed(seed);
        let solution = solved(&instance.problem);
        assert_eq!(solution.verdict(), Verdict::Exact);
        let error = solution.x.iter().zip(&instance.x).fold(0.0_f64, |m, (a, b)| m.max((a - b).abs()));
        assert!(error <= 1e-10, "seed {seed}: {error:.1e}");
    }
}

#[test]
fn nearest_psd_matrix_has_the_derivative_of_its_closed_form() {
    use faer::{Mat, Side};
    let n = 5;
    let rows = n * (n + 1) / 2;
    let mut rng = Rng::new(4);
    let c = rng.normals(rows);
    let root = 2.0_f64.sqrt();
    let smat = |v: &[f64]| {
        Mat::from_fn(n, n, |i, j| {
            let (i, j) = (i.min(j), i.max(j));
            v[j * (j + 1) / 2 + i] * if i == j { 1.0 } else { 1.0 / root }
        })
    };
    let nearest = |c: &[f64]| {
        let m = smat(c);
        let eigen = m.self_adjoint_eigen(Side::Lower).expect("finite");
        let (q, w) = (eigen.U(), eigen.S().column_vector());
        let kept = Mat::from_fn(n, n, |i, j| (0..n).map(|k| q[(i, k)] * w[k].max(0.0) * q[(j, k)]).sum::<f64>());
        let mut out = Vec::new();
        for j in 0..n {
            out.extend((0..=j).map(|i| kept[(i, j)] * if i == j { 1.0 } else { root }));
        }
        out
    };
    let diagonal =
        |v: f64| Csc::from_triplets(rows, rows, &(0..rows).map(|i| (i, i, v)).collect::<Vec<_>>()).expect("in range");
    let q: Vec<f64> = c.iter().map(|c| -c).collect();
    let problem =
        Conic::new(Some(diagonal(1.0)), q, diagonal(-1.0), vec![0.0; rows], vec![Cone::PsdTriangle(n)]).expect("valid");
    let x = nearest(&c);
    let y: Vec<f64> = x.iter().zip(&c).map(|(x, c)| x - c).collect();
    let solution = problem.from_solution(x.clone(), x, y, &Settings::default()).expect("valid");
    assert_eq!((solution.status, solution.verdict()), (Status::Solved, Verdict::Exact));
    let g = rng.normals(rows);
    let gradient = solution.vjp(&ConicCotangent::x(&g), ConicWrt::ALL).expect("smooth").q.expect("asked for");
    for i in 0..rows {
        let at = |h: f64| {
            let mut moved = c.clone();
            moved[i] += h;
            dot(&g, &nearest(&moved))
        };
        let slope = -(at(1e-5) - at(-1e-5)) / 2e-5;
        assert!((gradient[i] - slope).abs() < 1e-7, "{i}: {} {slope}", gradient[i]);
    }
}
