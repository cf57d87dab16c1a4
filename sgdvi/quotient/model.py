"""A NumPyro model reparameterised so that its sites are coordinates of the quotient."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.scipy.special import logsumexp
from numpyro import handlers
from numpyro.distributions import constraints
from numpyro.infer.reparam import Reparam

from sgdvi._internal.check import InputError, message, require
from sgdvi.quotient.likelihood import model_symmetries
from sgdvi.quotient.prior import MOST_DIMENSIONS, Prior, log_area, log_masses, log_sphere
from sgdvi.symmetry import Symmetry
from sgdvi.symmetry.chart import Component, components

ORBIT = "orbit"
# Spread of the log length of a vector of which only the direction counts. Near the origin small moves turn it far:
# a narrow law keeps NUTS away from there, where a normal one has divergences and long trees.
_RADIUS_SD = 0.1


@dataclass(frozen=True, eq=False)
class QuotientModel:
    """The model that `quotient_model` makes: call it, and run it, as the one that it was made of.

    Attributes
    ----------
    model
        The model that it was made of.
    symmetries
        The symmetries that are removed.
    sites
        Site of the model -> site of its coordinates, for those that the symmetries move and that are not all fixed.
    """

    model: Callable[..., Any]
    symmetries: tuple[Symmetry, ...]
    sites: dict[str, str]
    _labels: tuple[str, ...] = field(repr=False)
    _shapes: tuple[tuple[int, ...], ...] = field(repr=False)
    _parts: tuple[Component, ...] = field(repr=False)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model at a point of the quotient."""
        flat, weight = self._point()
        values = dict(zip(self._labels, self._split(flat), strict=True))
        priors: dict[str, dist.Distribution] = {}
        moved = {label: _Fixed(values[label], priors) for label in self._labels}
        with handlers.reparam(config=moved):
            result = self.model(*args, **kwargs)
        missing = [label for label in self._labels if label not in priors]
        require(not missing, "the model must have the sites that the symmetries move", f"no {', '.join(missing)}")
        numpyro.factor("quotient", weight + self._log_prior(priors, flat))
        return result

    def _point(self) -> tuple[jax.Array, jax.Array]:
        """Sample the coordinates; return the point of the chart, shape (P,), and the law of vectors that are scaled.

        A unit vector is that of a vector whose length is independent of all else.
        """
        single = np.concatenate([part.single for part in self._parts])
        flat = []
        start = 0
        for label, shape in zip(self._labels, self._shapes, strict=True):
            size = math.prod(shape)
            free = np.setdiff1d(np.arange(start, start + size), single)
            leaf = jnp.ones(size)
            if len(free):
                form = shape if len(free) == size else (len(free),)
                drawn = jnp.asarray(numpyro.sample(self.sites[label], dist.ImproperUniform(constraints.real, (), form)))
                leaf = leaf.astype(drawn.dtype).at[free - start].set(drawn.ravel())
            flat.append(leaf)
            start += size
        point, weight = jnp.concatenate(flat), jnp.zeros(())
        for vector in (vector for part in self._parts for vector in part.directions):
            raw = point[vector]
            radius = jnp.linalg.norm(raw)
            weight += dist.LogNormal(0.0, _RADIUS_SD).log_prob(radius)
            weight -= (len(vector) - 1) * jnp.log(radius) + log_sphere(len(vector))
            point = point.at[vector].set(raw / radius)
        return point, weight

    def _split(self, flat: jax.Array) -> list[jax.Array]:
        """Leaves of parameters of shape (..., P)."""
        parts = jnp.split(flat, np.cumsum([math.prod(shape) for shape in self._shapes])[:-1], axis=-1)
        return [part.reshape(*flat.shape[:-1], *shape) for part, shape in zip(parts, self._shapes, strict=True)]

    def _log_prior(self, priors: dict[str, dist.Distribution], flat: jax.Array) -> jax.Array:
        """Log of what the prior holds on the orbit through a point of the chart."""
        bases = [_independent(priors[label]) for label in self._labels]
        spans = np.split(np.arange(flat.shape[0]), np.cumsum([math.prod(shape) for shape in self._shapes])[:-1])
        none = np.zeros(0, int)
        joint = np.concatenate([none, *(span for span, base in zip(spans, bases, strict=True) if base is None)])

        def entrywise(points: jax.Array, chosen: Sequence[dist.Distribution | None] = bases) -> jax.Array:
            """Log prior of points (B, P), entry by entry; 0 where a site has none of these laws."""
            columns = []
            for base, leaf in zip(chosen, self._split(points), strict=True):
                values = jnp.zeros_like(leaf) if base is None else jnp.broadcast_to(base.log_prob(leaf), leaf.shape)
                columns.append(values.reshape(len(points), -1))
            return jnp.concatenate(columns, axis=-1)

        others = [None if isinstance(base, dist.Normal) else base for base in bases]
        quadratic = [
            _quadratic(base if isinstance(base, dist.Normal) else None, leaf)
            for base, leaf in zip(bases, self._split(flat), strict=True)
        ]
        constant, linear, square = (jnp.concatenate(part) for part in zip(*quadratic, strict=True))
        centred = all(_centred(base) for base in bases if isinstance(base, dist.Normal))
        other = partial(entrywise, chosen=others) if any(base is not None for base in others) else None
        prior = Prior(constant, None if centred else linear, square, other)
        sampled = [p for p in self._parts if len(p.names) > MOST_DIMENSIONS or np.isin(p.entries, joint).any()]
        total = self._along_sampled(sampled, joint, entrywise, priors, bases, flat)
        for dimension in range(1, MOST_DIMENSIONS + 1):
            these = [p for p in self._parts if p not in sampled and len(p.names) == dimension]
            if these:
                total += log_masses(these, prior, flat)
        moved = np.concatenate([part.entries for part in self._parts])
        still = np.setdiff1d(np.arange(flat.shape[0]), moved)
        return total + entrywise(flat[None])[0, still].sum()

    def _along_sampled(
        self,
        parts: Sequence[Component],
        joint: np.ndarray,
        entrywise: Callable[[jax.Array], jax.Array],
        priors: dict[str, dist.Distribution],
        bases: Sequence[dist.Distribution | None],
        flat: jax.Array,
    ) -> jax.Array:
        """Sample the coordinates of orbits that are not integrated; return their log density."""
        total, point = jnp.zeros(()), flat
        if parts:
            size = sum(len(part.names) for part in parts)
            orbit = numpyro.sample(ORBIT, dist.ImproperUniform(constraints.real, (), (size,)))
            for part, at in zip(parts, jnp.split(orbit, np.cumsum([len(p.names) for p in parts])[:-1]), strict=True):
                if len(part.patterns) > 1 and np.isin(part.entries, joint).any():
                    rule = f"the priors of what the symmetry {part.names[0]} scales must be independent"
                    raise InputError(message(rule, "a joint prior", "Leave this symmetry out."))
                scaled = flat[part.entries] * jnp.exp(at @ part.exponents)
                point = point.at[part.entries].set(scaled)
                signs = jnp.broadcast_to(flat, (len(part.patterns), flat.shape[0]))
                signs = signs.at[:, part.entries].set(part.patterns * scaled)
                total += logsumexp(entrywise(signs)[:, part.entries].sum(1)) + at @ part.volume + log_area(part)
        for label, base, leaf in zip(self._labels, bases, self._split(point), strict=True):
            total += priors[label].log_prob(leaf).sum() if base is None else 0.0
        return total


def quotient_model(
    model: Callable[..., Any],
    data: Any = None,
    *,
    symmetries: Sequence[Symmetry] | None = None,
    key: jax.Array | None = None,
) -> QuotientModel:
    r"""Reparameterise a NumPyro model so that NUTS samples the quotient by its scaling symmetries.

    For each symmetry one group of parameters becomes a unit vector, and its norm goes into the others: the new sites
    ``u_quotient`` are invariants, for a ReLU neuron w/\|w\| and \|w\| u, for a product the number v = u w. The
    likelihood is that of the model; the prior is the one of the model, integrated along the orbits:

    .. math:: p(y) = p(data \mid y)\, |\det E| \sum_\sigma \int dt\, e^{t \cdot \mathrm{vol}}\,
              p(\theta = \sigma e^{E^\top t} y),

    with the exponents E of the parameters y that have norm one, and the growth vol of the volume along the orbit; for
    u w with N(0, tau^2) priors :math:`K_0(|v|/\tau^2)/(\pi\tau^2)`. Signs sigma that the loss does not tell apart are
    summed over. The integral is by quadrature, exact to rounding; where more than two symmetries share parameters, as
    in deep networks, or the prior of a site is not independent, the orbits' coordinates are one more site, ``orbit``.

    The model's own sites are deterministic ones, at the point of the chart: functions that the symmetries leave alone
    have the values that they have under the posterior. Draws of the full posterior are `resample_orbits` of them.

    Parameters
    ----------
    model
        NumPyro model. The sites that the symmetries move must be real, with proper priors.
    data
        Its arguments, as for `sample`; needed where the symmetries are to be found.
    symmetries
        What `model_symmetries` found, or some of it; None finds them.
    key
        JAX key of the search.

    Returns
    -------
    QuotientModel
        A NumPyro model with the arguments of `model`.

    Raises
    ------
    InputError
        For a model without a symmetry, and where the scale of one stands in a single parameter whose sign the loss
        tells apart. When it runs: for sites that are not real, and for flat priors.

    Examples
    --------
    >>> import sgdvi
    >>> problem = sgdvi.zoo.load("diabetes")
    >>> model = sgdvi.quotient_model(problem.model, problem.data)
    >>> model.sites
    {'w': 'w_quotient'}
    """
    if symmetries is None:
        require(data is not None, "data must be given to find the symmetries", "none", "Or give symmetries=.")
        symmetries = model_symmetries(model, data, key=key)
    chosen = tuple(symmetries)
    for symmetry in chosen:
        require(isinstance(symmetry, Symmetry), "symmetries must be sgdvi.Symmetry", type(symmetry).__name__)
    require(
        chosen, "the model must have a scaling symmetry", "none", "Sample the model itself: it is its own quotient."
    )
    loss, parts = chosen[0].loss, tuple(components(chosen))
    single = np.concatenate([part.single for part in parts])
    sites, start = {}, 0
    for label, leaf in zip(loss.labels, loss.leaves, strict=True):
        if np.setdiff1d(np.arange(start, start + leaf.size), single).size:
            sites[label] = f"{label}_quotient"
        start += leaf.size
    return QuotientModel(model, chosen, sites, loss.labels, tuple(leaf.shape for leaf in loss.leaves), parts)


class _Fixed(Reparam):
    """Gives a site a value, and keeps its prior."""

    def __init__(self, value: jax.Array, priors: dict[str, dist.Distribution]) -> None:
        self.value, self.priors = value, priors

    def __call__(self, name: str, fn: Any, obs: Any) -> tuple[None, jax.Array]:
        rule = f"the site {name!r} must be latent and real, with a proper prior"
        support: Any = fn.support
        while hasattr(support, "base_constraint"):
            support = support.base_constraint
        real = support is constraints.real and not isinstance(fn, dist.ImproperUniform)
        require(obs is None and real, rule, f"{type(fn).__name__} on {support}")
        self.priors[name] = fn
        shape = (*fn.batch_shape, *fn.event_shape)
        require(shape == self.value.shape, f"the site {name!r} must have shape {self.value.shape}", shape)
        return None, self.value


def _quadratic(law: dist.Normal | None, leaf: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Log density of f times the entries of a leaf: constant, and what stands before f and -f^2; 0 without a law."""
    if law is None:
        return (jnp.zeros(leaf.size, leaf.dtype),) * 3
    y, mean = leaf / law.scale, jnp.broadcast_to(law.loc / law.scale, leaf.shape)
    constant = -0.5 * mean**2 - jnp.broadcast_to(jnp.log(law.scale), leaf.shape) - 0.5 * math.log(2 * math.pi)
    return constant.ravel(), (mean * y).ravel(), (0.5 * y**2).ravel()


def _centred(law: dist.Normal) -> bool:
    """Whether the mean is known to be 0: not where it is another site, nor where it is traced."""
    return not isinstance(law.loc, jax.core.Tracer) and not np.any(np.asarray(law.loc))


def _independent(fn: dist.Distribution) -> dist.Distribution | None:
    """Return the law of single entries, up to broadcasting; None for a joint law."""
    while isinstance(fn, dist.Independent | dist.ExpandedDistribution):
        fn = fn.base_dist
    return None if fn.event_shape else fn
