"""Effective draws of NUTS on the quotient and on the raw parameters: ``python tests/benchmarks/bench_quotient.py``.

For each model the smallest of the bulk and tail effective sample sizes of functions that the symmetries leave as they
are (v, or four predictions), per 1000 gradients after warmup, and per second of processor time, warmup included and
compilation not. Four chains side by side, target acceptance 0.95, means over the seeds.
"""

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from arviz_stats.base import array_stats
from numpyro.infer import MCMC, NUTS

import sgdvi
from sgdvi.samplers.references._nuts import TARGET_ACCEPTANCE

SEEDS, WARMUP, DRAWS, CHAINS = 2, 500, 1000, 4


def relu(x: Any, y: Any = None) -> None:
    """A ReLU network 2-2-1 without biases, N(0, 1) priors."""
    w = numpyro.sample("w", dist.Normal(0, 1).expand([2, 2]).to_event(2))
    u = numpyro.sample("u", dist.Normal(0, 1).expand([2]).to_event(1))
    with numpyro.plate("data", len(x)):
        numpyro.sample("y", dist.Normal(jax.nn.relu(x @ w) @ u, 0.5), obs=y)


def product(draws: dict[str, np.ndarray]) -> np.ndarray:
    return np.prod(list(draws.values()), axis=0)[..., None]


def cases() -> list[tuple[str, Any, Any, Any]]:
    rng = np.random.default_rng(4)
    x = rng.normal(size=40)
    line = sgdvi.linear_problem("line", x, 0.3 * x + rng.normal(size=40), depth=1, noise_sd=1.0, prior_sd=1.0)
    diabetes = sgdvi.zoo.load("diabetes")
    plane = rng.normal(size=(60, 2))
    hidden = np.maximum(plane @ np.array([[1.0, -0.5], [0.3, 1.2]]), 0)
    data = plane, hidden @ np.array([1.0, -1.0]) + 0.5 * rng.normal(size=60)

    def predictions(draws: dict[str, np.ndarray]) -> np.ndarray:
        at = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 1.0], [0.5, -1.0]])
        return np.einsum("...nh,...h->...n", np.maximum(at @ draws["w"], 0), draws["u"])

    return [
        ("u w x, 40 rows", line.model, line.data, product),
        ("diabetes, depth 1", diabetes.model, diabetes.data, product),
        ("ReLU 2-2-1, 60 rows", relu, data, predictions),
    ]


def measure(model: Any, data: Any, reading: Any) -> tuple[float, float, int]:
    """Effective draws per 1000 gradients, and per second of processor time; divergences of all seeds together."""
    kernel, placed = NUTS(model, target_accept_prob=TARGET_ACCEPTANCE), [jnp.asarray(array) for array in data]
    mcmc = MCMC(kernel, num_warmup=WARMUP, num_samples=DRAWS, num_chains=CHAINS, chain_method="vectorized",
                progress_bar=False)  # fmt: skip
    rates, speeds, lost = [], [], 0
    for seed in range(SEEDS + 1):
        begin = time.process_time()
        mcmc.run(jax.random.key(seed), *placed, extra_fields=("num_steps", "diverging"))
        jax.block_until_ready(mcmc.get_samples())
        seconds = time.process_time() - begin
        fields, draws = mcmc.get_extra_fields(), mcmc.get_samples(group_by_chain=True)
        sites = {"u", "w", "u0", "u1"} & set(draws)
        values = reading({name: np.asarray(draws[name], float) for name in sorted(sites)})
        effective = min(
            float(array_stats.ess(values[..., k], chain_axis=0, draw_axis=1, **options))
            for k in range(values.shape[-1])
            for options in ({"method": "bulk"}, {"method": "tail", "prob": (0.05, 0.95)})
        )
        if seed:  # the first run compiles
            rates.append(1000 * effective / float(np.sum(fields["num_steps"])))
            speeds.append(effective / seconds)
            lost += int(np.sum(fields["diverging"]))
    return float(np.mean(rates)), float(np.mean(speeds)), lost


def main() -> None:
    print(f"{'':<22}{'per 1000 gradients':>30}{'per second':>24}{'divergences':>16}")
    print(f"{'':<22}{'raw':>9}{'quotient':>11}{'gain':>10}{'raw':>8}{'quotient':>10}{'gain':>6}{'raw, quotient':>16}")
    for name, model, data, reading in cases():
        raw, quotient = (measure(each, data, reading) for each in (model, sgdvi.quotient_model(model, data)))
        row = f"{name:<22}{raw[0]:9.1f}{quotient[0]:11.1f}{quotient[0] / raw[0]:10.1f}"
        row += f"{raw[1]:8.0f}{quotient[1]:10.0f}{quotient[1] / raw[1]:6.1f}"
        print(f"{row}{raw[2]:8d}, {quotient[2]:6d}", flush=True)


if __name__ == "__main__":
    main()
