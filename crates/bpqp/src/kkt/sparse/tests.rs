//! Against a dense LU of the system that was asked for.

use super::*;
use crate::{Csc, Hessian, Matrix, Qp, matrix::norm_inf};
use faer::prelude::*;
use faer::{Col, Mat};

/// SplitMix64: enough for tests, and the same everywhere.
struct Rng(u64);

impl Rng {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
    fn vec(&mut self, n: usize) -> Vec<f64> {
        (0..n).map(|_| self.normal()).collect()
    }
    fn mat(&mut self, rows: usize, cols: usize, density: f64) -> Mat<f64> {
        Mat::from_fn(rows, cols, |_, _| if self.unit() < density { self.normal() } else { 0.0 })
    }
}

fn hessians(rng: &mut Rng, n: usize) -> Vec<Hessian> {
    let sparse = {
        let r = rng.mat(n, n, 2.0 / n as f64);
        Csc::from_dense(&(r.transpose() * &r))
    };
    let r = rng.mat(n, n, 1.0);
    vec![
        Hessian::Zero(n),
        Hessian::Diagonal((0..n).map(|_| rng.unit() + 0.1).collect()),
        Hessian::Sparse(sparse),
        Hessian::from(r.transpose() * &r),
        Hessian::LowRank { d: (0..n).map(|_| rng.unit() + 0.1).collect(), f: rng.mat(n, 3, 1.0) },
        Hessian::BlockDiagonal(
            [n / 3, n - n / 3]
                .map(|n| {
                    let r = rng.mat(n, n, 1.0);
                    r.transpose() * &r
                })
                .to_vec(),
        ),
    ]
}

fn problem(rng: &mut Rng, p: Hessian, m_eq: usize, m_in: usize) -> Qp {
    let n = p.n();
    let (mut a, mut g) = (rng.mat(m_eq, n, 0.3), rng.mat(m_in, n, 0.3));
    // no empty rows
    (0..m_eq).for_each(|i| a[(i, i)] = 2.0);
    (0..m_in).for_each(|i| g[(i, n - 1 - i)] = 2.0);
    let qp = Qp::new(p, vec![0.0; n]).unwrap();
    let qp = qp.equality(Csc::from_dense(&a), vec![0.0; m_eq]).unwrap();
    qp.inequality(Csc::from_dense(&g), vec![0.0; m_in]).unwrap()
}

/// The system with pinned and removed rows and columns neutralized.
fn dense(qp: &Qp, dx: &[f64], dc: &[f64]) -> Mat<f64> {
    let (n, m, m_eq) = (qp.n(), dc.len(), qp.n_equality());
    let (p, a, g) = (qp.p.to_dense(), qp.a.to_dense(), qp.g.to_dense());
    let given = |i: usize| if i < n { dx[i] } else { dc[i - n] };
    Mat::from_fn(n + m, n + m, |i, j| {
        let c = |r: usize, j: usize| if r < m_eq { a[(r, j)] } else { g[(r - m_eq, j)] };
        let sign = if i < n { 1.0 } else { -1.0 };
        if given(i).is_infinite() || given(j).is_infinite() {
            return if i == j { sign } else { 0.0 };
        }
        let base = match (i < n, j < n) {
            (true, true) => p[(i, j)],
            (true, false) => c(j - n, i),
            (false, true) => c(i - n, j),
            (false, false) => 0.0,
        };
        base + if i == j { sign * given(i) } else { 0.0 }
    })
}

fn relative_residual(k: &Mat<f64>, x: &[f64], b: &[f64]) -> f64 {
    let r = k * Col::from_fn(x.len(), |i| x[i]) - Col::from_fn(b.len(), |i| b[i]);
    let scale = norm_inf(b) + norm_inf(x) * k.as_ref().norm_max();
    if scale == 0.0 { 0.0 } else { r.norm_max() / scale }
}

fn check(kkt: &mut SparseKkt, qp: &Qp, rng: &mut Rng, dx: &[f64], dc: &[f64], tol: f64) {
    kkt.factor(dx, dc).unwrap();
    let (mut w, mut v) = (rng.vec(dx.len()), rng.vec(dc.len()));
    let mut b: Vec<f64> = w.iter().chain(&v).copied().collect();
    for (b, d) in b.iter_mut().zip(dx.iter().chain(dc)) {
        if d.is_infinite() {
            *b = 0.0;
        }
    }
    kkt.solve(&mut w, &mut v);
    let k = dense(qp, dx, dc);
    let expected = k.partial_piv_lu().solve(Col::from_fn(b.len(), |i| b[i]));
    let x = [w, v].concat();
    let residual = relative_residual(&k, &x, &b);
    assert!(residual < 1e-14, "residual {residual}");
    for i in 0..x.len() {
        let error = (x[i] - expected[i]).abs() / (1.0 + expected.norm_max());
        assert!(error < tol, "entry {i}: {} instead of {} ({})", x[i], expected[i], qp.n());
    }
}

#[test]
fn agrees_with_dense_lu_for_every_hessian() {
    let mut rng = Rng(1);
    for n in [1, 7, 30, 90] {
        for p in hessians(&mut rng, n) {
            let qp = problem(&mut rng, p, n / 4, n / 2);
            let m = n / 4 + n / 2;
            let mut kkt = SparseKkt::new(qp.kkt()).unwrap();
            // a splitting, an interior point, an active set: on one analysis
            check(&mut kkt, &qp, &mut rng, &vec![1e-3; n], &vec![0.1; m], 1e-9);
            let wide = |rng: &mut Rng| 10f64.powf(8.0 * rng.unit() - 4.0);
            let (dx, dc): (Vec<f64>, Vec<f64>) =
                ((0..n).map(|_| wide(&mut rng)).collect(), (0..m).map(|_| wide(&mut rng)).collect());
            check(&mut kkt, &qp, &mut rng, &dx, &dc, 1e-9);
            let dx: Vec<f64> =
                dx.iter().enumerate().map(|(i, &d)| if i % 3 == 0 { f64::INFINITY } else { d }).collect();
            let dc: Vec<f64> =
                dc.iter().enumerate().map(|(i, &d)| if i % 2 == 0 { f64::INFINITY } else { d }).collect();
            check(&mut kkt, &qp, &mut rng, &dx, &dc, 1e-9);
            // small instances may lose a whole row to the pins
            if n >= 30 && !matches!(&*qp.p, Hessian::Zero(_) | Hessian::Sparse(_)) {
                let dx: Vec<f64> = (0..n).map(|i| if i % 5 == 0 { f64::INFINITY } else { 0.0 }).collect();
                let dc: Vec<f64> = (0..m).map(|i| if i < n / 4 || i % 3 == 0 { 0.0 } else { f64::INFINITY }).collect();
                check(&mut kkt, &qp, &mut rng, &dx, &dc, 1e-6);
            }
        }
    }
}

#[test]
fn new_numbers_on_the_same_pattern() {
    let mut rng = Rng(2);
    let p = hessians(&mut rng, 20).swap_remove(2);
    let qp = problem(&mut rng, p, 5, 5);
    let mut kkt = SparseKkt::new(qp.kkt()).unwrap();
    let Hessian::Sparse(p) = &*qp.p else { unreachable!() };
    let mut p = p.clone();
    p.values_mut().iter_mut().for_each(|v| *v *= 1e5);
    let next = qp.clone().with_p(p).unwrap();
    kkt.load(next.kkt()).unwrap();
    check(&mut kkt, &next, &mut rng, &[0.1; 20], &[0.2; 10], 1e-9);
    let other = problem(&mut rng, Hessian::Zero(20), 5, 5);
    assert!(matches!(kkt.load(other.kkt()), Err(Error::Structure { argument: "P", .. })));
}

#[test]
fn dependent_rows_with_a_consistent_right_hand_side() {
    let mut rng = Rng(3);
    let n = 12;
    let a = rng.mat(3, n, 1.0);
    // rows 3 and 4 repeat and combine rows 0 to 2
    let c = Mat::from_fn(5, n, |i, j| match i {
        0..3 => a[(i, j)],
        3 => 2.0 * a[(0, j)],
        _ => a[(1, j)] - a[(2, j)],
    });
    for p in hessians(&mut rng, n) {
        let p = if matches!(p, Hessian::Zero(_)) { Hessian::Diagonal(vec![1.0; n]) } else { p };
        if matches!(p, Hessian::Sparse(_)) {
            continue;
        }
        let qp = Qp::new(p, vec![0.0; n]).unwrap().equality(Csc::from_dense(&c), vec![0.0; 5]).unwrap();
        let mut kkt = SparseKkt::new(qp.kkt()).unwrap();
        kkt.factor(&vec![0.0; n], &[0.0; 5]).unwrap();
        let truth = rng.vec(n);
        let mut v = vec![0.0; 5];
        qp.a.mul_add(1.0, &truth, &mut v);
        let mut w = rng.vec(n);
        let b = [w.clone(), v.clone()].concat();
        kkt.solve(&mut w, &mut v);
        let k = dense(&qp, &vec![0.0; n], &[0.0; 5]);
        let error = relative_residual(&k, &[w, v].concat(), &b);
        assert!(error < 1e-13, "{error}");
        assert!(kkt.deficient());
        kkt.factor(&vec![0.0; n], &[0.0, 0.0, 0.0, f64::INFINITY, f64::INFINITY]).unwrap();
        assert!(!kkt.deficient());
    }
}

#[test]
fn a_singular_hessian_with_a_consistent_right_hand_side() {
    // min 1/2 x1^2 over (x1, x2, x3) with x1 + x2 = 1: x2 = 1 - x1 is determined, x3 is not and keeps its start 0
    let qp = Qp::new(Hessian::Diagonal(vec![1.0, 0.0, 0.0]), vec![0.0; 3]).unwrap();
    let qp = qp.equality(Matrix::from_rows(1, 3, &[1.0, 1.0, 0.0]).unwrap(), vec![1.0]).unwrap();
    let mut kkt = SparseKkt::new(qp.kkt()).unwrap();
    kkt.factor(&[0.0; 3], &[0.0]).unwrap();
    let (mut w, mut v) = (vec![0.0; 3], vec![1.0]);
    kkt.solve(&mut w, &mut v);
    let expected = [0.0, 1.0, 0.0];
    assert!(w.iter().zip(expected).all(|(w, e)| (w - e).abs() < 1e-13) && v[0].abs() < 1e-13, "{w:?} {v:?}");
}

#[test]
fn inertia() {
    // x1^2 - x2^2 has negative curvature, but none on {x2 = x1 / 2}
    let p = Mat::from_fn(2, 2, |i, j| if i == j { [1.0, -1.0][i] } else { 0.0 });
    let free = Qp::new(Hessian::from(p), vec![0.0; 2]).unwrap();
    let mut kkt = SparseKkt::new(free.kkt()).unwrap();
    assert_eq!(kkt.factor(&[0.0; 2], &[]), Err(Breakdown::Inertia));
    assert_eq!(kkt.factor(&[0.0, 2.0], &[]), Ok(()));
    assert_eq!(kkt.factor(&[0.0, f64::INFINITY], &[]), Ok(()));
    assert_eq!(kkt.factor(&[f64::NAN, 0.0], &[]), Err(Breakdown::NotFinite));
    for (slope, expected) in [(0.5, Ok(())), (2.0, Err(Breakdown::Inertia))] {
        let qp = free.clone().equality(Matrix::from_rows(1, 2, &[slope, -1.0]).unwrap(), vec![0.0]).unwrap();
        assert_eq!(SparseKkt::new(qp.kkt()).unwrap().factor(&[0.0; 2], &[0.0]), expected);
    }
}

#[test]
fn badly_scaled_data() {
    let mut rng = Rng(5);
    let n = 40;
    let p = hessians(&mut rng, n).swap_remove(3);
    let Hessian::Dense(p) = p else { unreachable!() };
    let s: Vec<f64> = (0..n).map(|_| 10f64.powf(6.0 * rng.unit() - 3.0)).collect();
    let scaled = Mat::from_fn(n, n, |i, j| p[(i, j)] * s[i] * s[j] + if i == j { 1e-3 * s[i] * s[i] } else { 0.0 });
    let qp = problem(&mut rng, Hessian::from(scaled), 8, 8);
    let mut kkt = SparseKkt::new(qp.kkt()).unwrap();
    kkt.factor(&vec![0.0; n], &[0.0; 16]).unwrap();
    let (mut w, mut v) = (rng.vec(n), rng.vec(16));
    let b = [w.clone(), v.clone()].concat();
    kkt.solve(&mut w, &mut v);
    let k = dense(&qp, &vec![0.0; n], &[0.0; 16]);
    assert!(relative_residual(&k, &[w, v].concat(), &b) < 1e-14);
}

#[test]
fn curvature_far_below_the_regularization() {
    // a chain of states x_{k+1} = x_k + u_k whose controls cost 1e-8 of the rest: regularized at 1e-8 the refinement
    // crawls, with the sharper one it arrives
    let n = 40;
    let d: Vec<f64> = (0..2 * n).map(|i| if i < n { 0.0 } else { 1e-8 }).collect();
    let mut entries = Vec::new();
    for k in 0..n {
        entries.push((k, k, 1.0));
        entries.push((k, n + k, -1.0));
        if k > 0 {
            entries.push((k, k - 1, -1.0));
        }
    }
    entries.push((n, n - 1, 1.0));
    let a = Csc::from_triplets(n + 1, 2 * n, &entries).unwrap();
    let qp = Qp::new(Hessian::Diagonal(d), vec![0.0; 2 * n]).unwrap().equality(a, vec![0.0; n + 1]).unwrap();
    let mut kkt = SparseKkt::new(qp.kkt()).unwrap();
    kkt.factor(&vec![0.0; 2 * n], &vec![0.0; n + 1]).unwrap();
    let (mut w, mut v) = (vec![0.0; 2 * n], vec![0.0; n + 1]);
    v[n] = 1.0;
    kkt.solve(&mut w, &mut v);
    // equal controls
    assert!(w[n..].iter().all(|u| (u - 1.0 / n as f64).abs() < 1e-9), "{:?}", &w[n..]);
}

#[test]
fn faces_and_dependence_of_small_parts_in_any_units() {
    // copies of a Hessian of rank 1 with one row, along whose null space it vanishes; with a second row that holds it; and
    // with one that only repeats the first in another unit
    let p = [[4.0, -2.0, -2.0], [-2.0, 1.0, 1.0], [-2.0, 1.0, 1.0]];
    let row = [-1.0, 1.0, -1.0];
    let repeated = row.map(|v| 4096.0 * v);
    let cases: [(&[[f64; 3]], bool, bool); 3] =
        [(&[row], true, false), (&[row, [0.0, 1.0, 3.0]], false, false), (&[row, repeated], true, true)];
    for spread in [0, 20] {
        let unit = |i: usize| f64::from((i as i32 * 7) % (spread + 1) - spread / 2).exp2();
        for (rows, flat, dependent) in cases {
            let (copies, k) = (20, rows.len());
            let hessian = Mat::from_fn(3 * copies, 3 * copies, |i, j| match i / 3 == j / 3 {
                true => p[i % 3][j % 3] * unit(i) * unit(j),
                false => 0.0,
            });
            let c = Mat::from_fn(k * copies, 3 * copies, |i, j| match i / k == j / 3 {
                true => rows[i % k][j % 3] * unit(j),
                false => 0.0,
            });
            let qp = Qp::new(Hessian::Sparse(Csc::from_dense(&hessian)), vec![0.0; 3 * copies]).unwrap();
            let qp = qp.equality(Csc::from_dense(&c), vec![0.0; k * copies]).unwrap();
            let mut kkt = SparseKkt::new(qp.kkt()).unwrap();
            kkt.factor(&vec![0.0; 3 * copies], &vec![0.0; k * copies]).unwrap();
            assert_eq!((kkt.flat(), kkt.deficient()), (flat, dependent), "{rows:?} {spread}");
            if flat {
                // nothing is left along (2, 3, 1) in each copy, and the rest is a solution
                let mut w: Vec<f64> = (0..3 * copies).map(|i| p[0][i % 3] * unit(i)).collect();
                let mut v = vec![0.0; k * copies];
                kkt.solve(&mut w, &mut v);
                for w in w.chunks(3).zip(0..).map(|(w, copy)| [0, 1, 2].map(|i| (w[i], unit(3 * copy + i)))) {
                    let along: f64 = w.iter().zip([2.0, 3.0, 1.0]).map(|((w, u), n)| w * n / u).sum();
                    let size: f64 = w.iter().zip([2.0, 3.0, 1.0]).map(|((w, u), n)| (w * n / u).abs()).sum();
                    assert!(along.abs() <= 1e-12 * size, "{along} of {size}");
                }
            }
        }
    }
}

#[test]
fn what_a_removed_row_was_balanced_with_is_solved_for() {
    // the column of the second variable has nothing near the entry of the row of G, which does not hold
    for small in [1e-3, 1e-6, 1e-9, 1e-12] {
        let p = Csc::from_triplets(2, 2, &[(0, 0, 1.0), (0, 1, small), (1, 0, small), (1, 1, 3.0 * small * small)])
            .unwrap();
        let a = Csc::from_triplets(1, 2, &[(0, 0, 1.0)]).unwrap();
        let g = Csc::from_triplets(1, 2, &[(0, 1, 1e5)]).unwrap();
        let qp = Qp::new(Hessian::Sparse(p), vec![0.0; 2]).unwrap().equality(a, vec![0.0]).unwrap();
        let qp = qp.inequality(g, vec![0.0]).unwrap();
        let mut kkt = SparseKkt::new(qp.kkt()).unwrap();
        kkt.factor(&[0.0; 2], &[0.0, f64::INFINITY]).unwrap();
        // x = (2, -1/small): the row of the second variable leaves 2 small - 3 small
        let (mut w, mut v) = ([5.0, -small], [2.0, 0.0]);
        kkt.solve(&mut w, &mut v);
        let right = [2.0, -1.0 / small, 4.0];
        for (found, right) in [w[0], w[1], v[0]].into_iter().zip(right) {
            assert!((found - right).abs() <= 1e-13 * right.abs(), "small = {small:e}: {found} is not {right}");
        }
        // and with all of its rows the system has its first units again
        let solved = |kkt: &mut SparseKkt| {
            kkt.factor(&[0.0; 2], &[0.0, 0.0]).unwrap();
            let (mut w, mut v) = ([5.0, -small], [2.0, 1e5]);
            kkt.solve(&mut w, &mut v);
            (w, v)
        };
        assert_eq!(solved(&mut kkt), solved(&mut SparseKkt::new(qp.kkt()).unwrap()), "small = {small:e}");
    }
}

#[test]
fn what_peels_off_is_what_elimination_finds() {
    let mut rng = Rng(27);
    let mut told = [0; 3];
    for round in 0..200 {
        let n = 6;
        let p = match round % 3 {
            0 => Hessian::Zero(n),
            1 => Hessian::Diagonal((0..n).map(|_| if rng.unit() < 0.5 { 0.0 } else { rng.unit() + 0.1 }).collect()),
            _ => {
                let r = rng.mat(2, n, 0.4);
                Hessian::Sparse(Csc::from_dense(&(r.transpose() * &r)))
            }
        };
        let (m, density) = (1 + round % 6, 0.35);
        let a = rng.mat(m, n, density);
        let qp = Qp::new(p, vec![0.0; n]).unwrap().equality(Csc::from_dense(&a), vec![0.0; m]).unwrap();
        let dx: Vec<f64> = (0..n).map(|_| if rng.unit() < 0.3 { f64::INFINITY } else { 0.0 }).collect();
        let mut kkt = SparseKkt::new(qp.kkt()).unwrap();
        if kkt.factor(&dx, &vec![0.0; m]).is_err() {
            continue;
        }
        let free: Vec<usize> = (0..n).filter(|&j| dx[j] == 0.0).collect();
        let rows = Mat::from_fn(free.len(), m, |j, i| a[(i, free[j])]);
        let whole = qp.p.to_dense();
        let k = Mat::from_fn(free.len(), free.len(), |i, j| whole[(free[i], free[j])]);
        let mut rank = super::super::rank::Rank::default();
        rank.examine(&rows, &k, true);
        if kkt.rows_peel_off() {
            told[0] += 1;
            assert_eq!(rank.rows, m, "round {round}");
        }
        if let Some(flat) = kkt.flat_by_pattern() {
            told[1 + usize::from(flat)] += 1;
            assert_eq!(rank.face.ncols() > 0, flat, "round {round}");
        }
    }
    assert!(told.iter().all(|told| *told > 20), "{told:?}");
}

#[test]
fn a_faint_pivot_is_left_to_elimination() {
    // the second row is the third and a part of the second variable that is small beside its entry in the first
    for (small, told) in [(1.0, true), (1e-9, false)] {
        let a = Mat::from_fn(3, 4, |i, j| [[1.0, 1.0, 0.0, 1.0], [0.0, small, 1.0, 0.0], [0.0, 0.0, 1.0, 0.0]][i][j]);
        let qp = Qp::new(Hessian::Zero(4), vec![0.0; 4]).unwrap();
        let qp = qp.equality(Csc::from_dense(&a), vec![0.0; 3]).unwrap();
        let mut kkt = SparseKkt::new(qp.kkt()).unwrap();
        kkt.factor(&[0.0; 4], &[0.0; 3]).unwrap();
        // whatever it takes the rows by, the entry of the second variable has to be a pivot
        assert_eq!(kkt.rows_peel_off(), told);
    }
}
