"""Two runs of one law: how often anything at all is called a failure, or a warning, over a whole comparison."""

import numpy as np
import pytest
from scipy import stats
from scipy.signal import lfilter

from sgdvi import compare
from sgdvi.diagnostics import Status
from sgdvi.draws import make_tree

SEEDS = 200


def autocorrelated(rng: np.random.Generator) -> np.ndarray:
    noise = rng.normal(size=(4, 10_000, 3)) * np.sqrt(1 - 0.9**2)
    noise[:, 0] = rng.normal(size=(4, 3))
    return lfilter([1.0], [1.0, -0.9], noise, axis=1)


LAWS = {
    "independent": lambda rng: rng.normal(size=(4, 1000, 3)),
    "autocorrelated": autocorrelated,
    "heavy tails": lambda rng: rng.standard_t(5, size=(4, 1000, 3)),
    "bimodal": lambda rng: 3 * rng.choice([-1, 1], (4, 1000, 3)) + rng.normal(size=(4, 1000, 3)),
    "bounded": lambda rng: rng.beta(0.5, 0.5, size=(4, 1000, 3)),
    "counts": lambda rng: rng.poisson(2.0, size=(4, 1000, 3)),
    "200 functionals": lambda rng: rng.normal(size=(4, 1000, 200)),
}


def statuses(law: str, seed: int) -> set[Status]:
    rng = np.random.default_rng(seed)
    runs = {
        "SGD": make_tree({"b": LAWS[law](rng)}, kind="sgd"),
        "NUTS": make_tree({"b": LAWS[law](rng)}, kind="nuts"),
    }
    return {finding.status for finding in compare(runs).findings}


@pytest.mark.slow
@pytest.mark.parametrize("law", LAWS)
def test_two_runs_of_one_law_seldom_fail(law: str) -> None:
    each = [statuses(law, seed) for seed in range(SEEDS)]
    fails, warns = (sum(status in one for one in each) for status in (Status.FAIL, Status.WARN))
    assert fails <= stats.binom.ppf(0.999, SEEDS, 0.01), f"{fails} of {SEEDS} fail"
    assert warns <= stats.binom.ppf(0.999, SEEDS, 0.05), f"{warns} of {SEEDS} warn"
