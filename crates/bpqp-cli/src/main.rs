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

/// Misuse: a bad option, file or value.
const MISUSE: u8 = 2;

fn main() -> ExitCode {
    let result = match Program::parse().command {
        Command::Portfolio(options) => portfolio::run(&options),
    };
    match result {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bpqp: {error}");
            ExitCode::from(MISUSE)
        }
    }
}
