"""One run as the checks see it: arrays by name, the chains that are usable, and how well they mixed."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from sgdvi.diagnostics.columns import Columns
from sgdvi.diagnostics.measures import Mixing, Ranked, Tail, finite_chains, mixing_of, tail_of
from sgdvi.laws.line import Points

MOST_COORDINATES = 1_000
CONVERGED = "converged"


@dataclass(frozen=True, eq=False)
class Run:
    """The draws of one run.

    Attributes
    ----------
    name, kind
        Name; what made it: "sgd", "nuts", ...; "" if not known.
    sites
        Parameters, each (chain, draw, ...), in the type that they were drawn in: read them with `columns`.
    values
        Functionals, each (chain, draw), float64.
    overflowed, steps
        Per chain: whether it overflowed, and at which step (-1 where it did not); None if nothing was recorded.
    independent
        True for independent draws (variational inference).
    thinning
        Steps of the algorithm per draw.
    log_weights
        log posterior - log density of the run at independent draws of it, shape (S,); None where unknown.
    khat
        Pareto shape of such weights where only that was kept.
    starts
        Name of each chain's start, shape (chain,); None where starts have no names.
    stats
        Statistics of the sampler under ArviZ's names, each (chain, draw).
    log_likelihood
        Log likelihood of each row, shape (S, N), at draws of the run; None where unknown.
    predicted, observed
        Predictive draws of the rows, shape (S, N), and the rows, shape (N,); None where unknown.
    settings
        What the run was made with, as far as it was recorded.
    fit
        What is recorded of the convergence of a fit, in words: "converged", or why not; None where nothing is.
    ours
        Whether its statistics have our scale: the log joint is that of the whole model, with all its constants.
    fixed
        Site -> mask over its flattened entries of what all runs of a comparison hold at one value: no coordinates.
    still
        Functionals that all of them hold at one value.
    """

    name: str
    kind: str
    sites: Mapping[str, np.ndarray]
    values: Mapping[str, np.ndarray]
    overflowed: np.ndarray | None = None
    steps: np.ndarray | None = None
    independent: bool = False
    thinning: int = 1
    log_weights: np.ndarray | None = None
    khat: float | None = None
    starts: np.ndarray | None = None
    stats: Mapping[str, np.ndarray] = field(default_factory=dict)
    log_likelihood: np.ndarray | None = None
    predicted: np.ndarray | None = None
    observed: np.ndarray | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    fit: str | None = None
    ours: bool = False
    fixed: Mapping[str, np.ndarray] = field(default_factory=dict)
    still: frozenset[str] = frozenset()

    @property
    def unconverged(self) -> str:
        """Why the fit has not converged; "" where it has, or where there is none."""
        return "" if self.fit in (None, CONVERGED) else str(self.fit)

    @cached_property
    def columns(self) -> Columns:
        """The parameters side by side, in blocks of float64."""
        return Columns.of(self.sites)

    @cached_property
    def keep(self) -> np.ndarray:
        """Mask (chain,) of the chains whose every draw is finite and that did not overflow."""
        keep = self.columns.finite & finite_chains(*self.values.values()) if self.values else self.columns.finite
        return keep if self.overflowed is None else keep & ~self.overflowed

    @cached_property
    def mixing(self) -> dict[str, Mixing]:
        """Functional -> how well the usable chains mixed."""
        by_name = {name: mixing_of(ranked.values, self.independent, ranked) for name, ranked in self.ranked.items()}
        return {name: replace(one, trouble="fixed") if name in self.still else one for name, one in by_name.items()}

    @cached_property
    def ranked(self) -> dict[str, Ranked]:
        """Functional -> draws of the usable chains in order."""
        return {name: Ranked.of(self.usable(name)) for name in self.values}

    def usable(self, name: str) -> np.ndarray:
        """Return a functional of the usable chains, (chain, draw)."""
        return self.values[name] if self.keep.all() else self.values[name][self.keep]

    @cached_property
    def scores(self) -> dict[str, np.ndarray]:
        """Functional -> normal scores of the draws of the usable chains, (chain, draw)."""
        return {name: ranked.scores() for name, ranked in self.ranked.items()}

    @cached_property
    def points(self) -> dict[str, Points]:
        """Functional -> pooled draws of the usable chains, with what they are worth; empty where none is usable."""
        if not self.keep.any():
            return {}
        return {
            name: Points.from_draws(ranked.ordered, self._effective(self.mixing[name]), in_order=True)
            for name, ranked in self.ranked.items()
        }

    @cached_property
    def tails(self) -> dict[str, Tail]:
        """Functional -> tail that its draws show."""
        return {name: tail_of(self.ranked[name].ordered, points.effective) for name, points in self.points.items()}

    def _effective(self, measured: Mixing) -> float:
        if measured.trouble in ("constant", "fixed"):
            return np.inf  # a point mass is known exactly
        return measured.ess if np.isfinite(measured.ess) else float(measured.chains)

    @cached_property
    def coordinates_mixing(self) -> dict[str, Mixing]:
        """Coordinate of the parameters -> how well the usable chains mixed; of more than 1000, 1000 at random."""
        rows = int(self.keep.sum())
        if self.independent or rows < 2:
            return {}
        chosen = self.free_columns
        if len(chosen) > MOST_COORDINATES:
            chosen = np.sort(np.random.default_rng(0).choice(chosen, MOST_COORDINATES, replace=False))
        names = [self.columns.name(k) for k in chosen]
        # Coordinates that are functionals themselves have been measured already.
        others = np.array([k for k, name in zip(chosen, names, strict=True) if name not in self.mixing], int)
        measured = dict(self.mixing)
        for here in self.columns.blocks(self.columns.rows(self.keep), others):
            table = self.columns.take(self.keep, here).reshape(rows, -1, len(here))
            measured |= {self.columns.name(k): mixing_of(table[:, :, place]) for place, k in enumerate(here)}
        return {name: measured[name] for name in names}

    @cached_property
    def free_columns(self) -> np.ndarray:
        """Numbers of the parameters that not all runs hold at one value."""
        fixed = np.zeros(self.columns.size, bool)
        for place, name in enumerate(self.sites):
            fixed[self.columns.starts[place] : self.columns.starts[place + 1]] = self.fixed.get(name, False)
        return np.flatnonzero(~fixed)

    def ordered_as(self, other: "Run") -> "Run | None":
        """Return this run with its sites in the order of those of `other`; None where they are not the same."""
        if {name: site.shape[2:] for name, site in self.sites.items()} != {
            name: site.shape[2:] for name, site in other.sites.items()
        }:
            return None
        if list(self.sites) == list(other.sites):
            return self  # with what has been measured of it
        return replace(self, sites={name: self.sites[name] for name in other.sites})

    @property
    def fewest(self) -> int:
        """The smallest number of effective draws over the functionals."""
        counts = [self._effective(measured) for measured in self.mixing.values()]
        total = sum(values[self.keep].size for values in list(self.values.values())[:1])
        return int(min([*counts, total]))


@dataclass(frozen=True, eq=False)
class Law:
    """A law on the line as one of the runs: the functional that it is a law of, and its quantiles as points."""

    name: str
    functional: str
    points: Mapping[str, Points]

    @cached_property
    def tails(self) -> dict[str, Tail]:
        """Functional -> tail that the quantiles show."""
        return {name: tail_of(points.values, points.values.size) for name, points in self.points.items()}
