//! The exact judge, in short: no wrong number under `exact`, no false proof, and regular problems are `exact`.

use bpqp::{Settings, Solver};
use bpqp_testkit::Rng;
use bpqp_testkit::cone_judge::PlantedCones;
use bpqp_testkit::judge::{How, Kind, Mode, judge};
use bpqp_testkit::planted::{Form, Planted};

/// Judges the problems of these seeds; returns how many of the regular ones in units close by are exact, and of how many.
fn judge_all(seeds: std::ops::RangeInclusive<u64>, how: impl Fn(u64) -> How) -> (usize, usize) {
    let (mut regular, mut exactly) = (0, 0);
    for seed in seeds {
        let spread = [0, 0, 10, 30][(seed % 4) as usize];
        let how = how(seed);
        let planted = Planted::new(&mut Rng::new(seed), spread);
        let Some(result) = judge(&planted, &how) else { continue };
        if let Some(why) = &result.wrong {
            // weaker verdicts in units apart: the point is what the solver left
            let weaker = spread > 0 && !result.said.starts_with("exact") && why != "a proof of what is not so";
            assert!(weaker, "seed {seed}, {how:?}, {:?}, {}: {why}", result.kind, result.said);
        }
        if result.kind == Kind::Regular && spread == 0 {
            regular += 1;
            exactly += usize::from(result.said == "exact");
        }
    }
    (regular, exactly)
}

/// Small full programs and copies of them side by side, which are sparse, in turn.
fn plain(seed: u64) -> How {
    let (copies, form) = if seed % 8 < 4 { (1, Form::Dense) } else { (12, Form::Sparse) };
    How { copies, form, ..How::default() }
}

#[test]
fn nothing_is_wrong_and_called_exact() {
    let (regular, exactly) = judge_all(1..=800, plain);
    assert!(regular > 100 && exactly == regular, "{exactly} of {regular} regular problems are exact");
}

#[test]
fn nor_forwards_nor_twice() {
    for mode in [Mode::Jvp, Mode::Second] {
        let (regular, exactly) = judge_all(1001..=1300, |seed| How { mode, ..plain(seed) });
        assert!(regular > 30 && exactly == regular, "{mode:?}: {exactly} of {regular} regular problems are exact");
    }
}

#[test]
fn nor_of_factored_hessians() {
    let (regular, exactly) = judge_all(2001..=2400, |seed| How { form: Form::Factored, ..plain(seed) });
    assert!(regular > 50 && exactly == regular, "{exactly} of {regular} regular problems are exact");
}

#[test]
fn nor_from_another_solution() {
    let (regular, exactly) = judge_all(3001..=3400, |seed| How { warm: true, ..plain(seed) });
    assert!(regular > 50 && exactly == regular, "{exactly} of {regular} regular problems are exact");
}

#[test]
fn nor_by_any_solver() {
    for solver in Solver::ALL {
        judge_all(4001..=4200, |seed| How { settings: Settings { solver, ..Settings::default() }, ..plain(seed) });
    }
}

#[test]
fn what_was_wrong_once() {
    // contradictions that points of ordinary size satisfy; a weakly active row of a solution that vanishes
    for seed in [572_211, 590_199, 765_863, 246_583, 590_218] {
        let spread = [0, 0, 10, 30][(seed % 4) as usize];
        let planted = Planted::new(&mut Rng::new(seed), spread);
        let result = judge(&planted, &plain(seed)).expect("the truth is known");
        assert_eq!(result.wrong, None, "seed {seed}: {}", result.said);
    }
}

#[test]
fn nor_of_second_order_cones() {
    let (mut regular, mut exactly) = (0, 0);
    for seed in 1001..=1300 {
        let spread = [0, 0, 4, 10][(seed % 4) as usize];
        let planted = PlantedCones::new(&mut Rng::new(seed), spread).expect("finite numbers");
        let (said, is_regular, wrong) = planted.judge();
        assert_eq!(wrong, None, "seed {seed}: {said}");
        regular += usize::from(is_regular);
        exactly += usize::from(is_regular && said == "exact");
    }
    assert!(regular > 100 && exactly + 2 >= regular, "{exactly} of {regular} regular problems are exact");
}
