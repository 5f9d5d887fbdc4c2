//! `bpqp solve | grad | check FILE`, and `bpqp check` of the program itself.

use crate::conic_file;
use crate::forms::{
    CertificateForm, CheckForm, CheckMore, CheckRowForm, GradientForm, InfoForm, ShiftForm, SolutionForm, value,
};
use crate::problem_file::{self, FileError, ProblemFile};
use crate::qps_file;
use crate::unpack;
use bpqp::check::BlockCheck;
use bpqp::{Layer, Solution, Wrt, check_gradient};
use clap::Args;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// The worst relative error that `check` accepts.
pub(crate) const AGREEMENT: f64 = 1e-6;

/// A problem file and how to print the result.
#[derive(Debug, Args)]
pub struct FileOptions {
    /// The problem: JSON with P, q, G, h, A, b, lb, ub, cotangents dx, dy, ..., settings (- is standard input; `bpqp schema`
    /// prints what there may be), an MPS or QPS file as FILE.mps or FILE.qps, or a conic program as FILE.cbf (.gz too)
    pub file: PathBuf,
    /// Print JSON for machines
    #[arg(long)]
    pub json: bool,
    /// What a file packed with gzip may unpack to
    #[arg(long, value_name = "MB", default_value_t = unpack::MAX_UNPACKED)]
    pub max_unpacked: u64,
}

/// Compare the gradient of a problem with finite differences; without a file, that of a problem the program brings
#[derive(Debug, Args)]
pub struct CheckOptions {
    /// The problem, as for `bpqp solve`
    pub file: Option<PathBuf>,
    /// Print JSON for machines
    #[arg(long)]
    pub json: bool,
    /// What a file packed with gzip may unpack to
    #[arg(long, value_name = "MB", default_value_t = unpack::MAX_UNPACKED)]
    pub max_unpacked: u64,
}

/// With every block there is: dense P, an active row and an active bound, multipliers in the loss.
const BUILT_IN: &str = r#"{"P": [[4, 1, 0], [1, 2, 0.5], [0, 0.5, 3]], "q": [1, -2, 0.5], "A": [[1, 1, 1]], "b": [1],
    "G": [[1, -1, 0], [0, 1, 2]], "h": [-0.75, 5], "lb": [-1, null, 0.125], "ub": [1, 2, null],
    "dx": [1, -0.5, 2], "dy": [0.5], "dz": [0.25, 0], "dz_box": [0, 0, -1], "dobjective": 1}"#;

/// What the user has to change.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The file is at fault.
    #[error(transparent)]
    File(#[from] FileError),
    /// The library refused.
    #[error("{file}: {error}")]
    Library {
        /// The problem file.
        file: String,
        /// What it said.
        error: bpqp::Error,
    },
}

pub(crate) type Outcome = Result<(String, ExitCode), CommandError>;

/// The problem was not solved, or `check` disagrees.
pub(crate) fn failure() -> ExitCode {
    ExitCode::from(1)
}

pub(crate) fn pretty(value: &Value) -> String {
    format!("{value:#}")
}

impl FileOptions {
    pub(crate) fn library(&self, error: bpqp::Error) -> CommandError {
        CommandError::Library { file: self.file.display().to_string(), error }
    }

    fn problem(&self) -> Result<ProblemFile, FileError> {
        match qps_file::is_qps(&self.file) {
            true => qps_file::read(&self.file, self.max_unpacked),
            false => problem_file::read(&self.file),
        }
    }

    fn unsolved(&self, solution: &Solution) -> (String, ExitCode) {
        (self.show(solution, solution.objective), failure())
    }

    /// A solution, with the objective of the file.
    fn show(&self, solution: &Solution, objective: f64) -> String {
        if self.json { pretty(&solution_json(solution, objective)) } else { solution_text(solution, objective) }
    }
}

/// `bpqp solve`.
pub fn solve(options: &FileOptions) -> Outcome {
    if conic_file::is_conic(&options.file) {
        return conic_file::solve(options);
    }
    let problem = options.problem()?;
    let solution = problem.qp.solve(&problem.settings).map_err(|e| options.library(e))?;
    if !solution.ok() {
        return Ok(options.unsolved(&solution));
    }
    Ok((options.show(&solution, problem.objective(solution.objective)), ExitCode::SUCCESS))
}

/// `bpqp grad`.
pub fn grad(options: &FileOptions) -> Outcome {
    if conic_file::is_conic(&options.file) {
        return conic_file::grad(options);
    }
    let problem = options.problem()?;
    let mut layer = Layer::new(problem.qp, problem.settings).map_err(|e| options.library(e))?;
    layer.solve().map_err(|e| options.library(e))?;
    if !layer.solution().ok() {
        return Ok(options.unsolved(layer.solution()));
    }
    let gradient = layer.vjp(&problem.cotangent, Wrt::ALL).map_err(|e| options.library(e))?.clone();
    let verdict = layer.verdict().name();
    let mut form = GradientForm::from(&gradient);
    if options.json {
        (form.verdict, form.status) = (Some(verdict), Some(layer.solution().status.name()));
        return Ok((pretty(&value(&form)), ExitCode::SUCCESS));
    }
    let mut text = format!("verdict    {verdict}");
    for (name, value) in value(&form).as_object().into_iter().flatten() {
        let _ = write!(text, "\nd{name:<9} {value}");
    }
    Ok((text, ExitCode::SUCCESS))
}

/// `bpqp check`.
pub fn check(options: &CheckOptions) -> Outcome {
    let file = options.file.clone().unwrap_or_else(|| "the problem that the program brings".into());
    let own = options.file.is_none();
    let options = &FileOptions { file, json: options.json, max_unpacked: options.max_unpacked };
    if conic_file::is_conic(&options.file) {
        return conic_file::check(options);
    }
    let problem = match own {
        true => problem_file::parse(BUILT_IN).map_err(|e| FileError::new(&options.file, e))?,
        false => options.problem()?,
    };
    let solution = problem.qp.solve(&problem.settings).map_err(|e| options.library(e))?;
    if !solution.ok() {
        return Ok(options.unsolved(&solution));
    }
    let check = check_gradient(&solution, &problem.cotangent).map_err(|e| options.library(e))?;
    let wrong: Vec<&str> =
        check.table.iter().filter(|r| r.worst.is_nan() || r.worst > AGREEMENT).map(|r| r.block).collect();
    let code = if wrong.is_empty() { ExitCode::SUCCESS } else { failure() };
    if options.json {
        let row = |r: &BlockCheck| CheckRowForm {
            block: r.block,
            worst: r.worst,
            analytic: r.analytic,
            numeric: r.numeric,
            more: Some(CheckMore { entries: r.entries, checked: r.checked, at: r.at.to_string(), kinks: r.kinks }),
        };
        let form = CheckForm {
            worst: check.worst,
            ok: wrong.is_empty(),
            disagreeing: &wrong,
            table: check.table.iter().map(row).collect(),
            verdict: solution.verdict().name(),
        };
        return Ok((pretty(&value(&form)), code));
    }
    let mut text = check.to_string();
    let kinks: usize = check.table.iter().map(|r| r.kinks).sum();
    if kinks > 0 {
        let _ = write!(text, "\n{kinks} entries have a kink within the smallest step: the active set changes there");
    }
    let _ = match wrong.is_empty() {
        true => write!(text, "\nevery block agrees to {AGREEMENT:.0e}"),
        false => write!(text, "\nDISAGREES by more than {AGREEMENT:.0e}: {}", wrong.join(", ")),
    };
    Ok((text, code))
}

fn solution_json(s: &Solution, objective: f64) -> Value {
    value(&SolutionForm {
        status: s.status.name(),
        ok: s.ok(),
        objective,
        x: &s.x,
        y: &s.y,
        s: None,
        z: Some(&s.z),
        z_box: Some(&s.z_box),
        verdict: s.verdict().name(),
        residuals: (&s.residuals).into(),
        info: InfoForm {
            solver: s.info.solver,
            iterations: s.info.iterations,
            time: s.info.time,
            certificate: s.info.certificate.as_ref().map(CertificateForm::new),
        },
        shift: s.shift().map(|(a, g)| ShiftForm { a, g }),
    })
}

fn solution_text(s: &Solution, objective: f64) -> String {
    let mut text = format!("status     {}\nsolver     {}, {} iterations", s.status, s.info.solver, s.info.iterations);
    if let Some(certificate) = &s.info.certificate {
        let _ = write!(text, "\nproof      {}", value(&CertificateForm::new(certificate)));
    }
    if s.ok() {
        let r = &s.residuals;
        let _ = write!(text, "\nobjective  {objective}");
        let _ = write!(text, "\nresiduals  primal {:.1e}, dual {:.1e}, gap {:.1e}", r.primal, r.dual, r.gap);
        let _ = write!(text, "\nverdict    {}", s.verdict());
        if let Some((a, g)) = s.shift() {
            let _ = write!(text, "\nshifted    A {}, G {}", json!(a), json!(g));
            let _ = write!(text, "\nx          {}", json!(s.x));
            return text;
        }
        for (name, v) in [("x", &s.x), ("y", &s.y), ("z", &s.z), ("z_box", &s.z_box)] {
            let _ = write!(text, "\n{name:<10} {}", json!(v));
        }
    }
    text
}
