r"""Reshuffled epochs near a minimum: the law at the ends of epochs, and over all steps.

Within an epoch every row comes once, so that the noises of its M = N/S steps add up to nothing. Where the rows'
Hessians are one, the law is exact at any step and in closed form; along a curvature h, with kappa = eta M h, the
variance over that of batches with replacement, tends to :math:`1 - (2/\kappa) \tanh(\kappa/2)` at the ends and
:math:`1 - 2/\kappa + 2(1 - e^{-\kappa})/\kappa^2` over all steps. Where they differ, an epoch is affine,
:math:`\delta \leftarrow P \delta + q`, and the moments of P and q are means over random orders, each with its reverse,
of what they are beyond the constant Hessian's (derived here).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse.linalg

from sgdvi._internal.check import require, whole
from sgdvi.laws.near_minimum import NearMinimum

# Multiplications for the random orders, their places, and orders at most: a few seconds, 300 MB, and an error below 1 %
# with three parameters and few rows; with ten 3 % in the fastest directions, where rows' Hessians differ most.
_MOST_WORK, _MOST_PLACES, _MOST_ORDERS = 2 * 10**8, 8 * 10**7, 20_000
# So many at least, where that many are possible.
_FEWEST_ORDERS, _LONGEST = 32, 4 * 10**9
_SEED = 0


@dataclass(frozen=True, eq=False)
class EpochLaw:
    """The law of SGD over reshuffled epochs, near a minimum.

    Attributes
    ----------
    ends, steps
        Covariance of the iterates at the ends of epochs, and over all steps, (D, D).
    bias
        Mean at the ends less the minimum, (D,).
    replacement
        Covariance of the same SGD with replacement, (D, D).
    length
        Steps of an epoch, M.
    exact
        Whether the rows' own Hessians count, by random orders; else all are taken to be their mean.
    """

    ends: np.ndarray
    steps: np.ndarray
    bias: np.ndarray
    replacement: np.ndarray
    length: int
    exact: bool

    @property
    def ratios(self) -> tuple[np.ndarray, np.ndarray]:
        """Variance at the ends and over all steps relative to replacement, (D,) each: by its principal directions."""
        directions = np.linalg.eigh(self.replacement)[1]
        ends, steps, whole_noise = (
            np.einsum("ik,ij,jk->k", directions, matrix, directions)
            for matrix in (self.ends, self.steps, self.replacement)
        )
        return ends / whole_noise, steps / whole_noise

    def __str__(self) -> str:
        ends, steps = self.ratios
        return (
            f"epochs of {self.length} steps: variance {_range(steps)} of that with replacement over all steps, "
            f"{_range(ends)} at their ends; one draw per epoch shows the smaller one"
        )


def epoch_law(
    near: NearMinimum,
    step: np.ndarray,
    batch_size: int,
    gradients: np.ndarray | None = None,
    hessians: np.ndarray | None = None,
) -> EpochLaw | None:
    """Return the law of reshuffled epochs; None where there is none.

    Parameters
    ----------
    near
        The loss near its minimum.
    step
        P, (D, D), symmetric and positive definite, learning rate included.
    batch_size
        S; the N mod S rows at the end of an order are left out.
    gradients, hessians
        Of the rows' losses at the minimum, (N, D) and (N, D, D): without them all Hessians are taken to be their mean.

    Raises
    ------
    InputError
        For a batch of all rows or more.
    """
    size, count = whole("batch_size", batch_size, least=1), near.num_data
    require(size < count, f"batch_size must be below N = {count}", size, "All rows have no noise.")
    length = count // size
    replacement = near.covariance(step, 1 / size)
    rates, basis = near.coordinates(step)
    if replacement is None:
        return None
    frame = near.root @ basis
    noise = basis.T @ near.white_noise @ basis * np.outer(rates, rates)
    ends, steps = (noise * part for part in _constant(rates / count, count, size))
    mean, work = np.zeros(len(rates)), 2 * _FEWEST_ORDERS * length * len(rates) ** 3
    exact = gradients is not None and hessians is not None and work <= _LONGEST
    if gradients is not None and hessians is not None and exact:
        rows = frame.T @ np.asarray(hessians, float) @ frame
        slopes = (np.asarray(gradients, float) - np.mean(gradients, axis=0)) @ frame
        mean, ends, steps = _sampled(rates, rows, slopes, size, noise, ends, steps)
    return EpochLaw(frame @ ends @ frame.T, frame @ steps @ frame.T, frame @ mean, replacement, length, exact)


def _constant(a: np.ndarray, count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums of a unit of the rows' noise at the ends and over all steps, (D, D), for one Hessian.

    Two different places of one order have gradients with covariance -C/(N-1).
    """
    length = count // size
    # rho^k less 1 keeps the digits of slow directions
    less = _powers_less_one(a, np.arange(length))
    centred = less - less.mean(axis=1, keepdims=True)
    sums = length + less.sum(axis=1)
    own = count / (size * (count - 1))
    left = (count - size * length) / (size * length * (count - 1))
    forced = own * centred @ centred.T + left * np.outer(sums, sums)
    over = _powers_less_one(a, np.array([length]))[:, 0]
    ends = forced / -(np.add.outer(over, over) + np.outer(over, over))
    later = 1 + _powers_less_one(a, np.arange(1, length + 1))
    partial = (1 - later) / a[:, None]
    weights = 1 - np.arange(length) / length
    within = own * (((1 + less) * weights) @ (1 + less).T) - partial @ partial.T / (length * (count - 1))
    return ends, (later @ later.T / length) * ends + within


def _powers_less_one(a: np.ndarray, powers: np.ndarray) -> np.ndarray:
    """(1 - a)^k - 1, (D, K)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        small = np.expm1(np.multiply.outer(np.log1p(-np.minimum(a, 0.5)), powers))
    return np.where(a[:, None] <= 0.5, small, np.power.outer(1 - a, powers) - 1)


def _sampled(
    rates: np.ndarray,
    rows: np.ndarray,
    slopes: np.ndarray,
    size: int,
    noise: np.ndarray,
    ends: np.ndarray,
    steps: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean and covariances where the rows' Hessians differ, by random orders; one Hessian is the control."""
    count, d = slopes.shape
    length = count // size
    rng = np.random.default_rng(_SEED)
    orders = min(_MOST_WORK // (2 * length * d**2 * (d + size)), _MOST_PLACES // (2 * count))
    orders = int(np.clip(orders, _FEWEST_ORDERS, _MOST_ORDERS))
    rows_in_order = np.arange(count, dtype=np.int32)
    one = np.array([rng.permutation(rows_in_order)[: length * size] for _ in range(orders)])
    order = np.concatenate([one, one[:, ::-1]]).reshape(2 * orders, length, size)
    # the forcing of the constant Hessian is known: only what differs from it is left to chance
    over = _powers_less_one(rates / count, np.array([length]))[:, 0]
    known = ends * -(np.add.outer(over, over) + np.outer(over, over))
    *_, (p, q, q0) = _epoch(rates, rows, slopes, order)
    mean = np.linalg.solve(np.eye(d) - p.mean(axis=0), q.mean(axis=0))
    second = _second(p, q, mean, known + _product(q) - _product(q0))
    spread, centre = np.zeros((d, d)), np.zeros(d)
    for p, q, q0 in _epoch(rates, rows, slopes, order):
        cross = np.einsum("kij,j,kl->il", p, mean, q, optimize=True) / len(q)
        moved = np.einsum("kij,jl,kml->im", p, second, p, optimize=True) / len(q)
        spread += (moved + cross + cross.T + _product(q) - _product(q0)) / length
        centre += (p.mean(axis=0) @ mean + q.mean(axis=0)) / length
    within = steps - _mean_power(rates / count, length) * ends
    return mean, second - np.outer(mean, mean), spread + within - np.outer(centre, centre)


def _epoch(rates: np.ndarray, rows: np.ndarray, slopes: np.ndarray, order: np.ndarray) -> Iterator[Any]:
    """Yield P and q of the steps so far, and q with the mean Hessian, for each of these orders, (K, M, S)."""
    d = len(rates)
    p, q, q0 = np.broadcast_to(np.eye(d), (len(order), d, d)), np.zeros((len(order), d)), np.zeros((len(order), d))
    for place in range(order.shape[1]):
        h, g = rows[order[:, place]].mean(axis=1), slopes[order[:, place]].mean(axis=1)
        p = p - rates[:, None] * (h @ p)
        q = q - rates * (np.einsum("kij,kj->ki", h, q) + g)
        q0 = q0 - rates * (q0 / len(rows) + g)
        yield p, q, q0


def _mean_power(a: np.ndarray, length: int) -> np.ndarray:
    later = 1 + _powers_less_one(a, np.arange(1, length + 1))
    return later @ later.T / length


def _product(q: np.ndarray) -> np.ndarray:
    return q.T @ q / len(q)


def _second(p: np.ndarray, q: np.ndarray, mean: np.ndarray, forced: np.ndarray) -> np.ndarray:
    """Solve X = E[P X P'] + E[P m q'] + E[q m' P'] + E[q q']."""
    d = len(mean)
    cross = np.einsum("kij,j,kl->il", p, mean, q, optimize=True) / len(q)
    right = forced + cross + cross.T

    def left(x: np.ndarray) -> np.ndarray:
        matrix = x.reshape(d, d)
        return (matrix - np.einsum("kij,jl,kml->im", p, matrix, p, optimize=True) / len(p)).ravel()

    operator = scipy.sparse.linalg.LinearOperator((d * d, d * d), left, dtype=float)
    # slow directions keep nearly all: without what each keeps on average the iteration takes very long
    kept = np.diag(p.mean(axis=0))
    lost = (1 - np.outer(kept, kept)).ravel()
    inverse = scipy.sparse.linalg.LinearOperator((d * d, d * d), lambda x: x.ravel() / lost, dtype=float)
    start = right.ravel() / lost
    solved, _ = scipy.sparse.linalg.gmres(
        operator, right.ravel(), x0=start, rtol=1e-10, maxiter=10, restart=50, M=inverse
    )
    solved = solved.reshape(d, d)
    return 0.5 * (solved + solved.T)


def _range(values: np.ndarray) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{low:.2g} to {high:.2g}" if high > 1.05 * low else f"{low:.2g}"
