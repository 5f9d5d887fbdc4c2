//! The closest feasible program, for constraints that contradict each other.
//!
//! Among all `x` within the bounds that minimize `1/2 (|A x - b|^2 + |(G x - h)_+|^2)`, the one that minimizes the
//! objective. The residuals `r` are the same for all of those `x`, so that with `V` the violated rows of `G`, `M` the
//! rows of A and of V, `c` their right-hand sides, and `F` the variables whose bounds do not push in the first level,
//!
//! ```text
//! minimize    1/2 x'P x + q'x
//! subject to  M x - r = c             both levels:  r is what the rows miss,
//!             M_J' r = 0              and the least squares are stationary in it
//!             G x <= h                for the rows outside V
//!             x_j = its bound         outside F,    lb <= x <= ub in F
//! ```
//!
//! with `J` variables of F on which M has the rank that it has on F: then the equations are independent, and `M_J' r = 0`
//! says `M_F' r = 0`. This is a quadratic program in `(x, r)` in which A and G stand twice; its derivatives are those of
//! both levels, pulled back. Where M has less rank than F has variables (with entries), the least squares jump when A or G
//! changes it: derivatives with respect to them hold along changes that do not.

use crate::active::{ActiveSet, Side};
use crate::kkt::independent_variables;
use crate::matrix::{Csc, Full, Hessian, Matrix};
use crate::{Cotangent, Error, Gradient, Qp, SolutionTangent, Tangent, Wrt};
use faer::Mat;

/// Largest number of entries of M for which its rank is found; beyond, all variables of F are taken.
const ELIMINATED: usize = 1 << 22;

/// How the program of both levels is made of the user's.
#[derive(Debug)]
pub(crate) struct Closest {
    n: usize,
    m: usize,
    /// Violated rows of G, and the others.
    violated: Vec<usize>,
    kept: Vec<usize>,
    /// Variables that the first level presses against a bound.
    pinned: Vec<Side>,
    /// J.
    columns: Vec<usize>,
    /// A and G may change in every direction.
    pub full_rank: bool,
}

/// The first level: the least squares of `(x, A x - b, (G x - h)_+)`.
pub(crate) fn least_squares(qp: &Qp) -> Result<Qp, Error> {
    let (n, m, mi) = (qp.n(), qp.n_equality(), qp.n_inequality());
    let total = n + m + mi;
    let weights = (0..total).map(|i| if i < n { 0.0 } else { 1.0 }).collect();
    let beside = |matrix: &Matrix, first: usize| {
        let own = (0..matrix.nrows()).map(|i| (i, first + i, -1.0));
        placed((matrix.nrows(), total), matrix.is_sparse(), |f| {
            matrix.for_each(&mut *f);
            own.clone().for_each(|(i, j, v)| f(i, j, v));
        })
    };
    let (a, g) = (beside(&qp.a, n)?, beside(&qp.g, n + m)?);
    let free = |bound: f64| std::iter::repeat_n(bound, m + mi);
    let lb: Vec<f64> = qp.lb.iter().copied().chain(free(f64::NEG_INFINITY)).collect();
    let ub: Vec<f64> = qp.ub.iter().copied().chain(free(f64::INFINITY)).collect();
    Qp::new(Hessian::Diagonal(weights), vec![0.0; total])?
        .equality(a, qp.b.to_vec())?
        .inequality(g, qp.h.to_vec())?
        .bounds(lb, ub)
}

/// A matrix of these entries.
fn placed(
    (rows, cols): (usize, usize),
    sparse: bool,
    entries: impl Fn(&mut dyn FnMut(usize, usize, f64)),
) -> Result<Matrix, Error> {
    if sparse {
        let mut list = Vec::new();
        entries(&mut |i, j, v| list.push((i, j, v)));
        return Csc::from_triplets(rows, cols, &list).map(Matrix::Sparse);
    }
    let mut out = Mat::zeros(rows, cols);
    entries(&mut |i, j, v| out[(i, j)] = v);
    Ok(Matrix::from(out))
}

impl Closest {
    /// From the active set of the first level.
    pub fn new(qp: &Qp, active: &ActiveSet) -> Self {
        let (n, m) = (qp.n(), qp.n_equality());
        let strict = |i: usize| active.g[i] && !active.weak_g[i];
        let (violated, kept): (Vec<_>, Vec<_>) = (0..qp.n_inequality()).partition(|&i| strict(i));
        let side = |j: usize| if active.weak_bound[j] { Side::Free } else { active.bound[j] };
        let pinned: Vec<_> = (0..n).map(side).collect();
        let mut out = Closest { n, m, violated, kept, pinned, columns: Vec::new(), full_rank: true };
        let mut used = vec![false; n];
        out.rows(&qp.a, &qp.g, &mut |_, j, _| used[j] = true);
        // an entry that is stored may change even where it is zero
        let free: Vec<usize> = (0..n).filter(|&j| used[j] && out.pinned[j] == Side::Free).collect();
        let rows = m + out.violated.len();
        out.columns = if rows.saturating_mul(free.len()) <= ELIMINATED {
            let mut place = vec![usize::MAX; n];
            free.iter().enumerate().for_each(|(k, &j)| place[j] = k);
            let mut dense = Mat::zeros(free.len(), rows);
            out.rows(&qp.a, &qp.g, &mut |i, j, v| {
                if place[j] != usize::MAX {
                    dense[(place[j], i)] = v;
                }
            });
            independent_variables(&dense).into_iter().map(|k| free[k]).collect()
        } else {
            free.clone()
        };
        out.full_rank = out.columns.len() == free.len();
        out
    }

    /// The entries of the rows of A and of those of V behind them.
    fn rows(&self, a: &Matrix, g: &Matrix, f: &mut dyn FnMut(usize, usize, f64)) {
        let place = places(&self.violated, g.nrows());
        a.for_each(&mut *f);
        g.for_each(|i, j, v| {
            if place[i] != usize::MAX {
                f(self.m + place[i], j, v);
            }
        });
    }

    /// Number of residuals.
    fn extra(&self) -> usize {
        self.m + self.violated.len()
    }

    /// The equations of the program of both levels for `M`, with `-1` in the place of r or without.
    fn equations(&self, a: &Matrix, g: &Matrix, unit: bool) -> Result<Matrix, Error> {
        let (n, extra) = (self.n, self.extra());
        let place = places(&self.columns, n);
        let sparse = a.is_sparse() || (g.is_sparse() && self.m == 0);
        placed((extra + self.columns.len(), n + extra), sparse, |f| {
            self.rows(a, g, &mut |i, j, v| {
                f(i, j, v);
                if place[j] != usize::MAX {
                    f(extra + place[j], n + i, v);
                }
            });
            (0..if unit { extra } else { 0 }).for_each(|i| f(i, n + i, -1.0));
        })
    }

    fn kept_rows(&self, g: &Matrix) -> Result<Matrix, Error> {
        let place = places(&self.kept, g.nrows());
        placed((self.kept.len(), self.n + self.extra()), g.is_sparse(), |f| {
            g.for_each(|i, j, v| {
                if place[i] != usize::MAX {
                    f(place[i], j, v);
                }
            });
        })
    }

    fn right_hand_side(&self, b: Option<&[f64]>, h: Option<&[f64]>) -> Vec<f64> {
        let mut out = vec![0.0; self.extra() + self.columns.len()];
        if let Some(b) = b {
            out[..self.m].copy_from_slice(b);
        }
        if let Some(h) = h {
            self.violated.iter().enumerate().for_each(|(k, &i)| out[self.m + k] = h[i]);
        }
        out
    }

    /// The program of both levels.
    pub fn program(&self, qp: &Qp) -> Result<Qp, Error> {
        let extra = self.extra();
        let (mut lb, mut ub) = (qp.lb.to_vec(), qp.ub.to_vec());
        for (j, side) in self.pinned.iter().enumerate() {
            match side {
                Side::Lower => ub[j] = lb[j],
                Side::Upper => lb[j] = ub[j],
                Side::Free | Side::Fixed => {}
            }
        }
        lb.resize(self.n + extra, f64::NEG_INFINITY);
        ub.resize(self.n + extra, f64::INFINITY);
        let mut q = qp.q.to_vec();
        q.resize(self.n + extra, 0.0);
        Qp::new(qp.p.with_zeros(extra), q)?
            .equality(self.equations(&qp.a, &qp.g, true)?, self.right_hand_side(Some(&qp.b), Some(&qp.h)))?
            .inequality(self.kept_rows(&qp.g)?, self.kept.iter().map(|&i| qp.h[i]).collect::<Vec<_>>())?
            .bounds(lb, ub)
    }

    /// By how much the rows of A and G are shifted, where `x` solves the program of both levels together with r.
    pub fn shift(&self, x: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let r = &x[self.n..];
        let mut g = vec![0.0; self.violated.len() + self.kept.len()];
        self.violated.iter().enumerate().for_each(|(k, &i)| g[i] = r[self.m + k]);
        (r[..self.m].to_vec(), g)
    }

    /// The user's active set from that of the program of both levels: violated rows are active.
    pub fn active(&self, own: &ActiveSet) -> ActiveSet {
        let mi = self.violated.len() + self.kept.len();
        let (mut g, mut weak_g) = (vec![false; mi], vec![false; mi]);
        self.violated.iter().for_each(|&i| g[i] = true);
        for (k, &i) in self.kept.iter().enumerate() {
            (g[i], weak_g[i]) = (own.g[k], own.weak_g[k]);
        }
        let side = |j: usize| if self.pinned[j] == Side::Free { own.bound[j] } else { self.pinned[j] };
        let weak = (0..self.n).map(|j| self.pinned[j] == Side::Free && own.weak_bound[j]).collect();
        ActiveSet::new((g, weak_g), ((0..self.n).map(side).collect(), weak))
    }

    /// The cotangents of the program of both levels. Its multipliers are not those of the user's.
    pub fn cotangent(&self, cot: &Cotangent) -> Result<Cotangent, Error> {
        for (name, v) in [("y", &cot.y), ("z", &cot.z), ("z_box", &cot.z_box)] {
            if v.iter().any(|v| *v != 0.0) {
                return Err(Error::Unsupported {
                    what: format!("a cotangent on {name} of the closest feasible program"),
                    advice: "it has no multipliers: use x and the objective only",
                });
            }
        }
        let mut x = cot.x.clone();
        if !x.is_empty() {
            x.resize(self.n + self.extra(), 0.0);
        }
        Ok(Cotangent { x, objective: cot.objective, ..Cotangent::default() })
    }

    /// What gradients of the program of both levels are needed.
    pub fn wrt(&self, wrt: Wrt) -> Wrt {
        let bounds = wrt.lb || wrt.ub;
        Wrt { a: wrt.a || wrt.g, b: wrt.b || wrt.h, c: false, d: false, lb: bounds, ub: bounds, ..wrt }
    }

    /// The gradient of the user's data from that of the program of both levels.
    pub fn gradient(&self, qp: &Qp, own: &Gradient, wrt: Wrt) -> Gradient {
        let (n, extra) = (self.n, self.extra());
        let (columns, violated, kept) = (
            places(&self.columns, n),
            places(&self.violated, qp.n_inequality()),
            places(&self.kept, qp.n_inequality()),
        );
        let equations = own.a.as_ref().map(Entries);
        let rows = own.g.as_ref().map(Entries);
        // entry (i, j) of M stands in its own row and, for j in J, in the column of r_i
        let twice = |i: usize, j: usize| {
            let Some(e) = &equations else { return 0.0 };
            e.at(i, j) + if columns[j] == usize::MAX { 0.0 } else { e.at(extra + columns[j], n + i) }
        };
        let mut out = Gradient::default();
        if wrt.p {
            out.p = own.p.as_ref().map(|p| p.without(extra));
        }
        if wrt.a {
            out.a = Some(map(&qp.a, twice));
        }
        if wrt.g {
            out.g = Some(map(&qp.g, |i, j| match (violated[i], &rows) {
                (usize::MAX, Some(rows)) => rows.at(kept[i], j),
                (usize::MAX, None) => 0.0,
                (k, _) => twice(self.m + k, j),
            }));
        }
        let at = |v: &Option<Vec<f64>>, i: usize| v.as_ref().map_or(0.0, |v| v[i]);
        if wrt.q {
            out.q = Some((0..n).map(|j| at(&own.q, j)).collect());
        }
        if wrt.b {
            out.b = Some((0..self.m).map(|i| at(&own.b, i)).collect());
        }
        if wrt.h {
            let of = |i: usize| match violated[i] {
                usize::MAX => at(&own.h, kept[i]),
                k => at(&own.b, self.m + k),
            };
            out.h = Some((0..qp.n_inequality()).map(of).collect());
        }
        let both = |j: usize| at(&own.lb, j) + at(&own.ub, j);
        if wrt.lb {
            let of = |j: usize| match self.pinned[j] {
                Side::Lower => both(j),
                Side::Upper => 0.0,
                Side::Free | Side::Fixed => at(&own.lb, j),
            };
            out.lb = Some((0..n).map(of).collect());
        }
        if wrt.ub {
            let of = |j: usize| match self.pinned[j] {
                Side::Upper => both(j),
                Side::Lower => 0.0,
                Side::Free | Side::Fixed => at(&own.ub, j),
            };
            out.ub = Some((0..n).map(of).collect());
        }
        out
    }

    /// A direction of the data of the program of both levels.
    pub fn tangent(&self, qp: &Qp, t: &Tangent) -> Result<Tangent, Error> {
        let (n, extra) = (self.n, self.extra());
        let mut out = Tangent { p: t.p.as_ref().map(|p| p.with_zeros(extra)), ..Tangent::default() };
        let padded = |v: &Vec<f64>| v.iter().copied().chain(std::iter::repeat_n(0.0, extra)).collect::<Vec<_>>();
        out.q = t.q.as_ref().map(padded);
        if t.a.is_some() || t.g.is_some() {
            let still = |m: &Matrix| map(m, |_, _| 0.0);
            let a = t.a.clone().unwrap_or_else(|| still(&qp.a));
            let g = t.g.clone().unwrap_or_else(|| still(&qp.g));
            out.a = Some(self.equations(&a, &g, false)?);
            out.g = Some(self.kept_rows(&g)?);
        }
        if t.b.is_some() || t.h.is_some() {
            out.b = Some(self.right_hand_side(t.b.as_deref(), t.h.as_deref()));
            out.h = t.h.as_ref().map(|h| self.kept.iter().map(|&i| h[i]).collect());
        }
        if t.lb.is_some() || t.ub.is_some() {
            let zeros = || vec![0.0; n];
            let (mut lb, mut ub) = (t.lb.clone().unwrap_or_else(zeros), t.ub.clone().unwrap_or_else(zeros));
            for (j, side) in self.pinned.iter().enumerate() {
                match side {
                    Side::Lower => ub[j] = lb[j],
                    Side::Upper => lb[j] = ub[j],
                    Side::Free | Side::Fixed => {}
                }
            }
            (out.lb, out.ub) = (Some(padded(&lb)), Some(padded(&ub)));
        }
        Ok(out)
    }

    /// The change of the outputs; multipliers have none.
    pub fn outputs(&self, qp: &Qp, moved: &SolutionTangent) -> SolutionTangent {
        let nan = |n: usize| vec![f64::NAN; n];
        SolutionTangent {
            x: moved.x[..self.n].to_vec(),
            y: nan(self.m),
            z: nan(qp.n_inequality()),
            z_box: nan(self.n),
            objective: moved.objective,
            ..SolutionTangent::default()
        }
    }
}

/// The place of each of `n` things in a list of some of them, `usize::MAX` for those that are not there.
fn places(list: &[usize], n: usize) -> Vec<usize> {
    let mut out = vec![usize::MAX; n];
    list.iter().enumerate().for_each(|(k, &i)| out[i] = k);
    out
}

/// `f(i, j)` on the structure of a matrix.
fn map(m: &Matrix, f: impl Fn(usize, usize) -> f64) -> Matrix {
    match m {
        Matrix::Dense(m) => Matrix::Dense(Full::from_fn(m.nrows(), m.ncols(), f)),
        Matrix::Sparse(m) => Matrix::Sparse(m.map_pattern(f)),
    }
}

/// Entries of a matrix by their place.
struct Entries<'a>(&'a Matrix);

impl Entries<'_> {
    fn at(&self, i: usize, j: usize) -> f64 {
        match self.0 {
            Matrix::Dense(m) => m[(i, j)],
            Matrix::Sparse(m) => m.entry(i, j),
        }
    }
}
