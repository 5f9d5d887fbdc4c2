//! Progress on standard error: a bar on a terminal, plain lines otherwise.

use super::engine::Method;
use super::training::Epoch;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::time::Instant;

/// Counts passes over training days.
pub struct Progress {
    bar: Option<ProgressBar>,
    done: std::sync::Mutex<f64>,
    all: f64,
    started: Instant,
}

/// A pass through the program takes about as long as two others.
fn cost(method: Method) -> f64 {
    if method == Method::Through { 2.0 } else { 1.0 }
}

impl Progress {
    /// For that many passes of each method.
    pub fn new(passes: &[(Method, usize)]) -> Self {
        let all: f64 = passes.iter().map(|&(m, count)| cost(m) * count as f64).sum();
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(all as u64);
            bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(8));
            let style = ProgressStyle::with_template("{wide_bar:.cyan/blue} {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─"));
            bar
        });
        Progress { bar, done: std::sync::Mutex::new(0.0), all, started: Instant::now() }
    }

    /// A line of text.
    pub fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| crate::say(text)),
            // A closed pipe must not end the training.
            None => drop(writeln!(std::io::stderr(), "{text}")),
        }
    }

    /// A pass has ended.
    pub fn pass(&self, period: Option<usize>, seed: u64, method: Method, epoch: &Epoch, epochs: usize) {
        let mut done = self.done.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *done += cost(method);
        let share = (*done / self.all).clamp(1e-9, 1.0);
        let seconds = (self.started.elapsed().as_secs_f64() * (1.0 / share - 1.0)).round() as u64;
        let left = format!("{} min {:02} s left", seconds / 60, seconds % 60);
        let days = period.map_or("latest days".to_owned(), |k| format!("period {}", k + 1));
        let text = format!(
            "{days} seed {seed} {}: epoch {}/{epochs}, validation {:.4}, {left}",
            method.name(),
            epoch.epoch,
            epoch.validation
        );
        match &self.bar {
            Some(bar) => {
                bar.set_position(*done as u64);
                bar.set_message(text);
            }
            None => self.say(&text),
        }
    }

    /// Removes the bar.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
