//! Linear algebra in exact fractions.

use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};

/// A fraction of integers of any size.
pub type Exact = BigRational;

/// The number itself: every finite double is a fraction.
pub fn exact(v: f64) -> Exact {
    BigRational::from_float(v).unwrap_or_else(Exact::zero)
}

/// The nearest double.
pub fn double(v: &Exact) -> f64 {
    v.to_f64().unwrap_or(f64::NAN)
}

/// A system in reduced row echelon form.
pub struct Echelon {
    /// The pivot column of each row that has one.
    pub pivots: Vec<usize>,
    rows: Vec<Vec<Exact>>,
    columns: usize,
}

/// Reduces `[matrix | right-hand sides]` of this many matrix columns.
pub fn reduce(mut rows: Vec<Vec<Exact>>, columns: usize) -> Echelon {
    let mut pivots = Vec::new();
    for column in 0..columns {
        let top = pivots.len();
        let Some(at) = (top..rows.len()).find(|&i| !rows[i][column].is_zero()) else { continue };
        rows.swap(top, at);
        let pivot = rows[top][column].clone();
        rows[top].iter_mut().for_each(|v| *v /= &pivot);
        for i in 0..rows.len() {
            if i != top && !rows[i][column].is_zero() {
                let factor = rows[i][column].clone();
                let (source, target) = if i < top {
                    let (a, b) = rows.split_at_mut(top);
                    (&b[0], &mut a[i])
                } else {
                    let (a, b) = rows.split_at_mut(i);
                    (&a[top], &mut b[0])
                };
                target.iter_mut().zip(source).filter(|(_, s)| !s.is_zero()).for_each(|(t, s)| *t -= s * &factor);
            }
        }
        pivots.push(column);
    }
    Echelon { pivots, rows, columns }
}

impl Echelon {
    /// The rank of the matrix.
    pub fn rank(&self) -> usize {
        self.pivots.len()
    }

    /// A basis of the null space of the matrix.
    pub fn null_space(&self) -> Vec<Vec<Exact>> {
        let free = (0..self.columns).filter(|j| !self.pivots.contains(j));
        free.map(|j| {
            let mut z = vec![Exact::zero(); self.columns];
            z[j] = Exact::one();
            self.pivots.iter().zip(&self.rows).for_each(|(&p, row)| z[p] = -row[j].clone());
            z
        })
        .collect()
    }

    /// The solution with zeros beside the pivots for right-hand side `k`; `None` if there is none.
    pub fn solution(&self, k: usize) -> Option<Vec<Exact>> {
        let consistent = self.rows[self.rank()..].iter().all(|row| row[self.columns + k].is_zero());
        consistent.then(|| {
            let mut x = vec![Exact::zero(); self.columns];
            self.pivots.iter().zip(&self.rows).for_each(|(&p, row)| x[p] = row[self.columns + k].clone());
            x
        })
    }
}

/// Inner product.
pub fn dot(a: &[Exact], b: &[Exact]) -> Exact {
    a.iter().zip(b).fold(Exact::zero(), |sum, (a, b)| sum + a * b)
}

/// `v` without its part in the span of `basis`.
pub fn project_off(v: &[Exact], basis: &[Vec<Exact>]) -> Vec<Exact> {
    if basis.is_empty() {
        return v.to_vec();
    }
    let gram = basis.iter().map(|a| basis.iter().map(|b| dot(a, b)).chain([dot(a, v)]).collect()).collect();
    let along = reduce(gram, basis.len()).solution(0).unwrap_or_default();
    let mut out = v.to_vec();
    for (b, t) in basis.iter().zip(&along) {
        out.iter_mut().zip(b).for_each(|(o, b)| *o -= b * t);
    }
    out
}

/// Sum of magnitudes of the products.
pub fn terms(a: &[Exact], b: &[Exact]) -> Exact {
    a.iter().zip(b).fold(Exact::zero(), |sum, (a, b)| sum + (a * b).abs())
}
