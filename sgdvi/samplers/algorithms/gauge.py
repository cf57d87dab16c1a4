"""Noise along the scaling orbits, as part of the chain: SGD made ergodic where its own noise does not act."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sgdvi._internal.check import positive, require, whole
from sgdvi.problem.loss import parameter_leaves
from sgdvi.samplers.algorithms._wrapper import Wrapper, require_sampler
from sgdvi.samplers.kernel import Sampler
from sgdvi.samplers.protocol import Algorithm, Batch
from sgdvi.samplers.targets.base import Params
from sgdvi.symmetry import Symmetry
from sgdvi.symmetry.orbits import OrbitLaw

PriorSd = float | Mapping[str, float]
_FLAT = "Orbits have infinite volume: a flat prior has no law on them."


class GaugeState(NamedTuple):
    """State of one chain: the parameters, the state of the sampler that is made ergodic, and the steps taken."""

    z: Params
    inner: Any
    step: jax.Array


class GaugeInfo(NamedTuple):
    """What is known of one step: the minibatch loss before it."""

    loss: jax.Array


def with_gauge_noise(inner: Algorithm, symmetries: Sequence[Symmetry], prior_sd: PriorSd, every: int = 1) -> Algorithm:
    """Return the algorithm: see `GaugeNoise`."""
    moves = [_Move(symmetry, prior_sd) for symmetry in symmetries]

    def init(z: Params) -> GaugeState:
        for move in moves:
            move.check(z)
        return GaugeState(z, inner.init(z), jnp.int32(0))

    def step(key: jax.Array, state: GaugeState, batch: Batch) -> tuple[GaugeState, GaugeInfo]:
        after, info = inner.step(key, state.inner, batch)
        number = state.step + 1

        def moved(z: Params) -> Params:
            for place, move in enumerate(moves):
                z = move(jax.random.fold_in(key, place + 1), z)
            return z

        z = moved(after.z) if every == 1 else jax.lax.cond(number % every == 0, moved, lambda same: same, after.z)
        return GaugeState(z, after._replace(z=z), number), GaugeInfo(info.loss)

    return Algorithm(init, step)


class GaugeNoise(Wrapper):
    r"""A sampler with noise along the scaling orbits of its loss: SGD made ergodic where its own noise does not act.

    After a step of the sampler the parameters move along each orbit, :math:`\theta \to e^{sA}\theta`, to a point drawn
    from the law that N(0, tau^2) priors have there, which is the posterior's, as the likelihood is the same all along:

    .. math:: p(s) \propto \exp\Big(s\,\mathrm{vol} - \frac{1}{2\tau^2} \lVert e^{sA}\theta\rVert^2\Big),

    vol being the trace of A. Given the orbit, a draw **has the posterior's law** on it, exactly where the symmetries
    share no parameters; else they are drawn in turn. What is left different from the posterior is the law on the
    quotient. That is not the one of the sampler itself: its steps now start from all along the orbits. For u w x with
    moves at every step v = u w follows

    .. math:: dv = -E[R|v]\,L'(v)\,dt + v\,T g\,dt + \sqrt{T g\,E[R^2|v]}\,dW, \qquad R = u^2 + w^2,

    with L as a function of v and g the variance of dl/dv; it crosses v = 0, so that no sign is locked. To keep the law
    of the sampler on the quotient, move its draws instead: `resample_orbits`.

    Parameters
    ----------
    sampler
        `SGD`, or another sampler; its model, batches and settings are taken over. Momentum is not moved along.
    symmetries
        What `model_symmetries` or `find_symmetries` found, or some of it.
    prior_sd
        tau, of all parameters that the symmetries move, or name of a site or leaf -> tau.
    every
        Steps from one move to the next. Take a thinning that is a multiple of it.

    Raises
    ------
    InputError
        For something that is no sampler, no symmetries, a prior that is not proper or is missing, and, when it runs,
        for parameters that the symmetries do not fit.
    """

    kind = "gauge"

    def __init__(self, sampler: Sampler, symmetries: Sequence[Symmetry], prior_sd: PriorSd, *, every: int = 1) -> None:
        require_sampler(sampler)
        listed = hasattr(symmetries, "__iter__") and getattr(symmetries, "ndim", 1) > 0
        rule = "symmetries must be those that model_symmetries or find_symmetries found"
        require(listed, rule, type(symmetries).__name__)
        chosen = list(symmetries)
        for symmetry in chosen:
            require(isinstance(symmetry, Symmetry), "symmetries must be sgdvi.Symmetry", type(symmetry).__name__)
        require(chosen, "there must be at least one symmetry", "none", "Without one the sampler is ergodic as it is.")
        every = whole("every", every, least=1)
        algorithm = with_gauge_noise(sampler.algorithm, chosen, prior_sd, every)
        prior = dict(prior_sd) if isinstance(prior_sd, Mapping) else float(prior_sd)
        settings = {"gauge_symmetries": len(chosen), "gauge_prior_sd": prior, "gauge_every": every}
        super().__init__(sampler, algorithm, settings)


class _Move:
    """Draws a point of the orbit of one symmetry."""

    def __init__(self, symmetry: Symmetry, prior_sd: PriorSd) -> None:
        self.symmetry = symmetry
        labels = {group.label for group in symmetry.groups}
        if isinstance(prior_sd, Mapping):
            missing = sorted(labels - set(prior_sd))
            require(not missing, "prior_sd must hold all that the symmetries move", f"no {', '.join(missing)}")
            self.sd = {label: positive(f"prior_sd of {label}", prior_sd[label], _FLAT) for label in labels}
        else:
            self.sd = dict.fromkeys(labels, positive("prior_sd", prior_sd, _FLAT))
        self.powers = sorted({float(group.exponent) for group in symmetry.groups})
        sizes = [symmetry.loss.leaves[group.leaf][group.where].size for group in symmetry.groups]
        self.volume = float(sum(g.exponent * size for g, size in zip(symmetry.groups, sizes, strict=True)))

    def check(self, z: Params) -> None:
        """Raise `InputError` unless the symmetry fits the parameters."""
        shapes = {name: np.shape(leaf) for name, leaf in zip(*parameter_leaves(z), strict=True)}
        for group in self.symmetry.groups:
            shape = self.symmetry.loss.leaves[group.leaf].shape
            rule = f"the sampler must have the parameter {group.label}, shape {shape}, that the symmetry moves"
            require(shapes.get(group.label) == shape, rule, shapes.get(group.label, "none"))

    def __call__(self, key: jax.Array, z: Params) -> Params:
        names, leaves = parameter_leaves(z)
        at = {name: jnp.asarray(leaf) for name, leaf in zip(names, leaves, strict=True)}
        squares = [jnp.zeros((), leaves[0].dtype) for _ in self.powers]
        for group in self.symmetry.groups:
            part = jnp.sum(at[group.label][group.where] ** 2) / self.sd[group.label] ** 2
            squares[self.powers.index(float(group.exponent))] += part
        total = jnp.stack(squares)
        law = OrbitLaw.of(jnp.asarray(self.powers, total.dtype), total, self.volume)
        step = law.quantile(jax.random.uniform(key, dtype=total.dtype))
        for group in self.symmetry.groups:
            at[group.label] = at[group.label].at[group.where].multiply(jnp.exp(group.exponent * step))
        return jax.tree.unflatten(jax.tree.structure(z), [at[name] for name in names])
