"""Symmetries removed: one point for each orbit, the law of a prior on an orbit, and orbits filled again with it."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sgdvi._internal.arguments import checked
from sgdvi._internal.check import positive, require
from sgdvi.problem.loss import split_module
from sgdvi.symmetry._loss import SampleLoss
from sgdvi.symmetry.chart import components
from sgdvi.symmetry.scaling import Symmetry

# Log of the largest scale that is looked at: far beyond any draw, and its square is still finite in float64.
FARTHEST = 60.0
# Log density below its maximum that is negligible, and the scans of ever smaller windows that find where it is.
# exp(-40) is lost in the rounding of a sum of order 1.
DEPTH, REFINEMENTS = 40.0, 3
_SCAN = 33
# From a bracket of twice FARTHEST down to 1e-16.
_HALVINGS = 60
_STILL = 1e-12
_MOST_SWEEPS = 500
_GIBBS_SWEEPS = 50
# Draws that are moved together, and the nodes of their laws. Within a chain fewer do: there every step moves.
_ROWS, _NODES, _NODES_OF_A_STEP = 2048, 512, 129


class OrbitLaw(NamedTuple):
    r"""The law that normal priors have on the orbit of a symmetry, in the parameter s of theta -> e^{c s} theta.

    .. math:: p(s) \propto \exp\Big(s\,\mathrm{vol} - \frac12 \sum_e e^{2 c_e s} q_e\Big)

    It is log-concave, and tabulated where it is not negligible.

    Attributes
    ----------
    grid
        Equidistant nodes, shape (M,).
    heights
        Density at the nodes, relative to its maximum there.
    below
        Cumulative sums of the heights by the trapezoidal rule, in units of half a cell; the last one is `mass`.
    mass
        Their sum.
    """

    grid: jax.Array
    heights: jax.Array
    below: jax.Array
    mass: jax.Array

    @classmethod
    def of(
        cls, powers: jax.Array, squares: jax.Array, volume: float | jax.Array, nodes: int = _NODES_OF_A_STEP
    ) -> "OrbitLaw":
        """Tabulate the law, under JAX.

        Parameters
        ----------
        powers
            Exponents c_e, shape (E,).
        squares
            Sums of squares q_e over the parameters with each exponent, divided by the variances of their priors, (E,).
        volume
            Sum of the exponents over all parameters.
        nodes
            Number of nodes.
        """
        share = jnp.linspace(0.0, 1.0, _SCAN, dtype=squares.dtype)
        high = jnp.asarray(FARTHEST / jnp.abs(powers).max(), squares.dtype)
        low = -high

        def log_density(at: jax.Array) -> jax.Array:
            return volume * at - (jnp.exp(2 * powers * at[:, None]) * squares).sum(-1) / 2

        for _ in range(REFINEMENTS):
            low, high = narrowed(low, high, log_density(low + (high - low) * share))
        grid = jnp.linspace(low, high, nodes)
        values = log_density(grid)
        heights = jnp.exp(values - values.max())
        below = jnp.concatenate([jnp.zeros(1, heights.dtype), jnp.cumsum(heights[1:] + heights[:-1])])
        return cls(grid, heights, below, below[-1])

    def quantile(self, share: jax.Array) -> jax.Array:
        """Return the s below which this share of the mass lies; at a uniform random share, a draw."""
        grid, heights, below = self.grid, self.heights, self.below
        mass = self.mass * share
        # within a cell the density is a straight line, and the cumulative sum a parabola
        cell = jnp.clip(jnp.searchsorted(below, mass, side="right") - 1, 0, len(grid) - 2)
        start, rise, left = heights[cell], heights[cell + 1] - heights[cell], mass - below[cell]
        root = jnp.sqrt(jnp.maximum(start**2 + rise * left, 0.0))
        # the root of the parabola that does not cancel where the rise is small against the start
        along = jnp.where(left > 0, left / jnp.maximum(start + root, jnp.finfo(below.dtype).tiny), 0.0)
        return lax.stop_gradient(grid[cell] + jnp.clip(along, 0.0, 1.0) * (grid[1] - grid[0]))


def narrowed(low: jax.Array, high: jax.Array, log_density: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the ends of the part of a grid in which a density is not negligible; its nodes are the first axis.

    One more node on either side stays: the density may rise above the limit between two nodes.
    """
    last, inside = log_density.shape[0] - 1, log_density > log_density.max(0) - DEPTH
    first, end = jnp.argmax(inside, 0), last - jnp.argmax(inside[::-1], 0)
    step = (high - low) / last
    return low + jnp.maximum(first - 1, 0) * step, low + jnp.minimum(end + 1, last) * step


@checked
def canonical_draws(symmetries: Sequence[Symmetry], draws: Any) -> Any:
    """Return the canonical point of the orbit of every draw: equal for two draws exactly if one orbit holds both.

    For rescalings it is the point of smallest norm, where all charges are zero; for scale invariances that of norm 1:
    see `Symmetry.canonicalize`. Two posteriors are compared on the quotient by comparing these.

    Parameters
    ----------
    symmetries
        What `find_symmetries` returned, or some of it.
    draws
        Pytree like the parameters, leaves with any leading axes, all the same (chain, draw).

    Returns
    -------
    Any
        The same structure, shapes and dtypes.

    Raises
    ------
    InputError
        For draws of another form, and where a side of a symmetry is zero: such an orbit has no canonical point.
    """
    moves = _Moves(symmetries, draws)
    # rescalings that share parameters: each in turn lowers the norm, which is convex along the orbits
    for _ in range(_MOST_SWEEPS):
        farthest = 0.0
        for symmetry in moves.symmetries:
            powers, squares = moves.squares(symmetry)
            aim = 0.0 if symmetry.kind == "rescaling" else float(np.sign(powers[0]))
            step = _zero_of(partial(_apart, powers, squares, aim), len(squares))
            moves.apply(symmetry, step)
            farthest = max(farthest, float(np.abs(step).max()))
        if farthest < _STILL or not moves.overlapping:
            break
    return moves.result()


@checked
def quotient_draws(symmetries: Sequence[Symmetry], draws: Any) -> Any:
    """Return the invariants of every draw: the coordinates in which `quotient_model` samples, in the form of the draws.

    For each symmetry one group of parameters is divided by its norm, which goes into the others: for a ReLU neuron
    w/|w| and |w| u, for a product u w the numbers 1 and u w. Signs that the loss does not tell apart are removed, too.
    Two posteriors are compared on the quotient by comparing these.

    Parameters
    ----------
    symmetries, draws
        As in `canonical_draws`.

    Returns
    -------
    Any
        The same structure, shapes and dtypes.

    Raises
    ------
    InputError
        As for `canonical_draws`, and where the scale of a symmetry stands in one parameter whose sign the loss tells.
    """
    moves = _Moves(symmetries, draws)
    shapes = [leaf.shape for leaf in moves.leaves]
    flat = np.concatenate([leaf.reshape(len(leaf), -1) for leaf in moves.leaves], axis=1)
    for component in components(moves.symmetries):
        flat = component.to_chart(flat)
    sizes = np.cumsum([leaf.size for leaf in moves.loss.leaves])[:-1]
    moves.leaves = [part.reshape(shape) for part, shape in zip(np.split(flat, sizes, axis=1), shapes, strict=True)]
    return moves.result()


@checked
def resample_orbits(symmetries: Sequence[Symmetry], draws: Any, prior_sd: float, *, key: jax.Array) -> Any:
    r"""Move every draw along its orbits to a point drawn from the posterior's law there.

    The likelihood does not change along an orbit, so the posterior's law on it is that of the prior. With N(0, tau^2)
    on every parameter and theta_a -> e^{c_a s} theta_a over groups of n_a parameters it has the density

    .. math:: p(s) \propto \exp\Big(s \sum_a c_a n_a - \frac{1}{2 \tau^2} \sum_a e^{2 c_a s} \|\theta_a\|^2\Big),

    the first term being the volume of the orbit. SGD stands still there; draws so moved are ergodic along it again,
    and differ from the posterior in the law on the quotient alone. Symmetries that share parameters are drawn in turn.

    Parameters
    ----------
    symmetries, draws
        As in `canonical_draws`.
    prior_sd
        tau.
    key
        JAX key.

    Returns
    -------
    Any
        The same structure, shapes and dtypes.

    Raises
    ------
    InputError
        For draws of another form, a prior that is not proper, and where a side of a symmetry is zero.
    """
    sd = positive("prior_sd", prior_sd, "Orbits have infinite volume: a flat prior has no law on them.")
    moves = _Moves(symmetries, draws)
    rng = np.random.default_rng([int(word) for word in np.asarray(jax.random.key_data(key)).ravel()])
    for _ in range(_GIBBS_SWEEPS if moves.overlapping else 1):
        for symmetry in moves.symmetries:
            powers, squares = moves.squares(symmetry)
            volume = sum(group.exponent * moves.size(group) for group in symmetry.groups)
            uniform = rng.uniform(size=len(squares))
            moves.apply(symmetry, _quantiles(powers, squares / sd**2, float(volume), uniform))
    return moves.result()


class _Moves:
    """Draws under way along the orbits; leaves of shape (B, ...), float64."""

    def __init__(self, symmetries: Sequence[Symmetry], draws: Any) -> None:
        self.symmetries = list(symmetries)
        require(self.symmetries, "there must be at least one symmetry", "none", "Draws are on the quotient already.")
        self.loss: SampleLoss = self.symmetries[0].loss
        leaves, structure = jax.tree.flatten(split_module(draws)[0])
        rule = f"draws must have the structure {self.loss.structure}"
        require(structure == self.loss.structure, rule, structure)
        self._given = [np.asarray(leaf) for leaf in leaves]
        self._lead = self._given[0].shape[: self._given[0].ndim - self.loss.leaves[0].ndim]
        for label, leaf, like in zip(self.loss.labels, self._given, self.loss.leaves, strict=True):
            rule = f"draws of {label} must have shape {('...', *like.shape)}, with the leading axes of the others"
            require(leaf.shape == (*self._lead, *like.shape), rule, leaf.shape)
        self.loss.check_finite(self._given, "draws")
        self.leaves = [
            np.array(leaf, np.float64).reshape(-1, *like.shape)
            for leaf, like in zip(self._given, self.loss.leaves, strict=True)
        ]
        seen = [np.zeros(leaf.shape, int) for leaf in self.loss.leaves]
        for symmetry in self.symmetries:
            for group in symmetry.groups:
                seen[group.leaf][group.where] += 1
        self.overlapping = any(bool((count > 1).any()) for count in seen)

    def size(self, group: Any) -> int:
        """Number of parameters in a group."""
        return int(self.loss.leaves[group.leaf][group.where].size)

    def squares(self, symmetry: Symmetry) -> tuple[np.ndarray, np.ndarray]:
        """Exponents, shape (E,), and sums of squares over the parameters with each, shape (B, E)."""
        powers = np.array(sorted({float(group.exponent) for group in symmetry.groups}))
        totals = np.zeros((len(self.leaves[0]), len(powers)))
        for group in symmetry.groups:
            part = self.leaves[group.leaf][(slice(None), *group.where)]
            totals[:, int(np.flatnonzero(powers == group.exponent)[0])] += (part**2).reshape(len(part), -1).sum(1)
        rule = f"both sides of the symmetry {symmetry} must be other than zero in every draw"
        require(bool(np.all(totals > 0)), rule, f"{int((totals <= 0).any(1).sum())} draws where one is zero")
        return powers, totals

    def apply(self, symmetry: Symmetry, step: np.ndarray) -> None:
        """Move every draw along the orbit."""
        for group in symmetry.groups:
            part = self.leaves[group.leaf][(slice(None), *group.where)]
            part *= np.exp(group.exponent * step).reshape(-1, *[1] * (part.ndim - 1))
            self.leaves[group.leaf][(slice(None), *group.where)] = part

    def result(self) -> Any:
        """Return the draws in their structure, shapes and dtypes."""
        pairs = zip(self.leaves, self._given, strict=True)
        back = [leaf.reshape(given.shape).astype(given.dtype) for leaf, given in pairs]
        return jax.tree.unflatten(self.loss.structure, back)


def _apart(powers: np.ndarray, squares: np.ndarray, aim: float, step: np.ndarray) -> np.ndarray:
    """Sum of c e^{2 c s} q over the exponents, less its aim, shape (B,)."""
    # its derivative in the step is a sum of squares times positive numbers: it rises
    with np.errstate(over="ignore"):
        return (powers * np.exp(2 * powers * step[:, None]) * squares).sum(1) - aim


def _zero_of(rising: Callable[[np.ndarray], np.ndarray], count: int) -> np.ndarray:
    """Zeros of functions that rise along the orbit, by halving."""
    low, high = np.full(count, -FARTHEST), np.full(count, FARTHEST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        above = rising(middle) > 0
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return (low + high) / 2


def _quantiles(powers: np.ndarray, squares: np.ndarray, volume: float, shares: np.ndarray) -> np.ndarray:
    """Quantiles of the laws on many orbits, each at its own share, shape (B,); squares have shape (B, E)."""
    parts = [slice(start, start + _ROWS) for start in range(0, len(squares), _ROWS)]
    with jax.enable_x64(True):
        drawn = [_block_quantiles(powers, _filled(squares[part]), volume, _filled(shares[part])) for part in parts]
    return np.concatenate([np.asarray(block) for block in drawn])[: len(squares)]


def _filled(rows: np.ndarray) -> np.ndarray:
    """Repeat the last row up to the size of a block, so that one compiled program serves any number of draws."""
    return np.concatenate([rows, np.repeat(rows[-1:], _ROWS - len(rows), axis=0)])


@jax.jit
def _block_quantiles(powers: jax.Array, squares: jax.Array, volume: jax.Array, shares: jax.Array) -> jax.Array:
    return jax.vmap(lambda own, share: OrbitLaw.of(powers, own, volume, _NODES).quantile(share))(squares, shares)
