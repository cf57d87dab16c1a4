"""A function of the parameters of one draw as a functional of all draws, the same in `sample` and `compare`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from sgdvi._internal.arguments import checked
from sgdvi._internal.check import InputError, message, require
from sgdvi._internal.tree import label

if TYPE_CHECKING:  # a law of a model needs no labelled arrays, whose import takes half a second
    import xarray as xr

# Parameters of so many draws are moved at once: 16 MB, and of small models enough to fill the processor.
_NUMBERS, _MOST_DRAWS = 1 << 22, 64
_SAMPLE_DIMS = ("chain", "draw")


class Sites(dict[str, Any]):
    """Values of the sites of one draw, by name or as attributes: ``ds["u"]`` and ``ds.u``."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(f"no site {name!r}; sites: {', '.join(self)}") from error

    def __missing__(self, name: str) -> Any:
        """Return a site by the name that the model gives it."""
        if label(name) not in self:
            raise KeyError(name)
        return self[label(name)]


@dataclass(frozen=True, eq=False)
class PerDraw:
    """A function of one draw, as `per_draw` and `Loss.per_draw` make it: call it on one draw, or on a Dataset of all.

    Attributes
    ----------
    function
        What is computed from one draw; JAX must be able to trace it.
    prepare
        Sites of one draw by name -> the argument of the function.
    name
        Of a Dataset that has a variable of this name, that is the value: `sample` has computed it on the way.
    """

    function: Callable[[Any], Any]
    prepare: Callable[[Mapping[str, Any]], Any] = Sites
    name: str = ""

    def named(self, name: str) -> "PerDraw":
        """Return the same under the name that `sample` keeps its values by."""
        return replace(self, name=name)

    def __call__(self, draws: Any) -> Any:
        """Return the value of one draw, an array, or of all draws of a Dataset, a DataArray over chain and draw."""
        import xarray as xr

        if isinstance(draws, xr.Dataset):
            return draws[self.name] if self.name in draws else self._of_all(draws)
        return jnp.asarray(self.function(self.prepare(draws)))

    @cached_property
    def _block(self) -> Callable[[dict[str, Any]], jax.Array]:
        return jax.jit(jax.vmap(self))

    def _of_all(self, draws: "xr.Dataset") -> "xr.DataArray":
        import xarray as xr

        arrays = draw_arrays(draws)
        shape = draws.sizes["chain"], draws.sizes["draw"]
        flat = {name: values.reshape(-1, *values.shape[2:]) for name, values in arrays.items()}
        total, each = shape[0] * shape[1], sum(values[0].size for values in flat.values())
        size = max(1, min(_MOST_DRAWS, _NUMBERS // max(each, 1)))
        parts = []
        for begin in range(0, total, size):
            # blocks of one size, the last one filled up: one program serves all
            rows = np.minimum(np.arange(begin, begin + size), total - 1)
            parts.append(np.asarray(self._block({name: values[rows] for name, values in flat.items()})))
        value = np.concatenate(parts)[:total] if parts else np.zeros((0,))
        own = [f"value_dim_{k}" for k in range(value.ndim - 1)]
        coords = {name: draws[name] for name in _SAMPLE_DIMS if name in draws.coords}
        return xr.DataArray(value.reshape(*shape, *value.shape[1:]), coords, dims=(*_SAMPLE_DIMS, *own))


@checked
def per_draw(function: Callable[[Any], Any]) -> PerDraw:
    """Make a functional of a function of the parameters of one draw, for `sample`, `compare` and `Problem` alike.

    A plain function in ``functionals`` gets one draw in `sample`, and all of them as a Dataset in `compare`. One that
    was made here gets one draw in both, and is mapped over all of them by `jax.vmap`. Where `sample` has kept its
    values, `compare` reads them under the same name and needs no parameters.

    Parameters
    ----------
    function
        Function of one draw, an array of any shape. It gets the sites as attributes or items, without axes of chains
        and draws. For the parameters of a `Loss` as the network takes them: `Loss.per_draw`; for what a NumPyro model
        says of new data: `predictive_mean`.

    Returns
    -------
    PerDraw
        Give it as ``functionals={"name": ...}``.

    Examples
    --------
    >>> import numpy as np, sgdvi
    >>> norm = sgdvi.per_draw(lambda ds: (ds.w**2).sum())
    >>> runs = {name: {"w": np.random.default_rng(k).normal(size=(2, 500, 3))} for k, name in enumerate("ab")}
    >>> round(sgdvi.compare(runs, "a", {"norm": norm}).summaries["a"]["norm"]["mean"])
    3
    """
    return PerDraw(function)


def draw_arrays(draws: Any) -> dict[str, np.ndarray]:
    """Return draws of a run as arrays by name, axes (chain, draw, ...).

    Parameters
    ----------
    draws
        A DataTree with a group ``posterior``, its Dataset, or a dict of arrays with these axes.

    Raises
    ------
    InputError
        If it is none of these.
    """
    import xarray as xr

    if isinstance(draws, xr.DataTree) and "posterior" in draws.children:
        draws = draws["posterior"]
    if isinstance(draws, xr.Dataset | xr.DataTree):
        return {
            str(name): array.transpose(*_SAMPLE_DIMS, ...).values
            for name, array in draws.data_vars.items()
            if set(_SAMPLE_DIMS) <= set(array.dims) and array.dtype.kind in "fiub"
        }
    rule, advice = "draws must be a DataTree, its posterior, or a dict of arrays (chain, draw, ...)", "See sample."
    if not isinstance(draws, Mapping):
        raise InputError(message(rule, type(draws).__name__, advice))
    arrays = {label(str(name)): np.asarray(values) for name, values in draws.items()}
    flat = sorted(name for name, values in arrays.items() if values.ndim < 2)
    require(not flat, rule, f"fewer than two axes of {', '.join(flat)}", advice)
    return arrays
