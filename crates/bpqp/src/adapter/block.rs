//! The blocks of a quadratic program, and the arrays that may replace them.

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
