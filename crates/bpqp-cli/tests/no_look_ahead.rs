//! Nothing that happens later may change what was known, trained, or decided before.

use bpqp_cli::portfolio::dataset::{Dataset, GAP, HORIZON, days_needed, folds};
use bpqp_cli::portfolio::engine::{Engine, Method, Rule};
use bpqp_cli::portfolio::features::WARM_UP;
use bpqp_cli::portfolio::friction::Friction;
use bpqp_cli::portfolio::options::Learn;
use bpqp_cli::portfolio::prices::{Prices, Selection};
use bpqp_cli::portfolio::training::Training;
use std::sync::atomic::AtomicBool;

const DAYS: usize = 420;
const STOCKS: usize = 8;

/// Real prices with ranges and volumes; what lies in the future of `day` multiplied by large numbers.
fn prices(changed_after: Option<usize>) -> Prices {
    let all = Prices::built_in().unwrap();
    let until = Some(all.dates[DAYS - 1].clone());
    let mut prices = all.select(&Selection { until, stocks: Some(STOCKS), ..Selection::default() }).unwrap();
    let Some(day) = changed_after else { return prices };
    let mut extra = prices.extra.take().unwrap();
    for t in day + 1..DAYS {
        for s in 0..STOCKS {
            let by = 1.0 + ((t * 7 + s * 3) % 11) as f64 / 5.0;
            for panel in [&mut prices.close, &mut extra.open, &mut extra.high, &mut extra.low, &mut extra.volume] {
                panel.set(t, s, panel.get(t, s) * by);
            }
        }
    }
    prices.extra = Some(extra);
    prices
}

fn inputs(data: &Dataset, sample: usize) -> Vec<f32> {
    let mut out = Vec::new();
    data.features.day(sample + WARM_UP, &mut out);
    out
}

#[test]
fn features_and_risk_models_do_not_see_later_prices() {
    for closes_only in [false, true] {
        let make = |day: Option<usize>| {
            let mut prices = prices(day);
            prices.extra = prices.extra.filter(|_| !closes_only);
            Dataset::new(prices).unwrap()
        };
        let before = make(None);
        for day in [WARM_UP, WARM_UP + 31, DAYS - HORIZON - 1] {
            let after = make(Some(day));
            for sample in 0..=day - WARM_UP {
                assert_eq!(inputs(&before, sample), inputs(&after, sample), "features of {sample}, change after {day}");
                let (a, b) = (&before.days[sample], &after.days[sample]);
                assert_eq!((&a.d, &a.f, a.risk), (&b.d, &b.f, b.risk), "risk model of {sample}, change after {day}");
            }
            // The change is real: it reaches the outcome of the last decision and the inputs of the next.
            assert_ne!(before.outcome(day - WARM_UP), after.outcome(day - WARM_UP));
            if day + 1 < DAYS - HORIZON {
                assert_ne!(inputs(&before, day + 1 - WARM_UP), inputs(&after, day + 1 - WARM_UP));
            }
        }
    }
}

#[test]
fn the_outcome_of_a_decision_starts_after_it() {
    let data = Dataset::new(prices(None)).unwrap();
    let (sample, stock) = (17, 3);
    let day = sample + WARM_UP;
    let price = |t: usize| data.prices.close.get(t, stock);
    assert_eq!(data.outcome(sample)[stock], price(day + 2) / price(day + 1) - 1.0);
    assert_eq!(data.ahead(sample, 4)[stock], price(day + 6) / price(day + 5) - 1.0);
    assert_eq!(data.date(sample), data.prices.dates[day]);
}

/// Trains on the first parts and decides after them; prices after the last decision that is looked at must not matter, not
/// even to the bits.
#[test]
fn models_and_decisions_do_not_see_later_prices() {
    assert!(DAYS >= days_needed(1));
    let rule = Rule { cap: 0.4, groups: Vec::new(), risk_aversion: 10.0 };
    let training =
        Training { epochs: 2, tune: 2, batch: 8, hidden: 8, learning_rate: 3e-3, tune_rate: 3e-3, weight_decay: 0.0 };
    for learn in [Learn::Risk, Learn::Returns] {
        let decide = |changed_after: Option<usize>| {
            let data = Dataset::new(prices(changed_after)).unwrap();
            let fold = folds(data.samples() - GAP, 1).remove(0);
            let engine = Engine::new(&data, learn, &rule);
            let (stop, watch) = (AtomicBool::new(false), |_: &_| {});
            let first = engine.two_stage(&training, &fold, 5, &stop, &watch).unwrap();
            let through = engine.tuned(&training, &first.model, Method::Through, &fold, 5, &stop, &watch).unwrap();
            let days = fold.test.clone();
            let said = engine.say(&through.model, days.clone());
            let path = |kappa: f64, c: f64| engine.path(days.clone(), &said, Friction { kappa, c }).unwrap();
            let paths = [path(0.3, 0.0), path(0.0, 0.01)];
            (fold, through.model.layers(), paths, engine.decide(days.clone(), &said).unwrap())
        };
        let (fold, model, paths, free) = decide(None);
        let (_, same_model, same_paths, same_free) = decide(Some(fold.test.start + 10 + WARM_UP));
        assert_eq!(model, same_model);
        // The path of day 9 has seen the prices of day 10 as drift at most.
        for (path, same_path) in paths.iter().zip(&same_paths) {
            assert_eq!(path[..=9], same_path[..=9]);
        }
        assert_eq!(free[..=10], same_free[..=10]);
        assert_ne!(free, same_free);
        for w in paths.iter().flatten().chain(&free) {
            assert!(
                (w.iter().sum::<f64>() - 1.0).abs() < 1e-6 && w.iter().all(|&w| (-1e-9..=0.4 + 1e-6).contains(&w)),
                "{w:?}"
            );
        }
    }
}
