//! Cases of MATPOWER: buses, generators, branches and costs as tables in a text.

use crate::GridError;
use std::collections::HashMap;

/// A bus, in the units of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Bus {
    /// Its number in the file.
    pub id: i64,
    /// True for the one whose angle is 0.
    pub reference: bool,
    /// Load in MW.
    pub load: f64,
    /// Reactive load in MVAr.
    pub reactive: f64,
    /// Shunt conductance, MW at a voltage of 1.
    pub conductance: f64,
    /// Shunt susceptance, MVAr at a voltage of 1.
    pub susceptance: f64,
    /// Lowest and highest voltage, relative.
    pub voltage: (f64, f64),
}

/// A generator that runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Generator {
    /// Index of its bus.
    pub bus: usize,
    /// Its row in the file, from 0.
    pub row: usize,
    /// Least and most power in MW.
    pub power: (f64, f64),
    /// Least and most reactive power in MVAr.
    pub reactive: (f64, f64),
    /// Coefficients of the cost in $/h: of P^2, P and 1, with P in MW.
    pub cost: [f64; 3],
}

/// A line or transformer that is in use.
#[derive(Debug, Clone, PartialEq)]
pub struct Branch {
    /// Index of the bus where it begins.
    pub from: usize,
    /// Index of the bus where it ends.
    pub to: usize,
    /// Its row in the file, from 0.
    pub row: usize,
    /// Series resistance, relative.
    pub resistance: f64,
    /// Series reactance, relative.
    pub reactance: f64,
    /// Charging susceptance of the whole line, relative.
    pub charging: f64,
    /// The most apparent power in MVA, if there is a limit.
    pub limit: Option<f64>,
    /// Ratio of the transformer, 1 for a line.
    pub tap: f64,
    /// Phase shift in radians.
    pub shift: f64,
    /// Least and most difference of angles in radians; infinite without one.
    pub angle: (f64, f64),
}

/// A grid.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// MVA of one unit of power.
    pub base: f64,
    /// The buses that are in use.
    pub buses: Vec<Bus>,
    /// The generators that run.
    pub generators: Vec<Generator>,
    /// The branches that are in use.
    pub branches: Vec<Branch>,
}

fn wrong(reason: impl Into<String>) -> GridError {
    GridError::Case(reason.into())
}

/// The text behind `mpc.NAME =`, without comments.
fn behind<'a>(text: &'a str, name: &str) -> Result<&'a str, GridError> {
    for (at, found) in text.match_indices("mpc.") {
        let rest = &text[at + found.len()..];
        let Some(rest) = rest.strip_prefix(name) else { continue };
        if let Some(value) = rest.trim_start().strip_prefix('=') {
            return Ok(value);
        }
    }
    Err(wrong(format!("there is no mpc.{name}")))
}

fn number(word: &str, table: &str, row: usize) -> Result<f64, GridError> {
    let value = match word {
        "Inf" | "inf" | "+Inf" => Ok(f64::INFINITY),
        "-Inf" | "-inf" => Ok(f64::NEG_INFINITY),
        _ => word.parse::<f64>().map_err(|_| ()),
    };
    match value {
        Ok(v) if !v.is_nan() => Ok(v),
        _ => Err(wrong(format!("mpc.{table}, row {}: {:?} is no number", row + 1, shown(word)))),
    }
}

fn shown(word: &str) -> String {
    word.chars().take(40).collect()
}

/// The rows of a matrix, each of at least `columns` numbers.
fn table(text: &str, name: &str, columns: usize) -> Result<Vec<Vec<f64>>, GridError> {
    let value = behind(text, name)?.trim_start();
    let body = value.strip_prefix('[').ok_or_else(|| wrong(format!("mpc.{name} is no matrix")))?;
    let end = body.find(']').ok_or_else(|| wrong(format!("mpc.{name} does not end")))?;
    let rows = body[..end].split([';', '\n']).map(str::trim).filter(|row| !row.is_empty());
    let mut out = Vec::new();
    for (k, row) in rows.enumerate() {
        let words = row.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty());
        let row: Vec<f64> = words.map(|word| number(word, name, k)).collect::<Result<_, _>>()?;
        if row.len() < columns {
            return Err(wrong(format!("mpc.{name}, row {}: {} numbers, expected {columns}", k + 1, row.len())));
        }
        out.push(row);
    }
    Ok(out)
}

impl Case {
    /// Reads the text of a case: the tables `bus`, `gen`, `branch` and `gencost` of MATPOWER's format 2, and `baseMVA`.
    ///
    /// What is not in use (buses of type 4, generators and branches that are off) is left out. Costs are polynomials of
    /// degree 2 at most.
    pub fn parse(text: &str) -> Result<Self, GridError> {
        let text: String =
            text.lines().map(|line| line.split('%').next().unwrap_or_default().to_owned() + "\n").collect();
        let word = behind(&text, "baseMVA")?.trim_start().split(|c: char| c.is_whitespace() || c == ';').next();
        let base = number(word.unwrap_or_default(), "baseMVA", 0)?;
        if !(base.is_finite() && base > 0.0) {
            return Err(wrong(format!("mpc.baseMVA is {base}, expected a positive number")));
        }
        let (bus, generator) = (table(&text, "bus", 13)?, table(&text, "gen", 10)?);
        let (branch, cost) = (table(&text, "branch", 11)?, table(&text, "gencost", 4)?);
        let finite = |v: f64, table: &str, row: usize, column: &str| {
            if v.is_finite() {
                return Ok(v);
            }
            Err(wrong(format!("mpc.{table}, row {}: {column} is {v}", row + 1)))
        };
        let ordered = |(low, high): (f64, f64), table: &str, row: usize, column: &str| {
            if low <= high && low < f64::INFINITY && high > f64::NEG_INFINITY {
                return Ok((low, high));
            }
            Err(wrong(format!("mpc.{table}, row {}: {column} from {low} to {high}", row + 1)))
        };
        let (mut place, mut buses) = (HashMap::new(), Vec::new());
        for (k, row) in bus.iter().enumerate() {
            if row[0].fract() != 0.0 || row[0].abs() > 1e15 {
                return Err(wrong(format!("mpc.bus, row {}: {} is no number of a bus", k + 1, row[0])));
            }
            let id = row[0] as i64;
            let used = row[1] != 4.0;
            if place.insert(id, used.then_some(buses.len())).is_some() {
                return Err(wrong(format!("mpc.bus, row {}: bus {id} is there twice", k + 1)));
            }
            if !used {
                continue;
            }
            let voltage = ordered((row[12], row[11]), "bus", k, "the voltage")?;
            if !(voltage.0 >= 0.0 && voltage.1.is_finite()) {
                return Err(wrong(format!("mpc.bus, row {}: voltages from {} to {}", k + 1, voltage.0, voltage.1)));
            }
            buses.push(Bus {
                id,
                reference: row[1] == 3.0,
                load: finite(row[2], "bus", k, "the load")?,
                reactive: finite(row[3], "bus", k, "the reactive load")?,
                conductance: finite(row[4], "bus", k, "the shunt conductance")?,
                susceptance: finite(row[5], "bus", k, "the shunt susceptance")?,
                voltage,
            });
        }
        let find = |id: f64, table: &str, row: usize| {
            let known = (id.fract() == 0.0 && id.abs() <= 1e15).then(|| place.get(&(id as i64))).flatten();
            known.copied().ok_or_else(|| wrong(format!("mpc.{table}, row {}: there is no bus {id}", row + 1)))
        };
        if cost.len() != generator.len() && cost.len() != 2 * generator.len() {
            return Err(wrong(format!("mpc.gencost has {} rows for {} generators", cost.len(), generator.len())));
        }
        let mut generators = Vec::new();
        for (k, row) in generator.iter().enumerate() {
            let Some(bus) = find(row[0], "gen", k)? else { continue };
            if row[7] <= 0.0 {
                continue;
            }
            generators.push(Generator {
                bus,
                row: k,
                power: ordered((row[9], row[8]), "gen", k, "the power")?,
                reactive: ordered((row[4], row[3]), "gen", k, "the reactive power")?,
                cost: polynomial(&cost[k], k)?,
            });
        }
        let mut branches = Vec::new();
        for (k, row) in branch.iter().enumerate() {
            let (Some(from), Some(to)) = (find(row[0], "branch", k)?, find(row[1], "branch", k)?) else { continue };
            if row[10] <= 0.0 {
                continue;
            }
            if from == to {
                return Err(wrong(format!("mpc.branch, row {}: it ends where it begins", k + 1)));
            }
            let own = |column: usize, name: &str| finite(row[column], "branch", k, name);
            let (resistance, reactance) = (own(2, "the resistance")?, own(3, "the reactance")?);
            let square = resistance * resistance + reactance * reactance;
            if !(square.is_finite() && square > 0.0 && (1.0 / square).is_finite()) {
                return Err(wrong(format!("mpc.branch, row {}: impedance {resistance} + {reactance} j", k + 1)));
            }
            let tap = own(8, "the tap ratio")?;
            if tap < 0.0 {
                return Err(wrong(format!("mpc.branch, row {}: tap ratio {tap}", k + 1)));
            }
            // 0 and 0 stand for no limits, like a full turn
            let (low, high) = (row.get(11).copied().unwrap_or(0.0), row.get(12).copied().unwrap_or(0.0));
            let free = low == 0.0 && high == 0.0;
            let (low, high) = ordered((low, high), "branch", k, "the angle")?;
            let low = if free || low <= -360.0 { f64::NEG_INFINITY } else { low.to_radians() };
            let high = if free || high >= 360.0 { f64::INFINITY } else { high.to_radians() };
            if row[5] < 0.0 {
                return Err(wrong(format!("mpc.branch, row {}: limit {}", k + 1, row[5])));
            }
            branches.push(Branch {
                from,
                to,
                row: k,
                resistance,
                reactance,
                charging: own(4, "the charging susceptance")?,
                limit: (row[5] > 0.0 && row[5].is_finite()).then_some(row[5]),
                tap: if tap == 0.0 { 1.0 } else { tap },
                shift: own(9, "the phase shift")?.to_radians(),
                angle: (low, high),
            });
        }
        if buses.is_empty() || generators.is_empty() {
            return Err(wrong("no bus, or no generator, is in use"));
        }
        if !buses.iter().any(|bus| bus.reference) {
            return Err(wrong("no bus is of type 3: there is no reference"));
        }
        Ok(Case { base, buses, generators, branches })
    }

    /// The index of the bus with this number.
    pub fn bus(&self, id: i64) -> Option<usize> {
        self.buses.iter().position(|bus| bus.id == id)
    }

    /// Load of all buses in MW.
    pub fn total_load(&self) -> f64 {
        self.buses.iter().map(|bus| bus.load).sum()
    }
}

fn polynomial(row: &[f64], k: usize) -> Result<[f64; 3], GridError> {
    if row[0] != 2.0 {
        return Err(wrong(format!("mpc.gencost, row {}: model {}, expected 2, a polynomial", k + 1, row[0])));
    }
    let count = row[3];
    if !(count >= 0.0 && count.fract() == 0.0 && count <= (row.len() - 4) as f64) {
        return Err(wrong(format!("mpc.gencost, row {}: {count} coefficients, {} are there", k + 1, row.len() - 4)));
    }
    let coefficients = &row[4..4 + count as usize];
    let mut out = [0.0; 3];
    for (power, value) in coefficients.iter().rev().enumerate() {
        if !value.is_finite() {
            return Err(wrong(format!("mpc.gencost, row {}: a coefficient is {value}", k + 1)));
        }
        match out.get_mut(2_usize.wrapping_sub(power)) {
            Some(place) => *place = *value,
            None if *value == 0.0 => {}
            None => return Err(wrong(format!("mpc.gencost, row {}: a polynomial of degree {power}", k + 1))),
        }
    }
    Ok(out)
}
