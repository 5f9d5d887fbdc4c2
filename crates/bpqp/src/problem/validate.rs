//! Everything that is refused before solving, with the argument, the index and the value.

use crate::Error;
use crate::cones::Cone;
use crate::matrix::{Csc, Hessian, Matrix};
use faer::Mat;
use pulp::{Arch, Simd, WithSimd};

/// Asymmetry above this multiple of the largest entry is refused.
const ASYMMETRY: f64 = 1e-5;
/// Tile edge of the transposed scans: two tiles of 8-byte entries fit in the first-level cache.
const TILE: usize = 32;

/// The first column with an entry that is not finite.
struct NotFiniteColumn<'a>(&'a Mat<f64>);

impl WithSimd for NotFiniteColumn<'_> {
    type Output = Option<usize>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Option<usize> {
        let zero = simd.splat_f64s(0.0);
        (0..self.0.ncols()).find(|&col| {
            // 0 v is 0 for a finite v, and NaN for the others
            let (head, tail) = S::as_simd_f64s(self.0.col_as_slice(col));
            let sum = head.iter().fold(zero, |sum, &v| simd.mul_add_f64s(zero, v, sum));
            tail.iter().fold(simd.reduce_sum_f64s(sum), |sum, v| sum + 0.0 * v) != 0.0
        })
    }
}

pub(super) fn dense_finite(argument: &'static str, m: &Mat<f64>) -> Result<(), Error> {
    let column = Arch::new().dispatch(NotFiniteColumn(m));
    let place = column.and_then(|col| m.col_as_slice(col).iter().position(|v| !v.is_finite()).map(|row| (row, col)));
    match place {
        None => Ok(()),
        Some((row, col)) => Err(Error::NotFinite { argument, row, col, value: m[(row, col)] }),
    }
}

fn sparse_finite(argument: &'static str, m: &Csc) -> Result<(), Error> {
    match m.triplets().find(|(_, _, v)| !v.is_finite()) {
        None => Ok(()),
        Some((row, col, value)) => Err(Error::NotFinite { argument, row, col, value }),
    }
}

/// Constraint matrices: `ncols` columns, finite.
pub(super) fn matrix(argument: &'static str, m: &Matrix, ncols: usize) -> Result<(), Error> {
    if m.ncols() != ncols {
        let (found, expected) = ((m.nrows(), m.ncols()), (m.nrows(), ncols));
        return Err(Error::Shape { argument, found, expected, advice: "it needs one column per entry of q" });
    }
    match m {
        Matrix::Dense(m) => dense_finite(argument, m),
        Matrix::Sparse(m) => sparse_finite(argument, m),
    }
}

/// Curved cones that take `rows` rows together.
pub(super) fn cones(cones: &[Cone], rows: usize) -> Result<(), Error> {
    cones.iter().try_for_each(Cone::validate)?;
    if let Some(k) = cones.iter().position(Cone::is_polyhedral) {
        return Err(Error::Setting {
            name: "cones",
            value: format!("{} at position {k}", cones[k].name()),
            advice: "linear constraints are equalities and inequalities",
        });
    }
    // a sum that does not fit is not the number of rows
    let total = cones.iter().try_fold(0_usize, |sum, cone| sum.checked_add(cone.rows()));
    if total != Some(rows) {
        let advice = "the cones take the rows of C (a PSD cone of order n takes n (n + 1) / 2)";
        return Err(Error::length("cones", total.unwrap_or(usize::MAX), rows, advice));
    }
    Ok(())
}

/// Checks `P` and makes it exactly symmetric.
pub(super) fn hessian(p: Hessian) -> Result<Hessian, Error> {
    match p {
        Hessian::Zero(n) => Ok(Hessian::Zero(n)),
        Hessian::Dense(m) => dense_hessian(m).map(Hessian::Dense),
        Hessian::Sparse(m) => sparse_hessian(m).map(Hessian::Sparse),
        Hessian::Diagonal(d) => {
            diagonal(&d)?;
            Ok(Hessian::Diagonal(d))
        }
        Hessian::LowRank { d, f } => {
            diagonal(&d)?;
            dense_finite("F", &f)?;
            Ok(Hessian::LowRank { d, f })
        }
    }
}

fn diagonal(d: &[f64]) -> Result<(), Error> {
    crate::error::check_finite("d", d)?;
    match d.iter().position(|&v| v < 0.0) {
        None => Ok(()),
        Some(index) => Err(Error::NegativeDiagonal { index, value: d[index] }),
    }
}

fn square(nrows: usize, ncols: usize) -> Result<(), Error> {
    if nrows == ncols {
        return Ok(());
    }
    Err(Error::Shape {
        argument: "P",
        found: (nrows, ncols),
        expected: (ncols, ncols),
        advice: "the Hessian is square",
    })
}

/// What one pass over a square matrix tells.
struct Scan {
    /// Every entry is finite.
    finite: bool,
    /// Largest magnitude.
    largest: f64,
    /// Largest `|m - m'|`.
    asymmetry: f64,
}

/// Tile by tile against its mirror image, transposed into a buffer in the first-level cache.
struct ScanSquare<'a>(&'a Mat<f64>);

impl WithSimd for ScanSquare<'_> {
    type Output = Scan;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Scan {
        let m = self.0;
        let n = m.ncols();
        let zero = simd.splat_f64s(0.0);
        let (mut top, mut difference, mut poison) = (zero, zero, zero);
        let (mut last_top, mut last_difference, mut last_poison) = (0.0_f64, 0.0_f64, 0.0);
        let mut tile = [[0.0; TILE]; TILE];
        for jt in (0..n).step_by(TILE) {
            let width = TILE.min(n - jt);
            for it in (jt..n).step_by(TILE) {
                let height = TILE.min(n - it);
                for a in 0..height {
                    for (mirror, v) in tile.iter_mut().zip(&m.col_as_slice(it + a)[jt..jt + width]) {
                        mirror[a] = *v;
                    }
                }
                for (b, mirror) in tile.iter().enumerate().take(width) {
                    let column = S::as_simd_f64s(&m.col_as_slice(jt + b)[it..it + height]);
                    let mirror = S::as_simd_f64s(&mirror[..height]);
                    for (&v, &w) in column.0.iter().zip(mirror.0) {
                        let d = simd.sub_f64s(v, w);
                        top = simd.max_f64s(simd.abs_f64s(v), top);
                        difference = simd.max_f64s(simd.abs_f64s(d), difference);
                        poison = simd.mul_add_f64s(zero, d, poison);
                    }
                    for (v, w) in column.1.iter().zip(mirror.1) {
                        last_top = last_top.max(v.abs());
                        last_difference = last_difference.max((v - w).abs());
                        last_poison += 0.0 * (v - w);
                    }
                }
            }
        }
        Scan {
            finite: simd.reduce_sum_f64s(poison) + last_poison == 0.0,
            largest: simd.reduce_max_f64s(top).max(last_top),
            asymmetry: simd.reduce_max_f64s(difference).max(last_difference),
        }
    }
}

fn dense_hessian(mut m: Mat<f64>) -> Result<Mat<f64>, Error> {
    square(m.nrows(), m.ncols())?;
    let n = m.ncols();
    let Scan { finite, largest, asymmetry } = Arch::new().dispatch(ScanSquare(&m));
    if !finite {
        // or a difference of huge entries, which is infinite
        dense_finite("P", &m)?;
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
    Ok(m)
}

fn sparse_hessian(m: Csc) -> Result<Csc, Error> {
    square(m.nrows(), m.ncols())?;
    sparse_finite("P", &m)?;
    let t = m.transpose();
    if m == t {
        return Ok(m);
    }
    let half = |c: &Csc| c.triplets().map(|(i, j, v)| (i, j, 0.5 * v)).collect::<Vec<_>>();
    let both = [half(&m), half(&t)].concat();
    let mean = Csc::from_triplets(m.nrows(), m.ncols(), &both)?;
    let largest = m.values().iter().fold(0.0_f64, |a, v| a.max(v.abs()));
    let skew: Vec<_> = half(&m).into_iter().chain(half(&t).into_iter().map(|(i, j, v)| (i, j, -v))).collect();
    let skew = Csc::from_triplets(m.nrows(), m.ncols(), &skew)?;
    let entry = |i: usize, j: usize| m.column(j).find(|&(r, _)| r == i).map_or(0.0, |(_, v)| v);
    let worst = skew.triplets().max_by(|a, b| a.2.abs().total_cmp(&b.2.abs()));
    match worst {
        Some((row, col, v)) if 2.0 * v.abs() > ASYMMETRY * largest => {
            Err(Error::Asymmetric { row, col, value: entry(row, col), mirrored: entry(col, row) })
        }
        _ => Ok(mean),
    }
}

/// Right-hand sides of inequalities may be `+inf` (a row that never binds), never NaN or `-inf`.
pub(super) fn upper(argument: &'static str, h: &[f64]) -> Result<(), Error> {
    match h.iter().position(|v| v.is_nan() || *v == f64::NEG_INFINITY) {
        None => Ok(()),
        Some(row) => Err(Error::NotFinite { argument, row, col: 0, value: h[row] }),
    }
}

/// Bounds: no NaN, `lb <= ub`, and a value left for every variable.
pub(super) fn bounds(lb: &[f64], ub: &[f64]) -> Result<(), Error> {
    for (argument, values) in [("lb", lb), ("ub", ub)] {
        if let Some(row) = values.iter().position(|v| v.is_nan()) {
            return Err(Error::NotFinite { argument, row, col: 0, value: f64::NAN });
        }
    }
    let crossed = |i: &usize| lb[*i] > ub[*i] || lb[*i] == f64::INFINITY || ub[*i] == f64::NEG_INFINITY;
    match (0..lb.len()).find(crossed) {
        None => Ok(()),
        Some(index) => Err(Error::Bounds { index, lb: lb[index], ub: ub[index] }),
    }
}
