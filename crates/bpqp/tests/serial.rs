//! Problems and settings survive JSON, and what would be refused when built is refused when read.
#![cfg(feature = "serde")]

use bpqp::{Cone, Hessian, Qp, Settings, Solver, Verdict};
use bpqp_problems::Family;
use std::time::Duration;

fn back(qp: &Qp) -> Qp {
    let text = serde_json::to_string(qp).expect("a problem has a form");
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn parts(qp: &Qp) -> String {
    let bounds = (qp.lb(), qp.ub(), qp.cones());
    format!("{:?}", (qp.p(), qp.q(), qp.a(), qp.b(), qp.g(), qp.h(), qp.c(), qp.d(), bounds))
}

#[test]
fn problems_of_every_structure_come_back() {
    for family in Family::all() {
        let qp = family.instance(6, 3).qp;
        let (there, here) = (qp.solve(&Settings::default()).expect("valid"), back(&qp));
        let again = here.solve(&Settings::default()).expect("valid");
        // a reader of JSON may be a unit in the last place off
        let close = there.x.iter().zip(&again.x).all(|(a, b)| (a - b).abs() <= 1e-9 * (1.0 + a.abs()));
        assert!(close && std::mem::discriminant(qp.p()) == std::mem::discriminant(here.p()), "{}", family.name());
    }
    let round = Qp::new(Hessian::Diagonal(vec![1.0, 2.0]), vec![0.5, -4.0]).expect("valid");
    let round =
        round.cone(Cone::SecondOrder(3), bpqp::faer::mat![[0.0, 0.0], [-1.0, 0.0], [0.0, -1.0]], vec![1.0, 0.0, 0.0]);
    let round = round.expect("valid").bounds(vec![f64::NEG_INFINITY, 0.25], vec![]).expect("valid");
    assert_eq!(parts(&back(&round)), parts(&round));
}

#[test]
fn what_qp_refuses_is_refused() {
    for (text, why) in [
        (r#"{"q": [1.0], "A": [[1.0, 2.0]], "b": [1.0]}"#, "A has"),
        (r#"{"q": [1.0], "lb": [1.0], "ub": [0.0]}"#, "lb[0] = 1"),
        (r#"{"q": [1.0], "A": [[1.0]]}"#, "both or neither"),
        (r#"{"q": [1.0], "P": {"shape": [9, 9], "row": [], "col": [], "value": []}}"#, "(9, 9)"),
        (r#"{"q": [1.0], "Q": [[1.0]]}"#, "unknown field"),
    ] {
        let error = serde_json::from_str::<Qp>(text).expect_err(text).to_string();
        assert!(error.contains(why), "{text}: {error}");
    }
}

#[test]
fn settings_and_verdicts() {
    let text = r#"{"solver": "interior_point", "time_limit": 1.5}"#;
    let settings: Settings = serde_json::from_str(text).expect("valid");
    assert_eq!((settings.solver, settings.time_limit), (Solver::InteriorPoint, Some(Duration::from_millis(1500))));
    let again: Settings = serde_json::from_value(serde_json::to_value(&settings).expect("valid")).expect("valid");
    assert_eq!(again, settings);
    assert_eq!(serde_json::to_string(&Verdict::Smoothed { mu: 0.5 }).expect("valid"), r#"{"smoothed":{"mu":0.5}}"#);
}
