"""Simulation-based calibration of v given its sign: SGD fails, corrected SGD passes, and the test has power."""

from typing import NamedTuple

import jax
import numpy as np
import pytest

from sgdvi import LinearNetwork
from sgdvi.diagnostics import Status, sbc
from sgdvi.laws import discrete_law
from sgdvi.remedies import reweight
from sgdvi.samplers.references import line_posterior
from sgdvi.variational.objective import matching_temperature

SIMULATIONS, ROWS, PRIOR_SD = 600, 100, 0.7
CHAINS, SNAPSHOTS, BURN, GAP = 100, 4, 3000, 400
RANKED = 63  # draws that the true value is ranked among


class Simulation(NamedTuple):
    truth: float
    network: LinearNetwork
    temperature: float


def simulate(rng: np.random.Generator) -> tuple[list[Simulation], int, int, float]:
    """Draw from prior and model; the data sets that the rule keeps and whose slope has the sign of SGD.

    Returns them, the number that the rule on the data leaves out, the number of the other sign, and the number of those
    that the posterior expects.
    """
    x = rng.standard_normal(ROWS)
    kept, left_out, other_sign, expected = [], 0, 0, 0.0
    for _ in range(SIMULATIONS):
        v = float(np.prod(PRIOR_SD * rng.standard_normal(2)))
        network = LinearNetwork(x, v * x + rng.standard_normal(ROWS), prior_sd=PRIOR_SD)
        beta2 = float(network.moments.beta2)
        if abs(beta2) <= 2 * network.weight_decay:  # SGD has no law, or one next to the collapse
            left_out += 1
            continue
        negative = line_posterior(network).negative_mass
        expected += negative if beta2 > 0 else 1 - negative
        if v * beta2 < 0:
            other_sign += 1
            continue
        # twice the temperature of equal widths: weights narrow a law better than they widen it
        heat = min(2 * matching_temperature(network), network.critical_temperature / 3)
        kept.append(Simulation(v, network, heat))
    return kept, left_out, other_sign, expected


def run_sgd(simulations: list[Simulation], shares: float, rng: np.random.Generator) -> np.ndarray:
    """Real steps of SGD, batches of one row, from u = w = sqrt|v*|: draws of v, (simulations, draws)."""
    x, y = simulations[0].network.x, np.stack([one.network.y for one in simulations])
    sign = np.sign([float(one.network.moments.beta2) for one in simulations])[:, None]
    rate = shares * np.array([one.temperature for one in simulations])[:, None]
    squares, products = x * x, sign * y * x
    v = np.repeat(np.abs([[float(one.network.moments.minimizer)] for one in simulations]), CHAINS, axis=1)
    decay, rows, kept = simulations[0].network.weight_decay, np.arange(len(simulations))[:, None], []
    for step in range(BURN + SNAPSHOTS * GAP):
        i = rng.integers(0, ROWS, size=v.shape, dtype=np.int32)
        v = v * (1 - 2 * rate * decay - 2 * rate * (squares[i] * v - products[rows, i])) ** 2
        if step >= BURN and (step - BURN) % GAP == GAP - 1:
            kept.append(sign * v)
    return np.concatenate(kept, axis=1)


def rank(truth: float, draws: np.ndarray, rng: np.random.Generator) -> int:
    return int(np.sum(rng.permutation(draws)[:RANKED] < truth))


@pytest.mark.slow
def test_corrected_sgd_is_calibrated_and_plain_sgd_is_not() -> None:
    rng = np.random.default_rng(0)
    simulations, left_out, other_sign, expected = simulate(rng)
    assert len(simulations) > 400
    assert left_out + other_sign + len(simulations) == SIMULATIONS
    # what conditioning on the sign leaves out is the posterior mass that SGD misses
    assert abs(other_sign - expected) < 5 * expected**0.5
    best, hot = (run_sgd(simulations, share, rng) for share in (0.5, 1.0))
    ranks: dict[str, list[int]] = {"plain": [], "corrected": [], "scaled": []}
    unreliable = 0
    for one, plain, draws in zip(simulations, best, hot, strict=True):
        corrected = reweight(one.network, draws, one.temperature)
        unreliable += not corrected.reliable
        resampled = corrected.sample(jax.random.key(int(rng.integers(2**31))), RANKED)
        ranks["plain"].append(rank(one.truth, plain, rng))
        ranks["corrected"].append(rank(one.truth, resampled, rng))
        ranks["scaled"].append(rank(one.truth, corrected.mean + 1.25 * (resampled - corrected.mean), rng))
    found = {name: sbc(name, "v", values, RANKED) for name, values in ranks.items()}
    assert unreliable < 0.1 * len(simulations)
    assert found["plain"].status is Status.FAIL
    assert found["corrected"].status is Status.PASS
    assert found["scaled"].status is Status.FAIL
    # the weights are those of the flow: the gap to the discrete steps that were made is small where it is largest
    hottest = max(simulations, key=lambda one: one.temperature)
    exact = discrete_law(
        hottest.network.x, hottest.network.y, hottest.temperature, 1, hottest.network.weight_decay, tolerance=1e-3
    )
    gap = exact.distance_to(hottest.network.branch_law(hottest.temperature))
    assert gap < 0.05
