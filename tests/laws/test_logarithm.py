"""The vectorised logarithms against 30 digits, at their edges, and under JAX's transformations."""

import jax
import jax.numpy as jnp
import numpy as np
from mpmath import mp, mpf

from sgdvi.laws._engine.logarithm import log, log_near_one

TINY = np.finfo(np.float64).tiny


def exact(function, values):
    with mp.workdps(40):
        return np.array([float(function(mpf(float(value)))) for value in values])


def test_log_is_right_to_one_unit_in_the_last_place(x64):
    rng = np.random.default_rng(0)
    x = np.concatenate([np.geomspace(TINY, 1e308, 801), rng.uniform(0.5, 2, 800), 1 + np.linspace(-1e-9, 1e-9, 40)])
    want = exact(mp.log, x)
    assert np.all(np.abs(np.asarray(jax.jit(log)(x)) - want) <= np.spacing(np.abs(want)))
    edges = np.asarray(log(jnp.array([0.0, np.inf, 1.0, -1.0, np.nan, -np.inf])))
    np.testing.assert_array_equal(edges, [-np.inf, np.inf, 0.0, np.nan, np.nan, np.nan])


def test_log_near_one_keeps_the_relative_accuracy_of_small_logarithms(x64):
    small = np.concatenate([side * np.geomspace(1e-300, 0.9, 500) for side in (1, -1)])
    got = np.asarray(jax.jit(log_near_one)(small, 1 + small))
    want = exact(mp.log1p, small)
    assert np.all(np.abs(got - want) <= 4e-16 * np.abs(want))
    # Where the change is not usable only x counts.
    assert float(log_near_one(jnp.nan, jnp.array(2.0), False)) == np.log(2.0)


def test_derivatives_under_the_callers_32_bits():
    def f(x):
        with jax.enable_x64(True):
            x = jax.lax.convert_element_type(x, jnp.float64)
            return jax.lax.convert_element_type(log(x) * log_near_one(x - 1, x), jnp.float32)

    def derivatives(x):
        return jax.grad(f)(x), jax.grad(jax.grad(f))(x), jax.jacfwd(f)(x)

    x = np.array([0.3, 0.9, 1.2, 40.0])
    want = np.array([2 * np.log(x) / x, (2 - 2 * np.log(x)) / x**2, 2 * np.log(x) / x])
    one = jax.jit(derivatives)
    got = np.array([one(value) for value in x.astype(np.float32)]).T
    np.testing.assert_allclose(got, want, rtol=1e-5)
    np.testing.assert_allclose(jax.jit(jax.vmap(derivatives))(x.astype(np.float32)), want, rtol=1e-5)
