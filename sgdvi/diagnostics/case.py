"""What a check is given: one run, what it is held against, and what is known; measured once."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sgdvi.diagnostics.facts import Facts
from sgdvi.diagnostics.findings import Finding
from sgdvi.diagnostics.measures import Tail
from sgdvi.diagnostics.predictions.of_run import RunPredictions
from sgdvi.diagnostics.run import Law, Run
from sgdvi.diagnostics.thresholds import Thresholds


@dataclass(frozen=True, eq=False)
class Case:
    """One run, ready to be checked.

    Attributes
    ----------
    run
        The run: draws, or a law on the line.
    facts
        What is known in closed form.
    limits
        What values are held against.
    reference
        What stands for the posterior: a run, a law, or None.
    trouble
        Why the reference cannot be relied on; "" where it can.
    kinds
        Which checks are made of the run: "draws" (any run with draws), "recorded" (its overflows are), "compared" (with
        the reference), "judged" (the verdict is on it), "independent" (so are its draws), "momentum" (so is its
        optimizer), "predicted" (its predictions of a test set are held against the reference's), "scored" (and against
        the data), "reference", "law".
    classifier
        Whether the classifier two-sample test is wanted.
    fresh
        Takes a case and returns its `stationarity.FreshStep`, or raises `Skip`; None where the sampler is unknown.
    near
        Takes a case and returns functional -> variance that its optimizer has near the mode, or raises `Skip`; None
        where the sampler is unknown.
    predictions
        What was found of its predictions of a test set; None where there are none.
    findings
        What its checks have found: check -> finding.
    """

    run: Run | Law
    facts: Facts = field(default_factory=Facts)
    limits: Thresholds = field(default_factory=Thresholds)
    reference: Run | Law | None = None
    trouble: str = ""
    kinds: frozenset[str] = frozenset({"draws", "recorded", "compared", "judged"})
    classifier: bool = False
    fresh: Any = None
    near: Any = None
    predictions: RunPredictions | None = None
    findings: dict[str, Finding] = field(default_factory=dict)
    _measured: dict[Hashable, Any] = field(default_factory=dict)

    @property
    def draws(self) -> Run:
        """The run, as one with draws."""
        assert isinstance(self.run, Run), "a check of draws is made of runs with draws only"
        return self.run

    @property
    def sgd(self) -> bool:
        """Whether the run is one of SGD."""
        return isinstance(self.run, Run) and self.run.kind == "sgd"

    @property
    def other(self) -> Run | Law:
        """The reference, for checks that have seen that there is one."""
        assert self.reference is not None, "a check without a reference has to skip first"
        return self.reference

    @property
    def against(self) -> Run | Law | None:
        """The reference, where it can be relied on."""
        return None if self.trouble else self.reference

    @property
    def sampled(self) -> Run | None:
        """The reference where it has draws of the same parameters, in the order of the run's."""
        other = self.against
        return other.ordered_as(self.draws) if isinstance(other, Run) else None

    @property
    def factors(self) -> list[np.ndarray] | None:
        """Draws of the factors whose product is looked at, of the usable chains; None where the run has none."""
        names = self.facts.factors
        if not names or any(name not in self.draws.sites for name in names) or not self.draws.keep.any():
            return None
        return [np.asarray(self.draws.sites[name][self.draws.keep], dtype=np.float64) for name in names]

    def values(self, name: str) -> np.ndarray:
        """Return a functional of the usable chains, shape (chain, draw)."""
        return self.draws.usable(name)

    def tail(self, side: Run | Law, name: str) -> Tail:
        """Return the tail of a functional of the run or of its reference, with the index of its exact law if known."""
        exact = isinstance(side, Run) and side.kind == "sgd" and name == self.facts.functional
        return side.tails[name].of_law(self.facts.stationary_tail) if exact else side.tails[name]

    def lacks_moment(self, order: int, *names: str) -> str:
        """Name the laws, of run and reference, that lack the moment of this order of one of the functionals; or ""."""
        sides = [side for side in (self.run, self.reference) if side is not None]
        heavy = [
            [side.name for side in sides if not self.tail(side, name).has_moment(order, self.limits)] for name in names
        ]
        return next((" and ".join(dict.fromkeys(lacking)) for lacking in heavy if lacking), "")

    def once(self, measure: Callable[..., Any], *arguments: Hashable) -> Any:
        """Return ``measure(self, *arguments)``, computed at the first call: what several checks read."""
        key = (measure, *arguments)
        if key not in self._measured:
            self._measured[key] = measure(self, *arguments)
        return self._measured[key]
