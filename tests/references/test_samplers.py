"""NUTS and variational inference against the exact posterior."""

import jax
import numpy as np
import pytest
from scipy import stats

from sgdvi import InputError, Problem, zoo
from sgdvi._internal.pareto import pareto_shape
from sgdvi.draws import config, functional
from sgdvi.samplers.references import line_posterior, nuts, variational


@pytest.fixture(scope="module")
def problem() -> Problem:
    return zoo.load("small-n")


@pytest.mark.slow
def test_nuts_draws_from_the_exact_posterior(problem: Problem, key: jax.Array, x64: None) -> None:
    assert problem.exact is not None
    tree = nuts(problem, key, num_warmup=300, num_samples=1000, num_chains=4)
    v = functional(tree, problem.functionals["v"])
    assert v.shape == (4, 1000)
    # thinned: the test assumes independent draws
    assert stats.kstest(v[:, ::5].ravel(), line_posterior(problem.exact).cdf).pvalue > 1e-3
    statistics = set(tree["sample_stats"].data_vars)
    assert {"energy", "diverging", "tree_depth", "reached_max_treedepth", "acceptance_rate"} <= statistics
    assert tree["posterior"]["u"].dtype == np.float64
    assert tree["posterior"].attrs["kind"] == "nuts"
    assert config(tree)["num_warmup"] == 300


def test_variational_is_the_posterior_where_that_is_gaussian(problem: Problem, key: jax.Array) -> None:
    gaussian = problem.with_options(depth=0)
    assert gaussian.exact is not None
    law = line_posterior(gaussian.exact)
    tree = variational(gaussian, key, num_steps=2000, num_samples=4000)
    v = functional(tree, gaussian.functionals["v"])
    assert v.shape == (1, 4000)
    assert v.mean() == pytest.approx(law.mean, abs=4 * law.variance**0.5 / 4000**0.5 + 0.01)
    assert v.std() == pytest.approx(law.variance**0.5, rel=0.06)
    attrs, settings = tree["posterior"].attrs, config(tree)
    assert attrs["independent"] == 1
    assert attrs["kind"] == "vi"
    assert settings["family"] == "mean-field"
    assert settings["khat"] < 0.5
    assert attrs["converged"] == 1
    assert settings["gradient"] < 1e-5
    assert settings["disagreement"] < 0.1
    assert settings["elbo_block"] == 1
    # the bound is the log evidence where the fit is exact
    x, y = gaussian.data
    evidence = stats.multivariate_normal(cov=0.95**2 * np.eye(len(x)) + np.outer(x, x)).logpdf(y)
    assert settings["elbo"][-1] == pytest.approx(evidence, abs=1e-3)


def test_improper_posteriors_are_refused(problem: Problem, key: jax.Array) -> None:
    flat = problem.with_options(prior_sd=np.inf)
    for run in (nuts, variational):
        with pytest.raises(InputError, match="prior must be proper.*Give prior_sd"):
            run(flat, key)


def test_bad_settings_are_refused(problem: Problem, key: jax.Array) -> None:
    with pytest.raises(InputError, match="family must be one of mean-field, full-rank, laplace, .*; got 'flow'"):
        variational(problem, key, family="flow")
    with pytest.raises(InputError, match="num_samples must be a whole number"):
        nuts(problem, key, num_samples=0)
    with pytest.raises(InputError, match="target_acceptance must be a number between 0 and 1; got 1.0"):
        nuts(problem, key, target_acceptance=1.0)
    with pytest.raises(InputError, match="num_steps must be a whole number"):
        variational(problem, key, num_steps=0)


def test_pareto_shape_is_that_of_the_largest_weights() -> None:
    # exp(k E) with E exponential is Pareto with shape k
    log_weights = 0.6 * np.random.default_rng(0).exponential(size=20_000)
    assert pareto_shape(log_weights) == pytest.approx(0.6, abs=0.1)
    assert pareto_shape(np.zeros(1000) + 1e-3 * np.sin(np.arange(1000.0))) < 0.5
