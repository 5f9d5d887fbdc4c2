"""The handlers of XLA in the extension against callbacks into Python, and what they refuse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import bpqp
import numpy as np
import pytest
from conftest import NAMES, N, need, problem

need("jax")
import jax  # noqa: E402

jax.config.update("jax_enable_x64", True)
import bpqp.jax as bj  # noqa: E402
import jax.numpy as jnp  # noqa: E402
from bpqp.jax import _ffi  # noqa: E402


@pytest.fixture
def callbacks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Switches to callbacks; programs compiled before are forgotten."""

    def switch() -> None:
        monkeypatch.setattr(_ffi, "unavailable", "switched off by a test")
        jax.clear_caches()

    yield switch
    monkeypatch.undo()
    jax.clear_caches()


def test_the_handlers_are_registered() -> None:
    assert _ffi.unavailable is None
    text = jax.jit(bj.solve_qp).lower(jnp.eye(2), jnp.ones(2)).as_text()
    assert "bpqp_solve" in text
    assert "callback" not in text


def programs(dtype: Any) -> dict[str, Any]:
    batch = {k: jnp.asarray(v, dtype) for k, v in problem(5, ("q", "G", "lb"), seed=3).items()}
    one = {k: v if k not in ("q", "G", "lb") else v[0] for k, v in batch.items()}

    def loss(data: dict[str, Any]) -> Any:
        return sum((v**3).sum() for v in bj.solve_qp(**data, full=True)[:5])

    def along(f: Any, data: dict[str, Any]) -> Any:
        return jax.jvp(f, (data,), (jax.tree.map(lambda v: 0.01 * v, one),))

    rng = np.random.default_rng(0)
    d, F = (jnp.asarray(v, dtype) for v in (rng.random(N) + 0.5, rng.normal(size=(N, 2))))
    square = {k: v for k, v in one.items() if k not in ("G", "h", "A", "b")}
    return {
        "solve": lambda: jax.jit(lambda data: bj.solve_qp(**data, full=True))(batch),
        "settings": lambda: jax.jit(
            lambda data: bj.solve_qp(
                **data, full=True, solver="clarabel", eps_abs=1e-7, max_iter=50, threads=1, backward="first_order"
            )
        )(batch),
        "grad": lambda: jax.jit(jax.grad(loss))(batch),
        "factored": lambda: jax.jit(jax.grad(lambda d, F: loss({**square, "P": bj.Factored(d, F)}), argnums=(0, 1)))(
            d, jnp.stack([F, 2 * F])
        ),
        "jvp": lambda: jax.jit(lambda data: along(loss, data))(one),
        "forward over reverse": lambda: jax.jit(lambda q: jax.hessian(lambda q: loss({**one, "q": q}))(q))(one["q"]),
        "reverse over forward": lambda: jax.jit(jax.jacrev(jax.jacfwd(lambda b: loss({**one, "b": b}))))(one["b"]),
        "vmap": lambda: jax.jit(jax.vmap(jax.grad(lambda q: loss({**one, "q": q}))))(batch["q"]),
    }


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32])
@pytest.mark.parametrize("name", list(programs(jnp.float64)))
def test_both_ways_give_the_same_bits(name: str, dtype: Any, callbacks: Any) -> None:
    ours = programs(dtype)[name]()
    callbacks()
    theirs = programs(dtype)[name]()
    flat, shape = jax.tree.flatten(ours)
    other, same = jax.tree.flatten(theirs)
    assert shape == same
    assert any(np.any(np.asarray(v)) for v in flat)
    for a, b in zip(flat, other, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@pytest.mark.parametrize("way", ["handler", "callback"])
def test_failures_under_jit(way: str, callbacks: Any) -> None:
    if way == "callback":
        callbacks()
    data = {k: jnp.asarray(v) for k, v in problem(64, ("q", "h"), seed=10).items()}
    data["h"] = data["h"].at[7].set(-100.0)
    text = r"1 of 64 problems not solved: element 7: primal_infeasible \(proved by .* multipliers .*z with \d+ nonzeros"
    with pytest.raises(jax.errors.JaxRuntimeError, match=text) as caught:
        jax.jit(lambda d: bj.solve_qp(**d))(data).block_until_ready()
    with pytest.raises(bpqp.SolveError) as direct:
        bpqp.solve_qp(**{k: np.asarray(v) for k, v in data.items()})
    assert str(direct.value) in str(caught.value)
    indefinite = data["P"] - 100 * jnp.eye(N)
    with pytest.raises(jax.errors.JaxRuntimeError, match="non_convex"):
        jax.jit(lambda P, q: bj.solve_qp(P, q))(indefinite, data["q"][0]).block_until_ready()
    bad = data["q"].at[3, 2].set(jnp.nan)
    with pytest.raises(jax.errors.JaxRuntimeError, match=r"q.*NaN|q\[2\]"):
        jax.jit(lambda q: bj.solve_qp(data["P"], q))(bad).block_until_ready()


def raw(arguments: Any, results: Any, **changed: Any) -> None:
    attributes = {"solver": "auto", "size": 1, "factored": 0, "policy": 0, "data": 0b101} | changed
    out = [jax.ShapeDtypeStruct(s, t) for s, t in results]
    f = jax.ffi.ffi_call("bpqp_solve", out)
    typed = {k: np.int64(v) if isinstance(v, int) else v for k, v in attributes.items()}
    jax.block_until_ready(jax.jit(lambda *a: f(*a, **typed))(*arguments))


F64, U32, S32 = jnp.float64, jnp.uint32, jnp.int32
RESULTS = [((1, 3), F64), ((1, 0), F64), ((1, 0), F64), ((1, 3), F64), ((1,), F64), ((1, 26), U32), ((1, 2), S32)]
P, q = np.eye(3), np.ones(3)


def test_a_raw_call_of_the_right_form_is_taken() -> None:
    raw((P, q), RESULTS)


@pytest.mark.parametrize(
    ("arguments", "results", "changed", "message"),
    [
        ((P[:2], q), RESULTS, {}, r"P has shape \[2, 3\], expected \[3, 3\]"),
        ((P, q[None, None]), RESULTS, {}, r"q has shape \[1, 1, 3\]: it needs 1 dimensions, or a batch of 1"),
        ((P, np.ones((2, 3))), RESULTS, {}, r"q has shape \[2, 3\]"),
        ((P, np.ones(3, np.int32)), RESULTS, {}, "an argument has the XLA type 4"),
        ((P, np.ones(3, np.uint32)), RESULTS, {}, "q has dtype uint32"),
        ((P,), RESULTS, {}, "too few arguments: q is missing"),
        ((P, q, q), RESULTS, {}, "1 arguments too many"),
        ((P,), RESULTS, {"data": 1}, r"P has shape \[3, 3\], expected \[0, 0\]"),
        ((), RESULTS, {"data": 0}, "q is missing"),
        ((P, q), RESULTS[:6], {}, "the call has no result 6"),
        ((P, q), [((1, 2), F64), *RESULTS[1:]], {}, r"result 0 has shape \[1, 2\], expected \[1, 3\]"),
        ((P, q), [((1, 3), S32), *RESULTS[1:]], {}, "result 0 is not a place for 3 floats"),
        ((P, q), RESULTS, {"size": -1}, "size = -1"),
        ((P, q), RESULTS, {"policy": 3}, "policy = 3"),
        ((P, q), RESULTS, {"solver": "nope"}, "nope"),
        ((P, q), RESULTS, {"max_iter": 0}, "max_iter"),
        ((P, q), RESULTS, {"surprise": 1}, "attribute surprise that is not known"),
        ((P, q), RESULTS, {"solver": 1}, "attribute solver"),
    ],
)
def test_a_raw_call_of_another_form_is_refused(arguments: Any, results: Any, changed: Any, message: str) -> None:
    with pytest.raises(Exception, match=message) as caught:
        raw(arguments, results, **changed)
    assert "INVALID_ARGUMENT" in str(caught.value)


def test_status_and_iterations() -> None:
    data = {k: jnp.asarray(v) for k, v in problem(3, ("q", "h"), seed=10).items()}
    data["h"] = data["h"].at[1].set(-100.0)
    want = bpqp.solve_qp(**{k: np.asarray(v) for k, v in data.items()}, on_failure="nan")
    for wrap in (jax.jit, lambda f: f):
        sol = wrap(lambda d: bj.solve_qp(**d, full=True, on_failure="nan"))(data)
        assert bj.status_names(sol.status).tolist() == want.status.tolist()
        assert sol.ok.tolist() == [True, False, True]
        assert sol.iterations.tolist() == want.info.iterations.tolist()
    one = jax.jit(lambda d: bj.solve_qp(**d, full=True))(
        {k: v if k not in ("q", "h") else v[0] for k, v in data.items()}
    )
    assert bj.status_names(one.status) == "solved"


def test_solvers_of_qpsolvers() -> None:
    need("qpsolvers", "daqp")
    data = {k: jnp.asarray(v) for k, v in problem(3, ("q",), seed=2).items()}

    def loss(data: dict[str, Any], solver: str) -> Any:
        return (bj.solve_qp(**data, solver=solver) ** 3).sum()

    want = jax.grad(loss)(data, "auto")
    for wrap in (jax.jit, lambda f: f):
        got = wrap(lambda d: jax.grad(loss)(d, "qpsolvers:daqp"))(data)
        for name in NAMES:
            np.testing.assert_allclose(got[name], want[name], atol=1e-6)
    with pytest.raises(bpqp.ArgumentError, match="qpsolvers:nope"):
        bj.solve_qp(**data, solver="qpsolvers:nope")
