r"""`Hyperbolic`: a leapfrog step of the wave equation ``X'' = -F(X)``, and `WaveForce`, ``F = alpha K^T act(K X + b)``.

    [X_prev; X_curr] -> [X_curr; 2 X_curr - X_prev - F(X_curr)],   X_prev = 2 X_curr - X_new - F(X_curr).

The Jacobian is ``[[0, 1], [-1, 2 - F']]``, of determinant 1: ``logdet = 0``. Backward, with one evaluation of ``F``
that both inverts the step and is the graph of its gradient:

    dX_prev = -dX_new,   dX_curr = dX_curr' + 2 dX_new - (F')^T dX_new.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bayesinv.reversible.base import Backward, Condition, ConditionGradient, Gradients, Reversible, finest
from bayesinv.reversible.conditioners import convolution
from bayesinv.reversible.replay import evaluate, graph

__all__ = ["Hyperbolic", "WaveForce"]


class Hyperbolic(Reversible):
    """Leapfrog step on two states, the first and the second half of the channels; preserves volume.

    With a force that pulls back, such as `WaveForce`, a chain of steps oscillates; with none the states grow in
    proportion to the depth. Forces that are strong and differ at random from step to step shake the states up, and
    rounding errors with them: by 1e6 in 200 steps with random ``K`` of norm 1.

    Args:
        force: a module that maps the current state, ``(batch, channels/2, *space)``, to its own shape; called with the
            condition, too, where there is one. It is evaluated again in the backward pass, see `Coupling`.

    Raises:
        ValueError: if the channels are odd, or the force has not the shape of the state.

    Source: Lensink, Peters and Haber, Fully hyperbolic convolutional neural networks, 2019, arXiv 1905.10484.

    Example:
        >>> import torch
        >>> layer = Hyperbolic(WaveForce(3, rank=2))
        >>> x = torch.randn(2, 6, 8, 8)
        >>> y, logdet = layer(x)
        >>> torch.equal(y[:, :3], x[:, 3:]), torch.allclose(layer.inverse(y)[0], x, atol=1e-5), logdet.tolist()
        (True, True, [0.0, 0.0])
    """

    def __init__(self, force: nn.Module) -> None:
        super().__init__()
        self.force = force

    def _force(self, state: Tensor, cond: Tensor | None) -> Tensor:
        out = evaluate(self.force, state) if cond is None else evaluate(self.force, state, cond)
        return self._checked(out, state)

    def _checked(self, force: Tensor, state: Tensor) -> Tensor:
        """The force, in the precision of the state."""
        if force.shape != state.shape:
            raise ValueError(f"expected a force of shape {tuple(state.shape)}, got {tuple(force.shape)}")
        return force.to(state.dtype)

    def _forward(self, x: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        previous, current = _halves(x)
        new = 2 * current - previous - self._force(current, finest(cond))
        return torch.cat([current, new], 1), x.new_zeros(x.shape[0])

    def _inverse(self, y: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        current, new = _halves(y)
        previous = 2 * current - new - self._force(current, finest(cond))
        return torch.cat([previous, current], 1), y.new_zeros(y.shape[0])

    def _backward(self, y: Tensor, cond: Condition, grad_y: Tensor, grad_logdet: Tensor) -> Backward:
        current, new = _halves(y)
        grad_current, grad_new = _halves(grad_y)
        force, pulled, grad_cond, grads = self._pulled_back(current, cond, -grad_new)
        x = torch.cat([2 * current - new - force, current], 1)
        return x, torch.cat([-grad_new, grad_current + 2 * grad_new + pulled], 1), grad_cond, grads

    def _inverse_backward(self, x: Tensor, cond: Condition, grad_x: Tensor, grad_logdet: Tensor) -> Backward:
        previous, current = _halves(x)
        grad_previous, grad_current = _halves(grad_x)
        force, pulled, grad_cond, grads = self._pulled_back(current, cond, -grad_previous)
        y = torch.cat([current, 2 * current - previous - force], 1)
        return y, torch.cat([grad_current + 2 * grad_previous + pulled, -grad_previous], 1), grad_cond, grads

    def _pulled_back(
        self, state: Tensor, cond: Condition, grad: Tensor
    ) -> tuple[Tensor, Tensor | float, ConditionGradient, Gradients]:
        """The force, and the gradients of state, condition and parameters from that of the force."""
        force, pull = graph(self.force, state, cond)
        return self._checked(force, state), *pull(grad)


class WaveForce(nn.Module):
    r"""``alpha K^T act(K X + C cond + b)``, ``K^T`` the adjoint of ``K`` with the same weights.

    ``K`` is a convolution from ``channels`` to ``hidden`` channels (a matrix for dense input), ``C`` one of kernel 1.
    For ``act = relu`` the force is the gradient of the convex energy ``alpha |relu(K X + b)|^2 / 2``. ``K`` starts as
    ``[1; -1]`` but for 5 percent of noise, so that ``K^T relu(K X) = X``: then a leapfrog step is a turn by the angle
    ``t`` with ``cos t = 1 - alpha/2``, of 60 degrees for ``alpha = 1``, in the plane of the two states, and a chain of
    any depth keeps their size. An activation that bends both ways, such as tanh, asks for a smaller ``alpha``.

    Args:
        channels: channels of one state.
        hidden: hidden channels, twice ``channels`` by default; fewer leave some of the states without a force.
        rank: number of spatial axes.
        kernel: odd size of ``K``.
        alpha: the square of the time step.
        activation: elementwise and increasing.
        cond_channels: channels of the condition, 0 for none.

    Raises:
        ValueError: if the rank is not 0 to 3 or not the state's, the kernel even, or a condition missing or one too
            many.

    Source: Ruthotto and Haber, Deep neural networks motivated by partial differential equations, 2018,
    arXiv 1804.04272.

    Example:
        >>> import torch
        >>> WaveForce(3, rank=1)(torch.randn(2, 3, 16)).shape
        torch.Size([2, 3, 16])
    """

    def __init__(
        self,
        channels: int,
        *,
        hidden: int | None = None,
        rank: int,
        kernel: int = 3,
        alpha: float = 1.0,
        activation: Callable[[Tensor], Tensor] = torch.relu,
        cond_channels: int = 0,
    ) -> None:
        super().__init__()
        if rank not in (0, 1, 2, 3):
            raise ValueError(f"expected a spatial rank of 0 to 3, got {rank}")
        if kernel % 2 == 0:
            raise ValueError(f"expected an odd kernel, which keeps the size, got {kernel}")
        self.alpha, self.activation = alpha, activation
        hidden = 2 * channels if hidden is None else hidden
        noise = 0.05 / (hidden * kernel**rank) ** 0.5
        weight = noise * torch.randn(hidden, channels, *[kernel] * rank)
        unit = torch.eye(channels)
        weight[(..., *[kernel // 2] * rank)] += torch.cat([unit, -unit, torch.zeros(hidden, channels)])[:hidden]
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(hidden))
        self.inject = convolution(cond_channels, hidden, kernel=1, rank=rank, bias=False) if cond_channels else None

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        """From the state and the condition, both ``(batch, channels, *space)``, to the force, of the state's shape."""
        if (cond is None) != (self.inject is None):
            raise ValueError(f"expected {'no condition' if self.inject is None else 'a condition'}, got the contrary")
        if x.ndim != self.weight.ndim:
            raise ValueError(f"expected a state with {self.weight.ndim - 2} axes of space, got shape {tuple(x.shape)}")
        padding = self.weight.shape[-1] // 2
        if self.weight.ndim == 2:
            hidden = F.linear(x, self.weight, self.bias)
        else:
            hidden = _FORWARD[x.ndim - 2](x, self.weight, self.bias, padding=padding)
        if self.inject is not None:
            hidden = hidden + self.inject(cond)
        hidden = self.activation(hidden)
        if self.weight.ndim == 2:
            return self.alpha * (hidden @ self.weight)
        return self.alpha * _ADJOINT[x.ndim - 2](hidden, self.weight, padding=padding)


_FORWARD = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_ADJOINT = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def _halves(x: Tensor) -> tuple[Tensor, Tensor]:
    if x.shape[1] % 2:
        raise ValueError(f"expected two states in an even number of channels, got a tensor of shape {tuple(x.shape)}")
    first, second = x.chunk(2, 1)
    return first, second
