"""Runs that did not reach the posterior, each with its cause, beside a twin that did; at 1 to 200 parameters."""

from typing import Any

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy import stats
from xarray import DataTree

import sgdvi
from sgdvi import compare
from sgdvi.comparison import Comparison
from sgdvi.diagnostics import Finding, Status
from sgdvi.draws import from_samples, make_tree

CHAINS, DRAWS, ROWS = 8, 300, 100
# 200 takes seconds each
SLOW = [pytest.param(size, marks=pytest.mark.slow) for size in (20, 200)]
SIZES = [4, pytest.param(1, marks=pytest.mark.slow), *SLOW]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def log_joint(b: np.ndarray) -> np.ndarray:
    return -0.5 * (b**2).sum(axis=-1)


def sgd(rng: np.random.Generator, b: np.ndarray, lp: np.ndarray | None = None, **options: Any) -> DataTree:
    """Return a run with the loss of its minibatches, which have noise."""
    lp = log_joint(b) if lp is None else lp
    loss = (3 * rng.normal(size=lp.shape) - lp) / ROWS
    config = {"num_data": ROWS, "learning_rate": 0.1}
    return make_tree({"b": b}, kind="sgd", sample_stats={"loss": loss}, attrs={"config": config}, **options)


def nuts(b: np.ndarray, lp: np.ndarray | None = None) -> DataTree:
    return make_tree({"b": b}, kind="nuts", sample_stats={"lp": log_joint(b) if lp is None else lp})


def normal(rng: np.random.Generator, size: int, chains: int = CHAINS) -> np.ndarray:
    return rng.normal(size=(chains, DRAWS, size))


def judge(run: DataTree, reference: DataTree) -> tuple[Comparison, Finding]:
    result = compare({"SGD": run, "NUTS": reference})
    return result, next(f for f in result.findings if f.check == "arrival.posterior")


def lost(result: tuple[Comparison, Finding], cause: str) -> None:
    comparison, finding = result
    assert finding.status is Status.FAIL, finding.meaning
    assert finding.details["cause"] == cause, finding.meaning
    assert comparison.verdict.status is Status.FAIL
    assert comparison.verdict.sentence.startswith("No: SGD did not reach the posterior: ")
    assert comparison.verdict.answers["arrive"].status is Status.FAIL
    assert comparison.verdict.reasons[0] == finding.meaning.split(" This is the worst")[0]


@pytest.mark.parametrize("size", SIZES)
def test_a_run_that_did_reach_the_posterior(rng: np.random.Generator, size: int) -> None:
    result, finding = judge(sgd(rng, normal(rng, size)), nuts(normal(rng, size, 4)))
    assert finding.status is Status.PASS
    assert abs(finding.details["nats"]) < 5  # ty: ignore
    assert result.verdict.status is Status.PASS, result.verdict.sentence


@pytest.mark.parametrize("size", SIZES)
def test_chains_that_have_not_left_their_starts(rng: np.random.Generator, size: int) -> None:
    starts = 49 * rng.normal(size=(CHAINS, 1, size))
    lost(judge(sgd(rng, starts + 0.01 * normal(rng, size)), nuts(normal(rng, size, 4))), "not moved")
    result, finding = judge(sgd(rng, 49 + 0.01 * normal(rng, size)), nuts(normal(rng, size, 4)))
    lost((result, finding), "not moved")
    assert "no functional of a chain ranges over more than 0.03" in finding.meaning
    # at one place, and as wide as the posterior in one direction: a minor mode
    wide = np.where(np.arange(size) == size - 1, 1.0, 0.01) * normal(rng, size)
    assert judge(sgd(rng, 49 + wide), nuts(normal(rng, size, 4)))[1].details["cause"] == "plateau"


@pytest.mark.parametrize("size", SIZES)
def test_half_of_the_chains_on_a_plateau(rng: np.random.Generator, size: int) -> None:
    b = normal(rng, size)
    lp = log_joint(b)
    b[4:] += 2.5  # near enough for the ranges to meet
    lp[4:] -= 390
    result, finding = judge(sgd(rng, b, lp), nuts(normal(rng, size, 4)))
    lost((result, finding), "plateau")
    assert finding.details["lost"] == 4
    assert "nats less probable" in finding.meaning
    # as probable: another mode, or chains that have not mixed, and no plateau
    modes = judge(sgd(rng, b, log_joint(normal(rng, size))), nuts(normal(rng, size, 4)))[1]
    assert modes.status is Status.PASS


@pytest.mark.parametrize("size", [2, *SLOW])
def test_the_joint_mode_of_a_hierarchy(rng: np.random.Generator, size: int) -> None:
    b, reference = normal(rng, size), normal(rng, size, 4)
    lp = -0.5 * (reference[..., 1:] ** 2).sum(axis=-1)
    reference[..., 0] = 3 + 0.18 * reference[..., 0]
    b[..., 0] = 0.05 * np.exp(0.3 * b[..., 0])  # the scale
    result, finding = judge(sgd(rng, b, -0.5 * (b[..., 1:] ** 2).sum(axis=-1) + 60), nuts(reference, lp))
    lost((result, finding), "joint mode")
    assert "b[0]" in finding.meaning
    assert "60 nats more probable" in finding.meaning or "59." in finding.meaning


@pytest.mark.parametrize("size", SIZES)
def test_chains_on_their_way(rng: np.random.Generator, size: int) -> None:
    way = 60 * np.exp(-np.arange(DRAWS) / DRAWS)[:, None]
    lost(judge(sgd(rng, 0.1 * normal(rng, size) + way), nuts(normal(rng, size, 4))), "on its way")


def test_a_wide_law_is_no_plateau(rng: np.random.Generator) -> None:
    result, finding = judge(sgd(rng, 3 * normal(rng, 5)), nuts(normal(rng, 5, 4)))
    assert finding.status is Status.PASS  # 20 nats less probable, all of it by its width
    assert "its spread is" in result.verdict.sentence


def test_a_level_is_held_against_its_noise(rng: np.random.Generator) -> None:
    b = normal(rng, 3)
    run = sgd(rng, b + 0.5 * (np.arange(CHAINS) > 3)[:, None, None])
    run["sample_stats"]["loss"] += 300 * rng.normal(size=(CHAINS, DRAWS)) / ROWS  # 17 nats in the mean of a chain
    assert judge(run, nuts(normal(rng, 3, 4)))[1].status is Status.PASS


def test_chains_that_overflowed_are_a_no(rng: np.random.Generator) -> None:
    status = {"status": ["ok"] * 4 + ["overflowed"] * 4, "step": [-1] * 4 + [120] * 4}
    result, _ = judge(sgd(rng, normal(rng, 2), chain_status=status), nuts(normal(rng, 2, 4)))
    assert result.verdict.status is Status.FAIL
    assert result.verdict.sentence.startswith("No: SGD diverged. 4 of 8 chains overflowed, the first at step 120.")
    assert not [reason for reason in result.verdict.reasons if "agree" in reason]  # survivors are no reasons
    fine = sgd(rng, normal(rng, 2), chain_status={"status": ["ok"] * 8, "step": [-1] * 8})
    assert judge(fine, nuts(normal(rng, 2, 4)))[0].verdict.status is Status.PASS


@pytest.mark.slow
def test_the_losses_that_are_kept_estimate_the_negative_log_joint_of_nuts() -> None:
    y = np.random.default_rng(0).normal(1.0, 2.0, size=60)

    def model(y: np.ndarray) -> None:
        mean = numpyro.sample("mean", dist.Normal(0, 10))
        sd = numpyro.sample("sd", dist.HalfNormal(5))  # with the Jacobian of its logarithm, in both
        with numpyro.plate("rows", len(y)):
            numpyro.sample("y", dist.Normal(mean, sd), obs=y)

    # Draws of the posterior of (mean, log sd) by rejection, with the log joint that NUTS would keep.
    mean, log_sd = np.random.default_rng(1).uniform((-0.5, 0.1), (2.5, 1.2), size=(200_000, 2)).T
    joint = stats.norm.logpdf(mean, 0, 10) + stats.halfnorm.logpdf(np.exp(log_sd), 0, 5) + log_sd
    joint -= 30 * np.log(2 * np.pi) + 60 * log_sd + 30 * ((y.mean() - mean) ** 2 + y.var()) / np.exp(2 * log_sd)
    accepted = np.flatnonzero(np.log(np.random.default_rng(2).uniform(size=joint.size)) < joint - joint.max())
    places = accepted[:2000].reshape(4, 500)
    draws = {"mean": mean[places], "sd": np.exp(log_sd[places])}
    reference = make_tree(draws, kind="nuts", sample_stats={"lp": joint[places]})
    sampler = sgdvi.SGLD(model, 0.01, batch_size=None)
    steps = {"num_steps": 10_000, "num_warmup": 1_000, "num_chains": 4, "thinning": 20, "progress": False}
    run = sgdvi.sample(sampler, (y,), key=jax.random.key(0), **steps)
    run["posterior"].attrs["kind"] = "sgd"
    finding = judge(run, reference)[1]
    assert finding.status is Status.PASS, finding.meaning
    assert abs(finding.details["nats"]) < 0.5  # ty: ignore  of 130


# --- fits -------------------------------------------------------------------------------------------------------


def fit(rng: np.random.Generator, size: int, shift: float, converged: bool) -> DataTree:
    said = {"converged": converged, "convergence": "converged" if converged else "the bound still rises: by 3.2 nats"}
    config = {"elbo": [-90.0, -60.0, -50.0, -45.0], "num_steps": 5000, "family": "iaf"}
    return from_samples({"b": shift + rng.normal(size=(2000, size))}, kind="vi", config=config, **said)


@pytest.mark.parametrize("size", SIZES)
def test_a_fit_that_has_not_converged_is_not_judged_yet(rng: np.random.Generator, size: int) -> None:
    reference = nuts(normal(rng, size, 4))
    result = compare({"VI": fit(rng, size, 78.0, False), "NUTS": reference})
    assert result.verdict.status is Status.UNKNOWN
    assert "has not converged: the bound still rises" in result.verdict.sentence
    assert "went from -50 to -45 nats" in result.verdict.sentence
    advice = next(change for change in result.verdict.changes if change.startswith("Fit VI for longer"))
    assert (
        "sgdvi.samplers.references.variational(problem, key=jax.random.key(0), family='iaf', num_steps=50000)" in advice
    )
    assert not [f.check for f in result.findings if f.run == "VI" and f.status is Status.FAIL]
    done = compare({"VI": fit(rng, size, 78.0, True), "NUTS": reference})
    assert done.verdict.status is Status.FAIL
    good = compare({"VI": fit(rng, size, 0.0, True), "NUTS": reference})
    assert good.verdict.status is Status.PASS, good.verdict.sentence


def test_a_reference_that_has_not_converged_is_none(rng: np.random.Generator) -> None:
    run = sgd(rng, normal(rng, 2))
    for converged, status in ((False, Status.UNKNOWN), (True, Status.PASS)):
        result = compare({"SGD": run, "VI": fit(rng, 2, 0.0, converged)}, reference="VI")
        assert result.verdict.status is status, result.verdict.sentence
    moving = normal(rng, 2, 4) + np.linspace(0, 2, DRAWS)[:, None]
    result = compare({"SGD": run, "NUTS": nuts(moving)})
    assert "NUTS cannot be relied on" in result.verdict.sentence
