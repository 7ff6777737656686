"""`Problem` and `load_problem`: pairs keyed by (seed, index), and their doors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toy_problems import GaussianPrior, line_problem

from bayesinv.inference import Prior, Problem, load_problem


def test_a_pair_depends_on_seed_and_index_only() -> None:
    problem = line_problem()
    x, y, sigma = problem.sample(6, seed=3)
    for found, whole in zip(problem.sample(2, seed=3, start=4), (x, y, sigma), strict=True):
        assert torch.allclose(found, whole[4:], atol=1e-5)
    assert not torch.allclose(problem.sample(6, seed=4)[0], x)
    assert float(((y - problem.forward.operator(x)) / sigma[:, None, None]).std()) == pytest.approx(1, abs=0.3)
    with pytest.raises(ValueError, match="one pair or more"):
        problem.sample(0, seed=3)


def test_a_prior_of_another_shape_or_kind_is_refused() -> None:
    forward = line_problem().forward
    with pytest.raises(ValueError, match=r"expected a prior of images \(1, 16\) for the operator, got one of \(1, 8\)"):
        Problem(GaussianPrior((1, 8), torch.eye(8)), forward)
    with pytest.raises(ValueError, match="expected a prior with shape and sample"):
        Problem(lambda n, seed: torch.zeros(n, 1, 16), forward)  # type: ignore[arg-type]
    assert isinstance(line_problem().prior, Prior)


def test_a_prior_that_draws_in_double_precision() -> None:
    """Such as one made with NumPy: the pairs are float32 as all of the package's."""

    class Double(GaussianPrior):
        def sample(self, n: int, seed: int, *, start: int = 0) -> torch.Tensor:
            return super().sample(n, seed, start=start).double()

    problem = Problem(Double((1, 16), torch.eye(16)), line_problem().forward)
    assert [part.dtype for part in problem.sample(2, seed=0)] == [torch.float32] * 3

    class Array(GaussianPrior):
        def sample(self, n: int, seed: int, *, start: int = 0) -> torch.Tensor:
            return np.zeros((n, 1, 16))  # type: ignore[return-value]

    with pytest.raises(ValueError, match="expected images of the prior as a torch tensor, got ndarray"):
        Problem(Array((1, 16), torch.eye(16)), line_problem().forward).sample(2, seed=0)


def test_a_plug_in_is_joined_with_its_prior() -> None:
    problem = load_problem("photoacoustic-line", size=16)
    assert problem.name == "photoacoustic-line"
    assert problem.parameters == {"size": 16}
    assert problem.forward.model_shape == tuple(problem.prior.shape) == (1, 16, 16)
    assert "vessels" in problem.regions
    assert line_problem().regions == {}
    assert "model (1, 16, 16)" in repr(problem)


def test_unknown_names_and_keywords_are_refused() -> None:
    with pytest.raises(ValueError, match="photoacoustic-line"):
        load_problem("photoacoustic-lin")
    with pytest.raises(ValueError, match=r"expected parameters of 'deblur' .* got sise"):
        load_problem("deblur", sise=16)
