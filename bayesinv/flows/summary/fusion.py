r"""`Fusion` joins the conditions of several data sources; `Spread` lays a vector over space.

Vectors are joined end to end. Conditions with space are joined channel by channel: a vector is spread over the space of
the others, one tensor enters a pyramid as block means from the first level on, and the heads of pyramids, raw
log-scales and shifts of ``x``, are added.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bayesinv.reversible import Condition, coarser

__all__ = ["Fusion", "Spread"]


class Fusion(nn.Module):
    """One network for each data source, and one condition of them all.

    The flow's ``condition`` is the sum of the vectors' and tensors' channels, or, with pyramids, ``(2 channels, ...)``
    with the sum of all channels at each level.

    Args:
        networks: the summary networks, each of which gives a vector, a tensor, or a pyramid.

    Raises:
        ValueError: if there is no network.

    Source: Radev et al., BayesFlow, 2020, arXiv 2003.06281 (joint training of summary and flow).

    Example:
        >>> from bayesinv.flows import DenseSummary, RecurrentSummary
        >>> both = Fusion(RecurrentSummary(1, 3, hidden=8), DenseSummary(5, 2))
        >>> both((torch.randn(4, 1, 20), torch.randn(4, 5))).shape
        torch.Size([4, 5])
    """

    def __init__(self, *networks: nn.Module) -> None:
        super().__init__()
        if not networks:
            raise ValueError("expected one network or more, got none")
        self.networks = nn.ModuleList(networks)

    def forward(self, c: Sequence[Tensor]) -> Condition:
        """The joint condition of one tensor for each source.

        Raises:
            ValueError: if there are not as many tensors as networks, or their spaces or pyramids do not fit.
        """
        if len(c) != len(self.networks):
            raise ValueError(f"expected {len(self.networks)} data sources, got {len(c)}")
        return _joined([network(own) for network, own in zip(self.networks, c, strict=True)])


class Spread(nn.Module):
    """A network's vector laid over space, for flows of images: ``(batch, features)`` to ``(batch, features, *space)``.

    Args:
        network: gives a vector.
        space: sizes of the spatial axes.

    Example:
        >>> from bayesinv.flows import DenseSummary
        >>> Spread(DenseSummary(3, 2), (8, 4))(torch.randn(5, 3)).shape
        torch.Size([5, 2, 8, 4])
    """

    def __init__(self, network: nn.Module, space: Sequence[int]) -> None:
        super().__init__()
        self.network, self.space = network, tuple(space)

    def forward(self, c: Tensor) -> Tensor:
        """The vector of ``c`` at every place."""
        return _spread(self.network(c), self.space)


def _spread(vector: Tensor, space: Sequence[int]) -> Tensor:
    return vector.view(*vector.shape, *[1] * len(space)).expand(*vector.shape, *space)


def _joined(parts: list[Tensor | tuple[Tensor, ...]]) -> Condition:
    pyramids = [part for part in parts if isinstance(part, tuple)]
    tensors = [part for part in parts if isinstance(part, Tensor)]
    if not pyramids:
        spaces = {part.shape[2:] for part in tensors if part.ndim > 2}
        if len(spaces) > 1:
            raise ValueError(f"expected conditions of one space, got {sorted(map(tuple, spaces))}")
        space = spaces.pop() if spaces else ()
        return torch.cat([part if part.ndim > 2 else _spread(part, space) for part in tensors], 1)
    shapes = [[tuple(level.shape[2:]) for level in pyramid] for pyramid in pyramids]
    if any(shape != shapes[0] for shape in shapes):
        raise ValueError(f"expected pyramids of the same sizes, got {shapes}")
    levels = [torch.stack([pyramid[0] for pyramid in pyramids]).sum(0)]
    rest: list[Tensor] = [part if part.ndim > 2 else _spread(part, shapes[0][0]) for part in tensors]
    for level in range(1, len(pyramids[0])):
        rest = [half for part in rest if isinstance(half := coarser(part), Tensor)]
        levels.append(torch.cat([*[pyramid[level] for pyramid in pyramids], *rest], 1))
    return tuple(levels)
