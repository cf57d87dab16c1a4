r"""Does SGD collapse: the growth rate of small perturbations of dead or duplicated neurons, or of zero.

On a set that every row's gradient is tangent to, such as a neuron whose weights are zero, SGD stays; a perturbation d
across it moves by :math:`d \leftarrow d - \eta\, \partial_d g_{batch}`. The mean logarithm of its growth per step, the
top Lyapunov exponent, is below zero where the set attracts: SGD then ends on it, whatever a posterior says there (Chen,
Kunin, Yamamura and Ganguli 2023, "Stochastic collapse"; for linear networks on one feature it changes its sign at the
critical temperature of Ziyin, Li and Ueda 2025).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sgdvi._internal.arguments import check_fields, checked
from sgdvi._internal.batches import Batching
from sgdvi._internal.check import InputError, message, non_negative, positive, require, whole
from sgdvi._internal.text import number
from sgdvi._internal.tree import require_key
from sgdvi.noise_balance.source import find_source
from sgdvi.problem.base import Problem
from sgdvi.problem.loss import Loss
from sgdvi.symmetry import Symmetry
from sgdvi.symmetry._loss import SampleLoss
from sgdvi.symmetry.noise import gradients_of_rows

# Size of the perturbation, over that of the parameters: derivatives to 1e-7, and right where a ReLU has none.
_SMALL = 1e-7
_INVARIANT = 1e-8
_ERRORS = 3.0
_BURN_IN = 0.25
Place = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Collapse:
    """Whether SGD collapses onto a set.

    Attributes
    ----------
    exponent, error
        Top Lyapunov exponent per step, and its standard error over the chains.
    where
        What the set is, in words.
    learning_rate, batch_size, chains, steps
        Of the runs.
    """

    exponent: float
    error: float
    where: str
    learning_rate: float
    batch_size: int
    chains: int
    steps: int

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def attracts(self) -> bool | None:
        """Whether the set attracts SGD; None within three standard errors of neither."""
        return None if not abs(self.exponent) > _ERRORS * self.error else self.exponent < 0

    def __str__(self) -> str:
        verdict = {True: "attracts SGD: it collapses", False: "repels SGD", None: "neither surely attracts nor repels"}
        size = f"exponent {number(self.exponent)} ± {number(self.error, 2)} per step"
        run = f"learning rate {self.learning_rate:g}, batch size {self.batch_size}, {self.chains} chains"
        return (
            f"{self.where} {verdict[self.attracts]} ({size}; {run}). The critical temperature of a linear network on "
            "one feature says nothing of several: noise alone collapses only what is nearly one-dimensional."
        )


@checked
def collapse(
    model: Problem | Loss | str,
    data: Any = None,
    *,
    learning_rate: float,
    batch_size: int,
    where: str | Symmetry | Place | tuple[Any, Any] = "zero",
    params: Any = None,
    weight_decay: float = 0.0,
    num_steps: int = 2_000,
    num_chains: int = 64,
    batching: str = Batching.REPLACEMENT,
    key: jax.Array | None = None,
) -> Collapse:
    """Test whether SGD collapses onto zero, a dead neuron or two equal ones: the top Lyapunov exponent across that set.

    SGD runs on the set, and a small perturbation across it is followed and brought back to its size at every step.

    Parameters
    ----------
    model, data
        As for `balance`.
    learning_rate, batch_size
        eta and S.
    where
        "zero": all parameters are 0. A symmetry of `find_symmetries`, or a mapping from names of leaves to indices,
        ``{"w": (slice(None), 3), "u": 3}``: these are 0, a dead neuron. A pair of either: equal in both, duplicated.
    params
        Where the runs begin, but for that; None takes the loss's own.
    weight_decay
        gamma of a decay that the optimizer adds.
    num_steps, num_chains
        Of the runs, of which a quarter is left out.
    batching
        "replacement" or "without-replacement".
    key
        JAX key; None is a fixed one.

    Returns
    -------
    Collapse
        Exponents above zero are biased up by O(t^-1/2) where two are equal.

    Raises
    ------
    InputError
        For bad input, and a set that SGD leaves by itself: the gradients of the rows must be tangent to it.

    Examples
    --------
    >>> import numpy as np, sgdvi
    >>> x = np.linspace(-1.0, 1.0, 21)
    >>> loss = sgdvi.Loss(lambda p, batch: (p["u"] * p["w"] * batch[0] - batch[1]) ** 2, {"u": 1.0, "w": 1.0})
    >>> sgdvi.collapse(loss, (x, np.cos(9 * x)), learning_rate=0.5, batch_size=1).attracts  # no signal, much noise
    True
    """
    rate, size = positive("learning_rate", learning_rate), whole("batch_size", batch_size, least=1)
    gamma, chains = non_negative("weight_decay", weight_decay), whole("num_chains", num_chains, least=8)
    steps, way = whole("num_steps", num_steps, least=100), Batching.of(batching)
    independent = way in (Batching.REPLACEMENT, Batching.WITHOUT_REPLACEMENT)
    require(independent, 'batching must be "replacement" or "without-replacement"', repr(way.value))
    key = jax.random.key(0) if key is None else key
    require_key(key)
    with jax.enable_x64(True):
        source = find_source(model, data)
        loss = SampleLoss.of(source.loss, source.loss.params, source.data)
        way.noise_share(loss.num_rows, size)
        leaves = loss.leaves if params is None else loss.flatten(params)
        across, words = _across(loss, where)
        start = [jnp.asarray(leaf - part) for leaf, part in zip(leaves, across(leaves), strict=True)]
        _require_invariant(loss, start, across)
        growth = _growth(loss, start, across, rate, size, gamma, steps, way, jax.random.split(key, chains))
    require(np.all(np.isfinite(growth)), "SGD on the set must stay finite", "overflow", "Take a smaller learning rate.")
    error = float(growth.std(ddof=1) / np.sqrt(chains))
    return Collapse(float(growth.mean()), error, words, rate, size, chains, steps)


def _across(loss: SampleLoss, where: Any) -> tuple[Any, str]:
    """Return the projection of leaves on the directions across the set, and the set in words."""
    if isinstance(where, str):
        require(where == "zero", 'where must be "zero", a symmetry, a mapping or a pair of them', repr(where))
        return (lambda leaves: list(leaves)), "Zero"
    if isinstance(where, tuple):
        rule = "a pair must name two parts of the same shapes"
        require(len(where) == 2, rule, f"{len(where)} of them")
        one, other = (_places(loss, each) for each in where)
        shapes = [[loss.leaves[leaf][index].shape for leaf, index in places] for places in (one, other)]
        require(shapes[0] == shapes[1], rule, shapes)

        def difference(leaves: Any) -> Any:
            parts = [jnp.zeros_like(jnp.asarray(leaf)) for leaf in leaves]
            for (a, at_a), (b, at_b) in zip(one, other, strict=True):
                half = 0.5 * (jnp.asarray(leaves[a])[at_a] - jnp.asarray(leaves[b])[at_b])
                parts[a] = parts[a].at[at_a].add(half)
                parts[b] = parts[b].at[at_b].add(-half)
            return parts

        return difference, "A duplicated neuron"
    masks = [np.zeros(leaf.shape) for leaf in loss.leaves]
    for leaf, index in _places(loss, where):
        masks[leaf][index] = 1.0
    return (lambda leaves: [m * jnp.asarray(leaf) for m, leaf in zip(masks, leaves, strict=True)]), "A dead neuron"


def _places(loss: SampleLoss, where: Any) -> list[tuple[int, Any]]:
    if isinstance(where, Symmetry):
        return [(group.leaf, group.where) for group in where.groups]
    rule = "where must name leaves of the parameters: " + ", ".join(loss.labels)
    require(isinstance(where, Mapping) and set(where) <= set(loss.labels) and where, rule, repr(where))
    places = [(loss.labels.index(label), index) for label, index in where.items()]
    try:
        require(all(loss.leaves[leaf][index].size for leaf, index in places), rule, "an empty index")
    except IndexError as error:
        raise InputError(message(rule + ", with indices that fit", str(error))) from None
    return places


def _require_invariant(loss: SampleLoss, start: list[Any], across: Any) -> None:
    gradients = gradients_of_rows(loss, [np.asarray(leaf) for leaf in start], loss.num_rows)
    parts = jax.vmap(across)([jnp.asarray(each) for each in gradients])
    largest = max(float(jnp.abs(part).max()) for part in parts)
    size = max(1.0, *(float(np.abs(each).max()) for each in gradients))
    rule = "the gradient of every row must be tangent to the set, or SGD leaves it by itself"
    require(
        largest <= _INVARIANT * size, rule, f"{largest:.3g} across it", "A bias, or an odd activation, may do that."
    )


def _growth(
    loss: SampleLoss,
    start: list[Any],
    across: Any,
    rate: float,
    size: int,
    gamma: float,
    steps: int,
    way: Batching,
    keys: jax.Array,
) -> np.ndarray:
    """Mean logarithm of the growth of a perturbation per step, one for each key."""
    data, count = jax.tree.map(jnp.asarray, loss.data), loss.num_rows
    replace, burn_in = way is Batching.REPLACEMENT, int(_BURN_IN * steps)
    scale = _SMALL * max(1.0, *(float(jnp.abs(leaf).max()) for leaf in start))

    def mean(leaves: list[Any], rows: jax.Array) -> jax.Array:
        return loss.call(leaves, jax.tree.map(lambda leaf: leaf[rows], data)).mean()

    def normal(leaves: list[Any]) -> tuple[list[Any], jax.Array]:
        length = jnp.sqrt(sum((leaf**2).sum() for leaf in leaves))
        return [leaf / length for leaf in leaves], jnp.log(length)

    def step(state: Any, key: jax.Array) -> Any:
        theta, apart = state
        rows = jax.random.choice(key, count, (size,), replace=replace)
        # one program for both: on the set, and beside it
        places = [jnp.stack([a, a + scale * b]) for a, b in zip(theta, apart, strict=True)]
        slopes = jax.vmap(jax.grad(mean), (0, None))(places, rows)
        here, there = [slope[0] for slope in slopes], across([slope[1] for slope in slopes])
        keep = 1 - 2 * rate * gamma
        along = [a - b for a, b in zip(here, across(here), strict=True)]
        theta = [keep * a - rate * b for a, b in zip(theta, along, strict=True)]
        apart, grown = normal([keep * a - rate * b / scale for a, b in zip(apart, there, strict=True)])
        return (theta, apart), grown

    def chain(key: jax.Array) -> jax.Array:
        first, later = jax.random.split(key)
        parts = jax.random.split(first, len(start))
        drawn = [jax.random.normal(one, leaf.shape, leaf.dtype) for one, leaf in zip(parts, start, strict=True)]
        state = start, normal(across(drawn))[0]
        return jax.lax.scan(step, state, jax.random.split(later, steps))[1][burn_in:].mean()

    return np.asarray(jax.jit(jax.vmap(chain))(keys))
