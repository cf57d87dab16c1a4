"""Two runs of one law, for the rates of false alarms."""

import numpy as np
from scipy.signal import lfilter

from sgdvi import compare
from sgdvi.diagnostics import Status
from sgdvi.draws import make_tree


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
    "one functional": lambda rng: rng.normal(size=(4, 1000, 1)),
    "200 functionals": lambda rng: rng.normal(size=(4, 1000, 200)),
}


def alarms(law: str, seed: int) -> list[tuple[str, Status]]:
    """Return check and status of every finding that warns or fails, on either run."""
    rng = np.random.default_rng(seed)
    runs = {name: make_tree({"b": LAWS[law](rng)}, kind=name.lower()) for name in ("SGD", "NUTS")}
    alarming = (Status.FAIL, Status.WARN)
    return [(finding.check, finding.status) for finding in compare(runs).findings if finding.status in alarming]
