"""Floor 5: the command line, ``bayesinv VERB``; thin, one function a verb, heavy packages imported when a verb runs."""

from __future__ import annotations

import os

# Set before torch is loaded: threads that spin for long while they wait slow training down on a busy machine, and
# threads that do not spin at all on an idle one (0.46 s a step for 0.27 s, measured with 2 threads at 64 x 64).
os.environ.setdefault("GOMP_SPINCOUNT", "50000")

from bayesinv.cli.app import app

__all__ = ["app"]
