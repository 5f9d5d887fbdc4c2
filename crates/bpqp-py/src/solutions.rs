//! The solutions of a batch and their derivatives, without the interpreter where there is none.

use crate::data::Data;
use crate::engine::lock;
use crate::errors::Failure;
use crate::gather::{Gathered, SLOTS, wrt};
use crate::list::List;
use crate::pieces::{in_pieces, work};
use crate::verdicts;
use bpqp::adapter::{BLOCKS, OnFailure, Row};
use bpqp::{
    ActiveSet, Batch, Certificate, Cotangent, Derivatives, Error, Gradient, Point, Qp, Settings, Side, Solution,
    SolutionTangent, Status, Tangent,
};
use pyo3::Python;
use std::sync::{Arc, Mutex};

/// What a derivative of an instance without a solution is: 0 an error, 1 NaN, 2 zero.
pub type Policy = u8;

pub fn on_failure(policy: Policy) -> OnFailure {
    match policy {
        0 => OnFailure::Error,
        1 => OnFailure::Nan,
        _ => OnFailure::ZeroGradient,
    }
}

/// Failures named in a message.
const LISTED: usize = 8;

/// The solutions of a batch.
pub struct Solutions {
    pub list: Arc<List>,
    /// False for a single problem, whose errors then name no instance.
    pub batched: bool,
    /// What is wrong with the data of the instances that are no problem.
    pub reasons: Arc<[(usize, Error)]>,
    x: Mutex<Option<Vec<f64>>>,
    all_ok: bool,
    /// Threads and layers for the derivatives.
    workers: Arc<Batch>,
}

fn side_code(side: Side) -> f64 {
    match side {
        Side::Free => 0.0,
        Side::Lower => 1.0,
        Side::Upper => 2.0,
        Side::Fixed => 3.0,
    }
}

/// What stands in the place of `ok` in the state where the solution is that of the closest feasible program.
pub const CLOSEST: f64 = 2.0;

/// Number of doubles in the state of a solution.
pub fn state_width(n: usize, m: usize, mi: usize) -> usize {
    4 * n + m + 3 * mi + 1
}

/// All that [`restore`] needs besides the data: the point at which the gradient is taken, the active set, `ok`.
pub fn push_state(s: &Solution, row: &mut Vec<f64>) {
    let (at, active) = (s.at_point(), s.active());
    let (n, mi) = (s.qp().n(), s.qp().n_inequality());
    for v in [&at.x, &at.y, &at.z, &at.z_box] {
        row.extend(v);
    }
    if active.bound.len() == n && active.g.len() == mi {
        let flag = |&b: &bool| f64::from(u8::from(b));
        row.extend(active.g.iter().map(flag));
        row.extend(active.weak_g.iter().map(flag));
        row.extend(active.bound.iter().map(|&side| side_code(side)));
        row.extend(active.weak_bound.iter().map(flag));
    } else {
        row.resize(row.len() + 2 * (n + mi), 0.0);
    }
    row.push(match s.shift() {
        Some(_) => CLOSEST,
        None => f64::from(u8::from(s.ok())),
    });
}

/// Added to the code of a status that is none of a solution where there is one all the same.
pub const SOLVED_ALL_THE_SAME: i32 = 16;

/// The code of the status, its place in [`Status::ALL`], and the iterations.
pub fn codes(status: Status, ok: bool, iterations: usize) -> [i32; 2] {
    let code = Status::ALL.iter().position(|s| *s == status).map_or(-1, |k| k as i32);
    let shown = if ok && !status.ok() { code + SOLVED_ALL_THE_SAME } else { code };
    [shown, i32::try_from(iterations).unwrap_or(i32::MAX)]
}

/// A solution from its row of the state.
pub fn restore(qp: &Qp, row: &[f64], settings: &Settings) -> Result<Solution, Error> {
    let (n, m, mi) = (qp.n(), qp.n_equality(), qp.n_inequality());
    if row.len() != state_width(n, m, mi) {
        let what = format!("a state of {} entries for a problem of {n} variables", row.len());
        return Err(Error::Unsupported { what, advice: "pass on the state of a solution as it is" });
    }
    let (point, codes) = row.split_at(2 * n + m + mi);
    let point = Point {
        x: point[..n].to_vec(),
        y: point[n..n + m].to_vec(),
        z: point[n + m..n + m + mi].to_vec(),
        z_box: point[n + m + mi..].to_vec(),
        ..Point::default()
    };
    let flags = |range: std::ops::Range<usize>| codes[range].iter().map(|&c| c != 0.0).collect::<Vec<bool>>();
    let side = |&code: &f64| match code as i64 {
        1 => Side::Lower,
        2 => Side::Upper,
        3 => Side::Fixed,
        _ => Side::Free,
    };
    let bound = codes[2 * mi..2 * mi + n].iter().map(side).collect();
    let active = ActiveSet::new((flags(0..mi), flags(mi..2 * mi)), (bound, flags(2 * mi + n..2 * (mi + n))));
    let ok = codes[2 * (mi + n)];
    if ok == CLOSEST {
        // its two levels are not part of the state
        return qp.solve(settings);
    }
    let mut solution = Solution::restore(qp.clone(), point, active, settings)?;
    if ok == 0.0 {
        solution.status = Status::NumericalFailure;
    }
    Ok(solution)
}

/// What stands for an instance that is no problem: `blank` has its structure.
pub fn invalid(blank: &Qp, settings: &Settings) -> Result<Solution, Error> {
    let (n, m, mi) = (blank.n(), blank.n_equality(), blank.n_inequality());
    let nan = |n: usize| vec![f64::NAN; n];
    let point = Point { x: nan(n), y: nan(m), z: nan(mi), z_box: nan(n), ..Point::default() };
    let none = |n: usize| vec![false; n];
    let active = ActiveSet::new((none(mi), none(mi)), (vec![Side::Free; n], none(n)));
    let mut solution = Solution::restore(blank.clone(), point, active, settings)?;
    (solution.status, solution.objective) = (Status::InvalidData, f64::NAN);
    (solution.info.solver, solution.info.polished) = ("none", false);
    Ok(solution)
}

/// Which change along a direction is meant.
#[derive(Clone, Copy)]
pub enum Along<'a> {
    Nothing,
    OneSide,
    Direction(&'a [Tangent]),
}

/// Tangents `x, y, z, z_box, objective` of a batch, row after row.
pub type Rows = [Vec<f64>; 5];

impl Solutions {
    pub fn new(list: List, workers: Arc<Batch>) -> Self {
        let list = Arc::new(list);
        let all_ok = list.iter().all(|s| s.ok());
        Solutions { list, batched: true, reasons: Arc::default(), x: Mutex::new(None), all_ok, workers }
    }

    /// The same with what was seen of them when they were found: the rows `x` of all, and whether all are solutions.
    pub fn solved(list: List, x: Vec<f64>, all_ok: bool, workers: Arc<Batch>) -> Self {
        let (x, reasons) = (Mutex::new(Some(x)), Arc::default());
        Solutions { list: Arc::new(list), batched: true, reasons, x, all_ok, workers }
    }

    /// The same solutions again.
    pub fn share(&self) -> Self {
        let (list, workers, reasons) = (self.list.clone(), self.workers.clone(), self.reasons.clone());
        Solutions { list, batched: self.batched, reasons, x: Mutex::new(None), all_ok: self.all_ok, workers }
    }

    /// True if every instance has a solution.
    pub fn all_ok(&self) -> bool {
        self.all_ok
    }

    /// The rows `x` of all instances; with `nan`, those of instances without a solution are NaN.
    pub fn x(&self, nan: bool) -> Vec<f64> {
        let ready = lock(&self.x).take().filter(|_| self.all_ok);
        ready.unwrap_or_else(|| self.rows(nan, self.list.first().map_or(0, |s| s.qp().n()), |s| &s.x))
    }

    /// The rows of an output of all instances, the same way.
    pub fn rows(&self, nan: bool, width: usize, pick: impl Fn(&Solution) -> &[f64]) -> Vec<f64> {
        let mut out = Vec::with_capacity(self.list.len() * width);
        for s in self.list.iter() {
            let end = out.len() + width;
            if s.ok() || !nan {
                out.extend_from_slice(pick(s));
            }
            out.resize(end, if nan { f64::NAN } else { 0.0 });
        }
        out
    }

    pub fn qp(&self) -> Result<&Qp, Failure> {
        self.list.first().map(|s| s.qp()).ok_or_else(|| Failure::Misuse("the batch is empty".to_owned()))
    }

    /// What is wrong with the data of an instance.
    pub fn reason(&self, k: usize) -> Option<&Error> {
        self.reasons.iter().find(|(own, _)| *own == k).map(|(_, error)| error)
    }

    /// The elements without a solution in words, if there are any.
    pub fn failures(&self) -> Option<String> {
        let failed = self.list.iter().enumerate().filter(|(_, s)| !s.ok());
        let failed = failed.map(|(k, s)| (k, s.status, s.info.certificate.as_ref(), self.reason(k)));
        failure_text(self.list.len(), failed)
    }

    /// Refuses cotangents that do not fit: that is misuse, whatever the policy for failures is.
    pub fn check_cotangents(&self, cotangents: &[Cotangent]) -> Result<(), Failure> {
        for (k, (cotangent, solution)) in cotangents.iter().zip(self.list.iter()).enumerate() {
            if solution.ok() {
                cotangent.validate(solution.qp()).map_err(|e| Failure::at(e, self.batched.then_some(k)))?;
            }
        }
        Ok(())
    }

    /// The direction of every instance.
    pub fn tangents(&self, data: &Data<'_>) -> Result<Vec<Tangent>, Failure> {
        let n = self.list.len();
        if let Some(batch) = data.batch().filter(|batch| *batch != n) {
            return Err(Failure::Misuse(format!("a batch of {batch} tangents for {n} solutions")));
        }
        Ok(self.list.iter().enumerate().map(|(k, s)| data.tangent(s.qp(), k)).collect::<Result<_, _>>()?)
    }

    /// Derivatives of every instance, `count` of each, with what is its own of `items`, in order; `None` where there is none.
    pub fn derive<I: Send, T: Send>(
        &self,
        py: Option<Python<'_>>,
        policy: Policy,
        count: usize,
        items: Vec<I>,
        derive: impl Fn(&mut Derivatives<'_>, usize, I) -> Result<T, Error> + Sync + Send,
    ) -> Result<Vec<Option<T>>, Failure> {
        let mut out = Vec::with_capacity(items.len());
        let mut items = items.into_iter();
        in_pieces(py, self.list.len(), self.list.first().map_or(0.0, |s| work(s.qp())), |range| {
            let start = range.start;
            let part: Vec<I> = items.by_ref().take(range.len()).collect();
            let derive = |at: &mut Derivatives<'_>, k: usize, item: I| derive(at, start + k, item);
            for (k, result) in
                self.workers.derive(&self.list[range], count, part.into_iter(), derive)?.into_iter().enumerate()
            {
                out.push(match result {
                    Ok(value) => Some(value),
                    Err(Error::NoSolution { .. } | Error::Backward { .. }) if policy != 0 => None,
                    Err(error) => return Err(Failure::at(error, self.batched.then_some(start + k))),
                });
            }
            Ok(())
        })?;
        Ok(out)
    }

    /// The gradients of every instance into their places: `gradient(at, k, take)` hands them over, with the number of
    /// the cotangent. `vanishes(k)`: the cotangents of instance k are zero.
    pub fn gather(
        &self,
        py: Option<Python<'_>>,
        policy: Policy,
        gathered: &mut Gathered,
        vanishes: impl Fn(usize) -> bool,
        gradient: impl Fn(&mut Derivatives<'_>, usize, &mut dyn FnMut(usize, &Gradient)) -> Result<(), Error> + Sync + Send,
    ) -> Result<(), Failure> {
        let (_, cotangents) = gathered.gather.lead();
        let each = |at: &mut Derivatives<'_>, k: usize, mut row: Row<'_, BLOCKS>| {
            gradient(at, k, &mut |c, g| row.add(c, g))?;
            Ok((row.kept(), verdicts::code(at.verdict(), at.solution().status)))
        };
        let parts = self.derive(py, policy, cotangents, gathered.gather.rows(), each)?;
        gathered.verdicts = parts.iter().map(|part| part.as_ref().map_or(verdicts::NONE, |(_, code)| *code)).collect();
        let kept = parts.into_iter().map(|part| part.map(|(kept, _)| kept));
        gathered.gather.finish(kept, |k| on_failure(policy).absent(vanishes(k)));
        Ok(())
    }

    /// The verdict on every solution, the backward system included: as codes, without flags.
    pub fn verdicts(&self, py: Option<Python<'_>>) -> Result<Vec<u8>, Failure> {
        let found = self.derive(py, 1, 1, vec![(); self.list.len()], |at, _, ()| Ok(at.examine()?.2.rank() as u8))?;
        Ok(found.into_iter().map(|code| code.unwrap_or(verdicts::NONE)).collect())
    }

    /// Gradients for the cotangents with respect to the arguments marked in `ask`, summed over the batch for those marked
    /// in `summed`; with `along`, their derivatives along these directions of the data, the cotangents held.
    pub fn vjp(
        &self,
        py: Option<Python<'_>>,
        cotangents: &[Cotangent],
        along: Option<&[Tangent]>,
        (ask, summed): ([bool; 8], [bool; SLOTS]),
        policy: Policy,
    ) -> Result<Gathered, Failure> {
        let ask = wrt(ask);
        let mut gathered = Gathered::new(self.qp()?, ask, summed, self.list.len(), 1, false);
        let vanishes = |k: usize| cotangents[k].is_zero();
        self.gather(py, policy, &mut gathered, vanishes, |at, k, take| {
            take(
                0,
                match along {
                    None => at.vjp(&cotangents[k], ask)?,
                    Some(along) => at.second_vjp(&cotangents[k], &along[k], ask)?,
                },
            );
            Ok(())
        })?;
        Ok(gathered)
    }

    /// The change of the outputs along directions of the data, and the verdicts; the second one along both, or the one-sided.
    pub fn jvp(
        &self,
        py: Option<Python<'_>>,
        tangents: &[Tangent],
        along: Along<'_>,
        policy: Policy,
    ) -> Result<(Rows, Vec<u8>), Failure> {
        let qp = self.qp()?;
        let (n, m, mi) = (qp.n(), qp.n_equality(), qp.n_inequality());
        let blank = if policy == 1 { f64::NAN } else { 0.0 };
        let mut out = [n, m, mi, n, 1].map(|width| vec![blank; self.list.len() * width]);
        let derive = |at: &mut Derivatives<'_>, k: usize, (): ()| -> Result<(SolutionTangent, u8), Error> {
            let tangent = match along {
                Along::Nothing => at.jvp(&tangents[k])?.clone(),
                Along::OneSide => {
                    let (moved, verdict) = at.solution().jvp_one_sided(&tangents[k])?;
                    return Ok((moved, verdicts::code(verdict, at.solution().status)));
                }
                Along::Direction(along) => at.second_jvp(&tangents[k], &along[k])?.clone(),
            };
            Ok((tangent, verdicts::code(at.verdict(), at.solution().status)))
        };
        let all = self.derive(py, policy, 1, vec![(); self.list.len()], derive)?;
        let mut codes = vec![verdicts::NONE; self.list.len()];
        for (k, tangent) in all.into_iter().enumerate() {
            if let Some((t, code)) = tangent {
                codes[k] = code;
                let objective = [t.objective];
                for (rows, row) in out.iter_mut().zip([&t.x[..], &t.y, &t.z, &t.z_box, &objective]) {
                    rows[k * row.len()..(k + 1) * row.len()].copy_from_slice(row);
                }
            }
        }
        Ok((out, codes))
    }
}

/// The elements without a solution in words, if there are any: each with its status, its proof, and what is wrong with its
/// data.
pub fn failure_text<'a>(
    size: usize,
    failed: impl Iterator<Item = (usize, Status, Option<&'a Certificate>, Option<&'a Error>)>,
) -> Option<String> {
    let mut lines: Vec<String> = failed
        .map(|(k, status, certificate, reason)| {
            let proof = certificate
                .map(|c| format!(" (proved by sol.info.certificate: {})", in_brief(c)))
                .or_else(|| reason.map(|e| format!(" ({e})")))
                .unwrap_or_default();
            format!("element {k}: {status}{proof}")
        })
        .collect();
    let count = lines.len();
    if count == 0 {
        return None;
    }
    if count > LISTED {
        lines.truncate(LISTED);
        lines.push(format!("and {} more, in the list `failures` of this error", count - LISTED));
    }
    Some(format!(
        "{count} of {size} problems not solved: {}. on_failure='nan' or 'zero_grad' returns the others",
        lines.join("; ")
    ))
}

fn in_brief(certificate: &Certificate) -> String {
    let nonzeros = |v: &[f64]| v.iter().filter(|v| **v != 0.0).count();
    match certificate {
        Certificate::PrimalInfeasible(p) => {
            let parts = [("y", &p.y), ("z", &p.z), ("z_box", &p.z_box)];
            let named = parts.iter().filter(|(_, v)| nonzeros(v) > 0);
            let words: Vec<String> = named.map(|(name, v)| format!("{name} with {} nonzeros", nonzeros(v))).collect();
            format!("multipliers {}", words.join(", "))
        }
        Certificate::DualInfeasible(d) | Certificate::NonConvex(d) => {
            format!("a direction with {} nonzeros", nonzeros(d))
        }
    }
}
