"""The declaration of a claim of the paper, what a measurement of it returns, and how a verdict is reached."""

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from sgdvi._internal.style.palette import Theme
from sgdvi.diagnostics.findings import Status

# Standard errors that a statistic must be away from a limit; two-sided 6e-5 for a normal error, 0.3 % over 40 rows.
ERRORS = 4.0
# Largest difference of two log densities, or of two relative numbers, that is rounding.
ROUNDING = 1e-9


class Verdict(enum.StrEnum):
    """What was found of a claim.

    Attributes
    ----------
    HOLDS
        As it stands in the paper.
    CORRECTED
        With the correction that the row states; literally it is off.
    FAILS
        It does not hold.
    UNKNOWN
        The error bars are too wide, or the literal text is not available.
    """

    HOLDS = "holds"
    CORRECTED = "holds with a correction"
    FAILS = "does not hold"
    UNKNOWN = "cannot tell"

    @property
    def status(self) -> Status:
        """Its colour and mark on pages."""
        colours = {Verdict.HOLDS: Status.PASS, Verdict.CORRECTED: Status.WARN, Verdict.FAILS: Status.FAIL}
        return colours.get(self, Status.UNKNOWN)


@dataclass(frozen=True)
class Run:
    """How a claim is measured: in full or quickly, and from which seed."""

    quick: bool = False
    seed: int = 0

    def rng(self, stream: int = 0) -> np.random.Generator:
        """Return a generator: of the data (stream 0), of starts and minibatches (others)."""
        return np.random.default_rng([self.seed, stream])

    def size(self, full: int, quick: int) -> int:
        """Return the size of a simulation."""
        return quick if self.quick else full


@dataclass(frozen=True)
class Measured:
    """What was measured.

    Attributes
    ----------
    verdict
        What follows by the criterion.
    text
        The measurement in a sentence, a template: every number in it stands in `values`.
    values
        All numbers by name: sizes of the run, measurements, errors.
    curves
        What the figure draws, as nested lists.
    """

    verdict: Verdict
    text: str
    values: Mapping[str, Any]
    curves: Mapping[str, Any] = field(default_factory=dict)


Draw = Callable[[Sequence[Axes], Mapping[str, Any], Theme], None]


@dataclass(frozen=True)
class Claim:
    """A claim of the paper and how it is checked.

    Attributes
    ----------
    id
        Short name on the command line.
    title
        The row in a few words.
    paper
        Its number in the paper.
    says
        The claim in our words.
    setting
        Ours, as the paper states few; a template for the sizes in `Measured.values`.
    how
        What is measured.
    criterion
        When it holds, and why that limit.
    expected
        The verdict that was argued before the run.
    measure
        The measurement.
    draw
        Draws the figure from the curves alone; None where there is none.
    panels
        Number of axes of the figure.
    caption
        Text under the figure.
    """

    id: str
    title: str
    paper: str
    says: str
    setting: str
    how: str
    criterion: str
    expected: Verdict
    measure: Callable[[Run], Measured]
    draw: Draw | None = None
    panels: int = 1
    caption: str = ""


def claim(
    id: str,
    title: str,
    *,
    paper: str,
    says: str,
    setting: str,
    how: str,
    criterion: str,
    expected: Verdict,
    draw: Draw | None = None,
    panels: int = 1,
    caption: str = "",
) -> Callable[[Callable[[Run], Measured]], Claim]:
    """Declare the function below as the measurement of a claim; see `Claim`."""
    return lambda measure: Claim(
        id, title, paper, says, setting, how, criterion, expected, measure, draw, panels, caption
    )


def exceeds(value: float, limit: float, error: float) -> bool | None:
    """Whether a value is above a limit; None where the limit is within `ERRORS` standard errors of it."""
    if not np.isfinite(value):
        return None
    return None if abs(value - limit) < ERRORS * error else bool(value > limit)


def below(value: float, limit: float, error: float) -> bool | None:
    """Whether a value is below a limit; None where the limit is within `ERRORS` standard errors of it."""
    return exceeds(-value, -limit, error)


def verdict(*conditions: Any, yes: Verdict = Verdict.HOLDS, no: Verdict = Verdict.FAILS) -> Verdict:
    """Return `no` if a condition is false, "cannot tell" if one is unknown (None), else `yes`."""
    if any(condition is not None and not condition for condition in conditions):
        return no
    return Verdict.UNKNOWN if any(condition is None for condition in conditions) else yes


def correction(literal: float, corrected: float, least: float = 0.1) -> Verdict:
    """Return the verdict on a formula from its largest difference from the law, as printed and as corrected.

    As printed it holds to `ROUNDING`; it needs its correction where it is off by more than `least` and this is not.
    """
    if literal < ROUNDING:
        return Verdict.HOLDS
    return verdict(literal > least, corrected < ROUNDING, yes=Verdict.CORRECTED)
