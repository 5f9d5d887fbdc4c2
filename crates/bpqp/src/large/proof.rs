//! Proofs that there is no solution, checked by products; all in scaled units, where rows and columns have lengths near 1.

use super::model::Model;
use super::operator::{Step, norm};
use crate::Certificate;
use crate::matrix::norm_inf;
use crate::residuals::Point;
use crate::thresholds::large::PROOF;

/// Multipliers `y` with `C'y + u = 0`, `u` on finite bounds, and `sup <= 0` exceeded: no point satisfies the constraints.
pub(super) fn primal(model: &mut Model, dy: &[f64]) -> Step<Option<Certificate>> {
    let m = model.program.b.len();
    let mut y = dy.to_vec();
    for i in m..y.len() {
        y[i] = if model.rows.1[i].is_finite() { y[i].max(0.0) } else { 0.0 };
    }
    let size = norm_inf(&y);
    if size == 0.0 || !size.is_finite() {
        return Ok(None);
    }
    // what an iteration leaves of an inactive multiplier is not zero
    y.iter_mut().for_each(|v| *v = if v.abs() <= PROOF * size { 0.0 } else { *v / size });
    let mut u = vec![0.0; model.n()];
    model.ct_add(&y, &mut u)?;
    let (mut value, mut terms, mut left) = (0.0, 0.0, 0.0_f64);
    let mut add = |v: f64| {
        value += v;
        terms += v.abs();
    };
    y.iter().zip(&model.rows.1).filter(|(y, _)| **y != 0.0).for_each(|(y, r)| add(y * r));
    for j in 0..u.len() {
        u[j] = -u[j];
        let bound = if u[j] > 0.0 { model.bounds.1[j] } else { model.bounds.0[j] };
        if bound.is_finite() {
            add(u[j] * bound);
        } else {
            left += u[j].abs();
            u[j] = 0.0;
        }
    }
    // points of the size of the data must contradict it too
    if value >= 0.0 || left >= -PROOF * value || -value <= PROOF * terms {
        return Ok(None);
    }
    let units = &*model.units;
    let rows: Vec<f64> = y.iter().zip(&units.e).map(|(y, e)| y * e).collect();
    let z_box = u.iter().zip(&units.d).map(|(u, d)| u / d).collect();
    let point = Point { y: rows[..m].to_vec(), z: rows[m..].to_vec(), z_box, ..Point::default() };
    Ok(Some(Certificate::PrimalInfeasible(point)))
}

/// A direction along which the objective falls for ever.
pub(super) fn dual(model: &mut Model, dx: &[f64]) -> Step<Option<Certificate>> {
    let mut d = dx.to_vec();
    for j in 0..d.len() {
        let leaves = (d[j] > 0.0 && model.bounds.1[j].is_finite()) || (d[j] < 0.0 && model.bounds.0[j].is_finite());
        d[j] = if leaves { 0.0 } else { d[j] };
    }
    let size = norm(&d);
    if size == 0.0 || !size.is_finite() {
        return Ok(None);
    }
    d.iter_mut().for_each(|v| *v /= size);
    let slope: f64 = d.iter().zip(&model.q).map(|(d, q)| d * q).sum();
    if slope >= -PROOF * norm(&model.q) {
        return Ok(None);
    }
    let (mut pd, mut cd) = (vec![0.0; d.len()], vec![0.0; model.m()]);
    model.p(&d, &mut pd)?;
    model.c(&d, &mut cd)?;
    let rows = cd.iter().zip(model.rows.0.iter().zip(&model.rows.1)).map(|(c, (lo, up))| match lo == up {
        true => c.abs(),
        false if up.is_finite() => c.max(0.0),
        false => 0.0,
    });
    if norm(&pd) > PROOF * -slope || rows.fold(0.0, f64::max) > PROOF * -slope {
        return Ok(None);
    }
    let d = d.iter().zip(&model.units.d).map(|(d, unit)| d * unit).collect();
    Ok(Some(Certificate::DualInfeasible(d)))
}

/// A direction of negative curvature that no equality stops.
pub(super) fn curvature(model: &mut Model, direction: &[f64]) -> Step<Option<Certificate>> {
    let size = norm(direction);
    let d: Vec<f64> = direction.iter().map(|v| v / size).collect();
    let (mut pd, mut cd) = (vec![0.0; d.len()], vec![0.0; model.m()]);
    model.p(&d, &mut pd)?;
    model.c(&d, &mut cd)?;
    let curvature: f64 = d.iter().zip(&pd).map(|(d, p)| d * p).sum();
    let m = model.program.b.len();
    if curvature >= -PROOF * norm(&pd) || norm(&cd[..m]) > PROOF * curvature.abs().min(1.0) {
        return Ok(None);
    }
    let d = d.iter().zip(&model.units.d).map(|(d, unit)| d * unit).collect();
    Ok(Some(Certificate::NonConvex(d)))
}
