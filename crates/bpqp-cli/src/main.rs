//! The `bpqp` program.

use bpqp_cli::portfolio;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Differentiable convex optimization.
#[derive(Parser)]
#[command(name = "bpqp", version, max_term_width = 100)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Portfolio(Box<portfolio::options::Options>),
}

/// Exit code of misuse: a bad option, file or value.
const MISUSE: u8 = 2;

fn main() -> ExitCode {
    // A command gives its text for standard output and its exit code, or says what the user should change.
    let result = match Program::parse().command {
        Command::Portfolio(options) => portfolio::run(&options).map(|text| (text, ExitCode::SUCCESS)),
    };
    match result {
        Ok((text, code)) => {
            println!("{text}");
            code
        }
        Err(error) => {
            eprintln!("bpqp: {error}");
            ExitCode::from(MISUSE)
        }
    }
}
