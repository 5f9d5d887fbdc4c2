//! From cotangents to gradients and from tangents to tangents, through a backward solver.

use super::curved::{combine, rotate, spread};
use super::direct::{Direct, as_many_rows_as_variables};
use super::first_order::FirstOrder;
use super::scaled::{ScaledNewton, ScaledPolish};
use super::smoothed::Smoothed;
use super::{Accuracy, At, BackwardQp, BackwardSolver};
use crate::active::Rotation;
use crate::active::{Newton, PolishReport, Polisher, Side, Start};
use crate::gradient::{Adjoint, Envelope, assemble, tame};
use crate::kkt::{KeptFactors, KktCore};
use crate::matrix::{Matrix, dot};
use crate::settings::Backward;
use crate::small::{Small, is_small};
use crate::thresholds::{FACTORS_CLEAR, FAR_APART, TANGENT, WELL_CONDITIONED};
use crate::{ActiveSet, Cotangent, Error, Gradient, Point, Qp, Residuals, Settings, SolutionTangent, Tangent, Wrt};
use std::sync::Arc;

/// Owns the workspaces of polish and backward pass; one per thread.
pub(crate) struct Differentiator {
    pub polisher: Polisher,
    /// Where there are curved cones: how their rows stand in the system.
    pub(super) rotation: Option<Rotation>,
    newton: Newton,
    scaled: ScaledPolish,
    scaled_newton: ScaledNewton,
    /// Where a polish begins.
    start: Point,
    eps_abs: f64,
    direct: Direct,
    first_order: Option<FirstOrder>,
    smoothed: Option<Smoothed>,
    prepared: bool,
    /// Small programs side by side, and the one at hand if its factors are there.
    small: Option<Small>,
    lane: Option<usize>,
    /// The factors that the solution at hand brought with it, and what is solved with them.
    kept: Option<Arc<KeptFactors>>,
    room: Vec<f64>,
    dx: Vec<f64>,
    pub(super) dc: Vec<f64>,
    pub(super) w: Vec<f64>,
    pub(super) v: Vec<f64>,
    pub(super) pinned: Vec<f64>,
    pub(super) u_box: Vec<f64>,
    pub(super) adjoint: Adjoint,
    /// The known part of the multipliers of curved cones.
    pub(super) known: Vec<f64>,
    /// What the right-hand side of the curved cones moves by.
    moved: Vec<f64>,
    parts: [Vec<f64>; 3],
    rank: Vec<f64>,
}

impl Differentiator {
    pub fn new(qp: &Qp, settings: &Settings) -> Result<Self, Error> {
        let rotation = Rotation::new(qp)?;
        let data = rotation.as_ref().map_or(qp.kkt(), Rotation::data);
        let direct = Direct::new(data)?;
        Ok(Differentiator {
            polisher: Polisher::default(),
            rotation,
            newton: Newton::default(),
            scaled: ScaledPolish::default(),
            scaled_newton: ScaledNewton::default(),
            start: Point::default(),
            eps_abs: settings.eps_abs,
            direct,
            first_order: (settings.backward == Backward::FirstOrder).then(|| FirstOrder::new(settings)),
            smoothed: None,
            prepared: false,
            small: None,
            lane: None,
            kept: None,
            room: Vec::new(),
            dx: Vec::new(),
            dc: Vec::new(),
            w: Vec::new(),
            v: Vec::new(),
            pinned: Vec::new(),
            u_box: Vec::new(),
            adjoint: Adjoint::default(),
            known: Vec::new(),
            moved: Vec::new(),
            parts: Default::default(),
            rank: Vec::new(),
        })
    }

    /// A solve begins, which finds what a new one would.
    pub fn begin(&mut self) {
        self.direct.solver.begin();
    }

    /// Takes the numbers of a problem of the same structure.
    pub fn load(&mut self, qp: &Qp, core: Option<&KktCore>) -> Result<(), Error> {
        (self.prepared, self.lane, self.kept) = (false, None, None);
        self.smoothed = None;
        match &mut self.rotation {
            None => self.direct.load(qp.kkt(), core),
            Some(rotation) => {
                // the rows are rotated where the solution is known
                rotation.load(qp);
                self.direct.forget();
                Ok(())
            }
        }
    }

    /// The factors at hand are of no set that anyone has.
    pub fn forget(&mut self) {
        self.direct.forget();
    }

    /// Takes the numbers of a solution, to be differentiated.
    pub fn load_solution(&mut self, at: At<'_>) -> Result<(), Error> {
        if self.takes_lanes(at) {
            self.side_by_side(at.qp).factor(std::iter::once((at.qp, at.active)));
            self.turn_to(0);
            return Ok(());
        }
        if let Some(kept) = at.kept.filter(|_| self.first_order.is_none() && at.smoothing.is_none()) {
            (self.prepared, self.smoothed, self.lane, self.kept) = (false, None, None, Some(kept.clone()));
            return Ok(());
        }
        self.load(at.qp, at.core)
    }

    /// True if this solution may be differentiated beside others of its shape: one solve with its factors is exact.
    pub fn takes_lanes(&self, at: At<'_>) -> bool {
        let plain = self.first_order.is_none() && at.smoothing.is_none() && at.core.is_none();
        plain && at.exact_factors && !at.active.any_weak() && is_small(at.qp)
    }

    /// What follows is about the program in this lane, whose factors are there.
    pub fn turn_to(&mut self, lane: usize) {
        (self.prepared, self.smoothed, self.lane, self.kept) = (false, None, Some(lane), None);
    }

    /// Programs of the shape of this one, side by side.
    pub fn side_by_side(&mut self, qp: &Qp) -> &mut Small {
        if !self.small.as_ref().is_some_and(|small| small.fits(qp)) {
            self.small = None;
        }
        self.small.get_or_insert_with(|| Small::new(qp.n(), qp.n_inequality()))
    }

    /// The factorization, to be shared.
    pub fn core(&self) -> Option<KktCore> {
        self.direct.core()
    }

    /// The factors that the polish left, packed.
    pub fn kept(&self) -> Option<KeptFactors> {
        if self.rotation.is_none() && self.lane.is_none() { self.direct.kept() } else { None }
    }

    /// True if the polish saw one solve with the factors that it left reduce a residual to rounding.
    pub fn exact_factors(&self) -> bool {
        self.direct.exact()
    }

    /// An estimate of the reciprocal condition of the factorization at hand; 0 if it is not known.
    pub fn reciprocal_condition(&self) -> f64 {
        if let (Some(lane), Some(small)) = (self.lane, &self.small) {
            return small.reciprocal_condition(lane);
        }
        self.kept.as_ref().map_or_else(|| self.direct.reciprocal_condition(), |kept| kept.reciprocal_condition())
    }

    /// Polishes with the factorization that the backward pass will use, and leaves it in place. What residuals and objective
    /// the point has may be `known`, with the vectors in the work of the polisher.
    pub fn polish(
        &mut self,
        qp: &Qp,
        (start, rounds): (Start, usize),
        known: Option<(Residuals, f64)>,
        (point, active): (&mut Point, &mut ActiveSet),
    ) -> PolishReport {
        (self.prepared, self.lane, self.kept) = (false, None, None);
        if let Some(rotation) = &mut self.rotation {
            self.direct.forget();
            let system = Some((rotation, &mut self.direct.solver));
            self.start.clone_from(point);
            let report = self.newton.polish(qp, system, point, active, self.eps_abs);
            if report.verified {
                return report;
            }
            return match self.scaled_newton.polish(qp, &mut self.start, active, self.eps_abs) {
                Some(found) => {
                    point.clone_from(&self.start);
                    found
                }
                None => report,
            };
        }
        self.polisher.scales.load(qp);
        if !self.polisher.scales.close(FAR_APART) {
            let by = (start, rounds, &self.polisher.deadline);
            if let Some(report) = self.scaled.polish(qp, by, point, active) {
                self.direct.forget();
                return report;
            }
        }
        self.polisher.known = known;
        let report = self.polisher.polish_from(start, qp, (self.direct.kkt(), rounds), point, active);
        if report.factored {
            let well = self.direct.kkt().reciprocal_condition() > WELL_CONDITIONED;
            let clear = report.accuracy < FACTORS_CLEAR || report.accuracy == f64::INFINITY;
            self.direct.factored(clear && well && report.face.is_none(), report.face);
        }
        report
    }

    /// Makes a point complementary and says where it is, where there are curved cones; false without them.
    pub fn place(&mut self, qp: &Qp, point: &mut Point, active: &mut ActiveSet) -> bool {
        if self.rotation.is_some() {
            self.newton.polish(qp, None, point, active, self.eps_abs);
        }
        self.rotation.is_some()
    }

    fn prepare(&mut self, at: At<'_>) -> Result<(), Error> {
        if self.prepared {
            return Ok(());
        }
        let m = at.qp.n_equality();
        match at.smoothing {
            None => at.active.diagonals(m, &mut self.dx, &mut self.dc),
            Some(mu) => {
                let smoothed = Smoothed::solve(at.qp, self.direct.kkt(), at.point, mu)?;
                self.dx.clone_from(&smoothed.it.dx_diag);
                self.dc.clone_from(&smoothed.it.dc_diag);
                self.smoothed = Some(smoothed);
            }
        }
        if self.lane.is_some() || self.kept.is_some() {
            self.prepared = true;
            return Ok(());
        }
        if let Some(rotation) = &mut self.rotation {
            let (c, faces) = (&at.qp.c, &at.active.faces);
            rotation.diagonals(faces, &mut self.dx, &mut self.dc);
            // where the noise of the directions alone keeps the system from being singular, it is
            let faint = rotation.rotate_above(TANGENT, c, faces);
            self.direct.load(rotation.data(), None)?;
            if faint && !self.direct.is_singular(rotation.data(), (&self.dx, &self.dc)) {
                rotation.rotate(c, faces);
                self.direct.load(rotation.data(), None)?;
            }
        }
        let data = self.rotation.as_ref().map_or(at.qp.kkt(), Rotation::data);
        let system = BackwardQp { data, dx: &self.dx, dc: &self.dc };
        match &mut self.first_order {
            Some(solver) => solver.prepare(&system, at.core)?,
            None => {
                self.direct.prepare(&system, at.core)?;
                if at.exact_factors && at.smoothing.is_none() && !self.direct.on_face() {
                    self.direct.factored(true, None);
                }
            }
        }
        self.prepared = true;
        Ok(())
    }

    /// Solves the system for `r` in `self.w`, `s` in `self.v`, and prescribed values of the pinned variables in
    /// `self.pinned`; leaves the multipliers of the pins in `self.u_box`.
    pub(super) fn solve(&mut self, qp: &Qp) -> Result<Accuracy, Error> {
        let data = self.rotation.as_ref().map_or(qp.kkt(), Rotation::data);
        // the system may have more variables than the problem
        self.w.resize(data.n(), 0.0);
        self.pinned.resize(data.n(), 0.0);
        let any_pin = self.pinned.iter().any(|&t| t != 0.0);
        self.u_box.clone_from(&self.w);
        if any_pin {
            data.p.mul_add(-1.0, &self.pinned, &mut self.w, &mut self.rank);
            data.mul_add(-1.0, &self.pinned, &mut self.v);
        }
        let system = BackwardQp { data, dx: &self.dx, dc: &self.dc };
        let solver: &mut dyn BackwardSolver = match &mut self.first_order {
            Some(solver) => solver,
            None => &mut self.direct,
        };
        // as many hard rows as free variables: `F w = 0` leaves nothing but w = 0, to be exact (a linear program's dq),
        // where the rows are independent. Of more rows than that nobody has shown that they have full column rank
        let vertex = as_many_rows_as_variables((&self.dx, &self.dc))
            && self.v.iter().zip(&self.dc).all(|(&s, &d)| s == 0.0 || d == f64::INFINITY);
        let exact = Accuracy { residual: 0.0, deficient: false, iterative: false };
        let accuracy = match (self.lane, &mut self.small, &self.kept) {
            (Some(lane), Some(small), _) => {
                small.solve_for(lane, &mut self.w, &mut self.v);
                exact
            }
            (_, _, Some(kept)) => {
                kept.solve(&mut self.w, &mut self.v, &mut self.room);
                exact
            }
            _ => solver.solve(&system, &mut self.w, &mut self.v)?,
        };
        if vertex && !accuracy.deficient && !accuracy.iterative {
            self.w.fill(0.0);
        }
        if !self.w.iter().chain(&self.v).all(|v| v.is_finite()) {
            return Err(Error::Backward { reason: "a number overflowed".to_owned() });
        }
        if any_pin {
            self.w.iter_mut().zip(&self.pinned).for_each(|(w, t)| *w += t);
        }
        // the multiplier of a pin is what its row of the stationarity lacks
        if self.dx.contains(&f64::INFINITY) {
            data.p.mul_add(-1.0, &self.w, &mut self.u_box, &mut self.rank);
            data.tmul_add(-1.0, &self.v, &mut self.u_box);
        }
        self.u_box.iter_mut().zip(&self.dx).for_each(|(u, d)| {
            if *d != f64::INFINITY {
                *u = 0.0;
            }
        });
        self.w.truncate(qp.n());
        self.u_box.truncate(qp.n());
        Ok(accuracy)
    }

    /// One solve with the system of a solution, which tells what it is worth.
    pub fn examine(&mut self, at: At<'_>) -> Result<Accuracy, Error> {
        self.prepare(at)?;
        let (n, rows) = (at.qp.n(), at.qp.n_equality() + at.qp.n_inequality() + at.qp.n_cone());
        for (v, length, entry) in [(&mut self.w, n, 1.0), (&mut self.v, rows, 0.0), (&mut self.pinned, n, 0.0)] {
            v.clear();
            v.resize(length, entry);
        }
        self.direct.solver.for_residuals(true);
        let accuracy = self.solve(at.qp);
        self.direct.solver.for_residuals(false);
        accuracy
    }

    /// The gradient of a loss with these cotangents.
    pub fn vjp(&mut self, at: At<'_>, cot: &Cotangent, wrt: Wrt, out: &mut Gradient) -> Result<Accuracy, Error> {
        cot.validate(at.qp)?;
        self.prepare(at)?;
        let (n, m, mi) = (at.qp.n(), at.qp.n_equality(), at.qp.n_inequality());
        let mk = at.qp.n_cone();
        let fill = |v: &mut Vec<f64>, parts: [(&[f64], usize); 3]| {
            v.clear();
            for (part, len) in parts {
                match part.is_empty() {
                    true => v.resize(v.len() + len, 0.0),
                    false => v.extend_from_slice(part),
                }
            }
        };
        fill(&mut self.w, [(&cot.x, n), (&[], 0), (&[], 0)]);
        fill(&mut self.v, [(&cot.y, m), (&cot.z, mi), (&[], mk)]);
        fill(&mut self.pinned, [(&cot.z_box, n), (&[], 0), (&[], 0)]);
        self.known.clear();
        self.known.resize(mk, 0.0);
        if !(cot.s.is_empty() && cot.y_cone.is_empty()) {
            let out = (&mut self.v[m + mi..], &mut self.known[..]);
            spread(&at.qp.cones, &at.active.faces, (&cot.s, &cot.y_cone), out, &mut self.parts);
            at.qp.c.tmul_add(-1.0, &self.known, &mut self.w);
        }
        for (v, d) in self.v.iter_mut().zip(&self.dc) {
            if *d == f64::INFINITY {
                *v = 0.0;
            }
        }
        if let Some(s) = &self.smoothed {
            for i in 0..n {
                let along = cot.z_box.get(i).map_or(0.0, |g| (s.lower[i] + s.upper[i]) * g);
                self.w[i] += along + cot.objective * (s.it.px[i] + at.qp.q[i]);
            }
        }
        for (t, d) in self.pinned.iter_mut().zip(&self.dx) {
            if *d != f64::INFINITY {
                *t = 0.0;
            }
        }
        let accuracy = self.solve(at.qp)?;
        let point = self.smoothed.as_ref().map_or(at.point, |s| &s.point);
        self.adjoint.w.clone_from(&self.w);
        self.adjoint.y.clear();
        self.adjoint.y.extend_from_slice(&self.v[..m]);
        self.adjoint.z.clear();
        self.adjoint.z.extend_from_slice(&self.v[m..m + mi]);
        self.adjoint.cone.clone_from(&self.known);
        combine(&at.qp.cones, &at.active.faces, &self.v[m + mi..], &mut self.adjoint.cone, &mut self.parts[0]);
        self.adjoint.lb.clear();
        self.adjoint.ub.clear();
        for i in 0..n {
            let (mut lb, mut ub) = (0.0, 0.0);
            if self.dx[i] == f64::INFINITY {
                let (own_lb, own_ub) = shares(at.active.bound[i], point.z_box[i]);
                (lb, ub) = (own_lb * self.u_box[i], own_ub * self.u_box[i]);
            } else if let Some(s) = &self.smoothed {
                let g = cot.z_box.get(i).copied().unwrap_or(0.0);
                (lb, ub) = (s.lower[i] * (self.w[i] - g), s.upper[i] * (self.w[i] - g));
            }
            self.adjoint.lb.push(lb);
            self.adjoint.ub.push(ub);
        }
        let t = cot.objective;
        // at x(mu) the objective is an ordinary function of x: no envelope theorem
        let envelope = Envelope { explicit: t, constraints: if self.smoothed.is_some() { 0.0 } else { t } };
        assemble(at.qp, point, &self.adjoint, wrt, envelope, out);
        out.check_finite(tame(point, &self.adjoint, envelope))?;
        Ok(accuracy)
    }

    /// The change of the solution along a direction of the data.
    pub fn jvp(&mut self, at: At<'_>, t: &Tangent, out: &mut SolutionTangent) -> Result<Accuracy, Error> {
        validate_tangent(at.qp, t)?;
        self.prepare(at)?;
        let (n, m, mi) = (at.qp.n(), at.qp.n_equality(), at.qp.n_inequality());
        let smoothed = self.smoothed.take();
        let point = smoothed.as_ref().map_or(at.point, |s| &s.point);
        self.w.clear();
        self.w.resize(n, 0.0);
        self.v.clear();
        self.v.resize(m + mi + at.qp.n_cone(), 0.0);
        if let Some(p) = &t.p {
            at.qp.p.sub_direction(p, &point.x, &mut self.w);
        }
        // the objective moves by the derivative of the Lagrangian: 1/2 x'dP x + dq'x + y'(dA x - db) + ...
        let mut objective = -0.5 * dot(&self.w, &point.x);
        if let Some(q) = &t.q {
            self.w.iter_mut().zip(q).for_each(|(w, q)| *w -= q);
            objective += dot(q, &point.x);
        }
        let blocks = [(&t.a, &t.b, &point.y, 0), (&t.g, &t.h, &point.z, m), (&t.c, &t.d, &point.y_cone, m + mi)];
        for (matrix, rhs, multiplier, offset) in blocks {
            let v = &mut self.v[offset..offset + multiplier.len()];
            if let Some(matrix) = matrix {
                matrix.tmul_add(-1.0, multiplier, &mut self.w);
                matrix.mul_add(-1.0, &point.x, v);
            }
            if let Some(rhs) = rhs {
                v.iter_mut().zip(rhs).for_each(|(v, r)| *v += r);
            }
            if smoothed.is_none() {
                objective -= dot(v, multiplier);
            }
        }
        self.moved.clear();
        self.moved.extend_from_slice(&self.v[m + mi..]);
        rotate(&at.qp.cones, &at.active.faces, &mut self.v[m + mi..], &mut self.parts[0]);
        for (v, d) in self.v.iter_mut().zip(&self.dc) {
            if *d == f64::INFINITY {
                *v = 0.0;
            }
        }
        self.pinned.clear();
        self.pinned.resize(n, 0.0);
        let entry = |v: &Option<Vec<f64>>, i: usize| v.as_ref().map_or(0.0, |v| v[i]);
        for i in 0..n {
            let (dlb, dub) = (entry(&t.lb, i), entry(&t.ub, i));
            if self.dx[i] == f64::INFINITY {
                let (lb, ub) = shares(at.active.bound[i], point.z_box[i]);
                self.pinned[i] = lb * dlb + ub * dub;
                if smoothed.is_none() {
                    objective -= point.z_box[i] * self.pinned[i];
                }
            } else if let Some(s) = &smoothed {
                self.w[i] += s.lower[i] * dlb + s.upper[i] * dub;
            }
        }
        let accuracy = self.solve(at.qp)?;
        out.x.clone_from(&self.w);
        out.y.clear();
        out.y.extend_from_slice(&self.v[..m]);
        out.z.clear();
        out.z.extend_from_slice(&self.v[m..m + mi]);
        out.z_box.clone_from(&self.u_box);
        out.s.clone_from(&self.moved);
        at.qp.c.mul_add(-1.0, &out.x, &mut out.s);
        out.y_cone.clear();
        out.y_cone.resize(self.moved.len(), 0.0);
        combine(&at.qp.cones, &at.active.faces, &self.v[m + mi..], &mut out.y_cone, &mut self.parts[0]);
        out.objective = objective;
        if let Some(s) = &smoothed {
            for i in 0..n {
                if self.dx[i] != f64::INFINITY {
                    let (dlb, dub) = (entry(&t.lb, i), entry(&t.ub, i));
                    out.z_box[i] = s.upper[i] * (self.w[i] - dub) + s.lower[i] * (self.w[i] - dlb);
                }
            }
            out.objective += (0..n).map(|i| (s.it.px[i] + at.qp.q[i]) * self.w[i]).sum::<f64>();
        }
        self.smoothed = smoothed;
        out.check_finite()?;
        Ok(accuracy)
    }
}

/// How the derivative of an active bound is split between `lb` and `ub`. Where `lb = ub` only the sum is defined: it
/// goes to the side of the multiplier, half each where that is 0.
pub(crate) fn shares(side: Side, z_box: f64) -> (f64, f64) {
    match side {
        Side::Lower => (1.0, 0.0),
        Side::Upper => (0.0, 1.0),
        Side::Fixed if z_box > 0.0 => (0.0, 1.0),
        Side::Fixed if z_box < 0.0 => (1.0, 0.0),
        Side::Fixed => (0.5, 0.5),
        Side::Free => (0.0, 0.0),
    }
}

pub(crate) fn validate_tangent(qp: &Qp, t: &Tangent) -> Result<(), Error> {
    let advice = "a tangent has the shape and structure of its argument";
    let (n, m, mi) = (qp.n(), qp.n_equality(), qp.n_inequality());
    for (argument, v, len) in [
        ("tangent of q", &t.q, n),
        ("tangent of b", &t.b, m),
        ("tangent of h", &t.h, mi),
        ("tangent of d", &t.d, qp.n_cone()),
        ("tangent of lb", &t.lb, n),
        ("tangent of ub", &t.ub, n),
    ] {
        if let Some(v) = v {
            if v.len() != len {
                return Err(Error::length(argument, v.len(), len, advice));
            }
            crate::error::check_finite(argument, v)?;
        }
    }
    if let Some(p) = t.p.as_ref().filter(|p| !qp.p.takes_direction(p)) {
        return Err(Error::Shape { argument: "tangent of P", found: (p.n(), p.n()), expected: (n, n), advice });
    }
    for (argument, v, rows) in
        [("tangent of A", &t.a, m), ("tangent of G", &t.g, mi), ("tangent of C", &t.c, qp.n_cone())]
    {
        if let Some(v) = v.as_ref().filter(|v| (v.nrows(), v.ncols()) != (rows, n)) {
            let found = (Matrix::nrows(v), Matrix::ncols(v));
            return Err(Error::Shape { argument, found, expected: (rows, n), advice });
        }
    }
    Ok(())
}
