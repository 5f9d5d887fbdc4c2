"""How operations reach a compiled program: as handlers of XLA in the extension, or as callbacks into Python.

The handlers are used on the CPU, if this JAX takes them. Callbacks give the same numbers and cost some hundred
microseconds a call; they serve other platforms, other versions, and BPQP_JAX_FFI=0 in the environment.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.interpreters import mlir

from .. import _bpqp, _core
from .._verdicts import choice_of
from . import _host

TARGET = "bpqp_"
_UNTRUSTED = {"warn": 0, "raise": 1, "ignore": 2}


def _register() -> str | None:
    """Registers the handlers; says why there are none."""
    if os.environ.get("BPQP_JAX_FFI", "1") == "0":
        return "BPQP_JAX_FFI=0"
    try:
        for name, capsule in _bpqp.xla_handlers().items():
            jax.ffi.register_ffi_target(TARGET + name, capsule, platform="cpu")
    except Exception as error:  # whatever it is, there is another way
        return f"{type(error).__name__}: {error}"
    return None


#: Why callbacks are used on the CPU too; None if handlers are.
unavailable: str | None = _register()


def export_checks() -> list[Any]:
    """What `jax.export.export(f, disabled_checks=...)` needs to store a function that solves.

    JAX asks that for every compiled operation that it does not know. Who loads such a function imports `bpqp.jax`, of
    the version that stored it.
    """
    import jax.export

    return [jax.export.DisabledSafetyCheck.custom_call(TARGET + name) for name in _bpqp.xla_handlers()]


def _mask(flags: Any) -> int:
    return sum(1 << k for k, flag in enumerate(flags) if flag)


def _attributes(spec: Any, masks: dict[str, Any]) -> dict[str, Any]:
    solver, settings = _host.native(spec.solver, spec.settings)
    out: dict[str, Any] = {"solver": solver}
    for name, value in settings.items():
        if name in ("max_iter", "polish", "presolve", "threads"):
            out[name] = np.int64(value)
        elif name not in ("verbose", "on_untrusted"):
            out[name] = value if isinstance(value, str) else np.float64(value)
    numbers = {"size": spec.size, "factored": spec.factored, "policy": spec.policy, "data": _mask(spec.data_mask)}
    numbers |= {"examine": spec.examine, "untrusted": _UNTRUSTED[choice_of(settings)]}
    numbers |= {name: _mask(flags) for name, flags in masks.items()}
    return out | {name: np.int64(value) for name, value in numbers.items()}


def _in_python(spec: Any) -> bool:
    """True for a solve that needs the interpreter: a solver of qpsolvers, or a line to print."""
    return _core.by_qpsolvers(spec.solver) or bool(dict(spec.settings).get("verbose"))


def lower(primitive: Any, name: str, shapes: Any) -> None:
    """Registers how a primitive is compiled."""

    def results(spec: Any, params: Any) -> list[Any]:
        return [jax.ShapeDtypeStruct(s.shape, s.dtype) for s in shapes(spec, **params)]

    def callback(*args: Any, spec: Any, **params: Any) -> Any:
        return jax.pure_callback(partial(getattr(spec.host, name), spec=spec, **params), results(spec, params), *args)

    def handler(*args: Any, spec: Any, **params: Any) -> Any:
        if unavailable is not None or spec.host is not _host or (name == "solve" and _in_python(spec)):
            return callback(*args, spec=spec, **params)
        call = jax.ffi.ffi_call(TARGET + name, results(spec, params))
        return call(*args, **_attributes(spec, params))

    mlir.register_lowering(primitive, mlir.lower_fun(callback, multiple_results=True))
    mlir.register_lowering(primitive, mlir.lower_fun(handler, multiple_results=True), platform="cpu")
