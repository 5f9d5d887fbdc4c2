#!/bin/sh
# Builds the package into an environment of its own (target/python) and runs its tests: one command, from nothing but
# Python and a Rust toolchain. Optional packages that cannot be installed are skipped; with CI set they are required.
#
#   python/test.sh [arguments of pytest]
set -eu
cd "$(dirname "$0")/.."
env="$PWD/target/python"
python="$env/bin/python"
[ -x "$python" ] || "${PYTHON:-python3}" -m venv "$env"
install() { "$python" -m pip install --quiet --disable-pip-version-check "$@"; }
optional() {
    install "$@" && return
    [ -z "${CI:-}" ] || exit 1
    echo "not installed, and its tests skipped: $*" >&2
}
if [ ! -f "$env/ready" ]; then
    install numpy scipy pytest maturin ruff matplotlib
    # the CPU build of torch where the platform has one of its own; TORCH names another requirement or wheel
    optional "${TORCH:-torch}"
    optional "jax[cpu]"
    # its own requirements would bring an older NumPy; it runs with the newest
    optional cvxpy
    optional --no-deps qpth
    optional qpsolvers clarabel osqp proxsuite piqp daqp quadprog highspy
    touch "$env/ready"
fi
VIRTUAL_ENV="$env" "$env/bin/maturin" develop --release --quiet
"$env/bin/ruff" check python
"$env/bin/ruff" format --check python
exec "$python" -m pytest python/tests "$@"
