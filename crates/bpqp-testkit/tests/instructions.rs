//! Instructions of whole passes beside recorded ones: what the clock of a busy machine cannot show.
//!
//! This binary runs itself under `valgrind --tool=callgrind` and counts what happens inside of [`measured`]. Numbers repeat to a
//! few in a million for one compiler; another one, or another version of a dependency, moves them, so they are compared within
//! 2 %. valgrind shows AVX2 and FMA to the program, never AVX-512, so the numbers do not depend on that either; on a processor
//! without AVX2, and on another architecture, there is nothing to compare with. Record anew, and say in the commit why:
//!
//!     UPDATE=1 cargo test --release -p bpqp-testkit --test instructions
//!
//! Where they go: build with `--config profile.release.debug=1`, then
//! `valgrind --tool=callgrind --toggle-collect='*instructions::measured*' BINARY measure "half 50 10 solve"` and
//! `callgrind_annotate --inclusive=yes`. Any sizes may be named.

use bpqp::{ConicCotangent, ConicLayer, ConicWrt, Cotangent, Error, Layer, Qp, Settings, Wrt};
use bpqp_problems::{conic, paper};
use std::path::Path;
use std::process::{Command, ExitCode};

/// How far a count may be from the recorded one.
const TOLERANCE: f64 = 0.02;
/// Rounds that are counted, over problems with numbers of their own.
const ROUNDS: usize = 4;

/// Family, sizes, and what is counted: `cold` makes a layer and solves; `solve` solves with new numbers in every block, `same`
/// with new vectors and the matrices kept; `vjp` is the gradient of every block, `q` that of q alone, `both` a solve and
/// the gradient of every block.
const CASES: [&str; 21] = [
    "qp 10 5 solve",
    "qp 10 5 vjp",
    "half 10 5 cold",
    "half 50 10 solve",
    "half 50 10 same",
    "half 50 10 vjp",
    "half 50 10 q",
    "half 100 20 cold",
    "half 500 100 same",
    "lp 50 10 solve",
    "batch 50 0 solve",
    "portfolio 100 0 solve",
    "portfolio 100 0 vjp",
    "mpc 20 0 solve",
    "mpc 20 0 vjp",
    "projection 500 0 solve",
    "projection 500 0 vjp",
    "socp 50 2 solve",
    "socp 50 2 both",
    "socp 50 2 vjp",
    "sdp 8 0 solve",
];

/// Everything that is counted goes through here, by a call that nothing can look through.
#[inline(never)]
fn measured(pass: &mut dyn FnMut(usize) -> Result<(), Error>) -> Result<(), Error> {
    (0..ROUNDS).try_for_each(std::hint::black_box(pass))
}

fn quadratic(family: &str, n: usize, m: usize, seed: u64) -> Option<Qp> {
    Some(match family {
        "qp" => paper::qp(n, m, seed),
        "half" => paper::half_active(n, m, seed),
        "lp" => paper::lp(n, m, 1e-6, seed),
        "batch" => paper::batch_element(n, seed),
        "portfolio" => paper::portfolio(n, seed),
        "mpc" => paper::mpc(n, seed),
        // its pattern is a random one
        "projection" => return paper::projection(n, 0).with_q(paper::projection(n, seed).q()).ok(),
        _ => return None,
    })
}

/// Runs one case, its pass once more uncounted first: buffers have grown then.
fn run(case: &str) -> Result<(), String> {
    let words: Vec<&str> = case.split(' ').collect();
    let [family, n, m, pass] = words[..] else { return Err(format!("{case}: a family, two sizes and a pass")) };
    let (n, m) = (n.parse().unwrap_or(10), m.parse().unwrap_or(0));
    let settings = || Settings { threads: 1, ..Settings::default() };
    let done = if quadratic(family, n, m, 0).is_none() {
        run_conic(family, n, m, pass, settings)
    } else {
        run_quadratic(family, n, m, pass, settings)
    };
    done.map_err(|e| e.to_string())
}

fn run_quadratic(family: &str, n: usize, m: usize, pass: &str, settings: impl Fn() -> Settings) -> Result<(), Error> {
    let qps: Vec<Qp> = (0..ROUNDS as u64).filter_map(|seed| quadratic(family, n, m, seed)).collect();
    let mut layer = Layer::new(qps[0].clone(), settings())?;
    let cotangent = Cotangent::x(&(0..qps[0].n()).map(|i| (i as f64 + 1.0).sin()).collect::<Vec<_>>());
    let twice = |pass: &mut dyn FnMut(usize) -> Result<(), Error>| {
        (0..ROUNDS).try_for_each(&mut *pass)?;
        measured(pass)
    };
    match pass {
        "cold" => twice(&mut |k| Layer::new(qps[k].clone(), settings())?.solve().map(drop)),
        "solve" => twice(&mut |k| layer.update(qps[k].clone()).and_then(|()| layer.solve().map(drop))),
        "same" => twice(&mut |k| {
            let next = qps[0].clone().with_q(qps[k].q())?;
            layer.update(next).and_then(|()| layer.solve().map(drop))
        }),
        _ => {
            layer.solve()?;
            let wrt = if pass == "q" { Wrt::Q } else { Wrt::ALL };
            twice(&mut |_| layer.vjp(&cotangent, wrt).map(drop))
        }
    }
}

fn run_conic(family: &str, n: usize, m: usize, pass: &str, settings: impl Fn() -> Settings) -> Result<(), Error> {
    let problem = |seed| if family == "sdp" { conic::correlation(n, seed) } else { conic::robust(n, m, seed) };
    let qs: Vec<Vec<f64>> = (0..ROUNDS as u64).map(|seed| problem(seed).q().to_vec()).collect();
    let mut layer = ConicLayer::new(problem(0), settings())?;
    let dx: Vec<f64> = (0..problem(0).n()).map(|i| (i as f64 + 1.0).sin()).collect();
    let cotangent = ConicCotangent::x(&dx);
    let mut run = |k: usize, pass: &str| {
        if pass != "vjp" {
            layer.update(None, Some(&qs[k]), None, None).and_then(|()| layer.solve().map(drop))?;
        }
        if pass == "solve" { Ok(()) } else { layer.vjp(&cotangent, ConicWrt::ALL).map(drop) }
    };
    (0..ROUNDS).try_for_each(|k| run(k, "both"))?;
    measured(&mut |k| run(k, pass))
}

/// Instructions inside of [`measured`] in one case. The program is called by its file's name from its own folder and without an
/// environment: the lengths of both decide where the allocator puts things, which is 1 % of the short cases.
fn count(case: &str) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let (Some(folder), Some(name)) = (program.parent(), program.file_name()) else {
        return Err(format!("{}: a file in a folder", program.display()));
    };
    let mut command = Command::new("valgrind");
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path))).current_dir(folder);
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*instructions::measured*"]);
    let output = command.arg(Path::new(".").join(name)).arg("measure").arg(case).output().map_err(|e| e.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr);
    let found = said.lines().find_map(|line| line.split_once("Collected :")).and_then(|(_, n)| n.trim().parse().ok());
    found.filter(|_| output.status.success()).ok_or_else(|| format!("{case}: {}: {said}", output.status))
}

/// Counts of all cases, on every core.
fn count_all() -> Result<Vec<(&'static str, u64)>, String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut found = Vec::new();
    for some in CASES.chunks(cores) {
        let counts = std::thread::scope(|scope| {
            let running: Vec<_> = some.iter().map(|case| (case, scope.spawn(|| count(case)))).collect();
            running.into_iter().map(|(case, thread)| (*case, thread.join())).collect::<Vec<_>>()
        });
        for (case, count) in counts {
            found.push((case, count.map_err(|_| format!("{case}: a thread ended"))??));
        }
    }
    Ok(found)
}

/// The recorded counts; what cannot be read is not there.
fn recorded(text: &str) -> Vec<(&str, u64)> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.rsplit_once(' ')).filter_map(|(case, n)| Some((case, n.parse().ok()?))).collect()
}

fn compare() -> Result<(), String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/instructions.txt");
    let found = count_all()?;
    if std::env::var_os("UPDATE").is_some() {
        let mut text = String::from(
            "# Instructions of ROUNDS passes of each case of instructions.rs, which says how this is written.\n",
        );
        text.extend(found.iter().map(|(case, count)| format!("{case} {count}\n")));
        return std::fs::write(&file, text).map_err(|e| format!("{}: {e}", file.display()));
    }
    let text = std::fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    let known = recorded(&text);
    let mut wrong = String::new();
    for &(case, now) in &found {
        let Some(&(_, before)) = known.iter().find(|(name, _)| *name == case) else {
            wrong += &format!("{case}: not recorded, now {now}\n");
            continue;
        };
        let change = now as f64 / before as f64 - 1.0;
        println!("{case:<24} {before:>12} {now:>12} {:>+7.2} %", 100.0 * change);
        if change.abs() > TOLERANCE {
            wrong += &format!("{case}: {before} recorded, now {now} ({:+.1} %)\n", 100.0 * change);
        }
    }
    let gone = known.iter().filter(|(name, _)| !CASES.contains(name));
    wrong.extend(gone.map(|(name, _)| {
        format!(
            "{name}: no such case
"
        )
    }));
    if wrong.is_empty() { Ok(()) } else { Err(format!("{wrong}UPDATE=1 records them, if they are meant")) }
}

/// Why there is nothing to compare here, if so.
fn hindrance() -> Option<&'static str> {
    if cfg!(debug_assertions) {
        return Some("built without optimization");
    }
    #[cfg(target_arch = "x86_64")]
    let vectors = std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma");
    #[cfg(not(target_arch = "x86_64"))]
    let vectors = false;
    if !vectors {
        return Some("the counts are those of AVX2 and FMA");
    }
    let valgrind = Command::new("valgrind").arg("--version").output().is_ok_and(|o| o.status.success());
    (!valgrind).then_some("valgrind is not installed")
}

/// Without the harness of tests: its threads would be counted, and a case is this program run again.
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match &arguments[..] {
        [word, case] if word == "measure" => run(case),
        // `cargo test NAME` and `--list` reach every test binary
        [first, ..] if first == "--list" => return ExitCode::SUCCESS,
        [first, ..] if !first.starts_with('-') && !"instructions".contains(first.as_str()) => return ExitCode::SUCCESS,
        _ => match hindrance() {
            Some(reason) => {
                println!("instructions: skipped: {reason}");
                Ok(())
            }
            None => compare(),
        },
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("instructions: {reason}");
            ExitCode::FAILURE
        }
    }
}
