//! Where a product of cones is: the face of each one, by its directions and their curvatures.

use super::{Basis, Block, Cone, Tolerance};

/// Where every cone is: directions and curvatures.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Faces {
    /// One per cone.
    pub bases: Vec<Basis>,
    /// One per row, in the order of the directions: 0 free, `inf` pinned.
    pub curvature: Vec<f64>,
    /// One per cone: on a kink.
    pub weak: Vec<bool>,
}

// by hand: a derived `clone_from` allocates anew
impl Clone for Faces {
    fn clone(&self) -> Self {
        Faces { bases: self.bases.clone(), curvature: self.curvature.clone(), weak: self.weak.clone() }
    }

    fn clone_from(&mut self, source: &Self) {
        self.bases.clone_from(&source.bases);
        self.curvature.clone_from(&source.curvature);
        self.weak.clone_from(&source.weak);
    }
}

/// Where a cone is on its way from inside to its apex.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Face {
    /// Inside: the constraint is inactive.
    Interior,
    /// On the boundary.
    Boundary,
    /// At the apex, all slacks zero: every row is active.
    Apex,
}

impl Faces {
    /// `D Pi_K` along a direction: `d = 1/(1 + c)`, and `1 - d`.
    pub fn shares(c: f64) -> (f64, f64) {
        if c == f64::INFINITY { (0.0, 1.0) } else { (1.0 / (1.0 + c), c / (1.0 + c)) }
    }

    /// Every cone inside: nothing is active.
    pub fn release(&mut self, cones: &[Cone]) {
        self.bases.clear();
        self.bases.resize(cones.len(), Basis::Rows);
        self.weak.clear();
        self.weak.resize(cones.len(), false);
        self.curvature.clear();
        self.curvature.resize(cones.iter().map(Cone::rows).sum(), 0.0);
    }

    /// Makes `(s, y)` of every cone complementary, by the projection of `v = s - unit y`, and says where they are. `v` is
    /// scratch; `tolerance` has an entry per row.
    pub fn split(
        &mut self,
        cones: &[Cone],
        unit: f64,
        tolerance: &[Tolerance],
        v: &mut Vec<f64>,
        (s, y): (&mut [f64], &mut [f64]),
    ) {
        v.clear();
        v.extend(s.iter().zip(y.iter()).map(|(s, y)| s - unit * y));
        self.curvature.clear();
        self.curvature.resize(v.len(), 0.0);
        self.bases.resize(cones.len(), Basis::Rows);
        self.weak.resize(cones.len(), false);
        for (k, rows) in blocks(cones) {
            let block = Block {
                s: &mut s[rows.clone()],
                y: &mut y[rows.clone()],
                curvature: &mut self.curvature[rows.clone()],
            };
            let split = cones[k].split(&v[rows.clone()], &tolerance[rows], block);
            self.bases[k] = split.basis;
            self.weak[k] = split.weak && !matches!(cones[k], Cone::Zero(_));
        }
        y.iter_mut().for_each(|y| *y /= unit);
        self.curvature.iter_mut().for_each(|c| *c /= unit);
    }

    /// The face of one cone, by the curvature of its rows.
    pub fn of(curvature: &[f64]) -> Face {
        if curvature.iter().all(|&c| c == 0.0) {
            Face::Interior
        } else if curvature.iter().all(|&c| c == f64::INFINITY) {
            Face::Apex
        } else {
            Face::Boundary
        }
    }
}

/// `cones` with the rows of each.
pub(crate) fn blocks(cones: &[Cone]) -> impl Iterator<Item = (usize, std::ops::Range<usize>)> + '_ {
    let mut start = 0;
    cones.iter().enumerate().map(move |(k, cone)| {
        let rows = start..start + cone.rows();
        start = rows.end;
        (k, rows)
    })
}
