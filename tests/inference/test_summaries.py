"""What physics computes from the data: CGLS iterates, the adjoint, the data, the drawn noise level."""

from __future__ import annotations

import numpy as np
import pylops
import pytest
import torch
from toy_problems import Matrix, blur, dense_problem, line_problem

from bayesinv.inference.summaries import mirror_axes, summarise, summary_channels
from bayesinv.physics import Axis, ForwardModel, GaussianNoise


def test_the_channels_are_the_iterates_of_pylops_cgls() -> None:
    problem = line_problem(16)
    _, y, sigma = problem.sample(2, seed=0)
    found = summarise("cgls", problem.forward, y.double(), sigma)
    assert found.shape == (2, summary_channels("cgls", problem.forward), 16)
    matrix = pylops.MatrixMult(problem.forward.operator.matrix.numpy())
    for j in range(2):
        for channel, iterations in enumerate((1, 4, 12)):
            data = y[j, 0].double().numpy()
            expected = pylops.optimization.basic.cgls(matrix, data, x0=np.zeros(16), niter=iterations, tol=0)[0]
            assert np.allclose(found[j, channel], expected, rtol=1e-6, atol=1e-8)


def test_the_adjoint_summary_is_the_adjoint() -> None:
    problem = line_problem(16)
    _, y, sigma = problem.sample(3, seed=0)
    assert torch.equal(summarise("adjoint", problem.forward, y, sigma), problem.forward.operator.adjoint(y))


def test_the_data_are_a_summary_on_the_grid_of_the_image() -> None:
    problem = line_problem(16)
    _, y, sigma = problem.sample(3, seed=0)
    assert torch.equal(summarise("data", problem.forward, y, sigma), y)
    assert summary_channels("data", problem.forward) == 1
    shorter = ForwardModel(Matrix(blur(16, 1.0)[:8], (1, 16), (1, 8)), GaussianNoise(0.1))
    with pytest.raises(ValueError, match=r"expected data on the grid \(16,\) of the image"):
        summary_channels("data", shorter)


def on_axes(model: str, data: str, *, mirror: str = "x", shift: float = 0.0) -> ForwardModel:
    """A blur of squares with named axes, those of the data moved by ``shift``."""
    line, pixels = blur(4, 1.0), np.arange(4.0)
    return ForwardModel(
        Matrix(torch.kron(line, line), (1, 4, 4), (1, 4, 4)),
        GaussianNoise(0.1),
        model_axes=tuple(Axis(name, "mm", pixels) for name in model),
        data_axes=tuple(Axis(name, "mm", pixels + shift) for name in data),
        mirror=tuple(mirror),
    )


def test_data_on_the_axes_of_the_image_go_with_the_iterates() -> None:
    y, sigma = torch.randn(2, 1, 4, 4), torch.ones(2)
    for forward, channels in ((on_axes("zx", "zx"), 4), (on_axes("zx", "tx"), 3), (on_axes("zx", "zx", shift=0.5), 3)):
        found = summarise("cgls", forward, y, sigma)
        assert found.shape[1] == channels == summary_channels("cgls", forward)
        assert torch.equal(found[:, 3:], y[:, : channels - 3])


def test_pairs_are_mirrored_only_where_the_summary_mirrors_alike() -> None:
    """Data that hold the axis at another place would be reversed along the wrong one."""
    assert mirror_axes("cgls", on_axes("zx", "zx", mirror="zx")) == (2, 3)
    assert mirror_axes("data", on_axes("zx", "zx")) == (3,)
    assert mirror_axes("data", on_axes("zx", "xt")) == ()
    assert mirror_axes("cgls", on_axes("zx", "xt")) == (3,)  # the iterates are images


def test_a_drawn_level_is_one_more_constant_image() -> None:
    forward = line_problem(16, noise=GaussianNoise((0.01, 1.0))).forward
    y, sigma = torch.full((2, 1, 16), 3.0), torch.tensor([0.3, 3.0])
    for kind, channels in (("cgls", 4), ("adjoint", 2), ("data", 2)):
        found = summarise(kind, forward, y, sigma)
        assert found.shape[1] == channels == summary_channels(kind, forward)
        expected = (torch.tensor([0.1, 1.0]).log() / torch.e)[:, None].expand(2, 16)
        assert torch.allclose(found[:, -1], expected, atol=1e-6)


def test_records_are_summarised_by_themselves() -> None:
    problem = line_problem(16)
    _, y, sigma = problem.sample(3, seed=0)
    together = summarise("cgls", problem.forward, y.double(), sigma)
    alone = summarise("cgls", problem.forward, y[1:2].double(), sigma[1:2])
    assert torch.allclose(alone, together[1:2], rtol=1e-8, atol=1e-8)


def test_dense_data() -> None:
    problem = dense_problem()
    _, y, sigma = problem.sample(3, seed=0)
    found = summarise("cgls", problem.forward, y, sigma)
    assert found.shape == (3, 3 * 4 + 3)
    assert torch.equal(found[:, 12:], y)


def test_an_unknown_summary_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a summary among cgls, tikhonov, adjoint, data"):
        summary_channels("gradient", line_problem().forward)  # type: ignore[arg-type]
