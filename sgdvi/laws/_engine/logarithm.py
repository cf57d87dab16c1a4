"""Natural logarithms that the compiler can vectorise, float64.

XLA on a CPU calls the scalar logarithm of the C library, which also keeps the loop around it from being vectorised.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from sgdvi.laws._engine import xp

# log(1 + f) = f - f^2/2 + s (f^2/2 + R(s^2)), s = f/(2 + f), on sqrt(1/2) <= 1 + f <= sqrt(2): coefficients of R from
# FreeBSD's e_log.c (Sun Microsystems 1993), error below one unit in the last place.
_SERIES = (
    6.666666666666735130e-01,
    3.999999999940941908e-01,
    2.857142874366239149e-01,
    2.222219843214978396e-01,
    1.818357216161805012e-01,
    1.531383769920937332e-01,
    1.479819860511658591e-01,
)
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_NEAR = (np.sqrt(0.5) - 1, np.sqrt(2.0) - 1)
_SPLIT = int(np.sqrt(0.5).view(np.int64))
_FRACTION_BITS = 52


def log(x: Array) -> Array:
    """Natural logarithm of x; -inf at 0, where numbers below the smallest normal one are, too; nan below."""
    return _log(x - 1, x, xp.zeros_like(x, bool))


def log_near_one(change: Array, x: Array, usable: Array | bool = True) -> Array:
    """Log of x, given x - 1, which keeps the relative accuracy of a small logarithm."""
    near = usable & (change > _NEAR[0]) & (change < _NEAR[1])
    return _log(xp.where(near, change, 0.0), x, near)


def _log(change: Array, x: Array, near: Array) -> Array:
    """Log(1 + change) where near, else log(x)."""
    if isinstance(x, jax.Array) or isinstance(change, jax.Array):
        return _series(change, x, near)
    # NumPy's own logarithms are vectorised.
    return np.where(near, np.log1p(np.where(near, change, 0.0)), np.log(np.where(near, 1.0, x)))


@jax.custom_jvp
def _series(change: Array, x: Array, near: Array) -> Array:
    """`_log` in JAX."""
    bits = jax.lax.bitcast_convert_type(x, jnp.int64)
    exponent = jax.lax.shift_right_arithmetic(bits - _SPLIT, jnp.full_like(bits, _FRACTION_BITS))
    mantissa = bits - jax.lax.shift_left(exponent, jnp.full_like(bits, _FRACTION_BITS))
    twos = jnp.where(near, 0.0, exponent.astype(x.dtype))
    f = jnp.where(near, change, jax.lax.bitcast_convert_type(mantissa, x.dtype) - 1)
    s, half_square = f / (2 + f), f * f / 2
    square, rest = s * s, jnp.full_like(s, _SERIES[-1])
    for coefficient in _SERIES[-2::-1]:
        rest = rest * square + coefficient
    part = s * (half_square + rest * square) + twos * _LN2_LOW
    value = twos * _LN2_HIGH - ((half_square - part) - f)
    ordinary = near | ((x > 0) & (x < jnp.inf))
    return jnp.where(ordinary, value, jnp.where(x == 0, -jnp.inf, jnp.where(x > 0, x, jnp.nan)))


@_series.defjvp
def _series_jvp(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Array, Array]:
    change, x, near = primals
    slope = jnp.where(near, tangents[0], tangents[1]) / jnp.where(near, 1 + change, x)
    return _series(*primals), slope
