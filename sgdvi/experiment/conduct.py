"""The whole way, as ``sgdvi compare`` does it: a problem, its runs, the comparison, the report."""

import math
import shlex
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax

from sgdvi import zoo
from sgdvi._internal.arguments import checked
from sgdvi._internal.batches import NO_TEMPERATURE, Batching
from sgdvi._internal.check import InputError
from sgdvi._internal.text import typeset
from sgdvi.comparison import Comparison, Known, compare
from sgdvi.diagnostics.findings import Finding
from sgdvi.experiment.descent import plain
from sgdvi.experiment.environment import environment
from sgdvi.experiment.flavours import default_flavours, name_those_that_pass, named_flavours, why_not_plain
from sgdvi.experiment.folder import check_folder
from sgdvi.experiment.foretold import foreseen_and_observed
from sgdvi.experiment.other_tools import Paths, check_reference, choose_reference, name_files, read_against
from sgdvi.experiment.plan import NUTS_DRAWS, Plan, make_plan, with_weight_decay
from sgdvi.experiment.remedies import measure_remedies, recommend
from sgdvi.experiment.result import Result, save_draws
from sgdvi.experiment.stages import (
    ALL_REFERENCES,
    REFERENCES,
    Explained,
    Todo,
    findings_of_balance,
    named_reference,
    remedy_stages,
    stages,
    stream,
)
from sgdvi.experiment.tried import said_of_rows, try_functionals, with_row_values
from sgdvi.problem.base import Problem
from sgdvi.report import Card, Context, Instead, Setting, Stage
from sgdvi.samplers.references import Stopped
from sgdvi.zoo import load

__all__ = [
    "ALL_REFERENCES",
    "REFERENCES",
    "Failed",
    "Interrupted",
    "Plan",
    "Result",
    "check_folder",
    "run",
    "save_draws",
]

Tell = Callable[[str, str], None]


class Interrupted(KeyboardInterrupt):
    """Ctrl-C in the middle of `run`; `runs` holds what had been finished by then."""

    def __init__(self, runs: dict[str, Any]):
        super().__init__("interrupted")
        self.runs = runs


class Failed(RuntimeError):
    """A stage that failed after others had been run.

    Attributes
    ----------
    runs
        What had been finished by then.
    stage
        Name of the stage; its error is the cause of this one.
    """

    def __init__(self, runs: dict[str, Any], stage: str, error: Exception):
        text = str(error).strip() or "no message"
        kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
        super().__init__(f"{stage} failed: {kind}{text}")
        self.runs, self.stage = runs, stage


@checked
def run(
    problem: Problem | str,
    *,
    depth: int | None = None,
    width: int | None = None,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    batching: str = Batching.REPLACEMENT,
    temperature: float | str | None = None,
    weight_decay: float | None = None,
    num_chains: int | None = None,
    num_steps: int | None = None,
    num_warmup: int | None = None,
    algorithms: Sequence[str] | None = None,
    seed: int = 0,
    key: jax.Array | None = None,
    references: Sequence[str] = REFERENCES,
    reference: str | None = None,
    against: Paths = (),
    remedies: bool = False,
    nuts_draws: int | None = None,
    progress: bool = False,
    on_stage: Callable[[str, str], None] | None = None,
    command: str = "",
) -> Result:
    """Run SGD and the references on a problem and compare them, in float64.

    Parameters
    ----------
    problem
        A `Problem`, the name of one of the zoo, or the path of a model file.
    depth, width
        Of a linear network; None keeps the problem's own.
    learning_rate, batch_size, batching, temperature
        Of SGD on the negative log joint over N. ``temperature`` stands for a learning rate: a number or a multiple
        of the critical temperature such as ``"0.5Tc"``. Without either, SGD is made as wide as the posterior.
    weight_decay
        Decay gamma of the theory: the prior sd becomes sqrt(sigma^2/(N gamma)); 0 is a flat prior.
    num_chains, num_steps, num_warmup
        Chains of SGD, steps per chain after warmup, and of the warmup.
    algorithms
        Which of "plain", "scaled", "whitened", "mandt", "completed" and "sgld" to run; None takes plain SGD, and
        completed SGD too for models without an exact law that have a mode. Plain SGD whose forecast asks for more than
        a million steps is explained instead, unless its rate or steps are given.
    seed, key
        Seed of everything random; ``key``, a JAX key, takes its place.
    references
        Which of "NUTS", "mean-field VI", "full-rank VI", "low-rank VI", "Laplace", "IAF VI", "BNAF VI" and "Pathfinder"
        to run; Pathfinder needs the extra ``sgdvi[blackjax]``.
    reference
        Name of the run that stands for the posterior; None takes the first of `against`, or NUTS.
    against
        Draws of other tools for the same model, NetCDF files or Zarr stores as ArviZ writes them: paths, or name ->
        path.
    remedies
        Whether to measure what to do instead: a section of the report, and a recommendation in the verdict. Laplace is
        run too; where the model has a rescaling symmetry NUTS on the quotient and SGD with gauge noise; where it has a
        mode and no exact law completed SGD, Mandt's matrix, preconditioned SGLD, Laplace about the right mean and
        averages of iterates.
    nuts_draws
        Draws of NUTS per chain, after half as many steps of warmup; None takes 2000. NUTS on the quotient takes at most
        500.
    progress
        Whether SGD, NUTS, variational inference and the checks show a progress bar.
    on_stage
        Called with (name, what is being done) before every stage.
    command
        Command line to show in the report.

    Returns
    -------
    Result
        With ``.verdict``, ``.findings`` and ``.save(folder)``.

    Raises
    ------
    InputError
        For bad input. A reference that does not apply (NUTS under a flat prior) is no error: the report says why.
    Interrupted
        On Ctrl-C, with the runs that had been finished and the draws of NUTS that had been made.
    Failed
        If a stage fails after others have been run, which it carries.
    """
    options = {name: value for name, value in (("depth", depth), ("width", width)) if value is not None}
    settings = {
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "batching": batching,
        "temperature": temperature,
        "num_chains": num_chains,
        "num_steps": num_steps,
        "num_warmup": num_warmup,
        "seed": seed,
        "nuts_draws": nuts_draws,
    }
    stage = "SGD"

    def tell(name: str, text: str) -> None:
        nonlocal stage
        stage = name
        if on_stage:
            on_stage(name, text)

    runs: dict[str, Any] = {}
    with jax.enable_x64(True):
        flavours = None if algorithms is None else named_flavours(algorithms)
        job = _plan(problem, options, weight_decay, settings, key, references, reference, against, remedies, flavours)
        if job.plan.forecast is not None:
            tell("forecast", str(job.plan.forecast).replace("\n", "\n    "))
        try:
            carried_out, shown = _make_runs(job, progress, tell, runs)
            comparison, rows = _judge(job, runs, carried_out, shown, tell, progress)
            foreseen = foreseen_and_observed(job.problem, job.plan, job.flavours, comparison)
            context = replace(_context(job, command, shown, rows), foreseen=foreseen)
        except KeyboardInterrupt as error:
            raise Interrupted(runs) from error
        except Exception as error:
            if not runs:
                raise
            raise Failed(runs, stage, error) from error
    return Result(job.problem, job.plan, runs, comparison, context)


@dataclass(frozen=True)
class _Job:
    """All that was asked of `run`, checked before anything is computed.

    Attributes
    ----------
    model
        Name or path of the problem as it was given; "" where it was given itself.
    problem, plan, key
        The problem as it is run, what SGD does, and the key of everything random.
    options, weight_decay
        What was asked of the problem.
    asked, references
        References that were asked for, and with those that the remedies need.
    reference
        The run that stands for the posterior, as asked for.
    files, others
        Draws of other tools: where they are, and they themselves.
    remedies
        Whether remedies were asked for.
    flavours
        Of SGD that are run.
    """

    model: str
    problem: Problem
    plan: Plan
    key: Any
    options: dict[str, int]
    weight_decay: float | None
    asked: tuple[str, ...]
    references: tuple[str, ...]
    reference: str | None
    files: Mapping[str, Any]
    others: Mapping[str, Any]
    remedies: bool
    flavours: tuple[str, ...]

    @property
    def explained(self) -> str:
        """Why plain SGD is not run; "" where it is."""
        return why_not_plain(self.plan)

    @property
    def measured(self) -> bool:
        """Whether remedies are measured: they are held against a posterior."""
        return self.remedies and not self.problem.no_posterior


def _plan(
    problem: Problem | str,
    options: dict[str, int],
    weight_decay: float | None,
    settings: dict[str, Any],
    key: jax.Array | None,
    references: Sequence[str],
    reference: str | None,
    against: Paths,
    remedies: bool,
    flavours: tuple[str, ...] | None,
) -> _Job:
    """Decide everything that is to be done, or raise `InputError`."""
    model = problem if isinstance(problem, str) else ""
    problem = load(problem) if isinstance(problem, str) else problem
    problem = with_weight_decay(problem.with_options(**options), weight_decay)
    asked = tuple(map(named_reference, references))
    needed = ("NUTS", "Laplace") if remedies and not problem.no_posterior else ()
    named = tuple(dict.fromkeys([*asked, *needed])) if needed else asked
    files = name_files(against)
    others = read_against(files, problem, named)
    check_reference(reference, ["exact posterior", *named, *others])
    problem = try_functionals(problem)
    plan = make_plan(problem, **settings)  # which may take seconds
    key = jax.random.key(plan.seed) if key is None else key
    flavours = default_flavours(plan.forecast) if flavours is None else flavours
    return _Job(
        model, problem, plan, key, options, weight_decay, asked, named, reference, files, others, remedies, flavours
    )


def _make_runs(job: _Job, progress: bool, tell: Tell, runs: dict[str, Any]) -> tuple[list[Stage], list[Stage]]:
    """Make all runs and put them into `runs`; return what took place, and what of it a reader sees."""
    say = partial(tell, "NUTS")
    todo = stages(job.problem, job.plan, job.references, job.key, progress, say, job.flavours, job.explained)
    took = _carry_out(todo, tell, runs)
    more = remedy_stages(job.problem, job.plan, job.flavours, job.key, progress)
    extra = _carry_out(more, tell, runs) if job.measured else []
    carried_out = [*took, *extra]
    # What was made for the remedies alone and does not apply is no empty column of every table.
    unasked = {stage.name for stage in extra} | set(job.references) - set(job.asked)
    shown = [stage for stage in carried_out if not (stage.skipped and stage.name in unasked)]
    runs.update(job.others)
    return carried_out, shown + [Stage(name) for name in job.others]


def _judge(
    job: _Job,
    runs: dict[str, Any],
    carried_out: Sequence[Stage],
    shown: Sequence[Stage],
    tell: Tell,
    progress: bool,
) -> tuple[Comparison, tuple[Instead, ...]]:
    """Compare the runs, and measure the remedies where they were asked for."""
    skipped = {stage.name: stage.skipped for stage in shown}
    judge = choose_reference(job.reference, runs, list(job.others), skipped)
    balanced: Sequence[Finding] = ()
    if "SGD" in runs:
        tell("balance", "symmetries of the model, and how SGD moved along them")
        balanced = findings_of_balance(job.problem, runs["SGD"], stream(job.key, "balance"))
    tell("checks", "verdict and reasons")
    runs.update(with_row_values(job.problem, runs, stream(job.key, "rows")))
    comparison = compare(
        runs,
        reference=judge,
        functionals=job.problem.functionals,
        key=stream(job.key, "checks"),
        known=_known(job.problem, job.plan),
        no_posterior=job.problem.no_posterior,
        findings=balanced,
        samplers={"SGD": (plain(job.problem, job.plan), job.problem.data)} if "SGD" in runs else None,
        progress=progress,
    )
    explained = job.explained if "plain" in job.flavours else ""
    if explained or job.flavours != ("plain",):
        comparison = name_those_that_pass(comparison, explained, job.plan.forecast)
    if not job.measured:
        return comparison, ()
    tell("remedies", "what to do instead")
    rows = measure_remedies(job.problem, job.plan, comparison, tuple(carried_out))
    return recommend(comparison, rows), rows


def _context(job: _Job, command: str, shown: Sequence[Stage], rows: tuple[Instead, ...]) -> Context:
    """Write down what the report says around the comparison."""
    chosen = _chosen(job.asked, job.reference, job.files, job.remedies)
    return Context(
        problem=Card.of(job.problem),
        settings=_settings(job.problem, job.plan),
        stages=tuple(shown),
        command=command,
        call=_call(job, command, chosen),
        environment=environment(job.problem.data),
        remedies=rows,
    )


def _carry_out(todo: Iterable[Todo], tell: Tell, runs: dict[str, Any]) -> list[Stage]:
    """Make the runs one after the other, put them into `runs`, and return what took place."""
    took = []
    for name, text, action in todo:
        tell(name, text)
        took.append(_timed(name, action, runs))
    return took


def _timed(name: str, action: Callable[[], Any], runs: dict[str, Any]) -> Stage:
    start = time.perf_counter()
    try:
        runs[name] = action()
    except Stopped as error:
        runs[name] = error.tree
        raise
    except InputError as error:
        if name == "SGD" and not isinstance(error, Explained):
            raise
        return Stage(name, skipped=str(error))
    return Stage(name, seconds=time.perf_counter() - start)


def _known(problem: Problem, plan: Plan) -> Known | None:
    if problem.exact is None:
        return None
    return Known(
        network=problem.exact,
        learning_rate=plan.learning_rate,
        batch_size=plan.batch_size,
        batching=plan.batching,
        num_steps=plan.num_steps,
    )


def _settings(problem: Problem, plan: Plan) -> tuple[Setting, ...]:
    rules, rate = plan.rules, plan.learning_rate
    rows = [Setting(name, typeset(value)) for name, value in problem.options.items()]
    integrated = said_of_rows(problem)
    rows += [Setting("latent rows", "integrated out", integrated)] if integrated else []
    rows += [
        Setting("learning rate", "none" if math.isnan(rate) else typeset(rate), rules["learning rate"]),
        Setting("batch size", typeset(plan.batch_size), rules["batch size"]),
    ]
    if plan.batching is not Batching.REPLACEMENT:
        rows.append(Setting("batching", plan.batching.value, "as given"))
    if plan.batching is Batching.EPOCHS:
        rows.append(Setting("temperature T", "none", NO_TEMPERATURE))
    if problem.exact is not None and plan.temperature is not None and plan.critical_temperature is not None:
        rule, critical = "κ × learning rate / batch size", plan.critical_temperature
        if critical > 0 and math.isfinite(critical):
            rule += f", {typeset(plan.temperature / critical)} of the critical temperature {typeset(critical)}"
        rows += [
            Setting("temperature T", typeset(plan.temperature), rule),
            Setting("noise sd σ", typeset(problem.exact.noise_sd), f"κ = 1/(2σ²) = {typeset(problem.exact.kappa)}"),
            Setting("weight decay γ", typeset(problem.exact.weight_decay), "what the prior amounts to: σ²/(N τ²)"),
        ]
    if plan.phase is not None:
        rows.append(Setting("phase of the law", plan.phase, "see the glossary"))
    if plan.forecast is not None and plan.forecast.flavours:
        plain, ratios = plan.forecast["plain"], plan.forecast["plain"].sd_ratio.values()
        doubt = "" if plan.forecast.reliable else "; not reliable: " + "; ".join(plan.forecast.doubts)
        foreseen = f"W1 = {typeset(plain.largest_w1)} sd, sds {min(ratios):.2f} to {max(ratios):.2f} of the posterior's"
        rows.append(Setting("foreseen of plain SGD", foreseen, f"before any run, by its law near the mode{doubt}"))
    return (
        *rows,
        Setting("rows N", typeset(problem.num_data)),
        Setting("chains", typeset(plan.num_chains), rules["chains"]),
        Setting(
            "steps per chain", typeset(plan.num_steps), f"{rules['steps']}; one draw kept in every {plan.thinning}"
        ),
        Setting("warmup steps", typeset(plan.num_warmup), rules["warmup"]),
        Setting("seed", typeset(plan.seed)),
    )


def _chosen(asked: tuple[str, ...], reference: str | None, files: Mapping[str, Any], remedies: bool) -> dict[str, Any]:
    """Return what was chosen beside SGD, as arguments of `run` that can be written down."""
    chosen = {
        "references": None if asked == REFERENCES else list(asked),
        "reference": reference,
        "against": {name: str(path) for name, path in files.items()} or None,
        "remedies": remedies or None,
    }
    return {name: value for name, value in chosen.items() if value is not None}


def _call(job: _Job, command: str, chosen: dict[str, Any]) -> str:
    """Return the Python call that does the same, with every setting written out."""
    problem, plan, weight_decay = job.problem, job.plan, job.weight_decay
    # a command line names the file of a user's model; the model itself has only a name
    words = [word for word in shlex.split(command)[2:] if word in zoo.list() or word.endswith(".py")]
    model = job.model or next(iter(words), problem.name)
    shaped = {name: problem.options[name] for name in ("depth", "width") if name in problem.options}
    options: dict[str, Any] = shaped | job.options
    if weight_decay is not None:
        options["weight_decay"] = weight_decay
    # what is given is run with, whatever is foreseen of it
    if not why_not_plain(plan):
        options |= {"learning_rate": plan.learning_rate, "num_steps": plan.num_steps}
    options |= {
        "batch_size": plan.batch_size,
        **({} if plan.batching is Batching.REPLACEMENT else {"batching": plan.batching.value}),
        "num_chains": plan.num_chains,
        "seed": plan.seed,
        **({} if plan.nuts_draws == NUTS_DRAWS else {"nuts_draws": plan.nuts_draws}),
        **chosen,
    }
    text = ", ".join(f"{name}={value!r}" for name, value in options.items())
    return f"import sgdvi\n\nresult = sgdvi.run({model!r}, {text})\nprint(result)\nresult.save('report')"
