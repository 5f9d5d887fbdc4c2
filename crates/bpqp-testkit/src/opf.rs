//! DC optimal power flow from MATPOWER case files.
//!
//! Susceptance `x / (r^2 + x^2)`, taps and phase shifts ignored, shunt conductance added to the load, limits `rateA` and of
//! angle differences kept; powers in units of `baseMVA`.

use bpqp::{Csc, Error, Hessian, Matrix, Qp};
use std::collections::HashMap;

/// The program in the powers of the generators and the angles of the buses, and the constant of its costs.
pub fn program(text: &str) -> Result<(Qp, f64), String> {
    let base = scalar(text, "baseMVA")?;
    let (bus, generator, branch, cost) =
        (table(text, "bus")?, table(text, "gen")?, table(text, "branch")?, table(text, "gencost")?);
    let place: HashMap<i64, usize> = bus.iter().enumerate().map(|(k, row)| (row[0] as i64, k)).collect();
    let find = |id: f64| place.get(&(id as i64)).copied().ok_or_else(|| format!("no bus {id}"));
    let running: Vec<usize> = (0..generator.len()).filter(|&k| generator[k][7] > 0.0).collect();
    let (ng, nb) = (running.len(), bus.len());
    let n = ng + nb;

    let (mut d, mut q, mut constant) = (vec![0.0; n], vec![0.0; n], 0.0);
    let (mut lb, mut ub) = (vec![f64::NEG_INFINITY; n], vec![f64::INFINITY; n]);
    let mut balance = Vec::new();
    for (j, &k) in running.iter().enumerate() {
        let row = &cost[k];
        let count = row[3] as usize;
        let coefficients = row.get(4..4 + count).ok_or("gencost is too short")?;
        if row[0] != 2.0 || count > 3 {
            return Err("costs are quadratic polynomials".into());
        }
        let of = |power: usize| if power < count { coefficients[count - 1 - power] } else { 0.0 };
        (d[j], q[j]) = (2.0 * of(2) * base * base, of(1) * base);
        constant += of(0);
        (lb[j], ub[j]) = (generator[k][9] / base, generator[k][8] / base);
        balance.push((find(generator[k][0])?, j, 1.0));
    }
    let mut load: Vec<f64> = bus.iter().map(|row| (row[2] + row[4]) / base).collect();
    let (mut rows, mut limits) = (Vec::new(), Vec::new());
    for row in branch.iter().filter(|row| row[10] > 0.0) {
        let (from, to) = (find(row[0])?, find(row[1])?);
        let susceptance = row[3] / (row[2] * row[2] + row[3] * row[3]);
        // what leaves the bus `from` arrives at `to`
        for (at, sign) in [(from, -1.0), (to, 1.0)] {
            balance.extend([(at, ng + from, sign * susceptance), (at, ng + to, -sign * susceptance)]);
        }
        let mut limit = |factor: f64, most: f64, sign: f64| {
            rows.extend([(limits.len(), ng + from, sign * factor), (limits.len(), ng + to, -sign * factor)]);
            limits.push(most);
        };
        if row[5] > 0.0 {
            limit(susceptance, row[5] / base, 1.0);
            limit(susceptance, row[5] / base, -1.0);
        }
        limit(1.0, row[12].to_radians(), 1.0);
        limit(1.0, -row[11].to_radians(), -1.0);
    }
    let reference = bus.iter().position(|row| row[1] == 3.0).ok_or("no reference bus")?;
    balance.push((nb, ng + reference, 1.0));
    load.push(0.0);
    let build = || -> Result<Qp, Error> {
        let p = if d.iter().any(|v| *v != 0.0) { Hessian::Diagonal(d) } else { Hessian::Zero(n) };
        let a = Csc::from_triplets(nb + 1, n, &balance)?;
        let g = Csc::from_triplets(limits.len(), n, &rows)?;
        Qp::new(p, q)?.equality(Matrix::Sparse(a), load)?.inequality(Matrix::Sparse(g), limits)?.bounds(lb, ub)
    };
    build().map(|qp| (qp, constant)).map_err(|e| e.to_string())
}

fn scalar(text: &str, name: &str) -> Result<f64, String> {
    let key = format!("mpc.{name}");
    let line = text.lines().map(str::trim).find(|line| line.starts_with(&key)).ok_or_else(|| format!("no {key}"))?;
    let value = line.split('=').nth(1).map(|v| v.trim().trim_end_matches(';').trim());
    value.and_then(|v| v.parse().ok()).ok_or_else(|| format!("{line}: no number"))
}

/// The rows of a matrix.
fn table(text: &str, name: &str) -> Result<Vec<Vec<f64>>, String> {
    let key = format!("mpc.{name} = [");
    let start = text.find(&key).ok_or_else(|| format!("no {key}"))? + key.len();
    let end = text[start..].find("];").ok_or_else(|| format!("{key} does not end"))? + start;
    let lines = text[start..end].lines().map(|line| line.split('%').next().unwrap_or_default());
    let rows = lines.flat_map(|line| line.split(';')).map(str::trim).filter(|row| !row.is_empty());
    let number = |word: &str| match word {
        "Inf" => Ok(f64::INFINITY),
        _ => word.parse().map_err(|_| format!("{key}: {word:?} is no number")),
    };
    rows.map(|row| row.split_whitespace().map(number).collect()).collect()
}
