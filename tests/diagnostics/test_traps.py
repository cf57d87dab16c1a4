"""Traps for checks, each beside its twin that is right and passes, at 2 to 200 parameters."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from scipy.signal import lfilter

from sgdvi import compare
from sgdvi.comparison import Comparison
from sgdvi.diagnostics import Finding, Status
from sgdvi.diagnostics.dependence import Correlations, correlations, worst_pair
from sgdvi.diagnostics.measures import normal_scores
from sgdvi.draws import make_tree

SHAPE = (4, 500)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def judge(sgd: Mapping[str, np.ndarray], nuts: Mapping[str, np.ndarray], **options: Any) -> Comparison:
    return compare({"SGD": make_tree(sgd, kind="sgd"), "NUTS": make_tree(nuts, kind="nuts")}, **options)


def found(comparison: Comparison, run: str = "SGD") -> dict[str, Finding]:
    return {finding.check: finding for finding in comparison.findings if finding.run == run}


def coupled(rng: np.random.Generator, size: int, rho: float, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    draws = rng.normal(size=(*shape, size))
    draws[..., 1] = rho * draws[..., 0] + np.sqrt(1 - rho**2) * draws[..., 1]
    return draws


def correlated(draws: np.ndarray) -> Correlations:
    return correlations(np.stack([normal_scores(each) for each in np.moveaxis(draws, -1, 0)]))


# --- dependence -------------------------------------------------------------------------------------------------


def test_a_dependence_that_one_pair_has_is_a_no(rng: np.random.Generator) -> None:
    result = judge({"b": coupled(rng, 20, 0.95)}, {"b": coupled(rng, 20, 0.0)})
    assert result.verdict.status is Status.FAIL
    assert "rank correlation of b[0] and b[1]" in result.verdict.sentence
    assert result.verdict.sentence.startswith("No: SGD is not the posterior: each functional alone agrees")
    assert found(result)["distance.w1"].status is not Status.FAIL


@pytest.mark.parametrize(
    ("size", "seeds"),
    [(2, 10), (50, 10)] + [pytest.param(size, 100, marks=pytest.mark.slow) for size in (2, 10, 50, 200)],
)
def test_a_weak_dependence_is_found_and_named(size: int, seeds: int) -> None:
    named = 0
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        # rank correlation 0.3
        runs = [correlated(coupled(rng, size, rho, (4, 250))) for rho in (2 * np.sin(np.pi * 0.3 / 6), 0.0)]
        pair = worst_pair(*runs, [str(k) for k in range(size)], 0.99)
        named += pair.gap > pair.null and pair.gap > 0.1 and pair.names == ("0", "1")
    assert named >= 0.9 * seeds, f"{named} of {seeds}"


def laws(rng: np.random.Generator, law: str, size: int) -> np.ndarray:
    if law == "autocorrelated":
        noise = rng.normal(size=(4, 1500, size)) * np.sqrt(1 - 0.9**2)
        noise[:, 0] = rng.normal(size=(4, size))
        return lfilter([1.0], [1.0, -0.9], noise, axis=1)
    draws = rng.normal(size=(4, 250, size))
    if law == "heavy tails together":
        return draws / np.sqrt(rng.chisquare(3, size=(4, 250, 1)) / 3)
    return rng.poisson(1.0, size=draws.shape).astype(float) if law == "counts" else draws


@pytest.mark.parametrize("law", ["independent", "autocorrelated", "heavy tails together", "counts"])
def test_the_same_dependence_is_seldom_called_another(law: str) -> None:
    beyond = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        pair = worst_pair(*(correlated(laws(rng, law, 8)) for _ in range(2)), list("abcdefgh"), 0.99)
        beyond += pair.gap > pair.null
    assert beyond <= 3  # binomial(30, 0.01) is at most 3 with probability 0.9998


# --- constants, ties and counts ---------------------------------------------------------------------------------


@pytest.mark.parametrize("other", ["constant", "rounded constant", "count", "indicator", "correlation matrix"])
def test_discrete_and_constant_functionals_of_one_law_pass(rng: np.random.Generator, other: str) -> None:
    def draws() -> dict[str, np.ndarray]:
        matrix = np.ones((*SHAPE, 2, 2))
        matrix[..., 0, 1] = matrix[..., 1, 0] = np.tanh(rng.normal(0.5, 0.2, SHAPE))
        choices = {
            "constant": np.full(SHAPE, 2.0),
            "rounded constant": 0.1 + np.spacing(0.1) * rng.integers(-1, 2, SHAPE),
            "count": rng.poisson(3.0, SHAPE),
            "indicator": rng.binomial(1, 0.3, SHAPE),
            "correlation matrix": matrix,
        }
        return {"t": rng.normal(size=SHAPE), "s": choices[other]}

    result = judge(draws(), draws())
    assert result.verdict.status in (Status.PASS, Status.WARN), result.verdict.sentence
    assert not [f for f in result.findings if f.status is Status.FAIL], [
        f.meaning for f in result.findings if f.status is Status.FAIL
    ]


def test_another_share_of_ones_is_a_difference(rng: np.random.Generator) -> None:
    result = judge({"z": rng.binomial(1, 0.5, SHAPE)}, {"z": rng.binomial(1, 0.3, SHAPE)})
    assert result.verdict.status is Status.FAIL
    assert found(result)["distance.ks"].value == pytest.approx(0.2, abs=0.05)  # total variation


def test_counts_have_no_dimension_to_compare(rng: np.random.Generator) -> None:
    def draws(rate: float) -> dict[str, np.ndarray]:
        return {"k": rng.poisson(rate, size=(*SHAPE, 3))}

    result = judge(draws(2.0), draws(2.0))
    assert found(result)["support.dimension"].status is Status.NOT_APPLICABLE
    beside = judge({**draws(2.0), "t": rng.normal(size=SHAPE)}, {**draws(2.0), "t": rng.normal(size=SHAPE)})
    assert found(beside)["support.dimension"].status is Status.PASS


# --- what nobody asked about ------------------------------------------------------------------------------------


def test_a_variable_that_nobody_asked_about_decides_nothing(rng: np.random.Generator) -> None:
    asked = {"functionals": {"p": lambda draws: draws.p}}
    sgd, nuts = {"p": rng.normal(size=SHAPE)}, {"p": rng.normal(size=SHAPE)}
    bias = rng.normal(size=(*SHAPE, 3))
    bias[..., 1] = 0.7
    dead = judge({**sgd, "bias": bias}, {**nuts, "bias": rng.normal(size=(*SHAPE, 3))}, **asked)
    assert found(dead)["draws.distinct"].status is Status.PASS
    assert "1 coordinate of the parameters never moved" in found(dead)["draws.distinct"].meaning
    assert "no sample" not in dead.verdict.sentence
    lost = judge(sgd, {**nuts, "unused": np.full(SHAPE, np.nan), "fixed": np.ones(SHAPE)}, **asked)
    assert lost.verdict.status is Status.PASS, lost.verdict.sentence
    stuck = judge({"p": np.full(SHAPE, 0.7)}, nuts, **asked)
    assert "no sample" in stuck.verdict.sentence


# --- copies -----------------------------------------------------------------------------------------------------


def test_weighted_draws_drawn_again_are_no_copies(rng: np.random.Generator) -> None:
    # with replacement, as `reweight` does: chains share two draws in three, in an order of their own
    again = rng.normal(size=2000)[rng.integers(2000, size=(4, 1000))]
    result = judge({"t": again}, {"t": rng.normal(size=(4, 1000))})
    assert found(result)["chains.copies"].status is Status.PASS


# --- words ------------------------------------------------------------------------------------------------------


def test_a_median_that_jumps_between_two_modes_is_no_shift(rng: np.random.Generator) -> None:
    def modes(share: float) -> np.ndarray:
        sign = np.where(rng.uniform(size=(4, 1500)) < share, 1.0, -1.0)
        return 4 * sign + rng.normal(size=(4, 1500))

    result = judge({"u": modes(0.46)}, {"u": modes(0.54)})
    assert "median" not in result.verdict.sentence
    assert result.verdict.status is Status.FAIL  # 8 % of the mass is elsewhere


SIZES = [6, *(pytest.param(size, marks=pytest.mark.slow) for size in (20, 200))]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("lead", "others", "words"), [(3.0, 0.25, "too narrow"), (0.2, 2.5, "too wide"), (2.5, 2.0, "too wide")]
)
def test_the_headline_counts_the_others_by_their_direction(
    rng: np.random.Generator, size: int, lead: float, others: float, words: str
) -> None:
    scale = np.where(np.arange(size) == 0, lead, np.where(np.arange(size) < 6, others, 1.0))
    nuts = {"b": rng.normal(size=(*SHAPE, size))}
    result = judge({"b": scale * rng.normal(size=(*SHAPE, size))}, nuts)
    w1 = found(result)["distance.w1"]
    assert "5 other functionals fail too (" in result.verdict.sentence
    assert words in result.verdict.sentence
    # the numbers are those of one functional
    assert f"on {w1.functional}, SGD" in result.verdict.sentence
    assert f"W1 = {w1.value:.2g} sd, KS = {w1.details['ks']:.2g}" in result.verdict.sentence


@pytest.mark.parametrize("size", SIZES)
def test_the_same_widths_have_no_such_headline(rng: np.random.Generator, size: int) -> None:
    runs = ({"b": rng.normal(size=(*SHAPE, size))} for _ in range(2))
    assert judge(*runs).verdict.status is Status.PASS
