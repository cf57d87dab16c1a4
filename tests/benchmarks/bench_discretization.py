"""Flow, second order, discrete law and SGD at depths 0 to 5: ``python tests/benchmarks/bench_discretization.py``.

Prints the Kolmogorov distance of each law to draws of SGD itself, and draws the distance of the discrete law from the
flow against the learning rate: docs/laws.md has both. A few minutes on one core.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.ticker import NullFormatter

from sgdvi import Moments, SecondOrderLaw, SGDStationary, discrete_law
from sgdvi._internal.style.canvas import COLORS, canvas, legend_above, save_figure

sys.path.insert(0, str(Path(__file__).parents[1]))
CHAINS, DEPTHS = 100_000, range(6)
PALETTE = list(COLORS.values())
RATES = np.array([0.004, 0.01, 0.025, 0.06])


def table(rate: float) -> None:
    """Print the distances at one learning rate, S = 1."""
    from balanced_chains import kolmogorov, rows_on_a_grid, simulate

    data = rows_on_a_grid(rows=32)
    moments, chance = Moments.from_data(*data), 1.36 / np.sqrt(CHAINS)
    print(f"\neta = {rate}, S = 1, {CHAINS} draws (by chance below {chance:.4f})\n")
    print("| depth | flow | second order | discrete law | mean of SGD, flow, discrete |")
    print("|---|---|---|---|---|")
    for depth in DEPTHS:
        law, flow = discrete_law(*data, rate, depth=depth), SGDStationary(moments, rate, depth=depth)
        draws = simulate(*data, rate, depth=depth, chains=CHAINS, steps=int(8 / rate), seed=depth)
        second = "no law known"
        if depth == 1:
            second = f"{kolmogorov(SecondOrderLaw(moments, rate, batch_size=1).cdf, draws):.4f}"
        means = f"{draws.mean():.4f}, {float(flow.mean):.4f}, {law.mean:.4f}"
        gap = kolmogorov(law.cdf, draws)
        print(f"| {depth} | {kolmogorov(flow.cdf, draws):.4f} | {second} | {gap:.4f} | {means} |", flush=True)


def figure(path: str) -> None:
    """Draw the distance of the discrete law from the flow's against the learning rate."""
    from balanced_chains import rows_on_a_grid

    data = rows_on_a_grid(rows=32)
    moments = Moments.from_data(*data)
    with canvas(None) as axes:
        for depth in DEPTHS:
            gaps = []
            for rate in RATES:
                law = discrete_law(*data, float(rate), depth=depth, tolerance=1e-3)
                there = law.table is not None
                gaps.append(law.distance_to(SGDStationary(moments, float(rate), depth=depth)) if there else np.nan)
            axes.plot(RATES, gaps, "o-", markersize=4, color=PALETTE[depth], label=f"depth {depth}")
        axes.plot(RATES, 1.5 * gaps[0] * RATES / RATES[0], ":", color="0.5", label="first order")
        axes.set(xscale="log", yscale="log", xlabel="learning rate, S = 1")
        axes.set(ylabel="Kolmogorov distance, SGD from flow")
        axes.xaxis.set_minor_formatter(NullFormatter())
        legend_above(axes)
    save_figure(axes.figure, path)


if __name__ == "__main__":
    figure(sys.argv[1] if len(sys.argv) > 1 else "docs/_static/discretization.png")
    for value in (0.02, 0.05):
        table(value)
