//! The rows of curved cones along the directions of their faces: what they are in a KKT system.
//!
//! With `(u_i, c_i)` the directions and curvatures of the cones (see [`cones`](crate::cones)) the backward QP has
//!
//! ```text
//! 1/2 sum_curved c_i (u_i' C w - s_i)^2  in its objective,     u_i' C w = s_i  where pinned,     nothing where free.
//! ```
//!
//! Rotating the rows of each cone by its directions makes that a [`kkt`](crate::kkt) system with `dc = 1/c`: 0 where
//! pinned, `inf` (no row) where free. Curvature stays in the rows, so that a curvature of rank one adds no fill.
//!
//! A second-order cone with sparse rows keeps them as they are:
//! `c |(I - uh uh') C_u w|^2 = min_t c |C_u w + t uh|^2`, with one more variable t per cone, and only its first row is
//! replaced, by `(C_t - uh'C_u)/sqrt 2`. The pattern therefore never depends on where the cones are, and is analysed once.

use crate::cones::{Basis, Cone, Faces, blocks};
use crate::kkt::KktData;
use crate::matrix::{Csc, Full, Keep, Matrix};
use crate::problem::Qp;
use crate::{Error, Hessian};
use std::f64::consts::FRAC_1_SQRT_2;
use std::sync::Arc;

/// How the rows of a cone stand in the rotated matrix.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Shape {
    /// As they are.
    Rows,
    /// Row 0 holds every column of the cone, the others are as they are, and there is one more variable (its index).
    Lorentz(usize),
    /// Every row holds every column of the cone.
    Full,
}

/// The entries of one column in one cone, and where they go.
#[derive(Debug, Clone, Copy)]
struct Segment {
    cone: usize,
    /// Range in the entries of C.
    from: (usize, usize),
    /// First entry in the rotated matrix.
    to: usize,
}

/// The rows of the cones of one structure of problem, and the rest of the KKT system in as many variables.
#[derive(Debug)]
pub(crate) struct Rotation {
    n: usize,
    /// Variables beyond those of the problem.
    extra: usize,
    cones: Arc<[Cone]>,
    shapes: Vec<Shape>,
    segments: Vec<Segment>,
    /// First entry of the columns behind those of C, in the rotated matrix.
    extra_at: usize,
    /// What `p`, `a` and `g` were made of.
    from: [Option<Arc<Matrix>>; 2],
    from_p: Option<Arc<Hessian>>,
    p: Arc<Hessian>,
    a: Arc<Matrix>,
    g: Arc<Matrix>,
    /// Two matrices that are written in turn: factorizations know a matrix by its address.
    rows: [Arc<Matrix>; 2],
    current: usize,
    analysis: Keep,
    dense: Vec<f64>,
    entries: Vec<(usize, f64)>,
    noise: Noise,
}

/// What the entries of rotated rows may be by the noise of the directions alone.
#[derive(Debug, Default)]
struct Noise {
    /// Entries below this part of their column are taken for 0.
    part: f64,
    /// There were such entries.
    found: bool,
}

impl Noise {
    /// The entry of a rotated column of this length.
    fn clear(&mut self, entry: f64, length: f64) -> f64 {
        // NaN stays
        if entry != 0.0 && entry.abs() <= self.part * length {
            self.found = true;
            return 0.0;
        }
        entry
    }

    /// The same of all entries.
    fn clear_all(&mut self, entries: &mut [f64], length: f64) {
        if self.part > 0.0 {
            entries.iter_mut().for_each(|v| *v = self.clear(*v, length));
        }
    }
}

fn length(entries: impl Iterator<Item = f64>) -> f64 {
    entries.map(|v| v * v).sum::<f64>().sqrt()
}

fn shape(cone: &Cone, sparse: bool, extra: &mut usize) -> Shape {
    match cone {
        Cone::Zero(_) | Cone::Nonnegative(_) | Cone::SecondOrder(0 | 1) | Cone::PsdTriangle(0 | 1) => Shape::Rows,
        Cone::SecondOrder(_) if sparse => {
            *extra += 1;
            Shape::Lorentz(*extra - 1)
        }
        Cone::SecondOrder(_)
        | Cone::PsdTriangle(_)
        | Cone::Exponential
        | Cone::Power(_)
        | Cone::DualExponential
        | Cone::DualPower(_) => Shape::Full,
    }
}

/// With as many more columns of zeros.
fn widened(m: &Arc<Matrix>, extra: usize) -> Arc<Matrix> {
    if extra == 0 {
        return m.clone();
    }
    Arc::new(match &**m {
        Matrix::Dense(m) => {
            let n = m.ncols();
            Matrix::Dense(Full::from_fn(m.nrows(), n + extra, |i, j| if j < n { m[(i, j)] } else { 0.0 }))
        }
        Matrix::Sparse(m) => Matrix::Sparse(m.widened(extra)),
    })
}

impl Rotation {
    /// Analyses the structure of the cones; `None` without cones.
    pub fn new(qp: &Qp) -> Result<Option<Self>, Error> {
        let KktData { p, rows: [a, g, c], .. } = qp.kkt();
        let cones = qp.shared_cones();
        if cones.is_empty() {
            return Ok(None);
        }
        let n = p.n();
        let mut variables = n;
        // one more variable has no place in a factored Hessian
        let sparse = c.is_sparse() && !p.is_factored();
        let shapes: Vec<Shape> = cones.iter().map(|cone| shape(cone, sparse, &mut variables)).collect();
        let extra = variables - n;
        let mut out = Rotation {
            n,
            extra,
            cones,
            shapes,
            segments: Vec::new(),
            extra_at: 0,
            from: [None, None],
            from_p: None,
            p: p.clone(),
            a: a.clone(),
            g: g.clone(),
            rows: [c.clone(), c.clone()],
            current: 0,
            analysis: qp.analysis.clone(),
            dense: Vec::new(),
            entries: Vec::new(),
            noise: Noise::default(),
        };
        if let Matrix::Sparse(c) = &**c {
            let pattern = Matrix::Sparse(out.pattern(c)?);
            out.rows = [Arc::new(pattern.clone()), Arc::new(pattern)];
        }
        out.load(qp);
        Ok(Some(out))
    }

    /// The pattern of the rotated rows, with numbers that are not zero: a dense factorization is chosen by their count.
    fn pattern(&mut self, c: &Csc) -> Result<Csc, Error> {
        let mut starts = vec![0];
        let mut cone_of = vec![0; c.nrows()];
        for (k, rows) in blocks(&self.cones) {
            starts.push(rows.end);
            cone_of[rows].fill(k);
        }
        let (mut indices, mut indptr) = (Vec::new(), vec![0]);
        for j in 0..self.n {
            let (mut from, end) = (c.indptr()[j], c.indptr()[j + 1]);
            while from < end {
                let cone = cone_of[c.indices()[from]];
                let rows = &c.indices()[from..end];
                let count = rows.partition_point(|&i| i < starts[cone + 1]);
                self.segments.push(Segment { cone, from: (from, from + count), to: indices.len() });
                match self.shapes[cone] {
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
        self.extra_at = indices.len();
        for (k, shape) in self.shapes.iter().enumerate() {
            if matches!(shape, Shape::Lorentz(_)) {
                indices.extend(starts[k] + 1..starts[k + 1]);
                indptr.push(indices.len());
            }
        }
        let values = vec![1.0; indices.len()];
        Csc::new(c.nrows(), self.n + self.extra, indptr, indices, values)
    }

    /// Variables of the system.
    pub fn variables(&self) -> usize {
        self.n + self.extra
    }

    /// Takes the matrices of a problem of the same structure; the rows of the cones are taken by [`rotate`](Self::rotate).
    pub fn load(&mut self, qp: &Qp) {
        let KktData { p, rows: [a, g, _], .. } = qp.kkt();
        if !self.from_p.as_ref().is_some_and(|old| Arc::ptr_eq(old, p)) {
            self.p = if self.extra == 0 { p.clone() } else { Arc::new(p.widened(self.extra)) };
            self.from_p = Some(p.clone());
        }
        for ((from, own), m) in self.from.iter_mut().zip([&mut self.a, &mut self.g]).zip([a, g]) {
            if !from.as_ref().is_some_and(|old| Arc::ptr_eq(old, m)) {
                *own = widened(m, self.extra);
                *from = Some(m.clone());
            }
        }
        self.analysis = qp.analysis.clone();
    }

    /// The matrices of the system, with the rows as last rotated.
    pub fn data(&self) -> KktData<'_> {
        KktData { p: &self.p, rows: [&self.a, &self.g, &self.rows[self.current]], analysis: &self.analysis }
    }

    /// Appends to the diagonals of the rest of the system those of the cones.
    pub fn diagonals(&self, faces: &Faces, dx: &mut Vec<f64>, dc: &mut Vec<f64>) {
        let first = dc.len();
        dc.extend(faces.curvature.iter().map(|c| 1.0 / c));
        dx.resize(self.n + self.extra, 0.0);
        for ((k, rows), shape) in blocks(&self.cones).zip(&self.shapes) {
            if let Shape::Lorentz(variable) = shape {
                let boundary =
                    matches!(faces.bases[k], Basis::SecondOrder(_)) && dc[first + rows.start + 1].is_finite();
                dx[*variable] = if boundary { 0.0 } else { f64::INFINITY };
            }
        }
    }

    /// Rotates the rows of `c` into the directions of the cones, without the entries that are not above this part of their
    /// column; true if there were any.
    pub fn rotate_above(&mut self, part: f64, c: &Matrix, faces: &Faces) -> bool {
        self.noise = Noise { part, found: false };
        self.rotate(c, faces);
        std::mem::take(&mut self.noise).found
    }

    /// Rotates the rows of `c` into the directions of the cones.
    pub fn rotate(&mut self, c: &Matrix, faces: &Faces) {
        self.current = 1 - self.current;
        let other = self.rows[1 - self.current].clone();
        let mut target = std::mem::replace(&mut self.rows[self.current], other);
        match (c, Arc::make_mut(&mut target)) {
            (Matrix::Dense(c), Matrix::Dense(out)) => self.rotate_dense(c, faces, out),
            (Matrix::Sparse(c), Matrix::Sparse(out)) => self.rotate_sparse(c, faces, out),
            _ => {}
        }
        self.rows[self.current] = target;
    }

    fn rotate_dense(&mut self, c: &Full, faces: &Faces, out: &mut Full) {
        for j in 0..c.ncols() {
            let (from, to) = (c.col_as_slice(j), out.col_as_slice_mut(j));
            for (k, rows) in blocks(&self.cones) {
                if self.shapes[k] == Shape::Rows || faces.bases[k] == Basis::Rows {
                    to[rows.clone()].copy_from_slice(&from[rows]);
                    continue;
                }
                self.entries.clear();
                self.entries.extend(from[rows.clone()].iter().copied().enumerate().filter(|(_, v)| *v != 0.0));
                faces.bases[k].coordinates_sparse(&self.entries, &mut self.dense, &mut to[rows.clone()]);
                self.noise.clear_all(&mut to[rows.clone()], length(from[rows].iter().copied()));
            }
        }
    }

    fn rotate_sparse(&mut self, c: &Csc, faces: &Faces, out: &mut Csc) {
        let (rows, data) = (c.indices(), c.values());
        let values = out.values_mut();
        let starts: Vec<_> = blocks(&self.cones).map(|(_, rows)| rows).collect();
        for segment in &self.segments {
            let (from, end) = segment.from;
            let block = starts[segment.cone].clone();
            let start = block.start;
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
                    let curved = matches!(basis, Basis::SecondOrder(_)) && self.noise.part > 0.0;
                    values[segment.to] =
                        if curved { self.noise.clear(first, length(entries().map(|(_, v)| v))) } else { first };
                }
                Shape::Full => {
                    self.entries.clear();
                    self.entries.extend(entries());
                    let target = &mut values[segment.to..segment.to + block.len()];
                    basis.coordinates_sparse(&self.entries, &mut self.dense, target);
                    if *basis != Basis::Rows {
                        self.noise.clear_all(target, length(entries().map(|(_, v)| v)));
                    }
                }
            }
        }
        let mut at = self.extra_at;
        for (k, shape) in self.shapes.iter().enumerate() {
            if matches!(shape, Shape::Lorentz(_)) {
                let count = starts[k].len() - 1;
                match &faces.bases[k] {
                    Basis::SecondOrder(uh) => {
                        values[at..at + count].copy_from_slice(uh);
                        self.noise.clear_all(&mut values[at..at + count], 1.0);
                    }
                    // the variable is pinned
                    _ => values[at..at + count].fill(1.0),
                }
                at += count;
            }
        }
    }
}
