"""The uncertainty report: figures, one self-contained HTML file, and the figures of merit as JSON."""

from __future__ import annotations

from bayesinv.reporting.html import report
from bayesinv.reporting.metrics import write_metrics

__all__ = ["report", "write_metrics"]
