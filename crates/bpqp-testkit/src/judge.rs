//! The exact judge: what a planted program has for a solution and a gradient, in fractions, beside what the library says.

use crate::exact::{Echelon, Exact, dot, double, exact, project_off, reduce};
use crate::planted::{Form, Hold, Planted};
use bpqp::{Cotangent, Hessian, Layer, Settings, Side, Status, Tangent, Verdict, Wrt};
use num_traits::{One, Zero};

/// What kind of optimum is planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Unique, every constraint held by a multiplier or not met, the rows independent: the derivative is unique.
    Regular,
    /// Some constraint is weakly active.
    Weak,
    /// The active rows are dependent.
    Dependent,
    /// There are other optima.
    Face,
}

/// What is differentiated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// A loss, backwards.
    #[default]
    Vjp,
    /// The solution along a direction of q.
    Jvp,
    /// The solution twice along a direction of P, where the optimum is regular; elsewhere a loss.
    Second,
}

/// How a program is put to the library.
#[derive(Debug, Clone, Default)]
pub struct How {
    /// So many of it side by side.
    pub copies: usize,
    /// What its matrices are.
    pub form: Form,
    /// Solved from the solution of the program with twice the linear term.
    pub warm: bool,
    /// What is differentiated.
    pub mode: Mode,
    /// The settings.
    pub settings: Settings,
}

/// What the library did.
#[derive(Debug, Clone)]
pub struct Judged {
    /// The kind of optimum.
    pub kind: Kind,
    /// The status, or the verdict on the gradient where there is a solution.
    pub said: String,
    /// What is wrong with it.
    pub wrong: Option<String>,
}

/// Part of its terms that an entry may be off by, and part of its unit.
const TOLERANCE: f64 = 1e-6;
const FLOOR: f64 = 1e-9;

/// The active rows of a set: equalities, those of `rows`, and unit rows of the bounds in `bounds`.
fn active_rows(of: &Planted, rows: &[bool], bounds: &[bool]) -> Vec<Vec<Exact>> {
    let n = of.n();
    let row = |r: &Vec<f64>| r.iter().map(|v| exact(*v)).collect::<Vec<_>>();
    let unit = |j: usize| (0..n).map(|i| if i == j { Exact::one() } else { Exact::zero() }).collect();
    let chosen = of.g.iter().zip(rows).filter(|(_, c)| **c).map(|(r, _)| row(r));
    of.a.iter().map(row).chain(chosen).chain((0..n).filter(|&j| bounds[j]).map(unit)).collect()
}

fn hessian(of: &Planted) -> Vec<Vec<Exact>> {
    of.p.iter().map(|r| r.iter().map(|v| exact(*v)).collect()).collect()
}

fn null_space(of: &Planted, rows: &[Vec<Exact>]) -> Vec<Vec<Exact>> {
    let stack = hessian(of).into_iter().chain(rows.iter().cloned()).collect();
    reduce(stack, of.n()).null_space()
}

/// The gradient of `g'x` on an active set, of least norm: with respect to q and to the right-hand sides of the active
/// rows; and the sizes of their terms. The first is also the change of x where q changes by `g`.
struct Right {
    exact_q: Vec<Exact>,
    q: Vec<f64>,
    q_terms: Vec<f64>,
    rhs: Vec<f64>,
    rhs_terms: Vec<f64>,
}

fn right(of: &Planted, rows: &[Vec<Exact>], g: &[Exact]) -> Option<Right> {
    let (n, k) = (of.n(), rows.len());
    let face = null_space(of, rows);
    let p = hessian(of);
    let unit = |j: usize| (0..n).map(|i| if i == j { Exact::one() } else { Exact::zero() }).collect::<Vec<_>>();
    let sides: Vec<Vec<Exact>> = (0..n).map(|j| project_off(&unit(j), &face)).collect();
    let mut system = Vec::new();
    for (i, row) in p.iter().enumerate() {
        let transposed = rows.iter().map(|r| r[i].clone());
        system.push(row.iter().cloned().chain(transposed).chain(sides.iter().map(|s| s[i].clone())).collect());
    }
    for row in rows {
        system.push(row.iter().cloned().chain(vec![Exact::zero(); k + n]).collect());
    }
    let echelon: Echelon = reduce(system, n + k);
    let columns: Option<Vec<Vec<Exact>>> = (0..n).map(|j| echelon.solution(j)).collect();
    let columns: Vec<Vec<Exact>> = columns?
        .into_iter()
        .map(|c| project_off(&c[..n], &face).into_iter().chain(c[n..].iter().cloned()).collect())
        .collect();
    let entry = |i: usize| {
        let row: Vec<Exact> = columns.iter().map(|c| c[i].clone()).collect();
        (double(&dot(&row, g)), double(&crate::exact::terms(&row, g)))
    };
    let exact_q = (0..n).map(|i| -columns.iter().zip(g).fold(Exact::zero(), |s, (c, g)| s + &c[i] * g)).collect();
    let (q, q_terms) = (0..n).map(&entry).map(|(v, t)| (-v, t)).unzip();
    let (rhs, rhs_terms) = (n..n + k).map(entry).unzip();
    Some(Right { exact_q, q, q_terms, rhs, rhs_terms })
}

fn agrees(got: &[f64], right: &[f64], terms: &[f64], unit: impl Fn(usize) -> f64) -> bool {
    let mut entries = got.iter().zip(right).zip(terms).enumerate();
    entries.all(|(i, ((got, right), terms))| (got - right).abs() <= TOLERANCE * terms + FLOOR * unit(i))
}

/// What the gradient of a loss of size 1 with respect to `q[j]` is measured in; what the change of `x[j]` is.
fn unit_of(of: &Planted, mode: Mode) -> impl Fn(usize) -> f64 + '_ {
    move |j| if mode == Mode::Vjp { of.unit[j] / of.objective } else { of.unit[j] }
}

/// The kind of the planted optimum; `None` where weakly active constraints leave it open whether it is unique.
pub fn kind(of: &Planted) -> Option<Kind> {
    let held =
        |h: &[Hold], weak: bool| h.iter().map(|h| *h == Hold::Strong || (weak && *h == Hold::Weak)).collect::<Vec<_>>();
    let strong = active_rows(of, &held(&of.rows, false), &held(&of.bounds, false));
    let all = active_rows(of, &held(&of.rows, true), &held(&of.bounds, true));
    let weak = strong.len() < all.len();
    if !null_space(of, &all).is_empty() {
        return Some(Kind::Face);
    }
    if !null_space(of, &strong).is_empty() {
        return None;
    }
    Some(match () {
        () if reduce(strong.clone(), of.n()).rank() < strong.len() => Kind::Dependent,
        () if weak => Kind::Weak,
        () => Kind::Regular,
    })
}

/// The condition of the system of a regular optimum, in the units in which the program is one of small integers.
pub fn condition(of: &Planted) -> Option<f64> {
    let strong = |h: &[Hold]| (0..h.len()).filter(|&i| h[i] == Hold::Strong).collect::<Vec<_>>();
    let (rows, pins) = (strong(&of.rows), strong(&of.bounds));
    let free: Vec<usize> = (0..of.n()).filter(|j| !pins.contains(j)).collect();
    let units = |row: &[f64], unit: f64| free.iter().map(|&j| exact(row[j] * of.unit[j] / unit)).collect::<Vec<_>>();
    let equalities = of.a.iter().zip(&of.row_units[0]).map(|(row, u)| units(row, *u));
    let h: Vec<Vec<Exact>> = equalities.chain(rows.iter().map(|&i| units(&of.g[i], of.row_units[1][i]))).collect();
    let (f, order) = (free.len(), free.len() + h.len());
    let unit = |j: usize| (0..order).map(move |i| if i == j { Exact::one() } else { Exact::zero() });
    let mut system: Vec<Vec<Exact>> = Vec::new();
    for (at, &i) in free.iter().enumerate() {
        let p = units(&of.p[i], of.objective / of.unit[i]);
        system.push(p.into_iter().chain(h.iter().map(|row| row[at].clone())).chain(unit(at)).collect());
    }
    for (at, row) in h.iter().enumerate() {
        system.push(row.iter().cloned().chain(vec![Exact::zero(); h.len()]).chain(unit(f + at)).collect());
    }
    let norm = |rows: &mut dyn Iterator<Item = Vec<f64>>| {
        rows.map(|row| row.iter().map(|v| v.abs()).sum::<f64>()).fold(0.0, f64::max)
    };
    let size = norm(&mut system.iter().map(|row| row[..order].iter().map(double).collect()));
    let echelon = reduce(system, order);
    let inverse: Option<Vec<Vec<Exact>>> = (0..order).map(|j| echelon.solution(j)).collect();
    let regular = echelon.rank() == order;
    inverse.filter(|_| regular).map(|inverse| size * norm(&mut inverse.iter().map(|c| c.iter().map(double).collect())))
}

/// Solves the program, differentiates and compares with the truth; `None` if the truth is not known.
pub fn judge(of: &Planted, how: &How) -> Option<Judged> {
    let kind = kind(of)?;
    let (n, copies) = (of.n(), how.copies);
    let fail = |said: &str, wrong: String| Some(Judged { kind, said: said.to_owned(), wrong: Some(wrong) });
    let mode = if kind == Kind::Regular || how.mode != Mode::Second { how.mode } else { Mode::Vjp };
    let solved = of.program(copies, how.form).and_then(|qp| {
        let mut layer = Layer::new(qp.clone(), how.settings.clone())?;
        let warm = match how.warm {
            true => {
                layer.update(qp.clone().with_q(qp.q().iter().map(|v| 2.0 * v).collect::<Vec<_>>())?)?;
                let point = layer.solve()?.ok().then_some(()).map(|()| layer.solution().point());
                layer.update(qp)?;
                point
            }
            false => None,
        };
        layer.solve_from(warm.as_ref())?;
        Ok(layer)
    });
    let mut layer = match solved {
        Ok(layer) => layer,
        Err(e) => return fail("refused", e.to_string()),
    };
    let solution = layer.solution().clone();
    if matches!(solution.status, Status::PrimalInfeasible | Status::DualInfeasible | Status::NonConvex) {
        return fail(&solution.status.to_string(), "a proof of what is not so".to_owned());
    }
    if !solution.ok() {
        return Some(Judged { kind, said: solution.status.to_string(), wrong: None });
    }
    // a loss of the size of the variables, a direction of that of the linear term
    let signs: Vec<f64> = (0..n).map(|j| (1.0 + j as f64) * if j % 2 == 0 { 1.0 } else { -1.0 }).collect();
    let g: Vec<f64> = match mode {
        Mode::Vjp => signs.iter().zip(&of.unit).map(|(s, u)| s / u).collect(),
        _ => signs.iter().zip(&of.unit).map(|(s, u)| s * of.objective / u).collect(),
    };
    // entries that are 0 are none of a sparse P
    let bent = |j: usize| if of.p[j][j] == 0.0 { 0.0 } else { of.objective / of.unit[j] / of.unit[j] };
    let bend: Vec<f64> = (0..n).map(bent).collect();
    let derivative = match mode {
        Mode::Vjp => layer.vjp(&Cotangent::x(&g.repeat(copies)), Wrt::ALL).map(|g| {
            let part = |v: &Option<Vec<f64>>| v.clone().unwrap_or_default();
            [&g.q, &g.b, &g.h, &g.lb, &g.ub].map(part)
        }),
        Mode::Jvp => {
            let along = Tangent { q: Some(g.repeat(copies)), ..Tangent::default() };
            layer.jvp(&along).map(|t| [t.x.clone(), Vec::new(), Vec::new(), Vec::new(), Vec::new()])
        }
        Mode::Second => {
            let p = direction(layer.qp().p(), &bend);
            let along = Tangent { p: Some(p), ..Tangent::default() };
            layer.second_jvp(&along, &along).map(|t| [t.x.clone(), Vec::new(), Vec::new(), Vec::new(), Vec::new()])
        }
    };
    let [dq, db, dh, lb, ub] = match derivative {
        Ok(derivative) => derivative,
        Err(e) => {
            return Some(Judged { kind, said: format!("no gradient: {e}").chars().take(24).collect(), wrong: None });
        }
    };
    let verdict = layer.verdict();
    let mut said = verdict.to_string();
    if solution.status != Status::Solved {
        said = format!("{} {said}", solution.status);
    }
    let mut out = Judged { kind, said, wrong: None };
    let close = |j: usize| {
        let (x, right) = (solution.x[j], of.x[j % n]);
        (x - right).abs() <= 1e-5 * of.unit[j % n]
    };
    if kind != Kind::Face && solution.status == Status::Solved && !(0..n * copies).all(close) {
        out.wrong = Some(format!("x = {:?}, right is {:?}", &solution.x[..n], of.x));
        return Some(out);
    }
    let exactly = verdict == Verdict::Exact;
    if !exactly && verdict != Verdict::OneOfSeveral {
        return Some(out);
    }
    if exactly && kind != Kind::Regular {
        out.wrong = Some("exact where it is one of several".to_owned());
        return Some(out);
    }
    let mut exact_g: Vec<Exact> = g.iter().map(|v| exact(*v)).collect();
    let strong: Vec<bool> = of.rows.iter().map(|h| *h == Hold::Strong).collect();
    let strong_bounds: Vec<bool> = of.bounds.iter().map(|h| *h == Hold::Strong).collect();
    let set = active_rows(of, &strong, &strong_bounds);
    if mode == Mode::Second {
        // x' = -K^-1 dP x, x'' = -2 K^-1 dP x'
        let bent =
            |x: &[Exact], factor: f64| x.iter().zip(&bend).map(|(x, b)| x * exact(factor * b)).collect::<Vec<_>>();
        let x: Vec<Exact> = of.x.iter().map(|v| exact(*v)).collect();
        exact_g = bent(&right(of, &set, &bent(&x, 1.0))?.exact_q, 2.0);
    }
    for copy in 0..copies {
        let got = &dq[copy * n..(copy + 1) * n];
        if kind == Kind::Regular {
            let right = right(of, &set, &exact_g)?;
            if !agrees(got, &right.q, &right.q_terms, unit_of(of, mode)) {
                out.wrong = Some(format!("derivative {got:?}, right is {:?}", right.q));
                return Some(out);
            }
            if mode != Mode::Vjp {
                continue;
            }
            let (m, k) = (of.a.len(), of.g.len());
            let mut rhs: Vec<f64> = db.get(copy * m..(copy + 1) * m).unwrap_or_default().to_vec();
            rhs.extend((0..k).filter(|&i| strong[i]).map(|i| dh[copy * k + i]));
            rhs.extend((0..n).filter(|&j| strong_bounds[j]).map(|j| lb[copy * n + j] + ub[copy * n + j]));
            let chosen = |units: &[f64], held: &[bool]| {
                units.iter().zip(held).filter(|(_, h)| **h).map(|(u, _)| 1.0 / u).collect::<Vec<_>>()
            };
            let units: Vec<f64> =
                of.row_units[0].iter().map(|u| 1.0 / u).chain(chosen(&of.row_units[1], &strong)).collect();
            let units = [units, chosen(&of.unit, &strong_bounds)].concat();
            if !agrees(&rhs, &right.rhs, &right.rhs_terms, |i| units[i]) {
                out.wrong = Some(format!("gradients of right-hand sides {rhs:?}, right are {:?}", right.rhs));
            }
        } else {
            let sides = (&solution.active().g[copy * of.g.len()..], &solution.active().bound[copy * n..]);
            if !element(of, sides, &exact_g, got, mode) {
                let at = &solution.x[copy * n..(copy + 1) * n];
                out.wrong = Some(format!("derivative {got:?} is no element, at {at:?}"));
            }
        }
    }
    Some(out)
}

/// A direction of P with this diagonal for each copy, in the structure of P.
fn direction(p: &Hessian, diagonal: &[f64]) -> Hessian {
    let at = |i: usize| diagonal[i % diagonal.len()];
    match p {
        Hessian::Sparse(p) => Hessian::Sparse(p.map_pattern(|i, j| if i == j { at(i) } else { 0.0 })),
        Hessian::LowRank { d, f } => {
            Hessian::LowRank { d: (0..d.len()).map(at).collect(), f: faer::Mat::zeros(f.nrows(), f.ncols()) }
        }
        p => Hessian::from(faer::Mat::from_fn(p.n(), p.n(), |i, j| if i == j { at(i) } else { 0.0 })),
    }
}

/// Is this the derivative, of least norm, on the active set with some choice of the weakly active constraints?
fn element(of: &Planted, (rows, bounds): (&[bool], &[Side]), g: &[Exact], got: &[f64], mode: Mode) -> bool {
    let (n, k) = (of.n(), of.g.len());
    let set = |rows: Vec<bool>, bounds: Vec<bool>| {
        right(of, &active_rows(of, &rows, &bounds), g)
            .is_some_and(|right| agrees(got, &right.q, &right.q_terms, unit_of(of, mode)))
    };
    // what the library says is active, at whatever optimum it returned
    if set(rows[..k].to_vec(), bounds[..n].iter().map(|s| *s != Side::Free).collect()) {
        return true;
    }
    let weak: Vec<usize> =
        (0..k + n).filter(|&i| if i < k { of.rows[i] } else { of.bounds[i - k] } == Hold::Weak).collect();
    (0..1_usize << weak.len().min(10)).any(|choice| {
        let mut rows: Vec<bool> = of.rows.iter().map(|h| *h == Hold::Strong).collect();
        let mut bounds: Vec<bool> = of.bounds.iter().map(|h| *h == Hold::Strong).collect();
        for (bit, &i) in weak.iter().enumerate().filter(|(bit, _)| choice >> bit & 1 == 1) {
            let _ = bit;
            if i < k { rows[i] = true } else { bounds[i - k] = true }
        }
        set(rows, bounds)
    })
}
