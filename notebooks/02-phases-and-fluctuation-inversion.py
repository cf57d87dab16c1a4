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
# # Phases and fluctuation inversion
#
# Raise the learning rate of SGD, or make its batches smaller: the iterates spread
# wider. That is the rule of thumb, and it holds for a while. For $v = u w$, a slope
# written as a product of two factors, the stationary law is known in closed form, and
# it tells what comes next. Everything depends on one number, the temperature
# $T = \eta / S$ (learning rate over batch size), and on five moments of the data.

# %%
import jax
import matplotlib.pyplot as plt
import numpy as np

import sgdvi
from sgdvi.plots import plot_fluctuations, plot_law, plot_phase_diagram

jax.config.update("jax_enable_x64", True)

moments = sgdvi.Moments.linear(slope=1.0, noise=1.0)  # y = x + noise, x ~ N(0, 1)
critical = float(sgdvi.critical_temperature(moments))
for phase, lower, upper in sgdvi.phase_intervals(moments):
    print(f"{phase:5} {lower / critical:5.3f} Tc to {upper / critical:5.3f} Tc")

# %% [markdown]
# The Roman number says what the density does at zero: it vanishes there (III), it
# diverges there and is a law all the same (II), or it cannot be normalised any more,
# and all runs end in $v = 0$ (I). The letter says whether there is a mode away from
# zero (b) or none (a).

# %%
fig, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
laws = {
    f"{share} Tc, {sgdvi.phase(moments, share * critical)}": sgdvi.SGDStationary(
        moments, share * critical
    )
    for share in (0.1, 0.5, 0.8)
}
plot_law(laws, ax=ax)
ax.set_title("The law of SGD as it heats up")
plt.show()

# %% [markdown]
# ## Hotter is wider, until it is narrower
#
# At half the critical temperature a pile has formed at zero. As it grows, the law
# moves there as a whole, and its variance, which rose in proportion to $T$ at first,
# falls to zero at $T_c$. This is *fluctuation inversion*. The single factor $u$ has
# its own maximum.

# %%
ax = plot_fluctuations(moments)
plt.show()

# %% [markdown]
# Is it so for SGD itself? Its steps are finite, so we take a weak signal, where
# $T_c$ lies at small learning rates, and run balanced chains. The recursion of
# $u = w$ is a line of code.


# %%
def run(x, y, temperatures, rng, chains=400, steps=15_000):
    """Chains of SGD with batch size 1 on v = u w at each temperature, from u = w."""
    shape = (len(temperatures), chains)
    u = np.full(shape, np.sqrt(np.mean(x * y) / np.mean(x * x)))
    kept = []
    for step in range(steps):
        row = rng.integers(len(x), size=shape)
        slope = 2 * (u * u * x[row] - y[row]) * x[row] * u
        u = u - temperatures[:, None] * slope
        if step > steps // 3 and step % 100 == 0:
            kept.append(u * u)
    return np.concatenate(kept, axis=1)


rng = np.random.default_rng(1)
x = rng.choice([0.5, 1.0, 1.5], size=2000)
y = 0.1 * x + rng.uniform(-1.7, 1.7, size=2000)
data = sgdvi.Moments.from_data(x, y)
critical_heat = float(sgdvi.critical_temperature(data))
heats = critical_heat * np.array([0.15, 0.3, 0.5, 0.7, 0.85])
exact = sgdvi.fluctuations(data, heats)
spread = run(x, y, heats, rng).var(axis=1)
print("T/Tc   Var[v] of the law   of SGD")
for share, law, sgd in zip(heats / critical_heat, exact.variance, spread, strict=True):
    print(f"{share:.2f}   {law:.6f}            {sgd:.6f}")

# %%
ax = plot_fluctuations(data)
ax.plot(heats, spread, "s", color="#d55e00", label="Var[v] of discrete SGD")
ax.legend(loc="upper left", fontsize=8)
plt.show()

# %% [markdown]
# ## The phase diagram
#
# More noise in $y$ lowers the critical temperature. The contours are the standard
# deviation of $v$: follow one upwards at a fixed noise, and you meet it twice.

# %%
diagram = sgdvi.phase_diagram(
    moments, noise=np.linspace(0.03, 3, 32), temperature=np.linspace(0.01, 0.58, 32)
)
ax = plot_phase_diagram(diagram, points={"the laws above": (1.0, 0.5 * critical)})
plt.show()

# %% [markdown]
# ## No rule with one temperature
#
# For $x \sim N(0, 1)$ the mode vanishes at one temperature for good. That is no
# general rule: here are data whose mode vanishes and comes back on heating. So
# `sgdvi.phase` decides every point on its own.

# %%
reentrant = sgdvi.Moments(1.0, 0.7973, 0.6416, 1.0, 0.3355)
print(" -> ".join(str(part.phase) for part in sgdvi.phase_intervals(reentrant)))

# %% [markdown]
# Nor need there be one maximum of the variance.

# %%
two = sgdvi.Moments(1.0, 0.5993, 0.3746, 0.1825, 0.1763)
ax = plot_fluctuations(two)
plt.show()

# %% [markdown]
# ## Bias
#
# Long before it collapses, SGD is biased towards zero: by an amount proportional to
# the temperature, which an exact identity gives without the law's normaliser.

# %%
for share in (0.01, 0.1, 0.3):
    parts = sgdvi.bias(sgdvi.SGDStationary(moments, share * critical))
    print(f"{share:4} Tc: E[v] - v* = {parts.value:.5f}, from noise {parts.noise:.5f}")

# %% [markdown]
# ## What was learnt
#
# - At depth 1 there are five regimes. Their borders are $T_c$, $T_c/3$ and the
#   temperatures at which a mode away from zero is born or dies: none, one or two.
# - The spread of SGD rises in proportion to the temperature, has a maximum (0.61
#   $T_c$ for $v$ and 0.75 $T_c$ for $u$ in the first example) and vanishes at $T_c$. A
#   narrow cloud of iterates can be cold or about to collapse: look at where it is, and
#   at $T/T_c$, before you read it as a posterior.
# - Discrete SGD follows the curve when its steps are small.
# - The bias towards zero comes with depth, and grows with the temperature.
#
# From the command line: `sgdvi law --slope 1 --noise 1 --temperature 0.5Tc` and
# `sgdvi phases diabetes --learning-rate 0.01 --batch-size 16 --log --out phases.png`.
