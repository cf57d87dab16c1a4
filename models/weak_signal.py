"""A weak signal in 2000 simulated rows: here discrete SGD really goes through the phases.

x ~ N(0, 1) and y = 0.1 x + N(0, 1), N = 2000, drawn once::

    rng = np.random.default_rng(0)
    x = rng.standard_normal(2000)
    y = 0.1 * x + rng.standard_normal(2000)

rounded to six decimals and shipped as ``data/weak_signal.csv``. The standard deviation of the noise is fixed at 1.
Everything exact about it uses the moments of these rows (slope 0.083), not of the population.

What it teaches. The stationary law at depth 1 changes shape with the temperature T: for T < Tc/3 its density vanishes
at v = 0 (phase III), between Tc/3 and Tc it diverges there (II), from Tc on all the mass is at v = 0 (I). With a strong
signal the learning rates that this takes make discrete SGD overflow first. With a weak one they are small: run it at
batch size 1 and 0.2, 0.5, 0.9 and 1.2 Tc.
"""

from sgdvi.models._data import columns
from sgdvi.problem import Problem
from sgdvi.problem.linear import linear_problem

NOISE_SD = 1.0


def problem(depth: int = 1, width: int = 1, prior_sd: float = 1.0) -> Problem:
    """Make the problem.

    Parameters
    ----------
    depth, width
        Depth D (0 is linear regression) and width d of the linear network.
    prior_sd
        Standard deviation of the normal prior on every factor.
    """
    data = columns("weak_signal.csv")
    return linear_problem(
        "weak-signal",
        data["x"],
        data["y"],
        depth=depth,
        width=width,
        noise_sd=NOISE_SD,
        prior_sd=prior_sd,
        description="2000 simulated rows, y = 0.1 x + noise: the phases of SGD are within reach.",
        source="Simulated for this package (seed and code in the file); CC0 1.0.",
    )
