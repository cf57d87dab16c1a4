"""Charges, noise and predicted drift along a trajectory of SGD, and how measured and predicted drift compare."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpyro  # noqa: F401  before ArviZ, whose lazy stand-in for it would load its parts twice
from arviz_stats.base import array_stats
from scipy.sparse import csr_array

from sgdvi.noise_balance.trajectory import Trajectory
from sgdvi.symmetry import GradientNoise, Symmetry
from sgdvi.symmetry._loss import SampleLoss

_FEWEST = 8
_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class Measurement:
    """What was measured along a trajectory; axes are (symmetry, chain, point), positive exponents before negative.

    Attributes
    ----------
    charges
        c, shape (S, M, K).
    terms
        The two noise terms, shape (2, S, M, K): sums of exponent times Tr C, each above 0.
    norms
        Sums of exponent times square, each above 0, whose difference is the charge, shape (2, S, M, K).
    flow
        Predicted drift T Tr[A C] - 4 gamma c of the flow, shape (S, M, K).
    discrete
        The same in discrete time, exact: eta gbar^T A gbar and 4 eta gamma^2 c are added. With momentum, where eta is
        the rate over 1 - mu, their weight is (1 + mu)/(1 - mu) (Nesterov: (1 - mu + 2 mu^2)/(1 - mu)), once its
        velocities have come to rest.
    """

    charges: np.ndarray
    terms: np.ndarray
    norms: np.ndarray
    flow: np.ndarray
    discrete: np.ndarray


def measure(loss: SampleLoss, symmetries: Sequence[Symmetry], path: Trajectory) -> Measurement:
    """Measure charges and noise at every point of a trajectory: one pass over the data for each."""
    exponents = _matrix(symmetries, loss)
    sides = exponents.maximum(0), (-exponents).maximum(0)
    penalties = np.zeros(exponents.shape[1])
    for symmetry in symmetries:
        row = _matrix([symmetry], loss)
        penalties[row.indices] = symmetry.penalty
    shape = (len(symmetries), path.num_chains, path.num_points)
    charges, slopes = np.empty(shape), np.empty(shape)
    terms, norms = np.empty((2, *shape)), np.empty((2, *shape))
    for chain, point in np.ndindex(*shape[1:]):
        leaves = [leaf[chain, point] for leaf in path.leaves]
        noise = GradientNoise.at(loss, leaves)
        theta, mean, variance = (_flat(each) for each in (leaves, noise.mean, noise.variance))
        charges[:, chain, point] = exponents @ theta**2
        slopes[:, chain, point] = exponents @ (mean - 2 * penalties * theta) ** 2
        for number, side in enumerate(sides):
            terms[number, :, chain, point] = side @ variance
            norms[number, :, chain, point] = side @ theta**2
    gamma = np.array([symmetry.weight_decay for symmetry in symmetries])[:, None, None]
    flow = path.temperature * (terms[0] - terms[1]) - 4 * gamma * charges
    own = slopes + 4 * gamma**2 * charges
    discrete = flow + path.learning_rate * path.momentum.slope_gain * own
    return Measurement(charges, terms, norms, flow, discrete)


@dataclass(frozen=True, eq=False)
class Drift:
    """Drift dc/dt averaged over the trajectory, one entry for each symmetry.

    Attributes
    ----------
    measured
        Mean change of the charge per unit of time (one step lasts eta).
    predicted, flow
        What the law of balance predicts in discrete time, and as a flow.
    error
        Standard error of measured - predicted: paired increments, their autocorrelation, and the rule of integration.
    """

    measured: np.ndarray
    predicted: np.ndarray
    flow: np.ndarray
    error: np.ndarray

    @property
    def z(self) -> np.ndarray:
        """Measured less predicted drift in standard errors; nan where there are too few increments."""
        return (self.measured - self.predicted) / self.error


def drift(measurement: Measurement, path: Trajectory) -> Drift:
    """Compare the change of every charge from point to point with the predicted one, over the whole trajectory.

    Over an interval of one step the prediction at its start is the exact mean, and the differences are martingale
    increments. Over longer ones it is the mean of both ends, whose error is bounded by what the first and the last
    interval of equal length differ in (Euler and Maclaurin).
    """
    total = path.spans.sum()
    changes = np.diff(measurement.charges, axis=2)
    predicted, flow = (
        _over_intervals(values, path.lags) * path.spans for values in (measurement.discrete, measurement.flow)
    )
    statistical = np.array([standard_error(each) for each in changes - predicted]) * len(path.spans)
    floor = _ROUNDING * np.abs(measurement.charges).mean(axis=(1, 2)) + np.finfo(float).tiny
    error = np.hypot(np.hypot(statistical, _rule(measurement.discrete.mean(axis=1), path)), floor) / total
    moved, expected, flowed = (values.sum(axis=2).mean(axis=1) / total for values in (changes, predicted, flow))
    return Drift(moved, expected, flowed, error)


def _rule(predicted: np.ndarray, path: Trajectory) -> np.ndarray:
    """Bound on the error of the trapezoidal rule, over runs of intervals of the same length, shape (S,)."""
    steps, bound = np.diff(predicted, axis=1), np.zeros(len(predicted))
    edges = np.flatnonzero(np.diff(path.lags)) + 1
    for run in np.split(np.arange(len(path.lags)), edges):
        if path.lags[run[0]] > 1:
            bound += path.spans[run[0]] * np.abs(steps[:, run[-1]] - steps[:, run[0]]) / 2
    return bound


def _over_intervals(values: np.ndarray, lags: np.ndarray) -> np.ndarray:
    return np.where(lags == 1, values[..., :-1], (values[..., :-1] + values[..., 1:]) / 2)


def standard_error(values: np.ndarray) -> float:
    """Return the standard error of the mean of values (chain, draw), by their effective number."""
    if values.size < _FEWEST or values.shape[1] < 4:
        return float("nan")
    sd = float(values.std(ddof=1))
    if sd <= _ROUNDING * float(np.abs(values).max()):
        return 0.0
    with np.errstate(all="ignore"):
        effective = float(array_stats.ess(values, chain_axis=0, draw_axis=1, method="mean"))
    # Antithetic increments, more effective than there are, would make the error too small where few are seen.
    return sd / float(np.sqrt(min(effective, values.size))) if np.isfinite(effective) else float("nan")


def _matrix(symmetries: Sequence[Symmetry], loss: SampleLoss) -> csr_array:
    """Exponents, shape (S, P), for the leaves flattened one after the other."""
    starts = np.cumsum([0, *(leaf.size for leaf in loss.leaves)])
    numbered = [
        np.arange(leaf.size).reshape(leaf.shape) + start for leaf, start in zip(loss.leaves, starts[:-1], strict=True)
    ]
    rows, columns, values = [], [], []
    for number, symmetry in enumerate(symmetries):
        for group in symmetry.groups:
            entries = numbered[group.leaf][group.where].ravel()
            columns.append(entries)
            rows.append(np.full(len(entries), number))
            values.append(np.full(len(entries), float(group.exponent)))
    parts = (np.concatenate(part) if part else np.zeros(0, int) for part in (values, rows, columns))
    data, row, column = parts
    return csr_array((data, (row, column)), shape=(len(symmetries), int(starts[-1])))


def _flat(leaves: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.asarray(leaf, np.float64).ravel() for leaf in leaves])
