r"""Where SGD comes to rest on the orbits of the symmetries of a loss, from the gradients of the rows at one minimum.

A generator A with :math:`\ell(e^{sA}\theta) = \ell(\theta)` moves gradients by :math:`e^{-sA}`, so the rest is the
minimum over the orbit of :math:`\operatorname{Tr} C + (4\gamma/T) \|\theta\|^2`: convex in the logarithms of commuting
scalings, and for :math:`U \to U M, W \to M^{-1} W` the geometric mean of two matrices (derived here from the law of
balance of Ziyin, Li and Ueda 2025).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize

from sgdvi._internal.check import require
from sgdvi._internal.text import number
from sgdvi.symmetry._loss import BLOCK_NUMBERS, Leaves, SampleLoss
from sgdvi.symmetry._slices import Group
from sgdvi.symmetry.noise import gradients_of_rows

# Newton's method on a convex function, and rounds over families that share parameters.
_MOST_NEWTON, _MOST_ROUNDS, _TOLERANCE = 200, 500, 1e-12
_FARTHEST = 3.0
_MOST_DESCENT = 200


@dataclass(frozen=True, eq=False)
class Equilibrium:
    """Where SGD comes to rest along one symmetry, or all.

    Attributes
    ----------
    params
        The point of the orbit, a pytree like the parameters.
    charge, norm_ratio
        theta^T A theta there, and the squares of positive over those of negative exponents (inf where there are no
        negative ones): numbers, or arrays with one entry for each symmetry.
    relaxation
        Time (steps times learning rate) in which a small imbalance falls to 1/e.
    learning_rate
        eta, where it was given.
    """

    params: Any
    charge: Any
    norm_ratio: Any
    relaxation: Any
    learning_rate: float | None = None

    @property
    def relaxation_steps(self) -> Any:
        """Steps in which a small imbalance falls to 1/e; nan without a learning rate."""
        return self.relaxation / self.learning_rate if self.learning_rate else self.relaxation * np.nan

    def __str__(self) -> str:
        lines = []
        for values in zip(*(np.atleast_1d(each) for each in self._shown()), strict=True):
            charge, ratio, time = (number(float(value)) for value in values)
            unit = "steps" if self.learning_rate else "units of time (steps times learning rate)"
            lines.append(f"at rest: charge {charge}, norm ratio {ratio}; it takes {time} {unit} to come there")
        return "\n".join(lines)

    def _shown(self) -> tuple[Any, Any, Any]:
        return self.charge, self.norm_ratio, self.relaxation_steps if self.learning_rate else self.relaxation


def find_minimum(loss: SampleLoss, leaves: Leaves, decay: float) -> Leaves:
    """Return the minimum of the mean loss plus decay |theta|^2 that descent (L-BFGS) reaches from `leaves`."""
    sizes = np.cumsum([leaf.size for leaf in leaves])[:-1]

    def split(flat: Any) -> list[Any]:
        parts = jnp.split(flat, sizes)
        return [part.reshape(leaf.shape) for part, leaf in zip(parts, leaves, strict=True)]

    def mean(flat: Any, rows: Any) -> Any:
        return loss.call(split(flat), rows).mean() + decay * (flat**2).sum()

    with jax.enable_x64(True):
        rows = jax.tree.map(jnp.asarray, loss.data)
        slope = jax.jit(jax.value_and_grad(mean))

        def value(flat: np.ndarray) -> tuple[float, np.ndarray]:
            height, gradient = slope(jnp.asarray(flat), rows)
            return float(height), np.asarray(gradient)

        start = np.concatenate([leaf.ravel() for leaf in leaves])
        options = {"maxiter": _MOST_DESCENT, "maxfun": 2 * _MOST_DESCENT, "ftol": 1e-13, "gtol": 1e-7}
        end = scipy.optimize.minimize(value, start, jac=True, method="L-BFGS-B", options=options).x
    return [part.reshape(leaf.shape) for part, leaf in zip(np.split(end, sizes), leaves, strict=True)]


def rest(
    loss: SampleLoss,
    leaves: Leaves,
    scalings: Sequence[Sequence[Group]],
    families: Sequence[Sequence[Sequence[Group]]],
    pull: float,
) -> Leaves:
    r"""Return the minimum of :math:`\operatorname{Tr} C + pull \|\theta\|^2` over the orbit of all these symmetries.

    Parameters
    ----------
    loss, leaves
        The loss, and a point of the orbit.
    scalings
        The groups of each scaling, with their exponents.
    families
        For each GL(k) the groups of its k scalings.
    pull
        4 gamma / T.

    Raises
    ------
    InputError
        Where an orbit has no such point, as for a scale invariance without weight decay.
    """
    gradients = gradients_of_rows(loss, leaves, max(1, BLOCK_NUMBERS // sum(leaf.size for leaf in leaves)))
    gradients = [each - each.mean(axis=0) for each in gradients]
    leaves = [leaf.copy() for leaf in leaves]
    exponents = _matrix(leaves, scalings)
    for _ in range(_MOST_ROUNDS):
        moved = 0.0
        if len(scalings):
            noise = np.concatenate([(each**2).mean(axis=0).ravel() for each in gradients])
            square = np.concatenate([leaf.ravel() for leaf in leaves]) ** 2
            steps = _newton(exponents, noise, pull * square)
            moved = max(moved, float(np.abs(steps).max()))
            _scale(leaves, gradients, exponents.T @ steps)
        for family in families:
            moved = max(moved, _balance_family(leaves, gradients, family, pull))
        if not families or moved < 1e-9:
            break
    return leaves


def _matrix(leaves: Leaves, scalings: Sequence[Sequence[Group]]) -> np.ndarray:
    """Exponents of all entries, (S, P)."""
    rows = []
    for groups in scalings:
        powers = [np.zeros(leaf.shape) for leaf in leaves]
        for group in groups:
            powers[group.leaf][group.where] = group.exponent
        rows.append(np.concatenate([each.ravel() for each in powers]))
    return np.array(rows).reshape(len(rows), sum(leaf.size for leaf in leaves))


def _newton(exponents: np.ndarray, noise: np.ndarray, square: np.ndarray) -> np.ndarray:
    """Minimise the sum of noise e^(-2 E's) + square e^(2 E's) over s."""
    size = float(noise.sum() + square.sum())
    rule = "the orbit must have a point at rest"
    advice = "Both sides of a symmetry need gradient noise or weight decay that is not zero."
    require(size > 0 and np.isfinite(size), rule, "no noise", advice)
    steps = np.zeros(len(exponents))
    used = np.abs(exponents).max(axis=0) > 0
    powers, noise, square = exponents[:, used], noise[used] / size, square[used] / size

    def height(at: np.ndarray) -> float:
        log = 2 * powers.T @ at
        return float(noise @ np.exp(-log) + square @ np.exp(log))

    with np.errstate(over="ignore"):
        for _ in range(_MOST_NEWTON):
            log = 2 * powers.T @ steps
            down, up = noise * np.exp(-log), square * np.exp(log)
            slope, bend = 2 * powers @ (up - down), 4 * (powers * (up + down)) @ powers.T
            move = np.linalg.lstsq(bend, -slope, rcond=1e-13)[0]
            move = move * min(1.0, _FARTHEST / max(float(np.abs(move).max()), 1e-300))
            now = height(steps)
            while height(steps + move) > now + 1e-4 * slope @ move and np.abs(move).max() > _TOLERANCE:
                move = move / 2
            steps = steps + move
            if np.abs(move).max() < _TOLERANCE:
                break
    require(np.abs(steps).max() < 100 and np.abs(move).max() < 1e-6, rule, "none", advice)
    return steps


def _scale(leaves: Leaves, gradients: Leaves, logs: np.ndarray) -> None:
    sizes = np.cumsum([leaf.size for leaf in leaves])[:-1]
    for place, log in enumerate(np.split(logs, sizes)):
        factor = np.exp(log).reshape(leaves[place].shape)
        leaves[place] = leaves[place] * factor
        gradients[place] = gradients[place] / factor


def _balance_family(leaves: Leaves, gradients: Leaves, family: Sequence[Sequence[Group]], pull: float) -> float:
    """Move U and W of one GL(k) to rest, P Q P = R, and their gradients with them; return how far."""
    size = len(family)
    q, r = np.zeros((size, size)), np.zeros((size, size))
    for place, group in enumerate(family[0]):
        at, along = _stack(leaves, family, place), _stack(gradients, family, place, lead=1)
        # noise of U pulls as decay of W does, and the other way round
        own, other = (r, q) if group.exponent > 0 else (q, r)
        own += np.einsum("nae,nbe->ab", along, along) / len(along)
        other += pull * at @ at.T
    rule, advice = "a family must have noise on both sides", "Add weight decay, or take another minimum."
    (left, least), (right, lowest) = _factor(q), _factor(r)
    require(min(least, lowest) > size * np.finfo(float).eps, rule, "a side without", advice)
    # P = C^-T (C^T R C)^1/2 C^-1 with Q = C C^T, by singular values of the factors: the product of Q and R squares
    # their condition, and lost what a network hardly uses
    vectors, values, _ = np.linalg.svd(left.T @ right)
    vectors, values, _ = np.linalg.svd(np.linalg.solve(left.T, vectors * np.sqrt(values)))
    m, inverse = (vectors * values) @ vectors.T, (vectors / values) @ vectors.T
    for place, group in enumerate(family[0]):
        here, there = (m, inverse) if group.exponent > 0 else (inverse, m)
        _unstack(leaves, family, place, here.T @ _stack(leaves, family, place))
        moved = np.einsum("ab,nbe->nae", there, _stack(gradients, family, place, lead=1))
        _unstack(gradients, family, place, moved, lead=1)
    return float(np.abs(m - np.eye(size)).max())


def _factor(matrix: np.ndarray) -> tuple[np.ndarray, float]:
    """Return C of the matrix C C^T, and its smallest eigenvalue over its largest."""
    values, vectors = np.linalg.eigh(matrix)
    largest = max(float(values[-1]), 1e-300)
    return vectors * np.sqrt(np.maximum(values, 0.0)), float(values[0]) / largest


def _stack(arrays: Leaves, family: Sequence[Sequence[Group]], place: int, lead: int = 0) -> np.ndarray:
    """Entries of one place of all members, (k, entries); with a leading axis of rows (N, k, entries)."""
    slices = [arrays[groups[place].leaf][(slice(None),) * lead + groups[place].where] for groups in family]
    return np.stack([part.reshape(*part.shape[:lead], -1) for part in slices], axis=lead)


def _unstack(arrays: Leaves, family: Sequence[Sequence[Group]], place: int, values: np.ndarray, lead: int = 0) -> None:
    for member, groups in enumerate(family):
        group = groups[place]
        target = arrays[group.leaf][(slice(None),) * lead + group.where]
        arrays[group.leaf][(slice(None),) * lead + group.where] = np.take(values, member, lead).reshape(target.shape)
