#!/bin/sh
# Makes an environment with bpqp and every peer in target/bench/env, then runs bench/run.py in it; see its --help.
set -eu
cd "$(dirname "$0")/.."
env=target/bench/env
if ! cmp -s bench/requirements.txt "$env/requirements.txt"; then
    rm -rf "$env"
    "${PYTHON:-python3}" -m venv "$env"
    "$env/bin/pip" install --quiet --disable-pip-version-check "maturin>=1.9,<2" -r bench/requirements.txt
    "$env/bin/pip" install --quiet --disable-pip-version-check --no-deps qpth==0.0.18
    cp bench/requirements.txt "$env/requirements.txt"
fi
# the working tree as it is
VIRTUAL_ENV="$PWD/$env" "$env/bin/maturin" develop --release --quiet
exec "$env/bin/python" bench/run.py "$@"
