//! The command `bpqp portfolio` from options to output.

use super::dataset::{Dataset, Rule};
use super::metrics::Days;
use super::options::{Form, Loss, Methods, Options};
use super::prices::{Prices, Selection};
use super::progress::Progress;
use super::results::{Benchmark, Comparison, DataSummary, MethodResults, Results, RuleSummary, SeedResults, caveats};
use super::train::{DecisionLoss, Engine, Method, Training};
use super::{report, table};
use crate::say;
use std::fs::OpenOptions;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Days and stocks of `--quick`.
const QUICK: (usize, usize) = (1500, 10);

/// Runs the command; the text for standard output.
pub fn run(options: &Options) -> Result<String, Failure> {
    if let Some(file) = &options.report {
        // Before the work, not after it.
        OpenOptions::new().create(true).append(true).open(file).map_err(|e| unwritable(file, &e))?;
    }
    let stop = stop_on_interrupt()?;
    let results = results(options, &stop)?;
    if let Some(file) = &options.report {
        std::fs::write(file, report::page(&results)).map_err(|e| unwritable(file, &e))?;
        say(&format!("report: {}", file.display()));
    }
    Ok(if options.json { serde_json::to_string_pretty(&results)? } else { table::text(&results) })
}

fn unwritable(file: &Path, error: &std::io::Error) -> Failure {
    format!("{}: the report cannot be written: {error}", file.display()).into()
}

/// The first interrupt asks the training to end with the best model so far; the second ends the program.
fn stop_on_interrupt() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        say("\nstopping: the report of the best model so far follows (interrupt again to leave at once)");
    })?;
    Ok(stop)
}

/// Reads the data, trains and measures.
pub fn results(options: &Options, stop: &AtomicBool) -> Result<Results, Failure> {
    let started = Instant::now();
    let prices = load(options)?;
    options.check(prices.tickers.len())?;
    let threads = options.threads.unwrap_or(0);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    let data = pool.install(|| Dataset::new(prices))?;
    let rule =
        Rule { risk_aversion: options.risk_aversion, cap: options.cap, dense: options.covariance == Form::Dense };
    let loss = match options.loss {
        Loss::Mixed => DecisionLoss::Mixed { beta: options.beta },
        Loss::Regret => DecisionLoss::Regret,
    };
    let training = Training {
        epochs: options.epochs(),
        batch: options.batch,
        learning_rate: options.learning_rate,
        weight_decay: options.weight_decay,
        loss,
        threads,
    };
    let engine = pool.install(|| Engine::new(&data, rule, training))?;

    let methods: &[Method] = match options.method {
        Methods::TwoStage => &[Method::TwoStage],
        Methods::Bpqp => &[Method::Bpqp],
        Methods::All => &[Method::TwoStage, Method::Bpqp],
    };
    let seeds: Vec<u64> = (0..options.seeds() as u64).map(|k| options.seed + k).collect();
    // Seed by seed, so that an interrupted run has every method of the seeds that it finished.
    let plan: Vec<(Method, u64)> = seeds.iter().flat_map(|&s| methods.iter().map(move |&m| (m, s))).collect();
    let mut progress = Progress::new(&plan, training.epochs);
    let summary = DataSummary::of(&data);
    progress.say(&format!(
        "{}: {} stocks, {} days; {} features; {} training, {} validation, {} test days",
        summary.source,
        summary.tickers.len(),
        summary.days,
        summary.features.len(),
        summary.train.days,
        summary.validation.days,
        summary.test.days
    ));
    let mut done: Vec<(Method, SeedResults)> = Vec::new();
    for (at, &(method, seed)) in plan.iter().enumerate() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        progress.start(at);
        let trained = pool.install(|| engine.train(method, seed, stop, |event| progress.event(event)))?;
        let validation = engine.evaluate(&trained.model, data.split.validation.clone())?;
        let test = engine.evaluate(&trained.model, data.split.test.clone())?;
        done.push((method, SeedResults::of(seed, &trained, &validation, &test)));
    }
    progress.finish();

    let mut by_method: Vec<MethodResults> = Vec::new();
    for &method in methods {
        let (mine, rest) = done.into_iter().partition(|(m, _)| *m == method);
        done = rest;
        let mine: Vec<(Method, SeedResults)> = mine;
        if !mine.is_empty() {
            by_method.push(MethodResults::of(method, mine.into_iter().map(|(_, s)| s).collect()));
        }
    }
    let benchmark = |name, validation: Days, test: Days| Benchmark {
        name,
        validation: validation.metrics(),
        test: test.metrics(),
        returns: test.returns(),
    };
    let (before, after) = (data.split.validation.clone(), data.split.test.clone());
    let mut results = Results {
        comparison: Comparison::of(&by_method),
        methods: by_method,
        benchmarks: vec![
            benchmark("equal weight", engine.equal_weight(before.clone()), engine.equal_weight(after.clone())),
            benchmark("minimum variance", engine.minimum_variance(before)?, engine.minimum_variance(after)?),
        ],
        data: summary,
        rule: RuleSummary::of(&rule),
        training,
        interrupted: stop.load(Ordering::Relaxed),
        caveats: Vec::new(),
        test_dates: data.split.test.clone().map(|s| data.date(s).to_owned()).collect(),
        seconds: started.elapsed().as_secs_f64(),
    };
    results.caveats = caveats(&results);
    Ok(results)
}

fn load(options: &Options) -> Result<Prices, Failure> {
    let prices = match &options.data {
        Some(file) => Prices::read_within(file, options.extra.as_deref(), options.max_unpacked)?,
        None => Prices::built_in()?,
    };
    let (from, until) = (options.from.clone(), options.until.clone());
    let mut selection = Selection { from, until, stocks: options.stocks };
    if options.quick {
        let (days, stocks) = QUICK;
        selection.stocks = Some(selection.stocks.unwrap_or(stocks));
        let selected = prices.select(&selection)?;
        let first = selected.dates.len().saturating_sub(days);
        selection.from = Some(selected.dates[first].clone());
    }
    Ok(prices.select(&selection)?)
}
