r"""`MisfitStep`: ``[eta; s; r] -> [eta; s + a g(eta; y) + b; r]``, the normalised misfit gradient into the memory.

``eta`` stays, so the step is undone by computing the gradient again and taking it off; its Jacobian is a unit triangle,
``logdet = 0``. Backward, with one evaluation of the gradient that both inverts the step and is the graph of its
derivative (for a linear ``A``: one ``A`` and one ``A^H`` to rebuild, one of each for ``g'^H ds = A^H A ds``):

    s = s' - a g - b,   d eta = d eta' + a g'(eta)^H ds.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bayesinv.reversible import ActNorm, Condition, Reversible, evaluate
from bayesinv.reversible.gradients import Backward, ConditionGradient, Gradients, differentiated, flattened
from bayesinv.unrolled.misfit import MisfitGradient

__all__ = ["MisfitStep"]


class MisfitStep(Reversible):
    """Adds the gradient of the data misfit, through an `ActNorm` of its own, to the first memory channels.

    The condition is the data ``y (batch, *data_shape)``, or a tuple of them and the tensors that the records' own
    operators are made of.

    Args:
        gradient: of the misfit.
        channels: of the estimate, which are the first ones of the state; the memory has as many or more.

    Source: Putzky and Welling, Invert to learn to invert, 2019, arXiv 1911.10914.

    Raises:
        ValueError: in use, if there are no data, or less memory channels than those of the estimate.

    Example:
        >>> import pylops
        >>> from bayesinv.physics import from_pylops
        >>> step = MisfitStep(MisfitGradient(from_pylops(pylops.Identity(4))), channels=1).eval()
        >>> step(torch.tensor([[[1.0, 2, 3, 4], [0, 0, 0, 1]]]), torch.ones(1, 1, 4))[0][0, 1]
        tensor([0., 1., 2., 4.], grad_fn=<SelectBackward0>)
    """

    def __init__(self, gradient: MisfitGradient, *, channels: int) -> None:
        super().__init__()
        self.gradient, self.channels, self.norm = gradient, channels, ActNorm(channels)

    def _forward(self, x: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        return self._moved(x, self._step(x, cond)), x.new_zeros(x.shape[0])

    def _inverse(self, y: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        return self._moved(y, -self._step(y, cond)), y.new_zeros(y.shape[0])

    def _backward(self, y: Tensor, cond: Condition, grad_y: Tensor, grad_logdet: Tensor) -> Backward:
        step, pulled, grad_cond, grads = self._pulled(y, cond, self._memory(grad_y), grad_logdet)
        return self._moved(y, -step), self._with_estimate(grad_y, pulled), grad_cond, grads

    def _inverse_backward(self, x: Tensor, cond: Condition, grad_x: Tensor, grad_logdet: Tensor) -> Backward:
        step, pulled, grad_cond, grads = self._pulled(x, cond, -self._memory(grad_x), grad_logdet)
        return self._moved(x, step), self._with_estimate(grad_x, pulled), grad_cond, grads

    def _step(self, x: Tensor, cond: Condition) -> Tensor:
        """``a g + b``, in the precision of the state."""
        if cond is None:
            raise ValueError("expected the data as the condition, got none")
        if x.shape[1] < 2 * self.channels:
            raise ValueError(
                f"expected {self.channels} channels of the estimate and as many of memory, or more, "
                f"got a state of shape {tuple(x.shape)}"
            )
        estimate = x[:, : self.channels]
        gradient = evaluate(self.gradient, estimate, *flattened(cond))
        if gradient.shape != estimate.shape:
            raise ValueError(
                f"expected a misfit gradient of shape {tuple(estimate.shape)}, got {tuple(gradient.shape)}"
            )
        return self.norm._forward(gradient.to(x.dtype), None)[0]

    def _pulled(
        self, x: Tensor, cond: Condition, grad: Tensor, grad_logdet: Tensor
    ) -> tuple[Tensor, Tensor, ConditionGradient, Gradients]:
        """The step at a state, and the gradients of the state's estimate, the condition and the parameters."""
        steps: list[Tensor] = []

        def noted(x: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
            steps.append(self._step(x, cond))
            return steps[0], x.new_zeros(x.shape[0])

        pulled, grad_cond, grads = differentiated(noted, self.parameters(), x, cond, grad, grad_logdet)
        return steps[0].detach(), pulled[:, : self.channels], grad_cond, grads

    def _memory(self, x: Tensor) -> Tensor:
        return x[:, self.channels : 2 * self.channels]

    def _moved(self, x: Tensor, step: Tensor) -> Tensor:
        return torch.cat([x[:, : self.channels], self._memory(x) + step, x[:, 2 * self.channels :]], 1)

    def _with_estimate(self, grad: Tensor, more: Tensor) -> Tensor:
        return torch.cat([grad[:, : self.channels] + more, grad[:, self.channels :]], 1)
