"""What a review broke, each as the smallest call that showed it."""

import bpqp
import numpy as np


def test_arrays_that_are_not_aligned_are_copied() -> None:
    P, q = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([1.0, -1.0])
    shifted = np.frombuffer(b"x" + P.tobytes(), dtype=np.uint8)[1:].view(np.float64).reshape(2, 2)
    assert not shifted.flags.aligned
    np.testing.assert_array_equal(bpqp.solve_qp(shifted, q).x, bpqp.solve_qp(P, q).x)
