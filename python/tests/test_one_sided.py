"""`jvp(..., one_sided=True)`: the derivative in one direction, at kinks too."""

import bpqp
import numpy as np
import pytest
from scipy import sparse


def test_at_a_kink_each_direction_has_its_own_derivative():
    # x = max(-q, 0) at q = 0, and where q < 0
    sol = bpqp.solve_qp(np.eye(2), np.array([0.0, -1.0]), lb=np.zeros(2))
    assert sol.verdict == "one_of_several"
    for dq, dx, dz in (([-1.0, 1.0], [1.0, -1.0], [0.0, 0.0]), ([1.0, 1.0], [0.0, -1.0], [-1.0, 0.0])):
        t = sol.jvp(q=dq, one_sided=True)
        np.testing.assert_allclose(t.x, dx, atol=1e-12)
        np.testing.assert_allclose(t.z_box, dz, atol=1e-12)
        assert t.verdict == "exact"
    batch = bpqp.solve_qp(np.eye(2), np.array([[0.0, -1.0], [1.0, 0.0]]), lb=np.zeros(2))
    np.testing.assert_allclose(batch.jvp(q=[-1.0, -1.0], one_sided=True).x, [[1.0, 1.0], [0.0, 1.0]], atol=1e-12)


def test_cone_programs_of_linear_rows_have_it_and_curved_ones_say_so():
    rows = sparse.csc_matrix(-np.eye(2))
    sol = bpqp.solve_conic(np.eye(2), np.array([0.0, -1.0]), rows, np.zeros(2), [("nonnegative", 2)])
    np.testing.assert_allclose(sol.jvp(q=[1.0, 1.0], one_sided=True).y, [1.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(sol.jvp(q=[-1.0, 1.0], one_sided=True).x, [1.0, -1.0], atol=1e-12)
    rows = sparse.csc_matrix(np.array([[0.0], [-1.0]]))
    ball = bpqp.solve_conic(None, np.ones(1), rows, np.array([1.0, 0.0]), [("soc", 2)])
    with pytest.raises(bpqp.Error, match="one-sided"):
        ball.jvp(q=[1.0], one_sided=True)
