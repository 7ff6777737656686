"""`HeldOut`: a posterior beside pairs that it was not trained on; what every diagnostic is a function of.

It yields one observation at a time, with its samples, so that a diagnosis of any length needs the memory of one. Every
number depends on the seed and the index of the observation only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bayesinv.inference.gate import gate_unheard
from bayesinv.seeding import generator, normal, stream

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["HeldOut", "Observation"]

Array: TypeAlias = NDArray[Any]


class _Posterior(Protocol):
    @property
    def target_noise(self) -> float: ...
    def __call__(self, y: Tensor, sigma: Tensor | None = None) -> Any: ...


class _Problem(Protocol):
    @property
    def forward(self) -> Any: ...
    def sample(self, n: int, seed: int) -> tuple[Tensor, Tensor, Tensor]: ...


@dataclass(frozen=True, eq=False)
class Observation:
    """One held-out pair and the samples given its data.

    Attributes:
        index: of the pair.
        clean: the true image ``(channels, *space)``.
        target: the true image with the noise that images bore in training, a draw of the law that was learnt.
        values: the samples ``(S, channels, *space)``.
        y: the data ``(1, *data_shape)``.
        sigma: the noise level ``(1,)``.
        conditioned: the posterior given the data, with ``sample`` and ``log_prob``.
        seed: of its samples.
        forward: the forward model of the problem.
    """

    index: int
    clean: Array
    target: Array
    values: Array
    y: Tensor
    sigma: Tensor
    conditioned: Any
    seed: int
    forward: Any

    @property
    def predicted(self) -> Array:
        """``A x`` of the samples as rows of real numbers ``(S, m)``."""
        return _rows(self._clean)

    @property
    def predicted_target(self) -> Array:
        """``A x*`` of the target as real numbers ``(1, m)``."""
        return _rows(self._clean_target)

    def misfit(self, images: Array | None = None) -> Array:
        """Chi-square per datum ``|W (y - A x)|^2 / (sigma^2 m)`` of images, by default of the samples, ``(n,)``.

        ``W`` whitens the noise, see `bayesinv.physics.Whitening`.
        """
        return self._misfit(self._clean if images is None else self._predictions(images))

    def misfit_target(self) -> float:
        """Chi-square per datum of the target."""
        return float(self._misfit(self._clean_target)[0])

    @cached_property
    def _clean(self) -> Tensor:
        return self._predictions(self.values)

    @cached_property
    def _clean_target(self) -> Tensor:
        return self._predictions(self.target[None])

    def _predictions(self, images: Array) -> Tensor:
        import torch

        given = torch.from_numpy(np.ascontiguousarray(images)).to(self.y.device, self.y.real.dtype)
        with torch.no_grad():
            data: Tensor = self.forward.operator(self.forward.within(given))
        return data

    def _misfit(self, clean: Tensor) -> Array:
        level = float(self.sigma.cpu().double().mean())
        return np.asarray((_rows(self.forward.noise.whiten(clean - self.y, self.y)) ** 2).mean(1) / level**2)


class HeldOut:
    """A posterior and held-out pairs; iterate over it for one `Observation` after the other.

    Args:
        posterior: called with ``(y, sigma)`` it gives a distribution with ``sample(n, seed=)`` and ``log_prob(x)``; a
            trained `Posterior` or an `ExactPosterior`.
        problem: simulator of the pairs, and their forward model.
        simulations: number of pairs to simulate.
        samples: samples for each; 99 makes the 90 % interval by ranks exact.
        seed: of pairs and samples; choose another than in training.
        pairs: ``(x, y, sigma)`` in place of simulated ones, tensors or arrays: ``(N, *model_shape)``, ``(N,
            *data_shape)``, ``(N,)``.
        keep: whether to keep the samples in memory, so that several diagnostics share them.

    Raises:
        ValueError: for fewer than two pairs or four samples, pairs that do not match or hold NaN or infinity; where
            an observation is drawn, if its samples do.

    Example:
        >>> from bayesinv.inference import Posterior, load_problem
        >>> problem = load_problem("deblur", size=16)
        >>> held = HeldOut(Posterior.build(problem, steps=1), problem, simulations=2, samples=9)
        >>> [one.values.shape for one in held]
        [(9, 1, 16, 16), (9, 1, 16, 16)]
    """

    def __init__(
        self,
        posterior: _Posterior,
        problem: _Problem,
        *,
        simulations: int = 200,
        samples: int = 99,
        seed: int = 1,
        pairs: tuple[Any, Any, Any] | None = None,
        keep: bool = False,
    ) -> None:
        if samples < 4:
            raise ValueError(f"expected at least 4 samples, got {samples}")
        self.posterior, self.forward = posterior, problem.forward
        self.samples, self.seed = samples, seed
        found = problem.sample(simulations, seed) if pairs is None else pairs
        self.x, self.y, self.sigma = _checked(found, problem.forward)
        self.target_noise = float(posterior.target_noise)
        self._kept: dict[int, Observation] | None = {} if keep else None

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.x)

    def __iter__(self) -> Iterator[Observation]:
        """The observations in their order."""
        for index in range(len(self)):
            yield self[index]

    def __getitem__(self, index: int) -> Observation:
        """One observation, its samples drawn now unless they were kept."""
        if not 0 <= index < len(self):
            raise IndexError(f"expected an observation of 0 to {len(self) - 1}, got {index}")
        if self._kept is not None and index in self._kept:
            return self._kept[index]
        import torch

        y, sigma = self.y[index : index + 1], self.sigma[index : index + 1]
        seed = int(generator(self.seed, stream("diagnose"), index).integers(2**31))
        with torch.no_grad(), gate_unheard():
            conditioned = self.posterior(y, sigma)
            values = np.asarray(conditioned.sample(self.samples, seed=seed).observation(0).values.to_numpy())
        wrong = int((~np.isfinite(values)).reshape(len(values), -1).any(1).sum())
        if wrong:
            raise ValueError(
                f"expected finite samples, got NaN or infinity in {wrong} of {len(values)} given observation {index}; "
                "next: train anew with a smaller rate, or with more noise on the images"
            )
        clean = self.x[index].cpu().numpy()
        one = Observation(index, clean, self.target(index), values, y, sigma, conditioned, seed, self.forward)
        if self._kept is not None:
            self._kept[index] = one
        return one

    def target(self, index: int) -> Array:
        """The true image with the noise that images bore in training."""
        clean = self.x[index].cpu().numpy()
        if self.target_noise == 0:
            return np.asarray(clean)
        noise = normal(clean.shape, self.seed, stream("target noise"), index).numpy()
        return np.asarray(clean + self.target_noise * noise)

    @property
    def shape(self) -> tuple[int, ...]:
        """``(channels, *space)`` of an image."""
        return tuple(self.x.shape[1:])

    @property
    def dimension(self) -> int:
        """Numbers in an image."""
        return math.prod(self.shape)


def _checked(pairs: tuple[Any, Any, Any], forward: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs as tensors, once their lengths, shapes and numbers are as they should be."""
    import torch

    x, y, sigma = (torch.as_tensor(part) for part in pairs)
    lengths = [len(part) if part.ndim else 0 for part in (x, y, sigma)]
    if lengths[0] < 2 or len(set(lengths)) != 1:
        raise ValueError(f"expected 2 or more pairs, as many x as y and sigma, got {', '.join(map(str, lengths))}")
    for name, part, shape in (
        ("x", x, getattr(forward, "model_shape", x.shape[1:])),
        ("y", y, getattr(forward, "data_shape", y.shape[1:])),
        ("sigma", sigma, ()),
    ):
        if tuple(part.shape[1:]) != tuple(shape):
            wanted = ", ".join(map(str, ("N", *shape)))
            raise ValueError(f"expected {name} of shape ({wanted}), got {tuple(part.shape)}")
        wrong = int((~torch.isfinite(part)).reshape(len(part), -1).any(1).sum())
        if wrong:
            raise ValueError(f"expected finite {name}, got NaN or infinity in {wrong} of {len(part)} pairs")
    return x, y, sigma


def _rows(data: Tensor) -> Array:
    import torch

    parts = torch.view_as_real(data.resolve_conj()) if data.is_complex() else data
    return np.asarray(parts.flatten(1).cpu().numpy())
