//! Verdicts on derivatives as numbers: the place in `Verdict::NAMES`, with a flag where a user is to be told.

use bpqp::Accuracy;
use bpqp::{Status, Verdict};

/// Set where a derivative is not what was asked for: regularized, untrusted, or approximate beyond the tolerances.
pub const DOUBT: u8 = 0x80;

/// What stands for an instance without a derivative: that it has none is said elsewhere.
pub const NONE: u8 = 5;

/// The code of a verdict on a derivative at a solution of that status.
pub fn code(verdict: Verdict, status: Status) -> u8 {
    let doubt = match verdict {
        Verdict::Regularized | Verdict::Untrusted => true,
        // asked for with polish = False or a first-order method, to the tolerances
        Verdict::Approximate { .. } => status != Status::Solved,
        _ => false,
    };
    verdict.rank() as u8 | if doubt { DOUBT } else { 0 }
}

/// True if a user is to be told of one of them.
pub fn doubtful(codes: &[u8]) -> bool {
    codes.iter().any(|code| code & DOUBT != 0)
}

/// What was found by `examine`: the verdict, the condition of the backward system, the relative residual that its
/// regularization left, and whether its rows are dependent.
pub fn examined(found: Option<(Accuracy, f64, Verdict)>) -> (&'static str, f64, f64, bool) {
    match found {
        Some((accuracy, reciprocal, verdict)) => {
            let condition = if reciprocal > 0.0 { 1.0 / reciprocal } else { f64::NAN };
            (verdict.name(), condition, accuracy.residual, accuracy.deficient)
        }
        None => ("untrusted", f64::NAN, f64::NAN, false),
    }
}
