//! A call of XLA against what was agreed on: slots, state, cotangents and results of the shapes that belong together.

use super::Prepared;
use super::abi::{Attribute, Call, Numbers, Place, Refusal, ResultPlace};
use crate::data::{Block, Data, Values};
use crate::errors::Failure;
use crate::solutions::{Policy, state_width};
use crate::verdicts;
use bpqp::{Backward, Cotangent, Infeasible, Settings, Solver};
use numpy::IntoPyArray;
use pyo3::prelude::*;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

pub const SLOTS: usize = 9;
const NAMES: [&str; SLOTS] = ["P", "F", "q", "G", "h", "A", "b", "lb", "ub"];
const OUTPUTS: [&str; 5] = ["x", "y", "z", "z_box", "objective"];

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Refusal::Argument(failure.to_string())
    }
}

fn refuse<T>(message: String) -> Result<T, Refusal> {
    Err(Refusal::Argument(message))
}

/// The numbers of a slot in double precision, and its dimensions.
#[derive(PartialEq)]
struct Slot<'a> {
    values: Cow<'a, [f64]>,
    dims: Vec<usize>,
}

/// The data of a batch, or a direction in them; what is absent is `None`.
#[derive(PartialEq)]
pub struct Slots<'a> {
    slots: [Option<Slot<'a>>; SLOTS],
    ranks: [usize; SLOTS],
}

impl Slots<'_> {
    /// How many numbers they are.
    pub fn len(&self) -> usize {
        self.slots.iter().flatten().map(|s| s.values.len()).sum()
    }

    /// A copy that outlives the call.
    pub fn to_owned(&self) -> Slots<'static> {
        let own = |s: &Slot<'_>| Slot { values: Cow::Owned(s.values.to_vec()), dims: s.dims.clone() };
        Slots { slots: std::array::from_fn(|k| self.slots[k].as_ref().map(own)), ranks: self.ranks }
    }

    /// The shape of a slot without the batch dimension.
    pub fn own(&self, k: usize) -> Option<&[usize]> {
        self.slots[k].as_ref().map(|s| &s.dims[s.dims.len() - self.ranks[k]..])
    }

    fn values(&self, k: usize) -> Result<Option<Values<'_>>, Failure> {
        self.slots[k].as_ref().map(|s| Values::new(&s.values, &s.dims, self.ranks[k])).transpose()
    }

    pub fn data(&self, factored: bool) -> Result<Data<'_>, Failure> {
        let dense = |k: usize| Ok::<_, Failure>(self.values(k)?.map(Block::Dense));
        let p = match (factored, self.values(0)?, self.values(1)?) {
            (true, Some(d), Some(f)) => Some(Block::Factored(d, f)),
            (false, Some(p), None) => Some(Block::Dense(p)),
            (_, None, None) => None,
            _ => return Err(Failure::Misuse("P is neither a matrix nor a pair d, F".to_owned())),
        };
        let data = Data {
            p,
            q: self.values(2)?,
            g: dense(3)?,
            h: self.values(4)?,
            a: dense(5)?,
            b: self.values(6)?,
            lb: self.values(7)?,
            ub: self.values(8)?,
        };
        data.check()?;
        Ok(data)
    }
}

/// A call, and what its attributes say.
pub struct Frame<'a> {
    arguments: std::vec::IntoIter<super::abi::Argument<'a>>,
    results: Vec<ResultPlace<'a>>,
    attributes: Vec<(&'a str, Attribute<'a>)>,
    pub size: usize,
    pub factored: bool,
    pub policy: Policy,
    /// The verdict of every solution is wanted.
    pub examine: bool,
    /// What becomes of derivatives in doubt: 0 a warning, 1 an error, 2 nothing.
    untrusted: u8,
    /// Variables, equalities, inequalities: known once the data were taken.
    pub widths: (usize, usize, usize),
    single: bool,
}

impl<'a> Frame<'a> {
    pub fn new(call: Call<'a>) -> Result<Self, Refusal> {
        let mut frame = Frame {
            arguments: call.arguments.into_iter(),
            results: call.results,
            attributes: call.attributes,
            size: 0,
            factored: false,
            policy: 0,
            examine: false,
            untrusted: 0,
            widths: (0, 0, 0),
            single: false,
        };
        let size = frame.int("size")?;
        frame.size = usize::try_from(size).or_else(|_| refuse(format!("size = {size}")))?;
        frame.factored = frame.int("factored")? != 0;
        let policy = frame.int("policy")?;
        frame.policy = match policy {
            0..=2 => policy as Policy,
            _ => return refuse(format!("policy = {policy}: it is 0, 1 or 2")),
        };
        frame.examine = frame.flag("examine") != 0;
        frame.untrusted = u8::try_from(frame.flag("untrusted")).unwrap_or(0);
        Ok(frame)
    }

    fn attribute(&self, name: &str) -> Option<Attribute<'a>> {
        self.attributes.iter().find(|(own, _)| *own == name).map(|(_, value)| *value)
    }

    fn int(&self, name: &str) -> Result<i64, Refusal> {
        match self.attribute(name) {
            Some(Attribute::Int(value)) => Ok(value),
            _ => refuse(format!("the call has no integer {name}")),
        }
    }

    /// The same, 0 where it is absent.
    fn flag(&self, name: &str) -> i64 {
        self.int(name).unwrap_or(0)
    }

    /// The slots that an attribute marks.
    pub fn mask(&self, name: &str) -> Result<[bool; SLOTS], Refusal> {
        let bits = self.int(name)?;
        Ok(std::array::from_fn(|k| bits >> k & 1 != 0))
    }

    fn ranks(&self) -> [usize; SLOTS] {
        [if self.factored { 1 } else { 2 }, 2, 1, 2, 1, 2, 1, 1, 1]
    }

    fn next(&mut self, name: &str) -> Result<(Numbers<'a>, Vec<usize>), Refusal> {
        match self.arguments.next() {
            Some(argument) => Ok((argument.numbers, argument.dims)),
            None => refuse(format!("the call has too few arguments: {name} is missing")),
        }
    }

    /// The next argument in double precision, and whether it came from single.
    fn floats(&mut self, name: &str) -> Result<(Slot<'a>, bool), Refusal> {
        match self.next(name)? {
            (Numbers::F64(values), dims) => Ok((Slot { values: Cow::Borrowed(values), dims }, false)),
            (Numbers::F32(values), dims) => {
                Ok((Slot { values: values.iter().map(|&v| f64::from(v)).collect(), dims }, true))
            }
            (Numbers::U32(_), _) => refuse(format!("{name} has dtype uint32: pass float32 or float64")),
        }
    }

    fn slots(&mut self, mask: &str, own: impl Fn(usize) -> Option<Vec<usize>>) -> Result<Slots<'a>, Refusal> {
        let there = self.mask(mask)?;
        let ranks = self.ranks();
        let mut slots: [Option<Slot<'a>>; SLOTS] = Default::default();
        for k in (0..SLOTS).filter(|&k| there[k]) {
            let name = NAMES[k];
            let (slot, single) = self.floats(name)?;
            let dims = &slot.dims;
            let batched = dims.len() == ranks[k] + 1;
            if !(batched && dims[0] == self.size || dims.len() == ranks[k]) {
                let (rank, size) = (ranks[k], self.size);
                return refuse(format!(
                    "{name} has shape {dims:?}: it needs {rank} dimensions, or a batch of {size} before them"
                ));
            }
            if let Some(own) = own(k).filter(|own| dims[usize::from(batched)..] != **own) {
                return refuse(format!("{name} has shape {dims:?}, expected {own:?}, with a batch or without"));
            }
            if k == 2 && mask == "data" {
                self.single = single;
            }
            slots[k] = Some(slot);
        }
        Ok(Slots { slots, ranks })
    }

    /// The data; q says whether they come from single precision.
    pub fn take_data(&mut self) -> Result<Slots<'a>, Refusal> {
        let slots = self.slots("data", |_| None)?;
        let width = |k: usize| slots.own(k).and_then(|own| own.first()).copied().unwrap_or(0);
        self.widths = (width(2), width(6), width(4));
        let (n, m, mi) = self.widths;
        let wanted: [Vec<usize>; SLOTS] = [
            if self.factored { vec![n] } else { vec![n, n] },
            vec![n, slots.own(1).map_or(0, |own| own[1])],
            vec![n],
            vec![mi, n],
            vec![mi],
            vec![m, n],
            vec![m],
            vec![n],
            vec![n],
        ];
        for (k, wanted) in wanted.iter().enumerate() {
            if let Some(own) = slots.own(k).filter(|own| own != wanted) {
                return refuse(format!("{} has shape {own:?}, expected {wanted:?}", NAMES[k]));
            }
        }
        if slots.own(2).is_none() {
            return refuse("q is missing".to_owned());
        }
        Ok(slots)
    }

    /// A direction in the data, with zeros for the half of a factored P that does not move.
    pub fn take_direction(&mut self, mask: &str, data: &Slots<'_>) -> Result<Slots<'a>, Refusal> {
        let there = self.mask(mask)?;
        if let Some(k) = (0..SLOTS).find(|&k| there[k] && data.own(k).is_none()) {
            return refuse(format!("a tangent of {} was given, but {0} is absent", NAMES[k]));
        }
        let mut slots = self.slots(mask, |k| data.own(k).map(<[usize]>::to_vec))?;
        if self.factored && (there[0] || there[1]) {
            for k in 0..2 {
                if let (None, Some(own)) = (&slots.slots[k], data.own(k)) {
                    let values = Cow::Owned(vec![0.0; own.iter().product()]);
                    slots.slots[k] = Some(Slot { values, dims: own.to_vec() });
                }
            }
        }
        Ok(slots)
    }

    /// The state of every instance as doubles, one row after the other.
    pub fn take_state(&mut self) -> Result<Vec<f64>, Refusal> {
        let (n, m, mi) = self.widths;
        let wanted = [self.size, 2 * state_width(n, m, mi)];
        match self.next("state")? {
            (Numbers::U32(words), dims) if dims == wanted => {
                Ok(words.chunks_exact(2).map(|pair| from_words([pair[0], pair[1]])).collect())
            }
            (_, dims) => refuse(format!("state has shape {dims:?}, expected {wanted:?} of uint32")),
        }
    }

    /// The cotangents of the outputs in `cotangents`.
    pub fn take_cotangents(&mut self) -> Result<Vec<Cotangent>, Refusal> {
        let (n, m, mi) = self.widths;
        let there = self.mask("cotangents")?;
        let mut out = vec![Cotangent::default(); self.size];
        for (k, width) in [n, m, mi, n, 1].into_iter().enumerate().filter(|(k, _)| there[*k]) {
            let (Slot { values, dims }, _) = self.floats(OUTPUTS[k])?;
            let wanted = if k == 4 { vec![self.size] } else { vec![self.size, width] };
            if dims != wanted {
                return refuse(format!("the cotangent of {} has shape {dims:?}, expected {wanted:?}", OUTPUTS[k]));
            }
            if width == 0 {
                continue;
            }
            for (cotangent, row) in out.iter_mut().zip(values.chunks_exact(width)) {
                match k {
                    0 => cotangent.x = row.to_vec(),
                    1 => cotangent.y = row.to_vec(),
                    2 => cotangent.z = row.to_vec(),
                    3 => cotangent.z_box = row.to_vec(),
                    _ => cotangent.objective = row[0],
                }
            }
        }
        Ok(out)
    }

    /// Warns of derivatives in doubt, or refuses them.
    pub fn judge(&self, codes: &[u8]) -> Result<(), Refusal> {
        if self.untrusted == 2 || !verdicts::doubtful(codes) {
            return Ok(());
        }
        let told = Python::attach(|py| -> PyResult<()> {
            let judge = py.import("bpqp._verdicts")?.getattr("judge")?;
            judge.call1((codes.to_vec().into_pyarray(py), ["warn", "raise"][usize::from(self.untrusted != 0)]))?;
            Ok(())
        });
        told.map_err(|error| Refusal::Unsolved(error.to_string()))
    }

    /// Refuses arguments that nobody took.
    pub fn end(&self) -> Result<(), Refusal> {
        match self.arguments.len() {
            0 => Ok(()),
            left => refuse(format!("the call has {left} arguments too many")),
        }
    }

    /// The prepared state for the settings of this call.
    pub fn engine(&self) -> Result<Arc<Prepared>, Refusal> {
        let mut s = Settings::default();
        let natural = |value: i64, name: &str| usize::try_from(value).or_else(|_| refuse(format!("{name} = {value}")));
        for &(name, value) in &self.attributes {
            match (name, value) {
                ("solver", Attribute::Text(name)) => s.solver = Solver::from_name(name).map_err(Failure::from)?,
                ("eps_abs", Attribute::Float(v)) => s.eps_abs = v,
                ("eps_rel", Attribute::Float(v)) => s.eps_rel = v,
                ("max_iter", Attribute::Int(v)) => s.max_iter = Some(natural(v, name)?),
                ("time_limit", Attribute::Float(v)) => {
                    let limit = Duration::try_from_secs_f64(v).or_else(|_| refuse(format!("time_limit = {v}")))?;
                    s.time_limit = Some(limit);
                }
                ("polish", Attribute::Int(v)) => s.polish = v != 0,
                ("presolve", Attribute::Int(v)) => s.presolve = v != 0,
                ("backward", Attribute::Text("direct")) => s.backward = Backward::Direct,
                ("backward", Attribute::Text("first_order")) => s.backward = Backward::FirstOrder,
                ("smoothing", Attribute::Float(v)) => s.smoothing = Some(v),
                ("infeasible", Attribute::Text(name)) => {
                    s.infeasible = Infeasible::from_name(name).map_err(Failure::from)?
                }
                ("threads", Attribute::Int(v)) => s.threads = natural(v, name)?,
                (
                    "size" | "factored" | "policy" | "examine" | "untrusted" | "data" | "cotangents" | "tangents"
                    | "along" | "ask" | "summed",
                    Attribute::Int(_),
                ) => {}
                (other, _) => return refuse(format!("the call has an attribute {other} that is not known here")),
            }
        }
        super::prepared(s, self.single)
    }

    fn result(&mut self, k: usize, dims: &[usize]) -> Result<&mut Place<'a>, Refusal> {
        match self.results.get_mut(k) {
            Some(result) if result.dims == dims => Ok(&mut result.place),
            Some(result) => refuse(format!("result {k} has shape {:?}, expected {dims:?}", result.dims)),
            None => refuse(format!("the call has no result {k}")),
        }
    }

    /// Writes a result in its own precision.
    pub fn write(&mut self, k: usize, values: &[f64], dims: &[usize]) -> Result<(), Refusal> {
        match self.result(k, dims)? {
            Place::F64(out) if out.len() == values.len() => out.copy_from_slice(values),
            Place::F32(out) if out.len() == values.len() => {
                out.iter_mut().zip(values).for_each(|(o, v)| *o = *v as f32);
            }
            _ => return refuse(format!("result {k} is not a place for {} floats", values.len())),
        }
        Ok(())
    }

    pub fn write_rows(&mut self, k: usize, values: &[f64], width: usize) -> Result<(), Refusal> {
        self.write(k, values, &[self.size, width])
    }

    /// Writes doubles as pairs of 32-bit words.
    pub fn write_words(&mut self, k: usize, values: &[f64], width: usize) -> Result<(), Refusal> {
        match self.result(k, &[self.size, 2 * width])? {
            Place::U32(out) if out.len() == 2 * values.len() => {
                out.chunks_exact_mut(2).zip(values).for_each(|(pair, v)| pair.copy_from_slice(&to_words(*v)));
                Ok(())
            }
            _ => refuse(format!("result {k} is not a place for {} words", 2 * values.len())),
        }
    }

    pub fn write_integers(&mut self, k: usize, values: &[i32], width: usize) -> Result<(), Refusal> {
        match self.result(k, &[self.size, width])? {
            Place::S32(out) if out.len() == values.len() => {
                out.copy_from_slice(values);
                Ok(())
            }
            _ => refuse(format!("result {k} is not a place for {} integers", values.len())),
        }
    }
}

/// A double as it lies in memory, in two words.
fn to_words(value: f64) -> [u32; 2] {
    let b = value.to_ne_bytes();
    [u32::from_ne_bytes([b[0], b[1], b[2], b[3]]), u32::from_ne_bytes([b[4], b[5], b[6], b[7]])]
}

fn from_words([first, second]: [u32; 2]) -> f64 {
    let (a, b) = (first.to_ne_bytes(), second.to_ne_bytes());
    f64::from_ne_bytes([a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3]])
}
