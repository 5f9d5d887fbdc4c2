use super::{Presolve, Smaller};
use crate::forward::{Outcome, solver};
use crate::{Certificate, Csc, Hessian, Point, Qp, Settings, Solver, Status};

/// `n` variables in the unit box with a diagonal P, and rows of these entries.
fn problem(n: usize, equations: (&[(usize, usize, f64)], &[f64]), rows: (&[(usize, usize, f64)], &[f64])) -> Qp {
    let matrix = |(entries, rhs): (&[_], &[f64])| Csc::from_triplets(rhs.len(), n, entries).expect("in range");
    Qp::new(Hessian::Diagonal(vec![1.0; n]), (0..n).map(|j| 0.3 - 0.01 * j as f64).collect::<Vec<_>>())
        .and_then(|qp| qp.equality(matrix(equations), equations.1.to_vec()))
        .and_then(|qp| qp.inequality(matrix(rows), rows.1.to_vec()))
        .and_then(|qp| qp.bounds(vec![0.0; n], vec![1.0; n]))
        .expect("valid")
}

fn smaller(qp: &Qp) -> Box<Smaller> {
    match Presolve::of(qp, None) {
        Presolve::Smaller(left) => left,
        Presolve::Little => panic!("nothing was taken out"),
        Presolve::Contradiction(proof) => panic!("{proof:?}"),
    }
}

fn solved(qp: &Qp) -> Point {
    let settings = Settings { polish: false, presolve: false, ..Settings::with_solver(Solver::InteriorPoint) };
    let mut out = Point::zeros(qp);
    let mut handle = solver(Solver::InteriorPoint).prepare(qp, &settings).expect("valid");
    let outcome: Outcome = handle.solve(None, &mut out);
    assert_eq!(outcome.status, Status::Solved);
    out
}

/// The largest violation of the conditions of a minimum.
fn off(qp: &Qp, at: &Point) -> f64 {
    let r = crate::residuals::residuals(qp, at, &mut Default::default()).0;
    r.primal.max(r.dual).max(r.complementarity)
}

#[test]
fn what_is_superfluous_goes_and_comes_back() {
    let n = 60;
    // 0: 2 variables that an equation forces to 0; 1: empty; 2: one variable; 3, 4: the same twice; 5: a sum
    let equations = [
        (0, 0, 1.0),
        (0, 1, 2.0),
        (2, 2, -4.0),
        (3, 3, 1.0),
        (3, 4, 1.0),
        (3, 0, 5.0),
        (4, 3, -3.0),
        (4, 4, -3.0),
        (5, 6, 1.0),
        (5, 7, 1.0),
        (5, 2, 1.0),
    ];
    // 0: forces 8 and 9 up; 1: never binds; 2, 3: one row in two units; 4: binds where 2 does not; 5: of one entry; 6, 7: the sides
    // of an equation
    let rows = [
        (0, 8, -1.0),
        (0, 9, -0.5),
        (1, 10, 1.0),
        (1, 11, 1.0),
        (2, 12, 1.0),
        (2, 13, -1.0),
        (2, 8, 1.0),
        (3, 12, 2.0),
        (3, 13, -2.0),
        (4, 12, 0.5),
        (4, 13, -0.5),
        (5, 14, -2.0),
        (6, 15, 1.0),
        (6, 16, 3.0),
        (7, 15, -2.0),
        (7, 16, -6.0),
    ];
    let b = [0.0, 0.0, -2.0, 0.7, -2.1, 1.2];
    let h = [-1.5, 2.5, 1.4, 0.8, -0.3, -0.1, 0.9, -1.8];
    let qp = problem(n, (&equations, &b), (&rows, &h));
    let left = smaller(&qp);
    // 0, 1, 2, 8, 9 are fixed; equations 3 and 5 stay, and what rows 6 and 7 say; of the rows number 4
    assert_eq!((left.qp.n(), left.qp.n_equality(), left.qp.n_inequality()), (n - 5, 3, 1));
    assert!(left.qp.lb().contains(&0.05));
    let mut out = Point::default();
    left.restore(&qp, &solved(&left.qp), &mut out);
    assert!(off(&qp, &out) < 1e-7, "{} {out:?}", off(&qp, &out));
    // what holds has a multiplier: rows that force, that say the same, that meet
    assert!(out.z[0] > 0.0 && out.z[5] > 0.0 && out.z[6] > 0.0 && out.z[7] > 0.0);
    assert!([0, 1].iter().all(|&j| out.z_box[j] < 0.0) && [8, 9].iter().all(|&j| out.z_box[j] > 0.0));
    assert!(out.z[1] == 0.0 && out.z[2] == 0.0 && out.z[3] == 0.0 && out.z_box[2] == 0.0 && out.z_box[14] == 0.0);
}

#[test]
fn twins_share_what_they_hold() {
    let n = 60;
    let rows: Vec<_> = (0..8).flat_map(|i| [(i, 0, 1.0 + i as f64), (i, 1, 1.0 + i as f64)]).collect();
    let h: Vec<f64> = (0..8).map(|i| 0.5 * (1.0 + i as f64)).collect();
    let qp = problem(n, (&[], &[]), (&rows, &h));
    // drawn against the rows
    let qp = qp.with_q((0..n).map(|_| -1.0).collect::<Vec<_>>()).expect("valid");
    let left = smaller(&qp);
    assert_eq!(left.qp.n_inequality(), 1);
    let mut out = Point::default();
    left.restore(&qp, &solved(&left.qp), &mut out);
    assert!(off(&qp, &out) < 1e-7);
    assert!(out.z.iter().all(|z| *z > 0.0), "{:?}", out.z);
}

#[test]
fn contradictions_are_proved() {
    let n = 70;
    let proof = |qp: &Qp| match Presolve::of(qp, None) {
        Presolve::Contradiction(proof) => {
            assert!(matches!(proof, Certificate::PrimalInfeasible(_)) && proof.verify(qp));
            true
        }
        _ => false,
    };
    // empty rows that make the look worth it
    let empty = [0.0, 0.0, 0.0];
    let with = |rhs: &[f64]| [rhs, &empty].concat();
    // an empty row; a row beyond the bounds; a row beyond what another fixes; rows that do not agree; sides that cross
    assert!(proof(&problem(n, (&[], &with(&[1.0])), (&[], &[]))));
    assert!(proof(&problem(n, (&[(0, 0, 1.0), (0, 1, 1.0)], &with(&[2.5])), (&[], &[]))));
    let entries = [(0, 0, 1.0), (0, 1, 1.0), (1, 0, -1.0), (1, 2, -1.0), (1, 3, -1.0)];
    assert!(proof(&problem(n, (&[], &[]), (&entries, &with(&[0.0, -2.5])))));
    let entries = [(0, 0, 1.0), (0, 1, 1.0), (1, 0, 2.0), (1, 1, 2.0)];
    assert!(proof(&problem(n, (&entries, &with(&[1.0, 1.0])), (&[], &[]))));
    let entries = [(0, 0, 1.0), (0, 1, -1.0), (1, 0, -2.0), (1, 1, 2.0)];
    assert!(proof(&problem(n, (&[], &[]), (&entries, &with(&[0.1, -0.3])))));
    assert!(!proof(&problem(n, (&[], &[]), (&entries, &with(&[0.1, -0.1])))));
}

#[test]
fn other_numbers_find_what_new_ones_would() {
    let n = 80;
    let entries =
        [(0, 0, 1.0), (0, 1, 1.0), (1, 2, 1.0), (1, 3, 2.0), (2, 4, 1.0), (2, 5, 1.0), (3, 0, 1.0), (3, 6, 1.0)];
    let problems = [[0.0, 0.0, 0.0, 0.5], [0.0, 3.0, 0.0, 0.5], [0.0, 0.0, 0.0, 0.6], [1.0, 1.0, 1.0, 0.5]];
    let first = problem(n, (&[], &[]), (&entries, &problems[0]));
    let mut last = None;
    for h in problems {
        let qp = first.clone().with_h(h.to_vec()).expect("valid");
        for q in [0.1, 0.2] {
            let qp = qp.clone().with_q(vec![q; n]).expect("valid");
            let (own, new) = (Presolve::of(&qp, last.take()), Presolve::of(&qp, None));
            match (&own, &new) {
                (Presolve::Smaller(own), Presolve::Smaller(new)) => {
                    assert_eq!((own.qp.q(), own.qp.h(), own.qp.lb()), (new.qp.q(), new.qp.h(), new.qp.lb()));
                    assert!(own.left == new.left && own.qp.g() == new.qp.g() && own.back.x == new.back.x);
                }
                (Presolve::Little, Presolve::Little) => {}
                _ => panic!("they differ"),
            }
            last = Some((qp, own));
        }
    }
}
