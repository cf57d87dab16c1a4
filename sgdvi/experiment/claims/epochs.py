"""Beyond the paper: reshuffled epochs have no temperature, and balance all the same."""

import numpy as np

from sgdvi.experiment.claims._claim import ERRORS, Measured, Run, Verdict, claim, verdict
from sgdvi.laws.epochs import epoch_law
from sgdvi.laws.near_minimum import NearMinimum

ROWS, RATE, SHARE = 64, 0.02, 0.02


@claim(
    "B2",
    "Reshuffled epochs",
    paper="beyond it",
    says="Over reshuffled epochs the noise of SGD adds up to almost nothing: the variance is smaller, most of "
    "all at the "
    "ends of epochs, and predicted; the law of balance does not see it.",
    setting="{rows} rows, x ~ N(0, 1), y = x + N(0, 1), batches of 1, eta = 0.02; {chains} chains of v x, {epochs} "
    "epochs; of u w x from u^2 - w^2 = 1.5, {balanced} epochs, and as many steps with replacement.",
    how="Variance at the ends of epochs and over all steps over `epoch_law`, and the same over that with replacement; "
    "log |u^2 - w^2| per step of epochs over that with replacement.",
    criterion=f"Both variances within {ERRORS:g} standard errors and 2 % of the law, and below 0.9 of that with "
    "replacement; the rates of balance within a tenth of each other.",
    expected=Verdict.HOLDS,
)
def row(run: Run) -> Measured:
    """Run epochs on regression and on a network of two factors."""
    rng, chains = run.rng(), run.size(30_000, 3_000)
    x = rng.standard_normal(ROWS)
    y = x + rng.standard_normal(ROWS)
    best = float(x @ y / (x @ x))
    hessians, slopes = 2 * x[:, None, None] ** 2, 2 * x[:, None] * (best * x - y)[:, None]
    near = NearMinimum(hessians.mean(0), slopes.T @ slopes / ROWS, ROWS, hessians)
    law = epoch_law(near, np.array([[RATE]]), 1, slopes, hessians)
    assert law is not None
    epochs, order = 12, np.tile(np.arange(ROWS), (chains, 1))
    draw, v = run.rng(1), np.full(chains, best)
    for _ in range(epochs):
        order, path = draw.permuted(order, axis=1), np.empty((ROWS, chains))
        for place, chosen in enumerate(order.T):
            v = v - RATE * 2 * x[chosen] * (v * x[chosen] - y[chosen])
            path[place] = v
    error = np.sqrt(2 / chains)
    ends, steps = v.var() / law.ends[0, 0], ((path - path.mean()) ** 2).mean() / law.steps[0, 0]
    smaller = law.ratios[0][0], law.ratios[1][0]
    balanced = run.size(400, 60)
    rates = [_balance(x, y, way, chains // 10, balanced, run.rng(2)) for way in (True, False)]
    close = [abs(ratio - 1) < ERRORS * error + SHARE for ratio in (ends, steps)]
    return Measured(
        verdict(*close, max(smaller) < 0.9, abs(rates[0] / rates[1] - 1) < 0.1),
        "Variance at the ends {ends:.3f} of the predicted one, over all steps {steps:.3f}, errors {error:.3f}; with "
        "replacement it is {end_times:.1f} and {step_times:.1f} times larger. Per step log |u^2 - w^2| falls by "
        "{shuffled:.2e} over epochs and {replaced:.2e} with replacement.",
        {"ends": ends, "steps": steps, "error": error, "end_times": 1 / smaller[0], "step_times": 1 / smaller[1],
         "shuffled": -rates[0], "replaced": -rates[1], "rows": ROWS, "chains": chains, "epochs": epochs,
         "balanced": balanced},
    )  # fmt: skip


def _balance(x: np.ndarray, y: np.ndarray, shuffled: bool, chains: int, epochs: int, rng: np.random.Generator) -> float:
    """Mean change of log |u^2 - w^2| per step, the first half left out."""
    best = float(x @ y / (x @ x))
    # u w = best, u^2 - w^2 = 1.5
    u = np.full(chains, np.sqrt(0.75 + np.hypot(0.75, best)))
    w, order, middle = best / u, np.tile(np.arange(ROWS), (chains, 1)), 0.0
    for epoch in range(epochs):
        order = rng.permuted(order, axis=1) if shuffled else rng.integers(ROWS, size=order.shape)
        for chosen in order.T:
            pull = RATE * 2 * x[chosen] * (u * w * x[chosen] - y[chosen])
            u, w = u - pull * w, w - pull * u
        if epoch == epochs // 2 - 1:
            middle = float(np.log(np.abs(u**2 - w**2)).mean())
    return (float(np.log(np.abs(u**2 - w**2)).mean()) - middle) / (ROWS * (epochs - epochs // 2))
