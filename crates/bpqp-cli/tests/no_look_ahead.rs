//! Nothing that happens later may change what was known, or decided, before.

use bpqp_cli::portfolio::dataset::{Dataset, HORIZON, Rule};
use bpqp_cli::portfolio::features::WARM_UP;
use bpqp_cli::portfolio::prices::{Panel, Prices, Selection};
use bpqp_cli::portfolio::train::{DecisionLoss, Engine, Method, Training};
use std::sync::atomic::AtomicBool;

const DAYS: usize = 420;

/// Real prices, some of them in the future of `day` multiplied by large numbers.
fn prices(changed_after: Option<usize>) -> Prices {
    let all = Prices::built_in().unwrap();
    let selection = Selection { until: Some(all.dates[DAYS - 1].clone()), stocks: Some(6), ..Selection::default() };
    let mut prices = all.select(&selection).unwrap();
    // Volumes and ranges made of the prices, so that their features are tested too.
    let scaled = |prices: &Prices, by: f64| {
        let values = (0..DAYS).flat_map(|t| prices.close.day(t).iter().map(move |p| p * by + 0.01 * (t % 7) as f64));
        Panel::new(6, values.collect())
    };
    if let Some(day) = changed_after {
        for t in day + 1..DAYS {
            for s in 0..6 {
                let by = 1.0 + ((t * 7 + s * 3) % 11) as f64 / 5.0;
                prices.close.set(t, s, prices.close.get(t, s) * by);
            }
        }
    }
    prices.extra = Some(bpqp_cli::portfolio::prices::Extra {
        open: scaled(&prices, 0.99),
        high: scaled(&prices, 1.02),
        low: scaled(&prices, 0.97),
        volume: scaled(&prices, 1e4),
    });
    prices
}

#[test]
fn features_and_risk_models_do_not_see_later_prices() {
    let before = Dataset::new(prices(None)).unwrap();
    for day in [WARM_UP, WARM_UP + 31, DAYS - HORIZON - 1] {
        let after = Dataset::new(prices(Some(day))).unwrap();
        for sample in 0..=day - WARM_UP {
            assert_eq!(
                before.inputs(sample),
                after.inputs(sample),
                "features of sample {sample}, change after day {day}"
            );
            assert_eq!(before.covariances[sample], after.covariances[sample], "covariance of sample {sample}");
        }
        // The change is real: it reaches the outcome of the last decision and the inputs of the next.
        assert_ne!(before.outcome(day - WARM_UP), after.outcome(day - WARM_UP));
        if day + 1 < DAYS - HORIZON {
            assert_ne!(before.inputs(day + 1 - WARM_UP), after.inputs(day + 1 - WARM_UP));
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
    assert_eq!(data.date(sample), data.prices.dates[day]);
}

/// Trains and decides on the days up to the end of the validation part; prices after its last outcome must not matter.
#[test]
fn decisions_do_not_see_later_prices() {
    let rule = Rule { risk_aversion: 10.0, cap: 0.5, dense: false };
    let loss = DecisionLoss::Mixed { beta: 1.0 };
    let training = Training { epochs: 2, batch: 16, learning_rate: 1e-3, weight_decay: 0.0, loss, threads: 2 };
    let decide = |changed_after: Option<usize>| {
        let data = Dataset::new(prices(changed_after)).unwrap();
        let engine = Engine::new(&data, rule, training).unwrap();
        let trained = engine.train(Method::Bpqp, 5, &AtomicBool::new(false), |_| {}).unwrap();
        let days = engine.evaluate(&trained.model, data.split.test.clone()).unwrap();
        (data.split.clone(), days.weights)
    };
    let (split, before) = decide(None);
    // Ten test decisions stay as they were; the later prices are changed.
    let known = split.test.start + 10;
    let (_, after) = decide(Some(known + WARM_UP));
    assert_eq!(before[..=10], after[..=10]);
    assert_ne!(before, after);
    // Decisions are portfolios.
    for w in &before {
        assert!(
            (w.iter().sum::<f64>() - 1.0).abs() < 1e-6 && w.iter().all(|&w| (-1e-9..=0.5 + 1e-6).contains(&w)),
            "{w:?}"
        );
    }
}
