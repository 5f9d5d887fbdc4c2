"""A law: the same problem has the same answer through every entrance.

The same status and verdict; x and all gradients to rounding, relative to the largest entry of each block and times the
condition of the backward system; where derivatives are not unique, the solution and the gradients of P and q; where the
solution is not unique, P x (and with it the optimal value) and the gradient of q.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import bpqp
import numpy as np
import pytest
from conftest import one
from house import ENTRANCES, NAMES, OUTPUTS, Answer, Case, stack, there

TOLERANCE = 1e-12
# a condition up to which rounding stays below the tolerance
CONDITION = 1e3
BATCH = 3


def _case(data: dict[str, Any], *names: str) -> Case:
    return Case({k: np.asarray(data[k], dtype=float) for k in NAMES if k in data and k not in names})


def regular(seed: int) -> Case:
    """Rows and bounds that bind."""
    return _case(one(np.random.default_rng(seed)))


def bounded(seed: int) -> Case:
    """Bounds alone, some infinite."""
    data = one(np.random.default_rng(seed))
    data["lb"][:2], data["ub"][2:4] = -np.inf, np.inf
    return _case(data, "G", "h", "A", "b")


def rows_only(seed: int) -> Case:
    return _case(one(np.random.default_rng(seed)), "lb", "ub")


def vertex(seed: int) -> Case:
    """A linear program whose solution is a vertex."""
    rng = np.random.default_rng(seed)
    n = 5
    x, G = rng.normal(size=n), rng.normal(size=(7, n))
    h = G @ x + np.r_[np.zeros(3), rng.uniform(0.5, 1, 4)]
    A = rng.normal(size=(1, n))
    lb = x - np.r_[0.0, rng.uniform(0.5, 1, n - 1)]
    box = np.r_[rng.uniform(0.5, 1), np.zeros(n - 1)]
    q = -G[:3].T @ rng.uniform(0.5, 1, 3) - A.T @ rng.normal(size=1) + box
    return _case({"q": q, "G": G, "h": h, "A": A, "b": A @ x, "lb": lb, "ub": x + 3})


def flat(seed: int) -> Case:
    """A face of solutions: only three combinations of five variables are determined."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(3, 4))
    root = np.column_stack([root, root[:, -1]])
    q = root.T @ rng.normal(size=3)
    box = {"lb": np.full(5, -20.0), "ub": np.full(5, 20.0)}
    return _case({"P": root.T @ root, "q": q, "G": rng.normal(size=(2, 5)), "h": np.full(2, 50.0), **box})


def kink(seed: int) -> Case:
    """A row and a bound that hold with a multiplier of 0, one row that presses."""
    rng = np.random.default_rng(seed)
    n = 4
    root, x = rng.normal(size=(n, n)), rng.normal(size=n)
    P, G = root @ root.T + np.eye(n), rng.normal(size=(3, n))
    h = G @ x + np.array([0.0, 0.0, 1.0])
    lb = x - np.array([0.0, 1.0, 1.0, 1.0])
    return _case({"P": P, "q": -P @ x - 0.7 * G[0], "G": G, "h": h, "lb": lb, "ub": x + 2})


def dependent(seed: int) -> Case:
    """The first row of G again, twice as long, and an equality that is the sum of others."""
    rng = np.random.default_rng(seed)
    n = 5
    root, x = rng.normal(size=(n, n)), rng.normal(size=n)
    P, G, A = root @ root.T + np.eye(n), rng.normal(size=(3, n)), rng.normal(size=(2, n))
    G[1], A = 2 * G[0], np.vstack([A, A.sum(0)])
    q = -P @ x - 0.7 * G[0] - A.T @ rng.normal(size=3)
    return _case({"P": P, "q": q, "G": G, "h": G @ x + np.array([0.0, 0.0, 1.0]), "A": A, "b": A @ x})


def infeasible(seed: int) -> Case:
    data = one(np.random.default_rng(seed))
    data["G"][1] = -data["G"][0]
    data["h"][:2] = -1.0
    return _case(data)


def unbounded(seed: int) -> Case:
    rng = np.random.default_rng(seed)
    n = 4
    G = -np.abs(rng.normal(size=(3, n)))
    return _case({"q": -rng.uniform(0.5, 1, n), "G": G, "h": np.ones(3), "lb": np.full(n, -1.0)})


def _scaled(family: Callable[[int], Case], low: float, high: float) -> Callable[[int], Case]:
    """Rows in other units: the first half of G times `low`, the last row of A times `high`."""

    def scaled(seed: int) -> Case:
        case = family(seed)
        data = dict(case.data)
        for matrix, vector, factor in (("G", "h", low), ("A", "b", high)):
            if matrix in data:
                scale = factors(data[vector].shape[-1], factor)
                data[matrix], data[vector] = scale[:, None] * data[matrix], scale * data[vector]
        return case._replace(data=data)

    return scaled


def factors(rows: int, factor: float) -> Any:
    return np.where(np.arange(rows) < (rows + 1) // 2, factor, 1.0)


def _with(family: Callable[[int], Case], *kinds: str) -> Callable[[int], Case]:
    """Cones beside it that are not active: |x| <= 1000 + 2 sum(x), exp(-0.1 x_0) <= 1000."""

    def more(seed: int) -> Case:
        case, cones = family(seed), []
        n = case.n
        if "soc" in kinds:
            # it opens along the direction in which the unbounded ones go
            cones.append((("soc", n + 1), np.vstack([np.full(n, -2.0), -np.eye(n)]), np.r_[1000.0, np.zeros(n)]))
        if "exp" in kinds:
            rows = np.zeros((3, n))
            rows[0, 0] = 0.1
            cones.append((("exp",), rows, np.array([0.0, 1.0, 1000.0])))
        return case._replace(cones=tuple(cones))

    return more


BASE: dict[str, Callable[[int], Case]] = {
    f.__name__: f for f in (regular, bounded, rows_only, vertex, flat, kink, dependent, infeasible, unbounded)
}
# families without a single answer to all questions, and without an answer
SEVERAL = ("flat", "kink", "dependent")
FACES = ("flat",)
NONE = {"infeasible": "primal_infeasible", "unbounded": "dual_infeasible"}
SCALES = {"": (1.0, 1.0), " in small units": (1e-10, 1e-10), " in large units": (1e10, 1e10), " mixed": (1e-10, 1e10)}
CONES: dict[str, tuple[str, ...]] = {"": (), " beside soc": ("soc",), " beside exp": ("exp",)}


def cotangents(case: Case, seed: int, *, multipliers: bool) -> dict[str, Any]:
    rng = np.random.default_rng(1000 + seed)
    lead = () if case.batch is None else (case.batch,)
    sizes = {"x": case.n, "y": "b", "z": "h", "z_box": case.n}
    out = {}
    for name in OUTPUTS if multipliers else ("x",):
        size = sizes[name]
        width = size if isinstance(size, int) else case.data[size].shape[-1] if size in case.data else 0
        out[name] = rng.normal(size=(*lead, width))
    return out


def unscaled(answer: Answer, dx: dict[str, Any], case: Case, low: float, high: float) -> Answer:
    """In the units of the rows before they were scaled."""
    out, grads = dict(answer.outputs), dict(answer.gradients)
    for matrix, vector, output, factor in (("G", "h", "z", low), ("A", "b", "y", high)):
        if matrix in grads:
            scale = factors(grads[vector].shape[-1], factor)
            out[output] = scale * out[output]
            grads[matrix], grads[vector] = scale[:, None] * grads[matrix], scale * grads[vector]
    return answer._replace(outputs=out, gradients=grads)


def far(found: Any, wanted: Any, unit: float) -> float:
    """The largest difference of a block, relative to its largest entry."""
    known = ~np.isnan(found)
    if not known.any():
        return 0.0
    size = max(np.abs(wanted).max(initial=0.0), unit)
    return float(np.abs(found - wanted)[known].max() / size) if size else 0.0


def at_solution(case: Case, answer: Answer) -> dict[str, Any]:
    """What is the same at all optimal points."""
    x = answer.outputs["x"]
    P = np.broadcast_to(case.data["P"], (len(x), case.n, case.n))
    return {"P x": np.einsum("bij,bj->bi", P, x)}


def compare(
    name: str, found: Answer, wanted: Answer, conditions: Any, several: bool, multipliers: bool, case: Case | None
) -> list[str]:
    """What is different, in words; `case` where the solution is not unique."""
    faults = []
    if found.status != wanted.status:
        return [f"{name}: status {found.status}, not {wanted.status}"]
    if found.verdict != wanted.verdict:
        faults.append(f"{name}: verdict {found.verdict}, not {wanted.verdict}")
    for k, (status, condition) in enumerate(zip(wanted.status, conditions, strict=True)):
        if status != "solved":
            continue
        allowed = TOLERANCE * max(1.0, condition / CONDITION if np.isfinite(condition) else 1.0)
        if case is None:
            blocks = [(o, v, wanted.outputs[o]) for o, v in found.outputs.items() if multipliers or o == "x"]
        else:
            blocks = [(o, v, at_solution(case, wanted)[o]) for o, v in at_solution(case, found).items()]
        kept = ("q",) if case is not None else ("P", "q") if several else NAMES
        blocks += [(f"d{b}", v, wanted.gradients[b]) for b, v in found.gradients.items() if b in kept]
        largest = max(np.abs(wanted.gradients[b][k]).max(initial=0.0) for b in wanted.gradients)
        for label, value, right in blocks:
            unit = 1e-3 * largest if label[0] == "d" else 1e-3
            error = far(value[k], right[k], unit)
            if not error <= allowed:
                faults.append(f"{name}[{k}]: {label} is {error:.1e} away, allowed {allowed:.1e}")
    return faults


@pytest.fixture(autouse=True)
def doubles() -> Any:
    if not there(ENTRANCES["jax qp"]):
        yield
        return
    import jax

    with jax.enable_x64(True):
        yield


def faults_of(family: str, unit: str, cone: str, batch: bool, seed: int = 0) -> list[str]:
    low, high = SCALES[unit]
    make, kinds = BASE[family], CONES[cone]

    def built(f: Callable[[int], Case]) -> Case:
        return stack([f(seed + k) for k in range(BATCH)]) if batch else f(seed)

    several, multipliers = family in SEVERAL, family not in SEVERAL and family not in NONE
    plain = built(make)
    dx = cotangents(plain, seed, multipliers=multipliers)
    wanted = ENTRANCES["qp"].answer(plain, dx)
    if family in NONE:
        assert set(wanted.status) == {NONE[family]}
    else:
        assert set(wanted.status) == {"solved"}, wanted.status
    sol = bpqp.solve_qp(**{name: plain.get(name) for name in NAMES}, on_failure="nan")
    conditions = np.atleast_1d(sol.diagnostics().condition)
    case = built(_with(_scaled(make, low, high), *kinds))
    # multipliers of scaled rows are in other units, and so are their cotangents
    own = dict(dx)
    for name, vector, factor in (("z", "h", low), ("y", "b", high)):
        if name in own and vector in case.data:
            own[name] = own[name] * factors(case.data[vector].shape[-1], factor)
    faults: list[str] = []
    for name, entrance in ENTRANCES.items():
        if not there(entrance):
            assert not os.environ.get("CI"), f"{entrance.needs} are not installed, and CI runs every test"
            continue
        if (kinds and not entrance.cones) or (batch and not entrance.batches):
            continue
        if family in NONE:
            answer = entrance.answer(case, own)
            if answer.status != wanted.status:
                faults.append(f"{name}: status {answer.status}, not {wanted.status}")
            continue
        answer = unscaled(entrance.answer(case, own), dx, case, low, high)
        faults += compare(name, answer, wanted, conditions, several, multipliers, plain if family in FACES else None)
    return faults


@pytest.mark.parametrize("batch", [False, True], ids=["single", "batch"])
@pytest.mark.parametrize("cone", CONES)
@pytest.mark.parametrize("unit", SCALES)
@pytest.mark.parametrize("family", BASE)
def test_every_entrance_says_the_same(family: str, unit: str, cone: str, batch: bool) -> None:
    assert not faults_of(family, unit, cone, batch)
