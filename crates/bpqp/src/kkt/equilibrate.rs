//! Equilibration: factors of the rows and columns of a symmetric matrix that bring their largest entries near 1 (Ruiz, "A
//! scaling algorithm to equilibrate both rows and columns norms", 2001).

use super::{KktData, Union};

/// Ratios of the largest to the smallest from which on units are far apart and are looked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Apart {
    /// Of the largest entries of all rows and columns.
    pub rows: f64,
    /// Of all entries: where each row and column has a large one, those hide units that are far apart.
    pub entries: f64,
}

/// The numbers of a system as they were given, in equilibrated units, and these units.
pub(super) struct Equilibrated {
    /// Variables and rows: a pattern does not tell one from the other.
    pub sizes: (usize, usize),
    pub apart: Apart,
    pub given: Vec<f64>,
    pub units: Vec<f64>,
    pub data: Vec<f64>,
}

/// Of the systems of all passes, which small entries need not change.
pub(crate) const APART: Apart = Apart { rows: 1e6, entries: f64::INFINITY };
/// Of decisions: what is a rank, what is active.
pub(crate) const ANY_APART: Apart = Apart { rows: 1e6, entries: 1e12 };
/// Sweeps for geometric means, each of which at least halves what most exponents are off by.
const GEOMETRIC_SWEEPS: usize = 24;

/// From which spread on units are looked for; and what calls a function for the entries `(i, j, value)` of a symmetric matrix,
/// each once.
pub(crate) type Entries<'a> = (Apart, &'a EachEntry<'a>);

/// A sweep that finds largest entries this near 1 is the last.
const NEAR_ONE: f64 = 1.05;

/// Divides the factors `sweeps` times at most by the square root of the largest entry in their row, which `raise` puts into
/// `largest` (zeros) for the factors so far; none leaves the range that `limit` and its reciprocal bound.
///
/// Largest entries of 1 are had in many ways, some of which leave most entries tiny. So where units are far apart the
/// factors first bring the geometric mean of the `entries` of each row to 1, which finds the units if there are any
/// (Curtis & Reid, "On the automatic scaling of matrices for Gaussian elimination", IMA J. Appl. Math. 1972).
pub(crate) fn ruiz(
    sweeps: usize,
    limit: f64,
    (factors, largest): (&mut [f64], &mut [f64]),
    (apart, entries): Entries<'_>,
    mut raise: impl FnMut(&[f64], &mut [f64]),
) {
    for sweep in 0..sweeps {
        largest.fill(0.0);
        raise(factors, largest);
        if sweep == 0 && (spread(largest) > apart.rows || entry_spread(entries, apart.entries) > apart.entries) {
            bring_means_to_one(factors, entries, apart.entries < f64::INFINITY);
            factors.iter_mut().for_each(|factor| *factor = factor.clamp(1.0 / limit, limit));
            largest.fill(0.0);
            raise(factors, largest);
        }
        let mut near = true;
        for (factor, largest) in factors.iter_mut().zip(&*largest).filter(|(_, largest)| **largest > 0.0) {
            near &= *largest <= NEAR_ONE && *largest * NEAR_ONE >= 1.0;
            *factor = (*factor / largest.sqrt()).clamp(1.0 / limit, limit);
        }
        if near {
            return;
        }
    }
}

/// The largest over the smallest of those that are not 0.
fn spread(v: &[f64]) -> f64 {
    let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
    for &v in v.iter().filter(|v| **v > 0.0) {
        (low, high) = (low.min(v), high.max(v));
    }
    high / low
}

/// The same of all entries, if anyone wants to know.
fn entry_spread(entries: &EachEntry<'_>, limit: f64) -> f64 {
    let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
    if limit < f64::INFINITY {
        entries(&mut |_, _, v| {
            if v != 0.0 {
                (low, high) = (low.min(v.abs()), high.max(v.abs()));
            }
        });
    }
    high / low
}

/// Calls its argument for every entry `(i, j, value)` of a matrix.
pub(crate) type EachEntry<'a> = dyn Fn(&mut dyn FnMut(usize, usize, f64)) + 'a;

/// Jacobi iteration for the least squares of the logarithms of all entries. Entries that no units explain are rounding of a
/// sum that vanishes: where `numbers` alone may choose units they are left out, and where that is not enough nothing changes.
fn bring_means_to_one(factors: &mut [f64], entries: &EachEntry<'_>, numbers: bool) {
    let mut exponents: Vec<f64> = factors.iter().map(|f| f.log2()).collect();
    // a logarithm costs more than all sweeps over it
    let mut sizes = Vec::new();
    entries(&mut |i, j, v| {
        let size = v.abs().log2();
        if size.is_finite() {
            sizes.push((i, j, size));
        }
    });
    fit(&mut exponents, &sizes);
    if numbers && apart(&exponents, &sizes) > UNEXPLAINED {
        sizes.retain(|&(i, j, size)| size + exponents[i] + exponents[j] > -0.5 * UNEXPLAINED);
        fit(&mut exponents, &sizes);
        if apart(&exponents, &sizes) > UNEXPLAINED {
            return;
        }
    }
    factors.iter_mut().zip(&exponents).for_each(|(f, e)| *f = e.exp2());
}

/// How far apart exponents are that units do not bring together: numbers of one problem are not, and rounding is further.
const UNEXPLAINED: f64 = 40.0;

fn apart(exponents: &[f64], sizes: &[(usize, usize, f64)]) -> f64 {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for &(i, j, size) in sizes {
        let size = size + exponents[i] + exponents[j];
        (low, high) = (low.min(size), high.max(size));
    }
    high - low
}

fn fit(exponents: &mut [f64], sizes: &[(usize, usize, f64)]) {
    let mut sums = vec![(0.0, 0.0); exponents.len()];
    for _ in 0..GEOMETRIC_SWEEPS {
        sums.fill((0.0, 0.0));
        for &(i, j, size) in sizes {
            let size: f64 = size + exponents[i] + exponents[j];
            sums[i] = (sums[i].0 + size, sums[i].1 + 1.0);
            if i != j {
                sums[j] = (sums[j].0 + size, sums[j].1 + 1.0);
            }
        }
        for (exponent, (sum, count)) in exponents.iter_mut().zip(&sums).filter(|(_, (_, count))| *count > 0.0) {
            *exponent -= 0.5 * sum / count;
        }
    }
}

/// Curvature below this part of the rows is brought to their size.
const FAINT: f64 = 1.0 / 1024.0;

/// Where the largest curvature in equilibrated units is far below 1, to which the rows are brought: what the factors of the
/// variables are multiplied by, and those of the rows divided, to raise it to 1. That changes no scaled row, and a
/// Hessian looks like the same in another unit of the objective.
pub(super) fn raise_curvature(largest: f64) -> f64 {
    if largest > 0.0 && largest < FAINT { 1.0 / largest.sqrt() } else { 1.0 }
}

/// The same in each part of a system that meets no other, on what these diagonals keep: beside the curvature of another part
/// its own would count for nothing.
pub(crate) fn raise_parts(data: KktData<'_>, (dx, dc): (&[f64], &[f64]), factors: &mut [f64]) {
    let (n, rows) = (data.n(), data.n() + data.m());
    let kept = |i: usize| dx.get(i).is_none_or(|d| d.is_finite());
    let diagonal = data.p.diagonal();
    let curvature = |i: usize, factors: &[f64]| (diagonal[i] + dx[i]) * factors[i] * factors[i];
    // where no variable is faint no part is
    if (0..n).filter(|&i| kept(i)).all(|i| raise_curvature(curvature(i, factors)) == 1.0) {
        return;
    }
    let mut sets = Union::new(rows + data.p.extension());
    data.for_each_row_entry(|i, j, v| {
        if v != 0.0 && dc[i].is_finite() && dx[j].is_finite() {
            sets.join(n + i, j);
        }
    });
    data.p.for_each_extended(rows, |i, j, v| {
        if v != 0.0 && kept(i) && kept(j) {
            sets.join(i, j);
        }
    });
    let mut raised = vec![0.0_f64; rows + data.p.extension()];
    for i in (0..n).filter(|&i| kept(i)) {
        let largest = &mut raised[sets.root(i)];
        *largest = largest.max(curvature(i, factors));
    }
    raised.iter_mut().for_each(|c| *c = raise_curvature(*c));
    for (i, factor) in factors.iter_mut().enumerate() {
        let c = raised[sets.root(i)];
        *factor *= if i < n { c } else { 1.0 / c };
    }
}

/// The nearest power of two, with which scaling adds no rounding error, within `2^-limit` and `2^limit`; 1 for what is no
/// factor.
pub(crate) fn power_of_two(v: f64, limit: f64) -> f64 {
    if v > 0.0 && v.is_finite() { v.log2().round().clamp(-limit, limit).exp2() } else { 1.0 }
}

/// Raises `largest`, of the variables and then of the rows, to the entries of the rows scaled by their factors.
pub(crate) fn raise_rows(data: KktData<'_>, factors: &[f64], largest: &mut [f64]) {
    let (d, e) = factors.split_at(data.n());
    let (columns, rows) = largest.split_at_mut(data.n());
    for (first, block) in data.blocks() {
        let block_rows = first..first + block.nrows();
        block.raise((&e[block_rows.clone()], d), &mut rows[block_rows], columns);
    }
}

/// Sweeps for the units; each halves what the exponents are off by. Within a power of ten is enough to tell rounding from
/// numbers.
const SWEEPS: usize = 4;
/// Where the solution vanishes the terms of a row are rounding, and so is what is left of them: no row is measured against
/// less than this part of the largest one.
const NOISE: f64 = 1e-5;

/// The units of a system: factors of its variables and rows; infinite where there is nothing to scale.
#[derive(Debug, Default)]
pub(crate) struct Units {
    n: usize,
    factors: Vec<f64>,
    largest: Vec<f64>,
    diagonal: Vec<f64>,
    /// The entries of the rows that are kept.
    kept: Vec<(usize, usize, f64)>,
}

fn refill(v: &mut Vec<f64>, n: usize, value: f64) {
    v.clear();
    v.resize(n, value);
}

impl Units {
    /// Of the variables.
    pub fn w(&self) -> &[f64] {
        &self.factors[..self.n]
    }

    /// Of the rows.
    pub fn v(&self) -> &[f64] {
        &self.factors[self.n..]
    }

    /// Equilibrates the rows and columns that are kept. The diagonal of P stands for its columns: `|P_ij| <= sqrt(P_ii
    /// P_jj)`.
    pub fn load(&mut self, data: KktData<'_>, (dx, dc): (&[f64], &[f64])) {
        let n = dx.len();
        self.n = n;
        data.p.diagonal_into(&mut self.diagonal);
        refill(&mut self.factors, n + dc.len(), 1.0);
        refill(&mut self.largest, n + dc.len(), 0.0);
        let Units { factors, largest, diagonal, kept, .. } = self;
        // every sweep reads all entries, most of which are zeros where cones turned their rows
        kept.clear();
        data.for_each_row_entry(|i, j, v| {
            if v != 0.0 && dc[i].is_finite() && dx[j].is_finite() {
                kept.push((n + i, j, v));
            }
        });
        let kept = &kept[..];
        let entries = |f: &mut dyn FnMut(usize, usize, f64)| {
            kept.iter().for_each(|&(i, j, v)| f(i, j, v));
            let own = diagonal.iter().zip(dx).map(|(p, d)| p + d).chain(dc.iter().copied()).enumerate();
            own.for_each(|(i, own)| f(i, i, own));
        };
        ruiz(SWEEPS, f64::INFINITY, (factors, largest), (APART, &entries), |factors, largest| {
            for &(i, j, entry) in kept {
                let entry = (entry * factors[i] * factors[j]).abs();
                for at in [i, j] {
                    if entry > largest[at] {
                        largest[at] = entry;
                    }
                }
            }
            let own = diagonal.iter().zip(dx).map(|(p, d)| p + d).chain(dc.iter().copied());
            for ((largest, factor), own) in largest.iter_mut().zip(factors).zip(own).filter(|(_, own)| own.is_finite())
            {
                *largest = largest.max(own * factor * factor);
            }
        });
        raise_parts(data, (dx, dc), factors);
        for (factor, _) in factors.iter_mut().zip(largest).filter(|(_, largest)| **largest == 0.0) {
            *factor = f64::INFINITY;
        }
    }

    /// Raises the sizes of the terms of rows in which everything is rounding against those of the others.
    pub fn raise(&self, (r, s): (&mut [f64], &mut [f64]), (dx, dc): (&[f64], &[f64])) {
        let usable = |unit: f64, d: f64| unit.is_finite() && d.is_finite();
        let blocks = [(r, self.w(), dx), (s, self.v(), dc)];
        let mut largest = 0.0_f64;
        for (size, units, d) in &blocks {
            let rows = size.iter().zip(*units).zip(*d).filter(|((_, u), d)| usable(**u, **d));
            largest = rows.fold(largest, |m, ((size, unit), _)| m.max(size * unit));
        }
        for (size, units, d) in blocks {
            for ((size, unit), d) in size.iter_mut().zip(units).zip(d) {
                if usable(*unit, *d) {
                    *size = size.max(NOISE * largest / unit);
                }
            }
        }
    }
}
