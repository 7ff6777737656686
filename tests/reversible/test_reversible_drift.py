"""The drift guard: silent errors of rebuilt inputs become loud, or are computed away; its cost in bytes is bounded."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence

import pytest
import reversible_laws as laws
import torch
from drifting_nets import data, gradients, loss, smooth_flow
from reversible_maps import MAPS
from reversible_parts import Case, coupling, step
from test_reversible_memory import DEPTHS, LiveBytes, flow
from test_reversible_memory import data as images
from torch import Tensor, nn

from bayesinv.reversible import (
    ActNorm,
    Chain,
    Condition,
    Conditioner,
    Coupling,
    DriftError,
    DriftWarning,
    Householder,
    Inverted,
    OnPart,
    Reversible,
    Squeezed,
    guard,
)
from bayesinv.reversible.fingerprint import NUMBERS, Projections, drift


class Sloppy(Reversible):
    """The identity, with an inverse that is off by ``error`` in one corner: a map that drifts where we want it to."""

    def __init__(self, error: float = 0.05) -> None:
        super().__init__()
        self.error = error
        self.weight = nn.Parameter(torch.ones(()))

    def _forward(self, x: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        return x * self.weight, x.flatten(1).shape[1] * self.weight.log().expand(len(x))

    def _inverse(self, y: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        wrong = torch.zeros_like(y)
        wrong[(slice(None), *[0] * (y.ndim - 1))] = self.error
        return y / self.weight + wrong, -y.flatten(1).shape[1] * self.weight.log().expand(len(y))


def backward(layer: Reversible, x: Tensor, cond: Condition = None, *, direction: str = "forward") -> None:
    y, logdet = getattr(layer, direction)(x, cond)
    ((y**2).sum() - logdet.sum()).backward()


def nested(sloppy: Reversible) -> Chain:
    """Three levels of chains; the sloppy layer sits in the lowest."""
    low = Chain(step(2, 2), sloppy, step(2, 2))
    return Chain(ActNorm(1), Squeezed(Chain(step(4, 2), OnPart(low, start=1, stop=3), coupling(4, 2))))


PLACES: dict[str, tuple[Callable[[Reversible], Reversible], str]] = {
    "nested": (nested, "maps.1.inner.maps.1.inner.maps.1 (Sloppy)"),
    "inverted": (
        lambda s: Chain(ActNorm(1), Inverted(Chain(ActNorm(1), Inverted(s)))),
        "maps.1.inner.maps.1 (Inverted)",
    ),
    "first": (lambda s: Chain(s, ActNorm(1)), "maps.0 (Sloppy)"),
    "last": (lambda s: Chain(ActNorm(1), s), "maps.1 (Sloppy)"),
    "alone": (lambda s: s, "the map itself (Sloppy)"),
    "whole": (lambda s: Squeezed(s), "the map itself (Squeezed)"),
}


@pytest.mark.parametrize("place", PLACES)
def test_the_layer_that_drifts_is_named(place: str) -> None:
    make, name = PLACES[place]
    layer, x = make(Sloppy()).double(), torch.randn(3, 1, 4, 4, dtype=torch.float64)
    layer(x)
    backward(layer, x)  # in silence
    with guard(layer), pytest.raises(DriftError) as caught:
        backward(layer, x)
    words = str(caught.value)
    assert f"the input of {name} to be rebuilt to 1e-05" in words
    assert all(remedy in words for remedy in ("on_drift='anchor'", "every=n", "stream=torch.float64"))


def test_the_same_layer_used_twice_and_the_other_direction() -> None:
    pair = Chain(coupling(2, 1), Sloppy(), coupling(2, 1))
    layer, x = Chain(Householder(2), pair, Householder(2), pair).double(), torch.randn(3, 2, 4, dtype=torch.float64)
    with guard(layer), pytest.raises(DriftError, match=r"maps\.1\.maps\.1 \(Sloppy\)"):
        backward(layer, x)
    turned = Inverted(layer)
    with guard(turned), pytest.raises(DriftError, match=r"inner\.maps\.1\.maps\.1 \(Sloppy\)"):
        backward(turned, x, direction="inverse")


@pytest.mark.parametrize("every", [None, 1])
@pytest.mark.parametrize("direction", laws.DIRECTIONS)
def test_a_first_batch_makes_a_run_of_its_layers_only_later(direction: str, every: int | None) -> None:
    """In the first pass an `ActNorm` stands alone, and in its backward pass it is one matrix with its neighbours."""
    chain = Chain(Coupling(Conditioner(1, 4, hidden=4, rank=1), passive=1), ActNorm(3), Householder(3)).double()
    twin, x = copy.deepcopy(chain), 3 + 2 * torch.randn(8, 3, 5, dtype=torch.float64)
    expected = laws.gradients(twin, x, None, direction=direction, plain=True)
    with guard(chain, every=every) as watch:
        laws.assert_same_gradients(laws.gradients(chain, x, None, direction=direction, plain=False), expected)
    assert watch.drift < 1e-12


def test_a_warning_for_those_who_want_to_go_on() -> None:
    layer, x = Chain(ActNorm(1), Sloppy()), torch.randn(3, 1, 4, 4)
    with guard(layer, on_drift="warn") as watch, pytest.warns(DriftWarning, match=r"maps\.1 \(Sloppy\)"):
        backward(layer, x)
    assert watch.drift > 1e-3
    assert watch.anchors == ()
    backward(layer, x)  # the guard has gone


def test_what_is_not_a_number_has_drifted() -> None:
    layer = Chain(ActNorm(1), Sloppy(float("nan")))
    with guard(layer), pytest.raises(DriftError, match="error of nan"):
        backward(layer, torch.randn(3, 1, 4))


@pytest.mark.parametrize("place", ["nested", "first", "last", "alone"])
def test_anchors_make_the_gradient_exact_at_once_and_from_then_on(place: str) -> None:
    layer = PLACES[place][0](Sloppy()).double()
    x = torch.randn(3, 1, 4, 4, dtype=torch.float64)
    layer(x)
    expected = laws.gradients(layer, x, None, direction="forward", plain=True)
    with guard(layer, on_drift="anchor") as watch:
        with pytest.warns(DriftWarning, match="is kept from now on"):
            found = laws.gradients(layer, x, None, direction="forward", plain=False)
        laws.assert_same_gradients(found, expected)
        assert watch.anchors == (PLACES[place][1],)
        laws.assert_same_gradients(laws.gradients(layer, x, None, direction="forward", plain=False), expected)
        assert watch.drift < 1e-12


def test_guarded_gradients_are_autograds(case: Case) -> None:
    """Watched, anchored at every second layer, and run again from all inputs, in both directions."""
    layer, x, cond = case.layer(), case.input(), case.condition()
    for direction in laws.DIRECTIONS:
        expected = laws.gradients(layer, x, cond, direction=direction, plain=True)
        for options in ({}, {"every": 2}, {"every": 1}):
            with guard(layer, **options) as watch:
                laws.assert_same_gradients(laws.gradients(layer, x, cond, direction=direction, plain=False), expected)
            assert watch.drift < 1e-10
        with guard(layer, on_drift="anchor", threshold=1e-30), warnings.catch_warnings():
            warnings.simplefilter("ignore", DriftWarning)
            for _ in range(2):
                laws.assert_same_gradients(laws.gradients(layer, x, cond, direction=direction, plain=False), expected)
            laws.energy_is_the_outputs(layer, x, cond)


def test_a_float64_stream_around_float32_networks(case: Case) -> None:
    """Every layer passes it; in and out are float32, and the gradients have the parameters' own dtypes."""
    layer, x, cond = case.layer(torch.float32), case.input(torch.float32), case.condition(torch.float32)
    names = {id(p): p for p in layer.parameters()}
    with guard(layer, stream=torch.float64) as watch:
        for direction in laws.DIRECTIONS:
            y, logdet = getattr(layer, direction)(x, cond)
            assert y.dtype == logdet.dtype == torch.float32
            found = laws.gradients(layer, x, cond, direction=direction, plain=False)
            assert watch.drift < 1e-10
            expected = laws.gradients(layer, x, cond, direction=direction, plain=True)
            for name, want in expected.items():
                assert found[name].dtype == torch.float32
                assert float((found[name] - want).norm()) <= 1e-3 * float(want.norm()) + 1e-3
        assert all(found.dtype == torch.float32 for found in layer.energy(x, cond))
    assert {id(p) for p in layer.parameters()} == names.keys()


def test_a_first_batch_in_a_wider_stream_sets_the_actnorm() -> None:
    chain, x = Chain(ActNorm(2), Householder(2)), 3 + 2 * torch.randn(64, 2, 4)
    with guard(chain, stream=torch.float64):
        backward(chain, x)
    assert bool(chain.maps[0].initialised)
    assert float((chain.maps[0].log_scale.detach() + torch.tensor(2.0).log()).abs().max()) < 0.3
    assert chain.maps[0].log_scale.dtype == torch.float32


def test_a_network_that_goes_wrong_without_it_trains_with_it() -> None:
    """Twenty-four expanding steps: rebuilt inputs are off by more than their size, gradients by powers of ten.

    The training is chaotic, so that the losses of any two ways to compute it part after some ten steps.
    """
    losses: dict[str, list[float]] = {}
    for name, plainly, guarded in (("plain", True, False), ("frugal", False, False), ("guarded", False, True)):
        net = smooth_flow(24, last=2.0)
        descent = torch.optim.SGD(net.parameters(), 1e-5)
        watch = guard(net, on_drift="anchor") if guarded else None
        losses[name] = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DriftWarning)
            for i in range(8):
                value = loss(net, data(64, seed=i), plain=plainly)
                losses[name].append(float(value.detach()))
                descent.zero_grad()
                value.backward()
                descent.step()
    assert watch is not None
    assert 1 <= len(watch.anchors) < len(net) / 2
    assert losses["plain"][-1] < 0.9 * losses["plain"][0]
    assert losses["guarded"] == pytest.approx(losses["plain"], rel=2e-2)
    assert not losses["frugal"][-1] < losses["plain"][0]


@pytest.mark.parametrize(
    ("depth", "steps", "blown_up"), [(12, 40, 20.0), pytest.param(96, 200, 4.0, marks=pytest.mark.slow)]
)
def test_float32_gradients_after_training(depth: int, steps: int, blown_up: float) -> None:
    """Against float64 autograd, for every parameter: at most 3 times plain float32's own error, or 1e-4.

    Of the trained net as it is; and, guarded, of the net with its scales blown up until it drifts. The median over
    batches, and ten times that in each: in one of these eight a sample magnifies rounding, however exact its inputs.
    """
    net = smooth_flow(depth)
    adam = torch.optim.Adam(net.parameters(), 1e-3)
    for i in range(steps):
        value = loss(net, data(64, seed=i))
        adam.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        adam.step()
    x = [data(64, seed=1000 + i) for i in range(8)]
    assert is_sound(net, x)
    with torch.no_grad():
        for one in net:
            if isinstance(one, Coupling):
                one.network[-1].weight.mul_(blown_up)
    assert not is_sound(net, x)  # the control: now it goes wrong
    with guard(net, stream=torch.float64):
        assert is_sound(net, x)
    with guard(net, on_drift="anchor"):
        with pytest.warns(DriftWarning):
            loss(net, data(64, seed=1999)).backward()
        assert is_sound(net, x)


def is_sound(net: Chain, batches: Sequence[Tensor]) -> bool:
    found = excesses(net, batches)
    return float(found.median(0).values.max()) <= 1 and float(found.max()) <= 10


def excesses(net: Chain, batches: Sequence[Tensor]) -> Tensor:
    """Of each batch and parameter: the error of the gradient, in units of what is allowed."""
    exactly = copy.deepcopy(net).double()
    errors: list[list[Tensor]] = [[], []]
    for x in batches:
        exact = gradients(exactly, x.double(), plain=True)
        for to, found in zip(errors, (gradients(net, x), gradients(net, x, plain=True)), strict=True):
            off = [(g.double() - want).norm() / want.norm() for g, want in zip(found, exact, strict=True)]
            to.append(torch.stack(off).nan_to_num(torch.inf))
    ours, plain = (torch.stack(each) for each in errors)
    return ours / (3 * plain.square().mean(0).sqrt()).clamp_min(1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_at_most_64_bytes_a_layer_and_sample(dtype: torch.dtype) -> None:
    """What a guard adds to what lives between forward and backward; the rest does not grow with the depth."""

    def live(depth: int, *, guarded: bool) -> int:
        layer, (x, cond) = flow(depth).to(dtype), (t.to(dtype) for t in images())
        weights = guard(layer).projections if guarded else Projections()
        backward(layer, x, cond)  # ActNorm's first batch, and the weights of the fingerprints
        with LiveBytes(x, cond, *layer.parameters(), *weights._weights.values()) as mode:
            kept = layer(x, cond)
            size = mode.count()
        del kept
        return size

    for depth in DEPTHS[:2]:
        layers, batch = 2 * depth, 4  # ActNorm and Householder are one map of single pixels
        more = live(depth, guarded=True) - live(depth, guarded=False)
        assert more == layers * batch * NUMBERS * dtype.itemsize
        assert more <= 64 * layers * batch


def test_a_fingerprint_estimates_the_error_wherever_it_sits() -> None:
    """The mean over many draws of the estimate's square is the square of the error, also for a single pixel's."""
    project, x = Projections(), torch.randn(400, 6, 8, 8, dtype=torch.float64)
    spread, single = torch.randn_like(x), torch.zeros_like(x)
    single.flatten(1).scatter_(1, torch.randint(384, (400, 1)), 1.0)
    smooth = torch.ones_like(x) * torch.randn(400, 1, 1, 1, dtype=torch.float64)
    for error in (spread, single, smooth):
        found = drift(project(x), x.flatten(1).norm(dim=1), project(x + 1e-3 * error))
        expected = 1e-3 * error.flatten(1).norm(dim=1) / x.flatten(1).norm(dim=1)
        ratio = (found / expected).square()
        assert 0.2 < float(ratio.mean()) < 5
        assert float(ratio.min()) > 1e-3
    layout = x.movedim(0, -1).contiguous().movedim(-1, 0)
    assert float(drift(project(x), x.flatten(1).norm(dim=1), project(layout)).max()) < 1e-15
    assert float(drift(torch.zeros(3, 7), torch.zeros(3), torch.zeros(3, 7)).max()) == 0


def test_a_guard_is_no_part_of_the_state_and_follows_a_copy() -> None:
    layer, x = Chain(ActNorm(1), Sloppy()), torch.randn(3, 1, 4)
    names = list(layer.state_dict())
    watch = guard(layer)
    assert list(layer.state_dict()) == names
    twin = copy.deepcopy(layer)
    watch.remove()
    backward(layer, x)
    with pytest.raises(DriftError, match="Sloppy"):
        backward(twin, x)


def test_a_guard_of_what_holds_maps() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.before, self.map = nn.Linear(2, 2), Chain(Sloppy())

    model = Model()
    with guard(model), pytest.raises(DriftError, match=r"maps\.0 \(Sloppy\)"):
        backward(model.map, model.before(torch.randn(3, 2)))


def test_an_empty_batch_is_not_watched() -> None:
    layer = MAPS["chain-1d"].layer()
    with guard(layer):
        backward(layer, torch.randn(0, 2, 6, dtype=torch.float64))


MISTAKES: dict[str, tuple[Callable[[], object], str]] = {
    "no map": (lambda: guard(nn.Linear(1, 1)), "expected maps without a guard, got 0 in Linear"),
    "twice": (lambda: [guard(layer) for layer in [ActNorm(1)] * 2], "expected maps without a guard"),
    "no threshold": (lambda: guard(ActNorm(1), threshold=0.0), "expected a positive threshold"),
    "no layer": (lambda: guard(ActNorm(1), every=0), "at least every layer, got"),
    "a word": (lambda: guard(ActNorm(1), on_drift="stop"), "expected on_drift 'raise', 'warn' or 'anchor', got 'stop'"),
    "integers": (lambda: guard(ActNorm(1), stream=torch.int64), "expected a floating-point stream"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake(name: str) -> None:
    use, words = MISTAKES[name]
    with pytest.raises(ValueError, match=words):
        use()
