r"""`Posterior`: an amortized ``p(x | y)``, the density ``log q(x | y) = log flow((x - mu)/s; h(c(y))) - sum log s``.

``c(y)`` is computed by physics (`bayesinv.inference.summaries`), ``h`` is the summary network, ``mu`` and ``s`` are the
mean and standard deviation of the prior images, one number each (of vectors those of each number), so that the flow
works on numbers of order one; `fit` adds to ``mu`` what samples miss on average. Conditioned on data it is a
distribution: ``posterior(y).sample(500, seed=1)``, ``posterior(y).log_prob(x)``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bayesinv.flows import Flow, RegressedSummary, UNet
from bayesinv.inference.architecture import Architecture, build_networks, describe_custom
from bayesinv.inference.bank import derived_seed
from bayesinv.inference.baseline import Baseline, check_baseline, reconstruct
from bayesinv.inference.conditioned import Conditioned
from bayesinv.inference.data import as_batch
from bayesinv.inference.files import read_posterior, write_posterior
from bayesinv.inference.gate import Gate
from bayesinv.inference.problem import Problem, load_problem
from bayesinv.inference.summaries import Summary, default_summary, has_fiducial, summarise, summary_channels
from bayesinv.inference.tikhonov import tikhonov_map, tikhonov_shape
from bayesinv.unrolled import UnrolledSummary

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Posterior"]

_FIDUCIAL = 64  # images of the prior whose mean is x_0


class Posterior(nn.Module):
    """An amortized posterior of one problem; make it with `build` or `load`, train it with `bayesinv.fit`.

    Attributes:
        flow: density of ``x`` given the conditions.
        summary_network: digests the summary images into the flow's conditions.
        record: JSON-able description: problem, architecture, training, versions.

    Example:
        >>> from bayesinv.inference import Posterior, load_problem
        >>> problem = load_problem("deblur", size=16)
        >>> posterior = Posterior.build(problem, steps=1)
        >>> x, y, sigma = problem.sample(1, seed=0)
        >>> posterior(y[0]).sample(3, seed=1).values.shape
        (3, 1, 16, 16)
    """

    affine_: Tensor
    fiducial_: Tensor
    image_mean: Tensor
    image_scale: Tensor
    summary_scale: Tensor
    temperature_: Tensor
    target_noise_: Tensor

    def __init__(self, problem: Problem, flow: Flow, summary_network: nn.Module, record: Mapping[str, Any]) -> None:
        super().__init__()
        self.problem, self.flow, self.summary_network = problem, flow, summary_network
        self.record = dict(record)
        shape = problem.forward.model_shape
        self.register_buffer("image_mean", torch.zeros(shape))
        self.register_buffer("image_scale", torch.ones(shape if len(shape) == 1 else ()))  # a vector's units differ
        self.register_buffer("summary_scale", torch.ones(summary_channels(self.summary, problem.forward)))
        if has_fiducial(self.summary, problem.forward):
            self.register_buffer("fiducial_", torch.zeros(problem.forward.model_shape))
        if self.summary == "tikhonov":
            self.register_buffer("affine_", torch.zeros(tikhonov_shape(problem.forward) or ()))
        self.register_buffer("temperature_", torch.ones(()))
        self.register_buffer("target_noise_", torch.zeros(()))

    @classmethod
    def build(
        cls,
        problem: Problem,
        *,
        flow: str | Flow = "glow",
        summary: Summary | None = None,
        summary_network: str | nn.Module = "unet",
        baseline: Baseline = "cgls",
        steps: int | None = None,
        hidden: int | None = None,
        levels: int | None = None,
        seed: int = 0,
    ) -> Posterior:
        """An untrained posterior with defaults by the size of the problem.

        Args:
            problem: prior and forward model.
            flow: ``"glow"``, or a `Flow` of the problem's model shape.
            summary: what is computed from the data by physics: ``"cgls"``, ``"tikhonov"`` (the default of small linear
                imaging problems, as ``"cgls"`` is of others and ``"data"`` of vectors), ``"adjoint"``, ``"data"``,
                ``"residual"``, ``"score"``; or ``"unrolled"``, an i-RIM around the operator, trained with the flow. See
                `bayesinv.inference.summaries`.
            summary_network: ``"unet"``, or a module from summary images to the flow's condition.
            baseline: the classical reconstruction that reports compare with: ``"cgls"``, which is Gauss-Newton for a
                nonlinear operator, or ``"regularised"``.
            steps: flow steps a level.
            hidden: hidden channels of the couplings.
            levels: number of scales.
            seed: of the initial weights.

        Raises:
            ValueError: for an unknown name, or a size that the levels cannot halve (sizes that would do are named).
        """
        shape, forward = problem.forward.model_shape, problem.forward
        check_baseline(baseline, forward)
        summary = default_summary(forward) if summary is None else summary
        if isinstance(flow, Flow) and flow.shape != shape:
            raise ValueError(f"expected a flow of shape {shape}, got one of {flow.shape}")
        design = Architecture.default(
            shape, summary_channels(summary, forward), steps=steps, hidden=hidden, levels=levels,
            unrolled=summary == "unrolled",
        )  # fmt: skip
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            made = build_networks(design, flow, summary_network, forward)
        record = {
            "problem": {"name": problem.name, "parameters": problem.parameters, "operator": forward.fingerprint()},
            "architecture": design.to_dict(),
            "custom": describe_custom(flow, summary_network),
            "summary": summary,
            "baseline": {"kind": baseline},
            "seed": seed,
        }
        posterior = cls(problem, *made, record).eval()
        if has_fiducial(summary, forward):
            posterior.fiducial_.copy_(problem.prior.sample(_FIDUCIAL, derived_seed(seed, "fiducial")).mean(0))
        if summary == "tikhonov":
            posterior.affine_.copy_(tikhonov_map(problem, seed=derived_seed(seed, "tikhonov")))
        return posterior

    @property
    def summary(self) -> Summary:
        """Which summary the physics computes."""
        kind: Summary = self.record["summary"]
        return kind

    @property
    def temperature(self) -> float:
        """Standard deviation of the latent, chosen on validation pairs so that intervals cover as they say."""
        return float(self.temperature_)

    @property
    def gate(self) -> Gate | None:
        """What tells whether data are like the simulated ones; ``None`` before training."""
        record = self.record.get("gate")
        return None if record is None else Gate.from_record(record)

    @property
    def target_noise(self) -> float:
        """Standard deviation of the noise on the images that the posterior was trained on, in the image's unit."""
        return float(self.target_noise_)

    @property
    def affine(self) -> Tensor | None:
        """The affine map of the summary ``"tikhonov"``, ``(d, m + 1)``."""
        return self.affine_ if self.summary == "tikhonov" else None

    @property
    def fiducial(self) -> Tensor | None:
        """``x_0``, the mean of some images of the prior, where the score or a nonlinear operator needs an image."""
        return self.fiducial_ if has_fiducial(self.summary, self.problem.forward) else None

    def summarise(self, y: Tensor, sigma: Tensor) -> Tensor:
        """Scaled summary images ``(batch, channels, *space)`` of data ``y`` with noise levels ``sigma (batch,)``."""
        return self.scaled(self._summarised(y, sigma))

    def _summarised(self, y: Tensor, sigma: Tensor) -> Tensor:
        affine, forward = self.affine, self.problem.forward
        return summarise(self.summary, forward, y, sigma, fiducial=self.fiducial, affine=affine)

    def normalise(self, x: Tensor, c: Tensor) -> None:
        """Takes means and scales from training images ``x`` and summaries ``c``.

        Data for an i-RIM stay as they are: its operator knows no other scale.
        """
        over = list(range(1 if x.ndim == 2 else x.ndim))
        self.image_mean.copy_(x.mean(over))
        self.image_scale.copy_(x.std(over))
        if self.summary != "unrolled":
            self.summary_scale.copy_(c.square().mean([0, *range(2, c.ndim)]).sqrt())
        if isinstance(self.summary_network, UnrolledSummary):
            self.summary_network.mean.copy_(x.mean())
            self.summary_network.scale.copy_(self.image_scale)

    def regress(self, pairs: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Sets the linear path of the summary network, if it has one, by least squares over batches ``(x, c)``."""
        if isinstance(self.summary_network, (RegressedSummary, UNet)):
            self.summary_network.regress((self.scaled(c), self.standardised(x)) for x, c in pairs)

    def scaled(self, images: Tensor) -> Tensor:
        """Summary images over their standard deviation in training."""
        return images / self.summary_scale.view(-1, *[1] * (images.ndim - 2))

    def standardised(self, x: Tensor) -> Tensor:
        """``(x - mu) / s``."""
        return (x - self.image_mean) / self.image_scale

    def restored(self, u: Tensor) -> Tensor:
        """``mu + s u``."""
        return self.image_mean + self.image_scale * u

    def baseline(self, y: Any) -> Tensor:
        """The classical reconstruction of one record or a batch of them, as tuned during `fit`.

        Raises:
            ValueError: before `fit`, or for data that `forward` would refuse.
        """
        settings = self.record["baseline"]
        if len(settings) < 2:
            raise ValueError("expected a posterior that was fitted: its baseline is tuned on the validation pairs")
        batch, single = as_batch(y, self.problem.forward)
        images = reconstruct(settings, self.problem.forward, batch, start=self.fiducial)
        return images[0] if single else images

    def forward(self, y: Any, sigma: Any = None) -> Conditioned:
        """The distribution of images given data.

        Args:
            y: one record ``data_shape`` or a batch ``(batch, *data_shape)``; array, tensor or ``xarray.DataArray``.
            sigma: known noise level, a number or ``(batch,)``; absent, the problem's own.

        Raises:
            ValueError: for a wrong shape or dtype, NaN or infinity, or data marked as another operator's.
        """
        y, single = as_batch(y, self.problem.forward)
        if sigma is None:
            sigma = self.problem.forward.noise.sigma_of(y)
        sigma = torch.as_tensor(sigma, dtype=y.real.dtype, device=y.device)
        if sigma.shape not in ((), (1,), y.shape[:1]):
            raise ValueError(f"expected one noise level or {len(y)}, got sigma of shape {tuple(sigma.shape)}")
        sigma = sigma.expand(y.shape[0])
        if not bool((torch.isfinite(sigma) & (sigma > 0)).all()):
            raise ValueError("expected positive, finite noise levels sigma")
        return Conditioned(self, y, sigma, single)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes one file, atomically: safetensors, with the record as JSON; no pickle.

        Raises:
            OSError: if it cannot be written; a former file of that name is left as it was.
        """
        return write_posterior(path, self.state_dict(), self.record)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        problem: Problem | None = None,
        modules: Mapping[str, Flow | nn.Module] | None = None,
    ) -> Posterior:
        """Reads what `save` wrote.

        Args:
            path: the file.
            problem: the problem, where it is not an installed plug-in's.
            modules: ``{"flow": ..., "summary_network": ...}`` where they were the user's own.

        Raises:
            ValueError: for a truncated or altered file, another operator, or missing parts.
        """
        state, record = read_posterior(path)
        named = record["problem"]
        if problem is None:
            if named["name"] is None:
                raise ValueError("expected problem=..., since this posterior was trained on a problem of one's own")
            problem = load_problem(named["name"], **named["parameters"])
        found = problem.forward.fingerprint()
        if found != named["operator"]:
            raise ValueError(f"expected the operator {named['operator']} this posterior was trained for, got {found}")
        given = dict(modules or {})
        missing = sorted(set(record["custom"]) - set(given))
        if missing:
            raise ValueError(f"expected modules={{...}} with the user's own {', '.join(missing)}")
        design = Architecture.from_dict(record["architecture"])
        with torch.random.fork_rng(devices=[]):
            flow, network = build_networks(
                design, given.get("flow", "glow"), given.get("summary_network", "unet"), problem.forward
            )
        posterior = cls(problem, flow, network, record)
        try:
            posterior.load_state_dict(state)
        except RuntimeError as error:
            raise ValueError(f"expected the weights of this architecture in {Path(path).name}: {error}") from error
        return posterior.eval()

    def mark(self, y: xr.DataArray) -> xr.DataArray:
        """Marks data with the operator's fingerprint, which a posterior of another operator then refuses."""
        return y.assign_attrs(operator=self.record["problem"]["operator"])
