//! The readers of the program under broken files.

use bpqp::{Settings, cbf, qps};
use bpqp_cli::portfolio::model_file::Model;
use bpqp_cli::portfolio::prices::Prices;
use bpqp_cli::schedule::data::Days;
use bpqp_cli::{problem_file, unpack};
use bpqp_testkit::Rng;
use bpqp_testkit::mutate::mutant;
use flate2::{Compression, write::GzEncoder};
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

/// Problems up to this many rows and variables are solved too.
const SMALL: usize = 64;

const JSON: [&str; 5] = [
    r#"{"P": [[2, 0.5], [0.5, 1]], "q": [-1, 1], "A": [[1, 1]], "b": [1], "G": [[1, -1]], "h": [0.3], "lb": [null, -0.4]}"#,
    r#"{"P": {"shape": [2, 2], "row": [0, 1], "col": [0, 1], "value": [2, 1]}, "q": [-1, 1], "dx": [1, 2], "dz_box": [1, 0],
        "A": {"shape": [1, 2], "row": [0, 0], "col": [0, 1], "value": [1, 1]}, "b": [1], "ub": [3, null]}"#,
    r#"{"P": {"d": [1, 2, 3], "F": [[1], [2], [3]]}, "q": [1, 2, 3], "lb": [0, 0, 0], "solver": "admm", "max_iter": 50}"#,
    r#"{"q": [1, 2, 3], "A": [[1, 1, 1]], "b": [1], "lb": [0, 0, 0], "smoothing": 0.1, "time_limit": 1, "polish": true, "presolve": false}"#,
    r#"{"P": [[1]], "q": [-1], "backward": "first_order", "eps_abs": 1e-6, "eps_rel": 1e-6, "dobjective": 1}"#,
];

const CBF: [&str; 3] = [
    "VER\n3\n\nOBJSENSE\nMIN\n\nVAR\n2 1\nF 2\n\nCON\n2 1\nL+ 2\n\nOBJACOORD\n2\n0 1.0\n1 2.0\n\nACOORD\n2\n0 0 1.0\n1 1 1.0\n
BCOORD\n2\n0 -1.0\n1 -3.0\n",
    "VER\n3\n# cones\nPOWCONES\n1 2\n2\n3.0\n1.0\n\nOBJSENSE\nMAX\n\nPSDVAR\n1\n1\n\nVAR\n5 3\nL+ 1\nF 1\n@0:POW 3\n
CON\n9 4\nL= 2\nQR 3\nEXP 3\nL- 1\n\nPSDCON\n1\n1\n\nOBJFCOORD\n1\n0 0 0 1.5\n\nOBJACOORD\n1\n0 2.0\n\nOBJBCOORD\n7.0\n
FCOORD\n1\n0 0 0 0 1.0\n\nACOORD\n3\n1 1 1.0\n2 0 2.0\n3 1 4.0\n\nBCOORD\n1\n5 3.0\n\nHCOORD\n1\n0 1 0 0 2.0\n\nDCOORD\n1\n0 0 0 5.0\n",
    "VER\n2\nOBJSENSE\nMAX\nVAR\n2 1\nF 2\nCON\n3 1\nQ 3\nOBJACOORD\n2\n0 1.0\n1 1.0\nACOORD\n2\n1 0 1.0\n2 1 1.0\nBCOORD\n1\n0 1.0\n",
];

const QPS: [&str; 2] = [
    "NAME small one\nOBJSENSE\n    MAX\nROWS\n N cost\n E e1\n L l1\n G g1\n E e2\nCOLUMNS\n x cost 1.0 e1 1\n x l1 2 g1 3\n
 y cost -2.5 e1 1\n z e2 1\nRHS\n RHS cost -4 e1 1\n RHS l1 5 g1 1\nRANGES\n R l1 2 g1 1\n R e2 -3\n
BOUNDS\n UP B x -1\n FR B y\n LO B z 1\nQUADOBJ\n x x -2\n x y 1\n y y -4\nENDATA\n",
    "NAME          QP\nROWS\n N  obj\n L  row one\nCOLUMNS\n    col a     obj       1.0            row one   1.0\n
    col b     row one   2.0\nRHS\n    rhs       row one   4.0\nBOUNDS\n UP bnd       col a     3.0\nENDATA\n",
];

const CSV: [&str; 2] = [
    "date,A,B\n2020-01-02,1.5,2.5\n2020-01-03,1.6,2.4\n2020-01-06,1.7,2.6\n",
    "date,ticker,open,high,low,close,volume\n2020-01-02,A,1,2,0.5,1.5,100\n2020-01-02,B,1,2,0.5,1.5,100\n
2020-01-03,A,1,2,0.5,1.6,100\n2020-01-03,B,1,2,0.5,1.4,100\n",
];

const MODEL: &str = r#"{"format": "bpqp portfolio model", "version": 3, "learn": "risk", "source": "a file", "trained": ["2020-01-02", "2021-01-04"],
    "tickers": ["A", "B"], "features": ["one", "two"], "rule": {"cap": 0.5, "groups": [{"name": "both", "stocks": [0, 1], "cap": 0.9}],
    "risk_aversion": 3}, "friction": {"kappa": 0.1, "c": 0}, "realized": 1.2, "layers": [{"weight": [0.5, -1, 2, 0.1], "bias": [0, 0.5]},
    {"weight": [1, 2, 3, 4], "bias": [0, 0]}, {"weight": [1, -1], "bias": [0]}]}"#;

/// Two weeks and a day of hourly loads and temperatures.
fn loads() -> String {
    let names = |kind: &str| (0..24).map(|h| format!(",{kind}_{h:02}")).collect::<String>();
    let mut out = format!("date{}{}\n", names("load"), names("temperature"));
    for day in 1..=15 {
        let values = (0..48).map(|h| format!(",{}", 20 + (day * h) % 17)).collect::<String>();
        out += &format!("2015-01-{day:02}{values}\n");
    }
    out
}

fn packed(text: &str) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    out.write_all(text.as_bytes()).expect("to memory");
    out.finish().expect("to memory")
}

/// A zip archive with the arrays `tickers`, `dates` and `close`, stored.
fn npz() -> Vec<u8> {
    let npy = |kind: &str, shape: &str, body: &[u8]| {
        let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}\n");
        let mut out = b"\x93NUMPY\x01\x00".to_vec();
        out.extend((header.len() as u16).to_le_bytes());
        out.extend(header.bytes());
        out.extend(body);
        out
    };
    let text = |s: &str| s.chars().flat_map(|c| (c as u32).to_le_bytes()).collect::<Vec<u8>>();
    let close: Vec<u8> = [1.5_f32, 1.6].iter().flat_map(|v| v.to_le_bytes()).collect();
    let arrays = [
        ("tickers.npy", npy("<U1", "1,", &text("A"))),
        ("dates.npy", npy("<U10", "2,", &text("2020-01-022020-01-03"))),
        ("close.npy", npy("<f4", "1, 2", &close)),
    ];
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, body) in &arrays {
        let (at, size) = (out.len() as u32, (body.len() as u32).to_le_bytes());
        out.extend(b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0\0\0\0\0");
        out.extend([size, size].concat());
        out.extend([name.len() as u8, 0, 0, 0]);
        out.extend(name.bytes());
        out.extend(body);
        directory.extend(b"PK\x01\x02\x14\0\x14\0\0\0\0\0\0\0\0\0\0\0\0\0");
        directory.extend([size, size].concat());
        directory.extend([name.len() as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        directory.extend(at.to_le_bytes());
        directory.extend(name.bytes());
    }
    let (start, size) = ((out.len() as u32).to_le_bytes(), (directory.len() as u32).to_le_bytes());
    out.extend(directory);
    out.extend(b"PK\x05\x06\0\0\0\0\x03\0\x03\0");
    out.extend([size, start].concat());
    out.extend([0, 0]);
    out
}

/// A reader, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    Json,
    Cbf,
    Qps,
    Gz,
    Csv,
    CsvGz,
    Npz,
    Model,
    Loads,
    LoadsGz,
}

/// The megabytes that packed files may unpack to here.
const UNPACKED: u64 = 1;

impl Reader {
    pub const ALL: [Reader; 10] = [
        Reader::Json,
        Reader::Cbf,
        Reader::Qps,
        Reader::Gz,
        Reader::Csv,
        Reader::CsvGz,
        Reader::Npz,
        Reader::Model,
        Reader::Loads,
        Reader::LoadsGz,
    ];

    /// Good files.
    pub fn corpus(self) -> Vec<Vec<u8>> {
        let texts = |texts: &[&str]| texts.iter().map(|t| t.as_bytes().to_vec()).collect();
        match self {
            Reader::Json => texts(&JSON),
            Reader::Cbf => texts(&CBF),
            Reader::Qps => texts(&QPS),
            Reader::Gz => CBF.iter().map(|t| packed(t)).chain([[packed("VER\n"), packed("3\n")].concat()]).collect(),
            Reader::Csv => texts(&CSV),
            Reader::CsvGz => CSV.iter().map(|t| packed(t)).collect(),
            Reader::Npz => vec![npz()],
            Reader::Model => texts(&[MODEL]),
            Reader::Loads => vec![loads().into_bytes()],
            Reader::LoadsGz => vec![packed(&loads())],
        }
    }

    /// Reads, and solves what is small; true if the file was good.
    pub fn read(self, bytes: &[u8]) -> bool {
        let limits = |s: &Settings| Settings { time_limit: Some(Duration::from_secs(1)), threads: 1, ..s.clone() };
        let text = String::from_utf8_lossy(bytes);
        match self {
            Reader::Json => problem_file::parse(&text).is_ok_and(|problem| {
                let qp = &problem.qp;
                if qp.n() + qp.n_equality() + qp.n_inequality() <= SMALL {
                    qp.solve(&limits(&problem.settings)).expect("a problem that was read can be given to the solver");
                }
                true
            }),
            Reader::Cbf => cbf::parse(&text).is_ok_and(|problem| {
                if problem.conic.n() + problem.conic.m() <= SMALL {
                    // a semidefinite cone may have no solver in this build
                    let _ = problem.conic.solve(&limits(&Settings::default()));
                }
                true
            }),
            Reader::Qps => qps::parse(&text).is_ok_and(|problem| {
                let qp = &problem.qp;
                if qp.n() + qp.n_equality() + qp.n_inequality() <= SMALL {
                    qp.solve(&limits(&Settings::default()))
                        .expect("a problem that was read can be given to the solver");
                }
                true
            }),
            Reader::Gz => unpack::text(bytes, UNPACKED).is_ok_and(|text| cbf::parse(&text).is_ok()),
            Reader::Csv => Prices::read(&file("prices.csv", bytes), None).is_ok(),
            Reader::CsvGz => Prices::read_with(&file("prices.csv.gz", bytes), None, false, false, UNPACKED).is_ok(),
            Reader::Npz => Prices::read_with(&file("prices.npz", bytes), None, false, false, UNPACKED).is_ok(),
            Reader::Model => Model::read(&file("model.json", bytes)).is_ok(),
            Reader::Loads => Days::read(&file("loads.csv", bytes)).is_ok_and(|days| days.before("2015-01-08").is_err()),
            Reader::LoadsGz => Days::read(&file("loads.csv.gz", bytes)).is_ok(),
        }
    }

    /// The most memory that reading so many bytes (and solving what is small) may hold at once: 1200 bytes for each of them (a
    /// byte of a text may be a number with its place, and a row of a solver), and 16 MB for the workspaces of small problems
    /// and what packed files unpack to; for CBF files 512 MB, as any of them may declare a million entries without naming them.
    pub fn memory(self, bytes: usize) -> usize {
        let any = if matches!(self, Reader::Cbf | Reader::Gz) { 512 << 20 } else { 16 << 20 };
        any + 1200 * bytes
    }

    /// A broken file.
    pub fn mutant(corpus: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
        mutant(corpus, rng)
    }
}

fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("bpqp-readers-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join(name);
    std::fs::write(&path, bytes).expect("written");
    path
}
