//! Proofs as problems of their own: the shortest direction along which the objective falls without end, and the smallest
//! multipliers that contradict the constraints. A solver that has run far out on a ray without naming it ends in rounding
//! errors; the problem of the ray itself has a solution of ordinary size.
//!
//! ```text
//! min 1/2 |d|^2       with  P d = 0, A d = 0, G d <= 0, -C d in K, lb, ub replaced by 0,   q'd = -|q|
//! min 1/2 |(y, z)|^2  with  A'y + G'z + C'y_cone + z_box = 0, z >= 0, y_cone in K*,        the value of the proof = -1
//! ```

use super::{Clarabel, ForwardSolver};
use crate::cones::blocks;
use crate::matrix::norm_inf;
use crate::residuals::Point;
use crate::{Certificate, Cone, Csc, Deadline, Error, Hessian, Matrix, Qp, Settings, Status};

/// Row, column, value.
type Entries = Vec<(usize, usize, f64)>;

/// A proof that there is no solution, if one of the two problems has one that proves it.
pub(crate) fn proof(qp: &Qp, settings: &Settings, deadline: &Deadline) -> Result<Option<(Status, Certificate)>, Error> {
    // nothing polishes what it finds
    let settings = &Settings { polish: false, ..settings.clone() };
    let solve = |problem: &Qp| -> Result<Option<Vec<f64>>, Error> {
        if deadline.passed() {
            return Ok(None);
        }
        let mut point = Point::zeros(problem);
        let mut handle = match Clarabel.prepare(problem, settings) {
            // it does not take these cones in this build: then there is no proof
            Err(Error::Unsupported { .. }) => return Ok(None),
            prepared => prepared?,
        };
        handle.end_by(deadline);
        let ok = handle.solve(None, &mut point).status.ok() && point.is_finite();
        Ok(ok.then_some(point.x))
    };
    let proves = |status, certificate: Certificate| {
        let certificate = certificate.cleaned(qp);
        certificate.verify(qp).then_some((status, certificate))
    };
    let x = solve(&multipliers(qp)?)?;
    let proof = x.and_then(|x| proves(Status::PrimalInfeasible, Certificate::PrimalInfeasible(farkas(qp, &x))));
    if proof.is_some() {
        return Ok(proof);
    }
    let Some(problem) = direction(qp)? else { return Ok(None) };
    Ok(solve(&problem)?.and_then(|d| proves(Status::DualInfeasible, Certificate::DualInfeasible(d))))
}

/// A bound as a direction has it.
fn recession(bound: f64) -> f64 {
    if bound.is_finite() { 0.0 } else { bound }
}

/// The problem of a direction of unboundedness; `None` without costs.
fn direction(qp: &Qp) -> Result<Option<Qp>, Error> {
    let (n, size) = (qp.n(), norm_inf(&qp.q));
    if size == 0.0 {
        return Ok(None);
    }
    let mut rows: Entries = Vec::new();
    qp.a.for_each(|i, j, v| rows.push((i, j, v)));
    let mut count = qp.n_equality();
    qp.q.iter().enumerate().for_each(|(j, q)| rows.push((count, j, q / size)));
    let value = count;
    count += 1;
    // of the extended matrix: the variables of a factor are F'd
    let mut quadratic: Entries = Vec::new();
    qp.p.for_each_extended(n, |i, j, v| {
        if i < n && j >= n {
            quadratic.push((j, i, v));
        } else if i <= j && j < n && v != 0.0 {
            quadratic.push((i, j, v));
            if i != j {
                quadratic.push((j, i, v));
            }
        }
    });
    quadratic.sort_by_key(|&(i, _, _)| i);
    for of_row in quadratic.chunk_by(|a, b| a.0 == b.0) {
        rows.extend(of_row.iter().map(|&(_, j, v)| (count, j, v)));
        count += 1;
    }
    let mut rhs = vec![0.0; count];
    rhs[value] = -1.0;
    let mut out = Qp::new(Hessian::Diagonal(vec![1.0; n]), vec![0.0; n])?
        .equality(Csc::from_triplets(count, n, &rows)?, rhs)?
        .inequality((*qp.g).clone(), qp.h.iter().map(|&h| recession(h)).collect::<Vec<_>>())?
        .bounds(
            qp.lb.iter().map(|&b| recession(b)).collect::<Vec<_>>(),
            qp.ub.iter().map(|&b| recession(b)).collect::<Vec<_>>(),
        )?;
    if !qp.cones.is_empty() {
        out = out.with_cones(qp.cones.to_vec(), (*qp.c).clone(), vec![0.0; qp.n_cone()])?;
    }
    Ok(Some(out))
}

/// The problem of multipliers that contradict the constraints: in the variables `(y, z, z_lower, z_upper, y_cone)`.
fn multipliers(qp: &Qp) -> Result<Qp, Error> {
    let (n, m, mi, mc) = (qp.n(), qp.n_equality(), qp.n_inequality(), qp.n_cone());
    let (lower, upper) = (m + mi, m + mi + n);
    let total = upper + n + mc;
    let mut rows: Entries = Vec::new();
    qp.a.for_each(|i, j, v| rows.push((j, i, v)));
    qp.g.for_each(|i, j, v| rows.push((j, m + i, v)));
    qp.c.for_each(|i, j, v| rows.push((j, upper + n + i, v)));
    let mut value = vec![0.0; total];
    let (mut lb, mut ub) = (vec![f64::NEG_INFINITY; total], vec![f64::INFINITY; total]);
    value[..m].copy_from_slice(&qp.b);
    value[upper + n..].copy_from_slice(&qp.d);
    for (at, rhs) in (m..).zip(qp.h.iter()) {
        lb[at] = 0.0;
        (value[at], ub[at]) = if rhs.is_finite() { (*rhs, f64::INFINITY) } else { (0.0, 0.0) };
    }
    for j in 0..n {
        rows.extend([(j, lower + j, -1.0), (j, upper + j, 1.0)]);
        for (at, bound) in [(lower + j, -qp.lb[j]), (upper + j, qp.ub[j])] {
            lb[at] = 0.0;
            (value[at], ub[at]) = if bound.is_finite() { (bound, f64::INFINITY) } else { (0.0, 0.0) };
        }
    }
    let size = norm_inf(&value);
    let unit = if size > 0.0 { size } else { 1.0 };
    value.iter().enumerate().filter(|(_, v)| **v != 0.0).for_each(|(j, v)| rows.push((n, j, v / unit)));
    let mut rhs = vec![0.0; n + 1];
    rhs[n] = -1.0;
    let mut out = Qp::new(Hessian::Diagonal(vec![1.0; total]), vec![0.0; total])?
        .equality(Csc::from_triplets(n + 1, total, &rows)?, rhs)?
        .bounds(lb, ub)?;
    let (mut cones, mut own): (Vec<Cone>, Entries) = (Vec::new(), Vec::new());
    let mut count = 0;
    for (k, block) in blocks(&qp.cones) {
        let Some(dual) = qp.cones[k].dual() else { continue };
        cones.push(dual);
        for row in block {
            own.push((count, upper + n + row, -1.0));
            count += 1;
        }
    }
    if !cones.is_empty() {
        out = out.with_cones(cones, Matrix::Sparse(Csc::from_triplets(count, total, &own)?), vec![0.0; count])?;
    }
    Ok(out)
}

/// The multipliers in a solution of [`multipliers`].
fn farkas(qp: &Qp, x: &[f64]) -> Point {
    let (n, m, mi) = (qp.n(), qp.n_equality(), qp.n_inequality());
    let (lower, upper) = (m + mi, m + mi + n);
    Point {
        x: Vec::new(),
        y: x[..m].to_vec(),
        z: x[m..lower].to_vec(),
        z_box: (0..n).map(|j| x[upper + j] - x[lower + j]).collect(),
        s: Vec::new(),
        y_cone: x[upper + n..].to_vec(),
    }
}
