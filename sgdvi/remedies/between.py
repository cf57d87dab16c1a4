"""How far a law on the line is from the exact posterior of v, by quantiles: no draws, no chance."""

from functools import cached_property

import numpy as np

from sgdvi.diagnostics.distances import null_level
from sgdvi.laws.line import LineLaw, Points, as_line_law
from sgdvi.laws.posterior import LinePosterior

LEVELS = (np.arange(4000) + 0.5) / 4000


class FromPosterior:
    """Distances to a posterior of v.

    Parameters
    ----------
    posterior
        As `line_posterior` makes it.
    """

    def __init__(self, posterior: LinePosterior) -> None:
        self.posterior = posterior
        self.line: LineLaw = as_line_law(posterior)
        self.sd = float(posterior.variance**0.5)

    @cached_property
    def quantiles(self) -> np.ndarray:
        """Quantiles of the posterior at `LEVELS`."""
        return self.line.icdf(LEVELS)

    def away(self, points: np.ndarray) -> tuple[float, float]:
        """Return KS, and W1 in sds of the posterior, of a law given by its quantiles at `LEVELS`."""
        below = self.posterior.cdf(points)
        half = 0.5 / len(LEVELS)
        ks = max(np.max(np.abs(below - LEVELS - half)), np.max(np.abs(below - LEVELS + half)))
        return float(ks), float(np.mean(np.abs(points - self.quantiles)) / self.sd)

    def null(self, num_draws: float) -> tuple[float, float]:
        """Return what so many independent draws of the posterior itself stay below in 99 of 100 cases: KS, W1/sd."""
        w1, ks = null_level(Points(self.quantiles, np.inf), num_draws, np.inf)
        return ks, w1 / self.sd
