"""All lines train the same nets: equal densities, samples and gradients from the same weights."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from side_by_side.cases import Case
from side_by_side.nets import LINES, Missing, ours, plain
from side_by_side.peers import memcnn_step
from side_by_side.plain_net import Net, PlainGlow
from side_by_side.same_weights import awaken, copied, ordered
from torch import Tensor
from torch.utils.checkpoint import checkpoint

# The peers' own use of what torch and numpy will drop.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
    "ignore:TypedStorage is deprecated:UserWarning",
    "ignore:torch.lu is deprecated:UserWarning",
)

CASES = {
    "image": Case(space=(16, 8), steps=2, hidden=6),
    "volume": Case(channels=1, space=(8, 8, 16), levels=2, steps=1, hidden=5),
}
NETS: tuple[Net, ...] = ("glow", "relu")
TOLERANCE = 1e-9


def gap(found: list[Tensor], expected: list[Tensor]) -> float:
    pairs = zip(found, expected, strict=True)
    return max(float((a - b).norm()) / max(1.0, float(b.norm())) for a, b in pairs)


def pair(
    case: Case, net: Net, **how: object
) -> tuple[Callable[[Tensor], list[Tensor]], Callable[[Tensor], list[Tensor]]]:
    """Of bayesinv's flow and of the plain net: the log density and all gradients."""
    flow = ours(case, net).double()
    awaken(flow, torch.randn(case.batch, *case.shape, dtype=torch.float64))
    copy = copied(flow, plain(case, net, **how).double())  # type: ignore[arg-type]

    def of(model: object) -> Callable[[Tensor], list[Tensor]]:
        def results(x: Tensor) -> list[Tensor]:
            density = model.log_prob(x)  # type: ignore[attr-defined]
            density.sum().backward()
            parameters = ordered(model)  # type: ignore[arg-type]
            assert len({id(p) for p in parameters}) == len(list(model.parameters()))  # type: ignore[attr-defined]
            assert all(p.grad is not None for p in parameters)
            return [density.detach(), *[p.grad for p in parameters]]  # type: ignore[misc]

        return results

    return of(flow), of(copy)


@pytest.mark.parametrize("how", [{}, {"channels_last": True}], ids=["contiguous", "channels-last"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("net", NETS)
def test_the_plain_net_is_the_same(net: Net, case: Case, how: dict[str, bool]) -> None:
    flow, copy = pair(case, net, **how)
    x = torch.randn(case.batch, *case.shape, dtype=torch.float64)
    expected, found = flow(x), copy(x)
    assert gap(found, expected) < TOLERANCE
    assert gap([1.001 * g for g in found], expected) > TOLERANCE


@pytest.mark.parametrize("wrapper", ["checkpoint", "MemCNN"])
@pytest.mark.parametrize("net", NETS)
def test_other_ways_to_train_it_are_the_same(net: Net, wrapper: str) -> None:
    if wrapper == "MemCNN":
        pytest.importorskip("memcnn")
        wrap = memcnn_step
    else:
        wrap = lambda step: lambda x, logdet: checkpoint(step, x, logdet, use_reentrant=False)  # noqa: E731
    case = CASES["image"]
    flow, copy = pair(case, net, wrap=wrap)
    x = torch.randn(case.batch, *case.shape, dtype=torch.float64)
    assert gap(copy(x.clone()), flow(x)) < 100 * TOLERANCE  # MemCNN rebuilds its inputs, and so do we


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("net", NETS)
def test_the_plain_net_inverts(net: Net, case: Case) -> None:
    made: PlainGlow = copied_plain(case, net)
    x = torch.randn(case.batch, *case.shape, dtype=torch.float64)
    with torch.no_grad():
        latents, logdet = made(x)
        back, minus = made.inverse(latents)
    assert gap([back, -minus], [x, logdet]) < TOLERANCE
    assert made.sample(3).shape == (3, *case.shape)


def copied_plain(case: Case, net: Net) -> PlainGlow:
    flow = ours(case, net).double()
    awaken(flow, torch.randn(case.batch, *case.shape, dtype=torch.float64))
    return copied(flow, plain(case, net).double())


@pytest.mark.parametrize("line", LINES)
def test_every_line_trains_and_draws(line: str) -> None:
    case = Case(space=(16, 16), steps=1, hidden=8)
    try:
        made = LINES[line](case)
    except Missing as reason:
        pytest.skip(str(reason))
    made.loss(torch.randn(2, 3, 16, 16)).backward()
    assert all(p.grad is not None for p in made.module.parameters() if p.requires_grad)
    x = made.sample(4)
    assert x.shape == (4, 3, 16, 16)
    assert bool(x.isfinite().all())


def test_the_peers_work_as_much() -> None:
    """As many weights of convolutions, which are nearly all of the work, as the plain net of their kind."""
    case, sizes = Case(space=(16, 16), steps=2, hidden=32), {}
    for line in ("plain (relu)", "normflows", "FrEIA"):
        try:
            parameters = LINES[line](case).module.parameters()
        except Missing as reason:
            pytest.skip(str(reason))
        sizes[line] = sum(p.numel() for p in parameters if p.requires_grad and p.ndim == 4 and p.shape[0] > 1)
    assert len(set(sizes.values())) == 1


@pytest.mark.parametrize("line", ["normflows", "FrEIA"])
def test_a_peer_without_volumes_says_so(line: str) -> None:
    with pytest.raises(Missing, match=r"axes of space|not installed"):
        LINES[line](CASES["volume"])
