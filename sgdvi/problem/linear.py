"""The problem of a linear network on one feature."""

from typing import Any

from numpy.typing import ArrayLike

from sgdvi._internal.arguments import checked
from sgdvi._internal.check import finite_vector
from sgdvi.problem.base import Problem
from sgdvi.problem.network import LinearNetwork


@checked
def linear_problem(
    name: str,
    x: ArrayLike,
    y: ArrayLike,
    *,
    depth: int = 1,
    width: int = 1,
    noise_sd: float,
    prior_sd: float = 1.0,
    description: str = "",
    source: str = "",
) -> Problem:
    """Make the problem of a diagonal linear network v x on one feature, with everything known about it.

    Parameters
    ----------
    name
        Short name of the problem.
    x, y
        Feature and response, shape (N,), N >= 3.
    depth, width, noise_sd, prior_sd
        As in `LinearNetwork`.
    description, source
        What the problem teaches; where the data come from.

    Returns
    -------
    Problem
        With the functional ``v``, options ``depth``, ``width`` and ``prior_sd``, and ``exact`` set.

    Raises
    ------
    InputError
        For data or options that cannot be used.
    """
    network = LinearNetwork(finite_vector("x", x), finite_vector("y", y), depth, width, noise_sd, prior_sd)

    def remake(**options: Any) -> Problem:
        return linear_problem(name, x, y, noise_sd=noise_sd, description=description, source=source, **options)

    return Problem(
        name=name,
        model=network.model,
        data=(network.x, network.y),
        functionals={"v": network.product},
        dims={} if network.width == 1 else {site: ["unit"] for site in network.sites},
        exact=network,
        description=description,
        source=source,
        options={"depth": network.depth, "width": network.width, "prior_sd": float(prior_sd)},
        factory=remake,
    )
