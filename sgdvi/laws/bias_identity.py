"""The exact bias of SGD: what depth and weight decay take off the least-squares slope."""

from typing import NamedTuple

import jax
import numpy as np

from sgdvi._internal.arguments import checked
from sgdvi._internal.check import require
from sgdvi._internal.types import Values
from sgdvi.laws._engine.arrays import is_traced
from sgdvi.laws.quadrature import log_nodes
from sgdvi.laws.stationary import SGDStationary


class Bias(NamedTuple):
    """E[v] - v* and what it is made of, of the batch shape of the law."""

    value: Values
    """E[v] - beta2/beta1."""
    noise: Values
    """The part that the gradient noise causes at depth 1 and above; towards zero, in proportion to T."""
    decay: Values
    """The part that the weight decay causes; towards zero."""
    residual: Values
    """value - noise - decay, divided by the size of the slopes involved: rounding for an exact law."""


@checked
def bias(law: SGDStationary) -> Bias:
    r"""Bias of the stationary law against least squares, split by the identity that holds for every exact law.

    Parameters
    ----------
    law
        Law with concrete parameters, any batch shape.

    Returns
    -------
    Bias

    Raises
    ------
    InputError
        For anything but an `SGDStationary`, or traced parameters.

    Notes
    -----
    In the stationary state the mean change of :math:`|v|^{1-m}`, of :math:`\log|v|` at depth 1, is zero, so with
    :math:`m = (D-1)/(D+1)`

    .. math:: \beta_1 E[v] - \beta_2 = -\gamma\, E\bigl[(v/d)^{-m}\bigr] - D\, T\, E\bigl[g(v)\, (v/d)^{m}\bigr]

    on v > 0; at depth 0 :math:`\beta_1 E[v] - \beta_2 = -(\gamma/d) E[v]`. The two sides come from different
    integrals, so the residual checks a law, one's own included; all moments in it exist.

    Examples
    --------
    >>> import sgdvi
    >>> law = sgdvi.SGDStationary(sgdvi.Moments.linear(slope=1.0, noise=1.0), temperature=0.1)
    >>> parts = sgdvi.bias(law)
    >>> round(float(parts.value), 4), round(float(parts.noise), 4), bool(abs(parts.residual) < 1e-9)
    (-0.1551, -0.1551, True)
    """
    require(isinstance(law, SGDStationary), "bias takes an SGDStationary law", type(law).__name__, "Pass its `law`.")
    leaves = (law.moments, law.temperature, law.weight_decay)
    require(not is_traced(leaves), "bias needs concrete parameters", "traced ones", "Call it outside of jit and vmap.")
    alpha1, alpha2, alpha3, beta1, beta2, heat, decay = (
        np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(leaves)
    )
    with jax.enable_x64(True):
        mean = np.asarray(law.mean, np.float64)
    value = mean - beta2 / beta1
    if law.depth == 0:
        noise, shrink = np.zeros(law.batch_shape), -decay / law.width * mean / beta1
    else:
        nodes, weights = log_nodes(law)
        order, v = (law.depth - 1) / (law.depth + 1), law.sign * np.exp(nodes)
        gradient = (alpha1 * v - 2 * alpha2) * v + alpha3
        pushed = np.sum(weights * gradient * np.exp(order * (nodes - np.log(law.width))), axis=0)
        noise = -law.sign * law.depth * heat * pushed / beta1
        # A law with decay at depth 2 and above lies above some k > 0: where v is next to nothing there is no mass.
        lifted = np.sum(weights * np.exp(np.minimum(-order * (nodes - np.log(law.width)), 700.0)), axis=0)
        shrink = -law.sign * decay / beta1 * lifted * np.ones(law.batch_shape)
    size = np.abs(mean) + np.abs(beta2 / beta1) + np.abs(noise) + np.abs(shrink)
    return Bias(value, noise, shrink, (value - noise - shrink) / size)
