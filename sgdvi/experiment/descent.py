"""SGD at the settings of a plan, plain or with something around every step."""

from collections.abc import Callable
from typing import Any

from sgdvi.experiment.plan import Plan
from sgdvi.problem import Problem
from sgdvi.samplers import SGD, sample


def descend(
    problem: Problem,
    plan: Plan,
    key: Any,
    *,
    around: Callable[[SGD], Any] = lambda sgd: sgd,
    fewer: int = 1,
    progress: bool = False,
) -> Any:
    """Return draws of SGD at the settings of the plan.

    Parameters
    ----------
    problem, plan, key
        What is run, how, and with which JAX key.
    around
        Makes another sampler of plain SGD.
    fewer
        Divides the steps, of warmup and between kept draws too: as many draws of a sampler whose steps cost more.
    progress
        Whether to show a progress bar.
    """
    sgd = SGD(problem.model, learning_rate=plan.learning_rate, batch_size=plan.batch_size, batching=plan.batching)
    return sample(
        around(sgd),
        problem.data,
        key=key,
        num_steps=max(plan.num_steps // fewer, 1),
        num_warmup=plan.num_warmup // fewer,
        num_chains=plan.num_chains,
        thinning=max(plan.thinning // fewer, 1),
        progress=progress,
        dims=dict(problem.dims),
    )
