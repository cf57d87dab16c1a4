"""Gaussians fitted on fixed draws by L-BFGS: a deterministic bound, so that convergence is a fact and not a trend."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
import scipy.optimize
from scipy.stats import norm, qmc

from sgdvi._internal.text import count
from sgdvi.samplers.mode import LARGEST
from sgdvi.samplers.references.joint import Joint

# Gradient of the bound in units of posterior sds, nats per sd.
LARGEST_GRADIENT = 1e-5
# Posterior sds between fits on two sets of draws.
LARGEST_DISAGREEMENT = 0.1
# Nats between the bound on the draws of the fit and on fresh ones.
LARGEST_GAP = 0.1
_DRAWS = 512
_PER_DIMENSION = 32
_MOST_DRAWS = 16_384
# Numbers of data that a search reads, some minutes of one core: beyond it the fit is said not to have converged.
_MOST_READ, _LEAST_STEPS = 4e9, 100
# Where there is no mode to take a scale from.
_SCALE = 0.1
# Of the largest curvature: flat directions of a symmetry get no endless scale.
_LEAST_CURVATURE = 1e-3
_TOO_HIGH = 1e50


@dataclass(frozen=True, eq=False)
class Place:
    """Where a fit begins, and the scale there: z = centre + root x.

    Attributes
    ----------
    centre
        Vector, (D,).
    root
        Lower triangular matrix, (D, D), or standard deviations, (D,).
    """

    centre: np.ndarray
    root: np.ndarray

    def at(self, x: np.ndarray) -> np.ndarray:
        """Return the vectors of standardised ones, (..., D)."""
        return self.centre + (x * self.root if self.root.ndim == 1 else x @ self.root.T)

    def back(self, gradient: np.ndarray) -> np.ndarray:
        """Return gradients in x from gradients in z."""
        return gradient * self.root if self.root.ndim == 1 else gradient @ self.root

    @property
    def log_volume(self) -> float:
        """Log of the determinant of the root."""
        return float(np.log(self.root if self.root.ndim == 1 else np.diag(self.root)).sum())


def place_of(joint: Joint, *, full: bool) -> Place:
    """Return the mode with the scale of the curvature there; without one the lowest start with a small scale."""
    mode = joint.mode
    if not (mode.exists or mode.decrement < 1):
        values, _ = joint.slopes(joint.starts)
        return Place(joint.starts[int(np.argmin(values))], np.full(joint.dimension, _SCALE))
    if mode.hessian is None:
        diagonal = np.array([joint.product(mode.vector, e)[i] for i, e in enumerate(np.eye(joint.dimension))])
        return Place(mode.vector, _deviations(diagonal))
    if not full:
        return Place(mode.vector, _deviations(np.diag(mode.hessian)))
    scale = _deviations(np.diag(mode.hessian))
    values, vectors = np.linalg.eigh(mode.hessian * np.outer(scale, scale))
    floor = 0.0 if mode.exists else _LEAST_CURVATURE * values[-1]
    half = scale[:, None] * vectors / np.sqrt(np.maximum(values, floor))
    return Place(mode.vector, np.linalg.cholesky(half @ half.T))


def _deviations(curvature: np.ndarray) -> np.ndarray:
    floor = _LEAST_CURVATURE * max(float(np.abs(curvature).max()), 1e-300)
    return 1 / np.sqrt(np.where(curvature > 0, curvature, floor))


@dataclass(frozen=True, eq=False)
class GaussianFit:
    """A Gaussian in unconstrained coordinates and how its fit went.

    Attributes
    ----------
    mean, root
        Mean, (D,), and root of the covariance as in `Place`.
    bounds
        Evidence lower bound at each step of the last fit.
    gradient
        Largest entry of the gradient of the bound at the end, nats per sd.
    disagreement
        Largest difference of mean or log standard deviation between fits on two sets of draws, in sds; inf where the
        second was not made.
    num_draws
        Draws of each set.
    """

    mean: np.ndarray
    root: np.ndarray
    bounds: list[float]
    gradient: float
    disagreement: float
    num_draws: int

    @property
    def problem(self) -> str:
        """Why the fit has not converged; empty where it has."""
        if not self.gradient < LARGEST_GRADIENT:
            after = f"after {count(len(self.bounds), 'step')}"
            return f"the gradient of the bound is {self.gradient:.2g} {after}, above {LARGEST_GRADIENT:g}"
        if not self.disagreement < LARGEST_DISAGREEMENT:
            return f"fits on two sets of {self.num_draws} draws differ by {self.disagreement:.2g} sd"
        return ""

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Return independent draws, (count, D)."""
        return Place(self.mean, self.root).at(rng.standard_normal((count, self.mean.size)))

    def log_density(self, z: np.ndarray) -> np.ndarray:
        """Log density at vectors (K, D)."""
        away = (z - self.mean).T
        if self.root.ndim == 1:
            x = away / self.root[:, None]
        else:
            x = scipy.linalg.solve_triangular(self.root, away, lower=True)
        place = Place(self.mean, self.root)
        return -0.5 * (x**2).sum(0) - 0.5 * self.mean.size * np.log(2 * np.pi) - place.log_volume


def fit_gaussian(
    joint: Joint,
    *,
    full: bool,
    rng: np.random.Generator,
    num_steps: int,
    on_step: Callable[[], object] = lambda: None,
) -> GaussianFit:
    r"""Maximise the evidence lower bound of a Gaussian z = centre + root (mu + L x) on fixed draws x.

    The draws are scrambled Sobol points, made normal, with their mirror images. On them the bound is a smooth function
    of mu and L, diagonal or lower triangular, that L-BFGS maximises to a gradient of 1e-5. A second set of draws must
    give the same Gaussian within 0.1 sd, or both are doubled.

    Parameters
    ----------
    joint
        The density.
    full
        Whether L is a triangular matrix.
    rng
        Randomness of the draws.
    num_steps
        Most steps of each search; fewer where data, draws and parameters together are so many that they would take
        many minutes.
    on_step
        Called after each step.
    """
    place = place_of(joint, full=full and joint.dimension <= LARGEST)
    size = joint.dimension
    draws = max(_DRAWS, 2 ** int(np.ceil(np.log2(_PER_DIMENSION * size))) if full else 0)
    x = np.zeros(size * (size + 3) // 2 if full else 2 * size)
    asked = num_steps
    while True:
        num_steps = int(min(asked, max(_LEAST_STEPS, _MOST_READ / (draws * joint.held))))
        first = _search(joint, place, full, _normal_points(size, draws, rng), x, num_steps, on_step)
        x = first.x
        if not first.gradient < LARGEST_GRADIENT:
            return _fit(place, first, np.inf, draws)
        second = _search(joint, place, full, _normal_points(size, draws, rng), x, num_steps, on_step)
        gap = _disagreement(place, first, second)
        if gap < LARGEST_DISAGREEMENT or 2 * draws > _MOST_DRAWS:
            return _fit(place, first, gap, draws)
        draws *= 2


@dataclass(frozen=True, eq=False)
class _End:
    """Where a search ended: its point, mu and L of it, the bounds on its way and the gradient."""

    x: np.ndarray
    mu: np.ndarray
    factor: np.ndarray
    bounds: list[float]
    gradient: float


def _search(
    joint: Joint,
    place: Place,
    full: bool,
    points: np.ndarray,
    x: np.ndarray,
    num_steps: int,
    on_step: Callable[[], object],
) -> _End:
    size = joint.dimension
    lower = np.tril_indices(size)
    on_diagonal = lower[0] == lower[1]
    constant = place.log_volume + 0.5 * size * np.log(2 * np.pi * np.e)
    bounds: list[float] = []

    def parts(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if not full:
            return x[:size], np.exp(x[size:])
        entries = x[size:].copy()
        entries[on_diagonal] = np.exp(entries[on_diagonal])
        factor = np.zeros((size, size))
        factor[lower] = entries
        return x[:size], factor

    def negative_bound(x: np.ndarray) -> tuple[float, np.ndarray]:
        with np.errstate(over="ignore", invalid="ignore"):
            mu, factor = parts(x)
            moved = mu + (points @ factor.T if full else points * factor)
            values, gradients = joint.slopes(place.at(moved))
            slopes = place.back(gradients)
            if not (np.isfinite(values).all() and np.isfinite(slopes).all()):
                return _TOO_HIGH, np.zeros_like(x)
            if full:
                of_factor = (slopes.T @ points / len(points))[lower]
                of_factor[on_diagonal] = of_factor[on_diagonal] * np.diag(factor) - 1
                logs = np.log(np.diag(factor)).sum()
            else:
                of_factor, logs = (slopes * points).mean(0) * factor - 1, x[size:].sum()
        return float(values.mean() - logs - constant), np.concatenate([slopes.mean(0), of_factor])

    def note(intermediate_result: Any) -> None:
        bounds.append(-float(intermediate_result.fun))
        on_step()

    options = {"maxcor": 20, "ftol": 0.0, "gtol": LARGEST_GRADIENT / 2, "maxiter": num_steps, "maxfun": 2 * num_steps}
    optimum = scipy.optimize.minimize(negative_bound, x, jac=True, method="L-BFGS-B", options=options, callback=note)
    gradient = float(np.abs(optimum.jac).max()) if optimum.fun < _TOO_HIGH else np.inf
    return _End(optimum.x, *parts(optimum.x), bounds or [-float(optimum.fun)], gradient)


def _fit(place: Place, end: _End, gap: float, draws: int) -> GaussianFit:
    mean, root = _in_z(place, end)
    return GaussianFit(mean, root, end.bounds, end.gradient, gap, draws)


def _in_z(place: Place, end: _End) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and root of the Gaussian in z."""
    mean = place.at(end.mu)
    if place.root.ndim == 2:
        return mean, place.root @ end.factor
    return mean, place.root * end.factor if end.factor.ndim == 1 else place.root[:, None] * end.factor


def _disagreement(place: Place, one: _End, other: _End) -> float:
    means, roots = zip(*(_in_z(place, end) for end in (one, other)), strict=True)
    sds = [root if root.ndim == 1 else np.sqrt((root**2).sum(1)) for root in roots]
    return float(max(np.abs((means[0] - means[1]) / sds[0]).max(), np.abs(np.log(sds[0] / sds[1])).max()))


def _normal_points(size: int, count: int, rng: np.random.Generator) -> np.ndarray:
    sobol = qmc.Sobol(size, scramble=True, rng=rng).random_base2(int(np.log2(count)) - 1)
    # scrambled points can be 0
    points = norm.ppf(np.clip(sobol, 1e-12, 1 - 1e-12))
    points /= np.sqrt((points**2).mean(0))  # the variance that the bound of a Gaussian posterior depends on
    return np.concatenate([points, -points])
