//! The exact judge by hand:
//!
//! `cargo run --release -p bpqp-testkit --example judge -- [COUNT] [SEED] [solver=NAME] [form=factored] [mode=jvp|second] [warm] [kind=NAME] [spread=N] [cones] [list]`
//!
//! Prints every wrong answer with its seed, and the share of each verdict by kind of optimum and spread of the units; with
//! `list` also the problems with a weaker verdict than theirs. `kind` (`face`, ...) and `spread` look at these problems only.

use bpqp::{Settings, Solver};
use bpqp_testkit::Rng;
use bpqp_testkit::cone_judge::PlantedCones;
use bpqp_testkit::judge::{How, Kind, Mode, condition, judge, kind};
use bpqp_testkit::planted::{Form, Planted};
use std::collections::BTreeMap;

fn main() {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let (count, first) = (numbers.first().copied().unwrap_or(2000), numbers.get(1).copied().unwrap_or(1));
    let option = |name: &str| std::env::args().find_map(|a| a.strip_prefix(name).map(str::to_owned));
    let solver = option("solver=").map_or(Solver::Auto, |name| Solver::from_name(&name).expect("a solver"));
    let mode = match option("mode=").as_deref() {
        None | Some("vjp") => Mode::Vjp,
        Some("jvp") => Mode::Jvp,
        Some("second") => Mode::Second,
        Some(other) => panic!("mode {other}"),
    };
    let factored = option("form=").is_some();
    let flag = |name: &str| std::env::args().any(|a| a == name);
    let (warm, list) = (flag("warm"), flag("list"));
    let (only, spread_asked) = (option("kind="), option("spread=").map(|n| n.parse::<i32>().expect("a number")));
    if flag("cones") {
        return cones(first..first + count, list);
    }
    let mut table: BTreeMap<(Kind, i32, String), BTreeMap<String, usize>> = BTreeMap::new();
    let (mut wrong, mut judged, mut worst) = (0, 0, 0.0_f64);
    for seed in first..first + count {
        let spread = [0, 0, 10, 30][(seed % 4) as usize];
        if spread_asked.is_some_and(|asked| asked != spread) {
            continue;
        }
        let (copies, form) = match seed % 8 < 4 {
            _ if factored => (if seed % 8 < 4 { 1 } else { 12 }, Form::Factored),
            true => (1, Form::Dense),
            false => (12, Form::Sparse),
        };
        let planted = Planted::new(&mut Rng::new(seed), spread);
        if only.as_ref().is_some_and(|only| kind(&planted).is_none_or(|k| format!("{k:?}").to_lowercase() != *only)) {
            continue;
        }
        let how = How { copies, form, warm, mode, settings: Settings { solver, ..Settings::default() } };
        let Some(result) = judge(&planted, &how) else { continue };
        judged += 1;
        if result.kind == Kind::Regular {
            worst = worst.max(condition(&planted).unwrap_or(f64::INFINITY));
        }
        let form = format!("{form:?}").to_lowercase();
        if let Some(why) = &result.wrong {
            wrong += 1;
            println!("seed {seed} {form} 2^{spread} {:?} {}: {why}", result.kind, result.said);
        }
        let best = if result.kind == Kind::Regular { "exact" } else { "one_of_several" };
        if list && result.said != best {
            println!("seed {seed} {form} 2^{spread} {:?}: {}", result.kind, result.said);
        }
        let row = table.entry((result.kind, spread, form)).or_default();
        let said = if result.wrong.is_some() { format!("WRONG {}", result.said) } else { result.said };
        *row.entry(said).or_default() += 1;
    }
    for ((kind, spread, form), row) in &table {
        let total: usize = row.values().sum();
        let shares: Vec<String> =
            row.iter().map(|(said, n)| format!("{said} {:.2} %", 100.0 * *n as f64 / total as f64)).collect();
        println!("{kind:?} 2^{spread} {form} ({total}): {}", shares.join(", "));
    }
    println!("largest condition of a regular problem {worst:.1e}");
    println!("{wrong} wrong of {judged}");
}

/// The judge of second-order cones.
fn cones(seeds: std::ops::Range<u64>, list: bool) {
    let mut table: BTreeMap<(bool, i32), BTreeMap<String, usize>> = BTreeMap::new();
    for seed in seeds {
        let spread = [0, 0, 4, 10][(seed % 4) as usize];
        let planted = PlantedCones::new(&mut Rng::new(seed), spread).expect("finite numbers");
        let (said, regular, wrong) = planted.judge();
        if list && regular && said != "exact" {
            println!("seed {seed} 2^{spread}: {said}");
        }
        let said = if let Some(why) = &wrong {
            println!("seed {seed} 2^{spread} {said}: {why}");
            format!("WRONG {said}")
        } else {
            said
        };
        *table.entry((regular, spread)).or_default().entry(said).or_default() += 1;
    }
    for ((regular, spread), row) in &table {
        println!("{} 2^{spread}: {row:?}", if *regular { "regular" } else { "kink, face or dependent" });
    }
}
