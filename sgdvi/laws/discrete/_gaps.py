"""Where phi(eta) = sum p log|1 + eta w| is negative: a union of intervals, listed gap by gap.

Between two consecutive poles -1/w (w < 0) phi is strictly concave and falls to -infinity at both, so that it is
positive on one interval or nowhere; past the last pole it rises. What is left is where it is negative.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# An interval of negative phi narrower than this share of its rate, around a pole that few batches share, is a sliver.
SLIVER = 1e-5
# Ends of intervals closer to a pole than this share of the rate are put on it.
_CLOSE = 1e-9
_HALVINGS = 50
# Rates times batches in memory at once.
_BLOCK = 1_000_000

Intervals = tuple[tuple[float, float], ...]


def negative_intervals(weights: np.ndarray, masses: np.ndarray) -> tuple[Intervals, int]:
    """Return the intervals of rates eta > 0 where phi < 0, in order, and the number of slivers left out."""
    w, index = np.unique(weights, return_inverse=True)
    if not w.any():
        return (), 0
    ends = _Phi(w, np.bincount(index, masses), -1 / w[w < 0]).positive()
    intervals, slivers = [], 0
    for begin, end in zip(ends[1:-1:2].tolist(), ends[2:-1:2].tolist(), strict=True):
        if end - begin > SLIVER * end:
            intervals.append((begin, end))
        else:
            slivers += 1
    return tuple(intervals), slivers


@dataclass(frozen=True)
class _Phi:
    """The function, for distinct w in rising order with masses p; pole j is that of w[j]."""

    w: np.ndarray
    p: np.ndarray
    poles: np.ndarray

    def positive(self) -> np.ndarray:
        """Return begin, end, begin, end ... of the intervals where phi > 0: from 0 on first, to infinity last."""
        count = len(self.poles)
        if not count:
            return np.array([0.0, np.inf])
        first, last = np.zeros(1, int), np.array([count - 1])
        start = [0.0, 0.0]
        # phi(0) = 0 and phi is concave up to the first pole: it is positive from 0 on exactly if its slope E w there is
        if self.w @ self.p > 0:
            top = self._summit(np.zeros(1), self.poles[:1])
            start[1] = float(self.poles[0] - self._root(first, -1.0, self.poles[:1] - top)[0])
        left, top = self._crests()
        begin = self.poles[left] + self._root(left, 1.0, top - self.poles[left])
        end = self.poles[left + 1] - self._root(left + 1, -1.0, self.poles[left + 1] - top)
        reach = self.poles[last].copy()
        # past the last pole every |1 + eta w| grows with eta without bound, so this ends
        while self._near(last, reach)[0] <= 0:
            reach *= 2
        past = self.poles[-1] + self._root(last, 1.0, reach)
        return np.concatenate([start, np.stack([begin, end], axis=1).ravel(), past, [np.inf]])

    def _crests(self) -> tuple[np.ndarray, np.ndarray]:
        """The gaps between poles in which phi is positive somewhere, by their left poles, and where it is."""
        half = np.diff(self.poles) / 2
        top = self.poles[:-1] + half
        left = np.arange(len(half))
        value = self._near(left, half)
        # A concave function lies below its tangents: most gaps are decided in the middle.
        with np.errstate(invalid="ignore"):  # poles that differ by rounding
            bound = value + np.abs(self._slopes(top)) * half
        open_ = np.flatnonzero((value <= 0) & (bound > 0))
        top[open_] = self._summit(self.poles[open_], self.poles[open_ + 1])
        value[open_] = self._near(open_, top[open_] - self.poles[open_])
        return left[value > 0], top[value > 0]

    def _summit(self, begin: np.ndarray, end: np.ndarray) -> np.ndarray:
        """Where phi is largest between two rates: its derivative falls from the one to the other."""
        low, high = begin.copy(), end.copy()
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            rising = self._slopes(middle) > 0
            low, high = np.where(rising, middle, low), np.where(rising, high, middle)
        return (low + high) / 2

    def _slopes(self, rate: np.ndarray) -> np.ndarray:
        """Return the derivative of phi."""
        return self._each(len(rate), lambda rows: np.asarray((self.w / (1 + rate[rows, None] * self.w)) @ self.p))

    def _root(self, pole: np.ndarray, side: float, far: np.ndarray) -> np.ndarray:
        """Distance from each pole at which phi turns positive on this side of it; at `far` it is."""
        distance = np.minimum(_CLOSE * self.poles[pole], far)
        seen = self._near(pole, side * distance) < 0
        low, high, pole = distance[seen], far[seen], pole[seen]
        for _ in range(_HALVINGS):
            # a root can be closer to its pole by many powers of ten: the logarithm of the distance is halved
            middle = np.sqrt(low * high)
            less = self._near(pole, side * middle) < 0
            low, high = np.where(less, middle, low), np.where(less, high, middle)
        distance = np.zeros_like(distance)
        distance[seen] = np.sqrt(low * high)
        return distance

    def _near(self, pole: np.ndarray, distance: np.ndarray) -> np.ndarray:
        """Return phi at a distance from each pole, whose own term is taken from the distance itself."""

        def part(rows: np.ndarray) -> np.ndarray:
            own, apart = pole[rows], distance[rows]
            factors = 1 + (self.poles[own] + apart)[:, None] * self.w
            factors[np.arange(len(own)), own] = apart * self.w[own]
            return np.asarray(np.log(np.abs(factors)) @ self.p)

        return self._each(len(pole), part)

    def _each(self, count: int, part: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        size = max(_BLOCK // len(self.w), 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            pieces = [part(np.arange(i, min(i + size, count))) for i in range(0, count, size)]
        return np.concatenate(pieces) if pieces else np.zeros(0)
