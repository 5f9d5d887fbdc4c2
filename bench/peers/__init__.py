"""Peers by name. A module is loaded only in the process of its peer, so what is not installed costs nothing."""

import importlib

REGISTRY = {
    "ours": ["bpqp", "bpqp-torch"],
    "recipe": ["daqp+", "proxqp+", "piqp+", "clarabel+"],
    "osqp_twice": ["osqp-twice", "osqp-twice-polished"],
    "qpth_peer": ["qpth"],
    "moreau_peer": ["moreau"],
}
LAYERS = ["bpqp-cvxpy", "bpqp-qplayer", "cvxpylayers-scs", "cvxpylayers-clarabel", "cvxpylayers-moreau"]
SOLVERS = ["bpqp", "piqp", "clarabel", "proxqp", "daqp", "osqp", "highs"]
# both passes over a collection; of linear programs also HiGHS
BOTH = ["bpqp", "piqp+", "clarabel+"]
NAMES = [name for names in REGISTRY.values() for name in names]


def get(name):
    module = next((module for module, names in REGISTRY.items() if name in names), "recipe")
    return next(c for c in importlib.import_module(f"peers.{module}").PEERS if c.name == name)()
