"""The i-RIM: its formula, the price in operator calls and in memory, complex and nonlinear operators, and its doors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pylops
import pytest
import torch
from torch import Tensor
from unrolled_maps import Curved, Warp, blur, masked, matrix

from bayesinv.physics import Calls, from_pylops
from bayesinv.reversible import Chain, guard, plain
from bayesinv.unrolled import IRIM, MisfitGradient, irim_layer, irim_loop, per_record


def awake(module: Any, size: float = 0.1) -> Any:
    """Away from its initialisation, in float64."""
    module.double()
    draws = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(size * torch.randn(parameter.shape, generator=draws, dtype=torch.float64))
    return module


def small(operator: Any, **options: Any) -> IRIM:
    settings: dict[str, Any] = {"memory": 3, "hidden": 6, "dilations": (1, 2)} | options
    return awake(IRIM(operator, **settings))  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", ["linear", "psi", "nonlinear", "nonlinear psi", "own operators"])
def test_the_gradient_is_that_of_the_misfit(name: str) -> None:
    """``g = d/deta 1/2 |A(psi(eta)) - y|^2``, by autograd of the misfit itself."""
    psi = {"psi": Warp(), "nonlinear psi": torch.exp}.get(name)
    shape = (2, 5) if name == "psi" else (1, 5)
    operator = Curved((1, 5), (1, 5)) if "nonlinear" in name else matrix((1, 5), (1, 5))
    estimate, y = torch.randn(3, *shape).double().requires_grad_(), torch.randn(3, 1, 5).double()
    mask = torch.rand(3, 5).double()
    inside = masked(mask) if name == "own operators" else operator
    image = estimate if psi is None else psi(estimate)
    (expected,) = torch.autograd.grad((inside(image) - y).square().sum() / 2, estimate)
    found = (
        MisfitGradient(masked)(estimate, y, mask)
        if name == "own operators"
        else MisfitGradient(operator, psi=psi)(estimate, y)
    )
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)


def test_a_complex_image_is_two_real_channels() -> None:
    """``psi = x_0 + i x_1`` with complex data: the gradient is that of the real misfit, and so are its derivatives."""
    transform = from_pylops(pylops.signalprocessing.FFT2D((4, 6), dtype="complex128"), complex_model=True)

    def as_complex(estimate: Tensor) -> Tensor:
        return torch.complex(estimate[:, :1], estimate[:, 1:])

    network = small(transform, shape=(2, 4, 6), psi=as_complex)
    y = torch.randn(2, *transform.data_shape, dtype=torch.complex128)
    estimate = torch.randn(2, 2, 4, 6).double().requires_grad_()
    (expected,) = torch.autograd.grad((transform(as_complex(estimate)) - y).abs().square().sum() / 2, estimate)
    torch.testing.assert_close(MisfitGradient(transform, psi=as_complex)(estimate, y), expected)
    x = network(y)
    assert x.shape == (2, 1, 4, 6)
    assert x.is_complex()
    same_gradients(network, y)


def gradients(network: IRIM, *data: Tensor) -> list[Tensor]:
    x = network(*data)
    return list(torch.autograd.grad(x.abs().square().sum(), list(network.parameters()), allow_unused=True))


def same_gradients(network: IRIM, *data: Tensor) -> None:
    """To 1e-8 relative of plain autograd through the same loop, with all its activations stored."""
    found = gradients(network, *data)
    with plain():
        expected = gradients(network, *data)
    assert sum(g is not None for g in found) > 10
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            assert float((one - other).norm()) <= 1e-8 * float(other.norm()) + 1e-12


@pytest.mark.parametrize("coupling", ["additive", "affine", "hint"])
@pytest.mark.parametrize("shared", [False, True])
def test_gradients_are_those_of_plain_autograd_through_the_same_loop(coupling: Any, shared: bool) -> None:
    network = small(blur(), iterations=4, coupling=coupling, shared=shared)
    same_gradients(network, torch.randn(3, 1, 4, 3).double())
    assert len(list(network.parameters())) == len(list(small(blur(), coupling=coupling, iterations=1).parameters())) * (
        1 if shared else 4
    )


def test_gradients_of_a_nonlinear_loop_and_of_own_operators() -> None:
    same_gradients(small(Curved((1, 5), (1, 7)), iterations=4), torch.randn(3, 1, 7).double())
    same_gradients(small(masked, shape=(1, 5), iterations=4), torch.randn(3, 1, 5).double(), torch.rand(3, 5).double())


def test_the_price_is_two_operator_calls_forward_and_four_backward() -> None:
    for operator in (blur(), Curved((1, 4, 3), (1, 4, 3))):
        for iterations in (1, 4):
            network = small(operator, iterations=iterations)
            x = network(torch.randn(2, 1, 4, 3).double())
            assert network.calls == Calls(forward=iterations, adjoint=iterations)
            x.square().sum().backward()
            assert network.calls == Calls(forward=3 * iterations, adjoint=3 * iterations)
            network.calls.reset()
            with torch.no_grad():
                network(torch.randn(2, 1, 4, 3).double())
            assert network.calls == Calls(forward=iterations, adjoint=iterations)


@pytest.mark.parametrize("operator", [Curved((1, 4), (1, 6)), matrix((1, 4), (1, 6))], ids=["nonlinear", "linear"])
def test_the_gradient_in_forward_mode_and_under_transforms(operator: Any) -> None:
    """Where ``torch.func`` takes the place of plain autograd: the same tangents."""
    gradient, y = MisfitGradient(operator, psi=torch.sinh), torch.randn(2, 1, 6).double()
    estimate, v = torch.randn(2, 1, 4).double(), torch.randn(2, 1, 4).double()
    _, expected = torch.autograd.functional.jvp(lambda e: gradient(e, y), estimate, v)
    torch.testing.assert_close(torch.func.jvp(lambda e: gradient(e, y), (estimate,), (v,))[1], expected)
    with torch.autograd.forward_ad.dual_level():
        dual = gradient(torch.autograd.forward_ad.make_dual(estimate, v), y)
        torch.testing.assert_close(torch.autograd.forward_ad.unpack_dual(dual).tangent, expected)
    with torch.no_grad():
        assert torch.equal(gradient(estimate, y), gradient(estimate, y))


def test_the_gauss_newton_form_is_the_same_for_half_the_price() -> None:
    """``N x - A^H y`` in the place of ``A^H (A x - y)``, the same images and gradients."""
    operator = matrix((1, 6), (1, 9))
    inner = matrix((1, 6), (1, 6))
    inner.matrix = operator.matrix.T @ operator.matrix
    plainly, normal = small(operator), small(inner, gauss_newton=True)
    normal.load_state_dict(plainly.state_dict())
    y = torch.randn(3, 1, 9).double()
    torch.testing.assert_close(normal(operator.adjoint(y)), plainly(y))
    for one, other in zip(gradients(normal, operator.adjoint(y)), gradients(plainly, y), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)
    assert normal.calls.forward + normal.calls.adjoint == plainly.calls.forward == plainly.calls.adjoint


def test_operators_of_records_are_a_loop_over_the_records() -> None:
    operators = [from_pylops(pylops.Diagonal(np.random.default_rng(i).normal(size=5))) for i in range(3)]
    together = small(per_record(operators), shape=(1, 5))
    y, numbers = torch.randn(4, 1, 5).double(), torch.tensor([2, 0, 0, 1])
    found = together.eval()(y, numbers)
    for i, number in enumerate(numbers.tolist()):
        alone = small(operators[number])
        alone.load_state_dict(together.state_dict())
        torch.testing.assert_close(alone.eval()(y[i : i + 1]), found[i : i + 1], rtol=1e-11, atol=1e-12)
    same_gradients(together, y, numbers)


def test_a_wider_stream_keeps_complex_data_and_numbers_of_operators() -> None:
    """The condition of a guarded loop is widened, too: complex data stay complex, integers integers."""
    transform = from_pylops(pylops.signalprocessing.FFT(6, real=False, dtype="complex128"))
    matrices = [matrix((1, 6), (1, 6), seed=i) for i in range(2)]
    y, numbers = torch.randn(2, 1, 6), torch.tensor([1, 0])
    for network, data in (
        (small(transform).float(), (torch.complex(y, y.flip(0)),)),
        (small(per_record(matrices), shape=(1, 6)).float(), (y, numbers)),
    ):
        expected = network(*data).detach()
        first = gradients(network, *data)
        guard(network.loop, stream=torch.float64)
        torch.testing.assert_close(network(*data).detach(), expected, rtol=1e-5, atol=1e-5)
        for one, other in zip(gradients(network, *data), first, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4 * float(other.abs().max()) + 1e-7)


def test_the_jacobian_may_be_taken_as_constant() -> None:
    """For simulators that can be differentiated once: the same images, gradients with ``J^H J`` alone."""
    operator = Curved((1, 4), (1, 6))
    estimate, y = torch.randn(2, 1, 4).double(), torch.randn(2, 1, 6).double()
    exact, first = (MisfitGradient(operator, second_order=second) for second in (True, False))
    torch.testing.assert_close(first(estimate, y), exact(estimate, y))
    _, pulled = torch.autograd.functional.vjp(lambda e: first(e, y), estimate, v := torch.randn_like(estimate))
    tangent = operator.linearize(estimate)
    torch.testing.assert_close(pulled, tangent.adjoint(tangent(v)))
    _, other = torch.autograd.functional.vjp(lambda e: exact(e, y), estimate, v)
    assert float((pulled - other).norm()) > 0.01 * float(other.norm())
    network = small(operator, second_order=False)
    gradients(network, y)
    assert network.calls == Calls(forward=3 * 4, adjoint=3 * 4)
    same_gradients(network, y)


def saved(network: IRIM, y: Tensor, *, stored: bool = False) -> int:
    """Bytes saved between forward and backward, without parameters and data."""
    known = {t.untyped_storage()._cdata for t in [*network.parameters(), y]}
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in known:
            sizes[storage._cdata] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        if stored:
            with plain():
                kept = network(y)
        else:
            kept = network(y)
    del kept
    return sum(sizes.values())


def test_saved_bytes_do_not_grow_with_the_iterations() -> None:
    y = torch.randn(2, 1, 4, 3).double()
    sizes = {n: saved(small(blur(), iterations=n, psi=torch.tanh), y) for n in (4, 8, 32)}
    assert len(set(sizes.values())) == 1, sizes
    assert sizes[4] >= 2 * 4 * 12 * 8  # the last state
    stored = [saved(small(blur(), iterations=n, psi=torch.tanh), y, stored=True) for n in (4, 8)]
    assert stored[1] > 1.8 * stored[0] > 10 * sizes[4]


def test_a_layer_is_a_coupling_for_each_dilation() -> None:
    for kind in ("additive", "affine", "hint"):
        layer = irim_layer(5, rank=2, hidden=4, dilations=(1, 3), coupling=kind)  # type: ignore[arg-type]
        assert isinstance(layer, Chain)
        assert len(layer) == 2
        x = torch.randn(2, 5, 7, 8)
        torch.testing.assert_close(layer(x)[0], x)  # it starts as the identity


def test_the_loop_keeps_dtype_and_runs_under_no_grad() -> None:
    network = IRIM(blur(), iterations=2, memory=3, hidden=4)
    with torch.no_grad():
        x = network(torch.randn(3, 1, 4, 3))
    assert x.dtype == torch.float32
    assert not x.requires_grad


def test_mistakes() -> None:
    operator = blur()
    with pytest.raises(ValueError, match=r"expected data of shape \(1, 4, 3\)"):
        IRIM(operator, memory=3, hidden=4)(torch.randn(2, 1, 3, 4))
    with pytest.raises(ValueError, match="expected data alone for one operator"):
        IRIM(operator, memory=3, hidden=4)(torch.randn(2, 1, 4, 3), torch.ones(2, 1))
    with pytest.raises(ValueError, match=r"expected shape=\(channels, \*space\)"):
        irim_loop(masked)
    with pytest.raises(ValueError, match="memory of 1 channels or more, got 4 and 0"):
        irim_loop(operator, memory=0)
    with pytest.raises(ValueError, match="expected coupling 'additive', 'affine' or 'hint', got 'glow'"):
        irim_loop(operator, coupling="glow")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected one dilation or more"):
        irim_layer(4, rank=1, dilations=())
    with pytest.raises(ValueError, match="expected the data as the condition, got none"):
        irim_loop(operator, memory=3, hidden=4)(torch.randn(2, 4, 4, 3))
    with pytest.raises(ValueError, match="1 channels of the estimate and as many of memory"):
        irim_loop(operator, memory=3, hidden=4)(torch.randn(2, 1, 4, 3), torch.randn(2, 1, 4, 3))
    with pytest.raises(ValueError, match="expected operators of equal shapes"):
        per_record([matrix((1, 4), (1, 6)), matrix((1, 5), (1, 6))])
