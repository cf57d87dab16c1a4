"""What a person sees of a law and what a person writes: short texts, a picture, "0.5Tc", and which loss is meant."""

import re

import jax
import numpy as np
import pytest
from matplotlib.figure import Figure

import sgdvi
from sgdvi.laws.multiples import parse_temperature

M = sgdvi.Moments.linear(1.0, 1.0)
HALF = sgdvi.Moments.linear(1.0, 1.0, loss="half")
X = np.linspace(-2, 2, 21)
Y = X + np.cos(9 * X)
LAWS = {
    "proper": lambda: sgdvi.SGDStationary(M, 0.1),
    "collapsed": lambda: sgdvi.stationary_law(M, "2Tc"),
    "second order": lambda: sgdvi.SecondOrderLaw(M, "0.5Tc", batch_size=2),
    "infinite": lambda: sgdvi.InfiniteDepthLaw(M, 0.1, ratio=2.0),
    "discrete": lambda: sgdvi.discrete_law(X, Y, learning_rate=0.02),
    "prior": lambda: sgdvi.NormalProduct(1, 1.0),
}


def test_a_law_says_what_matters():
    numbers = "mean 0.8449, sd 0.5013, tail |v|^-3.5, phase IIIb, Tc 0.3333"
    assert repr(LAWS["proper"]()) == f"SGDStationary(temperature=0.1, depth=1): {numbers}"


@pytest.mark.parametrize("name", LAWS)
def test_every_law_is_short_in_a_shell_and_whole_in_a_notebook(name):
    law = LAWS[name]()
    text, page = repr(law), law._repr_html_()
    assert " object at " not in text
    assert len(text) < 200
    assert type(law).__name__ in text
    assert "mean" in text
    assert float(law.std) == pytest.approx(float(law.variance) ** 0.5)
    assert page.count("<div>") == page.count("</div>") == 1
    assert ("data:image/png" in page) == (name != "prior")


def test_a_batch_and_a_traced_law_have_texts_too():
    many = sgdvi.SGDStationary(M, np.array([0.1, 0.2]))
    assert repr(many) == "SGDStationary(temperature=0.1 to 0.2, depth=1): batch shape (2,)"
    assert "data:image" not in many._repr_html_()
    seen = []

    def deviation(heat):
        law = sgdvi.SGDStationary(M, heat)
        seen.append(repr(law))
        return law.std

    assert float(jax.jit(deviation)(0.1)) == pytest.approx(float(LAWS["proper"]().std), rel=1e-5)
    assert seen == ["SGDStationary(temperature=traced, depth=1)"]


def test_a_law_draws_itself():
    ax = Figure().subplots()
    assert LAWS["proper"]().plot("cdf", ax=ax) is ax
    assert ax.get_ylabel() == "P(draw ≤ v)"


def test_moments_and_phase_are_short():
    assert repr(M) == "Moments(alpha1=2, alpha2=2, alpha3=3, beta1=1, beta2=1)"
    assert eval(repr(M), {"Moments": sgdvi.Moments}) == M
    assert "least-squares slope" in M._repr_html_()
    phase = sgdvi.phase(M, "0.5Tc")
    assert phase == "IIb"
    assert repr(phase) == "<Phase IIb: the stationary law is proper, and its density diverges at zero>"
    assert "IIb" in phase._repr_html_()


def test_multiples_of_the_critical_temperature():
    heat = 0.5 * float(sgdvi.critical_temperature(M))
    network = sgdvi.zoo.load("diabetes").exact
    warm = 0.01 * network.critical_temperature
    for given, number in [
        (sgdvi.SGDStationary(M, "0.5Tc").temperature, heat),
        (sgdvi.stationary_law(M, "0.5 Tc").temperature, heat),
        (sgdvi.mode_expansion(M, "0.5Tc"), sgdvi.mode_expansion(M, heat)),
        (sgdvi.fluctuations(M, "0.5Tc").variance, sgdvi.fluctuations(M, heat).variance),
        (network.law("0.01Tc").temperature, warm),
        (network.learning_rate("0.01Tc", 8), network.learning_rate(warm, 8)),
        (sgdvi.kl_to_posterior(network, "0.01Tc").forward, sgdvi.kl_to_posterior(network, warm).forward),
    ]:
        assert float(given) == pytest.approx(float(number))
    law = sgdvi.SecondOrderLaw(M, "0.5Tc", batch_size=4.0)
    assert float(law.temperature) == pytest.approx(0.5 * float(law.critical_temperature))
    assert sgdvi.memory([0.5, -0.6], M, "0.5Tc") is not None
    both = sgdvi.Moments(*(np.array([leaf, leaf]) for leaf in jax.tree.leaves(M)))
    assert sgdvi.SGDStationary(both, "0.5Tc").batch_shape == (2,)


def test_a_multiple_needs_a_critical_temperature():
    with pytest.raises(sgdvi.InputError, match="a multiple of Tc needs a problem with a critical temperature"):
        sgdvi.SGDStationary(M, "0.5Tc", depth=0)
    with pytest.raises(sgdvi.InputError, match=re.escape("got 'warm'")):
        sgdvi.stationary_law(M, "warm")
    with pytest.raises(sgdvi.InputError, match="Tc = inf"):
        parse_temperature("Tc", np.array([1.0, np.inf])[1:])


def test_half_the_loss_at_twice_the_rate_is_the_squared_loss():
    data = sgdvi.Moments.from_data(X, Y, loss="half")
    whole = sgdvi.Moments.from_data(X, Y)
    assert float(sgdvi.critical_temperature(data)) == pytest.approx(2 * float(sgdvi.critical_temperature(whole)))
    v = np.linspace(0.1, 2, 7)
    for depth, decay in [(0, 0.1), (1, 0.1), (2, 0.0)]:
        half = sgdvi.SGDStationary(HALF, 0.2, depth=depth, weight_decay=decay / 2)
        squared = sgdvi.SGDStationary(M, 0.1, depth=depth, weight_decay=decay)
        assert half.log_prob(v) == pytest.approx(squared.log_prob(v), rel=1e-9)
    half = sgdvi.discrete_law(X, Y, learning_rate=0.04, weight_decay=0.05, loss="half")
    squared = sgdvi.discrete_law(X, Y, learning_rate=0.02, weight_decay=0.1)
    assert half.cdf(v) == pytest.approx(squared.cdf(v), rel=1e-12)
    wide, narrow = (sgdvi.discrete_threshold(X, Y - 0.9 * X, loss=loss) for loss in ("half", "squared"))
    assert np.array(wide.intervals) == pytest.approx(2 * np.array(narrow.intervals))
    assert wide.attracts(2.02 * narrow.lower) is narrow.attracts(1.01 * narrow.lower) is True
    with pytest.raises(sgdvi.InputError, match="loss must be 'squared' or 'half'"):
        sgdvi.Moments.linear(1.0, 1.0, loss="mean")
