#!/bin/sh
# All tests: the Rust workspace, then the Python package in an environment of its own under target/.
set -eu
cd "$(dirname "$0")"
# bpqp-py has no tests of its own here, and its dependencies would turn on features that build burn a second time
cargo test --release --workspace --exclude bpqp-py
python/test.sh
