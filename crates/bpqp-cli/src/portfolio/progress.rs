//! Progress on standard error: a bar on a terminal, plain lines otherwise.

use super::train::{Epoch, Event, Method};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::time::Instant;

/// Fractions of the bar per epoch.
const PARTS: u64 = 100;

/// Shows both losses and the time left.
pub struct Progress {
    bar: Option<ProgressBar>,
    plan: Vec<Planned>,
    at: usize,
    epochs: usize,
    started: Instant,
}

/// One training of the plan.
struct Planned {
    method: Method,
    seed: u64,
    seconds: Option<f64>,
}

impl Progress {
    /// For trainings in that order.
    pub fn new(plan: &[(Method, u64)], epochs: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(plan.len() as u64 * (epochs as u64 + 1) * PARTS);
            bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(8));
            let style = ProgressStyle::with_template("{prefix:.bold} {wide_bar:.cyan/blue} {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─"));
            bar
        });
        let plan = plan.iter().map(|&(method, seed)| Planned { method, seed, seconds: None }).collect();
        Progress { bar, plan, at: 0, epochs, started: Instant::now() }
    }

    /// A line of text.
    pub fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            // A closed pipe must not end the training.
            None => drop(writeln!(std::io::stderr(), "{text}")),
        }
    }

    /// The next training starts.
    pub fn start(&mut self, at: usize) {
        self.at = at;
        self.started = Instant::now();
        if let (Some(bar), Some(now)) = (&self.bar, self.plan.get(at)) {
            bar.set_prefix(format!("{:9} seed {}", now.method.name(), now.seed));
            bar.set_position(at as u64 * (self.epochs as u64 + 1) * PARTS);
        }
    }

    /// A training says where it stands.
    pub fn event(&mut self, event: Event) {
        match event {
            Event::Step { done, mse, regret } => {
                let Some(bar) = &self.bar else { return };
                let within = bar.position() % PARTS;
                bar.inc(((done * PARTS as f64) as u64).min(PARTS - 1).saturating_sub(within));
                let regret = regret.map_or(String::new(), |r| format!("regret {:.1} bp, ", 1e4 * r));
                bar.set_message(format!("{regret}MSE {mse:.2e}{}", self.left()));
            }
            Event::Epoch { record, best } => {
                // Epoch 0 is an evaluation and says little about the time of a pass.
                if let Some(now) = self.plan.get_mut(self.at).filter(|_| record.epoch > 0) {
                    now.seconds = Some(self.started.elapsed().as_secs_f64() / record.epoch as f64);
                }
                match &self.bar {
                    Some(bar) => {
                        let base = self.at as u64 * (self.epochs as u64 + 1);
                        bar.set_position((base + record.epoch as u64 + 1) * PARTS);
                        bar.set_message(format!("{}{}", losses(&record), self.left()));
                    }
                    None => self.say(&self.line(&record, best)),
                }
            }
        }
    }

    /// Removes the bar.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn line(&self, record: &Epoch, best: usize) -> String {
        let (method, seed) = self.plan.get(self.at).map_or(("", 0), |p| (p.method.name(), p.seed));
        format!(
            "{method} seed {seed} epoch {}/{}: {}, best epoch {best}{}",
            record.epoch,
            self.epochs,
            losses(record),
            self.left()
        )
    }

    /// Time left: the epochs that remain, at the speed of their method so far, or of the slowest method seen.
    fn left(&self) -> String {
        let slowest = self.plan.iter().filter_map(|p| p.seconds).fold(0.0, f64::max);
        if slowest == 0.0 {
            return String::new();
        }
        let speed = |method: Method| {
            let known = self.plan.iter().rev().filter(|p| p.method == method).find_map(|p| p.seconds);
            known.unwrap_or(slowest) * self.epochs as f64
        };
        let ahead: f64 = self.plan.iter().skip(self.at).map(|p| speed(p.method)).sum();
        let seconds = (ahead - self.started.elapsed().as_secs_f64()).max(0.0).round() as u64;
        if seconds < 60 {
            format!(", {seconds} s left")
        } else {
            format!(", {} min {:02} s left", seconds / 60, seconds % 60)
        }
    }
}

fn losses(record: &Epoch) -> String {
    let (regret, mse) = (1e4 * record.validation_regret, record.validation_mse);
    format!("validation regret {regret:.2} bp, MSE {mse:.4e}")
}
