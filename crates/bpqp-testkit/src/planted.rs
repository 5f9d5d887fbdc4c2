//! Small quadratic programs of integers around a planted optimum, in units of powers of two: every number is exact.

use crate::Rng;
use bpqp::{Csc, Hessian, Matrix, Qp};
use faer::Mat;

/// What holds a constraint at the planted optimum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// A multiplier.
    Strong,
    /// Nothing: it is met with multiplier 0.
    Weak,
    /// It is not met.
    Slack,
}

/// What the matrices of a program are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// Full.
    #[default]
    Dense,
    /// Stored entry by entry.
    Sparse,
    /// The Hessian as a diagonal and a factor, where its unit is a square; the rows are full.
    Factored,
}

/// A program and what is known of it. Everything is in the units of the program.
#[derive(Debug, Clone)]
pub struct Planted {
    /// The Hessian, row by row.
    pub p: Vec<Vec<f64>>,
    /// A factor of it in small integers, and the multiple of the identity that is added.
    factor: (Vec<Vec<f64>>, f64),
    /// The linear term.
    pub q: Vec<f64>,
    /// Equalities.
    pub a: Vec<Vec<f64>>,
    /// Their right-hand sides.
    pub b: Vec<f64>,
    /// Inequalities.
    pub g: Vec<Vec<f64>>,
    /// Their right-hand sides.
    pub h: Vec<f64>,
    /// Lower bounds.
    pub lb: Vec<f64>,
    /// Upper bounds.
    pub ub: Vec<f64>,
    /// The optimum.
    pub x: Vec<f64>,
    /// How the inequalities are held there.
    pub rows: Vec<Hold>,
    /// The same of the bounds.
    pub bounds: Vec<Hold>,
    /// The unit of each variable.
    pub unit: Vec<f64>,
    /// The unit of the objective.
    pub objective: f64,
    /// The units of the equalities and of the inequalities.
    pub row_units: [Vec<f64>; 2],
    /// Largest exponent of the units.
    pub spread: i32,
}

fn hold(rng: &mut Rng) -> Hold {
    match rng.below(10) {
        0..=3 => Hold::Strong,
        4 if rng.below(2) == 0 => Hold::Weak,
        _ => Hold::Slack,
    }
}

impl Planted {
    /// The program of this seed; units up to `2^spread` up and down.
    pub fn new(rng: &mut Rng, spread: i32) -> Self {
        let n = 1 + rng.below(5);
        let small = |rng: &mut Rng| rng.below(5) as f64 - 2.0;
        let rank = if rng.below(3) == 0 { rng.below(n + 1) } else { n };
        let factor: Vec<Vec<f64>> = (0..n).map(|_| (0..rank).map(|_| small(rng)).collect()).collect();
        let inner = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let ridge = f64::from(u8::from(rank == n));
        let mut p: Vec<Vec<f64>> = (0..n)
            .map(|i| (0..n).map(|j| inner(&factor[i], &factor[j]) + if i == j { ridge } else { 0.0 }).collect())
            .collect();
        let origin = rng.below(4) == 0;
        let mut x: Vec<f64> = (0..n).map(|_| if origin { 0.0 } else { small(rng) }).collect();
        let (m, k) = (rng.below(n.min(3) + 1), rng.below(n + 2));
        let rows = |rng: &mut Rng, count: usize| -> Vec<Vec<f64>> {
            (0..count).map(|_| (0..n).map(|_| small(rng)).collect()).collect()
        };
        let (mut a, mut g) = (rows(rng, m), rows(rng, k));
        if m > 1 && rng.below(4) == 0 {
            a[1] = a[0].iter().map(|v| 2.0 * v).collect();
        }
        let multiplier = |rng: &mut Rng, hold: Hold| if hold == Hold::Strong { 1.0 + rng.below(3) as f64 } else { 0.0 };
        let held: Vec<Hold> = (0..k).map(|_| hold(rng)).collect();
        let z: Vec<f64> = held.iter().map(|&h| multiplier(rng, h)).collect();
        let y: Vec<f64> = (0..m).map(|_| small(rng)).collect();
        let mut b: Vec<f64> = a.iter().map(|row| inner(row, &x)).collect();
        let slack = |rng: &mut Rng, hold: Hold| if hold == Hold::Slack { 1.0 + rng.below(3) as f64 } else { 0.0 };
        let mut h: Vec<f64> = (0..k).map(|i| inner(&g[i], &x) + slack(rng, held[i])).collect();
        let (mut lb, mut ub) = (vec![f64::NEG_INFINITY; n], vec![f64::INFINITY; n]);
        let (mut bounds, mut z_box) = (vec![Hold::Slack; n], vec![0.0; n]);
        for j in 0..n {
            let side = rng.below(4);
            if side < 2 {
                bounds[j] = hold(rng);
                let (force, room) = (multiplier(rng, bounds[j]), slack(rng, bounds[j]));
                if side == 0 {
                    (lb[j], z_box[j]) = (x[j] - room, -force);
                } else {
                    (ub[j], z_box[j]) = (x[j] + room, force);
                }
            }
        }
        let mut q: Vec<f64> = (0..n)
            .map(|j| {
                let rows = |m: &[Vec<f64>], v: &[f64]| m.iter().zip(v).map(|(row, v)| row[j] * v).sum::<f64>();
                -(inner(&p[j], &x) + rows(&a, &y) + rows(&g, &z) + z_box[j])
            })
            .collect();
        let mut power =
            || if spread == 0 { 1.0 } else { f64::from(rng.below(2 * spread as usize + 1) as i32 - spread).exp2() };
        let unit: Vec<f64> = (0..n).map(|_| power()).collect();
        let objective = power();
        let row_units = [a.len(), g.len()].map(|count| (0..count).map(|_| power()).collect::<Vec<_>>());
        for ((m, rhs), units) in [(&mut a, &mut b), (&mut g, &mut h)].into_iter().zip(&row_units) {
            for ((row, rhs), r) in m.iter_mut().zip(rhs).zip(units) {
                row.iter_mut().zip(&unit).for_each(|(v, u)| *v *= r / u);
                *rhs *= r;
            }
        }
        for j in 0..n {
            p[j].iter_mut().zip(&unit).for_each(|(v, u)| *v *= objective / u / unit[j]);
            q[j] *= objective / unit[j];
            x[j] *= unit[j];
            lb[j] *= unit[j];
            ub[j] *= unit[j];
        }
        Planted {
            p,
            factor: (factor, ridge),
            q,
            a,
            b,
            g,
            h,
            lb,
            ub,
            x,
            rows: held,
            bounds,
            unit,
            objective,
            row_units,
            spread,
        }
    }

    /// The number of variables.
    pub fn n(&self) -> usize {
        self.q.len()
    }

    /// This many copies side by side, as a program of matrices of this form.
    pub fn program(&self, copies: usize, form: Form) -> Result<Qp, bpqp::Error> {
        let blocks = |m: &[Vec<f64>]| {
            let columns = m.first().map_or(0, Vec::len);
            Mat::from_fn(copies * m.len(), copies * columns, |i, j| match i / m.len().max(1) == j / columns.max(1) {
                true => m[i % m.len()][j % columns],
                false => 0.0,
            })
        };
        let matrix = |m: &[Vec<f64>]| match form {
            Form::Sparse => Matrix::Sparse(Csc::from_dense(&blocks(m))),
            _ => Matrix::from(blocks(m)),
        };
        let root = self.objective.sqrt();
        let p = match form {
            Form::Sparse => Hessian::Sparse(Csc::from_dense(&blocks(&self.p))),
            Form::Factored if root * root == self.objective => {
                let (factor, ridge) = &self.factor;
                let f: Vec<Vec<f64>> =
                    factor.iter().zip(&self.unit).map(|(row, u)| row.iter().map(|v| v * root / u).collect()).collect();
                let d: Vec<f64> = self.unit.iter().map(|u| ridge * self.objective / u / u).collect();
                Hessian::LowRank { d: d.repeat(copies), f: blocks(&f) }
            }
            _ => Hessian::from(blocks(&self.p)),
        };
        let mut qp = Qp::new(p, self.q.repeat(copies))?;
        if !self.a.is_empty() {
            qp = qp.equality(matrix(&self.a), self.b.repeat(copies))?;
        }
        if !self.g.is_empty() {
            qp = qp.inequality(matrix(&self.g), self.h.repeat(copies))?;
        }
        qp.bounds(self.lb.repeat(copies), self.ub.repeat(copies))
    }
}
