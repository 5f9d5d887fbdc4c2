//! Are the numbers that a program gives numbers? The first that is not, in words.

use super::{Expansion, Values};

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
    let rows = [("c", &at.equality), ("g", &at.inequality)];
    let good = at.gradient.iter().all(|v| v.is_finite())
        && rows.iter().all(|&(name, m)| m.nrows() == 0 || m.check_finite(name).is_ok());
    if good && at.hessian.check_finite("H").is_ok() {
        return None;
    }
    if let Some(j) = at.gradient.iter().position(|v| !v.is_finite()) {
        return Some(format!("the gradient of f has {} for x[{j}]", at.gradient[j]));
    }
    for (name, m) in rows {
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
    Some("the Hessian of the Lagrangian has an entry that is not finite".to_owned())
}
