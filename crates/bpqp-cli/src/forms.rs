//! What the commands on files print as JSON.

use bpqp::{Certificate, Csc, Gradient, Hessian, Matrix, Residuals};
use serde::Serialize;
use serde_json::Value;
use std::time::Duration;

/// A form as a value: its fields in alphabetical order, what is no number `null`.
pub fn value(form: &impl Serialize) -> Value {
    // these forms have names of fields that are strings, and that is all that could go wrong
    serde_json::to_value(form).unwrap_or_default()
}

/// A solution; of a cone program with `s` and without `z` and `z_box`.
#[derive(Serialize)]
pub struct SolutionForm<'a> {
    pub status: &'a str,
    pub ok: bool,
    pub objective: f64,
    pub x: &'a [f64],
    pub y: &'a [f64],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s: Option<&'a [f64]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub z: Option<&'a [f64]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub z_box: Option<&'a [f64]>,
    pub verdict: &'a str,
    pub residuals: ResidualsForm,
    pub info: InfoForm<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shift: Option<ShiftForm<'a>>,
}

#[derive(Serialize)]
pub struct ResidualsForm {
    primal: f64,
    dual: f64,
    complementarity: f64,
    gap: f64,
}

impl From<&Residuals> for ResidualsForm {
    fn from(r: &Residuals) -> Self {
        ResidualsForm { primal: r.primal, dual: r.dual, complementarity: r.complementarity, gap: r.gap }
    }
}

#[derive(Serialize)]
pub struct InfoForm<'a> {
    pub solver: &'a str,
    pub iterations: usize,
    #[serde(serialize_with = "seconds")]
    pub time: Duration,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateForm<'a>>,
}

fn seconds<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

/// By how much the rows of an infeasible problem give way.
#[derive(Serialize)]
pub struct ShiftForm<'a> {
    #[serde(rename = "A")]
    pub a: &'a [f64],
    #[serde(rename = "G")]
    pub g: &'a [f64],
}

/// Multipliers that contradict each other, or a direction.
#[derive(Serialize)]
#[serde(untagged)]
pub enum CertificateForm<'a> {
    Rows { y: &'a [f64], z: &'a [f64], z_box: &'a [f64] },
    Cones { y: &'a [f64] },
    Direction { direction: &'a [f64] },
}

impl<'a> CertificateForm<'a> {
    pub fn new(certificate: &'a Certificate) -> Self {
        match certificate {
            Certificate::PrimalInfeasible(p) => CertificateForm::Rows { y: &p.y, z: &p.z, z_box: &p.z_box },
            Certificate::DualInfeasible(direction) | Certificate::NonConvex(direction) => {
                CertificateForm::Direction { direction }
            }
        }
    }

    /// In the rows of a cone program.
    pub fn of_cones(certificate: &'a Certificate) -> Self {
        match certificate {
            Certificate::PrimalInfeasible(p) => CertificateForm::Cones { y: &p.y },
            other => CertificateForm::new(other),
        }
    }
}

/// The blocks by the names of the API; what the problem lacks is left out.
#[derive(Serialize)]
pub struct GradientForm<'a> {
    #[serde(rename = "P", skip_serializing_if = "Option::is_none")]
    p: Option<&'a Hessian>,
    #[serde(skip_serializing_if = "Option::is_none")]
    q: Option<&'a [f64]>,
    #[serde(rename = "G", skip_serializing_if = "Option::is_none")]
    g: Option<&'a Matrix>,
    #[serde(skip_serializing_if = "Option::is_none")]
    h: Option<&'a [f64]>,
    #[serde(rename = "A", skip_serializing_if = "Option::is_none")]
    a: Option<&'a Matrix>,
    #[serde(skip_serializing_if = "Option::is_none")]
    b: Option<&'a [f64]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lb: Option<&'a [f64]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ub: Option<&'a [f64]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<&'a str>,
}

impl<'a> From<&'a Gradient> for GradientForm<'a> {
    fn from(gradient: &'a Gradient) -> Self {
        let vector = |v: &'a Option<Vec<f64>>| v.as_deref().filter(|v| !v.is_empty());
        let matrix = |m: &'a Option<Matrix>| m.as_ref().filter(|m| m.nrows() > 0);
        GradientForm {
            p: gradient.p.as_ref().filter(|p| !matches!(p, Hessian::Zero(_))),
            q: vector(&gradient.q),
            g: matrix(&gradient.g),
            h: vector(&gradient.h),
            a: matrix(&gradient.a),
            b: vector(&gradient.b),
            lb: vector(&gradient.lb),
            ub: vector(&gradient.ub),
            verdict: None,
            status: None,
        }
    }
}

/// The gradient of a cone program.
#[derive(Serialize)]
pub struct ConicGradientForm<'a> {
    pub verdict: &'a str,
    pub status: &'a str,
    pub q: Option<&'a [f64]>,
    #[serde(rename = "A")]
    pub a: &'a Csc,
    pub b: Option<&'a [f64]>,
}

/// What `check` found.
#[derive(Serialize)]
pub struct CheckForm<'a> {
    pub worst: f64,
    pub ok: bool,
    pub disagreeing: &'a [&'a str],
    pub table: Vec<CheckRowForm<'a>>,
    pub verdict: &'a str,
}

/// A block; of cone programs only what has no `None`.
#[derive(Serialize)]
pub struct CheckRowForm<'a> {
    pub block: &'a str,
    pub worst: f64,
    pub analytic: f64,
    pub numeric: f64,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub more: Option<CheckMore>,
}

#[derive(Serialize)]
pub struct CheckMore {
    pub entries: usize,
    pub checked: usize,
    pub at: String,
    pub kinks: usize,
}
