"""Figure 3 left and middle: densities of depth 0 and 1 at a low and at a high temperature."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from matplotlib.axes import Axes

from sgdvi._internal.style.palette import Theme, run_colors
from sgdvi.experiment.claims import _paper
from sgdvi.experiment.claims._claim import Measured, Run, Verdict, claim, verdict
from sgdvi.laws import SGDStationary
from sgdvi.laws.moments import Moments
from sgdvi.problem.loss import Loss
from sgdvi.samplers.driver.run import sample
from sgdvi.samplers.kernel import SGD

COLD, HOT, SLOPE, ROWS = 0.15, 1.5, 0.1, 500
CLOSE, ZERO = 0.05, 1e-6


def draws(run: Run, data: tuple[np.ndarray, np.ndarray], depth: int, rate: float, batch_size: int) -> np.ndarray:
    """Return v of SGD by the package's own sampler, two draws of each chain, far apart."""
    chains, gap = run.size(2000, 1000), 6000
    start = float(Moments.from_data(*data).minimizer)
    if depth == 0:
        loss = Loss(lambda p, batch: (p["v"] * batch[0] - batch[1]) ** 2, {"v": start})
    else:
        side = start**0.5
        loss = Loss(lambda p, batch: (p["u"] * p["w"] * batch[0] - batch[1]) ** 2, {"u": side, "w": side})
    sampler = SGD(loss, learning_rate=rate, batch_size=batch_size)
    tree = sample(sampler, data, key=jax.random.key(run.seed), num_steps=2 * gap, num_chains=chains, thinning=gap,
                  progress=False)  # fmt: skip
    posterior = tree["posterior"]
    values = [np.asarray(posterior[name].values, np.float64) for name in loss.names]
    return np.prod(values, axis=0).ravel()


def distance(v: np.ndarray, law: Any) -> float:
    """Return the Kolmogorov distance of draws from a law."""
    levels, steps = np.asarray(law.cdf(np.sort(v))), np.arange(len(v) + 1) / len(v)
    return float(max(np.abs(levels - steps[1:]).max(), np.abs(levels - steps[:-1]).max()))


def draw(axes: Sequence[Axes], curves: Mapping[str, Any], theme: Theme) -> None:
    """Draw the exact laws and histograms of SGD."""
    colors = run_colors(theme)
    for ax, name in zip(axes, ("depth 0", "depth 1"), strict=True):
        edges, heights = (np.asarray(part, float) for part in curves[name]["sgd"])
        ax.stairs(heights[:-1], edges, color=colors["SGD"], fill=True, alpha=0.35, label="SGD")
        if curves[name]["law"]:
            ax.plot(*curves[name]["law"], color=theme.ink, linewidth=2.0, label="exact law")
        ax.set(title=name, xlabel="v", ylabel="density", ylim=(0, None))
        ax.legend()


def curve(v: np.ndarray, law: Any) -> dict[str, Any]:
    """Return a histogram and the law's density, for the figure."""
    low, high = np.quantile(v, (0.002, 0.995))
    low, high = (low, high) if high - low > ZERO else (-0.05, 0.05)
    heights, edges = np.histogram(v, 40, (low, high), density=True)
    grid = np.linspace(low, high, 200)
    density = [] if law is None else [grid, np.exp(np.asarray(law.log_prob(grid)))]
    return {"sgd": [edges, np.append(heights, 0.0)], "law": density}


SETTING = (
    "{rows} rows, x in (0.5, 1, 1.5), y = 0.1 x + uniform noise of variance 1, a guess: the paper names no data; "
    "{draws} draws of the package's SGD, two of each chain, 6000 steps apart, from the least-squares slope"
)


@claim(
    "F3l",
    "Densities at a low temperature",
    paper="figure 3, left",
    says="At a low temperature SGD has the laws of depth 0 and 1, both around the least-squares slope.",
    setting=SETTING + "; T = 0.15 Tc, batches of 2.",
    how="Kolmogorov distance of the draws from `SGDStationary`.",
    criterion="Below 0.05 at both depths: the 1 % null is 0.036 for 2000 independent draws; finite steps add some 0.01 "
    "(eta = 0.03); a noise of another batch size is 0.08 away.",
    expected=Verdict.HOLDS,
    draw=draw,
    panels=2,
    caption="SGD and the exact laws at T = 0.15 Tc.",
)
def cold(run: Run) -> Measured:
    """Compare SGD with its laws."""
    data = _paper.bounded(run, SLOPE, ROWS)
    m = Moments.from_data(*data)
    heat = COLD * float(m.beta2 / m.alpha3)
    gaps, curves, count = [], {}, 0
    for depth in (0, 1):
        v, law = draws(run, data, depth, 2 * heat, 2), SGDStationary(m, heat, depth=depth)
        gaps.append(distance(v, law))
        curves[f"depth {depth}"], count = curve(v, law), len(v)
    return Measured(
        verdict(*(gap < CLOSE for gap in gaps)),
        "The distance is {zero:.3f} at depth 0 and {one:.3f} at depth 1.",
        {"zero": gaps[0], "one": gaps[1], "draws": count, "rows": ROWS},
        curves,
    )


@claim(
    "F3m",
    "Densities at a high temperature",
    paper="figure 3, middle",
    says="Above the critical temperature depth 1 has collapsed to zero while depth 0 only spreads.",
    setting=SETTING + "; T = 1.5 Tc, batches of 1.",
    how="Share of chains at depth 1 with |v| < 1e-6 after 12000 steps; the spread of depth 0 beside that of its law.",
    criterion="All chains of depth 1, so a share above 0.997 at 95 % (rule of three): log|u| has gone down by 0.02 "
    "per step with 0.4 sqrt(steps) of scatter. Of depth 0 less than 0.1 % of the draws.",
    expected=Verdict.HOLDS,
    draw=draw,
    panels=2,
    caption="SGD at T = 1.5 Tc: depth 1 is at zero.",
)
def hot(run: Run) -> Measured:
    """Count collapsed draws."""
    data = _paper.bounded(run, SLOPE, ROWS)
    m = Moments.from_data(*data)
    heat = HOT * float(m.beta2 / m.alpha3)
    flat, deep = (draws(run, data, depth, heat, 1) for depth in (0, 1))
    deep = deep.reshape(-1, 2)[:, 1]  # the later draw of each chain
    law = SGDStationary(m, heat, depth=0)
    share, none = float((np.abs(deep) < ZERO).mean()), float((np.abs(flat) < ZERO).mean())
    return Measured(
        verdict(share == 1, none < 0.001),
        "{share:.1%} of the chains of depth 1 are at zero, {none:.1%} of those of depth 0, whose sd is {sd:.2f} (its "
        "law: {law:.2f}).",
        {"share": share, "none": none, "sd": float(flat.std()), "law": float(law.variance) ** 0.5, "draws": len(deep),
         "rows": ROWS},
        {"depth 0": curve(flat, law), "depth 1": curve(deep, None)},
    )  # fmt: skip
