//! Equilibration of the data: OSQP's modified Ruiz scaling (Stellato, Banjac, Goulart, Bemporad & Boyd, "OSQP: an
//! operator splitting solver for quadratic programs", Math. Prog. Comp. 2020, section 5.1).
//!
//! `x = D x^`, rows of A and G times `E`, the objective times `c`:
//! `P^ = c D P D`, `q^ = c D q`, `A^ = E A D`, `lb^ = D^-1 lb`; then `y = E y^ / c` and `z_box = D^-1 z_box^ / c`.
//! Factors are powers of two, so that scaling forth and back changes no digit.

use crate::matrix::norm_inf;
use crate::{Hessian, Matrix, Qp};
use std::sync::Arc;

/// Sweeps over rows and columns.
const SWEEPS: usize = 10;
/// Range of the factors of one problem.
const LIMIT: f64 = 1e6;

/// The factors.
#[derive(Debug, Clone)]
pub(super) struct Scaling {
    /// Factor of the objective.
    pub c: f64,
    /// Factors of the variables.
    pub d: Vec<f64>,
    /// Factors of the rows, equalities first.
    pub e: Vec<f64>,
}

fn power_of_two(v: f64) -> f64 {
    v.clamp(1.0 / LIMIT, LIMIT).log2().round().exp2()
}

impl Scaling {
    /// Computes the factors for `qp`.
    pub fn new(qp: &Qp) -> Self {
        let (n, m_eq) = (qp.n(), qp.n_equality());
        let m = m_eq + qp.n_inequality();
        let (mut d, mut e) = (vec![1.0; n], vec![1.0; m]);
        let (mut columns, mut rows) = (vec![0.0_f64; n], vec![0.0_f64; m]);
        let (mut c, mut p_columns) = (1.0, vec![0.0; n]);
        for _ in 0..SWEEPS {
            p_columns.fill(0.0);
            rows.fill(0.0);
            qp.p.raise_columns(&d, &mut p_columns);
            columns.copy_from_slice(&p_columns);
            columns.iter_mut().for_each(|v| *v *= c);
            for (matrix, offset) in [(&qp.a, 0), (&qp.g, m_eq)] {
                matrix.for_each(|i, j, v| {
                    let v = (v * e[offset + i] * d[j]).abs();
                    rows[offset + i] = rows[offset + i].max(v);
                    columns[j] = columns[j].max(v);
                });
            }
            let factor = |v: f64| if v > 0.0 { 1.0 / v.sqrt() } else { 1.0 };
            (0..n).for_each(|j| d[j] = (d[j] * factor(columns[j])).clamp(1.0 / LIMIT, LIMIT));
            (0..m).for_each(|i| e[i] = (e[i] * factor(rows[i])).clamp(1.0 / LIMIT, LIMIT));
            p_columns.fill(0.0);
            qp.p.raise_columns(&d, &mut p_columns);
            let mean = p_columns.iter().sum::<f64>() / n.max(1) as f64;
            let linear = qp.q.iter().zip(&d).fold(0.0_f64, |a, (q, s)| a.max((q * s).abs()));
            let size = mean.max(linear);
            c = if size > 0.0 { 1.0 / size } else { 1.0 };
        }
        d.iter_mut().chain(&mut e).for_each(|v| *v = power_of_two(*v));
        Scaling { c: c.clamp(1e-12, 1e12).log2().round().exp2(), d, e }
    }

    /// True if the factor of the objective still suits another linear term of the same problem.
    pub fn suits(&self, q: &[f64]) -> bool {
        let linear = norm_inf(q) * self.d.iter().fold(0.0_f64, |a, &d| a.max(d)) * self.c;
        linear <= 1e3
    }

    /// The scaled matrices.
    pub fn matrices(&self, qp: &Qp) -> (Arc<Hessian>, Arc<Matrix>, Arc<Matrix>) {
        let m_eq = qp.n_equality();
        let p = qp.p.scaled(self.c, &self.d);
        let a = qp.a.scaled(&self.e[..m_eq], &self.d);
        let g = qp.g.scaled(&self.e[m_eq..], &self.d);
        (Arc::new(p), Arc::new(a), Arc::new(g))
    }
}
