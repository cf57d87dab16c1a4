"""A problem: a NumPyro model or a loss, its data, the functionals of interest, what is known exactly about it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from sgdvi._internal.arguments import check_fields
from sgdvi._internal.check import InputError, message, require
from sgdvi._internal.tree import Arguments, to_arguments, to_arrays
from sgdvi.problem.loss import Loss
from sgdvi.problem.network import LinearNetwork, require_proper


@dataclass(frozen=True)
class Problem:
    """A NumPyro model or a loss with its data, as every run of a comparison sees it.

    Attributes
    ----------
    name
        Short name, used in titles and folder names.
    model
        NumPyro model. It takes the data as arguments and has one data plate over their leading axis. Or a `Loss`:
        then there is no posterior, and what needs one does not apply.
    data
        Positional arguments of the model, a tuple, or keyword arguments, a dict; arrays with N rows are what
        minibatches are drawn from. Columns of pandas, polars and xarray become NumPy arrays. A `Loss` gets batches of
        them as one tuple.
    functionals
        Name -> function of the draws (an object with one attribute per site, dimensions chain, draw and the
        site's own): the quantities on which laws are compared, for example ``{"v": lambda ds: ds.u * ds.w}``.
    dims
        Site -> names of its event dimensions; sites that share a name are aligned in the functionals.
    exact
        What is known in closed form, or None where nothing is.
    description, source
        What the problem teaches; where its data come from, with the licence.
    options
        The options that this problem was made with (depth, width, ...).
    factory
        Function that makes the problem again with other options; None where it has none.
    """

    name: str
    model: Callable[..., Any] | Loss
    data: Any
    functionals: Mapping[str, Callable[[Any], Any]]
    dims: Mapping[str, list[str]] = field(default_factory=dict)
    exact: LinearNetwork | None = None
    description: str = ""
    source: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    factory: "Callable[..., Problem] | None" = None

    def __post_init__(self) -> None:
        check_fields(self)
        object.__setattr__(self, "data", to_arrays(self.data))

    @property
    def arguments(self) -> Arguments:
        """Positional and keyword arguments of the model, as JAX arrays of the precision in force."""
        return to_arguments(self.data)

    @property
    def num_data(self) -> int:
        """Number of rows N: the largest leading size of the data."""
        return max((leaf.shape[0] for leaf in jax.tree.leaves(self.data) if np.ndim(leaf)), default=0)

    @property
    def no_posterior(self) -> str:
        """Why there is no posterior; empty where there is one."""
        if not isinstance(self.model, Loss):
            return ""
        return "The model is a loss, without a prior and a likelihood: there is no posterior."

    def with_options(self, **options: Any) -> "Problem":
        """Return the same problem made with other options (``depth=2``, ``width=5``, ``prior_sd=10.0``).

        Raises
        ------
        InputError
            If the problem does not have one of these options.
        """
        changed = {name: value for name, value in options.items() if value != self.options.get(name, ...)}
        if not changed:
            return self
        unknown = [name for name in changed if name not in self.options]
        if unknown or self.factory is None:
            have = ", ".join(self.options) or "none"
            rule = f"the problem {self.name!r} has no option {unknown[0] if unknown else next(iter(changed))!r}"
            raise InputError(message(rule, changed, f"Its options: {have}."))
        return self.factory(**{**self.options, **changed})


def require_posterior(problem: Problem) -> None:
    """Raise `InputError` where the problem is a loss, or its posterior is known to be improper."""
    rule, advice = "the problem must have a posterior", "Give a NumPyro model, or leave this reference out."
    require(not problem.no_posterior, rule, f"{problem.name!r}: {problem.no_posterior.rstrip('.')}", advice)
    if problem.exact is not None:
        require_proper(problem.exact)
