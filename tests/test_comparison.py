"""compare(): right statuses in both directions, verdicts in words, records that can be read back."""

import json
import math
from typing import Any

import jax
import numpy as np
import numpyro.distributions as dist
import pytest

from sgdvi._internal.check import InputError
from sgdvi._internal.text import number
from sgdvi.comparison import Comparison, Known, compare
from sgdvi.diagnostics import TABLE, Status
from sgdvi.diagnostics.facts import Facts
from sgdvi.diagnostics.stationarity import FreshStep, drift
from sgdvi.draws import from_samples, make_tree
from sgdvi.laws import discrete_law, lyapunov_exponent
from sgdvi.laws.line import as_line_law
from sgdvi.problem.network import LinearNetwork, line_posterior

V = {"v": lambda draws: draws.u * draws.w}
BATCH = 1


def network(rows: int = 400, slope: float = 0.6, depth: int = 1, prior_sd: float = 1.0, seed: int = 0) -> LinearNetwork:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=rows)
    return LinearNetwork(x, slope * x + 0.8 * rng.normal(size=rows), depth, 1, noise_sd=0.8, prior_sd=prior_sd)


def known(net: LinearNetwork, share: float) -> Known:
    return Known(net, net.learning_rate(share * net.critical_temperature, BATCH), BATCH)


def on_line(v: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Balanced factors of v; the sign of u is that of the chain."""
    signs = np.where(np.arange(len(v)) % 2, 1.0, -1.0)[:, None]
    return {"u": signs * np.sqrt(np.abs(v)), "w": signs * np.sign(v) * np.sqrt(np.abs(v))}


def on_plane(v: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Factors of v that fill the plane and move between the signs."""
    signs, ratio = rng.choice([-1, 1], v.shape), np.exp(0.3 * rng.normal(size=v.shape))
    return {"u": signs * ratio * np.sqrt(np.abs(v)), "w": signs / ratio * np.sign(v) * np.sqrt(np.abs(v))}


def sgd(sites: dict[str, np.ndarray], status: list[str] | None = None, **config: Any) -> Any:
    chains = len(next(iter(sites.values())))
    status = status or ["ok"] * chains
    steps = [-1 if word == "ok" else 100 for word in status]
    return make_tree(sites, kind="sgd", chain_status={"status": status, "step": steps}, attrs={"config": config})


def statuses(comparison: Comparison, run: str = "SGD") -> dict[str, Status]:
    return {finding.check: finding.status for finding in comparison.findings if finding.run == run}


def gaussian(rng: np.random.Generator, shift: float = 0.0, scale: float = 1.0, chains: int = 4) -> np.ndarray:
    return shift + scale * rng.normal(size=(chains, 1500))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


# --- without an exact law ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shift", "scale", "status"), [(0.0, 1.0, Status.PASS), (0.0, 1.25, Status.FAIL), (0.3, 1.0, Status.FAIL)]
)
def test_model_without_exact_law(rng: np.random.Generator, shift: float, scale: float, status: Status) -> None:
    nuts = make_tree({"b": rng.normal(size=(4, 1500, 3))}, kind="nuts")
    run = sgd({"b": shift + scale * rng.normal(size=(4, 1500, 3))})
    result = compare({"SGD": run, "NUTS": nuts})
    assert result.verdict.status is status
    assert list(result.functionals) == ["b[0]", "b[1]", "b[2]"]
    found = statuses(result)
    # all checks but those of a test set and of momentum, which this run does not have
    assert list(found) == [check.id for check in TABLE if not check.kinds & {"predicted", "scored", "momentum"}]
    for check in ("support.balance", "kl.functional", "law.gap", "phase.temperature", "phase.collapse", "sign.factors"):
        assert found[check] is Status.NOT_APPLICABLE
    assert found["support.dimension"] is Status.PASS
    assert result.verdict.sentence.startswith("Yes" if status is Status.PASS else "No")


def test_line_against_gaussian(rng: np.random.Generator) -> None:
    u = rng.normal(size=(4, 1500))
    nuts = make_tree({"u": gaussian(rng), "w": gaussian(rng)}, kind="nuts")
    result = compare({"SGD": sgd({"u": u, "w": u}), "NUTS": nuts}, functionals={"u": lambda draws: draws.u})
    found = statuses(result)
    assert found["support.dimension"] is Status.FAIL
    assert found["kl.parameters"] is Status.FAIL
    assert found["distance.w1"] is Status.PASS
    assert result.verdict.status is Status.WARN
    assert "Only on u" in result.verdict.sentence
    assert "KL = infinity" in result.verdict.sentence


def test_point_mass(rng: np.random.Generator) -> None:
    nuts = make_tree({"u": gaussian(rng)}, kind="nuts")
    result = compare({"SGD": sgd({"u": np.zeros((4, 1500))}), "NUTS": nuts})
    assert statuses(result)["draws.distinct"] is Status.FAIL
    assert statuses(result)["distance.w1"] is Status.FAIL
    assert result.verdict.status is Status.FAIL
    assert "point mass" in result.verdict.sentence


def test_what_all_runs_hold_at_one_value_is_no_coordinate(rng: np.random.Generator) -> None:
    """On the quotient of u w the draws are 1 and v: 1 neither stands still nor keeps its start."""
    v, other = 1 + 0.2 * gaussian(rng), 1 + 0.2 * gaussian(rng)
    runs = {
        "SGD": sgd({"u": np.ones_like(v), "w": v}),
        "NUTS": make_tree({"u": np.ones_like(v), "w": other}, kind="nuts"),
    }
    result = compare(runs, functionals=V)
    assert {statuses(result)[check] for check in ("draws.distinct", "memory.parameters")} == {Status.PASS}
    assert result.verdict.status is Status.PASS
    apart = compare({**runs, "SGD": sgd({"u": np.full_like(v, 2.0), "w": v / 2})}, functionals=V)
    distinct = next(f for f in apart.findings if f.check == "draws.distinct" and f.run == "SGD")
    assert "1 coordinate of the parameters never moved, which no functional shows" in distinct.meaning


def test_one_nan_lets_nothing_pass_unnoticed(rng: np.random.Generator) -> None:
    u = gaussian(rng)
    u[1, 3] = np.nan
    result = compare({"SGD": sgd({"u": u}), "NUTS": make_tree({"u": gaussian(rng)}, kind="nuts")})
    found = statuses(result)
    assert found["draws.finite"] is Status.FAIL
    assert found["mixing.rhat"] is Status.WARN
    assert found["distance.w1"] is Status.WARN
    assert result.verdict.status is not Status.PASS
    assert result.summaries["SGD"]["u"]["n"] == 3 * 1500
    json.dumps(result.to_dict(), allow_nan=False)


def test_all_chains_overflowed(rng: np.random.Generator) -> None:
    run = sgd({"u": np.full((4, 1500), np.nan)}, ["overflowed"] * 4)
    result = compare({"SGD": run, "NUTS": make_tree({"u": gaussian(rng)}, kind="nuts")})
    assert result.verdict.status is Status.FAIL
    assert "overflowed" in result.verdict.sentence
    assert not {check for check, status in statuses(result).items() if status is Status.PASS}
    str(result)
    json.dumps(result.to_dict(), allow_nan=False)


def test_single_chain_and_chains_that_disagree(rng: np.random.Generator) -> None:
    nuts = make_tree({"u": gaussian(rng)}, kind="nuts")
    single = compare({"SGD": sgd({"u": gaussian(rng, chains=1)}), "NUTS": nuts})
    assert statuses(single)["mixing.rhat"] is Status.UNKNOWN
    apart = gaussian(rng) + np.array([0, 0, 4, 4])[:, None]
    result = compare({"SGD": sgd({"u": apart}), "NUTS": nuts})
    assert result.verdict.status is Status.UNKNOWN
    assert "R-hat" in result.verdict.sentence


def test_without_a_reference_the_verdict_says_what_to_give(rng: np.random.Generator) -> None:
    verdict = compare({"SGD": sgd({"u": gaussian(rng)})}, reference=None).verdict
    assert verdict.status is Status.UNKNOWN
    assert verdict.sentence.endswith("on the functionals. Run NUTS, or give draws of the posterior.")


def test_a_bad_reference_decides_nothing(rng: np.random.Generator) -> None:
    stuck = make_tree({"u": gaussian(rng) + np.array([0, 0, 4, 4])[:, None]}, kind="nuts")
    result = compare({"SGD": sgd({"u": gaussian(rng)}), "NUTS": stuck})
    assert statuses(result)["distance.w1"] is Status.UNKNOWN
    assert result.verdict.status is Status.UNKNOWN
    assert "NUTS cannot be relied on" in result.verdict.sentence


def test_float32_with_a_large_mean(rng: np.random.Generator) -> None:
    rounded = (1e4 + 1e-3 * gaussian(rng)).astype(np.float32)
    nuts = make_tree({"u": 1e4 + 1e-3 * gaussian(rng)}, kind="nuts")
    result = compare({"SGD": sgd({"u": rounded}), "NUTS": nuts})
    assert statuses(result)["draws.distinct"] is Status.FAIL
    assert result.verdict.status is Status.FAIL


def test_laws_stand_for_a_functional(rng: np.random.Generator) -> None:
    run = sgd({"u": gaussian(rng)})
    same = compare({"SGD": run, "posterior": dist.Normal(0.0, 1.0)}, reference="posterior")
    other = compare({"SGD": run, "posterior": dist.Normal(0.3, 1.0)}, reference="posterior")
    assert statuses(same)["distance.ks"] is Status.PASS
    assert statuses(other)["distance.ks"] is Status.FAIL
    assert same.summaries["posterior"]["u"]["sd"] == pytest.approx(1.0)
    assert same.summaries["posterior"]["u"]["n"] is None


class OnlySamples:
    """A law without a quantile function."""

    def log_prob(self, value: Any) -> Any:
        return dist.Normal(0.0, 1.0).log_prob(value)

    def sample(self, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        return jax.random.normal(key, shape)


def test_law_that_can_only_be_sampled(rng: np.random.Generator) -> None:
    result = compare({"SGD": sgd({"u": gaussian(rng)}), "law": OnlySamples()}, reference="law", key=jax.random.key(1))
    assert statuses(result)["distance.w1"] is Status.PASS


def test_independent_draws_need_no_rhat(rng: np.random.Generator) -> None:
    vi = from_samples({"u": rng.normal(size=2000)})
    result = compare({"SGD": sgd({"u": gaussian(rng)}), "VI": vi, "NUTS": make_tree({"u": gaussian(rng)}, kind="nuts")})
    assert statuses(result, "VI")["mixing.rhat"] is Status.NOT_APPLICABLE
    assert any(reason.startswith("For comparison") for reason in result.verdict.reasons)


def test_bad_input(rng: np.random.Generator) -> None:
    run = sgd({"u": gaussian(rng)})
    for arguments, words in (
        (({}, None), "at least one"),
        (({"SGD": run}, "NUTS"), "one of the runs"),
        (({"SGD": np.zeros(3)}, None), "draws or be a law"),
        (({"SGD": run}, None, {"v": lambda draws: draws.w}), "computable from the sites"),
        (({"SGD": run}, None, {}), "at least one functional"),
    ):
        with pytest.raises(InputError, match=words):
            compare(*arguments)
    with pytest.raises(InputError, match="unknown threshold"):
        compare({"SGD": run}, None, thresholds={"rhat": 1.0})


# --- with exact laws --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exact() -> Comparison:
    rng, net = np.random.default_rng(3), network()
    facts, posterior = known(net, 0.02), line_posterior(net)
    law = net.law(facts.temperature)
    v = as_line_law(law).icdf(rng.uniform(size=8 * 1500)).reshape(8, 1500)
    runs = {
        "SGD": sgd(on_line(v, rng), thinning=10),
        "exact law": law,
        "exact posterior": posterior,
        "NUTS": make_tree(on_plane(posterior.icdf(rng.uniform(size=(4, 1000))), rng), kind="nuts"),
    }
    return compare(runs, functionals=V, known=facts)


def test_every_check_has_its_status(exact: Comparison) -> None:
    assert statuses(exact) == {
        "draws.finite": Status.PASS,
        "draws.distinct": Status.PASS,
        "chains.overflow": Status.PASS,
        "chains.copies": Status.PASS,
        "draws.reference": Status.PASS,
        "fit.convergence": Status.NOT_APPLICABLE,
        "tail.index": Status.PASS,
        "mixing.rhat": Status.PASS,
        "mixing.ess": Status.PASS,
        "mixing.mcse": Status.PASS,
        "mixing.nested": Status.NOT_APPLICABLE,
        "hmc.divergences": Status.NOT_APPLICABLE,
        "hmc.energy": Status.NOT_APPLICABLE,
        "hmc.depth": Status.NOT_APPLICABLE,
        "stationarity.trend": Status.PASS,
        "stationarity.spread": Status.PASS,
        "stationarity.identity": Status.PASS,
        "stationarity.bias": Status.PASS,
        "symmetry.labels": Status.NOT_APPLICABLE,
        "arrival.posterior": Status.PASS,
        "memory.start": Status.NOT_APPLICABLE,
        "memory.parameters": Status.WARN,
        "support.balance": Status.FAIL,
        "support.dimension": Status.FAIL,
        "kl.parameters": Status.FAIL,
        "sign.factors": Status.WARN,
        "sign.functional": Status.PASS,
        "coverage.modes": Status.PASS,
        "coverage.signs": Status.PASS,
        "kl.functional": Status.FAIL,
        "importance.khat": Status.PASS,
        "distance.w1": Status.FAIL,
        "distance.ks": Status.FAIL,
        "distance.w2": Status.FAIL,
        "distance.dependence": Status.NOT_APPLICABLE,
        "distance.mmd": Status.FAIL,
        "distance.energy": Status.FAIL,
        "distance.sliced": Status.NOT_APPLICABLE,
        "distance.ksd": Status.FAIL,
        "distance.c2st": Status.NOT_APPLICABLE,
        "use.means": Status.FAIL,
        "use.intervals": Status.WARN,
        "use.tails": Status.FAIL,
        "predictive.loo": Status.NOT_APPLICABLE,
        "predictive.coverage": Status.NOT_APPLICABLE,
        "law.gap": Status.PASS,
        "phase.temperature": Status.PASS,
        "phase.collapse": Status.PASS,
    }
    assert statuses(exact, "NUTS")["law.gap"] is Status.PASS


def test_the_gap_says_what_the_steps_alone_account_for(exact: Comparison) -> None:
    net, facts = network(), known(network(), 0.02)
    gap = next(f for f in exact.findings if f.check == "law.gap" and f.run == "SGD")
    law = discrete_law(net.x, net.y, net.kappa * facts.learning_rate, BATCH, net.weight_decay)
    want = law.distance_to(net.law(facts.temperature))
    assert gap.details["discrete_law"] == "proper"
    assert gap.details["discrete_law_ks"] == pytest.approx(want, abs=1e-3)
    assert f"on these data is KS = {number(gap.details['discrete_law_ks'])} from that of the flow" in gap.meaning
    assert all(f.run == "SGD" or "discrete_law" not in f.details for f in exact.findings)


def test_batches_without_replacement_have_their_own_exponent_where_they_can_be_listed() -> None:
    few, many = network(rows=12, slope=0.35, seed=5), network()
    rate = few.learning_rate(0.3 * few.critical_temperature, 3)
    found, drawn = (Facts(Known(few, rate, 3, batching=way)) for way in ("without-replacement", "replacement"))
    want = 2 * lyapunov_exponent(few.x, few.y, few.kappa * rate, 3, few.weight_decay, replace=False)
    assert found.growth == pytest.approx(want, rel=1e-12)
    assert found.growth > drawn.growth  # less noise
    assert found.discrete_distance != drawn.discrete_distance
    unlisted = Facts(Known(many, rate, 30, batching="without-replacement"))
    assert math.isnan(unlisted.growth)
    assert unlisted.discrete_law is None


def test_the_verdict_names_everything(exact: Comparison) -> None:
    assert exact.verdict.status is Status.FAIL
    assert exact.verdict.sentence.startswith("No: on v, SGD is not the posterior (W1 = ")
    line = "its draws lie on |u| = |w| and on one sign only (v > 0, no chain changes the sign of u), a set"
    assert line in exact.verdict.sentence
    text = " ".join([exact.verdict.sentence, *exact.verdict.reasons])
    for words in (
        "|u| = |w|",
        "KL = infinity",
        "(u, w) and (-u, -w)",
        "of the posterior lies at v < 0",
        "KL(SGD || posterior) on v is",
        "sd away from NUTS (W1)",
        "exact stationary law of SGD",
        "critical Tc",
    ):
        assert words in text, words


def test_record_and_summary(exact: Comparison, tmp_path: Any) -> None:
    path = exact.to_json(tmp_path / "report.json")
    record = json.loads(path.read_text())
    assert record["schema_version"] == 2
    assert record["verdict"]["status"] == "fail"
    kl = next(entry for entry in record["findings"] if entry["check"] == "kl.parameters")
    assert kl["value"] == "inf"
    assert record["known"]["batch_size"] == BATCH
    assert record["summaries"]["exact law"]["v"]["ess"] is None
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.json"]
    text = str(exact)
    assert text.startswith("No: on v")
    assert "median" in text
    assert "FAIL" in text
    assert max(map(len, text.splitlines())) <= 100
    with pytest.raises(InputError, match="writable"):
        exact.to_json(tmp_path / "missing" / "report.json")


def test_summaries_agree_with_the_laws(exact: Comparison) -> None:
    for a, b in (("SGD", "exact law"), ("NUTS", "exact posterior")):
        first, second = exact.summaries[a]["v"], exact.summaries[b]["v"]
        for column in ("mean", "sd", "q5", "q50", "q95"):
            assert first[column] == pytest.approx(second[column], rel=0.05), column


def test_collapse_above_the_critical_temperature(rng: np.random.Generator) -> None:
    net = network(rows=2000, slope=0.1, seed=1)
    facts = known(net, 1.2)
    falling = np.exp(-1.0 - 0.03 * np.arange(1500) + np.cumsum(0.1 * rng.normal(size=(4, 1500)), axis=1))
    posterior = line_posterior(net)
    nuts = make_tree(on_plane(posterior.icdf(rng.uniform(size=(4, 1000))), rng), kind="nuts")
    result = compare({"SGD": sgd(on_line(falling, rng)), "NUTS": nuts}, functionals=V, known=facts)
    found = statuses(result)
    assert found["phase.temperature"] is Status.FAIL
    assert found["phase.collapse"] is Status.FAIL
    assert found["law.gap"] is Status.NOT_APPLICABLE
    assert result.verdict.status is Status.FAIL
    assert "collapsed to v = 0" in result.verdict.sentence
    assert next(f for f in result.findings if f.check == "kl.functional").value == math.inf


def test_a_step_from_zero_to_zero_is_no_test_and_no_warning() -> None:
    step = FreshStep(np.zeros((2, 9)), np.zeros((2, 9, 4)))
    assert np.isnan(drift(step, second_moments=False)).all()


def test_missing_mass_and_one_orbit(rng: np.random.Generator) -> None:
    net = network(rows=12, slope=0.35, seed=5)
    posterior = line_posterior(net)
    beta2 = float(net.moments.beta2)
    missing = posterior.negative_mass if beta2 > 0 else 1 - posterior.negative_mass
    assert missing > 0.01
    v = np.sign(beta2) * np.abs(rng.normal(0.3, 0.1, size=(4, 1500)))
    root = np.sqrt(np.abs(v))
    run = sgd({"u": root, "w": np.sign(v) * root})
    nuts = make_tree(on_plane(posterior.icdf(rng.uniform(size=(4, 1000))), rng), kind="nuts")
    result = compare({"SGD": run, "NUTS": nuts}, functionals=V, known=known(net, 0.2))
    found = {finding.check: finding for finding in result.findings if finding.run == "SGD"}
    assert found["sign.factors"].status is Status.FAIL
    assert found["sign.functional"].status is Status.FAIL
    assert found["sign.functional"].value == pytest.approx(missing)
    assert found["kl.functional"].details["reverse"] == math.inf
    assert "leaves out" in result.verdict.sentence
    assert "on one sign only (no chain changes the sign of u)" in result.verdict.sentence  # that of v is said apart


def test_flat_prior_has_no_posterior(rng: np.random.Generator) -> None:
    net = network(prior_sd=math.inf)
    v = 0.6 + 0.05 * gaussian(rng)
    result = compare({"SGD": sgd(on_line(v, rng))}, None, V, known=known(net, 0.1))
    assert result.verdict.status is Status.NOT_APPLICABLE
    assert "improper" in " ".join([result.verdict.sentence, *result.verdict.reasons])
    assert statuses(result)["kl.parameters"] is Status.NOT_APPLICABLE


def test_exact_posterior_stands_in(rng: np.random.Generator) -> None:
    net = network(depth=0)
    posterior = line_posterior(net)
    draws = {"u": posterior.icdf(rng.uniform(size=(4, 1500)))}
    facts = Known(net, net.learning_rate(1e-3, BATCH), BATCH)
    stuck = make_tree({"u": draws["u"] + np.array([0, 0, 1, 1])[:, None]}, kind="nuts")
    for runs, reference in (({"SGD": sgd(draws)}, None), ({"SGD": sgd(draws), "NUTS": stuck}, "NUTS")):
        result = compare(runs, reference, known=facts)
        found = {finding.check: finding for finding in result.findings if finding.run == "SGD"}
        assert found["distance.w1"].status is Status.PASS
        assert found["distance.w1"].details["against"] == "the exact posterior"
        assert found["support.balance"].status is Status.NOT_APPLICABLE
        assert found["phase.temperature"].status is Status.NOT_APPLICABLE
        assert found["kl.functional"].value is not None
        assert math.isfinite(found["kl.functional"].value)


def test_depth_two_has_both_laws_on_v(rng: np.random.Generator) -> None:
    net = network(depth=2)
    u = np.abs(0.8 + 0.05 * gaussian(rng))
    run = sgd({"u0": u, "u1": u, "u2": u})
    cube = {f"u{k}": np.abs(0.8 + 0.05 * gaussian(rng)) for k in range(3)}
    result = compare({"SGD": run, "NUTS": make_tree(cube, kind="nuts")}, known=Known(net, 0.01, 16))
    found = statuses(result)
    assert found["support.balance"] is Status.FAIL
    assert found["kl.parameters"] is Status.FAIL
    assert found["law.gap"] in (Status.PASS, Status.FAIL)
    assert found["kl.functional"] is Status.FAIL
    assert found["phase.temperature"] is Status.NOT_APPLICABLE


def test_unknown_learning_rate(rng: np.random.Generator) -> None:
    facts = Known(network(), None, 16)
    run = sgd(on_line(0.6 + 0.05 * gaussian(rng), rng))
    result = compare({"SGD": run}, None, V, known=facts)
    assert statuses(result)["law.gap"] is Status.NOT_APPLICABLE
    assert statuses(result)["distance.w1"] in (Status.FAIL, Status.PASS)
    with pytest.raises(InputError, match="batch_size"):
        Known(network(), 0.1, 0)


def test_shuffled_epochs_have_no_temperature_and_every_place_says_why(rng: np.random.Generator) -> None:
    net = network()
    known = Known(net, 0.01, 4, batching="epochs")
    assert known.temperature is None
    assert known.to_dict()["temperature"] is None
    comparison = compare({"SGD": sgd(on_line(gaussian(rng, 0.6, 0.01), rng))}, reference=None, known=known)
    findings = {finding.check: finding for finding in comparison.findings}
    for check in ("phase.temperature", "law.gap", "kl.functional"):
        assert findings[check].status is Status.NOT_APPLICABLE
        assert "Shuffled epochs have no temperature" in findings[check].meaning
    assert any("Shuffled epochs have no temperature" in reason for reason in comparison.verdict.reasons)
    assert Known(net, 0.01, 4, batching="full").temperature == 0
    assert not Known(net, 0.01, 4, batching="full").no_temperature
    with pytest.raises(InputError, match="batching must be one of 'replacement', 'without-replacement'"):
        Known(net, 0.01, 4, batching="shuffled")


def test_what_is_too_large_is_refused_before_it_begins_with_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    run = {"u": np.zeros((2, 10))}
    with pytest.raises(InputError, match="at most 40 runs; got 1000"):
        compare({str(number): run for number in range(1000)}, reference="0")
    wide = {"u": np.zeros((2, 10, 5001))}
    with pytest.raises(InputError, match="at most 5000 functionals of one number; got 5001. Give functionals"):
        compare({"a": wide, "b": wide}, reference="a")
    monkeypatch.setattr("sgdvi._internal.memory.total_memory", lambda: 1e3)
    with pytest.raises(InputError, match="fit in memory, 1e-06 GB; got 1.92e-06 GB for 40 draws in 2 runs and 1 func"):
        compare({"a": run, "b": run}, reference="a")
