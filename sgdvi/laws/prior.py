"""The law of a product of normal factors, summed over units: what normal priors on the factors say of v."""

import math
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from numpyro.distributions import Distribution, constraints
from scipy import special
from scipy.interpolate import make_interp_spline

from sgdvi._internal.arguments import checked
from sgdvi._internal.check import real_array, require, whole
from sgdvi._internal.tree import is_traced
from sgdvi._internal.types import Values
from sgdvi.laws._shown import Shown

# Left of e^_LOW the power series in v has one term in float64; steps of _STEP resolve the logarithm of the density.
_LOW, _STEP = -22.0, 0.02
# Beyond these values of log |u| a normal factor has no mass in float64.
_FACTOR = (-50.0, 3.7)
_SPLINE = 7
# Convolutions are summed in so many parts: all terms at once would need much memory.
_PARTS = 16


class NormalProduct(Shown, Distribution):
    r"""Law of :math:`v = \sum_{i=1}^d \prod_{k=1}^n u_{ik}` for independent :math:`u_{ik} \sim N(0, s^2)`.

    It is the prior that a linear network of depth n - 1 and width d puts on its slope. One factor: a normal law. Two:
    a Bessel law, :math:`(z/2)^\nu K_\nu(z)/(\sqrt\pi\,\Gamma(d/2)\,s^2)` with z = |v|/s^2 and :math:`\nu = (d-1)/2`.
    More: Meijer's G, by repeated convolution of log \|u\|, with the residues of its Mellin transform near 0.

    Parameters
    ----------
    num_factors, width
        Factors n >= 1 per unit, and units d >= 1; more than two factors for one unit only.
    scale
        Standard deviation s of a factor.

    Raises
    ------
    InputError
        For three factors or more and more than one unit: no density is known.
    """

    arg_constraints = {"scale": constraints.positive}
    reparametrized_params = ["scale"]
    support = constraints.real
    pytree_data_fields = ("scale",)
    pytree_aux_fields = ("num_factors", "width")

    @checked
    def __init__(
        self, num_factors: int, scale: ArrayLike = 1.0, *, width: int = 1, validate_args: bool | None = None
    ) -> None:
        self.num_factors, self.width = whole("num_factors", num_factors, least=1), whole("width", width, least=1)
        require_known(self.num_factors, self.width)
        if not is_traced(scale):
            size = real_array("scale", scale)
            rule = "scale must be finite and above 0"
            require(size.size and np.all(np.isfinite(size) & (size > 0)), rule, size)
        self.scale = scale
        super().__init__(batch_shape=jnp.shape(scale), validate_args=validate_args)

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Independent draws: products of normal numbers."""
        shape = (*sample_shape, *self.batch_shape, self.width, self.num_factors)
        return jnp.prod(jax.random.normal(key, shape), axis=-1).sum(axis=-1) * self.scale**self.num_factors

    @property
    def mean(self) -> Array:
        """Mean of v: 0."""
        return jnp.zeros(self.batch_shape)

    @property
    def variance(self) -> Array:
        r"""Variance of v, :math:`d\, s^{2n}`."""
        return self.width * jnp.asarray(self.scale) ** (2 * self.num_factors)

    def log_prob(self, value: ArrayLike, intermediates: Any = None) -> Values:
        """Log density at ``value``; infinite at 0 for one unit of two factors or more."""
        del intermediates
        if self.num_factors == 1:
            sd = jnp.sqrt(self.width) * jnp.asarray(self.scale)
            return -0.5 * (value / sd) ** 2 - jnp.log(sd) - 0.5 * jnp.log(2 * jnp.pi)
        y = jnp.log(jnp.abs(value)) - self.num_factors * jnp.log(jnp.asarray(self.scale))
        bent = slow_part(self.num_factors, self.width, y) - steep_part(self.num_factors, y)
        return bent - self.num_factors * jnp.log(jnp.asarray(self.scale))


def known(num_factors: int, width: int) -> bool:
    """Whether the density of v is known."""
    return num_factors <= 2 or width == 1


def require_known(num_factors: int, width: int) -> None:
    """Raise `InputError` where no density of v is known."""
    rule = "the law of v under normal factors is known for two factors or fewer, or for one unit"
    advice = "Take width 1, or use NUTS as the reference on v."
    require(known(num_factors, width), rule, f"{num_factors} factors, width {width}", advice)


def steep_part(num_factors: int, y: Any) -> Any:
    """The part (n/2) v^(2/n) of the tail of minus the log density, at y = log v for factors of scale 1."""
    return 0.5 * num_factors * jnp.exp(2 * y / num_factors)


def slow_part(num_factors: int, width: int, y: ArrayLike) -> Array:
    """Log density plus `steep_part`, at y = log v for factors of scale 1: it changes like y at most. For JAX."""
    table = _table(num_factors, width)
    with jax.ensure_compile_time_eval():
        values, slopes, residues = (jnp.asarray(part) for part in (table.values, table.slopes, table.residues))
    y = jnp.asarray(y)
    inside = jnp.clip((y - table.low) / _STEP, 0.0, len(table.values) - 1.0)
    at = jnp.clip(jnp.floor(inside), 0, len(table.values) - 2).astype(int)
    t = inside - at
    left, right = values[at], values[at + 1]
    rise = _STEP * jnp.stack([slopes[at], slopes[at + 1]])
    middle = left + t * t * (3 - 2 * t) * (right - left) + t * (1 - t) * ((1 - t) * rise[0] - t * rise[1])
    # For -inf, and for gradients, every branch must be finite.
    below = y < table.low
    far = jnp.where(below, jnp.maximum(y, -1e6), -1.0)
    near_zero = jnp.log(jnp.polyval(residues, far)) + steep_part(num_factors, far)
    beyond = jnp.maximum(y - table.high, 0.0) * (1 / num_factors - 1)
    return jnp.where(below, jnp.where(jnp.isneginf(y), table.at_zero, near_zero), middle + beyond)


def log_density(value: Any, num_factors: int, scale: float, width: int = 1) -> np.ndarray:
    """Log density at v in NumPy float64, to about 1e-13."""
    v = np.abs(np.asarray(value, dtype=np.float64))
    if num_factors == 1:
        return -0.5 * v * v / (width * scale**2) - 0.5 * np.log(2 * np.pi * width) - np.log(scale)
    if num_factors == 2:
        return log_bessel_density(v, scale**2, width)
    require_known(num_factors, width)
    with np.errstate(divide="ignore"):
        y = np.log(v) - num_factors * np.log(scale)
    table = _table(num_factors, width)
    inside = np.clip(y, table.low, table.high)
    middle = table.spline(inside) + np.maximum(y - table.high, 0.0) * (1 / num_factors - 1)
    near_zero = np.log(np.polyval(table.residues, np.maximum(np.minimum(y, table.low), -1e6)))
    away = middle - 0.5 * num_factors * np.exp(2 * y / num_factors)
    shape = np.where(y < table.low, np.where(np.isneginf(y), np.inf, near_zero), away)
    return shape - num_factors * np.log(scale)


def log_bessel_density(value: np.ndarray, scale: float, width: int) -> np.ndarray:
    r"""Log density at v of a sum of `width` products of two independent N(0, `scale`) variables.

    Notes
    -----
    With z = |v|/scale and nu = (d-1)/2 it is log of (z/2)^nu K_nu(z)/(sqrt(pi) Gamma(d/2) scale). z^nu K_nu(z) goes up
    from nu = 0, 1/2 or 1 by the (stable) recurrence of :math:`q_\nu = z K_{\nu+1}/K_\nu = 2\nu + z^2/q_{\nu-1}`,
    which neither overflows at small z nor at large nu.
    """
    z = np.abs(value) / scale
    half_d = 0.5 * width
    constant = (half_d - 0.5) * np.log(2.0) + 0.5 * np.log(np.pi) + special.gammaln(half_d) + np.log(scale)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        if width == 1:
            return np.log(special.k0e(z)) - z - constant
        if width % 2 == 0:
            order, log_value, ratio = 0.5, np.full_like(z, 0.5 * np.log(0.5 * np.pi)), 1.0 + z
        else:
            # z K_1(z) e^z, with its limit where K_1 overflows.
            base = np.where(z > 1e-300, z * special.k1e(z), 1.0)
            order, log_value, ratio = 1.0, np.log(base), 2.0 + np.where(z > 1e-300, z * z * special.k0e(z) / base, 0.0)
    while order < half_d - 0.5:
        log_value = log_value + np.log(ratio)
        order += 1.0
        ratio = 2.0 * order + z * z / ratio
    return log_value - z - constant


class _Table(NamedTuple):
    """`slow_part` between log v = low and high, and what it goes over into on either side."""

    low: float
    high: float
    values: np.ndarray
    slopes: np.ndarray
    spline: Any
    residues: np.ndarray  # the density near 0 as a polynomial in log v, highest power first
    at_zero: float


@cache
def _table(num_factors: int, width: int) -> _Table:
    # Where exp(-(n/2) v^(2/n)) underflows; a density with a kink at 0 (width 2) takes longer to become flat.
    high = 0.5 * num_factors * math.log(1400 / num_factors)
    low = _LOW if width == 1 else 2 * _LOW
    y = low + _STEP * np.arange(math.ceil((high - low) / _STEP))
    if num_factors == 2:
        logs = log_bessel_density(np.exp(y), 1.0, width)
    else:
        logs = _convolved(num_factors, y)
    values = logs + 0.5 * num_factors * np.exp(2 * y / num_factors)
    spline = make_interp_spline(y, values, k=_SPLINE)
    residues = _residues(num_factors) if width == 1 else np.exp(values[:1])
    at_zero = math.inf if width == 1 else float(values[0])
    return _Table(low, float(y[-1]), values, spline(y, 1), spline, residues, at_zero)


def _convolved(num_factors: int, y: np.ndarray) -> np.ndarray:
    """Log density of v at v = exp(y): log |v| is a sum of n independent log |u|, convolved by the trapezoidal rule.

    All terms are positive and the integrand is analytic in a strip, so the sum is right to rounding.
    """
    z = _STEP * np.arange(round(_FACTOR[0] / _STEP), round(_FACTOR[1] / _STEP) + 1)
    log_factor = 0.5 * np.log(2 / np.pi) + z - 0.5 * np.exp(2 * z) + np.log(_STEP)
    # every y - z, in rising order
    rest = y[0] - z[-1] + _STEP * np.arange(len(y) + len(z) - 1)
    with np.errstate(over="ignore"):
        logs = log_bessel_density(np.exp(rest), 1.0, 1)
    for n in range(3, num_factors + 1):
        windows = np.lib.stride_tricks.sliding_window_view(rest + logs, len(z))
        parts = [_log_sums(part + log_factor[::-1]) for part in np.array_split(windows, _PARTS)]
        sums = np.concatenate(parts) - y
        logs = _extended(rest, y, sums, _residues(n))
    return sums


def _log_sums(terms: np.ndarray) -> np.ndarray:
    """Log of the sums of exp over the last axis; SciPy's takes four times as long, for cases that are none here."""
    top = terms.max(axis=-1, keepdims=True)
    return top[..., 0] + np.log(np.exp(terms - top).sum(axis=-1))


def _extended(rest: np.ndarray, y: np.ndarray, logs: np.ndarray, residues: np.ndarray) -> np.ndarray:
    """Log density at points in log v of the lattice that y lies on, from that at y."""
    places = np.rint((rest - y[0]) / _STEP).astype(int)
    near_zero = np.log(np.polyval(residues, np.minimum(rest, y[0])))
    inside = logs[np.clip(places, 0, len(y) - 1)]
    return np.where(places < 0, near_zero, np.where(places >= len(y), -np.inf, inside))


def _residues(num_factors: int) -> np.ndarray:
    """Coefficients of the density near 0 as a polynomial in log v, highest power first.

    The Mellin transform of the density of |v| is (2^((s-1)/2) Gamma(s/2)/sqrt(pi))^n; its residue at s = 0 is the
    coefficient of s^(n-1) in v^-s (2^(s/2) Gamma(1 + s/2))^n 2^n, up to the constant.
    """
    n = num_factors
    # log of 2^(s/2) Gamma(1 + s/2), by powers of s
    logs = np.zeros(n)
    for k in range(1, n):
        logs[k] = special.zeta(k) * (-0.5) ** k / k if k > 1 else 0.5 * (math.log(2) - np.euler_gamma)
    series = np.zeros(n)
    series[0] = 1.0
    for k in range(1, n):  # exp of n times that series
        series[k] = sum(j * n * logs[j] * series[k - j] for j in range(1, k + 1)) / k
    powers = [(-1.0) ** k / math.factorial(k) * series[n - 1 - k] for k in range(n)]
    return 0.5 * (2 / np.pi) ** (n / 2) * np.array(powers[::-1])
