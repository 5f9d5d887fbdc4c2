//! The scaling of a second-order cone: `H = eta^2 (2 w w' - J)` with `J = diag(1, -1, .., -1)` and `w'Jw = 1`.
//!
//! `2 w w' - J` is also `D + u u' - v v'` with `D = diag(d, 1, .., 1)`, `u = (u0, u1 w1)`, `v = (0, v1 w1)`, and `D - v v'`
//! positive definite, which keeps sparse systems quasi-definite (Domahidi, Chu & Boyd, "ECOS: an SOCP solver for embedded
//! systems", 2013). Its inverse is the same with `-w1` for `w1`.

use crate::matrix::dot;

/// `|v|`.
pub(super) fn norm(v: &[f64]) -> f64 {
    dot(v, v).sqrt()
}

/// `v'Jv`, as a product so that nothing is lost near the boundary.
fn determinant(v: &[f64]) -> f64 {
    let length = norm(&v[1..]);
    (v[0] - length) * (v[0] + length)
}

/// The longest step along `d` from `v` inside; infinite if none is.
pub(super) fn step(v: &[f64], d: &[f64]) -> f64 {
    let a = d[0] * d[0] - dot(&d[1..], &d[1..]);
    let b = 2.0 * (v[0] * d[0] - dot(&v[1..], &d[1..]));
    let c = determinant(v).max(0.0);
    if a > 0.0 && b > 0.0 {
        return f64::INFINITY;
    }
    // from inside the cone every line meets its boundary: negative, it is the rounding of a line through the apex
    let discriminant = (b * b - 4.0 * a * c).max(0.0);
    let t = if b >= 0.0 { -b - discriminant.sqrt() } else { -b + discriminant.sqrt() };
    let usable = |root: f64| if root >= 0.0 { root } else { f64::INFINITY };
    // the first entry reaches 0 no earlier, which holds where the roots are lost
    let apex = if d[0] < 0.0 { -v[0] / d[0] } else { f64::INFINITY };
    usable(2.0 * c / t).min(usable(t / (2.0 * a))).min(apex)
}

/// What the point `w` leaves open.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SecondOrder {
    pub eta: f64,
    /// `|w1|`, and the larger eigenvalue `w0 + |w1|` of `W/eta`; the smaller one is its reciprocal.
    length: f64,
    rho: f64,
    pub d: f64,
    pub u: [f64; 2],
    pub v: f64,
}

impl SecondOrder {
    pub fn unit(&mut self, w: &mut [f64]) {
        self.eta = 1.0;
        w.fill(0.0);
        w[0] = 1.0;
        self.split(w);
    }

    pub fn update(&mut self, s: &[f64], z: &[f64], w: &mut [f64], lambda: &mut [f64]) -> bool {
        let (of_s, of_z) = (determinant(s), determinant(z));
        if !(of_s > 0.0 && of_z > 0.0 && s[0] > 0.0 && z[0] > 0.0) {
            return false;
        }
        let (size_s, size_z) = (of_s.sqrt(), of_z.sqrt());
        let gamma = (0.5 * (1.0 + dot(s, z) / (size_s * size_z))).sqrt();
        self.eta = (size_s / size_z).sqrt();
        let half = 0.5 / gamma;
        for i in 1..s.len() {
            w[i] = half * (s[i] / size_s - z[i] / size_z);
        }
        w[0] = (1.0 + dot(&w[1..], &w[1..])).sqrt();
        let (s0, z0) = (s[0] / size_s, z[0] / size_z);
        let size = (size_s * size_z).sqrt();
        let over = size / (s0 + z0 + 2.0 * gamma);
        lambda[0] = gamma * size;
        for i in 1..s.len() {
            lambda[i] = over * ((gamma + z0) * s[i] / size_s + (gamma + s0) * z[i] / size_z);
        }
        self.split(w);
        self.eta > 0.0 && self.eta.is_finite() && gamma.is_finite()
    }

    fn split(&mut self, w: &[f64]) {
        self.length = norm(&w[1..]);
        self.rho = w[0] + self.length;
        let square = w[0] * w[0] + self.length * self.length;
        self.d = 0.5 / square;
        let u0 = (square - self.d).sqrt();
        self.u = [u0, 2.0 * w[0] / u0];
        self.v = (2.0 * (2.0 + 1.0 / square) / (2.0 * square - 1.0 / square)).sqrt();
    }

    /// `out = size (E + by e e' + 1/by f f') x` with the unit vectors `e, f = (1, +-w1/|w1|)/sqrt 2` and the projection E off
    /// both: each eigenvalue to its own last digits.
    fn apply(&self, (size, by): (f64, f64), w: &[f64], x: &[f64], out: &mut [f64]) {
        let (first, of_w) = self.parts(by, w, x);
        out.iter_mut().zip(w.iter().zip(x)).for_each(|(o, (w, x))| *o = size * (x + of_w * w));
        out[0] = size * first;
    }

    /// The same with `x` in the place of `out`.
    fn apply_in_place(&self, (size, by): (f64, f64), w: &[f64], x: &mut [f64]) {
        let (first, of_w) = self.parts(by, w, x);
        x.iter_mut().zip(w).for_each(|(x, w)| *x = size * (*x + of_w * w));
        x[0] = size * first;
    }

    /// Its first entry, and the part of `w` in the others.
    fn parts(&self, by: f64, w: &[f64], x: &[f64]) -> (f64, f64) {
        let over = if self.length > 0.0 { 1.0 / self.length } else { 0.0 };
        let along = over * dot(&w[1..], &x[1..]);
        let (e, f) = (0.5 * by * (x[0] + along), 0.5 / by * (x[0] - along));
        (e + f, over * (e - f - along))
    }

    /// `out = H z`.
    pub fn mul(&self, w: &[f64], z: &[f64], out: &mut [f64]) {
        self.apply((self.eta * self.eta, self.rho * self.rho), w, z, out);
    }

    /// `v = H^-1 v`.
    pub fn divide(&self, w: &[f64], v: &mut [f64]) {
        self.apply_in_place((1.0 / (self.eta * self.eta), 1.0 / (self.rho * self.rho)), w, v);
    }

    /// `v = W^-1 v`.
    pub fn unscale(&self, w: &[f64], v: &mut [f64]) {
        self.apply_in_place((1.0 / self.eta, 1.0 / self.rho), w, v);
    }

    /// `out = W x` for a sign of 1, `W^-1 x` for -1.
    fn root(&self, sign: f64, w: &[f64], x: &[f64], out: &mut [f64]) {
        let factors = if sign > 0.0 { (self.eta, self.rho) } else { (1.0 / self.eta, 1.0 / self.rho) };
        self.apply(factors, w, x, out);
    }

    /// `out = W (lambda \ (part (W^-1 ds) o (W dz) - target e))`.
    pub fn corrected(
        &self,
        (w, lambda): (&[f64], &[f64]),
        (ds, dz): (&[f64], &[f64]),
        (part, target): (f64, f64),
        (left, right): (&mut [f64], &mut [f64]),
        out: &mut [f64],
    ) {
        self.root(-1.0, w, ds, left);
        self.root(1.0, w, dz, right);
        // the product of the cone's algebra, in place of `left`
        let first = part * dot(left, right) - target;
        let (l0, r0) = (left[0], right[0]);
        left.iter_mut().zip(&*right).for_each(|(l, r)| *l = part * (l0 * r + r0 * *l));
        left[0] = first;
        // divided by lambda, in place of `right`
        let along = dot(&lambda[1..], &left[1..]);
        let over = 1.0 / determinant(lambda);
        right[0] = over * (lambda[0] * first - along);
        let by = over * (along / lambda[0] - first);
        for i in 1..left.len() {
            right[i] = by * lambda[i] + left[i] / lambda[0];
        }
        self.root(1.0, w, right, out);
    }
}
