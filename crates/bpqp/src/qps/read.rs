//! The reader: sections and lines of the text, as they stand.

use super::Qps;
use crate::Error;
use std::collections::HashMap;

/// Numbers from here on are infinite where infinity is allowed.
pub(super) const INFINITE: f64 = 1e20;

/// Where the fields of a line are in fixed format: bytes from, to.
const FIELDS: [(usize, usize); 6] = [(1, 3), (4, 12), (14, 22), (24, 36), (39, 47), (49, 61)];

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
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
pub(super) struct Entry {
    pub(super) row: usize,
    pub(super) col: usize,
    pub(super) value: f64,
    pub(super) line: usize,
}

/// A value, and the line that gave it.
pub(super) type Given = Option<(f64, usize)>;

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Row {
    pub(super) rhs: Given,
    pub(super) range: Given,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Column {
    pub(super) lower: Given,
    pub(super) upper: Given,
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
pub(super) struct File<'a> {
    pub(super) name: &'a str,
    pub(super) maximize: bool,
    section: Section,
    pub(super) heading: &'a str,
    seen: Vec<(&'a str, usize)>,
    at: usize,
    pub(super) kinds: Vec<Kind>,
    pub(super) row_names: Vec<&'a str>,
    rows: HashMap<&'a str, usize>,
    pub(super) sides: Vec<Row>,
    pub(super) objective: Option<usize>,
    pub(super) column_names: Vec<&'a str>,
    columns: HashMap<&'a str, usize>,
    pub(super) bounds: Vec<Column>,
    pub(super) entries: Vec<Entry>,
    pub(super) quadratic: Vec<Entry>,
    pub(super) full: bool,
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

    pub(super) fn error<T>(&self, reason: impl Into<String>) -> Result<T, Error> {
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
}

/// True for a maximum, false for a minimum.
fn sense(word: &str) -> Option<bool> {
    match word.trim().to_ascii_uppercase().as_str() {
        "MAX" | "MAXIMIZE" => Some(true),
        "MIN" | "MINIMIZE" => Some(false),
        _ => None,
    }
}
