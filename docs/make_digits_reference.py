"""Make the reference predictions of the model digits: long HMC, once; some ten minutes on two cores.

Four chains of HMC on all 1,000 images start at draws of the prior. Their probabilities of the classes of every test
image, at 75 draws of each chain, go to models/data/digits_hmc.npz, with R-hat of the predictions of the whole run.
Roots of probabilities are rounded to 1/63: means over the draws move by less than 0.001.

    python docs/make_digits_reference.py
"""

import sys
from pathlib import Path

import jax
import numpy as np
from numpyro.infer import HMC, MCMC, init_to_sample

from sgdvi import zoo
from sgdvi.diagnostics.predictions.apart import mixed
from sgdvi.models import digits

# A quarter of the period of a direction that the data say nothing about, of which the prior has sd 1.
TRAJECTORY = np.pi / 2
CHAINS, WARMUP, DRAWS, KEPT, LEVELS = 4, 600, 2000, 75, 63
TARGET = Path(__file__).parent.parent / "models" / "data" / "digits_hmc.npz"


def sample() -> np.ndarray:
    """Return the probabilities of the classes of the test images, (chain, draw, point, class)."""
    problem = zoo.load("digits")
    kernel = HMC(problem.model, trajectory_length=TRAJECTORY, init_strategy=init_to_sample)
    mcmc = MCMC(
        kernel,
        num_warmup=WARMUP,
        num_samples=DRAWS,
        num_chains=CHAINS,
        chain_method="vectorized",
        progress_bar=False,
    )
    args, _ = problem.arguments
    mcmc.run(jax.random.key(0), *args, extra_fields=("accept_prob", "num_steps", "diverging"))
    for name, values in mcmc.get_extra_fields(group_by_chain=True).items():
        sys.stdout.write(f"{name}, mean by chain: {np.asarray(values, float).mean(axis=1).round(3)}\n")
    images = digits.test_set()[0].astype(np.float32)
    draws = mcmc.get_samples(group_by_chain=True)
    chain = jax.jit(lambda sites: jax.lax.map(lambda one: digits.probabilities(one, images), sites))
    chains = [{name: site[c] for name, site in draws.items()} for c in range(CHAINS)]
    return np.stack([np.asarray(chain(sites)) for sites in chains])


def main() -> None:
    """Sample, measure and pack."""
    probabilities = sample()
    agree = mixed(probabilities, independent=False)
    sys.stdout.write(f"R-hat at most {agree.rhat.max():.4f}, effective draws at least {agree.ess.min():.0f}\n")
    some = probabilities[:, :: DRAWS // KEPT][:, :KEPT]
    # the draws of one number side by side: they compress best
    packed = np.ascontiguousarray(np.round(LEVELS * np.sqrt(some)).astype(np.uint8).transpose(2, 3, 0, 1))
    np.savez_compressed(TARGET, roots=packed, levels=LEVELS, rhat=agree.rhat.astype(np.float32))


if __name__ == "__main__":
    main()
