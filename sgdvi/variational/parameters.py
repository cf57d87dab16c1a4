"""What is left of the variational problem in the space of the parameters: an infinite divergence."""

import math
from dataclasses import dataclass

from sgdvi.problem.network import LinearNetwork


@dataclass(frozen=True)
class ParameterDivergence:
    """KL divergence between SGD's law and the posterior in the space of all factors.

    Attributes
    ----------
    value
        inf, in both directions, unless the factors are v itself.
    dimension, ambient
        Dimension of the set that carries SGD's law, and of the space, which is that of the posterior's.
    reason
        Why, in words.
    """

    value: float
    dimension: int
    ambient: int
    reason: str


def parameter_divergence(network: LinearNetwork) -> ParameterDivergence:
    """Return KL(p_SGD || p_Bayes) on the factors: infinite by construction wherever a scaling symmetry acts.

    At depth 0 and width 1 the only factor is v; the value is then nan, see `divergence` for the divergence on v.
    """
    ambient = network.width * (network.depth + 1)
    if ambient == 1:
        return ParameterDivergence(math.nan, 1, 1, "The only parameter is v: see the divergence on v.")
    if network.depth == 0:
        why = "all gradients of the units are equal, so the differences between them keep their values or decay to 0"
    else:
        names = " = ".join(f"|{name}|" for name in network.sites)
        why = f"the law of balance brings every unit to {names}, and the ratios between the units to constants"
    reason = (
        f"The law of SGD lives on a set of dimension 1 in the {ambient}-dimensional space of the factors: {why}. The "
        "posterior has a density there and gives that set probability 0, so no temperature makes the divergence finite."
    )
    return ParameterDivergence(math.inf, 1, ambient, reason)
