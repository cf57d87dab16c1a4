"""Every fitted reference on a posterior that is Gaussian and known, and what each refuses."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer import SVI, Trace_ELBO
from numpyro.infer.autoguide import AutoDiagonalNormal

from sgdvi import InputError, Problem, zoo
from sgdvi._internal.bounds import rising
from sgdvi.draws import config
from sgdvi.samplers.references import gaussian, pathfinder, variational, vi
from sgdvi.samplers.references.joint import Joint

DRAWS = 4000


def regression() -> tuple[Problem, np.ndarray, np.ndarray]:
    """Two correlated coefficients: the problem, its posterior mean and covariance."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((60, 2))
    x[:, 1] = 0.8 * x[:, 0] + 0.6 * x[:, 1]
    y = x @ [1.0, -0.5] + rng.standard_normal(60)

    def model(x: np.ndarray, y: np.ndarray | None = None) -> None:
        b = numpyro.sample("b", dist.Normal(0, 1).expand([2]).to_event(1))
        with numpyro.plate("data", len(x)):
            numpyro.sample("y", dist.Normal(x @ b, 1.0), obs=y)

    covariance = np.linalg.inv(x.T @ x + np.eye(2))
    return (
        Problem("regression", model, (x, y), {"b0": lambda d: d["b"][..., 0]}, {"b": ["feature"]}),
        covariance @ x.T @ y,
        covariance,
    )


def errors(draws: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Errors of the mean and covariance of independent Gaussian draws, (n, 2), in their standard errors."""
    sd = np.sqrt(np.diag(covariance))
    spread = np.sqrt((covariance**2 + np.outer(sd, sd) ** 2) / len(draws))
    of_mean = (draws.mean(axis=0) - mean) / sd * np.sqrt(len(draws))
    return np.concatenate([of_mean, ((np.cov(draws.T) - covariance) / spread).ravel()])


def bound(kind: type) -> Any:
    """Return a lower bound as a function of the key."""
    problem = zoo.load("small-n", depth=1)
    guide = AutoDiagonalNormal(problem.model)
    svi = SVI(problem.model, guide, numpyro.optim.Adam(0.1), Trace_ELBO(num_particles=4))
    params = svi.get_params(svi.init(jax.random.key(0), *problem.data))
    return lambda key: kind(num_particles=4).loss(key, params, problem.model, guide, *problem.data)


def test_the_lower_bound_is_that_of_numpyro(x64: None) -> None:
    ours, theirs = (float(jax.jit(bound(kind))(jax.random.key(1))) for kind in (vi._ELBO, Trace_ELBO))
    assert ours == pytest.approx(theirs, rel=1e-12)


def test_steps_are_taken_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    class Steps:
        def init(self, key: jax.Array) -> Any:
            return jax.numpy.array(0)

        def update(self, state: Any) -> Any:
            return state + 1, 10 * state

        def get_params(self, state: Any) -> Any:
            return state

    monkeypatch.setattr(vi, "_PIECES", 3)
    told: list[int] = []
    end, losses = vi._run(Steps(), jax.random.key(1), 7, told.append)  # type: ignore[arg-type]
    assert told == [2, 2, 2, 1]
    assert losses.tolist() == [0, 10, 20, 30, 40, 50, 60]
    assert int(end) == 7


@pytest.mark.slow
def test_steps_in_pieces_are_those_of_numpyro(monkeypatch: pytest.MonkeyPatch, x64: None) -> None:
    _, mean, covariance = regression()
    target = dist.MultivariateNormal(mean, covariance)

    def model() -> None:
        numpyro.sample("b", target)

    svi = SVI(model, AutoDiagonalNormal(model), numpyro.optim.Adam(0.1), Trace_ELBO())
    theirs = svi.run(jax.random.key(1), 7, progress_bar=False)
    monkeypatch.setattr(vi, "_PIECES", 3)
    params, losses = vi._run(svi, jax.random.key(1), 7, lambda steps: None)
    np.testing.assert_allclose(losses, theirs.losses, rtol=1e-12)
    np.testing.assert_allclose(params["auto_loc"], theirs.params["auto_loc"], rtol=1e-12)


@pytest.mark.slow
def test_the_lower_bound_is_the_same_program_in_every_process(tmp_path: Path) -> None:
    code = "import sys; sys.path.insert(0, sys.argv[1]); from test_families import *; "
    code += "print(jax.make_jaxpr(bound(vi._ELBO))(jax.random.key(1)))"
    programs = set()
    for number in "123":
        made = subprocess.run(
            [sys.executable, "-c", code, str(Path(__file__).parent)],
            env=os.environ | {"PYTHONHASHSEED": number},
            cwd=tmp_path,  # away from the checkout, so that the installed package is the one that answers
            capture_output=True,
            text=True,
        )
        assert made.returncode == 0, made.stderr
        programs.add(made.stdout)
    assert len(programs) == 1
    assert "lambda" in programs.pop()


@pytest.mark.parametrize(
    ("family", "num_steps"),
    [
        ("laplace", 1),
        ("full-rank", 100),
        pytest.param("low-rank", 4000, marks=pytest.mark.slow),
        pytest.param("iaf", 2000, marks=pytest.mark.slow),
        pytest.param("bnaf", 2000, marks=pytest.mark.slow),
    ],
)
def test_variational_families_are_exact_on_a_gaussian(family: str, num_steps: int, key: jax.Array, x64: None) -> None:
    problem, mean, covariance = regression()
    tree = variational(problem, key, family, num_steps=num_steps, num_samples=DRAWS)
    assert np.abs(errors(tree["posterior"]["b"].values[0], mean, covariance)).max() < 5
    assert config(tree)["family"] == family
    assert config(tree)["khat"] < 0.7
    assert tree["posterior"].attrs["converged"] == 1
    climbed = "log_joint" if family == "laplace" else "elbo"  # the log joint at a point bounds no evidence
    assert {"elbo", "log_joint"} & set(config(tree)) == {climbed}


def test_mean_field_is_the_closest_product_of_a_correlated_gaussian(
    key: jax.Array, x64: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    problem, mean, covariance = regression()
    tree = variational(problem, key, "mean-field", num_samples=DRAWS)
    # of the independent Gaussians the one with the precision's diagonal
    closest = np.diag(1 / np.diag(np.linalg.inv(covariance)))
    assert np.abs(errors(tree["posterior"]["b"].values[0], mean, closest)).max() < 5
    assert np.abs(errors(tree["posterior"]["b"].values[0], mean, covariance)).max() > 20
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(vi, "_SILENT", 0.0)
    again = variational(problem, key, "mean-field", num_samples=DRAWS, progress=True)
    assert "mean-field fit: " in capsys.readouterr().err
    np.testing.assert_array_equal(tree["posterior"]["b"], again["posterior"]["b"])
    assert tree["posterior"]["b"].dims == ("chain", "draw", "feature")


@pytest.mark.slow
def test_pathfinder_is_exact_on_a_gaussian(key: jax.Array, x64: None) -> None:
    problem, mean, covariance = regression()
    tree = pathfinder(problem, key, num_samples=DRAWS)
    assert np.abs(errors(tree["posterior"]["b"].values[0], mean, covariance)).max() < 5
    assert tree["posterior"].attrs["kind"] == "vi"
    assert tree["posterior"].attrs["independent"] == 1
    # the evidence lower bound is the log evidence where the fit is exact
    x, y = problem.data
    evidence = dist.MultivariateNormal(np.zeros(60), np.eye(60) + x @ x.T).log_prob(y)
    assert config(tree)["elbo"] == pytest.approx(float(evidence), abs=0.05)
    assert config(tree)["khat"] < 0.5


def test_pathfinder_says_what_to_install(key: jax.Array, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "blackjax", None)
    monkeypatch.delitem(sys.modules, "blackjax.vi", raising=False)
    with pytest.raises(InputError, match=r"needs the package blackjax.*pip install 'sgdvi\[blackjax\]'"):
        pathfinder(zoo.load("small-n"), key)


def test_flows_are_refused_in_one_dimension(key: jax.Array) -> None:
    with pytest.raises(InputError, match="at least two parameters.*got 1 in 'small-n'.*full-rank"):
        variational(zoo.load("small-n", depth=0), key, "iaf")


def test_laplace_is_refused_where_the_posterior_is_flat(key: jax.Array) -> None:
    def model(x: np.ndarray, y: np.ndarray | None = None) -> None:
        a, b = (numpyro.sample(name, dist.ImproperUniform(dist.constraints.real, (), ())) for name in "ab")
        with numpyro.plate("data", len(x)):
            numpyro.sample("y", dist.Normal((a + b) * x, 1.0), obs=y)

    x = np.linspace(-1, 1, 20)
    flat = Problem("flat", model, (x, x), {"a": lambda d: d["a"]})
    with pytest.raises(InputError, match="curved in every direction at its mode.*no joint mode was found"):
        variational(flat, key, "laplace")


def scaled(sigma: float) -> Problem:
    """A scale with a posterior that no Gaussian in its logarithm fits at once, far from where fits used to start."""
    y = sigma * np.random.default_rng(5).standard_normal(30)

    def model(y: np.ndarray | None = None) -> None:
        sd = numpyro.sample("sd", dist.HalfCauchy(1.0))
        with numpyro.plate("data", 30):
            numpyro.sample("y", dist.Normal(0.0, sd), obs=y)

    return Problem("scale", model, (y,), {"sd": lambda d: d["sd"]})


def test_a_fit_says_whether_it_has_converged(key: jax.Array, x64: None) -> None:
    problem = scaled(4e5)
    attrs = variational(problem, key)["posterior"].attrs
    assert (attrs["converged"], attrs["convergence"]) == (1, "converged")
    cut = variational(problem, key, num_steps=1)
    assert cut["posterior"].attrs["converged"] == 0
    assert "gradient of the bound" in cut["posterior"].attrs["convergence"]


def test_two_sets_of_draws_must_agree(monkeypatch: pytest.MonkeyPatch, x64: None) -> None:
    problem, _, _ = regression()
    rng = np.random.default_rng(0)
    monkeypatch.setattr(gaussian, "LARGEST_DISAGREEMENT", 1e-9)
    monkeypatch.setattr(gaussian, "_MOST_DRAWS", 1024)
    fit = gaussian.fit_gaussian(Joint(problem), full=True, rng=rng, num_steps=100)
    assert fit.num_draws == 1024  # doubled once
    assert "two sets of 1024 draws differ" in fit.problem


def test_a_search_that_would_read_too_much_is_cut_and_says_so(monkeypatch: pytest.MonkeyPatch, x64: None) -> None:
    problem, _, _ = regression()
    joint, rng = Joint(problem), np.random.default_rng(0)
    draws = gaussian.fit_gaussian(joint, full=True, rng=rng, num_steps=100).num_draws
    monkeypatch.setattr(gaussian, "_LEAST_STEPS", 1)
    monkeypatch.setattr(gaussian, "_MOST_READ", draws * joint.held)
    assert "after 1 step" in gaussian.fit_gaussian(joint, full=True, rng=rng, num_steps=100).problem


def test_a_bound_that_rises_has_not_converged() -> None:
    noise = np.random.default_rng(0).normal(size=1000)
    assert not rising(-3700 + noise)
    assert "still rises" in rising(-3700 + 0.02 * np.arange(1000) + noise)
    # within 3 standard errors, or below a tenth of a nat
    assert not rising(0.0005 * np.arange(1000) + 1e-6 * noise)
    assert not rising(0.002 * np.arange(1000) + 10 * noise)
    assert "not finite" in rising(np.full(1000, np.nan))


@pytest.mark.slow
def test_fits_without_a_mode_start_elsewhere(key: jax.Array, x64: None) -> None:
    y = np.array([28.0, 8, -3, 7, -1, 1, 18, 12])

    def centred(y: np.ndarray | None = None) -> None:
        mu, tau = numpyro.sample("mu", dist.Normal(0, 5)), numpyro.sample("tau", dist.HalfCauchy(5))
        with numpyro.plate("J", 8):
            theta = numpyro.sample("theta", dist.Normal(mu, tau))
            numpyro.sample("y", dist.Normal(theta, 12.0), obs=y)

    problem = Problem("schools", centred, (y,), {"mu": lambda d: d["mu"]})
    assert not Joint(problem).mode.exists
    draws = variational(problem, key)["posterior"]
    assert np.isfinite(draws["mu"]).all()
    assert 1 < float(draws["mu"].mean()) < 8


def test_improper_posteriors_and_bad_settings_are_refused(key: jax.Array) -> None:
    problem = zoo.load("small-n")
    with pytest.raises(InputError, match="prior must be proper"):
        pathfinder(problem.with_options(prior_sd=np.inf), key)
    with pytest.raises(InputError, match="num_samples must be a whole number"):
        pathfinder(problem, key, num_samples=0)
