//! The exact judge: what a planted program has for a solution and a gradient, in fractions, beside what the library says.

use crate::exact::{Echelon, Exact, dot, double, exact, project_off, reduce};
use crate::planted::{Hold, Planted};
use bpqp::{Cotangent, Layer, Settings, Side, Status, Verdict, Wrt};
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
/// rows; and the sizes of their terms.
struct Right {
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
    let (q, q_terms) = (0..n).map(&entry).map(|(v, t)| (-v, t)).unzip();
    let (rhs, rhs_terms) = (n..n + k).map(entry).unzip();
    Some(Right { q, q_terms, rhs, rhs_terms })
}

fn agrees(got: &[f64], right: &[f64], terms: &[f64], unit: impl Fn(usize) -> f64) -> bool {
    let mut entries = got.iter().zip(right).zip(terms).enumerate();
    entries.all(|(i, ((got, right), terms))| (got - right).abs() <= TOLERANCE * terms + FLOOR * unit(i))
}

/// What the gradient of a loss of size 1 with respect to `q[j]` is measured in.
fn unit_of_q(of: &Planted) -> impl Fn(usize) -> f64 + '_ {
    |j| of.unit[j] / of.objective
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

/// Solves `copies` of the program side by side, differentiates a loss and compares with the truth; `None` if the truth is
/// not known.
pub fn judge(of: &Planted, copies: usize, sparse: bool, settings: &Settings) -> Option<Judged> {
    let kind = kind(of)?;
    let n = of.n();
    let fail = |said: &str, wrong: String| Some(Judged { kind, said: said.to_owned(), wrong: Some(wrong) });
    let qp = match of.program(copies, sparse) {
        Ok(qp) => qp,
        Err(e) => return fail("refused", e.to_string()),
    };
    let mut layer = match Layer::new(qp, settings.clone()) {
        Ok(layer) => layer,
        Err(e) => return fail("refused", e.to_string()),
    };
    let solution = match layer.solve() {
        Ok(solution) => solution.clone(),
        Err(e) => return fail("refused", e.to_string()),
    };
    if matches!(solution.status, Status::PrimalInfeasible | Status::DualInfeasible | Status::NonConvex) {
        return fail(&solution.status.to_string(), "a proof of what is not so".to_owned());
    }
    if !solution.ok() {
        return Some(Judged { kind, said: solution.status.to_string(), wrong: None });
    }
    // the loss is of the size of the variables
    let g: Vec<f64> = (0..n).map(|j| (1.0 + j as f64) * if j % 2 == 0 { 1.0 } else { -1.0 } / of.unit[j]).collect();
    let gradient = match layer.vjp(&Cotangent::x(&g.repeat(copies)), Wrt::ALL) {
        Ok(gradient) => gradient.clone(),
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
    let exact_g: Vec<Exact> = g.iter().map(|v| exact(*v)).collect();
    let strong: Vec<bool> = of.rows.iter().map(|h| *h == Hold::Strong).collect();
    let strong_bounds: Vec<bool> = of.bounds.iter().map(|h| *h == Hold::Strong).collect();
    let dq = gradient.q.as_deref().unwrap_or_default();
    for copy in 0..copies {
        let got = &dq[copy * n..(copy + 1) * n];
        if kind == Kind::Regular {
            let right = right(of, &active_rows(of, &strong, &strong_bounds), &exact_g)?;
            let k = of.g.len();
            let (db, dh) = (gradient.b.as_deref().unwrap_or_default(), gradient.h.as_deref().unwrap_or_default());
            let (lb, ub) = (gradient.lb.as_deref().unwrap_or_default(), gradient.ub.as_deref().unwrap_or_default());
            let m = of.a.len();
            let mut rhs: Vec<f64> = db.get(copy * m..(copy + 1) * m).unwrap_or_default().to_vec();
            rhs.extend((0..k).filter(|&i| strong[i]).map(|i| dh[copy * k + i]));
            rhs.extend((0..n).filter(|&j| strong_bounds[j]).map(|j| lb[copy * n + j] + ub[copy * n + j]));
            let chosen = |units: &[f64], held: &[bool]| {
                units.iter().zip(held).filter(|(_, h)| **h).map(|(u, _)| 1.0 / u).collect::<Vec<_>>()
            };
            let units: Vec<f64> =
                of.row_units[0].iter().map(|u| 1.0 / u).chain(chosen(&of.row_units[1], &strong)).collect();
            let units = [units, chosen(&of.unit, &strong_bounds)].concat();
            if !agrees(got, &right.q, &right.q_terms, unit_of_q(of)) {
                out.wrong = Some(format!("dq = {got:?}, right is {:?}", right.q));
            } else if !agrees(&rhs, &right.rhs, &right.rhs_terms, |i| units[i]) {
                out.wrong = Some(format!("gradients of right-hand sides {rhs:?}, right are {:?}", right.rhs));
            }
        } else if !element(
            of,
            &solution.active().g[copy * of.g.len()..],
            &solution.active().bound[copy * n..],
            &exact_g,
            got,
        ) {
            out.wrong = Some(format!("dq = {got:?} is no element, at {:?}", &solution.x[copy * n..(copy + 1) * n]));
        }
    }
    Some(out)
}

/// Is this the gradient, of least norm, on the active set with some choice of the weakly active constraints?
fn element(of: &Planted, rows: &[bool], bounds: &[Side], g: &[Exact], got: &[f64]) -> bool {
    let (n, k) = (of.n(), of.g.len());
    let set = |rows: Vec<bool>, bounds: Vec<bool>| {
        right(of, &active_rows(of, &rows, &bounds), g)
            .is_some_and(|right| agrees(got, &right.q, &right.q_terms, unit_of_q(of)))
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
