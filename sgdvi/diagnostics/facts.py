"""What is known in closed form of the runs of a linear network, turned into plain numbers and functions."""

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from sgdvi._internal.batches import NO_TEMPERATURE, Batching
from sgdvi._internal.check import InputError, positive, whole
from sgdvi.diagnostics.common import Facts
from sgdvi.diagnostics.distances import Points
from sgdvi.diagnostics.divergence import LineLaw
from sgdvi.diagnostics.laws import Steps
from sgdvi.diagnostics.phases import Setting
from sgdvi.diagnostics.run import Law
from sgdvi.laws import SGDStationary, StationaryLaw, discrete_law, discrete_threshold, lyapunov_exponent, phase
from sgdvi.laws.posterior import LinePosterior
from sgdvi.problem.network import LinearNetwork, line_posterior

# Quantiles that stand for a law: the Kolmogorov distance to them is off by at most half of one over their number.
_QUANTILES = 4_000
_SAMPLES = 20_000
_BLOCK = 4_096


@dataclass(frozen=True, eq=False)
class Known:
    """A linear network and the settings of the SGD run on it: enough for every exact law.

    Attributes
    ----------
    network
        The network with its data, noise and prior.
    learning_rate
        Learning rate of the optimizer, on the negative log joint over N; None where it is unknown (Adam, schedules).
    batch_size, batching
        Batch size, and how its rows are drawn: see `sgdvi.SGD`.
    num_steps
        Steps per chain, for the record.
    """

    network: LinearNetwork
    learning_rate: float | None
    batch_size: int
    batching: str = Batching.REPLACEMENT
    num_steps: int | None = None

    def __post_init__(self) -> None:
        if self.learning_rate is not None:
            positive("learning_rate", self.learning_rate)
        whole("batch_size", self.batch_size, least=1)
        object.__setattr__(self, "batching", Batching.of(self.batching))

    @property
    def temperature(self) -> float | None:
        """Temperature of SGD in the theory's units; None where the learning rate is unknown, and for epochs."""
        share = Batching(self.batching).noise_share(self.network.num_data, self.batch_size)
        if self.learning_rate is None or share is None:
            return None
        return float(self.network.flow_learning_rate(self.learning_rate) * share)

    @property
    def no_temperature(self) -> str:
        """Why there is no temperature; empty where there is one, or the learning rate is unknown."""
        return NO_TEMPERATURE if self.batching is Batching.EPOCHS and self.temperature is None else ""

    @property
    def replace(self) -> bool:
        """Whether a row can come twice in a minibatch."""
        return self.batching is Batching.REPLACEMENT

    def product(self, draws: Any) -> Any:
        """Return v: the product of the factors, summed over the units."""
        value = draws[self.network.sites[0]]
        for site in self.network.sites[1:]:
            value = value * draws[site]
        return value.sum([dim for dim in value.dims if dim not in ("chain", "draw")])

    def to_dict(self) -> dict[str, Any]:
        """Return the settings and scalings as JSON types."""
        network = self.network
        return {
            "depth": network.depth,
            "width": network.width,
            "num_data": network.num_data,
            "noise_sd": float(network.noise_sd),
            "prior_sd": float(network.prior_sd),
            "weight_decay": float(network.weight_decay),
            "learning_rate": self.learning_rate,
            "batch_size": self.batch_size,
            "batching": str(self.batching),
            "num_steps": self.num_steps,
            "temperature": self.temperature,
            "no_temperature": self.no_temperature,
            "critical_temperature": float(network.critical_temperature),
        }


def as_line_law(law: Any) -> LineLaw:
    """Wrap a law (NumPyro distribution or alike) in functions of float64 arrays."""

    def evaluate(method: str, points: np.ndarray) -> np.ndarray:
        return _in_blocks(getattr(law, method), np.asarray(points, dtype=np.float64))

    zero, point = (float(np.max(np.asarray(getattr(law, name, 0.0)))) for name in ("zero_mass", "point_mass"))

    def icdf(levels: np.ndarray) -> np.ndarray:
        try:
            return evaluate("icdf", levels)
        except (NotImplementedError, AttributeError):
            return np.quantile(law_points(law, jax.random.key(0)).values, levels)

    return LineLaw(lambda v: evaluate("log_prob", v), icdf, zero + point, zero)


def law_points(law: Any, key: Any) -> Points:
    """Return quantiles that stand for a law, exactly known; or draws with `key` where it has no quantile function."""
    levels = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    try:
        return Points(np.sort(_in_blocks(law.icdf, levels)), math.inf)
    except (NotImplementedError, AttributeError):
        with jax.enable_x64(True):
            values = np.asarray(law.sample(key, (_SAMPLES,)), dtype=np.float64)
        return Points(np.sort(values), float(_SAMPLES))


def _in_blocks(fn: Callable[[np.ndarray], Any], points: np.ndarray) -> np.ndarray:
    """Evaluate in float64, in blocks of one size, so that a jitted function is compiled once."""
    blocks = max(1, -(-points.size // _BLOCK))
    padded = np.pad(points, (0, blocks * _BLOCK - points.size), mode="edge").reshape(blocks, _BLOCK)
    with jax.enable_x64(True), warnings.catch_warnings():
        # NumPyro warns of values outside the support; that the density is 0 there is all that is asked for.
        warnings.simplefilter("ignore", UserWarning)
        parts = [np.asarray(fn(block), dtype=np.float64) for block in padded]
    return np.concatenate(parts)[: points.size]


def find_facts(known: Known | None, laws: Mapping[str, tuple[Law, Any]]) -> Facts:
    """Collect what is known from the network, or from the laws among the runs: name -> (points, law)."""
    roles = {name: _role(law) for name, (_, law) in laws.items()}
    given = {roles[name]: name for name in laws if roles[name]}
    if known is None and not given:
        return Facts(missing="No exact law is known for this model.")
    functional = laws[next(iter(given.values()))][0].functional if given else "v"
    stationary, posterior, improper, missing = None, None, "", ""
    if "stationary" in given:
        stationary = laws[given["stationary"]][1]
    elif known is not None:
        stationary, missing = _stationary(known)
    if "posterior" in given:
        posterior = laws[given["posterior"]][1]
    elif known is not None:
        posterior, improper = _posterior(known)
    return Facts(
        functional=functional,
        factors=known.network.sites if known is not None else (),
        setting=_setting(known),
        stationary=None if stationary is None else as_line_law(stationary),
        stationary_points=_points("stationary", stationary, given, laws),
        posterior=None if posterior is None else as_line_law(posterior),
        posterior_points=_points("posterior", posterior, given, laws),
        posterior_negative=math.nan if posterior is None else float(posterior.negative_mass),
        # The exponent is that of the density, one more than that of the survival function.
        stationary_tail=math.nan if stationary is None else float(getattr(stationary, "tail_exponent", math.nan)) - 1,
        steps=None if known is None else _steps(known, stationary),
        side=_side(known, stationary),
        singular=known is not None and (known.network.depth > 0 or known.network.width > 1),
        improper=improper,
        missing=missing,
        no_temperature="" if known is None else known.no_temperature,
        roles=roles,
    )


def _points(role: str, law: Any, given: Mapping[str, str], laws: Mapping[str, tuple[Law, Any]]) -> Points | None:
    if role in given:
        run = laws[given[role]][0]
        return run.points[run.functional]
    return None if law is None else law_points(law, jax.random.key(0))


def _role(law: Any) -> str:
    if isinstance(law, StationaryLaw | SGDStationary):
        return "stationary"
    return "posterior" if isinstance(law, LinePosterior) else ""


def _side(known: Known | None, stationary: Any) -> int | None:
    depth = known.network.depth if known is not None else getattr(stationary, "depth", 0)
    if depth == 0:
        return None
    if known is not None:
        return 1 if float(known.network.moments.beta2) >= 0 else -1
    return int(np.sign(float(getattr(stationary, "sign", 1))))


def _stationary(known: Known) -> tuple[Any, str]:
    temperature = known.temperature
    if temperature is None:
        return None, known.no_temperature or "The temperature is unknown: this optimizer has no constant learning rate."
    if temperature == 0:
        return None, "Batches of all rows have no noise: there is no law."
    try:
        return known.network.law(temperature), ""
    except InputError as error:
        return None, f"No exact law: {error}"


def _steps(known: Known, stationary: Any) -> Steps | None:
    """Compare the law of SGD with its actual steps and batches with that of the flow, at depth 1 where it is exact."""
    network = known.network
    if stationary is None or network.depth != 1 or known.learning_rate is None:
        return None
    rate = network.flow_learning_rate(known.learning_rate)
    try:
        law = discrete_law(
            network.x, network.y, rate, known.batch_size, network.weight_decay, replace=known.replace, tolerance=1e-3
        )
    except InputError:  # batches without replacement that cannot be listed; rows without noise
        return None
    distance = math.nan if law.table is None else law.distance_to(stationary)
    return Steps(law.status, distance, law.horizon)


def _posterior(known: Known) -> tuple[Any, str]:
    if not known.network.proper_posterior:
        return None, (
            "With a flat prior (no weight decay) the posterior is improper: rescaling u -> a u, w -> w/a does not "
            "change the likelihood, so its mass is infinite. Give a weight decay above 0."
        )
    try:
        return line_posterior(known.network), ""
    except InputError:
        return None, ""


def _setting(known: Known | None) -> Setting | None:
    if known is None or known.learning_rate is None or not known.temperature:
        return None
    network, temperature = known.network, known.temperature
    critical = float(network.critical_temperature)
    if network.depth != 1:
        return Setting(temperature, critical, learning_rate=known.learning_rate)
    label = str(phase(network.moments, temperature, network.depth, network.weight_decay))
    data, decay = (network.x, network.y), network.weight_decay
    rate = network.flow_learning_rate(known.learning_rate)
    try:
        threshold = discrete_threshold(*data, known.batch_size, decay, replace=known.replace)
        growth = 2 * lyapunov_exponent(*data, rate, known.batch_size, decay, replace=known.replace)
    except InputError:  # too many batches without replacement to list them
        return Setting(temperature, critical, label, known.learning_rate)
    return Setting(
        temperature,
        critical,
        label,
        known.learning_rate,
        lowest=threshold.lower / network.kappa if math.isfinite(threshold.lower) else math.nan,
        highest=threshold.upper / network.kappa,
        exponent=growth,  # of v, a product of two factors: twice the exponent of one
    )
