"""Norm ratios over the second half of a run, and the bounds on them that hold where SGD is at rest along the orbits."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sgdvi.noise_balance.measure import Measurement, standard_error
from sgdvi.noise_balance.trajectory import Trajectory
from sgdvi.symmetry import Symmetry
from sgdvi.symmetry._loss import SampleLoss
from sgdvi.symmetry.noise import outer_covariances
from sgdvi.symmetry.scaling import extreme_eigenvalues

# Entries of the matrices C1 and C2 of all symmetries together, 32 MB.
_MOST_BOUNDS = 1 << 22
# Points at which C1 and C2 are computed, in all chains together, and multiplications that may cost: seconds. Calls
# cost as much as this many of them for each row and symmetry.
_MOST_POINTS, _MOST_WORK, _CALLS = 32, 1e10, 3000
# Below this share of the largest norm a part of the network has died out, and the ratio of what is left says nothing.
_VANISHED = 1e-12


@dataclass(frozen=True, eq=False)
class Ratios:
    """Norm ratios of S symmetries with their bounds.

    Attributes
    ----------
    value
        Mean of ||u||^2 over mean of ||w||^2, over the second half of all chains, shape (S,); inf for a scale
        invariance, nan where both have vanished.
    error
        Standard error of it, by the effective number of points; nan where there are too few.
    bounds
        Bounds at rest, shape (2, S); nan where they were not computed.
    points
        Number of points, over the second half of all chains, at which C1 and C2 were computed.
    """

    value: np.ndarray
    error: np.ndarray
    bounds: np.ndarray
    points: int


def norm_ratios(loss: SampleLoss, symmetries: Sequence[Symmetry], path: Trajectory, measured: Measurement) -> Ratios:
    r"""Average norms and the eigenvalues of C1 and C2 over the second half of all chains.

    At rest the means of :math:`T u^\top C_1 u + 4 \gamma \|u\|^2` and :math:`T w^\top C_2 w + 4 \gamma \|w\|^2` are
    equal. With means of the extreme eigenvalues in which every point counts by its norm,
    :math:`\Lambda_1 = \langle \lambda_1 \|u\|^2 \rangle / \langle \|u\|^2 \rangle`, this bounds the ratio of the mean
    norms,

    .. math:: \frac{T \Lambda_2^{min} + 4 \gamma}{T \Lambda_1^{max} + 4 \gamma} \le
              \frac{\langle \|u\|^2 \rangle}{\langle \|w\|^2 \rangle} \le
              \frac{T \Lambda_2^{max} + 4 \gamma}{T \Lambda_1^{min} + 4 \gamma},

    whatever single points do: a part that has died out in some chain hardly counts.
    """
    norms = measured.norms[..., path.late]
    above, below = norms.mean(axis=(2, 3))
    value = np.divide(above, below, out=np.full(above.shape, np.inf), where=below > 0)
    sizes = above + below
    value[sizes <= _VANISHED * sizes.max(initial=0.0)] = np.nan
    error = np.array([_error(*pair) for pair in zip(norms[0], norms[1], value, below, strict=True)])
    bounds = np.full((2, len(symmetries)), np.nan)
    chosen = _bounded(loss, symmetries)
    bounded = [symmetries[number] for number in chosen]
    places = _places(loss, bounded, path) if chosen else []
    # axes: C1 or C2, smallest or largest eigenvalue
    total, weight = np.zeros((2, 2, len(chosen))), np.zeros((2, len(chosen)))
    for chain, point in places:
        leaves = [leaf[chain, point] for leaf in path.leaves]
        pairs = outer_covariances(loss, leaves, [each.sides for each in bounded])
        size = measured.norms[:, chosen, chain, point]
        ends = np.array([[extreme_eigenvalues(matrix) for matrix in pair] for pair in pairs]).transpose(1, 2, 0)
        total, weight = total + ends * size[:, None], weight + size
    if places:
        gamma = np.array([each.weight_decay for each in bounded])
        heat = np.where(gamma > 0, path.temperature, 1.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            one, two = heat * total / weight[:, None] + 4 * gamma
            both = (one[1] > 0) & (two[1] > 0)
            bounds[:, chosen] = np.where(both, [two[0] / one[1], two[1] / one[0]], np.nan)
    return Ratios(value, error, bounds, len(places))


def beyond(norms: np.ndarray, bounds: np.ndarray, slack: float) -> np.ndarray:
    """Return by how many standard errors ratios of mean norms lie outside their bounds, shape (S,); negative inside.

    Each bound r is held against the mean of ||u||^2 - r ||w||^2, which is as normal as the means are: a ratio is not.

    Parameters
    ----------
    norms
        ||u||^2 and ||w||^2, shape (2, S, M, K).
    bounds
        Shape (2, S); nan gives nan.
    slack
        The bounds are widened by this factor.
    """
    return np.array([_outside(*each, slack) for each in zip(norms[0], norms[1], bounds.T, strict=True)])


def _outside(above: np.ndarray, below: np.ndarray, bounds: np.ndarray, slack: float) -> float:
    if np.isnan(bounds).any():
        return float("nan")
    excess = -np.inf
    for sign, bound in ((-1, bounds[0] / slack), (1, bounds[1] * slack)):
        if np.isfinite(bound):
            apart = sign * (above - bound * below)
            error = standard_error(apart)
            # without an error the sign has to do
            z = apart.mean() / error if error > 0 else np.inf * np.sign(apart.mean())
            excess = max(excess, float(z))
    return excess


def _error(above: np.ndarray, below: np.ndarray, ratio: float, mean: float) -> float:
    """Return the error of a ratio of means over (chain, point), to first order."""
    return standard_error(above - ratio * below) / mean if np.isfinite(ratio) else float("nan")


def _bounded(loss: SampleLoss, symmetries: Sequence[Symmetry]) -> list[int]:
    """Numbers of the symmetries with exponents 1 and -1, as long as their matrices fit."""
    numbers, entries = [], 0
    for number, symmetry in enumerate(symmetries):
        if {group.exponent for group in symmetry.groups} == {1, -1}:
            entries += sum(size**2 for size in _sizes(loss, symmetry))
            if entries <= _MOST_BOUNDS:
                numbers.append(number)
    return numbers


def _sizes(loss: SampleLoss, symmetry: Symmetry) -> tuple[int, int]:
    u, w = (sum(loss.leaves[g.leaf][g.where].size for g in side) for side in symmetry.sides)
    return u, w


def _places(loss: SampleLoss, symmetries: Sequence[Symmetry], path: Trajectory) -> list[tuple[int, int]]:
    """Pairs of chain and point, evenly spaced over the second half, the last point among them."""
    work = loss.num_rows * sum((u + w) ** 2 + _CALLS for u, w in (_sizes(loss, each) for each in symmetries))
    count = max(1, min(_MOST_POINTS, int(_MOST_WORK / work)))
    chains, late = np.arange(min(path.num_chains, count)), np.flatnonzero(path.late)
    each = min(count // len(chains), len(late))
    spaced = late[::-1][np.arange(each) * len(late) // each]
    return [(int(chain), int(point)) for chain in chains for point in spaced]
