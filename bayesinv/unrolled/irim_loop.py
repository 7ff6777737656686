r"""`irim_loop`: the invertible recurrent inference machine around an operator, as a chain on ``[eta; s]``.

For j = 1 ... n:

    s    <- s + a_j g(eta; y) + b_j        the gradient of the data misfit into the memory (`MisfitStep`)
    [eta; s] <- layer_j([eta; s])          a reversible layer (`irim_layer`)

Every iteration is rebuilt in the backward pass, so that the memory does not grow with their number. One of them applies
a linear operator twice in the forward pass, ``A`` and ``A^H``, and four times in the backward pass: the same two to
rebuild, and ``A^H A`` on the gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

from bayesinv.physics.operator import AnyOperator, NonlinearOperator, Operator
from bayesinv.reversible import Chain, Coupling, Householder, Inverted, Reversible, hint_coupling, irim_coupling
from bayesinv.unrolled.blocks import DilatedBlock
from bayesinv.unrolled.misfit import MisfitGradient, OperatorOf, Psi
from bayesinv.unrolled.misfit_step import MisfitStep
from bayesinv.unrolled.unconditioned import Unconditioned

__all__ = ["CouplingKind", "irim_layer", "irim_loop"]

CouplingKind = Literal["additive", "affine", "hint"]


def irim_layer(
    channels: int,
    *,
    rank: int,
    hidden: int = 32,
    dilations: Sequence[int] = (1, 2, 4),
    coupling: CouplingKind = "additive",
) -> Chain:
    """A coupling for each dilation, each between a learned rotation of the channels and its inverse.

    Args:
        channels: of the state, two or more.
        rank: number of spatial axes.
        hidden: hidden channels of the networks.
        dilations: of the networks, see `DilatedBlock`.
        coupling: ``"additive"`` (the i-RIM), ``"affine"``, or ``"hint"`` (recursive).

    Raises:
        ValueError: if the coupling is unknown, there is no dilation, or less than two channels.

    Example:
        >>> len(irim_layer(4, rank=2, hidden=8))
        3
    """
    if not dilations:
        raise ValueError("expected one dilation or more, got none")
    return Chain(*[_coupled(channels, partial(DilatedBlock, hidden=hidden, rank=rank, dilation=d), coupling)
                   for d in dilations])  # fmt: skip


def _coupled(channels: int, network: partial[DilatedBlock], kind: CouplingKind) -> Reversible:
    if kind == "additive":
        return irim_coupling(channels, network)
    if kind == "hint":
        return hint_coupling(channels, network, permutation="both")
    if kind != "affine":
        raise ValueError(f"expected coupling 'additive', 'affine' or 'hint', got {kind!r}")
    half, rotation = channels // 2, Householder(channels)
    return Chain(rotation, Coupling(network(half, 2 * (channels - half)), passive=half), Inverted(rotation))


def irim_loop(
    operator: AnyOperator | OperatorOf,
    *,
    shape: Sequence[int] | None = None,
    iterations: int = 4,
    memory: int = 7,
    hidden: int = 32,
    dilations: Sequence[int] = (1, 2, 4),
    coupling: CouplingKind = "additive",
    shared: bool = False,
    psi: Psi | None = None,
    gauss_newton: bool = False,
    second_order: bool = True,
) -> Chain:
    """The loop as a reversible map of the state, whose condition is the data.

    Args:
        operator: ``A``, or a function that makes the records' own, see `MisfitGradient`.
        shape: ``(channels, *space)`` of the estimate; by default the model shape of the operator.
        iterations: their number.
        memory: channels of memory, as many as those of the estimate or more.
        hidden: hidden channels of the networks.
        dilations: of the networks in each layer.
        coupling: the kind of layer, see `irim_layer`.
        shared: whether all iterations share their weights, or each has its own.
        psi: from the estimate to the image, see `MisfitGradient`.
        gauss_newton: whether ``operator`` is ``A^H A``, and the data ``A^H y``.
        second_order: whether the derivative of a nonlinear operator's Jacobian is taken into account.

    Returns:
        A chain on states ``(batch, channels + memory, *space)``; the condition is ``y (batch, *data_shape)``, or a
        tuple of it and the parameters of the records' operators.

    Source: Putzky and Welling, Invert to learn to invert, 2019, arXiv 1911.10914.

    Raises:
        ValueError: for less than one iteration, too little memory, or a missing shape.

    Example:
        >>> import pylops, torch
        >>> from bayesinv.physics import from_pylops
        >>> loop = irim_loop(from_pylops(pylops.Restriction((8, 8), [1, 4, 6])), memory=3, hidden=8)
        >>> state, y = torch.randn(2, 4, 8, 8), torch.randn(2, 1, 8, 3)
        >>> out, logdet = loop(state, y)
        >>> torch.allclose(loop.inverse(out, y)[0], state, atol=1e-4), logdet.tolist()
        (True, [0.0, 0.0])
    """
    shape = estimate_shape(operator, shape)
    channels, rank = shape[0], len(shape) - 1
    if iterations < 1 or memory < channels:
        raise ValueError(
            f"expected one iteration or more, and memory of {channels} channels or more, got {iterations} and {memory}"
        )
    gradient = MisfitGradient(operator, psi=psi, gauss_newton=gauss_newton, second_order=second_order)

    def iteration() -> tuple[Reversible, Reversible]:
        layer = irim_layer(channels + memory, rank=rank, hidden=hidden, dilations=dilations, coupling=coupling)
        return MisfitStep(gradient, channels=channels), Unconditioned(layer)

    if shared:
        return Chain(*(iteration() * iterations))
    return Chain(*[part for _ in range(iterations) for part in iteration()])


def estimate_shape(operator: AnyOperator | OperatorOf, shape: Sequence[int] | None) -> tuple[int, ...]:
    """The shape that is given, or else the model shape of the operator.

    Raises:
        ValueError: if there is neither.
    """
    if shape is not None:
        return tuple(shape)
    if not isinstance(operator, (Operator, NonlinearOperator)):
        raise ValueError("expected shape=(channels, *space) where each record has its own operator, got none")
    return tuple(operator.model_shape)
