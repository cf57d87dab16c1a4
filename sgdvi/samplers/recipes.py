r"""Rates, matrices and noise at which SGD comes as near to the posterior as it can: one rule for each flavour of SGD.

Every flavour is :math:`z \leftarrow z - P g_{batch} + N(0, Q)` with a P and a Q of its own; the law that it has stands
in `sgdvi.laws.near_minimum`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.optimize
from scipy.stats import norm, qmc

from sgdvi._internal.batches import Batching
from sgdvi._internal.check import InputError, message, positive, require, whole
from sgdvi.laws.momentum import PLAIN, Momentum
from sgdvi.laws.near_minimum import NearMinimum
from sgdvi.samplers.low_rank import Completed

PLAIN_BATCH = 16
# With batches of N/50 rows the time step is a twenty-fifth of the relaxation: discreteness is about S/N.
_ROWS_PER_BATCH, _LARGEST_BATCH = 50, 64
# Learning rate times the largest curvature: beyond it steps overshoot.
_FASTEST = 1.0
# Of the mean-square limit; at half of it the variance is finite but about twice too large.
_OF_LIMIT, _PLAIN_OF_LIMIT = 0.9, 0.5
_OF_MANDT = 1.5
# Directions with less noise than this share (of the noisiest; of a well-specified model's) are taken to have that much.
LEAST_NOISE = 0.05
_FASTEST_COMPLETED = 0.1
# Above this ratio of parameters to rows the noise changes much over the posterior: a quarter of the rate.
_MANY_PARAMETERS, _THEN_SHARE = 0.05, 0.25
# Pairs of points that stand for a law, a power of 2: quantiles are right to 0.01 sd.
_PAIRS = 1024
# In place of a divergence where there is no law.
_NO_LAW = 1e50
# SGLD's law is wider than the posterior by at most about this share.
_LANGEVIN_EXCESS = 0.1


@dataclass(frozen=True, eq=False)
class Recipe:
    """What a flavour of SGD is run with.

    Attributes
    ----------
    flavour
        "plain", "scaled", "whitened", "mandt", "completed" or "sgld".
    batch_size, batching
        Of the minibatches.
    learning_rate
        Of plain SGD; else the factor of the matrix: see the samplers.
    step
        P, (D, D), learning rate included; (D,) where it is diagonal.
    injected
        Q likewise; None without noise of its own.
    memory
        Momentum of the gradients.
    """

    flavour: str
    batch_size: int
    batching: Batching
    learning_rate: float
    step: np.ndarray
    injected: np.ndarray | None = None
    low_rank: Completed | None = None
    memory: Momentum = PLAIN


@dataclass(frozen=True, eq=False)
class GaussianLaw:
    """A law near a mode, N(mean, root root'), in unconstrained coordinates.

    Attributes
    ----------
    mean, shift
        Its mean and that less the mode, (D,).
    root
        A root of its covariance, (D, D), or of its diagonal, (D,).
    relaxation
        Steps in which the slowest direction forgets all but 1/e.
    """

    mean: np.ndarray
    shift: np.ndarray
    root: np.ndarray
    relaxation: float

    @property
    def covariance(self) -> np.ndarray:
        """Its covariance, (D, D)."""
        return np.diag(self.root**2) if self.root.ndim == 1 else self.root @ self.root.T

    @property
    def sd(self) -> np.ndarray:
        """Its standard deviations, (D,)."""
        return self.root if self.root.ndim == 1 else np.sqrt(np.sum(self.root**2, axis=1))


def normal_points(size: int) -> np.ndarray:
    """Return standard normal points that stand for a law: scrambled Sobol points and their mirror images, (2 K, D)."""
    uniform = qmc.Sobol(size, rng=np.random.default_rng(0)).random(_PAIRS)
    normal = norm.ppf(np.clip(uniform, 1e-9, 1 - 1e-9))
    return np.concatenate([normal, -normal])


def batch_size_for(flavour: str, num_data: int) -> int:
    """Return the batch size of a flavour for data of N rows."""
    if flavour in ("plain", "scaled"):
        return min(PLAIN_BATCH, num_data)
    most = max(1, min(_LARGEST_BATCH, num_data // _ROWS_PER_BATCH))
    return 1 << (most.bit_length() - 1)


def make_recipe(
    flavour: str,
    near: NearMinimum,
    *,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    batching: str = Batching.REPLACEMENT,
) -> Recipe:
    """Choose what was not given by the flavour's rule.

    Raises
    ------
    InputError
        For batches without independent noise, and a rate at which the flavour has no law.
    """
    way = Batching.of(batching)
    independent = way in (Batching.REPLACEMENT, Batching.WITHOUT_REPLACEMENT)
    advice = "Epochs and full batches have no noise that a rate could be matched to."
    require(independent, 'batching must be "replacement" or "without-replacement"', repr(way.value), advice)
    size = batch_size_for(flavour, near.num_data) if batch_size is None else whole("batch_size", batch_size, least=1)
    share = way.noise_share(near.num_data, size)
    require(share, "a minibatch must have noise", f"all {size} rows", "Take a smaller batch.")
    assert share is not None
    unit, rule = _UNITS[flavour](near, share), _RATES[flavour]
    given = None if learning_rate is None else positive("learning_rate", learning_rate)
    rate = rule(near, share, unit) if given is None else given
    step = rate * unit
    injected = None
    if flavour == "completed":
        injected = near.completion(step, share)
        least = np.linalg.eigvalsh(near.inverse_root @ injected @ near.inverse_root.T)[0]
        if least < -1e-9 * rate:
            most = _completed(near, share, unit, careful=False)
            rule_broken = f"learning_rate must be at most {most:.3g}: beyond it batches have more noise than is wanted"
            raise InputError(message(rule_broken, rate, "Take a smaller rate, or larger batches."))
    elif flavour == "sgld":
        injected = 2 * step / near.num_data
    if given is not None:
        limit = near.limit(step, share)
        require(limit > 1, "the variance must shrink from step to step", rate, f"Stay below {limit * rate:.3g}.")
    return Recipe(flavour, size, way, float(rate), step, injected)


def _plain_unit(near: NearMinimum, share: float) -> np.ndarray:
    return np.eye(near.size)


def _scaled_unit(near: NearMinimum, share: float) -> np.ndarray:
    # a parameter that no row's gradient touches, such as a scale of a hierarchy, has no noise: it would get no bound
    noise = np.maximum(np.diag(near.noise), LEAST_NOISE * np.diag(near.hessian))
    return np.diag(1 / noise)


def _white_unit(near: NearMinimum, share: float) -> np.ndarray:
    return near.num_data * near.laplace


def _mandt_unit(near: NearMinimum, share: float) -> np.ndarray:
    """2 (N C / S + H)^-1, C over the posterior and in discrete time: `step_size.discrete_time` with kind "full"."""
    values, vectors = np.linalg.eigh(near.num_data * near.noise_at_posterior)
    values = np.maximum(values, LEAST_NOISE * values[-1])
    white = (vectors * (2 / (share * values + 1 / near.num_data))) @ vectors.T
    return near.root @ white @ near.root.T


_UNITS: dict[str, Callable[[NearMinimum, float], np.ndarray]] = {
    "plain": _plain_unit,
    "scaled": _scaled_unit,
    "whitened": _white_unit,
    "mandt": _mandt_unit,
    "completed": _white_unit,
    "sgld": _white_unit,
}


def _plain(near: NearMinimum, share: float, unit: np.ndarray) -> float:
    """Mandt, Hoffman and Blei 2017, eq. 14, where it is stable."""
    best = 2 * near.size / (near.num_data * share * np.trace(near.noise))
    return _stable(near, share, unit, best)


def _scaled(near: NearMinimum, share: float, unit: np.ndarray) -> float:
    return _stable(near, share, unit, 2 / (near.num_data * share))


def _stable(near: NearMinimum, share: float, unit: np.ndarray, best: float) -> float:
    root = np.sqrt(unit)  # diagonal
    largest = float(np.linalg.eigvalsh(root @ near.hessian @ root)[-1])
    rate = min(best, _FASTEST / largest, _PLAIN_OF_LIMIT * near.limit(unit, share))
    return float(f"{rate:.3g}")


def _whitened(near: NearMinimum, share: float, unit: np.ndarray) -> float:
    """Least KL divergence from the posterior."""
    mandt = 2 * near.size / (near.num_data**2 * share * np.trace(near.white_noise))
    most = min(_OF_LIMIT * near.limit(unit, share), _OF_MANDT * mandt)

    def divergence(log_rate: float) -> float:
        covariance = near.covariance(math.exp(log_rate) * unit, share)
        # large, not infinite: the search interpolates between values
        return _NO_LAW if covariance is None else min(near.divergence(covariance), _NO_LAW)

    bounds = (math.log(most) - 4, math.log(most))
    best = scipy.optimize.minimize_scalar(divergence, bounds=bounds, method="bounded", options={"xatol": 1e-3})
    return math.exp(best.x)


def _mandt(near: NearMinimum, share: float, unit: np.ndarray) -> float:
    return min(1.0, _PLAIN_OF_LIMIT * near.limit(unit, share))


def _completed(near: NearMinimum, share: float, unit: np.ndarray, careful: bool = True) -> float:
    """Return the largest rate at which the missing noise is a covariance: 2 / (1 + N^2 k / S), k the largest noise."""
    rate = 2 / (1 + near.num_data**2 * share * _largest_noise(near))
    if not careful:
        return rate
    # where the noise grows with the distance, it may take all of the missing noise's place: then nothing holds the law
    rate = min(rate, _FASTEST_COMPLETED, _PLAIN_OF_LIMIT * near.limit(unit, share))
    return rate * (_THEN_SHARE if near.size > _MANY_PARAMETERS * near.num_data else 1.0)


def _sgld(near: NearMinimum, share: float, unit: np.ndarray) -> float:
    rate = 2 * _LANGEVIN_EXCESS / (1 + near.num_data**2 * share * _largest_noise(near))
    return min(rate, _PLAIN_OF_LIMIT * near.limit(unit, share))


def _largest_noise(near: NearMinimum) -> float:
    return float(np.linalg.eigvalsh(near.noise_at_posterior)[-1])


_RATES: dict[str, Callable[[NearMinimum, float, np.ndarray], float]] = {
    "plain": _plain,
    "scaled": _scaled,
    "whitened": _whitened,
    "mandt": _mandt,
    "completed": _completed,
    "sgld": _sgld,
}
FLAVOURS = tuple(_RATES)
