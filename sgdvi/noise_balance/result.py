"""What `sgdvi.balance` returns: a table per symmetry, findings, text, JSON and a figure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sgdvi._internal.check import require
from sgdvi._internal.files import AsJson, plain
from sgdvi.noise_balance.exponent import Collapse, collapse
from sgdvi.noise_balance.readings import Readings
from sgdvi.noise_balance.text import describe
from sgdvi.problem.loss import Loss

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SCHEMA_VERSION = 1


@dataclass(frozen=True, eq=False)
class Balance(Readings, AsJson):
    """How SGD moves along the scaling symmetries of a model; made by `balance`, and read off as `Readings`."""

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the trajectory itself as JSON types; infinities and nan as texts."""
        path, symmetries = self.path, self.symmetries
        return {
            "schema_version": SCHEMA_VERSION,
            "model": self.title,
            "run": {
                "chains": path.num_chains,
                "lost_chains": path.lost,
                "points": path.num_points,
                "steps": plain(path.steps.tolist()),
                "learning_rate": plain(path.learning_rate),
                "batch_size": path.batch_size,
                "temperature": plain(path.temperature),
                "note": path.note,
            },
            "parameters": self.num_parameters,
            "charges": self.num_charges,
            "effective_dimension": self.effective_dimension,
            "families": [family.size for family in symmetries.families],
            "broken": [dict(symmetry.exponents) for symmetry in symmetries.broken],
            "unused": list(symmetries.unused),
            "symmetries": [
                {**plain(row), "charge": plain(self.measured.charges[s].mean(axis=0).tolist())}
                for s, row in enumerate(self.table())
            ],
            "findings": [plain(asdict(finding)) for finding in self.findings],
        }

    def plot(self, axes: "Mapping[str, Axes] | None" = None) -> "Mapping[str, Axes]":
        """Draw charges over time, measured against predicted drift, and the two noise terms; see `plot_balance`."""
        from sgdvi.noise_balance.figure import plot_balance

        return plot_balance(self, axes=axes)

    def collapse(self, symmetry: int, **settings: Any) -> Collapse:
        """Test whether SGD collapses onto the dead neuron of a symmetry, at the rate and batch size of this run.

        Parameters
        ----------
        symmetry
            Its number; that of the smallest parts is where it is likely.
        settings
            Of `sgdvi.collapse`.

        Raises
        ------
        InputError
            As there, and for a run whose rate is not known.
        """
        require(self.path.learning_rate > 0 and self.path.batch_size, "the rate of the run must be known", "none")
        chosen = self.symmetries[symmetry]
        loss, last = chosen.loss, [leaf[0, -1] for leaf in self.path.leaves]
        given = {"learning_rate": self.path.learning_rate, "batch_size": self.path.batch_size, "where": chosen}
        own = Loss(loss.function, loss.restore(last))
        return collapse(own, loss.data, **{**given, **settings})

    def __str__(self) -> str:
        return describe(self)
