//! Problems to and from JSON and the like (feature `serde`): the form of the problem files of the program `bpqp`.
//!
//! A dense matrix is a list of rows, a sparse one `{"shape": [m, n], "row": [..], "col": [..], "value": [..]}`; `P` may also be
//! `{"d": [..], "F": [[..]]}` or `{"blocks": [..]}`, and is absent in a linear program. `null` is an infinite side or bound.
//! What is read is checked as what is built is: a problem that [`Qp`] would refuse is an error of the reader.

use crate::cones::Cone;
use crate::matrix::{Csc, Hessian, Matrix};
use crate::{Error, Qp};
use faer::{Mat, MatRef};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

type Rows = Vec<Vec<f64>>;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Triplets {
    shape: (usize, usize),
    row: Vec<usize>,
    col: Vec<usize>,
    value: Vec<f64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Factored {
    d: Vec<f64>,
    #[serde(rename = "F", default, skip_serializing_if = "Vec::is_empty")]
    f: Rows,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Blocks {
    blocks: Vec<Rows>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum HessianForm {
    Dense(Rows),
    Factored(Factored),
    Blocks(Blocks),
    Sparse(Triplets),
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum MatrixForm {
    Dense(Rows),
    Sparse(Triplets),
}

/// An infinite entry is `None`.
type Sides = Vec<Option<f64>>;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(non_snake_case)]
struct Form {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    P: Option<HessianForm>,
    q: Vec<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    A: Option<MatrixForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    b: Option<Vec<f64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    G: Option<MatrixForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    h: Option<Sides>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lb: Option<Sides>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ub: Option<Sides>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    C: Option<MatrixForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    d: Option<Vec<f64>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    cones: Vec<Cone>,
}

fn rows(m: MatRef<'_, f64>) -> Rows {
    (0..m.nrows()).map(|i| (0..m.ncols()).map(|j| m[(i, j)]).collect()).collect()
}

fn dense(argument: &'static str, rows: &Rows, columns: Option<usize>) -> Result<Mat<f64>, Error> {
    let columns = columns.unwrap_or_else(|| rows.first().map_or(0, Vec::len));
    match rows.iter().find(|row| row.len() != columns) {
        Some(row) => Err(Error::length(argument, row.len(), columns, "every row has one entry per column")),
        None => Ok(Mat::from_fn(rows.len(), columns, |i, j| rows[i][j])),
    }
}

impl From<&Csc> for Triplets {
    fn from(m: &Csc) -> Self {
        let mut out = Triplets { shape: (m.nrows(), m.ncols()), row: Vec::new(), col: Vec::new(), value: Vec::new() };
        for (i, j, v) in m.triplets() {
            out.row.push(i);
            out.col.push(j);
            out.value.push(v);
        }
        out
    }
}

impl Triplets {
    /// The matrix; the shape is checked before anything of its size is made.
    fn matrix(&self, argument: &'static str, shape: (usize, usize)) -> Result<Csc, Error> {
        if self.shape != shape {
            let advice = "as many rows as its vector has entries, as many columns as q";
            return Err(Error::Shape { argument, found: self.shape, expected: shape, advice });
        }
        let entries = self.value.len();
        if self.row.len() != entries || self.col.len() != entries {
            let reason = "row, col and value differ in length".to_owned();
            return Err(Error::Pattern { argument, reason });
        }
        let triplets: Vec<_> = (0..entries).map(|k| (self.row[k], self.col[k], self.value[k])).collect();
        Csc::from_triplets(shape.0, shape.1, &triplets)
    }
}

impl HessianForm {
    fn new(p: &Hessian) -> Option<Self> {
        Some(match p {
            Hessian::Zero(_) => return None,
            Hessian::Dense(m) => HessianForm::Dense(rows(m.as_ref())),
            Hessian::Sparse(m) => HessianForm::Sparse(m.into()),
            Hessian::Diagonal(d) => HessianForm::Factored(Factored { d: d.clone(), f: Vec::new() }),
            Hessian::LowRank { d, f } => HessianForm::Factored(Factored { d: d.clone(), f: rows(f.as_ref()) }),
            Hessian::BlockDiagonal(blocks) => {
                HessianForm::Blocks(Blocks { blocks: blocks.iter().map(|m| rows(m.as_ref())).collect() })
            }
        })
    }

    fn hessian(self, n: usize) -> Result<Hessian, Error> {
        match self {
            HessianForm::Dense(m) => dense("P", &m, None).map(Hessian::from),
            HessianForm::Sparse(m) => m.matrix("P", (n, n)).map(Hessian::Sparse),
            HessianForm::Factored(Factored { d, f }) if f.is_empty() => Ok(Hessian::Diagonal(d)),
            HessianForm::Factored(Factored { d, f }) => Hessian::low_rank(d, dense("F", &f, None)?),
            HessianForm::Blocks(Blocks { blocks }) => {
                Hessian::block_diagonal(blocks.iter().map(|m| dense("P", m, None)).collect::<Result<_, _>>()?)
            }
        }
    }
}

impl MatrixForm {
    fn new(m: &Matrix) -> Option<Self> {
        (m.nrows() > 0).then(|| match m {
            Matrix::Dense(m) => MatrixForm::Dense(rows(m.as_ref())),
            Matrix::Sparse(m) => MatrixForm::Sparse(m.into()),
        })
    }

    fn matrix(self, argument: &'static str, shape: (usize, usize)) -> Result<Matrix, Error> {
        match self {
            MatrixForm::Dense(m) => dense(argument, &m, Some(shape.1)).map(Matrix::from),
            MatrixForm::Sparse(m) => m.matrix(argument, shape).map(Matrix::Sparse),
        }
    }
}

fn sides(values: &[f64]) -> Option<Sides> {
    values.iter().any(|v| v.is_finite()).then(|| values.iter().map(|v| v.is_finite().then_some(*v)).collect())
}

fn infinite(sides: Option<Sides>, infinity: f64) -> Vec<f64> {
    sides.into_iter().flatten().map(|v| v.unwrap_or(infinity)).collect()
}

impl Serialize for Csc {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Triplets::from(self).serialize(serializer)
    }
}

/// `null` without rows.
impl Serialize for Matrix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        MatrixForm::new(self).serialize(serializer)
    }
}

/// `null` for zero.
impl Serialize for Hessian {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        HessianForm::new(self).serialize(serializer)
    }
}

impl Serialize for Qp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // what a number of JSON cannot say would come back as another problem
        if self.h().iter().chain(self.ub()).any(|&v| v == f64::NEG_INFINITY) || self.lb().contains(&f64::INFINITY) {
            return Err(ser::Error::custom("an empty side or bound at infinity has no form"));
        }
        let full = |v: &[f64]| (!v.is_empty()).then(|| v.to_vec());
        let h = (!self.h().is_empty()).then(|| self.h().iter().map(|v| v.is_finite().then_some(*v)).collect());
        Form {
            P: HessianForm::new(self.p()),
            q: self.q().to_vec(),
            A: MatrixForm::new(self.a()),
            b: full(self.b()),
            G: MatrixForm::new(self.g()),
            h,
            lb: sides(self.lb()),
            ub: sides(self.ub()),
            C: MatrixForm::new(self.c()),
            d: full(self.d()),
            cones: self.cones().to_vec(),
        }
        .serialize(serializer)
    }
}

impl Form {
    fn qp(self) -> Result<Qp, Error> {
        let n = self.q.len();
        let mut qp = match self.P {
            None => Qp::linear(self.q)?,
            Some(p) => Qp::new(p.hessian(n)?, self.q)?,
        };
        let missing = |argument, rhs| {
            let reason = format!("it goes with {rhs}: give both or neither");
            Err(Error::Pattern { argument, reason })
        };
        qp = match (self.A, self.b) {
            (None, None) => qp,
            (Some(a), Some(b)) => qp.equality(a.matrix("A", (b.len(), n))?, b)?,
            _ => return missing("A", "b"),
        };
        qp = match (self.G, self.h) {
            (None, None) => qp,
            (Some(g), Some(h)) => qp.inequality(g.matrix("G", (h.len(), n))?, infinite(Some(h), f64::INFINITY))?,
            _ => return missing("G", "h"),
        };
        qp = match (self.C, self.d) {
            (None, None) if self.cones.is_empty() => qp,
            (Some(c), Some(d)) => qp.with_cones(self.cones, c.matrix("C", (d.len(), n))?, d)?,
            _ => return missing("C", "d and cones"),
        };
        qp.bounds(infinite(self.lb, f64::NEG_INFINITY), infinite(self.ub, f64::INFINITY))
    }
}

impl<'de> Deserialize<'de> for Qp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Form::deserialize(deserializer)?.qp().map_err(de::Error::custom)
    }
}
