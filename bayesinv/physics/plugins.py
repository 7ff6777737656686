"""The plug-in door: forward models and priors that installed packages offer under entry-point groups.

A package names a factory in the group ``bayesinv.operators`` (``factory(...) -> ForwardModel``) or ``bayesinv.priors``
(``factory(...) -> Prior``). A factory can be called with no arguments and is then small. Nothing is imported before
it is asked for, and a plug-in that fails to import does not disturb the others.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

__all__ = ["Kind", "load", "names", "summaries"]

Kind = Literal["operators", "priors"]


def names(kind: Kind = "operators") -> list[str]:
    """Names of the installed plug-ins of a kind, sorted.

    Example:
        >>> "deblur" in names()
        True
    """
    return sorted(_installed(kind))


def load(name: str, kind: Kind = "operators") -> Callable[..., Any]:
    """The factory of a plug-in.

    Raises:
        ValueError: if no plug-in or more than one has that name.
        ImportError: if the plug-in itself fails to import.

    Example:
        >>> load("deblurr")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ValueError: expected the name of an installed plug-in of bayesinv.operators, got 'deblurr'; did you ...
    """
    installed = _installed(kind)
    if name not in installed:
        near = difflib.get_close_matches(str(name), installed, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        listed = ", ".join(sorted(installed)) or "none"
        raise ValueError(
            f"expected the name of an installed plug-in of bayesinv.{kind}, got {name!r}{hint} (installed: {listed})"
        )
    entries = installed[name]
    if len(entries) > 1:
        raise ValueError(
            f"expected one plug-in of bayesinv.{kind} called {name!r}, got {len(entries)}: "
            f"{'; '.join(sorted(_origin(entry) for entry in entries))}. Uninstall all but one"
        )
    try:
        factory = entries[0].load()
    except Exception as error:
        raise ImportError(f"plug-in {name!r} ({_origin(entries[0])}) does not load: {error}") from error
    if not callable(factory):
        raise ImportError(f"plug-in {name!r} ({_origin(entries[0])}) is not callable, got {type(factory).__name__}")
    result: Callable[..., Any] = factory
    return result


def summaries(kind: Kind = "operators") -> dict[str, str]:
    """One line for each plug-in, the first of its docstring; one that does not load says why."""
    lines = {}
    for name in names(kind):
        try:
            lines[name] = (load(name, kind).__doc__ or "").strip().partition("\n")[0]
        except (ImportError, ValueError) as error:
            lines[name] = f"cannot be used: {error}"
    return lines


def _installed(kind: Kind) -> dict[str, list[EntryPoint]]:
    if kind not in ("operators", "priors"):
        raise ValueError(f"expected the kind 'operators' or 'priors', got {kind!r}")
    found: dict[str, dict[str, EntryPoint]] = {}
    for entry in entry_points(group=f"bayesinv.{kind}"):
        found.setdefault(entry.name, {})[entry.value] = entry  # one package seen twice is not two plug-ins
    return {name: list(entries.values()) for name, entries in found.items()}


def _origin(entry: EntryPoint) -> str:
    return f"{entry.value} of {entry.dist.name if entry.dist else 'an unknown package'}"
