//! Sparse problems with rows and variables that say nothing new: answers are those of the problem without them, whether or not
//! they are taken out before it is solved.

use bpqp::check::Entry;
use bpqp::{
    Certificate, Cotangent, Csc, Gradient, Hessian, Layer, Matrix, Qp, Settings, Solution, Status, Verdict, Wrt,
};
use bpqp_testkit::Rng;
use bpqp_testkit::differences::loss;

type Entries = Vec<(usize, usize, f64)>;

/// Rows as they are made.
#[derive(Default, Clone)]
struct Rows {
    entries: Entries,
    rhs: Vec<f64>,
}

impl Rows {
    fn push(&mut self, row: &[(usize, f64)], rhs: f64) {
        self.entries.extend(row.iter().map(|&(j, v)| (self.rhs.len(), j, v)));
        self.rhs.push(rhs);
    }

    fn row(&self, i: usize) -> Vec<(usize, f64)> {
        self.entries.iter().filter(|(row, _, _)| *row == i).map(|&(_, j, v)| (j, v)).collect()
    }

    fn matrix(&self, n: usize) -> Csc {
        Csc::from_triplets(self.rhs.len(), n, &self.entries).expect("in range")
    }
}

/// A program as it is made.
#[derive(Clone)]
struct Program {
    p: Entries,
    q: Vec<f64>,
    equal: Rows,
    unequal: Rows,
    lb: Vec<f64>,
    ub: Vec<f64>,
}

impl Program {
    /// With active inequalities and bounds; `curved` in every direction, or linear.
    fn random(rng: &mut Rng, curved: bool) -> Self {
        let (n, m, k) = (60, 12, 40);
        let pick = |rng: &mut Rng| (rng.uniform() * n as f64) as usize % n;
        let mut p = Vec::new();
        if curved {
            for j in 0..n {
                p.push((j, j, 1.0 + rng.uniform()));
                let i = pick(rng);
                if i != j {
                    p.extend([(i, j, 0.2), (j, i, 0.2), (i, i, 0.2), (j, j, 0.2)]);
                }
            }
        }
        let at: Vec<f64> = (0..n).map(|_| rng.uniform()).collect();
        let row = |rng: &mut Rng| {
            let first = pick(rng);
            let other: Vec<usize> = (1..5).map(|s| (first + 7 * s + pick(rng) % 7) % n).collect();
            let row: Vec<(usize, f64)> = other.iter().chain([&first]).map(|&j| (j, rng.normal())).collect();
            let value: f64 = row.iter().map(|(j, v)| v * at[*j]).sum();
            (row, value)
        };
        let (mut equal, mut unequal) = (Rows::default(), Rows::default());
        for _ in 0..m {
            let (row, value) = row(rng);
            equal.push(&row, value);
        }
        for i in 0..k {
            let (row, value) = row(rng);
            unequal.push(&row, value + if i % 2 == 0 { 0.05 } else { 0.4 });
        }
        let q = rng.normals(n).iter().map(|v| 2.0 * v).collect();
        Program { p, q, equal, unequal, lb: vec![0.0; n], ub: vec![1.0; n] }
    }

    fn variable(&mut self, q: f64, lb: f64, ub: f64) -> usize {
        self.q.push(q);
        self.lb.push(lb);
        self.ub.push(ub);
        self.q.len() - 1
    }

    /// A new variable is `x` everywhere: it gets entries in some rows, and in P beside another one, whose right-hand sides and
    /// costs make up for it.
    fn mix(&mut self, j: usize, x: f64, rng: &mut Rng) {
        for rows in [&mut self.equal, &mut self.unequal] {
            for i in [1, 4, 7] {
                let v = rng.normal();
                rows.entries.push((i, j, v));
                rows.rhs[i] += v * x;
            }
        }
        if !self.p.is_empty() {
            let i = 3 * (j % 7);
            self.p.extend([(j, j, 1.0), (i, j, 0.3), (j, i, 0.3)]);
            self.q[i] -= 0.3 * x;
        }
    }

    /// With everything that is superfluous.
    fn planted(mut self, rng: &mut Rng) -> Self {
        for _ in 0..4 {
            let c = rng.normal();
            let j = self.variable(rng.normal(), c, c);
            self.mix(j, c, rng);
            let j = self.variable(rng.normal(), -3.0, 3.0);
            let x = 2.0 * rng.uniform();
            self.equal.push(&[(j, -1.5)], -1.5 * x);
            self.mix(j, x, rng);
            // three at their bounds: by an inequality, and by an equation
            let three: Vec<usize> = (0..3).map(|_| self.variable(rng.normal(), 0.5, 2.0)).collect();
            let row: Vec<(usize, f64)> = three.iter().map(|&j| (j, 0.5 + rng.uniform())).collect();
            let low = row.iter().map(|(_, v)| v * 0.5).sum();
            self.unequal.push(&row, low);
            three.iter().for_each(|&j| self.mix(j, 0.5, rng));
            let two: Vec<usize> = (0..2).map(|_| self.variable(rng.normal(), -1.0, 0.25)).collect();
            self.equal.push(&[(two[0], 2.0), (two[1], -1.0)], 2.0 * 0.25 + 1.0);
            self.mix(two[0], 0.25, rng);
            self.mix(two[1], -1.0, rng);
            self.equal.push(&[], 0.0);
            self.unequal.push(&[], 0.5);
        }
        for i in [0, 3, 6, 9] {
            let (row, rhs) = (self.equal.row(i), self.equal.rhs[i]);
            self.equal.push(&scaled(&row, -2.5), -2.5 * rhs);
            self.unequal.push(&scaled(&row, -0.7), -0.7 * rhs + 0.3);
        }
        for i in [0, 3, 8, 11, 20, 21] {
            // looser, and in other units
            let (row, rhs) = (self.unequal.row(i), self.unequal.rhs[i]);
            self.unequal.push(&scaled(&row, 3.0), 3.0 * rhs + 0.5);
        }
        for i in [2, 5, 13] {
            // beyond what the bounds allow
            let row = self.unequal.row(i);
            let most: f64 = row.iter().map(|&(j, v)| v * if v > 0.0 { self.ub[j] } else { self.lb[j] }).sum();
            self.unequal.push(&row.iter().map(|&(j, v)| (j, v + 0.01 * v)).collect::<Vec<_>>(), 1.01 * most + 0.2);
        }
        self
    }

    fn qp(&self) -> Qp {
        let n = self.q.len();
        let p = if self.p.is_empty() {
            Hessian::Zero(n)
        } else {
            Hessian::Sparse(Csc::from_triplets(n, n, &self.p).expect("in range"))
        };
        Qp::new(p, self.q.clone())
            .and_then(|qp| qp.equality(self.equal.matrix(n), self.equal.rhs.clone()))
            .and_then(|qp| qp.inequality(self.unequal.matrix(n), self.unequal.rhs.clone()))
            .and_then(|qp| qp.bounds(self.lb.clone(), self.ub.clone()))
            .expect("valid")
    }
}

fn scaled(row: &[(usize, f64)], by: f64) -> Vec<(usize, f64)> {
    row.iter().map(|&(j, v)| (j, by * v)).collect()
}

fn with() -> Settings {
    Settings { presolve: true, ..Settings::default() }
}

fn without() -> Settings {
    Settings { presolve: false, ..Settings::default() }
}

fn solve(qp: &Qp, settings: &Settings) -> Solution {
    let solution = qp.solve(settings).expect("valid");
    assert_eq!(solution.status, Status::Solved, "{:?}", solution.info);
    solution
}

fn close(what: &str, a: &[f64], b: &[f64], tolerance: f64) {
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        assert!((a - b).abs() <= tolerance * (1.0 + b.abs()), "{what} {i}: {a} {b}");
    }
}

/// Conditions of a minimum, of every row in its own units.
fn is_minimum(solution: &Solution) {
    let (qp, at) = (solution.qp(), solution);
    let mut force = qp.q().to_vec();
    qp.p().mul_add(1.0, &at.x, &mut force, &mut Vec::new());
    qp.a().tmul_add(1.0, &at.y, &mut force);
    qp.g().tmul_add(1.0, &at.z, &mut force);
    let size = 1.0 + [&at.y, &at.z, &at.z_box].iter().flat_map(|v| v.iter()).fold(0.0_f64, |m, v| m.max(v.abs()));
    let small = |what: &str, v: f64, scale: f64| assert!(v.abs() <= 1e-8 * scale, "{what}: {v} of {scale}");
    for (j, (f, z)) in force.iter().zip(&at.z_box).enumerate() {
        small("stationarity", f + z, size);
        let (low, high) = (at.x[j] - qp.lb()[j], qp.ub()[j] - at.x[j]);
        small("bounds", low.min(high).min(0.0), 1.0);
        small("bounds", if *z > 0.0 { z * high } else { z * low }, size);
    }
    let value = |m: &Matrix| {
        let mut v = vec![0.0; m.nrows()];
        m.mul_add(1.0, &at.x, &mut v);
        v
    };
    value(qp.a()).iter().zip(qp.b()).for_each(|(v, b)| small("equations", v - b, 1.0 + b.abs()));
    for ((v, h), z) in value(qp.g()).iter().zip(qp.h()).zip(&at.z) {
        assert!(*z >= 0.0);
        small("inequalities", (h - v).min(0.0), 1.0 + h.abs());
        small("complementarity", (h - v) * z, size);
    }
}

fn gradient(solution: &Solution, cotangent: &Cotangent) -> (Gradient, Verdict) {
    let gradient = solution.vjp(cotangent, Wrt::ALL).expect("a solution");
    (gradient, solution.verdict())
}

#[test]
fn answers_are_those_of_the_problem_without() {
    for seed in 0..6 {
        let mut rng = Rng::new(seed);
        let program = Program::random(&mut rng, true);
        let (base, planted) = (program.qp(), program.planted(&mut rng).qp());
        let n = base.n();
        let (own, on, off) = (solve(&base, &without()), solve(&planted, &with()), solve(&planted, &without()));
        let active = own.active().g.iter().filter(|active| **active).count();
        assert!(active > 5 && own.z_box.iter().any(|z| *z != 0.0), "{active} active rows");
        close("x", &on.x, &own.x, 1e-9);
        close("x", &on.x, &off.x, 1e-9);
        is_minimum(&on);
        assert!((on.objective - off.objective).abs() <= 1e-9 * (1.0 + off.objective.abs()));
        // of the point and of the cost of what is in both
        let cotangent = |qp: &Qp, rng: &mut Rng| {
            let mut x = rng.normals(n);
            x.resize(qp.n(), 0.0);
            Cotangent::x(&x)
        };
        let (mut again, mut rng) = (Rng::new(seed + 100), Rng::new(seed + 100));
        let (mine, verdict) = gradient(&on, &cotangent(&planted, &mut rng));
        let (theirs, _) = gradient(&own, &cotangent(&base, &mut again));
        let q = |gradient: &Gradient| gradient.q.clone().expect("asked for");
        close("q", &q(&mine)[..n], &q(&theirs), 1e-8);
        let (also, same) = gradient(&off, &cotangent(&planted, &mut Rng::new(seed + 100)));
        close("q", &q(&mine), &q(&also), 1e-8);
        assert_eq!(verdict, same);
        // rows that nothing repeats have one gradient
        let alone = |i: &usize| ![0, 3, 6, 9].contains(i);
        let (b, of) = (mine.b.expect("asked for"), theirs.b.expect("asked for"));
        (0..of.len()).filter(alone).for_each(|i| close("b", &b[i..=i], &of[i..=i], 1e-7));
        let (h, of) = (mine.h.expect("asked for"), theirs.h.expect("asked for"));
        close("h", &h[..of.len()], &of, 1e-7);
    }
}

#[test]
fn linear_programs_too() {
    for seed in 10..16 {
        let mut rng = Rng::new(seed);
        let program = Program::random(&mut rng, false);
        let (base, planted) = (program.qp(), program.planted(&mut rng).qp());
        let (own, on, off) = (solve(&base, &without()), solve(&planted, &with()), solve(&planted, &without()));
        close("x", &on.x, &own.x, 1e-9);
        assert!((on.objective - off.objective).abs() <= 1e-9 * (1.0 + off.objective.abs()));
        is_minimum(&on);
        let cotangent = Cotangent { objective: 1.0, ..Cotangent::default() };
        let ((mine, _), (theirs, _)) = (gradient(&on, &cotangent), gradient(&off, &cotangent));
        close("q", &mine.q.expect("asked for"), &theirs.q.expect("asked for"), 1e-8);
    }
}

#[test]
fn gradients_are_those_of_central_differences() {
    let mut rng = Rng::new(40);
    let mut program = Program::random(&mut rng, true);
    // fixed and forced variables, without rows that depend on others: every derivative exists
    for _ in 0..5 {
        let c = rng.normal();
        let j = program.variable(rng.normal(), c, c);
        program.mix(j, c, &mut rng);
        let j = program.variable(rng.normal(), -3.0, 3.0);
        let x = rng.uniform();
        program.equal.push(&[(j, -1.5)], -1.5 * x);
        program.mix(j, x, &mut rng);
        let row = program.unequal.row(2);
        let most: f64 = row.iter().map(|&(j, v)| v * if v > 0.0 { program.ub[j] } else { program.lb[j] }).sum();
        program.unequal.push(&scaled(&row, 1.5), 1.5 * most + 0.2);
    }
    let qp = program.qp();
    let solution = solve(&qp, &with());
    let mut cotangent = Cotangent::x(&rng.normals(qp.n()));
    cotangent.objective = 0.5;
    let gradient = solution.vjp(&cotangent, Wrt::ALL).expect("a solution");
    assert_eq!(solution.verdict(), Verdict::Exact);
    let all: Vec<Entry> = Entry::all(&qp).into_iter().filter(|entry| !["lb", "ub"].contains(&entry.block())).collect();
    for entry in all.iter().step_by(all.len() / 120) {
        let step = 1e-5;
        let at = |step: f64| {
            let there = solve(&entry.moved(&qp, step), &with());
            let same = there.active().g == solution.active().g && there.active().bound == solution.active().bound;
            same.then(|| loss(there.qp(), &cotangent, &there.point()))
        };
        // a change of the active set is a kink
        if let (Some(above), Some(below)) = (at(step), at(-step)) {
            let (numeric, own) = ((above - below) / (2.0 * step), entry.of(&gradient));
            assert!((numeric - own).abs() <= 1e-5 * (1.0 + own.abs()), "{entry}: {own} {numeric}");
        }
    }
}

#[test]
fn updates_are_new_problems() {
    let mut rng = Rng::new(50);
    let program = Program::random(&mut rng, true).planted(&mut rng);
    let qp = program.qp();
    let mut layer = Layer::new(qp.clone(), with()).expect("valid");
    let mut wider = program.clone();
    // other numbers, and other things to take out: nothing forces, more is fixed
    wider.ub.iter_mut().skip(80).for_each(|ub| *ub += 0.5);
    let mut fixed = program.clone();
    (fixed.lb[3], fixed.ub[3]) = (0.5, 0.5);
    let q = rng.normals(qp.n());
    for next in [qp.clone(), qp.clone().with_q(q).expect("valid"), wider.qp(), fixed.qp(), qp.clone()] {
        layer.update(next.clone()).expect("the same structure");
        let new = next.solve(&with()).expect("valid");
        let own = layer.solve().expect("valid");
        assert_eq!(own.status, new.status);
        if new.ok() {
            assert_eq!((&own.x, &own.y, &own.z, &own.z_box), (&new.x, &new.y, &new.z, &new.z_box));
        }
    }
}

#[test]
fn what_has_no_solution_is_proved_of_the_problem_itself() {
    let mut rng = Rng::new(60);
    let program = Program::random(&mut rng, true).planted(&mut rng);
    let proved = |program: &Program, status: Status| {
        for settings in [with(), without()] {
            let qp = program.qp();
            let solution = qp.solve(&settings).expect("valid");
            assert_eq!(solution.status, status);
            assert!(solution.info.certificate.as_ref().is_some_and(|proof| proof.verify(&qp)));
        }
    };
    // rows that say different things; an empty one; one beyond its bounds
    let mut wrong = program.clone();
    let last = wrong.equal.rhs.len() - 1;
    wrong.equal.rhs[last] += 1.0;
    proved(&wrong, Status::PrimalInfeasible);
    let mut wrong = program.clone();
    wrong.equal.push(&[], 1.0);
    proved(&wrong, Status::PrimalInfeasible);
    let mut wrong = program.clone();
    wrong.unequal.push(&[(60, 1.0), (1, 1.0), (2, 1.0)], wrong.lb[60] - 0.5);
    proved(&wrong, Status::PrimalInfeasible);
    // what only the solver finds: sums of rows, with variables that are gone
    let mut wrong = program.clone();
    let (row, rhs) = (wrong.unequal.row(1), wrong.unequal.rhs[1]);
    let j = (0..60).find(|j| row.iter().all(|(i, _)| i != j)).expect("a variable elsewhere");
    let opposite: Vec<(usize, f64)> = scaled(&row, -1.0).into_iter().chain([(j, 0.1)]).collect();
    wrong.unequal.push(&opposite, -rhs - 1.0);
    wrong.unequal.push(&[(j, -0.1), (60, 0.1)], 0.1 * wrong.lb[60]);
    proved(&wrong, Status::PrimalInfeasible);
    // and a linear program that falls for ever
    let mut open = Program::random(&mut rng, false).planted(&mut rng);
    let (i, j) = (open.variable(-1.0, 0.0, f64::INFINITY), open.variable(0.0, 0.0, f64::INFINITY));
    open.unequal.push(&[(i, 1.0), (j, -1.0)], 2.0);
    proved(&open, Status::DualInfeasible);
    assert!(matches!(open.qp().solve(&with()).expect("valid").info.certificate, Some(Certificate::DualInfeasible(_))));
}
