"""The stationary law of SGD on its nonzero branch, as a NumPyro distribution."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from numpyro.distributions import Distribution, constraints

from sgdvi._check import InputError, message, require, whole
from sgdvi.laws import _scalar
from sgdvi.laws._arrays import flatten_batch, give_back, is_traced, keep, restore_batch, to_float64, uniform
from sgdvi.laws._density import Parameters
from sgdvi.laws.phases import critical_temperature, law_exists
from sgdvi.moments import Moments

# Below this, alpha1 alpha3 - alpha2^2 is rounding: the noise vanishes at some v and the law is of another kind.
_DEGENERATE = 1e-13


class SGDStationary(Distribution):
    r"""Exact stationary law of v under SGD on a diagonal linear network, on one side of zero.

    With the per-sample loss :math:`(v x - y)^2 + \gamma\|\theta\|^2`, :math:`g(v) = \alpha_1 v^2 - 2\alpha_2 v +
    \alpha_3` and :math:`A(v) = \arctan((\alpha_1 v - \alpha_2)/\sqrt\Delta)`,

    .. math::

        p(v) &\propto g^{-1 - b/(2 T \alpha_1)}
            \exp\Bigl(-\frac{\alpha_2 b - \alpha_1\beta_2}{T\alpha_1\sqrt\Delta} A\Bigr)
            && \text{depth 0, all } v,\; b = \beta_1 + \gamma,

        p(v) &\propto v^{B/(2\alpha_3 T) - 3/2} g^{-1 - B/(4 T \alpha_3)}
            \exp\Bigl(-\frac{\alpha_3\beta_1 - \alpha_2 B}{2 T \alpha_3\sqrt\Delta} A\Bigr)
            && \text{depth 1, } v > 0,\; B = \beta_2 - \gamma,

        \frac{d}{dv}\log p &= -\frac{3D}{n v} - \frac{g'}{g}
            - \frac{d^{1-2/n}(\beta_1 v - \beta_2)}{n T v^{2D/n} g}
            && \text{depth } D \ge 2,\; v > 0,\; n = D + 1,\; \gamma = 0.

    Exact for the stochastic gradient flow, so to first order in the learning rate for SGD itself.

    Parameters
    ----------
    moments
        Moments of the data, scalars or one batch shape.
    temperature
        Temperature T = learning rate / batch size for this loss; T > 0. Broadcasts against the moments.
    depth
        Depth D >= 0; 0 is linear regression.
    width
        Width d >= 1. Depth 0: the regression at d T and gamma/d. Depth 1: the law does not depend on it.
    weight_decay
        Decay gamma >= 0; broadcasts. At depth 2 and above it must be 0: any decay makes zero attract in the end.
    sign
        Branch at depth >= 1: +1 for v > 0, -1 for v < 0.
    validate_args
        As everywhere in NumPyro; values outside the support have log density -inf in any case.

    Raises
    ------
    InputError
        (a ValueError) For parameters that have no law on this branch, at or above the critical temperature among
        them. Traced parameters cannot be checked: there the results are nan.

    Notes
    -----
    Computed in float64 whatever JAX's setting; results have the dtype of the value, or of the parameters where there
    is none. The normaliser, ``cdf``, ``icdf``, ``mean`` and ``variance`` come from Gauss-Legendre panels to about
    1e-14; ``log_prob`` uses the closed form, which depth 2 and above lack: there the exponent is integrated on panels
    too. Gradients flow to the value, temperature, weight decay and moments.

    References
    ----------
    Ziyin, Li and Ueda, "Noise balance and stationary distribution of stochastic gradient descent", Phys. Rev. E 111,
    065303 (2025), section IV.

    Examples
    --------
    >>> import sgdvi
    >>> law = sgdvi.SGDStationary(sgdvi.Moments.linear(slope=1.0, noise=1.0), temperature=0.1)
    >>> round(float(law.mean), 4), law.tail_exponent
    (0.8449, 3.5)
    """

    arg_constraints = {"temperature": constraints.positive, "weight_decay": constraints.nonnegative}
    reparametrized_params = ["temperature", "weight_decay"]
    pytree_data_fields = ("moments", "temperature", "weight_decay")
    pytree_aux_fields = ("depth", "width", "sign")

    def __init__(
        self,
        moments: Moments,
        temperature: ArrayLike,
        *,
        depth: int = 1,
        width: int = 1,
        weight_decay: ArrayLike = 0.0,
        sign: int = 1,
        validate_args: bool | None = None,
    ) -> None:
        self.depth = whole("depth", depth)
        self.width = whole("width", width, least=1)
        require(sign in (1, -1), "sign must be 1 (law on v > 0) or -1 (law on v < 0)", sign)
        require(isinstance(moments, Moments), "moments must be sgdvi.Moments", type(moments).__name__)
        self.sign = int(sign)
        self.moments = moments
        self.temperature, self.weight_decay = keep(temperature, moments), keep(weight_decay, moments)
        if not is_traced(moments, self.temperature, self.weight_decay):
            self._check_concrete()
        super().__init__(batch_shape=self._law_shape, validate_args=validate_args)

    def _check_concrete(self) -> None:
        temperature, decay = np.asarray(self.temperature), np.asarray(self.weight_decay)
        require(
            np.all(temperature > 0) and np.all(np.isfinite(temperature)), "temperature must be above 0", temperature
        )
        require(np.all(decay >= 0) and np.all(np.isfinite(decay)), "weight_decay must be at least 0", decay)
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = np.asarray(self.moments.delta) / (
                np.asarray(self.moments.alpha1) * np.asarray(self.moments.alpha3)
            )
        if not np.all(spread > _DEGENERATE):
            rule = "Delta = alpha1 alpha3 - alpha2^2 must be above 0: SGD needs gradient noise at every v"
            raise InputError(
                message(rule, self.moments.delta, "With y = k x exactly, SGD stops at k: there is no law.")
            )
        critical = np.asarray(critical_temperature(self.moments, self.depth, self.weight_decay, sign=self.sign))
        if not np.all(temperature < critical):
            side = "v > 0" if self.sign > 0 else "v < 0"
            advice = "sgdvi.stationary_law gives the point mass at 0 that SGD ends in."
            if self.depth > 1 and np.any(decay > 0):
                rule = "weight_decay must be 0 at depth 2 and above, or SGD ends at 0 at any temperature"
                raise InputError(message(rule, decay, advice))
            if np.all(critical == 0):
                rule = f"beta2 and the weight decay must leave a law on {side}; there is none at any temperature"
                got = f"beta2 = {self.moments.beta2}, weight_decay = {decay}"
                if np.all(self.sign * np.asarray(self.moments.beta2) < -decay):
                    advice = f"The law lives on the other side: sign={-self.sign}."
                raise InputError(message(rule, got, advice))
            rule = f"temperature must be below the critical temperature {_short(critical)} for a law on {side}"
            raise InputError(message(rule, _short(temperature), advice))

    @property
    def support(self) -> constraints.Constraint:
        """The real line at depth 0, else the half line of the branch."""
        if self.depth == 0:
            return constraints.real
        return constraints.positive if self.sign > 0 else constraints.less_than(0.0)

    @property
    def tail_exponent(self) -> Any:
        """Exponent s of the tail p ~ |v|^-s: 5 - 3/(D+1); at depth 0, 2 + (beta1 + gamma)/(T alpha1)."""
        if self.depth > 0:
            return 5 - 3 / (self.depth + 1)
        with jax.enable_x64(True):
            p = self._parameters()
            decay = p.beta1 + p.weight_decay / self.width
            result = (2 + decay / (p.temperature * self.width * p.alpha1)).reshape(self._law_shape)
        return give_back(result, None, self._leaves)

    def log_prob(self, value: ArrayLike, intermediates: Any = None) -> Any:
        """Log density at ``value``; -inf outside the support."""
        del intermediates
        if self._validate_args:
            self._validate_sample(value)
        return self._on_values(
            lambda density, table, v: _scalar.log_prob(density, table.log_norm, self.sign * v), value
        )

    def cdf(self, value: ArrayLike) -> Any:
        """Probability of a draw at or below ``value``."""

        def flipped(density: Any, table: Any, v: Array) -> Array:
            inner = _scalar.cdf(density, table, self.sign * v)
            return inner if self.sign > 0 else 1 - inner

        return self._on_values(flipped, value)

    def icdf(self, q: ArrayLike) -> Any:
        """Quantile of ``q``; nan outside [0, 1]. Near Tc low quantiles underflow: see `log_icdf`."""
        return self._on_values(lambda density, table, q: self.sign * self._quantile(density, table, q)[0], q)

    def log_icdf(self, q: ArrayLike) -> Any:
        """Logarithm of the quantile's distance from zero, log |icdf(q)|, where the quantile itself underflows.

        Raises
        ------
        InputError
            At depth 0, where the law is on the whole line.
        """
        require(self.depth > 0, "log_icdf needs a law on one side of zero", "depth 0", "Use icdf.")
        # dv/dz = v at depth >= 1, so the Jacobian's logarithm is log v.
        return self._on_values(lambda density, table, q: self._quantile(density, table, q)[1], q)

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Independent draws by inversion, differentiable in the parameters.

        Draws below the smallest normal number of the dtype (near Tc) are returned as that number.
        """
        dtype = jax.dtypes.canonicalize_dtype(np.float64)
        with jax.enable_x64(True):
            levels = uniform(key, tuple(sample_shape) + self._law_shape)
            draws = self._float64(lambda density, table, q: self._quantile(density, table, q)[0], levels)
            if self.depth > 0:
                draws = jnp.maximum(draws, float(jnp.finfo(dtype).tiny))
            return jax.lax.convert_element_type(self.sign * draws, dtype)

    @property
    def mean(self) -> Any:
        """Mean of v; exists at every depth and temperature."""
        return self._summary(lambda mean, variance: self.sign * mean)

    @property
    def variance(self) -> Any:
        """Variance of v; infinite at depth 0 for T >= (beta1 + gamma)/alpha1, finite at depth >= 1."""
        return self._summary(lambda mean, variance: variance)

    @property
    def mode(self) -> Any:
        """Where the density is largest: 0 where it diverges there (regime II), as `phase` tells."""
        with jax.enable_x64(True):
            p = self._parameters()
            if self.depth == 0:
                temperature, b = p.temperature * self.width, p.beta1 + p.weight_decay / self.width
                value = (p.beta2 + 2 * temperature * p.alpha2) / (b + 2 * temperature * p.alpha1)
            elif self.depth > 1:
                value = self.sign * _scalar.deep_mode(self._built()[0])
            else:
                linear = p.beta1 - 10 * p.alpha2 * p.temperature
                constant = jnp.maximum(p.beta2 - p.weight_decay - 3 * p.alpha3 * p.temperature, 0.0)
                root = jnp.sqrt(linear**2 + 28 * p.alpha1 * p.temperature * constant)
                stable = 2 * constant / jnp.where(linear > 0, linear + root, 1.0)
                value = jnp.where(linear > 0, stable, (root - linear) / (14 * p.alpha1 * p.temperature))
                value = self.sign * jnp.where(constant > 0, value, 0.0)
            value = value.reshape(self._law_shape)
        return give_back(value, None, self._leaves)

    @property
    def _leaves(self) -> tuple[Any, ...]:
        return self.moments, self.temperature, self.weight_decay

    @property
    def _law_shape(self) -> tuple[int, ...]:
        # From the leaves, not from batch_shape: under vmap the leaves have lost an axis that batch_shape still has.
        return np.broadcast_shapes(self.moments.batch_shape, np.shape(self.temperature), np.shape(self.weight_decay))

    def _parameters(self) -> Parameters:
        """Parameters of the B laws, float64, mirrored for v < 0; temperature nan where there is no law."""
        data = self.moments if self.sign > 0 else self.moments.mirror()
        leaves = [
            to_float64(leaf)
            for leaf in jax.tree.leaves((data, self.temperature, self.weight_decay, self.width, self.depth))
        ]
        p = Parameters(*(jnp.broadcast_to(leaf, self._law_shape).reshape(-1) for leaf in leaves))
        exists = law_exists(self.depth, p.alpha3, p.beta2, p.weight_decay, p.temperature)
        return p._replace(temperature=jnp.where(exists, p.temperature, jnp.nan))

    def _built(self) -> tuple[Any, Any]:
        """Density and table of the laws, made once where the parameters are concrete."""
        cached = self.__dict__.get("_cache")
        if cached is None:
            with jax.ensure_compile_time_eval(), jax.enable_x64(True):
                cached = _scalar.build(self._parameters(), self.depth)
            if not is_traced(cached):
                self._cache = cached
        return cached

    def _quantile(self, density: Any, table: Any, q: Array) -> tuple[Array, Array]:
        return _scalar.quantile(density, table, q if self.sign > 0 else 1 - q)

    def _float64(self, function: Any, value: Any) -> Array:
        flat, shape = flatten_batch(to_float64(value), self._law_shape)
        return restore_batch(function(*self._built(), flat), shape)

    def _on_values(self, function: Any, value: Any) -> Any:
        with jax.enable_x64(True):
            result = self._float64(function, value)
        return give_back(result, value, self._leaves)

    def _summary(self, choose: Any) -> Any:
        with jax.enable_x64(True):
            result = choose(*_scalar.mean_variance(self._parameters(), *self._built()))
            result = result.reshape(self._law_shape)
        return give_back(result, None, self._leaves)


def _short(values: np.ndarray) -> str:
    """A number, or the range of many."""
    low, high = np.min(values), np.max(values)
    return f"{low:.6g}" if low == high else f"{low:.6g} to {high:.6g}"
