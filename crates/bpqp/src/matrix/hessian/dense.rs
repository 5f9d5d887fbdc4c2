//! A full symmetric matrix.

use super::{ASYMMETRY, Hessian, KIND, LowerWork, Parameter, Product, Structure, square};
use crate::Error;
use crate::matrix::columns::column;
use crate::matrix::{Full, cholesky, cholesky_memory, dense_finite, gather_lower, gemv, gemv_abs, gemv_t};
use faer::reborrow::{Reborrow, ReborrowMut};
use faer::{Mat, MatMut, MatRef};
use pulp::{Arch, Simd, WithSimd};

/// Tile edge of the transposed scans: two tiles of 8-byte entries fit in the first-level cache.
const TILE: usize = 32;
/// Edge of the squares that are transposed as a whole.
const SQUARE: usize = 8;
/// Up to this order a plain loop is faster than any tile.
const TINY: usize = 16;

/// What one pass over a square matrix tells.
struct Scan {
    /// Every entry is finite.
    finite: bool,
    /// Largest magnitude.
    largest: f64,
    /// Largest `|m - m'|`.
    asymmetry: f64,
}

/// Rows `i..` of columns `j..` of a square matrix, transposed: a whole square of it.
#[inline(always)]
fn mirrored(m: MatRef<'_, f64>, i: usize, j: usize) -> [[f64; SQUARE]; SQUARE] {
    let mut out = [[0.0; SQUARE]; SQUARE];
    for b in 0..SQUARE {
        let Some(column) = column(m, j + b, i).first_chunk::<SQUARE>() else { continue };
        for a in 0..SQUARE {
            out[a][b] = column[a];
        }
    }
    out
}

/// Tile by tile against its mirror image, in each of them square by square.
struct ScanSquare<'a>(MatRef<'a, f64>);

impl WithSimd for ScanSquare<'_> {
    type Output = Scan;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Scan {
        let m = self.0;
        let n = m.ncols();
        let zero = simd.splat_f64s(0.0);
        let (mut top, mut difference, mut poison) = (zero, zero, zero);
        // what is left at the ends of rows and columns
        let mut rest = Scan { finite: true, largest: 0.0, asymmetry: 0.0 };
        for jt in (0..n).step_by(TILE) {
            for it in (jt..n).step_by(TILE) {
                for j in (jt..n.min(jt + TILE)).step_by(SQUARE) {
                    for i in (it.max(j)..n.min(it + TILE)).step_by(SQUARE) {
                        if n < i.max(j) + SQUARE {
                            scan_rest(m, (i, j), &mut rest);
                            continue;
                        }
                        let mirror = mirrored(m, j, i);
                        for b in 0..SQUARE {
                            let own = S::as_simd_f64s(&column(m, j + b, i)[..SQUARE]).0;
                            for (&v, &w) in own.iter().zip(S::as_simd_f64s(&mirror[b]).0) {
                                let d = simd.sub_f64s(v, w);
                                top = simd.max_f64s(simd.abs_f64s(v), top);
                                difference = simd.max_f64s(simd.abs_f64s(d), difference);
                                poison = simd.mul_add_f64s(zero, d, poison);
                            }
                        }
                    }
                }
            }
        }
        Scan {
            finite: simd.reduce_sum_f64s(poison) == 0.0 && rest.finite,
            largest: simd.reduce_max_f64s(top).max(rest.largest),
            asymmetry: simd.reduce_max_f64s(difference).max(rest.asymmetry),
        }
    }
}

/// The part of a square that begins at row i and column j which is inside of the matrix.
fn scan_rest(m: MatRef<'_, f64>, (i, j): (usize, usize), scan: &mut Scan) {
    let n = m.ncols();
    let mut poison = 0.0;
    for b in j..n.min(j + SQUARE) {
        for (a, v) in column(m, b, i).iter().take(SQUARE).enumerate() {
            let (size, off) = (v.abs(), (v - m[(b, i + a)]).abs());
            scan.largest = if size > scan.largest { size } else { scan.largest };
            scan.asymmetry = if off > scan.asymmetry { off } else { scan.asymmetry };
            poison += 0.0 * off;
        }
    }
    scan.finite &= poison == 0.0;
}

/// The scan of a matrix of at most [`TINY`] columns.
fn scan_tiny(m: MatRef<'_, f64>) -> Scan {
    let n = m.ncols();
    let mut columns: [&[f64]; TINY] = [&[]; TINY];
    columns.iter_mut().take(n).enumerate().for_each(|(j, own)| *own = column(m, j, 0));
    let (mut largest, mut asymmetry, mut poison) = (0.0_f64, 0.0_f64, 0.0);
    for (j, column) in columns.iter().enumerate().take(n) {
        for (v, row) in column[j..].iter().zip(&columns[j..n]) {
            let d = v - row[j];
            let (size, off) = (v.abs(), d.abs());
            largest = if size > largest { size } else { largest };
            asymmetry = if off > asymmetry { off } else { asymmetry };
            poison += 0.0 * d;
        }
    }
    Scan { finite: poison == 0.0, largest, asymmetry }
}

/// Checks it, and makes it exactly symmetric.
pub(super) fn validate(argument: &'static str, mut m: MatMut<'_, f64>) -> Result<(), Error> {
    square(argument, m.nrows(), m.ncols())?;
    let n = m.ncols();
    let scan = match n {
        n if n <= TINY => scan_tiny(m.rb()),
        _ => Arch::new().dispatch(ScanSquare(m.rb())),
    };
    let Scan { finite, largest, asymmetry } = scan;
    if !finite {
        // or a difference of huge entries, which is infinite
        dense_finite(argument, m.rb())?;
    }
    if asymmetry > ASYMMETRY * largest {
        let below = |j: usize| (j + 1..n).map(move |i| (i, j));
        let worst = (0..n).flat_map(below).max_by(|&(i, j), &(k, l)| {
            let (a, b) = ((m[(i, j)] - m[(j, i)]).abs(), (m[(k, l)] - m[(l, k)]).abs());
            a.total_cmp(&b)
        });
        let (row, col) = worst.unwrap_or((0, 0));
        return Err(Error::Asymmetric { row, col, value: m[(row, col)], mirrored: m[(col, row)] });
    }
    if asymmetry > 0.0 {
        for j in 0..n {
            for i in j + 1..n {
                let mean = 0.5 * (m[(i, j)] + m[(j, i)]);
                m[(i, j)] = mean;
                m[(j, i)] = mean;
            }
        }
    }
    Ok(())
}

/// Writes the gradient of a full matrix.
pub(super) fn write_gradient(product: Product<'_>, mut out: MatMut<'_, f64>) {
    let Product { w, x, t } = product;
    for j in 0..x.len() {
        let (uj, xj) = (-0.5 * product.u(j), -0.5 * x[j]);
        let Some(column) = out.rb_mut().col_mut(j).try_as_col_major_mut() else { return };
        for ((m, &wi), &xi) in column.as_slice_mut().iter_mut().zip(w).zip(x) {
            *m = (wi - 0.5 * t * xi) * xj + xi * uj;
        }
    }
}

impl Structure for MatRef<'_, f64> {
    fn n(&self) -> usize {
        self.ncols()
    }
    fn mul_add(&self, alpha: f64, x: &[f64], out: &mut [f64], _work: &mut Vec<f64>) {
        gemv(alpha, *self, x, out);
    }
    fn magnitudes_add(&self, x: &[f64], out: &mut [f64], _work: &mut Vec<f64>) {
        gemv_abs(*self, x, out);
    }
    fn push_diagonal(&self, out: &mut Vec<f64>) {
        out.extend((0..self.ncols()).map(|i| self[(i, i)]));
    }
    fn to_dense(&self) -> Mat<f64> {
        self.to_owned()
    }
    fn is_zero(&self) -> bool {
        (0..self.ncols()).all(|j| column(*self, j, 0).iter().all(|&v| v == 0.0))
    }
    fn stored(&self) -> usize {
        self.nrows() * self.ncols()
    }
    fn difference(&self, other: &Hessian) -> Option<&'static str> {
        match other {
            Hessian::Dense(m) => (m.shape() != self.shape()).then_some("size"),
            _ => Some(KIND),
        }
    }
    fn for_each_extended(&self, _behind: usize, mut f: impl FnMut(usize, usize, f64)) {
        for j in 0..self.ncols() {
            column(*self, j, 0)[..=j].iter().enumerate().for_each(|(i, &v)| f(i, j, v));
        }
    }
    fn is_surely_convex(&self) -> bool {
        false
    }
    fn is_positive_definite(&self, shift: &[f64]) -> bool {
        let n = self.ncols();
        let mut l = self.to_owned();
        (0..n).for_each(|i| l[(i, i)] += shift[i]);
        cholesky(l.as_mut(), &mut cholesky_memory(n))
    }
    fn write_lower(&self, kept: &[usize], out: &mut Mat<f64>, _work: &mut LowerWork) {
        gather_lower(*self, kept, out);
    }
    fn raise_columns(&self, d: &[f64], columns: &mut [f64]) {
        for (j, largest) in columns.iter_mut().enumerate() {
            let entries = column(*self, j, 0).iter().zip(d);
            *largest = largest.max(entries.fold(0.0_f64, |a, (v, d)| a.max((v * d).abs())) * d[j]);
        }
    }
    fn scaled(&self, c: f64, d: &[f64]) -> Hessian {
        Hessian::Dense(Full::from_fn(self.nrows(), self.ncols(), |i, j| c * d[i] * self[(i, j)] * d[j]))
    }
    fn gradient(&self, product: Product<'_>, last: Option<Hessian>) -> Hessian {
        let n = product.x.len();
        let mut m = match last {
            Some(Hessian::Dense(m)) if m.ncols() == n => m,
            _ => Full::zeros(n, n),
        };
        write_gradient(product, m.as_mut());
        Hessian::Dense(m)
    }
    fn sub_direction(&self, _at: &Hessian, x: &[f64], out: &mut [f64]) {
        gemv(-0.5, *self, x, out);
        gemv_t(-0.5, *self, x, out);
    }
    fn for_each_parameter(&self, mut f: impl FnMut(Parameter)) {
        for j in 0..self.ncols() {
            (j..self.ncols()).for_each(|i| f(Parameter::Entry(i, j)));
        }
    }
    fn parameter(&self, which: Parameter) -> f64 {
        if let Parameter::Entry(i, j) = which { self[(i, j)] } else { 0.0 }
    }
}
