//! The families are what they say, by a solver that shares no code with the library.

use bpqp_testkit::family::MARGIN;
use bpqp_testkit::{Family, reference};

#[test]
fn every_instance_has_the_solution_that_it_was_made_for() {
    for family in Family::all() {
        for seed in 0..3 {
            let instance = family.instance(12, seed);
            let found = reference::solve(&instance.qp).unwrap_or_else(|e| panic!("{}: {e}", instance.name));
            let exact = &instance.solution;
            for (ours, theirs) in [
                (&found.point.x, &exact.x),
                (&found.point.y, &exact.y),
                (&found.point.z, &exact.z),
                (&found.point.z_box, &exact.z_box),
            ] {
                for (a, b) in ours.iter().zip(theirs) {
                    assert!((a - b).abs() < 1e-10, "{}: {a} against {b}", instance.name);
                }
            }
            assert!(found.margin > MARGIN - 1e-9, "{}", instance.name);
        }
    }
}

#[test]
fn half_of_the_inequalities_are_active() {
    let instance = Family::all().into_iter().find(|f| f.name() == "dense-eq-in-box").expect("listed").instance(24, 1);
    let rows = instance.solution.z.iter().filter(|&&z| z > 0.0).count();
    assert_eq!(2 * rows, instance.qp.n_inequality());
    assert!(instance.solution.z_box.iter().any(|&z| z > 0.0) && instance.solution.z_box.iter().any(|&z| z < 0.0));
}
