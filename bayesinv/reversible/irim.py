r"""`irim_coupling`: additive, between an orthogonal 1x1 convolution ``Q`` and its inverse, ``y = Q^T g(Q x)``.

With ``[a; b] = Q x``: ``g([a; b]) = [a; b + net(a)]``. It is a residual step in a learned direction; logdet 0.
"""

from __future__ import annotations

from bayesinv.reversible.chain import Chain
from bayesinv.reversible.coupling import Coupling
from bayesinv.reversible.elementwise import Additive
from bayesinv.reversible.hint import MakeNetwork
from bayesinv.reversible.householder import Householder
from bayesinv.reversible.inverted import Inverted

__all__ = ["irim_coupling"]


def irim_coupling(channels: int, network: MakeNetwork, *, reflections: int | None = None) -> Chain:
    """The coupling of invertible recurrent inference machines, for space of any rank.

    Args:
        channels: number of channels; the smaller half decides where they are odd.
        network: makes the network, ``network(channels of a, channels of b)``, for example
            ``functools.partial(ResNetConditioner, hidden=32, rank=2)``.
        reflections: of the `Householder` convolution.

    Source: Putzky and Welling, Invert to learn to invert, 2019, arXiv 1911.10914.

    Raises:
        ValueError: if there are less than two channels.

    Example:
        >>> import torch
        >>> from functools import partial
        >>> from bayesinv.reversible import Conditioner, irim_coupling
        >>> x = torch.randn(2, 5, 8, 8)
        >>> y, logdet = irim_coupling(5, partial(Conditioner, hidden=8, rank=2))(x)
        >>> torch.allclose(y, x, atol=1e-5), logdet.tolist()
        (True, [0.0, 0.0])
    """
    if channels < 2:
        raise ValueError(f"expected two channels or more, got {channels}")
    half, rotation = channels // 2, Householder(channels, reflections=reflections)
    coupling = Coupling(network(half, channels - half), passive=half, how=Additive())
    return Chain(rotation, coupling, Inverted(rotation))
