"""What the exact laws on one side of zero share: a NumPyro distribution on top of a density in z."""

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from numpyro.distributions import Distribution, constraints

from sgdvi._internal.check import one_of, require, require_settings
from sgdvi._internal.types import Values
from sgdvi.laws._engine import batch, lookup, xp
from sgdvi.laws._engine.arrays import (
    filled_up,
    flatten_batch,
    give_back,
    in_float64,
    is_traced,
    keep,
    restore_batch,
    to_float64,
    uniform,
)
from sgdvi.laws._engine.density import Parameters
from sgdvi.laws._engine.summary import Numbers
from sgdvi.laws._engine.table import Quadrature, Table
from sgdvi.laws._shown import Shown
from sgdvi.laws.degenerate import interpolation, oriented
from sgdvi.laws.moments import Moments
from sgdvi.laws.multiples import Multiple, Temperature, resolve
from sgdvi.laws.phases import critical_temperature

# Concrete values are handed over up to this many at a time.
_PIECE = 65536
# From this many on log densities are read off a table.
_MANY = 65536
Built = tuple[Parameters, batch.AnyDensity, Quadrature]


class AbstractLaw(Shown, Distribution):
    """A law of v on one branch; a final class says which density, and where it exists.

    Results are computed in float64 and cast to the dtype of the value, or of the parameters where there is none.
    """

    arg_constraints = {"temperature": constraints.positive, "weight_decay": constraints.nonnegative}
    reparametrized_params = ["temperature", "weight_decay"]
    pytree_data_fields: tuple[str, ...] = ("moments", "temperature", "weight_decay")
    pytree_aux_fields: tuple[str, ...] = ("sign", "temperature_rest")

    depth: int
    width: int

    def __init__(
        self,
        moments: Moments,
        temperature: Temperature,
        *,
        weight_decay: ArrayLike = 0.0,
        sign: int = 1,
        validate_args: bool | None = None,
    ) -> None:
        require_settings()
        one_of("sign", sign, (1, -1), "1 (law on v > 0) or -1 (law on v < 0)")
        require(isinstance(moments, Moments), "moments must be sgdvi.Moments", type(moments).__name__)
        self.sign = int(sign)
        self.moments = moments
        self.weight_decay = keep(weight_decay, moments)
        given = resolve(temperature, self._critical)
        self.temperature = keep(given, moments)
        self.temperature_rest = self._rest(given) if isinstance(given, Multiple) else 0.0
        if not is_traced(*self._leaves):
            heat, decay = np.asarray(self.temperature), np.asarray(self.weight_decay)
            require(np.all(heat > 0) and np.all(np.isfinite(heat)), "temperature must be above 0", heat)
            require(np.all(decay >= 0) and np.all(np.isfinite(decay)), "weight_decay must be at least 0", decay)
            # Concrete parameters are judged at once, also inside a model that somebody else is tracing.
            with jax.ensure_compile_time_eval():
                self._check_exists()
        super().__init__(batch_shape=self._law_shape, validate_args=validate_args)

    def _critical(self) -> Any:
        """Tc of this law, for temperatures that are given as multiples of it."""
        return critical_temperature(self.moments, self.depth, self.weight_decay, sign=self.sign)

    def _rest(self, given: Multiple) -> float:
        """What the temperature has lost of a multiple of Tc by rounding."""
        return 0.0

    @abstractmethod
    def _check_exists(self) -> None:
        """Raise an `InputError` where concrete parameters have no law on this branch."""

    @abstractmethod
    def _prepare(self) -> Built:
        """Parameters, densities and integrals of the B laws; nan where there is none."""

    @property
    def support(self) -> constraints.Constraint:
        """The real line at depth 0, else the half line of the branch; less where the noise vanishes at some v."""
        lower, upper = self._ends
        if np.isinf(lower) and np.isinf(upper):
            return constraints.real
        if self.sign < 0:
            lower, upper = -upper, -lower
        if np.isinf(upper):
            return constraints.positive if lower == 0 else constraints.greater_than(lower)
        return constraints.less_than(upper) if np.isinf(lower) else constraints.interval(lower, upper)

    @property
    def _ends(self) -> tuple[float, float]:
        return (-np.inf, np.inf) if self.depth == 0 else (0.0, np.inf)

    def log_prob(self, value: ArrayLike, intermediates: Any = None) -> Values:
        """Log density at ``value``; -inf outside the support."""
        del intermediates
        if self._validate_args:
            self._validate_sample(value)
        if self._may_be_looked_up(value):
            return self._log_prob_of_many(value)
        return self._on_values(lambda built, v: batch.log_prob(built[1], built[2].log_norm, self.sign * v), value)

    def score(self, value: ArrayLike) -> Values:
        """Derivative of the log density with respect to ``value``; nan outside the support."""
        return self._on_values(lambda built, v: self.sign * batch.score(built[1], self.sign * v), value)

    def cdf(self, value: ArrayLike) -> Values:
        """Probability of a draw at or below ``value``."""
        side = 0 if self.sign > 0 else 1
        return self._on_values(lambda built, v: batch.cdf(built[1], self._table(), self.sign * v)[side], value)

    def log_cdf(self, value: ArrayLike) -> Values:
        """Log of the probability of a draw at or below ``value``, also where that probability underflows."""
        return self._log_tail(value, -1)

    def log_survival(self, value: ArrayLike) -> Values:
        """Log of the probability of a draw above ``value``, also where that probability underflows."""
        return self._log_tail(value, 1)

    def icdf(self, q: ArrayLike) -> Values:
        """Quantile of ``q``; nan outside [0, 1]. Near Tc low quantiles underflow: see `log_icdf`."""
        return self._on_values(lambda built, q: self.sign * self._quantile(built[1], q)[0], q)

    def log_icdf(self, q: ArrayLike) -> Values:
        """Logarithm of the quantile's distance from zero, log |icdf(q)|, where the quantile itself underflows.

        Raises
        ------
        InputError
            At depth 0, where the law is on the whole line.
        """
        require(self.depth > 0, "log_icdf needs a law on one side of zero", "depth 0", "Use icdf.")
        # dv/dz = v at depth >= 1, so the Jacobian's logarithm is log v.
        return self._on_values(lambda built, q: self._quantile(built[1], q)[1], q)

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Independent draws by inversion, differentiable in the parameters.

        Draws below the smallest normal number of the dtype (near Tc) are returned as that number.
        """
        dtype = jax.dtypes.canonicalize_dtype(np.float64)
        with in_float64():
            levels = uniform(key, tuple(sample_shape) + self._law_shape)
            draws = self._float64(lambda built, q: self._quantile(built[1], q)[0], levels)
            if self.depth > 0:
                draws = xp.maximum(draws, float(np.finfo(dtype).tiny))
            return jax.lax.convert_element_type(self.sign * draws, dtype)

    @property
    def log_normalizer(self) -> Values:
        r"""Log of Z in :math:`p(v) = |v|^{-3D/(D+1)} g(v)^{-1} e^{-\Phi(v)}/Z`.

        :math:`\Phi` is the integral of the flow's drift over its noise, as in the formula for d log p/dv, from the
        least-squares slope :math:`v^* = \beta_2/\beta_1`, where it is zero.
        """

        def value(built: Any) -> Array:
            p, density, quadrature = built
            center = p.beta2 / p.beta1
            noise = p.alpha3 + center * (p.alpha1 * center - 2 * p.alpha2)
            powers = self._left_power * xp.log(xp.abs(center)) if self.depth else 0.0
            return quadrature.log_norm - batch.level_at(density, center) - powers - xp.log(noise)

        return self._on_laws(value)

    @property
    def mean(self) -> Values:
        """Mean of v; exists at every depth and temperature."""
        return self._on_laws(lambda _: self.sign * self._numbers().mean)

    @property
    def variance(self) -> Values:
        """Variance of v; infinite at depth 0 for T >= (beta1 + gamma)/alpha1, finite at depth >= 1."""
        return self._on_laws(lambda _: self._numbers().variance)

    def moment(self, order: float) -> Values:
        """Raw moment E[v^order].

        Parameters
        ----------
        order
            Depth 0: a whole number. Depth >= 1: any number; on v < 0 a whole one.

        Returns
        -------
        array
            By rule where the moment does not exist: infinite where the integral diverges with one sign, nan where it
            is the difference of two infinities (depth 0, odd order). It exists for order < `tail_exponent` - 1.

        Raises
        ------
        InputError
            For an order that is not finite, or not whole where it has to be.
        """
        require(isinstance(order, int | float) and np.isfinite(order), "order must be a finite number", order)
        is_whole = float(order).is_integer()
        rule = "order must be a whole number of at least 0 at depth 0"
        require(self.depth > 0 or (is_whole and order >= 0), rule, order)
        require(self.sign > 0 or is_whole, "order must be a whole number on v < 0", order)
        if self.depth == 0:
            return self._on_laws(lambda built: batch.line_moment(built[0], int(order)))

        def value(built: Any) -> Array:
            p = built[0]
            exists = order < xp.where(p.alpha1 > 0, self._tail(p), np.inf) - 1
            exists = exists & (order > -self._left_order(p))
            power = xp.exp(batch.log_power_mean(built[1], built[2].log_norm, xp.where(exists, float(order), 0.0)))
            infinite = xp.where(_no_law(p), np.nan, np.inf)
            return self.sign ** int(order if is_whole else 0) * xp.where(exists, power, infinite)

        return self._on_laws(value)

    def entropy(self) -> Values:
        """Differential entropy -E[log p(v)] in nats."""
        return self._on_laws(lambda _: self._numbers().entropy)

    @property
    def mode(self) -> Values:
        """Where the density is largest: 0 where it diverges there (regime II), as `phase` tells."""
        return self._on_laws(lambda built: self.sign * batch.modes(built[1])[0])

    @property
    def modes(self) -> Values:
        """All maxima of the density by their size, on a last axis of length 2 that is filled up with nan."""
        with in_float64():
            result = (self.sign * batch.modes(self._built()[1])[1]).reshape(*self._law_shape, 2)
        return give_back(result, None, self._leaves)

    @property
    def tail_exponent(self) -> Values:
        """Exponent s of the tail, density ~ size^-s; infinite where the tail falls faster than a power (alpha1 = 0)."""

        def value(built: Built) -> Array:
            p = built[0]
            exponent = xp.where(p.alpha1 > 0, self._tail(p), np.inf)
            return xp.where(_no_law(p), np.nan, exponent)

        return self._on_laws(value)

    @abstractmethod
    def _tail(self, p: Parameters) -> Any:
        """Tail exponent where there is a law and alpha1 > 0."""

    @property
    def _left_power(self) -> float:
        """The exponent 3D/n of 1/v in the density."""
        return 3 * self.depth / (self.depth + 1)

    @property
    def _side(self) -> str:
        """The branch, for messages."""
        return "v > 0" if self.sign > 0 else "v < 0"

    def _left_order(self, p: Parameters) -> Any:
        """Moments of this negative order and below are infinite."""
        return np.inf * p.beta1

    @property
    def _leaves(self) -> tuple[Any, ...]:
        return self.moments, self.temperature, self.weight_decay

    @property
    def _law_shape(self) -> tuple[int, ...]:
        # From the leaves, not from batch_shape: under vmap the leaves have lost an axis that batch_shape still has.
        moments, *rest = self._leaves
        return np.broadcast_shapes(moments.batch_shape, *(np.shape(leaf) for leaf in rest))

    def _parameters(self, depth: float, width: Any) -> Parameters:
        """Parameters of the B laws, float64, mirrored for v < 0."""
        leaves = (self.moments, self.temperature, self.weight_decay, float(width), float(depth), self.temperature_rest)
        if not is_traced(leaves):
            leaves = jax.tree.map(np.asarray, leaves)
        return _collect(leaves, sign=self.sign, shape=self._law_shape)

    def _built(self) -> Built:
        """What `_prepare` returns, made once where the parameters are concrete."""
        return self._kept("_density", self._prepare)

    def _table(self) -> Table:
        return self._kept("_tables", lambda: batch.tabulate(*self._built()[1:]))

    def _numbers(self) -> Numbers:
        return self._kept("_sums", lambda: batch.numbers(*self._built()))

    def _kept(self, name: str, make: Any) -> Any:
        kept = self.__dict__.get(name)
        if kept is None:
            with jax.ensure_compile_time_eval(), in_float64():
                kept = make()
            if not is_traced(kept):
                self.__dict__[name] = kept
        return kept

    def _may_be_looked_up(self, value: Any) -> bool:
        count = np.size(value)
        return count >= max(_MANY, lookup.WORTH * int(np.prod(self._law_shape)))

    def _log_prob_of_many(self, value: Any) -> Any:
        with in_float64():
            _, density, quadrature = self._built()
            table = self._kept("_lookup", lambda: batch.look_up(density, quadrature.log_norm))
            v = value if isinstance(value, jax.Array) else np.asarray(value, np.float64)
            result = batch.log_prob_of_many(density, quadrature.log_norm, table, v, self._law_shape, self.sign)
        return give_back(result, value, self._leaves)

    def _quantile(self, density: batch.AnyDensity, q: Array) -> tuple[Array, Array]:
        masses = (q, 1 - q) if self.sign > 0 else (1 - q, q)
        return batch.quantile(density, self._table(), *masses)

    def _log_tail(self, value: ArrayLike, side: int) -> Any:
        def tail(built: Any, v: Array) -> Array:
            return batch.log_tail(built[1], built[2].log_norm, self._table(), self.sign * v, side * self.sign)

        return self._on_values(tail, value)

    def _float64(self, function: Any, value: Any) -> Any:
        if not is_traced(value, *self._leaves):
            flat, shape = flatten_batch(np.asarray(value, np.float64), self._law_shape)
            with jax.ensure_compile_time_eval():
                built = self._built()
                if xp.is_small((flat, built)):
                    return restore_batch(function(built, flat), shape)
                if jax.default_backend() == "cpu":
                    return restore_batch(_in_pieces(partial(function, built), flat), shape)
        flat, shape = flatten_batch(to_float64(value), self._law_shape)
        return restore_batch(function(self._built(), flat), shape)

    def _on_values(self, function: Any, value: Any) -> Any:
        with in_float64():
            result = self._float64(function, value)
        return give_back(result, value, self._leaves)

    def _on_laws(self, function: Any) -> Any:
        with in_float64():
            result = function(self._built()).reshape(self._law_shape)
        return give_back(result, None, self._leaves)


def _in_pieces(function: Callable[[np.ndarray], Any], flat: np.ndarray) -> np.ndarray:
    """Apply a compiled function to values (B, M) by pieces of few sizes.

    In NumPy nothing is compiled for the shape of the values, and pieces need little memory at a time: fresh memory
    would take longer than the arithmetic.
    """
    size, count = max(_PIECE // max(len(flat), 1), 1), flat.shape[1]
    pieces = [flat[:, i : i + size] for i in range(0, max(count, 1), size)]
    return np.concatenate([np.asarray(function(filled_up(piece)))[:, : piece.shape[1]] for piece in pieces], axis=1)


def _no_law(p: Parameters) -> Array:
    """Whether a parameter is nan, as the temperature is where there is no law."""
    return xp.isnan(sum(p))


@partial(xp.compiled, static=("sign", "shape"))
def _collect(leaves: Any, sign: int, shape: tuple[int, ...]) -> Parameters:
    moments, *others = leaves

    def flat(leaf: Any) -> Array:
        return xp.broadcast_to(to_float64(leaf), shape).reshape(-1)

    data = jax.tree.map(flat, oriented(moments, sign))
    fit = interpolation(data)
    # A variance that is rounding of data which are the same in every row is none.
    shared, same = fit.holds & (fit.k == 0), ~fit.holds & fit.quiet
    a1 = xp.where(same, 0.0, data.alpha1)
    a2, a3 = (xp.where(shared | same, 0.0, leaf) for leaf in (data.alpha2, data.alpha3))
    # Traced moments that no data have cannot raise an error: there is no law.
    possible = xp.broadcast_to(moments.possible, shape).reshape(-1)
    heat, *rest = map(flat, others)
    return Parameters(a1, a2, a3, data.beta1, data.beta2, xp.where(possible, heat, np.nan), *rest)
