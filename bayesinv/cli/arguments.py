"""What verbs share: settings of a problem as ``KEY=VALUE``, places for output, a bar."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["Settings", "counting", "output_file", "output_folder", "parse_settings", "posterior_file"]

Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="A parameter of the operator or of its prior, such as size=64 or noise=0.02; may be repeated. Values are "
        "JSON (numbers, true, lists) or plain words.",
    ),
]


def parse_settings(given: Sequence[str] | None) -> dict[str, Any]:
    """Parameters from ``KEY=VALUE`` words.

    Raises:
        ValueError: if a word has no ``=`` or a key comes twice.

    Example:
        >>> parse_settings(["size=64", "noise=[0.02, 0.1]", "tails=laplace"])
        {'size': 64, 'noise': [0.02, 0.1], 'tails': 'laplace'}
    """
    found: dict[str, Any] = {}
    for word in given or ():
        key, equals, value = word.partition("=")
        key = key.strip().replace("-", "_")
        if not equals or not key:
            raise ValueError(f"expected --set KEY=VALUE, such as --set size=64, got {word!r}")
        if key in found:
            raise ValueError(f"expected --set {key}=... once, got it twice")
        try:
            found[key] = json.loads(value)
        except json.JSONDecodeError:
            found[key] = value
    return found


def output_file(path: Path) -> Path:
    """The path, once its folder is there and a file in it can be written; asked before any long work.

    Raises:
        OSError: if the folder cannot be made or written.
    """
    output_folder(path)
    if path.is_dir():
        raise ValueError(f"expected a file to write, got the folder {path}")
    return path


def output_folder(path: Path) -> Path:
    """The path, once the folder around it is there and can be written; asked before any long work.

    Raises:
        OSError: if that folder cannot be made or written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise OSError(error.errno, f"expected a place that can be written, got {path}: {error.strerror}") from error
    return path


def posterior_file(path: Path) -> Path:
    """The posterior's file, also where its run folder was given."""
    return path / "posterior.bayesinv" if path.is_dir() else path


@contextmanager
def counting(what: str, total: int) -> Iterator[Callable[[int, int], None]]:
    """A bar for something that reports ``(done, of all)``."""
    from bayesinv.inference.progress import progress_bar

    with progress_bar(True) as bar:
        bar.start(what, total)
        yield lambda done, of: bar.advance(1)
