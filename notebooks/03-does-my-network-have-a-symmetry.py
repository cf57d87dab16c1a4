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
symmetries = sgdvi.find_symmetries(loss, params, (x, y), key=jax.random.key(0))
print(symmetries)

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
    symmetries=symmetries,
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
# ## The two figures of the paper
#
# For $(u w x - y)^2$ the charge is $u^2 - w^2$. Gradient descent conserves it, SGD lets
# it decay, and noise that is injected, as in Langevin dynamics, makes it diffuse. In
# discrete time the law of balance is exact: a step with slope $s$ in $v = uw$ changes
# the mean charge by $-\eta^2\,\mathbb{E}[s^2]\,(u^2 - w^2)$, whether or not noise is
# injected, and injected noise adds $8\eta^2(u^2 + w^2)$ to its variance.

# %%
import matplotlib.pyplot as plt

a = rng.normal(size=200)
b = a + rng.normal(size=200)
moments = np.mean([a * a, a * b, a**4, a**3 * b, (a * b) ** 2], axis=1)


def descend(kind, steps=3000, rate=0.01, seeds=200):
    """Charge of each seed, and what the law says of its mean and of its spread."""
    u, w = np.full(seeds, 1.4), np.full(seeds, 0.5)
    charges, drifts, growths = [u**2 - w**2], [], []
    for _ in range(steps):
        v, row = u * w, rng.integers(200, size=seeds)
        slope = 2 * (moments[0] * v - moments[1])
        square = slope**2
        if kind == "SGD":  # batches of one row
            slope = 2 * a[row] * (v * a[row] - b[row])
            square = 4 * (moments[2] * v**2 - 2 * moments[3] * v + moments[4])
        drifts.append(-(rate**2) * square * charges[-1])
        growths.append(8 * rate**2 * (u**2 + w**2))
        u, w = u - rate * slope * w, w - rate * slope * u
        if kind == "injected noise":
            u = u + np.sqrt(2) * rate * rng.normal(size=seeds)
            w = w + np.sqrt(2) * rate * rng.normal(size=seeds)
        charges.append(u**2 - w**2)
    spread = np.sqrt(np.cumsum(growths, axis=0).mean(1))
    return np.array(charges), charges[0] + np.cumsum(drifts, axis=0), spread


fig, axes = plt.subplots(1, 3, figsize=(10, 3), sharey=True, layout="constrained")
print("charge after 3000 steps   mean ± error   law of balance   sd over seeds")
for ax, kind in zip(axes, ("gradient descent", "SGD", "injected noise"), strict=True):
    path, law, spread = descend(kind)
    steps = np.arange(len(path))
    low, high = np.quantile(path, (0.05, 0.95), axis=1)
    ax.fill_between(steps, low, high, alpha=0.3, label="90 % of 200 seeds")
    ax.plot(steps, path.mean(1), label="mean")
    ax.plot(steps[1:], law.mean(1), "k--", lw=1, label="law of balance")
    if kind == "injected noise":
        ends = law.mean(1) + 1.645 * np.outer([-1, 1], spread)
        ax.plot(steps[1:], ends.T, "k:", lw=1)
    ax.set(title=kind, xlabel="steps")
    end, error = path[-1], (path[-1] - law[-1]).std(ddof=1) / np.sqrt(path.shape[1])
    print(f"{kind:<20} {end.mean():14.4f} ± {error:.4f} {law[-1].mean():14.4f}", end="")
    print(f" {end.std(ddof=1):17.4f}")
print(f"sd by the law of injected noise: {spread[-1]:.2f}")
axes[0].set_ylabel("charge u² − w²")
axes[0].legend(loc="lower left")
fig

# %% [markdown]
# The error is that of the mean difference from the law, which for SGD and injected
# noise is a martingale. Dotted lines: where the law puts 90 % of a normal spread.
#
# The second figure is a ReLU network 20-d-20 on $x \sim N(0, I)$, $y = x$ + noise, that
# starts with incoming norms $\|u\|^2$ ten times the outgoing $\|w\|^2$: two widths, and
# four seeds of start and minibatches each. `balance` reads runs that you have, too.

# %%
seeds, points, thinning = 4, 16, 350
x = rng.normal(size=(200, 20))
y = x + rng.normal(size=(200, 20))


def relu_loss(params, batch):
    hidden = jax.nn.relu(batch[0] @ params["in"])
    return ((hidden @ params["out"] - batch[1]) ** 2).sum(-1)


def imbalance(one, two):
    """Difference over sum, median over the neurons, for each seed and point."""
    return np.median(np.abs(one - two) / (one + two), axis=0)


def shown(values):  # mean over seeds, and its standard error
    return values.mean(0), values.std(0, ddof=1) / np.sqrt(seeds)


def late(values):
    return values[:, :, points // 2 :].mean(-1)


fig, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
print("mean ± error over 4 seeds: imbalance, median over the neurons, at the start and")
print(
    "at the end; ratio of the sides, second half: median, 5 % and 95 % of the neurons"
)
for width, color in ((50, "C0"), (200, "C1")):
    starts = {
        "in": rng.normal(size=(seeds, 20, width)) / np.sqrt(20),
        "out": rng.normal(size=(seeds, width, 20)) / np.sqrt(200),
    }
    network = sgdvi.Loss(relu_loss, {name: start[0] for name, start in starts.items()})
    scalings = sgdvi.find_symmetries(network, None, (x, y), key=jax.random.key(3))
    run = sgdvi.sample(
        sgdvi.SGD(network, learning_rate=0.006, batch_size=1),
        (x, y),
        key=jax.random.key(4),
        num_steps=thinning * points,
        num_chains=seeds,
        thinning=thinning,
        init=starts,
        progress=False,
    )
    path = {
        name: np.concatenate([start[:, None], run["posterior"][name]], axis=1)
        for name, start in starts.items()
    }
    read = sgdvi.balance(
        network,
        (x, y),
        trajectory=path,
        learning_rate=0.006,
        batch_size=1,
        thinning=thinning,
        points=points + 1,
        symmetries=scalings,
    )
    (noise_in, noise_out), (norm_in, norm_out) = (
        read.measured.terms,
        read.measured.norms,
    )
    ratios = late(norm_in) / late(norm_out), late(noise_in) / late(noise_out)
    apart = np.abs(read.drift.z).max()
    print(
        f"width {width}, {len(scalings)} rescalings; drifts and law of balance", end=""
    )
    print(f" at most {apart:.1f} errors apart")
    for name, each, ratio, ax in (
        ("noise", imbalance(noise_in, noise_out), ratios[1], axes[0]),
        ("norms", imbalance(norm_in, norm_out), ratios[0], axes[1]),
    ):
        mean, error = shown(each)
        ax.errorbar(
            read.path.steps, mean, error, capsize=2, color=color, label=f"width {width}"
        )
        ax.set(title=f"{name}, median over neurons", xlabel="steps of SGD")
        ax.set(yscale="log", yticks=[0.05, 0.1, 0.2, 0.5, 1])
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter("")
        middle, low, high = (
            shown(np.quantile(ratio, q, axis=0)) for q in (0.5, 0.05, 0.95)
        )
        print(f"  {name:<6} {mean[0]:.2f} {mean[-1]:10.3f} ± {error[-1]:.3f}", end="")
        print(f"    {middle[0]:.3f} ± {middle[1]:.3f}, {low[0]:.2f} to {high[0]:.2f}")
    axes[2].plot(*(ratio.ravel() for ratio in ratios), ".", ms=3, color=color)
axes[0].set_ylabel("|u side − w side| / sum, ± error")
axes[0].legend()
axes[2].axhline(1, color="k", lw=0.8)
axes[2].axvline(1, color="k", lw=0.8)
axes[2].set(
    xlabel="‖u‖²/‖w‖²", ylabel="Tr C(u)/Tr C(w)", title="second half, each neuron"
)
axes[2].set(aspect="equal")
fig

# %% [markdown]
# Noise comes to balance at both widths: over the second half of the run its ratio is
# one to a few per cent at the median, the rest of a start from above. At a single point
# it fluctuates around balance. The norms stay where they are, balanced approximately,
# with a ratio of its own for every neuron and not one in the median.

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
spread = sgdvi.resample_orbits(symmetries, draws, prior_sd=1.0, key=jax.random.key(2))
charges = [symmetries[0].charge({k: v[i] for k, v in spread.items()}) for i in range(3)]
print("three points of one orbit, charges", np.round(charges, 2))
same = sgdvi.canonical_draws(symmetries, spread)
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
