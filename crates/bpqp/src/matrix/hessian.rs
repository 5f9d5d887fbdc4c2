//! The quadratic term. What a structure has to say of itself is the trait `Structure`, one file per structure; a new one is
//! a file and its lines here.

mod blocks;
mod dense;
mod diagonal;
mod low_rank;
mod sparse;
mod zero;

use super::{Csc, Full, dense_finite};
use crate::Error;
use crate::error::check_finite;
use faer::Mat;
use low_rank::LowRank;
use std::ops::Range;
use zero::Zero;

/// The Hessian `P`, in the structure in which it came; also the structure of its gradient.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Hessian {
    /// No quadratic term (a linear program) in that many variables.
    Zero(usize),
    /// A full symmetric matrix.
    Dense(Full),
    /// Both triangles of a sparse symmetric matrix.
    Sparse(Csc),
    /// A diagonal.
    Diagonal(Vec<f64>),
    /// `diag(d) + F F'`, as in a factor risk model; the n x n matrix is never formed.
    LowRank {
        /// The diagonal, n entries.
        d: Vec<f64>,
        /// The factor, n x r.
        f: Mat<f64>,
    },
    /// Dense symmetric blocks along the diagonal, as in a problem over several periods.
    BlockDiagonal(Vec<Mat<f64>>),
}

/// One number of the data of a Hessian. Mirrored entries are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parameter {
    /// An entry on or below the diagonal.
    Entry(usize, usize),
    /// An entry of the diagonal of a diagonal or factored matrix.
    Diagonal(usize),
    /// An entry of the factor.
    Factor(usize, usize),
}

/// What the gradient of a Hessian is made of: `-1/2 (u x' + x u')` with `u = w - t/2 x`.
#[derive(Clone, Copy)]
pub(crate) struct Product<'a> {
    pub w: &'a [f64],
    pub x: &'a [f64],
    pub t: f64,
}

impl Product<'_> {
    /// Of these variables alone.
    fn part(&self, range: Range<usize>) -> Product<'_> {
        Product { w: &self.w[range.clone()], x: &self.x[range], t: self.t }
    }

    fn u(&self, i: usize) -> f64 {
        self.w[i] - 0.5 * self.t * self.x[i]
    }

    fn entry(&self, i: usize, j: usize) -> f64 {
        -0.5 * (self.u(i) * self.x[j] + self.x[i] * self.u(j))
    }

    /// The diagonal, in the buffer of the last one.
    fn diagonal(&self, mut last: Vec<f64>) -> Vec<f64> {
        last.clear();
        last.extend((0..self.x.len()).map(|i| -self.u(i) * self.x[i]));
        last
    }
}

/// A matrix that is inverted part by part.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Separable<'a> {
    Diagonal(&'a [f64]),
    Blocks(&'a [Mat<f64>]),
}

/// Buffers of [`Hessian::write_lower`].
#[derive(Debug)]
pub(crate) struct LowerWork {
    gathered: Mat<f64>,
    position: Vec<usize>,
}

impl Default for LowerWork {
    fn default() -> Self {
        LowerWork { gathered: Mat::zeros(0, 0), position: Vec::new() }
    }
}

/// A structure of Hessian.
trait Structure {
    fn n(&self) -> usize;
    fn mul_add(&self, alpha: f64, x: &[f64], out: &mut [f64], work: &mut Vec<f64>);
    fn magnitudes_add(&self, x: &[f64], out: &mut [f64], work: &mut Vec<f64>);
    /// Appends the diagonal.
    fn push_diagonal(&self, out: &mut Vec<f64>);
    fn to_dense(&self) -> Mat<f64>;
    fn is_zero(&self) -> bool;
    fn stored(&self) -> usize;
    fn difference(&self, other: &Hessian) -> Option<&'static str>;
    fn for_each_extended(&self, behind: usize, f: impl FnMut(usize, usize, f64));
    fn write_lower(&self, kept: &[usize], out: &mut Mat<f64>, work: &mut LowerWork);
    fn scaled(&self, c: f64, d: &[f64]) -> Hessian;
    fn gradient(&self, product: Product<'_>, last: Option<Hessian>) -> Hessian;
    fn for_each_parameter(&self, f: impl FnMut(Parameter));
    fn parameter(&self, which: Parameter) -> f64;
    /// The columns of the factor that is kept apart.
    fn factors(&self) -> Option<usize> {
        None
    }
    fn is_positive_diagonal(&self) -> bool {
        false
    }
    fn is_surely_convex(&self) -> bool {
        true
    }
    fn is_positive_definite(&self, _shift: &[f64]) -> bool {
        false
    }
    /// By the diagonal, which bounds every entry of a positive semidefinite matrix.
    fn raise_columns(&self, d: &[f64], columns: &mut [f64]) {
        let mut diagonal = Vec::new();
        self.push_diagonal(&mut diagonal);
        for ((column, v), d) in columns.iter_mut().zip(diagonal).zip(d) {
            *column = column.max((v * d * d).abs());
        }
    }
    /// `out -= (this as a direction) x`.
    fn sub_direction(&self, _at: &Hessian, x: &[f64], out: &mut [f64]) {
        self.mul_add(-1.0, x, out, &mut Vec::new());
    }
}

/// The same expression for every structure.
macro_rules! each {
    ($hessian:expr, $p:ident => $body:expr) => {
        match $hessian {
            Hessian::Zero(n) => {
                let $p = &Zero(*n);
                $body
            }
            Hessian::Dense(m) => {
                let $p = &m.as_ref();
                $body
            }
            Hessian::Sparse($p) => $body,
            Hessian::Diagonal(d) => {
                let $p = d.as_slice();
                $body
            }
            Hessian::LowRank { d, f } => {
                let $p = &LowRank { d, f };
                $body
            }
            Hessian::BlockDiagonal(blocks) => {
                let $p = blocks.as_slice();
                $body
            }
        }
    };
}

/// Where a structure differs from one of another kind.
const KIND: &str = "kind of matrix";
/// Asymmetry above this multiple of the largest entry is refused.
const ASYMMETRY: f64 = 1e-5;

fn square(argument: &'static str, nrows: usize, ncols: usize) -> Result<(), Error> {
    if nrows == ncols {
        return Ok(());
    }
    let (found, expected) = ((nrows, ncols), (ncols, ncols));
    Err(Error::Shape { argument, found, expected, advice: "the Hessian is square" })
}

impl Hessian {
    /// A dense matrix from n * n entries (row-major and column-major agree, as it is symmetric).
    pub fn from_rows(n: usize, entries: &[f64]) -> Result<Self, Error> {
        if entries.len() != n * n {
            return Err(Error::length("P", entries.len(), n * n, "a dense P has n * n entries"));
        }
        Ok(Hessian::Dense(Full::from_rows(n, n, entries)))
    }

    /// `diag(d) + F F'` with `F` of n x r.
    pub fn low_rank(d: Vec<f64>, f: Mat<f64>) -> Result<Self, Error> {
        if f.nrows() != d.len() {
            let found = (f.nrows(), f.ncols());
            let expected = (d.len(), f.ncols());
            return Err(Error::Shape { argument: "F", found, expected, advice: "F has one row per entry of d" });
        }
        Ok(Hessian::LowRank { d, f })
    }

    /// Square symmetric blocks along the diagonal; what couples them are the constraints.
    pub fn block_diagonal(blocks: Vec<Mat<f64>>) -> Result<Self, Error> {
        blocks.iter().try_for_each(|block| square("P", block.nrows(), block.ncols()))?;
        Ok(Hessian::BlockDiagonal(blocks))
    }

    /// Checked, and made exactly symmetric.
    pub(crate) fn validated(self) -> Result<Self, Error> {
        match self {
            Hessian::Zero(n) => Ok(Hessian::Zero(n)),
            Hessian::Dense(mut m) => dense::validate("P", m.as_mut()).map(|()| Hessian::Dense(m)),
            Hessian::Sparse(m) => sparse::validated(m).map(Hessian::Sparse),
            Hessian::Diagonal(d) => diagonal::validated(d).map(Hessian::Diagonal),
            Hessian::LowRank { d, f } => low_rank::validated(d, f),
            Hessian::BlockDiagonal(blocks) => blocks::validated(blocks).map(Hessian::BlockDiagonal),
        }
    }

    /// Number of variables.
    pub fn n(&self) -> usize {
        each!(self, p => p.n())
    }

    /// `out += alpha * P x`; `work` holds at least r entries for a factored P.
    pub fn mul_add(&self, alpha: f64, x: &[f64], out: &mut [f64], work: &mut Vec<f64>) {
        each!(self, p => Structure::mul_add(p, alpha, x, out, work));
    }

    /// `out += |P| x` for `x >= 0`; for a factored P with `|d| + |F| |F'|`, the terms as they are computed.
    pub(crate) fn magnitudes_add(&self, x: &[f64], out: &mut [f64], work: &mut Vec<f64>) {
        each!(self, p => Structure::magnitudes_add(p, x, out, work));
    }

    /// The diagonal of `P`.
    pub fn diagonal(&self) -> Vec<f64> {
        let mut out = Vec::new();
        self.diagonal_into(&mut out);
        out
    }

    /// Writes the diagonal of `P`.
    pub(crate) fn diagonal_into(&self, out: &mut Vec<f64>) {
        out.clear();
        each!(self, p => p.push_diagonal(out));
    }

    /// Refuses a number that is none, among those that are stored.
    pub(crate) fn check_finite(&self, argument: &'static str) -> Result<(), Error> {
        match self {
            Hessian::Zero(_) => Ok(()),
            Hessian::Dense(m) => dense_finite(argument, m.as_ref()),
            Hessian::Sparse(m) => m.check_finite(argument),
            Hessian::Diagonal(d) => check_finite(argument, d),
            Hessian::LowRank { d, f } => check_finite(argument, d).and_then(|()| dense_finite(argument, f.as_ref())),
            Hessian::BlockDiagonal(blocks) => blocks.iter().try_for_each(|m| dense_finite(argument, m.as_ref())),
        }
    }

    /// The dense matrix; for tests and small fall-backs.
    pub fn to_dense(&self) -> Mat<f64> {
        each!(self, p => Structure::to_dense(p))
    }

    /// True if there is no quadratic term at all.
    pub fn is_zero(&self) -> bool {
        each!(self, p => p.is_zero())
    }

    /// The matrix, if it is a full one.
    pub(crate) fn as_dense(&self) -> Option<&Full> {
        if let Hessian::Dense(m) = self { Some(m) } else { None }
    }

    /// `P = D + F F'` with a D that is inverted entry by entry or block by block; without F where there is none.
    pub(crate) fn separable(&self) -> Option<(Separable<'_>, Option<&Mat<f64>>)> {
        match self {
            Hessian::Diagonal(d) => Some((Separable::Diagonal(d), None)),
            Hessian::LowRank { d, f } => Some((Separable::Diagonal(d), Some(f))),
            Hessian::BlockDiagonal(blocks) => Some((Separable::Blocks(blocks), None)),
            // every column stores its diagonal entry and no other, as a diagonal matrix of scipy does
            Hessian::Sparse(m) if m.is_diagonal() => Some((Separable::Diagonal(m.values()), None)),
            _ => None,
        }
    }

    /// Numbers stored.
    pub(crate) fn stored(&self) -> usize {
        each!(self, p => p.stored())
    }

    /// In what its structure (kind, size, pattern) differs from that of `other`.
    pub(crate) fn difference(&self, other: &Hessian) -> Option<&'static str> {
        each!(self, p => p.difference(other))
    }

    /// Number of further variables of the extended matrix.
    pub(crate) fn extension(&self) -> usize {
        each!(self, p => p.factors()).unwrap_or(0)
    }

    /// Calls `f(row, column, value)` for the stored entries of the extended matrix: that of `1/2 x'D x - 1/2 u'u` with
    /// `u = F'x` beside it if `P = D + F F'`, the variables u at `behind` and after it; else of `P` itself. All entries with
    /// `row <= column` are there, others may be.
    pub(crate) fn for_each_extended(&self, behind: usize, f: impl FnMut(usize, usize, f64)) {
        each!(self, p => p.for_each_extended(behind, f));
    }

    /// True if it is stored as a diagonal without further entries, all of it positive.
    pub(crate) fn is_positive_diagonal(&self) -> bool {
        each!(self, p => p.is_positive_diagonal())
    }

    /// True if its structure and a look at its entries prove that it is positive semidefinite (it was validated).
    pub(crate) fn is_surely_convex(&self) -> bool {
        each!(self, p => p.is_surely_convex())
    }

    /// True if dense factors prove that `P + diag(shift)` is positive definite; false also where that is not tried.
    pub(crate) fn is_positive_definite(&self, shift: &[f64]) -> bool {
        each!(self, p => p.is_positive_definite(shift))
    }

    /// Writes the lower triangle of the rows and columns `kept`, which ascend.
    pub(crate) fn write_lower(&self, kept: &[usize], out: &mut Mat<f64>, work: &mut LowerWork) {
        each!(self, p => p.write_lower(kept, out, work));
    }

    /// `columns[j] = max(columns[j], |d_i P_ij d_j|)`; where P is not stored entry by entry, with the diagonal for all.
    pub(crate) fn raise_columns(&self, d: &[f64], columns: &mut [f64]) {
        each!(self, p => p.raise_columns(d, columns));
    }

    /// `c D P D`.
    pub(crate) fn scaled(&self, c: f64, d: &[f64]) -> Hessian {
        each!(self, p => p.scaled(c, d))
    }

    /// The gradient on the structure of P, in the buffers of the last one.
    pub(crate) fn gradient_into(&self, product: Product<'_>, out: &mut Option<Hessian>) {
        let last = out.take();
        *out = Some(each!(self, p => p.gradient(product, last)));
    }

    /// `self += other` of the same structure.
    pub(crate) fn add(&mut self, other: &Hessian) {
        let add = |to: &mut [f64], from: &[f64]| to.iter_mut().zip(from).for_each(|(t, f)| *t += f);
        match (self, other) {
            (Hessian::Dense(to), Hessian::Dense(from)) => *to += from,
            (Hessian::Sparse(to), Hessian::Sparse(from)) => add(to.values_mut(), from.values()),
            (Hessian::Diagonal(to), Hessian::Diagonal(from)) => add(to, from),
            (Hessian::LowRank { d, f }, Hessian::LowRank { d: dd, f: df }) => {
                add(d, dd);
                *f += df;
            }
            (Hessian::BlockDiagonal(to), Hessian::BlockDiagonal(from)) => {
                to.iter_mut().zip(from).for_each(|(t, f)| *t += f);
            }
            _ => {}
        }
    }

    /// True if `direction` can be one of this matrix: any matrix of its size, factored if and only if it is.
    pub(crate) fn takes_direction(&self, direction: &Hessian) -> bool {
        self.n() == direction.n() && each!(self, p => p.factors()) == each!(direction, p => p.factors())
    }

    /// `out -= dP x` for a direction that it takes; as P, it is read as `(dP + dP')/2`.
    pub(crate) fn sub_direction(&self, direction: &Hessian, x: &[f64], out: &mut [f64]) {
        each!(direction, dp => dp.sub_direction(self, x, out));
    }

    /// `d^2 P(self, along) x` for two directions: nothing where P is linear in its parameters.
    pub(crate) fn second_direction(&self, along: &Hessian, x: &[f64]) -> Option<Vec<f64>> {
        match (self, along) {
            (Hessian::LowRank { f, .. }, Hessian::LowRank { f: along, .. }) => {
                Some(low_rank::second_direction(f, along, x))
            }
            _ => None,
        }
    }

    /// Adds to a gradient by how much it moves because the products of this direction with `w` and `x` do themselves:
    /// nothing where P is linear in its parameters.
    pub(crate) fn add_second_gradient(&self, w: &[f64], x: &[f64], out: &mut Hessian) {
        if let (Hessian::LowRank { f, .. }, Hessian::LowRank { f: out, .. }) = (self, out) {
            low_rank::factor_gradient(f, Product { w, x, t: 0.0 }, |v, term| *v += term, out);
        }
    }

    /// Calls `f` for every parameter, those of one block after the other.
    pub(crate) fn for_each_parameter(&self, f: impl FnMut(Parameter)) {
        each!(self, p => p.for_each_parameter(f));
    }

    /// The value of a parameter, 0 if there is no such one.
    pub(crate) fn parameter(&self, which: Parameter) -> f64 {
        each!(self, p => p.parameter(which))
    }

    /// Moves a parameter; a pair of mirrored entries each by half of the step.
    pub(crate) fn move_parameter(&mut self, which: Parameter, step: f64) {
        match (self, which) {
            (Hessian::Dense(m), Parameter::Entry(i, j)) => both(i, j, step, |i, j, step| m[(i, j)] += step),
            (Hessian::Sparse(m), Parameter::Entry(i, j)) => both(i, j, step, |i, j, step| m.move_entry(i, j, step)),
            (Hessian::Diagonal(d) | Hessian::LowRank { d, .. }, Parameter::Diagonal(i)) => d[i] += step,
            (Hessian::LowRank { f, .. }, Parameter::Factor(i, k)) => f[(i, k)] += step,
            (Hessian::BlockDiagonal(blocks), Parameter::Entry(i, j)) => {
                both(i, j, step, |i, j, step| blocks::move_entry(blocks, i, j, step));
            }
            _ => {}
        }
    }
}

/// A step of a pair of mirrored entries.
fn both(i: usize, j: usize, step: f64, mut moved: impl FnMut(usize, usize, f64)) {
    if i == j {
        moved(i, i, step);
    } else {
        moved(i, j, 0.5 * step);
        moved(j, i, 0.5 * step);
    }
}

impl From<Mat<f64>> for Hessian {
    fn from(m: Mat<f64>) -> Self {
        Hessian::Dense(m.into())
    }
}

impl From<Full> for Hessian {
    fn from(m: Full) -> Self {
        Hessian::Dense(m)
    }
}

impl From<Csc> for Hessian {
    fn from(m: Csc) -> Self {
        Hessian::Sparse(m)
    }
}
