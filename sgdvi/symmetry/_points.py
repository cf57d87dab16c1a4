"""Radial derivatives <theta, dl/dtheta> of single samples at random parameter points, group by group."""

from dataclasses import dataclass

import jax
import numpy as np

from sgdvi._internal.check import InputError, message, require
from sgdvi.symmetry._loss import BLOCK_NUMBERS, Leaves, SampleLoss
from sgdvi.symmetry._slices import Slices

# two differences between samples at each point; batch normalisation needs more rows to be generic
_ROWS, _COUPLED_ROWS = 3, 8
_MOST_POINTS = 64
_ZERO_LEAF = 0.5
_SMALLEST_SCALE = 0.1
_JITTER = 0.3
_IGNORED = 1e-12


@dataclass
class Radial:
    """Radial derivatives at n points with b rows each.

    Attributes
    ----------
    rows
        Shape (n, b, G).
    sizes
        Sums of |theta dl/dtheta| over the same groups, shape (n, b, G).
    spreads
        Sums of the absolute differences of theta dl/dtheta to the first row of the point, shape (n, b - 1, G).
    squares
        Sums of squares of the parameters over the same groups, shape (n, G).
    activity
        For every leaf and entry, the largest difference of theta dl/dtheta between two rows of a point.
    """

    rows: np.ndarray
    sizes: np.ndarray
    spreads: np.ndarray
    squares: np.ndarray
    activity: list[np.ndarray]

    def only(self, kept: np.ndarray) -> "Radial":
        """Return the same for some of the groups, those where `kept` is true."""
        spreads, squares = self.spreads[..., kept], self.squares[..., kept]
        return Radial(self.rows[..., kept], self.sizes[..., kept], spreads, squares, self.activity)

    @property
    def differences(self) -> np.ndarray:
        """Differences of the rows of a point to its first, shape (n, b - 1, G)."""
        return self.rows[:, 1:] - self.rows[:, :1]


class Sampler:
    """Draws parameter points and rows, and evaluates values and gradients there.

    The points are of the size of the given parameters, leaf by leaf, with random signs; where the loss is not finite
    at such a point, the signs of the given parameters are kept.
    """

    def __init__(self, loss: SampleLoss, seed: int) -> None:
        self.loss = loss
        self.num_rows = min(_COUPLED_ROWS if loss.coupled else _ROWS, loss.num_rows)
        self.rng = np.random.default_rng(seed)
        self._order = np.zeros(0, int)
        numbers = sum(leaf.size for leaf in loss.leaves) * self.num_rows
        self.block = max(1, min(_MOST_POINTS, BLOCK_NUMBERS // numbers))

    def draw(self) -> tuple[Leaves, list[np.ndarray]]:
        """Return a block of points (n, ...) and gradients (n, b, ...) there."""
        points = [self._random(leaf) for leaf in self.loss.leaves]
        rows = self.loss.rows(np.stack([self._next_rows() for _ in range(self.block)]))
        gradients, bad = self._evaluate(points, rows)
        if bad.any():
            # parameters that must be positive, for example under a logarithm
            for point, leaf in zip(points, self.loss.leaves, strict=True):
                kept = np.where(leaf == 0, point, leaf * np.exp(0.5 * self.rng.standard_normal(point.shape)))
                point[bad] = kept[bad]
            gradients, bad = self._evaluate(points, rows)
        if bad.any():
            rule = "loss and gradient must be finite at random parameters of the size of params"
            advice = "Give params at which the loss is regular, or a loss that is defined around them."
            raise InputError(message(rule, f"{int(bad.sum())} of {bad.size} points that are not", advice))
        return points, gradients

    def _evaluate(self, points: Leaves, rows: object) -> tuple[list[np.ndarray], np.ndarray]:
        with jax.enable_x64(True):
            values, gradients = self.loss.gradients(points, rows)
        arrays = [np.asarray(gradient) for gradient in gradients]
        finite = np.isfinite(np.asarray(values)).all(axis=1)
        for array in arrays:
            finite &= np.isfinite(array).all(axis=tuple(range(1, array.ndim)))
        return arrays, ~finite

    def _random(self, leaf: np.ndarray) -> np.ndarray:
        size = float(np.sqrt((leaf**2).mean()))
        least = _SMALLEST_SCALE / max(leaf.shape, default=1) ** 0.5
        scale = max(size, least) if size else _ZERO_LEAF
        jitter = np.exp(_JITTER * self.rng.standard_normal(self.block))
        numbers = self.rng.standard_normal((self.block, *leaf.shape))
        return scale * jitter.reshape(-1, *[1] * leaf.ndim) * numbers

    def _next_rows(self) -> np.ndarray:
        if len(self._order) < self.num_rows:
            self._order = self.rng.permutation(self.loss.num_rows)
        taken, self._order = self._order[: self.num_rows], self._order[self.num_rows :]
        return taken


def products(points: Leaves, gradients: list[np.ndarray]) -> list[np.ndarray]:
    """Return theta dl/dtheta for every entry, shapes (n, b, ...)."""
    return [point[:, None] * gradient for point, gradient in zip(points, gradients, strict=True)]


def activity(terms: list[np.ndarray]) -> list[np.ndarray]:
    """Return how much each entry's theta dl/dtheta differs between rows of a point: zero where no sample uses it."""
    return [np.ptp(term, axis=1).max(axis=0) for term in terms]


def radial_derivatives(sampler: Sampler, slices: Slices, num_points: int) -> Radial:
    """Evaluate at least `num_points` points."""
    rows: Leaves = []
    sizes: Leaves = []
    spreads: Leaves = []
    squares: Leaves = []
    active = [np.zeros(shape) for shape in slices.shapes]
    while sum(len(block) for block in rows) < num_points:
        points, gradients = sampler.draw()
        terms = products(points, gradients)
        rows.append(slices.sums(terms))
        sizes.append(slices.sums([np.abs(term) for term in terms]))
        spreads.append(slices.sums([np.abs(term[:, 1:] - term[:, :1]) for term in terms]))
        squares.append(slices.sums([point**2 for point in points]))
        active = [np.maximum(one, other) for one, other in zip(active, activity(terms), strict=True)]
    joined = [np.concatenate(blocks) for blocks in (rows, sizes, spreads, squares)]
    return Radial(joined[0], joined[1], joined[2], joined[3], active)


def unused_entries(active: list[np.ndarray], labels: tuple[str, ...]) -> list[np.ndarray]:
    """Return for each leaf a mask of its entries that no sample uses.

    Raises
    ------
    InputError
        If no sample uses any entry of any leaf.
    """
    largest = max(float(entry.max()) for entry in active)
    rule, advice = "the loss of some sample must depend on params", "Hand them to the network inside the loss."
    require(largest > 0, rule, f"no influence of {', '.join(labels)}", advice)
    return [entry <= _IGNORED * largest for entry in active]
