//! Small dense programs, one in each lane of the vector registers.
//!
//! At ten variables a solve is some thousand products, and a general solver spends most of its time between them. Here the
//! common case is one sweep of loops over all lanes: dense data, `P` positive definite, inequalities alone. The steps are those
//! of everyone: the multipliers by [block principal pivoting](crate::forward), the polish, its checks with the thresholds of the
//! [polish](crate::active). What is not clear by every one of them is nobody's answer: the layer solves it anew in the usual way,
//! as if nothing had been tried. A lane does not know what is in the others, so that a problem has one answer, alone or in any
//! batch; a layer solves its only problem here too.
//!
//! The factors are made again for the derivatives, in less time than reading them from memory would take: solutions of small
//! programs keep none.

mod kernels;
mod lanewise;
mod solve;

use crate::{ActiveSet, Hessian, Matrix, Point, Qp, Residuals, Settings};
use pulp::{Arch, Simd, WithSimd};
use solve::{Factor, SolveAll, SolveFor};
use std::sync::Arc;

/// Variables and rows up to which programs are small: twice as fast in groups at 20 + 20 and at 30 + 30, but there a program that
/// is solved alone takes 1.3 times as long, for the lanes beside it are empty.
const MOST: usize = 40;
/// Numbers that are left of each lane: the residuals before the polish and after it, and what else there is to tell.
const TOLD: usize = 21;

/// Programs of one shape, side by side.
#[derive(Debug)]
pub(crate) struct Small {
    n: usize,
    m: usize,
    lanes: usize,
    buffer: Vec<f64>,
    /// The matrices that all lanes have, their factors included.
    shared: Option<(Arc<Hessian>, Arc<Matrix>)>,
}

/// Where the arrays begin, in vectors: those of the data, of the factors, and the vectors of a solve.
#[derive(Debug, Clone, Copy)]
struct Places {
    p: usize,
    g: usize,
    q: usize,
    h: usize,
    active: usize,
    x: usize,
    z: usize,
    w: usize,
    v: usize,
    told: usize,
    used: usize,
    rest: usize,
    end: usize,
}

fn places(n: usize, m: usize) -> Places {
    let p = 0;
    let g = p + n * n;
    let q = g + m * n;
    let h = q + n;
    let active = h + m;
    let x = active + m;
    let z = x + n;
    let w = z + m;
    let v = w + n;
    let told = v + m;
    let used = told + TOLD;
    let rest = used + 1;
    // L and Y, their pivots, M, the factor of its active part, and vectors
    let end = rest + (n + m) * n + n + 2 * m * m + m + 3 * n + 4 * m;
    Places { p, g, q, h, active, x, z, w, v, told, used, rest, end }
}

struct Lanes;

impl WithSimd for Lanes {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> usize {
        S::F64_LANES
    }
}

/// How many programs are solved together.
pub(crate) fn lanes() -> usize {
    Arch::new().dispatch(Lanes)
}

/// True if these settings ask for nothing else than what is done here; a limit of iterations does not count rounds of pivoting.
pub(crate) fn suits(settings: &Settings) -> bool {
    settings.polish && settings.smoothing.is_none()
}

/// True if a program has this form.
pub(crate) fn is_small(qp: &Qp) -> bool {
    let (n, m) = (qp.n(), qp.n_inequality());
    n > 0
        && m > 0
        && n + m <= MOST
        && qp.n_equality() == 0
        && qp.cones.is_empty()
        && matches!((&*qp.p, &*qp.g), (Hessian::Dense(_), Matrix::Dense(_)))
        && !qp.has_bounds()
        && qp.h.iter().all(|h| h.is_finite())
}

/// What a solve found in a lane.
pub(crate) struct Found {
    pub rounds: usize,
    pub raw: Residuals,
    pub residuals: Residuals,
    pub objective: f64,
    pub moved: f64,
    /// One solve with the factors was seen to be exact to rounding.
    pub exact_factors: bool,
}

impl Small {
    pub fn new(n: usize, m: usize) -> Self {
        let lanes = lanes();
        // vectors do not straddle lines of the cache where they begin at a multiple of their size
        Small { n, m, lanes, buffer: vec![0.0; (places(n, m).end + 1) * lanes], shared: None }
    }

    pub fn fits(&self, qp: &Qp) -> bool {
        (self.n, self.m) == (qp.n(), qp.n_inequality())
    }

    fn numbers(&mut self) -> &mut [f64] {
        let end = places(self.n, self.m).end * self.lanes;
        let first = self.first();
        &mut self.buffer[first..first + end]
    }

    /// Where the first vector begins.
    fn first(&self) -> usize {
        self.buffer.as_ptr().align_offset(8 * self.lanes).min(self.lanes)
    }

    /// Number `i` of a lane.
    fn at(&self, i: usize, lane: usize) -> f64 {
        self.buffer[self.first() + i * self.lanes + lane]
    }

    /// Takes the numbers of programs, as many as there are lanes at most; lanes that are left get those of the last one. False if
    /// the matrices and their factors are there.
    fn load<'a>(&mut self, qp: impl FnMut(usize) -> &'a Qp) -> bool {
        match self.lanes {
            2 => self.load_lanes::<2>(qp),
            4 => self.load_lanes::<4>(qp),
            8 => self.load_lanes::<8>(qp),
            _ => self.load_lanes::<1>(qp),
        }
    }

    fn load_lanes<'a, const L: usize>(&mut self, qp: impl FnMut(usize) -> &'a Qp) -> bool {
        let (n, at) = (self.n, places(self.n, self.m));
        let qps: [&Qp; L] = std::array::from_fn(qp);
        let have =
            |p: &Arc<Hessian>, g: &Arc<Matrix>| qps.iter().all(|qp| Arc::ptr_eq(p, &qp.p) && Arc::ptr_eq(g, &qp.g));
        let fresh = !self.shared.as_ref().is_some_and(|(p, g)| have(p, g));
        if fresh {
            let first = (&qps[0].p, &qps[0].g);
            self.shared = have(first.0, first.1).then(|| (first.0.clone(), first.1.clone()));
        }
        let (numbers, _) = pulp::as_arrays_mut::<L, f64>(self.numbers());
        let put = |to: &mut [[f64; L]], from: [&[f64]; L]| {
            let from = from.map(|v| &v[..to.len()]);
            to.iter_mut().enumerate().for_each(|(i, to)| *to = from.map(|v| v[i]));
        };
        for j in (0..n).filter(|_| fresh) {
            let columns = qps.map(|qp| qp.p.as_dense().map_or(&[][..], |p| p.col_as_slice(j)));
            put(&mut numbers[at.p + j * n..][..n], columns);
            let columns = qps.map(|qp| if let Matrix::Dense(g) = &*qp.g { g.col_as_slice(j) } else { &[] });
            let columns = columns.map(|v| &v[..at.active - at.h]);
            let rows = numbers[at.g..at.q].chunks_exact_mut(n).enumerate();
            rows.for_each(|(i, row)| row[j] = columns.map(|v| v[i]));
        }
        put(&mut numbers[at.q..at.h], qps.map(|qp| &qp.q[..]));
        put(&mut numbers[at.h..at.active], qps.map(|qp| &qp.h[..]));
        fresh
    }

    /// Solves these programs, which [fit](Self::fits), as many as there are lanes at most.
    pub fn solve(&mut self, qps: &[Qp]) {
        let (places, lanes) = (places(self.n, self.m), self.lanes);
        let Some(last) = qps.last() else { return };
        let fresh = self.load(|lane| qps.get(lane).unwrap_or(last));
        let used = &mut self.numbers()[places.used * lanes..][..lanes];
        used.iter_mut().enumerate().for_each(|(lane, used)| *used = f64::from(u8::from(lane < qps.len())));
        let shape = (self.n, self.m);
        Arch::new().dispatch(SolveAll { shape, fresh, numbers: self.numbers() });
    }

    /// What the last solve found in a lane; `None` where it is for others to solve.
    pub fn found(&self, lane: usize, settings: &Settings) -> Option<Found> {
        let told = places(self.n, self.m).told;
        let told = |k: usize| self.at(told + k, lane);
        let residuals = |first: usize| Residuals {
            primal: told(first),
            dual: told(first + 1),
            complementarity: told(first + 2),
            gap: told(first + 3),
            primal_scale: told(first + 4),
            dual_scale: told(first + 5),
            gap_scale: told(first + 6),
        };
        let found = Found {
            raw: residuals(0),
            residuals: residuals(8),
            objective: told(15),
            rounds: told(16) as usize,
            moved: told(17),
            exact_factors: told(18) == 1.0,
        };
        let clear = told(19) == 1.0 && found.objective.is_finite();
        let within = |r: &Residuals| r.within(settings.eps_abs, settings.eps_rel, 1.0);
        (clear && found.raw.known() && within(&found.residuals)).then_some(found)
    }

    /// Writes the point and the set that were found in a lane for this program.
    pub fn write(&self, lane: usize, qp: &Qp, point: &mut Point, active: &mut ActiveSet) {
        let (n, m) = (self.n, self.m);
        let places = places(n, m);
        let numbers = &self.buffer[self.first()..];
        let all = |from: usize, len: usize| {
            numbers[from * self.lanes..][..len * self.lanes].chunks_exact(self.lanes).map(|v| v[lane])
        };
        let Point { x, y, z, z_box, s, y_cone } = point;
        for (to, from, len) in [(x, places.x, n), (z, places.z, m)] {
            to.clear();
            to.extend(all(from, len));
        }
        z_box.clear();
        z_box.resize(n, 0.0);
        [y, s, y_cone].into_iter().for_each(Vec::clear);
        active.release(qp);
        active.g.iter_mut().zip(all(places.active, m)).for_each(|(g, v)| *g = v == 1.0);
    }

    /// Factors the systems of programs with their active sets.
    pub fn factor<'a>(&mut self, systems: impl Iterator<Item = (&'a Qp, &'a ActiveSet)> + Clone) {
        let (places, lanes) = (places(self.n, self.m), self.lanes);
        let mut qps = systems.clone().map(|(qp, _)| qp);
        let Some(mut last) = systems.clone().next().map(|(qp, _)| qp) else { return };
        let fresh = self.load(|_| {
            last = qps.next().unwrap_or(last);
            last
        });
        for (lane, (_, set)) in systems.enumerate().take(lanes) {
            let active = self.numbers()[places.active * lanes..places.x * lanes].chunks_exact_mut(lanes);
            active.zip(&set.g).for_each(|(to, active)| to[lane] = f64::from(u8::from(*active)));
        }
        let shape = (self.n, self.m);
        Arch::new().dispatch(Factor { shape, fresh, numbers: self.numbers() });
    }

    /// Solves the system of a lane in place. Removed rows come out as 0.
    pub fn solve_for(&mut self, lane: usize, w: &mut [f64], v: &mut [f64]) {
        let (places, lanes) = (places(self.n, self.m), self.lanes);
        let shape = (self.n, self.m);
        let numbers = self.numbers();
        for (from, to) in [(&*w, places.w), (&*v, places.v)] {
            let to = numbers[to * lanes..].chunks_exact_mut(lanes);
            to.zip(from).for_each(|(to, v)| to[lane] = *v);
        }
        Arch::new().dispatch(SolveFor { shape, numbers: &mut *numbers });
        for (to, from) in [(w, places.w), (v, places.v)] {
            let from = numbers[from * lanes..].chunks_exact(lanes);
            to.iter_mut().zip(from).for_each(|(to, from)| *to = from[lane]);
        }
    }

    /// An estimate of the reciprocal condition of the system of a lane.
    pub fn reciprocal_condition(&self, lane: usize) -> f64 {
        self.at(places(self.n, self.m).told + 20, lane)
    }
}
