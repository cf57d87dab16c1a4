"""The map by the exact laws: no draws but for the question whether the steps are too large."""

import math
from collections.abc import Sequence
from functools import cache

import numpy as np

from sgdvi._internal.batches import Batching
from sgdvi._internal.check import InputError
from sgdvi.diagnostics.distances import grade_both
from sgdvi.diagnostics.thresholds import Thresholds
from sgdvi.experiment.map.cells import Cell, Outcome
from sgdvi.experiment.map.steps import overflowed
from sgdvi.laws import critical_temperature
from sgdvi.laws.line import as_line_law
from sgdvi.laws.posterior import LinePosterior
from sgdvi.problem.network import LinearNetwork
from sgdvi.remedies.between import LEVELS, FromPosterior
from sgdvi.variational.tuning import divergence_at


class Laws:
    """The laws of one network at all temperatures, each computed once.

    Parameters
    ----------
    network, posterior
        The network and its exact posterior.
    batching
        How the rows of a minibatch are drawn.
    null_draws
        Draws of the posterior that the null levels are for.
    seed
        Of the short runs that show overflow.
    """

    def __init__(
        self, network: LinearNetwork, posterior: LinePosterior, batching: Batching, null_draws: float, seed: int
    ) -> None:
        self.network, self.batching, self.seed = network, batching, seed
        self.gap = FromPosterior(posterior)
        self.null = self.gap.null(null_draws)
        self.limits = Thresholds()
        self._divergence = divergence_at(network, posterior)
        self._by_flow = cache(self._flow)

    def cells(self, learning_rates: Sequence[float], batch_sizes: Sequence[int]) -> list[Cell]:
        """Return all cells, by batch size and then by learning rate."""
        cells = []
        for size in batch_sizes:
            shares = overflowed(self.network, np.asarray(learning_rates), size, self.batching, self.seed)
            cells += [self._cell(rate, size, float(share)) for rate, share in zip(learning_rates, shares, strict=True)]
        return cells

    def _cell(self, rate: float, size: int, share: float) -> Cell:
        heat = self.network.flow_learning_rate(rate) * (self.batching.noise_share(self.network.num_data, size) or 0.0)
        ks, w1, kl = math.nan, math.nan, math.nan
        outcome = self._collapse(rate, size, heat)
        if outcome is Outcome.COLLAPSES:
            ks, w1 = self.gap.away(np.zeros_like(LEVELS))
            kl = math.inf
        elif share > self.limits.overflow_fail:
            outcome = Outcome.OVERFLOWS
        elif heat < self._highest:
            # the key of the cache without the rounding of rate / size
            ks, w1, kl = self._by_flow(float(f"{heat:.12g}"))
        else:
            outcome, ks, w1 = self._by_steps(rate, size)
        status = grade_both(w1, ks, 0.0, 0.0, self.limits)  # between known laws nothing is left to chance
        return Cell(rate, size, heat, outcome, status, w1, ks, self.null[1], self.null[0], kl, share)

    def _collapse(self, rate: float, size: int, heat: float) -> Outcome:
        """Depth 1 by the exact threshold of discrete SGD, where batches can be listed; else by the flow."""
        network = self.network
        if network.depth == 1:
            try:
                growth = network.growth(rate, size, self.batching)
                return Outcome.COLLAPSES if growth < 0 else Outcome.LAW
            except InputError:
                pass  # more batches without replacement than can be listed
        return Outcome.COLLAPSES if network.depth > 0 and heat >= self._highest else Outcome.LAW

    @property
    def _highest(self) -> float:
        """Temperature at which the law of the flow ends to exist."""
        network = self.network
        if network.depth == 0:
            return math.inf
        return float(critical_temperature(network.moments, network.depth, network.law_decay, sign=network.side))

    def _flow(self, heat: float) -> tuple[float, float, float]:
        ks, w1 = self.gap.away(as_line_law(self.network.branch_law(heat)).icdf(LEVELS))
        return ks, w1, self._divergence(heat)

    def _by_steps(self, rate: float, size: int) -> tuple[Outcome, float, float]:
        """Above Tc of the flow, where the discrete steps do not collapse: their own law at depth 1."""
        law = self.network.discrete_law(rate, size, self.batching)
        if law.table is None:
            return Outcome.OVERFLOWS, math.nan, math.nan
        return Outcome.LAW, *self.gap.away(np.asarray(law.icdf(LEVELS)))
