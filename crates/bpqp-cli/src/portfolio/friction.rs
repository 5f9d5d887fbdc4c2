//! What a trade costs in the program of a day: `kappa/2 |w - v|^2 + c |w - v|_1`, `v` what is held before it.
//!
//! The absolute values have no rows of their own. In what is bought and what is sold, `w = v + b - s`, the program is
//!
//! ```text
//! minimize    1/2 (b, s)' (diag(d + kappa, d + kappa) + [F; -F] [F; -F]') (b, s) + (g + c)'b + (c - g)'s
//! subject to  1'b - 1's = 1 - 1'v,   b, s between bounds                        g = (diag(d) + F F') v + q
//! ```
//!
//! with the squares of `b` and of `s` in the place of the square of `b - s`: they differ by `2 (d + kappa) b s`, which is 0
//! where no name is both bought and sold. That holds at the solution of either program, as buying less and selling less of
//! the same name costs less in both, so the solutions are the same, and so are their derivatives. `P` stays a diagonal plus
//! a few factors, and bounds stay bounds.

use bpqp::Hessian;
use faer::Mat;
use serde::{Deserialize, Serialize};

/// Prices of a trade, in units of the squared risk of the day.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Friction {
    /// Of half of the square of what is traded.
    pub kappa: f64,
    /// Of what is traded.
    pub c: f64,
}

impl Friction {
    /// What is tried on the validation days: none, squares, absolute values.
    pub const TRIED: [Friction; 13] = [
        Friction { kappa: 0.0, c: 0.0 },
        Friction { kappa: 0.1, c: 0.0 },
        Friction { kappa: 0.3, c: 0.0 },
        Friction { kappa: 1.0, c: 0.0 },
        Friction { kappa: 3.0, c: 0.0 },
        Friction { kappa: 10.0, c: 0.0 },
        Friction { kappa: 30.0, c: 0.0 },
        Friction { kappa: 100.0, c: 0.0 },
        Friction { kappa: 0.0, c: 0.001 },
        Friction { kappa: 0.0, c: 0.003 },
        Friction { kappa: 0.0, c: 0.01 },
        Friction { kappa: 0.0, c: 0.03 },
        Friction { kappa: 0.0, c: 0.1 },
    ];
}

/// The numbers of a program over weights between bounds: `1/2 w'(diag(d) + F F')w + q'w`.
pub struct Weighted {
    /// The diagonal.
    pub d: Vec<f64>,
    /// The factors.
    pub f: Mat<f64>,
    /// The linear term.
    pub q: Vec<f64>,
    /// The largest weights; the least are 0.
    pub upper: Vec<f64>,
}

/// The same program over what is bought and, behind it, sold.
pub struct Traded {
    /// `P`.
    pub p: Hessian,
    /// The linear term.
    pub q: Vec<f64>,
    /// Lower bounds.
    pub lower: Vec<f64>,
    /// Upper bounds.
    pub upper: Vec<f64>,
}

impl Weighted {
    /// With the prices of trading away from `held`.
    pub fn traded(self, friction: Friction, held: &[f64]) -> Result<Traded, bpqp::Error> {
        let Weighted { d, f, q, upper } = self;
        let (n, r) = (d.len(), f.ncols());
        let exposure: Vec<f64> = (0..r).map(|k| (0..n).map(|i| f[(i, k)] * held[i]).sum()).collect();
        let slope = |i: usize| d[i] * held[i] + (0..r).map(|k| f[(i, k)] * exposure[k]).sum::<f64>() + q[i];
        let slopes: Vec<f64> = (0..n).map(slope).collect();
        let linear = slopes.iter().map(|g| friction.c + g).chain(slopes.iter().map(|g| friction.c - g));
        let diagonal: Vec<f64> = d.iter().map(|d| d + friction.kappa).collect();
        let room = |i: usize| (upper[i] - held[i]).max(0.0);
        Ok(Traded {
            p: Hessian::low_rank(
                [&diagonal[..], &diagonal[..]].concat(),
                Mat::from_fn(2 * n, r, |i, k| if i < n { f[(i, k)] } else { -f[(i - n, k)] }),
            )?,
            q: linear.collect(),
            // what is above its cap must be sold, what is below 0 bought
            lower: held.iter().map(|v| (-v).max(0.0)).chain((0..n).map(|i| (held[i] - upper[i]).max(0.0))).collect(),
            upper: (0..n).map(room).chain(held.iter().map(|v| v.max(0.0))).collect(),
        })
    }
}

/// The weights after these trades.
pub fn weights(held: &[f64], trades: &[f64]) -> Vec<f64> {
    let (bought, sold) = trades.split_at(held.len());
    held.iter().zip(bought.iter().zip(sold)).map(|(v, (b, s))| v + b - s).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::portfolio::random::Random;
    use bpqp::{Cotangent, Layer, Matrix, Qp, Settings, Wrt};

    const N: usize = 12;
    const R: usize = 3;

    struct Case {
        d: Vec<f64>,
        f: Vec<f64>,
        held: Vec<f64>,
    }

    fn case() -> Case {
        let mut random = Random::new(3, 1);
        let mut some = |n: usize, low: f64| -> Vec<f64> { (0..n).map(|_| low + random.uniform()).collect() };
        let (d, f, held) = (some(N, 0.2), some(N * R, -0.3), some(N, -0.2));
        let held: Vec<f64> = held.iter().map(|v| v.max(0.0)).collect();
        let total: f64 = held.iter().sum();
        Case { d, f, held: held.iter().map(|v| v / total).collect() }
    }

    fn upper() -> Vec<f64> {
        // two names may not be held any more, and one is above its cap
        (0..N).map(|i| if i < 2 { 0.0 } else { 0.2 }).collect()
    }

    fn matrix(case: &Case) -> Mat<f64> {
        Mat::from_fn(N, R, |i, k| case.f[i * R + k])
    }

    fn solved(case: &Case, friction: Friction) -> (Layer, Vec<f64>) {
        let own = Weighted { d: case.d.clone(), f: matrix(case), q: vec![0.0; N], upper: upper() };
        let traded = own.traded(friction, &case.held).unwrap();
        let ones: Vec<f64> = (0..2 * N).map(|i| if i < N { 1.0 } else { -1.0 }).collect();
        let rest = 1.0 - case.held.iter().sum::<f64>();
        let qp = Qp::new(traded.p, traded.q).unwrap().equality(Matrix::from_rows(1, 2 * N, &ones).unwrap(), vec![rest]);
        let qp = qp.unwrap().bounds(traded.lower, traded.upper).unwrap();
        let mut layer = Layer::new(qp, Settings::default()).unwrap();
        let solution = layer.solve().unwrap();
        assert!(solution.ok());
        let w = weights(&case.held, &solution.x);
        (layer, w)
    }

    /// The same with a variable above each absolute value.
    fn reference(case: &Case, friction: Friction) -> Vec<f64> {
        let f = matrix(case);
        let mut p = Mat::zeros(2 * N, 2 * N);
        for i in 0..N {
            for j in 0..N {
                p[(i, j)] = (0..R).map(|k| f[(i, k)] * f[(j, k)]).sum::<f64>();
            }
            p[(i, i)] += case.d[i] + friction.kappa;
        }
        let mut q: Vec<f64> = case.held.iter().map(|v| -friction.kappa * v).collect();
        q.resize(2 * N, friction.c);
        let mut g = vec![0.0; 2 * N * 2 * N];
        let mut h = vec![0.0; 2 * N];
        for i in 0..N {
            for (row, sign) in [(i, 1.0), (N + i, -1.0)] {
                (g[row * 2 * N + i], g[row * 2 * N + N + i]) = (sign, -1.0);
                h[row] = sign * case.held[i];
            }
        }
        let ones: Vec<f64> = (0..2 * N).map(|i| if i < N { 1.0 } else { 0.0 }).collect();
        let most = [upper(), vec![f64::INFINITY; N]].concat();
        let qp = Qp::new(p, q).unwrap().equality(Matrix::from_rows(1, 2 * N, &ones).unwrap(), vec![1.0]).unwrap();
        let qp = qp.inequality(Matrix::from_rows(2 * N, 2 * N, &g).unwrap(), h).unwrap();
        let solution = qp.bounds(vec![0.0; 2 * N], most).unwrap().solve(&Settings::default()).unwrap();
        assert!(solution.ok());
        solution.x[..N].to_vec()
    }

    #[test]
    fn the_weights_are_those_of_the_program_with_absolute_values() {
        let case = case();
        for (kappa, c) in [(0.0, 1e-3), (0.0, 0.02), (0.5, 0.02), (0.0, 10.0), (2.0, 0.0)] {
            let friction = Friction { kappa, c };
            let (w, expected) = (solved(&case, friction).1, reference(&case, friction));
            for (i, (w, expected)) in w.iter().zip(&expected).enumerate() {
                assert!((w - expected).abs() < 1e-9, "{friction:?}: {i}: {w} {expected}");
            }
        }
        // what is dear is traded only where it must be
        let w = solved(&case, Friction { kappa: 0.0, c: 0.02 }).1;
        assert!((2..N).any(|i| w[i] == case.held[i] && w[i] > 0.0), "{w:?}");
    }

    #[test]
    fn the_gradient_reaches_the_factors() {
        let (case, friction) = (case(), Friction { kappa: 0.1, c: 0.01 });
        let mut random = Random::new(5, 1);
        let loss: Vec<f64> = (0..N).map(|_| random.uniform() - 0.5).collect();
        let value = |case: &Case| solved(case, friction).1.iter().zip(&loss).map(|(w, l)| w * l).sum::<f64>();
        let (mut layer, _) = solved(&case, friction);
        let along: Vec<f64> = loss.iter().copied().chain(loss.iter().map(|l| -l)).collect();
        let gradient = layer.vjp(&Cotangent::x(&along), Wrt { p: true, q: true, ..Wrt::NONE }).unwrap();
        let q = gradient.q.clone().unwrap();
        let Hessian::LowRank { d, f } = gradient.p.clone().unwrap() else { panic!("not factored") };
        // d and F are in the Hessian twice and, through what is held, in the linear term
        let moved = |i: usize| q[i] - q[N + i];
        for i in 0..N {
            let of_d = d[i] + d[N + i] + moved(i) * case.held[i];
            let numeric = |change: &dyn Fn(&mut Case, f64)| {
                let at = |step: f64| {
                    let mut other = Case { d: case.d.clone(), f: case.f.clone(), held: case.held.clone() };
                    change(&mut other, step);
                    value(&other)
                };
                (at(1e-6) - at(-1e-6)) / 2e-6
            };
            let expected = numeric(&|case, step| case.d[i] += step);
            assert!((of_d - expected).abs() < 1e-6, "d[{i}]: {of_d} {expected}");
            for k in 0..R {
                let all: f64 = (0..N).map(|j| moved(j) * case.f[j * R + k]).sum();
                let exposure: f64 = (0..N).map(|j| case.f[j * R + k] * case.held[j]).sum();
                let of_f = f[(i, k)] - f[(N + i, k)] + moved(i) * exposure + all * case.held[i];
                let expected = numeric(&|case, step| case.f[i * R + k] += step);
                assert!((of_f - expected).abs() < 1e-6, "F[{i}, {k}]: {of_f} {expected}");
            }
        }
    }
}
