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
# # Does my network have a symmetry that SGD sees?
#
# Multiply the incoming weights and the bias of a ReLU neuron by two and halve its
# outgoing weights: every output stays the same. A posterior spreads along such an
# orbit as far as the prior lets it. SGD does not: its noise never acts along the
# orbit, and what moves it there is a drift, towards the point at which the noise of
# both sides is the same (Ziyin, Li and Ueda 2025). Here is how to see this in a
# network of your own.

# %%
import jax
import numpy as np

import sgdvi

jax.config.update("jax_enable_x64", True)

rng = np.random.default_rng(0)
x = rng.normal(size=(400, 5))
y = x[:, :3] + rng.normal(size=(400, 3))


def loss(params, batch):  # one loss per row, shape (B,)
    x, y = batch
    hidden = jax.nn.relu(x @ params["w1"] + params["b1"])
    return ((hidden @ params["w2"] - y) ** 2).sum(-1)


params = {
    "w1": 0.9 * rng.normal(size=(5, 8)),
    "b1": 0.1 * rng.normal(size=8),
    "w2": 0.3 * rng.normal(size=(8, 3)),
}

# %% [markdown]
# ## Find the symmetries
#
# Nobody says which parameters belong together. At random parameters the radial
# derivatives $\langle\theta_a, \partial\ell/\partial\theta_a\rangle$ of single
# samples have a null space, and it holds the exponents of all scalings.

# %%
found = sgdvi.find_symmetries(loss, params, (x, y), key=jax.random.key(0))
print(found)

# %% [markdown]
# One scaling for each of the eight neurons. With tanh there is none; with weight
# decay there are eight that the decay breaks, and it says at what rate.

# %%


def with_tanh(params, batch):
    x, y = batch
    hidden = jax.numpy.tanh(x @ params["w1"] + params["b1"])
    return ((hidden @ params["w2"] - y) ** 2).sum(-1)


def with_decay(params, batch):
    return loss(params, batch) + 0.01 * sum((p**2).sum() for p in params.values())


key = jax.random.key(1)
print(sgdvi.find_symmetries(with_tanh, params, (x, y), key=key))
print(sgdvi.find_symmetries(with_decay, params, (x, y), key=key)[0])

# %% [markdown]
# ## What SGD does along them
#
# Every symmetry has a charge, here $\|u\|^2 - \|w\|^2$ of a neuron, on which the noise
# does not act: $dc/dt = T\,\mathrm{Tr}[A C]$ with the covariance $C$ of the per-sample
# gradient. `balance` runs SGD and holds the measured drift against this.

# %%
result = sgdvi.balance(
    sgdvi.Loss(loss, params),
    (x, y),
    learning_rate=0.01,
    batch_size=4,
    num_steps=30_000,
    num_chains=2,
    points=60,
    symmetries=found,
)
print(result)

# %%
panels = result.plot()
panels["charges"].figure

# %% [markdown]
# On the left the charges leave their start; in the middle their mean drift is where
# the law puts it, to a few per cent; on the right the noise of both sides, far from
# the diagonal at the start, has come near it.
#
# The norms come to balance approximately and the noise exactly: $\|u\|^2/\|w\|^2$ stays
# within bounds that the eigenvalues of two matrices set (last columns of the table),
# it need not be one.

# %% [markdown]
# ## The same symmetry under other kinds of descent
#
# For $(u w x - y)^2$ the charge is $u^2 - w^2$. Gradient descent conserves it, SGD lets
# it decay, and noise that is injected, as in Langevin dynamics, makes it diffuse.

# %%
a = rng.normal(size=200)
b = a + rng.normal(size=200)


def descend(kind, steps=3000, rate=0.01, chains=200):
    u, w, charges = np.full(chains, 1.4), np.full(chains, 0.5), []
    for _ in range(steps):
        row = rng.integers(200, size=chains)
        v = u * w
        if kind == "SGD":
            slope = 2 * a[row] * (v * a[row] - b[row])
        else:
            slope = 2 * (np.mean(a * a) * v - np.mean(a * b))
        du, dw = -rate * slope * w, -rate * slope * u
        if kind == "injected noise":
            size = np.sqrt(2 * rate * rate)
            du += size * rng.normal(size=chains)
            dw += size * rng.normal(size=chains)
        u, w = u + du, w + dw
        charges.append(u**2 - w**2)
    return np.array(charges)


# %%
import matplotlib.pyplot as plt

fig, axes = plt.subplots(1, 3, figsize=(10, 3), sharey=True, layout="constrained")
for ax, kind in zip(axes, ("gradient descent", "SGD", "injected noise"), strict=True):
    path = descend(kind)
    low, high = np.quantile(path, (0.05, 0.95), axis=1)
    ax.fill_between(
        np.arange(len(path)), low, high, alpha=0.3, label="90 % of 200 runs"
    )
    ax.plot(np.median(path, axis=1), label="median")
    ax.set(title=kind, xlabel="steps")
axes[0].set_ylabel("charge u² − w²")
axes[0].legend()
fig

# %% [markdown]
# ## Take the symmetry out
#
# Two parameters on one orbit are the same network. `canonical_draws` moves every draw
# to the point that its orbit shares, and `resample_orbits` spreads SGD along the
# orbits again, as a normal prior does: what then differs from a posterior is the law
# on the quotient, and nothing else.

# %%
draws = {"w1": np.stack([params["w1"]] * 3), "b1": np.stack([params["b1"]] * 3)}
draws["w2"] = np.stack([params["w2"]] * 3)
spread = sgdvi.resample_orbits(found, draws, prior_sd=1.0, key=jax.random.key(2))
charges = [found[0].charge({k: v[i] for k, v in spread.items()}) for i in range(3)]
print("three points of one orbit, charges", np.round(charges, 2))
same = sgdvi.canonical_draws(found, spread)
print("their canonical points agree:", np.allclose(same["w1"][0], same["w1"][1]))

# %% [markdown]
# ## What was learnt
#
# - A scaling symmetry is found from the loss alone, with integer exponents; tanh has
#   none, and weight decay breaks it at a known rate.
# - SGD moves along the orbit by a drift and comes to rest where the noise of the two
#   sides is the same. It does not explore the orbit as a posterior would.
# - Compare functions that the symmetries leave as they are, such as predictions; or
#   compare canonical draws.
#
# From the command line: `sgdvi balance relu`, `sgdvi balance attention`, or the path
# of your own file.
