"""What SGD descends, whatever it is made of: a loss on any rows, and the way from its parameters to named values."""

from abc import ABC, abstractmethod
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sgdvi._internal.check import require
from sgdvi._internal.tree import Arguments, Rows, RowSplit

# in the coordinates that SGD moves in: a dict of sites for a NumPyro model, the caller's pytree for a loss
Params = Any


class Target(ABC):
    """What SGD descends: a mean loss on any of the rows of the data.

    Attributes
    ----------
    split
        How the data divide into rows and fixed values.
    outputs
        Names of the values that draws consist of.
    """

    split: RowSplit
    outputs: tuple[str, ...]

    @property
    def num_data(self) -> int:
        """Number of rows N."""
        return self.split.total

    @property
    def dimension(self) -> int:
        """Number of parameters in the coordinates of SGD."""
        like = self.default
        return 0 if like is None else sum(np.size(leaf) for leaf in jax.tree.leaves(like))

    @property
    def default(self) -> Params | None:
        """Where chains start unless the caller says otherwise; None where starts are drawn."""
        return None

    def rows(self, arguments: Arguments) -> Rows:
        """Return the data of `arguments` that minibatches are taken from."""
        return self.split.rows(arguments)

    @abstractmethod
    def loss(self, z: Params, rows: Rows) -> jax.Array:
        """Loss on a minibatch (or on all the data, when `rows` is all of them)."""

    @abstractmethod
    def constrain(self, z: Params, rows: Rows) -> dict[str, jax.Array]:
        """Map parameters to the values of a draw; `rows` is all the data."""

    @abstractmethod
    def unconstrain(self, params: Params, rows: Rows) -> Params:
        """Map what the caller calls parameters to the coordinates of SGD."""

    @abstractmethod
    def by_name(self, params: Params, what: str) -> dict[str, Any]:
        """Return the leaves of parameters by their names; `what` is what a message calls them.

        Raises
        ------
        InputError
            If they are not the parameters of this target.
        """

    @abstractmethod
    def from_names(self, values: dict[str, Any]) -> Params:
        """Put parameters together from their leaves by name."""

    @abstractmethod
    def shapes_of(self, rows: Rows) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the caller's parameters by name."""

    @abstractmethod
    def start(self, key: jax.Array, rows: Rows) -> tuple[Params, jax.Array]:
        """Return parameters to start from, and whether loss and gradient are finite there."""

    @abstractmethod
    def check(self, z: Params, rows: Rows, batch_size: int) -> None:
        """Check at the parameters `z` that minibatches are what they seem.

        Raises
        ------
        InputError
            If a row does not weigh in a minibatch what it weighs in the full data.
        """

    def is_finite(self, z: Params, rows: Rows) -> jax.Array:
        """Whether the full loss and its gradient are finite at `z`."""
        loss, gradient = jax.value_and_grad(self.loss)(z, rows)
        return jnp.isfinite(loss) & jnp.all(jnp.array([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient)]))

    def not_finite(self, z: Params, rows: Rows) -> str:
        """Say where the loss is not finite at `z`; empty where that is not known."""
        return ""


@partial(jax.jit, static_argnames="target")
def find_start(target: Target, key: jax.Array, rows: Rows) -> tuple[Params, jax.Array]:
    """Compiled `Target.start`."""
    return target.start(key, rows)


def require_finite(finite: jax.Array, where: str = "") -> None:
    """Raise `InputError` unless loss and gradient are finite at all starts."""
    advice = "Look for NaN in the data and for data outside the support of the likelihood; or give starts with init=."
    rule = "loss and gradient must be finite at the start of every chain"
    reached = np.asarray(finite)
    got = f"{np.sum(~reached)} of {finite.size} that are not{where and f' ({where})'}"
    require(bool(reached.all()), rule, got, advice)
