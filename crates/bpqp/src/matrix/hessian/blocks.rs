//! A diagonal of dense symmetric blocks.

use super::{Hessian, KIND, LowerWork, Parameter, Product, Structure, dense};
use crate::Error;
use faer::Mat;

/// The blocks, each with the index of its first variable.
fn placed(blocks: &[Mat<f64>]) -> impl Iterator<Item = (usize, &Mat<f64>)> {
    blocks.iter().scan(0, |end, block| {
        let first = *end;
        *end += block.ncols();
        Some((first, block))
    })
}

/// Every block checked, and made exactly symmetric; errors name the place in the whole matrix.
pub(super) fn validated(blocks: Vec<Mat<f64>>) -> Result<Vec<Mat<f64>>, Error> {
    let mut first = 0;
    let check = |mut block: Mat<f64>| {
        let at = first;
        first += block.ncols();
        dense::validate("P", block.as_mut()).map(|()| block).map_err(|error| match error {
            Error::Asymmetric { row, col, value, mirrored } => {
                Error::Asymmetric { row: at + row, col: at + col, value, mirrored }
            }
            Error::NotFinite { argument, row, col, value } => {
                Error::NotFinite { argument, row: at + row, col: at + col, value }
            }
            other => other,
        })
    };
    blocks.into_iter().map(check).collect()
}

/// Moves an entry, if it lies in a block.
pub(super) fn move_entry(blocks: &mut [Mat<f64>], mut i: usize, mut j: usize, step: f64) {
    for block in blocks {
        let n = block.ncols();
        if i < n && j < n {
            block[(i, j)] += step;
        }
        if i < n || j < n {
            return;
        }
        (i, j) = (i - n, j - n);
    }
}

impl Structure for [Mat<f64>] {
    fn n(&self) -> usize {
        self.iter().map(Mat::ncols).sum()
    }
    fn mul_add(&self, alpha: f64, x: &[f64], out: &mut [f64], work: &mut Vec<f64>) {
        placed(self)
            .for_each(|(at, m)| m.as_ref().mul_add(alpha, &x[at..at + m.ncols()], &mut out[at..at + m.ncols()], work));
    }
    fn magnitudes_add(&self, x: &[f64], out: &mut [f64], work: &mut Vec<f64>) {
        placed(self)
            .for_each(|(at, m)| m.as_ref().magnitudes_add(&x[at..at + m.ncols()], &mut out[at..at + m.ncols()], work));
    }
    fn push_diagonal(&self, out: &mut Vec<f64>) {
        self.iter().for_each(|m| m.as_ref().push_diagonal(out));
    }
    fn to_dense(&self) -> Mat<f64> {
        let mut out = Mat::zeros(self.n(), self.n());
        placed(self).for_each(|(at, m)| out.submatrix_mut(at, at, m.nrows(), m.ncols()).copy_from(m));
        out
    }
    fn is_zero(&self) -> bool {
        self.iter().all(|m| Structure::is_zero(&m.as_ref()))
    }
    fn stored(&self) -> usize {
        self.iter().map(|m| m.nrows() * m.ncols()).sum()
    }
    fn difference(&self, other: &Hessian) -> Option<&'static str> {
        let Hessian::BlockDiagonal(other) = other else { return Some(KIND) };
        let same = self.iter().map(Mat::shape).eq(other.iter().map(Mat::shape));
        (!same).then_some("sizes of the blocks")
    }
    fn for_each_extended(&self, behind: usize, mut f: impl FnMut(usize, usize, f64)) {
        placed(self).for_each(|(at, m)| m.as_ref().for_each_extended(behind, |i, j, v| f(at + i, at + j, v)));
    }
    fn is_surely_convex(&self) -> bool {
        false
    }
    fn is_positive_definite(&self, shift: &[f64]) -> bool {
        placed(self).all(|(at, m)| m.as_ref().is_positive_definite(&shift[at..at + m.ncols()]))
    }
    fn write_lower(&self, kept: &[usize], out: &mut Mat<f64>, _work: &mut LowerWork) {
        out.fill(0.0);
        let mut start = 0;
        for (at, m) in placed(self) {
            let end = start + kept[start..].partition_point(|&i| i < at + m.ncols());
            for j in start..end {
                let source = m.col_as_slice(kept[j] - at);
                for (o, &i) in out.col_as_slice_mut(j)[j..end].iter_mut().zip(&kept[j..end]) {
                    *o = source[i - at];
                }
            }
            start = end;
        }
    }
    fn raise_columns(&self, d: &[f64], columns: &mut [f64]) {
        placed(self)
            .for_each(|(at, m)| m.as_ref().raise_columns(&d[at..at + m.ncols()], &mut columns[at..at + m.ncols()]));
    }
    fn scaled(&self, c: f64, d: &[f64]) -> Hessian {
        let scaled = |(at, m): (usize, &Mat<f64>)| {
            let d = &d[at..at + m.ncols()];
            Mat::from_fn(m.nrows(), m.ncols(), |i, j| c * d[i] * m[(i, j)] * d[j])
        };
        Hessian::BlockDiagonal(placed(self).map(scaled).collect())
    }
    fn gradient(&self, product: Product<'_>, last: Option<Hessian>) -> Hessian {
        let mut out = match last {
            Some(last) if self.difference(&last).is_none() => last,
            _ => Hessian::BlockDiagonal(self.iter().map(|m| Mat::zeros(m.nrows(), m.ncols())).collect()),
        };
        if let Hessian::BlockDiagonal(blocks) = &mut out {
            let mut at = 0;
            for m in blocks {
                let range = at..at + m.ncols();
                at = range.end;
                dense::write_gradient(product.part(range), m.as_mut());
            }
        }
        out
    }
    fn sub_direction(&self, at: &Hessian, x: &[f64], out: &mut [f64]) {
        placed(self).for_each(|(first, m)| {
            m.as_ref().sub_direction(at, &x[first..first + m.ncols()], &mut out[first..first + m.ncols()]);
        });
    }
    fn for_each_parameter(&self, mut f: impl FnMut(Parameter)) {
        for (at, m) in placed(self) {
            m.as_ref().for_each_parameter(|which| {
                if let Parameter::Entry(i, j) = which {
                    f(Parameter::Entry(at + i, at + j));
                }
            });
        }
    }
    fn parameter(&self, which: Parameter) -> f64 {
        let Parameter::Entry(i, j) = which else { return 0.0 };
        let own = placed(self).find(|(at, m)| (*at..at + m.ncols()).contains(&i));
        own.filter(|(at, m)| (*at..at + m.ncols()).contains(&j)).map_or(0.0, |(at, m)| m[(i - at, j - at)])
    }
}
