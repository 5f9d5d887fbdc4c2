#!/bin/sh
# The tests with the oldest versions that pyproject.toml admits, on the oldest Python:
#
#   python/test_lowest.sh [arguments of pytest]     PYTHON names the interpreter (default: python3.10)
set -eu
cd "$(dirname "$0")/.."
env="$PWD/target/python-lowest"
python="$env/bin/python"
[ -x "$python" ] || "${PYTHON:-python3.10}" -m venv "$env"
"$python" -m pip install --quiet --disable-pip-version-check "pip>=24" maturin pytest
lowest=$("$python" - <<'LOWEST'
from pip._vendor import tomli

with open("pyproject.toml", "rb") as file:
    project = tomli.load(file)["project"]
wanted = project["dependencies"] + [r for extra in project["optional-dependencies"].values() for r in extra]
print(*(r.replace(">=", "==") for r in wanted))
LOWEST
)
echo "$("$python" --version), $lowest"
# shellcheck disable=SC2086
"$python" -m pip install --quiet --disable-pip-version-check $lowest quadprog
rm -rf target/wheels
CARGO_TARGET_DIR="$PWD/target" "$env/bin/maturin" build --release --quiet --out target/wheels
"$python" -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall target/wheels/*.whl
exec "$python" -m pytest python/tests --ignore python/tests/test_examples.py "$@"
