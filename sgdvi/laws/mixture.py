"""What SGD really ends in: the law on the nonzero branch, the point mass at zero, or a mixture of both."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from numpyro.distributions import Distribution, constraints

from sgdvi._check import require, whole
from sgdvi.laws._arrays import give_back, is_traced, keep, to_float64, uniform
from sgdvi.laws.phases import critical_temperature, law_exists
from sgdvi.laws.stationary import SGDStationary
from sgdvi.moments import Moments


class StationaryLaw(Distribution):
    r"""Stationary law of SGD on v with its atom: :math:`(1 - z)\,\delta_0 + z\,p(v)`; made by `stationary_law`.

    The density is with respect to :math:`\delta_0` + Lebesgue measure: ``log_prob(0.0)`` is the log of the atom's
    mass ``zero_mass`` = 1 - z, which is one where SGD has collapsed. One class serves all cases, so that a batch may
    hold collapsed and proper laws side by side and everything works under ``jit`` and ``vmap``.
    """

    support = constraints.real
    arg_constraints = {"zero_mass": constraints.unit_interval}
    pytree_data_fields = ("moments", "temperature", "weight_decay", "zero_mass", "sign")
    pytree_aux_fields = ("depth", "width")

    def __init__(
        self,
        moments: Moments,
        temperature: ArrayLike,
        *,
        depth: int,
        width: int,
        weight_decay: ArrayLike,
        zero_mass: ArrayLike,
        sign: Any,
        validate_args: bool | None = None,
    ) -> None:
        self.depth, self.width, self.moments = depth, width, moments
        self.temperature, self.weight_decay = temperature, weight_decay
        self.zero_mass, self.sign = zero_mass, sign
        super().__init__(batch_shape=self._law_shape, validate_args=validate_args)

    @property
    def law(self) -> SGDStationary:
        """The law given v != 0, of |v|; where SGD has collapsed, some proper law that has no weight."""
        # Kept where it is concrete: its table is then integrated once, not at every call.
        cached = self.__dict__.get("_law")
        if cached is None:
            cached = self._branch()
            if not is_traced(cached):
                self._law = cached
        return cached

    def _branch(self) -> SGDStationary:
        with jax.enable_x64(True):
            sign = to_float64(self.sign)
            a1, a2, a3, b1, b2, temperature, decay = (
                jnp.broadcast_to(to_float64(leaf), self._law_shape)
                for leaf in jax.tree.leaves((self.moments, self.temperature, self.weight_decay))
            )
            a2, b2 = sign * a2, sign * b2
            proper = law_exists(self.depth, a3, b2, decay, temperature)

            # Any fixed data will do where there is no law; it keeps nan out of the other branch's gradients.
            def fill(value: Array, other: float) -> Array:
                return jnp.where(proper, value, other)

            moments = Moments.tree_unflatten(
                None, (fill(a1, 2.0), fill(a2, 2.0), fill(a3, 3.0), fill(b1, 1.0), fill(b2, 1.0))
            )
            # Values on the other side of 0 are no mistake here: the law has density 0 there.
            return SGDStationary(
                moments,
                fill(temperature, 0.1),
                depth=self.depth,
                width=self.width,
                weight_decay=fill(decay, 0.0),
                validate_args=False,
            )

    def log_prob(self, value: ArrayLike, intermediates: Any = None) -> Any:
        """Log density with respect to delta_0 + Lebesgue: the log mass of the atom at exactly zero."""
        del intermediates
        with jax.enable_x64(True):
            v, zero_mass, sign = to_float64(value), to_float64(self.zero_mass), to_float64(self.sign)
            atom = (v == 0) & (self.depth > 0)
            continuous = jnp.log1p(-zero_mass) + self.law.log_prob(jnp.where(atom, 1.0, sign * v))
            continuous = jnp.where(zero_mass < 1, continuous, jnp.where(jnp.isnan(v), jnp.nan, -jnp.inf))
            result = jnp.where(atom, jnp.log(zero_mass), continuous)
        return give_back(result, value, self._leaves)

    def cdf(self, value: ArrayLike) -> Any:
        """Probability of a draw at or below ``value``, the atom included."""
        with jax.enable_x64(True):
            v, zero_mass, sign = to_float64(value), to_float64(self.zero_mass), to_float64(self.sign)
            inner = self.law.cdf(sign * v)
            inner = jnp.where(sign > 0, inner, 1 - inner)
            result = zero_mass * (v >= 0) + (1 - zero_mass) * inner
        return give_back(result, value, self._leaves)

    def icdf(self, q: ArrayLike) -> Any:
        """Smallest v with cdf(v) >= q; 0 over the atom."""
        with jax.enable_x64(True):
            level, zero_mass, sign = to_float64(q), to_float64(self.zero_mass), to_float64(self.sign)
            # On v > 0 the atom comes first, on v < 0 last.
            rest = jnp.where(sign > 0, level - zero_mass, level)
            share = rest / jnp.where(zero_mass < 1, 1 - zero_mass, 1.0)
            on_atom = (zero_mass > 0) & ((zero_mass == 1) | jnp.where(sign > 0, share <= 0, share >= 1))
            share = jnp.where(on_atom, 0.5, jnp.where(sign > 0, share, 1 - share))
            result = jnp.where(on_atom, 0.0, sign * self.law.icdf(share))
            result = jnp.where((level >= 0) & (level <= 1), result, jnp.nan)
        return give_back(result, q, self._leaves)

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Independent draws; exact zeros come from the atom."""
        shape = tuple(sample_shape) + self._law_shape
        key_atom, key_law = jax.random.split(key)
        dtype = jax.dtypes.canonicalize_dtype(np.float64)
        draws = self.law.sample(key_law, tuple(sample_shape))
        with jax.enable_x64(True):
            at_zero = uniform(key_atom, shape) < to_float64(self.zero_mass)
            result = jnp.where(at_zero, 0.0, to_float64(self.sign) * to_float64(draws))
            return jax.lax.convert_element_type(result, dtype)

    @property
    def mean(self) -> Any:
        """Mean of v."""
        with jax.enable_x64(True):
            result = (1 - to_float64(self.zero_mass)) * to_float64(self.sign) * self.law.mean
        return give_back(result, None, self._leaves)

    @property
    def variance(self) -> Any:
        """Variance of v: z Var + z (1 - z) mean^2."""
        with jax.enable_x64(True):
            zero_mass, law = to_float64(self.zero_mass), self.law
            spread = jnp.where(zero_mass < 1, law.variance, 0.0)
            result = (1 - zero_mass) * spread + zero_mass * (1 - zero_mass) * law.mean**2
        return give_back(result, None, self._leaves)

    @property
    def mode(self) -> Any:
        """0 where there is an atom, else the mode of the law."""
        with jax.enable_x64(True):
            result = jnp.where(to_float64(self.zero_mass) > 0, 0.0, to_float64(self.sign) * self.law.mode)
        return give_back(result, None, self._leaves)

    @property
    def tail_exponent(self) -> Any:
        """Exponent of the power-law tail of the continuous part."""
        if self.depth > 0:
            return 5 - 3 / (self.depth + 1)
        with jax.enable_x64(True):
            result = self.law.tail_exponent
        return give_back(result, None, self._leaves)

    @property
    def _leaves(self) -> tuple[Any, ...]:
        return self.moments, self.temperature, self.weight_decay

    @property
    def _law_shape(self) -> tuple[int, ...]:
        leaves = (self.temperature, self.weight_decay, self.zero_mass, self.sign)
        return np.broadcast_shapes(self.moments.batch_shape, *(np.shape(leaf) for leaf in leaves))


def stationary_law(
    moments: Moments,
    temperature: ArrayLike,
    depth: int = 1,
    width: int = 1,
    weight_decay: ArrayLike = 0.0,
    zero_mass: ArrayLike = 0.0,
    *,
    sign: int | None = None,
    validate_args: bool | None = None,
) -> StationaryLaw:
    """Return the law that SGD ends in, whatever the temperature.

    Parameters
    ----------
    moments, temperature, depth, width, weight_decay
        As in `SGDStationary`.
    zero_mass
        Probability 1 - z that a run ends at zero although a law exists: the share of balanced starts on the wrong
        side. At or above the critical temperature everything ends there and it is one.
    sign
        Side of v = 0 on which the law lives; by default the side of beta2, where every generic start ends.

    Returns
    -------
    StationaryLaw
        NumPyro distribution (1 - z) delta_0 + z p(v).

    Raises
    ------
    InputError
        For parameters that cannot be (concrete values only).
    """
    depth, width = whole("depth", depth), whole("width", width, least=1)
    mass = keep(zero_mass, moments)
    if not is_traced(mass):
        require(np.all((np.asarray(mass) >= 0) & (np.asarray(mass) <= 1)), "zero_mass must lie in [0, 1]", mass)
        require(depth > 0 or np.all(np.asarray(mass) == 0), "zero_mass must be 0 at depth 0: v = 0 holds nothing", mass)
    require(sign in (None, 1, -1), "sign must be 1, -1 or None", sign)
    parameters = (moments, keep(temperature, moments), keep(weight_decay, moments))
    # Concrete parameters are judged as such, also while something else is being traced.
    with jax.ensure_compile_time_eval(), jax.enable_x64(True):
        heat, decay = to_float64(parameters[1]), to_float64(parameters[2])
        if depth == 0:
            side = jnp.ones(())
            collapsed = jnp.zeros(jnp.broadcast_shapes(heat.shape, moments.batch_shape), bool)
        else:
            side = jnp.where(to_float64(moments.beta2) >= 0, 1.0, -1.0) if sign is None else jnp.asarray(float(sign))
            drift, spread = side * to_float64(moments.beta2), to_float64(moments.alpha3)
            # Where there is no temperature there is no law either: nan, not a collapse.
            collapsed = (heat > 0) & ~law_exists(depth, spread, drift, decay, heat)
        total = jnp.where(collapsed, 1.0, to_float64(mass))
        if not is_traced(parameters):
            _check_proper(moments, parameters[1], parameters[2], depth, width, np.asarray(collapsed), np.asarray(side))
    return StationaryLaw(
        moments,
        parameters[1],
        depth=depth,
        width=width,
        weight_decay=parameters[2],
        zero_mass=give_back(total, None, parameters),
        sign=give_back(side, None, parameters),
        validate_args=validate_args,
    )


def _check_proper(
    moments: Moments, heat: Any, decay: Any, depth: int, width: int, collapsed: np.ndarray, side: np.ndarray
) -> None:
    """Let `SGDStationary` judge the parameters, at half the critical temperature where the real one is above."""
    require(np.all(np.asarray(heat) > 0) and np.all(np.isfinite(heat)), "temperature must be above 0", heat)
    require(np.all(np.asarray(decay) >= 0), "weight_decay must be at least 0", decay)
    sign = int(side.flat[0])
    critical = np.asarray(critical_temperature(moments, depth, decay, sign=sign))
    if np.ptp(side) == 0 and np.all(critical > 0):
        proper = np.where(collapsed, np.where(np.isfinite(critical), critical / 2, heat), heat)
        SGDStationary(moments, proper, depth=depth, width=width, weight_decay=decay, sign=sign)
