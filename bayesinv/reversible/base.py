r"""`Reversible`: a map with an inverse, whose backward pass rebuilds the input instead of storing it.

For ``y = f(x; cond, theta)`` with ``logdet = log |det df/dx|`` the backward pass is handed ``y`` and the gradients
``dL/dy`` and ``dL/dlogdet``. It returns ``x = f^{-1}(y)`` next to ``dL/dx``, ``dL/dcond`` and ``dL/dtheta``, so that a
chain of any depth keeps one tensor only (Gomez et al. 2017, arXiv 1707.04585).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bayesinv.reversible.gradients import (
    Backward,
    Condition,
    ConditionGradient,
    Gradients,
    add_condition_gradients,
    add_gradients,
    differentiated,
    finest,
    flattened,
    present,
    storages,
)
from bayesinv.reversible.heap import steady_heap
from bayesinv.reversible.plain import is_plain
from bayesinv.reversible.rebuild import Pass, Rebuild, energy_of
from bayesinv.reversible.strips import is_touched
from bayesinv.reversible.tape import Tape, written_by
from bayesinv.reversible.tiles import Workspace, budgeted, check_workspace

if TYPE_CHECKING:
    from bayesinv.reversible.guard import Guard
    from bayesinv.reversible.updating import Update

__all__ = [
    "Backward",
    "Condition",
    "ConditionGradient",
    "Gradients",
    "Reversible",
    "add_condition_gradients",
    "add_gradients",
    "finest",
    "present",
    "storages",
]


class Reversible(nn.Module, ABC):
    """A reversible map; a leaf writes `_forward` and `_inverse`, and `_backward` where one pass gives all.

    Both directions are memory-frugal under grad: they keep their output and the condition only. The condition is
    ``None``, one tensor ``(batch, channels, *space)``, or a tuple of tensors from fine to coarse, of which a layer
    uses the first and `Squeezed` hands on the rest. Derivatives of higher order: see `plain`.

    Source: Gomez et al., The Reversible Residual Network, 2017, arXiv 1707.04585.

    Example:
        >>> import torch
        >>> from bayesinv.reversible import ActNorm
        >>> layer, x = ActNorm(2), torch.randn(3, 2, 4)
        >>> y, logdet = layer(x)
        >>> torch.allclose(layer.inverse(y)[0], x, atol=1e-6), logdet.shape
        (True, torch.Size([3]))
    """

    _guard: Guard | None = None
    _update: Update | None = None
    _workspace: Workspace = "auto"

    @property
    def workspace(self) -> Workspace:
        """Bytes that the networks within may use at once; ``"auto"`` is what is fast on the device.

        The outermost map decides. Networks that tell their ``reach`` (all shipped ones but the U-Net and the dense one)
        are evaluated in tiles with exact halos, which changes results by rounding only; see `tiles`.
        """
        return self._workspace

    @workspace.setter
    def workspace(self, workspace: Workspace) -> None:
        self._workspace = check_workspace(workspace)

    def forward(self, x: Tensor, cond: Condition = None) -> tuple[Tensor, Tensor]:
        """Maps ``x (batch, channels, *space)`` to ``(y, log |det dy/dx| (batch,))``.

        Raises:
            ValueError: if ``x`` has no batch and channel axes, or the condition another batch size.
        """
        return _run(self, False, x, cond)

    def inverse(self, y: Tensor, cond: Condition = None) -> tuple[Tensor, Tensor]:
        """Maps ``y (batch, channels, *space)`` to ``(x, log |det dx/dy| (batch,))``.

        Raises:
            ValueError: if ``y`` has no batch and channel axes, or the condition another batch size.
        """
        return _run(self, True, y, cond)

    def energy(self, x: Tensor, cond: Condition = None) -> tuple[Tensor, Tensor]:
        """Maps ``x`` to ``(|y|^2 / 2, log |det dy/dx|)``, both ``(batch,)``: a Gaussian log density but for constants.

        Nobody else sees ``y`` here, so that the backward pass overwrites it and its gradient; by way of `forward` it
        copies both, and a training step takes two tensors of the size of ``x`` more. A map with hooks takes that way.

        Raises:
            ValueError: if ``x`` has no batch and channel axes, or the condition another batch size.

        Example:
            >>> import torch
            >>> from bayesinv.reversible import ActNorm
            >>> energy, logdet = ActNorm(2).eval().energy(torch.tensor([[3.0, 4.0]]))
            >>> energy.tolist(), logdet.tolist()
            ([12.5], [0.0])
        """
        if is_touched(self):
            y, logdet = self(x, cond)
            return energy_of(y), logdet
        return _run(self, False, x, cond, ends_in_energy=True)

    @abstractmethod
    def _forward(self, x: Tensor, cond: Condition) -> tuple[Tensor, Tensor]: ...

    @abstractmethod
    def _inverse(self, y: Tensor, cond: Condition) -> tuple[Tensor, Tensor]: ...

    def _has_matrix(self) -> bool:
        """Whether the map is affine in the channels of each pixel, and says with what matrix.

        ``_tensors()`` are what the matrix is made of, parameters first; ``_matrices(*tensors)``, static, gives the
        `Matrices` of some maps alike, whose tensors are stacked.
        """
        return False

    def _moves(self) -> bool:
        """Whether its backward pass copies what it is handed first, and frees it where it may."""
        return False

    def layers(self) -> list[nn.Module]:
        """This map and all maps inside, without the networks."""
        return [part for part in self.modules() if isinstance(part, Reversible)]

    def _backward(self, y: Tensor, cond: Condition, grad_y: Tensor, grad_logdet: Tensor) -> Backward:
        """``(x, dL/dx, dL/dcond, {parameter: dL/dparameter})`` of the forward map, by recomputation."""
        with torch.no_grad():
            x, _ = self._inverse(y, cond)
        return x, *differentiated(self._forward, self.parameters(), x, cond, grad_y, grad_logdet)

    def _inverse_backward(self, x: Tensor, cond: Condition, grad_x: Tensor, grad_logdet: Tensor) -> Backward:
        """``(y, dL/dy, dL/dcond, {parameter: dL/dparameter})`` of the inverse map, by recomputation."""
        with torch.no_grad():
            y, _ = self._forward(x, cond)
        return y, *differentiated(self._inverse, self.parameters(), y, cond, grad_x, grad_logdet)

    def _backward_in_place(
        self, y: Tensor, cond: Condition, grad_y: Tensor, grad_logdet: Tensor, *, inverted: bool
    ) -> Backward:
        """`_backward`, or `_inverse_backward`; may overwrite or free ``y`` and ``grad_y``, which nobody else reads."""
        back = self._inverse_backward if inverted else self._backward
        return back(y, cond, grad_y, grad_logdet)


def _run(
    layer: Reversible, inverted: bool, x: Tensor, cond: Condition, *, ends_in_energy: bool = False
) -> tuple[Tensor, Tensor]:
    if x.ndim < 2 or not x.is_floating_point():
        raise ValueError(
            f"expected a floating-point tensor (batch, channels, *space), got {x.dtype} of shape {tuple(x.shape)}"
        )
    if not (cond is None or isinstance(cond, Tensor) or (isinstance(cond, tuple) and cond)):
        raise ValueError(f"expected no condition, a tensor, or a tuple of tensors from fine to coarse, got {cond!r}")
    flat = flattened(cond)
    for part in flat:
        if part.shape[0] != x.shape[0]:
            raise ValueError(f"expected a condition with batch size {x.shape[0]}, got one of shape {tuple(part.shape)}")
    if x.is_cpu:
        steady_heap()
    parameters = [p for p in layer.parameters() if p.requires_grad]
    looked_into = is_plain(x, *flat, *parameters)
    if not looked_into and torch.is_grad_enabled() and (parameters or any(t.requires_grad for t in (x, *flat))):
        y, logdet, _ = Rebuild.apply(  # type: ignore[no-untyped-call]
            Pass(layer, inverted, ends_in_energy, isinstance(cond, tuple), x.dtype, layer._guard),
            len(flat), x, *flat, *parameters,
        )  # fmt: skip
        return y, logdet
    tape = Tape() if looked_into else None
    follows, workspace = looked_into and torch.is_grad_enabled(), None if looked_into else layer.workspace
    with torch.set_grad_enabled(follows), written_by(tape), budgeted(workspace):
        y, logdet = layer._inverse(x, cond) if inverted else layer._forward(x, cond)
        return energy_of(y) if ends_in_energy else y, logdet
