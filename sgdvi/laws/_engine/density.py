"""Unnormalised log densities of the stationary laws, each in a coordinate z with its maximum near z = 0.

Differences from the maximum are formed before they are multiplied by 1/T, so that a small temperature costs no
digits. Equations: Ziyin, Li and Ueda, Phys. Rev. E 111, 065303 (2025), with weight decay gamma; scalars throughout.
"""

from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import Array

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
        return self._value(self.scale * jnp.sinh(z)) + _log_cosh(z)

    def log_density_at(self, v: Array) -> Array:
        """Log density with respect to v, up to the same constant."""
        return self.log_density_from(v - self.noise.r, v)

    def log_density_from(self, s: Array, v: Array) -> Array:
        """The same, given s = v - r, too."""
        del v
        return self._value(s) - jnp.log(self.scale)

    def slope(self, z: Array) -> Array:
        """Its derivative."""
        return jnp.tanh(z) + self._score(self.scale * jnp.sinh(z)) * self.scale * jnp.cosh(z)

    def score(self, v: Array) -> Array:
        """Derivative of the log density with respect to v."""
        return self._score(v - self.noise.r)

    def modes(self) -> Array:
        """The one mode, r."""
        return jnp.stack([self.noise.r, jnp.nan * self.noise.r])

    def mode(self) -> Array:
        """The one mode, r."""
        return self.noise.r

    def to_z(self, v: Array) -> Array:
        """Coordinate of v."""
        return jnp.arcsinh((v - self.noise.r) / self.scale)

    def to_v(self, z: Array) -> Array:
        """Inverse of `to_z`."""
        return self.noise.r + self.scale * jnp.sinh(z)

    def log_jacobian(self, z: Array) -> Array:
        """Log of dv/dz."""
        return jnp.log(self.scale) + _log_cosh(z)

    def shape(self) -> Shape:
        """Both tails fall at least like exp(-|z|), so +-60 covers every temperature."""
        noise = self.noise
        reach = jnp.full_like(self.scale, 60.0)
        spread = noise.alpha1 * self.scale
        safe = jnp.where(spread > 0, spread, 1.0)
        real = jnp.where(spread > 0, jnp.clip(-noise.half_slope / safe, -1e6, 1e6), 0.0)
        imaginary = jnp.where(spread > 0, jnp.clip(noise.root / safe, 0.0, 1e6), 1e6)
        # The singularity of log g, through the inverse of sinh.
        low, high = jnp.hypot(real, 1 - imaginary), jnp.hypot(real, 1 + imaginary)
        centre = jnp.sign(real) * jnp.arccosh(jnp.maximum((low + high) / 2, 1.0))
        distance = jnp.arcsin(jnp.clip((high - low) / 2, 0.0, 1.0))
        curvature = 2 * (2 * noise.alpha1 + self.pull) / (noise.alpha1 + self.pull) - 1
        return Shape(-reach, reach, centre, jnp.maximum(distance, shadow(centre)), curvature, 0.0)

    def left_mass(self, z: Array, level: Array, slope: Array) -> Array:
        """Integral of the density from -infinity to z, at or below ``shape().lower``."""
        del z
        return exponential_mass(level, slope)

    def left_rate(self, slope: Array) -> Array:
        """Rate at which that integral falls further out."""
        return slope

    def _score(self, s: Array) -> Array:
        noise, far = self.noise, jnp.abs(s) > 1e140
        near = jnp.where(far, 0.0, s)
        push = 2 * (noise.half_slope + noise.alpha1 * near) + self.pull * near + self.offset
        steep = noise.alpha1 > 0
        tail = jnp.where(steep, 2 + self.pull / jnp.where(steep, noise.alpha1, 1.0), jnp.inf)
        return -jnp.where(far, tail / jnp.where(far, s, 1.0), push / noise.value(near))

    def _value(self, s: Array) -> Array:
        noise = self.noise
        inside = noise.reaches(s)
        s = jnp.where(inside, s, 0.0)
        log_ratio, inverse = noise.log_ratio(s), noise.inverse(s)
        value = -log_ratio - self.pull * noise.first(s, log_ratio, inverse) - self.offset * inverse
        return jnp.where(inside, value, -jnp.inf)


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

    def log_density(self, z: Array) -> Array:
        """Log density with respect to z, 0 at z = 0."""
        return self._value(self.noise.r * jnp.expm1(z), z)

    def log_density_at(self, v: Array) -> Array:
        """Log density with respect to v, up to the same constant."""
        return self.log_density_from(v - self.noise.r, v)

    def log_density_from(self, s: Array, v: Array) -> Array:
        """The same, given s = v - r, too."""
        # Computed once: the compiler would copy the logarithm into every loop that uses it.
        unit = 1 / self.noise.r
        z = jax.lax.optimization_barrier(log_near_one(s * unit, v * unit))
        return self._value(s, z) - self.log_jacobian(z)

    def slope(self, z: Array) -> Array:
        """Its derivative."""
        return self._slope(self.noise.r * jnp.expm1(z), self.to_v(z))

    def score(self, v: Array) -> Array:
        """Derivative of the log density with respect to v."""
        return (self._slope(v - self.noise.r, v) - 1) / v

    def modes(self) -> Array:
        """Zero where the density diverges there, and the larger root of 3 g/2 + v g' + n = 0 where it is positive."""
        noise = self.noise
        q2, q1 = 3.5 * noise.alpha1 + self._curve, self._linear - 5 * noise.alpha2
        q0 = -1.5 * noise.alpha3 - self.n0
        square = q1**2 + 4 * q2 * q0
        there = (square >= 0) & ((q0 > 0) | (q1 < 0))
        larger = jnp.where(there, _larger_root(q2, q1, q0, jnp.sqrt(jnp.maximum(square, 0.0))), jnp.nan)
        diverges = (self.left_exponent < 1) & noise.reaches(-noise.r)
        return jnp.where(
            diverges, jnp.stack([jnp.zeros_like(q0), larger]), jnp.stack([larger, jnp.full_like(q0, jnp.nan)])
        )

    def mode(self) -> Array:
        """Zero where the density diverges there."""
        return self.modes()[0]

    def to_z(self, v: Array) -> Array:
        """Coordinate of v."""
        unit = 1 / self.noise.r
        return log_near_one((v - self.noise.r) * unit, v * unit)

    def to_v(self, z: Array) -> Array:
        """Inverse of `to_z`."""
        return self.noise.r * jnp.exp(z)

    def log_jacobian(self, z: Array) -> Array:
        """Log of dv/dz."""
        return jnp.log(self.noise.r) + z

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
        return -0.5 - self.n0 / self.noise.alpha3

    def shape(self) -> Shape:
        """Left of `lower` the density is v^e (1 + first order), right of `upper` a power law (1 + first order)."""
        noise, r = self.noise, self.noise.r
        a1, a2, a3 = noise.alpha1, jnp.abs(noise.alpha2), noise.alpha3
        n2, linear = self._curve, jnp.abs(self._linear)
        tiny = jnp.finfo(jnp.float64).tiny
        # At alpha3 = 0 there is no left tail to be found: the density falls like a double exponential.
        strength = jnp.sqrt(1 + jnp.where(a3 > 0, jnp.abs(self.n0) / jnp.where(a3 > 0, a3, 1.0), 0.0))
        bend = linear + 2 * a2 * strength**2
        small = jnp.minimum(a3 / jnp.maximum(bend, tiny), jnp.sqrt(a3 / jnp.maximum(a1, tiny)) / strength)
        top = linear + 2 * a2 * (1 + n2 / jnp.maximum(a1, tiny))
        high = jnp.sqrt((a3 + jnp.abs(self.n0) + a3 * n2 / jnp.maximum(a1, tiny)) / jnp.maximum(a1, tiny))
        large = jnp.maximum(top / jnp.maximum(a1, tiny), high)
        curvature = -jax.jvp(self.slope, (jnp.zeros_like(r),), (jnp.ones_like(r),))[1]
        centre, distance = singularity(noise)
        return Shape(
            lower=jnp.clip(jnp.log(TAIL * small / r), -_FAR, -1.0),
            upper=jnp.clip(jnp.log(large / TAIL / r), 1.0, _FAR),
            centre=centre,
            distance=distance,
            curvature=curvature,
            growth=2.0,
        )

    def left_mass(self, z: Array, level: Array, slope: Array) -> Array:
        """Integral from -infinity to z of v^e (1 + b v), with b v read off the slope; exact as e -> 0."""
        del z
        e = self.left_exponent
        first = slope - e
        # Where nothing is left the expansion need not hold (the left end may be a double root of g).
        gone = level < -40.0
        e, first = jnp.where(gone, 1.0, e), jnp.where(gone, 0.0, first)
        return jnp.where(gone, 0.0, jnp.exp(level) / (1 + first) * (1 / e + first / (1 + e)))

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
        s, z = jnp.where(inside, s, 0.0), jnp.where(inside, z, 0.0)
        v = s + noise.r
        log_ratio, inverse = noise.log_ratio(s), noise.inverse(s)
        # Integrals of 1/(v g) are first moments in w = 1/v, where the quadratic is w^2 g.
        w = -s / (jnp.where(v > 0, v, 1.0) * noise.r)
        w = jnp.where(v > 0, w, jnp.inf)
        at_w = noise.at_r / noise.r**2
        inner = first_moment(noise.alpha3, self.inverted, at_w, w, log_ratio - 2 * z, -inverse)
        value = -0.5 * z - log_ratio + self.n0 * inner - self.at_r / noise.r * inverse
        if self.n2 is not None:
            value = value - self.n2 * noise.first(s, log_ratio, inverse)
        return jnp.where(inside, value, -jnp.inf)


def line(parameters: Parameters) -> Line:
    """Depth 0: Pearson type IV with its maximum at r = (beta2 + 2 T alpha2)/(b + 2 T alpha1)."""
    p = parameters
    temperature, b = p.temperature * p.width, p.beta1 + p.weight_decay / p.width
    r = (p.beta2 + 2 * temperature * p.alpha2) / (b + 2 * temperature * p.alpha1)
    r = jax.lax.stop_gradient(r)
    noise = Noise.about(r, p.alpha1, p.alpha2, p.alpha3)
    scale = jax.lax.stop_gradient(jnp.sqrt(2 * noise.at_r / (p.alpha1 + b / temperature)))
    offset = difference_of_products(b, r, p.beta2, jnp.ones_like(r)) / temperature
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
    q0 = drift / heat - p.alpha3 / 2 - size * drift**2 / 2
    r = jax.lax.stop_gradient(_larger_root(q2, q1, q0, jnp.sqrt(q1**2 + 4 * q2 * q0)))
    noise = Noise.about(r, p.alpha1, p.alpha2, p.alpha3)
    offset = difference_of_products(p.beta1, r, drift, jnp.ones_like(r))
    n0, at_r, n1 = -drift / heat, offset / heat, p.beta1 / heat
    if batch_size is None:
        return Ray(noise, noise.inverted_half_slope(), n0, at_r, n1, None)
    other = offset + 2 * p.beta1 * r
    n0 = n0 + batch_size * drift**2 / 2
    at_r = at_r + batch_size * offset * other / 2
    n1 = n1 + batch_size * p.beta1 * (3 * offset + other) / 2
    return Ray(noise, noise.inverted_half_slope(), n0, at_r, n1, 1.5 * batch_size * p.beta1**2)


def _larger_root(q2: Array, q1: Array, q0: Array, root: Array) -> Array:
    """Larger zero of q2 v^2 + q1 v - q0, q2 >= 0, given the root of its discriminant; nothing cancels."""
    stable = 2 * q0 / jnp.where(q1 > 0, q1 + root, 1.0)
    return jnp.where(q1 > 0, stable, (root - q1) / (2 * jnp.where(q2 > 0, q2, 1.0)))


def singularity(noise: Noise) -> tuple[Array, Array]:
    """Place in log(v/r) of the complex root of g, and its distance from the real axis (not below what matters)."""
    spread = noise.alpha1 * noise.r
    safe = jnp.where(spread > 0, spread, 1.0)
    square = (noise.half_slope / safe) ** 2 + (noise.root / safe) ** 2 - 2 * noise.half_slope / safe
    far = ~(spread > 0) | ~jnp.isfinite(square)
    centre = jnp.where(far, 1e3, jnp.log1p(jnp.where(far, 0.0, jnp.maximum(square, -1 + 1e-15))) / 2)
    distance = jnp.arctan2(noise.root, noise.alpha2)
    degenerate = (noise.root == 0) & (noise.alpha2 == 0)
    distance = jnp.where(degenerate, jnp.pi / 2, distance)
    return centre, jnp.maximum(distance, shadow(centre))


def shadow(centre: Array) -> Array:
    """Distance in z from a double root of g within which the density is out of sight, for a mode at z = 0."""
    return _SHADOW * jnp.minimum(jnp.abs(centre), _REACH)


def exponential_mass(level: Array, rate: Array) -> Array:
    """Integral of exp(level + rate t) over t < 0; nothing where the level has fallen out of sight."""
    gone = level < -_FAR
    return jnp.where(gone, 0.0, jnp.exp(level) / jnp.where(gone, 1.0, rate))


def _log_cosh(t: Array) -> Array:
    return jnp.abs(t) + jnp.log1p(jnp.exp(-2 * jnp.abs(t))) - jnp.log(2.0)
