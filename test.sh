#!/bin/sh
# All tests: the Rust workspace, then the Python package in an environment of its own under target/.
set -eu
cd "$(dirname "$0")"
cargo test --release --workspace
python/test.sh
