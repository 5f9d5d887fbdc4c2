//! The `bpqp` program.

use bpqp_cli::logging::{self, Level};
use bpqp_cli::{bench, commands, dispatch, portfolio, say, schedule, schema};
use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;

/// Differentiable convex optimization.
#[derive(Parser)]
#[command(name = "bpqp", version, max_term_width = 100)]
struct Program {
    #[command(subcommand)]
    command: Command,
    /// Tell on standard error what the library does
    #[arg(long, global = true, value_name = "LEVEL")]
    log: Option<Level>,
}

#[derive(Subcommand)]
enum Command {
    Portfolio(Box<portfolio::options::Options>),
    Schedule(Box<schedule::options::Options>),
    Dispatch(Box<dispatch::Options>),
    /// Solve a quadratic program
    Solve(commands::FileOptions),
    /// Differentiate its solution
    Grad(commands::FileOptions),
    Check(commands::CheckOptions),
    Bench(bench::BenchOptions),
    /// Print the JSON schema of problem files
    Schema,
    /// Print what completes this program's commands and options in a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page: `bpqp man > bpqp.1`
    Man,
}

/// A text for standard output with an exit code, or what the user should change.
type Outcome = Result<(String, ExitCode), Box<dyn std::error::Error + Send + Sync>>;

fn completions(shell: Shell) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Program::command(), "bpqp", &mut script);
    Ok((String::from_utf8(script)?.trim_end().to_owned(), ExitCode::SUCCESS))
}

/// One page: the program, then every command with its options.
fn manual() -> Outcome {
    let mut page = Vec::new();
    let mut program = Program::command();
    // names of commands are those that one types
    program.build();
    let man = clap_mangen::Man::new(program.clone());
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    man.render_subcommands_section(&mut page)?;
    for command in program.get_subcommands().filter(|c| c.get_name() != "help") {
        writeln!(page, ".SH {}", command.get_name().to_uppercase())?;
        let man = clap_mangen::Man::new(command.clone());
        let mut part = Vec::new();
        man.render_synopsis_section(&mut part)?;
        man.render_description_section(&mut part)?;
        man.render_options_section(&mut part)?;
        // the sections of a command are parts of its own
        page.extend(String::from_utf8(part)?.replace(".SH ", ".SS ").bytes());
    }
    man.render_version_section(&mut page)?;
    Ok((String::from_utf8(page)?.trim_end().to_owned(), ExitCode::SUCCESS))
}

/// Exit code of misuse: a bad option, file or value.
const MISUSE: u8 = 2;

fn main() -> ExitCode {
    let program = Program::parse();
    if let Some(level) = program.log {
        logging::listen(level);
    }
    let result: Outcome = match program.command {
        Command::Portfolio(options) => match portfolio::run(&options) {
            Ok(text) => Ok((text, ExitCode::SUCCESS)),
            Err(error) => Err(error),
        },
        Command::Schedule(options) => schedule::run(&options).map(|text| (text, ExitCode::SUCCESS)),
        Command::Dispatch(options) => dispatch::run(&options),
        Command::Solve(options) => commands::solve(&options).map_err(Into::into),
        Command::Grad(options) => commands::grad(&options).map_err(Into::into),
        Command::Check(options) => commands::check(&options).map_err(Into::into),
        Command::Bench(options) => bench::run(&options).map_err(Into::into),
        Command::Schema => Ok((schema::SCHEMA.trim_end().to_owned(), ExitCode::SUCCESS)),
        Command::Completions { shell } => completions(shell),
        Command::Man => manual(),
    };
    match result {
        Ok((text, code)) => match writeln!(std::io::stdout(), "{text}") {
            // who reads has read enough, as `head` does: the outcome stands
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                say(&format!("bpqp: standard output cannot be written: {error}"));
                ExitCode::from(MISUSE)
            }
            _ => code,
        },
        Err(error) => {
            say(&format!("bpqp: {error}"));
            ExitCode::from(MISUSE)
        }
    }
}
