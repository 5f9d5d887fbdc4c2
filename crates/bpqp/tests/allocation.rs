//! After `prepare` the hot path allocates nothing: update, solve, vjp and jvp of a layer, on problems of one structure.
#![allow(unsafe_code)]

use bpqp::faer::Mat;
use bpqp::forward::{ForwardSolver, Homogeneous};
use bpqp::{Cone, Csc, Hessian, Layer, Matrix, Point, Qp, Settings, Wrt};
use bpqp_testkit::differences::{random_cotangent, random_tangent};
use bpqp_testkit::{Family, HessianKind, Rng, paper};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system allocator, counting per thread: the test harness allocates on its own one whenever it likes.
struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

fn one_more() {
    // a thread that is ending counts no more
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call is passed on unchanged to the system allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        one_more();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        one_more();
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of `f`.
fn count(f: impl FnOnce()) -> usize {
    let before = COUNT.get();
    f();
    COUNT.get() - before
}

/// Allocations of update, solve, vjp and jvp, each the most over several problems after two rounds of warming up.
fn steady(qps: &[Qp]) -> [usize; 4] {
    let mut layer = Layer::new(qps[0].clone(), Settings::default()).expect("valid");
    let mut rng = Rng::new(1);
    let (cotangent, tangent) = (random_cotangent(&qps[0], &mut rng), random_tangent(&qps[0], &mut rng));
    let mut most = [0; 4];
    for round in 0..4 {
        for qp in qps {
            let qp = qp.clone();
            let update = count(|| layer.update(qp).expect("the same structure"));
            let solve = count(|| assert!(layer.solve().expect("valid").ok()));
            let vjp = count(|| assert!(layer.vjp(&cotangent, Wrt::ALL).is_ok()));
            let jvp = count(|| assert!(layer.jvp(&tangent).is_ok()));
            if round >= 2 {
                for (most, now) in most.iter_mut().zip([update, solve, vjp, jvp]) {
                    *most = now.max(*most);
                }
            }
        }
    }
    most
}

fn with_other_q(qp: &Qp) -> Vec<Qp> {
    let mut rng = Rng::new(2);
    let moved = |rng: &mut Rng| qp.q().iter().map(|v| v * (1.0 + 0.01 * rng.normal())).collect::<Vec<_>>();
    (0..3).map(|_| qp.clone().with_q(moved(&mut rng)).expect("valid")).collect()
}

#[test]
fn a_prepared_layer_allocates_nothing() {
    let mut cases: Vec<(String, Qp)> = vec![
        ("the paper's dense family".into(), paper::qp(50, 10, 1)),
        ("half active".into(), paper::half_active(50, 10, 1)),
        ("portfolio, factored".into(), paper::portfolio(60, 1)),
        ("model-predictive control, sparse".into(), paper::mpc(6, 1)),
    ];
    for family in Family::all().into_iter().filter(|f| f.hessian != HessianKind::Linear) {
        cases.push((family.name(), family.instance(24, 1).qp));
    }
    let mut failures = Vec::new();
    for (name, qp) in cases {
        let most = steady(&with_other_q(&qp));
        if most != [0; 4] {
            failures.push(format!("{name}: update {}, solve {}, vjp {}, jvp {}", most[0], most[1], most[2], most[3]));
        }
    }
    assert!(failures.is_empty(), "{} structures allocate\n{}", failures.len(), failures.join("\n"));
}

/// Cones do without it in the polish, which makes their bases anew; their solver keeps to the law.
#[test]
fn a_prepared_solver_of_cones_allocates_nothing() {
    for sparse in [false, true] {
        let (n, mut rng) = (if sparse { 40 } else { 9 }, Rng::new(3));
        let mut c = Mat::from_fn(2 * n + 2, n, |i, j| f64::from(i % (n + 1) == j + 1));
        (0..n).for_each(|j| (c[(0, j)], c[(n + 1, j)]) = (0.1 * rng.normal(), 0.1 * rng.normal()));
        let mut d = vec![0.0; 2 * n + 2];
        (d[0], d[n + 1]) = (1.0, 2.0);
        let c = if sparse { Matrix::Sparse(Csc::from_dense(&c)) } else { Matrix::from(c) };
        let qp = Qp::new(Hessian::Diagonal(vec![1e-3; n]), rng.normals(n)).expect("valid");
        let qp = qp.bounds(vec![-0.5; n], vec![]).expect("valid");
        let qp = qp.with_cones(vec![Cone::SecondOrder(n + 1); 2], c, d).expect("valid");
        let mut handle = Homogeneous.prepare(&qp, &Settings::default()).expect("symmetric cones");
        let mut out = Point::default();
        for (round, qp) in with_other_q(&qp).iter().enumerate() {
            let mut solve = || {
                handle.update(qp).expect("the same structure");
                assert!(handle.solve(None, &mut out).status.ok());
            };
            let most = count(&mut solve);
            assert!(round == 0 || most == 0, "sparse: {sparse}, {most} allocations");
        }
    }
}
