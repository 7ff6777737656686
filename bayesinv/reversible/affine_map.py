r"""`AffineMap`: ``y = exp(s) x + b`` with a scale and a bias for every channel and pixel; ``logdet = sum s``.

Backward: ``dx = exp(s) dy``, ``ds = sum_batch (dy exp(s) x + dlogdet)``, ``db = sum_batch dy``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bayesinv.reversible.base import Backward, Condition, Gradients, Reversible

__all__ = ["AffineMap"]


class AffineMap(Reversible):
    """Elementwise affine map of one fixed shape; the identity at the start.

    A diagonal Gaussian for every pixel, or the correction of a latent for one observation, is such a map.

    Args:
        shape: ``(channels, *space)`` of the input, with 0 to 3 spatial axes.

    Raises:
        ValueError: if the shape is not of one to four positive sizes, or the input has another one.

    Source: Dinh et al., NICE, 2015, arXiv 1410.8516 (section 3.3, diagonal scaling); as a latent correction:
    Siahkoohi et al., 2022, arXiv 2207.11640.

    Example:
        >>> import torch
        >>> x = torch.randn(2, 1, 4, 4)
        >>> y, logdet = AffineMap((1, 4, 4))(x)
        >>> torch.equal(y, x), logdet.tolist()
        (True, [0.0, 0.0])
    """

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        if not 1 <= len(shape) <= 4 or min(shape) < 1:
            raise ValueError(f"expected a shape (channels, up to 3 axes) of positive sizes, got {tuple(shape)}")
        self.log_scale = nn.Parameter(torch.zeros(*shape))
        self.bias = nn.Parameter(torch.zeros(*shape))

    def _logdet(self, x: Tensor) -> Tensor:
        if x.shape[1:] != self.bias.shape:
            raise ValueError(f"expected inputs (batch, {tuple(self.bias.shape)}), got one of shape {tuple(x.shape)}")
        return self.log_scale.sum().to(x.dtype).repeat(x.shape[0])

    def _forward(self, x: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        logdet = self._logdet(x)
        return x * self.log_scale.exp() + self.bias, logdet

    def _inverse(self, y: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        logdet = -self._logdet(y)
        return (y - self.bias) * (-self.log_scale).exp(), logdet

    def _backward(self, y: Tensor, cond: Condition, grad_y: Tensor, grad_logdet: Tensor) -> Backward:
        scale, scaled = self.log_scale.exp(), y - self.bias
        return scaled / scale, grad_y * scale, None, self._gradients(grad_y * scaled, grad_y, grad_logdet)

    def _inverse_backward(self, x: Tensor, cond: Condition, grad_x: Tensor, grad_logdet: Tensor) -> Backward:
        scale = self.log_scale.exp()
        grad_y = grad_x / scale
        return x * scale + self.bias, grad_y, None, self._gradients(-grad_x * x, -grad_y, -grad_logdet)

    def _gradients(self, for_scale: Tensor, for_bias: Tensor, grad_logdet: Tensor) -> Gradients:
        grads: Gradients = {}
        if self.log_scale.requires_grad:
            grads[self.log_scale] = for_scale.sum(0) + grad_logdet.sum()
        if self.bias.requires_grad:
            grads[self.bias] = for_bias.sum(0)
        return grads
