"""A distribution under check: float64 copy, draws, points, and integrals of its density, each made once."""

import copy
from collections.abc import Callable
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro.distributions import Distribution, constraints

from sgdvi.testing._record import Skip

_ROWS = (32, 1024)
# Levels of the draws where point by point checks are made: the bulk, and a little of both tails.
LEVELS = np.concatenate([[0.0005, 0.005], np.linspace(0.02, 0.98, 25), [0.995, 0.9995]])


class Subject:
    """A one-dimensional continuous law, or a batch of them, in float64; the caller holds ``jax.enable_x64(True)``."""

    def __init__(self, distribution: Distribution, key: Array, num_draws: int, level: float) -> None:
        self.key, self.num_draws, self.level = key, num_draws, level
        self.has_pytree = True
        self.kept: dict[str, Any] = {}  # what checks compute of it once
        self._absent: dict[str, str] = {}
        self.batch_shape = tuple(distribution.batch_shape)
        self.size = int(np.prod(self.batch_shape, dtype=int))
        self.silent = _with_validation(distribution, False)

    @cached_property
    def law(self) -> Distribution:
        """The law with float64 parameters, not validating its arguments."""
        return cast(self.silent, np.float64) if self.has_pytree else self.silent

    def give_up_pytree(self) -> None:
        """Go on with the distribution as it came: its pytree is broken."""
        self.has_pytree = False

    def require_pytree(self) -> None:
        """Skip a check that needs the pytree where it is broken."""
        if not self.has_pytree:
            raise Skip("the pytree is broken")

    def require_line(self) -> None:
        """Skip a check that needs a density on the line."""
        if self.law.event_shape:
            raise Skip(f"a law with event shape {self.law.event_shape} has no density on the line")
        if getattr(self.law.support, "is_discrete", False):
            raise Skip("a discrete law has no density on the line")

    def flat(self, values: Any) -> np.ndarray:
        """Arrange values of shape (..., *batch_shape) as (..., B)."""
        values = np.asarray(values, dtype=np.float64)
        lead = values.shape[: values.ndim - len(self.batch_shape)]
        return values.reshape(*lead, self.size)

    def raw(self, method: str, values: np.ndarray, law: Distribution, dtype: Any) -> Array:
        """Evaluate a method at values of shape (M, B), with rows added so that few shapes are compiled."""
        rows = next((size for size in _ROWS if size >= len(values)), len(values))
        padded = np.concatenate([values, np.broadcast_to(values[-1:], (rows - len(values), self.size))])
        return getattr(law, method)(jnp.asarray(padded.reshape(rows, *self.batch_shape), dtype))

    def call(self, method: str, values: np.ndarray, law: Distribution | None = None) -> np.ndarray:
        """Evaluate a method of the law at values of shape (M, B)."""
        result = np.asarray(self.raw(method, values, law or self.law, np.float64), np.float64)
        full = np.broadcast_to(result, (*result.shape[:1], *self.batch_shape))
        return full.reshape(-1, self.size)[: len(values)]

    def has(self, method: str) -> bool:
        """Whether a method is there: NumPyro's base class raises NotImplementedError instead."""
        if method not in self._absent:
            try:
                self.call(method, np.full((1, self.size), 0.5) if method == "icdf" else self.points[:1])
                self._absent[method] = ""
            except (NotImplementedError, AttributeError):
                self._absent[method] = f"the distribution has no {method}"
            except ImportError as error:
                self._absent[method] = f"{method} needs another package: {error}"
        return not self._absent[method]

    def require(self, method: str) -> None:
        """Skip a check that needs a method where there is none."""
        if not self.has(method):
            raise Skip(self._absent[method])

    def stated(self, name: str) -> np.ndarray:
        """Mean, variance or entropy as the law states it, shape (B,)."""
        self.require_line()
        try:
            value = getattr(self.law, name)
            value = value() if callable(value) else value
        except (NotImplementedError, AttributeError):
            raise Skip(f"the distribution has no {name}") from None
        return np.broadcast_to(np.asarray(value, np.float64), self.batch_shape).reshape(self.size)

    @cached_property
    def few(self) -> Array:
        """Five draws of each law, as `sample` gives them: one shape for all checks that need some values."""
        return self.law.sample(self.key, (5,))

    @cached_property
    def draws(self) -> np.ndarray:
        """Sorted draws, shape (num_draws, B)."""
        self.require_line()
        draws = self.flat(self.law.sample(self.key, (self.num_draws,)))
        return np.sort(draws, axis=0)

    @cached_property
    def atoms(self) -> tuple[np.ndarray, np.ndarray]:
        """Places and masses of the atoms, each of shape (A, B), by their place; A may be 0."""
        stated = getattr(self.law, "atoms", None)
        if stated is None:
            return np.zeros((0, self.size)), np.zeros((0, self.size))
        places, masses = (
            np.broadcast_to(np.asarray(part, np.float64), (*self.batch_shape, np.shape(part)[-1]))
            .reshape(self.size, -1)
            .T
            for part in stated
        )
        order = np.argsort(places, axis=0, kind="stable")
        return np.take_along_axis(places, order, 0), np.take_along_axis(masses, order, 0)

    def atoms_below(self, v: np.ndarray) -> np.ndarray:
        """Mass of the atoms at or below values of shape (M, B)."""
        places, masses = self.atoms
        return np.sum(np.where(places[:, None] <= v, masses[:, None], 0.0), axis=0)

    def atom_at(self, v: np.ndarray) -> np.ndarray:
        """Mass of the atoms exactly at values of shape (B,)."""
        places, masses = self.atoms
        return np.sum(np.where(places == v, masses, 0.0), axis=0)

    def is_atom(self, v: np.ndarray) -> np.ndarray:
        """Whether values of shape (M, B) are the place of an atom that has a mass."""
        places, masses = self.atoms
        return np.any((places[:, None] == v) & (masses[:, None] > 0), axis=0)

    @cached_property
    def _smooth(self) -> np.ndarray:
        """The draws away from atoms, nan in place of the others; where there are none, a grid beside the atoms."""
        spread_out = np.where(self.is_atom(self.draws), np.nan, self.draws)
        alone = np.isnan(spread_out).all(axis=0)
        if alone.any():
            place = np.max(np.nan_to_num([self.draws[-1], *self.atoms[0]]), axis=0)
            beside = place + np.linspace(0.5, 1.5, self.num_draws)[:, None] * np.maximum(np.abs(place), 1.0)
            spread_out = np.where(alone, beside, spread_out)
        return spread_out

    @cached_property
    def points(self) -> np.ndarray:
        """Values across the bulk, shape (M, B): empirical quantiles of the draws away from atoms."""
        points = np.nanquantile(self._smooth, LEVELS, axis=0)
        if not (np.all(np.isfinite(points)) and np.all(np.isfinite(self.draws))):
            raise Skip("the draws are not finite")
        return points

    @cached_property
    def spread(self) -> np.ndarray:
        """Interquartile range of the draws away from atoms, shape (B,)."""
        low, high = np.nanquantile(self._smooth, [0.25, 0.75], axis=0)
        return np.where(high > low, high - low, 1.0)

    @cached_property
    def steps(self) -> np.ndarray:
        """Steps of differences at the points: small beside the distance to the ends and atoms, shape (M, B)."""
        lower, upper = self.bounds
        room = np.minimum(self.points - lower, upper - self.points)
        for place in self.atoms[0]:
            room = np.minimum(room, np.abs(self.points - place))
        return 2e-3 * np.minimum(room, np.minimum(self.spread, self._local))

    @cached_property
    def _local(self) -> np.ndarray:
        """Length on which a point's neighbourhood in probability extends: that between neighbouring points."""
        gaps = np.diff(self.points, axis=0)
        return np.maximum(np.concatenate([gaps[:1], np.maximum(gaps[1:], gaps[:-1]), gaps[-1:]]), 1e-300)

    @staticmethod
    def difference(function: Callable[[float], np.ndarray], step: Any) -> np.ndarray:
        """Derivative by central differences of sixth order."""
        near, middle, far = (function(by) - function(-by) for by in (1.0, 2.0, 3.0))
        return (45 * near - 9 * middle + far) / (60 * step)

    def where(self, wrong: np.ndarray, values: np.ndarray | None = None) -> str:
        """Say in which law of the batch, and at which value, the first failure is; wrong has shape (M, B)."""
        row, law = np.argwhere(wrong)[0]
        text = ""
        if len(wrong) > 1:
            values = self.points if values is None else values
            text += f" at {values[row, law]:.6g}"
        return text + (
            f" in law {tuple(map(int, np.unravel_index(law, self.batch_shape)))}" if self.batch_shape else ""
        )

    def movable(self, name: str, leaf: Any) -> bool:
        """Whether a parameter can be moved both ways: not where it sits at the end of what its constraint allows."""
        constraint = self.law.arg_constraints.get(name)
        if constraint is None or constraints.is_dependent(constraint):
            return True
        leaf = jnp.asarray(leaf)
        step = 1e-3 * jnp.where(leaf == 0, 1.0, jnp.abs(leaf))
        return bool(jnp.all(constraint(leaf - step)) and jnp.all(constraint(leaf + step)))

    @cached_property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Ends of the support, infinite where there is none, shape (B,)."""
        support = self.law.support
        if support is None:
            raise Skip("the distribution states no support")
        lower, upper = getattr(support, "lower_bound", None), getattr(support, "upper_bound", None)
        if lower is None and upper is None and support is not constraints.real:
            raise Skip(f"the support {support} is neither an interval, a half line nor the line")

        def flat(bound: Any, missing: float) -> np.ndarray:
            bound = missing if bound is None else bound
            return np.broadcast_to(np.asarray(bound, np.float64), self.batch_shape).reshape(self.size)

        return flat(lower, -np.inf), flat(upper, np.inf)

    @cached_property
    def centre(self) -> np.ndarray:
        """Median of the draws away from atoms, shape (B,)."""
        return np.nanquantile(self._smooth, 0.5, axis=0)

    @cached_property
    def tails(self) -> np.ndarray:
        """Exponents s of power-law tails p ~ |v|^-s, the smaller of both sides, infinite where it falls faster."""
        exponents = np.full(self.size, np.inf)
        for side, bound in zip((-1, 1), self.bounds, strict=True):
            far = np.abs(self.centre) + self.spread * np.array([[1e12], [1e14]])
            with np.errstate(all="ignore"):
                level = self.call("log_prob", side * far)
                exponent = -(level[1] - level[0]) / np.log(far[1] / far[0])
            exponent = np.where(np.isfinite(level).all(0) & (level[1] > -690), exponent, np.inf)
            exponents = np.where(np.isinf(bound), np.minimum(exponents, exponent), exponents)
        return exponents

    def moment_exists(self, order: float) -> np.ndarray:
        """Whether E|v|^order is finite by the tails, with a margin that quadrature can follow."""
        return self.tails - 1 > order + 0.05

    @property
    def fields(self) -> dict[str, list[Any]]:
        """Floating leaves of the pytree by field, ``name`` or ``name[i]``, with the leaf's place in the flat list."""
        names = type(self.law).gather_pytree_data_fields()
        entries: dict[str, list[Any]] = {}
        place = 0
        for name in names:
            leaves = jax.tree.leaves(self.law.__dict__.get(name))
            for i, leaf in enumerate(leaves):
                if jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
                    entries[name if len(leaves) == 1 else f"{name}[{i}]"] = [place, leaf]
                place += 1
        return entries


def cast(distribution: Distribution, dtype: Any) -> Distribution:
    """The same distribution with floating parameters of a dtype, and nothing cached from before."""

    def convert(leaf: Any) -> Any:
        return jnp.asarray(leaf, dtype) if jnp.issubdtype(jnp.result_type(leaf), jnp.floating) else leaf

    return jax.tree.map(convert, distribution)


def _with_validation(distribution: Distribution, validate: bool) -> Distribution:
    again = copy.copy(distribution)
    again._validate_args = validate
    return again
