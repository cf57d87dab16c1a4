"""Step-size rules against brute force: SGD itself on linear regression, independent chains."""

import itertools

import numpy as np
import pytest

from sgdvi import InputError, step_size

RNG = np.random.default_rng(1)
N, CHAINS = 100, 20_000
X = RNG.normal(size=(N, 2)) * [1.0, 0.6]
RESIDUAL = RNG.normal(size=N)
RESIDUAL -= X @ np.linalg.lstsq(X, RESIDUAL, rcond=None)[0]
HESSIAN = X.T @ X / N
NOISE = (X * RESIDUAL[:, None] ** 2).T @ X / N
ROWS = X[:, :, None] * X[:, None, :]
SIZES = {"num_data": N, "batch_size": 20}


def simulate(step, batch_size=20, replace=True, seed=0):
    """Final theta - minimum of independent chains, (CHAINS, 2)."""
    rng = np.random.default_rng(seed)
    step = step * np.eye(2) if np.ndim(step) == 0 else step
    slowest = np.linalg.eigvals(step @ HESSIAN).real.min()
    theta = np.zeros((CHAINS, 2))
    for _ in range(int(6 / slowest)):
        if replace:
            rows = rng.integers(N, size=(CHAINS, batch_size))
        else:
            rows = rng.permuted(np.tile(np.arange(N), (CHAINS, 1)), axis=1)[:, :batch_size]
        x = X[rows]
        error = np.einsum("cbd,cd->cb", x, theta) - RESIDUAL[rows]
        theta = theta - np.einsum("cb,cbd->cd", error, x) / batch_size @ step.T
    return theta


def kl(theta):
    """KL to the posterior and its standard error, by the delta method."""
    covariance = np.cov(theta.T)
    ratio = N * HESSIAN @ covariance
    influence = 0.5 * np.einsum("ci,ij,cj->c", theta, N * HESSIAN - np.linalg.inv(covariance), theta)
    return 0.5 * (np.trace(ratio) - 2 - np.linalg.slogdet(ratio)[1]), influence.std() / np.sqrt(CHAINS)


@pytest.mark.slow
@pytest.mark.parametrize(("batch_size", "replace"), [(4, True), (20, True), (20, False)])
def test_covariance_is_that_of_sgd(batch_size, replace):
    want = step_size.discrete_covariance(
        HESSIAN, NOISE, 0.6, num_data=N, batch_size=batch_size, replace=replace, sample_hessians=ROWS
    )
    theta = simulate(0.6, batch_size, replace)
    products = theta[:, :, None] * theta[:, None, :]
    error = products.std(0) / np.sqrt(CHAINS)
    assert np.all(np.abs(products.mean(0) - want) < 5 * error)
    # the test has power: the constant-noise and continuous-time covariances are refused
    constant = step_size.discrete_covariance(HESSIAN, NOISE, 0.6, num_data=N, batch_size=batch_size, replace=replace)
    assert np.any(np.abs(products.mean(0) - constant) > 5 * error)


@pytest.mark.slow
def test_rate_minimises_the_measured_kl():
    rule = step_size.discrete_time(HESSIAN, NOISE, **SIZES, sample_hessians=ROWS)
    factors = np.array([0.7, 0.85, 1.0, 1.18, 1.4])
    measured, error = np.array([kl(simulate(rule.value * factor)) for factor in factors]).T
    assert np.argmin(measured) == 2
    assert abs(measured[2] - rule.kl) < 5 * error[2]
    assert rule.value < step_size.continuous_time(HESSIAN, NOISE, **SIZES).value / 1.1


def test_rate_is_the_best_of_a_fine_grid():
    rule = step_size.discrete_time(HESSIAN, NOISE, **SIZES, sample_hessians=ROWS)

    def exact(rate):
        return step_size.discrete_covariance(HESSIAN, NOISE, rate, **SIZES, sample_hessians=ROWS)

    np.testing.assert_allclose(exact(rule.value), rule.covariance, rtol=1e-10)
    ratios = [N * HESSIAN @ exact(factor * rule.value) for factor in np.linspace(0.5, 1.5, 401)]
    grid = [0.5 * (np.trace(ratio) - 2 - np.linalg.slogdet(ratio)[1]) for ratio in ratios]
    assert rule.kl == pytest.approx(min(grid), rel=1e-4)
    assert rule.kl <= min(grid) + 1e-12


def test_one_rate_per_parameter_is_the_best_of_a_grid():
    rule = step_size.discrete_time(HESSIAN, NOISE, **SIZES, sample_hessians=ROWS, kind="diagonal")
    rates = np.diag(rule.value)
    factors = np.linspace(0.9, 1.1, 21)

    def kl_at(one, other):
        step = np.diag(rates * [one, other])
        ratio = N * HESSIAN @ step_size.discrete_covariance(HESSIAN, NOISE, step, **SIZES, sample_hessians=ROWS)
        return 0.5 * (np.trace(ratio) - 2 - np.linalg.slogdet(ratio)[1])

    grid = np.array([[kl_at(one, other) for other in factors] for one in factors])
    assert np.unravel_index(np.argmin(grid), grid.shape) == (10, 10)
    assert rule.kl == pytest.approx(grid.min(), rel=1e-9)
    scalar = step_size.discrete_time(HESSIAN, NOISE, **SIZES, sample_hessians=ROWS)
    full = step_size.discrete_time(HESSIAN, NOISE, **SIZES, sample_hessians=ROWS, kind="full")
    assert full.kl < rule.kl < scalar.kl


def test_one_rate_per_parameter_in_continuous_time():
    a, c, sizes = np.diag([2.0, 0.3]), np.diag([0.7, 5.0]), {"num_data": 10**6, "batch_size": 1}
    rule = step_size.continuous_time(a, c, **sizes, kind="diagonal")
    np.testing.assert_allclose(np.diag(rule.value), 2 / (10**6 * np.diag(c)))
    assert rule.kl == pytest.approx(0, abs=1e-12)
    best = step_size.discrete_time(a, c, **sizes, kind="diagonal")
    np.testing.assert_allclose(np.diag(best.value), np.diag(rule.value), rtol=1e-4)
    # where the matrices do not commute it solves its Lyapunov equation, and is near the best
    rule = step_size.continuous_time(HESSIAN, NOISE, **SIZES, kind="diagonal")
    drift = rule.value @ HESSIAN
    left = drift @ rule.covariance + rule.covariance @ drift.T
    np.testing.assert_allclose(left, rule.value @ NOISE @ rule.value / 20, rtol=1e-10, atol=1e-16)


@pytest.mark.slow
def test_rates_minimise_the_measured_kl():
    rule = step_size.discrete_time(HESSIAN, NOISE, **SIZES, sample_hessians=ROWS, kind="diagonal")
    scale = [np.diag(f) for f in ([0.7, 1.0], [1.0, 0.7], [1.0, 1.0], [1.4, 1.0], [1.0, 1.4])]
    measured, error = np.array([kl(simulate(rule.value @ factor)) for factor in scale]).T
    assert np.argmin(measured) == 2
    assert abs(measured[2] - rule.kl) < 5 * error[2]


@pytest.mark.parametrize("replace", [True, False])
def test_temperature_counts_the_noise_of_every_batch(replace):
    rows = np.array([0.3, -1.0, 2.0, 0.7])
    batches = itertools.product(rows, repeat=3) if replace else itertools.combinations(rows, 3)
    share = np.var([np.mean(batch) for batch in batches]) / np.var(rows)
    rule = step_size.continuous_time([[1.0]], [[1.0]], num_data=4, batch_size=3, replace=replace)
    assert rule.temperature / rule.value == pytest.approx(share)


def test_matrix_makes_sgd_sample_the_posterior():
    rule = step_size.discrete_time(HESSIAN, NOISE, **SIZES, sample_hessians=ROWS, kind="full")
    got = step_size.discrete_covariance(HESSIAN, NOISE, rule.value, **SIZES, sample_hessians=ROWS)
    np.testing.assert_allclose(got, np.linalg.inv(N * HESSIAN), rtol=1e-10)
    assert rule.kl == pytest.approx(0, abs=1e-12)


def test_one_parameter_by_hand():
    """Sigma = eta c C / (h (2 - eta h)), equal to 1/(N h) at eta = 2 / (N c C + h)."""
    h, c, sizes = 0.8, 1.7, {"num_data": 50, "batch_size": 10}
    covariance = step_size.discrete_covariance([[h]], [[c]], 0.3, **sizes)
    np.testing.assert_allclose(covariance, 0.3 * c / 10 / (h * (2 - 0.3 * h)), rtol=1e-13)
    best = step_size.discrete_time([[h]], [[c]], **sizes)
    assert best.value == pytest.approx(2 / (5 * c + h), rel=1e-6)
    assert best.temperature == pytest.approx(best.value / 10)
    assert step_size.continuous_time([[h]], [[c]], **sizes).value == pytest.approx(2 / (5 * c))


def test_noise_of_the_rows_hessians_is_their_deviation_from_the_mean_by_hand():
    """Sigma = eta c C / (h (2 - eta h) - eta c Var[h_i]): E[h_i Sigma h_i] less h Sigma h."""
    rows = np.array([0.2, 0.5, 1.1, 1.4])[:, None, None]
    h, c, rate, size = float(rows.mean()), 1.7, 0.6, 2
    covariance = step_size.discrete_covariance([[h]], [[c]], rate, num_data=4, batch_size=size, sample_hessians=rows)
    want = rate * c / size / (h * (2 - rate * h) - rate / size * rows.var())
    np.testing.assert_allclose(covariance, want, rtol=1e-8)


def test_continuous_time_is_the_limit_of_small_batches():
    sizes = {"num_data": 10**8, "batch_size": 1}
    for kind in ("scalar", "full"):
        slow = step_size.continuous_time(HESSIAN, NOISE, **sizes, kind=kind)
        exact = step_size.discrete_time(HESSIAN, NOISE, **sizes, kind=kind)
        np.testing.assert_allclose(exact.value, slow.value, rtol=1e-5)
        np.testing.assert_allclose(exact.covariance, slow.covariance, rtol=1e-5, atol=1e-14)
        assert exact.assumptions == slow.assumptions[:2]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"hessian": np.zeros((2, 2))}, "hessian must be positive definite"),
        ({"noise": [[np.nan]]}, "noise must be finite"),
        ({"noise": [[1.0]]}, "one shape"),
        ({"batch_size": N, "replace": False}, "below num_data"),
        ({"kind": "half"}, "kind must be"),
        ({"sample_hessians": 2 * ROWS}, "mean of sample_hessians"),
        ({"sample_hessians": X}, r"must be \(N, D, D\)"),
    ],
)
def test_bad_input(change, text):
    arguments = {"hessian": HESSIAN, "noise": NOISE, **SIZES, **change}
    with pytest.raises(InputError, match=text):
        step_size.discrete_time(**arguments)


def test_step_without_a_covariance_is_refused():
    with pytest.raises(InputError, match="Take a smaller step"):
        step_size.discrete_covariance(HESSIAN, NOISE, 3.0, **SIZES)
