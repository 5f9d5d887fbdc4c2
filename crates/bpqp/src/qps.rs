//! MPS and QPS files: linear and quadratic programs as the collections of Netlib and of Maros and Meszaros have them.
//!
//! ```text
//! min or max  1/2 x'Q x + c'x + constant   s.t.  rows of types E, L, G with ranges,  bounds (0 and infinity if none is given)
//! ```
//!
//! Sections NAME, OBJSENSE, ROWS, COLUMNS, RHS, RANGES, BOUNDS, QUADOBJ or QSECTION (a triangle of Q), QMATRIX (all of Q),
//! ENDATA, in fixed or in free format. Rows E become equalities, the others `G x <= h` (rows G with their sign turned), and
//! a row with a range becomes two. A maximum becomes the minimum of the negative.
//!
//! What the format leaves open is read as most solvers do: the right-hand side of the objective is the negative of its
//! constant; an upper bound below 0 without a lower one frees the variable below; 1e20 and beyond is infinite in bounds and
//! sides of rows; further rows of type N are no part of the problem. Refused are integer variables, several vectors of one
//! section, entries given twice, and names that were not declared.

use crate::{Csc, Error, Hessian, Qp};
use std::collections::HashMap;
use std::fmt::Write as _;

/// A problem read from a file.
#[derive(Debug, Clone)]
pub struct Qps {
    /// The name that the file gives itself.
    pub name: String,
    /// The problem, as a minimum, every matrix sparse.
    pub qp: Qp,
    /// The constant of the objective.
    pub constant: f64,
    /// The file asks for the maximum.
    pub maximize: bool,
    /// Names of the variables.
    pub columns: Vec<String>,
    /// Names of the rows of `A`.
    pub equalities: Vec<String>,
    /// Names of the rows of `G`; that of a row with a range is there twice, its upper side first.
    pub inequalities: Vec<String>,
}

impl Qps {
    /// The objective of the file at the objective of `qp`.
    pub fn objective(&self, minimum: f64) -> f64 {
        self.constant + if self.maximize { -minimum } else { minimum }
    }
}

/// Numbers from here on are infinite where infinity is allowed.
const INFINITE: f64 = 1e20;

/// Where the fields of a line are in fixed format: bytes from, to.
const FIELDS: [(usize, usize); 6] = [(1, 3), (4, 12), (14, 22), (24, 36), (39, 47), (49, 61)];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Free,
    Equal,
    Less,
    Greater,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Section {
    None,
    Sense,
    Rows,
    Columns,
    Rhs,
    Ranges,
    Bounds,
    Triangle,
    Full,
    End,
}

/// An entry of a matrix and the line that gave it.
#[derive(Debug, Clone, Copy)]
struct Entry {
    row: usize,
    col: usize,
    value: f64,
    line: usize,
}

/// A value, and the line that gave it.
type Given = Option<(f64, usize)>;

#[derive(Debug, Clone, Copy, Default)]
struct Row {
    rhs: Given,
    range: Given,
}

#[derive(Debug, Clone, Copy, Default)]
struct Column {
    lower: Given,
    upper: Given,
}

/// Reads a problem, in free format or, where that does not fit, in fixed format (names may have spaces there). What is
/// refused is named with its line. Memory stays within a fixed multiple of the text.
pub fn parse(text: &str) -> Result<Qps, Error> {
    let free = match File::read(text, false) {
        Ok(file) => return file.build(),
        Err(error) => error,
    };
    match File::read(text, true) {
        Ok(file) => file.build(),
        // the form that goes further is the one that was meant
        Err(fixed) if line_of(&fixed) > line_of(&free) => Err(fixed),
        Err(_) => Err(free),
    }
}

fn line_of(error: &Error) -> usize {
    if let Error::Format { line, .. } = error { *line } else { 0 }
}

/// The file as it stands.
struct File<'a> {
    name: &'a str,
    maximize: bool,
    section: Section,
    heading: &'a str,
    seen: Vec<(&'a str, usize)>,
    at: usize,
    kinds: Vec<Kind>,
    row_names: Vec<&'a str>,
    rows: HashMap<&'a str, usize>,
    sides: Vec<Row>,
    objective: Option<usize>,
    column_names: Vec<&'a str>,
    columns: HashMap<&'a str, usize>,
    bounds: Vec<Column>,
    entries: Vec<Entry>,
    quadratic: Vec<Entry>,
    full: bool,
    /// The vector of the right-hand sides, of the ranges and of the bounds that was read.
    vectors: [Option<&'a str>; 3],
}

impl<'a> File<'a> {
    fn read(text: &'a str, fixed: bool) -> Result<Self, Error> {
        let mut file = File {
            name: "",
            maximize: false,
            section: Section::None,
            heading: "",
            seen: Vec::new(),
            at: 0,
            kinds: Vec::new(),
            row_names: Vec::new(),
            rows: HashMap::new(),
            sides: Vec::new(),
            objective: None,
            column_names: Vec::new(),
            columns: HashMap::new(),
            bounds: Vec::new(),
            entries: Vec::new(),
            quadratic: Vec::new(),
            full: false,
            vectors: [None; 3],
        };
        for line in text.lines() {
            file.at += 1;
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('*') {
                continue;
            }
            // a sense may stand in the first column, too
            let data = line.starts_with([' ', '\t']) || file.section == Section::Sense && sense(line).is_some();
            if !data {
                file.open(line)?;
                if file.section == Section::End {
                    return Ok(file);
                }
                continue;
            }
            let mut words: [&str; 6] = [""; 6];
            let count = if fixed && file.section != Section::Sense {
                file.fields(line, &mut words)?
            } else {
                file.words(line, &mut words)?
            };
            file.line(&words[..count])?;
        }
        file.heading = "";
        file.error("the file ends without ENDATA")
    }

    fn error<T>(&self, reason: impl Into<String>) -> Result<T, Error> {
        let reason = match self.heading {
            "" => reason.into(),
            section => format!("{} (in section {section})", reason.into()),
        };
        Err(Error::Format { line: self.at.max(1), reason })
    }

    fn words(&self, line: &'a str, out: &mut [&'a str; 6]) -> Result<usize, Error> {
        let mut count = 0;
        for word in line.split_whitespace() {
            if count == out.len() {
                return self.error(format!("{word:?} stands where the line should end"));
            }
            out[count] = word;
            count += 1;
        }
        Ok(count)
    }

    /// The fields of fixed format that are not blank.
    fn fields(&self, line: &'a str, out: &mut [&'a str; 6]) -> Result<usize, Error> {
        let (mut count, mut end) = (0, 0);
        let part = |from: usize, to: usize| line.get(from.min(line.len())..to.min(line.len()));
        for (from, to) in FIELDS {
            match (part(end, from), part(from, to)) {
                (Some(gap), Some(field)) if gap.trim().is_empty() => {
                    let field = field.trim();
                    if !field.is_empty() {
                        out[count] = field;
                        count += 1;
                    }
                }
                _ => return self.error("text stands between the fields of fixed format"),
            }
            end = to;
        }
        match part(end, line.len()) {
            Some(rest) if rest.trim().is_empty() => Ok(count),
            _ => self.error("text stands behind the fields of fixed format"),
        }
    }

    /// A line that begins a section.
    fn open(&mut self, line: &'a str) -> Result<(), Error> {
        let (word, rest) = line.split_once([' ', '\t']).map_or((line, ""), |(word, rest)| (word, rest.trim()));
        self.heading = "";
        if let Some(first) = self.seen.iter().find(|s| s.0 == word).map(|s| s.1) {
            return self.error(format!("the section {word} is there twice, first in line {first}"));
        }
        self.seen.push((word, self.at));
        let after = |needs: &str| self.seen.iter().any(|s| s.0 == needs);
        let needed = match word {
            "COLUMNS" => "ROWS",
            "RHS" | "RANGES" | "BOUNDS" | "QUADOBJ" | "QSECTION" | "QMATRIX" | "ENDATA" => "COLUMNS",
            _ => word,
        };
        if !after(needed) {
            return self.error(format!("the section {word} stands before {needed}"));
        }
        self.section = match word {
            "NAME" => Section::None,
            "OBJSENSE" => Section::Sense,
            "ROWS" => Section::Rows,
            "COLUMNS" => Section::Columns,
            "RHS" => Section::Rhs,
            "RANGES" => Section::Ranges,
            "BOUNDS" => Section::Bounds,
            "QUADOBJ" | "QSECTION" => Section::Triangle,
            "QMATRIX" => Section::Full,
            "ENDATA" => Section::End,
            "QCMATRIX" | "CSECTION" | "SOS" | "SOS1" | "SOS2" | "INDICATORS" => {
                return self.error(format!("the section {word}: quadratic programs with linear constraints are read"));
            }
            other => return self.error(format!("no section {other:?}")),
        };
        if matches!(self.section, Section::Triangle | Section::Full) {
            let names = ["QUADOBJ", "QSECTION", "QMATRIX"];
            if self.seen.iter().filter(|s| names.contains(&s.0)).count() > 1 {
                return self.error(format!("the section {word}: the quadratic form was given before"));
            }
        }
        match (self.section, rest) {
            (Section::None, name) => self.name = name,
            (_, "") => {}
            (Section::Sense, word) => match sense(word) {
                Some(maximize) => (self.maximize, self.section) = (maximize, Section::None),
                None => return self.error(format!("the sense {word:?}: MIN or MAX")),
            },
            (Section::Triangle, row) if word == "QSECTION" => match self.rows.get(row) {
                Some(index) if self.objective == Some(*index) => {}
                Some(_) => return self.error(format!("a quadratic form of the row {row}: only the objective has one")),
                None => return self.error(format!("no row {row:?}")),
            },
            (_, more) => return self.error(format!("{more:?} stands where the line should end")),
        }
        self.heading = word;
        Ok(())
    }

    fn line(&mut self, words: &[&'a str]) -> Result<(), Error> {
        match self.section {
            Section::Sense => {
                let [word] = words else { return self.error("one word is the sense: MIN or MAX") };
                let Some(maximize) = sense(word) else { return self.error(format!("the sense {word:?}: MIN or MAX")) };
                (self.maximize, self.section) = (maximize, Section::None);
                Ok(())
            }
            Section::Rows => self.row(words),
            Section::Columns => self.column(words),
            Section::Rhs | Section::Ranges => self.side(words),
            Section::Bounds => self.bound(words),
            Section::Triangle | Section::Full => self.quadratic(words),
            Section::None | Section::End => {
                self.heading = "";
                self.error(format!("{:?} belongs to no section", words.join(" ")))
            }
        }
    }

    fn row(&mut self, words: &[&'a str]) -> Result<(), Error> {
        let [kind, name] = *words else { return self.error("a row has a type and a name") };
        let kind = match kind {
            "N" | "n" => Kind::Free,
            "E" | "e" => Kind::Equal,
            "L" | "l" => Kind::Less,
            "G" | "g" => Kind::Greater,
            other => return self.error(format!("the type {other:?} of a row: N, E, L or G")),
        };
        let index = self.kinds.len();
        if self.rows.insert(name, index).is_some() {
            return self.error(format!("the row {name} is there twice"));
        }
        if kind == Kind::Free && self.objective.is_none() {
            self.objective = Some(index);
        }
        self.kinds.push(kind);
        self.row_names.push(name);
        self.sides.push(Row::default());
        Ok(())
    }

    fn row_of(&self, name: &str) -> Result<usize, Error> {
        match self.rows.get(name) {
            Some(index) => Ok(*index),
            None => self.error(format!("no row {name:?}")),
        }
    }

    fn column_of(&self, name: &str) -> Result<usize, Error> {
        match self.columns.get(name) {
            Some(index) => Ok(*index),
            None => self.error(format!("no column {name:?}")),
        }
    }

    /// A number; the Fortran exponent D is one too.
    fn number(&self, word: &str) -> Result<f64, Error> {
        let parsed = word.parse().ok().or_else(|| {
            let fortran =
                word.contains(['d', 'D']) && word.bytes().all(|b| b.is_ascii_digit() || b"+-.dD".contains(&b));
            fortran.then(|| word.replace(['d', 'D'], "e").parse().ok()).flatten()
        });
        match parsed {
            Some(value) if !f64::is_nan(value) => Ok(value),
            _ => self.error(format!("expected a number, found {word:?}")),
        }
    }

    fn finite(&self, word: &str) -> Result<f64, Error> {
        let value = self.number(word)?;
        if value.is_finite() { Ok(value) } else { self.error(format!("expected a finite number, found {value}")) }
    }

    fn column(&mut self, words: &[&'a str]) -> Result<(), Error> {
        if words.get(1).is_some_and(|w| w.eq_ignore_ascii_case("'MARKER'")) {
            return self.error("integer variables: only continuous problems are solved");
        }
        let (Some(name), 3 | 5) = (words.first(), words.len()) else {
            return self.error("a line has the name of a column and one or two pairs of a row and a number");
        };
        let col = match self.column_names.last() {
            Some(last) if last == name => self.column_names.len() - 1,
            _ => *self.columns.entry(name).or_insert_with(|| {
                self.column_names.push(name);
                self.bounds.push(Column::default());
                self.column_names.len() - 1
            }),
        };
        for pair in words[1..].chunks_exact(2) {
            let (row, value) = (self.row_of(pair[0])?, self.finite(pair[1])?);
            self.entries.push(Entry { row, col, value, line: self.at });
        }
        Ok(())
    }

    /// The vector that a line names has to be the first one of its section.
    fn vector(&mut self, section: usize, name: &'a str) -> Result<(), Error> {
        match self.vectors[section] {
            None => self.vectors[section] = Some(name),
            Some(first) if first == name => {}
            Some(first) => {
                return self.error(format!("a second vector {name:?} beside {first:?}: a file of its own each"));
            }
        }
        Ok(())
    }

    fn side(&mut self, words: &[&'a str]) -> Result<(), Error> {
        // an even number of words has no name of a vector
        let (name, pairs) = match words.len() {
            2 | 4 => ("", words),
            3 | 5 => (words[0], &words[1..]),
            _ => return self.error("a line has one or two pairs of a row and a number"),
        };
        let ranges = self.section == Section::Ranges;
        self.vector(usize::from(ranges), name)?;
        for pair in pairs.chunks_exact(2) {
            let (row, value) = (self.row_of(pair[0])?, self.number(pair[1])?);
            if ranges && self.kinds[row] == Kind::Free {
                return self.error(format!("a range of the row {}, which is free", pair[0]));
            }
            let at = if ranges { &mut self.sides[row].range } else { &mut self.sides[row].rhs };
            if at.replace((value, self.at)).is_some() {
                return self.error(format!("the row {} is there twice", pair[0]));
            }
        }
        Ok(())
    }

    fn bound(&mut self, words: &[&'a str]) -> Result<(), Error> {
        let (Some(&kind), 2..=4) = (words.first(), words.len()) else {
            return self.error("a bound has a type, the name of a vector, a column and a number");
        };
        let (vector, column, value) = match kind {
            "FR" | "MI" | "PL" => match words[1..] {
                [column] => ("", column, None),
                // a number may stand there, and means nothing
                [first, second] if !self.columns.contains_key(second) && self.columns.contains_key(first) => {
                    self.number(second)?;
                    ("", first, None)
                }
                [vector, column] => (vector, column, None),
                [vector, column, value] => {
                    self.number(value)?;
                    (vector, column, None)
                }
                _ => return self.error("a bound has a type, the name of a vector and a column"),
            },
            "UP" | "LO" | "FX" => match words[1..] {
                [column, value] => ("", column, Some(self.number(value)?)),
                [vector, column, value] => (vector, column, Some(self.number(value)?)),
                _ => return self.error("a bound of this type has a column and a number"),
            },
            "BV" | "LI" | "UI" | "SC" | "SI" => {
                return self.error(format!("a bound of type {kind}: only continuous problems are solved"));
            }
            other => return self.error(format!("the type {other:?} of a bound: UP, LO, FX, FR, MI or PL")),
        };
        self.vector(2, vector)?;
        let column = self.column_of(column)?;
        let infinite = |v: f64| if v.abs() >= INFINITE { v.signum() * f64::INFINITY } else { v };
        let (lower, upper) = match (kind, value.map(infinite)) {
            ("LO", v) => (v, None),
            ("UP", v) => (None, v),
            ("FX", Some(v)) if v.is_infinite() => return self.error("a variable that is fixed at infinity"),
            ("FX", v) => (v, v),
            ("MI", _) => (Some(f64::NEG_INFINITY), None),
            ("PL", _) => (None, Some(f64::INFINITY)),
            _ => (Some(f64::NEG_INFINITY), Some(f64::INFINITY)),
        };
        let (own, at) = (&mut self.bounds[column], self.at);
        let old = [(&mut own.lower, lower), (&mut own.upper, upper)]
            .map(|(side, value)| value.and_then(|value| side.replace((value, at))));
        match old.into_iter().flatten().next() {
            None => Ok(()),
            Some((_, first)) => {
                let name = self.column_names[column];
                self.error(format!("that bound of {name} is there twice, first in line {first}"))
            }
        }
    }

    fn quadratic(&mut self, words: &[&'a str]) -> Result<(), Error> {
        let (Some(name), 3 | 5) = (words.first(), words.len()) else {
            return self.error("a line has the name of a column and one or two pairs of a column and a number");
        };
        self.full = self.section == Section::Full;
        let col = self.column_of(name)?;
        for pair in words[1..].chunks_exact(2) {
            let (row, value) = (self.column_of(pair[0])?, self.finite(pair[1])?);
            self.quadratic.push(Entry { row, col, value, line: self.at });
        }
        Ok(())
    }

    /// Refuses what was given twice; the entries are in the order of columns afterwards.
    fn no_doubles(entries: &mut [Entry], what: impl Fn(&Entry) -> String) -> Result<(), Error> {
        entries.sort_by_key(|e| (e.col, e.row));
        match entries.windows(2).find(|w| (w[0].col, w[0].row) == (w[1].col, w[1].row)) {
            None => Ok(()),
            Some(w) => {
                let reason = format!("{} is there twice, first in line {}", what(&w[1]), w[0].line);
                Err(Error::Format { line: w[1].line, reason })
            }
        }
    }

    /// Both triangles of the quadratic form.
    fn hessian(&mut self, sign: f64) -> Result<Vec<(usize, usize, f64)>, Error> {
        let names = &self.column_names;
        let what = |e: &Entry| format!("the quadratic entry of {} and {}", names[e.row], names[e.col]);
        if self.full {
            Self::no_doubles(&mut self.quadratic, what)?;
            let value = |row: usize, col: usize| {
                let found = self.quadratic.binary_search_by_key(&(col, row), |e| (e.col, e.row));
                found.map_or(0.0, |k| self.quadratic[k].value)
            };
            if let Some(e) = self.quadratic.iter().find(|e| value(e.col, e.row) != e.value) {
                let reason = format!("{} is {}, its mirror image {}", what(e), e.value, value(e.col, e.row));
                return Err(Error::Format { line: e.line, reason: format!("{reason}: QMATRIX holds both triangles") });
            }
            return Ok(self.quadratic.iter().map(|e| (e.row, e.col, sign * e.value)).collect());
        }
        // a triangle, upper or lower: the larger index is the column
        for e in &mut self.quadratic {
            (e.row, e.col) = (e.row.min(e.col), e.row.max(e.col));
        }
        Self::no_doubles(&mut self.quadratic, what)?;
        let mut out = Vec::with_capacity(2 * self.quadratic.len());
        for e in &self.quadratic {
            out.push((e.row, e.col, sign * e.value));
            if e.row != e.col {
                out.push((e.col, e.row, sign * e.value));
            }
        }
        Ok(out)
    }

    fn build(mut self) -> Result<Qps, Error> {
        self.heading = "";
        let n = self.column_names.len();
        if n == 0 {
            return self.error("the file declares no columns");
        }
        let Some(objective) = self.objective else { return self.error("no row of type N is the objective") };
        let sign = if self.maximize { -1.0 } else { 1.0 };
        let (rows, columns) = (&self.row_names, &self.column_names);
        let what = |e: &Entry| format!("the entry of the row {} and the column {}", rows[e.row], columns[e.col]);
        Self::no_doubles(&mut self.entries, what)?;

        // for each row its places: of an equality, of an upper and of a lower side
        let (mut equalities, mut b, mut inequalities, mut h) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut places = vec![(None, None, None); rows.len()];
        let mut constant = 0.0;
        for (i, (&kind, side)) in self.kinds.iter().zip(&self.sides).enumerate() {
            let (rhs, line) = side.rhs.unwrap_or((0.0, 1));
            let fail = |reason: &str| Err(Error::Format { line, reason: format!("the row {}: {reason}", rows[i]) });
            if kind == Kind::Free {
                if i == objective {
                    if !rhs.is_finite() {
                        return fail("the constant of the objective is infinite");
                    }
                    constant = -rhs;
                }
                continue;
            }
            let (lower, upper) = match (kind, side.range) {
                (Kind::Equal, None) => (rhs, rhs),
                (Kind::Less, None) => (f64::NEG_INFINITY, rhs),
                (Kind::Greater, None) => (rhs, f64::INFINITY),
                (Kind::Less, Some((range, _))) => (rhs - range.abs(), rhs),
                (Kind::Equal, Some((range, _))) if range < 0.0 => (rhs + range, rhs),
                (_, Some((range, _))) => (rhs, rhs + range.abs()),
                (Kind::Free, None) => continue,
            };
            if lower == upper && lower.abs() < INFINITE {
                places[i].0 = Some(b.len());
                b.push(lower);
                equalities.push(rows[i].to_owned());
                continue;
            }
            if kind == Kind::Equal && side.range.is_none() || lower >= INFINITE || upper <= -INFINITE {
                return fail("its right-hand side leaves no value");
            }
            // of a row without a finite side its upper one stays, and binds nowhere
            if upper < INFINITE || lower <= -INFINITE {
                places[i].1 = Some(h.len());
                h.push(if upper < INFINITE { upper } else { f64::INFINITY });
                inequalities.push(rows[i].to_owned());
            }
            if lower > -INFINITE {
                places[i].2 = Some(h.len());
                h.push(-lower);
                inequalities.push(rows[i].to_owned());
            }
        }
        let (mut q, mut a, mut g) = (vec![0.0; n], Vec::new(), Vec::new());
        for e in &self.entries {
            if e.row == objective {
                q[e.col] = sign * e.value;
            }
            let (equal, upper, lower) = places[e.row];
            if let Some(row) = equal {
                a.push((row, e.col, e.value));
            }
            for (row, factor) in [(upper, 1.0), (lower, -1.0)] {
                if let Some(row) = row {
                    g.push((row, e.col, factor * e.value));
                }
            }
        }
        let (mut lb, mut ub) = (Vec::with_capacity(n), Vec::with_capacity(n));
        for (column, name) in self.bounds.iter().zip(columns) {
            let upper = column.upper.map_or(f64::INFINITY, |u| u.0);
            let lower = column.lower.map_or(if upper < 0.0 { f64::NEG_INFINITY } else { 0.0 }, |l| l.0);
            if lower > upper || lower == f64::INFINITY || upper == f64::NEG_INFINITY {
                let line = column.lower.into_iter().chain(column.upper).map(|g| g.1).max().unwrap_or(1);
                return Err(Error::Format { line, reason: format!("{name}: {lower} to {upper} leaves no value") });
            }
            lb.push(lower);
            ub.push(upper);
        }
        let p = self.hessian(sign)?;
        let mut qp = match p.is_empty() {
            true => Qp::linear(q)?,
            false => Qp::new(Hessian::Sparse(Csc::from_triplets(n, n, &p)?), q)?,
        };
        if !b.is_empty() {
            qp = qp.equality(Csc::from_triplets(b.len(), n, &a)?, b)?;
        }
        if !h.is_empty() {
            qp = qp.inequality(Csc::from_triplets(h.len(), n, &g)?, h)?;
        }
        let columns = self.column_names.iter().map(|&name| name.to_owned()).collect();
        Ok(Qps {
            name: self.name.to_owned(),
            qp: qp.bounds(lb, ub)?,
            constant,
            maximize: self.maximize,
            columns,
            equalities,
            inequalities,
        })
    }
}

/// The text of a file in free format that [`parse`] reads as the same problem, to the last digit.
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

/// True for a maximum, false for a minimum.
fn sense(word: &str) -> Option<bool> {
    match word.trim().to_ascii_uppercase().as_str() {
        "MAX" | "MAXIMIZE" => Some(true),
        "MIN" | "MINIMIZE" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;

    /// Every section in free format.
    const FREE: &str = "* a comment\nNAME small one\nOBJSENSE\n    MAX\nROWS\n N cost\n E e1\n L l1\n G g1\n E e2\n N other\n
COLUMNS\n x cost 1.0 e1 1\n x l1 2 g1 3\n y cost -2.5 e1 1\n y other 7\n z e2 1\nRHS\n RHS cost -4 e1 1\n RHS l1 5 g1 1\n RHS e2 2\n
RANGES\n R l1 2 g1 1\n R e2 -3\nBOUNDS\n UP B x -1\n FR B y\n LO B z 1\n UP B z 1e30\nQUADOBJ\n x x -2\n x y 1\n y y -4\nENDATA\n";

    #[test]
    fn what_is_written_reads_back() {
        let form = |qp: &Qp| {
            format!(
                "{:?}",
                (qp.q(), qp.b(), qp.h(), qp.lb(), qp.ub(), qp.a().to_dense(), qp.g().to_dense(), qp.p().to_dense())
            )
        };
        let file = parse(FREE).expect("valid");
        let own = Qp::new(faer::mat![[2.0, 1.0 / 3.0], [1.0 / 3.0, 1e-7]], vec![0.1, -0.0]).expect("valid");
        let own = own.inequality(faer::mat![[1.0, 0.0], [0.7, -1e300]], vec![f64::INFINITY, -2.5]).expect("valid");
        let own = own.bounds(vec![-1.0, f64::NEG_INFINITY], vec![f64::INFINITY, -3.0]).expect("valid");
        let (columns, equalities, inequalities) = (vec![], vec![], vec!["a b".to_owned(), "c".to_owned()]);
        let bare =
            Qps { name: String::new(), qp: own, constant: 0.0, maximize: false, columns, equalities, inequalities };
        for file in [file, bare] {
            let text = write(&file).expect("no cones");
            let again = parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
            assert_eq!(form(&again.qp), form(&file.qp), "{text}");
            assert_eq!((again.constant, again.maximize), (file.constant, file.maximize));
        }
    }

    #[test]
    fn reads_every_section() {
        let file = parse(FREE).expect("valid");
        assert_eq!(
            (file.name.as_str(), file.maximize, file.constant, file.objective(3.0)),
            ("small one", true, 4.0, 1.0)
        );
        assert_eq!(file.columns, ["x", "y", "z"]);
        assert_eq!(
            (&file.equalities[..], &file.inequalities[..]),
            (&["e1".to_owned()][..], &["l1", "l1", "g1", "g1", "e2", "e2"].map(String::from)[..])
        );
        let qp = &file.qp;
        assert_eq!((qp.q(), qp.b()), (&[-1.0, 2.5, 0.0][..], &[1.0][..]));
        assert_eq!(qp.h(), [5.0, -3.0, 2.0, -1.0, 2.0, 1.0]);
        let g = qp.g().to_dense();
        assert_eq!(
            [g[(0, 0)], g[(1, 0)], g[(2, 0)], g[(3, 0)], g[(4, 2)], g[(5, 2)]],
            [2.0, -2.0, 3.0, -3.0, 1.0, -1.0]
        );
        let free = f64::NEG_INFINITY;
        assert_eq!((qp.lb(), qp.ub()), (&[free, free, 1.0][..], &[-1.0, -free, -free][..]));
        let p = qp.p().to_dense();
        assert_eq!([p[(0, 0)], p[(0, 1)], p[(1, 0)], p[(1, 1)]], [2.0, -1.0, -1.0, 4.0]);
        // all of Q, and one vector without a name
        let full = FREE.replace("QUADOBJ", "QMATRIX").replace(" x y 1\n", " x y 1\n y x 1\n").replace(" R ", " ");
        let again = parse(&full).expect("valid");
        assert_eq!((again.qp.p().to_dense(), again.qp.h()), (p, qp.h()));
    }

    #[test]
    fn reads_fixed_format_with_spaces_in_names() {
        let text = "NAME          QP\nROWS\n N  obj\n L  row one\nCOLUMNS\n    col a     obj       1.0            row one   1.0\n    col b     row one   2.0D0\n
RHS\n    rhs       row one   4.0\nBOUNDS\n UP bnd       col a     3.0\nQSECTION      obj\n    col a     col a     1.0\nENDATA\n";
        let file = parse(text).expect("valid");
        assert_eq!(
            (&file.columns[..], file.qp.h(), file.qp.ub()[0]),
            (&["col a".to_owned(), "col b".to_owned()][..], &[4.0][..], 3.0)
        );
        assert_eq!(file.qp.g().to_dense()[(0, 1)], 2.0);
        let error = parse(&text.replace("2.0D0", "2.0X0")).expect_err("no number").to_string();
        assert!(error.starts_with("line 7: expected a number, found \"2.0X0\""), "{error}");
    }

    #[test]
    fn refuses_what_it_cannot_read_with_the_line() {
        let start = "ROWS\n N c\n L r\nCOLUMNS\n x c 1 r 1\n y c 1\n";
        for (text, expected) in [
            ("", "line 1: the file ends without ENDATA"),
            ("ROWS\n N c\nCOLUMNS\nENDATA\n", "line 4: the file declares no columns"),
            ("ROWS\n L r\nCOLUMNS\n x r 1\nENDATA\n", "no row of type N"),
            ("COLUMNS\n", "line 1: the section COLUMNS stands before ROWS"),
            ("ROWS\n Q c\n", "line 2: the type \"Q\" of a row"),
            ("ROWS\n N c\n L c\n", "line 3: the row c is there twice (in section ROWS)"),
            ("WHAT\n", "line 1: no section \"WHAT\""),
            (" x\n", "line 1: \"x\" belongs to no section"),
            ("OBJSENSE\n  BEST\n", "line 2: the sense \"BEST\""),
            (
                &format!("{start} x r 2\nENDATA\n"),
                "line 7: the entry of the row r and the column x is there twice, first in line 5",
            ),
            (&format!("{start} x s 2\n"), "line 7: no row \"s\" (in section COLUMNS)"),
            (&format!("{start} x r inf\n"), "line 7: expected a finite number"),
            (&format!("{start} x r nan\n"), "line 7: expected a number"),
            (&format!("{start} x r\n"), "line 7: a line has the name of a column"),
            (&format!("{start} m 'MARKER' 'INTORG'\n"), "line 7: integer variables"),
            (&format!("{start}ROWS\n"), "line 7: the section ROWS is there twice, first in line 1"),
            (&format!("{start}RHS\n A r 1\n B c 1\n"), "line 9: a second vector \"B\" beside \"A\""),
            (&format!("{start}RHS\n A r 1 r 2\n"), "line 8: the row r is there twice"),
            (&format!("{start}RANGES\n A c 1\n"), "line 8: a range of the row c"),
            (&format!("{start}BOUNDS\n BV B x\n"), "line 8: a bound of type BV: only continuous"),
            (&format!("{start}BOUNDS\n UP B x\n"), "line 8: expected a number, found \"x\""),
            (&format!("{start}BOUNDS\n UP B w 1\n"), "line 8: no column \"w\""),
            (
                &format!("{start}BOUNDS\n UP B x 1\n UP B x 2\n"),
                "line 9: that bound of x is there twice, first in line 8",
            ),
            (&format!("{start}BOUNDS\n LO B x 3\n UP B x 2\nENDATA\n"), "line 9: x: 3 to 2 leaves no value"),
            (
                &format!("{start}QUADOBJ\n x y 1\n y x 1\nENDATA\n"),
                "line 9: the quadratic entry of x and y is there twice",
            ),
            (
                &format!("{start}QMATRIX\n x y 1\nENDATA\n"),
                "line 8: the quadratic entry of y and x is 1, its mirror image 0",
            ),
            (&format!("{start}QSECTION r\n"), "line 7: a quadratic form of the row r"),
            (&format!("{start}QCMATRIX r\n"), "line 7: the section QCMATRIX"),
            (&format!("{start}RHS\n r 1e20\n"), "line 8: the file ends without ENDATA"),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_small_problem_is_solved() {
        // QPTEST of the description of the format by Maros and Meszaros: the optimum is 8.371875
        let text = "NAME          QPTEST\nROWS\n N  obj\n G  r1\n L  r2\nCOLUMNS\n    c1        r1        2.0            r2        -1.0\n    c1        obj       1.5\n
    c2        r1        1.0            r2        2.0\n    c2        obj       -2.0\nRHS\n    rhs1      r1        2.0            r2        6.0\n
    rhs1      obj       -4.0\nBOUNDS\n UP bnd1      c1        20.0\nQUADOBJ\n    c1        c1        8.0\n    c1        c2        2.0\n    c2        c2        10.0\nENDATA\n";
        let file = parse(text).expect("valid");
        let solution = file.qp.solve(&Settings::default()).expect("valid");
        assert!(
            (file.objective(solution.objective) - 8.371_875).abs() < 1e-8,
            "{}",
            file.objective(solution.objective)
        );
    }
}
