"""Stochastic gradient Hamiltonian Monte Carlo; the trajectory is that of blackjax."""

from typing import Any

import jax
import jax.numpy as jnp

from sgdvi._internal.batches import Batching
from sgdvi._internal.check import positive, require, whole
from sgdvi.samplers.algorithms._settings import Schedule, as_before, as_schedule, blackjax_module, shown
from sgdvi.samplers.algorithms._steps import StepInfo, Steps
from sgdvi.samplers.kernel import Sampler
from sgdvi.samplers.protocol import Algorithm, Batch
from sgdvi.samplers.targets.base import Params
from sgdvi.samplers.targets.make import Source


def sghmc(learning_rate: float | Schedule, temperature: float, friction: float, length: int) -> Algorithm:
    """Return the algorithm: see `SGHMC`."""
    rate, heat = as_schedule("learning_rate", learning_rate), positive("temperature", temperature)
    drag, steps = positive("friction", friction), whole("num_integration_steps", length, least=1)
    require(drag <= 1, "friction must be at most 1, all of the velocity in one step", friction)
    module = blackjax_module("sgmcmc.sghmc")

    def init(z: Params) -> Steps:
        return Steps(z, (), jnp.int32(0))

    def step(key: jax.Array, state: Steps, batch: Batch) -> tuple[Steps, StepInfo]:
        now, size = jnp.asarray(rate(state.step)), batch.num_data
        # blackjax draws momenta of variance 1 at any temperature: cool the density, -N L / tau, instead
        short = jnp.sqrt(now * heat / size)
        kernel = module.build_kernel(alpha=drag / short)

        def ascent(z: Params, _: Any) -> Params:
            return jax.tree.map(lambda leaf: -size / heat * leaf, jax.grad(batch.loss)(z))

        z = kernel(key, state.z, ascent, None, short, steps)
        return Steps(as_before(z, state.z), (), state.step + 1), StepInfo(batch.loss(state.z), now)

    return Algorithm(init, step)


class SGHMC(Sampler):
    r"""Stochastic gradient Hamiltonian Monte Carlo (Chen, Fox and Guestrin 2014).

    One step draws a minibatch and a velocity and then moves ``num_integration_steps`` times, by

    .. math:: z_{k+1} = z_k + v_k, \qquad
        v_{k+1} = (1 - f) v_k - \eta \nabla L_{batch}(z_k) + \sqrt{2 f \eta \tau / N}\, n_k,
        \qquad v_0 \sim N(0, \eta \tau / N)

    There is no accept step; as the learning rate goes to 0 it samples :math:`\exp(-N L / \tau)`.

    Parameters
    ----------
    model, batch_size, batching
        As in `Sampler`.
    learning_rate
        The rate eta on L (negative log joint / N), or a schedule of it.
    temperature
        tau, above 0; 1 is the posterior.
    friction
        f, the share of the velocity that is lost in one move, above 0 and at most 1.
    num_integration_steps
        Moves along one trajectory.

    Raises
    ------
    InputError
        For settings outside their range, and where blackjax is not installed.
    """

    kind = "sghmc"
    packages = ("blackjax",)

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
        algorithm = sghmc(learning_rate, temperature, friction, num_integration_steps)
        settings = {
            "learning_rate": shown(learning_rate),
            "posterior_temperature": float(temperature),
            "friction": float(friction),
            "num_integration_steps": int(num_integration_steps),
        }
        super().__init__(model, algorithm, batch_size, batching=batching, settings=settings)
