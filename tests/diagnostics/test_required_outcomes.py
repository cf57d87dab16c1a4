"""Draws that are known to fool diagnostics: each gets the right status, in the right words, and none passes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from check_cases import case_of
from scipy.signal import lfilter

from sgdvi import compare
from sgdvi.comparison import Comparison
from sgdvi.diagnostics import Finding, Status
from sgdvi.diagnostics.tail import index
from sgdvi.draws import from_samples, make_tree

DRAWS = 1500


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def judge(sgd: Mapping[str, np.ndarray], nuts: Mapping[str, np.ndarray], **options: Any) -> Comparison:
    return compare({"SGD": make_tree(sgd, kind="sgd"), "NUTS": make_tree(nuts, kind="nuts")}, **options)


def found(comparison: Comparison, run: str = "SGD") -> dict[str, Finding]:
    return {finding.check: finding for finding in comparison.findings if finding.run == run}


def normal(rng: np.random.Generator, chains: int = 4, draws: int = DRAWS) -> np.ndarray:
    return rng.normal(size=(chains, draws))


def autocorrelated(rng: np.random.Generator, draws: int, rho: float) -> np.ndarray:
    noise = rng.normal(size=(4, draws)) * np.sqrt(1 - rho**2)
    noise[:, 0] = rng.normal(size=4)
    return lfilter([1.0], [1.0, -rho], noise, axis=1)


def test_point_mass(rng: np.random.Generator) -> None:
    result = judge({"u": np.full((4, DRAWS), 0.3)}, {"u": normal(rng)})
    checks = found(result)
    assert result.verdict.status is Status.FAIL
    assert "point mass" in result.verdict.sentence
    for check in ("draws.distinct", "mixing.rhat", "mixing.ess", "distance.w1", "distance.ks", "support.dimension"):
        assert checks[check].status is Status.FAIL, check
    assert checks["importance.khat"].status is Status.NOT_APPLICABLE
    assert checks["tail.index"].status is Status.UNKNOWN


def test_a_nan_draw(rng: np.random.Generator) -> None:
    u = normal(rng)
    u[2, 700] = np.nan
    result = judge({"u": u}, {"u": normal(rng)})
    checks = found(result)
    assert checks["draws.finite"].status is Status.FAIL
    assert "1 of 6,000 values" in checks["draws.finite"].meaning
    assert "From 3 of 4 chains" in checks["distance.ks"].meaning
    assert not [
        check for check, finding in checks.items() if finding.status is Status.PASS and check != "draws.distinct"
    ]
    assert result.verdict.status is Status.WARN
    assert "leaves out" not in result.verdict.sentence  # both signs are there


def test_a_single_chain(rng: np.random.Generator) -> None:
    result = judge({"u": normal(rng, 1, 4000)}, {"u": normal(rng)})
    checks = found(result)
    assert checks["mixing.rhat"].status is Status.UNKNOWN
    assert checks["mixing.ess"].status is Status.PASS
    assert result.verdict.status is Status.WARN
    assert "not tested" in result.verdict.sentence
    assert "One chain only" in result.verdict.sentence


def test_nothing_is_certain_of_the_dimension_of_chains_that_have_not_mixed(rng: np.random.Generator) -> None:
    apart = {"u": normal(rng, 16) + 0.1 * np.arange(16)[:, None], "w": 0.005 * normal(rng, 16)}
    result = judge(apart, {"u": normal(rng), "w": normal(rng)}, functionals={"u": lambda draws: draws.u})
    assert found(result)["support.dimension"].status is Status.FAIL
    assert result.verdict.sentence.startswith("Cannot tell yet on u")
    assert "certain" not in result.verdict.sentence


def test_a_reference_of_a_single_chain_is_a_reservation(rng: np.random.Generator) -> None:
    result = judge({"u": normal(rng)}, {"u": normal(rng, 1, 4000)})
    assert result.verdict.status is Status.WARN
    assert "One chain only" in result.verdict.sentence
    assert "This is about the reference, NUTS" in result.verdict.sentence
    assert "Run at least 4 chains from different starts." in result.verdict.changes


def test_the_verdict_names_the_functional_that_has_not_mixed(rng: np.random.Generator) -> None:
    nuts = {"u": normal(rng), "w": normal(rng)}
    apart = normal(rng) + 0.7 * (np.arange(4)[:, None] - 1.5)
    result = judge({"u": 0.9 + normal(rng), "w": apart}, nuts)
    assert found(result)["distance.w1"].functional == "u"  # the worst distance is another's
    assert result.verdict.sentence.startswith("Cannot tell yet on w: SGD has chains that disagree")
    far = judge({"u": 5 + normal(rng), "w": apart}, nuts)  # whatever w does
    assert far.verdict.status is Status.FAIL
    assert far.verdict.sentence.startswith("No: on u, SGD is not the posterior")


def test_the_three_questions_have_each_their_answer(rng: np.random.Generator) -> None:
    nuts, shift = {"u": normal(rng)}, 0.15
    verdict = judge({"u": shift + normal(rng)}, nuts).verdict
    statuses = {question: answer.status for question, answer in verdict.answers.items()}
    assert statuses == {"arrive": Status.PASS, "same": Status.FAIL, "use": Status.WARN}
    assert verdict.uses["means"] is Status.FAIL
    same = judge({"u": normal(rng)}, nuts).verdict
    assert {answer.status for answer in same.answers.values()} == {Status.PASS}
    assert same.uses == dict.fromkeys(("means", "intervals", "tails"), Status.PASS)
    stuck = judge({"u": np.full((4, DRAWS), 0.3)}, nuts).verdict
    assert stuck.answers["arrive"].status is Status.FAIL
    assert stuck.answers["arrive"].check == "draws.distinct"
    assert set(stuck.uses.values()) == {Status.FAIL}


def test_the_verdict_names_the_runs_that_pass(rng: np.random.Generator) -> None:
    runs = {"SGD": normal(rng) + 0.5, "completed SGD": normal(rng)}
    trees = {name: make_tree({"u": values}, kind="sgd") for name, values in runs.items()}
    verdict = compare({**trees, "NUTS": make_tree({"u": normal(rng)}, kind="nuts")}).verdict
    assert verdict.status is Status.FAIL
    assert verdict.sentence.endswith("completed SGD does match the posterior.")
    assert verdict.runs == {"SGD": Status.FAIL, "completed SGD": Status.PASS}


def test_the_headline_is_of_one_functional_and_counts_the_others(rng: np.random.Generator) -> None:
    scale = np.array([3.0, 0.25, 0.25, 0.25, 1.0])
    result = judge({"b": scale * rng.normal(size=(4, DRAWS, 5))}, {"b": rng.normal(size=(4, DRAWS, 5))})
    sentence = result.verdict.sentence
    assert "its spread is 3" in sentence or "its spread is 2.9" in sentence
    assert "3 other functionals fail too (3 too narrow)" in sentence
    w1 = found(result)["distance.w1"]
    assert w1.functional == "b[0]"
    assert f"KS = {w1.details['ks']:.2g}" in sentence


def test_all_chains_locked_to_one_sign(rng: np.random.Generator) -> None:
    mode = rng.choice([-1, 1], (4, DRAWS))
    both = {"u": mode * (3 + 0.4 * normal(rng))}
    one = {"u": 3 + 0.4 * normal(rng)}
    result = judge(one, both)
    checks = found(result)
    assert checks["mixing.rhat"].status is Status.PASS  # why it needs a check of its own
    assert checks["mixing.ess"].status is Status.PASS
    assert checks["sign.functional"].status is Status.FAIL
    assert checks["coverage.modes"].status is Status.FAIL
    assert checks["coverage.modes"].value == pytest.approx(0.5, abs=0.05)
    assert result.verdict.status is Status.FAIL
    assert "u < 0" in result.verdict.sentence


def test_a_mode_that_is_missed_without_a_change_of_sign(rng: np.random.Generator) -> None:
    mode = 10 + 6 * (rng.uniform(size=(4, DRAWS)) < 0.1)
    result = judge({"u": 10 + normal(rng)}, {"u": mode + normal(rng)})
    coverage = found(result)["coverage.modes"]
    assert coverage.status is Status.FAIL
    assert coverage.value == pytest.approx(0.1, abs=0.02)
    assert "misses 1 of the 2 modes of u" in coverage.meaning
    assert "modes of u" in result.verdict.sentence
    reverse = judge({"u": mode + normal(rng)}, {"u": mode + normal(rng)})
    assert found(reverse)["coverage.modes"].status is Status.PASS


def test_signs_of_the_parameters_that_no_functional_shows(rng: np.random.Generator) -> None:
    size = np.abs(2 + 0.3 * normal(rng))
    sign = rng.choice([-1, 1], (4, DRAWS))
    product = {"functionals": {"v": lambda draws: draws.u * draws.w}}
    nuts = {"u": sign * size, "w": sign * np.abs(2 + 0.3 * normal(rng))}
    locked = {"u": np.abs(2 + 0.3 * normal(rng)), "w": np.abs(2 + 0.3 * normal(rng))}
    result = judge(locked, nuts, **product)
    coverage = found(result)["coverage.signs"]
    assert coverage.status is Status.FAIL
    assert "u < 0, w < 0" in coverage.meaning
    assert found(result)["distance.w1"].status is Status.PASS
    assert result.verdict.status is Status.WARN


def test_the_line_u_equals_w_against_a_gaussian(rng: np.random.Generator) -> None:
    u = normal(rng)
    result = judge({"u": u, "w": u}, {"u": normal(rng), "w": normal(rng)}, functionals={"u": lambda draws: draws.u})
    checks = found(result)
    assert checks["support.dimension"].status is Status.FAIL
    assert checks["support.dimension"].value == pytest.approx(1.0, abs=0.1)
    assert checks["kl.parameters"].value == np.inf
    assert checks["importance.khat"].status is Status.NOT_APPLICABLE
    assert "lower dimension" in checks["importance.khat"].meaning
    assert checks["distance.ks"].status is Status.PASS
    assert result.verdict.status is Status.WARN
    # no law of the run is known: what is said of it is said of its draws
    assert "its draws fill a set of lower dimension" in result.verdict.sentence
    assert "as far as its draws show" in checks["kl.parameters"].meaning
    assert "KL = infinity" in result.verdict.sentence


def test_a_delta_guide(rng: np.random.Generator) -> None:
    nuts = make_tree({"u": normal(rng), "w": normal(rng)}, kind="nuts")
    u = rng.normal(size=4000)
    half = from_samples({"u": u, "w": u}, config={"khat": 0.23})  # w = Delta(u): finite weights, a small k
    checks = found(compare({"VI": half, "NUTS": nuts}), "VI")
    assert checks["importance.khat"].status is Status.NOT_APPLICABLE
    assert checks["importance.khat"].value is None
    assert "A small k would say nothing" in checks["importance.khat"].meaning
    assert checks["support.dimension"].status is Status.FAIL
    point = from_samples({"u": np.zeros(4000), "w": np.zeros(4000)})
    result = compare({"VI": point, "NUTS": nuts})
    assert result.verdict.status is Status.FAIL
    assert "point mass" in found(result, "VI")["importance.khat"].meaning
    full = from_samples({"u": u, "w": rng.normal(size=4000)}, config={"khat": 0.23})
    assert found(compare({"VI": full, "NUTS": nuts}), "VI")["importance.khat"].status is Status.PASS


def test_a_guide_beside_sgd_is_seen_to_be_singular_too(rng: np.random.Generator) -> None:
    u = rng.normal(size=4000)
    runs = {
        "SGD": make_tree({"u": normal(rng), "w": normal(rng)}, kind="sgd"),
        "VI": from_samples({"u": u, "w": u}, config={"khat": 0.23}),
        "NUTS": make_tree({"u": normal(rng), "w": normal(rng)}, kind="nuts"),
    }
    assert found(compare(runs), "VI")["importance.khat"].status is Status.NOT_APPLICABLE


def test_functionals_that_agree_one_by_one_but_not_jointly(rng: np.random.Generator) -> None:
    u, w = normal(rng), normal(rng)
    result = judge({"u": u, "w": 0.6 * u + 0.8 * w}, {"u": normal(rng), "w": normal(rng)})
    checks = found(result)
    for check in ("distance.w1", "distance.ks", "distance.w2", "support.dimension"):
        assert checks[check].status is Status.PASS, check
    for check in ("distance.mmd", "distance.energy"):
        assert checks[check].status is Status.FAIL, check
    assert result.verdict.status is Status.FAIL
    assert "not how they depend on each other" in result.verdict.sentence


def test_cauchy_draws(rng: np.random.Generator) -> None:
    result = judge({"u": rng.standard_cauchy((4, DRAWS))}, {"u": rng.standard_cauchy((4, DRAWS))})
    checks = found(result)
    assert checks["mixing.rhat"].status is Status.PASS
    assert checks["tail.index"].status is Status.WARN
    assert checks["tail.index"].value == pytest.approx(1.0, abs=0.3)
    assert "the mean of u does not exist" in checks["tail.index"].meaning
    assert checks["distance.w1"].status is Status.NOT_APPLICABLE
    assert "Kolmogorov distance needs no moments" in checks["distance.w1"].meaning
    assert checks["distance.ks"].status is Status.PASS
    assert result.verdict.status is Status.WARN
    against = judge({"u": rng.standard_cauchy((4, DRAWS))}, {"u": normal(rng)})
    assert found(against)["distance.ks"].status is Status.FAIL
    assert against.verdict.status is Status.FAIL


@pytest.mark.parametrize("freedom", [1, 2, 3, 30])
def test_tails_are_told_apart(rng: np.random.Generator, freedom: int) -> None:
    finding = index(case_of({"u": rng.standard_t(freedom, (4, 4000))}))
    assert finding.status is (Status.WARN if freedom <= 2 else Status.PASS)
    if freedom == 2:
        assert "the variance of u does not exist" in finding.meaning
    if freedom == 3:
        assert finding.value == pytest.approx(3.0, rel=0.5)


def test_float32_with_a_large_mean(rng: np.random.Generator) -> None:
    rounded = (1e4 + 1e-3 * normal(rng)).astype(np.float32)
    result = judge({"u": rounded}, {"u": 1e4 + 1e-3 * normal(rng)})
    checks = found(result)
    assert checks["mixing.rhat"].status is Status.PASS
    assert checks["draws.distinct"].status is Status.FAIL
    assert "float32" in checks["draws.distinct"].advice
    assert result.verdict.status is Status.FAIL
    fine = judge({"u": normal(rng).astype(np.float32)}, {"u": normal(rng)})
    assert found(fine)["draws.distinct"].status is Status.PASS


@pytest.mark.parametrize("rho", [0.9, pytest.param(0.98, marks=pytest.mark.slow)])
def test_two_samples_of_one_autocorrelated_law(rng: np.random.Generator, rho: float) -> None:
    draws = 20_000 if rho < 0.95 else 60_000
    result = judge({"u": autocorrelated(rng, draws, rho)}, {"u": autocorrelated(rng, draws, rho)})
    assert result.verdict.status is Status.PASS, str(result)
    applicable = {finding.status for finding in result.findings if finding.status is not Status.NOT_APPLICABLE}
    assert applicable == {Status.PASS}
    unequal = judge({"u": autocorrelated(rng, draws, rho)}, {"u": normal(rng)})
    assert found(unequal)["distance.ks"].status is Status.PASS
