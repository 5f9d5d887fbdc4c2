//! What is binding, in the rows of the caller.

use super::Conic;
use super::form::{Form, Role, is_half_line};
use crate::active::{ActiveSet, Side};
use crate::cones::{Cone, Face, blocks};

/// What is active of a conic program, in the order of its rows, cones and variables.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ConicActive {
    /// Per row: its slack is held at zero; of a curved cone, the cone is not in its interior.
    pub rows: Vec<bool>,
    /// Per row: it is held only weakly, or its curved cone is on a kink.
    pub weak_rows: Vec<bool>,
    /// Where each cone is; of linear constraints, `Apex` is every row active.
    pub cones: Vec<Face>,
    /// Per cone: a row of it is weakly active, or it is on a kink.
    pub weak_cones: Vec<bool>,
    /// Per variable: it is held at its lower bound.
    pub lower: Vec<bool>,
    /// The same, only weakly.
    pub weak_lower: Vec<bool>,
    /// Per variable: it is held at its upper bound.
    pub upper: Vec<bool>,
    /// The same, only weakly.
    pub weak_upper: Vec<bool>,
}

impl Form {
    /// True if a bound of variable k is weakly active, and it is this one: the nearer one at `x`.
    fn weak_bound(&self, conic: &Conic, (x, active): (&[f64], &ActiveSet), k: usize, own: usize) -> bool {
        let row_bound = |own: usize| match self.owners[k][own] {
            Some(row) => match self.roles[row] {
                Role::Lower(_, entry) | Role::Upper(_, entry) => conic.b()[row] / conic.a().values()[entry],
                _ => f64::NAN,
            },
            None if own == 0 => conic.lb()[k],
            None => conic.ub()[k],
        };
        active.weak_bound.get(k) == Some(&true) && {
            let at = x.get(k).copied().unwrap_or(f64::NAN);
            ((at - row_bound(0)).abs() <= (row_bound(1) - at).abs()) == (own == 0)
        }
    }

    /// True if a row of linear constraints is weakly active at `x`.
    fn weak_row(&self, conic: &Conic, at: (&[f64], &ActiveSet), i: usize) -> bool {
        match self.roles[i] {
            Role::Inequality(i) => at.1.weak_g.get(i) == Some(&true),
            Role::Lower(k, _) => self.weak_bound(conic, at, k, 0),
            Role::Upper(k, _) => self.weak_bound(conic, at, k, 1),
            Role::Equality(_) | Role::Cone(_) => false,
        }
    }

    /// Per cone of the caller: a row of it is weakly active, or it is on a kink.
    pub fn weak_cones(&self, conic: &Conic, x: &[f64], active: &ActiveSet) -> Vec<bool> {
        let mut kinks = active.weak_cone().iter();
        let weak = |(k, mut rows): (usize, std::ops::Range<usize>)| {
            let cone: &Cone = &conic.cones()[k];
            if cone.is_polyhedral() || is_half_line(cone) {
                rows.any(|i| self.weak_row(conic, (x, active), i))
            } else {
                kinks.next() == Some(&true)
            }
        };
        blocks(conic.cones()).map(weak).collect()
    }

    /// What is active at `x`, in the rows of the caller.
    pub fn active(&self, conic: &Conic, x: &[f64], active: &ActiveSet) -> ConicActive {
        let side = |k: usize| active.bound.get(k).copied().unwrap_or(Side::Free);
        let at = [|s: Side| matches!(s, Side::Lower | Side::Fixed), |s: Side| matches!(s, Side::Upper | Side::Fixed)];
        let mut faces = active.cone_faces(self.curved_cones());
        let mut kinks = active.weak_cone().iter();
        let mut out = ConicActive::default();
        for (k, rows) in blocks(conic.cones()) {
            let cone = &conic.cones()[k];
            let count = rows.len();
            if !(cone.is_polyhedral() || is_half_line(cone)) {
                let face = faces.next().unwrap_or(Face::Interior);
                let kink = kinks.next() == Some(&true);
                out.rows.resize(out.rows.len() + count, face != Face::Interior);
                out.weak_rows.resize(out.weak_rows.len() + count, kink);
                out.cones.push(face);
                out.weak_cones.push(kink);
                continue;
            }
            let start = out.rows.len();
            for i in rows {
                out.rows.push(match self.roles[i] {
                    Role::Equality(_) => true,
                    Role::Inequality(i) => active.g.get(i) == Some(&true),
                    Role::Lower(k, _) => at[0](side(k)),
                    Role::Upper(k, _) => at[1](side(k)),
                    Role::Cone(_) => false,
                });
                out.weak_rows.push(self.weak_row(conic, (x, active), i));
            }
            let held = out.rows[start..].iter().filter(|held| **held).count();
            out.cones.push(match held {
                0 => Face::Interior,
                held if held == count => Face::Apex,
                _ => Face::Boundary,
            });
            out.weak_cones.push(out.weak_rows[start..].contains(&true));
        }
        for k in 0..conic.n() {
            let own = |side: usize| self.owners[k][side].is_none();
            out.lower.push(own(0) && at[0](side(k)));
            out.upper.push(own(1) && at[1](side(k)));
            out.weak_lower.push(own(0) && self.weak_bound(conic, (x, active), k, 0));
            out.weak_upper.push(own(1) && self.weak_bound(conic, (x, active), k, 1));
        }
        out
    }
}
