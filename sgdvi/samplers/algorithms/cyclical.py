"""Cyclical stochastic gradient MCMC: the learning rate comes down in cycles, each of which may find another mode."""

import warnings
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import brentq

from sgdvi._internal.batches import Batching
from sgdvi._internal.check import non_negative, positive, require, whole
from sgdvi._internal.tree import Rows
from sgdvi.samplers.algorithms._settings import as_before
from sgdvi.samplers.algorithms._steps import Steps, gaussian_like
from sgdvi.samplers.kernel import Sampler
from sgdvi.samplers.protocol import Algorithm, Batch
from sgdvi.samplers.rest import near_minimum
from sgdvi.samplers.targets.base import Params, Target
from sgdvi.samplers.targets.make import Source

# Less of the variance than this share is said in a warning.
_SHARE = 0.9


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
        noise_scale = jnp.where(sampling, jnp.sqrt(2 * drag * rate * heat / batch.num_data), 0.0)
        noise = gaussian_like(key, state.z)
        velocity = jax.tree.map(
            lambda v, g, n: (1 - drag) * v - rate * g + noise_scale * n, state.memory, gradient, noise
        )
        z = as_before(jax.tree.map(jnp.add, state.z, velocity), state.z)
        after = Steps(z, as_before(velocity, state.memory), state.step + 1)
        return after, CyclicalInfo(loss, rate, sampling)

    return Algorithm(init, step)


class CyclicalSGMCMC(Sampler):
    r"""Cyclical stochastic gradient MCMC (Zhang, Li, Zhang, Chen and Wilson 2020), cSGLD and cSGHMC.

    .. math:: v \leftarrow (1 - f) v - \eta_t \nabla L_{batch}(z) + \sqrt{2 f \eta_t \tau / N}\, n, \qquad
        z \leftarrow z + v, \qquad \eta_t = \tfrac12 \eta_0 (1 + \cos(\pi (t \bmod K) / K))

    A first part of every cycle explores, without noise. Draws of the later part are to be used, those with
    ``sample_stats.sampling``.

    **Converges to** the posterior, :math:`\exp(-N L / \tau)`, around the mode that a cycle has found, as eta_0 goes to
    0 *and* the sampling part grows long against the time in which the flattest direction relaxes. A cycle comes out of
    its exploring part with next to no spread; t steps into the sampling part a direction of curvature :math:`\lambda`
    has the share :math:`1 - \exp(-2 \lambda \sum \eta_t / f)` of its variance, and with ``exploration=0.8`` all the
    rates of that part add up to only 0.0064 eta_0 K. A run warns where its draws would have less than 0.9 of the
    variance in some direction, and says which ``cycle_length`` is long enough.

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

    def check(self, target: Target, z: Params, rows: Rows) -> None:
        """See `Sampler`; also that the sampling part is long enough, from the curvature near a minimum."""
        super().check(target, z, rows)
        hessian = near_minimum(target, z, rows)[1]
        if hessian is None or not np.all(np.isfinite(hessian)):
            return
        own = self._settings
        flattest = np.linalg.eigvalsh(hessian)[0]
        reach = flattest * own["learning_rate"] / own["friction"]
        share = sampled_share(reach * own["cycle_length"], own["exploration"])
        if flattest > 0 and share < _SHARE:
            enough = brentq(lambda pull: sampled_share(pull, own["exploration"]) - _SHARE, 1e-6, 1e9) / reach
            warnings.warn(
                f"the sampling part of a cycle is too short: in the flattest direction (curvature {flattest:.3g}) its "
                f"draws have {share:.2g} of the posterior's variance. Take cycle_length={enough:.2g} or more, a higher "
                "learning_rate or less exploration.",
                stacklevel=2,
            )


def sampled_share(pull: float, exploration: float) -> float:
    """Share of its variance that a direction has over the draws of a sampling part that begins without spread.

    `pull` is lambda eta_0 K / f: curvature, rate, steps of a cycle and friction.
    """
    part = exploration + (1 - exploration) * (np.arange(2_000) + 0.5) / 2_000
    grown = (part - exploration) / 2 + (np.sin(np.pi * part) - np.sin(np.pi * exploration)) / (2 * np.pi)
    return float(np.mean(-np.expm1(-2 * pull * grown)))
