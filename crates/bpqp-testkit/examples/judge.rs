//! The exact judge by hand: `cargo run --release -p bpqp-testkit --example judge -- [COUNT] [SEED] [WORD]`.
//!
//! Prints every wrong answer with its seed (and those whose kind and verdict contain the word), and the share of each verdict by kind of optimum and spread of the units.

use bpqp::Settings;
use bpqp_testkit::Rng;
use bpqp_testkit::judge::{Kind, judge};
use bpqp_testkit::planted::Planted;
use std::collections::BTreeMap;

fn main() {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let (count, first) = (numbers.first().copied().unwrap_or(2000), numbers.get(1).copied().unwrap_or(1));
    let mut table: BTreeMap<(Kind, i32, &str), BTreeMap<String, usize>> = BTreeMap::new();
    let (mut wrong, mut judged) = (0, 0);
    let word = std::env::args().nth(3);
    for seed in first..first + count {
        let spread = [0, 0, 10, 30][(seed % 4) as usize];
        let (copies, sparse, form) = if seed % 8 < 4 { (1, false, "dense") } else { (12, true, "sparse") };
        let planted = Planted::new(&mut Rng::new(seed), spread);
        let Some(result) = judge(&planted, copies, sparse, &Settings::default()) else { continue };
        judged += 1;
        if let Some(why) = &result.wrong {
            wrong += 1;
            println!("seed {seed} {form} 2^{spread} {:?} {}: {why}", result.kind, result.said);
        }
        let title = format!("{:?} {}", result.kind, result.said);
        if result.wrong.is_none() && word.as_ref().is_some_and(|w| title.contains(w.as_str())) {
            println!("seed {seed} {form} 2^{spread} {title}: {planted:?}");
        }
        let row = table.entry((result.kind, spread, form)).or_default();
        *row.entry(if result.wrong.is_some() { format!("WRONG {}", result.said) } else { result.said }).or_default() +=
            1;
    }
    for ((kind, spread, form), row) in &table {
        let total: usize = row.values().sum();
        let shares: Vec<String> =
            row.iter().map(|(said, n)| format!("{said} {:.2} %", 100.0 * *n as f64 / total as f64)).collect();
        println!("{kind:?} 2^{spread} {form} ({total}): {}", shares.join(", "));
    }
    println!("{wrong} wrong of {judged}");
}
