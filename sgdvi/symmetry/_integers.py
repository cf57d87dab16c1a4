"""From a null space to exponents: rank decision, rational basis, and the shortest integer vectors of its lattice."""

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from scipy.linalg import qr, solve

_LARGEST_DENOMINATOR = 12
_RATIONAL_TOLERANCE = 1e-6
# rows whose differences are all rounding would be blown up by dividing by their size
_FLOOR = 1e-4
_ROUNDINGS = (0.5, 0.3, 0.7)


@dataclass(frozen=True)
class NullSpace:
    """The null space of a matrix, with what its rank decision rests on.

    Attributes
    ----------
    basis
        Shape (dimension, columns).
    largest_dropped, smallest_kept
        The singular values on either side of the decision, as shares of the largest one.
    """

    basis: np.ndarray
    largest_dropped: float
    smallest_kept: float


def null_space(rows: np.ndarray, spreads: np.ndarray, tolerance: float) -> NullSpace:
    """Find the null space of a matrix of sums by its singular values, relative to the largest.

    Parameters
    ----------
    rows
        Matrix, shape (R, G), R >= G.
    spreads
        Sums of the absolute values of the terms that `rows` sums, shape (R, G). Columns are divided by their size
        here, where nothing cancels; columns without terms do not count. Rows are divided by their norm, but not by less
        than 1e-4 of the norm of the terms.
    tolerance
        Singular values up to this share of the largest count as zero.
    """
    scale = np.sqrt((spreads**2).mean(axis=0))
    live = np.flatnonzero(scale > 1e-12 * scale.max())
    scaled = rows[:, live] / scale[live]
    floor = _FLOOR * np.linalg.norm(spreads[:, live] / scale[live], axis=1)
    norms = np.maximum(np.linalg.norm(scaled, axis=1), floor)
    scaled = scaled[norms > 0] / norms[norms > 0, None]
    # it has the singular values and the right vectors of the rows, however many these are
    triangle = np.linalg.qr(scaled, mode="r")
    _, values, right = np.linalg.svd(triangle, full_matrices=True)
    values = np.pad(values, (0, len(live) - len(values))) / values[0]
    zero = values <= tolerance
    basis = np.zeros((int(zero.sum()), rows.shape[1]))
    basis[:, live] = right[zero] / scale[live]
    return NullSpace(basis, float(values[zero].max(initial=0.0)), float(values[~zero].min(initial=1.0)))


def integer_basis(basis: np.ndarray, overlaps: np.ndarray) -> np.ndarray:
    """Return a basis with integer entries of a space spanned by rational vectors, as short as can be found.

    Parameters
    ----------
    basis
        Any basis, shape (V, G).
    overlaps
        Gram matrix of the coordinates, shape (G, G): vectors are short in this metric.

    Returns
    -------
    numpy.ndarray
        The basis, shape (V, G). A vector that is not rational is scaled so that its smallest entry is one in size.
    """
    if not len(basis):
        return basis
    scaled = basis / np.abs(basis).max(axis=1, keepdims=True)
    # made the identity on its best conditioned columns: where the space has a rational basis, this one is rational
    _, _, order = qr(scaled, mode="economic", pivoting=True)
    reduced = solve(scaled[:, order[: len(basis)]], scaled)
    vectors, whole = zip(*(_rationalise(vector) for vector in reduced), strict=True)
    result, rational = np.array(vectors), np.array(whole)
    result[rational] = _shorten(result[rational], overlaps)
    return result


def _rationalise(vector: np.ndarray) -> tuple[np.ndarray, bool]:
    vector = np.where(np.abs(vector) < _RATIONAL_TOLERANCE, 0.0, vector)
    fractions = [Fraction(float(entry)).limit_denominator(_LARGEST_DENOMINATOR) for entry in vector]
    error = max(abs(float(fraction) - entry) for fraction, entry in zip(fractions, vector, strict=True))
    if error > _RATIONAL_TOLERANCE * np.abs(vector).max():
        return vector / np.abs(vector[vector != 0]).min(), False
    multiple = math.lcm(*(fraction.denominator for fraction in fractions))
    # one entry of the vector is 1, so these have no common divisor
    return np.array([int(fraction * multiple) for fraction in fractions], float), True


def _shorten(vectors: np.ndarray, overlaps: np.ndarray) -> np.ndarray:
    """Replace vectors by shorter ones of the same lattice while there are any: the longest first."""
    vectors = vectors.copy()
    gram = vectors @ overlaps @ vectors.T
    improved = True
    while improved:
        improved = False
        inverse = np.linalg.inv(gram)
        for number in np.argsort(-np.diag(gram), kind="stable"):
            times = _shorter(gram, inverse, int(number))
            if times is not None:
                vectors[number] = times @ vectors
                gram[number] = times @ gram
                gram[:, number] = gram[number]
                gram[number, number] = vectors[number] @ overlaps @ vectors[number]
                inverse, improved = np.linalg.inv(gram), True
    return vectors


def _shorter(gram: np.ndarray, inverse: np.ndarray, number: int) -> np.ndarray | None:
    """Return integer coefficients, that of `number` itself 1, of a shorter vector; None where none is found.

    The starts are the vector itself and its projection off all others, with coefficients P_vw/P_vv for the inverse P
    of the Gram matrix, rounded in several ways (Babai); from there one coefficient is changed at a time.
    """
    projection = inverse[number] / inverse[number, number]
    starts = [np.zeros(len(gram)), *(np.sign(projection) * np.floor(np.abs(projection) + up) for up in _ROUNDINGS)]
    others = np.arange(len(gram)) != number
    # squared lengths are whole numbers: what is shorter is so by one at least
    best, shortest = None, gram[number, number] - 0.5
    for times in {tuple(start): start for start in starts}.values():
        times[number] = 1.0
        slope = gram @ times
        while True:
            change = np.where(others, np.round(slope / np.diag(gram)), 0.0)
            gain = 2 * change * slope - change**2 * np.diag(gram)
            place = int(np.argmax(gain))
            if gain[place] < 0.5:
                break
            times[place] -= change[place]
            slope -= change[place] * gram[:, place]
        if times @ slope < shortest:
            best, shortest = times, times @ slope
    return best
