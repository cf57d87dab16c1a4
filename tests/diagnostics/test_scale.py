"""Many parameters: draws stay in their type, nothing is made of all of them, and what is wrong is seen all the same."""

import tracemalloc

import numpy as np
import pytest

from sgdvi import compare
from sgdvi.comparison import Comparison
from sgdvi.diagnostics import Finding, Status
from sgdvi.diagnostics.columns import Columns, fixed_columns
from sgdvi.diagnostics.measures import mixing_of, snapped
from sgdvi.diagnostics.read import read_tree, scalar_functionals
from sgdvi.draws import make_tree

SIZE = 20_000
ASKED = {"p": lambda draws: draws.w[..., :3]}


def weights(rng: np.random.Generator, size: int = SIZE, draws: int = 100) -> np.ndarray:
    return rng.standard_normal((4, draws, size), dtype=np.float32)


def judge(sgd: np.ndarray, nuts: np.ndarray) -> Comparison:
    runs = {name: make_tree({"w": array}, kind=name.lower()) for name, array in (("SGD", sgd), ("NUTS", nuts))}
    return compare(runs, functionals=ASKED)


def found(comparison: Comparison) -> dict[str, Finding]:
    return {finding.check: finding for finding in comparison.findings if finding.run == "SGD"}


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(4)


@pytest.mark.slow
def test_twenty_thousand_parameters_are_compared_in_blocks(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sgdvi.diagnostics.run.MOST_COORDINATES", 30)
    sgd, nuts = weights(rng), weights(rng)
    tracemalloc.start()
    result = judge(sgd, nuts)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # one of the runs in float64 would take 64 MB, and whatever is computed of it as much again
    assert peak < 100e6
    assert result.runs["SGD"]["posterior"]["w"].dtype == np.float32
    checks = found(result)
    assert not [finding for finding in checks.values() if finding.status is Status.FAIL]
    assert "of 30 chosen at random of 20,000" in checks["memory.parameters"].meaning
    assert len(result.functionals) == 3


def test_what_is_wrong_among_many_parameters_is_seen(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sgdvi.diagnostics.run.MOST_COORDINATES", 30)
    nuts = weights(rng)
    checks = found(judge(np.repeat(weights(rng, size=1), SIZE, axis=2), nuts))
    assert checks["support.dimension"].status is Status.FAIL
    apart = weights(rng) + np.arange(4, dtype=np.float32)[:, None, None]
    apart[..., :3] = nuts[::-1, :, :3]
    checks = found(judge(apart, nuts))
    assert checks["memory.parameters"].status is Status.WARN
    lost = weights(rng)
    lost[2, 7, 19_999] = np.nan
    checks = found(judge(lost, nuts))
    assert checks["draws.finite"].status is Status.FAIL
    assert "1 of 8,001,200 values" in checks["draws.finite"].meaning


def test_a_table_in_blocks_is_the_table(rng: np.random.Generator) -> None:
    sites = {"a": rng.normal(size=(3, 50)), "b": rng.normal(size=(3, 50, 2, 3)), "k": rng.poisson(2.0, (3, 50, 1))}
    sites["b"][..., 1, 1] = 0.1 + np.spacing(0.1) * rng.integers(-1, 2, (3, 50))
    table = np.concatenate([snapped(s, np.finfo(float).eps).reshape(150, -1) for s in sites.values()], axis=1)
    columns, keep = Columns(sites), np.array([True, False, True])
    chosen = np.array([0, 2, 5, 6, 7])
    kept = table.reshape(3, 50, -1)[keep].reshape(100, -1)
    np.testing.assert_array_equal(columns.take(keep, chosen), kept[:, chosen])
    parts = [columns.take(keep, here) for here in columns.blocks(1 << 20, np.arange(8))]
    assert len(parts) == 4
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), kept)
    np.testing.assert_array_equal(columns.within(keep), [kept.min(axis=0), kept.max(axis=0)])
    assert [columns.name(k) for k in (0, 1, 6, 7)] == ["a", "b[0, 0]", "b[1, 2]", "k[0]"]
    assert np.flatnonzero(columns.still).tolist() == [5]
    assert columns.finite.tolist() == [True] * 3
    other = Columns({**sites, "a": np.full((3, 50), 2.0)})
    assert {name: mask.tolist() for name, mask in fixed_columns([columns, other]).items()} == {
        "a": [False],
        "b": [False, False, False, False, True, False],
        "k": [False],
    }
    assert fixed_columns([columns]) == {}


def test_functionals_are_evaluated_once_and_in_blocks(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def both(draws):
        calls.append(draws.sizes["draw"])
        return draws.w[..., :2] ** 2

    tree = make_tree({"w": weights(rng, size=10, draws=60)}, kind="sgd")
    taken = scalar_functionals({"SGD": tree}, {"p": both}, None)
    assert list(taken) == ["p[0]", "p[1]"]
    whole = read_tree("SGD", tree, taken).values
    assert calls == [1, 60]  # its dimensions, then all draws at once for both components
    monkeypatch.setattr("sgdvi.diagnostics.read._BLOCK", 40 * 7)
    for name, values in read_tree("SGD", tree, taken).values.items():
        np.testing.assert_array_equal(values, whole[name])
        assert values.base is None or values.base.nbytes < 2 * values.nbytes
    assert calls[2:] == [7] * 8 + [4]
    exact = np.asarray(tree["posterior"]["w"][..., 1].values, np.float64) ** 2
    np.testing.assert_array_equal(whole["p[1]"], exact)


@pytest.mark.parametrize("draws", [50, 51])
def test_ranks_that_are_shared_give_what_arviz_gives(rng: np.random.Generator, draws: int) -> None:
    from arviz_stats.base import array_stats

    axes = {"chain_axis": 0, "draw_axis": 1}
    for values in (rng.normal(size=(4, draws)), rng.poisson(1.0, (4, draws)).astype(float)):
        measured = mixing_of(values)
        bulk = array_stats.ess(values, method="bulk", **axes)
        tail = array_stats.ess(values, method="tail", prob=(0.05, 0.95), **axes)
        assert measured.ess == pytest.approx(min(bulk, tail, values.size), rel=1e-12)
        assert measured.rhat == pytest.approx(array_stats.rhat(values, method="rank", **axes), rel=1e-12)
