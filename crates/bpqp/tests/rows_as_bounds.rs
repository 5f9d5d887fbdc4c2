//! Rows with one entry are solved as bounds, and answers are those of rows: against the same problem with bounds, for every
//! order of problems in one layer.

use bpqp::{Certificate, Csc, Hessian, Layer, Qp, Settings, Solver, Status};
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
