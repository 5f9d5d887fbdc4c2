//! The last digits: the constraints that are active at a point are solved as equations, by MINRES. What the solution contradicts
//! joins the set or leaves it, as in the primal-dual active set method (Hintermueller, Ito & Kunisch 2002).

use super::face::{Face, System};
use super::krylov::Minres;
use super::model::Model;
use super::operator::Step;
use super::worth::{Scaled, worth};
use crate::Settings;
use crate::residuals::Residuals;
use crate::thresholds::large::{CORRECTIONS, EXCHANGES, HOPELESS, KRYLOV, REFINED, ROUGH};

pub(super) struct Settled {
    pub point: Scaled,
    pub residuals: Residuals,
    pub objective: f64,
}

/// The face of a point whose multipliers vanish where nothing is active.
pub(super) fn face_of(model: &Model, at: &Scaled) -> Face {
    let pinned = |j: usize| at.u[j] != 0.0 || model.bounds.0[j] == model.bounds.1[j];
    Face {
        free: (0..at.x.len()).map(|j| !pinned(j)).collect(),
        rows: (0..at.y.len()).map(|i| at.y[i] != 0.0 || model.rows.0[i] == model.rows.1[i]).collect(),
    }
}

struct Products {
    px: Vec<f64>,
    cty: Vec<f64>,
}

fn products(model: &mut Model, at: &mut Scaled) -> Step<Products> {
    let n = model.n();
    let mut made = Products { px: vec![0.0; n], cty: vec![0.0; n] };
    model.p(&at.x, &mut made.px)?;
    model.c(&at.x, &mut at.cx)?;
    model.ct_add(&at.y, &mut made.cty)?;
    Ok(made)
}

pub(super) fn settle(model: &mut Model, mut at: Scaled, settings: &Settings) -> Step<Settled> {
    let mut best: Option<Settled> = None;
    // no more products than half of what was spent so far
    let budget = (model.watch.products / 2).clamp(KRYLOV.0, KRYLOV.1);
    let end = model.watch.products + budget;
    let mut face = face_of(model, &at);
    let eps = (settings.eps_abs, settings.eps_rel);
    for _ in 0..EXCHANGES {
        pin(model, &mut at, &face);
        // a few digits tell whether the set is the right one
        let (mut residuals, mut objective) = solve(model, &mut at, &face, eps, (ROUGH, 1, end))?;
        let mut next = exchange(model, &at, &face);
        let right = next == face;
        if right {
            (residuals, objective) = solve(model, &mut at, &face, eps, (REFINED, CORRECTIONS, end))?;
            next = exchange(model, &at, &face);
        }
        let done = residuals.within(settings.eps_abs, settings.eps_rel, 1.0);
        let relative = residuals.relative();
        if best.as_ref().is_none_or(|b| relative < b.residuals.relative()) {
            best = Some(Settled { point: at.clone(), residuals, objective });
        }
        if (right && (done || next == face)) || model.watch.products > end || !relative.is_finite() {
            break;
        }
        face = next;
    }
    match best {
        Some(found) => Ok(found),
        None => Ok(Settled { point: at, residuals: Residuals::UNKNOWN, objective: f64::NAN }),
    }
}

/// Variables on the bounds that hold them, no multipliers elsewhere.
fn pin(model: &Model, at: &mut Scaled, face: &Face) {
    for j in 0..at.x.len() {
        if face.free[j] {
            at.u[j] = 0.0;
            continue;
        }
        let (lo, up) = (model.bounds.0[j], model.bounds.1[j]);
        // the side of its multiplier; the nearer one where it has none
        let upper = if at.u[j] != 0.0 { at.u[j] > 0.0 } else { (up - at.x[j]) <= (at.x[j] - lo) };
        at.x[j] = if (upper && up.is_finite()) || !lo.is_finite() { up } else { lo };
    }
    at.y.iter_mut().zip(&face.rows).filter(|(_, kept)| !**kept).for_each(|(y, _)| *y = 0.0);
}

/// The equations of the face, corrected by what is left of them until the point is within the tolerances.
fn solve(
    model: &mut Model,
    at: &mut Scaled,
    face: &Face,
    (abs, rel): (f64, f64),
    (tolerance, corrections, end): (f64, usize, usize),
) -> Step<(Residuals, f64)> {
    let n = model.n();
    let mut last = f64::INFINITY;
    let mut round = 0;
    loop {
        let made = products(model, at)?;
        let mut rhs = vec![0.0; n + model.m()];
        for j in 0..n {
            let own = -(made.px[j] + model.q[j] + made.cty[j]);
            if face.free[j] { rhs[j] = own } else { at.u[j] = own }
        }
        for i in (0..at.cx.len()).filter(|&i| face.rows[i]) {
            rhs[n + i] = model.rows.1[i] - at.cx[i];
        }
        let found = worth(model, at, &made.px, &at.cx, &made.cty);
        let left = rhs.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
        let stalled = left > 0.5 * last;
        if found.0.within(abs, rel, 1.0) && left <= REFINED || left == 0.0 || stalled || round == corrections {
            return Ok(found);
        }
        if model.watch.products > end {
            return Ok(found);
        }
        let most = (end - model.watch.products) / 2 + 1;
        let mut step = vec![0.0; rhs.len()];
        // a correction has less to find
        let wanted = (0.1 * tolerance / left).clamp(tolerance, 0.1);
        let Minres { residual, .. } = System::new(model, face)?.solve(&rhs, &mut step, wanted, most)?;
        if residual > HOPELESS {
            return Ok(found);
        }
        at.x.iter_mut().zip(&step[..n]).for_each(|(x, d)| *x += d);
        at.y.iter_mut().zip(&step[n..]).for_each(|(y, d)| *y += d);
        last = left;
        round += 1;
    }
}

/// Rows and bounds with multipliers of the wrong sign leave, those that are missed join.
fn exchange(model: &Model, at: &Scaled, face: &Face) -> Face {
    let (n, m) = (model.n(), model.m());
    let mut next = face.clone();
    for i in (0..m).filter(|&i| model.rows.0[i] != model.rows.1[i]) {
        next.rows[i] = if face.rows[i] { at.y[i] > 0.0 } else { at.cx[i] > model.rows.1[i] };
    }
    for j in 0..n {
        let (lo, up) = (model.bounds.0[j], model.bounds.1[j]);
        if lo == up {
            continue;
        }
        next.free[j] = match face.free[j] {
            true => at.x[j] >= lo && at.x[j] <= up,
            // held at the side that its multiplier presses against
            false => !((at.x[j] == up && at.u[j] > 0.0) || (at.x[j] == lo && at.u[j] < 0.0)),
        };
    }
    next
}
