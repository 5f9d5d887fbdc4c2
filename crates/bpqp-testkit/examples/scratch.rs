use bpqp::forward::{ForwardSolver, Homogeneous, Clarabel};
use bpqp::*;
use bpqp_testkit::{Rng, conic};
use std::time::Instant;
use bpqp::residuals::{residuals, ResidualWork};
fn time(mut f: impl FnMut()) -> f64 {
    let mut once = || { let s = Instant::now(); f(); 1e6 * s.elapsed().as_secs_f64() };
    let first = once();
    let mut t: Vec<f64> = (0..(300000.0 / first).clamp(3.0, 200.0) as usize).map(|_| once()).collect();
    t.sort_by(f64::total_cmp);
    t[t.len() / 4]
}
fn main() {
    let s = Settings::default(); let only: String = std::env::args().nth(1).unwrap_or_default();
    let arg: Vec<String> = std::env::args().collect();
    for (name, conic) in [("robust 10", conic::robust(10, 2, 1)), ("robust 50", conic::robust(50, 2, 1)), ("robust 100", conic::robust(100, 2, 1)), ("robust 500", conic::robust(500, 2, 1)), ("20 cones", conic::robust(30, 20, 1)), ("corr 8", conic::correlation(8, 1)), ("corr 20", conic::correlation(20, 1))] {
        if !name.contains(&only) { continue }
        let qp = to_qp(&conic);
        for (sname, solver) in [("hom", Box::new(Homogeneous) as Box<dyn ForwardSolver>), ("cla", Box::new(Clarabel))] {
            let Ok(mut h) = solver.prepare(&qp, &s) else { continue };
            let mut out = Point::zeros(&qp);
            let o = h.solve(None, &mut out);
            let r = { let r = residuals(&qp, &out, &mut ResidualWork::default()).0; (r.primal, r.dual, r.gap) };
            if std::env::var("HOM").is_ok() { break }
            let warm = time(|| { h.solve(None, &mut out); });
            let cold = time(|| { let mut h = solver.prepare(&qp, &s).unwrap(); h.solve(None, &mut out); });
            println!("{name} {sname} {:?} {} obj {:.12e} res {:?} | again {:.1} us, cold {:.1} us", o.status, o.iterations, qp.objective(&out.x), r, warm, cold);
        }
    }
}

fn to_qp(c: &Conic) -> Qp {
    let mut qp = match c.p() { Some(p) => Qp::new(Hessian::Sparse(p.clone()), c.q().to_vec()), None => Qp::linear(c.q().to_vec()) }.unwrap();
    let mut start = 0;
    for cone in c.cones() {
        let end = start + cone.rows();
        let t: Vec<_> = c.a().triplets().filter(|t| t.0 >= start && t.0 < end).map(|(i, j, v)| (i - start, j, v)).collect();
        qp = qp.cone(*cone, Csc::from_triplets(cone.rows(), c.n(), &t).unwrap(), c.b()[start..end].to_vec()).unwrap();
        start = end;
    }
    qp
}
