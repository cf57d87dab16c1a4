"""Comparison of runs with a reference: all checks, the verdict, and the record of both."""

import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm.auto import tqdm

from sgdvi import report
from sgdvi._internal.arguments import checked
from sgdvi._internal.batches import Batching
from sgdvi._internal.card import card
from sgdvi._internal.check import InputError, message, require
from sgdvi._internal.memory import require_memory
from sgdvi._internal.text import count, listed
from sgdvi.diagnostics.case import Case
from sgdvi.diagnostics.columns import Columns, fixed_columns
from sgdvi.diagnostics.curves import OnFirstUse, curves_of
from sgdvi.diagnostics.declare import Check, Skip
from sgdvi.diagnostics.facts import Facts, Known
from sgdvi.diagnostics.findings import Finding, Status
from sgdvi.diagnostics.predictions.call import compare_predictions
from sgdvi.diagnostics.predictions.given import has_predictions
from sgdvi.diagnostics.predictions.result import Predictions
from sgdvi.diagnostics.read import read_tree, scalar_functionals, summarise, summarise_law
from sgdvi.diagnostics.record import Record
from sgdvi.diagnostics.run import Law, Run
from sgdvi.diagnostics.stationarity import FreshStep
from sgdvi.diagnostics.table import TABLE
from sgdvi.diagnostics.thresholds import Thresholds
from sgdvi.diagnostics.verdict import Verdict, judge
from sgdvi.draws.tree import factors, from_samples, functional, is_tree, kind_of
from sgdvi.inputs import as_run
from sgdvi.laws.line import as_line_law, law_points
from sgdvi.laws.momentum import Momentum
from sgdvi.report.text import uses_in_words
from sgdvi.samplers.fresh import fresh_norms
from sgdvi.samplers.kernel import SGD, Sampler
from sgdvi.samplers.quadratic import local_quadratic
from sgdvi.samplers.recipes import Recipe, normal_points

# Seconds without a word, beyond which a bar is shown.
_SILENT = 2.0

__all__ = ["Comparison", "Known", "Verdict", "compare"]

# More cannot be told apart in a figure, and take minutes.
MOST_RUNS, MOST_FUNCTIONALS = 40, 5000
# The draws as they were given and as they are read; of functionals, in float64, what sorting and splitting makes too.
_SITE_COPIES, _FUNCTIONAL_BYTES = 2, 32


@dataclass(frozen=True, eq=False, kw_only=True)
class Comparison(Record):
    """What the checks say of several runs, and the verdict: a record together with the runs.

    Attributes
    ----------
    runs
        Name -> draws (a DataTree) or law.
    functionals
        Name -> function of the draws; one number per draw each.
    reference
        Name of the run that stands for the posterior, or None.
    known
        What is known in closed form, or None.
    thresholds
        What the checks were held against.
    findings
        Everything that was found, check by check in the order of the runs.
    verdict
        The answer in one sentence, with its reasons.
    summaries
        Run -> functional -> mean, sd, q5, q50, q95, ess, rhat, n; nan or None where a number does not exist.
    values
        Run with draws -> functional -> its draws, shape (chain, draw), float64.
    network, kinds, factors, laws
        Plain data that the report shows beside these; see `sgdvi.diagnostics.record.Record`.
    """

    runs: Mapping[str, Any]
    functionals: Mapping[str, Callable[[Any], Any]]
    known: Known | None

    def to_html(self, path: str | os.PathLike[str]) -> Path:
        """Write the report, one self-contained HTML page, to `path` and return the path."""
        return report.write_html(self, path)

    def __str__(self) -> str:
        return report.as_text(self)

    def __repr__(self) -> str:
        runs = f"{listed(list(self.runs))} on {count(len(self.functionals), 'functional')}"
        return f"<Comparison of {runs}: {self.verdict.sentence}>"

    def _repr_html_(self) -> str:
        return card(f"Comparison: {listed(list(self.runs))}", uses_in_words(self), self.verdict.sentence)


@checked
def compare(
    runs: Mapping[str, Any],
    reference: str | None = "NUTS",
    functionals: Mapping[str, Callable[[Any], Any]] | None = None,
    *,
    key: jax.Array | None = None,
    known: Known | None = None,
    thresholds: Thresholds | Mapping[str, float] | None = None,
    no_posterior: str = "",
    findings: Iterable[Finding] = (),
    classifier: bool = False,
    checks: Iterable[Check] = (),
    samplers: Mapping[str, tuple[Sampler, Any]] | None = None,
    predictions: str | Mapping[str, Any] | None = None,
    observed: Any = None,
    progress: bool = False,
) -> Comparison:
    """Compare runs with a reference, over all checks, and give a verdict on SGD.

    Parameters
    ----------
    runs
        Name -> draws or law. Draws: a DataTree with a group ``posterior`` (see `sgdvi.sample`, `sgdvi.draws`), a
        dictionary of arrays (chain, draw, ...), a `numpyro.infer.MCMC` that has run, a pair of a `numpyro.infer.SVI`
        and its result, or the path of a NetCDF file or Zarr store of ArviZ, whatever tool wrote it. A law is an object
        with ``log_prob``, ``cdf`` and ``icdf`` or ``sample``, such as a NumPyro distribution, which stands for the
        functional "v" (or for the only one). Runs whose trees say kind "sgd", or whose names hold "SGD", are judged;
        where none does, all but the reference.
    reference
        Name of the run that stands for the posterior. None where there is none; the exact posterior takes its place
        where it is known.
    functionals
        Name -> function of the draws (Dataset -> DataArray over chain and draw), on which laws are compared. A
        functional with further dimensions is taken apart into one per component. None: the product of the factors
        where `known` has them, else every coordinate of every site.
    key
        JAX key for laws that can only be sampled; None takes a fixed one.
    known
        What is known of the model in closed form: for linear networks, the exact laws, temperature and thresholds.
    thresholds
        `Thresholds`, or a mapping of single changes.
    no_posterior
        Why there is no posterior, in a sentence: checks that need one then do not apply, for this reason.
    findings
        Findings made elsewhere, such as ``sgdvi.balance(...).findings``; those on runs that are judged enter the
        verdict.
    classifier
        Whether to make the classifier two-sample test too; needs scikit-learn (``sgdvi[c2st]``).
    checks
        Checks of your own, declared with `sgdvi.diagnostics.check`, made after those of the package.
    samplers
        Run -> the sampler that made it and its data: one more step is then taken from its draws, to see whether the run
        is stationary. Where `known` has a learning rate it says that of the judged runs.
    predictions
        Predictions of a test set: run -> array, as `compare_predictions` takes them; or the name under which the runs
        hold them. None: those in the groups ``predictions`` of the runs, where there are some.
    observed
        What was observed at the test points, (point,).
    progress
        Whether a bar shows how many checks are made, where they take more than two seconds.

    Returns
    -------
    Comparison
        With ``.verdict``, ``.findings``, ``.summaries``, ``.to_json(path)``, ``.to_html(path)`` and ``str()``.

    Raises
    ------
    InputError
        If there are no runs or more than 40, more than 5000 functionals of one number, or more draws than memory holds;
        if the reference is not among them, a run is neither draws nor law, or a functional cannot
        be computed.
    """
    require(isinstance(runs, Mapping) and runs, "runs must be a mapping of at least one name to a run", repr(runs)[:80])
    advice = "Compare them in groups, with the same reference."
    require(len(runs) <= MOST_RUNS, f"a comparison must have at most {MOST_RUNS} runs", len(runs), advice)
    key = jax.random.key(0) if key is None else key
    runs = {str(name): as_run(str(name), run, jax.random.fold_in(key, k)) for k, (name, run) in enumerate(runs.items())}
    if reference is not None:
        names = f"Runs: {', '.join(runs)}. reference=None compares without one."
        require(reference in runs, "the reference must be one of the runs", repr(reference), names)
    chosen = scalar_functionals(runs, functionals, known)
    rule = f"a comparison must have at most {MOST_FUNCTIONALS} functionals of one number"
    require(len(chosen) <= MOST_FUNCTIONALS, rule, len(chosen), "Give functionals={name: function} that matter.")
    _require_memory(runs, len(chosen))
    limits = Thresholds.make(thresholds)
    return _Work(
        runs=runs,
        reference=reference,
        functionals=chosen,
        key=key,
        known=known,
        thresholds=limits,
        predictions=_predictions(runs, reference, predictions, observed, limits),
        no_posterior=no_posterior,
        given=_given(findings, runs),
        classifier=classifier,
        checks=(*TABLE, *_own(checks)),
        samplers=_makers(samplers or {}, runs),
        progress=progress,
    ).result()


def _require_memory(runs: Mapping[str, Any], num_functionals: int) -> None:
    """Refuse what would not fit, with what the checks make of it."""
    posteriors = [run["posterior"] for run in runs.values() if is_tree(run)]
    draws = sum(one.sizes["chain"] * one.sizes["draw"] for one in posteriors)
    needed = _SITE_COPIES * sum(array.nbytes for one in posteriors for array in one.data_vars.values())
    needed += _FUNCTIONAL_BYTES * num_functionals * draws
    sizes = f"{draws} draws in {len(posteriors)} runs and {num_functionals} functionals"
    advice = "Thin the draws, or give fewer sites, runs or functionals."
    require_memory("what a comparison holds", needed, sizes, advice)


@dataclass(frozen=True, eq=False)
class _Work:
    """One call of `compare`: reads the runs once, makes the checks in order."""

    runs: Mapping[str, Any]
    reference: str | None
    functionals: Mapping[str, Callable[[Any], Any]]
    key: Any
    known: Known | None
    thresholds: Thresholds
    predictions: Predictions | None
    no_posterior: str
    given: tuple[Finding, ...]
    classifier: bool
    checks: tuple[Check, ...]
    samplers: Mapping[str, tuple[Sampler, Any]]
    progress: bool

    @cached_property
    def read(self) -> dict[str, Run | Law]:
        """All runs as arrays."""
        read = {
            name: read_tree(name, run, self.functionals) if is_tree(run) else self._read_law(name, run)
            for name, run in self.runs.items()
        }
        sampled = [run for run in read.values() if isinstance(run, Run)]
        fixed = fixed_columns([Columns.of(run.sites) for run in sampled])
        still = fixed_columns([Columns(run.values) for run in sampled])
        names = frozenset(name for name, mask in still.items() if mask.all())
        return {
            name: replace(run, fixed=fixed, still=names) if isinstance(run, Run) else run for name, run in read.items()
        }

    def _read_law(self, name: str, law: Any) -> Law:
        only = next(iter(self.functionals)) if len(self.functionals) == 1 else None
        target = "v" if "v" in self.functionals else only
        rule = f"the law {name!r} stands for the functional 'v' or for the only one"
        if target is None:
            raise InputError(message(rule, f"functionals {', '.join(self.functionals)}", "Name one of them 'v'."))
        return Law(name, target, {target: law_points(law, self.key)})

    @cached_property
    def facts(self) -> Facts:
        """What is known in closed form."""
        laws = {name: (run, self.runs[name]) for name, run in self.read.items() if isinstance(run, Law)}
        return Facts(self.known, laws, self.no_posterior)

    @cached_property
    def judged(self) -> list[str]:
        """Names of the runs that the verdict is on."""
        samples = [run for run in self.read.values() if isinstance(run, Run) and run.name != self.reference]
        sgd = [run.name for run in samples if run.kind == "sgd"]
        tuned = [run.name for run in samples if run.kind.endswith("-sgd")]
        return sgd or tuned or [run.name for run in samples]

    @cached_property
    def trouble(self) -> str:
        """Why the reference cannot be relied on; "" where it can, or where there is none."""
        failed = [finding for finding in self.gates.values() if finding.status is Status.FAIL]
        return f"The reference {self.reference} cannot be relied on. {failed[0].meaning}" if failed else ""

    @cached_property
    def gates(self) -> dict[str, Finding]:
        """What the checks say that the reference has to pass; none where it has no draws."""
        if self.reference is None or not isinstance(self.read[self.reference], Run):
            return {}
        case = self._case(self.read[self.reference])
        return {check.id: check(case) for check in self.checks if check.gate}

    @cached_property
    def stand_in(self) -> Run | Law | None:
        """What stands for the posterior: the reference, or the exact posterior in its place."""
        given = self.read[self.reference] if self.reference is not None else None
        name, points = self.facts.functional, self.facts.posterior_points
        return Law("the exact posterior", name, {name: points}) if points and (given is None or self.trouble) else given

    def _case(self, run: Run | Law, reference: Run | Law | None = None, trouble: str = "") -> Case:
        made = self.samplers.get(run.name) or _sampler_of(self.known)
        fresh_step = None if made is None else partial(_fresh_step, *made, jax.random.fold_in(self.key, len(self.runs)))
        near = None if made is None else partial(_near_mode, *made, self.functionals, self.runs[run.name])
        kinds = self._kinds(run, reference)
        return Case(
            run=run,
            facts=self.facts,
            limits=self.thresholds,
            reference=reference,
            trouble=trouble,
            kinds=kinds,
            classifier=self.classifier,
            fresh=fresh_step,
            near=near,
            predictions=None if self.predictions is None else self.predictions.runs.get(run.name),
            findings=dict(self.gates) if reference is not None and run.name == self.reference else {},
        )

    def _kinds(self, run: Run | Law, reference: Run | Law | None) -> frozenset[str]:
        """Say which checks are made of a run, see `Case`."""
        if isinstance(run, Law):
            same = reference is None or run.name in (self.reference, reference.name)
            return frozenset(() if same or self.facts.roles.get(run.name) == "posterior" else ("law",))
        kinds = {"draws", "reference" if run.name == self.reference else "compared"}
        kinds |= {"recorded"} if run.overflowed is not None or run.kind == "sgd" else set()
        kinds |= {"judged"} if run.name in self.judged else set()
        kinds |= {"momentum"} if run.settings.get("momentum") and run.kind == "sgd" else set()
        predicted = None if self.predictions is None else self.predictions.runs.get(run.name)
        kinds |= {"predicted"} if predicted is not None and predicted.trust else set()
        kinds |= {"scored"} if predicted is not None and predicted.curves else set()
        return frozenset(kinds | ({"independent"} if run.independent and "compared" in kinds else set()))

    def result(self) -> Comparison:
        reference = self.stand_in
        # A law among the runs is compared with what there is; so is a run where another law stands in.
        given = reference is not None and reference.name == self.reference
        cases = [
            self._case(run, reference, self.trouble if given and isinstance(run, Run) else "")
            for run in self.read.values()
        ]
        todo = [(check, case) for check in self.checks for case in cases if check.applies(case)]
        bar = tqdm(todo, desc="checks", disable=not self.progress, delay=_SILENT, leave=False)
        findings = [check(case) for check, case in bar]
        findings += self.given
        others = [name for name, run in self.read.items() if isinstance(run, Run) and name not in self.judged]
        verdict = judge(
            self.judged,
            findings,
            self.facts,
            None if reference is None else reference.name,
            self.trouble,
            [name for name in others if name != self.reference],
            self.checks,
        )
        return self._comparison(tuple(findings), verdict)

    def _comparison(self, findings: tuple[Finding, ...], verdict: Verdict) -> Comparison:
        """Put what was found together with the plain data that the report shows."""
        values = {name: run.values for name, run in self.read.items() if isinstance(run, Run)}
        trees = {name: self.runs[name] for name in values}
        laws = {name: law for name, law in self.runs.items() if name not in values}
        summaries = {name: self._summary(name) for name in self.runs}
        return Comparison(
            runs=self.runs,
            functionals=self.functionals,
            reference=self.reference,
            known=self.known,
            thresholds=self.thresholds,
            findings=findings,
            verdict=verdict,
            summaries=summaries,
            network=None if self.known is None else self.known.to_dict(),
            values=values,
            kinds={name: kind_of(tree) for name, tree in trees.items()},
            factors={name: pair for name, tree in trees.items() if (pair := factors(tree)) is not None},
            laws=OnFirstUse(partial(curves_of, laws, summaries, values)),
            predictions=self.predictions,
        )

    def _summary(self, name: str) -> dict[str, dict[str, float | None]]:
        run = self.read[name]
        if isinstance(run, Law):
            law = as_line_law(self.runs[name])
            return {run.functional: summarise_law(self.runs[name], law.icdf, run.points[run.functional])}
        return {functional: summarise(run, functional) for functional in run.values}


def _sampler_of(known: Known | None) -> tuple[Sampler, Any] | None:
    """Return the sampler that the settings of a linear network amount to, and its data."""
    if known is None or known.learning_rate is None:
        return None
    network, rate = known.network, known.learning_rate
    sampler = SGD(network.model, learning_rate=rate, batch_size=known.batch_size, batching=known.batching)
    return sampler, (network.x, network.y)


def _fresh_step(sampler: Sampler, data: Any, key: Any, case: Case) -> FreshStep:
    if case.draws.settings.get("momentum"):
        raise Skip("No fresh step can be taken: draws do not hold the velocities of momentum.")
    usable = {name: np.asarray(values[case.draws.keep], dtype=np.float64) for name, values in case.draws.sites.items()}
    try:
        return FreshStep(*fresh_norms(sampler, data, usable, key))
    except InputError as error:
        raise Skip(f"No fresh step can be taken: {error}") from error


def _near_mode(sampler: Sampler, data: Any, functionals: Mapping[str, Any], tree: Any, case: Case) -> dict[str, float]:
    """Return the variances of the functionals under the law that the run's optimizer has near the mode."""
    facts, settings = case.facts, case.draws.settings
    if facts.known is not None and facts.known.network.depth > 0:
        raise Skip("At depth 1 and above momentum has the law of the flow at the temperature of eta/(1 - mu).")
    if sampler.batching is Batching.EPOCHS:
        raise Skip("Over shuffled epochs no law with momentum is known.")
    memory = Momentum(settings["momentum"], settings["nesterov"])
    with jax.enable_x64(True):
        try:
            near = local_quadratic(sampler.model, data)
            rate, size = settings["learning_rate"] / memory.gain, sampler.size(near.num_data)
            step = rate * np.eye(near.near.size)
            law = near.law(Recipe("plain", size, sampler.batching, rate, step, memory=memory))
            sites = near.flat.constrain(law.mean + normal_points(near.near.size) @ law.root.T)
            dims = {str(site): array.dims[2:] for site, array in tree["posterior"].data_vars.items()}
            drawn = from_samples(sites, kind="predicted", dims={site: dims[site] for site in sites})
            return {name: float(functional(drawn, one).var()) for name, one in functionals.items()}
        except (InputError, KeyError) as error:
            raise Skip(f"No law near a mode is known: {error}") from error


def _makers(samplers: Mapping[str, tuple[Sampler, Any]], runs: Mapping[str, Any]) -> Mapping[str, tuple[Sampler, Any]]:
    for name, made in samplers.items():
        require(name in runs, "samplers must be of runs", repr(name), f"Runs: {', '.join(runs)}.")
        pair = isinstance(made, tuple) and len(made) == 2 and isinstance(made[0], Sampler)
        require(pair, f"samplers[{name!r}] must be a pair (sampler, data)", type(made).__name__)
    return samplers


def _predictions(
    runs: Mapping[str, Any],
    reference: str | None,
    given: str | Mapping[str, Any] | None,
    observed: Any,
    limits: Thresholds,
) -> Predictions | None:
    """Compare the predictions of a test set that are given, or that the runs hold; None where there are none."""
    if isinstance(given, Mapping):
        unknown = [name for name in given if name not in runs]
        require(not unknown, "predictions must be of the runs", repr(unknown[:1]), f"Runs: {', '.join(runs)}.")
        held, variable = dict(given), None
    else:
        held, variable = {name: run for name, run in runs.items() if has_predictions(run, given)}, given
    if not held:
        rule = "observed and the name of predictions need runs that hold some"
        require(given is None and observed is None, rule, "none", "Give predictions={run: array}.")
        return None
    alone = [name for name in held if is_tree(runs[name]) and runs[name]["posterior"].attrs.get("independent", 0)]
    against = reference if reference in held else None
    try:
        return compare_predictions(held, against, observed, variable=variable, independent=alone, thresholds=limits)
    except InputError as error:
        if given is not None or observed is not None:
            raise
        # nobody asked for what a file happens to hold: it must not keep the rest from being compared
        warnings.warn(f"The group 'predictions' of the runs is left out: {error}", UserWarning, stacklevel=4)
        return None


def _own(checks: Iterable[Check]) -> tuple[Check, ...]:
    own, taken = tuple(checks), {check.id for check in TABLE}
    for one in own:
        advice = "Write @sgdvi.diagnostics.check(id, title, source) above its function."
        require(isinstance(one, Check), "checks must be declared checks", type(one).__name__, advice)
        require(one.id not in taken, "checks must have names of their own", repr(one.id), "Rename it.")
        taken.add(one.id)
    return own


def _given(findings: Iterable[Finding], runs: Mapping[str, Any]) -> tuple[Finding, ...]:
    given = tuple(findings)
    for finding in given:
        require(isinstance(finding, Finding), "findings must be sgdvi.Finding records", type(finding).__name__)
        rule = f"the run of the finding {finding.check!r} must be one of {', '.join(map(repr, runs))}"
        require(finding.run in runs, rule, repr(finding.run), "dataclasses.replace(finding, run=...) renames it.")
    return given
