"""The remedies of a run: measured on its own draws, recommended, not applicable where nothing is known."""

from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

from sgdvi import Comparison, InputError, Known, Problem, compare, zoo
from sgdvi.diagnostics.findings import Status
from sgdvi.draws import make_tree
from sgdvi.experiment.descent import QUOTIENT, find_orbits, on_quotient, with_noise
from sgdvi.experiment.plan import make_plan
from sgdvi.experiment.remedies import NOTHING, measure_remedies, recommend
from sgdvi.report import Context, Instead, Stage, render_page
from sgdvi.samplers.references import line_posterior


@cache
def case(name: str, heat: float) -> tuple[Any, Any, Comparison, tuple[Instead, ...]]:
    """Draws of the law itself at ``heat`` times the default temperature, and independent ones of the posterior."""
    problem = zoo.load(name, depth=0)
    net = problem.exact
    assert net is not None
    plan = make_plan(problem, temperature=heat * float(make_plan(problem).temperature or 0.0))
    key = jax.random.key(3)
    with jax.enable_x64(True):
        draws = np.asarray(net.law(plan.temperature or 0.0).sample(key, (4, 300)))
    truth = line_posterior(net).sample(jax.random.fold_in(key, 1), (4, 300))
    known = Known(net, plan.learning_rate, plan.batch_size, num_steps=300)
    runs = {"SGD": {"u": draws}, "NUTS": {"u": truth}}
    found = compare(runs, functionals=problem.functionals, known=known)
    return problem, plan, found, measure_remedies(problem, plan, found)


def test_a_run_that_is_too_hot_is_told_to_tune_and_by_how_much() -> None:
    _, _, found, rows = case("diabetes", 4.0)
    by_name = {row.name: row for row in rows}
    before, tuned, weighted = by_name[NOTHING], by_name["tune the temperature"], by_name["reweight"]
    assert before.ks is not None and tuned.ks is not None and weighted.ks is not None  # noqa: PT018
    # twice as wide as the posterior: the Kolmogorov distance of two such Gaussians is 0.161
    assert before.ks == pytest.approx(0.161, abs=0.06)
    assert tuned.ks < 0.005
    # the weights are for the draws themselves: within what so many effective draws show
    assert weighted.ks < float(weighted.ks_null or 0.0) < 0.5 * before.ks
    assert (before.status, tuned.status, weighted.status) == (Status.FAIL, Status.PASS, Status.PASS)
    assert [row.name for row in rows if row.recommended] == ["tune the temperature"]
    assert by_name["restore signs"].status == Status.NOT_APPLICABLE
    assert found.verdict.status is Status.FAIL
    told = recommend(found, rows).verdict
    assert told.changes[0].startswith("Recommended: tune the temperature (KS 0.1")
    assert told.changes[1:] == found.verdict.changes
    page = render_page(replace(found, verdict=told), Context(remedies=rows))
    # the first thing to do, above the table of what was measured and all checks
    assert page.index("Recommended: tune") < page.index('id="instead"') < page.index('id="check-')
    assert "What to do instead" in page
    assert "tune the temperature (recommended)" in page
    assert Context.from_dict(Context(remedies=rows).to_dict()).remedies == rows


@pytest.mark.slow
def test_a_run_that_is_near_is_left_alone() -> None:
    _, _, found, rows = case("diabetes", 1.0)
    assert [row.name for row in rows if row.recommended] == [NOTHING]
    assert recommend(found, rows) is found


def test_without_laws_only_runs_are_measured() -> None:
    problem, plan, _, _ = case("diabetes", 4.0)
    rng = np.random.default_rng(0)
    runs = {name: {"u": rng.normal(0, sd, (4, 500))} for name, sd in (("SGD", 2.0), ("NUTS", 1.0), ("Laplace", 1.0))}
    found = compare(runs, functionals=problem.functionals)
    bare = zoo.load("logistic")
    stages = [Stage(QUOTIENT, skipped="there is no symmetry"), Stage("full-rank VI", skipped="was not asked for")]
    stages += [Stage("NUTS", 9.0), Stage("Laplace", 2.0), Stage("SGD", 1.0)]
    rows = measure_remedies(bare, plan, found, stages)
    by_name = {row.name: row for row in rows}
    for name in ("tune the temperature", "reweight", "restore signs"):
        assert by_name[name].status == Status.NOT_APPLICABLE
        assert by_name[name].ks is None
    assert by_name["Laplace"].ks is not None
    assert (by_name[QUOTIENT].status, by_name[QUOTIENT].meaning) == (Status.NOT_APPLICABLE, "There is no symmetry")
    assert "full-rank VI" not in by_name
    assert [row.name for row in rows if row.recommended] == ["Laplace"]
    assert [by_name[name].seconds for name in (NOTHING, "reweight", "Laplace", "NUTS")] == [1.0, None, 2.0, 9.0]
    # the reference is never recommended against itself, however quick it was
    assert by_name["NUTS"].ks is None
    assert "The reference" in by_name["NUTS"].meaning
    slower = measure_remedies(bare, plan, found, [*stages, Stage("Laplace", 10.0)])
    assert [row.name for row in slower if row.recommended] == ["Laplace"]
    # the quickest of those that are near
    runs["completed SGD"] = {"u": rng.normal(0, 1.0, (4, 500))}
    more = measure_remedies(
        bare, plan, compare(runs, functionals=problem.functionals), [*stages, Stage("Laplace", 10.0)]
    )
    assert [row.name for row in more if row.recommended] == ["completed SGD"]
    # it is measured, and may be recommended, where something else stands for the posterior
    runs = {"SGD": runs["SGD"], "NUTS": runs["NUTS"], "Stan": {"u": rng.normal(0, 1.0, (4, 500))}}
    other = measure_remedies(bare, plan, compare(runs, "Stan", problem.functionals), stages)
    nuts = next(row for row in other if row.name == "NUTS")
    assert nuts.ks is not None
    assert nuts.ks > 0
    assert nuts.recommended
    # not one that diverges: 100 of 2000 draws
    statistics = {"diverging": np.arange(2000).reshape(4, 500) % 20 == 0}
    runs["NUTS"] = make_tree(runs["NUTS"], kind="nuts", sample_stats=statistics)
    diverging = measure_remedies(bare, plan, compare(runs, "Stan", problem.functionals), stages)
    assert not any(row.recommended for row in diverging)


def test_where_nothing_is_near_the_draws_of_the_reference_are_named() -> None:
    rng = np.random.default_rng(0)
    runs = {name: {"u": rng.normal(0, sd, (4, 500))} for name, sd in (("SGD", 2.0), ("NUTS", 1.0), ("Laplace", 3.0))}
    problem, plan, _, _ = case("diabetes", 4.0)
    found = compare(runs, functionals=problem.functionals)
    rows = measure_remedies(zoo.load("logistic"), plan, found)
    assert not any(row.recommended for row in rows)
    assert recommend(found, rows).verdict.changes[-1].endswith("use the draws of NUTS themselves.")
    unknown = (*rows, replace(rows[0], status="unknown"))
    assert recommend(found, unknown).verdict.changes[-1].startswith("Too few effective draws")


def test_plain_sgd_that_was_not_run_is_a_row_with_the_reason() -> None:
    rng = np.random.default_rng(0)
    runs = {name: {"u": rng.normal(0, 1.0, (4, 500))} for name in ("completed SGD", "NUTS")}
    problem, plan, _, _ = case("diabetes", 4.0)
    found = compare(runs, functionals=problem.functionals)
    rows = measure_remedies(zoo.load("logistic"), plan, found, [Stage("SGD", skipped="plain SGD needs 1e9 steps")])
    assert (rows[0].name, rows[0].ks, rows[0].meaning) == (NOTHING, None, "Plain SGD needs 1e9 steps")
    assert [row.name for row in rows if row.recommended] == ["completed SGD"]


def test_orbits_are_refilled_only_where_the_prior_on_them_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def model(x: Any) -> None:
        numpyro.sample("u", dist.Normal(0, 1).expand([2]).to_event(1))
        numpyro.sample("w", dist.Normal(0, 2))
        numpyro.sample("z", dist.Laplace(0, 1))
        numpyro.sample("m", dist.Normal(1, 1))

    problem, key = Problem("scaled", model, (np.ones(3),), {}), jax.random.key(0)

    def moving(*labels: str) -> Any:
        return (SimpleNamespace(groups=[SimpleNamespace(label=label) for label in labels]),)

    for labels, got in ((("u", "w"), "must have one sd.*; got 1, 2"), (("u", "z"), "Laplace"), (("m", "u"), "N.1")):
        with pytest.raises(InputError, match=got):
            on_quotient(problem, moving(*labels), key)
    monkeypatch.setattr("sgdvi.experiment.descent.model_symmetries", lambda *args, **kwargs: [])
    with pytest.raises(InputError, match="must have a rescaling symmetry; got none"):
        find_orbits(problem, key)


@pytest.mark.slow
def test_both_runs_on_the_orbits_have_the_law_that_they_say() -> None:
    problem, key = zoo.load("small-n"), jax.random.key(0)
    posterior = line_posterior(problem.exact)
    with jax.enable_x64(True):
        orbits = find_orbits(problem, key)
        drawn = on_quotient(problem, orbits, key)["posterior"].to_dataset()
        plan = make_plan(problem, num_steps=40_000)
        noisy = with_noise(problem, orbits, plan, key)["posterior"].to_dataset()
    v = (drawn.u * drawn.w).values
    ess = float(numpyro.diagnostics.effective_sample_size(v))
    assert ess > 300
    level = posterior.cdf(v.ravel())
    assert abs(level.mean() - 0.5) < 5 / np.sqrt(12 * ess)
    assert abs((v < 0).mean() - posterior.negative_mass) < 5 * np.sqrt(posterior.negative_mass / ess)
    # the plane is filled, not a line: u alone has the law of w, with both signs
    assert abs((drawn.u > 0).values.mean() - 0.5) < 0.06
    assert np.median(np.abs(np.log(np.abs(drawn.u / drawn.w)))) > 0.3
    # noise along the orbits unlocks the sign that SGD never has
    assert 0.05 < (noisy.u * noisy.w < 0).values.mean() < 0.5
