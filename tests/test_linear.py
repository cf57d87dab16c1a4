"""The scalings between a NumPyro model and the theory's (v x - y)^2 + gamma |theta|^2."""

import jax
import numpy as np
import numpyro
import pytest

import sgdvi
from sgdvi import InputError, Known, LinearNetwork, critical_temperature, linear_problem, stationary_law
from sgdvi.diagnostics.facts import Facts

RNG = np.random.default_rng(0)
X = RNG.normal(size=40)
Y = 0.7 * X + 0.5 * RNG.normal(size=40)


@pytest.mark.parametrize("depth", [0, 1, 3])
@pytest.mark.parametrize("width", [1, 4])
def test_loss_of_the_model_is_the_theorys_up_to_a_constant(depth, width, x64):
    """Negative log joint / N = kappa [ (1/N) sum (v x - y)^2 + gamma |theta|^2 ] + constant."""
    network = LinearNetwork(X, Y, depth, width, noise_sd=0.6, prior_sd=1.7)

    def both(seed):
        rng = np.random.default_rng(seed)
        shape = () if width == 1 else (width,)
        params = {site: rng.normal(size=shape) for site in network.sites}
        joint, _ = numpyro.infer.util.log_density(network.model, (X, Y), {}, params)
        v = np.sum(np.prod(list(params.values()), axis=0))
        size = sum(np.sum(value**2) for value in params.values())
        return -joint / 40, network.kappa * (np.mean((v * X - Y) ** 2) + network.weight_decay * size)

    model, theory = np.array([both(seed) for seed in range(4)]).T
    np.testing.assert_allclose(np.diff(model), np.diff(theory), rtol=1e-10)


def test_temperature_and_rate_are_inverse():
    network = LinearNetwork(X, Y, noise_sd=0.6)
    assert network.temperature(0.1, 4) == pytest.approx(0.1 / (2 * 0.36) / 4)
    assert network.temperature(0.1, 4, replace=False) == pytest.approx(0.1 / (2 * 0.36) / 4 * 36 / 39)
    for replace in (True, False):
        rate = network.learning_rate(0.03, 5, replace)
        assert network.temperature(rate, 5, replace) == pytest.approx(0.03)
    # as it is written into the Python call that makes a report again
    assert type(network.learning_rate("1.2Tc", 1)) is float
    assert network.flow_learning_rate(0.1) == pytest.approx(0.1 / 0.72)
    with pytest.raises(InputError, match="no noise"):
        network.learning_rate(0.03, 40, replace=False)
    with pytest.raises(InputError, match="at most N = 40; got 41"):
        network.temperature(0.1, 41, replace=False)


def test_law_has_the_priors_decay_at_depth_one_and_none_deeper():
    shallow, deep = (LinearNetwork(X, Y, depth, noise_sd=0.6, prior_sd=0.5) for depth in (1, 2))
    decay = 0.36 / (40 * 0.25)
    assert shallow.weight_decay == deep.weight_decay == pytest.approx(decay)
    want = stationary_law(shallow.moments, 0.05, weight_decay=decay)
    assert shallow.law(0.05).log_prob(0.6) == want.log_prob(0.6)
    assert shallow.critical_temperature == pytest.approx(critical_temperature(shallow.moments, 1, decay))
    assert deep.law(0.05).log_prob(0.6) == stationary_law(deep.moments, 0.05, depth=2).log_prob(0.6)
    assert np.isinf(deep.critical_temperature)


def test_law_from_a_start():
    network = LinearNetwork(X, Y, 1, width=2, noise_sd=0.6, prior_sd=np.inf)
    side = np.sign(network.moments.beta2)
    assert network.law(0.05, [[0.5, 0.4], [side * 0.5, -side * 0.4]]).zero_mass == 0
    assert network.law(0.05, [[0.5, 0.4], [-side * 0.5, -side * 0.4]]).zero_mass == 1


def test_what_makes_a_posterior_proper():
    assert LinearNetwork(X, Y, 1, noise_sd=0.6).proper_posterior
    assert not LinearNetwork(X, Y, 1, noise_sd=0.6, prior_sd=np.inf).proper_posterior
    assert LinearNetwork(X, Y, 0, noise_sd=0.6, prior_sd=np.inf).proper_posterior
    assert not LinearNetwork(X, Y, 0, 2, noise_sd=0.6, prior_sd=np.inf).proper_posterior


def test_problem_is_made_again_with_other_options():
    problem = linear_problem("mine", X, Y, noise_sd=0.6)
    other = problem.with_options(depth=2, width=3)
    assert problem.with_options(depth=1) is problem
    assert (other.exact.depth, other.exact.width, other.exact.noise_sd) == (2, 3, 0.6)
    assert other.dims == {"u0": ["unit"], "u1": ["unit"], "u2": ["unit"]}
    with pytest.raises(InputError, match="has no option 'colour'.*Its options: depth, width, prior_sd"):
        problem.with_options(colour=1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"x": [1.0, np.nan, 2.0]}, "x must be finite"),
        ({"x": np.ones(40)}, "x must vary"),
        ({"y": Y[:5]}, "same length"),
        ({"depth": -1}, "depth"),
        ({"width": 0}, "width"),
        ({"noise_sd": 0.0}, "noise_sd"),
        ({"prior_sd": -1.0}, "prior_sd"),
    ],
)
def test_bad_input(changes, words):
    with pytest.raises(InputError, match=words):
        LinearNetwork(**{"x": X, "y": Y, "noise_sd": 0.6, **changes})


def test_flat_prior_samples_nothing_but_scores():
    network = LinearNetwork(X, Y, noise_sd=0.6, prior_sd=np.inf)
    params = {"u": 0.7, "w": 1.0}
    joint, _ = numpyro.infer.util.log_density(network.model, (X, Y), {}, params)
    assert np.isfinite(joint)
    assert jax.numpy.ones(1).dtype == jax.numpy.float32


@pytest.mark.parametrize("depth", [1, 2])
def test_without_a_slope_all_agree_that_sgd_collapses(depth: int) -> None:
    x, y = np.array([1.0, -1.0, 2.0, -2.0]), np.array([1.0, 1.0, 0.5, 0.5])
    network = LinearNetwork(x, y, depth)
    assert float(network.moments.beta2) == 0
    assert (network.side, network.critical_temperature, float(network.law(0.01).zero_mass)) == (1, 0, 1)
    assert Facts(Known(network, 0.01, 1)).collapsed
    for ask in (lambda: network.branch_law(0.01), lambda: sgdvi.variational.tune(network)):
        with pytest.raises(InputError, match="a law"):
            ask()
