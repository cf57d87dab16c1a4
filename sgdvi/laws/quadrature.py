"""Expectations under a law at depth 1 and above, from its public density and quantiles alone."""

import jax
import numpy as np

from sgdvi._internal.check import require
from sgdvi.laws.stationary import SGDStationary

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
_TAILS = 10.0 ** np.arange(-14, -1)
_LEVELS = np.concatenate([_TAILS, np.linspace(0.05, 0.95, 19), 1 - _TAILS[::-1]])
# Panels of this length in log v where quantiles lie far apart: down to where nothing that grows like a power of v is
# left, and up through the power-law tail.
_STEP, _DOWN, _UP, _NEAR = 1.5, 60.0, 90.0, 60
# exp of less is no normal number; all mass below goes into one node, where every positive power of v is zero.
_LOWEST, _ZERO = -700.0, -1e4
# Closer to a zero of g, which bounds the law then, there is no mass.
_NEAREST = 1e-9


def log_nodes(law: SGDStationary) -> tuple[np.ndarray, np.ndarray]:
    """Nodes log |v| and weights of Gauss-Legendre panels between quantiles, shape (Q, *batch shape), float64.

    For E|v|^k with 0 <= k up to 0.4 below the first order that does not exist. Near Tc most of the mass may lie below
    the smallest numbers: it is in the first node.
    """
    require(law.depth > 0, "log v needs a law on one side of zero", "depth 0")
    with jax.enable_x64(True):
        upright = (-1, *[1] * len(law.batch_shape))
        levels = _LEVELS if law.sign > 0 else 1 - _LEVELS
        quantiles = np.asarray(law.log_icdf(levels.reshape(upright)))
        m = law.moments if law.sign > 0 else law.moments.mirror()
        scale = np.log(np.maximum(np.sqrt(m.alpha3 / m.alpha1), np.abs(np.asarray(m.minimizer))))
        even = np.arange(-_DOWN, _UP, _STEP).reshape(upright) + scale
        # Finer towards the complex zero of g: of nearly noiseless data a sharp peak stands there.
        distance = np.maximum(np.arctan2(np.sqrt(np.maximum(m.delta, 0.0)), m.alpha2), _NEAREST)
        near = distance * np.sinh(np.linspace(-1, 1, _NEAR).reshape(upright) * np.arcsinh(_DOWN / distance))
        grids = [even, np.log(m.alpha3 / m.alpha1) / 2 + near]
        grids = [np.maximum(np.broadcast_to(grid, (len(grid), *law.batch_shape)), quantiles[0]) for grid in grids]
        edges = np.sort(np.concatenate([quantiles, *grids]), axis=0)
        with np.errstate(divide="ignore"):
            edges = np.clip(edges, np.maximum(np.log(law._ends[0]), _LOWEST), np.log(law._ends[1]))
        half, middle = np.diff(edges, axis=0)[:, None] / 2, (edges[1:] + edges[:-1])[:, None] / 2
        shape = (-1, *law.batch_shape)
        nodes = (middle + half * _NODES.reshape(upright)).reshape(shape)
        inside = law.log_prob(law.sign * np.exp(nodes))
        weights = (half * _WEIGHTS.reshape(upright)).reshape(shape) * np.exp(np.asarray(inside) + nodes)
        # Only where the nodes were cut off: elsewhere the difference is rounding, which must not sit far from the bulk.
        rest = np.where(quantiles[:1] < _LOWEST, 1 - np.sum(weights, axis=0, keepdims=True), 0.0)
        return np.concatenate([np.full_like(rest, _ZERO), nodes]), np.concatenate([rest, weights])
