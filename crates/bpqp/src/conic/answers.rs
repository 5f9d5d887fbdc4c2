//! The answers of the quadratic program in the rows of the caller: points, proofs, what is weakly active.

use super::Conic;
use super::form::{Bounds, Form, Role};
use crate::active::{ActiveSet, Side};
use crate::matrix::norm_inf;
use crate::{Certificate, Cone, Point};

impl Form {
    /// Multipliers in the rows of the caller, and of his bounds.
    pub(super) fn multipliers(&self, conic: &Conic, p: &Point) -> (Vec<f64>, Vec<f64>) {
        let mut own = p.z_box.clone();
        let mut y = vec![0.0; self.roles.len()];
        for ((y, role), unit) in y.iter_mut().zip(&self.roles).zip(&self.units) {
            *y = match *role {
                Role::Equality(i) => unit * p.y[i],
                Role::Inequality(i) => unit * p.z[i],
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

    /// Shifts of the equalities and inequalities in the rows of the caller.
    pub fn shift(&self, a: &[f64], g: &[f64]) -> Vec<f64> {
        let of = |role: &Role| match *role {
            Role::Equality(i) => a[i],
            Role::Inequality(i) => g[i],
            Role::Cone(_) | Role::Lower(..) | Role::Upper(..) => 0.0,
        };
        self.roles.iter().map(of).collect()
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
        let [own, z, y_cone] = self.cut_multipliers(y);
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

    /// A proof in the rows of the caller without what an iteration left in it, where that proves more.
    pub fn cleaned(conic: &Conic, certificate: &Certificate) -> Certificate {
        let clean = || {
            let rows = Form::new(conic, Bounds::Rows).ok()?;
            let qp = rows.qp(conic, None).ok()?.ok()?;
            let own = match certificate {
                Certificate::PrimalInfeasible(p) => {
                    let fits = p.y.len() == conic.m() && (p.z_box.is_empty() || p.z_box.len() == rows.n);
                    let mut own = fits.then(|| rows.point(conic, &vec![0.0; rows.n], &[], &p.y, &p.z_box))?;
                    own.x.clear();
                    own.s.clear();
                    Certificate::PrimalInfeasible(own)
                }
                Certificate::DualInfeasible(d) if d.len() == rows.n => certificate.clone(),
                _ => return None,
            };
            Some(rows.certificate(conic, &own.cleaned(&qp)))
        };
        let found = clean().filter(|found| Form::violation(conic, found) < Form::violation(conic, certificate));
        found.unwrap_or_else(|| certificate.clone())
    }

    /// How well a proof in the rows of the caller proves its claim.
    pub fn violation(conic: &Conic, certificate: &Certificate) -> f64 {
        // every row as a row: two bounds of one variable have two multipliers
        let Ok(rows) = Form::new(conic, Bounds::Rows) else { return f64::INFINITY };
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
                let inequality = |(role, y): (&Role, &f64)| matches!(role, Role::Inequality(_)).then_some(-y);
                let wrong = rows.roles.iter().zip(&p.y).filter_map(inequality).fold(0.0_f64, f64::max);
                let violation = Certificate::PrimalInfeasible(own).violation(&qp);
                violation.max(if wrong > 0.0 { wrong / size } else { 0.0 })
            }
            other => other.violation(&qp),
        }
    }
}
