//! Problems that have no solution, or one at which the solution map is not smooth.

use crate::Rng;
use bpqp::{Csc, Hessian, Matrix, Qp};
use faer::{Mat, mat};

fn valid(qp: Result<Qp, bpqp::Error>) -> Qp {
    qp.expect("valid by construction")
}

fn row(entries: &[f64]) -> Mat<f64> {
    Mat::from_fn(1, entries.len(), |_, j| entries[j])
}

/// The same problem with every matrix stored sparsely.
pub fn sparsely(qp: &Qp) -> Qp {
    let p = match qp.p() {
        Hessian::Zero(n) => Hessian::Zero(*n),
        p => Hessian::Sparse(Csc::from_dense(&p.to_dense())),
    };
    let sparse = |m: &Matrix| Matrix::Sparse(Csc::from_dense(&m.to_dense()));
    let mut out = valid(Qp::new(p, qp.q()));
    if qp.n_equality() > 0 {
        out = valid(out.equality(sparse(qp.a()), qp.b()));
    }
    if qp.n_inequality() > 0 {
        out = valid(out.inequality(sparse(qp.g()), qp.h()));
    }
    valid(out.bounds(qp.lb(), qp.ub()))
}

/// Problems without a feasible point: contradictory equalities, inequalities, a row against the bounds, and a random
/// one with a Farkas proof by construction; with and without a quadratic term.
pub fn infeasible() -> Vec<(&'static str, Qp)> {
    let n = 8;
    let quadratic = || valid(Qp::new(Hessian::Diagonal(vec![1.0; n]), vec![1.0; n]));
    let mut rng = Rng::new(11);
    // G'z = 0 and h'z = -1 for the positive z = (1, 2, 3, ...)
    let (mut g, mut h) = (rng.normal_matrix(6, n), rng.normals(6));
    for j in 0..n {
        let rest: f64 = (0..5).map(|i| g[(i, j)] * (i + 1) as f64).sum();
        g[(5, j)] = -rest / 6.0;
    }
    h[5] = (-1.0 - (0..5).map(|i| h[i] * (i + 1) as f64).sum::<f64>()) / 6.0;
    let ones = vec![1.0; n];
    let twice = Mat::from_fn(2, n, |_, _| 1.0);
    let opposite = Mat::from_fn(2, n, |i, _| if i == 0 { 1.0 } else { -1.0 });
    vec![
        ("equalities", valid(quadratic().equality(twice, [1.0, 2.0]))),
        ("inequalities", valid(quadratic().inequality(opposite, [-1.0, -1.0]))),
        (
            "row against bounds",
            valid(quadratic().equality(row(&ones), [9.0]).and_then(|qp| qp.bounds(vec![0.0; n], vec![1.0; n]))),
        ),
        ("random rows", valid(quadratic().inequality(g.clone(), h.clone()))),
        (
            "random rows, linear",
            valid(
                Qp::linear(ones.clone())
                    .and_then(|qp| qp.inequality(g, h))
                    .and_then(|qp| qp.bounds(vec![-9.0; n], vec![9.0; n])),
            ),
        ),
    ]
}

/// Problems whose objective has no lower bound.
pub fn unbounded() -> Vec<(&'static str, Qp)> {
    let n = 8;
    let q: Vec<f64> = (0..n).map(|i| if i == n - 1 { -1.0 } else { 0.5 }).collect();
    // curvature in every variable but the last, which may grow without limit
    let d: Vec<f64> = (0..n).map(|i| if i == n - 1 { 0.0 } else { 1.0 + i as f64 }).collect();
    let ones = row(&vec![1.0; n]);
    vec![
        ("flat direction", valid(Qp::new(Hessian::Diagonal(d.clone()), q.clone()))),
        (
            "flat direction inside bounds",
            valid(Qp::new(Hessian::Diagonal(d), q.clone()).and_then(|qp| qp.bounds(vec![0.0; n], []))),
        ),
        ("linear, one equality", valid(Qp::linear(q.clone()).and_then(|qp| qp.equality(ones.clone(), [1.0])))),
        (
            "linear, a cone",
            valid(Qp::linear(q).and_then(|qp| qp.bounds(vec![0.0; n], [])).and_then(|qp| qp.inequality(-ones, [-1.0]))),
        ),
    ]
}

/// Problems with negative curvature along a feasible direction.
pub fn non_convex() -> Vec<(&'static str, Qp)> {
    let n = 8;
    let mut p = Mat::from_fn(n, n, |i, j| if i == j { 2.0 } else { 0.0 });
    p[(2, 2)] = -1.0;
    let q = vec![1.0; n];
    let fixes_other = Mat::from_fn(1, n, |_, j| if j == 0 { 1.0 } else { 0.0 });
    vec![
        ("unconstrained", valid(Qp::new(p.clone(), q.clone()))),
        ("inside a box", valid(Qp::new(p.clone(), q.clone()).and_then(|qp| qp.bounds(vec![-1.0; n], vec![1.0; n])))),
        ("beside an equality", valid(Qp::new(p, q).and_then(|qp| qp.equality(fixes_other, [0.5])))),
    ]
}

/// Indefinite `P`, but convex on the null space of the equalities: a proper problem with a unique solution.
pub fn convex_on_null_space() -> Qp {
    let p = mat![[-1.0, 0.0, 0.0], [0.0, 2.0, 0.3], [0.0, 0.3, 1.0]];
    valid(Qp::new(p, [1.0, -1.0, 0.5]).and_then(|qp| qp.equality(mat![[1.0, 0.0, 0.0]], [0.7])))
}

/// A base problem with an active inequality and an equality, and the same with those rows given twice. The solution
/// is the same, its multipliers are not unique.
pub fn duplicated() -> (Qp, Qp) {
    let p = mat![[2.0, 0.3, 0.0], [0.3, 1.5, -0.2], [0.0, -0.2, 1.0]];
    let q = [-1.0, 0.4, 0.3];
    let (a, g) = ([1.0, 1.0, -1.0], [1.0, -0.5, 0.2]);
    let rows = |r: &[f64; 3], count| Mat::from_fn(count, 3, |_, j| r[j]);
    let build = |count: usize| {
        valid(
            Qp::new(p.clone(), q)
                .and_then(|qp| qp.equality(rows(&a, count), vec![0.5; count]))
                .and_then(|qp| qp.inequality(rows(&g, count), vec![-0.6; count])),
        )
    };
    (build(1), build(2))
}

/// A projection whose first bound is weakly active: the multiplier and the slack both vanish.
pub fn weakly_active() -> Qp {
    valid(Qp::new(Hessian::Diagonal(vec![1.0; 3]), [0.0, -0.8, 0.9]).and_then(|qp| qp.bounds(vec![0.0; 3], [])))
}

/// A linear program with a face of optimal points: `min x1 + x2` on the simplex of three variables, `x3 <= 0`.
pub fn flat_face() -> Qp {
    valid(
        Qp::linear([1.0, 1.0, 2.0])
            .and_then(|qp| qp.equality(row(&[1.0, 1.0, 1.0]), [1.0]))
            .and_then(|qp| qp.bounds(vec![0.0; 3], [])),
    )
}
