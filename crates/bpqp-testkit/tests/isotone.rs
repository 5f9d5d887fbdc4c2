//! Least squares under k-th differences >= 0: multipliers of 1e5 beside rows of condition 1e8 to 1e17.

use bpqp::{Cotangent, Layer, Qp, Settings, Status, Verdict, Wrt};
use bpqp_testkit::isotone::{isotone, liswet};

/// `1/2 |x - c|^2` at the solution, which has to be verified.
fn distance(name: &str, qp: Qp) -> f64 {
    let constant: f64 = qp.q().iter().map(|c| 0.5 * c * c).sum();
    let n = qp.n();
    let mut layer = Layer::new(qp, Settings::default()).expect("valid");
    let solution = layer.solve().expect("valid");
    assert_eq!((solution.status, solution.info.polished), (Status::Solved, true), "{name}");
    let objective = solution.objective;
    let gradient = layer.vjp(&Cotangent::x(&vec![1.0; n]), Wrt::ALL).expect("a gradient");
    // a projection onto a cone that holds the constants moves with them
    let moved: f64 = gradient.q.as_ref().expect("asked for").iter().sum();
    assert_eq!(layer.verdict(), Verdict::Exact, "{name}");
    assert!((moved + n as f64).abs() <= 1e-6 * n as f64, "{name}: {moved}");
    objective + constant
}

/// The optimal values that PIQP 0.6 gives at tolerances of 1e-10.
#[test]
fn second_differences() {
    let known = [
        (1, 7.221894872177002),
        (7, 99.89516357123588),
        (8, 143.13057434393954),
        (9, 392.92016066963214),
        (10, 9.896486575696143),
        (11, 9.905388403483952),
        (12, 347.5189778977507),
    ];
    for (which, value) in known {
        let qp = liswet(which, 2002).expect("known").expect("valid");
        let found = distance(&format!("LISWET{which}"), qp);
        assert!((found - value).abs() <= 1e-6 * value, "LISWET{which}: {found}, {value}");
    }
    assert!(liswet(5, 2002).is_none());
}

/// The sizes of the collection of Maros and Meszaros, with the optima that it states for its rounded data.
#[test]
fn second_differences_of_ten_thousand_points() {
    for (which, value) in [(8, 714.47006), (9, 1963.2513), (10, 49.485785), (11, 49.523957), (12, 1736.9274)] {
        let qp = liswet(which, 10_002).expect("known").expect("valid");
        let found = distance(&format!("LISWET{which}"), qp);
        assert!((found - value).abs() <= 1e-4 * value, "LISWET{which}: {found}, {value}");
    }
}

/// Third and fourth differences; the optimal values are those that Goldfarb and Idnani's method (quadprog) gives.
#[test]
fn higher_differences() {
    let data = |n: usize| -> Vec<f64> {
        let at = |i: usize| i as f64 / (n - 1) as f64;
        (0..n).map(|i| (12.0 * at(i)).sin() + at(i) + 0.1 * ((i + 1) as f64).sin()).collect()
    };
    for (n, k, value) in
        [(200, 4, 30.261404459881), (500, 3, 62.975453824485), (100, 4, 15.261374311052), (200, 3, 25.3517245995337)]
    {
        let found = distance(&format!("{k}-th differences of {n} points"), isotone(&data(n), k).expect("valid"));
        assert!((found - value).abs() <= 1e-6 * f64::abs(value), "{n} points, {k}-th differences: {found}, {value}");
    }
}
