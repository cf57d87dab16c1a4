"""Stochastic gradient Hamiltonian Monte Carlo by a splitting scheme whose law is the posterior at small steps."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from sgdvi._internal.batches import Batching
from sgdvi._internal.check import positive, require, whole
from sgdvi._internal.tree import Rows
from sgdvi.samplers.algorithms._settings import Schedule, as_before, as_schedule, shown
from sgdvi.samplers.algorithms._steps import StepInfo, Steps
from sgdvi.samplers.kernel import Sampler
from sgdvi.samplers.protocol import Algorithm, Batch
from sgdvi.samplers.rest import near_minimum, row_gradients
from sgdvi.samplers.targets.base import Params, Target
from sgdvi.samplers.targets.make import Source

# Share of the newest minibatch in the running estimate of the gradient noise, once there are as many.
_NEWEST = 0.01
# Up to so many parameters correlations of the gradient noise are corrected, too.
_CORRELATED = 16
# The noise of epochs is not independent from step to step: there is nothing to subtract.
_INDEPENDENT = (Batching.REPLACEMENT, Batching.WITHOUT_REPLACEMENT)


def sghmc(
    learning_rate: float | Schedule,
    temperature: float,
    friction: float,
    length: int,
    batching: Batching = Batching.REPLACEMENT,
) -> Algorithm:
    """Return the algorithm: see `SGHMC`."""
    rate, heat = as_schedule("learning_rate", learning_rate), positive("temperature", temperature)
    drag, steps = positive("friction", friction), whole("num_integration_steps", length, least=1)
    require(drag <= 1, "friction must be at most 1, all of the velocity in one step", friction)
    kept = 1 - drag

    def init(z: Params) -> Steps:
        flat = jnp.zeros_like(ravel_pytree(z)[0])
        noise = jnp.zeros((flat.size,) * (2 if flat.size <= _CORRELATED else 1), flat.dtype)
        return Steps(z, (flat, noise), jnp.int32(0))

    def step(key: jax.Array, state: Steps, batch: Batch) -> tuple[Steps, StepInfo]:
        now, (velocity, noise), count = jnp.asarray(rate(state.step)), state.memory, state.step + 1
        flat, unravel = ravel_pytree(state.z)
        if batching in _INDEPENDENT and batch.size < batch.num_data:
            losses, gradients = row_gradients(batch.target, unravel, flat, batch.rows)
            newest = _noise_of_mean(gradients, batch.num_data, batching, noise.ndim == 2)
            loss, noise = losses.mean(), noise + jnp.maximum(1 / count, _NEWEST) * (newest - noise)
        else:
            loss = batch.loss(state.z)
        injected = (1 - kept**2) * now * heat / batch.num_data
        # how far a kick of the gradient carries z, against one that is injected: (1 - f/2)
        noise_root = _root(injected, steps * ((1 + kept) / 2 * now) ** 2 * noise)
        pull = jax.grad(lambda at: batch.loss(unravel(at)))

        def move(number: int, at: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            z, v = at
            z = z + v / 2
            n = jax.random.normal(jax.random.fold_in(key, number), v.shape, v.dtype)
            v = kept * v + (noise_root @ n if noise_root.ndim == 2 else noise_root * n)
            z = z + v / 2
            return z, v - now * pull(z)

        z, velocity = jax.lax.fori_loop(0, steps, move, as_before((flat, velocity), (flat, state.memory[0])))
        memory = as_before((velocity, noise), state.memory)
        return Steps(as_before(unravel(z), state.z), memory, count), StepInfo(loss, now)

    return Algorithm(init, step)


def _noise_of_mean(gradients: Any, num_data: int, batching: Batching, correlated: bool) -> Any:
    """Covariance of a minibatch's mean gradient from those of its rows, or the variances alone.

    One row says nothing of the spread: there the mean gradient is taken for 0, as it is near a minimum.
    """
    size = len(gradients)
    centred = gradients - (gradients.mean(0) if size > 1 else 0)
    products = centred.T @ centred if correlated else (centred**2).sum(0)
    left = (num_data - size) / num_data if batching is Batching.WITHOUT_REPLACEMENT else 1.0
    return products * left / (max(size - 1, 1) * size)


def _root(injected: jax.Array, noise: jax.Array) -> jax.Array:
    """Square root of the noise that is left to inject; 0 where the gradients bring more themselves."""
    if noise.ndim == 1:
        return jnp.sqrt(jnp.maximum(injected - noise, 0))
    values, vectors = jnp.linalg.eigh(injected * jnp.eye(len(noise), dtype=noise.dtype) - noise)
    return vectors * jnp.sqrt(jnp.maximum(values, 0))


class SGHMC(Sampler):
    r"""Stochastic gradient Hamiltonian Monte Carlo (Chen, Fox and Guestrin 2014), by the BAOAB splitting.

    One step draws a minibatch and then moves ``num_integration_steps`` = K times, by

    .. math:: z \leftarrow z + \tfrac12 v, \quad v \leftarrow (1 - f) v + \xi, \quad z \leftarrow z + \tfrac12 v,
        \quad v \leftarrow v - \eta \nabla L_{batch}(z), \qquad
        \operatorname{Cov} \xi = (1 - (1 - f)^2) \frac{\eta \tau}{N} - K \eta^2 (1 - \tfrac f2)^2 V

    The velocity is kept from step to step. V, the covariance of the minibatch's gradient, is estimated as the chain
    goes on and left out of the noise that is injected, as the gradients bring it themselves (variances alone for more
    than 16 parameters; not with ``batching="epochs"``, whose noise is not independent).

    **Converges to** :math:`\exp(-N L / \tau)`, the posterior at temperature 1, as the learning rate goes to 0, for any
    friction and number of moves; on full batches of a Gaussian posterior its covariance is exact at every rate
    (Leimkuhler and Matthews 2013).

    Parameters
    ----------
    model, batch_size, batching
        As in `Sampler`.
    learning_rate
        The rate eta on L (negative log joint / N), or a schedule of it. Its root is the time step.
    temperature
        tau, above 0; 1 is the posterior.
    friction
        f, the share of the velocity that is lost in one move, above 0 and at most 1.
    num_integration_steps
        Moves with one minibatch.

    Raises
    ------
    InputError
        For settings outside their range, and, when it runs, for a friction that is too small for the noise of the
        minibatches near a minimum: the message says the largest learning rate.
    """

    kind = "sghmc"
    version = 2  # 1: the order of updates of blackjax, K/(K - 1) times the variance at any rate

    def __init__(
        self,
        model: Source,
        learning_rate: float | Schedule,
        batch_size: int | None = 1,
        *,
        temperature: float = 1.0,
        friction: float = 0.1,
        num_integration_steps: int = 10,
        batching: str = Batching.REPLACEMENT,
    ) -> None:
        way = Batching.of(batching)
        settings = {
            "learning_rate": shown(learning_rate),
            "posterior_temperature": positive("temperature", temperature),
            "friction": positive("friction", friction),
            "num_integration_steps": whole("num_integration_steps", num_integration_steps, least=1),
        }
        algorithm = sghmc(learning_rate, temperature, friction, num_integration_steps, way)
        super().__init__(model, algorithm, batch_size, batching=batching, settings=settings)
        self._first = float(as_schedule("learning_rate", learning_rate)(jnp.int32(0)))

    def check(self, target: Target, z: Params, rows: Rows) -> None:
        """See `Sampler`; also that the friction can take up the noise of the minibatches."""
        super().check(target, z, rows)
        size = self.size(target.num_data)
        if self.batching not in _INDEPENDENT or size >= target.num_data:
            return
        gradients, _ = near_minimum(target, z, rows)
        left = (target.num_data - size) / (target.num_data - 1) if self.batching is not Batching.REPLACEMENT else 1.0
        noise = float(np.linalg.norm(gradients - gradients.mean(0), 2)) ** 2 / len(gradients) / size * left
        own, moves = self._settings, self._settings["num_integration_steps"]
        room = own["friction"] / (1 - own["friction"] / 2)  # (1 - (1 - f)^2) / (1 - f/2)^2, over 2
        with np.errstate(divide="ignore"):
            largest = 2 * own["posterior_temperature"] * room / (np.float64(moves * target.num_data) * noise)
        rule = (
            f"learning_rate must be at most {largest:.3g} for friction {own['friction']:.3g} to take up the noise of "
        )
        rule += f"minibatches of {size} rows over {moves} moves"
        advice = "Lower it, raise friction or batch_size, or take fewer num_integration_steps."
        require(not self._first > largest, rule, self._first, advice)
