"""What is known in closed form of the runs of a linear network: asked of the network, once, when a check needs it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import numpy as np

from sgdvi._internal.arguments import check_fields
from sgdvi._internal.batches import NO_TEMPERATURE, Batching
from sgdvi._internal.check import InputError, positive, whole
from sgdvi.diagnostics.run import Law
from sgdvi.laws import DiscreteLaw, SGDStationary, StationaryLaw, phase
from sgdvi.laws.line import LineLaw, Points, as_line_law, law_points
from sgdvi.laws.posterior import LinePosterior
from sgdvi.problem.network import LinearNetwork


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
        check_fields(self)
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


@dataclass(frozen=True, eq=False)
class Facts:
    """What is known in closed form of one functional, asked of the network once and when a check needs it.

    Attributes
    ----------
    known
        The network and its settings; None where no model is known.
    laws
        The laws among the runs: name -> (what the checks see of it, the law).
    no_posterior
        Why there is no posterior, where the caller says so.
    """

    known: Known | None = None
    laws: Mapping[str, tuple[Law, Any]] = field(default_factory=dict)
    no_posterior: str = ""
    _measured: dict[Any, Any] = field(default_factory=dict)

    @cached_property
    def roles(self) -> dict[str, str]:
        """Name of a law among the runs -> "stationary", "posterior" or ""."""
        return {name: _role(law) for name, (_, law) in self.laws.items()}

    @cached_property
    def functional(self) -> str:
        """Name of the functional; "" where nothing is known."""
        given = [name for name, role in self.roles.items() if role]
        return self.laws[given[0]][0].functional if given else "v" if self.known is not None else ""

    @cached_property
    def factors(self) -> tuple[str, ...]:
        """Names of the sites whose product it is; one where it is the parameter itself; none where none are known."""
        return () if self.known is None else self.known.network.sites

    # --- the law of SGD ---------------------------------------------------------------------------------------------

    @cached_property
    def stationary_law(self) -> Any:
        """Exact law of SGD, as it is among the runs or as the network has it; None where unknown."""
        return self._stationary[0]

    @cached_property
    def missing(self) -> str:
        """Why there is no exact law; "" where there is one."""
        return self._stationary[1]

    @cached_property
    def _stationary(self) -> tuple[Any, str]:
        given = self._given("stationary")
        if given is not None:
            return given[1], ""
        if self.known is None:
            return None, "" if any(self.roles.values()) else "No exact law is known for this model."
        temperature = self.known.temperature
        if temperature is None:
            unknown = "The temperature is unknown: this optimizer has no constant learning rate."
            return None, self.no_temperature or unknown
        if temperature == 0:
            return None, "Batches of all rows have no noise: there is no law."
        try:
            return self.known.network.law(temperature), ""
        except InputError as error:
            return None, f"No exact law: {error}"

    @cached_property
    def stationary(self) -> LineLaw | None:
        """The law of SGD as functions."""
        return None if self.stationary_law is None else as_line_law(self.stationary_law)

    @cached_property
    def stationary_points(self) -> Points | None:
        """Its quantiles."""
        return self._points("stationary", self.stationary_law)

    @cached_property
    def stationary_tail(self) -> float:
        """Index of its power-law tail; inf for none, nan where unknown."""
        # The exponent is that of the density, one more than that of the survival function.
        return (
            math.nan if self.stationary_law is None else float(getattr(self.stationary_law, "tail_exponent", "nan")) - 1
        )

    @cached_property
    def side(self) -> int | None:
        """Sign that the law of SGD covers; None where it covers both or nothing is known."""
        if self.known is not None:
            return self.known.network.covered_side
        law = self.stationary_law
        return int(np.sign(float(getattr(law, "sign", 1)))) if getattr(law, "depth", 0) else None

    @cached_property
    def collapsed(self) -> bool:
        """Whether the exact law of SGD is the point mass at 0."""
        return self.stationary is not None and self.stationary.zero >= 1

    @cached_property
    def singular(self) -> bool:
        """Whether the law of SGD lives on a set of lower dimension than the posterior."""
        return self.known is not None and (self.known.network.depth > 0 or self.known.network.width > 1)

    # --- its steps --------------------------------------------------------------------------------------------------

    @property
    def no_temperature(self) -> str:
        """Why SGD has no temperature; "" where it has one."""
        return "" if self.known is None else self.known.no_temperature

    @cached_property
    def temperature(self) -> float | None:
        """Temperature of SGD; None where it is unknown, or where SGD has no noise."""
        return None if self.known is None or self.known.learning_rate is None else self.known.temperature or None

    @cached_property
    def critical(self) -> float:
        """Critical temperature of the flow; inf where it has no transition, nan where nothing is known."""
        return math.nan if self.known is None else self.known.network.critical_temperature

    @cached_property
    def ratio(self) -> float:
        """T / Tc; inf where no temperature is low enough."""
        return math.inf if self.critical <= 0 else (self.temperature or math.nan) / self.critical

    @cached_property
    def phase(self) -> str:
        """Name of the phase at depth 1 ("IIIb"), or ""."""
        if not self._steps_at_depth_1 or self.temperature is None:
            return ""
        network = self._steps_at_depth_1.network
        return str(phase(network.moments, self.temperature, network.depth, network.weight_decay))

    @cached_property
    def _near_zero(self) -> tuple[tuple[tuple[float, float], ...], float]:
        known = self._steps_at_depth_1
        if known is None or known.learning_rate is None:
            return (), math.nan
        network, batches = known.network, (known.batch_size, known.batching)
        try:
            threshold, growth = network.discrete_threshold(*batches), network.growth(known.learning_rate, *batches)
        except InputError:  # too many batches without replacement to list them
            return (), math.nan
        return tuple((low / network.kappa, high / network.kappa) for low, high in threshold.intervals), growth

    @cached_property
    def thresholds(self) -> tuple[tuple[float, float], ...]:
        """Intervals of the optimizer's learning rates in which SGD as it runs collapses; () where none, or unknown."""
        return self._near_zero[0]

    @cached_property
    def growth(self) -> float:
        """Expected change of log|v| per step near v = 0 of SGD as it runs; nan where unknown."""
        return self._near_zero[1]

    @property
    def flow_collapses(self) -> bool:
        """Whether the law of the flow is the point mass at 0."""
        return self.temperature is not None and self.temperature >= self.critical

    @property
    def steps_collapse(self) -> bool | None:
        """Whether SGD as it runs collapses, by its exact threshold; None where that is unknown."""
        return None if math.isnan(self.growth) else self.growth < 0

    @cached_property
    def discrete_law(self) -> DiscreteLaw | None:
        """Law of SGD with its actual steps and batches, from balanced factors; None where unknown."""
        known = self.known
        if self.stationary_law is None or known is None or known.learning_rate is None:
            return None
        try:
            return known.network.discrete_law(known.learning_rate, known.batch_size, known.batching)
        except InputError:  # batches without replacement that cannot be listed; rows without noise
            return None

    @cached_property
    def discrete_distance(self) -> float:
        """Kolmogorov distance of that law to the one of the flow; nan where it does not exist."""
        law = self.discrete_law
        return math.nan if law is None or law.table is None else law.distance_to(self.stationary_law)

    @property
    def _steps_at_depth_1(self) -> Known | None:
        """The settings where there is an exact theory of the steps: at depth 1, at a temperature."""
        return self.known if self.known is not None and self.known.network.depth == 1 and self.temperature else None

    # --- the posterior ----------------------------------------------------------------------------------------------

    @cached_property
    def posterior_law(self) -> Any:
        """Exact posterior, as it is among the runs or as the network has it; None where unknown."""
        given = self._given("posterior")
        if given is not None:
            return given[1]
        if self.known is None or not self.known.network.proper_posterior:
            return None
        try:
            return self.known.network.posterior
        except InputError:
            return None

    @cached_property
    def improper(self) -> str:
        """Why there is no posterior; "" where there is one."""
        if self.no_posterior or self.known is None or self._given("posterior") or self.known.network.proper_posterior:
            return self.no_posterior
        return (
            "With a flat prior (no weight decay) the posterior is improper: rescaling u -> a u, w -> w/a does not "
            "change the likelihood, so its mass is infinite. Give a weight decay above 0."
        )

    @cached_property
    def posterior(self) -> LineLaw | None:
        """The posterior as functions."""
        return None if self.posterior_law is None else as_line_law(self.posterior_law)

    @cached_property
    def posterior_points(self) -> Points | None:
        """Its quantiles."""
        return self._points("posterior", self.posterior_law)

    @cached_property
    def posterior_negative(self) -> float:
        """Its mass below 0; nan where unknown."""
        return math.nan if self.posterior_law is None else float(self.posterior_law.negative_mass)

    @cached_property
    def missed_mass(self) -> float:
        """Its mass on the sign that the law of SGD does not cover."""
        return 0.0 if self.side is None else float(self.posterior_law.mass_beyond(self.side))

    def once(self, measure: "Callable[[Facts], Any]") -> Any:
        """Return ``measure(self)``, computed at the first call: once for all runs."""
        if measure not in self._measured:
            self._measured[measure] = measure(self)
        return self._measured[measure]

    def _given(self, role: str) -> tuple[Law, Any] | None:
        # of several laws with one role the last counts
        return next((self.laws[name] for name, its in reversed(self.roles.items()) if its == role), None)

    def _points(self, role: str, law: Any) -> Points | None:
        given = self._given(role)
        if given is not None:
            return given[0].points[given[0].functional]
        return None if law is None else law_points(law, jax.random.key(0))


def _role(law: Any) -> str:
    if isinstance(law, StationaryLaw | SGDStationary):
        return "stationary"
    return "posterior" if isinstance(law, LinePosterior) else ""
