"""What is found of the predictions of one run: plain data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sgdvi.diagnostics.findings import Status


@dataclass(frozen=True, eq=False)
class RunPredictions:
    """Predictions of one run.

    Attributes
    ----------
    status, meaning
        Whether they can stand for those of the reference, and why, in a sentence; "unknown" without a reference.
    numbers
        Name -> number over all test points; None where it does not exist. ``distance``, ``distance_null``: mean
        distance and its null level; ``apart``, ``apart_null``: share of points whose predictions differ; ``agreement``:
        share with the same most probable class; ``log_score``, ``brier``, ``crps``, ``error`` (share of wrong classes,
        or root mean squared error): means, with ``<name>_gain`` against the reference (above 0 is better) and its
        standard error ``<name>_gain_error``; ``calibration_error``, ``calibration_null``, ``calibration_bias`` (above 0
        is overconfident); ``coverage`` of 90 % sets and the mass that they say, ``coverage_said``; ``epistemic`` and
        ``aleatoric`` uncertainty (nats or variances); ``between`` and ``within`` chains, standard deviations; ``rhat``,
        the 99 % quantile over the points, and ``ess``, the 1 % one; ``left_out``, chains that were not finite.
    distance, null
        Total variation, or W1 in predictive standard deviations, of every test point, and its null level; or None.
    trust
        "pass", "warn", "fail" or "unknown" for every test point: whether the prediction can be used in place of the
        reference's; empty without one.
    curves
        ``said``, ``happened``, ``low``, ``high``: reliability with its limits by chance; ``kept``, ``error_kept``:
        error of the share of the points that is surest. Empty without observed values.
    """

    status: Status
    meaning: str
    numbers: Mapping[str, float | None]
    distance: np.ndarray | None
    null: np.ndarray | None
    trust: tuple[Status, ...]
    curves: Mapping[str, np.ndarray]

    @property
    def counts(self) -> dict[str, int]:
        """How many test points can be trusted: "trusted", "roughly", "not", "cannot tell"."""
        words = {"trusted": Status.PASS, "roughly": Status.WARN, "not": Status.FAIL, "cannot tell": Status.UNKNOWN}
        return {word: sum(one is status for one in self.trust) for word, status in words.items()}

    @property
    def ranking(self) -> np.ndarray:
        """Numbers of the test points, the one that is farthest from the reference first; empty without one."""
        return np.zeros(0, int) if self.distance is None else np.argsort(-self.distance, kind="stable")

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> "RunPredictions":
        """Return what `plain` made of the fields."""
        arrays = {name: None if entry[name] is None else _array(entry[name]) for name in ("distance", "null")}
        return cls(
            status=Status(entry["status"]),
            meaning=entry["meaning"],
            numbers={name: None if value is None else float(value) for name, value in entry["numbers"].items()},
            trust=tuple(map(Status, entry["trust"])),
            curves={name: _array(values) for name, values in entry["curves"].items()},
            **arrays,
        )


def _array(values: Any) -> np.ndarray:
    return np.array([float(one) for one in values])
