//! What the library says through the crate `log`, and that it is silent where nobody listens.

use bpqp::{Cotangent, Hessian, Matrix, Qp, Settings, Solver, Verdict, Wrt};
use log::{Level, LevelFilter, Log, Metadata, Record};
use std::sync::{Mutex, PoisonError};

struct Ear;

static HEARD: Mutex<Vec<(Level, String, String)>> = Mutex::new(Vec::new());

impl Log for Ear {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = (record.level(), record.target().to_owned(), record.args().to_string());
        HEARD.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    fn flush(&self) {}
}

fn heard(level: LevelFilter, f: impl FnOnce()) -> Vec<(Level, String, String)> {
    log::set_max_level(level);
    f();
    log::set_max_level(LevelFilter::Off);
    std::mem::take(&mut HEARD.lock().unwrap_or_else(PoisonError::into_inner))
}

fn simplex(q: &[f64]) -> Result<Qp, bpqp::Error> {
    let n = q.len();
    Qp::new(Hessian::Diagonal(vec![1.0; n]), q)?
        .equality(Matrix::from_rows(1, n, &vec![1.0; n])?, vec![1.0])?
        .inequality(Matrix::from_rows(1, n, &vec![1.0; n])?, vec![2.0])?
        .bounds(vec![0.0; n], vec![])
}

// one test: the logger is one of the process
#[test]
fn solves_and_derivatives_leave_records() -> Result<(), Box<dyn std::error::Error>> {
    static EAR: Ear = Ear;
    log::set_logger(&EAR).map_err(|e| e.to_string())?;
    let qp = simplex(&[-1.0, 0.5, 0.2])?;
    let settings = Settings::with_solver(Solver::InteriorPoint);
    let solve = |qp: &Qp| drop(qp.solve(&settings));

    assert!(heard(LevelFilter::Off, || solve(&qp)).is_empty());
    let lines = heard(LevelFilter::Debug, || solve(&qp));
    let [(Level::Debug, target, text)] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!(target, "bpqp::layer");
    assert!(text.starts_with("solved by interior_point in ") && text.ends_with("; 3 variables, 2 rows"), "{text}");
    // one for each iteration
    let lines = heard(LevelFilter::Trace, || solve(&qp));
    let steps = lines.iter().filter(|l| l.0 == Level::Trace && l.1.starts_with("bpqp::forward::")).count();
    assert!(steps >= 3, "{lines:?}");

    let contradiction = simplex(&[0.0; 3])?.inequality(Matrix::from_rows(1, 3, &[1.0; 3])?, vec![0.5])?;
    let lines = heard(LevelFilter::Debug, || solve(&contradiction));
    let last = lines.last().ok_or("no record")?;
    assert!(last.2.starts_with("no solution: primal_infeasible by ") && last.2.ends_with("with a certificate"));

    // a kink: two bounds that bind without a force
    let kink = Qp::new(Hessian::Diagonal(vec![1.0; 2]), vec![0.0; 2])?.bounds(vec![0.0; 2], vec![])?;
    let solution = kink.solve(&settings)?;
    assert_eq!(solution.verdict(), Verdict::OneOfSeveral);
    let lines = heard(LevelFilter::Debug, || drop(solution.vjp(&Cotangent::x(&[1.0, 1.0]), Wrt::Q)));
    assert_eq!(lines, [(Level::Debug, "bpqp::derivatives".to_owned(), "a derivative is one_of_several".to_owned())]);
    Ok(())
}
