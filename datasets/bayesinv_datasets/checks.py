"""Checks at the door that the generators share, and the form in which they write down their parameters."""

from __future__ import annotations

import math
from numbers import Integral
from typing import Any

__all__ = ["as_lists", "check_positive", "check_range", "check_request", "check_size"]

LEAST_SIZE = 8


def check_request(n: object, seed: object, start: object) -> None:
    """Raise a ValueError unless `n` is positive and `seed` and `start` are not negative."""
    if not isinstance(n, Integral) or n < 1:
        raise ValueError(f"expected a number of samples of at least 1, got {n!r}")
    for name, value in (("seed", seed), ("start", start)):
        if not isinstance(value, Integral) or value < 0:
            raise ValueError(f"expected a non-negative whole {name}, got {value!r}")


def check_range(
    name: str, value: tuple[float, float], *, low: float = -math.inf, high: float = math.inf
) -> tuple[float, float]:
    """The pair ``(least, greatest)`` if ``low <= least <= greatest <= high``.

    Raises:
        ValueError: otherwise.

    Example:
        >>> check_range("blur", [0.5, 1], low=0.0)
        (0.5, 1)
    """
    pair = tuple(value) if isinstance(value, list | tuple) else ()
    if len(pair) != 2 or not low <= pair[0] <= pair[1] <= high:
        raise ValueError(f"expected {name} as a pair (least, greatest) in [{low}, {high}], got {value!r}")
    return (pair[0], pair[1])


def check_size(size: object, *, most: float = math.inf) -> None:
    """Raise a ValueError unless `size` is a whole number of pixels from 8 to `most`."""
    if not isinstance(size, Integral) or not LEAST_SIZE <= int(size) <= most:
        limit = f"at least {LEAST_SIZE}" if math.isinf(most) else f"{LEAST_SIZE} to {most}"
        raise ValueError(f"expected a size of {limit} pixels, got {size!r}")


def check_positive(**values: float) -> None:
    """Raise a ValueError naming the first value that is not positive and finite."""
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise ValueError(f"expected a positive {name}, got {value!r}")


def as_lists(parameters: dict[str, Any]) -> dict[str, Any]:
    """The same parameters with lists for tuples, as JSON gives them back."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in parameters.items()}
