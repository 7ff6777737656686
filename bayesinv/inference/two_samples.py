r"""Classifier two-sample tests: C2ST between two sets of samples, and LC2ST, local calibration at one observation.

C2ST is the accuracy, under cross-validation, of a classifier that tells two sets apart: 0.5 where it cannot. The
classifier is part of the figure: a random forest (100 trees) unless told otherwise, a perceptron with two layers of ten
units per dimension as an alternative. Both sets must come from random states of their own: samples that share one are
paired, and the accuracy falls below 0.5.

LC2ST trains a classifier to tell pairs ``(x*, y)`` from ``(x_s, y)`` over many ``y`` and asks it about samples at one
``y_o``. The statistic is ``mean (d(x_s, y_o) - 1/2)^2`` against its law when the labels are exchanged at random.

Sources: Lopez-Paz and Oquab 2017 (arXiv 1610.06545); Linhart, Gramfort, Rodrigues 2023 (arXiv 2306.03580).
"""

from __future__ import annotations

import warnings
from typing import Any, Literal, TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayesinv.inference.heldout import HeldOut, Observation
from bayesinv.inference.tarp import scaled_adjoint
from bayesinv.seeding import generator, stream

__all__ = ["Classifier", "c2st", "local_c2st"]

Array: TypeAlias = NDArray[Any]
Classifier: TypeAlias = Literal["random-forest", "perceptron"]


def c2st(
    first: Any, second: Any, *, classifier: Classifier = "random-forest", folds: int = 5, seed: int = 0
) -> xr.Dataset:
    """Accuracy of a classifier between two sets of samples, 0.5 if they have one law.

    Args:
        first: samples ``(n, ...)``.
        second: samples ``(n, ...)`` from a random state of their own.
        classifier: ``"random-forest"`` or ``"perceptron"``.
        folds: of the cross-validation.
        seed: of the folds and the classifier.

    Returns:
        ``accuracy`` over ``fold``, ``c2st`` (their mean), and ``c2st_error`` of an ideal accuracy, ``1 / (2 sqrt n)``
        with n samples in all. The attributes name the classifier and, of a forest, its ``min_samples_leaf``.

    Raises:
        ValueError: for sets of different shape, fewer than ten samples, NaN or infinity, or sets drawn from one random
            state.
        ModuleNotFoundError: without scikit-learn.
    """
    one, other = (np.asarray(values, dtype=float).reshape(len(values), -1) for values in (first, second))
    if one.shape != other.shape or len(one) < 2 * folds or len(one) < 10:
        raise ValueError(f"expected two sets of 10 or more samples of one shape, got {one.shape} and {other.shape}")
    for values in (one, other):
        wrong = int((~np.isfinite(values)).any(1).sum())
        if wrong:
            raise ValueError(f"expected finite samples, got NaN or infinity in {wrong} of {len(values)}")
    _check_apart(one, other)
    data, labels = np.concatenate([one, other]), np.repeat([0, 1], [len(one), len(other)])
    scale = data.std(0)
    data = (data - data.mean(0)) / np.where(scale > 0, scale, 1)
    model_selection = _sklearn("model_selection")
    split = model_selection.StratifiedKFold(folds, shuffle=True, random_state=_state(seed, "c2st folds"))
    accuracy = []
    for fold, (train, test) in enumerate(split.split(data, labels)):
        model = _classifier(classifier, data.shape[1], _state(seed, "c2st classifier", fold))
        accuracy.append(_fitted(model, data[train], labels[train]).score(data[test], labels[test]))
    leaf = {"min_samples_leaf": _leaf(data.shape[1])} if classifier == "random-forest" else {}
    return xr.Dataset(
        {"accuracy": ("fold", accuracy), "c2st": np.mean(accuracy), "c2st_error": 0.5 / np.sqrt(len(data))},
        attrs={"classifier": classifier, "samples": len(one)} | leaf,
    )


def _check_apart(one: Array, other: Array) -> None:
    """Refuse sets that agree row by row: independent ones are refused less than once in 10,000 times.

    The figure is the correlation of ranks within each column, all columns together. Of n independent rows it is beyond
    ``t / sqrt(n - 2 + t^2)``, ``t`` the two-sided 1e-5 quantile of Student's law with n - 2 degrees of freedom, with a
    probability of at most 6e-5 (n = 12, by 400,000 permutations), and of less where there are several columns.
    """
    from scipy.stats import rankdata, t

    first, second = (rankdata(values, axis=0) - (len(values) + 1) / 2 for values in (one, other))
    size = np.sqrt((first**2).sum() * (second**2).sum())
    found = float((first * second).sum() / size) if size > 0 else 0.0
    freedom = len(one) - 2
    quantile = t.isf(0.5e-5, freedom)
    if abs(found) > max(0.5, quantile / np.sqrt(freedom + quantile**2)):
        raise ValueError(
            f"expected two sets from random states of their own, got sets that agree row by row (rank correlation "
            f"{found:.2f}); draw one of them with another seed"
        )


def local_c2st(
    held: HeldOut,
    y: Any,
    sigma: Any,
    *,
    samples: int = 200,
    components: int = 6,
    null: int = 50,
    classifier: Classifier = "random-forest",
    seed: int = 0,
) -> xr.Dataset:
    """Is the posterior calibrated at this very observation?

    Features are the leading principal components of the residual images ``x - mean(y)`` and of the adjoint images, both
    of the held-out pairs.

    Args:
        held: posterior and held-out pairs, the material of the classifier; 400 and more are of use.
        y: the observation ``data_shape``.
        sigma: its noise level.
        samples: of the posterior at `y`.
        components: principal components of the images, and as many of the adjoint images.
        null: retrainings on exchanged labels.
        classifier: ``"random-forest"`` or ``"perceptron"``.
        seed: of samples, exchanges and classifier.

    Returns:
        ``statistic``, ``null_statistic`` over ``null``, ``p_value``, ``probability`` over ``sample``: how sure the
        classifier is that it sees a sample and not a truth.

    Raises:
        ModuleNotFoundError: without scikit-learn.
    """
    import torch

    targets, drawn, context = [], [], []
    for one in held:
        centre = one.values[1:].mean(0)
        targets.append((one.target - centre).ravel())
        drawn.append((one.values[0] - centre).ravel())
        context.append(scaled_adjoint(held, one).ravel())
    with torch.no_grad():
        record, level = torch.as_tensor(y)[None], torch.as_tensor(sigma).reshape(1)
        conditioned = held.posterior(record, level)
        count = held.samples - 1
        centre = np.asarray(conditioned.sample(count, seed=_state(seed, "centre")).observation(0).values).mean(0)
        fresh = np.asarray(conditioned.sample(samples, seed=_state(seed, "fresh")).observation(0).values) - centre
    asked = Observation(-1, centre, centre, fresh, record, level, conditioned, seed, held.forward)
    images = _Components(np.stack(targets + drawn), components)
    contexts = _Components(np.stack(context), components)
    there = contexts(scaled_adjoint(held, asked).reshape(1, -1))
    here = np.hstack([images(fresh.reshape(samples, -1)), np.repeat(there, samples, 0)])
    known = contexts(np.stack(context))
    true, false = (np.hstack([images(np.stack(rows)), known]) for rows in (targets, drawn))
    random = generator(seed, stream("lc2st"))
    probability = _probability(classifier, true, false, here, _state(seed, "lc2st classifier"))
    statistics = []
    for number in range(null):
        swap = random.random(len(true)) < 0.5
        first, second = np.where(swap[:, None], false, true), np.where(swap[:, None], true, false)
        state = _state(seed, "lc2st classifier", number + 1)
        statistics.append(((_probability(classifier, first, second, here, state) - 0.5) ** 2).mean())
    found = ((probability - 0.5) ** 2).mean()
    return xr.Dataset(
        {
            "statistic": found,
            "null_statistic": ("null", statistics),
            "p_value": (1 + sum(value >= found for value in statistics)) / (null + 1),
            "probability": ("sample", probability),
        },
        attrs={"classifier": classifier, "observations": len(held), "components": components},
    )


class _Components:
    """Projection on the leading principal components of rows, each of unit variance."""

    def __init__(self, rows: Array, count: int) -> None:
        self.mean = rows.mean(0)
        _, size, directions = np.linalg.svd(rows - self.mean, full_matrices=False)
        kept = min(count, int((size > 1e-8 * size[0]).sum()))
        self.directions = directions[:kept] / size[:kept, None] * np.sqrt(len(rows))

    def __call__(self, rows: Array) -> Array:
        return np.asarray((rows - self.mean) @ self.directions.T)


def _probability(classifier: Classifier, true: Array, false: Array, here: Array, state: int) -> Array:
    data, labels = np.concatenate([true, false]), np.repeat([0, 1], [len(true), len(false)])
    model = _fitted(_classifier(classifier, data.shape[1], state), data, labels)
    return np.asarray(model.predict_proba(here)[:, 1])


def _classifier(name: str, dimension: int, state: int) -> Any:
    if name == "random-forest":
        forest: Any = _sklearn("ensemble").RandomForestClassifier(
            100, min_samples_leaf=_leaf(dimension), random_state=state, n_jobs=1
        )
        return forest
    if name == "perceptron":
        layers = (10 * dimension, 10 * dimension)
        return _sklearn("neural_network").MLPClassifier(layers, max_iter=1000, random_state=state)
    raise ValueError(f"expected a classifier 'random-forest' or 'perceptron', got {name!r}")


def _leaf(dimension: int) -> int:
    return 1 if dimension < 4 else 2


def _fitted(model: Any, data: Array, labels: Array) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a perceptron that stops early is still a classifier
        return model.fit(data, labels)


def _state(seed: int, name: str, index: int = 0) -> int:
    return int(generator(seed, stream(name), index).integers(2**31))


def _sklearn(part: str) -> Any:
    import importlib

    try:
        return importlib.import_module(f"sklearn.{part}")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("classifier tests need scikit-learn: pip install 'bayesinv[classifiers]'") from error
