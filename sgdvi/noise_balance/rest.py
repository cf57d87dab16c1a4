"""Where the symmetries of a run come to rest, predicted from the gradients of the rows at one minimum."""

from dataclasses import dataclass

import numpy as np

from sgdvi._internal.check import InputError
from sgdvi.noise_balance.trajectory import Trajectory
from sgdvi.symmetry import Symmetries
from sgdvi.symmetry._loss import SampleLoss
from sgdvi.symmetry.equilibrium import find_minimum

# Gradients of all rows are kept, and a minimum is looked for: a few seconds.
_MOST_ENTRIES = 1 << 22


@dataclass(frozen=True, eq=False)
class Rest:
    """Where S symmetries come to rest.

    Attributes
    ----------
    norm_ratio
        ||u||^2/||w||^2 there, shape (S,); nan where it is not known.
    steps
        Steps in which a small imbalance falls to 1/e, shape (S,); nan likewise.
    why
        Why they are not known; empty where they are.
    """

    norm_ratio: np.ndarray
    steps: np.ndarray
    why: str = ""


def predicted_rest(loss: SampleLoss, symmetries: Symmetries, path: Trajectory) -> Rest:
    """Predict it from the minimum that descent reaches from the last point of the first chain."""
    unknown = np.full(len(symmetries), np.nan)
    if not len(symmetries):
        return Rest(unknown, unknown)
    if not path.temperature > 0:
        return Rest(unknown, unknown, "Without a temperature the rest along the orbits is not predicted.")
    if loss.num_rows * sum(leaf.size for leaf in loss.leaves) > _MOST_ENTRIES or loss.coupled:
        return Rest(unknown, unknown, "The rest along the orbits is predicted for smaller models and data only.")
    last = loss.restore([leaf[0, -1] for leaf in path.leaves])
    try:
        found = symmetries.equilibrium(
            path.temperature, params=_minimum(loss, symmetries, last), learning_rate=path.learning_rate
        )
    except InputError as error:
        return Rest(unknown, unknown, f"No rest along the orbits is predicted: {error}")
    return Rest(found.norm_ratio, found.relaxation_steps)


def _minimum(loss: SampleLoss, symmetries: Symmetries, params: object) -> object:
    decay = symmetries[0].weight_decay - symmetries[0].penalty
    return loss.restore(find_minimum(loss, loss.flatten(params), max(decay, 0.0)))
