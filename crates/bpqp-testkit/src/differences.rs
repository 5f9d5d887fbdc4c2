//! Gradients against central differences of the independent reference solver, and the vector-space operations that
//! tests of derivatives need.

use crate::{Rng, reference};
use bpqp::check::Entry;
use bpqp::{Cotangent, Csc, Gradient, Hessian, Matrix, Point, Qp, SolutionTangent, Tangent};
use faer::Mat;

/// `<cotangent, outputs>`.
pub fn loss(qp: &Qp, cotangent: &Cotangent, point: &Point) -> f64 {
    dot(&cotangent.x, &point.x)
        + dot(&cotangent.y, &point.y)
        + dot(&cotangent.z, &point.z)
        + dot(&cotangent.z_box, &point.z_box)
        + dot(&cotangent.s, &point.s)
        + dot(&cotangent.y_cone, &point.y_cone)
        + if cotangent.objective == 0.0 { 0.0 } else { cotangent.objective * qp.objective(&point.x) }
}

/// A normal cotangent on every output.
pub fn random_cotangent(qp: &Qp, rng: &mut Rng) -> Cotangent {
    Cotangent {
        x: rng.normals(qp.n()),
        y: rng.normals(qp.n_equality()),
        z: rng.normals(qp.n_inequality()),
        z_box: rng.normals(qp.n()),
        s: rng.normals(qp.n_cone()),
        y_cone: rng.normals(qp.n_cone()),
        objective: rng.normal(),
    }
}

/// A normal direction in every entry of the data, on its structure.
pub fn random_tangent(qp: &Qp, rng: &mut Rng) -> Tangent {
    let n = qp.n();
    let symmetric = |rng: &mut Rng| {
        let m = rng.normal_matrix(n, n);
        Mat::from_fn(n, n, |i, j| m[(i, j)] + m[(j, i)])
    };
    let p = match qp.p() {
        Hessian::Zero(n) => Hessian::Zero(*n),
        Hessian::Dense(_) => Hessian::from(symmetric(rng)),
        Hessian::Sparse(m) => {
            let full = symmetric(rng);
            Hessian::Sparse(m.map_pattern(|i, j| full[(i, j)]))
        }
        Hessian::Diagonal(_) => Hessian::Diagonal(rng.normals(n)),
        Hessian::LowRank { f, .. } => Hessian::LowRank { d: rng.normals(n), f: rng.normal_matrix(n, f.ncols()) },
        Hessian::BlockDiagonal(blocks) => {
            let full = symmetric(rng);
            let mut at = 0;
            let block = |m: &Mat<f64>| {
                let first = at;
                at += m.ncols();
                full.submatrix(first, first, m.nrows(), m.ncols()).to_owned()
            };
            Hessian::BlockDiagonal(blocks.iter().map(block).collect())
        }
        other => panic!("no directions for {other:?}"),
    };
    let mut rows = |m: &Matrix| match m {
        Matrix::Dense(m) => Matrix::from(rng.normal_matrix(m.nrows(), m.ncols())),
        Matrix::Sparse(m) => Matrix::Sparse(m.map_pattern(|_, _| rng.normal())),
    };
    let (a, g, c) = (rows(qp.a()), rows(qp.g()), rows(qp.c()));
    Tangent {
        p: Some(p),
        q: Some(rng.normals(n)),
        a: Some(a),
        b: Some(rng.normals(qp.n_equality())),
        g: Some(g),
        h: Some(rng.normals(qp.n_inequality())),
        c: Some(c),
        d: Some(rng.normals(qp.n_cone())),
        lb: Some(rng.normals(n)),
        ub: Some(rng.normals(n)),
    }
}

/// Inner product of slices.
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Largest difference of slices of one length.
pub fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len(), "lengths differ");
    a.iter().zip(b).fold(0.0, |m, (a, b)| if (a - b).is_nan() { f64::NAN } else { m.max((a - b).abs()) })
}

/// Largest magnitude.
pub fn largest(a: &[f64]) -> f64 {
    a.iter().fold(0.0, |m, v| m.max(v.abs()))
}

/// `<cotangent, tangent of the outputs>`.
pub fn pair_outputs(cotangent: &Cotangent, tangent: &SolutionTangent) -> f64 {
    dot(&cotangent.x, &tangent.x)
        + dot(&cotangent.y, &tangent.y)
        + dot(&cotangent.z, &tangent.z)
        + dot(&cotangent.z_box, &tangent.z_box)
        + cotangent.objective * tangent.objective
}

fn columns(m: &Mat<f64>) -> Vec<f64> {
    m.col_iter().flat_map(|c| c.iter().copied().collect::<Vec<_>>()).collect()
}

fn values(m: &Csc) -> Vec<f64> {
    m.values().to_vec()
}

/// The entries of a gradient as named blocks, in the storage of the data; blocks that are absent are left out.
pub fn blocks(gradient: &Gradient) -> Vec<(&'static str, Vec<f64>)> {
    let mut out = Vec::new();
    match &gradient.p {
        None | Some(Hessian::Zero(_)) => {}
        Some(Hessian::Dense(m)) => out.push(("P", m.values().to_vec())),
        Some(Hessian::Sparse(m)) => out.push(("P", values(m))),
        Some(Hessian::Diagonal(d)) => out.push(("d", d.clone())),
        Some(Hessian::LowRank { d, f }) => out.extend([("d", d.clone()), ("F", columns(f))]),
        Some(Hessian::BlockDiagonal(blocks)) => out.push(("P", blocks.iter().flat_map(columns).collect())),
        Some(other) => panic!("no names for {other:?}"),
    }
    for (name, block) in [("A", &gradient.a), ("G", &gradient.g)] {
        match block {
            None => {}
            Some(Matrix::Dense(m)) => out.push((name, m.values().to_vec())),
            Some(Matrix::Sparse(m)) => out.push((name, values(m))),
        }
    }
    let vectors =
        [("q", &gradient.q), ("b", &gradient.b), ("h", &gradient.h), ("lb", &gradient.lb), ("ub", &gradient.ub)];
    out.extend(vectors.into_iter().filter_map(|(name, v)| v.clone().map(|v| (name, v))));
    out
}

/// `<gradient, direction>` over all of the data.
pub fn pair_data(gradient: &Gradient, tangent: &Tangent) -> f64 {
    blocks(gradient).iter().zip(blocks(tangent)).map(|((_, a), (_, b))| dot(a, &b)).sum()
}

/// The largest difference of two gradients, each block relative to its size but at least to a thousandth of the
/// largest block; and the block.
pub fn gradient_error(ours: &Gradient, theirs: &Gradient) -> (f64, &'static str) {
    let (ours, theirs) = (blocks(ours), blocks(theirs));
    assert_eq!(ours.len(), theirs.len(), "different blocks");
    let floor = 1e-3 * theirs.iter().fold(0.0_f64, |m, (_, v)| m.max(largest(v)));
    let mut worst = (0.0, "none");
    for ((name, a), (_, b)) in ours.iter().zip(&theirs) {
        let error = distance(a, b) / largest(b).max(floor).max(f64::MIN_POSITIVE);
        if error > worst.0 || error.is_nan() {
            worst = (error, name);
        }
    }
    worst
}

/// Fourth-order central difference of a loss along one entry.
pub fn central(qp: &Qp, entry: Entry, step: f64, loss: &dyn Fn(&Qp) -> f64) -> f64 {
    let at = |k: f64| loss(&entry.moved(qp, k * step));
    (at(-2.0) - 8.0 * at(-1.0) + 8.0 * at(1.0) - at(2.0)) / (12.0 * step)
}

/// The worst error of each block of a gradient against central differences of the reference solver, in the units of
/// [`gradient_error`]. `solve` maps a problem near `qp` to its outputs.
pub fn against_differences(
    qp: &Qp,
    cotangent: &Cotangent,
    gradient: &Gradient,
    solve: &dyn Fn(&Qp) -> Point,
) -> Vec<(&'static str, f64)> {
    let all = Entry::all(qp);
    let loss = |qp: &Qp| loss(qp, cotangent, &solve(qp));
    let numeric: Vec<f64> = all.iter().map(|e| central(qp, *e, 2e-4, &loss)).collect();
    let floor = 1e-3 * largest(&numeric);
    let mut table: Vec<(&'static str, f64, f64)> = Vec::new();
    for (entry, numeric) in all.iter().zip(numeric) {
        if table.last().is_none_or(|row| row.0 != entry.block()) {
            table.push((entry.block(), 0.0, floor));
        }
        let row = table.last_mut().expect("just pushed");
        let error = (entry.of(gradient) - numeric).abs();
        row.1 = if error.is_nan() { f64::NAN } else { row.1.max(error) };
        row.2 = row.2.max(numeric.abs());
    }
    table.into_iter().map(|(block, error, scale)| (block, error / scale)).collect()
}

/// Outputs of the reference solver for problems near `qp`, whose active set does not change nearby.
pub fn reference_outputs(qp: &Qp) -> impl Fn(&Qp) -> Point {
    let active = reference::solve(qp).expect("solvable").active;
    move |near: &Qp| reference::solve_near(near, &active).expect("the active set is the same nearby").point
}
