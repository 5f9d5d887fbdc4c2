//! Problems as JSON: the arguments of `solve_qp` by name, cotangents and settings beside them.
//!
//! ```json
//! {"P": [[2, 0], [0, 1]], "q": [-1, 1], "A": {"shape": [1, 2], "row": [0, 0], "col": [0, 1], "value": [1, 1]},
//!  "b": [1], "lb": [0, null], "solver": "interior_point", "dx": [1, 0]}
//! ```
//!
//! A matrix is a list of rows, or triplets; `P` may also be `{"d": [...], "F": [[...]]}`. `null` is an infinite bound.

use crate::unique::Unique;
use bpqp::{Backward, Cotangent, Csc, Hessian, Infeasible, Matrix, Qp, Settings, Solver};
use faer::Mat;
use serde_json::{Map, Value};
use std::fmt;
use std::path::Path;
use std::time::Duration;

/// What is wrong with a problem file: where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileError {
    file: String,
    message: String,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.message)
    }
}

impl std::error::Error for FileError {}

impl FileError {
    /// What is wrong with that file.
    pub fn new(file: &Path, message: impl fmt::Display) -> Self {
        FileError { file: file.display().to_string(), message: message.to_string() }
    }
}

/// A problem with what to do with it.
#[derive(Debug, Clone)]
pub struct ProblemFile {
    /// The problem.
    pub qp: Qp,
    /// Settings; the defaults where the file says nothing.
    pub settings: Settings,
    /// The cotangent: `dx` is all ones if absent, the others zero.
    pub cotangent: Cotangent,
    /// The objective of the file is this constant plus, or where it asks for the maximum minus, that of `qp`.
    pub constant: f64,
    /// The file asks for the maximum.
    pub maximize: bool,
}

impl ProblemFile {
    /// The objective of the file at the objective of `qp`.
    pub fn objective(&self, minimum: f64) -> f64 {
        self.constant + if self.maximize { -minimum } else { minimum }
    }
}

/// The fields of a problem file.
pub const FIELDS: [&str; 23] = [
    "P",
    "q",
    "G",
    "h",
    "A",
    "b",
    "lb",
    "ub",
    "dx",
    "dy",
    "dz",
    "dz_box",
    "dobjective",
    "solver",
    "backward",
    "eps_abs",
    "eps_rel",
    "max_iter",
    "time_limit",
    "smoothing",
    "polish",
    "presolve",
    "infeasible",
];

type Parsed<T> = Result<T, String>;

/// Reads a file; `-` is standard input.
pub fn read(path: &Path) -> Result<ProblemFile, FileError> {
    let file = if path.as_os_str() == "-" { "standard input".to_owned() } else { path.display().to_string() };
    let text =
        if path.as_os_str() == "-" { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(path) };
    let parsed = text.map_err(|e| e.to_string()).and_then(|text| parse(&text));
    parsed.map_err(|message| FileError { file, message })
}

/// Reads the text of a problem file.
pub fn parse(text: &str) -> Parsed<ProblemFile> {
    let Unique(value) = serde_json::from_str(text).map_err(|e| format!("not valid JSON: {e}"))?;
    let Value::Object(fields) = value else { return Err("a problem is an object such as {\"q\": [...]}".into()) };
    if let Some(name) = fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        return Err(format!("unknown field {name:?}: the fields are {}", FIELDS.join(", ")));
    }
    let q = required(&fields, "q")?;
    let n = q.len();
    let mut qp = match present(&fields, "P") {
        None => Qp::linear(q),
        Some(p) => Qp::new(hessian(p, n)?, q),
    }
    .map_err(|e| e.to_string())?;
    for (matrix, rhs) in [("A", "b"), ("G", "h")] {
        qp = match (present(&fields, matrix), present(&fields, rhs)) {
            (None, None) => qp,
            (Some(m), Some(v)) => {
                let v = numbers(rhs, v, (rhs == "h").then_some(f64::INFINITY))?;
                let m = rows(matrix, m, (v.len(), rhs), n)?;
                if rhs == "b" { qp.equality(m, v) } else { qp.inequality(m, v) }.map_err(|e| e.to_string())?
            }
            (Some(_), None) => return Err(format!("{matrix} without {rhs}: give both or neither")),
            (None, Some(_)) => return Err(format!("{rhs} without {matrix}: give both or neither")),
        };
    }
    let bound = |name, infinite| present(&fields, name).map_or(Ok(vec![]), |v| numbers(name, v, Some(infinite)));
    qp = qp.bounds(bound("lb", f64::NEG_INFINITY)?, bound("ub", f64::INFINITY)?).map_err(|e| e.to_string())?;

    let part = |name: &str| present(&fields, name).map_or(Ok(vec![]), |v| numbers(name, v, None));
    let mut cotangent =
        Cotangent { x: part("dx")?, y: part("dy")?, z: part("dz")?, z_box: part("dz_box")?, ..Cotangent::default() };
    if present(&fields, "dx").is_none() {
        cotangent.x = vec![1.0; n];
    }
    if let Some(v) = present(&fields, "dobjective") {
        cotangent.objective = number("dobjective", v)?;
    }
    cotangent.validate(&qp).map_err(|e| e.to_string())?;
    Ok(ProblemFile { qp, settings: settings(&fields)?, cotangent, constant: 0.0, maximize: false })
}

fn present<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    fields.get(name).filter(|v| !v.is_null())
}

fn required(fields: &Map<String, Value>, name: &str) -> Parsed<Vec<f64>> {
    let value = present(fields, name).ok_or_else(|| format!("{name} is missing: it has one number per variable"))?;
    numbers(name, value, None)
}

fn settings(fields: &Map<String, Value>) -> Parsed<Settings> {
    let mut out = Settings::default();
    let text = |name: &str| {
        let value = present(fields, name);
        value.map(|v| v.as_str().ok_or_else(|| format!("{name} = {v}: expected a string"))).transpose()
    };
    let real = |name: &str| present(fields, name).map(|v| number(name, v)).transpose();
    if let Some(name) = text("solver")? {
        out.solver = Solver::from_name(name).map_err(|e| e.to_string())?;
    }
    out.backward = match text("backward")? {
        None | Some("direct") => Backward::Direct,
        Some("first_order") => Backward::FirstOrder,
        Some(other) => return Err(format!("backward = {other:?}: name direct or first_order")),
    };
    out.eps_abs = real("eps_abs")?.unwrap_or(out.eps_abs);
    out.eps_rel = real("eps_rel")?.unwrap_or(out.eps_rel);
    out.smoothing = real("smoothing")?;
    if let Some(seconds) = real("time_limit")? {
        let limit = Duration::try_from_secs_f64(seconds);
        out.time_limit = Some(limit.map_err(|_| format!("time_limit = {seconds}: expected seconds >= 0"))?);
    }
    if let Some(v) = present(fields, "max_iter") {
        let count = v.as_u64().ok_or_else(|| format!("max_iter = {v}: expected a whole number"))?;
        out.max_iter = Some(count as usize);
    }
    for (name, setting) in [("polish", &mut out.polish), ("presolve", &mut out.presolve)] {
        if let Some(v) = present(fields, name) {
            *setting = v.as_bool().ok_or_else(|| format!("{name} = {v}: expected true or false"))?;
        }
    }
    if let Some(name) = text("infeasible")? {
        out.infeasible = Infeasible::from_name(name).map_err(|e| e.to_string())?;
    }
    out.validate().map_err(|e| e.to_string())?;
    Ok(out)
}

fn number(name: &str, value: &Value) -> Parsed<f64> {
    value.as_f64().ok_or_else(|| format!("{name} = {value}: expected a number"))
}

/// A list of numbers; `null` is `infinite` where that is allowed.
fn numbers(name: &str, value: &Value, infinite: Option<f64>) -> Parsed<Vec<f64>> {
    let list = value.as_array().ok_or_else(|| format!("{name}: expected a list of numbers, found {}", kind(value)))?;
    let entry = |(i, v): (usize, &Value)| match (v, infinite) {
        (Value::Null, Some(infinite)) => Ok(infinite),
        (Value::Null, None) => Err(format!("{name}[{i}] is null: only lb, ub and h may be infinite")),
        _ => v.as_f64().ok_or_else(|| format!("{name}[{i}] = {v}: expected a number")),
    };
    list.iter().enumerate().map(entry).collect()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn hessian(value: &Value, n: usize) -> Parsed<Hessian> {
    if let Value::Object(parts) = value
        && parts.contains_key("d")
    {
        only(parts, "P", &["d", "F"])?;
        let d = numbers("P.d", &parts["d"], None)?;
        let own = d.len();
        return match present(parts, "F") {
            None => Ok(Hessian::Diagonal(d)),
            Some(f) => match dense("P.F", f, None)? {
                f if f.nrows() == own => Hessian::low_rank(d, f).map_err(|e| e.to_string()),
                f => Err(format!("P.F has {} rows, expected one for each of the {own} entries of P.d", f.nrows())),
            },
        };
    }
    match value {
        Value::Object(parts) => sparse("P", parts, (n, "q"), n).map(Hessian::Sparse),
        rows => dense("P", rows, None).map(Hessian::from),
    }
}

/// A list of rows, or triplets; one row per entry of the vector `like`.
fn rows(name: &str, value: &Value, like: (usize, &str), n: usize) -> Parsed<Matrix> {
    match value {
        Value::Object(parts) => sparse(name, parts, like, n).map(Matrix::Sparse),
        rows => dense(name, rows, Some(n)).map(Matrix::from),
    }
}

fn only(parts: &Map<String, Value>, name: &str, allowed: &[&str]) -> Parsed<()> {
    match parts.keys().find(|k| !allowed.contains(&k.as_str())) {
        None => Ok(()),
        Some(k) => Err(format!("{name} has an unknown field {k:?}: expected {}", allowed.join(", "))),
    }
}

/// Triplets. The shape is checked against the vectors beside the matrix before anything of its size is made.
fn sparse(name: &str, parts: &Map<String, Value>, like: (usize, &str), n: usize) -> Parsed<Csc> {
    only(parts, name, &["shape", "row", "col", "value"])?;
    let whole = |key: &str| -> Parsed<Vec<usize>> {
        let list = parts.get(key).ok_or_else(|| format!("{name} has no field {key:?}"))?;
        let list = list.as_array().ok_or_else(|| format!("{name}.{key}: expected a list, found {}", kind(list)))?;
        let entry = |(k, v): (usize, &Value)| {
            let index = v.as_u64().ok_or_else(|| format!("{name}.{key}[{k}] = {v}: expected an index from 0"));
            index.map(|i| i as usize)
        };
        list.iter().enumerate().map(entry).collect()
    };
    let (shape, row, col) = (whole("shape")?, whole("row")?, whole("col")?);
    let field = format!("{name}.value");
    let value = numbers(&field, parts.get("value").ok_or_else(|| format!("{name} has no field \"value\""))?, None)?;
    let [nrows, ncols] = shape[..] else { return Err(format!("{name}.shape = {shape:?}: expected [rows, columns]")) };
    if (nrows, ncols) != (like.0, n) {
        let (rows, vector) = like;
        let advice = format!("one row per entry of {vector} and one column per entry of q");
        return Err(format!("{name}.shape = {shape:?}: expected [{rows}, {n}], {advice}"));
    }
    if row.len() != col.len() || row.len() != value.len() {
        let (r, c, v) = (row.len(), col.len(), value.len());
        return Err(format!("{name} has {r} rows, {c} columns and {v} values: each entry needs all three"));
    }
    for k in 0..row.len() {
        if row[k] >= nrows || col[k] >= ncols {
            return Err(format!("{name} entry {k} is at ({}, {}), outside of {nrows} x {ncols}", row[k], col[k]));
        }
    }
    let triplets: Vec<_> = (0..row.len()).map(|k| (row[k], col[k], value[k])).collect();
    Csc::from_triplets(nrows, ncols, &triplets).map_err(|e| e.to_string())
}

fn dense(name: &str, value: &Value, columns: Option<usize>) -> Parsed<Mat<f64>> {
    let list = value
        .as_array()
        .ok_or_else(|| format!("{name}: expected a list of rows or triplets, found {}", kind(value)))?;
    let rows: Vec<Vec<f64>> = list
        .iter()
        .enumerate()
        .map(|(i, row)| numbers(&format!("{name}[{i}]"), row, None))
        .collect::<Result<_, _>>()?;
    let ncols = columns.unwrap_or_else(|| rows.first().map_or(0, Vec::len));
    if let Some(i) = (0..rows.len()).find(|&i| rows[i].len() != ncols) {
        return Err(format!("{name}[{i}] has {} entries, expected {ncols}", rows[i].len()));
    }
    Ok(Mat::from_fn(rows.len(), ncols, |i, j| rows[i][j]))
}
