r"""Reflectivity imaging with Kirchhoff modelling at 64 x 64: an i-RIM against gradient descent and least squares.

Some ten minutes on one thread; ``--small`` takes the same steps at 24 x 24. The i-RIM (four iterations, four epochs)
sees 750 generated sections. On held-out ones it is compared with four steps of gradient descent, the same number of
operator calls, and with damped least squares by CGLS; step, damping and stopping of these two are tuned on training
sections. Beside the ratios of signal to noise, the script measures what the loop promises: bytes saved between forward
and backward for 4 to 32 iterations, operator calls, and its gradient in float64 against plain autograd through the same
loop.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from side_by_side.reporting import Report, against, options
from torch import Tensor

from bayesinv.physics import Operator, cgls_iterates, lipschitz
from bayesinv.reversible import plain
from bayesinv.unrolled import IRIM, UnrolledDescent, train_estimator
from bayesinv.unrolled.training import snr
from bayesinv_datasets.reflectivity_sections import reflectivity_sections
from bayesinv_operators.seismic_kirchhoff import seismic_kirchhoff

NOISE = 0.3  # of the data's root mean square
STOPS = (5, 10, 20, 30, 40)


def main(arguments: Sequence[str] | None = None) -> dict[str, float | None]:
    """Measures and prints."""
    report = Report("irim_kirchhoff", options(__doc__ or "", arguments))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    size, sections = (24, 64) if report.options.small else (64, 750)
    forward = seismic_kirchhoff(
        size, sources=4, receivers=size // 2, velocity=1500.0, wavelet_frequency=40.0, noise=NOISE
    )
    operator = forward.operator
    images = reflectivity_sections(size).sample(sections + 64, seed=0)
    data, _ = forward.simulate(images, seed=0)
    x, y, held, held_data = images[:-64], data[:-64], images[-64:], data[-64:]
    report.note(f"{sections} sections of {size} x {size}, data {forward.data_shape}, noise {NOISE:.0%} of their rms.")
    descent, step = descended(operator, x[:16], y[:16], held, held_data)
    squares, setting = least_squares(operator, x[:16], y[:16], held, held_data)
    report.note(f"Best step of gradient descent {step:.2g}, best setting of least squares {setting}.")

    torch.manual_seed(0)
    network = irim(operator, float(x.std()))
    began, cpu = time.perf_counter(), time.process_time()
    epochs = train_estimator(network, x, y, epochs=4, batch_size=4, learning_rate=5e-3, held=(held, held_data))
    for row in epochs:
        print(f"epoch {row.epoch}: loss {row.loss:.4f}, held-out {row.snr:.2f} dB", flush=True)
    seconds = time.perf_counter() - began, time.process_time() - cpu
    report.note(
        f"Four epochs of a network of {sum(p.numel() for p in network.parameters())} numbers took {seconds[0]:.0f} s, "
        f"{seconds[1]:.0f} s of the processor."
    )
    reached = epochs[-1].snr
    ratios: list[tuple[str, float, float | None]] = [
        ("i-RIM, dB", reached, None),
        ("gradient descent, dB", descent, None),
        ("least squares, dB", squares, None),
        ("i-RIM over gradient descent, dB", reached - descent, 7.0),
        ("i-RIM over least squares, dB", reached - squares, 1.0),
    ]
    against(report, "Signal to noise on 64 held-out sections", ratios, least=True)

    network.calls.reset()
    estimate = network(y[:2])
    calls = [network.calls.total / 4]
    network.calls.reset()
    estimate.square().sum().backward()
    calls.append(network.calls.total / 4)
    saved = [saved_bytes(irim(operator, 1.0, iterations=n), y[:1]) for n in (4, 8, 16, 32)]
    promises: list[tuple[str, float, float | None]] = [
        ("operator calls an iteration, forward", calls[0], 2.0),
        ("operator calls an iteration, backward", calls[1], 4.0),
        ("bytes saved for the backward pass, 4 iterations", saved[0], None),
        ("the most for 8 to 32 iterations, over that", max(saved) / saved[0], 1.0),
        ("error of the gradient in float64", gradient_error(network.double(), y[:1].double()), 1e-8),
    ]
    against(report, "What the loop promises", promises)
    torch.set_num_threads(threads)
    return report.finish(None)


def irim(operator: Operator, scale: float, *, iterations: int = 4) -> IRIM:
    """The network; ``eta`` is the reflectivity in units of its standard deviation."""
    return IRIM(
        operator, iterations=iterations, memory=5, hidden=24, dilations=(1, 2), psi=lambda estimate: scale * estimate
    )


def descended(operator: Operator, x: Tensor, y: Tensor, held: Tensor, data: Tensor) -> tuple[float, float]:
    """Four steps of the length that is best on ``x``; its ratio on ``held``."""
    longest = 2 / lipschitz(operator, tolerance=1e-3)
    networks = {s: UnrolledDescent(operator, step=s * longest, iterations=4) for s in (0.25, 0.5, 0.75, 0.9, 1, 1.1)}
    with torch.no_grad():
        best = max(networks, key=lambda s: snr(x, networks[s](y)))
        return snr(held, networks[best](data)), best * longest


def least_squares(
    operator: Operator, x: Tensor, y: Tensor, held: Tensor, data: Tensor
) -> tuple[float, dict[str, float]]:
    """``min |A x - y|^2 + damping^2 |x|^2`` by CGLS with the damping and the stopping that are best on ``x``."""
    norm = lipschitz(operator, tolerance=1e-3) ** 0.5
    tried = {}
    for damping in (0.003, 0.01, 0.02, 0.03, 0.05, 0.1):
        iterates = cgls_iterates(operator, y, STOPS, damping=damping * norm)
        tried |= {(damping, n): snr(x, found) for n, found in zip(STOPS, iterates, strict=True)}
    damping, iterations = max(tried, key=lambda key: tried[key])
    found = cgls_iterates(operator, data, [iterations], damping=damping * norm)[0]
    return snr(held, found), {"damping_over_norm": damping, "iterations": iterations}


def saved_bytes(network: IRIM, y: Tensor) -> int:
    """Bytes of what autograd saves between forward and backward, without parameters and data."""
    known = {t.untyped_storage()._cdata for t in [*network.parameters(), y]}
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage()._cdata not in known:
            sizes[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        kept = network(y)
    del kept
    return sum(sizes.values())


def gradient_error(network: IRIM, y: Tensor) -> float:
    """Largest relative error of a parameter's gradient against plain autograd through the same loop."""
    found = torch.autograd.grad(network(y).square().sum(), list(network.parameters()))
    with plain():
        expected = torch.autograd.grad(network(y).square().sum(), list(network.parameters()))
    return max(float((a - b).norm() / b.norm()) for a, b in zip(found, expected, strict=True) if b.norm() > 0)


if __name__ == "__main__":
    main()
