"""SGD with matrices: each flavour against its target on a Gaussian model, and completed SGD against real posteriors."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import scipy.special
import xarray as xr

import sgdvi
from sgdvi.laws.near_minimum import NearMinimum
from sgdvi.samplers.recipes import FLAVOURS

N = 60
RNG = np.random.default_rng(4)
X = np.stack([np.ones(N), 5 + RNG.normal(size=N)], 1)  # correlated coefficients: condition 700
Y = X @ [0.7, -0.4] + RNG.normal(size=N) * 0.8
SD = 0.9
CHAINS = 20_000


def line(x: Any, y: Any = None) -> None:
    theta = numpyro.sample("theta", dist.Normal(0, 10).expand([2]).to_event(1))
    with numpyro.plate("data", len(x)):
        numpyro.sample("y", dist.Normal(x @ theta, SD), obs=y)


PRECISION = X.T @ X / SD**2 + np.eye(2) / 100
MEAN, COVARIANCE = np.linalg.solve(PRECISION, X.T @ Y / SD**2), np.linalg.inv(PRECISION)


@pytest.fixture(scope="module")
def near() -> sgdvi.LocalQuadratic:
    return sgdvi.local_quadratic(line, (X, Y))


def moments(
    sampler: sgdvi.Sampler, steps: int, chains: int = CHAINS, **options: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Covariance of many chains after some steps, in units of the posterior's; its error; the error of the mean."""
    tree = sgdvi.sample(
        sampler, (X, Y), key=jax.random.key(1), num_steps=1, num_warmup=steps - 1, num_chains=chains, progress=False,
        **options,
    )  # fmt: skip
    white = (tree["posterior"]["theta"].values[:, 0] - MEAN) @ np.linalg.cholesky(PRECISION)
    products = white[:, :, None] * white[:, None, :]
    return products.mean(0), 5 * products.std(0) / chains**0.5, np.abs(white.mean(0)) * chains**0.5


def test_completed_sgd_is_the_posterior_at_a_large_rate(near: sgdvi.LocalQuadratic) -> None:
    sampler = sgdvi.CompletedSGD(line, 20, learning_rate=0.3, near=near)
    got, error, off = moments(sampler, 40)
    assert (np.abs(got - np.eye(2)) < error).all(), got
    assert (off < 4).all()
    # the test has power: the noise that half the batch would lack, and that of continuous time, are refused
    own = 0.3**2 * 3 / (1 - 0.7**2)
    assert own > 3 * error.max()
    assert 0.6 / (1 - 0.7**2) - 1 > error.max()


def test_chains_start_in_the_law_that_they_have(near: sgdvi.LocalQuadratic) -> None:
    sampler = sgdvi.CompletedSGD(line, 20, learning_rate=1e-6, near=near)
    got, error, _ = moments(sampler, 1)
    assert (np.abs(got - np.eye(2)) < error).all(), got
    keys = jax.random.split(jax.random.key(0), CHAINS)
    state = sampler.init(keys, 0, None, (X, Y), {})
    white = (np.asarray(state.z["theta"]) - MEAN) @ np.linalg.cholesky(PRECISION)
    np.testing.assert_allclose(np.cov(white.T), np.eye(2), atol=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("cls", [sgdvi.ScaledSGD, sgdvi.WhitenedSGD, sgdvi.MandtSGD, sgdvi.CompletedSGD])
def test_every_flavour_has_the_law_that_is_predicted(cls: Any, near: sgdvi.LocalQuadratic) -> None:
    sampler = cls(line, near=near)
    got, error, _ = moments(sampler, 60)
    factor = np.linalg.cholesky(PRECISION)
    want = factor.T @ sampler.law.covariance @ factor
    assert (np.abs(got - want) < error).all(), (got, want)
    if cls in (sgdvi.MandtSGD, sgdvi.CompletedSGD):
        assert (np.abs(want - np.eye(2)) < 1e-6).all()


@pytest.mark.slow
def test_preconditioned_sgld_forgets_a_start_in_the_steps_of_its_rate() -> None:
    """Condition 700 and a rate of 0.1 on L: 50 steps are enough with the curvature, and not without."""
    rate = 0.1
    begin = {"theta": MEAN + 20 * np.linalg.eigh(COVARIANCE)[1][:, -1] * np.linalg.eigvalsh(COVARIANCE)[-1] ** 0.5}
    sampler = sgdvi.SGLD(line, rate, 60, preconditioner="curvature")
    got, error, _ = moments(sampler, 120, 4000, init=begin)
    share = 2 / (2 - rate) + rate / (2 - rate)  # N = S: own noise adds as much as one row's over N
    assert np.abs(np.diag(got) - share).max() < 0.1, got
    given = sgdvi.SGLD(line, rate, 60, preconditioner=60 * COVARIANCE)
    other, its_error, _ = moments(given, 120, 4000, init=begin)
    assert (np.abs(other - got) < np.hypot(error, its_error)).all(), other  # 5 standard errors of the difference
    # the test has power: a diagonal that is stable leaves more than 3 of the 20 sd
    diagonal = np.diag(np.diag(60 * COVARIANCE)) / 700
    kept = np.linalg.matrix_power(np.eye(2) - rate * diagonal @ PRECISION / 60, 120) @ (begin["theta"] - MEAN)
    assert np.linalg.norm(kept @ np.linalg.cholesky(PRECISION)) > 3


def test_the_mean_of_a_skewed_law_is_not_its_mode() -> None:
    """Exponential likelihood: z = log rate has E z = digamma(a) - log b and its mode at log(a / b)."""
    y = RNG.exponential(size=30)

    def model(y: Any) -> None:
        rate = numpyro.sample("rate", dist.Gamma(2.0, 1.0))
        with numpyro.plate("data", len(y)):
            numpyro.sample("y", dist.Exponential(rate), obs=y)

    near = sgdvi.local_quadratic(model, y)
    a = 32.0
    assert float(near.laplace.shift[0]) == pytest.approx(scipy.special.digamma(a) - np.log(a), rel=0.02)
    assert float(near.laplace.sd[0]) == pytest.approx(a**-0.5, rel=1e-6)


def test_the_completion_makes_the_posterior_of_any_matrix() -> None:
    hessian = np.cov(RNG.normal(size=(50, 3)) @ np.diag([1, 3, 100.0]), rowvar=False)
    rows = np.einsum("ni,nj->nij", *(2 * [RNG.normal(size=(80, 3)) @ np.linalg.cholesky(hessian).T]))
    near = NearMinimum(rows.mean(0), 1.3 * rows.mean(0) + 0.2 * hessian, 80, rows)
    for step in (0.02 * near.num_data * near.laplace, np.diag(0.02 / np.diag(near.hessian))):
        noise = near.completion(step, 1 / 8)
        np.testing.assert_allclose(near.covariance(step, 1 / 8, noise), near.laplace, rtol=1e-7)
        assert near.covariance(2 * near.limit(step, 1 / 8) * step, 1 / 8) is None


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_laws_of_large_models_and_constant_noise_are_near_those_of_small(flavour: str, near: Any) -> None:
    exact = near.near
    rough = NearMinimum(exact.hessian, exact.noise, exact.num_data)
    recipe = near.recipe(flavour)
    law = rough.covariance(recipe.step, 1 / recipe.batch_size, recipe.injected)
    assert law is not None
    np.testing.assert_allclose(np.diag(law), np.diag(near.law(recipe).covariance), rtol=0.15)


def test_under_numpyro_and_by_keyword() -> None:
    mcmc = numpyro.infer.MCMC(
        sgdvi.CompletedSGD(line), num_warmup=0, num_samples=200, num_chains=2, chain_method="vectorized",
        progress_bar=False,
    )  # fmt: skip
    mcmc.run(jax.random.key(0), X, y=Y)
    assert mcmc.get_samples()["theta"].shape == (400, 2)


def test_what_is_refused(near: sgdvi.LocalQuadratic) -> None:
    with pytest.raises(sgdvi.InputError, match="learning_rate must be at most 0.574"):
        sgdvi.CompletedSGD(line, 20, learning_rate=0.9, near=near).prepare(((X, Y), {}))
    with pytest.raises(sgdvi.InputError, match="batching must be"):
        sgdvi.MandtSGD(line, batching="epochs")
    with pytest.raises(sgdvi.InputError, match="must see them first"):
        _ = sgdvi.MandtSGD(line).near
    with pytest.raises(sgdvi.InputError, match="near must be"):
        sgdvi.MandtSGD(line, near=3)
    with pytest.raises(sgdvi.InputError, match="preconditioner must be"):
        sgdvi.SGLD(line, 0.1, preconditioner=[1.0, -1.0])
    with pytest.raises(sgdvi.InputError, match='must be "curvature"'):
        sgdvi.SGLD(line, 0.1, preconditioner="hessian")


@pytest.mark.slow
@pytest.mark.parametrize("flavour", ["completed", "sgld"])
def test_diagonals_of_a_large_model_come_near_its_posterior(monkeypatch: pytest.MonkeyPatch, flavour: str) -> None:
    """Coefficients with correlation -0.5: the diagonals are right for completed SGD, and not for one rate each."""
    monkeypatch.setattr("sgdvi.samplers.quadratic.LARGEST", 1)
    x = X - [0.0, 4.4]
    precision = x.T @ x / SD**2 + np.eye(2) / 100
    factor = np.linalg.cholesky(precision)

    def variances(sampler: sgdvi.Sampler) -> np.ndarray:
        tree = sgdvi.sample(
            sampler, (x, Y), key=jax.random.key(1), num_steps=1, num_warmup=1500, num_chains=4000, progress=False
        )
        return np.cov(tree["posterior"]["theta"].values[:, 0] @ factor, rowvar=False)

    if flavour == "sgld":
        got = variances(sgdvi.SGLD(line, 0.01, 4, preconditioner="curvature"))
        assert np.abs(got - np.eye(2)).max() < 0.2, got
        return
    completed = sgdvi.CompletedSGD(line, 4)
    got = variances(completed)
    assert completed.recipe.step.shape == (2,)
    assert np.abs(got - np.eye(2)).max() < 0.15, got
    with pytest.raises(sgdvi.InputError, match="steepest direction stable"):
        sgdvi.WhitenedSGD(line, learning_rate=5.0).prepare(((x, Y), {}))


def shared() -> Path | None:
    """Folder of real posteriors beside the repository, if there is one."""
    for folder in Path(__file__).parents:
        if (folder / "shared" / "posteriordb").is_dir():
            return folder / "shared" / "posteriordb"
    return None


@pytest.mark.slow
@pytest.mark.skipif(shared() is None, reason="the real posteriors are not part of the repository")
@pytest.mark.parametrize(("name", "low", "high"), [("kidscore_momiq", 0.9, 1.1), ("logmesquite_logvolume", 0.85, 1.1)])
def test_completed_sgd_is_a_real_posterior(name: str, low: float, high: float) -> None:
    folder = shared()
    assert folder is not None
    problem = sgdvi.zoo.load(str(folder / f"{name}.py"))
    tree = sgdvi.sample(
        sgdvi.CompletedSGD(problem.model), problem.data, key=jax.random.key(0), num_steps=20_000, num_chains=8,
        thinning=10, progress=False,
    )  # fmt: skip
    reference = xr.open_dataset(folder / "refs" / f"{name}.nc", group="posterior")
    levels = (np.arange(4000) + 0.5) / 4000
    for label, functional in problem.functionals.items():
        got, want = (np.ravel(functional(ds)).astype(float) for ds in (tree["posterior"].to_dataset(), reference))
        assert np.abs(np.quantile(got, levels) - np.quantile(want, levels)).mean() < 0.1 * want.std(), label
        assert low < got.std() / want.std() < high, label
