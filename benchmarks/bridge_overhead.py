"""What the bridge adds to PyLops: a batch through `from_pylops` against a bare NumPy loop of the same calls.

The bare loop runs ``op.matvec`` (or ``op.rmatvec``) on each float32 record of a batch of 32 and stores the results; the
bridge does the same for a tensor. One thread; the two alternate, and the figure is the ratio of their best CPU times,
less one. Only operators of 0.1 ms a call or more are counted. A minute.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence

import numpy as np
import pylops
import torch
from side_by_side.reporting import Report, against, options

from bayesinv.physics import from_pylops

BATCH = 32
DTYPE = "float32"


def operators() -> dict[str, pylops.LinearOperator]:
    kernel = np.outer(np.hanning(15), np.hanning(15)).astype(DTYPE)
    wavelet = np.hanning(21).astype(DTYPE)
    mask = (np.arange(128)[:, None] % 3 == 0) * np.ones(128, DTYPE)
    angles = np.linspace(5, 35, 7, dtype=DTYPE)
    return {
        "convolution 64x64": pylops.signalprocessing.Convolve2D((64, 64), h=kernel, offset=(7, 7), dtype=DTYPE),
        "convolution 128x128": pylops.signalprocessing.Convolve2D((128, 128), h=kernel, offset=(7, 7), dtype=DTYPE),
        "post-stack 128x128": pylops.avo.poststack.PoststackLinearModelling(
            wavelet, nt0=128, spatdims=128, kind="centered"
        ),
        "pre-stack 64x64": pylops.avo.prestack.PrestackLinearModelling(wavelet, angles, nt0=64, spatdims=64),
        "MRI 128x128": pylops.medical.MRI2D((128, 128), mask=mask, dtype="complex64"),
        "Laplacian 128x128": pylops.Laplacian((128, 128), dtype=DTYPE),
    }


def rounds(op: pylops.LinearOperator, count: int) -> dict[str, float]:
    """Milliseconds a call of the bare loop, and the bridge's overhead, forward and adjoint."""
    bridge = from_pylops(op, channels=None)
    models = torch.randn(BATCH, *bridge.model_shape, generator=torch.Generator().manual_seed(0))
    data = bridge(models)
    found = {}
    for name, apply, tensor, like, run in (
        ("forward", op.matvec, models, data, bridge),
        ("adjoint", op.rmatvec, data, models, bridge.adjoint),
    ):
        bare, bridged = [], []
        array, out = tensor.numpy(), like.numpy()

        def loop(apply=apply, array=array, out=out) -> np.ndarray:
            results = np.empty((BATCH, out[0].size), out.dtype)
            for record, result in zip(array, results, strict=True):
                answer = apply(record.ravel())
                result[...] = answer if np.iscomplexobj(out) else answer.real
            return results.reshape(out.shape)

        np.testing.assert_allclose(run(tensor).numpy(), loop(), rtol=1e-4, atol=1e-4)
        for _ in range(count):
            for store, function in ((bare, loop), (bridged, lambda run=run, tensor=tensor: run(tensor))):
                start = time.process_time()
                function()
                store.append(time.process_time() - start)
        found[f"{name}, ms a call"] = 1e3 * min(bare) / BATCH
        found[f"{name}, overhead"] = min(bridged) / min(bare) - 1
    return found


def main(arguments: Sequence[str] | None = None) -> dict[str, float | None]:
    """Measures and prints."""
    report = Report("bridge_overhead", options(__doc__ or "", arguments))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rows = []
    with torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "numpy backend always returns complex128")  # PyLops' FFT: the loop has it too
        for name, op in operators().items():
            found = rounds(op, 5 if report.options.small else 100)
            print(name, {key: round(value, 4) for key, value in found.items()}, flush=True)
            rows += [
                (f"{name}, {way}", found[f"{way}, overhead"], 0.15)
                for way in ("forward", "adjoint")
                if found[f"{way}, ms a call"] >= 0.1
            ]
    torch.set_num_threads(threads)
    against(report, "What the bridge adds, over the bare loop", rows)
    return report.finish(None)


if __name__ == "__main__":
    main()
