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
    # pytest-xdist: the tests take half as long on two cores
    install numpy scipy pytest pytest-xdist maturin ruff mypy matplotlib
    # the CPU build of torch where the platform has one of its own; TORCH names another requirement or wheel
    optional "${TORCH:-torch}" safetensors
    optional "jax[cpu]" flatbuffers
    # its own requirements would bring an older NumPy; it runs with the newest
    optional cvxpy cvxpylayers jaxopt
    optional --no-deps qpth
    # one example spreads a batch over its workers
    optional ray
    optional qpsolvers clarabel osqp proxsuite piqp daqp quadprog highspy
    touch "$env/ready"
fi
VIRTUAL_ENV="$env" "$env/bin/maturin" develop --release --quiet
"$env/bin/ruff" check python docs bench
"$env/bin/ruff" format --check python docs bench
"$env/bin/stubtest" bpqp._bpqp
# what a user's type checker sees, with the types of torch and jax
if "$python" -c "import jax, torch"; then "$env/bin/mypy"; fi
"$python" -m pytest -n auto python/tests "$@"

# The wheel that users install, next to NumPy 1 (which Python 3.13 does not have); with CI set it is built from the source
# distribution alone.
"$python" -c 'import sys; sys.exit(sys.version_info >= (3, 13))' || exit 0
old="$PWD/target/python-numpy1"
[ -x "$old/bin/python" ] || "$python" -m venv "$old"
"$old/bin/python" -m pip install --quiet --disable-pip-version-check "numpy<2" scipy pytest
rm -rf target/wheels target/sdist
source="$PWD"
if [ -n "${CI:-}" ]; then
    "$env/bin/maturin" sdist --out target/sdist
    tar -xzf target/sdist/*.tar.gz -C target/sdist --strip-components 1
    source="$PWD/target/sdist"
fi
# the program in the wheel, where the tests of the workspace have built it
rm -rf "$source/python/wheel/scripts"
if [ -x target/release/bpqp ] || [ -n "${CI:-}" ]; then
    mkdir -p "$source/python/wheel/scripts"
    cp target/release/bpqp "$source/python/wheel/scripts/"
fi
(cd "$source" && CARGO_TARGET_DIR="$OLDPWD/target" "$env/bin/maturin" build --release --quiet --out "$OLDPWD/target/wheels")
"$old/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall target/wheels/*.whl
echo "with NumPy 1:"
# what needs more packages runs above
CI= "$old/bin/python" -m pytest python/tests/test_numpy.py python/tests/test_package.py
# as a user has it: no source, no Rust, another folder
cd target/wheels
env PATH="$old/bin:/usr/bin:/bin" python -m bpqp check
if [ -x "$old/bin/bpqp" ] || [ -n "${CI:-}" ]; then
    env PATH=/usr/bin:/bin "$old/bin/python" -m bpqp solve - <<'PROBLEM'
{"P": [[1, 0], [0, 1]], "q": [-0.5, -2], "lb": [0, 0], "ub": [1, 1]}
PROBLEM
    "$old/bin/bpqp" check
    "$old/bin/bpqp" portfolio --quick
fi
