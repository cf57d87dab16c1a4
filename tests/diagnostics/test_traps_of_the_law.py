"""Traps for the checks of spread over time, tails, labels, dimension and copies, each beside a twin that is right."""

from typing import Any

import numpy as np
import pytest
from check_cases import case_of, found, judge, run_of
from scipy import stats
from scipy.signal import lfilter

from sgdvi import compare
from sgdvi.diagnostics import Status
from sgdvi.diagnostics.labels import labels
from sgdvi.diagnostics.measures import normal_scores
from sgdvi.diagnostics.spread import log_ratios, spread
from sgdvi.diagnostics.stationarity import trend
from sgdvi.draws import make_tree

SHAPE = (4, 500)
# 200 takes seconds each
SLOW = [pytest.param(size, marks=pytest.mark.slow) for size in (20, 200)]
SIZES = [5, pytest.param(1, marks=pytest.mark.slow), *SLOW]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def normal(rng: np.random.Generator, size: int, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    return rng.normal(size=(*shape, size))


# --- a spread that drifts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_a_spread_that_falls_is_seen_and_its_schedule_named(rng: np.random.Generator, size: int) -> None:
    # from 1.4 to 0.13 of the posterior's: the pooled spread looks right to half of its size
    falling = 1.4 * normal(rng, size) * np.geomspace(1.4, 0.13, SHAPE[1])[:, None]
    reference = make_tree({"b": normal(rng, size)}, kind="nuts")
    rates = np.broadcast_to(np.geomspace(0.1, 0.001, SHAPE[1]), SHAPE)
    adam = make_tree({"b": falling}, kind="sgd", attrs={"config": {"learning_rate": None}})
    sgld = make_tree({"b": falling}, kind="sgd", sample_stats={"learning_rate": rates})
    causes = [(adam, "Its optimizer has a schedule"), (sgld, "Its learning rate goes from 0.1 to 0.001")]
    for run, cause in causes if size < 20 else causes[1:]:  # the record is read alike whatever the size
        result = compare({"SGD": run, "NUTS": reference})
        finding = found(result)["stationarity.spread"]
        assert finding.status is Status.FAIL
        assert finding.details["ratio"] == pytest.approx(0.13 / 1.4, rel=0.3) or finding.details["ratio"] < 0.6
        assert cause in result.verdict.sentence
        assert result.verdict.status is Status.FAIL
        assert any("Keep the learning rate constant" in change for change in result.verdict.changes)
    fine = judge({"b": normal(rng, size)}, {"b": normal(rng, size)})
    assert found(fine)["stationarity.spread"].status is Status.PASS
    assert fine.verdict.status is Status.PASS, fine.verdict.sentence


def test_a_weak_drift_of_all_functionals_together_is_seen(rng: np.random.Generator) -> None:
    widths = np.where(np.arange(SHAPE[1]) < SHAPE[1] // 2, 1.0, 0.85)[:, None]
    # the check alone: all others take six seconds for 200 functionals
    finding = spread(
        case_of({f"b{k}": values for k, values in enumerate(np.moveaxis(normal(rng, 200) * widths, -1, 0))})
    )
    assert finding.status is Status.WARN
    assert "over 200 functionals" in finding.meaning


@pytest.mark.parametrize("law", ["independent", "autocorrelated", "heavy tails", "two chains"])
def test_the_spread_of_one_law_seldom_drifts(law: str) -> None:
    beyond = 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        values = rng.normal(size=(2 if law == "two chains" else 4, 400))
        if law == "autocorrelated":
            values = lfilter([1.0], [1.0, -0.9], values, axis=1)
        if law == "heavy tails":
            values = rng.standard_cauchy(size=values.shape)
        ratios = log_ratios(normal_scores(values))
        t = abs(ratios.mean()) / (ratios.std(ddof=1) / np.sqrt(len(ratios)))
        beyond += t > stats.t.ppf(0.995, len(ratios) - 1)
    assert beyond <= 6  # binomial(150, 0.01) is at most 6 with probability 0.9995


def test_what_is_no_trend_is_never_said_beside_a_warning(rng: np.random.Generator) -> None:
    still = rng.normal(size=(4, 4000))
    lost = np.where(np.arange(4)[:, None] == 3, np.nan, still)
    weak = still + np.where(np.arange(4000) < 2000, 0.0, 0.09)
    for values in (still, lost, weak):
        for check in (trend, spread):
            finding = check(case_of({"b": values}))
            assert finding.status is Status.PASS or not finding.meaning.startswith("No trend")


# --- tails and modes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_a_small_mode_far_out_enters_the_answer(rng: np.random.Generator, size: int) -> None:
    def law(share: float, shape: tuple[int, int] = (4, 1000)) -> np.ndarray:
        b = normal(rng, size, shape)
        b[..., 0] += 5 * (rng.uniform(size=shape) < share)
        return b

    result = judge({"b": law(0.0)}, {"b": law(0.03)})
    assert result.verdict.status is Status.FAIL
    assert result.verdict.sentence.startswith("No")
    assert "tails" in result.verdict.sentence or "modes" in result.verdict.sentence or "W1" in result.verdict.sentence
    assert result.verdict.uses["tails"] is Status.FAIL
    same = judge({"b": law(0.03)}, {"b": law(0.03)})
    assert same.verdict.status is Status.PASS, same.verdict.sentence


def test_tails_alone_are_a_no(rng: np.random.Generator) -> None:
    def law(scale: float) -> np.ndarray:
        b = rng.normal(size=(4, 4000))
        return np.where(np.abs(b) > 2, np.sign(b) * (2 + scale * (np.abs(b) - 2)), b)

    result = judge({"b": law(1.0)}, {"b": law(3.0)})
    assert found(result)["distance.w1"].status is not Status.FAIL
    assert result.verdict.status is Status.FAIL
    assert "near the posterior in the middle of b and not in its tails" in result.verdict.sentence
    assert result.verdict.uses["means"] is Status.PASS
    assert judge({"b": law(3.0)}, {"b": law(3.0)}).verdict.status is Status.PASS


# --- labels -----------------------------------------------------------------------------------------------------


def mixture(rng: np.random.Generator, switched: bool, size: int = 3) -> dict[str, np.ndarray]:
    """Return means and weights of components; with exchanged labels each chain has its own order."""
    means = 4 * np.arange(size) + 0.4 * rng.normal(size=(4, 800, size))
    weights = rng.dirichlet(50 * np.arange(1, size + 1), size=(4, 800))
    orders = [np.roll(np.arange(size), k % size) if switched else np.arange(size) for k in range(4)]
    return {
        name: np.stack([chain[:, order] for chain, order in zip(site, orders, strict=True)])
        for name, site in {"mu": means, "w": weights}.items()
    }


def test_exchanged_labels_are_named_with_functionals_that_do_not_see_them(rng: np.random.Generator) -> None:
    runs = mixture(rng, True), mixture(rng, False)
    result = judge(*runs)
    finding = found(result)["symmetry.labels"]
    assert finding.status is Status.WARN
    assert "The components of mu and w are exchangeable and their labels exchanged" in result.verdict.sentence
    assert "did not reach" not in result.verdict.sentence
    code = finding.advice.split("functionals=")[1]
    again = judge(*runs, functionals=eval(code, {"numpy": np}))
    assert again.verdict.sentence.startswith("Yes"), again.verdict.sentence
    assert found(again)["symmetry.labels"].status is Status.PASS
    both = judge(mixture(rng, True), mixture(rng, True))
    assert both.verdict.status is Status.UNKNOWN
    assert "labels exchanged" in both.verdict.sentence
    same = judge(mixture(rng, False), mixture(rng, False))
    assert found(same)["symmetry.labels"].status is Status.PASS
    assert same.verdict.status is Status.PASS, same.verdict.sentence


def test_coefficients_that_differ_are_no_labels(rng: np.random.Generator) -> None:
    b = rng.normal(size=(4, 800, 3))
    for wrong in (b + np.array([0.0, 1.0, 0.0]), 2 * b, b + np.arange(4)[:, None, None]):
        reference = run_of({"b": rng.normal(size=(4, 800, 3))}, "NUTS", "nuts")
        assert labels(case_of({"b": wrong}, reference=reference)).status is Status.PASS


# --- dimension --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [2, 10, *SLOW])
def test_lower_dimension_is_claimed_for_a_gap_alone(rng: np.random.Generator, size: int) -> None:
    reference, full = normal(rng, size), 0.5 * normal(rng, size)
    transient = full.copy()
    transient[:, :50] += 1e4 * np.exp(-np.arange(50) / 5)[:, None] * rng.normal(size=size)
    scaled = full * np.geomspace(1, 1e-3, size) if size > 2 else full
    asked: dict[str, Any] = {"functionals": {"first": lambda draws: draws.b[..., 0]}}
    for run in (full, transient, scaled):
        result = judge({"b": run}, {"b": reference}, **asked)
        assert found(result)["support.dimension"].status is not Status.FAIL, found(result)["support.dimension"].meaning
        assert "KL = infinity" not in result.verdict.sentence
    if size > 2:
        assert "times narrower than NUTS" in found(result)["support.dimension"].meaning
    line = full.copy()
    line[..., -1] = line[..., 0]
    assert found(judge({"b": line}, {"b": reference}, **asked))["support.dimension"].status is Status.FAIL


def test_a_slow_way_through_many_parameters_is_no_lower_dimension(rng: np.random.Generator) -> None:
    time = np.linspace(0, 6, SHAPE[1])[:, None] + np.arange(4)[:, None, None]
    waves = rng.normal(size=(8, 20)) / np.arange(1, 9)[:, None]
    way = sum(np.sin(k * time + rng.uniform(0, 6)) * waves[k - 1] for k in range(1, 9)) + 0.1 * normal(rng, 20)
    runs = ({"b": b, "p": rng.normal(size=SHAPE)} for b in (way, normal(rng, 20)))
    result = judge(*runs, functionals={"p": lambda draws: draws.p})
    assert found(result)["support.dimension"].status is not Status.FAIL, found(result)["support.dimension"].meaning
    assert "KL = infinity" not in result.verdict.sentence


@pytest.mark.parametrize("size", [2, 5, pytest.param(60, marks=pytest.mark.slow)])
def test_copies_of_parameters_are_no_dimensions(rng: np.random.Generator, size: int) -> None:
    def draws() -> dict[str, np.ndarray]:
        b = normal(rng, size)
        return {"b": b, "again": 2 * b - 1, "sum": b.sum(axis=-1)}

    result = judge(draws(), draws())
    assert found(result)["support.dimension"].status is Status.PASS
    assert found(result)["support.dimension"].details["coordinates"] == size


# --- copies -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "size"),
    [(how, 5) for how in ("same", "shuffled", "chosen again")]
    + [pytest.param("chosen again", size, marks=pytest.mark.slow) for size in (1, 20, 200)],
)
def test_draws_of_the_reference_say_nothing(rng: np.random.Generator, size: int, how: str) -> None:
    nuts = normal(rng, size)
    flat = nuts.reshape(-1, size)
    rows = {"same": np.arange(2000), "shuffled": rng.permutation(2000), "chosen again": rng.integers(2000, size=2000)}
    result = judge({"b": flat[rows[how]].reshape(nuts.shape)}, {"b": nuts})
    assert found(result)["draws.reference"].status is Status.FAIL
    assert result.verdict.status is Status.UNKNOWN
    assert "are draws of NUTS themselves" in result.verdict.sentence


@pytest.mark.parametrize("size", SIZES)
def test_draws_of_the_same_law_are_no_copies(rng: np.random.Generator, size: int) -> None:
    other = judge({"b": normal(rng, size)}, {"b": normal(rng, size)})
    assert found(other)["draws.reference"].status is Status.PASS


def test_rounded_draws_are_no_copies(rng: np.random.Generator) -> None:
    def rounded() -> np.ndarray:
        return (1e4 + 0.1 * rng.normal(size=(4, 500))).astype(np.float32)

    assert found(judge({"t": rounded()}, {"t": rounded()}))["draws.reference"].status is Status.NOT_APPLICABLE
