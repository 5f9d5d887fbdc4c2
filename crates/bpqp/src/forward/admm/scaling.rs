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

/// `columns[j] = max(columns[j], |entry|)` over the columns of `|P|` scaled by `d`.
fn hessian_columns(p: &Hessian, d: &[f64], columns: &mut [f64]) {
    match p {
        Hessian::Zero(_) => {}
        Hessian::Dense(m) => {
            for j in 0..d.len() {
                let column = m.col_as_slice(j);
                let largest = column.iter().zip(d).fold(0.0_f64, |a, (v, s)| a.max((v * s).abs()));
                columns[j] = columns[j].max(largest * d[j]);
            }
        }
        Hessian::Sparse(m) => m.triplets().for_each(|(i, j, v)| columns[j] = columns[j].max((v * d[i] * d[j]).abs())),
        // |P_ij| <= sqrt(P_ii P_jj): the diagonal stands for the whole column, which is never formed
        Hessian::Diagonal(_) | Hessian::LowRank { .. } => {
            let diagonal = p.diagonal();
            (0..d.len()).for_each(|j| columns[j] = columns[j].max(diagonal[j] * d[j] * d[j]));
        }
    }
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
            hessian_columns(&qp.p, &d, &mut p_columns);
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
            hessian_columns(&qp.p, &d, &mut p_columns);
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
        let p = scale_hessian(&qp.p, self.c, &self.d);
        let a = scale_matrix(&qp.a, &self.e[..m_eq], &self.d);
        let g = scale_matrix(&qp.g, &self.e[m_eq..], &self.d);
        (Arc::new(p), Arc::new(a), Arc::new(g))
    }
}

fn scale_hessian(p: &Hessian, c: f64, d: &[f64]) -> Hessian {
    let mut p = p.clone();
    match &mut p {
        Hessian::Zero(_) => {}
        Hessian::Dense(m) => {
            for j in 0..d.len() {
                m.col_as_slice_mut(j).iter_mut().zip(d).for_each(|(v, s)| *v *= c * s * d[j]);
            }
        }
        Hessian::Sparse(m) => scale_csc(m, |i| c * d[i], d),
        Hessian::Diagonal(v) => v.iter_mut().zip(d).for_each(|(v, s)| *v *= c * s * s),
        Hessian::LowRank { d: v, f } => {
            v.iter_mut().zip(d).for_each(|(v, s)| *v *= c * s * s);
            let root = c.sqrt();
            for k in 0..f.ncols() {
                f.col_as_slice_mut(k).iter_mut().zip(d).for_each(|(v, s)| *v *= root * s);
            }
        }
    }
    p
}

fn scale_matrix(m: &Matrix, e: &[f64], d: &[f64]) -> Matrix {
    let mut m = m.clone();
    match &mut m {
        Matrix::Dense(m) => {
            for j in 0..d.len() {
                m.col_as_slice_mut(j).iter_mut().zip(e).for_each(|(v, s)| *v *= s * d[j]);
            }
        }
        Matrix::Sparse(m) => scale_csc(m, |i| e[i], d),
    }
    m
}

fn scale_csc(m: &mut crate::Csc, row: impl Fn(usize) -> f64, d: &[f64]) {
    let scaled: Vec<f64> = m.triplets().map(|(i, j, v)| v * row(i) * d[j]).collect();
    m.values_mut().copy_from_slice(&scaled);
}
