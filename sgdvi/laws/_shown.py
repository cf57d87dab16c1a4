"""What a law says of itself in a shell and in a notebook: parameters, mean, sd, tail, phase and a small picture."""

from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from sgdvi._internal.card import card
from sgdvi._internal.check import InputError
from sgdvi._internal.text import number
from sgdvi._internal.types import Values
from sgdvi.laws._engine import xp
from sgdvi.laws._engine.arrays import in_float64
from sgdvi.laws.moments import Moments
from sgdvi.laws.phases import critical_temperature, phase

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# In this order, where a law has them; 0 and 1 say nothing of those in _QUIET.
_PARAMETERS = (
    *("status", "temperature", "depth", "width", "weight_decay", "batch_size", "ratio", "num_factors", "scale"),
    *("sign", "zero_mass", "point_mass", "error_estimate"),
)
_QUIET = {"weight_decay": 0, "zero_mass": 0, "point_mass": 0, "sign": 1, "width": 1}


class Shown:
    """Standard deviation, picture and short texts of a law with ``mean`` and ``variance``."""

    @property
    def std(self) -> Values:
        """Standard deviation of v."""
        with in_float64():
            return xp.sqrt(self.variance)  # type: ignore[attr-defined]

    def plot(self, kind: str = "density", *, ax: "Axes | None" = None) -> "Axes":
        """Draw the law: its "density", "cdf" or "tail", on ``ax`` or a new figure. See `sgdvi.plots.plot_law`."""
        from sgdvi._internal.style.law_figure import plot_law

        return plot_law(self, kind, ax=ax)

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={text}" for name, text in self._parameters_shown().items())
        facts = ", ".join(f"{name} {text}" for name, text in self._facts().items())
        return f"{type(self).__name__}({given})" + (f": {facts}" if facts else "")

    def _repr_html_(self) -> str:
        facts = self._facts()
        return card(type(self).__name__, {**self._parameters_shown(), **facts}, figure=self._picture(facts))

    def _parameters_shown(self) -> dict[str, str]:
        given = {name: getattr(self, name) for name in _PARAMETERS if hasattr(self, name)}
        return {name: _short(value) for name, value in given.items() if not _says_nothing(name, value)}

    def _facts(self) -> dict[str, str]:
        """Numbers of one law with concrete parameters; nothing where there is none."""
        shape = self.batch_shape  # type: ignore[attr-defined]
        if shape != ():
            return {"batch shape": str(shape)}
        # an exact posterior is no pytree: it is its own only leaf
        if not all(leaf is self or _is_number(leaf) for leaf in jax.tree.leaves(self)):
            return {}
        try:
            facts = {"mean": _short(self.mean), "sd": _short(self.std)}  # type: ignore[attr-defined]
        except InputError:  # discrete SGD that has no law says so in its status
            return {}
        if hasattr(self, "tail_exponent") and facts["sd"] != "0":
            exponent = float(self.tail_exponent)
            facts["tail"] = f"|v|^-{exponent:.3g}" if np.isfinite(exponent) else "no power law"
        moments = getattr(self, "moments", None)
        if isinstance(moments, Moments) and getattr(self, "depth", None) == 1:
            heat, decay = float(self.temperature), float(self.weight_decay)  # type: ignore[attr-defined]
            facts["phase"] = str(phase(moments, heat, 1, decay))
            facts["Tc"] = _short(critical_temperature(moments, 1, decay))
        return facts

    def _picture(self, facts: dict[str, str]) -> "Figure | None":
        from sgdvi._internal.style.law_figure import small_law_figure

        if "mean" not in facts:
            return None
        try:
            return small_law_figure(self)
        except NotImplementedError:  # no quantiles, so no window to draw on
            return None


def _is_number(leaf: Any) -> bool:
    return isinstance(leaf, int | float | np.ndarray | np.generic | jax.Array) and not isinstance(leaf, jax.core.Tracer)


def _says_nothing(name: str, value: Any) -> bool:
    return name in _QUIET and _is_number(value) and np.ndim(value) == 0 and float(value) == _QUIET[name]


def _short(value: Any) -> str:
    """A number in few digits; the range of many; what it is where it has no value yet."""
    if isinstance(value, str):
        return repr(value)
    if not _is_number(value):
        return "traced" if isinstance(value, jax.core.Tracer) else type(value).__name__
    values = np.asarray(value)
    low, high = float(values.min()), float(values.max())
    return number(low, 4) if low == high or np.isnan(low) else f"{number(low, 4)} to {number(high, 4)}"
