r"""Mixtures of Gaussian fields, ``x ~ sum_k weights[k] N(means[k], covariances[k])``: posteriors with known modes.

Two components whose means differ by what the operator does not see, ``A (mu_1 - mu_2) = 0``, and that share a
covariance have weights .5 and .5 given *any* data: whoever finds only one of them has dropped a mode.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from bayesinv.seeding import generator, stream
from bayesinv_datasets.checks import check_positive, check_request
from bayesinv_datasets.matern import GaussianField, matern

__all__ = ["GaussianMixture", "two_modes"]


class GaussianMixture:
    """A mixture of Gaussian priors on images.

    Args:
        weights: of the components, positive; they are normalised.
        components: the Gaussian priors, of one shape.
        parameters: the keywords that make this prior again.

    Raises:
        ValueError: if there are not as many positive weights as components, or the shapes differ.

    Example:
        >>> low, high = matern(8, mean=-3.0), matern(8, mean=3.0)
        >>> prior = GaussianMixture([1, 3], [low, high])
        >>> prior.sample(400, 0).mean((1, 2, 3)).gt(0).float().mean() > 0.7
        tensor(True)
    """

    def __init__(
        self, weights: Any, components: list[GaussianField], *, parameters: dict[str, Any] | None = None
    ) -> None:
        given = torch.as_tensor(weights, dtype=torch.float64)
        if given.shape != (len(components),) or not components or not bool((given > 0).all()):
            raise ValueError(f"expected {len(components)} positive weights, one for each component, got {weights!r}")
        shapes = {component.shape for component in components}
        if len(shapes) != 1:
            raise ValueError(f"expected components of one shape, got {sorted(shapes)}")
        self.components, self.parameters = list(components), dict(parameters or {})
        self.weights, self.shape = given / given.sum(), components[0].shape

    @property
    def means(self) -> Tensor:
        """``(K, *shape)``."""
        return torch.stack([component.mean for component in self.components])

    @property
    def covariances(self) -> Tensor:
        """``(K, d, d)``."""
        return torch.stack([component.covariance for component in self.components])

    def component(self, n: int, seed: int, *, start: int = 0) -> Tensor:
        """Which component each image of `sample` comes from, ``(n,)``."""
        check_request(n, seed, start)
        key = stream("mixture component")
        uniform = [generator(seed, key, i).random() for i in range(start, start + n)]
        return torch.from_numpy(np.searchsorted(self.weights.cumsum(0).numpy()[:-1], uniform, side="right"))

    def sample(self, n: int, seed: int, *, start: int = 0) -> Tensor:
        """Images ``start`` to ``start + n`` of the stream of ``seed``, float32 ``(n, *shape)``."""
        chosen = self.component(n, seed, start=start)
        drawn = [self.components[int(k)].sample(1, seed, start=start + i) for i, k in enumerate(chosen)]
        return torch.cat(drawn)

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density in nats ``(n,)`` of images ``(n, *shape)``."""
        terms = torch.stack([component.log_prob(x) for component in self.components], 1)
        return torch.logsumexp(terms + self.weights.log(), 1)


def two_modes(
    size: int = 16, *, separation: float = 3.0, lengths: tuple[float, float] = (2.0, 8.0), direction: Any = None
) -> GaussianMixture:
    r"""Two equal modes ``+- separation v / 2`` about one Matern field.

    ``v`` is a constant image by default, which any operator of derivatives, such as post-stack seismic, maps to zero;
    give as `direction` what another operator does not see.

    Args:
        size: pixels along ``z`` and ``x``.
        separation: distance of the means along ``v``, in standard deviations of the field's projection on ``v / |v|``
            times ``|v|``; from 4 on the modes hardly touch.
        lengths: correlation lengths along ``z`` and ``x`` in pixels.
        direction: the image ``v``, ``(1, size, size)``.

    Raises:
        ValueError: for a size, separation or length out of range.

    Example:
        >>> prior = two_modes(8)
        >>> prior.weights.tolist(), prior.means.mean((1, 2, 3)).sign().tolist()
        ([0.5, 0.5], [1.0, -1.0])
    """
    check_positive(separation=separation)
    field = matern(size, lengths=lengths)
    v = torch.as_tensor(np.ones(field.shape) if direction is None else direction, dtype=torch.float64)
    if v.shape != field.shape or not float(v.norm()) > 0:
        raise ValueError(f"expected a direction of shape {field.shape} that is not zero, got {tuple(v.shape)}")
    unit = (v / v.norm()).flatten()
    spread = float((unit @ field.covariance @ unit).sqrt())
    shift = 0.5 * separation * spread * unit.reshape(field.shape)
    parameters: dict[str, Any] = {"size": size, "separation": separation, "lengths": list(lengths)}
    if direction is not None:
        parameters["direction"] = v.tolist()
    sides = [GaussianField(field.shape, sign * shift, field.covariance) for sign in (1.0, -1.0)]
    return GaussianMixture([0.5, 0.5], sides, parameters=parameters)
