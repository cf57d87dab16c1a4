"""Preconditioned stochastic gradient Langevin dynamics: each parameter at its own rate."""

import jax
import jax.numpy as jnp

from sgdvi._internal.arguments import checked
from sgdvi._internal.batches import Batching
from sgdvi._internal.check import non_negative, positive, require
from sgdvi.samplers.algorithms._settings import Schedule, as_before, as_schedule, shown
from sgdvi.samplers.algorithms._steps import StepInfo, Steps, gaussian_like
from sgdvi.samplers.kernel import Sampler
from sgdvi.samplers.protocol import Algorithm, Batch
from sgdvi.samplers.targets.base import Params
from sgdvi.samplers.targets.make import Source


def psgld(learning_rate: float | Schedule, temperature: float, decay: float, damping: float) -> Algorithm:
    """Return the algorithm: see `PreconditionedSGLD`."""
    rate, heat = as_schedule("learning_rate", learning_rate), non_negative("temperature", temperature)
    past, floor = non_negative("decay", decay), positive("damping", damping)
    require(past <= 1, "decay must be at most 1", decay)

    def init(z: Params) -> Steps:
        return Steps(z, jax.tree.map(jnp.zeros_like, z), jnp.int32(0))

    def step(key: jax.Array, state: Steps, batch: Batch) -> tuple[Steps, StepInfo]:
        loss, gradient = batch.value_and_grad(state.z)
        now, count = jnp.asarray(rate(state.step)), state.step + 1
        # the weight of the newest gradient in a mean that forgets, counted from the first: 1/t without forgetting
        share = 1 / count if past == 1 else (1 - past) / (1 - past**count)
        square = jax.tree.map(lambda s, g: s + share * (g * g - s), state.memory, gradient)
        noise = gaussian_like(key, state.z)

        def move(z: jax.Array, s: jax.Array, g: jax.Array, n: jax.Array) -> jax.Array:
            own = now / (floor + jnp.sqrt(s))
            return z - own * g + jnp.sqrt(2 * own * heat / batch.num_data) * n

        z = jax.tree.map(move, state.z, square, gradient, noise)
        return Steps(as_before(z, state.z), as_before(square, state.memory), count), StepInfo(loss, now)

    return Algorithm(init, step)


class PreconditionedSGLD(Sampler):
    r"""Langevin dynamics with the preconditioner of RMSProp (Li, Chen, Carlson and Carin 2016).

    .. math:: z_{t+1} = z_t - \eta G_t \nabla L_{batch}(z_t) + \sqrt{2 \eta \tau G_t / N}\, n_t, \qquad
        G_t = 1 / (\lambda + \sqrt{v_t})

    for each parameter, with v the mean of its squared minibatch gradients. **Converges to** the posterior,
    :math:`\exp(-N L / \tau)`, as the learning rate goes to 0, with ``decay=1``, where G settles. As in the paper's own
    practice the drift that belongs to the change of G with z is left out: with ``decay`` below 1 a small bias is left
    at any rate.

    Parameters
    ----------
    model, batch_size, batching
        As in `Sampler`.
    learning_rate
        The rate eta, or a schedule of it. The gradient is divided by its own size, so it is the size of a step.
    temperature
        tau; 1 is the posterior.
    decay
        How much of v is kept at each step; 1 averages over all steps, so that G settles.
    damping
        lambda, in units of the gradient of L.

    Raises
    ------
    InputError
        For settings outside their range.
    """

    kind = "psgld"

    @checked
    def __init__(
        self,
        model: Source,
        learning_rate: float | Schedule,
        batch_size: int | None = 1,
        *,
        temperature: float = 1.0,
        decay: float = 0.99,
        damping: float = 1e-5,
        batching: str = Batching.REPLACEMENT,
    ) -> None:
        algorithm = psgld(learning_rate, temperature, decay, damping)
        settings = {
            "learning_rate": shown(learning_rate),
            "posterior_temperature": float(temperature),
            "decay": float(decay),
            "damping": float(damping),
        }
        super().__init__(model, algorithm, batch_size, batching=batching, settings=settings)
