"""Figure 5 left: the tail of linear networks, as a run can see it."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from matplotlib.axes import Axes
from scipy.stats import norm

from sgdvi._internal.style.palette import Theme, run_colors
from sgdvi.experiment.claims._claim import ERRORS, Measured, Run, Verdict, claim
from sgdvi.experiment.claims.densities import distance
from sgdvi.laws import SGDStationary
from sgdvi.laws.moments import Moments
from sgdvi.problem.loss import Loss
from sgdvi.samplers.algorithms.flow import StochasticGradientFlow
from sgdvi.samplers.driver.run import sample

ROWS, CHAINS, LEVEL = 16, 512, 0.95
STEPS = (2e-3, 5e-4, 1.25e-4)  # refined until the run has its law
WARM, APART = 8.0, 1.0  # time before the first draw and between draws; the drift's is about 1
SHARE = 0.25  # T alpha1/beta1, which sets how heavy the tail is
NULL = 0.072  # 1 % null of the distance at 512 draws


def flow(run: Run, m: Moments, data: Any, heat: float, depth: int, step: float, draws: int) -> np.ndarray:
    """Return v of the package's stochastic gradient flow, (chains, draws)."""
    size = float(m.minimizer) ** (1 / (depth + 1))
    names = [f"u{k}" for k in range(depth + 1)]

    def loss(p: Any, batch: Any) -> Any:
        product = p[names[0]]
        for name in names[1:]:
            product = product * p[name]
        return (product * batch[0] - batch[1]) ** 2

    sampler = StochasticGradientFlow(Loss(loss, dict.fromkeys(names, size)), heat, step)
    posterior = sample(sampler, data, key=jax.random.key(run.seed), num_warmup=round(WARM / step),
                   num_steps=draws * round(APART / step), thinning=round(APART / step), num_chains=CHAINS,
                   progress=False)["posterior"]  # fmt: skip
    return np.prod([np.asarray(posterior[name].values, np.float64) for name in names], axis=0)


def hill(v: np.ndarray, edge: float) -> float:
    """Return Hill's estimate of the density's exponent above `edge`."""
    return float(1 + 1 / np.log(v[v > edge] / edge).mean())


def judge(seen: float, error: float, own: float, end: float) -> Verdict:
    """Return the verdict on an exponent that was seen, by that of the law above the same quantile and its asymptote."""
    near_law, near_end = (abs(seen - value) < ERRORS * error for value in (own, end))
    if near_law and near_end:
        return Verdict.UNKNOWN
    return Verdict.CORRECTED if near_law else Verdict.HOLDS if near_end else Verdict.FAILS


def draw(axes: Sequence[Axes], curves: Mapping[str, Any], theme: Theme) -> None:
    """Draw the tail of the distribution function, of the run and of the law."""
    (ax,), color = axes, run_colors(theme)["SGD"]
    ax.plot(*curves["seen"], "o", markersize=3, color=color, label="flow")
    ax.plot(*curves["law"], color=theme.ink, linewidth=2.0, label="exact law")
    ax.plot(*curves["power"], "--", color=theme.muted, label="v^(-5/2), the asymptote")
    ax.set(xlabel="v", ylabel="P(V > v)", xscale="log", yscale="log")
    ax.legend()


@claim(
    "F5l",
    "The tail in an experiment",
    paper="figure 5, left",
    says="The tails of linear networks have the exponents 7/2 to 5, in agreement with the experiment.",
    setting="{rows} rows, x at the quantiles of N(0, 1), y = x/2 + N(0, 0.25); T = 0.25 beta1/alpha1; depth "
    "{depths}; the package's flow, {chains} chains, {draws} draws each a time of 1 apart after 8, with the step "
    "refined until the last draws are within the 1 % null of the law.",
    how="Hill's exponent above the law's 95 % quantile against that of the law itself above it; standard errors by "
    "bootstrap over chains.",
    criterion=f"Holds with a correction if the run is within {ERRORS:g} standard errors of the law's own value and "
    "farther than that from the asymptote 5 - 3/(D+1): the law reaches it beyond every quantile that a run of "
    "minutes sees. Holds if only the asymptote is near, cannot tell if both are. SGD on minibatches cannot show it: "
    "T <= eta ties the tail to the step.",
    expected=Verdict.CORRECTED,
    draw=draw,
    caption="Tail of v at depth 1: the flow has its law's tail; the asymptotic power sets in farther out.",
)
def row(run: Run) -> Measured:
    """Estimate the exponent of the flow and of its law."""
    rng = run.rng()
    x = norm.ppf((np.arange(ROWS) + 0.5) / ROWS)
    y = 0.5 * x + 0.5 * rng.standard_normal(ROWS)
    m = Moments.from_data(x, y)
    heat, draws = SHARE * float(m.beta1 / m.alpha1), run.size(60, 24)
    values: dict[str, Any] = {"rows": ROWS, "chains": CHAINS, "draws": draws}
    verdicts, curves = [], {}
    depths = (1,) if run.quick else (1, 2)
    for depth in depths:
        law = SGDStationary(m, heat, depth=depth)
        edge = float(law.icdf(LEVEL))
        for step in STEPS:
            v = flow(run, m, (x, y), heat, depth, step, draws)
            if (gap := distance(v[:, -1], law)) < NULL:
                break
        own = hill(np.asarray(law.icdf(1 - (1 - LEVEL) * (np.arange(20_000) + 0.5) / 20_000)), edge)
        seen = hill(v, edge)
        picks = rng.integers(CHAINS, size=(200, CHAINS))
        error = float(np.std([hill(v[pick], edge) for pick in picks]))
        end = 5 - 3 / (depth + 1)
        verdicts.append(judge(seen, error, own, end) if gap < NULL else Verdict.UNKNOWN)
        values |= {f"seen{depth}": seen, f"error{depth}": error, f"own{depth}": own, f"end{depth}": end,
                   f"step{depth}": step, f"gap{depth}": gap}  # fmt: skip
        if depth == 1:
            tail = np.quantile(v, 1 - np.geomspace(0.3, 3e-4, 30))
            places = np.geomspace(tail[0], 4 * tail[-1], 80)
            beyond = np.exp(np.asarray(law.log_survival(places)))
            curves = {"seen": [tail, np.geomspace(0.3, 3e-4, 30)], "law": [places, beyond],
                      "power": [places, beyond[-1] * (places / places[-1]) ** (1 - end)]}  # fmt: skip
    texts = [
        f"Depth {d}: {{seen{d}:.2f}} ± {{error{d}:.2f}}, the law {{own{d}:.2f}}, the asymptote {{end{d}:g}} (step "
        f"{{step{d}:g}}, distance to the law {{gap{d}:.3f}})."
        for d in depths
    ]
    worst = next((one for one in (Verdict.FAILS, Verdict.UNKNOWN, Verdict.CORRECTED) if one in verdicts), Verdict.HOLDS)
    return Measured(worst, " ".join(texts), {**values, "depths": " and ".join(map(str, depths))}, curves)
