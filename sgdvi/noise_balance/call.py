"""The call `sgdvi.balance`: from a model, and a trajectory that is run or read, to the result."""

from collections.abc import Mapping
from typing import Any

import jax

from sgdvi._internal.check import require, whole
from sgdvi.diagnostics.thresholds import Thresholds
from sgdvi.draws.tree import is_tree
from sgdvi.noise_balance.measure import measure
from sgdvi.noise_balance.ratios import norm_ratios
from sgdvi.noise_balance.rest import predicted_rest
from sgdvi.noise_balance.result import Balance
from sgdvi.noise_balance.run import run_sgd
from sgdvi.noise_balance.source import find_source
from sgdvi.noise_balance.trajectory import read_arrays, read_tree
from sgdvi.problem.base import Problem
from sgdvi.problem.loss import Loss
from sgdvi.symmetry import Symmetries, find_symmetries
from sgdvi.symmetry._loss import SampleLoss

NUM_CHAINS, NUM_STEPS = 4, 4_000
_STREAMS = {"symmetries": 0, "run": 1}


def balance(
    model: Problem | Loss | str,
    data: Any = None,
    *,
    key: jax.Array | None = None,
    trajectory: Any = None,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    num_steps: int = NUM_STEPS,
    num_chains: int = NUM_CHAINS,
    num_warmup: int = 0,
    thinning: int | None = None,
    batching: str | None = None,
    points: int = 100,
    symmetries: Symmetries | None = None,
    thresholds: Thresholds | Mapping[str, float] | None = None,
    progress: bool = False,
) -> Balance:
    r"""Measure how SGD moves along the scaling symmetries of a model, and compare it with the law of balance.

    Every rescaling symmetry of a per-sample loss has a charge :math:`c = \theta^T A \theta`, for a neuron
    :math:`\|u\|^2 - \|w\|^2`, on which the noise of SGD does not act:
    :math:`dc/dt = T\,\mathrm{Tr}[A C(\theta)] - 4 \gamma c`, stationary where the noise of both sides is the same
    (Ziyin, Li and Ueda 2025). The symmetries are found, a trajectory is run or read, and at its points the charges,
    the noise of the gradient over all samples, and the norms are measured, in float64.

    Parameters
    ----------
    model
        A `Loss`, a `Problem`, the name of one in the zoo, or the path of a model file.
    data
        Pytree of arrays with N rows for a `Loss`; a problem has its own.
    key
        JAX key of the search for symmetries and of the run; None takes a fixed one.
    trajectory
        Draws to read instead of a run: the DataTree of `sgdvi.sample`, whose settings are used unless they are given
        here; or a pytree like the parameters, each leaf with leading axes (chain, draw).
    learning_rate, batch_size
        eta and S. They are needed to run; without them a trajectory that does not hold them has no prediction.
    num_steps, num_chains, num_warmup
        Of the run. The steps are rounded down to a multiple of 8.
    thinning
        Steps from one draw to the next of the trajectory that is read, by default its own or 1. In a run, points are
        evenly spaced by it; by default they are dense at the start, where charges move fastest.
    batching
        How the rows of a minibatch are drawn, as in `SGD`; by default what the trajectory says, else "replacement".
        Shuffled epochs have no temperature, hence no prediction.
    points
        Points of every chain that are looked at, each at the cost of a pass over the data.
    symmetries
        What `find_symmetries` found for this loss, where it is known already.
    thresholds
        Changes of the thresholds ``drift_errors`` and ``noise_imbalance``.
    progress
        Whether the run shows a progress bar.

    Returns
    -------
    Balance
        Print it; ``.table()``, ``.findings``, ``.plot()``, ``.to_json(path)``.

    Raises
    ------
    InputError
        For bad input, as in `find_symmetries` and `sample`, and for a run in which all chains overflow.

    Examples
    --------
    >>> import jax, numpy as np, sgdvi
    >>> x = np.linspace(-1.0, 2.0, 20)
    >>> loss = sgdvi.Loss(lambda p, batch: (p["u"] * p["w"] * batch[0] - batch[1]) ** 2, {"u": 2.0, "w": 0.5})
    >>> balance = sgdvi.balance(loss, (x, 2 * x + 1), learning_rate=0.01, batch_size=4, num_steps=1000)
    >>> balance.names, balance.effective_dimension
    (['u / w'], 1)
    """
    limits, most = Thresholds.make(thresholds), whole("points", points, least=3)
    key = jax.random.key(0) if key is None else key
    with jax.enable_x64(True):
        source = find_source(model, data)
        checked = SampleLoss.of(source.loss, source.loss.params, source.data)
        given = {"learning_rate": learning_rate, "batch_size": batch_size, "thinning": thinning, "batching": batching}
        if trajectory is None:
            shape = {"num_steps": num_steps, "num_chains": num_chains, "num_warmup": num_warmup, "points": most}
            settings = {**given, **shape, "progress": progress}
            path = run_sgd(source, checked, jax.random.fold_in(key, _STREAMS["run"]), settings)
        elif is_tree(trajectory):
            path = read_tree(trajectory, checked, given, source.free).thinned(most)
        else:
            path = read_arrays(trajectory, checked, given).thinned(most)
        if symmetries is None:
            search = jax.random.fold_in(key, _STREAMS["symmetries"])
            symmetries = find_symmetries(source.loss, source.loss.params, source.data, key=search)
        require(isinstance(symmetries, Symmetries), "symmetries must be what find_symmetries returned", symmetries)
        measured = measure(checked, symmetries, path)
        ratios = norm_ratios(checked, symmetries, path, measured)
        rest = predicted_rest(checked, symmetries, path)
    ignored = sum(symmetries.ignored.values())
    total = sum(leaf.size for leaf in checked.leaves) - ignored
    return Balance(source.title, symmetries, path, measured, ratios, total, limits, rest)
