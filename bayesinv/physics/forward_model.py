"""A forward model ``y = A(x) + noise`` with the names, units and coordinates of its axes: what a plug-in returns."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bayesinv.physics.laws import point_within
from bayesinv.physics.noise import Noise
from bayesinv.physics.operator import AnyOperator, as_linear, check_batch, check_finite, is_linear
from bayesinv.seeding import normal, stream

__all__ = ["Axis", "ForwardModel"]


@dataclass(frozen=True, eq=False)
class Axis:
    """One axis of an image or of a record.

    Args:
        name: such as ``"z"``.
        unit: such as ``"mm"``; ``"1"`` for pixels.
        coordinates: the position of each sample, 1-D.

    Example:
        >>> len(Axis("z", "mm", 0.1 * np.arange(64)))
        64
    """

    name: str
    unit: str
    coordinates: npt.NDArray[np.floating[Any]]

    def __post_init__(self) -> None:
        coordinates = np.asarray(self.coordinates, dtype=np.float64)
        if coordinates.ndim != 1:
            raise ValueError(f"expected 1-D coordinates of axis {self.name!r}, got an array of {coordinates.shape}")
        object.__setattr__(self, "coordinates", coordinates)

    def __len__(self) -> int:
        return len(self.coordinates)


@dataclass(frozen=True, eq=False)
class ForwardModel:
    """An operator, its noise, and the words a reader needs.

    Args:
        operator: ``A``, see :class:`bayesinv.physics.Operator`, or a :class:`bayesinv.physics.NonlinearOperator`.
        noise: how the data are disturbed, such as :class:`bayesinv.physics.GaussianNoise`.
        name: short name, that of the plug-in.
        title: one line for a reader.
        equation: the model as text.
        model_axes: axes of the space of an image; by default pixel indices named ``z, y, x``.
        data_axes: axes of the space of a record; by default indices named ``data_0, data_1, ...``.
        quantity: what an image shows.
        unit: its unit.
        bounds: ``(low, high)`` between which the values of an image must lie, in its unit; infinite where there is no
            bound. Images beyond are refused, and the checks stay well inside.
        data_quantity: what a record holds.
        data_unit: its unit.
        prior: name of the natural prior among the plug-ins, if there is one.
        prior_parameters: with which it is called.
        mirror: names of model axes whose reversal commutes with ``A`` (which may reverse the data axis of that name).
        dot_tolerance: relative error allowed in the dot test in float64; 1e-5 for float32 codes and wave solvers.
        known_answer: from the operator to the pair (what it gives, what an independent formula gives).
        known_answer_tolerance: relative error allowed between the two.

    Raises:
        ValueError: if axes and shapes disagree.

    Example:
        >>> import pylops
        >>> from bayesinv.physics import GaussianNoise, from_pylops
        >>> model = ForwardModel(from_pylops(pylops.FirstDerivative((8, 6))), GaussianNoise(0.05))
        >>> y, sigma = model.simulate(torch.randn(3, 1, 8, 6), seed=0)
        >>> y.shape, sigma.shape, [axis.name for axis in model.model_axes]
        (torch.Size([3, 1, 8, 6]), torch.Size([3]), ['z', 'x'])
    """

    operator: AnyOperator
    noise: Noise
    name: str = "custom"
    title: str = ""
    equation: str = ""
    model_axes: tuple[Axis, ...] = ()
    data_axes: tuple[Axis, ...] = ()
    quantity: str = "x"
    unit: str = "1"
    bounds: tuple[float, float] | None = None
    data_quantity: str = "y"
    data_unit: str = "1"
    prior: str | None = None
    prior_parameters: Mapping[str, Any] = field(default_factory=dict)
    mirror: tuple[str, ...] = ()
    dot_tolerance: float = 1e-12
    known_answer: Callable[[Any], tuple[torch.Tensor, torch.Tensor]] | None = None
    known_answer_tolerance: float = 1e-10

    def __post_init__(self) -> None:
        if not hasattr(self.operator, "linearize"):
            as_linear(self.operator)
        if not isinstance(self.noise, Noise):
            raise ValueError(f"expected a noise such as GaussianNoise(0.05), got {type(self.noise).__name__}")
        if self.bounds is not None and not self.bounds[0] < self.bounds[1]:
            raise ValueError(f"expected bounds (low, high) of the image, got {self.bounds}")
        if not self.model_axes:
            names = {1: ("x",), 2: ("z", "x"), 3: ("z", "y", "x")}.get(len(self.model_shape) - 1)
            object.__setattr__(self, "model_axes", _index_axes(self.model_shape[1:], names, "model"))
        if not self.data_axes:
            object.__setattr__(self, "data_axes", _index_axes(self.data_shape[1:], None, "data"))
        for what, axes, shape in (
            ("model_axes", self.model_axes, self.model_shape),
            ("data_axes", self.data_axes, self.data_shape),
        ):
            lengths = tuple(len(axis) for axis in axes)
            if lengths != tuple(shape[1:]):
                raise ValueError(f"expected {what} of lengths {tuple(shape[1:])}, got {lengths}")
        unknown = set(self.mirror) - {axis.name for axis in self.model_axes}
        if unknown:
            names_of = [axis.name for axis in self.model_axes]
            raise ValueError(f"expected mirror to name model axes among {names_of}, got {sorted(unknown)}")

    @property
    def model_shape(self) -> tuple[int, ...]:
        """``(channels, *space)`` of an image."""
        return tuple(self.operator.model_shape)

    @property
    def data_shape(self) -> tuple[int, ...]:
        """``(channels, *space)`` of a record."""
        return tuple(self.operator.data_shape)

    def simulate(self, x: torch.Tensor, seed: int, *, start: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        """Noisy data of images, ``y = A x + sigma e``; record ``i`` of the noise depends on ``(seed, start + i)`` only.

        Args:
            x: images ``(batch, *model_shape)``.
            seed: key of the noise.
            start: index of the first record.

        Returns:
            ``y (batch, *data_shape)`` and ``sigma (batch,)``.

        Raises:
            ValueError: for a wrong shape or dtype, NaN or infinity.
        """
        self.check_model(x)
        with torch.no_grad():
            return self.noise.draw(self.operator(x), seed, start=start)

    def log_likelihood(self, x: torch.Tensor, y: torch.Tensor, sigma: torch.Tensor | float) -> torch.Tensor:
        """``log p(y | x)`` in nats with constants, ``(batch,)``; differentiable in ``x``.

        Args:
            x: images ``(batch, *model_shape)``.
            y: records ``(batch, *data_shape)``, or one record ``(1, *data_shape)`` for all.
            sigma: noise level, one number or ``(batch,)``.
        """
        self.check_model(x)
        self.check_data(y)
        return self.noise.log_likelihood(self.operator(x), y, sigma)

    def within(self, x: torch.Tensor) -> torch.Tensor:
        """The images with values beyond the bounds brought to them."""
        return x if self.bounds is None else x.clamp(*self.bounds)

    def check_model(self, x: torch.Tensor) -> None:
        """Raise ValueError unless ``x`` is a finite batch ``(batch, *model_shape)`` within the bounds."""
        _check(x, self.model_shape, "images")
        if self.bounds is not None and not torch.equal(self.within(x), x):
            raise ValueError(
                f"expected images of {self.quantity} within {self.bounds[0]:g} and {self.bounds[1]:g} {self.unit}, got "
                f"values from {float(x.min()):g} to {float(x.max()):g}; forward.within(x) brings them in"
            )

    def check_data(self, y: torch.Tensor) -> None:
        """Raise ValueError unless ``y`` is a finite batch ``(batch, *data_shape)``."""
        _check(y, self.data_shape, "data")

    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that tell this operator from another.

        They hash the shapes, the norm of ``A m`` for a keyed random model ``m`` (within the bounds, for a nonlinear
        one), and three keyed projections of it, all rounded to 4 digits, so that they survive another machine.
        """
        key = stream("bayesinv.physics.fingerprint")
        model = normal(self.model_shape, key, 0).double()
        with torch.no_grad():
            data = self.operator(model if is_linear(self.operator) else point_within(model, self.bounds)).reshape(-1)
        parts = torch.view_as_real(data).reshape(-1) if data.is_complex() else data
        norm = parts.norm()
        probes = torch.stack([normal(parts.shape, key, 1 + i).to(parts) for i in range(3)])
        digits = [f"{float(norm):.3e}", *(f"{float(value):.3f}" for value in probes @ parts / norm.clamp_min(1e-300))]
        text = f"{self.model_shape} {self.data_shape} {' '.join('0.000' if d == '-0.000' else d for d in digits)}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _check(tensor: torch.Tensor, shape: tuple[int, ...], what: str) -> None:
    check_batch(tensor, shape, what)
    if tensor.ndim != len(shape) + 1:
        raise ValueError(f"expected {what} of shape (batch, {str(shape)[1:-1]}), got a tensor of {tuple(tensor.shape)}")
    check_finite(tensor, what)


def _index_axes(space: tuple[int, ...], names: tuple[str, ...] | None, what: str) -> tuple[Axis, ...]:
    names = names or tuple(f"{what}_{i}" for i in range(len(space)))
    return tuple(Axis(name, "1", np.arange(n, dtype=np.float64)) for name, n in zip(names, space, strict=True))
