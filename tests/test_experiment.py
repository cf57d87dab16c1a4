"""The whole way: settings by rule, runs, what is skipped with a reason, what is written."""

import json
import math
import sys
from contextlib import contextmanager

import arviz as az
import jax
import numpy as np
import pytest

import sgdvi
from sgdvi._internal.check import InputError
from sgdvi.diagnostics import Status
from sgdvi.draws import load, make_tree, save
from sgdvi.experiment import Interrupted, conduct, run
from sgdvi.experiment.environment import fingerprint
from sgdvi.experiment.other_tools import choose_reference
from sgdvi.experiment.plan import make_plan, matching_temperature, parse_temperature, with_weight_decay
from sgdvi.experiment.stages import _STREAMS, findings_of_balance, named_reference, remedy_stages, stages
from sgdvi.problem.network import line_posterior
from sgdvi.zoo import load as problem_of

SMALL = {"num_steps": 400, "num_chains": 3, "references": ()}


@pytest.fixture(autouse=True)
def _without_symmetries(monkeypatch):
    """The runs of single tests do not look for symmetries; that of the fixture `result`, which is older, does."""
    monkeypatch.setattr(conduct, "findings_of_balance", lambda *args: ())


@pytest.mark.parametrize(
    ("text", "value"),
    [(0.3, 0.3), ("0.3", 0.3), ("1e-3", 1e-3), ("0.5Tc", 1.0), ("0.5 tc", 1.0), ("1.5*Tc", 3.0), ("Tc", 2.0)],
)
def test_temperatures_are_numbers_or_multiples_of_tc(text, value):
    assert parse_temperature(text, 2.0) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "hot", "Tc0.5", "nan", "-1", "0Tc", "1..2", 0.0, -1.0, math.nan])
def test_other_temperatures_are_refused(text):
    with pytest.raises(InputError, match="temperature"):
        parse_temperature(text, 2.0)


def test_multiples_of_an_infinite_tc_are_refused():
    with pytest.raises(InputError, match="critical temperature"):
        parse_temperature("0.5Tc", math.inf)


@pytest.mark.parametrize("depth", [0, 1])
def test_at_the_matching_temperature_sgd_is_as_wide_as_the_posterior(depth):
    network = problem_of("diabetes", depth=depth).exact
    law = network.law(matching_temperature(network))
    assert float(law.variance) == pytest.approx(float(line_posterior(network).variance), rel=0.1)


def test_defaults_follow_their_rules():
    strong = make_plan(problem_of("diabetes"))
    assert strong.temperature == pytest.approx(matching_temperature(problem_of("diabetes").exact), rel=0.06)
    assert strong.phase == "IIIb"
    assert strong.num_warmup > 1000
    few = make_plan(problem_of("small-n"))
    assert few.temperature <= 0.21 * few.critical_temperature
    assert "Tc" in few.rules["learning rate"]


def test_every_reference_has_a_key_of_its_own():
    assert len(set(_STREAMS.values())) == len(_STREAMS)
    assert set(conduct.ALL_REFERENCES) < set(_STREAMS)


def test_references_have_one_name_however_they_are_spelt():
    for name in conduct.ALL_REFERENCES:
        assert named_reference(name.upper().replace("-", "_")) == named_reference(name.removesuffix(" VI")) == name
    with pytest.raises(InputError, match="a reference is one of NUTS.*Pathfinder; got 'advi'"):
        named_reference("advi")


def test_what_is_given_is_taken():
    plan = make_plan(problem_of("small-n"), learning_rate=0.03, batch_size=4, num_chains=5, num_steps=700, seed=3)
    assert (plan.learning_rate, plan.batch_size, plan.num_chains, plan.num_steps, plan.seed) == (0.03, 4, 5, 700, 3)
    warm = make_plan(problem_of("weak-signal"), temperature="0.9Tc", batch_size=1)
    assert warm.temperature == pytest.approx(0.9 * warm.critical_temperature)
    assert warm.phase.startswith("II")


@pytest.mark.slow
def test_a_model_without_a_law_gets_the_rate_of_mandt_hoffman_and_blei():
    plan = make_plan(problem_of("logistic"))
    assert plan.temperature is None
    assert 0.1 < plan.learning_rate < 100
    assert "Mandt" in plan.rules["learning rate"]
    double = make_plan(problem_of("logistic"), batch_size=32)
    assert double.learning_rate == pytest.approx(2 * plan.learning_rate, rel=0.1)


def test_weight_decay_sets_the_prior():
    problem = problem_of("diabetes")
    changed = with_weight_decay(problem, 0.01)
    assert changed.exact.weight_decay == pytest.approx(0.01)
    assert not with_weight_decay(problem, 0.0).exact.proper_posterior
    with pytest.raises(InputError, match="linear network"):
        with_weight_decay(problem_of("logistic"), 0.1)


@pytest.mark.slow
def test_collapse_is_a_result_and_the_verdict_says_so(monkeypatch):
    # drawing the figures takes longer than the run
    monkeypatch.setattr("sgdvi._internal.style.figure._svg", lambda figure: "<svg/>")
    result = run("weak-signal", temperature="1.2Tc", batch_size=1, num_steps=20_000, references=())
    assert result.plan.phase.startswith("I")
    assert not result.plan.phase.startswith("II")
    assert result.verdict.status is Status.FAIL
    assert "collapse" in result.verdict.sentence
    page = result.context
    assert page.problem.name == "weak-signal"
    assert repr(result).startswith("<Result for weak-signal, SGD")
    assert "means no" in result._repr_html_()


@pytest.mark.slow
def test_a_flat_prior_skips_what_needs_a_posterior_and_the_rest_goes_on(monkeypatch):
    result = run("small-n", weight_decay=0.0, num_steps=400, num_chains=3, references=("NUTS",))
    assert set(result.runs) == {"SGD", "exact law"}
    assert set(result.context.skipped) == {"exact posterior", "NUTS"}
    assert "proper" in result.context.skipped["NUTS"]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_draws_and_another_seed_others(monkeypatch):
    monkeypatch.setattr(conduct, "compare", lambda *args, **kwargs: None)  # only the draws matter here
    one, two, other = (run("small-n", seed=seed, **SMALL).runs["SGD"]["posterior"]["u"] for seed in (1, 1, 2))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)
    assert one.dtype == np.float64


@pytest.mark.slow
def test_depth_two_has_a_law_and_a_posterior():
    result = run("diabetes", depth=2, num_steps=40_000, num_chains=8, references=())
    assert set(result.runs) == {"SGD", "exact law", "exact posterior"}
    assert result.plan.phase is None
    (gap,) = [finding for finding in result.findings if finding.check == "law.gap"]
    assert gap.status is Status.PASS
    assert "without the prior's weight decay" in gap.meaning


def test_an_interruption_carries_what_had_been_finished(monkeypatch):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(conduct, "compare", stop)
    with pytest.raises(Interrupted) as caught:
        run("small-n", **SMALL)
    assert set(caught.value.runs) == {"SGD", "exact law", "exact posterior"}


def test_an_unknown_reference_is_refused():
    with pytest.raises(InputError, match="NUTS"):
        run("small-n", num_steps=400, references=("HMC",))


@pytest.fixture(scope="module")
def result() -> sgdvi.Result:
    told: list[str] = []
    result = run("small-n", on_stage=lambda name, text: told.append(name), command="sgdvi compare small-n", **SMALL)
    assert told == ["SGD", "exact law", "exact posterior", "balance", "checks"]
    return result


@pytest.mark.slow
def test_the_law_of_balance_is_read_off_the_run_of_sgd(result):
    found = {finding.check: finding for finding in result.findings if finding.check.startswith("balance.")}
    assert set(found) == {"balance.directions", "balance.drift", "balance.noise", "balance.ratio"}
    assert {finding.run for finding in found.values()} == {"SGD"}
    assert found["balance.directions"].value == 1
    assert found["balance.drift"].status is Status.PASS


def test_a_model_too_large_for_passes_over_its_data_is_referred_to_the_command(result, monkeypatch):
    monkeypatch.setattr("sgdvi.experiment.stages._MOST_NUMBERS", 10)
    (finding,) = findings_of_balance(result.problem, result.runs["SGD"], jax.random.key(0))
    assert finding.status is Status.UNKNOWN
    assert "sgdvi balance" in finding.meaning


def test_a_saved_result_has_page_record_and_draws(result, tmp_path):
    page = result.save(tmp_path / "out")
    assert sorted(path.name for path in page.parent.iterdir()) == ["draws.nc", "report.html", "report.json"]
    record = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert record["schema_version"] >= 1
    assert record["verdict"]["sentence"] == result.verdict.sentence
    assert record["experiment"]["command"] == "sgdvi compare small-n"
    assert record["experiment"]["environment"]["data (SHA-256)"] == fingerprint(result.problem.data)
    drawn = load(tmp_path / "out")
    assert np.array_equal(drawn["SGD"]["posterior"]["u"], result.runs["SGD"]["posterior"]["u"])
    with pytest.raises(InputError, match="overwrite"):
        result.save(tmp_path / "out")
    assert result.save(tmp_path / "out", overwrite=True) == page


def test_a_save_that_fails_leaves_the_old_report(result, tmp_path, monkeypatch):
    result.save(tmp_path)
    old = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr("sgdvi.experiment.written.write_html", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        result.save(tmp_path, overwrite=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == old


@pytest.mark.slow
def test_the_call_in_the_report_gives_the_same_draws(result):
    scope: dict = {}
    exec(result.context.call.split("\nprint")[0], scope)
    assert np.array_equal(scope["result"].runs["SGD"]["posterior"]["u"], result.runs["SGD"]["posterior"]["u"])


@pytest.mark.parametrize("batch_size", [4, 44, 442])
def test_draws_of_epochs_stand_at_every_place_of_an_epoch(batch_size):
    """At its ends alone they would spread less than the iterates do, which a run warns of."""
    problem = problem_of("diabetes", depth=1)
    length = problem.exact.num_data // batch_size
    plan = make_plan(problem, learning_rate=0.005, batch_size=batch_size, batching="epochs")
    assert math.gcd(plan.thinning, length) == 1
    assert 90 < plan.thinning <= 100
    assert make_plan(problem, learning_rate=0.005, batch_size=batch_size).thinning == 100


@pytest.mark.slow
def test_ways_of_drawing_rows_reach_the_run_and_the_report(tmp_path):
    problem = problem_of("diabetes", depth=1)
    result = run(problem, learning_rate=0.005, batch_size=16, batching="epochs", **SMALL)
    assert json.loads(result.runs["SGD"]["posterior"].attrs["config_json"])["batching"] == "epochs"
    assert "exact law" not in result.runs
    assert result.plan.temperature is None
    page = result.save(tmp_path).read_text(encoding="utf-8")
    assert page.count("Shuffled epochs have no temperature") >= 2
    assert "batching=&#39;epochs&#39;" in page or "batching='epochs'" in page
    half = make_plan(problem, temperature=0.01, batch_size=100, batching="without-replacement")
    size = problem.exact.num_data
    whole = make_plan(problem, temperature=0.01, batch_size=100)
    assert half.learning_rate == pytest.approx(whole.learning_rate * (size - 1) / (size - 100))
    assert half.temperature == pytest.approx(0.01)
    assert make_plan(problem, learning_rate=0.01, batching="full").batch_size == size
    for batching, text in (("epochs", "Shuffled epochs have no temperature"), ("full", "on all rows has no noise")):
        with pytest.raises(InputError, match=f"needs a learning rate; got none.*{text}"):
            make_plan(problem, batching=batching)
        with pytest.raises(InputError, match=f"has no temperature; got 0.1Tc.*{text}"):
            make_plan(problem, batching=batching, temperature="0.1Tc")


@pytest.mark.slow
def test_draws_of_another_tool_stand_for_the_posterior(tmp_path):
    posterior = line_posterior(problem_of("small-n").exact)
    v = posterior.icdf((np.arange(4000) + 0.5) / 4000)[np.random.default_rng(0).permutation(4000)].reshape(4, 1000)
    sites = {"u": np.sign(v) * np.sqrt(np.abs(v)), "w": np.sqrt(np.abs(v))}
    save({"stan": make_tree(sites, kind="nuts")}, tmp_path)
    (tmp_path / "draws.nc").rename(tmp_path / "stan.nc")
    result = run("small-n", against=[tmp_path / "stan.nc"], **SMALL)
    assert result.comparison.reference == "stan"
    distance = next(f for f in result.findings if f.check == "distance.ks" and f.run == "SGD")
    assert distance.details["against"] == "stan"
    assert [stage.name for stage in result.context.stages][-1] == "stan"
    assert f"references=[], against={{'stan': {str(tmp_path / 'stan.nc')!r}}})" in result.context.call
    with monkey_runs() as calls:
        for options, words in (
            ({"reference": "Stan", "against": [tmp_path / "stan.nc"]}, "one of the runs to be made"),
            ({"against": [tmp_path / "none.nc"]}, "must exist"),
            ({"against": {"SGD": tmp_path / "stan.nc"}}, "named like a run"),
            ({"against": {"NUTS": tmp_path / "stan.nc"}, "references": ["NUTS"]}, "named like a run"),
        ):
            with pytest.raises(InputError, match=words):
                run("small-n", **{**SMALL, **options})
        for draws, words in (
            ({"b": np.zeros((2, 9))}, "must fit the model"),
            ({"u": np.zeros((2, 9, 3)), "w": np.zeros((2, 9, 3))}, r"shape \(\) in each draw; got \(3,\)"),
            ({"u": np.zeros((0, 9)), "w": np.zeros((0, 9))}, "must have draws; got 0 along chain"),
        ):
            az.from_dict({"posterior": draws}).to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
            with pytest.raises(InputError, match=words):
                run("small-n", against=[tmp_path / "other.nc"], **SMALL)
    assert not calls  # nothing was run


@contextmanager
def monkey_runs():
    """Count the runs of SGD that are begun."""
    calls: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sgdvi.experiment.conduct.stages", lambda *args: calls.append("run") or iter(()))
        yield calls


def test_a_reference_that_could_not_be_made_says_why() -> None:
    skipped = {"NUTS": "", "Laplace": "the log posterior must be curved; got a flat direction."}
    assert choose_reference(None, {"SGD": 1, "NUTS": 1}, [], skipped) == "NUTS"
    assert choose_reference("NUTS", {"SGD": 1, "NUTS": 1}, [], skipped) == "NUTS"
    with pytest.raises(InputError, match="got 'Laplace', which was not: the log posterior must be curved"):
        choose_reference("Laplace", {"SGD": 1}, [], skipped)
    with pytest.raises(InputError, match="one of the other runs; got 'SGD'"):
        choose_reference("SGD", {"SGD": 1}, [], skipped)


def test_nuts_takes_as_many_draws_as_asked_for(monkeypatch):
    counts = []

    def counted(problem, key, num_warmup=1000, num_samples=2000, **options):
        counts.append((num_warmup, num_samples))
        raise InputError("enough")

    made = sys.modules["sgdvi.experiment.stages"]  # the package has a function of this name
    monkeypatch.setattr(made, "nuts", counted)
    monkeypatch.setattr(made, "find_orbits", lambda *args: ())
    monkeypatch.setattr("sgdvi.experiment.descent.nuts", counted)
    monkeypatch.setattr("sgdvi.experiment.descent._prior_sds", lambda *args: {"u": 1.0})
    monkeypatch.setattr("sgdvi.experiment.descent.quotient_model", lambda model, **kwargs: model)
    problem, key = problem_of("small-n"), jax.random.key(0)
    for draws, expected in ((None, [(1000, 2000), (300, 500)]), (200, [(100, 200), (100, 200)])):
        plan = make_plan(problem, nuts_draws=draws)
        todo = [*stages(problem, plan, ["NUTS"], key, False), *remedy_stages(problem, plan, ("plain",), key, False)]
        for name, _, action in todo:
            if name in ("NUTS", "NUTS on the quotient"):
                with pytest.raises(InputError, match="enough"):
                    action()
        assert counts == expected
        counts.clear()
    with pytest.raises(InputError, match="nuts_draws"):
        make_plan(problem, nuts_draws=2)


def test_a_remedy_that_does_not_apply_is_no_run_but_a_reason(monkeypatch):
    def refused():
        raise InputError("there is no symmetry")

    told = {}

    def measure(problem, plan, comparison, stages):
        assert next(stage.seconds for stage in stages if stage.name == "SGD") >= 0
        told.update({stage.name: stage.skipped for stage in stages if stage.skipped})
        return ()

    runs = [("SGD", "", lambda: "draws"), ("Laplace", "", refused)]
    monkeypatch.setattr(conduct, "stages", lambda *args: runs)
    monkeypatch.setattr(conduct, "remedy_stages", lambda *args: [("gauge noise", "", refused)])
    monkeypatch.setattr(conduct, "compare", lambda *args, **kwargs: None)
    monkeypatch.setattr(conduct, "recommend", lambda comparison, rows: comparison)
    monkeypatch.setattr(conduct, "measure_remedies", measure)
    result = run("small-n", remedies=True, num_steps=10)
    assert [stage.name for stage in result.context.stages] == ["SGD"]
    assert told == dict.fromkeys(("Laplace", "gauge noise"), "there is no symmetry")
    asked = run("small-n", remedies=True, num_steps=10, references=("Laplace",))
    assert [stage.name for stage in asked.context.stages] == ["SGD", "Laplace"]  # who names it is told in every table
