//! A conic program in the form of a [`Qp`], and back: full matrices are dense, without curved cones bounds are recognized in
//! rows of one entry, and every answer is given in the rows of the caller.
//!
//! A row `a x_k + s = b, s >= 0` is the bound `b/a`, an upper one if `a > 0`. With its multiplier `z_box`,
//!
//! ```text
//! y = z_box/a,     dL/db = dL/d(bound)/a,     dL/da = -(dL/d(bound) b/a + dL/dy y)/a
//! ```
//!
//! Slacks of linear rows are `s = b - A x`; those of curved cones are outputs of their own.

use super::{Conic, ConicCotangent, ConicGradient, ConicSolutionTangent, ConicTangent, ConicWrt};
use crate::active::{ActiveSet, Side};
use crate::backward::{refuse_cones, shares};
use crate::cones::blocks;
use crate::matrix::norm_inf;
use crate::{
    Certificate, Cone, Cotangent, Csc, Derivatives, Error, Gradient, Hessian, Matrix, Point, Qp, Solution,
    SolutionTangent, Tangent, Wrt,
};
use faer::Mat;
use std::sync::Arc;

/// A block of at least this share of its entries is dense.
const FULL: f64 = 0.5;
/// Bounds that cross by less than this relative to their size are one number.
const ROUNDING: f64 = 1e-15;

/// What a row of the caller is in the quadratic program.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Role {
    Equality(usize),
    Inequality(usize),
    Cone(usize),
    /// The lower bound of a variable, by that entry of A.
    Lower(usize, usize),
    /// Its upper bound.
    Upper(usize, usize),
}

/// How a matrix is stored.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Storage {
    Dense,
    Sparse,
    Diagonal,
    /// `diag(d) + F F'`.
    Factored,
}

/// Where the rows and entries of a conic program are in the quadratic one.
#[derive(Debug, Clone)]
pub(crate) struct Form {
    n: usize,
    pub(super) roles: Vec<Role>,
    /// Equalities, inequalities, rows of curved cones.
    counts: [usize; 3],
    storage: [Storage; 3],
    hessian: Storage,
    /// Per variable the rows that are its lower and its upper bound.
    pub(super) owners: Vec<[Option<usize>; 2]>,
    cones: Vec<Cone>,
    /// Which of the caller's cones these are.
    curved: Vec<usize>,
    /// Entry of the full symmetric P for each entry of the given one, where it is sparse.
    hessian_at: Vec<usize>,
}

/// Two rows that contradict each other: the lower and the upper bound of a variable.
#[derive(Debug)]
pub(crate) struct Crossed(pub usize);

/// Linear constraints, also as cones of order 0 and 1.
pub(super) fn is_half_line(cone: &Cone) -> bool {
    matches!(cone, Cone::Nonnegative(_) | Cone::SecondOrder(0 | 1) | Cone::PsdTriangle(0 | 1))
}

impl Form {
    /// `bounds`: recognize bounds in rows of one entry.
    pub fn new(conic: &Conic, bounds: bool) -> Result<Self, Error> {
        let (n, m) = (conic.n(), conic.m());
        let mut entries = vec![0; m];
        let mut single = vec![(0, 0); m];
        for (k, (i, j, _)) in conic.a().triplets().enumerate() {
            entries[i] += 1;
            single[i] = (j, k);
        }
        let (mut roles, mut counts, mut stored) = (Vec::with_capacity(m), [0; 3], [0_usize; 3]);
        let mut owners = vec![[None; 2]; n];
        let (mut cones, mut curved) = (Vec::new(), Vec::new());
        for (k, range) in blocks(conic.cones()) {
            let cone = conic.cones()[k];
            if !cone.is_polyhedral() && !is_half_line(&cone) {
                cones.push(cone);
                curved.push(k);
            }
            for i in range {
                let mut next = |block: usize| {
                    stored[block] += entries[i];
                    counts[block] += 1;
                    counts[block] - 1
                };
                roles.push(if matches!(cone, Cone::Zero(_)) {
                    Role::Equality(next(0))
                } else if is_half_line(&cone) {
                    let (variable, entry) = single[i];
                    let a = if entries[i] == 1 { conic.a().values()[entry] } else { 0.0 };
                    let (side, given) = if a < 0.0 { (0, conic.lb[variable]) } else { (1, conic.ub[variable]) };
                    let free = bounds && a != 0.0 && given.is_infinite() && owners[variable][side].is_none();
                    if free && (conic.b()[i] / a).is_finite() {
                        owners[variable][side] = Some(i);
                        if side == 0 { Role::Lower(variable, entry) } else { Role::Upper(variable, entry) }
                    } else {
                        Role::Inequality(next(1))
                    }
                } else {
                    Role::Cone(next(2))
                });
            }
        }
        let full = |stored: usize, rows: usize| stored as f64 >= FULL * (rows * n) as f64;
        let storage =
            std::array::from_fn(|b| if full(stored[b], counts[b]) { Storage::Dense } else { Storage::Sparse });
        let (mut hessian, mut hessian_at) = (Storage::Sparse, Vec::new());
        if conic.factored {
            hessian = Storage::Factored;
        } else if let Some(p) = conic.p() {
            let symmetric = symmetric(conic, p.values())?;
            if p.triplets().all(|(i, j, v)| i == j && v >= 0.0) {
                hessian = Storage::Diagonal;
            } else if full(symmetric.nnz(), n) {
                hessian = Storage::Dense;
            }
            for (i, j, _) in p.triplets() {
                let start = symmetric.indptr()[j];
                let column = &symmetric.indices()[start..symmetric.indptr()[j + 1]];
                hessian_at.push(start + column.partition_point(|&r| r < i));
            }
        }
        Ok(Form { n, roles, counts, storage, hessian, owners, cones, curved, hessian_at })
    }

    /// True if a problem of the same patterns has this form too: no entry that makes a bound changed its sign.
    pub fn fits(&self, conic: &Conic) -> bool {
        let a = conic.a().values();
        let bounds = self.roles.iter().zip(conic.b()).all(|(role, b)| match *role {
            Role::Lower(_, entry) => a[entry] < 0.0 && (b / a[entry]).is_finite(),
            Role::Upper(_, entry) => a[entry] > 0.0 && (b / a[entry]).is_finite(),
            _ => true,
        });
        let negative = || conic.p().is_some_and(|p| p.values().iter().any(|&v| v < 0.0));
        bounds && !(self.hessian == Storage::Diagonal && negative())
    }

    /// The quadratic program; blocks that `old` shares with `conic` keep their address.
    pub fn qp(&self, conic: &Conic, old: Option<(&Conic, &Qp)>) -> Result<Result<Qp, Crossed>, Error> {
        let [b, h, d] = self.vectors(conic.b());
        let (mut lb, mut ub) = (conic.lb.to_vec(), conic.ub.to_vec());
        for (role, b) in self.roles.iter().zip(conic.b()) {
            match *role {
                Role::Lower(k, entry) => lb[k] = b / conic.a().values()[entry],
                Role::Upper(k, entry) => ub[k] = b / conic.a().values()[entry],
                _ => {}
            }
        }
        for (k, (lb, ub)) in lb.iter_mut().zip(&mut ub).enumerate().filter(|(_, (lb, ub))| **lb > **ub) {
            if *lb - *ub > ROUNDING * lb.abs().max(ub.abs()) {
                return Ok(Err(Crossed(k)));
            }
            (*lb, *ub) = (0.5 * (*lb + *ub), 0.5 * (*lb + *ub));
        }
        let shared = |a: &Arc<Csc>, b: &Arc<Csc>| Arc::ptr_eq(a, b);
        let same_p = old.is_some_and(|(before, _)| match (&before.p, &conic.p) {
            (Some(a), Some(b)) => shared(a, b),
            (None, None) => true,
            _ => false,
        });
        let same_a = old.is_some_and(|(before, _)| shared(&before.a, &conic.a));
        if let (true, true, Some((_, qp))) = (same_p, same_a, old) {
            let qp = qp.clone().with_q(conic.q().to_vec())?.with_b(b)?.with_h(h)?.with_d(d)?;
            return qp.bounds(lb, ub).map(Ok);
        }
        let mut qp = match (old, conic.p()) {
            (Some((_, qp)), _) if same_p => Qp::of_shared(qp.p.clone(), conic.q().to_vec()),
            (_, None) => Qp::linear(conic.q().to_vec())?,
            (_, Some(p)) => Qp::new(self.hessian(conic, p.values())?, conic.q().to_vec())?,
        };
        let [a, g, c] = self.matrices(conic, conic.a().values())?;
        qp = qp.equality(a, b)?.inequality(g, h)?.bounds(lb, ub)?;
        if !self.cones.is_empty() {
            qp = qp.with_cones(self.cones.clone(), c, d)?;
        }
        if let (true, Some((_, qp_before))) = (same_a, old) {
            (qp.a, qp.g, qp.c) = (qp_before.a.clone(), qp_before.g.clone(), qp_before.c.clone());
        }
        // patterns stay, and with them what was analysed of them
        qp.analysis = conic.analysis.clone();
        Ok(Ok(qp))
    }

    /// The proof that two rows contradict each other.
    pub fn contradiction(&self, conic: &Conic, Crossed(k): Crossed) -> Certificate {
        let mut point = Point { y: vec![0.0; conic.m()], z_box: vec![0.0; self.n], ..Point::default() };
        for (side, row) in self.owners[k].iter().enumerate() {
            match row.map(|row| (row, self.roles[row])) {
                Some((row, Role::Lower(_, entry) | Role::Upper(_, entry))) => {
                    point.y[row] = 1.0 / conic.a().values()[entry].abs();
                }
                _ => point.z_box[k] = if side == 0 { -1.0 } else { 1.0 },
            }
        }
        Certificate::PrimalInfeasible(point)
    }

    fn hessian(&self, conic: &Conic, values: &[f64]) -> Result<Hessian, Error> {
        if self.hessian == Storage::Factored {
            let (d, f) = values.split_at(self.n);
            let columns = f.len().checked_div(self.n).unwrap_or(0);
            let f = Mat::from_fn(self.n, columns, |i, j| f[j * self.n + i]);
            return Ok(Hessian::LowRank { d: d.to_vec(), f });
        }
        let full = symmetric(conic, values)?;
        Ok(match self.hessian {
            Storage::Sparse | Storage::Factored => Hessian::Sparse(full),
            Storage::Dense => Hessian::Dense(full.to_dense()),
            Storage::Diagonal => {
                let mut d = vec![0.0; self.n];
                full.triplets().for_each(|(i, _, v)| d[i] = v);
                Hessian::Diagonal(d)
            }
        })
    }

    /// A vector over the rows, cut into those of equalities, inequalities and curved cones.
    fn vectors(&self, v: &[f64]) -> [Vec<f64>; 3] {
        let mut out = self.counts.map(|count| vec![0.0; count]);
        for (role, &v) in self.roles.iter().zip(v) {
            match *role {
                Role::Equality(i) => out[0][i] = v,
                Role::Inequality(i) => out[1][i] = v,
                Role::Cone(i) => out[2][i] = v,
                Role::Lower(..) | Role::Upper(..) => {}
            }
        }
        out
    }

    fn matrices(&self, conic: &Conic, values: &[f64]) -> Result<[Matrix; 3], Error> {
        let mut entries: [Vec<(usize, usize, f64)>; 3] = Default::default();
        for ((i, j, _), &v) in conic.a().triplets().zip(values) {
            match self.roles[i] {
                Role::Equality(i) => entries[0].push((i, j, v)),
                Role::Inequality(i) => entries[1].push((i, j, v)),
                Role::Cone(i) => entries[2].push((i, j, v)),
                Role::Lower(..) | Role::Upper(..) => {}
            }
        }
        let mut out = [Matrix::empty(self.n), Matrix::empty(self.n), Matrix::empty(self.n)];
        for (b, (out, entries)) in out.iter_mut().zip(&entries).enumerate() {
            let rows = self.counts[b];
            *out = match self.storage[b] {
                Storage::Dense => {
                    let mut m = Mat::zeros(rows, self.n);
                    entries.iter().for_each(|&(i, j, v)| m[(i, j)] = v);
                    Matrix::Dense(m)
                }
                Storage::Sparse | Storage::Diagonal | Storage::Factored => {
                    Matrix::Sparse(Csc::from_triplets(rows, self.n, entries)?)
                }
            };
        }
        Ok(out)
    }

    /// Multipliers in the rows of the caller, and of his bounds.
    fn multipliers(&self, conic: &Conic, p: &Point) -> (Vec<f64>, Vec<f64>) {
        let mut own = p.z_box.clone();
        let mut y = vec![0.0; self.roles.len()];
        for (y, role) in y.iter_mut().zip(&self.roles) {
            *y = match *role {
                Role::Equality(i) => p.y[i],
                Role::Inequality(i) => p.z[i],
                Role::Cone(i) => p.y_cone[i],
                Role::Lower(k, entry) if p.z_box[k] < 0.0 => {
                    own[k] = 0.0;
                    p.z_box[k] / conic.a().values()[entry]
                }
                Role::Upper(k, entry) if p.z_box[k] > 0.0 => {
                    own[k] = 0.0;
                    p.z_box[k] / conic.a().values()[entry]
                }
                Role::Lower(..) | Role::Upper(..) => 0.0,
            };
        }
        (y, own)
    }

    /// `x, s, y, z_box` of a point.
    pub fn outputs(&self, conic: &Conic, p: &Point, active: &ActiveSet) -> [Vec<f64>; 4] {
        let mut s = conic.b().to_vec();
        conic.a().mul_add(-1.0, &p.x, &mut s);
        for (s, role) in s.iter_mut().zip(&self.roles) {
            let side = |k: usize| active.bound.get(k).copied().unwrap_or(Side::Free);
            match *role {
                Role::Equality(_) => *s = 0.0,
                Role::Inequality(i) if active.g.get(i) == Some(&true) => *s = 0.0,
                Role::Lower(k, _) if matches!(side(k), Side::Lower | Side::Fixed) => *s = 0.0,
                Role::Upper(k, _) if matches!(side(k), Side::Upper | Side::Fixed) => *s = 0.0,
                Role::Cone(i) => *s = p.s[i],
                Role::Inequality(_) | Role::Lower(..) | Role::Upper(..) => {}
            }
        }
        let (y, z_box) = self.multipliers(conic, p);
        [p.x.clone(), s, y, z_box]
    }

    /// Someone else's point; an empty `s` stands for `b - A x`.
    pub fn point(&self, conic: &Conic, x: &[f64], s: &[f64], y: &[f64], z_box: &[f64]) -> Point {
        let [own, z, y_cone] = self.vectors(y);
        let [_, _, mut slack] = self.vectors(if s.is_empty() { conic.b() } else { s });
        if s.is_empty() {
            let mut all = conic.b().to_vec();
            conic.a().mul_add(-1.0, x, &mut all);
            [_, _, slack] = self.vectors(&all);
        }
        let mut bounds = if z_box.is_empty() { vec![0.0; self.n] } else { z_box.to_vec() };
        for (role, y) in self.roles.iter().zip(y) {
            if let Role::Lower(k, entry) | Role::Upper(k, entry) = *role {
                bounds[k] += y * conic.a().values()[entry];
            }
        }
        Point { x: x.to_vec(), y: own, z, z_box: bounds, s: slack, y_cone }
    }

    /// A proof in the rows of the caller: all multipliers of rows are in `y`.
    pub fn certificate(&self, conic: &Conic, certificate: &Certificate) -> Certificate {
        match certificate {
            Certificate::PrimalInfeasible(p) => {
                let (y, z_box) = self.multipliers(conic, p);
                Certificate::PrimalInfeasible(Point { y, z_box, ..Point::default() })
            }
            other => other.clone(),
        }
    }

    /// The curved cones, in the order of the quadratic program.
    pub(super) fn curved_cones(&self) -> &[Cone] {
        &self.cones
    }

    /// The part of `z_box` of variable k that its lower and its upper bound have.
    fn parts(&self, solution: &Solution, k: usize) -> [f64; 2] {
        let (lower, upper) = shares(solution.active.bound[k], solution.at.z_box[k]);
        [lower, upper]
    }

    pub fn cotangent(&self, conic: &Conic, solution: &Solution, cot: &ConicCotangent<'_>) -> Result<Cotangent, Error> {
        cot.validate(conic)?;
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
            q: wrt.q,
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
        let mut out = ConicGradient { q: g.q.clone(), p: self.hessian_values(conic, g), ..ConicGradient::default() };
        let of_bound = |role: Role| match role {
            Role::Lower(k, _) => g.lb.as_ref().map_or(0.0, |v| v[k]),
            Role::Upper(k, _) => g.ub.as_ref().map_or(0.0, |v| v[k]),
            _ => 0.0,
        };
        let a = conic.a().values();
        if wrt.b {
            let of = |v: &Option<Vec<f64>>, i: usize| v.as_ref().map_or(0.0, |v| v[i]);
            let entry_of = |(row, role): (usize, &Role)| match *role {
                Role::Equality(i) => of(&g.b, i) + entry(cot.s, row),
                Role::Inequality(i) => of(&g.h, i) + entry(cot.s, row),
                Role::Cone(i) => of(&g.d, i),
                Role::Lower(_, e) | Role::Upper(_, e) => of_bound(*role) / a[e] + entry(cot.s, row),
            };
            out.b = Some(self.roles.iter().enumerate().map(entry_of).collect());
        }
        if wrt.a {
            let mut next = [Entries::new(&g.a), Entries::new(&g.g), Entries::new(&g.c)];
            let values = conic.a().triplets().map(|(i, j, a)| match self.roles[i] {
                Role::Equality(row) => next[0].at(row, j) - entry(cot.s, i) * x[j],
                Role::Inequality(row) => next[1].at(row, j) - entry(cot.s, i) * x[j],
                Role::Cone(row) => next[2].at(row, j),
                role @ (Role::Lower(..) | Role::Upper(..)) => {
                    let bound = conic.b()[i] / a;
                    -(of_bound(role) * bound + entry(cot.y, i) * y[i]) / a - entry(cot.s, i) * x[j]
                }
            });
            out.a = Some(values.collect());
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

    pub fn tangent(&self, conic: &Conic, t: &ConicTangent<'_>) -> Result<Tangent, Error> {
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
        let x = &solution.at.x;
        let mut s = t.b.map_or_else(|| vec![0.0; conic.m()], <[f64]>::to_vec);
        if let Some(da) = t.a {
            conic.a().triplets().zip(da).for_each(|((i, j, _), v)| s[i] -= v * x[j]);
        }
        conic.a().mul_add(-1.0, &out.x, &mut s);
        let mut z_box = out.z_box.clone();
        for (k, z) in z_box.iter_mut().enumerate() {
            let parts = self.parts(solution, k);
            *z *= (0..2).map(|side| if self.owners[k][side].is_none() { parts[side] } else { 0.0 }).sum::<f64>();
        }
        let mut dy = vec![0.0; conic.m()];
        for (i, role) in self.roles.iter().enumerate() {
            dy[i] = match *role {
                Role::Equality(i) => out.y[i],
                Role::Inequality(i) => out.z[i],
                Role::Cone(row) => {
                    s[i] = out.s[row];
                    out.y_cone[row]
                }
                Role::Lower(k, entry) | Role::Upper(k, entry) => {
                    let side = usize::from(matches!(role, Role::Upper(..)));
                    let (a, da) = (conic.a().values()[entry], t.a.map_or(0.0, |v| v[entry]));
                    (self.parts(solution, k)[side] * out.z_box[k] - y[i] * da) / a
                }
            };
        }
        ConicSolutionTangent { x: out.x.clone(), s, y: dy, z_box, objective: out.objective }
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
        let direction = self.tangent(conic, t)?;
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
        Ok(out)
    }

    /// How well a proof in the rows of the caller proves its claim.
    pub fn violation(conic: &Conic, certificate: &Certificate) -> f64 {
        // every row as a row: two bounds of one variable have two multipliers
        let Ok(rows) = Form::new(conic, false) else { return f64::INFINITY };
        let Ok(Ok(qp)) = rows.qp(conic, None) else { return f64::INFINITY };
        match certificate {
            Certificate::PrimalInfeasible(p) => {
                if p.y.len() != conic.m() || !(p.z_box.is_empty() || p.z_box.len() == rows.n) {
                    return f64::INFINITY;
                }
                let mut own = rows.point(conic, &vec![0.0; rows.n], &[], &p.y, &p.z_box);
                own.x.clear();
                own.s.clear();
                let size = norm_inf(&p.y);
                // inequalities have no place for a negative multiplier
                let wrong = own.z.iter().fold(0.0_f64, |m, z| m.max(-z));
                let violation = Certificate::PrimalInfeasible(own).violation(&qp);
                violation.max(if wrong > 0.0 { wrong / size } else { 0.0 })
            }
            other => other.violation(&qp),
        }
    }
}

/// Entry of a vector; 0 where it is empty.
fn entry(v: &[f64], i: usize) -> f64 {
    v.get(i).copied().unwrap_or(0.0)
}

/// The entries of a gradient, asked for in the order in which they are stored.
enum Entries<'a> {
    None,
    Dense(&'a Mat<f64>),
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

/// The full symmetric matrix of values on the pattern of P.
fn symmetric(conic: &Conic, values: &[f64]) -> Result<Csc, Error> {
    let n = conic.n();
    let Some(p) = conic.p() else { return Csc::from_triplets(n, n, &[]) };
    let mut entries = Vec::with_capacity(2 * p.nnz());
    for ((i, j, _), &v) in p.triplets().zip(values) {
        match (conic.p_is_upper(), i == j) {
            (_, true) => entries.push((i, j, v)),
            (true, false) => entries.extend([(i, j, v), (j, i, v)]),
            (false, false) => entries.extend([(i, j, 0.5 * v), (j, i, 0.5 * v)]),
        }
    }
    Csc::from_triplets(n, n, &entries)
}
