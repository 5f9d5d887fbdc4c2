//! The exact judge of second-order cones: programs of small integers around planted optima at Pythagorean points of the
//! boundaries, where everything, the curvature included, is a fraction.

use crate::Rng;
use crate::exact::{Exact, double, exact, reduce};
use bpqp::{Cone, Conic, ConicCotangent, ConicWrt, Csc, Settings, Status, Verdict};
use num_traits::Zero;

/// Points of the boundary whose numbers are all integers: `t^2 = |u|^2`.
const POINTS: [&[i32]; 6] = [&[5, 3, 4], &[13, 5, 12], &[5, 0, 5], &[3, 1, 2, 2], &[7, 2, 3, 6], &[1, 1]];

/// Where a cone is at the optimum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Slack inside, multiplier 0.
    Inside,
    /// Both on the boundary, the multiplier this multiple of the mirrored slack.
    Boundary(i32),
    /// Slack 0, multiplier inside.
    Apex,
    /// On a kink: one of them 0, the other on the boundary.
    KinkOfSlack,
    /// The other way round.
    KinkOfMultiplier,
}

/// A program and its optimum.
pub struct PlantedCones {
    problem: Conic,
    x: Vec<f64>,
    unit: Vec<f64>,
    objective: f64,
    regular: bool,
    /// The system of the derivative in `(dx, multipliers)`; its right-hand side is `(-dq, 0)`.
    system: Vec<Vec<Exact>>,
}

fn boundary(rng: &mut Rng) -> Vec<f64> {
    let point = POINTS[rng.below(POINTS.len())];
    point.iter().enumerate().map(|(i, v)| f64::from(*v) * if i > 0 && rng.below(2) == 0 { -1.0 } else { 1.0 }).collect()
}

fn mirrored(s: &[f64]) -> Vec<f64> {
    s.iter().enumerate().map(|(i, v)| if i == 0 { *v } else { -v }).collect()
}

impl PlantedCones {
    /// The program of this seed, variables, cones and objective in units of powers of two up to `2^spread` up and down.
    pub fn new(rng: &mut Rng, spread: i32) -> Result<Self, bpqp::Error> {
        let n = 1 + rng.below(5);
        let small = |rng: &mut Rng| rng.below(5) as f64 - 2.0;
        let power = |rng: &mut Rng| {
            if spread == 0 { 1.0 } else { f64::from(rng.below(2 * spread as usize + 1) as i32 - spread).exp2() }
        };
        let rank = if rng.below(3) == 0 { rng.below(n + 1) } else { n };
        let factor: Vec<Vec<f64>> = (0..n).map(|_| (0..rank).map(|_| small(rng)).collect()).collect();
        let inner = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let ridge = f64::from(u8::from(rank == n));
        let p: Vec<Vec<f64>> = (0..n)
            .map(|i| (0..n).map(|j| inner(&factor[i], &factor[j]) + if i == j { ridge } else { 0.0 }).collect())
            .collect();
        let x: Vec<f64> = (0..n).map(|_| small(rng)).collect();
        let unit: Vec<f64> = (0..n).map(|_| power(rng)).collect();
        let objective = power(rng);
        let (mut cones, mut rows, mut b, mut units) = (Vec::new(), Vec::<Vec<f64>>::new(), Vec::new(), Vec::new());
        let mut q: Vec<f64> = p.iter().map(|row| -inner(row, &x)).collect();
        // P, to which the boundaries add their curvature, and the rows that hold
        let mut curved: Vec<Vec<f64>> = p.clone();
        let mut held: Vec<Vec<f64>> = Vec::new();
        let mut kink = false;
        for _ in 0..1 + rng.below(3) {
            let place = match rng.below(12) {
                0..=2 => Place::Inside,
                3..=8 => Place::Boundary(1 + rng.below(3) as i32),
                9 | 10 => Place::Apex,
                _ if rng.below(2) == 0 => Place::KinkOfSlack,
                _ => Place::KinkOfMultiplier,
            };
            let edge = boundary(rng);
            let size = edge.len();
            let zero = vec![0.0; size];
            let inside: Vec<f64> = edge.iter().enumerate().map(|(i, v)| if i == 0 { v + 1.0 } else { *v }).collect();
            let a: Vec<Vec<f64>> = (0..size).map(|_| (0..n).map(|_| small(rng)).collect()).collect();
            let (s, y) = match place {
                Place::Inside => (inside, zero),
                Place::Boundary(k) => (edge.clone(), mirrored(&edge).iter().map(|v| v * f64::from(k)).collect()),
                Place::Apex => (zero, inside),
                Place::KinkOfSlack => (edge.clone(), zero),
                Place::KinkOfMultiplier => (zero, edge.clone()),
            };
            kink |= matches!(place, Place::KinkOfSlack | Place::KinkOfMultiplier);
            if let Place::Boundary(k) = place {
                let normal = mirrored(&s);
                held.push((0..n).map(|j| (0..size).map(|i| normal[i] * a[i][j]).sum()).collect());
                for (i, row) in a.iter().enumerate() {
                    let sign = f64::from(k) * if i == 0 { -1.0 } else { 1.0 };
                    for (r, c) in (0..n).flat_map(|r| (0..n).map(move |c| (r, c))) {
                        curved[r][c] += sign * row[r] * row[c];
                    }
                }
            }
            if place == Place::Apex {
                held.extend(a.iter().cloned());
            }
            let own = power(rng);
            for (i, row) in a.iter().enumerate() {
                q.iter_mut().zip(row).for_each(|(q, v)| *q -= v * y[i]);
                b.push(own * (inner(row, &x) + s[i]));
                rows.push(row.iter().zip(&unit).map(|(v, u)| v * own / u).collect());
                units.push(own);
            }
            cones.push(Cone::SecondOrder(size));
        }
        let k = held.len();
        let mut system: Vec<Vec<Exact>> = Vec::new();
        for (i, row) in curved.iter().enumerate() {
            system.push(row.iter().copied().chain(held.iter().map(|h| h[i])).map(exact).collect());
        }
        for row in &held {
            system.push(row.iter().copied().chain(vec![0.0; k]).map(exact).collect());
        }
        let regular = !kink && reduce(system.clone(), n + k).rank() == n + k;
        let entries = |m: &[Vec<f64>]| -> Vec<(usize, usize, f64)> {
            m.iter().enumerate().flat_map(|(i, r)| r.iter().enumerate().map(move |(j, v)| (i, j, *v))).collect()
        };
        let p: Vec<Vec<f64>> =
            (0..n).map(|i| (0..n).map(|j| objective * p[i][j] / unit[i] / unit[j]).collect()).collect();
        q.iter_mut().zip(&unit).for_each(|(q, u)| *q *= objective / u);
        let upper: Vec<_> = entries(&p).into_iter().filter(|(i, j, v)| i <= j && *v != 0.0).collect();
        let a = Csc::from_triplets(rows.len(), n, &entries(&rows))?;
        let problem = Conic::new(Some(Csc::from_triplets(n, n, &upper)?), q, a, b, cones)?;
        let x = x.iter().zip(&unit).map(|(x, u)| x * u).collect();
        Ok(PlantedCones { problem, x, unit, objective, regular, system })
    }

    /// The change of x, in its units, where the linear term changes by `g` in its own.
    fn change(&self, g: &[f64]) -> Vec<f64> {
        let (n, order) = (g.len(), self.system.len());
        let rhs = |i: usize| if i < n { exact(-g[i]) } else { Exact::zero() };
        let system = self.system.iter().enumerate().map(|(i, row)| row.iter().cloned().chain([rhs(i)]).collect());
        let solution = reduce(system.collect(), order).solution(0).unwrap_or_default();
        solution.iter().take(n).map(double).collect()
    }

    /// Solves, differentiates and compares; what the library said, whether the optimum is regular, and what is wrong.
    pub fn judge(&self) -> (String, bool, Option<String>) {
        let solution = match self.problem.solve(&Settings::default()) {
            Ok(solution) => solution,
            Err(e) => return ("refused".into(), self.regular, Some(e.to_string())),
        };
        let said = solution.status.to_string();
        if matches!(solution.status, Status::PrimalInfeasible | Status::DualInfeasible | Status::NonConvex) {
            return (said, self.regular, Some("a proof of what is not so".into()));
        }
        if solution.status != Status::Solved {
            return (said, self.regular, None);
        }
        let n = self.x.len();
        let g: Vec<f64> = (0..n).map(|j| (1.0 + j as f64) * if j % 2 == 0 { 1.0 } else { -1.0 }).collect();
        let loss: Vec<f64> = g.iter().zip(&self.unit).map(|(g, u)| g / u).collect();
        let (gradients, verdict) = match solution.vjps(&[ConicCotangent::x(&loss)], ConicWrt::ALL) {
            Ok(out) => out,
            Err(_) => return ("no gradient".into(), self.regular, None),
        };
        let said = verdict.to_string();
        if verdict != Verdict::Exact {
            return (said, self.regular, None);
        }
        if !self.regular {
            return (said, false, Some("exact where it is one of several".into()));
        }
        let off = (0..n).map(|j| (solution.x[j] - self.x[j]).abs() / self.unit[j]).fold(0.0, f64::max);
        if off > 1e-5 {
            return (said, true, Some(format!("x = {:?}, right is {:?}", solution.x, self.x)));
        }
        let right = self.change(&g);
        let size = right.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
        let got: Vec<f64> =
            gradients[0].q.iter().flatten().zip(&self.unit).map(|(v, u)| v * self.objective / u).collect();
        let agrees = got.len() == n && got.iter().zip(&right).all(|(a, b)| (a - b).abs() <= 1e-5 * size + 1e-8);
        let wrong = (!agrees).then(|| format!("dq = {got:?}, right is {right:?}, in units"));
        (said, true, wrong)
    }
}
