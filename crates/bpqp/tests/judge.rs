//! The exact judge, in short: no wrong number under `exact`, no false proof, and regular problems are `exact`.

use bpqp::{Cone, Conic, ConicCotangent, ConicWrt, Csc, Settings, Solver, Status, Verdict};
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
    // the last ones: right-hand sides 0, and a bound that asks for the variables through the rows; all data 0; a force on a
    // variable without curvature; rows and a curvature along one direction, with nothing across it
    for seed in [572_211, 590_199, 765_863, 246_583, 590_218, 130_014_515, 130_030_303, 130_047_075, 500_010_286] {
        let spread = [0, 0, 10, 30][(seed % 4) as usize];
        let planted = Planted::new(&mut Rng::new(seed), spread);
        let result = judge(&planted, &plain(seed)).expect("the truth is known");
        assert_eq!(result.wrong, None, "seed {seed}: {}", result.said);
    }
}

#[test]
fn dependent_rows_in_units_far_apart_hide_nothing() {
    // multipliers that ran off along rows that cancel; more equations than variables; a weakly active row at the origin
    let dependent = [210_062_883, 210_080_303, 220_045_795, 220_060_519, 300_019_259];
    for seed in dependent.into_iter().chain([210_073_379]) {
        let result = judge(&Planted::new(&mut Rng::new(seed), 30), &plain(seed)).expect("the truth is known");
        assert_eq!((&*result.said, &result.wrong), ("one_of_several", &None), "seed {seed}");
    }
}

#[test]
fn rows_that_do_not_hold_choose_no_units() {
    // an inactive row of large entries, in the column of a variable of which little else is seen
    for seed in [400_001_071, 400_061_703] {
        let result = judge(&Planted::new(&mut Rng::new(seed), 30), &plain(seed)).expect("the truth is known");
        assert_eq!((&*result.said, &result.wrong), ("exact", &None), "seed {seed}");
    }
}

#[test]
fn what_the_data_cannot_be_measured_by_is_no_measure() {
    let said = |seed: u64| {
        let spread = [0, 0, 10, 30][(seed % 4) as usize];
        let result = judge(&Planted::new(&mut Rng::new(seed), spread), &plain(seed)).expect("the truth is known");
        assert_eq!(result.wrong, None, "seed {seed}: {}", result.said);
        (result.kind, result.said)
    };
    // a force along a face, small beside those of variables that do not feel it; and beside rounding of a point far along it
    for seed in [600_036_619, 700_028_319, 410_090_027, 1_050_002_807] {
        assert_eq!(said(seed), (Kind::Regular, "exact".to_owned()), "seed {seed}");
    }
    // an empty row with a right-hand side, which is at no distance
    assert_eq!(said(950_010_023), (Kind::Regular, "exact".to_owned()));
    // optima at the origin, where rows are sums of nothing but what they are off by; a set that bold exchanges go around
    let origin = [410_010_637, 400_026_863, 410_025_855, 410_074_159, 410_074_731, 700_001_515, 700_073_087, 8_027_983];
    for seed in origin {
        assert_eq!(said(seed), (Kind::Regular, "exact".to_owned()), "seed {seed}");
    }
    // rounding of a length that vanishes, beside no other length in the data
    assert_eq!(said(980_006_086), (Kind::Weak, "one_of_several".to_owned()));
    // the same on dependent rows; losses that nothing but the face feels, whose gradient is 0
    for seed in [
        220_025_107,
        310_021_607,
        700_033_869,
        700_051_903,
        700_004_376,
        700_004_453,
        700_007_984,
        710_064_339,
        410_029_296,
        980_012_411,
    ] {
        assert_eq!(said(seed).1, "one_of_several", "seed {seed}");
    }
}

#[test]
fn units_that_are_hard_to_find_are_found() {
    // an optimum of 0 between large terms; parts that do not meet, in units of their own; a vertex at the origin; terms of a row
    // that no tolerance allows for; large entries beside small ones in every row and column; an empty row beside large lengths
    let seeds = [9_001_227, 9_017_135, 9_020_695, 9_022_159, 20_017_887, 20_022_003, 20_033_015, 20_035_419];
    for seed in seeds {
        let result = judge(&Planted::new(&mut Rng::new(seed), 30), &plain(seed)).expect("the truth is known");
        assert_eq!((result.kind, &*result.said, &result.wrong), (Kind::Regular, "exact", &None), "seed {seed}");
    }
}

#[test]
fn least_norms_on_faces_are_those_of_units_far_apart() {
    // dense and sparse; directions with an entry of the longest variable that is rounding, and faces of linear programs
    let seeds = [880_855, 887_139, 100_013_079, 100_033_787, 110_103_511, 110_272_731, 110_320_895, 110_342_095];
    for seed in seeds {
        let result = judge(&Planted::new(&mut Rng::new(seed), 30), &plain(seed)).expect("the truth is known");
        assert_eq!((result.kind, &*result.said, &result.wrong), (Kind::Face, "one_of_several", &None), "seed {seed}");
    }
}

#[test]
fn nor_of_second_order_cones() {
    let (mut regular, mut exactly) = (0, 0);
    // the last ones were wrong once: a rank and kinks that the noise of the directions hid, a multiplier that was rounding
    for seed in (1001..=1300).chain([5779, 24599, 27978, 770_008_967, 880_011_991, 900_005_079]) {
        let spread = [0, 0, 4, 10][(seed % 4) as usize];
        let planted = PlantedCones::new(&mut Rng::new(seed), spread).expect("finite numbers");
        let (said, is_regular, wrong) = planted.judge();
        assert_eq!(wrong, None, "seed {seed}: {said}");
        regular += usize::from(is_regular);
        exactly += usize::from(is_regular && said == "exact");
    }
    assert!(regular > 100 && exactly + 2 >= regular, "{exactly} of {regular} regular problems are exact");
}

#[test]
fn cone_programs_in_units_apart_are_solved() {
    for seed in [6003, 7759, 310_091] {
        let planted = PlantedCones::new(&mut Rng::new(seed), 10).expect("finite numbers");
        assert_eq!(planted.judge(), ("exact".to_owned(), true, None), "seed {seed}");
    }
}

/// `min 1/2 |x|^2 - v'x` over a cone: the projection of v, in these units of x and of the objective.
fn projection(cone: Cone, v: &[f64], (unit, objective): (f64, f64)) -> Conic {
    let n = v.len();
    let diagonal = |value: f64| Csc::from_triplets(n, n, &(0..n).map(|i| (i, i, value)).collect::<Vec<_>>());
    let q = v.iter().map(|v| -v * objective / unit).collect();
    let (p, a) = (diagonal(objective / unit / unit).expect("in range"), diagonal(-1.0).expect("in range"));
    Conic::new(Some(p), q, a, vec![0.0; n], vec![cone]).expect("valid")
}

/// Of the projection: what is said of the derivative, and whether solution and derivative are right as far as that promises.
/// `derivative` is by rows, nothing at a kink.
fn judge_projection(cone: Cone, (v, s, derivative): (&[f64], &[f64], &[f64]), units: (f64, f64)) -> String {
    let n = v.len();
    let solution = projection(cone, v, units).solve(&Settings::default()).expect("valid");
    if solution.status != Status::Solved {
        return solution.status.to_string();
    }
    let size = v.iter().fold(1.0_f64, |m, v| m.max(v.abs()));
    let error = solution.x.iter().zip(s).fold(0.0_f64, |m, (x, s)| m.max((x / units.0 - s).abs()));
    assert!(error <= 1e-6 * size, "{cone:?} {v:?}: {:?} instead of {s:?}", solution.x);
    let loss: Vec<f64> = (0..n).map(|i| (1.0 + i as f64) * if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
    let cotangent: Vec<f64> = loss.iter().map(|l| l / units.0).collect();
    let (gradients, verdict) = solution.vjps(&[ConicCotangent::x(&cotangent)], ConicWrt::ALL).expect("differentiable");
    if verdict == Verdict::Exact {
        assert!(!derivative.is_empty(), "{cone:?} {v:?}: exact at a kink");
        let got = gradients[0].q.iter().flatten().map(|g| -g * units.1 / units.0);
        for (j, got) in got.enumerate() {
            let right: f64 = (0..n).map(|i| loss[i] * derivative[n * i + j]).sum();
            assert!((got - right).abs() <= 1e-7 * n as f64, "{cone:?} {v:?}: {j} is {got} instead of {right}");
        }
    }
    verdict.to_string()
}

/// Units of the variables and of the objective, in turn.
fn units(k: usize) -> (f64, f64) {
    ([1.0, 1024.0, 1.0 / 64.0][k % 3], [1.0, 4096.0, 1.0 / 1024.0][k / 3 % 3])
}

#[test]
fn projections_onto_exponential_and_power_cones_are_exact_or_say_so() {
    // with 50 digits, on a grid that meets every face and kink
    let (mut smooth, mut exactly) = (0, 0);
    for (k, line) in include_str!("../src/cones/tests/grid.csv").lines().enumerate() {
        let fields: Vec<&str> = line.split(',').collect();
        let number = |i: usize| fields[i].parse::<f64>().expect("a number");
        let cone = match fields[0] {
            "exp" => Cone::Exponential,
            "dual_exp" => Cone::DualExponential,
            "pow" => Cone::Power(number(1)),
            _ => Cone::DualPower(number(1)),
        };
        let (v, s): (Vec<f64>, Vec<f64>) = ((2..5).map(number).collect(), (5..8).map(number).collect());
        let derivative: Vec<f64> = (9..fields.len()).map(number).collect();
        let said = judge_projection(cone, (&v, &s, &derivative), units(k));
        if fields[8] == "smooth" {
            smooth += 1;
            exactly += usize::from(said == "exact");
        }
    }
    assert!(smooth > 300 && exactly == smooth, "{exactly} of {smooth} smooth points are exact");
}

#[test]
fn projections_onto_semidefinite_matrices_are_exact_or_say_so() {
    let third = 1.0 / 3.0;
    let bases: [(usize, &[f64]); 3] = [
        (2, &[0.6, -0.8, 0.8, 0.6]),
        (2, &[1.0, 0.0, 0.0, 1.0]),
        (3, &[2.0 * third, -third, 2.0 * third, 2.0 * third, 2.0 * third, -third, -third, 2.0 * third, 2.0 * third]),
    ];
    let (mut smooth, mut exactly) = (0, 0);
    for (n, q) in bases {
        let rows = n * (n + 1) / 2;
        for k in 0..5_usize.pow(n as u32) {
            let w: Vec<f64> = (0..n).map(|i| (k / 5_usize.pow(i as u32) % 5) as f64 - 2.0).collect();
            let turned = |m: &dyn Fn(usize, usize) -> f64| turn(n, q, m);
            let v = turned(&|i, j| if i == j { w[i] } else { 0.0 });
            let s = turned(&|i, j| if i == j { w[i].max(0.0) } else { 0.0 });
            // the derivative: quotients of the differences of eigenvalues in the eigenbasis
            let quotient = |i: usize, j: usize| match w[i] == w[j] {
                true => f64::from(u8::from(w[i] > 0.0)),
                false => (w[i].max(0.0) - w[j].max(0.0)) / (w[i] - w[j]),
            };
            let kink = w.contains(&0.0);
            let mut derivative = vec![0.0; if kink { 0 } else { rows * rows }];
            for c in 0..if kink { 0 } else { rows } {
                let e: Vec<f64> = (0..rows).map(|r| f64::from(u8::from(r == c))).collect();
                let matrix = full(n, &e);
                let inner = |i: usize, j: usize| -> f64 {
                    (0..n)
                        .flat_map(|a| (0..n).map(move |b| (a, b)))
                        .map(|(a, b)| q[n * a + i] * matrix[n * a + b] * q[n * b + j])
                        .sum()
                };
                let column = turned(&|i, j| quotient(i, j) * inner(i, j));
                (0..rows).for_each(|r| derivative[rows * r + c] = column[r]);
            }
            let said = judge_projection(Cone::PsdTriangle(n), (&v, &s, &derivative), units(k));
            if !kink {
                smooth += 1;
                exactly += usize::from(said == "exact");
            }
        }
    }
    assert!(smooth > 80 && exactly == smooth, "{exactly} of {smooth} smooth points are exact");
}

/// The symmetric matrix of a triangle by columns with `sqrt 2` off the diagonal, by rows.
fn full(n: usize, triangle: &[f64]) -> Vec<f64> {
    let entry = |i: usize, j: usize| {
        let (i, j) = (i.min(j), i.max(j));
        triangle[j * (j + 1) / 2 + i] / if i == j { 1.0 } else { 2.0_f64.sqrt() }
    };
    (0..n * n).map(|k| entry(k / n, k % n)).collect()
}

/// The triangle of `Q M Q'`.
fn turn(n: usize, q: &[f64], m: &dyn Fn(usize, usize) -> f64) -> Vec<f64> {
    let entry = |r: usize, c: usize| -> f64 {
        (0..n).flat_map(|i| (0..n).map(move |j| (i, j))).map(|(i, j)| q[n * r + i] * m(i, j) * q[n * c + j]).sum()
    };
    (0..n)
        .flat_map(|c| (0..=c).map(move |r| (r, c)))
        .map(|(r, c)| entry(r, c) * if r == c { 1.0 } else { 2.0_f64.sqrt() })
        .collect()
}
