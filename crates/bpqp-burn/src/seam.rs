//! Temporary stand-in for the core, with its names, until it lands.
#![allow(missing_docs, dead_code)]
use faer::Mat;
use faer::prelude::*;
use std::sync::Arc;
use clarabel::algebra::*;
use clarabel::solver::*;

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status { Solved, PrimalInfeasible, NumericalFailure }
impl Status { pub fn ok(self) -> bool { self == Status::Solved } }
impl std::fmt::Display for Status { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { write!(f, "{self:?}") } }
#[derive(Debug, Clone, Default)]
pub struct Settings { pub threads: usize }
#[derive(Debug, Clone)]
pub enum Hessian { Dense(Mat<f64>), LowRank { d: Vec<f64>, f: Mat<f64> } }
impl Hessian {
    pub fn low_rank(d: Vec<f64>, f: Mat<f64>) -> Result<Self, Error> { Ok(Hessian::LowRank { d, f }) }
    pub fn from_rows(n: usize, e: &[f64]) -> Result<Self, Error> { Ok(Hessian::Dense(Mat::from_fn(n, n, |i, j| e[i * n + j]))) }
    pub fn to_dense(&self) -> Mat<f64> {
        match self {
            Hessian::Dense(m) => m.clone(),
            Hessian::LowRank { d, f } => { let mut m = f * f.transpose(); for i in 0..d.len() { m[(i, i)] += d[i]; } m }
        }
    }
    pub fn n(&self) -> usize { match self { Hessian::Dense(m) => m.nrows(), Hessian::LowRank { d, .. } => d.len() } }
    pub fn mul_add(&self, alpha: f64, x: &[f64], out: &mut [f64], _w: &mut Vec<f64>) {
        match self {
            Hessian::Dense(m) => for i in 0..x.len() { for j in 0..x.len() { out[i] += alpha * m[(i, j)] * x[j]; } },
            Hessian::LowRank { d, f } => {
                for i in 0..x.len() { out[i] += alpha * d[i] * x[i]; }
                for k in 0..f.ncols() { let s: f64 = (0..x.len()).map(|i| f[(i, k)] * x[i]).sum(); for i in 0..x.len() { out[i] += alpha * f[(i, k)] * s; } }
            }
        }
    }
}
#[derive(Debug, Clone)]
pub struct Matrix(Mat<f64>);
impl Matrix {
    pub fn from_rows(m: usize, n: usize, e: &[f64]) -> Result<Self, Error> { Ok(Matrix(Mat::from_fn(m, n, |i, j| e[i * n + j]))) }
    pub fn to_dense(&self) -> Mat<f64> { self.0.clone() }
}
#[derive(Debug, Clone)]
pub struct Qp { p: Arc<Hessian>, q: Vec<f64>, a: Arc<Matrix>, b: Vec<f64>, g: Arc<Matrix>, h: Vec<f64>, lb: Vec<f64>, ub: Vec<f64> }
impl Qp {
    pub fn new(p: Hessian, q: Vec<f64>) -> Result<Self, Error> { let n = q.len(); Ok(Qp { p: Arc::new(p), q, a: Arc::new(Matrix(Mat::zeros(0, n))), b: vec![], g: Arc::new(Matrix(Mat::zeros(0, n))), h: vec![], lb: vec![f64::NEG_INFINITY; n], ub: vec![f64::INFINITY; n] }) }
    pub fn with_p(mut self, p: Hessian) -> Result<Self, Error> { self.p = Arc::new(p); Ok(self) }
    pub fn with_q(mut self, q: Vec<f64>) -> Result<Self, Error> { if q.iter().any(|v| !v.is_finite()) { return Err(Error("q not finite".into())); } self.q = q; Ok(self) }
    pub fn with_b(mut self, b: Vec<f64>) -> Result<Self, Error> { self.b = b; Ok(self) }
    pub fn with_h(mut self, h: Vec<f64>) -> Result<Self, Error> { self.h = h; Ok(self) }
    pub fn equality(mut self, a: Matrix, b: Vec<f64>) -> Result<Self, Error> { self.a = Arc::new(a); self.b = b; Ok(self) }
    pub fn inequality(mut self, a: Matrix, b: Vec<f64>) -> Result<Self, Error> { self.g = Arc::new(a); self.h = b; Ok(self) }
    pub fn bounds(mut self, a: Vec<f64>, b: Vec<f64>) -> Result<Self, Error> { self.lb = a; self.ub = b; Ok(self) }
    pub fn n(&self) -> usize { self.q.len() }
    pub fn n_equality(&self) -> usize { self.b.len() }
    pub fn n_inequality(&self) -> usize { self.h.len() }
    pub fn q(&self) -> &[f64] { &self.q }
    pub fn b(&self) -> &[f64] { &self.b }
    pub fn h(&self) -> &[f64] { &self.h }
    pub fn lb(&self) -> &[f64] { &self.lb }
    pub fn ub(&self) -> &[f64] { &self.ub }
    pub fn p(&self) -> &Hessian { &self.p }
    pub fn solve(&self, _: &Settings) -> Result<Solution, Error> { Ok(solve(self)) }
    pub fn objective(&self, x: &[f64]) -> f64 { let mut px = vec![0.0; self.n()]; self.p.mul_add(0.5, x, &mut px, &mut vec![]); (0..x.len()).map(|i| x[i] * (px[i] + self.q[i])).sum() }
}
#[derive(Debug, Clone)]
pub struct Solution { pub x: Vec<f64>, pub y: Vec<f64>, pub z: Vec<f64>, pub z_box: Vec<f64>, pub status: Status, pub objective: f64, qp: Qp }
pub struct Cotangent { pub x: Vec<f64> }
impl Cotangent {
    pub fn x(x: &[f64]) -> Self { Cotangent { x: x.to_vec() } }
    pub fn with_y(self, _: &[f64]) -> Self { self }
    pub fn with_z(self, _: &[f64]) -> Self { self }
    pub fn with_z_box(self, _: &[f64]) -> Self { self }
}
#[derive(Debug, Clone, Copy, Default)]
pub struct Wrt { pub p: bool, pub q: bool, pub a: bool, pub b: bool, pub g: bool, pub h: bool, pub lb: bool, pub ub: bool }
#[derive(Debug, Clone, Default)]
pub struct Gradient { pub p: Option<Hessian>, pub q: Option<Vec<f64>>, pub a: Option<Matrix>, pub b: Option<Vec<f64>>, pub g: Option<Matrix>, pub h: Option<Vec<f64>>, pub lb: Option<Vec<f64>>, pub ub: Option<Vec<f64>> }
pub struct Batch { n: usize }
impl Batch {
    pub fn new(qps: Vec<Qp>, _s: Settings) -> Result<Self, Error> { Ok(Batch { n: qps.len() }) }
    pub fn solve(&mut self, items: &[usize], qps: Vec<Qp>) -> Vec<Result<Solution, Error>> {
        assert!(items.iter().all(|&i| i < self.n));
        let half = qps.len() / 2;
        let (l, r) = qps.split_at(half);
        std::thread::scope(|s| {
            let t = s.spawn(|| l.iter().map(|q| Ok(solve(q))).collect::<Vec<_>>());
            let r: Vec<_> = r.iter().map(|q| Ok(solve(q))).collect();
            let mut l = t.join().expect("thread");
            l.extend(r);
            l
        })
    }
}
fn solve(qp: &Qp) -> Solution {
    let n = qp.n();
    let p = qp.p.to_dense();
    let (mut cp, mut ri, mut v) = (vec![0usize], vec![], vec![]);
    for j in 0..n { for i in 0..=j { ri.push(i); v.push(p[(i, j)]); } cp.push(ri.len()); }
    let pm = CscMatrix::new(n, n, cp, ri, v);
    let (m, k) = (qp.b.len(), qp.h.len());
    let lbs: Vec<usize> = (0..n).filter(|&i| qp.lb[i].is_finite()).collect();
    let ubs: Vec<usize> = (0..n).filter(|&i| qp.ub[i].is_finite()).collect();
    let rows = m + k + lbs.len() + ubs.len();
    let (mut cp, mut ri, mut v) = (vec![0usize], vec![], vec![]);
    for j in 0..n {
        for i in 0..m { ri.push(i); v.push(qp.a.0[(i, j)]); }
        for i in 0..k { ri.push(m + i); v.push(qp.g.0[(i, j)]); }
        if let Some(r) = lbs.iter().position(|&i| i == j) { ri.push(m + k + r); v.push(-1.0); }
        if let Some(r) = ubs.iter().position(|&i| i == j) { ri.push(m + k + lbs.len() + r); v.push(1.0); }
        cp.push(ri.len());
    }
    let am = CscMatrix::new(rows, n, cp, ri, v);
    let mut b = qp.b.clone();
    b.extend(&qp.h); b.extend(lbs.iter().map(|&i| -qp.lb[i])); b.extend(ubs.iter().map(|&i| qp.ub[i]));
    let st = DefaultSettings::<f64> { verbose: false, tol_gap_abs: 1e-10, tol_gap_rel: 1e-10, tol_feas: 1e-10, ..Default::default() };
    let mut s = DefaultSolver::new(&pm, &qp.q, &am, &b, &[ZeroConeT(m), NonnegativeConeT(rows - m)], st).expect("solver");
    s.solve();
    let status = match s.solution.status { SolverStatus::Solved | SolverStatus::AlmostSolved => Status::Solved, SolverStatus::PrimalInfeasible => Status::PrimalInfeasible, _ => Status::NumericalFailure };
    let y = s.solution.z[..m].to_vec();
    let z = s.solution.z[m..m + k].to_vec();
    let mut z_box = vec![0.0; n];
    for (r, &i) in lbs.iter().enumerate() { z_box[i] -= s.solution.z[m + k + r]; }
    for (r, &i) in ubs.iter().enumerate() { z_box[i] += s.solution.z[m + k + lbs.len() + r]; }
    Solution { x: s.solution.x.clone(), y, z, z_box, status, objective: s.solution.obj_val, qp: qp.clone() }
}
pub fn vjp_batch(sols: &[&Solution], cots: &[Cotangent], wrt: Wrt, _threads: usize) -> Vec<Result<Gradient, Error>> {
    sols.iter().zip(cots).map(|(s, c)| vjp(s, c, wrt)).collect()
}
fn vjp(s: &Solution, c: &Cotangent, wrt: Wrt) -> Result<Gradient, Error> {
    let qp = &s.qp; let n = qp.n(); let m = qp.b.len();
    let active: Vec<usize> = (0..n).filter(|&i| (s.z_box[i] < 0.0 && -s.z_box[i] > s.x[i] - qp.lb[i]) || (s.z_box[i] > 0.0 && s.z_box[i] > qp.ub[i] - s.x[i])).collect();
    let gact: Vec<usize> = (0..qp.h.len()).filter(|&i| { let gx: f64 = (0..n).map(|j| qp.g.0[(i, j)] * s.x[j]).sum(); s.z[i] > qp.h[i] - gx }).collect();
    let k = m + gact.len() + active.len();
    let p = qp.p.to_dense();
    let mut kk = Mat::<f64>::zeros(n + k, n + k);
    for i in 0..n { for j in 0..n { kk[(i, j)] = p[(i, j)]; } }
    let mut put = |r: usize, j: usize, v: f64| { kk[(n + r, j)] = v; kk[(j, n + r)] = v; };
    for i in 0..m { for j in 0..n { put(i, j, qp.a.0[(i, j)]); } }
    for (r, &i) in gact.iter().enumerate() { for j in 0..n { put(m + r, j, qp.g.0[(i, j)]); } }
    for (r, &i) in active.iter().enumerate() { put(m + gact.len() + r, i, 1.0); }
    for r in 0..k { kk[(n + r, n + r)] = -1e-9; }
    let rhs = Mat::from_fn(n + k, 1, |i, _| if i < n { -c.x[i] } else { 0.0 });
    let sol = kk.partial_piv_lu().solve(&rhs);
    let w: Vec<f64> = (0..n).map(|i| sol[(i, 0)]).collect();
    let wy: Vec<f64> = (0..m).map(|i| sol[(n + i, 0)]).collect();
    let mut wz = vec![0.0; qp.h.len()];
    for (r, &i) in gact.iter().enumerate() { wz[i] = sol[(n + m + r, 0)]; }
    let (mut lb, mut ub) = (vec![0.0; n], vec![0.0; n]);
    for (r, &i) in active.iter().enumerate() { let v = -sol[(n + m + gact.len() + r, 0)]; if s.z_box[i] < 0.0 { lb[i] = v } else { ub[i] = v } }
    Ok(Gradient {
        q: wrt.q.then(|| w.clone()),
        p: wrt.p.then(|| Hessian::Dense(Mat::from_fn(n, n, |i, j| 0.5 * (w[i] * s.x[j] + s.x[i] * w[j])))),
        a: wrt.a.then(|| Matrix(Mat::from_fn(m, n, |i, j| s.y[i] * w[j] + wy[i] * s.x[j]))),
        b: wrt.b.then(|| wy.iter().map(|v| -v).collect()),
        g: wrt.g.then(|| Matrix(Mat::from_fn(qp.h.len(), n, |i, j| s.z[i] * w[j] + wz[i] * s.x[j]))),
        h: wrt.h.then(|| wz.iter().map(|v| -v).collect()),
        lb: wrt.lb.then_some(lb), ub: wrt.ub.then_some(ub),
    })
}
