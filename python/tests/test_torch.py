"""PyTorch."""

from __future__ import annotations

import copy
import os
import pickle
from typing import Any

import bpqp
import numpy as np
import pytest
from conftest import NAMES, OUTPUTS, N, is_active, need, problem

need("torch")
import bpqp.torch as bt  # noqa: E402
import torch  # noqa: E402
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vjp, vmap  # noqa: E402

BATCHES = [None, NAMES, ("q",), ("q", "G", "lb")]


def tensors(batch: tuple[str, ...] | None, seed: int = 1, dtype: torch.dtype = torch.float64) -> dict[str, Any]:
    data = problem() if batch is None else problem(3, batch, seed=seed)
    return {k: torch.tensor(v, dtype=dtype) for k, v in data.items()}


def outputs(P: Any, *rest: Any, **settings: Any) -> Any:
    """All outputs; P as a function of a matrix that need not be symmetric, as a user would write it."""
    sol = bt.solve_qp(0.5 * (P + P.mT), *rest, full=True, **settings)
    return tuple(getattr(sol, k) for k in OUTPUTS)


@pytest.mark.parametrize("batch", BATCHES)
def test_forward_is_that_of_numpy(batch: Any) -> None:
    data = tensors(batch)
    sol = bt.solve_qp(**data, full=True)
    want = bpqp.solve_qp(**{k: v.numpy() for k, v in data.items()})
    assert is_active(sol)
    for k in OUTPUTS:
        np.testing.assert_allclose(getattr(sol, k).numpy(), getattr(want, k), atol=1e-13)
    assert sol.ok.all()
    assert np.all(np.asarray(sol.status) == "solved")


@pytest.mark.parametrize("batch", BATCHES)
def test_gradcheck(batch: Any) -> None:
    data = [v.requires_grad_() for v in tensors(batch).values()]
    assert torch.autograd.gradcheck(outputs, data, check_forward_ad=True)


@pytest.mark.parametrize("batch", BATCHES)
def test_gradgradcheck(batch: Any) -> None:
    data = [v.requires_grad_() for v in tensors(batch).values()]
    assert torch.autograd.gradgradcheck(outputs, data, check_fwd_over_rev=True)


def test_gradcheck_of_factored() -> None:
    data = tensors(None)
    rng = torch.Generator().manual_seed(0)
    d = torch.rand(N, dtype=torch.float64, generator=rng) + 0.5
    F = torch.randn(N, 2, dtype=torch.float64, generator=rng)

    def f(d: Any, F: Any, q: Any, h: Any) -> Any:
        sol = bt.solve_qp(**{**data, "P": bt.Factored(d, F), "q": q, "h": h}, full=True)
        return tuple(getattr(sol, k) for k in OUTPUTS)

    args = [v.requires_grad_() for v in (d, F, data["q"], data["h"])]
    assert torch.autograd.gradcheck(f, args, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(f, args, check_fwd_over_rev=True)
    mixed = [torch.stack([d, d + 0.1]).detach().requires_grad_(), *args[1:]]
    assert torch.autograd.gradcheck(f, mixed)


def forward_twice_is_right() -> bool:
    """False for old versions of torch, which get it wrong for functions of their own."""
    value = torch.tensor([[3.0, 1.0], [1.0, 2.0]], dtype=torch.float64)

    def f(v: Any) -> Any:
        return (torch.linalg.solve(v + v.mT, v[0]) ** 3).sum()

    return torch.allclose(jacfwd(jacfwd(f))(value), hessian(f)(value))


def scalar(data: dict[str, Any], name: str) -> Any:
    """A loss of one argument, with second derivatives in it."""

    def loss(value: Any) -> Any:
        at = {**data, name: value}
        at["P"] = 0.5 * (at["P"] + at["P"].mT)
        sol = bt.solve_qp(**at, full=True)
        return sum((getattr(sol, k) ** 3).sum() for k in OUTPUTS)

    return loss


@pytest.mark.parametrize("name", NAMES)
def test_transforms_agree(name: str) -> None:
    data = tensors(None)
    loss, value = scalar(data, name), data[name]
    g = grad(loss)(value)
    torch.testing.assert_close(jacrev(loss)(value), g)
    torch.testing.assert_close(jacfwd(loss)(value), g)
    direction = torch.ones_like(value)
    torch.testing.assert_close(jvp(loss, (value,), (direction,))[1], (g * direction).sum())
    torch.testing.assert_close(vjp(loss, value)[1](torch.tensor(2.0, dtype=torch.float64))[0], 2 * g)
    want = hessian(loss)(value)
    size = value.numel()
    torch.testing.assert_close(want.reshape(size, size), want.reshape(size, size).T, atol=1e-8, rtol=1e-8)
    others = [jacrev(jacrev(loss)), jacrev(jacfwd(loss))]
    if forward_twice_is_right():
        others.append(jacfwd(jacfwd(loss)))
    for other in others:
        torch.testing.assert_close(other(value), want, atol=1e-9, rtol=1e-9)


def test_vmap_is_loop() -> None:
    data = tensors(None)
    values = torch.stack([data["q"] + 0.3 * k for k in range(4)])
    loss = scalar(data, "q")

    def f(q: Any) -> Any:
        return bt.solve_qp(**{**data, "q": q})

    torch.testing.assert_close(vmap(f)(values), torch.stack([f(v) for v in values]))
    torch.testing.assert_close(vmap(f)(values), f(values))
    torch.testing.assert_close(vmap(grad(loss))(values), torch.stack([grad(loss)(v) for v in values]))
    torch.testing.assert_close(vmap(hessian(loss))(values), torch.stack([hessian(loss)(v) for v in values]))
    nested = values.reshape(2, 2, N)
    torch.testing.assert_close(vmap(vmap(f))(nested).reshape(4, N), f(values))
    torch.testing.assert_close(vmap(f)(nested).reshape(4, N), f(values))


def test_vmap_over_shared_arguments() -> None:
    data = tensors(None)
    values = torch.stack([data["q"] + 0.3 * k for k in range(4)]).reshape(2, 2, N)

    def loss(G: Any, q: Any) -> Any:
        return (bt.solve_qp(**{**data, "q": q, "G": G}) ** 3).sum()

    G = data["G"]
    want = torch.stack([grad(loss)(G, q) for q in values])
    torch.testing.assert_close(vmap(grad(loss), (None, 0))(G, values), want)
    torch.testing.assert_close(grad(lambda G: vmap(loss, (None, 0))(G, values).sum())(G), want.sum(0))


def test_single_precision() -> None:
    exact, single = tensors(NAMES), tensors(NAMES, dtype=torch.float32)
    gradients = []
    for data in (exact, single):
        leaves = [v.clone().requires_grad_() for v in data.values()]
        out = outputs(*leaves)
        assert all(v.dtype == leaves[0].dtype for v in out)
        gradients.append(torch.autograd.grad(sum(v.sum() for v in out), leaves))
    for g, e in zip(gradients[1], gradients[0], strict=True):
        assert g.dtype == torch.float32
        torch.testing.assert_close(g.double(), e, atol=1e-4, rtol=1e-4)


def test_nothing_is_kept_without_grad() -> None:
    data = {k: v.requires_grad_() for k, v in tensors(None).items()}
    with torch.no_grad():
        assert bt.solve_qp(**data).grad_fn is None
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        with torch.no_grad():
            bt.solve_qp(**data)
        bt.solve_qp(**{k: v.detach() for k, v in data.items()})
        assert not saved
        bt.solve_qp(**data)
        assert saved


def test_third_derivatives_are_refused() -> None:
    data = tensors(None)
    with pytest.raises(bpqp.UnsupportedError, match="third derivatives"):
        jacrev(jacrev(jacrev(scalar(data, "q"))))(data["q"])


def test_second_derivatives_with_smoothing_are_refused() -> None:
    data = tensors(None)
    data["q"].requires_grad_()
    (g,) = torch.autograd.grad(bt.solve_qp(**data, smoothing=1e-3).sum(), data["q"], create_graph=True)
    with pytest.raises(bpqp.UnsupportedError, match="smoothing"):
        g.sum().backward()


@pytest.mark.parametrize("policy", ["nan", "zero_grad"])
def test_failures_stay_with_their_element(policy: str) -> None:
    data = {k: torch.tensor(v) for k, v in problem(64, ("q", "h"), seed=10).items()}
    data["h"][7] = -100.0
    with pytest.raises(bpqp.SolveError, match=r"1 of 64 .*element 7: primal_infeasible"):
        bt.solve_qp(**data)
    q = data["q"].requires_grad_()
    sol = bt.solve_qp(**data, full=True, on_failure=policy)
    assert torch.nonzero(~sol.ok).flatten().tolist() == [7]
    assert sol.status[7] == "primal_infeasible"
    rest = torch.arange(64) != 7
    (g,) = torch.autograd.grad(sol.x[rest].sum() + sol.x[7].sum(), q)
    assert torch.isfinite(g[rest]).all()
    assert torch.isnan(g[7]).all() if policy == "nan" else (g[7] == 0).all()
    mapped = vmap(grad(lambda q, h: bt.solve_qp(**{**data, "q": q, "h": h}, on_failure=policy).sum()))
    other = mapped(q.detach(), data["h"])
    torch.testing.assert_close(other, g, equal_nan=True)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"q": torch.ones(N, dtype=torch.bfloat16)}, bpqp.DtypeError, r"q has dtype torch.bfloat16.*q.float"),
        ({"G": torch.ones(5, N, dtype=torch.float16)}, bpqp.DtypeError, "G has dtype torch.float16"),
        ({"q": np.ones(N)}, bpqp.DtypeError, "q is a ndarray"),
        ({"q": torch.ones(N + 1, dtype=torch.float64)}, bpqp.ArgumentError, "q has"),
        ({"q": torch.ones(1, 2, N)}, bpqp.ArgumentError, "q has shape"),
        ({"h": None}, bpqp.ArgumentError, "h is missing"),
        ({"lb": torch.ones(N).to_sparse()}, bpqp.DtypeError, "sparse"),
        ({"q": torch.ones(3, N), "h": torch.ones(2, 5)}, bpqp.ArgumentError, "h has a batch of 2, but q has one of 3"),
        ({"solver": "nope"}, bpqp.ArgumentError, "solver"),
        ({"on_failure": "nope"}, bpqp.ArgumentError, "on_failure"),
    ],
)
def test_misuse_is_named(change: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        bt.solve_qp(**{**tensors(None), **change})


def layer_and_q(**settings: Any) -> tuple[bt.QpLayer, Any]:
    data = tensors(("q",))
    q = data.pop("q")
    return bt.QpLayer(**data, **settings), q


def test_layer() -> None:
    layer, q = layer_and_q()
    data = tensors(("q",))
    want = bt.solve_qp(**data)
    torch.testing.assert_close(layer(q=q), want)
    torch.testing.assert_close(layer(q=q, full=True).objective, bt.solve_qp(**data, full=True).objective)
    for other in (pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer)):
        torch.testing.assert_close(other(q=q), want)
        assert other.state_dict().keys() == layer.state_dict().keys()
    changed = copy.deepcopy(layer)
    state = {k: v + 0.01 if k == "data_h" else v for k, v in layer.state_dict().items()}
    changed.load_state_dict(state)
    torch.testing.assert_close(changed(q=q), bt.solve_qp(**{**data, "h": data["h"] + 0.01}))
    assert layer.float()(q=q.float()).dtype == torch.float32
    with pytest.raises(bpqp.ArgumentError, match="P was given to the layer"):
        layer(P=torch.eye(N), q=q)
    with pytest.raises(bpqp.ArgumentError, match="q is missing"):
        layer()


def test_layer_learns_its_parameters() -> None:
    data = tensors(("q",))
    h = torch.nn.Parameter(data["h"].clone())
    layer = bt.QpLayer(**{k: v for k, v in data.items() if k not in ("q", "h")}, h=h)
    layer(q=data["q"]).sum().backward()
    leaf = data["h"].clone().requires_grad_()
    bt.solve_qp(**{**data, "h": leaf}).sum().backward()
    torch.testing.assert_close(h.grad, leaf.grad)
    assert dict(layer.named_parameters()).keys() == {"data_h"}


def test_layer_remembers_samples() -> None:
    layer, q = layer_and_q()
    first = layer(q=q, index=[4, 9, 2])
    again = layer(q=q.flip(0), index=torch.tensor([2, 9, 4]))
    torch.testing.assert_close(again.flip(0), first)
    torch.testing.assert_close(layer(q=torch.cat([q, q[:1] + 1]), index=[4, 9, 2, 7])[:3], first)
    with pytest.raises(bpqp.ArgumentError, match="index has 2 entries for a batch of 3"):
        layer(q=q, index=[1, 2])
    copied = copy.deepcopy(layer)
    torch.testing.assert_close(copied(q=q, index=[4, 9, 2]), first)


def test_qpsolvers() -> None:
    need("qpsolvers")
    if "qpsolvers:clarabel" not in bpqp.solvers():
        pytest.skip("clarabel is not installed")
    data = {k: v.requires_grad_() for k, v in tensors(NAMES).items()}
    want = torch.autograd.grad(bt.solve_qp(**data).sum(), list(data.values()))
    got = torch.autograd.grad(bt.solve_qp(**data, solver="qpsolvers:clarabel").sum(), list(data.values()))
    for g, w in zip(got, want, strict=True):
        torch.testing.assert_close(g, w, atol=1e-6, rtol=1e-6)


def _train(rank: int, world: int, meeting: str, queue: Any) -> None:
    """One step of gradient descent on half of the batch; the gradients of all processes are averaged."""
    import torch.distributed as dist

    # they meet in a file: a port that is free now may not be in a moment
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=world)
    try:
        layer, q = ddp_model()
        wrapped = torch.nn.parallel.DistributedDataParallel(layer)
        part = q.reshape(world, -1, N)[rank]
        (wrapped(q=part) ** 2).sum(1).mean().backward()
        if rank == 0:
            queue.put({k: v.grad.numpy() for k, v in layer.named_parameters()})
        # who leaves first closes the connection: no one may still be reading from it
        dist.barrier()
    finally:
        dist.destroy_process_group()
    # gloo's threads outlive their group, and one that asks for the lock of an interpreter that is going down aborts the
    # process (pytorch issue 38228): leave without going down
    os._exit(0)


def ddp_model() -> tuple[bt.QpLayer, Any]:
    data = {k: torch.tensor(v) for k, v in problem(4, ("q",), seed=1).items()}
    q, G, h = data.pop("q"), torch.nn.Parameter(data.pop("G")), torch.nn.Parameter(data.pop("h"))
    return bt.QpLayer(**data, G=G, h=h), q


def test_distributed_data_parallel_gives_the_gradients_of_one_process(tmp_path: Any) -> None:
    import torch.multiprocessing as mp

    if not torch.distributed.is_gloo_available():
        pytest.skip("this build of torch has no gloo")
    context = mp.get_context("spawn")
    queue = context.SimpleQueue()
    mp.spawn(_train, (2, str(tmp_path / "meeting"), queue), nprocs=2)
    layer, q = ddp_model()
    (layer(q=q) ** 2).sum(1).mean().backward()
    for name, gradient in queue.get().items():
        np.testing.assert_allclose(gradient, dict(layer.named_parameters())[name].grad.numpy(), atol=1e-12)


class Solves(torch.utils.data.Dataset[Any]):
    """A data set that solves a problem for every item."""

    def __init__(self) -> None:
        self.layer, self.q = ddp_model()

    def __len__(self) -> int:
        return len(self.q)

    def __getitem__(self, k: int) -> Any:
        with torch.no_grad():
            return self.layer(q=self.q[k])


def test_workers_of_a_data_loader() -> None:
    data = Solves()
    loader = torch.utils.data.DataLoader(data, batch_size=2, num_workers=2, multiprocessing_context="spawn")
    with torch.no_grad():
        torch.testing.assert_close(torch.cat(list(loader)), data.layer(q=data.q))


def test_threads_share_a_layer() -> None:
    from concurrent.futures import ThreadPoolExecutor

    layer, q = layer_and_q()
    want = layer(q=q)

    def work(_: int) -> Any:
        leaf = q.clone().requires_grad_()
        layer(q=leaf).sum().backward()
        return leaf.grad, layer(q=q)

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(work, range(16)))
    for g, x in results:
        torch.testing.assert_close(x, want)
        torch.testing.assert_close(g, results[0][0])


@pytest.mark.parametrize("batch", BATCHES)
def test_compile_takes_the_whole_graph(batch: Any) -> None:
    names = list(tensors(batch))

    def loss(*data: Any) -> Any:
        sol = bt.solve_qp(**dict(zip(names, data, strict=True)), full=True)
        return sum((getattr(sol, k) ** 2).sum() for k in OUTPUTS)

    torch._dynamo.reset()
    fast = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for seed in (1, 2):
        data = [v.requires_grad_() for v in tensors(batch, seed=seed).values()]
        want, got = loss(*data), fast(*data)
        torch.testing.assert_close(got, want)
        for g, w in zip(torch.autograd.grad(got, data), torch.autograd.grad(want, data), strict=True):
            torch.testing.assert_close(g, w)


def test_compile_takes_a_layer() -> None:
    torch._dynamo.reset()
    layer, q = layer_and_q()
    fast = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(fast(q=q), layer(q=q))


def test_second_derivatives_through_compile_are_refused() -> None:
    torch._dynamo.reset()
    data = tensors(None)

    def f(q: Any) -> Any:
        return bt.solve_qp(**{**data, "q": q}).sum()

    q = data["q"].clone().requires_grad_()
    fast = torch.compile(f, fullgraph=True, backend="aot_eager")
    with pytest.raises(RuntimeError):
        (g,) = torch.autograd.grad(fast(q), q, create_graph=True)
        (g**2).sum().backward()
    # without aot_autograd, which refuses in its own words, the words are ours
    torch._dynamo.reset()
    fast = torch.compile(f, fullgraph=True, backend="eager")
    with pytest.raises(bpqp.UnsupportedError, match=r"outside of the compiled function"):
        (g,) = torch.autograd.grad((fast(q) ** 2).sum(), q, create_graph=True)
        (g**2).sum().backward()


def test_operators_keep_their_contract() -> None:
    data = tensors(("q",))
    slots = [data["P"], None, *(data[k].requires_grad_(k == "q") for k in NAMES[1:])]
    spec = "('auto', 0, False, [])"
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(torch.ops.bpqp.solve.default, (*slots, spec), test_utils=checks)
