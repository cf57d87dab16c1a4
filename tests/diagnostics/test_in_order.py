"""What is computed from sorted draws, from products or for some rows only is what the plain formula says."""

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import pdist

from sgdvi.diagnostics import dependence, joint
from sgdvi.diagnostics.dependence import correlations, worst_pair
from sgdvi.diagnostics.distances import kolmogorov
from sgdvi.diagnostics.measures import Ranked, linear_quantile, normal_scores


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(6)


def scores(values: np.ndarray) -> np.ndarray:
    return stats.norm.ppf((stats.rankdata(values).reshape(values.shape) - 0.375) / (values.size + 0.25))


@pytest.mark.parametrize("digits", [0, 1, 12])
@pytest.mark.parametrize("draws", [250, 251])
def test_scores_folds_and_quantiles_of_sorted_draws(rng: np.random.Generator, digits: int, draws: int) -> None:
    values = rng.normal(size=(3, draws)).round(digits)
    ranked, levels = Ranked.of(values), np.array([0.0, 0.05, 0.5, 0.77, 1.0])
    np.testing.assert_allclose(ranked.scores(), scores(values), rtol=1e-13)
    np.testing.assert_allclose(ranked.folded().scores(), scores(np.abs(values - np.median(values))), rtol=1e-13)
    np.testing.assert_array_equal(linear_quantile(ranked.ordered, levels), np.quantile(values, levels))


@pytest.mark.parametrize("digits", [0, 12])
def test_the_kolmogorov_distance_counts_equal_values_together(rng: np.random.Generator, digits: int) -> None:
    a, b = (np.sort(rng.normal(size=size).round(digits)) for size in (300, 401))
    assert kolmogorov(a, b) == pytest.approx(stats.ks_2samp(a, b).statistic, rel=1e-13)


@pytest.mark.parametrize("size", [3, 60])
@pytest.mark.parametrize("repeated", [1, 2, 20])
def test_distances_of_many_coordinates_are_exact_for_close_points(
    rng: np.random.Generator, size: int, repeated: int
) -> None:
    points = 1e3 + np.repeat(rng.normal(size=(20, size)), repeated, axis=0)
    points[1:2] = points[0] + 1e-9 * rng.normal(size=size)
    np.testing.assert_allclose(joint._distances(points), pdist(points), rtol=1e-12)


def test_the_worst_pair_is_that_of_all_variances(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependence, "_BLOCK", 1)
    size = 90
    draws = [rng.normal(size=(size, 1000)) for _ in range(2)]
    for each in draws:  # equal but for their signs: correlations vary more than the bound says
        each[:80] = np.abs(each[0]) * np.sign(each[:80])
    draws[0][85] += 0.2 * draws[0][83]
    sides = [correlations(np.stack([normal_scores(one.reshape(4, 250)) for one in each])) for each in draws]
    first, second = np.triu_indices(size, 1)
    expected = []
    for side in sides:
        x, y, r = side.scores[first], side.scores[second], side.values[first, second]
        influence = ((x * y - r[:, None] * (x**2 + y**2) / 2) ** 2).mean(axis=1)
        variance = side.times[first, second] * np.maximum(influence / (1 - r**2) ** 2, 1) / x.shape[1]
        np.testing.assert_allclose(side.variances(np.arange(size))[first, second], variance, rtol=1e-9)
        expected.append((np.arctanh(r), variance))
    away = np.abs(expected[0][0] - expected[1][0]) / np.sqrt(expected[0][1] + expected[1][1])
    worst = int(np.argmax(away))
    pair = worst_pair(*sides, [str(k) for k in range(size)], 0.99)
    assert pair.names == (str(first[worst]), str(second[worst])) == ("83", "85")
    assert pair.p_value == pytest.approx(min(1.0, len(first) * 2 * stats.norm.sf(away[worst])), rel=1e-8)
