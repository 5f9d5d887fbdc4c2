//! Conic Benchmark Format, the text format of CBLIB (Friberg, "CBLIB 2014: a benchmark library for conic mixed-integer
//! and continuous optimization", Math. Prog. Comp. 2016), versions 1 to 3.
//!
//! ```text
//! min or max  a'x + <F, X> + c   s.t.  A x + b in a product of cones,  x in a product of cones,  matrices semidefinite
//! ```
//!
//! Every membership becomes rows of `A x + s = b`: affine constraints in their order, then the cones of the variables, then
//! matrix constraints and matrix variables (which are further entries of x, `svec` of their triangles). A maximum becomes
//! the minimum of the negative.

use crate::{Cone, Conic, Csc, Error};
use std::f64::consts::{FRAC_1_SQRT_2, SQRT_2};
use std::str::FromStr;

/// A problem read from a file.
#[derive(Debug, Clone)]
pub struct Cbf {
    /// The problem, as a minimum.
    pub conic: Conic,
    /// Entries of `x` that are the scalar variables of the file, the first ones; the rest are matrices.
    pub scalars: usize,
    /// The constant of the objective.
    pub constant: f64,
    /// The file asks for the maximum.
    pub maximize: bool,
}

impl Cbf {
    /// The objective of the file at the objective of `conic`.
    pub fn objective(&self, minimum: f64) -> f64 {
        self.constant + if self.maximize { -minimum } else { minimum }
    }
}

/// A line of a section: its number, indices, and the value there.
type Entry<const N: usize> = (usize, [usize; N], f64);

/// A list of cones in a file, with their sizes.
type Domain = Vec<(Member, usize)>;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Member {
    Free,
    Positive,
    Negative,
    Zero,
    Quadratic,
    Rotated,
    Exponential(bool),
    Power(f64, bool),
}

/// Lines of a file, what is left of it, and where reading is.
struct Lines<'a> {
    rest: &'a str,
    at: usize,
    section: &'a str,
    bytes: usize,
    declared: usize,
}

/// Entries that any file may declare without naming them, and how many more for each of its bytes: a line that names one
/// has some ten bytes, but of a large matrix variable few entries may be named.
const FEW: usize = 1 << 20;
const PER_BYTE: usize = 8;

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        Lines { rest: text, at: 0, section: "", bytes: text.len(), declared: 0 }
    }

    /// The next line with something on it.
    fn next(&mut self) -> Option<&'a str> {
        while !self.rest.is_empty() {
            let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
            self.rest = rest;
            self.at += 1;
            let line = line.split('#').next().unwrap_or("").trim();
            if !line.is_empty() {
                return Some(line);
            }
        }
        None
    }

    fn error<T>(&self, reason: impl Into<String>) -> Result<T, Error> {
        let reason = match self.section {
            "" => reason.into(),
            section => format!("{} (in section {section})", reason.into()),
        };
        Err(Error::Format { line: self.at.max(1), reason })
    }

    fn required(&mut self) -> Result<&'a str, Error> {
        match self.next() {
            Some(line) => Ok(line),
            None => self.error("the file ends inside a section"),
        }
    }

    fn number<T: FromStr>(&self, word: Option<&str>, kind: &str) -> Result<T, Error> {
        match word.and_then(|w| w.parse().ok()) {
            Some(v) => Ok(v),
            None => self.error(format!("expected {kind}, found {:?}", word.unwrap_or("the end of the line"))),
        }
    }

    fn whole(&self, word: Option<&str>) -> Result<usize, Error> {
        self.number(word, "a whole number")
    }

    fn value(&self, word: Option<&str>) -> Result<f64, Error> {
        let value: f64 = self.number(word, "a number")?;
        if value.is_finite() { Ok(value) } else { self.error(format!("expected a finite number, found {value}")) }
    }

    /// Refuses what a line has too much: it may be two lines that became one.
    fn end(&self, mut words: std::str::SplitWhitespace<'_>) -> Result<(), Error> {
        match words.next() {
            None => Ok(()),
            Some(word) => self.error(format!("{word:?} stands where the line should end")),
        }
    }

    fn count(&mut self) -> Result<usize, Error> {
        let mut words = self.required()?.split_whitespace();
        let count = self.whole(words.next())?;
        self.end(words)?;
        Ok(count)
    }

    /// A number of lines that follow, which are at least a character and a line end each.
    fn lines(&self, count: usize) -> Result<usize, Error> {
        if count <= self.rest.len().div_ceil(2) {
            return Ok(count);
        }
        self.error(format!("{count} lines are announced, {} bytes follow", self.rest.len()))
    }

    /// Entries that need memory though no line names them, checked before there is any for them.
    fn declare(&mut self, entries: usize) -> Result<usize, Error> {
        let most = FEW + PER_BYTE * self.bytes;
        self.declared = self.declared.saturating_add(entries);
        if self.declared <= most {
            return Ok(entries);
        }
        self.error(format!(
            "{} entries are declared by a file of {} bytes: at most {most} are read",
            self.declared, self.bytes
        ))
    }

    /// `N` whole numbers and a value on each of the counted lines.
    fn entries<const N: usize>(&mut self) -> Result<Vec<Entry<N>>, Error> {
        let count = self.count()?;
        let count = self.lines(count)?;
        let mut out = Vec::new();
        for _ in 0..count {
            let mut words = self.required()?.split_whitespace();
            let mut index = [0; N];
            for i in &mut index {
                *i = self.whole(words.next())?;
            }
            let value = self.value(words.next())?;
            self.end(words)?;
            out.push((self.at, index, value));
        }
        Ok(out)
    }

    /// Cones with their sizes; their number of entries is returned too.
    fn domain(&mut self, powers: &[Vec<Vec<f64>>; 2]) -> Result<(Domain, usize), Error> {
        let mut words = self.required()?.split_whitespace();
        let (total, count) = (self.whole(words.next())?, self.whole(words.next())?);
        self.end(words)?;
        self.declare(total)?;
        let (mut out, mut sum) = (Vec::new(), 0_usize);
        for _ in 0..self.lines(count)? {
            let mut words = self.required()?.split_whitespace();
            let name = words.next().unwrap_or("");
            let size = self.whole(words.next())?;
            self.end(words)?;
            let member = self.member(name, size, powers)?;
            sum = sum.saturating_add(size);
            out.push((member, size));
        }
        if sum != total {
            return self.error(format!("the cones have {sum} entries, the header says {total}"));
        }
        Ok((out, total))
    }

    fn member(&self, name: &str, size: usize, powers: &[Vec<Vec<f64>>; 2]) -> Result<Member, Error> {
        if let Some((index, kind)) = name.strip_prefix('@').and_then(|n| n.split_once(':')) {
            let dual = match kind {
                "POW" => false,
                "POW*" => true,
                _ => return self.error(format!("no cone {name}")),
            };
            let index = self.whole(Some(index))?;
            let Some(alpha) = powers[usize::from(dual)].get(index) else {
                return self.error(format!("{name} refers to power {index} of {}", powers[usize::from(dual)].len()));
            };
            let [a, b] = alpha[..] else {
                return self.error(format!("a power cone with {} exponents: only two are supported", alpha.len()));
            };
            if size != 3 {
                return self.error(format!("a power cone of {size} entries: only 3 are supported"));
            }
            return Ok(Member::Power(a / (a + b), dual));
        }
        let member = match name {
            "F" => Member::Free,
            "L+" => Member::Positive,
            "L-" => Member::Negative,
            "L=" => Member::Zero,
            "Q" => Member::Quadratic,
            "QR" => Member::Rotated,
            "EXP" => Member::Exponential(false),
            "EXP*" => Member::Exponential(true),
            _ => return self.error(format!("no cone {name:?}")),
        };
        match (member, size) {
            (Member::Exponential(_), 3) => Ok(member),
            (Member::Exponential(_), _) => self.error("an exponential cone has 3 entries"),
            (Member::Rotated, 0 | 1) => self.error("a rotated quadratic cone has at least 2 entries"),
            _ => Ok(member),
        }
    }
}

/// The sections of a file.
#[derive(Default)]
struct File {
    maximize: bool,
    variables: (Domain, usize),
    constraints: (Domain, usize),
    matrices: Vec<usize>,
    matrix_constraints: Vec<usize>,
    objective: Vec<Entry<1>>,
    objective_matrix: Vec<Entry<3>>,
    constant: f64,
    a: Vec<Entry<2>>,
    f: Vec<Entry<4>>,
    b: Vec<Entry<1>>,
    h: Vec<Entry<4>>,
    d: Vec<Entry<3>>,
}

/// Reads a problem. Refused, with the line, are files with integer variables or with several problems (`CHANGE`), a section
/// that is there twice, and sizes of which the file holds too little: memory stays within a fixed multiple of the file's.
/// Coefficients that are given twice are added.
pub fn parse(text: &str) -> Result<Cbf, Error> {
    let mut lines = Lines::new(text);
    let mut file = File::default();
    let mut powers = [Vec::new(), Vec::new()];
    let mut seen: Vec<(&str, usize)> = Vec::new();
    while let Some(keyword) = lines.next() {
        lines.section = "";
        if seen.is_empty() && keyword != "VER" {
            return lines.error(format!("a file begins with the section VER, this one with {keyword:?}"));
        }
        if let Some((_, first)) = seen.iter().find(|(name, _)| *name == keyword) {
            return lines.error(format!("the section {keyword} is there twice, first in line {first}"));
        }
        seen.push((keyword, lines.at));
        lines.section = keyword;
        match keyword {
            "VER" => {
                let version = lines.count()?;
                if !(1..=4).contains(&version) {
                    return lines.error(format!("version {version}: 1 to 4 are known"));
                }
            }
            "OBJSENSE" => {
                file.maximize = match lines.required()? {
                    "MIN" => false,
                    "MAX" => true,
                    other => return lines.error(format!("the sense {other:?}: MIN or MAX")),
                }
            }
            "POWCONES" | "POW*CONES" => {
                exponents(&mut lines, &mut powers[usize::from(keyword != "POWCONES")])?;
            }
            "VAR" => file.variables = lines.domain(&powers)?,
            "CON" => file.constraints = lines.domain(&powers)?,
            "PSDVAR" => file.matrices = sizes(&mut lines)?,
            "PSDCON" => file.matrix_constraints = sizes(&mut lines)?,
            "OBJACOORD" => file.objective = lines.entries()?,
            "OBJFCOORD" => file.objective_matrix = lines.entries()?,
            "OBJBCOORD" => {
                let line = lines.required()?;
                file.constant = lines.value(Some(line))?;
            }
            "ACOORD" => file.a = lines.entries()?,
            "FCOORD" => file.f = lines.entries()?,
            "BCOORD" => file.b = lines.entries()?,
            "HCOORD" => file.h = lines.entries()?,
            "DCOORD" => file.d = lines.entries()?,
            "INT" => return lines.error("integer variables: only continuous problems are solved"),
            "CHANGE" => return lines.error("several problems in one file: write each to a file of its own"),
            other => {
                lines.section = "";
                return lines.error(format!("no section {other:?}"));
            }
        }
    }
    lines.section = "";
    if file.variables.1 == 0 && file.matrices.iter().all(|&order| order == 0) {
        return lines.error("the file declares no variables: sections VAR and PSDVAR are absent or empty");
    }
    build(&file)
}

fn exponents(lines: &mut Lines<'_>, out: &mut Vec<Vec<f64>>) -> Result<(), Error> {
    let mut words = lines.required()?.split_whitespace();
    let (chains, total) = (lines.whole(words.next())?, lines.whole(words.next())?);
    lines.end(words)?;
    let mut sum = 0_usize;
    for _ in 0..lines.lines(chains)? {
        let size = lines.count()?;
        let size = lines.lines(size)?;
        sum = sum.saturating_add(size);
        let mut alpha = Vec::new();
        for _ in 0..size {
            let line = lines.required()?;
            let value = lines.value(Some(line))?;
            if value <= 0.0 {
                return lines.error(format!("the exponent {value} of a power cone is not positive"));
            }
            alpha.push(value);
        }
        out.push(alpha);
    }
    if sum != total {
        return lines.error(format!("{sum} exponents, the header says {total}"));
    }
    Ok(())
}

fn sizes(lines: &mut Lines<'_>) -> Result<Vec<usize>, Error> {
    let count = lines.count()?;
    let mut out = Vec::new();
    for _ in 0..lines.lines(count)? {
        let order = lines.count()?;
        lines.declare(order.saturating_mul(order.saturating_add(1)) / 2)?;
        out.push(order);
    }
    Ok(out)
}

/// Place of entry (i, j) in the triangle, and the factor that makes it one of `svec`.
fn svec_index(i: usize, j: usize) -> (usize, f64) {
    let (i, j) = (i.min(j), i.max(j));
    (j * (j + 1) / 2 + i, if i == j { 1.0 } else { SQRT_2 })
}

/// Coefficients of the variables, and a constant.
type Expression = (Vec<(usize, f64)>, f64);

/// Rows of `A x + s = b` under construction.
#[derive(Default)]
struct Rows {
    entries: Vec<(usize, usize, f64)>,
    b: Vec<f64>,
    cones: Vec<Cone>,
}

impl Rows {
    /// `s = factor * (expression)` in a new row for each part; the expression has coefficients and a constant.
    fn push(&mut self, parts: &[(f64, &Expression)]) {
        let row = self.b.len();
        let mut constant = 0.0;
        for (factor, (terms, c)) in parts {
            self.entries.extend(terms.iter().map(|(j, v)| (row, *j, -factor * v)));
            constant += factor * c;
        }
        self.b.push(constant);
    }

    fn members(&mut self, domain: &Domain, expressions: &[Expression]) {
        let mut at = 0;
        for &(member, size) in domain {
            let own = &expressions[at..at + size];
            at += size;
            let plain = |rows: &mut Rows, factor: f64| own.iter().for_each(|e| rows.push(&[(factor, e)]));
            let cone = match member {
                Member::Free => continue,
                Member::Positive => {
                    plain(self, 1.0);
                    Cone::Nonnegative(size)
                }
                Member::Negative => {
                    plain(self, -1.0);
                    Cone::Nonnegative(size)
                }
                Member::Zero => {
                    plain(self, 1.0);
                    Cone::Zero(size)
                }
                Member::Quadratic => {
                    plain(self, 1.0);
                    Cone::SecondOrder(size)
                }
                Member::Rotated => {
                    // 2 x0 x1 >= |rest|^2
                    self.push(&[(FRAC_1_SQRT_2, &own[0]), (FRAC_1_SQRT_2, &own[1])]);
                    self.push(&[(FRAC_1_SQRT_2, &own[0]), (-FRAC_1_SQRT_2, &own[1])]);
                    own[2..].iter().for_each(|e| self.push(&[(1.0, e)]));
                    Cone::SecondOrder(size)
                }
                Member::Exponential(dual) => {
                    // x0 >= x1 exp(x2/x1)
                    own.iter().rev().for_each(|e| self.push(&[(1.0, e)]));
                    if dual { Cone::DualExponential } else { Cone::Exponential }
                }
                Member::Power(a, dual) => {
                    plain(self, 1.0);
                    if dual { Cone::DualPower(a) } else { Cone::Power(a) }
                }
            };
            if size > 0 {
                self.cones.push(cone);
            }
        }
    }
}

fn build(file: &File) -> Result<Cbf, Error> {
    let scalars = file.variables.1;
    let bound = |line: usize, what: &str, index: usize, len: usize| match index < len {
        true => Ok(()),
        false => Err(Error::Format { line, reason: format!("{what} {index} of {len}: indices run from 0") }),
    };
    let mut starts = vec![scalars];
    file.matrices.iter().for_each(|n| starts.push(starts[starts.len() - 1] + n * (n + 1) / 2));
    let n = starts[starts.len() - 1];
    let matrix_entry = |line: usize, k: usize, i: usize, j: usize| -> Result<(usize, f64), Error> {
        bound(line, "matrix variable", k, file.matrices.len())?;
        bound(line, "row of a matrix variable", i.max(j), file.matrices[k])?;
        let (at, factor) = svec_index(i, j);
        Ok((starts[k] + at, factor))
    };

    let sign = if file.maximize { -1.0 } else { 1.0 };
    let mut q = vec![0.0; n];
    for &(line, [j], v) in &file.objective {
        bound(line, "variable", j, scalars)?;
        q[j] += sign * v;
    }
    for &(line, [k, i, j], v) in &file.objective_matrix {
        let (at, factor) = matrix_entry(line, k, i, j)?;
        q[at] += sign * factor * v;
    }

    let m = file.constraints.1;
    let mut expressions = vec![(Vec::new(), 0.0); m];
    for &(line, [i, j], v) in &file.a {
        bound(line, "constraint", i, m)?;
        bound(line, "variable", j, scalars)?;
        expressions[i].0.push((j, v));
    }
    for &(line, [i, k, r, c], v) in &file.f {
        bound(line, "constraint", i, m)?;
        let (at, factor) = matrix_entry(line, k, r, c)?;
        expressions[i].0.push((at, factor * v));
    }
    for &(line, [i], v) in &file.b {
        bound(line, "constraint", i, m)?;
        expressions[i].1 += v;
    }
    let mut rows = Rows::default();
    rows.members(&file.constraints.0, &expressions);
    let own: Vec<_> = (0..scalars).map(|j| (vec![(j, 1.0)], 0.0)).collect();
    rows.members(&file.variables.0, &own);

    let orders = &file.matrix_constraints;
    let mut matrices: Vec<Vec<Expression>> = orders.iter().map(|n| vec![(Vec::new(), 0.0); n * (n + 1) / 2]).collect();
    for &(line, [k, j, r, c], v) in &file.h {
        bound(line, "matrix constraint", k, orders.len())?;
        bound(line, "variable", j, scalars)?;
        bound(line, "row of a matrix constraint", r.max(c), orders[k])?;
        let (at, factor) = svec_index(r, c);
        matrices[k][at].0.push((j, factor * v));
    }
    for &(line, [k, r, c], v) in &file.d {
        bound(line, "matrix constraint", k, orders.len())?;
        bound(line, "row of a matrix constraint", r.max(c), orders[k])?;
        let (at, factor) = svec_index(r, c);
        matrices[k][at].1 += factor * v;
    }
    for (expressions, &order) in matrices.iter().zip(orders) {
        expressions.iter().for_each(|e| rows.push(&[(1.0, e)]));
        rows.cones.push(Cone::PsdTriangle(order));
    }
    for (k, &order) in file.matrices.iter().enumerate() {
        (starts[k]..starts[k + 1]).for_each(|j| rows.push(&[(1.0, &(vec![(j, 1.0)], 0.0))]));
        rows.cones.push(Cone::PsdTriangle(order));
    }
    let a = Csc::from_triplets(rows.b.len(), n, &rows.entries)?;
    let conic = Conic::new(None, q, a, rows.b, rows.cones)?;
    Ok(Cbf { conic, scalars, constant: file.constant, maximize: file.maximize })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;

    /// Every cone, a rotated one, and both matrix forms.
    const TEXT: &str = "VER\n3\n# a comment\nPOWCONES\n1 2\n2\n3.0\n1.0\n\nOBJSENSE\nMAX\n\nPSDVAR\n1\n2\n\nVAR\n5 3\nL+ 1\nF 1\n@0:POW 3\n
CON\n9 4\nL= 2\nQR 3\nEXP 3\nL- 1\n\nPSDCON\n1\n2\n\nOBJFCOORD\n1\n0 1 0 1.5\n\nOBJACOORD\n1\n0 2.0\n\nOBJBCOORD\n7.0\n
FCOORD\n1\n0 0 1 0 1.0\n\nACOORD\n3\n1 1 1.0\n2 0 2.0\n3 1 4.0\n\nBCOORD\n1\n5 3.0\n\nHCOORD\n1\n0 1 1 0 2.0\n\nDCOORD\n1\n0 1 1 5.0\n";

    #[test]
    fn reads_every_section() {
        let cbf = parse(TEXT).expect("valid");
        assert_eq!((cbf.scalars, cbf.maximize, cbf.objective(-3.0)), (5, true, 10.0));
        let c = &cbf.conic;
        let expected = [
            Cone::Zero(2),
            Cone::SecondOrder(3),
            Cone::Exponential,
            Cone::Nonnegative(1),
            Cone::Nonnegative(1),
            Cone::Power(0.75),
            Cone::PsdTriangle(2),
            Cone::PsdTriangle(2),
        ];
        assert_eq!(c.cones(), expected);
        // the off-diagonal entry of the matrix variable is x_6, times sqrt 2
        assert_eq!(c.q(), [-2.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.5 * SQRT_2, 0.0]);
        let a = c.a().to_dense();
        assert_eq!(a[(0, 6)], -SQRT_2);
        // rows 2 and 3: the rotation of (2 x_0, 4 x_1)
        assert_eq!((a[(2, 0)], a[(2, 1)]), (-2.0 * FRAC_1_SQRT_2, -4.0 * FRAC_1_SQRT_2));
        assert_eq!((a[(3, 0)], a[(3, 1)]), (-2.0 * FRAC_1_SQRT_2, 4.0 * FRAC_1_SQRT_2));
        // row 5 of the file is the first entry of the exponential cone, our last
        assert_eq!(c.b()[7], 3.0);
        assert_eq!((a[(14, 1)], c.b()[15]), (-2.0 * SQRT_2, 5.0));
    }

    #[test]
    fn refuses_what_it_cannot_read_with_the_line() {
        let small = "VER\n3\nVAR\n1 1\nF 1\n";
        for (text, expected) in [
            ("", "line 1: the file declares no variables"),
            ("# nothing\n\n", "line 2: the file declares no variables"),
            ("VER\n3\n", "no variables"),
            ("VER\n3\nVAR\n0 0\n", "no variables"),
            ("VAR\n1 1\nF 1\n", "line 1: a file begins with the section VER"),
            ("VER\n9\n", "line 2: version 9"),
            ("VER\n3\nVAR\n2 1\nX 2\n", "line 5: no cone \"X\" (in section VAR)"),
            ("VER\n3\nVAR\n3 1\nF 2\n", "line 5: the cones have 2 entries"),
            ("VER\n3\nVAR\n2 1\nF 2\nINT\n1\n0\n", "line 6: integer variables"),
            (&format!("{small}OBJACOORD\n1\n0 x\n"), "line 8: expected a number, found \"x\" (in section OBJACOORD)"),
            (&format!("{small}OBJACOORD\n1\n0 inf\n"), "line 8: expected a finite number"),
            (&format!("{small}OBJACOORD\n1\n0 1 2\n"), "line 8: \"2\" stands where the line should end"),
            (&format!("{small}OBJACOORD\n1\n\n4 1.0\n"), "line 9: variable 4 of 1"),
            (&format!("{small}OBJACOORD\n\nACOORD\n0\n"), "line 8: expected a whole number, found \"ACOORD\""),
            (&format!("{small}OBJACOORD\n9\n0 1.0\n"), "line 7: 9 lines are announced, 6 bytes follow"),
            (&format!("{small}VAR\n1 1\nF 1\n"), "line 6: the section VAR is there twice, first in line 3"),
            (&format!("{small}CHANGE\n"), "line 6: several problems"),
            ("VER\n3\nVAR\n", "the file ends inside a section (in section VAR)"),
            ("VER\n3\nVAR\n1000000000 1\nF 1000000000\n", "line 4: 1000000000 entries are declared by a file of"),
            ("VER\n3\nPSDVAR\n1\n4000000000\n", "entries are declared"),
            ("VER\n3\nPSDCON\n2\n18446744073709551615\n1\n", "entries are declared"),
            ("VER\n3\nVAR\n2 2\nF 18446744073709551615\nF 3\n", "the cones have 18446744073709551615 entries"),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_small_problem_is_solved() {
        // max x0 + x1 over |(x0, x1)| <= 1
        let text = "VER\n2\nOBJSENSE\nMAX\nVAR\n2 1\nF 2\nCON\n3 1\nQ 3\nOBJACOORD\n2\n0 1.0\n1 1.0\nACOORD\n2\n1 0 1.0\n2 1 1.0\n
BCOORD\n1\n0 1.0\n";
        let cbf = parse(text).expect("valid");
        let solution = cbf.conic.solve(&Settings::default()).expect("valid");
        assert!((cbf.objective(solution.objective) - SQRT_2).abs() < 1e-12);
    }
}
