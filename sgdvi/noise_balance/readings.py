"""What was measured along the symmetries of a model: charges, drift, noise terms, norm ratios, and the findings."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sgdvi._internal.batches import NO_TEMPERATURE
from sgdvi.diagnostics import charges
from sgdvi.diagnostics.findings import Finding
from sgdvi.diagnostics.thresholds import Thresholds
from sgdvi.noise_balance.measure import Drift, Measurement, drift
from sgdvi.noise_balance.ratios import Ratios, beyond
from sgdvi.noise_balance.rest import Rest
from sgdvi.noise_balance.trajectory import Trajectory
from sgdvi.symmetry import Symmetries, Symmetry
from sgdvi.symmetry._slices import Group


@dataclass(frozen=True, eq=False)
class Readings:
    """How SGD moves along the scaling symmetries of a model: all of a `Balance` but how it is shown.

    Attributes
    ----------
    title
        Name of the model.
    symmetries
        What `find_symmetries` found: S symmetries.
    path
        The points that were looked at: M chains of K points.
    measured
        Charges, noise terms and predicted drift at every point, arrays (S, M, K).
    ratios
        Norm ratios over the second half of all chains, with their errors, and with their bounds at rest.
    num_parameters
        Number of parameters that the loss uses.
    thresholds
        What the findings are held against.
    rest
        Where the symmetries come to rest, predicted from the gradients at one minimum.
    """

    title: str
    symmetries: Symmetries
    path: Trajectory
    measured: Measurement
    ratios: Ratios
    num_parameters: int
    thresholds: Thresholds
    rest: Rest

    @property
    def names(self) -> list[str]:
        """A short name for each symmetry."""
        return [short_name(symmetry) for symmetry in self.symmetries]

    @cached_property
    def drift(self) -> Drift:
        """Measured and predicted drift of every charge over the trajectory, with the error of their difference."""
        return drift(self.measured, self.path)

    @property
    def num_charges(self) -> int:
        """Number of charges: one per symmetry, k (k + 1)/2 for a GL(k), whose k scalings are among the symmetries."""
        return len(self.symmetries) + sum(f.size * (f.size - 1) // 2 for f in self.symmetries.families)

    @property
    def effective_dimension(self) -> int:
        """Directions that the noise of SGD acts in: parameters less charges."""
        return self.num_parameters - self.num_charges

    @property
    def noise_terms(self) -> np.ndarray:
        """The two noise terms of each symmetry over the second half of the trajectory, shape (2, S)."""
        return self._late(self.measured.terms)

    @property
    def pulls(self) -> np.ndarray:
        """What pulls up and down on each charge over the second half of the trajectory, shape (2, S).

        Equal at rest. Without weight decay these are the noise terms; with it T Tr C(u) + 4 gamma ||w||^2 and
        T Tr C(w) + 4 gamma ||u||^2, nan where the temperature is not known.
        """
        gamma = np.array([symmetry.weight_decay for symmetry in self.symmetries])
        heat = np.where(gamma > 0, self.path.temperature, 1.0)
        pulls: np.ndarray = heat * self.noise_terms + 4 * gamma * self._late(self.measured.norms)[::-1]
        return pulls

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """What the checks say; `sgdvi.compare` takes them as ``findings=``."""
        names, run, limits = self.names, "SGD", self.thresholds
        pairs = [number for number, symmetry in enumerate(self.symmetries) if symmetry.kind == "rescaling"]
        kept, few = [names[number] for number in pairs], np.array(pairs, int)
        results = [charges.directions.on(run, self.num_charges, self.num_parameters)]
        if names:
            results.append(
                charges.drift.on(run, names, self.drift.z, limits, self._note(), momentum=bool(self.path.momentum))
            )
            decays = any(self.symmetries[number].weight_decay for number in pairs)
            read = self.ratios
            late = self.measured.norms[..., self.path.late]
            outside = beyond(late, read.bounds, charges.slack(limits))
            values = read.value[few], read.error[few], read.bounds[:, few], outside[few]
            pulls, note = self.pulls[:, few], self._note()
            results.append(charges.noise.on(run, kept, pulls, limits, of=run, decays=decays, note=note))
            results.append(charges.ratios.on(run, kept, *values, points=read.points, decays=decays))
        else:
            results += charges.without_symmetry(run)
        return tuple(results)

    def table(self) -> list[dict[str, Any]]:
        """Return one mapping per symmetry: names, charges, drifts, noise terms, norm ratio, its error and bounds."""
        first, last = (self.measured.charges[:, :, end].mean(axis=1) for end in (0, -1))
        terms, ratios, moved = self.noise_terms, self.ratios, self.drift
        return [
            {
                "name": name,
                "kind": symmetry.kind,
                "status": symmetry.status,
                "exponents": dict(symmetry.exponents),
                "charge_first": first[s],
                "charge_last": last[s],
                "drift": moved.measured[s],
                "drift_predicted": moved.predicted[s],
                "drift_flow": moved.flow[s],
                "drift_error": moved.error[s],
                "z": moved.z[s],
                "noise_positive": terms[0, s],
                "noise_negative": terms[1, s],
                "norm_ratio": ratios.value[s],
                "norm_ratio_error": ratios.error[s],
                "norm_ratio_low": ratios.bounds[0, s],
                "norm_ratio_high": ratios.bounds[1, s],
                "norm_ratio_rest": self.rest.norm_ratio[s],
                "relaxation_steps": self.rest.steps[s],
            }
            for s, (name, symmetry) in enumerate(zip(self.names, self.symmetries, strict=True))
        ]

    def _late(self, values: np.ndarray) -> np.ndarray:
        return values[..., self.path.late].mean(axis=(-2, -1))

    def _note(self) -> str:
        if np.isnan(self.path.learning_rate):
            return "The learning rate of this run is not known: give learning_rate= and batch_size=."
        if np.isnan(self.path.temperature):
            return NO_TEMPERATURE
        return self.path.note and f"The rate is {self.path.note}."


def short_name(symmetry: Symmetry) -> str:
    """Name a symmetry by its largest group on each side, ``"w1[:, 0] / w2[0, :]"``: weights rather than a bias.

    Of groups of one size that from the leaf with more axes is taken, which for a single input is the weight.
    """
    leaves = symmetry.loss.leaves

    def extent(group: Group) -> tuple[int, int]:
        return leaves[group.leaf][group.where].size, leaves[group.leaf].ndim

    sides = ([g for g in symmetry.groups if (g.exponent > 0) is positive] for positive in (True, False))
    return " / ".join(str(max(side, key=extent)) for side in sides if side)
