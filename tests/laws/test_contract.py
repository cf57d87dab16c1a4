"""The laws keep NumPyro's contract: sgdvi.testing.check_distribution over 44 parameter sets, a batch for each depth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgdvi import Moments, SGDStationary
from sgdvi.testing import check_distribution

SLOPES, NOISES = (0.3, 1.0, 2.0), (0.1, 1.0)


def batch(side=1):
    """Moments of six data sets, from easy to nearly noiseless."""
    data = [Moments.linear(side * k, s) for k in SLOPES for s in NOISES]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *data)


def shares(data, *values):
    """Temperatures as shares of beta2/alpha3, in front of the batch of data."""
    return np.array(values)[:, None] * np.abs(data.beta2) / data.alpha3


def laws():
    right, left = batch(), batch(-1)
    yield "depth 0", SGDStationary(right, shares(right, 0.05, 2.0), depth=0, width=3, weight_decay=0.1)
    yield "depth 1", SGDStationary(right, shares(right, 1e-3, 0.2, 0.6))
    yield "depth 1, v < 0", SGDStationary(left, shares(left, 0.3)[0], weight_decay=0.05, sign=-1)
    yield "depth 3", SGDStationary(right, shares(right, 0.01)[0], depth=3, width=5)
    yield "depth 20", SGDStationary(jax.tree.map(lambda a: a[:2], right), jnp.array([0.1, 10.0]), depth=20)


LAWS = dict(laws())
# what the classes share is checked once for each kind of density; compiling it again would show nothing new
COMPILED = ("gradient", "transformations")


@pytest.mark.parametrize("name", LAWS)
def test_contract(name):
    skip = COMPILED if name in ("depth 1, v < 0", "depth 20") else ()
    report = check_distribution(LAWS[name], num_draws=30_000, skip=skip)
    reasons = {check.name: check.message for check in report.skipped}
    assert set(reasons) - set(skip) == set(), reasons


def test_number_of_parameter_sets():
    assert sum(int(np.prod(law.batch_shape)) for law in LAWS.values()) >= 40
