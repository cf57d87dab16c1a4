"""Hierarchies in all their forms: each gets a right answer, or is told before any run why it gets none."""

from typing import Any

import hierarchies
import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import sgdvi
from sgdvi.diagnostics.findings import Status
from sgdvi.experiment import plan, stages
from sgdvi.experiment.flavours import why_not_plain
from sgdvi.experiment.plan import make_plan, rate_of
from sgdvi.samplers.references import nuts


def drawn(kind: str, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    draws = {"mu": rng.normal(4.4, 3.3, (4, 200)), "tau": np.abs(rng.normal(0, 4, (4, 200)))}
    return sgdvi.draws.make_tree(draws, kind=kind)


@pytest.fixture(scope="module")
def centred() -> tuple[sgdvi.Problem, sgdvi.Forecast | None]:
    """Eight schools as written, and its forecast, which takes seconds."""
    problem = hierarchies.schools("centred")
    with jax.enable_x64(True):
        return problem, plan.forecast_of(problem, 0)


def test_a_centred_hierarchy_is_told_that_sgd_has_no_law_there(centred: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    problem, foreseen = centred
    monkeypatch.setattr(plan, "forecast_of", lambda *args: foreseen)
    monkeypatch.setattr(stages, "descend", lambda *args, **kwargs: pytest.fail("plain SGD ran"))
    monkeypatch.setattr(stages, "nuts", lambda *args, **kwargs: drawn("nuts", 0))
    monkeypatch.setattr(stages, "variational", lambda *args, **kwargs: drawn("vi", 1))
    told: dict[str, str] = {}
    result = sgdvi.run(problem, on_stage=told.__setitem__)
    assert "no joint mode" in told["forecast"]
    assert list(result.runs) == ["NUTS", "mean-field VI", "full-rank VI"]
    verdict = result.verdict
    assert verdict.status is Status.FAIL
    start = "No: plain SGD has no law here: the joint density has no mode, it rises without bound along tau"
    assert verdict.sentence.startswith(start)
    assert "non-centred form, or integrate the latent out (sgdvi.integrate_rows)" in verdict.changes[0]
    assert set(verdict.answers) == {"arrive", "same", "use"}
    assert all(answer.status is Status.FAIL for answer in verdict.answers.values())
    assert set(verdict.uses.values()) == {Status.FAIL}
    # what did run is compared all the same
    assert {finding.run for finding in result.findings} >= {"NUTS", "mean-field VI"}
    assert result.context.skipped["SGD"].startswith("plain SGD has no law here")
    assert "rises without bound" in str(result)
    assert result.foreseen == ()


def test_who_gives_a_rate_gets_plain_sgd_without_a_mode_too(centred: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    problem, foreseen = centred
    monkeypatch.setattr(plan, "forecast_of", lambda *args: foreseen)
    with jax.enable_x64(True):
        bare, given = make_plan(problem), make_plan(problem, learning_rate=1e-3)
    assert why_not_plain(bare)
    with pytest.raises(sgdvi.InputError, match="a learning rate must be given; got none. Give one: no joint mode"):
        rate_of(bare)
    assert not why_not_plain(given)
    assert rate_of(given) == 1e-3


def product(y: Any = None) -> None:
    u, w = (numpyro.sample(name, dist.Normal(0, 1).mask(False)) for name in ("u", "w"))
    with numpyro.plate("data", len(y)):
        numpyro.sample("y", dist.Normal(u * w, 1.0), obs=y)


def test_kinks_and_flat_orbits_are_no_density_without_bound() -> None:
    relu = sgdvi.zoo.load("relu")
    for model, data in ((relu.model, relu.data), (product, (np.arange(5.0),))):
        mode = sgdvi.find_mode(model, data, num_starts=1)
        assert not mode.exists
        assert not mode.unbounded


# tests/test_late_failures.py has the forecast of two values per row in closed form
@pytest.mark.slow
def test_latents_in_the_rows_are_integrated_out_with_a_word() -> None:
    foreseen = sgdvi.forecast(hierarchies.schools("rows"))
    assert "theta, a value per row, is integrated out" in str(foreseen)
    assert foreseen.mode.exists
    assert foreseen["completed"].largest_w1 < 0.1


def test_sgd_itself_is_refused_on_latents_in_the_rows() -> None:
    problem = hierarchies.schools("rows")
    with pytest.raises(sgdvi.InputError, match="integrate_rows"):
        sgdvi.sample(sgdvi.SGD(problem.model, learning_rate=0.1), problem.data, key=jax.random.key(0), num_steps=2)


@pytest.mark.parametrize(
    "problem",
    [
        # the test above has schools, integrated by the forecast
        pytest.param(hierarchies.baseball(integrated=True), marks=pytest.mark.slow),
        pytest.param(hierarchies.radon(centred=True), marks=pytest.mark.slow),
    ],
    ids=lambda problem: problem.name,
)
def test_integrated_rows_and_large_groups_have_a_mode_where_the_mass_is(problem: sgdvi.Problem) -> None:
    foreseen = sgdvi.forecast(problem)
    assert foreseen.mode.exists
    assert foreseen["completed"].largest_w1 < 0.1


@pytest.mark.parametrize(
    "problem",
    [
        pytest.param(hierarchies.schools("non-centred"), marks=pytest.mark.slow),  # tests/test_forecast.py has it
        pytest.param(hierarchies.baseball(integrated=False), marks=pytest.mark.slow),
        pytest.param(hierarchies.radon(centred=False), marks=pytest.mark.slow),
    ],
    ids=lambda problem: problem.name,
)
def test_a_mode_far_from_the_mass_is_said(problem: sgdvi.Problem) -> None:
    foreseen = sgdvi.forecast(problem)
    assert not foreseen.reliable
    assert any("the mode is not where the mass is" in doubt or "parameters on" in doubt for doubt in foreseen.doubts)


@pytest.mark.slow
@pytest.mark.parametrize(
    "problem",
    [hierarchies.schools("integrated"), hierarchies.baseball(integrated=True), hierarchies.radon(centred=True)],
    ids=lambda problem: problem.name,
)
def test_completed_sgd_is_the_posterior_of_them(problem: sgdvi.Problem) -> None:
    key = jax.random.key(0)
    with jax.enable_x64(True):
        truth = nuts(problem, key, num_warmup=1000, num_samples=2000)
        tree = sgdvi.sample(
            sgdvi.CompletedSGD(problem.model), problem.data, key=key, num_steps=40_000, num_chains=8, thinning=20,
            progress=False,
        )  # fmt: skip
    for name, fn in problem.functionals.items():
        mine, other = (np.sort(np.ravel(fn(run["posterior"].to_dataset()))) for run in (tree, truth))
        levels = (np.arange(2000) + 0.5) / 2000
        gap = np.abs(np.quantile(mine, levels) - np.quantile(other, levels)).mean() / other.std()
        assert gap < 0.12, name
        assert mine.std() / other.std() == pytest.approx(1.0, abs=0.15), name
