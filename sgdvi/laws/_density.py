"""Unnormalised log densities of the stationary laws, each in a coordinate z with its maximum at z = 0.

Differences from the maximum are formed before they are multiplied by 1/T, so that a small temperature costs no
digits. Equations: Ziyin, Li and Ueda, Phys. Rev. E 111, 065303 (2025), with weight decay gamma; scalars throughout.
"""

from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import Array

from sgdvi.laws._panels import Shape
from sgdvi.moments import Moments

# Tails take over where their next-to-leading term is below this.
TAIL = 1e-10


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


class Density(Protocol):
    """A log density in z together with the map between z and v."""

    def log_density(self, z: Array) -> Array:
        """Log density with respect to z, 0 at z = 0."""

    def slope(self, z: Array) -> Array:
        """Its derivative."""

    def to_z(self, v: Array) -> Array:
        """Coordinate of v."""

    def to_v(self, z: Array) -> Array:
        """Inverse of `to_z`."""

    def log_jacobian(self, z: Array) -> Array:
        """Log of dv/dz."""

    def shape(self) -> Shape:
        """What quadrature must resolve."""

    def left_mass(self, z: Array) -> Array:
        """Integral of the density from -infinity to z, for z at or below ``shape().lower``."""


class Line(NamedTuple):
    """Depth 0, the whole real line: v = l + a sinh(t), z = t - t0; density cosh(t)^(1-2m) exp(-nu gd(t)) in t."""

    location: Array
    scale: Array
    m: Array
    nu: Array
    t0: Array

    def log_density(self, z: Array) -> Array:
        """Log density with respect to z, 0 at z = 0."""
        near = jnp.abs(z) < 1
        small = jnp.where(near, z, 0.0)
        ratio = jnp.where(
            near,
            jnp.log1p(2 * jnp.sinh(small / 2) ** 2 + jnp.tanh(self.t0) * jnp.sinh(small)),
            _log_cosh(self.t0 + z) - _log_cosh(self.t0),
        )
        return (1 - 2 * self.m) * ratio - self.nu * (_gudermann(self.t0 + z) - _gudermann(self.t0))

    def slope(self, z: Array) -> Array:
        """Its derivative."""
        t = self.t0 + z
        return (1 - 2 * self.m) * jnp.tanh(t) - self.nu * jnp.exp(-_log_cosh(t))

    def to_z(self, v: Array) -> Array:
        """Coordinate of v."""
        return jnp.arcsinh((v - self.location) / self.scale) - self.t0

    def to_v(self, z: Array) -> Array:
        """Inverse of `to_z`."""
        return self.location + self.scale * jnp.sinh(self.t0 + z)

    def log_jacobian(self, z: Array) -> Array:
        """Log of dv/dz."""
        return jnp.log(self.scale) + _log_cosh(self.t0 + z)

    def shape(self) -> Shape:
        """Both tails fall at least like exp(-|z|), so +-60 covers every temperature."""
        sech = jnp.exp(-_log_cosh(self.t0))
        curvature = (2 * self.m - 1) * sech**2 - self.nu * sech * jnp.tanh(self.t0)
        reach = jnp.full_like(self.t0, 60.0)
        return Shape(-reach, reach, -self.t0, jnp.full_like(self.t0, jnp.pi / 2), curvature, 0.0)

    def left_mass(self, z: Array) -> Array:
        """Integral of the density from -infinity to z, for z at or below ``shape().lower``."""
        return jnp.exp(self.log_density(z)) / self.slope(z)


class Ray(NamedTuple):
    """Depth 1, v > 0: v = r exp(z), density v^e g(v)^-c exp(-k arctan((alpha1 v - alpha2)/sqrt(Delta))) in log v."""

    parameters: Parameters
    delta: Array
    r: Array
    e: Array
    c: Array
    k: Array

    def log_density(self, z: Array) -> Array:
        """Log density with respect to z, 0 at z = 0."""
        p = self.parameters
        step = self.r * jnp.expm1(z)
        here, there = p.alpha1 * (self.r + step) - p.alpha2, p.alpha1 * self.r - p.alpha2
        noise = there**2 + self.delta
        change = p.alpha1 * step * (here + there) / noise
        near = jnp.abs(change) < 0.5
        ratio = jnp.where(near, 1.0, (here**2 + self.delta) / noise)
        log_noise = jnp.where(near, jnp.log1p(jnp.where(near, change, 0.0)), jnp.log(ratio))
        # The difference of the two arctangents, which lie within (-pi/2, pi/2).
        angle = jnp.arctan2(jnp.sqrt(self.delta) * p.alpha1 * step, self.delta + here * there)
        return self.e * z - self.c * log_noise - self.k * angle

    def slope(self, z: Array) -> Array:
        """Its derivative."""
        p = self.parameters
        v = self.to_v(z)
        centred = p.alpha1 * v - p.alpha2
        return self.e - v * p.alpha1 * (2 * self.c * centred + self.k * jnp.sqrt(self.delta)) / (
            centred**2 + self.delta
        )

    def to_z(self, v: Array) -> Array:
        """Coordinate of v."""
        return jnp.log(v / self.r)

    def to_v(self, z: Array) -> Array:
        """Inverse of `to_z`."""
        return self.r * jnp.exp(z)

    def log_jacobian(self, z: Array) -> Array:
        """Log of dv/dz."""
        return jnp.log(self.r) + z

    def shape(self) -> Shape:
        """Left of `lower` the density is v^e (1 + first order), right of `upper` v^(-5/2) (1 + first order)."""
        p, root = self.parameters, jnp.sqrt(self.delta)
        strength = jnp.maximum(self.c, 1.0)
        drift = jnp.abs(self.k) * root
        small = jnp.minimum(
            p.alpha3 / (2 * strength * jnp.abs(p.alpha2) + drift), jnp.sqrt(p.alpha3 / p.alpha1) / strength
        )
        large = jnp.maximum(
            (2 * strength * jnp.abs(p.alpha2) + drift) / p.alpha1, jnp.sqrt(p.alpha3 / p.alpha1) * strength
        )
        curvature = -jax.jvp(self.slope, (jnp.zeros_like(self.r),), (jnp.ones_like(self.r),))[1]
        return Shape(
            lower=jnp.minimum(jnp.log(TAIL * small / self.r), -1.0),
            upper=jnp.maximum(jnp.log(large / TAIL / self.r), 1.0),
            centre=jnp.log(p.alpha3 / p.alpha1) / 2 - jnp.log(self.r),
            distance=jnp.arctan2(root, p.alpha2),
            curvature=curvature,
            growth=2.0,
        )

    def left_mass(self, z: Array) -> Array:
        """Integral from -infinity to z of v^e (1 + b v), with b v read off the slope; exact as e -> 0."""
        first = self.slope(z) - self.e
        return jnp.exp(self.log_density(z)) / (1 + first) * (1 / self.e + first / (1 + self.e))


def line(parameters: Parameters) -> Line:
    """Depth 0: Pearson type IV, m = 1 + b/(2 T alpha1), nu = (alpha2 b - alpha1 beta2)/(T alpha1 sqrt(Delta))."""
    p = parameters
    temperature, b = p.temperature * p.width, p.beta1 + p.weight_decay / p.width
    root = jnp.sqrt(noise_gap(p))
    m = 1 + b / (2 * temperature * p.alpha1)
    nu = (p.alpha2 * b - p.alpha1 * p.beta2) / (temperature * p.alpha1 * root)
    t0 = jax.lax.stop_gradient(jnp.arcsinh(-nu / (2 * m - 1)))
    return Line(p.alpha2 / p.alpha1, root / p.alpha1, m, nu, t0)


def ray(parameters: Parameters) -> Ray:
    """Depth 1, any width: e = B/(2 alpha3 T) - 1/2 in log v, c = 1 + B/(4 T alpha3), B = beta2 - gamma."""
    p = parameters
    delta = noise_gap(p)
    drift = p.beta2 - p.weight_decay
    e = (drift - p.alpha3 * p.temperature) / (2 * p.alpha3 * p.temperature)
    c = 1 + drift / (4 * p.temperature * p.alpha3)
    k = (p.alpha3 * p.beta1 - p.alpha2 * drift) / (2 * p.temperature * p.alpha3 * jnp.sqrt(delta))
    # The maximum in log v solves 5/2 alpha1 v^2 + (beta1/(2T) - 3 alpha2) v - (B/(2T) - alpha3/2) = 0.
    linear = p.beta1 / (2 * p.temperature) - 3 * p.alpha2
    constant = (drift - p.alpha3 * p.temperature) / (2 * p.temperature)
    root = jnp.sqrt(linear**2 + 10 * p.alpha1 * constant)
    safe = jnp.where(linear > 0, linear + root, 1.0)
    r = jnp.where(linear > 0, 2 * constant / safe, (root - linear) / (5 * p.alpha1))
    return Ray(p, delta, jax.lax.stop_gradient(r), e, c, k)


def noise_gap(p: Parameters) -> Array:
    """Delta = alpha1 alpha3 - alpha2^2."""
    return Moments.tree_unflatten(None, tuple(p[:5])).delta


def _log_cosh(t: Array) -> Array:
    return jnp.abs(t) + jnp.log1p(jnp.exp(-2 * jnp.abs(t))) - jnp.log(2.0)


def _gudermann(t: Array) -> Array:
    return 2 * jnp.arctan(jnp.tanh(t / 2))
