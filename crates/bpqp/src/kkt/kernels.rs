//! Kernels for the orders at which a general library loses its time in calls: Cholesky factorization and one-vector
//! triangular solves, four columns at a time, in the vector instructions that the machine turns out to have.

use crate::matrix::columns::{BLOCK, below, column, columns, products, subtract};
use faer::MatRef;
use pulp::{Arch, Simd, WithSimd};

/// The columns of a lower triangle, each from the diagonal of its block of four on, or from its own.
pub(super) trait Lower<'a>: Copy {
    /// Columns `j..j + 4` from row j on; j is a multiple of 4.
    fn columns(self, j: usize) -> [&'a [f64]; BLOCK];
    /// Column j from its diagonal on.
    fn column(self, j: usize) -> &'a [f64];
}

impl<'a> Lower<'a> for MatRef<'a, f64> {
    #[inline(always)]
    fn columns(self, j: usize) -> [&'a [f64]; BLOCK] {
        columns(self, j, j)
    }

    #[inline(always)]
    fn column(self, j: usize) -> &'a [f64] {
        column(self, j, j)
    }
}

struct SolveLower<'a, L>(L, &'a mut [f64]);

impl<'l, L: Lower<'l>> WithSimd for SolveLower<'_, L> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let SolveLower(l, x) = self;
        let n = x.len();
        let blocked = n - n % BLOCK;
        for j in (0..blocked).step_by(BLOCK) {
            let c = l.columns(j);
            // the reciprocals do not wait for each other, the quotients would
            let inverse = [1.0 / c[0][0], 1.0 / c[1][1], 1.0 / c[2][2], 1.0 / c[3][3]];
            let (head, rest) = x[j..].split_at_mut(BLOCK);
            let t0 = head[0] * inverse[0];
            let t1 = (head[1] - c[0][1] * t0) * inverse[1];
            let t2 = (head[2] - c[0][2] * t0 - c[1][2] * t1) * inverse[2];
            let t3 = (head[3] - c[0][3] * t0 - c[1][3] * t1 - c[2][3] * t2) * inverse[3];
            let t = [t0, t1, t2, t3];
            head.copy_from_slice(&t);
            subtract(simd, rest, below(c), t);
        }
        for j in blocked..n {
            let c = l.column(j);
            x[j] /= c[0];
            for i in j + 1..n {
                x[i] -= c[i - j] * x[j];
            }
        }
    }
}

struct SolveLowerTransposed<'a, L>(L, &'a mut [f64]);

impl<'l, L: Lower<'l>> WithSimd for SolveLowerTransposed<'_, L> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let SolveLowerTransposed(l, x) = self;
        let n = x.len();
        let blocked = n - n % BLOCK;
        for j in (blocked..n).rev() {
            let c = l.column(j);
            let sum: f64 = (j + 1..n).map(|i| c[i - j] * x[i]).sum();
            x[j] = (x[j] - sum) / c[0];
        }
        for j in (0..blocked).step_by(BLOCK).rev() {
            let c = l.columns(j);
            let inverse = [1.0 / c[0][0], 1.0 / c[1][1], 1.0 / c[2][2], 1.0 / c[3][3]];
            let (head, rest) = x[j..].split_at_mut(BLOCK);
            let s = products(simd, rest, below(c));
            let t3 = (head[3] - s[3]) * inverse[3];
            let t2 = (head[2] - s[2] - c[2][3] * t3) * inverse[2];
            let t1 = (head[1] - s[1] - c[1][3] * t3 - c[1][2] * t2) * inverse[1];
            let t0 = (head[0] - s[0] - c[0][3] * t3 - c[0][2] * t2 - c[0][1] * t1) * inverse[0];
            head.copy_from_slice(&[t0, t1, t2, t3]);
        }
    }
}

/// `x = L^-1 x`.
pub(crate) fn solve_lower(l: MatRef<'_, f64>, x: &mut [f64]) {
    solve_lower_of(l, x);
}

/// `x = L^-T x`.
pub(crate) fn solve_lower_transposed(l: MatRef<'_, f64>, x: &mut [f64]) {
    solve_lower_transposed_of(l, x);
}

/// The same of a triangle in any form.
pub(super) fn solve_lower_of<'l>(l: impl Lower<'l>, x: &mut [f64]) {
    Arch::new().dispatch(SolveLower(l, x));
}

/// The same of a triangle in any form.
pub(super) fn solve_lower_transposed_of<'l>(l: impl Lower<'l>, x: &mut [f64]) {
    Arch::new().dispatch(SolveLowerTransposed(l, x));
}

/// Leading dimension of the buffer of [`cholesky`] for a matrix of order n: whole blocks, and not a multiple of 512 bytes,
/// at which columns compete for the same lines of the cache.
pub(crate) fn padded(n: usize) -> usize {
    let order = n.next_multiple_of(BLOCK);
    if order > 0 && order % 64 == 0 { order + BLOCK } else { order }
}

/// The first `n` columns, all with `ld` rows, and the rest of the order `ld`.
struct Bordered<'a> {
    columns: &'a mut [f64],
    rest: &'a mut [f64],
    n: usize,
    ld: usize,
}

impl WithSimd for Bordered<'_> {
    type Output = bool;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> bool {
        let Bordered { columns, rest, n, ld } = self;
        for j in (0..n).step_by(BLOCK) {
            let (done, left) = columns.split_at_mut(j * ld);
            let (c0, left) = left.split_at_mut(ld);
            let (c1, left) = left.split_at_mut(ld);
            let (c2, left) = left.split_at_mut(ld);
            let block = [&mut c0[j..], &mut c1[j..], &mut c2[j..], &mut left[j..ld]];
            update(simd, done, j, ld, block);
            let block = [&mut c0[j..], &mut c1[j..], &mut c2[j..], &mut left[j..ld]];
            if !eliminate(simd, block) {
                return false;
            }
        }
        let order = ld - n;
        for j in (0..order).step_by(BLOCK) {
            let (c0, left) = rest[j * order..].split_at_mut(order);
            let (c1, left) = left.split_at_mut(order);
            let (c2, left) = left.split_at_mut(order);
            update(simd, columns, n + j, ld, [&mut c0[j..], &mut c1[j..], &mut c2[j..], &mut left[j..order]]);
        }
        true
    }
}

/// Vectors `r..r + R` of four columns, less what the columns in `done` contribute: accumulated in registers.
#[inline(always)]
fn update_rows<S: Simd, const R: usize>(
    simd: S,
    done: &[f64],
    (j, n, r): (usize, usize, usize),
    columns: &mut [&mut [S::f64s]; BLOCK],
) {
    let mut sums = [[simd.splat_f64s(0.0); BLOCK]; R];
    for k in done.chunks_exact(n) {
        let k = &k[j..];
        let (factors, rows) = (&k[..BLOCK], &S::as_simd_f64s(k).0[r..r + R]);
        for c in 0..BLOCK {
            let factor = simd.splat_f64s(factors[c]);
            for i in 0..R {
                sums[i][c] = simd.mul_add_f64s(factor, rows[i], sums[i][c]);
            }
        }
    }
    for (c, column) in columns.iter_mut().enumerate() {
        for (v, sum) in column[r..r + R].iter_mut().zip(&sums) {
            *v = simd.sub_f64s(*v, sum[c]);
        }
    }
}

/// Subtracts from four columns (rows j..n) what the j columns before them contribute.
#[inline(always)]
fn update<S: Simd>(simd: S, done: &[f64], j: usize, n: usize, block: [&mut [f64]; BLOCK]) {
    let [c0, c1, c2, c3] = block;
    let (c0, c1, c2, c3) =
        (S::as_mut_simd_f64s(c0), S::as_mut_simd_f64s(c1), S::as_mut_simd_f64s(c2), S::as_mut_simd_f64s(c3));
    let mut columns = [c0.0, c1.0, c2.0, c3.0];
    let heads = columns[0].len();
    let mut r = 0;
    while r + 3 <= heads {
        update_rows::<S, 3>(simd, done, (j, n, r), &mut columns);
        r += 3;
    }
    match heads - r {
        2 => update_rows::<S, 2>(simd, done, (j, n, r), &mut columns),
        1 => update_rows::<S, 1>(simd, done, (j, n, r), &mut columns),
        _ => {}
    }
    let first = heads * S::F64_LANES;
    for (c, tail) in [c0.1, c1.1, c2.1, c3.1].into_iter().enumerate() {
        for (i, v) in tail.iter_mut().enumerate() {
            *v -= done.chunks_exact(n).map(|k| k[j + c] * k[j + first + i]).sum::<f64>();
        }
    }
}

/// Factors the leading 4 x 4 block of four updated columns and divides the rows below by it.
#[inline(always)]
fn eliminate<S: Simd>(simd: S, block: [&mut [f64]; BLOCK]) -> bool {
    let [c0, c1, c2, c3] = block;
    let (h0, c0) = c0.split_at_mut(BLOCK);
    let (h1, c1) = c1.split_at_mut(BLOCK);
    let (h2, c2) = c2.split_at_mut(BLOCK);
    let (h3, c3) = c3.split_at_mut(BLOCK);
    let d0 = h0[0];
    let i0 = 1.0 / d0.sqrt();
    let (l10, l20, l30) = (h0[1] * i0, h0[2] * i0, h0[3] * i0);
    let d1 = h1[1] - l10 * l10;
    let i1 = 1.0 / d1.sqrt();
    let (l21, l31) = ((h1[2] - l20 * l10) * i1, (h1[3] - l30 * l10) * i1);
    let d2 = h2[2] - l20 * l20 - l21 * l21;
    let i2 = 1.0 / d2.sqrt();
    let l32 = (h2[3] - l30 * l20 - l31 * l21) * i2;
    let d3 = h3[3] - l30 * l30 - l31 * l31 - l32 * l32;
    let i3 = 1.0 / d3.sqrt();
    // false for NaN too
    if !(d0 > 0.0 && d1 > 0.0 && d2 > 0.0 && d3 > 0.0) {
        return false;
    }
    h0.copy_from_slice(&[d0 * i0, l10, l20, l30]);
    h1.copy_from_slice(&[0.0, d1 * i1, l21, l31]);
    h2.copy_from_slice(&[0.0, 0.0, d2 * i2, l32]);
    h3.copy_from_slice(&[0.0, 0.0, 0.0, d3 * i3]);
    let (c0, c1, c2, c3) =
        (S::as_mut_simd_f64s(c0), S::as_mut_simd_f64s(c1), S::as_mut_simd_f64s(c2), S::as_mut_simd_f64s(c3));
    let (s0, s1) = (simd.splat_f64s(i0), simd.splat_f64s(i1));
    let (s2, s3) = (simd.splat_f64s(i2), simd.splat_f64s(i3));
    let (n10, n20, n21) = (simd.splat_f64s(-l10), simd.splat_f64s(-l20), simd.splat_f64s(-l21));
    let (n30, n31, n32) = (simd.splat_f64s(-l30), simd.splat_f64s(-l31), simd.splat_f64s(-l32));
    for (((a, b), c), d) in c0.0.iter_mut().zip(c1.0).zip(c2.0).zip(c3.0) {
        let x0 = simd.mul_f64s(*a, s0);
        let x1 = simd.mul_f64s(simd.mul_add_f64s(n10, x0, *b), s1);
        let x2 = simd.mul_f64s(simd.mul_add_f64s(n21, x1, simd.mul_add_f64s(n20, x0, *c)), s2);
        let x3 = simd.mul_add_f64s(n32, x2, simd.mul_add_f64s(n31, x1, simd.mul_add_f64s(n30, x0, *d)));
        (*a, *b, *c, *d) = (x0, x1, x2, simd.mul_f64s(x3, s3));
    }
    for (((a, b), c), d) in c0.1.iter_mut().zip(c1.1).zip(c2.1).zip(c3.1) {
        *a *= i0;
        *b = (*b - l10 * *a) * i1;
        *c = (*c - l20 * *a - l21 * *b) * i2;
        *d = (*d - l30 * *a - l31 * *b - l32 * *c) * i3;
    }
    true
}

/// Overwrites the lower triangle of the column-major matrix `a` of order `n`, a multiple of 4, by its Cholesky factor;
/// false if a pivot is not positive. `n^3/3` flops, left-looking, so that a column is written once.
pub(crate) fn cholesky(a: &mut [f64], n: usize) -> bool {
    bordered(a, &mut [], (n, n))
}

/// Eliminates the first `n` columns of a symmetric matrix of order `ld`, both multiples of 4: of `columns`, which are these,
/// rows `n..` hold `C` and get `C L^-T`; `rest`, what is left of the matrix, loses `C L^-T L^-1 C'`. Lower triangles only.
/// False if a pivot is not positive.
pub(crate) fn bordered(columns: &mut [f64], rest: &mut [f64], (n, ld): (usize, usize)) -> bool {
    Arch::new().dispatch(Bordered { columns, rest, n, ld })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bpqp_testkit::Rng;
    use faer::Mat;

    /// A lower triangle of order n, entries of one size, diagonal away from 0.
    fn lower(n: usize, rng: &mut Rng) -> Mat<f64> {
        Mat::from_fn(n, n, |i, j| match i.cmp(&j) {
            std::cmp::Ordering::Greater => rng.normal() / n as f64,
            std::cmp::Ordering::Equal => 1.0 + rng.uniform(),
            std::cmp::Ordering::Less => f64::NAN, // never read
        })
    }

    fn product(l: &Mat<f64>, i: usize, j: usize) -> f64 {
        (0..=i.min(j)).map(|k| l[(i, k)] * l[(j, k)]).sum()
    }

    #[test]
    fn factors_and_solves_invert_products() {
        let mut rng = Rng::new(7);
        for n in (0..20).chain([31, 64, 101]) {
            let l = lower(n, &mut rng);
            let x: Vec<f64> = (0..n).map(|_| rng.normal()).collect();
            let mut b: Vec<f64> = (0..n).map(|i| (0..=i).map(|k| l[(i, k)] * x[k]).sum()).collect();
            solve_lower(l.as_ref(), &mut b);
            let mut t: Vec<f64> = (0..n).map(|i| (i..n).map(|k| l[(k, i)] * x[k]).sum()).collect();
            solve_lower_transposed(l.as_ref(), &mut t);
            for i in 0..n {
                assert!((b[i] - x[i]).abs() < 1e-12 && (t[i] - x[i]).abs() < 1e-12, "order {n}, entry {i}");
            }
            let order = padded(n);
            let mut a = vec![0.0; order * order];
            for j in 0..order {
                for i in j..order {
                    a[j * order + i] = if i < n { product(&l, i, j) } else { f64::from(i == j) };
                }
            }
            assert!(cholesky(&mut a, order));
            for j in 0..n {
                for i in j..n {
                    assert!((a[j * order + i] - l[(i, j)]).abs() < 1e-12, "order {n}, entry ({i}, {j})");
                }
            }
        }
    }

    #[test]
    fn the_rest_of_a_bordered_matrix_loses_what_was_eliminated() {
        let mut rng = Rng::new(5);
        for (n, k) in [(1, 1), (4, 3), (5, 9), (10, 10), (20, 0), (0, 6), (33, 50)] {
            let l = lower(n, &mut rng);
            let c = Mat::from_fn(k, n, |_, _| rng.normal());
            let first = n.next_multiple_of(BLOCK);
            let ld = padded(first + k);
            let order = ld - first;
            let (mut columns, mut rest) = (vec![0.0; first * ld], vec![0.0; order * order]);
            for j in 0..first {
                (j..first).for_each(|i| {
                    columns[j * ld + i] = if i < n { product(&l, i, j) } else { f64::from(i == j) };
                });
                (0..k).filter(|_| j < n).for_each(|i| columns[j * ld + first + i] = c[(i, j)]);
            }
            assert!(bordered(&mut columns, &mut rest, (first, ld)));
            let y = |i: usize, j: usize| columns[j * ld + first + i];
            for i in 0..k {
                for j in 0..n {
                    let back: f64 = (0..=j).map(|t| y(i, t) * l[(j, t)]).sum();
                    assert!((back - c[(i, j)]).abs() < 1e-11, "{n} and {k}, entry ({i}, {j})");
                }
                for j in 0..=i {
                    let expected: f64 = (0..n).map(|t| y(i, t) * y(j, t)).sum();
                    assert!((rest[j * order + i] + expected).abs() < 1e-10, "{n} and {k}, entry ({i}, {j})");
                }
            }
        }
    }

    #[test]
    fn an_indefinite_matrix_is_refused() {
        for bad in 0..8 {
            let mut a = vec![0.0; 64];
            (0..8).for_each(|i| a[9 * i] = if i == bad { -1e-3 } else { 1.0 });
            assert!(!cholesky(&mut a, 8), "pivot {bad}");
            a[9 * bad] = f64::NAN;
            assert!(!cholesky(&mut a, 8), "NaN at {bad}");
        }
    }
}
