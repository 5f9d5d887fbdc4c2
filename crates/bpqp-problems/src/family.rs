//! Random problems of every structure with a known solution: the point, the multipliers and the slacks are drawn
//! first, then the data that make them optimal. About half of the inequalities and of the bounds are active, all of
//! them strictly: multipliers and slacks are at least [`MARGIN`].

use crate::Rng;
use bpqp::{Csc, Hessian, Matrix, Point, Qp};
use faer::Mat;

/// Smallest multiplier of an active and slack of an inactive constraint.
pub const MARGIN: f64 = 0.4;

/// How the Hessian is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum HessianKind {
    Dense,
    Sparse,
    Diagonal,
    Factored,
    Blocks,
    Linear,
}

/// A structure of problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    /// Structure of `P`.
    pub hessian: HessianKind,
    /// Are `A` and `G` sparse?
    pub sparse_rows: bool,
    /// With equalities?
    pub equality: bool,
    /// With inequalities?
    pub inequality: bool,
    /// With bounds?
    pub bounds: bool,
}

/// A problem with its solution.
#[derive(Debug, Clone)]
pub struct Instance {
    /// Family and seed, for messages.
    pub name: String,
    /// The problem.
    pub qp: Qp,
    /// Its unique solution, known by construction.
    pub solution: Point,
}

impl Family {
    /// Every structure: six Hessians, dense and sparse rows, every mixture of constraints for which the problem has a
    /// solution.
    pub fn all() -> Vec<Family> {
        use HessianKind::*;
        let mut all = Vec::new();
        let pairs = [
            (Dense, false),
            (Sparse, true),
            (Diagonal, false),
            (Diagonal, true),
            (Factored, false),
            (Blocks, false),
            (Linear, false),
        ];
        for (hessian, sparse_rows) in pairs.into_iter().chain([(Factored, true), (Blocks, true), (Linear, true)]) {
            for mask in 0..8 {
                let family = Family {
                    hessian,
                    sparse_rows,
                    equality: mask & 1 > 0,
                    inequality: mask & 2 > 0,
                    bounds: mask & 4 > 0,
                };
                let unbounded = hessian == Linear && !family.inequality && !family.bounds;
                let repeated = sparse_rows && matches!(hessian, Diagonal | Factored | Blocks) && mask & 3 == 0;
                if !unbounded && !repeated {
                    all.push(family);
                }
            }
        }
        for (hessian, sparse_rows) in [(Dense, true), (Sparse, false)] {
            all.push(Family { hessian, sparse_rows, equality: true, inequality: true, bounds: true });
        }
        all
    }

    /// A short name such as `dense-eq-in-box`.
    pub fn name(&self) -> String {
        let mut name = format!("{:?}", self.hessian).to_lowercase();
        for (on, part) in
            [(self.sparse_rows, "-sprows"), (self.equality, "-eq"), (self.inequality, "-in"), (self.bounds, "-box")]
        {
            if on {
                name.push_str(part);
            }
        }
        name
    }

    /// The instance of that size and seed; draws are repeated until the active gradients are well conditioned.
    pub fn instance(&self, n: usize, seed: u64) -> Instance {
        let mut rng = Rng::new(seed ^ 0xb9_79);
        for _ in 0..1000 {
            if let Some((qp, solution)) = self.draw(n, &mut rng) {
                return Instance { name: format!("{} n={n} seed={seed}", self.name()), qp, solution };
            }
        }
        panic!("no well-conditioned instance of {} with {n} variables", self.name());
    }

    fn hessian(&self, n: usize, rng: &mut Rng) -> Hessian {
        let full = |n: usize, rng: &mut Rng| {
            let b = rng.normal_matrix(n, n);
            let mut p = b.transpose() * &b * faer::Scale(1.0 / n as f64);
            for i in 0..n {
                p[(i, i)] += 0.5;
            }
            p
        };
        match self.hessian {
            HessianKind::Dense => Hessian::from(full(n, rng)),
            HessianKind::Blocks => {
                let sizes = [n / 2, n / 3, n - n / 2 - n / 3];
                Hessian::block_diagonal(sizes.map(|n| full(n, rng)).to_vec()).expect("square")
            }
            HessianKind::Sparse => {
                let mut triplets: Vec<_> = (0..n).map(|i| (i, i, rng.between(1.0, 2.0))).collect();
                for _ in 0..n {
                    let (i, j, v) = (rng.below(n), rng.below(n), rng.between(-0.7, 0.7));
                    if i != j {
                        // v (e_i + e_j)(e_i + e_j)' up to sign: the diagonal grows by |v|
                        triplets.extend([(i, j, v), (j, i, v), (i, i, v.abs()), (j, j, v.abs())]);
                    }
                }
                Hessian::Sparse(Csc::from_triplets(n, n, &triplets).expect("indices in range"))
            }
            HessianKind::Diagonal => Hessian::Diagonal(rng.uniforms(n, 0.5, 2.0)),
            HessianKind::Factored => {
                let f = rng.normal_matrix(n, 2);
                Hessian::low_rank(rng.uniforms(n, 0.5, 1.5), f).expect("shapes agree")
            }
            HessianKind::Linear => Hessian::Zero(n),
        }
    }

    fn rows(&self, rows: usize, n: usize, rng: &mut Rng) -> Matrix {
        if !self.sparse_rows {
            return Matrix::from(rng.normal_matrix(rows, n));
        }
        let mut triplets = Vec::new();
        for i in 0..rows {
            for &j in rng.permutation(n).iter().take(3.min(n)) {
                triplets.push((i, j, rng.between(0.4, 1.4) * if rng.uniform() < 0.5 { -1.0 } else { 1.0 }));
            }
        }
        Matrix::Sparse(Csc::from_triplets(rows, n, &triplets).expect("indices in range"))
    }

    fn draw(&self, n: usize, rng: &mut Rng) -> Option<(Qp, Point)> {
        // a linear program needs as many active constraints as variables, a quadratic one may have any number below
        let held = if self.hessian == HessianKind::Linear { n } else { n / 2 };
        let equalities = if self.equality { (n / 6).max(1) } else { 0 };
        let left = held - equalities;
        let (active_rows, active_bounds) = match (self.inequality, self.bounds) {
            (true, true) => (left / 2, left - left / 2),
            (true, false) => (left, 0),
            (false, true) => (0, left),
            (false, false) => (0, 0),
        };
        let inequalities = 2 * active_rows;

        let p = self.hessian(n, rng);
        let (a, g) = (self.rows(equalities, n, rng), self.rows(inequalities, n, rng));
        let mut point = Point { x: rng.normals(n), y: rng.normals(equalities), ..Point::default() };
        point.z = (0..inequalities).map(|i| if i % 2 == 0 { rng.between(MARGIN, 1.5) } else { 0.0 }).collect();
        point.z_box = vec![0.0; n];
        let (mut lb, mut ub) = (vec![f64::NEG_INFINITY; n], vec![f64::INFINITY; n]);
        if self.bounds {
            for (k, &i) in rng.permutation(n).iter().enumerate() {
                let (x, below, above) = (point.x[i], rng.between(MARGIN, 1.5), rng.between(MARGIN, 1.5));
                // held at one bound with the other finite or not, or free between two, one or no finite bounds
                let at_upper = k % 2 == 0;
                if k < active_bounds {
                    point.z_box[i] = if at_upper { above } else { -below };
                    let other = rng.uniform() < 0.5;
                    lb[i] = if !at_upper {
                        x
                    } else if other {
                        x - 1.0
                    } else {
                        f64::NEG_INFINITY
                    };
                    ub[i] = if at_upper {
                        x
                    } else if other {
                        x + 1.0
                    } else {
                        f64::INFINITY
                    };
                } else {
                    let kind = rng.below(4);
                    lb[i] = if kind & 1 == 0 { x - below } else { f64::NEG_INFINITY };
                    ub[i] = if kind & 2 == 0 { x + above } else { f64::INFINITY };
                }
            }
        }
        if !independent(&a, &g, &point, n) {
            return None;
        }
        let mut b = vec![0.0; equalities];
        a.mul_add(1.0, &point.x, &mut b);
        let mut h: Vec<f64> = point.z.iter().map(|&z| if z > 0.0 { 0.0 } else { rng.between(MARGIN, 1.5) }).collect();
        g.mul_add(1.0, &point.x, &mut h);
        let mut gradient = point.z_box.clone();
        p.mul_add(1.0, &point.x, &mut gradient, &mut Vec::new());
        a.tmul_add(1.0, &point.y, &mut gradient);
        g.tmul_add(1.0, &point.z, &mut gradient);
        let q: Vec<f64> = gradient.iter().map(|v| -v).collect();

        let mut qp = Qp::new(p, q).expect("valid by construction");
        if self.equality {
            qp = qp.equality(a, b).expect("valid by construction");
        }
        if self.inequality {
            qp = qp.inequality(g, h).expect("valid by construction");
        }
        if self.bounds {
            qp = qp.bounds(lb, ub).expect("valid by construction");
        }
        Some((qp, point))
    }
}

/// True if the active gradients on the free variables are far from dependent: the smallest distance of a row to the
/// span of those before it, by Gram-Schmidt.
fn independent(a: &Matrix, g: &Matrix, point: &Point, n: usize) -> bool {
    let free: Vec<usize> = (0..n).filter(|&i| point.z_box[i] == 0.0).collect();
    let (a, g): (Mat<f64>, Mat<f64>) = (a.to_dense(), g.to_dense());
    let pick = |m: &Mat<f64>, i: usize| free.iter().map(|&j| m[(i, j)]).collect::<Vec<f64>>();
    let mut rows: Vec<Vec<f64>> = (0..a.nrows()).map(|i| pick(&a, i)).collect();
    rows.extend((0..g.nrows()).filter(|&i| point.z[i] > 0.0).map(|i| pick(&g, i)));
    let mut basis: Vec<Vec<f64>> = Vec::new();
    for mut row in rows {
        let norm = row.iter().map(|v| v * v).sum::<f64>().sqrt();
        for b in basis.iter().chain(&basis) {
            let c: f64 = row.iter().zip(b).map(|(r, b)| r * b).sum();
            row.iter_mut().zip(b).for_each(|(r, b)| *r -= c * b);
        }
        let left = row.iter().map(|v| v * v).sum::<f64>().sqrt();
        if left < 0.25 * norm.max(0.5) {
            return false;
        }
        row.iter_mut().for_each(|v| *v /= left);
        basis.push(row);
    }
    true
}
