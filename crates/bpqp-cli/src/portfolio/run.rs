//! The command `bpqp portfolio` from options to output.

use super::dataset::{Dataset, Fold, GAP, LEAST_UNIT, days_needed, folds};
use super::engine::{Engine, Group, Method, Rule};
use super::friction::Friction;
use super::metrics::{Metrics, Series, mean};
use super::model_file::Model;
use super::options::{Learn, Options, PortfolioCommand, Source};
use super::prices::{DataError, Prices, Selection};
use super::progress::Progress;
use super::results::{Comparison, CostRow, DataSummary, Holding, Part, Period, Results, Row, SeedRow, caveats};
use super::training::{Epoch, Trained, Training};
use super::{report, stats, table, weights};
use crate::say;
use burn::module::Module;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Days of `--quick`.
const QUICK: usize = 1500;
/// Days whose weights `--save` reports.
const LATEST: usize = 5;

/// Runs the command; the text for standard output.
pub fn run(options: &Options) -> Result<String, Failure> {
    if let Some(PortfolioCommand::Weights(options)) = &options.command {
        return weights::run(options);
    }
    for file in [&options.report, &options.save].into_iter().flatten() {
        // Before the work, not after it.
        OpenOptions::new().create(true).append(true).open(file).map_err(|e| unwritable(file, &e))?;
    }
    let stop = stop_on_interrupt()?;
    let results = results(options, &stop)?;
    if let Some(file) = &options.report {
        std::fs::write(file, report::page(&results)).map_err(|e| unwritable(file, &e))?;
        say(&format!("report: {}", file.display()));
    }
    Ok(if options.json { serde_json::to_string(&results)? } else { table::text(&results) })
}

fn unwritable(file: &Path, error: &std::io::Error) -> Failure {
    format!("{}: cannot be written: {error}", file.display()).into()
}

/// The first interrupt asks the training to end with the best networks so far; the second ends the program.
fn stop_on_interrupt() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        say("\nstopping: the results of the best networks so far follow (interrupt again to leave at once)");
    })?;
    Ok(stop)
}

/// Reads the prices that the options name.
pub fn load(source: &Source, quick: bool) -> Result<Prices, DataError> {
    let prices = match &source.data {
        Some(file) => {
            Prices::read_with(file, source.extra.as_deref(), source.fill, source.drop_incomplete, source.max_unpacked)?
        }
        None if quick => Prices::built_in_small()?,
        None => Prices::built_in()?,
    };
    let (from, until) = (source.from.clone(), source.until.clone());
    let mut selection = Selection { from, until, stocks: source.stocks };
    if quick && selection.from.is_none() {
        let selected = prices.select(&selection)?;
        let first = selected.dates.len().saturating_sub(QUICK);
        selection.from = Some(selected.dates[first].clone());
    }
    let mut prices = prices.select(&selection)?;
    if source.data.is_some() {
        // What ships was looked through by hand.
        prices.remarks.extend(prices.likely_splits());
    }
    if quick {
        prices.remarks.push("--quick is a first look at a few days: that it runs, not what is to be gained".into());
    }
    Ok(prices)
}

/// The groups of a file `ticker,group`, each with the same cap.
fn groups(file: &Path, cap: f64, tickers: &[String]) -> Result<Vec<Group>, Failure> {
    let bad = |reason: String| -> Failure { format!("{}: {reason}", file.display()).into() };
    let mut reader = csv::ReaderBuilder::new().has_headers(false).trim(csv::Trim::All).from_path(file)?;
    let mut named: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (line, record) in reader.records().enumerate() {
        let record = record?;
        let (Some(ticker), Some(group)) = (record.get(0), record.get(1)) else {
            return Err(bad(format!("line {}: expected `ticker,group`", line + 1)));
        };
        // A stock of the file that is not in the data, or the line of names, says nothing.
        if let Some(stock) = tickers.iter().position(|t| t == ticker) {
            named.entry(group.to_owned()).or_default().push(stock);
        }
    }
    let ungrouped = tickers.len() - named.values().map(Vec::len).sum::<usize>().min(tickers.len());
    if named.is_empty() {
        return Err(bad(
            "none of its tickers is in the prices: write `ticker,group` with the names of the prices".into()
        ));
    }
    if ungrouped == 0 && cap * (named.len() as f64) < 1.0 {
        return Err(bad(format!(
            "{} groups of at most {cap} cannot hold the whole portfolio: raise --group-cap",
            named.len()
        )));
    }
    Ok(named.into_iter().map(|(name, stocks)| Group { name, stocks, cap }).collect())
}

/// One method of one seed and period.
struct Outcome {
    curve: Vec<Epoch>,
    chosen: usize,
    weights: Vec<Vec<f64>>,
    free: Series,
    friction: Friction,
    costed: Series,
}

/// A seed and period.
type Job = BTreeMap<Method, Outcome>;

struct Run<'a> {
    engine: Engine<'a>,
    training: Training,
    cost: f64,
    validation_only: bool,
    progress: &'a Progress,
    stop: &'a AtomicBool,
}

impl Run<'_> {
    fn reported(&self, fold: &Fold) -> Range<usize> {
        if self.validation_only { fold.validation.clone() } else { fold.test.clone() }
    }

    /// The methods without a network.
    fn plain(&self, fold: &Fold) -> Result<Job, Failure> {
        let days = self.reported(fold);
        let weights = self.engine.equal_weight(days.clone());
        let free = self.engine.series(days, &weights);
        let costed = free.clone();
        let equal = Outcome { curve: Vec::new(), chosen: 0, weights, free, friction: Friction::default(), costed };
        let nothing = |days: Range<usize>| vec![0.0; days.len() * self.engine.data.stocks()];
        let fixed = self.outcome(fold, nothing, Vec::new(), 0)?;
        Ok(BTreeMap::from([(Method::EqualWeight, equal), (Method::Static, fixed)]))
    }

    /// The methods with a network.
    fn trained(&self, k: usize, fold: &Fold, seed: u64) -> Result<Job, Failure> {
        let mut job = Job::new();
        for (method, trained) in self.networks(Some(k), fold, seed)? {
            let said = |days: Range<usize>| self.engine.say(&trained.model.valid(), days);
            job.insert(method, self.outcome(fold, said, trained.curve.clone(), trained.best)?);
        }
        Ok(job)
    }

    fn networks(&self, k: Option<usize>, fold: &Fold, seed: u64) -> Result<Vec<(Method, Trained)>, Failure> {
        let (e, t, stop) = (&self.engine, &self.training, self.stop);
        let watch =
            |method: Method, epochs: usize| move |epoch: &Epoch| self.progress.pass(k, seed, method, epoch, epochs);
        let first = e.two_stage(t, fold, seed, stop, &watch(Method::TwoStage, t.epochs))?;
        let tuned = |method: Method| e.tuned(t, &first.model, method, fold, seed, stop, &watch(method, t.tune));
        let (control, mut through) = (tuned(Method::Control)?, tuned(Method::Through)?);
        if e.learn == Learn::Returns {
            // Kept only if the validation days prefer it to more training of the other kind.
            let judged = |m: &Trained| -> Result<f64, Failure> {
                let days = fold.validation.clone();
                Ok(e.judge(days.clone(), &e.decide(days.clone(), &e.say(&m.model.valid(), days))?))
            };
            if judged(&through)? >= judged(&control)? {
                through = Trained { best: 0, model: control.model.clone(), curve: through.curve };
            }
        }
        Ok(vec![(Method::TwoStage, first), (Method::Control, control), (Method::Through, through)])
    }

    /// What trading costs and risk cost together, less what was earned where returns are forecast.
    fn burden(&self, series: &Series) -> f64 {
        let half = 0.5 * self.engine.rule.risk_aversion;
        let earned = if self.engine.learn == Learn::Returns { 1.0 } else { 0.0 };
        let day = |(r, t): (&f64, &f64)| half * r * r + self.cost * t - earned * r;
        mean(&series.returns.iter().zip(&series.traded).map(day).collect::<Vec<f64>>())
    }

    fn outcome(
        &self,
        fold: &Fold,
        said: impl Fn(Range<usize>) -> Vec<f32>,
        curve: Vec<Epoch>,
        chosen: usize,
    ) -> Result<Outcome, Failure> {
        let (e, days) = (&self.engine, self.reported(fold));
        let before = said(fold.validation.clone());
        let friction = self.friction(fold, &before)?;
        let said = if self.validation_only { before } else { said(days.clone()) };
        let weights = e.decide(days.clone(), &said)?;
        let free = e.series(days.clone(), &weights);
        let costed = e.series(days.clone(), &e.path(days, &said, friction)?);
        Ok(Outcome { curve, chosen, weights, free, friction, costed })
    }

    /// The price of trading with the least burden on the validation days.
    fn friction(&self, fold: &Fold, said: &[f32]) -> Result<Friction, Failure> {
        let mut best = (f64::INFINITY, Friction::default());
        for friction in Friction::TRIED {
            let days = fold.validation.clone();
            let burden = self.burden(&self.engine.series(days.clone(), &self.engine.path(days, said, friction)?));
            if burden < best.0 {
                best = (burden, friction);
            }
            if self.cost == 0.0 {
                break;
            }
        }
        Ok(best.1)
    }

    /// Trains on the latest days that have outcomes, for use from the last day on.
    fn latest(&self, unit: usize, seed: u64) -> Result<Model, Failure> {
        let e = &self.engine;
        let (end, start) = (e.data.samples() - GAP, e.data.samples().saturating_sub(GAP + 5 * unit));
        let fold = Fold { train: start..end - unit - GAP, validation: end - unit..end, test: end..end };
        let networks = self.networks(None, &fold, seed)?;
        let through = &networks[2].1.model.valid();
        let days = fold.validation.clone();
        let said = e.say(through, days.clone());
        let realized = e.realized(days.clone(), &said, &e.decide(days, &said)?);
        let friction = self.friction(&fold, &said)?;
        let trained = (e.data.date(start).to_owned(), e.data.date(end - 1).to_owned());
        Ok(Model::new(e.data, e.learn, e.rule, (friction, realized), through, trained))
    }
}

/// Reads the data, trains and measures.
pub fn results(options: &Options, stop: &AtomicBool) -> Result<Results, Failure> {
    let started = Instant::now();
    let prices = load(&options.source, options.quick)?;
    options.check(prices.tickers.len())?;
    let threads = options.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    let (count, stocks, days) = (options.folds(), prices.tickers.len(), prices.dates.len());
    if days < days_needed(count) || stocks < 2 {
        return Err(DataError::TooLittle { days, stocks, needed: days_needed(count) }.into());
    }
    let rule = Rule {
        cap: options.cap(stocks),
        groups: match &options.groups {
            Some(file) => groups(file, options.group_cap, &prices.tickers)?,
            None => Vec::new(),
        },
        risk_aversion: options.risk_aversion,
    };
    let data = pool.install(|| Dataset::new(prices))?;
    let walk = folds(data.scored() - super::dataset::AHEAD + 1, count);
    let (training, seeds) = (options.training(), options.seeds());
    let trainings = walk.len() * seeds + usize::from(options.save.is_some());
    let progress = Progress::new(&[
        (Method::TwoStage, trainings * training.epochs),
        (Method::Control, trainings * training.tune),
        (Method::Through, trainings * training.tune),
    ]);
    let summary = DataSummary::of(&data);
    progress.say(&format!(
        "{}: {} stocks, {} days; {} features; {} test periods, {} seeds",
        summary.source,
        summary.tickers.len(),
        summary.days,
        summary.features.len(),
        walk.len(),
        seeds
    ));
    summary.remarks.iter().for_each(|r| progress.say(&format!("note: {r}")));
    let run = Run {
        engine: Engine::new(&data, options.learn, &rule),
        training,
        cost: 1e-4 * options.cost_bps,
        validation_only: options.validate,
        progress: &progress,
        stop,
    };
    let seeds: Vec<u64> = (0..seeds as u64).map(|k| options.seed + k).collect();
    let jobs: Vec<(u64, usize)> = seeds.iter().flat_map(|&s| (0..walk.len()).map(move |k| (s, k))).collect();
    let done = side_by_side(threads, &jobs, stop, |&(seed, k)| pool.install(|| run.trained(k, &walk[k], seed)))?;
    let begun: BTreeMap<(u64, usize), Job> =
        jobs.iter().copied().zip(done).filter_map(|(k, j)| Some((k, j?))).collect();
    // After an interrupt: the periods that the first seed has, and the seeds that have them all.
    let kept: Vec<usize> = (0..walk.len()).filter(|&k| begun.contains_key(&(seeds[0], k))).collect();
    let seeds: Vec<u64> = seeds.into_iter().filter(|&s| kept.iter().all(|&k| begun.contains_key(&(s, k)))).collect();
    let plain: Result<Vec<Job>, Failure> = kept.iter().map(|&k| pool.install(|| run.plain(&walk[k]))).collect();
    let plain = plain?;
    let model = match &options.save {
        Some(file) => {
            let unit = walk[0].validation.len().max(LEAST_UNIT);
            let model = pool.install(|| run.latest(unit, seeds[0]))?;
            model.write(file)?;
            Some(model)
        }
        None => None,
    };
    progress.finish();
    let latest = model.map(|m| pool.install(|| m.weights(&data, LATEST, None))).transpose()?;

    let folds: Vec<&Fold> = kept.iter().map(|&k| &walk[k]).collect();
    let reported: Vec<Range<usize>> = folds.iter().map(|f| run.reported(f)).collect();
    let dates: Vec<String> = reported.iter().cloned().flatten().map(|s| data.date(s).to_owned()).collect();
    let (mut rows, mut with_costs) = (Vec::new(), Vec::new());
    for method in [Method::EqualWeight, Method::Static, Method::TwoStage, Method::Control, Method::Through] {
        let of_seed = |seed: u64| -> Vec<&Outcome> {
            let job = |k: usize| if method <= Method::Static { &plain[k] } else { &begun[&(seed, kept[k])] };
            (0..kept.len()).map(|k| &job(k)[&method]).collect()
        };
        let seeds = if method <= Method::Static { &seeds[..1] } else { &seeds[..] };
        let all: Vec<(u64, Vec<&Outcome>)> = seeds.iter().map(|&s| (s, of_seed(s))).collect();
        rows.push(row(method, &all, run.cost, &dates));
        with_costs.push(cost_row(method, &all, run.cost));
    }
    let comparisons = comparisons(&rows);
    let passes: Vec<&Epoch> =
        begun.values().filter_map(|j| j.get(&Method::Through)).flat_map(|o| &o.curve).filter(|e| e.epoch > 0).collect();
    let seconds: f64 = passes.iter().map(|e| e.seconds).sum();
    let solver: f64 = passes.iter().map(|e| e.solver_seconds).sum();
    let period = |f: &&Fold| {
        let part = |r: &Range<usize>| Part {
            from: data.date(r.start).to_owned(),
            until: data.date(r.end - 1).to_owned(),
            days: r.len(),
        };
        Period { train: part(&f.train), validation: part(&f.validation), test: part(&f.test) }
    };
    let mut results = Results {
        learn: options.learn,
        periods: folds.iter().map(period).collect(),
        data: summary,
        rule: rule.clone(),
        training,
        cost: run.cost,
        validation_only: options.validate,
        interrupted: stop.load(Ordering::Relaxed),
        rows,
        with_costs,
        comparisons,
        caveats: Vec::new(),
        dates,
        latest,
        seconds: started.elapsed().as_secs_f64(),
        pass_seconds: seconds / passes.len().max(1) as f64,
        solver_share: if seconds > 0.0 { solver / seconds } else { 0.0 },
    };
    results.caveats = caveats(&results, options.source.data.is_none());
    Ok(results)
}

/// Each job on a thread of its own, so many at a time, results in order; none is begun after a stop but the first.
fn side_by_side<J: Sync, T: Send>(
    threads: usize,
    jobs: &[J],
    stop: &AtomicBool,
    work: impl Fn(&J) -> Result<T, Failure> + Sync,
) -> Result<Vec<Option<T>>, Failure> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<Option<Result<T, Failure>>>> = Mutex::new(jobs.iter().map(|_| None).collect());
    std::thread::scope(|scope| {
        for _ in 0..threads.min(jobs.len()) {
            scope.spawn(|| {
                loop {
                    let k = next.fetch_add(1, Ordering::Relaxed);
                    if k >= jobs.len() || (k > 0 && stop.load(Ordering::Relaxed)) {
                        break;
                    }
                    let result = work(&jobs[k]);
                    done.lock().unwrap_or_else(PoisonError::into_inner)[k] = Some(result);
                }
            });
        }
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().map(Option::transpose).collect()
}

fn row(method: Method, all: &[(u64, Vec<&Outcome>)], cost: f64, dates: &[String]) -> Row {
    let seeds: Vec<SeedRow> = all
        .iter()
        .map(|(seed, outcomes)| {
            let series = joined(outcomes.iter().map(|o| &o.free));
            SeedRow {
                seed: *seed,
                metrics: series.metrics(cost),
                series,
                curves: outcomes.iter().map(|o| o.curve.clone()).filter(|c| !c.is_empty()).collect(),
                chosen: outcomes.iter().map(|o| o.chosen).collect(),
            }
        })
        .collect();
    let periods = all.first().map_or(0, |(_, o)| o.len());
    let by_period = |k: usize| Metrics::mean_of(&all.iter().map(|(_, o)| o[k].free.metrics(cost)).collect::<Vec<_>>());
    let first = all.first().into_iter().flat_map(|(_, o)| o.iter().flat_map(|o| &o.weights));
    let holding = |(date, w): (&String, &Vec<f64>)| Holding {
        date: date.clone(),
        weights: w.iter().enumerate().filter(|(_, w)| **w > 1e-5).map(|(i, &w)| (i, w as f32)).collect(),
    };
    // Equal weights need no list.
    let listed = method > Method::EqualWeight;
    Row {
        method,
        mean: Metrics::mean_of(&seeds.iter().map(|s| s.metrics).collect::<Vec<_>>()),
        by_period: (0..periods).map(by_period).collect(),
        weights: if listed { dates.iter().zip(first).map(holding).collect() } else { Vec::new() },
        seeds,
    }
}

fn cost_row(method: Method, all: &[(u64, Vec<&Outcome>)], cost: f64) -> CostRow {
    let series: Vec<Series> = all.iter().map(|(_, o)| joined(o.iter().map(|o| &o.costed))).collect();
    CostRow {
        method,
        frictions: all.iter().map(|(_, o)| o.iter().map(|o| o.friction).collect()).collect(),
        mean: Metrics::mean_of(&series.iter().map(|s| s.metrics(cost)).collect::<Vec<_>>()),
        series: series.into_iter().next().unwrap_or_default(),
    }
}

fn joined<'s>(parts: impl Iterator<Item = &'s Series>) -> Series {
    parts.fold(Series::default(), |mut all, part| {
        all.extend(part);
        all
    })
}

/// Through the program less every other method.
fn comparisons(rows: &[Row]) -> Vec<Comparison> {
    let Some(through) = rows.iter().find(|r| r.method == Method::Through) else { return Vec::new() };
    let against = |other: &Row| {
        let one = |k: usize| &other.seeds[k.min(other.seeds.len() - 1)].series.returns[..];
        let pairs: Vec<(&[f64], &[f64])> =
            through.seeds.iter().enumerate().map(|(k, s)| (&s.series.returns[..], one(k))).collect();
        Comparison {
            against: other.method,
            log_variance: stats::log_variance(&pairs),
            sharpe: stats::sharpe_ratio(&pairs),
            daily_return: stats::daily_return(&pairs),
            volatility: through
                .by_period
                .iter()
                .zip(&other.by_period)
                .map(|(a, b)| (a.volatility, b.volatility))
                .collect(),
        }
    };
    rows.iter().filter(|r| r.method != Method::Through).map(against).collect()
}

impl DataSummary {
    /// Of a data set.
    pub fn of(data: &Dataset) -> Self {
        let dates = &data.prices.dates;
        DataSummary {
            source: data.prices.source.clone(),
            tickers: data.prices.tickers.clone(),
            from: dates[0].clone(),
            until: dates[dates.len() - 1].clone(),
            days: dates.len(),
            features: data.features.names.clone(),
            remarks: data.prices.remarks.clone(),
        }
    }
}
