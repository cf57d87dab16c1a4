"""The rows of the minibatches: uniform over all rows, and a function of the chain's seed and the step alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from sgdvi.samplers import sgd

batch_indices = jax.jit(sgd.batch_indices, static_argnums=(2, 3, 4))
SEED = sgd.chain_seed(jax.random.key(3))
# with replacement; without it by Floyd's algorithm, and by the largest of N numbers
CASES = [(50, 8, True), (7, 1, True), (1000, 9, False), (50, 20, False), (50, 50, False)]


@pytest.mark.parametrize(("num_data", "batch_size", "replace"), CASES)
def test_rows_are_uniform_over_all_the_data(num_data: int, batch_size: int, replace: bool) -> None:
    steps = 20_000
    rows = np.asarray(batch_indices(SEED, jnp.arange(steps), num_data, batch_size, replace))
    assert rows.shape == (steps, batch_size)
    assert rows.dtype == np.int32
    counts = np.bincount(rows.ravel(), minlength=num_data)
    assert len(counts) == num_data
    if replace:
        assert stats.chisquare(counts).pvalue > 1e-3
        assert stats.chisquare(np.bincount(rows[:, -1], minlength=num_data)).pvalue > 1e-3
    else:
        assert all(len(set(batch)) == batch_size for batch in rows[:500])
        # counts without replacement vary less, by 1 - S/N
        spread = np.sum((counts - counts.mean()) ** 2) / counts.mean() / max(1 - batch_size / num_data, 1e-9)
        assert spread < stats.chi2(num_data - 1).ppf(0.999) or batch_size == num_data


def test_batches_of_successive_steps_are_independent() -> None:
    rows = np.asarray(batch_indices(SEED, jnp.arange(40_000), 4, 2, True))
    pairs = np.bincount(rows[:, 0] * 4 + rows[:, 1], minlength=16)
    lagged = np.bincount(rows[:-1, 0] * 4 + rows[1:, 0], minlength=16)
    assert stats.chisquare(pairs).pvalue > 1e-3
    assert stats.chisquare(lagged).pvalue > 1e-3


def test_subsets_are_equally_likely() -> None:
    rows = np.sort(np.asarray(batch_indices(SEED, jnp.arange(30_000), 6, 2, False)), axis=1)
    counts = np.bincount(rows[:, 0] * 6 + rows[:, 1], minlength=36)
    assert stats.chisquare(counts[counts > 0]).pvalue > 1e-3
    assert (counts > 0).sum() == 15


def test_variance_of_the_batch_mean() -> None:
    values = np.random.default_rng(0).normal(size=40)
    for replace, share in ((True, 1.0), (False, (40 - 10) / 39)):
        rows = np.asarray(batch_indices(SEED, jnp.arange(40_000), 40, 10, replace))
        assert values[rows].mean(1).var() == pytest.approx(values.var() / 10 * share, rel=0.03)


@pytest.mark.parametrize(("num_data", "batch_size", "replace"), CASES)
def test_rows_of_a_step_do_not_depend_on_the_grouping(num_data: int, batch_size: int, replace: bool) -> None:
    together = batch_indices(SEED, jnp.arange(64), num_data, batch_size, replace)
    for step in (0, 1, 17, 63):
        alone = batch_indices(SEED, jnp.array([step]), num_data, batch_size, replace)
        np.testing.assert_array_equal(alone[0], together[step])
    with jax.enable_x64(True):
        wide = batch_indices(SEED, jnp.arange(64), num_data, batch_size, replace)
    np.testing.assert_array_equal(wide, together)


def test_chains_and_steps_differ() -> None:
    other = sgd.chain_seed(jax.random.key(4))
    rows = [np.asarray(batch_indices(seed, jnp.arange(100), 10**9, 2, True)) for seed in (SEED, other)]
    assert len(np.unique(rows)) == 400
