"""How each library is asked, with the settings a user gets."""

import contextlib
import math

import numpy as np
from adversarial_cases import a


def rows_of(program):
    """Bounds as further rows of G."""
    n = len(program["q"])
    G, h = program.get("G", np.zeros((0, n))), program.get("h", np.zeros(0))
    for bound, sign in (("ub", 1), ("lb", -1)):
        v = program.get(bound)
        if v is not None:
            k = np.isfinite(v)
            G, h = np.vstack([G, sign * np.eye(n)[k]]), np.r_[h, sign * v[k]]
    return G, h


def bpqp_qp(case):
    import bpqp

    s = bpqp.solve_qp(
        case.program["P"],
        case.program["q"],
        on_failure="nan",
        **{k: v for k, v in case.program.items() if k not in "Pq"},
    )
    if not s.ok:
        return dict(error=str(s.status))
    out = dict(x=s.x)
    if case.g is not None:
        d = s.vjp(x=case.g, wrt=("q",))
        out.update(gradient=d.q, says=str(d.verdict), flag=str(d.verdict) != "exact")
    return out


def bpqp_batch(case):
    import bpqp

    s = bpqp.solve_qp(np.eye(2), case.batch, A=a([1, 1]), b=a(1), on_failure="nan")
    return dict(x=s.x, says=", ".join(map(str, s.status)))


def qpsolvers_qp(name):
    def run(case):
        import qpsolvers
        import scipy.sparse as sp

        p = dict(case.program)
        sparse = name in ("osqp", "clarabel", "highs")
        for k in "PGA":
            if k in p and sparse:
                p[k] = sp.csc_matrix(p[k])
        problem = qpsolvers.Problem(
            p.pop("P"), p.pop("q"), p.get("G"), p.get("h"), p.get("A"), p.get("b"), p.get("lb"), p.get("ub")
        )
        s = qpsolvers.solve_problem(problem, solver=name)
        return dict(x=s.x) if s.found and s.x is not None else dict(error="not found")

    return run


def qpth_qp(case):
    import torch
    from qpth.qp import QPFunction

    G, h = rows_of(case.program)

    def t(v):
        return torch.tensor(v, dtype=torch.float64)

    q = t(case.program["q"]).requires_grad_()
    A, b = (t(case.program[k]) if k in case.program else torch.empty(0, dtype=torch.float64) for k in "Ab")
    if not len(h):
        G, h = np.zeros((1, len(q))), np.ones(1)  # it wants a row
    x = QPFunction(verbose=-1)(t(case.program["P"]), q, t(G), t(h), A, b)[0]
    out = dict(x=x.detach().numpy())
    if case.g is not None:
        (x @ t(case.g)).backward()
        out["gradient"] = q.grad.numpy()
    return out


def qpth_batch(case):
    import torch
    from qpth.qp import QPFunction

    def t(v):
        return torch.tensor(v, dtype=torch.float64)

    return dict(
        x=QPFunction(verbose=-1)(
            torch.eye(2).double(), t(case.batch), t(a([0, 0])), t(a(1)), t(a([1, 1])), t(a(1))
        ).numpy()
    )


def jaxopt_qp(case):
    import jax
    import jaxopt

    jax.config.update("jax_enable_x64", True)
    p, (G, h) = case.program, rows_of(case.program)
    solver = jaxopt.OSQP()

    def solve(q):
        kw = dict(params_obj=(p["P"], q))
        if "A" in p:
            kw["params_eq"] = (p["A"], p["b"])
        if len(h):
            kw["params_ineq"] = (G, h)
        return solver.run(**kw)

    r = solve(p["q"])
    status = int(r.state.status)
    if status != 1:
        return dict(error=f"status {status}")
    out = dict(x=np.array(r.params.primal))
    if case.g is not None:
        out["gradient"] = np.array(jax.grad(lambda q: solve(q).params.primal @ case.g)(p["q"]))
    return out


def jaxopt_batch(case):
    import jax
    import jaxopt

    jax.config.update("jax_enable_x64", True)
    return dict(
        x=np.array(
            jax.vmap(lambda q: jaxopt.OSQP().run(params_obj=(np.eye(2), q), params_eq=(a([1, 1]), a(1))).params.primal)(
                case.batch
            )
        )
    )


def diffcp_qp(case):
    """Its derivatives want a linear objective: `min t + q'x` with `|F'x|^2 <= 2 t`, `P = F F'`."""
    import diffcp
    import scipy.sparse as sp

    p, (G, h), n = case.program, rows_of(case.program), len(case.program["q"])
    if not np.array_equal(p["P"], p["P"].T):
        return dict(skip=True)
    values, vectors = np.linalg.eigh(p["P"])
    if values.min() < -1e-9 * np.abs(values).max():
        return dict(skip=True)
    F = (vectors * np.sqrt(np.maximum(values, 0))).T
    A, b = p.get("A", np.zeros((0, n))), p.get("b", np.zeros(0))

    def t(v):
        return np.full((1, 1), float(v))

    def wide(M):
        return np.hstack([M, np.zeros((len(M), 1))])

    cone = np.vstack(
        [np.hstack([np.zeros((1, n)), t(-1)]), np.hstack([np.zeros((1, n)), t(-1)]), wide(-math.sqrt(2) * F)]
    )
    cones = {k: v for k, v in (("z", len(b)), ("l", len(h)), ("q", [n + 2])) if v}
    rows, right = sp.csc_matrix(np.vstack([wide(A), wide(G), cone])), np.r_[b, h, 1.0, -1.0, np.zeros(n)]
    x, y, s, _, adjoint = diffcp.solve_and_derivative(rows, right, np.r_[p["q"], 1.0], cones)
    out = dict(x=x[:n])
    if case.g is not None:
        out["gradient"] = adjoint(np.r_[case.g, 0.0], np.zeros_like(y), np.zeros_like(s))[2][:n]
    return out


def layered_qp(case):
    """A program in CVXPY's words, q a parameter."""
    import cvxpy as cp

    p = case.program
    x, q = cp.Variable(len(p["q"])), cp.Parameter(len(p["q"]))
    rows = []
    if "A" in p:
        rows.append(p["A"] @ x == p["b"])
    if "G" in p:
        rows.append(p["G"] @ x <= p["h"])
    for bound, sign in (("ub", 1), ("lb", -1)):
        if bound in p and np.isfinite(p[bound]).any():
            k = np.isfinite(p[bound])
            rows.append(sign * x[k] <= sign * p[bound][k])
    return cp.Problem(cp.Minimize(0.5 * cp.quad_form(x, p["P"]) + q @ x), rows), q, x


def layered(case):
    import cvxpy as cp

    kind, value = case.cvxpy
    x = cp.Variable()
    p = cp.Parameter(nonneg=True)
    if kind == "barrier":
        return cp.Problem(cp.Maximize(x + p * cp.log(1 + x) + p * cp.log(1 - x))), p, x, value
    if kind == "inverse":
        return cp.Problem(cp.Minimize(x + p * cp.inv_pos(x))), p, x, value
    if kind == "quartic":
        return cp.Problem(cp.Minimize(cp.power(x, 4) - p * x)), p, x, value
    p, x = cp.Parameter((2, 2), symmetric=True), cp.Variable(2)
    return cp.Problem(cp.Minimize(cp.sum_squares(x)), [p @ x == 1]), p, x, a([1, 2], [0, 1])


def torch_layer(make):
    def run(case):
        import torch

        def t(v):
            return torch.tensor(v, dtype=torch.float64)

        if case.batch is not None:
            import cvxpy as cp

            x, q = cp.Variable(2), cp.Parameter(2)
            layer = make(cp.Problem(cp.Minimize(cp.sum_squares(x) / 2 + q @ x), [cp.sum(x) == 1]), [q], [x])
            return dict(x=layer(t(case.batch))[0].numpy())
        if case.program is not None:
            problem, q, x = layered_qp(case)
            value = t(case.program["q"]).requires_grad_()
            out = make(problem, [q], [x])(value)[0]
            found = dict(x=out.detach().numpy())
            if case.g is not None:
                (out @ t(case.g)).backward()
                found["gradient"] = value.grad.numpy()
            return found
        problem, p, x, number = layered(case)
        layer = make(problem, [p], [x])
        value = t(number).requires_grad_()
        out = layer(value)[0]
        if out.numel() > 1:
            return dict(x=out.detach().numpy())
        found = dict(x=out.item())
        out.backward()
        found["gradient"] = value.grad.item()
        if case.cvxpy[0] == "quartic":
            problem, p, x, _ = layered(case)
            used = make(problem, [p], [x])
            with contextlib.suppress(Exception):  # what it made of the first call does not matter
                used(t(1e-9))
            found["used"] = used(t(number))[0].item()
        return found

    return run


def bpqp_layer(problem, parameters, variables):
    import bpqp.torch

    layer = bpqp.torch.CvxpyLayer(problem, parameters, variables)
    return lambda *values: layer(*values)


def cvxpylayers_layer(problem, parameters, variables):
    from cvxpylayers.torch import CvxpyLayer

    return CvxpyLayer(problem, parameters, variables)


def cvxpy_forward(solver):
    def run(case):
        problem, p, x, number = layered(case)

        def solve(v):
            p.value = v
            problem.solve(solver=solver)
            if problem.status != "optimal":
                raise RuntimeError(problem.status)
            return x.value

        out = solve(number)
        if np.size(out) > 1:
            return dict(x=out)
        found = dict(x=float(out))
        if case.cvxpy[0] == "quartic":
            with contextlib.suppress(Exception):
                solve(1e-9)
            found["used"] = float(solve(number))
        return found

    return run


def choose(qp=None, batch=None, cvxpy=None):
    def run(case):
        which = batch if case.batch is not None else qp if case.program is not None else cvxpy
        return dict(skip=True) if which is None else which(case)

    return run


bpqp_all = torch_layer(bpqp_layer)
layers_all = torch_layer(cvxpylayers_layer)
LIBRARIES = {
    "bpqp": ("bpqp", choose(bpqp_qp, bpqp_batch, bpqp_all)),
    "cvxpylayers": ("cvxpylayers", choose(layers_all, layers_all, layers_all)),
    "diffcp": ("diffcp", choose(diffcp_qp)),
    "qpth": ("qpth", choose(qpth_qp, qpth_batch)),
    "jaxopt": ("jaxopt", choose(jaxopt_qp, jaxopt_batch)),
    "OSQP": ("osqp", choose(qpsolvers_qp("osqp"))),
    "Clarabel": ("clarabel", choose(qpsolvers_qp("clarabel"), None, cvxpy_forward("CLARABEL"))),
    "SCS": ("scs", choose(None, None, cvxpy_forward("SCS"))),
    "PIQP": ("piqp", choose(qpsolvers_qp("piqp"))),
    "ProxQP": ("proxsuite", choose(qpsolvers_qp("proxqp"))),
    "DAQP": ("daqp", choose(qpsolvers_qp("daqp"))),
    "quadprog": ("quadprog", choose(qpsolvers_qp("quadprog"))),
    "HiGHS": ("highspy", choose(qpsolvers_qp("highs"))),
}
