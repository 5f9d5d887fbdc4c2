//! Primal-dual Newton steps on the perturbed optimality conditions: shared by the interior point and by smoothing.
//!
//! Slacks `s_g = h - G x`, `s_l = x - lb`, `s_u = ub - x` are variables of their own, so that an iterate may violate the
//! constraints while it stays inside the positive orthant. Eliminating slacks and their multipliers leaves the KKT
//! system of [`kkt`](crate::kkt) with `dx = z_l/s_l + z_u/s_u + rho` and `dc = (delta, s_g/z_g + delta)`.

use crate::kkt::{Breakdown, KktFactor, Refiner};
use crate::matrix::norm_inf;
use crate::{Point, Qp};

/// Residual of a step relative to its right-hand side that needs no refinement, and that of a prediction.
const STEP_RESIDUAL: f64 = 1e-6;
const PREDICTED: f64 = 1e-4;
/// A row whose slack is below this multiple of its multiplier binds.
const BINDING: f64 = 1e-3;

/// A constraint family with positive slacks and multipliers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pairs {
    /// Which row (of G) or variable each pair belongs to.
    pub index: Vec<usize>,
    pub s: Vec<f64>,
    pub z: Vec<f64>,
    /// Residual of the definition of the slack.
    r: Vec<f64>,
    /// Right-hand side of the complementarity row.
    rc: Vec<f64>,
    ds: Vec<f64>,
    dz: Vec<f64>,
}

impl Pairs {
    fn over(index: Vec<usize>) -> Self {
        let n = index.len();
        let v = || vec![0.0; n];
        Pairs { index, s: v(), z: v(), r: v(), rc: v(), ds: v(), dz: v() }
    }

    /// Residual of the definition of slack k.
    pub fn residual(&self, k: usize) -> f64 {
        self.r[k]
    }

    fn product(&self) -> f64 {
        self.s.iter().zip(&self.z).map(|(s, z)| s * z).sum()
    }

    fn product_after(&self, primal: f64, dual: f64) -> f64 {
        let pairs = self.s.iter().zip(&self.ds).zip(self.z.iter().zip(&self.dz));
        pairs.map(|((s, ds), (z, dz))| (s + primal * ds) * (z + dual * dz)).sum()
    }
}

/// The longest step, at most 1, that leaves no `v + step dv` negative. Which of them fall is anyone's guess, so nothing branches.
fn longest(v: &[f64], dv: &[f64]) -> f64 {
    let mut fastest = [1.0_f64; 4];
    let raise = |fastest: &mut f64, v: f64, d: f64| {
        let rate = -d / v;
        *fastest = if rate > *fastest { rate } else { *fastest };
    };
    let (v, dv) = (pulp::as_arrays::<4, _>(v), pulp::as_arrays::<4, _>(dv));
    for (v, d) in v.0.iter().zip(dv.0) {
        (0..4).for_each(|k| raise(&mut fastest[k], v[k], d[k]));
    }
    v.1.iter().zip(dv.1).for_each(|(v, d)| raise(&mut fastest[0], *v, *d));
    1.0 / fastest.iter().fold(1.0, |m: f64, f| m.max(*f))
}

/// An iterate with its workspaces.
#[derive(Debug, Default)]
pub(crate) struct PrimalDual {
    pub x: Vec<f64>,
    pub y: Vec<f64>,
    pub g: Pairs,
    pub l: Pairs,
    pub u: Pairs,
    /// Variables with `lb = ub`.
    fixed: Vec<usize>,
    /// `P x + q + A'y + G'z_g - z_l + z_u`.
    pub rd: Vec<f64>,
    /// `A x - b`.
    pub ra: Vec<f64>,
    pub px: Vec<f64>,
    zg_full: Vec<f64>,
    gx: Vec<f64>,
    pub dx_diag: Vec<f64>,
    pub dc_diag: Vec<f64>,
    w: Vec<f64>,
    v: Vec<f64>,
    rank: Vec<f64>,
    room: [Vec<f64>; 2],
    refiner: Refiner,
}

/// The entries of `v` with these indices, which ascend: all of them, or copies.
fn pick<'a>(index: &[usize], v: &'a [f64], room: &'a mut Vec<f64>) -> &'a [f64] {
    if index.len() == v.len() {
        return v;
    }
    room.clear();
    room.extend(index.iter().map(|&i| v[i]));
    room
}

/// Adds to the entries of `to` with these indices, which ascend.
#[inline(always)]
fn add_at(index: &[usize], to: &mut [f64], values: impl Iterator<Item = f64>) {
    if index.len() == to.len() {
        to.iter_mut().zip(values).for_each(|(to, v)| *to += v);
    } else {
        index.iter().zip(values).for_each(|(&i, v)| to[i] += v);
    }
}

impl PrimalDual {
    /// Buffers for problems whose finite bounds and right-hand sides are where those of `qp` are.
    pub fn new(qp: &Qp) -> Self {
        let n = qp.n();
        let finite = |v: &[f64]| (0..v.len()).filter(|&i| v[i].is_finite()).collect::<Vec<_>>();
        PrimalDual {
            x: vec![0.0; n],
            y: vec![0.0; qp.n_equality()],
            g: Pairs::over(finite(&qp.h)),
            l: Pairs::over((0..n).filter(|&i| qp.lb[i].is_finite() && qp.lb[i] < qp.ub[i]).collect()),
            u: Pairs::over((0..n).filter(|&i| qp.ub[i].is_finite() && qp.lb[i] < qp.ub[i]).collect()),
            fixed: (0..n).filter(|&i| qp.lb[i] == qp.ub[i]).collect(),
            ..PrimalDual::default()
        }
    }

    /// Number of complementary pairs.
    pub fn pairs(&self) -> usize {
        self.g.s.len() + self.l.s.len() + self.u.s.len()
    }

    fn families(&self) -> [&Pairs; 3] {
        [&self.g, &self.l, &self.u]
    }

    /// Mean complementarity product.
    pub fn mu(&self) -> f64 {
        let total: f64 = self.families().iter().map(|f| f.product()).sum();
        total / self.pairs().max(1) as f64
    }

    /// Recomputes all residuals. Variables with `lb = ub` are held there.
    pub fn residuals(&mut self, qp: &Qp) {
        let (n, lb, ub, h) = (qp.n(), qp.lb(), qp.ub(), qp.h());
        self.fixed.iter().for_each(|&i| self.x[i] = lb[i]);
        self.px.clear();
        self.px.resize(n, 0.0);
        qp.p.mul_add(1.0, &self.x, &mut self.px, &mut self.rank);
        self.rd.clear();
        self.rd.extend(self.px.iter().zip(qp.q.iter()).map(|(p, q)| p + q));
        qp.a.tmul_add(1.0, &self.y, &mut self.rd);
        self.zg_full.clear();
        self.zg_full.resize(qp.n_inequality(), 0.0);
        self.g.index.iter().zip(&self.g.z).for_each(|(&i, &z)| self.zg_full[i] = z);
        qp.g.tmul_add(1.0, &self.zg_full, &mut self.rd);
        add_at(&self.l.index, &mut self.rd, self.l.z.iter().map(|z| -z));
        add_at(&self.u.index, &mut self.rd, self.u.z.iter().copied());
        self.fixed.iter().for_each(|&i| self.rd[i] = 0.0);
        self.ra.clear();
        self.ra.extend(qp.b.iter().map(|b| -b));
        qp.a.mul_add(1.0, &self.x, &mut self.ra);
        self.gx.clear();
        self.gx.resize(qp.n_inequality(), 0.0);
        qp.g.mul_add(1.0, &self.x, &mut self.gx);
        for k in 0..self.g.index.len() {
            let i = self.g.index[k];
            self.g.r[k] = self.gx[i] + self.g.s[k] - h[i];
        }
        let [some_x, some_bounds] = &mut self.room;
        for (f, bounds, sign) in [(&mut self.l, lb, 1.0), (&mut self.u, ub, -1.0)] {
            let Pairs { index, s, r, .. } = f;
            let at = pick(index, bounds, some_bounds).iter().zip(pick(index, &self.x, some_x));
            r.iter_mut().zip(&*s).zip(at).for_each(|((r, s), (bound, x))| *r = s + sign * (bound - x));
        }
    }

    /// Largest violation of `A x = b` and of the definitions of the slacks.
    pub fn primal_residual(&self) -> f64 {
        self.families().iter().fold(norm_inf(&self.ra), |m, f| m.max(norm_inf(&f.r)))
    }

    /// Factors the Newton matrix at this iterate, regularized by `rho` for variables, equations and inequalities.
    pub fn factor(&mut self, qp: &Qp, kkt: &mut dyn KktFactor, rho: [f64; 3]) -> Result<(), Breakdown> {
        let m = qp.n_equality();
        self.dx_diag.clear();
        self.dx_diag.resize(qp.n(), rho[0]);
        for f in [&self.l, &self.u] {
            add_at(&f.index, &mut self.dx_diag, f.z.iter().zip(&f.s).map(|(z, s)| z / s));
        }
        self.fixed.iter().for_each(|&i| self.dx_diag[i] = f64::INFINITY);
        self.dc_diag.clear();
        self.dc_diag.resize(m, rho[1]);
        self.dc_diag.resize(m + qp.n_inequality(), f64::INFINITY);
        for k in 0..self.g.index.len() {
            self.dc_diag[m + self.g.index[k]] = self.g.s[k] / self.g.z[k] + rho[2];
        }
        kkt.factor(&self.dx_diag, &self.dc_diag)
    }

    /// Sets the complementarity target: `s z - target`, plus the second-order term of the last step if asked.
    fn target(&mut self, target: f64, second_order: bool) {
        for Pairs { s, z, rc, ds, dz, .. } in [&mut self.g, &mut self.l, &mut self.u] {
            rc.iter_mut().zip(s.iter().zip(&*z)).for_each(|(rc, (s, z))| *rc = s * z - target);
            if second_order {
                rc.iter_mut().zip(ds.iter().zip(&*dz)).for_each(|(rc, (ds, dz))| *rc += ds * dz);
            }
        }
    }

    /// Solves for the step towards complementarity products `target`; residuals and factors must be current.
    pub fn direction(&mut self, qp: &Qp, kkt: &mut dyn KktFactor, target: f64, second_order: bool) {
        self.towards(qp, kkt, (target, second_order, 1.0), STEP_RESIDUAL);
    }

    /// From a prediction: with its second-order term, and towards this part of the residuals being gone.
    pub fn correct(&mut self, qp: &Qp, kkt: &mut dyn KktFactor, target: f64, gone: f64) {
        self.towards(qp, kkt, (target, true, gone), STEP_RESIDUAL);
    }

    /// The step towards vanishing products, which is not taken: it tells how far it could go, and the curvature of the products.
    pub fn predict(&mut self, qp: &Qp, kkt: &mut dyn KktFactor) {
        self.towards(qp, kkt, (0.0, false, 1.0), PREDICTED);
    }

    fn towards(&mut self, qp: &Qp, kkt: &mut dyn KktFactor, (target, second_order, gone): (f64, bool, f64), part: f64) {
        self.target(target, second_order);
        let m = qp.n_equality();
        self.w.clear();
        self.w.extend(self.rd.iter().map(|r| -gone * r));
        for (f, sign) in [(&self.l, 1.0), (&self.u, -1.0)] {
            let pairs = f.s.iter().zip(&f.z).zip(f.r.iter().zip(&f.rc));
            add_at(&f.index, &mut self.w, pairs.map(|((s, z), (r, rc))| -sign * (rc - z * (gone * r)) / s));
        }
        self.v.clear();
        self.v.extend(self.ra.iter().map(|r| -gone * r));
        self.v.resize(m + qp.n_inequality(), 0.0);
        for k in 0..self.g.index.len() {
            self.v[m + self.g.index[k]] = self.g.rc[k] / self.g.z[k] - gone * self.g.r[k];
        }
        // late in a linear program the slacks span ten orders of magnitude, and an unrefined step ruins the iterate
        let diagonals = (&self.dx_diag[..], &self.dc_diag[..]);
        if kkt.refines() {
            kkt.solve_step(&mut self.w, &mut self.v, part);
        } else {
            self.refiner.step(kkt, qp.kkt(), diagonals, &mut self.w, &mut self.v);
        }
        // solved no further than to a part of all rows together
        let partly = kkt.refines();
        self.gx.clear();
        self.gx.resize(qp.n_inequality(), 0.0);
        if partly {
            qp.g.mul_add(1.0, &self.w, &mut self.gx);
        }
        let Pairs { index, s, z, r, rc, ds, dz } = &mut self.g;
        let pairs = s.iter().zip(&*z).zip(rc.iter().zip(r.iter().zip(&*index)));
        for ((ds, dz), ((s, z), (rc, (r, &i)))) in ds.iter_mut().zip(dz).zip(pairs) {
            // what the solve leaves of a row goes to its slack, or over s/z to its multiplier: the row holds where that is not
            // much
            if partly && *s > BINDING * *z {
                *ds = -gone * r - self.gx[i];
                *dz = (-rc - *z * *ds) / s;
            } else {
                *dz = self.v[m + i];
                *ds = (-rc - s * *dz) / z;
            }
        }
        for (f, sign) in [(&mut self.l, 1.0), (&mut self.u, -1.0)] {
            let Pairs { index, s, z, r, rc, ds, dz } = f;
            let pairs = s.iter().zip(&*z).zip(rc.iter().zip(&*r)).zip(pick(index, &self.w, &mut self.room[0]));
            for ((ds, dz), (((s, z), (rc, r)), w)) in ds.iter_mut().zip(dz).zip(pairs) {
                *ds = sign * w - gone * r;
                *dz = (-rc - z * *ds) / s;
            }
        }
    }

    /// Longest steps (at most 1) that keep slacks and multipliers nonnegative: primal, dual.
    pub fn step_lengths(&self) -> (f64, f64) {
        let f = self.families();
        (f.iter().fold(1.0, |a, f| a.min(longest(&f.s, &f.ds))), f.iter().fold(1.0, |a, f| a.min(longest(&f.z, &f.dz))))
    }

    /// Mean complementarity after a step.
    pub fn mu_after(&self, primal: f64, dual: f64) -> f64 {
        let total: f64 = self.families().iter().map(|f| f.product_after(primal, dual)).sum();
        total / self.pairs().max(1) as f64
    }

    /// Takes the step; false if it is not finite.
    pub fn advance(&mut self, primal: f64, dual: f64) -> bool {
        if !self.w.iter().chain(&self.v).all(|v| v.is_finite()) {
            return false;
        }
        self.x.iter_mut().zip(&self.w).for_each(|(x, d)| *x += primal * d);
        self.y.iter_mut().zip(&self.v).for_each(|(y, d)| *y += dual * d);
        for f in [&mut self.g, &mut self.l, &mut self.u] {
            f.s.iter_mut().zip(&f.ds).for_each(|(s, d)| *s += primal * d);
            f.z.iter_mut().zip(&f.dz).for_each(|(z, d)| *z += dual * d);
        }
        true
    }

    /// Largest changes in the last step of the variables, of the multipliers of the equations and of those of the inequalities.
    pub fn changes(&self) -> [f64; 3] {
        [norm_inf(&self.w), norm_inf(&self.v[..self.y.len()]), norm_inf(&self.g.dz)]
    }

    /// Largest entry of the last step in x relative to x.
    pub fn relative_step(&self) -> f64 {
        norm_inf(&self.w) / norm_inf(&self.x).max(f64::MIN_POSITIVE)
    }

    /// How far the pairs are from the central path at `mu`, each relative to itself: its product, and the definition of its slack.
    pub fn off_path(&self, mu: f64) -> f64 {
        let pairs = self.families().into_iter().flat_map(|f| f.s.iter().zip(&f.z).zip(&f.r));
        pairs.fold(0.0, |m: f64, ((s, z), r)| m.max((s * z / mu - 1.0).abs()).max(r.abs() / s))
    }

    /// Writes the iterate as a point.
    pub fn write(&self, qp: &Qp, out: &mut Point) {
        out.x.clone_from(&self.x);
        out.y.clone_from(&self.y);
        out.z.clear();
        out.z.resize(qp.n_inequality(), 0.0);
        self.g.index.iter().zip(&self.g.z).for_each(|(&i, &z)| out.z[i] = z);
        out.z_box.clear();
        out.z_box.resize(qp.n(), 0.0);
        // where both bounds are finite the smaller multiplier is a barrier remnant: the difference is what counts
        add_at(&self.l.index, &mut out.z_box, self.l.z.iter().map(|z| -z));
        add_at(&self.u.index, &mut out.z_box, self.u.z.iter().copied());
    }

    /// Multipliers of fixed variables: what is missing in their row of the stationarity.
    pub fn write_fixed(&self, qp: &Qp, out: &mut Point) {
        if self.fixed.is_empty() {
            return;
        }
        let mut r: Vec<f64> = self.px.iter().zip(qp.q.iter()).map(|(p, q)| p + q).collect();
        qp.a.tmul_add(1.0, &out.y, &mut r);
        qp.g.tmul_add(1.0, &out.z, &mut r);
        self.fixed.iter().for_each(|&i| out.z_box[i] = -r[i]);
    }
}
