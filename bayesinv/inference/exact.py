r"""Exact posteriors: Gaussian and mixture priors under a linear forward model with white noise of known level.

For ``x ~ sum_k pi_k N(mu_k, C_k)`` and ``y = A x + sigma e`` the posterior is a mixture as well,

    p(x | y) = sum_k w_k(y) N(x; m_k(y), Gamma_k),      w_k(y) ~ pi_k N(y; A mu_k, A C_k A^T + sigma^2 I),

(`bayesinv.inference.exact_update` has the formulas of one component). It is what every sampler and every diagnostic of
this package is held against. ``E log p(x | y)`` is the best log density that any posterior can reach on average.
"""

from __future__ import annotations

import math
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from bayesinv.inference.exact_update import (
    GaussianUpdate,
    as_float64,
    dense_matrix,
    gaussian_entropy,
    real_parts,
    update,
)
from bayesinv.inference.samples import Samples, labelled
from bayesinv.physics import ForwardModel, GaussianNoise, as_linear
from bayesinv.seeding import generator, stream

__all__ = ["ExactConditioned", "ExactPosterior", "GaussianPrior", "MixturePrior", "exact_posterior", "with_known_noise"]


@runtime_checkable
class GaussianPrior(Protocol):
    """A prior ``N(mean, covariance)``: ``mean`` of the shape of an image, ``covariance (d, d)`` of its numbers."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(channels, *space)``."""
        ...

    @property
    def mean(self) -> Any:
        """Image of the means."""
        ...

    @property
    def covariance(self) -> Any:
        """Covariance of the flattened image."""
        ...


@runtime_checkable
class MixturePrior(Protocol):
    """A prior ``sum_k weights[k] N(means[k], covariances[k])``; shapes ``(K,)``, ``(K, *shape)``, ``(K, d, d)``."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(channels, *space)``."""
        ...

    @property
    def weights(self) -> Any:
        """Weight of each component."""
        ...

    @property
    def means(self) -> Any:
        """Image of the means of each component."""
        ...

    @property
    def covariances(self) -> Any:
        """Covariance of the flattened image in each component."""
        ...


class ExactPosterior:
    """The exact amortized posterior of a Gaussian or mixture prior under a linear forward model.

    It is called and sampled as a trained `Posterior` is, so that all diagnostics take it.

    Args:
        prior: a `GaussianPrior` or a `MixturePrior`.
        forward: linear, with white noise of a level that does not depend on the image (``relative=False``).
        target_noise: standard deviation of white noise on the images whose law is asked for, as a flow that was
            trained on such images has learnt it.

    Raises:
        ValueError: if the prior is neither, the shapes differ, the noise is relative to the record or coloured, the
            operator is not linear, or there are more than 4096 unknowns.

    Example:
        >>> import pylops
        >>> from types import SimpleNamespace
        >>> from bayesinv.physics import from_pylops
        >>> forward = ForwardModel(from_pylops(pylops.Identity(4)), GaussianNoise(0.5, relative=False))
        >>> prior = SimpleNamespace(shape=(1, 4), mean=torch.zeros(1, 4), covariance=torch.eye(4))
        >>> posterior = ExactPosterior(prior, forward)
        >>> posterior(torch.ones(1, 4)).mean()  # 4 y / (1 + 4)
        tensor([[[0.8000, 0.8000, 0.8000, 0.8000]]], dtype=torch.float64)
    """

    def __init__(
        self, prior: GaussianPrior | MixturePrior, forward: ForwardModel, *, target_noise: float = 0.0
    ) -> None:
        if tuple(prior.shape) != forward.model_shape:
            raise ValueError(f"expected a prior of images {forward.model_shape}, got one of {tuple(prior.shape)}")
        noise = forward.noise
        if not isinstance(noise, GaussianNoise) or noise.relative or noise.colour is not None:
            raise ValueError(
                "expected white noise of a level that does not depend on the image, GaussianNoise(sigma, "
                f"relative=False), got {noise}; `with_known_noise` makes such a forward model"
            )
        if not (math.isfinite(target_noise) and target_noise >= 0):
            raise ValueError(f"expected a target_noise of 0 or more, got {target_noise}")
        self.forward, self.target_noise = forward, target_noise
        self.weights, self.means, self.covariances = _components(prior)
        self.matrix = dense_matrix(as_linear(forward.operator))
        self._updates: dict[float, list[GaussianUpdate]] = {}

    def __call__(self, y: Any, sigma: Any = None) -> ExactConditioned:
        """The distribution of images given one record ``data_shape`` or a batch of them.

        Args:
            y: the data; array, tensor or ``xarray.DataArray``.
            sigma: known noise level, a number or ``(batch,)``; absent, the problem's own.

        Raises:
            ValueError: for a wrong shape, NaN or infinity, or a sigma that is not positive or of another length.
        """
        data = y if isinstance(y, Tensor) else torch.from_numpy(np.array(y))
        single = data.ndim == len(self.forward.data_shape)
        data = data[None] if single else data
        self.forward.check_data(data)
        known = self.forward.noise.sigma_of(data) if sigma is None else torch.as_tensor(sigma)
        known = known.double().flatten()
        if len(known) not in (1, len(data)):
            raise ValueError(f"expected one noise level sigma or one for each of {len(data)} records, got {len(known)}")
        known = known.expand(len(data))
        if not bool((torch.isfinite(known) & (known > 0)).all()):
            raise ValueError("expected positive, finite noise levels sigma")
        return ExactConditioned(self, data, known, single)

    def updates(self, sigma: float) -> list[GaussianUpdate]:
        """The closed forms of all components at a noise level, computed once."""
        if sigma not in self._updates:
            pairs = zip(self.means, self.covariances, strict=True)
            tau = self.target_noise
            self._updates[sigma] = [update(m, c, self.matrix, sigma, target_noise=tau) for m, c in pairs]
        return self._updates[sigma]


class ExactConditioned:
    """The exact ``p(x | y)`` of one record or a batch of them; made by calling an `ExactPosterior`.

    Attributes:
        y: the data ``(batch, *data_shape)``.
        sigma: the noise levels ``(batch,)``.
        weights: posterior weights of the components ``(batch, K)``.
        means: posterior means of the components ``(batch, K, *model_shape)``.
    """

    def __init__(self, posterior: ExactPosterior, y: Tensor, sigma: Tensor, single: bool) -> None:
        self.posterior, self.y, self.sigma, self.single = posterior, y, sigma, single
        self._laws = [posterior.updates(float(level)) for level in sigma]
        rows = real_parts(y)[:, None]
        evidence = [
            torch.cat([law.log_evidence(row) for law in laws]) for laws, row in zip(self._laws, rows, strict=True)
        ]
        self.log_evidence = torch.logsumexp(torch.stack(evidence) + posterior.weights.log(), 1)
        self.weights = torch.softmax(torch.stack(evidence) + posterior.weights.log(), 1)
        means = [torch.cat([law.mean(row) for law in laws]) for laws, row in zip(self._laws, rows, strict=True)]
        self.means = torch.stack(means).reshape(*self.weights.shape, *posterior.forward.model_shape)

    def mean(self) -> Tensor:
        """Posterior means ``(batch, *model_shape)``."""
        return torch.einsum("bk,bk...->b...", self.weights, self.means)

    def std(self) -> Tensor:
        """Standard deviation of each pixel, ``(batch, *model_shape)``."""
        within = torch.stack([torch.stack([law.covariance.diagonal() for law in laws]) for laws in self._laws])
        second = within.reshape(self.means.shape) + self.means.square()
        return (torch.einsum("bk,bk...->b...", self.weights, second) - self.mean().square()).sqrt()

    def covariance(self) -> Tensor:
        """Covariance matrices ``(batch, d, d)`` of the flattened images."""
        within = torch.stack([torch.stack([law.covariance for law in laws]) for laws in self._laws])
        apart = (self.means - self.mean()[:, None]).flatten(2)
        second = within + apart[..., :, None] * apart[..., None, :]
        return torch.einsum("bk,bkij->bij", self.weights, second)

    def cdf(self, x: Any) -> Tensor:
        """``P(pixel <= x | y)`` of each pixel by itself, ``(batch, *model_shape)``: uniform at a true image.

        Raises:
            ValueError: for images of another shape, or not as many as records.
        """
        images = self._images(x)
        scale = torch.stack([torch.stack([law.covariance.diagonal() for law in laws]) for laws in self._laws]).sqrt()
        z = (images[:, None] - self.means) / scale.reshape(self.means.shape)
        return torch.einsum("bk,bk...->b...", self.weights, torch.special.ndtr(z))

    def log_prob(self, x: Any) -> Tensor:
        """Log density in nats of images ``(n, *model_shape)``, one for each record or many for one, ``(n,)``.

        Raises:
            ValueError: for images of another shape, or not as many as records.
        """
        return torch.logsumexp(self._joint(x), 1)

    def responsibilities(self, x: Any) -> Tensor:
        """Probability that each image came from each component given it and the data, ``(n, K)``."""
        return torch.softmax(self._joint(x), 1)

    def draw(self, n: int, *, seed: int = 0) -> Tensor:
        """Samples ``(n, batch, *model_shape)``, float64; sample ``i`` of record ``j`` depends on ``(seed, i, j)`` only.

        Raises:
            ValueError: if ``n`` is not positive.
        """
        if n < 1:
            raise ValueError(f"expected one sample or more, got {n}")
        drawn = []
        for index, (laws, weights) in enumerate(zip(self._laws, self.weights, strict=True)):
            uniform = generator(seed, stream("exact component"), index).random(n)
            inner = np.cumsum(weights.numpy())[:-1]
            chosen = np.searchsorted(inner, uniform, side="right")
            white = generator(seed, stream("exact"), index).standard_normal((n, len(self.posterior.means[0])))
            values = torch.from_numpy(white)
            for k, law in enumerate(laws):
                rows = torch.from_numpy(np.flatnonzero(chosen == k))
                values[rows] = self.means[index, k].flatten() + values[rows] @ law.factor.T
            drawn.append(values)
        return torch.stack(drawn, 1).reshape(n, len(self.y), *self.posterior.forward.model_shape)

    def sample(self, n: int, *, seed: int = 0) -> Samples:
        """Draws ``n`` images for each record, with coordinates, units, the data and the misfit of each sample.

        Raises:
            ValueError: if ``n`` is not positive.
        """
        forward = self.posterior.forward
        drawn = self.draw(n, seed=seed)
        misfit = [
            (real_parts(forward.operator(x)) - real_parts(self.y)).square().mean(1) / self.sigma**2 for x in drawn
        ]
        chi2, y, sigma = torch.stack(misfit), self.y, self.sigma
        lead: tuple[str, ...] = ("sample", "observation")
        if self.single:
            drawn, chi2, y, sigma, lead = drawn[:, 0], chi2[:, 0], y[0], sigma[0], ("sample",)
        import xarray as xr

        return Samples(
            labelled(drawn.numpy(), forward.model_axes, leading=lead, quantity=forward.quantity, unit=forward.unit),
            data=labelled(
                y.numpy(), forward.data_axes, leading=lead[1:], quantity=forward.data_quantity, unit=forward.data_unit
            ),
            sigma=xr.DataArray(sigma.numpy(), dims=lead[1:]),
            chi2=xr.DataArray(chi2.numpy(), dims=lead),
            provenance={"samples": n, "seed": seed, "posterior": "exact"},
        )

    def expected_log_prob(self, *, samples: int = 1000, seed: int = 0) -> tuple[Tensor, Tensor]:
        r"""``E log p(x | y)`` over the posterior of each record, in nats, and its standard error, ``(batch,)`` each.

        For one component ``-(d/2) log(2 pi e) - 1/2 log det Gamma``, whatever the data, with no error; for a mixture
        the mean over `samples` draws.
        """
        if self.weights.shape[1] == 1:
            dimension = math.prod(self.posterior.forward.model_shape)
            values = [-gaussian_entropy(dimension, laws[0].half_log_det) for laws in self._laws]
            return torch.tensor(values, dtype=torch.float64), torch.zeros(len(values), dtype=torch.float64)
        found = []
        for index, images in enumerate(self.draw(samples, seed=seed).movedim(1, 0)):
            one = self.posterior(self.y[index : index + 1], self.sigma[index : index + 1])
            found.append(one.log_prob(images))
        stacked = torch.stack(found)
        return stacked.mean(1), stacked.std(1) / math.sqrt(samples)

    def _images(self, x: Any) -> Tensor:
        """Images ``(n, *model_shape)``, as many as records unless there is but one; a single one may lack the axis."""
        images, shape = as_float64(x), self.posterior.forward.model_shape
        images = images[None] if images.ndim == len(shape) else images
        if tuple(images.shape[1:]) != shape:
            raise ValueError(f"expected images of shape (n, {', '.join(map(str, shape))}), got {tuple(images.shape)}")
        if len(self.y) not in (1, len(images)):
            raise ValueError(f"expected as many images as records ({len(self.y)}), got {len(images)}")
        return images

    def _joint(self, x: Any) -> Tensor:
        """``log w_k + log N(x; m_k, Gamma_k)``, ``(n, K)``."""
        images = self._images(x)
        means, weights = self.means.flatten(2), self.weights.log()
        if len(self.y) == 1:
            terms = [law.log_prob(images.flatten(1), means[0, k]) for k, law in enumerate(self._laws[0])]
            return torch.stack(terms, 1) + weights
        pairs = zip(images.flatten(1), means, self._laws, strict=True)
        rows = [torch.cat([law.log_prob(x[None], m[k]) for k, law in enumerate(laws)]) for x, m, laws in pairs]
        return torch.stack(rows) + weights


def exact_posterior(
    prior: GaussianPrior | MixturePrior, forward: ForwardModel, y: Any, *, sigma: Any = None, target_noise: float = 0.0
) -> ExactConditioned:
    """The exact ``p(x | y)`` of a Gaussian or mixture prior under a linear forward model.

    For many data build one `ExactPosterior` and call it: the matrices are then factored once.

    Args:
        prior: a `GaussianPrior` or a `MixturePrior`.
        forward: linear, with white noise of known level.
        y: one record or a batch of them.
        sigma: known noise level; absent, the problem's own.
        target_noise: standard deviation of white noise on the images whose law is asked for.

    Raises:
        ValueError: as `ExactPosterior` does.
    """
    return ExactPosterior(prior, forward, target_noise=target_noise)(y, sigma)


def with_known_noise(prior: GaussianPrior | MixturePrior, forward: ForwardModel, level: float) -> ForwardModel:
    """The same forward model with noise of one level, `level` times the rms of the clean data under the prior.

    ``sigma^2 = level^2 E |A x|^2 / m``: the closed forms need a level that does not depend on the image.

    Raises:
        ValueError: if the prior is neither Gaussian nor a mixture, or the level not positive.
    """
    from dataclasses import replace

    weights, means, covariances = _components(prior)
    matrix = dense_matrix(as_linear(forward.operator))
    power = [
        (matrix @ m).square().sum() + ((matrix @ c) * matrix).sum() for m, c in zip(means, covariances, strict=True)
    ]
    rms = float((weights @ torch.stack(power) / len(matrix)).sqrt())
    return replace(forward, noise=GaussianNoise(level * rms, relative=False))


def _components(prior: GaussianPrior | MixturePrior) -> tuple[Tensor, Tensor, Tensor]:
    """Weights ``(K,)``, means ``(K, d)`` and covariances ``(K, d, d)`` of a prior, float64."""
    if isinstance(prior, MixturePrior):
        weights, covariances = as_float64(prior.weights), as_float64(prior.covariances)
        return weights / weights.sum(), as_float64(prior.means).flatten(1), covariances
    if isinstance(prior, GaussianPrior):
        return (
            torch.ones(1, dtype=torch.float64),
            as_float64(prior.mean).reshape(1, -1),
            as_float64(prior.covariance)[None],
        )
    raise ValueError(
        "expected a prior with mean and covariance (a Gaussian), or with weights, means and covariances (a mixture), "
        f"got {type(prior).__name__}"
    )
