//! What is solved.

use super::form::Form;
use crate::error::check_finite;
use crate::matrix::Keep;
use crate::{Certificate, Cone, Csc, Error, Qp};
use std::sync::Arc;

/// Asymmetry above this multiple of the largest entry is refused.
const ASYMMETRY: f64 = 1e-5;

/// The conic program
///
/// ```text
/// minimize    1/2 x'P x + q'x
/// subject to  A x + s = b,   s in K         multipliers y in K*,   P x + q + A'y + z_box = 0,   s'y = 0
///             lb <= x <= ub                 multipliers z_box, > 0 at ub and < 0 at lb
/// ```
///
/// the form in which cone programs are often given. It is solved as a [`Qp`](crate::Qp): rows of one entry in a nonnegative
/// cone are bounds there, full matrices are dense, and the answers are those of the rows given here.
///
/// Matrices are sparse, blocks are shared behind an [`Arc`]: clones are cheap.
#[derive(Debug, Clone)]
pub struct Conic {
    pub(crate) p: Option<Arc<Csc>>,
    /// `P` was given as its upper triangle, and so is its gradient.
    pub(crate) upper: bool,
    /// `P = diag(d) + F F'`, and the columns of `p` are d and those of F.
    pub(crate) factored: bool,
    pub(crate) q: Arc<[f64]>,
    pub(crate) a: Arc<Csc>,
    pub(crate) b: Arc<[f64]>,
    pub(crate) cones: Arc<[Cone]>,
    pub(crate) lb: Arc<[f64]>,
    pub(crate) ub: Arc<[f64]>,
    /// The analysis of the KKT system: shared by all that came from one problem.
    pub(crate) analysis: Keep,
}

impl Conic {
    /// The problem of these data. `P` is the full symmetric matrix (read as `(P + P')/2`; an asymmetry above 1e-5 of its
    /// largest entry is refused) or its upper triangle: a `P` without entries below the diagonal is read as that.
    /// `None` is a linear objective. The cones take the rows of `A` in order.
    pub fn new(p: Option<Csc>, q: Vec<f64>, a: Csc, b: Vec<f64>, cones: Vec<Cone>) -> Result<Self, Error> {
        let (n, m) = (q.len(), b.len());
        if (a.nrows(), a.ncols()) != (m, n) {
            let advice = "A has one row per entry of b and one column per entry of q";
            return Err(Error::Shape { argument: "A", found: (a.nrows(), a.ncols()), expected: (m, n), advice });
        }
        cones.iter().try_for_each(Cone::validate)?;
        // a sum that does not fit is not the number of rows
        let rows = cones.iter().try_fold(0_usize, |sum, cone| sum.checked_add(cone.rows()));
        if rows != Some(m) {
            let advice = "the rows of the cones add up to the rows of A (a PSD cone of order n takes n (n + 1) / 2)";
            return Err(Error::length("cones", rows.unwrap_or(usize::MAX), m, advice));
        }
        check_finite("q", &q)?;
        check_finite("b", &b)?;
        sparse_finite("A", &a)?;
        let upper = p.as_ref().is_some_and(is_upper);
        if let Some(p) = &p {
            if (p.nrows(), p.ncols()) != (n, n) {
                let advice = "P has one row and one column per entry of q";
                return Err(Error::Shape { argument: "P", found: (p.nrows(), p.ncols()), expected: (n, n), advice });
            }
            sparse_finite("P", p)?;
            if !upper {
                symmetric(p)?;
            }
        }
        let analysis = Keep::default();
        let (lb, ub) = (vec![f64::NEG_INFINITY; n].into(), vec![f64::INFINITY; n].into());
        let (p, a, cones) = (p.map(Arc::new), Arc::new(a), cones.into());
        Ok(Conic { p, upper, factored: false, q: q.into(), a, b: b.into(), cones, lb, ub, analysis })
    }

    /// With `P = diag(d) + F F'`, which is never formed: `d >= 0`, and F with one row per variable, column after column. The
    /// values of P, of its gradient and of its tangents are then d and the columns of F, one after the other.
    pub fn with_factored(mut self, d: &[f64], f: &[f64]) -> Result<Self, Error> {
        let n = self.n();
        if d.len() != n || f.len().checked_rem(n).unwrap_or(f.len()) != 0 {
            let advice = "d has one entry per variable, and F one row";
            return Err(Error::length("P", d.len(), n, advice));
        }
        let columns = 1 + f.len().checked_div(n).unwrap_or(0);
        let indptr = (0..=columns).map(|j| j * n).collect();
        let indices = (0..columns).flat_map(|_| 0..n).collect();
        let p = Csc::new(n, columns, indptr, indices, d.iter().chain(f).copied().collect())?;
        sparse_finite("P", &p)?;
        diagonal_nonnegative(&p)?;
        (self.p, self.factored, self.upper) = (Some(Arc::new(p)), true, false);
        Ok(self)
    }

    /// With the bounds `lb <= x <= ub`; entries may be infinite, and an empty vector means none.
    pub fn bounds(mut self, lb: impl Into<Vec<f64>>, ub: impl Into<Vec<f64>>) -> Result<Self, Error> {
        let checked = Qp::linear(self.q.to_vec())?.bounds(lb, ub)?;
        (self.lb, self.ub) = (checked.lb.clone(), checked.ub.clone());
        Ok(self)
    }

    /// Number of variables.
    pub fn n(&self) -> usize {
        self.q.len()
    }
    /// Number of rows.
    pub fn m(&self) -> usize {
        self.b.len()
    }
    /// The quadratic term as it was given.
    pub fn p(&self) -> Option<&Csc> {
        self.p.as_deref()
    }
    /// True if `P` was given as `diag(d) + F F'`: its columns are then d and those of F.
    pub fn p_is_factored(&self) -> bool {
        self.factored
    }
    /// True if `P` was given as its upper triangle.
    pub fn p_is_upper(&self) -> bool {
        self.upper
    }
    /// The linear term.
    pub fn q(&self) -> &[f64] {
        &self.q
    }
    /// The constraint matrix.
    pub fn a(&self) -> &Csc {
        &self.a
    }
    /// The right-hand side.
    pub fn b(&self) -> &[f64] {
        &self.b
    }
    /// The cones.
    pub fn cones(&self) -> &[Cone] {
        &self.cones
    }
    /// Lower bounds, `-inf` where there is none.
    pub fn lb(&self) -> &[f64] {
        &self.lb
    }
    /// Upper bounds, `inf` where there is none.
    pub fn ub(&self) -> &[f64] {
        &self.ub
    }
    /// How well a proof in the rows of this problem (all of their multipliers in `y`, in order) proves its claim: see
    /// [`Certificate::violation`].
    pub fn violation(&self, certificate: &Certificate) -> f64 {
        Form::violation(self, certificate)
    }
    /// A proof in the rows of this problem without the small entries that an iteration leaves, where it proves more so.
    pub fn cleaned(&self, certificate: &Certificate) -> Certificate {
        Form::cleaned(self, certificate)
    }
    /// True if a proof in the rows of this problem proves its claim.
    pub fn verifies(&self, certificate: &Certificate) -> bool {
        Certificate::accepted(self.violation(certificate))
    }
    /// True if every cone is one of linear constraints: the problem is a quadratic program.
    pub fn is_polyhedral(&self) -> bool {
        self.cones.iter().all(Cone::is_polyhedral)
    }

    /// The same structure with other numbers: values in the order of the stored entries; `None` keeps what is there.
    pub fn with_values(
        &self,
        p: Option<&[f64]>,
        q: Option<&[f64]>,
        a: Option<&[f64]>,
        b: Option<&[f64]>,
    ) -> Result<Self, Error> {
        let mut out = self.clone();
        if let Some(values) = p {
            let Some(old) = &self.p else {
                return Err(Error::Structure { argument: "P", reason: "there was none" });
            };
            let new = Arc::new(replaced("P", old, values)?);
            match (self.factored, self.upper) {
                (true, _) => diagonal_nonnegative(&new)?,
                (false, false) => symmetric(&new)?,
                (false, true) => {}
            }
            out.p = Some(new);
        }
        if let Some(values) = a {
            out.a = Arc::new(replaced("A", &self.a, values)?);
        }
        for (argument, values, block) in [("q", q, &mut out.q), ("b", b, &mut out.b)] {
            if let Some(values) = values {
                if values.len() != block.len() {
                    return Err(Error::length(argument, values.len(), block.len(), "the structure stays what it was"));
                }
                check_finite(argument, values)?;
                *block = values.into();
            }
        }
        Ok(out)
    }

    /// The largest entry of `A x + s - b`.
    pub(crate) fn primal_residual(&self, x: &[f64], s: &[f64]) -> f64 {
        let mut r: Vec<f64> = self.b.iter().zip(s).map(|(b, s)| b - s).collect();
        self.a.mul_add(-1.0, x, &mut r);
        crate::matrix::norm_inf(&r)
    }

    /// `out += alpha * P x`, whichever way `P` was given.
    pub(crate) fn p_mul_add(&self, alpha: f64, x: &[f64], out: &mut [f64]) {
        let Some(p) = &self.p else { return };
        if self.factored {
            let (d, factor) = p.values().split_at(self.n());
            out.iter_mut().zip(d).zip(x).for_each(|((out, d), x)| *out += alpha * d * x);
            for column in factor.chunks_exact(self.n().max(1)) {
                let along = alpha * crate::matrix::dot(column, x);
                out.iter_mut().zip(column).for_each(|(out, f)| *out += along * f);
            }
            return;
        }
        for (j, &xj) in x.iter().enumerate() {
            for (i, v) in p.column(j) {
                if self.upper {
                    out[i] += alpha * v * xj;
                    if i != j {
                        out[j] += alpha * v * x[i];
                    }
                } else {
                    out[i] += 0.5 * alpha * v * xj;
                    out[j] += 0.5 * alpha * v * x[i];
                }
            }
        }
    }

    /// The objective at `x`.
    pub fn objective(&self, x: &[f64]) -> f64 {
        let mut px = vec![0.0; self.n()];
        self.p_mul_add(0.5, x, &mut px);
        (0..x.len()).map(|i| x[i] * (px[i] + self.q[i])).sum()
    }
}

fn diagonal_nonnegative(p: &Csc) -> Result<(), Error> {
    match p.column(0).find(|(_, v)| *v < 0.0) {
        None => Ok(()),
        Some((index, value)) => Err(Error::NegativeDiagonal { index, value }),
    }
}

fn is_upper(p: &Csc) -> bool {
    p.triplets().all(|(i, j, _)| i <= j)
}

fn sparse_finite(argument: &'static str, m: &Csc) -> Result<(), Error> {
    match m.triplets().find(|(_, _, v)| !v.is_finite()) {
        None => Ok(()),
        Some((row, col, value)) => Err(Error::NotFinite { argument, row, col, value }),
    }
}

fn replaced(argument: &'static str, old: &Csc, values: &[f64]) -> Result<Csc, Error> {
    if values.len() != old.nnz() {
        return Err(Error::length(argument, values.len(), old.nnz(), "one value per stored entry"));
    }
    let mut new = old.clone();
    new.values_mut().copy_from_slice(values);
    sparse_finite(argument, &new)?;
    Ok(new)
}

fn symmetric(p: &Csc) -> Result<(), Error> {
    let t = p.transpose();
    if *p == t {
        return Ok(());
    }
    let largest = p.values().iter().fold(0.0_f64, |a, v| a.max(v.abs()));
    let entry = |m: &Csc, row: usize, col: usize| m.column(col).find(|&(i, _)| i == row).map_or(0.0, |(_, v)| v);
    for (row, col, value) in p.triplets() {
        let mirrored = entry(&t, row, col);
        if (value - mirrored).abs() > ASYMMETRY * largest {
            return Err(Error::Asymmetric { row, col, value, mirrored });
        }
    }
    Ok(())
}
