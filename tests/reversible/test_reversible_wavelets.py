"""The wavelet filters against their defining equations, and the transform against its formula."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from bayesinv.reversible import squeeze
from bayesinv.reversible.wavelets import FILTERS, analysed, synthesised

NAMES = list(FILTERS)


def taps(name: str) -> Tensor:
    return torch.tensor(FILTERS[name], dtype=torch.float64)


def mirrored(h: Tensor) -> Tensor:
    """``g_k = (-1)^k h_{K-1-k}``."""
    return h.flip(0) * (-1.0) ** torch.arange(len(h))


def test_the_filters_fit_their_names() -> None:
    lengths = {name: len(h) for name, h in FILTERS.items()}
    assert lengths == {name: (2 if name[0] in "ds" else 6) * int(name[-1]) for name in FILTERS}


@pytest.mark.parametrize("name", NAMES)
def test_orthonormal_with_sum_root_two(name: str) -> None:
    h = taps(name)
    for m in range(len(h) // 2):
        assert abs(float(h[2 * m :] @ h[: len(h) - 2 * m]) - (m == 0)) < 1e-15 * len(h)
    assert abs(float(h.sum()) - math.sqrt(2)) < 1e-15 * len(h)


@pytest.mark.parametrize("name", NAMES)
def test_vanishing_moments(name: str) -> None:
    """``sum_k g_k k^p = 0`` for p below the order: of a polynomial only what wraps around is left."""
    h, k = taps(name), torch.arange(len(FILTERS[name]), dtype=torch.float64)
    order = int(name[-1]) * (2 if name.startswith("coif") else 1)
    for p in range(order):
        assert abs(float(mirrored(h) @ k**p)) < 1e-15 * float(h.abs() @ k**p) * len(h)
    assert abs(float(mirrored(h) @ k**order)) > 0.1


@pytest.mark.parametrize("name", ["coif1", "coif2"])
def test_coiflets_have_a_scaling_function_with_moments(name: str) -> None:
    """``sum_k h_k (k - 2N)^p = 0`` for 0 < p < 2N: samples of a smooth image nearly are its coefficients."""
    h, n = taps(name), int(name[-1])
    k = torch.arange(len(h), dtype=torch.float64) - 2 * n
    for p in range(1, 2 * n):
        assert abs(float(h @ k**p)) < 1e-15 * float(h.abs() @ k.abs() ** p) * len(h)


def test_coif1_in_closed_form() -> None:
    r = math.sqrt(7)
    closed = torch.tensor([1 - r, 5 + r, 14 + 2 * r, 14 - 2 * r, 1 - r, r - 3], dtype=torch.float64)
    torch.testing.assert_close(taps("coif1"), closed / (16 * math.sqrt(2)), rtol=0, atol=1e-15)


@pytest.mark.parametrize("name", [n for n in NAMES if not n.startswith("coif")])
def test_daubechies_polynomial(name: str) -> None:
    """``|sum_k h_k e^{-iwk}|^2 = 2 cos^{2N}(w/2) sum_{j<N} C(N-1+j, j) sin^{2j}(w/2)``, of dbN and of symN."""
    h, n = taps(name), int(name[-1])
    w = torch.linspace(0, math.pi, 33, dtype=torch.float64)
    response = (h * torch.exp(-1j * w[:, None] * torch.arange(len(h)))).sum(1).abs() ** 2
    series = sum(math.comb(n - 1 + j, j) * torch.sin(w / 2) ** (2 * j) for j in range(n))
    torch.testing.assert_close(response, 2 * torch.cos(w / 2) ** (2 * n) * series, rtol=0, atol=1e-14)


def inner_roots(name: str) -> Tensor:
    """The roots of ``sum_k h_k z^{K-1-k}`` but for the N at -1, which multiply badly."""
    h = taps(name)
    for _ in range(int(name[-1])):  # divided by z + 1
        quotient = [h[0]]
        for tap in h[1:-1]:
            quotient.append(tap - quotient[-1])
        h = torch.stack(quotient)
    companion = torch.diag(torch.ones(len(h) - 2, dtype=h.dtype), -1)
    companion[0] = -h[1:] / h[0]
    return torch.linalg.eigvals(companion).abs()


def test_daubechies_are_of_minimal_phase_and_symlets_are_not() -> None:
    for name in ("db2", "db3", "db4"):
        assert float(inner_roots(name).max()) < 1
    for name in ("sym4", "sym5", "sym6"):
        assert float(inner_roots(name).min()) < 1 < float(inner_roots(name).max())


def phase_error(h: Tensor) -> float:
    """How far the phase is from the best linear one."""
    w = torch.linspace(0.05, 0.9 * math.pi, 200, dtype=torch.float64)
    response = (h * torch.exp(-1j * w[:, None] * torch.arange(len(h)))).sum(1)
    steps = (response[1:] / response[:-1]).angle()
    phase = torch.cat([response[:1].angle(), steps]).cumsum(0)
    return float((phase - w * (w @ phase) / (w @ w)).norm())


def test_symlets_are_nearer_to_linear_phase() -> None:
    assert phase_error(taps("sym4")) < 0.5 * phase_error(taps("db4"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n", [2, 6, 16])
def test_the_formula(name: str, n: int) -> None:
    h = taps(name)
    g, x = mirrored(h), torch.randn(n, dtype=torch.float64)
    low = [sum(h[k] * x[(2 * m + k) % n] for k in range(len(h))) for m in range(n // 2)]
    high = [sum(g[k] * x[(2 * m + k) % n] for k in range(len(h))) for m in range(n // 2)]
    parts = analysed(x, 0, FILTERS[name])
    torch.testing.assert_close(parts[0], torch.stack(low), rtol=0, atol=1e-14)
    torch.testing.assert_close(parts[1], torch.stack(high), rtol=0, atol=1e-14)
    even, odd = synthesised(*parts, 0, FILTERS[name])
    torch.testing.assert_close(torch.stack([even, odd], 1).flatten(), x, rtol=0, atol=1e-14)


def test_haar_is_the_shortest_filter() -> None:
    x = torch.randn(2, 3, 4, 6, dtype=torch.float64)
    y: Any = x
    for axis in (2, 3):
        y = torch.cat(analysed(y, axis, (0.5**0.5, 0.5**0.5)), 1)
    torch.testing.assert_close(squeeze(x), y, rtol=0, atol=1e-15)


def test_axes_are_transformed_one_after_the_other() -> None:
    x = torch.randn(2, 3, 4, 6, 8, dtype=torch.float64)
    y: Any = x
    for axis in (2, 3, 4):
        y = torch.cat(analysed(y, axis, FILTERS["db2"]), 1)
    assert torch.equal(squeeze(x, kind="db2"), y)


def test_a_longer_wavelet_compresses_a_smooth_image_more() -> None:
    t = torch.linspace(0, 2 * math.pi, 65, dtype=torch.float64)[:-1]
    x = (torch.sin(t)[:, None] * torch.cos(2 * t)).view(1, 1, 64, 64)
    leak = [float(squeeze(x, kind=kind)[:, 1:].norm() / x.norm()) for kind in ("haar", "db2", "db4")]
    assert leak[0] > 5 * leak[1] > 25 * leak[2]
