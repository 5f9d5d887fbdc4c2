//! The program in units in which its rows and columns have comparable lengths, known from products with random vectors.
//!
//! `x = D x^`, rows times `E`, the objective times `c`. A product with a vector of independent entries of mean square `s` has
//! entries of mean square `s` times the squared length of the row, so that a few of them tell the lengths of all rows.

use super::Program;
use super::operator::{Step, Watch, check_adjoint, random};
use crate::Deadline;
use crate::matrix::{dot, norm_inf};
use crate::thresholds::large::{FEW, PROBES, SCALINGS, STORED};
use std::sync::Arc;

/// Units, and what is estimated of the scaled matrices.
#[derive(Debug)]
pub(super) struct Units {
    pub d: Vec<f64>,
    /// Equalities first.
    pub e: Vec<f64>,
    pub cost: f64,
    /// Of the scaled `P`: its diagonal, or the lengths of its columns.
    pub curvature: Vec<f64>,
    /// Squared lengths of the columns of the scaled rows.
    pub columns: Vec<f64>,
    /// The scaled rows, where they are few.
    pub few: Option<Arc<Vec<Vec<f64>>>>,
}

/// Products and vectors of the scaled program.
pub(super) struct Model {
    pub program: Program,
    pub units: Arc<Units>,
    pub watch: Watch,
    pub q: Vec<f64>,
    /// Bounds of the rows, equalities first.
    pub rows: (Vec<f64>, Vec<f64>),
    pub bounds: (Vec<f64>, Vec<f64>),
    x: Vec<f64>,
    y: Vec<f64>,
}

impl Model {
    /// Looks at the operators, and finds units.
    pub fn new(program: &Program, deadline: Deadline) -> Step<Self> {
        let (n, m) = (program.n(), program.b.len() + program.h.len());
        let units = Units {
            d: vec![1.0; n],
            e: vec![1.0; m],
            cost: 1.0,
            curvature: vec![0.0; n],
            columns: vec![0.0; n],
            few: None,
        };
        let mut model = Model::with(program, Arc::new(units), deadline);
        for (argument, of) in [("P", &program.p), ("A", &program.a), ("G", &program.g)] {
            if let Some(m) = of {
                check_adjoint(argument, &**m, &mut model.watch)?;
            }
        }
        let (mut d, mut e) = (vec![1.0; n], vec![1.0; m]);
        for round in 0..SCALINGS {
            let (curvature, columns, rows) = model.lengths(round)?;
            for j in 0..n {
                let length = (curvature[j] * curvature[j] + columns[j]).sqrt().sqrt();
                d[j] /= if length > 0.0 { length } else { 1.0 };
            }
            e.iter_mut().zip(&rows).for_each(|(e, r)| *e /= if *r > 0.0 { r.sqrt() } else { 1.0 });
            model.set(Units { d: d.clone(), e: e.clone(), cost: 1.0, curvature, columns, few: None });
        }
        // rows have length 1 at the end: their multipliers and slacks are then comparable
        let (_, _, rows) = model.lengths(SCALINGS)?;
        e.iter_mut().zip(&rows).for_each(|(e, r)| *e /= if *r > 0.0 { *r } else { 1.0 });
        model.set(Units {
            d: d.clone(),
            e: e.clone(),
            cost: 1.0,
            curvature: vec![0.0; n],
            columns: vec![0.0; n],
            few: None,
        });
        let (mut curvature, columns, _) = model.lengths(SCALINGS + 1)?;
        if let Some(own) = program.p.as_ref().and_then(|p| p.diagonal()) {
            curvature = own.iter().zip(&d).map(|(p, d)| p.abs() * d * d).collect();
        }
        let mean = curvature.iter().sum::<f64>() / n.max(1) as f64;
        let size = mean.max(norm_inf(&model.q));
        let cost = if size > 0.0 { 1.0 / size } else { 1.0 };
        curvature.iter_mut().for_each(|v| *v *= cost);
        let few = model.few()?;
        model.set(Units { d, e, cost, curvature, columns, few });
        Ok(model)
    }

    /// That of a program whose units are known.
    pub fn with(program: &Program, units: Arc<Units>, deadline: Deadline) -> Self {
        let (n, m) = (program.n(), units.e.len());
        let mut model = Model {
            program: program.clone(),
            units,
            watch: Watch { deadline, products: 0 },
            q: Vec::new(),
            rows: Default::default(),
            bounds: Default::default(),
            x: vec![0.0; n],
            y: vec![0.0; m],
        };
        model.scale();
        model
    }

    fn set(&mut self, units: Units) {
        self.units = Arc::new(units);
        self.scale();
    }

    fn scale(&mut self) {
        let (p, Units { d, e, cost, .. }) = (&self.program, &*self.units);
        let m = p.b.len();
        self.q = p.q.iter().zip(d).map(|(q, d)| q * d * cost).collect();
        let upper: Vec<f64> = p.b.iter().chain(p.h.iter()).zip(e).map(|(v, e)| v * e).collect();
        let lower = (0..upper.len()).map(|i| if i < m { upper[i] } else { f64::NEG_INFINITY }).collect();
        self.rows = (lower, upper);
        let bound = |v: &[f64]| v.iter().zip(d).map(|(v, d)| v / d).collect();
        self.bounds = (bound(&p.lb), bound(&p.ub));
    }

    pub fn n(&self) -> usize {
        self.q.len()
    }

    pub fn m(&self) -> usize {
        self.units.e.len()
    }

    /// `out = P x`.
    pub fn p(&mut self, x: &[f64], out: &mut [f64]) -> Step<()> {
        let Some(p) = &self.program.p else {
            out.fill(0.0);
            return Ok(());
        };
        let Units { d, cost, .. } = &*self.units;
        self.x.iter_mut().zip(x.iter().zip(d)).for_each(|(s, (x, d))| *s = x * d);
        self.watch.apply("P", &**p, &self.x, out)?;
        out.iter_mut().zip(d).for_each(|(o, d)| *o *= d * cost);
        Ok(())
    }

    /// `out = C x`, the rows of the equalities and of the inequalities.
    pub fn c(&mut self, x: &[f64], out: &mut [f64]) -> Step<()> {
        let Units { d, e, .. } = &*self.units;
        self.x.iter_mut().zip(x.iter().zip(d)).for_each(|(s, (x, d))| *s = x * d);
        let (a, g) = out.split_at_mut(self.program.b.len());
        if let Some(m) = &self.program.a {
            self.watch.apply("A", &**m, &self.x, a)?;
        }
        if let Some(m) = &self.program.g {
            self.watch.apply("G", &**m, &self.x, g)?;
        }
        out.iter_mut().zip(e).for_each(|(o, e)| *o *= e);
        Ok(())
    }

    /// `out += C'y`.
    pub fn ct_add(&mut self, y: &[f64], out: &mut [f64]) -> Step<()> {
        let Units { d, e, .. } = &*self.units;
        self.y.iter_mut().zip(y.iter().zip(e)).for_each(|(s, (y, e))| *s = y * e);
        let (a, g) = self.y.split_at(self.program.b.len());
        for (argument, m, part) in [("A", &self.program.a, a), ("G", &self.program.g, g)] {
            if let Some(m) = m.as_ref().filter(|_| part.iter().any(|v| *v != 0.0)) {
                self.watch.transposed(argument, &**m, part, &mut self.x)?;
                out.iter_mut().zip(self.x.iter().zip(d)).for_each(|(o, (x, d))| *o += x * d);
            }
        }
        Ok(())
    }

    /// Estimates: lengths of the columns of P, squared lengths of the columns of C, lengths of its rows.
    fn lengths(&mut self, round: u64) -> Step<(Vec<f64>, Vec<f64>, Vec<f64>)> {
        let (n, m) = (self.n(), self.m());
        let (mut p, mut columns, mut rows) = (vec![0.0; n], vec![0.0; n], vec![0.0; m]);
        let (mut out, mut made) = (vec![0.0; n], vec![0.0; m]);
        let (mut weight, mut row_weight) = (0.0, 0.0);
        for k in 0..PROBES {
            let seed = 16 + round * PROBES + k;
            let v = random(seed, n);
            weight += dot(&v, &v) / n.max(1) as f64;
            self.p(&v, &mut out)?;
            p.iter_mut().zip(&out).for_each(|(s, o)| *s += o * o);
            self.c(&v, &mut made)?;
            rows.iter_mut().zip(&made).for_each(|(s, o)| *s += o * o);
            let u = random(seed, m);
            row_weight += dot(&u, &u) / m.max(1) as f64;
            out.fill(0.0);
            self.ct_add(&u, &mut out)?;
            columns.iter_mut().zip(&out).for_each(|(s, o)| *s += o * o);
        }
        p.iter_mut().for_each(|v| *v = (*v / weight).sqrt());
        rows.iter_mut().for_each(|v| *v = (*v / weight).sqrt());
        columns.iter_mut().for_each(|v| *v /= row_weight.max(f64::MIN_POSITIVE));
        Ok((p, columns, rows))
    }

    /// The rows themselves, where they are few: a product of the transpose for each.
    fn few(&mut self) -> Step<Option<Arc<Vec<Vec<f64>>>>> {
        let (n, m) = (self.n(), self.m());
        if m == 0 || m > FEW || m.saturating_mul(n) > STORED {
            return Ok(None);
        }
        let mut rows = vec![vec![0.0; n]; m];
        let mut y = vec![0.0; m];
        for (i, row) in rows.iter_mut().enumerate() {
            y.fill(0.0);
            y[i] = 1.0;
            self.ct_add(&y, row)?;
        }
        Ok(Some(Arc::new(rows)))
    }
}
