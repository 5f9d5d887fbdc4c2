//! The system of dense data: `M = P + R'H^-1 R` by Cholesky, then the Schur complement of the equations. Of a second-order
//! cone `R'H^-1 R = (2 v v' - C'JC)/eta^2` with `v = C'Jw`, and `C'JC` is computed once for its rows.

use super::program::Program;
use super::scaling::{Kind, Scaling};
use super::semidefinite::product;
use super::system::{Parts, Support, columns};
use crate::forward::clarabel::Rows;
use crate::kkt::{CholeskyScratch, solve_lower, solve_lower_transposed};
use crate::matrix::{Csc, LowerWork, Matrix, Wide, gemv, gemv_t, lower_gram, lower_gram_block, solve_lower_columns};
use faer::linalg::matmul::triangular::{BlockStructure, matmul as triangular_matmul};
use faer::{Accum, Mat, MatRef, Par};

/// Regularization relative to the largest diagonal entry of P, or to 1, tried in turn, and of the Schur complement of the
/// equations relative to each of its diagonal entries.
const RHO: [f64; 3] = [1e-10, 1e-8, 1e-6];
const DELTA: f64 = 1e-13;
/// Multiples of `E'E` are added where a pivot of M keeps less than this of its diagonal entry.
const SINGULAR: f64 = 1e-11;

pub(super) struct Dense {
    n: usize,
    all: Vec<usize>,
    csc: Csc,
    supports: Vec<Support>,
    /// `-C'JC` of each second-order cone, lower triangles.
    tables: Vec<Mat<f64>>,
    /// `E'`, and whether its products are added.
    e: Mat<f64>,
    augmented: bool,
    weight: f64,
    /// Rows of G over the roots of their `H`, then `v` of each cone.
    gathered: Mat<f64>,
    vectors: Mat<f64>,
    m: Mat<f64>,
    y: Mat<f64>,
    s: Mat<f64>,
    /// `H^-1` of the semidefinite cones, and a column of its product.
    inverses: Vec<Mat<f64>>,
    column: Vec<f64>,
    diagonal: Vec<f64>,
    lower: LowerWork,
    scratch: CholeskyScratch,
    t: Vec<f64>,
    u: Vec<f64>,
    hk: Vec<f64>,
}

/// Lower triangle of `out += alpha m m'`.
fn add_gram(out: &mut Mat<f64>, m: MatRef<'_, f64>, alpha: f64) {
    let _clean = Wide;
    triangular_matmul(
        out.as_mut(),
        BlockStructure::TriangularLower,
        Accum::Add,
        m,
        BlockStructure::Rectangular,
        m.transpose(),
        BlockStructure::Rectangular,
        alpha,
        Par::Seq,
    );
}

/// Lower triangle of `C1'C1 - c0 c0'` of the rows `start..end` of C.
fn table(c: &Matrix, transposed: Option<&Csc>, rows: (usize, usize), out: &mut Mat<f64>) {
    let (start, end) = rows;
    match (c, transposed) {
        (Matrix::Dense(c), _) => {
            lower_gram_block(out.as_mut(), c.as_ref().subrows(start + 1, end - start - 1));
            for j in 0..c.ncols() {
                let first = c[(start, j)];
                let target = &mut out.col_as_slice_mut(j)[j..];
                target.iter_mut().enumerate().for_each(|(i, o)| *o -= c[(start, j + i)] * first);
            }
        }
        (_, Some(t)) => {
            out.fill(0.0);
            for row in start..end {
                let sign = if row == start { -1.0 } else { 1.0 };
                let range = t.indptr()[row]..t.indptr()[row + 1];
                let (cols, values) = (&t.indices()[range.clone()], &t.values()[range]);
                for (k, &j) in cols.iter().enumerate() {
                    for (&i, v) in cols[k..].iter().zip(&values[k..]) {
                        out[(i, j)] += sign * values[k] * v;
                    }
                }
            }
        }
        (Matrix::Sparse(_), None) => {}
    }
}

impl Dense {
    pub fn new(program: &Program, scaling: &Scaling) -> Self {
        let (n, m, p) = (program.n(), program.b.len(), program.h.len());
        let second = scaling.blocks.iter().filter(|b| matches!(b.kind, Kind::SecondOrder(_))).count();
        let square = || Mat::zeros(n, n);
        let inverses = scaling.blocks.iter().filter(|b| matches!(b.kind, Kind::Semidefinite(_)));
        let inverses: Vec<_> = inverses.map(|b| Mat::zeros(b.rows.len(), b.rows.len())).collect();
        let largest = inverses.iter().map(Mat::ncols).max().unwrap_or(0);
        let (csc, supports) = columns(&program.c, scaling, false);
        let mut out = Dense {
            n,
            all: (0..n).collect(),
            csc,
            supports,
            tables: (0..second).map(|_| square()).collect(),
            e: Mat::zeros(n, m),
            augmented: false,
            weight: 0.0,
            gathered: Mat::zeros(n, program.rows.inequality.len()),
            vectors: Mat::zeros(n, second),
            m: square(),
            y: Mat::zeros(n, m),
            s: Mat::zeros(m, m),
            inverses,
            column: vec![0.0; largest],
            diagonal: Vec::with_capacity(n),
            lower: LowerWork::default(),
            scratch: CholeskyScratch::default(),
            t: vec![0.0; n],
            u: vec![0.0; m],
            hk: vec![0.0; p],
        };
        out.load_rows(program, scaling);
        out
    }

    pub fn load(&mut self, program: &Program, scaling: &Scaling, rows: bool) {
        if rows {
            (self.csc, self.supports) = columns(&program.c, scaling, false);
            self.load_rows(program, scaling);
        }
    }

    fn load_rows(&mut self, program: &Program, scaling: &Scaling) {
        let transposed = program.c.is_sparse().then(|| self.csc.transpose());
        let second = scaling.blocks.iter().filter(|b| matches!(b.kind, Kind::SecondOrder(_)));
        for (block, out) in second.zip(&mut self.tables) {
            let rows = (block.rows.start - scaling.linear, block.rows.end - scaling.linear);
            table(&program.c, transposed.as_ref(), rows, out);
        }
        self.e.fill(0.0);
        program.a.for_each(|i, j, v| self.e[(j, i)] += v);
        let m = program.a.nrows();
        program.rows.fixed.iter().enumerate().for_each(|(k, &i)| self.e[(i, m + k)] = 1.0);
    }

    /// What an earlier problem taught is forgotten.
    pub fn start(&mut self) {
        self.augmented = false;
    }

    /// `M` with this much on its diagonal.
    fn fill(&mut self, program: &Program, scaling: &mut Scaling, rho: f64) {
        program.p.write_lower(&self.all, &mut self.m, &mut self.lower);
        let Rows { inequality, lower, upper, .. } = &program.rows;
        let h = &scaling.w;
        let (first, second) = (inequality.len(), inequality.len() + lower.len());
        let mut largest = 0.0_f64;
        for i in 0..self.n {
            largest = largest.max(self.m[(i, i)]);
        }
        let rho = rho * if largest > 0.0 { largest.max(1.0) } else { 1.0 };
        for i in 0..self.n {
            self.m[(i, i)] += rho;
        }
        lower.iter().zip(&h[first..]).for_each(|(&i, h)| self.m[(i, i)] += 1.0 / h);
        upper.iter().zip(&h[second..]).for_each(|(&i, h)| self.m[(i, i)] += 1.0 / h);
        if !inequality.is_empty() {
            let roots = &mut self.hk;
            roots.iter_mut().zip(&h[..first]).for_each(|(root, h)| *root = 1.0 / h.sqrt());
            match &*program.g {
                Matrix::Dense(g) => {
                    for j in 0..self.n {
                        let column = g.col_as_slice(j);
                        for (k, &i) in inequality.iter().enumerate() {
                            self.gathered[(j, k)] = roots[k] * column[i];
                        }
                    }
                }
                Matrix::Sparse(g) => {
                    self.gathered.fill(0.0);
                    if inequality.len() == g.nrows() {
                        g.triplets().for_each(|(i, j, v)| self.gathered[(j, i)] = roots[i] * v);
                    } else {
                        g.triplets().for_each(|(i, j, v)| {
                            if let Ok(k) = inequality.binary_search(&i) {
                                self.gathered[(j, k)] = roots[k] * v;
                            }
                        });
                    }
                }
            }
            add_gram(&mut self.m, self.gathered.as_ref(), 1.0);
        }
        self.add_cones(scaling);
        if self.augmented {
            // a multiple of E'E changes no solution
            add_gram(&mut self.m, self.e.as_ref(), self.weight);
        }
    }

    fn add_cones(&mut self, scaling: &Scaling) {
        let (mut table, mut inverse) = (0, 0);
        for (block, support) in scaling.blocks.iter().zip(&self.supports) {
            let offset = block.rows.start - scaling.linear;
            match &block.kind {
                Kind::SecondOrder(own) => {
                    let w = &scaling.w[block.rows.clone()];
                    let size = std::f64::consts::SQRT_2 / own.eta;
                    let v = self.vectors.col_as_slice_mut(table);
                    v.fill(0.0);
                    for (j, range) in support {
                        let (rows, values) = (&self.csc.indices()[range.clone()], &self.csc.values()[range.clone()]);
                        let terms = rows.iter().zip(values).map(|(&i, c)| {
                            let k = i - offset;
                            if k == 0 { w[0] * c } else { -w[k] * c }
                        });
                        v[*j] = size * terms.sum::<f64>();
                    }
                    let over = 1.0 / (own.eta * own.eta);
                    for j in 0..self.n {
                        let source = &self.tables[table].col_as_slice(j)[j..];
                        let target = &mut self.m.col_as_slice_mut(j)[j..];
                        target.iter_mut().zip(source).for_each(|(t, s)| *t += over * s);
                    }
                    table += 1;
                }
                Kind::Semidefinite(own) => {
                    let whole = &mut self.inverses[inverse];
                    own.inverse(whole);
                    let m = &mut self.m;
                    product((&self.csc, support, offset), whole, &mut self.column, |i, j, v| m[(i, j)] += v);
                    inverse += 1;
                }
            }
        }
        if table > 0 {
            add_gram(&mut self.m, self.vectors.as_ref(), 1.0);
        }
    }

    /// Factors what was filled in; false if a pivot is lost.
    fn factor_m(&mut self, smallest: f64) -> bool {
        self.diagonal.clear();
        self.diagonal.extend((0..self.n).map(|i| self.m[(i, i)]));
        self.scratch.factor(self.m.as_mut()).is_ok()
            && self.diagonal.iter().enumerate().all(|(i, d)| self.m[(i, i)] * self.m[(i, i)] > smallest * d)
    }

    pub fn factor(&mut self, program: &Program, scaling: &mut Scaling) -> bool {
        let equations = self.e.ncols();
        let mut ok = false;
        for rho in RHO {
            self.fill(program, scaling, rho);
            ok = self.factor_m(if equations > 0 && !self.augmented { SINGULAR } else { 0.0 });
            if !ok && equations > 0 && !self.augmented {
                self.augmented = true;
                let size = self.diagonal.iter().fold(0.0_f64, |m, v| m.max(*v));
                let rows = (0..equations).flat_map(|j| self.e.col_as_slice(j)).fold(0.0_f64, |m, v| m.max(v.abs()));
                self.weight = if rows > 0.0 { size.clamp(1.0, 1e6) / (rows * rows) } else { 0.0 };
                self.fill(program, scaling, rho);
                ok = self.factor_m(0.0);
            }
            if ok {
                break;
            }
        }
        if !ok {
            return false;
        }
        if equations > 0 {
            self.y.copy_from(&self.e);
            solve_lower_columns(self.m.as_ref(), self.y.as_mut());
            lower_gram(&mut self.s, &self.y);
            for i in 0..equations {
                let own = self.s[(i, i)];
                self.s[(i, i)] += if own > 0.0 { DELTA * own } else { 1.0 };
            }
            let mut shift = DELTA;
            self.diagonal.clear();
            self.diagonal.extend((0..equations).map(|i| self.s[(i, i)]));
            while self.scratch.factor(self.s.as_mut()).is_err() {
                // dependent equations
                shift *= 100.0;
                if shift > 1e-4 {
                    return false;
                }
                lower_gram(&mut self.s, &self.y);
                for i in 0..equations {
                    self.s[(i, i)] += shift * self.diagonal[i];
                }
            }
        }
        true
    }

    pub fn solve(&mut self, program: &mut Program, scaling: &mut Scaling, [x, y, z]: Parts<'_>) {
        self.hk.copy_from_slice(z);
        scaling.divide(&mut self.hk);
        program.r_tmul_add(1.0, &self.hk, x);
        let equations = self.e.ncols();
        self.u.iter_mut().zip(&*y).for_each(|(u, y)| *u = -y);
        if self.augmented {
            y.iter_mut().for_each(|y| *y *= self.weight);
            gemv(1.0, self.e.as_ref(), y, x);
        }
        self.t.copy_from_slice(x);
        solve_lower(self.m.as_ref(), &mut self.t);
        if equations > 0 {
            gemv_t(1.0, self.y.as_ref(), &self.t, &mut self.u);
            solve_lower(self.s.as_ref(), &mut self.u);
            solve_lower_transposed(self.s.as_ref(), &mut self.u);
            gemv(-1.0, self.y.as_ref(), &self.u, &mut self.t);
            y.copy_from_slice(&self.u);
        }
        solve_lower_transposed(self.m.as_ref(), &mut self.t);
        x.copy_from_slice(&self.t);
        z.iter_mut().for_each(|z| *z = -*z);
        program.r_mul_add(1.0, x, z);
        scaling.divide(z);
    }
}
