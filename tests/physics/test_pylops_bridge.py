"""The bridge: PyLops operators in torch, batched, differentiable to any order, picklable; and the way back."""

from __future__ import annotations

import multiprocessing
import pickle

import numpy as np
import pylops
import pytest
import torch

from bayesinv.physics import as_pylops, dot_test, from_pylops, taylor_test
from bayesinv.physics.pylops_bridge import PylopsOperator

BLUR = np.outer([1.0, 2.0, 0.5], [0.3, 1.0, 0.7])

OPERATORS = {
    "derivative": lambda: from_pylops(pylops.FirstDerivative((4, 3), dtype="float64")),
    "float32": lambda: from_pylops(pylops.FirstDerivative((4, 3), dtype="float32")),
    "convolution": lambda: from_pylops(
        pylops.signalprocessing.Convolve2D((5, 4), h=BLUR, offset=(1, 1), method="fft", dtype="float64")
    ),
    "identity": lambda: from_pylops(pylops.Identity(6)),
    "restriction": lambda: from_pylops(pylops.Restriction((4, 3), [0, 2], axis=0)),
    "poststack": lambda: from_pylops(
        pylops.avo.poststack.PoststackLinearModelling(np.array([-0.5, 1, -0.5]), nt0=6, spatdims=3)
    ),
    "prestack, channels": lambda: from_pylops(
        pylops.avo.prestack.PrestackLinearModelling(
            np.array([-0.5, 1, -0.5]), np.array([5.0, 15.0, 25.0]), nt0=6, spatdims=(2,), linearization="akirich"
        ),
        channels=1,
    ),
    "fourier of real": lambda: from_pylops(pylops.signalprocessing.FFT((4, 3), axis=0, real=True)),
    "complex data": lambda: from_pylops(pylops.signalprocessing.FFT2D((4, 3))),
    "complex": lambda: from_pylops(pylops.signalprocessing.FFT2D((4, 3)), complex_model=True),
    "real on complex": lambda: from_pylops(pylops.FirstDerivative((4, 3)), complex_model=True),
    "scan, flat for PyLops": lambda: from_pylops(
        pylops.medical.MRI2D((4, 6), mask=np.array([[1.0], [0], [1], [1]]) * np.ones(6), dtype="complex128")
    ),
    "flat for PyLops": lambda: from_pylops(
        pylops.VStack([pylops.FirstDerivative((4, 3)), pylops.Identity(12)], forceflat=True)
    ),
    "conjugate": lambda: from_pylops(pylops.Conj((4, 3)), complex_model=True),
    "real part": lambda: from_pylops(pylops.Real((4, 3)), complex_model=True),
    "imaginary part": lambda: from_pylops(pylops.Imag((4, 3)), complex_model=True),
    "conjugate of a spectrum": lambda: from_pylops(
        pylops.Conj((4, 3)) * pylops.signalprocessing.FFT2D((4, 3)), complex_model=True
    ),
    "complex of real, R-linear": lambda: from_pylops(
        pylops.signalprocessing.FFT2D((4, 4), real=True, ifftshift_before=True)
    ),
}


@pytest.fixture(params=OPERATORS, ids=list(OPERATORS))
def operator(request):
    return OPERATORS[request.param]()


def draw(shape, is_complex=False, seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=random, dtype=torch.complex128 if is_complex else torch.float64)


def tolerance(operator):
    return 1e-6 if np.dtype(operator.op.dtype).itemsize == 4 else 1e-13


def test_the_adjoint_is_the_transpose(operator):
    assert dot_test(operator) < tolerance(operator)


def test_a_batch_is_a_loop_and_agrees_with_pylops(operator):
    x = draw((2, 3, *operator.model_shape), operator.complex_model)
    y = operator(x)
    assert tuple(y.shape) == (2, 3, *operator.data_shape)
    assert y.dtype == (torch.complex128 if operator.complex_data else torch.float64)
    assert torch.equal(y[1, 2], operator(x[1, 2]))
    assert operator(x[:0]).shape == (0, 3, *operator.data_shape)
    if operator.channels == (None, None) and not operator.complex_model:
        direct = np.asarray(operator.op.matvec(x[1, 2].numpy().ravel())).reshape(operator.data_shape)
        torch.testing.assert_close(y[1, 2], torch.from_numpy(direct).to(y.dtype), rtol=1e-6, atol=1e-6)


def test_channels_come_first():
    op = pylops.avo.prestack.PrestackLinearModelling(np.ones(3), np.array([5.0, 15.0]), nt0=6, spatdims=(2,))
    operator = from_pylops(op, channels=1)
    assert operator.model_shape == (3, 6, 2)
    assert operator.data_shape == (2, 6, 2)
    x = draw(operator.model_shape)
    direct = (op @ x.movedim(0, 1).numpy().ravel()).reshape(6, 2, 2)
    torch.testing.assert_close(operator(x), torch.from_numpy(direct).movedim(1, 0))
    assert all(type(n) is int for n in operator.model_shape + operator.data_shape)


def test_derivatives_of_first_and_second_order_in_both_modes(operator):
    if tolerance(operator) > 1e-10:
        return  # finite differences need float64
    x = draw((2, *operator.model_shape), operator.complex_model).requires_grad_()
    assert torch.autograd.gradcheck(operator, x, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(operator, x, check_fwd_over_rev=True, check_rev_over_rev=True)
    y = draw((2, *operator.data_shape), operator.complex_data).requires_grad_()
    assert torch.autograd.gradcheck(operator.adjoint, y, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(operator.adjoint, y)


def test_second_derivative_through_a_parameter():
    """PyLops' own TorchOperator gives half the truth here."""
    operator = OPERATORS["convolution"]()
    x = draw(operator.model_shape)
    scale = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad((operator(scale**2 * x) ** 2).sum(), scale, create_graph=True)
    (second,) = torch.autograd.grad(gradient, scale)
    assert second.item() == pytest.approx(12 * 1.5**2 * operator(x).square().sum().item())


def test_function_transforms(operator):
    x = draw((3, *operator.model_shape), operator.complex_model)
    torch.testing.assert_close(torch.func.vmap(operator)(x), operator(x))
    torch.testing.assert_close(torch.func.vmap(operator, in_dims=1)(x.movedim(0, 1)), operator(x))
    torch.testing.assert_close(torch.func.vmap(torch.func.vmap(operator))(x[None]), operator(x)[None])
    value, tangent = torch.func.jvp(operator, (x,), (2 * x,))
    torch.testing.assert_close(tangent, 2 * value)
    if not operator.complex_data and not operator.complex_model:
        jacobian = torch.func.jacrev(operator)(x[0])
        torch.testing.assert_close(torch.func.jacfwd(operator)(x[0]), jacobian)
        flat = jacobian.reshape(operator(x[0]).numel(), -1) @ x[0].reshape(-1)
        torch.testing.assert_close(flat, operator(x[0]).reshape(-1), rtol=1e-6, atol=1e-6)
    if tolerance(operator) < 1e-10:
        assert taylor_test(operator) == float("inf")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_dtype_is_kept(dtype):
    operator = OPERATORS["convolution"]()
    x = draw((2, *operator.model_shape)).to(dtype).requires_grad_()
    y = operator(x)
    y.sum().backward()
    assert y.dtype == x.grad.dtype == operator.adjoint(y).dtype == dtype
    fourier = OPERATORS["complex data"]()
    x = draw((2, *fourier.model_shape)).to(dtype).requires_grad_()
    fourier(x).abs().sum().backward()
    assert x.grad.dtype == dtype


def test_a_result_shares_no_memory():
    operator = OPERATORS["identity"]()
    x = draw((2, *operator.model_shape))
    before = x.clone()
    operator(x).zero_()
    operator.adjoint(x).zero_()
    assert torch.equal(x, before)


def test_the_imaginary_part_is_not_dropped():
    operator = OPERATORS["real on complex"]()
    x = draw(operator.model_shape, True)
    plain = OPERATORS["derivative"]()
    torch.testing.assert_close(operator(x), torch.complex(plain(x.real), plain(x.imag)))
    torch.testing.assert_close(operator(x.conj()), operator(x).conj())


def test_a_pickled_copy_is_the_same(operator):
    if operator.channels == (1, 1):
        return  # PrestackLinearModelling itself cannot be pickled: it holds a module
    x = draw((2, *operator.model_shape), operator.complex_model)
    copy = pickle.loads(pickle.dumps(operator))
    assert torch.equal(copy(x), operator(x))


def apply_in_process(operator, x):
    return operator(torch.from_numpy(x)).numpy()


@pytest.mark.slow
def test_a_spawned_worker_can_use_it():
    operator = OPERATORS["derivative"]()
    x = draw(operator.model_shape).numpy()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(operator, (torch.from_numpy(x),)), apply_in_process(operator, x))


def test_the_way_back_to_pylops(operator):
    view = as_pylops(operator)
    x = draw(operator.model_shape, operator.complex_model)
    np.testing.assert_allclose(view.matvec(x.numpy().ravel()), operator(x).numpy().ravel())
    y = operator(x)
    np.testing.assert_allclose(view.rmatvec(y.numpy().ravel()), operator.adjoint(y).numpy().ravel())
    if operator.complex_data and not operator.complex_model:
        np.testing.assert_allclose(view.matvec(x.numpy().ravel() + 0j), operator(x).numpy().ravel())
    elif not operator.complex_data and not operator.complex_model:
        assert pylops.utils.dottest(view, rtol=1e-6)
        again = from_pylops(view, channels=0)
        assert isinstance(again, PylopsOperator)
        torch.testing.assert_close(again(x), operator(x))


def test_the_view_knows_over_which_numbers_it_is_linear():
    over_complex = {name: as_pylops(make()).clinear for name, make in OPERATORS.items()}
    assert {name for name, answer in over_complex.items() if not answer} == {
        "fourier of real", "complex data", "scan, flat for PyLops", "conjugate", "real part", "imaginary part",
        "conjugate of a spectrum", "complex of real, R-linear",
    }  # fmt: skip


def test_a_real_model_of_complex_data_has_real_gradients_and_a_real_adjoint():
    operator = OPERATORS["scan, flat for PyLops"]()
    y = draw(operator.data_shape, True)
    assert operator.adjoint(y).dtype == torch.float64
    complex_adjoint = operator.op.rmatvec(y.numpy().ravel()).reshape(operator.model_shape)
    assert np.abs(complex_adjoint.imag).max() > 0.1
    torch.testing.assert_close(operator.adjoint(y), torch.from_numpy(complex_adjoint.real))


class Simulated(torch.utils.data.Dataset):
    def __init__(self, operator):
        self.operator = operator

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return self.operator(torch.full(self.operator.model_shape, float(index)).cumsum(-1))


@pytest.mark.parametrize("start", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_of_a_data_loader_can_use_it(start):
    data = Simulated(OPERATORS["derivative"]())
    loader = torch.utils.data.DataLoader(data, batch_size=2, num_workers=1, multiprocessing_context=start)
    torch.testing.assert_close(torch.cat(list(loader)), torch.stack([data[i] for i in range(4)]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda a: a(torch.zeros(4, 4, dtype=torch.float64)), r"shape \(1, 4, 3\).* got a tensor of \(4, 4\)"),
        (lambda a: a(torch.zeros(1, 4, 3, dtype=torch.int64)), "floating dtype, got torch.int64"),
        (lambda a: a(torch.zeros(1, 4, 3, dtype=torch.complex64)), "expected real model"),
        (lambda a: a(np.zeros((1, 4, 3))), "torch tensor, got ndarray"),
        (lambda a: from_pylops(a), "expected a pylops.LinearOperator"),
        (lambda a: from_pylops(a.op, channels=2), "axis of dims"),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make(OPERATORS["derivative"]())
