r"""`train_estimator`: fits an estimator ``f`` to pairs by the squared error ``|f(y) - x|^2``, at best E[x | y]."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bayesinv.seeding import generator, stream

__all__ = ["EstimatorEpoch", "snr", "train_estimator"]


@dataclass(frozen=True)
class EstimatorEpoch:
    """What one epoch came to.

    Args:
        epoch: its number, from 1.
        step: optimizer steps so far.
        loss: mean squared error in the epoch, over the mean square of the images.
        snr: of held-out images in decibel, see `snr`; nan where there are none.
    """

    epoch: int
    step: int
    loss: float
    snr: float


def train_estimator(
    estimator: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    parameters: Sequence[Tensor] = (),
    epochs: int = 4,
    batch_size: int = 8,
    learning_rate: float = 3e-3,
    clip: float = 1.0,
    seed: int = 0,
    held: tuple[Tensor, ...] | None = None,
) -> list[EstimatorEpoch]:
    """Trains ``estimator(y, *parameters)`` in place with Adam, a tenth of the steps warm-up, then a cosine to zero.

    Args:
        estimator: say an `IRIM`; any module from data to images.
        x: images ``(n, *model_shape)``.
        y: data ``(n, *data_shape)``.
        parameters: what the operators of the records are made of, each ``(n, ...)``, if the estimator takes them.
        epochs: passes over the pairs.
        batch_size: pairs a step; a last, smaller batch is left out.
        learning_rate: the largest one.
        clip: largest gradient norm.
        seed: of the order of the pairs.
        held: held-out ``(x, y, *parameters)`` to look at after each epoch.

    Returns:
        A row for each epoch.

    Raises:
        ValueError: if there are not as many data as images, or less than one batch.
        FloatingPointError: if the loss is not finite.

    Example:
        >>> import numpy as np, pylops
        >>> from bayesinv.physics import from_pylops
        >>> from bayesinv.unrolled import UnrolledDescent
        >>> twice = from_pylops(pylops.Diagonal(np.full(8, 2.0)))
        >>> x = torch.randn(64, 1, 8)
        >>> rows = train_estimator(UnrolledDescent(twice, step=0.05), x, 2 * x, learning_rate=0.1, epochs=5)
        >>> rows[-1].loss < 0.1 * rows[0].loss
        True
    """
    if len(x) != len(y) or len(x) < batch_size:
        raise ValueError(f"expected as many data as images, {batch_size} or more, got {len(x)} images, {len(y)} data")
    epoch_steps = len(x) // batch_size
    steps, scale = epochs * epoch_steps, float(x.abs().square().mean())
    optimizer = torch.optim.Adam(estimator.parameters(), lr=learning_rate, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps))
    rows = []
    for epoch in range(epochs):
        estimator.train()
        order = torch.from_numpy(generator(seed, stream("estimator order"), epoch).permutation(len(x)))
        total = 0.0
        for chosen in torch.split(order[: epoch_steps * batch_size], batch_size):
            optimizer.zero_grad(set_to_none=True)
            estimate = estimator(y[chosen], *[p[chosen] for p in parameters])
            loss = (estimate - x[chosen]).abs().square().mean() / scale
            if not bool(torch.isfinite(loss)):
                raise FloatingPointError(f"expected a finite loss, got {loss.item()}: lower learning_rate")
            loss.backward()
            nn.utils.clip_grad_norm_(estimator.parameters(), clip)
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        quality = math.nan if held is None else snr(held[0], _estimated(estimator, held[1:], batch_size))
        rows.append(EstimatorEpoch(epoch + 1, (epoch + 1) * epoch_steps, total / epoch_steps, quality))
    estimator.eval()
    return rows


def snr(x: Tensor, estimate: Tensor) -> float:
    """The mean signal-to-noise ratio ``20 log10(|x| / |x - estimate|)`` of images ``(batch, ...)``, in decibel.

    Example:
        >>> snr(torch.ones(2, 1, 4), 0.9 * torch.ones(2, 1, 4))
        20.0
    """
    error = (x - estimate).flatten(1).norm(dim=1)
    return round(float((20 * (x.flatten(1).norm(dim=1) / error).log10()).mean()), 4)


@torch.no_grad()
def _estimated(estimator: nn.Module, inputs: Sequence[Tensor], batch_size: int) -> Tensor:
    estimator.eval()
    batches = zip(*[torch.split(part, batch_size) for part in inputs], strict=True)
    return torch.cat([estimator(*batch) for batch in batches])


def _rate(step: int, steps: int) -> float:
    warm = min(1.0, (step + 1) / max(1, steps // 10))
    return warm * 0.5 * (1 + math.cos(math.pi * step / steps))
