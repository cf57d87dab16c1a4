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
# # A small Bayesian neural network
#
# Four ReLU neurons on body mass index, blood pressure and a serum measurement of 442
# diabetes patients: 21 parameters, each with a N(0, 1) prior. No law of SGD is known
# in closed form here, so NUTS stands for the posterior. Which of its statements can
# SGD, SWAG and SGLD stand in for?

# %%
import jax
import matplotlib.pyplot as plt
import numpy as np

import sgdvi
from sgdvi.plots import COLORS, set_style
from sgdvi.samplers.references import nuts

jax.config.update("jax_enable_x64", True)
set_style()

problem = sgdvi.zoo.load("relu", width=4)
x, y = problem.data
key = jax.random.key(0)
noise_sd = 0.7  # of the model, fixed


def predict(params, x):
    hidden = jax.nn.relu(x @ params["weights"] + params["biases"])
    return hidden @ params["output"] + params["offset"]


def loss(params, batch):
    x, y = batch
    return (predict(params, x) - y) ** 2


# %% [markdown]
# ## Its symmetries
#
# Nobody has to say where they are: `find_symmetries` finds one scaling for every
# neuron, incoming weights and bias against the outgoing weight.

# %%
rng = np.random.default_rng(0)
params = {
    "weights": rng.normal(size=(3, 4)),
    "biases": rng.normal(size=4),
    "output": rng.normal(size=4),
    "offset": np.float64(0.0),
}
symmetries = sgdvi.find_symmetries(loss, params, (x, y), key=key)
print(symmetries)
assert len(symmetries) == 4
assert all(symmetry.kind == "rescaling" for symmetry in symmetries)

# %% [markdown]
# Four of the 21 directions are directions that the data say nothing about. The
# posterior fills them as the prior does; the noise of SGD does not act on them.
#
# ## The runs
#
# All of them see the same model and data. SGD, SWAG and SGLD use batches of 32 rows;
# SGLD adds the noise that makes it sample the posterior when its steps are small.

# %%
reference = nuts(
    problem,
    key,
    num_warmup=120,
    num_samples=150,
    num_chains=4,
    target_acceptance=0.9,
)

batch_size, rate = 32, 0.02
sgd = sgdvi.SGD(problem.model, learning_rate=rate, batch_size=batch_size)
settings = {"num_steps": 10_000, "num_warmup": 20_000, "num_chains": 8, "thinning": 50}
samplers = {
    "SGD": sgd,
    "SWAG": sgdvi.SWAG(sgd, burn_in=12_000, period=100, snapshots=80, rank=20),
    "SGLD": sgdvi.SGLD(problem.model, rate, batch_size),
}
runs = {
    name: sgdvi.sample(
        sampler,
        problem.data,
        key=jax.random.fold_in(key, number),
        dims=problem.dims,
        progress=False,
        **settings,
    )
    for number, (name, sampler) in enumerate(samplers.items())
}
runs["NUTS"] = reference

# %% [markdown]
# ## Parameters: SGD stands where the noise balances
#
# The charge of a neuron, $\|u\|^2 - \|w\|^2$ with its incoming $u$ and outgoing $w$, is
# the coordinate along its orbit. Here are the charges of all neurons that take part
# in the prediction ($\|u\|\,\|w\| > 0.1$).


# %%
def sides(draws):
    """Squared norms on both sides of every neuron, (draw, neuron)."""
    take = {name: np.asarray(values) for name, values in draws.items()}
    incoming = (take["weights"] ** 2).sum(-2) + take["biases"] ** 2
    return incoming.reshape(-1, 4), (take["output"] ** 2).reshape(-1, 4)


def charges(draws):
    incoming, outgoing = sides(draws)
    return (incoming - outgoing)[incoming * outgoing > 0.01]


sites = ("weights", "biases", "output", "offset")
draws = {
    name: {site: run["posterior"][site].values for site in sites}
    for name, run in runs.items()
}
refilled = sgdvi.resample_orbits(symmetries, draws["SGD"], prior_sd=1.0, key=key)
shown = {name: charges(draws[name]) for name in ("NUTS", "SGD", "SGLD")}
shown["SGD, orbits refilled"] = charges(refilled)

colors = {
    "NUTS": COLORS["NUTS"],
    "SGD": COLORS["SGD"],
    "SWAG": COLORS["exact posterior"],
    "SGLD": COLORS["mean-field VI"],
    "SGD, orbits refilled": COLORS["full-rank VI"],
}
fig, ax = plt.subplots(figsize=(6.4, 3.4))
for name, values in shown.items():
    ax.plot(
        np.sort(values), np.linspace(0, 1, values.size), color=colors[name], label=name
    )
    print(f"{name:21} sd of the charges {values.std():.2f}")
ax.set(
    xlim=(-6, 8),
    xlabel="charge ‖u‖² − ‖w‖² of a neuron",
    ylabel="share of neurons below",
    title="Along the orbits",
)
ax.legend()
plt.show()
spread = {name: values.std() for name, values in shown.items()}
assert spread["SGD"] < 0.5 * spread["NUTS"]
assert spread["SGD, orbits refilled"] > 2 * spread["SGD"]

# %% [markdown]
# SGD keeps its charges in a narrow band; the posterior does not, and neither does
# SGLD, whose injected noise acts on every direction. `resample_orbits` gives the draws
# of SGD the spread along the orbits that the prior has there.
#
# It changes no prediction. That is what *invariant* means, and such quantities are the
# ones to compare.

# %%
batched = jax.vmap(jax.vmap(predict, (0, None)), (0, None))
before, after = (np.asarray(batched(d, x[:5])) for d in (draws["SGD"], refilled))
assert np.allclose(before, after)
print(f"largest change of a prediction: {np.abs(before - after).max():.1e}")

# %% [markdown]
# ## Predictions
#
# The mean of $y$ against body mass index, the other two features at their averages,
# with central 90 % bands, and its standard deviation at every patient.

# %%
grid = np.zeros((41, 3))
grid[:, 0] = np.linspace(-2.5, 3.5, 41)


def function_draws(draws, x):
    """The network's output at rows x for every draw, (draw, row)."""
    values = np.asarray(batched({site: draws[site] for site in sites}, x))
    return values.reshape(-1, len(x))


fig, (left, right) = plt.subplots(1, 2, figsize=(9.4, 3.6), width_ratios=(3, 2))
left.plot(x[:, 0], y, ".", color="0.8", ms=3)
widths = {}
for name in ("NUTS", "SGD", "SWAG", "SGLD"):
    low, middle, high = np.quantile(
        function_draws(draws[name], grid), (0.05, 0.5, 0.95), 0
    )
    left.plot(grid[:, 0], middle, color=colors[name], label=name)
    for edge in (low, high):
        left.plot(grid[:, 0], edge, color=colors[name], lw=0.8, ls="--")
    widths[name] = function_draws(draws[name], x).std(0)
    if name != "NUTS":
        right.plot(
            widths["NUTS"], widths[name], ".", ms=3, color=colors[name], label=name
        )
left.set(
    xlabel="body mass index (standardised)",
    ylabel="progression (standardised)",
    ylim=(-2.5, 3.5),
    title="Posterior of the mean",
)
left.legend()
right.axline((0, 0), slope=1, color="black", lw=0.8)
right.set(
    xlabel="sd of NUTS",
    ylabel="sd of the other run",
    title="Every patient",
    xlim=(0, None),
)
right.legend(markerscale=3)
plt.show()
ratio = {name: float(np.median(widths[name] / widths["NUTS"])) for name in widths}
print(
    "median sd of the mean, over that of NUTS:",
    {k: round(v, 2) for k, v in ratio.items()},
)

# %% [markdown]
# ## The verdict
#
# `with_predictions` adds what a comparison needs to judge predictions: leave-one-out
# and the coverage of predictive intervals.

# %%
judged = {
    name: sgdvi.with_predictions(run, problem, key=jax.random.key(9), num_draws=500)
    for name, run in runs.items()
}
comparison = sgdvi.compare(
    judged, reference="NUTS", functionals=problem.functionals, key=key
)
print(comparison.verdict.sentence, end="\n\n")
for name, rows in comparison.summaries.items():
    one = rows["average patient"]
    print(f"{name:5} average patient: sd {one['sd']:.3f}, R-hat {one['rhat']:.2f}")
for finding in comparison.findings:
    if finding.check.startswith("predictive") and finding.value is not None:
        print(f"{finding.run}: {finding.meaning}")
rhat = {
    name: rows["average patient"]["rhat"] for name, rows in comparison.summaries.items()
}
assert rhat["NUTS"] < 1.05
assert rhat["SGD"] > 1.2
assert comparison.verdict.status is not sgdvi.Status.PASS
assert ratio["SGD"] < 0.95 < ratio["SGLD"]

# %% [markdown]
# The chains of SGD do not agree on the mean of the average patient: each stays in the
# basin that it fell into, and is narrower than the posterior there. The predictive
# scores do not mind: intervals cover as they should, and leave-one-out even prefers
# SGD, with a Pareto k that says not to rely on it. Pooled chains make an ensemble of
# good fits, not a posterior.
#
# ## What was learnt
#
# - The network has four scaling symmetries; `find_symmetries` finds them from the loss.
# - Along them SGD is not a posterior at all: its charges keep to where the noise
#   balances, with a tenth of the posterior's spread. SGLD, which injects noise, does
#   spread. `resample_orbits` gives SGD that spread back and changes no prediction.
# - Compare predictions, never single weights. There SGD and SWAG are too narrow (first
#   panel, and the medians above), SGLD at this rate a little too wide.
# - Predictive scores are a weak test of a posterior. R-hat of a
#   prediction over chains from different starts is a strong one, and costs nothing.
# - Where the spread matters, use NUTS; at this size it takes seconds.
