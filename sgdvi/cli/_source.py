"""What `sgdvi law` and `sgdvi phases` share: options, and the data, temperature and decay that they stand for."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from sgdvi.laws.moments import Moments
    from sgdvi.problem.network import LinearNetwork


@dataclass(frozen=True)
class Source:
    """Data as the commands need them.

    Attributes
    ----------
    title
        What they are, in words.
    moments
        Their moments.
    noise_sd
        Standard deviation of the residuals about the least-squares line; None where only moments are known.
    network
        The linear network of a model; None where there is no model.
    """

    title: str
    moments: "Moments"
    noise_sd: float | None
    network: "LinearNetwork | None" = None

    def temperature(self, learning_rate: float, batch_size: int) -> float:
        """Temperature of a run: of the model's own loss, or of (v x - y)^2 where there is no model."""
        from sgdvi._internal.check import positive, whole

        if self.network is not None:
            return self.network.temperature(learning_rate, batch_size)
        return positive("learning_rate", learning_rate) / whole("batch_size", batch_size, least=1)

    def flow_learning_rate(self, learning_rate: float) -> float:
        """Time of the flow that one step takes."""
        return learning_rate if self.network is None else self.network.flow_learning_rate(learning_rate)


@dataclass(frozen=True)
class Request:
    """What was asked for, read and checked.

    Attributes
    ----------
    source
        The data.
    critical
        Critical temperature of depth 1: the unit of temperatures, at every depth, so that depths can be compared.
    temperature
        Temperature of the run; None where the options name none.
    learning_rate, batch_size
        Of the run; None where they are not given.
    weight_decay
        As given; None where it is left to the model.
    """

    source: Source
    critical: float
    temperature: float | None
    learning_rate: float | None
    batch_size: int | None
    weight_decay: float | None

    def decay(self, depth: float, metastable: bool = False) -> float:
        """Weight decay: the given one, else that of the model's prior (at depth 2 and above in the bulk alone)."""
        return _decay(self.source, self.weight_decay, depth, metastable)


def data_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the argument MODEL, the options that stand for it, and those of the run."""
    return _with(
        command,
        click.argument("model", required=False),
        click.option(
            "--moments", type=float, nargs=5, metavar="A1 A2 A3 B1 B2",
            help="Instead of a model: Var[x²], Cov[x², xy], Var[xy], E[x²], E[xy].",
        ),
        click.option("--slope", type=float, metavar="K", help="Instead of a model: y = K x + noise, x ~ N(0, 1)."),
        click.option("--noise", type=float, metavar="S", help="Standard deviation of the noise in y = K x + noise."),
        click.option("--temperature", metavar="T", help="A number, or a multiple of Tc of depth 1: 0.5Tc."),
        click.option("--learning-rate", type=float, help="Of SGD on the model's loss; without a model on (v x - y)²."),
        click.option("--batch-size", type=int, help="Rows per minibatch, with --learning-rate."),
        click.option(
            "--weight-decay", type=float, metavar="GAMMA", help="Of the loss.  [default: the model's prior, else 0]"
        ),
    )  # fmt: skip


def output_options(drawn: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the options that say where the results go."""
    return lambda command: _with(
        command,
        click.option("--out", type=click.Path(), metavar="FILE", help=f"Draw {drawn}: .png, .svg or .pdf."),
        click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text."),
    )


def read_request(
    model: str | None,
    moments: tuple[float, ...] | None,
    slope: float | None,
    noise: float | None,
    temperature: str | None,
    learning_rate: float | None,
    batch_size: int | None,
    weight_decay: float | None,
    **model_options: Any,
) -> Request:
    """Read the options that `shared_options` adds; ``model_options`` (depth, width) go to the model."""
    from sgdvi.laws import critical_temperature

    source = _find_source(model, moments, slope, noise, **model_options)
    critical = float(critical_temperature(source.moments, 1, _decay(source, weight_decay, 1)))
    heat = _find_temperature(source, temperature, learning_rate, batch_size, critical)
    return Request(source, critical, heat, learning_rate, batch_size, weight_decay)


def check_out(out: str | None) -> None:
    """Refuse a figure that cannot be written, before anything is computed."""
    if out is not None:
        from sgdvi._internal.style.canvas import check_figure_path

        check_figure_path(out)


def _with(command: Callable[..., Any], *options: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(options):
        command = option(command)
    return command


def _decay(source: Source, given: float | None, depth: float, metastable: bool = False) -> float:
    from sgdvi._internal.check import non_negative

    if given is not None:
        return non_negative("weight_decay", given)
    return source.network.weight_decay if source.network is not None and (depth < 2 or metastable) else 0.0


def _find_source(
    model: str | None, moments: tuple[float, ...] | None, slope: float | None, noise: float | None, **options: Any
) -> Source:
    """Make the source from what was given; ``options`` (depth, width) go to the model."""
    from sgdvi._internal.check import InputError, message
    from sgdvi.laws.moments import Moments

    given = {"MODEL": model, "--moments": moments or None, "--slope": slope}
    names = [name for name, value in given.items() if value is not None]
    if not names:
        advice = "`sgdvi models` lists models; --slope 1 --noise 1 is the simplest choice."
        raise InputError(message("the data must be given: MODEL, --moments or --slope with --noise", "none", advice))
    if len(names) > 1:
        raise InputError(message("MODEL, --moments and --slope exclude each other", " and ".join(names)))
    if noise is not None and slope is None:
        raise InputError(message("--noise goes with --slope", f"--noise {noise:g} alone", "Give --slope too."))
    if moments:
        return Source("data with the moments given", Moments(*moments), None)
    if slope is not None:
        if noise is None:
            raise InputError(message("--slope goes with --noise", f"--slope {slope:g} alone", "Give --noise too."))
        return Source(f"y = {slope:g} x + noise of sd {noise:g}, x ~ N(0, 1)", Moments.linear(slope, noise), noise)
    return _from_model(str(model), options)


def _find_temperature(
    source: Source,
    temperature: str | None,
    learning_rate: float | None,
    batch_size: int | None,
    critical: float,
) -> float | None:
    """Return the temperature of the run that the options describe; None where they describe none."""
    from sgdvi._internal.check import require
    from sgdvi.laws.multiples import parse_temperature

    both = temperature is not None and learning_rate is not None
    advice = "Give one of them: the temperature is kappa * learning_rate / batch_size."
    require(not both, "--temperature and --learning-rate exclude each other", "both", advice)
    if learning_rate is not None or batch_size is not None:
        whole_pair = learning_rate is not None and batch_size is not None
        alone = "--batch-size" if learning_rate is None else "--learning-rate"
        require(whole_pair, "--learning-rate and --batch-size go together", f"{alone} alone", "Give the other too.")
        return source.temperature(float(learning_rate or 0.0), int(batch_size or 0))
    return None if temperature is None else parse_temperature(temperature, critical)


def _from_model(model: str, options: dict[str, Any]) -> Source:
    import numpy as np

    from sgdvi._internal.check import InputError, message
    from sgdvi.zoo import load

    problem = load(model)
    problem = problem.with_options(**{name: value for name, value in options.items() if value is not None})
    network = problem.exact
    if network is None:
        rule = "the model must have an exact law: a linear network on one feature"
        raise InputError(message(rule, repr(problem.name), "`sgdvi compare` works for every model."))
    residuals = network.y - float(network.moments.minimizer) * network.x
    noise_sd = float(np.sqrt(np.mean(residuals**2)))
    return Source(f"{problem.name}, {network.num_data} rows", network.moments, noise_sd, network)
