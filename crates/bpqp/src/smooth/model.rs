//! The quadratic program that a smooth one is at a point.
//!
//! ```text
//! minimize    gradient'd + 1/2 d'H d + rho/2 |F d + r|^2          with x = point + d
//! subject to  c + A d = 0,  g + G d <= 0,  lb <= x <= ub
//! ```
//!
//! H may be indefinite, and the solvers want a convex program. With F the rows that are held (`r` their values), the last term
//! is zero at every point that holds them: it changes neither the solution nor its multipliers, and makes the Hessian positive
//! definite wherever H is so on the null space of F. Only where that is not enough a multiple of the identity is added: the
//! step is then a shorter one, and the point no solution that may be differentiated.

use super::judge::Curvature;
use super::{Expansion, Values};
use crate::active::{ActiveSet, Side};
use crate::kkt::negative_curvature;
use crate::matrix::{Csc, Full, Hessian, Matrix, norm_inf};
use crate::{Error, Qp};
use faer::Mat;
use std::sync::Arc;

/// Weights of the rows that are held, times the ratio of the sizes of H and F'F; then multiples of the identity, times H.
const WEIGHTS: [f64; 4] = [1.0, 10.0, 1e3, 1e5];
const SHIFTS: [f64; 8] = [1e-6, 1e-4, 1e-2, 0.15, 1.5, 15.0, 1e3, 1e6];

/// An expansion whose matrices are shared with the programs that are made of it.
#[derive(Debug)]
pub(super) struct Expanded {
    pub gradient: Vec<f64>,
    pub equality: Arc<Matrix>,
    pub inequality: Arc<Matrix>,
    pub hessian: Arc<Hessian>,
}

impl Expanded {
    /// Of `n` variables, with nothing else.
    pub fn blank(n: usize) -> Self {
        let empty = Arc::new(Matrix::empty(n));
        let hessian = Arc::new(Hessian::Zero(n));
        Expanded { gradient: Vec::new(), equality: empty.clone(), inequality: empty, hessian }
    }

    /// With `m` equalities and `mi` inequalities; other shapes are refused.
    pub fn of(at: Expansion, n: usize, (m, mi): (usize, usize)) -> Result<Self, Error> {
        let Expansion { gradient, equality, inequality, mut hessian } = at;
        if gradient.len() != n {
            return Err(Error::length("gradient", gradient.len(), n, "the gradient has one entry per variable"));
        }
        let shape = |argument, found: (usize, usize), expected: (usize, usize), advice| {
            if found == expected { Ok(()) } else { Err(Error::Shape { argument, found, expected, advice }) }
        };
        let rows = "a Jacobian has one row per function and one column per variable";
        shape("equality", (equality.nrows(), equality.ncols()), (m, n), rows)?;
        shape("inequality", (inequality.nrows(), inequality.ncols()), (mi, n), rows)?;
        let own = if let Hessian::Dense(h) = &hessian { h.shape() } else { (hessian.n(), hessian.n()) };
        shape("hessian", own, (n, n), "the Hessian has a row and a column per variable")?;
        symmetrize(&mut hessian);
        let (equality, inequality) = (Arc::new(equality), Arc::new(inequality));
        Ok(Expanded { gradient, equality, inequality, hessian: Arc::new(hessian) })
    }
}

/// A full Hessian is symmetric up to rounding; here it becomes exactly so. Others are when a model is made of them.
fn symmetrize(h: &mut Hessian) {
    let Hessian::Dense(m) = h else { return };
    let n = m.ncols();
    if is_symmetric(m) {
        return;
    }
    for j in 0..n {
        for i in j + 1..n {
            let mean = 0.5 * (m[(i, j)] + m[(j, i)]);
            (m[(i, j)], m[(j, i)]) = (mean, mean);
        }
    }
}

/// By squares of four columns and their mirror images.
fn is_symmetric(m: &Full) -> bool {
    let n = m.ncols();
    let squares = n - n % 4;
    let square = |i: usize, j: usize| -> [[f64; 4]; 4] {
        std::array::from_fn(|k| m.col_as_slice(j + k)[i..i + 4].try_into().unwrap_or([f64::NAN; 4]))
    };
    let mirrored = |i: usize, j: usize| {
        let (own, other) = (square(i, j), square(j, i));
        (0..4).fold(true, |same, k| (0..4).fold(same, |same, l| same & (own[k][l] == other[l][k])))
    };
    (0..squares).step_by(4).all(|j| (j..squares).step_by(4).all(|i| mirrored(i, j)))
        && (squares..n).all(|i| (0..i).all(|j| m[(i, j)] == m[(j, i)]))
}

/// A quadratic model.
pub(super) struct Model {
    pub qp: Qp,
    /// The weight of the rows that are held, and of the bounds.
    pub rho: (f64, f64),
    /// Inequality rows that are held, and variables at a bound.
    pub held: (Vec<bool>, Vec<bool>),
    /// What was added to the diagonal: 0 where the derivatives are those of the program.
    pub shift: f64,
    /// The Hessian of the program is clearly positive definite as it is: the model has one solution.
    pub definite: bool,
}

/// The rows of the model: everything but the objective.
pub(super) struct Rows<'a> {
    pub values: &'a Values,
    pub x: &'a [f64],
    pub bounds: (&'a Arc<[f64]>, &'a Arc<[f64]>),
}

/// Where the numbers of a sparse sum go: sorting its entries is most of the work of making it.
#[derive(Default)]
pub(super) struct Places {
    at: Vec<(usize, usize)>,
    place: Vec<usize>,
    sum: Option<Csc>,
}

impl Places {
    fn sum(&mut self, n: usize, entries: &[(usize, usize, f64)]) -> Result<Csc, Error> {
        let same = self.at.len() == entries.len() && self.at.iter().zip(entries).all(|(p, e)| *p == (e.0, e.1));
        if let (true, Some(sum)) = (same, &mut self.sum) {
            let values = sum.values_mut();
            values.fill(0.0);
            self.place.iter().zip(entries).for_each(|(&k, e)| values[k] += e.2);
            return Ok(sum.clone());
        }
        let sum = Csc::from_triplets(n, n, entries)?;
        self.at = entries.iter().map(|e| (e.0, e.1)).collect();
        let (start, rows) = (sum.indptr(), sum.indices());
        let find = |&(i, j): &(usize, usize)| start[j] + rows[start[j]..start[j + 1]].partition_point(|&r| r < i);
        self.place = self.at.iter().map(find).collect();
        self.sum = Some(sum.clone());
        Ok(sum)
    }
}

/// `H + rho F'F` and the like, on the structure of H if it is dense or that of all where sparse.
pub(super) fn with_rows(
    h: &Hessian,
    a: &Matrix,
    (g, held): (&Matrix, &[bool]),
    rho: f64,
    places: &mut Places,
) -> Result<Hessian, Error> {
    let sparse =
        !matches!(h, Hessian::Dense(_)) && (a.is_sparse() || a.nrows() == 0) && (g.is_sparse() || g.nrows() == 0);
    let n = h.n();
    let mut rows: Vec<Vec<(usize, f64)>> = vec![Vec::new(); a.nrows() + g.nrows()];
    a.for_each(|i, j, v| rows[i].push((j, v)));
    g.for_each(|i, j, v| {
        if held[i] {
            rows[a.nrows() + i].push((j, v));
        }
    });
    if sparse {
        let mut entries = Vec::new();
        each_entry(h, |i, j, v| entries.push((i, j, v)));
        for row in &rows {
            for &(i, v) in row {
                entries.extend(row.iter().map(|&(j, w)| (i, j, rho * (v * w))));
            }
        }
        return places.sum(n, &entries).map(Hessian::Sparse);
    }
    let mut out = h.to_dense();
    for row in &rows {
        for &(i, v) in row {
            row.iter().for_each(|&(j, w)| out[(i, j)] += rho * (v * w));
        }
    }
    Ok(Hessian::from(out))
}

pub(super) fn each_entry(h: &Hessian, mut f: impl FnMut(usize, usize, f64)) {
    match h {
        Hessian::Sparse(m) => m.triplets().for_each(|(i, j, v)| f(i, j, v)),
        Hessian::Zero(_) => {}
        Hessian::Diagonal(d) => d.iter().enumerate().for_each(|(i, &v)| f(i, i, v)),
        other => {
            let dense = other.to_dense();
            for j in 0..dense.ncols() {
                (0..dense.nrows()).for_each(|i| f(i, j, dense[(i, j)]));
            }
        }
    }
}

fn with_diagonal(h: &Hessian, d: &[f64]) -> Result<Hessian, Error> {
    if let Hessian::Dense(m) = h {
        let mut out = m.clone();
        d.iter().enumerate().for_each(|(i, d)| out[(i, i)] += d);
        return Ok(Hessian::from(out));
    }
    let mut entries: Vec<_> = d.iter().enumerate().map(|(i, &d)| (i, i, d)).collect();
    each_entry(h, |i, j, v| entries.push((i, j, v)));
    Csc::from_triplets(h.n(), h.n(), &entries).map(Hessian::Sparse)
}

/// The largest entry.
pub(super) fn size(h: &Hessian) -> f64 {
    if let Hessian::Dense(m) = h {
        return (0..m.ncols()).map(|j| norm_inf(m.col_as_slice(j))).fold(0.0, f64::max);
    }
    let mut largest = 0.0_f64;
    each_entry(h, |_, _, v| largest = largest.max(v.abs()));
    largest
}

/// Hessians of more variables than this are taken for indefinite when a factorization says so, without a search.
const SEARCHED: usize = 1000;

fn convex(h: &Hessian) -> bool {
    let n = h.n();
    h.is_surely_convex()
        || h.is_positive_definite(&vec![0.0; n])
        || (n <= SEARCHED && negative_curvature(&Arc::new(h.clone()), &Arc::new(Matrix::empty(n))).is_none())
}

/// The weights of what is held, which rows and variables that is, and what was added to the diagonal.
pub(super) type Weights = ((f64, f64), (Vec<bool>, Vec<bool>), f64);

impl Model {
    /// The model at a point, with the rows held that `set` says (all equalities are) and at least this much added to the
    /// diagonal.
    ///
    /// Whatever is added, its Hessian is convex: proven here, or by the size of what was added.
    pub fn new(
        rows: &Rows<'_>,
        at: &Expanded,
        set: Option<&ActiveSet>,
        damping: f64,
        curvature: &mut Curvature,
    ) -> Result<Self, Error> {
        let n = rows.x.len();
        let mi = rows.values.inequality.len();
        let strict = |i: usize| set.is_some_and(|s| s.g.get(i) == Some(&true) && !s.weak_g[i]);
        let pinned =
            |j: usize| set.is_some_and(|s| s.bound.get(j).is_some_and(|b| *b != Side::Free) && !s.weak_bound[j]);
        let held: (Vec<bool>, Vec<bool>) = ((0..mi).map(strict).collect(), (0..n).map(pinned).collect());
        let none = (vec![false; mi], vec![false; n]);
        let hessian = match &*at.hessian {
            Hessian::Dense(_) => at.hessian.clone(),
            other => Arc::new(other.clone().validated()?),
        };
        let checked = |h: Hessian| h.validated().map(Arc::new);
        let damped = |h: Arc<Hessian>| {
            if damping > 0.0 { with_diagonal(&h, &vec![damping; n]).and_then(checked) } else { Ok(h) }
        };
        let definite = curvature.is_clear(&hessian);
        if definite || convex(&hessian) {
            let model = Self::with(rows, at, damped(hessian)?, ((0.0, 0.0), none, damping))?;
            return Ok(Model { definite, ..model });
        }
        let curvature = size(&hessian);
        let mut squares = 0.0_f64;
        let mut norms = vec![0.0; at.equality.nrows() + mi];
        at.equality.for_each(|i, _, v| norms[i] += v * v);
        at.inequality.for_each(|i, _, v| norms[at.equality.nrows() + i] += if held.0[i] { v * v } else { 0.0 });
        norms.iter().for_each(|v| squares = squares.max(*v));
        let base = if squares > 0.0 { curvature / squares } else { 0.0 };
        let mut last = (*hessian).clone();
        let (mut rho, mut places) = ((0.0, 0.0), Places::default());
        for weight in WEIGHTS {
            rho = (weight * base, weight * curvature);
            last = with_rows(&hessian, &at.equality, (&at.inequality, &held.0), rho.0, &mut places)?;
            let pins: Vec<f64> = held.1.iter().map(|&p| if p { rho.1 } else { 0.0 }).collect();
            last = with_diagonal(&last, &pins)?;
            if convex(&last) {
                return Self::with(rows, at, damped(checked(last)?)?, (rho, held, damping));
            }
            if weight >= 10.0 && squares == 0.0 && !held.1.contains(&true) {
                break;
            }
        }
        for shift in SHIFTS.map(|s| s * curvature).into_iter().filter(|s| *s >= damping) {
            let moved = with_diagonal(&last, &vec![shift; n])?;
            if convex(&moved) {
                return Self::with(rows, at, checked(moved)?, (rho, held, shift));
            }
        }
        let shift = damping.max(n as f64 * size(&last));
        let moved = with_diagonal(&last, &vec![shift; n])?;
        Self::with(rows, at, checked(moved)?, (rho, held, shift))
    }

    /// With this Hessian, which was validated.
    pub(super) fn with(
        rows: &Rows<'_>,
        at: &Expanded,
        p: Arc<Hessian>,
        (rho, held, shift): Weights,
    ) -> Result<Self, Error> {
        let mut q = at.gradient.clone();
        // rho F'r, and the change of variables
        if rho.0 > 0.0 {
            at.equality.tmul_add(rho.0, &rows.values.equality, &mut q);
            let own = rows.values.inequality.iter().zip(&held.0).map(|(g, held)| if *held { *g } else { 0.0 });
            at.inequality.tmul_add(rho.0, &own.collect::<Vec<_>>(), &mut q);
        }
        for j in 0..q.len() {
            if held.1[j] {
                let (lb, ub) = (rows.bounds.0[j], rows.bounds.1[j]);
                let off = if rows.x[j] - lb <= ub - rows.x[j] { rows.x[j] - lb } else { rows.x[j] - ub };
                q[j] += rho.1 * off;
            }
        }
        p.mul_add(-1.0, rows.x, &mut q, &mut Vec::new());
        let right = |m: &Matrix, values: &[f64]| {
            let mut out: Vec<f64> = values.iter().map(|v| -v).collect();
            m.mul_add(1.0, rows.x, &mut out);
            out
        };
        let equality = (at.equality.clone(), right(&at.equality, &rows.values.equality));
        let inequality = (at.inequality.clone(), right(&at.inequality, &rows.values.inequality));
        let bounds = (rows.bounds.0.clone(), rows.bounds.1.clone());
        let qp = Qp::of_parts(p, q, equality, inequality, bounds)?;
        Ok(Model { qp, rho, held, shift, definite: false })
    }

    /// The same program with a price on what its rows miss, in as many more variables; it always has a solution.
    pub fn elastic(&self, price: f64) -> Result<Qp, Error> {
        let (n, m, mi) = (self.qp.n(), self.qp.n_equality(), self.qp.n_inequality());
        let extra = 2 * m + mi;
        let beside = |matrix: &Matrix, own: &[(usize, usize, f64)]| {
            let mut entries = Vec::new();
            matrix.for_each(|i, j, v| entries.push((i, j, v)));
            entries.extend_from_slice(own);
            if matrix.is_sparse() {
                return Csc::from_triplets(matrix.nrows(), n + extra, &entries).map(Matrix::Sparse);
            }
            let mut out = Mat::zeros(matrix.nrows(), n + extra);
            entries.iter().for_each(|&(i, j, v)| out[(i, j)] += v);
            Ok(Matrix::from(out))
        };
        let ends: Vec<_> = (0..m).flat_map(|i| [(i, n + i, -1.0), (i, n + m + i, 1.0)]).collect();
        let slacks: Vec<_> = (0..mi).map(|i| (i, n + 2 * m + i, -1.0)).collect();
        let (mut q, mut lb, mut ub) = (self.qp.q.to_vec(), self.qp.lb.to_vec(), self.qp.ub.to_vec());
        q.resize(n + extra, price);
        lb.resize(n + extra, 0.0);
        ub.resize(n + extra, f64::INFINITY);
        Qp::new(self.qp.p.with_zeros(extra), q)?
            .equality(beside(&self.qp.a, &ends)?, self.qp.b.to_vec())?
            .inequality(beside(&self.qp.g, &slacks)?, self.qp.h.to_vec())?
            .bounds(lb, ub)
    }

    /// The same program where the rows have these values at the point `x + d`: a second-order correction.
    pub fn corrected(&self, rows: &Rows<'_>, at: &Expanded, there: &Values, d: &[f64]) -> Result<Qp, Error> {
        let right = |m: &Matrix, values: &[f64]| {
            let mut out: Vec<f64> = values.iter().map(|v| -v).collect();
            m.mul_add(1.0, rows.x, &mut out);
            m.mul_add(1.0, d, &mut out);
            out
        };
        let (b, h) = (right(&at.equality, &there.equality), right(&at.inequality, &there.inequality));
        self.qp.clone().with_b(b)?.with_h(h)
    }
}

/// What is left of the conditions of a local solution, each relative to its terms.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Left {
    pub stationarity: f64,
    pub feasibility: f64,
    pub complementarity: f64,
}

impl Left {
    pub fn worst(&self) -> f64 {
        self.stationarity.max(self.feasibility).max(self.complementarity)
    }

    /// At a point with multipliers `(y, z, z_box)`.
    ///
    /// `force` is a size of forces below which there is nothing: where a gradient vanishes its terms vanish with it.
    pub fn of(rows: &Rows<'_>, at: &Expanded, (y, z, z_box): (&[f64], &[f64], &[f64]), force: f64) -> Self {
        let n = rows.x.len();
        let mut r: Vec<f64> = at.gradient.iter().zip(z_box).map(|(g, z)| g + z).collect();
        let mut terms: Vec<f64> = at.gradient.iter().zip(z_box).map(|(g, z)| g.abs() + z.abs()).collect();
        for (m, v) in [(&at.equality, y), (&at.inequality, z)] {
            m.tmul_add(1.0, v, &mut r);
            m.transposed_magnitudes_add(&v.iter().map(|v| v.abs()).collect::<Vec<_>>(), &mut terms);
        }
        let magnitudes: Vec<f64> = rows.x.iter().map(|x| x.abs()).collect();
        at.hessian.magnitudes_add(&magnitudes, &mut terms, &mut Vec::new());
        let force = (1e-3 * norm_inf(&terms)).max(force).max(1e-12);
        let stationarity = (0..n).fold(0.0_f64, |m, j| m.max(r[j].abs() / terms[j].max(force)));
        let mut size = vec![0.0; at.equality.nrows() + at.inequality.nrows()];
        let (first, second) = size.split_at_mut(at.equality.nrows());
        at.equality.magnitudes_add(&magnitudes, first);
        at.inequality.magnitudes_add(&magnitudes, second);
        let c = rows.values.equality.iter().map(|c| c.abs());
        let g = rows.values.inequality.iter().map(|g| g.max(0.0));
        let feasibility = c.chain(g).zip(&size).fold(0.0_f64, |m, (v, s)| m.max(v / s.max(1.0)));
        let price = norm_inf(y).max(norm_inf(z)).max(norm_inf(z_box)).max(1e-12);
        let mut complementarity = 0.0_f64;
        for (i, (z, g)) in z.iter().zip(&rows.values.inequality).enumerate() {
            let slack = (-g).max(0.0) / size[at.equality.nrows() + i].max(1.0);
            complementarity = complementarity.max(slack.min(z.abs() / price));
        }
        for j in 0..n {
            let bound = if z_box[j] > 0.0 { rows.bounds.1[j] } else { rows.bounds.0[j] };
            let slack = (rows.x[j] - bound).abs() / rows.x[j].abs().max(1.0);
            if z_box[j] != 0.0 {
                complementarity = complementarity.max(slack.min(z_box[j].abs() / price));
            }
        }
        Left { stationarity, feasibility, complementarity }
    }
}
