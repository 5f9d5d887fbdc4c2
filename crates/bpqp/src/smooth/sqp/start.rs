//! Where the iteration begins.

use super::super::interior::Reached;
use crate::active::{ActiveSet, Side};

/// Where the iteration begins.
pub(in crate::smooth) struct Start {
    pub x: Vec<f64>,
    pub multipliers: Option<(Vec<f64>, Vec<f64>)>,
    pub z_box: Option<Vec<f64>>,
    pub set: Option<ActiveSet>,
    pub steps: usize,
}

impl Start {
    pub fn new(x: &[f64], multipliers: Option<(&[f64], &[f64])>) -> Self {
        let multipliers = multipliers.map(|(y, z)| (y.to_vec(), z.to_vec()));
        Start { x: x.to_vec(), multipliers, z_box: None, set: None, steps: 0 }
    }

    /// From a solution of the interior point: its active set is that of the first model.
    pub fn from_interior(reached: Reached, bounds: (&[f64], &[f64])) -> Self {
        let (rows, sides) = reached.active(1.0, bounds);
        let n = sides.len();
        let z = reached.z.iter().zip(&rows).map(|(z, active)| if *active { *z } else { 0.0 }).collect();
        let held = |side: &Side| matches!(side, Side::Lower | Side::Upper);
        let z_box = reached.z_box.iter().zip(&sides).map(|(z, side)| if held(side) { *z } else { 0.0 }).collect();
        let weak = (vec![false; rows.len()], vec![false; n]);
        Start {
            x: reached.x,
            multipliers: Some((reached.y, z)),
            z_box: Some(z_box),
            set: Some(ActiveSet::new((rows, weak.0), (sides, weak.1))),
            steps: reached.steps,
        }
    }
}
