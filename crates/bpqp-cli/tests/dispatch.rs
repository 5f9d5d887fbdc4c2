//! `bpqp dispatch` as a user runs it.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

const CASE: &str = "function mpc = case3\nmpc.version = '2';\nmpc.baseMVA = 100.0;\n%% buses\nmpc.bus = [\n
1 3 0 0 0 0 1 1 0 230 1 1.1 0.9;\n2 1 80 20 0 0 1 1 0 230 1 1.1 0.9;\n3 2 60 10 0 0 1 1 0 230 1 1.1 0.9;\n];\n
mpc.gen = [\n1 0 0 90 -90 1 100 1 200 0;\n3 0 0 90 -90 1 100 1 100 0;\n];\n
mpc.gencost = [\n2 0 0 3 0.02 10 0;\n2 0 0 3 0.05 20 0;\n];\n
mpc.branch = [\n1 2 0.01 0.1 0.02 60 0 0 0 0 1 -30 30;\n2 3 0.01 0.1 0.02 0 0 0 0 0 1 -30 30;\n1 3 0.02 0.2 0 90 0 0 0 0 1 -30 30;\n];\n";

fn folder() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("bpqp-dispatch-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn run(text: &str, name: &str, arguments: &[&str]) -> Output {
    // tests run side by side: no two may write the same file
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    let path = folder().join(format!("{}-{name}", RUNS.fetch_add(1, Ordering::Relaxed)));
    std::fs::write(&path, text).unwrap();
    Command::new(env!("CARGO_BIN_EXE_bpqp")).arg("dispatch").arg(path).args(arguments).output().unwrap()
}

#[test]
fn tables_json_and_pictures_say_the_same() {
    let page = folder().join("page.html");
    for model in [&[][..], &["--ac"][..]] {
        let out = run(CASE, "three.m", &[model, &["--report", page.to_str().unwrap()]].concat());
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let text = String::from_utf8(out.stdout).unwrap();
        let page = std::fs::read_to_string(&page).unwrap();
        assert!(text.contains("Lines at their limits") && page.contains("<svg"), "{text}");
        let out = run(CASE, "three.m", &[model, &["--json"]].concat());
        let json: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        assert_eq!((&json["status"], &json["verdict"]), (&"solved".into(), &"exact".into()));
        for bus in json["buses"].as_array().unwrap() {
            let price = format!("{:.4}", bus["price"].as_f64().unwrap());
            assert!(text.contains(&price) && page.contains(&price), "{price}");
        }
        // the price at a bus is what the cost changes by; its change sums over the loads
        let by: f64 = (0..3)
            .map(|k| json["price_by_loads"][1][k].as_f64().unwrap() * json["buses"][k]["load"].as_f64().unwrap())
            .sum();
        let whole = json["buses"][1]["price_by_load"].as_f64().unwrap();
        if model.is_empty() {
            assert!((0.01 * by - whole).abs() <= 1e-9, "{by} {whole}");
        }
    }
}

#[test]
fn no_schedule_is_exit_code_1_and_no_case_is_2() {
    let out = run(CASE, "heavy.m", &["--load", "9"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stdout).contains("primal_infeasible"));
    let out = run("nothing", "none.m", &[]);
    assert_eq!(out.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&out.stderr).contains("mpc.baseMVA"));
    let out = run(CASE, "three.m", &["--load", "-1"]);
    assert_eq!(out.status.code(), Some(2));
}
