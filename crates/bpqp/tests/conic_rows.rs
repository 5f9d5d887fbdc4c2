//! Rows of conic programs that are bounds.

use bpqp::{Cone, Conic, ConicCotangent, ConicLayer, ConicSolution, ConicTangent, ConicWrt, Csc, Settings, Status};
use bpqp_testkit::Rng;
use bpqp_testkit::differences::dot;

fn solved(problem: &Conic) -> ConicSolution {
    let solution = problem.solve(&Settings::default()).expect("valid");
    assert_eq!(solution.status, Status::Solved, "{:?} {:?}", solution.info, solution.residuals);
    solution
}

/// The problem with other entries of A.
fn with_rows(problem: &Conic, v: &[f64]) -> Conic {
    problem.with_values(None, None, Some(v), None).expect("finite")
}

/// A portfolio with every row stored in full: budget, a few ordinary rows, and bounds as rows of the identity.
fn full_rows(n: usize, rng: &mut Rng) -> Conic {
    let mut rows: Vec<Vec<f64>> = vec![vec![1.0; n], rng.normals(n)];
    let mut b = vec![1.0, 0.2];
    for i in 0..n {
        for (sign, at) in [(-1.0, 0.0), (2.0, 0.8)] {
            let mut row = vec![0.0; n];
            row[i] = sign;
            rows.push(row);
            b.push(at);
        }
    }
    let m = rows.len();
    let entries: Vec<_> = (0..n).flat_map(|j| (0..m).map(move |i| (i, j))).map(|(i, j)| (i, j, rows[i][j])).collect();
    let a = Csc::from_triplets(m, n, &entries).unwrap();
    let f = rng.normals(n * n);
    let entry = |i: usize, j: usize| (0..n).map(|k| f[i * n + k] * f[j * n + k]).sum::<f64>() / n as f64;
    let p: Vec<_> = (0..n).flat_map(|j| (0..n).map(move |i| (i, j))).map(|(i, j)| (i, j, entry(i, j))).collect();
    let p = Csc::from_triplets(n, n, &p).unwrap();
    Conic::new(Some(p), rng.normals(n), a, b, vec![Cone::Zero(1), Cone::Nonnegative(m - 1)]).unwrap()
}

#[test]
fn rows_with_one_entry_that_is_not_zero_are_bounds_and_their_zeros_have_gradients() {
    let mut rng = Rng::new(11);
    let problem = full_rows(6, &mut rng);
    let solution = solved(&problem);
    assert_eq!(solution.info.solver, "interior_point");
    let held = solution.active().rows[2..].iter().filter(|h| **h).count();
    assert!(held > 1, "{held} bounds are active");
    let (n, m, entries) = (problem.n(), problem.m(), problem.a().nnz());
    let [x, s, y, along] = [n, m, m, entries].map(|k| rng.normals(k));
    for objective in [0.0, 0.7] {
        let cot = ConicCotangent { x: &x, s: &s, y: &y, objective, ..ConicCotangent::default() };
        let gradient = solution.vjp(&cot, ConicWrt { a: true, ..ConicWrt::NONE }).unwrap();
        assert!(gradient.q.is_none());
        let gradient = gradient.a.unwrap();
        // one entry that is no zero any more makes a row of a bound
        let loss = |values: &[f64]| {
            let at = with_rows(&problem, values).solve(&Settings::default()).unwrap();
            let (at_x, at_s, at_y) = at.at_point();
            dot(&x, at_x) + dot(&s, at_s) + dot(&y, at_y) + objective * at.objective
        };
        let largest = gradient.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
        for (k, expected) in gradient.iter().enumerate() {
            let moved = |h: f64| {
                let mut values = problem.a().values().to_vec();
                values[k] += h;
                loss(&values)
            };
            let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((slope - expected).abs() < 1e-7 * largest, "entry {k}: {slope} {expected}");
        }
        let t = ConicTangent { a: Some(&along), ..ConicTangent::default() };
        let moved = solution.jvp(&t).unwrap();
        let forward = dot(&x, &moved.x) + dot(&s, &moved.s) + dot(&y, &moved.y) + objective * moved.objective;
        let reverse = dot(&gradient, &along);
        assert!((forward - reverse).abs() < 1e-10 * reverse.abs().max(1.0), "{forward} {reverse}");
        // second derivatives are those of the rows
        let second = solution.second_vjp(&cot, &t, ConicWrt { a: true, ..ConicWrt::NONE }).unwrap().a.unwrap();
        let gradient_at = |h: f64| {
            let values: Vec<f64> = problem.a().values().iter().zip(&along).map(|(v, d)| v + h * d).collect();
            let at = with_rows(&problem, &values).solve(&Settings::default()).unwrap();
            at.vjp(&cot, ConicWrt { a: true, ..ConicWrt::NONE }).unwrap().a.unwrap()
        };
        let largest = second.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
        for ((plus, minus), expected) in gradient_at(1e-5).iter().zip(gradient_at(-1e-5)).zip(&second) {
            let slope = (plus - minus) / 2e-5;
            assert!((slope - expected).abs() < 1e-6 * largest, "{slope} {expected}");
        }
    }
}

#[test]
fn what_rows_are_depends_on_the_problem_at_hand_only() {
    let problem = full_rows(5, &mut Rng::new(3));
    let other = {
        let mut values = problem.a().values().to_vec();
        values.iter_mut().filter(|v| **v == 0.0).for_each(|v| *v = 0.01);
        with_rows(&problem, &values)
    };
    let bounded = problem.clone().bounds(vec![0.05; 5], vec![]).unwrap();
    let mut layer = ConicLayer::new(other.clone(), Settings::default()).unwrap();
    for conic in [&problem, &other, &bounded, &problem, &bounded, &other] {
        layer.replace(conic.clone()).unwrap();
        let (again, fresh) = (layer.solve().unwrap().clone(), solved(conic));
        assert_eq!((&again.x, &again.y, &again.z_box), (&fresh.x, &fresh.y, &fresh.z_box));
    }
}
