"""A model with a latent value per row, without it: the value is integrated out inside the row, and drawn afterwards."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jax import lax
from numpyro import handlers
from numpyro.distributions import biject_to, constraints
from numpyro.primitives import CondIndepStackFrame, Messenger

from sgdvi._internal.arguments import checked
from sgdvi._internal.check import InputError, message, require, whole
from sgdvi._internal.tree import Arguments, label, to_arguments
from sgdvi.draws.tree import DataTree, with_sites
from sgdvi.problem.all_rows import full_model, trial

NODES = 15
# Of the row's own sd: what Newton's method leaves.
_CLOSE = 1e-6
_MOST_STEPS = 60
_LARGEST_DAMPING = 1e12
# The grid that values are drawn on: sds about the mode, and points.
_REACH, _GRID = 8.0, 65
_LOWEST, _LEVEL = -700.0, 1e-6
# Numbers that are held at once.
_MOST_NUMBERS = 10**6
_LEAST_CURVATURE = 1e-12


@checked
def integrate_rows(model: Callable[..., Any], sites: Sequence[str], *, num_nodes: int = NODES) -> "IntegratedRows":
    r"""Integrate a latent value of each row out of a model, so that minibatches of its rows are possible.

    In the data plate the site b and the likelihood of y are replaced by

    .. math:: \log \int p(y_i \mid b_i, \theta)\, p(b_i \mid \theta)\, \mathrm{d} b_i,

    by Gauss-Hermite quadrature about the row's own mode, scaled by its curvature there (a Laplace step): exact where
    b and y are Gaussian. SGD, NUTS and variational inference then run on the parameters :math:`\theta` alone, and
    `IntegratedRows.complete` draws b given them.

    Parameters
    ----------
    model
        NumPyro model with one data plate; the latent site stands in it, one number per row, as do all observed sites
        that depend on it.
    sites
        Its name, in a list.
    num_nodes
        Points of the quadrature; 1 is the Laplace approximation.

    Returns
    -------
    IntegratedRows
        A NumPyro model of the same arguments.

    Raises
    ------
    InputError
        For several sites, a model that is none, and, when the model is run, a site that is missing, discrete, no
        single number per row or in another than one plate.

    References
    ----------
    Q. Liu and D. A. Pierce, A note on Gauss-Hermite quadrature, Biometrika 81 (1994).

    Examples
    --------
    >>> import jax, numpy as np, numpyro, numpyro.distributions as dist, sgdvi
    >>> def schools(sigma, y):
    ...     mu, tau = numpyro.sample("mu", dist.Normal(0, 5)), numpyro.sample("tau", dist.HalfCauchy(5))
    ...     with numpyro.plate("schools", len(y)):
    ...         theta = numpyro.sample("theta", dist.Normal(mu, tau))
    ...         numpyro.sample("y", dist.Normal(theta, sigma), obs=y)
    >>> model = sgdvi.integrate_rows(schools, sites=["theta"])
    >>> sorted(sgdvi.find_mode(model, (np.full(8, 10.0), np.arange(8.0) * 5)).point)
    ['mu', 'tau']
    """
    require(callable(model), "model must be a NumPyro model", repr(model))
    names = [sites] if isinstance(sites, str) else list(sites)
    advice = "Integrate one, and write the others with the number of the row as an index."
    require(len(names) == 1, "one latent site per row can be integrated out", names, advice)
    return IntegratedRows(model, names[0], whole("num_nodes", num_nodes, least=1))


@dataclass(frozen=True, eq=False)
class IntegratedRows:
    """A NumPyro model of which one latent value per row has been integrated out: see `integrate_rows`.

    Attributes
    ----------
    model
        The model as it was written.
    site
        Name of the latent site.
    num_nodes
        Points of the quadrature.
    """

    model: Callable[..., Any]
    site: str
    num_nodes: int

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """Run the model without the site."""
        outside = _Outside(self.model, self.site)
        with numpyro.validation_enabled(is_validate=False):  # rows are not a number outside the integral
            outside(*args, **kwargs)
        rows = _Rows(self.model, (args, kwargs), outside)
        frame, size = outside.frame, outside.sizes[outside.frame.name]
        value = rows.log_marginal(outside.values, self.num_nodes)
        with numpyro.plate(frame.name, size, dim=frame.dim):
            numpyro.factor(f"{self.site} integrated out", value.reshape(-1, *(1,) * (-frame.dim - 1)))

    def complete(self, run: DataTree, data: Any, *, key: jax.Array) -> DataTree:
        """Draw the values of the rows given the parameters of each draw, and compute what is derived from them.

        Parameters
        ----------
        run
            Draws of the parameters.
        data
            The arguments of the model: a tuple, or a dict of keyword ones.
        key
            JAX key.

        Returns
        -------
        DataTree
            The run with the site and the deterministic sites of the model in its group ``posterior``.

        Raises
        ------
        InputError
            If the run lacks a latent site of the model.
        """
        arguments = to_arguments(data)
        args, kwargs = arguments
        posterior = run["posterior"].to_dataset()
        model = full_model(self.model, arguments)
        first = handlers.trace(trial(model)).get_trace(*args, **kwargs)
        latent = {n for n, site in first.items() if site["type"] == "sample" and not site["is_observed"]} - {self.site}
        missing = sorted(name for name in latent if label(name) not in posterior)
        rule = "the run must have draws of every site of the model but that of the rows"
        require(not missing, rule, f"none of {', '.join(missing)}")
        given = {name: posterior[label(name)].values for name in sorted(latent)}
        chains, draws = posterior.sizes["chain"], posterior.sizes["draw"]

        def one(pair: tuple[jax.Array, dict[str, jax.Array]]) -> dict[str, jax.Array]:
            key, values = pair
            outside = _Outside(model, self.site)
            with handlers.block(), numpyro.validation_enabled(is_validate=False):
                handlers.substitute(outside, data=values)(*args, **kwargs)
            value = _Rows(model, arguments, outside).draw(outside.values, key)
            with handlers.block(), handlers.trace() as trace:
                handlers.substitute(model, data=outside.values | {self.site: value})(*args, **kwargs)
            derived = {name: site["value"] for name, site in trace.items() if site["type"] == "deterministic"}
            return {self.site: value, **derived}

        flat = {name: values.reshape(-1, *values.shape[2:]) for name, values in given.items()}
        keys = jax.random.split(key, chains * draws)
        size = np.size(first[self.site]["value"])
        # blocks of one size, the last one filled up with the last draw, so that one program serves all
        total = chains * draws
        blocks = -(-total // max(1, _MOST_NUMBERS // (size * _GRID)))
        places = np.minimum(np.arange(blocks * -(-total // blocks)), total - 1).reshape(blocks, -1)
        pairs = jax.tree.map(lambda leaf: leaf[places], (keys, flat))
        made = jax.jit(lambda pairs: lax.map(jax.vmap(one), pairs))(pairs)
        shaped = {n: np.asarray(value).reshape(-1, *value.shape[2:])[:total] for n, value in made.items()}
        shaped = {name: value.reshape(chains, draws, *value.shape[1:]) for name, value in shaped.items()}
        return with_sites(run, shaped)


class _Outside(Messenger):
    """Run a model of which what stands in the rows is hidden; keep the values of the rest.

    The site is NaN meanwhile: a density that depends on it outside the rows becomes NaN, and is refused.
    """

    def __init__(self, fn: Callable[..., Any], site: str) -> None:
        self.site = site
        self.values: dict[str, Any] = {}
        self.sizes: dict[str, int] = {}
        self.law: Any = None
        self._frame: CondIndepStackFrame | None = None
        super().__init__(fn)

    @property
    def frame(self) -> CondIndepStackFrame:
        """The plate of the rows."""
        advice = "It is a latent site of the data plate."
        if self._frame is None:
            raise InputError(message(f"the model must have the latent site {self.site!r}", "none", advice))
        return self._frame

    def process_message(self, msg: Any) -> None:
        """Hide the site, and what stands in its plate after it."""
        if msg["type"] == "plate":
            self.sizes[msg["name"]] = msg["args"][0]
        elif msg["type"] == "sample" and msg["name"] == self.site:
            self._take(msg)
        elif msg["type"] in ("sample", "deterministic") and self._in_rows(msg):
            latent = msg["type"] == "sample" and not msg["is_observed"]
            advice = "Integrate it out, too, by hand, or index it by the number of the row."
            require(not latent, "only one latent site may stand in the rows", repr(msg["name"]), advice)
            msg["stop"] = True

    def postprocess_message(self, msg: Any) -> None:
        """Keep the value of a site outside the rows."""
        if msg["type"] in ("sample", "param") and not msg.get("is_observed") and msg["name"] != self.site:
            self.values[msg["name"]] = msg["value"]

    def _in_rows(self, msg: Any) -> bool:
        frames = msg.get("cond_indep_stack", ())
        return self._frame is not None and any(frame.name == self._frame.name for frame in frames)

    def _take(self, msg: Any) -> None:
        law, frames, name = msg["fn"], msg["cond_indep_stack"], repr(self.site)
        require(not msg["is_observed"], f"the site {name} must be latent", "an observed one")
        advice = "Write it inside `with numpyro.plate(...)` over the rows."
        require(len(frames) == 1, f"the site {name} must stand in one plate, that of the rows", len(frames), advice)
        require(not law.support.is_discrete, f"the site {name} must be continuous", type(law).__name__)
        shape = law.shape()
        scalar = law.event_shape == () and int(np.prod(shape)) == frames[0].size
        require(scalar, f"the site {name} must be one number per row", f"shape {shape} for {frames[0].size} rows")
        self._frame, self.law = frames[0], law
        msg["value"], msg["stop"] = jnp.full(shape, jnp.nan), True


class _Rows:
    """The densities of the rows as functions of the site, unconstrained, (S,)."""

    def __init__(self, model: Callable[..., Any], arguments: Arguments, outside: _Outside) -> None:
        self.model, self.arguments, self.site = model, arguments, outside.site
        self.frame, self.sizes, self.law = outside.frame, outside.sizes, outside.law
        self.transform = biject_to(self.law.support)

    def terms(self, values: dict[str, Any], b: jax.Array) -> jax.Array:
        """Log density of each row's site and data, with the Jacobian of the coordinates, (S,)."""
        x = self.transform(b)
        args, kwargs = self.arguments
        # plates go on to the minibatch, all else stays here
        hidden = handlers.block(hide_fn=lambda msg: msg["type"] not in ("plate", "subsample"))
        given = values | {self.site: self.shaped(x)}
        with hidden, handlers.trace() as trace, handlers.substitute(data=given):
            self.model(*args, **kwargs)
        total = self.transform.log_abs_det_jacobian(b, x)
        for site in trace.values():
            mine = [frame for frame in site.get("cond_indep_stack", ()) if frame.name == self.frame.name]
            if site["type"] == "sample" and mine:
                log_prob = site["fn"].log_prob(site["value"])
                # without the factor N/S of a minibatch, which belongs to the integral
                applied = self.sizes[self.frame.name] / mine[0].size
                scale = (1.0 if site["scale"] is None else site["scale"]) / applied
                parts = jnp.moveaxis(jnp.broadcast_to(scale * log_prob, jnp.shape(log_prob)), mine[0].dim, 0)
                total = total + parts.reshape(parts.shape[0], -1).sum(1)
        return total

    def shaped(self, x: jax.Array) -> jax.Array:
        """Return one number per row in the shape of the site."""
        return x.reshape(self.law.shape())

    def log_marginal(self, values: dict[str, Any], num_nodes: int) -> jax.Array:
        """Log density of each row's data, (S,)."""
        mode, sd = self.laplace(values)
        nodes, weights = np.polynomial.hermite_e.hermegauss(num_nodes)
        at = mode + sd * nodes[:, None]
        logs = jax.vmap(lambda b: self.terms(values, b))(at) + (np.log(weights) + 0.5 * nodes**2)[:, None]
        return jax.nn.logsumexp(logs, axis=0) + jnp.log(sd)

    def laplace(self, values: dict[str, Any]) -> tuple[jax.Array, jax.Array]:
        """Mode and standard deviation of each row's site; constants to derivatives, as the integral is to its nodes."""
        values = jax.tree.map(lax.stop_gradient, values)

        def derivatives(b: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
            ones = jnp.ones_like(b)

            def first(b: jax.Array) -> tuple[jax.Array, jax.Array]:
                return jax.jvp(lambda b: self.terms(values, b), (b,), (ones,))

            (value, slope), (_, curvature) = jax.jvp(first, (b,), (ones,))
            return value, slope, jnp.maximum(jnp.abs(curvature), _LEAST_CURVATURE)

        # Newton's method with a damping of its own for each row
        def go_on(state: Any) -> jax.Array:
            _, damping, (_, slope, curvature), count = state
            near = slope**2 < _CLOSE**2 * curvature
            return (count < _MOST_STEPS) & jnp.any(~near & (damping < _LARGEST_DAMPING))

        def step(state: Any) -> Any:
            b, damping, (value, slope, curvature), count = state
            tried = b + slope / (curvature * (1 + damping))
            at_tried = derivatives(tried)
            # an end is no step up: rounding decides there
            better = (
                jnp.isfinite(at_tried[0]) & jnp.isfinite(at_tried[1]) & (at_tried[0] >= value - 1e-12 * jnp.abs(value))
            )
            b = jnp.where(better, tried, b)
            kept = jax.tree.map(lambda new, old: jnp.where(better, new, old), at_tried, (value, slope, curvature))
            return b, jnp.where(better, damping / 8, 8 * damping + 1), kept, count + 1

        start = lax.stop_gradient(self.start())
        state = (start, jnp.zeros_like(start), derivatives(start), 0)
        b, _, (_, _, curvature), _ = lax.while_loop(go_on, step, state)
        return lax.stop_gradient(b), lax.stop_gradient(curvature**-0.5)

    def start(self) -> jax.Array:
        """Return where the search for the modes begins: at the prior's means where they are known."""
        size = self.frame.size
        if self.law.support is not constraints.real:
            return jnp.zeros(size)
        try:
            return jnp.nan_to_num(jnp.broadcast_to(self.law.mean, self.law.shape())).reshape(size).astype(float)
        except NotImplementedError:
            return jnp.zeros(size)

    def draw(self, values: dict[str, Any], key: jax.Array) -> jax.Array:
        """Draw each row's site given the parameters, from its density on a grid about the mode."""
        mode, sd = self.laplace(values)
        grid = np.linspace(-_REACH, _REACH, _GRID)
        logs = jax.vmap(lambda b: self.terms(values, b))(mode + sd * grid[:, None])
        logs = jnp.maximum(logs - logs.max(0), _LOWEST)
        # between two points the log density is a line, whose integral and its inverse are known
        rise = jnp.diff(logs, axis=0)
        level = jnp.abs(rise) < _LEVEL
        safe = jnp.where(level, 1.0, rise)
        mass = jnp.where(level, 1.0, jnp.expm1(safe) / safe) * jnp.exp(logs[:-1])
        edges = jnp.cumsum(mass, 0)
        chance = jax.random.uniform(key, mode.shape) * edges[-1]
        piece = jnp.minimum((edges < chance).sum(0), _GRID - 2)

        def of_piece(values: jax.Array) -> jax.Array:
            return jnp.take_along_axis(values, piece[None], 0)[0]

        share = jnp.clip(1 - (of_piece(edges) - chance) / of_piece(mass), 0, 1)
        steps = jnp.where(of_piece(level), share, jnp.log1p(share * jnp.expm1(of_piece(safe))) / of_piece(safe))
        return self.shaped(self.transform(mode + sd * (grid[0] + (piece + steps) * (grid[1] - grid[0]))))
