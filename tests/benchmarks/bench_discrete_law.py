"""The exact law of discrete SGD beside 1e7 draws of the chain: ``python tests/benchmarks/bench_discrete_law.py``.

Takes about 10 minutes on one core. Chains are independent, but for the case nearest the threshold, where each gives 20
draws one relaxation time apart; the level of chance is that of as many independent draws.
"""

import sys
import time
from pathlib import Path

import numpy as np
import scipy.stats

from sgdvi import Moments, SGDStationary, discrete_law, discrete_threshold

sys.path.insert(0, str(Path(__file__).parents[1]))
DRAWS = 10_000_000


def gaussian(slope, rows, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=rows)
    return x, slope * x + rng.normal(size=rows)


def population(slope, count):
    """x and the noise as a product grid of normal quantiles: count^2 rows."""
    z = scipy.stats.norm.ppf((np.arange(count) + 0.5) / count)
    x, noise = np.meshgrid(z, z)
    return x.ravel(), (slope * x + noise).ravel()


def cases():
    """Yield name, data, rate, batch size, decay, steps of warmup, draws per chain, and steps between them."""
    data, weak = gaussian(1.0, 200, 0), gaussian(0.1, 1000, 3)
    threshold = discrete_threshold(*weak).lower
    yield "N = 200, S = 1, eta = 0.01", data, 0.01, 1, 0.0, 500, 1, 0
    yield "N = 200, S = 1, eta = 0.03", data, 0.03, 1, 0.0, 200, 1, 0
    yield "N = 200, S = 4, eta = 0.1", data, 0.1, 4, 0.0, 100, 1, 0
    yield "the same, N = 40 000", population(1.0, 200), 0.1, 4, 0.0, 100, 1, 0
    yield "S = 1, eta = 0.03, gamma = 0.1", data, 0.03, 1, 0.1, 250, 1, 0
    yield "weak signal, 0.5 of the threshold", weak, 0.5 * threshold, 1, 0.0, 5_000, 1, 0
    yield "weak signal, 0.9 of the threshold", weak, 0.9 * threshold, 1, 0.0, 45_000, 20, 4_500
    yield "overflowing, S = 1, eta = 0.1", data, 0.1, 1, 0.0, 300, 1, 0
    yield "overflowing, S = 1, eta = 0.2", data, 0.2, 1, 0.0, 200, 1, 0


def against_chains() -> None:
    from discrete_chains import kolmogorov, simulate

    print("| case | 5, 50, 95 % | status | to the flow | seconds | estimated error | distance to draws | by chance |")
    print("|---|---|---|---|---|---|---|---|")
    for name, data, rate, size, decay, steps, draws, every in cases():
        begin = time.perf_counter()
        law = discrete_law(*data, rate, size, decay)
        seconds = time.perf_counter() - begin
        flow = SGDStationary(Moments.from_data(*data), rate / size, weight_decay=decay)
        setting = dict(chains=DRAWS // draws, steps=steps, every=every, draws=draws, limit=law.escape_at)
        distance, number = kolmogorov(law, simulate(*data, rate, size, decay, **setting).ravel())
        quantiles = ", ".join(f"{value:.3g}" for value in law.icdf([0.05, 0.5, 0.95]))
        status = f"{law.status}, {law.horizon:.3g} steps" if law.escape_probability else law.status
        print(
            f"| {name} | {quantiles} | {status} | {law.distance_to(flow):.4f} | {seconds:.1f} | "
            f"{law.error_estimate:.1e} | {distance:.5f} | {1.36 / np.sqrt(number):.5f} |",
            flush=True,
        )


def against_the_flow() -> None:
    """The distance to the flow as the steps shrink, with the noise of the data and with noise that has no skew."""
    x, y = gaussian(1.0, 200, 0)
    half, noise = x[:100], y[:100] - x[:100]
    noise = noise - half * (half @ noise) / (half @ half)
    even = np.concatenate([half, half]), np.concatenate([half + noise, half - noise])
    print("\n| eta | S | T | to the flow | to the flow, noise without skew |")
    print("|---|---|---|---|---|")
    for rate, size in [(1e-1, 10), (3e-2, 3), (1e-2, 1), (1e-3, 1), (1e-4, 1), (1e-5, 1)]:
        gaps = []
        for data in ((x, y), even):
            flow = SGDStationary(Moments.from_data(*data), rate / size)
            gaps.append(discrete_law(*data, rate, size, tolerance=5e-6).distance_to(flow))
        print(f"| {rate:g} | {size} | {rate / size:g} | {gaps[0]:.2e} | {gaps[1]:.2e} |", flush=True)


if __name__ == "__main__":
    against_chains()
    against_the_flow()
