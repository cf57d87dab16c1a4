"""Where the data of `sgdvi law` and `sgdvi phases` come from: a model, five moments, or a line with noise."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from sgdvi.linear import LinearNetwork
    from sgdvi.moments import Moments


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
        from sgdvi._check import positive, whole

        if self.network is not None:
            return self.network.temperature(learning_rate, batch_size)
        return positive("learning_rate", learning_rate) / whole("batch_size", batch_size, least=1)

    def decay(self, given: float | None, depth: int) -> float:
        """Weight decay: the given one, else that of the model's prior (none at depth 2 and above), else none."""
        from sgdvi._check import non_negative

        if given is not None:
            return non_negative("weight_decay", given)
        return self.network.weight_decay if self.network is not None and depth < 2 else 0.0


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the argument MODEL and the options that stand for it."""
    for decorate in (
        click.option("--noise", type=float, metavar="S", help="Standard deviation of the noise in y = K x + noise."),
        click.option("--slope", type=float, metavar="K", help="Instead of a model: y = K x + noise, x ~ N(0, 1)."),
        click.option(
            "--moments", type=float, nargs=5, metavar="A1 A2 A3 B1 B2",
            help="Instead of a model: Var[x²], Cov[x², xy], Var[xy], E[x²], E[xy].",
        ),
        click.argument("model", required=False),
    ):  # fmt: skip
        command = decorate(command)
    return command


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that set the temperature of a run."""
    for decorate in (
        click.option("--batch-size", type=int, help="Rows per minibatch, with --learning-rate."),
        click.option("--learning-rate", type=float, help="Of SGD on the model's loss; without a model on (v x - y)²."),
        click.option("--temperature", metavar="T", help="A number, or a multiple of Tc of depth 1: 0.5Tc."),
    ):
        command = decorate(command)
    return command


def find_source(
    model: str | None, moments: tuple[float, ...] | None, slope: float | None, noise: float | None, **options: Any
) -> Source:
    """Make the source from what was given; ``options`` (depth, width) go to the model."""
    from sgdvi._check import InputError, message
    from sgdvi.moments import Moments

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


def find_temperature(
    source: Source,
    temperature: str | None,
    learning_rate: float | None,
    batch_size: int | None,
    critical: float,
) -> float | None:
    """Return the temperature of the run that the options describe; None where they describe none."""
    from sgdvi._check import require
    from sgdvi.laws.temperatures import parse_temperature

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

    from sgdvi._check import InputError, message
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
