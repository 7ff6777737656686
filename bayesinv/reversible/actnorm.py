r"""`ActNorm`: ``y = exp(s) x + b`` per channel; ``logdet = P sum_c s_c`` with ``P`` the number of pixels.

Backward: ``dx = exp(s) dy``, ``ds = sum dy exp(s) x + P sum_batch dlogdet``, ``db = sum dy``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from bayesinv.reversible.base import Backward, Condition, Gradients, Reversible
from bayesinv.reversible.matrices import Matrices

__all__ = ["ActNorm"]


class ActNorm(Reversible):
    """Channelwise affine map whose first batch in training mode comes out with mean 0 and variance 1.

    The first use may be in either direction. Until then, and in evaluation mode, a fresh layer is the identity; a batch
    with one value a channel has no variance and leaves the layer fresh.

    Args:
        channels: number of channels.
        epsilon: added to the standard deviation of the first batch, so that constant channels stay finite.

    Source: Kingma and Dhariwal, Glow, 2018, arXiv 1807.03039.

    Example:
        >>> import torch
        >>> y, _ = ActNorm(3)(5 + 2 * torch.randn(64, 3, 8, 8))
        >>> bool(y.mean().abs() < 1e-5), bool((y.std() - 1).abs() < 1e-3)
        (True, True)
    """

    initialised: Tensor

    def __init__(self, channels: int, *, epsilon: float = 1e-6) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.log_scale = nn.Parameter(torch.zeros(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("initialised", torch.tensor(False))
        self._fresh = True  # spares a device synchronisation a call once the buffer has been seen true
        self.register_load_state_dict_post_hook(_look_again)  # type: ignore[no-untyped-call]

    def _initialise(self, x: Tensor, inverted: bool) -> None:
        if x.shape[1] != len(self.bias):  # one channel would be broadcast, with a wrong logdet
            raise ValueError(f"expected {len(self.bias)} channels, got a tensor of shape {tuple(x.shape)}")
        if not self._fresh or not self.training or x.numel() < 2 * x.shape[1]:
            return
        if not bool(self.initialised):
            with torch.no_grad():
                axes = [0, *range(2, x.ndim)]
                mean = x.mean(axes)
                log_std = (x.var(axes, correction=0).sqrt() + self.epsilon).log()
                self.log_scale.copy_(log_std if inverted else -log_std)
                self.bias.copy_(mean if inverted else -mean * torch.exp(-log_std))
                self.initialised.fill_(True)
        self._fresh = False

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        shape = (1, -1, *[1] * (x.ndim - 2))
        pixels = math.prod(x.shape[2:])
        logdet = (pixels * self.log_scale.sum()).to(x.dtype).repeat(x.shape[0])
        return self.log_scale.exp().view(shape), self.bias.view(shape), logdet

    def _has_matrix(self) -> bool:
        """Whether it may be applied as a matrix: there is nothing left to learn from the first batch."""
        self._fresh = self._fresh and not bool(self.initialised)
        return not (self._fresh and self.training)

    def _tensors(self) -> tuple[Tensor, ...]:
        return self.log_scale, self.bias

    @staticmethod
    def _matrices(log_scale: Tensor, bias: Tensor) -> Matrices:
        scale = log_scale.exp()

        def pull(j: int, of_matrix: Tensor, of_bias: Tensor, of_logdet: Tensor) -> tuple[Tensor, ...]:
            return torch.addcmul(of_logdet, of_matrix.diagonal(), scale[j]), of_bias

        return Matrices(
            scale.diag_embed(), bias, lambda: log_scale.sum(-1), lambda: scale.reciprocal().diag_embed(), pull
        )

    def _forward(self, x: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        self._initialise(x, inverted=False)
        scale, bias, logdet = self._parts(x)
        return x * scale + bias, logdet

    def _inverse(self, y: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        self._initialise(y, inverted=True)
        scale, bias, logdet = self._parts(y)
        return (y - bias) / scale, -logdet

    def _backward(self, y: Tensor, cond: Condition, grad_y: Tensor, grad_logdet: Tensor) -> Backward:
        scale, bias, _ = self._parts(y)
        scaled = y - bias
        grads = self._gradients((grad_y * scaled), grad_y, grad_logdet, math.prod(y.shape[2:]))
        return scaled / scale, grad_y * scale, None, grads

    def _inverse_backward(self, x: Tensor, cond: Condition, grad_x: Tensor, grad_logdet: Tensor) -> Backward:
        scale, bias, _ = self._parts(x)
        grad_y = grad_x / scale
        grads = self._gradients(-grad_x * x, -grad_y, -grad_logdet, math.prod(x.shape[2:]))
        return x * scale + bias, grad_y, None, grads

    def _gradients(self, for_scale: Tensor, for_bias: Tensor, grad_logdet: Tensor, pixels: int) -> Gradients:
        axes = [0, *range(2, for_scale.ndim)]
        grads: Gradients = {}
        if self.log_scale.requires_grad:
            grads[self.log_scale] = for_scale.sum(axes) + pixels * grad_logdet.sum()
        if self.bias.requires_grad:
            grads[self.bias] = for_bias.sum(axes)
        return grads


def _look_again(layer: nn.Module, _: object) -> None:
    """A loaded state may be an initialised one or not; the buffer says which."""
    layer._fresh = True  # type: ignore[assignment]
