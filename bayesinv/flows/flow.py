r"""`Flow`: a density by change of variables, ``log p(x|c) = log N(f(x; c); 0, T^2 I) + log |det df/dx|``.

Samples are ``x = f^{-1}(T z; c)`` with ``z ~ N(0, I)``; constants are included, so that the density integrates to one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bayesinv.reversible import Condition, Reversible, Workspace
from bayesinv.reversible.rebuild import energy_of
from bayesinv.seeding import normal, stream

__all__ = ["Flow"]


class Flow(nn.Module):
    """A reversible map and a standard normal latent of the shape of ``x``.

    Args:
        map: the reversible map from ``x`` to the latent ``z``.
        shape: shape ``(channels, *space)`` of one ``x``.
        summary: a network that every condition goes through before the map, where the flow has one of its own.

    Source: Rezende and Mohamed, 2015, arXiv 1505.05770; Papamakarios et al., 2021, arXiv 1912.02762.

    Example:
        >>> import torch
        >>> from bayesinv.flows import glow
        >>> flow = glow((1, 8, 8), levels=2, steps=1, hidden=8)
        >>> flow.sample(5, seed=0).shape, flow.log_prob(torch.randn(3, 1, 8, 8)).shape
        (torch.Size([5, 1, 8, 8]), torch.Size([3]))
    """

    def __init__(self, map: Reversible, shape: Sequence[int], *, summary: nn.Module | None = None) -> None:
        super().__init__()
        self.map, self.shape, self.summary = map, tuple(shape), summary

    @property
    def workspace(self) -> Workspace:
        """Bytes that the networks of the map may use at once, ``"auto"`` or a number; see `Reversible.workspace`."""
        return self.map.workspace

    @workspace.setter
    def workspace(self, workspace: Workspace) -> None:
        self.map.workspace = workspace

    def log_prob(self, x: Tensor, cond: Condition = None, *, temperature: float = 1.0) -> Tensor:
        """The log density in nats, shape ``(batch,)``, of ``x (batch, channels, *space)``.

        Raises:
            ValueError: if ``x`` has another shape than the flow, or the temperature is not positive.
        """
        if x.shape[1:] != self.shape:
            raise ValueError(f"expected a batch of {self.shape}, got a tensor of shape {tuple(x.shape)}")
        _check_temperature(temperature)
        energy, logdet = self.map.energy(x, self._digested(cond))
        log_prob: Tensor = self._latent_log_prob(energy, temperature) + logdet
        return log_prob

    def sample(
        self, n: int, cond: Condition = None, *, seed: int = 0, temperature: float = 1.0, batch_size: int = 64
    ) -> Tensor:
        """Draws ``n`` samples: ``(n, channels, *space)``, or ``(n, batch, channels, *space)`` with a condition.

        Sample ``i`` of observation ``j`` depends on ``(seed, i, j)`` only, never on ``batch_size``.
        """
        return torch.cat(list(self.batches(n, cond, seed=seed, temperature=temperature, batch_size=batch_size)))

    def batches(
        self, n: int, cond: Condition = None, *, seed: int = 0, temperature: float = 1.0, batch_size: int = 64
    ) -> Iterator[Tensor]:
        """The draws of `sample`, some at a time, so that they need not lie in memory together.

        Example:
            >>> from bayesinv.flows import glow
            >>> flow = glow((1, 4, 4), levels=1, steps=1, hidden=8)
            >>> [len(x) for x in flow.batches(5, seed=0, batch_size=2)]
            [2, 2, 1]
        """
        for x, _ in self._draws(n, cond, seed, temperature, batch_size):
            yield x

    def sample_and_log_prob(
        self, n: int, cond: Condition = None, *, seed: int = 0, temperature: float = 1.0, batch_size: int = 64
    ) -> tuple[Tensor, Tensor]:
        """The draws of `sample` and their log densities, ``(n,)`` or ``(n, batch)``, from one pass."""
        pairs = list(self._draws(n, cond, seed, temperature, batch_size))
        return torch.cat([x for x, _ in pairs]), torch.cat([p for _, p in pairs])

    def latent(self, n: int, batch: int, *, seed: int, start: int = 0) -> Tensor:
        """The latents ``z (n, batch, channels, *space)`` of samples ``start`` to ``start + n``."""
        key = stream("latent")
        flat = torch.stack([normal((batch, *self.shape), seed, key, i) for i in range(start, start + n)])
        return flat.to(self._like())

    def _digested(self, cond: Condition) -> Condition:
        if cond is None or self.summary is None:
            return cond
        digested: Condition = self.summary(cond)
        return digested

    def _like(self) -> Tensor:
        return next(self.parameters(), torch.zeros(()))

    def _latent_log_prob(self, energy: Tensor, temperature: float) -> Tensor:
        dimension = math.prod(self.shape)
        return -energy / temperature**2 - dimension * (0.5 * math.log(2 * math.pi) + math.log(temperature))

    def _draws(
        self, n: int, cond: Condition, seed: int, temperature: float, batch_size: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        if n < 1 or batch_size < 1:
            raise ValueError(f"expected at least one sample and a positive batch size, got {n} and {batch_size}")
        _check_temperature(temperature)
        with torch.no_grad(), _evaluating(self):
            cond = self._digested(cond)
        first = cond[0] if isinstance(cond, tuple) else cond
        batch = 1 if first is None else first.shape[0]
        step = max(1, batch_size // batch)
        for start in range(0, n, step):
            count = min(step, n - start)
            z = temperature * self.latent(count, batch, seed=seed, start=start)
            with torch.no_grad(), _evaluating(self):  # not round the yield: the caller goes on there
                x, logdet = self.map.inverse(z.flatten(0, 1), _repeated(cond, count))
                log_prob = self._latent_log_prob(energy_of(z.flatten(0, 1)), temperature) - logdet
            lead = (count,) if first is None else (count, batch)
            yield x.reshape(*lead, *self.shape), log_prob.reshape(lead)


def _repeated(cond: Condition, times: int) -> Condition:
    if cond is None or times == 1:
        return cond
    if isinstance(cond, tuple):
        return tuple(_repeat(c, times) for c in cond)
    return _repeat(cond, times)


def _repeat(part: Tensor, times: int) -> Tensor:
    return part.expand(times, *part.shape).flatten(0, 1)


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Draws are no first batch: a fresh ActNorm must not take its scale from them."""
    training = [part for part in module.modules() if part.training]
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True


def _check_temperature(temperature: float) -> None:
    if not temperature > 0:
        raise ValueError(f"expected a positive temperature, got {temperature}")
