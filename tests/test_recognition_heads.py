"""Heads on features: against scikit-learn, slow references, and what they may not do."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from vocalburst.eval.recognition import linear_fits
from vocalburst.eval.recognition.feature_model import fit_head
from vocalburst.eval.recognition.heads import (
    FAR,
    HeadSettings,
    LinearHead,
    Standardiser,
    part_quality,
    read_outputs,
)
from vocalburst.eval.recognition.perceptron import PerceptronHead
from vocalburst.eval.tasks.registry import TASKS

TYPE, TWO, MULTI, CULTURE = (TASKS[n] for n in ("avb-type", "avb-two", "exvo-multitask", "avb-culture"))
RNG = np.random.default_rng(0)
SIGNAL = RNG.normal(size=(12, 20))


def features(n: int, seed: int, dim: int = 12, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """x [N, D] of different places and spreads, and the sources [N, 20] that it is a noisy picture of."""
    rng = np.random.default_rng(seed)
    sources = rng.normal(size=(n, 20))
    x = sources @ SIGNAL[:dim].T + noise * rng.normal(size=(n, dim))
    return (x * np.logspace(-2, 2, dim) + np.linspace(-50, 50, dim)).astype(np.float32), sources


def labels(task, sources: np.ndarray) -> np.ndarray:
    """y [N, C] that follow the sources: a class is the largest of the first ones."""
    columns = []
    for place, column in enumerate(task.columns):
        if column.classes:
            columns.append(sources[:, : len(column.classes)].argmax(axis=1).astype(float))
        else:
            low, high = column.bounds
            columns.append(low + (high - low) / (1 + np.exp(-sources[:, place % 20])))
    return np.stack(columns, axis=1)


def labelled(task, n: int, seed: int, **options):
    x, sources = features(n, seed, **options)
    return x, labels(task, sources)


@pytest.fixture(scope="module")
def typed():
    return labelled(TYPE, 400, 1), labelled(TYPE, 200, 2)


def test_standardiser_against_scikit_learn():
    from sklearn.preprocessing import StandardScaler

    x, _ = features(300, 3)
    x[:, 4] = 0.1  # constant, and no sum of it is exact
    z = Standardiser.fit(x)(x)
    np.testing.assert_allclose(z, StandardScaler().fit_transform(x.astype(np.float64)), atol=1e-4)
    assert z.dtype == np.float32
    wild = x[:1].copy()
    wild[0, 2] = 1e12
    assert Standardiser.fit(x)(wild).max() == FAR


def test_logistic_head_against_scikit_learn(typed):
    from sklearn.linear_model import LogisticRegression

    (x, y), _ = typed
    head, _ = fit_head(TYPE, HeadSettings(c_grid=(0.1,)), 0, (x, y), None)
    z = Standardiser.fit(x)(x).astype(np.float64)
    reference = LogisticRegression(C=0.1, tol=1e-8, max_iter=5000).fit(z, y[:, 0])
    heard = head.hear(x)
    np.testing.assert_allclose(heard.probabilities, reference.predict_proba(z), atol=2e-3)
    np.testing.assert_array_equal(heard.values[:, 0], heard.probabilities.argmax(axis=1))
    np.testing.assert_allclose(heard.probabilities.sum(axis=1), 1)
    np.testing.assert_allclose(heard.embeddings, z, atol=1e-6)


def test_two_classes_are_two_outputs(typed):
    from sklearn.linear_model import LogisticRegression

    (x, y), _ = typed
    z, two = Standardiser.fit(x)(x), (y[:, 0] > 3).astype(int)
    ((_, weights, bias),) = linear_fits.logistic_path(z, two, 2, [0.1], False)
    reference = LogisticRegression(C=0.1, tol=1e-8, max_iter=5000).fit(z.astype(np.float64), two)
    np.testing.assert_allclose(softmax(z @ weights + bias, axis=1), reference.predict_proba(z), atol=2e-3)


@pytest.mark.parametrize("balanced", [False, True])
def test_hinge_against_linear_svc(typed, balanced):
    from sklearn.svm import LinearSVC

    (x, y), _ = typed
    z, own = Standardiser.fit(x)(x), y[:, 0].astype(int)
    path = list(linear_fits.hinge_path(z, own, 8, [1e-1, 1e-3], balanced))
    assert [c for c, *_ in path] == [1e-3, 1e-1]
    for c, weights, bias in path:
        reference = LinearSVC(
            C=c, dual=False, tol=1e-8, max_iter=10_000, intercept_scaling=300,
            class_weight="balanced" if balanced else None,
        ).fit(z, own)  # fmt: skip
        np.testing.assert_allclose(z @ weights + bias, reference.decision_function(z), atol=5e-3)


def test_tube_against_linear_svr():
    from sklearn.svm import LinearSVR

    x, y = labelled(TWO, 300, 4)
    z, y = Standardiser.fit(x)(x), (y - y.mean(axis=0)) / y.std(axis=0)
    y[:60, 1] = np.nan
    for c, weights, bias in linear_fits.tube_path(z, y, [1e-3, 1e-1]):
        for column in range(2):
            known = ~np.isnan(y[:, column])
            reference = LinearSVR(
                C=c, epsilon=linear_fits.TUBE, loss="squared_epsilon_insensitive", dual=False, tol=1e-8,
                max_iter=10_000, intercept_scaling=300,
            ).fit(z[known], y[known, column])  # fmt: skip
            np.testing.assert_allclose(z @ weights[:, column] + bias[column], reference.predict(z), atol=5e-3)


def test_ridge_against_scikit_learn_with_unlabelled_rows():
    from sklearn.linear_model import Ridge

    x, y = labelled(CULTURE, 200, 5)
    country = np.arange(200) % 4
    for place, column in enumerate(CULTURE.columns):
        own = ("China", "United States", "South Africa", "Venezuela").index(column.name.split("_")[0])
        y[country != own, place] = np.nan
    head, report = fit_head(CULTURE, HeadSettings(c_grid=(0.02,)), 0, (x, y), None)
    z, values = Standardiser.fit(x)(x), head.hear(x).values
    for place in (0, 7, 21, 39):
        known = ~np.isnan(y[:, place])
        own = (y[known, place] - y[known, place].mean()) / y[known, place].std()
        fitted = Ridge(alpha=50).fit(z[known], own).predict(z)
        expected = np.clip(fitted * y[known, place].std() + y[known, place].mean(), 0, 1)
        np.testing.assert_allclose(values[:, place], expected, atol=1e-4)
    assert report == {
        "chosen": [
            {"columns": [c.name for c in CULTURE.columns], "c": 0.02, "metric": "CCC", "dev": {"0.02": None}}
        ],
        "refitted_on_dev": False,
    }


@pytest.mark.parametrize("head", ["lr", "svr"])
def test_c_is_the_best_on_dev(head):
    """Every combination of a C for each part, scored by the headline, has none better than the one chosen."""
    from itertools import product

    from vocalburst.eval.tasks.scoring import score

    train, dev = labelled(MULTI, 60, 6, noise=6), labelled(MULTI, 200, 7, noise=6)
    grid = (1e-4, 1e-2, 1.0)
    chosen, report = fit_head(MULTI, HeadSettings(head=head, c_grid=grid), 0, train, dev)
    alone = {c: fit_head(MULTI, HeadSettings(head=head, c_grid=(c,)), 0, train, None)[0] for c in grid}
    answers = {c: own.hear(dev[0]).values for c, own in alone.items()}

    def headline(values):
        return score(MULTI, dev[1], values, None, resamples=1)[0].value or 0

    reached = {}
    for combined in product(grid, repeat=3):  # of the intensities, the age, the country
        values = np.concatenate(
            [answers[combined[0]][:, :10], answers[combined[1]][:, 10:11], answers[combined[2]][:, 11:]],
            axis=1,
        )
        reached[combined] = headline(values)
    assert headline(chosen.hear(dev[0]).values) >= max(reached.values()) - 1e-3
    assert max(reached.values()) - min(reached.values()) > 0.01  # there was something to choose
    assert {part["metric"]: list(part["dev"]) for part in report["chosen"]} == {
        name: ["0.0001", "0.01", "1"] for name in ("CCC", "UAR", "MAE")
    }


def test_refit_is_a_fit_on_both_with_what_was_chosen(typed):
    train, dev = typed
    grid = (1e-3, 1e-1)
    head, report = fit_head(TYPE, HeadSettings(c_grid=grid, refit_on_dev=True), 0, train, dev)
    c = report["chosen"][0]["c"]
    both = (np.concatenate([train[0], dev[0]]), np.concatenate([train[1], dev[1]]))
    expected, _ = fit_head(TYPE, HeadSettings(c_grid=(c,)), 0, both, None)
    np.testing.assert_array_equal(head.hear(dev[0]).values, expected.hear(dev[0]).values)
    np.testing.assert_allclose(head.weights, expected.weights, atol=1e-6)
    assert report["refitted_on_dev"]
    without, report = fit_head(TYPE, HeadSettings(c_grid=grid), 0, train, dev)
    assert not report["refitted_on_dev"] and np.abs(without.weights - head.weights).max() > 1e-3


def test_margins_become_the_likeliest_probabilities(typed):
    train, dev = typed
    head, _ = fit_head(TYPE, HeadSettings(head="svr", c_grid=(0.01,)), 0, train, dev)

    def likelihood(sharpness):
        own = LinearHead(TYPE, head.standardiser, head.weights, head.bias, sharpness).hear(dev[0])
        return np.log(own.probabilities[np.arange(len(dev[0])), dev[1][:, 0].astype(int)]).mean()

    assert likelihood(head.sharpness) >= max(likelihood(s) for s in np.geomspace(0.1, 30, 60)) - 1e-6
    assert likelihood(head.sharpness) > likelihood(1.0) + 0.01
    plain, _ = fit_head(TYPE, HeadSettings(head="svr", c_grid=(0.01,)), 0, train, None)
    assert plain.sharpness == 1
    np.testing.assert_array_equal(plain.hear(dev[0]).values, head.hear(dev[0]).values)


@pytest.mark.parametrize("head", ["lr", "svr", "mlp"])
def test_answers_stay_inside_the_bounds_and_learn(head):
    settings = HeadSettings(head=head, hidden=32, epochs=15, batch_size=32, lr=5e-3, dropout=0.1)
    train, dev = labelled(MULTI, 400, 8), labelled(MULTI, 150, 9)
    train[1][::3, :10] = np.nan
    fitted, _ = fit_head(MULTI, settings, 0, train, dev)
    values = fitted.hear(dev[0]).values
    for own, column in zip(values.T, MULTI.columns, strict=True):
        low, high = (0, len(column.classes) - 1) if column.classes else column.bounds
        assert own.min() >= low and own.max() <= high
    for part, chance in zip(MULTI.parts, (0.2, 0.35, -25), strict=True):
        assert part_quality(MULTI, part, dev[1], values) > chance
    far = fitted.hear(np.full((2, 12), 1e9, np.float32))
    assert np.isfinite(far.values).all() and np.isfinite(far.probabilities).all()


@pytest.mark.parametrize("head", ["lr", "svr", "mlp"])
def test_round_trip_and_alone_as_among_others(head, typed):
    train, dev = typed
    fitted, _ = fit_head(TYPE, HeadSettings(head=head, epochs=2, hidden=16), 3, train, dev)
    again, _ = fit_head(TYPE, HeadSettings(head=head, epochs=2, hidden=16), 3, train, dev)
    taken = (PerceptronHead if head == "mlp" else LinearHead).take(TYPE, fitted.tensors())
    together = fitted.hear(dev[0])
    for other in (taken, again):
        heard = other.hear(dev[0])
        np.testing.assert_array_equal(heard.probabilities, together.probabilities)
        np.testing.assert_array_equal(heard.embeddings, together.embeddings)
    assert together.embeddings.shape == (200, fitted.dim) and together.embeddings.dtype == np.float32
    alone = fitted.hear(dev[0][5:6])
    np.testing.assert_allclose(alone.probabilities[0], together.probabilities[5], atol=1e-5)
    with pytest.raises((ValueError, RuntimeError)):
        type(fitted).take(TWO, fitted.tensors())


def test_a_class_without_a_clip_is_never_answered():
    x, y = labelled(TYPE, 200, 10)
    kept = y[:, 0] != 3
    for head in ("lr", "svr"):
        fitted, _ = fit_head(TYPE, HeadSettings(head=head, balanced=True), 0, (x[kept], y[kept]), None)
        assert 3 not in fitted.hear(x).values[:, 0]


def test_balanced_classes_weigh_the_same():
    y = np.array([0, 0, 0, 2])
    np.testing.assert_allclose(linear_fits.class_weights(y, 4), [2 / 3, 2 / 3, 2 / 3, 2])
    x, y = labelled(TYPE, 2000, 11)
    kept = (y[:, 0] != 0) | (np.arange(2000) % 8 == 0)  # a rare class
    dev = labelled(TYPE, 400, 12)
    recall = {}
    for balanced in (False, True):
        head, _ = fit_head(TYPE, HeadSettings(c_grid=(0.01,), balanced=balanced), 0, (x[kept], y[kept]), None)
        rare = dev[1][:, 0] == 0
        recall[balanced] = (head.hear(dev[0]).values[rare, 0] == 0).mean()
    assert recall[True] > recall[False] + 0.2


def test_perceptron_stops_and_keeps_the_best_epoch(typed):
    train, dev = typed
    settings = HeadSettings(head="mlp", epochs=60, patience=2, hidden=64, dropout=0, lr=1e-2, batch_size=50)
    head, report = fit_head(TYPE, settings, 0, train, dev)
    losses = [record["dev_loss"] for record in report["history"]]
    assert len(losses) == report["best_epoch"] + 2 < 60 and losses[report["best_epoch"] - 1] == min(losses)
    likely = head.hear(dev[0]).probabilities[np.arange(200), dev[1][:, 0].astype(int)]
    assert -np.log(likely).mean() == pytest.approx(min(losses), abs=1e-3)
    refitted, report = fit_head(TYPE, settings.model_copy(update={"refit_on_dev": True}), 0, train, dev)
    assert report["refitted_on_dev"] and report["best_epoch"] == len(losses) - 2
    likely_now = refitted.hear(dev[0]).probabilities[np.arange(200), dev[1][:, 0].astype(int)]
    assert np.log(likely_now).mean() > np.log(likely).mean()  # dev is now among what was learned


def test_outputs_are_read_in_the_order_of_the_columns():
    raw = np.zeros((1, 15))
    raw[0] = [*np.linspace(-0.5, 1.3, 10), 33, 0, 0, 5, 0]
    values, probabilities = read_outputs(MULTI, raw, 1.0)
    np.testing.assert_allclose(values[0], [*np.clip(np.linspace(-0.5, 1.3, 10), 0, 1), 33, 2])
    assert probabilities.shape == (1, 4) and probabilities.argmax() == 2
