//! Cotangents of slacks and multipliers of curved cones as right-hand sides of the rotated rows.
//!
//! With `D = D Pi_K(s - y)` and `g_v = D g_s + (D - I) g_y` along the directions of the cones, `d` an eigenvalue of D:
//!
//! | direction | in the system |
//! | --- | --- |
//! | pinned | the equation `u'C w = -g_v` |
//! | free | `u_cone = g_v` |
//! | curved | the row `u'C w = -g_v/(1 - d)`, or a part `g_v/d` of `u_cone`, whichever is the smaller |

use crate::cones::{Basis, Cone, Faces, blocks};
use crate::matrix::dot;

/// Splits the cotangents (empty for zeros) into right-hand sides along the directions and the known part of `u_cone`.
pub(super) fn spread(
    cones: &[Cone],
    faces: &Faces,
    (gs, gy): (&[f64], &[f64]),
    (rhs, known): (&mut [f64], &mut [f64]),
    work: &mut [Vec<f64>; 3],
) {
    let [along_s, along_y, part] = work;
    for (k, rows) in blocks(cones) {
        let basis = &faces.bases[k];
        for (out, given) in [(&mut *along_s, gs), (&mut *along_y, gy)] {
            out.clear();
            out.resize(rows.len(), 0.0);
            if !given.is_empty() {
                basis.coordinates(&given[rows.clone()], out);
            }
        }
        part.clear();
        part.resize(rows.len(), 0.0);
        for (i, row) in rows.clone().enumerate() {
            let (d, rest) = Faces::shares(faces.curvature[row]);
            let g = d * along_s[i] - rest * along_y[i];
            (rhs[row], part[i]) = if d <= 0.5 { (-g / rest, 0.0) } else { (0.0, g / d) };
        }
        basis.combine(part, &mut known[rows.clone()]);
        if let (Basis::SecondOrder(uh), false) = (basis, gs.is_empty()) {
            // the free direction (1, uh)/sqrt 2 is not among the rows
            let g = &gs[rows.clone()];
            let along = 0.5 * (g[0] + dot(uh, &g[1..]));
            let known = &mut known[rows];
            known[0] += along;
            known[1..].iter_mut().zip(uh).for_each(|(e, u)| *e += along * u);
        }
    }
}

/// `out += U v`: multipliers along the directions into those of the rows.
pub(super) fn combine(cones: &[Cone], faces: &Faces, v: &[f64], out: &mut [f64], work: &mut Vec<f64>) {
    for (k, rows) in blocks(cones) {
        work.clear();
        work.resize(rows.len(), 0.0);
        faces.bases[k].combine(&v[rows.clone()], work);
        out[rows].iter_mut().zip(&*work).for_each(|(o, w)| *o += w);
    }
}

/// Coordinates of the rows of every cone along its directions, in place.
pub(super) fn rotate(cones: &[Cone], faces: &Faces, v: &mut [f64], work: &mut Vec<f64>) {
    for (k, rows) in blocks(cones) {
        work.clear();
        work.extend_from_slice(&v[rows.clone()]);
        faces.bases[k].coordinates(work, &mut v[rows]);
    }
}
