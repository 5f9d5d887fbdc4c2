"""One problem through every entrance: the same data as a quadratic program, as a cone program, through CVXPY; in NumPy,
torch and JAX; single and in a batch. Every entrance gives an `Answer` in the same terms.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any, NamedTuple

import bpqp
import numpy as np

NAMES = ("P", "q", "G", "h", "A", "b", "lb", "ub")
OUTPUTS = ("x", "y", "z", "z_box")
QUIET: dict[str, Any] = {"on_failure": "nan", "on_untrusted": "ignore"}


class Case(NamedTuple):
    """Data by name (absent blocks are absent), and cones that are not active: kind, rows of A and entries of b."""

    data: dict[str, Any]
    cones: tuple[tuple[tuple[Any, ...], Any, Any], ...] = ()

    @property
    def batch(self) -> int | None:
        return None if self.data["q"].ndim == 1 else len(self.data["q"])

    @property
    def n(self) -> int:
        return int(self.data["q"].shape[-1])

    def get(self, name: str) -> Any:
        return self.data.get(name)

    def element(self, k: int) -> Case:
        """One of the batch."""
        return Case({name: value[k] for name, value in self.data.items()}, self.cones)


class Answer(NamedTuple):
    """What an entrance says: lists with one entry for each element."""

    status: list[str]
    verdict: list[str]
    outputs: dict[str, Any]
    gradients: dict[str, Any]


def stack(cases: list[Case]) -> Case:
    """Cases of the same shapes as a batch."""
    return Case({name: np.stack([c.data[name] for c in cases]) for name in cases[0].data}, cases[0].cones)


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(v) for v in value]


def _each(case: Case, found: dict[str, Any]) -> dict[str, Any]:
    """Arrays with a batch dimension."""
    one = case.batch is None
    return {k: np.asarray(v)[None] if one else np.asarray(v) for k, v in found.items() if v is not None}


def _present(case: Case, cotangents: dict[str, Any]) -> dict[str, Any]:
    """The cotangents of outputs that this case has."""
    there = {"x": True, "y": "A" in case.data, "z": "G" in case.data, "z_box": "lb" in case.data or "ub" in case.data}
    return {k: v for k, v in cotangents.items() if there[k]}


# --- quadratic programs


def numpy_qp(case: Case, cotangents: dict[str, Any]) -> Answer:
    sol = bpqp.solve_qp(**{name: case.get(name) for name in NAMES}, **QUIET)
    grads = sol.vjp(**_present(case, cotangents))
    outputs = {name: getattr(sol, name) for name in OUTPUTS}
    gradients = {name: getattr(grads, name) for name in case.data}
    return Answer(_listed(sol.status), _listed(sol.verdict), _each(case, outputs), _each(case, gradients))


def numpy_sparse(case: Case, cotangents: dict[str, Any]) -> Answer:
    """Sparse matrices, whose gradients are on their pattern: elsewhere NaN, which is not compared."""
    from scipy import sparse

    given = {k: sparse.csc_array(v) if k in ("P", "G", "A") else v for k, v in case.data.items()}
    sol = bpqp.solve_qp(**{name: given.get(name) for name in NAMES}, **QUIET)
    grads = sol.vjp(**_present(case, cotangents))
    outputs = {name: getattr(sol, name) for name in OUTPUTS}
    gradients = {}
    for name in case.data:
        value = getattr(grads, name)
        if name in ("P", "G", "A"):
            value = np.where(case.data[name] != 0, value.toarray(), np.nan)
        gradients[name] = value
    return Answer(_listed(sol.status), _listed(sol.verdict), _each(case, outputs), _each(case, gradients))


def torch_qp(case: Case, cotangents: dict[str, Any]) -> Answer:
    import bpqp.torch as bt
    import torch

    data = {name: torch.from_numpy(v.copy()).requires_grad_() for name, v in case.data.items()}
    sol = bt.solve_qp(**{name: data.get(name) for name in NAMES}, full=True, **QUIET)
    return _torch_answer(case, sol, {k: getattr(sol, k) for k in OUTPUTS}, data, cotangents)


def _torch_answer(case: Case, sol: Any, outputs: dict[str, Any], data: Any, cotangents: dict[str, Any]) -> Answer:
    import torch

    loss = sum((torch.from_numpy(v) * outputs[k]).sum() for k, v in _present(case, cotangents).items())
    grads = torch.autograd.grad(loss, list(data.values()), allow_unused=True, materialize_grads=True)
    found = {k: v.detach().numpy() for k, v in outputs.items()}
    gradients = {name: g.numpy() for name, g in zip(data, grads, strict=True)}
    return Answer(_listed(sol.status), _listed(sol.verdict), _each(case, found), _each(case, gradients))


def jax_qp(case: Case, cotangents: dict[str, Any]) -> Answer:
    import bpqp.jax as bj

    def solve(data: Any) -> tuple[Any, Any]:
        sol = bj.solve_qp(**{name: data.get(name) for name in NAMES}, full=True, **QUIET)
        return {k: getattr(sol, k) for k in OUTPUTS}, (sol.status, sol.verdict)

    return _jax_answer(case, solve, case.data, cotangents)


def _jax_answer(case: Case, solve: Any, given: Any, cotangents: dict[str, Any]) -> Answer:
    import bpqp.jax as bj
    import jax
    import jax.numpy as jnp

    data = {k: jnp.asarray(v) for k, v in given.items()}
    outputs, back, (status, verdict) = jax.vjp(solve, data, has_aux=True)
    present = _present(case, cotangents)
    zeros = {k: jnp.zeros_like(v) for k, v in outputs.items()}
    (grads,) = back({k: jnp.asarray(present[k]) if k in present else zeros[k] for k in outputs})
    names = (_listed(bj.status_names(status)), _listed(bj.verdict_names(verdict)))
    return Answer(*names, _each(case, outputs), _each(case, grads))


# --- cone programs: rows of A, rows of G, cones that are not active


def _conic(case: Case) -> tuple[Any, Any, list[Any]]:
    rows, right, cones = [], [], []
    lead = () if case.batch is None else (case.batch,)
    for matrix, vector, kind in (("A", "b", "zero"), ("G", "h", "nonnegative")):
        if matrix in case.data:
            rows.append(case.data[matrix])
            right.append(case.data[vector])
            cones.append((kind, case.data[vector].shape[-1]))
    for cone, matrix, vector in case.cones:
        rows.append(np.broadcast_to(matrix, (*lead, *matrix.shape)))
        right.append(np.broadcast_to(vector, (*lead, *vector.shape)))
        cones.append(cone)
    if not rows:
        return np.zeros((0, case.n)), np.zeros(0), []
    return np.concatenate(rows, axis=-2), np.concatenate(right, axis=-1), cones


def _parts(case: Case, y: Any) -> dict[str, Any]:
    """The multipliers of a cone program in the terms of a quadratic one."""
    m, k = (case.data[v].shape[-1] if v in case.data else 0 for v in ("b", "h"))
    return {"y": y[..., :m], "z": y[..., m : m + k]}


def _joined(case: Case, cotangents: dict[str, Any], rows: int) -> dict[str, Any]:
    """Cotangents of the multipliers as those of a cone program."""
    own = _present(case, cotangents)
    lead = () if case.batch is None else (case.batch,)
    y = np.zeros((*lead, rows))
    at = 0
    for name, vector in (("y", "b"), ("z", "h")):
        if vector in case.data:
            size = case.data[vector].shape[-1]
            if name in own:
                y[..., at : at + size] = own[name]
            at += size
    return {k: v for k, v in own.items() if k in ("x", "z_box")} | {"y": y}


def _taken_apart(case: Case, grads: dict[str, Any]) -> dict[str, Any]:
    """Gradients of a cone program in the terms of a quadratic one."""
    out = {k: v for k, v in grads.items() if k in ("P", "q", "lb", "ub")}
    at = 0
    for matrix, vector in (("A", "b"), ("G", "h")):
        if matrix in case.data:
            size = case.data[vector].shape[-1]
            out[matrix], out[vector] = grads["A"][..., at : at + size, :], grads["b"][..., at : at + size]
            at += size
    return {k: out[k] for k in case.data}


def numpy_conic(case: Case, cotangents: dict[str, Any]) -> Answer:
    A, b, cones = _conic(case)
    more = {k: case.data[k] for k in ("lb", "ub") if k in case.data}
    sol = bpqp.solve_conic(case.get("P"), case.data["q"], A, b, cones, **more, **QUIET)
    grads = sol.vjp(**_joined(case, cotangents, len(b.T)))
    outputs = {"x": sol.x, "z_box": sol.z_box, **_parts(case, sol.y)}
    gradients = _taken_apart(case, {k: getattr(grads, k) for k in ("P", "q", "A", "b", "lb", "ub")})
    return Answer(_listed(sol.status), _listed(sol.verdict), _each(case, outputs), _each(case, gradients))


# --- CVXPY: bounds are constraints, as one writes them


class Written:
    """A case as a problem of CVXPY."""

    def __init__(self, case: Case) -> None:
        import cvxpy as cp

        one = case if case.batch is None else case.element(0)
        self.x = cp.Variable(case.n)
        self.where = {k: np.flatnonzero(np.isfinite(one.data[k])) for k in ("lb", "ub") if k in one.data}
        shapes = {k: (len(self.where[k]),) if k in self.where else v.shape for k, v in one.data.items()}
        p = {k: cp.Parameter(shape, PSD=True) if k == "P" else cp.Parameter(shape) for k, shape in shapes.items()}
        objective = p["q"] @ self.x
        if "P" in p:
            objective += 0.5 * cp.quad_form(self.x, p["P"])
        duals: dict[str, Any] = {}
        if "A" in p:
            duals["y"] = p["A"] @ self.x == p["b"]
        if "G" in p:
            duals["z"] = p["G"] @ self.x <= p["h"]
        if "lb" in p:
            duals["lb"] = self.x[self.where["lb"]] >= p["lb"]
        if "ub" in p:
            duals["ub"] = self.x[self.where["ub"]] <= p["ub"]
        idle = [self._idle(cp, cone, A, b) for cone, A, b in case.cones]
        self.problem = cp.Problem(cp.Minimize(objective), [*duals.values(), *idle])
        self.names = list(p)
        self.duals = list(duals)
        self.parameters = list(p.values())
        self.variables = [self.x, *(c.dual_variables[0] for c in duals.values())]

    def _idle(self, cp: Any, cone: tuple[Any, ...], A: Any, b: Any) -> Any:
        s = b - A @ self.x
        return cp.SOC(s[0], s[1:]) if cone[0] == "soc" else cp.ExpCone(s[0], s[1], s[2])

    def values(self, case: Case) -> list[Any]:
        return [case.data[k][..., self.where[k]] if k in self.where else case.data[k] for k in self.names]

    def outputs(self, values: Any, n: int, put: Callable[[Any, Any, int], Any]) -> dict[str, Any]:
        """The outputs in the terms of a quadratic program; `put` spreads the multipliers of bounds over variables."""
        found = dict(zip(("x", *self.duals), values, strict=True))
        out = {k: v for k, v in found.items() if k in OUTPUTS}
        box = [s * put(found[k], self.where[k], n) for s, k in ((-1.0, "lb"), (1.0, "ub")) if k in found]
        if box:
            out["z_box"] = sum(box)
        return out

    def gradients(self, case: Case, grads: dict[str, Any]) -> dict[str, Any]:
        out = {}
        for k, g in grads.items():
            full = np.asarray(g)
            if k in self.where:
                full = np.zeros((*full.shape[:-1], case.n))
                full[..., self.where[k]] = np.asarray(g)
            out[k] = full
        return out


def torch_cvxpy(case: Case, cotangents: dict[str, Any]) -> Answer:
    import bpqp.torch as bt
    import torch

    written = Written(case)
    layer = bt.CvxpyLayer(
        written.problem,
        written.parameters,
        written.variables,
        on_failure="nan",
        solver_args={"on_untrusted": "ignore"},
    )
    data = {
        k: torch.from_numpy(np.array(v)).requires_grad_()
        for k, v in zip(written.names, written.values(case), strict=True)
    }
    r = layer(*data.values(), full=True)

    def put(value: Any, where: Any, n: int) -> Any:
        return torch.zeros(*value.shape[:-1], n, dtype=value.dtype).index_copy(-1, torch.from_numpy(where), value)

    answer = _torch_answer(case, r, written.outputs(r.variables, case.n, put), data, cotangents)
    own = {k: v if case.batch is not None else v[0] for k, v in answer.gradients.items()}
    return answer._replace(gradients=_each(case, written.gradients(case, own)))


def jax_cvxpy(case: Case, cotangents: dict[str, Any]) -> Answer:
    import bpqp.jax as bj
    import jax.numpy as jnp

    written = Written(case)
    layer = bj.CvxpyLayer(
        written.problem,
        written.parameters,
        written.variables,
        on_failure="nan",
        solver_args={"on_untrusted": "ignore"},
    )

    def put(value: Any, where: Any, n: int) -> Any:
        return jnp.zeros((*value.shape[:-1], n)).at[..., where].set(value)

    def solve(data: Any) -> tuple[Any, Any]:
        r = layer(*(data[k] for k in written.names), full=True)
        return written.outputs(r.variables, case.n, put), (r.status, r.verdict)

    answer = _jax_answer(case, solve, dict(zip(written.names, written.values(case), strict=True)), cotangents)
    own = {k: v if case.batch is not None else v[0] for k, v in answer.gradients.items()}
    return answer._replace(gradients=_each(case, written.gradients(case, own)))


class Entrance(NamedTuple):
    """How a case is answered, what must be installed, and whether cones can be added and batches given."""

    answer: Callable[[Case, dict[str, Any]], Answer]
    needs: tuple[str, ...] = ()
    cones: bool = False
    batches: bool = True


ENTRANCES = {
    "qp": Entrance(numpy_qp),
    "sparse qp": Entrance(numpy_sparse, ("scipy",), batches=False),
    "torch qp": Entrance(torch_qp, ("torch",)),
    "jax qp": Entrance(jax_qp, ("jax",)),
    "conic": Entrance(numpy_conic, cones=True),
    "torch cvxpy": Entrance(torch_cvxpy, ("torch", "cvxpy"), cones=True),
    "jax cvxpy": Entrance(jax_cvxpy, ("jax", "cvxpy"), cones=True),
}


def there(entrance: Entrance) -> bool:
    return all(importlib.util.find_spec(package) is not None for package in entrance.needs)
