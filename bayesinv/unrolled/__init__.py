"""Floor 2: maps that physics and solvers work with: the Jacobian of a map as a PyLops operator."""

from bayesinv.unrolled.jacobian import jacobian

__all__ = ["jacobian"]
