//! The writer.

use super::Qps;
use crate::{Error, Hessian};
use std::fmt::Write as _;

/// The text of a file in free format that [`parse`](super::parse) reads as the same problem, to the last digit.
///
/// Names with blanks, empty or given twice are replaced: columns by `x0, x1, ..`, rows by `r0, ..`, the objective first. A maximum is written as one, with the objective of the file.
///
/// # Errors
///
/// [`Error::Unsupported`] for cones, which the format does not have.
pub fn write(file: &Qps) -> Result<String, Error> {
    let qp = &file.qp;
    if qp.n_cone() > 0 {
        return Err(Error::Unsupported { what: "cones in an MPS file".to_owned(), advice: "write a CBF file" });
    }
    let sign = if file.maximize { -1.0 } else { 1.0 };
    let columns = names(&file.columns, qp.n(), 'x');
    let given = [&["objective".to_owned()][..], &file.equalities, &file.inequalities].concat();
    let rows = names(&given, 1 + qp.n_equality() + qp.n_inequality(), 'r');
    let (e, i) = (1, 1 + qp.n_equality());
    let name = file.name.split_whitespace().collect::<Vec<_>>().join("_");
    let mut out = format!("NAME {name}\n");
    if file.maximize {
        out.push_str("OBJSENSE\n MAX\n");
    }
    out.push_str("ROWS\n");
    line(&mut out, &[&"N", &rows[0]]);
    (0..qp.n_equality()).for_each(|k| line(&mut out, &[&"E", &rows[e + k]]));
    (0..qp.n_inequality()).for_each(|k| line(&mut out, &[&"L", &rows[i + k]]));
    out.push_str("COLUMNS\n");
    let mut entries = vec![Vec::new(); qp.n()];
    for (matrix, first) in [(qp.a(), e), (qp.g(), i)] {
        matrix.for_each(|row, col, value| entries[col].push((first + row, value)));
    }
    for (j, entries) in entries.iter().enumerate() {
        // a column is declared by its first line, also where it has no entry
        line(&mut out, &[&columns[j], &rows[0], &Exact(sign * qp.q()[j])]);
        entries.iter().for_each(|&(row, value)| line(&mut out, &[&columns[j], &rows[row], &Exact(value)]));
    }
    out.push_str("RHS\n");
    if file.constant != 0.0 {
        line(&mut out, &[&"RHS", &rows[0], &Exact(-file.constant)]);
    }
    for (side, first) in [(qp.b(), e), (qp.h(), i)] {
        side.iter().enumerate().for_each(|(k, &v)| line(&mut out, &[&"RHS", &rows[first + k], &Exact(v)]));
    }
    out.push_str("BOUNDS\n");
    for (j, (&lower, &upper)) in qp.lb().iter().zip(qp.ub()).enumerate() {
        match lower.is_finite() {
            true => line(&mut out, &[&"LO", &"B", &columns[j], &Exact(lower)]),
            false => line(&mut out, &[&"MI", &"B", &columns[j]]),
        }
        if upper.is_finite() {
            line(&mut out, &[&"UP", &"B", &columns[j], &Exact(upper)]);
        }
    }
    if !qp.p().is_zero() {
        out.push_str("QUADOBJ\n");
        for (row, col, value) in lower_triangle(qp.p()) {
            line(&mut out, &[&columns[col], &columns[row], &Exact(sign * value)]);
        }
    }
    out.push_str("ENDATA\n");
    Ok(out)
}

/// A line of data.
fn line(out: &mut String, words: &[&dyn std::fmt::Display]) {
    for word in words {
        let _ = write!(out, " {word}");
    }
    out.push('\n');
}

/// A number in the shortest digits that read back as it.
struct Exact(f64);

impl std::fmt::Display for Exact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // as the format has it, 1e30 is infinite
        if self.0.is_infinite() {
            write!(f, "{}1e30", if self.0 < 0.0 { "-" } else { "" })
        } else {
            write!(f, "{:e}", self.0)
        }
    }
}

/// These names where they are as many as needed, one word each, and all different; numbered ones elsewhere.
fn names(given: &[String], count: usize, letter: char) -> Vec<String> {
    let one_word = |name: &String| !name.is_empty() && !name.contains(char::is_whitespace) && !name.starts_with('*');
    let different = given.iter().collect::<std::collections::HashSet<_>>().len() == given.len();
    if given.len() == count && different && given.iter().all(one_word) {
        return given.to_vec();
    }
    (0..count).map(|k| format!("{letter}{k}")).collect()
}

/// The entries on and below the diagonal that are not zero.
fn lower_triangle(p: &Hessian) -> Vec<(usize, usize, f64)> {
    match p {
        Hessian::Sparse(m) => m.triplets().filter(|&(i, j, v)| i >= j && v != 0.0).collect(),
        Hessian::Diagonal(d) => d.iter().enumerate().map(|(i, &v)| (i, i, v)).filter(|e| e.2 != 0.0).collect(),
        other => {
            let m = other.to_dense();
            let all = (0..m.ncols()).flat_map(|j| (j..m.nrows()).map(move |i| (i, j)));
            all.map(|(i, j)| (i, j, m[(i, j)])).filter(|e| e.2 != 0.0).collect()
        }
    }
}
