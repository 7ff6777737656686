r"""`Conditioned`: the posterior of given data, a distribution with ``sample``, ``statistics`` and ``log_prob``.

Data-consistency refinement of a sample ``x``: ``k`` CGLS steps from ``x`` on ``min |W (A x' - y) - sigma e|^2`` with
fresh noise ``e`` for each sample (randomise-then-optimise) and the whitening ``W`` of the noise model, which brings its
misfit to the noise level and leaves the flow's density behind. A nonlinear operator is linearised at the sample.

Where the operator has bounds, values of samples beyond them are brought to them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bayesinv.inference.gate import warn_if_outside
from bayesinv.inference.gate_features import data_features
from bayesinv.inference.running_statistics import RunningStatistics
from bayesinv.inference.samples import Samples, labelled
from bayesinv.physics import Whitening, cgls, gauss_newton_iterates, is_linear
from bayesinv.seeding import normal, stream

if TYPE_CHECKING:
    import xarray as xr

    from bayesinv.inference.posterior import Posterior
    from bayesinv.reversible import Condition

__all__ = ["Conditioned"]


class Conditioned:
    """``p(x | y)`` for one record or a batch of them; made by calling a `Posterior`.

    Attributes:
        y: the data ``(batch, *data_shape)``.
        sigma: the noise levels ``(batch,)``.
    """

    def __init__(self, posterior: Posterior, y: Tensor, sigma: Tensor, single: bool) -> None:
        self.posterior, self.single = posterior, single
        device = posterior.image_mean.device
        self.y, self.sigma = y.to(device), sigma.to(device)
        self._condition: Condition = None

    def condition(self) -> Condition:
        """What the flow is given: the summary network's output, computed once."""
        if self._condition is None:
            with torch.no_grad():
                self._condition = self.posterior.summary_network(self.posterior.summarise(self.y, self.sigma))
        return self._condition

    def draw(self, n: int, *, seed: int = 0, refine: int = 0, batch_size: int = 64) -> Tensor:
        """The samples as a tensor ``(n, batch, channels, *space)``.

        Raises:
            ValueError: if ``n`` is not positive or ``refine`` negative.
        """
        return torch.cat(list(self._batches(n, seed, refine, batch_size)))

    def sample(self, n: int, *, seed: int = 0, refine: int = 0, batch_size: int = 64) -> Samples:
        """Draws ``n`` images for each record.

        Args:
            n: number of samples.
            seed: sample ``i`` of record ``j`` depends on ``(seed, i, j)`` only.
            refine: data-consistency steps on each sample; with any, `log_prob` is no longer their density.
            batch_size: how many images pass the network at once.

        Returns:
            `Samples` with dims ``(sample, [observation,] channel, *space)``, coordinates, units, the data, and the
            misfit ``chi2`` of each sample. Data unlike the simulated ones raise an `OutOfDistributionWarning`; their
            p-value (`bayesinv.inference.gate`) is ``provenance["gate_p_value"]``.

        Raises:
            ValueError: if ``n`` is not positive or ``refine`` negative.
        """
        began = time.perf_counter()
        familiar = self._familiar()
        drawn = self.draw(n, seed=seed, refine=refine, batch_size=batch_size)
        forward = self.posterior.problem.forward
        chi2 = torch.stack([self._chi2(x) for x in drawn])
        seconds = time.perf_counter() - began
        if self.single:
            drawn, chi2 = drawn[:, 0], chi2[:, 0]
        lead = ("sample",) if self.single else ("sample", "observation")
        y = self.y[0] if self.single else self.y
        data = labelled(
            _numpy(y), forward.data_axes, leading=lead[1:], quantity=forward.data_quantity, unit=forward.data_unit
        )
        import xarray as xr

        return Samples(
            labelled(_numpy(drawn), forward.model_axes, leading=lead, quantity=forward.quantity, unit=forward.unit),
            data=self.posterior.mark(data),
            sigma=xr.DataArray(_numpy(self.sigma[0] if self.single else self.sigma), dims=lead[1:]),
            chi2=xr.DataArray(_numpy(chi2), dims=lead),
            provenance=self._provenance(n, seed, refine, seconds, familiar),
        )

    def statistics(
        self,
        n: int,
        *,
        quantiles: Sequence[float] = (0.05, 0.5, 0.95),
        thresholds: Sequence[float] = (),
        seed: int = 0,
        refine: int = 0,
        batch_size: int = 64,
    ) -> xr.Dataset:
        """What `Samples` says of ``n`` images for each record, without ever holding them together.

        The images are those of `sample` with the same seed and batch size. Memory does not grow with ``n`` beyond some
        850 images: see `bayesinv.inference.quantile_sketch`.

        Args:
            n: number of samples.
            quantiles: levels, each between 0 and 1.
            thresholds: values ``t`` of ``p(x > t)``, in the unit of the image.
            seed: sample ``i`` of record ``j`` depends on ``(seed, i, j)`` only.
            refine: data-consistency steps on each sample.
            batch_size: how many images pass the network at once.

        Returns:
            ``mean`` and ``std``; ``quantiles`` with a first axis ``quantile``, and ``rank_error``, how far the share of
            samples below each of them may be from its level; ``exceedance`` with a first axis ``threshold``. Dims are
            those of one sample, with coordinates and units; ``attrs["provenance"]`` is JSON. Data unlike the simulated
            ones raise an `OutOfDistributionWarning`, as in `sample`.

        Raises:
            ValueError: for less than 2 samples, a level outside (0, 1), a threshold that is not finite, a negative
                ``refine``, or samples that are not finite.
        """
        if n < 2:
            raise ValueError(f"expected at least 2 samples for a standard deviation, got {n}")
        running = RunningStatistics(quantiles=quantiles, thresholds=thresholds)
        began = time.perf_counter()
        familiar = self._familiar()
        for images in self._batches(n, seed, refine, batch_size):
            running.add(images[:, 0] if self.single else images)
        provenance = self._provenance(n, seed, refine, time.perf_counter() - began, familiar)
        lead, forward = () if self.single else ("observation",), self.posterior.problem.forward
        found = running.to_xarray(forward.model_axes, leading=lead, quantity=forward.quantity, unit=forward.unit)
        return found.assign_attrs(provenance=json.dumps(provenance))

    def _batches(self, n: int, seed: int, refine: int, batch_size: int) -> Iterator[Tensor]:
        if refine < 0:
            raise ValueError(f"expected refine=0 or more data-consistency steps, got {refine}")
        posterior, start = self.posterior, 0
        for drawn in posterior.flow.batches(
            n, self.condition(), seed=seed, temperature=posterior.temperature, batch_size=batch_size
        ):
            x = posterior.problem.forward.within(posterior.restored(drawn))
            yield self._refined(x, refine, seed, start) if refine else x
            start += len(x)

    def _familiar(self) -> NDArray[np.float64] | None:
        """`gate_p_value`, with a warning where it is low."""
        p_value = self.gate_p_value()
        if p_value is not None and self.posterior.gate is not None:
            warn_if_outside(p_value, self.posterior.gate.level, len(self.posterior.gate.scores))
        return p_value

    def gate_p_value(self) -> NDArray[np.float64] | None:
        """How like the simulated data each record is, `bayesinv.inference.gate`; ``None`` before training."""
        gate = self.posterior.gate
        if gate is None:
            return None
        return gate.p_value(data_features(self.posterior.problem.forward, self.y, self.sigma))

    def log_prob(self, x: Any) -> Tensor:
        """The log density in nats of images ``(batch, *model_shape)``, or one image for one record; ``(batch,)``.

        Differentiable in ``x`` where ``x`` requires a gradient.

        Raises:
            ValueError: for images of another shape, or not as many as records.
        """
        posterior = self.posterior
        forward = posterior.problem.forward
        x = torch.as_tensor(x, dtype=torch.float32, device=self.y.device)
        x = x[None] if x.ndim == len(forward.model_shape) else x
        forward.check_model(x)
        condition = self.condition()
        if len(x) != len(self.y):
            if len(self.y) != 1:
                raise ValueError(f"expected as many images as records ({len(self.y)}), got {len(x)}")
            if isinstance(condition, tuple):
                condition = tuple(part.expand(len(x), *part.shape[1:]) for part in condition)
            elif condition is not None:
                condition = condition.expand(len(x), *condition.shape[1:])
        with torch.set_grad_enabled(x.requires_grad and torch.is_grad_enabled()):
            value = posterior.flow.log_prob(posterior.standardised(x), condition, temperature=posterior.temperature)
            log_prob: Tensor = value - posterior.image_scale.log().expand(x.shape[1:]).sum()
        return log_prob

    def _refined(self, x: Tensor, steps: int, seed: int, start: int) -> Tensor:
        key = stream("refine")
        shape = tuple(torch.view_as_real(self.y).shape) if self.y.is_complex() else tuple(self.y.shape)
        noise = torch.stack([normal(shape, seed, key, start + i) for i in range(len(x))]).to(self.y.device)
        noise = torch.view_as_complex(noise) if self.y.is_complex() else noise
        level = self.sigma.view(-1, *[1] * (self.y.ndim - 1))
        forward, white = self.posterior.problem.forward, Whitening(self.posterior.problem.forward.noise, self.y)
        operator: Any = white.operator(forward.operator)
        data = white(self.y) + level * noise
        if is_linear(operator):
            return cgls(operator, data, iterations=steps, start=x)
        return gauss_newton_iterates(operator, data, [1], start=x, iterations=steps, bounds=forward.bounds)[0]

    def _chi2(self, x: Tensor) -> Tensor:
        forward = self.posterior.problem.forward
        residual = forward.noise.whiten(forward.operator(x) - self.y, self.y)
        parts = torch.view_as_real(residual) if residual.is_complex() else residual
        return parts.square().flatten(1).mean(1) / self.sigma**2

    def _provenance(
        self, n: int, seed: int, refine: int, seconds: float, familiar: NDArray[np.float64] | None
    ) -> dict[str, Any]:
        posterior = self.posterior
        return {
            "samples": n,
            "seed": seed,
            "refine": refine,
            "temperature": posterior.temperature,
            "seconds": round(seconds, 3),
            "problem": posterior.record["problem"],
            "training": posterior.record.get("training", {}),
            "gate_p_value": None if familiar is None else [float(p) for p in familiar],
        }


def _numpy(tensor: Tensor) -> Any:
    return tensor.detach().cpu().numpy()
