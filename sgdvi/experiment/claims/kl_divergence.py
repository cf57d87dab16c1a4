"""Section 4.4: how far SGD is from the posterior, in the parameters and on v."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from sgdvi._internal.style.palette import Theme, run_colors
from sgdvi.diagnostics.optimal import optimal_temperature
from sgdvi.experiment.claims import _paper
from sgdvi.experiment.claims._chains import diagonal, run_chains
from sgdvi.experiment.claims._claim import Measured, Run, Verdict, claim, verdict
from sgdvi.problem.network import LinearNetwork

WIDTHS = np.geomspace(1e-4, 1e-1, 7)


def strip_masses(network: LinearNetwork) -> np.ndarray:
    """Return the posterior mass of the strips |c| < e, c = u^2 - w^2, for priors N(0, 1).

    With s = u^2 + w^2 = sqrt(c^2 + 4 v^2) the prior has the density exp(-s/2)/s in (v, c), up to a constant.
    """
    m = network.moments
    sd = (2 * network.num_data * network.kappa * float(m.beta1)) ** -0.5
    v = float(m.minimizer) + sd * np.linspace(-8, 8, 1601)
    likelihood = np.exp(-((v - float(m.minimizer)) ** 2) / (2 * sd**2))
    c = np.concatenate([[0.0], np.geomspace(WIDTHS[0] / 100, 60.0, 2000)])
    size = np.hypot(c[:, None], 2 * v)
    density = (np.exp(-size / 2) / size) @ likelihood
    inside = np.concatenate([[0.0], np.cumsum(np.diff(c) * (density[1:] + density[:-1]) / 2)])
    return np.interp(WIDTHS, c, inside) / inside[-1]


def draw(axes: Sequence[Axes], curves: Mapping[str, Any], theme: Theme) -> None:
    """Draw the lower bound of the KL divergence in the parameters beside the KL on v."""
    (ax,) = axes
    ax.plot(curves["width"], curves["bound"], "o-", markersize=4, color=run_colors(theme)["SGD"],
            label="lower bound in (u, w)")  # fmt: skip
    ax.axhline(curves["kl"], color=theme.ink, linewidth=2.0, label="on v, exact laws")
    ax.set(xlabel="width of the strip abs(u² - w²)", ylabel="KL(SGD || posterior), nats", xscale="log", ylim=(0, None))
    ax.legend()


@claim(
    "T29",
    "KL to the posterior: infinite in the parameters, finite on v",
    paper="section 4.4",
    says="In the parameters the KL divergence of SGD from the posterior is infinite; what the two say of v can be "
    "compared.",
    setting="Depth 1, {rows} rows, x ~ N(0, 1), y = 0.8 x + N(0, 1), priors N(0, 1) on u and w; SGD at its best "
    "temperature, {chains} chains of {steps} steps from N(0, 1).",
    how="KL on v between the exact laws by quadrature. In (u, w): all draws of SGD lie in the strip |u^2 - w^2| < e, "
    "the posterior has mass P(e) there (an integral over v and c = u^2 - w^2), so KL is at least -log P(e).",
    criterion="KL on v finite. All chains inside the narrowest strip, 1e-4, and the bound grows by log 10 per decade "
    "of e within 20 % (the posterior has a density there, so P(e) is proportional to e): no bound holds for all e.",
    expected=Verdict.HOLDS,
    draw=draw,
    caption="Every width of the strip gives a lower bound of the KL in (u, w); it has no limit.",
)
def row(run: Run) -> Measured:
    """Bound the KL from below."""
    x, y = _paper.signal(run, _paper.SLOPE, 200)
    network = LinearNetwork(x, y)
    best = optimal_temperature(network)
    eta, chains, steps = network.flow_learning_rate(network.learning_rate(best.value, 1)), 100, 0
    steps = int(run.size(30, 15) / (eta**2 * 4 * float(network.moments.noise(network.moments.minimizer)))) // 20 * 20
    rng = run.rng(1)
    start = rng.standard_normal((2, 1, chains))
    step = diagonal(eta)  # without the prior's decay, which acts over 1/(eta gamma) steps
    ends = run_chains(step, start, (x, y), rng, steps, chains=chains, every=steps // 20)[-1]
    apart = float(np.abs(ends[0] ** 2 - ends[1] ** 2).max())
    bounds = -np.log(strip_masses(network))
    growth = float((bounds[0] - bounds[-1]) / np.log(WIDTHS[-1] / WIDTHS[0]))
    kl = float(best.divergences.forward)
    return Measured(
        verdict(np.isfinite(kl), apart < WIDTHS[0], abs(growth - 1) < 0.2),
        "On v KL is {kl:.3g} nats. In (u, w) all chains have |u^2 - w^2| below {apart:.0e}, and the bound is "
        "{wide:.1f} nats at e = 0.1 and {narrow:.1f} at 1e-4, {growth:.2f} times log 10 per decade.",
        {"kl": kl, "apart": apart, "wide": bounds[-1], "narrow": bounds[0], "growth": growth, "rows": len(x),
         "chains": chains, "steps": steps},
        {"width": WIDTHS, "bound": bounds, "kl": kl},
    )  # fmt: skip
