//! `bpqp schedule` as a user runs it.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const SHORT: [&str; 5] = ["--quick", "--epochs", "2", "--task-epochs", "1"];

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bpqp")).arg("schedule").args(arguments).output().unwrap()
}

fn good(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn json(arguments: &[&str]) -> Value {
    let mut results: Value = serde_json::from_str(&good(&[&["--json"], arguments].concat())).unwrap();
    results["seconds"] = Value::Null;
    results
}

fn scratch(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("bpqp-schedule-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder.join(name)
}

#[test]
fn the_same_seed_gives_the_same_result_on_any_number_of_threads() {
    let with = |threads: &str| json(&[&SHORT[..], &["--seeds", "2", "--threads", threads]].concat());
    let one = with("1");
    // Two threads take a seed each; with three a seed has one, with four it has two.
    assert_eq!(one, with("2"));
    assert_eq!(one, with("4"));
    assert_ne!(one["methods"], json(&[&SHORT[..], &["--seeds", "2", "--seed", "7"]].concat())["methods"]);
}

#[test]
fn a_first_look_has_all_rows_and_training_through_the_schedule_pays() {
    let results = json(&["--quick"]);
    let methods = results["methods"].as_array().unwrap();
    let names: Vec<&str> = methods.iter().map(|m| m["method"].as_str().unwrap()).collect();
    let expected =
        ["rmse-training", "rmse", "likelihood", "likelihood-longer", "quantile", "end-to-end-mean", "end-to-end"];
    assert_eq!(names, expected);
    let cost = |k: usize| methods[k]["cost"].as_f64().unwrap();
    assert!(cost(6) < 0.95 * cost(1) && cost(5) < 0.95 * cost(1), "{} {} {}", cost(1), cost(5), cost(6));
    for method in methods {
        assert_eq!(method["daily"].as_array().unwrap().len(), 636);
        assert!(method["standard_error"].as_f64().unwrap() > 0.0);
    }
    assert_eq!(results["days"].as_array().unwrap().len(), 4);
    // Each of three references is compared with the six others.
    assert_eq!(results["comparisons"].as_array().unwrap().len(), 18);
    for day in results["days"].as_array().unwrap() {
        for plan in day["plans"].as_array().unwrap() {
            let z: Vec<f64> = plan["schedule"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
            assert!(z.windows(2).all(|w| (w[1] - w[0]).abs() <= 0.4 + 1e-9));
        }
    }
}

#[test]
fn the_text_fits_a_terminal_of_80_columns() {
    let text = good(&[&SHORT[..], &["--ramp", "0.06", "--seeds", "2"]].concat());
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    for words in ["end-to-end, mean, spread", "RMSE, validated spread", "ramp 0.06", "Newey-West", "no longer blind"] {
        assert!(text.contains(words), "{words} is missing in\n{text}");
    }
}

/// Days of invented loads: a wave over the day that depends on the temperature.
fn own(file: &Path, days: u32) {
    let mut text = String::from("date,load_00,and so on\n");
    for k in 0..days {
        let warmth = f64::from(k * 7919 % 31);
        text += &format!("2001-{:02}-{:02}", 1 + k / 28, 1 + k % 28);
        for hour in 0..24 {
            text += &format!(",{:.3}", 1.5 + 0.01 * warmth + 0.3 * (f64::from(hour) / 4.0).sin());
        }
        text += &format!(",{warmth:.1}").repeat(24);
        text += "\n";
    }
    std::fs::write(file, text).unwrap();
}

#[test]
fn a_users_own_file_is_trained_on() {
    let file = scratch("own.csv");
    own(&file, 330);
    let file = file.to_str().unwrap();
    let text = good(&[&SHORT[..], &["--data", file, "--test-from", "2001-09-01"]].concat());
    assert!(text.contains("own.csv: test 2001-09-0") && !text.contains("no longer blind"), "{text}");
    let output = run(&["--data", file, "--test-from", "2001-01-20"]);
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && words.contains("60 are needed on each side"), "{words}");
}

#[test]
fn misuse_ends_with_code_2_and_advice() {
    let cases: [(&[&str], &str); 6] = [
        (&["--report", "no-such-folder/out.html"], "out.html: the report cannot be written"),
        (&["--ramp", "0"], "--ramp 0: choose a number > 0"),
        (&["--data", "no-such-file.csv"], "no-such-file.csv: cannot be read"),
        (&["--task-epochs", "0"], "--task-epochs 0: choose at least 1"),
        (&["--test-from", "2015"], "--test-from 2015: write a date like 2015-01-01"),
        (&["--test-from", "2030-01-01"], "0 from it on are too few"),
    ];
    for (arguments, words) in cases {
        let output = run(arguments);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains(words), "{arguments:?}: {text}");
    }
}

#[test]
fn the_page_needs_nothing_from_elsewhere_and_shows_everything() {
    let file = scratch("page.html");
    good(&[&SHORT[..], &["--report", file.to_str().unwrap()]].concat());
    let page = std::fs::read_to_string(file).unwrap();
    for forbidden in ["http://", "https://", "<script", "<link", "<img", "@import", "url(", "NaN", "inf"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    // Two charts of costs and four days.
    assert_eq!(page.matches("<svg").count(), 6);
    for words in ["width=device-width", "prefers-color-scheme", "highest load", "largest loss", "</html>"] {
        assert!(page.contains(words), "{words}");
    }
}
