"""The call shapes, signs and reductions of other packages, so that trying bpqp is one changed import.

    from bpqp.compat.qpth import QPFunction      # instead of: from qpth.qp import QPFunction

`qpth` and `diffcp` do not need the package whose shape they have; `cvxpylayers` is a solver for layers of that package.
"""
