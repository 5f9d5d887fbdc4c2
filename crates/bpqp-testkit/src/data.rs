//! The public problem collections, where they are present: in `../shared/data` beside the workspace, or in the folder
//! that the environment variable `BPQP_DATA` names. Tests that need them say so and pass where they are absent, except
//! under continuous integration (`CI` set), where that is a failure.

use crate::npz::{self, Npz};
use bpqp::cbf::{self, Cbf};
use bpqp::{Csc, Hessian, Matrix, Qp};
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The folder of one collection, or `None` with a message.
pub fn folder(collection: &str) -> Option<PathBuf> {
    let root = std::env::var_os("BPQP_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"), PathBuf::from);
    let path = root.join(collection);
    if path.is_dir() {
        return Some(path);
    }
    let ci = std::env::var_os("CI").is_some_and(|v| !v.is_empty());
    assert!(!ci, "the problem collection {} is missing", path.display());
    println!("SKIPPED: no problem collection at {}", path.display());
    None
}

/// A problem of a collection.
#[derive(Debug, Clone)]
pub struct Problem {
    /// Its name.
    pub name: String,
    /// The problem, every matrix sparse.
    pub qp: Qp,
    /// To be added to the objective.
    pub constant: f64,
    /// The optimum of the index; `None` where there is none (infeasible problems).
    pub optimum: Option<f64>,
}

/// Columns `name` and `objective` of the index of a collection, in its order.
pub fn index(folder: &Path) -> Vec<(String, Option<f64>)> {
    index_column(folder, "objective")
}

/// The first column of the index of a collection and another one.
pub fn index_column(folder: &Path, name: &str) -> Vec<(String, Option<f64>)> {
    let path = folder.join("index.csv");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().expect("a header").split(',').collect();
    let column = header.iter().position(|&c| c == name).unwrap_or_else(|| panic!("no column {name}"));
    lines
        .filter(|line| !line.is_empty())
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            (fields[0].to_owned(), fields[column].parse().ok())
        })
        .collect()
}

fn vector(npz: &Npz, key: &str) -> Vec<f64> {
    npz.get(key).unwrap_or_else(|| panic!("no array {key}")).values.clone()
}

fn csc(npz: &Npz, key: &str, nrows: usize, ncols: usize) -> Csc {
    let whole = |part: &str| vector(npz, &format!("{key}_{part}")).iter().map(|&v| v as usize).collect::<Vec<_>>();
    let (pointers, rows, values) = (whole("indptr"), whole("indices"), vector(npz, &format!("{key}_data")));
    let triplets = (0..ncols)
        .flat_map(|j| (pointers[j]..pointers[j + 1]).map(move |k| (k, j)))
        .map(|(k, j)| (rows[k], j, values[k]));
    Csc::from_triplets(nrows, ncols, &triplets.collect::<Vec<_>>()).expect("a valid sparse matrix")
}

/// `l <= A x <= u` as equalities and inequalities; rows without finite sides are left out.
fn split_rows(qp: Qp, a: &Csc, l: &[f64], u: &[f64]) -> Qp {
    let (n, mut equal, mut b, mut unequal, mut h) = (qp.n(), vec![], vec![], vec![], vec![]);
    let mut places: Vec<Vec<(bool, usize, f64)>> = Vec::with_capacity(l.len());
    for i in 0..l.len() {
        let mut place = Vec::new();
        if l[i] == u[i] {
            place.push((true, b.len(), 1.0));
            b.push(l[i]);
        } else {
            for (side, sign) in [(u[i], 1.0), (-l[i], -1.0)] {
                if side.is_finite() {
                    place.push((false, h.len(), sign));
                    h.push(side);
                }
            }
        }
        places.push(place);
    }
    for (i, j, v) in a.triplets() {
        for &(equality, row, sign) in places.get(i).into_iter().flatten() {
            if equality { equal.push((row, j, v)) } else { unequal.push((row, j, sign * v)) }
        }
    }
    let rows =
        |count, triplets: &[_]| Matrix::Sparse(Csc::from_triplets(count, n, triplets).expect("indices in range"));
    let (a, g) = (rows(b.len(), &equal), rows(h.len(), &unequal));
    qp.equality(a, b).and_then(|qp| qp.inequality(g, h)).expect("a valid problem")
}

/// A problem of `maros_meszaros`: bounds become bounds, the other rows equalities and inequalities.
pub fn maros_meszaros(folder: &Path, name: &str, optimum: Option<f64>) -> Problem {
    let npz = npz::read(&folder.join(format!("{name}.npz"))).unwrap_or_else(|e| panic!("{e}"));
    let (n, rows) = (npz["n"].values[0] as usize, npz["rows"].values[0] as usize);
    let (p, a) = (csc(&npz, "P", n, n), csc(&npz, "A", rows, n));
    let (l, u, own) = (vector(&npz, "l"), vector(&npz, "u"), rows - n);
    let qp = Qp::new(Hessian::Sparse(p), vector(&npz, "q"))
        .and_then(|qp| qp.bounds(&l[own..], &u[own..]))
        .unwrap_or_else(|e| panic!("{name}: {e}"));
    let qp = split_rows(qp, &a, &l[..own], &u[..own]);
    Problem { name: name.into(), qp, constant: npz["r"].values[0], optimum }
}

/// A problem of `netlib_lp`.
pub fn netlib(folder: &Path, name: &str, optimum: Option<f64>) -> Problem {
    let npz = npz::read(&folder.join(format!("{name}.npz"))).unwrap_or_else(|e| panic!("{e}"));
    let shape = &npz["A_shape"].values;
    let a = csc(&npz, "A", shape[0] as usize, shape[1] as usize);
    let qp = Qp::linear(vector(&npz, "c"))
        .and_then(|qp| qp.equality(a, vector(&npz, "b")))
        .and_then(|qp| qp.bounds(vector(&npz, "lo"), vector(&npz, "hi")))
        .unwrap_or_else(|e| panic!("{name}: {e}"));
    Problem { name: name.into(), qp, constant: 0.0, optimum }
}

/// A problem of `mpc_qp`: dense, with what there is of it.
pub fn mpc(folder: &Path, name: &str, optimum: Option<f64>) -> Problem {
    let npz = npz::read(&folder.join(format!("{name}.npz"))).unwrap_or_else(|e| panic!("{e}"));
    let n = npz["q"].values.len();
    let matrix = |key: &str| -> Matrix {
        let array = &npz[key];
        Matrix::from_rows(array.values.len() / n, n, &array.values).unwrap_or_else(|e| panic!("{name}: {e}"))
    };
    let p = Hessian::from_rows(n, &npz["P"].values).unwrap_or_else(|e| panic!("{name}: {e}"));
    let build = || {
        let mut qp = Qp::new(p, vector(&npz, "q"))?;
        if npz.contains_key("A") {
            qp = qp.equality(matrix("A"), vector(&npz, "b"))?;
        }
        if npz.contains_key("G") {
            qp = qp.inequality(matrix("G"), vector(&npz, "h"))?;
        }
        let side = |key: &str| if npz.contains_key(key) { vector(&npz, key) } else { Vec::new() };
        qp.bounds(side("lb"), side("ub"))
    };
    Problem { name: name.into(), qp: build().unwrap_or_else(|e| panic!("{name}: {e}")), constant: 0.0, optimum }
}

/// A problem of `lsq`: `min 1/2 |r|^2` in x and the residuals `r = A x - b`; its optimum is half the square of the norm in the index.
pub fn least_squares(folder: &Path, name: &str, norm: Option<f64>) -> Problem {
    let npz = npz::read(&folder.join(format!("{name}.npz"))).unwrap_or_else(|e| panic!("{e}"));
    let shape = &npz["A_shape"].values;
    let (m, n) = (shape[0] as usize, shape[1] as usize);
    let a = csc(&npz, "A", m, n);
    let rows: Vec<_> = a.triplets().chain((0..m).map(|i| (i, n + i, -1.0))).collect();
    let d = (0..n + m).map(|j| if j < n { 0.0 } else { 1.0 }).collect();
    let qp = Qp::new(Hessian::Diagonal(d), vec![0.0; n + m])
        .and_then(|qp| qp.equality(Csc::from_triplets(m, n + m, &rows)?, vector(&npz, "b")))
        .unwrap_or_else(|e| panic!("{name}: {e}"));
    Problem { name: name.into(), qp, constant: 0.0, optimum: norm.map(|v| 0.5 * v * v) }
}

/// A case of `opf`, by the name of its file.
pub fn power_flow(folder: &Path, name: &str, optimum: Option<f64>) -> Problem {
    let path = folder.join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let (qp, constant) = crate::opf::program(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
    Problem { name: name.trim_start_matches("pglib_opf_").trim_end_matches(".m").into(), qp, constant, optimum }
}

/// A problem of `cblib`, by its name in the index.
pub fn cblib(folder: &Path, name: &str) -> Cbf {
    let path = folder.join(name);
    let mut text = String::new();
    let file = std::fs::File::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let read = flate2::read::GzDecoder::new(file).read_to_string(&mut text);
    read.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    cbf::parse(&text).unwrap_or_else(|e| panic!("{name}: {e}"))
}
