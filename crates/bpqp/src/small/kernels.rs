//! Dense linear algebra of small order on one matrix in each lane. A number of all lanes is a vector, a matrix its rows one after
//! the other; no lane knows of the others, so that what one computes is the same in any company.

use pulp::Simd;

/// Rows that are worked on together: their sums do not wait for each other.
const ROWS: usize = 4;

/// The same for blocks of rows `at..at + R`, four while there are as many.
macro_rules! by_rows {
    ($count:expr, $at:ident, $rows:ident => $body:expr) => {
        let count = $count;
        let mut $at = 0;
        while $at + ROWS <= count {
            const $rows: usize = ROWS;
            $body;
            $at += ROWS;
        }
        match count - $at {
            3 => {
                const $rows: usize = 3;
                $body;
            }
            2 => {
                const $rows: usize = 2;
                $body;
            }
            1 => {
                const $rows: usize = 1;
                $body;
            }
            _ => {}
        }
    };
}

/// The first `len` numbers of consecutive rows, each of `n`.
#[inline(always)]
fn heads<V, const R: usize>(rows: &[V], n: usize, len: usize) -> [&[V]; R] {
    let mut each: [&[V]; R] = [&[]; R];
    for (r, own) in each.iter_mut().enumerate() {
        *own = &rows[r * n..][..len];
    }
    each
}

/// Inner products of the first numbers of consecutive rows with `by`.
#[inline(always)]
fn dots<S: Simd, const R: usize>(simd: S, rows: &[S::f64s], n: usize, by: &[S::f64s]) -> [S::f64s; R] {
    let each: [&[S::f64s]; R] = heads(rows, n, by.len());
    let mut sums = [simd.splat_f64s(0.0); R];
    for k in 0..by.len() {
        for r in 0..R {
            sums[r] = simd.mul_add_e_f64s(each[r][k], by[k], sums[r]);
        }
    }
    sums
}

/// `out -= m'v` for consecutive rows of `n` numbers, of which the first ones count.
#[inline(always)]
fn subtract<S: Simd, const R: usize>(simd: S, rows: &[S::f64s], n: usize, v: [S::f64s; R], out: &mut [S::f64s]) {
    let each: [&[S::f64s]; R] = heads(rows, n, out.len());
    for k in 0..out.len() {
        let mut sum = out[k];
        for r in 0..R {
            sum = simd.negate_mul_add_e_f64s(each[r][k], v[r], sum);
        }
        out[k] = sum;
    }
}

#[inline(always)]
fn first<V: Copy, const R: usize>(v: &[V]) -> [V; R] {
    let mut out = [v[0]; R];
    out.copy_from_slice(&v[..R]);
    out
}

/// `out = m x` for rows of the length of x.
#[inline(always)]
pub(super) fn multiply<S: Simd>(simd: S, m: &[S::f64s], x: &[S::f64s], out: &mut [S::f64s]) {
    let n = x.len();
    by_rows!(out.len(), at, R => {
        let sums: [S::f64s; R] = dots(simd, &m[at * n..], n, x);
        out[at..at + R].copy_from_slice(&sums);
    });
}

/// `out -= m'v` for rows of the length of `out`.
#[inline(always)]
pub(super) fn subtract_transposed<S: Simd>(simd: S, m: &[S::f64s], v: &[S::f64s], out: &mut [S::f64s]) {
    let n = out.len();
    by_rows!(v.len(), at, R => subtract::<S, R>(simd, &m[at * n..], n, first(&v[at..]), out));
}

/// Overwrites the first `n` rows, the lower triangle of a symmetric matrix, by its Cholesky factor L, with the inverses of the
/// pivots on its diagonal, and every further row c by the one of `c L^-T`. The squares of the pivots go to `pivots`; from one
/// that is not positive on a lane has no numbers.
#[inline(always)]
pub(super) fn eliminate<S: Simd>(simd: S, t: &mut [S::f64s], pivots: &mut [S::f64s]) {
    let n = pivots.len();
    let rows = t.len() / n.max(1);
    let one = simd.splat_f64s(1.0);
    for j in 0..n {
        let (above, below) = t.split_at_mut((j + 1) * n);
        let row = &mut above[j * n..];
        let by = &row[..j];
        let [sum] = dots(simd, by, n, by);
        let pivot = simd.sub_f64s(row[j], sum);
        let inverse = simd.div_f64s(one, simd.sqrt_f64s(pivot));
        (pivots[j], row[j]) = (pivot, inverse);
        let by = &row[..j];
        by_rows!(rows - j - 1, at, R => {
            let block = &mut below[at * n..][..R * n];
            let sums: [S::f64s; R] = dots(simd, block, n, by);
            for r in 0..R {
                let own = &mut block[r * n + j];
                *own = simd.mul_f64s(simd.sub_f64s(*own, sums[r]), inverse);
            }
        });
    }
}

/// `x = L^-1 x` with a factor of [`eliminate`].
#[inline(always)]
pub(super) fn solve_lower<S: Simd>(simd: S, l: &[S::f64s], x: &mut [S::f64s]) {
    let n = x.len();
    by_rows!(n, at, R => {
        let (done, left) = x.split_at_mut(at);
        let sums: [S::f64s; R] = dots(simd, &l[at * n..], n, done);
        let left = &mut left[..R];
        for r in 0..R {
            let row = &l[(at + r) * n + at..][..r + 1];
            let mut sum = simd.sub_f64s(left[r], sums[r]);
            for k in 0..r {
                sum = simd.negate_mul_add_e_f64s(row[k], left[k], sum);
            }
            left[r] = simd.mul_f64s(sum, row[r]);
        }
    });
}

/// One block of [`solve_upper`].
#[inline(always)]
fn upper_block<S: Simd, const R: usize>(simd: S, l: &[S::f64s], at: usize, x: &mut [S::f64s]) {
    let n = x.len();
    let (before, own) = x.split_at_mut(at);
    let own = &mut own[..R];
    for r in (0..R).rev() {
        let row = &l[(at + r) * n + at..][..r + 1];
        let v = simd.mul_f64s(own[r], row[r]);
        own[r] = v;
        for k in 0..r {
            own[k] = simd.negate_mul_add_e_f64s(row[k], v, own[k]);
        }
    }
    subtract::<S, R>(simd, &l[at * n..], n, first(own), before);
}

/// `x = L^-T x` with a factor of [`eliminate`].
#[inline(always)]
pub(super) fn solve_upper<S: Simd>(simd: S, l: &[S::f64s], x: &mut [S::f64s]) {
    let n = x.len();
    let mut at = n - n % ROWS;
    match n % ROWS {
        3 => upper_block::<S, 3>(simd, l, at, x),
        2 => upper_block::<S, 2>(simd, l, at, x),
        1 => upper_block::<S, 1>(simd, l, at, x),
        _ => {}
    }
    while at > 0 {
        at -= ROWS;
        upper_block::<S, ROWS>(simd, l, at, x);
    }
}

/// `out = y y'`, of the rows of `y`, of `n` numbers each.
#[inline(always)]
pub(super) fn gram<S: Simd>(simd: S, y: &[S::f64s], n: usize, out: &mut [S::f64s]) {
    let rows = y.len() / n.max(1);
    for j in 0..rows {
        let by = &y[j * n..][..n];
        by_rows!(rows - j, at, R => {
            let sums: [S::f64s; R] = dots(simd, &y[(j + at) * n..], n, by);
            for (r, sum) in sums.into_iter().enumerate() {
                out[(j + at + r) * rows + j] = sum;
                out[j * rows + j + at + r] = sum;
            }
        });
    }
}
