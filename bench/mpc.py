"""Nonlinear model predictive control beside CasADi: the same programs, the same derivatives, one script, one thread.

    python bench/mpc.py [cartpole|quadrotor] [steps]

A cart swings a pole up; a quadrotor flies to a point and turns. Horizon 40, multiple shooting, Runge-Kutta of order
4. All three solvers get the functions and the exact sparse derivatives that CasADi generates, and start each step
from the shifted solution of the step before with its multipliers: `bpqp.solve_nlp`, CasADi's `sqpmethod` on its QP
solver `qrqp`, Ipopt with MUMPS. Each runs its own closed loop. Milliseconds of the processor per step of the
controller (so that other work on the machine does not count), median and worst, after the first one, which is cold;
and where the loop ends.
"""

import os

for name in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"

import sys  # noqa: E402
import time  # noqa: E402
import warnings  # noqa: E402

import bpqp  # noqa: E402
import casadi as ca  # noqa: E402
import numpy as np  # noqa: E402
import scipy.sparse as sp  # noqa: E402

HORIZON = 40


def cartpole():
    """The angle is 0 upright; the force does not lift the pole at once."""
    x, u = ca.SX.sym("x", 4), ca.SX.sym("u", 1)
    _, angle, speed, turn = ca.vertsplit(x)
    cart, pole, length, gravity = 1.0, 0.2, 0.5, 9.81
    s, c = ca.sin(angle), ca.cos(angle)
    push = (u + pole * length * turn**2 * s) / (cart + pole)
    spin = (gravity * s - c * push) / (length * (4 / 3 - pole * c**2 / (cart + pole)))
    rate = ca.vertcat(speed, turn, push - pole * length * spin * c / (cart + pole), spin)
    stage = x[0] ** 2 + 5 * (1 - c) + 0.1 * speed**2 + 0.05 * turn**2 + 0.005 * u**2
    last = 20 * x[0] ** 2 + 100 * (1 - c) + 5 * speed**2 + 5 * turn**2
    box = ([-2, -np.inf, -np.inf, -np.inf], [2, np.inf, np.inf, np.inf]), ([-12], [12])
    return x, u, rate, stage, last, box, 0.05, np.array([0, np.pi, 0, 0]), np.zeros(4), [0.0]


def quadrotor():
    """Position, roll, pitch, yaw, speeds, rates; four thrusts as parts of the weight."""
    x, u = ca.SX.sym("x", 12), ca.SX.sym("u", 4)
    roll, pitch, yaw = x[3], x[4], x[5]
    p, q, r = x[9], x[10], x[11]
    cr, sr, cp, sp_, cy, sy = ca.cos(roll), ca.sin(roll), ca.cos(pitch), ca.sin(pitch), ca.cos(yaw), ca.sin(yaw)
    lift = 9.81 * ca.sum1(u)
    force = ca.vertcat(cr * sp_ * cy + sr * sy, cr * sp_ * sy - sr * cy, cr * cp) * lift - ca.vertcat(0, 0, 9.81)
    turn = ca.vertcat(p + (q * sr + r * cr) * ca.tan(pitch), q * cr - r * sr, (q * sr + r * cr) / cp)
    torque = 9.81 * ca.vertcat(6 * (u[1] - u[3]), 6 * (u[2] - u[0]), 1.5 * (u[0] - u[1] + u[2] - u[3]))
    rate = ca.vertcat(x[6:9], turn, force, torque - ca.vertcat(0.6 * q * r, -0.6 * p * r, 0))
    goal = ca.DM([1.5, 1.0, 1.0, 0, 0, np.pi / 2, 0, 0, 0, 0, 0, 0])
    w = ca.DM([2, 2, 2, 0.2, 0.2, 1, 0.3, 0.3, 0.3, 0.1, 0.1, 0.1])
    stage = ca.sumsqr(ca.sqrt(w) * (x - goal)) + 0.5 * ca.sumsqr(u - 0.25)
    far = np.inf
    low = [-far, -far, 0, -1, -1, -far, *[-2.0] * 3, *[-4.0] * 3]
    high = [far, far, far, 1, 1, far, *[2.0] * 3, *[4.0] * 3]
    return (
        x,
        u,
        rate,
        stage,
        20 * stage,
        ((low, high), ([0.05] * 4, [0.45] * 4)),
        0.05,
        np.zeros(12),
        goal.full().ravel(),
        [0.25] * 4,
    )


class Program:
    """The program of the controller: variables u_0, x_1, u_1, x_2, .., and the state at the start as a parameter."""

    def __init__(self, x, u, rate, stage, last, box, dt, start, goal, rest):
        nx, nu = x.numel(), u.numel()
        f = ca.Function("f", [x, u], [rate])
        k1 = f(x, u)
        k2 = f(x + dt / 2 * k1, u)
        k3 = f(x + dt / 2 * k2, u)
        k4 = f(x + dt * k3, u)
        self.step = ca.Function("step", [x, u], [x + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)])
        cost = ca.Function("cost", [x, u], [stage])
        end = ca.Function("end", [x, u], [last])
        v, s = ca.SX.sym("v", HORIZON * (nx + nu)), ca.SX.sym("s", nx)
        total, rows, here = 0, [], s
        for k in range(HORIZON):
            at = k * (nx + nu)
            control, there = v[at : at + nu], v[at + nu : at + nu + nx]
            total += cost(here, control)
            rows.append(self.step(here, control) - there)
            here = there
        total += end(here, ca.DM(rest))
        rows = ca.vertcat(*rows)
        y = ca.SX.sym("y", rows.numel())
        lagrangian = total + ca.dot(y, rows)
        self.nlp = {"x": v, "p": s, "f": total, "g": rows}
        self.values = ca.Function("values", [v, s], [total, ca.densify(rows)])
        slopes = [ca.densify(ca.gradient(total, v)), ca.jacobian(rows, v)]
        self.jacobian = ca.Function("jacobian", [v, s], slopes)
        self.hessian = ca.Function("hessian", [v, s, y], [ca.hessian(lagrangian, v)[0]])
        self.lb = np.tile(np.concatenate([box[1][0], box[0][0]]), HORIZON).astype(float)
        self.ub = np.tile(np.concatenate([box[1][1], box[0][1]]), HORIZON).astype(float)
        self.nx, self.nu, self.start, self.goal = nx, nu, np.asarray(start, float), goal
        # from the start to the goal on a line
        line = [np.concatenate([rest, self.start + (k + 1) / HORIZON * (goal - self.start)]) for k in range(HORIZON)]
        self.guess = np.concatenate(line)

    def shifted(self, v, y):
        """The solution a step later, its end repeated."""
        w = self.nx + self.nu
        return np.concatenate([v[w:], v[-w:]]), np.concatenate([y[self.nx :], y[-self.nx :]])


def compiled(function):
    """A function of CasADi on buffers, without its conversions; the last answer is kept."""
    buffer, run = function.buffer()
    inputs = [np.zeros(function.numel_in(k)) for k in range(function.n_in())]
    outputs = [np.zeros(function.nnz_out(k)) for k in range(function.n_out())]
    for k, array in enumerate(inputs):
        buffer.set_arg(k, memoryview(array))
    for k, array in enumerate(outputs):
        buffer.set_res(k, memoryview(array))
    known = [False]

    def call(*arguments):
        same = known[0] and all(np.array_equal(a, b) for a, b in zip(inputs, arguments, strict=True))
        if not same:
            for array, value in zip(inputs, arguments, strict=True):
                array[:] = value
            run()
            known[0] = True
        return outputs

    call.buffer = buffer  # which lives as long as its calls
    return call


def matrix(function, at):
    """A matrix of scipy.sparse on the pattern of CasADi's, for its numbers."""
    pattern = function.sparsity_out(at)
    made = sp.csc_matrix(
        (np.zeros(pattern.nnz()), np.array(pattern.row()), np.array(pattern.colind())), shape=pattern.shape
    )

    def fill(numbers):
        made.data[:] = numbers
        return made

    return fill


def ours(program):
    fill_jacobian, fill_hessian = matrix(program.jacobian, 1), matrix(program.hessian, 0)
    values, jacobian, hessian = map(compiled, (program.values, program.jacobian, program.hessian))
    derivatives = bpqp.Derivatives(
        gradient=lambda v, s: jacobian(v, s)[0].copy(),
        jacobian_c=lambda v, s: fill_jacobian(jacobian(v, s)[1]),
        hessian=lambda v, y, z, s: fill_hessian(hessian(v, s, y)[0]),
    )
    nonlinear = bpqp.Nonlinear(
        f=lambda v, s: values(v, s)[0][0],
        c=lambda v, s: values(v, s)[1].copy(),
        lb=program.lb,
        ub=program.ub,
        derivatives=derivatives,
    )

    def solve(state, v, y):
        found = bpqp.solve_nlp(nonlinear, [state.copy()], v, y=y, on_failure="zero_grad", eps_abs=1e-6, eps_rel=1e-6)
        return found.x, found.y, found.ok, found.iterations

    return solve


def theirs(program, name):
    options = {
        "ipopt": {
            "ipopt": {"print_level": 0, "sb": "yes", "tol": 1e-6, "warm_start_init_point": "yes", "mu_init": 1e-4}
        },
        "sqpmethod": {
            "qpsol": "qrqp",
            "print_header": False,
            "print_iteration": False,
            "print_status": False,
            "convexify_strategy": "regularize",
            "qpsol_options": {"print_iter": False, "print_header": False, "print_info": False, "error_on_fail": False},
        },
    }[name]
    solver = ca.nlpsol("solver", name, program.nlp, {"print_time": False, "error_on_fail": False, **options})

    def solve(state, v, y):
        start = {} if y is None else {"lam_g0": y}
        r = solver(x0=v, p=state, lbx=program.lb, ubx=program.ub, lbg=0, ubg=0, **start)
        stats = solver.stats()
        return np.array(r["x"]).ravel(), np.array(r["lam_g"]).ravel(), stats["success"], stats["iter_count"]

    return solve


def closed_loop(program, solve, steps):
    state, v, y = program.start, program.guess, None
    times, counts, failures = [], [], 0
    for k in range(steps):
        # the world is not the model
        state = state + 0.002 * np.sin(np.arange(program.nx) + 3 * k)
        begin = time.process_time()
        v, y, ok, count = solve(state, v, y)
        times.append(1e3 * (time.process_time() - begin))
        counts.append(count)
        failures += not ok
        state = np.array(program.step(state, v[: program.nu])).ravel()
        v, y = program.shifted(v, y)
    return times, counts, failures, np.abs(state - program.goal).max()


def main():
    warnings.filterwarnings("ignore")
    problems = {"cartpole": cartpole, "quadrotor": quadrotor}
    names = [a for a in sys.argv[1:] if a in problems] or list(problems)
    steps = next((int(a) for a in sys.argv[1:] if a.isdigit()), 100)
    print("problem | solver | first ms | median ms | worst ms | iterations | failures | distance at the end")
    for name in names:
        program = Program(*problems[name]())
        for solver, solve in (
            ("bpqp", ours(program)),
            ("casadi sqpmethod", theirs(program, "sqpmethod")),
            ("casadi ipopt", theirs(program, "ipopt")),
        ):
            times, counts, failures, off = closed_loop(program, solve, steps)
            median, worst = np.median(times[1:]), max(times[1:])
            mean = np.mean(counts[1:])
            milliseconds = f"{times[0]:.1f} | {median:.2f} | {worst:.1f}"
            print(f"{name} | {solver} | {milliseconds} | {mean:.1f} | {failures} | {off:.1e}", flush=True)


if __name__ == "__main__":
    main()
