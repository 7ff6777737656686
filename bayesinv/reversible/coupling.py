r"""`Coupling`: ``[a; b] -> [a; f(b; r)]``, ``r = net(a, cond)``, with an invertible map ``f`` of each number of ``b``.

By default the affine one, ``f = exp(s) b + t``, ``(r, t) = net(a, cond)``, ``s = m tanh(r/m)``, ``logdet = sum s``.
Backward, with one evaluation of the network that both inverts the layer and is the graph of its gradient:
``(b, db, dr)`` come from `Elementwise.backward`, and ``(da, dcond, dtheta)`` are the network's vector-Jacobian products
with ``dr``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bayesinv.reversible.base import Backward, Condition, ConditionGradient, Gradients, Reversible, finest, storages
from bayesinv.reversible.elementwise import Affine, Elementwise
from bayesinv.reversible.replay import evaluate
from bayesinv.reversible.scales import Scale
from bayesinv.reversible.tiles import Tile, looked_into, pull_over, run_over

__all__ = ["Coupling"]


class Coupling(Reversible):
    """Some channels decide what happens to the others: an affine coupling with bounded log-scale, or ``how``.

    The log-scales of other packages are one line each::

        Coupling(network, passive=2, scale=sigmoid_scale(0.5, 1.0))  # InvertibleNetworks.jl: Sigmoid(low=0.5, high=1)
        Coupling(network, passive=2, scale=sigmoid_scale(offset=2))  # normflows, Glow: sigmoid(s + 2)
        Coupling(network, passive=2, scale=arctan_scale(2.0))        # FrEIA: clamp 2

    and so are other maps: ``how=Additive()``, ``how=Spline(bins=8, tail=4.0)``.

    Args:
        network: any module, called as ``network(a)`` or, with a condition, ``network(a, cond)``; from the channels
            ``a`` it computes ``how.width`` times as many channels as ``b`` has; in the affine case twice as many: raw
            log-scales, then shifts. It should start at zero (see `Conditioner`), so that the layer starts as the
            identity. It is evaluated again in the backward pass, with the random numbers of the first time (dropout)
            and without touching its buffers (running statistics). Its ``nn.Conv2d`` weights are laid out channels last
            in memory, as images are here.
        passive: how many channels (``a``) pass unchanged.
        passive_last: whether the passive channels are the last ones rather than the first.
        bound: ``m``, the largest log-scale.
        scale: any monotone map from raw numbers to log-scales, in the place of ``m tanh(r/m)``.
        how: the map of each number of ``b`` in the place of the affine one.

    Source: Dinh et al., RealNVP, 2017, arXiv 1605.08803; single evaluation in the backward: Gomez et al., 2017,
    arXiv 1707.04585.

    Raises:
        ValueError: if ``passive`` or ``bound`` is not positive, or both ``scale`` and ``how`` are given.

    Example:
        >>> import torch
        >>> from bayesinv.reversible import Conditioner, Coupling
        >>> layer = Coupling(Conditioner(2, 4, hidden=8, rank=2), passive=2)
        >>> x = torch.randn(3, 4, 8, 8)
        >>> torch.equal(layer(x)[0], x)
        True
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        passive: int,
        passive_last: bool = False,
        bound: float = 2.0,
        scale: Scale | None = None,
        how: Elementwise | None = None,
    ) -> None:
        super().__init__()
        if passive < 1 or bound <= 0:
            raise ValueError(f"expected at least one passive channel and a positive bound, got {passive} and {bound}")
        if scale is not None and how is not None:
            raise ValueError("expected a scale or another map, got both: Affine(scale) is a map with this scale")
        self.network, self.passive, self.passive_last = network, passive, passive_last
        self.how = Affine(scale, bound=bound) if how is None else how
        for layer in network.modules():
            if type(layer) is nn.Conv2d:  # or each call would copy the weight to the layout of the images
                layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if x.shape[1] <= self.passive:
            raise ValueError(f"expected more than {self.passive} channels, got a tensor of shape {tuple(x.shape)}")
        if self.passive_last:
            return x[:, -self.passive :], x[:, : -self.passive]
        return x[:, : self.passive], x[:, self.passive :]

    def _raw(self, out: Tensor, b: Tensor) -> Tensor:
        """The network's output, in the precision of ``b``."""
        width = self.how.width
        if out.shape[1] != width * b.shape[1] or out.shape[2:] != b.shape[2:]:
            raise ValueError(
                f"expected a network output with channels {width}*{b.shape[1]} and space {tuple(b.shape[2:])}, "
                f"got shape {tuple(out.shape)}"
            )
        return out.to(b.dtype)

    def _forward(self, x: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        return self._mapped(x, cond, inverted=False)

    def _inverse(self, y: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        return self._mapped(y, cond, inverted=True)

    def _mapped(self, x: Tensor, cond: Condition, *, inverted: bool) -> tuple[Tensor, Tensor]:
        a, b = self._split(x)
        if looked_into():
            b, logdet = self._moved(a, b, cond, inverted=inverted)
            return torch.cat([b, a] if self.passive_last else [a, b], 1), logdet
        y = torch.empty_like(x)
        kept, moved = self._split(y)
        kept.copy_(a)
        return y, self._moved(a, b, cond, inverted=inverted, into=moved)[1]

    def _backward(self, y: Tensor, cond: Condition, grad_y: Tensor, grad_logdet: Tensor) -> Backward:
        return self._back(y, cond, grad_y, grad_logdet, torch.empty_like(y), torch.empty_like(grad_y), inverted=False)

    def _inverse_backward(self, x: Tensor, cond: Condition, grad_x: Tensor, grad_logdet: Tensor) -> Backward:
        return self._back(x, cond, grad_x, grad_logdet, torch.empty_like(x), torch.empty_like(grad_x), inverted=True)

    def _backward_in_place(
        self, y: Tensor, cond: Condition, grad_y: Tensor, grad_logdet: Tensor, *, inverted: bool
    ) -> Backward:
        return self._back(y, cond, grad_y, grad_logdet, y, grad_y, inverted=inverted)

    def _back(
        self, y: Tensor, cond: Condition, grad_y: Tensor, grad_logdet: Tensor, x: Tensor, grad_x: Tensor, *,
        inverted: bool,
    ) -> Backward:  # fmt: skip
        """The backward pass into ``x`` and ``grad_x``, which may be ``y`` and ``grad_y``."""
        (a, b), (grad_a, grad_b) = self._split(y), self._split(grad_y)
        (kept, before), (grad_kept, grad_before) = self._split(x), self._split(grad_x)
        if x is not y:
            kept.copy_(a)
            grad_kept.copy_(grad_a)
        into = (before, grad_before, grad_kept)
        _, _, _, grad_cond, grads = self._pulled(a, b, cond, grad_b, grad_logdet, inverted=inverted, into=into)
        return x, grad_x, grad_cond, grads

    def _moved(
        self, a: Tensor, b: Tensor, cond: Condition, *, inverted: bool, into: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """What becomes of ``b``, and the logdet."""
        step, own = self.how.inverse if inverted else self.how.forward, finest(cond)
        if looked_into():
            out = evaluate(self.network, a) if own is None else evaluate(self.network, a, own)
            return step(b, self._raw(out, b))
        moved, logdet = torch.empty_like(b) if into is None else into, b.new_zeros(b.shape[0])

        def use(out: Tensor, tile: Tile) -> None:
            part = tile.inner(b)
            tile.inner(moved)[...], more = step(part, self._raw(out, part))
            logdet[tile.samples] += more

        run_over(self.network, a, cond, use)
        return moved, logdet

    def _pulled(
        self, a: Tensor, b: Tensor, cond: Condition, grad_b: Tensor, grad_logdet: Tensor, *, inverted: bool,
        into: tuple[Tensor, Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor, Tensor | float, ConditionGradient, Gradients]:  # fmt: skip
        """What ``b`` was, and the gradients of that ``b``, of ``a``, of the condition, and of the parameters.

        The first two are written to, and the third is added to, what is given ``into``.
        """
        step = self.how.inverse_backward if inverted else self.how.backward
        before, grad_before, grad_a = (torch.empty_like(b), torch.empty_like(grad_b), None) if into is None else into

        def use(out: Tensor, tile: Tile) -> Tensor:
            part = tile.inner(b)
            found = step(part, self._raw(out, part), tile.inner(grad_b), grad_logdet[tile.samples])
            grad_raw = found[2]
            if storages(grad_raw) == storages(grad_b):  # which is written over
                grad_raw = grad_raw.clone()
            tile.inner(before)[...], tile.inner(grad_before)[...] = found[:2]
            return grad_raw

        return before, grad_before, *pull_over(self.network, a, cond, use, into=grad_a)
