"""How a solve ended: an error that lists the failures, a line that sums it up."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from . import _bpqp
from ._errors import SolveError
from ._results import ConicActive, Diagnostics

# entries named in a line
_LISTED = 8


def raise_failures(solved: _bpqp.Solved | _bpqp.ConicSolved, solution: Any = None) -> None:
    """A SolveError that lists the elements without a solution, if there are any."""
    text = solved.failures()
    if text is None:
        return
    failures = [(k, status) for k, (status, ok) in enumerate(zip(solved.status(), solved.ok(), strict=True)) if not ok]
    raise SolveError(text, failures, solution)


def diagnosed(sol: Any, active: Any, weakly_active: Any) -> Diagnostics:
    """What the extension knows of a solution, with what is active."""
    s, one = sol._solved, sol._batch is None

    def pick(v: Any) -> Any:
        return v[0] if one else v

    def picked(found: Any) -> Any:
        return type(found)(*(pick(getattr(found, field.name)) for field in fields(found)))

    verdicts = s.examine()
    condition, regularization = (np.array([v[k] for v in verdicts]) for k in (1, 2))
    names = [v[0] for v in verdicts]
    return Diagnostics(
        picked(active),
        picked(weakly_active),
        {k: pick(v) for k, v in s.residuals().items()},
        pick(condition),
        pick(regularization),
        pick(s.moved()),
        names[0] if one else np.array(names),
    )


def described(sol: Any) -> list[tuple[str, str]]:
    """What there is to say of a solution: status, objective, residuals, active rows; counts and worst of a batch."""
    s, active = sol._solved, sol.diagnostics().active
    residuals = ", ".join(f"{name} {np.max(value):.1e}" for name, value in s.residuals().items())
    first = ("rows", active.rows) if isinstance(active, ConicActive) else ("G", active.G)
    rows = [first, ("lb", active.lb), ("ub", active.ub)]
    if sol._batch is None:
        status = f"{sol.status} ({s.solver()[0]}, {s.iterations()[0]} iterations)"
        found = [(name, np.flatnonzero(mask)) for name, mask in rows]
        held = "; ".join(f"{name} {_some(index)}" for name, index in found if len(index)) or "none"
        objective = f"{sol.objective:.10g}"
    else:
        names = s.status()
        status = ", ".join(f"{names.count(name)} {name}" for name in dict.fromkeys(names))
        counts = [(name, mask.sum(-1)) for name, mask in rows]
        held = "; ".join(f"{name} {_span(count)}" for name, count in counts if count.any()) or "none"
        ok = sol.objective[sol.ok]
        objective = f"{ok.min():.10g} to {ok.max():.10g}" if ok.size else "nan"
    return [("status", status), ("objective", objective), ("residuals", residuals), ("active rows", held)]


def describe(sol: Any) -> str:
    """The same in some lines."""
    return "\n".join(f"{name:12} {text}" for name, text in described(sol))


def _some(index: Any) -> str:
    shown = ", ".join(map(str, index[:_LISTED]))
    return f"[{shown}]" if len(index) <= _LISTED else f"[{shown}, and {len(index) - _LISTED} more]"


def _span(count: Any) -> str:
    return f"{count.min()}" if count.min() == count.max() else f"{count.min()} to {count.max()}"


def report(solved: _bpqp.Solved | _bpqp.ConicSolved) -> None:
    """Prints one line on a solve: how many problems ended how, solver, iterations, worst residuals, time."""
    status, steps, residuals = solved.status(), solved.iterations(), solved.residuals()
    ends = ", ".join(f"{status.count(name)} {name}" if len(status) > 1 else name for name in sorted(set(status)))
    solvers = " and ".join(sorted(set(solved.solver())))
    count = f"{min(steps)}-{max(steps)}" if min(steps) < max(steps) else f"{steps[0]}"
    worst = ", ".join(f"{name} {np.max(residuals[name]):.1e}" for name in ("primal", "dual", "gap"))
    print(f"bpqp: {ends}; {solvers}, {count} iterations; {worst}; {1e3 * float(np.sum(solved.time())):.3f} ms")
