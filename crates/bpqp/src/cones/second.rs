//! The second derivative of the projection, on the smooth boundary of a cone.
//!
//! One formula for every cone whose boundary is curved in one way only: all directions of a second-order cone, or the one
//! of a cone in three dimensions. With `r = s/|s|`, `m = y/|y|`, `d` the eigenvalue of `D Pi` across them, a direction split
//! as `v = v_r r + v_m m + v_e`, and `t` the unit vector across in three dimensions,
//!
//! ```text
//! D^2 Pi(s - y)[v, u] = d (1 - d) ( [(v_e'u_e) r + v_r u_e + u_r v_e]/|s| + [(v_e'u_e) m + v_m u_e + u_m v_e]/|y|
//!                                   - k (t'v) (t'u) t ),       k = d ln c/dt
//! ```
//!
//! because `D = r r' + d P` with P the projection across, r turns by `d v_e/|s|`, m by `-(1 - d) v_e/|y|`, and the curvature
//! `c = (1 - d)/d` scales as `|y|/|s|`: only its change along t, where s moves by `d t` and y by `-(1 - d) t`, is left to each
//! cone. It is 0 for second-order cones. A dual cone is the mirror, `D^2 Pi_K*(v) = D^2 Pi_K(-v)`: s and y, d and 1 - d
//! change places.

use super::{Cone, exponential, power};
use crate::matrix::dot;

/// A direction split along s, along y and across both.
struct Parts {
    r: f64,
    m: f64,
    across: Vec<f64>,
}

impl Parts {
    fn new(v: &[f64], r: &[f64], m: &[f64]) -> Self {
        let (along_r, along_m) = (dot(v, r), dot(v, m));
        let across = (0..v.len()).map(|i| v[i] - along_r * r[i] - along_m * m[i]).collect();
        Parts { r: along_r, m: along_m, across }
    }
}

fn cross(a: &[f64], b: &[f64]) -> [f64; 3] {
    std::array::from_fn(|i| {
        let (j, k) = ((i + 1) % 3, (i + 2) % 3);
        a[j] * b[k] - a[k] * b[j]
    })
}

impl Cone {
    /// `D^2 Pi_K(s - y)[v, u]` where s and y are both on the smooth boundary of their cones and `c` is the curvature there.
    /// Not for the cones of linear constraints, nor for PSD cones.
    pub(crate) fn second_projection(
        &self,
        (s, y): (&[f64], &[f64]),
        c: f64,
        (v, u): (&[f64], &[f64]),
        out: &mut [f64],
    ) {
        let (size_s, size_y) = (dot(s, s).sqrt(), dot(y, y).sqrt());
        let unit = |v: &[f64], size: f64| -> Vec<f64> { v.iter().map(|v| v / size).collect() };
        let (r, m) = (unit(s, size_s), unit(y, size_y));
        let (d, rest) = (1.0 / (1.0 + c), c / (1.0 + c));
        let (v_, u_) = (Parts::new(v, &r, &m), Parts::new(u, &r, &m));
        let both = dot(&v_.across, &u_.across);
        for i in 0..out.len() {
            let (ve, ue) = (v_.across[i], u_.across[i]);
            out[i] = d * rest * (both * r[i] + v_.r * ue + u_.r * ve) / size_s
                + d * rest * (both * m[i] + v_.m * ue + u_.m * ve) / size_y;
        }
        if matches!(self, Cone::SecondOrder(_)) {
            return;
        }
        let t = cross(&m, &r);
        let change = match self {
            Cone::Exponential => exponential::curvature_change(s, y, &t, d),
            Cone::DualExponential => exponential::curvature_change(y, s, &t, rest),
            Cone::DualPower(_) => power::curvature_change(y, s, &t, rest),
            _ => power::curvature_change(s, y, &t, d),
        };
        let along = d * rest * change * dot(&t, v) * dot(&t, u);
        out.iter_mut().zip(t).for_each(|(o, t)| *o -= along * t);
    }
}
