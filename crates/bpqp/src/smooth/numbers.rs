//! Are the numbers that a program gives numbers? The first that is not, in words.

use super::{Expansion, Values};
use crate::matrix::Hessian;

/// The first entry that is not finite, by function.
pub(super) fn bad_value(values: &Values) -> Option<String> {
    if !values.objective.is_finite() {
        return Some(format!("f is {}", values.objective));
    }
    let named = [("c", &values.equality), ("g", &values.inequality)];
    named.iter().find_map(|(name, v)| {
        let i = v.iter().position(|v| !v.is_finite())?;
        Some(format!("{name}[{i}] is {}", v[i]))
    })
}

pub(super) fn bad_expansion(at: &Expansion) -> Option<String> {
    if let Some(j) = at.gradient.iter().position(|v| !v.is_finite()) {
        return Some(format!("the gradient of f has {} for x[{j}]", at.gradient[j]));
    }
    for (name, m) in [("c", &at.equality), ("g", &at.inequality)] {
        let mut found = None;
        m.for_each(|i, j, v| {
            if found.is_none() && !v.is_finite() {
                found = Some(format!("the Jacobian of {name} has {v} at ({i}, {j})"));
            }
        });
        if found.is_some() {
            return found;
        }
    }
    (!finite(&at.hessian)).then(|| "the Hessian of the Lagrangian has an entry that is not finite".to_owned())
}

/// Whether the curvature at a point is that of a matrix at all.
fn finite(h: &Hessian) -> bool {
    let mut finite = true;
    match h {
        Hessian::Sparse(m) => finite = m.values().iter().all(|v| v.is_finite()),
        other => {
            let dense = other.to_dense();
            for j in 0..dense.ncols() {
                finite &= dense.col_as_slice(j).iter().all(|v| v.is_finite());
            }
        }
    }
    finite
}
