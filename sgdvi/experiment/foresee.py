"""What SGD on a model will be, before any run: the laws of all its flavours near the mode, against the posterior's."""

import inspect
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from sgdvi._internal.arguments import checked
from sgdvi._internal.check import InputError
from sgdvi.experiment.forecast_result import Forecast
from sgdvi.experiment.predicted import Predicted, summaries
from sgdvi.experiment.tried import said_of_rows, without_rows
from sgdvi.problem.base import Problem, require_posterior
from sgdvi.samplers.flat import FlatLoss
from sgdvi.samplers.mode import LARGEST, NUM_STARTS, Mode, search
from sgdvi.samplers.quadratic import LocalQuadratic, at_mode
from sgdvi.samplers.recipes import FLAVOURS
from sgdvi.samplers.targets.rows import LatentRows

# Scaling is advised for worse conditions, where it helps by this factor, of so many arguments.
_BAD_CONDITION, _HELPS, _MOST_ARGUMENTS = 100.0, 2.0, 12
# Means of an index 0, 1, ..., J - 1 and of counts are less than so many sds from 0.
_FAR_FROM_0 = 3.0
# Parameters per row, sds from the mode, nats: beyond them the quadratic says little about the law.
_MANY_PARAMETERS, _FAR, _NEAR_MODE = 0.1, 1.0, 7.0
# Nats, over so many draws: 0.03 to 0.25 on ordinary regressions, 7 on a hierarchy and 100 along an orbit of a symmetry.
_NOT_GAUSSIAN, _TRIED = 1.0, 256
# Losses of the last calls with what is compiled for them.
_RECENT: dict[int, tuple[Any, FlatLoss]] = {}
_MOST_RECENT = 4


@checked
def forecast(problem: Problem, *, key: jax.Array | None = None) -> Forecast:
    """Say what every flavour of SGD will be on a problem, from mode, curvature and gradient noise: nothing is run.

    For each flavour that is its steps, and its law near the mode in discrete time, mean and covariance, against the
    posterior's in the same approximation, on the functionals of the problem.

    Parameters
    ----------
    problem
        Model, data and functionals. A latent value per row is integrated out, as by `integrate_rows`.
    key
        Key of the starts of the search for the mode; None is ``jax.random.key(0)``.

    Raises
    ------
    InputError
        For a problem without a posterior, data that SGD cannot run on, and more than 300 parameters.

    Examples
    --------
    >>> import sgdvi
    >>> f = sgdvi.forecast(sgdvi.zoo.load("diabetes", depth=0))
    >>> f.reliable, f["completed"].largest_w1 < 0.01
    (True, True)
    """
    require_posterior(problem)
    key = jax.random.key(0) if key is None else key
    try:
        flat = _flat(problem, key)
    except LatentRows as error:
        problem = without_rows(problem, error)
        flat = _flat(problem, key)
    size = flat.starts.shape[1]
    if size > LARGEST:
        advice = "Run sgdvi.SGLD with a diagonal preconditioner, and compare it with NUTS or variational inference."
        raise InputError(f"a forecast needs the whole Hessian, of at most {LARGEST} parameters; got {size}. {advice}")
    mode = search(flat)
    head: dict[str, Any] = {
        "name": problem.name,
        "num_data": flat.num_data,
        "mode": mode,
        "rows": said_of_rows(problem),
    }
    if not mode.exists:
        return Forecast(**head)
    near = at_mode(flat, mode)
    predicted = Predicted(problem, near)
    curvature, directions = np.linalg.eigh(near.hessian)
    return Forecast(
        **head,
        condition=float(curvature[-1] / curvature[0]),
        slowest=_named(directions[:, 0], mode),
        fastest=_named(directions[:, -1], mode),
        scaling=_scaling(problem, flat, float(curvature[-1] / curvature[0])),
        information=(float(near.near.information[0]), float(near.near.information[-1])),
        sandwich=_range(np.sqrt(np.diag(near.near.sandwich) / np.diag(near.near.laplace))),
        posterior=summaries(predicted.posterior),
        flavours=tuple(predicted.flavour(near.recipe(name)) for name in FLAVOURS),
        doubts=tuple(_doubts(near, mode, predicted.points)),
        curvature=(float(curvature[0]), float(curvature[-1])),
        near=near,
    )


def _flat(problem: Problem, key: jax.Array) -> FlatLoss:
    """Return the flat loss of a problem: that of an earlier call, whose programs are compiled, where it is alike."""
    model, flat = _RECENT.pop(id(problem.model), (None, None))
    flat_loss = (
        flat.renewed(problem.arguments, key, NUM_STARTS) if flat is not None and model is problem.model else None
    )
    flat_loss = flat_loss or FlatLoss(problem.model, problem.arguments, key=key, num_starts=NUM_STARTS)
    _RECENT[id(problem.model)] = problem.model, flat_loss
    while len(_RECENT) > _MOST_RECENT:
        _RECENT.pop(next(iter(_RECENT)))
    return flat_loss


def _range(values: np.ndarray) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _named(direction: np.ndarray, mode: Mode) -> tuple[str, ...]:
    """Return the names of the largest entries of a direction, two at most."""
    order = np.argsort(-np.abs(direction))[:2]
    return tuple(mode.names[i] for i in order if abs(direction[i]) > 0.01 * abs(direction[order[0]]))


def _doubts(near: LocalQuadratic, mode: Mode, points: np.ndarray) -> Iterator[str]:
    """Say why the laws near the mode may not be those of SGD and the posterior."""
    laplace, size = near.laplace, len(mode.vector)
    if size > _MANY_PARAMETERS * near.num_data:
        yield f"{size} parameters on {near.num_data} rows: the noise changes much within the posterior"
    off = np.abs(laplace.shift) / laplace.sd
    if off.max() > _FAR:
        where = mode.names[int(off.argmax())]
        yield f"the mode is not where the mass is: {where} has its mean about {off.max():.1g} sd away from it"
    some = points[:: len(points) // _TRIED]
    with np.errstate(all="ignore"):
        losses = near.num_data * near.flat.values(laplace.mean + some @ laplace.root.T)
        off_by = np.std(losses - 0.5 * (some**2).sum(axis=1))
    if not off_by < _NOT_GAUSSIAN:
        yield f"the posterior is no Gaussian: its log density varies by {off_by:.2g} nats about the quadratic's"
    if mode.others and mode.others[0] < _NEAR_MODE:
        yield f"another mode is only {mode.others[0]:.1f} nats lower"


def _has_units(values: np.ndarray) -> bool:
    """Return whether values may be a covariate: real numbers, or whole ones far from 0, such as years, and no index."""
    if values.dtype.kind == "f":
        return True
    return values.dtype.kind in "iu" and bool(np.any(np.abs(values.mean(axis=0)) > _FAR_FROM_0 * values.std(axis=0)))


def _scaling(problem: Problem, flat: FlatLoss, condition: float) -> tuple[tuple[str, ...], float]:
    """Return the arguments of the model that are best centred and standardised, and the condition then."""
    chosen: list[str] = []
    if not condition > _BAD_CONDITION:
        return (), condition
    rows: list[Any] = list(flat.rows)
    best = condition
    for place, name in _row_names(problem, flat)[:_MOST_ARGUMENTS]:
        values = np.asarray(rows[place])
        if values.ndim > 2 or not _has_units(values):
            continue
        sd = values.std(axis=0)
        scaled = np.where(sd > 0, (values - values.mean(axis=0)) / np.where(sd > 0, sd, 1), values)
        changed = [*rows[:place], scaled, *rows[place + 1 :]]
        other = flat.on(tuple(changed))
        other.starts = flat.starts[:1]
        try:
            mode = search(other)
        except TypeError:  # whole numbers that were an index after all
            continue
        if not mode.exists or mode.hessian is None:
            continue
        now = float(np.linalg.cond(mode.hessian))
        if now * _HELPS < best:
            rows, best = changed, now
            chosen.append(name)
    return tuple(chosen), best


def _row_names(problem: Problem, flat: FlatLoss) -> list[tuple[int, str]]:
    """Return place among the rows and name of each argument that has rows."""
    parameters = list(inspect.signature(problem.model).parameters)
    paths = jax.tree_util.tree_flatten_with_path(problem.arguments)[0]
    with_rows = [path for (path, _), fixed in zip(paths, flat.target.split.leaves, strict=True) if fixed is None]
    names = []
    for place, (_, key, *inner) in enumerate(with_rows):
        number = getattr(key, "idx", None)
        name = str(key.key) if number is None else parameters[number] if number < len(parameters) else str(number)
        names.append((place, name + jax.tree_util.keystr(tuple(inner))))
    return names
