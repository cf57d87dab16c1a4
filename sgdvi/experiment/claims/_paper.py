"""The paper's densities, written out in NumPy apart from the package's laws: log densities up to a constant."""

from collections.abc import Callable
from typing import Any

import numpy as np

from sgdvi.experiment.claims._claim import Run
from sgdvi.laws.moments import Moments

# Data of the rows that compare formulas, and the temperature in units of Tc.
ROWS, SLOPE, SHARE = 300, 0.8, 0.4
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(400)


def moments(run: Run) -> Moments:
    """Return moments of simulated data: x ~ N(0, 1), y = 0.8 x + N(0, 1)."""
    return Moments.from_data(*signal(run, SLOPE, ROWS))


def signal(
    run: Run, slope: float, rows: int = 500, shape: Callable[[Any], Any] = np.asarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return data x ~ N(0, 1), y = shape(slope x) + N(0, 1), the noise orthogonal to x.

    So the signal is as weak as it is said to be in every seed: among 500 rows chance alone makes slopes of 0.045.
    """
    rng = run.rng()
    x = rng.standard_normal(rows)
    return x, shape(slope * x) + _apart(rng.standard_normal(rows), x)


def bounded(run: Run, slope: float, rows: int = 500) -> tuple[np.ndarray, np.ndarray]:
    """Return data with bounded x in {0.5, 1, 1.5} and bounded noise of variance 1: chains of SGD do not overflow."""
    rng = run.rng()
    x = rng.choice([0.5, 1.0, 1.5], size=rows)
    return x, slope * x + _apart(rng.uniform(-(3**0.5), 3**0.5, rows), x)


def _apart(noise: np.ndarray, x: np.ndarray) -> np.ndarray:
    return noise - x * (x @ noise) / (x @ x)


def points(m: Moments) -> np.ndarray:
    """Return eight places v > 0 around the least-squares slope."""
    return abs(float(m.minimizer)) * np.geomspace(0.3, 4.0, 8)


def gap(law: Any, log_density: np.ndarray, v: np.ndarray) -> float:
    """Return the largest difference between a law and a log density at v, up to one constant."""
    apart = np.asarray(law.log_prob(v)) - log_density
    return float(np.abs(apart - apart.mean()).max())


def regression(m: Moments, heat: float, v: np.ndarray) -> np.ndarray:
    """Return eq. 12, depth 0."""
    a1, a2, _, b1, b2 = _numbers(m)
    power, turn = -1 - b1 / (2 * heat * a1), (a2 * b1 - a1 * b2) / (heat * a1 * _root(m))
    return power * np.log(m.noise(v)) - turn * angle(m, v)


def depth_one(m: Moments, heat: float, v: np.ndarray, decay: float = 0.0, arctan: bool = True) -> np.ndarray:
    """Return eq. 15, depth 1, with beta2 - gamma for beta2; without its arctan factor as Table 1 has it."""
    _, a2, a3, b1, b2 = _numbers(m)
    b = b2 - decay
    turn = (a3 * b1 - a2 * b) / (2 * heat * a3 * _root(m))
    smooth = (b / (2 * a3 * heat) - 3 / 2) * np.log(v) - (1 + b / (4 * heat * a3)) * np.log(m.noise(v))
    return smooth - turn * angle(m, v) if arctan else smooth


def any_depth(m: Moments, heat: float, v: np.ndarray, depth: int, width: int) -> np.ndarray:
    r"""Return eq. 14: :math:`v^{-3D/n} g^{-1} \exp(-\int d^{1-2/n} (\beta_1 v - \beta_2)/(n T v^{2D/n} g) dv)`."""
    *_, b1, b2 = _numbers(m)
    n, s = depth + 1, np.asarray(v) ** (1 / (depth + 1))
    half = (s - s[0]) / 2
    nodes = s[0] + half[:, None] * (1 + _NODES)  # the integral in s = v^(1/n), where nothing is steep
    inner = nodes**-depth * (b1 * nodes**n - b2) / m.noise(nodes**n)
    exponent = -(width ** (1 - 2 / n)) / heat * (half * (inner @ _WEIGHTS))
    return -3 * depth / n * np.log(v) - np.log(m.noise(v)) + exponent


def infinite_depth(m: Moments, heat: float, v: np.ndarray, ratio: float) -> np.ndarray:
    """Return the law of infinite depth with width/depth = ratio."""
    a1, a2, a3, b1, b2 = _numbers(m)
    k = ratio * (a3 * b1 - 2 * a2 * b2) / (heat * a3**2)
    turn = (a2 * a3 * b1 - 2 * a2**2 * b2 + a1 * a3 * b2) / (a3**2 * _root(m))
    return (-3 - k) * np.log(v) + (k / 2 - 1) * np.log(m.noise(v)) - ratio / heat * (b2 / (a3 * v) + turn * angle(m, v))


def second_order(m: Moments, heat: float, v: np.ndarray, batch_size: int, beta1_factor: float = 1.0) -> np.ndarray:
    """Return the depth-1 law with the drift of second order; eq. 51 prints it with a further factor."""
    a1, a2, a3, b1, b2 = _numbers(m)
    k1 = (3 * a3 * b1**2 - a1 * b2**2) / (4 * a1 * a3)
    k2 = (3 * a2 * a3 * b1**2 - 4 * a1 * a3 * b1 * b2 + a1 * a2 * b2**2) / (2 * a1 * a3 * _root(m))
    added = -(b2**2) / (2 * a3) * np.log(v) - k1 * np.log(m.noise(v)) - k2 * angle(m, v)
    return depth_one(m, heat, v) + beta1_factor * batch_size * added


def angle(m: Moments, v: np.ndarray) -> np.ndarray:
    """Return the arctan of eqs. 12 and 15."""
    return np.arctan((float(m.alpha1) * v - float(m.alpha2)) / _root(m))


def _root(m: Moments) -> float:
    return float(np.sqrt(m.delta))


def _numbers(m: Moments) -> tuple[float, ...]:
    return tuple(float(leaf) for leaf in m.tree_flatten()[0])
