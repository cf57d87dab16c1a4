"""Every law that SGD can have near a mode, beside Laplace posterior and sandwich, and which is the right one."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sgdvi._internal.batches import noise_share
from sgdvi._internal.check import InputError, message
from sgdvi._internal.text import number, table
from sgdvi.laws.epochs import epoch_law
from sgdvi.laws.momentum import PLAIN, Momentum
from sgdvi.laws.near_minimum import NearMinimum
from sgdvi.samplers.recipes import FLAVOURS, Recipe, make_recipe

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Of the noise over the curvature: within these the information equality holds as far as a forecast goes.
_EQUAL = (0.8, 1.25)
# What a right model scatters over, half as much again: few of a thousand right models are called wrong.
_SCATTERS, _LARGEST_SHARE = 1.5, 0.1
_TITLES = {
    "scaled": "one rate per parameter",
    "whitened": "whitened SGD",
    "mandt": "Mandt's matrix",
    "completed": "completed SGD",
    "sgld": "SGLD, preconditioned",
}


@dataclass(frozen=True, eq=False)
class PredictedLaw:
    """A law near a mode.

    Attributes
    ----------
    name
        What has it.
    covariance
        (D, D), in the coordinates of the mode.
    relaxation
        Steps in which the slowest direction forgets all but 1/e; nan where nothing steps.
    kl
        KL divergence of N(0, covariance) from the Laplace posterior, in nats.
    learning_rate, batch_size
        What it is run with; nan and 0 where nothing steps.
    """

    name: str
    covariance: np.ndarray
    relaxation: float
    kl: float
    learning_rate: float = float("nan")
    batch_size: int = 0

    @property
    def sd(self) -> np.ndarray:
        """Standard deviations, (D,)."""
        return np.sqrt(np.diag(self.covariance))


@dataclass(frozen=True, eq=False)
class PredictedLaws:
    """All laws of SGD near one mode: print them, ``laws["SGD"]``, ``laws.plot()``.

    Attributes
    ----------
    laws
        The Laplace posterior and the sandwich first.
    missing
        Name -> why it has no law.
    information
        Least and largest noise of the gradients over the curvature: 1 where the model is well specified.
    """

    laws: tuple[PredictedLaw, ...]
    missing: dict[str, str]
    information: tuple[float, float]

    def __getitem__(self, name: str) -> PredictedLaw:
        for law in self.laws:
            if law.name == name:
                return law
        names = ", ".join(law.name for law in self.laws)
        raise InputError(message(f"the name of a law is one of {names}", repr(name), self.missing.get(name, "")))

    @property
    def which(self) -> str:
        """Which of posterior and sandwich is the right one, in words."""
        return which_is_right(self.information)

    def plot(self, axes: "Axes | None" = None) -> "Axes":
        """Draw the standard deviations of every law over the posterior's: their range over the parameters."""
        from sgdvi._internal.style.canvas import canvas
        from sgdvi._internal.style.palette import LIGHT

        with canvas(axes, (6.4, 0.9 + 0.32 * len(self.laws))) as made:
            places = np.arange(len(self.laws))
            ends = np.array([self._ratios(law) for law in self.laws])
            made.axvline(1, color=LIGHT.ink, linewidth=1.2)
            made.hlines(places, ends[:, 0], ends[:, 1], color="#0072b2", linewidth=4)
            made.plot(ends, places, "|", color="#0072b2", markersize=9)
            made.set(yticks=places, yticklabels=[law.name for law in self.laws], ylim=(len(self.laws) - 0.5, -0.5))
            made.set(xscale="log", xlabel="sd over the posterior's,\nfrom the least to the largest of the parameters")
        return made

    def _ratios(self, law: PredictedLaw) -> tuple[float, float]:
        ratios = law.sd / self.laws[0].sd
        return float(ratios.min()), float(ratios.max())

    def __str__(self) -> str:
        rows = [["law near the mode", "batch", "rate", "sd over the posterior's", "KL, nats", "steps to forget"]]
        for law in self.laws:
            low, high = self._ratios(law)
            steps = "" if np.isnan(law.relaxation) else number(law.relaxation, 2)
            rate = "" if np.isnan(law.learning_rate) else number(law.learning_rate)
            rows.append([law.name, str(law.batch_size or ""), rate, f"{low:.3g} to {high:.3g}", number(law.kl), steps])
        lines = table(rows, left=0)
        width = max(len(row[0]) for row in rows)
        lines = [row[0].ljust(width) + line[width:] for row, line in zip(rows, lines, strict=True)]
        return "\n".join([*lines, *(f"{name}: {why}" for name, why in self.missing.items()), "", self.which])


def well_specified(information: tuple[float, float], share: float = 0.0) -> bool:
    r"""Return whether the information equality C = H holds, as far as a forecast goes: eigenvalues of 0.8 to 1.25.

    Of a right model they scatter over :math:`(1 \pm \sqrt{D/N})^2` (Marchenko and Pastur 1967), where that is more.

    Parameters
    ----------
    information
        Least and largest eigenvalue.
    share
        Parameters per row, D / N; above a tenth nothing is said of it.
    """
    scatter = _SCATTERS * min(share, _LARGEST_SHARE) ** 0.5
    low, high = min(_EQUAL[0], (1 - scatter) ** 2), max(_EQUAL[1], (1 + scatter) ** 2)
    return low <= information[0] and information[1] <= high


def which_is_right(information: tuple[float, float]) -> str:
    """Say which of posterior and sandwich is right, from the noise of the gradients over the curvature.

    Under misspecification the posterior is still what the model and Bayes' rule say; its intervals do not cover the
    parameters that fit best, the sandwich's do (Huber 1967; Kleijn and van der Vaart 2012).
    """
    low, high = information
    known = f"The rows' gradients vary {low:.2g} to {high:.2g} times as much as the model says"
    if well_specified(information):
        return f"{known}: about 1, so that posterior and sandwich are one law, and the right one."
    if high <= _EQUAL[1]:
        return (
            f"{known}: less where the prior holds a direction that the rows do not, or the likelihood is wider than "
            "the data. The posterior N(mode, H^-1/N) is what the model says, and errs on the wide side; the sandwich "
            "H^-1 C H^-1/N is how far the mode moves from data set to data set, without what the prior leaves open. "
            "SGD at a constant rate is neither: for the posterior take completed SGD, for the sandwich averages over "
            "an epoch."
        )
    return (
        f"{known}, not once: the model is misspecified, or the data are few. The posterior N(mode, H^-1/N) is what the "
        "model's likelihood says of its parameters; the sandwich H^-1 C H^-1/N is how far the mode moves from data set "
        "to data set, and its intervals are the ones that cover the best-fitting parameters. SGD at a constant rate is "
        "neither: for the posterior take completed SGD, for the sandwich averages over an epoch."
    )


def predicted_laws(
    near: NearMinimum,
    gradients: np.ndarray | None = None,
    hessians: np.ndarray | None = None,
    *,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    momentum: float = 0.9,
) -> PredictedLaws:
    """Return the laws near a mode of every way to run SGD; see `LocalQuadratic.predicted`."""
    plain = make_recipe("plain", near, learning_rate=learning_rate, batch_size=batch_size)
    laws = list(_of_plain(near, plain, momentum, gradients, hessians))
    for flavour in FLAVOURS[1:]:
        recipe = make_recipe(flavour, near, batch_size=batch_size)
        laws.append((_TITLES[flavour], _covariance(near, recipe), recipe, PLAIN))
    low, high = near.information[0], near.information[-1]
    return PredictedLaws(
        (
            PredictedLaw("Laplace posterior", near.laplace, float("nan"), 0.0),
            PredictedLaw("sandwich", near.sandwich, float("nan"), near.divergence(near.sandwich)),
            *(_law(near, name, law, recipe, memory) for name, law, recipe, memory in laws if law is not None),
        ),
        {name: "the variance grows from step to step" for name, covariance, *_ in laws if covariance is None},
        (float(low), float(high)),
    )


_Law = tuple[str, np.ndarray | None, Recipe, Momentum]


def _of_plain(
    near: NearMinimum, plain: Recipe, mu: float, gradients: np.ndarray | None, hessians: np.ndarray | None
) -> Iterator[_Law]:
    size, count, step = plain.batch_size, near.num_data, plain.step
    share = 1 / size
    yield "SGD", near.covariance(step, share), plain, PLAIN
    if size < count:
        without = near.covariance(step, noise_share(count, size, replace=False))
        yield "SGD, without replacement", without, plain, PLAIN
        epochs = epoch_law(near, step, size, gradients, hessians)
        for name, part in (("SGD, reshuffled, all steps", "steps"), ("SGD, reshuffled, ends of epochs", "ends")):
            yield name, None if epochs is None else getattr(epochs, part), plain, PLAIN
    # the same temperature: the rate is eta (1 - mu)
    for memory in (Momentum(mu), Momentum(mu, nesterov=True)):
        name = f"{'Nesterov' if memory.nesterov else 'momentum'} {mu:g}, same temperature"
        yield name, near.covariance((1 - mu) * step, share, memory=memory), plain, memory
    yield "SGD, averages over an epoch", near.average(step, share, max(1, count // size)), plain, PLAIN


def _covariance(near: NearMinimum, recipe: Recipe) -> np.ndarray | None:
    share = recipe.batching.noise_share(near.num_data, recipe.batch_size)
    return near.covariance(recipe.step, share or 0.0, recipe.injected, recipe.memory)


def _law(near: NearMinimum, name: str, covariance: np.ndarray, recipe: Recipe, memory: Momentum) -> PredictedLaw:
    factor = 1 - memory.mu
    relaxation = 1 / near.slowest(factor * recipe.step, memory)
    rate = factor * recipe.learning_rate
    return PredictedLaw(name, covariance, relaxation, near.divergence(covariance), rate, recipe.batch_size)
