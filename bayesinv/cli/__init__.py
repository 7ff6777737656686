"""Floor 5: the command line, ``bayesinv VERB``; thin, one function a verb, heavy packages imported when a verb runs."""

from __future__ import annotations

import os

# Set before torch is loaded: on a busy machine, threads that spin while they wait made training five times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from bayesinv.cli.app import app

__all__ = ["app"]
