"""Depth 2 and above, v > 0: no elementary form; the potential of the drift is integrated on panels of its own.

With x = log v the density is v^a g^-1 exp(-C P), P the integral of N(v)/g(v) dv from the maximum r,
N(v) = (beta1 v - beta2 + gamma d^m v^-m) v^(-1-m). The panels are octaves of log(v/r) near r, so that P is exact there
relative to itself: a small temperature, which multiplies P by 1/T, costs no digits.
"""

from typing import Any, NamedTuple

import numpy as np
from jax import Array

from sgdvi.laws._engine import xp
from sgdvi.laws._engine.density import TAIL, Parameters, singularity
from sgdvi.laws._engine.logarithm import log_near_one
from sgdvi.laws._engine.noise import Noise
from sgdvi.laws._engine.panels import ABSCISSAE, TO_INTEGRAL, Shape, apply, clenshaw_at, first_of_largest
from sgdvi.laws.moments import difference_of_products

# Panels on one side of r: |z| < 2^-17, one for each octave up to 1, then of one length.
_OCTAVES = 17
_FAR = 40
_SIDE = 1 + _OCTAVES + _FAR
_LONGEST = 1.2
# Below one in single precision, too.
_BELOW_ONE = 1 - 2.0**-20
# The left tail is a double exponential: nothing is left where its exponent has fallen by this much.
_DEEP_NATS = 600.0
_GRID = 192
_TAYLOR = 24
_Division = tuple[Array, Array, Array, Array]


class Drift(NamedTuple):
    """Constants of C N(v) dv: the drift of the flow over its noise, without g."""

    beta1: Array
    beta2: Array
    decay: Array
    """gamma d^m."""
    order: Array
    """m = (D-1)/(D+1)."""
    power: Array
    """a = 1 - 3D/n."""
    strength: Array
    """C = d^(1-2/n)/(n T)."""

    def pull(self, s: Array, v: Array, at_r: Array) -> Array:
        """(beta1 v - beta2 + decay v^-m) v^-m at v = r + s, given beta1 r - beta2: N(v) v."""
        power = v**-self.order
        return (self.beta1 * s + at_r + self.decay * power) * power

    def pull_rate(self, s: Array, v: Array, at_r: Array) -> Array:
        """Derivative of `pull` in log v."""
        power = v**-self.order
        return (self.beta1 * v - self.order * self.decay * power) * power - self.order * self.pull(s, v, at_r)


class Split(NamedTuple):
    """N = value + slope (v - k) + g R near the minimum k of g: the first two are integrated in closed form."""

    used: Array
    k: Array
    width: Array
    """sqrt(Delta)/alpha1, the distance of the roots of g from k."""
    value: Array
    slope: Array
    series: Array
    """Taylor coefficients of N in (v - k)/k, shape (_TAYLOR,)."""


class Deep(NamedTuple):
    """v = r exp(z); log density in z: a z - log g/g(r) - C P(z)."""

    noise: Noise
    drift: Drift
    at_r: Array
    """beta1 r - beta2."""
    split: Split
    lengths: Array
    """Length of the far panels left and right of r, shape (2,)."""
    series: Array
    """Chebyshev series of the integral of N - split over g from r, on each panel, shape (2 _SIDE, NODES + 1)."""
    floor: Array
    """The density is 0 below this z: -infinity, or the barrier of a metastable law."""
    at_ends: Array
    """Integral of what is split off at the far ends of the panels, left and right, shape (2,)."""

    def log_density(self, z: Array) -> Array:
        """Log density with respect to z, 0 at z = 0."""
        return self._value(self.noise.r * xp.expm1(z), z)

    def log_density_at(self, v: Array) -> Array:
        """Log density with respect to v, up to the same constant."""
        return self.log_density_from(v - self.noise.r, v)

    def log_density_from(self, s: Array, v: Array) -> Array:
        """The same, given s = v - r, too."""
        # Computed once: the compiler would copy the logarithm into every loop that uses it.
        unit = 1 / self.noise.r
        z = xp.once(log_near_one(s * unit, v * unit))
        return self._value(s, z) - self.log_jacobian(z)

    def slope(self, z: Array) -> Array:
        """Its derivative."""
        return _slope(self.noise, self.drift, self.at_r, z)

    def bend(self, z: Array) -> Array:
        """Derivative of `slope`."""
        noise, s, v = self.noise, self.noise.r * xp.expm1(z), self.to_v(z)
        rise = 2 * v * (noise.half_slope + noise.alpha1 * s)
        push = rise + self.drift.strength * self.drift.pull(s, v, self.at_r)
        steeper = rise + 2 * noise.alpha1 * v * v + self.drift.strength * self.drift.pull_rate(s, v, self.at_r)
        return (push * rise / noise.value(s) - steeper) / noise.value(s)

    def score(self, v: Array) -> Array:
        """Derivative of the log density with respect to v."""
        return (_slope_at(self.noise, self.drift, self.at_r, v - self.noise.r, v) - 1) / v

    def modes(self) -> Array:
        """Zeros of the score where it falls: one as a rule, two at the most."""
        reach = 1 + _FAR * self.lengths
        grid = _search_grid(self.noise, xp.maximum(-reach[0], self.floor), reach[1], 4 * _GRID)
        # With respect to v the log density lacks the Jacobian, whose slope in z is 1.
        excess = self.slope(grid) - 1
        falls = (excess[:-1] > 0) & (excess[1:] <= 0) & self.noise.reaches(self.noise.r * xp.expm1(grid[1:]))
        first = xp.first_true(falls)
        last = len(falls) - 1 - xp.first_true(falls[::-1])
        places = [_root(lambda z: self.slope(z) - 1, grid[i], grid[i + 1]) for i in (first, last)]
        low, high = (xp.where(xp.any(falls), self.to_v(z), np.nan) for z in places)
        return xp.stack([low, xp.where(first == last, np.nan, high)])

    def mode(self) -> Array:
        """The higher of the modes."""
        low, high = self.modes()
        level = self.log_density_at(xp.stack([low, xp.where(xp.isnan(high), low, high)]))
        return xp.where(level[1] > level[0], high, low)

    def to_z(self, v: Array) -> Array:
        """Coordinate of v."""
        unit = 1 / self.noise.r
        return log_near_one((v - self.noise.r) * unit, v * unit)

    def to_v(self, z: Array) -> Array:
        """Inverse of `to_z`."""
        return self.noise.r * xp.exp(z)

    def log_jacobian(self, z: Array) -> Array:
        """Log of dv/dz."""
        return xp.log(self.noise.r) + z

    def shape(self) -> Shape:
        """The potential's own panels bound what is looked at."""
        centre, distance = singularity(self.noise)
        reach = 1 + _FAR * self.lengths
        return Shape(
            lower=xp.maximum(-reach[0], self.floor),
            upper=reach[1],
            centre=centre,
            distance=distance,
            curvature=xp.maximum(-self.bend(xp.zeros_like(self.at_r)), 1e-12),
            growth=2.0,
        )

    def left_mass(self, z: Array, level: Array, slope: Array) -> Array:
        """Integral of the density from -infinity to z, at or below ``shape().lower``."""
        del z
        gone = (level < -_DEEP_NATS) | xp.isfinite(self.floor)
        return xp.where(gone, 0.0, xp.exp(level) / xp.where(gone, 1.0, slope))

    def left_rate(self, slope: Array) -> Array:
        """Rate at which that integral falls further out."""
        return slope

    def _value(self, s: Array, z: Array) -> Array:
        noise = self.noise
        inside = noise.reaches(s) & (z >= self.floor) & ((noise.alpha3 > 0) | (s + noise.r > 1e-6 * noise.r))
        s, z = xp.where(inside, s, 0.0), xp.where(inside, z, 0.0)
        log_ratio = noise.log_ratio(s)
        closed = _closed(noise, self.split, s, log_ratio)
        value = self.drift.power * z - log_ratio - self.drift.strength * (closed + self._remainder(z, closed))
        return xp.where(inside, value, -np.inf)

    def _remainder(self, z: Array, closed: Array) -> Array:
        panel, place = _locate(z, self.lengths)
        inner = clenshaw_at(self.series, panel, place)
        reach = 1 + _FAR * self.lengths
        outside = xp.any((z < -reach[0]) | (z > reach[1]))
        return inner + xp.cond(outside, self._beyond, lambda z, _: xp.zeros_like(z), z, closed)

    def _beyond(self, z: Array, closed: Array) -> Array:
        """What the panels lack: beyond them the leading terms of N/g are exact, less what is split off."""
        noise, drift, reach = self.noise, self.drift, 1 + _FAR * self.lengths
        left, right = xp.minimum(z + reach[0], 0.0), xp.maximum(z - reach[1], 0.0)
        m, flat, steep = drift.order, noise.alpha3 > 0, noise.alpha1 > 0
        low, high = noise.r * xp.exp(-reach[0]), noise.r * xp.exp(reach[1])
        # g is alpha3 near 0 and alpha1 v^2 far out, and the other way round where that one is 0.
        near, bend = xp.where(flat, noise.alpha3, noise.alpha1 * low**2), xp.where(flat, 0.0, 2.0)
        below = drift.decay * low ** (-2 * m) * _growth(-2 * m - bend, left) - drift.beta2 * low**-m * _growth(
            -m - bend, left
        )
        far = xp.where(steep, noise.alpha1 * high**2, noise.alpha3)
        above = drift.beta1 * high ** (1 - m) * _growth(xp.where(steep, -1 - m, 1 - m), right)
        # Not its leading terms: at a small temperature their error would show.
        at_left, at_right = self.at_ends
        split = xp.where(left < 0, closed - at_left, xp.where(right > 0, closed - at_right, 0.0))
        return below / near + above / far - split


def drift_of(p: Parameters) -> Drift:
    """Constants of depth D and width d."""
    n = p.depth + 1
    m = (p.depth - 1) / n
    strength = p.width ** (1 - 2 / n) / (n * p.temperature)
    return Drift(p.beta1, p.beta2, p.weight_decay * p.width**m, m, 1 - 3 * p.depth / n, strength)


def infinite_drift_of(p: Parameters) -> Drift:
    """Constants of infinite depth; ``width`` is the ratio of width to depth."""
    one = xp.ones_like(p.width)
    return Drift(p.beta1, p.beta2, 0.0 * one, one, -2.0 * one, p.width / p.temperature)


def deep(p: Parameters) -> Deep:
    """Build the density of depth D >= 2."""
    return _build(p, drift_of(p))


def infinitely_deep(p: Parameters) -> Deep:
    """Build the density of infinite depth."""
    return _build(p, infinite_drift_of(p))


def _build(p: Parameters, drift: Drift) -> Deep:
    fixed = xp.stop_gradient((p, drift))
    log_r, floor, reach = _landmarks(*fixed)
    r = xp.exp(log_r)
    noise = Noise.about(r, p.alpha1, p.alpha2, p.alpha3)
    # As small as T at a small T, where C is as large as 1/T: formed without the rounding of its products.
    at_r = difference_of_products(p.beta1, r, p.beta2, xp.ones_like(r))
    split = _split(noise, drift)
    # Without a root of g every term is an exponential of z, and longer panels do.
    longest = xp.where(p.alpha1 > 0, _LONGEST, 4 * _LONGEST)
    lengths = xp.clip((reach - 1) / _FAR, 0.1, longest)
    series = _integrate(noise, drift, at_r, split, xp.stop_gradient(lengths))
    reach = 1 + _FAR * lengths
    ends = r * xp.expm1(xp.stack([-reach[0], reach[1]]))
    at_ends = _closed(noise, split, ends, noise.log_ratio(ends))
    return Deep(noise, drift, at_r, split, lengths, series, floor, at_ends)


def _slope(noise: Noise, drift: Drift, at_r: Array, z: Array) -> Array:
    """Derivative of the log density in z."""
    return _slope_at(noise, drift, at_r, noise.r * xp.expm1(z), noise.r * xp.exp(z))


def _slope_at(noise: Noise, drift: Drift, at_r: Array, s: Array, v: Array) -> Array:
    """The same at v = r + s: a - v g'/g - C N v/g."""
    push = 2 * v * (noise.half_slope + noise.alpha1 * s) + drift.strength * drift.pull(s, v, at_r)
    return drift.power - push / noise.value(s)


def _landmarks(p: Parameters, drift: Drift) -> tuple[Array, Array, Array]:
    """Maximum of the density in log v; where it is cut off; how far the potential's panels reach left and right."""
    m, tiny = drift.order, np.finfo(np.float64).tiny
    a1, a3 = xp.maximum(p.alpha1, tiny), xp.maximum(p.alpha3, tiny)
    bend = xp.maximum(2 * xp.abs(p.alpha2), tiny)
    small = xp.minimum(xp.sqrt(a3 / a1), a3 / bend)
    large = xp.maximum(xp.sqrt(a3 / a1), bend / a1)
    center = p.beta2 / p.beta1
    small = xp.where(p.alpha3 > 0, small, center)  # else there is no region near 0 where g is constant
    # Where the exponent C beta2 v^-m/(m g) is _DEEP_NATS, with a bound of g below the centre.
    gone = (drift.strength * p.beta2 / (m * (a3 + bend * center + a1 * center**2) * _DEEP_NATS)) ** (1 / m)
    # So far out that both hold: nothing is left, and what follows the leading terms of N/g is below TAIL.
    lower = xp.log(xp.minimum(gone, TAIL * xp.minimum(small, center)))
    upper = xp.log(xp.maximum(large, center) / TAIL)
    lower, upper = xp.maximum(lower, xp.log(center) - 300), xp.minimum(upper, xp.log(center) + 300)

    # The slope is in closed form: its zeros are the maxima, its integral on a grid says which is the highest.
    noise = Noise.about(center, p.alpha1, p.alpha2, p.alpha3)
    # beta1 v - beta2 vanishes at the least-squares v.
    at_center = xp.zeros_like(center)
    grid = _search_grid(noise, lower - xp.log(center), upper - xp.log(center), 2 * _GRID)
    slopes = _slope(noise, drift, at_center, grid)
    steps = xp.diff(grid)
    level = xp.concatenate([np.zeros(1), xp.cumsum((slopes[1:] + slopes[:-1]) / 2 * steps)])
    top = (slopes[:-1] > 0) & (slopes[1:] <= 0)
    best = first_of_largest(xp.where(top, xp.maximum(level[:-1], level[1:]), -np.inf))
    peak = _root(lambda z: _slope(noise, drift, at_center, z), grid[best], grid[best + 1])
    peak = xp.where(xp.any(top), peak, np.nan)
    # With decay the density rises again towards 0, behind a barrier.
    rising = (slopes[:-1] <= 0) & (slopes[1:] > 0) & (grid[1:] <= peak)
    last = len(steps) - 1 - xp.first_true(rising[::-1])
    barrier = _root(lambda z: -_slope(noise, drift, at_center, z), grid[last], grid[last + 1])
    floor = xp.where(drift.decay > 0, xp.where(xp.any(rising), barrier, grid[0]) - peak, -np.inf)
    log_r = peak + xp.log(center)
    return log_r, floor, xp.stack([log_r - lower, upper - log_r])


def _search_grid(noise: Noise, low: Array, high: Array, count: int) -> Array:
    """Grid in log(v/r) on which a change of sign is seen: even, and finer about r and about the root of g."""
    hole, distance = singularity(noise)
    near = np.linspace(-1.0, 1.0, _GRID)
    root = xp.clip(hole + distance * xp.sinh(near * xp.arcsinh(60.0 / distance)), low, high)
    even = low + (high - low) * np.linspace(0.0, 1.0, count)
    return xp.sort(xp.concatenate([even, root, np.sinh(16 * near) * 1e-6]))


def _root(falling: Any, low: Array, high: Array) -> Array:
    """Zero of a function that falls through it between low and high, by bisection."""

    def halve(bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        middle = (low + high) / 2
        above = falling(middle) > 0
        return xp.where(above, middle, low), xp.where(above, high, middle)

    low, high = xp.repeat(40, halve, (low, high))
    return (low + high) / 2


def _split(noise: Noise, drift: Drift) -> Split:
    """Interpolate N at the two roots of g, where they are near the real axis."""
    used = noise.peaked & (noise.root < noise.alpha2)
    k = xp.where(used, noise.alpha2 / _lead(noise), 1.0)
    width = xp.where(used, noise.root / _lead(noise), 0.0)
    c = difference_of_products(drift.beta1, noise.alpha2, drift.beta2, noise.alpha1) / _lead(noise)
    m, angle = drift.order, xp.arctan(width / k)
    size = k / xp.cos(angle)
    # Real part at k + i width, and imaginary part over width; c = beta1 k - beta2 carries what would cancel.
    turn = xp.sin(angle) ** 2
    value = xp.cos(m * angle) * (c + drift.beta2 * turn) / xp.cos(angle)
    value = size ** (-1 - m) * (value + drift.beta2 * xp.sin(angle) * xp.sin(m * angle))
    value = value + drift.decay * size ** (-1 - 2 * m) * xp.cos((1 + 2 * m) * angle)
    ratio = angle / xp.where(width > 0, width, 1.0)
    ratio = xp.where(width > 0, ratio, 1 / k)

    # sin(order angle)/width, both of which vanish at Delta = 0: as a sinc it has its limit.
    def imaginary(order: Array) -> Array:
        return -(size**-order) * order * ratio * xp.sinc(order * angle / np.pi)

    slope = drift.beta1 * imaginary(m) - drift.beta2 * imaginary(1 + m) + drift.decay * imaginary(1 + 2 * m)
    first = xp.stack([drift.beta1 * k**-m, -drift.beta2 * k ** (-1 - m), drift.decay * k ** (-1 - 2 * m)])
    orders = xp.stack([m, 1 + m, 1 + 2 * m])

    def following(terms: Array, j: Array) -> tuple[Array, Array]:
        return terms * (-orders - j) / (j + 1), xp.sum(terms)

    _, columns = xp.scan(following, first, np.arange(float(_TAYLOR)))
    return Split(used, k, width, value, slope, columns)


def _closed(noise: Noise, split: Split, s: Array, log_ratio: Array) -> Array:
    """Integral of what is split off, from r to r + s."""
    closed = split.value * noise.inverse(s) + split.slope / (2 * _lead(noise)) * log_ratio
    return xp.where(split.used, closed, 0.0)


def _quotient(noise: Noise, split: Split, plain: Array, s: Array) -> Array:
    """(N - value - slope (v - k))/g, by its Taylor series near k."""
    away = (noise.half_slope + noise.alpha1 * s) / _lead(noise)
    t, gap = away / split.k, (split.width / split.k) ** 2
    # Within a tenth of k each term of the series adds a digit; the difference itself loses them towards k.
    near = t**2 + gap < 0.01
    t = xp.where(near, t, 0.0)

    # t^j = linear part + (t^2 + gap) quotient: the recurrence of the division, times the coefficients.
    def divide(state: _Division, coefficient: Array) -> tuple[_Division, None]:
        constant, linear, quotient, total = state
        total = total + coefficient * quotient
        return (-gap * linear, constant, t * quotient + linear, total), None

    start = (xp.ones_like(gap), xp.zeros_like(gap), xp.zeros_like(t), xp.zeros_like(t))
    (*_, total), _ = xp.scan(divide, start, split.series)
    far = (plain - split.value - split.slope * away) / xp.where(near, 1.0, noise.value(s))
    return xp.where(near, total / (_lead(noise) * split.k**2), far)


def _integrate(noise: Noise, drift: Drift, at_r: Array, split: Split, lengths: Array) -> Array:
    low, high = _panel_edges(lengths)
    half = (high - low) / 2
    z = (low + high)[:, None] / 2 + half[:, None] * ABSCISSAE
    s, v = noise.r * xp.expm1(z), noise.r * xp.exp(z)
    plain = drift.pull(s, v, at_r) / v
    whole = plain / xp.where(split.used, 1.0, noise.value(s))
    values = xp.where(split.used, _quotient(noise, split, plain, s), whole) * v * half[:, None]
    series = apply(TO_INTEGRAL, values)
    sides = xp.sum(series, axis=-1).reshape(2, _SIDE)  # every Chebyshev polynomial is 1 at s = 1
    # Summed from r outward on either side: near r the integral is small, and keeps its relative accuracy.
    start = xp.cumsum(sides, axis=1) - sides
    return xp.concatenate([series[:, :1] + start.reshape(-1, 1), series[:, 1:]], axis=1)


def _panel_edges(lengths: Array) -> tuple[Array, Array]:
    """Near and far ends in z of the panels: right of r first, then left."""
    near = np.concatenate([[0.0], 2.0 ** np.arange(-_OCTAVES, 1)])
    ends = [xp.concatenate([near, 1 + length * np.arange(1, _FAR + 1)]) for length in (lengths[1], lengths[0])]
    low = xp.concatenate([ends[0][:-1], -ends[1][:-1]])
    high = xp.concatenate([ends[0][1:], -ends[1][1:]])
    return low, high


def _locate(z: Array, lengths: Array) -> tuple[Array, Array]:
    """Panel of z and place in it, -1 at its near end and 1 at its far end; the last ones for z beyond."""
    left = z < 0
    size = xp.abs(z)
    # The octave is the exponent of the number; single precision may miss an edge by its rounding, which is harmless.
    bits = xp.bitcast(xp.minimum(size, _BELOW_ONE).astype(np.float32), np.int32)
    octave = xp.maximum((bits >> 23) - 127 + _OCTAVES + 1, 0)
    whole = xp.bitcast(bits & 0x7F800000, np.float32).astype(z.dtype)
    length = xp.where(left, lengths[0], lengths[1])
    far = xp.clip(xp.floor((size - 1) / length), 0, _FAR - 1)
    inner = size < 1
    panel = xp.where(inner, octave, _OCTAVES + 1 + far.astype(np.int32))
    near = xp.where(inner, xp.where(octave > 0, whole, 0.0), 1 + far * length)
    width = xp.where(inner, xp.maximum(whole, 2.0**-_OCTAVES), length)
    place = xp.minimum(2 * (size - near) / width - 1, 1.0)
    return panel + xp.where(left, _SIDE, 0), place


def _growth(rate: Array, t: Array) -> Array:
    """Integral of exp(rate t) from 0 to t."""
    flat = rate == 0
    return xp.where(flat, t, xp.expm1(rate * t) / xp.where(flat, 1.0, rate))


def _lead(noise: Noise) -> Array:
    return xp.where(noise.alpha1 > 0, noise.alpha1, 1.0)
