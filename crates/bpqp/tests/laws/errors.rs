//! Every kind of bad input is refused before solving, and the error names argument, index and value.

use bpqp::{Cotangent, Csc, Error, Hessian, Layer, Matrix, Point, Qp, Settings, Solver, Tangent, Wrt, from_solution};
use faer::{Mat, mat};
use std::time::Duration;

fn qp() -> Qp {
    Qp::new(Hessian::Diagonal(vec![1.0; 3]), [1.0, 2.0, 3.0]).expect("valid")
}

#[track_caller]
fn says(error: Error, parts: &[&str]) {
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "{text:?} does not say {part:?}");
    }
}

#[test]
fn numbers_that_are_not_finite_are_named() {
    let nan = f64::NAN;
    let bad = Qp::new(Hessian::Diagonal(vec![1.0; 3]), [1.0, nan, 3.0]).expect_err("NaN");
    assert!(matches!(bad, Error::NotFinite { argument: "q", row: 1, col: 0, .. }));
    says(bad, &["q[1]", "NaN"]);
    let bad = Qp::new(mat![[1.0, 0.0], [0.0, f64::INFINITY]], [1.0, 1.0]).expect_err("inf");
    assert!(matches!(bad, Error::NotFinite { argument: "P", row: 1, col: 1, .. }));
    let sparse = Csc::from_triplets(2, 3, &[(0, 0, 1.0), (1, 2, nan)]).expect("a pattern");
    assert!(matches!(
        qp().inequality(sparse, [1.0, 1.0]).expect_err("NaN"),
        Error::NotFinite { argument: "G", row: 1, col: 2, .. }
    ));
    let infinite = qp().equality(mat![[1.0, 1.0, 1.0]], [f64::INFINITY]).expect_err("inf");
    assert!(matches!(infinite, Error::NotFinite { argument: "b", row: 0, .. }));
    let minus = qp().inequality(mat![[1.0, 1.0, 1.0]], [f64::NEG_INFINITY]).expect_err("-inf");
    assert!(matches!(minus, Error::NotFinite { argument: "h", row: 0, .. }));
    assert!(qp().inequality(mat![[1.0, 1.0, 1.0]], [f64::INFINITY]).is_ok(), "a row that never binds is allowed");
    let bound = qp().bounds([0.0, nan, 0.0], []).expect_err("NaN");
    assert!(matches!(bound, Error::NotFinite { argument: "lb", row: 1, .. }));
    let factor = Hessian::low_rank(vec![1.0; 2], mat![[1.0], [nan]]).and_then(|p| Qp::new(p, [0.0, 0.0]));
    assert!(matches!(factor.expect_err("NaN"), Error::NotFinite { argument: "F", row: 1, col: 0, .. }));
    assert!(matches!(qp().with_q([1.0, 1.0, nan]), Err(Error::NotFinite { argument: "q", row: 2, .. })));
}

#[test]
fn shapes_are_named_with_what_was_found_and_expected() {
    let bad = Qp::new(Mat::<f64>::zeros(2, 3), [0.0; 3]).expect_err("not square");
    assert!(matches!(bad, Error::Shape { argument: "P", found: (2, 3), .. }));
    let bad = Qp::new(Mat::<f64>::identity(3, 3), [0.0; 2]).expect_err("two against three");
    assert!(matches!(bad, Error::Shape { argument: "q", found: (2, 1), expected: (3, 1), .. }));
    says(bad, &["q", "(2,)", "(3,)"]);
    let bad = qp().equality(mat![[1.0, 1.0]], [1.0]).expect_err("two columns");
    assert!(matches!(bad, Error::Shape { argument: "A", found: (1, 2), expected: (1, 3), .. }));
    let bad = qp().inequality(mat![[1.0, 1.0, 1.0]], [1.0, 2.0]).expect_err("two right-hand sides");
    assert!(matches!(bad, Error::Shape { argument: "h", found: (2, 1), expected: (1, 1), .. }));
    let bad = qp().bounds([0.0], []).expect_err("one bound");
    assert!(matches!(bad, Error::Shape { argument: "lb", .. }));
    assert!(matches!(qp().with_b([1.0]), Err(Error::Shape { argument: "b", .. })));
    assert!(matches!(Hessian::low_rank(vec![1.0; 2], Mat::zeros(3, 1)), Err(Error::Shape { argument: "F", .. })));
    assert!(matches!(Matrix::from_rows(2, 2, &[1.0; 3]), Err(Error::Shape { found: (3, 1), .. })));
}

#[test]
fn crossed_bounds_asymmetry_and_negative_diagonals_are_named() {
    let bad = qp().bounds([0.0, 2.0, 0.0], [1.0, 1.0, 1.0]).expect_err("crossed");
    assert!(matches!(bad, Error::Bounds { index: 1, lb: 2.0, ub: 1.0 }));
    says(bad, &["lb[1] = 2", "ub[1] = 1"]);
    assert!(matches!(qp().bounds([f64::INFINITY, 0.0, 0.0], []), Err(Error::Bounds { index: 0, .. })));
    let bad = Qp::new(mat![[1.0, 0.5], [0.4, 1.0]], [0.0, 0.0]).expect_err("asymmetric");
    assert!(matches!(bad, Error::Asymmetric { row: 1, col: 0, value: 0.4, mirrored: 0.5 }));
    let sparse = Csc::from_triplets(2, 2, &[(0, 0, 1.0), (1, 1, 1.0), (0, 1, 0.5)]).expect("a pattern");
    assert!(matches!(Qp::new(sparse, [0.0, 0.0]), Err(Error::Asymmetric { .. })));
    let bad = Qp::new(Hessian::Diagonal(vec![1.0, -2.0]), [0.0, 0.0]).expect_err("negative");
    assert!(matches!(bad, Error::NegativeDiagonal { index: 1, value: -2.0 }));
    // rounding is forgiven, and read as (P + P')/2
    let near = Qp::new(mat![[1.0, 0.5], [0.5 + 1e-9, 1.0]], [0.0, 0.0]).expect("rounding");
    assert_eq!(near.p().to_dense()[(0, 1)], near.p().to_dense()[(1, 0)]);
}

#[test]
fn sparse_arrays_that_describe_no_matrix_are_refused() {
    let bad = [
        Csc::new(2, 2, vec![0, 1], vec![0], vec![1.0]),
        Csc::new(2, 2, vec![0, 1, 2], vec![0, 2], vec![1.0, 1.0]),
        Csc::new(2, 2, vec![0, 2, 2], vec![1, 0], vec![1.0, 1.0]),
        Csc::new(2, 2, vec![0, 2, 2], vec![1, 1], vec![1.0, 1.0]),
        Csc::new(2, 2, vec![0, 2, 1], vec![0], vec![1.0]),
        Csc::from_triplets(2, 2, &[(2, 0, 1.0)]),
    ];
    for (k, outcome) in bad.into_iter().enumerate() {
        assert!(matches!(outcome, Err(Error::Pattern { .. })), "case {k}");
    }
}

#[test]
fn settings_out_of_range_are_named() {
    let refused = [
        ("eps_abs", Settings { eps_abs: f64::NAN, ..Settings::default() }),
        ("eps_rel", Settings { eps_rel: -1.0, ..Settings::default() }),
        ("eps_abs", Settings { eps_abs: 0.0, eps_rel: 0.0, ..Settings::default() }),
        ("smoothing", Settings { smoothing: Some(0.0), ..Settings::default() }),
        ("smoothing", Settings { smoothing: Some(f64::INFINITY), ..Settings::default() }),
        ("max_iter", Settings { max_iter: Some(0), ..Settings::default() }),
        ("threads", Settings { threads: 1_000_000_000, ..Settings::default() }),
    ];
    for (expected, settings) in refused {
        let error = qp().solve(&settings).expect_err(expected);
        assert!(matches!(&error, Error::Setting { name, .. } if *name == expected), "{error}");
        assert!(Layer::new(qp(), settings).is_err());
    }
    says(Solver::from_name("simplex").expect_err("no such solver"), &["simplex", "interior_point"]);
    assert!(qp().solve(&Settings { time_limit: Some(Duration::from_secs(5)), ..Settings::default() }).is_ok());
    assert!(matches!(Wrt::from_names(["q", "z"]), Err(Error::Setting { name: "wrt", .. })));
}

#[test]
fn cotangents_and_tangents_are_checked() {
    let solution = qp().solve(&Settings::default()).expect("valid");
    let short = solution.vjp(&Cotangent::x(&[1.0]), Wrt::ALL).expect_err("one entry");
    assert!(matches!(short, Error::Shape { argument: "cotangent of x", found: (1, 1), expected: (3, 1), .. }));
    let nan = solution.vjp(&Cotangent::x(&[1.0, f64::NAN, 1.0]), Wrt::ALL).expect_err("NaN");
    assert!(matches!(nan, Error::NotFinite { argument: "cotangent of x", row: 1, .. }));
    assert!(solution.jvp(&Tangent { q: Some(vec![1.0]), ..Tangent::default() }).is_err());
    assert!(solution.jvp(&Tangent { q: Some(vec![f64::NAN; 3]), ..Tangent::default() }).is_err());
    let factored = Hessian::low_rank(vec![1.0; 3], Mat::zeros(3, 1)).expect("valid");
    let kind = Tangent { p: Some(factored), ..Tangent::default() };
    assert!(solution.jvp(&kind).is_err(), "a direction in d and F needs a P that has them");
}

#[test]
fn given_solutions_are_checked() {
    let short = Point { x: vec![0.0; 2], ..Point::default() };
    let error = from_solution(qp(), short, &Settings::default()).expect_err("two of three");
    assert!(matches!(error, Error::Shape { argument: "x", found: (2, 1), expected: (3, 1), .. }));
    let nan = Point { x: vec![0.0, f64::NAN, 0.0], ..Point::default() };
    let error = from_solution(qp(), nan, &Settings::default()).expect_err("NaN");
    assert!(matches!(error, Error::NotFinite { argument: "x", row: 1, .. }));
}
