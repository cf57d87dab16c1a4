"""The table that very many log densities are read off, against the density itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from law_cases import CASES, SETS, law_of

from sgdvi import MetastableLaw, Moments, SGDStationary
from sgdvi.laws._engine import lookup

MANY = 70_000
LEVELS = np.concatenate([np.geomspace(1e-4, 0.5, 12), 1 - np.geomspace(1e-4, 0.5, 12)])
_build, _evaluate = jax.jit(lookup.build), jax.jit(lookup.evaluate)


def gaps(law):
    """Errors of the table in units of max(1, |log p|), nan where it has none, at quantiles, in the bulk and far out."""
    law._validate_args = False  # Points outside of the support are asked for, too.
    with jax.enable_x64(True):
        quantiles = np.asarray(law.icdf(LEVELS))
        middle, spread = quantiles[12], quantiles[14] - quantiles[10]
        away = np.abs(middle) * np.geomspace(1e-6, 1e6, 100)
        v = np.concatenate([quantiles, law.sign * away, middle + spread * np.linspace(-6, 6, 76)])
        want = np.asarray(law.log_prob(v))
        _, density, quadrature = jax.tree.map(lambda leaf: leaf[0], law._built())
        got, inside = map(np.asarray, _evaluate(_build(density, quadrature.log_norm), law.sign * v))
    np.testing.assert_array_equal(inside[: len(LEVELS)], np.isfinite(want[: len(LEVELS)]))
    assert np.all(want[~inside] == -np.inf)
    known = np.where(np.isfinite(want), want, np.nan)
    errors = np.abs(got - known) / np.maximum(1, np.abs(known))
    # Near Tc much of the mass lies below what the table, or any number, holds.
    reached = inside & ((law.depth == 0) | (np.abs(v) > 1e-11 * float(density.noise.r)))
    return errors, np.isnan(errors[: len(LEVELS)][reached[: len(LEVELS)]])


def test_agrees_with_the_density_for_ordinary_laws():
    for moments, heat, options in SETS[::3]:  # of every depth; the slow ones are of every kind
        errors, missing = gaps(SGDStationary(moments, heat, **options))
        assert np.nanmax(errors) < 1e-11, (moments, heat, options)
        assert not np.any(missing), (moments, heat, options)


def test_agrees_with_the_density_of_a_metastable_bulk():
    """It ends at its barrier, within the table's panels."""
    law = MetastableLaw(Moments.linear(1.0, 1.0), 0.1, depth=2, weight_decay=0.05)
    errors, missing = gaps(law)
    assert np.nanmax(errors) < 1e-11
    assert not np.any(missing)
    v = float(law.edge) * np.linspace(0.5, 1.5, len(errors))
    with jax.enable_x64(True):
        _, density, quadrature = jax.tree.map(lambda leaf: leaf[0], law._built())
        inside = _evaluate(_build(density, quadrature.log_norm), v)[1]
    np.testing.assert_array_equal(inside, v > law.edge)


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted({case["kind"] for _, case in CASES}))
def test_agrees_with_the_density_for_every_kind_of_law(kind):
    for name, case in CASES:
        if case["kind"] == kind:
            errors, missing = gaps(law_of(case))
            # Data without noise at zero have a law that falls by 1e11 nats there.
            assert np.nanmax(errors) < (6e-11 if name.startswith("silent") else 1e-11), name
            assert not np.any(missing), name


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "sign"), [(1, -1), (2, 1)])
def test_many_values_have_what_few_have(depth, sign, x64):
    moments = Moments.linear(1.0, 1.0)
    law = SGDStationary(moments if sign > 0 else moments.mirror(), 0.1, depth=depth, sign=sign, validate_args=False)
    v = sign * jnp.linspace(-0.5, 4.0, MANY).at[7].set(jnp.nan).at[8].set(jnp.inf).at[9].set(0.0)
    some = np.array([0, 7, 8, 9, 8000, 20_000, MANY - 1])
    got = law.log_prob(v)
    np.testing.assert_allclose(got[some], law.log_prob(v[some]), rtol=1e-13, atol=1e-13)
    np.testing.assert_array_equal(jax.jit(law.log_prob)(v), got)
    assert law.log_prob(v.reshape(7, -1)).shape == (7, MANY // 7)
    inside = v.at[7:9].set(sign * 1.0)
    slope = jax.grad(lambda v: jnp.sum(jnp.where(v * sign > 0.1, law.log_prob(v), 0.0)))(inside)
    np.testing.assert_allclose(slope[some[5:]], law.score(v[some[5:]]), rtol=1e-12)
    assert slope[0] == 0
    # Traced parameters make their table in the program; derivatives are those of the density itself.
    at, w = jnp.array(0.1), jnp.tile(v[20_000:20_100], MANY // 100)

    def remade(heat):
        values = SGDStationary(law.moments, heat, depth=depth, sign=sign, validate_args=False).log_prob(w)
        return jnp.sum(values), values

    (_, values), slope = jax.jit(jax.value_and_grad(remade, has_aux=True))(at)
    np.testing.assert_allclose(values[:100], got[20_000:20_100], rtol=1e-12, atol=1e-12)
    up, down = (
        np.sum(SGDStationary(law.moments, 0.1 + step, depth=depth, sign=sign).log_prob(w[:100]))
        for step in (1e-5, -1e-5)
    )
    assert float(slope) == pytest.approx(MANY // 100 * float(up - down) / 2e-5, rel=1e-6)
    # One value that the table does not reach sends all to the density itself.
    far = v.at[0].set(sign * 1e-30)
    np.testing.assert_allclose(law.log_prob(far)[some], law.log_prob(far[some]), rtol=1e-13, atol=1e-13)
    single = law.log_prob(v.astype(jnp.float32))
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single[some[4:]], got[some[4:]], rtol=1e-5)
