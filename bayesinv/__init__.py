"""Amortized posteriors for imaging inverse problems: given noisy indirect data, all images that the data allow.

``y = A(x) + noise``. The names below are the whole of everyday use; the floors beneath them are public packages.
Nothing is imported before it is used, so ``import bayesinv`` costs almost nothing.

Example:
    >>> import bayesinv as bi
    >>> "Posterior" in dir(bi)
    True
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bayesinv import flows, inference, physics, reporting, reversible, unrolled
    from bayesinv.inference import Checks, Posterior, Prior, Problem, Samples, diagnose, fit, load_problem
    from bayesinv.physics import ForwardModel, GaussianNoise, from_pylops
    from bayesinv.reporting import report

__version__ = "0.1.0"

__all__ = [
    "Checks",
    "ForwardModel",
    "GaussianNoise",
    "Posterior",
    "Prior",
    "Problem",
    "Samples",
    "diagnose",
    "fit",
    "flows",
    "from_pylops",
    "inference",
    "load_problem",
    "physics",
    "report",
    "reporting",
    "reversible",
    "unrolled",
]

_PACKAGES = ("flows", "inference", "physics", "reporting", "reversible", "unrolled")
_HOMES = {
    "Checks": "inference",
    "Posterior": "inference",
    "Prior": "inference",
    "Problem": "inference",
    "Samples": "inference",
    "diagnose": "inference",
    "fit": "inference",
    "load_problem": "inference",
    "ForwardModel": "physics",
    "GaussianNoise": "physics",
    "from_pylops": "physics",
    "report": "reporting",
}


def __getattr__(name: str) -> object:
    if name in _PACKAGES:
        return importlib.import_module(f"bayesinv.{name}")
    if name in _HOMES:
        value = getattr(importlib.import_module(f"bayesinv.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'bayesinv' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
