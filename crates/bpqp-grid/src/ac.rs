//! The full power flow: a smooth program in angles and voltages of the buses, and powers of the generators.
//!
//! ```text
//! minimize    sum c2 P^2 + c1 P + c0                      over angles, voltages, P, Q of the generators
//! subject to  flows out of each bus + shunt + load - generation = 0         active, then reactive
//!             |S|^2 <= limit^2 at both ends of each limited branch
//!             least <= angle difference <= most,  bounds of voltages, P and Q
//! ```
//!
//! Each of the four flows of a branch is `a v^2 + v_f v_t (p cos t + q sin t)` with `t` the difference of its angles and `v`
//! the voltage of its own end: its derivatives by `(t, v_f, v_t)` are written out, and put where they belong.

use crate::Case;
use bpqp::smooth::{At, Expansion, Pushed, SmoothProgram, Values};
use bpqp::{Csc, Error, Hessian, Matrix};

/// A flow: the coefficient of the square, that of the cosine, that of the sine.
#[derive(Debug, Clone, Copy)]
struct Flow {
    square: f64,
    cos: f64,
    sin: f64,
    at_from: bool,
}

/// Value, first and second derivatives by `(t, v_f, v_t)`; the second as tt, tf, tt', ff, ft, t't'.
struct Jet {
    value: f64,
    first: [f64; 3],
    second: [f64; 6],
}

impl Flow {
    fn jet(&self, t: f64, f: f64, v: f64) -> Jet {
        let (sin, cos) = t.sin_cos();
        let (wave, turned) = (self.cos * cos + self.sin * sin, self.sin * cos - self.cos * sin);
        let a = 2.0 * self.square;
        let (af, at) = if self.at_from { (a, 0.0) } else { (0.0, a) };
        Jet {
            value: 0.5 * (af * f * f + at * v * v) + f * v * wave,
            first: [f * v * turned, v * wave + af * f, f * wave + at * v],
            second: [-f * v * wave, v * turned, f * turned, af, wave, at],
        }
    }
}

/// Where the numbers of a sparse matrix go, in the order in which they are made.
#[derive(Debug, Clone)]
struct Pattern {
    matrix: Csc,
    place: Vec<usize>,
}

impl Pattern {
    fn new(rows: usize, cols: usize, entries: &[(usize, usize)]) -> Result<Self, Error> {
        let triplets: Vec<_> = entries.iter().map(|&(i, j)| (i, j, 0.0)).collect();
        let matrix = Csc::from_triplets(rows, cols, &triplets)?;
        let find = |&(i, j): &(usize, usize)| {
            let start = matrix.indptr()[j];
            start + matrix.indices()[start..matrix.indptr()[j + 1]].partition_point(|&r| r < i)
        };
        let place = entries.iter().map(find).collect();
        Ok(Pattern { matrix, place })
    }

    fn fill(&self, values: &[f64]) -> Csc {
        let mut out = self.matrix.clone();
        let to = out.values_mut();
        self.place.iter().zip(values).for_each(|(&k, v)| to[k] += v);
        out
    }
}

/// The program at the loads, limits and costs of a case.
///
/// Parameters, in this order and in the units of the case: loads and reactive loads of the buses, limits of the branches
/// (entries of those without one are ignored), coefficients of P^2, of P and of 1 of the generators.
#[derive(Debug, Clone)]
pub struct AcProgram {
    case: Case,
    flows: Vec<[Flow; 4]>,
    lb: Vec<f64>,
    ub: Vec<f64>,
    /// The first of the two rows of each limited branch; rows of angles behind them, `(branch, sign, most)`.
    limits: Vec<usize>,
    angles: Vec<(usize, f64, f64)>,
    equality: Pattern,
    inequality: Pattern,
    hessian: Pattern,
}

impl AcProgram {
    /// The program of a case.
    pub fn new(case: &Case) -> Result<Self, Error> {
        let (nb, ng, base) = (case.buses.len(), case.generators.len(), case.base);
        let n = 2 * nb + 2 * ng;
        let flows = case.branches.iter().map(|branch| {
            let square = branch.resistance.powi(2) + branch.reactance.powi(2);
            let (g, b) = (branch.resistance / square, -branch.reactance / square);
            let half = 0.5 * branch.charging;
            let (sin, cos) = branch.shift.sin_cos();
            let (gff, bff) = (g / branch.tap.powi(2), (b + half) / branch.tap.powi(2));
            // -y / conj(ratio) and -y / ratio
            let (gft, bft) = (-(g * cos - b * sin) / branch.tap, -(b * cos + g * sin) / branch.tap);
            let (gtf, btf) = (-(g * cos + b * sin) / branch.tap, -(b * cos - g * sin) / branch.tap);
            [
                Flow { square: gff, cos: gft, sin: bft, at_from: true },
                Flow { square: -bff, cos: -bft, sin: gft, at_from: true },
                Flow { square: g, cos: gtf, sin: -btf, at_from: false },
                Flow { square: -(b + half), cos: -btf, sin: -gtf, at_from: false },
            ]
        });
        let (mut lb, mut ub) = (vec![f64::NEG_INFINITY; n], vec![f64::INFINITY; n]);
        for (k, bus) in case.buses.iter().enumerate() {
            if bus.reference {
                (lb[k], ub[k]) = (0.0, 0.0);
            }
            (lb[nb + k], ub[nb + k]) = bus.voltage;
        }
        for (k, generator) in case.generators.iter().enumerate() {
            let (p, q) = (2 * nb + k, 2 * nb + ng + k);
            (lb[p], ub[p]) = (generator.power.0 / base, generator.power.1 / base);
            (lb[q], ub[q]) = (generator.reactive.0 / base, generator.reactive.1 / base);
        }
        let limits: Vec<usize> = (0..case.branches.len()).filter(|&k| case.branches[k].limit.is_some()).collect();
        let mut angles = Vec::new();
        for (k, branch) in case.branches.iter().enumerate() {
            for (sign, most) in [(1.0, branch.angle.1), (-1.0, -branch.angle.0)] {
                if most.is_finite() {
                    angles.push((k, sign, most));
                }
            }
        }
        let ends = |k: usize| {
            let (f, t) = (case.branches[k].from, case.branches[k].to);
            [f, t, nb + f, nb + t]
        };
        let (mut equality, mut inequality, mut hessian) = (Vec::new(), Vec::new(), Vec::new());
        for k in 0..case.branches.len() {
            let (f, t) = (case.branches[k].from, case.branches[k].to);
            for row in [f, nb + f, t, nb + t] {
                equality.extend(ends(k).map(|j| (row, j)));
            }
            hessian.extend(ends(k).iter().flat_map(|&i| ends(k).map(move |j| (i, j))));
        }
        for k in 0..nb {
            equality.extend([(k, nb + k), (nb + k, nb + k)]);
            hessian.push((nb + k, nb + k));
        }
        for (k, generator) in case.generators.iter().enumerate() {
            equality.extend([(generator.bus, 2 * nb + k), (nb + generator.bus, 2 * nb + ng + k)]);
            hessian.push((2 * nb + k, 2 * nb + k));
        }
        for (row, &k) in limits.iter().enumerate() {
            inequality.extend([2 * row, 2 * row + 1].iter().flat_map(|&i| ends(k).map(move |j| (i, j))));
        }
        for (row, &(k, _, _)) in angles.iter().enumerate() {
            let row = 2 * limits.len() + row;
            inequality.extend([(row, case.branches[k].from), (row, case.branches[k].to)]);
        }
        let rows = 2 * limits.len() + angles.len();
        Ok(AcProgram {
            flows: flows.collect(),
            equality: Pattern::new(2 * nb, n, &equality)?,
            inequality: Pattern::new(rows, n, &inequality)?,
            hessian: Pattern::new(n, n, &hessian)?,
            case: case.clone(),
            lb,
            ub,
            limits,
            angles,
        })
    }

    /// Voltages of 1, angles of 0 and powers in the middle, as far as bounds allow.
    pub fn start(&self) -> Vec<f64> {
        let nb = self.case.buses.len();
        let middle = |j: usize| match (self.lb[j].is_finite(), self.ub[j].is_finite()) {
            (true, true) => 0.5 * (self.lb[j] + self.ub[j]),
            _ => 0.0_f64.max(self.lb[j]).min(self.ub[j]),
        };
        let of = |j: usize| {
            if j < nb {
                0.0
            } else if j < 2 * nb {
                1.0_f64.max(self.lb[j]).min(self.ub[j])
            } else {
                middle(j)
            }
        };
        (0..self.lb.len()).map(of).collect()
    }

    /// The case.
    pub fn case(&self) -> &Case {
        &self.case
    }

    fn jets(&self, k: usize, x: &[f64]) -> [Jet; 4] {
        let nb = self.case.buses.len();
        let (f, t) = (self.case.branches[k].from, self.case.branches[k].to);
        self.flows[k].map(|flow| flow.jet(x[f] - x[t], x[nb + f], x[nb + t]))
    }

    /// Active power that enters each branch at its beginning and at its end, in MW.
    pub fn flows(&self, x: &[f64]) -> Vec<(f64, f64)> {
        let of = |k: usize| {
            let jets = self.jets(k, x);
            (self.case.base * jets[0].value, self.case.base * jets[2].value)
        };
        (0..self.flows.len()).map(of).collect()
    }

    fn power(&self, k: usize, x: &[f64]) -> f64 {
        self.case.base * x[2 * self.case.buses.len() + k]
    }
}

/// By `(angle_f, angle_t, v_f, v_t)`.
fn spread(first: [f64; 3]) -> [f64; 4] {
    [first[0], -first[0], first[1], first[2]]
}

impl SmoothProgram for AcProgram {
    fn bounds(&self) -> (&[f64], &[f64]) {
        (&self.lb, &self.ub)
    }

    fn values(&mut self, x: &[f64]) -> Result<Values, Error> {
        let (nb, ng, base) = (self.case.buses.len(), self.case.generators.len(), self.case.base);
        let mut c = vec![0.0; 2 * nb];
        for (k, bus) in self.case.buses.iter().enumerate() {
            let square = x[nb + k] * x[nb + k];
            c[k] = (bus.load + bus.conductance * square) / base;
            c[nb + k] = (bus.reactive - bus.susceptance * square) / base;
        }
        let mut objective = 0.0;
        for (k, generator) in self.case.generators.iter().enumerate() {
            let [c2, c1, c0] = generator.cost;
            let p = self.power(k, x);
            objective += (c2 * p + c1) * p + c0;
            c[generator.bus] -= x[2 * nb + k];
            c[nb + generator.bus] -= x[2 * nb + ng + k];
        }
        let mut apparent = vec![(0.0, 0.0); self.flows.len()];
        for (k, branch) in self.case.branches.iter().enumerate() {
            let [pf, qf, pt, qt] = self.jets(k, x).map(|jet| jet.value);
            c[branch.from] += pf;
            c[nb + branch.from] += qf;
            c[branch.to] += pt;
            c[nb + branch.to] += qt;
            apparent[k] = (pf * pf + qf * qf, pt * pt + qt * qt);
        }
        let mut g = Vec::with_capacity(self.inequality.matrix.nrows());
        for &k in &self.limits {
            let most = (self.case.branches[k].limit.unwrap_or(f64::INFINITY) / base).powi(2);
            g.extend([apparent[k].0 - most, apparent[k].1 - most]);
        }
        for &(k, sign, most) in &self.angles {
            let branch = &self.case.branches[k];
            g.push(sign * (x[branch.from] - x[branch.to]) - most);
        }
        Ok(Values { objective, equality: c, inequality: g })
    }

    fn expand(&mut self, at: At<'_>) -> Result<Expansion, Error> {
        let (nb, base) = (self.case.buses.len(), self.case.base);
        let x = at.x;
        let (mut equality, mut hessian) = (Vec::new(), Vec::new());
        let mut row = vec![None; self.flows.len()];
        self.limits.iter().enumerate().for_each(|(i, &k)| row[k] = Some(2 * i));
        let mut limited = vec![[[0.0; 4]; 2]; self.limits.len()];
        for (k, branch) in self.case.branches.iter().enumerate() {
            let jets = self.jets(k, x);
            let (f, t) = (branch.from, branch.to);
            let mut weights = [at.y[f], at.y[nb + f], at.y[t], at.y[nb + t]];
            jets.iter().for_each(|jet| equality.extend(spread(jet.first)));
            let mut local = [[0.0; 3]; 3];
            if let Some(i) = row[k] {
                for end in 0..2 {
                    let z = at.z[i + end];
                    let (p, q) = (&jets[2 * end], &jets[2 * end + 1]);
                    let slope = |a: usize| 2.0 * (p.value * p.first[a] + q.value * q.first[a]);
                    limited[i / 2][end] = spread([slope(0), slope(1), slope(2)]);
                    weights[2 * end] += 2.0 * z * p.value;
                    weights[2 * end + 1] += 2.0 * z * q.value;
                    for a in 0..3 {
                        for b in 0..3 {
                            local[a][b] += 2.0 * z * (p.first[a] * p.first[b] + q.first[a] * q.first[b]);
                        }
                    }
                }
            }
            for (weight, jet) in weights.iter().zip(&jets) {
                let [tt, tf, tv, ff, fv, vv] = jet.second.map(|v| weight * v);
                let own = [[tt, tf, tv], [tf, ff, fv], [tv, fv, vv]];
                (0..9).for_each(|e| local[e / 3][e % 3] += own[e / 3][e % 3]);
            }
            let index = [(0, 1.0), (0, -1.0), (1, 1.0), (2, 1.0)];
            for (a, s) in index {
                hessian.extend(index.map(|(b, r)| s * r * local[a][b]));
            }
        }
        for (k, bus) in self.case.buses.iter().enumerate() {
            let (p, q) = (2.0 * bus.conductance / base, -2.0 * bus.susceptance / base);
            equality.extend([p * x[nb + k], q * x[nb + k]]);
            hessian.push(p * at.y[k] + q * at.y[nb + k]);
        }
        let mut gradient = vec![0.0; x.len()];
        for (k, generator) in self.case.generators.iter().enumerate() {
            let [c2, c1, _] = generator.cost;
            gradient[2 * nb + k] = base * (2.0 * c2 * self.power(k, x) + c1);
            equality.extend([-1.0, -1.0]);
            hessian.push(2.0 * c2 * base * base);
        }
        let mut inequality: Vec<f64> = limited.iter().flatten().flatten().copied().collect();
        inequality.extend(self.angles.iter().flat_map(|&(_, sign, _)| [sign, -sign]));
        Ok(Expansion {
            gradient,
            equality: Matrix::Sparse(self.equality.fill(&equality)),
            inequality: Matrix::Sparse(self.inequality.fill(&inequality)),
            hessian: Hessian::Sparse(self.hessian.fill(&hessian)),
        })
    }

    fn pull(&mut self, at: At<'_>, w: &[f64], (uy, uz): (&[f64], &[f64]), t: f64) -> Result<Vec<f64>, Error> {
        let (nb, base) = (self.case.buses.len(), self.case.base);
        let mut out: Vec<f64> = uy.iter().zip(at.y).map(|(u, y)| (u + t * y) / base).collect();
        let mut limits = vec![0.0; self.flows.len()];
        for (i, &k) in self.limits.iter().enumerate() {
            let most = self.case.branches[k].limit.unwrap_or(0.0) / base;
            let rows = uz[2 * i] + uz[2 * i + 1] + t * (at.z[2 * i] + at.z[2 * i + 1]);
            limits[k] = -2.0 * most * rows / base;
        }
        out.extend(limits);
        let powers: Vec<f64> = (0..self.case.generators.len()).map(|k| self.power(k, at.x)).collect();
        let own = |k: usize| w[2 * nb + k] * base;
        out.extend(powers.iter().enumerate().map(|(k, p)| own(k) * 2.0 * p + t * p * p));
        out.extend(powers.iter().enumerate().map(|(k, p)| own(k) + t * p));
        out.extend(powers.iter().map(|_| t));
        Ok(out)
    }

    fn push(&mut self, at: At<'_>, direction: &[f64]) -> Result<Pushed, Error> {
        let (nb, ng, nl, base) = (self.case.buses.len(), self.case.generators.len(), self.flows.len(), self.case.base);
        let expected = 2 * nb + nl + 3 * ng;
        if direction.len() != expected {
            let reason = format!("a direction of {} parameters, expected {expected}", direction.len());
            return Err(Error::Backward { reason });
        }
        let equality: Vec<f64> = direction[..2 * nb].iter().map(|v| v / base).collect();
        let mut inequality = vec![0.0; self.inequality.matrix.nrows()];
        for (i, &k) in self.limits.iter().enumerate() {
            let most = self.case.branches[k].limit.unwrap_or(0.0) / base;
            let change = -2.0 * most * direction[2 * nb + k] / base;
            (inequality[2 * i], inequality[2 * i + 1]) = (change, change);
        }
        let costs = &direction[2 * nb + nl..];
        let mut gradient = vec![0.0; at.x.len()];
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let mut lagrangian = dot(at.y, &equality) + dot(at.z, &inequality);
        for k in 0..ng {
            let p = self.power(k, at.x);
            let (c2, c1, c0) = (costs[k], costs[ng + k], costs[2 * ng + k]);
            gradient[2 * nb + k] = base * (2.0 * c2 * p + c1);
            lagrangian += (c2 * p + c1) * p + c0;
        }
        Ok(Pushed { gradient, equality, inequality, lagrangian })
    }
}
