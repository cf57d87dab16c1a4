# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Ten digits: which predictions can I trust?
#
# A network of 2,410 parameters reads handwritten digits. Its weights cannot be
# compared between chains: units can be exchanged and their signs flipped. Its
# predictions can. Long HMC on the same network stands for the posterior; its
# predictions of 797 test images ship with the package.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import sgdvi
from sgdvi.models import digits
from sgdvi.plots import set_style

set_style()
problem = sgdvi.zoo.load("digits")
images, labels = digits.test_set()
hmc, rhat = digits.reference()
print(f"HMC: {hmc.shape}, R-hat of its predictions at most {rhat.max():.4f}")

# %% [markdown]
# ## Three runs
#
# SGD at a constant rate, SGLD, and a deep ensemble of eight networks. Each takes
# seconds; weights are small, so predictions are computed afterwards.


# %%
def starts(key, chains):
    """Small random weights, one set per chain."""
    return {
        "hidden": jax.random.normal(key, (chains, 64, 32)) / 8,
        "hidden_bias": jnp.zeros((chains, 32)),
        "output": jax.random.normal(key, (chains, 32, 10)) / 6,
        "output_bias": jnp.zeros((chains, 10)),
    }


@jax.jit
def predict(draws):
    test = jnp.asarray(images, jnp.float32)
    one = lambda draw: digits.probabilities(draw, test)  # noqa: E731
    return jax.lax.map(lambda chain: jax.lax.map(one, chain), draws)


def run(sampler, seed, chains=4, **settings):
    key = jax.random.key(seed)
    tree = sgdvi.sample(
        sampler,
        problem.data,
        key=key,
        num_chains=chains,
        init=starts(key, chains),
        progress=False,
        **settings,
    )
    return predict({s: jnp.asarray(tree["posterior"][s].values) for s in digits.SITES})


sgd = sgdvi.SGD(problem.model, learning_rate=0.1, batch_size=50)
sgld = sgdvi.SGLD(problem.model, 0.2, 50)
adam = sgdvi.SGD(problem.model, optax.adam(2e-3), batch_size=50)
runs = {
    "SGD": run(sgd, 0, num_warmup=1500, num_steps=1500, thinning=30),
    "SGLD": run(sgld, 1, num_warmup=2000, num_steps=4000, thinning=80),
    "deep ensemble": run(adam, 2, chains=8, num_warmup=1000, num_steps=1),
    "HMC": hmc,
}

# %% [markdown]
# ## Predictions against the posterior's

# %%
compared = sgdvi.compare_predictions(runs, "HMC", labels, independent=["deep ensemble"])
print(compared)
for name in ("SGD", "SGLD", "deep ensemble"):
    print(f"{name:14}", compared.runs[name].counts)

# %% [markdown]
# Every distance stands beside the level that chance explains. The chains of SGD keep
# to where they fell, each in its own mode: their predictions differ from each other,
# and from HMC's, at many images. SGLD comes nearer; at a quarter of the images its
# chains have not mixed well enough to tell.
#
# All scores look alike, and so do the shares of wrong classes: a test set of this size
# hardly tells a posterior from a network that is sure of itself.

# %%
figure = plt.figure(figsize=(9.0, 3.8))
left, right = figure.subplots(1, 2)
compared.plot(axes={"reliability": left, "selective": right})
plt.show()

# %% [markdown]
# HMC is less sure than it is right: with these priors the posterior is underconfident,
# which is the model's doing and no fault of the sampler. SGD is sure and right as
# often as it says. That is calibration against the data, another question than
# whether SGD is the posterior.
#
# ## The images that SGD predicts least as the posterior does

# %%
sgd_mean = np.asarray(runs["SGD"]).mean((0, 1))
hmc_mean = hmc.mean((0, 1))
found = compared.runs["SGD"]
figure, axes = plt.subplots(2, 5, figsize=(9.0, 4.6))
for axis, i in zip(axes.flat, found.ranking[:10], strict=True):
    axis.imshow(images[i].reshape(8, 8), cmap="gray_r")
    says = [f"{p[i].argmax()} ({p[i].max():.2f})" for p in (sgd_mean, hmc_mean)]
    axis.set_title(f"is {labels[i]}\nSGD {says[0]}, HMC {says[1]}", fontsize=8)
    axis.set(xticks=[], yticks=[])
plt.show()
best = found.ranking[::-1][:10]
print("best predicted:", labels[best], "largest distance", found.distance[best].max())

# %% [markdown]
# At the images where they differ most, HMC hesitates and SGD does not. The epistemic
# part of the uncertainty says the same in one number: SGD has less of it.

# %%
for name, one in compared.runs.items():
    parts = one.numbers["epistemic"], one.numbers["aleatoric"]
    print(f"{name:14} epistemic {parts[0]:.3f} nats, aleatoric {parts[1]:.3f}")
epistemic = {name: one.numbers["epistemic"] for name, one in compared.runs.items()}
assert epistemic["SGD"] < epistemic["HMC"]
assert compared.runs["SGD"].status is sgdvi.Status.FAIL
assert compared.runs["SGD"].counts["not"] > compared.runs["SGLD"].counts["not"]

# %% [markdown]
# ## Ten methods, three seeds
#
# The same for ten methods with longer runs, as `docs/digits_table.py` measured it:
# mean total variation to HMC, test images of 797 that are not predicted as by HMC,
# and the log score.

# %%
for name, seeds in digits.results().items():
    if name != "HMC":
        columns = (
            np.array([s[c] for s in seeds]) for c in ("distance", "not", "log_score")
        )
        cells = [f"{each.mean():7.3f} ± {each.std(ddof=1):.3f}" for each in columns]
        print(f"{name:20}", *cells)

# %% [markdown]
# ## What was learnt
#
# - Compare predictions, point by point, with the level of chance beside them.
# - SGD, Adam and ensembles predict most images as HMC does; at some 100 to 200 of
#   the hard ones they do not, and are surer than the posterior.
# - Langevin samplers come nearest. R-hat of predictions says when to run longer.
# - Error, log score and calibration do not say whether a run is the posterior.
