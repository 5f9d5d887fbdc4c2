//! A conic program in the form of a [`Qp`], and back: full matrices are dense, bounds are recognized in rows of one entry, and
//! every answer is given in the rows of the caller (`answers.rs`, `derivatives.rs`).
//!
//! A row `a x_k + s = b, s >= 0` is the bound `b/a`, an upper one if `a > 0`. With its multiplier `z_box`,
//!
//! ```text
//! y = z_box/a,     dL/db = dL/d(bound)/a,     dL/da = -(dL/d(bound) b/a + dL/dy y)/a
//! ```
//!
//! A stored zero of such a row, in column j, is a parameter too: to first order it moves the bound by `-x_j/a` and the linear
//! term by `y` in entry j, but not the objective, so its gradient is `y dL/dq_j - dL/db x_j - dL/d(objective) y x_j`. Second
//! derivatives are taken in a form in which these rows are rows.
//!
//! Slacks of linear rows are `s = b - A x`; those of curved cones are outputs of their own.
//!
//! Beside curved cones a linear row whose entries are far from 1 is taken times a power of two, its *unit*: with `b` and `A`
//! times u the multiplier is `y/u`. The polish of curved cones compares slacks and multipliers of all rows, and there the
//! units of a row must not decide.

use super::Conic;
use crate::cones::blocks;
use crate::{Certificate, Cone, Csc, Error, Hessian, Matrix, Point, Qp};
use faer::Mat;
use std::sync::Arc;

/// A block of at least this share of its entries is dense.
const FULL: f64 = 0.5;
/// Bounds that cross by less than this relative to their size are one number.
const ROUNDING: f64 = 1e-15;
/// Units are powers of two to the power of this, so that rows with entries around 1 stay what they are and small changes
/// of the data change no unit.
const UNIT_STEP: i32 = 8;

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

/// Which rows of half lines are bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Bounds {
    /// None: all of them are rows.
    Rows,
    /// Those with one stored entry.
    Stored,
    /// Those with one entry that is not zero.
    Nonzero,
}

/// Where the rows and entries of a conic program are in the quadratic one.
#[derive(Debug, Clone)]
pub(crate) struct Form {
    bounds: Bounds,
    /// Per row, the column and the place of its only entry.
    lone: Vec<Option<(usize, usize)>>,
    /// Place, row and column of the stored zeros of rows that are bounds.
    pub(super) zeros: Vec<(usize, usize, usize)>,
    pub(super) n: usize,
    pub(super) roles: Vec<Role>,
    /// Equalities, inequalities, rows of curved cones.
    counts: [usize; 3],
    storage: [Storage; 3],
    hessian: Storage,
    /// Per variable the rows that are its lower and its upper bound.
    pub(super) owners: Vec<[Option<usize>; 2]>,
    pub(super) cones: Vec<Cone>,
    /// Which of the caller's cones these are.
    pub(super) curved: Vec<usize>,
    /// Entry of the full symmetric P for each entry of the given one, where it is sparse.
    pub(super) hessian_at: Vec<usize>,
    /// Per row of the caller, what it is multiplied by.
    pub(super) units: Vec<f64>,
}

/// Per row a power of two that brings its largest entry near 1; 1 for rows of curved cones, which are mixed.
fn units(conic: &Conic, roles: &[Role]) -> Vec<f64> {
    let mut sizes = vec![0.0_f64; conic.m()];
    conic.a().triplets().for_each(|(i, _, v)| sizes[i] = sizes[i].max(v.abs()));
    let unit = |(size, role): (f64, &Role)| {
        let linear = matches!(role, Role::Equality(_) | Role::Inequality(_));
        if !linear || size < f64::MIN_POSITIVE || !size.is_finite() {
            return 1.0;
        }
        let steps = (size.log2() / f64::from(UNIT_STEP)).round() as i32;
        2.0_f64.powi(-UNIT_STEP * steps)
    };
    sizes.into_iter().zip(roles).map(unit).collect()
}

/// Two rows that contradict each other: the lower and the upper bound of a variable.
#[derive(Debug)]
pub(crate) struct Crossed(pub usize);

/// Linear constraints, also as cones of order 0 and 1.
pub(super) fn is_half_line(cone: &Cone) -> bool {
    matches!(cone, Cone::Nonnegative(_) | Cone::SecondOrder(0 | 1) | Cone::PsdTriangle(0 | 1))
}

/// What the rows of a conic program are.
struct Roles {
    roles: Vec<Role>,
    counts: [usize; 3],
    owners: Vec<[Option<usize>; 2]>,
    cones: Vec<Cone>,
    curved: Vec<usize>,
}

impl Roles {
    fn new(conic: &Conic, bounds: Bounds, lone: &[Option<(usize, usize)>]) -> Self {
        let (mut roles, mut counts) = (Vec::with_capacity(conic.m()), [0; 3]);
        let mut owners = vec![[None; 2]; conic.n()];
        let (mut cones, mut curved) = (Vec::new(), Vec::new());
        for (k, range) in blocks(conic.cones()) {
            let cone = conic.cones()[k];
            if !cone.is_polyhedral() && !is_half_line(&cone) {
                cones.push(cone);
                curved.push(k);
            }
            for i in range {
                let mut next = |block: usize| {
                    counts[block] += 1;
                    counts[block] - 1
                };
                roles.push(if matches!(cone, Cone::Zero(_)) {
                    Role::Equality(next(0))
                } else if is_half_line(&cone) {
                    let bound = |&(variable, entry): &(usize, usize)| {
                        let a = conic.a().values()[entry];
                        let side = usize::from(a >= 0.0);
                        let given = if side == 0 { conic.lb[variable] } else { conic.ub[variable] };
                        let free = a != 0.0 && given.is_infinite() && owners[variable][side].is_none();
                        free && (conic.b()[i] / a).is_finite()
                    };
                    match lone[i].filter(bound).filter(|_| bounds != Bounds::Rows) {
                        Some((variable, entry)) => {
                            let side = usize::from(conic.a().values()[entry] >= 0.0);
                            owners[variable][side] = Some(i);
                            if side == 0 { Role::Lower(variable, entry) } else { Role::Upper(variable, entry) }
                        }
                        None => Role::Inequality(next(1)),
                    }
                } else {
                    Role::Cone(next(2))
                });
            }
        }
        Roles { roles, counts, owners, cones, curved }
    }
}

/// Per row, the column and the place of its only entry, if it has one.
fn lone(conic: &Conic, bounds: Bounds) -> Vec<Option<(usize, usize)>> {
    let mut out = vec![(0_usize, None); conic.m()];
    for (k, (i, j, v)) in conic.a().triplets().enumerate() {
        if v != 0.0 || bounds != Bounds::Nonzero {
            out[i] = (out[i].0 + 1, Some((j, k)));
        }
    }
    out.into_iter().map(|(count, place)| place.filter(|_| count == 1)).collect()
}

impl Form {
    pub fn new(conic: &Conic, bounds: Bounds) -> Result<Self, Error> {
        let n = conic.n();
        let lone = lone(conic, bounds);
        let Roles { roles, counts, owners, cones, curved } = Roles::new(conic, bounds, &lone);
        let (mut stored, mut zeros) = ([0_usize; 3], Vec::new());
        for (k, (i, j, _)) in conic.a().triplets().enumerate() {
            match roles[i] {
                Role::Equality(_) => stored[0] += 1,
                Role::Inequality(_) => stored[1] += 1,
                Role::Cone(_) => stored[2] += 1,
                Role::Lower(_, entry) | Role::Upper(_, entry) if entry != k => zeros.push((k, i, j)),
                Role::Lower(..) | Role::Upper(..) => {}
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
        let units = if curved.is_empty() { vec![1.0; conic.m()] } else { units(conic, &roles) };
        Ok(Form { bounds, lone, zeros, n, roles, counts, storage, hessian, owners, cones, curved, hessian_at, units })
    }

    /// True if this is the form of a problem of the same patterns too: its rows are the same bounds and keep their units.
    /// `before` had this form.
    pub fn fits(&self, conic: &Conic, before: Option<&Conic>) -> bool {
        let same_a = before.is_some_and(|before| Arc::ptr_eq(&before.a, &conic.a));
        let same_rows = if same_a {
            Roles::new(conic, self.bounds, &self.lone).roles == self.roles
        } else {
            let lone = lone(conic, self.bounds);
            let same_units = self.curved.is_empty() || self.units == units(conic, &self.roles);
            lone == self.lone && Roles::new(conic, self.bounds, &lone).roles == self.roles && same_units
        };
        let negative = || conic.p().is_some_and(|p| p.values().iter().any(|&v| v < 0.0));
        same_rows && !(self.hessian == Storage::Diagonal && negative())
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

    pub(super) fn hessian(&self, conic: &Conic, values: &[f64]) -> Result<Hessian, Error> {
        if self.hessian == Storage::Factored {
            let (d, f) = values.split_at(self.n);
            let columns = f.len().checked_div(self.n).unwrap_or(0);
            let f = Mat::from_fn(self.n, columns, |i, j| f[j * self.n + i]);
            return Ok(Hessian::LowRank { d: d.to_vec(), f });
        }
        let entries = || conic.p().into_iter().flat_map(Csc::triplets).zip(values).map(|((i, j, _), &v)| (i, j, v));
        Ok(match self.hessian {
            Storage::Sparse | Storage::Factored => Hessian::Sparse(symmetric(conic, values)?),
            Storage::Dense => {
                let mut full = Mat::zeros(self.n, self.n);
                let share = if conic.p_is_upper() { 1.0 } else { 0.5 };
                for (i, j, v) in entries() {
                    if i == j {
                        full[(i, j)] = v;
                    } else {
                        full[(i, j)] += share * v;
                        full[(j, i)] += share * v;
                    }
                }
                Hessian::from(full)
            }
            Storage::Diagonal => {
                let mut d = vec![0.0; self.n];
                entries().for_each(|(i, _, v)| d[i] = v);
                Hessian::Diagonal(d)
            }
        })
    }

    /// A vector over the rows that is in their units, as the right-hand side is, cut into the parts of equalities, inequalities
    /// and curved cones.
    pub(super) fn vectors(&self, v: &[f64]) -> [Vec<f64>; 3] {
        self.cut(v.iter().zip(&self.units).map(|(v, unit)| v * unit))
    }

    /// The same of multipliers.
    pub(super) fn cut_multipliers(&self, y: &[f64]) -> [Vec<f64>; 3] {
        self.cut(y.iter().zip(&self.units).map(|(y, unit)| y / unit))
    }

    fn cut(&self, v: impl Iterator<Item = f64>) -> [Vec<f64>; 3] {
        let mut out = self.counts.map(|count| vec![0.0; count]);
        for (role, v) in self.roles.iter().zip(v) {
            match *role {
                Role::Equality(i) => out[0][i] = v,
                Role::Inequality(i) => out[1][i] = v,
                Role::Cone(i) => out[2][i] = v,
                Role::Lower(..) | Role::Upper(..) => {}
            }
        }
        out
    }

    pub(super) fn matrices(&self, conic: &Conic, values: &[f64]) -> Result<[Matrix; 3], Error> {
        let mut entries: [Vec<(usize, usize, f64)>; 3] = Default::default();
        for ((i, j, _), &v) in conic.a().triplets().zip(values) {
            let v = v * self.units[i];
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
                    Matrix::from(m)
                }
                Storage::Sparse | Storage::Diagonal | Storage::Factored => {
                    Matrix::Sparse(Csc::from_triplets(rows, self.n, entries)?)
                }
            };
        }
        Ok(out)
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
