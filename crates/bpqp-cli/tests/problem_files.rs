//! `bpqp solve | grad | check` as a user runs them: output, messages and exit codes.

use serde_json::Value;
use std::io::Write;
use std::process::{Command, Stdio};

/// Runs a command on a problem given at standard input; exit code, standard output and error.
fn run(command: &[&str], problem: &str) -> (i32, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_bpqp"))
        .args(command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    child.stdin.take().expect("piped").write_all(problem.as_bytes()).expect("it reads");
    let out = child.wait_with_output().expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (out.status.code().expect("an exit code"), text(out.stdout), text(out.stderr))
}

fn json(command: &str, problem: &str) -> (i32, Value) {
    let (code, out, err) = run(&[command, "-", "--json"], problem);
    (code, serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}{err}")))
}

/// Every family: dense, sparse, diagonal, factored, linear; every kind of constraint.
const FAMILIES: [(&str, &str); 6] = [
    (
        "dense",
        r#"{"P": [[2, 0.5, 0], [0.5, 1, 0.1], [0, 0.1, 1.5]], "q": [-1, 1, -2], "A": [[1, 1, 1]], "b": [1],
            "G": [[1, -1, 0], [0, 1, 2]], "h": [0.3, null], "lb": [null, -0.4, 0], "ub": [3, null, null],
            "dx": [1, -2, 0.5], "dy": [0.7], "dz": [1, 1], "dz_box": [1, 0.5, -1], "dobjective": 0.3}"#,
    ),
    (
        "sparse",
        r#"{"P": {"shape": [3, 3], "row": [0, 1, 2, 0, 1], "col": [0, 1, 2, 1, 0], "value": [2, 1, 1.5, 0.5, 0.5]},
            "q": [-1, 1, -2], "A": {"shape": [1, 3], "row": [0, 0], "col": [0, 2], "value": [1, 1]}, "b": [0.5],
            "G": {"shape": [1, 3], "row": [0, 0], "col": [0, 1], "value": [1, -1]}, "h": [0.1], "dz": [2]}"#,
    ),
    ("diagonal", r#"{"P": {"d": [1, 2, 3]}, "q": [-1, 1, -2], "lb": [0, 0, 0], "ub": [0.4, 1, null]}"#),
    (
        "factored",
        r#"{"P": {"d": [0.5, 1, 0.7], "F": [[1], [0.3], [-0.4]]}, "q": [-0.3, 0.2, -0.5], "A": [[1, 1, 1]],
            "b": [1], "lb": [0, 0, 0], "dx": [1, 2, 3]}"#,
    ),
    ("linear", r#"{"q": [1, 2, 3], "A": [[1, 1, 1]], "b": [1], "lb": [0.1, 0.2, 0], "dy": [1], "dz_box": [1, 2, 3]}"#),
    (
        "smoothed",
        r#"{"P": {"d": [1, 2]}, "q": [-1, 1], "lb": [0, 0], "ub": [0.4, 1], "smoothing": 0.01, "dx": [1, 1]}"#,
    ),
];

#[test]
fn check_agrees_on_every_family_with_exit_code_0() {
    for (name, problem) in FAMILIES {
        let (code, out) = json("check", problem);
        assert_eq!(code, 0, "{name}: {out:#}");
        assert!(out["worst"].as_f64().expect("a number") <= 1e-6, "{name}: {out:#}");
        let (code, out, _) = run(&["check", "-"], problem);
        assert_eq!(code, 0, "{name}");
        assert!(out.contains("worst error") && out.contains("every block agrees"), "{out}");
    }
}

#[test]
fn check_names_the_block_that_disagrees_with_exit_code_1() {
    // taken at an unconverged iterate the gradient is that of another problem, and check says so
    let problem = r#"{"P": {"d": [1, 2, 3]}, "q": [-1, 1, -2], "G": [[1, 1, 1], [1, -1, 0]], "h": [0.4, 0.2],
                      "solver": "admm", "polish": false, "eps_abs": 0.02, "eps_rel": 0.02}"#;
    let (code, out, _) = run(&["check", "-"], problem);
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("DISAGREES"), "{out}");
    let (code, out) = json("check", problem);
    assert!(code == 1 && out["ok"] == false && !out["disagreeing"].as_array().expect("a list").is_empty());
}

#[test]
fn solve_prints_the_solution() {
    let (code, out) = json("solve", r#"{"P": [[1, 0], [0, 1]], "q": [-0.5, -2], "lb": [0, 0], "ub": [1, 1]}"#);
    assert_eq!((code, &out["status"], &out["ok"]), (0, &Value::from("solved"), &Value::from(true)));
    let x: Vec<f64> = out["x"].as_array().expect("a list").iter().map(|v| v.as_f64().expect("a number")).collect();
    assert!((x[0] - 0.5).abs() < 1e-12 && (x[1] - 1.0).abs() < 1e-12);
    assert!((out["z_box"][1].as_f64().expect("a number") - 1.0).abs() < 1e-12);
    let (code, text, _) = run(&["solve", "-"], r#"{"q": [1], "lb": [2]}"#);
    assert!(code == 0 && text.contains("solved") && text.contains("objective  2"), "{text}");
}

#[test]
fn grad_prints_every_block_in_the_structure_of_its_data() {
    let (code, out) = json("grad", FAMILIES[1].1);
    assert_eq!((code, &out["verdict"]), (0, &Value::from("exact")));
    assert_eq!(out["P"]["shape"], serde_json::json!([3, 3]));
    assert_eq!(out["P"]["value"].as_array().expect("a list").len(), 5);
    assert!(out["q"].is_array() && out["A"]["value"].is_array() && out["h"].is_array());
    let (_, out) = json("grad", FAMILIES[3].1);
    assert_eq!((out["P"]["d"].as_array().map(Vec::len), out["P"]["F"].as_array().map(Vec::len)), (Some(3), Some(3)));
    // ones for dx: the projection onto a box passes them where x is free
    let (_, out) = json("grad", r#"{"P": {"d": [1, 1]}, "q": [-0.5, -2], "ub": [1, 1]}"#);
    assert_eq!(out["q"], serde_json::json!([-1.0, 0.0]));
}

#[test]
fn a_problem_without_a_solution_exits_with_1_and_shows_the_proof() {
    let infeasible = r#"{"q": [1, 1], "A": [[1, 1], [1, 1]], "b": [1, 2]}"#;
    let unbounded = r#"{"q": [-1, 0], "lb": [0, 0]}"#;
    let non_convex = r#"{"P": [[1, 0], [0, -1]], "q": [0, 0]}"#;
    for (problem, status) in
        [(infeasible, "primal_infeasible"), (unbounded, "dual_infeasible"), (non_convex, "non_convex")]
    {
        for command in ["solve", "grad", "check"] {
            let (code, out) = json(command, problem);
            assert_eq!((code, &out["status"]), (1, &Value::from(status)), "{command}");
            assert!(out["info"]["certificate"].is_object(), "{command}: {out:#}");
            let (code, text, _) = run(&[command, "-"], problem);
            assert!(code == 1 && text.contains(status) && text.contains("proof"), "{text}");
        }
    }
}

#[test]
fn the_closest_feasible_program_is_shown_with_its_shift() {
    let problem = r#"{"q": [0], "A": [[1], [2]], "b": [0, 6], "infeasible": "closest"}"#;
    let (code, out) = json("solve", problem);
    assert_eq!((code, &out["status"], &out["ok"]), (0, &Value::from("primal_infeasible"), &Value::from(true)));
    let near = |v: &Value, expected: f64| v.as_f64().is_some_and(|v| (v - expected).abs() < 1e-12);
    assert!(
        near(&out["x"][0], 2.4) && near(&out["shift"]["A"][0], 2.4) && near(&out["shift"]["A"][1], -1.2),
        "{out:#}"
    );
    let (code, text, _) = run(&["solve", "-"], problem);
    assert!(code == 0 && text.contains("shifted") && text.contains("proof"), "{text}");
    let (code, out) = json("grad", problem);
    assert!(code == 0 && near(&out["b"][0], 0.2) && near(&out["b"][1], 0.4), "{out:#}");
    let (code, _, error) = run(&["solve", "-"], r#"{"q": [0], "infeasible": "nearest"}"#);
    assert!(code == 2 && error.contains("status, closest"), "{error}");
}

#[test]
fn misuse_exits_with_2_and_names_file_field_index_and_value() {
    let cases: [(&str, &[&str]); 22] = [
        ("{", &["standard input", "not valid JSON", "line 1"]),
        ("[]", &["object"]),
        ("{}", &["q is missing"]),
        (r#"{"q": [1], "Q": 2}"#, &["unknown field \"Q\""]),
        (r#"{"q": [1, "a"]}"#, &["q[1] = \"a\""]),
        (r#"{"q": [1, null]}"#, &["q[1] is null"]),
        (r#"{"q": [1], "A": [[1]]}"#, &["A without b"]),
        (r#"{"q": [1, 2], "A": [[1]], "b": [1]}"#, &["A[0] has 1 entries, expected 2"]),
        (
            r#"{"q": [1], "A": {"shape": [1, 1], "row": [1], "col": [0], "value": [1]}, "b": [1]}"#,
            &["A entry 0", "(1, 0)"],
        ),
        (r#"{"q": [1], "P": [[1, 2], [2, 4]]}"#, &["q", "(2,)"]),
        (r#"{"q": [1, 1], "P": [[1, 2], [3, 4]]}"#, &["P[1, 0] = 3"]),
        (r#"{"q": [1], "lb": [2], "ub": [1]}"#, &["lb[0] = 2", "ub[0] = 1"]),
        (r#"{"q": [1], "solver": "simplex"}"#, &["simplex", "interior_point"]),
        (r#"{"q": [1], "eps_abs": -1}"#, &["eps_abs = -1"]),
        (r#"{"q": [1], "dx": [1, 2]}"#, &["cotangent of x"]),
        (r#"{"q": [1], "P": {"d": [1], "f": [[1]]}}"#, &["P has an unknown field \"f\""]),
        (r#"{"q": [1], "max_iter": 1.5}"#, &["max_iter = 1.5"]),
        ("{\"q\": [1],\n \"q\": [2]}", &["the key \"q\" is there twice", "line 2"]),
        (
            r#"{"q": [1], "A": {"shape": [1, 1], "row": [0], "row": [0], "col": [0], "value": [1]}, "b": [1]}"#,
            &["the key \"row\" is there twice", "line 1"],
        ),
        (
            r#"{"q": [1], "A": {"shape": [1, 10000000000], "row": [0], "col": [0], "value": [1]}, "b": [1]}"#,
            &["A.shape = [1, 10000000000]", "expected [1, 1]", "per entry of b"],
        ),
        (
            r#"{"q": [1], "G": {"shape": [18446744073709551615, 1], "row": [], "col": [], "value": []}, "h": [1]}"#,
            &["G.shape", "expected [1, 1]", "per entry of h"],
        ),
        (
            r#"{"q": [1], "P": {"shape": [10000000000, 10000000000], "row": [], "col": [], "value": []}}"#,
            &["P.shape", "expected [1, 1]"],
        ),
    ];
    for (problem, parts) in cases {
        for command in ["solve", "grad", "check"] {
            let (code, out, err) = run(&[command, "-"], problem);
            assert_eq!((code, out.as_str()), (2, ""), "{problem}: {err}");
            for part in parts {
                assert!(err.contains(part), "{problem}: {err:?} does not say {part:?}");
            }
        }
    }
    let deep = "[".repeat(100_000);
    let (code, _, err) = run(&["solve", "-"], &format!("{{\"q\": {deep}"));
    assert!(code == 2 && err.contains("recursion limit"), "{err}");
    let (code, _, err) = run(&["solve", "no-such-file.json"], "");
    assert!(code == 2 && err.contains("no-such-file.json"), "{err}");
    let (code, ..) = run(&["solve"], "");
    assert_eq!(code, 2);
}

#[test]
fn what_the_library_does_is_told_where_it_is_asked_for() {
    let problem = r#"{"P": [[1, 0], [0, 1]], "q": [-0.5, -2], "lb": [0, 0], "ub": [1, 1], "solver": "interior_point"}"#;
    let (_, silent, said) = run(&["solve", "-"], problem);
    assert_eq!(said, "");
    let (code, out, said) = run(&["solve", "-", "--log", "debug"], problem);
    assert_eq!((code, out.lines().count()), (0, silent.lines().count()));
    assert!(said.starts_with("debug bpqp::layer: solved by interior_point in ") && said.lines().count() == 1, "{said}");
    let (_, _, said) = run(&["--log", "trace", "solve", "-"], problem);
    assert!(said.lines().filter(|line| line.starts_with("trace bpqp::forward::")).count() > 2, "{said}");
}
