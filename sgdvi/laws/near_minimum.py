r"""The laws that SGD has near a minimum, in discrete time, whatever it is multiplied by and whatever noise is added.

The one place where such laws are computed. Near a minimum with Hessian H, covariance C of the rows' gradients and rows'
Hessians B_i, the step

.. math:: z \leftarrow z - P g_{batch}(z) + N(0, Q)

keeps the covariance that solves

.. math:: \Sigma = (I - P H) \Sigma (I - P H)^T + P [C + E_i B_i \Sigma B_i - H \Sigma H] P / S + Q

(Liu, Ziyin and Ueda 2021; the factor 1/S is (N-S)/(N-1)/S without replacement). In the eigenbasis of P H every entry
of a covariance is the noise there times a number, the response of two directions to it; momentum is another response
(`sgdvi.laws.momentum`). Everything is solved in coordinates in which the Laplace posterior is N(0, I), where conditions
of 1e12 lose no digits.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import scipy.optimize
import scipy.sparse.linalg

from sgdvi.laws.momentum import PLAIN, Momentum

# Up to so many parameters E[B X B] is exact, a matrix of D^2 x D^2; beyond it is its value over the posterior, times
# the mean variance over the posterior's, from as many rows as take a second.
_DENSE = 24
_MOST_WORK = 3 * 10**8
_TOLERANCE = 1e-12
_MOST_ITERATIONS = 200


class NearMinimum:
    """A loss near its minimum, and the Gaussian laws of SGD there.

    Parameters
    ----------
    hessian, noise
        Hessian of the mean loss L and covariance of the rows' gradients, (D, D); the first positive definite.
    num_data
        Rows, N.
    row_hessians
        Hessians of the rows' losses, (K, D, D): the noise grows with the distance from the minimum; None: it does not.

    Attributes
    ----------
    root, inverse_root
        W with W W' = H^-1 / N, and its inverse.
    """

    def __init__(self, hessian: np.ndarray, noise: np.ndarray, num_data: int, row_hessians: Any = None) -> None:
        self.hessian, self.noise, self.num_data = hessian, noise, num_data
        self.size = len(hessian)
        scale = np.sqrt(np.diag(hessian))
        # with a unit diagonal: eigenvalues that are small by the units of a parameter alone would lose their digits
        values, vectors = np.linalg.eigh(hessian / np.outer(scale, scale))
        width = np.sqrt(num_data * values)
        self.root = vectors / scale[:, None] / width
        self.inverse_root = (vectors * width).T * scale
        # W'CW: C/N in a well-specified model, hence I/N
        self.white_noise = self.root.T @ noise @ self.root
        self._rows = None if row_hessians is None else self._white_rows(np.asarray(row_hessians))

    @property
    def laplace(self) -> np.ndarray:
        """Covariance of the Laplace posterior, H^-1 / N."""
        return self.root @ self.root.T

    @property
    def sandwich(self) -> np.ndarray:
        """Covariance of the minimiser over data sets, H^-1 C H^-1 / N: also that of averages over one epoch."""
        return self.num_data * self.root @ self.white_noise @ self.root.T

    @property
    def information(self) -> np.ndarray:
        """Eigenvalues of N W'CW, ascending: all 1 where the information equality C = H holds."""
        return np.maximum(np.linalg.eigvalsh(self.num_data * self.white_noise), 0.0)

    def shift(self, bend: np.ndarray) -> np.ndarray:
        r"""Mean of a law less the mode: :math:`-\tfrac12 H^{-1} \nabla_z \operatorname{tr}(\Sigma H(z))`.

        The mean gradient vanishes in a stationary law, whatever the step: H b + bend / 2 = 0.
        """
        return -0.5 * self.num_data * self.root @ (self.root.T @ bend)

    def covariance(
        self, step: np.ndarray, share: float, injected: np.ndarray | None = None, memory: Momentum = PLAIN
    ) -> np.ndarray | None:
        """Return the stationary covariance; None where there is none.

        Parameters
        ----------
        step
            P, (D, D), symmetric and positive definite, learning rate included.
        share
            Variance of a minibatch mean over that of one row: 1/S with replacement.
        injected
            Q, (D, D), added to the step of SGD without momentum.
        memory
            Momentum of the gradients.
        """
        rates, basis = self.coordinates(step)
        if not self._stable(rates, basis, share, memory):
            return None
        kernel = memory.response(rates / self.num_data)
        forced = share * basis.T @ self.white_noise @ basis * np.outer(rates, rates)
        if injected is not None:
            white = self.inverse_root @ injected @ self.inverse_root.T
            forced = forced + basis.T @ white @ basis
        # but for the rows' Hessians this is it
        first = kernel * forced
        if not first.any():
            return np.zeros_like(step)
        # entries differ by many powers of ten where a rate is far too small for a direction: solve for correlations
        width = np.sqrt(np.maximum(np.diag(first), 1e-14 * np.diag(first).max()))
        unit = np.outer(width, width)
        grown, count = self._growth(rates, basis, share, kernel), self.size**2

        def left(x: np.ndarray) -> np.ndarray:
            return x - (grown(x.reshape(unit.shape) * unit) / unit).ravel()

        operator = scipy.sparse.linalg.LinearOperator((count, count), left, dtype=float)
        start = (first / unit).ravel()
        solved, _ = scipy.sparse.linalg.gmres(operator, start, x0=start, rtol=_TOLERANCE, maxiter=10, restart=50)
        solved = solved.reshape(unit.shape) * unit
        white = basis @ solved @ basis.T
        return self.root @ (0.5 * (white + white.T)) @ self.root.T

    def average(self, step: np.ndarray, share: float, count: int) -> np.ndarray | None:
        r"""Return the covariance of averages over `count` steps in a row, without momentum; None where there is none.

        :math:`\Sigma_{ij} (n + s_i + s_j) / n^2` with :math:`s_i = \sum_{k=1}^{n-1} (n - k) (1 - a_i)^k` in the
        eigenbasis of P H. Over many relaxations it tends to H^-1 C(Sigma) H^-1 share / n: over an epoch, the sandwich
        (Polyak and Juditsky 1992).
        """
        covariance = self.covariance(step, share)
        if covariance is None:
            return None
        rates, basis = self.coordinates(step)
        lags = np.arange(1, count)
        weights = np.power.outer(1 - rates / self.num_data, lags) @ (count - lags)
        inward = basis.T @ self.inverse_root
        white = inward @ covariance @ inward.T * (count + np.add.outer(weights, weights)) / count**2
        outward = self.root @ basis
        return outward @ white @ outward.T

    def limit(self, step: np.ndarray, share: float, memory: Momentum = PLAIN) -> float:
        """Return the factor of the step at which the variance ceases to be finite (mean-square stability)."""
        rates, basis = self.coordinates(step)
        if not rates[0] > 0:
            return 0.0
        largest = float(rates[-1]) / self.num_data
        if not memory:
            # what a step adds over what it takes is linear in its size
            sums = np.add.outer(rates, rates) / self.num_data
            grown = self._growth(rates, basis, share, 1 / sums)
            own = np.outer(rates, rates) / sums / self.num_data**2
            return 1 / self._largest(lambda x: grown(x) + own * x)

        def stable(factor: float) -> float:
            return 1.0 if self._stable(factor * rates, basis, share, memory) else -1.0

        high = (1 - 1e-6) * memory.largest / largest
        if stable(high) > 0:
            return high
        while stable(high / 2) < 0:
            high = high / 2
        return float(scipy.optimize.bisect(stable, high / 2, high, rtol=1e-6))

    def slowest(self, step: np.ndarray, memory: Momentum = PLAIN) -> float:
        """Return the share of its distance that the slowest direction loses in a step: the least eigenvalue of P H."""
        rates = self.coordinates(step)[0] / self.num_data
        return float(memory.decay(rates).min() if memory else rates[0])

    def completion(self, step: np.ndarray, share: float) -> np.ndarray:
        """Return the noise Q that SGD lacks: with it the covariance of the law is H^-1 / N at this step.

        Not positive semi-definite where the minibatch's own noise is too large.
        """
        white = self.inverse_root @ step @ self.inverse_root.T
        left = np.eye(self.size) - white / self.num_data
        own = share * white @ self.noise_at_posterior @ white
        return self.root @ (np.eye(self.size) - left @ left.T - own) @ self.root.T

    @cached_property
    def noise_at_posterior(self) -> np.ndarray:
        """Covariance of a row's gradient over the Laplace posterior, white: W'(C + E[B Lap B] - H Lap H)W."""
        return self.white_noise + self._spread(np.eye(self.size))

    def factor(self, matrix: np.ndarray) -> np.ndarray:
        """Return A with A A' = matrix, a covariance or a step, (D, D); what rounding left below 0 is taken as 0."""
        values, vectors = self.coordinates(matrix)
        return self.root @ vectors * np.sqrt(np.maximum(values, 0.0))

    def divergence(self, covariance: np.ndarray) -> float:
        """KL divergence of N(0, covariance) from N(0, H^-1 / N), in nats."""
        values = np.linalg.eigvalsh(self.inverse_root @ covariance @ self.inverse_root.T)
        return float(0.5 * np.sum(values - 1 - np.log(values))) if values[0] > 0 else np.inf

    def coordinates(self, step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return eigenvalues, ascending, and eigenvectors of the step in white coordinates, in which N H is I."""
        white = self.inverse_root @ step @ self.inverse_root.T
        values, vectors = np.linalg.eigh(0.5 * (white + white.T))
        return values, vectors

    def _growth(
        self, rates: np.ndarray, basis: np.ndarray, share: float, kernel: np.ndarray
    ) -> Callable[[np.ndarray], np.ndarray]:
        """Return the map of a covariance in the step's eigenbasis to that of the noise of its rows' Hessians."""
        weight = share * kernel * np.outer(rates, rates)

        def grown(x: np.ndarray) -> np.ndarray:
            return weight * (basis.T @ self._spread(basis @ x @ basis.T) @ basis)

        return grown

    def _stable(self, rates: np.ndarray, basis: np.ndarray, share: float, memory: Momentum) -> bool:
        """Whether the variance is finite: each direction shrinks, and the noise of the rows' Hessians adds less."""
        a = rates / self.num_data
        if not (a[0] > 0 and a[-1] < memory.largest):
            return False
        return self._largest(self._growth(rates, basis, share, memory.response(a))) < 1

    def _largest(self, grown: Callable[[np.ndarray], np.ndarray]) -> float:
        # the map takes covariances to covariances: power iteration from I finds its largest eigenvalue
        x, value = np.eye(self.size), 0.0
        for _ in range(_MOST_ITERATIONS):
            x, before = grown(x), value
            value = float(np.linalg.norm(x))
            if abs(value - before) <= 1e-6 * value:
                break
            x = x / value
        return value

    def _white_rows(self, rows: np.ndarray) -> np.ndarray:
        """Return what E[B X B] - H X H is computed from: its matrix, or its value at X = I."""
        if self.size > _DENSE:
            count = min(len(rows), max(64, _MOST_WORK // self.size**3))
            rows = rows[np.unique(np.linspace(0, len(rows) - 1, count).astype(int))]
        white = self.root.T @ rows @ self.root
        # less their mean, so that E[B X B] - H X H is a mean of squares and nothing cancels
        white = white - white.mean(axis=0)
        if self.size > _DENSE:
            return np.einsum("nij,njk->ik", white, white, optimize=True) / len(white)
        flat = white.reshape(len(white), -1)
        square = (flat.T @ flat / len(flat)).reshape(4 * (self.size,))
        return square.transpose(0, 2, 1, 3).reshape(self.size**2, self.size**2)

    def _spread(self, x: np.ndarray) -> np.ndarray:
        """E[B X B] - H X H in white coordinates."""
        if self._rows is None:
            return np.zeros_like(x)
        if self.size > _DENSE:
            return self._rows * (np.trace(x) / self.size)
        return (self._rows @ x.ravel()).reshape(x.shape)
