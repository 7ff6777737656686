"""The demos' settings, one recipe for each: problem, training, second input, sizes of the diagnosis."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

__all__ = ["RECIPES", "Recipe", "Second", "recipe_of"]


@dataclass(frozen=True)
class Second:
    """The second input: other images, and perhaps data of another instrument than the posterior takes for granted.

    Attributes:
        prefix: before the names of its figures, ``real`` or ``shifted``.
        name: what it is, for the report.
        object: what one image of it is, for the report's heading.
        prior: the plug-in that gives its images.
        count: how many of them.
        shown: which of them the report shows.
        prior_parameters: of that plug-in.
        operator_parameters: where its data come from another operator than the posterior's.
    """

    prefix: str
    name: str
    object: str
    prior: str
    count: int = 45
    shown: int = 0
    prior_parameters: Mapping[str, Any] = field(default_factory=dict)
    operator_parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """All that a demo depends on besides its seed.

    Attributes:
        title: heading of the report.
        second: the second input.
        size: side of the images in pixels.
        problem: further keywords of `bayesinv.inference.load_problem`.
        build: keywords of `bayesinv.inference.Posterior.build`.
        fit: keywords of `bayesinv.inference.fit`.
        heldout: number of held-out pairs of the diagnosis.
        samples: samples for each of them.
        refine: data-consistency steps.
        draws: samples of the object that the report shows.
        peak: peak value of the PSNR, ``None`` for the range of each image.
    """

    title: str
    second: Second
    size: int = 64
    problem: Mapping[str, Any] = field(default_factory=dict)
    build: Mapping[str, Any] = field(default_factory=dict)
    fit: Mapping[str, Any] = field(default_factory=dict)
    heldout: int = 100
    samples: int = 99
    refine: int = 8
    draws: int = 500
    peak: float | None = 1.0

    def reduced(self) -> Recipe:
        """The small mode: all parts, a barely trained posterior."""
        return replace(
            self,
            size=32,
            fit={**self.fit, "simulations": 320, "epochs": 4, "validation": 20},
            second=replace(self.second, count=8),
            heldout=16,
            samples=39,
            draws=100,
        )


RECIPES = {
    "photoacoustic-line": Recipe(
        title="Photoacoustic tomography with a line of sensors",
        second=Second(
            prefix="real",
            name="patches of retinal vessels from a photograph, with simulated data",
            object="real retinal vessels, simulated data",
            prior="retina",
        ),
        problem={"width": (0.8, 2.5)},  # retinal vessels are wider than most that grow
        build={"baseline": "cgls"},
        fit={"simulations": 5120, "epochs": 7, "validation": 60, "target_noise": (0.4, 0.1), "head_fraction": 0.35},
    ),
    "seismic-poststack": Recipe(
        title="A seismic section from post-stack data",
        second=Second(
            prefix="shifted",
            name="sections of a shifted generator (thinner layers, heavier tails) recorded with another wavelet "
            "(30 Hz, where the posterior takes 25 Hz for granted)",
            object="a section of a shifted generator, recorded with another wavelet",
            prior="layered-sections",
            prior_parameters={"thickness": (2.0, 3.5), "tails": "student-t"},
            operator_parameters={"wavelet_frequency": 0.12},
        ),
        build={"baseline": "regularised"},
        fit={"simulations": 4800, "epochs": 7, "validation": 100, "target_noise": (0.25, 0.05), "head_fraction": 0.4},
        heldout=200,  # coverage varies more from section to section than from tree to tree
        peak=None,
    ),
}


def recipe_of(name: str, *, small: bool = False) -> Recipe:
    """The recipe of a demo, or its small mode.

    Raises:
        ValueError: if there is no demo of that name; the near name is offered.

    Example:
        >>> recipe_of("photoacoustic-line", small=True).size
        32
    """
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"expected the name of a demo ({', '.join(RECIPES)}), got {name!r}{hint}")
    recipe = RECIPES[name]
    return recipe.reduced() if small else recipe
