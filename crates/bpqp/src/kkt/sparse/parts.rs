//! The system of an active set in parts that do not meet, each eliminated densely where it is small.
//!
//! What a part is made of follows from the pattern: variables that no remaining row or curvature connects. A row with one
//! free variable only determines it, whatever the others are, so both go first; the rank of the rest is what is left
//! to tell.

use super::SparseKkt;
use crate::kkt::Union;
use crate::kkt::face::{leave, project_off};
use crate::kkt::rank::Rank;
use crate::thresholds::PART_WORK;
use faer::{Mat, MatRef};

/// Rows with `dc` below this, and not 0, are neither equations nor safely curvature.
const STIFF: f64 = 1e-7;

/// What elimination found; `None` where a part is too large for it, and the others do not decide.
#[derive(Debug, Clone, Copy)]
pub(super) struct Examined {
    /// The hard rows are dependent on the free variables.
    pub dependent: Option<bool>,
    /// There is a direction of the free variables along which nothing changes.
    pub flat: Option<bool>,
    /// The hard rows leave the free variables no direction but those of the face.
    pub determined: bool,
}

/// Directions along which nothing changes: for the variables of each part an orthonormal basis.
#[derive(Default)]
pub(super) struct Face {
    parts: Vec<(Vec<usize>, Mat<f64>)>,
    /// What rounding of them may change a least norm by, relative to it.
    pub doubt: f64,
}

impl Face {
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    pub fn clear(&mut self) {
        self.parts.clear();
        self.doubt = 0.0;
    }

    /// `w -= N N'w`.
    pub fn project_off(&self, w: &mut [f64]) {
        self.each(w, project_off);
    }

    /// The same, without what is rounding of it.
    pub fn leave(&self, w: &mut [f64]) {
        self.each(w, leave);
    }

    fn each(&self, w: &mut [f64], take_off: fn(MatRef<'_, f64>, &mut [f64])) {
        let mut part = Vec::new();
        for (variables, basis) in &self.parts {
            part.clear();
            part.extend(variables.iter().map(|&i| w[i]));
            take_off(basis.as_ref(), &mut part);
            variables.iter().zip(&part).for_each(|(&i, v)| w[i] = *v);
        }
    }
}

/// What is left of the system: its variables and rows, and the entries between them.
struct Remaining {
    variable: Vec<bool>,
    row: Vec<bool>,
    /// Of each row.
    rows: Vec<Vec<(usize, f64)>>,
    /// Of each column of P, from the diagonal down.
    curvature: Vec<Vec<(usize, f64)>>,
    /// Of each column of the factor of P.
    factor: Vec<Vec<(usize, f64)>>,
}

impl Remaining {
    fn of(kkt: &SparseKkt) -> Self {
        let (n, m) = (kkt.n, kkt.m);
        let mut left = Remaining {
            variable: kkt.dx.iter().map(|d| d.is_finite()).collect(),
            row: kkt.dc.iter().map(|d| d.is_finite()).collect(),
            rows: vec![Vec::new(); m],
            curvature: vec![Vec::new(); n],
            factor: vec![Vec::new(); kkt.of.p.extension()],
        };
        for (first, block) in kkt.of.blocks() {
            block.for_each(|i, j, v| {
                if left.row[first + i] && left.variable[j] && v != 0.0 {
                    left.rows[first + i].push((j, v));
                }
            });
        }
        left.reduce(&kkt.dc);
        kkt.of.p.for_each_extended(n + m, |i, j, v| {
            let kept = |i: usize| left.variable.get(i).is_none_or(|kept| *kept);
            if v == 0.0 || !kept(i) || !kept(j) {
                return;
            }
            match j.checked_sub(n + m) {
                None if i >= j => left.curvature[j].push((i, v)),
                Some(k) if i < n => left.factor[k].push((i, v)),
                _ => {}
            }
        });
        left
    }

    /// Takes out equations with one variable, again and again.
    fn reduce(&mut self, dc: &[f64]) {
        let mut at: Vec<Vec<usize>> = vec![Vec::new(); self.variable.len()];
        for (i, row) in self.rows.iter().enumerate() {
            row.iter().for_each(|&(j, _)| at[j].push(i));
        }
        let mut count: Vec<usize> = self.rows.iter().map(Vec::len).collect();
        let mut single: Vec<usize> = (0..count.len()).filter(|&i| dc[i] == 0.0 && count[i] == 1).collect();
        while let Some(i) = single.pop() {
            // another such row may have taken its variable
            let Some(&(j, _)) = self.rows[i].iter().find(|(j, _)| self.variable[*j]) else { continue };
            (self.row[i], self.variable[j]) = (false, false);
            for &k in &at[j] {
                count[k] -= 1;
                if dc[k] == 0.0 && count[k] == 1 {
                    single.push(k);
                }
            }
        }
        for row in &mut self.rows {
            row.retain(|(j, _)| self.variable[*j]);
        }
    }

    /// The parts that do not meet.
    fn parts(&self) -> Vec<Part> {
        let (n, m) = (self.variable.len(), self.row.len());
        let mut sets = Union::new(n);
        for entries in self.rows.iter().chain(&self.factor) {
            entries.windows(2).for_each(|pair| sets.join(pair[0].0, pair[1].0));
        }
        for (j, column) in self.curvature.iter().enumerate() {
            column.iter().for_each(|&(i, _)| sets.join(i, j));
        }
        let mut parts: Vec<Part> = Vec::new();
        let mut part_of = vec![usize::MAX; n];
        for j in (0..n).filter(|&j| self.variable[j]) {
            let root = sets.root(j);
            if part_of[root] == usize::MAX {
                part_of[root] = parts.len();
                parts.push(Part::default());
            }
            part_of[j] = part_of[root];
            parts[part_of[j]].variables.push(j);
        }
        for i in (0..m).filter(|&i| self.row[i] && !self.rows[i].is_empty()) {
            parts[part_of[self.rows[i][0].0]].rows.push(i);
        }
        for (k, column) in self.factor.iter().enumerate().filter(|(_, column)| !column.is_empty()) {
            parts[part_of[column[0].0]].factors.push(k);
        }
        parts
    }
}

/// The members of a part; all ascend.
#[derive(Default)]
struct Part {
    variables: Vec<usize>,
    rows: Vec<usize>,
    factors: Vec<usize>,
}

impl SparseKkt {
    /// Eliminates every part that is not too large; once per factorization.
    pub(super) fn examine(&mut self) -> Examined {
        let known = self.examined;
        let out = known.unwrap_or_else(|| self.examine_parts());
        self.examined = Some(out);
        out
    }

    fn examine_parts(&mut self) -> Examined {
        self.face.clear();
        let left = Remaining::of(self);
        let hard = |i: usize| self.dc[i] == 0.0;
        let (mut dependent, mut flat, mut determined, mut unsure) = (false, false, true, false);
        // equations in which nothing is left
        dependent |= (0..self.m).any(|i| hard(i) && left.row[i] && left.rows[i].is_empty());
        let mut place = vec![0; self.n];
        let mut rank = Rank::default();
        rank.hidden_units = self.of.rows[2].nrows() == 0;
        rank.framed = false;
        for part in left.parts() {
            let (equations, curved): (Vec<usize>, Vec<usize>) = part.rows.iter().partition(|&&i| hard(i));
            let f = part.variables.len();
            let products = f * f * (equations.len().min(f) + f);
            if products > PART_WORK || curved.iter().any(|&i| self.dc[i] <= STIFF) {
                unsure = true;
                continue;
            }
            part.variables.iter().enumerate().for_each(|(at, &j)| place[j] = at);
            let (mut h, mut k) = (Mat::zeros(f, equations.len()), Mat::zeros(f, f));
            for (c, &i) in equations.iter().enumerate() {
                left.rows[i].iter().for_each(|&(j, v)| h[(place[j], c)] += v);
            }
            for (at, &j) in part.variables.iter().enumerate() {
                k[(at, at)] += self.dx[j];
                left.curvature[j].iter().for_each(|&(i, v)| k[(place[i], at)] += v);
            }
            let squares = curved.iter().map(|&i| (&left.rows[i], self.dc[i]));
            for (entries, weight) in squares.chain(part.factors.iter().map(|&f| (&left.factor[f], 1.0))) {
                for &(p, v) in entries {
                    for &(q, u) in entries.iter().filter(|(q, _)| place[*q] <= place[p]) {
                        k[(place[p], place[q])] += v / weight * u;
                    }
                }
            }
            rank.examine(&h, &k, curved.is_empty() && part.factors.is_empty());
            dependent |= rank.rows < equations.len();
            determined &= rank.rows + rank.face.ncols() == f;
            if rank.face.ncols() > 0 {
                flat = true;
                self.face.doubt = self.face.doubt.max(rank.doubt);
                self.face.parts.push((part.variables, rank.face.clone()));
            }
        }
        if unsure {
            // a face that is known in part cannot be left
            self.face.clear();
        }
        let answer = |found: bool| if unsure && !found { None } else { Some(found) };
        Examined { dependent: answer(dependent), flat: answer(flat), determined: determined && !unsure }
    }
}
