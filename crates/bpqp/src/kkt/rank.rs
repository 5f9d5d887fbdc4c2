//! Rank and null space of a dense system, by elimination with full pivoting in equilibrated units.
//!
//! Cholesky factors of `H K^-1 H'` and `K + H'H` see squares: what is singular and what has a condition of 1e8 look alike
//! in them. Here the hard rows `H` are eliminated themselves, and `K` on their null space only where it exists: the rank
//! of each is told from rounding down to a condition of about 1e12. Costs as much as a factorization, and is asked for
//! only where a pivot leaves a doubt.

use super::equilibrate::{ANY_APART, APART, power_of_two, ruiz};
use super::face::sharpen;
use crate::interrupt::late;
use crate::matrix::{Wide, dot, resize};
use crate::thresholds::rank_rounding;
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par};

/// Steps of an elimination between two looks at the clock.
const LOOK: usize = 64;
const SWEEPS: usize = 8;
/// Accumulators of a maximum.
const LANES: usize = 8;
/// Largest exponent of a factor of the equilibration.
const LIMIT: f64 = 500.0;

/// What elimination finds of the system `[K H'; H 0]`.
pub(super) struct Rank {
    /// The rank of the rows `H`.
    pub rows: usize,
    /// An orthonormal basis, in the units of the variables, of the directions `w` with `K w = 0` and `H w = 0`.
    pub face: Mat<f64>,
    /// A basis U of the same number of directions with `U'N` regular for a basis N of the face, in the units of forces: `U U'`
    /// makes `K` definite along it without drowning anything.
    pub frame: Mat<f64>,
    /// What rounding of `face` may change a least norm by, relative to it.
    pub doubt: f64,
    /// The largest entry of `K` in equilibrated units, 1 where there is none.
    pub curvature: f64,
    /// Units that large entries hide are looked for. Not among rotated rows, of which small entries are rounding.
    pub hidden_units: bool,
    /// Somebody asks for `frame`.
    pub framed: bool,
    factors: Vec<f64>,
    largest: Vec<f64>,
    /// H', column by column, in elimination.
    t: Vec<f64>,
    /// Variable in each row of `t`.
    order: Vec<usize>,
    k: Mat<f64>,
    null: Mat<f64>,
    product: Mat<f64>,
    reduced: Mat<f64>,
    terms: Vec<f64>,
    chosen: Vec<usize>,
    column_max: Vec<(f64, usize)>,
    entries: Vec<(u32, u32, f64)>,
}

impl Default for Rank {
    fn default() -> Self {
        let empty = || Mat::zeros(0, 0);
        Rank {
            rows: 0,
            face: empty(),
            frame: empty(),
            doubt: 0.0,
            curvature: 1.0,
            hidden_units: true,
            framed: true,
            factors: Vec::new(),
            largest: Vec::new(),
            t: Vec::new(),
            order: Vec::new(),
            k: empty(),
            null: empty(),
            product: empty(),
            reduced: empty(),
            terms: Vec::new(),
            chosen: Vec::new(),
            column_max: Vec::new(),
            entries: Vec::new(),
        }
    }
}

impl Rank {
    /// The multiple of `h h'` of a row that is as large as `K` in equilibrated units.
    pub fn weight(&self, variables: usize, row: usize) -> f64 {
        self.curvature * self.factors[variables + row] * self.factors[variables + row]
    }

    /// Finds the rank of the rows in the columns of `rows`.
    pub fn examine_rows(&mut self, rows: &Mat<f64>) {
        let (f, h) = (rows.nrows(), rows.ncols());
        self.load(rows, None);
        self.rows = self.eliminate(f, h, None);
    }

    /// The same, and the face beside the lower triangle of `k`, whose entries are those of the data or sums of products of them.
    pub fn examine(&mut self, rows: &Mat<f64>, k: &Mat<f64>, data: bool) {
        let (f, h) = (rows.nrows(), rows.ncols());
        self.examine_rows(rows);
        let curved = (0..f).any(|j| k.col_as_slice(j)[j..].iter().any(|v| *v != 0.0));
        if !curved {
            // the units and the elimination of both are those of the rows
            self.curvature = 1.0;
            self.find_flat(f);
            self.leave_units(rows, data);
            return;
        }
        // the rank of the rows is theirs alone, but which variables follow from the others is chosen in the units of both: the
        // largest curvature must not be in every direction of the null space
        self.load(rows, Some(k));
        let entry = |i: usize, j: usize| (k[(i, j)] * self.factors[i] * self.factors[j]).abs();
        let largest = (0..f).flat_map(|j| (j..f).map(move |i| (i, j))).fold(0.0_f64, |m, (i, j)| m.max(entry(i, j)));
        self.curvature = if largest > 0.0 { largest } else { 1.0 };
        // rows that leave no direction need no elimination in these units
        if self.rows < f {
            self.rows = self.eliminate(f, h, Some(self.rows));
        }
        self.find_face(f, k);
        self.leave_units(rows, data);
    }

    /// As many variables as the rows have rank, on which they are independent.
    pub fn pivots(&self) -> &[usize] {
        &self.order[..self.rows]
    }

    fn load(&mut self, rows: &Mat<f64>, k: Option<&Mat<f64>>) {
        let (f, h) = (rows.nrows(), rows.ncols());
        self.equilibrate(rows, k);
        self.t.clear();
        for j in 0..h {
            let e = self.factors[f + j];
            self.t.extend(rows.col_as_slice(j).iter().zip(&self.factors).map(|(v, d)| v * d * e));
        }
    }

    fn equilibrate(&mut self, rows: &Mat<f64>, k: Option<&Mat<f64>>) {
        let (f, h) = (rows.nrows(), rows.ncols());
        self.factors.clear();
        self.factors.resize(f + h, 1.0);
        self.largest.clear();
        self.largest.resize(f + h, 0.0);
        // sparse systems come as dense ones too, and each sweep reads all entries
        let entries = &mut self.entries;
        entries.clear();
        let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
        let mut keep = |i: usize, j: usize, v: f64| {
            if v != 0.0 {
                (low, high) = (low.min(v.abs()), high.max(v.abs()));
                entries.push((i as u32, j as u32, v));
            }
        };
        for (k, j) in k.iter().flat_map(|k| (0..f).map(move |j| (k, j))) {
            k.col_as_slice(j).iter().enumerate().skip(j).for_each(|(i, &v)| keep(i, j, v));
        }
        for j in 0..h {
            rows.col_as_slice(j).iter().enumerate().for_each(|(i, &v)| keep(i, f + j, v));
        }
        let apart = if self.hidden_units && high > ANY_APART.entries * low { ANY_APART } else { APART };
        let entries = &self.entries;
        let each = |f: &mut dyn FnMut(usize, usize, f64)| {
            entries.iter().for_each(|&(i, j, v)| f(i as usize, j as usize, v));
        };
        ruiz(SWEEPS, f64::INFINITY, (&mut self.factors, &mut self.largest), (apart, &each), |s, largest| {
            for &(i, j, v) in entries {
                let (i, j) = (i as usize, j as usize);
                let v = (v * s[i] * s[j]).abs();
                largest[i] = largest[i].max(v);
                largest[j] = largest[j].max(v);
            }
        });
        self.factors.iter_mut().for_each(|s| *s = power_of_two(*s, LIMIT));
    }

    /// Eliminates `t` with full pivoting; afterwards row p of the upper triangular factor is in column p, from entry p on.
    /// Stops at what is rounding, or after `known` steps; returns their number.
    fn eliminate(&mut self, f: usize, h: usize, known: Option<usize>) -> usize {
        let rounding = if known.is_some() { 0.0 } else { rank_rounding(f.max(h)) };
        self.order.clear();
        self.order.extend(0..f);
        self.column_max.clear();
        self.column_max.extend((0..h).map(|j| largest_of(&self.t[j * f..(j + 1) * f])));
        let most = known.unwrap_or(f.min(h));
        for p in 0..most {
            let larger = |best: usize, j: usize| if self.column_max[j].0 > self.column_max[best].0 { j } else { best };
            let j = (p..h).fold(p, larger);
            let (size, i) = self.column_max[j];
            // also where it is NaN, and where nobody waits for the answer
            if size.is_nan() || size <= rounding || (p % LOOK == LOOK - 1 && late()) {
                return p;
            }
            self.column_max.swap(p, j);
            for k in 0..if j == p { 0 } else { f } {
                self.t.swap(p * f + k, j * f + k);
            }
            for c in 0..if i == p { 0 } else { h } {
                self.t.swap(c * f + p, c * f + i);
            }
            self.order.swap(p, i);
            let (done, rest) = self.t.split_at_mut((p + 1) * f);
            let source = &done[p * f + p..];
            for (column, max) in rest.chunks_exact_mut(f).zip(&mut self.column_max[p + 1..]) {
                let column = &mut column[p..];
                let factor = column[0] / source[0];
                if factor == 0.0 {
                    // as it was, but for the exchange of two rows
                    if max.1 == p {
                        max.1 = i;
                    }
                    continue;
                }
                column.iter_mut().zip(source).for_each(|(t, s)| *t -= factor * s);
                column[0] = 0.0;
                let (size, at) = largest_of(column);
                *max = (size, at + p);
            }
        }
        most
    }

    /// The face beside a Hessian that vanishes: the null space of the rows.
    fn find_flat(&mut self, f: usize) {
        resize(&mut self.k, f, f);
        self.k.fill(0.0);
        if self.find_null(f) {
            resize(&mut self.face, f, f - self.rows);
            self.face.copy_from(&self.null);
        }
    }

    /// The null space of the rows; false where there is none, or no time for it.
    fn find_null(&mut self, f: usize) -> bool {
        let (r, q) = (self.rows, f - self.rows);
        resize(&mut self.face, f, 0);
        resize(&mut self.frame, f, 0);
        if q == 0 || late() {
            return false;
        }
        // null vectors of the triangular factor: one unknown is 1, the other dependent ones 0
        resize(&mut self.null, f, q);
        self.null.fill(0.0);
        for c in 0..q {
            let mut a = vec![0.0; r];
            for p in (0..r).rev() {
                let row = &self.t[p * f..(p + 1) * f];
                let known = dot(&row[p + 1..r], &a[p + 1..]);
                a[p] = -(row[r + c] + known) / row[p];
            }
            let column = self.null.col_as_slice_mut(c);
            a.iter().enumerate().for_each(|(p, v)| column[self.order[p]] = *v);
            column[self.order[r + c]] = 1.0;
        }
        true
    }

    /// The null space of the rows, then that of `k` on it.
    fn find_face(&mut self, f: usize, k: &Mat<f64>) {
        if !self.find_null(f) {
            return;
        }
        let q = f - self.rows;
        resize(&mut self.k, f, f);
        for j in 0..f {
            for i in j..f {
                let v = k[(i, j)] * self.factors[i] * self.factors[j];
                (self.k[(i, j)], self.k[(j, i)]) = (v, v);
            }
        }
        resize(&mut self.product, f, q);
        resize(&mut self.reduced, q, q);
        let null = self.null.as_ref();
        matmul(self.product.as_mut(), Accum::Replace, self.k.as_ref(), null, 1.0, Par::Seq);
        matmul(self.reduced.as_mut(), Accum::Replace, null.transpose(), self.product.as_ref(), 1.0, Par::Seq);
        drop(Wide);
        // sizes of the terms of each curvature
        self.terms.clear();
        let columns = entries_of(&self.k);
        for c in 0..q {
            let z = self.null.col_as_slice(c);
            let inner = |j: usize| columns[j].iter().map(|&(i, k)| (k * z[i]).abs()).sum::<f64>();
            let terms: f64 = (0..f).filter(|&j| z[j] != 0.0).map(|j| inner(j) * z[j].abs()).sum();
            self.terms.push(terms.sqrt());
        }
        self.cholesky(rank_rounding(f));
    }

    /// Cholesky with diagonal pivoting of the reduced Hessian, in units of its terms; what it leaves is the face.
    fn cholesky(&mut self, rounding: f64) {
        let q = self.reduced.ncols();
        for j in 0..q {
            for i in 0..q {
                let unit = self.terms[i] * self.terms[j];
                self.reduced[(i, j)] = if unit > 0.0 { self.reduced[(i, j)] / unit } else { 0.0 };
            }
        }
        self.chosen.clear();
        let r = &mut self.reduced;
        let mut left: Vec<usize> = (0..q).collect();
        while let Some((at, _)) = left
            .iter()
            .map(|&i| r[(i, i)])
            .enumerate()
            .filter(|(_, v)| *v > rounding)
            .max_by(|a, b| a.1.total_cmp(&b.1))
        {
            if self.chosen.len() % LOOK == LOOK - 1 && late() {
                left.clear();
                break;
            }
            let p = left.swap_remove(at);
            let pivot = r[(p, p)];
            for &j in &left {
                let factor = r[(p, j)] / pivot;
                if factor != 0.0 {
                    for &i in &left {
                        let v = r[(i, p)];
                        r[(i, j)] -= factor * v;
                    }
                }
            }
            self.chosen.push(p);
        }
        // each column that is left gives a null vector: the pivots in reverse order solve for the others
        let f = self.null.nrows();
        resize(&mut self.face, f, left.len());
        for (c, &free) in left.iter().enumerate() {
            let mut a = vec![0.0; q];
            a[free] = 1.0;
            for (s, &p) in self.chosen.iter().enumerate().rev() {
                let later: f64 = self.chosen[s + 1..].iter().map(|&j| r[(p, j)] * a[j]).sum();
                a[p] = -(r[(p, free)] + later) / r[(p, p)];
            }
            let column = self.face.col_as_slice_mut(c);
            column.fill(0.0);
            for (j, a) in a.iter().enumerate().filter(|(_, a)| **a != 0.0) {
                let unit = if self.terms[j] > 0.0 { self.terms[j] } else { self.terms[free].max(f64::MIN_POSITIVE) };
                let unit = if self.terms[free] > 0.0 { self.terms[free] / unit } else { 1.0 };
                column.iter_mut().zip(self.null.col_as_slice(j)).for_each(|(o, z)| *o += a * unit * z);
            }
        }
    }

    /// From the equilibrated units to those of the variables.
    fn leave_units(&mut self, rows: &Mat<f64>, data: bool) {
        let (f, q) = (self.face.nrows(), self.face.ncols());
        self.doubt = 0.0;
        resize(&mut self.frame, f, if self.framed { q } else { 0 });
        if q == 0 {
            return;
        }
        if self.framed {
            orthonormalize(&mut self.face);
        }
        for c in 0..self.frame.ncols() {
            let (frame, face) = (self.frame.col_as_slice_mut(c), self.face.col_as_slice(c));
            frame.iter_mut().zip(face).zip(&self.factors).for_each(|((u, z), d)| *u = z / d);
        }
        let (d, e) = self.factors.split_at(f);
        let scaled = Mat::from_fn(f, rows.ncols(), |i, j| rows[(i, j)] * d[i] * e[j]);
        self.doubt = sharpen(&mut self.face, d, (&self.k, &scaled), data);
        for c in 0..q {
            self.face.col_as_slice_mut(c).iter_mut().zip(d).for_each(|(z, d)| *z *= d);
        }
        orthonormalize(&mut self.face);
    }
}

/// The largest set of variables on which the rows in the columns of `rows` are independent, in order.
pub(crate) fn independent_variables(rows: &Mat<f64>) -> Vec<usize> {
    let mut rank = Rank::default();
    rank.examine_rows(rows);
    let mut out = rank.pivots().to_vec();
    out.sort_unstable();
    out
}

/// The entries of each column that are not zero.
pub(super) fn entries_of(m: &Mat<f64>) -> Vec<Vec<(usize, f64)>> {
    let column = |j: usize| m.col_as_slice(j).iter().copied().enumerate().filter(|(_, v)| *v != 0.0).collect();
    (0..m.ncols()).map(column).collect()
}

/// The largest magnitude, and where it is.
pub(super) fn largest_of(v: &[f64]) -> (f64, usize) {
    let mut lanes = [0.0_f64; LANES];
    let chunks = v.chunks_exact(LANES);
    let rest = chunks.remainder().iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(m, v)| *m = if v.abs() > *m { v.abs() } else { *m });
    }
    let largest = lanes.iter().fold(rest, |m, v| m.max(*v));
    let meets = |part: &[f64]| part.iter().fold(false, |found, v| found | (v.abs() == largest));
    let first = v.chunks(LANES).position(meets).unwrap_or(0) * LANES;
    (largest, v[first..].iter().position(|v| v.abs() == largest).map_or(0, |at| first + at))
}

/// Columns that are made orthogonal to those before them at once.
const BLOCK: usize = 16;

/// Gram-Schmidt, twice: block after block against those before it, then within it.
pub(super) fn orthonormalize(m: &mut Mat<f64>) {
    let q = m.ncols();
    let mut along = Mat::zeros(0, 0);
    let mut own = vec![0.0; m.nrows()];
    for start in (0..q).step_by(BLOCK) {
        let end = q.min(start + BLOCK);
        for j in start..end {
            let size = m.col_as_slice(j).iter().fold(0.0_f64, |a, v| a.max(v.abs()));
            if size > 0.0 {
                m.col_as_slice_mut(j).iter_mut().for_each(|v| *v /= size);
            }
        }
        for _ in 0..2 {
            if start > 0 {
                let (before, after) = m.as_mut().split_at_col_mut(start);
                let (before, mut block) = (before.as_ref(), after.get_mut(.., ..end - start));
                resize(&mut along, start, end - start);
                matmul(along.as_mut(), Accum::Replace, before.transpose(), block.as_ref(), 1.0, Par::Seq);
                matmul(block.as_mut(), Accum::Add, before, along.as_ref(), -1.0, Par::Seq);
                drop(Wide);
            }
            for j in start..end {
                own.copy_from_slice(m.col_as_slice(j));
                for i in start..j {
                    let other = m.col_as_slice(i);
                    let along = dot(other, &own);
                    // directions of other variables
                    if along != 0.0 {
                        own.iter_mut().zip(other).for_each(|(v, o)| *v -= along * o);
                    }
                }
                let norm = dot(&own, &own).sqrt();
                if norm > 0.0 {
                    own.iter_mut().for_each(|v| *v /= norm);
                }
                m.col_as_slice_mut(j).copy_from_slice(&own);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(rows: &[&[f64]], k: &[&[f64]]) -> (usize, usize) {
        let f = k.len();
        let h = Mat::from_fn(f, rows.len(), |i, j| rows[j][i]);
        let k = Mat::from_fn(f, f, |i, j| k[i][j]);
        let mut out = Rank::default();
        out.examine(&h, &k, true);
        for c in 0..out.face.ncols() {
            let z = out.face.col_as_slice(c);
            for row in rows {
                let (sum, terms) =
                    row.iter().zip(z).fold((0.0, 0.0), |(s, t), (a, z)| (s + a * z, t + f64::abs(a * z)));
                assert!(f64::abs(sum) <= 1e-13 * terms, "{sum} of {terms}");
            }
            for i in 0..f {
                let (sum, terms) =
                    (0..f).fold((0.0, 0.0), |(s, t), j| (s + k[(i, j)] * z[j], t + (k[(i, j)] * z[j]).abs()));
                assert!(f64::abs(sum) <= 1e-13 * terms, "{sum} of {terms}");
            }
        }
        (out.rows, out.face.ncols())
    }

    #[test]
    fn tells_faces_and_dependence_in_any_units() {
        let p: &[&[f64]] = &[&[4.0, -2.0, -2.0], &[-2.0, 1.0, 1.0], &[-2.0, 1.0, 1.0]];
        assert_eq!(rank(&[&[-1.0, 1.0, -1.0]], p), (1, 1));
        assert_eq!(rank(&[&[-1.0, 1.0, -1.0], &[0.0, 1.0, 3.0]], p), (2, 0));
        assert_eq!(rank(&[&[-1.0, 1.0, -1.0], &[2048.0, -2048.0, 2048.0]], p), (1, 1));
        let zero: &[&[f64]] = &[&[0.0; 3], &[0.0; 3], &[0.0; 3]];
        let (a, b) = (1.0 / 2048.0, 4096.0);
        assert_eq!(rank(&[&[a, 2.0 * a, 3.0 * a], &[b, 2.0 * b, 3.0 * b], &[0.0, 0.0, 1e-9]], zero), (2, 1));
        assert_eq!(rank(&[], zero), (0, 3));
        assert_eq!(rank(&[&[1.0, 1.0, 0.0], &[1.0, 1.0 + 1e-10, 0.0], &[0.0, 0.0, 1.0]], zero), (3, 0));
        assert_eq!(rank(&[], &[&[1.0, 1.0], &[1.0, 1.0 + 1e-10]]), (0, 0));
        assert_eq!(rank(&[], &[&[1e-20, 0.0], &[0.0, 1e20]]), (0, 0));
    }
}
