"""A module that keeps what does not change."""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np
import torch

from .. import _bpqp, _core, _files
from .._arguments import is_sparse, refuse_products
from .._core import Factored
from .._errors import ArgumentError, DtypeError
from .._types import OnFailure, Settings, Unpack
from ._memory import Memory
from ._solve import MATRICES, collect, compiled, run, run_sparse
from ._sparse import as_scipy, kept, sparse
from ._types import Quadratic, TensorLike

NAMES = _core.NAMES


class QpLayer(torch.nn.Module):
    """A quadratic program whose fixed data are given here, once, and the others with every call.

        layer = QpLayer(P=P, G=G, h=h)
        x = layer(q=q)                  # x = layer(q=q, index=ids) starts every sample from its last solution

    Data given here are buffers (parameters where they are `torch.nn.Parameter`), so they follow `.to`, `state_dict` and
    pickling; what is computed of them is computed once and kept between calls. `settings` are those of `solve_qp`.
    """

    def __init__(
        self,
        P: Quadratic | None = None,
        q: TensorLike | None = None,
        G: TensorLike | None = None,
        h: TensorLike | None = None,
        A: TensorLike | None = None,
        b: TensorLike | None = None,
        lb: TensorLike | None = None,
        ub: TensorLike | None = None,
        *,
        solver: str = "auto",
        on_failure: OnFailure = "raise",
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__()
        _core.options(solver, settings)
        _core.policy_code(on_failure)
        self.solver, self.on_failure, self.settings = solver, on_failure, settings
        self.factored = isinstance(P, Factored)
        given = [("d", P.d), ("F", P.F)] if isinstance(P, Factored) else [("P", P)]
        given += list(zip(NAMES[1:], (q, G, h, A, b, lb, ub), strict=True))
        self.fixed = [name for name, value in given if value is not None]
        for name, value in given:
            if value is None:
                continue
            refuse_products(name, value)
            if isinstance(value, torch.nn.Parameter):
                self.register_parameter(f"data_{name}", value)
            else:
                try:
                    if isinstance(value, torch.Tensor):
                        tensor = value
                    else:
                        tensor = kept(value) if is_sparse(value) else torch.as_tensor(value)
                        tensor = tensor if tensor.is_floating_point() else tensor.to(torch.float64)
                except (TypeError, ValueError, RuntimeError) as error:
                    raise DtypeError(f"{name} is a {type(value).__name__}: pass a dense tensor") from error
                self.register_buffer(f"data_{name}", tensor)
        self._memory = Memory()
        self._forget_engines()

    def _forget_engines(self) -> None:
        self._engines: dict[Any, Any] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        for name in ("_engines", "_lock"):
            state.pop(name, None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._forget_engines()

    def __deepcopy__(self, memo: dict[int, Any]) -> QpLayer:
        import copy

        out = self.__class__.__new__(self.__class__)
        memo[id(self)] = out
        out.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        return out

    def extra_repr(self) -> str:
        return f"fixed=[{', '.join(self.fixed)}], solver={self.solver!r}, on_failure={self.on_failure!r}"

    def forget(self) -> None:
        """Forgets the warm starts."""
        self._memory.clear()

    def write_json(self, path: str | os.PathLike[str], **data: Any) -> None:
        """Writes the program of this layer as `bpqp.write_json` does, to be solved without Python.

        `data` are those that a call would give, unbatched; `q` is zero where it is missing, and whoever reads the file
        replaces it (in Rust `qp.with_q(..)`). Learned data are written as they are now.

        Raises:
            ArgumentError: data given twice, or what `bpqp.write_json` refuses.
        """
        values: dict[str, Any] = {}
        for name in self.fixed:
            tensor = getattr(self, f"data_{name}").detach().cpu()
            values[name] = as_scipy(tensor) if sparse(tensor) else tensor.numpy()
        if self.factored:
            values["P"] = Factored(values.pop("d"), values.pop("F"))
        for name, value in data.items():
            if name not in NAMES or name in values:
                raise ArgumentError(f"{name} is no argument that this layer lacks: it has {', '.join(values)}")
            values[name] = value.numpy(force=True) if isinstance(value, torch.Tensor) else value
        if "q" not in values:
            of_all = [values["P"].d if self.factored else v for name, v in values.items() if name not in ("h", "b")]
            values["q"] = np.zeros(max((np.shape(v)[-1] for v in of_all if np.ndim(v)), default=0))
        _files.write_json(path, **values)

    def _engine(self, dtype: torch.dtype) -> Any:
        with self._lock:
            if dtype not in self._engines:
                wide = np.dtype(np.float32 if dtype == torch.float32 else np.float64)
                theirs = _core.by_qpsolvers(self.solver)
                self._engines[dtype] = _core.engine("auto" if theirs else self.solver, self.settings, wide)
            return self._engines[dtype]

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _sparse(self, values: Any, index: Any, full: bool) -> Any:
        data = collect(**values)
        names = None if index is None else Memory.names(index, data.batch or 1)
        warm = None if names is None else self._memory.start(names)
        out, call = run_sparse(data, self.solver, self.on_failure, self.settings, warm, full)
        if names is not None and call.solved is not None:
            self._memory.keep(names, call.solved)
        return out

    def forward(
        self,
        P: Quadratic | None = None,
        q: TensorLike | None = None,
        G: TensorLike | None = None,
        h: TensorLike | None = None,
        A: TensorLike | None = None,
        b: TensorLike | None = None,
        lb: TensorLike | None = None,
        ub: TensorLike | None = None,
        *,
        index: TensorLike | None = None,
        full: bool = False,
    ) -> Any:
        """Solves with the data of the layer and those given here, by keyword.

        `index` names the samples of the batch, one integer for each: the solution of each is remembered and is where
        its next solve starts. Returns `x`, or with `full` a `Solution`.

        Raises:
            ArgumentError: data given twice, `q` given nowhere, or an index of another length than the batch.
            DtypeError, SolveError, UnsupportedError: as `solve_qp`.
        """
        values = dict(zip(NAMES, (P, q, G, h, A, b, lb, ub), strict=True))
        for name, value in values.items():
            own = ("d", "F") if name == "P" and self.factored else (name,)
            if own[0] not in self.fixed:
                continue
            if value is not None:
                raise ArgumentError(f"{name} was given to the layer at construction: give it in one place only")
            held = [getattr(self, f"data_{part}") for part in own]
            values[name] = Factored(*held) if self.factored and name == "P" else held[0]
        if values["q"] is None:
            raise ArgumentError("q is missing: give it at construction or with the call")
        if any(sparse(values[name]) for name in MATRICES):
            return self._sparse(values, index, full)
        slots, factored, batch, _ = collect(**values)
        if torch.compiler.is_compiling() and index is None and self.solver in _bpqp.SOLVERS:
            return compiled(slots, factored, batch, self.solver, self.on_failure, self.settings, full)
        engine = self._engine(slots[2].dtype)
        names = None if index is None else Memory.names(index, batch or 1)
        warm = None if names is None else self._memory.start(names)
        out, call = run(
            slots,
            factored,
            batch,
            engine=engine,
            solver=self.solver,
            settings=self.settings,
            on_failure=self.on_failure,
            warm=warm,
            full=full,
        )
        if names is not None and call.solved is not None:
            self._memory.keep(names, call.solved)
        return out
