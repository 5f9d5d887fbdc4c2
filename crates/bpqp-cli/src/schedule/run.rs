//! The command `bpqp schedule` from options to output.

use super::data::Days;
use super::options::Options;
use super::program::{Day, Forecast, Planner, realized};
use super::progress::Progress;
use super::results::{
    Comparison, DataSummary, DayDetail, Method, MethodResults, PlanDetail, Results, SeedResults, caveats, mean, misses,
};
use super::train::{Engine, Goal, Trained, Training};
use super::{report, table};
use std::fs::OpenOptions;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Step sizes and patience of networks and of training on, as in the study.
const NETWORK: (f64, usize) = (1e-3, 40);
const TASK: (f64, usize) = (3e-4, 10);
/// Networks and trainings-on of a seed.
const TRAININGS: (usize, usize) = (3, 3);

/// Runs the command; the text for standard output.
pub fn run(options: &Options) -> Result<String, Failure> {
    if let Some(file) = &options.report {
        // Before the work, not after it.
        OpenOptions::new().create(true).append(true).open(file).map_err(|e| unwritable(file, &e))?;
    }
    let results = results(options)?;
    if let Some(file) = &options.report {
        std::fs::write(file, report::page(&results)).map_err(|e| unwritable(file, &e))?;
        eprintln!("report: {}", file.display());
    }
    Ok(if options.json { serde_json::to_string_pretty(&results)? } else { table::text(&results) })
}

fn unwritable(file: &Path, error: &std::io::Error) -> Failure {
    format!("{}: the report cannot be written: {error}", file.display()).into()
}

/// Reads the data, trains and measures.
pub fn results(options: &Options) -> Result<Results, Failure> {
    let started = Instant::now();
    options.check()?;
    let data = match &options.data {
        Some(file) => Days::read(file)?,
        None => Days::built_in()?,
    };
    let before = data.before(&options.test_from)?;
    let planner = Planner::new(options.ramp)?;
    let study = Study { data: &data, planner: &planner, before, options };
    let (networks, tasks) = TRAININGS;
    let seeds = options.seeds();
    let progress = Progress::new(seeds * (networks * options.epochs() + tasks * options.task_epochs()));
    let summary = study.summary();
    progress.say(&format!(
        "{}: {} training, {} validation, {} test days, {} features, ramp {}",
        summary.source, summary.train, summary.validation, summary.test, summary.features, options.ramp
    ));
    let outcomes = study.seeds(&progress);
    progress.finish();
    let outcomes: Vec<Outcome> = outcomes?;

    let methods: Vec<MethodResults> = Method::ALL
        .into_iter()
        .enumerate()
        .map(|(k, method)| MethodResults::of(method, outcomes.iter().map(|o| o.rows[k].clone()).collect()))
        .collect();
    let references = [Method::Rmse, Method::Likelihood, Method::LikelihoodLonger];
    let against = |reference: &MethodResults| -> Vec<Comparison> {
        let others = methods.iter().filter(|m| m.method != reference.method);
        others.map(|m| Comparison::of(m, reference)).collect()
    };
    let comparisons = methods.iter().filter(|m| references.contains(&m.method)).flat_map(against).collect();
    let loads = &data.loads[before..];
    let changes: Vec<f64> = loads.iter().flat_map(|day| day.windows(2).map(|w| (w[1] - w[0]).abs())).collect();
    Ok(Results {
        comparisons,
        ramp: options.ramp,
        steeper: changes.iter().filter(|c| **c > options.ramp).count() as f64 / changes.len() as f64,
        epochs: options.epochs(),
        task_epochs: options.task_epochs(),
        days: study.days(&methods, &outcomes[0]),
        methods,
        dates: data.dates[before..].to_vec(),
        caveats: caveats(seeds, summary.test, options.data.is_none()),
        data: summary,
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// What all seeds share.
struct Study<'a> {
    data: &'a Days,
    planner: &'a Planner,
    before: usize,
    options: &'a Options,
}

/// What a seed gives.
struct Outcome {
    /// In the order of [`Method::ALL`].
    rows: Vec<SeedResults>,
    /// Forecasts and schedules of the test days by the RMSE network with validated spread, and by end-to-end.
    plans: [(Vec<Forecast>, Vec<Day>); 2],
}

impl Study<'_> {
    fn summary(&self) -> DataSummary {
        let Days { source, dates, features, .. } = self.data;
        let span = |from: usize, until: usize| [dates[from].clone(), dates[until - 1].clone()];
        DataSummary {
            source: source.clone(),
            features: features[0].len(),
            train: self.before * 4 / 5,
            validation: self.before - self.before * 4 / 5,
            test: dates.len() - self.before,
            before: span(0, self.before),
            span: span(self.before, dates.len()),
        }
    }

    /// All seeds, side by side where there are threads for it; a seed has its own pool, so that its work waits for no other's.
    fn seeds(&self, progress: &Progress) -> Result<Vec<Outcome>, Failure> {
        let cores = || std::thread::available_parallelism().map_or(1, |n| n.get());
        let (threads, seeds) = (self.options.threads.unwrap_or_else(cores), self.options.seeds());
        let workers = threads.min(seeds);
        let next = AtomicUsize::new(0);
        let work = || -> Vec<(usize, Result<Outcome, Failure>)> {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads / workers).build();
            let mut out = Vec::new();
            loop {
                let k = next.fetch_add(1, Ordering::Relaxed);
                if k >= seeds {
                    return out;
                }
                let seed = self.options.seed + k as u64;
                out.push((
                    k,
                    match &pool {
                        Ok(pool) => pool.install(|| self.seed(seed, progress)),
                        Err(error) => Err(error.to_string().into()),
                    },
                ));
            }
        };
        let mut done: Vec<(usize, Result<Outcome, Failure>)> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
            // A panic of a worker is one of the program.
            workers
                .into_iter()
                .flat_map(|w| w.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        });
        done.sort_unstable_by_key(|(k, _)| *k);
        done.into_iter().map(|(_, outcome)| outcome).collect()
    }

    fn seed(&self, seed: u64, progress: &Progress) -> Result<Outcome, Failure> {
        let engine = Engine::new(self.data, self.planner, self.before, seed);
        let test: Vec<usize> = (self.before..self.data.loads.len()).collect();
        let train = |what: &str, network: &_, goal: Goal, stream: u64, task: bool| -> Result<Trained, Failure> {
            let started = Instant::now();
            let ((rate, patience), epochs) =
                if task { (TASK, self.options.task_epochs()) } else { (NETWORK, self.options.epochs()) };
            let training = Training { epochs, rate, patience };
            let name = format!("seed {seed} {what}");
            let trained = engine.train(network, goal, training, (seed, stream), || progress.epoch(&name))?;
            let text = format!(
                "{name}: best epoch {} of {}, validation {:.4}, {:.1} s",
                trained.best,
                trained.epochs,
                trained.validation,
                started.elapsed().as_secs_f64()
            );
            progress.done(&text, epochs - trained.epochs);
            Ok(trained)
        };
        let squares = train("squared error", &engine.network(1, seed), Goal::SquaredError, 1, false)?;
        let likely = train("likelihood", &engine.network(2, seed), Goal::Likelihood, 2, false)?;
        let quantile = train("direct quantile", &engine.network(1, seed), Goal::Quantile, 3, false)?;
        let longer = train("likelihood, as long", &likely.network, Goal::Likelihood, 4, true)?;
        let spread = engine.spread(&squares.network, &engine.validation);
        let by_mean = train("end-to-end, mean", &squares.network, Goal::Schedule(Some(spread)), 5, true)?;
        let end = train("end-to-end", &likely.network, Goal::Schedule(None), 4, true)?;

        let optimistic = engine.spread(&squares.network, &engine.train);
        let planned = |trained: &Trained, spread: Option<&Day>| -> Result<(Vec<Forecast>, Vec<Day>), Failure> {
            let forecasts = engine.forecasts(&trained.network, &test, spread);
            let schedules = engine.schedules(&forecasts)?;
            Ok((forecasts, schedules))
        };
        let row = |trained: &Trained, (forecasts, schedules): &(Vec<Forecast>, Vec<Day>)| {
            self.row(seed, trained, forecasts, schedules)
        };
        let (careful, ours) = (planned(&squares, Some(&spread))?, planned(&end, None)?);
        let direct = self.planner.closest(&engine.means(&quantile.network, &test))?;
        let rows = vec![
            row(&squares, &planned(&squares, Some(&optimistic))?),
            row(&squares, &careful),
            row(&likely, &planned(&likely, None)?),
            row(&longer, &planned(&longer, None)?),
            self.row(seed, &quantile, &[], &direct),
            row(&by_mean, &planned(&by_mean, Some(&spread))?),
            row(&end, &ours),
        ];
        Ok(Outcome { rows, plans: [careful, ours] })
    }

    fn row(&self, seed: u64, trained: &Trained, forecasts: &[Forecast], schedules: &[Day]) -> SeedResults {
        let loads = &self.data.loads[self.before..];
        let (missing, surplus) = misses(schedules, loads);
        let squares: Vec<f64> = forecasts
            .iter()
            .zip(loads)
            .flat_map(|(f, y)| f.mean.iter().zip(y).map(|(m, y)| (m - y) * (m - y)).collect::<Vec<f64>>())
            .collect();
        SeedResults {
            seed,
            best_epoch: trained.best,
            epochs: trained.epochs,
            rmse: (!squares.is_empty()).then(|| mean(&squares).sqrt()),
            missing,
            surplus,
            cost: schedules.iter().zip(loads).map(|(z, y)| realized(z, y)).collect(),
        }
    }

    /// Days chosen by rules, so that bad ones are among them.
    fn days(&self, methods: &[MethodResults], outcome: &Outcome) -> Vec<DayDetail> {
        let loads = &self.data.loads[self.before..];
        let daily = |method: Method| methods.iter().find(|m| m.method == method).map(|m| &m.daily);
        let (Some(careful), Some(end)) = (daily(Method::Rmse), daily(Method::EndToEnd)) else { return Vec::new() };
        let gain: Vec<f64> = careful.iter().zip(end).map(|(a, b)| a - b).collect();
        let peak: Vec<f64> = loads.iter().map(|day| day.iter().fold(0.0, |m: f64, y| m.max(*y))).collect();
        let mut order: Vec<usize> = (0..gain.len()).collect();
        order.sort_by(|a, b| gain[*a].total_cmp(&gain[*b]));
        let highest = (0..peak.len()).max_by(|a, b| peak[*a].total_cmp(&peak[*b]));
        let chosen = [
            (Some(order[order.len() / 2]), "the day of the median gain"),
            (highest, "the day of the highest load"),
            (order.last().copied(), "the day of the largest gain"),
            (order.first().copied(), "the day of the largest loss"),
        ];
        let detail = |t: usize, (forecasts, schedules): &(Vec<Forecast>, Vec<Day>)| PlanDetail {
            mean: forecasts[t].mean,
            spread: forecasts[t].spread,
            schedule: schedules[t],
            cost: realized(&schedules[t], &loads[t]),
        };
        let day = |(t, why): (Option<usize>, &'static str)| {
            let t = t?;
            let plans = [detail(t, &outcome.plans[0]), detail(t, &outcome.plans[1])];
            Some(DayDetail { date: self.data.dates[self.before + t].clone(), why, load: loads[t], plans })
        };
        chosen.into_iter().filter_map(day).collect()
    }
}
