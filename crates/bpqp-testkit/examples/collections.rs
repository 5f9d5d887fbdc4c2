//! The table of docs/collections.md: `cargo run --release -p bpqp-testkit --example collections -- [COLLECTION] [NAMES...]`.

use bpqp_testkit::collections::{ALL, Row, run};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let names = arguments.get(1..).unwrap_or_default();
    for collection in ALL.into_iter().filter(|c| arguments.first().is_none_or(|a| a == c)) {
        println!("\n## {collection}\n\n{}", Row::HEADING);
        let (mut solved, mut wrong, mut doubtful, mut all) = (0, 0, 0, 0);
        let only = |name: &str| names.is_empty() || names.iter().any(|n| name.contains(n.as_str()));
        run(collection, only, |row| {
            println!("{}", row.line());
            all += 1;
            solved += usize::from(row.status.ok());
            wrong += usize::from(row.wrong().is_some());
            doubtful += usize::from(row.status.ok() && row.verdict.name() == "untrusted");
        });
        println!("\n{all} problems: {solved} solved, {wrong} wrong, {doubtful} untrusted.");
    }
}
