"""`hyperbolic_network`: leapfrog steps of a learned wave equation, down to coarser levels by Haar and up again."""

from __future__ import annotations

from collections.abc import Sequence

from bayesinv.flows.levels import check_sizes, widths
from bayesinv.reversible import Chain, Hyperbolic, Reversible, Squeezed, WaveForce

__all__ = ["hyperbolic_network"]


def hyperbolic_network(
    shape: Sequence[int],
    *,
    condition: int = 0,
    levels: int = 2,
    steps: int = 2,
    hidden: int | Sequence[int] = 32,
    kernel: int = 3,
    alpha: float = 1.0,
) -> Reversible:
    """A volume-preserving network on two states, the first and the second half of the channels.

    ``steps`` leapfrog steps at full resolution, then the next level on both states squeezed by Haar, then ``steps``
    more. A step with states of ``s`` channels, ``h`` hidden ones, ``c`` of the condition, and kernels of ``k`` weights
    has ``(k s + c + 1) h`` parameters, and widens the receptive field by ``2 (kernel - 1)`` pixels of its level.

    Args:
        shape: ``(channels, *space)`` of both states together, channels even; with 0 to 3 spatial axes.
        condition: channels of the condition at full resolution, which deeper levels see as block means.
        levels: number of resolutions, full resolution included; 1 for dense input.
        steps: steps on the way down, and up; at the deepest level both at once.
        hidden: hidden channels, one number or one for each level.
        kernel: odd size of the convolutions.
        alpha: the square of the time step.

    Returns:
        The map; its logdet is 0.

    Raises:
        ValueError: if the channels are odd, or the sizes cannot be halved ``levels - 1`` times.

    Source: Lensink, Peters and Haber, Fully hyperbolic convolutional neural networks, 2019, arXiv 1905.10484.

    Example:
        >>> import torch
        >>> network, x = hyperbolic_network((2, 8, 8)), torch.randn(3, 2, 8, 8)
        >>> torch.allclose(network.inverse(network(x)[0])[0], x, atol=1e-4)
        True
    """
    channels, rank = shape[0], len(shape) - 1
    if channels % 2 or steps < 1 or levels < 1 or (levels > 1 and not rank):
        raise ValueError(
            f"expected an even number of channels, a step and a level or more (one for dense input), got {channels}, "
            f"{steps} and {levels}"
        )
    check_sizes(shape, levels - 1)
    hiddens = widths(hidden, levels)

    def level(at: int) -> Chain:
        state = channels // 2 * 2 ** (rank * at)

        def some() -> list[Reversible]:
            return [
                Hyperbolic(
                    WaveForce(state, hidden=hiddens[at], rank=rank, kernel=kernel, alpha=alpha, cond_channels=condition)
                )
                for _ in range(steps)
            ]

        if at == levels - 1:
            return Chain(*some(), *some())
        return Chain(*some(), Squeezed(level(at + 1), states=2), *some())

    return level(0)
