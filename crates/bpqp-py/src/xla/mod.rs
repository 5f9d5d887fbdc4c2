//! The operations of `bpqp.jax` as handlers of XLA: no interpreter between the compiled program and the core.
//!
//! Arguments, in order: the data that are present of the nine slots `P` (or `d`), `F`, `q`, `G`, `h`, `A`, `b`, `lb`,
//! `ub`; the state, for derivatives; cotangents of the five outputs or tangents of the slots; directions of second
//! derivatives. Attributes: `size` of the batch, `factored`, `policy`, masks of what is present (bit k for slot k) as
//! `data`, `cotangents`, `tangents`, `along`, `ask` and `summed`, and settings by their names. Everything that a call
//! brings is checked against these before it is used.

mod abi;
mod call;
mod recent;

use crate::engine::{Engine, lock};
use crate::errors::Failure;
use crate::solutions::{Along, Solutions, codes, push_state, state_width};
use abi::{Call, Operation, Refusal};
use bpqp::{Settings, Solution};
use call::{Frame, SLOTS, Slots};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use recent::Recent;
use std::sync::{Arc, Mutex};

/// Prepared states kept for programs to come.
const ENGINES: usize = 64;

/// Prepared states for the same settings, and what they solved last. The devices of a program solve at once, each with a state
/// of its own.
struct Prepared {
    settings: Settings,
    single: bool,
    idle: Mutex<Vec<Engine>>,
    recent: Recent,
}

impl Prepared {
    /// Works with a prepared state that nobody else uses.
    fn apart<T>(&self, work: impl FnOnce(&Engine) -> Result<T, Failure>) -> Result<T, Failure> {
        let taken = lock(&self.idle).pop();
        let engine = match taken {
            Some(engine) => engine,
            None => Engine::new(self.settings.clone(), self.single)?,
        };
        let out = work(&engine);
        lock(&self.idle).push(engine);
        out
    }

    /// The solutions of these data that have this state.
    fn solutions(&self, frame: &Frame<'_>, data: &Slots<'_>, state: &[f64]) -> Result<Solutions, Failure> {
        match self.recent.find(data, state) {
            Some(solutions) => Ok(solutions),
            None => {
                let data = data.data(frame.factored)?;
                self.apart(|engine| engine.restore(None, &data, state, frame.size))
            }
        }
    }
}

/// The prepared states for these settings: the same for all calls that have them.
fn prepared(settings: Settings, single: bool) -> Result<Arc<Prepared>, Refusal> {
    static KNOWN: Mutex<Vec<Arc<Prepared>>> = Mutex::new(Vec::new());
    let mut known = lock(&KNOWN);
    if let Some(found) = known.iter().find(|p| p.single == single && p.settings == settings) {
        return Ok(found.clone());
    }
    let first = Engine::new(settings.clone(), single).map_err(|e| Refusal::Argument(e.to_string()))?;
    let made = Arc::new(Prepared { settings, single, idle: Mutex::new(vec![first]), recent: Recent::default() });
    if known.len() >= ENGINES {
        known.remove(0);
    }
    known.push(made.clone());
    Ok(made)
}

/// Results: the five outputs, the state as 32-bit words, and per instance the code of the status, the
/// iterations and, where it was asked for, the verdict.
struct Solve;

impl Operation for Solve {
    fn run(call: Call<'_>) -> Result<(), Refusal> {
        let mut frame = Frame::new(call)?;
        let data = frame.take_data()?;
        frame.end()?;
        let prepared = frame.engine()?;
        let input = data.data(frame.factored)?;
        let solved = prepared.apart(|engine| engine.solve(None, &input, Some(frame.size), &[]))?;
        let failures = if frame.policy == 0 { solved.failures() } else { None };
        if let Some(text) = failures {
            return Err(Refusal::Unsolved(text));
        }
        let (n, m, mi) = frame.widths;
        let nan = frame.policy != 2;
        frame.write_rows(0, &solved.x(nan), n)?;
        frame.write_rows(1, &solved.rows(nan, m, |s| &s.y), m)?;
        frame.write_rows(2, &solved.rows(nan, mi, |s| &s.z), mi)?;
        frame.write_rows(3, &solved.rows(nan, n, |s| &s.z_box), n)?;
        let objective = |s: &Solution| if nan && !s.ok() { f64::NAN } else { s.objective };
        frame.write(4, &solved.list.iter().map(|s| objective(s)).collect::<Vec<_>>(), &[frame.size])?;
        let width = state_width(n, m, mi);
        let mut state = Vec::with_capacity(frame.size * width);
        solved.list.iter().for_each(|s| push_state(s, &mut state));
        frame.write_words(5, &state, width)?;
        let mut integers: Vec<i32> =
            solved.list.iter().flat_map(|s| codes(s.status, s.ok(), s.info.iterations)).collect();
        if frame.examine {
            let verdicts = solved.verdicts(None)?;
            integers = integers.chunks_exact(2).zip(verdicts).flat_map(|(c, v)| [c[0], c[1], i32::from(v)]).collect();
        }
        frame.write_integers(6, &integers, if frame.examine { 3 } else { 2 })?;
        prepared.recent.keep(&data, state, solved);
        Ok(())
    }
}

/// Gradients of the slots in `ask`; with `along`, their derivatives in that direction.
struct Vjp<const SECOND: bool>;

impl<const SECOND: bool> Operation for Vjp<SECOND> {
    fn run(call: Call<'_>) -> Result<(), Refusal> {
        let mut frame = Frame::new(call)?;
        let data = frame.take_data()?;
        let state = frame.take_state()?;
        let cotangents = frame.take_cotangents()?;
        let along = if SECOND { Some(frame.take_direction("along", &data)?) } else { None };
        frame.end()?;
        let (ask, summed) = (frame.mask("ask")?, frame.mask("summed")?);
        let solved = frame.engine()?.solutions(&frame, &data, &state)?;
        let along = along.map(|d| solved.tangents(&d.data(frame.factored)?)).transpose()?;
        let blocks = std::array::from_fn(|k| if k == 0 { ask[0] || ask[1] } else { ask[k + 1] });
        let gathered = solved.vjp(None, &cotangents, along.as_deref(), (blocks, summed), frame.policy)?;
        frame.judge(&gathered.verdicts)?;
        let mut at = 0;
        for (k, values) in gathered.into_slots().iter().enumerate().take(SLOTS) {
            if !ask[k] {
                continue;
            }
            let mut dims = if summed[k] { vec![] } else { vec![frame.size] };
            dims.extend(data.own(k).ok_or_else(|| Refusal::Argument(format!("slot {k} is asked for, but absent")))?);
            frame.write(at, values, &dims)?;
            at += 1;
        }
        Ok(())
    }
}

/// Tangents of the five outputs; with `along`, second ones.
struct Jvp<const SECOND: bool>;

impl<const SECOND: bool> Operation for Jvp<SECOND> {
    fn run(call: Call<'_>) -> Result<(), Refusal> {
        let mut frame = Frame::new(call)?;
        let data = frame.take_data()?;
        let state = frame.take_state()?;
        let tangents = frame.take_direction("tangents", &data)?;
        let along = if SECOND { Some(frame.take_direction("along", &data)?) } else { None };
        frame.end()?;
        let solved = frame.engine()?.solutions(&frame, &data, &state)?;
        let tangents = solved.tangents(&tangents.data(frame.factored)?)?;
        let along = along.map(|d| solved.tangents(&d.data(frame.factored)?)).transpose()?;
        let (rows, codes) =
            solved.jvp(None, &tangents, along.as_deref().map_or(Along::Nothing, Along::Direction), frame.policy)?;
        frame.judge(&codes)?;
        let (n, m, mi) = frame.widths;
        for (k, width) in [n, m, mi, n].into_iter().enumerate() {
            frame.write_rows(k, &rows[k], width)?;
        }
        frame.write(4, &rows[4], &[frame.size])
    }
}

/// The handlers by the names of their operations, as capsules.
#[pyfunction]
pub fn xla_handlers(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let out = PyDict::new(py);
    out.set_item("solve", abi::capsule::<Solve>(py)?)?;
    out.set_item("vjp", abi::capsule::<Vjp<false>>(py)?)?;
    out.set_item("second_vjp", abi::capsule::<Vjp<true>>(py)?)?;
    out.set_item("jvp", abi::capsule::<Jvp<false>>(py)?)?;
    out.set_item("second_jvp", abi::capsule::<Jvp<true>>(py)?)?;
    Ok(out)
}
