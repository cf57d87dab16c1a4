"""Stochastic gradient Langevin dynamics; the step is that of blackjax."""

import jax
import jax.numpy as jnp

from sgdvi._internal.batches import Batching
from sgdvi._internal.check import non_negative
from sgdvi.samplers.algorithms._settings import Schedule, as_before, as_schedule, blackjax_module, shown
from sgdvi.samplers.algorithms._steps import StepInfo, Steps
from sgdvi.samplers.kernel import Sampler
from sgdvi.samplers.protocol import Algorithm, Batch
from sgdvi.samplers.targets.base import Params
from sgdvi.samplers.targets.make import Source


def sgld(learning_rate: float | Schedule, temperature: float) -> Algorithm:
    """Return the algorithm: see `SGLD`."""
    rate, heat = as_schedule("learning_rate", learning_rate), non_negative("temperature", temperature)
    kernel = blackjax_module("sgmcmc.sgld").build_kernel()

    def init(z: Params) -> Steps:
        return Steps(z, (), jnp.int32(0))

    def step(key: jax.Array, state: Steps, batch: Batch) -> tuple[Steps, StepInfo]:
        loss, gradient = batch.value_and_grad(state.z)
        # blackjax follows the log density -N L, so that a step of eta on L is one of eta / N
        size, now = batch.num_data, jnp.asarray(rate(state.step))
        ascent = jax.tree.map(lambda leaf: -size * leaf, gradient)
        z = kernel(key, state.z, lambda *_: ascent, None, now / size, heat)
        return Steps(as_before(z, state.z), (), state.step + 1), StepInfo(loss, now)

    return Algorithm(init, step)


class SGLD(Sampler):
    r"""Stochastic gradient Langevin dynamics (Welling and Teh 2011).

    .. math:: z_{t+1} = z_t - \eta \nabla L_{batch}(z_t) + \sqrt{2 \eta \tau / N}\, n_t

    with n standard normal: the injected noise makes it sample :math:`\exp(-N L / \tau)`, the posterior at temperature
    1, as the learning rate goes to 0. At a constant rate the noise of the minibatch adds to the variance.

    Parameters
    ----------
    model, batch_size, batching
        As in `Sampler`.
    learning_rate
        The rate eta on L (negative log joint / N), or a schedule of it: a function of the number of steps taken.
    temperature
        tau; 0 is plain SGD.

    Raises
    ------
    InputError
        For a rate that is not above 0, a negative temperature, and where blackjax is not installed.
    """

    kind = "sgld"
    packages = ("blackjax",)

    def __init__(
        self,
        model: Source,
        learning_rate: float | Schedule,
        batch_size: int | None = 1,
        *,
        temperature: float = 1.0,
        batching: str = Batching.REPLACEMENT,
    ) -> None:
        algorithm = sgld(learning_rate, temperature)
        settings = {"learning_rate": shown(learning_rate), "posterior_temperature": float(temperature)}
        super().__init__(model, algorithm, batch_size, batching=batching, settings=settings)
