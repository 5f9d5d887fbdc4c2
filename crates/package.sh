#!/bin/sh
# Packs the crates that are published and builds a crate that depends on the packed files, as a user of the registry would.
#
#   crates/package.sh          the core, its problems and its grids
#   crates/package.sh all      the layers for burn and candle and the program too (burn takes minutes)
set -eu
cd "$(dirname "$0")/.."
names="bpqp bpqp-problems bpqp-grid"
[ "${1:-}" != all ] || names="$names bpqp-burn bpqp-candle bpqp-cli"
# shellcheck disable=SC2046
cargo package --locked --no-verify $(for name in $names; do echo "-p $name"; done)
target="${CARGO_TARGET_DIR:-$PWD/target}"
user="$target/package-user"
rm -rf "$user"
mkdir -p "$user/src"
version=$(cargo pkgid -p bpqp)
version=${version##*[#@]}
for name in $names; do tar -xzf "$target/package/$name-$version.crate" -C "$user"; done
{
    printf '[package]\nname = "package-user"\nversion = "0.0.0"\nedition = "2024"\n\n[workspace]\n\n[dependencies]\n'
    for name in $names; do echo "$name = \"$version\""; done
    printf '\n[patch.crates-io]\n'
    for name in $names; do echo "$name = { path = \"$name-$version\" }"; done
    # as in the workspace, so that what it has built serves here too
    printf '\n[profile.release]\ndebug = false\n\n[profile.release.package.bpqp]\ncodegen-units = 1\n'
} >"$user/Cargo.toml"
cp Cargo.lock "$user/Cargo.lock"
cat >"$user/src/main.rs" <<'MAIN'
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let qp = bpqp::Qp::new(bpqp::Hessian::Diagonal(vec![1.0; 2]), vec![-0.5, -2.0])?.bounds(vec![0.0; 2], vec![1.0; 2])?;
    let solution = qp.solve(&bpqp::Settings::default())?;
    let gradient = solution.vjp(&bpqp::Cotangent::x(&[1.0, 1.0]), bpqp::Wrt::Q)?;
    assert_eq!((solution.x, gradient.q), (vec![0.5, 1.0], Some(vec![-1.0, 0.0])));
    let report = bpqp_problems::check_solver(std::sync::Arc::new(bpqp::forward::Admm));
    assert!(report.ok(), "{report}");
    println!("the packed crates work");
    Ok(())
}
MAIN
CARGO_TARGET_DIR="$target" cargo run --release --quiet --manifest-path "$user/Cargo.toml"
