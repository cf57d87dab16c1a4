"""Beyond the paper: the law of the steps of SGD, at every depth."""

import numpy as np

from sgdvi.experiment.claims._claim import Measured, Run, Verdict, claim, verdict
from sgdvi.laws import SGDStationary, discrete_law
from sgdvi.laws.moments import Moments

DEPTHS, RATE, WIDTH, ROWS, LEVEL = (0, 1, 2, 3), 0.06, 2, 32, 1.95


@claim(
    "B7",
    "Law of the steps at every depth",
    paper="beyond it",
    says="The law of SGD with its finite steps is known at every depth and width; that of the flow is off by the more "
    "the deeper the network.",
    setting="{rows} rows, x in (-1.5, 1.5), y = x + N(0, 0.5^2); width 2, batches of 1, eta = 0.06; {chains} chains of "
    "{steps} steps from balanced factors, depths 0 to 3.",
    how="Kolmogorov distance of the chains to `discrete_law`, and to the law of the flow.",
    criterion="Below 1.95/sqrt(chains), by chance once in a thousand runs, for the law of the steps; above 1.5 times "
    "that for the flow's from depth 1 on.",
    expected=Verdict.HOLDS,
)
def row(run: Run) -> Measured:
    """Run chains at each depth and compare with both laws."""
    rng, chains, steps = run.rng(), run.size(200_000, 20_000), 250
    x = -1.5 + 3 * (np.arange(ROWS) + 0.5) / ROWS
    y = x + 0.5 * rng.standard_normal(ROWS)
    m, chance, gaps, flows = Moments.from_data(x, y), LEVEL / np.sqrt(chains), [], []
    for depth in DEPTHS:
        draws = np.sort(_chains(x, y, depth, chains, steps, run.rng(1 + depth)))
        law = discrete_law(x, y, RATE, depth=depth, width=WIDTH)
        gaps.append(_distance(np.asarray(law.cdf(draws))))
        flows.append(_distance(np.asarray(SGDStationary(m, RATE, depth=depth, width=WIDTH).cdf(draws))))
    return Measured(
        verdict(max(gaps) < chance, min(flows[1:]) > 1.5 * chance),
        "Distances to the law of the steps up to {most:.4f}, by chance up to {chance:.4f}; to that of the flow "
        "{flow0:.3f}, {flow1:.3f}, {flow2:.3f}, {flow3:.3f} at depths 0 to 3.",
        {"most": max(gaps), "chance": chance, **{f"flow{k}": gap for k, gap in enumerate(flows)}, "rows": ROWS,
         "chains": chains, "steps": steps},
    )  # fmt: skip


def _chains(x: np.ndarray, y: np.ndarray, depth: int, chains: int, steps: int, rng: np.random.Generator) -> np.ndarray:
    """v after so many steps: all factors of one size stay so."""
    v = np.full(chains, float(x @ y / (x @ x)))
    for _ in range(steps):
        chosen = rng.integers(ROWS, size=chains)
        pull = 2 * RATE * x[chosen] * (v * x[chosen] - y[chosen])
        factor = 1 - pull * (np.abs(v) / WIDTH) ** ((depth - 1) / (depth + 1)) * np.sign(v) if depth else 1.0
        v = v * factor ** (depth + 1) if depth else v - WIDTH * pull
    return v


def _distance(levels: np.ndarray) -> float:
    ranks = np.arange(len(levels) + 1) / len(levels)
    return float(max((levels - ranks[:-1]).max(), (ranks[1:] - levels).max()))
