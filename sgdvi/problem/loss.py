"""A per-sample loss with a pytree of parameters: what SGD descends where there is no density."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sgdvi._internal.check import InputError, message, non_negative, require
from sgdvi.draws.functionals import PerDraw, draw_arrays

MEAN_ADVICE = "Return the losses of the rows before any mean or sum."


@dataclass(frozen=True, eq=False)
class Loss:
    r"""A per-sample loss and its parameters: a target of SGD that is no NumPyro model.

    SGD descends the mean over the minibatch of

    .. math:: \ell_i(\theta) = \mathrm{function}(\theta, batch)_i + \gamma \lVert\theta\rVert^2

    in the coordinates of the parameters themselves.

    Parameters
    ----------
    function
        function(params, batch) -> losses of the rows, shape (B,), as for `find_symmetries`. The loss of a row must
        not depend on the other rows, and not on chance.
    params
        Pytree of floating arrays, such as a dict, the parameters of a Flax module or a whole Equinox or NNX module: the
        structure, the shapes, the types, and where chains start unless ``init=`` says otherwise. Of an NNX module
        its ``nnx.Param``, and of a module with functions or keys among its leaves the floating arrays, are the
        parameters; `function` gets all of it.
    weight_decay
        gamma, at least 0.

    Attributes
    ----------
    params
        The parameters: of a module the part that moves.
    names
        Names of the parameters, in their order: the path of each, joined by dots (``"layers.0.weight"``).
    whole
        Parameters -> what `function` was written for: the module again, where one was given.

    Raises
    ------
    InputError
        For a function that is none, parameters without leaves, with other than floating ones or of one name, and a
        negative decay.

    Examples
    --------
    >>> import jax, numpy as np, optax, sgdvi
    >>> x = np.linspace(-1.0, 2.0, 20)
    >>> loss = sgdvi.Loss(lambda p, batch: (p["u"] * p["w"] * batch[0] - batch[1]) ** 2, {"u": 1.0, "w": 2.0})
    >>> sampler = sgdvi.SGD(loss, optax.sgd(0.01), batch_size=4)
    >>> tree = sgdvi.sample(sampler, (x, 2 * x), key=jax.random.key(0), num_steps=10, progress=False)
    >>> list(tree["posterior"].data_vars)
    ['u', 'w']
    """

    function: Callable[[Any, Any], Any]
    params: Any
    weight_decay: float = 0.0
    names: tuple[str, ...] = field(init=False)
    whole: Callable[[Any], Any] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        require(callable(self.function), "loss must be a function loss(params, batch)", type(self.function).__name__)
        params, whole = split_module(self.params)
        if whole is not None:
            function = self.function
            object.__setattr__(self, "params", params)
            object.__setattr__(self, "function", lambda params, batch: function(whole(params), batch))
        object.__setattr__(self, "whole", whole or (lambda params: params))
        object.__setattr__(self, "weight_decay", non_negative("weight_decay", self.weight_decay))
        names, _ = parameter_leaves(self.params)
        twice = sorted({name for name in names if names.count(name) > 1})
        require(not twice, "the leaves of params must have different names", f"{twice} more than once", "Rename them.")
        object.__setattr__(self, "names", tuple(names))

    def __call__(self, params: Any, batch: Any) -> jax.Array:
        """Return the losses of the rows of a batch, shape (B,), with the decay."""
        values = jnp.asarray(self.function(params, batch))
        if not self.weight_decay:
            return values
        return values + self.weight_decay * sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(params))

    def unflatten(self, draws: Any) -> Any:
        """Return the parameters of all draws as the network has them: each leaf with leading axes (chain, draw).

        Parameters
        ----------
        draws
            A run of `sample` on this loss, its posterior, or a dict of arrays (chain, draw, ...) by the names of the
            leaves.

        Returns
        -------
        Any
            A pytree like the one that the loss was given with, in its types: ``jax.vmap(jax.vmap(fn))`` of it is a
            function of the parameters at all draws.

        Raises
        ------
        InputError
            If a leaf is missing or has another shape.
        """
        arrays = draw_arrays(draws)
        missing = [name for name in self.names if name not in arrays]
        advice = "Keep all parameters when you sample, or compute functionals on the way."
        require(not missing, "draws must have all parameters of the loss", f"none of {', '.join(missing)}", advice)
        for name, leaf in zip(self.names, jax.tree.leaves(self.params), strict=True):
            own = arrays[name].shape[2:]
            require(own == np.shape(leaf), f"each draw of {name} must have shape {np.shape(leaf)}", own)
        return self._of(arrays)

    def per_draw(self, function: Callable[[Any], Any]) -> PerDraw:
        """Make a functional of a function of the parameters of one draw, as `function` has them: see `sgdvi.per_draw`.

        Predictions on a test set, for example: ``loss.per_draw(lambda network: network(x_test))``. `sample` computes
        them on the way, so that ``keep=()`` need not store parameters.

        Raises
        ------
        InputError
            If it is no function.
        """
        require(callable(function), "functionals must be functions of the parameters", type(function).__name__)
        return PerDraw(function, self._of)

    def _of(self, values: Mapping[str, Any]) -> Any:
        """Put the leaves by name together, in the types of the parameters."""
        leaves, structure = jax.tree.flatten(self.params)
        typed = [jnp.asarray(values[name], _dtype(leaf)) for name, leaf in zip(self.names, leaves, strict=True)]
        return self.whole(jax.tree.unflatten(structure, typed))

    def check(self, batch: Any, size: int) -> None:
        """Check that the loss runs on a batch of `size` rows and returns one value for each; nothing is computed.

        Raises
        ------
        InputError
            If it does not.
        """
        params = jax.tree.map(jnp.asarray, self.params)
        check_shape(lambda these: self.function(params, these), batch, size)


def split_module(params: Any) -> tuple[Any, Callable[[Any], Any] | None]:
    """Split a module into its parameters and the rest.

    Returns
    -------
    tuple
        Of a Flax NNX module its ``nnx.Param``; of another pytree with functions or keys among its leaves the floating
        arrays, with None for all others. And a function that puts the rest back. Any other pytree as it is, and None.
    """
    nnx = sys.modules.get("flax.nnx")  # not imported to find out: who holds a module has imported it
    if nnx is not None and isinstance(params, nnx.Module):
        # statistics of normalisation are floating arrays, too
        graph, own, rest = nnx.split(params, nnx.Param, ...)
        return own, lambda own: nnx.merge(graph, own, rest)
    if not any(callable(leaf) or _is_key(leaf) for leaf in jax.tree.leaves(params)):
        return params, None
    own = jax.tree.map(lambda leaf: leaf if _is_parameter(leaf) else None, params)
    rest = jax.tree.map(lambda leaf: None if _is_parameter(leaf) else leaf, params)

    def whole(own: Any) -> Any:
        return jax.tree.map(
            lambda one, other: other if one is None else one, own, rest, is_leaf=lambda leaf: leaf is None
        )

    return own, whole


def _is_parameter(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray) and jnp.issubdtype(leaf.dtype, jnp.floating)


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _dtype(leaf: Any) -> Any:
    return jax.dtypes.canonicalize_dtype(leaf.dtype if hasattr(leaf, "dtype") else float)


def parameter_leaves(params: Any) -> tuple[list[str], list[Any]]:
    """Return names and leaves of a pytree of parameters.

    Raises
    ------
    InputError
        If there is no leaf, or one that is not floating or has no entries.
    """
    try:
        paths, _ = jax.tree_util.tree_flatten_with_path(params)
    except ValueError as error:  # the names in a dict must have an order
        raise InputError(message("params must be a pytree of arrays", " ".join(str(error).split())[:100])) from error
    require(paths, "params must have at least one array", "none")
    names = [jax.tree_util.keystr(path, simple=True, separator=".").replace("/", ".") or "params" for path, _ in paths]
    for name, (_, leaf) in zip(names, paths, strict=True):
        dtype = leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype
        advice = "Close over it in the loss, or convert it to a floating dtype."
        floating = jnp.issubdtype(dtype, jnp.floating)
        require(floating, f"every leaf of params must be floating; {name} is not", dtype, advice)
        require(np.size(leaf), f"every leaf of params must have entries; {name} has none", f"shape {np.shape(leaf)}")
    return names, [leaf for _, leaf in paths]


def count_rows(data: Any) -> int:
    """Return the number of rows N of a pytree of arrays.

    Raises
    ------
    InputError
        If there are no arrays or no rows, or arrays that are not numeric or differ in their number of rows.
    """
    leaves = jax.tree.leaves(data)
    require(leaves, "data must have at least one array", "none")
    sizes = set()
    for leaf in leaves:
        dtype = leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype
        numeric = jnp.issubdtype(dtype, jnp.number) or jnp.issubdtype(dtype, jnp.bool_)
        require(numeric, "data must be numeric", f"dtype {dtype}")
        advice = "Give arrays, not lists; close over constants."
        require(np.ndim(leaf), "every array of data must have one row per sample", "a scalar", advice)
        sizes.add(leaf.shape[0])
    advice = "Close over what has no rows in the loss."
    require(len(sizes) == 1, "all arrays of data must have the same number of rows", sorted(sizes), advice)
    require(min(sizes), "data must have at least one row", 0)
    return sizes.pop()


def check_shape(fn: Callable[[Any], Any], batch: Any, size: int) -> jax.ShapeDtypeStruct:
    """Return shape and type of what a loss, as a function of the batch alone, makes of `size` rows.

    Raises
    ------
    InputError
        If it does not run, or does not return one number per row.
    """
    try:
        losses = jax.eval_shape(fn, batch)
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        rule = "loss(params, batch) must run on rows of the data"
        raise InputError(message(rule, f"{type(error).__name__}: {lines[0]}")) from error
    rule = f"loss must return one value per row, shape ({size},) for {size} rows"
    require(hasattr(losses, "shape"), rule, f"a {type(losses).__name__}", "Return the losses alone.")
    shape: tuple[int, ...] = losses.shape
    advice = "Sum over the outputs of each row." if len(shape) > 1 and shape[0] == size else MEAN_ADVICE
    require(shape == (size,), rule, f"shape {shape}", advice)
    require(jnp.issubdtype(losses.dtype, jnp.floating), "loss must return floating values", losses.dtype)
    return losses
