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
# # My regression, from a bad SGD run to a posterior
#
# A straight line through two columns of francs: what 235 families earned in a year and
# what they spent on food (Engel 1857). Three parameters, weak priors, nothing special.
# SGD on it goes wrong at once, and this notebook follows the way from there to a
# posterior: why it went wrong, what can be said before any further run, what
# standardising changes, which flavour of SGD is right, and what it predicts.

# %%
import jax
import matplotlib.pyplot as plt
import numpy as np
import numpyro
import numpyro.distributions as dist

import sgdvi
from sgdvi.plots import COLORS, set_style
from sgdvi.samplers.references import nuts

jax.config.update("jax_enable_x64", True)
set_style()
key = jax.random.key(0)

table = sgdvi.zoo.table("food")
income, food = table["income"], table["food"]


def regression(income, food=None):
    intercept = numpyro.sample("intercept", dist.Normal(0, 500))
    slope = numpyro.sample("slope", dist.Normal(0, 1))
    noise = numpyro.sample("noise", dist.HalfNormal(200))
    with numpyro.plate("data", len(income)):
        numpyro.sample("food", dist.Normal(intercept + slope * income, noise), obs=food)


problem = sgdvi.Problem(
    name="food",
    model=regression,
    data=(income, food),
    functionals={
        "intercept": lambda ds: ds["intercept"],
        "slope": lambda ds: ds["slope"],
        "noise": lambda ds: ds["noise"],
    },
)

# %% [markdown]
# ## A bad run
#
# A learning rate that is a good first guess elsewhere, and a much smaller one. The
# first overflows. The second stays finite and looks calm, which is worse: least
# squares has an intercept of 147 francs, and every chain keeps the one that it was
# given at its start.

# %%
for rate in (1e-1, 1e-3):
    tree = sgdvi.sample(
        sgdvi.SGD(regression, learning_rate=rate, batch_size=16),
        problem.data,
        key=key,
        num_steps=4_000,
        num_chains=4,
        init={"intercept": 0.0, "slope": 0.6, "noise": 100.0},
        progress=False,
    )
    ends = tree["posterior"]["intercept"].values[:, -1]
    print(f"rate {rate:g}: intercepts at the end {np.round(ends, 2)}")
least_squares = np.polyfit(income, food, 1)[1]
print(f"least squares: {least_squares:.1f}")
assert np.abs(ends).max() < 0.1 * least_squares

# %% [markdown]
# ## What can be said before any run
#
# `sgdvi.forecast` finds the mode, the curvature and the gradient noise there, and says
# what each flavour of SGD will be. No step is taken.

# %%
raw = sgdvi.forecast(problem)
print(raw)
assert raw.condition > 1e6
assert not raw["plain"].runs

# %% [markdown]
# The loss is five million times as curved along the slope as along the intercept, in
# these units. One learning rate for both needs ten billion steps. Two remedies are
# named: centre and standardise, or take a matrix.
#
# ## Standardise

# %%
scale = {"income": income.std(), "food": food.std()}


def standardised(values):
    return (values - values.mean()) / values.std()


def standard_regression(income, food=None):
    level = numpyro.sample("level", dist.Normal(0, 1))
    slope = numpyro.sample("slope", dist.Normal(0, 1))
    noise = numpyro.sample("noise", dist.HalfNormal(1))
    with numpyro.plate("data", len(income)):
        numpyro.sample("food", dist.Normal(level + slope * income, noise), obs=food)


standard = sgdvi.Problem(
    name="food-standardised",
    model=standard_regression,
    data=(standardised(income), standardised(food)),
    functionals={
        "level": lambda ds: ds["level"],
        "slope": lambda ds: ds["slope"],
        "noise": lambda ds: ds["noise"],
    },
)
better = sgdvi.forecast(standard)
print(f"condition {raw.condition:.2g} -> {better.condition:.2g}")
for f in (raw, better):
    each = f["plain"]
    print(f"plain SGD: {each.steps:.2g} steps, largest W1 {each.largest_w1:.2f} sd")
assert better["plain"].runs
assert better["plain"].largest_w1 > 0.1

# %% [markdown]
# Now plain SGD arrives, in a few thousand steps. It is not the posterior all the same:
# one number for the learning rate cannot give three parameters their widths, and with
# these data the noise of the gradients is not what the model expects of it (families
# with more money differ more). What the forecast says can be checked by a run:

# %%
plain = better["plain"]
tree = sgdvi.sample(
    sgdvi.SGD(
        standard_regression,
        learning_rate=plain.learning_rate,
        batch_size=plain.batch_size,
    ),
    standard.data,
    key=key,
    num_steps=int(plain.steps),
    num_warmup=2_000,
    num_chains=8,
    thinning=5,
    progress=False,
)
truth = nuts(standard, key, num_warmup=300, num_samples=800, num_chains=4)
for name in standard.functionals:
    mine, reference = (run["posterior"][name].values for run in (tree, truth))
    ratio = mine.std() / reference.std()
    print(
        f"{name:6} sd ratio: foreseen {plain.sd_ratio[name]:.2f}, observed {ratio:.2f}"
    )
    assert abs(np.log(ratio / plain.sd_ratio[name])) < 0.2

# %% [markdown]
# ## The ladder
#
# A matrix makes units irrelevant, so back to francs. Each flavour of SGD starts in the
# law that is foreseen for it: the inverse curvature, Mandt's matrix, and completed SGD,
# which adds the noise that the minibatches lack. Each takes the steps that the forecast
# asks for, 100 autocorrelation times; a step reads four rows.

# %%
reference = nuts(problem, key, num_warmup=300, num_samples=800, num_chains=4)
runs = {
    name: sgdvi.sample(
        flavour(regression, near=raw.near),
        problem.data,
        key=key,
        num_steps=int(raw[name].steps),
        num_chains=8,
        thinning=50,
        progress=False,
    )
    for name, flavour in {
        "whitened": sgdvi.WhitenedSGD,
        "mandt": sgdvi.MandtSGD,
        "completed": sgdvi.CompletedSGD,
    }.items()
}
names = list(problem.functionals)
fig, ax = plt.subplots(figsize=(6.4, 3.0))
places = np.arange(len(names))
pens = dict(zip(runs, (COLORS["SGD"], "#e69f00", "#0072b2"), strict=True))
for shift, (name, run) in zip((-0.2, 0.0, 0.2), runs.items(), strict=True):
    observed = [
        float(run["posterior"][one].std() / reference["posterior"][one].std())
        for one in names
    ]
    foreseen = [raw[name].sd_ratio[one] for one in names]
    ax.plot(places + shift, observed, "o", color=pens[name], label=f"{name}, observed")
    ax.plot(places + shift, foreseen, "_", color=pens[name], markersize=18)
    print(
        f"{name:10} foreseen {np.round(foreseen, 2)}, observed {np.round(observed, 2)}"
    )
ax.axhline(1, color="black", lw=0.8)
ax.set(
    xticks=places,
    xticklabels=names,
    ylabel="sd of SGD / sd of the posterior",
    title="In francs: foreseen (bars) and observed (dots)",
)
ax.legend()
plt.show()
assert np.abs(np.array(observed) - 1).max() < 0.15

# %% [markdown]
# The inverse curvature alone is a third too wide, Mandt's matrix comes near, completed
# SGD is as wide as the posterior. `sgdvi.compare` makes every check, and its verdict
# says what can be used:

# %%
comparison = sgdvi.compare(
    {"completed SGD": runs["completed"], "NUTS": reference},
    reference="NUTS",
    functionals=problem.functionals,
    key=key,
)
print(comparison.verdict.sentence)
for use, status in comparison.verdict.uses.items():
    print(f"  {use}: {status}")

# %% [markdown]
# ## Predictions
#
# What does a family with 1000 francs spend on food? The mean of such families, and one
# family, by completed SGD and by NUTS.

# %%
rng = np.random.default_rng(0)
for name, run in {"completed SGD": runs["completed"], "NUTS": reference}.items():
    draws = run["posterior"]
    mean = (draws["intercept"] + 1000 * draws["slope"]).values.ravel()
    one = mean + draws["noise"].values.ravel() * rng.standard_normal(mean.size)
    for what, values in (("the mean", mean), ("one family", one)):
        low, high = np.quantile(values, [0.05, 0.95])
        print(f"{name:14} {what:10} 90 % between {low:.0f} and {high:.0f} francs")
with_rows = {
    name: sgdvi.with_predictions(run, problem, key=key)
    for name, run in {"completed SGD": runs["completed"], "NUTS": reference}.items()
}
comparison = sgdvi.compare(
    with_rows, reference="NUTS", functionals=problem.functionals, key=key
)
for finding in comparison.findings:
    if finding.check.startswith("predictive") and finding.value is not None:
        print(f"{finding.run}: {finding.meaning}")

# %% [markdown]
# ## What was learnt
#
# - A run that stays finite and looks calm may not have moved. Raw units hide that: the
#   loss is millions of times flatter along one parameter than along another.
# - The forecast says so before a run, names the columns to standardise, and is right
#   about the widths that the runs then show.
# - Standardising makes plain SGD arrive. It does not make it a posterior.
# - A matrix makes units irrelevant; what is left is the noise. Completed SGD adds what
#   is missing of it.
# - `sgdvi compare food` does all of this at once.
