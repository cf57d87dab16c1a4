"""SGLD of `posteriors` on the depth-1 model, for bench_peers.py: posteriors_sgld.py DATA.npz CHAINS STEPS BATCH.

It needs PyTorch and posteriors, in an environment of its own, and not this package. Chains are the last axis of every
array, so that one call of the sampler moves all of them. It prints seconds of processor time of three runs, after one.
"""

import json
import sys
import time

import numpy as np
import posteriors
import torch

path, *counts = sys.argv[1:]
chains, steps, batch = map(int, counts)
x, y = (torch.from_numpy(values) for values in np.load(path).values())
torch.set_num_threads(1)


def log_posterior(z: dict[str, torch.Tensor], rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Over the number of rows, as `posteriors` asks, and summed over chains: their gradients are apart."""
    residual = y[rows] - z["u"] * z["w"] * x[rows]
    prior = (z["u"] ** 2 + z["w"] ** 2) / (8 * len(x))
    return -((residual**2).mean(0) / 2 + prior).sum(), residual


sampler = posteriors.sgmcmc.sgld.build(log_posterior, lr=1e-6 * len(x), temperature=1 / len(x))
seconds = []
for _ in range(4):
    begin = time.process_time()
    state = sampler.init({"u": torch.ones(chains), "w": torch.full((chains,), 0.5)})
    for _ in range(steps):
        state, _ = sampler.update(state, torch.randint(len(x), (batch, chains)), inplace=False)
    seconds.append(time.process_time() - begin)
    assert all(torch.isfinite(value).all() for value in state.params.values())
print(json.dumps(seconds[1:]))
