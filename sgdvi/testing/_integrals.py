"""Integrals of a density under check, over the pieces of its support between atoms."""

import itertools

import numpy as np

from sgdvi.testing._quadrature import Coordinate, integrate
from sgdvi.testing._subject import Subject

# Agreement of two routes in float64; a wrong formula is off by far more, quadrature and differences by far less.
CLOSE = 1e-6


class Integrals:
    """Integrals of the density of a batch of laws, each of shape (B,) unless it says otherwise.

    Attributes
    ----------
    total
        Of the density over the support.
    below
        Of the density below each point, shape (M, B).
    mean, variance
        With the atoms.
    entropy
        Of the density.
    held
        Mass of the atoms.
    missing
        Mass that double precision cannot represent, by the cdf: next to the lower and to the upper end of each piece
        between atoms, shape (2, pieces, B).
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = s = subject
        lower, upper = s.bounds
        places, masses = s.atoms
        # A density may be singular at an atom.
        ends = [lower, *np.clip(places, lower, upper), upper]
        self.pieces = [Coordinate(*pair, s.centre, s.spread) for pair in itertools.pairwise(ends)]
        self._exists = s.moment_exists(1), s.moment_exists(2)
        self._about = np.where(self._exists[0], np.nan_to_num(s.centre), 0.0)
        below, sums = zip(*map(self._integrate, self.pieces), strict=True)
        self.below = np.sum(below, axis=0)
        self.total, one, two, self.entropy = np.sum(sums, axis=0)
        away = (places - self._about) / s.spread
        one, two = one + np.sum(masses * away, 0), two + np.sum(masses * away**2, 0)
        self.held = masses.sum(0)
        self.mean = self._about + one * s.spread
        self.variance = (two - one**2) * s.spread**2
        lost = np.stack([self._beyond(piece) for piece in self.pieces], axis=1)
        self.missing = np.where(self.total + self.held < 1 - CLOSE, lost, 0.0)

    @property
    def scale(self) -> np.ndarray:
        """Factor by which the density is too large, mistakes of normalisation apart from those of the cdf."""
        rest = 1 - self.missing.sum((0, 1)) - self.held
        return np.where(rest > CLOSE, self.total / np.where(rest > CLOSE, rest, 1.0), 1.0)

    def cumulative(self) -> np.ndarray:
        """Mass at or below each point, shape (M, B)."""
        points = self.subject.points
        result = self.below / self.scale + self.subject.atoms_below(points)
        for lost, name in zip(self.missing, ("lower", "upper"), strict=True):
            ends = np.stack([getattr(piece, name) for piece in self.pieces])
            result += np.sum(np.where(ends[:, None] < points, lost[:, None], 0.0), axis=0)
        return result

    def _integrate(self, piece: Coordinate) -> tuple[np.ndarray, np.ndarray]:
        """Integrals over one piece: below each point, and in all with moments about ``_about`` and the entropy."""
        s, (first, second) = self.subject, self._exists
        start, stop = piece.ends()
        inner = np.clip(piece.to_t(s.points), start, stop)
        # Panels that grow away from the bulk: its width in t is that of the points.
        width = np.maximum(inner[-1] - inner[0], 1e-3)
        steps = np.concatenate([np.geomspace(0.1, 1, 8), np.geomspace(1.5, 1e7, 40)])[:, None]
        left = np.maximum(inner[0] - steps[::-1] * width, start)
        right = np.minimum(inner[-1] + steps * width, stop)
        edges = np.concatenate([start[None], left, inner, right, stop[None]])
        edges = np.maximum.accumulate(edges, axis=0)

        def integrands(t: np.ndarray) -> np.ndarray:
            v, rate = piece.to_v(t), piece.rate(t)
            with np.errstate(all="ignore"):
                level = s.call("log_prob", v)
                gone = (level == -np.inf) | (rate == 0) | (v <= piece.lower) | (v >= piece.upper)
                # far beyond the draws a log density that overflows is no mass either: the cdf counts what is there
                beyond = (v < s.draws[0]) | (v > s.draws[-1])
                gone |= beyond & ~np.isfinite(level)
                mass = np.where(gone, 0.0, np.exp(level) * rate)
                away = (v - self._about) / s.spread
                zero = mass == 0
                return np.stack(
                    [
                        mass,
                        np.where(zero | ~first, 0.0, mass * away),
                        np.where(zero | ~second, 0.0, mass * away**2),
                        np.where(zero, 0.0, -mass * level),
                    ]
                )

        parts = integrate(integrands, edges)
        offset = 1 + len(left)
        return np.stack([parts[0, : offset + i].sum(0) for i in range(len(inner))]), parts.sum(1)

    def _beyond(self, piece: Coordinate) -> np.ndarray:
        """Mass next to the two ends of a piece that its coordinate does not reach, shape (2, B); 0 without a cdf."""
        s = self.subject
        if not s.has("cdf"):
            return np.zeros((2, s.size))
        low, high = (piece.to_v(end) for end in piece.ends())
        lower, upper = np.isfinite(piece.lower), np.isfinite(piece.upper)
        ends = np.stack([np.where(lower, piece.lower, low), low, high, np.where(upper, piece.upper, high)])
        mass = np.array(s.call("cdf", ends))
        # below the end of the support there is nothing, above it all; an atom at the upper end is no part of the piece
        mass[0] = np.where(lower, mass[0], 0.0)
        mass[3] = np.where(upper, mass[3] - s.atom_at(piece.upper), 1.0)
        return np.where(piece.lower < piece.upper, np.stack([mass[1] - mass[0], mass[3] - mass[2]]), 0.0)


def integrals_of(subject: Subject) -> Integrals:
    """Return the integrals of the density of a subject, computed once."""
    if "integrals" not in subject.kept:
        subject.kept["integrals"] = Integrals(subject)
    integrals: Integrals = subject.kept["integrals"]
    return integrals
