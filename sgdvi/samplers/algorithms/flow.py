"""The stochastic gradient flow itself, by a scheme that does not explode where the noise grows faster than linearly."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from sgdvi._internal.arguments import checked
from sgdvi._internal.check import positive, require
from sgdvi._internal.tree import Rows
from sgdvi.samplers.algorithms._step_error import step_error
from sgdvi.samplers.kernel import Sampler
from sgdvi.samplers.protocol import Algorithm, Batch
from sgdvi.samplers.targets.base import Params, Target
from sgdvi.samplers.targets.make import Source

RowLosses = Callable[[jax.Array], jax.Array]
# Below it parameters are small and moves are not compared with them: unconstrained parameters are of order 1.
_SCALE = 1.0
# Powers of |z| that the noise over |z| may grow like.
_LEAST_POWER, _LARGEST_POWER = 2.0, 50.0
# A Kolmogorov distance; several times that which chance makes of none.
_MOST_ERROR = 0.1


class FlowState(NamedTuple):
    """State of one chain: the parameters."""

    z: Params


class FlowInfo(NamedTuple):
    """What is known of one step.

    Attributes
    ----------
    loss
        Loss L before the step.
    radial_noise
        Standard deviation of the noise of the step along the parameters, relative to them: well below 1 where the
        step is fine enough.
    """

    loss: jax.Array
    radial_noise: jax.Array


def flow(noise_scale: float, step_size: float) -> Algorithm:
    """Return the algorithm: see `StochasticGradientFlow`."""
    heat, pace = positive("noise_scale", noise_scale), positive("step_size", step_size)

    def init(z: Params) -> FlowState:
        return FlowState(z)

    def step(key: jax.Array, state: FlowState, batch: Batch) -> tuple[FlowState, FlowInfo]:
        flat, unravel = ravel_pytree(state.z)
        normal = jax.random.normal(key, (batch.num_data,), flat.dtype)
        moved, losses, spread = _move(lambda at: batch.row_losses(unravel(at)), flat, normal, heat, pace)
        return FlowState(unravel(moved)), FlowInfo(losses.mean(), spread)

    return Algorithm(init, step)


def _move(
    row_losses: RowLosses, flat: jax.Array, normal: jax.Array, heat: float, pace: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Take a step with given normal variables, one for each row; also return losses and relative radial noise."""
    count = len(normal)
    losses, pull = jax.vjp(row_losses, flat)
    drift = -pace * pull(jnp.full_like(losses, 1 / count))[0]
    # the covariance of a row's gradient is that of its deviation from the mean under a random row
    noise = pull((normal - normal.mean()) * (heat * pace / count) ** 0.5)[0]
    along, change = _along(row_losses, flat)
    size, spread = flat @ flat + _SCALE**2, jnp.var(along)
    radial, radial_variance = flat @ noise / size, heat * pace * spread / size**2
    # the power of |z| that the relative noise grows like: the derivative of its logarithm by log |z|
    common = (along - along.mean()) @ change / count
    growth = common / jnp.where(spread > 0, spread, 1.0) - 2 * flat @ flat / size
    power = jnp.clip(growth, _LEAST_POWER, _LARGEST_POWER)
    factor = _implicit(radial, radial_variance, power) ** (-1 / power)
    moved = factor * (flat + _tamed(drift, size)) + _tamed(noise - radial * flat, size)
    return moved, losses, jnp.sqrt(radial_variance)


def _along(row_losses: RowLosses, point: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the derivatives of the rows' losses by log |z|, the first and the second, shape (N,) each."""

    def first(at: jax.Array) -> jax.Array:
        return jax.jvp(row_losses, (at,), (at,))[1]

    return jax.jvp(first, (point,), (point,))


def _implicit(noise: jax.Array, variance: jax.Array, power: jax.Array) -> jax.Array:
    """Return r > 0 with r = 1 - p noise + p (p + 1)/2 variance / r, by which |z|^-p grows as |z| moves by the noise."""
    straight, pull = 1 - power * noise, power * (power + 1) * variance
    root = jnp.sqrt(straight**2 + 2 * pull)
    # without cancellation where the noise is large
    return jnp.where(straight > 0, (straight + root) / 2, pull / (root - straight))


def _tamed(move: jax.Array, size: jax.Array) -> jax.Array:
    """Shorten a move that is long against the parameters; a short one changes at third order."""
    return move / jnp.sqrt(1 + move @ move / size)


class StochasticGradientFlow(Sampler):
    r"""The stochastic differential equation whose stationary laws `SGDStationary` knows.

    .. math:: dz = -\nabla L(z)\, dt + \sqrt{T C(z)}\, dW

    in the sense of Ito, with L and the covariance C of the rows' gradients from all rows, which every step reads. The
    noise of a step is :math:`\sqrt{T h / N} \sum_i (n_i - \bar n) \nabla l_i`, one backward pass.

    In factored models the noise grows like a power of the parameters, and the Euler-Maruyama scheme explodes at any
    step size. Here the length of z moves in the coordinate :math:`R = |z|^{-p}`, with p the power of |z| that the noise
    over |z| grows like where z is, 2 (n - 1) far out in a product of n factors. There the noise of R is additive and R
    follows a Bessel process; a drift-implicit step keeps that positive. The rest of the move is shortened where it is
    longer than z. The scheme has weak order 1: it **converges to** the law of the flow as h goes to 0. Before a run,
    512 chains take 256 steps, and with the same noise twice as many half as long: the distance of the laws of the loss
    and of |z| tells how far the step's law is from the flow's, and a step at which that is more than 0.1 is refused.
    Models with more than 65 536 rows times parameters are not tried: compare two steps there.

    Parameters
    ----------
    model
        As in `Sampler`.
    noise_scale
        T: learning rate on L over batch size, see `SGD.noise_scale`. For a `LinearNetwork` at the temperature T of
        the theory it is ``network.learning_rate(T, 1)``.
    step_size
        Time h of one step, in units of the learning rate on L.

    Raises
    ------
    InputError
        For settings that are not above 0; by a run, for a step whose law is far from the flow's.
    """

    kind = "flow"
    version = 2  # 1 moved the length in R = |z|^-2 at any depth

    @checked
    def __init__(self, model: Source, noise_scale: float, step_size: float) -> None:
        settings = {"noise_scale": float(noise_scale), "step_size": float(step_size)}
        super().__init__(model, flow(noise_scale, step_size), None, settings=settings)

    def check(self, target: Target, z: Params, rows: Rows) -> None:
        """See `Sampler`; also that the step is short enough, by chains from z with whole and with halved steps."""
        super().check(target, z, rows)
        flat, unravel = ravel_pytree(z)
        batch, heat, pace = Batch(target, rows), self._settings["noise_scale"], self._settings["step_size"]

        def row_losses(at: jax.Array) -> jax.Array:
            return batch.row_losses(unravel(at))

        def move(at: jax.Array, normal: jax.Array, share: jax.Array) -> jax.Array:
            return _move(row_losses, at, normal, heat, share * pace)[0]

        error = step_error(move, lambda at: jnp.stack([row_losses(at).mean(), at @ at]), flat, target.num_data)
        rule = "step_size must be short enough that the law of the steps is that of the flow"
        if error is None:
            return
        got = f"{pace:g}, at which they are {error:.2g} apart (Kolmogorov distance, by halved steps)"
        enough = pace * _MOST_ERROR / (1.5 * error)
        require(error <= _MOST_ERROR, rule, got, f"Take step_size={enough:.2g}.")
