//! How far a step goes: what a filter of violations and barrier functions accepts.

use super::super::Values;
use super::Interior;
use super::step::Step;
use crate::Error;
use crate::matrix::dot;
use crate::thresholds::interior::*;

/// Is a point at this length with this violation and barrier function accepted, and as a descent of the latter?
type Test<'a, T> = dyn Fn(&T, f64, (f64, f64)) -> Option<bool> + 'a;

impl Interior<'_> {
    pub(super) fn passes_filter(&self, theta: f64, phi: f64) -> bool {
        theta <= self.theta_max && self.filter.iter().all(|&(t, p)| theta < t || phi < p)
    }

    /// Goes along the step. `None` if no length is accepted; true if the step is below rounding.
    pub(super) fn search(&mut self, step: &Step) -> Result<Option<bool>, Error> {
        let (longest, dual) = self.lengths(step);
        let (theta, phi) = (self.violation(&self.values, &self.s), self.barrier(&self.values, &self.x, &self.s));
        let mut slope = dot(&self.at.gradient, &step.x);
        for j in (0..self.x.len()).filter(|&j| !self.fixed[j]) {
            slope += self.mu * step.x[j] * (1.0 / (self.ub[j] - self.x[j]) - 1.0 / (self.x[j] - self.lb[j]));
        }
        slope -= self.mu * step.s.iter().zip(&self.s).map(|(d, s)| d / s).sum::<f64>();
        let relative =
            |d: &[f64], v: &[f64]| d.iter().zip(v).fold(0.0_f64, |m, (d, v)| m.max(d.abs() / (1.0 + v.abs())));
        if relative(&step.x, &self.x).max(relative(&step.s, &self.s)) < TINY {
            let to = self.moved(step, longest);
            if let Some(values) = self.look(&to.0)? {
                self.accept(to, values, step, (longest, dual));
                return Ok(Some(true));
            }
        }
        let noise = 10.0 * f64::EPSILON * phi.abs();
        let steep = |length: f64| slope < 0.0 && length * (-slope).powf(SWITCH.0) > theta.powf(SWITCH.1);
        let shortest = {
            let mut least = MARGIN;
            if slope < 0.0 {
                least = least.min(MARGIN * theta / -slope);
                if theta <= self.theta_min {
                    least = least.min(theta.powf(SWITCH.1) / (-slope).powf(SWITCH.0));
                }
            }
            0.05 * least
        };
        let good = |own: &Self, length: f64, (t, p): (f64, f64)| {
            if !own.passes_filter(t, p) || !t.is_finite() || !p.is_finite() {
                return None;
            }
            if theta <= own.theta_min && steep(length) {
                return (p <= phi + ARMIJO * length * slope + noise).then_some(true);
            }
            (t <= (1.0 - MARGIN) * theta || p <= phi - MARGIN * theta + noise).then_some(false)
        };
        let mut length = longest;
        let mut first = true;
        while length >= shortest.min(longest) && length > 1e-16 {
            let to = self.moved(step, length);
            if let Some(values) = self.look(&to.0)? {
                let there = (self.violation(&values, &to.1), self.barrier(&values, &to.0, &to.1));
                if let Some(descends) = good(self, length, there) {
                    self.remember(descends, theta, phi);
                    self.accept(to, values, step, (length, dual));
                    return Ok(Some(false));
                }
                if first && there.0 >= theta && self.corrected((&values, &to.1), length, theta, &good)? {
                    return Ok(Some(false));
                }
            }
            first = false;
            length *= 0.5;
        }
        Ok(None)
    }

    pub(super) fn remember(&mut self, descends: bool, theta: f64, phi: f64) {
        if !descends {
            let entry = ((1.0 - MARGIN) * theta, phi - MARGIN * theta);
            self.filter.retain(|&(t, p)| t < entry.0 || p < entry.1);
            self.filter.push(entry);
        }
    }

    /// Second-order corrections of a full step whose rows curve away.
    pub(super) fn corrected(
        &mut self,
        (values, s): (&Values, &[f64]),
        length: f64,
        theta: f64,
        good: &Test<'_, Self>,
    ) -> Result<bool, Error> {
        let phi = self.barrier(&self.values, &self.x, &self.s);
        let mut c: Vec<f64> = self.values.equality.iter().zip(&values.equality).map(|(a, b)| length * a + b).collect();
        let (own, there) = (self.rows(&self.values, &self.s), self.rows(values, s));
        let mut g: Vec<f64> = own.iter().zip(&there).map(|(a, b)| length * a + b).collect();
        let mut last = theta;
        for _ in 0..CORRECTIONS {
            let Some(step) = self.direction(&c, &g) else { return Ok(false) };
            let (longest, dual) = self.lengths(&step);
            let to = self.moved(&step, longest);
            let Some(values) = self.look(&to.0)? else { return Ok(false) };
            let there = (self.violation(&values, &to.1), self.barrier(&values, &to.0, &to.1));
            if let Some(descends) = good(self, length, there) {
                self.remember(descends, theta, phi);
                self.accept(to, values, &step, (longest, dual));
                return Ok(true);
            }
            if there.0 > 0.99 * last {
                return Ok(false);
            }
            last = there.0;
            c.iter_mut().zip(&values.equality).for_each(|(c, v)| *c = longest * *c + v);
            let rows = self.rows(&values, &to.1);
            g.iter_mut().zip(&rows).for_each(|(g, v)| *g = longest * *g + v);
        }
        Ok(false)
    }

    pub(super) fn accept(&mut self, to: (Vec<f64>, Vec<f64>), values: Values, step: &Step, (primal, dual): (f64, f64)) {
        (self.x, self.s) = to;
        self.values = values;
        let add = |v: &mut [f64], d: &[f64], t: f64| v.iter_mut().zip(d).for_each(|(v, d)| *v += t * d);
        add(&mut self.y, &step.y, primal);
        add(&mut self.z, &step.z, dual);
        add(&mut self.zl, &step.zl, dual);
        add(&mut self.zu, &step.zu, dual);
        self.keep_near();
    }

    /// Keeps each multiplier within a factor of what mu says.
    pub(super) fn keep_near(&mut self) {
        let mu = self.mu;
        let near = |z: &mut f64, slack: f64| *z = z.min(APART * mu / slack).max(mu / (APART * slack));
        for j in (0..self.x.len()).filter(|&j| !self.fixed[j]) {
            if self.lb[j].is_finite() {
                near(&mut self.zl[j], self.x[j] - self.lb[j]);
            }
            if self.ub[j].is_finite() {
                near(&mut self.zu[j], self.ub[j] - self.x[j]);
            }
        }
        self.z.iter_mut().zip(&self.s).for_each(|(z, s)| near(z, *s));
    }
}
