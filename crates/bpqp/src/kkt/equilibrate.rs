//! The units of a system: factors of its rows and columns that bring their largest entries near 1.

use super::KktData;

/// Sweeps; each halves what the exponents are off by. Within a power of ten is enough to tell rounding from numbers.
const SWEEPS: usize = 4;
/// Where the solution vanishes the terms of a row are rounding, and so is what is left of them: no row is measured against
/// less than this part of the largest one.
const NOISE: f64 = 1e-5;

/// Factors of the variables and of the rows; infinite where there is nothing to scale.
#[derive(Debug, Default)]
pub(crate) struct Units {
    pub w: Vec<f64>,
    pub v: Vec<f64>,
    largest_w: Vec<f64>,
    largest_v: Vec<f64>,
    diagonal: Vec<f64>,
}

fn refill(v: &mut Vec<f64>, n: usize, value: f64) {
    v.clear();
    v.resize(n, value);
}

impl Units {
    /// Equilibrates the rows and columns that are kept (Ruiz, "A scaling algorithm to equilibrate both rows and columns
    /// norms", 2001). The diagonal of P stands for its columns: `|P_ij| <= sqrt(P_ii P_jj)`.
    pub fn load(&mut self, data: KktData<'_>, (dx, dc): (&[f64], &[f64])) {
        data.p.diagonal_into(&mut self.diagonal);
        refill(&mut self.w, dx.len(), 1.0);
        refill(&mut self.v, dc.len(), 1.0);
        let Units { w, v, largest_w, largest_v, diagonal } = self;
        for _ in 0..SWEEPS {
            refill(largest_w, dx.len(), 0.0);
            refill(largest_v, dc.len(), 0.0);
            data.for_each_row_entry(|i, j, entry| {
                if dc[i].is_finite() && dx[j].is_finite() {
                    let entry = (entry * v[i] * w[j]).abs();
                    largest_w[j] = largest_w[j].max(entry);
                    largest_v[i] = largest_v[i].max(entry);
                }
            });
            for (j, largest) in largest_w.iter_mut().enumerate().filter(|(j, _)| dx[*j].is_finite()) {
                *largest = largest.max((diagonal[j] + dx[j]) * w[j] * w[j]);
            }
            for (i, largest) in largest_v.iter_mut().enumerate().filter(|(i, _)| dc[*i].is_finite()) {
                *largest = largest.max(dc[i] * v[i] * v[i]);
            }
            for (factor, largest) in w.iter_mut().zip(&*largest_w).chain(v.iter_mut().zip(&*largest_v)) {
                *factor = if *largest > 0.0 { *factor / largest.sqrt() } else { f64::INFINITY };
            }
        }
    }

    /// Raises the sizes of the terms of rows in which everything is rounding against those of the others.
    pub fn raise(&self, (r, s): (&mut [f64], &mut [f64]), (dx, dc): (&[f64], &[f64])) {
        let usable = |unit: f64, d: f64| unit.is_finite() && d.is_finite();
        let blocks = [(r, &self.w, dx), (s, &self.v, dc)];
        let mut largest = 0.0_f64;
        for (size, units, d) in &blocks {
            let rows = size.iter().zip(*units).zip(*d).filter(|((_, u), d)| usable(**u, **d));
            largest = rows.fold(largest, |m, ((size, unit), _)| m.max(size * unit));
        }
        for (size, units, d) in blocks {
            for ((size, unit), d) in size.iter_mut().zip(units).zip(d) {
                if usable(*unit, *d) {
                    *size = size.max(NOISE * largest / unit);
                }
            }
        }
    }
}
