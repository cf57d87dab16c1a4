"""Numbers of one law by quadrature on its panels: mean, variance, moments, entropy, and its far tails."""

from typing import Any, NamedTuple

import numpy as np
from jax import Array

from sgdvi.laws._engine import xp
from sgdvi.laws._engine.deep import Deep
from sgdvi.laws._engine.density import Density, Parameters, exponential_mass
from sgdvi.laws._engine.panels import Shape, first_of_largest
from sgdvi.laws._engine.table import Quadrature, integrate, node_masses

# Far tails are integrated outward in units of the local decay length: the pieces' ends, and nodes on [0, 1].
# A power law in the distance from k falls by as many octaves as a narrow bulk is below the scale of v.
_ENDS = np.concatenate([[0.0], 2.0 ** np.arange(-2, 5, 0.5), 2.0 ** np.arange(5, 41)])
_BARRIER_PANELS = 512
_x, _w = np.polynomial.legendre.leggauss(12)
_PLACES = (_ENDS[:-1, None] + np.diff(_ENDS)[:, None] * (_x + 1) / 2).reshape(-1)
_SHARES = (np.diff(_ENDS)[:, None] * _w / 2).reshape(-1)


class Numbers(NamedTuple):
    """Mean and variance of v, differential entropy, and mean and variance of one factor u = (v/d)^(1/n)."""

    mean: Array
    variance: Array
    entropy: Array
    factor_mean: Array
    factor_variance: Array


def line_mean_variance(p: Parameters) -> tuple[Array, Array]:
    """Mean and variance at depth 0, in closed form."""
    temperature, b = p.temperature * p.width, p.beta1 + p.weight_decay / p.width
    mean = p.beta2 / b
    noise = p.alpha1 * mean**2 - 2 * p.alpha2 * mean + p.alpha3
    room = b - temperature * p.alpha1
    variance = xp.where(room > 0, temperature * noise / xp.where(room > 0, room, 1.0), np.inf)
    return xp.where(xp.isnan(p.temperature), np.nan, mean), variance


def line_moment(p: Parameters, order: int) -> Array:
    """Raw moment at depth 0, from b m_k = beta2 m_(k-1) + T (k-1) E[v^(k-2) g]."""
    temperature, b = p.temperature * p.width, p.beta1 + p.weight_decay / p.width
    before, moment = xp.zeros_like(b), xp.ones_like(b)
    for k in range(1, order + 1):
        heat = temperature * (k - 1)
        room = b - heat * p.alpha1
        exists = room > 0
        following = (p.beta2 - 2 * heat * p.alpha2) * moment + heat * p.alpha3 * before
        # An odd moment beyond the last one that exists is inf - inf.
        beyond = np.inf if k % 2 == 0 else np.nan
        before, moment = moment, xp.where(exists, following / xp.where(exists, room, 1.0), beyond)
    return xp.where(xp.isnan(p.temperature), np.nan, moment)


def numbers(p: Parameters, density: Density, quadrature: Quadrature) -> Numbers:
    """Numbers of a law at depth >= 1, where v = r exp(z), by quadrature with analytic tails."""
    nodes, level, mass = node_masses(density, quadrature)
    r = density.to_v(xp.zeros_like(quadrature.log_norm))
    mean, variance = _power(quadrature, nodes, mass, xp.ones_like(r))
    share, n = r / p.width, p.depth + 1
    factor_mean, factor_variance = _power(quadrature, nodes, mass, 1 / n)
    return Numbers(
        mean * r,
        variance * r**2,
        _entropy(density, quadrature, nodes, level, mass),
        factor_mean * share ** (1 / n),
        factor_variance * share ** (2 / n),
    )


def line_numbers(p: Parameters, density: Density, quadrature: Quadrature) -> Numbers:
    """Numbers of a law at depth 0: closed but for the entropy."""
    mean, variance = line_mean_variance(p)
    entropy = _entropy(density, quadrature, *node_masses(density, quadrature))
    return Numbers(mean, variance, entropy, mean / p.width, variance / p.width**2)


def _power(quadrature: Quadrature, nodes: Array, mass: Array, power: Array) -> tuple[Array, Array]:
    """Mean and variance of exp(power z); centred, so that a narrow law costs no digits."""
    q = quadrature

    # Over an exponential tail beyond z0 the mean of exp(k z) is exp(k z0) rate/(rate +- k), here k = order power.
    def left(order: int) -> Array:
        rate = q.left_rate
        return q.left * xp.exp(order * power * q.edges[0]) * rate / (rate + order * power)

    def right(order: int) -> Array:
        # The window reaches to where this is nothing, unless the tail is a power law, which has room for it.
        room = q.right_rate - order * power
        share = q.right * xp.exp(order * power * q.edges[-1]) * q.right_rate
        return xp.where(room > 0, share / xp.where(room > 0, room, 1.0), 0.0)

    ratio = xp.exp(power * nodes)
    mean = xp.sum(mass * ratio) + left(1) + right(1)
    zeroth, first, second = (left(order) + right(order) for order in range(3))
    # In the tails the ratio is far from its mean, so that there the expanded square does not cancel.
    return mean, xp.sum(mass * (ratio - mean) ** 2) + second - 2 * mean * first + mean**2 * zeroth


def _entropy(density: Density, quadrature: Quadrature, nodes: Array, level: Array, mass: Array) -> Array:
    """-E[log p(v)] in nats."""
    first, last = quadrature.edges[0], quadrature.edges[-1]
    inner = xp.where(mass > 0, level - density.log_jacobian(nodes), 0.0)
    # On an exponential tail the mean of the log density is its value at the edge, less one; z moves by 1/rate.
    left = quadrature.end_levels[0] - 1 - density.log_jacobian(first) + 1 / quadrature.left_rate
    right = quadrature.end_levels[1] - 1 - density.log_jacobian(last) - 1 / quadrature.right_rate
    tails = _share(quadrature.left, left) + _share(quadrature.right, right)
    return quadrature.log_norm - xp.sum(mass * inner) - tails


def log_power_mean(density: Any, log_norm: Array, order: Array) -> Array:
    """Log of E[v^order] at depth >= 1: the normaliser of the density times v^order, over the density's own."""
    tilted = _tilt(density, order)
    return integrate(tilted).log_norm + tilted.top - log_norm


class Tilted(NamedTuple):
    """A density on v = r exp(z) times v^order, seen from z = shift, where it is ``top`` high."""

    density: Any
    order: Array
    shift: Array
    top: Array

    def log_density(self, z: Array) -> Array:
        """Log density in z, 0 at z = 0."""
        return _tilted(self.density, self.order, z + self.shift) - self.top

    def slope(self, z: Array) -> Array:
        """Its derivative."""
        return self.density.slope(z + self.shift) + self.order

    def shape(self) -> Shape:
        """That of the density, moved."""
        shape = self.density.shape()
        return Shape(
            lower=shape.lower - self.shift,
            upper=shape.upper - self.shift,
            centre=shape.centre - self.shift,
            distance=shape.distance,
            curvature=xp.maximum(-self.density.bend(self.shift), 0.1 * shape.curvature),
            growth=0.0,
        )

    def left_mass(self, z: Array, level: Array, slope: Array) -> Array:
        """Integral of the density from -infinity to z, at or below ``shape().lower``."""
        del z
        return exponential_mass(level, slope)

    def left_rate(self, slope: Array) -> Array:
        """Rate at which that integral falls further out."""
        return slope


def _tilted(density: Any, order: Array, z: Array) -> Array:
    return density.log_density(z) + order * density.log_jacobian(z)


def _tilt(density: Any, order: Array) -> Tilted:
    shape = density.shape()
    width = 1 / xp.sqrt(shape.curvature)
    even = shape.lower + (shape.upper - shape.lower) * np.linspace(0.0, 1.0, 256)
    bulk = width * xp.sinh(np.linspace(-1.0, 1.0, 257) * xp.arcsinh(60.0 / width))
    grid = xp.concatenate([even, xp.clip(bulk, shape.lower, shape.upper)])
    level = _tilted(density, order, grid)
    # The best point of the grid will do: an origin must lie in the bulk, not at its very top.
    best = first_of_largest(xp.where(xp.isnan(level), -np.inf, level))
    shift, top = xp.stop_gradient((grid[best], level[best]))
    return Tilted(density, order, shift, top)


def barrier(p: Parameters, density: Deep, log_norm: Array) -> tuple[Array, Array, Array]:
    """Place and height of the barrier before a metastable bulk, and the log of the mean time until it is passed.

    The flow of x = log v has the noise s^2 = 4 T n^2 g (v/d)^(2m). The time from the bulk over the barrier is the
    bulk's mass times the integral of 2/(s^2 p) below it.
    """
    # The law ends at the barrier; the time is an integral below it, of the density that goes on.
    whole = density._replace(floor=xp.full_like(density.floor, -np.inf))
    edge = density.floor
    # 1/p falls off below the barrier like a double exponential; above, it is negligible from the maximum on.
    ends = (edge - 10 / density.drift.order) * np.linspace(1.0, 0.0, _BARRIER_PANELS + 1)
    half = xp.diff(ends)[:, None] / 2
    z = ends[:-1, None] + half * (1 + _x)
    s, v = density.noise.r * xp.expm1(z), density.to_v(z)
    log_noise = xp.log(2 * p.temperature * (p.depth + 1) ** 2 * density.noise.value(s))
    log_noise = log_noise + 2 * density.drift.order * xp.log(v / p.width)
    level = -whole.log_density(z) - log_noise
    top = xp.max(level)
    time = top + xp.log(xp.sum(xp.exp(level - xp.where(xp.isfinite(top), top, 0.0)) * half * _w))
    return density.to_v(edge), -whole.log_density(edge), log_norm + time


def log_tail(density: Density, log_norm: Array, z: Array, side: int) -> Array:
    """Log of the mass beyond z on one side (-1 below, 1 above), where the density falls outward of z."""
    rate = -side * density.slope(z)
    length = xp.where(rate > 0, 1 / xp.where(rate > 0, rate, 1.0), np.nan)
    here = density.log_density(z)

    def share(place: Array, weight: Array) -> Array:
        level = density.log_density(z + side * place * length) - here
        # Beyond the largest number there is nothing to add.
        return weight * xp.where(xp.isnan(level), 0.0, xp.exp(level))

    total = xp.sum_over(share, _PLACES, _SHARES, like=z)
    return here - log_norm + xp.log(total * length)


def _share(mass: Array, value: Array) -> Array:
    return xp.where(mass > 0, mass * xp.where(mass > 0, value, 0.0), 0.0)
