//! Projections and derivatives against closed forms and a reference with 50 digits.

use super::*;
use crate::matrix::dot;
use bpqp_testkit::Rng;

struct Parts {
    s: Vec<f64>,
    y: Vec<f64>,
    curvature: Vec<f64>,
    split: Split,
}

fn parts(cone: Cone, v: &[f64], tolerance: f64) -> Parts {
    let zero = || vec![f64::NAN; v.len()];
    let (mut s, mut y, mut curvature) = (zero(), zero(), zero());
    let tol = vec![Tolerance { s: tolerance, y: tolerance }; v.len()];
    let split = cone.split(v, &tol, Block { s: &mut s, y: &mut y, curvature: &mut curvature });
    Parts { s, y, curvature, split }
}

/// `D Pi_K(v) e` from the basis and the curvatures.
fn derivative(p: &Parts, e: &[f64]) -> Vec<f64> {
    let mut c = vec![0.0; e.len()];
    let d = |c: f64| 1.0 / (1.0 + c);
    p.split.basis.coordinates(e, &mut c);
    c.iter_mut().zip(&p.curvature).for_each(|(v, c)| *v *= d(*c));
    let mut out = vec![0.0; e.len()];
    p.split.basis.combine(&c, &mut out);
    if let Basis::SecondOrder(uh) = &p.split.basis {
        // the free direction is not among the rows
        let along = 0.5 * (e[0] + dot(uh, &e[1..]));
        out[0] += along;
        uh.iter().zip(&mut out[1..]).for_each(|(u, o)| *o += along * u);
    }
    out
}

fn close(a: &[f64], b: &[f64], tolerance: f64, what: &str) {
    let scale = b.iter().fold(1e-300_f64, |m, v| m.max(v.abs()));
    for (x, y) in a.iter().zip(b) {
        assert!((x - y).abs() <= tolerance * scale, "{what}: {a:?} instead of {b:?}");
    }
}

#[test]
fn exponential_and_power_cones_and_their_duals_agree_with_50_digits() {
    let mut seen = std::collections::BTreeMap::new();
    for line in include_str!("tests/reference.csv").lines() {
        let fields: Vec<&str> = line.split(',').collect();
        let numbers: Vec<f64> = fields[1..].iter().map(|f| f.parse().expect("a number")).collect();
        let cone = match fields[0] {
            "exp" => Cone::Exponential,
            "dual_exp" => Cone::DualExponential,
            "pow" => Cone::Power(numbers[0]),
            _ => Cone::DualPower(numbers[0]),
        };
        *seen.entry(fields[0]).or_insert(0) += 1;
        let (v, s, d) = (&numbers[1..4], &numbers[4..7], &numbers[7..16]);
        let ours = parts(cone, v, 0.0);
        let scale = norm3(&[v[0], v[1], v[2]]);
        for i in 0..3 {
            assert!((ours.s[i] - s[i]).abs() <= 1e-13 * scale, "{line}: {:?}", ours.s);
            assert!((ours.s[i] - ours.y[i] - v[i]).abs() <= 1e-13 * scale, "{line}: s - y = v");
        }
        for k in 0..3 {
            let mut e = [0.0; 3];
            e[k] = 1.0;
            let column = derivative(&ours, &e);
            for i in 0..3 {
                assert!((column[i] - d[3 * i + k]).abs() <= 1e-10, "{line}: D[{i},{k}] = {}", column[i]);
            }
        }
    }
    assert!(seen.len() == 4 && seen.values().all(|&n| n >= 10), "{seen:?}");
}

#[test]
fn projections_onto_faces_and_special_points() {
    type Case = (Cone, [f64; 3], [f64; 3], [f64; 3]);
    let cases: [Case; 6] = [
        (Cone::Exponential, [-1.0, -2.0, 3.0], [-1.0, 0.0, 3.0], [1.0, 0.0, 1.0]),
        (Cone::Exponential, [-1.0, -2.0, -3.0], [-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]),
        (Cone::Power(0.3), [2.0, -1.0, 0.0], [2.0, 0.0, 0.0], [1.0, 0.0, 0.0]),
        (Cone::Power(0.7), [2.0, -1.0, 0.0], [2.0, 0.0, 0.0], [1.0, 0.0, 1.0]),
        (Cone::Power(0.5), [2.0, -1.0, 0.0], [2.0, 0.0, 0.0], [1.0, 0.0, 0.5]),
        (Cone::DualPower(0.3), [0.1, 1.0, 0.0], [0.1, 1.0, 0.0], [1.0, 1.0, 1.0]),
    ];
    for (cone, v, s, d) in cases {
        let ours = parts(cone, &v, 1e-12);
        close(&ours.s, &s, 1e-15, "projection");
        let diagonal: Vec<f64> = (0..3)
            .map(|k| {
                let mut e = [0.0; 3];
                e[k] = 1.0;
                derivative(&ours, &e)[k]
            })
            .collect();
        close(&diagonal, &d, 1e-15, "derivative");
        assert!(!ours.split.weak);
    }
}

#[test]
fn second_order_cone_has_its_closed_form() {
    let mut rng = Rng::new(5);
    for k in [1, 2, 3, 7] {
        for trial in 0..30 {
            let mut v = rng.normals(k);
            v[0] *= [0.3, 1.0, 3.0][trial % 3];
            let ours = parts(Cone::SecondOrder(k), &v, 0.0);
            let norm = dot(&v[1..], &v[1..]).sqrt();
            let s: Vec<f64> = if norm <= v[0] {
                v.clone()
            } else if norm <= -v[0] {
                vec![0.0; k]
            } else {
                let a = 0.5 * (1.0 + v[0] / norm);
                std::iter::once(a * norm).chain(v[1..].iter().map(|u| a * u)).collect()
            };
            close(&ours.s, &s, 1e-14, "second-order cone");
            // its Jacobian by central differences of that form
            let e = rng.normals(k);
            let moved = |h: f64| {
                let at: Vec<f64> = v.iter().zip(&e).map(|(v, e)| v + h * e).collect();
                parts(Cone::SecondOrder(k), &at, 0.0).s
            };
            let h = 1e-5;
            let numeric: Vec<f64> = moved(h).iter().zip(moved(-h)).map(|(a, b)| (a - b) / (2.0 * h)).collect();
            let analytic = derivative(&ours, &e);
            for i in 0..k {
                assert!((analytic[i] - numeric[i]).abs() < 1e-8, "k = {k}: {analytic:?} {numeric:?}");
            }
        }
    }
}

#[test]
fn psd_cone_keeps_the_positive_eigenvalues() {
    let mut rng = Rng::new(6);
    for n in [1, 2, 5] {
        let rows = n * (n + 1) / 2;
        for _ in 0..10 {
            let v = rng.normals(rows);
            let ours = parts(Cone::PsdTriangle(n), &v, 0.0);
            // s and y are semidefinite, their difference is v, and their product vanishes
            let (s, y) = (psd::smat(n, &ours.s), psd::smat(n, &ours.y));
            let product = &s * &y;
            assert!(product.norm_max() < 1e-13);
            close(&ours.s.iter().zip(&ours.y).map(|(s, y)| s - y).collect::<Vec<_>>(), &v, 1e-13, "s - y");
            let smallest = |m: &Mat<f64>| m.self_adjoint_eigenvalues(faer::Side::Lower).unwrap()[0];
            assert!(smallest(&s) > -1e-13 && smallest(&y) > -1e-13);
            let e = rng.normals(rows);
            let moved = |h: f64| {
                let at: Vec<f64> = v.iter().zip(&e).map(|(v, e)| v + h * e).collect();
                parts(Cone::PsdTriangle(n), &at, 0.0).s
            };
            let h = 1e-5;
            let numeric: Vec<f64> = moved(h).iter().zip(moved(-h)).map(|(a, b)| (a - b) / (2.0 * h)).collect();
            let analytic = derivative(&ours, &e);
            for i in 0..rows {
                assert!((analytic[i] - numeric[i]).abs() < 1e-7, "n = {n}: {analytic:?} {numeric:?}");
            }
            // the two ways into the eigenbasis agree
            if let Basis::Eigen(q) = &ours.split.basis {
                let entries: Vec<(usize, f64)> = v.iter().copied().enumerate().collect();
                let (mut a, mut b) = (vec![0.0; rows], vec![0.0; rows]);
                psd::rotate_sparse(q, entries.into_iter(), &mut a);
                psd::rotate(q, &v, &mut b);
                close(&a, &b, 1e-13, "rotation");
            }
        }
    }
}

/// Both on the smooth boundary.
fn is_curved(p: &Parts) -> bool {
    matches!(p.split.basis, Basis::SecondOrder(_) | Basis::Three(_))
}

#[test]
fn second_derivatives_of_projections_agree_with_differences_of_the_first() {
    let mut rng = Rng::new(17);
    let cones = [
        Cone::SecondOrder(2),
        Cone::SecondOrder(3),
        Cone::SecondOrder(7),
        Cone::Exponential,
        Cone::DualExponential,
        Cone::Power(0.3),
        Cone::Power(0.5),
        Cone::Power(0.95),
        Cone::DualPower(0.8),
    ];
    for cone in cones {
        let mut seen = 0;
        for _ in 0..300 {
            let v = rng.normals(cone.rows());
            let (e, u) = (rng.normals(v.len()), rng.normals(v.len()));
            let at = |h: f64| {
                let moved: Vec<f64> = v.iter().zip(&e).map(|(v, e)| v + h * e).collect();
                parts(cone, &moved, 0.0)
            };
            let h = 2e-4;
            // points that are far from kinks as differences go
            let least = |v: &[f64]| v.iter().fold(f64::INFINITY, |m, v| m.min(v.abs()));
            let away = |p: &Parts| {
                is_curved(p)
                    && dot(&p.s, &p.s).min(dot(&p.y, &p.y)) > 0.04
                    && (matches!(cone, Cone::SecondOrder(_)) || least(&p.s).min(least(&p.y)) > 0.02)
            };
            let steps: Vec<Parts> = [-2.0, -1.0, 0.0, 1.0, 2.0].map(|k| at(k * h)).into();
            if !steps.iter().all(away) {
                continue;
            }
            let ours = &steps[2];
            let second = |e: &[f64], u: &[f64]| {
                let mut out = vec![f64::NAN; v.len()];
                cone.second_projection((&ours.s, &ours.y), ours.curvature[1], (e, u), &mut out);
                out
            };
            let analytic = second(&e, &u);
            let d: Vec<Vec<f64>> = steps.iter().map(|p| derivative(p, &u)).collect();
            let numeric: Vec<f64> =
                (0..v.len()).map(|i| (d[0][i] - 8.0 * d[1][i] + 8.0 * d[3][i] - d[4][i]) / (12.0 * h)).collect();
            let scale = analytic.iter().fold(1.0_f64, |m, v| m.max(v.abs()));
            for i in 0..v.len() {
                let error = (analytic[i] - numeric[i]).abs();
                assert!(error <= 1e-7 * scale, "{cone:?} at {v:?}: {analytic:?} {numeric:?}");
            }
            close(&second(&u, &e), &analytic, 1e-12, "symmetry");
            seen += 1;
        }
        assert!(seen >= 20, "{cone:?}: {seen}");
    }
}

#[test]
fn second_derivatives_of_projections_vanish_along_the_ray() {
    // Pi(a v) = a Pi(v): D Pi is constant along v, also where the numbers differ much in size
    let mut rng = Rng::new(18);
    let cones =
        [Cone::SecondOrder(4), Cone::Exponential, Cone::DualExponential, Cone::Power(0.2), Cone::DualPower(0.7)];
    for trial in 0..500 {
        let cone = cones[trial % cones.len()];
        let v: Vec<f64> = (0..cone.rows()).map(|_| rng.normal() * 10f64.powf(rng.between(-2.0, 2.0))).collect();
        let ours = parts(cone, &v, 0.0);
        if !is_curved(&ours) || ours.s.iter().chain(&ours.y).any(|v| v.abs() < 1e-100) {
            continue;
        }
        let (mut out, u) = (vec![f64::NAN; v.len()], rng.normals(v.len()));
        cone.second_projection((&ours.s, &ours.y), ours.curvature[1], (&v, &u), &mut out);
        let scale = 1.0 + dot(&v, &v).sqrt() / dot(&ours.s, &ours.s).min(dot(&ours.y, &ours.y)).sqrt();
        assert!(out.iter().all(|o| o.abs() <= 1e-13 * scale), "{cone:?} {v:?}: {out:?}");
    }
}

#[test]
fn kinks_are_weak_and_smooth_points_are_not() {
    let third = 1.0 / 3.0;
    let weak: [(Cone, &[f64]); 9] = [
        (Cone::Nonnegative(2), &[1.0, 0.0]),
        (Cone::SecondOrder(3), &[0.0, 0.0, 0.0]),
        (Cone::SecondOrder(3), &[5.0, 3.0, 4.0]),
        (Cone::SecondOrder(3), &[-5.0, 3.0, 4.0]),
        (Cone::PsdTriangle(2), &[1.0, 0.0, 0.0]),
        (Cone::Exponential, &[0.0, 1.0, 1.0]),
        (Cone::Exponential, &[-1.0, 0.0, 1.0]),
        (Cone::Power(third), &[1.0, 1.0, -1.0]),
        (Cone::DualPower(third), &[third, 2.0 * third, 1.0]),
    ];
    for (cone, v) in weak {
        assert!(parts(cone, v, 1e-12).split.weak, "{cone:?} at {v:?}");
    }
    let smooth: [(Cone, &[f64]); 6] = [
        (Cone::Nonnegative(2), &[1.0, -1.0]),
        (Cone::SecondOrder(3), &[0.5, 3.0, 4.0]),
        (Cone::PsdTriangle(2), &[1.0, 0.0, -1.0]),
        (Cone::Exponential, &[1.0, 1.0, 1.0]),
        (Cone::Power(third), &[1.0, 1.0, -2.0]),
        (Cone::DualExponential, &[-1.0, 1.0, 3.0]),
    ];
    for (cone, v) in smooth {
        assert!(!parts(cone, v, 1e-12).split.weak, "{cone:?} at {v:?}");
    }
}

#[test]
fn extreme_points_stay_finite_and_complementary() {
    let mut rng = Rng::new(7);
    let cones = [
        Cone::Exponential,
        Cone::DualExponential,
        Cone::Power(0.1),
        Cone::Power(0.5),
        Cone::DualPower(0.999),
        Cone::SecondOrder(3),
    ];
    for trial in 0..600 {
        let cone = cones[trial % cones.len()];
        let v: Vec<f64> = (0..3).map(|_| rng.normal() * 10f64.powf(rng.between(-8.0, 8.0))).collect();
        let ours = parts(cone, &v, 0.0);
        let scale = norm3(&[v[0], v[1], v[2]]);
        for i in 0..3 {
            assert!(ours.s[i].is_finite() && !ours.curvature[i].is_nan() && ours.curvature[i] >= 0.0);
            assert!((ours.s[i] - ours.y[i] - v[i]).abs() <= 1e-9 * scale, "{cone:?} {v:?}: {:?} {:?}", ours.s, ours.y);
        }
        assert!(dot(&ours.s, &ours.y).abs() <= 1e-9 * scale * scale, "{cone:?} {v:?}");
        // a projection is its own projection
        assert!(cone.distance(&ours.s) <= 1e-7 * scale, "{cone:?} {v:?}: {}", cone.distance(&ours.s));
    }
}

/// In the geometry of each cone: a direction that only rounding lets in is not in it.
#[test]
fn what_no_row_may_be_off_by_is_not_reached() {
    let tight = |s: &[f64]| s.iter().map(|v| 1e-8 * v.abs()).collect::<Vec<_>>();
    let reaches = |cone: Cone, s: &[f64]| cone.reaches(s, &tight(s));
    // x^(1/4) 0^(3/4) >= z holds for z = 0 alone
    assert!(reaches(Cone::Power(0.25), &[1.0, 0.0, 0.0]));
    assert!(!reaches(Cone::Power(0.25), &[1.0, 0.0, 1e-12]));
    assert!(reaches(Cone::Power(0.25), &[16.0, 1.0, 2.0]));
    assert!(!reaches(Cone::Power(0.25), &[16.0, 1.0, 2.001]));
    assert!(reaches(Cone::DualPower(0.5), &[0.5, 0.5, -1.0]));
    assert!(!reaches(Cone::DualPower(0.5), &[0.5, 0.5, -1.001]));
    // a square that does not show beside the others
    assert!(reaches(Cone::SecondOrder(3), &[1.0, 1.0, 0.0]));
    assert!(!reaches(Cone::SecondOrder(3), &[1.0, 1.0, 1e-10]));
    assert!(reaches(Cone::SecondOrder(3), &[1.1, 1.0, 1e-10]));
    assert!(reaches(Cone::Exponential, &[-1.0, 0.0, 0.0]));
    assert!(!reaches(Cone::Exponential, &[1e-9, 0.0, 1.0]));
    assert!(reaches(Cone::Exponential, &[1.0, 1.0, 1.000_000_01 * std::f64::consts::E]));
    assert!(!reaches(Cone::Exponential, &[1.0, 1.0, 0.999 * std::f64::consts::E]));
    assert!(reaches(Cone::DualExponential, &[-1.0, 1.0, (-2.0_f64).exp()]));
    assert!(!reaches(Cone::DualExponential, &[-1.0, 1.0, 0.1353]));
    assert!(reaches(Cone::DualExponential, &[0.0, 1.0, 0.0]));
    assert!(!reaches(Cone::DualExponential, &[0.0, -1.0, 1.0]));
}
