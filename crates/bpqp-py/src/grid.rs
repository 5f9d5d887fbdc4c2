//! Grids: cases as texts, their dispatch, and its derivatives.

use crate::errors::misuse;
use crate::settings;
use bpqp::smooth::At;
use bpqp_grid::{Case, Dispatch, GridError, Model, Outputs, Parameters};
use numpy::{PyArray1, PyArrayMethods, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use std::sync::Mutex;

fn raised(error: GridError) -> PyErr {
    match error {
        GridError::Solver(error) => crate::errors::raise(error),
        other => misuse(other.to_string()),
    }
}

fn tuple<'py, const N: usize>(py: Python<'py>, parts: [&[f64]; N]) -> PyResult<Bound<'py, PyTuple>> {
    PyTuple::new(py, parts.map(|v| PyArray1::from_slice(py, v)))
}

/// Loads, reactive loads, limits, quadratic and linear costs.
type Numbers<'py> = (
    PyReadonlyArray1<'py, f64>,
    PyReadonlyArray1<'py, f64>,
    PyReadonlyArray1<'py, f64>,
    PyReadonlyArray1<'py, f64>,
    PyReadonlyArray1<'py, f64>,
);

/// A point and its multipliers.
type Place<'py> = (PyReadonlyArray1<'py, f64>, PyReadonlyArray1<'py, f64>, PyReadonlyArray1<'py, f64>);

/// A grid of a text in MATPOWER's format.
#[pyclass(frozen, module = "bpqp._bpqp")]
pub struct Grid(Case);

impl Grid {
    fn parameters(&self, numbers: Numbers<'_>) -> PyResult<Parameters> {
        let (nb, nl, ng) = (self.0.buses.len(), self.0.branches.len(), self.0.generators.len());
        let checked = |name: &str, v: PyReadonlyArray1<'_, f64>, n: usize| {
            let v = v.to_vec()?;
            match v.len() == n {
                true => Ok(v),
                false => Err(misuse(format!("{name} has {} entries, expected {n}", v.len()))),
            }
        };
        Ok(Parameters {
            load: checked("load", numbers.0, nb)?,
            reactive: checked("reactive", numbers.1, nb)?,
            limit: checked("limit", numbers.2, nl)?,
            quadratic: checked("quadratic", numbers.3, ng)?,
            linear: checked("linear", numbers.4, ng)?,
        })
    }
}

#[pymethods]
impl Grid {
    #[new]
    fn new(text: &str) -> PyResult<Self> {
        Case::parse(text).map(Grid).map_err(raised)
    }

    /// Numbers of the buses, of the buses of the generators, ends of the branches.
    fn places(&self) -> (Vec<i64>, Vec<usize>, Vec<(usize, usize)>) {
        let c = &self.0;
        let ids = c.buses.iter().map(|b| b.id).collect();
        let buses = c.generators.iter().map(|g| g.bus).collect();
        (ids, buses, c.branches.iter().map(|b| (b.from, b.to)).collect())
    }

    /// Loads, reactive loads, limits (infinite without one), quadratic and linear costs, least and most powers.
    fn numbers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let c = &self.0;
        let of = |f: &dyn Fn(&bpqp_grid::Generator) -> f64| c.generators.iter().map(f).collect::<Vec<f64>>();
        let load: Vec<f64> = c.buses.iter().map(|b| b.load).collect();
        let reactive: Vec<f64> = c.buses.iter().map(|b| b.reactive).collect();
        let limit: Vec<f64> = c.branches.iter().map(|b| b.limit.unwrap_or(f64::INFINITY)).collect();
        let (quadratic, linear) = (of(&|g| g.cost[0]), of(&|g| g.cost[1]));
        let (least, most) = (of(&|g| g.power.0), of(&|g| g.power.1));
        tuple(py, [&load, &reactive, &limit, &quadratic, &linear, &least, &most])
    }

    /// Solves at these parameters, from where a similar call ended if that is given.
    #[pyo3(signature = (numbers, ac, options = None, near = None))]
    fn dispatch(
        &self,
        numbers: Numbers<'_>,
        ac: bool,
        options: Option<&Bound<'_, PyDict>>,
        near: Option<Place<'_>>,
    ) -> PyResult<Dispatched> {
        let settings = settings(options)?;
        let p = self.parameters(numbers)?;
        let mut case = self.0.clone();
        for (k, bus) in case.buses.iter_mut().enumerate() {
            (bus.load, bus.reactive) = (p.load[k], p.reactive[k]);
        }
        for (k, branch) in case.branches.iter_mut().enumerate() {
            branch.limit = p.limit[k].is_finite().then_some(p.limit[k]);
        }
        for (k, generator) in case.generators.iter_mut().enumerate() {
            (generator.cost[0], generator.cost[1]) = (p.quadratic[k], p.linear[k]);
        }
        let model = if ac { Model::Ac } else { Model::Dc };
        let near = near.map(|(x, y, z)| Ok::<_, PyErr>((x.to_vec()?, y.to_vec()?, z.to_vec()?))).transpose()?;
        let near = near.as_ref().map(|(x, y, z)| At { x, y, z });
        let found = Dispatch::solve_from(&case, model, &settings, near).map_err(raised)?;
        Ok(Dispatched(Mutex::new(found)))
    }
}

/// A solved grid.
#[pyclass(frozen, module = "bpqp._bpqp")]
pub struct Dispatched(Mutex<Dispatch>);

impl Dispatched {
    fn with<T>(&self, f: impl FnOnce(&mut Dispatch) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }
}

#[pymethods]
impl Dispatched {
    /// Status, ok, verdict, iterations, residual, cost and the reason of a failure.
    fn outcome(&self) -> (&'static str, bool, &'static str, usize, f64, f64, Option<String>) {
        self.with(|d| (d.status.name(), d.ok(), d.verdict.name(), d.iterations, d.residual, d.cost, d.reason.clone()))
    }

    /// Where a similar call may start: a point and its multipliers, if there is a solution of the full power flow.
    fn point<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        self.with(|d| d.point().map(|at| tuple(py, [at.x, at.y, at.z])).transpose())
    }

    /// Powers, reactive powers, prices, voltages, angles, flows.
    fn outputs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        self.with(|d| tuple(py, [&d.power, &d.reactive, &d.price, &d.voltage, &d.angle, &d.flow]))
    }

    /// Gradients by loads, reactive loads, limits, quadratic and linear costs for these cotangents, and the verdict.
    fn vjp<'py>(
        &self,
        py: Python<'py>,
        cost: f64,
        power: PyReadonlyArray1<'py, f64>,
        price: PyReadonlyArray1<'py, f64>,
    ) -> PyResult<(Bound<'py, PyTuple>, &'static str)> {
        let cotangent = Outputs { cost, power: power.to_vec()?, price: price.to_vec()? };
        self.with(|d| {
            let g = d.gradient(&cotangent).map_err(raised)?;
            let parts = tuple(py, [&g.load, &g.reactive, &g.limit, &g.quadratic, &g.linear])?;
            Ok((parts, d.derivative_verdict().name()))
        })
    }

    /// The change of cost, powers and prices along a direction of the parameters, and the verdict.
    fn jvp<'py>(&self, py: Python<'py>, numbers: Numbers<'py>) -> PyResult<(f64, Bound<'py, PyTuple>, &'static str)> {
        let along = self.with(|d| Grid(d.case().clone()).parameters(numbers))?;
        self.with(|d| {
            let t = d.along(&along).map_err(raised)?;
            Ok((t.cost, tuple(py, [&t.power, &t.price])?, d.derivative_verdict().name()))
        })
    }
}
