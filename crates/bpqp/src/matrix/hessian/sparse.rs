//! Both triangles of a sparse symmetric matrix.

use super::{ASYMMETRY, Hessian, KIND, LowerWork, Parameter, Product, Structure, square};
use crate::Error;
use crate::matrix::Csc;
use faer::Mat;

/// Checked, and made exactly symmetric.
pub(super) fn validated(m: Csc) -> Result<Csc, Error> {
    square("P", m.nrows(), m.ncols())?;
    m.check_finite("P")?;
    let t = m.transpose();
    if m == t {
        return Ok(m);
    }
    let half = |c: &Csc| c.triplets().map(|(i, j, v)| (i, j, 0.5 * v)).collect::<Vec<_>>();
    let both = [half(&m), half(&t)].concat();
    let mean = Csc::from_triplets(m.nrows(), m.ncols(), &both)?;
    let largest = m.values().iter().fold(0.0_f64, |a, v| a.max(v.abs()));
    let skew: Vec<_> = half(&m).into_iter().chain(half(&t).into_iter().map(|(i, j, v)| (i, j, -v))).collect();
    let skew = Csc::from_triplets(m.nrows(), m.ncols(), &skew)?;
    let worst = skew.triplets().max_by(|a, b| a.2.abs().total_cmp(&b.2.abs()));
    match worst {
        Some((row, col, v)) if 2.0 * v.abs() > ASYMMETRY * largest => {
            Err(Error::Asymmetric { row, col, value: m.entry(row, col), mirrored: m.entry(col, row) })
        }
        _ => Ok(mean),
    }
}

impl Structure for Csc {
    fn n(&self) -> usize {
        self.ncols()
    }
    fn mul_add(&self, alpha: f64, x: &[f64], out: &mut [f64], _work: &mut Vec<f64>) {
        Csc::mul_add(self, alpha, x, out);
    }
    fn magnitudes_add(&self, x: &[f64], out: &mut [f64], _work: &mut Vec<f64>) {
        Csc::magnitudes_add(self, x, out);
    }
    fn push_diagonal(&self, out: &mut Vec<f64>) {
        out.extend((0..self.ncols()).map(|j| self.entry(j, j)));
    }
    fn to_dense(&self) -> Mat<f64> {
        Csc::to_dense(self)
    }
    fn is_zero(&self) -> bool {
        self.values().iter().all(|&v| v == 0.0)
    }
    fn stored(&self) -> usize {
        self.nnz()
    }
    fn difference(&self, other: &Hessian) -> Option<&'static str> {
        match other {
            Hessian::Sparse(m) => (!m.same_pattern(self)).then_some("sparsity pattern"),
            _ => Some(KIND),
        }
    }
    fn for_each_extended(&self, _behind: usize, mut f: impl FnMut(usize, usize, f64)) {
        self.triplets().for_each(|(i, j, v)| f(i, j, v));
    }
    fn is_positive_diagonal(&self) -> bool {
        self.nnz() == self.ncols() && self.triplets().all(|(i, j, v)| i == j && v > 0.0)
    }
    /// Every diagonal entry is at least the sum of the magnitudes beside it (Gershgorin).
    fn is_surely_convex(&self) -> bool {
        (0..self.ncols()).all(|j| {
            let (mut diagonal, mut beside) = (0.0, 0.0);
            self.column(j).for_each(|(i, v)| if i == j { diagonal = v } else { beside += v.abs() });
            diagonal >= beside
        })
    }
    fn write_lower(&self, kept: &[usize], out: &mut Mat<f64>, work: &mut LowerWork) {
        out.fill(0.0);
        let position = &mut work.position;
        position.clear();
        position.resize(self.ncols(), usize::MAX);
        kept.iter().enumerate().for_each(|(j, &i)| position[i] = j);
        for (i, j, v) in self.triplets() {
            let (i, j) = (position[i], position[j]);
            if i != usize::MAX && j != usize::MAX && i >= j {
                out[(i, j)] = v;
            }
        }
    }
    fn raise_columns(&self, d: &[f64], columns: &mut [f64]) {
        self.triplets().for_each(|(i, j, v)| columns[j] = columns[j].max((v * d[i] * d[j]).abs()));
    }
    fn scaled(&self, c: f64, d: &[f64]) -> Hessian {
        Hessian::Sparse(self.map(|i, j, v| c * d[i] * v * d[j]))
    }
    fn gradient(&self, product: Product<'_>, last: Option<Hessian>) -> Hessian {
        let last = if let Some(Hessian::Sparse(last)) = last { Some(last) } else { None };
        Hessian::Sparse(self.refill(last, |i, j| product.entry(i, j)))
    }
    fn sub_direction(&self, _at: &Hessian, x: &[f64], out: &mut [f64]) {
        Csc::mul_add(self, -0.5, x, out);
        self.tmul_add(-0.5, x, out);
    }
    fn for_each_parameter(&self, f: impl FnMut(Parameter)) {
        self.triplets().filter(|&(i, j, _)| i >= j).map(|(i, j, _)| Parameter::Entry(i, j)).for_each(f);
    }
    fn parameter(&self, which: Parameter) -> f64 {
        if let Parameter::Entry(i, j) = which { self.entry(i, j) } else { 0.0 }
    }
}
