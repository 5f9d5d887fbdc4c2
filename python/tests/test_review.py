"""What a review broke, each as the smallest call that showed it."""

import bpqp
import numpy as np
import pytest


def test_arrays_that_are_not_aligned_are_copied() -> None:
    P, q = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([1.0, -1.0])
    shifted = np.frombuffer(b"x" + P.tobytes(), dtype=np.uint8)[1:].view(np.float64).reshape(2, 2)
    assert not shifted.flags.aligned
    np.testing.assert_array_equal(bpqp.solve_qp(shifted, q).x, bpqp.solve_qp(P, q).x)


def test_masked_entries_are_refused() -> None:
    with pytest.raises(bpqp.ArgumentError, match="q has masked entries"):
        bpqp.solve_qp(np.eye(2), np.ma.array([1.0, 2.0], mask=[False, True]))
    np.testing.assert_allclose(bpqp.solve_qp(np.eye(2), np.ma.array([1.0, 2.0])).x, [-1.0, -2.0])


def test_an_index_names_samples_by_integers() -> None:
    torch = pytest.importorskip("torch")
    import bpqp.torch as bt

    layer = bt.QpLayer(P=torch.eye(2, dtype=torch.float64))
    q = torch.ones(2, 2, dtype=torch.float64)
    for wrong in ([1.7, 2.0], torch.tensor([True, False]), ["a", "b"]):
        with pytest.raises(bpqp.ArgumentError, match="index has dtype"):
            layer(q=q, index=wrong)
    assert layer(q=q, index=torch.tensor([3, 4])).shape == (2, 2)


def test_a_warm_start_without_multipliers_is_named_in_torch_too() -> None:
    torch = pytest.importorskip("torch")
    import bpqp.torch as bt

    with pytest.raises(bpqp.ArgumentError, match="warm_start has no y"):
        bt.solve_qp(torch.eye(2), torch.ones(2), warm_start={"x": torch.zeros(2)})


def test_the_older_vmap_of_torch_is_refused_with_advice() -> None:
    torch = pytest.importorskip("torch")
    import bpqp.torch as bt

    q = torch.ones(3, dtype=torch.float64, requires_grad=True)
    x = bt.solve_qp(torch.eye(3, dtype=torch.float64), q)
    with pytest.raises(bpqp.UnsupportedError, match=r"is_grads_batched.*torch\.func\.jacrev"):
        torch.autograd.grad(x, q, torch.eye(3, dtype=torch.float64), is_grads_batched=True)
    jacobian = torch.func.jacrev(lambda q: bt.solve_qp(torch.eye(3, dtype=torch.float64), q))(q.detach())
    torch.testing.assert_close(jacobian, -torch.eye(3, dtype=torch.float64))
