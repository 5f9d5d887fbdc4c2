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
use crate::thresholds::crossover::{
    BETWEEN, FEASIBLE, INDEPENDENT, PIVOT, PRICED, PRICED_CURVED, STALLED, STEPS, WORK,
};
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
    /// The rows of P give way: violations are left, of the size of what the point is off.
    yields: bool,
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
            priced: if held > 0 { PRICED_CURVED } else { PRICED } * force,
            yields: false,
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
        if j >= self.held {
            // held where it is: the point meets the rows of P, the vertex of the others need not to its last digits
            0.0
        } else if v < self.low[j] - self.feasible {
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
            (0..self.held).filter(|&j| self.place[j].is_none() && !self.at_bound(j) && bounded(j)).collect();
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
        let moves = j < self.held || self.yields;
        let stop = if moves { self.stop(j, sign) } else { self.displaces(sign) };
        let (step, leaves) = match stop {
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
        if out < self.held {
            self.value[out] = if upper { self.high[out] } else { self.low[out] };
        }
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
            if k >= self.held {
                return Some((place, false, 0.0, a.abs()));
            }
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
        let others = nearest(false).filter(|(.., room, _)| self.yields || *room <= self.feasible);
        let best = others.or_else(|| nearest(!self.yields));
        let own = if j >= self.held {
            f64::INFINITY
        } else if sign > 0.0 {
            self.high[j] - self.value[j]
        } else {
            self.value[j] - self.low[j]
        };
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
        for _ in 0..STEPS * self.value.len() {
            let phase_one = self.basis.columns.iter().any(|&j| self.beyond(j) != 0.0);
            self.yields = phase_one;
            self.prices(phase_one);
            let mut best = (0.0, None);
            for j in (0..self.value.len()).filter(|&j| self.place[j].is_none() && !refused[j]) {
                let held = j >= self.held;
                if self.low[j] == self.high[j] && !held {
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
            // once each: it would take turns with what it displaced
            refused[j] |= j >= self.held && !phase_one;
            still = if self.value[j] == before { still + 1 } else { 0 };
        }
        End::Lost
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::active::{Polisher, Start, identify};
    use crate::kkt::{independent_variables, prepare};
    use crate::residuals::residuals;
    use crate::{Csc, Hessian};
    use faer::Mat;

    /// Small integers from a counter.
    struct Draw(u64, usize);

    impl Draw {
        fn below(&mut self, n: usize) -> usize {
            self.1 += 1;
            (probe(self.0, self.1).abs() * 1e9) as usize % n
        }

        fn small(&mut self) -> f64 {
            self.below(7) as f64 - 3.0
        }

        fn row(&mut self, n: usize) -> Vec<f64> {
            (0..n).map(|_| if self.below(3) == 0 { self.small() } else { 0.0 }).collect()
        }
    }

    fn product(rows: &[Vec<f64>], x: &[f64]) -> Vec<f64> {
        rows.iter().map(|r| r.iter().zip(x).map(|(a, b)| a * b).sum()).collect()
    }

    /// A program of integers with a planted solution, and a point near it: active rows come twice and with their sums, some
    /// have no multiplier, variables and rows are in units up to `2^spread` up and down; the solutions are a face as often as
    /// not.
    fn planted(seed: u64, curved: bool, spread: i32) -> (Qp, Point) {
        let draw = &mut Draw(seed, 0);
        let n = 4 + draw.below(9);
        let x: Vec<f64> = (0..n).map(|_| draw.small()).collect();
        let mut a: Vec<Vec<f64>> = (0..draw.below(3)).map(|_| draw.row(n)).collect();
        if a.len() == 2 && draw.below(2) == 0 {
            a.push(a[0].iter().zip(&a[1]).map(|(a, b)| a + b).collect());
        }
        let mut g: Vec<Vec<f64>> = (0..2 + draw.below(n)).map(|_| draw.row(n)).collect();
        let strong = 1 + draw.below(g.len());
        g.push(g[0].iter().map(|v| 2.0 * v).collect());
        g.push(g[0].iter().zip(&g[strong - 1]).map(|(a, b)| a + b).collect());
        let mut z = vec![0.0; g.len()];
        let mut slack = vec![0.0; g.len()];
        for i in 0..g.len() {
            let meets = i < strong || i >= g.len() - 2 || draw.below(3) == 0;
            (z[i], slack[i]) = match meets {
                true if i < strong => (1.0 + draw.below(3) as f64, 0.0),
                true => (draw.below(2) as f64, 0.0),
                false => (0.0, 1.0 + draw.below(4) as f64),
            };
        }
        let y: Vec<f64> = a.iter().map(|_| draw.small()).collect();
        let (mut lb, mut ub, mut z_box) = (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
        for j in 0..n {
            (lb[j], ub[j]) = (x[j] - 1.0 - draw.below(3) as f64, x[j] + 1.0 + draw.below(3) as f64);
            match draw.below(4) {
                0 => (lb[j], z_box[j]) = (x[j], -(draw.below(3) as f64)),
                1 => (ub[j], z_box[j]) = (x[j], draw.below(3) as f64),
                _ => {}
            }
        }
        let f: Vec<Vec<f64>> = if curved { (0..1 + draw.below(3)).map(|_| draw.row(n)).collect() } else { Vec::new() };
        let p = |i: usize, j: usize| f.iter().map(|r| r[i] * r[j]).sum::<f64>();
        let q: Vec<f64> = (0..n)
            .map(|j| {
                let rows = a.iter().zip(&y).chain(g.iter().zip(&z)).map(|(r, v)| r[j] * v).sum::<f64>();
                -rows - z_box[j] - (0..n).map(|i| p(j, i) * x[i]).sum::<f64>()
            })
            .collect();
        let mut unit = |_: usize| f64::from(draw.below(2 * spread as usize + 1) as i32 - spread).exp2();
        let units: Vec<f64> = (0..n).map(&mut unit).collect();
        let row_units: Vec<Vec<f64>> = [a.len(), g.len()].map(|m| (0..m).map(&mut unit).collect()).into();
        let csc = |rows: &[Vec<f64>], by: &[f64]| {
            let entries: Vec<(usize, usize, f64)> = rows
                .iter()
                .enumerate()
                .flat_map(|(i, r)| r.iter().enumerate().map(move |(j, v)| (i, j, *v)))
                .filter(|(.., v)| *v != 0.0)
                .map(|(i, j, v)| (i, j, v * by[i] / units[j]))
                .collect();
            Csc::from_triplets(rows.len(), n, &entries).expect("sorted")
        };
        let times = |v: &[f64], by: &[f64]| v.iter().zip(by).map(|(v, u)| v * u).collect::<Vec<_>>();
        let over = |v: &[f64], by: &[f64]| v.iter().zip(by).map(|(v, u)| v / u).collect::<Vec<_>>();
        let h: Vec<f64> = product(&g, &x).iter().zip(&slack).map(|(v, s)| v + s).collect();
        let hessian = match curved {
            true => Hessian::from(Mat::from_fn(n, n, |i, j| p(i, j) / units[i] / units[j])),
            false => Hessian::Zero(n),
        };
        let qp = Qp::new(hessian, over(&q, &units))
            .and_then(|qp| qp.equality(csc(&a, &row_units[0]), times(&product(&a, &x), &row_units[0])))
            .and_then(|qp| qp.inequality(csc(&g, &row_units[1]), times(&h, &row_units[1])))
            .and_then(|qp| qp.bounds(times(&lb, &units), times(&ub, &units)))
            .expect("valid");
        let off = |v: &[f64], by: &[f64], seed: u64| -> Vec<f64> {
            v.iter().zip(by).enumerate().map(|(i, (v, u))| (v + 1e-9 * probe(seed, i)) * u).collect()
        };
        let inverse = |v: &[f64]| v.iter().map(|u| 1.0 / u).collect::<Vec<_>>();
        let mut point = Point::zeros(&qp);
        point.x = off(&x, &units, 11);
        point.y = off(&y, &inverse(&row_units[0]), 12);
        point.z = off(&z, &inverse(&row_units[1]), 13).iter().map(|z| z.max(0.0)).collect();
        point.z_box = off(&z_box, &inverse(&units), 14);
        (qp, point)
    }

    fn vertex(qp: &Qp, polisher: &mut Polisher, point: &mut Point, set: &mut ActiveSet) -> bool {
        let mut work = ResidualWork::default();
        residuals(qp, point, &mut work);
        let force = polisher.scales.force(qp, &work.px, &point.x);
        let length = polisher.scales.distance(qp, &work.px, &point.x);
        Crossover::run(qp, (point, &work), (&polisher.scales.norms[..], length, force), set)
    }

    #[test]
    fn a_vertex_of_a_degenerate_program_is_found_verified_and_not_called_regular() {
        for seed in 1..=400 {
            let curved = seed % 2 == 0;
            let (qp, start) = planted(seed, curved, 0);
            let mut kkt = prepare(qp.kkt()).expect("valid");
            let mut polisher = Polisher::default();
            polisher.scales.load(&qp);
            let (mut point, mut set, mut work) = (start.clone(), ActiveSet::default(), ResidualWork::default());
            let (_, before) = residuals(&qp, &point, &mut work);
            identify(&qp, &point, &work, &polisher.scales, &mut set);
            assert!(vertex(&qp, &mut polisher, &mut point.clone(), &mut set.clone()), "seed {seed}: no vertex");
            let report = polisher.polish_from(Start::Vertex, &qp, (&mut *kkt, 20), &mut point, &mut set);
            assert!(report.verified, "seed {seed}");
            let (left, objective) = residuals(&qp, &point, &mut work);
            assert!(left.relative() < 1e-12, "seed {seed}: {left:?}");
            assert!((objective - before).abs() < 1e-4, "seed {seed}: {objective}, planted {before}");
            assert!(set.any_weak() || report.dependent || report.face.is_some(), "seed {seed}: nothing is said");
        }
    }

    #[test]
    fn its_constraints_are_independent_in_any_units() {
        for seed in 1..=400 {
            let (qp, mut point) = planted(seed, false, if seed % 2 == 0 { 0 } else { 6 });
            let (mut set, mut polisher) = (ActiveSet::default(), Polisher::default());
            polisher.scales.load(&qp);
            assert!(vertex(&qp, &mut polisher, &mut point, &mut set), "seed {seed}");
            let free: Vec<usize> = (0..qp.n()).filter(|&j| set.bound[j] == Side::Free).collect();
            let (a, g) = (qp.a.to_dense(), qp.g.to_dense());
            let of = |m: &Mat<f64>, i: usize| free.iter().map(|&j| m[(i, j)]).collect::<Vec<_>>();
            let active = (0..qp.n_inequality()).filter(|&i| set.g[i]).map(|i| of(&g, i));
            let rank = |rows: &[Vec<f64>]| {
                independent_variables(&Mat::from_fn(free.len(), rows.len(), |j, i| rows[i][j])).len()
            };
            let equalities: Vec<Vec<f64>> = (0..qp.n_equality()).map(|i| of(&a, i)).collect();
            let active: Vec<Vec<f64>> = active.collect();
            let all = [equalities.clone(), active.clone()].concat();
            // a vertex: nothing is left to move, and what may be left out is
            assert_eq!(rank(&all), free.len(), "seed {seed}");
            assert_eq!(rank(&all) - rank(&equalities), active.len(), "seed {seed}");
        }
    }
}
