//! The paper's way: the backward QP handed to a QP solver, here the native first-order one.

use super::{Accuracy, BackwardQp, BackwardSolver};
use crate::forward::{Admm, ForwardHandle, ForwardSolver};
use crate::kkt::{KktCore, KktData};
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

/// The rows in `kept` (indices into the stack of all blocks).
fn gather(data: KktData<'_>, kept: &[usize]) -> Result<Matrix, Error> {
    let mut position = vec![usize::MAX; data.m()];
    kept.iter().enumerate().for_each(|(k, &row)| position[row] = k);
    if data.has_sparse_rows() {
        let mut triplets = Vec::new();
        data.for_each_row_entry(|i, j, v| {
            if position[i] != usize::MAX {
                triplets.push((position[i], j, v));
            }
        });
        return Ok(Matrix::Sparse(Csc::from_triplets(kept.len(), data.n(), &triplets)?));
    }
    let mut out = faer::Mat::zeros(kept.len(), data.n());
    data.for_each_row_entry(|i, j, v| {
        if position[i] != usize::MAX {
            out[(position[i], j)] = v;
        }
    });
    Ok(Matrix::from(out))
}

impl BackwardSolver for FirstOrder {
    fn prepare(&mut self, system: &BackwardQp<'_>, _core: Option<&KktCore>) -> Result<(), Error> {
        let n = system.data.n();
        let soft = |d: &f64| d.is_finite() && *d != 0.0;
        if system.dx.iter().any(soft) || system.dc.iter().any(soft) {
            let what = "smoothing, or a curved cone, with the first-order backward solver".to_owned();
            return Err(Error::Unsupported { what, advice: "use the direct backward solver" });
        }
        self.rows.clear();
        self.rows.extend((0..system.dc.len()).filter(|&i| system.dc[i] == 0.0));
        let side = |sign: f64| -> Vec<f64> {
            system.dx.iter().map(|&d| if d == f64::INFINITY { 0.0 } else { sign * f64::INFINITY }).collect()
        };
        let mut problem = Qp::of_shared(system.data.p.clone(), vec![0.0; n]).bounds(side(-1.0), side(1.0))?;
        problem = problem.equality(gather(system.data, &self.rows)?, vec![0.0; self.rows.len()])?;
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
