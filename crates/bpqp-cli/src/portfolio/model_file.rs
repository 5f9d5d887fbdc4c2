//! A trained network on disk, and the weights that follow from it.

use super::dataset::Dataset;
use super::engine::{Engine, Rule};
use super::friction::Friction;
use super::metrics::YEAR;
use super::model::{Layer, Predictor};
use super::options::Learn;
use super::prices::Prices;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use std::path::Path;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const FORMAT: &str = "bpqp portfolio model";
/// Changes whenever a feature, the risk model or the network does: the numbers of another version mean something else.
const VERSION: u32 = 3;

/// Everything that the weights of a day need beside prices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    format: String,
    version: u32,
    /// What the network moves.
    pub learn: Learn,
    /// Where it was trained, in words.
    pub source: String,
    /// First and last day that it was trained and chosen on.
    pub trained: (String, String),
    /// The stocks, in the order of the groups' numbers.
    pub tickers: Vec<String>,
    /// Names of the inputs, which must be those of the data.
    pub features: Vec<String>,
    /// What may be held.
    pub rule: Rule,
    /// The price of trading chosen on the validation days.
    pub friction: Friction,
    /// Realized over expected variance of its portfolios on the validation days. A factor of all variances moves no
    /// decision, so training says nothing of it, and the least of many estimates is too low.
    pub realized: f64,
    /// The network.
    pub layers: [Layer; 3],
}

/// The weights of a day.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Weights {
    /// The day whose close was the last thing known.
    pub date: String,
    /// The volatility a year that is expected of this portfolio: that of the moved risk model, in the measure of what such
    /// portfolios realized on the validation days.
    pub expected_volatility: f64,
    /// Ticker and weight, largest first, 0 left out.
    pub weights: Vec<(String, f64)>,
}

/// Weights below this are not worth an order.
const LEAST: f64 = 1e-6;

impl Model {
    /// Of a network that was trained on that data.
    pub fn new(
        data: &Dataset,
        learn: Learn,
        rule: &Rule,
        (friction, realized): (Friction, f64),
        model: &Predictor,
        trained: (String, String),
    ) -> Self {
        Model {
            format: FORMAT.into(),
            version: VERSION,
            learn,
            source: data.prices.source.clone(),
            trained,
            tickers: data.prices.tickers.clone(),
            features: data.features.names.clone(),
            rule: rule.clone(),
            friction,
            realized,
            layers: model.layers(),
        }
    }

    /// Writes it.
    pub fn write(&self, file: &Path) -> Result<(), Failure> {
        let text = serde_json::to_string(self)?;
        std::fs::write(file, text).map_err(|e| format!("{}: the model cannot be written: {e}", file.display()).into())
    }

    /// Reads it, and refuses what is not one, or not of this version.
    pub fn read(file: &Path) -> Result<Self, Failure> {
        #[derive(Deserialize)]
        struct Head {
            format: String,
            version: u32,
        }
        let bad = |reason: String| -> Failure { format!("{}: {reason}", file.display()).into() };
        let text = std::fs::read_to_string(file).map_err(|e| bad(format!("cannot be read: {e}")))?;
        let head: Head = serde_json::from_str(&text)
            .map_err(|_| bad("not a model: give a file that `bpqp portfolio --save` wrote".into()))?;
        if head.format != FORMAT || head.version != VERSION {
            let found = format!("{} version {}", head.format, head.version);
            return Err(bad(format!(
                "{found}, but this program reads {FORMAT} version {VERSION}: train and save it again"
            )));
        }
        let model: Model = serde_json::from_str(&text).map_err(|e| bad(format!("broken: {e}; save it again")))?;
        let [first, second, last] = &model.layers;
        let inputs = |l: &Layer, n: usize| n > 0 && l.weight.len() == n * l.bias.len() && !l.bias.is_empty();
        let fits = inputs(first, model.features.len())
            && inputs(second, first.bias.len())
            && inputs(last, second.bias.len())
            && last.bias.len() == 1
            && model.realized > 0.0
            && model.realized.is_finite()
            && [model.friction.kappa, model.friction.c].iter().all(|v| *v >= 0.0 && v.is_finite())
            && model.rule.groups.iter().flat_map(|g| &g.stocks).all(|&s| s < model.tickers.len());
        if fits { Ok(model) } else { Err(bad("broken: its parts do not fit together; save it again".into())) }
    }

    /// The part of the prices that the model is about, in its order.
    pub fn select(&self, prices: &Prices) -> Result<Prices, Failure> {
        let find = |t: &String| prices.tickers.iter().position(|p| p == t);
        let missing: Vec<&str> = self.tickers.iter().filter(|t| find(t).is_none()).map(String::as_str).collect();
        if !missing.is_empty() {
            let shown = missing.iter().take(5).copied().collect::<Vec<_>>().join(", ");
            let more = if missing.len() > 5 { format!(" and {} more", missing.len() - 5) } else { String::new() };
            return Err(format!(
                "the model was trained with {shown}{more}, which the prices lack: add them, or train again on these prices"
            )
            .into());
        }
        let order: Vec<usize> = self.tickers.iter().filter_map(find).collect();
        Ok(prices.of(&order))
    }

    /// The weights of the last days of that data, each from what was known at its close; with what is held now, the
    /// program of the last day trades only as far as it pays.
    pub fn weights(&self, data: &Dataset, last: usize, holdings: Option<&[f64]>) -> Result<Vec<Weights>, Failure> {
        if data.features.names != self.features {
            let (a, b) = (self.features.len(), data.features.names.len());
            return Err(format!(
                "the model was trained on {a} features and the prices give {b}: give it prices with the same columns \
                 (open, high, low, close and volume, or closing prices only) as it was trained on"
            )
            .into());
        }
        let network = Predictor::from_layers(&self.layers, &Device::flex());
        let engine = Engine::new(data, self.learn, &self.rule);
        let days = data.samples().saturating_sub(last.max(1))..data.samples();
        let said = engine.say(&network, days.clone());
        let n = data.stocks();
        days.enumerate()
            .map(|(k, sample)| {
                let said = &said[k * n..(k + 1) * n];
                let pull = holdings.map(|h| (self.friction, h));
                let w = engine.decide_one(sample, said, pull)?;
                let variance = self.realized * engine.variance_of(sample, said, &w);
                let mut weights: Vec<(String, f64)> =
                    data.prices.tickers.iter().cloned().zip(w).filter(|(_, w)| *w > LEAST).collect();
                weights.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
                let date = data.date(sample).to_owned();
                Ok(Weights { date, expected_volatility: (YEAR * variance).sqrt(), weights })
            })
            .collect()
    }
}
