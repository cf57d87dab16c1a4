"""The rows of the minibatches: uniform over all rows, and a function of the chain's seed and the step alone."""

import math
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from sgdvi._internal.batches import Batching
from sgdvi.samplers.algorithms import sgd
from sgdvi.samplers.algorithms._epochs import mixed, permuted

batch_indices = jax.jit(sgd.batch_indices, static_argnums=(2, 3, 4))
SEED = sgd.chain_seed(jax.random.key(3))
REPLACEMENT, WITHOUT, EPOCHS, FULL = Batching
# without replacement by Floyd's algorithm, and by the largest of N numbers; epochs by sorting, and by a network
CASES = [
    (50, 8, REPLACEMENT),
    (7, 1, REPLACEMENT),
    (1000, 9, WITHOUT),
    (50, 20, WITHOUT),
    (50, 50, WITHOUT),
    (20, 3, EPOCHS),
    (1009, 8, EPOCHS),
    (9, 2, FULL),
]


@cache
def rows_of(num_data: int, batch_size: int, batching: Batching) -> np.ndarray:
    """Return the rows of some 20,000 steps; of whole epochs, as counts in a part of one vary more."""
    steps = 20_000 // (num_data // batch_size) * (num_data // batch_size) if batching is EPOCHS else 20_000
    rows = np.asarray(batch_indices(SEED, jnp.arange(steps), num_data, batch_size, batching))
    assert rows.shape == (steps, num_data if batching is FULL else batch_size)
    return rows


@pytest.mark.parametrize(("num_data", "batch_size", "batching"), CASES)
def test_rows_are_uniform_over_all_the_data(num_data: int, batch_size: int, batching: Batching) -> None:
    rows = rows_of(num_data, batch_size, batching)
    assert rows.dtype == np.int32
    counts = np.bincount(rows.ravel(), minlength=num_data)
    assert len(counts) == num_data
    if batching is REPLACEMENT:
        assert stats.chisquare(counts).pvalue > 1e-3
        assert stats.chisquare(np.bincount(rows[:, -1], minlength=num_data)).pvalue > 1e-3
    else:
        assert all(len(set(batch)) == len(batch) for batch in rows[:500])
        # counts without replacement vary less, by 1 - (rows drawn in a step or an epoch)/N
        drawn = num_data // batch_size * batch_size if batching is EPOCHS else rows.shape[1]
        spread = np.sum((counts - counts.mean()) ** 2) / counts.mean() / max(1 - drawn / num_data, 1e-9)
        assert spread < stats.chi2(num_data - 1).ppf(0.999) or drawn == num_data


def test_batches_of_successive_steps_are_independent() -> None:
    rows = np.asarray(batch_indices(SEED, jnp.arange(40_000), 4, 2, REPLACEMENT))
    pairs = np.bincount(rows[:, 0] * 4 + rows[:, 1], minlength=16)
    lagged = np.bincount(rows[:-1, 0] * 4 + rows[1:, 0], minlength=16)
    assert stats.chisquare(pairs).pvalue > 1e-3
    assert stats.chisquare(lagged).pvalue > 1e-3


def test_bits_are_uniform_and_independent() -> None:
    """Bytes, pairs of positions, pairs of steps and means of batches, for seeds that differ little."""
    steps, bits_of = 200_000, jax.jit(sgd._bits, static_argnums=2)
    pvalues, found = [], []
    for seed in ((0, 0), (1, 0), (0, 1), (2**31, 5)):
        bits = np.asarray(bits_of(jnp.array(seed, jnp.uint32), jnp.arange(steps), 4))
        pvalues += [stats.chisquare(np.bincount((bits >> s & 255).ravel(), minlength=256)).pvalue for s in (0, 12, 24)]
        high = (bits >> 28).astype(int)
        for first, second in ((high[:, :-1], high[:, 1:]), (high[:-1], high[1:]), (high[:-2, 0], high[2:, 3])):
            pvalues.append(stats.chisquare(np.bincount((16 * first + second).ravel(), minlength=256)).pvalue)
        means = bits.mean(1) / 2**32
        pvalues.append(2 * stats.norm.sf(abs(means.var() * 12 * 4 - 1) * np.sqrt(steps / 2)))
        found.append(bits.astype(float))
    assert min(pvalues) > 1e-3 / len(pvalues)
    assert stats.kstest(pvalues, "uniform").pvalue > 1e-3
    # neither the same word, nor a correlation, between chains at any of a few shifts of their steps
    for shift in (-2, -1, 0, 1, 2):
        a, b = (
            found[0][max(0, shift) : steps + min(0, shift)],
            [one[max(0, -shift) : steps - max(0, shift)] for one in found[1:]],
        )
        for other in b:
            assert (a == other).mean() < 1e-4
            assert np.abs(np.corrcoef(a.T, other.T)[:4, 4:]).max() < 5 / np.sqrt(steps)


def test_each_bit_of_a_word_changes_half_of_the_bits() -> None:
    """Without one of its rounds the hash is off by 1 to 3 %, which no other test here sees."""
    count = 2**18

    @jax.jit
    def changes() -> jax.Array:
        words = jax.random.bits(jax.random.key(0), (count,), jnp.uint32)
        bits = jnp.arange(32, dtype=jnp.uint32)

        def of_bit(bit: jax.Array) -> jax.Array:
            changed = mixed(words ^ (jnp.uint32(1) << bit)) ^ mixed(words)
            return jax.lax.map(lambda place: jnp.sum(changed >> place & 1, dtype=jnp.int32), bits)

        return jax.lax.map(of_bit, bits)

    z = (np.asarray(changes()) - count / 2) / np.sqrt(count / 4)
    assert np.sum(z**2) < stats.chi2(z.size).ppf(0.999)


def test_subsets_are_equally_likely() -> None:
    rows = np.sort(np.asarray(batch_indices(SEED, jnp.arange(30_000), 6, 2, WITHOUT)), axis=1)
    counts = np.bincount(rows[:, 0] * 6 + rows[:, 1], minlength=36)
    assert stats.chisquare(counts[counts > 0]).pvalue > 1e-3
    assert (counts > 0).sum() == 15


@pytest.mark.parametrize(("num_data", "batch_size"), [(24, 4), (26, 4), (1024, 32), (1009, 8)])
def test_an_epoch_has_each_row_once_and_leaves_out_what_does_not_fill_a_batch(num_data: int, batch_size: int) -> None:
    length, epochs = num_data // batch_size, 60
    rows = np.asarray(batch_indices(SEED, jnp.arange(length * epochs), num_data, batch_size, EPOCHS))
    orders = rows.reshape(epochs, -1)
    assert all(len(set(order)) == length * batch_size for order in orders)
    assert len({tuple(order) for order in orders}) == epochs
    if num_data % batch_size:
        left_out = [set(range(num_data)) - set(order) for order in orders]
        assert len(set.union(*left_out)) > 20  # not the same rows every time


@pytest.mark.parametrize("size", [2, 3, 5])
def test_orders_of_few_rows_are_equally_likely(size: int) -> None:
    orders = np.asarray(batch_indices(SEED, jnp.arange(size * 20_000), size, 1, EPOCHS)).reshape(-1, size)
    codes, counts = np.unique(orders @ size ** np.arange(size), return_counts=True)
    assert len(codes) == math.factorial(size)
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("size", [33, 40])
def test_pairs_of_rows_within_and_between_epochs_are_equally_likely(size: int) -> None:
    epochs = jnp.arange(200_000)
    keys = jax.random.bits(jax.random.key(0), (len(epochs), 16), jnp.uint32)
    places = jnp.array([[0, 1, size - 1]])
    first, second, last = np.asarray(permuted(keys, jnp.broadcast_to(places, (len(epochs), 3)), size)).T
    for one, other in ((first, second), (first, last)):
        table = np.bincount(one * size + other, minlength=size * size).reshape(size, size)
        assert not np.trace(table)
        assert stats.chisquare(table[~np.eye(size, dtype=bool)]).pvalue > 1e-3
    between = np.bincount(last[:-1] * size + first[1:], minlength=size * size)
    assert stats.chisquare(between).pvalue > 1e-3


def test_orders_of_other_epochs_and_chains_are_independent() -> None:
    other = sgd.chain_seed(jax.random.key(4))
    one, two = (np.asarray(batch_indices(seed, jnp.arange(60_000), 6, 2, EPOCHS)) for seed in (SEED, other))
    first = one[3::3, 0]
    for pairs in (one[0::3, 0][:-1] * 6 + first, one[2::3, 1][:-1] * 6 + first, one[:, 0] * 6 + two[:, 0]):
        counts = np.bincount(pairs, minlength=36)
        assert (counts > 0).all()
        assert stats.chisquare(counts).pvalue > 1e-3


def test_network_on_the_largest_number_of_rows() -> None:
    size = 2**31 - 1
    keys = jnp.arange(16, dtype=jnp.uint32)[None]
    rows = np.asarray(permuted(keys, jnp.arange(size - 50_000, size)[None], size))[0]
    assert len(set(rows)) == 50_000
    assert 0 <= rows.min()
    assert rows.max() < size
    assert stats.kstest(rows / size, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("batching", list(Batching))
def test_variance_of_the_batch_mean(batching: Batching) -> None:
    values = np.random.default_rng(0).normal(size=40)
    steps, size = 40_000, 8
    rows = np.asarray(batch_indices(SEED, jnp.arange(steps), 40, size, batching))
    means = values[rows].mean(1)
    share = {REPLACEMENT: 1 / size, FULL: 0.0}.get(batching, (40 - size) / 39 / size)
    exact = values.var() * share
    # five standard errors: 3.5 %, while leaving out the factor makes 22 %
    assert means.var() == pytest.approx(exact, rel=5 * math.sqrt(2 / steps), abs=1e-20)
    lagged = np.mean((means[:-1] - values.mean()) * (means[1:] - values.mean()))
    # two different places of one order: -sigma^2/(N - 1), in four of five pairs of steps; else independent
    expected = -values.var() / 39 * 0.8 if batching is EPOCHS else 0.0
    assert lagged == pytest.approx(expected, abs=5 * exact / math.sqrt(steps) + 1e-20)
    if batching is EPOCHS:
        np.testing.assert_allclose(means.reshape(-1, 5).mean(1), values.mean(), rtol=1e-12)
    given = batching.noise_share(40, size)
    assert given == (None if batching is EPOCHS else pytest.approx(share))


@pytest.mark.parametrize(("num_data", "batch_size", "batching"), CASES)
def test_rows_of_a_step_do_not_depend_on_the_grouping(num_data: int, batch_size: int, batching: Batching) -> None:
    together = rows_of(num_data, batch_size, batching)
    for step in (0, 1, 17, 63):
        alone = batch_indices(SEED, jnp.array([step]), num_data, batch_size, batching)
        np.testing.assert_array_equal(alone[0], together[step])
    with jax.enable_x64(True):
        wide = batch_indices(SEED, jnp.arange(64), num_data, batch_size, batching)
    np.testing.assert_array_equal(wide, together[:64])


def test_chains_and_steps_differ() -> None:
    other = sgd.chain_seed(jax.random.key(4))
    rows = [np.asarray(batch_indices(seed, jnp.arange(100), 10**9, 2, REPLACEMENT)) for seed in (SEED, other)]
    assert len(np.unique(rows)) == 400
