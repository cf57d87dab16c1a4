"""A map over learning rate and batch size: where SGD is nearest to the posterior, and where it is none at all."""

import math
from collections.abc import Callable, Sequence

import jax
import numpy as np

from sgdvi._internal.arguments import checked
from sgdvi._internal.batches import NO_TEMPERATURE, Batching
from sgdvi._internal.check import InputError, message, positive, require, whole
from sgdvi.experiment.forecast_result import Forecast
from sgdvi.experiment.map.by_laws import Laws
from sgdvi.experiment.map.by_runs import Runs
from sgdvi.experiment.map.cells import Cell as Cell
from sgdvi.experiment.map.cells import Outcome as Outcome
from sgdvi.experiment.map.result import Sweep as Sweep
from sgdvi.experiment.plan import forecast_of, make_plan, rate_of, with_weight_decay
from sgdvi.experiment.tried import try_functionals
from sgdvi.laws.prior import known
from sgdvi.problem.base import Problem
from sgdvi.problem.network import LinearNetwork
from sgdvi.samplers.references import line_posterior
from sgdvi.variational.objective import matching_temperature
from sgdvi.variational.tuning import tune
from sgdvi.zoo import load

__all__ = ["Cell", "Outcome", "Sweep", "sweep"]

# Powers of 2 on both axes: cells on a diagonal have one temperature.
_BATCHES, _BELOW, _ABOVE = 6, 2, 7
_BATCHES_OF_RUNS, _AROUND_RUNS = (4, 16, 64), 2
NULL_DRAWS = 1_000
NUM_CHAINS, NUM_STEPS = 8, 20_000


@checked
def sweep(
    problem: Problem | str,
    *,
    depth: int | None = None,
    width: int | None = None,
    learning_rates: Sequence[float] | None = None,
    batch_sizes: Sequence[int] | None = None,
    batching: str = Batching.REPLACEMENT,
    weight_decay: float | None = None,
    runs: bool | None = None,
    num_chains: int | None = None,
    num_steps: int | None = None,
    null_draws: float = NULL_DRAWS,
    seed: int = 0,
    on_cell: Callable[[str], None] | None = None,
) -> Sweep:
    """Map where SGD is nearest to the posterior over learning rate and batch size, and where it collapses or overflows.

    Where the law of SGD on v and the posterior of v are known, the map is computed from them: distances and KL depend
    on the temperature alone; collapse at depth 1 is decided by the exact threshold of the discrete steps, and overflow
    by 64 short chains. Elsewhere, or with ``runs=True``, every cell is a run of SGD held against the exact posterior or
    NUTS. For models without an exact law, but with a mode, each cell also says what is foreseen of it; chains start in
    that law, and cells that would need far longer runs to show anything are foreseen only.

    Parameters
    ----------
    problem
        A `Problem`, the name of one of the zoo, or the path of a model file.
    depth, width
        Of a linear network; None keeps the problem's own.
    learning_rates, batch_sizes
        The axes; None takes powers of 2 around the best temperature, or around the default learning rate.
    batching
        How rows are drawn, see `sgdvi.SGD`; epochs and full batches have no temperature and need ``runs=True``.
    weight_decay
        Decay gamma of the theory: the prior sd becomes sqrt(sigma^2/(N gamma)).
    runs
        Whether to run SGD in every cell; None does where no laws are known.
    num_chains, num_steps
        Chains of SGD and steps per chain, for runs; a quarter as many steps again are warmup.
    null_draws
        Number of independent draws of the posterior itself whose distance from it is the null level of exact distances.
    seed
        Of everything random.
    on_cell
        Called with what is being done, for runs.

    Returns
    -------
    Sweep
        With ``.nearest``, ``.answer``, ``.cells``, ``.to_json(path)``, ``.to_html(path)`` and ``str()``;
        `sgdvi.plots.plot_sweep` draws it.

    Raises
    ------
    InputError
        For bad input, and for a problem without a posterior.

    Examples
    --------
    >>> import sgdvi
    >>> sweep = sgdvi.sweep("small-n", depth=0, learning_rates=[0.1, 0.4], batch_sizes=[1, 8])
    >>> sweep.nearest.batch_size, sweep.cell(0.1, 1).outcome
    (1, <Outcome.LAW: 'law'>)
    """
    given = {name: value for name, value in (("depth", depth), ("width", width)) if value is not None}
    with jax.enable_x64(True):
        problem = load(problem) if isinstance(problem, str) else problem
        problem = with_weight_decay(problem.with_options(**given), weight_decay)
        way, network = Batching.of(batching), problem.exact
        advice = "Take a NumPyro model."
        require(not problem.no_posterior, "a sweep needs a posterior", f"{problem.name!r}, a loss", advice)
        proper = network is None or network.proper_posterior
        require(proper, "a sweep needs a proper posterior", "a flat prior", "Give a weight decay above 0.")
        exact = network is not None and known(network.depth + 1, network.width)
        by_runs = not exact if runs is None else bool(runs)
        if not by_runs:
            _require_laws(problem, way, exact)
        sizes = _sizes(batch_sizes, problem.num_data, way, by_runs)
        best = _tuned(network) if network is not None and exact else (math.nan, math.nan)
        problem = try_functionals(problem) if network is None else problem
        foreseen = forecast_of(problem, whole("seed", seed)) if network is None else None
        rates = _rates(learning_rates, problem, way, sizes, best[0], by_runs, foreseen, seed)
        posterior = line_posterior(network) if network is not None and exact else None
        if by_runs:
            chains = whole("num_chains", num_chains, least=2) if num_chains is not None else NUM_CHAINS
            steps = whole("num_steps", num_steps, least=100) if num_steps is not None else NUM_STEPS
            tell = on_cell or (lambda text: None)
            tell("the reference")
            made = Runs(problem, posterior, way, chains, steps, jax.random.key(whole("seed", seed)), foreseen)
            names, reference = tuple(made.functionals), made.reference
            cells = tuple(made.cells(rates, sizes, tell))
        else:
            assert network is not None and posterior is not None  # noqa: PT018  `exact` says so
            draws = positive("null_draws", null_draws)
            cells = tuple(Laws(network, posterior, way, draws, whole("seed", seed)).cells(rates, sizes))
            names, reference = tuple(problem.functionals), "the exact posterior"
    return Sweep(
        model=problem.name,
        options=dict(problem.options),
        by="runs of SGD" if by_runs else "exact laws",
        functionals=names,
        reference=reference,
        null_draws=math.nan if by_runs else float(null_draws),
        learning_rates=rates,
        batch_sizes=sizes,
        cells=cells,
        tuned_temperature=best[0],
        tuned_kl=best[1],
    )


def _require_laws(problem: Problem, way: Batching, exact: bool) -> None:
    """Raise `InputError` unless a map can be drawn without runs."""
    rule = "a map without runs needs the exact laws of SGD and of the posterior"
    require(exact, rule, f"{problem.name!r} with {dict(problem.options)}", "Give runs=True (--runs).")
    got = f"batching={way.value!r}. {NO_TEMPERATURE.rstrip('.')}"
    random_rows = way in (Batching.REPLACEMENT, Batching.WITHOUT_REPLACEMENT)
    require(random_rows, rule, got, "Give runs=True (--runs).")


def _tuned(network: LinearNetwork) -> tuple[float, float]:
    try:
        tuned = tune(network)
    except InputError:  # SGD has no law at any temperature: the map shows its collapse
        return math.nan, math.nan
    return tuned.temperature, tuned.kl


def _sizes(given: Sequence[int] | None, rows: int, way: Batching, by_runs: bool) -> tuple[int, ...]:
    if way is Batching.FULL:
        return (rows,)
    if given is None:
        most = rows if way is Batching.REPLACEMENT else rows - 1
        powers = _BATCHES_OF_RUNS if by_runs else tuple(2**k for k in range(_BATCHES))
        return tuple(size for size in powers if size <= most) or (1,)
    sizes = tuple(sorted({whole("batch_sizes", size, least=1) for size in np.atleast_1d(given).tolist()}))
    require(sizes, "there must be a batch size", "none")
    limit = way is Batching.REPLACEMENT or sizes[-1] <= rows
    require(limit, f"without replacement a batch must have at most N = {rows} rows", sizes[-1])
    return sizes


def _rates(
    given: Sequence[float] | None,
    problem: Problem,
    way: Batching,
    sizes: Sequence[int],
    heat: float,
    by_runs: bool,
    foreseen: Forecast | None,
    seed: int,
) -> tuple[float, ...]:
    if given is not None:
        rates = tuple(sorted({positive("learning_rates", rate) for rate in np.atleast_1d(given).tolist()}))
        require(rates, "there must be a learning rate", "none")
        return rates
    network = problem.exact
    if way in (Batching.EPOCHS, Batching.FULL):
        raise InputError(message(f"batching={way.value!r} needs learning rates", "none", NO_TEMPERATURE))
    if network is None:
        size = sizes[len(sizes) // 2]
        if foreseen is not None and foreseen.near is not None:
            middle = foreseen.near.recipe("plain", batch_size=size, batching=way).learning_rate
        else:
            middle = rate_of(make_plan(problem, batch_size=size, batching=way, seed=seed))
        return tuple(middle * 2.0**k for k in range(-_AROUND_RUNS, _AROUND_RUNS + 1))
    heat = heat if math.isfinite(heat) else matching_temperature(network)
    advice = "Give learning rates: data without noise have no best temperature."
    require(math.isfinite(heat), "a default for the learning rates needs noise in the data", "none", advice)
    first = network.learning_rate(heat, sizes[0], way is Batching.REPLACEMENT)
    count = round(math.log2(sizes[-1] / sizes[0]))
    above = count + 2 if by_runs else max(count + 2, _ABOVE)
    return tuple(first * 2.0**k for k in range(-_BELOW, above + 1))
