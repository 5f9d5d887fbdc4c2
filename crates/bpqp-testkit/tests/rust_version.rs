//! The Rust version that a crate states is no older than that of any crate it needs. (Its own code is held to it by Clippy's
//! `incompatible_msrv`, and compiled with that version in the workflow of the repository.)

use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::process::Command;

/// `1.88` and `1.88.0` as numbers; 0 where nothing is stated.
fn version(package: &Value) -> (u32, u32) {
    let mut parts = package["rust_version"].as_str().unwrap_or("0").split('.').map(|p| p.parse().unwrap());
    (parts.next().unwrap(), parts.next().unwrap_or(0))
}

#[test]
fn no_dependency_needs_a_newer_compiler_than_is_stated() {
    // WASI's own bindings, which something brings there alone, ask for more
    ["x86_64-unknown-linux-gnu", "aarch64-apple-darwin", "x86_64-pc-windows-msvc"].into_iter().for_each(examine);
}

fn examine(platform: &str) {
    let arguments = ["metadata", "--locked", "--offline", "--format-version", "1", "--filter-platform", platform];
    let told = Command::new(env!("CARGO")).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    let list = |value: &Value| value.as_array().unwrap().clone();
    let id = |value: &Value| value["id"].as_str().unwrap().to_owned();
    let packages: HashMap<String, Value> = list(&told["packages"]).into_iter().map(|p| (id(&p), p)).collect();
    let nodes: HashMap<String, Value> = list(&told["resolve"]["nodes"]).into_iter().map(|n| (id(&n), n)).collect();
    let (mut crates, mut wrong) = (0, Vec::new());
    for member in list(&told["workspace_members"]) {
        let own = &packages[member.as_str().unwrap()];
        // what is never published may need what it likes
        if own["publish"].as_array().is_some_and(Vec::is_empty) {
            continue;
        }
        crates += 1;
        let (mut seen, mut left) = (HashSet::new(), vec![member.as_str().unwrap().to_owned()]);
        while let Some(at) = left.pop() {
            if !seen.insert(at.clone()) {
                continue;
            }
            let optional: HashSet<String> = match packages[&at]["source"].is_null() {
                // features of this workspace that are not on by default state their own version
                true => list(&packages[&at]["dependencies"])
                    .iter()
                    .filter(|d| d["optional"] == true)
                    .map(|d| d["name"].as_str().unwrap().replace('-', "_"))
                    .collect(),
                false => HashSet::new(),
            };
            for dependency in list(&nodes[&at]["deps"]) {
                let needed = list(&dependency["dep_kinds"]).iter().any(|k| k["kind"] != "dev");
                if needed && !optional.contains(dependency["name"].as_str().unwrap()) {
                    left.push(dependency["pkg"].as_str().unwrap().to_owned());
                }
            }
        }
        let newer = seen.iter().map(|at| &packages[at]).filter(|p| version(p) > version(own));
        wrong.extend(newer.map(|p| format!("{} needs {} of Rust {}", own["name"], p["name"], p["rust_version"])));
    }
    assert!(crates >= 6, "{crates} crates are published");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
