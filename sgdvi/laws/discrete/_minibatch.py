"""The law of a minibatch: the pull A v - B of its rows on v, atom by atom or on a lattice."""

import math
from dataclasses import dataclass
from itertools import combinations, combinations_with_replacement
from typing import Any

import numpy as np

from sgdvi._internal.check import InputError, finite_vector, message, require, whole
from sgdvi.laws.discrete._transfer import SIX, spread

# Points of the lattice for the law of the mean of x y, which is computed once.
_LATTICE = 2**16
# A sum of draws leaves the lattice with a probability below exp(-this): 1e-18.
_DEVIATION = 41.5
# Masses below are rounding of the Fourier transform.
_NOISE = 1e-17
# Sizes whose squares and ratios are floating-point numbers.
_RANGE = (1e-75, 1e75)
# As many different batches are listed one by one without replacement, and with it.
_LISTED, _MULTISETS = 20_000, 4_000


@dataclass(frozen=True)
class Factors:
    """Law of a factor f: points, their masses, and half the cell that each point stands for (0 for an atom)."""

    points: np.ndarray
    masses: np.ndarray
    half: float

    def mean_log(self) -> float:
        """E log |f|."""
        if self.half == 0:
            with np.errstate(divide="ignore"):
                return float(self.masses @ np.log(np.abs(self.points)))
        return float(self.masses @ _mean_log(self.points, self.half))

    def excess(self, power: float) -> float:
        """E |f|^power - 1, without cancellation where it is small; at most 1e300."""
        with np.errstate(divide="ignore", over="ignore"):
            values = np.expm1(power * np.log(np.abs(self.points)))
            # In cells at the zero of f, or near it, the mean of |t|^power is in closed form: infinite from power -1 on.
            near = np.abs(self.points) < 10 * self.half
            if near.any():
                if power <= -1:
                    return 1e300
                ends = [
                    np.sign(t) * np.abs(t) ** (1 + power) for t in (self.points + self.half, self.points - self.half)
                ]
                values = np.where(near, (ends[0] - ends[1]) / (2 * self.half * (1 + power)) - 1, values)
            return min(float(self.masses @ values), 1e300)


class Minibatch:
    """Minibatch means A of x^2 and B of x y (on the side of `sign`), as draws of `size` rows with these `masses`.

    Without replacement, and where few batches are possible with it, these are listed, and each is one row.
    """

    def __init__(self, x: Any, y: Any, batch_size: int, sign: int | None, replace: bool = True) -> None:
        x, y = finite_vector("x", x), finite_vector("y", y)
        require(len(x) == len(y), "x and y must have the same length", f"{len(x)} and {len(y)}")
        require(len(x) > 0, "x and y must have at least one row", "none")
        require(sign in (None, 1, -1), "sign must be 1 (v > 0), -1 (v < 0) or None (the side of E[x y])", sign)
        self.batch_size = whole("batch_size", batch_size, least=1)
        with np.errstate(over="ignore", invalid="ignore"):
            squares, products = x * x, x * y
        sizes = squares.max(), np.abs(products).max()
        if sizes[1] == 0:
            raise InputError(message("x y must not be 0 in every row", "zeros", "There is nothing to learn."))
        rule = f"x^2 and x y must be between {_RANGE[0]} and {_RANGE[1]} in size"
        require(_RANGE[0] < min(sizes) and max(sizes) < _RANGE[1], rule, f"up to {max(sizes):.3g}", "Rescale the data.")
        self.side = int(sign) if sign is not None else (1 if products.mean() >= 0 else -1)
        self.squares, self.products = squares, self.side * products
        self.size = self.batch_size
        self.mean = float(self.products.mean())
        self.scale = float(np.sqrt(np.mean(self.products**2)))
        self._means: dict[int, tuple[np.ndarray, np.ndarray, float]] = {}
        self.curvature = float(squares.mean())
        self.masses = np.full(len(x), 1 / len(x))
        if self.batch_size > 1:
            if not replace:
                self._list_batches()
            elif math.comb(len(x) + self.batch_size - 1, self.batch_size) <= _MULTISETS:
                self._list_multisets()

    def _list_multisets(self) -> None:
        rows = np.array(list(combinations_with_replacement(range(len(self.squares)), self.size)))
        # The orders of a batch: the multinomial coefficient, from the lengths of its runs of equal rows.
        logs = np.zeros(len(rows))
        run = np.ones(len(rows))
        for j in range(1, self.size):
            run = np.where(rows[:, j] == rows[:, j - 1], run + 1, 1.0)
            logs -= np.log(run)
        logs += math.lgamma(self.size + 1) - self.size * math.log(len(self.squares))
        self._take(rows, np.exp(logs))

    def _take(self, rows: np.ndarray, masses: np.ndarray) -> None:
        self.squares, self.products = self.squares[rows].mean(1), self.products[rows].mean(1)
        self.masses, self.size = masses / masses.sum(), 1

    def _list_batches(self) -> None:
        count = len(self.squares)
        advice = "Draw with replacement or take a smaller batch."
        require(self.size <= count, f"batch_size must be at most N = {count} without replacement", self.size, advice)
        batches = math.comb(count, self.size)
        if batches > _LISTED:
            rule = f"without replacement there must be at most {_LISTED} different batches: they are listed one by one"
            got = f"{batches:.3g} (N = {count}, batch_size = {self.size})"
            raise InputError(message(rule, got, "Draw with replacement: for S << N the two hardly differ."))
        self._take(np.array(list(combinations(range(count), self.size))), np.ones(batches))

    def near_zero(self, learning_rate: float, weight_decay: float) -> Factors:
        """Law of the factor at v = 0: 1 - 2 eta gamma + 2 eta B."""
        constant, factor = 1 - 2 * learning_rate * weight_decay, 2 * learning_rate
        points, masses, half = self._mean_product(_LATTICE)
        return Factors(constant + factor * points, masses, factor * half)

    def exponent(self, learning_rate: float, weight_decay: float) -> tuple[float, float]:
        """E log |f| at v = 0, and its error: 0 but for that of the lattice, by the difference to a coarser one."""
        constant, factor = 1 - 2 * learning_rate * weight_decay, 2 * learning_rate
        value = self.near_zero(learning_rate, weight_decay).mean_log()
        if self.size == 1:
            return value, 0.0
        points, masses, half = self._mean_product(_LATTICE // 2)
        return value, abs(Factors(constant + factor * points, masses, factor * half).mean_log() - value)

    def _mean_product(self, count: int) -> tuple[np.ndarray, np.ndarray, float]:
        if self.size == 1:
            return self.products, self.masses, 0.0
        if count not in self._means:
            self._means[count] = self._convolved(self.products, count)
        return self._means[count]

    def mean_square(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Law of A, as `mean_product`."""
        return (self.squares, self.masses, 0.0) if self.size == 1 else self._convolved(self.squares, _LATTICE)

    def _convolved(self, values: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, float]:
        centre, step, masses = mean_on_lattice(values[None], self.size, count)
        kept = np.abs(masses[0]) > _NOISE
        points = centre[0] + np.fft.fftfreq(count, 1 / count)[kept] * step[0]
        return points, masses[0, kept] / masses[0, kept].sum(), float(step[0] / 2)

    def pulls(self, v: np.ndarray, lattice: int) -> tuple[np.ndarray, np.ndarray]:
        """Return A v - B at every v, shape (points, atoms), and their masses."""
        values = v[:, None] * self.squares - self.products
        if self.size == 1:
            return values, self.masses
        centre, step, masses = mean_on_lattice(values, self.size, lattice)
        masses[np.abs(masses) < _NOISE] = 0.0
        return centre[:, None] + np.fft.fftfreq(lattice, 1 / lattice) * step[:, None], masses

    def mean_product(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Law of B: points, masses, and half the cell that each point stands for (0 for an atom)."""
        return self._mean_product(_LATTICE)


def mean_on_lattice(values: np.ndarray, size: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Law of the mean of `size` draws from each row of `values`, by the Fourier transform; `count` is a power of 2.

    Returns the means and the spacings of the lattices, shape (rows,), and the masses, shape (rows, count): entry j
    belongs to mean + k spacing with k = j, or j - count in the upper half.
    """
    rows, number = values.shape
    mean = values.mean(1)
    centred = values - mean[:, None]
    largest, variance = np.abs(centred).max(1), (centred**2).mean(1)
    # Sums end at size times the largest; beyond Bernstein's bound they have a probability of exp(-deviation).
    tail = _DEVIATION * largest / 3
    half = np.minimum(size * largest, tail + np.sqrt(tail**2 + 2 * _DEVIATION * size * variance))
    # The lattice is periodic, and each draw is spread over six of its points: with room for all of them no sum wraps.
    step = 2 * half / (count - 6 * size - 6) if count > 12 * size else 2 * half / (count - 8)
    step = np.where(step > 0, step, 1.0)
    origin = np.arange(rows)[:, None] * count
    single = np.zeros(rows * count)
    for point, weight in spread(centred / step[:, None], SIX):
        # Negative places count from the end, in the order of `fftfreq`.
        single += np.bincount((origin + (point & (count - 1))).ravel(), weight.ravel(), rows * count)
    spectrum = np.fft.rfft(single.reshape(rows, count) / number, axis=1) ** size
    return mean, step / size, np.fft.irfft(spectrum, count, axis=1)


def _mean_log(centre: np.ndarray, half: float) -> np.ndarray:
    """Mean of log |t| over [centre - half, centre + half]: finite where a cell holds the singularity."""

    def primitive(t: np.ndarray) -> np.ndarray:
        return t * np.log(np.maximum(np.abs(t), 1e-300)) - t

    # Far from it the primitives cancel, and what the series leaves out, (half/centre)^4/20, is below 1e-13.
    far = np.abs(centre) > 1e3 * half
    safe = np.where(far, centre, 1.0)
    near = (primitive(centre + half) - primitive(centre - half)) / (2 * half)
    return np.where(far, np.log(np.abs(safe)) - (half / safe) ** 2 / 6, near)
