"""Statistics of streamed samples: against numpy on all samples, in any batches, in memory that does not grow."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
import xarray as xr
from torch import Tensor
from toy_problems import line_problem, square_problem, tiny

from bayesinv.inference import OutOfDistributionWarning, Posterior, Problem, fit
from bayesinv.inference.running_statistics import RunningStatistics
from bayesinv.reversible.memory import _Counting

LEVELS = (0.001, 0.05, 0.5, 0.9, 0.999)
N, PIXELS = 3000, 1500


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


LAWS: dict[str, Callable[[], Tensor]] = {
    "normal": lambda: normal(N, PIXELS),
    "heavy-tailed": lambda: normal(N, PIXELS) / normal(N, PIXELS, seed=1).clamp(min=1e-6),
    "two modes": lambda: 0.01 * normal(N, PIXELS) + 5 * normal(N, PIXELS, seed=1).sign(),
    "whole numbers": lambda: normal(N, PIXELS).round(),
    "constant": lambda: torch.full((N, PIXELS), 0.1),
    "rising": lambda: normal(N, PIXELS).sort(0).values,
    "falling": lambda: normal(N, PIXELS).sort(0, descending=True).values,
}


def streamed(samples: Tensor, batch_size: int = 64, thresholds: tuple[float, ...] = ()) -> RunningStatistics:
    statistics = RunningStatistics(quantiles=LEVELS, thresholds=thresholds)
    for part in samples.split(batch_size):
        statistics.add(part)
    return statistics


@pytest.mark.parametrize("law", LAWS)
def test_the_rank_of_a_quantile_is_as_close_as_it_says(law: str) -> None:
    """Whatever the samples and their order; values within equal samples share the ranks of all of these."""
    samples = LAWS[law]()
    values, errors = streamed(samples).sketch.quantiles()
    for level, value, error in zip(LEVELS, values, errors, strict=True):
        rank = min(max(level * (N + 1), 1), N)
        below, upto = (samples < value).sum(0), (samples <= value).sum(0)
        miss = torch.maximum(below - rank, rank - upto).clamp(min=0) / N
        assert bool((miss <= error + 1e-6).all())
        assert float(error.max()) <= 1


def test_the_error_of_the_ranks_is_that_of_order_statistics() -> None:
    """Bins hold 2 of the first 512 samples, of the others a share of Beta(3, 510): BetaBinomial, within its error.

    The mean within 4 standard errors, and 2 % as the bin looked at is that of a quantile of the samples themselves.
    The true error is a matter of the line through the bin: of a fifth of the bin, root mean square.
    """
    samples = LAWS["normal"]()
    values, errors = streamed(samples).sketch.quantiles()
    law = scipy.stats.betabinom(N - 512, 3, 510)
    for level, value, error in list(zip(LEVELS, values, errors, strict=True))[1:4]:
        others = N * error.double() - 2
        assert float(others.mean()) == pytest.approx(law.mean(), abs=4 * law.std() / PIXELS**0.5 + 0.02 * law.mean())
        assert float((others > law.ppf(0.99)).float().mean()) < 0.01 + 4 * (0.01 / PIXELS) ** 0.5
        miss = (samples <= value).sum(0) / N - level
        assert float(miss.square().mean().sqrt()) < 0.2 * float(error.square().mean().sqrt())


@pytest.mark.parametrize("sign", [1, -1])
def test_samples_beyond_all_bins_are_in_reach(sign: int) -> None:
    """The outermost bins end where the samples do, also where the first ones were all on one side."""
    samples = sign * LAWS["rising"]()
    values, _ = streamed(samples).sketch.quantiles()
    outermost = values[-1] if sign > 0 else values[0]
    assert bool((sign * outermost > (sign * samples[:512]).max(0).values).all())
    assert bool((sign * outermost <= (sign * samples).max(0).values).all())


def test_few_samples_are_exact() -> None:
    for n in (1, 2, 37, 512):
        samples = normal(n, 3, 11)
        values, errors = streamed(samples).sketch.quantiles()
        expected = np.quantile(samples.numpy(), LEVELS, axis=0, method="weibull")
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)
        assert values.shape == (len(LEVELS), 3, 11)
        assert not errors.any()


def test_moments_and_exceedance_meet_numpy() -> None:
    """Also where the mean is large beside the deviation, which a sum of squares would not survive."""
    samples = 1000 + 0.01 * normal(700, 2, 5, 6)
    found = streamed(samples, thresholds=(1000.0, 1000.01))
    exact = samples.double().numpy()
    np.testing.assert_allclose(found.mean, exact.mean(0), rtol=1e-7)
    np.testing.assert_allclose(found.std, exact.std(0, ddof=1), rtol=1e-6)
    above = samples.numpy()[None] > np.float32([1000.0, 1000.01])[:, None, None, None, None]
    np.testing.assert_allclose(found.exceedance, above.mean(1), rtol=1e-6)


def test_batches_do_not_matter() -> None:
    samples = normal(700, 2, 30)
    expected, *others = (streamed(samples, size, thresholds=(0.3,)) for size in (700, 1, 37))
    for found in others:
        for name in ("mean", "std", "exceedance"):
            assert torch.equal(getattr(found, name), getattr(expected, name))
        for one, other in zip(found.sketch.quantiles(), expected.sketch.quantiles(), strict=True):
            assert torch.equal(one, other)


def test_memory_does_not_grow_with_the_samples() -> None:
    def peak(n: int) -> int:
        with _Counting() as count:
            statistics = RunningStatistics(quantiles=(0.5,), thresholds=(0.0,))
            for seed in range(n // 20):
                statistics.add(normal(20, PIXELS, seed=seed))
            statistics.sketch.quantiles()
        return count.peak

    few, many = peak(600), peak(1400)
    assert many <= few + 4096
    sorting = 512 * 4 * 1024  # of a block of pixels, with indices of 8 bytes
    assert few < 4 * (512 * PIXELS + 256 * PIXELS + sorting + 100 * PIXELS)


def test_bad_input_is_refused() -> None:
    for levels in ((0.5, 1.0), (0,), (-0.1,), (float("nan"),)):
        with pytest.raises(ValueError, match="expected quantiles between 0 and 1"):
            RunningStatistics(quantiles=levels)
    with pytest.raises(ValueError, match="expected finite thresholds"):
        RunningStatistics(thresholds=(1.0, float("inf")))
    statistics = streamed(normal(64, 3))
    broken = normal(5, 3)
    broken[2, 1] = torch.nan
    with pytest.raises(ValueError, match="expected finite samples, got others among samples 64 to 68"):
        statistics.add(broken)
    with pytest.raises(ValueError, match="at least one image"):
        RunningStatistics(quantiles=(0.5,)).sketch.quantiles()


@pytest.fixture(scope="module")
def line() -> tuple[Problem, Posterior]:
    problem = line_problem(16)
    posterior = tiny(problem)
    fit(posterior, problem, simulations=64, epochs=4, validation=4, show_progress=False, device="cpu")
    return problem, posterior


@pytest.mark.parametrize("refine", [0, 2])
@pytest.mark.parametrize("single", [True, False])
def test_statistics_are_those_of_the_samples(line: tuple[Problem, Posterior], single: bool, refine: int) -> None:
    problem, posterior = line
    _, y, _ = problem.sample(2, seed=1)
    conditioned = posterior(y[0] if single else y)
    samples = conditioned.sample(50, seed=3, refine=refine)
    found = conditioned.statistics(50, quantiles=(0.1, 0.5), thresholds=(0.0, 1.5), seed=3, refine=refine)
    for name, expected in {
        "mean": samples.mean(),
        "std": samples.std(),
        "quantiles": samples.quantile((0.1, 0.5)),
        "exceedance": xr.concat([samples.exceedance(0.0), samples.exceedance(1.5)], "threshold"),
    }.items():
        assert found[name].dims == expected.dims
        np.testing.assert_allclose(found[name], expected, rtol=1e-4, atol=1e-5)
        assert found[name].coords["x"].equals(samples.values.coords["x"])
    assert found["quantile"].to_numpy().tolist() == [0.1, 0.5]
    assert not found["rank_error"].any()
    again = conditioned.statistics(50, seed=3, refine=refine, batch_size=7)
    np.testing.assert_allclose(again["mean"], found["mean"], rtol=1e-4, atol=1e-4)
    assert not np.allclose(conditioned.statistics(50, seed=4, refine=refine)["mean"], found["mean"], atol=1e-2)


def test_statistics_bear_units_and_provenance_and_can_be_stored(
    line: tuple[Problem, Posterior], tmp_path: Path
) -> None:
    problem, posterior = line
    _, y, _ = problem.sample(1, seed=1)
    found = posterior(y[0]).statistics(10, thresholds=(2.0,), seed=5)
    assert found["mean"].attrs == {"long_name": "mean of density", "units": "kg/m3"}
    assert found["threshold"].attrs["units"] == "kg/m3"
    assert found["exceedance"].attrs["units"] == found["rank_error"].attrs["units"] == "1"
    assert found["x"].attrs["units"] == "mm"
    provenance = json.loads(found.attrs["provenance"])
    assert {key: provenance[key] for key in ("samples", "seed", "refine")} == {"samples": 10, "seed": 5, "refine": 0}
    found.to_netcdf(tmp_path / "statistics.nc", engine="netcdf4")
    with xr.open_dataset(tmp_path / "statistics.nc", engine="netcdf4") as stored:
        xr.testing.assert_identical(stored.load(), found)


def test_other_ranks_and_no_thresholds() -> None:
    problem = square_problem()
    _, y, _ = problem.sample(2, seed=1)
    found = tiny(problem)(y).statistics(3)
    assert found["mean"].shape == (2, 1, 8, 8)
    assert found["quantiles"].shape == (3, 2, 1, 8, 8)
    assert found["exceedance"].shape == (0, 2, 1, 8, 8)


def test_bad_requests_are_refused_before_any_sample(
    line: tuple[Problem, Posterior], monkeypatch: pytest.MonkeyPatch
) -> None:
    problem, posterior = line
    _, y, _ = problem.sample(1, seed=1)
    conditioned = posterior(y[0])
    monkeypatch.setattr(posterior.flow, "batches", lambda *_: pytest.fail("sampled"))
    with pytest.raises(ValueError, match="expected at least 2 samples"):
        conditioned.statistics(1)
    with pytest.raises(ValueError, match="expected quantiles between"):
        conditioned.statistics(10, quantiles=(5, 95))
    with pytest.raises(ValueError, match="expected refine=0"):
        conditioned.statistics(10, refine=-1)


def test_strange_data_raise_the_warning_of_sample(line: tuple[Problem, Posterior]) -> None:
    problem, posterior = line
    _, y, _ = problem.sample(1, seed=1)
    strange = posterior(y[0] + 30 * normal(*y[0].shape))
    for ask in (strange.sample, strange.statistics):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            ask(2)
        assert [w.category for w in caught] == [OutOfDistributionWarning]
        assert caught[0].filename == __file__
