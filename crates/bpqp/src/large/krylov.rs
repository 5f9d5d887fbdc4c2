//! Linear systems by products: conjugate gradients (Hestenes & Stiefel 1952) and MINRES (Paige & Saunders 1975), each with a
//! positive definite preconditioner.

use super::operator::Step;
use crate::matrix::dot;

/// A symmetric matrix as its products, and the inverse of one that is near it and positive definite.
pub(super) trait Symmetric {
    /// `out = K x`.
    fn apply(&mut self, x: &[f64], out: &mut [f64]) -> Step<()>;
    /// `out = M^-1 r`.
    fn precondition(&mut self, r: &[f64], out: &mut [f64]);
}

/// How conjugate gradients ended.
#[derive(Debug, PartialEq)]
pub(super) enum Cg {
    Done,
    /// A direction in which the matrix is not positive.
    Negative(Vec<f64>),
}

/// `K x = b` from `x = 0`, until the residual is `tolerance` of `b` in the norm of `M^-1`, or for `most` steps. Stopped early it
/// is a direction of descent of `1/2 x'K x - b'x` still.
pub(super) fn cg(k: &mut dyn Symmetric, b: &[f64], x: &mut [f64], tolerance: f64, most: usize) -> Step<(Cg, usize)> {
    x.fill(0.0);
    let mut r = b.to_vec();
    let (mut z, mut kp) = (vec![0.0; b.len()], vec![0.0; b.len()]);
    k.precondition(&r, &mut z);
    let mut p = z.clone();
    let mut rz = dot(&r, &z);
    let enough = tolerance * tolerance * rz;
    for step in 0..most {
        if rz <= enough || rz == 0.0 {
            return Ok((Cg::Done, step));
        }
        k.apply(&p, &mut kp)?;
        let curvature = dot(&p, &kp);
        if curvature <= 0.0 {
            return Ok((Cg::Negative(p), step));
        }
        let alpha = rz / curvature;
        for i in 0..x.len() {
            x[i] += alpha * p[i];
            r[i] -= alpha * kp[i];
        }
        k.precondition(&r, &mut z);
        let next = dot(&r, &z);
        let beta = next / rz;
        rz = next;
        p.iter_mut().zip(&z).for_each(|(p, z)| *p = z + beta * *p);
    }
    Ok((Cg::Done, most))
}

/// How MINRES ended: the residual relative to the right-hand side, in the norm of `M^-1`, and whether it ended because what is
/// left is a vector that the matrix maps to zero.
#[derive(Debug, Clone, Copy)]
pub(super) struct Minres {
    pub residual: f64,
    pub singular: bool,
    pub steps: usize,
}

/// `K x = b` from `x = 0`. `singular` is the relative length of `K r` at which the residual `r` counts as a null vector.
pub(super) fn minres(
    k: &mut dyn Symmetric,
    b: &[f64],
    x: &mut [f64],
    (tolerance, singular): (f64, f64),
    most: usize,
) -> Step<Minres> {
    let n = b.len();
    x.fill(0.0);
    let (mut r1, mut r2, mut y) = (b.to_vec(), b.to_vec(), vec![0.0; n]);
    k.precondition(b, &mut y);
    let first = dot(b, &y).max(0.0).sqrt();
    if first == 0.0 {
        return Ok(Minres { residual: 0.0, singular: false, steps: 0 });
    }
    let (mut beta, mut old_beta, mut left, mut size) = (first, 0.0, first, 0.0);
    let (mut cs, mut sn, mut dbar, mut epsilon) = (-1.0, 0.0, 0.0, 0.0);
    let (mut w, mut w1, mut w2) = (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
    let mut v = vec![0.0; n];
    for step in 1..=most {
        for i in 0..n {
            v[i] = y[i] / beta;
        }
        k.apply(&v, &mut y)?;
        if step > 1 {
            let c = beta / old_beta;
            y.iter_mut().zip(&r1).for_each(|(y, r)| *y -= c * r);
        }
        let alpha = dot(&v, &y);
        let c = alpha / beta;
        y.iter_mut().zip(&r2).for_each(|(y, r)| *y -= c * r);
        std::mem::swap(&mut r1, &mut r2);
        r2.copy_from_slice(&y);
        k.precondition(&r2, &mut y);
        old_beta = beta;
        beta = dot(&r2, &y).max(0.0).sqrt();
        size += alpha * alpha + old_beta * old_beta + beta * beta;
        let (old_epsilon, delta, gbar) = (epsilon, cs * dbar + sn * alpha, sn * dbar - cs * alpha);
        epsilon = sn * beta;
        dbar = -cs * beta;
        // the length of K r relative to those of K and r, before this step
        let root = gbar.hypot(dbar);
        let gamma = gbar.hypot(beta).max(f64::EPSILON * size.sqrt());
        cs = gbar / gamma;
        sn = beta / gamma;
        let phi = cs * left;
        left *= sn;
        std::mem::swap(&mut w1, &mut w2);
        std::mem::swap(&mut w2, &mut w);
        for i in 0..n {
            w[i] = (v[i] - old_epsilon * w1[i] - delta * w2[i]) / gamma;
            x[i] += phi * w[i];
        }
        let residual = left / first;
        // K M^-1 r is shorter than rounding may say: r is a null vector
        let null = step > 1 && root / size.sqrt() <= singular;
        if residual <= tolerance || null || beta <= f64::EPSILON * size.sqrt() {
            let lost = beta <= f64::EPSILON * size.sqrt() && residual > tolerance;
            return Ok(Minres { residual, singular: (null && residual > tolerance) || lost, steps: step });
        }
    }
    Ok(Minres { residual: left / first, singular: false, steps: most })
}
