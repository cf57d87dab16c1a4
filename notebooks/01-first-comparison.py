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
# # The first comparison
#
# Run stochastic gradient descent on a model until it stops improving, keep going, and
# write down where it is: are these iterates draws from the posterior? Here is the
# answer for the smallest pair of models that disagree about it. One feature $x$ (body
# mass index) of 442 diabetes patients explains the progression $y$ of the disease one
# year later, with a slope $v$ and normal noise of fixed standard deviation $\sigma$:
#
# - **depth 0**: $v = u$, linear regression. The posterior is a normal distribution.
# - **depth 1**: $v = u w$, the same line, its slope written as a product.
#
# The predictions of the two are the same set of lines. For both, the stationary law
# of SGD is known exactly.

# %%
import jax
import matplotlib.pyplot as plt
import numpy as np
import optax

import sgdvi
from sgdvi.plots import COLORS, set_style
from sgdvi.samplers.references import line_posterior, nuts

jax.config.update("jax_enable_x64", True)
set_style()
key = jax.random.key(0)

flat = sgdvi.zoo.load("diabetes", depth=0)
deep = sgdvi.zoo.load("diabetes", depth=1)
moments = flat.exact.moments
for name in ("alpha1", "alpha2", "alpha3", "beta1", "beta2", "minimizer"):
    print(f"{name:9} {float(getattr(moments, name)):.4f}")

# %% [markdown]
# The five moments of the data are all that the law of SGD knows of them; the
# minimizer is the least squares slope. The other thing that it depends on is the
# temperature $T = \kappa \eta / S$, with learning rate $\eta$, batch size $S$ and
# $\kappa = 1/(2\sigma^2)$.
#
# ## Depth 0: SGD can be tuned into a posterior
#
# The posterior is normal. The law of SGD is a Pearson type IV law, whose variance
# grows with $T$; its tail is a power, but a steep one as long as $T$ is small. So
# there is a temperature at which the two variances agree.

# %%
batch_size = 16


def matching_temperature(network: sgdvi.LinearNetwork) -> float:
    """Bisect for the temperature at which the law is as wide as the posterior."""
    wanted, low, high = float(line_posterior(network).variance), 1e-6, 1e-1
    for _ in range(40):
        middle = np.sqrt(low * high)
        if float(network.law(middle).variance) < wanted:
            low = middle
        else:
            high = middle
    return middle


posterior0 = line_posterior(flat.exact)
temperature0 = matching_temperature(flat.exact)
rate0 = flat.exact.learning_rate(temperature0, batch_size)
print(f"temperature {temperature0:.4g}, learning rate {rate0:.4g}")

v = np.linspace(0.4, 0.8, 400)
law0 = flat.exact.law(temperature0)
fig, ax = plt.subplots(figsize=(6, 3))
ax.plot(v, np.exp(law0.log_prob(v)), color=COLORS["exact law"], label="law of SGD")
ax.plot(
    v,
    np.exp(posterior0.log_prob(v)),
    "--",
    color=COLORS["exact posterior"],
    label="exact posterior",
)
ax.set(xlabel="slope v", ylabel="density", title="Depth 0: the two agree")
ax.legend()
plt.show()

# %% [markdown]
# Do the iterates follow that law? The driver runs chains of SGD on minibatches drawn
# with replacement and returns a DataTree, like any sampler. An `sgdvi.SGD` takes any
# optax optimizer.

# %%
sgd0 = sgdvi.SGD(flat.model, optax.sgd(rate0), batch_size=batch_size)
run0 = sgdvi.sample(
    sgd0,
    flat.data,
    key=key,
    num_steps=40_000,
    num_warmup=4_000,
    num_chains=4,
    thinning=20,
    progress=False,
)
draws0 = run0["posterior"]["u"].values.ravel()
print(f"SGD        mean {draws0.mean():.4f}  sd {draws0.std():.4f}")
for name, exact in (("its law", law0), ("posterior", posterior0)):
    print(
        f"{name:10} mean {float(exact.mean):.4f}  sd {float(exact.variance) ** 0.5:.4f}"
    )
    assert abs(draws0.std() / float(exact.variance) ** 0.5 - 1) < 0.1

# %% [markdown]
# ## Depth 1: it cannot
#
# Write the slope as $v = u w$. Nothing that the model can say about $y$ has changed,
# but SGD has: the noise of its gradients pushes the two factors towards $u^2 = w^2$
# (the *law of balance*) and the chain ends on two lines in the plane. Above the
# critical temperature it even ends in the single point $u = w = 0$. We stay far
# below, and again choose the temperature at which the law of SGD is as wide as the
# posterior: its best chance to be one.

# %%
tc = deep.exact.critical_temperature
temperature = matching_temperature(deep.exact)
rate = deep.exact.learning_rate(temperature, batch_size)
print(f"temperature {temperature:.4g}, that is {temperature / tc:.2g} Tc")
print("phase", sgdvi.phase(moments, temperature))

sgd = sgdvi.SGD(deep.model, optax.sgd(rate), batch_size=batch_size)
run = sgdvi.sample(
    sgd,
    deep.data,
    key=key,
    num_steps=40_000,
    num_warmup=40_000,
    num_chains=8,
    thinning=20,
    progress=False,
)
reference = nuts(deep, key, num_warmup=500, num_samples=1_000, num_chains=4)

# %%
fig, ax = plt.subplots(figsize=(5, 5))
for name, tree in {"NUTS": reference, "SGD": run}.items():
    u, w = (tree["posterior"][site].values.ravel() for site in ("u", "w"))
    ax.plot(u[::4], w[::4], ".", ms=3, color=COLORS[name], label=name)
ax.axline((0, 0), slope=1, lw=0.8, color="black")
ax.axline((0, 0), slope=-1, lw=0.8, color="black")
ax.set(xlabel="u", ylabel="w", title="SGD ends on the balanced lines", aspect="equal")
ax.legend(markerscale=4)
plt.show()

# %% [markdown]
# The posterior fills the region around a hyperbola $u w \approx 0.59$; SGD sits on a
# line. A law on a line and a law with a density in the plane are mutually singular:
# the Kullback-Leibler divergence between them is infinite in both directions,
# whatever the learning rate. What can still be compared is the slope $v$, on which
# both have a density.

# %%
posterior = line_posterior(deep.exact)
law = deep.exact.law(temperature)
draws = (run["posterior"]["u"] * run["posterior"]["w"]).values.ravel()

v = np.linspace(0.4, 0.8, 400)
fig, ax = plt.subplots(figsize=(6, 3))
ax.hist(draws, bins=60, density=True, color=COLORS["SGD"], alpha=0.4, label="SGD")
ax.plot(v, np.exp(law.log_prob(v)), color=COLORS["exact law"], label="law of SGD")
ax.plot(
    v,
    np.exp(posterior.log_prob(v)),
    "--",
    color=COLORS["exact posterior"],
    label="exact posterior",
)
ax.set(xlabel="slope v = u w", ylabel="density", title="Depth 1, on the line")
ax.legend()
plt.show()

# %% [markdown]
# ## The verdict
#
# `sgdvi.compare` does all this and more, each number with a threshold, a meaning and
# an advice: did the chains mix, is the support that of the reference, how far apart
# are the laws of $v$ and how far would two equal ones seem, which signs are missing,
# how far is SGD from its own exact law.

# %%
comparison = sgdvi.compare(
    {"SGD": run, "NUTS": reference, "exact law": law, "exact posterior": posterior},
    reference="NUTS",
    functionals=deep.functionals,
    known=sgdvi.Known(deep.exact, learning_rate=rate, batch_size=batch_size),
    key=key,
)
statuses = {f.check: str(f.status) for f in comparison.findings if f.run == "SGD"}
assert {"pass", "fail"} <= set(statuses.values())
assert "Only on v" in comparison.verdict.sentence
comparison

# %% [markdown]
# `print(comparison)` shows every check, and `comparison.to_html("report.html")` writes
# it all as a page. `sgdvi.run(deep)`, or `sgdvi compare diabetes` on the command line,
# goes the whole way from the model to the report.
#
# ## Does another temperature help?
#
# It changes the width of the law of $v$, and in the end its shape: with the
# temperature the bulk moves towards zero, and at the critical temperature everything
# has collapsed there. No temperature brings back the plane, nor the other sign of
# $v$. On these data the posterior has hardly any mass there; `small-n` is a model
# where it has.

# %%
v = np.linspace(0.01, 1.2, 500)
fig, ax = plt.subplots(figsize=(6, 3))
for share, alpha in ((0.5, 0.35), (0.2, 0.65), (0.05, 1.0)):
    density = np.exp(deep.exact.law(share * tc).log_prob(v))
    pen = {"color": COLORS["exact law"], "alpha": alpha, "label": f"SGD, {share:g} Tc"}
    ax.plot(v, density, **pen)
ax.plot(
    v,
    np.exp(posterior.log_prob(v)),
    "--",
    color=COLORS["exact posterior"],
    label="exact posterior",
)
ax.set(xlabel="slope v = u w", ylabel="density", title="SGD at other temperatures")
ax.set_ylim(0, 5)
ax.legend()
plt.show()

# %% [markdown]
# ## What was learnt
#
# - At depth 0 SGD is a fair posterior once its temperature is tuned: its law and the
#   posterior have one mean and one width, and its draws follow its law.
# - At depth 1 it is none in $(u, w)$: its draws lie on $|u| = |w|$, where the posterior
#   has no mass, and keep the signs that they started with. No learning rate and no
#   longer run changes that.
# - On the slope $v$ the same run agrees with the posterior. Say which quantity you
#   mean before you call SGD a posterior.
#
# Next: [how SGD changes as it heats up](02-phases-and-fluctuation-inversion),
# [how near it can come](04-variational-bayes-and-its-limits), and
# [what can be corrected](05-correcting-sgd).
