//! Zero and nonnegative cones only: a quadratic program, with the rows of the zero cones as equalities and the others as
//! inequalities. The derivatives are those of the quadratic program, and so are its modes (smoothing, second derivatives).

use super::differentiate::blocks;
use super::{Conic, ConicCertificate, ConicCotangent, ConicGradient, ConicSolutionTangent, ConicTangent, ConicWrt};
use crate::{
    Certificate, Cone, Cotangent, Csc, Error, Gradient, Hessian, Layer, Matrix, Point, Qp, Solution, SolutionTangent,
    Tangent, Wrt,
};
use std::sync::Arc;

/// Where the rows and entries of the conic program are in the quadratic one.
#[derive(Debug, Clone)]
pub(crate) struct Split {
    /// Per row: is it an equality, and its index there.
    rows: Vec<(bool, usize)>,
    equalities: usize,
    inequalities: usize,
    /// Entry of the full symmetric P for each entry of the given one.
    hessian_at: Vec<usize>,
}

impl Split {
    pub fn new(conic: &Conic) -> Result<Self, Error> {
        let (mut rows, mut equalities, mut inequalities) = (Vec::with_capacity(conic.m()), 0, 0);
        for (k, range) in blocks(conic) {
            let equal = matches!(conic.cones[k], Cone::Zero(_));
            let count = if equal { &mut equalities } else { &mut inequalities };
            for _ in range {
                rows.push((equal, *count));
                *count += 1;
            }
        }
        let mut hessian_at = Vec::new();
        if let (Hessian::Sparse(full), Some(p)) = (hessian(conic)?, conic.p()) {
            for (i, j, _) in p.triplets() {
                let column = &full.indices()[full.indptr()[j]..full.indptr()[j + 1]];
                hessian_at.push(full.indptr()[j] + column.partition_point(|&r| r < i));
            }
        }
        Ok(Split { rows, equalities, inequalities, hessian_at })
    }

    /// The quadratic program; blocks that `old` shares with `conic` keep their address.
    pub fn qp(&self, conic: &Conic, old: Option<(&Conic, &Qp)>) -> Result<Qp, Error> {
        let (b, h) = self.vectors(&conic.b);
        if let Some((before, qp)) = old {
            let same_p = match (&before.p, &conic.p) {
                (Some(a), Some(b)) => Arc::ptr_eq(a, b),
                (None, None) => true,
                _ => false,
            };
            if same_p && Arc::ptr_eq(&before.a, &conic.a) {
                return qp.clone().with_q(conic.q.to_vec())?.with_b(b)?.with_h(h);
            }
        }
        let (a, g) = self.matrices(conic, conic.a.values())?;
        Qp::new(hessian(conic)?, conic.q.to_vec())?.equality(a, b)?.inequality(g, h)
    }

    fn vectors(&self, v: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let (mut equal, mut unequal) = (vec![0.0; self.equalities], vec![0.0; self.inequalities]);
        for (&(equality, i), &v) in self.rows.iter().zip(v) {
            if equality { equal[i] = v } else { unequal[i] = v }
        }
        (equal, unequal)
    }

    fn joined(&self, equal: &[f64], unequal: &[f64]) -> Vec<f64> {
        self.rows.iter().map(|&(equality, i)| if equality { equal[i] } else { unequal[i] }).collect()
    }

    fn matrices(&self, conic: &Conic, values: &[f64]) -> Result<(Csc, Csc), Error> {
        let (mut equal, mut unequal) = (Vec::new(), Vec::new());
        for ((i, j, _), &v) in conic.a.triplets().zip(values) {
            let (equality, row) = self.rows[i];
            if equality { equal.push((row, j, v)) } else { unequal.push((row, j, v)) }
        }
        let n = conic.n();
        Ok((Csc::from_triplets(self.equalities, n, &equal)?, Csc::from_triplets(self.inequalities, n, &unequal)?))
    }

    /// `x`, `s`, `y` of a solution.
    pub fn outputs(&self, conic: &Conic, solution: &Solution) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
        let mut s = conic.b.to_vec();
        conic.a.mul_add(-1.0, &solution.x, &mut s);
        for (s, &(equality, i)) in s.iter_mut().zip(&self.rows) {
            if equality || solution.active().g.get(i) == Some(&true) {
                *s = 0.0;
            }
        }
        (solution.x.clone(), s, self.joined(&solution.y, &solution.z))
    }

    /// Someone else's point.
    pub fn point(&self, x: &[f64], y: &[f64]) -> Point {
        let (y, z) = self.vectors(y);
        Point { x: x.to_vec(), y, z, z_box: vec![0.0; x.len()] }
    }

    pub fn certificate(&self, certificate: &Certificate) -> ConicCertificate {
        match certificate {
            Certificate::PrimalInfeasible(p) => ConicCertificate::PrimalInfeasible(self.joined(&p.y, &p.z)),
            Certificate::DualInfeasible(d) => ConicCertificate::DualInfeasible(d.clone()),
            Certificate::NonConvex(d) => ConicCertificate::NonConvex(d.clone()),
        }
    }

    /// `s = b - A x` makes a cotangent of s one of x, b and A.
    pub fn cotangent(&self, conic: &Conic, cot: &ConicCotangent<'_>) -> Result<Cotangent, Error> {
        cot.validate(conic)?;
        let mut out = Cotangent::x(cot.x);
        if !cot.y.is_empty() {
            (out.y, out.z) = self.vectors(cot.y);
        }
        if !cot.s.is_empty() {
            out.x.resize(conic.n(), 0.0);
            conic.a.tmul_add(-1.0, cot.s, &mut out.x);
        }
        Ok(out)
    }

    pub fn wrt(&self, wrt: ConicWrt) -> Wrt {
        Wrt { p: wrt.p, q: wrt.q, a: wrt.a, b: wrt.b, g: wrt.a, h: wrt.b, lb: false, ub: false }
    }

    pub fn gradient(&self, conic: &Conic, x: &[f64], cot: &ConicCotangent<'_>, g: &Gradient) -> ConicGradient {
        let empty: &[f64] = &[];
        let slice = |v: &'_ Option<Vec<f64>>| v.clone().unwrap_or_default();
        let entries = |m: &'_ Option<Matrix>| match m {
            Some(Matrix::Sparse(m)) => m.values().to_vec(),
            _ => empty.to_vec(),
        };
        let mut out = ConicGradient { q: g.q.clone(), ..ConicGradient::default() };
        if let (Some(Hessian::Sparse(full)), Some(p)) = (&g.p, conic.p()) {
            let twice = |(i, j): (usize, usize)| if conic.upper && i != j { 2.0 } else { 1.0 };
            let at = p.triplets().zip(&self.hessian_at);
            out.p = Some(at.map(|((i, j, _), &k)| twice((i, j)) * full.values()[k]).collect());
        }
        if g.b.is_some() {
            let mut b = self.joined(&slice(&g.b), &slice(&g.h));
            b.iter_mut().zip(cot.s).for_each(|(b, s)| *b += s);
            out.b = Some(b);
        }
        if g.a.is_some() {
            let (equal, unequal) = (entries(&g.a), entries(&g.g));
            let (mut next_equal, mut next_unequal) = (equal.iter(), unequal.iter());
            let s = |i: usize| cot.s.get(i).copied().unwrap_or(0.0);
            // both parts keep the order of their entries
            let values = conic.a.triplets().map(|(i, j, _)| {
                let next = if self.rows[i].0 { next_equal.next() } else { next_unequal.next() };
                next.copied().unwrap_or(0.0) - s(i) * x[j]
            });
            out.a = Some(values.collect());
        }
        out
    }

    pub fn tangent(&self, conic: &Conic, t: &ConicTangent<'_>) -> Result<Tangent, Error> {
        t.validate(conic)?;
        let mut out = Tangent { q: t.q.map(<[f64]>::to_vec), ..Tangent::default() };
        if let (Some(values), Some(p)) = (t.p, conic.p()) {
            let mut direction = p.clone();
            direction.values_mut().copy_from_slice(values);
            out.p = Some(hessian(&Conic { p: Some(Arc::new(direction)), ..conic.clone() })?);
        }
        if let Some(values) = t.a {
            let (a, g) = self.matrices(conic, values)?;
            (out.a, out.g) = (Some(Matrix::Sparse(a)), Some(Matrix::Sparse(g)));
        }
        if let Some(values) = t.b {
            let (b, h) = self.vectors(values);
            (out.b, out.h) = (Some(b), Some(h));
        }
        Ok(out)
    }

    /// The second derivative of the quadratic program; a cotangent of s moves with A.
    pub fn second_vjp(
        &self,
        conic: &Conic,
        layer: &mut Layer,
        cot: &ConicCotangent<'_>,
        t: &ConicTangent<'_>,
        wrt: ConicWrt,
    ) -> Result<ConicGradient, Error> {
        let (inner, direction) = (self.cotangent(conic, cot)?, self.tangent(conic, t)?);
        let mut moved = vec![0.0; conic.n()];
        let mut through_s = None;
        if !cot.s.is_empty() {
            moved.clone_from(&layer.jvp(&direction)?.x);
            let mut force = vec![0.0; conic.n()];
            if let Some(da) = t.a {
                conic.a.triplets().zip(da).for_each(|((i, j, _), v)| force[j] -= v * cot.s[i]);
            }
            through_s = Some(layer.vjp(&Cotangent::x(&force), self.wrt(wrt))?.clone());
        }
        let second = layer.second_vjp(&inner, &direction, self.wrt(wrt))?;
        let no_s = ConicCotangent { s: &[], ..*cot };
        let mut out = self.gradient(conic, &moved, &no_s, second);
        if let Some(through_s) = through_s {
            let extra =
                self.gradient(conic, &moved, &ConicCotangent { s: cot.s, ..ConicCotangent::default() }, &through_s);
            // the part of b in s = b - A x does not move
            let still = |v: &mut Vec<f64>| v.iter_mut().zip(cot.s).for_each(|(v, s)| *v -= s);
            out.add(&extra);
            out.b.iter_mut().for_each(still);
        }
        Ok(out)
    }

    pub fn outputs_tangent(
        &self,
        conic: &Conic,
        x: &[f64],
        t: &ConicTangent<'_>,
        out: &SolutionTangent,
    ) -> ConicSolutionTangent {
        let mut s = t.b.map_or_else(|| vec![0.0; conic.m()], <[f64]>::to_vec);
        if let Some(da) = t.a {
            conic.a.triplets().zip(da).for_each(|((i, j, _), v)| s[i] -= v * x[j]);
        }
        conic.a.mul_add(-1.0, &out.x, &mut s);
        ConicSolutionTangent { x: out.x.clone(), s, y: self.joined(&out.y, &out.z) }
    }
}

/// The full symmetric P.
pub(super) fn hessian(conic: &Conic) -> Result<Hessian, Error> {
    super::system::extended(conic, conic.n())
}
