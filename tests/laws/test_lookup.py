"""The table that very many log densities are read off, against the density itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from law_cases import SETS

from sgdvi import Moments, SGDStationary
from sgdvi.laws import _lookup

MANY = 70_000
LEVELS = np.concatenate([np.geomspace(1e-4, 0.5, 12), 1 - np.geomspace(1e-4, 0.5, 12)])
_build, _evaluate = jax.jit(_lookup.build), jax.jit(_lookup.evaluate)


def gaps(law):
    """Errors of the table in units of max(1, |log p|) at 200 points of the bulk and far out, nan where it has none."""
    law._validate_args = False  # Points outside of the support are asked for, too.
    with jax.enable_x64(True):
        v = np.asarray(law.icdf(LEVELS))
        away = np.abs(v[12]) * np.geomspace(1e-6, 1e6, 100)
        v = np.concatenate([v, law.sign * away, v[12] + (v[14] - v[10]) * np.linspace(-6, 6, 76)])
        want = np.asarray(law.log_prob(v))
        _, density, quadrature = jax.tree.map(lambda leaf: leaf[0], law._built())
        got = np.asarray(_evaluate(_build(density, quadrature.log_norm), law.sign * v))
    got = np.where(np.isfinite(want), got, np.nan)
    # Near Tc much of the mass lies below what the table, or any number, holds.
    reached = (law.depth == 0) | (np.abs(v) > 1e-13 * float(density.noise.r)) & np.isfinite(want)
    return np.abs(got - want) / np.maximum(1, np.abs(want)), reached[: len(LEVELS)]


def test_agrees_with_the_density_for_ordinary_laws():
    for moments, heat, options in SETS:
        errors, reached = gaps(SGDStationary(moments, heat, **options))
        assert np.nanmax(errors) < 1e-11, (moments, heat, options)
        assert np.all(np.isfinite(errors[: len(LEVELS)][reached])), (moments, heat, options)


@pytest.mark.parametrize("sign", [1, -1])
def test_many_values_have_what_few_have(sign, x64):
    moments = Moments.linear(1.0, 1.0)
    law = SGDStationary(moments if sign > 0 else moments.mirror(), 0.1, depth=2, sign=sign, validate_args=False)
    v = sign * jnp.linspace(-0.5, 4.0, MANY).at[7].set(jnp.nan).at[8].set(jnp.inf).at[9].set(0.0)
    some = np.array([0, 7, 8, 9, 8000, 20_000, MANY - 1])
    got = law.log_prob(v)
    np.testing.assert_allclose(got[some], law.log_prob(v[some]), rtol=1e-13, atol=1e-13)
    np.testing.assert_array_equal(jax.jit(law.log_prob)(v), got)
    assert law.log_prob(v.reshape(7, -1)).shape == (7, MANY // 7)
    slope = jax.grad(lambda v: jnp.sum(jnp.where(v * sign > 0.1, law.log_prob(v), 0.0)))(v.at[7:9].set(sign * 1.0))
    np.testing.assert_allclose(slope[some[5:]], law.score(v[some[5:]]), rtol=1e-12)
    assert slope[0] == 0
    # One value that the table does not reach sends all to the density itself.
    far = v.at[0].set(sign * 1e-30)
    np.testing.assert_allclose(law.log_prob(far)[some], law.log_prob(far[some]), rtol=1e-13, atol=1e-13)
    single = law.log_prob(v.astype(jnp.float32))
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single[some[4:]], got[some[4:]], rtol=1e-5)
