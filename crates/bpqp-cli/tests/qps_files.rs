//! `bpqp solve | grad | check FILE.qps`, `bpqp schema`, `bpqp completions`, `bpqp man` and `bpqp check` as a user runs them.

use flate2::{Compression, write::GzEncoder};
use serde_json::Value;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

/// The largest `2 - (x - 1)^2 / 2 - y` with `x + y >= 2`, `x <= 1.5`: at (1.5, 0.5).
const TEXT: &str = "NAME t\nOBJSENSE\n MAX\nROWS\n N c\n G r\nCOLUMNS\n x c 1 r 1\n y c -1 r 1\nRHS\n R c -1.5 r 2\nBOUNDS\n UP B x 1.5\n
QUADOBJ\n x x -1\nENDATA\n";

fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("bpqp-qps-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join(name);
    std::fs::write(&path, bytes).expect("written");
    path
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_bpqp")).args(arguments).output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (out.status.code(), text(out.stdout), text(out.stderr))
}

#[test]
fn a_file_is_solved_differentiated_and_checked() {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(TEXT.as_bytes()).expect("to memory");
    for path in [file("a.qps", TEXT.as_bytes()), file("A.MPS.gz", &packed.finish().expect("to memory"))] {
        let path = path.display().to_string();
        let json = |command: &str| {
            let (code, out, err) = run(&[command, "--json", &path]);
            assert_eq!(code, Some(0), "{out}{err}");
            serde_json::from_str::<Value>(&out).expect("JSON")
        };
        let solution = json("solve");
        let near = |value: &Value, expected: f64| (value.as_f64().expect("a number") - expected).abs() < 1e-12;
        assert!(near(&solution["x"][0], 1.5) && near(&solution["x"][1], 0.5), "{solution}");
        assert!(near(&solution["objective"], 1.375), "{solution}");
        // y follows the right-hand side, which is that of G x <= h with its sign turned
        let gradient = json("grad");
        assert!(near(&gradient["h"][0], -1.0), "{gradient}");
        assert_eq!(json("check")["ok"], true);
    }
    let (code, out, err) =
        run(&["solve", &file("b.qps", TEXT.replace("x c 1", "x d 1").as_bytes()).display().to_string()]);
    assert!(code == Some(2) && out.is_empty() && err.contains("b.qps: line 8: no row \"d\""), "{err}");
}

#[test]
fn the_schema_and_completions_are_printed() {
    let (code, out, _) = run(&["schema"]);
    let schema: Value = serde_json::from_str(&out).expect("JSON");
    assert!(code == Some(0) && schema["properties"]["lb"].is_object());
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let (code, out, err) = run(&["completions", shell]);
        assert!(code == Some(0) && out.contains("portfolio") && out.contains("max-unpacked"), "{shell}: {err}");
    }
    assert_eq!(run(&["completions", "sh"]).0, Some(2));
    let (code, out, err) = run(&["man"]);
    assert!(code == Some(0) && out.starts_with(".ie") && out.contains(".SH CHECK"), "{err}");
    // the page that wheels install
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/../../python/wheel/data/share/man/man1/bpqp.1");
    let kept = std::fs::read_to_string(kept).expect("it is in the repository");
    assert!(kept == out, "the manual page is not current: bpqp man > python/wheel/data/share/man/man1/bpqp.1");
    for option in ["\\-\\-max\\-unpacked", "\\-\\-risk\\-aversion"] {
        assert!(out.contains(option), "{option} is missing");
    }
}

#[test]
fn the_program_checks_itself() {
    let (code, out, err) = run(&["check", "--json"]);
    let found: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out} {err}"));
    let blocks = found["table"].as_array().expect("a table").len();
    assert!(code == Some(0) && found["ok"] == true && found["verdict"] == "exact" && blocks == 8, "{out}");
}
