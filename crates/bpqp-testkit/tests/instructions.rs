//! Instructions of whole passes beside recorded ones: what the clock of a busy machine cannot show.
//!
//! This binary runs itself under `valgrind --tool=callgrind` and counts what happens inside of [`measured`]. Numbers repeat to a
//! few in a million for one compiler; another one, or another version of a dependency, moves them, so they are compared within
//! 2 %. valgrind shows AVX2 and FMA to the program, never AVX-512, so the numbers do not depend on that either; on a processor
//! without AVX2, and on another architecture, there is nothing to compare with. Record anew, and say in the commit why:
//!
//!     UPDATE=1 cargo test --release -p bpqp-testkit --test instructions
//!
//! Where they go: `CASE="half 50 10" valgrind --tool=callgrind --toggle-collect='*instructions::measured*' BINARY measure`, with
//! `--config profile.release.debug=1` at the build and `callgrind_annotate --inclusive=yes` after it.

use bpqp::{Cone, Conic, ConicCotangent, ConicLayer, ConicWrt, Cotangent, Csc, Layer, Qp, Settings, Wrt};
use bpqp_problems::{Rng, conic, paper};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How far a count may be from the recorded one.
const TOLERANCE: f64 = 0.02;
/// Rounds that are counted, over problems with numbers of their own.
const ROUNDS: usize = 4;

/// `family size [size] pass`: `solve` and `vjp` are one pass each, `q` asks for the gradient of q alone, `cold` makes the layer too.
const CASES: [&str; 16] = [
    "qp 10 5 solve",
    "qp 10 5 vjp",
    "half 10 5 cold",
    "half 50 10 solve",
    "half 50 10 vjp",
    "half 50 10 q",
    "half 100 20 cold",
    "lp 50 10 solve",
    "batch 50 0 solve",
    "portfolio 100 0 solve",
    "portfolio 100 0 vjp",
    "mpc 20 0 solve",
    "mpc 20 0 vjp",
    "projection 500 0 solve",
    "socp 50 0 solve",
    "sdp 8 0 solve",
];
