"""Checks that density, cdf, quantiles, moments, entropy, draws and gradients of a distribution agree."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from sgdvi.testing._integrals import CLOSE, integrals_of
from sgdvi.testing._record import Skip
from sgdvi.testing._subject import Subject

# Relative step of differences along a parameter: a density may hold differences of nearly equal parameters.
_STEP = 1e-5


def normalisation(s: Subject) -> Iterator[str]:
    """The density integrates to 1, together with the atoms."""
    held = integrals_of(s).held
    total = integrals_of(s).total + integrals_of(s).missing.sum((0, 1)) + held
    wrong = ~(np.abs(total - 1) <= CLOSE)
    if wrong.any():
        atoms = f", {held[wrong][0]:.6g} of it in atoms" if held.any() else ""
        yield (
            f"the density must integrate to 1 over the support; got {total[wrong][0]:.8g}{atoms}{s.where(wrong[None])}"
        )
    places, masses = s.atoms
    if len(places):
        got, want = s.call("log_prob", places), np.log(np.where(masses > 0, masses, 1.0))
        wrong = (masses > 0) & ~(np.abs(got - want) <= CLOSE)
        if wrong.any():
            yield (
                f"log_prob at an atom must be the log of its mass, {want[wrong][0]:.8g}; got {got[wrong][0]:.8g}"
                f"{s.where(wrong, places)}"
            )


def cdf(s: Subject) -> Iterator[str]:
    """The cdf is the integral of the density, and its derivative the density."""
    s.require("cdf")
    scale, got, want = integrals_of(s).scale, s.call("cdf", s.points), integrals_of(s).cumulative()
    wrong = ~(np.abs(got - want) <= CLOSE)
    if wrong.any():
        yield f"the cdf must be the integral of the density, {want[wrong][0]:.8g}; got {got[wrong][0]:.8g}" + s.where(
            wrong
        )
    if not np.all(np.diff(got, axis=0) >= 0):
        yield "the cdf must not decrease; it does" + s.where(np.diff(got, axis=0) < 0)
    want = np.exp(s.call("log_prob", s.points)) / scale
    slope = s.difference(lambda step: s.call("cdf", s.points + step * s.steps), s.steps)
    wrong = ~(np.abs(slope - want) <= 10 * CLOSE * np.maximum(want, 1 / s.spread))
    if wrong.any():
        yield (
            f"the derivative of the cdf must be the density, {want[wrong][0]:.8g}; got {slope[wrong][0]:.8g}"
            + s.where(wrong)
        )


def icdf(s: Subject) -> Iterator[str]:
    """Quantiles invert the cdf and increase."""
    s.require("icdf")
    q = np.broadcast_to(np.linspace(0.01, 0.99, 33)[:, None], (33, s.size))
    values = s.call("icdf", q)
    if not np.all(np.diff(values, axis=0) >= 0):
        yield "icdf must increase; it does not" + s.where(~(np.diff(values, axis=0) >= 0), q)
    s.require("cdf")
    seen = np.abs(values) > 1e-290
    back = s.call("cdf", values)
    # over an atom the cdf jumps from below q to above it
    jump = s.is_atom(values)
    wrong = np.where(jump, ~(back >= q - CLOSE), seen & ~(np.abs(back - q) <= CLOSE))
    if wrong.any():
        yield f"cdf(icdf(q)) must be q = {q[wrong][0]:.6g}; got {back[wrong][0]:.8g}" + s.where(wrong, q)
    again = s.call("icdf", s.call("cdf", s.points))
    # an error in v counts as the probability that it moves
    wrong = ~(np.abs(again - s.points) * np.exp(s.call("log_prob", s.points)) <= CLOSE)
    if wrong.any():
        yield f"icdf(cdf(v)) must be v = {s.points[wrong][0]:.8g}; got {again[wrong][0]:.8g}" + s.where(wrong)


def sampler(s: Subject) -> Iterator[str]:
    """Draws follow the cdf (Kolmogorov-Smirnov)."""
    bound = np.sqrt(np.log(2 * s.size / s.level) / (2 * s.num_draws)) + 1 / s.num_draws
    if s.has("cdf"):
        # only at the last of equal draws: values below the smallest float are all drawn as that float
        last = np.concatenate([np.diff(s.draws, axis=0) > 0, np.ones((1, s.size), bool)])
        reached = np.arange(1, s.num_draws + 1)[:, None] / s.num_draws
        gap = np.max(np.where(last, np.abs(s.call("cdf", s.draws) - reached), 0.0), axis=0)
        what = "the cdf"
    else:
        reached = np.stack([np.mean(s.draws <= point, axis=0) for point in s.points])
        gap = np.max(np.abs(integrals_of(s).cumulative() - reached), axis=0)
        what = "the integral of the density"
    wrong = ~(gap <= bound)
    if wrong.any():
        yield (
            f"draws must follow {what}: the largest gap of {s.num_draws} draws must be below {bound:.4g}; "
            f"got {gap[wrong][0]:.4g}{s.where(wrong[None])}"
        )


def moments(s: Subject) -> Iterator[str]:
    """Mean and variance are those of the density and of the draws."""
    missing = []
    for order, name in ((1, "mean"), (2, "variance")):
        try:
            got = s.stated(name)
        except Skip as reason:
            missing.append(str(reason))
            continue
        want, exists = getattr(integrals_of(s), name), s.moment_exists(order)
        # below the largest of its parts: the mean of a law about zero is a difference
        size = np.sqrt(np.abs(integrals_of(s).variance)) + np.abs(integrals_of(s).mean) + s.spread
        wrong = exists & ~(np.abs(got - want) <= 10 * CLOSE * size**order)
        if wrong.any():
            yield (
                f"the {name} must be that of the density, {want[wrong][0]:.8g}; "
                f"got {got[wrong][0]:.8g}{s.where(wrong[None])}"
            )
        wrong = (s.tails - 1 < order + 1e-6) & np.isfinite(got)
        if wrong.any():
            yield f"a {name} that does not exist must be inf or nan; got {got[wrong][0]:.8g}{s.where(wrong[None])}"
        yield from _sample_moment(s, name, got)
    if len(missing) == 2:
        raise Skip("; ".join(missing))


def _sample_moment(s: Subject, name: str, got: np.ndarray) -> Iterator[str]:
    # The error of a mean is normal at these sizes from the third moment on, that of a variance from the eighth.
    if name == "mean":
        exists, values = s.moment_exists(3), s.draws
    else:
        exists, values = s.moment_exists(8), (s.draws - s.draws.mean(0)) ** 2
    if not exists.any():
        return
    error = values.std(0) / np.sqrt(s.num_draws)
    # draws of atoms alone differ by rounding, and so does what is left of them about their mean
    rounding = (1e-12 * np.abs(s.draws).max(0)) ** (1 if name == "mean" else 2)
    error = np.maximum(error, np.maximum(1e-12 * np.abs(values.mean(0)), rounding))
    away = np.abs(values.mean(0) - got) / np.where(error > 0, error, 1.0)
    wrong = exists & ~(away <= 5)
    if wrong.any():
        yield (
            f"the {name} of {s.num_draws} draws must lie within 5 standard errors of the stated one; "
            f"got {away[wrong][0]:.3g}{s.where(wrong[None])}"
        )


def entropy(s: Subject) -> Iterator[str]:
    """The entropy is that of the density."""
    got, want = s.stated("entropy"), integrals_of(s).entropy
    wrong = (integrals_of(s).missing.sum((0, 1)) < 1e-9) & ~(np.abs(got - want) <= 10 * CLOSE * (1 + np.abs(want)))
    if wrong.any():
        yield f"the entropy must be {want[wrong][0]:.8g}; got {got[wrong][0]:.8g}{s.where(wrong[None])}"


def gradient(s: Subject) -> Iterator[str]:
    """Gradients of log_prob to the value and the parameters agree with differences."""
    points, steps = s.points, s.steps
    shaped = jnp.asarray(points.reshape(len(points), *s.batch_shape))
    got = s.flat(jax.grad(lambda v: jnp.sum(s.law.log_prob(v)))(shaped))
    there = np.isfinite(s.call("log_prob", points))
    with np.errstate(invalid="ignore"):
        want = s.difference(lambda step: s.call("log_prob", points + step * steps), steps)
    # a law that is nothing but atoms has no density beside them
    beside = there | (integrals_of(s).held < 1 - CLOSE)
    with np.errstate(invalid="ignore"):
        wrong = beside & ~(np.abs(got - want) <= 10 * CLOSE * np.maximum(np.abs(want), 1 / s.spread))
    if wrong.any():
        yield (
            f"the gradient of log_prob to the value must be {want[wrong][0]:.8g}, by differences; "
            f"got {got[wrong][0]:.8g}{s.where(wrong, points)}"
        )
    s.require_pytree()
    if not there.all():
        raise Skip("a law without a density at its points has no gradient along the parameters")
    leaves, tree = jax.tree.flatten(s.law)
    weights = np.cos(np.arange(shaped.size)).reshape(shaped.shape)
    places = {name: place for name, (place, leaf) in s.fields.items() if s.movable(name, leaf)}

    def total(chosen: list[Array]) -> Array:
        moved = list(leaves)
        for place, leaf in zip(places.values(), chosen, strict=True):
            moved[place] = leaf
        return jnp.sum(weights * jax.tree.unflatten(tree, moved).log_prob(shaped))

    at = [jnp.asarray(leaves[place]) for place in places.values()]
    compiled = jax.jit(jax.value_and_grad(total))
    gradients = compiled(at)[1]
    for i, name in enumerate(places):
        step = _STEP * jnp.where(at[i] == 0, 1.0, jnp.abs(at[i]))

        def moved(by: float, i: int = i, step: Array = step) -> np.ndarray:
            return np.asarray(compiled([leaf + by * step if j == i else leaf for j, leaf in enumerate(at)])[0])

        slope = float(s.difference(moved, 1.0))
        along = float(jnp.sum(gradients[i] * step))
        size = _STEP * float(np.sum(np.abs(weights)))
        if not abs(along - slope) <= 10 * CLOSE * max(abs(slope), size):
            yield f"the gradient of log_prob along {name} must be {slope:.8g}, by differences; got {along:.8g}"
