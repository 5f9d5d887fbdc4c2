//! Derivatives of a conic program by those of the quadratic program that it is.

use super::form::{Form, Role};
use super::{Conic, ConicCotangent, ConicGradient, ConicSolutionTangent, ConicTangent, ConicWrt};
use crate::backward::{refuse_cones, shares};
use crate::matrix::Full;
use crate::{
    Cotangent, Derivatives, Error, Gradient, Hessian, Matrix, Solution, SolutionTangent, Tangent, Verdict, Wrt,
};

impl Form {
    /// The part of `z_box` of variable k that its lower and its upper bound have.
    fn parts(&self, solution: &Solution, k: usize) -> [f64; 2] {
        let (lower, upper) = shares(solution.active.bound[k], solution.at.z_box[k]);
        [lower, upper]
    }

    pub fn cotangent(&self, conic: &Conic, solution: &Solution, cot: &ConicCotangent<'_>) -> Result<Cotangent, Error> {
        cot.validate(conic)?;
        if solution.closest.is_some() && cot.s.iter().any(|v| *v != 0.0) {
            return Err(Error::Unsupported {
                what: "a cotangent on s of the closest feasible program".to_owned(),
                advice: "the rows are shifted there: use x and the objective only",
            });
        }
        let mut out = Cotangent { objective: cot.objective, ..Cotangent::x(cot.x) };
        if !cot.y.is_empty() {
            [out.y, out.z, out.y_cone] = self.vectors(cot.y);
        }
        if !cot.y.is_empty() || !cot.z_box.is_empty() {
            out.z_box = vec![0.0; self.n];
            for k in 0..self.n {
                let parts = self.parts(solution, k);
                for (owner, part) in self.owners[k].iter().zip(parts) {
                    let own = cot.z_box.get(k).copied().unwrap_or(0.0);
                    out.z_box[k] += part * self.per_bound(conic, *owner, own, |row| entry(cot.y, row));
                }
            }
        }
        if !cot.s.is_empty() {
            out.x.resize(self.n, 0.0);
            self.linear_entries(conic, conic.a().values(), |i, j, v| out.x[j] -= v * cot.s[i]);
            [_, _, out.s] = self.vectors(cot.s);
        }
        Ok(out)
    }

    /// `own` for a bound of the caller's, `f(row)/a` for one that a row is.
    fn per_bound(&self, conic: &Conic, owner: Option<usize>, own: f64, f: impl Fn(usize) -> f64) -> f64 {
        match owner.map(|row| (row, self.roles[row])) {
            Some((row, Role::Lower(_, entry) | Role::Upper(_, entry))) => f(row) / conic.a().values()[entry],
            _ => own,
        }
    }

    /// Calls `f(row, column, value)` for the entries of rows that are not of curved cones.
    fn linear_entries(&self, conic: &Conic, values: &[f64], mut f: impl FnMut(usize, usize, f64)) {
        for ((i, j, _), &v) in conic.a().triplets().zip(values) {
            if !matches!(self.roles[i], Role::Cone(_)) {
                f(i, j, v);
            }
        }
    }

    pub fn wrt(&self, wrt: ConicWrt) -> Wrt {
        let (rows, bounds) = (wrt.a || wrt.b, wrt.a || wrt.b);
        let own = self.owners.iter().any(|o| o[0].is_some() || o[1].is_some());
        Wrt {
            p: wrt.p,
            q: wrt.q || (wrt.a && !self.zeros.is_empty()),
            a: wrt.a,
            b: wrt.b,
            g: wrt.a,
            h: wrt.b,
            c: wrt.a,
            d: wrt.b,
            lb: wrt.lb || (rows && own),
            ub: wrt.ub || (bounds && own),
        }
    }

    /// The gradient in the entries of the caller, of one in the quadratic program at `x`, with multipliers `y`.
    pub fn gradient(
        &self,
        conic: &Conic,
        (x, y): (&[f64], &[f64]),
        cot: &ConicCotangent<'_>,
        wrt: ConicWrt,
        g: &Gradient,
    ) -> ConicGradient {
        let mut out = ConicGradient {
            q: g.q.clone().filter(|_| wrt.q),
            p: self.hessian_values(conic, g),
            ..ConicGradient::default()
        };
        let of_bound = |role: Role| match role {
            Role::Lower(k, _) => g.lb.as_ref().map_or(0.0, |v| v[k]),
            Role::Upper(k, _) => g.ub.as_ref().map_or(0.0, |v| v[k]),
            _ => 0.0,
        };
        let a = conic.a().values();
        if wrt.b {
            let of = |v: &Option<Vec<f64>>, i: usize| v.as_ref().map_or(0.0, |v| v[i]);
            let entry_of = |(row, role): (usize, &Role)| match *role {
                Role::Equality(i) => self.units[row] * of(&g.b, i) + entry(cot.s, row),
                Role::Inequality(i) => self.units[row] * of(&g.h, i) + entry(cot.s, row),
                Role::Cone(i) => of(&g.d, i),
                Role::Lower(_, e) | Role::Upper(_, e) => of_bound(*role) / a[e] + entry(cot.s, row),
            };
            out.b = Some(self.roles.iter().enumerate().map(entry_of).collect());
        }
        if wrt.a {
            let mut next = [Entries::new(&g.a), Entries::new(&g.g), Entries::new(&g.c)];
            let values = conic.a().triplets().map(|(i, j, a)| match self.roles[i] {
                Role::Equality(row) => self.units[i] * next[0].at(row, j) - entry(cot.s, i) * x[j],
                Role::Inequality(row) => self.units[i] * next[1].at(row, j) - entry(cot.s, i) * x[j],
                Role::Cone(row) => next[2].at(row, j),
                role @ (Role::Lower(..) | Role::Upper(..)) => {
                    let bound = conic.b()[i] / a;
                    -(of_bound(role) * bound + entry(cot.y, i) * y[i]) / a - entry(cot.s, i) * x[j]
                }
            });
            let mut values: Vec<f64> = values.collect();
            for &(e, i, j) in &self.zeros {
                let (Role::Lower(_, entry) | Role::Upper(_, entry)) = self.roles[i] else { continue };
                let by_q = g.q.as_ref().map_or(0.0, |q| q[j]) - cot.objective * x[j];
                values[e] = y[i] * by_q - (of_bound(self.roles[i]) / a[entry] + self::entry(cot.s, i)) * x[j];
            }
            out.a = Some(values);
        }
        let own = |v: &Option<Vec<f64>>, side: usize| {
            let own = |(k, v): (usize, &f64)| if self.owners[k][side].is_none() { *v } else { 0.0 };
            v.as_ref().map(|v| v.iter().enumerate().map(own).collect::<Vec<f64>>())
        };
        out.lb = if wrt.lb { own(&g.lb, 0) } else { None };
        out.ub = if wrt.ub { own(&g.ub, 1) } else { None };
        out
    }

    /// The gradient of P on the pattern of the caller; an entry off the diagonal of a triangle stands for both.
    fn hessian_values(&self, conic: &Conic, g: &Gradient) -> Option<Vec<f64>> {
        let (gradient, p) = (g.p.as_ref()?, conic.p()?);
        if let Hessian::LowRank { d, f } = gradient {
            let columns = (0..f.ncols()).flat_map(|j| f.col_as_slice(j));
            return Some(d.iter().chain(columns).copied().collect());
        }
        let values = p.triplets().zip(&self.hessian_at).map(|((i, j, _), &at)| {
            let twice = if conic.p_is_upper() && i != j { 2.0 } else { 1.0 };
            twice
                * match gradient {
                    Hessian::Sparse(m) => m.values()[at],
                    Hessian::Dense(m) => m[(i, j)],
                    Hessian::Diagonal(d) => d[i],
                    _ => 0.0,
                }
        });
        Some(values.collect())
    }

    /// A direction in the data of the quadratic program, at the solution `x` with multipliers `y`.
    pub fn tangent(&self, conic: &Conic, (x, y): (&[f64], &[f64]), t: &ConicTangent<'_>) -> Result<Tangent, Error> {
        t.validate(conic)?;
        let mut out = Tangent { q: t.q.map(<[f64]>::to_vec), ..Tangent::default() };
        if let (Some(values), Some(_)) = (t.p, conic.p()) {
            out.p = Some(self.hessian(conic, values)?);
        }
        if let Some(values) = t.a {
            let [a, g, c] = self.matrices(conic, values)?;
            (out.a, out.g, out.c) = (Some(a), Some(g), Some(c));
        }
        if let Some(values) = t.b {
            let [b, h, d] = self.vectors(values);
            (out.b, out.h, out.d) = (Some(b), Some(h), Some(d));
        }
        let (mut lb, mut ub) = (vec![0.0; self.n], vec![0.0; self.n]);
        let mut any = false;
        for (side, given) in [(&mut lb, t.lb), (&mut ub, t.ub)] {
            if let Some(given) = given {
                side.copy_from_slice(given);
                any = true;
            }
        }
        for (i, role) in self.roles.iter().enumerate() {
            if let Role::Lower(k, entry) | Role::Upper(k, entry) = *role {
                let (a, b) = (conic.a().values()[entry], conic.b()[i]);
                let (da, db) = (t.a.map_or(0.0, |v| v[entry]), t.b.map_or(0.0, |v| v[i]));
                let side = if matches!(role, Role::Lower(..)) { &mut lb } else { &mut ub };
                side[k] = (db - b / a * da) / a;
                any = true;
            }
        }
        if let (Some(da), false) = (t.a, self.zeros.is_empty()) {
            let q = out.q.get_or_insert_with(|| vec![0.0; self.n]);
            for &(e, i, j) in &self.zeros {
                let (Role::Lower(k, entry) | Role::Upper(k, entry)) = self.roles[i] else { continue };
                let side = if matches!(self.roles[i], Role::Lower(..)) { &mut lb } else { &mut ub };
                side[k] -= da[e] * x[j] / conic.a().values()[entry];
                q[j] += y[i] * da[e];
            }
        }
        if any {
            (out.lb, out.ub) = (Some(lb), Some(ub));
        }
        Ok(out)
    }

    /// The change of `x, s, y, z_box` and the objective.
    pub fn outputs_tangent(
        &self,
        conic: &Conic,
        solution: &Solution,
        y: &[f64],
        t: &ConicTangent<'_>,
        out: &SolutionTangent,
    ) -> ConicSolutionTangent {
        self.outputs_in_parts(conic, solution, y, t, out, |k| self.parts(solution, k))
    }

    /// The same, with the part of the change of `z_box` that the lower and the upper bound of a variable have.
    fn outputs_in_parts(
        &self,
        conic: &Conic,
        solution: &Solution,
        y: &[f64],
        t: &ConicTangent<'_>,
        out: &SolutionTangent,
        parts: impl Fn(usize) -> [f64; 2],
    ) -> ConicSolutionTangent {
        let x = &solution.at.x;
        let mut s = t.b.map_or_else(|| vec![0.0; conic.m()], <[f64]>::to_vec);
        if let Some(da) = t.a {
            conic.a().triplets().zip(da).for_each(|((i, j, _), v)| s[i] -= v * x[j]);
        }
        conic.a().mul_add(-1.0, &out.x, &mut s);
        if solution.closest.is_some() {
            // shifted rows move with the data
            s.fill(f64::NAN);
        }
        let mut z_box = out.z_box.clone();
        for (k, z) in z_box.iter_mut().enumerate() {
            let own = parts(k);
            *z *= (0..2).map(|side| if self.owners[k][side].is_none() { own[side] } else { 0.0 }).sum::<f64>();
        }
        let mut dy = vec![0.0; conic.m()];
        for (i, role) in self.roles.iter().enumerate() {
            dy[i] = match *role {
                Role::Equality(row) => self.units[i] * out.y[row],
                Role::Inequality(row) => self.units[i] * out.z[row],
                Role::Cone(row) => {
                    s[i] = out.s[row];
                    out.y_cone[row]
                }
                Role::Lower(k, entry) | Role::Upper(k, entry) => {
                    let side = usize::from(matches!(role, Role::Upper(..)));
                    let (a, da) = (conic.a().values()[entry], t.a.map_or(0.0, |v| v[entry]));
                    (parts(k)[side] * out.z_box[k] - y[i] * da) / a
                }
            };
        }
        // the linear term stands in for zeros of A there
        let by_zeros = |&(e, i, j): &(usize, usize, usize)| t.a.map_or(0.0, |da| da[e]) * y[i] * x[j];
        let objective = out.objective - self.zeros.iter().map(by_zeros).sum::<f64>();
        ConicSolutionTangent { x: out.x.clone(), s, y: dy, z_box, objective }
    }

    /// The one-sided change of the outputs, and the verdict on it.
    pub fn jvp_one_sided(
        &self,
        conic: &Conic,
        solution: &Solution,
        y: &[f64],
        t: &ConicTangent<'_>,
    ) -> Result<(ConicSolutionTangent, Verdict), Error> {
        let (moved, verdict) = solution.jvp_one_sided(&self.tangent(conic, (&solution.at.x, y), t)?)?;
        // the multiplier of a weakly active bound starts to grow on its own side
        let parts = |k: usize| match solution.active.weak_bound[k] {
            true if moved.z_box[k] > 0.0 => [0.0, 1.0],
            true => [1.0, 0.0],
            false => self.parts(solution, k),
        };
        Ok((self.outputs_in_parts(conic, solution, y, t, &moved, parts), verdict))
    }

    /// The derivative of the gradient along `t`, the cotangent held: that of the quadratic program, the change of its
    /// cotangent, and the product rule where rows are bounds or slacks.
    pub fn second_vjp(
        &self,
        conic: &Conic,
        at: &mut Derivatives<'_>,
        y: &[f64],
        (cot, t): (&ConicCotangent<'_>, &ConicTangent<'_>),
        wrt: ConicWrt,
    ) -> Result<ConicGradient, Error> {
        refuse_cones(&self.cones, &at.solution().active, |k| self.curved[k])?;
        let inner = self.cotangent(conic, at.solution(), cot)?;
        let direction = self.tangent(conic, (&at.solution().at.x, y), t)?;
        let asked = self.wrt(wrt);
        let mut total = at.second_vjp(&inner, &direction, asked)?.clone();
        let moved = at.jvp(&direction)?.clone();
        let moved_outputs = self.outputs_tangent(conic, at.solution(), y, t, &moved);
        // the cotangent in the quadratic program moves with A
        let mut change = Cotangent::default();
        if let Some(da) = t.a {
            if !cot.s.is_empty() {
                change.x = vec![0.0; self.n];
                self.linear_entries(conic, da, |i, j, v| change.x[j] -= v * cot.s[i]);
            }
            if !cot.y.is_empty() {
                change.z_box = vec![0.0; self.n];
                for (i, role) in self.roles.iter().enumerate() {
                    if let Role::Lower(k, entry) | Role::Upper(k, entry) = *role {
                        let side = usize::from(matches!(role, Role::Upper(..)));
                        let a = conic.a().values()[entry];
                        change.z_box[k] -= self.parts(at.solution(), k)[side] * cot.y[i] * da[entry] / (a * a);
                    }
                }
            }
        }
        if !change.x.is_empty() || !change.z_box.is_empty() {
            let through = at.vjp(&change, asked)?;
            total.add(through);
        }
        // slacks of linear rows: only x moves in -s x', and the part of b not at all
        let mut out = self.gradient(conic, (&moved.x, y), &ConicCotangent { y: &[], ..*cot }, wrt, &total);
        if let Some(b) = &mut out.b {
            let linear = self.roles.iter().enumerate().filter(|(_, role)| !matches!(role, Role::Cone(_)));
            linear.for_each(|(i, _)| b[i] -= entry(cot.s, i));
        }
        let bounds = self.roles.iter().any(|role| matches!(role, Role::Lower(..) | Role::Upper(..)));
        if bounds && (wrt.a || wrt.b) {
            let first = at.vjp(&inner, asked)?;
            for (i, role) in self.roles.iter().enumerate() {
                let (Role::Lower(k, e) | Role::Upper(k, e)) = *role else { continue };
                let lower = matches!(role, Role::Lower(..));
                let side = if lower { &first.lb } else { &first.ub };
                let g = side.as_ref().map_or(0.0, |v| v[k]);
                let (a, da) = (conic.a().values()[e], t.a.map_or(0.0, |v| v[e]));
                let bound = conic.b()[i] / a;
                let moved_bound = if lower { &direction.lb } else { &direction.ub };
                let db = moved_bound.as_ref().map_or(0.0, |v| v[k]);
                if let Some(b) = &mut out.b {
                    b[i] -= g * da / (a * a);
                }
                if let Some(values) = &mut out.a {
                    values[e] +=
                        (-g * db + g * bound * da / a - entry(cot.y, i) * (moved_outputs.y[i] - y[i] * da / a)) / a;
                }
            }
        }
        out.finite()
    }

    /// The derivative of the change along `t`, `t` held, along another direction: that of the quadratic program, whose own
    /// direction moves where rows are bounds, and the product rule for slacks and multipliers of linear rows.
    pub fn second_jvp(
        &self,
        conic: &Conic,
        at: &mut Derivatives<'_>,
        y: &[f64],
        (t, along): (&ConicTangent<'_>, &ConicTangent<'_>),
    ) -> Result<ConicSolutionTangent, Error> {
        refuse_cones(&self.cones, &at.solution().active, |k| self.curved[k])?;
        let x = &at.solution().at.x;
        let directions = [self.tangent(conic, (x, y), t)?, self.tangent(conic, (x, y), along)?];
        let [(x_t, y_t), (x_along, y_along)] = {
            let mut first = |t: &ConicTangent<'_>, direction: &Tangent| -> Result<_, Error> {
                let moved = at.jvp(direction)?.clone();
                let out = self.outputs_tangent(conic, at.solution(), y, t, &moved);
                Ok((out.x, out.y))
            };
            [first(t, &directions[0])?, first(along, &directions[1])?]
        };
        let mut total = at.second_jvp(&directions[0], &directions[1])?.clone();
        let bounds = self.bounds_twice(conic, t, along);
        if bounds.lb.is_some() {
            let through = at.jvp(&bounds)?;
            for (sum, part) in [
                (&mut total.x, &through.x),
                (&mut total.y, &through.y),
                (&mut total.z, &through.z),
                (&mut total.z_box, &through.z_box),
                (&mut total.s, &through.s),
                (&mut total.y_cone, &through.y_cone),
            ] {
                sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
            }
            total.objective += through.objective;
        }
        // what holds of a direction in which no data moves holds of the second change, up to products of first ones
        let mut out = self.outputs_tangent(conic, at.solution(), y, &ConicTangent::default(), &total);
        for (da, dx, dy) in [(t.a, &x_along, &y_along), (along.a, &x_t, &y_t)] {
            let Some(da) = da else { continue };
            self.linear_entries(conic, da, |i, j, v| out.s[i] -= v * dx[j]);
            for (i, role) in self.roles.iter().enumerate() {
                if let Role::Lower(_, entry) | Role::Upper(_, entry) = *role {
                    out.y[i] -= dy[i] * da[entry] / conic.a().values()[entry];
                }
            }
        }
        Ok(out)
    }

    /// The second change of the bounds `b/a` that rows are, as a direction; without bounds where it is zero.
    fn bounds_twice(&self, conic: &Conic, t: &ConicTangent<'_>, along: &ConicTangent<'_>) -> Tangent {
        let mut out = Tangent::default();
        if t.a.is_none() && along.a.is_none() {
            return out;
        }
        let (mut lb, mut ub) = (vec![0.0; self.n], vec![0.0; self.n]);
        let mut any = false;
        for (i, role) in self.roles.iter().enumerate() {
            let (Role::Lower(k, e) | Role::Upper(k, e)) = *role else { continue };
            let (a, b) = (conic.a().values()[e], conic.b()[i]);
            let of = |t: &ConicTangent<'_>| (t.a.map_or(0.0, |v| v[e]), t.b.map_or(0.0, |v| v[i]));
            let ((da, db), (ea, eb)) = (of(t), of(along));
            let side = if matches!(role, Role::Lower(..)) { &mut lb } else { &mut ub };
            side[k] = (2.0 * b / a * da * ea - db * ea - eb * da) / (a * a);
            any = true;
        }
        if any {
            (out.lb, out.ub) = (Some(lb), Some(ub));
        }
        out
    }
}

/// Entry of a vector; 0 where it is empty.
fn entry(v: &[f64], i: usize) -> f64 {
    v.get(i).copied().unwrap_or(0.0)
}

/// The entries of a gradient, asked for in the order in which they are stored.
enum Entries<'a> {
    None,
    Dense(&'a Full),
    Sparse(std::slice::Iter<'a, f64>),
}

impl<'a> Entries<'a> {
    fn new(m: &'a Option<Matrix>) -> Self {
        match m {
            None => Entries::None,
            Some(Matrix::Dense(m)) => Entries::Dense(m),
            Some(Matrix::Sparse(m)) => Entries::Sparse(m.values().iter()),
        }
    }

    fn at(&mut self, i: usize, j: usize) -> f64 {
        match self {
            Entries::None => 0.0,
            Entries::Dense(m) => m[(i, j)],
            // a part of a matrix keeps the order of its entries
            Entries::Sparse(values) => values.next().copied().unwrap_or(0.0),
        }
    }
}
