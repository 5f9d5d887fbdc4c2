//! Everything that is refused before solving, with the argument, the index and the value.

use crate::Error;
use crate::matrix::{Csc, Hessian, Matrix};
use faer::Mat;

/// Asymmetry above this multiple of the largest entry is refused.
const ASYMMETRY: f64 = 1e-5;
/// Tile edge of the transposed scans: two tiles of 8-byte entries fit in the first-level cache.
const TILE: usize = 32;

/// Accumulators that run side by side: a single one would wait for itself, four cycles per entry.
const LANES: usize = 8;

/// True if every entry is finite: `0 v` is 0 exactly for those, and NaN for the others.
fn all_finite(values: &[f64]) -> bool {
    let mut lanes = [0.0; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest: f64 = chunks.remainder().iter().map(|v| 0.0 * v).sum();
    for chunk in chunks {
        for (lane, v) in lanes.iter_mut().zip(chunk) {
            *lane += 0.0 * v;
        }
    }
    lanes.iter().sum::<f64>() + rest == 0.0
}

/// Largest magnitude of `a` and of `a - b`, of finite entries.
fn magnitudes(a: &[f64], b: &[f64]) -> (f64, f64) {
    let (mut top, mut difference) = ([0.0_f64; LANES], [0.0_f64; LANES]);
    let raise = |lane: &mut f64, v: f64| *lane = if v > *lane { v } else { *lane };
    let (left, right) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    for (a, b) in left.remainder().iter().zip(right.remainder()) {
        raise(&mut top[0], a.abs());
        raise(&mut difference[0], (a - b).abs());
    }
    for (a, b) in left.zip(right) {
        for k in 0..LANES {
            raise(&mut top[k], a[k].abs());
            raise(&mut difference[k], (a[k] - b[k]).abs());
        }
    }
    let largest = |lanes: [f64; LANES]| lanes.into_iter().fold(0.0, f64::max);
    (largest(top), largest(difference))
}

pub(super) fn dense_finite(argument: &'static str, m: &Mat<f64>) -> Result<(), Error> {
    for col in 0..m.ncols() {
        let column = m.col_as_slice(col);
        if !all_finite(column)
            && let Some(row) = column.iter().position(|v| !v.is_finite())
        {
            return Err(Error::NotFinite { argument, row, col, value: column[row] });
        }
    }
    Ok(())
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

fn dense_hessian(mut m: Mat<f64>) -> Result<Mat<f64>, Error> {
    square(m.nrows(), m.ncols())?;
    dense_finite("P", &m)?;
    let n = m.ncols();
    // tile by tile against its mirror image, transposed into a buffer in the first-level cache; only a column that holds a
    // new maximum is searched for its place
    let (mut largest, mut worst, mut at) = (0.0_f64, 0.0_f64, (0, 0));
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
                let (column, mirror) = (&m.col_as_slice(jt + b)[it..it + height], &mirror[..height]);
                let (top, difference) = magnitudes(column, mirror);
                largest = largest.max(top);
                if difference > worst {
                    worst = difference;
                    let place = column.iter().zip(mirror).position(|(a, b)| (a - b).abs() == difference);
                    at = (it + place.unwrap_or(0), jt + b);
                }
            }
        }
    }
    if worst > ASYMMETRY * largest {
        let (row, col) = at;
        return Err(Error::Asymmetric { row, col, value: m[(row, col)], mirrored: m[(col, row)] });
    }
    if worst > 0.0 {
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
