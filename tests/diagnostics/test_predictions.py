"""Predictions as what is compared: null levels, power, scores against closed forms, bad input in one line."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import integrate, stats
from xarray import DataArray

import sgdvi
from sgdvi.diagnostics.predictions import apart, calibration, scores
from sgdvi.draws.tree import make_tree, with_group

CHAINS, DRAWS, POINTS, CLASSES, HIDDEN = 4, 300, 40, 5, 12
MAP = np.random.default_rng(3).normal(size=(HIDDEN, POINTS, CLASSES)) / HIDDEN**0.5
LEVELS = np.random.default_rng(4).normal(size=(POINTS, CLASSES))


def weights(rng, rho=0.9):
    """Draws of autocorrelated chains, (chain, draw, HIDDEN), N(0, 1) each."""
    z = rng.normal(size=(CHAINS, DRAWS, HIDDEN))
    for t in range(1, DRAWS):
        z[:, t] = rho * z[:, t - 1] + (1 - rho**2) ** 0.5 * z[:, t]
    return z


def softmax(logits):
    p = np.exp(logits - logits.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


def probabilities(rng, shift=0.0):
    return softmax(np.tensordot(weights(rng), MAP, 1) + LEVELS + shift)


@pytest.fixture(scope="module")
def observed():
    rng = np.random.default_rng(5)
    return np.array([rng.choice(CLASSES, p=p) for p in softmax(LEVELS)])


@pytest.fixture(scope="module")
def compared(observed):
    rng = np.random.default_rng(0)
    shift = np.where(np.arange(POINTS) < 8, 2.0, 0.0)[:, None] * np.eye(CLASSES)[0]
    runs = {"SGD": probabilities(rng, shift), "same": probabilities(rng), "NUTS": probabilities(rng)}
    return sgdvi.compare_predictions(runs, "NUTS", observed)


def test_points_that_differ_are_found_and_the_others_trusted(compared):
    run = compared.runs["SGD"]
    assert run.status is sgdvi.Status.FAIL
    assert set(run.ranking[:8]) == set(range(8))
    assert run.counts["not"] == 8
    assert "8 of the 40 test points are not predicted by SGD as by NUTS" in run.meaning
    same = compared.runs["same"]
    assert same.status is sgdvi.Status.PASS
    assert same.counts["not"] == 0
    assert same.numbers["distance"] < same.numbers["distance_null"]
    assert run.numbers["agreement"] < same.numbers["agreement"]


@pytest.mark.parametrize("regression", [False, True])
def test_false_alarms_are_as_rare_as_said(regression):
    rng, beyond, alarms = np.random.default_rng(7), [], 0
    for _ in range(10):
        if regression:
            one, two = (np.tensordot(weights(rng), MAP[..., 0], 1) for _ in range(2))
        else:
            one, two = (probabilities(rng) for _ in range(2))
        ess = tuple(apart.mixed(draws, False).ess for draws in (one, two))
        gap = apart.wasserstein(one, two, None, ess, 0.99) if regression else apart.total_variation(one, two, ess, 0.99)
        beyond.append((gap.distance > gap.null).mean())
        alarms += gap.distance.mean() > np.quantile(gap.by_chance.mean(axis=1), 0.99)
    # points of one pair go together: the standard error of the mean is that of the 10 pairs
    assert np.mean(beyond) < 0.01 + 3 * max(np.std(beyond), 0.01) / 10**0.5
    assert alarms <= stats.binom.ppf(0.999, 10, 0.01)


def test_null_level_grows_with_autocorrelation():
    rng = np.random.default_rng(1)
    slow = [probabilities(rng) for _ in range(2)]
    fast = [softmax(np.tensordot(rng.normal(size=(CHAINS, DRAWS, HIDDEN)), MAP, 1) + LEVELS) for _ in range(2)]
    nulls = []
    for pair in (slow, fast):
        ess = tuple(apart.mixed(draws, False).ess for draws in pair)
        nulls.append(np.median(apart.total_variation(*pair, ess, 0.99).null))
    # 1.9 / 0.1 times fewer effective draws
    assert 0.6 * 19**0.5 < nulls[0] / nulls[1] < 2 * 19**0.5


def test_chains_that_disagree_are_worth_one_draw_each():
    rng = np.random.default_rng(2)
    apart_by = rng.normal(size=(CHAINS, 1, POINTS))
    draws = apart_by + 0.01 * rng.normal(size=(CHAINS, DRAWS, POINTS))
    mixed = apart.mixed(draws, False)
    assert np.median(mixed.ess) < 2 * CHAINS
    assert mixed.rhat.min() > 5
    assert np.allclose(mixed.between, apart_by.std(axis=0, ddof=1)[0], atol=0.01)
    assert np.allclose(mixed.within, 0.01, rtol=0.2)
    assert np.all(apart.mixed(draws, True).ess == CHAINS * DRAWS)


def test_w1_between_normal_laws():
    points = (np.arange(4000) + 0.5) / 4000
    draws = stats.norm.ppf(points).reshape(4, 1000, 1)
    ess = np.full(1, 4000.0), np.full(1, 4000.0)
    exact = integrate.quad(lambda u: abs(stats.norm.ppf(u) - 0.3 - 1.4 * stats.norm.ppf(u)), 0, 1)[0]
    assert apart.wasserstein(0.3 + 1.4 * draws, draws, None, ess, 0.99).distance == pytest.approx(exact, rel=0.03)
    noise = np.full(1, 2.0)
    sd = 5**0.5
    shift = apart.wasserstein(draws + 0.5, draws, noise, ess, 0.99).distance
    assert shift == pytest.approx(0.5 / sd, rel=0.02)


def test_scores_of_classes():
    p = np.array([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4]])
    found = scores.classification(p, np.array([0, 1]))
    assert np.allclose(found["log_score"], np.log([0.7, 0.3]))
    assert np.allclose(found["brier"], [0.09 + 0.04 + 0.01, 0.09 + 0.49 + 0.16])
    assert np.array_equal(found["error"], [0, 1])


def test_scores_of_a_normal_law():
    draws = stats.norm.ppf((np.arange(2000) + 0.5) / 2000).reshape(2, 1000, 1)
    y = np.array([0.7])

    def crps(sd):
        z = y / sd
        return sd * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - np.pi**-0.5)

    plain = scores.regression(draws, y, None)
    assert np.allclose(plain["crps"], crps(1.0), atol=2e-3)
    assert np.allclose(plain["probability"], stats.norm.cdf(0.7), atol=1e-3)
    noisy = scores.regression(
        np.random.default_rng(0).permutation(draws.reshape(-1)).reshape(2, 1000, 1), y, np.ones(1)
    )
    assert np.allclose(noisy["crps"], crps(2**0.5), atol=0.01)
    assert np.allclose(noisy["log_score"], stats.norm.logpdf(0.7, scale=2**0.5), atol=2e-3)


def test_uncertainty_adds_up_to_the_entropy():
    sure = np.eye(2)[[0, 1]].reshape(2, 1, 1, 2)  # two draws that are sure of different classes
    epistemic, aleatoric = scores.uncertainty(sure, None)
    assert np.allclose((epistemic, aleatoric), ([np.log(2)], [0.0]))
    unsure = np.full((2, 3, 1, 2), 0.5)
    assert np.allclose(scores.uncertainty(unsure, None), ([0.0], [np.log(2)]), atol=1e-12)


def test_calibration_of_calibrated_and_of_overconfident_probabilities():
    rng = np.random.default_rng(6)
    p = softmax(2 * rng.normal(size=(2000, 4)))
    y = np.array([rng.choice(4, p=one) for one in p])
    good = calibration.classification(p, y, 0.99)
    assert good.error < good.null
    assert ((good.low <= good.happened) & (good.happened <= good.high)).mean() >= 0.9
    assert good.coverage == pytest.approx(good.coverage_said, abs=3 * (0.1 / 2000) ** 0.5)
    assert np.all(np.diff(good.error_kept[2:]) > -0.02)
    sharp = p**3 / (p**3).sum(1, keepdims=True)
    bad = calibration.classification(sharp, y, 0.99)
    assert bad.error > 3 * bad.null
    assert bad.bias > 0.1
    below = rng.random(1000)
    assert (
        calibration.regression(below, below, below, 0.99).error < calibration.regression(below, below, below, 0.99).null
    )
    narrow = stats.norm.cdf(2 * rng.normal(size=1000))
    assert calibration.regression(narrow, below, below, 0.99).error > 0.1


def test_chains_that_overflowed_are_left_out_and_said(observed):
    rng = np.random.default_rng(8)
    runs = {"SGD": probabilities(rng), "NUTS": probabilities(rng)}
    runs["SGD"][3, 5] = np.nan
    run = sgdvi.compare_predictions(runs, "NUTS", observed).runs["SGD"]
    assert run.numbers["left_out"] == 1
    assert run.status is sgdvi.Status.WARN
    assert "1 chain" in run.meaning


def test_an_ensemble_is_independent_and_a_tree_may_say_so():
    rng = np.random.default_rng(9)
    p = probabilities(rng)
    tree = with_group(make_tree({"w": p[..., 0]}, kind="nuts"), "predictions", {"p": p}, draws=True)
    members = p[:, ::60].reshape(-1, 1, POINTS, CLASSES)
    compared = sgdvi.compare_predictions({"ensemble": members, "NUTS": tree}, independent=["ensemble"])
    assert compared.runs["ensemble"].numbers["rhat"] is None
    assert compared.runs["ensemble"].numbers["ess"] == len(members)
    again = sgdvi.compare_predictions({"ensemble": members, "NUTS": p}, independent=["ensemble"])
    assert np.array_equal(again.runs["ensemble"].distance, compared.runs["ensemble"].distance)


def test_few_draws_cannot_tell():
    rng = np.random.default_rng(10)
    runs = {name: probabilities(rng)[:2, ::100] for name in ("SGD", "NUTS")}
    run = sgdvi.compare_predictions(runs).runs["SGD"]
    assert run.status is sgdvi.Status.UNKNOWN
    assert run.counts["trusted"] < POINTS / 2


def test_json_text_and_figure(compared, tmp_path: Path):
    entry = json.loads(compared.to_json(tmp_path / "p.json").read_text())
    again = sgdvi.Predictions.from_dict(entry)
    assert again.to_dict() == compared.to_dict()
    assert np.allclose(again.runs["SGD"].distance, compared.runs["SGD"].distance, rtol=1e-5)
    assert "log score" in str(compared)
    assert repr(compared) == "<Predictions of 40 test points by SGD and same against NUTS>"
    panels = compared.plot()
    assert set(panels) == {"reliability", "selective"}
    assert all(axes.get_xlabel() for axes in panels.values())
    with pytest.raises(sgdvi.InputError, match="needs what was observed"):
        sgdvi.compare_predictions({"a": np.full((2, 5, 3, 2), 0.5)}, None).plot()


P = np.full((2, 20, 6, 3), 1 / 3)


@pytest.mark.parametrize(
    ("runs", "options", "text"),
    [
        ({}, {}, "at least one name"),
        ({"a": P}, {}, "reference must be one of the runs"),
        ({"a": P[:, :, :5], "b": P}, {"reference": "b"}, "'a' must be of the test points and classes of 'b'"),
        ({"a": P[..., :2] * 1.5, "b": P}, {"reference": "b"}, "'a' must be of the test points and classes of 'b'"),
        ({"a": P[:1]}, {"reference": None}, "at least 2 chains"),
        ({"a": P[:, :1]}, {"reference": None}, "at least 2 draws per chain"),
        ({"a": P[:1, :1]}, {"reference": None, "independent": ["a"]}, "at least 2 draws"),
        ({"a": P}, {"reference": None, "independent": ["b"]}, "independent must name runs"),
        ({"a": P[0, 0]}, {"reference": None}, "must have axes"),
        ({"a": 3 * P}, {"reference": None}, "sums over the classes that are off 1 by 2"),
        ({"a": np.log(P)}, {"reference": None}, "Take the softmax"),
        ({"a": P * np.nan}, {"reference": None}, "finite in at least 2 chains"),
        (
            {"a": P},
            {"reference": None, "observed": [0, 1, 2, 3, 0, 0]},
            r"classes from 0 to 2; got \[3\] at test point",
        ),
        ({"a": P}, {"reference": None, "observed": [0, 1]}, "one value for each of 6 test points"),
        ({"a": P}, {"reference": None, "observed": np.zeros((6, 3))}, "argmax"),
        ({"a": P}, {"reference": None, "noise_sd": 1.0}, "noise_sd must be of a regression"),
        ({"a": P[..., 0]}, {"reference": None, "noise_sd": -1.0}, "number above 0"),
        ({"a": make_tree({"w": P[..., 0]}, kind="sgd")}, {"reference": None}, "0 variables in its group 'predictions'"),
        (
            {"a": make_tree({"w": P}, kind="sgd")},
            {"reference": None, "variable": "v"},
            "no 'v' in its groups posterior",
        ),
        (
            {
                name: DataArray(P, dims=("chain", "draw", "point", "class"), coords={"point": np.arange(6) + shift})
                for name, shift in (("a", 0), ("b", 1))
            },
            {"reference": "b"},
            "other labels of its points",
        ),
    ],
)
def test_bad_input_is_told_in_one_line(runs, options, text):
    with pytest.raises(sgdvi.InputError, match=text) as caught:
        sgdvi.compare_predictions(runs, **options)
    assert "\n" not in str(caught.value)
