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
    for key in ["seconds", "pass_seconds", "solver_share"] {
        results[key] = Value::Null;
    }
    results
}

const SMALL: [&str; 5] = ["--quick", "--epochs", "1", "--tune", "2"];

#[test]
fn the_same_seed_gives_the_same_result_on_any_number_of_threads() {
    for learn in ["risk", "returns"] {
        let small = [&SMALL[..], &["--learn", learn, "--seeds", "2"]].concat();
        let first = timeless(json(&[&small[..], &["--threads", "1"]].concat()));
        assert_eq!(first, timeless(json(&[&small[..], &["--threads", "3"]].concat())));
        let other = timeless(json(&[&small[..], &["--seed", "9"]].concat()));
        assert_eq!(first["rows"][1]["mean"], other["rows"][1]["mean"], "the static risk model needs no seed");
        assert_ne!(first["rows"][4], other["rows"][4]);
    }
}

/// With ranges and volumes, and enough stocks that matrix products are cut into blocks.
#[test]
fn the_large_data_too_give_the_same_result_on_any_number_of_threads() {
    let small =
        ["--stocks", "60", "--until", "2008-12-31", "--folds", "1", "--seeds", "1", "--epochs", "1", "--tune", "1"];
    let first = timeless(json(&[&small[..], &["--threads", "1"]].concat()));
    assert_eq!(first["data"]["features"].as_array().unwrap().len(), 158);
    assert_eq!(first, timeless(json(&[&small[..], &["--threads", "2"]].concat())));
}

#[test]
fn json_has_every_method_period_and_comparison() {
    let results = json(&["--quick", "--epochs", "1", "--tune", "1", "--seeds", "2", "--folds", "2"]);
    let remarks = results["data"]["remarks"].as_array().unwrap();
    assert!(remarks[0].as_str().unwrap().starts_with("--quick is a first look"), "{remarks:?}");
    let rows = results["rows"].as_array().unwrap();
    let names: Vec<&str> = rows.iter().map(|r| r["method"].as_str().unwrap()).collect();
    assert_eq!(names, ["equal-weight", "static", "two-stage", "control", "through"]);
    let days = results["dates"].as_array().unwrap().len();
    for row in rows {
        assert_eq!(row["by_period"].as_array().unwrap().len(), 2);
        for seed in row["seeds"].as_array().unwrap() {
            assert_eq!(seed["returns"].as_array().unwrap().len(), days);
        }
        for key in ["volatility", "annual_return", "sharpe", "max_drawdown", "turnover", "held", "net_return"] {
            assert!(row["mean"][key].is_f64(), "{key}");
        }
    }
    // The weights of every day sum to 1.
    for day in rows[4]["weights"].as_array().unwrap() {
        let sum: f64 = day["weights"].as_array().unwrap().iter().map(|w| w[1].as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-3, "{day}");
    }
    assert_eq!(results["comparisons"].as_array().unwrap().len(), 4);
    assert!(results["comparisons"][2]["log_variance"]["standard_error"].is_f64());
    assert_eq!(results["with_costs"][4]["frictions"].as_array().unwrap().len(), 2);
    assert!(results["caveats"].as_array().unwrap().len() >= 3);
    let date = |k: usize, part: &str, end: &str| results["periods"][k][part][end].as_str().unwrap().to_owned();
    assert!(date(0, "train", "until") < date(0, "validation", "from"));
    assert!(date(0, "validation", "until") < date(0, "test", "from"));
    assert!(date(0, "test", "until") < date(1, "test", "from"));
}

/// Days of invented prices in the long layout with ranges and volumes.
fn invented(count: usize) -> String {
    let mut text = String::from("date,ticker,open,high,low,close,volume\n");
    for (s, ticker) in ["A", "B", "C", "D", "E"].iter().enumerate() {
        let mut price = 10.0 * (s as f64 + 1.0);
        for k in 0..count {
            let (year, day) = (2001 + k / 336, k % 336);
            let open = price;
            price *= 1.0 + 0.02 * f64::sin(1.7 * k as f64 * (s as f64 + 1.3));
            let (high, low) = (open.max(price) * 1.01, open.min(price) * 0.99);
            let volume = 1000 + (k * 37 + s * 11) % 500;
            text += &format!("{year}-{:02}-{:02},{ticker},", 1 + day / 28, 1 + day % 28);
            text += &format!("{open:.4},{high:.4},{low:.4},{price:.4},{volume}\n");
        }
    }
    text
}

#[test]
fn a_saved_network_gives_training_s_own_weights_a_day_later_too() {
    let (today, tomorrow, model) = (scratch("today.csv"), scratch("tomorrow.csv"), scratch("model.json"));
    std::fs::write(&today, invented(400)).unwrap();
    std::fs::write(&tomorrow, invented(401)).unwrap();
    let (data, file) = (today.to_str().unwrap(), model.to_str().unwrap());
    let small = ["--epochs", "1", "--tune", "2", "--folds", "1", "--seeds", "1", "--cap", "0.5"];
    let results = json(&[&["--data", data, "--save", file], &small[..]].concat());
    let own = results["latest"].as_array().unwrap().clone();
    let weights = |data: &std::path::Path, more: &[&str]| {
        let output = run(&[&["weights", "--model", file, "--data", data.to_str().unwrap()], more].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let same: Vec<Value> = serde_json::from_str(&weights(&today, &["--last", "5", "--json"])).unwrap();
    assert_eq!(own, same);
    let later: Vec<Value> = serde_json::from_str(&weights(&tomorrow, &["--last", "6", "--json"])).unwrap();
    assert_eq!(own[..], later[..5]);
    let csv = weights(&tomorrow, &["--csv"]);
    let sum: f64 = csv.lines().skip(1).map(|l| l.rsplit(',').next().unwrap().parse::<f64>().unwrap()).sum();
    assert!(csv.starts_with("date,ticker,weight\n") && (sum - 1.0).abs() < 1e-4, "{csv}");
    let held = scratch("held.csv");
    std::fs::write(&held, "ticker,weight\nA,0.5\nB,0.5\n").unwrap();
    assert!(weights(&tomorrow, &["--holdings", held.to_str().unwrap()]).contains("expected volatility"));
    // The volatility is in the measure of what was realized: four times the variance, twice the volatility.
    let mut wilder: Value = serde_json::from_str(&std::fs::read_to_string(&model).unwrap()).unwrap();
    wilder["realized"] = (4.0 * wilder["realized"].as_f64().unwrap()).into();
    let four = scratch("wilder.json");
    std::fs::write(&four, wilder.to_string()).unwrap();
    let output = run(&["weights", "--model", four.to_str().unwrap(), "--data", data, "--json"]);
    let twice: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let (a, b) = (&twice[0], own.last().unwrap());
    let ratio = a["expected_volatility"].as_f64().unwrap() / b["expected_volatility"].as_f64().unwrap();
    assert!((ratio - 2.0).abs() < 1e-6 && a["weights"] == b["weights"], "{ratio}");
    // What does not fit is refused, and why is said.
    let refused = |model: &str, data: &str, words: &str| {
        let output = run(&["weights", "--model", model, "--data", data]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && text.contains(words), "{text}");
    };
    let closes: String = invented(400)
        .lines()
        .map(|l| {
            let f: Vec<&str> = l.split(',').collect();
            format!("{},{},{}\n", f[0], f[1], f[5])
        })
        .collect();
    let other = scratch("closes.csv");
    std::fs::write(&other, closes).unwrap();
    refused(file, other.to_str().unwrap(), "the model was trained on 158 features");
    std::fs::write(
        &other,
        invented(400).lines().filter(|l| !l.contains(",C,")).map(|l| format!("{l}\n")).collect::<String>(),
    )
    .unwrap();
    refused(file, other.to_str().unwrap(), "was trained with C, which the prices lack");
    let broken = scratch("broken.json");
    std::fs::write(&broken, std::fs::read_to_string(&model).unwrap().replace("\"version\":3", "\"version\":0"))
        .unwrap();
    refused(broken.to_str().unwrap(), data, "reads bpqp portfolio model version 3: train and save it again");
    refused(data, data, "not a model");
}

#[test]
fn caps_of_groups_hold() {
    let (data, sectors) = (scratch("grouped.csv"), scratch("groups.csv"));
    std::fs::write(&data, invented(400)).unwrap();
    std::fs::write(&sectors, "ticker,group\nA,tech\nB,tech\nC,tech\n").unwrap();
    let (data, sectors) = (data.to_str().unwrap(), sectors.to_str().unwrap());
    let small = ["--epochs", "1", "--tune", "1", "--folds", "1", "--seeds", "1", "--cap", "0.5", "--group-cap", "0.4"];
    let results = json(&[&["--data", data, "--groups", sectors], &small[..]].concat());
    for day in results["rows"][4]["weights"].as_array().unwrap() {
        let tech = |w: &&Value| w[0].as_u64().unwrap() < 3;
        let sum: f64 = day["weights"].as_array().unwrap().iter().filter(tech).map(|w| w[1].as_f64().unwrap()).sum();
        assert!(sum < 0.4 + 1e-5, "{day}");
    }
}

#[test]
fn the_table_fits_eighty_columns() {
    let output = run(&[&SMALL[..], &["--seeds", "2"]].concat());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
    }
    for word in ["two-stage, longer", "through the program", "equal weight", "Survivors", "One history", "Few stocks"] {
        assert!(text.contains(word), "{word} is missing in\n{text}");
    }
}

#[test]
fn misuse_ends_with_code_2_and_advice() {
    let cases: [(&[&str], &str); 8] = [
        (&["--report", "no-such-folder/out.html"], "out.html: cannot be written"),
        (&["--quick", "--cap", "0.01"], "--cap 0.01: 20 stocks can hold"),
        (&["--data", "no-such-file.csv"], "no-such-file.csv: cannot be read"),
        (&["--threads", "20000"], "--threads 20000: choose at most 1024"),
        (&["--epochs", "0"], "--epochs 0: choose at least 1"),
        (&["--from", "2016-06-01"], "days of 500 stocks are too little"),
        (&["--risk-aversion=-1"], "--risk-aversion -1: choose a number > 0"),
        (&["--learn", "everything"], "risk, returns"),
    ];
    for (arguments, words) in cases {
        let output = run(arguments);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains(words), "{arguments:?}: {text}");
    }
}

/// Interrupts a long training after its first epochs: the report of the best network so far must come.
#[cfg(unix)]
#[test]
fn an_interrupt_ends_with_the_best_network_so_far_and_its_report() {
    let report = scratch("interrupted.html");
    let mut child = program()
        .args(["portfolio", "--quick", "--epochs", "100000", "--report"])
        .arg(&report)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let seen = lines.by_ref().map(Result::unwrap).find(|line| line.contains("epoch 2/100000"));
    let seen = seen.expect("a line per epoch");
    assert!(seen.contains("validation") && seen.contains("left"), "{seen}");
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    // Drain the pipe, so that the program is never blocked on it.
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{rest:?}");
    assert!(rest.iter().any(|line| line.contains("best networks so far")), "{rest:?}");
    assert!(text.contains("Stopped early") && text.contains("through the program"), "{text}");
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
