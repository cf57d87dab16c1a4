"""What `sgdvi.forecast` returns: steps and predicted law of each flavour of SGD, as text, JSON and a figure."""

import textwrap
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sgdvi._internal.check import InputError, message, require
from sgdvi._internal.files import AsJson, plain
from sgdvi._internal.text import listed, number, table
from sgdvi.samplers.mode import Mode
from sgdvi.samplers.predicted import PredictedLaws, well_specified, which_is_right
from sgdvi.samplers.quadratic import LocalQuadratic

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# What a quantity must keep to be of use: W1 in posterior sds, ratio of sds.
USABLE_W1, USABLE_RATIO = 0.1, (0.85, 1.18)
# Steps per chain beyond which a run shows nothing.
MOST_STEPS = 1e6
_NAMES = {
    "plain": "plain SGD",
    "scaled": "one rate per parameter",
    "whitened": "whitened",
    "mandt": "Mandt's matrix",
    "completed": "completed SGD",
    "sgld": "SGLD, preconditioned",
}


@dataclass(frozen=True, eq=False)
class Flavour:
    """A flavour of SGD and the law that it will have.

    Attributes
    ----------
    name
        "plain", "scaled", "whitened", "mandt", "completed" or "sgld".
    batch_size, learning_rate
        What it is to be run with.
    relaxation
        Steps in which its slowest direction forgets all but 1/e.
    steps
        Steps per chain that make 100 autocorrelation times.
    sd_ratio, w1
        By functional: its standard deviation over the posterior's, and W1 in posterior sds.
    summary
        By functional: mean, sd, 5 % and 95 % quantile.
    """

    name: str
    batch_size: int
    learning_rate: float
    relaxation: float
    steps: float
    sd_ratio: Mapping[str, float]
    w1: Mapping[str, float]
    summary: Mapping[str, Mapping[str, float]]

    @property
    def title(self) -> str:
        """Its name for readers."""
        return _NAMES[self.name]

    @property
    def largest_w1(self) -> float:
        """The largest W1 over the functionals."""
        return max(self.w1.values())

    @property
    def usable(self) -> tuple[str, ...]:
        """Functionals that it will have nearly as the posterior has them: W1 <= 0.1 sd, sd ratio 0.85 to 1.18."""
        low, high = USABLE_RATIO
        return tuple(key for key, w1 in self.w1.items() if w1 <= USABLE_W1 and low <= self.sd_ratio[key] <= high)

    @property
    def runs(self) -> bool:
        """Whether a run of it can show anything: at most a million steps per chain."""
        return self.steps <= MOST_STEPS


@dataclass(frozen=True, eq=False)
class Forecast(AsJson):
    """What every flavour of SGD will be on a problem.

    Attributes
    ----------
    name, num_data
        Of the problem.
    mode
        The mode; where there is none, all else is empty.
    rows
        What has been done about a latent value per row; empty where there is none.
    condition
        Condition number of the Hessian in unconstrained coordinates.
    slowest, fastest
        Coordinates of the directions of least and largest curvature.
    scaling
        Arguments of the model that are best centred and standardised, and the condition number then; tried.
    information
        Least and largest eigenvalue of the noise of the gradients over the curvature: 1 in a well-specified model.
    sandwich
        Least and largest ratio of the sandwich's standard deviations to the posterior's, over the coordinates.
    posterior
        By functional: mean, sd, 5 % and 95 % quantile of the posterior near the mode.
    flavours
        See `Flavour`; ``forecast["completed"]`` is one of them.
    doubts
        Why the forecast may be wrong; empty where it is reliable.
    curvature
        Least and largest eigenvalue of the Hessian of L.
    near
        What all of it was computed from: ``sgdvi.CompletedSGD(model, near=forecast.near)`` need not find it again.
    """

    name: str
    num_data: int
    mode: Mode
    rows: str = ""
    condition: float = float("nan")
    slowest: tuple[str, ...] = ()
    fastest: tuple[str, ...] = ()
    scaling: tuple[tuple[str, ...], float] = ((), float("nan"))
    information: tuple[float, float] = (float("nan"), float("nan"))
    sandwich: tuple[float, float] = (float("nan"), float("nan"))
    posterior: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    flavours: tuple[Flavour, ...] = ()
    doubts: tuple[str, ...] = ()
    curvature: tuple[float, float] = (float("nan"), float("nan"))
    near: LocalQuadratic | None = field(default=None, repr=False)

    @cached_property
    def laws(self) -> PredictedLaws:
        """Every law of SGD near the mode, at the rate of plain SGD, with momentum and over epochs: print them.

        Raises
        ------
        InputError
            Where there is no mode.
        """
        if self.near is None:
            raise InputError(message("the forecast must have a mode", "none", self.mode.reason))
        return self.near.predicted()

    @property
    def reliable(self) -> bool:
        """Whether there is a mode and nothing speaks against the laws near it."""
        return self.mode.exists and not self.doubts

    def __getitem__(self, name: str) -> Flavour:
        for flavour in self.flavours:
            if flavour.name == name:
                return flavour
        rule = f"the forecast must have this flavour: {listed([each.name for each in self.flavours]) or 'none'}"
        raise InputError(message(rule, repr(name), self.mode.reason))

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON types."""
        mode = self.mode
        record = {
            key: getattr(self, key) for key in self.__dataclass_fields__ if key not in ("mode", "flavours", "near")
        }
        record["scaling"] = {"standardise": self.scaling[0], "condition": self.scaling[1]}
        record["reliable"] = self.reliable
        record["mode"] = {
            "exists": mode.exists, "decrement": mode.decrement, "least_curvature": mode.least_curvature,
            "others": mode.others, "reason": mode.reason, "sites": mode.sites,
            "point": dict(zip(mode.names, mode.vector.tolist(), strict=True)),
        }  # fmt: skip
        record["flavours"] = [
            {**asdict(each), "largest_w1": each.largest_w1, "usable": each.usable, "runs": each.runs}
            for each in self.flavours
        ]
        return plain(record)

    def plot(self, axes: "Axes | None" = None) -> "Axes":
        """Draw the predicted laws of the functionals by flavour, mean and central 90 %, beside the posterior's.

        Raises
        ------
        InputError
            Where there is no mode.
        """
        from sgdvi.experiment.forecast_figure import plot_laws

        require(self.mode.exists, "the forecast must have a mode to be drawn", "none", self.mode.reason)
        return plot_laws(self.posterior, {each.title: each.summary for each in self.flavours}, axes)

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.num_data} rows, {len(self.mode.vector)} parameters"]
        lines += [self.rows] if self.rows else []
        if not self.mode.exists:
            return "\n".join([*lines, str(self.mode), "No learning rate follows from a rule, and no law is foreseen."])
        lines.append(str(self.mode))
        slow, fast = listed(self.slowest), listed(self.fastest)
        lines.append(f"condition number {number(self.condition)}: slowest along {slow}, fastest along {fast}")
        if self.scaling[0]:
            then = f"{number(self.condition, 2)} -> {number(self.scaling[1], 2)}"
            lines.append(f"centre and standardise {listed(self.scaling[0])}: condition {then}")
        low, high = self.sandwich
        lines.append(f"sandwich against posterior: sds {low:.2f} to {high:.2f} of the posterior's (1: well specified)")
        if not well_specified(self.information, len(self.mode.vector) / self.num_data):
            lines += textwrap.wrap(which_is_right(self.information), 110)
        lines += ["", *table(self._rows(), left=1), ""]
        plain_sgd = self["plain"]
        if not plain_sgd.runs:
            needs = f"plain SGD needs {number(plain_sgd.steps, 2)} steps per chain: its slowest direction is {slow}"
            # scaling was tried: where it does not help nobody is told to do it
            do = (
                f"centre and standardise {listed(self.scaling[0])}"
                if self.scaling[0]
                else "write the model in other parameters"
            )
            lines.append(f"{needs}; {do}, or take a matrix (completed SGD)")
        verdict = "reliable" if self.reliable else f"not reliable: {'; '.join(self.doubts)}"
        return "\n".join([*lines, f"This forecast is {verdict}."])

    def _rows(self) -> list[list[str]]:
        count = len(self.posterior)
        rows = [["flavour", "batch", "rate", "steps", "largest W1", "sd ratios", "usable"]]
        for each in self.flavours:
            ratios = sorted(each.sd_ratio.values())
            names = each.usable
            usable = "all" if len(names) == count else "none" if not names else listed(names[:4])
            usable += f" and {len(names) - 4} more" if 4 < len(names) < count else ""
            ratio_range = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
            rate, steps = number(each.learning_rate), number(each.steps, 2)
            rows.append([each.title, str(each.batch_size), rate, steps, f"{each.largest_w1:.2f}", ratio_range, usable])
        return rows
