"""Cyclical stochastic gradient MCMC: the learning rate comes down in cycles, each of which may find another mode."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from sgdvi._internal.batches import Batching
from sgdvi._internal.check import non_negative, positive, require, whole
from sgdvi.samplers.algorithms._settings import as_before
from sgdvi.samplers.algorithms._steps import Steps, gaussian_like
from sgdvi.samplers.kernel import Sampler
from sgdvi.samplers.protocol import Algorithm, Batch
from sgdvi.samplers.targets.base import Params
from sgdvi.samplers.targets.make import Source


class CyclicalInfo(NamedTuple):
    """What is known of one step.

    Attributes
    ----------
    loss
        Minibatch loss before the step.
    learning_rate
        Rate of the step.
    sampling
        Whether the step was one of those that sample; the others explore, without noise.
    """

    loss: jax.Array
    learning_rate: jax.Array
    sampling: jax.Array


def cyclical(
    learning_rate: float, cycle_length: int, exploration: float, temperature: float, friction: float
) -> Algorithm:
    """Return the algorithm: see `CyclicalSGMCMC`."""
    peak, length = positive("learning_rate", learning_rate), whole("cycle_length", cycle_length, least=2)
    explored, heat = non_negative("exploration", exploration), non_negative("temperature", temperature)
    drag = positive("friction", friction)
    require(drag <= 1, "friction must be at most 1, which is Langevin dynamics", friction)
    require(explored < 1, "exploration must be below 1, or no step samples", exploration)

    def init(z: Params) -> Steps:
        return Steps(z, jax.tree.map(jnp.zeros_like, z), jnp.int32(0))

    def step(key: jax.Array, state: Steps, batch: Batch) -> tuple[Steps, CyclicalInfo]:
        loss, gradient = batch.value_and_grad(state.z)
        part = (state.step % length) / length
        rate, sampling = peak * jnp.cos(0.5 * jnp.pi * part) ** 2, part >= explored
        spread = jnp.where(sampling, jnp.sqrt(2 * drag * rate * heat / batch.num_data), 0.0)
        noise = gaussian_like(key, state.z)
        velocity = jax.tree.map(lambda v, g, n: (1 - drag) * v - rate * g + spread * n, state.memory, gradient, noise)
        z = as_before(jax.tree.map(jnp.add, state.z, velocity), state.z)
        after = Steps(z, as_before(velocity, state.memory), state.step + 1)
        return after, CyclicalInfo(loss, rate, sampling)

    return Algorithm(init, step)


class CyclicalSGMCMC(Sampler):
    r"""Cyclical stochastic gradient MCMC (Zhang, Li, Zhang, Chen and Wilson 2020), cSGLD and cSGHMC.

    .. math:: v \leftarrow (1 - f) v - \eta_t \nabla L_{batch}(z) + \sqrt{2 f \eta_t \tau / N}\, n, \qquad
        z \leftarrow z + v, \qquad \eta_t = \tfrac12 \eta_0 (1 + \cos(\pi (t \bmod K) / K))

    A first part of every cycle explores, without noise. Draws of the later part are to be used, those with
    ``sample_stats.sampling``; they are from the posterior as far as the rate at the end of a cycle is small.

    Parameters
    ----------
    model, batch_size, batching
        As in `Sampler`.
    learning_rate
        The rate eta_0 at the beginning of a cycle, on L (negative log joint / N).
    cycle_length
        Steps of a cycle, K; no longer than the run.
    exploration
        Share of the cycle that explores, from 0 to below 1.
    temperature
        tau; 1 is the posterior.
    friction
        f: 1 is Langevin dynamics (cSGLD), less keeps a velocity (cSGHMC).

    Raises
    ------
    InputError
        For settings outside their range, and a run shorter than a cycle.
    """

    kind = "cyclical"

    def __init__(
        self,
        model: Source,
        learning_rate: float,
        batch_size: int | None = 1,
        *,
        cycle_length: int,
        exploration: float = 0.8,
        temperature: float = 1.0,
        friction: float = 1.0,
        batching: str = Batching.REPLACEMENT,
    ) -> None:
        algorithm = cyclical(learning_rate, cycle_length, exploration, temperature, friction)
        settings = {
            "learning_rate": float(learning_rate),
            "cycle_length": int(cycle_length),
            "exploration": float(exploration),
            "posterior_temperature": float(temperature),
            "friction": float(friction),
        }
        super().__init__(model, algorithm, batch_size, batching=batching, settings=settings)

    def check_run(self, num_data: int, num_steps: int, num_warmup: int, thinning: int) -> None:
        """See `Sampler`."""
        length, steps = self._settings["cycle_length"], num_steps + num_warmup
        rule = f"the run must be at least one cycle long, {length} steps"
        require(steps >= length, rule, f"{steps} steps", "Take more steps or a shorter cycle_length.")
