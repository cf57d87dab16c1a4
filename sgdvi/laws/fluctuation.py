"""Fluctuation inversion: how the spread of SGD rises with the temperature, and falls again before it collapses."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from sgdvi._internal.arguments import checked
from sgdvi._internal.check import InputError, message, require, whole
from sgdvi.laws._engine.arrays import is_traced
from sgdvi.laws.degenerate import support
from sgdvi.laws.moments import Moments
from sgdvi.laws.multiples import Multiple, Temperature, resolve
from sgdvi.laws.phases import critical_temperature
from sgdvi.laws.stationary import SGDStationary
from sgdvi.laws.temperatures import temperature_grid

# Up to _FEW laws are computed in NumPy, _NUMPY at a time as `_engine/batch.py` takes them: nothing is compiled. More
# are compiled _MANY at a time: memory stays small, and one program serves any number of laws.
_FEW, _NUMPY, _MANY = 1024, 8, 2048
# Grid on which maxima are looked for, and the zooms into each of them: each divides the spacing by half of _ZOOM.
_GRID, _ZOOM, _ZOOMS = 256, 8, 6


class Fluctuations(NamedTuple):
    """Mean and variance of SGD in its stationary law, arrays of one shape; zero where it has collapsed.

    Where SGD has no noise at a point, as `stationary_law` says, they are those of a point mass there.
    """

    temperature: np.ndarray
    """Temperatures, in units of learning rate / batch size."""
    mean: np.ndarray
    """E[v]."""
    variance: np.ndarray
    """Var[v]; infinite at depth 0 for T >= (beta1 + gamma)/alpha1."""
    factor_mean: np.ndarray
    """E[u] of one factor u = (v/d)^(1/n) > 0, n = depth + 1."""
    factor_variance: np.ndarray
    """Var[u]."""


@checked
def fluctuations(
    moments: Moments, temperature: Temperature, depth: int = 1, width: int = 1, weight_decay: ArrayLike = 0.0
) -> Fluctuations:
    r"""Mean and variance of v and of a single factor u in the stationary law, over temperatures.

    Parameters
    ----------
    moments, temperature, depth, width, weight_decay
        As in `stationary_law`; moments, temperature and decay broadcast. Concrete values.

    Returns
    -------
    Fluctuations
        Arrays of the broadcast shape.

    Raises
    ------
    InputError
        For parameters out of range, or traced ones.

    Notes
    -----
    On the balanced set all n = D + 1 factors of a unit have the size :math:`|u| = |v/d|^{1/n}` when the d units share v
    equally, and a chain keeps the signs that it started with, so

    .. math:: \mathrm{Var}[u] = d^{-2/n} \bigl(E|v|^{2/n} - (E|v|^{1/n})^2\bigr),

    at depth 1 and width 1 :math:`E[v] - E[\sqrt v]^2`. Both variances rise in proportion to T at first. At depth 1 they
    fall to zero as T approaches Tc (fluctuation inversion; Ziyin, Li and Ueda 2025, section IV), at depth 2 and above
    they die away as T grows, at depth 0 they only rise.
    """
    there = _laws(moments, temperature, depth, width, weight_decay)
    mean, *others = _gather(there, [_four_moments(law) for law in there.laws])
    return Fluctuations(there.temperature, there.side * mean, *others)


def mean_and_variance(
    moments: Moments, temperature: ArrayLike, depth: int = 1, width: int = 1, weight_decay: ArrayLike = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """E[v] and Var[v] as in `fluctuations`, without the factor's, which take most of its time."""
    there = _laws(moments, temperature, depth, width, weight_decay)
    mean, variance = _gather(there, [_two_moments(law) for law in there.laws])[:2]
    return there.side * mean, variance


@checked
def fluctuation_maxima(
    moments: Moments, of: str = "v", depth: int = 1, width: int = 1, weight_decay: float = 0.0
) -> np.ndarray:
    """Temperatures at which the spread of SGD is locally largest, from cold to hot.

    Parameters
    ----------
    moments
        Moments of the data; concrete scalars.
    of
        "v" for Var[v], "u" for the variance of one factor.
    depth, width, weight_decay
        As in `fluctuations`.

    Returns
    -------
    array
        Usually one temperature, to about 1e-6 of itself; data exist with two. Empty at depth 0, where the variance
        rises without end, and where there is no law at any temperature.

    Raises
    ------
    InputError
        For another name, moments that are no scalars, or parameters out of range.

    Examples
    --------
    >>> import sgdvi
    >>> data = sgdvi.Moments.linear(slope=1.0, noise=1.0)
    >>> sgdvi.fluctuation_maxima(data).round(4), float(sgdvi.critical_temperature(data).round(4))
    (array([0.2024]), 0.3333)
    """
    require(of in ("v", "u"), "of must be 'v' or 'u'", repr(of))
    shape = moments.batch_shape
    require(shape == (), "fluctuation_maxima takes scalar moments", f"batch shape {shape}", "Loop over them.")
    critical = float(critical_temperature(moments, depth, weight_decay))
    if depth == 0 or critical == 0:
        return np.zeros(0)

    def spread(heat: np.ndarray) -> np.ndarray:
        if of == "v":
            return mean_and_variance(moments, heat, depth, width, weight_decay)[1]
        return fluctuations(moments, heat, depth, width, weight_decay).factor_variance

    grid = temperature_grid(moments, _GRID, depth, width, weight_decay)
    heights = spread(grid)
    peaks = 1 + np.flatnonzero((heights[1:-1] > heights[:-2]) & (heights[1:-1] >= heights[2:]))
    if not peaks.size:
        return np.zeros(0)
    low, best, high = grid[peaks - 1], grid[peaks], grid[peaks + 1]
    rows = np.arange(len(peaks))
    for _ in range(_ZOOMS):
        fine = np.linspace(low, high, _ZOOM + 1, axis=1)
        heights = spread(fine)
        top = np.clip(np.argmax(heights, axis=1), 1, _ZOOM - 1)
        low, best, high = fine[rows, top - 1], fine[rows, top], fine[rows, top + 1]
    return best


class _Laws(NamedTuple):
    """Laws of |v| where there are some, in chunks, and what there is elsewhere, of one shape."""

    temperature: np.ndarray
    side: np.ndarray
    proper: np.ndarray
    point: np.ndarray
    """Point mass away from zero, of |v| at depth 1 and above; 0 where there is none."""
    factor: np.ndarray
    """One factor there."""
    laws: Iterator[SGDStationary]


def _laws(moments: Moments, temperature: Any, depth: int, width: int, weight_decay: Any) -> _Laws:
    depth, width = whole("depth", depth), whole("width", width, least=1)
    advice = "Call it outside of jit, vmap and grad."
    require(not is_traced(moments, temperature, weight_decay), "parameters must be concrete", "traced ones", advice)
    for name, values in (("temperature", temperature), ("weight_decay", weight_decay)):
        require(np.size(values), f"{name} must have values", "an empty array")
    temperature = resolve(temperature, lambda: critical_temperature(moments, depth, weight_decay))
    leaves = [np.asarray(leaf, np.float64) for leaf in (*jax.tree.leaves(moments), temperature, weight_decay)]
    try:
        alpha1, alpha2, alpha3, beta1, beta2, heat, decay = np.broadcast_arrays(*leaves)
    except ValueError:
        rule = "moments, temperature and weight_decay must broadcast against each other"
        raise InputError(message(rule, f"shapes {[leaf.shape for leaf in leaves[4:]]}")) from None
    # processors that JAX computes on take subnormal numbers for zero
    is_heat = np.isfinite(heat) & (heat >= np.finfo(np.float64).tiny)
    require(np.all(is_heat), "temperature must be finite and above 0, not subnormal", heat.min())
    require(np.all(np.isfinite(decay) & (decay >= 0)), "weight_decay must be finite and at least 0", decay.min())
    # The law on v < 0 is that of |v| under the mirrored data.
    side = np.where((beta2 >= 0) | (depth == 0), 1.0, -1.0)
    parts = [alpha1, side * alpha2, alpha3, beta1, side * beta2, heat, decay]
    data = Moments.tree_unflatten(None, tuple(parts[:5]))
    with jax.enable_x64(True):
        ends = jax.tree.map(np.asarray, support(data, heat, depth, width, decay))
    point = np.asarray(np.where(ends.fixed, ends.point, 0.0))
    # Not a NumPy scalar, into which nothing can be put.
    factor = np.asarray(point / width if depth == 0 else (point / width) ** (1 / (depth + 1)))
    rest = 0.0
    if isinstance(temperature, Multiple) and depth == 1:
        rest = temperature.lost(heat, side * beta2 - decay, alpha3)
    laws = _chunks(np.stack([part[ends.proper] for part in parts]), depth, width, rest)
    return _Laws(heat.copy(), side, ends.proper, point, factor, laws)


def _chunks(flat: np.ndarray, depth: int, width: int, rest: float) -> Iterator[SGDStationary]:
    few = flat.shape[1] <= _FEW
    size = _NUMPY if few else _MANY
    for start in range(0, flat.shape[1], size):
        part: Any = flat[:, start : start + size]
        with jax.enable_x64(True):
            if not few:
                # The last chunk is filled up with copies of its last law.
                part = jnp.pad(part, ((0, 0), (0, size - part.shape[1])), mode="edge")
            *data, heat, decay = part
            law = SGDStationary(Moments(*data), heat, depth=depth, width=width, weight_decay=decay)
            law.temperature_rest = rest
            yield law


def _gather(laws: _Laws, rows: list[tuple[np.ndarray, ...]]) -> list[np.ndarray]:
    """Put what the chunks gave where there are laws; elsewhere a point mass, which zero is, too."""
    shape = laws.proper.shape
    gathered = [laws.point.copy(), np.zeros(shape), laws.factor.copy(), np.zeros(shape)]
    for target, column in zip(gathered, zip(*rows, strict=True), strict=False):
        target[laws.proper] = np.concatenate(column)[: laws.proper.sum()]
    return gathered


def _two_moments(law: SGDStationary) -> tuple[np.ndarray, ...]:
    return np.asarray(law.mean), np.asarray(law.variance)


def _four_moments(law: SGDStationary) -> tuple[np.ndarray, ...]:
    return *_two_moments(law), np.asarray(law.factor_mean), np.asarray(law.factor_variance)
