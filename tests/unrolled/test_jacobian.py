"""The Jacobian of a map as a PyLops operator: dot test, known answers, solvers, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pylops
import pytest
import torch
from pylops.optimization.basic import cgls
from pylops.utils import dottest
from scipy.sparse.linalg import lsqr
from torch import Tensor, nn

from bayesinv.flows import glow
from bayesinv.reversible import ActNorm, Chain, Conditioner, Coupling, Householder, Inverted, Reversible, ShiftScale
from bayesinv.unrolled import jacobian

WRT = ("input", "parameters", "both")


def dense() -> tuple[Reversible, Tensor]:
    torch.manual_seed(0)
    steps = [(ActNorm(4), Householder(4), Coupling(Conditioner(2, 4, hidden=6, rank=0), passive=2)) for _ in range(3)]
    return away(Chain(*[one for step in steps for one in step])), torch.randn(5, 4, dtype=torch.float64)


def away(map: Reversible) -> Reversible:
    """Away from its initialisation."""
    map = map.double().eval()
    with torch.no_grad():
        for parameter in map.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return map


def conditional_image() -> tuple[Reversible, tuple[Tensor, Tensor]]:
    torch.manual_seed(1)
    flow = glow((1, 8, 8), condition=2, levels=2, steps=1, hidden=6)
    return away(flow.map), (torch.randn(2, 1, 8, 8).double(), torch.randn(2, 2, 8, 8).double())


CASES: dict[str, Callable[[], tuple[Reversible, Tensor | tuple[Tensor, Tensor]]]] = {
    "dense": dense,
    "inverted": lambda: (Inverted(dense()[0]), dense()[1]),
    "conditional image": conditional_image,
    "single precision": lambda: (dense()[0].float(), dense()[1].float()),
}


@pytest.mark.parametrize("wrt", WRT)
@pytest.mark.parametrize("name", CASES)
def test_dot_test(name: str, wrt: str) -> None:
    """``<J v, w> = <v, J^T w>`` to 1e-12 in float64 and, where the products may cancel, 1e-4 in float32."""
    np.random.seed(0)  # noqa: NPY002 - the dot test of PyLops draws from there
    map, at = CASES[name]()
    operator = jacobian(map, at, wrt=wrt)
    tolerance = 1e-4 if operator.dtype == np.float32 else 1e-12
    for _ in range(3):
        assert dottest(operator, rtol=tolerance, raiseerror=False)


def test_the_matrix_is_autograds() -> None:
    map, x = dense()
    own = [p.detach() for p in map.parameters()]
    names = [name for name, _ in map.named_parameters()]

    def function(x: Tensor, *parameters: Tensor) -> Tensor:
        out: Tensor = torch.func.functional_call(map, dict(zip(names, parameters, strict=True)), (x,))[0]
        return out

    blocks = torch.func.jacrev(function, argnums=tuple(range(1 + len(own))))(x, *own)
    expected = torch.cat([b.reshape(x.numel(), -1) for b in blocks], 1).detach().numpy()
    found = jacobian(map, x, wrt="both").todense()
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(jacobian(map, x, wrt="input").todense(), expected[:, : x.numel()], atol=1e-12)
    np.testing.assert_allclose(jacobian(map, x, wrt="parameters").todense(), expected[:, x.numel() :], atol=1e-12)


@pytest.mark.parametrize("name", ["dense", "conditional image"])
def test_it_is_the_derivative(name: str) -> None:
    """Taylor test of the map along ``J v``, in the input: the remainder falls as the square of the step."""
    map, at = CASES[name]()
    x, cond = at if isinstance(at, tuple) else (at, None)
    v = torch.randn_like(x)
    step = torch.from_numpy(jacobian(map, at) @ v.flatten().numpy()).view_as(x)
    with torch.no_grad():
        rest = [float((map(x + h * v, cond)[0] - map(x, cond)[0] - h * step).norm()) for h in (1e-3, 1e-4)]
    assert rest[1] < 0.02 * rest[0]


def test_solvers_of_scipy_and_pylops_invert_it() -> None:
    """``J`` of the input is square and regular; its least-squares solution is the tangent of the inverse."""
    map, x = dense()
    operator = jacobian(map, x)
    truth = np.random.default_rng(0).standard_normal(operator.shape[1])
    data = operator @ truth
    back = jacobian(Inverted(map), map(x)[0].detach()) @ data
    np.testing.assert_allclose(back, truth, atol=1e-9)
    np.testing.assert_allclose(lsqr(operator, data, atol=1e-13, btol=1e-13, iter_lim=500)[0], truth, atol=1e-6)
    found = cgls(operator, data, niter=500, tol=1e-13)[0]
    np.testing.assert_allclose(found.ravel(), truth, atol=1e-6)


def test_it_composes_with_pylops() -> None:
    map, x = dense()
    operator = jacobian(map, x)
    half = pylops.Diagonal(np.full(operator.shape[0], 0.5)) @ operator
    v = np.ones(operator.shape[1])
    np.testing.assert_allclose(half @ v, (operator @ v) / 2)
    assert operator.dims == operator.dimsd == tuple(x.shape)


def test_frozen_parameters_are_no_columns() -> None:
    map, x = dense()
    map.maps[0].requires_grad_(False)
    assert jacobian(map, x, wrt="parameters").shape[1] == sum(p.numel() for p in map.parameters() if p.requires_grad)
    assert dottest(jacobian(map, x, wrt="parameters"), rtol=1e-12)


def test_a_point_that_has_gone_is_refused() -> None:
    map, x = dense()
    operator = jacobian(map, x, wrt="parameters")
    torch.nn.utils.vector_to_parameters(torch.nn.utils.parameters_to_vector(map.parameters()) + 1, map.parameters())
    with pytest.raises(RuntimeError, match="expected the parameters of the point of the Jacobian"):
        operator @ np.ones(operator.shape[1])


def test_mistakes() -> None:
    map, x = dense()
    with pytest.raises(ValueError, match="expected wrt 'input', 'parameters' or 'both', got 'weights'"):
        jacobian(map, x, wrt="weights")
    with pytest.raises(ValueError, match="expected a map with parameters"):
        jacobian(ShiftScale(), (torch.zeros(1, 1), torch.zeros(1, 2)), wrt="both")
    assert not isinstance(map, nn.Sequential)
