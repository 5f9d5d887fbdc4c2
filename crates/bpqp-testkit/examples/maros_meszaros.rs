//! Prints what `auto`, and the native solvers alone, make of a problem collection:
//! `cargo run --release -p bpqp-testkit --example maros_meszaros [maros_meszaros|netlib_lp] [auto|native] [NAMES...]`.

use bpqp::{Settings, Solver};
use bpqp_testkit::collection::{Run, run};
use bpqp_testkit::data;
use std::time::Duration;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let collection = arguments.first().map_or("maros_meszaros", String::as_str);
    let which = arguments.get(1).map_or("auto", String::as_str);
    let Some(folder) = data::folder(collection) else { return };
    let with = |solver| Settings { time_limit: Some(Duration::from_secs(60)), ..Settings::with_solver(solver) };
    let chain = match which {
        "native" => vec![with(Solver::InteriorPoint), with(Solver::Admm)],
        name => vec![with(Solver::from_name(name).unwrap_or_else(|e| panic!("{e}")))],
    };
    println!("{}", Run::heading());
    let (mut solved, mut total, mut seconds) = (0, 0, 0.0);
    for (name, optimum) in data::index(&folder) {
        if arguments.len() > 2 && !arguments[2..].contains(&name) {
            continue;
        }
        let problem = match collection {
            "netlib_lp" => data::netlib(&folder, &name, optimum),
            _ => data::maros_meszaros(&folder, &name, optimum),
        };
        let run = run(&problem, &chain);
        println!("{}", run.line());
        (solved, total, seconds) = (solved + usize::from(run.solved()), total + 1, seconds + run.seconds);
    }
    println!("{solved} of {total} solved by {which}, {seconds:.1} seconds");
}
