//! The linear system of each iteration,
//!
//! ```text
//! [ P  E'  R' ] [x]   [f]
//! [ E  0   0  ] [y] = [g]
//! [ R  0  -H  ] [z]   [k]
//! ```
//!
//! solved with a condensed and, where it may be singular, slightly regularized factorization, and refined as it stands.

use super::dense::Dense;
use super::program::Program;
use super::scaling::Scaling;
use super::separable::Separable;
use super::sparse::Sparse;
use crate::Error;
use crate::matrix::{Csc, Matrix, nan_max, norm_inf};

/// Residuals at which refinement ends, absolute and relative to the right-hand side; steps at most; and by how much each has
/// to shrink them.
const ABSOLUTE: f64 = 1e-12;
const RELATIVE: f64 = 1e-13;
const STEPS: usize = 8;
const SHRINK: f64 = 0.3;
/// What a solve may leave of a right-hand side where the next one is taken to leave as much of that, and what of it may be
/// left then.
const SMALL: f64 = 1e-4;
const SURE: f64 = 1e-2;

/// The factorization that suits the data.
pub(super) enum Factor {
    Dense(Box<Dense>),
    Sparse(Box<Sparse>),
    Separable(Box<Separable>),
}

impl Factor {
    fn solve(&mut self, program: &mut Program, scaling: &mut Scaling, parts: Parts<'_>) {
        match self {
            Factor::Dense(own) => own.solve(program, scaling, parts),
            Factor::Sparse(own) => own.solve(program, scaling, parts),
            Factor::Separable(own) => own.solve(program, scaling, parts),
        }
    }
}

/// The largest number of entries of the dense matrices that are kept for the cones.
const TABLES: usize = 4_000_000;

/// The largest order of a dense matrix that is taken for sparse data.
const LARGE: usize = 2000;

/// True if dense factors are the cheaper ones.
fn is_dense(program: &Program) -> bool {
    let qp = program.qp();
    let (n, rows) = (program.n(), program.b.len() + program.h.len());
    let curved = qp.cones().len();
    if n.saturating_mul(n).saturating_mul(curved) > TABLES {
        return false;
    }
    let data = qp.kkt();
    if qp.p().as_dense().is_some() && !(data.has_sparse_rows() && n + rows > 400) {
        return true;
    }
    if n <= 12 {
        return true;
    }
    let mut stored = qp.p().stored();
    let mut in_row = vec![0_usize; data.m()];
    data.for_each_row_entry(|i, _, v| in_row[i] += usize::from(v != 0.0));
    stored += in_row.iter().sum::<usize>();
    // rows of cones are condensed: full ones fill the matrix of the variables
    let filled = in_row[data.m() - qp.n_cone()..].iter().filter(|count| 2 * **count > n).count();
    (n <= 400 && 10 * stored > n * (n + rows)) || (n <= LARGE && filled > n.min(8 * curved + 8))
}

/// Where the entries of the rows of one cone are: column, and its range in the values.
pub(super) type Support = Vec<(usize, std::ops::Range<usize>)>;

/// C by columns, all of it where it is dense unless `zeros` may go, and the support of each cone.
pub(super) fn columns(c: &Matrix, scaling: &Scaling, zeros: bool) -> (Csc, Vec<Support>) {
    let csc = match c {
        Matrix::Sparse(s) => s.clone(),
        Matrix::Dense(m) => {
            let (rows, cols) = m.shape();
            let (mut indptr, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
            for j in 0..cols {
                let kept = m.col_as_slice(j).iter().enumerate().filter(|(_, v)| zeros || **v != 0.0);
                kept.for_each(|(i, &v)| {
                    indices.push(i);
                    values.push(v);
                });
                indptr.push(indices.len());
            }
            Csc::new(rows, cols, indptr, indices, values).unwrap_or_else(|_| Csc::from_dense(&m.to_mat()))
        }
    };
    let supports = scaling.blocks.iter().map(|block| {
        let (start, end) = (block.rows.start - scaling.linear, block.rows.end - scaling.linear);
        let of_column = |j: usize| {
            let (from, to) = (csc.indptr()[j], csc.indptr()[j + 1]);
            let rows = &csc.indices()[from..to];
            (j, from + rows.partition_point(|&i| i < start)..from + rows.partition_point(|&i| i < end))
        };
        (0..csc.ncols()).map(of_column).filter(|(_, range)| !range.is_empty()).collect()
    });
    let supports = supports.collect();
    (csc, supports)
}

/// The factorization with what refinement needs.
pub(super) struct System {
    factor: Factor,
    rhs: [Vec<f64>; 3],
    left: [Vec<f64>; 3],
    best: [Vec<f64>; 3],
    hz: Vec<f64>,
    /// The part of a right-hand side that one solve with the factors at hand left; infinite where that tells nothing of others:
    /// of condensed cones and regularized factors some directions are far worse than most.
    left_over: f64,
    telling: bool,
}

/// Most programs have no rows of some kind, and a copy of nothing is a call all the same.
fn copy(out: &mut [f64], v: &[f64]) {
    if !v.is_empty() {
        out.copy_from_slice(v);
    }
}

/// A vector of the system by its parts.
pub(super) type Parts<'a> = [&'a mut [f64]; 3];

impl System {
    pub fn new(program: &Program, scaling: &Scaling) -> Result<Self, Error> {
        let factor = if let Some(own) = Separable::new(program, scaling) {
            Factor::Separable(Box::new(own))
        } else if is_dense(program) {
            Factor::Dense(Box::new(Dense::new(program, scaling)))
        } else {
            Factor::Sparse(Box::new(Sparse::new(program, scaling)?))
        };
        let v = || [vec![0.0; program.n()], vec![0.0; program.b.len()], vec![0.0; program.h.len()]];
        let hz = vec![0.0; program.h.len()];
        let telling = matches!(factor, Factor::Separable(_));
        Ok(System { factor, rhs: v(), left: v(), best: v(), hz, left_over: f64::INFINITY, telling })
    }

    /// Takes the numbers of the program: of P, of its rows.
    pub fn load(&mut self, program: &Program, scaling: &Scaling, (hessian, rows): (bool, bool)) {
        if hessian || rows {
            match &mut self.factor {
                Factor::Dense(own) => own.load(program, scaling, rows),
                Factor::Sparse(own) => own.load(program, scaling),
                Factor::Separable(own) => own.load(program, scaling, rows),
            }
        }
    }

    /// Begins a solve as if it were the first one.
    pub fn start(&mut self) {
        if let Factor::Dense(own) = &mut self.factor {
            own.start();
        }
    }

    /// Factors at this scaling.
    pub fn factor(&mut self, program: &mut Program, scaling: &mut Scaling) -> bool {
        self.left_over = f64::INFINITY;
        match &mut self.factor {
            Factor::Dense(own) => own.factor(program, scaling),
            Factor::Sparse(own) => own.factor(program, scaling),
            Factor::Separable(own) => own.factor(program, scaling),
        }
    }

    fn solve_once(&mut self, program: &mut Program, scaling: &mut Scaling) {
        let [x, y, z] = &mut self.left;
        self.factor.solve(program, scaling, [x, y, z]);
    }

    /// Solves in place, the rows of the cones to this accuracy in scaled units; false if the solution is no number.
    pub fn solve(&mut self, program: &mut Program, scaling: &mut Scaling, accuracy: f64, parts: Parts<'_>) -> bool {
        let mut size = 0.0_f64;
        for (rhs, part) in self.rhs.iter_mut().zip(&parts) {
            copy(rhs, part);
            size = nan_max(size, norm_inf(part));
        }
        let enough = ABSOLUTE + RELATIVE * size;
        let [x, y, z] = parts;
        self.factor.solve(program, scaling, [x, y, z]);
        let mut last = self.residual(program, scaling, enough / accuracy, (x, y, z));
        if !last.is_finite() {
            return false;
        }
        // what one solve leaves of a right-hand side
        if self.telling {
            self.left_over = if size > 0.0 { last / size } else { 0.0 };
        }
        for _ in 1..STEPS {
            if last <= enough {
                break;
            }
            self.solve_once(program, scaling);
            let sure = self.left_over <= SMALL && last * self.left_over <= SURE * enough;
            for ((best, part), step) in self.best.iter_mut().zip([&mut *x, &mut *y, &mut *z]).zip(&self.left) {
                copy(best, part);
                part.iter_mut().zip(step).for_each(|(part, step)| *part += step);
            }
            if sure {
                break;
            }
            let error = self.residual(program, scaling, enough / accuracy, (x, y, z));
            if !error.is_finite() || error > last {
                // the step made it worse
                for (best, part) in self.best.iter().zip([&mut *x, &mut *y, &mut *z]) {
                    part.copy_from_slice(best);
                }
                break;
            }
            if error > SHRINK * last {
                break;
            }
            last = error;
        }
        true
    }

    /// The same to a few digits, where these factors were seen to give them at once.
    pub fn solve_roughly(
        &mut self,
        program: &mut Program,
        scaling: &mut Scaling,
        accuracy: f64,
        parts: Parts<'_>,
    ) -> bool {
        if self.left_over > SMALL {
            return self.solve(program, scaling, accuracy, parts);
        }
        self.factor.solve(program, scaling, parts);
        true
    }

    /// What is left of the right-hand side, into `left`.
    fn residual(
        &mut self,
        program: &mut Program,
        scaling: &mut Scaling,
        weight: f64,
        (x, y, z): (&[f64], &[f64], &[f64]),
    ) -> f64 {
        let [f, g, k] = &mut self.left;
        copy(f, &self.rhs[0]);
        copy(g, &self.rhs[1]);
        copy(k, &self.rhs[2]);
        program.p_mul_add(-1.0, x, f);
        program.e_tmul_add(-1.0, y, f);
        program.r_tmul_add(-1.0, z, f);
        program.e_mul_add(-1.0, x, g);
        program.r_mul_add(-1.0, x, k);
        scaling.mul(z, &mut self.hz);
        k.iter_mut().zip(&self.hz).for_each(|(k, hz)| *k += hz);
        self.hz.copy_from_slice(k);
        scaling.unscale(&mut self.hz);
        nan_max(nan_max(norm_inf(f), norm_inf(g)), weight * norm_inf(&self.hz))
    }
}
