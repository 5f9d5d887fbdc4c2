//! Smooth programs as closures over dual numbers: derivatives for free, of small programs.

use super::{At, Expansion, Pushed, SmoothProgram, Values};
use crate::{Error, Hessian, Matrix};
use faer::Mat;
pub use num_dual::{DualNum, HyperDual64 as Dual};

/// What a closure returns: `f`, `c` (= 0) and `g` (<= 0).
pub type Functions = (Dual, Vec<Dual>, Vec<Dual>);

/// A smooth program from one closure `(x, p) -> (f, c, g)` over dual numbers, which carry the derivatives by x and by the
/// parameters p. One evaluation for each pair of variables: for programs of some tens of variables.
///
/// ```
/// use bpqp::smooth::{self, Dual, DualProgram, DualNum};
/// use bpqp::{Cotangent, Settings, Verdict};
/// // the projection onto the outside of a disk, p = (center, radius^2): minimize |x - a|^2 s.t. |x|^2 >= r
/// let mut program = DualProgram::new(2, vec![0.3, 0.4, 1.0], |x: &[Dual], p: &[Dual]| {
///     let f = (x[0] - p[0]).powi(2) + (x[1] - p[1]).powi(2);
///     (f, vec![], vec![p[2] - x[0].powi(2) - x[1].powi(2)])
/// });
/// let solution = smooth::solve(&mut program, &[0.5, 0.5], None, &Settings::default())?;
/// assert!((solution.x[0] - 0.6).abs() < 1e-9 && (solution.x[1] - 0.8).abs() < 1e-9);
/// let gradient = solution.vjp(&mut program, &Cotangent::x(&[1.0, 0.0]))?;
/// assert!((gradient.parameters[2] - 0.3).abs() < 1e-9); // x = a sqrt(r)/|a|
/// assert_eq!(gradient.verdict, Verdict::Exact);
/// # Ok::<(), bpqp::Error>(())
/// ```
pub struct DualProgram<F> {
    functions: F,
    /// The parameters.
    pub parameters: Vec<f64>,
    lb: Vec<f64>,
    ub: Vec<f64>,
}

impl<F: FnMut(&[Dual], &[Dual]) -> Functions> DualProgram<F> {
    /// A program of `n` variables without bounds.
    pub fn new(n: usize, parameters: Vec<f64>, functions: F) -> Self {
        let (lb, ub) = (vec![f64::NEG_INFINITY; n], vec![f64::INFINITY; n]);
        DualProgram { functions, parameters, lb, ub }
    }

    /// With bounds on the variables.
    pub fn bounded(self, lb: Vec<f64>, ub: Vec<f64>) -> Self {
        DualProgram { lb, ub, ..self }
    }

    /// The functions with these first and second directions of `(x, p)`.
    fn seeded(&mut self, x: &[f64], first: impl Fn(usize) -> f64, second: impl Fn(usize) -> f64) -> Functions {
        let n = x.len();
        let seed = |v: f64, k: usize| Dual::new(v, first(k), second(k), 0.0);
        let xs: Vec<Dual> = x.iter().enumerate().map(|(j, &v)| seed(v, j)).collect();
        let ps: Vec<Dual> = self.parameters.iter().enumerate().map(|(k, &v)| seed(v, n + k)).collect();
        (self.functions)(&xs, &ps)
    }
}

fn unit(k: usize) -> impl Fn(usize) -> f64 {
    move |j| if j == k { 1.0 } else { 0.0 }
}

fn nothing(_: usize) -> f64 {
    0.0
}

/// `L` of the values.
fn lagrangian((f, c, g): &Functions, y: &[f64], z: &[f64]) -> Dual {
    let rows = c.iter().zip(y).chain(g.iter().zip(z));
    rows.fold(*f, |sum, (v, m)| sum + *v * *m)
}

impl<F: FnMut(&[Dual], &[Dual]) -> Functions> SmoothProgram for DualProgram<F> {
    fn bounds(&self) -> (&[f64], &[f64]) {
        (&self.lb, &self.ub)
    }

    fn values(&mut self, x: &[f64]) -> Result<Values, Error> {
        let (f, c, g) = self.seeded(x, nothing, nothing);
        let real = |v: Vec<Dual>| v.into_iter().map(|v| v.re).collect();
        Ok(Values { objective: f.re, equality: real(c), inequality: real(g) })
    }

    fn expand(&mut self, at: At<'_>) -> Result<Expansion, Error> {
        let n = at.x.len();
        let mut gradient = vec![0.0; n];
        let mut rows = (Mat::zeros(at.y.len(), n), Mat::zeros(at.z.len(), n));
        let mut hessian = Mat::zeros(n, n);
        for j in 0..n {
            for i in j..n {
                let out = self.seeded(at.x, unit(i), unit(j));
                let second = lagrangian(&out, at.y, at.z).eps1eps2;
                (hessian[(i, j)], hessian[(j, i)]) = (second, second);
                if i == j {
                    gradient[j] = out.0.eps1;
                    out.1.iter().enumerate().for_each(|(k, c)| rows.0[(k, j)] = c.eps1);
                    out.2.iter().enumerate().for_each(|(k, g)| rows.1[(k, j)] = g.eps1);
                }
            }
        }
        let (equality, inequality) = (Matrix::from(rows.0), Matrix::from(rows.1));
        Ok(Expansion { gradient, equality, inequality, hessian: Hessian::from(hessian) })
    }

    fn pull(&mut self, at: At<'_>, w: &[f64], (uy, uz): (&[f64], &[f64]), t: f64) -> Result<Vec<f64>, Error> {
        let (n, count) = (at.x.len(), self.parameters.len());
        let along = |k: usize| w.get(k).copied().unwrap_or(0.0);
        let each = |k: usize| {
            let out = self.seeded(at.x, along, unit(n + k));
            let l = lagrangian(&out, at.y, at.z);
            let rows = out.1.iter().zip(uy).chain(out.2.iter().zip(uz));
            rows.fold(l.eps1eps2 + t * l.eps2, |sum, (v, u)| sum + v.eps2 * u)
        };
        Ok((0..count).map(each).collect())
    }

    fn push(&mut self, at: At<'_>, direction: &[f64]) -> Result<Pushed, Error> {
        let n = at.x.len();
        if direction.len() != self.parameters.len() {
            let advice = "a direction has one entry for each parameter";
            return Err(Error::length("direction", direction.len(), self.parameters.len(), advice));
        }
        let along = |k: usize| if k < n { 0.0 } else { direction[k - n] };
        let mut gradient = vec![0.0; n];
        for (j, out) in gradient.iter_mut().enumerate() {
            *out = lagrangian(&self.seeded(at.x, along, unit(j)), at.y, at.z).eps1eps2;
        }
        let out = self.seeded(at.x, along, nothing);
        let lagrangian = lagrangian(&out, at.y, at.z).eps1;
        let first = |v: Vec<Dual>| v.into_iter().map(|v| v.eps1).collect();
        Ok(Pushed { gradient, equality: first(out.1), inequality: first(out.2), lagrangian })
    }
}
