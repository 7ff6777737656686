r"""`Hyperbolic`: a leapfrog step of the wave equation ``X'' = -F(X)``.

    [X_prev; X_curr] -> [X_curr; 2 X_curr - X_prev - F(X_curr)],   X_prev = 2 X_curr - X_new - F(X_curr).

The Jacobian is ``[[0, 1], [-1, 2 - F']]``, of determinant 1: ``logdet = 0``. Backward, with one evaluation of ``F``
that both inverts the step and is the graph of its gradient:

    dX_prev = -dX_new,   dX_curr = dX_curr' + 2 dX_new - (F')^T dX_new.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bayesinv.reversible.base import Backward, Condition, Reversible, finest
from bayesinv.reversible.replay import evaluate
from bayesinv.reversible.tiles import Tile, looked_into, pull_over, run_over

__all__ = ["Hyperbolic"]


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
        >>> from bayesinv.reversible import WaveForce
        >>> layer = Hyperbolic(WaveForce(3, rank=2))
        >>> x = torch.randn(2, 6, 8, 8)
        >>> y, logdet = layer(x)
        >>> torch.equal(y[:, :3], x[:, 3:]), torch.allclose(layer.inverse(y)[0], x, atol=1e-5), logdet.tolist()
        (True, True, [0.0, 0.0])
    """

    def __init__(self, force: nn.Module) -> None:
        super().__init__()
        self.force = force

    def _forward(self, x: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        return self._stepped(x, cond, backwards=False), x.new_zeros(x.shape[0])

    def _inverse(self, y: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        return self._stepped(y, cond, backwards=True), y.new_zeros(y.shape[0])

    def _backward(self, y: Tensor, cond: Condition, grad_y: Tensor, grad_logdet: Tensor) -> Backward:
        return self._pulled_back(y, cond, grad_y, backwards=True)

    def _inverse_backward(self, x: Tensor, cond: Condition, grad_x: Tensor, grad_logdet: Tensor) -> Backward:
        return self._pulled_back(x, cond, grad_x, backwards=False)

    def _backward_in_place(
        self, y: Tensor, cond: Condition, grad_y: Tensor, grad_logdet: Tensor, *, inverted: bool
    ) -> Backward:
        return self._pulled_back(y, cond, grad_y, backwards=not inverted, owned=True)

    def _stepped(self, x: Tensor, cond: Condition, *, backwards: bool) -> Tensor:
        """The states after a step to the next or the previous one."""
        current, other = _ordered(x, backwards=backwards)
        if looked_into():
            own, whole = finest(cond), Tile(slice(None), slice(None))
            force = evaluate(self.force, current) if own is None else evaluate(self.force, current, own)
            moved = self._moved(current, other, force, whole)
            return torch.cat([moved, current] if backwards else [current, moved], 1)
        y = torch.empty_like(x)
        kept, moved = _ordered(y, backwards=not backwards)
        kept.copy_(current)

        def use(force: Tensor, tile: Tile) -> None:
            tile.inner(moved)[...] = self._moved(current, other, force, tile)

        run_over(self.force, current, cond, use)
        return y

    def _pulled_back(
        self, y: Tensor, cond: Condition, grad_y: Tensor, *, backwards: bool, owned: bool = False
    ) -> Backward:
        """The states after a step to where ``y`` came from, and all gradients there; in place where ``owned``."""
        x, grad_x = (y, grad_y) if owned else (y.clone(), grad_y.clone())
        (current, other), (grad_current, grad_other) = (_ordered(t, backwards=backwards) for t in (x, grad_x))
        grad_current.add_(grad_other, alpha=2)

        def use(force: Tensor, tile: Tile) -> Tensor:
            tile.inner(other)[...] = self._moved(current, other, force, tile)
            return -tile.inner(grad_other)

        _, grad_cond, grads = pull_over(self.force, current, cond, use, into=grad_current)
        grad_other.neg_()
        _swap(x)
        _swap(grad_x)
        return x, grad_x, grad_cond, grads

    def _moved(self, current: Tensor, other: Tensor, force: Tensor, tile: Tile) -> Tensor:
        """``2 current - other - F(current)`` on a tile, in the precision of the states."""
        part = tile.inner(current)
        if force.shape != part.shape:
            raise ValueError(f"expected a force of shape {tuple(part.shape)}, got {tuple(force.shape)}")
        return 2 * part - tile.inner(other) - force.to(part.dtype)


def _ordered(x: Tensor, *, backwards: bool) -> tuple[Tensor, Tensor]:
    """The current and the other state, before a step to the next one or, backwards, to the previous one."""
    first, second = _halves(x)
    return (first, second) if backwards else (second, first)


def _halves(x: Tensor) -> tuple[Tensor, Tensor]:
    if x.shape[1] % 2:
        raise ValueError(f"expected two states in an even number of channels, got a tensor of shape {tuple(x.shape)}")
    first, second = x.chunk(2, 1)
    return first, second


def _swap(x: Tensor) -> None:
    """The two states, in place."""
    first, second = _halves(x)
    kept = first.clone()
    first.copy_(second)
    second.copy_(kept)
