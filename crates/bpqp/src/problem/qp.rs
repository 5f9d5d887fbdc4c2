//! Convex quadratic programs.

use super::validate;
use crate::Error;
use crate::cones::Cone;
use crate::error::check_finite;
use crate::kkt::KktData;
use crate::matrix::{Hessian, Keep, Matrix};
use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// The quadratic program
///
/// ```text
/// minimize    1/2 x'P x + q'x
/// subject to  A x  = b              multipliers y, free
///             G x <= h              multipliers z >= 0
///             C x + s = d, s in K   multipliers y_cone in K*, s'y_cone = 0
///             lb <= x <= ub         multipliers z_box, > 0 at ub and < 0 at lb
/// ```
///
/// with the Lagrangian stationary: `P x + q + A'y + G'z + C'y_cone + z_box = 0`. `K` is a product of curved
/// [cones](Cone); without them this is a quadratic program. Bounds are never turned into rows. Every block is shared
/// behind an [`Arc`]: clones are cheap, and solvers recognize blocks that did not change by their address.
#[derive(Debug, Clone)]
pub struct Qp(Arc<Blocks>);

/// Variables up to which the bounds of problems without any are shared: those of larger ones are little beside their matrices, and
/// would be kept for nothing.
const SHARED: usize = 256;

/// The blocks of a problem, behind one count: solvers, solutions and threads hold on to problems by the hundred, and counts
/// of what a batch shares are what its threads wait for.
#[derive(Debug, Clone)]
pub struct Blocks {
    pub(crate) p: Arc<Hessian>,
    pub(crate) q: Arc<[f64]>,
    pub(crate) a: Arc<Matrix>,
    pub(crate) b: Arc<[f64]>,
    pub(crate) g: Arc<Matrix>,
    pub(crate) h: Arc<[f64]>,
    pub(crate) c: Arc<Matrix>,
    pub(crate) d: Arc<[f64]>,
    pub(crate) cones: Arc<[Cone]>,
    pub(crate) lb: Arc<[f64]>,
    pub(crate) ub: Arc<[f64]>,
    /// The analysis of the KKT system, where it is sparse.
    pub(crate) analysis: Keep,
}

#[doc(hidden)]
impl Deref for Qp {
    type Target = Blocks;
    #[inline]
    fn deref(&self) -> &Blocks {
        &self.0
    }
}

/// What is written is this problem's own: clones stay as they are.
#[doc(hidden)]
impl DerefMut for Qp {
    #[inline]
    fn deref_mut(&mut self) -> &mut Blocks {
        Arc::make_mut(&mut self.0)
    }
}

/// The blocks of a problem without constraints: its next ones on this thread have the same, which are half of what a small problem
/// takes beside its numbers.
#[derive(Clone)]
struct Nothing {
    rows: Arc<Matrix>,
    numbers: Arc<[f64]>,
    cones: Arc<[Cone]>,
    lb: Arc<[f64]>,
    ub: Arc<[f64]>,
}

impl Nothing {
    fn of(n: usize) -> Self {
        thread_local! {
            static LAST: RefCell<Option<Nothing>> = const { RefCell::new(None) };
        }
        let new = || Nothing {
            rows: Arc::new(Matrix::empty(n)),
            numbers: Arc::new([]),
            cones: Arc::new([]),
            lb: vec![f64::NEG_INFINITY; n].into(),
            ub: vec![f64::INFINITY; n].into(),
        };
        // a thread that is ending keeps nothing any more
        let last = LAST.try_with(|last| last.borrow().clone().filter(|last| last.lb.len() == n)).ok().flatten();
        last.unwrap_or_else(|| {
            let made = new();
            if n <= SHARED {
                let _ = LAST.try_with(|last| last.replace(Some(made.clone())));
            }
            made
        })
    }
}

impl From<Blocks> for Qp {
    fn from(blocks: Blocks) -> Self {
        Qp(Arc::new(blocks))
    }
}

impl Qp {
    /// The unconstrained problem `min 1/2 x'P x + q'x`. `P` is read as `(P + P')/2`; an asymmetry above 1e-5 of its
    /// largest entry is refused. Use [`Qp::linear`] for a linear program.
    pub fn new(p: impl Into<Hessian>, q: impl Into<Vec<f64>>) -> Result<Self, Error> {
        let (p, q) = (p.into().validated()?, q.into());
        let n = p.n();
        if q.len() != n {
            return Err(Error::length("q", q.len(), n, "q has one entry per column of P"));
        }
        check_finite("q", &q)?;
        Ok(Qp::of_shared(Arc::new(p), q))
    }

    /// The unconstrained problem of a Hessian and a linear term that were validated before.
    pub(crate) fn of_shared(p: Arc<Hessian>, q: Vec<f64>) -> Self {
        let Nothing { rows, numbers, cones, lb, ub } = Nothing::of(p.n());
        let (a, g, c) = (rows.clone(), rows.clone(), rows);
        let (b, h, d) = (numbers.clone(), numbers.clone(), numbers);
        Blocks { p, q: q.into(), a, b, g, h, c, d, cones, lb, ub, analysis: Keep::default() }.into()
    }

    /// Without curved cones, of matrices that others have too: they and the bounds were validated, vectors are here.
    pub(crate) fn of_parts(
        p: Arc<Hessian>,
        q: Vec<f64>,
        (a, b): (Arc<Matrix>, Vec<f64>),
        (g, h): (Arc<Matrix>, Vec<f64>),
        (lb, ub): (Arc<[f64]>, Arc<[f64]>),
    ) -> Result<Self, Error> {
        check_finite("q", &q)?;
        check_finite("b", &b)?;
        validate::upper("h", &h)?;
        let (c, analysis) = (Arc::new(Matrix::empty(p.n())), Keep::default());
        let (q, b, h) = (q.into(), b.into(), h.into());
        Ok(Blocks { p, q, a, b, g, h, c, d: Arc::new([]), cones: Arc::new([]), lb, ub, analysis }.into())
    }

    /// The linear program `min q'x`.
    pub fn linear(q: impl Into<Vec<f64>>) -> Result<Self, Error> {
        let q = q.into();
        Qp::new(Hessian::Zero(q.len()), q)
    }

    /// With the constraints `A x = b` in place of its equalities.
    pub fn equality(mut self, a: impl Into<Matrix>, b: impl Into<Vec<f64>>) -> Result<Self, Error> {
        let (a, b) = (a.into(), b.into());
        validate::matrix("A", &a, self.n())?;
        if b.len() != a.nrows() {
            return Err(Error::length("b", b.len(), a.nrows(), "b has one entry per row of A"));
        }
        check_finite("b", &b)?;
        (self.a, self.b) = (Arc::new(a), b.into());
        self.analysis = Keep::default();
        Ok(self)
    }

    /// With the constraints `G x <= h` in place of its inequalities. An entry of `h` may be `+inf`.
    pub fn inequality(mut self, g: impl Into<Matrix>, h: impl Into<Vec<f64>>) -> Result<Self, Error> {
        let (g, h) = (g.into(), h.into());
        validate::matrix("G", &g, self.n())?;
        if h.len() != g.nrows() {
            return Err(Error::length("h", h.len(), g.nrows(), "h has one entry per row of G"));
        }
        validate::upper("h", &h)?;
        (self.g, self.h) = (Arc::new(g), h.into());
        self.analysis = Keep::default();
        Ok(self)
    }

    /// With the constraint `C x + s = d`, `s` in the cone, behind those there are. Rows of the zero and the nonnegative cone
    /// join the equalities and the inequalities.
    pub fn cone(self, cone: Cone, c: impl Into<Matrix>, d: impl Into<Vec<f64>>) -> Result<Self, Error> {
        let (c, d) = (c.into(), d.into());
        match cone {
            Cone::Zero(_) => {
                let (a, b) = (Matrix::stacked(&self.a, &c)?, [&self.b[..], &d].concat());
                self.equality(a, b)
            }
            Cone::Nonnegative(_) => {
                let (g, h) = (Matrix::stacked(&self.g, &c)?, [&self.h[..], &d].concat());
                self.inequality(g, h)
            }
            _ => {
                let c = if self.cones.is_empty() { c } else { Matrix::stacked(&self.c, &c)? };
                let (d, cones) = ([&self.d[..], &d].concat(), [&self.cones[..], &[cone]].concat());
                self.with_cones(cones, c, d)
            }
        }
    }

    /// With the constraints `C x + s = d`, `s` in the product of these curved cones, in place of its own.
    pub fn with_cones(
        mut self,
        cones: impl Into<Vec<Cone>>,
        c: impl Into<Matrix>,
        d: impl Into<Vec<f64>>,
    ) -> Result<Self, Error> {
        let (cones, c, d) = (cones.into(), c.into(), d.into());
        validate::cones(&cones, c.nrows())?;
        validate::matrix("C", &c, self.n())?;
        if d.len() != c.nrows() {
            return Err(Error::length("d", d.len(), c.nrows(), "d has one entry per row of C"));
        }
        check_finite("d", &d)?;
        (self.cones, self.c, self.d) = (cones.into(), Arc::new(c), d.into());
        self.analysis = Keep::default();
        Ok(self)
    }

    /// With another `d`; every other block is shared.
    pub fn with_d(mut self, d: impl Into<Vec<f64>>) -> Result<Self, Error> {
        let d = d.into();
        if d.len() != self.d.len() {
            return Err(Error::length("d", d.len(), self.d.len(), "d has one entry per row of C"));
        }
        check_finite("d", &d)?;
        self.d = d.into();
        Ok(self)
    }

    /// With the bounds `lb <= x <= ub` in place of its bounds; entries may be infinite, and an empty vector means none.
    pub fn bounds(mut self, lb: impl Into<Vec<f64>>, ub: impl Into<Vec<f64>>) -> Result<Self, Error> {
        let (lb, ub) = validate::bounds(self.n(), lb.into(), ub.into())?;
        (self.lb, self.ub) = (lb.into(), ub.into());
        Ok(self)
    }

    /// With another `P`.
    pub fn with_p(mut self, p: impl Into<Hessian>) -> Result<Self, Error> {
        let p = p.into().validated()?;
        if p.n() != self.n() {
            let (found, expected) = ((p.n(), p.n()), (self.n(), self.n()));
            return Err(Error::Shape { argument: "P", found, expected, advice: "P has one column per entry of q" });
        }
        self.p = Arc::new(p);
        self.analysis = Keep::default();
        Ok(self)
    }

    /// With another `q`; every other block is shared.
    pub fn with_q(mut self, q: impl Into<Vec<f64>>) -> Result<Self, Error> {
        let q = q.into();
        if q.len() != self.n() {
            return Err(Error::length("q", q.len(), self.n(), "q has one entry per variable"));
        }
        check_finite("q", &q)?;
        self.q = q.into();
        Ok(self)
    }

    /// With another `b`; every other block is shared.
    pub fn with_b(mut self, b: impl Into<Vec<f64>>) -> Result<Self, Error> {
        let b = b.into();
        if b.len() != self.b.len() {
            return Err(Error::length("b", b.len(), self.b.len(), "b has one entry per row of A"));
        }
        check_finite("b", &b)?;
        self.b = b.into();
        Ok(self)
    }

    /// With another `h`; every other block is shared.
    pub fn with_h(mut self, h: impl Into<Vec<f64>>) -> Result<Self, Error> {
        let h = h.into();
        if h.len() != self.h.len() {
            return Err(Error::length("h", h.len(), self.h.len(), "h has one entry per row of G"));
        }
        validate::upper("h", &h)?;
        self.h = h.into();
        Ok(self)
    }

    /// The same problem with blocks of `other` shared where they are equal in address or value: lets solvers see what
    /// did not change when a problem was built anew from equal data.
    pub fn share_with(mut self, other: &Qp) -> Self {
        let own = &mut *self;
        // matrices of different shapes are not comparable
        if own.p.difference(&other.p).is_none() && *own.p == *other.p {
            own.p = other.p.clone();
        }
        for (own, old) in [(&mut own.a, &other.a), (&mut own.g, &other.g), (&mut own.c, &other.c)] {
            if own.difference(old).is_none() && **own == **old {
                *own = old.clone();
            }
        }
        self
    }

    /// Number of variables.
    pub fn n(&self) -> usize {
        self.q.len()
    }
    /// Number of equalities.
    pub fn n_equality(&self) -> usize {
        self.b.len()
    }
    /// Number of rows of the curved cones.
    pub fn n_cone(&self) -> usize {
        self.d.len()
    }
    /// The curved cones, which take the rows of `C` in order.
    pub fn cones(&self) -> &[Cone] {
        &self.cones
    }
    pub(crate) fn shared_cones(&self) -> Arc<[Cone]> {
        self.cones.clone()
    }
    /// The matrix of the curved cones.
    pub fn c(&self) -> &Matrix {
        &self.c
    }
    /// The right-hand side of the curved cones.
    pub fn d(&self) -> &[f64] {
        &self.d
    }
    /// Number of inequality rows.
    pub fn n_inequality(&self) -> usize {
        self.h.len()
    }
    /// The Hessian.
    pub fn p(&self) -> &Hessian {
        &self.p
    }
    /// The linear term.
    pub fn q(&self) -> &[f64] {
        &self.q
    }
    /// The equality matrix.
    pub fn a(&self) -> &Matrix {
        &self.a
    }
    /// The right-hand side of the equalities.
    pub fn b(&self) -> &[f64] {
        &self.b
    }
    /// The inequality matrix.
    pub fn g(&self) -> &Matrix {
        &self.g
    }
    /// The right-hand side of the inequalities.
    pub fn h(&self) -> &[f64] {
        &self.h
    }
    /// Lower bounds, `-inf` where there is none.
    pub fn lb(&self) -> &[f64] {
        &self.lb
    }
    /// Upper bounds, `inf` where there is none.
    pub fn ub(&self) -> &[f64] {
        &self.ub
    }
    /// True if some bound is finite.
    pub fn has_bounds(&self) -> bool {
        self.lb.iter().chain(self.ub.iter()).any(|v| v.is_finite())
    }

    /// The objective at `x`.
    pub fn objective(&self, x: &[f64]) -> f64 {
        let mut px = vec![0.0; self.n()];
        self.p.mul_add(0.5, x, &mut px, &mut Vec::new());
        (0..x.len()).map(|i| x[i] * (px[i] + self.q[i])).sum()
    }

    /// The matrices of its KKT system.
    pub(crate) fn kkt(&self) -> KktData<'_> {
        KktData { p: &self.p, rows: [&self.a, &self.g, &self.c], analysis: &self.analysis }
    }
}
