//! `bpqp solve | grad | check FILE.cbf` as a user runs them.

use serde_json::Value;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

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
    let (code, _, err) = run("solve", &file("nothing.cbf", ""));
    assert!(
        code == 2 && err.contains("nothing.cbf") && err.contains("line 1: the file declares no variables"),
        "{err}"
    );
    let (code, _, err) = run("solve", &file("big.cbf", "VER\n3\nOBJSENSE\nMIN\nVAR\n1000000000 1\nF 1000000000\n"));
    assert!(code == 2 && err.contains("line 6: 1000000000 entries are declared"), "{err}");
}

fn packed(text: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(text).expect("to memory");
    out.finish().expect("to memory")
}

#[test]
fn packed_files_are_read_to_the_end_of_their_last_member_and_not_beyond_a_limit() {
    let text = disk(-0.5);
    let half = text.find("BCOORD").expect("a section");
    let both = [packed(&text.as_bytes()[..half]), packed(&text.as_bytes()[half..])].concat();
    let path = file("disk.cbf.gz", "");
    std::fs::write(&path, both).expect("written");
    let (code, solution) = json("solve", &path);
    assert!(code == 0 && (solution["objective"].as_f64().expect("a number") - 5.0_f64.sqrt()).abs() < 1e-12);
    // a comment of two megabytes
    let long = format!("{text}#{}\n", "x".repeat(2 << 20));
    std::fs::write(&path, packed(long.as_bytes())).expect("written");
    let limited = |limit: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bpqp"));
        let out = command.args(["solve", "--max-unpacked", limit]).arg(&path).output().expect("it runs");
        (out.status.code(), String::from_utf8(out.stderr).expect("text"))
    };
    let (code, err) = limited("1");
    assert!(code == Some(2) && err.contains("disk.cbf.gz: unpacks to more than 1 MB: --max-unpacked"), "{err}");
    assert_eq!(limited("3"), (Some(0), String::new()));
}

#[test]
fn nobody_reading_is_no_error() {
    let path = file("pipe.cbf", &disk(-0.5));
    let infeasible = file("pipe2.cbf", &disk(2.0));
    for (arguments, expected) in [
        (vec!["solve"], 0),
        (vec!["grad", "--json"], 0),
        (vec!["check"], 0),
        (vec!["solve", "--json", "infeasible"], 1),
    ] {
        let path = if arguments.len() == 3 { &infeasible } else { &path };
        let mut command = Command::new(env!("CARGO_BIN_EXE_bpqp"));
        command.args(arguments.iter().filter(|a| **a != "infeasible")).arg(path);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        drop(child.stdout.take());
        let out = child.wait_with_output().expect("it ends");
        let err = String::from_utf8(out.stderr).expect("text");
        assert_eq!((out.status.code(), err.as_str()), (Some(expected), ""), "{arguments:?}");
    }
    // an error that nobody reads has its exit code too
    let mut command = Command::new(env!("CARGO_BIN_EXE_bpqp"));
    let mut child = command.args(["solve", "no-such-file.json"]).stderr(Stdio::piped()).spawn().expect("it starts");
    drop(child.stderr.take());
    assert_eq!(child.wait().expect("it ends").code(), Some(2));
}
