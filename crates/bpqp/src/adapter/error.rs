//! What a layer refuses, and which instances failed.

use super::Block;
use crate::{Error, Status};

/// Why a forward pass gave no tensor.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// A layer without instances.
    #[error("a layer needs at least one problem, got none")]
    NoProblem,
    /// The instances of a layer must have one shape.
    #[error(
        "problem {index} has {found:?} (variables, equalities, inequalities), problem 0 has {expected:?}: a layer holds problems of one shape"
    )]
    Sizes {
        /// Which problem.
        index: usize,
        /// Its sizes.
        found: (usize, usize, usize),
        /// The sizes of problem 0.
        expected: (usize, usize, usize),
    },
    /// An instance that the layer does not have.
    #[error("index[{position}] = {index}, but the layer has {instances} instances")]
    Index {
        /// Position in the list of instances.
        position: usize,
        /// The instance asked for.
        index: usize,
        /// The number of instances.
        instances: usize,
    },
    /// The same instance twice in one call.
    #[error(
        "index[{position}] = {index} occurs twice: one call solves an instance once, because it keeps one warm start for it"
    )]
    Repeated {
        /// Position of the second occurrence.
        position: usize,
        /// The instance.
        index: usize,
    },
    /// A tensor of the wrong shape.
    #[error("{block} has shape {found:?}, expected {expected:?}, or that after a batch dimension of {batch}")]
    Shape {
        /// Which argument.
        block: Block,
        /// Its shape.
        found: Vec<usize>,
        /// The shape of one instance.
        expected: Vec<usize>,
        /// The number of instances of the call.
        batch: usize,
    },
    /// The core refused the data of an instance, or its settings.
    #[error("instance {index}: {source}")]
    Problem {
        /// Which instance of the layer.
        index: usize,
        /// What was wrong.
        source: Error,
    },
    /// Some instances have no solution.
    #[error("{} of {batch} instances have no solution: {}; choose OnFailure::Nan or OnFailure::ZeroGradient to go on without them", failed.len(), list(failed))]
    Failed {
        /// The failing instances of the layer with what happened.
        failed: Vec<(usize, Status)>,
        /// The number of instances of the call.
        batch: usize,
    },
}

fn list(failed: &[(usize, Status)]) -> String {
    const SHOWN: usize = 5;
    let mut text: Vec<String> = failed.iter().take(SHOWN).map(|(i, s)| format!("instance {i} {s}")).collect();
    if failed.len() > SHOWN {
        text.push(format!("and {} more", failed.len() - SHOWN));
    }
    text.join(", ")
}
