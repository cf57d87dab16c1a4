"""Unnormalised log densities of the stationary laws, each in a coordinate z with its maximum near z = 0.

Differences from the maximum are formed before they are multiplied by 1/T, so that a small temperature costs no
digits. Equations: Ziyin, Li and Ueda, Phys. Rev. E 111, 065303 (2025), with weight decay gamma; scalars throughout.
"""

from typing import NamedTuple, Protocol

import numpy as np
from jax import Array

from sgdvi.laws._engine import xp
from sgdvi.laws._engine.logarithm import log_near_one
from sgdvi.laws._engine.noise import Noise, first_moment
from sgdvi.laws._engine.panels import Shape
from sgdvi.laws.moments import difference_of_products

# Tails take over where their next-to-leading term is below this.
TAIL = 1e-10
# Beyond a double root of g the density is 0; within this share of the distance from the mode it is below exp(-100).
_SHADOW = 0.01
# From further away a second hump can stand near the root, on the scale of the root itself.
_REACH = 0.2
# exp(+-700) are still floating-point numbers.
_FAR = 700.0


class Parameters(NamedTuple):
    """Scalars of one law on its own branch (already mirrored for v < 0), float64."""

    alpha1: Array
    alpha2: Array
    alpha3: Array
    beta1: Array
    beta2: Array
    temperature: Array
    weight_decay: Array
    width: Array
    depth: Array
    temperature_rest: Array
    """What the temperature has lost by rounding: it counts where T is near Tc."""


class Integrand(Protocol):
    """What quadrature needs of a log density in z."""

    def log_density(self, z: Array) -> Array:
        """Log density with respect to z, up to a constant."""

    def slope(self, z: Array) -> Array:
        """Derivative of `log_density`."""

    def shape(self) -> Shape:
        """What quadrature must resolve."""

    def left_mass(self, z: Array, level: Array, slope: Array) -> Array:
        """Integral of the density from -infinity to z, at or below ``shape().lower``, given its logarithm there."""

    def left_rate(self, slope: Array) -> Array:
        """Rate at which that integral falls further out, given the slope of the log density there."""


class Density(Integrand, Protocol):
    """A log density in z together with the map between z and v."""

    def log_density_at(self, v: Array) -> Array:
        """The same with respect to v and as a function of v, up to the same constant."""

    def log_density_from(self, s: Array, v: Array) -> Array:
        """The same, given the distance s of v from the maximum r, too: neither then has the rounding of the other."""

    def score(self, v: Array) -> Array:
        """Derivative of `log_density_at`."""

    def modes(self) -> Array:
        """Maxima of the density with respect to v, ascending, nan for none, shape (2,)."""

    def mode(self) -> Array:
        """The highest of them."""

    def to_z(self, v: Array) -> Array:
        """Coordinate of v."""

    def to_v(self, z: Array) -> Array:
        """Inverse of `to_z`."""

    def log_jacobian(self, z: Array) -> Array:
        """Log of dv/dz."""


class Line(NamedTuple):
    """Depth 0, the whole real line: v = r + h sinh(z); d log p/dv = -(g' + (b v - beta2)/T)/g."""

    noise: Noise
    scale: Array
    pull: Array
    """b/T."""
    offset: Array
    """(b r - beta2)/T."""

    def log_density(self, z: Array) -> Array:
        """Log density with respect to z, 0 at z = 0."""
        return self._value(self.scale * xp.sinh(z)) + _log_cosh(z)

    def log_density_at(self, v: Array) -> Array:
        """Log density with respect to v, up to the same constant."""
        return self.log_density_from(v - self.noise.r, v)

    def log_density_from(self, s: Array, v: Array) -> Array:
        """The same, given s = v - r, too."""
        del v
        return self._value(s) - xp.log(self.scale)

    def slope(self, z: Array) -> Array:
        """Its derivative."""
        return xp.tanh(z) + self._score(self.scale * xp.sinh(z)) * self.scale * xp.cosh(z)

    def score(self, v: Array) -> Array:
        """Derivative of the log density with respect to v."""
        return self._score(v - self.noise.r)

    def modes(self) -> Array:
        """The one mode, r."""
        return xp.stack([self.noise.r, np.nan * self.noise.r])

    def mode(self) -> Array:
        """The one mode, r."""
        return self.noise.r

    def to_z(self, v: Array) -> Array:
        """Coordinate of v."""
        return xp.arcsinh((v - self.noise.r) / self.scale)

    def to_v(self, z: Array) -> Array:
        """Inverse of `to_z`."""
        return self.noise.r + self.scale * xp.sinh(z)

    def log_jacobian(self, z: Array) -> Array:
        """Log of dv/dz."""
        return xp.log(self.scale) + _log_cosh(z)

    def shape(self) -> Shape:
        """Both tails fall at least like exp(-|z|), so +-60 covers every temperature."""
        noise = self.noise
        reach = xp.full_like(self.scale, 60.0)
        lead = noise.alpha1 * self.scale
        safe = xp.where(lead > 0, lead, 1.0)
        real = xp.where(lead > 0, xp.clip(-noise.half_slope / safe, -1e6, 1e6), 0.0)
        imaginary = xp.where(lead > 0, xp.clip(noise.root / safe, 0.0, 1e6), 1e6)
        # The singularity of log g, through the inverse of sinh.
        low, high = xp.hypot(real, 1 - imaginary), xp.hypot(real, 1 + imaginary)
        centre = xp.sign(real) * xp.arccosh(xp.maximum((low + high) / 2, 1.0))
        distance = xp.arcsin(xp.clip((high - low) / 2, 0.0, 1.0))
        curvature = 2 * (2 * noise.alpha1 + self.pull) / (noise.alpha1 + self.pull) - 1
        return Shape(-reach, reach, centre, xp.maximum(distance, shadow(centre)), curvature, 0.0)

    def left_mass(self, z: Array, level: Array, slope: Array) -> Array:
        """Integral of the density from -infinity to z, at or below ``shape().lower``."""
        del z
        return exponential_mass(level, slope)

    def left_rate(self, slope: Array) -> Array:
        """Rate at which that integral falls further out."""
        return slope

    def _score(self, s: Array) -> Array:
        noise, far = self.noise, xp.abs(s) > 1e140
        near = xp.where(far, 0.0, s)
        push = 2 * (noise.half_slope + noise.alpha1 * near) + self.pull * near + self.offset
        steep = noise.alpha1 > 0
        tail = xp.where(steep, 2 + self.pull / xp.where(steep, noise.alpha1, 1.0), np.inf)
        return -xp.where(far, tail / xp.where(far, s, 1.0), push / noise.value(near))

    def _value(self, s: Array) -> Array:
        noise = self.noise
        inside = noise.reaches(s)
        s = xp.where(inside, s, 0.0)
        log_ratio, inverse = noise.log_ratio(s), noise.inverse(s)
        value = -log_ratio - self.pull * noise.first(s, log_ratio, inverse) - self.offset * inverse
        return xp.where(inside, value, -np.inf)


class Ray(NamedTuple):
    """Depth 1, v > 0: v = r exp(z); d log p/dv = -3/(2v) - g'/g - n(v)/(v g).

    At first order n(v) = (beta1 v - B)/(2T) with B = beta2 - gamma; the correction for a finite learning rate adds
    S (beta1 v - B)(3 beta1 v - B)/2.
    """

    noise: Noise
    inverted: Array
    """`Noise.inverted_half_slope`."""
    n0: Array
    """n(0)."""
    at_r: Array
    """n(r)."""
    n1: Array
    """n'(r)."""
    n2: Array | None
    """n''/2; None at first order."""
    rise: Array
    """-n(0) - alpha3/2, to its own digits near Tc, where it is 0."""

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
        return self._slope(self.noise.r * xp.expm1(z), self.to_v(z))

    def bend(self, z: Array) -> Array:
        """Derivative of `slope`."""
        noise, s, v = self.noise, self.noise.r * xp.expm1(z), self.to_v(z)
        rise = 2 * v * (noise.half_slope + noise.alpha1 * s)
        push = rise + self.at_r + s * (self.n1 + self._curve * s)
        steeper = rise + v * (2 * noise.alpha1 * v + self.n1 + 2 * self._curve * s)
        return (push * rise / noise.value(s) - steeper) / noise.value(s)

    def score(self, v: Array) -> Array:
        """Derivative of the log density with respect to v."""
        return (self._slope(v - self.noise.r, v) - 1) / v

    def modes(self) -> Array:
        """Zero where the density diverges there, and the larger root of 3 g/2 + v g' + n = 0 where it is positive."""
        noise = self.noise
        q2, q1 = 3.5 * noise.alpha1 + self._curve, self._linear - 5 * noise.alpha2
        q0 = -1.5 * noise.alpha3 - self.n0
        square = q1**2 + 4 * q2 * q0
        # q0 > 0 below a third of the critical temperature: one positive root. Above, there is none or there are two,
        # and two need q1 < 0: at first order 10 alpha2 T > beta1.
        there = (square >= 0) & ((q0 > 0) | (q1 < 0))
        larger = xp.where(there, _larger_root(q2, q1, q0, xp.sqrt(xp.maximum(square, 0.0))), np.nan)
        # v^e in log v is v^(e - 1) in v.
        diverges = (self.left_exponent < 1) & noise.reaches(-noise.r)
        return xp.where(diverges, xp.stack([xp.zeros_like(q0), larger]), xp.stack([larger, xp.full_like(q0, np.nan)]))

    def mode(self) -> Array:
        """Zero where the density diverges there."""
        return self.modes()[0]

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

    @property
    def _curve(self) -> Array | float:
        return 0.0 if self.n2 is None else self.n2

    @property
    def _linear(self) -> Array:
        """n'(0)."""
        return self.n1 - 2 * self._curve * self.noise.r

    @property
    def left_exponent(self) -> Array:
        """Exponent e of the left tail v^e in log v."""
        return self.rise / self.noise.alpha3

    def shape(self) -> Shape:
        """Left of `lower` the density is v^e (1 + first order), right of `upper` a power law (1 + first order)."""
        noise, r = self.noise, self.noise.r
        a1, a2, a3 = noise.alpha1, xp.abs(noise.alpha2), noise.alpha3
        n2, linear = self._curve, xp.abs(self._linear)
        tiny = np.finfo(np.float64).tiny
        # At alpha3 = 0 there is no left tail to be found: the density falls like a double exponential.
        # n0/alpha3 multiplies the relative change of g: at a small temperature the left tail holds only nearer to 0.
        strength = xp.sqrt(1 + xp.where(a3 > 0, xp.abs(self.n0) / xp.where(a3 > 0, a3, 1.0), 0.0))
        bend = linear + 2 * a2 * strength**2
        small = xp.minimum(a3 / xp.maximum(bend, tiny), xp.sqrt(a3 / xp.maximum(a1, tiny)) / strength)
        top = linear + 2 * a2 * (1 + n2 / xp.maximum(a1, tiny))
        high = xp.sqrt((a3 + xp.abs(self.n0) + a3 * n2 / xp.maximum(a1, tiny)) / xp.maximum(a1, tiny))
        large = xp.maximum(top / xp.maximum(a1, tiny), high)
        centre, distance = singularity(noise)
        return Shape(
            lower=xp.clip(xp.log(TAIL * small / r), -_FAR, -1.0),
            upper=xp.clip(xp.log(large / TAIL / r), 1.0, _FAR),
            centre=centre,
            distance=distance,
            curvature=-self.bend(xp.zeros_like(r)),
            growth=2.0,
        )

    def left_mass(self, z: Array, level: Array, slope: Array) -> Array:
        """Integral from -infinity to z of v^e (1 + b v), with b v read off the slope; exact as e -> 0."""
        del z
        e = self.left_exponent
        first = slope - e
        # Where nothing is left the expansion need not hold (the left end may be a double root of g).
        gone = level < -40.0
        e, first = xp.where(gone, 1.0, e), xp.where(gone, 0.0, first)
        return xp.where(gone, 0.0, xp.exp(level) / (1 + first) * (1 / e + first / (1 + e)))

    def left_rate(self, slope: Array) -> Array:
        """Rate at which that integral falls further out."""
        del slope
        return self.left_exponent

    def _slope(self, s: Array, v: Array) -> Array:
        noise = self.noise
        push = self.at_r + s * (self.n1 + self._curve * s)
        return -0.5 - (2 * v * (noise.half_slope + noise.alpha1 * s) + push) / noise.value(s)

    def _value(self, s: Array, z: Array) -> Array:
        noise = self.noise
        # Where g vanishes at 0 the density does, too, faster than any number tells.
        inside = noise.reaches(s) & ((noise.alpha3 > 0) | (s + noise.r > 1e-6 * noise.r))
        s, z = xp.where(inside, s, 0.0), xp.where(inside, z, 0.0)
        v = s + noise.r
        log_ratio, inverse = noise.log_ratio(s), noise.inverse(s)
        # Integrals of 1/(v g) are first moments in w = 1/v, where the quadratic is w^2 g.
        w = -s / (xp.where(v > 0, v, 1.0) * noise.r)
        w = xp.where(v > 0, w, np.inf)
        at_w = noise.at_r / noise.r**2
        inner = first_moment(noise.alpha3, self.inverted, at_w, w, log_ratio - 2 * z, -inverse)
        value = -0.5 * z - log_ratio + self.n0 * inner - self.at_r / noise.r * inverse
        if self.n2 is not None:
            value = value - self.n2 * noise.first(s, log_ratio, inverse)
        return xp.where(inside, value, -np.inf)


def line(parameters: Parameters) -> Line:
    """Depth 0: Pearson type IV with its maximum at r = (beta2 + 2 T alpha2)/(b + 2 T alpha1)."""
    p = parameters
    temperature, b = p.temperature * p.width, p.beta1 + p.weight_decay / p.width
    r = (p.beta2 + 2 * temperature * p.alpha2) / (b + 2 * temperature * p.alpha1)
    # r is an origin that the normalised law does not depend on: nothing of it is differentiated.
    r = xp.stop_gradient(r)
    noise = Noise.about(r, p.alpha1, p.alpha2, p.alpha3)
    # The width of the bulk: that of the pull b/T at a small temperature, that of g at a large one. The curvature in z
    # then lies between 1 and 3 at every temperature, and sinh turns the power tails into exponential ones.
    scale = xp.stop_gradient(xp.sqrt(2 * noise.at_r / (p.alpha1 + b / temperature)))
    # As small as T, and divided by T: formed without the rounding of its products, for r as it was rounded.
    offset = difference_of_products(b, r, p.beta2, xp.ones_like(r)) / temperature
    return Line(noise, scale, b / temperature, offset)


def ray(parameters: Parameters) -> Ray:
    """Depth 1, any width, at first order in the learning rate."""
    return _ray(parameters, None)


def corrected_ray(parameters: Parameters, batch_size: Array) -> Ray:
    """Depth 1 with the drift's correction of second order in the learning rate."""
    return _ray(parameters, batch_size)


def _ray(p: Parameters, batch_size: Array | None) -> Ray:
    drift, heat = p.beta2 - p.weight_decay, 2 * p.temperature
    # The maximum in log v solves q2 v^2 + q1 v - q0 = 0.
    size = 0.0 if batch_size is None else batch_size
    q2 = 2.5 * p.alpha1 + 1.5 * size * p.beta1**2
    q1 = p.beta1 / heat - 3 * p.alpha2 - 2 * size * p.beta1 * drift
    # (B - alpha3 T)/(2 T): near Tc its two terms cancel
    excess = difference_of_products(drift, xp.ones_like(drift), p.alpha3, p.temperature)
    q0 = (excess - p.alpha3 * p.temperature_rest) / heat - size * drift**2 / 2
    r = xp.stop_gradient(_larger_root(q2, q1, q0, xp.sqrt(q1**2 + 4 * q2 * q0)))
    noise = Noise.about(r, p.alpha1, p.alpha2, p.alpha3)
    # As small as T, and divided by T: formed without the rounding of its products, for r as it was rounded.
    offset = difference_of_products(p.beta1, r, drift, xp.ones_like(r))
    n0, at_r, n1 = -drift / heat, offset / heat, p.beta1 / heat
    if batch_size is None:
        return Ray(noise, noise.inverted_half_slope(), n0, at_r, n1, None, q0)
    # 3 beta1 r - B, from the difference that is known to all digits.
    other = offset + 2 * p.beta1 * r
    n0 = n0 + batch_size * drift**2 / 2
    at_r = at_r + batch_size * offset * other / 2
    n1 = n1 + batch_size * p.beta1 * (3 * offset + other) / 2
    return Ray(noise, noise.inverted_half_slope(), n0, at_r, n1, 1.5 * batch_size * p.beta1**2, q0)


def _larger_root(q2: Array, q1: Array, q0: Array, root: Array) -> Array:
    """Larger zero of q2 v^2 + q1 v - q0, q2 >= 0, given the root of its discriminant; nothing cancels."""
    stable = 2 * q0 / xp.where(q1 > 0, q1 + root, 1.0)
    return xp.where(q1 > 0, stable, (root - q1) / (2 * xp.where(q2 > 0, q2, 1.0)))


def singularity(noise: Noise) -> tuple[Array, Array]:
    """Place in log(v/r) of the complex root of g, and its distance from the real axis (not below what matters)."""
    lead = noise.alpha1 * noise.r
    safe = xp.where(lead > 0, lead, 1.0)
    # For the root v0 of g this is |v0/r|^2 - 1: near r the logarithm keeps its digits. The angle of v0 is free of r.
    square = (noise.half_slope / safe) ** 2 + (noise.root / safe) ** 2 - 2 * noise.half_slope / safe
    far = ~(lead > 0) | ~xp.isfinite(square)
    # Without a root: a place that no panel reaches.
    centre = xp.where(far, 1e3, xp.log1p(xp.where(far, 0.0, xp.maximum(square, -1 + 1e-15))) / 2)
    distance = xp.arctan2(noise.root, noise.alpha2)
    # With its root at 0 or at infinity g is a power of v, and log v sees no singularity.
    degenerate = (noise.root == 0) & (noise.alpha2 == 0)
    distance = xp.where(degenerate, np.pi / 2, distance)
    return centre, xp.maximum(distance, shadow(centre))


def shadow(centre: Array) -> Array:
    """Distance in z from a double root of g within which the density is out of sight, for a mode at z = 0."""
    return _SHADOW * xp.minimum(xp.abs(centre), _REACH)


def exponential_mass(level: Array, rate: Array) -> Array:
    """Integral of exp(level + rate t) over t < 0; nothing where the level has fallen out of sight."""
    gone = level < -_FAR
    return xp.where(gone, 0.0, xp.exp(level) / xp.where(gone, 1.0, rate))


def _log_cosh(t: Array) -> Array:
    return xp.abs(t) + xp.log1p(xp.exp(-2 * xp.abs(t))) - xp.log(2.0)
