//! Central differences against the analytic gradient of a conic program.

use super::{ConicCotangent, ConicSolution, ConicWrt};
use crate::matrix::dot;
use crate::{Error, Settings};
use std::fmt;

/// Random directions per block.
const DIRECTIONS: usize = 3;
/// Steps relative to the data; the one that agrees best counts.
const STEPS: [f64; 3] = [1e-4, 1e-5, 1e-6];

/// What [`check_conic_gradient`] found for one block of the data.
#[derive(Debug, Clone, PartialEq)]
pub struct ConicCheckRow {
    /// `P`, `q`, `A`, `b`, `lb` or `ub`.
    pub block: &'static str,
    /// Its entries.
    pub entries: usize,
    /// Directions in which it was moved.
    pub directions: usize,
    /// Those along which the solution could not be followed.
    pub kinks: usize,
    /// The worst error along a direction, relative to the derivative or to the largest one of the block.
    pub worst: f64,
    /// The analytic derivative along that direction.
    pub analytic: f64,
    /// The central difference along it.
    pub numeric: f64,
}

/// Analytic against numeric gradients.
#[derive(Debug, Clone, PartialEq)]
pub struct ConicGradientCheck {
    /// The worst error of all blocks.
    pub worst: f64,
    /// One row per block.
    pub table: Vec<ConicCheckRow>,
}

impl fmt::Display for ConicGradientCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<5} {:>16} {:>16} {:>9}", "block", "analytic", "numeric", "error")?;
        for row in &self.table {
            write!(f, "\n{:<5} {:>16.8e} {:>16.8e} {:>9.1e}", row.block, row.analytic, row.numeric, row.worst)?;
        }
        Ok(())
    }
}

/// Compares the gradient of `<cotangent, (x, s, y, z_box, objective)>` with central differences along a few random directions in every block
/// of the data (each entry moves in proportion to itself, zeros of q and b in proportion to the largest). The solution is
/// carried to the problems nearby by the polish; a direction along which it cannot follow counts as a disagreement.
pub fn check_conic_gradient(
    solution: &ConicSolution,
    cotangent: &ConicCotangent<'_>,
) -> Result<ConicGradientCheck, Error> {
    let gradient = solution.vjp(cotangent, ConicWrt::ALL)?;
    let conic = solution.conic();
    let p = conic.p().map(|p| p.values().to_vec()).unwrap_or_default();
    let blocks = [
        ("P", p, gradient.p),
        ("q", conic.q().to_vec(), gradient.q),
        ("A", conic.a().values().to_vec(), gradient.a),
        ("b", conic.b().to_vec(), gradient.b),
        ("lb", conic.lb().to_vec(), gradient.lb),
        ("ub", conic.ub().to_vec(), gradient.ub),
    ];
    let loss = |block: usize, values: &[f64]| -> Result<Option<f64>, Error> {
        let of = |k: usize| (k == block).then_some(values);
        let mut near = conic.with_values(of(0), of(1), of(2), of(3))?;
        if let (4.., [lb, ub]) = (block, [of(4).unwrap_or(conic.lb()), of(5).unwrap_or(conic.ub())]) {
            near = near.bounds(lb, ub)?;
        }
        let point = [solution.at[0].clone(), solution.at[1].clone(), solution.at[2].clone(), solution.at[3].clone()];
        let settings = Settings { polish: true, time_limit: None, interrupt: None, ..solution.settings().clone() };
        let out = near.from_point(point, &settings)?;
        let inner = |c: &[f64], v: &[f64]| if c.is_empty() { 0.0 } else { dot(c, v) };
        let cotangents = [cotangent.x, cotangent.s, cotangent.y, cotangent.z_box];
        let outputs: f64 = cotangents.iter().zip(&*out.at).map(|(c, v)| inner(c, v)).sum();
        let objective = if cotangent.objective == 0.0 { 0.0 } else { cotangent.objective * near.objective(&out.at[0]) };
        Ok(out.info.polished.then_some(outputs + objective))
    };
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        // xorshift: any sequence without pattern will do
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    };
    let mut table = Vec::new();
    for (k, (block, values, gradient)) in blocks.into_iter().enumerate() {
        let Some(gradient) = gradient.filter(|g| !g.is_empty()) else { continue };
        let largest = values.iter().filter(|v| v.is_finite()).fold(0.0_f64, |m, v| m.max(v.abs()));
        let fixed = |i: usize| conic.lb()[i] == conic.ub()[i];
        if k >= 4 && (0..values.len()).all(|i| !values[i].is_finite() || fixed(i)) {
            continue;
        }
        let mut rows = Vec::new();
        for _ in 0..DIRECTIONS {
            let mut d: Vec<f64> = values
                .iter()
                .enumerate()
                .map(|(i, v)| {
                    // bounds that are infinite, or one number, cannot be moved by themselves
                    let still = k >= 4 && (!v.is_finite() || fixed(i));
                    let zero = *v == 0.0 && matches!(block, "q" | "b" | "lb" | "ub");
                    let size = if zero { largest.max(1.0) } else { *v };
                    if still { 0.0 } else { size * random() }
                })
                .collect();
            let whole = k == 0 && !conic.p_is_upper() && !conic.p_is_factored();
            if let Some(p) = conic.p().filter(|_| whole) {
                symmetrize(p, &mut d);
            }
            let analytic = dot(&gradient, &d);
            let (mut error, mut numeric) = (f64::INFINITY, f64::NAN);
            for step in STEPS {
                let at = |h: f64| {
                    let moved: Vec<f64> = values.iter().zip(&d).map(|(v, d)| v + h * d).collect();
                    loss(k, &moved)
                };
                if let (Some(plus), Some(minus)) = (at(step)?, at(-step)?) {
                    let slope = (plus - minus) / (2.0 * step);
                    if (slope - analytic).abs() < error {
                        (error, numeric) = ((slope - analytic).abs(), slope);
                    }
                }
            }
            rows.push((error, analytic, numeric));
        }
        let (entries, directions) = (values.len(), rows.len());
        let kinks = rows.iter().filter(|r| r.2.is_nan()).count();
        let scale = rows.iter().fold(f64::MIN_POSITIVE, |m, r| m.max(r.1.abs()));
        if let Some(&(error, analytic, numeric)) = rows.iter().max_by(|a, b| a.0.total_cmp(&b.0)) {
            let worst = error / scale.max(1e-300);
            table.push(ConicCheckRow { block, entries, directions, kinks, worst, analytic, numeric });
        }
    }
    // a block that has no influence is compared with what the others have
    let whole = table.iter().fold(0.0_f64, |m, r| m.max(r.analytic.abs()));
    for row in &mut table {
        row.worst = row.worst.min((row.analytic - row.numeric).abs() / whole.max(f64::MIN_POSITIVE) * 1e3);
        if row.numeric.is_nan() {
            row.worst = f64::INFINITY;
        }
    }
    Ok(ConicGradientCheck { worst: table.iter().fold(0.0, |m, r| m.max(r.worst)), table })
}

/// Makes a direction in the entries of a full P symmetric.
fn symmetrize(p: &crate::Csc, d: &mut [f64]) {
    let mut direction = p.clone();
    direction.values_mut().copy_from_slice(d);
    let mirrored = direction.transpose();
    for (k, (i, j, _)) in p.triplets().enumerate() {
        let other = mirrored.column(j).find(|&(r, _)| r == i).map_or(0.0, |(_, v)| v);
        d[k] = 0.5 * (d[k] + other);
    }
}
