//! The paper's way: the backward QP handed to a QP solver, here the native first-order one.

use super::{Accuracy, BackwardQp, BackwardSolver};
use crate::forward::{Admm, ForwardHandle, ForwardSolver};
use crate::kkt::KktCore;
use crate::matrix::{Csc, Matrix, norm_inf};
use crate::{Error, Point, Qp, Settings};

/// Any forward solver as a backward solver.
pub(crate) struct FirstOrder {
    settings: Settings,
    handle: Option<Box<dyn ForwardHandle>>,
    /// The backward QP without its right-hand sides.
    problem: Option<Qp>,
    rows: Vec<usize>,
    point: Point,
}

impl FirstOrder {
    pub fn new(settings: &Settings) -> Self {
        let settings = Settings { max_iter: None, time_limit: None, interrupt: None, ..settings.clone() };
        FirstOrder { settings, handle: None, problem: None, rows: Vec::new(), point: Point::default() }
    }
}

/// The rows of `[A; G]` in `kept` (indices into the stack).
fn gather(qp: &Qp, kept: &[usize]) -> Result<Matrix, Error> {
    let m = qp.n_equality();
    if qp.a.is_sparse() || qp.g.is_sparse() {
        let mut position = vec![usize::MAX; m + qp.n_inequality()];
        kept.iter().enumerate().for_each(|(k, &row)| position[row] = k);
        let mut triplets = Vec::new();
        for (offset, rows) in [(0, &qp.a), (m, &qp.g)] {
            rows.for_each(|i, j, v| {
                if position[offset + i] != usize::MAX {
                    triplets.push((position[offset + i], j, v));
                }
            });
        }
        return Ok(Matrix::Sparse(Csc::from_triplets(kept.len(), qp.n(), &triplets)?));
    }
    let dense = |rows: &Matrix| rows.to_dense();
    let (a, g) = (dense(&qp.a), dense(&qp.g));
    let entry = |k: usize, j: usize| {
        let row = kept[k];
        if row < m { a[(row, j)] } else { g[(row - m, j)] }
    };
    Ok(Matrix::Dense(faer::Mat::from_fn(kept.len(), qp.n(), entry)))
}

impl BackwardSolver for FirstOrder {
    fn name(&self) -> &'static str {
        "first_order"
    }

    fn prepare(&mut self, system: &BackwardQp<'_>, _core: Option<&KktCore>) -> Result<(), Error> {
        let qp = system.qp;
        let soft = |d: &f64| d.is_finite() && *d != 0.0;
        if system.dx.iter().any(soft) || system.dc.iter().any(soft) {
            let what = "smoothing with the first-order backward solver".to_owned();
            return Err(Error::Unsupported { what, advice: "use the direct backward solver for smoothing" });
        }
        self.rows.clear();
        self.rows.extend((0..system.dc.len()).filter(|&i| system.dc[i] == 0.0));
        let side = |sign: f64| -> Vec<f64> {
            system.dx.iter().map(|&d| if d == f64::INFINITY { 0.0 } else { sign * f64::INFINITY }).collect()
        };
        let mut problem = qp.clone().with_q(vec![0.0; qp.n()])?.bounds(side(-1.0), side(1.0))?;
        problem = problem.equality(gather(qp, &self.rows)?, vec![0.0; self.rows.len()])?;
        problem = problem.inequality(Matrix::empty(qp.n()), Vec::new())?;
        self.handle = Some(Admm.prepare(&problem, &self.settings)?);
        self.problem = Some(problem);
        Ok(())
    }

    fn solve(&mut self, _system: &BackwardQp<'_>, w: &mut [f64], v: &mut [f64]) -> Result<Accuracy, Error> {
        let (Some(handle), Some(problem)) = (&mut self.handle, &self.problem) else {
            return Err(Error::Backward { reason: "solve was called before prepare".to_owned() });
        };
        // in units of the right-hand side, so that the absolute tolerance means the same for every loss
        let size = norm_inf(w).max(self.rows.iter().fold(0.0_f64, |m, &row| m.max(v[row].abs())));
        let size = if size > 0.0 { size } else { 1.0 };
        let q: Vec<f64> = w.iter().map(|r| -r / size).collect();
        let b: Vec<f64> = self.rows.iter().map(|&row| v[row] / size).collect();
        let problem = problem.clone().with_q(q)?.with_b(b)?;
        handle.update(&problem)?;
        let outcome = handle.solve(None, &mut self.point);
        if !outcome.status.ok() {
            let reason =
                format!("the first-order solver ended with {} after {} iterations", outcome.status, outcome.iterations);
            return Err(Error::Backward { reason });
        }
        w.iter_mut().zip(&self.point.x).for_each(|(w, x)| *w = x * size);
        v.fill(0.0);
        self.rows.iter().zip(&self.point.y).for_each(|(&row, y)| v[row] = y * size);
        let residual = self.settings.eps_abs.max(self.settings.eps_rel);
        Ok(Accuracy { residual, deficient: false, iterative: true })
    }
}
