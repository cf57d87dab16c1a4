"""The map by runs of SGD, held against one reference: for models without an exact law, and on request."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from sgdvi._internal.batches import Batching
from sgdvi._internal.check import InputError, require
from sgdvi.comparison import Known
from sgdvi.diagnostics import TABLE, distances, phases
from sgdvi.diagnostics.case import Case
from sgdvi.diagnostics.facts import Facts
from sgdvi.diagnostics.findings import Status
from sgdvi.diagnostics.read import read_tree, scalar_functionals
from sgdvi.diagnostics.run import Run
from sgdvi.diagnostics.thresholds import Thresholds
from sgdvi.experiment.forecast_result import Forecast
from sgdvi.experiment.map.cells import Cell, Outcome
from sgdvi.experiment.predicted import Predicted
from sgdvi.experiment.tried import with_row_values
from sgdvi.laws.line import Points, law_points
from sgdvi.problem.base import Problem
from sgdvi.samplers import SGD, sample
from sgdvi.samplers.quadratic import draw_of
from sgdvi.samplers.recipes import GaussianLaw
from sgdvi.samplers.references import LinePosterior, nuts

# Draws that are kept per chain.
_KEPT = 1_000
# A run of fewer autocorrelation times than ten per chain shows where it began.
_SHORTEST = 0.1


class Runs:
    """Runs of SGD on one problem.

    Parameters
    ----------
    problem
        The problem.
    posterior
        Its exact posterior of v; None lets NUTS stand for the posterior.
    batching, num_chains, num_steps
        Of SGD; a quarter as many steps again are warmup.
    key
        JAX key.
    """

    def __init__(
        self,
        problem: Problem,
        posterior: LinePosterior | None,
        batching: Batching,
        num_chains: int,
        num_steps: int,
        key: Any,
        forecast: Forecast | None = None,
    ) -> None:
        self.problem, self.batching, self.key = problem, batching, key
        self.num_chains, self.num_steps = num_chains, num_steps
        self.limits = Thresholds()
        self._points: dict[str, Points]
        self._near = None if forecast is None else forecast.near
        self._predicted = None if self._near is None else Predicted(problem, self._near)
        self._warmup = 0 if forecast is not None and forecast.reliable else num_steps // 4
        if posterior is not None:
            self.reference = "the exact posterior"
            self.functionals = dict(problem.functionals)
            self._points = {next(iter(problem.functionals)): law_points(posterior, key)}
            return
        tree = self._whole("NUTS", nuts(problem, key=jax.random.fold_in(key, 0)))
        self.functionals = scalar_functionals({"NUTS": tree}, problem.functionals, None)
        read = read_tree("NUTS", tree, self.functionals)
        case = Case(read)
        trouble = [check(case) for check in TABLE if check.gate and check(case).status is Status.FAIL]
        rule = "the reference NUTS must have mixed"
        require(not trouble, rule, trouble[0].meaning.rstrip(".") if trouble else "", "Reparametrise the model.")
        self.reference, self._points = "NUTS", read.points

    def cells(
        self, learning_rates: Sequence[float], batch_sizes: Sequence[int], tell: Callable[[str], None]
    ) -> Iterator[Cell]:
        """Yield all cells, by batch size and then by learning rate."""
        for row, size in enumerate(batch_sizes):
            for column, rate in enumerate(learning_rates):
                tell(f"learning rate {rate:.3g}, batch size {size}")
                yield self._cell(rate, size, jax.random.fold_in(self.key, 1 + row * len(learning_rates) + column))

    def _cell(self, rate: float, size: int, key: Any) -> Cell:
        problem = self.problem
        sampler = SGD(problem.model, learning_rate=rate, batch_size=size, batching=self.batching)
        foreseen, steps, law = self._foresee(rate, size)
        if self.num_steps < _SHORTEST * steps:
            blank = dict.fromkeys(("w1", "ks", "w1_null", "ks_null", "kl", "overflowed"), math.nan)
            return Cell(rate, size, None, Outcome.LAW, Status.UNKNOWN, **blank, foreseen=foreseen, steps=steps)
        near = self._near
        if near is not None and law is not None:
            sampler.begin = lambda key: draw_of(near, law, key)
        tree = sample(
            sampler,
            problem.data,
            key=key,
            num_steps=self.num_steps,
            num_warmup=self.num_steps // 4 if law is None else self._warmup,
            num_chains=self.num_chains,
            thinning=max(1, self.num_steps // _KEPT),
            progress=False,  # the cells are told one by one
            dims=dict(problem.dims),
        )
        run = read_tree("SGD", self._whole("SGD", tree), self.functionals)
        known = None if problem.exact is None else Known(problem.exact, rate, size, self.batching, self.num_steps)
        overflowed = 1.0 - float(run.keep.mean())
        w1 = ks = w1_null = ks_null = math.nan
        outcome, status = self._outcome(run, known, overflowed), Status.UNKNOWN
        if run.points and outcome is not Outcome.OVERFLOWS:
            w1, ks, w1_null, ks_null, status = self._away(run)
        heat = None if known is None else known.temperature
        kl = math.inf if outcome is Outcome.COLLAPSES else math.nan
        return Cell(rate, size, heat, outcome, status, w1, ks, w1_null, ks_null, kl, overflowed, foreseen, steps)

    def _whole(self, name: str, tree: Any) -> Any:
        """Return a run with the values of the rows that were integrated out."""
        return with_row_values(self.problem, {name: tree}, self.key).get(name, tree)

    def _foresee(self, rate: float, size: int) -> tuple[float, float, GaussianLaw | None]:
        """Return the largest W1, the steps of 100 autocorrelation times and the law, as foreseen."""
        if self._near is None or self._predicted is None:
            return math.nan, math.nan, None
        given = {"learning_rate": rate, "batch_size": size, "batching": self.batching}
        try:
            recipe = self._near.recipe("plain", **given)
            flavour = self._predicted.flavour(recipe)
        except InputError:  # no finite variance, or batches without independent noise
            independent = self.batching in (Batching.REPLACEMENT, Batching.WITHOUT_REPLACEMENT)
            return math.inf if independent else math.nan, math.nan, None
        return flavour.largest_w1, flavour.steps, self._near.law(recipe)

    def _outcome(self, run: Run, known: Known | None, overflowed: float) -> Outcome:
        if overflowed > self.limits.overflow_fail:
            return Outcome.OVERFLOWS
        collapse = phases.collapse(Case(run, Facts(known)))
        return Outcome.COLLAPSES if collapse.status is Status.FAIL else Outcome.LAW

    def _away(self, run: Run) -> tuple[float, float, float, float, Status]:
        """W1 in sds, KS, their null levels, each of the worst functional, and the worst status."""
        limits = self.limits
        quantile = 1 - (1 - limits.null_quantile) / len(self._points)
        each = [distances.measure(run.points[name], other, quantile) for name, other in self._points.items()]
        status = [distances.grade_both(one.w1, one.ks, one.w1_null, one.ks_null, limits) for one in each]
        w1 = each[int(np.argmax([one.w1 for one in each]))]
        ks = each[int(np.argmax([one.ks for one in each]))]
        return w1.w1, ks.ks, w1.w1_null, ks.ks_null, max(status, key=lambda status: status.severity)
