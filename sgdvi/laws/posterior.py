"""The exact Bayesian posterior of v in a linear network, in NumPy float64."""

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any

import jax
import numpy as np
from numpyro.distributions import constraints
from scipy import special

from sgdvi.laws._shown import Shown
from sgdvi.laws.prior import log_density

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(20)
# Mass that a panel may be wrong by, as a share of the whole: below the rounding of the sum.
_PANEL_ERROR = 1e-16
# Beyond this many standard deviations a Gaussian has no mass in float64.
_REACH = 40.0


class LinePosterior(Shown, ABC):
    """Posterior law of the scalar v. All arrays are NumPy float64; v in units of [y]/[x]."""

    name = "exact posterior"
    batch_shape: tuple[int, ...] = ()
    support = constraints.real

    @abstractmethod
    def log_prob(self, value: Any) -> np.ndarray:
        """Log density at v, of the shape of `value`."""

    @abstractmethod
    def cdf(self, value: Any) -> np.ndarray:
        """P(V <= v), of the shape of `value`."""

    @abstractmethod
    def icdf(self, q: Any) -> np.ndarray:
        """Quantiles at q, of the shape of `q`; NaN outside [0, 1]."""

    @property
    @abstractmethod
    def mean(self) -> float:
        """Posterior mean of v."""

    @property
    @abstractmethod
    def variance(self) -> float:
        """Posterior variance of v."""

    @property
    @abstractmethod
    def log_normalizer(self) -> float:
        """Log of the integral of prior(v) exp(-(v - v*)^2/(2 sd^2)), with the likelihood's own v* and sd."""

    @property
    def negative_mass(self) -> float:
        """Posterior mass on v < 0."""
        return float(self.cdf(0.0))

    def mass_beyond(self, side: int) -> float:
        """Posterior mass on the other side of v = 0 than ``side``, 1 or -1."""
        return self.negative_mass if side > 0 else 1 - self.negative_mass

    def sample(self, key: jax.Array, sample_shape: tuple[int, ...] = ()) -> np.ndarray:
        """Independent draws by inversion, of shape `sample_shape`; the same key gives the same draws."""
        with jax.enable_x64(True):
            uniform = jax.random.uniform(key, sample_shape, dtype="float64")
        return self.icdf(np.asarray(uniform))


class GaussianPosterior(LinePosterior):
    """Posterior at depth 0: the product of the likelihood N(v; mean, sd^2) and the prior N(v; 0, prior_sd^2)."""

    def __init__(self, mean: float, sd: float, prior_sd: float) -> None:
        precision = sd**-2 + prior_sd**-2
        self._mean, self._sd = mean * sd**-2 / precision, precision**-0.5
        wide = np.hypot(sd, prior_sd)
        self._log_normalizer = float(np.log(sd) - np.log(wide) - 0.5 * (mean / wide) ** 2)

    def log_prob(self, value: Any) -> np.ndarray:
        """Log density at v, of the shape of `value`."""
        z = (np.asarray(value, dtype=np.float64) - self._mean) / self._sd
        return -0.5 * z * z - np.log(self._sd) - 0.5 * np.log(2 * np.pi)

    def cdf(self, value: Any) -> np.ndarray:
        """P(V <= v), of the shape of `value`."""
        return special.ndtr((np.asarray(value, dtype=np.float64) - self._mean) / self._sd)

    def icdf(self, q: Any) -> np.ndarray:
        """Quantiles at q, of the shape of `q`; NaN outside [0, 1]."""
        return self._mean + self._sd * special.ndtri(np.asarray(q, dtype=np.float64))

    @property
    def log_normalizer(self) -> float:
        """Log of the integral of prior(v) exp(-(v - v*)^2/(2 sd^2)); -inf for a flat prior."""
        return self._log_normalizer

    @property
    def mean(self) -> float:
        """Posterior mean of v."""
        return self._mean

    @property
    def variance(self) -> float:
        """Posterior variance of v."""
        return self._sd**2


class ProductPosterior(LinePosterior):
    """Posterior at depth 1 and above: the likelihood N(v; mean, sd^2) times the prior of a sum of products of normals.

    At width 1 the density diverges at v = 0 like log(1/|v|)^D. The integrals are Gauss-Legendre sums over panels that
    shrink geometrically towards 0, each so short that halving it changes nothing.
    """

    def __init__(self, mean: float, sd: float, prior_sd: float, width: int, num_factors: int = 2) -> None:
        self._centre, self._sd, self._prior = mean, sd, (num_factors, prior_sd, width)

    def log_prob(self, value: Any) -> np.ndarray:
        """Log density at v, of the shape of `value`; inf at v = 0 for width 1."""
        value = np.asarray(value, dtype=np.float64)
        finite = np.where(np.isinf(value), 0.0, value)
        return np.where(np.isinf(value), -np.inf, self._shape(finite) - self._log_mass)

    def cdf(self, value: Any) -> np.ndarray:
        """P(V <= v), of the shape of `value`."""
        value = np.asarray(value, dtype=np.float64)
        edges, cumulative = self._panels
        inside = np.clip(np.where(np.isnan(value), 0.0, value), edges[0], edges[-1])
        panel = np.clip(np.searchsorted(edges, inside, side="right") - 1, 0, len(edges) - 2)
        result = cumulative[panel] + self._mass(edges[panel], inside)
        result = np.where(value >= edges[-1], 1.0, np.clip(result, 0.0, 1.0))
        return np.where(np.isnan(value), np.nan, result)

    def icdf(self, q: Any) -> np.ndarray:
        """Quantiles at q, of the shape of `q`; NaN outside [0, 1]."""
        q = np.asarray(q, dtype=np.float64)
        result = np.full(q.shape, np.nan)
        result[q == 0], result[q == 1] = -np.inf, np.inf
        inside = (q > 0) & (q < 1)
        result[inside] = self._invert(q[inside])
        return result[()]

    def _invert(self, q: np.ndarray) -> np.ndarray:
        """Newton steps inside a bracket, with bisection wherever a step would leave it; q in (0, 1), shape (K,)."""
        edges, cumulative = self._panels
        panel = np.clip(np.searchsorted(cumulative, q, side="right") - 1, 0, len(edges) - 2)
        start, reached, low, high = edges[panel], cumulative[panel], edges[panel], edges[panel + 1]
        with np.errstate(invalid="ignore"):
            share = np.nan_to_num((q - reached) / (cumulative[panel + 1] - reached), nan=0.5)
        value = low + np.clip(share, 0.0, 1.0) * (high - low)
        todo = np.arange(len(q))
        for _ in range(80):
            gap = reached[todo] + self._mass(start[todo], value[todo]) - q[todo]
            open_ = np.abs(gap) > 4 * np.finfo(float).eps * q[todo]
            todo, gap = todo[open_], gap[open_]
            if not todo.size:
                break
            v = value[todo]
            low[todo], high[todo] = np.where(gap < 0, v, low[todo]), np.where(gap < 0, high[todo], v)
            with np.errstate(over="ignore", invalid="ignore"):
                step = v - gap * np.exp(-self.log_prob(v))
            good = (step > low[todo]) & (step < high[todo])
            value[todo] = np.where(good, step, 0.5 * (low[todo] + high[todo]))
        return value

    @property
    def log_normalizer(self) -> float:
        """Log of the integral of prior(v) exp(-(v - v*)^2/(2 sd^2)), with the likelihood's own v* and sd."""
        return self._log_mass

    @cached_property
    def mean(self) -> float:
        """Posterior mean of v."""
        nodes, mass = self._quadrature
        return float(np.sum(mass * nodes))

    @cached_property
    def variance(self) -> float:
        """Posterior variance of v."""
        nodes, mass = self._quadrature
        return float(np.sum(mass * (nodes - self.mean) ** 2))

    def given_side(self, side: int) -> tuple[float, float, float]:
        """Mass on the side ``side`` (1 or -1) of v = 0, and mean and variance of v given that side."""
        nodes, mass = self._quadrature
        mass = np.where(side * nodes > 0, mass, 0.0)
        total = float(np.sum(mass))
        mean = float(np.sum(mass * nodes)) / total
        return total, mean, float(np.sum(mass * (nodes - mean) ** 2)) / total

    @property
    def negative_mass(self) -> float:
        """Posterior mass on v < 0, to full relative accuracy."""
        edges, cumulative = self._panels
        return float(cumulative[np.searchsorted(edges, 0.0)])

    def _shape(self, value: np.ndarray) -> np.ndarray:
        """Log density up to a constant."""
        z = (value - self._centre) / self._sd
        return log_density(value, *self._prior) - 0.5 * z * z

    def _mass(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Mass of the intervals [low, high], each inside one panel."""
        half = 0.5 * (high - low)
        # An empty interval at the singularity would be 0 times infinity.
        nodes = low[..., None] + np.maximum(half, 1e-300)[..., None] * (1 + _NODES)
        return half * (np.exp(self._shape(nodes) - self._log_mass) @ _WEIGHTS)

    @cached_property
    def _log_mass(self) -> float:
        return self._grid[0]

    @cached_property
    def _panels(self) -> tuple[np.ndarray, np.ndarray]:
        """Edges of the panels and the cdf there."""
        log_mass, edges = self._grid
        cumulative = np.concatenate([[0.0], np.cumsum(self._mass(edges[:-1], edges[1:]))])
        return edges, cumulative

    @cached_property
    def _quadrature(self) -> tuple[np.ndarray, np.ndarray]:
        """Nodes and their masses, which add up to 1."""
        _, edges = self._grid
        half = 0.5 * np.diff(edges)[:, None]
        nodes = edges[:-1, None] + half * (1 + _NODES)
        return nodes, half * _WEIGHTS * np.exp(self._shape(nodes) - self._log_mass)

    @cached_property
    def _grid(self) -> tuple[float, np.ndarray]:
        """Log of the normalising integral, and the edges of the panels."""
        # The prior falls away from 0 on both sides, so the Gaussian alone bounds the tails.
        low = min(0.0, self._centre) - _REACH * self._sd
        high = max(0.0, self._centre) + _REACH * self._sd
        graded = max(-low, high) * 2.0 ** -np.arange(0.0, 120.0)
        peak = self._centre + self._sd * np.arange(-_REACH, _REACH + 1)
        edges = np.unique(np.concatenate([-graded, [0.0], graded, peak, [low, high]]))
        edges = edges[(edges >= low) & (edges <= high)]

        def log_masses(edges: np.ndarray) -> np.ndarray:
            half = 0.5 * np.diff(edges)
            logs = self._shape(edges[:-1, None] + half[:, None] * (1 + _NODES))
            return special.logsumexp(logs, b=half[:, None] * _WEIGHTS, axis=-1)

        for _ in range(60):
            whole = log_masses(edges)
            total = special.logsumexp(whole)
            finer = np.sort(np.concatenate([edges, 0.5 * (edges[:-1] + edges[1:])]))
            halves = np.logaddexp.reduce(log_masses(finer).reshape(-1, 2), axis=-1)
            wrong = np.abs(np.exp(whole - total) - np.exp(halves - total)) > _PANEL_ERROR
            if not wrong.any():
                break
            edges = np.sort(np.concatenate([edges, 0.5 * (edges[:-1] + edges[1:])[wrong]]))
        return float(total), edges
