//! The linear power flow: a convex quadratic program in the powers of the generators and the angles of the buses.
//!
//! Susceptance `x / (r^2 + x^2)`, taps and phase shifts ignored, shunt conductance added to the load, limits of lines and of
//! angle differences kept; powers in units of `base`.

use crate::{Case, GridError};
use bpqp::{Csc, Hessian, Matrix, Qp};

/// The rows of the program.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Rows {
    /// The two rows of each branch that has a limit: forth and back.
    pub limit: Vec<Option<usize>>,
}

/// The program, in the powers of the generators, then the angles; one equality for each bus, then one for each reference.
/// Besides, the constant of its costs.
pub fn program(case: &Case) -> Result<(Qp, f64), GridError> {
    with_rows(case).map(|(qp, constant, _)| (qp, constant))
}

pub(crate) fn with_rows(case: &Case) -> Result<(Qp, f64, Rows), GridError> {
    let (base, ng, nb) = (case.base, case.generators.len(), case.buses.len());
    let n = ng + nb;
    let (mut d, mut q, mut constant) = (vec![0.0; n], vec![0.0; n], 0.0);
    let (mut lb, mut ub) = (vec![f64::NEG_INFINITY; n], vec![f64::INFINITY; n]);
    let mut balance = Vec::new();
    for (j, generator) in case.generators.iter().enumerate() {
        let [c2, c1, c0] = generator.cost;
        (d[j], q[j]) = (2.0 * c2 * base * base, c1 * base);
        constant += c0;
        (lb[j], ub[j]) = (generator.power.0 / base, generator.power.1 / base);
        balance.push((generator.bus, j, 1.0));
    }
    let mut load: Vec<f64> = case.buses.iter().map(|bus| (bus.load + bus.conductance) / base).collect();
    let (mut rows, mut limits, mut own) = (Vec::new(), Vec::new(), Rows::default());
    for branch in &case.branches {
        let (from, to) = (branch.from, branch.to);
        let (r, x) = (branch.resistance, branch.reactance);
        let susceptance = x / (r * r + x * x);
        // what leaves the bus `from` arrives at `to`
        for (at, sign) in [(from, -1.0), (to, 1.0)] {
            balance.extend([(at, ng + from, sign * susceptance), (at, ng + to, -sign * susceptance)]);
        }
        own.limit.push(branch.limit.map(|_| limits.len()));
        let mut limit = |factor: f64, most: f64, sign: f64| {
            if most.is_finite() {
                rows.extend([(limits.len(), ng + from, sign * factor), (limits.len(), ng + to, -sign * factor)]);
                limits.push(most);
            }
        };
        if let Some(most) = branch.limit {
            limit(susceptance, most / base, 1.0);
            limit(susceptance, most / base, -1.0);
        }
        limit(1.0, branch.angle.1, 1.0);
        limit(1.0, -branch.angle.0, -1.0);
    }
    for (k, _) in case.buses.iter().enumerate().filter(|(_, bus)| bus.reference) {
        balance.push((load.len(), ng + k, 1.0));
        load.push(0.0);
    }
    let p = if d.iter().any(|v| *v != 0.0) { Hessian::Diagonal(d) } else { Hessian::Zero(n) };
    let a = Csc::from_triplets(load.len(), n, &balance)?;
    let g = Csc::from_triplets(limits.len(), n, &rows)?;
    let qp = Qp::new(p, q)?.equality(Matrix::Sparse(a), load)?.inequality(Matrix::Sparse(g), limits)?.bounds(lb, ub)?;
    Ok((qp, constant, own))
}
