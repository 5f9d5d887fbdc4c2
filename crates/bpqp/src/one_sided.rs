//! The one-sided derivative: how the solution starts to move along a direction of the data, at kinks too.
//!
//! Where rows are weakly active (their slack and their multiplier are zero) the solution is no differentiable function of
//! the data, but it has a derivative in every direction `(dP, dq, ..)`, and that is the solution of a quadratic program:
//!
//! ```text
//! minimize    1/2 dx'P dx + (dP x + dq + dA'y + dG'z)'dx
//! subject to  A dx = db - dA x,   G_S dx = dh_S - dG_S x,   G_W dx <= dh_W - dG_W x
//! ```
//!
//! with S the strongly and W the weakly active rows, and the same for bounds; its multipliers are the changes of the
//! multipliers (Robinson 1980; Bonnans and Shapiro 2000, section 5.2). It is not linear in the direction, so that there is
//! no one-sided vjp. Where the multipliers are not unique it holds for those at hand, and the verdict says so.

use crate::active::Side;
use crate::backward::{shares, validate_tangent};
use crate::derivatives::Workspace;
use crate::matrix::{Csc, Full, Matrix, dot};
use crate::{Derivatives, Error, Qp, Settings, Solution, SolutionTangent, Tangent, Verdict};

/// What the row or bound is at the solution.
#[derive(Clone, Copy, PartialEq)]
enum Hold {
    Free,
    Weak,
    Strong,
}

/// The rows of a matrix in a list.
fn rows_of(m: &Matrix, list: &[usize]) -> Result<Matrix, Error> {
    let mut place = vec![usize::MAX; m.nrows()];
    list.iter().enumerate().for_each(|(k, &i)| place[i] = k);
    match m {
        Matrix::Dense(m) => Ok(Matrix::Dense(Full::from_fn(list.len(), m.ncols(), |k, j| m[(list[k], j)]))),
        Matrix::Sparse(m) => {
            let own = m.triplets().filter(|&(i, _, _)| place[i] != usize::MAX);
            let entries: Vec<_> = own.map(|(i, j, v)| (place[i], j, v)).collect();
            Csc::from_triplets(list.len(), m.ncols(), &entries).map(Matrix::Sparse)
        }
    }
}

impl Solution {
    /// The one-sided derivative of the solution along a direction of the data, `lim (x(data + t d) - x(data))/t` for t > 0,
    /// and the verdict on it. The same as [`Solution::jvp`] where no constraint is weakly active.
    ///
    /// ```
    /// use bpqp::{Hessian, Qp, Settings, Tangent, Verdict};
    /// // x = max(-q, 0) at q = 0
    /// let qp = Qp::new(Hessian::Diagonal(vec![1.0]), vec![0.0])?.bounds(vec![0.0], vec![])?;
    /// let solution = qp.solve(&Settings::default())?;
    /// let along = |dq: f64| Tangent { q: Some(vec![dq]), ..Tangent::default() };
    /// assert_eq!(solution.jvp_one_sided(&along(-1.0))?.0.x, [1.0]);
    /// assert_eq!(solution.jvp_one_sided(&along(1.0))?.0.x, [0.0]);
    /// assert_eq!(solution.jvp_one_sided(&along(1.0))?.1, Verdict::Exact);
    /// # Ok::<(), bpqp::Error>(())
    /// ```
    ///
    /// Fails where there is no solution, with curved cones, with smoothing, and where the constraints contradict each other
    /// to first order in this direction.
    pub fn jvp_one_sided(&self, t: &Tangent) -> Result<(SolutionTangent, Verdict), Error> {
        if !self.ok() {
            return Err(Error::NoSolution { status: self.status });
        }
        if let Some(nearest) = &self.closest {
            validate_tangent(&self.qp, t)?;
            let (own, verdict) = nearest.solution.jvp_one_sided(&nearest.map.tangent(&self.qp, t)?)?;
            let matrices = t.a.is_some() || t.g.is_some();
            return Ok((nearest.map.outputs(&self.qp, &own), nearest.verdict(verdict, matrices)));
        }
        let refused = match () {
            () if !self.qp.cones.is_empty() => Some("cones beyond linear constraints"),
            () if self.settings.smoothing.is_some() => Some("smoothing"),
            () => None,
        };
        if let Some(what) = refused {
            let what = format!("a one-sided derivative with {what}");
            return Err(Error::Unsupported { what, advice: "take jvp, and look at its verdict" });
        }
        if !self.active.any_weak() {
            let mut work = Workspace::of(self)?;
            let mut at = Derivatives::new(self, &mut work)?;
            let out = at.jvp(t)?.clone();
            let verdict = at.verdict();
            return Ok((out, verdict));
        }
        validate_tangent(&self.qp, t)?;
        self.along(t)
    }

    fn along(&self, t: &Tangent) -> Result<(SolutionTangent, Verdict), Error> {
        let (qp, at, active) = (&self.qp, &self.at, &self.active);
        let (n, m, mi) = (qp.n(), qp.n_equality(), qp.n_inequality());
        let hold = |active: bool, weak: bool| match (active, weak) {
            (_, true) => Hold::Weak,
            (true, false) => Hold::Strong,
            (false, false) => Hold::Free,
        };
        let rows: Vec<Hold> = (0..mi).map(|i| hold(active.g[i], active.weak_g[i])).collect();
        let of = |what: Hold| -> Vec<usize> { (0..mi).filter(|&i| rows[i] == what).collect() };
        let (strong, weak) = (of(Hold::Strong), of(Hold::Weak));
        // what the equations lack: the linear term, and the right-hand sides
        let mut force = vec![0.0; n];
        if let Some(p) = &t.p {
            qp.p.sub_direction(p, &at.x, &mut force);
        }
        let mut objective = -0.5 * dot(&force, &at.x);
        if let Some(q) = &t.q {
            objective += dot(q, &at.x);
            force.iter_mut().zip(q).for_each(|(f, q)| *f -= q);
        }
        let (mut b, mut h) = (vec![0.0; m], vec![0.0; mi]);
        for (matrix, rhs, multiplier, out) in [(&t.a, &t.b, &at.y, &mut b), (&t.g, &t.h, &at.z, &mut h)] {
            if let Some(matrix) = matrix {
                matrix.tmul_add(-1.0, multiplier, &mut force);
                matrix.mul_add(-1.0, &at.x, out);
            }
            if let Some(rhs) = rhs {
                out.iter_mut().zip(rhs).for_each(|(o, r)| *o += r);
            }
            objective -= out.iter().zip(multiplier).map(|(o, y)| if *y == 0.0 { 0.0 } else { o * y }).sum::<f64>();
        }
        let (mut lb, mut ub) = (vec![f64::NEG_INFINITY; n], vec![f64::INFINITY; n]);
        let entry = |v: &Option<Vec<f64>>, j: usize| v.as_ref().map_or(0.0, |v| v[j]);
        for j in 0..n {
            let (dl, du) = (entry(&t.lb, j), entry(&t.ub, j));
            match hold(active.bound[j] != Side::Free, active.weak_bound[j]) {
                Hold::Free => {}
                // both bounds in one place leave no way
                _ if qp.lb[j] == qp.ub[j] || active.bound[j] == Side::Fixed => {
                    let (own_l, own_u) = shares(Side::Fixed, at.z_box[j]);
                    (lb[j], ub[j]) = (own_l * dl + own_u * du, own_l * dl + own_u * du);
                    objective -= at.z_box[j] * lb[j];
                }
                Hold::Strong => {
                    let (own_l, own_u) = shares(active.bound[j], at.z_box[j]);
                    (lb[j], ub[j]) = (own_l * dl + own_u * du, own_l * dl + own_u * du);
                    objective -= at.z_box[j] * lb[j];
                }
                Hold::Weak if at.x[j] - qp.lb[j] <= qp.ub[j] - at.x[j] => lb[j] = dl,
                Hold::Weak => ub[j] = du,
            }
        }
        let pick = |list: &[usize]| list.iter().map(|&i| h[i]).collect::<Vec<f64>>();
        let equations = Matrix::stacked(&qp.a, &rows_of(&qp.g, &strong)?)?;
        let program = Qp::of_shared(qp.p.clone(), force.iter().map(|f| -f).collect())
            .equality(equations, [b, pick(&strong)].concat())?
            .inequality(rows_of(&qp.g, &weak)?, pick(&weak))?
            .bounds(lb, ub)?;
        let settings = Settings { polish: true, ..self.settings.clone() };
        let moved = program.solve(&settings)?;
        if !moved.ok() {
            let reason = format!("the program of the one-sided derivative ended with status {}", moved.status);
            return Err(Error::Backward { reason });
        }
        let mut z = vec![0.0; mi];
        strong.iter().zip(&moved.y[m..]).for_each(|(&i, v)| z[i] = *v);
        weak.iter().zip(&moved.z).for_each(|(&i, v)| z[i] = *v);
        let verdict = match () {
            () if !moved.info.polished => Verdict::Untrusted,
            () if moved.info.dependent_rows || moved.info.flat_face => Verdict::OneOfSeveral,
            () => match self.verdict() {
                Verdict::OneOfSeveral if !self.info.flat_face => Verdict::Exact,
                own => own,
            },
        };
        let y = moved.y[..m].to_vec();
        let out = SolutionTangent {
            x: moved.x.clone(),
            y,
            z,
            z_box: moved.z_box.clone(),
            objective,
            ..SolutionTangent::default()
        };
        Ok((out, verdict))
    }
}
