//! Progress on standard error: a bar on a terminal, plain lines otherwise. Seeds that train side by side share it.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};

/// Counts epochs over all trainings.
pub struct Progress(Option<ProgressBar>);

impl Progress {
    /// For that many epochs.
    pub fn new(epochs: usize) -> Self {
        Progress(std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(epochs as u64);
            bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(8));
            let style = ProgressStyle::with_template("{wide_bar:.cyan/blue} {eta} left, {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─"));
            bar
        }))
    }

    /// A line of text.
    pub fn say(&self, text: &str) {
        match &self.0 {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            // A closed pipe must not end the training.
            None => drop(writeln!(std::io::stderr(), "{text}")),
        }
    }

    /// An epoch of a training ended.
    pub fn epoch(&self, training: &str) {
        if let Some(bar) = &self.0 {
            bar.inc(1);
            bar.set_message(training.to_owned());
        }
    }

    /// A training ended; `skipped` of its epochs were not needed.
    pub fn done(&self, text: &str, skipped: usize) {
        match &self.0 {
            Some(bar) => bar.inc(skipped as u64),
            None => self.say(text),
        }
    }

    /// Removes the bar.
    pub fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
