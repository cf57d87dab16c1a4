"""How often each test is wrong: false alarms at its level, and power on draws that are too wide or shifted."""

import numpy as np
import pytest
from scipy import stats
from scipy.signal import lfilter

from sgdvi.diagnostics import distances, mixing
from sgdvi.diagnostics.distances import Points

LEVEL = 0.01
SEEDS = 200
# Effective draws of about 1000 each: 1000 independent ones, and an autoregression with rho = 0.9.
DRAWS, RHO, LONG = 250, 0.9, 4750


def chains(rng: np.random.Generator, draws: int, rho: float = 0.0) -> np.ndarray:
    """Four stationary Gaussian AR(1) chains with unit variance."""
    noise = rng.normal(size=(4, draws)) * np.sqrt(1 - rho**2)
    noise[:, 0] = rng.normal(size=4)
    return lfilter([1.0], [1.0, -rho], noise, axis=1)


def points(draws: np.ndarray) -> Points:
    return Points.from_draws(draws, mixing.measure(draws).ess)


def alarms(seeds: range, scale: float = 1.0, shift: float = 0.0) -> dict[str, int]:
    """How often each distance exceeds its null level of 1 %, between an autocorrelated run and a reference."""
    counts: dict[str, int] = {}
    for seed in seeds:
        rng = np.random.default_rng([seed, 3])
        reference, run = points(chains(rng, DRAWS)), points(shift + scale * chains(rng, LONG, RHO))
        distance = distances.measure(run, reference, 1 - LEVEL)
        for name, seen in (("w1", distance.w1 > distance.w1_null), ("ks", distance.ks > distance.ks_null)):
            counts[name] = counts.get(name, 0) + bool(seen)
    return counts


def most(seeds: int) -> int:
    """The number of false alarms that a test of this level exceeds once in 1000 times."""
    return int(stats.binom.ppf(0.999, seeds, LEVEL))


def test_few_seeds() -> None:
    false = alarms(range(20))
    assert max(false.values()) <= most(20)
    assert min(alarms(range(20), scale=1.25).values()) >= 12
    assert min(alarms(range(20), shift=0.3).values()) >= 17


@pytest.mark.slow
def test_false_alarms_stay_below_the_binomial_bound() -> None:
    counts = alarms(range(SEEDS))
    assert max(counts.values()) <= most(SEEDS), counts


@pytest.mark.slow
@pytest.mark.parametrize(("scale", "shift", "power"), [(1.25, 0.0, 0.8), (1.0, 0.3, 0.97)])
def test_power(scale: float, shift: float, power: float) -> None:
    counts = alarms(range(SEEDS), scale, shift)
    assert min(counts.values()) >= power * SEEDS, counts
