//! `bpqp solve | grad | check FILE.cbf`: conic programs in the Conic Benchmark Format. The loss of `grad` and `check` is the
//! sum of the variables.

use crate::commands::{AGREEMENT, FileOptions, Outcome, failure, pretty};
use crate::forms::{CertificateForm, CheckForm, CheckRowForm, ConicGradientForm, InfoForm, SolutionForm, value};
use crate::problem_file::FileError;
use crate::unpack;
use bpqp::cbf::{self, Cbf};
use bpqp::{ConicCheckRow, ConicCotangent, ConicSolution, ConicWrt, Settings, check_conic_gradient};
use serde_json::json;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

/// True if the name of the file says that it holds a conic program.
pub fn is_conic(file: &Path) -> bool {
    let name = file.to_string_lossy().to_lowercase();
    name.ends_with(".cbf") || name.ends_with(".cbf.gz")
}

/// Reads a file, unpacked to at most `limit` megabytes if its name ends in `.gz`.
pub fn read(file: &Path, limit: u64) -> Result<Cbf, FileError> {
    cbf::parse(&unpack::read(file, limit)?).map_err(|e| FileError::new(file, e))
}

fn solved(options: &FileOptions) -> Result<(Cbf, ConicSolution), crate::commands::CommandError> {
    let problem = read(&options.file, options.max_unpacked)?;
    let solution = problem.conic.solve(&Settings::default()).map_err(|e| options.library(e))?;
    Ok((problem, solution))
}

/// `bpqp solve`.
pub(crate) fn solve(options: &FileOptions) -> Outcome {
    let (problem, solution) = solved(options)?;
    Ok(report(options, &problem, &solution))
}

/// `bpqp grad`.
pub(crate) fn grad(options: &FileOptions) -> Outcome {
    let (problem, solution) = solved(options)?;
    if !solution.ok() {
        return Ok(report(options, &problem, &solution));
    }
    let ones = vec![1.0; problem.conic.n()];
    let result = solution.vjps(&[ConicCotangent::x(&ones)], ConicWrt::ALL);
    let (gradients, verdict) = result.map_err(|e| options.library(e))?;
    let gradient = &gradients[0];
    let mut a = problem.conic.a().clone();
    a.values_mut().copy_from_slice(gradient.a.as_deref().unwrap_or_default());
    let value = value(&ConicGradientForm {
        verdict: verdict.name(),
        status: solution.status.name(),
        q: gradient.q.as_deref(),
        a: &a,
        b: gradient.b.as_deref(),
    });
    if options.json {
        return Ok((pretty(&value), ExitCode::SUCCESS));
    }
    let mut text = format!("verdict    {verdict}");
    for name in ["q", "b", "A"] {
        let _ = write!(text, "\nd{name:<9} {}", value[name]);
    }
    Ok((text, ExitCode::SUCCESS))
}

/// `bpqp check`.
pub(crate) fn check(options: &FileOptions) -> Outcome {
    let (problem, solution) = solved(options)?;
    if !solution.ok() {
        return Ok(report(options, &problem, &solution));
    }
    let ones = vec![1.0; problem.conic.n()];
    let cotangent = ConicCotangent::x(&ones);
    let (_, verdict) = solution.vjps(&[cotangent], ConicWrt::NONE).map_err(|e| options.library(e))?;
    let check = check_conic_gradient(&solution, &cotangent).map_err(|e| options.library(e))?;
    let wrong: Vec<&str> =
        check.table.iter().filter(|r| r.worst.is_nan() || r.worst > AGREEMENT).map(|r| r.block).collect();
    let code = if wrong.is_empty() { ExitCode::SUCCESS } else { failure() };
    if options.json {
        let row = |r: &ConicCheckRow| CheckRowForm {
            block: r.block,
            worst: r.worst,
            analytic: r.analytic,
            numeric: r.numeric,
            more: None,
        };
        let form = CheckForm {
            worst: check.worst,
            ok: wrong.is_empty(),
            disagreeing: &wrong,
            table: check.table.iter().map(row).collect(),
            verdict: verdict.name(),
        };
        return Ok((pretty(&value(&form)), code));
    }
    let mut text = format!("{check}\nverdict {verdict}");
    let _ = match wrong.is_empty() {
        true => write!(text, "\nevery block agrees to {AGREEMENT:.0e}"),
        false => write!(text, "\nDISAGREES by more than {AGREEMENT:.0e}: {}", wrong.join(", ")),
    };
    Ok((text, code))
}

fn report(options: &FileOptions, problem: &Cbf, s: &ConicSolution) -> (String, ExitCode) {
    let code = if s.ok() { ExitCode::SUCCESS } else { failure() };
    let r = &s.residuals;
    let objective = problem.objective(s.objective);
    let certificate = s.info.certificate.as_ref().map(CertificateForm::of_cones);
    if options.json {
        let form = SolutionForm {
            status: s.status.name(),
            ok: s.ok(),
            objective,
            x: &s.x,
            y: &s.y,
            s: Some(&s.s),
            z: None,
            z_box: None,
            verdict: s.verdict().name(),
            residuals: (&s.residuals).into(),
            info: InfoForm { solver: s.info.solver, iterations: s.info.iterations, time: s.info.time, certificate },
            shift: None,
        };
        return (pretty(&value(&form)), code);
    }
    let mut text = format!("status     {}\nsolver     {}, {} iterations", s.status, s.info.solver, s.info.iterations);
    if let Some(certificate) = certificate {
        let _ = write!(text, "\nproof      {}", value(&certificate));
    }
    if s.ok() {
        let _ = write!(text, "\nobjective  {objective}");
        let _ = write!(text, "\nresiduals  primal {:.1e}, dual {:.1e}, gap {:.1e}", r.primal, r.dual, r.gap);
        let _ = write!(text, "\nverdict    {}", s.verdict());
        for (name, v) in [("x", &s.x), ("s", &s.s), ("y", &s.y)] {
            let _ = write!(text, "\n{name:<10} {}", json!(v));
        }
    }
    (text, code)
}
