//! `bpqp bench`: the families of the paper's tables, and some that it lacks, timed on one thread.

use bpqp::{
    Cone, Conic, ConicCotangent, ConicLayer, ConicWrt, Cotangent, Csc, Error, Layer, Qp, Settings, Verdict, Wrt,
};
use bpqp_problems::{Rng, paper};
use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Time this library on the paper's problems, one thread: medians of solving and differentiating
#[derive(Debug, Args)]
pub struct BenchOptions {
    /// Small sizes only, a few seconds in all
    #[arg(long)]
    pub quick: bool,
    /// Print JSON for machines
    #[arg(long)]
    pub json: bool,
}

/// Time spent on one number, and repetitions at most.
const BUDGET: Duration = Duration::from_millis(300);
const REPETITIONS: usize = 200;

/// Seconds of one problem.
struct Row {
    name: String,
    forward: f64,
    again: f64,
    backward: f64,
    all: f64,
    iterations: usize,
    verdict: Verdict,
}

/// Median of repeated calls; the first does not count.
fn median(mut f: impl FnMut() -> Result<(), Error>) -> Result<f64, Error> {
    f()?;
    let (mut times, start) = (Vec::new(), Instant::now());
    while times.is_empty() || (times.len() < REPETITIONS && start.elapsed() < BUDGET) {
        let once = Instant::now();
        f()?;
        times.push(once.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

fn quadratic(name: String, qp: &Qp) -> Result<Row, Error> {
    // a problem with the same numbers at other addresses: nothing can be recognized
    let fresh = || {
        let new = Qp::new(qp.p().clone(), qp.q())?;
        let new = new.equality(qp.a().clone(), qp.b())?.inequality(qp.g().clone(), qp.h())?;
        new.bounds(qp.lb(), qp.ub())
    };
    // the previous layer goes when the next one is there, so that its memory is not returned in between
    let mut previous = None;
    let forward = median(|| {
        let mut layer = Layer::new(fresh()?, Settings::default())?;
        layer.solve()?;
        previous = Some(layer);
        Ok(())
    })?;
    drop(previous);
    let mut layer = Layer::new(qp.clone(), Settings::default())?;
    layer.solve()?;
    let again = median(|| layer.update(qp.clone()).and_then(|()| layer.solve().map(drop)))?;
    let cotangent = Cotangent::x(&vec![1.0; qp.n()]);
    let backward = median(|| layer.vjp(&cotangent, Wrt::Q).map(drop))?;
    let all = median(|| layer.vjp(&cotangent, Wrt::ALL).map(drop))?;
    let iterations = layer.solution().info.iterations;
    Ok(Row { name, forward, again, backward, all, iterations, verdict: layer.verdict() })
}

/// A linear objective over a ball, the paper's second-order cone program.
fn ball(n: usize) -> Result<Conic, Error> {
    let mut rng = Rng::new(1);
    let entries: Vec<_> = (0..n).map(|j| (j + 1, j, -1.0)).collect();
    let mut b = vec![0.0; n + 1];
    b[0] = rng.normals(n).iter().map(|v| v * v).sum::<f64>().sqrt();
    let a = Csc::from_triplets(n + 1, n, &entries)?;
    Conic::new(None, rng.normals(n), a, b, vec![Cone::SecondOrder(n + 1)])
}

fn conic(name: String, conic: &Conic) -> Result<Row, Error> {
    let forward = median(|| ConicLayer::new(conic.clone(), Settings::default())?.solve().map(drop))?;
    let mut layer = ConicLayer::new(conic.clone(), Settings::default())?;
    layer.solve()?;
    let q = conic.q().to_vec();
    let again = median(|| layer.update(None, Some(&q), None, None).and_then(|()| layer.solve().map(drop)))?;
    let ones = vec![1.0; conic.n()];
    let cotangent = ConicCotangent::x(&ones);
    let backward = median(|| layer.vjp(&cotangent, ConicWrt { q: true, ..ConicWrt::NONE }).map(drop))?;
    let all = median(|| layer.vjp(&cotangent, ConicWrt::ALL).map(drop))?;
    let iterations = layer.solution().info.iterations;
    Ok(Row { name, forward, again, backward, all, iterations, verdict: layer.verdict() })
}

type Task = (String, Box<dyn Fn(String) -> Result<Row, Error>>);

fn tasks(quick: bool) -> Vec<Task> {
    let mut tasks: Vec<Task> = Vec::new();
    let mut add = |name: String, qp: Box<dyn Fn() -> Qp>| {
        tasks.push((name, Box::new(move |name| quadratic(name, &qp()))));
    };
    let sizes: &[(usize, usize)] =
        if quick { &[(10, 5), (50, 10)] } else { &[(10, 5), (50, 10), (100, 20), (500, 100), (1000, 200)] };
    for &(n, m) in sizes {
        add(format!("QP {n} x {m}"), Box::new(move || paper::qp(n, m, 1)));
        add(format!("QP {n} x {m}, half active"), Box::new(move || paper::half_active(n, m, 1)));
    }
    for &(n, m) in &sizes[..sizes.len().min(4)] {
        add(format!("LP + 1e-6 |x|^2, {n} x {m}"), Box::new(move || paper::lp(n, m, 1e-6, 1)));
    }
    let (assets, horizon, points) = if quick { (50, 10, 500) } else { (500, 100, 10_000) };
    add(format!("portfolio, {assets} names"), Box::new(move || paper::portfolio(assets, 1)));
    add(format!("control, horizon {horizon}"), Box::new(move || paper::mpc(horizon, 1)));
    add(format!("projection, {points} variables"), Box::new(move || paper::projection(points, 1)));
    for &n in if quick { &[10, 50][..] } else { &[10, 50, 100, 500] } {
        tasks.push((format!("SOCP {n}"), Box::new(move |name| conic(name, &ball(n)?))));
    }
    tasks
}

/// Times everything; the table, or JSON.
pub fn run(options: &BenchOptions) -> Result<(String, ExitCode), Error> {
    let tasks = tasks(options.quick);
    let bar = ProgressBar::with_draw_target(Some(tasks.len() as u64), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{msg:28} {wide_bar:.cyan/blue} {pos}/{len}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let mut rows = Vec::new();
    for (name, task) in tasks {
        bar.set_message(name.clone());
        rows.push(task(name)?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let text = if options.json { format!("{:#}", machine(&rows)) } else { table(&rows) };
    Ok((text, ExitCode::SUCCESS))
}

fn machine(rows: &[Row]) -> Value {
    let row = |r: &Row| {
        json!({
            "problem": r.name, "forward_s": r.forward, "forward_same_matrices_s": r.again, "backward_q_s": r.backward,
            "backward_all_s": r.all, "iterations": r.iterations, "verdict": r.verdict.name(),
        })
    };
    Value::Array(rows.iter().map(row).collect())
}

/// A time in the unit that suits it.
fn time(seconds: f64) -> String {
    if seconds < 1e-3 { format!("{:.1} us", 1e6 * seconds) } else { format!("{:.2} ms", 1e3 * seconds) }
}

fn table(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    let header = ["problem", "forward", "forward,\nsame matrices", "backward,\nfor q", "backward,\nall blocks"];
    table.set_header(header.into_iter().chain(["iterations", "verdict"]));
    for r in rows {
        let times = [r.forward, r.again, r.backward, r.all].map(time);
        let rest = [r.iterations.to_string(), r.verdict.name().to_owned()];
        table.add_row(std::iter::once(r.name.clone()).chain(times).chain(rest));
    }
    for column in 1..6 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}
