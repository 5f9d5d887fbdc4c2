//! Data flows one way: no module of the library uses one that comes after it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// From what everything rests on to what users hold. `active` comes before `forward` because a solver may be an iteration
/// on active sets.
const ORDER: [&str; 32] = [
    "status",
    "error",
    "interrupt",
    "threads",
    "settings",
    "thresholds",
    "matrix",
    "kkt",
    "cones",
    "problem",
    "serial",
    "residuals",
    "certificate",
    "active",
    "forward",
    "small",
    "gradient",
    "closest",
    "backward",
    "solution",
    "derivatives",
    "layer",
    "one_sided",
    "smooth",
    "large",
    "batch",
    "adapter",
    "given",
    "conic",
    "cbf",
    "qps",
    "check",
];

fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the sources are here") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") && path.file_stem().is_some_and(|s| s != "tests") {
            out.push(path);
        }
    }
}

/// The code of a file, without comments and what only tests see.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("readable");
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    text[..end].lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The first names of the paths in `{..}`, or of the one path, that `text` begins with.
fn names(text: &str) -> Vec<String> {
    let word = |s: &str| s.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(list) = text.strip_prefix('{') else { return vec![word(text)] };
    let (mut depth, mut out) = (0, vec![String::new()]);
    for c in list.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => out.push(String::new()),
            _ if depth == 0 => out.last_mut().expect("not empty").push(c),
            _ => {}
        }
    }
    out.iter().map(|path| word(path.trim())).filter(|name| !name.is_empty()).collect()
}

/// The module of every name that the root exports.
fn exports(root: &str) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    for (at, _) in root.match_indices("pub use ") {
        let path = &root[at + "pub use ".len()..];
        if let Some((module, list)) = path.split_once("::") {
            names(list).into_iter().for_each(|name| drop(out.insert(name, module.to_owned())));
        }
    }
    out
}

#[test]
fn no_stage_uses_a_later_one() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let root = code(&source.join("lib.rs"));
    let exports = exports(&root);
    let mut declared: Vec<&str> = root
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'))
        .collect();
    let mut known = ORDER.to_vec();
    declared.sort_unstable();
    known.sort_unstable();
    assert_eq!(declared, known, "a module has no place in the order");
    let place = |module: &str| ORDER.iter().position(|m| *m == module);
    let mut files = Vec::new();
    sources(&source, &mut files);
    let (mut uses, mut wrong) = (0, Vec::new());
    for path in files.iter().filter(|path| !path.ends_with("lib.rs")) {
        let relative = path.strip_prefix(&source).expect("inside").display().to_string();
        let own = relative.split('/').next().expect("a name").trim_end_matches(".rs");
        let own = place(own).unwrap_or_else(|| panic!("{relative} belongs to no module"));
        let code = code(path);
        for (at, found) in code.match_indices("crate::") {
            for name in names(&code[at + found.len()..]) {
                let module = if place(&name).is_some() { &name } else { exports.get(&name).unwrap_or(&name) };
                let Some(used) = place(module) else { panic!("{relative}: crate::{name} is of no module") };
                uses += 1;
                if used > own {
                    wrong.push(format!("{relative} uses {name} of {module}"));
                }
            }
        }
    }
    assert!(uses > 300, "{uses} uses were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
