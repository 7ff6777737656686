"""A whole network is a reversible map: inverse, Jacobian and gradients, also those of a summary network before it."""

from __future__ import annotations

import pytest
import reversible_laws as laws
import torch
from flow_cases import FLOWS, FlowCase
from torch import Tensor

from bayesinv.flows import Flow, UNet, glow


def test_the_inverse_undoes_the_forward_map(flow_case: FlowCase) -> None:
    laws.inverse_undoes(flow_case.flow().map, flow_case.input(), flow_case.cond())


def test_the_inverse_undoes_the_forward_map_in_float32(flow_case: FlowCase) -> None:
    flow = flow_case.flow(torch.float32)
    laws.inverse_undoes(flow.map, flow_case.input(dtype=torch.float32), flow_case.cond(dtype=torch.float32))


def test_the_logdet_is_the_jacobians(flow_case: FlowCase) -> None:
    laws.logdet_is_the_jacobians(flow_case.flow().map, flow_case.input(), flow_case.cond())


def test_gradients_are_those_of_plain_autograd(flow_case: FlowCase) -> None:
    laws.gradients_are_autograds(flow_case.flow().map, flow_case.input(), flow_case.cond(), parts=["both"])


def _trained_jointly(network: UNet, flow: Flow, x: Tensor, c: Tensor, *, plain: bool) -> dict[str, Tensor]:
    condition = network(c)
    z, logdet = flow.map._forward(x, condition) if plain else flow.map(x, condition)
    loss = 0.5 * z.square().sum() - logdet.sum()
    named = dict(network.named_parameters(prefix="network")) | dict(flow.named_parameters(prefix="flow"))
    return dict(zip(named, torch.autograd.grad(loss, list(named.values())), strict=True))


@pytest.mark.parametrize("name", ["1d-pyramid", "2d-pyramid", "3d-pyramid"])
def test_a_summary_network_is_trained_through_the_condition(name: str) -> None:
    case = FLOWS[name]
    assert isinstance(case.condition, tuple)
    rank, features = len(case.shape) - 1, 3
    network = UNet(2, 2 * case.shape[0], rank=rank, widths=(4, 6), features=features).double()
    flow = FlowCase(case.shape, (case.condition[0], features, features)).flow()
    with torch.no_grad():
        for parameter in network.head.parameters():
            parameter.normal_(0, 0.1)
    c = torch.randn(2, 2, *case.shape[1:], dtype=torch.float64)
    found, expected = (_trained_jointly(network, flow, case.input(), c, plain=plain) for plain in (False, True))
    laws.assert_same_gradients(found, expected)
    assert all(float(g.abs().sum()) > 0 for name, g in found.items() if name.startswith("network"))


def test_frozen_parts_of_a_flow_get_no_gradient_and_the_rest_the_same() -> None:
    case = FLOWS["2d-pyramid"]
    flow = case.flow()
    for name, parameter in flow.named_parameters():
        parameter.requires_grad_("network" not in name)
    laws.gradients_are_autograds(flow.map, case.input(), case.cond(), parts=["both"])


def test_every_parameter_of_a_flow_has_a_part_in_its_density() -> None:
    case = FLOWS["2d-three-levels"]
    flow = case.flow()
    flow.log_prob(case.input(), case.cond()).sum().backward()
    idle = [name for name, p in flow.named_parameters() if p.grad is None or not float(p.grad.abs().sum())]
    assert idle == []


@pytest.mark.parametrize(
    ("shape", "levels", "sizes"),
    [
        ((1, 20), 3, ["16", "24"]),
        ((1, 10, 16), 2, ["(8, 16)", "(12, 16)"]),
        ((1, 4, 4, 6), 2, ["(4, 4, 4)", "(4, 4, 8)"]),
    ],
)
def test_sizes_that_cannot_be_halved_name_others(shape: tuple[int, ...], levels: int, sizes: list[str]) -> None:
    with pytest.raises(ValueError, match="would do") as caught:
        glow(shape, levels=levels)
    assert all(size in str(caught.value) for size in sizes)


@pytest.mark.parametrize(
    ("shape", "options", "match"),
    [
        ((1,), {"levels": 1}, "at least two channels"),
        ((3,), {"levels": 2}, "at least two channels"),
        ((1, 2, 2, 2, 2), {"levels": 1}, "up to 3 axes"),
        ((1, 8), {"steps": 0}, "1 or more"),
        ((1, 8), {"levels": 2, "hidden": (4, 4, 4)}, "one hidden width"),
        ((1, 8), {"levels": 2, "condition": (2, 3)}, "one condition for each of 2 levels"),
        ((2, 8), {"levels": 1, "condition": (2, 3)}, "begins with 4 channels"),
    ],
)
def test_impossible_designs_are_refused(shape: tuple[int, ...], options: dict[str, object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        glow(shape, **options)  # type: ignore[arg-type]


def test_the_channels_of_a_condition_do_not_grow_with_the_levels() -> None:
    """One condition tensor of 5 channels is seen with 5 channels at every level, not with 5 4^level."""
    flow = glow((1, 32, 32), condition=5, levels=4, steps=1, hidden=8)
    seen = [p.shape[1] for name, p in flow.named_parameters() if name.endswith("inject.weight")]
    assert len(seen) == 7
    assert set(seen) == {5}
