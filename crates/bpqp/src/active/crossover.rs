//! From an approximate point to a vertex: an active set whose system is regular, where the one that the point tells is
//! dependent and on a face at once.
//!
//! The columns of a linear program, those of its slacks among them, are taken into a basis in the order of how far they are
//! from their bounds, measured against their multipliers: what is not taken is a maximal independent set of constraints
//! that are active, and variables that follow from the others. Those are pushed to a bound, one by one, and the primal
//! simplex method removes what is left of violations and of reduced costs of the wrong sign (Megiddo, "On finding primal-
//! and dual-optimal bases", 1991; Bixby & Saltzman, "Recovering an optimal LP basis from an interior point solution", 1994).
//!
//! The solutions of a quadratic program share `P x`, so that they are those of the linear program with the cost `q + P x`
//! and `P x` held. Its vertices have active constraints on whose null space `P` is definite: rows of `P` that leave the basis
//! hold what no constraint does, and have no multiplier.

use super::{ActiveSet, Side};
use crate::interrupt::late;
use crate::kkt::{Basis, Columns, probe};
use crate::matrix::norm_inf;
use crate::residuals::ResidualWork;
use crate::thresholds::crossover::{BETWEEN, FEASIBLE, INDEPENDENT, PIVOT, PRICED, STALLED, WORK};
use crate::{Point, Qp};

/// How a basis ends.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    /// Primal and dual feasible.
    Optimal,
    /// No progress in the time that there is, or a direction without end.
    Lost,
}

/// What stops a variable on its way.
enum Stop {
    /// The basic variable at this place, at its upper bound or else the lower one, after this step.
    Basic(usize, bool, f64),
    /// Its own other bound.
    Own(f64),
    Nothing,
}

/// A linear program in the columns of variables and slacks, and a point of it.
pub(crate) struct Crossover {
    n: usize,
    /// Where the slacks of the rows of P begin.
    held: usize,
    columns: Columns,
    rhs: Vec<f64>,
    low: Vec<f64>,
    high: Vec<f64>,
    cost: Vec<f64>,
    value: Vec<f64>,
    /// Place in the basis, or none.
    place: Vec<Option<usize>>,
    basis: Basis,
    feasible: f64,
    priced: f64,
    /// Exchanges so far.
    pivots: usize,
    along: Vec<f64>,
    y: Vec<f64>,
}

impl Crossover {
    /// The vertex that a point leads to: its active set goes to `set`, whose constraints are independent of each other and of
    /// the equalities, the vertex and its multipliers to `point`. False if none was found. `work` holds the residual vectors of
    /// the point, `distance` and `force` what slacks and multipliers are compared with.
    pub fn run(
        qp: &Qp,
        (point, work): (&mut Point, &ResidualWork),
        norms: (&[f64], f64, f64),
        set: &mut ActiveSet,
    ) -> bool {
        let mut program = Self::load(qp, point, work, norms);
        let order = program.order(qp, point, norms);
        let found = program.basis.select(&program.columns, order.into_iter(), INDEPENDENT, WORK)
            && program.settle()
            && program.push()
            && program.optimize() == End::Optimal;
        log::debug!("{} exchanges to a vertex: {}", program.pivots, if found { "found" } else { "none" });
        if found {
            program.write(qp, point, set);
        }
        found
    }

    fn load(qp: &Qp, point: &Point, work: &ResidualWork, (_, distance, force): (&[f64], f64, f64)) -> Self {
        let (n, m, mi) = (qp.n(), qp.n_equality(), qp.n_inequality());
        let mut entries = Vec::new();
        qp.a.for_each(|i, j, v| entries.push((i, j, v)));
        qp.g.for_each(|i, j, v| entries.push((m + i, j, v)));
        entries.retain(|(.., v)| *v != 0.0);
        let mut rhs: Vec<f64> = qp.b.iter().chain(qp.h.iter()).copied().collect();
        let held = hold_curvature(qp, point, m + mi, &mut entries, &mut rhs);
        let rows = m + mi + held;
        let slack = |top: f64| (0..rows).map(move |i| if (m..m + mi).contains(&i) { top } else { 0.0 });
        let mut value = point.x.clone();
        value.resize(n + rows, 0.0);
        (0..mi).for_each(|i| value[n + m + i] = work.slack[i]);
        // a row without a limit binds nothing
        for i in (0..mi).filter(|&i| qp.h[i] == f64::INFINITY) {
            (rhs[m + i], value[n + m + i]) = (0.0, 0.0);
        }
        let mut low: Vec<f64> = qp.lb.iter().copied().chain(slack(0.0)).collect();
        (0..mi).filter(|&i| qp.h[i] == f64::INFINITY).for_each(|i| low[n + m + i] = f64::NEG_INFINITY);
        let high: Vec<f64> = qp.ub.iter().copied().chain(slack(f64::INFINITY)).collect();
        let mut cost: Vec<f64> = qp.q.iter().zip(&work.px).map(|(q, p)| q + p).collect();
        cost.resize(n + rows, 0.0);
        Crossover {
            n,
            held: n + m + mi,
            columns: Columns::new((rows, n), &entries),
            rhs,
            low,
            high,
            cost,
            value,
            place: vec![None; n + rows],
            basis: Basis::default(),
            feasible: FEASIBLE * distance,
            priced: PRICED * force,
            pivots: 0,
            along: Vec::new(),
            y: Vec::new(),
        }
    }

    /// Columns in the order in which they are taken, and those at a bound put there.
    fn order(&mut self, qp: &Qp, point: &Point, (norms, distance, force): (&[f64], f64, f64)) -> Vec<usize> {
        let (n, m) = (self.n, qp.n_equality());
        let all = self.value.len();
        let mut keys: Vec<(f64, usize, usize)> = Vec::with_capacity(all);
        for j in 0..all {
            let (low, high) = (self.low[j], self.high[j]);
            let key = if j >= self.held {
                // what P sees comes after what is between its bounds, before what is not
                0.0
            } else if low == high {
                f64::NEG_INFINITY
            } else {
                let (norm, pull) = match j.checked_sub(n) {
                    None => (1.0, point.z_box[j].abs()),
                    Some(i) => (norms[i - m], point.z[i - m].abs() * norms[i - m]),
                };
                let room = (self.value[j] - low).min(high - self.value[j]);
                let ratio = (room / norm / distance).max(f64::MIN_POSITIVE) / (pull / force).max(f64::MIN_POSITIVE);
                if ratio >= BETWEEN { BETWEEN.log2() } else { ratio.log2() }
            };
            if key < 0.0 {
                self.value[j] = if self.value[j] - low <= high - self.value[j] { low } else { high };
            }
            keys.push((key, self.columns.len(j), j));
        }
        // NaN has no place, and is last
        keys.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
        keys.into_iter().map(|(.., j)| j).collect()
    }

    /// Places of the basis that was factored, and values of its variables.
    fn settle(&mut self) -> bool {
        self.place.fill(None);
        for (place, &j) in self.basis.columns.iter().enumerate() {
            self.place[j] = Some(place);
        }
        // what left the basis when it was factored anew is at a bound, or where it was
        self.along.clone_from(&self.rhs);
        for j in (0..self.value.len()).filter(|&j| self.place[j].is_none()) {
            let v = self.value[j];
            if v != 0.0 {
                self.columns.each(j, |i, a| self.along[i] -= a * v);
            }
        }
        let mut left = self.along.clone();
        self.basis.solve(&mut self.along);
        // once more, for what rounding left
        for (place, &j) in self.basis.columns.iter().enumerate() {
            self.columns.each(j, |i, a| left[i] -= a * self.along[place]);
        }
        self.basis.solve(&mut left);
        for (place, &j) in self.basis.columns.iter().enumerate() {
            self.value[j] = self.along[place] + left[place];
        }
        self.value.iter().all(|v| v.is_finite())
    }

    fn at_bound(&self, j: usize) -> bool {
        self.value[j] == self.low[j] || self.value[j] == self.high[j]
    }

    /// By how much a variable is beyond a bound: above it positive.
    fn beyond(&self, j: usize) -> f64 {
        let v = self.value[j];
        if v < self.low[j] - self.feasible {
            v - self.low[j]
        } else if v > self.high[j] + self.feasible {
            v - self.high[j]
        } else {
            0.0
        }
    }

    /// Multipliers of the rows for these costs of the basis, into `y`.
    fn prices(&mut self, phase_one: bool) {
        let mut y = std::mem::take(&mut self.y);
        y.clear();
        y.extend(self.basis.columns.iter().map(|&j| match phase_one {
            true if self.beyond(j) == 0.0 => 0.0,
            true => self.beyond(j).signum(),
            false => self.cost[j],
        }));
        self.basis.solve_transposed(&mut y);
        self.y = y;
    }

    /// Variables that are at no bound and not in the basis move to the nearer one, or into the basis.
    fn push(&mut self) -> bool {
        self.prices(false);
        let bounded = |j: usize| self.low[j] > f64::NEG_INFINITY || self.high[j] < f64::INFINITY;
        let between: Vec<usize> =
            (0..self.value.len()).filter(|&j| self.place[j].is_none() && !self.at_bound(j) && bounded(j)).collect();
        for j in between {
            let down = self.value[j] - self.low[j] <= self.high[j] - self.value[j];
            if !self.move_column(j, if down { -1.0 } else { 1.0 })
                && !self.move_column(j, if down { 1.0 } else { -1.0 })
            {
                return false;
            }
        }
        true
    }

    /// Moves a variable until a bound stops it; false if nothing does, or the time is up.
    fn move_column(&mut self, j: usize, sign: f64) -> bool {
        if self.basis.products > WORK || late() {
            return false;
        }
        let rows = self.rhs.len();
        self.along.clear();
        self.along.resize(rows, 0.0);
        let along = &mut self.along;
        self.columns.each(j, |i, v| along[i] += v);
        self.basis.solve(&mut self.along);
        let (step, leaves) = match if j < self.held { self.stop(j, sign) } else { self.displaces(sign) } {
            Stop::Nothing => return false,
            Stop::Own(step) => (step, None),
            Stop::Basic(place, upper, step) => (step, Some((place, upper))),
        };
        for (place, &k) in self.basis.columns.iter().enumerate() {
            self.value[k] -= sign * step * self.along[place];
        }
        let Some((place, upper)) = leaves else {
            self.value[j] = if sign > 0.0 { self.high[j] } else { self.low[j] };
            return true;
        };
        self.value[j] += sign * step;
        let out = self.basis.columns[place];
        self.value[out] = if upper { self.high[out] } else { self.low[out] };
        self.place[out] = None;
        self.place[j] = Some(place);
        let along = std::mem::take(&mut self.along);
        self.basis.exchange(place, j, &along);
        self.along = along;
        self.pivots += 1;
        if !self.basis.stale() {
            return true;
        }
        self.basis.refactor(&self.columns, INDEPENDENT * INDEPENDENT, WORK) && self.settle()
    }

    /// The basic variables that a step along the column at hand meets: place, whether it is the upper bound that is met, the
    /// distance to it, and the size of the entry. A variable beyond a bound is met where it reaches it.
    fn met(&self, sign: f64) -> impl Iterator<Item = (usize, bool, f64, f64)> {
        let largest = norm_inf(&self.along);
        let columns = self.basis.columns.iter().zip(&self.along).enumerate();
        columns.filter(move |(_, (_, a))| a.abs() > PIVOT * largest).filter_map(move |(place, (&k, &a))| {
            let rate = -sign * a;
            let upper = match self.beyond(k) {
                b if b * rate > 0.0 => return None,
                0.0 => rate > 0.0,
                b => b > 0.0,
            };
            let bound = if upper { self.high[k] } else { self.low[k] };
            let room = if rate > 0.0 { bound - self.value[k] } else { self.value[k] - bound };
            room.is_finite().then_some((place, upper, room, a.abs()))
        })
    }

    /// What stops variable `j`, whose column in terms of the basis is at hand. Of the bounds within the tolerance the one with
    /// the largest pivot (Harris, "Pivot selection methods of the Devex LP code", 1973); the slack of a row of P, which is
    /// always at its bounds, only where nothing else is: no direction of descent leads from the solution, whatever P.
    fn stop(&self, j: usize, sign: f64) -> Stop {
        let nearest = |held: bool| {
            let candidates =
                || self.met(sign).filter(move |(place, ..)| held || self.basis.columns[*place] < self.held);
            let furthest = candidates().map(|(.., room, a)| (room + self.feasible) / a).fold(f64::INFINITY, f64::min);
            candidates().filter(move |(.., room, a)| room / a <= furthest).max_by(|x, y| x.3.total_cmp(&y.3))
        };
        let best = nearest(false).filter(|(.., room, _)| *room <= self.feasible).or_else(|| nearest(true));
        let own = if sign > 0.0 { self.high[j] - self.value[j] } else { self.value[j] - self.low[j] };
        match best {
            Some((place, upper, room, a)) if room / a < own => Stop::Basic(place, upper, (room / a).max(0.0)),
            _ if own.is_finite() => Stop::Own(own),
            _ => Stop::Nothing,
        }
    }

    /// What the slack of a row of P takes the place of, without a step: a variable at a bound.
    fn displaces(&self, sign: f64) -> Stop {
        let at_bound = self
            .met(sign)
            .filter(|&(place, _, room, _)| room <= self.feasible && self.basis.columns[place] < self.held);
        match at_bound.max_by(|x, y| x.3.total_cmp(&y.3)) {
            Some((place, upper, ..)) => Stop::Basic(place, upper, 0.0),
            None => Stop::Nothing,
        }
    }

    /// The primal simplex method from the basis at hand. Slacks of rows of P with a multiplier enter without moving.
    fn optimize(&mut self) -> End {
        let (mut still, mut refused) = (0, vec![false; self.value.len()]);
        loop {
            let phase_one = self.basis.columns.iter().any(|&j| self.beyond(j) != 0.0);
            self.prices(phase_one);
            let mut best = (0.0, None);
            for j in (0..self.value.len()).filter(|&j| self.place[j].is_none() && !refused[j]) {
                let held = j >= self.held;
                if (self.low[j] == self.high[j] && !held) || (held && phase_one) {
                    continue;
                }
                let cost = if phase_one { 0.0 } else { self.cost[j] };
                let d = cost - self.columns.dot(j, &self.y);
                let gains = held || if d < 0.0 { self.value[j] < self.high[j] } else { self.value[j] > self.low[j] };
                let tolerance = if phase_one { PRICED } else { self.priced };
                if d.abs() > tolerance && gains {
                    let worth = if still > STALLED { probe(self.pivots as u64, j).abs() } else { d.abs() };
                    if worth > best.0 {
                        best = (worth, Some((j, -d.signum())));
                    }
                }
            }
            let Some((j, sign)) = best.1 else {
                return if phase_one { End::Lost } else { End::Optimal };
            };
            let before = self.value[j];
            if !self.move_column(j, sign) {
                if j < self.held || self.basis.products > WORK || late() {
                    return End::Lost;
                }
                refused[j] = true;
            }
            still = if self.value[j] == before { still + 1 } else { 0 };
        }
    }

    /// The set and the point of the basis.
    fn write(&mut self, qp: &Qp, point: &mut Point, set: &mut ActiveSet) {
        let (n, m, mi) = (self.n, qp.n_equality(), qp.n_inequality());
        set.release(qp);
        self.settle();
        self.prices(false);
        for j in 0..n {
            let v = self.value[j];
            point.x[j] = v;
            let free = self.place[j].is_some() || !self.at_bound(j);
            set.bound[j] = match v {
                _ if self.low[j] == self.high[j] => Side::Fixed,
                _ if free => Side::Free,
                v if v == self.low[j] => Side::Lower,
                _ => Side::Upper,
            };
            // with the rows of P, to which nothing answers, it is what the polish finds out
            point.z_box[j] = if free { 0.0 } else { self.columns.dot(j, &self.y) - self.cost[j] };
        }
        (0..m).for_each(|i| point.y[i] = -self.y[i]);
        for i in 0..mi {
            let j = n + m + i;
            set.g[i] = self.place[j].is_none() && self.low[j] == 0.0 && self.value[j] == 0.0;
            point.z[i] = if set.g[i] { -self.y[m + i] } else { 0.0 };
        }
    }
}

/// Rows that hold `P x` where it is, each of largest entry 1, appended behind `first` rows; their number.
fn hold_curvature(
    qp: &Qp,
    point: &Point,
    first: usize,
    entries: &mut Vec<(usize, usize, f64)>,
    rhs: &mut Vec<f64>,
) -> usize {
    let n = qp.n();
    let mut rows: Vec<Vec<(usize, f64)>> = vec![Vec::new(); n + qp.p.extension()];
    qp.p.for_each_extended(n, |i, j, v| {
        if v == 0.0 || i > j || (i == j && i >= n) {
            return;
        }
        rows[j].push((i, v));
        if i != j && j < n {
            rows[i].push((j, v));
        }
    });
    let mut held = 0;
    for row in rows.iter().filter(|row| !row.is_empty()) {
        let largest = row.iter().fold(0.0_f64, |m, (_, v)| m.max(v.abs()));
        entries.extend(row.iter().map(|&(j, v)| (first + held, j, v / largest)));
        rhs.push(row.iter().map(|&(j, v)| v / largest * point.x[j]).sum());
        held += 1;
    }
    held
}
