"""Derivatives in doubt are told: by a warning, an error, or not at all; and the verdict is with every derivative."""

from __future__ import annotations

import importlib.util
import warnings
from typing import Any

import bpqp
import numpy as np
import pytest
from conftest import problem

BAD = ("regularized", "untrusted")
HAS = {name: importlib.util.find_spec(name) is not None for name in ("torch", "jax")}
torch_only = pytest.mark.skipif(not HAS["torch"], reason="torch is not installed")
jax_only = pytest.mark.skipif(not HAS["jax"], reason="jax is not installed")


def doubtful() -> dict[str, Any]:
    """A problem with curvatures from 1e-16 to 1e7 and rows that are dependent but for 1e-15."""
    rng, n = np.random.default_rng(0), 6
    for _ in range(20):
        A = rng.normal(size=(4, n))
        A[3] = A[0] + A[1] + 1e-15 * rng.normal(size=n)
        x, P = rng.normal(size=n), np.diag(10.0 ** rng.integers(-16, 8, size=n))
        data = {"P": P, "q": rng.normal(size=n), "A": A, "b": A @ x, "lb": x - 1, "ub": x + 1}
        sol = bpqp.solve_qp(**data, on_failure="nan", eps_abs=1e-5, on_untrusted="ignore")
        if sol.ok and sol.vjp(x=np.ones(n)).verdict in BAD:
            return data
    raise AssertionError("no such problem was found")


DATA = doubtful()
LOOSE: dict[str, Any] = {"eps_abs": 1e-5}
ONES = np.ones(6)


def batch() -> dict[str, Any]:
    """The same beside a problem of its structure whose derivatives are exact."""
    other = np.random.default_rng(3)
    A, x = other.normal(size=(4, 6)), 0.1 * other.normal(size=6)
    easy = {"P": np.eye(6), "q": other.normal(size=6), "A": A, "b": A @ x, "lb": x - 1, "ub": x + 1}
    return {k: np.stack([easy[k], DATA[k]]) for k in DATA}


def test_a_gradient_in_doubt_is_told_once_by_element_and_verdict() -> None:
    sol = bpqp.solve_qp(**batch(), **LOOSE)
    assert sol.verdict[0] == "exact"
    assert sol.verdict[1] in BAD
    assert list(sol.verdict) == list(sol.diagnostics().verdict)
    for derive in (
        lambda: sol.vjp(x=np.ones((2, 6))),
        lambda: sol.jvp(q=ONES),
        lambda: sol.jacobian("x", "q"),
        lambda: sol.vjp(objective=np.ones(2), wrt="q"),
    ):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            found = derive()
        doubt = [w for w in told if issubclass(w.category, bpqp.GradientWarning)]
        verdicts = getattr(found, "verdict", sol.verdict)
        assert len(doubt) == int(verdicts[1] in BAD) <= len(told)
        if doubt:
            assert f"1 of 2 derivatives are not to be trusted: element 1: {verdicts[1]}" in str(doubt[0].message)
            assert doubt[0].filename == __file__
        assert verdicts[0] == "exact"


def test_raise_and_ignore() -> None:
    sol = bpqp.solve_qp(**DATA, **LOOSE, on_untrusted="raise")
    with pytest.raises(bpqp.GradientError, match="element 0") as caught:
        sol.vjp(x=ONES)
    assert isinstance(caught.value, bpqp.Error)
    assert caught.value.elements == [(0, sol.verdict)]
    quiet = bpqp.solve_qp(**DATA, **LOOSE, on_untrusted="ignore")
    assert quiet.vjp(x=ONES).verdict in BAD
    assert quiet.jvp(q=ONES).verdict in BAD
    with pytest.raises(bpqp.ArgumentError, match="on_untrusted = 'loud': choose 'warn', 'raise' or 'ignore'"):
        bpqp.solve_qp(**DATA, on_untrusted="loud")


def test_what_was_asked_for_is_no_doubt() -> None:
    data = problem()
    n = len(data["q"])
    for settings, verdict in (
        ({}, "exact"),
        ({"smoothing": 1e-3}, "smoothed"),
        ({"backward": "first_order"}, "approximate"),
        ({"polish": False}, "approximate"),
    ):
        sol = bpqp.solve_qp(**data, **settings, on_untrusted="raise")
        assert sol.vjp(x=np.ones(n)).verdict == sol.jvp(q=np.ones(n)).verdict == sol.verdict == verdict
    failed = bpqp.solve_qp(np.eye(1), [0.0], lb=[[0.0], [np.nan]], on_failure="nan", on_untrusted="raise")
    assert failed.vjp(x=np.ones((2, 1))).verdict[1] == "untrusted"  # without a solution: that was told


def test_cone_programs() -> None:
    rows = {"P": DATA["P"], "q": DATA["q"], "A": DATA["A"], "b": DATA["b"], "lb": DATA["lb"], "ub": DATA["ub"]}
    sol = bpqp.solve_conic(**rows, cones=[("zero", 4)], **LOOSE, on_untrusted="raise")
    assert sol.verdict in BAD
    with pytest.raises(bpqp.GradientError):
        sol.vjp(x=ONES)
    with pytest.warns(bpqp.GradientWarning, match="element 0"):
        bpqp.solve_conic(**rows, cones=[("zero", 4)], **LOOSE).jvp(q=ONES)
    quiet = bpqp.solve_conic(**rows, cones=[("zero", 4)], **LOOSE, on_untrusted="ignore")
    assert quiet.vjp(x=ONES).verdict in BAD


@torch_only
def test_torch() -> None:
    import bpqp.torch as bt
    import torch

    tensors = {k: torch.tensor(v) for k, v in batch().items()}
    tensors["q"].requires_grad_()
    for full in (False, True):
        out = bt.solve_qp(**tensors, **LOOSE, full=full)
        with pytest.warns(bpqp.GradientWarning, match="1 of 2 derivatives.*element 1"):
            (out.x if full else out).sum().backward()
    assert out.verdict[0] == "exact"
    assert out.verdict[1] in BAD
    alone = {k: torch.tensor(v) for k, v in DATA.items()}
    assert bt.solve_qp(**alone, **LOOSE, full=True).verdict in BAD
    with pytest.raises(bpqp.GradientError):
        bt.solve_qp(**tensors, **LOOSE, on_untrusted="raise").sum().backward()
    bt.solve_qp(**tensors, **LOOSE, on_untrusted="ignore").sum().backward()
    layer = bt.QpLayer(**{k: v for k, v in alone.items() if k != "q"}, **LOOSE, on_untrusted="raise")
    with pytest.raises(bpqp.GradientError):
        layer(q=alone["q"].requires_grad_(), index=[0]).sum().backward()
    rest = {k: v for k, v in alone.items() if k != "q"}
    with pytest.warns(bpqp.GradientWarning):
        torch.func.grad(lambda q: bt.solve_qp(q=q, **rest, **LOOSE).sum())(alone["q"].detach())
    with pytest.warns(bpqp.GradientWarning):
        torch.func.jvp(lambda q: bt.solve_qp(q=q, **rest, **LOOSE), (alone["q"].detach(),), (torch.ones(6).double(),))


@jax_only
def test_jax() -> None:
    import bpqp.jax as bj
    import jax

    rest = {k: v for k, v in DATA.items() if k != "q"}
    with jax.enable_x64(True):

        def loss(q: Any, **settings: Any) -> Any:
            return bj.solve_qp(q=q, **rest, **LOOSE, **settings).sum()

        q = jax.numpy.asarray(DATA["q"])
        for transform in (lambda f: f, jax.jit):
            with pytest.warns(bpqp.GradientWarning, match="element 0"):
                jax.block_until_ready(transform(jax.grad(loss))(q))
            jax.block_until_ready(transform(jax.grad(lambda q: loss(q, on_untrusted="ignore")))(q))
        with pytest.raises(bpqp.GradientError):
            jax.grad(lambda q: loss(q, on_untrusted="raise"))(q)
        with pytest.raises(jax.errors.JaxRuntimeError, match="not to be trusted: element 0"):
            jax.block_until_ready(jax.jit(jax.grad(lambda q: loss(q, on_untrusted="raise")))(q))
        data = batch()
        for call in (bj.solve_qp, jax.jit(lambda **data: bj.solve_qp(**data, **LOOSE, full=True))):
            out = call(**data, **(dict(LOOSE, full=True) if call is bj.solve_qp else {}))
            names = bj.verdict_names(out.verdict)
            assert names[0] == "exact"
            assert names[1] in BAD
        assert bj.verdict_names(bj.solve_qp(q=q, **rest, **LOOSE, full=True).verdict) in BAD


def told(call: Any) -> int:
    """How many warnings of derivatives in doubt a call gives."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        call()
    return len([w for w in found if issubclass(w.category, bpqp.GradientWarning)])


CONES: list[Any] = [("zero", 4)]


@torch_only
def test_under_the_transforms_of_torch() -> None:
    """vmap and torch.compile hide the verdict from `full=True`, not from `on_untrusted`."""
    import bpqp.torch as bt
    import torch

    rest = {k: torch.tensor(v) for k, v in DATA.items() if k != "q"}
    q = torch.tensor(DATA["q"])
    many = torch.stack([q, q])

    def qp(q: Any, **settings: Any) -> Any:
        return bt.solve_qp(q=q, **rest, **LOOSE, **settings).sum()

    def conic(q: Any, **settings: Any) -> Any:
        return bt.solve_conic(q=q, cones=CONES, **rest, **LOOSE, **settings).sum()

    for loss in (qp, conic):
        grads = torch.func.vmap(torch.func.grad(loss))
        assert told(lambda grads=grads: grads(many)) == 1
        assert (
            told(lambda loss=loss: torch.func.vmap(torch.func.grad(lambda q: loss(q, on_untrusted="ignore")))(many))
            == 0
        )
        with pytest.raises(bpqp.GradientError, match="2 of 2"):
            torch.func.vmap(torch.func.grad(lambda q, loss=loss: loss(q, on_untrusted="raise")))(many)

        def step(loss: Any, **settings: Any) -> None:
            own = q.clone().requires_grad_()
            torch.compile(lambda q: loss(q, **settings), backend="aot_eager")(own).backward()

        assert told(lambda loss=loss: step(loss)) == 1
        assert told(lambda loss=loss: step(loss, on_untrusted="ignore")) == 0
        with pytest.raises(bpqp.GradientError, match="element 0"):
            step(loss, on_untrusted="raise")
    out = bt.solve_conic(q=q, cones=CONES, **rest, **LOOSE, full=True)
    assert out.verdict in BAD
    assert torch.func.vmap(lambda q: bt.solve_qp(q=q, **rest, **LOOSE))(many).shape == (2, 6)


@jax_only
def test_cone_programs_in_jax() -> None:
    """Under jit and vmap too: a warning, or the runtime error of JAX with the text of `bpqp.GradientError`."""
    import bpqp.jax as bj
    import jax

    rest = {k: v for k, v in DATA.items() if k != "q"}
    with jax.enable_x64(True):

        def loss(q: Any, **settings: Any) -> Any:
            return bj.solve_conic(q=q, cones=CONES, **rest, **LOOSE, **settings).sum()

        q = jax.numpy.asarray(DATA["q"])
        many = jax.numpy.stack([q, q])
        for transform, at in (
            ((lambda f: f), q),
            (jax.jit, q),
            (jax.vmap, many),
            ((lambda f: jax.jit(jax.vmap(f))), many),
        ):
            assert told(lambda t=transform, at=at: jax.block_until_ready(t(jax.grad(loss))(at))) == 1
            quiet = transform(jax.grad(lambda q: loss(q, on_untrusted="ignore")))
            assert told(lambda quiet=quiet, at=at: jax.block_until_ready(quiet(at))) == 0
        with pytest.raises(bpqp.GradientError):
            jax.grad(lambda q: loss(q, on_untrusted="raise"))(q)
        with pytest.raises(jax.errors.JaxRuntimeError, match="not to be trusted: element 0"):
            jax.block_until_ready(jax.jit(jax.grad(lambda q: loss(q, on_untrusted="raise")))(q))
        verdicts = jax.vmap(lambda q: bj.solve_conic(q=q, cones=CONES, **rest, **LOOSE, full=True).verdict)(many)
        assert set(bj.verdict_names(verdicts)) <= set(BAD)
