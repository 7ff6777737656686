"""Floor 5: the command line, ``bayesinv VERB``; thin, one function a verb, heavy packages imported when a verb runs."""

from __future__ import annotations

from bayesinv.cli.app import app

__all__ = ["app"]
