"""What `sgdvi.balance` looks at: a loss, or a NumPyro model as the per-sample loss that SGD descends on it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sgdvi._internal.check import InputError, message, require
from sgdvi.problem.base import Problem
from sgdvi.problem.loss import Loss
from sgdvi.samplers.targets.base import find_start, require_finite
from sgdvi.samplers.targets.model import ModelTarget, model_target
from sgdvi.zoo import load


@dataclass(frozen=True, eq=False)
class Source:
    """A model as a per-sample loss of unconstrained parameters, with its data.

    Attributes
    ----------
    title
        Name of the model.
    loss
        The loss, with float64 parameters.
    data
        Pytree of arrays with N rows, of which the loss gets batches.
    starts
        Function of a key and a number of chains: parameters to start from, with a leading axis of chains.
    free
        Maps draws, site -> array (chain, draw, ...), to unconstrained coordinates; None where they are the same.
    """

    title: str
    loss: Loss
    data: Any
    starts: Callable[[jax.Array, int], Any]
    free: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]] | None = None


def find_source(model: Problem | Loss | str, data: Any) -> Source:
    """Make the source; the caller holds ``jax.enable_x64(True)``.

    Raises
    ------
    InputError
        For another model, data beside a problem, and a loss without data.
    """
    if isinstance(model, str):
        model = load(model)
    if isinstance(model, Problem):
        require(data is None, "a problem has its own data", "data beside it", "Give its loss and the data instead.")
        if isinstance(model.model, Loss):
            return _from_loss(model.name, model.model, model.data)
        return _from_model(model)
    advice = "Wrap a function loss(params, batch): sgdvi.Loss(function, params)."
    rule = "model must be a sgdvi.Loss, a sgdvi.Problem, a name of the zoo or a path"
    require(isinstance(model, Loss), rule, type(model).__name__, advice)
    if data is None:
        raise InputError(message("data must be given with a Loss", None, "Give (x, y) as one tuple."))
    return _from_loss("loss", model, data)


def _from_loss(title: str, given: Loss, data: Any) -> Source:
    # charges move by eta^2 of themselves at each step: float32 would round that away
    double = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), given.params)
    loss = Loss(given.function, double, weight_decay=given.weight_decay)

    def starts(key: jax.Array, chains: int) -> Any:
        return jax.tree.map(lambda leaf: np.broadcast_to(leaf, (chains, *leaf.shape)), double)

    return Source(title, loss, data, starts)


def _from_model(problem: Problem) -> Source:
    """The loss of row i is minus its log likelihood minus 1/N of the log prior and the log Jacobian.

    Its mean over a minibatch is what SGD on the model descends.
    """
    key = jax.random.key(0)
    target = model_target(problem.model, problem.arguments, key)
    rows = target.rows(problem.arguments)
    first, finite = find_start(target, key, rows)
    require_finite(finite)
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), first)

    def starts(key: jax.Array, chains: int) -> Any:
        drawn, finite = jax.vmap(lambda one: find_start(target, one, rows))(jax.random.split(key, chains))
        require_finite(finite)
        return drawn

    return Source(problem.name, Loss(_row_loss(target), params), rows, starts, lambda draws: _free(target, rows, draws))


def _row_loss(target: ModelTarget) -> Callable[[Any, Any], jax.Array]:
    def loss(z: Any, rows: Any) -> jax.Array:
        log_likelihood, _ = target.row_terms(target.constrain(z, rows), rows)
        # the loss of the batch holds prior and Jacobian; its likelihood part is put back row by row
        return target.loss(z, rows) + log_likelihood.mean() - log_likelihood

    return loss


def _free(target: ModelTarget, rows: Any, draws: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    back = jax.jit(jax.vmap(jax.vmap(lambda values: target.unconstrain(values, rows))))
    placed = {name: jnp.asarray(values, float) for name, values in draws.items()}
    return {name: np.asarray(values) for name, values in back(placed).items()}
