//! `bpqp solve | grad | check FILE.cbf` as a user runs them.

use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

/// The largest `x_0 + 2 x_1` on the disk of radius 1 with `x_0 >= r`.
fn disk(r: f64) -> String {
    format!(
        "VER\n3\nOBJSENSE\nMAX\nVAR\n2 1\nF 2\nCON\n4 2\nQ 3\nL+ 1\nOBJACOORD\n2\n0 1.0\n1 2.0\n
ACOORD\n3\n1 0 1.0\n2 1 1.0\n3 0 1.0\nBCOORD\n2\n0 1.0\n3 {}\n",
        -r
    )
}

fn file(name: &str, text: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("bpqp-conic-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join(name);
    std::fs::write(&path, text).expect("written");
    path
}

fn run(command: &str, path: &PathBuf) -> (i32, String, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_bpqp")).args([command, "--json"]).arg(path).output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (out.status.code().expect("a code"), text(out.stdout), text(out.stderr))
}

fn json(command: &str, path: &PathBuf) -> (i32, Value) {
    let (code, out, err) = run(command, path);
    (code, serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}{err}")))
}

#[test]
fn a_conic_program_is_solved_differentiated_and_checked() {
    let path = file("disk.cbf", &disk(-0.5));
    let (code, solution) = json("solve", &path);
    assert_eq!((code, solution["status"].as_str()), (0, Some("solved")));
    assert!((solution["objective"].as_f64().expect("a number") - 5.0_f64.sqrt()).abs() < 1e-12);
    let (code, gradient) = json("grad", &path);
    assert_eq!((code, gradient["verdict"].as_str()), (0, Some("exact")));
    // the sum of the variables grows with the radius by 3/sqrt 5
    assert!((gradient["b"][0].as_f64().expect("a number") - 3.0 / 5.0_f64.sqrt()).abs() < 1e-12);
    let (code, check) = json("check", &path);
    assert_eq!((code, check["ok"].as_bool()), (0, Some(true)), "{check}");
}

#[test]
fn problems_without_solution_and_bad_files_have_their_exit_codes() {
    let (code, solution) = json("solve", &file("empty.cbf", &disk(2.0)));
    assert_eq!((code, solution["status"].as_str()), (1, Some("primal_infeasible")));
    assert!(solution["info"]["certificate"]["y"].is_array());
    let (code, _, err) = run("solve", &file("bad.cbf", "VER\n3\nVAR\n2 1\nX 2\n"));
    assert!(code == 2 && err.contains("line 5: no cone \"X\""), "{err}");
}
