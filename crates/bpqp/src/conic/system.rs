//! The backward QP of a conic program as one symmetric system, and its factorization.
//!
//! With `(u_i, c_i)` the directions and curvatures of the cones (see [`cones`](crate::cones)), both derivatives are
//!
//! ```text
//! minimize 1/2 w'P w + 1/2 sum_curved c_i (u_i' A w - s_i)^2 + (l + A'e)'w    s.t.  u_i' A w = s_i  (pinned)
//! ```
//!
//! and `wy = e + sum v_i u_i` with the multipliers v of the rows, `v_i = c_i (u_i' A w - s_i)` where curved. Rotating the
//! rows of each cone by its directions makes that a [`kkt`](crate::kkt) system with `dc = 1/c`: 0 where pinned, `inf` (no
//! row) where free. Curvature stays in the rows, so a rank-one curvature adds no fill.
//!
//! A second-order cone of many rows keeps them as they are: `c |(I - uh uh') A_u w|^2 = min_t c |A_u w + t uh|^2`, with one
//! more variable t per cone, and only its first row is replaced, by `(A_t - uh'A_u)/sqrt 2`. The pattern therefore never
//! depends on where the cones are, and is analysed once.

use super::Conic;
use crate::backward::Accuracy;
use crate::cones::Basis;
use crate::kkt::{self, Breakdown, FlatSolver, KktData, KktFactor, Refiner, SparseKkt, factor_flat};
use crate::problem::Keep;
use crate::{Cone, Csc, Error, Hessian, Matrix};
use std::f64::consts::FRAC_1_SQRT_2;
use std::sync::Arc;

/// Where every cone is: directions and curvatures.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Faces {
    /// One per cone.
    pub bases: Vec<Basis>,
    /// One per row, in the order of the directions: 0 free, `inf` pinned.
    pub curvature: Vec<f64>,
    /// One per cone: on a kink.
    pub weak: Vec<bool>,
}

impl Faces {
    /// `D Pi_K` along the rows of a cone in Euclidean units: `d = 1/(1 + c)`.
    pub fn shares(c: f64) -> (f64, f64) {
        if c == f64::INFINITY { (0.0, 1.0) } else { (1.0 / (1.0 + c), c / (1.0 + c)) }
    }
}

/// The entries of one column of A in one cone, and where they go.
#[derive(Debug, Clone, Copy)]
struct Segment {
    cone: usize,
    /// Range in the entries of A.
    from: (usize, usize),
    /// First entry in the rotated matrix.
    to: usize,
}

/// How the rows of a cone stand in the rotated matrix.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Shape {
    /// As in A.
    Rows,
    /// Row 0 holds every column of the cone, the others are as in A, and there is one more variable (its index).
    Lorentz(usize),
    /// Every row holds every column of the cone.
    Full,
}

/// The system, prepared for one structure.
pub(crate) struct System {
    n: usize,
    /// First row of each cone, and the end.
    starts: Vec<usize>,
    shapes: Vec<Shape>,
    segments: Vec<Segment>,
    /// First entry of the columns behind those of A, in the rotated matrix.
    extra_at: usize,
    /// `P` extended by zeros, the rotated rows, and no others.
    extended: Arc<Hessian>,
    rotated: Arc<Matrix>,
    empty: Arc<Matrix>,
    analysis: Keep,
    p: Option<Arc<Csc>>,
    kkt: Box<dyn KktFactor>,
    /// The first choice of factorization broke down on these matrices.
    robust: bool,
    refiner: Refiner,
    /// What was added to P, where the solution is one point of an optimal face.
    face: Option<f64>,
    flat: FlatSolver,
    shifted: Vec<f64>,
    dx: Vec<f64>,
    dc: Vec<f64>,
    w: Vec<f64>,
    v: Vec<f64>,
    block: Vec<f64>,
    dense: Vec<f64>,
    entries: Vec<(usize, f64)>,
    /// As many independent equations as variables: `w` is determined by them alone.
    vertex: bool,
}

/// The matrices of the system; a macro, for the fields beside them are borrowed mutably.
macro_rules! data {
    ($me:expr) => {
        KktData { p: &$me.extended, rows: [&$me.rotated, &$me.empty, &$me.empty], analysis: &$me.analysis }
    };
}

impl std::fmt::Debug for System {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("System").field("n", &self.n).field("kkt", &self.kkt.name()).finish()
    }
}

fn shape(cone: &Cone, extra: &mut usize) -> Shape {
    match cone {
        Cone::Zero(_) | Cone::Nonnegative(_) | Cone::SecondOrder(0 | 1) | Cone::PsdTriangle(0 | 1) => Shape::Rows,
        Cone::SecondOrder(_) => {
            *extra += 1;
            Shape::Lorentz(*extra - 1)
        }
        _ => Shape::Full,
    }
}

fn sparse(m: &Matrix) -> Option<&Csc> {
    if let Matrix::Sparse(m) = m { Some(m) } else { None }
}

impl System {
    /// Analyses the structure of `conic`.
    pub fn new(conic: &Conic) -> Result<Self, Error> {
        let (n, m, a) = (conic.n(), conic.m(), &conic.a);
        let mut extra = n;
        let shapes: Vec<Shape> = conic.cones.iter().map(|c| shape(c, &mut extra)).collect();
        let mut starts = vec![0];
        for cone in conic.cones.iter() {
            starts.push(starts[starts.len() - 1] + cone.rows());
        }
        let mut cone_of = vec![0; m];
        for k in 0..shapes.len() {
            cone_of[starts[k]..starts[k + 1]].fill(k);
        }
        let (mut segments, mut indices, mut indptr) = (Vec::new(), Vec::new(), vec![0]);
        for j in 0..n {
            let (mut from, end) = (a.indptr()[j], a.indptr()[j + 1]);
            while from < end {
                let cone = cone_of[a.indices()[from]];
                let rows = &a.indices()[from..end];
                let count = rows.partition_point(|&i| i < starts[cone + 1]);
                segments.push(Segment { cone, from: (from, from + count), to: indices.len() });
                match shapes[cone] {
                    Shape::Rows => indices.extend_from_slice(&rows[..count]),
                    Shape::Full => indices.extend(starts[cone]..starts[cone + 1]),
                    Shape::Lorentz(_) => {
                        indices.push(starts[cone]);
                        indices.extend(rows[..count].iter().filter(|&&i| i > starts[cone]));
                    }
                }
                from += count;
            }
            indptr.push(indices.len());
        }
        let extra_at = indices.len();
        for (k, shape) in shapes.iter().enumerate() {
            if matches!(shape, Shape::Lorentz(_)) {
                indices.extend(starts[k] + 1..starts[k + 1]);
                indptr.push(indices.len());
            }
        }
        // numbers that are not zero: a dense factorization is chosen by their count
        let values = vec![1.0; indices.len()];
        let rotated = Csc::new(m, extra, indptr, indices, values)?;
        let (rotated, empty) = (Arc::new(Matrix::Sparse(rotated)), Arc::new(Matrix::empty(extra)));
        let extended = Arc::new(extended(conic, extra)?);
        let data = KktData { p: &extended, rows: [&rotated, &empty, &empty], analysis: &conic.analysis };
        Ok(System {
            n,
            starts,
            shapes,
            segments,
            extra_at,
            kkt: kkt::prepare(data)?,
            robust: false,
            extended,
            rotated,
            empty,
            analysis: conic.analysis.clone(),
            p: conic.p.clone(),
            refiner: Refiner::default(),
            face: None,
            flat: FlatSolver::default(),
            shifted: Vec::new(),
            dx: vec![0.0; extra],
            dc: vec![0.0; m],
            w: vec![0.0; extra],
            v: vec![0.0; m],
            block: Vec::new(),
            dense: Vec::new(),
            entries: Vec::new(),
            vertex: false,
        })
    }

    /// Takes the numbers of a problem of the same structure and the place of its cones, and factors.
    pub fn factor(&mut self, conic: &Conic, faces: &Faces) -> Result<(), Error> {
        let same = match (&self.p, &conic.p) {
            (None, None) => true,
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            _ => false,
        };
        if !same {
            self.extended = Arc::new(extended(conic, self.dx.len())?);
            self.p = conic.p.clone();
        }
        let rotated = self.rotate(conic, faces);
        self.rotated = Arc::new(Matrix::Sparse(rotated));
        self.diagonals(faces);
        let data = data!(self);
        self.kkt.load(data)?;
        let diagonals = (&self.dx[..], &self.dc[..]);
        match factor_flat(&mut *self.kkt, data, diagonals, &mut self.shifted) {
            Ok(face) => self.face = face,
            // nearly singular: regularized, and the residual tells
            Err(Breakdown::Inertia | Breakdown::Rank) if !self.robust => self.make_robust()?,
            Err(why) => return Err(broken(why)),
        }
        let hard = self.dc.iter().filter(|&&d| d == 0.0).count();
        self.vertex = hard >= self.dx.iter().filter(|d| d.is_finite()).count() && !self.deficient();
        Ok(())
    }

    /// From now on the regularized factorization, whatever the size.
    fn make_robust(&mut self) -> Result<(), Error> {
        let data = data!(self);
        self.kkt = Box::new(SparseKkt::new(data)?);
        self.robust = true;
        let diagonals = (&self.dx[..], &self.dc[..]);
        self.face = factor_flat(&mut *self.kkt, data, diagonals, &mut self.shifted).map_err(broken)?;
        Ok(())
    }

    /// Solves for the linear term and the right-hand sides of the rows into `w` and `v`.
    fn refined(&mut self, l: &[f64], s: &[f64]) -> f64 {
        self.w.fill(0.0);
        self.w.iter_mut().zip(l).for_each(|(w, l)| *w = -l);
        self.v.copy_from_slice(s);
        let (w, v) = (&mut self.w[..], &mut self.v[..]);
        let (data, diagonals) = (data!(self), (&self.dx[..], &self.dc[..]));
        match self.face {
            Some(delta) => self.flat.solve(&mut *self.kkt, &mut self.refiner, data, (delta, diagonals), (w, v)),
            None => self.refiner.solve(&mut *self.kkt, data, diagonals, w, v),
        }
    }

    fn is_finite(&self) -> bool {
        self.w.iter().chain(&self.v).all(|v| v.is_finite())
    }

    /// True if the pinned rows were dependent at the last factorization, or the solution is one point of an optimal face.
    pub fn deficient(&self) -> bool {
        self.kkt.deficient() || self.face.is_some()
    }

    fn diagonals(&mut self, faces: &Faces) {
        self.dx.fill(0.0);
        for (d, c) in self.dc.iter_mut().zip(&faces.curvature) {
            *d = 1.0 / c;
        }
        for (k, shape) in self.shapes.iter().enumerate() {
            if let Shape::Lorentz(extra) = shape {
                let boundary =
                    matches!(faces.bases[k], Basis::SecondOrder(_)) && self.dc[self.starts[k] + 1].is_finite();
                self.dx[*extra] = if boundary { 0.0 } else { f64::INFINITY };
            }
        }
    }

    /// The rows of A along the directions of the cones.
    fn rotate(&mut self, conic: &Conic, faces: &Faces) -> Csc {
        let Some(old) = sparse(&self.rotated) else { unreachable!("the rotated rows are sparse") };
        let mut out = old.clone();
        let (rows, data) = (conic.a.indices(), conic.a.values());
        let values = out.values_mut();
        for segment in &self.segments {
            let (from, end) = segment.from;
            let (start, stop) = (self.starts[segment.cone], self.starts[segment.cone + 1]);
            let entries = || rows[from..end].iter().zip(&data[from..end]).map(|(&i, &v)| (i - start, v));
            let basis = &faces.bases[segment.cone];
            match self.shapes[segment.cone] {
                Shape::Rows => values[segment.to..segment.to + end - from].copy_from_slice(&data[from..end]),
                Shape::Lorentz(_) => {
                    let mut first = 0.0;
                    let mut to = segment.to + 1;
                    for (i, v) in entries() {
                        if i > 0 {
                            values[to] = v;
                            to += 1;
                        }
                        first += match (basis, i) {
                            (Basis::SecondOrder(_), 0) => v * FRAC_1_SQRT_2,
                            (Basis::SecondOrder(uh), i) => -v * uh[i - 1] * FRAC_1_SQRT_2,
                            (_, 0) => v,
                            _ => 0.0,
                        };
                    }
                    values[segment.to] = first;
                }
                Shape::Full => {
                    self.entries.clear();
                    self.entries.extend(entries());
                    let target = &mut values[segment.to..segment.to + stop - start];
                    basis.coordinates_sparse(&self.entries, &mut self.dense, target);
                }
            }
        }
        let mut at = self.extra_at;
        for (k, shape) in self.shapes.iter().enumerate() {
            if matches!(shape, Shape::Lorentz(_)) {
                let count = self.starts[k + 1] - self.starts[k] - 1;
                match &faces.bases[k] {
                    Basis::SecondOrder(uh) => values[at..at + count].copy_from_slice(uh),
                    // the variable is pinned
                    _ => values[at..at + count].fill(1.0),
                }
                at += count;
            }
        }
        out
    }

    /// Solves for the linear term `l` (n entries, plus `A'e`), `e` (a row each) and the right-hand sides `s` along the
    /// directions; leaves `w` in `l` and `wy` in `e`.
    pub fn solve(
        &mut self,
        conic: &Conic,
        faces: &Faces,
        l: &mut [f64],
        e: &mut [f64],
        s: &[f64],
    ) -> Result<Accuracy, Error> {
        conic.a.tmul_add(1.0, e, l);
        let mut residual = self.refined(l, s);
        if !self.is_finite() && !self.robust {
            self.make_robust()?;
            residual = self.refined(l, s);
        }
        let only_rows = s.iter().zip(&self.dc).all(|(&s, &d)| s == 0.0 || d == f64::INFINITY);
        if self.vertex && only_rows {
            // nothing but 0 satisfies the equations, to be exact
            self.w.fill(0.0);
        }
        if !self.is_finite() {
            return Err(Error::Backward { reason: "a number overflowed".to_owned() });
        }
        l.copy_from_slice(&self.w[..self.n]);
        for (k, basis) in faces.bases.iter().enumerate() {
            let rows = self.starts[k]..self.starts[k + 1];
            self.block.clear();
            self.block.resize(rows.len(), 0.0);
            basis.combine(&self.v[rows.clone()], &mut self.block);
            e[rows].iter_mut().zip(&self.block).for_each(|(e, b)| *e += b);
        }
        Ok(Accuracy { residual, deficient: self.deficient(), iterative: false })
    }
}

fn broken(why: Breakdown) -> Error {
    Error::Backward { reason: why.to_string() }
}

/// The full symmetric P in `dim` variables.
pub(super) fn extended(conic: &Conic, dim: usize) -> Result<Hessian, Error> {
    let Some(p) = &conic.p else { return Ok(Hessian::Zero(dim)) };
    let mut entries = Vec::with_capacity(2 * p.nnz());
    for (i, j, v) in p.triplets() {
        match (conic.upper, i == j) {
            (_, true) => entries.push((i, j, v)),
            (true, false) => entries.extend([(i, j, v), (j, i, v)]),
            (false, false) => entries.extend([(i, j, 0.5 * v), (j, i, 0.5 * v)]),
        }
    }
    Ok(Hessian::Sparse(Csc::from_triplets(dim, dim, &entries)?))
}
