"""The noise g(v) = alpha1 v^2 - 2 alpha2 v + alpha3 seen from a point r, and its integrals from there.

Written so that nothing cancels where the data are nearly degenerate: Delta = 0 (g has a double root), alpha1 = 0 (g is
constant) and alpha3 = 0 (g vanishes at 0) are ordinary arguments, not special cases.
"""

from typing import NamedTuple, Self

import numpy as np
from jax import Array

from sgdvi.laws._engine import xp
from sgdvi.laws._engine.logarithm import log_near_one
from sgdvi.laws.degenerate import DELTA_ROUNDING
from sgdvi.laws.moments import difference_of_products

# Eight Gauss-Legendre nodes on [0, 1] are exact to rounding for 1/(1 + h t + q t^2) while |h| + |q| is below this.
_SMALL = 0.16
_NODES, _WEIGHTS = (np.polynomial.legendre.leggauss(8)[0] + 1) / 2, np.polynomial.legendre.leggauss(8)[1] / 2
_LARGE = 1e140


class Noise(NamedTuple):
    """g about r: ``at_r`` = g(r), ``half_slope`` = g'(r)/2 = alpha1 r - alpha2."""

    alpha1: Array
    alpha2: Array
    alpha3: Array
    delta: Array
    root: Array
    """Square root of Delta."""
    r: Array
    half_slope: Array
    at_r: Array
    peaked: Array
    """Whether g has a marked minimum, at alpha2/alpha1: differences are then formed from there."""

    @classmethod
    def about(cls, r: Array, alpha1: Array, alpha2: Array, alpha3: Array) -> Self:
        """See g from r."""
        delta = noise_gap(alpha1, alpha2, alpha3)
        # Otherwise the least value of g is half of alpha3 or more, and the plain form loses a bit or two.
        peaked = alpha2**2 > 0.5 * alpha1 * alpha3
        half_slope = difference_of_products(alpha1, r, alpha2, xp.ones_like(alpha2))
        lead = xp.where(peaked, alpha1, 1.0)
        at_r = xp.where(peaked, (half_slope**2 + delta) / lead, alpha3 + r * (alpha1 * r - 2 * alpha2))
        # The root has no derivative at 0: neither branch of the choice may form it there.
        some = delta > 0
        root = xp.where(some, xp.sqrt(xp.where(some, delta, 1.0)), 0.0)
        return cls(alpha1, alpha2, alpha3, delta, root, r, half_slope, at_r, peaked)

    def value(self, s: Array) -> Array:
        """g(r + s)."""
        rise = self.half_slope + self.alpha1 * s
        return xp.where(self.peaked, (rise**2 + self.delta) * self._unit, self._flat(s))

    def log_ratio(self, s: Array) -> Array:
        """Log of g(r + s)/g(r), to its own relative accuracy."""
        rise = self.half_slope + self.alpha1 * s
        # The square of a larger number overflows; all but the leading term is lost in it anyway.
        large = xp.abs(s) > _LARGE
        # (g(r + s) - g(r))/g(r) as a product: the difference of the values would cancel.
        change = xp.where(large, 0.0, s) * ((self.half_slope + rise) * (1 / self.at_r))
        far = xp.abs(xp.where(self.peaked, rise, self.alpha1 * s)) / xp.sqrt(self.alpha1 * self.at_r)
        far = xp.where(self.alpha1 > 0, far, 1.0)
        ratio = self.value(xp.where(large, 0.0, s)) * (1 / self.at_r)
        logarithm = log_near_one(change, xp.where(large, far, ratio), ~large)
        return xp.where(large, 2.0, 1.0) * logarithm

    def _flat(self, s: Array) -> Array:
        """g(r + s) where nothing in it cancels: its minimum is not marked."""
        v = self.r + s
        return self.alpha3 + v * (self.alpha1 * v - 2 * self.alpha2)

    def reaches(self, s: Array) -> Array:
        """Whether r + s lies on r's side of a double root of g, which no diffusion crosses."""
        rise = self.half_slope + self.alpha1 * s
        return ~self.peaked | (self.delta > 0) | (self.half_slope * rise > 0)

    def inverse(self, s: Array) -> Array:
        """Integral of 1/g from r to r + s, where `reaches` holds."""
        rise = self.half_slope + self.alpha1 * s
        # The bilinear form of g: the tangent of the difference of two arctangents is root s/form.
        peaked = (self.half_slope * rise + self.delta) * self._unit
        form = xp.where(self.peaked, peaked, self.at_r + s * self.half_slope)
        plain = s / form
        tangent = self.root * plain
        # Here the series is exact to rounding, and has the limit at Delta = 0, where angle/root is 0/0.
        near = (form > 0) & (xp.abs(tangent) < 1e-3)
        small = xp.where(near, tangent, 0.0) ** 2
        series = plain * (1 - small * (1 / 3 - small * (1 / 5 - small / 7)))
        # Past a right angle between the two the tangent has changed its sign.
        angle = xp.arctan(xp.where(near, 1.0, tangent)) + xp.where(form < 0, xp.sign(s) * np.pi, 0.0)
        return xp.where(near, series, angle * (1 / xp.where(self.root > 0, self.root, 1.0)))

    def first(self, s: Array, log_ratio: Array, inverse: Array) -> Array:
        """Integral of t/g(r + t) from 0 to s, given `log_ratio` and `inverse` of s."""
        return first_moment(self.alpha1, self.half_slope, self.at_r, s, log_ratio, inverse)

    @property
    def _unit(self) -> Array:
        return 1 / xp.where(self.peaked, self.alpha1, 1.0)

    def inverted_half_slope(self) -> Array:
        """Half the slope at 1/r of w^2 g(1/w) = alpha3 w^2 - 2 alpha2 w + alpha1."""
        lead = xp.where(self.peaked, self.alpha1, 1.0)
        peaked = (self.delta - self.alpha2 * self.half_slope) / lead
        flat = difference_of_products(self.alpha3, xp.ones_like(self.r), self.alpha2, self.r)
        return xp.where(self.peaked, peaked, flat) / self.r


def first_moment(lead: Array, half_slope: Array, at: Array, s: Array, log_ratio: Array, inverse: Array) -> Array:
    """Integral of t/(at + 2 half_slope t + lead t^2) from 0 to s, with the quadratic's logarithm and inverse at s."""
    # Not 0 times infinity where a coefficient vanishes and s is beyond all bounds.
    linear = xp.where(half_slope == 0, 0.0, s * (2 * half_slope / at))
    square = xp.where(lead == 0, 0.0, s * s * (lead / at))
    # The closed form is a difference of two terms of the order of s, itself of the order of s^2: it cancels near 0.
    small = xp.abs(linear) + xp.abs(square) < _SMALL
    linear, square = xp.where(small, linear, 0.0), xp.where(small, square, 0.0)
    # The sum over the nodes as one fraction: a division takes as long as ten products.
    above, below = xp.zeros_like(linear), xp.ones_like(linear)
    for node, weight in zip(_NODES, _WEIGHTS, strict=True):
        part = 1 + node * (linear + node * square)
        above, below = above * part + weight * node * below, below * part
    near = xp.where(small, s, 0.0) ** 2 * above / (at * below)
    used = ~small & (half_slope != 0)
    wide = log_ratio - 2 * half_slope * xp.where(used, inverse, 0.0)
    return xp.where(small, near, wide * (0.5 / xp.where(lead > 0, lead, 1.0)))


def noise_gap(alpha1: Array, alpha2: Array, alpha3: Array) -> Array:
    """Delta = alpha1 alpha3 - alpha2^2, exactly zero where it is rounding."""
    delta = difference_of_products(alpha1, alpha3, alpha2, alpha2)
    return xp.where(delta > DELTA_ROUNDING * alpha1 * alpha3, delta, 0.0)
