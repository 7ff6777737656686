"""Memory that the paper of InvertibleNetworks.jl publishes, in GiB on an A100 with 40 GB, the CUDA context included.

Batch 8, 3 channels, 3 levels, hidden 256, float32, one gradient. Those of normflows against depth are numbers of its
repository; the others are read off its figures, to 0.05 (depth) and 0.1 (size).

Source: Witte et al., InvertibleNetworks.jl, 2024, doi 10.21105/joss.06554.
"""

from __future__ import annotations

__all__ = ["DEPTH", "SIZE"]

DEPTH: dict[str, dict[int, float | None]] = {
    "normflows": {4: 5.0897, 8: 7.8827, 16: 13.5487, 32: 24.8710, 48: 36.2010, 64: None, 80: None},
    "InvertibleNetworks.jl": {4: 5.08, 8: 5.08, 16: 5.10, 32: 5.10, 48: 5.10, 64: 5.07, 80: 5.17},
}
"""By flow steps a level, at 256x256; None is out of memory."""

SIZE: dict[str, dict[int, float | None]] = {
    "normflows": {64: 2.2, 128: 4.29, 256: 12.98, 384: 28.03, 448: 37.40, 480: None, 512: None, 1024: None},
    "InvertibleNetworks.jl": {
        64: 2.17,
        128: 2.76,
        256: 5.10,
        384: 8.95,
        448: 11.95,
        480: 13.21,
        512: 14.52,
        1024: 37.98,
    },
}
"""By pixels along each axis. The depth is not stated; normflows' number at 256 is that of 15 to 16 steps above."""
