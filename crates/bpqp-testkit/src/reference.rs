//! A reference solver for small problems that shares no code with the library: a textbook primal-dual interior point
//! on the full KKT matrix, Gaussian elimination with partial pivoting, then the exact solution of the active set, with
//! every optimality condition checked.

use bpqp::{Point, Qp};

/// A solution and the set of constraints that hold with equality.
#[derive(Debug, Clone)]
pub struct Reference {
    /// The solution, to rounding.
    pub point: Point,
    /// Per inequality row, then per lower bound, then per upper bound: active?
    pub active: Vec<bool>,
    /// The smallest of all active multipliers and inactive slacks: how far the active set is from changing.
    pub margin: f64,
}

/// `A x = b` and `C x <= d`, where `C` are the inequality rows, `-I` for lower and `I` for upper bounds; infinite
/// right-hand sides stay in the list and are skipped. Fixed variables are equalities, after those of the problem.
struct Plain {
    n: usize,
    p: Vec<f64>,
    q: Vec<f64>,
    a: Vec<Vec<f64>>,
    b: Vec<f64>,
    c: Vec<Vec<f64>>,
    d: Vec<f64>,
    fixed: Vec<usize>,
}

impl Plain {
    fn of(qp: &Qp) -> Self {
        let n = qp.n();
        let dense = qp.p().to_dense();
        let p = (0..n * n).map(|k| dense[(k / n, k % n)]).collect();
        let rows = |m: &bpqp::Matrix| {
            let dense = m.to_dense();
            (0..dense.nrows()).map(|i| (0..n).map(|j| dense[(i, j)]).collect()).collect::<Vec<Vec<f64>>>()
        };
        let mut c = rows(qp.g());
        let mut d = qp.h().to_vec();
        for (sign, bounds) in [(-1.0, qp.lb()), (1.0, qp.ub())] {
            for i in 0..n {
                let mut row = vec![0.0; n];
                row[i] = sign;
                c.push(row);
                d.push(sign * bounds[i]);
            }
        }
        let (mut a, mut b) = (rows(qp.a()), qp.b().to_vec());
        let fixed: Vec<usize> = (0..n).filter(|&i| qp.lb()[i] == qp.ub()[i]).collect();
        for &i in &fixed {
            a.push(c[qp.n_inequality() + n + i].clone());
            b.push(qp.ub()[i]);
            d[qp.n_inequality() + i] = f64::INFINITY;
            d[qp.n_inequality() + n + i] = f64::INFINITY;
        }
        Plain { n, p, q: qp.q().to_vec(), a, b, c, d, fixed }
    }
}

/// Solves `m x = r` in place by elimination with partial pivoting and two steps of refinement; `None` if singular.
pub fn solve_linear(m: &[f64], r: &[f64]) -> Option<Vec<f64>> {
    let n = r.len();
    let mut lu = m.to_vec();
    let mut order: Vec<usize> = (0..n).collect();
    let scale = m.iter().fold(0.0_f64, |s, v| s.max(v.abs()));
    for k in 0..n {
        let pivot = (k..n).max_by(|&i, &j| lu[i * n + k].abs().total_cmp(&lu[j * n + k].abs()))?;
        if lu[pivot * n + k].abs() <= 1e-14 * scale {
            return None;
        }
        if pivot != k {
            order.swap(pivot, k);
            for j in 0..n {
                lu.swap(pivot * n + j, k * n + j);
            }
        }
        let (top, bottom) = lu.split_at_mut((k + 1) * n);
        let top = &top[k * n..];
        for row in bottom.chunks_mut(n) {
            let factor = row[k] / top[k];
            row[k] = factor;
            if factor != 0.0 {
                for j in k + 1..n {
                    row[j] -= factor * top[j];
                }
            }
        }
    }
    let substitute = |r: &[f64]| {
        let mut x: Vec<f64> = order.iter().map(|&i| r[i]).collect();
        for i in 0..n {
            x[i] -= (0..i).map(|j| lu[i * n + j] * x[j]).sum::<f64>();
        }
        for i in (0..n).rev() {
            x[i] = (x[i] - (i + 1..n).map(|j| lu[i * n + j] * x[j]).sum::<f64>()) / lu[i * n + i];
        }
        x
    };
    let mut x = substitute(r);
    for _ in 0..2 {
        let residual: Vec<f64> = (0..n).map(|i| r[i] - (0..n).map(|j| m[i * n + j] * x[j]).sum::<f64>()).collect();
        for (x, d) in x.iter_mut().zip(substitute(&residual)) {
            *x += d;
        }
    }
    x.iter().all(|v| v.is_finite()).then_some(x)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Solves the problem from nothing. Strict complementarity and linearly independent active gradients are needed.
pub fn solve(qp: &Qp) -> Result<Reference, String> {
    let plain = Plain::of(qp);
    let (active, _) = interior_point(&plain, 0.0)?;
    finish(qp, &plain, active)
}

/// Solves the problem given the active set of a neighbour; an error if it is not the active set here.
pub fn solve_near(qp: &Qp, active: &[bool]) -> Result<Reference, String> {
    finish(qp, &Plain::of(qp), active.to_vec())
}

/// The point `x(mu)` of the central path, at which every multiplier times its slack is `mu`.
pub fn central_path(qp: &Qp, mu: f64) -> Result<Point, String> {
    let plain = Plain::of(qp);
    let (_, (x, y, s)) = interior_point(&plain, mu)?;
    Ok(point(qp, &plain, x, y, &s))
}

fn point(qp: &Qp, plain: &Plain, x: Vec<f64>, mut y: Vec<f64>, multipliers: &[f64]) -> Point {
    let (rows, n) = (qp.n_inequality(), plain.n);
    let mut z_box: Vec<f64> = (0..n).map(|i| multipliers[rows + n + i] - multipliers[rows + i]).collect();
    for (&i, v) in plain.fixed.iter().zip(&y[qp.n_equality()..]) {
        z_box[i] = *v;
    }
    y.truncate(qp.n_equality());
    Point { x, y, z: multipliers[..rows].to_vec(), z_box, ..Point::default() }
}

type Iterate = (Vec<f64>, Vec<f64>, Vec<f64>);

/// Newton's method on the perturbed optimality conditions, `s_i z_i = target`, with `target = 0` driven there.
fn interior_point(plain: &Plain, target: f64) -> Result<(Vec<bool>, Iterate), String> {
    let (n, me) = (plain.n, plain.b.len());
    let rows: Vec<usize> = (0..plain.d.len()).filter(|&i| plain.d[i].is_finite()).collect();
    let mi = rows.len();
    let (mut x, mut y) = (vec![0.0; n], vec![0.0; me]);
    let (mut s, mut z) = (vec![1.0; mi], vec![1.0; mi]);
    for (k, &i) in rows.iter().enumerate() {
        s[k] = (plain.d[i] - dot(&plain.c[i], &x)).max(1.0);
    }
    let size = n + me + 2 * mi;
    for _ in 0..300 {
        let mu = if mi == 0 { 0.0 } else { dot(&s, &z) / mi as f64 };
        let goal = target.max(0.1 * mu);
        let mut r = vec![0.0; size];
        let mut m = vec![0.0; size * size];
        for i in 0..n {
            r[i] = -dot(&plain.p[i * n..(i + 1) * n], &x) - plain.q[i];
            m[i * size..i * size + n].copy_from_slice(&plain.p[i * n..(i + 1) * n]);
        }
        for (k, a) in plain.a.iter().enumerate() {
            for i in 0..n {
                r[i] -= a[i] * y[k];
                m[i * size + n + k] = a[i];
                m[(n + k) * size + i] = a[i];
            }
            r[n + k] = plain.b[k] - dot(a, &x);
        }
        for (k, &row) in rows.iter().enumerate() {
            let (kz, ks) = (n + me + k, n + me + mi + k);
            for i in 0..n {
                r[i] -= plain.c[row][i] * z[k];
                m[i * size + kz] = plain.c[row][i];
                m[kz * size + i] = plain.c[row][i];
            }
            r[kz] = plain.d[row] - dot(&plain.c[row], &x) - s[k];
            m[kz * size + ks] = 1.0;
            m[ks * size + kz] = s[k];
            m[ks * size + ks] = z[k];
            r[ks] = goal - s[k] * z[k];
        }
        let feasible = r[..n + me + mi].iter().fold(0.0_f64, |a, v| a.max(v.abs()));
        let centered = (0..mi).fold(0.0_f64, |a, k| a.max((s[k] * z[k] - target).abs()));
        if feasible < 1e-11 && centered < if target > 0.0 { 1e-14 * (1.0 + target) } else { 1e-10 } {
            let mut full = vec![0.0; plain.d.len()];
            let mut active = vec![false; plain.d.len()];
            for (k, &i) in rows.iter().enumerate() {
                full[i] = z[k];
                active[i] = z[k] > s[k];
            }
            return Ok((active, (x, y, full)));
        }
        let step = solve_linear(&m, &r).ok_or("singular KKT matrix")?;
        let longest =
            |v: &[f64], d: &[f64]| (0..mi).filter(|&k| d[k] < 0.0).fold(1.0_f64, |a, k| a.min(-0.995 * v[k] / d[k]));
        let (dz, ds) = (&step[n + me..n + me + mi], &step[n + me + mi..]);
        let alpha = longest(&z, dz).min(longest(&s, ds));
        for (v, d) in x.iter_mut().chain(&mut y).chain(&mut z).chain(&mut s).zip(&step) {
            *v += alpha * d;
        }
    }
    Err("the reference interior point did not converge".into())
}

/// The exact solution of an active set, with all optimality conditions checked.
fn finish(qp: &Qp, plain: &Plain, active: Vec<bool>) -> Result<Reference, String> {
    let (n, me) = (plain.n, plain.b.len());
    let held: Vec<usize> = (0..plain.d.len()).filter(|&i| active[i]).collect();
    let size = n + me + held.len();
    let mut m = vec![0.0; size * size];
    let mut r = vec![0.0; size];
    for i in 0..n {
        m[i * size..i * size + n].copy_from_slice(&plain.p[i * n..(i + 1) * n]);
        r[i] = -plain.q[i];
    }
    let equalities = plain.a.iter().zip(&plain.b).chain(held.iter().map(|&i| (&plain.c[i], &plain.d[i])));
    for (k, (row, rhs)) in equalities.enumerate() {
        for i in 0..n {
            m[i * size + n + k] = row[i];
            m[(n + k) * size + i] = row[i];
        }
        r[n + k] = *rhs;
    }
    let solution = solve_linear(&m, &r).ok_or("the active constraints are dependent or the problem is flat")?;
    let (x, y) = (solution[..n].to_vec(), solution[n..n + me].to_vec());
    let mut multipliers = vec![0.0; plain.d.len()];
    let mut margin = f64::INFINITY;
    for (k, &i) in held.iter().enumerate() {
        multipliers[i] = solution[n + me + k];
        margin = margin.min(multipliers[i]);
    }
    for i in (0..plain.d.len()).filter(|&i| !active[i] && plain.d[i].is_finite()) {
        margin = margin.min(plain.d[i] - dot(&plain.c[i], &x));
    }
    if margin <= 0.0 {
        return Err(format!("not the active set here: margin {margin:e}"));
    }
    Ok(Reference { point: point(qp, plain, x, y, &multipliers), active, margin })
}

#[cfg(test)]
mod tests {
    use super::*;
    use faer::mat;

    #[test]
    fn elimination_pivots_and_reports_singular_matrices() {
        let x = solve_linear(&[0.0, 2.0, 1.0, 1.0], &[4.0, 5.0]).expect("regular");
        assert!((x[0] - 3.0).abs() < 1e-15 && (x[1] - 2.0).abs() < 1e-15);
        assert!(solve_linear(&[1.0, 2.0, 2.0, 4.0], &[1.0, 1.0]).is_none());
    }

    #[test]
    fn a_textbook_problem_has_its_textbook_solution() {
        // min x1^2 + x2^2 - 2 x1 - 5 x2 with 5 rows (Nocedal, Wright, example 16.4): x = (1.4, 1.7)
        let qp = Qp::new(mat![[2.0, 0.0], [0.0, 2.0]], [-2.0, -5.0])
            .and_then(|qp| qp.inequality(mat![[-1.0, 2.0], [1.0, 2.0], [1.0, -2.0]], [2.0, 6.0, 2.0]))
            .and_then(|qp| qp.bounds([0.0, 0.0], []))
            .expect("valid");
        let found = solve(&qp).expect("solved");
        assert!((found.point.x[0] - 1.4).abs() < 1e-14 && (found.point.x[1] - 1.7).abs() < 1e-14);
        assert!((found.point.z[0] - 0.8).abs() < 1e-14 && found.active[0] && !found.active[1]);
    }

    #[test]
    fn the_central_path_has_equal_products() {
        let qp = Qp::new(mat![[1.0, 0.0], [0.0, 3.0]], [1.0, -1.0])
            .and_then(|qp| qp.bounds([0.0, -1.0], [1.0, 0.2]))
            .expect("valid");
        let p = central_path(&qp, 1e-2).expect("solved");
        // each variable on its own: P x + q - mu/(x - lb) + mu/(ub - x) = 0
        for (i, (h, q, lb, ub)) in [(1.0, 1.0, 0.0, 1.0), (3.0, -1.0, -1.0, 0.2)].into_iter().enumerate() {
            let x = p.x[i];
            assert!((h * x + q - 1e-2 / (x - lb) + 1e-2 / (ub - x)).abs() < 1e-8, "{x}");
        }
    }
}
