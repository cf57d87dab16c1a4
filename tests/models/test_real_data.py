"""The three real models in raw units: their data as published, and the lesson that the forecast shows of each."""

from functools import cache

import jax
import numpy as np
import pytest

from sgdvi import Forecast, forecast, zoo
from sgdvi.models._data import columns


@cache
def foreseen(name: str, **options: bool) -> Forecast:
    with jax.enable_x64(True):
        return forecast(zoo.load(name, **options))


def test_tables_are_the_published_ones() -> None:
    food, investment, party = (columns(f"{name}.csv") for name in ("food", "investment", "party"))
    # Koenker and Bassett's data: least squares of food on income is 147.48 + 0.4852 income
    slope, intercept = np.polyfit(food["income"], food["food"], 1)
    assert len(food["income"]) == 235
    assert (slope, intercept) == (pytest.approx(0.48518, abs=1e-4), pytest.approx(147.475, abs=0.01))
    # Grunfeld's: General Motors in 1935, and the pooled regression of Kleiber and Zeileis
    assert [investment[name][0] for name in ("year", "investment", "value", "capital")] == [1935, 317.6, 3078.5, 2.8]
    assert np.bincount(investment["firm"].astype(int)).tolist() == [20] * 11
    assert len(party["party"]) == 944
    assert set(party["party"]) == set(range(7))
    assert set(party["left_right"]) == set(range(1, 8))


def test_food_is_badly_scaled_and_says_which_columns_to_standardise() -> None:
    f = foreseen("food")
    assert f.reliable
    assert f.condition > 1e6
    assert f.slowest == ("intercept",)
    names, condition = f.scaling
    assert names == ("income", "food")
    assert condition < 10
    # richer families differ more: the gradients' noise is not the curvature, and only completed SGD adds what lacks
    assert f.information[1] > 4
    assert not f["plain"].runs
    assert f["completed"].largest_w1 < 0.05 < f["mandt"].largest_w1


@pytest.mark.slow
def test_the_levels_of_investment_are_near_normal_where_they_are_the_sites() -> None:
    centred = foreseen("investment")
    assert centred.reliable
    assert centred["completed"].largest_w1 < 0.05
    # no row's gradient reaches the scale between firms: without noise of its own no flavour is right there
    assert centred["mandt"].sd_ratio["between firms"] < 0.5


@pytest.mark.slow
def test_the_mode_of_the_other_form_is_not_where_the_mass_is() -> None:
    other = foreseen("investment", centred=False)
    assert not other.reliable
    assert any("the mode is not where the mass is: between" in doubt for doubt in other.doubts)


@pytest.mark.slow
def test_party_has_ordered_cuts_and_needs_a_matrix_not_noise() -> None:
    f = foreseen("party")
    assert f.reliable
    assert len(f.mode.vector) == 10
    assert f.condition > 1e4
    assert len(f["plain"].usable) < len(f.posterior)
    assert len(f["whitened"].usable) == len(f["completed"].usable) == len(f.posterior)
    cuts = f.mode.point["cuts"]
    assert cuts.shape == (6,)
