//! A solved grid: cost, schedule, prices, and their derivatives.

use crate::{AcProgram, Case, GridError, dc};
use bpqp::smooth::{self, At, LocalSolution};
use bpqp::{Cotangent, Layer, Settings, Solver, Status, Tangent, Verdict, Wrt};

/// Which physics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Model {
    /// Linear: no losses, no voltages. Convex.
    #[default]
    Dc,
    /// The full power flow. Not convex: a local solution.
    Ac,
}

/// A number for each parameter: a direction, or a gradient. In the units of the case.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parameters {
    /// Loads of the buses, MW.
    pub load: Vec<f64>,
    /// Reactive loads of the buses, MVAr.
    pub reactive: Vec<f64>,
    /// Limits of the branches, MVA; 0 in gradients of those without one.
    pub limit: Vec<f64>,
    /// Coefficients of `P^2` of the generators.
    pub quadratic: Vec<f64>,
    /// Coefficients of `P` of the generators.
    pub linear: Vec<f64>,
}

impl Parameters {
    /// Zeros for a case.
    pub fn zeros(case: &Case) -> Self {
        let (nb, nl, ng) = (case.buses.len(), case.branches.len(), case.generators.len());
        let zeros = |n: usize| vec![0.0; n];
        Parameters { load: zeros(nb), reactive: zeros(nb), limit: zeros(nl), quadratic: zeros(ng), linear: zeros(ng) }
    }

    /// The case with its parameters moved by these times `step`.
    pub fn moved(&self, case: &Case, step: f64) -> Case {
        let mut out = case.clone();
        let at = |v: &[f64], k: usize| step * v.get(k).copied().unwrap_or(0.0);
        for (k, bus) in out.buses.iter_mut().enumerate() {
            bus.load += at(&self.load, k);
            bus.reactive += at(&self.reactive, k);
        }
        for (k, branch) in out.branches.iter_mut().enumerate() {
            branch.limit = branch.limit.map(|limit| limit + at(&self.limit, k));
        }
        for (k, generator) in out.generators.iter_mut().enumerate() {
            generator.cost[0] += at(&self.quadratic, k);
            generator.cost[1] += at(&self.linear, k);
        }
        out
    }
}

/// A number for each output: a cotangent, or a change.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outputs {
    /// The cost, $/h.
    pub cost: f64,
    /// Powers of the generators, MW.
    pub power: Vec<f64>,
    /// Prices at the buses, $/MWh.
    pub price: Vec<f64>,
}

/// Which program it was.
enum Solved {
    Dc(Box<Layer>, dc::Rows),
    Ac(Box<AcProgram>, Box<LocalSolution>),
}

/// A solved grid.
pub struct Dispatch {
    /// How the solve ended. Numbers are NaN where there is no solution.
    pub status: Status,
    /// How far derivatives may be trusted.
    pub verdict: Verdict,
    /// Why there is no solution, if it is known in words.
    pub reason: Option<String>,
    /// Iterations of the solver.
    pub iterations: usize,
    /// What is left of the optimality conditions, relative to their terms.
    pub residual: f64,
    /// Cost, $/h.
    pub cost: f64,
    /// Powers of the generators, MW.
    pub power: Vec<f64>,
    /// Reactive powers of the generators, MVAr; empty in the linear model.
    pub reactive: Vec<f64>,
    /// Prices at the buses, $/MWh: what one more MW of load there costs.
    pub price: Vec<f64>,
    /// Voltages of the buses; empty in the linear model.
    pub voltage: Vec<f64>,
    /// Angles of the buses in degrees.
    pub angle: Vec<f64>,
    /// Power into each branch where it begins, MW.
    pub flow: Vec<f64>,
    case: Case,
    solved: Solved,
    derivative: Verdict,
}

fn at(v: &[f64], k: usize) -> f64 {
    v.get(k).copied().unwrap_or(0.0)
}

impl Dispatch {
    /// Solves a case.
    pub fn solve(case: &Case, model: Model, settings: &Settings) -> Result<Self, GridError> {
        Self::solve_from(case, model, settings, None)
    }

    /// Solves a case, from where a similar one of the same grid and model ended ([`Dispatch::point`]).
    pub fn solve_from(case: &Case, model: Model, settings: &Settings, near: Option<At<'_>>) -> Result<Self, GridError> {
        match model {
            Model::Dc => Self::linear(case, settings),
            Model::Ac => Self::full(case, settings, near),
        }
    }

    fn linear(case: &Case, settings: &Settings) -> Result<Self, GridError> {
        let (qp, constant, rows) = dc::with_rows(case)?;
        let mut layer = Layer::new(qp, settings.clone())?;
        layer.solve()?;
        let (base, ng) = (case.base, case.generators.len());
        let s = layer.solution();
        let ok = s.ok();
        let number = |v: f64| if ok { v } else { f64::NAN };
        let angle: Vec<f64> = s.x[ng..].to_vec();
        let flow = case.branches.iter().map(|branch| {
            let (r, x) = (branch.resistance, branch.reactance);
            number(base * (angle[branch.from] - angle[branch.to]) * x / (r * r + x * x))
        });
        Ok(Dispatch {
            status: s.status,
            verdict: s.verdict(),
            reason: None,
            iterations: s.info.iterations,
            residual: s.residuals.relative(),
            cost: number(s.objective + constant),
            power: s.x[..ng].iter().map(|p| number(base * p)).collect(),
            reactive: Vec::new(),
            price: s.y[..case.buses.len()].iter().map(|y| number(-y / base)).collect(),
            voltage: Vec::new(),
            flow: flow.collect(),
            angle: angle.iter().map(|a| number(a.to_degrees())).collect(),
            case: case.clone(),
            solved: Solved::Dc(Box::new(layer), rows),
            derivative: Verdict::Exact,
        })
    }

    fn full(case: &Case, settings: &Settings, near: Option<At<'_>>) -> Result<Self, GridError> {
        let mut program = AcProgram::new(case)?;
        let start = program.start();
        // also where it is small: quadratic programs of a grid are hard ones
        let solver = if settings.solver == Solver::Auto { Solver::InteriorPoint } else { settings.solver };
        let settings = &Settings { solver, ..settings.clone() };
        let s = match near {
            Some(At { x, y, z }) if x.len() == start.len() => smooth::solve(&mut program, x, Some((y, z)), settings)?,
            _ => smooth::solve(&mut program, &start, None, settings)?,
        };
        let (base, nb, ng) = (case.base, case.buses.len(), case.generators.len());
        let ok = s.ok();
        let number = |v: f64| if ok { v } else { f64::NAN };
        let powers = |from: usize| s.x[from..from + ng].iter().map(|p| number(base * p)).collect::<Vec<f64>>();
        Ok(Dispatch {
            status: s.status,
            verdict: s.verdict(),
            reason: s.reason.clone(),
            iterations: s.iterations,
            residual: s.residual,
            cost: number(s.objective),
            power: powers(2 * nb),
            reactive: powers(2 * nb + ng),
            price: s.y[..nb].iter().map(|y| number(y / base)).collect(),
            voltage: s.x[nb..2 * nb].iter().map(|v| number(*v)).collect(),
            angle: s.x[..nb].iter().map(|a| number(a.to_degrees())).collect(),
            flow: program.flows(&s.x).iter().map(|f| number(f.0)).collect(),
            case: case.clone(),
            solved: Solved::Ac(Box::new(program), Box::new(s)),
            derivative: Verdict::Exact,
        })
    }

    /// Where a similar case may start: the point and multipliers of the full power flow, if there is a solution.
    pub fn point(&self) -> Option<At<'_>> {
        match &self.solved {
            Solved::Ac(_, s) if s.ok() => Some(At { x: &s.x, y: &s.y, z: &s.z }),
            _ => None,
        }
    }

    /// The case.
    pub fn case(&self) -> &Case {
        &self.case
    }

    /// How far the last derivatives may be trusted: the verdict of the solution, or worse.
    pub fn derivative_verdict(&self) -> Verdict {
        self.verdict.worse(self.derivative)
    }

    /// True if there is a solution.
    pub fn ok(&self) -> bool {
        self.status.ok()
    }

    /// The gradient by the parameters of a loss with these cotangents (empty for zeros): one solve with the system of the
    /// backward pass, whatever the number of parameters.
    pub fn gradient(&mut self, cotangent: &Outputs) -> Result<Parameters, GridError> {
        let (base, nb, nl) = (self.case.base, self.case.buses.len(), self.case.branches.len());
        let ng = self.case.generators.len();
        let scaled = |v: &[f64], n: usize, by: f64| (0..n).map(|k| by * at(v, k)).collect::<Vec<f64>>();
        match &mut self.solved {
            Solved::Dc(layer, rows) => {
                let n = ng + nb;
                let mut x = scaled(&cotangent.power, ng, base);
                x.resize(n, 0.0);
                let mut y = scaled(&cotangent.price, nb, -1.0 / base);
                y.resize(layer.solution().y.len(), 0.0);
                let cot = Cotangent { x, y, objective: cotangent.cost, ..Cotangent::default() };
                let wrt = Wrt { q: true, b: true, h: true, ..Wrt::NONE };
                let powers = &self.power;
                let g = layer.vjp(&cot, wrt)?.clone();
                self.derivative = layer.verdict();
                let mut out = Parameters::zeros(&self.case);
                let (q, b, h) = (g.q.as_deref(), g.b.as_deref(), g.h.as_deref());
                out.load = (0..nb).map(|k| b.map_or(0.0, |b| b[k] / base)).collect();
                for (k, first) in rows.limit.iter().enumerate() {
                    if let (Some(i), Some(h)) = (first, h) {
                        out.limit[k] = (h[*i] + h[i + 1]) / base;
                    }
                }
                out.linear = (0..ng).map(|k| q.map_or(0.0, |q| base * q[k])).collect();
                // a change of c2 is one of the slope at the solution
                let slope = |k: usize| 2.0 * powers[k] * (out.linear[k] - cotangent.cost * powers[k]);
                out.quadratic = (0..ng).map(|k| slope(k) + cotangent.cost * powers[k] * powers[k]).collect();
                Ok(out)
            }
            Solved::Ac(program, s) => {
                let mut x = vec![0.0; s.x.len()];
                (0..ng).for_each(|k| x[2 * nb + k] = base * at(&cotangent.power, k));
                let mut y = scaled(&cotangent.price, nb, 1.0 / base);
                y.resize(2 * nb, 0.0);
                let cot = Cotangent { x, y, objective: cotangent.cost, ..Cotangent::default() };
                let found = s.vjp(&mut **program, &cot)?;
                self.derivative = found.verdict;
                let g = found.parameters;
                let part = |from: usize, n: usize| g[from..from + n].to_vec();
                Ok(Parameters {
                    load: part(0, nb),
                    reactive: part(nb, nb),
                    limit: part(2 * nb, nl),
                    quadratic: part(2 * nb + nl, ng),
                    linear: part(2 * nb + nl + ng, ng),
                })
            }
        }
    }

    /// How the outputs change along a direction of the parameters (empty for zeros).
    pub fn along(&mut self, direction: &Parameters) -> Result<Outputs, GridError> {
        let (base, nb, nl) = (self.case.base, self.case.buses.len(), self.case.branches.len());
        let ng = self.case.generators.len();
        let scaled = |v: &[f64], n: usize, by: f64| (0..n).map(|k| by * at(v, k)).collect::<Vec<f64>>();
        match &mut self.solved {
            Solved::Dc(layer, rows) => {
                let s = layer.solution();
                let mut b = scaled(&direction.load, nb, 1.0 / base);
                b.resize(s.y.len(), 0.0);
                let mut h = vec![0.0; s.z.len()];
                for (k, first) in rows.limit.iter().enumerate() {
                    if let Some(i) = first {
                        let change = at(&direction.limit, k) / base;
                        (h[*i], h[i + 1]) = (change, change);
                    }
                }
                // a change of c2 is one of the slope at the solution
                let slope =
                    |k: usize| base * (at(&direction.linear, k) + 2.0 * self.power[k] * at(&direction.quadratic, k));
                let mut q: Vec<f64> = (0..ng).map(slope).collect();
                q.resize(ng + nb, 0.0);
                let along = Tangent { q: Some(q), b: Some(b), h: Some(h), ..Tangent::default() };
                let t = layer.jvp(&along)?.clone();
                self.derivative = layer.verdict();
                let counted: f64 = (0..ng).map(|k| at(&direction.quadratic, k) * self.power[k] * self.power[k]).sum();
                Ok(Outputs {
                    cost: t.objective - counted,
                    power: t.x[..ng].iter().map(|p| base * p).collect(),
                    price: t.y[..nb].iter().map(|y| -y / base).collect(),
                })
            }
            Solved::Ac(program, s) => {
                let mut p = scaled(&direction.load, nb, 1.0);
                p.extend(scaled(&direction.reactive, nb, 1.0));
                p.extend(scaled(&direction.limit, nl, 1.0));
                p.extend(scaled(&direction.quadratic, ng, 1.0));
                p.extend(scaled(&direction.linear, ng, 1.0));
                p.resize(2 * nb + nl + 3 * ng, 0.0);
                let t = s.jvp(&mut **program, &p, (&[], &[]))?;
                self.derivative = t.verdict;
                Ok(Outputs {
                    cost: t.objective,
                    power: t.x[2 * nb..2 * nb + ng].iter().map(|p| base * p).collect(),
                    price: t.y[..nb].iter().map(|y| y / base).collect(),
                })
            }
        }
    }
}
