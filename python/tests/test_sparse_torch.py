"""Sparse tensors and matrices of scipy.sparse in torch: the answers of dense ones, gradients on the entries."""

import copy
import pickle

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("scipy")

import bpqp
import bpqp.torch as bt
import scipy.sparse as sp
import torch

# torch says that it is young
pytestmark = pytest.mark.filterwarnings("ignore:Sparse")

N = 6
LAYOUTS = ("coo", "csr", "csc")
DOUBLE = torch.float64


def data(seed=0):
    rng = np.random.default_rng(seed)
    P = np.diag(rng.uniform(1, 2, N)) + np.diag(np.full(N - 1, 0.3), 1) + np.diag(np.full(N - 1, 0.3), -1)
    G = np.where(rng.uniform(size=(8, N)) < 0.5, rng.normal(size=(8, N)), 0.0)
    A = np.zeros((1, N))
    A[0, ::2] = 1.0
    return P, rng.normal(size=N), G, np.full(8, 0.1), A, np.array([0.3])


def tensors(*values):
    return [torch.tensor(v, dtype=DOUBLE) for v in values]


def sparse(dense, layout):
    """A sparse tensor made from values that need a gradient."""
    full = torch.tensor(dense, dtype=DOUBLE)
    index = full.nonzero().T if layout != "csc" else full.T.nonzero().T.flip(0)
    values = full[index[0], index[1]].clone().requires_grad_()
    if layout == "coo":
        return torch.sparse_coo_tensor(index, values, full.shape), values, index
    lines, others = index if layout == "csr" else index.flip(0)
    size = full.shape[layout == "csc"]
    ends = torch.cat([torch.zeros(1, dtype=torch.long), torch.bincount(lines, minlength=size).cumsum(0)])
    make = torch.sparse_csr_tensor if layout == "csr" else torch.sparse_csc_tensor
    return make(ends, others, values, full.shape), values, index


def dense_gradients(seed, weights):
    P, q, G, h, A, b = (v.requires_grad_() for v in tensors(*data(seed)))
    sol = bt.solve_qp(P, q, G=G, h=h, A=A, b=b, full=True)
    loss = (sol.x * weights).sum() + sol.z.sum() + sol.objective
    loss.backward()
    return sol, (P.grad, q.grad, G.grad, h.grad, A.grad, b.grad)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_values_and_gradients_are_those_of_dense_tensors(layout):
    weights = torch.arange(1.0, N + 1, dtype=DOUBLE)
    expected, grads = dense_gradients(0, weights)
    P, q, G, h, A, b = data()
    (P, p, at_p), (G, g, at_g), (A, a, at_a) = (sparse(m, layout) for m in (P, G, A))
    q, h, b = (v.requires_grad_() for v in tensors(q, h, b))
    sol = bt.solve_qp(P, q, G=G, h=h, A=A, b=b, full=True)
    assert sol.status == "solved" and sol.verdict == expected.verdict
    ((sol.x * weights).sum() + sol.z.sum() + sol.objective).backward()
    for found, wanted in ((sol.x, expected.x), (sol.y, expected.y), (sol.z, expected.z)):
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-11)
    for values, index, dense in ((p, at_p, grads[0]), (g, at_g, grads[2]), (a, at_a, grads[4])):
        torch.testing.assert_close(values.grad, dense[index[0], index[1]], rtol=1e-9, atol=1e-10)
    for vector, dense in ((q, grads[1]), (h, grads[3]), (b, grads[5])):
        torch.testing.assert_close(vector.grad, dense, rtol=1e-9, atol=1e-10)


def test_a_leaf_gets_a_gradient_of_its_layout():
    P, q, G, h, *_ = data()
    for make in (torch.Tensor.to_sparse, torch.Tensor.to_sparse_csr):
        leaf = make(torch.tensor(G)).requires_grad_()
        bt.solve_qp(torch.tensor(P), torch.tensor(q), G=leaf, h=torch.tensor(h)).sum().backward()
        assert leaf.grad.layout == leaf.layout


def test_entries_of_one_place_are_added():
    _, q, *_ = data()
    index = torch.tensor([[0, 0, 1, 2, 3, 4, 5], [0, 0, 1, 2, 3, 4, 5]])
    values = torch.tensor([0.5, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0], dtype=DOUBLE, requires_grad=True)
    x = bt.solve_qp(torch.sparse_coo_tensor(index, values, (N, N)), torch.tensor(q))
    torch.testing.assert_close(x, -torch.tensor(q))
    x.sum().backward()
    assert values.grad[0] == values.grad[1]
    doubled = sp.coo_matrix(([0.5, 0.5, 1.0], ([0, 0, 1], [0, 0, 1])), shape=(2, 2))
    torch.testing.assert_close(bt.solve_qp(doubled, torch.ones(2, dtype=DOUBLE)), -torch.ones(2, dtype=DOUBLE))


def test_derivatives_of_every_order_and_mode():
    P, q, G, h, A, b = data(1)
    (G, g, _), P, q, h, A, b = sparse(G, "coo"), *tensors(P, q, h, A, b)
    index, shape = G._indices(), G.shape

    def x(q, g):
        return bt.solve_qp(P, q, G=torch.sparse_coo_tensor(index, g, shape), h=h, A=A, b=b)

    g = g.detach()
    # torch makes no sparse tensor in forward mode
    assert torch.autograd.gradcheck(x, (q.clone().requires_grad_(), g.clone().requires_grad_()))
    assert torch.autograd.gradcheck(lambda q: x(q, g), (q.clone().requires_grad_(),), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(x, (q.clone().requires_grad_(), g.clone().requires_grad_()))
    fixed = torch.sparse_coo_tensor(index, g, shape)

    def of_q(q):
        return bt.solve_qp(P, q, G=fixed, h=h, A=A, b=b)

    many = torch.stack([q, 2 * q, -q])
    loop = torch.stack([of_q(row) for row in many])
    torch.testing.assert_close(torch.func.vmap(of_q)(many), loop, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(of_q(many), loop, rtol=1e-10, atol=1e-12)
    jacobian = torch.func.jacrev(of_q)(q)
    torch.testing.assert_close(jacobian, torch.func.jacfwd(of_q)(q), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("solver", ["auto", "interior_point", "active_set"])
def test_scipy_in_functions_and_layers(solver):
    P, q, G, h, A, b = data(2)
    expected = bpqp.solve_qp(P, q, G, h, A, b)
    q = torch.tensor(q, requires_grad=True)
    P, G, A = sp.csr_matrix(P), sp.csc_matrix(G), sp.coo_matrix(A)
    x = bt.solve_qp(P, q, G, 0.1, A, 0.3, solver=solver)
    np.testing.assert_allclose(x.detach(), expected.x, atol=1e-10)
    layer = bt.QpLayer(P=P, G=G, h=h, A=A, b=b, solver=solver)
    for module in (layer, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        x = module(q=q)
        np.testing.assert_allclose(x.detach(), expected.x, atol=1e-10)
        (grad,) = torch.autograd.grad(x.sum(), q)
        np.testing.assert_allclose(grad, expected.vjp(x=np.ones(N)).q, atol=1e-9)
    module = bt.QpLayer(P=P, G=G, h=h, A=A, b=b, solver=solver)
    module.load_state_dict(layer.state_dict())
    batch = torch.stack([q.detach(), -q.detach()])
    first = module(q=batch, index=[0, 1])
    torch.testing.assert_close(module(q=batch, index=[0, 1]), first)
    single = layer(q=q.detach().float())
    assert single.dtype == torch.float32


def test_cone_programs():
    P, q, G, h, *_ = data(3)
    cones = [("nonnegative", 4), ("soc", 4)]
    h = h + np.array([0, 0, 0, 0, 2.0, 0, 0, 0])
    dense = torch.tensor(G, requires_grad=True)
    expected = bt.solve_conic(torch.tensor(P), torch.tensor(q), dense, torch.tensor(h), cones)
    expected.sum().backward()
    for layout in LAYOUTS:
        A, values, at = sparse(G, layout)
        x = bt.solve_conic(sp.csc_matrix(P), torch.tensor(q), A, torch.tensor(h), cones)
        torch.testing.assert_close(x, expected, rtol=1e-9, atol=1e-10)
        x.sum().backward()
        torch.testing.assert_close(values.grad, dense.grad[at[0], at[1]], rtol=1e-7, atol=1e-9)


def test_compile_leaves_sparse_calls_outside_of_the_graph():
    P, q, G, h, *_ = data()
    G = torch.tensor(G).to_sparse()
    P, q, h = tensors(P, q, h)
    compiled = torch.compile(lambda q: bt.solve_qp(P, q, G=G, h=h) * 2, backend="eager")
    torch.testing.assert_close(compiled(q), 2 * bt.solve_qp(P, q, G, h))


def test_misuse_is_named():
    P, q, G, h, *_ = data()
    q = torch.tensor(q)
    with pytest.raises(bpqp.DtypeError, match="h is a sparse tensor"):
        bt.solve_qp(torch.tensor(P), q, G=torch.tensor(G), h=torch.tensor(h).to_sparse())
    with pytest.raises(bpqp.ArgumentError, match=r"G has shape \(8, 5\), expected \(8, 6\)"):
        bt.solve_qp(torch.tensor(P), q, G=torch.tensor(G[:, :5]).to_sparse(), h=torch.tensor(h))
    with pytest.raises(bpqp.ArgumentError, match="a sparse argument is a matrix"):
        bt.solve_qp(torch.tensor(P).expand(2, N, N).to_sparse(), q)
    with pytest.raises(bpqp.SolveError):
        bt.solve_qp(torch.tensor(P), q, A=torch.zeros(1, N, dtype=DOUBLE).to_sparse(), b=torch.ones(1, dtype=DOUBLE))
