r"""`LearnedSqueezed`: a map at half the resolution, ``y = Q^T f(Q x)``, ``Q = exp(A - A^T)`` on each block of pixels.

``A`` is strictly upper triangular of size ``2^d``, one for each channel or one for all; its matrix exponential mixes
the ``2^d`` pixels of a block, that is, the channels which space-to-depth makes of one. ``Q`` is orthogonal:
``log |det Q| = 0``. Backward, with ``u = Q x``, ``v = f(u)``, ``y = Q^T v``, sums over blocks and batch:

    v = Q y,  dv = Q dy,  (u, du) from f,  x = Q^T u,  dx = Q^T du,  dQ = sum du x^T + v dy^T.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from bayesinv.reversible.base import Backward, Condition, Gradients, Reversible
from bayesinv.reversible.pixels import full_precision
from bayesinv.reversible.squeezed import as_channels_last, coarser, coarser_adjoint, coarser_leaf
from bayesinv.reversible.squeezes import squeeze, unsqueeze

__all__ = ["LearnedSqueezed"]


class LearnedSqueezed(Reversible):
    """Applies ``inner`` at half resolution, through an orthogonal squeeze that is learned; at first space-to-depth.

    Args:
        inner: the map at half resolution, which sees ``(batch, 2^d channels, *space/2)`` and the coarser condition.
        channels: number of channels of the input.
        rank: ``d``, the number of spatial axes.
        shared: whether all channels share one matrix.

    Raises:
        ValueError: if there is no channel or no spatial axis, or the input has other ones.

    Source: Etmann, Ke and Schoenlieb, iUNets, 2020, arXiv 2005.05220.

    Example:
        >>> import torch
        >>> from bayesinv.reversible import ActNorm
        >>> layer, x = LearnedSqueezed(ActNorm(4), channels=1, rank=2), torch.randn(2, 1, 8, 8)
        >>> y, logdet = layer(x)
        >>> torch.allclose(layer.inverse(y)[0], x, atol=1e-5), layer.upper.shape
        (True, torch.Size([1, 6]))
    """

    def __init__(self, inner: Reversible, *, channels: int, rank: int, shared: bool = False) -> None:
        super().__init__()
        if channels < 1 or rank not in (1, 2, 3):
            raise ValueError(f"expected at least one channel and 1 to 3 axes, got {channels} and {rank}")
        self.inner, self.channels, self.rank = inner, channels, rank
        size = 2**rank
        self.upper = nn.Parameter(torch.zeros(1 if shared else channels, size * (size - 1) // 2))

    def _rotation(self, upper: Tensor) -> Tensor:
        """``Q`` of shape ``(channels or 1, 2^d, 2^d)``."""
        size = 2**self.rank
        row, column = torch.triu_indices(size, size, 1, device=upper.device)
        which = torch.arange(len(upper), device=upper.device)[:, None]
        a = upper.new_zeros(len(upper), size, size).index_put((which, row, column), upper)
        rotation: Tensor = torch.linalg.matrix_exp(a - a.mT)
        return rotation

    def _blocks(self, x: Tensor) -> Tensor:
        """``(batch, channels, 2^d, blocks)``."""
        if x.shape[1] != self.channels or x.ndim != 2 + self.rank:
            raise ValueError(f"expected {self.channels} channels and {self.rank} axes, got shape {tuple(x.shape)}")
        return squeeze(x, kind="space-to-depth").reshape(x.shape[0], self.channels, 2**self.rank, -1)

    def _down(self, blocks: Tensor, rotation: Tensor, like: Tensor) -> Tensor:
        with full_precision(blocks):
            half = [size // 2 for size in like.shape[2:]]
            return as_channels_last((rotation @ blocks).reshape(len(like), self.channels * 2**self.rank, *half))

    def _up(self, u: Tensor, rotation: Tensor) -> tuple[Tensor, Tensor]:
        """``Q^T u`` as blocks, and as an image."""
        with full_precision(u):
            blocks = rotation.mT @ u.reshape(u.shape[0], self.channels, 2**self.rank, -1)
        return blocks, as_channels_last(unsqueeze(blocks.reshape(u.shape), kind="space-to-depth"))

    def _forward(self, x: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        rotation = self._rotation(self.upper)
        v, logdet = self.inner._forward(self._down(self._blocks(x), rotation, x), coarser(cond))
        return self._up(v, rotation)[1], logdet

    def _inverse(self, y: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        rotation = self._rotation(self.upper)
        u, logdet = self.inner._inverse(self._down(self._blocks(y), rotation, y), coarser(cond))
        return self._up(u, rotation)[1], logdet

    def _backward(self, y: Tensor, cond: Condition, grad_y: Tensor, grad_logdet: Tensor) -> Backward:
        return self._pulled_back(self.inner._backward, y, cond, grad_y, grad_logdet)

    def _inverse_backward(self, x: Tensor, cond: Condition, grad_x: Tensor, grad_logdet: Tensor) -> Backward:
        return self._pulled_back(self.inner._inverse_backward, x, cond, grad_x, grad_logdet)

    def _pulled_back(
        self, step: Callable[..., Backward], y: Tensor, cond: Condition, grad_y: Tensor, grad_logdet: Tensor
    ) -> Backward:
        """The same in both directions, as the inverse is ``Q^T f^{-1}(Q y)``."""
        rotation = self._rotation(self.upper)
        grad_blocks = self._blocks(grad_y)
        v = self._down(self._blocks(y), rotation, y)
        u, grad_u, grad_cond, grads = step(v, coarser_leaf(cond), self._down(grad_blocks, rotation, y), grad_logdet)
        blocks, x = self._up(u, rotation)
        if self.upper.requires_grad:
            shape = blocks.shape
            with full_precision(y):
                grad_rotation = grad_u.reshape(shape) @ blocks.mT + v.reshape(shape) @ grad_blocks.mT
            grads = {**grads, **self._gradient(grad_rotation.sum(0))}
        return x, self._up(grad_u, rotation)[1], coarser_adjoint(grad_cond, cond), grads

    def _gradient(self, grad_rotation: Tensor) -> Gradients:
        with torch.enable_grad():
            leaf = self.upper.detach().requires_grad_()
            rotation = self._rotation(leaf)
        found = grad_rotation if len(leaf) == self.channels else grad_rotation.sum(0, keepdim=True)
        return {self.upper: torch.autograd.grad(rotation, leaf, found)[0]}
