"""The stochastic gradient flow itself, by a scheme that does not explode where the noise grows faster than linearly."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from sgdvi._internal.arguments import checked
from sgdvi._internal.check import positive
from sgdvi.samplers.kernel import Sampler
from sgdvi.samplers.protocol import Algorithm, Batch
from sgdvi.samplers.targets.base import Params
from sgdvi.samplers.targets.make import Source

# Below it parameters are small and moves are not compared with them: unconstrained parameters are of order 1.
_SCALE = 1.0


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
        count = batch.num_data
        losses, pull = jax.vjp(lambda point: batch.row_losses(unravel(point)), flat)
        drift = -pace * pull(jnp.full_like(losses, 1 / count))[0]
        normal = jax.random.normal(key, (count,), losses.dtype)
        # the covariance of a row's gradient is that of its deviation from the mean under a random row
        noise = pull((normal - normal.mean()) * (heat * pace / count) ** 0.5)[0]
        along = jax.jvp(lambda point: batch.row_losses(unravel(point)), (flat,), (flat,))[1]
        size = flat @ flat + _SCALE**2
        radial, radial_variance = flat @ noise / size, heat * pace * jnp.var(along) / size**2
        factor = _implicit(radial, radial_variance) ** -0.5
        moved = factor * (flat + _tamed(drift, size)) + _tamed(noise - radial * flat, size)
        return FlowState(unravel(moved)), FlowInfo(losses.mean(), jnp.sqrt(radial_variance))

    return Algorithm(init, step)


def _implicit(noise: jax.Array, variance: jax.Array) -> jax.Array:
    """Return r > 0 with r = 1 - 2 noise + 3 variance / r: R = |z|^-2 becomes r R when |z| moves by a relative noise."""
    straight = 1 - 2 * noise
    root = jnp.sqrt(straight**2 + 12 * variance)
    # without cancellation where the noise is large
    return jnp.where(straight > 0, (straight + root) / 2, 6 * variance / (root - straight))


def _tamed(move: jax.Array, size: jax.Array) -> jax.Array:
    """Shorten a move that is long against the parameters; a short one changes at third order."""
    return move / jnp.sqrt(1 + move @ move / size)


class StochasticGradientFlow(Sampler):
    r"""The stochastic differential equation whose stationary laws `SGDStationary` knows.

    .. math:: dz = -\nabla L(z)\, dt + \sqrt{T C(z)}\, dW

    in the sense of Ito, with L and the covariance C of the rows' gradients from all rows, which every step reads. The
    noise of a step is :math:`\sqrt{T h / N} \sum_i (n_i - \bar n) \nabla l_i`, one backward pass.

    In factored models the noise grows like a power of the parameters, and the Euler-Maruyama scheme explodes at any
    step size. Here the length of z moves in the coordinate :math:`R = |z|^{-2}`, in which the noise of two factors
    is additive far out and R follows a Bessel process; a drift-implicit step keeps that positive. The rest of the move
    is shortened where it is longer than z. The scheme has weak order 1:
    it **converges to** the law of the flow as h goes to 0.

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
        For settings that are not above 0.
    """

    kind = "flow"

    @checked
    def __init__(self, model: Source, noise_scale: float, step_size: float) -> None:
        settings = {"noise_scale": float(noise_scale), "step_size": float(step_size)}
        super().__init__(model, flow(noise_scale, step_size), None, settings=settings)
