//! The program as a user runs it.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_bpqp"))
}

fn run(arguments: &[&str]) -> Output {
    program().arg("portfolio").args(arguments).output().unwrap()
}

fn json(arguments: &[&str]) -> Value {
    let output = run(&[&["--json"], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn scratch(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("bpqp-program-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder.join(name)
}

/// What does not depend on the clock.
fn timeless(mut results: Value) -> Value {
    results["seconds"] = Value::Null;
    for method in results["methods"].as_array_mut().unwrap() {
        for summary in ["mean", "spread"] {
            for key in ["seconds_per_epoch", "forward_ms", "backward_ms"] {
                method[summary][key] = Value::Null;
            }
        }
        for seed in method["seeds"].as_array_mut().unwrap() {
            for key in ["seconds_per_epoch", "forward_ms", "backward_ms"] {
                seed[key] = Value::Null;
            }
            for epoch in seed["curve"].as_array_mut().unwrap() {
                epoch["seconds"] = Value::Null;
            }
        }
    }
    results
}

#[test]
fn the_same_seed_gives_the_same_result_on_any_number_of_threads() {
    let small = ["--quick", "--epochs", "2"];
    let first = timeless(json(&[&small[..], &["--threads", "1"]].concat()));
    let mut second = timeless(json(&[&small[..], &["--threads", "2"]].concat()));
    assert_eq!(second["training"]["threads"], 2);
    second["training"]["threads"] = first["training"]["threads"].clone();
    assert_eq!(first, second);
    let other = timeless(json(&[&small[..], &["--seed", "9"]].concat()));
    assert_ne!(first["methods"], other["methods"]);
}

#[test]
fn json_has_both_methods_and_their_comparison() {
    let results = json(&["--quick", "--epochs", "2", "--seeds", "2"]);
    let methods = results["methods"].as_array().unwrap();
    assert_eq!(methods.len(), 2);
    for (method, name) in methods.iter().zip(["two-stage", "bpqp"]) {
        assert_eq!(method["method"], name);
        let seeds = method["seeds"].as_array().unwrap();
        assert_eq!(seeds.len(), 2);
        for seed in seeds {
            // Epoch 0 is the untrained predictor; all weights start alike, so both methods start at one point.
            assert_eq!(seed["curve"].as_array().unwrap().len(), 3);
            assert_eq!(seed["curve"][0]["validation_mse"], methods[0]["seeds"][0]["curve"][0]["validation_mse"]);
            assert_eq!(seed["gradients_refused"], 0);
            assert!(seed["test"]["mse"].as_f64().unwrap() > 0.0);
            assert!(seed["test"]["regret"].as_f64().unwrap() > 0.0);
        }
        for key in ["mse", "ic", "icir", "annual_return", "sharpe", "regret", "max_drawdown", "seconds_per_epoch"] {
            assert!(method["mean"][key].is_f64() && method["spread"][key].is_f64(), "{key}");
        }
    }
    assert!(methods[1]["mean"]["backward_ms"].as_f64().unwrap() > 0.0);
    assert!(results["comparison"]["regret"]["t"].is_f64());
    assert_eq!(results["interrupted"], false);
    assert!(results["caveats"].as_array().unwrap().len() >= 3);
    // Parts follow each other in time.
    let date = |part: &str, end: &str| results["data"][part][end].as_str().unwrap().to_owned();
    assert!(date("train", "until") < date("validation", "from"));
    assert!(date("validation", "until") < date("test", "from"));
}

#[test]
fn the_dense_covariance_gives_the_same_portfolios() {
    let small = ["--quick", "--epochs", "1", "--method", "bpqp"];
    let factored = json(&small);
    let dense = json(&[&small[..], &["--covariance", "dense"]].concat());
    assert_eq!(dense["rule"]["covariance"], "dense");
    let regret = |r: &Value| r["methods"][0]["mean"]["regret"].as_f64().unwrap();
    let (a, b) = (regret(&factored), regret(&dense));
    assert!((a - b).abs() < 1e-4 * a, "{a} {b}");
}

#[test]
fn a_users_own_file_is_trained_on() {
    // Two years of days (weekends left out would be realistic, but nothing needs it) of five invented stocks.
    let file = scratch("own.csv");
    let mut text = String::from("date,A,B,C,D,E\n");
    let mut prices = [10.0f64, 20.0, 30.0, 40.0, 50.0];
    for k in 0..400u32 {
        let (year, day) = (2001 + k / 336, k % 336);
        text += &format!("{year}-{:02}-{:02}", 1 + day / 28, 1 + day % 28);
        for (s, price) in prices.iter_mut().enumerate() {
            *price *= 1.0 + 0.02 * f64::sin(1.7 * f64::from(k) * (s as f64 + 1.3));
            text += &format!(",{price:.4}");
        }
        text += "\n";
    }
    std::fs::write(&file, text).unwrap();
    let output = run(&["--data", file.to_str().unwrap(), "--epochs", "1", "--seeds", "1", "--cap", "0.5"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for word in
        ["own.csv: 5 stocks, 400 days", "two-stage", "bpqp", "equal weight", "Survivors", "No costs", "Few stocks"]
    {
        assert!(text.contains(word), "{word} is missing in\n{text}");
    }
}

#[test]
fn misuse_ends_with_code_2_and_advice() {
    let cases: [(&[&str], &str); 8] = [
        (&["--report", "no-such-folder/out.html"], "out.html: the report cannot be written"),
        (&["--cap", "0.01"], "--cap 0.01: 20 stocks can hold"),
        (&["--data", "no-such-file.csv"], "no-such-file.csv: cannot be read"),
        (&["--threads", "20000"], "--threads 20000: choose at most 1024"),
        (&["--epochs", "0"], "--epochs 0: choose at least 1"),
        (&["--from", "2022-06-01"], "days of 20 stocks are too little"),
        (&["--risk-aversion=-1"], "--risk-aversion -1: choose a number > 0"),
        (&["--method", "three-stage"], "two-stage"),
    ];
    for (arguments, words) in cases {
        let output = run(arguments);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains(words), "{arguments:?}: {text}");
    }
}

/// Interrupts a long training after its first epochs: the report of the best model so far must come.
#[cfg(unix)]
#[test]
fn an_interrupt_ends_with_the_best_model_so_far_and_its_report() {
    let report = scratch("interrupted.html");
    let mut child = program()
        .args(["portfolio", "--quick", "--epochs", "100000", "--method", "bpqp", "--report"])
        .arg(&report)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let seen = lines.by_ref().map(Result::unwrap).find(|line| line.contains("epoch 2/100000"));
    let seen = seen.expect("a line per epoch");
    assert!(seen.contains("validation regret") && seen.contains("MSE") && seen.contains("left"), "{seen}");
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    // Drain the pipe, so that the program is never blocked on it.
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{rest:?}");
    assert!(rest.iter().any(|line| line.contains("best model so far")), "{rest:?}");
    assert!(text.contains("Stopped early") && text.contains("bpqp"), "{text}");
    let page = std::fs::read_to_string(report).unwrap();
    assert!(page.contains("Stopped before the end") && page.contains("</html>"));
}

#[test]
fn the_benchmark_times_every_family_and_says_what_it_is_worth() {
    let output = program().args(["bench", "--quick", "--json"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rows: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    for family in ["QP", "LP", "portfolio", "control", "projection", "SOCP"] {
        assert!(rows.iter().any(|r| r["problem"].as_str().unwrap().starts_with(family)), "{family}");
    }
    for row in rows {
        assert!(matches!(row["verdict"].as_str().unwrap(), "exact" | "one_of_several"), "{row}");
        assert!(row["forward_s"].as_f64().unwrap() > 0.0 && row["backward_all_s"].as_f64().unwrap() > 0.0, "{row}");
    }
}
