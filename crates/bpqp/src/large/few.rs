//! Few rows, which can be stored: `D + C H C'` of the kept ones is a small dense matrix.

use crate::matrix::dot;
use crate::thresholds::large::LEAST_PIVOT;
use faer::linalg::solvers::{Llt, Solve};
use faer::{Mat, Side};
use std::sync::Arc;

/// The factorization of `D + C H C'`.
pub(super) struct Few {
    rows: Arc<Vec<Vec<f64>>>,
    kept: Vec<usize>,
    factor: Llt<f64>,
}

impl Few {
    /// None where the rows are not stored, or dependent. `d` is the diagonal.
    pub fn new(rows: &Option<Arc<Vec<Vec<f64>>>>, h: &[f64], kept: &[bool], d: impl Fn(usize) -> f64) -> Option<Self> {
        let rows = rows.clone()?;
        let kept: Vec<usize> = (0..rows.len()).filter(|&i| kept[i]).collect();
        let k = kept.len();
        let mut matrix = Mat::zeros(k, k);
        for (a, &i) in kept.iter().enumerate() {
            let weighted: Vec<f64> = rows[i].iter().zip(h).map(|(c, h)| c * h).collect();
            for (b, &j) in kept.iter().enumerate().take(a + 1) {
                matrix[(a, b)] = dot(&weighted, &rows[j]);
                matrix[(b, a)] = matrix[(a, b)];
            }
            // a row that is zero on the free variables has some pivot
            let least = LEAST_PIVOT * matrix[(a, a)] + f64::MIN_POSITIVE.sqrt();
            matrix[(a, a)] += d(i) + least;
        }
        let factor = matrix.llt(Side::Lower).ok()?;
        Some(Few { rows, kept, factor })
    }

    /// `out = (D + C H C')^-1 r` on the kept rows, 0 on the others.
    pub fn solve(&self, r: &[f64], out: &mut [f64]) {
        out.fill(0.0);
        let rhs = Mat::from_fn(self.kept.len(), 1, |a, _| r[self.kept[a]]);
        let found = self.factor.solve(&rhs);
        self.kept.iter().enumerate().for_each(|(a, &i)| out[i] = found[(a, 0)]);
    }

    /// `out = (H^-1 + C' D^-1 C)^-1 r`, by the formula of Woodbury.
    pub fn inverse(&self, h: &[f64], r: &[f64], out: &mut [f64]) {
        out.iter_mut().zip(r.iter().zip(h)).for_each(|(o, (r, h))| *o = r * h);
        let rhs = Mat::from_fn(self.kept.len(), 1, |a, _| dot(&self.rows[self.kept[a]], out));
        let found = self.factor.solve(&rhs);
        for (a, &i) in self.kept.iter().enumerate() {
            let t = found[(a, 0)];
            out.iter_mut().zip(self.rows[i].iter().zip(h)).for_each(|(o, (c, h))| *o -= t * c * h);
        }
    }
}
