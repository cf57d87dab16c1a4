"""What SGD really ends in: a law with a density, point masses where there is no noise, or a mixture."""

from typing import Any

import jax
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from numpyro.distributions import Distribution, constraints

from sgdvi._internal.arguments import checked
from sgdvi._internal.check import one_of, require, whole
from sgdvi._internal.types import Values
from sgdvi.laws._engine import xp
from sgdvi.laws._engine.arrays import give_back, in_float64, is_traced, keep, to_float64, uniform
from sgdvi.laws._shown import Shown
from sgdvi.laws.degenerate import oriented, support
from sgdvi.laws.moments import Moments
from sgdvi.laws.multiples import Multiple, Temperature, resolve
from sgdvi.laws.phases import critical_temperature
from sgdvi.laws.start import Start, collapse_mass
from sgdvi.laws.stationary import SGDStationary


class StationaryLaw(Shown, Distribution):
    r"""Stationary law of SGD on v with its atoms, made by `stationary_law`.

    .. math:: z_0\,\delta_0 + (1 - z_0)\,p(v) \quad\text{or}\quad z_0\,\delta_0 + z_k\,\delta_k

    The second form is that of data which some k interpolates: SGD has no noise at ``point`` = k and ends there with
    probability ``point_mass``. The density is with respect to :math:`\delta_0 + \delta_k` + Lebesgue measure:
    ``log_prob(0.0)`` is the log of ``zero_mass``, which is one where SGD has collapsed, and ``log_prob(law.point)``
    that of ``point_mass``. One class serves all cases, so that a batch may hold collapsed and proper laws side by
    side and everything works under ``jit`` and ``vmap``.
    """

    support = constraints.real
    arg_constraints = {
        "temperature": constraints.positive,
        "weight_decay": constraints.nonnegative,
        "zero_mass": constraints.unit_interval,
        "point": constraints.real,
        "point_mass": constraints.unit_interval,
    }
    pytree_data_fields = ("moments", "temperature", "weight_decay", "zero_mass", "sign", "point", "point_mass")
    pytree_aux_fields = ("depth", "width", "temperature_rest")

    @checked
    def __init__(
        self,
        moments: Moments,
        temperature: ArrayLike,
        *,
        depth: int,
        width: int,
        weight_decay: ArrayLike,
        zero_mass: ArrayLike,
        sign: ArrayLike,
        point: ArrayLike = 0.0,
        point_mass: ArrayLike = 0.0,
        validate_args: bool | None = None,
    ) -> None:
        self.depth, self.width, self.moments = depth, width, moments
        self.temperature, self.weight_decay, self.temperature_rest = temperature, weight_decay, 0.0
        self.zero_mass, self.sign = zero_mass, sign
        self.point, self.point_mass = point, point_mass
        if not is_traced(zero_mass, point_mass):
            total = np.asarray(zero_mass) + np.asarray(point_mass)
            # Masses in float32 add up to 1 only nearly.
            require(not np.any(total > 1 + 1e-6), "zero_mass and point_mass must add up to at most 1", total)
        super().__init__(batch_shape=self._law_shape, validate_args=validate_args)

    @property
    def law(self) -> SGDStationary:
        """The law of |v| away from the atoms; where there is none, some proper law that has no weight."""
        # Kept where it is concrete: its table is then integrated once, not at every call.
        cached = self.__dict__.get("_law")
        if cached is None:
            cached = self._branch()
            if not is_traced(cached):
                self._law = cached
        return cached

    def _branch(self) -> SGDStationary:
        with in_float64():
            heat, decay = (xp.broadcast_to(to_float64(leaf), self._law_shape) for leaf in self._leaves[1:])
            data = jax.tree.map(lambda leaf: xp.broadcast_to(leaf, self._law_shape), oriented(self.moments, self.sign))
            # Data that are fitted exactly leave the density no weight, and rounding could make it nan.
            proper = support(data, heat, self.depth, self.width, decay).proper & ~(to_float64(self.point_mass) > 0)

            # Any fixed data will do where there is no law; it keeps nan out of the other branch's gradients.
            def fill(value: Any, other: Any) -> Any:
                return jax.tree.map(lambda kept, replacement: xp.where(proper, kept, replacement), value, other)

            # Values on the other side of 0 are no mistake here: the law has density 0 there.
            law = SGDStationary(
                fill(data, Moments(2.0, 2.0, 3.0, 1.0, 1.0)),
                # Without a temperature there is no law at all.
                xp.where(heat > 0, fill(heat, 0.1), np.nan),
                depth=self.depth,
                width=self.width,
                weight_decay=fill(decay, 0.0),
                validate_args=False,
            )
            law.temperature_rest = self.temperature_rest
            return law

    def _parts(self) -> tuple[Array, ...]:
        """Side, mass at zero, point, its mass, and weight of the density; float64."""
        leaves = (self.sign, self.zero_mass, self.point, self.point_mass)
        sign, zero, point, at_point = (to_float64(leaf) for leaf in leaves)
        return sign, zero, point, at_point, xp.where(at_point > 0, 0.0, 1 - zero)

    def log_prob(self, value: ArrayLike, intermediates: Any = None) -> Values:
        """Log density with respect to delta_0 + delta_k + Lebesgue: the log mass of an atom exactly there."""
        del intermediates
        with in_float64():
            v = to_float64(value)
            sign, zero, point, at_point, rest = self._parts()
            on_point, on_zero = (v == point) & (at_point > 0), (v == 0) & (self.depth > 0)
            inner = to_float64(self.law.log_prob(xp.where(on_point | on_zero, 1.0, sign * v)))
            # Not rest > 0: where nothing is known it is nan, and so is the density.
            continuous = xp.where((rest == 0) & ~xp.isnan(v), -np.inf, xp.log(rest) + inner)
            result = xp.where(on_point, xp.log(at_point), xp.where(on_zero, xp.log(zero), continuous))
        return give_back(result, value, self._leaves)

    def cdf(self, value: ArrayLike) -> Values:
        """Probability of a draw at or below ``value``, the atoms included."""
        with in_float64():
            v = to_float64(value)
            sign, zero, point, at_point, rest = self._parts()
            inner = to_float64(self.law.cdf(sign * v))
            inner = xp.where(sign > 0, inner, 1 - inner)
            result = zero * (v >= 0) + at_point * (v >= point) + rest * inner
        return give_back(result, value, self._leaves)

    def icdf(self, q: ArrayLike) -> Values:
        """Smallest v with cdf(v) >= q; the atom's place over an atom."""
        with in_float64():
            level = to_float64(q)
            sign, zero, point, at_point, rest = self._parts()
            # On v > 0 the atom at zero comes first, on v < 0 last.
            share = xp.where(sign > 0, level - zero, level) / xp.where(rest > 0, rest, 1.0)
            on_zero = (zero > 0) & xp.where(
                at_point > 0,
                xp.where(point > 0, level <= zero, level > at_point),
                (rest == 0) | xp.where(sign > 0, share <= 0, share >= 1),
            )
            on_atom = on_zero | (at_point > 0)
            share = xp.where(on_atom, 0.5, xp.where(sign > 0, share, 1 - share))
            atom = xp.where(on_zero, 0.0, point)
            result = xp.where(on_atom, atom, sign * to_float64(self.law.icdf(share)))
            result = xp.where((level >= 0) & (level <= 1), result, np.nan)
        return give_back(result, q, self._leaves)

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Independent draws; exact zeros and exact ``point`` come from the atoms."""
        shape = tuple(sample_shape) + self._law_shape
        key_atom, key_law = jax.random.split(key)
        dtype = jax.dtypes.canonicalize_dtype(np.float64)
        draws = self.law.sample(key_law, tuple(sample_shape))
        with in_float64():
            sign, zero, point, at_point, _ = self._parts()
            away = xp.where(at_point > 0, point, sign * to_float64(draws))
            result = xp.where(uniform(key_atom, shape) < zero, 0.0, away)
            return jax.lax.convert_element_type(result, dtype)

    @property
    def atoms(self) -> tuple[Values, Values]:
        """Places and masses of the atoms, zero and ``point``, on a last axis of length 2; a mass may be 0."""
        with in_float64():
            _, zero, point, at_point, _ = self._parts()
            shape = (*self._law_shape, 1)
            pairs = ((xp.zeros(()), point), (zero, at_point))
            stacked = [xp.concatenate([xp.broadcast_to(leaf[..., None], shape) for leaf in pair], -1) for pair in pairs]
        places, masses = (give_back(leaf, None, self._leaves) for leaf in stacked)
        return places, masses

    @property
    def mean(self) -> Values:
        """Mean of v."""
        with in_float64():
            sign, _, point, at_point, rest = self._parts()
            result = at_point * point + rest * sign * to_float64(self.law.mean)
        return give_back(result, None, self._leaves)

    @property
    def variance(self) -> Values:
        """Variance of v: that of the law, and that between zero and what is away from it."""
        with in_float64():
            _, zero, point, at_point, rest = self._parts()
            mean, variance = to_float64(self.law.mean), to_float64(self.law.variance)
            within = rest * xp.where(rest > 0, variance, 0.0)
            result = within + zero * (rest * mean**2 + at_point * point**2)
        return give_back(result, None, self._leaves)

    @property
    def mode(self) -> Values:
        """The heavier atom where there is one, else the mode of the law."""
        with in_float64():
            sign, zero, point, at_point, _ = self._parts()
            atom = xp.where(at_point > zero, point, 0.0)
            result = xp.where(zero + at_point > 0, atom, sign * to_float64(self.law.mode))
        return give_back(result, None, self._leaves)

    @property
    def tail_exponent(self) -> Values:
        """Exponent s of the density's tail, size^-s; infinite where it is bounded or falls faster than a power."""
        with in_float64():
            result = self.law.tail_exponent
        return give_back(result, None, self._leaves)

    @property
    def _leaves(self) -> tuple[Any, ...]:
        return self.moments, self.temperature, self.weight_decay

    @property
    def _law_shape(self) -> tuple[int, ...]:
        leaves = (self.temperature, self.weight_decay, self.zero_mass, self.sign, self.point, self.point_mass)
        return np.broadcast_shapes(self.moments.batch_shape, *(np.shape(leaf) for leaf in leaves))


@checked
def stationary_law(
    moments: Moments,
    temperature: Temperature,
    depth: int = 1,
    width: int | None = None,
    weight_decay: ArrayLike = 0.0,
    zero_mass: ArrayLike = 0.0,
    *,
    initial: Any = None,
    sign: int | None = None,
    validate_args: bool | None = None,
) -> StationaryLaw:
    """Return the law that SGD ends in, whatever the temperature, the data and the start.

    Parameters
    ----------
    moments, temperature, depth, weight_decay
        As in `SGDStationary` ("0.5Tc" and the factor 2 between the losses, too); the noise of the data may vanish
        at some v.
    width
        Width of the network; by default 1, or that of ``initial``.
    zero_mass
        Probability that a run ends at zero although another law exists, where ``initial`` does not decide it: the
        share of balanced starts on the wrong side, or of the starts from which interpolation above Tc ends at zero.
        Where only zero attracts, it is one.
    initial
        Factors at the start, shape (depth + 1, width), or (depth + 1,) at width 1; concrete. Decides ``zero_mass``
        and the effective width, as `memory` tells. By default a generic start, which ends on the side of beta2.
    sign
        Side of v = 0 on which the law lives; by default the side of beta2. With ``initial`` and traced moments it
        says which side that is.

    Returns
    -------
    StationaryLaw
        NumPyro distribution of the density and the point masses.

    Raises
    ------
    InputError
        For parameters that cannot be, a start whose end is not known, or both ``initial`` and ``zero_mass`` (concrete
        values only; where a traced temperature leaves the end of ``initial`` open, results are nan).

    Notes
    -----
    Data with y = k x in every row have no noise at k, and SGD ends in ``point`` = k. At depth 1 and T > Tc zero
    attracts as well: ``initial`` or ``zero_mass`` decides, and by default all mass is at k. The same holds for
    y = k x - c/x, c < 0, whose law on v > k attracts only part of the starts below k when T > Tc.
    """
    depth = whole("depth", depth)
    require(isinstance(moments, Moments), "moments must be sgdvi.Moments", type(moments).__name__)
    units = None if width is None else whole("width", width, least=1)
    start = None if initial is None else Start.read(initial, depth, units)
    mass = keep(zero_mass, moments)
    if not is_traced(mass):
        require(np.all((np.asarray(mass) >= 0) & (np.asarray(mass) <= 1)), "zero_mass must lie in [0, 1]", mass)
        require(depth > 0 or np.all(np.asarray(mass) == 0), "zero_mass must be 0 at depth 0: v = 0 holds nothing", mass)
    given = start is not None and (is_traced(mass) or np.any(np.asarray(mass) > 0))
    require(not given, "zero_mass must be left out where initial decides it", mass)
    one_of("sign", sign, (None, 1, -1), "1, -1 or None")
    decay = keep(weight_decay, moments)
    warmth_given = resolve(temperature, lambda: critical_temperature(moments, depth, decay, sign=sign))
    heat = keep(warmth_given, moments)
    if is_traced(moments):
        heat = xp.where(moments.possible, heat, np.nan)  # they cannot raise an error: there is no law
    if not is_traced(heat):
        require(np.all((np.asarray(heat) > 0) & np.isfinite(heat)), "temperature must be above 0", heat)
    if not is_traced(decay):
        require(np.all((np.asarray(decay) >= 0) & np.isfinite(decay)), "weight_decay must be at least 0", decay)
    parameters = (moments, heat, decay)
    # Concrete parameters are judged as such, also while something else is being traced.
    with jax.ensure_compile_time_eval(), in_float64():
        side = xp.ones(()) if depth == 0 else xp.where(to_float64(moments.beta2) >= 0, 1.0, -1.0)
        if sign is not None and depth > 0:
            side = xp.asarray(float(sign))
        units = (units or 1) if start is None else start.effective_width(side)
        warmth, shrinkage = to_float64(heat), to_float64(decay)
        ends = support(oriented(moments, side), warmth, depth, units, shrinkage)
        if start is None:
            # Where there is no temperature there is no law either: nan, not a collapse.
            away = ends.proper | ends.fixed | ~(warmth > 0)
            total = xp.where(away, to_float64(mass), 1.0)
        else:
            total = collapse_mass(start, side, moments, warmth, units, shrinkage)
            _check_known(total)
        leaves = (total, side, side * ends.point, xp.where(ends.fixed, 1 - total, 0.0))
    total, side, point, at_point = (give_back(leaf, None, parameters) for leaf in leaves)
    law = StationaryLaw(
        moments,
        heat,
        depth=depth,
        width=units,
        weight_decay=decay,
        zero_mass=total,
        sign=side,
        point=point,
        point_mass=at_point,
        validate_args=validate_args,
    )
    if isinstance(warmth_given, Multiple) and depth == 1 and not is_traced(parameters):
        room = np.abs(np.asarray(moments.beta2, np.float64)) - np.asarray(decay, np.float64)
        law.temperature_rest = warmth_given.lost(heat, room, np.asarray(moments.alpha3, np.float64))
    if not is_traced(parameters):
        law.law  # noqa: B018  what `SGDStationary` refuses must be said here, not at first use
    return law


def _check_known(zero_mass: Array) -> None:
    if not is_traced(zero_mass):
        rule = "the end of initial must be known: above Tc, zero and k attract both"
        advice = "Only balanced starts below k have a formula. Give zero_mass, from runs of your own, and no initial."
        require(not np.any(np.isnan(np.asarray(zero_mass))), rule, "a start off balance", advice)
