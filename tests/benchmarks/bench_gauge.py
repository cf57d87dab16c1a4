"""P(v < 0) under gauge noise, by step size: ``python tests/benchmarks/bench_gauge.py``, some minutes.

The line of ``tests/samplers/test_gauge.py`` at eta/S = 0.0125. Prints the law of the averaged flow, the Markov chain of
v alone at several steps, with noise as minibatches have it and with normal noise of the same variance (which allows a
fractional batch size), draws of `GaugeNoise`, and the posterior. Errors are standard errors over blocks of time, or
over chains.
"""

import sys
from pathlib import Path

import jax
import numpy as np
from scipy.integrate import trapezoid
from scipy.special import k0e

import sgdvi

sys.path.insert(0, str(Path(__file__).parents[1] / "samplers"))
ROWS = ((0.003, True), (0.0125, True), (0.0125, False), (0.05, False))
CHAINS, DRAWS, THINNING = 256, 80, 50


def main() -> None:
    from test_gauge import RATE, SIZE, X, Y, law_of_the_flow, sampler_of, shares_below_zero

    problem = sgdvi.linear_problem("line", X, Y, depth=1, noise_sd=1.0, prior_sd=1.0)
    v, cdf = law_of_the_flow(problem)
    print(f"{f'law of v at eta/S = {RATE / SIZE}':<47}P(v < 0)")
    print(f"{'averaged flow':<46} {np.interp(0.0, v, cdf):.5f}", flush=True)
    for rate, normal in ROWS:
        size = SIZE * rate / RATE
        blocks = shares_below_zero(rate, size, normal=normal)
        name = f"the chain, {'normal noise' if normal else 'minibatches'}, eta = {rate}, S = {size:g}"
        print(f"{name:<46} {blocks.mean():.5f} \u00b1 {blocks.std(ddof=1) / np.sqrt(len(blocks)):.5f}", flush=True)
    with jax.enable_x64(True):
        tree = sgdvi.sample(
            sampler_of(problem, sgdvi.model_symmetries(problem.model, problem.data)), problem.data,
            key=jax.random.key(2), num_steps=DRAWS * THINNING, num_warmup=600, num_chains=CHAINS, thinning=THINNING,
            progress=False,
        )  # fmt: skip
    share = (np.asarray(tree["posterior"]["u"] * tree["posterior"]["w"]) < 0).mean(axis=1)
    name = f"GaugeNoise, eta = {RATE}, S = {SIZE}, {CHAINS * DRAWS} draws"
    print(f"{name:<46} {share.mean():.5f} \u00b1 {share.std(ddof=1) / np.sqrt(CHAINS):.5f}")
    grid = np.linspace(-2, 3, 200_000)
    fit = -0.5 * ((Y[:, None] - X[:, None] * grid) ** 2).sum(0)
    density = np.exp(fit - fit.max() - np.abs(grid)) * k0e(np.abs(grid))
    print(f"{'the posterior':<46} {trapezoid(density * (grid < 0)) / trapezoid(density):.5f}")


if __name__ == "__main__":
    main()
