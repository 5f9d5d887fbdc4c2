//! Rows with one entry are bounds, and a solver has less to factor: `v x_j <= h` is `x_j <= h/v`, or `x_j >= h/v` where v is
//! negative. The point that comes back has the multipliers of the rows as they were given.

use crate::residuals::Point;
use crate::{Certificate, Matrix, Qp};
use std::sync::Arc;

const NONE: usize = usize::MAX;

/// A problem without the rows of `G` that are bounds.
pub(super) struct Bounded {
    /// The rows that were taken apart.
    of: Arc<Matrix>,
    /// Row, column and entry of those that are bounds; the others.
    single: Vec<(usize, usize, f64)>,
    kept: Vec<usize>,
    /// The row that is the bound of each variable and its entry, where it is tighter than the variable's own.
    lower: Vec<(usize, f64)>,
    upper: Vec<(usize, f64)>,
    pub qp: Qp,
    /// The problem before the last one, to be written again: whoever has the last one has let go of it.
    spare: Option<Qp>,
    z: Vec<f64>,
}

/// The numbers of a vector that nobody else has; of another vector of that length, otherwise.
fn own(v: &mut Arc<[f64]>, len: usize) -> &mut [f64] {
    if v.len() != len || Arc::get_mut(v).is_none() {
        *v = vec![0.0; len].into();
    }
    Arc::get_mut(v).unwrap_or(&mut [])
}

impl Bounded {
    /// Of a problem with rows of which some have one entry; `None` of any other, and where such rows contradict each
    /// other or a bound: the proof of that is theirs. What `last` found out about the same matrix is not looked for again.
    pub fn of(qp: &Qp, last: Option<Bounded>) -> Option<Self> {
        let last = last.filter(|last| Arc::ptr_eq(&last.of, &qp.g));
        let mut out = match last {
            Some(last) => last,
            None => Self::apart(qp)?,
        };
        out.lower.fill((NONE, 1.0));
        out.upper.fill((NONE, 1.0));
        let mut next = out.spare.take().unwrap_or_else(|| out.qp.clone());
        let (blocks, n) = (&mut *next, qp.n());
        let (h, lb, ub) = (own(&mut blocks.h, out.kept.len()), own(&mut blocks.lb, n), own(&mut blocks.ub, n));
        h.iter_mut().zip(&out.kept).for_each(|(h, &i)| *h = qp.h[i]);
        lb.copy_from_slice(&qp.lb);
        ub.copy_from_slice(&qp.ub);
        for &(i, j, v) in &out.single {
            let (bound, up) = (qp.h[i] / v, v > 0.0);
            if up && bound < ub[j] {
                (ub[j], out.upper[j]) = (bound, (i, v));
            } else if !up && bound > lb[j] {
                (lb[j], out.lower[j]) = (bound, (i, -v));
            }
        }
        if lb.iter().zip(&*ub).any(|(lb, ub)| lb > ub) {
            return None;
        }
        (blocks.p, blocks.q, blocks.a, blocks.b) = (qp.p.clone(), qp.q.clone(), qp.a.clone(), qp.b.clone());
        out.spare = Some(std::mem::replace(&mut out.qp, next));
        Some(out)
    }

    /// True if a row has one entry.
    pub fn any(g: &Matrix) -> bool {
        g.entries_of_rows().contains(&1)
    }

    fn apart(qp: &Qp) -> Option<Self> {
        let entries = qp.g.entries_of_rows();
        let mut single = Vec::new();
        qp.g.for_each(|i, j, v| {
            if entries[i] == 1 && v != 0.0 {
                single.push((i, j, v));
            }
        });
        if single.is_empty() {
            return None;
        }
        single.sort_unstable_by_key(|(i, _, _)| *i);
        let kept: Vec<usize> = (0..entries.len()).filter(|&i| entries[i] != 1).collect();
        let rest = qp.g.select_rows(&kept);
        let (of, n) = (qp.g.clone(), qp.n());
        let mut qp = qp.clone();
        (qp.g, qp.analysis) = (Arc::new(rest), Default::default());
        let (lower, upper) = (vec![(NONE, 1.0); n], vec![(NONE, 1.0); n]);
        Some(Bounded { of, single, kept, lower, upper, qp, spare: None, z: Vec::new() })
    }

    /// Takes the rows out of a point that has them all: their multipliers are those of bounds.
    pub fn reduce(&mut self, point: &mut Point) {
        if point.z.len() != self.of.nrows() || point.z_box.len() != self.qp.n() {
            return;
        }
        for &(i, j, v) in &self.single {
            point.z_box[j] += v * point.z[i];
        }
        self.z.clear();
        self.z.extend(self.kept.iter().map(|&i| point.z[i]));
        std::mem::swap(&mut point.z, &mut self.z);
    }

    /// Gives a point the rows that were taken out of the problem.
    pub fn restore(&mut self, point: &mut Point) {
        // a solver that failed may have written nothing
        if point.z.len() != self.kept.len() {
            return;
        }
        self.z.clone_from(&point.z);
        point.z.clear();
        point.z.resize(self.of.nrows(), 0.0);
        self.kept.iter().zip(&self.z).for_each(|(&i, z)| point.z[i] = *z);
        for ((z, lower), upper) in point.z_box.iter_mut().zip(&self.lower).zip(&self.upper) {
            let (row, v) = if *z > 0.0 { *upper } else { *lower };
            if *z != 0.0 && row != NONE {
                point.z[row] = z.abs() / v;
                *z = 0.0;
            }
        }
    }

    /// The same of a proof.
    pub fn restore_proof(&mut self, certificate: &mut Option<Certificate>) {
        if let Some(Certificate::PrimalInfeasible(point)) = certificate {
            self.restore(point);
        }
    }
}
