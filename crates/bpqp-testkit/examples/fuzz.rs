//! Random hostile problems: `cargo run --release -p bpqp-testkit --example fuzz -- [COUNT] [SEED] [ONLY]`.
//!
//! Every result is judged without the library's own linear algebra: a solved status by the optimality conditions, an
//! `Exact` verdict by the KKT matrix of the active set (regular?) and a gradient by elimination on it.

use bpqp::{Cotangent, Csc, Hessian, Matrix, Qp, Settings, Side, Solution, Solver, Status, Verdict, Wrt};
use bpqp_testkit::Rng;
use bpqp_testkit::reference::solve_linear;
use faer::Mat;
use std::collections::BTreeMap;
use std::time::Instant;

fn problem(rng: &mut Rng) -> (String, Qp) {
    let n = 1 + rng.below(6);
    let kind = rng.below(6);
    let mut tags = Vec::new();
    let mut p = match kind {
        0 | 1 => {
            let r = if rng.uniform() < 0.3 {
                tags.push("singular P");
                rng.below(n + 1)
            } else {
                n
            };
            let f = rng.normal_matrix(n, r);
            let m = &f * f.transpose();
            Hessian::from(Mat::from_fn(n, n, |i, j| 0.5 * (m[(i, j)] + m[(j, i)])))
        }
        2 => Hessian::Zero(n),
        3 => Hessian::Diagonal((0..n).map(|_| if rng.uniform() < 0.3 { 0.0 } else { rng.uniform() + 0.1 }).collect()),
        4 => {
            let r = rng.below(3);
            Hessian::LowRank {
                d: (0..n).map(|_| if rng.uniform() < 0.3 { 0.0 } else { rng.uniform() + 0.1 }).collect(),
                f: rng.normal_matrix(n, r),
            }
        }
        _ => Hessian::from({
            let f = rng.normal_matrix(n, n);
            let m = &f * f.transpose();
            Mat::from_fn(n, n, |i, j| 0.5 * (m[(i, j)] + m[(j, i)]) + if i == j { 0.5 } else { 0.0 })
        }),
    };
    tags.push(["dense", "dense", "zero", "diag", "lowrank", "pd"][kind]);
    let integer = rng.uniform() < 0.5;
    if integer {
        tags.push("integer");
    }
    let draw = |rng: &mut Rng| if integer { rng.below(5) as f64 - 2.0 } else { rng.normal() };
    let m = rng.below(n.min(3) + 1);
    let k = rng.below(2 * n + 2);
    let mut a = Mat::from_fn(m, n, |_, _| draw(rng));
    let mut g = Mat::from_fn(k, n, |_, _| draw(rng));
    let x0: Vec<f64> = (0..n).map(|_| draw(rng)).collect();
    let dot = |m: &Mat<f64>, i: usize| (0..n).map(|j| m[(i, j)] * x0[j]).sum::<f64>();
    if m > 1 && rng.uniform() < 0.2 {
        tags.push("dup eq");
        for j in 0..n {
            a[(1, j)] = a[(0, j)] * 2.0;
        }
    }
    if k > 1 && rng.uniform() < 0.2 {
        tags.push("dup row");
        for j in 0..n {
            g[(1, j)] = g[(0, j)];
        }
    }
    if m > 0 && rng.uniform() < 0.1 {
        tags.push("zero eq");
        for j in 0..n {
            a[(0, j)] = 0.0;
        }
    }
    if k > 0 && rng.uniform() < 0.1 {
        tags.push("zero row");
        for j in 0..n {
            g[(0, j)] = 0.0;
        }
    }
    let mut b: Vec<f64> = (0..m).map(|i| dot(&a, i)).collect();
    let mut h: Vec<f64> = (0..k)
        .map(|i| {
            dot(&g, i)
                + match rng.below(4) {
                    0 => 0.0,
                    1 => f64::INFINITY,
                    _ => rng.uniform(),
                }
        })
        .collect();
    let mut lb = vec![f64::NEG_INFINITY; n];
    let mut ub = vec![f64::INFINITY; n];
    if rng.uniform() < 0.7 {
        for i in 0..n {
            let t = rng.below(6);
            if t & 1 == 1 {
                lb[i] = x0[i] - if rng.uniform() < 0.4 { 0.0 } else { rng.uniform() };
            }
            if t & 2 == 2 {
                ub[i] = x0[i] + if rng.uniform() < 0.4 { 0.0 } else { rng.uniform() };
            }
        }
    }
    if rng.uniform() < 0.1 && m > 0 {
        tags.push("shift b");
        let i = rng.below(m);
        b[i] += 1.0;
    }
    if rng.uniform() < 0.1 && k > 0 {
        tags.push("shift h");
        let i = rng.below(k);
        h[i] -= 1.5;
    }
    let mut q: Vec<f64> = (0..n).map(|_| draw(rng)).collect();
    match rng.below(8) {
        0 => {
            tags.push("q=0");
            q.fill(0.0)
        }
        1 => {
            tags.push("q in range");
            q.fill(0.0);
            p.mul_add(-1.0, &x0, &mut q, &mut Vec::new());
        }
        2 if k > 0 => {
            tags.push("q along row");
            for j in 0..n {
                q[j] = -g[(0, j)];
            }
        }
        _ => {}
    }
    if rng.uniform() < 0.25 {
        tags.push("rows scaled");
        for i in 0..m {
            let s = 10f64.powf(rng.between(-6.0, 6.0));
            for j in 0..n {
                a[(i, j)] *= s;
            }
            b[i] *= s;
        }
        for i in 0..k {
            let s = 10f64.powf(rng.between(-6.0, 6.0));
            for j in 0..n {
                g[(i, j)] *= s;
            }
            h[i] *= s;
        }
    }
    if rng.uniform() < 0.15 {
        tags.push("columns scaled");
        let s: Vec<f64> = (0..n).map(|_| 10f64.powf(rng.between(-4.0, 4.0))).collect();
        p = match p {
            Hessian::Dense(d) => Hessian::from(Mat::from_fn(n, n, |i, j| d[(i, j)] * s[i] * s[j])),
            Hessian::Diagonal(d) => Hessian::Diagonal(d.iter().zip(&s).map(|(d, s)| d * s * s).collect()),
            Hessian::LowRank { d, f } => Hessian::LowRank {
                d: d.iter().zip(&s).map(|(d, s)| d * s * s).collect(),
                f: Mat::from_fn(n, f.ncols(), |i, j| f[(i, j)] * s[i]),
            },
            other => other,
        };
        for j in 0..n {
            q[j] *= s[j];
            lb[j] /= s[j];
            ub[j] /= s[j];
            for i in 0..m {
                a[(i, j)] *= s[j];
            }
            for i in 0..k {
                g[(i, j)] *= s[j];
            }
        }
    }
    if rng.uniform() < 0.15 {
        tags.push("cost scaled");
        let s = 10f64.powf(rng.between(-8.0, 8.0));
        p = match p {
            Hessian::Dense(d) => Hessian::from(Mat::from_fn(n, n, |i, j| d[(i, j)] * s)),
            Hessian::Diagonal(d) => Hessian::Diagonal(d.iter().map(|d| d * s).collect()),
            Hessian::LowRank { d, f } => Hessian::LowRank {
                d: d.iter().map(|d| d * s).collect(),
                f: Mat::from_fn(n, f.ncols(), |i, j| f[(i, j)] * s.sqrt()),
            },
            other => other,
        };
        q.iter_mut().for_each(|q| *q *= s);
    }
    let sparse = rng.uniform() < 0.3;
    let rows = |m: Mat<f64>| if sparse { Matrix::Sparse(Csc::from_dense(&m)) } else { Matrix::from(m) };
    if sparse
        && let Hessian::Dense(d) = &p
        && rng.uniform() < 0.7
    {
        p = Hessian::Sparse(Csc::from_dense(&d.to_mat()));
    }
    if sparse {
        tags.push("sparse");
    }
    let qp =
        Qp::new(p, q).unwrap().equality(rows(a), b).unwrap().inequality(rows(g), h).unwrap().bounds(lb, ub).unwrap();
    (tags.join(", "), qp)
}

/// What is wrong with a result, if anything.
fn judge(qp: &Qp, sol: &Solution, rng: &mut Rng) -> Option<String> {
    let n = qp.n();
    if !sol.ok() {
        if let Some(c) = &sol.info.certificate {
            if !c.verify(qp) {
                return Some("certificate does not verify".into());
            }
        } else if matches!(sol.status, Status::PrimalInfeasible | Status::DualInfeasible | Status::NonConvex) {
            return Some("no certificate".into());
        }
        if sol.vjp(&Cotangent::x(&vec![1.0; n]), Wrt::Q).is_ok() {
            return Some("gradient without solution".into());
        }
        return None;
    }
    let grad_cot = Cotangent::x(&rng.normals(n));
    let vjp = sol.vjps(std::slice::from_ref(&grad_cot), Wrt::ALL);
    let (grads, verdict) = match vjp {
        Ok(v) => v,
        Err(e) => return (sol.verdict() == Verdict::Exact).then(|| format!("vjp fails where verdict is Exact: {e}")),
    };
    if verdict != Verdict::Exact {
        return None;
    }
    // the KKT matrix of the active set, equilibrated
    let (p, a, g) = (qp.p().to_dense(), qp.a().to_dense(), qp.g().to_dense());
    let active = sol.active();
    let mut rows: Vec<Vec<f64>> = Vec::new();
    for i in 0..qp.n_equality() {
        rows.push((0..n).map(|j| a[(i, j)]).collect());
    }
    let held: Vec<usize> = (0..qp.n_inequality()).filter(|&i| active.g[i]).collect();
    for &i in &held {
        rows.push((0..n).map(|j| g[(i, j)]).collect());
    }
    for i in 0..n {
        if active.bound[i] != Side::Free {
            let mut r = vec![0.0; n];
            r[i] = 1.0;
            rows.push(r);
        }
    }
    let size = n + rows.len();
    let mut k = vec![0.0; size * size];
    for i in 0..n {
        for j in 0..n {
            k[i * size + j] = p[(i, j)];
        }
    }
    for (r, row) in rows.iter().enumerate() {
        for j in 0..n {
            k[(n + r) * size + j] = row[j];
            k[j * size + n + r] = row[j];
        }
    }
    let mut s = vec![1.0_f64; size];
    for _ in 0..20 {
        let mut big = vec![0.0_f64; size];
        for i in 0..size {
            for j in 0..size {
                big[i] = big[i].max((k[i * size + j] * s[i] * s[j]).abs());
            }
        }
        for i in 0..size {
            if big[i] > 0.0 {
                s[i] /= big[i].sqrt();
            }
        }
    }
    for i in 0..size {
        for j in 0..size {
            k[i * size + j] *= s[i] * s[j];
        }
    }
    let mut rhs = vec![0.0; size];
    for i in 0..n {
        rhs[i] = grad_cot.x[i] * s[i];
    }
    let Some(mut w) = solve_linear(&k, &rhs) else { return Some("Exact on a singular KKT system".into()) };
    // condition by the growth of a random solution
    let probe = solve_linear(&k, &rng.normals(size)).unwrap();
    let cond = probe.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    for i in 0..size {
        w[i] *= s[i];
    }
    let tol = 1e-6_f64.max(1e-13 * cond);
    let compare = |name: &str, ours: &[f64], theirs: &[f64], scale: &[f64]| {
        let big =
            ours.iter().zip(scale).chain(theirs.iter().zip(scale)).fold(1e-300_f64, |m, (v, s)| m.max((v / s).abs()));
        let all = w.iter().zip(&s).fold(0.0_f64, |m, (v, s)| m.max((v / s).abs()));
        for i in 0..ours.len() {
            let e = ((ours[i] - theirs[i]) / scale[i]).abs() / big.max(1e-3 * all);
            if e.is_nan() || e > tol {
                return Some(format!(
                    "Exact but d{name}[{i}] = {:e}, elimination {:e} (cond {cond:.1e})",
                    ours[i], theirs[i]
                ));
            }
        }
        None
    };
    let grad = &grads[0];
    let minus: Vec<f64> = w[..n].iter().map(|v| -v).collect();
    if let Some(e) = compare("q", grad.q.as_ref().unwrap(), &minus, &s[..n]) {
        return Some(e);
    }
    let me = qp.n_equality();
    if let Some(e) = compare("b", grad.b.as_ref().unwrap(), &w[n..n + me], &s[n..n + me]) {
        return Some(e);
    }
    let dh: Vec<f64> = held.iter().map(|&i| grad.h.as_ref().unwrap()[i]).collect();
    if let Some(e) = compare("h", &dh, &w[n + me..n + me + held.len()], &s[n + me..n + me + held.len()]) {
        return Some(e);
    }
    // the point, from the same system; then signs and slacks
    let mut r = vec![0.0; size];
    for i in 0..n {
        r[i] = -qp.q()[i];
    }
    r[n..n + me].copy_from_slice(qp.b());
    for (c, &i) in held.iter().enumerate() {
        r[n + me + c] = qp.h()[i];
    }
    let mut c = n + me + held.len();
    for i in 0..n {
        match active.bound[i] {
            Side::Free => continue,
            Side::Upper => r[c] = qp.ub()[i],
            _ => r[c] = qp.lb()[i],
        }
        c += 1;
    }
    for i in 0..size {
        r[i] *= s[i];
    }
    let rhs0 = r.clone();
    let mut z = solve_linear(&k, &r)?;
    let all = z.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    let floor = (0..size).fold(0.0_f64, |m, i| m.max(rhs0[i].abs())).max(1e-6);
    let xs = z[..n].iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    for i in 0..size {
        z[i] *= s[i];
    }
    for i in 0..n {
        let off = (sol.x[i] - z[i]).abs() / s[i];
        if off.is_nan() || off > tol * xs.max(1e-3 * all).max(1e-6 * floor) {
            return Some(format!("Exact but x[{i}] = {:e}, elimination {:e} (cond {cond:.1e})", sol.x[i], z[i]));
        }
    }
    for (c, &i) in held.iter().enumerate() {
        let v = z[n + me + c];
        if v < 0.0 && v / s[n + me + c] < -1e-5 * all {
            return Some(format!("Exact, but multiplier of row {i} is {v:e}"));
        }
    }
    for i in 0..qp.n_inequality() {
        let (mut t, mut sz) = (qp.h()[i], qp.h()[i].abs());
        for j in 0..n {
            t -= g[(i, j)] * sol.x[j];
            sz += (g[(i, j)] * sol.x[j]).abs();
        }
        if t < -1e-6 * sz - 1e-14 {
            return Some(format!("Exact, but row {i} is violated by {t:e} of {sz:e}"));
        }
    }
    for i in 0..n {
        let t = (sol.x[i] - qp.lb()[i]).min(qp.ub()[i] - sol.x[i]);
        if t < -1e-6 * sol.x[i].abs().max(1e-12) {
            return Some(format!("Exact, but bound {i} is violated by {t:e}"));
        }
    }
    None
}

fn main() {
    let mut args = std::env::args().skip(1).map(|v| v.parse::<u64>().expect("a number"));
    let (count, seed) = (args.next().unwrap_or(2000), args.next().unwrap_or(1));
    let only = args.next();
    let mut tally: BTreeMap<String, usize> = BTreeMap::new();
    let mut shown: BTreeMap<String, usize> = BTreeMap::new();
    if only.is_none() {
        std::panic::set_hook(Box::new(|_| {}));
    }
    for k in 0..count {
        let mut rng = Rng::new(seed * 1_000_003 + k);
        if only.is_some_and(|o| o != k) {
            continue;
        }
        let (tags, qp) = problem(&mut rng);
        if only.is_some() {
            println!("{qp:?}");
        }
        let mut solutions = Vec::new();
        for solver in Solver::ALL {
            let settings = Settings::with_solver(solver);
            let start = Instant::now();
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let sol = qp.solve(&settings).map_err(|e| e.to_string())?;
                let wrong = judge(&qp, &sol, &mut Rng::new(k));
                Ok::<_, String>((sol, wrong))
            }));
            let time = start.elapsed().as_secs_f64();
            let mut complain = |what: String| {
                let key: String =
                    format!("{}: {}", solver.name(), what.split(|c: char| c.is_ascii_digit()).next().unwrap());
                let seen = shown.entry(key).or_default();
                *seen += 1;
                if *seen <= 4 {
                    println!("#{k} [{tags}] {}: {what}", solver.name());
                }
            };
            if time > 1.0 {
                complain(format!("took long, {time:.2} s"));
            }
            match done {
                Err(_) => complain("PANIC".into()),
                Ok(Err(e)) => complain(format!("error: {e}")),
                Ok(Ok((sol, wrong))) => {
                    if only.is_some() {
                        println!(
                            "{}: {} {:?} x {:?} y {:?} z {:?} zb {:?} {:?} {:?}",
                            solver.name(),
                            sol.status,
                            sol.verdict(),
                            sol.x,
                            sol.y,
                            sol.z,
                            sol.z_box,
                            sol.residuals,
                            sol.active()
                        );
                    }
                    if let Some(w) = wrong {
                        complain(w);
                    }
                    let v = if sol.ok() {
                        // of a gradient, which can only be lower than that of the solution
                        let ones = Cotangent::x(&vec![1.0; qp.n()]);
                        let verdict = sol.vjps(&[ones], Wrt::Q).map_or(Verdict::Untrusted, |(_, verdict)| verdict);
                        format!("{verdict:?}").split(' ').next().unwrap().to_owned()
                    } else {
                        String::new()
                    };
                    *tally.entry(format!("{:<15} {} {v}", solver.name(), sol.status)).or_default() += 1;
                    solutions.push((solver, sol));
                }
            }
        }
        let proved = |s: &Status| matches!(s, Status::PrimalInfeasible | Status::DualInfeasible | Status::NonConvex);
        let ok = solutions.iter().find(|(_, s)| s.status == Status::Solved);
        let none = solutions.iter().find(|(_, s)| proved(&s.status));
        if let (Some((a, sa)), Some((b, sb))) = (ok, none) {
            let key = format!("contradiction {} {}", a.name(), b.name());
            let seen = shown.entry(key).or_default();
            *seen += 1;
            if *seen <= 3 {
                println!(
                    "#{k} [{tags}] {} solved ({:?}, |x| {:.1e}), {} {}",
                    a.name(),
                    sa.verdict(),
                    sa.x.iter().fold(0.0_f64, |m, v| m.max(v.abs())),
                    b.name(),
                    sb.status
                );
            }
        } else if ok.is_none() && none.is_none()
            || solutions.first().is_some_and(|(s, sol)| *s == Solver::Auto && !sol.ok() && !proved(&sol.status))
        {
            let seen = shown.entry("auto undecided".into()).or_default();
            *seen += 1;
            if *seen <= 8 {
                println!(
                    "#{k} [{tags}] undecided: {:?}",
                    solutions.iter().map(|(s, sol)| format!("{} {}", s.name(), sol.status)).collect::<Vec<_>>()
                );
            }
        }
        // two exact solutions agree in the objective
        let exact: Vec<_> =
            solutions.iter().filter(|(_, s)| s.status == Status::Solved && s.verdict() == Verdict::Exact).collect();
        if let Some((_, first)) = exact.first() {
            for (s, sol) in &exact {
                // the terms that cancel: rounding is relative to them
                let (n, p) = (qp.n(), qp.p().to_dense());
                let terms = |i: usize| (0..n).map(|j| (p[(i, j)] * first.x[i] * first.x[j]).abs()).sum::<f64>();
                let size = (0..n).map(|i| terms(i) + (first.x[i] * qp.q()[i]).abs()).sum::<f64>();
                if (sol.objective - first.objective).abs() > 1e-6 * size + 1e-12 {
                    println!("#{k} [{tags}] {} objective {:e}, first {:e}", s.name(), sol.objective, first.objective);
                }
            }
        }
    }
    println!();
    for (what, n) in &tally {
        println!("{n:6} {what}");
    }
    println!();
    for (what, n) in &shown {
        println!("{n:6} {what}");
    }
}
