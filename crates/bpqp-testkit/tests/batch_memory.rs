//! What the elements of a batch take in memory, beside the numbers that they were made of: in a process of its own, for memory is
//! counted over all threads.

use bpqp::{Batch, Cotangent, Qp, Settings, Solution, Wrt};
use bpqp_testkit::memory::{Counted, held};
use bpqp_testkit::paper;

#[global_allocator]
static ALLOCATOR: Counted = Counted;

const BATCH: usize = 64;
/// Bytes of an element and of its solution, as a multiple of those of its P, q, G and h.
const MOST: f64 = 2.0;

/// Bytes for each element that `f` leaves held.
fn of_each<T>(f: impl FnOnce() -> T) -> (T, f64) {
    let before = held();
    let out = f();
    (out, held().saturating_sub(before) as f64 / BATCH as f64)
}

#[test]
fn an_element_and_its_solution_take_at_most_twice_its_data() {
    for n in [10, 50, 100] {
        // products of matrices keep a buffer for the next one
        drop(paper::batch_element(n, 0));
        let (qps, own) = of_each(|| (0..BATCH).map(|k| paper::batch_element(n, k as u64)).collect::<Vec<Qp>>());
        let batch = Batch::new(Vec::new(), Settings { threads: 1, ..Settings::default() }).expect("valid");
        let solve = || {
            let make = |k: usize| Ok((qps[k].clone(), None));
            let found = batch.solve_each(&qps[0], 0..BATCH, make, |s: &Solution, _| s.clone()).expect("valid");
            found.into_iter().map(|s| s.expect("valid")).collect::<Vec<_>>()
        };
        let gradient = |solutions: &[Solution]| {
            let all: Vec<&Solution> = solutions.iter().collect();
            let ones = vec![Cotangent::x(&vec![1.0; n]); BATCH];
            batch.vjp(&all, &ones, Wrt::Q).expect("valid").into_iter().all(|g| g.is_ok())
        };
        assert!(gradient(&solve()), "buffers have grown by then");
        let (solutions, kept) = of_each(solve);
        assert!(solutions.iter().all(Solution::ok));
        let (fine, more) = of_each(|| gradient(&solutions));
        assert!(fine && more < 1.0, "n = {n}: gradients leave {more:.0} bytes for each element");
        let data = (8 * (2 * n * n + 2 * n)) as f64;
        let (own, kept) = (own / data, kept / data);
        println!("n = {n}: {own:.2} of the data for the problem, {kept:.2} for its solution");
        assert!(own + kept <= MOST, "n = {n}: {own:.2} of the data for the problem, {kept:.2} for its solution");
    }
}
