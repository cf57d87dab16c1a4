"""The laws keep NumPyro's contract: sgdvi.testing.check_distribution over 50 parameter sets, ten at once."""

import jax
import numpy as np
import pytest

from sgdvi import Moments, SGDStationary
from sgdvi.testing import check_distribution

# ten laws in every batch, so that a kind of density is compiled once
DATA = ((0.3, 0.1), (0.3, 1.0), (1.0, 1.0), (2.0, 0.1), (2.0, 1.0))


def batch(*shares, side=1):
    """Moments of five data sets, from easy to nearly noiseless, and temperatures as shares of beta2/alpha3."""
    data = [Moments.linear(side * slope, noise) for slope, noise in DATA]
    moments = jax.tree.map(lambda *leaves: np.stack(leaves), *data)
    return moments, np.array(shares)[:, None] * np.abs(moments.beta2) / moments.alpha3


LAWS = {
    "depth 0": SGDStationary(*batch(0.05, 2.0), depth=0, width=3, weight_decay=0.1),
    "depth 1": SGDStationary(*batch(1e-3, 0.6)),
    "depth 1, v < 0": SGDStationary(*batch(0.1, 0.3, side=-1), weight_decay=0.05, sign=-1),
    "depth 3": SGDStationary(*batch(0.01, 1.0), depth=3, width=5),
    "depth 20": SGDStationary(*batch(0.1, 10.0), depth=20),
}
# compiled twice for every kind of density, and tested beside this: gradients in test_stationary.py
SKIPPED = {
    "depth 0": {"transformations", "gradient"},
    "depth 1": set(),
    "depth 1, v < 0": {"transformations", "gradient"},
    "depth 3": {"transformations", "gradient"},
    "depth 20": {"transformations", "gradient"},
}


@pytest.mark.parametrize("name", LAWS)
def test_contract(name):
    report = check_distribution(LAWS[name], num_draws=30_000, skip=SKIPPED[name])
    reasons = {check.name: check.message for check in report.skipped}
    assert set(reasons) <= SKIPPED[name] | {"entropy"}, reasons


def test_number_of_parameter_sets():
    assert sum(int(np.prod(law.batch_shape)) for law in LAWS.values()) >= 40
