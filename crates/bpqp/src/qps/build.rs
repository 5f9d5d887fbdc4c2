//! From the file as it stands to the problem: rows by their types and ranges, bounds, the quadratic form.

use super::Qps;
use super::read::{Entry, File, INFINITE, Kind};
use crate::{Csc, Error, Hessian, Qp};

impl File<'_> {
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

    /// The problem that the file states.
    pub(super) fn build(mut self) -> Result<Qps, Error> {
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
