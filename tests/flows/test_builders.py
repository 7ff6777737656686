"""Every builder: parameters by the formula, masks, receptive fields, all parts in use, training in both directions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bayesinv.flows import (
    Flow,
    conditional_hint,
    glow,
    hint,
    hyperbolic_network,
    iunet,
    multiscale_hint,
    published_glow,
    realnvp,
)
from bayesinv.reversible import Condition, Coupling, Householder, Permute, Reversible, Spline, squeeze

WIDTH = {"additive": 1, "affine": 2, "spline": 23}


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def network(p: int, o: int, h: int, c: int, k: int) -> int:
    """Parameters of a `Conditioner` by the docstring of `glow`."""
    return (k * p + c + h + 2) * h + (k * h + 1) * o


def step(w: int) -> int:
    """Of an ActNorm and a rotation."""
    return 2 * w + w * min(w, 16)


@pytest.mark.parametrize("kind", WIDTH)
@pytest.mark.parametrize(("shape", "cond"), [((5,), 2), ((3, 8), 0), ((1, 4, 4), 2)])
def test_parameters_are_as_many_as_the_docstrings_say(shape: tuple[int, ...], cond: int, kind: str) -> None:
    rank, r, h = len(shape) - 1, WIDTH[kind], 6
    w, k = shape[0] * 2**rank, 3**rank
    p = w // 2
    options = {"condition": cond, "steps": 2, "hidden": h, "coupling": kind}
    one, other = network(p, r * (w - p), h, cond, k), network(w - p, r * p, h, cond, k)
    assert count(glow(shape, levels=1, **options)) == 2 * (step(w) + one) + 2 * w
    pairs = 4 if rank else 2
    assert count(realnvp(shape, levels=1, **options)) == pairs * (2 * w + one + other) + 2 * w
    if w == 4:
        assert count(hint(shape, depth=2, **options)) == 2 * (step(4) + one + network(1, r, h, cond, k)) + 2 * 4


def test_parameters_of_the_other_networks() -> None:
    found = count(hyperbolic_network((4, 8, 8), condition=3, levels=2, steps=1, hidden=(5, 7)))
    assert found == 2 * (9 * 2 + 3 + 1) * 5 + 2 * (9 * 8 + 3 + 1) * 7
    found = count(iunet((2, 8, 8), condition=3, levels=1, steps=1, hidden=(5, 7)))
    fine, coarse = network(1, 1, 5, 3, 9), network(2, 2, 7, 3, 9)
    assert found == 4 * fine + 4 * coarse + 1 * 4 * 3 // 2
    found = count(published_glow((3, 8, 8), condition=2, levels=2, steps=1, hidden=6))

    def published(w: int, c: int) -> int:
        p = w - round(w / 2)
        return 5 * w + 9 * (p + c) * 6 + 36 + 2 * 6 + 2 * 9 * 6 * (w - p)

    assert found == published(12, 8) + published(24, 32) + 2 * 2
    assert count(published_glow((3, 8), levels=2, steps=1, hidden=6, split=False, k1=1)) == 2 * (
        15 + 6 + 36 + 12 + 2 * 6 * 2
    )


def awake(module: nn.Module, size: float = 0.2) -> nn.Module:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(size * torch.randn_like(parameter))
    return module.eval()


@pytest.mark.parametrize(
    ("flow", "widened"),
    [
        pytest.param(lambda: glow((1, 96), levels=1, steps=3, hidden=8), 3, id="glow"),
        pytest.param(lambda: realnvp((1, 96), levels=1, steps=1, hidden=8), 4, id="realnvp"),
        pytest.param(lambda: hint((2, 96), steps=2, hidden=8, depth=2), 2, id="hint"),
        pytest.param(lambda: published_glow((3, 96), levels=1, steps=3, hidden=24), 3, id="published"),
    ],
)
def test_the_receptive_field_is_what_the_docstrings_say(flow: Callable[[], Flow], widened: int) -> None:
    """Four pixels of the level for each coupling, or step of HINT; one pixel less where a parity ends inside."""
    made = awake(flow(), 0.4).double()
    x = torch.randn(32, *made.shape, dtype=torch.float64, requires_grad=True)
    z, _ = made.map._forward(x, None)
    (grad,) = torch.autograd.grad(squeeze(z, kind="checkerboard")[:, :, 24].square().sum(), x)
    reached = grad.abs().sum((0, 1)).nonzero()[:, 0]
    field, bound = int(reached.max() - reached.min()) + 1, 2 * (1 + 4 * widened)
    assert bound - 1 <= field <= bound


@pytest.mark.parametrize("space", [(8,), (4, 6), (2, 4, 2)])
def test_the_first_coupling_of_realnvp_leaves_the_even_pixels_of_a_checkerboard(space: tuple[int, ...]) -> None:
    flow = realnvp((2, *space), levels=1, steps=1, hidden=4).double()
    there, _, first, second = list(flow.map.inner)[:4]
    assert isinstance(there, Permute)
    parity = sum(torch.meshgrid(*[torch.arange(n) for n in space], indexing="ij")) % 2
    mask = parity.double().expand(1, 2, *space)
    for coupling, passive in ((first, 0), (second, 1)):
        assert isinstance(coupling, Coupling)
        part = there(squeeze(mask, kind="checkerboard"))[0]
        kept, _ = coupling._split(part)
        assert bool((kept == passive).all())


@pytest.mark.parametrize("split", [True, False])
@pytest.mark.parametrize("build", [glow, realnvp, multiscale_hint, published_glow])
def test_scales_are_split_or_not(build: Callable[..., Flow], split: bool) -> None:
    flow = build((2, 8, 8), levels=2, steps=1, hidden=4, split=split)
    kind = Permute if build is realnvp else Householder
    widths = [len(m.order) if kind is Permute else len(m.vectors) for m in flow.modules() if isinstance(m, kind)]
    published = [8, 16] if split else [2, 2]
    expected = published if build is published_glow else [8, 16] if split else [8, 32]
    assert sorted(set(widths)) == sorted(set(expected))
    x, _ = flow.sample_and_log_prob(3)
    assert x.shape == (3, 2, 8, 8)


@pytest.mark.parametrize("build", [glow, realnvp, hint, multiscale_hint])
def test_the_kind_of_coupling_has_a_name_or_is_given(build: Callable[..., Flow]) -> None:
    sizes = {"steps": 1, "hidden": 4} | ({} if build is hint else {"levels": 1})
    for coupling in ("affine", "additive", "spline", Spline(bins=3)):
        flow = awake(build((4,), coupling=coupling, **sizes))
        how = next(m.how for m in flow.modules() if isinstance(m, Coupling))
        assert type(how).__name__.lower() == (coupling if isinstance(coupling, str) else "spline")
    with pytest.raises(ValueError, match="coupling 'affine', 'additive', 'spline'"):
        build((4,), coupling="cubic", **sizes)


def test_the_lanes_of_conditional_hint_are_those_of_the_joint_density() -> None:
    for shape, cond in (((2,), 3), ((1, 4, 6), 2)):
        for kind in ("haar", "space-to-depth", "checkerboard"):
            flows = conditional_hint(shape, condition=cond, steps=2, hidden=5, squeeze=kind)
            awake(flows.joint).double(), awake(flows.x, 0).double(), awake(flows.y, 0).double()
            x = torch.randn(3, *shape, dtype=torch.float64)
            y = torch.randn(3, cond, *shape[1:], dtype=torch.float64)
            both = flows.joint.log_prob(torch.cat([y, x], 1))
            apart = flows.y.log_prob(y) + flows.x.log_prob(x, y)
            torch.testing.assert_close(apart, both, rtol=1e-10, atol=1e-10)
            assert flows.x.sample(4, y).shape == (4, 3, *shape)


def banana(x: Tensor) -> Tensor:
    """Log density, without its constant, of a banana in the first two numbers and white noise in the others."""
    flat = x.flatten(1)
    bent = (flat[:, 1] - 0.5 * flat[:, 0] ** 2) / 0.5
    return -0.5 * (flat[:, 0] ** 2 + bent**2 + flat[:, 2:].square().sum(1))


TRAINED: dict[str, tuple[Callable[[], Flow], tuple[int, ...] | None]] = {
    "glow": (lambda: glow((2,), levels=1, steps=3, hidden=16), None),
    "glow-2d-cond": (lambda: glow((1, 4, 4), condition=1, levels=1, steps=2, hidden=8), (1, 4, 4)),
    "realnvp-spline": (lambda: realnvp((2,), levels=1, steps=2, hidden=16, coupling="spline"), None),
    "realnvp-1d-cond": (lambda: realnvp((1, 8), condition=1, levels=2, steps=1, hidden=8), (1, 8)),
    "hint-cond": (lambda: hint((4,), condition=2, steps=2, hidden=16), (2,)),
    "multiscale-hint": (lambda: multiscale_hint((1, 8), levels=2, steps=1, hidden=8), None),
    "conditional-hint": (lambda: conditional_hint((2,), condition=2, steps=2, hidden=16).x, (2,)),
    "published-glow": (lambda: published_glow((1, 4, 4), condition=1, levels=1, steps=2, hidden=8), (1, 4, 4)),
}


def losses(name: str, *, forward: bool) -> list[float]:
    """Of a few steps of Adam on maximum likelihood of bananas, or on the reverse divergence from a banana."""
    torch.manual_seed(3)
    build, shape = TRAINED[name]
    flow = build()
    cond: Condition = None if shape is None else torch.randn(64, *shape)
    x = torch.randn(64, *flow.shape)
    x.view(64, -1)[:, 1].mul_(0.5).add_(0.5 * x.view(64, -1)[:, 0] ** 2)
    if cond is not None:
        x = x + cond.flatten(1).mean(1).view(-1, *[1] * (x.ndim - 1))  # the condition says where the banana is
    flow.log_prob(x, cond)  # ActNorms take their start from data
    optimizer, found = torch.optim.Adam(flow.parameters(), lr=1e-2), []
    for _ in range(25):
        if forward:
            loss = -flow.log_prob(x, cond).mean()
        else:
            z = torch.randn(64, *flow.shape, generator=torch.Generator().manual_seed(5))
            drawn, logdet = flow.map.inverse(z, cond if flow.summary is None else flow.summary(cond))
            loss = (-banana(drawn) - logdet).mean()
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in flow.parameters() if p.requires_grad)
        optimizer.step()
        found.append(float(loss.detach()))
    return found


@pytest.mark.parametrize("forward", [True, False], ids=["maximum-likelihood", "variational"])
@pytest.mark.parametrize("name", TRAINED)
def test_a_flow_is_trained_in_both_directions(name: str, forward: bool) -> None:
    found = losses(name, forward=forward)
    assert max(found[-3:]) < min(found[:3]) - 0.05


MAPPED: dict[str, tuple[Callable[[], Reversible], tuple[int, ...]]] = {
    "hyperbolic": (lambda: hyperbolic_network((2, 8), levels=2, steps=1, hidden=8), (2, 8)),
    "iunet": (lambda: iunet((2, 8), levels=2, hidden=8), (2, 8)),
}


@pytest.mark.parametrize("direction", ["forward", "inverse"])
@pytest.mark.parametrize("name", MAPPED)
def test_a_map_without_a_density_learns_a_shift_in_both_directions(name: str, direction: str) -> None:
    torch.manual_seed(3)
    build, shape = MAPPED[name]
    made = build()
    x = torch.randn(64, *shape)
    wanted = x.roll(1, 2) + torch.tanh(x.flip(1))
    optimizer, found = torch.optim.Adam(made.parameters(), lr=1e-2), []
    for _ in range(25):
        loss = (getattr(made, direction)(x)[0] - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(float(loss.detach()))
    assert found[-1] < 0.9 * found[0]


@pytest.mark.parametrize("name", [*TRAINED, *MAPPED])
def test_every_parameter_has_a_part(name: str) -> None:
    if name in TRAINED:
        build, shape = TRAINED[name]
        flow = awake(build())
        (flow.log_prob(torch.randn(8, *flow.shape), None if shape is None else torch.randn(8, *shape)).sum()).backward()
    else:
        make, shape = MAPPED[name]
        flow = awake(make())
        flow(torch.randn(8, *shape))[0].square().sum().backward()
    assert [n for n, p in flow.named_parameters() if p.grad is None or not float(p.grad.abs().sum())] == []


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: realnvp((1, 8), steps=0), "1 or more steps"),
        (lambda: realnvp((1, 6), levels=2), "would do"),
        (lambda: hint((1,)), "at least two channels"),
        (lambda: hint((1, 5)), "would do"),
        (lambda: multiscale_hint((1, 8), levels=0), "1 or more levels"),
        (lambda: multiscale_hint((1, 8), levels=2, hidden=(3, 4, 5)), "one hidden width"),
        (lambda: conditional_hint((1, 5), condition=1), "would do"),
        (lambda: conditional_hint((1,), condition=0), "one channel of y"),
        (lambda: hyperbolic_network((3, 8)), "even number of channels"),
        (lambda: hyperbolic_network((2,), levels=2), "one for dense input"),
        (lambda: hyperbolic_network((2, 6), levels=3), "would do"),
        (lambda: iunet((2,)), "a spatial axis"),
        (lambda: iunet((2, 12), levels=3), "would do"),
        (lambda: published_glow((1, 8), split=False), "at least two channels"),
        (lambda: published_glow((1, 6), levels=2), "would do"),
    ],
)
def test_impossible_designs_are_refused(build: Callable[[], object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        build()
