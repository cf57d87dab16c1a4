"""The minimum of the loss, checked by Newton decrement and curvature; or the statement that there is none, and why."""

from dataclasses import dataclass
from typing import Any, Protocol

import jax
import numpy as np
import scipy.linalg
import scipy.optimize
import scipy.sparse.linalg

from sgdvi._internal.arguments import checked
from sgdvi._internal.check import whole
from sgdvi.samplers.flat import FlatLoss
from sgdvi.samplers.targets.make import Source, as_arguments

# Up to so many parameters the whole Hessian is made at every step; beyond, its products with vectors.
LARGEST = 300
NUM_STARTS = 4
# Of a posterior sd: far below what any comparison of draws can see.
LARGEST_DECREMENT = 1e-3
# Of the largest curvature, in coordinates in which all second derivatives are 1: below it is rounding, or a symmetry.
LEAST_CURVATURE = 1e-10
# Below it a search has to come nearer before its end is judged.
_DOUBTFUL = 1e-6
# A search ends here, where rounding leaves little to gain.
_DONE = 1e-6
# A search that ends more than this from a minimum, in posterior sds, and whose second half moved a parameter by more
# than this, follows a loss that falls without end: by 9 to 16 in centred hierarchies, 0.002 at the kinks of a network.
_RUNS_AWAY = 1.0
_MOST_STEPS = 300
# Where no start leads to a mode: some of them, so much nearer to 0.
_NEARER, _SHARES = 2, (0.1, 0.01)
# Nats: two modes that differ by less are one.
_SAME = 1e-4
# SciPy's own 1000 is a few sds in raw units.
_RADIUS = 1e8
_SHOWN_SITES = 3
# Each halves the logarithm of what the scales are off by; products of the Hessian in each.
_EQUILIBRATIONS, _PROBES = 8, 4


@dataclass(frozen=True, eq=False)
class Mode:
    """The lowest minimum of the loss L (negative log joint / N, unconstrained coordinates) that was found, in float64.

    Attributes
    ----------
    point
        Parameters there, a pytree of NumPy arrays; where there is no mode, where the best search ended.
    vector, names
        The same raveled, (D,), and the names of its coordinates.
    loss
        L there.
    hessian
        Hessian of L, (D, D); None for more than 300 parameters.
    decrement
        Newton decrement of N L, :math:`(N g' H^{-1} g)^{1/2}`: distance from the minimum in posterior sds.
    least_curvature
        Smallest eigenvalue of the Hessian in coordinates in which its diagonal is 1, over the largest.
    others
        How much higher N L is at other checked minima, in nats, ascending.
    reason
        Why this is no mode, and what to do; empty where it is one.
    sites
        Coordinates along which L falls, where there is no mode.
    num_starts
        Searches made.
    unbounded
        Whether there is no mode as the searches ran away, and not as the loss is flat along a symmetry, or has kinks.
    """

    point: Any
    vector: np.ndarray
    names: tuple[str, ...]
    loss: float
    hessian: np.ndarray | None
    decrement: float
    least_curvature: float
    others: tuple[float, ...]
    reason: str
    sites: tuple[str, ...]
    num_starts: int
    unbounded: bool

    @property
    def exists(self) -> bool:
        """Whether the point is a mode."""
        return not self.reason

    def __str__(self) -> str:
        if self.reason:
            return self.reason
        text = f"mode: decrement {self.decrement:.1g} posterior sd, least curvature {self.least_curvature:.2g}"
        more = ", ".join(f"{nats:.3g}" for nats in self.others)
        return f"{text}; other modes are {more} nats lower in density" if more else text


@checked
def find_mode(model: Source, data: Any, *, key: jax.Array | None = None, num_starts: int = NUM_STARTS) -> Mode:
    r"""Find the mode of a model's joint density in unconstrained coordinates, and check that it is one.

    SciPy's trust-region Newton method runs from several starts; above 300 parameters L-BFGS and then the trust-region
    method with Hessian-vector products. A point is a mode where the decrement :math:`(N g' H^{-1} g)^{1/2}` is below
    0.001 posterior sd and the Hessian is positive definite. Of several, the one with the highest density is returned.

    Parameters
    ----------
    model
        NumPyro model, or `Loss`.
    data
        Its data, as for `sgdvi.sample`.
    key
        Key of the starts; None is ``jax.random.key(0)``.
    num_starts
        Number of starts, uniform on (-2, 2); a `Loss` has one, its own parameters.

    Raises
    ------
    InputError
        For a model or data that SGD cannot run on. That there is no mode is no error: see `Mode.reason`.

    Examples
    --------
    >>> import numpy as np, numpyro, sgdvi, numpyro.distributions as dist
    >>> def model(y):
    ...     mu = numpyro.sample("mu", dist.Normal(0, 10))
    ...     with numpyro.plate("data", len(y)):
    ...         numpyro.sample("y", dist.Normal(mu, 1), obs=y)
    >>> mode = sgdvi.find_mode(model, np.array([1.0, 2.0, 3.0]))
    >>> mode.exists, round(float(mode.point["mu"]), 3)
    (True, 1.993)
    """
    count = whole("num_starts", num_starts, least=1)
    key = jax.random.key(0) if key is None else key
    return search(FlatLoss(model, as_arguments(model, data), key=key, num_starts=count))


class Smooth(Protocol):
    """What a mode is searched of: see `FlatLoss`."""

    starts: np.ndarray
    names: tuple[str, ...]

    @property
    def num_data(self) -> int:
        """What the loss was divided by."""

    def params(self, z: np.ndarray) -> Any:
        """Return a vector as parameters."""

    def slope(self, z: np.ndarray) -> tuple[float, np.ndarray]:
        """Loss and gradient."""

    def curved(self, z: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Loss, gradient and Hessian."""

    def product(self, z: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Hessian times a vector."""


def search(flat: Smooth) -> Mode:
    """Return the mode of a loss that has been made flat: see `find_mode`."""
    small = flat.starts.shape[1] <= LARGEST
    look = _dense if small else _sparse
    ends = [look(flat, start) for start in flat.starts]
    if all(end.reason for end in ends):
        # a covariate of some hundreds in an exponential puts starts of order 1 where there is nothing to follow
        ends += [look(flat, share * start) for start in flat.starts[:_NEARER] for share in _SHARES]
    ends.sort(key=lambda end: (bool(end.reason), end.loss if np.isfinite(end.loss) else np.inf))
    best = ends[0]
    gaps = sorted(flat.num_data * (end.loss - best.loss) for end in ends[1:] if not end.reason)
    others: list[float] = []
    for gap in gaps:
        if gap > (others[-1] if others else 0.0) + _SAME:
            others.append(gap)
    sites = _falling(flat, best) if best.reason else ()
    advice = ""
    if best.reason:
        where = f" It falls along {', '.join(sites)}." if sites else ""
        advice = (
            f"no joint mode was found from {len(ends)} start(s): {best.reason}.{where} Write a hierarchy in its "
            "non-centred form, integrate the latent out, or give its scale a prior that is 0 at 0."
        )
    vector, hessian = best.path[-1], best.hessian
    return Mode(
        flat.params(vector), vector, flat.names, best.loss, hessian, best.decrement, best.least, tuple(others), advice,
        sites, len(ends), bool(best.reason) and _ran_away(best),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _End:
    """Where one search ended, and its way."""

    path: list[np.ndarray]
    loss: float
    hessian: np.ndarray | None
    decrement: float
    least: float
    reason: str


def judged(decrement: float, least: float) -> str:
    """Say why a point is no mode; empty where it is one."""
    if not least > LEAST_CURVATURE:
        return f"the Hessian is not positive definite at the best point (an eigenvalue of {least:.2g} of the largest)"
    if not decrement < LARGEST_DECREMENT:
        return f"the search ended {decrement:.2g} posterior sd from a minimum"
    return ""


def _dense(flat: Smooth, start: np.ndarray) -> _End:
    """Search with whole Hessians."""
    kept: list[Any] = [None, None]

    def at(z: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        # SciPy asks for value, gradient and Hessian one after the other at the same point
        if kept[0] is None or not np.array_equal(kept[0], z):
            kept[:] = z.copy(), flat.curved(z)
        return kept[1]

    size, path = flat.num_data, [start]

    def step(z: np.ndarray) -> None:
        path.append(z.copy())
        _, gradient, hessian = at(z)
        # the gradient that SciPy looks at has units; the decrement has none
        if _decrement(gradient, hessian, size) < _DONE:
            raise StopIteration

    options = {"max_trust_radius": _RADIUS, "maxiter": _MOST_STEPS, "gtol": 1e-12}
    _minimise(
        lambda z: _or_infinite(size * at(z)[0]), start, jac=lambda z: size * at(z)[1], hess=lambda z: size * at(z)[2],
        method="trust-exact", callback=step, options=options,
    )  # fmt: skip
    loss, gradient, hessian = at(path[-1])
    decrement, least = _measures(gradient, hessian, size)
    if LEAST_CURVATURE < least < _DOUBTFUL and decrement < LARGEST_DECREMENT:
        # along a symmetry the loss is curved by what is left of the gradient: after a step more that is rounding
        path.append(path[-1] - np.linalg.lstsq(hessian, gradient)[0])
        loss, gradient, hessian = at(path[-1])
        decrement, least = _measures(gradient, hessian, size)
    return _End(path, loss, hessian, decrement, least, judged(decrement, least))


def _measures(gradient: np.ndarray, hessian: np.ndarray, num_data: int) -> tuple[float, float]:
    """Return the decrement and the least curvature; infinite and nan where the Hessian is not finite."""
    if not (np.isfinite(hessian).all() and np.isfinite(gradient).all()):
        return np.inf, np.nan
    scale = np.sqrt(np.abs(np.diag(hessian)))
    scale[scale == 0] = 1.0
    values, vectors = np.linalg.eigh(hessian / np.outer(scale, scale))
    along = vectors.T @ (gradient / scale)
    floor = 1e-16 * max(np.abs(values).max(), 1e-300)
    # with curvatures by size, so that at a saddle, too, it is a distance
    decrement = np.sqrt(num_data * np.sum(along**2 / np.maximum(np.abs(values), floor)))
    return float(decrement), float(values[0] / np.abs(values).max())


def _decrement(gradient: np.ndarray, hessian: np.ndarray, num_data: int) -> float:
    """Return the decrement alone, infinite where the Hessian is not positive definite: at a tenth of the cost."""
    scale = np.sqrt(np.abs(np.diag(hessian)))
    scale[scale == 0] = 1.0
    try:
        factor = scipy.linalg.cho_factor(hessian / np.outer(scale, scale), lower=True)
    except (ValueError, np.linalg.LinAlgError):
        return np.inf
    slope = gradient / scale
    return float(np.sqrt(num_data * max(slope @ scipy.linalg.cho_solve(factor, slope), 0.0)))


def _sparse(flat: Smooth, start: np.ndarray) -> _End:
    """Search without Hessians: L-BFGS, then the trust-region method with Hessian-vector products."""
    size, path = flat.num_data, [start]

    def value(z: np.ndarray) -> tuple[float, np.ndarray]:
        loss, gradient = flat.slope(z)
        # large, not infinite: the line search interpolates between values
        return (size * loss, size * gradient) if np.isfinite(loss) else (1e50, np.zeros_like(z))

    options = {"maxcor": 20, "ftol": 1e-15, "gtol": 1e-6, "maxiter": 10 * _MOST_STEPS, "maxfun": 20 * _MOST_STEPS}
    path.append(scipy.optimize.minimize(value, start, jac=True, method="L-BFGS-B", options=options).x)
    origin = path[-1]
    scale = _equilibrate(flat, origin)

    def at(u: np.ndarray) -> np.ndarray:
        return origin + u / scale

    def scaled(u: np.ndarray) -> tuple[float, np.ndarray]:
        loss, gradient = value(at(u))
        return loss, gradient / scale

    def product(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        return size * flat.product(at(u), np.ravel(v) / scale) / scale

    _minimise(
        scaled, np.zeros_like(origin), jac=True, hessp=product, method="trust-ncg",
        callback=lambda u: path.append(at(u)), options={"max_trust_radius": _RADIUS, "maxiter": 50, "gtol": 1e-6},
    )  # fmt: skip
    loss, gradient = flat.slope(path[-1])
    u = (path[-1] - origin) * scale
    operator = scipy.sparse.linalg.LinearOperator((start.size, start.size), lambda v: product(u, v), dtype=float)
    # from a fixed vector: the same point is judged in the same way in every process
    first = np.random.default_rng(0).normal(size=start.size)
    ends = [
        float(scipy.sparse.linalg.eigsh(operator, 1, which=end, v0=first, tol=1e-3, return_eigenvectors=False)[0])
        for end in ("LM", "SA")
    ]
    slope = size * gradient / scale
    solved, _ = scipy.sparse.linalg.cg(operator, slope, rtol=1e-3, maxiter=start.size)
    decrement = float(np.sqrt(max(slope @ solved, 0.0)))
    least = ends[1] / abs(ends[0])
    return _End(path, loss, None, decrement, least, judged(decrement, least))


def _equilibrate(flat: Smooth, z: np.ndarray) -> np.ndarray:
    """Return scales, (D,), by which the rows of the Hessian of N L come to be of norm about 1 in any units.

    Ruiz's iteration; norms are of products with random signs (Hutchinson).
    """
    scale, rng = np.ones(z.size), np.random.default_rng(0)
    for _ in range(_EQUILIBRATIONS):
        signs = rng.choice([-1.0, 1.0], (_PROBES, z.size))
        norms = np.sqrt(np.mean([(flat.num_data * flat.product(z, v / scale) / scale) ** 2 for v in signs], axis=0))
        usable = np.isfinite(norms) & (norms > 0)
        scale = scale * np.sqrt(np.where(usable, norms, 1.0))
    return scale


def _minimise(function: Any, start: np.ndarray, **options: Any) -> None:
    """Run SciPy's minimiser, whose way is kept by its callback; a step into nan or infinity ends it."""
    try:
        with np.errstate(all="ignore"):
            scipy.optimize.minimize(function, start, **options)
    except (ValueError, np.linalg.LinAlgError):
        return  # the point before it is judged


def _or_infinite(value: float) -> float:
    return value if np.isfinite(value) else np.inf


def _falling(flat: Smooth, end: _End) -> tuple[str, ...]:
    """Return the coordinates that moved most in the second half of a search that found no minimum."""
    moved = _moved(end)
    if not (np.isfinite(moved).all() and moved.max() > 0):
        return ()
    order = np.argsort(-moved)[:_SHOWN_SITES]
    return tuple(flat.names[i] for i in order if moved[i] > 0.1 * moved.max())


def _moved(end: _End) -> np.ndarray:
    """Return how far each coordinate moved in the second half of a search."""
    return np.abs(end.path[-1] - end.path[len(end.path) // 2])


def _ran_away(end: _End) -> bool:
    return not end.decrement < _RUNS_AWAY and not _moved(end).max() < _RUNS_AWAY
