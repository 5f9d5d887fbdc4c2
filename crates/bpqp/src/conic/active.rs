//! What is binding, in the rows of the caller.

use super::Conic;
use super::form::{Form, Role, is_half_line};
use crate::active::{ActiveSet, Side};
use crate::cones::{Face, blocks};

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
    /// What is active at `x`, in the rows of the caller.
    pub fn active(&self, conic: &Conic, x: &[f64], active: &ActiveSet) -> ConicActive {
        let of = |flags: &[bool], i: usize| flags.get(i) == Some(&true);
        let side = |k: usize| active.bound.get(k).copied().unwrap_or(Side::Free);
        let at = [|s: Side| matches!(s, Side::Lower | Side::Fixed), |s: Side| matches!(s, Side::Upper | Side::Fixed)];
        // a bound that holds weakly is the nearer one
        let row_bound = |k: usize, own: usize| match self.owners[k][own] {
            Some(row) => match self.roles[row] {
                Role::Lower(_, entry) | Role::Upper(_, entry) => conic.b()[row] / conic.a().values()[entry],
                _ => f64::NAN,
            },
            None if own == 0 => conic.lb()[k],
            None => conic.ub()[k],
        };
        let weak = |k: usize, own: usize| {
            let at = x.get(k).copied().unwrap_or(f64::NAN);
            let lower = (at - row_bound(k, 0)).abs() <= (row_bound(k, 1) - at).abs();
            of(&active.weak_bound, k) && lower == (own == 0)
        };
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
                let (held, weakly) = match self.roles[i] {
                    Role::Equality(_) => (true, false),
                    Role::Inequality(i) => (of(&active.g, i), of(&active.weak_g, i)),
                    Role::Lower(k, _) => (at[0](side(k)), weak(k, 0)),
                    Role::Upper(k, _) => (at[1](side(k)), weak(k, 1)),
                    Role::Cone(_) => (false, false),
                };
                out.rows.push(held);
                out.weak_rows.push(weakly);
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
            out.weak_lower.push(own(0) && weak(k, 0));
            out.weak_upper.push(own(1) && weak(k, 1));
        }
        out
    }
}
