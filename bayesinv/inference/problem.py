"""`Problem`: a prior and a forward model, ``x ~ p(x)``, ``y = A(x) + sigma e``: what a posterior learns from."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from bayesinv.physics import ForwardModel, plugins

__all__ = ["Prior", "Problem", "load_problem"]


@runtime_checkable
class Prior(Protocol):
    """What a prior can do; ``log_prob(x)`` and ``regions`` (name to mask of an image) are welcome where known."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(channels, *space)`` of one image."""
        ...

    def sample(self, n: int, seed: int, *, start: int = 0) -> Tensor:
        """Images ``start`` to ``start + n`` of the stream of ``seed``: ``(n, channels, *space)``."""
        ...


class Problem:
    """A prior joined with a forward model.

    Args:
        prior: draws images.
        forward: the operator, its noise, names and units.
        name: name under which `load_problem` finds it again, ``None`` for a problem of one's own.
        parameters: the parameters it was loaded with.

    Raises:
        ValueError: if the images of the prior are not of the operator's model shape.

    Example:
        >>> from bayesinv.inference import load_problem
        >>> problem = load_problem("deblur", size=16)
        >>> x, y, sigma = problem.sample(2, seed=0)
        >>> x.shape, y.shape, sigma.shape
        (torch.Size([2, 1, 16, 16]), torch.Size([2, 1, 16, 16]), torch.Size([2]))
    """

    def __init__(
        self,
        prior: Prior,
        forward: ForwardModel,
        *,
        name: str | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(prior, Prior):
            raise ValueError(f"expected a prior with shape and sample(n, seed, start=), got {type(prior).__name__}")
        if tuple(prior.shape) != forward.model_shape:
            raise ValueError(
                f"expected a prior of images {forward.model_shape} for the operator, got one of {tuple(prior.shape)}"
            )
        self.prior, self.forward = prior, forward
        self.name, self.parameters = name, dict(parameters or {})

    def sample(self, n: int, seed: int, *, start: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """Pairs ``start`` to ``start + n``: float32 images ``x``, data ``y`` and noise levels ``sigma (n,)``.

        Pair ``i`` depends on ``(seed, i)`` only.

        Raises:
            ValueError: if ``n`` is not positive, or the images are no tensor, of another shape, or not finite.
        """
        if n < 1:
            raise ValueError(f"expected one pair or more, got {n}")
        x = self.prior.sample(n, seed, start=start)
        if not isinstance(x, Tensor):
            raise ValueError(f"expected images of the prior as a torch tensor, got {type(x).__name__}")
        x = x.to(torch.float32) if x.dtype == torch.float64 else x
        y, sigma = self.forward.simulate(x, seed, start=start)
        return x, y, sigma

    @property
    def regions(self) -> dict[str, Callable[[Tensor], Tensor]]:
        """Named parts of an image, such as its vessels, that the diagnostics look at by themselves."""
        return dict(getattr(self.prior, "regions", {}))

    def __repr__(self) -> str:
        forward = self.forward
        return f"Problem({self.name or forward.name}, model {forward.model_shape}, data {forward.data_shape})"


def load_problem(name: str, **parameters: Any) -> Problem:
    """Joins the forward model of an installed plug-in with its natural prior.

    Args:
        name: a plug-in of the group ``bayesinv.operators``.
        parameters: keywords of the plug-in's factory or of its prior's; one that both have goes to both.

    Raises:
        ValueError: if the plug-in is not installed (the near name is offered), has no prior, or a keyword is unknown.

    Example:
        >>> load_problem("photoacoustic-line", size=16)
        Problem(photoacoustic-line, model (1, 16, 16), data (1, 16, 48))
    """
    listed = {key: list(value) if isinstance(value, tuple) else value for key, value in parameters.items()}  # as JSON
    parameters = {key: tuple(value) if isinstance(value, list) else value for key, value in parameters.items()}
    factory = plugins.load(name)
    own = set(inspect.signature(factory).parameters)
    forward = factory(**{key: value for key, value in parameters.items() if key in own})
    if forward.prior is None:
        raise ValueError(f"expected a plug-in with a natural prior, got {name!r}; use bi.Problem(prior, forward)")
    prior_factory = plugins.load(forward.prior, "priors")
    theirs = set(inspect.signature(prior_factory).parameters)
    unknown = sorted(set(parameters) - own - theirs)
    if unknown:
        raise ValueError(
            f"expected parameters of {name!r} ({', '.join(sorted(own))}) or of its prior {forward.prior!r} "
            f"({', '.join(sorted(theirs))}), got {', '.join(unknown)}"
        )
    given = {key: value for key, value in parameters.items() if key in theirs}
    return Problem(prior_factory(**(dict(forward.prior_parameters) | given)), forward, name=name, parameters=listed)
