//! `--log LEVEL`: records of the library on standard error.

use crate::say;
use clap::ValueEnum;
use log::{LevelFilter, Log, Metadata, Record};

/// What is told, and all that is graver.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Level {
    /// Derivatives in doubt
    Warn,
    /// One line for each solve: solver, iterations, residuals
    Debug,
    /// Every iteration
    Trace,
}

struct Lines;

impl Log for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // training frameworks have records of their own, for their developers
        metadata.target().starts_with("bpqp")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let level = record.level().as_str().to_lowercase();
            say(&format!("{level} {}: {}", record.target(), record.args()));
        }
    }

    fn flush(&self) {}
}

/// From now on.
pub fn listen(level: Level) {
    static LINES: Lines = Lines;
    if log::set_logger(&LINES).is_ok() {
        log::set_max_level(match level {
            Level::Warn => LevelFilter::Warn,
            Level::Debug => LevelFilter::Debug,
            Level::Trace => LevelFilter::Trace,
        });
    }
}
