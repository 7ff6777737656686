r"""`guard`: reversible training that notices when a rebuilt input is not the input any more.

The backward pass lives on inputs that it rebuilds from outputs. Where a map expands in the inverse direction, rounding
grows from layer to layer, and the gradients are wrong in silence. Under a guard the forward pass notes a fingerprint of
each layer's input, at most 64 bytes for each sample, and the backward pass compares: the relative error
``|x' - x| / |x|`` is the drift. A gradient from inputs that drifted past the threshold raises, or warns, or is
computed again from kept inputs.
"""

from __future__ import annotations

import warnings
from types import TracebackType
from typing import Literal

import torch
from torch import Tensor, nn

from bayesinv.reversible.base import Reversible
from bayesinv.reversible.chain import Chain
from bayesinv.reversible.fingerprint import Projections, drift
from bayesinv.reversible.pixelwise import Run
from bayesinv.reversible.tape import Entry, Site, Tape

__all__ = ["DriftError", "DriftWarning", "Guard", "OnDrift", "guard"]

OnDrift = Literal["raise", "warn", "anchor"]


class DriftError(RuntimeError):
    """A rebuilt input is too far from the input for the gradient to be right."""


class DriftWarning(UserWarning):
    """The same as a warning, or that an input is kept from now on."""


def guard(
    module: nn.Module,
    *,
    threshold: float = 1e-5,
    on_drift: OnDrift = "raise",
    every: int | None = None,
    stream: torch.dtype | None = None,
) -> Guard:
    """Watches the backward passes of the outermost reversible maps in ``module``, in both directions.

    Args:
        module: a map, or anything that holds maps, such as a `Flow`.
        threshold: largest relative error of a rebuilt input that is let pass.
        on_drift: ``"raise"`` a `DriftError`; ``"warn"`` with a `DriftWarning`; or ``"anchor"``: keep the inputs of the
            layers that need it from now on, and compute the gradient at hand once more. For that the map's own input is
            kept in every pass, and all layers' inputs in the pass that is run again; a warning says so.
        every: keeps the input of each such number of layers in any case.
        stream: a wider dtype for what runs between the layers and for their own parameters, such as
            ``torch.float64``; the networks stay as they are. Enough where the drift is mild.

    Returns:
        The `Guard`, which can be taken off again, as a context manager or by `Guard.remove`.

    Raises:
        ValueError: if there is no map, one is guarded already, or an option makes no sense.

    Example:
        >>> import torch
        >>> from bayesinv.reversible import ActNorm, Chain, Householder
        >>> chain = Chain(ActNorm(3), Householder(3))
        >>> with guard(chain) as watch:
        ...     chain(torch.randn(5, 3))[0].sum().backward()
        >>> watch.drift < 1e-5, watch.anchors
        (True, ())
    """
    return Guard(module, threshold, on_drift, every, stream)


class Guard:
    """See :func:`guard`."""

    def __init__(
        self, module: nn.Module, threshold: float, on_drift: OnDrift, every: int | None, stream: torch.dtype | None
    ) -> None:
        if on_drift not in ("raise", "warn", "anchor"):
            raise ValueError(f"expected on_drift 'raise', 'warn' or 'anchor', got {on_drift!r}")
        if not threshold > 0 or (every is not None and every < 1):
            raise ValueError(f"expected a positive threshold and at least every layer, got {threshold} and {every}")
        if stream is not None and not stream.is_floating_point:
            raise ValueError(f"expected a floating-point stream, got {stream}")
        self.threshold, self.on_drift, self.every, self.stream = threshold, on_drift, every, stream
        self.maps = _outermost(module)
        if not self.maps or any(one._guard is not None for one in self.maps):
            raise ValueError(f"expected maps without a guard, got {len(self.maps)} in {type(module).__name__}")
        self.projections = Projections()
        self.drift = 0.0
        """The largest drift of the last backward pass."""
        self._anchors: set[Site] = set()
        self._composite: dict[nn.Module, bool] = {}
        for one in self.maps:
            one._guard = self

    @property
    def anchors(self) -> tuple[str, ...]:
        """The layers whose inputs are kept since they drifted, by their paths inside the outermost map."""
        return tuple(sorted(self._name(site) for site in self._anchors))

    def remove(self) -> None:
        """Takes the guard off."""
        for one in self.maps:
            one._guard = None

    def __enter__(self) -> Guard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def watches(self, one: Reversible | Run, inverted: bool) -> bool:
        """Whether a layer is watched as a whole, rather than the chains inside of it."""
        if isinstance(one, Run):
            return True
        if one not in self._composite:
            self._composite[one] = any(isinstance(part, Chain) for part in one.modules())
        if not self._composite[one]:
            return True
        kind = type(one)
        if inverted:
            return kind._inverse_backward is Reversible._inverse_backward
        return kind._backward is Reversible._backward

    def keeps(self, site: Site, index: int) -> bool:
        """Whether the layer, the ``index``-th of the pass, is an anchor."""
        return site in self._anchors or (self.every is not None and index > 0 and index % self.every == 0)

    def fingerprint(self, x: Tensor) -> Tensor:
        """Norm and projections of each sample, ``(batch, 8)``."""
        norm = torch.linalg.vector_norm(x.detach(), dim=tuple(range(1, x.ndim)))
        return torch.cat([norm[:, None], self.projections(x)], 1)

    def measure(self, tape: Tape) -> tuple[Entry, float] | None:
        """The first layer in the order of the backward pass whose input drifted too far, and how far."""
        if not tape.compared:
            self.drift = 0.0
            return None
        before = torch.stack([entry.kept for entry, _ in tape.compared])
        after = torch.stack([found for _, found in tape.compared])
        norm = before[..., 0]
        norm = torch.where(norm.amax(1, keepdim=True) > 0, norm, norm.amax())  # a state of zeros: against the largest
        worst = drift(before[..., 1:], norm, after).amax(1).tolist()
        self.drift = max(d if d == d else float("inf") for d in worst)
        for (entry, _), far in zip(tape.compared, worst, strict=True):
            if not far <= self.threshold:
                return entry, far
        return None

    def report(self, entry: Entry, far: float) -> None:
        """Raises or warns."""
        words = (
            f"expected the input of {self._name(entry.site)} to be rebuilt to {self.threshold:.0e}, got a relative "
            f"error of {far:.0e}"
        )
        if self.on_drift == "anchor":
            words += "; its input is kept from now on, and this gradient is computed again"
        else:
            words += (
                ", so the gradient cannot be trusted: bound the scales, lower the learning rate, or use guard(..., "
                "on_drift='anchor'), every=n or stream=torch.float64"
            )
        if self.on_drift == "raise":
            raise DriftError(words)
        warnings.warn(words, DriftWarning, stacklevel=2)

    def settle(self, entry: Entry, rebuilt: Tensor, *, late: bool) -> bool:
        """Whether the layer is an anchor: the late one, and each a tenth of the threshold off since the last."""
        error, norm = (t.flatten(1).norm(dim=1) for t in (rebuilt - entry.kept, entry.kept))
        size = torch.maximum(norm, norm.square().mean().sqrt())
        needed = late or not bool((error <= self.threshold / 10 * size).all())
        if needed:
            self._anchors.add(entry.site)
        return needed or entry.site in self._anchors

    def _name(self, site: Site) -> str:
        owner, i = site
        for one in self.maps:
            for path, part in one.named_modules():
                if part is owner:
                    layer = part if i < 0 else part.maps[i]  # type: ignore[index]
                    found = ".".join([*([path] if path else []), *([] if i < 0 else ["maps", str(i)])])
                    return f"{found or 'the map itself'} ({type(layer).__name__})"
        return type(owner).__name__


def _outermost(module: nn.Module) -> list[Reversible]:
    if isinstance(module, Reversible):
        return [module]
    found: list[Reversible] = []
    for child in module.children():
        found += [one for one in _outermost(child) if one not in found]
    return found
