//! The blocks of a quadratic program, and the arrays that may replace them.

use super::Entries;
use crate::matrix::columns::column;
use crate::{Gradient, Hessian, Matrix};
use faer::{Mat, MatRef};
use std::fmt;

/// A block of the problem `min 1/2 x'Px + q'x, A x = b, G x <= h, lb <= x <= ub`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Block {
    /// The Hessian, n x n.
    P,
    /// The linear term, n.
    Q,
    /// The equality matrix, m x n.
    A,
    /// The right-hand side of the equalities, m.
    B,
    /// The inequality matrix, p x n.
    G,
    /// The right-hand side of the inequalities, p.
    H,
    /// Lower bounds, n.
    Lb,
    /// Upper bounds, n.
    Ub,
    /// The diagonal of a factored Hessian `P = diag(d) + F F'`, n.
    D,
    /// Its factor, n x r.
    F,
}

/// How many blocks there are.
pub const BLOCKS: usize = 10;

impl Block {
    /// Every block, in the order in which the operation takes them.
    pub const ALL: [Block; BLOCKS] =
        [Block::P, Block::Q, Block::A, Block::B, Block::G, Block::H, Block::Lb, Block::Ub, Block::D, Block::F];

    /// The name as the API prints it.
    pub fn name(self) -> &'static str {
        match self {
            Block::P => "P",
            Block::Q => "q",
            Block::A => "A",
            Block::B => "b",
            Block::G => "G",
            Block::H => "h",
            Block::Lb => "lb",
            Block::Ub => "ub",
            Block::D => "d",
            Block::F => "F",
        }
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Row-major numbers that replace a block: of one instance, shared by the batch, or after a batch dimension.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// The shape, batch dimension included if there is one.
    pub shape: Vec<usize>,
    /// Its entries.
    pub values: Vec<f64>,
    /// Will its gradient be asked for?
    pub tracked: bool,
}

/// The arrays of one call, in the order of [`Block::ALL`].
pub type Arrays = [Option<Array>; BLOCKS];

fn add(out: &mut [f64], values: &[f64]) {
    for (slot, value) in out.iter_mut().zip(values) {
        *slot += value;
    }
}

/// A matrix by its rows.
fn add_rows(out: &mut [f64], m: MatRef<'_, f64>) {
    let cols = m.ncols();
    for j in 0..cols {
        for (row, value) in out.chunks_exact_mut(cols).zip(column(m, j, 0)) {
            row[j] += value;
        }
    }
}

/// A symmetric matrix, whose columns are its rows.
fn add_symmetric(out: &mut [f64], m: &Mat<f64>) {
    for (j, row) in out.chunks_exact_mut(m.ncols().max(1)).enumerate() {
        add(row, m.col_as_slice(j));
    }
}

fn add_matrix(out: &mut [f64], m: Option<&Matrix>) {
    match m {
        Some(Matrix::Dense(m)) => add_rows(out, m.as_ref()),
        Some(Matrix::Sparse(m)) => add(out, m.values()),
        None => {}
    }
}

/// The blocks are those of [`Block::ALL`]: `P` in full, its stored entries, or its diagonal, as its structure is.
impl Entries for Gradient {
    fn add_to(&self, block: usize, out: &mut [f64]) {
        let vector = |out: &mut [f64], v: &Option<Vec<f64>>| add(out, v.as_deref().unwrap_or(&[]));
        match (Block::ALL[block], &self.p) {
            (Block::P, Some(Hessian::Dense(m))) => add(out, m.values()),
            (Block::P, Some(Hessian::Sparse(m))) => add(out, m.values()),
            (Block::P, Some(Hessian::Diagonal(d))) => add(out, d),
            (Block::P, Some(Hessian::BlockDiagonal(_))) => {
                self.p.iter().for_each(|p| add_symmetric(out, &p.to_dense()))
            }
            (Block::P, Some(Hessian::Zero(_) | Hessian::LowRank { .. }) | None) => {}
            (Block::D, Some(Hessian::LowRank { d, .. })) => add(out, d),
            (Block::F, Some(Hessian::LowRank { f, .. })) => add_rows(out, f.as_ref()),
            (Block::D | Block::F, _) => {}
            (Block::Q, _) => vector(out, &self.q),
            (Block::A, _) => add_matrix(out, self.a.as_ref()),
            (Block::B, _) => vector(out, &self.b),
            (Block::G, _) => add_matrix(out, self.g.as_ref()),
            (Block::H, _) => vector(out, &self.h),
            (Block::Lb, _) => vector(out, &self.lb),
            (Block::Ub, _) => vector(out, &self.ub),
        }
    }
}
