r"""`published_glow`: conditional Glow layer by layer as the group of InvertibleNetworks.jl published it.

    level:     squeeze (checkerboard, offset-major); ``steps`` times (ActNorm, coupling); the first half goes on
    coupling:  [x1; x2] = H x with three reflections, x1 the first round(n/2) channels;
               (r, t) = net([x2; c]),  y1 = (low + (high - low) sigmoid(r)) x1 + t,  y2 = x2
    net:       a = relu(W1*x + b1),  a' = relu(a + W2*a + b2),  relu(W3^T * a')    (kernels k1, k2, k1)
    condition: an ActNorm of its own, then squeezed with x, never split

As the last ReLU leaves numbers of one sign, scales are in ``[(low + high)/2, high)`` and shifts positive.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from bayesinv.flows.flow import Flow
from bayesinv.flows.levels import Site, check_sizes, nested
from bayesinv.flows.squeezed_condition import SqueezedCondition
from bayesinv.reversible import (
    ActNorm,
    Affine,
    Chain,
    Concatenated,
    Coupling,
    Householder,
    Reversible,
    convolution,
    sigmoid_scale,
)

__all__ = ["FanBlock", "published_glow"]


def published_glow(
    shape: Sequence[int],
    *,
    condition: int = 0,
    levels: int = 3,
    steps: int = 8,
    hidden: int = 32,
    split: bool = True,
    low: float = 0.5,
    high: float = 1.0,
    k1: int = 3,
    k2: int = 1,
) -> Flow:
    """The Glow of InvertibleNetworks.jl, to repeat published configurations; for new work take `glow`.

    The networks do not start at zero (all weights Glorot-uniform), so the flow does not start as the identity. Without
    ``split`` there is no squeeze, and ``levels steps`` steps run at full resolution. Weights that are copied over: its
    1x1 convolution multiplies rows by ``H1 H2 H3``, ours columns, so the order of the reflections is the other way
    round, and its convolutions are flipped. A step with ``w`` channels, ``p = w - round(w/2)``, and ``c`` of the
    condition (``2^rank`` times as many at each level) has
    ``5 w + k1^rank (p + c) h + k2^rank h^2 + 2 h + 2 k1^rank h (w - p)`` parameters, and widens the receptive field by
    ``2 (k1 - 1) + k2 - 1`` pixels of its level.

    Args:
        shape: ``(channels, *space)`` of ``x``, with 0 to 3 spatial axes.
        condition: channels of the condition at full resolution, 0 for none.
        levels: ``L``.
        steps: ``K``, steps a level.
        hidden: ``n_hidden``.
        split: ``split_scales``.
        low: lower end of ``SigmoidLayer(low, high)``.
        high: upper end.
        k1: kernel of the first and the last convolution.
        k2: kernel of the middle one.

    Returns:
        The `Flow`; its `summary` is the condition's ActNorm and squeezes.

    Raises:
        ValueError: if a spatial size cannot be halved ``levels`` times, or there are too few channels to couple.

    Source: Witte et al., InvertibleNetworks.jl, 2024, doi 10.21105/joss.06554; in use: Orozco et al., ASPIRE, 2024,
    arXiv 2405.05398.

    Example:
        >>> import torch
        >>> flow = published_glow((1, 8, 8), condition=1, levels=2, steps=1, hidden=8)
        >>> flow.log_prob(torch.randn(4, 1, 8, 8), torch.randn(4, 1, 8, 8)).shape
        torch.Size([4])
    """
    rank = len(shape) - 1
    if steps < 1 or levels < 1:
        raise ValueError(f"expected 1 or more steps and levels, got {steps} and {levels}")
    how = Affine(sigmoid_scale(low, high))

    def step(channels: int, cond: int) -> list[Reversible]:
        changed = round(channels / 2)
        passive = channels - changed
        network = FanBlock(passive + cond, 2 * changed, hidden=hidden, rank=rank, k1=k1, k2=k2)
        coupling = Coupling(Concatenated(network), passive=passive, passive_last=True, how=how)
        return [ActNorm(channels), Householder(channels, reflections=3), coupling]

    if not (split and rank):
        if shape[0] < 2:
            raise ValueError("expected at least two channels to couple; one channel needs split and a spatial axis")
        check_sizes(shape[:1], levels)
        flat = Chain(*[one for _ in range(levels * steps) for one in step(shape[0], condition)])
        return Flow(flat, shape, summary=_first(condition, levels=0))
    check_sizes(shape, levels)
    grown = [condition * 2 ** (rank * (at + 1)) for at in range(levels)]

    def body(site: Site) -> list[Reversible]:
        return [one for _ in range(steps) for one in step(site.channels, site.cond)]

    made = nested(shape[0], rank, grown, body, squeeze="checkerboard", split=True)
    return Flow(made, shape, summary=_first(condition, levels=levels))


class FanBlock(nn.Module):
    """The residual block with ``fan=true``: ``relu(W3^T*relu(a + W2*a + b2))``, ``a = relu(W1*x + b1)``.

    Args:
        channels: channels of ``x``.
        out: channels of the output.
        hidden: hidden channels.
        rank: number of spatial axes.
        k1: kernel of ``W1`` and ``W3``.
        k2: kernel of ``W2``.

    Source: Witte et al., InvertibleNetworks.jl, 2024, doi 10.21105/joss.06554.

    Example:
        >>> import torch
        >>> bool((FanBlock(2, 4, hidden=8, rank=2)(torch.randn(1, 2, 6, 6)) >= 0).all())
        True
    """

    def __init__(self, channels: int, out: int, *, hidden: int, rank: int, k1: int = 3, k2: int = 1) -> None:
        super().__init__()
        self.first = convolution(channels, hidden, kernel=k1, rank=rank)
        self.middle = convolution(hidden, hidden, kernel=k2, rank=rank)
        self.last = _transposed(hidden, out, kernel=k1, rank=rank)
        for layer in (self.first, self.middle, self.last):
            nn.init.xavier_uniform_(layer.weight)  # type: ignore[arg-type]
        for layer in (self.first, self.middle):
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """From ``x (batch, channels, *space)`` to non-negative numbers ``(batch, out, *space)``."""
        a = F.relu(self.first(x))
        return F.relu(self.last(F.relu(a + self.middle(a))))


def _transposed(channels: int, out: int, *, kernel: int, rank: int) -> nn.Module:
    if rank == 0:
        return nn.Linear(channels, out, bias=False)
    kind = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[rank - 1]
    return kind(channels, out, kernel, padding=kernel // 2, bias=False)


def _first(condition: int, *, levels: int) -> SqueezedCondition | None:
    if not condition:
        return None
    return SqueezedCondition(levels=levels, squeeze="checkerboard", first=ActNorm(condition))
