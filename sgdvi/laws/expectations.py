"""Expectations under one law at depth 1 and above that stay differentiable in its parameters."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from sgdvi._internal.check import require
from sgdvi.laws._engine import summary
from sgdvi.laws._engine.table import node_masses
from sgdvi.laws.stationary import SGDStationary


class Panels(NamedTuple):
    """The law of |v| on quadrature nodes, with an exponential tail in log |v| on either side, and its numbers."""

    log_v: Array
    mass: Array
    first: Array
    last: Array
    left: Array
    right: Array
    left_rate: Array
    right_rate: Array
    mean: Array
    variance: Array
    entropy: Array

    def square(self, center: float) -> Array:
        """E[(|v| - center)^2]."""
        central = jnp.sum(self.mass * (jnp.exp(self.log_v) - center) ** 2)
        return central + center**2 * self.left + self._above(2) - 2 * center * self._above(1) + center**2 * self.right

    def power(self, order: float) -> Array:
        """E[|v|^order] for an order above 0 that exists."""
        below = self.left * jnp.exp(order * self.first) * self.left_rate / (self.left_rate + order)
        return jnp.sum(self.mass * jnp.exp(order * self.log_v)) + below + self._above(order)

    def slow(self, function: Callable[[Array], Array]) -> Array:
        """E[f(log |v|)] for a function that is close to linear beyond the panels."""
        total = jnp.sum(jnp.where(self.mass > 0, self.mass * function(self.log_v), 0.0))
        for edge, mass, rate in ((self.first, self.left, -self.left_rate), (self.last, self.right, self.right_rate)):
            value, slope = jax.jvp(function, (edge,), (jnp.ones_like(edge),))
            total = total + jnp.where(mass > 0, mass * (value + slope / rate), 0.0)
        return total

    def _above(self, order: float) -> Array:
        room = self.right_rate - order
        share = self.right * jnp.exp(order * self.last) * self.right_rate
        return jnp.where(room > 0, share / jnp.where(room > 0, room, 1.0), 0.0)


def panels(law: SGDStationary) -> Panels:
    """Return the nodes of one law; the caller holds ``jax.enable_x64(True)``.

    Raises
    ------
    InputError
        At depth 0, where the law is on the whole line, and for a batch of laws.
    """
    require(law.depth > 0, "log |v| needs a law on one side of zero", "depth 0")
    require(law.batch_shape == (), "expectations are of one law", f"a batch of shape {law.batch_shape}")
    return _panels(*law._built())


@jax.jit
def _panels(*built: Any) -> Panels:
    p, density, quadrature = jax.tree.map(lambda leaf: leaf[0], built)
    nodes, _, mass = node_masses(density, quadrature)
    shift = density.log_jacobian(jnp.zeros_like(quadrature.left))
    numbers = summary.numbers(p, density, quadrature)
    return Panels(
        nodes + shift,
        mass,
        quadrature.edges[0] + shift,
        quadrature.edges[-1] + shift,
        quadrature.left,
        quadrature.right,
        quadrature.left_rate,
        quadrature.right_rate,
        numbers.mean,
        numbers.variance,
        numbers.entropy,
    )
