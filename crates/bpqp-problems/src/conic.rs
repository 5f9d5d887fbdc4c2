//! Conic programs with known solutions.

use crate::Rng;
use bpqp::{Cone, Conic, ConicSolution, Csc, Settings};
use faer::{Mat, Side};

/// Where the solution puts a cone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The slack is in the interior, the multiplier is zero.
    Inside,
    /// Both are on the boundaries of their cones.
    Boundary,
    /// The slack is zero, the multiplier in the interior.
    Apex,
}

/// A problem, and the solution that it was made from.
#[derive(Debug, Clone)]
pub struct ConicInstance {
    /// The problem.
    pub problem: Conic,
    /// Variables, slacks, multipliers.
    pub x: Vec<f64>,
    /// Slacks.
    pub s: Vec<f64>,
    /// Multipliers.
    pub y: Vec<f64>,
    /// Where each cone is; meaningless for zero cones.
    pub places: Vec<Place>,
}

impl ConicInstance {
    /// The solution that it was made from, as one from elsewhere.
    pub fn solution(&self) -> ConicSolution {
        let (x, s, y) = (self.x.clone(), self.s.clone(), self.y.clone());
        self.problem.from_solution(x, s, y, &Settings::default()).expect("valid")
    }
}

/// A complementary pair of the cone at that place, made without projections.
fn pair(cone: Cone, place: Place, rng: &mut Rng) -> (Vec<f64>, Vec<f64>) {
    let rows = cone.rows();
    let zero = vec![0.0; rows];
    match cone {
        Cone::Zero(_) => (zero, rng.normals(rows)),
        Cone::Nonnegative(_) => {
            let mut pair = (zero.clone(), zero);
            for i in 0..rows {
                let active = match place {
                    Place::Inside => false,
                    Place::Apex => true,
                    Place::Boundary => i % 2 == 0,
                };
                *(if active { &mut pair.1[i] } else { &mut pair.0[i] }) = rng.between(0.5, 2.0);
            }
            pair
        }
        Cone::SecondOrder(_) => {
            let u = rng.normals(rows - 1);
            let norm = u.iter().map(|v| v * v).sum::<f64>().sqrt();
            let with = |t: f64, sign: f64| [vec![t], u.iter().map(|v| sign * v).collect()].concat();
            match place {
                Place::Inside => (with(1.5 * norm + 0.1, 1.0), zero),
                Place::Apex => (zero, with(1.5 * norm + 0.1, 1.0)),
                Place::Boundary => {
                    let scale = rng.between(0.3, 3.0);
                    (with(norm, 1.0), with(norm, -1.0).iter().map(|v| scale * v).collect())
                }
            }
        }
        Cone::PsdTriangle(n) => {
            let g = rng.normal_matrix(n, n);
            let symmetric = Mat::from_fn(n, n, |i, j| g[(i, j)] + g[(j, i)]);
            let eigen = symmetric.self_adjoint_eigen(Side::Lower).expect("finite");
            let q = eigen.U();
            let mut build = |keep: &dyn Fn(usize) -> bool| {
                let w: Vec<f64> = (0..n).map(|k| if keep(k) { rng.between(0.5, 2.0) } else { 0.0 }).collect();
                let m = Mat::from_fn(n, n, |i, j| (0..n).map(|k| q[(i, k)] * w[k] * q[(j, k)]).sum::<f64>());
                let mut out = Vec::new();
                for j in 0..n {
                    out.extend((0..=j).map(|i| m[(i, j)] * if i == j { 1.0 } else { 2.0_f64.sqrt() }));
                }
                out
            };
            let positive = match place {
                Place::Inside => n,
                Place::Apex => 0,
                Place::Boundary => n.div_ceil(2),
            };
            let s = build(&|k| k < positive);
            (s, build(&|k| k >= positive))
        }
        Cone::Exponential => {
            let (rho, alpha, beta) = (rng.between(-1.0, 1.0), rng.between(0.5, 2.0), rng.between(0.3, 1.5));
            let e = f64::exp(rho);
            match place {
                Place::Inside => (vec![alpha * rho, alpha, alpha * e + 0.5], zero),
                Place::Apex => (zero, vec![-alpha, rho, alpha * (-rho / alpha - 1.0).exp() + 0.5]),
                Place::Boundary => {
                    (vec![alpha * rho, alpha, alpha * e], vec![-beta * e, -beta * (1.0 - rho) * e, beta])
                }
            }
        }
        Cone::Power(a) => {
            let (x, y, beta) = (rng.between(0.5, 2.0), rng.between(0.5, 2.0), rng.between(0.3, 1.5));
            let f = x.powf(a) * y.powf(1.0 - a);
            let sign = if rng.uniform() < 0.5 { -1.0 } else { 1.0 };
            match place {
                Place::Inside => (vec![x, y, 0.5 * sign * f], zero),
                Place::Apex => (zero, vec![a * x, (1.0 - a) * y, 0.5 * sign * f]),
                Place::Boundary => {
                    (vec![x, y, sign * f], vec![beta * a * f / x, beta * (1.0 - a) * f / y, -sign * beta])
                }
            }
        }
        Cone::DualExponential | Cone::DualPower(_) => {
            let mirrored = match place {
                Place::Inside => Place::Apex,
                Place::Boundary => Place::Boundary,
                Place::Apex => Place::Inside,
            };
            let primal = if let Cone::DualPower(a) = cone { Cone::Power(a) } else { Cone::Exponential };
            let (s, y) = pair(primal, mirrored, rng);
            (y, s)
        }
    }
}

/// A problem over these cones at these places, with a strongly convex objective and a sparse A: made from its solution.
pub fn instance(cones: Vec<Cone>, places: Vec<Place>, n: usize, upper: bool, rng: &mut Rng) -> ConicInstance {
    let (mut s, mut y) = (Vec::new(), Vec::new());
    for (&cone, &place) in cones.iter().zip(&places) {
        let pair = pair(cone, place, rng);
        s.extend(pair.0);
        y.extend(pair.1);
    }
    let m = s.len();
    let mut entries = Vec::new();
    for i in 0..m {
        for j in 0..n {
            if rng.uniform() < 0.6 {
                entries.push((i, j, rng.normal()));
            }
        }
    }
    let a = Csc::from_triplets(m, n, &entries).expect("in range");
    let g = rng.normal_matrix(n, n);
    let full = Mat::from_fn(n, n, |i, j| {
        (0..n).map(|k| g[(k, i)] * g[(k, j)]).sum::<f64>() / n as f64 + if i == j { 0.5 } else { 0.0 }
    });
    let triangle = Mat::from_fn(n, n, |i, j| if upper && i > j { 0.0 } else { full[(i, j)] });
    let p = Csc::from_dense(&triangle);
    let x = rng.normals(n);
    let mut b = s.clone();
    a.mul_add(1.0, &x, &mut b);
    let mut q = vec![0.0; n];
    a.tmul_add(-1.0, &y, &mut q);
    for i in 0..n {
        q[i] -= (0..n).map(|j| full[(i, j)] * x[j]).sum::<f64>();
    }
    let problem = Conic::new(Some(p), q, a, b, cones).expect("valid");
    ConicInstance { problem, x, s, y, places }
}

/// A problem that mixes every cone, at random places; few enough pinned rows for its multipliers to be unique.
pub fn mixed(seed: u64) -> ConicInstance {
    let mut rng = Rng::new(7000 + seed);
    let cones = vec![
        Cone::Zero(2),
        Cone::Nonnegative(4),
        Cone::SecondOrder(5),
        Cone::SecondOrder(2),
        Cone::PsdTriangle(3),
        Cone::Exponential,
        Cone::Power(0.3),
        Cone::DualExponential,
        Cone::DualPower(0.6),
        Cone::Exponential,
        Cone::SecondOrder(3),
    ];
    let all = [Place::Inside, Place::Boundary, Place::Apex];
    // everything on the boundary once, then at random
    let places = cones.iter().map(|_| if seed == 0 { Place::Boundary } else { all[rng.below(3)] }).collect();
    instance(cones, places, 34, seed % 2 == 1, &mut rng)
}

/// The paper's second-order cone programs, robust linear ones: `min c'x` subject to `a_i'x + |R_i x| <= 1` for `cones`
/// uncertain rows, `R_i` diagonal; the origin is inside.
pub fn robust(n: usize, cones: usize, seed: u64) -> Conic {
    let mut rng = Rng::new(seed);
    let mut entries = Vec::new();
    let mut b = Vec::new();
    for _ in 0..cones {
        let row = b.len();
        entries.extend((0..n).map(|j| (row, j, 0.05 * rng.normal() / (n as f64).sqrt())));
        entries.extend((0..n).map(|j| (row + 1 + j, j, -rng.between(0.1, 0.5))));
        b.push(1.0);
        b.resize(row + n + 1, 0.0);
    }
    let a = Csc::from_triplets(b.len(), n, &entries).expect("in range");
    Conic::new(None, rng.normals(n), a, b, vec![Cone::SecondOrder(n + 1); cones]).expect("valid")
}

/// The nearest correlation matrix of order n: `min 1/2 |X - C|^2` subject to `X_ii = 1`, X positive semidefinite, with C
/// symmetric and far from one.
pub fn correlation(n: usize, seed: u64) -> Conic {
    let mut rng = Rng::new(seed);
    let rows = n * (n + 1) / 2;
    let diagonal = |j: usize| j * (j + 1) / 2 + j;
    let mut c = rng.normals(rows);
    (0..n).for_each(|j| c[diagonal(j)] = 1.0);
    let mut entries: Vec<_> = (0..n).map(|j| (j, diagonal(j), 1.0)).collect();
    entries.extend((0..rows).map(|k| (n + k, k, -1.0)));
    let a = Csc::from_triplets(n + rows, rows, &entries).expect("in range");
    let p = Csc::from_triplets(rows, rows, &(0..rows).map(|k| (k, k, 1.0)).collect::<Vec<_>>()).expect("in range");
    let b = [vec![1.0; n], vec![0.0; rows]].concat();
    let q = c.iter().map(|c| -c).collect();
    Conic::new(Some(p), q, a, b, vec![Cone::Zero(n), Cone::PsdTriangle(n)]).expect("valid")
}
