//! Numbers of all lanes, and what is asked of them.

use pulp::Simd;

/// What is asked of the numbers of all lanes at once; answers are 1 or 0.
#[derive(Clone, Copy)]
pub(super) struct Lanewise<S>(pub S);

impl<S: Simd> Lanewise<S> {
    #[inline(always)]
    pub fn splat(self, v: f64) -> S::f64s {
        self.0.splat_f64s(v)
    }

    #[inline(always)]
    pub fn number(self, mask: S::m64s) -> S::f64s {
        self.0.select_f64s(mask, self.splat(1.0), self.splat(0.0))
    }

    /// The product, which is 1 where both hold.
    #[inline(always)]
    pub fn both(self, a: S::f64s, b: S::f64s) -> S::f64s {
        self.0.mul_f64s(a, b)
    }

    #[inline(always)]
    pub fn above(self, a: S::f64s, b: S::f64s) -> S::f64s {
        self.number(self.0.greater_than_f64s(a, b))
    }

    #[inline(always)]
    pub fn within(self, a: S::f64s, b: S::f64s) -> S::f64s {
        self.number(self.0.less_than_or_equal_f64s(a, b))
    }

    /// What pulp has for magnitudes and signs is not always inlined, and then a call of the baseline for every number.
    #[inline(always)]
    pub fn abs(self, v: S::f64s) -> S::f64s {
        self.0.max_f64s(v, self.neg(v))
    }

    #[inline(always)]
    pub fn neg(self, v: S::f64s) -> S::f64s {
        self.0.sub_f64s(self.splat(0.0), v)
    }

    /// The larger magnitude.
    #[inline(always)]
    pub fn larger(self, m: S::f64s, v: S::f64s) -> S::f64s {
        self.0.max_f64s(self.abs(v), m)
    }

    #[inline(always)]
    pub fn times(self, a: S::f64s, b: f64) -> S::f64s {
        self.0.mul_f64s(a, self.splat(b))
    }

    /// What is positive stays, and 1 takes the place of the rest.
    #[inline(always)]
    pub fn positive(self, v: S::f64s) -> S::f64s {
        self.0.select_f64s(self.0.greater_than_f64s(v, self.splat(0.0)), v, self.splat(1.0))
    }

    /// `a` on the rows of the set, `b` on the others.
    #[inline(always)]
    pub fn of_set(self, active: S::f64s, a: S::f64s, b: S::f64s) -> S::f64s {
        self.0.select_f64s(self.0.equal_f64s(active, self.splat(1.0)), a, b)
    }

    /// `r / scale`, 0 where nothing is left.
    #[inline(always)]
    pub fn relative(self, r: S::f64s, scale: S::f64s) -> S::f64s {
        let zero = self.splat(0.0);
        self.0.select_f64s(self.0.equal_f64s(r, zero), zero, self.0.div_f64s(r, scale))
    }

    /// The largest magnitude.
    #[inline(always)]
    pub fn largest(self, v: &[S::f64s], start: S::f64s) -> S::f64s {
        let mut m = start;
        for v in v {
            m = self.larger(m, *v);
        }
        m
    }
}
