//! Dispatch of a power grid: cost, schedule, prices at every bus, and how prices move with the load.

mod picture;
mod results;

use bpqp::Settings;
use bpqp_grid::{Case, Dispatch, Model};
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

pub use picture::prices;
pub use results::Results;

/// Dispatch a power grid: the schedule of its generators that costs least, the price of power at every bus, and how prices move
/// with the load.
///
/// CASE is a file of MATPOWER, as those of PGLib. Without --ac the flow is linear (no losses, no voltages) and the program
/// convex; with --ac it is the full power flow, and the schedule a local solution. Derivatives come from one factorization at
/// the solution; a verdict says how far they may be trusted.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// The grid: a .m file of MATPOWER, format 2
    #[arg(value_name = "CASE.m")]
    pub case: PathBuf,
    /// The full power flow: voltages, reactive power, losses
    #[arg(long)]
    pub ac: bool,
    /// Multiply all loads
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    pub load: f64,
    /// Write a report as one web page, with a picture of the prices
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// Write the picture alone
    #[arg(long, value_name = "FILE.svg")]
    pub picture: Option<PathBuf>,
    /// Print everything as JSON instead of tables
    #[arg(long)]
    pub json: bool,
}

/// Files above this size are none of a grid.
const LARGEST: u64 = 256 << 20;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Runs the command.
pub fn run(options: &Options) -> Result<(String, ExitCode), Failure> {
    let path = options.case.display();
    if !(options.load.is_finite() && options.load >= 0.0) {
        return Err(format!("--load {}: choose a number >= 0", options.load).into());
    }
    let size = std::fs::metadata(&options.case).map_err(|e| format!("{path}: {e}"))?.len();
    if size > LARGEST {
        return Err(format!("{path}: {size} bytes, at most {LARGEST} are read").into());
    }
    let text = std::fs::read(&options.case).map_err(|e| format!("{path}: {e}"))?;
    let mut case = Case::parse(&String::from_utf8_lossy(&text)).map_err(|e| format!("{path}: {e}"))?;
    for bus in &mut case.buses {
        bus.load *= options.load;
        bus.reactive *= options.load;
    }
    let model = if options.ac { Model::Ac } else { Model::Dc };
    let dispatch = Dispatch::solve(&case, model, &Settings::default())?;
    let name = options.case.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let ok = dispatch.ok();
    let results = Results::new(&name, options.ac, dispatch)?;
    for (file, text) in
        [(&options.report, ok.then(|| results.page())), (&options.picture, ok.then(|| picture::alone(&results)))]
    {
        if let (Some(file), Some(text)) = (file, text) {
            std::fs::write(file, text).map_err(|e| format!("{}: {e}", file.display()))?;
        }
    }
    let text = if options.json { serde_json::to_string_pretty(&results)? } else { results.text() };
    Ok((text, if ok { ExitCode::SUCCESS } else { ExitCode::from(1) }))
}
