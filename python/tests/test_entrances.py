"""Every entrance: what is refused and how, elements that fail alone, numbers that stand for vectors."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import bpqp
import numpy as np
import pytest
from conftest import NAMES, difference, need, one, problem
from scipy import sparse

I2, A1, B1 = np.eye(2), np.array([[1.0, 1.0]]), np.ones(1)


def corrupt(kind: str, **arrays: Any) -> Any:
    """A sparse matrix whose arrays were broken after it was made."""
    matrix = sparse.eye(3, format=kind)
    for name, value in arrays.items():
        setattr(matrix, name, np.array(value, dtype=np.int32))
    return matrix


SOL = bpqp.solve_qp(I2, np.ones(2), lb=np.zeros(2))
CONIC = bpqp.solve_conic(I2, np.ones(2), -I2, np.zeros(2), [("nonnegative", 2)])

REFUSED: list[tuple[Any, str]] = [
    (lambda: bpqp.solve_qp(I2, np.ones(2), solver=None), "solver = None: choose one of auto"),
    (lambda: bpqp.solve_qp(I2, np.ones(2), solver=["auto"]), r"solver = \['auto'\]"),
    (lambda: bpqp.solve_conic(I2, np.ones(2), A1, B1, ["exp"], solver=3), "solver = 3"),
    (lambda: bpqp.solve_qp(I2, np.ones(2), threads=10**9), "threads = 1000000000: ask for at most 1024"),
    (lambda: bpqp.solve_qp(I2, np.ones(2), threads=10**30), "threads = 1000000000000000000000000000000"),
    (lambda: bpqp.solve_qp(I2, np.ones(2), threads="two"), "threads = 'two'"),
    (lambda: bpqp.solve_qp(I2, np.ones(2), max_iter=2.5), r"max_iter = 2\.5"),
    (lambda: bpqp.solve_qp(I2, np.ones(2), time_limit=float("nan")), "time_limit = NaN"),
    (lambda: bpqp.solve_qp(I2, np.ones(2), polish=[]), r"polish = \[\]"),
    (lambda: bpqp.solve_qp(I2, [1.0, [2.0]]), "q is a list"),
    (lambda: bpqp.solve_qp(object(), np.ones(2)), "P has dtype object"),
    (lambda: bpqp.solve_qp(I2, np.ones(2), warm_start=3), "warm_start has no x"),
    (lambda: bpqp.solve_qp(I2, np.ones(2), warm_start=dict.fromkeys(("x", "y", "z", "z_box"), "a")), "warm_start.x"),
    (lambda: bpqp.solve_qp(I2, np.full(2, np.nan)), r"q\[0\] is NaN"),
    (lambda: bpqp.solve_qp(I2, np.ones(2), lb=np.array([0.0, np.nan])), r"lb\[1\] is NaN"),
    (lambda: bpqp.solve_qp(np.array([[1.0, np.inf], [np.inf, 1.0]]), np.ones(2)), r"P\[1, 0\] is inf"),
    (lambda: bpqp.solve_qp(corrupt("csc", indices=[0, 7, 2]), np.ones(3)), "entry 1 of P has row index 7"),
    (lambda: bpqp.solve_qp(corrupt("csc", indices=[0, -1, 2]), np.ones(3)), "entry 1 of P has row index -1"),
    (lambda: bpqp.solve_qp(corrupt("csr", indptr=[0, 2, 1, 3]), np.ones(3)), "P.indptr must rise from 0"),
    (lambda: bpqp.solve_qp(corrupt("csr", indptr=[0, 1, 2, 1000000]), np.ones(3)), "P.indptr ends at 1000000"),
    (lambda: bpqp.solve_qp(None, np.ones(3), corrupt("csc", indptr=[0, 1]), np.ones(3)), "G.indptr must rise"),
    (lambda: bpqp.solve_qp(corrupt("coo", row=[0, 1, 9]), np.ones(3)), "entry 2 of P has row index 9"),
    (
        lambda: bpqp.solve_conic(None, np.ones(3), corrupt("csc", indices=[0, 7, 2]), np.ones(3), [("zero", 3)]),
        "row index",
    ),
    (lambda: SOL.vjp(x=np.ones(2), wrt=3), "wrt = 3"),
    (lambda: SOL.vjp(x=np.ones(2), wrt=("q", 3)), "wrt names 3"),
    (lambda: SOL.vjp(x=[1.0, [2.0]]), "the cotangent of x is a list"),
    (lambda: SOL.vjp(x=np.array([1.0, np.nan])), r"cotangent of x\[1\] is NaN"),
    (lambda: SOL.jacobian(of=3), "of = 3"),
    (lambda: SOL.jacobian(wrt=3), "wrt = 3"),
    (lambda: SOL.jvp(P=corrupt("csc", indices=[0, 7, 2])), "tangent of P"),
    (lambda: bpqp.check_gradient(SOL, element=-1), "element = -1: choose one of the 1 problems"),
    (lambda: bpqp.check_gradient(SOL, element=1), "element = 1"),
    (lambda: bpqp.check_gradient(SOL, element="0"), "element = '0'"),
    (lambda: bpqp.from_solution(I2, np.ones(2), x="a"), "x has dtype"),
    (lambda: bpqp.from_solution(I2, np.ones(2), x=np.zeros(2), solver=None), "solver = None"),
    (lambda: bpqp.solve_conic(I2, np.ones(2), A1, B1, [("pow", "a")]), r"cones\[0\] = \('pow', 'a'\)"),
    (lambda: bpqp.solve_conic(I2, np.ones(2), A1, B1, [("pow", 2)]), "strictly between 0 and 1"),
    (lambda: bpqp.solve_conic(I2, np.ones(2), A1, B1, [("zero", float("inf"))]), "a whole number"),
    (lambda: bpqp.solve_conic(I2, np.ones(2), A1, B1, [("zero", None)]), "None is no number"),
    (lambda: bpqp.solve_conic(I2, np.ones(2), A1, B1, [([],)]), r"cones\[0\]"),
    (lambda: bpqp.solve_conic(I2, np.ones(2), A1, B1, [5]), r"cones\[0\] = 5"),
    (lambda: bpqp.solve_conic(I2, np.ones(2), A1, B1, None), "cones = None"),
    (lambda: bpqp.solve_conic(I2, np.ones(2), A1, B1, [("zero", 1)], threads="a"), "threads = 'a'"),
    (lambda: bpqp.solve_conic(I2, np.array([1.0, np.nan]), A1, B1, [("zero", 1)]), r"q\[1\] is NaN"),
    (lambda: CONIC.vjp(x=np.ones(2), wrt=3), "wrt = 3"),
    (lambda: CONIC.vjp(x=[1.0, [2.0]]), "the cotangent of x is a list"),
    (lambda: CONIC.jacobian(of=[]), r"of = \[\]"),
    (lambda: CONIC.jacobian(wrt=[]), r"wrt = \[\]"),
]


@pytest.mark.parametrize("k", range(len(REFUSED)))
def test_errors_are_those_of_the_package(k: int) -> None:
    call, message = REFUSED[k]
    with pytest.raises(bpqp.Error, match=message):
        call()


def test_a_solver_of_qpsolvers_is_suggested_and_its_settings_are_checked() -> None:
    need("qpsolvers", "osqp")
    with pytest.raises(bpqp.ArgumentError, match="did you mean 'qpsolvers:osqp'"):
        bpqp.solve_qp(I2, np.ones(2), solver="osqp")
    with pytest.raises(bpqp.ArgumentError, match=r"osqp' refused problem 0 with the settings .*'no_such': 3"):
        bpqp.solve_qp(I2, np.ones(2), A=A1, b=B1, solver="qpsolvers:osqp", no_such=3)
    with pytest.raises(bpqp.ArgumentError, match="threads = 2000"):
        bpqp.solve_qp(I2, np.ones(2), A=A1, b=B1, solver="qpsolvers:osqp", threads=2000)
    q = np.ones((3, 2))
    q[1] = np.nan
    sol = bpqp.solve_qp(I2, q, A=A1, b=B1, solver="qpsolvers:osqp", on_failure="nan")
    assert list(sol.status) == ["solved", "invalid_data", "solved"]


def broken(name: str, batch: int = 4) -> tuple[dict[str, Any], int]:
    """A batch in which one element of `name` is no datum."""
    data = problem(batch)
    k = {"P": 0, "q": 1, "G": 3, "h": 2, "A": 0, "b": 3, "lb": 1, "ub": 2}[name]
    value = {"h": -np.inf, "lb": 9.0, "ub": np.nan, "q": np.inf}.get(name, np.nan)
    data[name][k].flat[1] = value
    return data, k


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("policy", ["nan", "zero_grad"])
def test_a_bad_element_fails_alone(name: str, policy: str) -> None:
    data, k = broken(name)
    good = [i for i in range(4) if i != k]
    sol = bpqp.solve_qp(**data, on_failure=policy)
    assert sol.status[k] == "invalid_data"
    assert list(np.flatnonzero(sol.ok)) == good
    assert np.isnan(sol.x[k]).all()
    assert np.isnan(sol.objective[k])
    rest = bpqp.solve_qp(**{n: v[good] for n, v in data.items()})
    assert np.array_equal(sol.x[good], rest.x)
    dx = np.random.default_rng(1).normal(size=sol.x.shape)
    g, r = sol.vjp(x=dx), rest.vjp(x=dx[good])
    for n in NAMES:
        assert np.array_equal(getattr(g, n)[good], getattr(r, n)), n
        assert (np.isnan(getattr(g, n)[k]) if policy == "nan" else getattr(g, n)[k] == 0).all(), n
    assert sol.diagnostics().verdict[k] == "untrusted"


def test_all_elements_may_be_bad_and_an_error_lists_them() -> None:
    q = np.full((3, 2), np.nan)
    sol = bpqp.solve_qp(I2, q, A=A1, b=B1, G=-I2, h=np.zeros(2), on_failure="nan")
    assert list(sol.status) == ["invalid_data"] * 3
    assert np.isnan(sol.vjp(x=np.ones((3, 2))).q).all()
    q[[0, 2]] = 1.0
    with pytest.raises(bpqp.SolveError, match=r"1 of 3 .*element 1: invalid_data \(q\[0\] is NaN: every") as caught:
        bpqp.solve_qp(I2, q)
    assert caught.value.failures == [(1, "invalid_data")]
    # what the elements share is an argument like that of a single problem
    with pytest.raises(bpqp.ArgumentError, match=r"h\[0\] is NaN"):
        bpqp.solve_qp(I2, np.ones((3, 2)), G=A1, h=np.full(1, np.nan), on_failure="nan")
    lb, ub = np.zeros(2), np.array([[1.0, 1.0], [1.0, -1.0]])
    assert list(bpqp.solve_qp(I2, np.ones(2), lb=lb, ub=ub, on_failure="nan").ok) == [True, False]
    given = bpqp.from_solution(I2, q, x=-np.ones((3, 2)), on_failure="nan")
    assert list(given.status) == ["solved", "invalid_data", "solved"]


def test_a_bad_element_of_sparse_factored_and_large_problems() -> None:
    q = np.ones((3, 5))
    q[0, 2] = np.inf
    for P in (sparse.eye(5, format="csc"), bpqp.Factored(np.ones(5), np.ones((5, 2))), None):
        sol = bpqp.solve_qp(P, q, G=sparse.eye(5, format="csc"), h=np.ones(5), lb=np.zeros(5), on_failure="nan")
        assert list(sol.ok) == [False, True, True]
    d = np.ones((3, 5))
    d[2, 1] = -1
    assert list(bpqp.solve_qp(bpqp.Factored(d, np.ones((5, 2))), np.ones(5), on_failure="nan").ok) == [
        True,
        True,
        False,
    ]
    # one that is watched while it is solved
    q = np.ones((2, 300))
    q[0] = np.nan
    assert list(bpqp.solve_qp(np.eye(300), q, on_failure="nan").ok) == [False, True]


@pytest.mark.parametrize("policy", ["nan", "zero_grad"])
def test_a_bad_element_of_cone_programs(policy: str) -> None:
    b = np.ones((3, 3))
    b[1, 2] = np.nan
    args = (np.eye(3), np.ones(3), np.eye(3))
    sol = bpqp.solve_conic(*args, b, [("soc", 3)], on_failure=policy)
    assert list(sol.status) == ["solved", "invalid_data", "solved"]
    assert np.isnan(sol.x[1]).all()
    rest = bpqp.solve_conic(*args, b[[0, 2]], [("soc", 3)])
    assert np.array_equal(sol.x[[0, 2]], rest.x)
    g = sol.vjp(x=np.ones((3, 3)))
    assert np.allclose(g.b[[0, 2]], rest.vjp(x=np.ones((2, 3))).b)
    assert (np.isnan(g.b[1]) if policy == "nan" else g.b[1] == 0).all()
    with pytest.raises(bpqp.SolveError, match=r"element 1: invalid_data \(b\[2\] is NaN"):
        bpqp.solve_conic(*args, b, [("soc", 3)])


def test_a_failed_element_contributes_zero_where_the_loss_does_not_look_at_it() -> None:
    data, k = broken("q")
    data["P"] = data["P"][0]
    infeasible = problem(4, ("q",))
    infeasible["b"] = np.stack([infeasible["b"]] * 4)
    infeasible["A"][1] = infeasible["A"][0]
    infeasible["b"][:, 1] = infeasible["b"][:, 0]
    infeasible["b"][2, 1] += 1
    for case, bad in ((data, k), (infeasible, 2)):
        sol = bpqp.solve_qp(**case, on_failure="nan")
        assert list(np.flatnonzero(~sol.ok)) == [bad]
        dx = np.where(sol.ok[:, None], 1.0, 0.0) * np.ones_like(sol.x)
        g = sol.vjp(x=dx)
        assert np.isfinite(g.P).all()
        assert (g.q[bad] == 0).all()
        dx[bad, 0] = 1e-300
        assert np.isnan(sol.vjp(x=dx).P).all()
    b = np.ones((2, 3))
    b[1] = np.nan
    conic = bpqp.solve_conic(np.eye(3), np.ones(3), np.eye(3), b, [("soc", 3)], on_failure="nan")
    assert np.isfinite(conic.vjp(x=np.array([[1.0] * 3, [0.0] * 3])).A).all()


def test_numbers_and_rows_stand_for_vectors_and_matrices() -> None:
    q = np.array([-1.0, -2.0, 0.5])
    short: dict[str, Any] = dict(P=np.eye(3), q=q, G=np.array([1.0, 2.0, 0.0]), h=0.9, A=[1, 1, 1], b=1, lb=-0.3, ub=2)
    wide = dict(
        P=np.eye(3),
        q=q,
        G=short["G"][None],
        h=[0.9],
        A=np.ones((1, 3)),
        b=[1.0],
        lb=np.full(3, -0.3),
        ub=np.full(3, 2.0),
    )
    one_, two = bpqp.solve_qp(**short), bpqp.solve_qp(**wide)
    assert np.array_equal(one_.x, two.x)
    assert one_.diagnostics().verdict == "exact"
    dx = np.array([1.0, -2.0, 0.3])
    g, w = one_.vjp(x=dx), two.vjp(x=dx)
    assert (g.h.shape, g.b.shape, g.lb.shape, g.ub.shape) == ((), (), (), ())
    assert np.allclose([g.h, g.b, g.lb, g.ub], [w.h[0], w.b[0], w.lb.sum(), w.ub.sum()])
    assert np.allclose(g.G, w.G[0])
    assert np.allclose(g.A, w.A[0])
    assert np.allclose(one_.jvp(lb=1.0, A=dx).x, two.jvp(lb=np.ones(3), A=dx[None]).x)
    for name in ("h", "b", "lb", "G"):
        found = difference(
            lambda d: bpqp.solve_qp(**d).x @ dx, {k: np.asarray(v, float) for k, v in short.items()}, name
        )
        assert np.allclose(getattr(g, name), found, atol=1e-6), name
    assert np.allclose(one_.jacobian("x", "lb"), two.jacobian("x", "lb").sum(-1))
    assert np.allclose(one_.jacobian("x", "A"), two.jacobian("x", "A")[:, 0])
    assert np.allclose(one_.jacobian("objective", "h"), two.jacobian("objective", "h")[0])
    # shared by a batch, the gradient is the sum
    batch = bpqp.solve_qp(**{**short, "q": np.stack([q, 2 * q])})
    g = batch.vjp(x=np.stack([dx, dx]))
    both = [bpqp.solve_qp(**{**short, "q": c * q}).vjp(x=dx) for c in (1, 2)]
    assert np.allclose(g.lb, both[0].lb + both[1].lb)
    assert np.allclose(g.A, both[0].A + both[1].A)
    sparse_rows = bpqp.solve_qp(np.eye(3), q, G=sparse.eye(3, format="csc"), h=0.25)
    assert sparse_rows.vjp(x=dx).h.shape == ()
    with pytest.raises(bpqp.ArgumentError, match="G is missing"):
        bpqp.solve_qp(np.eye(3), q, h=0.5)
    with pytest.raises(bpqp.ArgumentError, match="q has shape"):
        bpqp.solve_qp(np.eye(3), 1.0)


@pytest.mark.parametrize("batch", [None, 3])
def test_solutions_can_be_pickled_and_copied(batch: int | None) -> None:
    data = problem(batch)
    if batch:
        data["q"][1] = np.nan
    data["lb"] = -1.0
    sol = bpqp.solve_qp(**data, on_failure="nan", threads=1)
    for again in (pickle.loads(pickle.dumps(sol)), copy.deepcopy(sol), pickle.loads(pickle.dumps(copy.copy(sol)))):
        assert np.array_equal(again.x, sol.x, equal_nan=True)
        assert np.array_equal(again.status, sol.status)
        assert str(again) == str(sol)
        assert (again.info.solver, again.info.iterations is None) == (sol.info.solver, False)
        dx = np.where(np.isfinite(sol.x), 1.0, 0.0)
        a, b = again.vjp(x=dx), sol.vjp(x=dx)
        for name in NAMES:
            assert np.allclose(getattr(a, name), getattr(b, name)), name
        assert np.array_equal(again.diagnostics().verdict, sol.diagnostics().verdict)
    conic = pickle.loads(pickle.dumps(CONIC))
    assert np.array_equal(conic.vjp(x=np.ones(2)).b, CONIC.vjp(x=np.ones(2)).b)
    assert (conic.status, conic.verdict) == (CONIC.status, CONIC.verdict)
    failed = bpqp.solve_qp(None, np.ones(1), on_failure="nan")
    assert pickle.loads(pickle.dumps(failed)).info.certificate is not None


def test_a_solution_prints_what_matters() -> None:
    text = str(bpqp.solve_qp(I2, np.array([-1.0, 1.0]), G=A1, h=0.5, lb=0.0))
    lines = dict(line.split(None, 1) for line in text.replace("active rows", "active_rows").splitlines())
    assert lines["status"].startswith("solved (")
    assert float(lines["objective"]) == -0.375
    assert lines["residuals"].startswith("primal ")
    assert lines["active_rows"] == "G [0]; lb [1]"
    data, _ = broken("q")
    text = str(bpqp.solve_qp(**data, on_failure="nan"))
    assert "3 solved, 1 invalid_data" in text
    assert "nan" not in text.splitlines()[1]
    assert repr(bpqp.solve_qp(**one(np.random.default_rng(0)))) == "Solution(status='solved')"
    many = bpqp.solve_qp(np.eye(20), np.ones(20), lb=0.0)
    assert "lb [0, 1, 2, 3, 4, 5, 6, 7, and 12 more]" in str(many)


def test_limits_hold() -> None:
    assert bpqp.solve_qp(**problem(3), threads=1000).ok.all()
    sol = bpqp.solve_qp(**problem(), time_limit=0, on_failure="nan")
    assert (sol.status, sol.ok) == ("time_limit", False)
