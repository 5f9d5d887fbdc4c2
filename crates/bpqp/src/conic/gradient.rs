//! Cotangents in, gradients out; tangents in, tangents out. All vectors are in the order of the stored entries.

use super::Conic;
use crate::Error;
use crate::adapter::Entries;
use crate::error::check_finite;
use crate::gradient::overflowed;

/// The derivative of a loss with respect to the outputs of a solve; an empty slice stands for zeros.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ConicCotangent<'a> {
    /// With respect to `x`.
    pub x: &'a [f64],
    /// With respect to the slacks `s`.
    pub s: &'a [f64],
    /// With respect to the multipliers `y`.
    pub y: &'a [f64],
    /// With respect to the multipliers of the bounds.
    pub z_box: &'a [f64],
    /// With respect to the optimal objective.
    pub objective: f64,
}

impl<'a> ConicCotangent<'a> {
    /// A loss that depends on `x` only.
    pub fn x(x: &'a [f64]) -> Self {
        ConicCotangent { x, ..ConicCotangent::default() }
    }

    /// True if the loss does not depend on any output.
    pub fn is_zero(&self) -> bool {
        self.objective == 0.0 && [self.x, self.s, self.y, self.z_box].iter().all(|v| v.iter().all(|c| *c == 0.0))
    }

    pub(crate) fn validate(&self, conic: &Conic) -> Result<(), Error> {
        let (n, m) = (conic.n(), conic.m());
        for (argument, v, expected) in [
            ("cotangent of x", self.x, n),
            ("cotangent of s", self.s, m),
            ("cotangent of y", self.y, m),
            ("cotangent of z_box", self.z_box, n),
        ] {
            if !v.is_empty() && v.len() != expected {
                return Err(Error::length(argument, v.len(), expected, "it has the shape of its output, or is empty"));
            }
            check_finite(argument, v)?;
        }
        check_finite("cotangent of objective", &[self.objective])
    }
}

/// Which gradients are wanted; what is not wanted costs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ConicWrt {
    pub p: bool,
    pub q: bool,
    pub a: bool,
    pub b: bool,
    pub lb: bool,
    pub ub: bool,
}

impl ConicWrt {
    /// Nothing.
    pub const NONE: ConicWrt = ConicWrt { p: false, q: false, a: false, b: false, lb: false, ub: false };
    /// Every block.
    pub const ALL: ConicWrt = ConicWrt { p: true, q: true, a: true, b: true, lb: true, ub: true };

    /// The blocks of that name.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, Error> {
        let mut wrt = ConicWrt::NONE;
        for name in names {
            match name {
                "P" => wrt.p = true,
                "q" => wrt.q = true,
                "A" => wrt.a = true,
                "b" => wrt.b = true,
                "lb" => wrt.lb = true,
                "ub" => wrt.ub = true,
                _ => {
                    let advice = "name any of P, q, A, b, lb, ub";
                    return Err(Error::Setting { name: "wrt", value: name.to_owned(), advice });
                }
            }
        }
        Ok(wrt)
    }
}

/// Gradients of a loss with respect to the data; `None` where not asked for. Those of the matrices are values on the
/// pattern of the data. Where the full `P` was given its gradient is symmetric; where its upper triangle was given an entry
/// off the diagonal stands for both.
#[derive(Debug, Clone, Default, PartialEq)]
#[allow(missing_docs)]
pub struct ConicGradient {
    pub p: Option<Vec<f64>>,
    pub q: Option<Vec<f64>>,
    pub a: Option<Vec<f64>>,
    pub b: Option<Vec<f64>>,
    pub lb: Option<Vec<f64>>,
    pub ub: Option<Vec<f64>>,
}

/// The blocks are `P, q, A, b, lb, ub`, in this order.
impl Entries for ConicGradient {
    fn add_to(&self, block: usize, out: &mut [f64]) {
        let own = [&self.p, &self.q, &self.a, &self.b, &self.lb, &self.ub][block];
        out.iter_mut().zip(own.iter().flatten()).for_each(|(sum, value)| *sum += value);
    }
}

impl ConicGradient {
    /// Refuses numbers that are none: those of bounds are divided by entries, and may overflow.
    pub(super) fn finite(self) -> Result<Self, Error> {
        for v in [&self.p, &self.q, &self.a, &self.b, &self.lb, &self.ub].into_iter().flatten() {
            check_finite("gradient", v).map_err(overflowed)?;
        }
        Ok(self)
    }
}

/// A direction in the data, on its patterns; `None` stands for zeros.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[allow(missing_docs)]
pub struct ConicTangent<'a> {
    pub p: Option<&'a [f64]>,
    pub q: Option<&'a [f64]>,
    pub a: Option<&'a [f64]>,
    pub b: Option<&'a [f64]>,
    pub lb: Option<&'a [f64]>,
    pub ub: Option<&'a [f64]>,
}

impl ConicTangent<'_> {
    pub(crate) fn validate(&self, conic: &Conic) -> Result<(), Error> {
        let p = conic.p().map_or(0, |p| p.nnz());
        for (argument, v, expected) in [
            ("tangent of P", self.p, p),
            ("tangent of q", self.q, conic.n()),
            ("tangent of A", self.a, conic.a().nnz()),
            ("tangent of b", self.b, conic.m()),
            ("tangent of lb", self.lb, conic.n()),
            ("tangent of ub", self.ub, conic.n()),
        ] {
            if let Some(v) = v {
                if v.len() != expected {
                    let advice = "one value per stored entry of its argument";
                    return Err(Error::length(argument, v.len(), expected, advice));
                }
                check_finite(argument, v)?;
            }
        }
        Ok(())
    }
}

/// The change of the outputs along a direction of the data.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ConicSolutionTangent {
    /// Of `x`.
    pub x: Vec<f64>,
    /// Of `s`.
    pub s: Vec<f64>,
    /// Of `y`.
    pub y: Vec<f64>,
    /// Of the multipliers of the bounds.
    pub z_box: Vec<f64>,
    /// Of the optimal objective.
    pub objective: f64,
}

impl ConicSolutionTangent {
    /// Refuses numbers that are none.
    pub(super) fn finite(self) -> Result<Self, Error> {
        for v in [&self.x, &self.s, &self.y, &self.z_box] {
            check_finite("tangent", v).map_err(overflowed)?;
        }
        Ok(self)
    }
}
