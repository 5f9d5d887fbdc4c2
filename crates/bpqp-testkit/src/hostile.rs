//! Programs of arbitrary numbers and sizes: what no caller should send, and some do.

use crate::Rng;
use bpqp::{
    Backward, Batch, Cone, Conic, ConicCotangent, ConicLayer, ConicTangent, ConicWrt, Cotangent, Csc, Error, Gradient,
    Hessian, Layer, Matrix, Qp, Settings, Solver, Status, Tangent, Verdict, Wrt, faer::Mat,
};
use std::time::Duration;

/// The limit of a solve; a call (two solves, their derivatives) takes a few times that at most.
pub const LIMIT: Duration = Duration::from_millis(200);

/// What became of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// An error said what is wrong with the arguments.
    Refused,
    /// The solver ended without a solution.
    Unsolved,
    /// A solution, and its derivatives or an error.
    Solved,
}

struct Hostile<'a> {
    rng: &'a mut Rng,
    /// How often a number is one of the strange ones, and a size another one.
    strange: f64,
    wrong: f64,
    bytes: usize,
}

const STRANGE: [f64; 18] = [
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    0.0,
    -0.0,
    5e-324,
    -1e-310,
    f64::MIN_POSITIVE,
    1e-300,
    -1e-150,
    1e-17,
    1e17,
    1e150,
    -1e155,
    1e300,
    -1e300,
    f64::MAX,
    f64::MIN,
];

impl Hostile<'_> {
    fn chance(&mut self, p: f64) -> bool {
        self.rng.uniform() < p
    }

    fn value(&mut self) -> f64 {
        self.bytes += 8;
        if self.chance(self.strange) {
            return STRANGE[self.rng.below(STRANGE.len())];
        }
        match self.rng.below(6) {
            0 => 0.0,
            1 | 2 => self.rng.below(5) as f64 - 2.0,
            3 if self.strange > 0.0 => self.rng.normal() * 10f64.powf(self.rng.between(-12.0, 12.0)),
            _ => self.rng.normal(),
        }
    }

    fn size(&mut self, n: usize) -> usize {
        if self.chance(self.wrong) { self.rng.below(2 * n + 2) } else { n }
    }

    fn vector(&mut self, n: usize) -> Vec<f64> {
        let n = self.size(n);
        (0..n).map(|_| self.value()).collect()
    }

    fn dense(&mut self, rows: usize, cols: usize) -> Mat<f64> {
        let (rows, cols) = (self.size(rows), self.size(cols));
        let values: Vec<f64> = (0..rows * cols).map(|_| self.value()).collect();
        Mat::from_fn(rows, cols, |i, j| values[i * cols + j])
    }

    /// Compressed columns, whose pointers and rows may be anything.
    fn sparse(&mut self, rows: usize, cols: usize) -> Result<Csc, Error> {
        let (rows, cols) = (self.size(rows), self.size(cols));
        let (mut pointers, mut indices) = (vec![0], Vec::new());
        for _ in 0..cols {
            indices.extend((0..rows).filter(|_| self.rng.uniform() < 0.4));
            pointers.push(indices.len());
        }
        let mut values: Vec<f64> = indices.iter().map(|_| self.value()).collect();
        while self.chance(self.wrong) {
            let odd = [0, 1, usize::MAX, indices.len() + 1, rows][self.rng.below(5)];
            let list = if self.rng.below(2) == 0 { &mut pointers } else { &mut indices };
            match self.rng.below(3) {
                0 => list.push(odd),
                1 => values.push(1.0),
                _ if list.is_empty() => {}
                _ => {
                    let at = self.rng.below(list.len());
                    list[at] = odd;
                }
            }
        }
        Csc::new(rows, cols, pointers, indices, values)
    }

    fn rows(&mut self, rows: usize, cols: usize) -> Result<Matrix, Error> {
        if self.rng.below(3) == 0 {
            self.sparse(rows, cols).map(Matrix::Sparse)
        } else {
            Ok(self.dense(rows, cols).into())
        }
    }

    fn symmetric(&mut self, n: usize) -> Mat<f64> {
        let f = self.dense(n, n);
        let square = self.rng.below(3) > 0;
        let out = if square { &f * f.transpose() } else { f };
        let n = out.nrows().min(out.ncols());
        Mat::from_fn(
            out.nrows(),
            out.ncols(),
            |i, j| if i.max(j) < n { out[(i.min(j), i.max(j))] } else { out[(i, j)] },
        )
    }

    fn hessian(&mut self, n: usize) -> Result<Hessian, Error> {
        Ok(match self.rng.below(7) {
            0 => Hessian::Zero(self.size(n)),
            1 => Hessian::Diagonal(self.vector(n)),
            2 => {
                let rank = self.rng.below(n + 2);
                let d = self.vector(n);
                Hessian::low_rank(d, self.dense(n, rank))?
            }
            3 => {
                let first = self.rng.below(n + 1);
                let blocks = vec![self.symmetric(first), self.symmetric(n - first)];
                Hessian::block_diagonal(blocks)?
            }
            4 => Hessian::Sparse(Csc::from_dense(&self.symmetric(n))),
            5 => Hessian::Sparse(self.sparse(n, n)?),
            _ => Hessian::from(self.symmetric(n)),
        })
    }

    fn bounds(&mut self, n: usize) -> (Vec<f64>, Vec<f64>) {
        let (mut lb, mut ub) = (self.vector(n), self.vector(n));
        for k in 0..lb.len().min(ub.len()) {
            match self.rng.below(4) {
                0 => (lb[k], ub[k]) = (f64::NEG_INFINITY, f64::INFINITY),
                1 => ub[k] = f64::INFINITY,
                2 if lb[k] > ub[k] => std::mem::swap(&mut lb[k], &mut ub[k]),
                _ => {}
            }
        }
        if self.chance(0.2) { (Vec::new(), Vec::new()) } else { (lb, ub) }
    }

    fn settings(&mut self) -> Settings {
        let mut out = Settings {
            solver: Solver::ALL[self.rng.below(Solver::ALL.len())],
            time_limit: Some(LIMIT),
            threads: 1,
            ..Settings::default()
        };
        match self.rng.below(12) {
            0 => out.backward = Backward::FirstOrder,
            1 => out.smoothing = Some(self.value()),
            2 => (out.eps_abs, out.eps_rel) = (self.value(), self.value()),
            3 => out.max_iter = Some(self.rng.below(4)),
            4 => out.polish = false,
            5 => out.time_limit = Some(Duration::ZERO),
            6 => out.threads = [2, 5000][self.rng.below(2)],
            _ => {}
        }
        out
    }

    fn cone(&mut self) -> Cone {
        let n = self.rng.below(5);
        let exponent =
            [0.5, 0.3, 1e-9, 0.0, 1.0, f64::NAN, 2.0][self.rng.below(if self.strange > 0.0 { 7 } else { 2 })];
        match self.rng.below(8) {
            0 => Cone::Zero(n),
            1 | 2 => Cone::Nonnegative(n),
            3 | 4 => Cone::SecondOrder(n),
            5 => Cone::Exponential,
            6 => Cone::Power(exponent),
            _ => [Cone::DualExponential, Cone::DualPower(exponent), Cone::PsdTriangle(n.min(3))][self.rng.below(3)],
        }
    }

    fn qp(&mut self) -> Result<Qp, Error> {
        let n = self.rng.below(9);
        let p = self.hessian(n)?;
        let mut qp = Qp::new(p, self.vector(n))?;
        if self.chance(0.7) {
            let m = self.rng.below(n.min(4) + 1);
            let a = self.rows(m, n)?;
            qp = qp.equality(a, self.vector(m))?;
        }
        if self.chance(0.7) {
            let m = self.rng.below(2 * n + 2);
            let g = self.rows(m, n)?;
            qp = qp.inequality(g, self.vector(m))?;
        }
        if self.chance(0.2) {
            let cone = self.cone();
            let c = self.rows(cone.rows(), n)?;
            qp = qp.cone(cone, c, self.vector(cone.rows()))?;
        }
        if self.chance(0.7) {
            let (lb, ub) = self.bounds(n);
            qp = qp.bounds(lb, ub)?;
        }
        Ok(qp)
    }

    fn cotangent(&mut self, qp: &Qp) -> Cotangent {
        let mut out = Cotangent { x: self.vector(qp.n()), ..Cotangent::default() };
        if self.chance(0.3) {
            out.y = self.vector(qp.n_equality());
            out.z = self.vector(qp.n_inequality());
            out.z_box = self.vector(qp.n());
            out.objective = self.value();
        }
        out
    }

    fn qp_call(&mut self) -> Result<Outcome, Error> {
        let (qp, settings) = (self.qp()?, self.settings());
        let mut layer = Layer::new(qp.clone(), settings.clone())?;
        let mut outcome = Outcome::Unsolved;
        for round in 0..2 {
            if round == 1 {
                // other numbers in the same structure, or another structure
                let next = if self.chance(0.5) { self.qp()? } else { qp.clone().with_q(self.vector(qp.n()))? };
                if layer.update(next).is_err() {
                    break;
                }
            }
            let solution = layer.solve()?;
            let finite = solution.x.iter().chain(&solution.y).chain(&solution.z).chain(&solution.z_box);
            let (ok, all) = (solution.ok(), finite.clone().all(|v| v.is_finite()));
            assert!(!ok || all, "a solution that is not finite: {solution:?}");
            let known = solution.residuals.relative().is_finite();
            assert!(solution.status != Status::Solved || known, "no residuals: {solution:?}");
            if !ok {
                continue;
            }
            outcome = Outcome::Solved;
            let (cotangent, n) = (self.cotangent(layer.qp()), layer.qp().n());
            if let Ok(gradient) = layer.vjp(&cotangent, Wrt::ALL) {
                let all = finite_gradient(gradient);
                assert!(
                    all || layer.verdict() == Verdict::Untrusted,
                    "{:?}: not a number: {:?}",
                    layer.verdict(),
                    layer.qp()
                );
            }
            let along = Tangent { q: Some(self.vector(n)), ..Tangent::default() };
            let _ = layer.jvp(&along);
            if self.chance(0.2) {
                let _ = layer.second_vjp(&cotangent, &along, Wrt::Q);
            }
        }
        if self.chance(0.1) {
            let others: Vec<Qp> = (0..3).filter_map(|_| qp.clone().with_q(self.vector(qp.n())).ok()).collect();
            let _ = Batch::new(others, settings).and_then(|mut batch| batch.solve_all());
        }
        Ok(outcome)
    }

    fn conic_call(&mut self) -> Result<Outcome, Error> {
        let n = self.rng.below(6);
        let cones: Vec<Cone> = (0..=self.rng.below(3)).map(|_| self.cone()).collect();
        let m = cones.iter().map(Cone::rows).sum();
        let p = match self.rng.below(3) {
            0 => None,
            1 => Some(self.sparse(n, n)?),
            _ => Some(Csc::from_dense(&self.symmetric(n))),
        };
        let (q, a) = (self.vector(n), self.sparse(m, n)?);
        let mut conic = Conic::new(p, q, a, self.vector(m), cones)?;
        if self.chance(0.4) {
            let (lb, ub) = self.bounds(n);
            conic = conic.bounds(lb, ub)?;
        }
        let mut layer = ConicLayer::new(conic, self.settings())?;
        let solution = layer.solve()?;
        let all = solution.x.iter().chain(&solution.y).chain(&solution.s).all(|v| v.is_finite());
        assert!(!solution.ok() || all, "a solution that is not finite: {solution:?}");
        if !solution.ok() {
            return Ok(Outcome::Unsolved);
        }
        let g = self.vector(n);
        if let Ok(gradient) = layer.vjp(&ConicCotangent::x(&g), ConicWrt::ALL) {
            let blocks = [gradient.p, gradient.q, gradient.a, gradient.b, gradient.lb, gradient.ub];
            let all = blocks.iter().flatten().flatten().all(|v| v.is_finite());
            assert!(
                all || layer.verdict() == Verdict::Untrusted,
                "{:?}: not a number: {:?}",
                layer.verdict(),
                layer.conic()
            );
        }
        let q = self.vector(n);
        let _ = layer.jvp(&ConicTangent { q: Some(&q), ..ConicTangent::default() });
        Ok(Outcome::Solved)
    }
}

fn finite_gradient(g: &Gradient) -> bool {
    let vectors = [&g.q, &g.b, &g.h, &g.d, &g.lb, &g.ub];
    let mut all = vectors.into_iter().flatten().flatten().all(|v| v.is_finite());
    for block in [&g.a, &g.g, &g.c].into_iter().flatten() {
        block.for_each(|_, _, v| all &= v.is_finite());
    }
    let dense = |m: &Mat<f64>| (0..m.ncols()).all(|j| m.col_as_slice(j).iter().all(|v| v.is_finite()));
    all && match &g.p {
        Some(Hessian::Dense(m)) => m.values().iter().all(|v| v.is_finite()),
        Some(Hessian::LowRank { d, f }) => d.iter().all(|v| v.is_finite()) && dense(f),
        Some(Hessian::BlockDiagonal(blocks)) => blocks.iter().all(dense),
        Some(p) => p.diagonal().iter().all(|v| v.is_finite()),
        None => true,
    }
}

/// Makes a program from the seed and gives it to the library: through constructors, a solve, derivatives, an update and
/// another solve. Panics if a solution or a trusted gradient is not finite. Also returns the bytes of the numbers.
pub fn call(seed: u64) -> (Outcome, usize) {
    let mut rng = Rng::new(seed);
    let strange = [0.0, 0.02, 0.1, 0.5][rng.below(4)];
    let wrong = [0.0, 0.0, 0.02][rng.below(3)];
    let conic = rng.below(3) == 0;
    let mut hostile = Hostile { rng: &mut rng, strange, wrong, bytes: 0 };
    let outcome = if conic { hostile.conic_call() } else { hostile.qp_call() };
    (outcome.unwrap_or(Outcome::Refused), hostile.bytes)
}
