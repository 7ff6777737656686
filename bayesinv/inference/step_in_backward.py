r"""`StepInBackward`: the optimizer's step of each weight within the backward pass, after which its gradient is freed.

Weights of a reversible map step as soon as the pass is through with the last layer that uses them (`updating`), all
others when autograd has summed up their gradient. An optimizer whose step of one tensor does not depend on the others
(SGD, Adam) does what it does after an ordinary backward pass. A norm of all gradients together is never known, so each
tensor is clipped alone: ``g min(1, c / |g|)``.

From the first gradient on that is not finite nothing steps any more in this pass, as all gradients that come after it
were made of it; what has stepped before has done so with a finite one.

Source: Lv et al., Full parameter fine-tuning for large language models with limited resources, 2023, arXiv 2306.09782.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from bayesinv.inference.checkpoint import laid_out_like
from bayesinv.reversible import Reversible, updating

__all__ = ["StepInBackward", "check_separate"]


class StepInBackward:
    """Steps an optimizer of all weights of a module within the backward pass.

    Args:
        module: what is trained.
        map: the reversible map in it whose gradients shall not lie in memory together.
        optimizer: of the module's weights.
        clip: largest norm of the gradient of each tensor.

    Attributes:
        sound: whether all gradients of the last pass were finite.

    Raises:
        ValueError: if the map is under a `guard`, or shares weights with the rest of the module, which would be
            updated before the rest has its gradient.

    Example:
        >>> from bayesinv.flows import glow
        >>> flow, x = glow((2,), levels=1, steps=2), torch.randn(8, 2)
        >>> stepping = StepInBackward(flow, flow.map, torch.optim.Adam(flow.parameters(), lr=1e-3))
        >>> with stepping.within():
        ...     (-flow.log_prob(x).mean()).backward()
        >>> stepping.sound, {p.grad for p in flow.parameters()}
        (True, {None})
    """

    def __init__(
        self, module: nn.Module, map: Reversible, optimizer: torch.optim.Optimizer, *, clip: float = math.inf
    ) -> None:
        check_separate(module, map)
        self.map, self.clip, self.sound = map, clip, True
        self._optimizer = optimizer
        self._groups: dict[nn.Parameter, dict[str, Any]] = {}

    @contextmanager
    def within(self) -> Iterator[None]:
        """The forward and the backward pass of one step both run within."""
        self.sound = True
        self._groups = {p: group for group in self._optimizer.param_groups for p in group["params"]}
        hooks = [
            p.register_post_accumulate_grad_hook(self._take)  # type: ignore[no-untyped-call]
            for p in self._groups
            if p.requires_grad
        ]
        try:
            with updating(self.map, self._update):
                yield
        finally:
            for hook in hooks:
                hook.remove()

    def _take(self, parameter: nn.Parameter) -> None:
        gradient, parameter.grad = parameter.grad, None
        if gradient is not None:
            self._update(parameter, gradient)

    def _update(self, parameter: nn.Parameter, gradient: Tensor) -> None:
        norm = float(torch.linalg.vector_norm(gradient))
        self.sound = self.sound and math.isfinite(norm)
        if not self.sound:
            return
        share = self.clip / (norm + 1e-6)
        gradient = gradient * share if share < 1 else gradient
        parameter.grad = laid_out_like(parameter, gradient)
        group = self._groups[parameter]
        everything, group["params"] = group["params"], [parameter]
        try:
            self._optimizer.step()
        finally:
            group["params"], parameter.grad = everything, None


def check_separate(module: nn.Module, map: Reversible) -> None:
    """Refuses a map that cannot be updated within the backward pass of the module.

    Raises:
        ValueError: if it is under a `guard`, or shares weights with the rest of the module.
    """
    with updating(map, lambda parameter, gradient: None):
        pass
    parts = list(module.named_modules(remove_duplicate=False))
    within = tuple(f"{name}." for name, part in parts if part is map)
    rest = {p for name, part in parts if not f"{name}.".startswith(within) for p in part.parameters(recurse=False)}
    shared = rest & set(map.parameters())
    if shared:
        raise ValueError(
            f"expected a map that shares no weights with the rest, such as its summary network, got {len(shared)} "
            "shared tensors: train without step_in_backward"
        )
