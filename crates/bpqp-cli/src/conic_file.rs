//! `bpqp solve | grad | check FILE.cbf`: conic programs in the Conic Benchmark Format. The loss of `grad` and `check` is the
//! sum of the variables.

use crate::commands::{AGREEMENT, FileOptions, Outcome, failure, pretty, sparse_json};
use crate::problem_file::FileError;
use crate::unpack;
use bpqp::cbf::{self, Cbf};
use bpqp::{Certificate, ConicCotangent, ConicSolution, ConicWrt, Settings, check_conic_gradient};
use serde_json::{Value, json};
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
    let value = json!({"verdict": verdict.name(), "status": solution.status.name(), "q": gradient.q,
                       "A": sparse_json(&a), "b": gradient.b});
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
        let rows: Vec<Value> = check
            .table
            .iter()
            .map(|r| json!({"block": r.block, "worst": r.worst, "analytic": r.analytic, "numeric": r.numeric}))
            .collect();
        let value = json!({"worst": check.worst, "ok": wrong.is_empty(), "disagreeing": wrong, "table": rows,
                           "verdict": verdict.name()});
        return Ok((pretty(&value), code));
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
    let certificate = s.info.certificate.as_ref().map(|c| match c {
        Certificate::PrimalInfeasible(p) => json!({"y": p.y}),
        Certificate::DualInfeasible(d) | Certificate::NonConvex(d) => json!({"direction": d}),
    });
    if options.json {
        let mut out = json!({
            "status": s.status.name(), "ok": s.ok(), "objective": objective, "x": s.x, "s": s.s, "y": s.y,
            "verdict": s.verdict().name(),
            "residuals": {"primal": r.primal, "dual": r.dual, "complementarity": r.complementarity, "gap": r.gap},
            "info": {"solver": s.info.solver, "iterations": s.info.iterations, "time": s.info.time.as_secs_f64()},
        });
        if let Some(certificate) = certificate {
            out["info"]["certificate"] = certificate;
        }
        return (pretty(&out), code);
    }
    let mut text = format!("status     {}\nsolver     {}, {} iterations", s.status, s.info.solver, s.info.iterations);
    if let Some(certificate) = certificate {
        let _ = write!(text, "\nproof      {certificate}");
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
