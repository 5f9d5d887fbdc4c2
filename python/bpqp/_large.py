"""Large programs: matrices given as products, a solution that differentiates by products. The mathematics is in the
extension module, and in docs/large.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from . import _bpqp
from ._arguments import NAMES, OUTPUTS, Factored, as_array, is_sparse, names_of, numbers_of
from ._arguments import _as_csc as as_csc
from ._cotangents import cotangents_of, doubles_like
from ._engines import OURS, SETTINGS, policy_code
from ._errors import ArgumentError, DtypeError, SolveError, UnsupportedError
from ._results import Active, Diagnostics, Gradients, Info, Tangents
from ._types import Array, Matrix, Names, Quadratic, Vector
from ._verdicts import check_choice, choice_of, names, verdict_of

_LEAST = 2.4e-7
_MATRICES = ("P", "G", "A")


class Products(Protocol):
    """What has a shape and products: an `Operator`, a `scipy.sparse.linalg.LinearOperator`."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def matvec(self) -> Callable[..., Any]: ...
    @property
    def rmatvec(self) -> Callable[..., Any] | None: ...


class Operator:
    """A matrix as products only, for P, A and G of large problems.

    `matvec(x)` is the product with a vector of shape (n,), `rmatvec(y)` that of the transpose; both return vectors. P
    is symmetric and needs no `rmatvec`. The functions must be linear: the same product for the same vector, every time.

    Args:
        shape: (m, n).
        matvec, rmatvec: functions of one array of float64.
    """

    __slots__ = ("matvec", "rmatvec", "shape")

    def __init__(
        self,
        shape: tuple[int, int],
        matvec: Callable[[Array], Any],
        rmatvec: Callable[[Array], Any] | None = None,
    ) -> None:
        try:
            rows, cols = (int(size) for size in shape)
        except (TypeError, ValueError):
            raise ArgumentError(f"shape = {shape!r}: an operator has two sizes, rows and columns") from None
        if rows < 0 or cols < 0:
            raise ArgumentError(f"shape = {shape!r}: sizes are not negative")
        for name, function in (("matvec", matvec), ("rmatvec", rmatvec)):
            if not callable(function) and not (name == "rmatvec" and function is None):
                raise DtypeError(f"{name} is a {type(function).__name__}: pass a function of a vector")
        self.shape, self.matvec, self.rmatvec = (rows, cols), matvec, rmatvec

    def __repr__(self) -> str:
        return f"Operator(shape={self.shape})"


class LowRank:
    """The matrix `left @ right.T` of a few terms: the gradient with respect to a matrix that is an operator.

    `left` has the shape (m, k), `right` (n, k).
    """

    __slots__ = ("left", "right")

    def __init__(self, left: Array, right: Array) -> None:
        self.left, self.right = left, right

    @property
    def shape(self) -> tuple[int, int]:
        """That of the matrix."""
        return self.left.shape[0], self.right.shape[0]

    def matvec(self, x: Array) -> Array:
        """The product with a vector."""
        out: Array = self.left @ (self.right.T @ x)
        return out

    def rmatvec(self, y: Array) -> Array:
        """The product of the transpose with a vector."""
        out: Array = self.right @ (self.left.T @ y)
        return out

    def at(self, rows: Any, cols: Any) -> Array:
        """The entries at these rows and columns."""
        out: Array = (self.left[rows] * self.right[cols]).sum(-1)
        return out

    def toarray(self) -> Array:
        """All entries, m times n of them."""
        out: Array = self.left @ self.right.T
        return out

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise UnsupportedError(
            f"this gradient of shape {self.shape} is a LowRank: use .left, .right, .matvec or .at, or .toarray() for"
            " all of its entries"
        )

    def __repr__(self) -> str:
        return f"LowRank(shape={self.shape}, terms={self.left.shape[1]})"


def is_products(value: Any) -> bool:
    """True for what is known by its products only."""
    if isinstance(value, Operator):
        return True
    if value is None or isinstance(value, (np.ndarray, Factored)) or is_sparse(value):
        return False
    return hasattr(value, "matvec") and hasattr(value, "shape")


def _checked(name: str, function: Callable[[Array], Any], kind: str, size: int) -> Callable[[Array], Array]:
    """A function whose results are vectors of this size, or an error that names the argument."""

    def product(v: Array) -> Array:
        made = numbers_of(f"{name}.{kind}(..)", function(v))
        if made.dtype.kind not in "iuf":
            raise DtypeError(f"{name}.{kind}(..) has dtype {made.dtype}: return float64 or float32")
        if made.shape != (size,):
            raise ArgumentError(f"{name}.{kind}(..) has shape {made.shape}, expected ({size},)")
        return np.ascontiguousarray(made, dtype=np.float64)

    return product


def _products(name: str, value: Any) -> tuple[Any, ...]:
    shape = tuple(value.shape)
    if len(shape) != 2:
        raise ArgumentError(f"{name} has shape {shape}: an operator has two sizes, rows and columns")
    rows, cols = int(shape[0]), int(shape[1])
    dtype = getattr(value, "dtype", None)
    if dtype is not None and np.dtype(dtype).kind not in "iuf":
        raise DtypeError(f"{name} has dtype {dtype}: products are of float64 or float32")
    forward = _checked(name, value.matvec, "matvec", rows)
    if name == "P":
        return forward, forward, (rows, cols)
    if getattr(value, "rmatvec", None) is None:
        raise ArgumentError(f"{name} is an Operator without rmatvec: pass the product of its transpose too")
    return forward, _checked(name, value.rmatvec, "rmatvec", cols), (rows, cols)


class _Program:
    """The arguments as the extension takes them, and what gives gradients the form of the data."""

    def __init__(self, raw: tuple[Any, ...]) -> None:
        if raw[1] is None:
            raise ArgumentError("q is None: a problem needs its linear term; pass zeros for none")
        self.dtype = np.dtype(np.float32 if getattr(raw[1], "dtype", None) == np.float32 else np.float64)
        self.raw = raw
        q = self._vector("q", raw[1], None)
        self.data: list[Any] = [None, q, None, None, None, None, None, None]
        self.forms: list[Any] = [None] * 8
        self.scalars = [False] * 8
        for k in (0, 2, 4):
            if raw[k] is not None:
                self.data[k], self.forms[k] = self._matrix(NAMES[k], raw[k])
        for k in (2, 4):
            if (raw[k] is None) != (raw[k + 1] is None):
                given, missing = (NAMES[k], NAMES[k + 1]) if raw[k + 1] is None else (NAMES[k + 1], NAMES[k])
                raise ArgumentError(f"{missing} is missing: {given} was given, and the two come together")
            if raw[k] is not None:
                self._fill(k + 1, self._rows(self.data[k]))
        for k in (6, 7):
            self._fill(k, q.size)

    def _fill(self, k: int, size: int) -> None:
        if self.raw[k] is not None:
            self.scalars[k] = np.ndim(self.raw[k]) == 0
            self.data[k] = self._vector(NAMES[k], self.raw[k], size)

    @staticmethod
    def _rows(matrix: Any) -> int:
        return int(matrix[-1][0]) if isinstance(matrix, tuple) else int(matrix.shape[0])

    @staticmethod
    def _vector(name: str, value: Any, size: int | None) -> Array:
        if is_sparse(value):
            raise DtypeError(f"{name} is a sparse matrix: pass a dense vector")
        array = as_array(name, value, 0 if size is not None else 1)
        if array.ndim == 0 and size is not None:
            return np.full(size, array)
        if array.ndim != 1:
            raise UnsupportedError(f"{name} has shape {array.shape}: a program with operators has no batch dimension")
        return array

    @staticmethod
    def _matrix(name: str, value: Any) -> tuple[Any, Any]:
        """As the extension takes it, and the form of its gradient."""
        if is_products(value):
            return _products(name, value), None
        if isinstance(value, Factored):
            if name != "P":
                raise ArgumentError(f"{name} is Factored: only P may be")
            d, F = as_array("P.d", value.d, 1), as_array("P.F", value.F, 2)
            _refuse(name, np.concatenate([d, F.ravel()]))
            return (d, F), Factored
        if is_sparse(value):
            pattern, template = as_csc(name, value)
            _refuse(name, pattern[2])
            return pattern, template
        array = as_array(name, value, 1 if np.ndim(value) == 1 else 2)
        if array.ndim == 3:
            raise UnsupportedError(f"{name} has shape {array.shape}: a program with operators has no batch dimension")
        _refuse(name, array)
        return (array[None] if array.ndim == 1 else array), "row" if array.ndim == 1 else np.ndarray

    def matrix_gradient(self, k: int, found: LowRank) -> Any:
        form, data = self.forms[k], self.data[k]
        if form is None:
            return found
        if form is Factored:
            F = data[1]
            return Factored(found.at(slice(None), slice(None)), found.matvec(F) + found.rmatvec(F))
        if form is np.ndarray:
            return found.toarray()
        if form == "row":
            return found.toarray()[0]
        from scipy import sparse

        indptr, indices, _, shape = data
        cols = np.repeat(np.arange(shape[1]), np.diff(indptr))
        matrix = sparse.csc_matrix((found.at(indices, cols), indices, indptr), shape=shape)
        return form(matrix)


def _refuse(name: str, values: Array) -> None:
    finite = np.isfinite(values)
    if not finite.all():
        at = tuple(int(i) for i in np.argwhere(~finite)[0])
        raise ArgumentError(f"{name} has an entry that is {values[at]}: every entry must be finite")


class LargeSolution:
    """The solution of a program with operators: `x`, multipliers `y` (of `A x = b`), `z` (of `G x <= h`), `z_box` (of
    the bounds, positive at the upper one), `objective`, `status`, `ok`, `verdict`, `info`, `products`."""

    OUTPUTS = OUTPUTS
    x: Array
    y: Array
    z: Array
    z_box: Array
    objective: float

    def __init__(
        self, program: _Program, solved: _bpqp.Large, on_failure: str, settings: Mapping[str, Any] | None = None
    ) -> None:
        self._program, self._solved = program, solved
        self._policy, self._on_untrusted = policy_code(on_failure), choice_of(settings)
        *values, objective = solved.outputs()
        if not solved.ok and self._policy == 1:
            values, objective = [np.full_like(v, np.nan) for v in values], float("nan")
        self.x, self.y, self.z, self.z_box = (v.astype(program.dtype, copy=False) for v in values)
        self.objective = objective
        if not solved.ok and self._policy == 0:
            tail = "" if self.info.certificate is None else "; the proof is in .solution.info.certificate"
            raise SolveError(f"the program was not solved: status {self.status}{tail}", [(0, self.status)], self)

    @property
    def status(self) -> str:
        """How the solve ended."""
        return self._solved.status

    @property
    def ok(self) -> bool:
        """True if there is a solution that may be used."""
        return self._solved.ok

    @property
    def verdict(self) -> str:
        """How far derivatives may be trusted: "approximate" at best, they are solved for to a tolerance.

        The system of the active set is solved for a random vector, which takes about as long as a gradient and shows
        whether the solution is the only one.
        """
        return str(names(self._solved.verdict()))

    @property
    def products(self) -> int:
        """Products with the matrices of the forward pass."""
        return self._solved.effort()[1]

    @property
    def info(self) -> Info:
        """How it was found; iterations are Newton steps."""
        steps, _, seconds = self._solved.effort()
        return Info("multipliers", steps, seconds, self._solved.certificate())

    def diagnostics(self) -> Diagnostics:
        """What may be trusted, in numbers. The condition of the backward system is not known."""
        rows, weak_rows, weak = self._solved.active()
        lb, ub = self._program.data[6], self._program.data[7]
        x, z = self._solved.outputs()[0], self.z_box
        low = np.zeros(x.size, bool) if lb is None else (x == lb) & (z <= 0)
        high = np.zeros(x.size, bool) if ub is None else (x == ub) & (z >= 0)
        near = [np.full(x.size, np.inf) if v is None else np.abs(x - v) for v in (lb, ub)]
        weakly = Active(weak_rows, weak & (near[0] <= near[1]), weak & (near[0] > near[1]))
        found: dict[str, Any] = dict(self._solved.residuals())
        nan = float("nan")
        return Diagnostics(Active(rows, low, high), weakly, found, nan, nan, 0.0, self.verdict)

    def _differentiable(self) -> bool:
        if not self.ok and self._policy == 0:
            raise SolveError(f"there is no solution to differentiate: status {self.status}", [(0, self.status)], self)
        return self.ok

    def vjp(
        self,
        x: Vector | None = None,
        y: Vector | None = None,
        z: Vector | None = None,
        z_box: Vector | None = None,
        objective: Vector | None = None,
        wrt: Names | None = None,
    ) -> Gradients:
        """Gradients of a loss from its derivatives with respect to the outputs, as `Solution.vjp`.

        The gradient of a matrix that is an operator is a `LowRank`; those of arrays and sparse matrices have their
        form.

        Raises:
            ArgumentError: no cotangent, one of another shape than its output, or a name in `wrt` that does not exist.
            GradientError: the gradient is in doubt, and `on_untrusted` is "raise".
            SolveError: there is no solution to differentiate, and `on_failure` is "raise".
        """
        names_of_outputs = (*OUTPUTS, "objective")
        given = dict(zip(names_of_outputs, (x, y, z, z_box, objective), strict=True))
        rows = tuple(None if v is None else v.reshape(-1) for v in cotangents_of(self, names_of_outputs, given))
        wanted = NAMES if wrt is None else names_of(wrt, NAMES)
        if not self._differentiable():
            # what does not matter to the loss has no gradient, whatever the policy is
            matters = any(v is not None and v.any() for v in rows)
            return self._without(wanted, np.nan if self._policy == 1 and matters else 0.0)
        blocks, _, code = self._solved.vjp(rows)
        return self._gathered(blocks, wanted, code)

    def _gathered(self, blocks: tuple[Any, ...], wanted: Any, code: int) -> Gradients:
        out: list[Any] = [None] * 8
        for k, (name, block) in enumerate(zip(NAMES, blocks, strict=True)):
            if name not in wanted or self._program.data[k] is None:
                continue
            if name in _MATRICES:
                left, right = (np.ascontiguousarray(part.T) for part in block)
                out[k] = self._program.matrix_gradient(k, LowRank(left, right))
            else:
                value = block.astype(self._program.dtype, copy=False)
                out[k] = value.sum() if self._program.scalars[k] else value
        verdict = verdict_of(np.array([code], np.uint8), self._on_untrusted, False)
        P, q, G, h, A, b, lb, ub = out
        return Gradients(P, q, G, h, A, b, lb, ub, verdict)

    def _without(self, wanted: Any, value: float) -> Gradients:
        """What stands for gradients where there is no solution."""
        blocks: list[Any] = []
        for k, name in enumerate(NAMES):
            if name in _MATRICES:
                rows = (self.x.size, 0, self.z.size, 0, self.y.size)[k]
                blocks.append((np.full((1, rows), value), np.full((1, self.x.size), value)))
            else:
                size = (0, self.x.size, 0, self.z.size, 0, self.y.size, self.x.size, self.x.size)[k]
                blocks.append(np.full(size, value))
        return self._gathered(tuple(blocks), wanted, 0)

    def jvp(
        self,
        P: Quadratic | Products | None = None,
        q: Vector | None = None,
        G: Matrix | Products | None = None,
        h: Vector | None = None,
        A: Matrix | Products | None = None,
        b: Vector | None = None,
        lb: Vector | None = None,
        ub: Vector | None = None,
        *,
        one_sided: bool = False,
    ) -> Tangents:
        """The change of the outputs along a direction of the data; those of matrices may be operators.

        Raises:
            ArgumentError: no direction, one of another shape than its argument, or of an argument that is absent.
        """
        if one_sided:
            raise UnsupportedError("one_sided=True: derivatives of a program with operators are two-sided")
        given = (P, q, G, h, A, b, lb, ub)
        if all(v is None for v in given):
            raise ArgumentError("no tangent was given: pass P=, q=, G=, h=, A=, b=, lb= or ub=")
        for k, value in enumerate(given):
            if value is not None and self._program.data[k] is None:
                raise ArgumentError(f"a tangent of {NAMES[k]} was given, but {NAMES[k]} is absent")
        if not self._differentiable():
            value = np.nan if self._policy == 1 else 0.0
            x, y, z, z_box = (np.full_like(v, value) for v in (self.x, self.y, self.z, self.z_box))
            return Tangents(x, y, z, z_box, value, "untrusted")
        rows = {NAMES[k]: self._along(k, given[k]) for k in (1, 3, 5, 6, 7)}
        # what a direction of a matrix does to the conditions is one of the vectors
        x, y, z = (np.asarray(v, np.float64) for v in (self.x, self.y, self.z))
        twice = 0.0
        if P is not None:
            px = _moved("P", P, (x.size, x.size))[0](x)
            rows["q"] = rows["q"] + px
            twice += 0.5 * float(x @ px)
        for name, M, vector, multiplier in (("A", A, "b", y), ("G", G, "h", z)):
            if M is not None:
                forward, backward = _moved(name, M, (multiplier.size, x.size))
                mx = forward(x)
                rows["q"] = rows["q"] + backward(multiplier)
                rows[vector] = rows[vector] - mx
                twice += float(multiplier @ mx)
        moved, objective, code = self._solved.jvp(tuple(rows[name] for name in ("q", "b", "h", "lb", "ub")))
        verdict = verdict_of(np.array([code], np.uint8), self._on_untrusted, False)
        dx, dy, dz, dz_box = (v.astype(self._program.dtype, copy=False) for v in moved)
        return Tangents(dx, dy, dz, dz_box, objective - twice, verdict)

    def _along(self, k: int, value: Any) -> Array:
        size = 0 if self._program.data[k] is None else self._program.data[k].size
        if value is None:
            return np.zeros(size)
        what = f"the tangent of {NAMES[k]}"
        number = self._program.scalars[k] and np.ndim(value) == 0
        array = doubles_like(what, value, () if number else (size,))
        return np.full(size, array) if number else array

    def __reduce__(self) -> Any:
        raise UnsupportedError("a solution of a program with operators cannot be pickled: its functions cannot")

    def __repr__(self) -> str:
        return f"LargeSolution(status={self.status!r})"

    def __str__(self) -> str:
        rows, weak_rows, weak = self._solved.active()
        residuals = ", ".join(f"{name} {value:.1e}" for name, value in self._solved.residuals())
        held = int(np.count_nonzero(self.z_box))
        return "\n".join(
            (
                f"status     {self.status}",
                f"objective  {self.objective:.10g}",
                f"residuals  {residuals}",
                f"active     {int(rows.sum())} rows of G, {held} bounds",
                f"weakly     {int(weak_rows.sum())} rows of G, {int(weak.sum())} bounds",
                f"effort     {self.info.iterations} Newton steps, {self.products} products, {self.info.time:.3g} s",
            )
        )


def _moved(name: str, value: Any, shape: tuple[int, int]) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    """The products of a direction of a matrix."""
    own = np.shape(value) if not hasattr(value, "shape") else tuple(value.shape)
    if isinstance(value, Factored):
        raise UnsupportedError(
            f"the tangent of {name} is Factored: pass it as an array, a sparse matrix or an Operator"
        )
    if own != shape:
        raise ArgumentError(f"the tangent of {name} has shape {own}, but {name} has {shape}")
    if is_products(value):
        forward, backward, _ = _products(name, value)
        return forward, backward
    matrix = value if is_sparse(value) else as_array(f"tangent of {name}", value, 2)
    if name == "P":
        return (lambda v: 0.5 * (matrix @ v + matrix.T @ v)), (lambda v: matrix.T @ v)
    return (lambda v: matrix @ v), (lambda v: matrix.T @ v)


def _options(solver: Any, warm_start: Any, settings: Mapping[str, Any], single: bool) -> dict[str, Any]:
    if solver != "auto":
        raise UnsupportedError(f"solver = {solver!r}: a program with operators has one solver, 'auto'")
    if warm_start is not None:
        raise UnsupportedError("warm_start: a program with operators starts from zero")
    for name, value in settings.items():
        if name not in SETTINGS:
            raise ArgumentError(f"there is no setting {name!r}: choose from {', '.join(SETTINGS)}")
        refused = {"backward": "direct", "infeasible": "closest"}.get(name) == value and value is not None
        if refused or (name in ("smoothing",) and value is not None):
            raise UnsupportedError(f"{name} = {value!r}: nothing is factored where matrices are operators")
    if settings.get("on_untrusted") is not None:
        check_choice(settings["on_untrusted"])
    options = {k: v for k, v in settings.items() if k not in OURS}
    if single:
        for name in ("eps_abs", "eps_rel"):
            value = options.get(name)
            options[name] = _LEAST if value is None else (max(value, _LEAST) if value > 0 else value)
    return options


def solve_large(
    raw: tuple[Any, ...], solver: Any, warm_start: Any, on_failure: str, settings: Mapping[str, Any]
) -> LargeSolution:
    """`solve_qp` where P, G or A is known by its products only."""
    program = _Program(raw)
    options = _options(solver, warm_start, settings, program.dtype == np.float32)
    solved = _bpqp.solve_large(tuple(program.data), options)
    found = LargeSolution(program, solved, on_failure, settings)
    if settings.get("verbose"):
        residuals = ", ".join(f"{name} {value:.1e}" for name, value in solved.residuals())
        steps, products, seconds = solved.effort()
        print(f"bpqp: {solved.status}; {steps} Newton steps, {products} products; {residuals}; {1e3 * seconds:.3f} ms")
    return found
