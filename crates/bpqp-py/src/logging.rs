//! Records of the core as those of Python's `logging`, below the name `bpqp`.
//!
//! A record needs the interpreter, and the threads that work are without it: so nothing here may wait for them while it holds
//! it, and every call leaves it free while the core works. What nobody listens to costs one comparison: the level of the
//! logger `bpqp` is looked up once for each call, so that it may change at any time.

use log::LevelFilter;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3_log::{Caching, Logger};

static LOGGER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// Sends records to Python; once for each process.
pub fn install(py: Python<'_>) -> PyResult<()> {
    if Logger::new(py, Caching::Loggers)?.filter(LevelFilter::Trace).install().is_ok() {
        log::set_max_level(LevelFilter::Off);
    }
    Ok(())
}

/// The level that Python listens to now. Those of `logging` are 10 for debug and 30 for warnings; 5 is the iterations.
pub fn listen(py: Python<'_>) -> PyResult<()> {
    let logger =
        LOGGER.get_or_try_init(py, || py.import("logging")?.call_method1("getLogger", ("bpqp",)).map(Bound::unbind))?;
    let level: i64 = logger.bind(py).call_method0(pyo3::intern!(py, "getEffectiveLevel"))?.extract()?;
    log::set_max_level(match level {
        ..=5 => LevelFilter::Trace,
        6..=10 => LevelFilter::Debug,
        11..=20 => LevelFilter::Info,
        21..=30 => LevelFilter::Warn,
        31..=40 => LevelFilter::Error,
        _ => LevelFilter::Off,
    });
    Ok(())
}
