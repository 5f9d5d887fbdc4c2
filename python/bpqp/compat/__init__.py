"""The call shapes, signs and reductions of other packages, so that trying bpqp is one changed import.

    from bpqp.compat.qpth import QPFunction      # instead of: from qpth.qp import QPFunction

Each module needs only the framework of the package whose shape it has, not that package itself.
"""
